"""RSA: signatures and encryption checked against python3-cryptography and against RFC 8017 computed in Python."""
import ctypes
import hashlib
import os
import threading

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from asymmetric import (HASHES, add, add_private, add_public, code_of, ec_key, mgfs, number, oaep_decode, oaep_encode,
                        parts_of, private_op, pss_encode, pss_salt, public_op, rsa_key, spki)
from cryptoki import CKA, CKG, CKK, CKM, CKO, CKZ, struct

# 1025: the block of PSS is a byte shorter than the modulus.
SIZES = [1024, 1025, 1536, 2048]
HASHED = {name: getattr(CKM, name.upper() + "_RSA_PKCS") for name in HASHES}
HASHED_PSS = {name: getattr(CKM, name.upper() + "_RSA_PKCS_PSS") for name in HASHES}
PYTHON = {name: getattr(hashes, name.upper())() for name in HASHES}


def pss(name: str, mgf: str, salt: int):
    return struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=HASHES[name][0], mgf=HASHES[mgf][1], sLen=salt)


def oaep(name: str, mgf: str, label: bytes = b"", source: int = CKZ.DATA_SPECIFIED):
    parameter = struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=HASHES[name][0], mgf=HASHES[mgf][1], source=source)
    if label:
        parameter.fill("pSourceData", label)
        parameter.ulSourceDataLen = len(label)
    return CKM.RSA_PKCS_OAEP, parameter


@pytest.mark.parametrize("bits", SIZES)
def test_signatures_with_hash(token, bits):
    """CKM_<hash>_RSA_PKCS both ways with python3-cryptography, in one part and in several."""
    s, key = token.session(), rsa_key(bits)
    public, private = add(s, key)
    message = os.urandom(1000)
    for name, mech in HASHED.items():
        signature = s.sign(mech, private, message)
        key.public_key().verify(signature, message, padding.PKCS1v15(), PYTHON[name])
        assert s.sign_parts(mech, private, [message[:1], b"", message[1:]]) == signature
        other = key.sign(message + b"!", padding.PKCS1v15(), PYTHON[name])
        s.verify(mech, public, message + b"!", other)
        s.verify_parts(mech, public, [message, b"!"], other)
        assert code_of(s.verify, mech, public, message, other) == "CKR_SIGNATURE_INVALID"


def test_md5_signature(token):
    s, key = token.session(), rsa_key(1024)
    public, private = add(s, key)
    signature = s.sign(CKM.MD5_RSA_PKCS, private, b"old")
    key.public_key().verify(signature, b"old", padding.PKCS1v15(), hashes.MD5())
    s.verify(CKM.MD5_RSA_PKCS, public, b"old", signature)


@pytest.mark.parametrize("bits", SIZES)
def test_signature_of_any_data(token, bits):
    """CKM_RSA_PKCS signs what it is given, DigestInfo or not, up to 11 bytes less than the modulus."""
    s, key = token.session(), rsa_key(bits)
    public, private = add(s, key)
    size = (bits + 7) // 8
    for length in (0, 1, 20, 36, 51, size - 12, size - 11):
        data = os.urandom(length)
        signature = s.sign(CKM.RSA_PKCS, private, data)
        assert public_op(key, signature) == b"\x00\x01" + b"\xff" * (size - length - 3) + b"\x00" + data, length
        s.verify(CKM.RSA_PKCS, public, data, signature)
        assert code_of(s.verify, CKM.RSA_PKCS, public, data + b"x", signature)[4:] in ("SIGNATURE_INVALID", "DATA_LEN_RANGE")
    assert code_of(s.sign, CKM.RSA_PKCS, private, bytes(size - 10)) == "CKR_DATA_LEN_RANGE"
    assert code_of(s.verify, CKM.RSA_PKCS, public, bytes(size - 10), bytes(size)) == "CKR_DATA_LEN_RANGE"


