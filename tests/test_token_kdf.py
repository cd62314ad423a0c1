"""HKDF and the SP800-108 derivations of libp11token.so, against RFC 5869, NIST's CAVP and Python's HMAC."""
import ctypes
import hmac

import pytest

from cryptoki import CK, CKA, CKF, CKK, CKM, CKO, ULONG, struct, template, value_of
from derivation import HASHES, KEY, code, protected, secret, value_made


@pytest.fixture
def s(token):
    return token.session()


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


def hkdf(name: str, extract: bool = True, expand: bool = True, salt=None, info: bytes = b"",
         mech: int = CKM.HKDF_DERIVE):
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
        for holder in (secret(s, salt, CKK.HKDF), s.create({CKA.CLASS: CKO.DATA, CKA.VALUE: salt})):
            assert value_made(s, hkdf(name, True, True, holder, info), base, {CKA.VALUE_LEN: length}).hex() == okm


def test_hkdf_to_data_object_as_nss_asks_for_it(s):
    """CKM_HKDF_DATA with the template of a key makes a data object (tls13_HkdfExpandLabelRaw), also from a protected
    key."""
    name, ikm, salt, info, length, _, okm = RFC_5869[0]
    mech = hkdf(name, True, True, bytes.fromhex(salt), bytes.fromhex(info), CKM.HKDF_DATA)
    for base in (secret(s, bytes.fromhex(ikm)), protected(s, bytes.fromhex(ikm))):
        made = s.derive(mech, base,
                        {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.HKDF, CKA.VALUE_LEN: length, CKA.DERIVE: True,
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
    aes = secret(s, bytes(16), CKK.AES)
    assert code(s.derive, hkdf("SHA256"), aes, {CKA.VALUE_LEN: 16}) == "CKR_KEY_TYPE_INCONSISTENT"


# --- SP800-108; vectors of NIST's CAVP: KDFCTR_gen, KDFFeedback, KDFFeedbackNoCtr, KDFDblPipeline ... ---

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
    p = struct(name, prfType=prf, ulNumberOfDataParams=len(fields), pDataParams=fields,
               ulAdditionalDerivedKeys=len(keys))
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
      fixed("fb5294ed40a0e4aa70a7be13913070a4c5cfc05f89b9f7dd26a493b8c63889c7c3b0b60dd6d598ffa296a426224c727a501946")],
     "",
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
      fixed("aa5acbce73a98d4c4f361d5c22a2cc6f6bdc30027aa31af1ba8b15a5bd5b6a34d133519ad1a82483c2d2a6dd9a97273a780421")],
     "",
     "ff1c72ec38b8968a1ce0942a571a1f522ddd2a1c6ffc2b60c90bb54a5c0e9de4"
     "0d289686cbff127b408ec64ef615b18c1abc0736ae4c94e33e54d832e686276e"),
    # double pipeline, 32 bits, AES-256
    (PIPELINE, CKM.AES_CMAC, CKK.AES, "2451975a33ab0c7535e00abe7b57982335b0471ad857a093c6765e6c58443852",
     [field("ITERATION_VARIABLE"), counter(32, kind="COUNTER"),
      fixed("fb95eb3c47dcad3b783b045b29bcb6f5aefc0389735843b92b4d8fab97d61350b76b2a83442d7c5aa497aa1cf441760281a08b")],
     "",
     "2f157687f782c8b64325826e3c755194c70abffd9d78c4678924b9d73dcced86"
     "dcaf7dfa3bf56cf03fa45c7fca05ca1092c41bbd934131e95db2b204241a9d02"),
    # double pipeline, no counter
    (PIPELINE, CKM.AES_CMAC, CKK.AES, "ada2452f1f141a82c7a1b7d3e09ffed1",
     [field("ITERATION_VARIABLE"),
      fixed("335660eb265d2044efa06eacd848d3f9f57d219011343318f3a964df4a6fb1bf6cbdee711c7fcbe73b8f257f992e47e8b065af")],
     "",
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


@pytest.mark.parametrize("name",
                         ["SHA_1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384",
                          "SHA3_512"])
@pytest.mark.parametrize("mode", [COUNTER, FEEDBACK, PIPELINE])
def test_sp800_108_with_hmac(s, mode, name):
    """[i] || label || 00 || context || L, with a counter of two bytes and a length of four, both endians."""
    digest = HASHES[name.replace("SHA_1", "SHA1")]
    for little in (False, True):
        order = "little" if little else "big"
        iterate = [counter(16, little)]
        if mode != COUNTER:
            iterate = [field("ITERATION_VARIABLE"), counter(16, little, "COUNTER")]
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
        mech = kbkdf(COUNTER, CKM.SHA256_HMAC, fields, keys=keys)
        assert code(s.derive, mech, base, first).startswith("CKR_TEMPLATE_IN")
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
    mech = kbkdf(mode, prf, fields)
    assert code(s.derive, mech, secret(s, KEY), {CKA.VALUE_LEN: 64}) == "CKR_MECHANISM_PARAM_INVALID"


def test_limits_of_sp800_108(s):
    """The counter's width limits the number of segments; a CMAC takes a key of its cipher only."""
    base = secret(s, KEY)
    mech = kbkdf(COUNTER, CKM.SHA256_HMAC, [counter(8), field("BYTE_ARRAY", b"x")])
    assert len(value_made(s, mech, base, {CKA.VALUE_LEN: 255 * 32})) == 255 * 32
    assert code(s.derive, mech, base, {CKA.VALUE_LEN: 255 * 32 + 1}) == "CKR_KEY_SIZE_RANGE"
    cmac = kbkdf(COUNTER, CKM.AES_CMAC, [counter(8)])
    assert code(s.derive, cmac, base, {CKA.VALUE_LEN: 16}) == "CKR_KEY_TYPE_INCONSISTENT"
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
