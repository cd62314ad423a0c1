"""Time and threads, told call by call: times are exact here, whatever the machine that runs the tests is doing."""
import pytest

from check_story import GENERAL_ERROR, OK, REMOVABLE, SESSION_HANDLE_INVALID
from p11t_make import P_NULL, P_OWN, u
from story_calls import Calls
from test_check_guards import checked, found

W, I = "warning", "info"
MODULE, CALLER = "module", "caller"
DIGEST_OPERATION, ACTIVE, DEVICE_ERROR, NO_EVENT, NOT_RECOGNIZED = 0x250, 0x90, 0x30, 8, 0xE1
SUSPEND = 7
OTHER = 200  # a second thread

ONE, ONE_I = [("NSS-PERF-01", W, MODULE)], [("NSS-PERF-01", I, CALLER)]
TWO, THREE = [("NSS-PERF-02", W, MODULE)], [("NSS-PERF-03", W, MODULE)]


class Times(Calls):
    functions = {**Calls.functions,
                 "C_WaitForSlotEvent": ((5, "flags", 0, 0), (25, "pSlot", 0, 0), (10, "pReserved", 0, 0))}

    def _initialize(self, rv, locks=True):
        """As NSS does it, or for one thread only."""
        return "C_Initialize", P_OWN + b"\x0f" + u(3) + b"\x00\x00" if locks else P_NULL, b""

    def _wait_event(self, rv):
        return "C_WaitForSlotEvent", u(0) + P_OWN + P_NULL, b"\x00"

    def start(self, *sessions, locks=True):
        self.initialize(locks=locks)
        self.call("slot_info")
        self.call("token_info")
        for session in sessions or (1,):
            self.open(session)
        return self

    def lasting(self, seconds, what, *args, within=lambda t: None, **more):
        """A call that takes so long, with something in the midst of it."""
        call = self.begin(what, *args, **more)
        self.wait(seconds / 2)
        within(self)
        self.wait(seconds / 2)
        self.finish(call)
        return call[0]

    def suspend(self):
        self.record(SUSPEND, u(10**12), self.next(), time=self.now)


# --- NSS-PERF-01 ------------------------------------------------------------------------------------------------------

def polling(*seconds, what=("token_info",), before=lambda t: None, apart=1.0, **more):
    """What NSS asks: each call takes so long. The first after the start does not count."""
    def story():
        t = Times().start()
        t.call(*what)
        for took in seconds:
            t.wait(apart)
            before(t)
            t.lasting(took, *what, **more)
        return t
    return story


def rate(per_second, seconds, *what):
    def story():
        t = Times().start()
        for _ in range(per_second * seconds):
            t.wait(1 / per_second)
            t.call(*what)
        return t
    return story


def in_the_midst(took):
    """Each call overlaps one of another thread, which takes longer."""
    def story():
        t = Times().start(1, 2)
        for _ in range(25):
            t.lasting(3 * took, "session_info", 2, tid=OTHER,
                      within=lambda t: t.lasting(took, "token_info"))
        return t
    return story


def waiting_for_an_event():
    """C_WaitForSlotEvent is at work all the time, as in Firefox; that is no overlap."""
    t = Times().start()
    event = t.begin("wait_event", tid=OTHER, rv=NO_EVENT)
    t.call("token_info")
    for _ in range(3):
        t.lasting(0.6, "token_info")
    t.finish(event)
    return t


def removed(t):
    t.call("slot_info", flags=REMOVABLE)


SESSION, SLOT_INFO = ("session_info", 1), ("slot_info",)
POLLING = {
    "quick": (polling(*[0.001] * 100), []),
    "three stalls": (polling(0.6, 0.001, 0.6, 0.6), ONE),
    "three stalls of a session": (polling(0.6, 0.6, 0.6, what=SESSION), ONE),
    "three stalls of a slot": (polling(0.6, 0.6, 0.6, what=SLOT_INFO), ONE),
    "three stalls of the list": (polling(0.6, 0.6, 0.6, what=("slot_list", 1)), ONE),
    "two stalls": (polling(0.6, 0.6, 0.4), []),
    "stalls of different functions": (polling(0.6, 0.6, before=lambda t: t.lasting(0.6, "slot_info")), []),
    "another token's first": (
        polling(0.6, 0.6, 0.6, before=lambda t: (removed(t), t.wait(2), t.call("slot_info"))), []),
    "an unknown card": (polling(*[0.03] * 25, before=lambda t: t.call("slot_info"), rv=NOT_RECOGNIZED), ONE),
    "as the card is pulled": (polling(0.6, 0.6, 0.6, before=removed, what=SESSION), []),
    "after the machine slept": (polling(0.6, 0.6, 0.6, before=Times.suspend), []),
    "slow": (polling(*[0.03] * 25), ONE),
    "slow in one of ten": (polling(*([0.001] * 9 + [0.03]) * 4), ONE),
    "slow in one of fifty": (polling(*([0.001] * 49 + [0.03]) * 4), []),
    "slow twice": (polling(*[0.001] * 18, 0.03, 0.03), []),
    "slow and few": (polling(*[0.03] * 15), []),
    "slow while others are at work": (in_the_midst(0.03), []),
    "while a thread waits for an event": (waiting_for_an_event, ONE),
    "slow, and then another epoch": (
        lambda: (t := polling(*[0.03] * 25)(), t.call("finalize"), t.initialize())[0], ONE),
    "seven a second": (rate(7, 12, *SESSION), ONE_I),
    "seven a second, of the list": (rate(7, 12, "slot_list", 1), ONE_I),
    "seven a second, and not for long": (rate(7, 9, *SESSION), []),
    "four a second": (rate(4, 30, *SESSION), []),
}


