"""What must not be reported, and beside it what must: each guard as a pair of stories that differ in one thing."""
import json
import re

import pytest

from check_story import (ALREADY, ARGUMENTS_BAD, BUFFER_TOO_SMALL, CKA_CLASS, CKA_ID, CKA_LABEL, DEVICE_ERROR,
                         GENERAL_ERROR, LOGIN_REQUIRED, OK, PIN_INCORRECT, PIN_INITIALIZED, PIN_LEN_RANGE, PIN_LOCKED,
                         REMOVABLE, RW, SERIAL, SESSION_HANDLE_INVALID, SLOT, TOKEN_INITIALIZED, TYPE_INVALID,
                         TOKEN_PRESENT, UNAVAILABLE, Story)

CERTIFICATE, PRIVATE_KEY = 1, 3


def start(sessions=(1,), **options):
    t = Story(**options)
    t.initialize()
    t.call("slot_info")
    t.call("token_info")
    for session in sessions:
        t.open(session)
    return t


# --- NSS-LOGIN-09 -----------------------------------------------------------------------------------------------------

def login_public(between=lambda t: None, sessions=(1, 2), **options):
    t = start(sessions, **options)
    t.call("login", 1)
    between(t)
    t.call("session_info", 2, state=0)
    return t


def overlapping_logout():
    t = start((1, 2))
    t.call("login", 1)
    out = t.begin("logout", 1, tid=200)
    t.call("session_info", 2, state=0)
    t.finish(out)
    return t


def logout_around_login():
    """Both orders are possible: logged in or out afterwards."""
    t = start((1, 2))
    out = t.begin("logout", 2, tid=200)
    t.call("login", 1)
    t.finish(out)
    t.call("session_info", 1, state=0)
    return t


def question_before_answer():
    """The state was asked before the login had returned."""
    t = start((1, 2))
    login = t.begin("login", 1)
    info = t.begin("session_info", 2, state=0, tid=200)
    t.finish(login)
    t.finish(info)
    return t


def late_attach():
    t = Story()
    t.call("login", 1)
    t.call("session_info", 1, state=0)
    return t


def only_session_closed_and_reopened():
    t = start((1,))
    t.call("login", 1)
    t.call("close_session", 1)
    t.open(2)
    t.call("session_info", 2, state=0)
    return t


def child(own_initialize):
    t = Story(parent=b"\x22" * 16)
    if own_initialize:
        t.initialize()
    t.open(1)
    t.call("login", 1)
    t.call("session_info", 1, state=0)
    return t


def loop(cycles):
    t = start((1,))
    for _ in range(cycles):
        t.call("login", 1, rv=ALREADY)
        t.call("session_info", 1, state=0)
        t.wait(2)
    return t


E, W, I = "error", "warning", "info"
LOGIN_09 = [("NSS-LOGIN-09", E, "module")]

# --- NSS-LOGIN-10 -----------------------------------------------------------------------------------------------------


def refused(rv, then, first=dict(pin=None), second=dict(pin=8), wait=1.0, closed=False):
    t = start((1,))
    t.call("login", 1, rv=rv, **first)
    t.wait(wait)
    if then == "login":
        t.call("login", 1, **second)
    if then == "works":
        t.call("session_info", 1, state=0)
    if closed:
        t.call("close_session", 1)
    return t


def blocked(flags, rv):
    t = start((1,))
    t.call("token_info", flags=flags | LOGIN_REQUIRED | PIN_INITIALIZED | TOKEN_INITIALIZED)
    t.call("login", 1, rv=rv)
    return t


LOGIN_10 = [("NSS-LOGIN-10", E, "module")]
LOGIN_10_W = [("NSS-LOGIN-10", W, "module")]

# --- NSS-SLOT-01 ------------------------------------------------------------------------------------------------------


def slots(between=lambda t: None, present=False, room=2, announced=2, rv=BUFFER_TOO_SMALL, count=3, tid=100, listed=()):
    t = Story()
    t.initialize()
    t.call("slot_list", announced, present=present)
    between(t)
    t.call("slot_list", count, room=room, present=present, rv=rv, tid=tid, slots=listed)
    return t


