"""The faults of tokens, logins and sessions: each changes the answer that it says it changes. On our token."""
import ctypes
import time

import pytest

from cryptoki import CKA, CKF, CKM, CKO, CKU, ULONG
from faulty_tokens import Cases, code, faulty  # noqa: F401

cases = Cases()
OK = "OK"
RO_PUBLIC, RO_USER, RW_PUBLIC, RW_USER, RW_SO = range(5)

# --- tokens -----------------------------------------------------------------------------------------------------------


def flag(p, name):
    return bool(p.m.token_info(p.slot)["flags"] & getattr(CKF, name))


def label(p):
    return p.m.token_info(p.slot)["label"]


cases("dup-label", ["Test Token", "Second"], ["Twin"] * 2)(
    lambda p: [p.m.token_info(s)["label"] for s in p.m.slots()])
cases("empty-label", "Test Token", "")(label)
cases("nss-label", "Test Token", "NSS Certificate DB")(label)
cases("colon-label", "Test Token", "Test Token:token")(label)
cases("no-pininit-flag", True, False)(lambda p: flag(p, "USER_PIN_INITIALIZED"))
cases("no-loginreq-flag", True, False)(lambda p: flag(p, "LOGIN_REQUIRED"))


@cases("stale-flags", [False, True], [False, False])
def _(p):
    before = flag(p, "USER_PIN_COUNT_LOW")
    p.login(p.open(), "wrong")
    try:
        return [before, flag(p, "USER_PIN_COUNT_LOW")]
    finally:
        p.login(p.open())


cases("pinpad-args", (False, "ARGUMENTS_BAD"), (True, "ARGUMENTS_BAD"))(
    lambda p: (flag(p, "PROTECTED_AUTHENTICATION_PATH"), p.rv("C_Login", p.open().handle, CKU.USER, None, 0)))


@cases("wp-lie", [OK, OK, False], ["TOKEN_WRITE_PROTECTED"] * 2 + [False])
def _(p):
    s = p.open(rw=False)
    s.login(p.token.pin)
    return [code(p.open), code(p.certificate, p.m.open_session(p.slot, code(p.open) == OK)), flag(p, "WRITE_PROTECTED")]


cases("wp-ignored", (False, OK), (True, OK))(
    lambda p: (flag(p, "WRITE_PROTECTED"), code(p.certificate, p.open(login=True))))
cases("rw-ignored", RW_PUBLIC, RO_PUBLIC)(lambda p: p.state(p.open()))
cases("max-sess-1", ([OK] * 3, False), ([OK] + ["SESSION_COUNT"] * 2, True))(
    lambda p: ([code(p.open) for _ in range(3)], p.m.token_info(p.slot)["ulMaxSessionCount"] == 1))
cases("max-sess-1=2", [OK] * 3, [OK, OK, "SESSION_COUNT"])(lambda p: [code(p.open) for _ in range(3)])
cases("early-session-count", ([OK] * 3, 0), ([OK, OK, "SESSION_COUNT"], 0))(
    lambda p: ([code(p.open) for _ in range(3)], p.m.token_info(p.slot)["ulMaxSessionCount"]))

# --- states -----------------------------------------------------------------------------------------------------------


def states(p):
    """Of a R/O and a R/W session, before and after a login on the first."""
    ro, rw = p.open(rw=False), p.open()
    said = [p.state(ro), p.state(rw)]
    p.login(ro)
    return said + [p.state(ro), p.state(rw)]


RIGHT = [RO_PUBLIC, RW_PUBLIC, RO_USER, RW_USER]
for fault, wrong in {"login-not-propagated": [RO_PUBLIC, RW_PUBLIC, RO_USER, RW_PUBLIC],
                     "split-state": [RO_PUBLIC, RW_PUBLIC, RO_USER, RW_PUBLIC],
                     "rw-state-wrong": [RW_PUBLIC, RW_PUBLIC, RW_USER, RW_USER], "state-99": [99] * 4,
                     "stale-state": [RO_PUBLIC, RW_PUBLIC] * 2, "always-public": [RO_PUBLIC, RW_PUBLIC] * 2,
                     "always-user": [RO_USER, RW_USER] * 2,
                     "info-logs-out": [RO_PUBLIC, RW_PUBLIC, RO_USER, RW_PUBLIC],
                     "absent-after-login": [RO_PUBLIC, RW_PUBLIC] * 2}.items():
    cases(fault, RIGHT, wrong)(states)
cases("info-logs-out=2", RIGHT + [RO_USER], RIGHT + [RO_PUBLIC])(lambda p: states(p) + [p.state(p.open(rw=False))])
cases("rw-flag-wrong", True, False)(lambda p: bool(p.open().info()["flags"] & CKF.RW_SESSION))
cases("serial-clear", True, False)(lambda p: bool(p.open().info()["flags"] & CKF.SERIAL_SESSION))
cases("slot-wrong", True, False)(lambda p: p.open().info()["slotID"] == p.slot)


