"""Keys under secret keys: what C_WrapKey writes is opened by another library, what that wrote C_UnwrapKey takes."""
import ctypes

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, padding as block_padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

import cryptoki
from cryptoki import CKA, CKG, CKK, CKM, CKO, CKR, ULONG, mechanism, struct
from wrapping import (AES, DES3, IV, KEYS, KINDS, PAD, TARGETS, TripleDES, encrypt, gcm, keys, pkcs7,  # noqa: F401
                      pkcs8, private_template, refused, secret, secret_template, spki, spoilt, wrapper, zeros)

# --- secret keys under secret keys ---------------------------------------------------------------------------------

def ccm(length: int):
    return struct("CK_CCM_PARAMS", ulDataLen=length, pNonce=IV[:12], pAAD=b"header", ulMACLen=16)


def ctr():
    return struct("CK_AES_CTR_PARAMS", ulCounterBits=128, cb=IV)


# name, type of the wrapping key, mechanism for n bytes to (un)wrap, what another library makes of the key's value, and
# whether CKA_VALUE_LEN must be given to unwrap
WRAPS = [
    ("AES_ECB", CKK.AES, lambda n: CKM.AES_ECB,
     lambda v: encrypt(algorithms.AES(AES), modes.ECB(), zeros(v, 16)), True),
    ("AES_CBC", CKK.AES, lambda n: (CKM.AES_CBC, IV),
     lambda v: encrypt(algorithms.AES(AES), modes.CBC(IV), zeros(v, 16)), True),
    ("AES_CBC_PAD", CKK.AES, lambda n: (CKM.AES_CBC_PAD, IV),
     lambda v: encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(v, 16)), False),
    ("AES_CTR", CKK.AES, lambda n: (CKM.AES_CTR, ctr()),
     lambda v: encrypt(algorithms.AES(AES), modes.CTR(IV), v), False),
    ("AES_GCM", CKK.AES, lambda n: (CKM.AES_GCM, gcm()), lambda v: AESGCM(AES).encrypt(IV[:12], v, b"header"), False),
    ("AES_CCM", CKK.AES, lambda n: (CKM.AES_CCM, ccm(n)), lambda v: AESCCM(AES).encrypt(IV[:12], v, b"header"), False),
    ("AES_KEY_WRAP", CKK.AES, lambda n: CKM.AES_KEY_WRAP, lambda v: keywrap.aes_key_wrap(AES, zeros(v, 8)), None),
    ("NSS_AES_KEY_WRAP", CKK.AES, lambda n: CKM.NSS_AES_KEY_WRAP,
     lambda v: keywrap.aes_key_wrap(AES, zeros(v, 8)), None),
    ("AES_KEY_WRAP_KWP", CKK.AES, lambda n: CKM.AES_KEY_WRAP_KWP, lambda v: keywrap.aes_key_wrap_with_padding(AES, v),
     False),
    ("DES3_ECB", CKK.DES3, lambda n: CKM.DES3_ECB, lambda v: encrypt(TripleDES(DES3), modes.ECB(), zeros(v, 8)), True),
    ("DES3_CBC", CKK.DES3, lambda n: (CKM.DES3_CBC, IV[:8]),
     lambda v: encrypt(TripleDES(DES3), modes.CBC(IV[:8]), zeros(v, 8)), True),
    ("DES3_CBC_PAD", CKK.DES3, lambda n: (CKM.DES3_CBC_PAD, IV[:8]),
     lambda v: encrypt(TripleDES(DES3), modes.CBC(IV[:8]), pkcs7(v, 8)), False),
    ("DES_ECB", CKK.DES, lambda n: CKM.DES_ECB, lambda v: encrypt(TripleDES(DES3[:8]), modes.ECB(), zeros(v, 8)), True),
    ("DES_CBC", CKK.DES, lambda n: (CKM.DES_CBC, IV[:8]),
     lambda v: encrypt(TripleDES(DES3[:8]), modes.CBC(IV[:8]), zeros(v, 8)), True),
    ("DES_CBC_PAD", CKK.DES, lambda n: (CKM.DES_CBC_PAD, IV[:8]),
     lambda v: encrypt(TripleDES(DES3[:8]), modes.CBC(IV[:8]), pkcs7(v, 8)), False),
]
@pytest.mark.parametrize("name, kind, mech, other, needs_length", WRAPS, ids=[w[0] for w in WRAPS])
@pytest.mark.parametrize("generic", [False, True], ids=["", "generic"])
def test_secret_keys_under_secret_keys(token, name, kind, mech, other, needs_length, generic):
    """With AES and triple DES keys, and with generic secrets of their length, which NSS exports PKCS #12 with."""
    s = token.session()
    key = wrapper(s, CKK.GENERIC_SECRET if generic else kind, KEYS[kind])
    if generic and kind == CKK.DES:
        refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, mech(32), key, secret(s, CKK.AES, AES))
        return
    for target, value in TARGETS:
        case = name, CKK.name(target), len(value)
        m = mech(len(value))
        wrapped = s.wrap(m, key, secret(s, target, value))
        assert wrapped == other(value), case
        length = None if needs_length is False or target == CKK.DES3 else len(value)
        back = s.unwrap(m, key, wrapped, secret_template(target, length))
        assert s.get(back, CKA.VALUE) == value, case
        assert not any(s.get_bool(back, k) for k in (CKA.LOCAL, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE)), case
        assert s.get_ulong(back, CKA.KEY_GEN_MECHANISM) == (1 << 64) - 1, case
        if needs_length is False and target != CKK.DES3:
            # The length that comes out may be told, if it is the right one.
            s.unwrap(m, key, wrapped, secret_template(target, len(value)))
            refused("WRAPPED_KEY_LEN_RANGE", s.unwrap, m, key, wrapped,
                    secret_template(CKK.GENERIC_SECRET, len(value) - 1))
        if needs_length is not False:
            # Not longer than what came out, and not shorter by a block: that would be a key that can be guessed.
            block = 16 if name in ("AES_ECB", "AES_CBC") else 8
            full = len(zeros(value, block))
            for wrong in (full + 1, full - block) if full > block else (full + 1,):
                refused("WRAPPED_KEY_LEN_RANGE", s.unwrap, m, key, wrapped, secret_template(CKK.GENERIC_SECRET, wrong))
        if needs_length:
            refused("TEMPLATE_INCOMPLETE", s.unwrap, m, key, wrapped, secret_template(CKK.GENERIC_SECRET))


