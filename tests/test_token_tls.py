"""The TLS mechanisms of libp11token.so, with which NSS keeps a pre-master secret on the token: from there to the keys
of the
connection. Vectors are NIST's (SP800-135); everything else is compared with the PRFs as tls_prf.py has them."""
import pytest

from cryptoki import CKA, CKF, CKK, CKM, CKO, CKR, Module, struct
from nss_scene import new_scene, pki, scene  # noqa: F401
from tls_prf import (AES16, CLIENT, MASTER, PMS, SERVER, KeyMaterial, block_of, code, master_mech, master_of, prf,
                     randoms,
                     secret, version_pointer)

ALL = """SSL3_PRE_MASTER_KEY_GEN TLS_PRE_MASTER_KEY_GEN SSL3_MASTER_KEY_DERIVE SSL3_MASTER_KEY_DERIVE_DH
    SSL3_KEY_AND_MAC_DERIVE SSL3_MD5_MAC SSL3_SHA1_MAC TLS_MASTER_KEY_DERIVE TLS_MASTER_KEY_DERIVE_DH
    TLS_KEY_AND_MAC_DERIVE
    TLS12_MASTER_KEY_DERIVE TLS12_MASTER_KEY_DERIVE_DH TLS12_KEY_AND_MAC_DERIVE TLS12_KEY_SAFE_DERIVE
    TLS12_EXTENDED_MASTER_KEY_DERIVE TLS12_EXTENDED_MASTER_KEY_DERIVE_DH NSS_TLS_EXTENDED_MASTER_KEY_DERIVE
    NSS_TLS_EXTENDED_MASTER_KEY_DERIVE_DH NSS_TLS_MASTER_KEY_DERIVE_SHA256 NSS_TLS_MASTER_KEY_DERIVE_DH_SHA256
    NSS_TLS_KEY_AND_MAC_DERIVE_SHA256 TLS_KDF TLS12_KDF TLS_PRF TLS_MAC TLS12_MAC TLS10_MAC_SERVER TLS10_MAC_CLIENT
    TLS_PRF_GENERAL NSS_TLS_PRF_GENERAL_SHA256""".split()


@pytest.fixture
def s(token):
    return token.session()


# --- all or none ---

def test_all_of_the_set_or_none(token):
    """NSS moves the pre-master secret to a token that lists CKM_SSL3_MASTER_KEY_DERIVE; a half list would break TLS."""
    m = token.load()
    listed = set(m.mechanisms(token.slot()))
    assert [n for n in ALL if getattr(CKM, n) not in listed] == []
    gen, derive, sign = CKF.GENERATE, CKF.DERIVE, CKF.SIGN | CKF.VERIFY
    for name in ALL:
        makes_mac = "GENERAL" in name or ("MAC" in name and "DERIVE" not in name)
        flags = gen if name.endswith("GEN") else sign if makes_mac else derive
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
NIST_BLOCK = ("d06139889fffac1e3a71865f504aa5d0d2a2e89506c6f2279b670c3e1b74f531016a2530c51a3a0f7e1d6590d0f0566b2f387f8"
              "d11fd4f73"
              "1cdd572d2eae927f6f2f81410b25e6960be68985add6c38445ad9f8c64bf8068bf9a6679485d966f1ad6f68b43495b10a683755"
              "ea2b858d7"
              "0ccac7ec8b053c6bd41ca299d4e51928")


def test_master_secret_and_key_block_of_nist(s):
    hello, random = (randoms(*map(bytes.fromhex, pair)) for pair in (NIST_HELLO, NIST_RANDOM))
    mech = master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256", random=hello)
    master = s.derive(mech, secret(s, bytes.fromhex(NIST_PMS)), {})
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
        told = mech(session_hash, version_pointer())
        assert code(s.derive, told, secret(s, pms), {}) == "CKR_MECHANISM_PARAM_INVALID"


MASTER_WRONG = [
    (master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256"), PMS[1:], {}, "CKR_KEY_SIZE_RANGE"),
    (master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256"), PMS, {CKA.VALUE_LEN: 32}, "CKR_TEMPLATE_INCONSISTENT"),
    (master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256"), PMS, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32},
     "CKR_TEMPLATE_INCONSISTENT"),
    (master_mech("TLS12_MASTER_KEY_DERIVE", "AES_ECB"), PMS, {}, "CKR_MECHANISM_PARAM_INVALID"),
    (master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256", random=randoms(CLIENT[1:])), PMS, {},
     "CKR_MECHANISM_PARAM_INVALID"),
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
    """Two bytes of a key come out as the version, so only of a pre-master secret made here, or of one that may be
    read."""
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
    """MAC keys, cipher keys and IVs, the client's first, with types and uses; the template is NSS's. MAC keys of no
    bytes
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
        keys = range(2 * mac, 2 * (mac + key))
        made, block = (bytes(b & 0xfe if i in keys else b for i, b in enumerate(x)) for x in (made, block))
    assert made == block
    for handle in filter(None, m.handles()[:2]):
        assert s.get_ulong(handle, CKA.KEY_TYPE) == CKK.GENERIC_SECRET
        assert s.get_bool(handle, CKA.SIGN) and s.get_bool(handle, CKA.VERIFY)
        assert not s.get_bool(handle, CKA.ENCRYPT) and not s.get_bool(handle, CKA.DECRYPT)
    for handle in filter(None, m.handles()[2:]):
        assert s.get_ulong(handle, CKA.KEY_TYPE) == kind
        assert all(s.get_bool(handle, a) for a in (CKA.ENCRYPT, CKA.DECRYPT, CKA.DERIVE))
        assert not s.get_bool(handle, CKA.TOKEN)


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
    """"All four keys inherit ... The template ... may not specify values ... which differ from those held by the base
    key.\""""
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


def test_legacy_switched_off_keeps_tls(token):
    """MD5 is part of the PRFs, whatever is offered as a digest."""
    with Module(token.module, token.parameters + " legacy=no") as m:
        s = m.open_session(m.slots()[0])
        s.login(token.pin)
        assert CKM.MD5 not in m.mechanisms(m.slots()[0])
        key = s.derive(master_mech("TLS_MASTER_KEY_DERIVE"), secret(s, PMS), {})
        assert s.get(key, CKA.VALUE) == master_of("TLS", None, PMS)
        assert m.raw.C_Finalize(None) == CKR.OK


# --- NSS ---

SUITES_OF_NSS = [("tls1.0", "002F"), ("tls1.1", "000A"), ("tls1.2", "003D"), ("tls1.2", "009C")]


@pytest.mark.nss
@pytest.mark.parametrize("version,suite", SUITES_OF_NSS)
def test_handshakes_of_nss_on_the_token(scene, version, suite):  # noqa: F811
    """RSA key exchange with NSS at both ends: AES-128-SHA, 3DES-SHA, AES-128-SHA256, AES-128-GCM-SHA256."""
    scene.trust_ca()
    scene.import_p12("server-rsa")
    with scene.selfserv("server-rsa", "-c", f":{suite}", "-V", "tls1.0:tls1.2") as server:
        out = scene("tstclnt", "-4", "-h", "localhost", "-p", server.port, "-d", "sql:nssdb", "-V",
                    f"{version}:{version}",
                    "-c", f":{suite}", "-A", "request", "-o")
        assert "HTTP/1.0 200 OK" in out
    assert scene.called("C_DeriveKey") >= 3