def test_signature_with_digest_info(token):
    """CKM_RSA_PKCS of a DigestInfo is what CKM_SHA256_RSA_PKCS makes: NSS signs certificates so."""
    s, key = token.session(), rsa_key(2048)
    public, private = add(s, key)
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(b"m").digest()
    assert s.sign(CKM.RSA_PKCS, private, info) == s.sign(CKM.SHA256_RSA_PKCS, private, b"m")
    s.verify(CKM.RSA_PKCS, public, info, key.sign(b"m", padding.PKCS1v15(), hashes.SHA256()))


def test_verify_wants_the_whole_padding(token):
    """Blocks that a lax parser takes for a signature (Bleichenbacher 2006, BERserk) are refused."""
    s, key = token.session(), rsa_key(2048)
    public = add_public(s, key)
    digest = hashlib.sha256(b"m").digest()
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest
    short = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20" + digest  # without the NULL
    good = b"\x00\x01" + b"\xff" * (253 - len(info)) + b"\x00" + info
    blocks = [
        b"\x00\x01" + b"\xff" * 8 + b"\x00" + info + os.urandom(245 - len(info)),
        b"\x00\x02" + good[2:],
        b"\x00\x01" + b"\xff" * 20 + b"\xfe" + good[23:],
        b"\x00\x01" + b"\xff" * (253 - len(short)) + b"\x00" + short,
        b"\x01" + good[1:],
    ]
    for mech, data in ((CKM.SHA256_RSA_PKCS, b"m"), (CKM.RSA_PKCS, info)):
        s.verify(mech, public, data, private_op(key, good))
        for i, block in enumerate(blocks):
            assert len(block) == 256
            assert code_of(s.verify, mech, public, data, private_op(key, block)) == "CKR_SIGNATURE_INVALID", i