def reinitialize(t):
    t.call("finalize")
    t.initialize()


SLOT_01 = [("NSS-SLOT-01", E, "module")]

# --- NSS-TOK-01, NSS-TOK-03 -------------------------------------------------------------------------------------------


def two_tokens(second, other_module=False, between=lambda t: None, flags=0):
    t = Story()
    t.initialize()
    t.call("slot_info", slot=SLOT, flags=1 | flags)
    t.call("token_info", slot=SLOT, label="Twin", serial="A")
    between(t)
    if other_module:
        t.second_module()
        t.call("initialize", module=2)
    t.call("token_info", module=2 if other_module else 1, **{"slot": 6, "label": "Twin", "serial": "B", **second})
    return t


def pulled(t):
    t.call("slot_info", slot=SLOT, flags=REMOVABLE)


def back(t):
    t.call("slot_info", slot=SLOT, flags=REMOVABLE | TOKEN_PRESENT)


def pin_flag(order, between=lambda t: None):
    t = Story()
    t.initialize()
    t.open(1)
    for step in order:
        if step == "info":
            t.call("token_info", flags=LOGIN_REQUIRED | TOKEN_INITIALIZED)
        if step == "login":
            t.call("login", 1)
        if step == "other token":
            t.call("token_info", serial="9999", flags=LOGIN_REQUIRED | TOKEN_INITIALIZED)
    return t


TOK_03 = [("NSS-TOK-03", E, "module")]

# --- NSS-LOGIN-03 -----------------------------------------------------------------------------------------------------


def info_of(opened, **info):
    t = Story()
    t.initialize()
    t.open(1, flags=opened)
    t.call("session_info", 1, **info)
    return t


def reopened_during_question():
    """Handle 1 is closed and opened read/write again while its state is asked."""
    t = Story()
    t.initialize()
    t.open(1, flags=SERIAL)
    info = t.begin("session_info", 1, state=2, flags=SERIAL | RW, tid=200)
    t.call("close_session", 1)
    t.open(1, flags=SERIAL | RW)
    t.finish(info)
    t.call("session_info", 1, state=2, flags=SERIAL | RW)
    return t


LOGIN_03 = [("NSS-LOGIN-03", E, "module")]

# --- NSS-SESS-01 ------------------------------------------------------------------------------------------------------


def null_session(**info):
    t = start()
    t.call("session_info", 0, **info)
    return t


CALLER = ("NSS-SESS-01", I, "caller")
SESS_01 = [("NSS-SESS-01", E, "module"), CALLER]

# --- P11-OBJ-03, NSS-CERT-01 ------------------------------------------------------------------------------------------


def reads(*steps):
    t = start()
    for step in steps:
        if callable(step):
            step(t)
        else:
            rv, *attributes = step
            t.call("attributes", 1, 17, *attributes, rv=rv)
    return t


def another_thread(t):
    t.call("attributes", 1, 17, (CKA_LABEL, None, 5, None), tid=200)


NULL_QUERY = (CKA_LABEL, None, UNAVAILABLE, None)
OBJ_03 = [("P11-OBJ-03", E, "module")]


def labels(label, key=None, first_key=False, more=lambda t: None):
    t = start()
    if key and first_key:
        t.call("attributes", 1, 18, (CKA_CLASS, 8, 8, PRIVATE_KEY), (CKA_ID, 20, 2, key))
    more(t)
    t.call("attributes", 1, 17, (CKA_CLASS, 8, 8, CERTIFICATE), (CKA_ID, 20, 2, b"id"),
           (CKA_LABEL, 20, len(label), label))
    if key and not first_key:
        t.call("attributes", 1, 18, (CKA_CLASS, 8, 8, PRIVATE_KEY), (CKA_ID, 20, 2, key))
    return t


def application_wrote(label):
    def step(t):
        t.call("attributes", 1, 17, (CKA_CLASS, 8, 8, CERTIFICATE))
        t.call("set_label", 1, 17, label)
    return step


