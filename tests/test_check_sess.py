"""The rules of sessions, told call by call: each beside what differs from it in one thing."""
import pytest

from check_story import (ARGUMENTS_BAD, DEVICE_ERROR, GENERAL_ERROR, LOGIN_REQUIRED, OK, RW, SERIAL,
                         SESSION_HANDLE_INVALID, SLOT, TOKEN_NOT_PRESENT)
from p11t_make import n, u
from story_calls import Calls
from test_check_guards import checked, found

E, W, I = "error", "warning", "info"
MODULE, CALLER = "module", "caller"
SESSION_COUNT, READ_ONLY, NOT_LOGGED_IN, NOT_SUPPORTED, INCONSISTENT = 0xB1, 0xB5, 0x101, 0x54, 0xD1
WRITE_PROTECTED, DEVICE_MEMORY, OBJECT_INVALID, KEY_INVALID = 0xE2, 0x31, 0x82, 0x60
CKF_WRITE_PROTECTED = 2
CKA_CLASS, CKA_TOKEN, CKA_PRIVATE = 0, 1, 2
DATA, CERTIFICATE, PUBLIC, PRIVATE, SECRET, NSS_TRUST = 0, 1, 2, 3, 4, 0xCE534353
AES_CBC, AES_KEY_GEN = 0x1082, 0x1080
CALLBACK = 10


def rule(number, severity=E, side=MODULE):
    return f"NSS-SESS-{number:02}", severity, side


def told(*steps, sessions=(1, 2), flags=SERIAL):
    """Each step is (function, answer, parameters, session), or a function of the story."""
    t = Calls().start(*sessions, flags=flags)
    for step in steps:
        if callable(step):
            step(t)
        else:
            name, rv, given, session = *step, *({}, 1)[len(step) - 2:]
            t.do(f"C_{name}", session, rv=rv, **given)
    return t


def case(*steps, **more):
    return lambda: told(*steps, **more)


def does(what, *args, **more):
    return lambda t: t.call(what, *args, **more)


def close(session, **more):
    return does("close_session", session, **more)


def opens(session, **more):
    return does("open_session", session, **more)


def pulled(t):
    t.call("slot_info", flags=2)
    t.wait(2)
    t.call("slot_info")


def wait(seconds):
    return lambda t: t.wait(seconds)


# --- handles ----------------------------------------------------------------------------------------------------------

USES = ("GetOperationState", 0x91)
GIVEN = {
    "zero": (case(opens(0)), [rule(2)]),
    "another": (case(opens(3)), []),
    "open already": (case(opens(2)), [rule(2)]),
    "closed just now": (case(close(2), opens(2)), [rule(2, I)]),
    "closed just now and used": (
        case(close(2), (*USES, {}, 2), opens(2)), [rule(2, W), rule(4, W, CALLER)]),
    "closed two minutes ago": (case(close(2), wait(120), opens(2)), []),
    "closed with all": (case(lambda t: t.do("C_CloseAllSessions", SLOT), opens(2)), [rule(2, I)]),
    "of the time before C_Finalize": (
        case(close(1), close(2), does("finalize"), does("initialize"), opens(2)), []),
    "lost with the token": (case(pulled, opens(2)), [rule(2, I)]),
    "closing at the same time": (
        case(lambda t: [a := t.begin("close_session", 2, tid=200), t.open(2), t.finish(a)]), []),
    "failed": (case(opens(0, rv=SESSION_COUNT)), []),
}


def amid_close(t):
    use = t.begin("session_info", 2, tid=200)
    t.call("close_session", 2)
    t.finish(use)