@cases("slot-bleed", [RW_PUBLIC, RW_PUBLIC], [RW_USER, RW_PUBLIC])
def _(p):
    there = p.m.open_session(p.m.slot_of("Second"))
    s = p.open(login=True)
    said = [p.state(there)]
    s.logout()
    return said + [p.state(there)]


@cases("probe-logs-out", RW_USER, RW_PUBLIC)
def _(p):
    s = p.open(login=True)
    p.m.token_info(p.slot)
    return p.state(s)


@cases("sign-logs-out", RW_USER, RW_PUBLIC)
def _(p):
    s = p.open(login=True)
    s.sign(CKM.ECDSA, p.key(s)[1], b"x" * 32)
    return p.state(s)


def sign_init(p, s, key):
    try:
        s.init("C_SignInit", CKM.ECDSA, key)
        return OK
    except Exception as e:
        return e.name.removeprefix("CKR_")


@cases("stale-user", (RW_USER, OK), (RW_USER, "USER_NOT_LOGGED_IN"))
def _(p):
    s = p.open(login=True)
    _, private = p.key(s)
    return p.state(s), sign_init(p, s, private)


def test_rights_are_those_of_the_session(faulty):
    with faulty("login-not-propagated") as p:
        s, other = p.open(login=True), p.open()
        _, private = p.key(s)
        assert (sign_init(p, s, private), sign_init(p, other, private)) == (OK, "USER_NOT_LOGGED_IN")
        assert p.login(other) == OK and sign_init(p, other, private) == OK
        s.logout()
        assert p.state(s) == p.state(other) == RW_PUBLIC

# --- logging in and out -----------------------------------------------------------------------------------------------


cases("already-but-public", (OK, RW_USER), ("USER_ALREADY_LOGGED_IN", RW_PUBLIC))(
    lambda p: (lambda s: (p.login(s), p.state(s)))(p.open()))
for fault, said in {"badpin-general": "GENERAL_ERROR", "badpin-device": "DEVICE_ERROR", "badpin-len": "PIN_LEN_RANGE",
                    "badpin-vendor": "0x800063c2"}.items():
    cases(fault, ["PIN_INCORRECT", OK], [said, OK])(lambda p: [p.login(p.open(), "wrong"), p.login(p.open())])
cases("locked-incorrect", (OK, False), ("PIN_INCORRECT", True))(
    lambda p: (p.login(p.open()), flag(p, "USER_PIN_LOCKED")))
for fault, said in {"double-login-general": "GENERAL_ERROR", "double-login-ok": OK}.items():
    cases(fault, [OK, "USER_ALREADY_LOGGED_IN"], [OK, said])(lambda p: [p.login(p.open()) for _ in range(2)])


def logout(p):
    """Logged out when nobody is logged in, then after a login; and what the other session says."""
    s, other = p.open(), p.open()
    said = [code(s.logout), code(other.info)]
    s.login(p.token.pin)
    return said + [code(s.logout)]


for fault, said in {"logout-resets-card": [OK, "SESSION_HANDLE_INVALID"], "logout-ok": [OK, OK],
                    "logout-general": ["GENERAL_ERROR", OK]}.items():
    cases(fault, ["USER_NOT_LOGGED_IN", OK, OK], said + [OK])(logout)


@cases("slow-login=300", False, True)
def _(p):
    began = time.monotonic()
    p.login(p.open())
    return time.monotonic() - began >= 0.3


def so_login(p):
    """The security officer logs in beside a R/O session; what the R/O session says then."""
    ro, rw = p.open(rw=False), p.open()
    return p.login(rw, p.token.so_pin, CKU.SO), code(ro.info), code(ro.close)


cases("so-lenient", ("SESSION_READ_ONLY_EXISTS", OK, OK), (OK, OK, OK))(so_login)
cases("so-lenient,so-strict", ("SESSION_READ_ONLY_EXISTS", OK, OK), (OK, OK, OK))(so_login)


def test_so_strict(faulty):
    """Before a target that does not mind."""
    with faulty("so-strict,so-lenient") as p:
        assert so_login(p) == ("SESSION_READ_ONLY_EXISTS", OK, OK)
        assert p.login(p.open(), p.token.so_pin, CKU.SO) == OK


def test_so_lenient_shows_one_state(faulty):
    with faulty("so-lenient") as p:
        ro, rw = p.open(rw=False), p.open()
        assert p.login(rw, p.token.so_pin, CKU.SO) == OK and p.state(ro) == p.state(rw) == RW_SO


# --- a PIN for each use -----------------------------------------------------------------------------------------------


def make_always(p):
    s = p.open(login=True)
    return s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")},
                           {CKA.PRIVATE: True, CKA.SIGN: True, CKA.ALWAYS_AUTHENTICATE: True})[1], s


def always(p, question=None, login=True):
    private, s = make_always(p)
    s.init("C_SignInit", CKM.ECDSA, private)
    said = [p.login(s, user=CKU.CONTEXT_SPECIFIC)] if login else []
    if question:
        question(p, s)
    buffer, length = ctypes.create_string_buffer(200), ULONG(200)
    said.append(p.rv("C_Sign", s.handle, b"x" * 32, 32, buffer, ctypes.byref(length)))
    return said + [sign_init(p, s, private)]