CASES = {
    # the login is not seen in the state that is asked next
    "login 09": (lambda: login_public(), LOGIN_09),
    "login 09: logout between": (lambda: login_public(lambda t: t.call("logout", 1)), []),
    "login 09: logout overlaps the question": (overlapping_logout, []),
    "login 09: logout overlaps the login": (logout_around_login, []),
    "login 09: asked before the answer": (question_before_answer, []),
    "login 09: another session is closed": (lambda: login_public(lambda t: t.call("close_session", 1)), LOGIN_09),
    "login 09: the last session was closed": (only_session_closed_and_reopened, []),
    "login 09: the token was pulled": (lambda: login_public(pulled), [("NSS-SLOT-05", E, "module")]),
    "login 09: pulled, two seconds ago": (
        lambda: login_public(lambda t: (pulled(t), t.wait(2), back(t), t.open(3), t.open(2), t.call("login", 3)), (1,)),
        LOGIN_09),
    "login 09: late attach": (late_attach, []),
    "login 09: records lost between": (lambda: login_public(lambda t: t.lose()), []),
    "login 09: fork child that uses the parent's module": (
        lambda: child(False), [("P11-INIT-10", I, "caller"), ("P11-INIT-10", W, "module")]),
    "login 09: fork child that initialises": (lambda: child(True), LOGIN_09),
    "login 09: finalised between": (lambda: login_public(lambda t: (reinitialize(t), t.open(2))), []),
    # codes for a wrong PIN
    "login 10: works afterwards": (lambda: refused(GENERAL_ERROR, "works"), LOGIN_10_W),
    "login 10: next login succeeds": (lambda: refused(GENERAL_ERROR, "login"), LOGIN_10),
    "login 10: with the same PIN": (lambda: refused(GENERAL_ERROR, "login", dict(pin=8), dict(pin=8)), []),
    "login 10: with another PIN": (lambda: refused(GENERAL_ERROR, "login", dict(pin=7), dict(pin=8)), LOGIN_10),
    "login 10: two minutes later": (lambda: refused(GENERAL_ERROR, "login", wait=120), []),
    "login 10: PIN pad": (lambda: refused(GENERAL_ERROR, "login", dict(pin="", length=0)),
                          [("NSS-TOK-06", E, "caller")]),
    "login 10: too long": (lambda: refused(PIN_LEN_RANGE, "login"), LOGIN_10_W),
    "login 10: a device that is only closed": (lambda: refused(DEVICE_ERROR, "", closed=True), []),
    "login 10: closed": (lambda: refused(GENERAL_ERROR, "", closed=True), LOGIN_10_W),
    "login 10: nothing afterwards": (lambda: refused(GENERAL_ERROR, ""), []),
    "login 10: CKR_PIN_INCORRECT": (lambda: refused(PIN_INCORRECT, "login"), []),
    "login 10: blocked": (lambda: blocked(PIN_LOCKED, PIN_INCORRECT), LOGIN_10),
    "login 10: not blocked": (lambda: blocked(0, PIN_INCORRECT), []),
    # slot lists
    "slot 01": (lambda: slots(), SLOT_01),
    "slot 01: with a token": (lambda: slots(present=True), []),
    "slot 01: too little room": (lambda: slots(room=1), []),
    "slot 01: count not set": (lambda: slots(room=1, count=1), SLOT_01),
    "slot 01: fewer than announced": (lambda: slots(rv=OK, count=1, listed=(4,)), []),
    "slot 01: more than there is room for": (lambda: slots(rv=OK, count=3, listed=(4, 5)), SLOT_01),
    "slot 01: named twice": (lambda: slots(rv=OK, count=2, listed=(4, 4)), SLOT_01),
    "slot 01: another thread asked since": (lambda: slots(lambda t: t.call("slot_list", 3, tid=200)), []),
    "slot 01: another thread fetches": (lambda: slots(tid=200), []),
    "slot 01: initialised anew": (lambda: slots(reinitialize), []),
    # labels of tokens
    "tok 01: two serials": (lambda: two_tokens({}), [("NSS-TOK-01", E, "module")]),
    "tok 01: one serial": (lambda: two_tokens({"serial": "A"}), [("NSS-TOK-01", W, "module")]),
    "tok 01: a card moved to the other reader": (
        lambda: two_tokens({"serial": "A"}, between=lambda t: t.wait(3), flags=REMOVABLE), []),
    "tok 01: pulled first": (lambda: two_tokens({}, between=pulled, flags=REMOVABLE), []),
    "tok 01: not looked at for two minutes": (
        lambda: two_tokens({}, between=lambda t: t.wait(120), flags=REMOVABLE), []),
    "tok 01: fixed, not looked at for two minutes": (
        lambda: two_tokens({}, between=lambda t: t.wait(120)), [("NSS-TOK-01", E, "module")]),
    "tok 01: two modules": (lambda: two_tokens({}, True), [("NSS-TOK-01", W, "module")]),
    "tok 01: one token in two modules": (lambda: two_tokens({"serial": "A"}, True), [("NSS-TOK-01", I, "module")]),
    "tok 01: not initialised": (lambda: two_tokens({"flags": LOGIN_REQUIRED}), []),
    "tok 01: no label": (lambda: two_tokens({"label": ""}), [("NSS-TOK-01", W, "module")]),
    "tok 01: no label, not initialised": (lambda: two_tokens({"label": "", "flags": LOGIN_REQUIRED}), []),
    "tok 01: like NSS": (lambda: two_tokens({"label": "NSS Certificate DB"}), [("NSS-TOK-01", W, "module")]),
    "tok 01: NSS": (lambda: two_tokens({"label": "NSS Certificate DB", "maker": "Mozilla Foundation"}), []),
    # CKF_USER_PIN_INITIALIZED
    "tok 03: login, then the flags": (lambda: pin_flag(["info", "login"]), TOK_03),
    "tok 03: flags, then login": (lambda: pin_flag(["login", "info"]), TOK_03),
    "tok 03: blank": (lambda: pin_flag(["info"]), []),
    "tok 03: another token": (lambda: pin_flag(["info", "other token"]), []),
    # CK_SESSION_INFO
    "login 03: right": (lambda: info_of(SERIAL | RW, state=2, flags=SERIAL | RW), []),
    "login 03: read/write state": (lambda: info_of(SERIAL, state=2), LOGIN_03),
    "login 03: flags": (lambda: info_of(SERIAL, state=0, flags=SERIAL | RW), LOGIN_03),
    "login 03: not serial": (lambda: info_of(SERIAL, flags=0), LOGIN_03),
    "login 03: no state": (lambda: info_of(SERIAL, state=9), LOGIN_03),
    "login 03: slot": (lambda: info_of(SERIAL, slot=77), LOGIN_03),
    "login 03: read-only throughout (softoken)": (lambda: info_of(SERIAL | RW, state=0, flags=SERIAL),
                                                  [("NSS-TOK-07", W, "module")]),
    "login 03: opened anew meanwhile": (reopened_during_question, [("NSS-SESS-02", I, "module")]),
    # session 0
    "sess 01: right": (lambda: null_session(rv=SESSION_HANDLE_INVALID), [CALLER]),
    "sess 01: CKR_OK": (lambda: null_session(), SESS_01),
    "sess 01: CKR_ARGUMENTS_BAD": (lambda: null_session(rv=ARGUMENTS_BAD), SESS_01),
    "sess 01: CKR_ARGUMENTS_BAD and a NULL buffer": (lambda: null_session(rv=ARGUMENTS_BAD, null=True), [CALLER]),
    # C_GetAttributeValue
    "obj 03: nothing marked": (lambda: reads((TYPE_INVALID, (CKA_LABEL, 9, 9, None))), OBJ_03),
    "obj 03: length 0": (lambda: reads((TYPE_INVALID, (CKA_LABEL, None, 0, None))), [("P11-OBJ-03", W, "module")]),
    "obj 03: marked": (lambda: reads((TYPE_INVALID, NULL_QUERY)), []),
    "obj 03: marked and CKR_OK": (lambda: reads((OK, NULL_QUERY)), OBJ_03),
    "obj 03: marked, then read": (lambda: reads((TYPE_INVALID, NULL_QUERY), (OK, (CKA_LABEL, None, 5, None))), OBJ_03),
    "obj 03: marked, read by another thread": (lambda: reads((TYPE_INVALID, NULL_QUERY), another_thread), []),
    "obj 03: marked, read later": (
        lambda: reads((TYPE_INVALID, NULL_QUERY), lambda t: t.wait(2), (OK, (CKA_LABEL, None, 5, None))), []),
    "obj 03: marked, written, read": (
        lambda: reads((TYPE_INVALID, NULL_QUERY), lambda t: t.call("set_label", 1, 17, b"label"),
                      (OK, (CKA_LABEL, None, 5, None))), []),
    "obj 03: marked, logged in, read": (
        lambda: reads((TYPE_INVALID, NULL_QUERY), lambda t: t.call("login", 1), (OK, (CKA_LABEL, None, 5, None))), []),
    "obj 03: buffer too small for it": (
        lambda: reads((TYPE_INVALID, (CKA_LABEL, 2, UNAVAILABLE, None), (CKA_ID, None, UNAVAILABLE, None)),
                      (OK, (CKA_LABEL, None, 5, None))), []),
    "obj 03: stopped at the first": (
        lambda: reads((TYPE_INVALID, (CKA_ID, None, UNAVAILABLE, None), (CKA_LABEL, None, 0, None)),
                      (OK, (CKA_LABEL, None, 5, None))), OBJ_03),
    "obj 03: empty, and empty alone": (
        lambda: reads((TYPE_INVALID, (CKA_ID, None, UNAVAILABLE, None), (CKA_LABEL, None, 0, None)),
                      (OK, (CKA_LABEL, None, 0, None))), []),
    "obj 03: buffer too small": (lambda: reads((BUFFER_TOO_SMALL, (CKA_LABEL, 2, UNAVAILABLE, None))), []),
    # labels of certificates
    "cert 01: good": (lambda: labels(b"mine"), []),
    "cert 01: blank": (lambda: labels(b"mine "), [("NSS-CERT-01", W, "module")]),
    "cert 01: NUL": (lambda: labels(b"mine\0"), [("NSS-CERT-01", W, "module")]),
    "cert 01: not UTF-8": (lambda: labels(b"m\xfcller"), [("NSS-CERT-01", W, "module")]),
    "cert 01: UTF-8": (lambda: labels("müller".encode()), []),
    "cert 01: the application's blank": (
        lambda: labels(b"mine ", more=application_wrote(b"mine ")), [("NSS-CERT-01", W, "caller")]),
    "cert 01: none, a CA's": (lambda: labels(b""), [("NSS-CERT-01", I, "module")]),
    "cert 01: none, the key was seen": (lambda: labels(b"", b"id", True), [("NSS-CERT-01", E, "module")]),
    "cert 01: none, the key is seen later": (lambda: labels(b"", b"id"), [("NSS-CERT-01", E, "module")]),
    "cert 01: none, another key": (lambda: labels(b"", b"xy"), [("NSS-CERT-01", I, "module")]),
    # what never returned proves nothing
    "unfinished": (lambda: unfinished(), []),
}