DEAD = {
    "closed, refused": (case(close(2), does("session_info", 2, rv=SESSION_HANDLE_INVALID)), [rule(4, W, CALLER)]),
    "closed, works": (case(close(2), does("session_info", 2)), [rule(4), rule(4, W, CALLER)]),
    "closed, closed again": (case(close(2), close(2)), [rule(4, W), rule(4, W, CALLER)]),
    "closed, closed again, refused": (case(close(2), close(2, rv=SESSION_HANDLE_INVALID)), [rule(4, W, CALLER)]),
    "closed while it is used": (case(amid_close), []),
    "closed and opened again": (case(close(2), wait(70), opens(2), does("session_info", 2)), []),
    "closed with all": (case(lambda t: t.do("C_CloseAllSessions", SLOT), does("session_info", 2)),
                        [rule(4), rule(4, W, CALLER)]),
    "never opened": (case(does("session_info", 7)), [rule(4), rule(4, W, CALLER)]),
    "never opened, another part initialised": (lambda: initialised_by_another(), []),
    "never opened, records lost": (case(lambda t: t.lose(), does("session_info", 7)), []),
    "the module lost it": (
        case(does("slot_info", flags=1), close(2, rv=SESSION_HANDLE_INVALID)), [rule(4, W)]),
    "the module lost it, or the token was pulled": (case(close(2, rv=SESSION_HANDLE_INVALID)), []),
    "the token was pulled": (
        case(pulled, close(2, rv=SESSION_HANDLE_INVALID), close(2, rv=SESSION_HANDLE_INVALID)), []),
    "finalised": (case(close(1), close(2), does("finalize"), does("initialize"), does("session_info", 2)), []),
    "cannot be closed": (case(close(2, rv=GENERAL_ERROR)), [rule(4, W)]),
    "cannot be closed, token gone": (case(close(2, rv=TOKEN_NOT_PRESENT)), []),
    "cannot be closed, used by another": (
        case(lambda t: [a := t.begin("session_info", 2, tid=200), t.call("close_session", 2, rv=GENERAL_ERROR),
                        t.finish(a)]), [rule(5, E, CALLER)]),
}


def initialised_by_another():
    t = Calls()
    t.initialize(rv=0x191)
    t.call("session_info", 7)
    return t


# --- threads ----------------------------------------------------------------------------------------------------------

def two(first, second, tids=(100, 200), sessions=(1, 1), nested=True):
    def step(t):
        a = t.start_of(f"C_{first}", sessions[0], tid=tids[0], rv=GENERAL_ERROR)
        if not nested:
            t.finish(a)
        b = t.start_of(f"C_{second}", sessions[1], tid=tids[1], rv=GENERAL_ERROR)
        t.finish(b)
        if nested:
            t.finish(a)
    return step


BOTH, ONE = [rule(5, E, CALLER)], [rule(5, I, CALLER)]
THREADS = {
    "sign and sign": (case(two("Sign", "Sign")), BOTH),
    "sign and random": (case(two("Sign", "GenerateRandom")), ONE),
    "random and sign": (case(two("GenerateRandom", "Sign")), ONE),
    "random and random": (case(two("GenerateRandom", "SeedRandom")), []),
    "one after the other": (case(two("Sign", "Sign", nested=False)), []),
    "two sessions": (case(two("Sign", "Sign", sessions=(1, 2))), []),
    "a signal's handler": (case(two("Sign", "Sign", tids=(100, 100))), []),
    "state and state": (
        case(lambda t: [a := t.begin("session_info", 1), t.call("session_info", 1, tid=200), t.finish(a)]), []),
    "sign and close": (
        case(lambda t: [a := t.begin("close_session", 1), t.do("C_Sign", 1, tid=200, rv=GENERAL_ERROR), t.finish(a)]),
        BOTH),
}

# --- opening ----------------------------------------------------------------------------------------------------------


def rw(rv=SESSION_COUNT, flags=SERIAL | RW):
    return opens(9, flags=flags, rv=rv)


NOTIFY = dict(flags=SERIAL, pApplication=1, Notify=1)


def notified(milliseconds):
    def step(t):
        t.record(CALLBACK, n(1) + n(1) + u(1) + u(0), t.next(), time=t.now)
        t.wait(milliseconds / 1000)
        t.record(CALLBACK, n(2) + n(1) + u(1) + u(0), t.next(), time=t.now)
    return step


