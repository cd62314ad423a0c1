"""The TLS mechanisms of libp11token.so, with which NSS keeps a pre-master secret on the token. The PRFs are written out here
from RFC 2246, RFC 5246 and RFC 6101; vectors are NIST's (SP800-135 TLS) and that of the TLS working group's list."""
import ctypes
import hashlib
import hmac

import pytest

from cryptoki import CKA, CKF, CKK, CKM, CKO, CKR, CkError, Guarded, Module, ULONG, mechanism, struct, template

ALL = """SSL3_PRE_MASTER_KEY_GEN TLS_PRE_MASTER_KEY_GEN SSL3_MASTER_KEY_DERIVE SSL3_MASTER_KEY_DERIVE_DH
    SSL3_KEY_AND_MAC_DERIVE SSL3_MD5_MAC SSL3_SHA1_MAC TLS_MASTER_KEY_DERIVE TLS_MASTER_KEY_DERIVE_DH TLS_KEY_AND_MAC_DERIVE
    TLS12_MASTER_KEY_DERIVE TLS12_MASTER_KEY_DERIVE_DH TLS12_KEY_AND_MAC_DERIVE TLS12_KEY_SAFE_DERIVE
    TLS12_EXTENDED_MASTER_KEY_DERIVE TLS12_EXTENDED_MASTER_KEY_DERIVE_DH NSS_TLS_EXTENDED_MASTER_KEY_DERIVE
    NSS_TLS_EXTENDED_MASTER_KEY_DERIVE_DH NSS_TLS_MASTER_KEY_DERIVE_SHA256 NSS_TLS_MASTER_KEY_DERIVE_DH_SHA256
    NSS_TLS_KEY_AND_MAC_DERIVE_SHA256 TLS_KDF TLS12_KDF TLS_PRF TLS_MAC TLS12_MAC TLS10_MAC_SERVER TLS10_MAC_CLIENT
    TLS_PRF_GENERAL NSS_TLS_PRF_GENERAL_SHA256""".split()

CLIENT, SERVER = bytes(range(32)), bytes(range(100, 132))
PMS = b"\3\3" + bytes(range(46))
MASTER = bytes(range(150, 198))


# --- the PRFs, written out ---

def p_hash(name: str, key: bytes, seed: bytes, n: int) -> bytes:
    out, a = b"", seed
    while len(out) < n:
        a = hmac.digest(key, a, name)
        out += hmac.digest(key, a + seed, name)
    return out[:n]


def prf(name, key: bytes, label: bytes, seed: bytes, n: int) -> bytes:
    """name None: TLS 1.0 and 1.1."""
    if name:
        return p_hash(name, key, label + seed, n)
    half = (len(key) + 1) // 2
    a, b = p_hash("md5", key[:half], label + seed, n), p_hash("sha1", key[-half:], label + seed, n)
    return bytes(x ^ y for x, y in zip(a, b))


def ssl3(key: bytes, seed: bytes, n: int) -> bytes:
    out = b""
    for i in range(26):
        inner = hashlib.sha1(bytes([65 + i]) * (i + 1) + key + seed).digest()
        out += hashlib.md5(key + inner).digest()
    return out[:n]


def master_of(version: str, name, key: bytes) -> bytes:
    return ssl3(key, CLIENT + SERVER, 48) if version == "SSL3" else prf(name, key, b"master secret", CLIENT + SERVER, 48)


def block_of(version: str, name, key: bytes, n: int) -> bytes:
    return ssl3(key, SERVER + CLIENT, n) if version == "SSL3" else prf(name, key, b"key expansion", SERVER + CLIENT, n)


# --- the mechanisms ---

def randoms(client: bytes = CLIENT, server: bytes = SERVER):
    return struct("CK_SSL3_RANDOM_DATA", pClientRandom=client, pServerRandom=server)


def version_pointer():
    """A CK_VERSION, for a pointer to it."""
    return struct("CK_VERSION", major=9, minor=9)


def master_mech(name: str, hash_name=None, version=None, random=None):
    more = {"pVersion": version} if version is not None else {}
    if name.startswith("TLS12"):
        more["prfHashMechanism"] = getattr(CKM, hash_name)
    kind = "CK_TLS12_MASTER_KEY_DERIVE_PARAMS" if name.startswith("TLS12") else "CK_SSL3_MASTER_KEY_DERIVE_PARAMS"
    return getattr(CKM, name), struct(kind, RandomInfo=random or randoms(), **more)