@pytest.mark.parametrize("bits", SIZES)
def test_raw(token, bits):
    """CKM_RSA_X_509: numbers, with zeros before them; data as large as the modulus is no number of it."""
    s, key = token.session(), rsa_key(bits)
    public, private = add(s, key)
    size = (bits + 7) // 8
    n = number(key.private_numbers().public_numbers.n)
    for data in (b"\x01", os.urandom(size // 2), b"\x00" * size, b"\x00" + os.urandom(size - 1)):
        block = bytes(size - len(data)) + data
        assert s.sign(CKM.RSA_X_509, private, data) == private_op(key, data)
        s.verify(CKM.RSA_X_509, public, data, private_op(key, data))
        assert s.encrypt(CKM.RSA_X_509, public, data) == public_op(key, data)
        assert s.decrypt(CKM.RSA_X_509, private, public_op(key, data)) == block
    assert code_of(s.sign, CKM.RSA_X_509, private, n) == "CKR_DATA_INVALID"
    assert code_of(s.sign, CKM.RSA_X_509, private, bytes(size + 1)) == "CKR_DATA_LEN_RANGE"
    assert code_of(s.encrypt, CKM.RSA_X_509, public, n) == "CKR_DATA_INVALID"
    assert code_of(s.encrypt, CKM.RSA_X_509, public, bytes(size + 1)) == "CKR_DATA_LEN_RANGE"
    assert code_of(s.decrypt, CKM.RSA_X_509, private, n) == "CKR_ENCRYPTED_DATA_INVALID"
    assert code_of(s.decrypt, CKM.RSA_X_509, private, bytes(size - 1)) == "CKR_ENCRYPTED_DATA_LEN_RANGE"
    assert code_of(s.verify, CKM.RSA_X_509, public, b"\x01", n) == "CKR_SIGNATURE_INVALID"


@pytest.mark.parametrize("bits", SIZES)
def test_pss(token, bits):
    """Every hash with every MGF, salts of none, of the hash's length and the longest; raw and with the hash inside."""
    s, key = token.session(), rsa_key(bits)
    public, private = add(s, key)
    room = (bits - 1 + 7) // 8 - 2
    for name in HASHES:
        digest = hashlib.new(name, b"message").digest()
        for mgf in mgfs(name, bits):
            for salt in {0, min(len(digest), room - len(digest)), room - len(digest)}:
                parameter = pss(name, mgf, salt)
                block_size = (bits - 1 + 7) // 8
                for mech, data in ((CKM.RSA_PKCS_PSS, digest), (HASHED_PSS[name], b"message")):
                    if mech != CKM.RSA_PKCS_PSS and mgf not in (name, "sha1"):
                        continue
                    signature = s.sign((mech, parameter), private, data)
                    block = public_op(key, signature)[-block_size:]
                    pss_salt(block, digest, bits, name, mgf, salt)
                    s.verify((mech, parameter), public, data, signature)
                own = private_op(key, pss_encode(digest, bits, name, mgf, os.urandom(salt)))
                s.verify((CKM.RSA_PKCS_PSS, parameter), public, digest, own)
                if salt != 0:
                    wrong = pss(name, mgf, salt - 1)
                    assert code_of(s.verify, (CKM.RSA_PKCS_PSS, wrong), public, digest, own) == "CKR_SIGNATURE_INVALID"


def test_pss_with_cryptography(token):
    """The same with a second implementation, in parts."""
    s, key = token.session(), rsa_key(2048)
    public, private = add(s, key)
    for name in ("sha1", "sha224", "sha256", "sha384", "sha512"):
        form = padding.PSS(padding.MGF1(PYTHON[name]), PYTHON[name].digest_size)
        mech = HASHED_PSS[name], pss(name, name, PYTHON[name].digest_size)
        key.public_key().verify(s.sign_parts(mech, private, [b"mes", b"sage"]), b"message", form, PYTHON[name])
        s.verify_parts(mech, public, [b"m", b"essage"], key.sign(b"message", form, PYTHON[name]))


def test_pss_parameters(token):
    """The hash must be the mechanism's, the salt must fit, the data must be a hash."""
    s, key = token.session(), rsa_key(1024)
    public, private = add(s, key)
    bad = [
        (CKM.SHA256_RSA_PKCS_PSS, pss("sha384", "sha256", 32)),
        (CKM.SHA256_RSA_PKCS_PSS, None),
        (CKM.SHA256_RSA_PKCS_PSS, b"\x00" * 23),
        (CKM.SHA256_RSA_PKCS_PSS, b"\x00" * 25),
        (CKM.RSA_PKCS_PSS, pss("sha256", "sha256", 128 - 2 - 32 + 1)),
        (CKM.RSA_PKCS_PSS, pss("sha512", "sha512", 64)),
        (CKM.RSA_PKCS_PSS, pss("sha256", "sha256", 2**64 - 1)),
        (CKM.RSA_PKCS_PSS, struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=CKM.AES_CBC, mgf=CKG.MGF1_SHA1, sLen=20)),
        (CKM.RSA_PKCS_PSS, struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=CKM.MD5, mgf=CKG.MGF1_SHA1, sLen=16)),
        (CKM.RSA_PKCS_PSS, struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=CKM.SHA256, mgf=99, sLen=32)),
        (CKM.RSA_PKCS, b"\x00"),
        (CKM.SHA256_RSA_PKCS, b"\x00" * 24),
    ]
    for mech in bad:
        assert code_of(s.init, "C_SignInit", mech, private) == "CKR_MECHANISM_PARAM_INVALID", mech
        assert code_of(s.init, "C_VerifyInit", mech, public) == "CKR_MECHANISM_PARAM_INVALID", mech
    good = CKM.RSA_PKCS_PSS, pss("sha256", "sha256", 32)
    for length in (0, 20, 31, 33):
        assert code_of(s.sign, good, private, bytes(length)) == "CKR_DATA_LEN_RANGE"
        assert code_of(s.verify, good, public, bytes(length), bytes(128)) == "CKR_DATA_LEN_RANGE"


