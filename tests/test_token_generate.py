"""Keys made by the token: what the templates ask for, what comes out, and that the numbers are right."""
import ctypes
import math
import threading

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa, x448, x25519

from cryptoki import CKA, CKK, CKM, CKO, CKR, CkError, ULONG, mechanism

READABLE = {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}


def refused(name: str, function, *arguments):
    with pytest.raises(CkError) as e:
        function(*arguments)
    assert e.value.name == "CKR_" + name


def number(session, key: int, kind: int) -> int:
    return int.from_bytes(session.get(key, kind), "big")


# --- secret keys ---------------------------------------------------------------------------------------------------

SECRET = [
    (CKM.AES_KEY_GEN, CKK.AES, 16, True),
    (CKM.AES_KEY_GEN, CKK.AES, 24, True),
    (CKM.AES_KEY_GEN, CKK.AES, 32, True),
    (CKM.GENERIC_SECRET_KEY_GEN, CKK.GENERIC_SECRET, 1, True),
    (CKM.GENERIC_SECRET_KEY_GEN, CKK.GENERIC_SECRET, 64, True),
    (CKM.GENERIC_SECRET_KEY_GEN, CKK.GENERIC_SECRET, 4097, True),
    (CKM.HKDF_KEY_GEN, CKK.HKDF, 32, True),
    (CKM.CHACHA20_KEY_GEN, CKK.CHACHA20, 32, False),
    (CKM.NSS_CHACHA20_KEY_GEN, CKK.NSS_CHACHA20, 32, False),
    (CKM.DES_KEY_GEN, CKK.DES, 8, False),
    (CKM.DES2_KEY_GEN, CKK.DES2, 16, False),
    (CKM.DES3_KEY_GEN, CKK.DES3, 24, False),
    (CKM.RC2_KEY_GEN, CKK.RC2, 5, True),
    (CKM.RC2_KEY_GEN, CKK.RC2, 128, True),
    (CKM.RC4_KEY_GEN, CKK.RC4, 16, True),
    (CKM.RC4_KEY_GEN, CKK.RC4, 256, True),
]


def test_secret_keys(token):
    """Length, type, origin and randomness of every kind of secret key."""
    s = token.session()
    for mech, kind, length, needs_length in SECRET:
        asked = dict(READABLE) | ({CKA.VALUE_LEN: length} if needs_length else {})
        keys = [s.generate_key(mech, asked) for _ in range(2)]
        values = [s.get(k, CKA.VALUE) for k in keys]
        case = CKM.name(mech), length
        assert [len(v) for v in values] == [length, length], case
        assert length < 8 or values[0] != values[1], case
        for k in keys:
            assert s.get_ulong(k, CKA.CLASS) == CKO.SECRET_KEY, case
            assert s.get_ulong(k, CKA.KEY_TYPE) == kind, case
            assert s.get_bool(k, CKA.LOCAL), case
            assert s.get_ulong(k, CKA.KEY_GEN_MECHANISM) == mech, case
            assert not s.get_bool(k, CKA.ALWAYS_SENSITIVE) and not s.get_bool(k, CKA.NEVER_EXTRACTABLE), case
        if kind in (CKK.DES, CKK.DES2, CKK.DES3):
            assert all(b.bit_count() % 2 == 1 for v in values for b in v), case
            assert s.get_many(keys[0], [CKA.VALUE_LEN])[CKA.VALUE_LEN] is None, case
        else:
            assert s.get_ulong(keys[0], CKA.VALUE_LEN) == length, case