class KeyMaterial:
    """The parameter of a ..._KEY_AND_MAC_DERIVE and what it returns; sizes in bytes."""

    def __init__(self, name: str, mac: int, key: int, iv: int, hash_name=None, **changes):
        self.ivs = Guarded(iv), Guarded(iv)
        self.out = struct("CK_SSL3_KEY_MAT_OUT", pIVClient=self.ivs[0].memory, pIVServer=self.ivs[1].memory)
        kind = "CK_SSL3_KEY_MAT_PARAMS"
        if name.startswith("TLS12"):
            kind, changes["prfHashMechanism"] = "CK_TLS12_KEY_MAT_PARAMS", getattr(CKM, hash_name)
        values = dict(ulMacSizeInBits=mac * 8, ulKeySizeInBits=key * 8, ulIVSizeInBits=iv * 8, RandomInfo=randoms(),
                      pReturnedKeyMaterial=self.out)
        self.mech = getattr(CKM, name), struct(kind, **{**values, **changes})
        self.iv = iv

    def derive(self, s, base: int, attributes: dict):
        """phKey is NULL: "the parameter phKey ... is unnecessary, and should be a NULL_PTR"."""
        t = template(attributes)
        s.call("C_DeriveKey", ctypes.byref(mechanism(self.mech)), base, t, len(t), None)

    def handles(self) -> list:
        return [self.out.hClientMacSecret, self.out.hServerMacSecret, self.out.hClientKey, self.out.hServerKey]

    def iv_bytes(self) -> bytes:
        return b"".join(g.take(self.iv) for g in self.ivs)


@pytest.fixture
def s(token):
    return token.session()


def secret(s, value: bytes, **more) -> int:
    attributes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE: value, CKA.DERIVE: True,
                  CKA.SIGN: True, CKA.VERIFY: True}
    return s.create({**attributes, **{getattr(CKA, name): v for name, v in more.items()}})


def code(call, *arguments) -> str:
    with pytest.raises(CkError) as e:
        call(*arguments)
    return e.value.name


# --- all or none ---

def test_all_of_the_set_or_none(token):
    """NSS moves the pre-master secret to a token that lists CKM_SSL3_MASTER_KEY_DERIVE; a half list would break TLS."""
    m = token.load()
    listed = set(m.mechanisms(token.slot()))
    assert [n for n in ALL if getattr(CKM, n) not in listed] == []
    gen, derive, sign = CKF.GENERATE, CKF.DERIVE, CKF.SIGN | CKF.VERIFY
    for name in ALL:
        flags = gen if name.endswith("GEN") else sign if "MAC_" in name + "_" and "DERIVE" not in name or "GENERAL" in name else derive
        assert m.mechanism_info(token.slot(), getattr(CKM, name))["flags"] == flags, name
    token.finalize()
    with Module(token.module, token.parameters + " tls=no") as m:
        assert not {getattr(CKM, n) for n in ALL} & set(m.mechanisms(m.slots()[0]))


# --- pre-master secret ---

@pytest.mark.parametrize("name", ["SSL3_PRE_MASTER_KEY_GEN", "TLS_PRE_MASTER_KEY_GEN"])
def test_pre_master_secret_begins_with_the_version(s, name):
    """The template is that of NSS (PK11_TokenKeyGen), which asks for neither length nor CKA_DERIVE."""
    mech = getattr(CKM, name), struct("CK_VERSION", major=3, minor=2)
    keys = [s.generate_key(mech, {CKA.SIGN: True, CKA.ENCRYPT: True}) for _ in range(2)]
    values = [s.get(k, CKA.VALUE) for k in keys]
    assert [v[:2] for v in values] == [b"\3\2"] * 2 and values[0] != values[1]
    for key in keys:
        assert s.get_ulong(key, CKA.KEY_TYPE) == CKK.GENERIC_SECRET and s.get_ulong(key, CKA.VALUE_LEN) == 48
        assert s.get_bool(key, CKA.DERIVE) and s.get_bool(key, CKA.EXTRACTABLE) and s.get_bool(key, CKA.LOCAL)
    assert s.generate_key(mech, {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE_LEN: 48})


def test_pre_master_secret_of_another_shape(s):
    version = struct("CK_VERSION", major=3, minor=3)
    for mech, attributes, expected in (
            (CKM.SSL3_PRE_MASTER_KEY_GEN, {}, "CKR_MECHANISM_PARAM_INVALID"),
            ((CKM.SSL3_PRE_MASTER_KEY_GEN, b"\3\3\0"), {}, "CKR_MECHANISM_PARAM_INVALID"),
            ((CKM.SSL3_PRE_MASTER_KEY_GEN, version), {CKA.VALUE_LEN: 47}, "CKR_TEMPLATE_INCONSISTENT"),
            ((CKM.SSL3_PRE_MASTER_KEY_GEN, version), {CKA.KEY_TYPE: CKK.AES}, "CKR_TEMPLATE_INCONSISTENT")):
        assert code(s.generate_key, mech, attributes) == expected


# --- master secret ---

