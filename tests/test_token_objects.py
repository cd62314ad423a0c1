"""The life of objects: in sessions and on the token, across logins, sessions and processes."""
import ctypes
import datetime
import hashlib
import json
import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from cryptoki import CK, CKA, CKC, CKK, CKM, CKO, CKR, CKU, CkError, template
from token_kinds import KINDS

DATA = {CKA.CLASS: CKO.DATA}
AES = KINDS["AES"].template


def result(call, *arguments) -> str:
    try:
        call(*arguments)
    except CkError as e:
        return e.name
    return "CKR_OK"


@pytest.fixture
def session(token):
    return token.session()


class Other:
    """Runs lines of Python in a process of their own, with a session `s` on the token of the module `m`."""

    def __init__(self, token):
        self.token = token

    def start(self, lines: str, login: bool = True, **given) -> subprocess.Popen:
        script = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from cryptoki import *
given, out = json.loads(sys.argv[1]), None
with Module({str(self.token.module)!r}, {self.token.parameters!r}) as m:
    s = m.open_session(m.slot_of({self.token.label!r}))
    if {login}: s.login({self.token.pin!r})
    exec({lines!r})
print(json.dumps(out))
"""
        return subprocess.Popen([sys.executable, "-c", script, json.dumps(given)], stdout=subprocess.PIPE, text=True)

    def __call__(self, lines: str, **options):
        """What the lines put into `out`."""
        process = self.start(lines, **options)
        answer, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return json.loads(answer)


@pytest.fixture
def other(token):
    return Other(token)


def dead(session, handle) -> bool:
    """Every function of the chapter answers CKR_OBJECT_HANDLE_INVALID."""
    calls = ((session.get, handle, CKA.CLASS), (session.set, handle, {CKA.LABEL: "x"}), (session.copy, handle),
             (session.size, handle), (session.destroy, handle))
    return {result(*call) for call in calls} == {"CKR_OBJECT_HANDLE_INVALID"}


# --- sessions and logins ----------------------------------------------------------------------------------------------

def test_objects_of_one_session_are_seen_by_all(token, session):
    """Until the session that made them closes; a copy belongs to the session that copied."""
    second = token.session()
    obj = session.create({**DATA, CKA.VALUE: b"x"})
    assert second.get(obj, CKA.VALUE) == b"x" and second.find(DATA) == [obj]
    copy = second.copy(obj)
    second.set(obj, {CKA.LABEL: "changed"})
    assert session.get(obj, CKA.LABEL) == b"changed" and session.get(copy, CKA.LABEL) == b""
    session.close()
    assert dead(second, obj) and second.find(DATA) == [copy]
    second.close()
    assert token.session().find(DATA) == []


def test_token_objects_outlive_sessions_and_c_finalize(token, session):
    obj = session.create({**DATA, CKA.TOKEN: True, CKA.LABEL: "stays", CKA.VALUE: b"x"})
    identity = session.get(obj, CKA.UNIQUE_ID)
    session.close()
    again = token.session()
    assert again.get(obj, CKA.LABEL) == b"stays"
    token.finalize()
    after = token.session()
    assert dead(after, obj), "a handle is good for one C_Initialize only"
    found = after.find_one({CKA.LABEL: "stays"})
    assert after.get_many(found, (CKA.VALUE, CKA.UNIQUE_ID)) == {CKA.VALUE: b"x", CKA.UNIQUE_ID: identity}


PRIVATE = {**DATA, CKA.PRIVATE: True}
NOBODY, SO = "nobody", "so"


# The SO has read/write sessions only.
@pytest.mark.parametrize("who,rw", [(NOBODY, False), (NOBODY, True), (CKU.USER, False), (CKU.USER, True), (SO, True)])
@pytest.mark.parametrize("where", (False, True), ids=("session", "token"))
@pytest.mark.parametrize("private", (False, True), ids=("public", "private"))
def test_who_may_make_and_destroy_what(who, rw, where, private, token):
    """PKCS #11 3.2, "Sessions": access of read-only and read/write public, user and SO sessions."""
    s = token.session(rw=rw, login=who == CKU.USER)
    if who == SO:
        s.login(token.so_pin, CKU.SO)
    expected = "CKR_OK"
    if private and who != CKU.USER:
        expected = "CKR_USER_NOT_LOGGED_IN"
    if where and not rw:
        expected = "CKR_SESSION_READ_ONLY"
    got = result(s.create, {**DATA, CKA.TOKEN: where, CKA.PRIVATE: private})
    assert got == expected
    if got == "CKR_OK":
        obj = s.find_one(DATA)
        s.set(obj, {CKA.LABEL: "new"})
        s.destroy(obj)
        assert s.find(DATA) == [] and dead(s, obj)


