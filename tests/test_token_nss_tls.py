"""TLS with keys on our token: NSS's servers and clients, TLS 1.2 and 1.3, RSA and EC."""
import pytest

from nss import Server as OpenSslServer
from nss_scene import LABEL, new_scene, openssl, pki, scene  # noqa: F401

pytestmark = pytest.mark.nss

VERSIONS = {"1.2": ("tls1.2:tls1.2", "-tls1_2"), "1.3": ("tls1.3:tls1.3", "-tls1_3")}


def openssl_connects(scene, port, *argv):
    """Connects as a client that trusts the CA; returns what s_client prints."""
    return openssl(scene.folder, "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-CAfile",
                   "ca.pem", "-verify_return_error", *argv).decode(errors="replace")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["rsa", "ec", "p384"])
def test_server(scene, kind, version):
    """selfserv with its key on the token: NSS copies the key with a NULL template, which SoftHSM refuses."""
    scene.trust_ca()
    scene.import_p12(f"server-{kind}")
    with scene.selfserv(f"server-{kind}") as server:
        text = openssl_connects(scene, server.port, VERSIONS[version][1])
        assert "Verify return code: 0 (ok)" in text and f"TLSv{version}" in text
        out = scene("tstclnt", "-4", "-h", "localhost", "-p", server.port, "-d", "sql:nssdb", "-V", VERSIONS[version][0],
                    "-A", "request", "-o")
        assert "HTTP/1.0 200 OK" in out
    assert scene.called("C_Sign") >= 2


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "AES256-SHA256", "AES128-SHA"])
def test_rsa_key_exchange(scene, cipher):
    """TLS 1.2 without Diffie-Hellman: the pre-master secret is unwrapped on the token and, because the token has the whole
    TLS set, the keys are derived there."""
    scene.trust_ca()
    scene.import_p12("server-rsa")
    with scene.selfserv("server-rsa", "-c", ":009C:003D:002F") as server:
        text = openssl_connects(scene, server.port, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
        assert f"Cipher    : {cipher}" in text and "Verify return code: 0 (ok)" in text
        # NSS as the client generates the pre-master secret where it can.
        out = scene("tstclnt", "-4", "-h", "localhost", "-p", server.port, "-d", "sql:nssdb", "-V", "tls1.2:tls1.2",
                    "-c", ":009C", "-A", "request", "-o")
        assert "HTTP/1.0 200 OK" in out
    assert scene.called("C_UnwrapKey") >= 2 or scene.called("C_Decrypt") >= 2
    # Records under AES-GCM (the second connection's, at least) are messages to the token.
    assert scene.called("C_EncryptMessage") >= 2 and scene.called("C_DecryptMessage") >= 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_client_authentication(scene, kind, version):
    scene.trust_ca()
    scene.import_p12(f"user-{kind}")
    for name in ("pem", "key"):  # the other server takes its certificate from there
        (scene.folder / f"server.{name}").write_bytes((scene.folder / f"server-rsa.{name}").read_bytes())
    with OpenSslServer(scene, f"tls{version.replace('.', '_')}") as server:
        out = scene("tstclnt", "-4", "-h", "localhost", "-p", server.port, "-d", "sql:nssdb", "-n",
                    f"{LABEL}:user-{kind}", "-W", "pins.txt", "-V", "tls1.2:tls1.3", "-A", "request-message")
        assert out.endswith("a message\n")
    assert scene.called("C_Sign") == 1


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_both_ends_on_the_token(scene, kind):
    """selfserv demands a certificate, and both keys are on the token, in two processes; then many connections with
    threads and session resumption."""
    scene.trust_ca()
    scene.import_p12(f"server-{kind}")
    scene.import_p12(f"user-{kind}")
    with scene.selfserv(f"server-{kind}", "-rr") as server:
        out = scene("strsclnt", "-d", "sql:nssdb", "-n", f"{LABEL}:user-{kind}", "-W", "pins.txt", "-c", 20, "-t", 4, "-N",
                    "-V", "tls1.2:tls1.3", "-p", server.port, "localhost", status=None)
        assert "20 server certificates tested" in out, out
    assert scene.called("C_Sign") >= 40
