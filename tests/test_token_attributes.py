"""What templates may say, attribute by attribute, against the footnotes of the standard's tables
(tests/cases/token)."""
import ctypes

import pytest

from cryptoki import CK, CKA, CKG, CKK, CKM, CKO, CKR, CKU, CKZ, CkError, struct, template
from token_kinds import BOOLS, KINDS, NSS, TEMPLATES, sample, standard

# Where we forgive what the standard does not, or do without what it has; kind_attributes.def says why.
UNSUPPORTED = {CKA.PUBLIC_CRC64_VALUE}
FORGIVEN = {("RSA private", CKA.PUBLIC_EXPONENT, 1), ("RSA private", CKA.PRIVATE_EXPONENT, 1),
            ("AES", CKA.VALUE_LEN, 6)}
# What may be changed later though the tables have no footnote 8, by the text: "only the CKA_LABEL attribute can be
# modified" (storage objects; CKA_COPYABLE "can't be set to TRUE once it is set to FALSE"), "only the CKA_ID, CKA_ISSUER
# and CKA_SERIAL_NUMBER attributes may be modified" (certificates); and footnote 11 lets a FALSE become TRUE.
CHANGEABLE = {CKA.LABEL, CKA.COPYABLE, CKA.DESTROYABLE, CKA.WRAP_WITH_TRUSTED}
CERTIFICATES = {"x509": {CKA.ID, CKA.ISSUER, CKA.SERIAL_NUMBER}, "wtls": {CKA.ISSUER},
                "attribute certificate": {CKA.AC_ISSUER, CKA.SERIAL_NUMBER},
                "trust": set(standard()["Trust"]) - {CKA.ISSUER, CKA.SERIAL_NUMBER}}
NOT_CHANGEABLE = {CKA.PUBLIC_KEY_INFO}


def result(call, *arguments) -> str:
    try:
        call(*arguments)
    except CkError as e:
        return e.name
    return "CKR_OK"


def noted(kind, number: int) -> list:
    return [a for a, notes in kind.rules.items()
            if number in notes and a not in UNSUPPORTED and (kind.name, a, number) not in FORGIVEN]


@pytest.fixture
def session(token):
    return token.session()


def session_for(kind, session, token):
    """A session that may make an object of this kind."""
    if kind.so:
        session.logout()
        session.login(token.so_pin, CKU.SO)
    return session


each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


# --- creating, generating, unwrapping: footnotes 1 to 6 ---------------------------------------------------------------

@each_kind
def test_create_needs_what_footnote_1_names(kind, session, token):
    """Each attribute with footnote 1 left out in turn: CKR_TEMPLATE_INCOMPLETE; with all of them it works."""
    s = session_for(kind, session, token)
    assert s.create(kind.template)
    missing = {CKA.name(a): result(s.create, {k: v for k, v in kind.template.items() if k != a})
               for a in noted(kind, 1)}
    assert missing == dict.fromkeys(missing, "CKR_TEMPLATE_INCOMPLETE")
    assert missing


@each_kind
def test_create_refuses_what_footnote_2_names(kind, session, token):
    s = session_for(kind, session, token)
    refused = {CKA.name(a): result(s.create, {**kind.template, a: sample(a)}) for a in noted(kind, 2)}
    assert refused == dict.fromkeys(refused, "CKR_ATTRIBUTE_READ_ONLY")
    assert "CKA_UNIQUE_ID" in refused


def generate(session, kind, more: dict, less=()):
    """Generates with the template of the kind's half changed; its handle."""
    mechanism, wanted, private = kind.generate
    wanted = {k: v for k, v in wanted.items() if k not in less}
    if kind.template[CKA.CLASS] == CKO.SECRET_KEY:
        return session.generate_key(mechanism, {**wanted, **more})
    halves = session.generate_pair(mechanism, wanted if private else {**wanted, **more}, more if private else {})
    return halves[private]


GENERATED = {name: kind for name, kind in KINDS.items() if kind.generate}
each_generated = pytest.mark.parametrize("kind", GENERATED.values(), ids=GENERATED)


