"""Logins, PINs and token information, told call by call: each case beside one that differs in one thing."""
import pytest

from check_story import (ALREADY, ARGUMENTS_BAD, DEVICE_ERROR, GENERAL_ERROR, LOGIN_REQUIRED, OK, PIN_INCORRECT,
                         PIN_INITIALIZED, PIN_LEN_RANGE, PIN_LOCKED, REMOVABLE, RW, SERIAL, SESSION_HANDLE_INVALID,
                         TOKEN_INITIALIZED)
from story_login import USUAL, Logins, fixed
from test_check_guards import checked, found

E, W, I = "error", "warning", "info"
MODULE, CALLER = "module", "caller"
NOT_LOGGED_IN, NO_OPERATION, ANOTHER, TYPE_INVALID = 0x101, 0x91, 0x104, 0x103
READ_ONLY_EXISTS, SESSION_COUNT, WRITE_PROTECTED = 0xB7, 0xB1, 0xE2
COUNT_LOW, PAD, PROTECTED = 0x10000, 0x100, 2
KEY = 7
RULES = [f"NSS-LOGIN-{i:02}" for i in (6, 8, 11, 12, 13, 14, 15, 16)] + [f"NSS-PIN-0{i}" for i in (1, 2, 3)] + \
        [f"NSS-TOK-0{i}" for i in range(1, 9)]
ONLY = [word for rule in RULES for word in ("--rule", rule)]


def mod(rule, severity=E):
    return [(f"NSS-{rule}", severity, MODULE)]


def app(rule, severity=W):
    return [(f"NSS-{rule}", severity, CALLER)]


def told(*steps, sessions=(1, 2)):
    """A story of these steps: (method, arguments ...), (..., {options}) or functions of the story."""
    def story():
        t = fixed(*sessions)
        for step in steps:
            if callable(step):
                step(t)
                continue
            name, *args = step
            more = args.pop() if args and isinstance(args[-1], dict) else {}
            getattr(t, name)(*args, **more)
        return t
    return story


def pulled(t):
    t.call("slot_info", flags=REMOVABLE)
    t.call("slot_info", flags=REMOVABLE | 1)


def amid(first, other):
    """Two calls that overlap, in two threads; each (what, session, options)."""
    def step(t):
        a = t.begin(first[0], *first[1:-1], **first[-1])
        b = t.begin(other[0], *other[1:-1], tid=200, **other[-1])
        t.finish(b)
        t.finish(a)
    return step


def wait(seconds):
    return ("wait", seconds)


LOGIN, USER, PUBLIC, OUT = ("login", 1), ("state", 1, True), ("state", 1), ("logout", 1)
INIT = ("do", "C_SignInit", 1, {"hKey": KEY})
REFUSED_INIT = ("do", "C_SignInit", 1, {"hKey": KEY, "rv": NOT_LOGGED_IN})
SIGN = ("do", "C_Sign", 1)
REFUSED = ("do", "C_Sign", 1, {"rv": NOT_LOGGED_IN})
QUERY = ("do", "C_Sign", 1, {"pSignature": None, "pulSignatureLen": (0, 64)})
GONE = ("do", "C_Sign", 1, {"rv": NO_OPERATION})
TRUE, FALSE, NONE = (("always", 1, KEY, v) for v in (True, False, None))
CONTEXT = ("context", 1)


def unreadable(object):
    """A private key is found, or nothing is known of it; and then it is refused."""
    def step(t):
        t.call("attributes", 1, KEY, (0, 8, 8, 3))
        t.call("attributes", 1, object, (0x102, None, None, None), rv=NOT_LOGGED_IN)
    return step


UNREADABLE, UNREADABLE_OTHER = unreadable(KEY), unreadable(KEY + 1)


