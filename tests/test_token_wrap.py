"""Keys under other keys: what C_WrapKey writes is opened by another library, what that wrote C_UnwrapKey takes, and both
refuse what they must."""
import ctypes
import os

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, padding as block_padding, serialization
from cryptography.hazmat.primitives.asymmetric import dh, dsa, ec, ed448, ed25519, padding, rsa, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

import cryptoki
from cryptoki import CKA, CKG, CKK, CKM, CKO, CKR, CKU, CKZ, CkError, ULONG, mechanism, struct

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:
    TripleDES = algorithms.TripleDES

READABLE = {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}
IV = bytes(range(100, 116))


def refused(name: str, function, *arguments):
    with pytest.raises(CkError) as e:
        function(*arguments)
    assert e.value.name == "CKR_" + name, arguments


def secret(session, kind: int, value: bytes, **more) -> int:
    """A readable session key; `more` are attributes by name."""
    return session.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value} | READABLE |
                          {getattr(CKA, k): v for k, v in more.items()})


def wrapper(session, kind: int, value: bytes, **more) -> int:
    return secret(session, kind, value, WRAP=True, UNWRAP=True, **more)


def secret_template(kind: int, length: int = None) -> dict:
    return {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind} | READABLE | ({CKA.VALUE_LEN: length} if length else {})


def private_template(kind: int) -> dict:
    return {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: kind} | READABLE


def odd(key: bytes) -> bytes:
    """A DES key with its parity bits."""
    return bytes(b ^ (1 - b.bit_count() % 2) for b in key)


AES, DES3 = bytes(range(32)), odd(bytes(range(64, 88)))
KEYS = {CKK.AES: AES, CKK.DES3: DES3, CKK.DES: DES3[:8]}


def zeros(value: bytes, block: int) -> bytes:
    return value + bytes(-len(value) % block)


def pkcs7(value: bytes, block: int) -> bytes:
    p = block_padding.PKCS7(block * 8).padder()
    return p.update(value) + p.finalize()


def encrypt(algorithm, mode, data: bytes) -> bytes:
    e = Cipher(algorithm, mode).encryptor()
    return e.update(data) + e.finalize()


# --- secret keys under secret keys ---------------------------------------------------------------------------------

def gcm(tag_bits: int = 128):
    return struct("CK_GCM_PARAMS", pIv=IV[:12], pAAD=b"header", ulTagBits=tag_bits, ulIvBits=96)


def ccm(length: int):
    return struct("CK_CCM_PARAMS", ulDataLen=length, pNonce=IV[:12], pAAD=b"header", ulMACLen=16)


def ctr():
    return struct("CK_AES_CTR_PARAMS", ulCounterBits=128, cb=IV)


