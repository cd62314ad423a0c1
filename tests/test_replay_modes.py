"""Replays in one thread, in the recorded threads one call at a time, and in the recorded threads as free as they were."""
import itertools
import json
import re
import shutil
import struct
import time

import pytest

from lab import lab  # noqa: F401
from nss_scene import LABEL, PIN, new_scene, pki, scene  # noqa: F401

MODES = ["serial", "relay", "free"]


def replay(lab, module, *options, status=0, trace=None, **more):
    p = lab.p11trace("replay", "--json", "--module", module, *options, trace or lab.out, status=status, **more)
    return json.loads(p.stdout)


def reasons(kinds):
    return {(k["function"], k["reason"]): k["count"] for k in kinds}


# --- NSS with threads on a token --------------------------------------------------------------------------------------

@pytest.fixture
def tls_clients(scene):
    """The trace of strsclnt with 8 threads that sign with a key on the token, and the token as it was before."""
    scene.trust_ca()
    scene.import_p12("user-ec")
    scene.import_p12("server-ec")
    before = scene.folder / "before"
    shutil.copytree(scene.folder / "tokens", before)
    with scene.selfserv("server-ec", "-r", "-r") as server:
        scene("strsclnt", "-d", "sql:nssdb", "-n", f"{LABEL}:user-ec", "-W", "pins.txt", "-c", 60, "-t", 8, "-N",
              "-p", server.port, "localhost", status=None)
    (trace,) = scene.traces.glob("strsclnt.*.p11t")
    assert scene("p11trace", "dump", "-e", "fn=C_Sign", trace).count("C_Sign(") >= 60

    def again(*options):
        shutil.rmtree(scene.folder / "tokens")
        shutil.copytree(before, scene.folder / "tokens")
        return scene("p11trace", "replay", "--module", scene.build / "libp11token.so", "--pin-file", "pin.txt", *options,
                     trace)

    return again


def test_tls_clients(tls_clients):
    for mode, times in (("serial", 1), ("relay", 1), ("free", 20)):
        for _ in range(times):
            text = tls_clients("--mode", mode)
            assert re.match(r"replayed (\d+) of \1 calls of 1 process on .*: no difference\n", text), text


# --- threads on a mock ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_order(lab, mode):
    """16 threads, which call at the same time, each in a session of its own."""
    p = lab.client("threads", "order", lab.wrap("mock32"), 16, 4000, lab.tmp / "noted")
    calls = int(re.search(r"calls (\d+)", p.stdout)[1]) + 1  # C_GetFunctionList
    result = replay(lab, lab.mock("mock32"), "--mode", mode)
    assert (result["replayed"], result["differences"], result["withheld"]) == (calls, 0, 0)


@pytest.mark.parametrize("mode", ["relay", "free"])
def test_more_threads_than_places(lab, mode):
    """Threads that come and go: more than may be there at once."""
    lab.client("threads", "churn", lab.wrap("mock32"), 300)
    result = replay(lab, lab.mock("mock32"), "--mode", mode)
    assert (result["replayed"], result["differences"]) == (904, 0)


@pytest.mark.parametrize("mode", MODES)
def test_blocked_call(lab, mode):
    """C_WaitForSlotEvent until C_Finalize: only threads that are free can make it."""
    lab.client("threads", "blocked", lab.wrap("mock32"), env={"MOCK_BLOCK": "20000"})
    result = replay(lab, lab.mock("mock32"), "--mode", mode, env={"MOCK_BLOCK": "20000"})
    assert result["differences"] == 0
    assert reasons(result["withheld_kinds"]) == (
        {} if mode == "free" else {("C_WaitForSlotEvent", "it blocked until C_Finalize: --mode free makes it"): 1})


def killed(lab, returned, **env):
    """A client with 4 threads that is killed when so many of its calls have returned."""
    noted = lab.tmp / "noted"
    client = lab.start("busy", lab.wrap("mock32"), 4, noted, env=env)
    deadline = time.monotonic() + 30
    while not (noted.exists() and sum(struct.unpack("<4Q", noted.read_bytes()[:32] or bytes(32))) >= returned):
        assert time.monotonic() < deadline and client.poll() is None
        time.sleep(0.01)
    client.kill()
    client.communicate()


