"""The rules of the login state told call by call: what they must find, and what explains it and must not be accused."""
import json
import re

import pytest

from check_story import (ALREADY, LOGIN_REQUIRED, OK, REMOVABLE, RW, SERIAL, SESSION_HANDLE_INVALID, TOKEN_INITIALIZED,
                         TOKEN_PRESENT)
from fault_matrix import E, I, W
from p11t_make import n
from story_login import Logins

NOT_LOGGED_IN, PIN_LOCKED, NOT_INITIALIZED, OBJECT_INVALID = 0x101, 0xA4, 0x91, 0x82
OTHER = 9  # another slot
RULES = ("LOGIN-01", "LOGIN-02", "LOGIN-04", "LOGIN-05", "LOGIN-09", "LOGIN-17", "SESS-07", "SESS-08", "PIN-04")


def story(*steps, sessions=(1, 2), late=False, removable=False, serial="0001", **head):
    """Each step is (method, arguments ..., {keywords}), or a function of the story."""
    t = Logins(**head)
    if not late:
        t.initialize()
        t.call("slot_info", flags=TOKEN_PRESENT | (REMOVABLE if removable else 0))
        t.call("token_info", serial=serial)
        for session in sessions:
            t.open(session)
    for step in steps:
        if callable(step):
            step(t)
        else:
            name, *arguments = step
            more = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
            getattr(t, name)(*arguments, **more)
    return t


def told(*steps, **how):
    return lambda: story(*steps, **how)


def user(session, **more):
    return "state", session, {"user": True, **more}


def public(session, **more):
    return "state", session, more


def close(session, **more):
    return "call", "close_session", session, more


def amid(outer, *inner):
    """The steps while the call `outer` is under way."""
    def step(t):
        name, session, more = outer
        begun = t.begin(name, session, tid=300, **more)
        for what in inner:
            story_step(t, what)
        t.finish(begun)
    return step


def story_step(t, what):
    name, *arguments = what
    more = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    getattr(t, name)(*arguments, **more)


def sleep(t):
    t.record(7, n(3600 * 10 ** 9), t.next(), time=t.now)


def pulled(t):
    t.call("slot_info", flags=REMOVABLE)
    t.wait(0.1)


def never_returns(t):
    t.begin("login", 1, tid=300)


IN, OUT, OPEN3 = ("login", 1), ("logout", 1), ("open", 3)
ALL = ("call", "close_all")
SET = ("set_pin", 1)