# name, type of the wrapping key, mechanism for n bytes to (un)wrap, what another library makes of the key's value, and
# whether CKA_VALUE_LEN must be given to unwrap
WRAPS = [
    ("AES_ECB", CKK.AES, lambda n: CKM.AES_ECB, lambda v: encrypt(algorithms.AES(AES), modes.ECB(), zeros(v, 16)), True),
    ("AES_CBC", CKK.AES, lambda n: (CKM.AES_CBC, IV),
     lambda v: encrypt(algorithms.AES(AES), modes.CBC(IV), zeros(v, 16)), True),
    ("AES_CBC_PAD", CKK.AES, lambda n: (CKM.AES_CBC_PAD, IV),
     lambda v: encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(v, 16)), False),
    ("AES_CTR", CKK.AES, lambda n: (CKM.AES_CTR, ctr()), lambda v: encrypt(algorithms.AES(AES), modes.CTR(IV), v), False),
    ("AES_GCM", CKK.AES, lambda n: (CKM.AES_GCM, gcm()), lambda v: AESGCM(AES).encrypt(IV[:12], v, b"header"), False),
    ("AES_CCM", CKK.AES, lambda n: (CKM.AES_CCM, ccm(n)), lambda v: AESCCM(AES).encrypt(IV[:12], v, b"header"), False),
    ("AES_KEY_WRAP", CKK.AES, lambda n: CKM.AES_KEY_WRAP, lambda v: keywrap.aes_key_wrap(AES, zeros(v, 8)), None),
    ("NSS_AES_KEY_WRAP", CKK.AES, lambda n: CKM.NSS_AES_KEY_WRAP, lambda v: keywrap.aes_key_wrap(AES, zeros(v, 8)), None),
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
TARGETS = [(CKK.AES, AES[:16]), (CKK.AES, AES[:24]), (CKK.AES, AES), (CKK.DES3, DES3), (CKK.GENERIC_SECRET, b"0123456789abc"),
           (CKK.GENERIC_SECRET, bytes(range(1, 49))), (CKK.SHA256_HMAC, b"m" * 32), (CKK.RC4, b"rc4-key-9")]


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
            refused("WRAPPED_KEY_LEN_RANGE", s.unwrap, m, key, wrapped, secret_template(CKK.GENERIC_SECRET, len(value) - 1))
        if needs_length is not False:
            # Not longer than what came out, and not shorter by a block or more: that would make a key that can be guessed.
            block = 16 if name in ("AES_ECB", "AES_CBC") else 8
            full = len(zeros(value, block))
            for wrong in (full + 1, full - block) if full > block else (full + 1,):
                refused("WRAPPED_KEY_LEN_RANGE", s.unwrap, m, key, wrapped, secret_template(CKK.GENERIC_SECRET, wrong))
        if needs_length:
            refused("TEMPLATE_INCOMPLETE", s.unwrap, m, key, wrapped, secret_template(CKK.GENERIC_SECRET))


# RFC 3394, section 4, and RFC 5649, section 6.
KEK24 = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
PUBLISHED = [
    (CKM.AES_KEY_WRAP, AES[:16], "00112233445566778899aabbccddeeff", "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
    (CKM.AES_KEY_WRAP, AES[:24], "00112233445566778899aabbccddeeff", "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"),
    (CKM.AES_KEY_WRAP, AES, "00112233445566778899aabbccddeeff", "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"),
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
        return CKM.AES_GCM, struct("CK_GCM_MESSAGE_PARAMS", pIv=iv, ulIvLen=12, ulIvFixedBits=fixed, ivGenerator=generator,
                                   pTag=tag, ulTagBits=128)
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
        target = s.unwrap(PAD, key, encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(plain, 16)), private_template(CKK.RSA))

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
        refused("WRAPPED_KEY_INVALID", unwrap, tag.raw, b"\0" + wrapped[1:], iv.raw)
    assert len(nonces) == 3
    refused("MECHANISM_INVALID", s.output, "C_WrapKeyAuthenticated", ctypes.byref(mechanism(PAD)), key, target, b"", 0)
    bad = mechanism((CKM.AES_GCM if kind == "GCM" else CKM.AES_CCM, gcm()))
    refused("MECHANISM_PARAM_INVALID", s.output, "C_WrapKeyAuthenticated", ctypes.byref(bad), key, target, b"", 0)
    none = mechanism(message_params(kind, None))
    refused("MECHANISM_PARAM_INVALID", s.output, "C_WrapKeyAuthenticated", ctypes.byref(none), key, target, b"", 0)


# --- private keys under secret keys --------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def keys():
    """Private keys of another library, by name."""
    group = dh.DHParameterNumbers(int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
        "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
        "49286651ECE65381FFFFFFFFFFFFFFFF", 16), 2)
    return {
        "RSA": rsa.generate_private_key(65537, 2048),
        "P-256": ec.generate_private_key(ec.SECP256R1()),
        "P-521": ec.generate_private_key(ec.SECP521R1()),
        "secp256k1": ec.generate_private_key(ec.SECP256K1()),
        "DSA": dsa.generate_private_key(1024),
        "DH": group.parameters().generate_private_key(),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
        "Ed448": ed448.Ed448PrivateKey.generate(),
        "X25519": x25519.X25519PrivateKey.generate(),
        "X448": x448.X448PrivateKey.generate(),
    }