def test_a_read_only_session_changes_session_objects_only(token, session):
    obj, ro = session.create({**DATA, CKA.TOKEN: True}), token.session(rw=False)
    assert [result(ro.set, obj, {CKA.LABEL: "x"}), result(ro.destroy, obj), result(ro.copy, obj)] == \
        ["CKR_SESSION_READ_ONLY"] * 3
    copy = ro.copy(obj, {CKA.TOKEN: False})
    ro.set(copy, {CKA.LABEL: "x"})
    assert result(ro.copy, copy, {CKA.TOKEN: True}) == "CKR_SESSION_READ_ONLY"
    ro.destroy(copy)


@pytest.mark.parametrize("where", (False, True), ids=("session", "token"))
def test_private_objects_are_gone_after_a_logout(where, session, token):
    """Their handles for ever, session objects altogether; public ones stay (PKCS #11 3.2, C_Logout)."""
    hidden = session.create({**PRIVATE, CKA.TOKEN: where, CKA.LABEL: "hidden"})
    shown = session.create({**DATA, CKA.TOKEN: where, CKA.LABEL: "shown"})
    assert set(session.find(DATA)) == {hidden, shown}
    session.logout()
    assert session.find(DATA) == [shown] and dead(session, hidden)
    assert session.find({CKA.LABEL: "hidden"}) == [] and session.find({CKA.PRIVATE: True}) == []
    session.login(token.pin)
    assert dead(session, hidden)
    again = session.find({CKA.LABEL: "hidden"})
    assert len(again) == (1 if where else 0) and hidden not in again


def test_the_so_does_not_see_private_objects(session, token):
    session.create({**PRIVATE, CKA.TOKEN: True})
    shown = session.create({**DATA, CKA.TOKEN: True})
    session.logout()
    session.login(token.so_pin, CKU.SO)
    assert session.find() == [shown]


def test_a_public_key_object_with_a_secret_waits_for_a_login(token, session):
    """CKA_PRIVATE=FALSE on a secret key: seen by all, but its value lies in the file enciphered, so it works after
    C_Login only."""
    value = b"sixteen plus six"
    key = session.create({**AES, CKA.TOKEN: True, CKA.PRIVATE: False, CKA.LABEL: "open", CKA.VALUE: value})
    cbc = (CKM.AES_CBC, bytes(16))
    secret = session.encrypt(cbc, key, bytes(16))
    session.logout()
    assert session.find({CKA.LABEL: "open"}) == [key]
    assert result(session.get, key, CKA.VALUE) == "CKR_ATTRIBUTE_SENSITIVE"
    assert session.find({CKA.VALUE: value}) == []
    for call in ((session.encrypt, cbc, key, bytes(16)), (session.copy, key), (session.set, key, {CKA.LABEL: "x"}),
                 (session.create, {**AES, CKA.TOKEN: True, CKA.PRIVATE: False})):
        assert result(*call) == "CKR_USER_NOT_LOGGED_IN"
    session.login(token.pin)
    assert session.encrypt(cbc, key, bytes(16)) == secret
    assert session.get(key, CKA.VALUE) == value
    assert session.find({CKA.VALUE: value}) == [key]


