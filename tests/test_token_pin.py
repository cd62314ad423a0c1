"""Logging in at the token, wrong PINs, changed PINs: what PKCS #11 says and what NSS needs."""
import ctypes
import random
import threading
import time

import pytest

from conftest import own_mounts
from cryptoki import CKA, CKF, CKO, CKR, CKS, CKU, CkError  # noqa: F401
from pin_bench import ALWAYS, PIN, SO_PIN, bench, code  # noqa: F401
from token_record import read_record


# --- C_Login and C_Logout -------------------------------------------------------------------------------------------

def test_answers_of_login(bench):
    """Each answer of C_Login in the order in which it looks: user type, state, then the PIN."""
    b = bench().make()
    s = b.session()
    public = [
        (99, PIN, "CKR_USER_TYPE_INVALID"), (3, PIN, "CKR_USER_TYPE_INVALID"),
        (CKU.CONTEXT_SPECIFIC, PIN, "CKR_OPERATION_NOT_INITIALIZED"),
        (CKU.USER, None, "CKR_ARGUMENTS_BAD"), (CKU.SO, None, "CKR_ARGUMENTS_BAD"),
        (CKU.USER, "wrong", "CKR_PIN_INCORRECT"), (CKU.SO, PIN, "CKR_PIN_INCORRECT"),
        (CKU.USER, "", "CKR_PIN_INCORRECT"), (CKU.SO, "", "CKR_PIN_INCORRECT"),
        (CKU.USER, "x", "CKR_PIN_INCORRECT"), (CKU.USER, "y" * 300, "CKR_PIN_INCORRECT"),
        (CKU.USER, PIN + "\0", "CKR_PIN_INCORRECT"), (CKU.USER, PIN, "CKR_OK"),
    ]
    for user, pin, expected in public:
        assert (user, pin, code(s.login, pin, user)) == (user, pin, expected)
    before = read_record(b.directory)
    for pin in (PIN, "wrong", ""):
        assert code(s.login, pin) == "CKR_USER_ALREADY_LOGGED_IN"
        assert code(s.login, pin, CKU.SO) == "CKR_USER_ANOTHER_ALREADY_LOGGED_IN"
    assert code(s.login, PIN, CKU.CONTEXT_SPECIFIC) == "CKR_OPERATION_NOT_INITIALIZED"
    assert read_record(b.directory) == before and before.user.failed == 0 and before.so.failed == 1
    s.logout()
    assert code(s.logout) == "CKR_USER_NOT_LOGGED_IN"
    s.login(SO_PIN, CKU.SO)
    assert code(s.login, SO_PIN, CKU.SO) == "CKR_USER_ALREADY_LOGGED_IN"
    assert code(s.login, PIN) == "CKR_USER_ANOTHER_ALREADY_LOGGED_IN"
    s.logout()
    assert s.info()["state"] == CKS.RW_PUBLIC_SESSION


def test_login_without_a_session(bench):
    """A handle that was never or is no longer a session."""
    b = bench().make()
    s = b.session()
    s.close()
    for handle in (s.handle, 0, s.handle + 1, 2 ** 64 - 1):
        s.handle = handle
        for call in ((s.login, PIN), (s.logout,), (s.init_pin, PIN), (s.set_pin, PIN, PIN)):
            assert code(*call) == "CKR_SESSION_HANDLE_INVALID"


def test_user_with_a_name(bench):
    """C_LoginUser is C_Login for the user without a name; there are no others."""
    b = bench().make()
    s = b.session()
    assert b.m.raw.C_LoginUser(s.handle, CKU.USER, b"1234-pin", 8, b"alice", 5) == CKR.ARGUMENTS_BAD
    assert b.m.raw.C_LoginUser(s.handle, CKU.USER, b"1234-pin", 8, None, 0) == CKR.OK
    assert s.info()["state"] == CKS.RW_USER_FUNCTIONS


def test_every_session_changes_state(bench):
    """Sessions from before the login and from after it, read-only and read/write, say the same (NSS-LOGIN-01 to 03)."""
    b = bench().make()
    pairs = {CKU.USER: (CKS.RO_USER_FUNCTIONS, CKS.RW_USER_FUNCTIONS),
             None: (CKS.RO_PUBLIC_SESSION, CKS.RW_PUBLIC_SESSION)}
    sessions = [(b.session(False), 0), (b.session(True), 1)]

    def check(user):
        for session, rw in sessions + [(b.session(False), 0), (b.session(True), 1)]:
            assert session.info()["state"] == pairs[user][rw]

    check(None)
    sessions[0][0].login(PIN)
    check(CKU.USER)
    sessions[1][0].logout()
    check(None)
    info = b.m.token_info(b.slot)
    assert (info["ulSessionCount"], info["ulRwSessionCount"]) == (8, 4)