LOGIN_06 = {
    "init": (told(LOGIN, USER, REFUSED_INIT), mod("LOGIN-06", W)),
    "init, and it still says so": (told(LOGIN, USER, REFUSED_INIT, USER), mod("LOGIN-06")),
    "init, and then it says otherwise": (told(LOGIN, USER, REFUSED_INIT, PUBLIC), mod("LOGIN-06", W)),
    "init of a key that needs no login for each use": (told(LOGIN, USER, FALSE, REFUSED_INIT), mod("LOGIN-06")),
    "init, logged out": (told(LOGIN, USER, OUT, REFUSED_INIT), []),
    "init, the state was asked long ago": (told(LOGIN, USER, wait(6), REFUSED_INIT), []),
    "init, logged in without a question": (told(LOGIN, REFUSED_INIT), mod("LOGIN-06", W)),
    "init, nobody logged in": (told(USER, REFUSED_INIT), []),
    "init, pulled": (told(LOGIN, USER, pulled, REFUSED_INIT), []),
    "init, a logout overlaps": (
        told(LOGIN, USER, amid(("any", "C_SignInit", 1, dict(rv=NOT_LOGGED_IN)), ("logout", 2, {}))), []),
    "use, nothing known": (told(LOGIN, USER, INIT, REFUSED), mod("LOGIN-06", I)),
    "use, it worked before": (told(LOGIN, USER, INIT, SIGN, INIT, REFUSED), mod("LOGIN-06")),
    "use, only the length was asked before": (told(LOGIN, USER, INIT, QUERY, REFUSED), mod("LOGIN-06", I)),
    "a key cannot be read": (told(LOGIN, USER, UNREADABLE), mod("LOGIN-06")),
    "a key cannot be read, what it is is not known": (told(LOGIN, USER, UNREADABLE_OTHER), []),
    "use, each time with a login": (told(LOGIN, USER, TRUE, INIT, REFUSED), []),
}

LOGIN_08 = {
    "right": (told(LOGIN, ("login", 2, {"rv": ALREADY})), []),
    "OK": (told(LOGIN, ("login", 2)), mod("LOGIN-08", W)),
    "OK after a logout": (told(LOGIN, OUT, ("login", 2)), []),
    "OK after the last close": (
        told(LOGIN, ("call", "close_session", 1), ("open", 3), ("login", 3), sessions=(1,)), []),
    "general error": (told(LOGIN, ("login", 2, {"rv": GENERAL_ERROR})), mod("LOGIN-08")),
    "a wrong PIN on a new session": (
        told(LOGIN, ("open", 3), ("login", 3, {"rv": PIN_INCORRECT, "pin": 8})), mod("LOGIN-08", W)),
    "a wrong PIN on a new session, pulled unseen perhaps": (
        told(("call", "slot_info", {"flags": 1 | REMOVABLE}), LOGIN, ("open", 3),
             ("login", 3, {"rv": PIN_INCORRECT, "pin": 8})), []),
    "the same PIN is wrong": (told(LOGIN, ("login", 2, {"rv": PIN_INCORRECT})), mod("LOGIN-08")),
    "another PIN is wrong": (told(LOGIN, ("login", 2, {"rv": PIN_INCORRECT, "pin": 8})), mod("LOGIN-08", W)),
    "a dead session": (told(LOGIN, ("login", 77, {"rv": SESSION_HANDLE_INVALID})), []),
    "session 0": (told(LOGIN, ("login", 0, {"rv": GENERAL_ERROR})), []),
    "logged out by it": (told(LOGIN, ("login", 2, {"rv": 0xA4}), PUBLIC), mod("LOGIN-08")),
    "for the SO, right": (told(LOGIN, ("so", 2, {"rv": ANOTHER})), app("PIN-03")),
    "for the SO, read-only sessions first": (told(LOGIN, ("so", 2, {"rv": READ_ONLY_EXISTS})), app("PIN-03")),
    "for the SO, OK": (told(LOGIN, ("so", 2)), mod("LOGIN-08") + app("PIN-03")),
    "overlapping": (told(amid(("login", 1, {}), ("login", 2, dict(rv=ALREADY)))), []),
    "overlapping, both OK": (told(amid(("login", 1, {}), ("login", 2, {}))), mod("LOGIN-08", W)),
    "overlapping a logout, both OK": (told(LOGIN, amid(("login", 1, {}), ("logout", 2, {}))), []),
    "no login required": (told(("token", {"flags": TOKEN_INITIALIZED}), LOGIN, ("login", 2)), []),
    "late": (lambda: late(("login", 1), ("login", 1)), mod("LOGIN-08", W)),
}


def late(*steps):
    """The trace begins after C_Initialize."""
    t = Logins()
    t.state(1, False)
    for name, *args in steps:
        getattr(t, name)(*args)
    return t


