"""Initialising, slots, removal and slot events, told call by call: each case beside one that differs in one thing."""
import pytest

from check_story import (DEVICE_ERROR, GENERAL_ERROR, OK, REMOVABLE, SESSION_HANDLE_INVALID, SLOT, TOKEN_NOT_PRESENT,
                         TOKEN_PRESENT, Story, full)
from p11t_make import P_NULL, P_OWN, n, s, u
from test_check_guards import checked, found

E, W, I = "error", "warning", "info"
ARGUMENTS_BAD, CANT_LOCK, NOT_SUPPORTED, NO_EVENT, NOT_INITIALIZED, ALREADY_INITIALIZED = 7, 10, 0x54, 8, 0x190, 0x191
DEVICE_REMOVED, NOT_RECOGNIZED, SLOT_INVALID, DONT_BLOCK, FORK_SAFE = 0x32, 0xE1, 3, 1, 1
THERE, GONE, FIXED = TOKEN_PRESENT | REMOVABLE, REMOVABLE, TOKEN_PRESENT
ONLY = [word for group, rules in (("INIT", range(1, 11)), ("SLOT", range(1, 10))) for i in rules
        for word in ("--rule", f"{'P11' if group == 'INIT' and i in (5, 7, 10) else 'NSS'}-{group}-{i:02}")]


class Slots(Story):
    functions = {**Story.functions,
                 "C_GetInterface": ((11, "pInterfaceName", 0, 0), (13, "pVersion", 0, 0), (34, "ppInterface", 0, 0),
                                    (5, "flags", 0, 0)),
                 "C_GetInfo": ((32, "pInfo", 0, 1),),
                 "C_WaitForSlotEvent": ((5, "flags", 0, 0), (25, "pSlot", 0, 0), (10, "pReserved", 0, 0))}

    def _initialize(self, callbacks=None, flags=2, parameters=0, rv=OK):
        """callbacks None: a NULL pointer; 15: all. parameters: 0 none, 2 a text."""
        if callbacks is None:
            return "C_Initialize", P_NULL, b""
        text = full(b"x=1") if parameters else b"\x00"
        return "C_Initialize", P_OWN + bytes([callbacks]) + u(flags) + bytes([parameters]) + text, b""

    def _interface(self, name="PKCS 11", flags=0, version=None, given="PKCS 11", given_version=(3, 0), given_flags=0,
                   rv=OK):
        asked = P_OWN + full(name.encode()) + (P_NULL if version is None else P_OWN + bytes(version)) + P_OWN + u(flags)
        return "C_GetInterface", asked, n(1) + s(given) + bytes(given_version) + u(given_flags) if rv == OK else n(0)

    def _info(self, version=(2, 40), flags=0, rv=OK):
        members = n(5) + bytes(version) + full(b" " * 32) + u(flags) + full(b" " * 32) + bytes(2)
        return "C_GetInfo", P_OWN, n(1) + members if rv == OK else n(0)

    def _wait_event(self, slot=SLOT, flags=0, rv=OK):
        return "C_WaitForSlotEvent", u(flags) + P_OWN + P_NULL, b"\x01" + u(slot) if rv == OK else b"\x00"

    def initialize(self, *args, **more):
        return self.call("initialize", *args, **more)

    def nss(self):
        self.call("initialize", 15, 3)

    def slots(self, *ids, **more):
        """A full list, and how long it is before that."""
        self.call("slot_list", len(ids), **more)
        self.call("slot_list", len(ids), len(ids), slots=ids, **more)

    def look(self, flags=THERE, **more):
        self.call("slot_info", flags=flags, **more)

    def state(self, session=1, rv=OK, **more):
        self.call("session_info", session, rv=rv, **more)


def told(*steps, first=("initialize",), flags=THERE, session=1, **options):
    """A story: initialised, one look at the slot, one session; then the steps, each (method, arguments..., {options})
    or a function of the story."""
    def story():
        t = Slots(**options)
        begin = ([first] if first else []) + ([("look", flags)] if flags is not None else []) + \
            ([("open", session)] if session else [])
        for step in [*begin, *steps]:
            if callable(step):
                step(t)
                continue
            name, *args = step
            more = args.pop() if args and isinstance(args[-1], dict) else {}
            if hasattr(t, name):
                getattr(t, name)(*args, **more)
            else:
                t.call(name, *args, **more)
        return t
    return story


def bare(*steps, **more):
    return told(*steps, flags=None, session=None, **more)