@pytest.mark.parametrize("private", (True, False), ids=("private", "public"))
def test_nothing_secret_is_in_the_file(private, token, session):
    """Neither key bytes nor, of private objects, names."""
    value, label = b"KEYKEYKEYKEYKEY!", b"a rather private name"
    session.create({**AES, CKA.VALUE: value, CKA.TOKEN: True, CKA.PRIVATE: private, CKA.LABEL: label})
    session.create({**DATA, CKA.VALUE: value, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: label})
    token.finalize()
    kept = b"".join(p.read_bytes() for p in token.directory.iterdir() if p.is_file())
    assert value not in kept and value.hex().encode() not in kept
    assert (label in kept) == (not private)
    tag = hashlib.sha256(b"\3" + label).digest()[:16]
    assert (tag in kept) == (not private), "a tag of a private object can be guessed"


# --- copying, changing, destroying -----------------------------------------------------------------------------------

def test_a_copy_of_a_copy_without_a_template(session):
    """NSS's TLS server: C_CopyObject(key, {CKA_TOKEN: false}), then C_CopyObject(copy, NULL, 0)."""
    key = session.create({**KINDS["EC private"].template, CKA.TOKEN: True, CKA.LABEL: "server", CKA.ID: b"1"})
    first = session.copy(key, {CKA.TOKEN: False})
    second = ctypes.c_ulong()
    assert session.module.raw.C_CopyObject(session.handle, first, None, 0, ctypes.byref(second)) == CKR.OK
    kept = [CKA.LABEL, CKA.ID, CKA.PRIVATE, CKA.EC_PARAMS, CKA.SENSITIVE, CKA.PUBLIC_KEY_INFO]
    assert session.get_many(key, kept) == session.get_many(first, kept) == session.get_many(second.value, kept)
    assert not session.get_bool(second.value, CKA.TOKEN)
    assert len({session.get(h, CKA.UNIQUE_ID) for h in (key, first, second.value)}) == 3
    assert len(session.sign(CKM.ECDSA, second.value, bytes(32))) == 64


@pytest.mark.parametrize("change,rv", [
    ({CKA.LABEL: "new", CKA.ID: b"new"}, "CKR_OK"),
    ({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES}, "CKR_OK"),  # what it is anyhow
    ({CKA.TOKEN: True, CKA.PRIVATE: True}, "CKR_OK"),
    ({CKA.MODIFIABLE: False}, "CKR_OK"),
    ({CKA.KEY_TYPE: CKK.DES3}, "CKR_ATTRIBUTE_READ_ONLY"),
    ({CKA.VALUE: bytes(16)}, "CKR_ATTRIBUTE_READ_ONLY"),
    ({CKA.VALUE: AES[CKA.VALUE]}, "CKR_ATTRIBUTE_READ_ONLY"),  # a guess at the value gets no answer
    ({CKA.UNIQUE_ID: b"mine"}, "CKR_ATTRIBUTE_READ_ONLY"),
    ({CKA.LOCAL: True}, "CKR_ATTRIBUTE_READ_ONLY"),
    ({CKA.NEVER_EXTRACTABLE: True}, "CKR_ATTRIBUTE_READ_ONLY"),
    ({CKA.TRUSTED: True}, "CKR_ATTRIBUTE_READ_ONLY"),
    ({CKA.MODULUS: b"1"}, "CKR_ATTRIBUTE_TYPE_INVALID"),
    ({CKA.ENCRYPT: b"\7"}, "CKR_ATTRIBUTE_VALUE_INVALID"),
], ids=str)
def test_what_a_copy_may_change(change, rv, session):
    key = session.create({**AES, CKA.SENSITIVE: True})
    before = len(session.find())
    assert result(session.copy, key, change) == rv
    assert len(session.find()) == before + (rv == "CKR_OK")