BAD_SECRET = [
    (CKM.AES_KEY_GEN, {}, "TEMPLATE_INCOMPLETE"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 17}, "ATTRIBUTE_VALUE_INVALID"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 0}, "ATTRIBUTE_VALUE_INVALID"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 40}, "ATTRIBUTE_VALUE_INVALID"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: b"\x10\0\0\0"}, "ATTRIBUTE_VALUE_INVALID"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.KEY_TYPE: CKK.DES3}, "TEMPLATE_INCONSISTENT"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.CLASS: CKO.PRIVATE_KEY}, "TEMPLATE_INCONSISTENT"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.VALUE: bytes(16)}, "ATTRIBUTE_READ_ONLY"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.LOCAL: True}, "ATTRIBUTE_READ_ONLY"),
    (CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.MODULUS_BITS: 2048}, "TEMPLATE_INCONSISTENT"),
    ((CKM.AES_KEY_GEN, bytes(16)), {CKA.VALUE_LEN: 16}, "MECHANISM_PARAM_INVALID"),
    (CKM.GENERIC_SECRET_KEY_GEN, {}, "TEMPLATE_INCOMPLETE"),
    (CKM.GENERIC_SECRET_KEY_GEN, {CKA.VALUE_LEN: 65537}, "ATTRIBUTE_VALUE_INVALID"),
    (CKM.RC2_KEY_GEN, {}, "TEMPLATE_INCOMPLETE"),
    (CKM.RC4_KEY_GEN, {CKA.VALUE_LEN: 257}, "ATTRIBUTE_VALUE_INVALID"),
    (CKM.HKDF_KEY_GEN, {}, "TEMPLATE_INCOMPLETE"),
    (CKM.DES3_KEY_GEN, {CKA.VALUE_LEN: 16}, "TEMPLATE_INCONSISTENT"),
    (CKM.RSA_PKCS_KEY_PAIR_GEN, {}, "MECHANISM_INVALID"),
    (CKM.AES_CBC, {CKA.VALUE_LEN: 16}, "MECHANISM_INVALID"),
    (0x7fffffff, {}, "MECHANISM_INVALID"),
]


def test_secret_key_templates_that_cannot_be(token):
    s = token.session()
    for mech, asked, code in BAD_SECRET:
        with pytest.raises(CkError) as e:
            s.generate_key(mech, asked)
        assert e.value.name == "CKR_" + code, (mech, asked)
    assert s.find({CKA.CLASS: CKO.SECRET_KEY}) == []


def test_no_template_at_all(token):
    """C_GenerateKey with NULL and 0, the standard's own example."""
    s = token.session()
    key = ULONG()
    rv = token.load().raw.C_GenerateKey(s.handle, ctypes.byref(mechanism(CKM.DES3_KEY_GEN)), None, 0, ctypes.byref(key))
    assert CKR.name(rv) == "CKR_OK"
    assert s.get_ulong(key.value, CKA.KEY_TYPE) == CKK.DES3
    assert not s.get_bool(key.value, CKA.TOKEN)


def test_what_a_sensitive_key_remembers(token):
    s = token.session()
    key = s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    assert s.get_bool(key, CKA.ALWAYS_SENSITIVE) and s.get_bool(key, CKA.NEVER_EXTRACTABLE)
    refused("ATTRIBUTE_SENSITIVE", s.get, key, CKA.VALUE)


def test_who_may_make_what(token):
    s = token.session(login=False)
    public = {CKA.VALUE_LEN: 16, CKA.TOKEN: True, CKA.PRIVATE: False}
    private = {CKA.VALUE_LEN: 16, CKA.PRIVATE: True}
    refused("USER_NOT_LOGGED_IN", s.generate_key, CKM.AES_KEY_GEN, private)
    s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.PRIVATE: False})
    reader = token.session(rw=False)
    refused("SESSION_READ_ONLY", reader.generate_key, CKM.AES_KEY_GEN, public)
    reader.generate_key(CKM.AES_KEY_GEN, private)


# --- RSA -----------------------------------------------------------------------------------------------------------

