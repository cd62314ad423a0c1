"""Threads: order, blocking calls, cancellation, exceptions and jumps.  Nothing hangs and nothing is lost."""
import re
import struct

import pytest

import p11t_reader
from conftest import SANITIZE
from lab import assert_nothing_lost, counted, lab, totals  # noqa: F401

pytestmark = pytest.mark.threads


def calls_of(p):
    return int(re.search(r"calls (\d+)", p.stdout)[1])


def test_order(lab, count):
    """16 threads: each thread's calls in its order, all calls in an order that the client's own clock does not contradict."""
    n, threads = count(100_000), 16
    side = lab.tmp / "noted"
    p = lab.client("threads", "order", lab.wrap("mock32"), threads, n, side, timeout=120)
    data = side.read_bytes()
    noted = {(s, i): (before, after) for s, i, before, after in struct.iter_unpack("<4Q", data)}
    assert len(noted) == n // threads * threads
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert len(trace.calls) == calls_of(p) + 1, "C_GetFunctionList is the one more"
    rows, per_thread = [], {}
    for c in trace.calls:
        if c.name != "C_GetObjectSize":
            continue
        session, index = c.arguments()[0][1]["number"], c.arguments()[1][1]["number"]
        rows.append((*noted.pop((session, index)), c.enter.number, c.leave.number))
        per_thread.setdefault((session, c.tid), []).append(index)
    assert noted == {}, "calls that are not in the trace"
    assert len(per_thread) == threads, "a session's calls under one thread id"
    assert all(indexes == sorted(indexes) for indexes in per_thread.values())
    # If A returned before B was made by the client's clock, A's LEAVE number is smaller than B's ENTER number.
    returned = sorted((after, leave) for _, after, _, leave in rows)
    latest, at = 0, 0
    for before, _, enter, _ in sorted(rows):
        while at < len(returned) and returned[at][0] < before:
            latest = max(latest, returned[at][1])
            at += 1
        assert latest < enter
    assert at > n // 2, "the clocks must have decided something"


def test_info_beside_blocked_call(lab):
    p = lab.client("threads", "blocked", lab.wrap("mock32"), env={"MOCK_BLOCK": "20000"})
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert counted(trace.calls) == {"C_GetFunctionList": 1, "C_Initialize": 1, "C_WaitForSlotEvent": 1, "C_GetInfo": 2000,
                                    "C_Finalize": 1}
    wait = next(c for c in trace.calls if c.name == "C_WaitForSlotEvent")
    inside = [c for c in trace.calls if wait.number < c.number and c.leave.number < wait.leave.number]
    assert counted(inside)["C_GetInfo"] == 2000
    assert int(re.search(r"longest (\d+)", p.stdout)[1]) < 1_000_000


@pytest.mark.nosan
def test_cancelled_in_a_call(lab):
    threads = 60
    p = lab.client("threads", "cancel", lab.wrap("mock32"), threads, env={"MOCK_HANG": "C_Sign"})
    trace = lab.trace()
    assert_nothing_lost(trace)
    names = counted(trace.calls)
    assert names["C_GetSessionInfo"] == threads * 20
    assert sum(names.values()) - names["C_Sign"] - names["C_GetFunctionList"] == calls_of(p)
    signs = [c for c in trace.calls if c.name == "C_Sign"]
    # A thread that was cancelled before it reached the call has none.
    assert threads // 2 <= len(signs) <= threads
    assert {c.state for c in signs} <= {"open", "abandoned"}


@pytest.mark.nosan
@pytest.mark.parametrize("capture", ["safe", "full"])
def test_cancelled_at_the_first_call(lab, capture):
    """A fork's child begins its trace in a thread that is to be cancelled: the call returns, and nobody waits for a lock that
    the thread took with it."""
    lab.p11trace("keygen", "-q", "-o", lab.tmp / "case")
    lab.client("threads", "first", lab.wrap("mock32", capture=capture, seal_to=lab.tmp / "case.pub"))
    traces = lab.traces()
    assert len(traces) == 2 and {t.text(17) for t in traces} == {capture}
    assert [counted(t.calls)["C_GetInfo"] for t in traces if "C_GetInfo" in counted(t.calls)] == [2]


@pytest.mark.skipif(SANITIZE != "", reason="cancelled threads break the sanitizers themselves (gcc 12): ASan's clean-up of "
                    "the stack fails, TSan's registry of threads stays locked")
def test_cancelled_while_flushing(lab, count):
    """decisions.md A1: 10,000 flushes, and threads die all the time; every call that began is there with its end."""
    wanted = count(10_000)
    calls = wanted * 500
    p = lab.client("threads", "flush", lab.wrap("mock32"), calls, timeout=250)
    made = calls_of(p)
    assert int(re.search(r"cancelled (\d+)", p.stdout)[1]) > 10
    (path,) = lab.files()
    trace, end = totals(path)
    events = [f for f in trace.frames if f[0].kind == p11t_reader.EVENTS]
    assert len(events) >= wanted * 0.7
    assert sum(info.records for info, _ in events) >= 2 * (made + 1), "C_GetFunctionList is the one more"
    begun = ended = 0
    for info, content in events[::20]:
        for r in p11t_reader.frame_records(info, content):
            begun += r.kind == p11t_reader.ENTER
            ended += r.kind == p11t_reader.LEAVE
    assert abs(begun - ended) <= len(events[::20])
    assert end[2] == end[8] == 0, "lost, passed through"
    assert 6 not in end, "no call is open"


def test_churn(lab, count):
    """Threads that come and go use the slots of those that went: neither memory nor file grows with their number."""
    threads = count(10_000)
    p = lab.client("threads", "churn", lab.wrap("mock32"), threads)
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert counted(trace.calls)["C_GetSessionInfo"] == threads * 3
    assert len(trace.calls) == calls_of(p) + 1
    assert len({c.tid for c in trace.calls if c.name == "C_GetSessionInfo"}) > threads * 0.9
    assert len({r.slot for r in trace.records}) <= 8


@pytest.mark.nosan
@pytest.mark.parametrize("how", ["throw", "jump"])
def test_left_by_exception_or_jump(lab, how):
    """decisions.md A9: 1,000 calls that never return through us, then 1,000 that do: all are there."""
    env = {"MOCK_NOTIFY": "C_Sign"}
    p = lab.client("unwind", how, lab.wrap("mock32"), 1000, env=env)
    assert p.stdout == lab.client("unwind", how, lab.mock("mock32"), 1000, env=env).stdout == "left 1000\n"
    trace = lab.trace()
    assert_nothing_lost(trace)
    signs = [c for c in trace.calls if c.name == "C_Sign"]
    infos = [c for c in trace.calls if c.name == "C_GetSessionInfo"]
    assert len(signs) == len(infos) == 1000
    assert {c.state for c in signs} == {"abandoned"}
    assert {c.state for c in infos} == {"done"}


def test_call_inside_a_callback(lab):
    p = lab.client("unwind", "nested", lab.wrap("mock32"), 500, env={"MOCK_NOTIFY": "C_Sign"})
    assert p.stdout == "left 500\n"
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert {c.state for c in trace.calls} == {"done"}
    signs = [c for c in trace.calls if c.name == "C_Sign"]
    inner = [c for c in trace.calls if c.name == "C_GetSessionInfo"]
    assert len(signs) == 500 and len(inner) == 1000
    assert all(s.number < i.number and i.leave.number < s.leave.number for s, i in zip(signs, inner))
