"""Verifying: every mechanism that the token lists with CKF_VERIFY, through C_Verify and through C_VerifySignature.

A 3.2 list obliges a token to both, and NSS uses the second way where it finds such a list (PK11_VerifyWithMechanism)."""
import ctypes
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519

from asymmetric import add, code_of, ec_key, rsa_key
from cryptoki import CKA, CKF, CKG, CKK, CKM, CKO, mechanism, struct

# Parameters, of those that need one. A number is a length of a MAC, or a version.
HASHES = ("SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512")
PSS = {name: struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=CKM.SHA_1 if name == "SHA1" else getattr(CKM, name),
                    mgf=getattr(CKG, "MGF1_" + name), sLen=20) for name in HASHES}


def parameter(name: str):
    """Of the mechanism of that name, without CKM_."""
    if name == "RSA_PKCS_PSS":
        return PSS["SHA256"]
    if name.endswith("_RSA_PKCS_PSS"):
        return PSS[name[:-len("_RSA_PKCS_PSS")]]
    if name in ("TLS_MAC", "TLS12_MAC"):
        return struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=12, ulServerOrClient=1)
    if name in ("SSL3_MD5_MAC", "SSL3_SHA1_MAC"):
        return 12
    if name.endswith("_GENERAL") and "HMAC" in name or name.endswith("CMAC_GENERAL"):
        return 4
    return None


@pytest.fixture(scope="module")
def dsa_key():
    return dsa.generate_private_key(1024)


@pytest.fixture
def keys(token, dsa_key) -> dict:
    """By key type: the session and, as handles, the key that verifies and the key that signs."""
    s = token.session()
    pairs = {CKK.RSA: add(s, rsa_key(2048)), CKK.DSA: add(s, dsa_key), CKK.EC: add(s, ec_key("secp256r1")),
             CKK.EC_EDWARDS: add(s, ed25519.Ed25519PrivateKey.generate())}
    for kind, size in ((CKK.AES, 16), (CKK.DES3, 24), (CKK.GENERIC_SECRET, 48)):
        secret = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: os.urandom(size), CKA.SIGN: True,
                           CKA.VERIFY: True})
        pairs[kind] = secret, secret
    return {"session": s, **pairs}


def kind_of(name: str) -> int:
    for part, kind in (("RSA", CKK.RSA), ("ECDSA", CKK.EC), ("EDDSA", CKK.EC_EDWARDS), ("DSA", CKK.DSA), ("AES", CKK.AES),
                       ("DES3", CKK.DES3)):
        if part in name:
            return kind
    return CKK.GENERIC_SECRET


def signature_init(s, mech, key: int, signature: bytes):
    s.call("C_VerifySignatureInit", ctypes.byref(mechanism(mech)), key, signature, len(signature))


def with_signature(s, mech, key: int, data: bytes, signature: bytes):
    signature_init(s, mech, key, signature)
    s.call("C_VerifySignature", data, len(data))


def with_signature_parts(s, mech, key: int, parts, signature: bytes):
    signature_init(s, mech, key, signature)
    for part in parts:
        s.call("C_VerifySignatureUpdate", part, len(part))
    s.call("C_VerifySignatureFinal")


def listed(token) -> list:
    m = token.load()
    return [k for k in m.mechanisms(token.slot()) if m.mechanism_info(token.slot(), k)["flags"] & CKF.VERIFY]


def one_part_only(name: str) -> bool:
    return name in ("RSA_PKCS", "RSA_X_509", "RSA_PKCS_PSS", "DSA", "ECDSA")


def is_prf(name: str) -> bool:
    """Makes as many bytes as the caller's buffer has, of which the first are a MAC as well."""
    return "TLS_PRF" in name


def make_signature(s, mech, name: str, private: int, data: bytes) -> bytes:
    if not is_prf(name):
        return s.sign(mech, private, data)
    out, length = ctypes.create_string_buffer(12), ctypes.c_ulong(12)
    s.init("C_SignInit", mech, private)
    s.call("C_Sign", data, len(data), out, ctypes.byref(length))
    return out.raw[:length.value]


