"""C_DeriveKey of libp11token.so by digests, enciphered data and the bits of a key, against hashlib,
python3-cryptography and
the standard's examples; and what may not come out of a protected key."""
import ctypes
import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cryptoki import CKA, CKK, CKM, CKO, CKR, struct, template
from derivation import HASHES, KEY, P256, code, odd, protected, secret, value_made


@pytest.fixture
def s(token):
    return token.session()


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
    """"If no length was provided in the template, but a key type is, then that key type must have a well-defined
    length.\""""
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
     struct("CK_DES_CBC_ENCRYPT_DATA_PARAMS", iv=IV[:8], pData=DATA, length=48), algorithms.TripleDES,
     modes.CBC(IV[:8])),
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
    """One byte of a key, as a key, is found by trying out 256: at least 112 bits of the base are in the new key, and of an
    unextractable one all."""
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
    assert code(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 77), base, {CKA.VALUE_LEN: 31}) == "CKR_KEY_SIZE_RANGE"
    may_leave = secret(s, KEY, SENSITIVE=True, EXTRACTABLE=True)
    assert code(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 77), may_leave, {CKA.VALUE_LEN: 13}) == "CKR_KEY_SIZE_RANGE"
    assert s.derive((CKM.EXTRACT_KEY_FROM_KEY, 77), may_leave, {CKA.VALUE_LEN: 14})
    short = protected(s, b"\x42")
    assert s.derive((CKM.CONCATENATE_BASE_AND_DATA, string(MORE)), short, {})


def test_no_few_bytes_by_a_detour(s):
    """Known bytes put beside the protected ones first, as data or as a key, and then a part with one unknown byte cut
    out."""
    base, derive = protected(s, KEY), {CKA.DERIVE: True}
    mixed = s.derive((CKM.CONCATENATE_DATA_AND_BASE, string(bytes(31))), base, derive)
    again = s.derive((CKM.XOR_BASE_AND_DATA, string(bytes(63))), mixed, derive)
    beside = s.derive((CKM.CONCATENATE_BASE_AND_KEY, base), secret(s, bytes(31)), derive)
    disguised = s.derive((CKM.CONCATENATE_BASE_AND_KEY, base), protected(s, bytes(31)), derive)
    for key in (mixed, again, beside, disguised, s.copy(mixed)):
        assert code(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 0), key, {CKA.VALUE_LEN: 32}) == "CKR_KEY_SIZE_RANGE"
    whole = s.derive((CKM.EXTRACT_KEY_FROM_KEY, 8), mixed, {CKA.VALUE_LEN: 63, **derive})
    assert code(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 0), whole, {CKA.VALUE_LEN: 31}) == "CKR_KEY_SIZE_RANGE"


def test_the_detour_is_remembered(token):
    """Also of a key that is stored, by the next program; and nobody can take the mark away."""
    s = token.session()
    mixed = s.derive((CKM.CONCATENATE_DATA_AND_BASE, string(bytes(31))), protected(s, KEY),
                     {CKA.DERIVE: True, CKA.TOKEN: True, CKA.LABEL: "mixed"})
    for attribute in range(CKA.VENDOR_DEFINED | 0x50313100, CKA.VENDOR_DEFINED | 0x50313110):
        assert code(s.set, mixed, {attribute: False}).startswith("CKR_ATTRIBUTE")
    token.finalize()
    s = token.session()
    mixed = s.find_one({CKA.LABEL: "mixed"})
    assert code(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 0), mixed, {CKA.VALUE_LEN: 32}) == "CKR_KEY_SIZE_RANGE"


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