def check_rsa(s, public: int, private: int, bits: int, exponent: int):
    n, e = number(s, public, CKA.MODULUS), number(s, public, CKA.PUBLIC_EXPONENT)
    assert (n.bit_length(), e, s.get_ulong(public, CKA.MODULUS_BITS)) == (bits, exponent, bits)
    assert number(s, private, CKA.MODULUS) == n and number(s, private, CKA.PUBLIC_EXPONENT) == e
    d, p, q, dp, dq, qi = (number(s, private, k) for k in (CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2,
                                                          CKA.EXPONENT_1, CKA.EXPONENT_2, CKA.COEFFICIENT))
    assert p * q == n and d * e % math.lcm(p - 1, q - 1) == 1
    assert dp == d % (p - 1) and dq == d % (q - 1) and qi * q % p == 1
    key = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, rsa.RSAPublicNumbers(e, n)).private_key()
    info = serialization.load_der_public_key(s.get(public, CKA.PUBLIC_KEY_INFO))
    assert info.public_numbers() == key.public_key().public_numbers()
    assert s.get(private, CKA.PUBLIC_KEY_INFO) == s.get(public, CKA.PUBLIC_KEY_INFO)


@pytest.mark.parametrize("mech, bits, exponent, expected", [
    (CKM.RSA_PKCS_KEY_PAIR_GEN, 1024, b"\x03", 3),
    (CKM.RSA_PKCS_KEY_PAIR_GEN, 1026, None, 65537),
    (CKM.RSA_PKCS_KEY_PAIR_GEN, 2048, None, 65537),
    (CKM.RSA_PKCS_KEY_PAIR_GEN, 2048, b"\0\0\x01\0\x01", 65537),
    (CKM.RSA_PKCS_KEY_PAIR_GEN, 1536, b"\x80\0\0\0\0\0\0\0\x17", (1 << 71) + 23),
    (CKM.RSA_X9_31_KEY_PAIR_GEN, 2048, b"\x01\0\x01", 65537),
], ids=str)
def test_rsa_pairs(token, mech, bits, exponent, expected):
    s = token.session()
    asked = {CKA.MODULUS_BITS: bits} | ({CKA.PUBLIC_EXPONENT: exponent} if exponent else {})
    public, private = s.generate_pair(mech, asked, READABLE)
    check_rsa(s, public, private, bits, expected)
    for k, c in ((public, CKO.PUBLIC_KEY), (private, CKO.PRIVATE_KEY)):
        assert s.get_ulong(k, CKA.CLASS) == c and s.get_ulong(k, CKA.KEY_TYPE) == CKK.RSA
        assert s.get_bool(k, CKA.LOCAL) and s.get_ulong(k, CKA.KEY_GEN_MECHANISM) == mech
    signature = s.sign(CKM.SHA256_RSA_PKCS, private, b"text")
    key = serialization.load_der_public_key(s.get(public, CKA.PUBLIC_KEY_INFO))
    key.verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())


BAD_RSA = [
    ({}, {}, "TEMPLATE_INCOMPLETE"),
    ({CKA.MODULUS_BITS: 512}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: 16386}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: 2047}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: (1 << 64) - 2}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: 1024, CKA.PUBLIC_EXPONENT: b"\x04"}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: 1024, CKA.PUBLIC_EXPONENT: b"\x01"}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: 1024, CKA.PUBLIC_EXPONENT: b""}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: 1024, CKA.PUBLIC_EXPONENT: b"\xff" * 33}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: 4096, CKA.PUBLIC_EXPONENT: b"\xff" * 9}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.MODULUS_BITS: 1024, CKA.MODULUS: b"\xff" * 128}, {}, "ATTRIBUTE_READ_ONLY"),
    ({CKA.MODULUS_BITS: 1024, CKA.KEY_TYPE: CKK.EC}, {}, "TEMPLATE_INCONSISTENT"),
    ({CKA.MODULUS_BITS: 1024, CKA.CLASS: CKO.PRIVATE_KEY}, {}, "TEMPLATE_INCONSISTENT"),
    ({CKA.MODULUS_BITS: 1024}, {CKA.CLASS: CKO.PUBLIC_KEY}, "TEMPLATE_INCONSISTENT"),
    ({CKA.MODULUS_BITS: 1024}, {CKA.PRIVATE_EXPONENT: b"\x03"}, "ATTRIBUTE_READ_ONLY"),
    ({CKA.MODULUS_BITS: 1024}, {CKA.EC_PARAMS: b"\x06\x01\x00"}, "TEMPLATE_INCONSISTENT"),
]