@pytest.mark.parametrize("bits", SIZES)
def test_oaep(token, bits):
    """Every hash with every MGF and with labels, messages of all lengths that fit."""
    s, key = token.session(), rsa_key(bits)
    public, private = add(s, key)
    size = (bits + 7) // 8
    for name in HASHES:
        hlen = hashlib.new(name).digest_size
        room = size - 2 - 2 * hlen
        if room < 0:
            assert code_of(s.init, "C_EncryptInit", oaep(name, name), public) == "CKR_KEY_SIZE_RANGE"
            continue
        for i, mgf in enumerate(mgfs(name, bits)):
            label = (b"", b"a label", os.urandom(300))[i % 3]
            mech = oaep(name, mgf, label)
            for length in {0, room // 2, room}:
                message = os.urandom(length)
                assert oaep_decode(private_op(key, s.encrypt(mech, public, message)), name, mgf, label) == message
                block = oaep_encode(message, size, name, mgf, label, os.urandom(hlen))
                assert s.decrypt(mech, private, public_op(key, block)) == message
            sealed = s.encrypt(mech, public, b"")
            wrong = oaep(name, mgf, label + b"!")
            assert code_of(s.decrypt, wrong, private, sealed) == "CKR_ENCRYPTED_DATA_INVALID"
            assert code_of(s.encrypt, mech, public, bytes(room + 1)) == "CKR_DATA_LEN_RANGE"


def test_oaep_with_cryptography(token):
    s, key = token.session(), rsa_key(2048)
    public, private = add(s, key)
    for name, mgf, label in (("sha1", "sha1", None), ("sha256", "sha256", b"L"), ("sha512", "sha1", None)):
        form = padding.OAEP(padding.MGF1(PYTHON[mgf]), PYTHON[name], label)
        mech = oaep(name, mgf, label or b"")
        assert s.decrypt(mech, private, key.public_key().encrypt(b"secret", form)) == b"secret"
        assert key.decrypt(s.encrypt(mech, public, b"secret"), form) == b"secret"


def test_oaep_parameters(token):
    s, key = token.session(), rsa_key(2048)
    public, private = add(s, key)
    null_label = struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=CKM.SHA256, mgf=CKG.MGF1_SHA256, source=CKZ.DATA_SPECIFIED,
                        pSourceData=None, ulSourceDataLen=5)
    bad = [
        (CKM.RSA_PKCS_OAEP, None),
        (CKM.RSA_PKCS_OAEP, bytes(39)),
        (CKM.RSA_PKCS_OAEP, struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=CKM.MD5, mgf=1, source=1)),
        (CKM.RSA_PKCS_OAEP, struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=CKM.SHA_1, mgf=0, source=1)),
        (CKM.RSA_PKCS_OAEP, struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=CKM.SHA_1, mgf=1, source=2)),
        oaep("sha1", "sha1", b"label", source=0),
    ]
    for mech in bad:
        assert code_of(s.init, "C_EncryptInit", mech, public) == "CKR_MECHANISM_PARAM_INVALID"
        assert code_of(s.init, "C_DecryptInit", mech, private) == "CKR_MECHANISM_PARAM_INVALID"
    assert code_of(s.init, "C_EncryptInit", (CKM.RSA_PKCS_OAEP, null_label), public)[4:] in ("MECHANISM_PARAM_INVALID",
                                                                                            "ARGUMENTS_BAD")
    # Many callers leave the source at 0 if there is no label.
    assert s.decrypt(oaep("sha1", "sha1"), private, s.encrypt(oaep("sha1", "sha1", source=0), public, b"x")) == b"x"


@pytest.mark.parametrize("bits", SIZES)
def test_pkcs1_encryption(token, bits):
    s, key = token.session(), rsa_key(bits)
    public, private = add(s, key)
    size = (bits + 7) // 8
    for length in (0, 1, 48, size - 12, size - 11):
        message = os.urandom(length)
        assert s.decrypt(CKM.RSA_PKCS, private, key.public_key().encrypt(message, padding.PKCS1v15())) == message
        block = private_op(key, s.encrypt(CKM.RSA_PKCS, public, message))
        assert block[:2] == b"\x00\x02" and block[size - length - 1] == 0 and block.endswith(message)
        assert 0 not in block[2:size - length - 1]
    assert code_of(s.encrypt, CKM.RSA_PKCS, public, bytes(size - 10)) == "CKR_DATA_LEN_RANGE"
    for length in (0, size - 1, size + 1):
        assert code_of(s.decrypt, CKM.RSA_PKCS, private, bytes(length)) == "CKR_ENCRYPTED_DATA_LEN_RANGE"