@pytest.mark.parametrize("mode", MODES)
def test_killed(lab, mode):
    """In the middle of it: all that had returned is compared."""
    killed(lab, 1000)
    result = replay(lab, lab.mock("mock32"), "--mode", mode, "--until", 10_000)
    assert (result["differences"], result["withheld"]) == (0, 0)
    (trace,) = lab.files()
    calls = [json.loads(line) for line in lab.p11trace("dump", "--json", trace).stdout.splitlines()]
    # In the order in which they returned; after 4,096 numbers more no call is waited for that began before.
    returned = itertools.takewhile(lambda c: c["call"] <= 10_000 + 4096, (c for c in calls if c["type"] == "call"))
    assert result["replayed"] == sum(c["call"] <= 10_000 and "end" in c for c in returned) > 1000


def test_calls_that_had_not_returned(lab):
    """All threads hung in C_Sign when the process was killed. Today they return, or are given up."""
    killed(lab, 4 * 4, MOCK_HANG="C_Sign")
    today = replay(lab, lab.mock("mock32"))
    assert reasons(today["not_comparable_kinds"]) == {
        ("C_Sign", "it had not returned when the trace ended; today it returned CKR_OK"): 4}
    hangs = replay(lab, lab.mock("mock32"), "--timeout", 1, env={"MOCK_HANG": "C_Sign"})
    assert reasons(hangs["withheld_kinds"]) == {
        ("C_Sign", "it had not returned when the trace ended, nor did it within 1 s today"): 4}
    assert today["differences"] == hangs["differences"] == 0


def test_unfinished_behind_finalize(lab):
    """A thread was cancelled in C_Sign, and C_Finalize came after it: it cannot be made last."""
    lab.client("threads", "cancel", lab.wrap("mock32"), 1, env={"MOCK_HANG": "C_Sign"})
    result = replay(lab, lab.mock("mock32"))
    assert result["differences"] == 0
    assert reasons(result["withheld_kinds"]) == {
        ("C_Sign", "it had not returned when the trace ended, which was after C_Finalize"): 1}


# --- traces that begin late -------------------------------------------------------------------------------------------

@pytest.mark.nosan
@pytest.mark.parametrize("mode", MODES)
def test_begins_late(lab, mode):
    """A flight recorder: C_Initialize and the session are from before. The module is initialised all the same."""
    lab.client("bounded", lab.wrap("mock32", out=lab.out / "t.p11t", ring="1M", dump_on="exit"), "poll", 50_000)
    result = replay(lab, lab.mock("mock32"), "--mode", mode, status=2)
    assert result["differences"] == 0 and result["processes"][0]["lost"].startswith("it begins with record ")
    kinds = reasons(result["withheld_kinds"])
    assert kinds.pop(("C_GetObjectSize", "its session was opened before the trace begins")) > 1000
    assert kinds.pop(("C_GetObjectSize", "its beginning is not in the trace"), 1) == 1
    assert kinds == {} and result["replayed"] == 1, "C_Finalize"


# --- what is chosen ---------------------------------------------------------------------------------------------------

def test_until_and_calls(lab):
    lab.client("threads", "churn", lab.wrap("mock32"), 3)
    whole = replay(lab, lab.mock("mock32"))
    assert whole["replayed"] == 13
    some = replay(lab, lab.mock("mock32"), "--until", 12)
    assert 0 < some["replayed"] < 13 and some["differences"] == 0
    few = replay(lab, lab.mock("mock32"), "-e", "fn=!C_OpenSession")
    assert few["differences"] == 0
    kinds = reasons(few["withheld_kinds"])
    assert kinds["C_OpenSession", "left out by --calls"] == 1
    assert sum(n for (function, _), n in kinds.items() if function == "C_GetSessionInfo") == 9


def test_recorded_speed(lab):
    """The pauses of the application are made again: 0.1 s before its calls."""
    lab.client("threads", "blocked", lab.wrap("mock32"), env={"MOCK_BLOCK": "20000"})
    for mode in MODES:
        took = []
        for speed in ("max", "recorded"):
            start = time.monotonic()
            replay(lab, lab.mock("mock32"), "--speed", speed, "--mode", mode, env={"MOCK_BLOCK": "20000"})
            took.append(time.monotonic() - start)
        assert took[1] > 0.1 and took[1] > took[0]