def test_rsa_templates_that_cannot_be(token):
    """Neither half is left behind."""
    s = token.session()
    for public, private, code in BAD_RSA:
        with pytest.raises(CkError) as e:
            s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.TOKEN: True} | public, {CKA.TOKEN: True} | private)
        assert e.value.name == "CKR_" + code, (public, private)
    refused("MECHANISM_PARAM_INVALID", s.generate_pair, (CKM.RSA_PKCS_KEY_PAIR_GEN, b"x"), {CKA.MODULUS_BITS: 1024}, {})
    refused("MECHANISM_INVALID", s.generate_pair, CKM.AES_KEY_GEN, {CKA.MODULUS_BITS: 1024}, {})
    # No strong primes, or no modulus of X9.31.
    for bits, e in ((1024, b"\x01\0\x01"), (2050, b"\x01\0\x01"), (2048, b"\x03")):
        refused("ATTRIBUTE_VALUE_INVALID", s.generate_pair, CKM.RSA_X9_31_KEY_PAIR_GEN,
                {CKA.MODULUS_BITS: bits, CKA.PUBLIC_EXPONENT: e}, {})
    assert s.find() == []


def test_a_pair_is_stored_whole_and_at_once(token):
    """What the session may not do to one half, it does to none; else both outlive the module."""
    reader = token.session(rw=False)
    refused("SESSION_READ_ONLY", reader.generate_pair, CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}, {CKA.TOKEN: True})
    assert reader.find({CKA.KEY_TYPE: CKK.EC}) == []
    s = token.session()
    s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, CKA.TOKEN: True, CKA.ID: b"7"},
                    {CKA.TOKEN: True, CKA.ID: b"7"})
    assert len(reader.find({CKA.ID: b"7"})) == 2
    token.finalize()
    s = token.session(rw=False)
    private = s.find_one({CKA.ID: b"7", CKA.CLASS: CKO.PRIVATE_KEY})
    public = s.find_one({CKA.ID: b"7", CKA.CLASS: CKO.PUBLIC_KEY})
    signature = s.sign(CKM.ECDSA_SHA256, private, b"text")
    s.verify(CKM.ECDSA_SHA256, public, b"text", signature)


def test_generation_holds_up_no_other_session(token):
    """While one thread makes a pair, another session answers many calls. A lock over all would let at most one by."""
    s, other = token.session(), token.session(rw=False)
    step, answered, enough = 0, 0, threading.Event()

    def make_pairs():
        nonlocal step
        for _ in range(50):
            step += 1  # odd: a pair is being made
            s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048}, {})
            step += 1
            if enough.is_set():
                break
    worker = threading.Thread(target=make_pairs)
    worker.start()
    before = 0
    while worker.is_alive() and answered < 10:
        if step != before:
            before, answered = step, 0
        other.digest(CKM.SHA256, b"text")
        other.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16})
        answered += step == before and before % 2 == 1
    enough.set()
    worker.join()
    assert answered == 10


# --- as NSS asks ---------------------------------------------------------------------------------------------------

P256 = bytes.fromhex("06082a8648ce3d030107")


def nss_public(**usage) -> dict:
    flags = dict.fromkeys((CKA.DERIVE, CKA.WRAP, CKA.VERIFY, CKA.VERIFY_RECOVER, CKA.ENCRYPT), False)
    return {CKA.TOKEN: True, CKA.MODIFIABLE: True} | flags | {getattr(CKA, k): v for k, v in usage.items()}


def nss_private(**usage) -> dict:
    flags = dict.fromkeys((CKA.DERIVE, CKA.UNWRAP, CKA.SIGN, CKA.DECRYPT), False)
    common = {CKA.SENSITIVE: True, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.EXTRACTABLE: True}
    return common | flags | {getattr(CKA, k): v for k, v in usage.items()}