def unfinished():
    t = start((1, 2))
    t.begin("login", 1)
    t.call("session_info", 2, state=0, tid=200)
    return t


def checked(build, run, *traces, status=None, **more):
    return json.loads(run(build / "p11trace", "check", "--json", *traces, status=status, **more).stdout)


def found(result):
    return sorted((f["rule"], f["severity"], f["fault"]) for f in result["findings"])


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    story, expected = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    worst = any(severity == E for _, severity, _ in expected)
    result = checked(build, run, path, status=1 if worst else 0)
    assert found(result) == sorted(expected)
    for f in result["findings"]:
        assert f["evidence"] and f["count"] == 1 and f["processes"] == 1


def test_prompt_loop_is_one_finding(build, run, tmp_path):
    (f,) = checked(build, run, loop(3).write(tmp_path / "loop.p11t"), status=1)["findings"]
    assert f["count"] == 3 and f["last"] - f["first"] == pytest.approx(4, abs=0.1)
    assert f["sentence"].startswith("PIN prompt loop: 3 logins in a row succeed within 4.0")


def test_evidence_names_the_calls(build, run, tmp_path):
    t = start((1, 2))
    login = t.call("login", 1)
    info = t.call("session_info", 2, state=0, tid=200)
    path = t.write(tmp_path / "x.p11t")
    (f,) = checked(build, run, path, status=1)["findings"]
    assert [e["call"] for e in f["evidence"]] == [login, info]
    assert [e["tid"] for e in f["evidence"]] == [100, 200]
    assert [e["rv"] for e in f["evidence"]] == ["CKR_OK", "CKR_OK"]
    assert f["hint"].startswith("the login was made on session 0x1 and the state asked on 0x2")
    text = run(build / "p11trace", "check", path, status=1).stdout
    assert text.startswith(f'NSS-LOGIN-09 error module slot {SLOT} "Token": C_Login succeeds, and C_GetSessionInfo')
    assert f"  2. #{info} +1.0000" in text
    assert "[200] C_GetSessionInfo(hSession=0x2) = CKR_OK state=CKS_RO_PUBLIC_SESSION flags=CKF_SERIAL_SESSION" in text
    assert re.search(r"^checked 7 calls of 1 process with \d+ rules: 1 error, 0 warnings, 0 info\n\Z", text, re.M)