KINDS = {"RSA": CKK.RSA, "P-256": CKK.EC, "P-521": CKK.EC, "secp256k1": CKK.EC, "DSA": CKK.DSA, "DH": CKK.DH,
         "Ed25519": CKK.EC_EDWARDS, "Ed448": CKK.EC_EDWARDS, "X25519": CKK.EC_MONTGOMERY, "X448": CKK.EC_MONTGOMERY}


def pkcs8(key) -> bytes:
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def spki(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


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
    ("AES_CBC_PAD", CKK.AES, (CKM.AES_CBC_PAD, IV), lambda v: encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(v, 16))),
    ("AES_CTR", CKK.AES, (CKM.AES_CTR, ctr()), lambda v: encrypt(algorithms.AES(AES), modes.CTR(IV), v)),
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
    """PKCS #12 import: {TOKEN, PRIVATE, SENSITIVE, LABEL, ID, usage}; then it signs, after the module was loaded anew too."""
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


# --- under RSA keys ------------------------------------------------------------------------------------------------

def big(n: int) -> bytes:
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def rsa_pair(session, key, **private) -> tuple:
    """(public, private) objects of another library's key, for wrapping."""
    n = key.private_numbers()
    e = n.public_numbers
    public = session.create({CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: big(e.n),
                             CKA.PUBLIC_EXPONENT: big(e.e), CKA.WRAP: True, CKA.ENCRYPT: True})
    mine = session.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: big(e.n),
                           CKA.PUBLIC_EXPONENT: big(e.e), CKA.PRIVATE_EXPONENT: big(n.d), CKA.PRIME_1: big(n.p),
                           CKA.PRIME_2: big(n.q), CKA.EXPONENT_1: big(n.dmp1), CKA.EXPONENT_2: big(n.dmq1),
                           CKA.COEFFICIENT: big(n.iqmp), CKA.UNWRAP: True, CKA.DECRYPT: True} |
                          {getattr(CKA, k): v for k, v in private.items()})
    return public, mine


def oaep(hash_mechanism: int = CKM.SHA_1, mgf: int = CKG.MGF1_SHA1, label: bytes = None):
    source = {} if label is None else {"pSourceData": label}
    return struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=hash_mechanism, mgf=mgf, source=CKZ.DATA_SPECIFIED, **source)


def oaep_padding(h=hashes.SHA1, label=None):
    return padding.OAEP(padding.MGF1(h()), h(), label)


ASYMMETRIC = [
    ("PKCS", CKM.RSA_PKCS, padding.PKCS1v15()),
    ("OAEP-SHA1", (CKM.RSA_PKCS_OAEP, oaep()), oaep_padding()),
    ("OAEP-SHA256-label", (CKM.RSA_PKCS_OAEP, oaep(CKM.SHA256, CKG.MGF1_SHA256, b"label")),
     oaep_padding(hashes.SHA256, b"label")),
]