MASTERS = [
    ("SSL3_MASTER_KEY_DERIVE", "SSL3", None),
    ("SSL3_MASTER_KEY_DERIVE_DH", "SSL3", None),
    ("TLS_MASTER_KEY_DERIVE", "TLS", None),
    ("TLS_MASTER_KEY_DERIVE_DH", "TLS", None),
    ("TLS12_MASTER_KEY_DERIVE", "TLS12", "SHA256"),
    ("TLS12_MASTER_KEY_DERIVE", "TLS12", "SHA384"),
    ("TLS12_MASTER_KEY_DERIVE_DH", "TLS12", "SHA256"),
    ("TLS12_MASTER_KEY_DERIVE_DH", "TLS12", "SHA512"),
    ("NSS_TLS_MASTER_KEY_DERIVE_SHA256", "TLS12", "SHA256"),
    ("NSS_TLS_MASTER_KEY_DERIVE_DH_SHA256", "TLS12", "SHA256"),
]


@pytest.mark.parametrize("name,version,hash_name", MASTERS)
def test_master_secret(s, name, version, hash_name):
    """The value, the client's version, and what NSS expects of the key; the template is NSS's."""
    dh = "_DH" in name
    pms = bytes(range(1, 67)) if dh else PMS
    seen = None if dh else version_pointer()
    key = s.derive(master_mech(name, hash_name, seen), secret(s, pms),
                   {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.DERIVE: True})
    assert s.get(key, CKA.VALUE) == master_of(version, hash_name and hash_name.lower(), pms)
    assert s.get_ulong(key, CKA.VALUE_LEN) == 48 and s.get_bool(key, CKA.DERIVE)
    if version != "SSL3":
        assert s.get_bool(key, CKA.SIGN) and s.get_bool(key, CKA.VERIFY)
    if seen is not None:
        assert (seen.major, seen.minor) == (3, 3)
        again = s.derive(master_mech(name, hash_name), secret(s, pms), {CKA.VALUE_LEN: 48})
        assert s.get(again, CKA.VALUE) == s.get(key, CKA.VALUE)


# SP800-135, CAVP tls.zip: TLS 1.2, SHA-256, first case.
NIST_PMS = "f8938ecc9edebc5030c0c6a441e213cd24e6f770a50dda07876f8d55da062bcadb386b411fd4fe4313a604fce6c17fbc"
NIST_HELLO = ("36c129d01a3200894b9179faac589d9835d58775f9b5ea3587cb8fd0364cae8c",
              "f6c9575ed7ddd73e1f7d16eca115415812a43c2b747daaaae043abfb50053fce")
NIST_RANDOM = ("62e1fd91f23f558a605f28478c58cf72637b89784d959df7e946d3f07bd1b616",
               "ae6c806f8ad4d80784549dff28a4b58fd837681a51d928c3e30ee5ff14f39868")
NIST_MASTER = "202c88c00f84a17a20027079604787461176455539e705be730890602c289a5001e34eeb3a043e5d52a65e66125188bf"
NIST_BLOCK = ("d06139889fffac1e3a71865f504aa5d0d2a2e89506c6f2279b670c3e1b74f531016a2530c51a3a0f7e1d6590d0f0566b2f387f8d11fd4f73"
              "1cdd572d2eae927f6f2f81410b25e6960be68985add6c38445ad9f8c64bf8068bf9a6679485d966f1ad6f68b43495b10a683755ea2b858d7"
              "0ccac7ec8b053c6bd41ca299d4e51928")


def test_master_secret_and_key_block_of_nist(s):
    hello, random = (randoms(*map(bytes.fromhex, pair)) for pair in (NIST_HELLO, NIST_RANDOM))
    master = s.derive(master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256", random=hello), secret(s, bytes.fromhex(NIST_PMS)), {})
    assert s.get(master, CKA.VALUE).hex() == NIST_MASTER
    m = KeyMaterial("TLS12_KEY_AND_MAC_DERIVE", 32, 16, 16, "SHA256", RandomInfo=random)
    m.derive(s, master, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16})
    assert (b"".join(s.get(h, CKA.VALUE) for h in m.handles()) + m.iv_bytes()).hex() == NIST_BLOCK


EXTENDED = [(prefix + suffix, hash_name) for prefix in ("TLS12", "NSS_TLS") for suffix in ("", "_DH")
            for hash_name in ("SHA256", "SHA384", "TLS_PRF")]


@pytest.mark.parametrize("prefix,hash_name", EXTENDED)
def test_extended_master_secret(s, prefix, hash_name):
    """RFC 7627; with CKM_TLS_PRF the session hash is MD5 and SHA-1, as in TLS 1.0."""
    dh = prefix.endswith("_DH")
    name = prefix.replace("_DH", "") + "_EXTENDED_MASTER_KEY_DERIVE" + ("_DH" if dh else "")
    session_hash = bytes(range({"SHA256": 32, "SHA384": 48, "TLS_PRF": 36}[hash_name]))
    python = None if hash_name == "TLS_PRF" else hash_name.lower()
    pms = b"\1" * 32 if dh else PMS
    seen = None if dh else version_pointer()

    def mech(data, pointer):
        more = {"pVersion": pointer} if pointer is not None else {}
        return getattr(CKM, name), struct("CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS", pSessionHash=data,
                                          prfHashMechanism=getattr(CKM, hash_name), **more)

    key = s.derive(mech(session_hash, seen), secret(s, pms), {CKA.SIGN: True, CKA.VERIFY: True})
    assert s.get(key, CKA.VALUE) == prf(python, pms, b"extended master secret", session_hash, 48)
    if seen is not None:
        assert (seen.major, seen.minor) == (3, 3)
    assert code(s.derive, mech(session_hash[1:], None), secret(s, pms), {}) == "CKR_MECHANISM_PARAM_INVALID"
    if dh:
        assert code(s.derive, mech(session_hash, version_pointer()), secret(s, pms), {}) == "CKR_MECHANISM_PARAM_INVALID"


