"""Programs that are not NSS's use our token: OpenSC's pkcs11-tool, GnuTLS's p11tool, OpenSSH, the OpenSSL engine, and a client
of our own with eight threads.  Everything is traced, and `p11trace check` must find nothing above info in it."""
import re
import subprocess

import pytest

from nss import installed
from nss_scene import LABEL, PIN, new_scene, openssl, pki  # noqa: F401

pytestmark = pytest.mark.nosan  # foreign programs, and what they load is not built with the sanitizer


@pytest.fixture
def scene(new_scene):
    return new_scene()


def pkcs11_tool(scene, *argv, login=True, **more):
    user = ("--login", "--pin", PIN) if login else ()
    return scene("pkcs11-tool", "--module", scene.module, "--token-label", LABEL, *user, *argv, **more)


def test_pkcs11_tool_test(scene):
    """Its own self-test: every step it knows, none failed."""
    scene.import_p12("user-rsa")
    out = pkcs11_tool(scene, "--session-rw", "--test", timeout=120)
    assert "No errors" in out and "ERR" not in out, out


def test_pkcs11_tool_test_ec(scene):
    out = pkcs11_tool(scene, "--session-rw", "--test-ec", "--key-type", "EC:prime256v1", "--id", "11", timeout=120)
    assert "==> OK" in out and "ERR" not in out, out


def test_pkcs11_tool_moz_cert(scene):
    """Mozilla's way of making a key and importing its certificate."""
    openssl(scene.folder, "x509", "-in", "user-rsa.pem", "-outform", "DER", "-out", "user.der")
    out = pkcs11_tool(scene, "--session-rw", "--moz-cert", "user.der", "--id", "12", "--key-type", "RSA:2048",
                      timeout=120)
    assert "==> OK" in out and "ERR" not in out, out


def test_pkcs11_tool_test_fork(scene):
    """A forked child calls C_Initialize for itself; SoftHSM's answers CKR_CRYPTOKI_ALREADY_INITIALIZED."""
    out = pkcs11_tool(scene, "--test-fork", login=False)
    assert "CKR_CRYPTOKI_ALREADY_INITIALIZED" not in out and "failed" not in out.lower(), out


@pytest.mark.parametrize("key_type", ["RSA:2048", "EC:secp256r1", "EC:secp384r1", "EC:edwards25519"])
def test_pkcs11_tool_keys(scene, key_type):
    """Made, listed, used, read and deleted; the signature is good by OpenSSL's judgement."""
    pkcs11_tool(scene, "--keypairgen", "--key-type", key_type, "--id", "21", "--label", "made")
    listed = pkcs11_tool(scene, "--list-objects")
    assert listed.count("made") == 2 and "sensitive" in listed
    mechanism = {"RSA": "SHA256-RSA-PKCS", "EC": "ECDSA-SHA256"}[key_type[:3].rstrip(":")]
    if "edwards" in key_type:
        mechanism = "EDDSA"
    pkcs11_tool(scene, "--sign", "--mechanism", mechanism, "--id", "21", "--input-file", "message", "--output-file",
                "signature", *(("--signature-format", "openssl") if "ECDSA" in mechanism else ()))
    if key_type in ("RSA:2048", "EC:secp256r1"):  # pkcs11-tool 0.23 cannot write the other public keys
        pkcs11_tool(scene, "--read-object", "--type", "pubkey", "--id", "21", "--output-file", "public.der", login=False)
        out = openssl(scene.folder, "dgst", "-sha256", "-verify", "public.der", "-keyform", "DER", "-signature",
                      "signature", "message")
        assert b"Verified OK" in out
    for kind in ("privkey", "pubkey"):
        pkcs11_tool(scene, "--delete-object", "--type", kind, "--id", "21")
    assert "made" not in pkcs11_tool(scene, "--list-objects")


def p11tool(scene, *argv, login=True, **more):
    user = ("--login", f"--set-pin={PIN}") if login else ()
    return scene("p11tool", f"--provider={scene.module}", *user, *argv, **more)