def test_templates_of_nss(token):
    """The attributes that PK11_GenerateKeyPairWithOpFlags gives, then CKA_ID on both halves."""
    s = token.session()
    cases = [
        (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024, CKA.PUBLIC_EXPONENT: b"\1\0\1"},
         nss_public(WRAP=True, VERIFY=True, VERIFY_RECOVER=True, ENCRYPT=True),
         nss_private(UNWRAP=True, SIGN=True, DECRYPT=True)),
        (CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}, nss_public(DERIVE=True, VERIFY=True),
         nss_private(DERIVE=True, SIGN=True)),
    ]
    for mech, what, public, private in cases:
        pair = s.generate_pair(mech, what | public, private)
        for key, asked in zip(pair, (public, private)):
            for kind, value in asked.items():
                assert s.get_bool(key, kind) == value, (CKM.name(mech), CKA.name(kind))
            s.set(key, {CKA.ID: b"\x01" * 20})
            assert s.get(key, CKA.ID) == b"\x01" * 20
        refused("ATTRIBUTE_SENSITIVE", s.get, pair[1],
                CKA.PRIVATE_EXPONENT if mech == CKM.RSA_PKCS_KEY_PAIR_GEN else CKA.VALUE)


# --- elliptic curves -----------------------------------------------------------------------------------------------

def printable(name: str) -> bytes:
    return bytes([0x13, len(name)]) + name.encode()


SECP256K1 = bytes.fromhex("06052b8104000a")
P384 = bytes.fromhex("06052b81040022")
P521 = bytes.fromhex("06052b81040023")
X25519, X448, ED25519, ED448 = (bytes.fromhex("06032b65" + x) for x in ("6e", "6f", "70", "71"))
NSS_CURVE25519 = bytes.fromhex("06092b06010401da470f01")


def unwrapped(der: bytes) -> bytes:
    """The content of a DER OCTET STRING."""
    head = 3 if der[1] == 0x81 else 2
    assert der[0] == 4 and der[head - 1] == len(der) - head
    return der[head:]


@pytest.mark.parametrize("params, curve", [
    (P256, ec.SECP256R1), (P384, ec.SECP384R1), (P521, ec.SECP521R1), (SECP256K1, ec.SECP256K1),
    (printable("secp256r1"), ec.SECP256R1),
])
def test_weierstrass_pairs(token, params, curve):
    s = token.session()
    public, private = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: params}, READABLE)
    key = ec.derive_private_key(number(s, private, CKA.VALUE), curve())
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    assert unwrapped(s.get(public, CKA.EC_POINT)) == point
    for k in (public, private):
        assert s.get(k, CKA.EC_PARAMS) == params
        assert s.get_ulong(k, CKA.KEY_TYPE) == CKK.EC
    signature = s.sign(CKM.ECDSA_SHA256, private, b"text")
    s.verify(CKM.ECDSA_SHA256, public, b"text", signature)


@pytest.mark.parametrize("mech, params, kind, private_class", [
    (CKM.EC_KEY_PAIR_GEN, NSS_CURVE25519, CKK.EC, x25519.X25519PrivateKey),
    (CKM.EC_KEY_PAIR_GEN, X25519, CKK.EC, x25519.X25519PrivateKey),
    (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, X25519, CKK.EC_MONTGOMERY, x25519.X25519PrivateKey),
    (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, printable("curve25519"), CKK.EC_MONTGOMERY, x25519.X25519PrivateKey),
    (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, X448, CKK.EC_MONTGOMERY, x448.X448PrivateKey),
    (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, printable("curve448"), CKK.EC_MONTGOMERY, x448.X448PrivateKey),
    (CKM.EC_EDWARDS_KEY_PAIR_GEN, ED25519, CKK.EC_EDWARDS, ed25519.Ed25519PrivateKey),
    (CKM.EC_EDWARDS_KEY_PAIR_GEN, printable("edwards25519"), CKK.EC_EDWARDS, ed25519.Ed25519PrivateKey),
    (CKM.EC_EDWARDS_KEY_PAIR_GEN, ED448, CKK.EC_EDWARDS, ed448.Ed448PrivateKey),
])
def test_montgomery_and_edwards_pairs(token, mech, params, kind, private_class):
    """NSS makes X25519 keys through CKM_EC_KEY_PAIR_GEN and expects CKK_EC."""
    s = token.session()
    public, private = s.generate_pair(mech, {CKA.EC_PARAMS: params}, READABLE)
    key = private_class.from_private_bytes(s.get(private, CKA.VALUE))
    point = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    assert unwrapped(s.get(public, CKA.EC_POINT)) == point
    for k in (public, private):
        assert s.get(k, CKA.EC_PARAMS) == params
        assert s.get_ulong(k, CKA.KEY_TYPE) == kind
        assert s.get_bool(k, CKA.LOCAL)


def test_curve25519_as_opensc_writes_it(token):
    """pkcs11-tool 0.23 has a wrong length in the name; the key has the right one."""
    s = token.session()
    public, _ = s.generate_pair(CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: b"\x13\x0bcurve25519"}, {})
    assert s.get(public, CKA.EC_PARAMS) == printable("curve25519")


@pytest.mark.parametrize("mech, params, code", [
    (CKM.EC_KEY_PAIR_GEN, None, "TEMPLATE_INCOMPLETE"),
    (CKM.EC_KEY_PAIR_GEN, b"", "DOMAIN_PARAMS_INVALID"),
    (CKM.EC_KEY_PAIR_GEN, b"\x06\x08\x2a\x86", "DOMAIN_PARAMS_INVALID"),
    (CKM.EC_KEY_PAIR_GEN, bytes.fromhex("06052b81040001"), "CURVE_NOT_SUPPORTED"),  # sect163k1
    (CKM.EC_KEY_PAIR_GEN, printable("no such curve"), "CURVE_NOT_SUPPORTED"),
    (CKM.EC_KEY_PAIR_GEN, ED25519, "CURVE_NOT_SUPPORTED"),
    (CKM.EC_KEY_PAIR_GEN, X448, "CURVE_NOT_SUPPORTED"),
    (CKM.EC_EDWARDS_KEY_PAIR_GEN, P256, "CURVE_NOT_SUPPORTED"),
    (CKM.EC_EDWARDS_KEY_PAIR_GEN, X25519, "CURVE_NOT_SUPPORTED"),
    (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, ED25519, "CURVE_NOT_SUPPORTED"),
    (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, P384, "CURVE_NOT_SUPPORTED"),
])
def test_curves_that_cannot_be(token, mech, params, code):
    s = token.session()
    refused(code, s.generate_pair, mech, {} if params is None else {CKA.EC_PARAMS: params}, {})


# --- DSA and Diffie-Hellman ----------------------------------------------------------------------------------------

def big(n: int) -> bytes:
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


# RFC 3526, group 14, of 2048 bits; RFC 2409, second Oakley group, of 1024 bits. As both documents give them:
# 2^n - 2^(n-64) - 1 + 2^64 (floor(2^(n-130) pi) + c).
def oakley(bits: int, c: int) -> int:
    # pi in fixed point by Machin's formula.
    one = 1 << bits

    def arctan(x):
        total, term, n = 0, one // x, 1
        while term:
            total += term // n if n % 4 == 1 else -(term // n)
            term //= x * x
            n += 2
        return total
    pi = (4 * (4 * arctan(5) - arctan(239))) >> 130
    return (1 << bits) - (1 << (bits - 64)) - 1 + (1 << 64) * (pi + c)


OAKLEY2, GROUP14 = oakley(1024, 129093), oakley(2048, 124476)