def fails(name, rv, *args):
    more = args[-1] if args and isinstance(args[-1], dict) else {}
    return (name, *(a for a in args if a is not more), {**more, "rv": rv})


def mod(rule, severity=E, side="module"):
    return [((rule if rule[:3] == "P11" else "NSS-" + rule), severity, side)]


def app(rule, severity=I):
    return mod(rule, severity, "caller")


def wait(seconds):
    return lambda t: t.wait(seconds)


def during(outer, *inner, tid=200):
    """The steps happen while another thread's call is in flight."""
    def run(t):
        name, *args = outer
        more = args.pop() if args and isinstance(args[-1], dict) else {}
        call = t.begin(name, *args, tid=tid, **more)
        for step in inner:
            step(t) if callable(step) else told_step(t, step)
        t.finish(call)
    return run


def told_step(t, step):
    name, *args = step
    more = args.pop() if args and isinstance(args[-1], dict) else {}
    getattr(t, name)(*args, **more) if hasattr(t, name) else t.call(name, *args, **more)


def holes(*functions):
    """A function list without these."""
    def run(t):
        bitmap = sum(1 << i for i in functions).to_bytes(9, "little")
        t.record(14, n(1) + s("") + bytes((2, 30)) + u(0) + n(68) + s(bitmap), t.next(), time=t.now)
    return run


def fork_safe(t):
    t.record(14, n(1) + s("PKCS 11") + bytes((3, 0)) + u(FORK_SAFE) + n(92) + s(b""), t.next(), time=t.now)


def stuck(*after):
    """A wait that never returns."""
    def run(t):
        t.begin("wait_event", tid=200)
        for step in after:
            step(t) if callable(step) else told_step(t, step)
    return run


LOST = fails("session_info", SESSION_HANDLE_INVALID, 1)
SLOT_05, SLOT_06, SLOT_07, SLOT_08 = (mod(f"SLOT-0{i}") for i in (5, 6, 7, 8))
BACK = [("look", GONE), ("look", THERE)]