REFUSED = "USER_NOT_LOGGED_IN"
cases("ctx-invalid", [OK, OK, OK], ["USER_TYPE_INVALID", REFUSED, OK])(always)
cases("ctx-ignored", [OK, OK, OK], [OK, REFUSED, OK])(always)
cases("ctx-fragile", [OK, OK, OK], [OK, REFUSED, OK])(lambda p: always(p, lambda q, s: s.info()))
cases("ctx-fragile@C_GetTokenInfo:1", [OK, OK, OK], [OK, REFUSED, OK])(
    lambda p: always(p, lambda q, s: q.m.token_info(q.slot)))


def test_ctx_fragile_bears_what_comes_at_once(faulty):
    with faulty("ctx-fragile") as p:
        assert always(p) == [OK, OK, OK]


def aa(p, truth):
    s = p.open(login=True)
    _, private = p.key(s)
    s.init("C_SignInit", CKM.ECDSA, private)
    buffer, length = ctypes.create_string_buffer(200), ULONG(200)
    return (s.get_bool(private, CKA.ALWAYS_AUTHENTICATE),
            p.rv("C_Sign", s.handle, b"x" * 32, 32, buffer, ctypes.byref(length)))


cases("aa-lie", (False, OK), (True, OK))(lambda p: aa(p, True))
cases("aa-hidden", (False, OK), (False, REFUSED))(lambda p: aa(p, False))

# --- sessions ---------------------------------------------------------------------------------------------------------

cases("null-session-ok", "SESSION_HANDLE_INVALID", OK)(lambda p: [p.open(), code(type(p.open())(p.m, 0).info)][1])
cases("null-session-general", "SESSION_HANDLE_INVALID", "GENERAL_ERROR")(lambda p: code(type(p.open())(p.m, 0).info))
cases("parallel-ok", "SESSION_PARALLEL_NOT_SUPPORTED", OK)(
    lambda p: p.rv("C_OpenSession", p.slot, CKF.RW_SESSION, None, None, ctypes.byref(ULONG())))
cases("session-dies", [OK, OK], ["SESSION_HANDLE_INVALID", OK])(lambda p: [code(s.info) for s in [p.open()] * 2])


@cases("handle-recycle", (True, OK, "SESSION_HANDLE_INVALID", False), (True, OK, "SESSION_HANDLE_INVALID", True))
def _(p):
    a, b = p.open(), p.open()
    a.close()
    gone = code(a.info)
    c = p.open()
    return a.handle != b.handle, code(b.info), gone, c.handle == a.handle


@cases("closed-ok", ["SESSION_HANDLE_INVALID"] * 2, [OK] * 2)
def _(p):
    s, _ = p.open(), p.open()
    s.close()
    return [code(s.info), code(s.close)]


cases("no-rw", [OK] * 3, [OK, "SESSION_COUNT", OK])(lambda p: [code(p.open, rw) for rw in (False, True, False)])


def last_close(p, close):
    s = p.open(login=True)
    close(s)
    return p.state(p.open())


cases("sticky-login", RW_PUBLIC, RW_USER)(lambda p: last_close(p, lambda s: s.close()))
cases("sticky-login@C_Login:1", RW_PUBLIC, RW_USER)(lambda p: last_close(p, lambda s: p.m.close_all(p.slot)))


@cases("close-logs-out", RW_USER, RW_PUBLIC)
def _(p):
    s, other = p.open(login=True), p.open()
    other.close()
    return p.state(s)


@cases("session-objects-all-die", [1, OK], [0, "OBJECT_HANDLE_INVALID"])
def _(p):
    s, other = p.open(login=True), p.open()
    key = p.secret(s)
    other.close()
    return [len(s.find({CKA.CLASS: CKO.SECRET_KEY, CKA.TOKEN: False})), code(s.get, key, CKA.CLASS)]


def test_create_read_only(faulty):
    with faulty("create-read-only") as p:
        s = p.open()
        assert code(p.certificate, s) == "SESSION_READ_ONLY"
        s.login(p.token.pin)
        assert code(p.certificate, s) == OK


@cases("no-session-objects", [OK, OK, OK], ["FUNCTION_NOT_SUPPORTED"] * 2 + [OK])
def _(p):
    s = p.open(login=True)
    return [code(p.secret, s), code(s.create, {CKA.CLASS: CKO.DATA, CKA.VALUE: b"x"}), code(p.secret, s, True)]


@cases("notify-bad", OK, "ARGUMENTS_BAD")
def _(p):
    notify = ctypes.CFUNCTYPE(ULONG, ULONG, ULONG, ctypes.c_void_p)(lambda *_: 0)
    return p.rv("C_OpenSession", p.slot, CKF.SERIAL_SESSION, None, ctypes.cast(notify, ctypes.c_void_p),
                ctypes.byref(ULONG()))


@pytest.mark.parametrize("fault", cases)
def test_fault_changes_the_answer(faulty, fault):
    cases.check(faulty, fault)