def test_every_mechanism_verifies_both_ways(token, keys):
    """What the token signs it verifies through both families, in one part and in several, and nothing else."""
    s = keys["session"]
    mechanisms = listed(token)
    assert len(mechanisms) > 60 and CKM.RSA_PKCS in mechanisms and CKM.EDDSA in mechanisms
    for kind in mechanisms:
        name = CKM.name(kind).removeprefix("CKM_")
        mech, (public, private), data = (kind, parameter(name)), keys[kind_of(name)], os.urandom(32)
        parts = [data[:5], b"", data[5:]]
        signature = make_signature(s, mech, name, private, data)
        assert len(signature) > 0, name
        s.verify(mech, public, data, signature)
        with_signature(s, mech, public, data, signature)
        if one_part_only(name):
            s.init("C_VerifyInit", mech, public)
            assert code_of(s.call, "C_VerifyUpdate", data, len(data)) == "CKR_OPERATION_NOT_INITIALIZED", name
            signature_init(s, mech, public, signature)
            assert code_of(s.call, "C_VerifySignatureUpdate", data, 1) == "CKR_OPERATION_NOT_INITIALIZED", name
        else:
            s.verify_parts(mech, public, parts, signature)
            with_signature_parts(s, mech, public, parts, signature)
            if not is_prf(name):
                with_signature_parts(s, mech, public, parts, s.sign_parts(mech, private, parts))
        other = bytes([data[0] ^ 1]) + data[1:]
        spoilt = bytes([signature[0] ^ 1]) + signature[1:]
        for wrong in ((other, signature), (data, spoilt)):
            assert code_of(s.verify, mech, public, *wrong) == "CKR_SIGNATURE_INVALID", name
            assert code_of(with_signature, s, mech, public, *wrong) == "CKR_SIGNATURE_INVALID", name
            if not one_part_only(name):
                assert code_of(s.verify_parts, mech, public, [wrong[0]], wrong[1]) == "CKR_SIGNATURE_INVALID", name
                assert code_of(with_signature_parts, s, mech, public, [wrong[0]], wrong[1]) == "CKR_SIGNATURE_INVALID", name
        for wrong in (b"", signature[:-1], signature + b"\x00") if not is_prf(name) else ():
            assert code_of(s.verify, mech, public, data, wrong) in ("CKR_SIGNATURE_LEN_RANGE", "CKR_SIGNATURE_INVALID"), name
            assert code_of(with_signature, s, mech, public, data, wrong)[4:].startswith("SIGNATURE_"), name


# function, arguments after the session, of each step; the operation must be over afterwards.
LAST = [
    ("C_VerifyInit", "C_Verify", (b"m", 1, bytes(64), 64)),
    ("C_VerifyInit", "C_VerifyFinal", (bytes(64), 64)),
    ("C_VerifySignatureInit", "C_VerifySignature", (b"m", 1)),
    ("C_VerifySignatureInit", "C_VerifySignatureFinal", ()),
]


@pytest.mark.parametrize("init, last, arguments", LAST)
def test_a_verification_ends(token, keys, init, last, arguments):
    """With success, with a wrong signature, with NULL where a pointer must be; not with a second Init."""
    s, public = keys["session"], keys[CKK.EC][0]

    def begin():
        if init == "C_VerifyInit":
            s.init(init, CKM.ECDSA_SHA256, public)
        else:
            signature_init(s, CKM.ECDSA_SHA256, public, bytes(64))

    begin()
    assert code_of(begin) == "CKR_OPERATION_ACTIVE"
    assert code_of(s.call, last, *arguments) == "CKR_SIGNATURE_INVALID"
    assert code_of(s.call, last, *arguments) == "CKR_OPERATION_NOT_INITIALIZED"
    begin()
    s.call(init, None, *((0,) if init == "C_VerifyInit" else (0, None, 0)))
    assert code_of(s.call, last, *arguments) == "CKR_OPERATION_NOT_INITIALIZED"
    if arguments:
        begin()
        assert code_of(s.call, last, None, *arguments[1:]) == "CKR_ARGUMENTS_BAD"
        assert code_of(s.call, last, *arguments) == "CKR_OPERATION_NOT_INITIALIZED"