# RFC 3394, section 4, and RFC 5649, section 6.
KEK24 = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
PUBLISHED = [
    (CKM.AES_KEY_WRAP, AES[:16], "00112233445566778899aabbccddeeff",
     "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
    (CKM.AES_KEY_WRAP, AES[:24], "00112233445566778899aabbccddeeff",
     "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"),
    (CKM.AES_KEY_WRAP, AES, "00112233445566778899aabbccddeeff",
     "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"),
    (CKM.AES_KEY_WRAP, AES, "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f",
     "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"),
    (CKM.AES_KEY_WRAP_KWP, KEK24, "c37b7e6492584340bed12207808941155068f738",
     "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"),
    (CKM.AES_KEY_WRAP_KWP, KEK24, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
]


@pytest.mark.parametrize("mech, kek, value, wrapped", PUBLISHED, ids=str)
def test_published_key_wraps(token, mech, kek, value, wrapped):
    s = token.session()
    key = wrapper(s, CKK.AES, kek)
    assert s.wrap(mech, key, secret(s, CKK.GENERIC_SECRET, bytes.fromhex(value))).hex() == wrapped
    back = s.unwrap(mech, key, bytes.fromhex(wrapped), secret_template(CKK.GENERIC_SECRET))
    assert s.get(back, CKA.VALUE).hex() == value


def test_rfc_3394_has_no_form_for_a_single_block(token):
    s = token.session()
    key = wrapper(s, CKK.AES, AES)
    for length in (1, 7, 8):
        refused("KEY_SIZE_RANGE", s.wrap, CKM.AES_KEY_WRAP, key, secret(s, CKK.GENERIC_SECRET, b"x" * length))
    assert len(s.wrap(CKM.AES_KEY_WRAP, key, secret(s, CKK.GENERIC_SECRET, b"x" * 9))) == 24


def test_sizes_are_asked_for_first(token):
    """NSS asks with NULL, then gives a buffer; too small a one is told the size and nothing is written."""
    s, raw = token.session(), token.load().raw
    key, target = wrapper(s, CKK.AES, AES), secret(s, CKK.AES, AES)
    m = mechanism((CKM.AES_CBC_PAD, IV))
    length, buffer = ULONG(0), ctypes.create_string_buffer(b"\xcc" * 64, 64)
    arguments = s.handle, ctypes.byref(m), key, target
    assert raw.C_WrapKey(*arguments, None, ctypes.byref(length)) == CKR.OK and length.value == 48
    length.value = 47
    assert raw.C_WrapKey(*arguments, buffer, ctypes.byref(length)) == CKR.BUFFER_TOO_SMALL and length.value == 48
    assert buffer.raw == b"\xcc" * 64
    length.value = 64
    assert raw.C_WrapKey(*arguments, buffer, ctypes.byref(length)) == CKR.OK and length.value == 48
    assert buffer.raw[:48] == encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(AES, 16))
    assert buffer.raw[48:] == b"\xcc" * 16


def message_params(kind: str, tag, generator: int = CKG.NO_GENERATE, iv=None, fixed: int = 0):
    """Parameters of C_WrapKeyAuthenticated; `tag` and `iv` are written to."""
    iv = ctypes.create_string_buffer(IV[:12], 12) if iv is None else iv
    if kind == "GCM":
        return CKM.AES_GCM, struct("CK_GCM_MESSAGE_PARAMS", pIv=iv, ulIvLen=12, ulIvFixedBits=fixed,
                                   ivGenerator=generator, pTag=tag, ulTagBits=128)
    return CKM.AES_CCM, struct("CK_CCM_MESSAGE_PARAMS", pNonce=iv, ulNonceLen=12, ulNonceFixedBits=fixed,
                               nonceGenerator=generator, pMAC=tag, ulMACLen=16)


@pytest.mark.parametrize("kind, other", [("GCM", AESGCM), ("CCM", AESCCM)])
@pytest.mark.parametrize("what", ["secret", "RSA"])
def test_authenticated_wrapping(token, keys, kind, other, what):
    """C_WrapKeyAuthenticated puts the tag into the parameter and makes the nonce if asked to."""
    s = token.session()
    key, private = wrapper(s, CKK.AES, AES), what == "RSA"
    plain = pkcs8(keys["RSA"]) if private else AES
    target = secret(s, CKK.AES, AES)
    if private:
        target = s.unwrap(PAD, key, encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(plain, 16)),
                          private_template(CKK.RSA))

    def unwrap(tag: bytes, wrapped: bytes, iv: bytes, aad: bytes = b"header") -> int:
        m = mechanism(message_params(kind, tag, iv=iv))
        templ = cryptoki.template(private_template(CKK.RSA) if private else secret_template(CKK.AES))
        return s.handle_from("C_UnwrapKeyAuthenticated", ctypes.byref(m), key, wrapped, len(wrapped), templ, len(templ),
                             aad, len(aad))
    nonces = set()
    for generator, fixed in ((CKG.NO_GENERATE, 0), (CKG.GENERATE, 32), (CKG.GENERATE_RANDOM, 0)):
        tag, iv = ctypes.create_string_buffer(b"\xcc" * 16, 16), ctypes.create_string_buffer(IV[:12], 12)
        m = mechanism(message_params(kind, tag, generator, iv, fixed))
        wrapped = s.output("C_WrapKeyAuthenticated", ctypes.byref(m), key, target, b"header", 6)
        assert other(AES).decrypt(iv.raw, wrapped + tag.raw, b"header") == plain
        assert iv.raw[:4] == IV[:4] or not fixed
        assert (iv.raw == IV[:12]) == (generator == CKG.NO_GENERATE)
        nonces.add(iv.raw)
        back = unwrap(tag.raw, wrapped, iv.raw)
        if private:
            assert s.get(back, CKA.PUBLIC_KEY_INFO) == spki(keys["RSA"])
        else:
            assert s.get(back, CKA.VALUE) == AES
        refused("WRAPPED_KEY_INVALID", unwrap, bytes(16), wrapped, iv.raw)
        refused("WRAPPED_KEY_INVALID", unwrap, tag.raw, wrapped, iv.raw, b"other")
        refused("WRAPPED_KEY_INVALID", unwrap, tag.raw, spoilt(wrapped, 0), iv.raw)
    assert len(nonces) == 3
    refused("MECHANISM_INVALID", s.output, "C_WrapKeyAuthenticated", ctypes.byref(mechanism(PAD)), key, target, b"", 0)
    bad = mechanism((CKM.AES_GCM if kind == "GCM" else CKM.AES_CCM, gcm()))
    refused("MECHANISM_PARAM_INVALID", s.output, "C_WrapKeyAuthenticated", ctypes.byref(bad), key, target, b"", 0)
    none = mechanism(message_params(kind, None))
    refused("MECHANISM_PARAM_INVALID", s.output, "C_WrapKeyAuthenticated", ctypes.byref(none), key, target, b"", 0)