@pytest.mark.parametrize("name, mech, scheme", ASYMMETRIC, ids=[a[0] for a in ASYMMETRIC])
def test_secret_keys_under_rsa(token, keys, name, mech, scheme):
    """S/MIME content keys and TLS premaster secrets come so."""
    s = token.session()
    public, private = rsa_pair(s, keys["RSA"])
    for target, value in TARGETS:
        case = CKK.name(target), len(value)
        wrapped = s.wrap(mech, public, secret(s, target, value))
        assert keys["RSA"].decrypt(wrapped, scheme) == value, case
        for length in {None, None if target == CKK.DES3 else len(value)}:
            back = s.unwrap(mech, private, keys["RSA"].public_key().encrypt(value, scheme),
                            secret_template(target, length))
            assert s.get(back, CKA.VALUE) == value, case
            assert not any(s.get_bool(back, k) for k in (CKA.LOCAL, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE))
    room = {"PKCS": 245, "OAEP-SHA1": 214, "OAEP-SHA256-label": 190}[name]
    s.wrap(mech, public, secret(s, CKK.GENERIC_SECRET, b"x" * room))
    refused("KEY_SIZE_RANGE", s.wrap, mech, public, secret(s, CKK.GENERIC_SECRET, b"x" * (room + 1)))
    refused("KEY_NOT_WRAPPABLE", s.wrap, mech, public, private)
    wrapped = keys["RSA"].public_key().encrypt(b"x" * 16, scheme)
    for bad in (wrapped[:-1], wrapped + b"\0", b""):
        refused("WRAPPED_KEY_LEN_RANGE", s.unwrap, mech, private, bad, secret_template(CKK.AES))
    refused("WRAPPED_KEY_INVALID", s.unwrap, mech, private, b"\xff" * 256, secret_template(CKK.AES, 16))
    refused("TEMPLATE_INCONSISTENT", s.unwrap, mech, private, wrapped, private_template(CKK.EC))
    if name != "PKCS":
        refused("WRAPPED_KEY_LEN_RANGE", s.unwrap, mech, private, wrapped, secret_template(CKK.AES, 32))
        refused("WRAPPED_KEY_INVALID", s.unwrap, mech, private, b"\1" + wrapped[1:], secret_template(CKK.AES, 16))


def test_raw_rsa(token, keys):
    """The key is at the end of the block; its length has to be told."""
    s = token.session()
    public, private = rsa_pair(s, keys["RSA"])
    n = keys["RSA"].private_numbers()
    wrapped = s.wrap(CKM.RSA_X_509, public, secret(s, CKK.AES, AES))
    assert pow(int.from_bytes(wrapped, "big"), n.d, n.public_numbers.n) == int.from_bytes(AES, "big")
    back = s.unwrap(CKM.RSA_X_509, private, wrapped, secret_template(CKK.AES, 32))
    assert s.get(back, CKA.VALUE) == AES
    des = s.unwrap(CKM.RSA_X_509, private, s.wrap(CKM.RSA_X_509, public, secret(s, CKK.DES3, DES3)),
                   secret_template(CKK.DES3))
    assert s.get(des, CKA.VALUE) == DES3
    refused("TEMPLATE_INCOMPLETE", s.unwrap, CKM.RSA_X_509, private, wrapped, secret_template(CKK.AES))
    refused("KEY_NOT_WRAPPABLE", s.wrap, CKM.RSA_X_509, public, private)


def test_bad_pkcs1_padding_is_not_told(token, keys, count):
    """Whatever a ciphertext decrypts to, C_UnwrapKey gives a key: of the length that the template asks for, the same each
    time. So nobody can use the token as an oracle, neither for the padding nor for the length of what is inside."""
    s = token.session()
    _, private = rsa_pair(s, keys["RSA"])
    n = keys["RSA"].private_numbers().public_numbers

    def raw(block: bytes) -> bytes:
        assert len(block) == 256
        return pow(int.from_bytes(block, "big"), n.e, n.n).to_bytes(256, "big")

    def value(wrapped: bytes, template: dict) -> bytes:
        return s.get(s.unwrap(CKM.RSA_PKCS, private, wrapped, template), CKA.VALUE)
    premaster = b"\x03\x03" + bytes(range(46))
    good = b"\0\2" + b"\x55" * (256 - 3 - 48) + b"\0" + premaster
    tls = secret_template(CKK.GENERIC_SECRET, 48)
    assert value(raw(good), tls) == premaster
    bad = [b"\0\1" + good[2:], b"\1\2" + good[2:], b"\0\2" + b"\x55" * 254, b"\0\2" + bytes(254), bytes(256),
           b"\0\2" + b"\x55" * 7 + b"\0" + b"\x77" * 246,              # seven bytes of padding
           good[:-49] + b"\x55\0" + premaster[1:],                     # 47 bytes
           good[:-50] + b"\0\x09" + premaster,                         # 49 bytes
           good[:-1 - 48] + b"\x55" + premaster[:-1] + b"\0"]          # none
    seen = set()
    for block in bad:
        results = {value(raw(block), tls) for _ in range(2)}
        assert len(results) == 1, block.hex()
        seen |= results
        assert {len(r) for r in results} == {48} and premaster[2:] not in results.pop()
    assert len(seen) == len(bad)
    # Eight bytes of padding are enough, and the whole rest is the key.
    assert value(raw(b"\0\2" + b"\x55" * 8 + b"\0" + b"\x77" * 245), secret_template(CKK.GENERIC_SECRET)) == b"\x77" * 245
    # Without a length, it is one that a key of the type may have.
    for kind, lengths in ((CKK.AES, {16, 24, 32}), (CKK.DES3, {24}), (CKK.RC4, set(range(1, 246)))):
        got = {len(value(raw(b"\0\1" + os.urandom(254)), secret_template(kind))) for _ in range(count(200))}
        assert got <= lengths and (kind != CKK.AES or len(got) == 3), CKK.name(kind)