@each_generated
def test_generate_needs_and_refuses_what_footnotes_3_and_4_name(kind, session):
    got = {}
    for a in noted(kind, 3):
        if a in kind.generate[1]:
            got[CKA.name(a)] = result(generate, session, kind, {}, [a]) == "CKR_TEMPLATE_INCOMPLETE"
    for a in noted(kind, 4):
        got[CKA.name(a)] = result(generate, session, kind, {a: sample(a)}) == "CKR_ATTRIBUTE_READ_ONLY"
    assert {name for name, right in got.items() if not right} == set()
    assert "CKA_LOCAL" in got


WRAPPED = {name: kind for name, kind in KINDS.items() if kind.template[CKA.CLASS] in (CKO.PRIVATE_KEY, CKO.SECRET_KEY)}


@pytest.mark.parametrize("kind", WRAPPED.values(), ids=WRAPPED)
def test_unwrap_needs_and_refuses_what_footnotes_5_and_6_name(kind, session):
    wrapping = session.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(16)})
    mech = (CKM.AES_CBC_PAD, bytes(16))
    blob = session.wrap(mech, wrapping, session.create({**kind.template, CKA.EXTRACTABLE: True}))
    wanted = {a: kind.template[a] for a in (CKA.CLASS, CKA.KEY_TYPE)}
    assert session.unwrap(mech, wrapping, blob, wanted)
    for a in noted(kind, 5):
        less = {k: v for k, v in wanted.items() if k != a}
        assert result(session.unwrap, mech, wrapping, blob, less) == "CKR_TEMPLATE_INCOMPLETE"
    refused = {CKA.name(a): result(session.unwrap, mech, wrapping, blob, {**wanted, a: sample(a)})
               for a in noted(kind, 6)}
    assert refused == dict.fromkeys(refused, "CKR_ATTRIBUTE_READ_ONLY")
    assert "CKA_ALWAYS_SENSITIVE" in refused


# --- afterwards: footnotes 7, 8, 10, 11, 12 ---------------------------------------------------------------------------

@each_kind
def test_only_what_footnote_8_names_may_be_changed_later(kind, session, token):
    s = session_for(kind, session, token)
    may = set(noted(kind, 8)) | CHANGEABLE | CERTIFICATES.get(kind.name, set())
    may -= NOT_CHANGEABLE | {CKA.CHECK_VALUE}
    wrong = {}
    for a in set(kind.rules) - UNSUPPORTED - TEMPLATES - {CKA.TRUSTED}:
        value = False if a in (CKA.EXTRACTABLE, CKA.COPYABLE, CKA.DESTROYABLE) else sample(a)
        got = result(s.set, s.create(kind.template), {a: value})
        if got != ("CKR_OK" if a in may else "CKR_ATTRIBUTE_READ_ONLY"):
            wrong[CKA.name(a)] = got
    assert wrong == {}


@pytest.mark.parametrize("kind", WRAPPED.values(), ids=WRAPPED)
def test_what_footnote_7_names_is_revealed_only_if_the_key_is_plain_and_extractable(kind, session):
    secret = [a for a in noted(kind, 7) if a in kind.template]
    assert secret
    for sensitive, extractable in ((False, True), (True, True), (False, False), (True, False)):
        key = session.create({**kind.template, CKA.SENSITIVE: sensitive, CKA.EXTRACTABLE: extractable})
        got = session.get_many(key, secret)
        shown = extractable and not sensitive
        assert got == {a: kind.template[a] if shown else None for a in secret}
        if shown:
            continue
        for a in secret:
            assert result(session.get, key, a) == "CKR_ATTRIBUTE_SENSITIVE"
            assert key not in session.find({CKA.CLASS: kind.template[CKA.CLASS], a: kind.template[a]}), \
                "a search tells what may not be read"


def one_way(number: int) -> list:
    """Attributes that are not changed once they are TRUE (11) or FALSE (12)."""
    return sorted({(name, a) for name, kind in KINDS.items() for a in noted(kind, number)})