IDLE_OUT = ("logout", 1, {"rv": NOT_LOGGED_IN})
DEAD = ("state", 2, {"rv": SESSION_HANDLE_INVALID})
LOGIN_11 = {
    "right": (told(IDLE_OUT), []),
    "OK": (told(OUT), mod("LOGIN-11", W)),
    "OK, logged in": (told(LOGIN, OUT), []),
    "OK, twice": (told(LOGIN, OUT, OUT), mod("LOGIN-11", W)),
    "OK, while another logs in": (told(amid(("logout", 1, {}), ("login", 2, {}))), []),
    "OK twice at once": (told(LOGIN, amid(("logout", 1, {}), ("logout", 2, {}))), mod("LOGIN-11", W)),
    "OK and not logged in at once": (
        told(LOGIN, amid(("logout", 1, {}), ("logout", 2, dict(rv=NOT_LOGGED_IN)))), []),
    "OK, no login required": (told(("token", {"flags": TOKEN_INITIALIZED}), OUT), []),
    "general error": (told(("logout", 1, {"rv": GENERAL_ERROR})), mod("LOGIN-11")),
    "a dead session": (told(("logout", 1, {"rv": SESSION_HANDLE_INVALID})), []),
    "sessions die": (told(IDLE_OUT, DEAD), mod("LOGIN-11")),
    "sessions die, a second later": (told(IDLE_OUT, wait(2), DEAD), []),
    "sessions die, in a slot that is pulled": (
        told(("call", "slot_info", {"flags": 1 | REMOVABLE}), IDLE_OUT, DEAD), []),
    "sessions die, used meanwhile": (told(IDLE_OUT, ("state", 2), DEAD), []),
    "hidden login": (told(LOGIN, PUBLIC, OUT), []),
}

LOST = (LOGIN, USER, PUBLIC)  # a login that is seen and lost


def at_once(seconds, tid=200):
    def step(t):
        a = t.begin("login", 1)
        b = t.begin("login", 2, tid=tid, rv=ALREADY)
        t.wait(seconds)
        t.finish(b)
        t.finish(a)
    return step


def asked_meanwhile(tid, seconds=2):
    def step(t):
        a = t.begin("login", 1)
        t.wait(seconds)
        t.call("session_info", 2, state=0, tid=tid)
        t.finish(a)
    return step


def tokens(*serials, tid=100, pause=0.5):
    """A login on each of the tokens."""
    t = Logins()
    t.initialize()
    for i, serial in enumerate(serials):
        t.call("token_info", slot=10 + i, label=f"Token {i}", serial=serial)
        t.open(1 + i, slot=10 + i)
    for i in range(len(serials)):
        t.wait(pause)
        t.login(1 + i, tid=tid)
    return t


LOGIN_12 = {
    "three losses": (told(*LOST * 3), mod("LOGIN-12", W)),
    "two losses": (told(*LOST * 2), []),
    "three losses in two minutes": (told(*LOST, wait(60), *LOST, wait(60), *LOST), []),
    "never seen: NSS-LOGIN-09": (told(*(LOGIN, PUBLIC) * 4), []),
    "three losses, and a last close before": (
        told(LOGIN, USER, ("call", "close_session", 1), ("open", 1), ("login", 1, {"rv": PIN_INCORRECT, "pin": 3}),
             PUBLIC, *LOST * 2, sessions=(1,)), []),
    "nothing asks for it": (told(LOGIN, *[("login", 1, {"rv": ALREADY})] * 2), app("LOGIN-12")),
    "a logout before each": (told(*(LOGIN, USER, OUT) * 4), []),
    "a wrong PIN before": (told(*[("login", 1, {"rv": PIN_INCORRECT, "pin": 3})] * 4, LOGIN), []),
    "a change of the PIN between": (
        told(LOGIN, ("login", 1, {"rv": ALREADY}), ("set_pin", 1), ("login", 1, {"rv": ALREADY})), []),
    "two threads": (told(at_once(2)), app("LOGIN-12")),
    "two threads, in a moment": (told(at_once(0.2)), []),
    "others wait": (told(asked_meanwhile(200)), app("LOGIN-12", I)),
    "others wait for a moment": (told(asked_meanwhile(200, 0.2)), []),
    "gone": (told(*[("login", 9, {"rv": SESSION_HANDLE_INVALID})] * 3), app("LOGIN-12")),
    "gone twice": (told(*[("login", 9, {"rv": SESSION_HANDLE_INVALID})] * 2), []),
    "three tokens": (lambda: tokens("A", "B", "C"), app("LOGIN-12", I)),
    "three tokens, in a minute": (lambda: tokens("A", "B", "C", pause=20), []),
    "two tokens": (lambda: tokens("A", "B"), []),
    "one card, two PINs": (lambda: tokens("A", "A"), app("LOGIN-12", I)),
    "two tokens that have no number": (lambda: tokens("0000", "0000"), []),
}


def first_pin(rv=OK, *more, flags=SERIAL, sessions=(1,)):
    def story():
        t = Logins()
        t.initialize()
        t.token(flags=LOGIN_REQUIRED | TOKEN_INITIALIZED)
        for session in sessions:
            t.open(session, flags=flags)
        t.open(9, flags=SERIAL | RW)
        t.so(9, rv=rv)
        for name, *args in more:
            getattr(t, name)(*args)
        return t
    return story


def closing_meanwhile():
    """The read-only session is being closed by another thread."""
    t = Logins()
    t.initialize()
    t.open(1)
    t.open(9, flags=SERIAL | RW)
    so = t.begin("login", 9, user=0)
    close = t.begin("close_session", 1, tid=200)
    t.finish(so)
    t.finish(close)
    return t


LOGIN_13 = {
    "refused": (first_pin(READ_ONLY_EXISTS), app("LOGIN-13")),
    "allowed": (first_pin(), mod("LOGIN-13", I)),
    "no read-only session": (first_pin(flags=SERIAL | RW), []),
    "a read-only session is closed meanwhile": (closing_meanwhile, []),
    "a read-only session afterwards": (
        first_pin(OK, ("open", 10), sessions=()), mod("LOGIN-13", W)),
    "a read-only session after the logout": (first_pin(OK, ("logout", 9), ("open", 10), sessions=()), []),
}

WRONG = ("context", 1, {"pin": 3, "rv": PIN_INCORRECT})
LOGIN_14 = {
    "right": (told(LOGIN, INIT, TRUE, CONTEXT, SIGN), []),
    "no operation": (told(LOGIN, ("context", 1, {"rv": NO_OPERATION})), app("LOGIN-14")),
    "no operation, OK": (told(LOGIN, CONTEXT), mod("LOGIN-14") + app("LOGIN-14")),
    "after the operation": (told(LOGIN, INIT, TRUE, CONTEXT, SIGN, CONTEXT), mod("LOGIN-14") + app("LOGIN-14")),
    "after the length": (told(LOGIN, INIT, TRUE, QUERY, CONTEXT, SIGN), []),
    "another session": (told(LOGIN, INIT, TRUE, ("context", 2, {"rv": NO_OPERATION})), app("LOGIN-14")),
    "already": (told(LOGIN, INIT, TRUE, ("context", 1, {"rv": ALREADY})), mod("LOGIN-14")),
    "type invalid": (told(LOGIN, INIT, TRUE, ("context", 1, {"rv": TYPE_INVALID})), mod("LOGIN-14")),
    "not for that key": (told(LOGIN, INIT, FALSE, ("context", 1, {"rv": NO_OPERATION})), []),
    "key not known": (told(LOGIN, INIT, ("context", 1, {"rv": NO_OPERATION})), []),
    "wrong PIN, refused": (told(LOGIN, INIT, TRUE, WRONG, REFUSED), []),
    "wrong PIN, then right": (told(LOGIN, INIT, TRUE, WRONG, CONTEXT, SIGN), []),
    "wrong PIN ends it": (told(LOGIN, INIT, TRUE, WRONG, GONE), mod("LOGIN-14")),
    "begun before the trace": (lambda: late(("context", 1)), []),
}

LOGIN_15 = {
    "refused": (told(LOGIN, INIT, TRUE, CONTEXT, REFUSED), mod("LOGIN-15")),
    "gone": (told(LOGIN, INIT, TRUE, CONTEXT, GONE), mod("LOGIN-15")),
    "refused half a minute later": (told(LOGIN, INIT, TRUE, CONTEXT, wait(31), REFUSED), []),
    "refused after a logout": (told(LOGIN, INIT, TRUE, CONTEXT, ("logout", 2), REFUSED), []),
    "refused, pulled": (told(LOGIN, INIT, TRUE, CONTEXT, pulled, REFUSED), []),
    "refused the second time": (told(LOGIN, INIT, TRUE, CONTEXT, SIGN, REFUSED), []),
    "a logout overlaps": (
        told(LOGIN, INIT, TRUE, CONTEXT, amid(("any", "C_Sign", 1, dict(rv=NOT_LOGGED_IN)), ("logout", 2, {}))), []),
    "logs out": (told(LOGIN, USER, INIT, TRUE, CONTEXT, PUBLIC), mod("LOGIN-15")),
    "logs out, after a logout": (told(LOGIN, USER, INIT, TRUE, CONTEXT, ("logout", 2), PUBLIC), []),
    "logs in": (told(PUBLIC, INIT, TRUE, CONTEXT, USER), mod("LOGIN-15")),
    "the PIN is locked": (told(LOGIN, USER, INIT, TRUE, ("context", 1, {"rv": 0xA4}), PUBLIC), []),
}

LOGIN_16 = {
    "not private": (told(("call", "attributes", 1, KEY, (0x202, 1, 1, 1), (2, 1, 1, 0))), mod("LOGIN-16", W)),
    "private": (told(("call", "attributes", 1, KEY, (0x202, 1, 1, 1), (2, 1, 1, 1))), []),
    "not enforced": (told(LOGIN, INIT, TRUE, SIGN), mod("LOGIN-16", W)),
    "not enforced, the length": (told(LOGIN, INIT, TRUE, QUERY), []),
    "not enforced, a login failed": (told(LOGIN, INIT, TRUE, WRONG, SIGN), []),
    "hidden": (told(LOGIN, INIT, FALSE, REFUSED), mod("LOGIN-16")),
    "missing": (told(LOGIN, INIT, NONE, REFUSED), mod("LOGIN-16", W)),
    "hidden, logged out": (told(LOGIN, OUT, INIT, FALSE, REFUSED), []),
    "five times": (told(LOGIN, TRUE, *(INIT, CONTEXT, SIGN) * 5), mod("LOGIN-16", I)),
    "four times": (told(LOGIN, TRUE, *(INIT, CONTEXT, SIGN) * 4), []),
}

SET = ("set_pin", 1)
PIN_01 = {
    "right": (told(SET), []),
    "not supported": (told(("set_pin", 1, {"rv": 0x54})), []),
    "general error": (told(("set_pin", 1, {"rv": GENERAL_ERROR})), mod("PIN-01")),
    "device error": (told(("set_pin", 1, {"rv": DEVICE_ERROR})), mod("PIN-01", W)),
    "not logged in": (told(("set_pin", 1, {"rv": NOT_LOGGED_IN})), mod("PIN-01", W)),
    "not logged in, and logged in": (told(LOGIN, ("set_pin", 1, {"rv": NOT_LOGGED_IN})), mod("PIN-01")),
    "good length refused": (told(("set_pin", 1, {"rv": PIN_LEN_RANGE})), mod("PIN-01")),
    "bad length refused": (told(("set_pin", 1, {"rv": PIN_LEN_RANGE, "length": 2})), []),
    "bad length accepted": (told(("set_pin", 1, {"length": 2})), mod("PIN-01", W)),
    "no PIN": (told(("set_pin", 1, {"rv": ARGUMENTS_BAD, "old": ""})), app("TOK-06", E)),
    "read-only": (told(("open", 3), ("set_pin", 3)), mod("PIN-01")),
    "read-only, refused": (told(("open", 3), ("set_pin", 3, {"rv": 0xB5})), []),
}

NEW_WRONG, OLD_RIGHT = ("login", 1, {"pin": 8, "rv": PIN_INCORRECT}), ("login", 1, {"pin": 7})
PIN_02 = {
    "right": (told(SET, ("login", 1, {"pin": 8})), []),
    "new one wrong": (told(SET, NEW_WRONG), mod("PIN-02")),
    "new one wrong, C_SetPIN": (told(SET, ("set_pin", 1, {"old": 8, "new": 9, "rv": PIN_INCORRECT})), mod("PIN-02")),
    "old one right": (told(SET, OLD_RIGHT), mod("PIN-02")),
    "old one wrong": (told(SET, ("login", 1, {"pin": 7, "rv": PIN_INCORRECT})), []),
    "the same again": (told(("set_pin", 1, {"new": 7}), OLD_RIGHT), []),
    "set back": (told(SET, ("set_pin", 1, {"old": 8, "new": 7}), OLD_RIGHT), []),
    "tags are not there": (told(("set_pin", 1, {"old": None, "new": None}), ("login", 1, {"pin": None})), []),
    "the SO's": (told(("so", 1), SET, OUT, OLD_RIGHT), app("PIN-03")),
    "overlapping": (told(amid(("set_pin", 1, {}), ("login", 2, dict(pin=7)))), []),
    "two changes overlap": (told(amid(("set_pin", 1, {}), ("set_pin", 2, dict(new=9))), NEW_WRONG), []),
    "a new token": (
        told(SET, ("call", "close_all"), ("call", "init_token"), ("open", 3), ("login", 3, {"pin": 7})), []),
    "C_InitPIN": (told(("so", 1), ("call", "init_pin", 1), OUT, NEW_WRONG), mod("PIN-02") + app("PIN-03")),
}

PIN_03 = {
    "the user has no PIN": (first_pin(flags=SERIAL | RW), []),
    "the user has one": (told(("so", 1)), app("PIN-03")),
    "it is locked": (told(("token", {"flags": USUAL | PIN_LOCKED}), ("so", 1)), []),
    "C_InitPIN, public": (told(PUBLIC, ("call", "init_pin", 1)), mod("PIN-03", W)),
    "C_InitPIN, user": (told(LOGIN, ("call", "init_pin", 1)), mod("PIN-03", W)),
    "C_InitPIN, while the SO logs out": (
        told(("token", {"flags": LOGIN_REQUIRED | TOKEN_INITIALIZED}), ("so", 1),
             amid(("init_pin", 1, {}), ("logout", 2, {}))), []),
    "C_InitToken, a session open": (told(("call", "init_token")), mod("PIN-03", W)),
    "C_InitToken, none open": (told(("call", "close_all"), ("call", "init_token")), []),
    "C_InitToken, the last one closing": (
        told(amid(("init_token", {}), ("close_session", 1, {})), sessions=(1,)), []),
}


def label(text, **more):
    return told(("token", {"label": text, **more}), sessions=(1,))


TOK_02 = {
    "colon": (label("lab:token"), mod("TOK-02", W)),
    "quote": (label('the "token"'), mod("TOK-02", W)),
    "URI": (label("pkcs11:token"), mod("TOK-02", W)),
    "blank before": (label(" token"), mod("TOK-02", W)),
    "TAB behind": (label("token\t"), mod("TOK-02", W)),
    "NBSP behind": (label("token\u00a0"), mod("TOK-02", W)),
    "à behind": (label("voilà"), []),
    "blank inside": (label("my token"), []),
    "not initialised": (label("lab:token", flags=LOGIN_REQUIRED), []),
}

OPEN_TOKEN = ("token", {"flags": TOKEN_INITIALIZED | PIN_INITIALIZED})


def search(*handles):
    def step(t):
        t.do("C_FindObjectsInit", 1, pTemplate=[(0, 3)], ulCount=1)
        t.do("C_FindObjects", 1, phObject=handles, ulMaxObjectCount=10, pulObjectCount=len(handles))
        t.do("C_FindObjectsFinal", 1)
    return step


REFUSED_OBJECT = ("do", "C_CreateObject", 1, {"rv": NOT_LOGGED_IN})
TOK_04 = {
    "refused": (told(OPEN_TOKEN, REFUSED_INIT), mod("TOK-04")),
    "refused, login required": (told(REFUSED_INIT), []),
    "a certificate refused to the user": (told(OPEN_TOKEN, LOGIN, REFUSED_OBJECT), []),
    "a certificate refused to nobody": (told(OPEN_TOKEN, REFUSED_OBJECT), mod("TOK-04")),
    "refused, the flags are older than the PIN": (told(OPEN_TOKEN, SET, REFUSED_INIT), []),
    "C_Logout": (told(OPEN_TOKEN, IDLE_OUT), []),
    "more after the login": (told(OPEN_TOKEN, search(5), LOGIN, USER, search(5, 6)), mod("TOK-04")),
    "as many after the login": (told(OPEN_TOKEN, search(5), LOGIN, USER, search(5)), []),
    "more, made meanwhile": (
        told(OPEN_TOKEN, search(5), LOGIN, ("do", "C_CreateObject", 1, {"phObject": 6}), USER, search(5, 6)), []),
    "more without a login": (told(OPEN_TOKEN, search(5), search(5, 6)), []),
    "more, login required": (told(search(5), LOGIN, USER, search(5, 6)), []),
}