OPEN = {
    "read/write beside read-only": (case(rw(OK)), []),
    "read/write beside read-only, refused": (case(rw()), [rule(6)]),
    "for lack of memory": (case(rw(0x2)), []),
    "read/write alone, refused": (case(rw(), sessions=(1,), flags=SERIAL | RW), []),
    "read-only, refused": (case(opens(9, rv=SESSION_COUNT)), []),
    "a protected token": (case(does("token_info", flags=CKF_WRITE_PROTECTED), rw()), []),
    "a protected token that says so": (case(rw(WRITE_PROTECTED)), []),
    "the token is not known": (case(does("token_info", slot=6), lambda t: t.call(
        "open_session", 9, slot=6, flags=SERIAL | RW, rv=SESSION_COUNT)), []),
    "the token was pulled": (case(does("slot_info", flags=2), rw(DEVICE_ERROR)), []),
    "at the same time another is closed": (
        case(lambda t: [a := t.start_of("C_CloseAllSessions", SLOT, tid=200), rw()(t), t.finish(a)]), []),
    "with a callback": (case(("OpenSession", OK, dict(phSession=5, **NOTIFY), SLOT)), []),
    "with a callback, refused": (case(("OpenSession", ARGUMENTS_BAD, NOTIFY, SLOT)), [rule(12)]),
    "without one, refused": (case(("OpenSession", ARGUMENTS_BAD, dict(flags=SERIAL), SLOT)), []),
    "with a callback, no such slot": (case(("OpenSession", 3, NOTIFY, 99)), []),
    "the callback is called": (case(notified(5)), [rule(12, I)]),
    "the callback takes long": (case(notified(200)), [rule(12, I), rule(12, W)]),
}

# --- objects ----------------------------------------------------------------------------------------------------------


def makes(handle=7, rv=OK, session=1, function="CreateObject", mechanism=None, **facts):
    template = [(dict(cls=CKA_CLASS, token=CKA_TOKEN, private=CKA_PRIVATE)[k], v if isinstance(v, bytes) else int(v))
                for k, v in {"cls": SECRET, **facts}.items() if v is not None]
    more = {} if mechanism is None else dict(pMechanism=mechanism)
    out = dict(phObject=handle) if function == "CreateObject" else dict(phKey=handle)
    return lambda t: t.do(f"C_{function}", session, rv=rv, pTemplate=template, **more, **out)


def uses(session, rv, handle=7):
    return ("SignInit", rv, dict(hKey=handle), session)


def lists(*mechanisms):
    return lambda t: t.do("C_GetMechanismList", SLOT, pMechanismList=mechanisms, pulCount=(len(mechanisms),) * 2)


def reads(handle, *attributes, session=1, rv=OK):
    return lambda t: t.call("attributes", session, handle, *attributes, rv=rv)