MASTER_WRONG = [
    (master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256"), PMS[1:], {}, "CKR_KEY_SIZE_RANGE"),
    (master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256"), PMS, {CKA.VALUE_LEN: 32}, "CKR_TEMPLATE_INCONSISTENT"),
    (master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256"), PMS, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32},
     "CKR_TEMPLATE_INCONSISTENT"),
    (master_mech("TLS12_MASTER_KEY_DERIVE", "AES_ECB"), PMS, {}, "CKR_MECHANISM_PARAM_INVALID"),
    (master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256", random=randoms(CLIENT[1:])), PMS, {}, "CKR_MECHANISM_PARAM_INVALID"),
    (master_mech("TLS12_MASTER_KEY_DERIVE_DH", "SHA256", version_pointer()), PMS, {}, "CKR_MECHANISM_PARAM_INVALID"),
    ((CKM.TLS12_MASTER_KEY_DERIVE, b"short"), PMS, {}, "CKR_MECHANISM_PARAM_INVALID"),
    ((CKM.TLS_MASTER_KEY_DERIVE, None), PMS, {}, "CKR_MECHANISM_PARAM_INVALID"),
]


@pytest.mark.parametrize("mech,pms,attributes,expected", MASTER_WRONG)
def test_master_secrets_that_are_refused(s, mech, pms, attributes, expected):
    assert code(s.derive, mech, secret(s, pms), attributes) == expected


def test_base_of_another_type(s):
    aes = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(32), CKA.DERIVE: True})
    assert code(s.derive, master_mech("TLS_MASTER_KEY_DERIVE_DH"), aes, {}) == "CKR_KEY_TYPE_INCONSISTENT"


def version_of(s, base: int) -> tuple:
    seen = version_pointer()
    s.derive(master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256", seen), base, {})
    return seen.major, seen.minor


def test_version_gives_no_other_key_away(s):
    """Two bytes of a key come out as the version, so only of a pre-master secret made here, or of one that may be read."""
    assert version_of(s, secret(s, PMS)) == (3, 3)
    made = s.generate_key((CKM.SSL3_PRE_MASTER_KEY_GEN, struct("CK_VERSION", major=3, minor=1)),
                          {CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    assert version_of(s, made) == (3, 1)
    rotated = s.derive((CKM.EXTRACT_KEY_FROM_KEY, 16), made, {CKA.VALUE_LEN: 48, CKA.DERIVE: True})
    assert version_of(s, rotated) == (255, 255)
    assert version_of(s, secret(s, PMS, SENSITIVE=True)) == (255, 255)
    assert version_of(s, secret(s, PMS, EXTRACTABLE=False)) == (255, 255)


def test_what_the_master_secret_of_tls_1_2_is_for(s):
    """CKA_ALLOWED_MECHANISMS as the standard lists it; anything else is not permitted."""
    master = s.derive(master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256"), secret(s, PMS), {})
    assert code(s.derive, CKM.SHA256_KEY_DERIVATION, master, {}) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    assert code(s.sign, CKM.SHA256_HMAC, master, b"x") == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    free = s.derive(master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256"), secret(s, PMS),
                    {CKA.ALLOWED_MECHANISMS: [CKM.SHA256_KEY_DERIVATION]})
    assert s.derive(CKM.SHA256_KEY_DERIVATION, free, {})


def test_sensitivity_of_the_master_secret(s):
    base = secret(s, PMS, SENSITIVE=True, EXTRACTABLE=False)
    mech = master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256")
    silent = s.derive(mech, base, {})
    assert s.get_bool(silent, CKA.SENSITIVE) and not s.get_bool(silent, CKA.EXTRACTABLE)
    told = s.derive(mech, base, {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True})
    assert s.get(told, CKA.VALUE) == master_of("TLS12", "sha256", PMS)


# --- keys of a connection ---

SUITES = [
    # mechanism, version, hash, bytes of MAC key, cipher key, IV; type of cipher key, CKA_VALUE_LEN in the template
    ("SSL3_KEY_AND_MAC_DERIVE", "SSL3", None, 20, 24, 8, CKK.DES3, None),
    ("SSL3_KEY_AND_MAC_DERIVE", "SSL3", None, 16, 16, 0, CKK.RC4, 16),
    ("TLS_KEY_AND_MAC_DERIVE", "TLS", None, 20, 16, 16, CKK.AES, 16),
    ("TLS_KEY_AND_MAC_DERIVE", "TLS", None, 20, 24, 8, CKK.DES3, 24),
    ("TLS12_KEY_AND_MAC_DERIVE", "TLS12", "SHA256", 32, 32, 16, CKK.AES, 32),
    ("TLS12_KEY_AND_MAC_DERIVE", "TLS12", "SHA384", 48, 32, 16, CKK.AES, 32),
    ("TLS12_KEY_AND_MAC_DERIVE", "TLS12", "SHA256", 0, 16, 4, CKK.AES, 16),
    ("TLS12_KEY_AND_MAC_DERIVE", "TLS12", "SHA256", 0, 32, 12, CKK.CHACHA20, 32),
    ("TLS12_KEY_AND_MAC_DERIVE", "TLS12", "SHA256", 20, 0, 0, CKK.GENERIC_SECRET, None),
    ("TLS12_KEY_SAFE_DERIVE", "TLS12", "SHA256", 32, 16, 0, CKK.AES, 16),
    ("NSS_TLS_KEY_AND_MAC_DERIVE_SHA256", "TLS12", "SHA256", 20, 16, 16, CKK.AES, None),
]


@pytest.mark.parametrize("name,version,hash_name,mac,key,iv,kind,told", SUITES)
def test_keys_of_a_connection(s, name, version, hash_name, mac, key, iv, kind, told):
    """MAC keys, cipher keys and IVs, the client's first, with types and uses; the template is NSS's. MAC keys of no bytes
    have handles too: NSS takes them with AEAD suites and gives up if there are none."""
    block = block_of(version, hash_name and hash_name.lower(), MASTER, 2 * (mac + key + iv))
    m = KeyMaterial(name, mac, key, iv, hash_name)
    attributes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.ENCRYPT: True}
    m.derive(s, secret(s, MASTER), {**attributes, **({CKA.VALUE_LEN: told} if told else {})})
    parts = []
    assert [h != 0 for h in m.handles()] == [True, True, key != 0, key != 0]
    for handle in m.handles():
        parts.append(s.get(handle, CKA.VALUE) if handle else b"")
    made = b"".join(parts) + m.iv_bytes()
    if kind == CKK.DES3:  # without the parity bits
        made, block = (bytes(b & 0xfe if 2 * mac <= i < 2 * (mac + key) else b for i, b in enumerate(x)) for x in (made, block))
    assert made == block
    for handle in filter(None, m.handles()[:2]):
        assert s.get_ulong(handle, CKA.KEY_TYPE) == CKK.GENERIC_SECRET
        assert [s.get_bool(handle, a) for a in (CKA.SIGN, CKA.VERIFY, CKA.ENCRYPT, CKA.DECRYPT)] == [True, True, False, False]
    for handle in filter(None, m.handles()[2:]):
        assert s.get_ulong(handle, CKA.KEY_TYPE) == kind
        assert all(s.get_bool(handle, a) for a in (CKA.ENCRYPT, CKA.DECRYPT, CKA.DERIVE)) and not s.get_bool(handle, CKA.TOKEN)


def test_no_iv_from_the_safe_form(s):
    """CKM_TLS12_KEY_SAFE_DERIVE treats ulIVSizeInBits as 0."""
    m = KeyMaterial("TLS12_KEY_SAFE_DERIVE", 32, 16, 16, "SHA256")
    m.derive(s, secret(s, MASTER), {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16})
    assert m.iv_bytes() == b"\xcc" * 32 and all(m.handles())


def test_phkey_becomes_no_handle(s):
    """NSS gives a phKey all the same and destroys what it holds unless that is 0 (PK11_FreeSymKey)."""
    m = KeyMaterial("TLS12_KEY_AND_MAC_DERIVE", 32, 16, 16, "SHA256")
    assert s.derive(m.mech, secret(s, MASTER), {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16}) == 0
    assert all(m.handles())


PROTECTION = [(True, False), (True, True), (False, False), (False, True)]


@pytest.mark.parametrize("sensitive,extractable", PROTECTION)
def test_connection_keys_are_as_protected_as_the_master_secret(s, sensitive, extractable):
    """"All four keys inherit ... The template ... may not specify values ... which differ from those held by the base key.\""""
    base = secret(s, MASTER, SENSITIVE=sensitive, EXTRACTABLE=extractable)
    aes = {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16}
    for told in ({}, {CKA.SENSITIVE: sensitive}, {CKA.EXTRACTABLE: extractable}):
        m = KeyMaterial("TLS12_KEY_AND_MAC_DERIVE", 32, 16, 16, "SHA256")
        m.derive(s, base, {**aes, **told})
        for handle in m.handles():
            assert (s.get_bool(handle, CKA.SENSITIVE), s.get_bool(handle, CKA.EXTRACTABLE)) == (sensitive, extractable)
    for told in ({CKA.SENSITIVE: not sensitive}, {CKA.EXTRACTABLE: not extractable}):
        m = KeyMaterial("TLS12_KEY_AND_MAC_DERIVE", 32, 16, 16, "SHA256")
        assert code(m.derive, s, base, {**aes, **told}) == "CKR_TEMPLATE_INCONSISTENT"
        assert m.handles() == [0] * 4


AES16 = {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16}
KEYS_WRONG = [
    ({"bIsExport": True}, AES16, "CKR_MECHANISM_PARAM_INVALID"),
    ({"pReturnedKeyMaterial": None}, AES16, "CKR_MECHANISM_PARAM_INVALID"),
    ({"ulMacSizeInBits": 33}, AES16, "CKR_MECHANISM_PARAM_INVALID"),
    ({"ulKeySizeInBits": 1 << 20}, AES16, "CKR_MECHANISM_PARAM_INVALID"),
    ({"ulIVSizeInBits": 1 << 63}, AES16, "CKR_MECHANISM_PARAM_INVALID"),
    ({"prfHashMechanism": CKM.TLS_PRF}, AES16, "CKR_MECHANISM_PARAM_INVALID"),
    ({"RandomInfo": randoms(CLIENT, SERVER[1:])}, AES16, "CKR_MECHANISM_PARAM_INVALID"),
    ({"ulMacSizeInBits": 0, "ulKeySizeInBits": 0}, AES16, "CKR_MECHANISM_PARAM_INVALID"),
    ({}, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32}, "CKR_TEMPLATE_INCONSISTENT"),
    ({}, {CKA.KEY_TYPE: CKK.DES3}, "CKR_TEMPLATE_INCONSISTENT"),
    ({}, {CKA.KEY_TYPE: CKK.AES, CKA.MODULUS: b"x"}, "CKR_TEMPLATE_INCONSISTENT"),
]


@pytest.mark.parametrize("changes,attributes,expected", KEYS_WRONG)
def test_connection_keys_all_or_none(s, changes, attributes, expected):
    base = secret(s, MASTER)
    before = sorted(s.find())
    m = KeyMaterial("TLS12_KEY_AND_MAC_DERIVE", 32, 16, 16, "SHA256")
    for name, value in changes.items():
        setattr(m.mech[1], name, value)
    assert code(m.derive, s, base, attributes) == expected
    assert m.handles() == [0] * 4 and m.iv_bytes() == b"\xcc" * 32 and sorted(s.find()) == before


def test_master_secret_of_another_length(s):
    m = KeyMaterial("TLS_KEY_AND_MAC_DERIVE", 20, 16, 16)
    assert code(m.derive, s, secret(s, MASTER[1:]), AES16) == "CKR_KEY_SIZE_RANGE"


def test_fourth_key_that_cannot_be_stored(s):
    """A key of a length that its type does not have leaves no key behind, although the MAC keys could be made."""
    base = secret(s, MASTER)
    before = sorted(s.find())
    m = KeyMaterial("TLS_KEY_AND_MAC_DERIVE", 20, 17, 16)
    assert code(m.derive, s, base, {CKA.KEY_TYPE: CKK.AES}) in ("CKR_TEMPLATE_INCOMPLETE", "CKR_TEMPLATE_INCONSISTENT")
    assert sorted(s.find()) == before and m.handles() == [0] * 4


# --- exporters and the bare PRF ---

EXPORTERS = [
    ("TLS_KDF", "SHA256", None), ("TLS_KDF", "SHA384", b""), ("TLS12_KDF", "SHA256", b"context"), ("TLS_KDF", "TLS_PRF", b"x" * 300),
]


@pytest.mark.parametrize("name,hash_name,context", EXPORTERS)
def test_exporters_of_rfc_5705(s, name, hash_name, context):
    """An empty context is not the same as none."""
    more = {"pContextData": context} if context is not None else {}
    p = struct("CK_TLS_KDF_PARAMS", prfMechanism=getattr(CKM, hash_name), pLabel=b"EXPERIMENTAL label", RandomInfo=randoms(),
               ulLabelLength=18, **more)
    if context is not None:
        p.ulContextDataLength = len(context)
    python = None if hash_name == "TLS_PRF" else hash_name.lower()
    seed = CLIENT + SERVER + (len(context).to_bytes(2, "big") + context if context is not None else b"")
    expected = prf(python, MASTER, b"EXPERIMENTAL label", seed, 100)
    mech = getattr(CKM, name), p
    assert s.get(s.derive(mech, secret(s, MASTER), {CKA.VALUE_LEN: 100}), CKA.VALUE) == expected
    assert s.get(s.derive(mech, secret(s, MASTER), AES16), CKA.VALUE) == expected[:16]
    assert code(s.derive, mech, secret(s, MASTER), {}) == "CKR_TEMPLATE_INCOMPLETE"
    protected = secret(s, MASTER, SENSITIVE=True, EXTRACTABLE=False)
    key = s.derive(mech, protected, {CKA.VALUE_LEN: 100})
    assert s.get_bool(key, CKA.SENSITIVE) and not s.get_bool(key, CKA.EXTRACTABLE)
    assert code(s.derive, mech, protected, {CKA.VALUE_LEN: 100, CKA.SENSITIVE: False}) == "CKR_TEMPLATE_INCONSISTENT"


def prf_mech(n: int, label: bytes = b"label", seed: bytes = b"seed"):
    output, length = Guarded(n), ULONG(n)
    return output, (CKM.TLS_PRF, struct("CK_TLS_PRF_PARAMS", pSeed=seed, pLabel=label, pOutput=output.memory,
                                        pulOutputLen=length, ulSeedLen=len(seed), ulLabelLen=len(label)))


@pytest.mark.parametrize("key", [MASTER, b"odd", b"\1"])
def test_prf_into_the_callers_memory(s, key):
    """No key is made; the two halves of an odd secret share a byte."""
    output, mech = prf_mech(100)
    before = sorted(s.find())
    t, base = template({}), secret(s, key)
    s.call("C_DeriveKey", ctypes.byref(mechanism(mech)), base, t, 0, None)
    assert output.take(100) == prf(None, key, b"label", b"seed", 100)
    assert sorted(s.find()) == sorted(before + [base])


def test_no_prf_in_clear_from_a_protected_key(s):
    """Its label could be "key expansion", and the output keys that nobody may see."""
    for more in ({"SENSITIVE": True}, {"EXTRACTABLE": False}):
        output, mech = prf_mech(40)
        assert code(s.derive, mech, secret(s, MASTER, **more), {}) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
        assert output.take(40) == b"\xcc" * 40


# --- MACs ---

def fixed_size(s, mech, key: int, data: bytes, n: int) -> bytes:
    """A signature into a buffer of n bytes, without asking for its size first."""
    buffer, size = Guarded(n), ULONG(n)
    s.init("C_SignInit", mech, key)
    s.call("C_Sign", data, len(data), buffer.memory, ctypes.byref(size))
    assert size.value == n
    return buffer.take(n)


FINISHED = [("TLS_MAC", "SHA256", 12), ("TLS_MAC", "SHA384", 12), ("TLS12_MAC", "SHA256", 20), ("TLS_MAC", "TLS_PRF", 12)]


@pytest.mark.parametrize("name,hash_name,n", FINISHED)
@pytest.mark.parametrize("side,label", [(1, b"server finished"), (2, b"client finished")])
def test_finished_messages(s, name, hash_name, n, side, label):
    p = struct("CK_TLS_MAC_PARAMS", prfHashMechanism=getattr(CKM, hash_name), ulMacLength=n, ulServerOrClient=side)
    mech, key, data = (getattr(CKM, name), p), secret(s, MASTER), b"hash of the handshake"
    python = None if hash_name == "TLS_PRF" else hash_name.lower()
    expected = prf(python, MASTER, label, data, n)
    assert s.sign(mech, key, data) == expected
    assert s.sign_parts(mech, key, [data[:5], b"", data[5:]]) == expected
    s.verify(mech, key, data, expected)
    assert code(s.verify, mech, key, data, bytes(n)) == "CKR_SIGNATURE_INVALID"
    assert code(s.verify, mech, key, data, expected + b"\0") == "CKR_SIGNATURE_LEN_RANGE"


def test_finished_messages_of_a_derived_master_secret(s):
    """As in a handshake of NSS: pre-master secret, master secret, Finished, keys; all of it on the token."""
    pms = s.generate_key((CKM.SSL3_PRE_MASTER_KEY_GEN, struct("CK_VERSION", major=3, minor=3)), {CKA.SIGN: True})
    master = s.derive(master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256", version_pointer()), pms,
                      {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.DERIVE: True, CKA.SIGN: True,
                       CKA.VERIFY: True})
    value = master_of("TLS12", "sha256", s.get(pms, CKA.VALUE))
    p = struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=12, ulServerOrClient=2)
    assert s.sign((CKM.TLS_MAC, p), master, b"hash") == prf("sha256", value, b"client finished", b"hash", 12)
    assert fixed_size(s, CKM.NSS_TLS_PRF_GENERAL_SHA256, master, b"labelseed", 40) == prf("sha256", value, b"label", b"seed", 40)
    m = KeyMaterial("TLS12_KEY_AND_MAC_DERIVE", 32, 16, 16, "SHA256")
    m.derive(s, master, {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16, CKA.ENCRYPT: True})
    assert s.get(m.handles()[2], CKA.VALUE) == block_of("TLS12", "sha256", value, 80)[64:]
    text = s.encrypt((CKM.AES_CBC_PAD, bytes(16)), m.handles()[2], b"record")
    assert s.decrypt((CKM.AES_CBC_PAD, bytes(16)), m.handles()[2], text) == b"record"
    assert s.sign(CKM.SHA256_HMAC, m.handles()[0], b"record") == \
        hmac.digest(block_of("TLS12", "sha256", value, 32), b"record", "sha256")


@pytest.mark.parametrize("name,label", [("TLS10_MAC_SERVER", b"server finished"), ("TLS10_MAC_CLIENT", b"client finished")])
def test_finished_messages_of_tls_1_0(s, name, label):
    assert s.sign(getattr(CKM, name), secret(s, MASTER), b"hashes") == prf(None, MASTER, label, b"hashes", 12)


@pytest.mark.parametrize("name,python", [("TLS_PRF_GENERAL", None), ("NSS_TLS_PRF_GENERAL_SHA256", "sha256")])
def test_prf_as_a_signature(s, name, python):
    """As NSS exports keying material: label and seed are the data, the output is as long as the buffer."""
    mech, key = getattr(CKM, name), secret(s, MASTER)
    for n in (1, 32, 47, 500):
        assert fixed_size(s, mech, key, b"labelseed", n) == prf(python, MASTER, b"label", b"seed", n)
    buffer, size = Guarded(66), ULONG(66)
    s.init("C_SignInit", mech, key)
    for part in (b"label", b"seed" * 600):
        s.call("C_SignUpdate", part, len(part))
    s.call("C_SignFinal", buffer.memory, ctypes.byref(size))
    expected = prf(python, MASTER, b"label", b"seed" * 600, 66)
    assert buffer.take(size.value) == expected
    s.verify(mech, key, b"label" + b"seed" * 600, expected)
    assert code(s.verify, mech, key, b"label", expected) == "CKR_SIGNATURE_INVALID"
    assert s.sign((mech, 20), key, b"labelseed") == prf(python, MASTER, b"label", b"seed", 20)


def test_p_sha256_of_the_working_group(s):
    """www.ietf.org/mail-archive/web/tls/current/msg03416.html"""
    key = secret(s, bytes.fromhex("9bbe436ba940f017b17652849a71db35"))
    data = b"test label" + bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c")
    assert fixed_size(s, CKM.NSS_TLS_PRF_GENERAL_SHA256, key, data, 100).hex() == (
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa0"
        "22f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66")


@pytest.mark.parametrize("name,python,pad", [("SSL3_MD5_MAC", "md5", 48), ("SSL3_SHA1_MAC", "sha1", 40)])
def test_macs_of_ssl_3(s, name, python, pad):
    """RFC 6101, 5.2.3.1."""
    for key in (b"a key of 16 byte", bytes(range(70))):
        inner = hashlib.new(python, key + b"\x36" * pad + b"record").digest()
        expected = hashlib.new(python, key + b"\x5c" * pad + inner).digest()
        for n in (4, 8, len(expected)):
            mech = getattr(CKM, name), n
            assert s.sign(mech, secret(s, key), b"record") == expected[:n]
            assert s.sign_parts(mech, secret(s, key), [b"rec", b"ord"]) == expected[:n]
            s.verify(mech, secret(s, key), b"record", expected[:n])


MAC_WRONG = [
    (CKM.SSL3_MD5_MAC, None), (CKM.SSL3_MD5_MAC, 3), (CKM.SSL3_MD5_MAC, 17), (CKM.SSL3_SHA1_MAC, 21), (CKM.TLS_MAC, None),
    (CKM.TLS_MAC, struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=11, ulServerOrClient=1)),
    (CKM.TLS_MAC, struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=12, ulServerOrClient=3)),
    (CKM.TLS_MAC, struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.AES_ECB, ulMacLength=12, ulServerOrClient=1)),
    (CKM.TLS_MAC, struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.TLS_PRF, ulMacLength=13, ulServerOrClient=1)),
    (CKM.TLS10_MAC_SERVER, 12), (CKM.TLS_PRF_GENERAL, b"x"), (CKM.TLS_PRF_GENERAL, 0),
]


@pytest.mark.parametrize("mech,parameter", MAC_WRONG)
def test_parameters_of_the_macs(s, mech, parameter):
    assert code(s.sign, (mech, parameter), secret(s, MASTER), b"data") == "CKR_MECHANISM_PARAM_INVALID"


def test_legacy_switched_off_keeps_tls(token):
    """MD5 is part of the PRFs, whatever is offered as a digest."""
    with Module(token.module, token.parameters + " legacy=no") as m:
        s = m.open_session(m.slots()[0])
        s.login(token.pin)
        assert CKM.MD5 not in m.mechanisms(m.slots()[0])
        key = s.derive(master_mech("TLS_MASTER_KEY_DERIVE"), secret(s, PMS), {})
        assert s.get(key, CKA.VALUE) == master_of("TLS", None, PMS)
        assert m.raw.C_Finalize(None) == CKR.OK