BLANK = ("token", {"flags": LOGIN_REQUIRED | TOKEN_INITIALIZED})
LOW, LOCKED = ("token", {"flags": USUAL | COUNT_LOW}), ("token", {"flags": USUAL | PIN_LOCKED})
FIRST = (BLANK, ("so", 1), ("call", "init_pin", 1))
TOK_05 = {
    "C_InitPIN": (told(*FIRST, ("token",)), []),
    "C_InitPIN, flag clear": (told(*FIRST, BLANK), mod("TOK-05", W)),
    "C_InitPIN, another thread's answer": (told(*FIRST, ("call", "token_info", {**BLANK[1], "tid": 200})), []),
    "C_InitToken": (told(("call", "close_all"), ("call", "init_token"), BLANK), []),
    "C_InitToken, a PIN": (told(("call", "close_all"), ("call", "init_token"), ("token",)), mod("TOK-05", W)),
    "C_InitToken, not initialised": (
        told(("call", "close_all"), ("call", "init_token"), ("token", {"flags": LOGIN_REQUIRED})), mod("TOK-05", W)),
    "a wrong PIN": (told(("login", 1, {"rv": PIN_INCORRECT}), LOW), []),
    "the right PIN": (told(LOW, LOGIN, ("token",)), []),
    "the right PIN, count low": (told(LOW, LOGIN, LOW), mod("TOK-05", W)),
    "the right PIN, count low later": (told(LOGIN, ("token",), LOW), []),
    "locked": (told(LOCKED, LOGIN), mod("TOK-05", W)),
    "locked, refused": (told(LOCKED, ("login", 1, {"rv": 0xA4})), []),
}

PINPAD = ("token", {"flags": USUAL | PAD})
NULL = {"pin": "", "length": 0}


def slow_empty(times, seconds=4):
    def step(t):
        for _ in range(times):
            a = t.begin("login", 1, pin=0, length=0, rv=PIN_INCORRECT)
            t.wait(seconds)
            t.finish(a)
    return step


TOK_06 = {
    "refused": (told(PINPAD, ("login", 1, {**NULL, "rv": ARGUMENTS_BAD})), mod("TOK-06")),
    "refused: length": (told(PINPAD, ("login", 1, {**NULL, "rv": PIN_LEN_RANGE})), mod("TOK-06")),
    "refused: cancelled": (told(PINPAD, ("login", 1, {**NULL, "rv": 0x50})), []),
    "accepted": (told(PINPAD, ("login", 1, NULL)), []),
    "no pad": (told(("login", 1, {**NULL, "rv": ARGUMENTS_BAD})), app("TOK-06", E)),
    "no pad, no login": (told(("token", {"flags": TOKEN_INITIALIZED}), ("login", 1, NULL)), []),
    "a PIN": (told(PINPAD, LOGIN), app("TOK-06")),
    "a PIN, ActivCard": (told(("token", {"flags": USUAL | PAD, "maker": "ActivCard SA"}), LOGIN), []),
    "empty": (told(("login", 1, {"pin": 0, "length": 0, "rv": PIN_INCORRECT})), []),
    "empty, slow": (told(slow_empty(3)), mod("TOK-06", W)),
    "empty, slow twice": (told(slow_empty(2)), []),
    "flags not known": (lambda: late(("login", 1)), []),
}

READ_ONLY = ("token", {"flags": USUAL | PROTECTED})
TOKEN_OBJECT = {"phObject": 9, "pTemplate": [(1, 1)], "ulCount": 1}
CREATE = ("do", "C_CreateObject", 1, TOKEN_OBJECT)
NO_WRITE = ("open", 9, {"flags": SERIAL | RW, "rv": WRITE_PROTECTED})
TOK_07 = {
    "created": (told(READ_ONLY, CREATE), mod("TOK-07", W)),
    "generated": (told(READ_ONLY, ("do", "C_GenerateKey", 1, {"phKey": 9, "pTemplate": [(1, 1)], "ulCount": 1})),
                  mod("TOK-07", W)),
    "copied": (told(READ_ONLY, ("do", "C_CopyObject", 1, {"phNewObject": 9, "pTemplate": [(1, 1)], "ulCount": 1})),
               mod("TOK-07", W)),
    "unwrapped": (told(READ_ONLY, ("do", "C_UnwrapKey", 1, {"phKey": 9, "pTemplate": [(1, 1)], "ulAttributeCount": 1})),
                  mod("TOK-07", W)),
    "the PIN is changed": (told(READ_ONLY, SET), mod("TOK-07", W)),
    "created after a login": (told(READ_ONLY, LOGIN, CREATE), []),
    "created after a login, flags read then": (told(LOGIN, READ_ONLY, CREATE), mod("TOK-07", W)),
    "a session object": (told(READ_ONLY, ("do", "C_CreateObject", 1, {"phObject": 9})), []),
    "refused": (told(READ_ONLY, ("do", "C_CreateObject", 1, {**TOKEN_OBJECT, "rv": WRITE_PROTECTED})), []),
    "refused, not protected": (told(("do", "C_CreateObject", 1, {**TOKEN_OBJECT, "rv": WRITE_PROTECTED})),
                               mod("TOK-07", W)),
    "no session": (told(NO_WRITE), mod("TOK-07", W)),
    "no session, protected": (told(READ_ONLY, NO_WRITE), []),
    "another session": (told(("state", 1, False, {"flags": SERIAL})), mod("TOK-07", W)),
}