@pytest.mark.parametrize("bits", SIZES)
def test_recover(token, bits):
    """C_SignRecover signs as C_Sign does, C_VerifyRecover gives the data back, and nothing out of a wrong signature."""
    s, key = token.session(), rsa_key(bits)
    public, private = add(s, key)
    size = (bits + 7) // 8
    for length in (0, 1, 35, size - 11):
        data = os.urandom(length)
        signature = s.sign_recover(CKM.RSA_PKCS, private, data)
        assert signature == s.sign(CKM.RSA_PKCS, private, data)
        assert s.verify_recover(CKM.RSA_PKCS, public, signature) == data
    assert code_of(s.sign_recover, CKM.RSA_PKCS, private, bytes(size - 10)) == "CKR_DATA_LEN_RANGE"
    raw = s.sign_recover(CKM.RSA_X_509, private, b"data")
    assert s.verify_recover(CKM.RSA_X_509, public, raw) == bytes(size - 4) + b"data"
    for length in (0, size - 1, size + 1):
        assert code_of(s.verify_recover, CKM.RSA_PKCS, public, bytes(length)) == "CKR_SIGNATURE_LEN_RANGE"
    small = ctypes.create_string_buffer(1), ctypes.c_ulong(1)
    for block in (b"\x00\x02" + b"\xff" * (size - 4) + b"\x00x", b"\x00\x01" + b"\xff" * 7 + b"\x00" + b"x" * (size - 10),
                  b"\x00\x01" + b"\xff" * (size - 2), bytes(size), b"\x00\x01" + b"\xff" * 50 + b"\xfe" + bytes(size - 53)):
        wrong = private_op(key, block)
        assert code_of(s.verify_recover, CKM.RSA_PKCS, public, wrong) == "CKR_SIGNATURE_INVALID", block[:4]
        s.init("C_VerifyRecoverInit", CKM.RSA_PKCS, public)
        code = code_of(s.call, "C_VerifyRecover", wrong, size, small[0], ctypes.byref(small[1]))
        assert code == "CKR_SIGNATURE_INVALID", "it goes before CKR_BUFFER_TOO_SMALL"
    forbidden = add_private(s, key, SIGN_RECOVER=False)
    assert code_of(s.init, "C_SignRecoverInit", CKM.RSA_PKCS, forbidden) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    assert code_of(s.init, "C_SignRecoverInit", CKM.SHA256_RSA_PKCS, private) == "CKR_MECHANISM_INVALID"
    assert code_of(s.init, "C_VerifyRecoverInit", CKM.RSA_PKCS, private) == "CKR_KEY_TYPE_INCONSISTENT"


def test_wrong_padding_has_one_code(token):
    """Whatever is wrong, C_Decrypt says the same, with and without a question for the size before."""
    s, key = token.session(), rsa_key(1024)
    private = add_private(s, key)
    filler = b"\x11" * 117
    blocks = [
        b"\x00\x01" + filler + b"\x00" + b"message!",
        b"\x01\x02" + filler + b"\x00" + b"message!",
        b"\x00\x02" + b"\x11" * 7 + b"\x00" + b"m" * 118,
        b"\x00\x02" + b"\x11" * 126,
        b"\x00" * 128,
        b"\x00\x02\x00" + b"\x11" * 125,
    ]
    for i, block in enumerate(blocks):
        assert len(block) == 128
        sealed = public_op(key, block)
        assert code_of(s.decrypt, CKM.RSA_PKCS, private, sealed) == "CKR_ENCRYPTED_DATA_INVALID", i
    n = number(key.private_numbers().public_numbers.n)
    assert code_of(s.decrypt, CKM.RSA_PKCS, private, n) == "CKR_ENCRYPTED_DATA_INVALID"
    good = public_op(key, b"\x00\x02" + filler + b"\x00" + b"message!")
    assert s.decrypt(CKM.RSA_PKCS, private, good) == b"message!"


