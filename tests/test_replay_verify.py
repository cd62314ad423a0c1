"""A replay checks signatures with the public key: those of the module pass, and one wrong bit is found in each."""
import json
import re

import pytest

from conftest import ROOT
from lab import Lab, lab  # noqa: F401 (fixture)

PIN, SO_PIN = "p1n-verify-6Tn", "s0p-verify-1Rk"

# Signs with everything that can be checked, whole and in parts; prints how many signatures it made.
CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from cryptoki import CKA, CKG, CKK, CKM, Module, struct
pss = lambda h, g, n: struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=h, mgf=g, sLen=n)
m = Module(sys.argv[2])
m.initialize()
s = m.open_session(m.slots()[0])
s.login(sys.argv[3])
made = 0
def sign(mech, key, data, parts=True):
    global made
    s.sign(mech, key, data)
    made += 1
    if parts:
        s.sign_parts(mech, key, [data[:7], data[7:]])
        made += 1
def pair(mech, public, name, on_token=True):
    return s.generate_pair(mech, {CKA.TOKEN: on_token, CKA.VERIFY: True, CKA.ID: name, **public},
                           {CKA.TOKEN: on_token, CKA.SIGN: True, CKA.SIGN_RECOVER: True, CKA.ID: name}
                           if name == b"rsa" else {CKA.TOKEN: on_token, CKA.SIGN: True, CKA.ID: name})
_, rsa = pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048, CKA.PUBLIC_EXPONENT: bytes([1, 0, 1]),
                                          CKA.VERIFY_RECOVER: True}, b"rsa")
sign(CKM.RSA_PKCS, rsa, b"d" * 51, False)
sign(CKM.RSA_X_509, rsa, b"\\0" + b"x" * 255, False)
for mech in (CKM.SHA1_RSA_PKCS, CKM.SHA256_RSA_PKCS, CKM.SHA512_RSA_PKCS):
    sign(mech, rsa, b"some data to be signed")
sign((CKM.RSA_PKCS_PSS, pss(CKM.SHA256, CKG.MGF1_SHA256, 32)), rsa, b"h" * 32, False)
sign((CKM.SHA384_RSA_PKCS_PSS, pss(CKM.SHA384, CKG.MGF1_SHA384, 20)), rsa, b"some data to be signed")
s.sign_recover(CKM.RSA_PKCS, rsa, b"r" * 20)
made += 1
for oid, name in (("06082a8648ce3d030107", b"p256"), ("06052b81040022", b"p384")):
    _, ec = pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex(oid)}, name, name == b"p256")
    sign(CKM.ECDSA, ec, b"h" * 32, False)
    sign(CKM.ECDSA_SHA256, ec, b"some data to be signed")
_, ed = pair(CKM.EC_EDWARDS_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06032b6570")}, b"ed")
sign(CKM.EDDSA, ed, b"some data to be signed", False)
key = s.generate_key(CKM.GENERIC_SECRET_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.SIGN: True, CKA.SENSITIVE: False,
                                                  CKA.EXTRACTABLE: True})
sign(CKM.SHA256_HMAC, key, b"some data to be signed")
m.finalize()
print(made)
"""


@pytest.fixture
def signed(lab, tmp_path):
    """(trace, how many signatures, environment) of a program on our token."""
    env = {"P11TOKEN_DIR": lab.tmp / "tokens"}
    lab.run(lab.build / "p11token", "init", "--label", "Verify", "--kdf-cost", 8, "--pin", PIN, "--so-pin", SO_PIN, env=env)
    traced = lab.wrap(lab.build / "libp11token.so")
    made = int(lab.run("/usr/bin/python3", "-c", CLIENT, ROOT / "tests", traced, PIN, env=env).stdout)
    (trace,) = lab.files()
    (tmp_path / "pin.txt").write_text(PIN + "\n")
    return trace, made, env


def replay(lab, trace, module, env, status=0, **more):
    p = lab.p11trace("replay", "--json", "--module", module, "--pin-file", "pin.txt", trace, status=status,
                     env={**env, **more})
    return json.loads(p.stdout)


def test_good_signatures_pass(lab, signed):
    """Randomised ones too, and those of keys that are made anew; not a byte of the data is in the trace."""
    trace, made, env = signed
    assert made == 21
    said = replay(lab, trace, lab.build / "libp11token.so", env)
    assert said["difference_kinds"] == []


def test_a_wrong_bit_is_found(lab, signed):
    trace, made, env = signed
    said = replay(lab, trace, lab.mock("wrong_signatures"), env, status=1,
                  WRONG_SIGNATURES_MODULE=lab.build / "libp11token.so")
    # The mock has no C_GetInterface.
    kinds = [k for k in said["difference_kinds"] if k["function"] != "C_GetInterface"]
    assert {k["function"] for k in kinds} == {"C_Sign", "C_SignFinal", "C_SignRecover"}
    assert sum(k["count"] for k in kinds) == made
    # The call is named: the first C_Sign asked for the length only.
    text = lab.p11trace("dump", "-e", "fn=C_Sign", trace).stdout
    numbers = [int(n) for n in re.findall(r"^#(\d+) .*pSignature -> <256 bytes", text, re.M)]
    assert min(k["call"] for k in kinds) == numbers[0]
