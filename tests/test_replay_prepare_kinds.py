"""replay --prepare makes every kind of object that a trace finds, on our token and on SoftHSM, and says what it cannot."""
import re

import pytest

import softhsm
from lab import Lab, lab  # noqa: F401 (fixture)

LABEL, PIN, SO_PIN = "Kinds", "p1n-kinds-5Bz", "s0p-kinds-2Wq"


def make_token(lab, name):
    env = {"P11TOKEN_DIR": lab.tmp / name}
    lab.run(lab.build / "p11token", "init", "--label", LABEL, "--kdf-cost", 8, "--pin", PIN, "--so-pin", SO_PIN, env=env)
    return env


@pytest.fixture
def listed(lab, tmp_path):
    """The trace of a program that lists what is on a token of ours."""
    env, module = make_token(lab, "full"), lab.build / "libp11token.so"
    tool = ["pkcs11-tool", "--login", "--pin", PIN, "--module"]
    (tmp_path / "data").write_text("something\n")
    for what in (["--write-object", "data", "--type", "data", "--label", "greeting"],
                 ["--keygen", "--key-type", "AES:32", "--label", "box", "--id", "07"],
                 ["--keygen", "--key-type", "GENERIC:20", "--label", "mac", "--id", "08"],
                 ["--keypairgen", "--key-type", "rsa:2048", "--label", "pair", "--id", "01"],
                 ["--keypairgen", "--key-type", "EC:secp384r1", "--label", "public", "--id", "02"],
                 ["--delete-object", "--type", "privkey", "--id", "02"]):
        lab.run(*tool, module, *what, env=env)
    lab.run(*tool, lab.wrap(module), "-O", env=env)
    (tmp_path / "pin.txt").write_text(PIN + "\n")
    (trace,) = lab.files()
    return trace


def prepare(lab, trace, module, env, *options, pin=("--pin-file", "pin.txt"), status=1):
    return lab.p11trace("replay", "--prepare", "--module", module, *pin, *options, trace, env=env, status=status).stdout


def objects(lab, module, env, pin):
    """{(kind, label)} on the token."""
    out = lab.run("pkcs11-tool", "--login", "--pin", pin, "--module", module, "-O", env=env).stdout
    return sorted(re.findall(r"^([A-Z]\w+ (?:Key )?[Oo]bject).*?^  label: +'?(\w+)", out, re.M | re.S))


MADE = [("Data object", "greeting"), ("Private Key Object", "pair"), ("Public Key Object", "pair"),
        ("Public Key Object", "public"), ("Secret Key Object", "box"), ("Secret Key Object", "mac")]


def test_every_kind(lab, listed):
    env, module = make_token(lab, "empty"), lab.build / "libp11token.so"
    said = prepare(lab, listed, module, env)
    assert "made 6 objects on the token first\n" in said
    # Nothing differs but the token.
    assert re.findall(r"^ +\d+  (C_\w+ \S+)", said, re.M) == ["C_GetTokenInfo pInfo.serialNumber"]
    assert objects(lab, module, env, PIN) == MADE


def test_on_softhsm(lab, listed, tmp_path):
    token = softhsm.make_token(tmp_path / "softhsm")
    (tmp_path / "pin.txt").write_text(token.pin + "\n")
    said = prepare(lab, listed, token.module, token.env)
    assert "made 6 objects on the token first\n" in said
    assert objects(lab, token.module, token.env, token.pin) == MADE
    # No call is lost for want of an object.
    assert "withheld" not in said and "C_FindObjects" not in said


def test_refusals(lab, listed):
    env, module = make_token(lab, "empty"), lab.build / "libp11token.so"
    assert "--prepare: the user's PIN is needed (--pin-file)" in prepare(lab, listed, module, env, pin=(), status=2)
    lab.run("pkcs11-tool", "--login", "--pin", PIN, "--module", module, "--keygen", "--key-type", "AES:16", "--label",
            "mine", env=env)
    assert "the token has objects already: use an empty one" in prepare(lab, listed, module, env, status=2)
    assert objects(lab, module, env, PIN) == [("Secret Key Object", "mine")]


def test_a_certificate_that_is_there(lab, tmp_path):
    """It is not made a second time, and is no reason to refuse the token; another one is."""
    full, empty, module = make_token(lab, "full"), make_token(lab, "empty"), lab.build / "libp11token.so"
    (tmp_path / "pin.txt").write_text(PIN + "\n")
    for name in ("one", "two"):
        lab.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-outform", "DER", "-out",
                f"{name}.der", "-subj", f"/CN={name}", "-days", 30)
    tool = ["pkcs11-tool", "--login", "--pin", PIN, "--module"]
    write = ["--write-object", "one.der", "--type", "cert", "--label", "one", "--id", "31"]
    lab.run(*tool, module, *write, env=full)
    lab.run(*tool, lab.wrap(module), "--read-object", "--type", "cert", "--id", "31", "-o", "read.der", env=full)
    (trace,) = lab.files()
    lab.run(*tool, module, *write, env=empty)
    said = prepare(lab, trace, module, empty)
    assert "made" not in said and "C_FindObjects" not in said, said
    lab.run(*tool, module, *[a.replace("one", "two").replace("31", "32") for a in write], env=empty)
    assert "the token has objects already: use an empty one" in prepare(lab, trace, module, empty, status=2)