def test_so_and_read_only_sessions(bench):
    """The SO is alone with R/W sessions (C_Login, C_OpenSession), once the user has a PIN."""
    b = bench().make()
    rw, ro = b.session(True), b.session(False)
    assert code(rw.login, SO_PIN, CKU.SO) == "CKR_SESSION_READ_ONLY_EXISTS"
    assert code(rw.login, "wrong", CKU.SO) == "CKR_SESSION_READ_ONLY_EXISTS"
    assert read_record(b.directory).so.failed == 0
    ro.close()
    rw.login(SO_PIN, CKU.SO)
    assert rw.info()["state"] == CKS.RW_SO_FUNCTIONS
    assert code(b.session, False) == "CKR_SESSION_READ_WRITE_SO_EXISTS"
    assert b.session(True).info()["state"] == CKS.RW_SO_FUNCTIONS


@pytest.mark.parametrize("close_all", [False, True])
def test_last_session_logs_out(bench, close_all):
    """C_CloseSession of the last session and C_CloseAllSessions end the login; closing another does not."""
    b = bench().make()
    one, two = b.session(), b.session()
    one.login(PIN)
    one.close()
    assert two.info()["state"] == CKS.RW_USER_FUNCTIONS
    b.m.close_all(b.slot) if close_all else two.close()
    s = b.session()
    assert s.info()["state"] == CKS.RW_PUBLIC_SESSION
    assert code(s.logout) == "CKR_USER_NOT_LOGGED_IN"


def test_login_is_per_token_and_process(bench):
    """A second token and a second process do not see the login (NSS-LOGIN-17, NSS-LOGIN-05)."""
    b = bench("spare-slot=always").make()
    other = next(i for i in b.m.slots() if i != b.slot)
    b.m.init_token(other, SO_PIN, "Other")
    s, t = b.session(), b.m.open_session(other)
    s.login(PIN)
    assert t.info()["state"] == CKS.RW_PUBLIC_SESSION
    assert code(t.logout) == "CKR_USER_NOT_LOGGED_IN" and s.info()["state"] == CKS.RW_USER_FUNCTIONS
    with b.peer() as peer:
        peer(f"s = m.open_session({b.slot})")
        assert peer("s.info()['state']") == CKS.RW_PUBLIC_SESSION
        peer(f"s.login({PIN!r})")
        s.logout()
        assert peer("s.info()['state']") == CKS.RW_USER_FUNCTIONS


def test_blank_token(bench):
    """A blank token can be opened and tells what it is, but nobody can log in."""
    b = bench()
    assert b.flags() == {"LOGIN_REQUIRED"}
    info = b.m.token_info(b.slot)
    assert (info["label"], info["serialNumber"], info["utcTime"]) == ("", "", "")
    s = b.session()
    for user in (CKU.USER, CKU.SO):
        assert code(s.login, "1234", user) == "CKR_USER_PIN_NOT_INITIALIZED"
    assert code(s.set_pin, "1234", "5678") == "CKR_PIN_INCORRECT"
    assert code(s.init_pin, "1234") == "CKR_USER_NOT_LOGGED_IN"
    assert code(s.logout) == "CKR_USER_NOT_LOGGED_IN"
    assert code(b.m.init_token, b.slot, SO_PIN, "Bench") == "CKR_SESSION_EXISTS"


def test_token_info(bench):
    """Every field of CK_TOKEN_INFO, its texts blank padded and without a NUL."""
    b = bench("min-pin=6").make()
    raw = (ctypes.c_ubyte * 208)()
    assert b.m.raw.C_GetTokenInfo(b.slot, raw) == CKR.OK
    assert bytes(raw)[:32] == b"Bench".ljust(32)
    assert b"\0" not in bytes(raw)[:96]
    info = b.m.token_info(b.slot)
    assert (info["manufacturerID"], info["model"]) == ("p11trace project", "p11token")
    assert info["serialNumber"].encode() == read_record(b.directory).serial and len(info["serialNumber"]) == 16
    assert (info["ulMinPinLen"], info["ulMaxPinLen"]) == (6, 255)
    assert info["ulMaxSessionCount"] == info["ulMaxRwSessionCount"] == 0
    assert {info[f"ul{a}{b}Memory"] for a in ("Total", "Free") for b in ("Public", "Private")} == {2 ** 64 - 1}
    assert info["utcTime"] == "" and not info["flags"] & CKF.CLOCK_ON_TOKEN
    assert info["flags"] & CKF.RNG and not info["flags"] & (CKF.WRITE_PROTECTED | CKF.RESTORE_KEY_NOT_NEEDED)
    assert b.flags() == ALWAYS
    dual = b.m.raw.C_DigestEncryptUpdate(0, None, 0, None, None) != CKR.FUNCTION_NOT_SUPPORTED
    assert bool(info["flags"] & CKF.DUAL_CRYPTO_OPERATIONS) == dual
    assert b.m.raw.C_GetTokenInfo(b.slot + 100, raw) == CKR.SLOT_ID_INVALID