CASES = {
    "01": {
        # the session that logged in, another one, and again the first
        "not propagated": (told(IN, user(1), public(2), user(1)), [("LOGIN-01", E)]),
        "not propagated, the first not asked again": (told(IN, user(1), public(2)), [("LOGIN-01", W)]),
        "not propagated, the first asked last": (told(IN, public(2), user(1)), [("LOGIN-01", E)]),
        "to a session that is opened afterwards": (told(IN, user(1), OPEN3, public(3), user(1)), [("LOGIN-01", E)]),
        "to such a session, and the card may have been put in again": (
            told(IN, user(1), OPEN3, public(3), removable=True), []),
        "to such a session, and the card was not put in again": (
            told(IN, user(1), OPEN3, public(3), user(1), removable=True), [("LOGIN-01", E)]),
        "a session of before is gone": (
            told(IN, user(1), OPEN3, public(3), public(1, rv=SESSION_HANDLE_INVALID), removable=True), []),
        "still logged in": (told(IN, user(1), OUT, user(2)), [("LOGIN-01", E)]),
        "still logged in, C_Login says": (told(IN, user(1), OUT, ("login", 1, dict(rv=ALREADY)), user(1)),
                                          [("LOGIN-01", E)]),
        "logged in again": (told(IN, OUT, ("login", 2), user(1)), []),
        "asked while it logs out": (told(IN, user(1), amid(("logout", 1, {}), user(2), public(1), public(2))), []),
        "back and forth while it logs out": (
            told(IN, user(1), amid(("logout", 1, {}), public(2), user(1))), [("LOGIN-01", E)]),
        "a login that never returns": (told(never_returns, public(2), user(1)), []),
        "a login that never returns, lost again": (told(never_returns, public(2), user(1), public(2)),
                                                   [("LOGIN-04", W)]),
    },
    "02": {
        "late, once": (told(user(1), public(2), late=True), [("LOGIN-02", W)]),
        "late, and back": (told(user(1), public(2), user(1), late=True), [("LOGIN-02", E)]),
        "late, the other way": (told(public(1), user(2), public(1), late=True), [("LOGIN-02", E)]),
        "late, logged out between": (told(user(1), OUT, public(2), late=True), []),
        "late, one session": (told(user(1), public(1), late=True), [("LOGIN-04", W)]),
        "late, records lost between": (told(user(1), ("lose",), public(2), late=True), []),
        "two see it, one does not": (told(IN, user(2), public(1), user(2)), [("LOGIN-02", E)]),
        "pulled between": (told(user(1), pulled, public(2), late=True), []),
    },
    "04": {
        "lost": (told(IN, user(1), ("wait", 1), public(1)), [("LOGIN-04", W)]),
        "lost, idle": (told(IN, user(1), ("wait", 100), public(1)), [("LOGIN-04", W)]),
        "by a question": (told(IN, user(1), ("token",), public(1)), [("LOGIN-04", E)]),
        "by a question, idle": (told(IN, user(1), ("wait", 100), ("token",), public(1)), [("LOGIN-04", W)]),
        "C_Logout says": (told(IN, user(1), ("logout", 1, dict(rv=NOT_LOGGED_IN))), [("LOGIN-04", W)]),
        "pulled": (told(IN, user(1), pulled, public(1)), []),
        "finalised": (told(IN, user(1), ("call", "finalize"), ("initialize",), OPEN3, public(3)), []),
        "the token made anew": (told(IN, user(1), ALL, ("call", "init_token"), OPEN3, public(3)), []),
        "a PIN locked at a key": (told(IN, user(1), ("context", 1, dict(rv=PIN_LOCKED)), public(1)), []),
        "late": (told(IN, public(1), late=True), []),
        "after a sleep": (told(IN, user(1), sleep, ("wait", 20), public(1)), []),
        "half a minute after a sleep": (told(IN, user(1), sleep, ("wait", 31), public(1)), [("LOGIN-04", W)]),
        "in a fork's child": (told(IN, user(1), public(1), late=True, parent=b"\x22" * 16), []),
        "records lost": (told(IN, user(1), ("lose",), public(1)), []),
    },
    "05": {
        "from the start": (told(user(1)), [("LOGIN-05", E)]),
        "after a public report": (told(public(1), user(1)), [("LOGIN-05", E)]),
        "C_Login says": (told(("login", 1, dict(rv=ALREADY)), user(1)), [("LOGIN-05", E)]),
        "C_Login says, and nobody is asked": (told(("login", 1, dict(rv=ALREADY))), [("LOGIN-05", W)]),
        "C_Login says, and C_GetSessionInfo does not": (
            told(("login", 1, dict(rv=ALREADY)), public(1)), [("LOGIN-09", E)]),
        "no login required": (told(("token", {"flags": TOKEN_INITIALIZED}), user(1)), []),
        "late": (told(user(1), late=True), []),
        "while it logs in": (told(amid(("login", 1, {}), user(2))), []),
        "while it logs in, and not after": (told(amid(("login", 1, {}), user(2), public(2))), [("LOGIN-04", W)]),
    },
    "17": {
        "login": (told(("open", 5, dict(slot=OTHER)), public(5, slot=OTHER), IN, user(5, slot=OTHER)), [("LOGIN-17", W)]),
        "login, one card": (
            told(("token", dict(slot=OTHER)), ("open", 5, dict(slot=OTHER)), public(5, slot=OTHER), IN,
                 user(5, slot=OTHER)), [("LOGIN-17", I)]),
        "logout": (told(("open", 5, dict(slot=OTHER)), ("login", 5), user(5, slot=OTHER), IN, OUT,
                        public(5, slot=OTHER)), [("LOGIN-17", W)]),
        "own login": (told(("open", 5, dict(slot=OTHER)), public(5, slot=OTHER), IN, ("login", 5), user(5, slot=OTHER)),
                      []),
        "never asked before": (told(("open", 5, dict(slot=OTHER)), IN, user(5, slot=OTHER)), [("LOGIN-05", E)]),
    },
    "sess 07": {
        "all closed": (told(IN, user(1), ALL, OPEN3, user(3)), [("SESS-07", E)]),
        "closed one by one": (told(IN, user(1), close(1), close(2), OPEN3, user(3)), [("SESS-07", E)]),
        "C_Login says": (told(IN, user(1), ALL, OPEN3, ("login", 3, dict(rv=ALREADY)), user(3)), [("SESS-07", E)]),
        "logged in again": (told(IN, user(1), ALL, OPEN3, ("login", 3), user(3)), []),
        "one is left": (told(IN, user(1), close(1), OPEN3, user(3)), []),
        "late": (told(IN, user(1), close(1), OPEN3, user(3), late=True), []),
        "one is opened beside the last close": (
            told(IN, user(1), amid(("close_session", 1, {}), OPEN3), user(3), sessions=(1,)), []),
    },
    "sess 08": {
        "logs out": (told(IN, user(1), close(2), public(1)), [("SESS-08", E)]),
        "logs out, never seen logged in": (told(IN, close(2), public(1)), [("LOGIN-09", E)]),
        "the last one": (told(IN, user(1), close(2), close(1), OPEN3, public(3)), []),
        "two at once": (told(IN, user(1), amid(("close_session", 1, {}), close(2)), OPEN3, public(3)), []),
        "pulled": (told(IN, user(1), close(2), pulled, public(1)), []),
    },
    "pin 04": {
        "logs out": (told(IN, user(1), SET, public(1)), [("PIN-04", W)]),
        "logs out, not asked before": (told(IN, SET, public(1)), [("PIN-04", W)]),
        "seen after the change": (told(IN, user(1), SET, user(1), public(1)), [("LOGIN-04", W)]),
        "ends the sessions": (told(IN, user(1), SET, public(1, rv=SESSION_HANDLE_INVALID)), [("PIN-04", W)]),
        "ends the sessions, pulled": (told(IN, user(1), SET, pulled, public(1, rv=SESSION_HANDLE_INVALID)), []),
        "logged out": (told(IN, user(1), SET, OUT, public(1)), []),
    },
}
ALL_CASES = {f"{group}: {name}": case for group, cases in CASES.items() for name, case in cases.items()}