CASES = {
    # NSS-INIT-01
    "interface": (bare(fails("interface", ARGUMENTS_BAD, "PKCS 11", FORK_SAFE), ("interface",)), []),
    "interface: never": (
        bare(fails("interface", ARGUMENTS_BAD, "PKCS 11", FORK_SAFE), fails("interface", ARGUMENTS_BAD)),
        mod("INIT-01")),
    "interface: a vendor's": (bare(fails("interface", ARGUMENTS_BAD, "Vendor NSS FIPS Interface")), []),
    "interface: 3.0 of an older module": (bare(fails("interface", ARGUMENTS_BAD, {"version": (3, 0)})), []),
    "interface: another name": (bare(("interface", {"given": "Vendor"})), mod("INIT-01")),
    "interface: without the flag": (bare(("interface", "PKCS 11", FORK_SAFE)), mod("INIT-01")),
    "interface: with the flag": (bare(("interface", "PKCS 11", FORK_SAFE, {"given_flags": FORK_SAFE})), []),
    "interface: no list": (bare(("interface", {"given_version": (0, 0)})), mod("INIT-01")),
    # NSS-INIT-03: the second call succeeds, or the first code is clear
    "threads: refused": (bare(fails("initialize", CANT_LOCK, 15, 3), ("initialize",), first=None), mod("INIT-03", W)),
    "threads: refused, and so without": (
        bare(fails("initialize", GENERAL_ERROR, 15, 3), fails("initialize", GENERAL_ERROR), first=None), []),
    "threads: general error": (
        bare(fails("initialize", GENERAL_ERROR, 15, 3), ("initialize",), first=None), mod("INIT-03", W)),
    "threads: callbacks only": (bare(fails("initialize", CANT_LOCK, 15, 1), ("initialize",), first=None), []),
    "threads: another thread": (
        bare(fails("initialize", CANT_LOCK, 15, 3), ("initialize", {"tid": 200}), first=None), []),
    # NSS-INIT-04
    "parameters: refused": (bare(fails("initialize", ARGUMENTS_BAD, 15, 3, 2), first=None), app("INIT-04", E)),
    "parameters: for the recorder": (bare(fails("initialize", ARGUMENTS_BAD, 15, 3, 1), first=None), []),
    "parameters: taken": (bare(("initialize", 15, 3, 2), first=None), []),
    "parameters: misunderstood": (
        bare(fails("initialize", DEVICE_ERROR, 15, 3, 2), ("initialize", 15, 3), first=None), mod("INIT-04", W)),
    "parameters: fails without too": (
        bare(fails("initialize", DEVICE_ERROR, 15, 3, 2), fails("initialize", DEVICE_ERROR, 15, 3), first=None), []),
    # P11-INIT-05
    "state: twice": (bare(("initialize",)), mod("P11-INIT-05")),
    "state: twice, p11-kit's proxy": (bare(("initialize",), module="/usr/lib/p11-kit-proxy.so"), []),
    "state: already": (bare(fails("initialize", ALREADY_INITIALIZED)), []),
    "state: another part of the program": (
        bare(fails("initialize", ALREADY_INITIALIZED), ("initialize",), first=None), []),
    "state: overlapping": (bare(during(("finalize",), ("initialize",))), []),
    "state: before": (bare(("slot_info",), ("initialize",), first=None), mod("P11-INIT-05") + app("P11-INIT-05")),
    "state: before, refused": (
        bare(fails("slot_info", NOT_INITIALIZED), ("initialize",), first=None), app("P11-INIT-05")),
    "state: the trace begins late": (bare(("slot_info",), first=None), []),
    "state: after": (bare(("finalize",), ("slot_info",)), mod("P11-INIT-05") + app("P11-INIT-05")),
    "state: after, another code": (
        bare(("finalize",), LOST), mod("P11-INIT-05", W) + app("P11-INIT-05")),
    "state: after, refused": (bare(("finalize",), fails("slot_info", NOT_INITIALIZED)), app("P11-INIT-05")),
    "state: after, nothing to write to": (
        bare(("finalize",), ("session_info", 1, {"rv": ARGUMENTS_BAD, "null": True})), app("P11-INIT-05")),
    "state: after, bad arguments": (
        bare(("finalize",), ("session_info", 1, {"rv": ARGUMENTS_BAD})), mod("P11-INIT-05", W) + app("P11-INIT-05")),
    "state: finalised before who began is known": (
        bare(("slot_info",), ("finalize",), ("initialize",), first=None), []),
    "state: finalised twice": (bare(("finalize",), ("finalize",)), mod("P11-INIT-05") + app("P11-INIT-05")),
    "state: records lost": (bare(("finalize",), lambda t: t.lose(), ("slot_info",)), []),
    # NSS-INIT-06: the function list is one of 2.40
    "info: right": (bare(("info",)), []),
    "info: older than the list": (bare(("info", (2, 20))), mod("INIT-06", I)),
    "info: older than the list, and not the first": (bare(("info",), ("info", (2, 20))), []),
    "info: flags": (bare(("info", (2, 20), 1)), mod("INIT-06", W)),
    # NSS-INIT-08
    "list: whole": (bare(), []),
    "list: holes": (bare(holes(3, 67)), mod("INIT-08")),
    "basic: refused": (told(fails("session_info", NOT_SUPPORTED, 1)), mod("INIT-08")),
    "basic: C_Logout where nobody need log in": (
        told(("token_info", {"flags": 0x400}), fails("logout", NOT_SUPPORTED, 1)), []),
    "basic: C_Logout": (told(("token_info",), fails("logout", NOT_SUPPORTED, 1)), mod("INIT-08")),
    "wrong code": (bare(*[fails("wait_event", GENERAL_ERROR, SLOT, DONT_BLOCK)] * 2), mod("INIT-08", W)),
    "wrong code: once": (bare(fails("wait_event", GENERAL_ERROR, SLOT, DONT_BLOCK)), []),
    "wrong code: works later": (
        bare(*[fails("wait_event", GENERAL_ERROR, SLOT, DONT_BLOCK)] * 2,
             fails("wait_event", NO_EVENT, SLOT, DONT_BLOCK)), []),
    # NSS-INIT-09
    "again: old session": (told(("finalize",), ("initialize",), ("state",)), mod("INIT-09")),
    "again: refused": (told(("finalize",), ("initialize",), LOST), []),
    "again: the number is given out again": (told(("finalize",), ("initialize",), ("open", 1), ("state",)), []),
    "again: old object": (
        told(("attributes", 1, 17, (0, 8, 8, 1)), ("finalize",), ("initialize",), ("open", 2),
             ("attributes", 2, 17, (0, 8, 8, 1))), mod("INIT-09", W)),
    # P11-INIT-10
    "fork: used": (told(("state",), first=None, flags=None, session=None, parent=b"\x22" * 16),
                   mod("P11-INIT-10", W) + app("P11-INIT-10")),
    "fork: refused": (told(fails("session_info", NOT_INITIALIZED, 1), first=None, flags=None, session=None,
                           parent=b"\x22" * 16), app("P11-INIT-10")),
    "fork: safe": (told(fork_safe, ("state",), first=None, flags=None, session=None, parent=b"\x22" * 16), []),
    "fork: initialised": (told(("state",), parent=b"\x22" * 16), []),
    # NSS-SLOT-02
    "slots: the same": (bare(("slots", 1, 2), ("slots", 1, 2)), []),
    "slots: more": (bare(("slots", 1, 2), ("slots", 1, 2, 3)), []),
    "slots: fewer": (bare(("slots", 1, 2), ("slots", 1)), mod("SLOT-02", W)),
    "slots: fewer, NSS": (bare(("slots", 1, 2), ("slots", 1), first=("nss",)), mod("SLOT-02")),
    "slots: fewer with tokens": (bare(("slots", 1, 2), ("slots", 1, {"present": True})), []),
    "slots: fewer, not counted before": (
        bare(("slots", 1, 2), ("slot_list", 1, 1, {"slots": (1,)})), mod("SLOT-02", W)),
    "slots: renumbered": (bare(("slots", 1, 2), ("slots", 1, 3)), mod("SLOT-02")),
    "slots: finalised between": (bare(("slots", 1, 2), ("finalize",), ("initialize",), ("slots", 1)), []),
    "slots: an older list comes late": (
        bare(("slots", 1), during(("slot_list", 1, 1, {"slots": (1,)}), ("slots", 1, 2))), []),
    "slots: listed and not valid": (bare(("slots", 1, 2), fails("slot_info", SLOT_INVALID, 2)), mod("SLOT-02")),
    "slots: never listed": (bare(("slots", 1, 2), fails("slot_info", SLOT_INVALID, 9)), []),
    # NSS-SLOT-03
    "present: works": (told(("open", 2)), []),
    "present: pulled just now": (told(fails("open_session", TOKEN_NOT_PRESENT, 2), ("look", GONE)), []),
    "present: said again": (told(*[fails("open_session", TOKEN_NOT_PRESENT, 2), ("look", THERE)] * 2,
                                 fails("open_session", TOKEN_NOT_PRESENT, 2)), mod("SLOT-03", W)),
    "present: an hour later": (told(wait(3600), *[fails("open_session", TOKEN_NOT_PRESENT, 2)] * 2), []),
    "present: fixed": (told(fails("open_session", TOKEN_NOT_PRESENT, 2), flags=FIXED, session=None), mod("SLOT-03", W)),
    "present: not known": (told(fails("open_session", NOT_RECOGNIZED, 2), session=None), mod("SLOT-03", I)),
    # NSS-SLOT-04
    "fixed: changes": (told(("look", FIXED)), mod("SLOT-04")),
    "fixed: empty": (told(flags=0, session=None), mod("SLOT-04")),
    "fixed: gone": (told(fails("session_info", DEVICE_REMOVED, 1), flags=FIXED), mod("SLOT-04")),
    "fixed: of a session that is not in the trace": (told(fails("session_info", DEVICE_REMOVED, 9), flags=FIXED), []),
    "fixed: not valid, and none can be opened": (
        told(LOST, fails("open_session", DEVICE_ERROR, 2), flags=FIXED), mod("SLOT-04")),
    "removable: gone": (told(fails("session_info", DEVICE_REMOVED, 1)), []),
    # NSS-SLOT-05
    "removed: as it should be": (told(("look", GONE), LOST), []),
    "removed: goes on": (told(("look", GONE), ("state",)), SLOT_05),
    "removed: closed": (told(("look", GONE), ("close_session", 1)), []),
    "removed: overlapping": (told(during(("session_info", 1), ("look", GONE))), []),
    "removed: a call said so": (told(fails("login", DEVICE_REMOVED, 1), ("state",)), []),
    "removed: a call said so, two seconds ago": (told(fails("login", DEVICE_REMOVED, 1), wait(2), ("state",)), SLOT_05),
    "removed: records lost": (told(("look", GONE), lambda t: t.lose(), ("state",)), []),
    "removed: opened before the trace": (told(("look", GONE), ("state", 9)), []),
    # NSS-SLOT-06
    "back: as it should be": (told(*BACK, LOST, ("open", 2), ("state", 2)), []),
    "back: goes on": (told(*BACK, ("state",)), SLOT_06),
    "back: the same number": (told(*BACK, ("open", 1), ("state",)), mod("SLOT-06", I)),
    "back: another serial number": (
        told(("token_info",), ("token_info", {"serial": "0002"}), ("state",)), SLOT_06),
    "back: another serial number, refused": (told(("token_info",), ("token_info", {"serial": "0002"}), LOST), []),
    "back: another label": (told(("token_info",), ("token_info", {"label": "New"}), ("state",)), []),
    # NSS-SLOT-07
    "lost: another can be opened": (told(LOST, ("open", 2)), SLOT_07),
    "lost: fixed": (told(LOST, flags=FIXED), SLOT_07),
    "lost: not used for long": (told(wait(3), LOST, ("open", 2)), mod("SLOT-07", W)),
    "lost: three seconds later": (told(LOST, wait(3), ("open", 2)), []),
    "lost: removed": (told(LOST, ("look", GONE), ("look", THERE), ("open", 2)), []),
    "lost: closed": (told(("close_session", 1), LOST, ("open", 2)), []),
    "lost: being closed": (told(during(("close_session", 1), LOST), ("open", 2)), []),
    "lost: another token": (
        told(("token_info",), LOST, ("token_info", {"serial": "0002"}), ("open", 2)), []),
    "lost: a look is in flight": (told(LOST, during(("slot_info", {"flags": GONE}), ("open", 2))), []),
    "lost: device error of a login": (told(fails("login", DEVICE_ERROR, 1), ("open", 2)), []),
    "lost: device error of the state": (told(fails("session_info", DEVICE_ERROR, 1), ("open", 2)), SLOT_07),
    # NSS-SLOT-08
    "wait: not supported": (bare(fails("wait_event", NOT_SUPPORTED)), []),
    "wait: no event": (bare(fails("wait_event", NO_EVENT)), SLOT_08),
    "wait: no event, not blocking": (bare(fails("wait_event", NO_EVENT, SLOT, DONT_BLOCK)), []),
    "wait: a slot of the list": (bare(("slots", SLOT), ("wait_event",), ("slots", SLOT)), []),
    "wait: a slot of no list": (bare(("slots", SLOT), ("wait_event", 9), ("slots", SLOT)), SLOT_08),
    "wait: a new slot": (bare(("slots", SLOT), ("wait_event", 9), ("slots", SLOT, 9)), []),
    "wait: woken": (bare(during(fails("wait_event", NOT_INITIALIZED), ("finalize",))), []),
    "wait: woken with another code": (bare(during(fails("wait_event", GENERAL_ERROR), ("finalize",))), SLOT_08),
    "wait: woken late": (bare(during(fails("wait_event", NOT_INITIALIZED), ("finalize",), wait(2))), SLOT_08),
    "wait: never woken": (bare(stuck(("finalize",), wait(2), ("initialize",))), SLOT_08),
    "wait: the trace ends": (bare(stuck(("finalize",))), []),
    "wait: fails at once, 5 times": (bare(*[fails("wait_event", GENERAL_ERROR)] * 5), SLOT_08),
    "wait: fails at once, twice": (bare(*[fails("wait_event", GENERAL_ERROR)] * 2), mod("INIT-08", W)),
    "wait: two threads": (bare(during(("wait_event",), during(("wait_event",), tid=300))), app("SLOT-08", W)),
    # NSS-SLOT-09
    "event: told": (told(during(("wait_event",), ("look",), ("look", GONE), wait(1))), []),
    "event: not told": (
        told(during(fails("wait_event", NOT_INITIALIZED), ("look",), ("look", GONE), wait(6), ("look", GONE),
                    ("finalize",))),
        mod("SLOT-09", W)),
    "event: of before the wait": (
        told(("look",), during(fails("wait_event", NOT_INITIALIZED), ("look", GONE), wait(6), ("look", GONE),
                                   ("finalize",))),
        []),
}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    story, expected = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    worst = any(severity == E for _, severity, _ in expected)
    result = checked(build, run, *ONLY, path, status=1 if worst else 0)
    assert found(result) == sorted(expected), [f["sentence"] for f in result["findings"]]


def test_a_proxy_may_have_answered(build, run, tmp_path):
    story = bare(fails("interface", ARGUMENTS_BAD), module="/usr/lib/pkcs11/pkcs11-spy.so")
    (f,) = checked(build, run, "--rule", "NSS-INIT-01", "--profile", "none",
                   story().write(tmp_path / "x.p11t"))["findings"]
    assert f["hint"] == "pkcs11-spy.so may have answered for the module behind it"