# --- wrong PINs -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("user, pin, name", [(CKU.USER, PIN, "USER_PIN"), (CKU.SO, SO_PIN, "SO_PIN")])
def test_wrong_pins_lock(bench, user, pin, name):
    """COUNT_LOW from the first failure, FINAL_TRY before the last, then LOCKED, and all of it outlives the process."""
    b = bench("pin-retries=3 so-pin-retries=3").make()
    s = b.session()
    low, final, locked = (ALWAYS | {f"{name}_{w}" for w in words.split()} for words in (
        "COUNT_LOW", "COUNT_LOW FINAL_TRY", "COUNT_LOW LOCKED"))
    for answer, flags in (("CKR_PIN_INCORRECT", low), ("CKR_PIN_INCORRECT", final)):
        assert (code(s.login, "wrong", user), b.flags()) == (answer, flags)
        assert (code(s.login, "", user), b.flags()) == (answer, flags)  # programs ask so whether there is a PIN
    s.login(pin, user)
    assert b.flags() == ALWAYS
    s.logout()
    for answer, flags in (("CKR_PIN_INCORRECT", low), ("CKR_PIN_INCORRECT", final), ("CKR_PIN_LOCKED", locked)):
        assert (code(s.login, "wrong", user), b.flags()) == (answer, flags)
    assert code(s.login, pin, user) == "CKR_PIN_LOCKED"
    assert s.info()["state"] == CKS.RW_PUBLIC_SESSION
    b.m.finalize()
    b.m.initialize()
    assert b.flags() == locked
    s = b.session()
    assert code(s.login, pin, user) == "CKR_PIN_LOCKED"
    assert code(s.login, {CKU.USER: SO_PIN, CKU.SO: PIN}[user], {CKU.USER: CKU.SO, CKU.SO: CKU.USER}[user]) == "CKR_OK"


def test_without_a_limit(bench):
    """pin-retries=0: failures are counted but never lock."""
    b = bench("pin-retries=0").make()
    s = b.session()
    for _ in range(30):
        assert code(s.login, "wrong") == "CKR_PIN_INCORRECT"
    assert b.flags() == ALWAYS | {"USER_PIN_COUNT_LOW"} and read_record(b.directory).user.failed == 30
    s.login(PIN)


def test_limit_of_one(bench):
    """With one try, every try is the final one."""
    b = bench("pin-retries=1").make()
    assert b.flags() == ALWAYS | {"USER_PIN_FINAL_TRY"}
    s = b.session()
    assert code(s.login, "wrong") == "CKR_PIN_LOCKED"
    assert b.flags() == ALWAYS | {"USER_PIN_COUNT_LOW", "USER_PIN_LOCKED"}


def test_so_unlocks(bench):
    """C_InitPIN by the SO gives the user another PIN and their tries back; private objects stay readable."""
    b = bench("pin-retries=2").make()
    s = b.session()
    s.login(PIN)
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "kept", CKA.VALUE: b"secret text"})
    s.logout()
    assert [code(s.login, "wrong") for _ in range(2)] == ["CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"]
    s.login(SO_PIN, CKU.SO)
    assert s.find({CKA.LABEL: "kept"}) == []  # the SO has no access to the user's objects
    s.init_pin("new pin")
    s.logout()
    assert b.flags() == ALWAYS
    assert code(s.login, PIN) == "CKR_PIN_INCORRECT"
    s.login("new pin")
    assert s.get(s.find_one({CKA.LABEL: "kept"}), CKA.VALUE) == b"secret text"