FULL = ("open", 9, {"rv": SESSION_COUNT})
FULL_RW = ("open", 9, {"rv": SESSION_COUNT, "flags": SERIAL | RW})
TOK_08 = {
    "early": (told(("token", {"most": 50}), FULL), mod("TOK-08", W)),
    "early, no limit": (told(FULL), mod("TOK-08", W)),
    "ten are open, no limit": (told(FULL, sessions=range(20, 30)), []),
    "early, others have some": (told(("token", {"most": 50, "count": 49}), FULL), mod("TOK-08", I)),
    "at the limit": (told(("token", {"most": 2}), FULL), mod("TOK-08", I)),  # the limit is small
    "while another opens": (told(amid(("open_session", 8, {}), ("open_session", 9, dict(rv=SESSION_COUNT)))), []),
    "while another closes": (
        told(amid(("close_session", 2, {}), ("open_session", 9, dict(rv=SESSION_COUNT)))), []),
    "read/write, at that limit": (told(("token", {"most": 50, "most_rw": 2}), FULL_RW), []),
    "more than the limit": (told(("token", {"most": 30}), ("open", 9), sessions=range(20, 50)), mod("TOK-08", W)),
    "more than the limit, one closing": (
        told(("token", {"most": 30}), amid(("close_session", 20, {}), ("open_session", 9, {})), sessions=range(20, 50)),
        []),
    "the only one": (
        told(("token", {"most": 1}), ("call", "close_session", 1), FULL_RW, sessions=(1,)), mod("TOK-08", W)),
    "the only one, no card": (
        told(("token", {"most": 1}), ("call", "close_session", 1), ("open", 9, {"rv": 0x30, "flags": SERIAL | RW}),
             sessions=(1,)), []),
    "too few": (told(("token", {"count": 1})), mod("TOK-08", W)),
    "enough": (told(("token", {"count": 2})), []),
    "not told": (told(("token", {"count": None})), []),
    "too few, one closing": (told(amid(("close_session", 1, {}), ("token_info", dict(count=1)))), []),
    "small": (told(("token", {"most": 12})), mod("TOK-08", I)),
}

CASES = {f"{rule}: {name}": case for rule, cases in
         {"login 06": LOGIN_06, "login 08": LOGIN_08, "login 11": LOGIN_11, "login 12": LOGIN_12, "login 13": LOGIN_13,
          "login 14": LOGIN_14, "login 15": LOGIN_15, "login 16": LOGIN_16, "pin 01": PIN_01, "pin 02": PIN_02,
          "pin 03": PIN_03, "tok 02": TOK_02, "tok 04": TOK_04, "tok 05": TOK_05, "tok 06": TOK_06, "tok 07": TOK_07,
          "tok 08": TOK_08}.items() for name, case in cases.items()}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    story, expected = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    rule = "NSS-" + case.split(":")[0].upper().replace(" ", "-")
    # What is said of the same calls by other rules is theirs to test, but no error may come with it.
    result = checked(build, run, *ONLY, path, status=None)
    mine = [f for f in found(result) if f[0] == rule]
    assert mine == sorted(e for e in expected if e[0] == rule), [f["sentence"] for f in result["findings"]]
    others = [f for f in found(result) if f[0] != rule and f[1] == E]
    assert others == [e for e in expected if e[0] != rule and e[1] == E]
    for f in result["findings"]:
        numbers = [e["call"] for e in f["evidence"]]
        assert numbers and numbers == sorted(numbers)