@pytest.mark.parametrize("fixed,name,attribute",
                         [(True, *case) for case in one_way(11)] + [(False, *case) for case in one_way(12)] +
                         [(False, "data", CKA.COPYABLE), (False, "data", CKA.DESTROYABLE)],
                         ids=lambda v: CKA.name(v) if isinstance(v, int) and not isinstance(v, bool) else str(v))
def test_one_way_attributes_stay_as_they_are(fixed, name, attribute, session):
    """By C_SetAttributeValue, and in a copy."""
    plain = {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True} if name in WRAPPED else {}
    key = session.create({**KINDS[name].template, **plain, attribute: not fixed})
    copyable = attribute != CKA.COPYABLE
    if copyable:
        assert session.get_bool(session.copy(key, {attribute: fixed}), attribute) == fixed
    session.set(key, {attribute: fixed})
    assert session.get_bool(key, attribute) == fixed
    assert result(session.set, key, {attribute: not fixed}) == "CKR_ATTRIBUTE_READ_ONLY"
    assert result(session.copy, key, {attribute: not fixed}) == \
        ("CKR_ATTRIBUTE_READ_ONLY" if copyable else "CKR_ACTION_PROHIBITED")
    assert session.get_bool(key, attribute) == fixed


@pytest.mark.parametrize("name", [n for n, kind in KINDS.items() if noted(kind, 10)])
def test_only_the_so_makes_trusted(name, session, token):
    kind, trusted = KINDS[name], {CKA.TRUSTED: True}
    assert result(session.create, {**kind.template, **trusted}) == "CKR_ATTRIBUTE_READ_ONLY"
    obj = session.create({**kind.template, CKA.TRUSTED: False})
    assert result(session.set, obj, trusted) == "CKR_ATTRIBUTE_READ_ONLY"
    assert result(session.copy, obj, trusted) == "CKR_ATTRIBUTE_READ_ONLY"
    session.logout()
    session.login(token.so_pin, CKU.SO)
    session.set(obj, trusted)
    assert session.get_bool(obj, CKA.TRUSTED)
    assert session.get_bool(session.create({**kind.template, **trusted}), CKA.TRUSTED)


# --- forms and templates as a whole -----------------------------------------------------------------------------------

@each_kind
def test_values_of_a_wrong_form_are_refused(kind, session, token):
    """Booleans are one byte, 0 or 1; numbers a CK_ULONG; dates eight digits; lists and templates whole entries."""
    s = session_for(kind, session, token)
    wrong = {}
    for a in set(kind.rules) - UNSUPPORTED - set(noted(kind, 2)) - {CKA.OBJECT_VALIDATION_FLAGS}:
        value = sample(a)
        if isinstance(value, bytes):
            continue
        for bad in (b"", b"12", b"\2" if a in BOOLS else b"123456789"):
            if bad == b"" and (isinstance(value, (str, list, dict))):
                continue
            got = result(s.create, {**kind.template, a: bad})
            if got != "CKR_ATTRIBUTE_VALUE_INVALID":
                wrong[CKA.name(a), bad] = got
    assert wrong == {}


@each_kind
def test_attributes_of_other_kinds_are_refused(kind, session, token):
    """A known attribute of other objects is the standard's own example of an inconsistent template."""
    s = session_for(kind, session, token)
    for a in (CKA.PRIME_1, CKA.OWNER, CKA.OTP_LENGTH, CKA.HSS_LEVELS, CKA.PIXEL_X, CKA.PARAMETER_SET):
        if a not in kind.rules:
            assert result(s.create, {**kind.template, a: b"x"}) == "CKR_TEMPLATE_INCONSISTENT"
            assert result(s.set, s.create(kind.template), {a: b"x"}) == "CKR_ATTRIBUTE_TYPE_INVALID"
    assert result(s.create, {**kind.template, 0x7777: b"x"}) == "CKR_ATTRIBUTE_TYPE_INVALID"