def test_failures_of_all_processes_count(bench):
    """Four processes guess at once: together they have as many tries as one (each answer but the last is one less)."""
    b = bench("pin-retries=10").make()
    peers = [b.peer() for _ in range(4)]
    try:
        for p in peers:
            p.answer()
            p(f"s = m.open_session({b.slot})")
            p("def guess():\n  try: s.login('wrong')\n  except CkError as e: return e.name\n")
        for p in peers:
            p.send("[guess() for _ in range(6)]")
        answers = [a for p in peers for a in p.answer()]
    finally:
        for p in peers:
            p.__exit__()
    assert answers.count("CKR_PIN_INCORRECT") == 9 and answers.count("CKR_PIN_LOCKED") == 24 - 9
    assert read_record(b.directory).user.failed == 10
    assert code(b.session().login, PIN) == "CKR_PIN_LOCKED"


@pytest.mark.threads
def test_threads_log_in_at_once(bench, count):
    """Of several threads one logs in and the others hear that the user is logged in."""
    b = bench().make()
    for _ in range(count(50)):
        sessions = [b.session() for _ in range(4)]
        answers = []
        threads = [threading.Thread(target=lambda s=s: answers.append(code(s.login, PIN))) for s in sessions]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert sorted(answers) == ["CKR_OK"] + ["CKR_USER_ALREADY_LOGGED_IN"] * 3
        assert {s.info()["state"] for s in sessions} == {CKS.RW_USER_FUNCTIONS}
        b.m.close_all(b.slot)


@pytest.mark.threads
def test_sessions_close_while_logging_in(bench, count):
    """When the sessions go during a C_Login, nobody is logged in afterwards."""
    b = bench().make()
    for _ in range(count(200)):
        s = b.session()
        answers = []
        t = threading.Thread(target=lambda: answers.append(code(s.login, PIN)))
        t.start()
        b.m.close_all(b.slot)
        t.join()
        assert answers[0] in ("CKR_OK", "CKR_SESSION_HANDLE_INVALID")
        assert b.session().info()["state"] == CKS.RW_PUBLIC_SESSION
        b.m.close_all(b.slot)


@pytest.mark.root
def test_write_protected(bench):
    """A token on a disk that may only be read says so, can be used for what changes nothing, and refuses the rest
    (NSS-TOK-07)."""
    b = bench("pin-retries=2").make()
    s = b.session()
    s.login(PIN)
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "one", CKA.VALUE: b"here"})
    b.m.finalize()
    script = f"mount --bind {b.directory} {b.directory} && mount -o remount,ro,bind {b.directory} && exec \"$@\""
    with b.peer(within=[*own_mounts(), "sh", "-ec", script, "sh"]) as peer:
        assert peer(f"m.token_info({b.slot})['flags'] & CKF.WRITE_PROTECTED")
        assert peer.code(f"m.open_session({b.slot})") == "CKR_TOKEN_WRITE_PROTECTED"
        peer(f"s = m.open_session({b.slot}, False)")
        for _ in range(3):  # there is nowhere to count
            assert peer.code("s.login('wrong')") == "CKR_PIN_INCORRECT"
        peer(f"s.login({PIN!r})")
        assert peer("s.get(s.find_one({CKA.LABEL: 'one'}), CKA.VALUE)") == b"here"
        peer("s.close()")
        assert peer.code(f"m.init_token({b.slot}, {SO_PIN!r}, 'Again')") == "CKR_TOKEN_WRITE_PROTECTED"
    b.m.initialize()
    assert b.flags() == ALWAYS


# --- changing PINs --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("state", ["public", "user", "so"])
def test_set_pin(bench, state):
    """C_SetPIN in each state that it works in: of the user who is logged in, or the user's if nobody is (NSS-PIN-01
    to 04)."""
    b = bench("pin-retries=3 so-pin-retries=3 min-pin=5").make()
    s = b.session()
    user, old, failed = (CKU.SO, SO_PIN, "SO_PIN") if state == "so" else (CKU.USER, PIN, "USER_PIN")
    if state != "public":
        s.login(old, user)
    before = s.info()["state"]
    for a, z, expected in ((old, "1234", "CKR_PIN_LEN_RANGE"), (old, "", "CKR_PIN_LEN_RANGE"),
                           (old, "n" * 256, "CKR_PIN_LEN_RANGE"), (None, "12345", "CKR_ARGUMENTS_BAD"),
                           (old, None, "CKR_ARGUMENTS_BAD"), ("wrong", "12345", "CKR_PIN_INCORRECT"),
                           ("", "12345", "CKR_PIN_INCORRECT")):
        assert (a, z, code(s.set_pin, a, z)) == (a, z, expected)
    assert b.flags() == ALWAYS | {f"{failed}_COUNT_LOW"}
    s.set_pin(old, "n" * 255)
    assert b.flags() == ALWAYS
    s.set_pin("n" * 255, "five5")
    assert s.info()["state"] == before
    if state != "public":
        s.logout()
    assert code(s.login, old, user) == "CKR_PIN_INCORRECT"
    s.login("five5", user)
    assert code(s.set_pin, "wrong", "other") == "CKR_PIN_INCORRECT"
    s.logout()
    s.login(*((SO_PIN, CKU.SO) if user == CKU.USER else (PIN, CKU.USER)))  # the other's PIN is as it was