def test_a_copy_is_not_freer_than_its_source(session):
    key = session.create({**AES, CKA.SENSITIVE: True, CKA.EXTRACTABLE: False, CKA.MODIFIABLE: False, CKA.PRIVATE: True,
                          CKA.DESTROYABLE: False, CKA.WRAP_WITH_TRUSTED: True})
    for freer in ({CKA.SENSITIVE: False}, {CKA.EXTRACTABLE: True}, {CKA.MODIFIABLE: True}, {CKA.PRIVATE: False},
                  {CKA.DESTROYABLE: True}, {CKA.WRAP_WITH_TRUSTED: False}):
        assert result(session.copy, key, freer) == "CKR_ATTRIBUTE_READ_ONLY"
    assert result(session.destroy, session.copy(key)) == "CKR_ACTION_PROHIBITED"


@pytest.mark.parametrize("where", (False, True), ids=("session", "token"))
def test_objects_that_may_not_be_changed_copied_or_destroyed(where, session):
    no = dict.fromkeys((CKA.MODIFIABLE, CKA.COPYABLE, CKA.DESTROYABLE), False)
    fixed = session.create({**DATA, CKA.TOKEN: where, **no})
    got = [result(session.set, fixed, {CKA.LABEL: "x"}), result(session.copy, fixed), result(session.destroy, fixed)]
    assert got == ["CKR_ACTION_PROHIBITED"] * 3
    assert session.find(DATA) == [fixed]


@pytest.mark.parametrize("where", (False, True), ids=("session", "token"))
def test_changes_are_made_together_or_not_at_all(where, session):
    key = session.create({**AES, CKA.TOKEN: where, CKA.LABEL: "old", CKA.ID: b"old"})
    for bad, rv in (({CKA.VALUE: b"x"}, "READ_ONLY"), ({CKA.MODULUS: b"x"}, "TYPE_INVALID"),
                    ({CKA.DERIVE: b"xx"}, "VALUE_INVALID")):
        assert result(session.set, key, {CKA.LABEL: "new", CKA.ID: b"new", **bad}) == "CKR_ATTRIBUTE_" + rv
        assert session.get_many(key, (CKA.LABEL, CKA.ID)) == {CKA.LABEL: b"old", CKA.ID: b"old"}
        assert session.find({CKA.LABEL: "new"}) == [] and session.find({CKA.ID: b"old"}) == [key]
    session.set(key, {CKA.LABEL: "new", CKA.ID: b"new"})
    assert session.find({CKA.LABEL: "new"}) == [key] and session.find({CKA.ID: b"old"}) == []
    assert session.module.raw.C_SetAttributeValue(session.handle, key, None, 0) == CKR.OK


def test_a_keys_check_value_can_be_prevented_and_destroyed(session):
    """PKCS #11 3.2, "Secret key objects": the first three bytes of a block of zeros enciphered."""
    key = session.create(AES)
    kcv = session.encrypt(CKM.AES_ECB, key, bytes(16))[:3]
    assert session.get(key, CKA.CHECK_VALUE) == kcv
    assert result(session.set, key, {CKA.CHECK_VALUE: b"123"}) == "CKR_ATTRIBUTE_READ_ONLY"
    session.set(key, {CKA.CHECK_VALUE: b""})
    assert session.get(key, CKA.CHECK_VALUE) == b""
    assert session.get(session.create({**AES, CKA.CHECK_VALUE: kcv}), CKA.CHECK_VALUE) == kcv
    assert session.get(session.create({**AES, CKA.CHECK_VALUE: b""}), CKA.CHECK_VALUE) == b""
    assert result(session.create, {**AES, CKA.CHECK_VALUE: b"123"}) == "CKR_ATTRIBUTE_VALUE_INVALID"


def test_sizes_grow_with_the_values(session):
    small, large = (session.create({**DATA, CKA.VALUE: bytes(n)}) for n in (10, 1010))
    assert session.size(large) - session.size(small) == 1000


@pytest.mark.parametrize("handle", (0, 1, 2, 4711, 1 << 40, CK.UNAVAILABLE_INFORMATION))
def test_handles_that_nobody_was_given(handle, session):
    session.create(DATA)
    session.create({**PRIVATE, CKA.TOKEN: True})
    assert dead(session, handle)


# --- reading: PKCS #11 3.2, C_GetAttributeValue, cases 1 to 5 ---------------------------------------------------------