def test_p11tool(scene):
    scene.import_p12("user-rsa")
    scene.import_p12("user-ec")
    listed = p11tool(scene, "--list-all", f"pkcs11:token={LABEL}")
    # Two times certificate, private key and two public keys: NSS makes one when it imports the key and one by itself.
    assert len(re.findall(r"^Object \d+:", listed, re.M)) == 8
    for name in ("user-rsa", "user-ec"):
        tested = p11tool(scene, "--test-sign", f"pkcs11:token={LABEL};object={name};type=private")
        assert "ok" in tested.lower(), tested
    p11tool(scene, "--generate-ecc", "--curve=secp256r1", "--label=gnutls", "--outfile=gnutls.pem",
            f"pkcs11:token={LABEL}")
    assert "object=gnutls" in p11tool(scene, "--list-keys", f"pkcs11:token={LABEL}")
    assert "gnutls" in p11tool(scene, "--list-all", f"pkcs11:token={LABEL}", login=False)


def test_ssh_keygen(scene):
    """The public keys of the token, as ssh-keygen reads them without a PIN."""
    scene.import_p12("user-rsa")
    scene.import_p12("user-ec")
    listed = scene("ssh-keygen", "-D", scene.module)
    ours = scene("ssh-keygen", "-i", "-m", "PKCS8", "-f", write_public(scene, "user-rsa"))
    assert ours.split()[1] in listed and "ecdsa-sha2-nistp256" in listed


def write_public(scene, name):
    (scene.folder / f"{name}.pub").write_bytes(scene.public_key(f"{name}.pem"))
    return f"{name}.pub"


@pytest.mark.parametrize("name", ["user-rsa", "user-ec"])
def test_ssh_agent_signs(scene, name):
    """ssh-add hands the module to an agent, which signs with the key; ssh-keygen verifies."""
    scene.import_p12(name)
    askpass = scene.folder / "askpass"
    askpass.write_text(f"#!/bin/sh\necho {PIN}\n")
    askpass.chmod(0o700)
    scene.env.update(SSH_ASKPASS=str(askpass), SSH_ASKPASS_REQUIRE="force", SSH_AUTH_SOCK=str(scene.folder / "agent"))
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", scene.env["SSH_AUTH_SOCK"], "-P", f"{scene.folder}/*"],
                             env=scene.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not (scene.folder / "agent").exists():
            assert agent.poll() is None
        scene("ssh-add", "-s", scene.module)
        public = scene("ssh-add", "-L")
        (scene.folder / "agent.pub").write_text(public.splitlines()[0] + "\n")
        scene("ssh-keygen", "-Y", "sign", "-f", "agent.pub", "-n", "file", "message")
        (scene.folder / "allowed").write_text("someone " + public.splitlines()[0] + "\n")
        with open(scene.folder / "message") as message:
            p = subprocess.run(["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "someone", "-n", "file", "-s",
                                "message.sig"], cwd=scene.folder, stdin=message, capture_output=True, text=True)
        assert p.returncode == 0 and "Good" in p.stdout, p.stdout + p.stderr
        scene("ssh-add", "-e", scene.module)
    finally:
        agent.terminate()
        agent.wait()


def test_openssl_engine(scene):
    scene.import_p12("user-rsa")
    scene.env["PKCS11_MODULE_PATH"] = str(scene.module)
    installed("*/engines-3/pkcs11.so")
    uri = f"pkcs11:token={LABEL};object=user-rsa;type=private;pin-value={PIN}"
    scene("openssl", "pkeyutl", "-engine", "pkcs11", "-keyform", "engine", "-inkey", uri, "-sign", "-rawin", "-digest",
          "sha256", "-in", "message", "-out", "signature")
    scene("openssl", "x509", "-in", "user-rsa.pem", "-noout", "-pubkey", "-out", "public.pem")
    assert "Verified OK" in scene("openssl", "dgst", "-sha256", "-verify", "public.pem", "-signature", "signature",
                                  "message")


def test_eight_threads(scene, build, count):
    rounds = count(500)
    out = scene(build / "tests/clients/token_threads", scene.module, PIN, 8, rounds, timeout=280)
    assert f"rounds {8 * rounds}\n" in out