def test_set_pin_may_lock(bench):
    """Guessing by C_SetPIN locks as guessing by C_Login does."""
    b = bench("pin-retries=2").make()
    s = b.session()
    assert [code(s.set_pin, "wrong", "other") for _ in range(2)] == ["CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"]
    assert code(s.set_pin, PIN, "other") == code(s.login, PIN) == "CKR_PIN_LOCKED"


def test_set_pin_read_only(bench):
    """A R/O session changes no PIN, in any state."""
    b = bench().make()
    s = b.session(False)
    assert code(s.set_pin, PIN, "other") == "CKR_SESSION_READ_ONLY"
    s.login(PIN)
    assert code(s.set_pin, PIN, "other") == "CKR_SESSION_READ_ONLY"
    assert code(s.set_pin, "wrong", "other") == "CKR_SESSION_READ_ONLY"
    assert read_record(b.directory).user.failed == 0


def test_init_pin_is_the_sos(bench):
    """C_InitPIN only in the R/W SO Functions state (NSS-PIN-03), and with a PIN of a length that the token takes."""
    b = bench().make()
    s = b.session()
    assert code(s.init_pin, "other") == "CKR_USER_NOT_LOGGED_IN"
    s.login(PIN)
    assert code(s.init_pin, "other") == "CKR_USER_NOT_LOGGED_IN"
    s.logout()
    s.login(SO_PIN, CKU.SO)
    for pin, expected in (("123", "CKR_PIN_LEN_RANGE"), ("", "CKR_PIN_LEN_RANGE"), ("n" * 256, "CKR_PIN_LEN_RANGE"),
                          (None, "CKR_ARGUMENTS_BAD")):
        assert (pin, code(s.init_pin, pin)) == (pin, expected)
    s.logout()
    s.login(PIN)


def test_pin_changed_elsewhere_works_at_once(bench):
    """What another process does to PINs is seen at the next login; who is logged in stays so, with their objects."""
    b = bench().make()
    s = b.session()
    s.login(PIN)
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "mine", CKA.VALUE: b"before"})
    with b.peer() as peer:
        peer(f"s = m.open_session({b.slot})")
        peer(f"s.set_pin({PIN!r}, 'second')")
        assert s.get(s.find_one({CKA.LABEL: "mine"}), CKA.VALUE) == b"before"
        s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "late", CKA.VALUE: b"after"})
        peer("s.login('second')")
        for label, value in (("mine", b"before"), ("late", b"after")):
            assert peer(f"s.get(s.find_one({{CKA.LABEL: {label!r}}}), CKA.VALUE)") == value
        s.logout()
        assert code(s.login, PIN) == "CKR_PIN_INCORRECT"
        s.login("second")
        s.set_pin("second", "third pin")
        peer("s.logout()")
        assert peer.code("s.login('second')") == "CKR_PIN_INCORRECT"
        assert b.flags() == ALWAYS | {"USER_PIN_COUNT_LOW"}
        peer("s.login('third pin')")
        assert b.flags() == ALWAYS


def test_killed_while_changing_pins(bench, count):
    """A process that is killed at any moment of C_SetPIN leaves one PIN, the old or the new, and a token that opens; what it
    had been told is so."""
    b = bench().make()
    order = random.Random(1)
    now = PIN
    for _ in range(count(60)):
        other = {PIN: "the other", "the other": PIN}[now]
        with b.peer() as peer:
            peer(f"s = m.open_session({b.slot})")
            peer.send(f"[s.set_pin(*p) for _ in range(1000) for p in (({now!r}, {other!r}), ({other!r}, {now!r}))]")
            time.sleep(order.random() * 0.02)
            peer.process.kill()
        s = b.session()
        answers = [code(s.login, pin) for pin in (now, other)]
        assert sorted(answers) in (["CKR_OK", "CKR_PIN_INCORRECT"], ["CKR_OK", "CKR_USER_ALREADY_LOGGED_IN"])
        now = now if answers[0] == "CKR_OK" else other
        s.close()
    with b.peer() as peer:
        peer(f"s = m.open_session({b.slot})")
        assert peer.code("s.login('wrong')") == "CKR_PIN_INCORRECT"
        peer.process.kill()
    assert read_record(b.directory).user.failed == 1