RO_TOKEN = dict(token=True)
OBJECTS = {
    "its session is closed, it lives": (case(makes(), close(1), uses(2, OK)), [rule(9, W)]),
    "its session is closed": (case(makes(), close(1), uses(2, KEY_INVALID)), []),
    "a token object lives": (case(makes(token=True), close(1), uses(2, OK), flags=SERIAL | RW), []),
    "another session is closed": (case(makes(), close(2), uses(1, KEY_INVALID)), [rule(9)]),
    "another session is closed, it lives": (case(makes(), close(2), uses(1, OK), uses(1, KEY_INVALID)), []),
    "it was destroyed": (case(makes(), close(2), ("DestroyObject", OK, dict(hObject=7)), uses(1, KEY_INVALID)), []),
    "it is being destroyed": (
        case(makes(), close(2), lambda t: [
            a := t.start_of("C_DestroyObject", 1, hObject=7), t.do("C_SignInit", 1, tid=200, hKey=7, rv=KEY_INVALID),
            t.finish(a)]), []),
    "it may be private, and the user logged out": (
        case(makes(), does("login", 1), close(2), does("logout", 1), uses(1, KEY_INVALID)), []),
    "nothing was closed": (case(makes(), uses(1, KEY_INVALID)), []),
    "who made it is not known": (case(reads(7, (CKA_TOKEN, 1, 1, b"\0")), close(2), uses(1, KEY_INVALID)), []),
    # whether there are any
    "refused": (case(lists(AES_CBC), makes(rv=READ_ONLY)), [rule(11)]),
    "refused by a token without ciphers": (case(makes(rv=READ_ONLY)), [rule(11, W)]),
    "refused on the token": (case(lists(AES_CBC), makes(rv=READ_ONLY, token=True)), [rule(10, W, CALLER)]),
    "refused without login": (case(lists(AES_CBC), makes(rv=NOT_LOGGED_IN)), []),
    "not supported": (case(lists(AES_CBC), makes(rv=NOT_SUPPORTED)), [rule(11)]),
    "generation is not supported": (
        case(lists(AES_CBC), makes(rv=NOT_SUPPORTED, function="GenerateKey", mechanism=AES_KEY_GEN)), []),
    "generation is listed and not supported": (
        case(lists(AES_CBC, AES_KEY_GEN), makes(rv=NOT_SUPPORTED, function="GenerateKey", mechanism=AES_KEY_GEN)),
        [rule(11)]),
    "a template that does not fit": (case(lists(AES_CBC), makes(rv=INCONSISTENT)), []),
    "said to be inconsistent, and taken on the token": (
        case(makes(rv=INCONSISTENT, token=False), makes(token=True), flags=SERIAL | RW), [rule(11, W)]),
    "said to be inconsistent, and another one is taken": (
        case(makes(rv=INCONSISTENT, token=False), makes(token=True, cls=DATA), flags=SERIAL | RW), []),
    "a private key": (case(lists(AES_CBC), makes(rv=READ_ONLY, cls=PRIVATE)), []),
    "NSS's own class": (case(lists(AES_CBC), makes(rv=NOT_SUPPORTED, cls=NSS_TRUST)), []),
    "no room for the first": (case(lists(AES_CBC), makes(rv=DEVICE_MEMORY)), [rule(11)]),
    "no room for the second": (case(lists(AES_CBC), makes(), makes(8, rv=DEVICE_MEMORY)), [rule(11, I)]),
    "lies on the token": (case(makes(), reads(7, (CKA_TOKEN, 1, 1, 1))), [rule(11)]),
    "lies in the session": (case(makes(), reads(7, (CKA_TOKEN, 1, 1, 0))), []),
    "was meant for the token": (case(makes(token=True), reads(7, (CKA_TOKEN, 1, 1, 1)), flags=SERIAL | RW), []),
}

TOKEN_WRITE = dict(token=True, cls=CERTIFICATE)
IN_RO = rule(10, W, CALLER)
WRITES = {
    "read-only says a read/write session": (case(makes(rv=READ_ONLY, **TOKEN_WRITE), flags=SERIAL | RW), [rule(10)]),
    "of a protected token": (
        case(does("token_info", flags=CKF_WRITE_PROTECTED), makes(rv=READ_ONLY, **TOKEN_WRITE), flags=SERIAL | RW), []),
    "read-only says a read-only session": (case(makes(rv=READ_ONLY, **TOKEN_WRITE)), [IN_RO]),
    "written in a read-only session": (case(makes(**TOKEN_WRITE)), [rule(10), IN_RO]),
    "session object in a read-only session": (case(makes()), []),
    "found on the token, destroyed in a read-only session": (
        case(reads(7, (CKA_TOKEN, 1, 1, 1)), ("DestroyObject", OK, dict(hObject=7))),
        [rule(10), rule(10, I, CALLER)]),
    "where it lies is not known": (case(("DestroyObject", OK, dict(hObject=7))), []),
    "the session is read-only whatever was asked for": (
        case(does("session_info", 1, flags=SERIAL), makes(rv=READ_ONLY, **TOKEN_WRITE), flags=SERIAL | RW), []),
    "without login": (case(makes(rv=NOT_LOGGED_IN, **TOKEN_WRITE), flags=SERIAL | RW), []),
    "without login, general": (case(makes(rv=GENERAL_ERROR, **TOKEN_WRITE), flags=SERIAL | RW), [rule(10, W)]),
    "a key pair without login, general": (
        case(("GenerateKeyPair", GENERAL_ERROR, dict(pPublicKeyTemplate=[], pPrivateKeyTemplate=[(CKA_TOKEN, 1)])),
             flags=SERIAL | RW), [rule(10, W)]),
    "a key pair of the session without login, general": (
        case(("GenerateKeyPair", GENERAL_ERROR, dict(pPublicKeyTemplate=[], pPrivateKeyTemplate=[])),
             flags=SERIAL | RW), []),
    "derived without login, general": (
        case(("DeriveKey", GENERAL_ERROR, dict(pTemplate=[(CKA_TOKEN, 1)])), flags=SERIAL | RW), [rule(10, W)]),
    "logged in, general": (case(does("login", 1), makes(rv=GENERAL_ERROR, **TOKEN_WRITE), flags=SERIAL | RW), []),
    "without login, none is needed": (
        case(does("token_info", flags=0), makes(rv=GENERAL_ERROR, **TOKEN_WRITE), flags=SERIAL | RW), []),
}