COMPONENTS = ("PRIME_1", "PRIME_2", "EXPONENT_1", "EXPONENT_2", "COEFFICIENT")


@pytest.mark.parametrize("exponent", [3, 65537])
def test_private_key_without_primes(token, exponent):
    """Modulus and exponents are enough; the token finds the rest and signs as fast as ever."""
    s, key = token.session(), rsa_key(2048, exponent)
    parts = parts_of(key)[1]
    lean = {k: v for k, v in parts.items() if k not in [getattr(CKA, c) for c in COMPONENTS]}
    lean |= {CKA.CLASS: CKO.PRIVATE_KEY, CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}
    private = s.create(lean)
    key.public_key().verify(s.sign(CKM.SHA256_RSA_PKCS, private, b"m"), b"m", padding.PKCS1v15(), hashes.SHA256())
    assert s.get(private, CKA.PUBLIC_KEY_INFO) == spki(key)
    p, q = (int.from_bytes(s.get(private, c), "big") for c in (CKA.PRIME_1, CKA.PRIME_2))
    assert p * q == key.private_numbers().public_numbers.n
    assert int.from_bytes(s.get(private, CKA.COEFFICIENT), "big") == pow(q, -1, p)


def test_components_must_agree(token):
    """A wrong component is found when the key is made: a wrong exponent of the CRT gives the primes away at first use."""
    s, key = token.session(), rsa_key(1024)
    parts = parts_of(key)[1] | {CKA.CLASS: CKO.PRIVATE_KEY}
    for name in COMPONENTS + ("MODULUS", "PRIVATE_EXPONENT", "PUBLIC_EXPONENT"):
        kind = getattr(CKA, name)
        value = parts[kind]
        broken = value[:-1] + bytes([value[-1] ^ 2])
        assert code_of(s.create, parts | {kind: broken}) == "CKR_TEMPLATE_INCONSISTENT", name
    assert code_of(s.create, parts | {CKA.PUBLIC_KEY_INFO: spki(rsa_key(2048))}) == "CKR_ATTRIBUTE_VALUE_INVALID"
    assert code_of(s.create, parts | {CKA.PUBLIC_KEY_INFO: spki(key)}) == "CKR_OK"
    del parts[CKA.PRIVATE_EXPONENT], parts[CKA.EXPONENT_1]
    assert code_of(s.create, parts) == "CKR_OK"
    del parts[CKA.PRIME_2]
    assert code_of(s.create, parts) == "CKR_TEMPLATE_INCOMPLETE"


def test_public_key(token):
    """Leading zeros are no part of a number; what cannot be a key is refused."""
    s, key = token.session(), rsa_key(2048)
    n = key.private_numbers().public_numbers.n
    template = {CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: b"\x00" + number(n),
                CKA.PUBLIC_EXPONENT: b"\x00\x01\x00\x01"}
    public = s.create(template)
    assert s.get(public, CKA.MODULUS) == number(n)
    assert s.get(public, CKA.PUBLIC_EXPONENT) == b"\x01\x00\x01"
    assert s.get_ulong(public, CKA.MODULUS_BITS) == 2048
    assert s.get(public, CKA.PUBLIC_KEY_INFO) == spki(key)
    assert public in s.find({CKA.MODULUS: number(n)})
    for kind, value in ((CKA.MODULUS, number(n - 1)), (CKA.MODULUS, b""), (CKA.MODULUS, b"\x00"), (CKA.MODULUS, b"\x03"),
                        (CKA.PUBLIC_EXPONENT, b"\x01"), (CKA.PUBLIC_EXPONENT, b"\x02"), (CKA.PUBLIC_EXPONENT, b"")):
        assert code_of(s.create, template | {kind: value}) == "CKR_ATTRIBUTE_VALUE_INVALID", (kind, value)
    for kind in (CKA.MODULUS, CKA.PUBLIC_EXPONENT):
        assert code_of(s.create, {k: v for k, v in template.items() if k != kind}) == "CKR_TEMPLATE_INCOMPLETE"