# --- private keys under secret keys --------------------------------------------------------------------------------

@pytest.mark.parametrize("name", KINDS)
def test_private_keys_there_and_back(token, keys, name):
    """PKCS #8 of another library in, the same key out of the token again; and it works."""
    s = token.session()
    key, original = wrapper(s, CKK.AES, AES), keys[name]
    mech = CKM.AES_CBC_PAD, IV
    wrapped = encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(pkcs8(original), 16))
    here = s.unwrap(mech, key, wrapped, private_template(KINDS[name]) | {CKA.SIGN: True, CKA.DERIVE: True})
    assert s.get(here, CKA.PUBLIC_KEY_INFO) == spki(original)
    assert not any(s.get_bool(here, k) for k in (CKA.LOCAL, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE))

    d = Cipher(algorithms.AES(AES), modes.CBC(IV)).decryptor()
    u = block_padding.PKCS7(128).unpadder()
    again = u.update(d.update(s.wrap(mech, key, here))) + u.finalize()
    back = serialization.load_der_private_key(again, None)
    assert pkcs8(back) == pkcs8(original)


PRIVATE_WRAPS = [
    ("AES_CBC_PAD", CKK.AES, (CKM.AES_CBC_PAD, IV),
     lambda v: encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(v, 16))),
    ("AES_CTR", CKK.AES, (CKM.AES_CTR, ctr()),
     lambda v: encrypt(algorithms.AES(AES), modes.CTR(IV), v)),
    ("AES_GCM", CKK.AES, (CKM.AES_GCM, gcm()), lambda v: AESGCM(AES).encrypt(IV[:12], v, b"header")),
    ("AES_KEY_WRAP", CKK.AES, CKM.AES_KEY_WRAP, lambda v: keywrap.aes_key_wrap(AES, zeros(v, 8))),
    ("AES_KEY_WRAP_KWP", CKK.AES, CKM.AES_KEY_WRAP_KWP, lambda v: keywrap.aes_key_wrap_with_padding(AES, v)),
    ("DES3_CBC_PAD", CKK.DES3, (CKM.DES3_CBC_PAD, IV[:8]),
     lambda v: encrypt(TripleDES(DES3), modes.CBC(IV[:8]), pkcs7(v, 8))),
]