def test_same_finding_in_two_processes_is_one(build, run, tmp_path):
    first = login_public().write(tmp_path / "a.p11t")
    second = login_public(pid=4712, trace_id=b"\x33" * 16).write(tmp_path / "b.p11t")
    (f,) = checked(build, run, first, second, status=1)["findings"]
    assert (f["count"], f["processes"]) == (2, 2)
    other = login_public(pid=4712, trace_id=b"\x33" * 16, module="/lib/another.so").write(tmp_path / "c.p11t")
    assert len(checked(build, run, first, other, status=1)["findings"]) == 2


def test_login_of_another_process_proves_a_pin(build, run, tmp_path):
    """NSS never logs in when the flag is clear: another program's login on the token tells."""
    logs_in = start()
    logs_in.call("login", 1)
    login = logs_in.write(tmp_path / "a.p11t")
    asks = Story(pid=4712, trace_id=b"\x33" * 16)
    asks.wait(5)
    asks.initialize()
    asks.call("token_info", flags=LOGIN_REQUIRED | TOKEN_INITIALIZED)
    asked = asks.write(tmp_path / "b.p11t")
    assert found(checked(build, run, login, asked, status=1)) == TOK_03
    assert found(checked(build, run, asked, status=0)) == []


def test_one_cause_is_one_finding(build, run, tmp_path):
    """The label that was not marked is empty because C_GetAttributeValue answered wrongly."""
    path = wrong_marking().write(tmp_path / "x.p11t")
    (f,) = checked(build, run, path, status=0)["findings"]
    assert (f["rule"], f["also"]) == ("P11-OBJ-03", ["NSS-CERT-01"])
    assert "  also: NSS-CERT-01\n" in run(build / "p11trace", "check", path).stdout
    (f,) = checked(build, run, "--rule", "NSS-CERT-01", path, status=0)["findings"]
    assert (f["rule"], f["severity"]) == ("NSS-CERT-01", I)