def test_codes(token):
    """Wrong keys, classes, uses and sizes."""
    s, key = token.session(), rsa_key(1024)
    public, private = add(s, key)
    ec_public, ec_private = add(s, ec_key("secp256r1"))
    small = add(s, rsa_key(512))
    cases = [
        ("C_SignInit", CKM.RSA_PKCS, public, "KEY_TYPE_INCONSISTENT"),
        ("C_VerifyInit", CKM.RSA_PKCS, private, "KEY_TYPE_INCONSISTENT"),
        ("C_EncryptInit", CKM.RSA_PKCS, private, "KEY_TYPE_INCONSISTENT"),
        ("C_DecryptInit", CKM.RSA_PKCS, public, "KEY_TYPE_INCONSISTENT"),
        ("C_SignInit", CKM.RSA_PKCS, ec_private, "KEY_TYPE_INCONSISTENT"),
        ("C_VerifyInit", CKM.SHA256_RSA_PKCS, ec_public, "KEY_TYPE_INCONSISTENT"),
        ("C_SignInit", CKM.RSA_PKCS, 0, "KEY_HANDLE_INVALID"),
        ("C_SignInit", CKM.RSA_PKCS_OAEP, private, "MECHANISM_INVALID"),
        ("C_EncryptInit", CKM.SHA256_RSA_PKCS, public, "MECHANISM_INVALID"),
        ("C_SignInit", CKM.RSA_PKCS, small[1], "KEY_SIZE_RANGE"),
        ("C_VerifyInit", CKM.SHA1_RSA_PKCS, small[0], "KEY_SIZE_RANGE"),
        ("C_EncryptInit", CKM.RSA_X_509, small[0], "KEY_SIZE_RANGE"),
        ("C_SignInit", CKM.RSA_PKCS, add_private(s, key, SIGN=False), "KEY_FUNCTION_NOT_PERMITTED"),
        ("C_DecryptInit", CKM.RSA_PKCS, add_private(s, key, DECRYPT=False), "KEY_FUNCTION_NOT_PERMITTED"),
        ("C_VerifyInit", CKM.RSA_PKCS, add_public(s, key, VERIFY=False), "KEY_FUNCTION_NOT_PERMITTED"),
        ("C_EncryptInit", CKM.RSA_PKCS, add_public(s, key, ENCRYPT=False), "KEY_FUNCTION_NOT_PERMITTED"),
    ]
    for function, mech, handle, code in cases:
        assert code_of(s.init, function, mech, handle) == "CKR_" + code, (function, CKM.name(mech), code)


def test_parts_only_with_a_hash(token):
    """CKM_RSA_PKCS and the like are single-part; the attempt ends the operation."""
    s, key = token.session(), rsa_key(1024)
    public, private = add(s, key)
    for mech in (CKM.RSA_PKCS, CKM.RSA_X_509, (CKM.RSA_PKCS_PSS, pss("sha1", "sha1", 20))):
        s.init("C_SignInit", mech, private)
        assert code_of(s.call, "C_SignUpdate", b"x", 1) == "CKR_OPERATION_NOT_INITIALIZED"
        assert code_of(s.sign, mech, private, bytes(20)) == "CKR_OK"
        s.init("C_VerifyInit", mech, public)
        assert code_of(s.call, "C_VerifyUpdate", b"x", 1) == "CKR_OPERATION_NOT_INITIALIZED"


def test_threads_share_a_key(token, count):
    """One key object, several sessions and threads: the cached key and its blinding are shared."""
    s, key = token.session(), rsa_key(1024)
    public, private = add(s, key)
    failures = []

    def work(seed: int):
        t = token.session()
        try:
            for i in range(count(400)):
                data = b"%d %d" % (seed, i)
                key.public_key().verify(t.sign(CKM.SHA1_RSA_PKCS, private, data), data, padding.PKCS1v15(), hashes.SHA1())
        except Exception as e:  # noqa: BLE001 - whatever it was, the test must see it
            failures.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []
