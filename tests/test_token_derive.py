"""C_DeriveKey of libp11token.so: digests, enciphered data, concatenation, Diffie-Hellman, ECDH, HKDF and SP800-108, against
published vectors, python3-cryptography and hashlib; and what may not come out of a protected key."""
import ctypes
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519, x448
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from cryptoki import CK, CKA, CKD, CKF, CKK, CKM, CKO, CKR, CkError, ULONG, struct, template, value_of

HASHES = {"SHA1": "sha1", "SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512",
          "SHA512_224": "sha512_224", "SHA512_256": "sha512_256", "SHA3_224": "sha3_224", "SHA3_256": "sha3_256",
          "SHA3_384": "sha3_384", "SHA3_512": "sha3_512"}


@pytest.fixture
def s(token):
    return token.session()


def secret(s, value: bytes, kind: int = CKK.GENERIC_SECRET, **more) -> int:
    """A session key with that value; more: attributes by name."""
    attributes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value, CKA.DERIVE: True}
    return s.create({**attributes, **{getattr(CKA, name): v for name, v in more.items()}})


def protected(s, value: bytes, **more) -> int:
    return secret(s, value, SENSITIVE=True, EXTRACTABLE=False, **more)


def value_made(s, mech, base: int, attributes: dict = None) -> bytes:
    """The value of the key that is derived, which may be read."""
    return s.get(s.derive(mech, base, {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True, **(attributes or {})}), CKA.VALUE)


def code(call, *arguments, **named) -> str:
    """The name of the code that a call fails with."""
    with pytest.raises(CkError) as e:
        call(*arguments, **named)
    return e.value.name


def odd(value: bytes) -> bytes:
    """With the parity of DES keys."""
    return bytes(b ^ (1 - bin(b).count("1") % 2) for b in value)


def string(data: bytes):
    return struct("CK_KEY_DERIVATION_STRING_DATA", pData=data)


# --- digests of the base ---

@pytest.mark.parametrize("name", HASHES)
def test_digest_of_the_base_is_the_new_key(s, name):
    """Without length or type a generic secret of the digest's length; truncated at the trailing end otherwise."""
    mech = getattr(CKM, name + "_KEY_DERIVATION")
    base = secret(s, b"base key of some length")
    digest = hashlib.new(HASHES[name], b"base key of some length").digest()
    key = s.derive(mech, base, {})
    assert s.get(key, CKA.VALUE) == digest
    assert s.get_ulong(key, CKA.KEY_TYPE) == CKK.GENERIC_SECRET
    assert s.get_ulong(key, CKA.VALUE_LEN) == len(digest)
    assert not s.get_bool(key, CKA.LOCAL)
    assert value_made(s, mech, base, {CKA.VALUE_LEN: 7}) == digest[:7]
    assert value_made(s, mech, base, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16}) == digest[:16]


LENGTHS = [
    ({CKA.VALUE_LEN: 33}, "CKR_TEMPLATE_INCONSISTENT"),
    ({CKA.KEY_TYPE: CKK.AES}, "CKR_TEMPLATE_INCOMPLETE"),
    ({CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 17}, "CKR_TEMPLATE_INCONSISTENT"),
    ({CKA.VALUE_LEN: 0}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({CKA.CLASS: CKO.PRIVATE_KEY}, "CKR_TEMPLATE_INCONSISTENT"),
    ({CKA.VALUE: b"mine"}, "CKR_ATTRIBUTE_READ_ONLY"),
]


@pytest.mark.parametrize("attributes,expected", LENGTHS)
def test_template_that_does_not_fit_the_material(s, attributes, expected):
    assert code(s.derive, CKM.SHA256_KEY_DERIVATION, secret(s, b"base"), attributes) == expected


def test_key_types_of_one_length(s):
    """"If no length was provided in the template, but a key type is, then that key type must have a well-defined length.\""""
    base = secret(s, b"base")
    digest = hashlib.sha256(b"base").digest()
    assert value_made(s, CKM.SHA256_KEY_DERIVATION, base, {CKA.KEY_TYPE: CKK.DES3}) == odd(digest[:24])
    assert value_made(s, CKM.SHA256_KEY_DERIVATION, base, {CKA.KEY_TYPE: CKK.CHACHA20}) == digest
    assert code(s.derive, CKM.SHA1_KEY_DERIVATION, base, {CKA.KEY_TYPE: CKK.CHACHA20}) == "CKR_TEMPLATE_INCONSISTENT"


def test_what_c_derivekey_asks_of_base_and_mechanism(s):
    base = secret(s, b"base")
    no_derive = secret(s, b"base", DERIVE=False)
    data = s.create({CKA.CLASS: CKO.DATA, CKA.VALUE: b"data"})
    _, private = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}, {CKA.DERIVE: True})
    assert code(s.derive, CKM.SHA256_KEY_DERIVATION, 0, {}) == "CKR_KEY_HANDLE_INVALID"
    assert code(s.derive, CKM.SHA256_KEY_DERIVATION, data, {}) == "CKR_KEY_HANDLE_INVALID"
    assert code(s.derive, CKM.SHA256_KEY_DERIVATION, private, {}) == "CKR_KEY_TYPE_INCONSISTENT"
    assert code(s.derive, CKM.SHA256_KEY_DERIVATION, no_derive, {}) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    assert code(s.derive, CKM.SHA256, base, {}) == "CKR_MECHANISM_INVALID"
    assert code(s.derive, (CKM.SHA256_KEY_DERIVATION, b"no parameter"), base, {}) == "CKR_MECHANISM_PARAM_INVALID"
    t = template({})
    rv = s.module.raw.C_DeriveKey(s.handle, ctypes.byref(struct("CK_MECHANISM", mechanism=CKM.SHA256_KEY_DERIVATION)),
                                  base, t, 0, None)
    assert rv == CKR.ARGUMENTS_BAD


def test_derive_template_of_the_base(s):
    """CKA_DERIVE_TEMPLATE adds what the caller's template does not say, and no other value may be asked for."""
    base = secret(s, b"base", DERIVE_TEMPLATE={CKA.SENSITIVE: True, CKA.VALUE_LEN: 20, CKA.LABEL: b"imposed"})
    key = s.derive(CKM.SHA256_KEY_DERIVATION, base, {})
    assert s.get_bool(key, CKA.SENSITIVE) and s.get(key, CKA.LABEL) == b"imposed"
    assert s.get_ulong(key, CKA.VALUE_LEN) == 20
    key = s.derive(CKM.SHA256_KEY_DERIVATION, base, {CKA.LABEL: b"imposed"})
    assert s.get_ulong(key, CKA.VALUE_LEN) == 20
    for other in ({CKA.SENSITIVE: False}, {CKA.VALUE_LEN: 16}, {CKA.LABEL: b"mine"}):
        assert code(s.derive, CKM.SHA256_KEY_DERIVATION, base, other) == "CKR_TEMPLATE_INCONSISTENT"


# --- data enciphered with the base ---

DATA = bytes(range(48))
IV = bytes(range(100, 116))
ENCRYPT_DATA = [
    ("AES_ECB", CKK.AES, bytes(range(16)), string(DATA), algorithms.AES, modes.ECB()),
    ("AES_ECB", CKK.AES, bytes(range(32)), string(DATA), algorithms.AES, modes.ECB()),
    ("AES_CBC", CKK.AES, bytes(range(24)), struct("CK_AES_CBC_ENCRYPT_DATA_PARAMS", iv=IV, pData=DATA, length=48),
     algorithms.AES, modes.CBC(IV)),
    ("DES3_ECB", CKK.DES3, odd(bytes(range(1, 25))), string(DATA), algorithms.TripleDES, modes.ECB()),
    ("DES3_CBC", CKK.DES3, odd(bytes(range(1, 25))),
     struct("CK_DES_CBC_ENCRYPT_DATA_PARAMS", iv=IV[:8], pData=DATA, length=48), algorithms.TripleDES, modes.CBC(IV[:8])),
    ("DES3_ECB", CKK.DES2, odd(bytes(range(1, 17))), string(DATA), algorithms.TripleDES, modes.ECB()),
]


@pytest.mark.parametrize("name,kind,key,parameter,algorithm,mode", ENCRYPT_DATA)
def test_data_enciphered_with_the_base_is_the_new_key(s, name, kind, key, parameter, algorithm, mode):
    mech = getattr(CKM, name + "_ENCRYPT_DATA"), parameter
    base = secret(s, key, kind)
    enciphered = Cipher(algorithm(key), mode).encryptor().update(DATA)
    assert value_made(s, mech, base) == enciphered
    assert value_made(s, mech, base, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32}) == enciphered[:32]
    assert code(s.derive, mech, base, {CKA.VALUE_LEN: 49}) == "CKR_DATA_LEN_RANGE"


def test_data_that_is_no_whole_blocks(s):
    base = secret(s, bytes(16), CKK.AES)
    for parameter in (string(bytes(17)), string(b""), None, b"short"):
        assert code(s.derive, (CKM.AES_ECB_ENCRYPT_DATA, parameter), base, {}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, (CKM.AES_ECB_ENCRYPT_DATA, string(bytes(16))), secret(s, bytes(16)), {}) == \
        "CKR_KEY_TYPE_INCONSISTENT"


# --- bits of the base; the examples are the standard's ---

BASE = bytes.fromhex("01234567")
MORE = bytes.fromhex("89abcdef")
SIMPLE = [
    (CKM.CONCATENATE_BASE_AND_DATA, BASE, string(MORE), {}, "0123456789abcdef"),
    (CKM.CONCATENATE_BASE_AND_DATA, BASE, string(MORE), {CKA.VALUE_LEN: 6}, "0123456789ab"),
    (CKM.CONCATENATE_DATA_AND_BASE, BASE, string(MORE), {}, "89abcdef01234567"),
    (CKM.CONCATENATE_DATA_AND_BASE, BASE, string(MORE), {CKA.VALUE_LEN: 3}, "89abcd"),
    (CKM.XOR_BASE_AND_DATA, BASE, string(MORE), {}, "88888888"),
    (CKM.XOR_BASE_AND_DATA, BASE, string(MORE[:2]), {}, "8888"),
    (CKM.EXTRACT_KEY_FROM_KEY, bytes.fromhex("329f84a9"), 21, {CKA.VALUE_LEN: 2}, "9526"),
    (CKM.EXTRACT_KEY_FROM_KEY, bytes.fromhex("329f84a9"), 0, {CKA.VALUE_LEN: 4}, "329f84a9"),
    (CKM.EXTRACT_KEY_FROM_KEY, bytes.fromhex("329f84a9"), 8, {CKA.VALUE_LEN: 3}, "9f84a9"),
    (CKM.EXTRACT_KEY_FROM_KEY, bytes.fromhex("329f84a9"), 31, {CKA.VALUE_LEN: 1}, "99"),
]


@pytest.mark.parametrize("mech,base,parameter,attributes,expected", SIMPLE)
def test_bits_of_the_base(s, mech, base, parameter, attributes, expected):
    assert value_made(s, (mech, parameter), secret(s, base), attributes).hex() == expected


def test_two_keys_in_a_row(s):
    a, b = secret(s, BASE), secret(s, MORE)
    assert value_made(s, (CKM.CONCATENATE_BASE_AND_KEY, b), a).hex() == "0123456789abcdef"
    assert code(s.derive, (CKM.CONCATENATE_BASE_AND_KEY, 0), a, {}) == "CKR_KEY_HANDLE_INVALID"
    assert code(s.derive, (CKM.CONCATENATE_BASE_AND_KEY, secret(s, MORE, DERIVE=False)), a, {}) == \
        "CKR_KEY_FUNCTION_NOT_PERMITTED"


WRONG = [
    (CKM.CONCATENATE_BASE_AND_DATA, string(MORE), {CKA.VALUE_LEN: 9}, "CKR_TEMPLATE_INCONSISTENT"),
    (CKM.XOR_BASE_AND_DATA, string(MORE[:2]), {CKA.VALUE_LEN: 3}, "CKR_TEMPLATE_INCONSISTENT"),
    (CKM.EXTRACT_KEY_FROM_KEY, 32, {CKA.VALUE_LEN: 1}, "CKR_MECHANISM_PARAM_INVALID"),
    (CKM.EXTRACT_KEY_FROM_KEY, 0, {CKA.VALUE_LEN: 5}, "CKR_TEMPLATE_INCONSISTENT"),
    (CKM.EXTRACT_KEY_FROM_KEY, 0, {}, "CKR_TEMPLATE_INCOMPLETE"),
    (CKM.EXTRACT_KEY_FROM_KEY, None, {CKA.VALUE_LEN: 1}, "CKR_MECHANISM_PARAM_INVALID"),
    (CKM.CONCATENATE_BASE_AND_DATA, None, {}, "CKR_MECHANISM_PARAM_INVALID"),
    (CKM.CONCATENATE_BASE_AND_DATA, string(b""), {}, "CKR_MECHANISM_PARAM_INVALID"),
    (CKM.CONCATENATE_BASE_AND_KEY, None, {}, "CKR_MECHANISM_PARAM_INVALID"),
]


@pytest.mark.parametrize("mech,parameter,attributes,expected", WRONG)
def test_bits_that_are_not_there(s, mech, parameter, attributes, expected):
    assert code(s.derive, (mech, parameter), secret(s, BASE), attributes) == expected


# --- what may not come out of a protected key ---

KEY = bytes(range(64, 96))
INVERTIBLE = [
    (CKM.CONCATENATE_BASE_AND_DATA, string(MORE), {}),
    (CKM.CONCATENATE_DATA_AND_BASE, string(MORE), {}),
    (CKM.XOR_BASE_AND_DATA, string(bytes(32)), {}),
    (CKM.EXTRACT_KEY_FROM_KEY, 0, {CKA.VALUE_LEN: 32}),
    (CKM.CONCATENATE_BASE_AND_KEY, "known", {}),
]


@pytest.mark.parametrize("mech,parameter,attributes", INVERTIBLE)
def test_what_can_be_undone_stays_protected(s, mech, parameter, attributes):
    """A derivation whose result gives the base away makes keys as protected as the base, or none."""
    base = protected(s, KEY)
    parameter = secret(s, MORE) if parameter == "known" else parameter
    key = s.derive((mech, parameter), base, attributes)
    assert s.get_bool(key, CKA.SENSITIVE) and not s.get_bool(key, CKA.EXTRACTABLE)
    assert code(s.get, key, CKA.VALUE) == "CKR_ATTRIBUTE_SENSITIVE"
    for weaker in ({CKA.SENSITIVE: False}, {CKA.EXTRACTABLE: True}):
        assert code(s.derive, (mech, parameter), base, {**attributes, **weaker}) == "CKR_TEMPLATE_INCONSISTENT"


def test_the_other_key_protects_too(s):
    known, other = secret(s, MORE), protected(s, KEY)
    key = s.derive((CKM.CONCATENATE_BASE_AND_KEY, other), known, {})
    assert s.get_bool(key, CKA.SENSITIVE) and not s.get_bool(key, CKA.EXTRACTABLE)
    assert code(s.derive, (CKM.CONCATENATE_BASE_AND_KEY, other), known, {CKA.SENSITIVE: False}) == \
        "CKR_TEMPLATE_INCONSISTENT"


def test_no_few_bytes_of_a_protected_key(s):
    """One byte of a key, as a key, is found by trying out 256: at least 112 bits of the base are in the new key, or all."""
    base, known = protected(s, KEY), secret(s, MORE)
    few = [
        ((CKM.EXTRACT_KEY_FROM_KEY, 0), base, 1),
        ((CKM.EXTRACT_KEY_FROM_KEY, 77), base, 13),
        ((CKM.XOR_BASE_AND_DATA, string(b"\0")), base, 1),
        ((CKM.CONCATENATE_BASE_AND_DATA, string(MORE)), base, 2),
        ((CKM.CONCATENATE_DATA_AND_BASE, string(MORE)), base, 5),
        ((CKM.CONCATENATE_BASE_AND_KEY, base), known, 5),
    ]
    for mech, from_, length in few:
        assert code(s.derive, mech, from_, {CKA.VALUE_LEN: length}) == "CKR_KEY_SIZE_RANGE", mech
    assert s.derive((CKM.EXTRACT_KEY_FROM_KEY, 77), base, {CKA.VALUE_LEN: 14})
    short = protected(s, b"\x42")
    assert s.derive((CKM.CONCATENATE_BASE_AND_DATA, string(MORE)), short, {})


def test_no_few_bytes_by_a_detour(s):
    """Known bytes put beside the protected ones first, and then a part with one unknown byte cut out."""
    base, derive = protected(s, KEY), {CKA.DERIVE: True}
    mixed = s.derive((CKM.CONCATENATE_DATA_AND_BASE, string(bytes(31))), base, derive)
    again = s.derive((CKM.XOR_BASE_AND_DATA, string(bytes(63))), mixed, derive)
    beside = s.derive((CKM.CONCATENATE_BASE_AND_KEY, base), secret(s, bytes(31)), derive)
    for key in (mixed, again, beside, s.copy(mixed)):
        assert code(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 0), key, {CKA.VALUE_LEN: 32}) == "CKR_KEY_SIZE_RANGE"
    whole = s.derive((CKM.EXTRACT_KEY_FROM_KEY, 8), mixed, {CKA.VALUE_LEN: 63, **derive})
    assert code(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 0), whole, {CKA.VALUE_LEN: 31}) == "CKR_KEY_SIZE_RANGE"


def test_one_way_derivations_inherit_unless_told(s):
    """The template decides; if it is silent, the new key is as protected as the base."""
    base = protected(s, KEY)
    silent = s.derive(CKM.SHA256_KEY_DERIVATION, base, {})
    assert s.get_bool(silent, CKA.SENSITIVE) and not s.get_bool(silent, CKA.EXTRACTABLE)
    assert value_made(s, CKM.SHA256_KEY_DERIVATION, base) == hashlib.sha256(KEY).digest()


HISTORY = [
    # base sensitive, extractable; template; always sensitive, never extractable
    (True, False, {}, True, True),
    (True, False, {CKA.SENSITIVE: False}, False, True),
    (True, False, {CKA.EXTRACTABLE: True}, True, False),
    (False, True, {CKA.SENSITIVE: True, CKA.EXTRACTABLE: False}, False, False),
]


@pytest.mark.parametrize("sensitive,extractable,attributes,always,never", HISTORY)
def test_history_follows_the_base(s, sensitive, extractable, attributes, always, never):
    base = s.generate_key(CKM.GENERIC_SECRET_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.DERIVE: True, CKA.SENSITIVE: sensitive,
                                                       CKA.EXTRACTABLE: extractable})
    key = s.derive(CKM.SHA256_KEY_DERIVATION, base, attributes)
    assert (s.get_bool(key, CKA.ALWAYS_SENSITIVE), s.get_bool(key, CKA.NEVER_EXTRACTABLE)) == (always, never)


def test_history_of_two_parents(s):
    """"... if and only if both of the original keys have their CKA_ALWAYS_SENSITIVE attributes set to CK_TRUE.\""""
    made = s.generate_key(CKM.GENERIC_SECRET_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.DERIVE: True, CKA.SENSITIVE: True,
                                                       CKA.EXTRACTABLE: False})
    brought = protected(s, KEY)
    for base, other, expected in ((made, made, True), (made, brought, False), (brought, made, False)):
        key = s.derive((CKM.CONCATENATE_BASE_AND_KEY, other), base, {})
        assert s.get_bool(key, CKA.ALWAYS_SENSITIVE) == expected
        assert s.get_bool(key, CKA.NEVER_EXTRACTABLE) == expected


# --- elliptic curves ---

P256 = bytes.fromhex("06082a8648ce3d030107")
CURVES = {"P-256": (P256, ec.SECP256R1), "P-384": (bytes.fromhex("06052b81040022"), ec.SECP384R1),
          "P-521": (bytes.fromhex("06052b81040023"), ec.SECP521R1)}
X25519 = bytes.fromhex("06032b656e")
X448 = bytes.fromhex("06032b656f")


def octet_string(data: bytes) -> bytes:
    return bytes([4, len(data)] if len(data) < 128 else [4, 0x81, len(data)]) + data


def unwrapped(der: bytes) -> bytes:
    """The contents of a DER OCTET STRING."""
    return der[3:] if der[1] == 0x81 else der[2:]


def ecdh(peer: bytes, kdf: int = CKD.NULL, shared: bytes = None, mech: int = CKM.ECDH1_DERIVE):
    more = {"pSharedData": shared} if shared is not None else {}
    return mech, struct("CK_ECDH1_DERIVE_PARAMS", kdf=kdf, pPublicData=peer, **more)


def ec_pair(s, params: bytes, mech: int = CKM.EC_KEY_PAIR_GEN):
    """The raw public point and the private key."""
    public, private = s.generate_pair(mech, {CKA.EC_PARAMS: params}, {CKA.DERIVE: True})
    return unwrapped(s.get(public, CKA.EC_POINT)), private


def point(key, compressed: bool = False) -> bytes:
    fmt = serialization.PublicFormat.CompressedPoint if compressed else serialization.PublicFormat.UncompressedPoint
    return key.public_key().public_bytes(serialization.Encoding.X962, fmt)


@pytest.mark.parametrize("name", CURVES)
def test_shared_secret_on_a_curve(s, name):
    """Both sides have the same secret; the peer's point raw, compressed, or as a DER OCTET STRING."""
    params, curve = CURVES[name]
    mine, private = ec_pair(s, params)
    peer = ec.generate_private_key(curve())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(curve(), mine))
    for form in (point(peer), octet_string(point(peer)), point(peer, True), octet_string(point(peer, True))):
        assert value_made(s, ecdh(form), private) == z
    assert value_made(s, ecdh(point(peer), mech=CKM.ECDH1_COFACTOR_DERIVE), private) == z
    # "The truncation removes bytes from the leading end of the secret value."
    assert value_made(s, ecdh(point(peer)), private, {CKA.VALUE_LEN: 20}) == z[-20:]
    assert value_made(s, ecdh(point(peer)), private, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32}) == z[-32:]
    assert value_made(s, ecdh(point(peer)), private, {CKA.KEY_TYPE: CKK.DES3}) == odd(z[-24:])
    assert code(s.derive, ecdh(point(peer)), private, {CKA.VALUE_LEN: len(z) + 1}) == "CKR_TEMPLATE_INCONSISTENT"


def test_aes_key_of_the_whole_secret(s):
    """A type of several lengths takes the whole secret, if it has one of them."""
    mine, private = ec_pair(s, P256)
    peer = ec.generate_private_key(ec.SECP256R1())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    assert value_made(s, ecdh(point(peer)), private, {CKA.KEY_TYPE: CKK.AES}) == z
    _, private = ec_pair(s, CURVES["P-521"][0])
    peer = ec.generate_private_key(ec.SECP521R1())
    assert code(s.derive, ecdh(point(peer)), private, {CKA.KEY_TYPE: CKK.AES}) == "CKR_TEMPLATE_INCOMPLETE"


def test_secret_of_rfc_5903(s):
    """RFC 5903, 8.1: the 256-bit group."""
    i = "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433"
    r = ("04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
         "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab")
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: P256, CKA.VALUE: bytes.fromhex(i),
                        CKA.DERIVE: True})
    assert value_made(s, ecdh(bytes.fromhex(r)), private).hex() == \
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"


def x963(name: str, z: bytes, shared: bytes, n: int, counter_first: bool) -> bytes:
    """ANSI X9.63, or SP800-56A where the counter comes first."""
    out = b""
    for i in range(1, n + 1):
        c = i.to_bytes(4, "big")
        out += hashlib.new(name, c + z + shared if counter_first else z + c + shared).digest()
    return out[:n]


@pytest.mark.parametrize("sp800", [False, True])
@pytest.mark.parametrize("name", ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512"])
def test_key_derivation_functions(s, name, sp800):
    kdf = getattr(CKD, name + ("_KDF_SP800" if sp800 else "_KDF"))
    mine, private = ec_pair(s, P256)
    peer = ec.generate_private_key(ec.SECP256R1())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    for shared in (None, b"shared info"):
        for n in (1, 24, 200):
            expected = x963(HASHES[name], z, shared or b"", n, sp800)
            assert value_made(s, ecdh(point(peer), kdf, shared), private, {CKA.VALUE_LEN: n}) == expected
    assert code(s.derive, ecdh(point(peer), kdf), private, {}) == "CKR_TEMPLATE_INCOMPLETE"


def test_key_wrapping_key_as_nss_asks_for_it(s):
    """cmspubkey.c: CKD_SHA1_KDF, target CKM_NSS_AES_KEY_WRAP, with which the content key is unwrapped."""
    mine, private = ec_pair(s, P256)
    peer = ec.generate_private_key(ec.SECP256R1())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    key = s.derive(ecdh(octet_string(point(peer)), CKD.SHA1_KDF, b"info"), private,
                   {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.UNWRAP: True, CKA.VALUE_LEN: 16})
    assert s.get(key, CKA.VALUE) == x963("sha1", z, b"info", 16, False)
    content = s.unwrap(CKM.NSS_AES_KEY_WRAP, key, aes_key_wrap(s.get(key, CKA.VALUE), bytes(range(16))),
                       {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.DECRYPT: True})
    assert s.get(content, CKA.VALUE) == bytes(range(16))


@pytest.mark.parametrize("params,kind", [(X25519, x25519.X25519PrivateKey), (X448, x448.X448PrivateKey)])
def test_montgomery_curves(s, params, kind):
    public, private = s.generate_pair(CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: params}, {CKA.DERIVE: True})
    size = 56 if params == X448 else 32
    mine = s.get(public, CKA.EC_POINT)[-size:]
    peer = kind.generate()
    raw = peer.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    z = peer.exchange(type(peer.public_key()).from_public_bytes(mine))
    for form in (raw, octet_string(raw)):
        assert value_made(s, ecdh(form), private) == z
    assert value_made(s, ecdh(raw, CKD.SHA256_KDF, b"info"), private, {CKA.VALUE_LEN: 40}) == \
        x963("sha256", z, b"info", 40, False)
    assert code(s.derive, ecdh(bytes(size)), private, {}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, ecdh(raw[1:]), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


def test_secret_of_rfc_7748(s):
    """RFC 7748, 6.1: Alice's private key, Bob's public key, their secret."""
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC_MONTGOMERY, CKA.EC_PARAMS: X25519, CKA.DERIVE: True,
                        CKA.VALUE: bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")})
    bob = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert value_made(s, ecdh(bob), private).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_x25519_as_nss_of_debian_12_makes_it(s):
    """CKM_EC_KEY_PAIR_GEN with NSS's own OID of the curve, 1.3.6.1.4.1.11591.15.1."""
    mine, private = ec_pair(s, bytes.fromhex("06092b06010401da470f01"))
    peer = x25519.X25519PrivateKey.generate()
    raw = peer.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    z = peer.exchange(x25519.X25519PublicKey.from_public_bytes(mine[-32:]))
    assert value_made(s, ecdh(raw), private) == value_made(s, ecdh(octet_string(raw)), private) == z


BAD_POINTS = [
    bytes(65), b"\x04" + bytes(64), b"\x04" + b"\x01" * 64, b"\0", b"", b"\x04\x41", b"\x02" + b"\xff" * 32,
    octet_string(b"\x04" + b"\x01" * 64), octet_string(bytes(3)), b"\x04" + b"\xff" * 64,
]


@pytest.mark.parametrize("peer", BAD_POINTS)
def test_points_that_are_not_on_the_curve(s, peer):
    """An invalid point would let a peer find the private key bit by bit."""
    _, private = ec_pair(s, P256)
    assert code(s.derive, ecdh(peer), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


def test_parameters_of_ecdh(s):
    _, private = ec_pair(s, P256)
    public, _ = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, CKA.DERIVE: True}, {CKA.DERIVE: True})
    peer = point(ec.generate_private_key(ec.SECP256R1()))
    assert code(s.derive, ecdh(peer, CKD.NULL, b"not with CKD_NULL"), private, {}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, ecdh(peer, 0x7777), private, {CKA.VALUE_LEN: 16}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, (CKM.ECDH1_DERIVE, b"short"), private, {}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, ecdh(peer), public, {}) == "CKR_KEY_TYPE_INCONSISTENT"
    assert code(s.derive, ecdh(peer), secret(s, b"secret"), {}) == "CKR_KEY_TYPE_INCONSISTENT"
    other = point(ec.generate_private_key(ec.SECP384R1()))
    assert code(s.derive, ecdh(other), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


def test_shared_secret_of_a_token_key(token):
    """The secret of a sensitive private key may be read if nobody says otherwise: NSS does (TLS)."""
    s = token.session()
    public, private = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, CKA.TOKEN: True},
                                      {CKA.DERIVE: True, CKA.TOKEN: True, CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    mine = unwrapped(s.get(public, CKA.EC_POINT))
    peer = ec.generate_private_key(ec.SECP256R1())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    key = s.derive(ecdh(point(peer)), private, {})
    assert s.get(key, CKA.VALUE) == z
    key = s.derive(ecdh(point(peer)), private, {CKA.TOKEN: True, CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    assert s.get_bool(key, CKA.TOKEN) and s.get_bool(key, CKA.ALWAYS_SENSITIVE)


# --- Diffie-Hellman ---

# RFC 2409, 6.2, Second Oakley Group: 1024 bits, generator 2.
PRIME = int("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
            "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
            "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF", 16)


def big(n: int, size: int = 128) -> bytes:
    return n.to_bytes(size, "big")


def dh_private(s, x: int, p: int = PRIME) -> int:
    return s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DH, CKA.PRIME: big(p), CKA.BASE: b"\2", CKA.VALUE: big(x),
                     CKA.DERIVE: True})


def test_diffie_hellman(s):
    x, y = 0x1234567890ABCDEF << 200 | 77, 0xFEDCBA0987654321 << 150 | 3
    z = big(pow(pow(2, y, PRIME), x, PRIME))
    private, peer = dh_private(s, x), big(pow(2, y, PRIME))
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private) == z.lstrip(b"\0")
    assert value_made(s, (CKM.DH_PKCS_DERIVE, b"\0" + peer), private, {CKA.VALUE_LEN: 128}) == z
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private, {CKA.VALUE_LEN: 48}) == z[-48:]
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32}) == z[-32:]
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private, {CKA.KEY_TYPE: CKK.DES3}) == odd(z[-24:])
    for wrong in ({CKA.VALUE_LEN: 129}, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 128}):
        assert code(s.derive, (CKM.DH_PKCS_DERIVE, peer), private, wrong) == "CKR_TEMPLATE_INCONSISTENT"


def test_secret_that_begins_with_zeros(s):
    """TLS takes the secret without leading zeros (RFC 5246, 8.1.2); a length brings them back."""
    y = 0x1234567
    x = next(x for x in range(1 << 64, (1 << 64) + 5000) if big(pow(2, x * y, PRIME))[0] == 0)
    z = big(pow(2, x * y, PRIME))
    private, peer = dh_private(s, x), big(pow(2, y, PRIME))
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private) == z.lstrip(b"\0")
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private, {CKA.VALUE_LEN: 128}) == z


@pytest.mark.parametrize("value", [0, 1, PRIME - 1, PRIME, PRIME + 1])
def test_public_values_that_give_the_secret_away(s, value):
    private = dh_private(s, 0x1234567890ABCDEF << 200)
    assert code(s.derive, (CKM.DH_PKCS_DERIVE, big(value)), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


def test_parameters_of_diffie_hellman(s):
    private = dh_private(s, 0x1234567890ABCDEF << 200)
    for peer in (None, b"", bytes(200)):
        assert code(s.derive, (CKM.DH_PKCS_DERIVE, peer), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


# --- HKDF; RFC 5869, A.1 to A.7 ---

RFC_5869 = [
    ("SHA256", "0b" * 22, "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9", 42,
     "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
    ("SHA256", bytes(range(0x50)).hex(), bytes(range(0x60, 0xb0)).hex(), bytes(range(0xb0, 0x100)).hex(), 82,
     "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
     "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
     "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
    ("SHA256", "0b" * 22, "", "", 42, "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
    ("SHA_1", "0b" * 11, "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9", 42,
     "9b6c18c432a7bf8f0e71c8eb88f4b30baa2ba243",
     "085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896"),
    ("SHA_1", "0c" * 22, None, "", 42, "2adccada18779e7c2077ad2eb19d3f3e731385dd",
     "2c91117204d745f3500d636a62f64f0ab3bae548aa53d423b0d1f27ebba6f5e5673a081d70cce7acfc48"),
]


def hkdf(name: str, extract: bool = True, expand: bool = True, salt=None, info: bytes = b"", mech: int = CKM.HKDF_DERIVE):
    """salt: bytes, the handle of a key, or None."""
    p = struct("CK_HKDF_PARAMS", bExtract=extract, bExpand=expand, prfHashMechanism=getattr(CKM, name), pInfo=info,
               ulSaltType=CKF.HKDF_SALT_NULL)
    if isinstance(salt, bytes):
        p.fill("pSalt", salt)
        p.ulSaltType, p.ulSaltLen = CKF.HKDF_SALT_DATA, len(salt)
    elif salt is not None:
        p.ulSaltType, p.hSaltKey = CKF.HKDF_SALT_KEY, salt
    return mech, p


@pytest.mark.parametrize("name,ikm,salt,info,length,prk,okm", RFC_5869)
def test_hkdf_of_rfc_5869(s, name, ikm, salt, info, length, prk, okm):
    """Both halves alone and together."""
    base = secret(s, bytes.fromhex(ikm), CKK.HKDF)
    salt = bytes.fromhex(salt) if salt is not None else None
    info = bytes.fromhex(info)
    assert value_made(s, hkdf(name, True, False, salt), base).hex() == prk
    assert value_made(s, hkdf(name, True, True, salt, info), base, {CKA.VALUE_LEN: length}).hex() == okm
    middle = secret(s, bytes.fromhex(prk))
    assert value_made(s, hkdf(name, False, True, None, info), middle, {CKA.VALUE_LEN: length}).hex() == okm
    if salt:
        assert value_made(s, hkdf(name, True, True, secret(s, salt, CKK.HKDF), info), base, {CKA.VALUE_LEN: length}).hex() == okm
        data = s.create({CKA.CLASS: CKO.DATA, CKA.VALUE: salt})
        assert value_made(s, hkdf(name, True, True, data, info), base, {CKA.VALUE_LEN: length}).hex() == okm


def test_hkdf_to_data_object_as_nss_asks_for_it(s):
    """CKM_HKDF_DATA with the template of a key makes a data object (tls13_HkdfExpandLabelRaw), also from a protected key."""
    name, ikm, salt, info, length, _, okm = RFC_5869[0]
    mech = hkdf(name, True, True, bytes.fromhex(salt), bytes.fromhex(info), CKM.HKDF_DATA)
    for base in (secret(s, bytes.fromhex(ikm)), protected(s, bytes.fromhex(ikm))):
        made = s.derive(mech, base, {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.HKDF, CKA.VALUE_LEN: length, CKA.DERIVE: True,
                                     CKA.SIGN: True, CKA.VERIFY: True})
        assert s.get_ulong(made, CKA.CLASS) == CKO.DATA
        assert s.get(made, CKA.VALUE).hex() == okm


def test_hkdf_from_data_object(s):
    """NSS begins the key schedule of TLS 1.3 with zeros in a data object."""
    data = s.create({CKA.CLASS: CKO.DATA, CKA.VALUE: bytes(32)})
    expected = hmac.digest(b"salt", bytes(32), "sha256")
    assert value_made(s, hkdf("SHA256", True, False, b"salt"), data, {CKA.KEY_TYPE: CKK.HKDF}) == expected
    empty = s.create({CKA.CLASS: CKO.DATA, CKA.VALUE: b""})
    assert code(s.derive, hkdf("SHA256"), empty, {CKA.VALUE_LEN: 16}) == "CKR_KEY_TYPE_INCONSISTENT"


HKDF_WRONG = [
    (hkdf("SHA256", False, False), {CKA.VALUE_LEN: 16}, "CKR_MECHANISM_PARAM_INVALID"),
    (hkdf("AES_ECB"), {CKA.VALUE_LEN: 16}, "CKR_MECHANISM_PARAM_INVALID"),
    (hkdf("SHA256"), {}, "CKR_TEMPLATE_INCOMPLETE"),
    (hkdf("SHA256"), {CKA.VALUE_LEN: 255 * 32 + 1}, "CKR_KEY_SIZE_RANGE"),
    (hkdf("SHA256", True, False), {CKA.VALUE_LEN: 16}, "CKR_TEMPLATE_INCONSISTENT"),
    (hkdf("SHA256", salt=0), {CKA.VALUE_LEN: 16}, "CKR_KEY_HANDLE_INVALID"),
    ((CKM.HKDF_DERIVE, b"short"), {CKA.VALUE_LEN: 16}, "CKR_MECHANISM_PARAM_INVALID"),
]


@pytest.mark.parametrize("mech,attributes,expected", HKDF_WRONG)
def test_parameters_of_hkdf(s, mech, attributes, expected):
    assert code(s.derive, mech, secret(s, b"base"), attributes) == expected


def test_hkdf_lengths_and_types(s):
    base = secret(s, KEY)
    longest = value_made(s, hkdf("SHA256", info=b"i"), base, {CKA.VALUE_LEN: 255 * 32})
    assert value_made(s, hkdf("SHA256", info=b"i"), base, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16}) == longest[:16]
    assert value_made(s, hkdf("SHA256", info=b"i"), base, {CKA.KEY_TYPE: CKK.CHACHA20}) == longest[:32]
    assert code(s.derive, hkdf("SHA256"), secret(s, bytes(16), CKK.AES), {CKA.VALUE_LEN: 16}) == "CKR_KEY_TYPE_INCONSISTENT"


# --- SP800-108: vectors of NIST's CAVP (KDFCTR_gen, KDFFeedback, KDFFeedbackNoCtr, KDFDblPipeline..., first of their kind) ---

COUNTER, FEEDBACK, PIPELINE = CKM.SP800_108_COUNTER_KDF, CKM.SP800_108_FEEDBACK_KDF, CKM.SP800_108_DOUBLE_PIPELINE_KDF


def field(kind: str, value=None):
    """One CK_PRF_DATA_PARAM."""
    f = struct("CK_PRF_DATA_PARAM", type=getattr(CK, "SP800_108_" + kind))
    value = value_of(value)
    if value is not None:
        f.fill("pValue", value)
        f.ulValueLen = ctypes.sizeof(value)
    return f


def counter(bits: int, little: bool = False, kind: str = "ITERATION_VARIABLE"):
    return field(kind, struct("CK_SP800_108_COUNTER_FORMAT", bLittleEndian=little, ulWidthInBits=bits))


def dkm_length(bits: int, method: str = "KEYS", little: bool = False):
    return field("DKM_LENGTH", struct("CK_SP800_108_DKM_LENGTH_FORMAT", bLittleEndian=little, ulWidthInBits=bits,
                                      dkmLengthMethod=getattr(CK, "SP800_108_DKM_LENGTH_SUM_OF_" + method)))


def kbkdf(mode: int, prf: int, fields: list, iv: bytes = b"", keys: list = ()):
    name = "CK_SP800_108_FEEDBACK_KDF_PARAMS" if mode == FEEDBACK else "CK_SP800_108_KDF_PARAMS"
    p = struct(name, prfType=prf, ulNumberOfDataParams=len(fields), pDataParams=fields, ulAdditionalDerivedKeys=len(keys))
    if iv:
        p.fill("pIV", iv)
        p.ulIVLen = len(iv)
    if keys:
        p.fill("pAdditionalDerivedKeys", list(keys))
    return mode, p


def fixed(data: str):
    return field("BYTE_ARRAY", bytes.fromhex(data))


CAVP = [
    # counter, 8 bits, after the fixed input, AES-128 CMAC
    (COUNTER, CKM.AES_CMAC, CKK.AES, "23eb065be127a881e35a6514d435679f",
     [fixed("e679861a613465a67385372671b107e6b895a2f64043c934ff4256a7e63cfb8bfacc2124251c90fa670d45745c1c35da"
            "9b6e05af77ea9c4ad486fd1a"), counter(8)], "",
     "ea4ebbb4efff4b01684012ed8ff9c64e70ae38197c36445a6c804a0e44819ac3"),
    # feedback, 16 bits of counter after the iteration, no IV
    (FEEDBACK, CKM.AES_CMAC, CKK.AES, "d7f5fa7551645de0b36aecd46565f954",
     [field("ITERATION_VARIABLE"), counter(16, kind="COUNTER"),
      fixed("fb5294ed40a0e4aa70a7be13913070a4c5cfc05f89b9f7dd26a493b8c63889c7c3b0b60dd6d598ffa296a426224c727a501946")], "",
     "7164471f559812581a53aaf7fb6d6c53a1293115cda873887efcc7ce6b3a026b"
     "2d19f0d38db8590e218a2676df88f53cab3313ed63bd1e4828f3c066ea5eb1fd"),
    # feedback, no counter, with IV
    (FEEDBACK, CKM.AES_CMAC, CKK.AES, "5c996c922f65de97d4408373229814c6",
     [field("ITERATION_VARIABLE"),
      fixed("62afe5fed91e797221a854336b0aadd8a05ad0e3c8345729897b2efcec5a1178a2fa4c063007b67a7015e0d6b7271ea8d86b44")],
     "28dc945cb8337ab5336c3e9b5bad21c7",
     "88a9aae193abdd3fe8143bab66014ae41dc2d12ea9d08f5871588fc5d827924e"
     "b9942989d7a36d4b3b107997566472cad5942bd13cb5cff32b9dae30f1bb6300"),
    # the same with CMAC of two-key triple DES
    (FEEDBACK, CKM.DES3_CMAC, CKK.DES2, "1cc91ac93ce93215c74ca11cb900fcb3",
     [field("ITERATION_VARIABLE"),
      fixed("28400c621bc2f7ae04de8ab279009803885e7966b2391e7a2cf28ca458f83f48882135066d31f701fb46937cf867dabbfa1bac")],
     "9e24eef3fe79719f",
     "3f46494db77b4497075e0abea59b15c4d97b5055e48eaf1db3c8601205bace9a"
     "6053c20867f6756ad0e2fc5c81c69f0427ef66ceb1d1d18f4f2678e10cb93913"),
    # double pipeline, 8 bits of counter after the iteration
    (PIPELINE, CKM.AES_CMAC, CKK.AES, "08a5a251b8e4826fbf73292f4cd6c790",
     [field("ITERATION_VARIABLE"), counter(8, kind="COUNTER"),
      fixed("aa5acbce73a98d4c4f361d5c22a2cc6f6bdc30027aa31af1ba8b15a5bd5b6a34d133519ad1a82483c2d2a6dd9a97273a780421")], "",
     "ff1c72ec38b8968a1ce0942a571a1f522ddd2a1c6ffc2b60c90bb54a5c0e9de4"
     "0d289686cbff127b408ec64ef615b18c1abc0736ae4c94e33e54d832e686276e"),
    # double pipeline, 32 bits, AES-256
    (PIPELINE, CKM.AES_CMAC, CKK.AES, "2451975a33ab0c7535e00abe7b57982335b0471ad857a093c6765e6c58443852",
     [field("ITERATION_VARIABLE"), counter(32, kind="COUNTER"),
      fixed("fb95eb3c47dcad3b783b045b29bcb6f5aefc0389735843b92b4d8fab97d61350b76b2a83442d7c5aa497aa1cf441760281a08b")], "",
     "2f157687f782c8b64325826e3c755194c70abffd9d78c4678924b9d73dcced86"
     "dcaf7dfa3bf56cf03fa45c7fca05ca1092c41bbd934131e95db2b204241a9d02"),
    # double pipeline, no counter
    (PIPELINE, CKM.AES_CMAC, CKK.AES, "ada2452f1f141a82c7a1b7d3e09ffed1",
     [field("ITERATION_VARIABLE"),
      fixed("335660eb265d2044efa06eacd848d3f9f57d219011343318f3a964df4a6fb1bf6cbdee711c7fcbe73b8f257f992e47e8b065af")], "",
     "a73bd29176e38e761222ae07d639181f4b2c555a3b261815cde5d88a67c8b95c"
     "58b6b66ea4f10608c6d799b051519fc8e89de00cdc556350a7d966475086f9af"),
]


@pytest.mark.parametrize("mode,prf,kind,key,fields,iv,expected", CAVP)
def test_sp800_108_of_cavp(s, mode, prf, kind, key, fields, iv, expected):
    base = secret(s, bytes.fromhex(key), kind)
    mech = kbkdf(mode, prf, fields, bytes.fromhex(iv))
    expected = bytes.fromhex(expected)
    assert value_made(s, mech, base, {CKA.VALUE_LEN: len(expected)}) == expected
    assert value_made(s, mech, base, {CKA.VALUE_LEN: 17}) == expected[:17]


def reference(mode: int, name: str, key: bytes, parts, n: int, iv: bytes = b"") -> bytes:
    """SP800-108, 4.1 to 4.3, with HMAC. parts(i, iteration): the PRF's input; i = 0: what A(0) is made of."""
    def prf(data):
        return hmac.digest(key, data, name)
    out, k, a, i = b"", iv, parts(0, b""), 0
    while len(out) < n:
        i += 1
        if mode == PIPELINE:
            a = prf(a)
        k = prf(parts(i, a if mode == PIPELINE else k))
        out += k
    return out


@pytest.mark.parametrize("name", ["SHA_1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384", "SHA3_512"])
@pytest.mark.parametrize("mode", [COUNTER, FEEDBACK, PIPELINE])
def test_sp800_108_with_hmac(s, mode, name):
    """[i] || label || 00 || context || L, with a counter of two bytes and a length of four, both endians."""
    digest = HASHES[name.replace("SHA_1", "SHA1")]
    for little in (False, True):
        order = "little" if little else "big"
        iterate = [counter(16, little)] if mode == COUNTER else [field("ITERATION_VARIABLE"), counter(16, little, "COUNTER")]
        fields = iterate + [field("BYTE_ARRAY", b"label"), field("BYTE_ARRAY", b"\0"), field("BYTE_ARRAY", b"context"),
                            dkm_length(32, "KEYS", little)]

        def parts(i, iteration):
            c = i.to_bytes(2, order) if i else b""
            return (b"" if mode == COUNTER else iteration) + c + b"label\0context" + (150 * 8).to_bytes(4, order)

        iv = b"the IV" if mode == FEEDBACK else b""
        expected = reference(mode, digest, KEY, parts, 150, iv)[:150]
        mech = kbkdf(mode, getattr(CKM, name + "_HMAC"), fields, iv)
        assert value_made(s, mech, secret(s, KEY), {CKA.VALUE_LEN: 150}) == expected


def test_key_as_a_field_of_the_input(s):
    inner = secret(s, b"inner key")
    fields = [counter(8), field("KEY_HANDLE", inner), field("BYTE_ARRAY", b"x"), field("KEY_HANDLE", inner)]
    expected = reference(COUNTER, "sha256", KEY, lambda i, _: bytes([i]) + b"inner keyxinner key", 40)[:40]
    assert value_made(s, kbkdf(COUNTER, CKM.SHA256_HMAC, fields), secret(s, KEY), {CKA.VALUE_LEN: 40}) == expected
    fields = [counter(8), field("KEY_HANDLE", secret(s, b"x", DERIVE=False))]
    assert code(s.derive, kbkdf(COUNTER, CKM.SHA256_HMAC, fields), secret(s, KEY), {CKA.VALUE_LEN: 40}) == \
        "CKR_KEY_FUNCTION_NOT_PERMITTED"


def more_key(attributes: dict, handle):
    t = template(attributes)
    return struct("CK_DERIVED_KEY", pTemplate=t, ulAttributeCount=len(t), phKey=handle)


@pytest.mark.parametrize("method,bits", [("KEYS", 512), ("SEGMENTS", 768)])
def test_additional_keys_from_segments_of_their_own(s, method, bits):
    """The standard's example: a key of 48 bytes takes two segments of HMAC-SHA-256, one of 16 bytes the third."""
    handle = ULONG(77)
    fields = [counter(16), field("BYTE_ARRAY", b"label"), dkm_length(16, method)]
    made = reference(COUNTER, "sha256", KEY, lambda i, _: i.to_bytes(2, "big") + b"label" + bits.to_bytes(2, "big"), 96)
    extra = more_key({CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16, CKA.LABEL: b"second"}, handle)
    first = s.derive(kbkdf(COUNTER, CKM.SHA256_HMAC, fields, keys=[extra]), secret(s, KEY), {CKA.VALUE_LEN: 48})
    assert s.get(first, CKA.VALUE) == made[:48]
    assert s.get(handle.value, CKA.VALUE) == made[64:80]
    assert s.get_ulong(handle.value, CKA.KEY_TYPE) == CKK.AES and s.get(handle.value, CKA.LABEL) == b"second"


def test_additional_keys_all_or_none(s):
    """A template that cannot be met leaves no key, and its handle says which it was."""
    base, fields = secret(s, KEY), [counter(8)]
    before = sorted(s.find())
    for first, wrong in (({CKA.VALUE_LEN: 16}, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 17}),
                         ({CKA.VALUE_LEN: 16}, {CKA.VALUE_LEN: 16, CKA.MODULUS: b"x"}),
                         ({CKA.VALUE_LEN: 16}, {CKA.KEY_TYPE: CKK.AES})):
        handles = ULONG(77), ULONG(78)
        keys = [more_key({CKA.VALUE_LEN: 16}, handles[0]), more_key(wrong, handles[1])]
        assert code(s.derive, kbkdf(COUNTER, CKM.SHA256_HMAC, fields, keys=keys), base, first).startswith("CKR_TEMPLATE_IN")
        assert [h.value for h in handles] == [77, 0]
        assert sorted(s.find()) == before


KBKDF_WRONG = [
    (COUNTER, CKM.SHA256_HMAC, [field("BYTE_ARRAY", b"no iteration")]),
    (COUNTER, CKM.SHA256_HMAC, [counter(8), counter(8)]),
    (COUNTER, CKM.SHA256_HMAC, [field("ITERATION_VARIABLE")]),
    (COUNTER, CKM.SHA256_HMAC, [counter(8), counter(8, kind="COUNTER")]),
    (COUNTER, CKM.SHA256_HMAC, [counter(12)]),
    (COUNTER, CKM.SHA256_HMAC, [counter(40)]),
    (COUNTER, CKM.SHA256_HMAC, [counter(8), dkm_length(8), dkm_length(8)]),
    (COUNTER, CKM.SHA256_HMAC, [counter(8), dkm_length(7)]),
    (COUNTER, CKM.SHA256_HMAC, [counter(8), dkm_length(8)]),  # 512 bits do not fit into 8
    (COUNTER, CKM.SHA256_HMAC, [counter(8), field("BYTE_ARRAY")]),
    (COUNTER, CKM.SHA256_HMAC, [counter(8), field("KEY_HANDLE", b"1234")]),
    (COUNTER, CKM.SHA256, [counter(8)]),
    (COUNTER, CKM.MD5_HMAC, [counter(8)]),
    (COUNTER, CKM.AES_ECB, [counter(8)]),
    (FEEDBACK, CKM.SHA256_HMAC, [counter(8)]),
    (FEEDBACK, CKM.SHA256_HMAC, [field("BYTE_ARRAY", b"x")]),
    (PIPELINE, CKM.SHA256_HMAC, [field("ITERATION_VARIABLE"), counter(8, kind="COUNTER"), counter(8, kind="COUNTER")]),
]


@pytest.mark.parametrize("mode,prf,fields", KBKDF_WRONG)
def test_fields_that_make_no_input(s, mode, prf, fields):
    assert code(s.derive, kbkdf(mode, prf, fields), secret(s, KEY), {CKA.VALUE_LEN: 64}) == "CKR_MECHANISM_PARAM_INVALID"


def test_limits_of_sp800_108(s):
    """The counter's width limits the number of segments; a CMAC takes a key of its cipher only."""
    base = secret(s, KEY)
    mech = kbkdf(COUNTER, CKM.SHA256_HMAC, [counter(8), field("BYTE_ARRAY", b"x")])
    assert len(value_made(s, mech, base, {CKA.VALUE_LEN: 255 * 32})) == 255 * 32
    assert code(s.derive, mech, base, {CKA.VALUE_LEN: 255 * 32 + 1}) == "CKR_KEY_SIZE_RANGE"
    assert code(s.derive, kbkdf(COUNTER, CKM.AES_CMAC, [counter(8)]), base, {CKA.VALUE_LEN: 16}) == "CKR_KEY_TYPE_INCONSISTENT"
    silent = s.derive(mech, protected(s, KEY), {CKA.VALUE_LEN: 16})
    assert s.get_bool(silent, CKA.SENSITIVE) and not s.get_bool(silent, CKA.EXTRACTABLE)


def test_additional_keys_without_memory_behind_them(s):
    """What the entry of C_DeriveKey checks of its own template is checked of these too."""
    base, handle = secret(s, KEY), ULONG(77)
    hollow = template({CKA.LABEL: None})
    hollow[0].ulValueLen = 5
    no_template = struct("CK_DERIVED_KEY", pTemplate=None, ulAttributeCount=1, phKey=handle)
    no_handle = struct("CK_DERIVED_KEY", pTemplate=None, ulAttributeCount=0, phKey=None)
    hollow_value = struct("CK_DERIVED_KEY", pTemplate=hollow, ulAttributeCount=1, phKey=handle)
    for extra in (no_template, no_handle, hollow_value):
        mech = kbkdf(COUNTER, CKM.SHA256_HMAC, [counter(8)], keys=[extra])
        assert code(s.derive, mech, base, {CKA.VALUE_LEN: 16}) == "CKR_MECHANISM_PARAM_INVALID"


# --- the public half of a private key ---

PAIRS = {
    "RSA": (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048}, (CKA.MODULUS, CKA.PUBLIC_EXPONENT)),
    "EC": (CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}, (CKA.EC_PARAMS, CKA.EC_POINT)),
    "Ed25519": (CKM.EC_EDWARDS_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06032b6570")}, (CKA.EC_PARAMS, CKA.EC_POINT)),
    "X25519": (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: X25519}, (CKA.EC_PARAMS, CKA.EC_POINT)),
    "X448": (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: X448}, (CKA.EC_PARAMS, CKA.EC_POINT)),
    "DH": (CKM.DH_PKCS_KEY_PAIR_GEN, {CKA.PRIME: big(PRIME), CKA.BASE: b"\2"}, (CKA.PRIME, CKA.BASE, CKA.VALUE)),
}