def test_many_different_findings_are_bounded(build, run, tmp_path):
    t = start()
    for i in range(300):
        t.call("attributes", 1, 100 + i, (CKA_CLASS, 8, 8, CERTIFICATE), (CKA_LABEL, 20, 6, b"%05d " % i))
    p = run(build / "p11trace", "check", "--json", t.write(tmp_path / "x.p11t"))
    assert len(json.loads(p.stdout)["findings"]) == 256
    assert "44 more findings" in p.stderr


def test_hostile_labels_are_shown_harmlessly(build, run, tmp_path):
    t = Story()
    t.initialize()
    t.call("token_info", label=b'\x1b[31m"\\\xff\xe2\x82\xacx', serial=b"\x07\x00")
    path = t.write(tmp_path / "x.p11t")
    text = run(build / "p11trace", "check", path, status=1, text=False).stdout
    assert not set(text) & (set(range(32)) - {10}) and b"\\x1b[31m\\x22\\x5c\\xff\xe2\x82\xacx" in text
    text.decode()
    assert checked(build, run, path, status=1)["summary"]["errors"] == 2  # label and serialNumber


def wrong_marking():
    t = start()
    t.call("attributes", 1, 17, (CKA_CLASS, 8, 8, CERTIFICATE), (CKA_LABEL, None, 0, None), rv=TYPE_INVALID)
    return t