@pytest.mark.parametrize("name, kind, mech, other", PRIVATE_WRAPS, ids=[w[0] for w in PRIVATE_WRAPS])
@pytest.mark.parametrize("what", ["RSA", "P-521"])
def test_private_keys_under_every_mechanism(token, keys, name, kind, mech, other, what):
    s = token.session()
    key = wrapper(s, kind, KEYS[kind])
    here = s.unwrap(mech, key, other(pkcs8(keys[what])), private_template(KINDS[what]) | {CKA.SIGN: True})
    assert s.get(here, CKA.PUBLIC_KEY_INFO) == spki(keys[what])
    again = s.unwrap(mech, key, s.wrap(mech, key, here), private_template(KINDS[what]))
    assert s.get(again, CKA.PUBLIC_KEY_INFO) == spki(keys[what])


def test_private_key_as_nss_imports_it(token, keys):
    """PKCS #12 import: {TOKEN, PRIVATE, SENSITIVE, LABEL, ID, usage}; then it signs, also when loaded anew."""
    s = token.session()
    key = wrapper(s, CKK.AES, AES)
    wrapped = encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(pkcs8(keys["RSA"]), 16))
    s.unwrap((CKM.AES_CBC_PAD, IV), key, wrapped, {
        CKA.TOKEN: True, CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.PRIVATE: True, CKA.SENSITIVE: True,
        CKA.LABEL: "imported", CKA.ID: b"\x07" * 20, CKA.DECRYPT: True, CKA.UNWRAP: True, CKA.SIGN: True,
        CKA.SIGN_RECOVER: True})
    for _ in range(2):
        s = token.session()
        here = s.find_one({CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: b"\x07" * 20})
        refused("ATTRIBUTE_SENSITIVE", s.get, here, CKA.PRIVATE_EXPONENT)
        signature = s.sign(CKM.SHA256_RSA_PKCS, here, b"text")
        keys["RSA"].public_key().verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())
        token.finalize()