def test_vendor_attributes_are_kept_where_nss_stores_some(session):
    vendor = {CKA.VENDOR_DEFINED + 77: b"whatever"}
    for name in ("x509", "RSA private", "EC private"):
        obj = session.create({**KINDS[name].template, **vendor, CKA.NSS_DB: b"point" if "private" in name else b""})
        assert session.get(obj, CKA.VENDOR_DEFINED + 77) == b"whatever"
        session.set(obj, {CKA.VENDOR_DEFINED + 77: b"else"})
        assert session.get(obj, CKA.VENDOR_DEFINED + 77) == b"else"
    for name in ("data", "AES", "RSA public"):
        assert result(session.create, {**KINDS[name].template, **vendor}) == "CKR_ATTRIBUTE_TYPE_INVALID"


@pytest.mark.parametrize("name", NSS)
def test_objects_of_nss_are_stored_and_changed(name, session):
    wanted = {**NSS[name], CKA.TOKEN: True}
    obj = session.create(wanted)
    got = session.get_many(obj, wanted)
    assert {a: v for a, v in got.items()} == {a: bytes(template({a: v}).keep[0]) for a, v in wanted.items()}
    session.set(obj, {CKA.SUBJECT: b"other", CKA.NSS_TRUST_SERVER_AUTH: 0xce534353})
    assert session.get(obj, CKA.SUBJECT) == b"other"