def test_rsa_aes_key_wrap(token, keys):
    """Built and taken apart by another library: the AES key under OAEP, then the key under RFC 5649."""
    s = token.session()
    public, private = rsa_pair(s, keys["RSA"])
    for bits, h, hash_mechanism, mgf in ((128, hashes.SHA1, CKM.SHA_1, CKG.MGF1_SHA1),
                                         (192, hashes.SHA384, CKM.SHA384, CKG.MGF1_SHA384),
                                         (256, hashes.SHA256, CKM.SHA256, CKG.MGF1_SHA256)):
        mech = CKM.RSA_AES_KEY_WRAP, struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=bits,
                                            pOAEPParams=oaep(hash_mechanism, mgf))
        scheme = oaep_padding(h)
        for name in ("RSA", "P-256", "Ed25519"):
            aes = os.urandom(bits // 8)
            wrapped = keys["RSA"].public_key().encrypt(aes, scheme) + keywrap.aes_key_wrap_with_padding(
                aes, pkcs8(keys[name]))
            here = s.unwrap(mech, private, wrapped, private_template(KINDS[name]))
            assert s.get(here, CKA.PUBLIC_KEY_INFO) == spki(keys[name])
            out = s.wrap(mech, public, here)
            aes = keys["RSA"].decrypt(out[:256], scheme)
            assert len(aes) == bits // 8
            again = serialization.load_der_private_key(keywrap.aes_key_unwrap_with_padding(aes, out[256:]), None)
            assert pkcs8(again) == pkcs8(keys[name])
            assert s.wrap(mech, public, here) != out
        back = s.unwrap(mech, private, s.wrap(mech, public, secret(s, CKK.AES, AES)), secret_template(CKK.AES))
        assert s.get(back, CKA.VALUE) == AES
        for bad, code in ((wrapped[:256], "WRAPPED_KEY_LEN_RANGE"), (wrapped[:100], "WRAPPED_KEY_LEN_RANGE"),
                          (wrapped[:-8], "WRAPPED_KEY_INVALID"), (wrapped[:-1] + b"\0\0", "WRAPPED_KEY_INVALID"),
                          (b"\1" + wrapped[1:], "WRAPPED_KEY_INVALID")):
            refused(code, s.unwrap, mech, private, bad, private_template(CKK.EC_EDWARDS))
        other = CKM.RSA_AES_KEY_WRAP, struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=384 - bits if bits != 192 else 128,
                                             pOAEPParams=oaep(hash_mechanism, mgf))
        refused("WRAPPED_KEY_INVALID", s.unwrap, other, private, wrapped, private_template(CKK.EC_EDWARDS))
    for parameter in (None, b"", struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=256),
                      struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=0, pOAEPParams=oaep()),
                      struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=256, pOAEPParams=oaep(CKM.AES_CBC))):
        refused("MECHANISM_PARAM_INVALID", s.wrap, (CKM.RSA_AES_KEY_WRAP, parameter), public, here)
        refused("MECHANISM_PARAM_INVALID", s.unwrap, (CKM.RSA_AES_KEY_WRAP, parameter), private, wrapped,
                private_template(CKK.EC_EDWARDS))