SENSITIVE, MISSING, SMALL, FITS, SIZE = "sensitive", "missing", "small", "fits", "size"


@pytest.mark.parametrize("asked,rv", [
    ([FITS, SIZE], "OK"), ([SENSITIVE, FITS], "ATTRIBUTE_SENSITIVE"), ([FITS, MISSING], "ATTRIBUTE_TYPE_INVALID"),
    ([SMALL, FITS], "BUFFER_TOO_SMALL"), ([SENSITIVE, MISSING, SMALL, FITS, SIZE], "ATTRIBUTE_SENSITIVE"),
    ([FITS, SMALL, MISSING], "ATTRIBUTE_TYPE_INVALID"), ([SIZE, SENSITIVE, SMALL], "ATTRIBUTE_SENSITIVE"), ([], "OK"),
], ids="-".join)
def test_each_attribute_is_answered_for_itself(asked, rv, session):
    key = session.create({**AES, CKA.SENSITIVE: True, CKA.LABEL: "a label", CKA.ID: b"an id"})
    kinds = {SENSITIVE: (CKA.VALUE, 100), MISSING: (CKA.MODULUS, 100), SMALL: (CKA.LABEL, 6), FITS: (CKA.LABEL, 7),
             SIZE: (CKA.ID, None)}
    entries = template({i: None for i in range(len(asked))})
    buffers = []
    for entry, what in zip(entries, asked):
        entry.type, size = kinds[what]
        buffers.append(ctypes.create_string_buffer(b"\xcc" * 120, 120))
        entry.pValue = ctypes.addressof(buffers[-1]) if size is not None else None
        entry.ulValueLen = size or 0
    got = session.module.raw.C_GetAttributeValue(session.handle, key, entries, len(entries))
    assert got == getattr(CKR, rv)
    answers = {SENSITIVE: (CK.UNAVAILABLE_INFORMATION, b""), MISSING: (CK.UNAVAILABLE_INFORMATION, b""),
               SMALL: (CK.UNAVAILABLE_INFORMATION, b""), FITS: (7, b"a label"), SIZE: (5, b"")}
    for entry, buffer, what in zip(entries, buffers, asked):
        length, content = answers[what]
        assert entry.ulValueLen == length
        assert buffer.raw == content + b"\xcc" * (120 - len(content)), "written where nothing is due"


def test_a_hidden_attribute_that_the_key_has_not_is_hidden_all_the_same(session):
    """Whether an RSA key has its primes is nobody's business if it is sensitive."""
    whole = KINDS["RSA private"].template
    key = session.create({**whole, CKA.SENSITIVE: True})
    for a in (CKA.PRIME_1, CKA.PRIVATE_EXPONENT, CKA.COEFFICIENT):
        assert result(session.get, key, a) == "CKR_ATTRIBUTE_SENSITIVE"
    assert session.get(key, CKA.MODULUS) == whole[CKA.MODULUS]


# --- certificates -----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    day = datetime.datetime(2026, 1, 1)
    return (x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
            .serial_number(0x8001).not_valid_before(day).not_valid_after(day).sign(key, hashes.SHA256()))


def test_a_certificate_tells_what_its_template_does_not(session, certificate):
    der = certificate.public_bytes(Encoding.DER)
    obj = session.create({CKA.CLASS: CKO.CERTIFICATE, CKA.CERTIFICATE_TYPE: CKC.X_509, CKA.VALUE: der})
    expected = {CKA.SUBJECT: certificate.subject.public_bytes(), CKA.ISSUER: certificate.issuer.public_bytes(),
                CKA.SERIAL_NUMBER: b"\2\3\0\x80\1", CKA.CHECK_VALUE: hashlib.sha1(der).digest()[:3], CKA.VALUE: der}
    assert session.get_many(obj, expected) == expected
    own = {CKA.SUBJECT: b"s", CKA.ISSUER: b"i", CKA.SERIAL_NUMBER: b"n"}
    obj = session.create({CKA.CLASS: CKO.CERTIFICATE, CKA.CERTIFICATE_TYPE: CKC.X_509, CKA.VALUE: der, **own})
    assert session.get_many(obj, own) == own