GOLDEN = {"prompt-loop": lambda: loop(3), "wrong-marking": wrong_marking,
          "refused": lambda: refused(GENERAL_ERROR, "login"), "twins": lambda: two_tokens({}, True),
          "null-session": null_session}


@pytest.mark.parametrize("name", GOLDEN)
def test_text_is_exact(build, run, root, tmp_path, name):
    path = GOLDEN[name]().write(tmp_path / "x.p11t")
    text = run(build / "p11trace", "check", path, status=None).stdout
    assert re.sub(r"with \d+ rules", "with %d rules", text) == \
        (root / "tests" / "cases" / "check" / f"{name}.txt").read_text()


# --- the verb ---------------------------------------------------------------------------------------------------------

def test_severity_decides_the_status(build, run, tmp_path):
    info = null_session(rv=SESSION_HANDLE_INVALID).write(tmp_path / "i.p11t")
    warning = labels(b"mine ").write(tmp_path / "w.p11t")
    for path, statuses in ((info, (0, 0, 1)), (warning, (0, 1, 1))):
        for level, status in zip((E, W, I), statuses):
            run(build / "p11trace", "check", "--severity", level, path, status=status)
    assert "error, warning or info" in run(build / "p11trace", "check", "--severity", "bad", info, status=2).stderr


def test_rules_can_be_chosen(build, run, tmp_path):
    path = login_public().write(tmp_path / "x.p11t")
    assert found(checked(build, run, "--rule", "NSS-SESS-01", path, status=0)) == []
    both = checked(build, run, "--rule", "NSS-SESS-01", "--rule", "NSS-LOGIN-09", path, status=1)
    assert found(both) == LOGIN_09 and both["summary"]["rules"] == 2
    assert "there is no rule NSS-X" in run(build / "p11trace", "check", "--rule", "NSS-X", path, status=2).stderr


def test_explain_and_list(build, run, root):
    listed = run(build / "p11trace", "check", "--list").stdout.splitlines()
    ids = [line.split()[0] for line in listed]
    assert len(ids) == len(set(ids)) >= 12
    for rule in ids:
        text = run(build / "p11trace", "check", "--explain", rule).stdout
        assert text.startswith(rule + "  ")
        for part in ("rule: ", "says: ", "source: ", "observed: ", "why NSS cares: ", "what to change: "):
            assert f"\n  {part}" in text
        assert not [line for line in text.splitlines() if len(line) > 112 or line != line.rstrip()]


def test_lost_bytes_are_status_2_after_showing(build, run, tmp_path):
    t = login_public()
    path = t.write(tmp_path / "x.p11t")
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])  # into the END frame
    p = run(build / "p11trace", "check", path, status=2)
    assert p.stdout.startswith("NSS-LOGIN-09 error") and str(path) in p.stderr
    run(build / "p11trace", "check", tmp_path / "missing.p11t", status=2)
    run(build / "p11trace", "check", status=2)


def test_output_that_cannot_be_written(build, run, tmp_path):
    path = login_public().write(tmp_path / "x.p11t")
    for option in ("--json", "--severity=error"):
        p = run("sh", "-c", f'"{build}/p11trace" check {option} "{path}" > /dev/full', status=2)
        assert "cannot write" in p.stderr