# --- who may wrap what ---------------------------------------------------------------------------------------------

PAD = CKM.AES_CBC_PAD, IV


def test_keys_that_may_not_be_wrapped(token, keys):
    s = token.session()
    key, target = wrapper(s, CKK.AES, AES), secret(s, CKK.AES, AES)
    public, private = rsa_pair(s, keys["RSA"])
    refused("KEY_UNEXTRACTABLE", s.wrap, PAD, key, s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16,
                                                                                   CKA.EXTRACTABLE: False}))
    hidden = s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.SENSITIVE: True, CKA.EXTRACTABLE: True})
    assert len(s.wrap(PAD, key, hidden)) == 32
    data = s.create({CKA.CLASS: CKO.DATA, CKA.VALUE: b"x"})
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, data)
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, 0)
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, 0x7ffffff0)
    refused("KEY_NOT_WRAPPABLE", s.wrap, PAD, key, public)
    refused("WRAPPING_KEY_HANDLE_INVALID", s.wrap, PAD, data, target)
    refused("WRAPPING_KEY_HANDLE_INVALID", s.wrap, PAD, 0, target)
    refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, PAD, public, target)
    refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, CKM.RSA_PKCS, key, target)
    refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, CKM.RSA_PKCS, private, target)
    refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, (CKM.DES3_CBC_PAD, IV[:8]), key, target)
    refused("KEY_FUNCTION_NOT_PERMITTED", s.wrap, PAD, secret(s, CKK.AES, AES, WRAP=False), target)
    refused("WRAPPING_KEY_SIZE_RANGE", s.wrap, PAD, wrapper(s, CKK.GENERIC_SECRET, AES[:17]), target)
    refused("MECHANISM_PARAM_INVALID", s.wrap, (CKM.AES_CBC_PAD, IV[:15]), key, target)
    refused("MECHANISM_INVALID", s.wrap, CKM.SHA256, key, target)
    refused("MECHANISM_INVALID", s.wrap, (CKM.AES_OFB, IV), key, target)
    limited = wrapper(s, CKK.AES, AES, ALLOWED_MECHANISMS=[CKM.AES_KEY_WRAP])
    s.wrap(CKM.AES_KEY_WRAP, limited, target)
    with pytest.raises(CkError):
        s.wrap(PAD, limited, target)
    ec_key = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}, READABLE)[1]
    for mech in (CKM.AES_ECB, (CKM.AES_CBC, IV)):
        refused("KEY_NOT_WRAPPABLE", s.wrap, mech, key, ec_key)
        refused("TEMPLATE_INCONSISTENT", s.unwrap, mech, key, bytes(160), private_template(CKK.EC))


def test_only_trusted_keys_wrap_the_careful(token):
    """CKA_WRAP_WITH_TRUSTED; only the SO may call a key trusted."""
    s = token.session()
    careful = secret(s, CKK.AES, AES, WRAP_WITH_TRUSTED=True)
    refused("KEY_NOT_WRAPPABLE", s.wrap, PAD, wrapper(s, CKK.AES, AES), careful)
    with pytest.raises(CkError):
        wrapper(s, CKK.AES, AES, TRUSTED=True)
    s.logout()
    s.login(token.so_pin, CKU.SO)
    trusted = wrapper(s, CKK.AES, AES, TRUSTED=True, PRIVATE=False)
    s.logout()
    s.login(token.pin)
    careful = secret(s, CKK.AES, AES, WRAP_WITH_TRUSTED=True)
    assert s.wrap(PAD, trusted, careful) == encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(AES, 16))