def test_public_half_of_a_dsa_key(s):
    """The group is small, because only the arithmetic matters: p and q of 1024 and 160 bits, g = 2^((p-1)/q)."""
    q = int("996f967f6c8e388d9e28d01e205fba957a5698b1", 16)
    p = next(n for n in range((1 << 1023) // (2 * q) + 1, (1 << 1023) // (2 * q) + 200000) if pow(2, 2 * n * q, 2 * n * q + 1) == 1)
    p = 2 * p * q + 1
    g = pow(2, (p - 1) // q, p)
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DSA, CKA.PRIME: big(p), CKA.SUBPRIME: big(q, 20),
                        CKA.BASE: big(g), CKA.VALUE: big(0x1234567, 20)})
    key = s.derive(CKM.PUB_KEY_FROM_PRIV_KEY, private, {})
    assert s.get(key, CKA.VALUE) == big(pow(g, 0x1234567, p)).lstrip(b"\0")


@pytest.mark.parametrize("mech", [CKM.PUB_KEY_FROM_PRIV_KEY, CKM.NSS_PUB_FROM_PRIV])
@pytest.mark.parametrize("name", PAIRS)
def test_public_half_of_a_private_key(s, name, mech):
    """With an empty template, as NSS asks, and without CKA_DERIVE; ID and uses are those of the private key."""
    generate, public, components = PAIRS[name]
    made, private = s.generate_pair(generate, public, {CKA.ID: b"the id", CKA.DERIVE: False, CKA.SENSITIVE: True,
                                                       CKA.EXTRACTABLE: False})
    key = s.derive(mech, private, {})
    assert s.get_ulong(key, CKA.CLASS) == CKO.PUBLIC_KEY
    assert s.get_many(key, components) == s.get_many(made, components)
    assert s.get(key, CKA.ID) == b"the id" and not s.get_bool(key, CKA.LOCAL) and not s.get_bool(key, CKA.TOKEN)
    if name in ("RSA", "EC", "Ed25519"):
        assert s.get_bool(key, CKA.VERIFY) == s.get_bool(private, CKA.SIGN)
    told = s.derive(mech, private, {CKA.TOKEN: True, CKA.ID: b"other", CKA.LABEL: "mine"})
    assert s.get_bool(told, CKA.TOKEN) and s.get(told, CKA.ID) == b"other"
    assert code(s.derive, mech, made, {}) == "CKR_KEY_TYPE_INCONSISTENT"
    assert code(s.derive, mech, private, {CKA.CLASS: CKO.SECRET_KEY}) == "CKR_TEMPLATE_INCONSISTENT"