def found(build, run, *traces):
    chosen = [word for rule in RULES for word in ("--rule", f"NSS-{rule}")]
    p = run(build / "p11trace", "check", "--json", *chosen, *traces, status=None)
    assert p.returncode in (0, 1), p.stderr
    return json.loads(p.stdout)["findings"]


def short(findings):
    return [(f["rule"].removeprefix("NSS-"), f["severity"]) for f in findings]


@pytest.mark.parametrize("case", ALL_CASES)
def test_story(case, build, run, tmp_path):
    told, expected = ALL_CASES[case]
    findings = found(build, run, told().write(tmp_path / "story.p11t"))
    assert short(findings) == expected, [f["sentence"] for f in findings]
    for f in findings:
        calls = [e["call"] for e in f["evidence"]]
        assert calls and 0 not in calls and calls == sorted(calls)


def other_process(serial="0001"):
    """Another process that logs in and out on a token meanwhile."""
    return story(("wait", 2), IN, OUT, sessions=(1,), serial=serial, pid=4712, program="other",
                 trace_id=bytes(range(16, 32)))


@pytest.mark.parametrize("steps, alone, beside", [
    ((IN, user(1), ("wait", 5), public(1)), ("LOGIN-04", W), ("LOGIN-04", I)),
    ((IN, user(1), ("wait", 5), ("token",), public(1)), ("LOGIN-04", E), ("LOGIN-04", W)),
    ((("wait", 5), user(1)), ("LOGIN-05", E), ("LOGIN-05", W)),
    ((IN, user(1), ("wait", 5), public(2), user(1)), ("LOGIN-01", E), ("LOGIN-01", W))],
    ids=lambda x: x[0] + x[1] if isinstance(x[0], str) else "")
def test_another_process_may_have_done_it(build, run, tmp_path, steps, alone, beside):
    mine = story(*steps).write(tmp_path / "mine.p11t")
    assert short(found(build, run, mine)) == [alone]
    # Another token tells nothing.
    assert short(found(build, run, mine, other_process("0002").write(tmp_path / "other.p11t"))) == [alone]
    (f,) = found(build, run, mine, other_process().write(tmp_path / "other.p11t"))
    assert short([f]) == [beside] and "another process" in f["hint"]
    assert f["evidence"][-1]["pid"] == 4712


def test_one_cause_is_one_finding(build, run, tmp_path):
    """A state that is told wrongly a hundred times."""
    steps = [IN, user(1)] + [public(2), user(1)] * 100
    (f,) = found(build, run, story(*steps).write(tmp_path / "story.p11t"))
    assert short([f]) == [("LOGIN-01", E)] and f["count"] >= 100


def test_hint_of_a_time_out(build, run, tmp_path):
    steps = (IN, user(1), ("wait", 100), public(1))
    (f,) = found(build, run, story(*steps).write(tmp_path / "story.p11t"))
    assert re.match("idle for 100 s", f["hint"])


def test_order_of_explanations(build, run, tmp_path):
    """What comes later in the order of causes is named with the finding."""
    steps = (IN, user(1), SET, close(2), public(1))
    (f,) = found(build, run, story(*steps).write(tmp_path / "story.p11t"))
    assert f["rule"] == "NSS-PIN-04" and {"NSS-SESS-08", "NSS-LOGIN-04"} <= set(f["also"])