def test_wrap_template(token):
    """A wrapping key for keys of a certain kind only."""
    s = token.session()
    key = wrapper(s, CKK.AES, AES, WRAP_TEMPLATE={CKA.KEY_TYPE: CKK.AES, CKA.LABEL: "for export"})
    s.wrap(PAD, key, secret(s, CKK.AES, AES, LABEL="for export"))
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, secret(s, CKK.AES, AES, LABEL="other"))
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, secret(s, CKK.GENERIC_SECRET, AES, LABEL="for export"))
    limits = wrapper(s, CKK.AES, AES, WRAP_TEMPLATE={CKA.MODULUS_BITS: 2048})
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, limits, secret(s, CKK.AES, AES))


def test_unwrap_template(token):
    """What the unwrapping key adds to every key, and may not be contradicted."""
    s = token.session()
    key = wrapper(s, CKK.AES, AES, UNWRAP_TEMPLATE={CKA.EXTRACTABLE: False, CKA.LABEL: "imported",
                                                    CKA.WRAP_TEMPLATE: {CKA.KEY_TYPE: CKK.AES}})
    wrapped = encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(AES, 16))
    what = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES}
    for more in ({}, {CKA.EXTRACTABLE: False}, {CKA.LABEL: "imported"}):
        new = s.unwrap(PAD, key, wrapped, what | more)
        assert not s.get_bool(new, CKA.EXTRACTABLE) and s.get(new, CKA.LABEL) == b"imported"
        s.wrap(PAD, new, secret(s, CKK.AES, AES))
        refused("KEY_HANDLE_INVALID", s.wrap, PAD, new, secret(s, CKK.GENERIC_SECRET, AES))
    for more in ({CKA.EXTRACTABLE: True}, {CKA.LABEL: "mine"}, {CKA.WRAP_TEMPLATE: {CKA.KEY_TYPE: CKK.DES3}}):
        refused("TEMPLATE_INCONSISTENT", s.unwrap, PAD, key, wrapped, what | more)
    on_token = wrapper(s, CKK.AES, AES, UNWRAP_TEMPLATE={CKA.TOKEN: True})
    refused("SESSION_READ_ONLY", token.session(rw=False).unwrap, PAD, on_token, wrapped, what)