# --- NSS-PERF-02 ------------------------------------------------------------------------------------------------------

def waiting(times=3, took=0.6, after=0.001, waits=("session_info", 2), holds=("login", 1), fast=5,
            before=lambda t: None):
    """One call begins 10 ms after another, and ends so long after it."""
    def story():
        t = Times().start(1, 2)
        for _ in range(fast):
            t.call(*waits)
        for _ in range(times):
            before(t)
            a = t.begin(*holds)
            t.wait(0.01)
            b = t.begin(*waits, tid=OTHER)
            t.wait(took)
            first, then = (a, b) if after >= 0 else (b, a)
            t.finish(first)
            t.wait(abs(after))
            t.finish(then)
            t.call("logout", 1)
            t.wait(2)
        return t
    return story


WAITING = {
    "for a login": (waiting(), TWO),
    "woken before the other returned": (waiting(after=-0.001), TWO),
    "twice": (waiting(times=2), []),
    "not long enough": (waiting(took=0.4), []),
    "ends much later": (waiting(after=0.2), []),
    "ends much earlier": (waiting(after=-0.2), []),
    "in the same session": (waiting(waits=("session_info", 1)), []),
    "of another slot": (waiting(waits=("token_info",)), TWO),
    "what else it takes is not known": (waiting(fast=0), []),
    "it always takes long": (waiting(before=lambda t: [t.lasting(0.6, "session_info", 2) for _ in range(3)]), []),
    "as the card is pulled": (waiting(before=removed), []),
    "after the machine slept": (waiting(before=Times.suspend), []),
    "for a signature": (waiting(holds=("any", "C_Sign", 1)), TWO),
    "for the end": (waiting(holds=("any", "C_FindObjectsFinal", 1), waits=("finalize",)), []),
}


# --- NSS-PERF-03 ------------------------------------------------------------------------------------------------------

def racing(alone=5, together=3, rv=GENERAL_ERROR, alone_rv=OK, locks=True, session=2, name="C_DigestInit", before=None,
           amid=("session_info", 1)):
    """A call alone, and then while another thread's is at work."""
    def story():
        t = Times().start(1, 2, locks=locks)
        for i in range(alone + together):
            other = t.begin(*amid, tid=OTHER) if i >= alone else None
            t.do(name, session, rv=rv if i >= alone else alone_rv, pMechanism=DIGEST_OPERATION)
            if other:
                t.finish(other)
            t.do("C_Digest", session, rv=OK if i < alone else 0x91, pDigest=bytes(32))
        return t
    return story


RACING = {
    "three": (racing(), THREE),
    "device": (racing(rv=DEVICE_ERROR), THREE),
    "session": (racing(rv=ACTIVE), THREE),
    "two": (racing(together=2), []),
    "alone too": (racing(alone_rv=GENERAL_ERROR), []),
    "never alone": (racing(alone=0), []),
    "none": (racing(rv=OK), []),
    "no locks": (racing(locks=False), []),
    "in one session": (racing(session=1), []),
    "a code that says why": (racing(rv=0x70), []),
    "a session that another thread closes": (racing(rv=SESSION_HANDLE_INVALID, amid=("close_session", 2)), []),
    "while another logs out": (racing(amid=("logout", 1)), []),
}

RULES = {"NSS-PERF-01": POLLING, "NSS-PERF-02": WAITING, "NSS-PERF-03": RACING}
CASES = {f"{rule}: {name}": case for rule, cases in RULES.items() for name, case in cases.items()}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    story, expected = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    result = checked(build, run, "--rule", case.split(":")[0], path, status=0)
    assert found(result) == sorted(expected), [f["sentence"] for f in result["findings"]]
    assert all(f["evidence"] for f in result["findings"])


def test_stalls_are_shown_with_their_times(build, run, tmp_path):
    t = Times().start()
    t.call("token_info")
    calls = [t.lasting(took, "token_info") for took in (0.6, 0.7, 0.8, 0.9)]
    (f,) = checked(build, run, "--rule", "NSS-PERF-01", t.write(tmp_path / "x.p11t"), status=0)["findings"]
    assert [e["call"] for e in f["evidence"]] == calls[:3] and f["count"] == 2
    assert [e["detail"] for e in f["evidence"]] == ["took 600 ms", "took 700 ms", "took 800 ms"]
    assert f["hint"].startswith("a machine under load does the same")


def test_pairs_are_shown(build, run, tmp_path):
    path = waiting(times=4)().write(tmp_path / "x.p11t")
    (f,) = checked(build, run, "--rule", "NSS-PERF-02", path, status=0)["findings"]
    assert [e["function"] for e in f["evidence"]] == ["C_Login", "C_GetSessionInfo"] * 3 and f["count"] == 2
    assert f["sentence"] == "C_GetSessionInfo waits until C_Login is over, with which it has nothing to do"
    assert f["hint"].startswith("a machine under load does the same")


def test_race_is_counted(build, run, tmp_path):
    path = racing(together=7)().write(tmp_path / "x.p11t")
    (f,) = checked(build, run, "--rule", "NSS-PERF-03", path, status=0)["findings"]
    assert f["sentence"] == ("C_DigestInit fails only while another call is at work: 7 of 7 calls, and none of 5 alone "
                             "(CKR_GENERAL_ERROR)")
    assert [e["function"] for e in f["evidence"]] == ["C_DigestInit"] * 3