# --- what is left -----------------------------------------------------------------------------------------------------

LEAK = rule(13, W, CALLER)
LEFT = {
    "ten sessions": (case(does("finalize"), sessions=range(1, 11)), [LEAK]),
    "two sessions": (case(does("finalize")), []),
    "all closed": (case(lambda t: t.do("C_CloseAllSessions", SLOT), does("finalize")), []),
    "an operation": (case(close(2), ("SignInit", OK), does("finalize")), [LEAK]),
    "an operation that is over": (case(close(2), ("SignInit", OK), ("Sign", OK), does("finalize")), []),
    "an operation when all are closed": (
        case(("SignInit", OK), lambda t: t.do("C_CloseAllSessions", SLOT), does("finalize")), [LEAK]),
    "a search when all are closed": (
        case(("FindObjectsInit", OK), lambda t: t.do("C_CloseAllSessions", SLOT), does("finalize")), []),
    "the program ends": (case(), []),
    "the program ends with ten sessions": (case(sessions=range(1, 11)), [rule(13, I, CALLER)]),
    "a session a minute": (lambda: piled(12, 61), [LEAK]),
    "a session a minute, closed again": (lambda: piled(12, 61, closes=True), []),
    "900 sessions": (lambda: piled(902, 0.001), [LEAK]),
    "800 sessions": (lambda: piled(800, 0.001), []),
}


def piled(count, seconds, closes=False):
    t = told(sessions=(1,))
    for i in range(count):
        t.wait(seconds)
        t.open(100 + i)
        if closes:
            t.call("close_session", 100 + i)
    t.do("C_CloseAllSessions", SLOT)
    return t


GROUPS = {"given": (GIVEN, (2, 4)), "dead": (DEAD, (4, 5)), "threads": (THREADS, (5,)), "open": (OPEN, (6, 12)),
          "objects": (OBJECTS, (9, 10, 11)), "writes": (WRITES, (10,)), "left": (LEFT, (13,))}
CASES = {f"{group}: {name}": (*of, rules) for group, (cases, rules) in GROUPS.items() for name, of in cases.items()}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    story, expected, rules = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    chosen = [word for number in rules for word in ("--rule", rule(number)[0])]
    result = checked(build, run, *chosen, path, status=1 if any(e[1] == E for e in expected) else 0)
    assert found(result) == sorted(expected), [f["sentence"] for f in result["findings"]]
    assert all(f["evidence"] for f in result["findings"])


def test_evidence_of_two_threads_is_in_order(build, run, tmp_path):
    t = told()
    a = t.start_of("C_SignInit", 1)
    b = t.start_of("C_DigestInit", 1, tid=200)
    t.finish(b)
    t.finish(a)
    (f,) = checked(build, run, "--rule", "NSS-SESS-05", t.write(tmp_path / "x.p11t"), status=1)["findings"]
    assert [(e["call"], e["tid"]) for e in f["evidence"]] == [(a[0], 100), (b[0], 200)]
    assert f["sentence"] == "two threads use one session at the same time, for C_SignInit and C_DigestInit"