def test_domain_parameters_know_their_size(session):
    obj = session.create(KINDS["DSA parameters"].template)
    assert (session.get_ulong(obj, CKA.PRIME_BITS), session.get_ulong(obj, CKA.SUBPRIME_BITS)) == (1024, 224)


# --- other processes --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("private", (False, True), ids=("public", "private"))
def test_what_another_process_makes_changes_and_destroys_is_seen_at_once(private, session, other):
    made = other("""
out = s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: given["private"], CKA.LABEL: "theirs",
                CKA.VALUE: b"v"})
""", private=private)
    assert made
    obj = session.find_one({CKA.LABEL: "theirs"})
    assert session.get(obj, CKA.VALUE) == b"v"
    other("s.set(s.find_one({CKA.LABEL: 'theirs'}), {CKA.LABEL: 'renamed'})")
    assert session.get(obj, CKA.LABEL) == b"renamed"
    assert session.find({CKA.LABEL: "theirs"}) == [] and session.find({CKA.LABEL: "renamed"}) == [obj]
    mine = session.create({**DATA, CKA.TOKEN: True, CKA.LABEL: "mine"})
    assert other("out = len(s.find({CKA.LABEL: 'mine'}))") == 1
    other("s.destroy(s.find_one({CKA.LABEL: 'renamed'})); s.destroy(s.find_one({CKA.LABEL: 'mine'}))")
    assert dead(session, obj) and dead(session, mine)
    assert session.find() == []


def test_a_key_destroyed_elsewhere_is_no_key_any_more(session, other):
    key = session.create({**AES, CKA.TOKEN: True, CKA.LABEL: "k"})
    assert session.encrypt(CKM.AES_ECB, key, bytes(16))
    other("s.destroy(s.find_one({CKA.LABEL: 'k'}))")
    assert result(session.encrypt, CKM.AES_ECB, key, bytes(16)) == "CKR_KEY_HANDLE_INVALID"


def test_session_objects_are_this_process_only(session, other):
    session.create({**DATA, CKA.LABEL: "here"})
    assert other("out = len(s.find({CKA.LABEL: 'here'}))") == 0


def test_two_processes_that_change_one_object_lose_nothing(session, other, count):
    """Each sets an attribute of its own, again and again, at the same time."""
    obj = session.create({**KINDS["RSA public"].template, CKA.TOKEN: True, CKA.LABEL: "both", CKA.ID: b"0"})
    rounds = count(300)
    theirs = other.start("""
h = s.find_one({CKA.LABEL: "both"})
for i in range(given["rounds"]): s.set(h, {CKA.ID: b"%d" % i})
""", rounds=rounds)
    for i in range(rounds):
        session.set(obj, {CKA.SUBJECT: b"%d" % i})
    assert theirs.wait(60) == 0
    last = b"%d" % (rounds - 1)
    assert session.get_many(obj, (CKA.ID, CKA.SUBJECT)) == {CKA.ID: last, CKA.SUBJECT: last}


def test_a_token_made_anew_by_another_process_has_no_objects(token, session, other):
    obj = session.create({**DATA, CKA.TOKEN: True})
    other(f"""
slot = m.slot_of({token.label!r})
m.close_all(slot)
m.init_token(slot, {token.so_pin!r}, {token.label!r})
""", login=False)
    assert result(session.get, obj, CKA.CLASS) in ("CKR_OBJECT_HANDLE_INVALID", "CKR_DEVICE_REMOVED")
    assert result(session.create, {**DATA, CKA.TOKEN: True}) != "CKR_OK"


# --- many -------------------------------------------------------------------------------------------------------------