@pytest.mark.parametrize("p, bits", [(GROUP14, None), (GROUP14, 256), (OAKLEY2, None), (OAKLEY2, 320)])
def test_dh_pairs(token, p, bits):
    s = token.session()
    public, private = s.generate_pair(CKM.DH_PKCS_KEY_PAIR_GEN, {CKA.PRIME: big(p), CKA.BASE: b"\x02"},
                                      READABLE | ({CKA.VALUE_BITS: bits} if bits else {}))
    x, y = number(s, private, CKA.VALUE), number(s, public, CKA.VALUE)
    assert y == pow(2, x, p)
    assert x.bit_length() == s.get_ulong(private, CKA.VALUE_BITS)
    if bits:
        assert bits - 40 < x.bit_length() <= bits
    for k in (public, private):
        assert number(s, k, CKA.PRIME) == p and number(s, k, CKA.BASE) == 2
        assert s.get_ulong(k, CKA.KEY_TYPE) == CKK.DH


@pytest.mark.parametrize("public, private, code", [
    ({CKA.PRIME: big(GROUP14)}, {}, "TEMPLATE_INCOMPLETE"),
    ({CKA.BASE: b"\x02"}, {}, "TEMPLATE_INCOMPLETE"),
    ({CKA.PRIME: big(GROUP14 - 1), CKA.BASE: b"\x02"}, {}, "DOMAIN_PARAMS_INVALID"),
    ({CKA.PRIME: big(GROUP14), CKA.BASE: b"\x01"}, {}, "DOMAIN_PARAMS_INVALID"),
    ({CKA.PRIME: big(GROUP14), CKA.BASE: b"\0"}, {}, "DOMAIN_PARAMS_INVALID"),
    ({CKA.PRIME: big(GROUP14), CKA.BASE: big(GROUP14 - 1)}, {}, "DOMAIN_PARAMS_INVALID"),
    ({CKA.PRIME: b"\xfb" * 32, CKA.BASE: b"\x02"}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.PRIME: b"", CKA.BASE: b"\x02"}, {}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.PRIME: big(GROUP14), CKA.BASE: b"\x02"}, {CKA.VALUE_BITS: 2048}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.PRIME: big(GROUP14), CKA.BASE: b"\x02"}, {CKA.VALUE_BITS: 8}, "ATTRIBUTE_VALUE_INVALID"),
    ({CKA.PRIME: big(GROUP14), CKA.BASE: b"\x02"}, {CKA.PRIME: big(GROUP14)}, "ATTRIBUTE_READ_ONLY"),
])
def test_dh_domains_that_cannot_be(token, public, private, code):
    refused(code, token.session().generate_pair, CKM.DH_PKCS_KEY_PAIR_GEN, public, private)


def test_dsa_pairs(token):
    """In a domain that another library made."""
    s = token.session()
    domain = dsa.generate_parameters(1024).parameter_numbers()
    what = {CKA.PRIME: big(domain.p), CKA.SUBPRIME: big(domain.q), CKA.BASE: big(domain.g)}
    public, private = s.generate_pair(CKM.DSA_KEY_PAIR_GEN, what, READABLE)
    x, y = number(s, private, CKA.VALUE), number(s, public, CKA.VALUE)
    assert 0 < x < domain.q and y == pow(domain.g, x, domain.p)
    for k in (public, private):
        assert [number(s, k, a) for a in what] == [domain.p, domain.q, domain.g]
        assert s.get_ulong(k, CKA.KEY_TYPE) == CKK.DSA
    signature = s.sign(CKM.DSA_SHA256, private, b"text")
    s.verify(CKM.DSA_SHA256, public, b"text", signature)
    for change, code in (({CKA.BASE: big(domain.g ^ 2)}, "DOMAIN_PARAMS_INVALID"),
                         ({CKA.SUBPRIME: big(domain.q >> 8)}, "DOMAIN_PARAMS_INVALID"),
                         ({CKA.PRIME: big(domain.p >> 512 | 1)}, "ATTRIBUTE_VALUE_INVALID")):
        refused(code, s.generate_pair, CKM.DSA_KEY_PAIR_GEN, what | change, {})
    for missing in what:
        refused("TEMPLATE_INCOMPLETE", s.generate_pair, CKM.DSA_KEY_PAIR_GEN,
                {k: v for k, v in what.items() if k != missing}, {})