@pytest.mark.parametrize("wanted,rv", [
    ({}, "CKR_TEMPLATE_INCOMPLETE"),
    ({CKA.LABEL: "x"}, "CKR_TEMPLATE_INCOMPLETE"),
    ({CKA.CLASS: b"\0"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({CKA.CLASS: 0x1234}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({CKA.CLASS: CKO.HW_FEATURE}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({CKA.CLASS: CKO.MECHANISM}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({CKA.CLASS: CKO.NSS_BUILTIN_ROOT_LIST}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({CKA.CLASS: CKO.PROFILE, CKA.PROFILE_ID: 1}, "CKR_ATTRIBUTE_VALUE_INVALID"),  # only the SO makes them
    ({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: 0x99, CKA.VALUE: b"1"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.VALUE: b"1"}, "CKR_TEMPLATE_INCONSISTENT"),
    ({CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: b"1"}, "CKR_TEMPLATE_INCONSISTENT"),
    ({CKA.CLASS: CKO.CERTIFICATE, CKA.CERTIFICATE_TYPE: 77, CKA.VALUE: b"1"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({**KINDS["x509"].template, CKA.VALUE: b""}, "CKR_TEMPLATE_INCOMPLETE"),
    ({**KINDS["x509"].template, CKA.CHECK_VALUE: b"123"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
    ({**KINDS["EC private"].template, CKA.PRIVATE: False, CKA.ALWAYS_AUTHENTICATE: True}, "CKR_TEMPLATE_INCONSISTENT"),
], ids=str)
def test_templates_that_make_no_object(wanted, rv, session):
    assert result(session.create, wanted) == rv
    assert session.find() == []


def two_of(attribute: int, first: bytes, second: bytes):
    """A data object's template with the attribute twice."""
    entries = (struct("CK_ATTRIBUTE").__class__ * 3)()
    keep = [(ctypes.c_ulong(CKO.DATA)), ctypes.create_string_buffer(first), ctypes.create_string_buffer(second)]
    for entry, kind, value, size in zip(entries, (CKA.CLASS, attribute, attribute), keep, (8, len(first), len(second))):
        entry.type, entry.pValue, entry.ulValueLen = kind, ctypes.addressof(value), size
    entries.keep = keep
    return entries


@pytest.mark.parametrize("second,rv", [(b"one", CKR.OK), (b"two", CKR.TEMPLATE_INCONSISTENT)])
def test_an_attribute_given_twice_must_be_the_same(second, rv, session):
    handle, entries = ctypes.c_ulong(), two_of(CKA.LABEL, b"one", second)
    assert session.module.raw.C_CreateObject(session.handle, entries, 3, ctypes.byref(handle)) == rv


# --- what the token sets ----------------------------------------------------------------------------------------------

@each_kind
def test_defaults_are_the_standards(kind, session, token):
    s = session_for(kind, session, token)
    obj = s.create(kind.template)
    expected = {CKA.TOKEN: b"\0", CKA.MODIFIABLE: b"\1", CKA.COPYABLE: b"\1", CKA.DESTROYABLE: b"\1", CKA.LABEL: b"",
                CKA.PRIVATE: b"\0"}
    for a in (CKA.ID, CKA.START_DATE, CKA.END_DATE, CKA.SUBJECT, CKA.APPLICATION, CKA.OBJECT_ID, CKA.URL, CKA.ISSUER,
              CKA.SERIAL_NUMBER, CKA.AC_ISSUER, CKA.ATTR_TYPES, CKA.HASH_OF_SUBJECT_PUBLIC_KEY):
        if a in kind.rules and a not in kind.template:
            expected[a] = b""
    for a in (CKA.TRUSTED, CKA.LOCAL, CKA.WRAP_WITH_TRUSTED, CKA.ALWAYS_AUTHENTICATE, CKA.ALWAYS_SENSITIVE,
              CKA.NEVER_EXTRACTABLE):
        if a in kind.rules:
            expected[a] = b"\0"
    if kind.template[CKA.CLASS] == CKO.SECRET_KEY:
        expected[CKA.SENSITIVE] = b"\0"
    if CKA.KEY_GEN_MECHANISM in kind.rules:
        expected[CKA.KEY_GEN_MECHANISM] = b"\xff" * 8
    assert s.get_many(obj, expected) == expected
    identity = s.get(obj, CKA.UNIQUE_ID)
    assert len(identity) == 36 and identity != s.get(s.create(kind.template), CKA.UNIQUE_ID)


@pytest.mark.parametrize("token_object", (False, True), ids=("session", "token"))
def test_keys_on_the_token_are_private_by_default(token_object, session):
    for name in WRAPPED:
        key = session.create({**KINDS[name].template, CKA.TOKEN: token_object})
        assert session.get_bool(key, CKA.PRIVATE) == token_object, name
    for name in ("data", "x509", "RSA public", "trust", "DSA parameters"):
        obj = session.create({**KINDS[name].template, CKA.TOKEN: token_object})
        assert not session.get_bool(obj, CKA.PRIVATE), name


USAGE = (CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.SIGN_RECOVER, CKA.VERIFY, CKA.VERIFY_RECOVER, CKA.WRAP, CKA.UNWRAP,
         CKA.DERIVE)
CAN = {"RSA public": (CKA.ENCRYPT, CKA.VERIFY, CKA.VERIFY_RECOVER, CKA.WRAP),
       "RSA private": (CKA.DECRYPT, CKA.SIGN, CKA.SIGN_RECOVER, CKA.UNWRAP),
       "EC public": (CKA.VERIFY,), "EC private": (CKA.SIGN,), "Edwards private": (CKA.SIGN,),
       "DH private": (CKA.DERIVE,), "Montgomery private": (CKA.DERIVE,), "HKDF": (CKA.DERIVE,),
       "AES": (CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.WRAP, CKA.UNWRAP),
       "generic": (CKA.SIGN, CKA.VERIFY, CKA.WRAP, CKA.UNWRAP), "SHA-256 HMAC": (CKA.SIGN, CKA.VERIFY)}


@pytest.mark.parametrize("name", CAN)
def test_a_silent_template_lets_a_key_do_what_its_type_can(name, session):
    key = session.create(KINDS[name].template)
    got = {a for a, v in session.get_many(key, USAGE).items() if v == b"\1"}
    assert {CKA.name(a) for a in got} == {CKA.name(a) for a in CAN[name]}


def history(session, key) -> tuple:
    """LOCAL, ALWAYS_SENSITIVE, NEVER_EXTRACTABLE, mechanism of generation or None."""
    mechanism = session.get_ulong(key, CKA.KEY_GEN_MECHANISM)
    return (session.get_bool(key, CKA.LOCAL), session.get_bool(key, CKA.ALWAYS_SENSITIVE),
            session.get_bool(key, CKA.NEVER_EXTRACTABLE),
            None if mechanism == CK.UNAVAILABLE_INFORMATION else mechanism)


GENERATED_PRIVATE = [name for name in GENERATED if name in WRAPPED]


@pytest.mark.parametrize("name", GENERATED_PRIVATE)
def test_generated_keys_know_their_history(name, session):
    """And a copy has it too (PKCS #11 3.2, C_CopyObject)."""
    mechanism = KINDS[name].generate[0]
    for sensitive, extractable in ((False, True), (True, False), (True, True), (False, False)):
        key = generate(session, KINDS[name], {CKA.SENSITIVE: sensitive, CKA.EXTRACTABLE: extractable})
        assert history(session, key) == (True, sensitive, not extractable, mechanism)
        session.set(key, {CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
        assert history(session, key) == (True, sensitive, not extractable, mechanism)
        assert history(session, session.copy(key)) == (True, sensitive, not extractable, mechanism)


@pytest.mark.parametrize("name", WRAPPED)
def test_keys_from_outside_have_no_history(name, session):
    key = session.create({**KINDS[name].template, CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    assert history(session, key) == (False, False, False, None)


def test_generated_private_keys_do_not_leave_unless_said_otherwise(session):
    key = generate(session, KINDS["EC private"], {})
    assert (session.get_bool(key, CKA.SENSITIVE), session.get_bool(key, CKA.EXTRACTABLE)) == (True, False)
    key = session.create(KINDS["EC private"].template)
    assert (session.get_bool(key, CKA.SENSITIVE), session.get_bool(key, CKA.EXTRACTABLE)) == (True, True)


@pytest.mark.parametrize("base_sensitive,base_extractable,sensitive,extractable,expected", [
    (True, False, True, False, (False, True, True, None)),
    (True, False, False, True, (False, False, False, None)),
    (False, True, True, False, (False, False, False, None)),
    (True, True, True, False, (False, True, False, None)),
])
def test_derived_keys_inherit_their_history(base_sensitive, base_extractable, sensitive, extractable, expected,
                                            session):
    base = session.generate_key(CKM.GENERIC_SECRET_KEY_GEN, {
        CKA.VALUE_LEN: 32, CKA.DERIVE: True, CKA.SENSITIVE: base_sensitive, CKA.EXTRACTABLE: base_extractable})
    key = session.derive(CKM.SHA256_KEY_DERIVATION, base, {
        CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.SENSITIVE: sensitive,
        CKA.EXTRACTABLE: extractable})
    assert history(session, key) == expected


# --- attributes that are templates or lists ---------------------------------------------------------------------------

def test_templates_in_attributes_are_kept_by_value(session):
    """The caller's memory is gone when they are read: first the size, then the sizes of the values, then those."""
    inner = {CKA.SENSITIVE: True, CKA.LABEL: "inner", CKA.ALLOWED_MECHANISMS: [CKM.AES_CBC, CKM.AES_GCM]}
    key = session.create({**KINDS["AES"].template, CKA.UNWRAP_TEMPLATE: inner})
    outer, read = struct("CK_ATTRIBUTE", type=CKA.UNWRAP_TEMPLATE), session.module.raw.C_GetAttributeValue
    assert read(session.handle, key, ctypes.byref(outer), 1) == CKR.OK
    assert outer.ulValueLen == 3 * ctypes.sizeof(outer)
    entries = (outer.__class__ * 3)()
    outer.pValue = ctypes.addressof(entries)
    assert read(session.handle, key, ctypes.byref(outer), 1) == CKR.OK
    buffers = [ctypes.create_string_buffer(e.ulValueLen) for e in entries]
    for e, b in zip(entries, buffers):
        e.pValue = ctypes.addressof(b)
    assert read(session.handle, key, ctypes.byref(outer), 1) == CKR.OK
    assert {e.type: b.raw for e, b in zip(entries, buffers)} == {
        CKA.SENSITIVE: b"\1", CKA.LABEL: b"inner",
        CKA.ALLOWED_MECHANISMS: b"".join(m.to_bytes(8, "little") for m in inner[CKA.ALLOWED_MECHANISMS])}
    label = next(e for e in entries if e.type == CKA.LABEL)
    label.ulValueLen = 2
    assert read(session.handle, key, ctypes.byref(outer), 1) == CKR.BUFFER_TOO_SMALL
    assert label.ulValueLen == CK.UNAVAILABLE_INFORMATION
    outer.ulValueLen -= 1
    assert read(session.handle, key, ctypes.byref(outer), 1) == CKR.BUFFER_TOO_SMALL


@pytest.mark.parametrize("said,rv", [({}, "CKR_OK"), ({CKA.SENSITIVE: True}, "CKR_OK"),
                                     ({CKA.LABEL: "mine"}, "CKR_TEMPLATE_INCONSISTENT"),
                                     ({CKA.SENSITIVE: False}, "CKR_TEMPLATE_INCONSISTENT"),
                                     ({CKA.EXTRACTABLE: True}, "CKR_TEMPLATE_INCONSISTENT")], ids=str)
def test_the_unwrapping_keys_template_is_kept_to(said, rv, session):
    """"If any attribute conflict occurs on an attempt to unwrap a key then the function SHALL return
    CKR_TEMPLATE_INCONSISTENT" (PKCS #11 3.2, C_UnwrapKey)."""
    forced = {CKA.SENSITIVE: True, CKA.EXTRACTABLE: False, CKA.LABEL: "forced"}
    wrapping = session.create({**KINDS["AES"].template, CKA.UNWRAP_TEMPLATE: forced})
    mech = (CKM.AES_CBC_PAD, bytes(16))
    blob = session.wrap(mech, wrapping, session.create(KINDS["generic"].template))
    wanted = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, **said}
    assert result(session.unwrap, mech, wrapping, blob, wanted) == rv
    if rv == "CKR_OK":
        key = session.unwrap(mech, wrapping, blob, wanted)
        assert session.get_bool(key, CKA.SENSITIVE) and not session.get_bool(key, CKA.EXTRACTABLE)
        assert session.get(key, CKA.LABEL) == b"forced"


@pytest.mark.parametrize("base,sensitive,name,said,outcome", [
    # unwrapping key, is it sensitive, what is unwrapped, CKA_SENSITIVE in its template, CKA_SENSITIVE of the new key
    ("AES", False, "generic", None, False), ("AES", False, "generic", False, False),
    ("AES", False, "EC private", False, False), ("AES", True, "generic", None, True), ("AES", True, "generic", True, True),
    ("AES", True, "generic", False, None), ("AES", True, "EC private", None, True), ("AES", True, "EC private", False, None),
    ("RSA private", True, "generic", None, False), ("RSA private", True, "generic", False, False),
    ("RSA private", True, "EC private", None, True), ("RSA private", True, "EC private", False, False)])
def test_a_sensitive_secret_key_unwraps_sensitive_keys(base, sensitive, name, said, outcome, session):
    """Else whoever may use it reads what it protects (Tookan's attack A3). But what comes under a private key is traffic,
    which NSS reads: mail, RSA key exchange."""
    unwrapping = session.create({**KINDS[base].template, CKA.SENSITIVE: sensitive})
    wrapping, mech = unwrapping, (CKM.AES_CBC_PAD, bytes(16))
    if base == "RSA private":
        wrapping = session.create(KINDS["RSA public"].template)
        oaep = struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=CKM.SHA_1, mgf=CKG.MGF1_SHA1, source=CKZ.DATA_SPECIFIED)
        mech = CKM.RSA_PKCS
        if name == "EC private":
            mech = (CKM.RSA_AES_KEY_WRAP, struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=256, pOAEPParams=oaep))
    blob = session.wrap(mech, wrapping, session.create({**KINDS[name].template, CKA.EXTRACTABLE: True}))
    wanted = {a: KINDS[name].template[a] for a in (CKA.CLASS, CKA.KEY_TYPE)}
    wanted.update({CKA.SENSITIVE: said} if said is not None else {})
    if outcome is None:
        assert result(session.unwrap, mech, unwrapping, blob, wanted) == "CKR_TEMPLATE_INCONSISTENT"
    else:
        assert session.get_bool(session.unwrap(mech, unwrapping, blob, wanted), CKA.SENSITIVE) == outcome


def test_the_derivation_keys_template_is_kept_to(session):
    base = session.create({**KINDS["generic"].template, CKA.DERIVE: True, CKA.DERIVE_TEMPLATE: {CKA.SENSITIVE: True}})
    wanted = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET}
    assert session.get_bool(session.derive(CKM.SHA256_KEY_DERIVATION, base, wanted), CKA.SENSITIVE)
    assert result(session.derive, CKM.SHA256_KEY_DERIVATION, base, {**wanted, CKA.SENSITIVE: False}) == \
        "CKR_TEMPLATE_INCONSISTENT"


# --- usage ----------------------------------------------------------------------------------------------------------

def test_a_key_does_only_what_its_attributes_allow(session):
    silent = {a: False for a in (CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.WRAP, CKA.UNWRAP, CKA.DERIVE)}
    key = session.create({**KINDS["AES"].template, **silent})
    other = session.create(KINDS["AES"].template)
    cbc = (CKM.AES_CBC_PAD, bytes(16))
    refused = [result(session.encrypt, cbc, key, b"x"), result(session.decrypt, cbc, key, bytes(16)),
               result(session.sign, CKM.AES_CMAC, key, b"x"),
               result(session.verify, CKM.AES_CMAC, key, b"x", bytes(16)),
               result(session.wrap, cbc, key, other),
               result(session.unwrap, cbc, key, bytes(32), {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES})]
    assert refused == ["CKR_KEY_FUNCTION_NOT_PERMITTED"] * 6
    session.set(key, {CKA.ENCRYPT: True})
    assert result(session.encrypt, cbc, key, b"x") == "CKR_OK"


def test_a_key_works_with_the_allowed_mechanisms_only(session):
    key = session.create({**KINDS["AES"].template, CKA.ALLOWED_MECHANISMS: [CKM.AES_CBC_PAD]})
    assert result(session.encrypt, (CKM.AES_CBC_PAD, bytes(16)), key, b"x") == "CKR_OK"
    assert result(session.encrypt, CKM.AES_ECB, key, bytes(16)) == "CKR_KEY_FUNCTION_NOT_PERMITTED"


@pytest.mark.parametrize("call,rv", [
    (lambda s, k, h: s.sign(CKM.SHA256_HMAC, h["nothing"], b""), "CKR_KEY_HANDLE_INVALID"),
    (lambda s, k, h: s.sign(CKM.SHA256_HMAC, h["data"], b""), "CKR_KEY_HANDLE_INVALID"),
    (lambda s, k, h: s.sign(CKM.ECDSA, h["AES"], b""), "CKR_KEY_TYPE_INCONSISTENT"),
    (lambda s, k, h: s.sign(CKM.ECDSA, h["EC public"], b""), "CKR_KEY_TYPE_INCONSISTENT"),
    (lambda s, k, h: s.wrap(CKM.AES_ECB, h["nothing"], h["AES"]), "CKR_WRAPPING_KEY_HANDLE_INVALID"),
    (lambda s, k, h: s.wrap(CKM.AES_ECB, h["EC public"], h["AES"]), "CKR_WRAPPING_KEY_TYPE_INCONSISTENT"),
    (lambda s, k, h: s.unwrap(CKM.AES_ECB, h["nothing"], bytes(16), k), "CKR_UNWRAPPING_KEY_HANDLE_INVALID"),
    (lambda s, k, h: s.unwrap(CKM.AES_ECB, h["EC private"], bytes(16), k), "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT"),
], ids=range(8))
def test_wrong_keys_have_the_codes_of_the_function(call, rv, session):
    handles = {name: session.create(KINDS[name].template) for name in ("data", "AES", "EC public", "EC private")}
    handles["nothing"] = 123456
    wanted = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES}
    assert result(call, session, wanted, handles) == rv