def test_more_objects_than_the_cache_holds(session, count):
    """Of 4096. Every one is found by its label and has its own value, whatever was read before."""
    number = max(count(10000), 4500)
    handles = [session.create({**DATA, CKA.TOKEN: True, CKA.LABEL: f"l{i}", CKA.VALUE: b"%d" % i})
               for i in range(number)]
    assert session.find({CKA.TOKEN: True}) == handles
    for i in list(range(0, number, 7)) + list(range(number - 1, 0, -11)):
        assert session.find({CKA.LABEL: f"l{i}"}) == [handles[i]]
        assert session.get(handles[i], CKA.VALUE) == b"%d" % i


def test_session_objects_by_thousands(session, count):
    number = count(20000)
    handles = [session.create({**DATA, CKA.LABEL: f"l{i % 100}", CKA.VALUE: b"%d" % i}) for i in range(number)]
    assert session.find() == handles
    for i in range(100):
        assert session.find({CKA.LABEL: f"l{i}"}) == handles[i::100]
    for handle in handles[::2]:
        session.destroy(handle)
    assert session.find() == handles[1::2]
    assert session.find({CKA.LABEL: "l0"}) == []


def resident() -> int:
    """Memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.nosan
def test_large_objects_are_not_all_kept_in_memory(session):
    """120 megabytes of them go through a cache of 64."""
    size, before = 1 << 20, resident()
    handles = [session.create({**DATA, CKA.TOKEN: True, CKA.VALUE: bytes([i]) * size}) for i in range(120)]
    for i, handle in enumerate(handles):
        assert session.get(handle, CKA.VALUE) == bytes([i]) * size
    assert resident() - before < 96 << 20


@pytest.mark.threads
def test_threads_with_sessions_of_their_own(token, count):
    """They make, change, find, copy, use and destroy objects at once, each its own and all a common one; nothing is
    lost, and what is found is whole."""
    rounds, first = count(200), token.session()
    common = first.create({**AES, CKA.TOKEN: True, CKA.LABEL: "common", CKA.ID: b"0"})

    def work(number: int):
        s = token.session()
        for i in range(rounds):
            where = i % 8 == 0
            mine = s.create({**AES, CKA.TOKEN: where, CKA.LABEL: f"{number}", CKA.ID: b"%d %d" % (number, i)})
            s.set(mine, {CKA.LABEL: f"{number} new"})
            assert s.find({CKA.ID: b"%d %d" % (number, i)}) == [mine]
            copy = s.copy(mine, {CKA.TOKEN: False})
            assert s.get_many(copy, (CKA.LABEL, CKA.ID)) == {CKA.LABEL: f"{number} new".encode(),
                                                             CKA.ID: b"%d %d" % (number, i)}
            assert s.encrypt(CKM.AES_ECB, common, bytes(16)) == s.encrypt(CKM.AES_ECB, copy, bytes(16))
            if where:
                s.set(common, {CKA.ID: b"%d %d" % (number, i)})
            assert common in s.find({CKA.CLASS: CKO.SECRET_KEY})
            s.destroy(mine)
            s.destroy(copy)
        s.close()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4
    assert first.find({CKA.CLASS: CKO.SECRET_KEY}) == [common]


@pytest.mark.threads
def test_logging_out_while_others_work(token, count):
    """Another thread's calls then say that nobody is logged in, that the handle is void or that the operation has gone
    with the login, and nothing else."""
    allowed = {"CKR_OK", "CKR_USER_NOT_LOGGED_IN", "CKR_OBJECT_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID",
               "CKR_OPERATION_NOT_INITIALIZED"}
    control, done, seen = token.session(), threading.Event(), set()

    def work():
        s = token.session(login=False)
        while not done.is_set():
            for where in (False, True):
                seen.add(result(s.create, {**AES, CKA.TOKEN: where, CKA.PRIVATE: True}))
            for key in s.find({CKA.CLASS: CKO.SECRET_KEY}):
                seen.add(result(s.encrypt, CKM.AES_ECB, key, bytes(16)))
                seen.add(result(s.destroy, key))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for _ in range(count(100)):
        control.logout()
        control.login(token.pin)
    done.set()
    for t in threads:
        t.join()
    assert seen <= allowed and "CKR_OK" in seen
    control.logout()
    assert control.find() == []