def test_keys_that_cannot_be_unwrapped(token, keys):
    s = token.session()
    key, plain = wrapper(s, CKK.AES, AES), secret(s, CKK.AES, AES, UNWRAP=False)
    public, private = rsa_pair(s, keys["RSA"])
    what = secret_template(CKK.AES)
    wrapped = s.wrap(PAD, key, secret(s, CKK.AES, AES))
    assert s.find({CKA.CLASS: CKO.SECRET_KEY, CKA.LABEL: "new"}) == []
    new = what | {CKA.LABEL: "new"}
    for code, mech, who, data, template in (
            ("UNWRAPPING_KEY_HANDLE_INVALID", PAD, 0, wrapped, new),
            ("UNWRAPPING_KEY_TYPE_INCONSISTENT", PAD, private, wrapped, new),
            ("UNWRAPPING_KEY_TYPE_INCONSISTENT", CKM.RSA_PKCS, key, wrapped, new),
            ("UNWRAPPING_KEY_TYPE_INCONSISTENT", CKM.RSA_PKCS, public, bytes(256), new),
            ("UNWRAPPING_KEY_SIZE_RANGE", PAD, wrapper(s, CKK.GENERIC_SECRET, AES[:17]), wrapped, new),
            ("KEY_FUNCTION_NOT_PERMITTED", PAD, plain, wrapped, new),
            ("MECHANISM_INVALID", CKM.SHA256, key, wrapped, new),
            ("MECHANISM_INVALID", (CKM.AES_OFB, IV), key, wrapped, new),
            ("MECHANISM_PARAM_INVALID", (CKM.AES_CBC_PAD, b""), key, wrapped, new),
            ("MECHANISM_PARAM_INVALID", (CKM.RSA_PKCS, b"x"), private, bytes(256), new),
            ("WRAPPED_KEY_LEN_RANGE", PAD, key, wrapped[:-1], new),
            ("WRAPPED_KEY_LEN_RANGE", PAD, key, b"", new),
            ("WRAPPED_KEY_INVALID", PAD, key, wrapped[:-16] + bytes(16), new),
            ("WRAPPED_KEY_INVALID", CKM.AES_KEY_WRAP, key, bytes(24), new),
            ("WRAPPED_KEY_INVALID", CKM.AES_KEY_WRAP_KWP, key, bytes(24), new),
            ("WRAPPED_KEY_INVALID", (CKM.AES_GCM, gcm()), key, bytes(32), new),
            ("WRAPPED_KEY_INVALID", PAD, key, wrapped, private_template(CKK.RSA)),
            ("WRAPPED_KEY_LEN_RANGE", PAD, key, s.wrap(PAD, key, secret(s, CKK.GENERIC_SECRET, b"x" * 15)), new),
            ("WRAPPED_KEY_LEN_RANGE", PAD, key, wrapped, new | {CKA.KEY_TYPE: CKK.DES3}),
            ("TEMPLATE_INCOMPLETE", PAD, key, wrapped, {CKA.CLASS: CKO.SECRET_KEY}),
            ("TEMPLATE_INCONSISTENT", PAD, key, wrapped, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.RSA}),
            ("ATTRIBUTE_READ_ONLY", PAD, key, wrapped, new | {CKA.VALUE: AES}),
            ("ATTRIBUTE_READ_ONLY", PAD, key, wrapped, new | {CKA.ALWAYS_SENSITIVE: True})):
        refused(code, s.unwrap, mech, who, data, template)
    ec_blob = encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(pkcs8(keys["P-256"]), 16))
    refused("WRAPPED_KEY_INVALID", s.unwrap, PAD, key, ec_blob, private_template(CKK.RSA))
    refused("WRAPPED_KEY_INVALID", s.unwrap, PAD, key,
            encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(pkcs8(keys["P-256"])[:-3], 16)), private_template(CKK.EC))
    refused("SESSION_READ_ONLY", token.session(rw=False).unwrap, PAD, key, wrapped, what | {CKA.TOKEN: True})
    assert s.find({CKA.LABEL: "new"}) == []


def test_a_key_that_wants_its_pin_every_time_does_not_unwrap(token, keys):
    """There is no place for the PIN in C_UnwrapKey; decrypting with the PIN works."""
    s = token.session()
    public, private = rsa_pair(s, keys["RSA"], ALWAYS_AUTHENTICATE=True, PRIVATE=True)
    wrapped = s.wrap(CKM.RSA_PKCS, public, secret(s, CKK.AES, AES))
    refused("USER_NOT_LOGGED_IN", s.unwrap, CKM.RSA_PKCS, private, wrapped, secret_template(CKK.AES))
    s.init("C_DecryptInit", CKM.RSA_PKCS, private)
    s.login(token.pin, CKU.CONTEXT_SPECIFIC)
    buffer, length = ctypes.create_string_buffer(256), ULONG(256)
    s.call("C_Decrypt", wrapped, len(wrapped), buffer, ctypes.byref(length))
    assert buffer.raw[:length.value] == AES


def test_a_sensitive_key_stays_sensitive(token):
    """Out under a key and in again as a readable one is a copy of the key, and it says so of itself."""
    s = token.session()
    key = wrapper(s, CKK.AES, AES)
    hidden = s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.SENSITIVE: True, CKA.EXTRACTABLE: True})
    assert s.get_bool(hidden, CKA.ALWAYS_SENSITIVE)
    back = s.unwrap(PAD, key, s.wrap(PAD, key, hidden), {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES,
                                                         CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    assert not s.get_bool(back, CKA.ALWAYS_SENSITIVE) and not s.get_bool(back, CKA.NEVER_EXTRACTABLE)
    refused("ATTRIBUTE_SENSITIVE", s.get, back, CKA.VALUE)
    one = s.encrypt((CKM.AES_CBC, IV), hidden, bytes(16))
    assert one == s.encrypt((CKM.AES_CBC, IV), back, bytes(16))