def test_both_ways_at_once(token, keys):
    """The two families are two operations, beside signing."""
    s, (public, private) = keys["session"], keys[CKK.EC]
    mech, data = CKM.ECDSA_SHA256, b"message"
    signature = s.sign(mech, private, data)
    s.init("C_SignInit", mech, private)
    s.init("C_VerifyInit", mech, public)
    signature_init(s, mech, public, signature)
    for update in ("C_SignUpdate", "C_VerifyUpdate", "C_VerifySignatureUpdate"):
        s.call(update, data, len(data))
    own = s.output("C_SignFinal")
    s.call("C_VerifySignatureFinal")
    s.call("C_VerifyFinal", signature, len(signature))
    s.verify(mech, public, data, own)


def test_no_single_part_after_parts(token, keys):
    s, (public, private) = keys["session"], keys[CKK.EC]
    signature = s.sign(CKM.ECDSA_SHA256, private, b"m")
    s.init("C_VerifyInit", CKM.ECDSA_SHA256, public)
    s.call("C_VerifyUpdate", b"m", 1)
    assert code_of(s.call, "C_Verify", b"m", 1, signature, 64) == "CKR_OPERATION_ACTIVE"
    signature_init(s, CKM.ECDSA_SHA256, public, signature)
    s.call("C_VerifySignatureUpdate", b"m", 1)
    assert code_of(s.call, "C_VerifySignature", b"m", 1) == "CKR_OPERATION_ACTIVE"
    s.init("C_SignInit", CKM.ECDSA_SHA256, private)
    s.call("C_SignUpdate", b"m", 1)
    assert code_of(s.call, "C_Sign", b"m", 1, bytes(64), ctypes.byref(ctypes.c_ulong(64))) == "CKR_OPERATION_ACTIVE"


def test_the_signature_is_kept(token, keys):
    """C_VerifySignatureInit copies: the caller's memory may change before the data comes."""
    s, (public, private) = keys["session"], keys[CKK.EC]
    signature = s.sign(CKM.ECDSA_SHA256, private, b"m")
    memory = ctypes.create_string_buffer(signature, 64)
    s.call("C_VerifySignatureInit", ctypes.byref(mechanism(CKM.ECDSA_SHA256)), public, memory, 64)
    ctypes.memset(memory, 0, 64)
    s.call("C_VerifySignature", b"m", 1)


def test_sizes_of_signatures(token, keys):
    """C_Sign tells the size without an end to the operation, and needs no byte more than that."""
    s = keys["session"]
    for kind in listed(token):
        name = CKM.name(kind).removeprefix("CKM_")
        if is_prf(name):
            continue
        mech, private, data = (kind, parameter(name)), keys[kind_of(name)][1], os.urandom(32)
        length = ctypes.c_ulong(0)
        s.init("C_SignInit", mech, private)
        s.call("C_Sign", data, len(data), None, ctypes.byref(length))
        size = length.value
        small = ctypes.create_string_buffer(size)
        length.value = size - 1
        assert code_of(s.call, "C_Sign", data, len(data), small, ctypes.byref(length)) == "CKR_BUFFER_TOO_SMALL", name
        assert length.value == size, name
        s.call("C_Sign", data, len(data), small, ctypes.byref(length))
        s.verify(mech, keys[kind_of(name)][0], data, small.raw[:length.value])
        assert code_of(s.call, "C_SignFinal", None, ctypes.byref(length)) == "CKR_OPERATION_NOT_INITIALIZED", name
