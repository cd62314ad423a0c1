"""Time: what the recorder makes of a clock that is slow to read, and the reader of clocks that do not agree."""
import struct

import pytest

import p11t_reader
from conftest import ROOT
from lab import lab  # noqa: F401
from p11t_make import P_OWN, TIME, Trace, n, u
from reader_tools import SESSION_INFO, calls, save

TSC, MONOTONIC = 1, 2
MS = 10**6
FAR = 1 << 28  # ticks after which a recorder reads its clocks again


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.p11t"


# -- the recorder ------------------------------------------------------------------------------------

def rate_of(a, b):
    return (b[0] - a[0]) * 10**9 / (b[1] - a[1])


@pytest.mark.nosan
def test_readings_that_are_put_off_do_not_cost_the_counter(lab):
    """Whichever of its readings are slow, the recorder neither measures a wrong rate nor takes the counter for a liar. On a
    machine whose kernel does not trust the counter it is CLOCK_MONOTONIC from the beginning."""
    traced, slow = lab.wrap("mock240"), lab.mock("slow_clock")
    for first in (1, 2, 3):
        lab.client("bounded", traced, "poll", 20_000, "nap", 80, "poll", 20_000,
                   env={"LD_PRELOAD": slow, "SLOW_CLOCK": first})
    traces = lab.traces()
    assert len(traces) == 3
    for trace in traces:
        clock, rate = struct.unpack("<BQ", trace.fields[13][0])
        assert trace.damage == [] and clock in (TSC, MONOTONIC)
        frames = [info for info, _ in trace.frames if info.kind == p11t_reader.EVENTS]
        assert len(frames) > 10 and {info.clock for info in frames} == {clock}
        assert {r.body[0] for r in trace.other if r.kind == TIME} <= {clock}
        first, last = (struct.unpack("<QQQQ", pair) for pair in (trace.fields[14][0], trace.end[5][0]))
        assert rate == pytest.approx(rate_of(first, last), rel=0.02)


def test_the_first_piece_of_a_long_enter_has_a_time(lab):
    """Data that its own output will overwrite is read before the call: 5 KB in ENTER, and at the end of a slot's fill it begins
    in that frame and goes on in the next. ENTER's time is read last, but what was written out already must have one."""
    code = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
from cryptoki import Module
with Module(sys.argv[2]) as m:
    session, data, size = m.open_session(1), ctypes.create_string_buffer(b"x" * 5000, 6000), ctypes.c_ulong()
    for _ in range(60):
        size.value = 6000
        session.call("C_Encrypt", data, 5000, data, ctypes.byref(size))
"""
    lab.run("/usr/bin/python3", "-c", code, ROOT / "tests", lab.wrap("mock32", capture="clear"))
    records = [r for info, content in lab.trace().frames if info.kind == p11t_reader.EVENTS
               for r in p11t_reader.frame_records(info, content) if r.kind in (p11t_reader.ENTER, p11t_reader.LEAVE)]
    begun = [r for r in records if r.kind == p11t_reader.ENTER and r.flags == p11t_reader.FIRST]
    assert len(begun) >= 3
    # One thread: the order of the records is that of time.
    times = [r.time for r in records]
    assert times[0] > 0 and times == sorted(times)


# -- the reader: HEAD's pair is tick 1000 at 1000 ns -------------------------------------------------

def time_record(trace, clock, ticks, monotonic, boottime=None):
    trace.record(TIME, struct.pack("<BQQQQ", clock, ticks, monotonic, monotonic if boottime is None else boottime, 0))


def call(trace, number, start, end):
    trace.enter(number, "C_GetSessionInfo", u(7) + P_OWN, time=start)
    trace.leave(number + 1, number, "C_GetSessionInfo", SESSION_INFO, time=end)


def ticks_at(ns):
    """Of a counter that makes a tick in 2 ns."""
    return 1000 + (ns - 1000) // 2


def assert_never_back(shown):
    latest = {}
    for c in sorted(shown, key=lambda c: c["call"]):
        assert latest.get(c["tid"], 0) <= c["start"] <= c["end_time"]
        assert c["duration"] == c["end_time"] - c["start"]
        latest[c["tid"]] = c["end_time"]


def test_time_does_not_go_back_when_the_counter_is_given_up(run, build, path):
    """HEAD's rate is 3 % off, so the counter's times are ahead when CLOCK_MONOTONIC takes over."""
    t = Trace(clock=TSC, rate=485 * MS)
    for i in range(60):
        call(t, 2 * i + 1, ticks_at((i + 1) * MS), ticks_at((i + 1) * MS + 1000))
    time_record(t, MONOTONIC, 61 * MS, 61 * MS)
    for i in range(60, 70):
        call(t, 2 * i + 1, (i + 1) * MS + 1000, (i + 1) * MS + 2000)
    t.frame(clock=TSC)
    call(t, 141, 72 * MS, 73 * MS)
    t.frame(clock=MONOTONIC)
    t.end(pair=(74 * MS, 74 * MS, 74 * MS, 0))
    shown = calls(run, build, save(path, t))
    assert len(shown) == 71
    assert_never_back(shown)
    assert (shown[-1]["start"], shown[-1]["duration"]) == (72 * MS - 1000, MS)


def test_the_pairs_of_the_trace_correct_a_rate_that_was_measured_badly(run, build, path):
    t = Trace(clock=TSC, rate=600 * MS)
    call(t, 1, ticks_at(100 * MS), ticks_at(150 * MS))
    t.frame(clock=TSC)
    t.end(pair=(ticks_at(200 * MS), 200 * MS, 200 * MS, 0))
    (c,) = calls(run, build, save(path, t))
    assert c["start"] == pytest.approx(100 * MS, abs=1100) and c["duration"] == pytest.approx(50 * MS, abs=10)


def test_without_a_last_pair_the_threads_own_correct_it(run, build, path):
    t = Trace(clock=TSC, rate=515 * MS)
    call(t, 1, ticks_at(600 * MS), ticks_at(600 * MS))
    time_record(t, TSC, ticks_at(601 * MS), 601 * MS)
    call(t, 3, ticks_at(700 * MS), ticks_at(750 * MS))
    t.frame(clock=TSC)
    t.end()
    shown = calls(run, build, save(path, t))
    assert shown[1]["start"] == pytest.approx(700 * MS, abs=1100)
    assert shown[1]["duration"] == pytest.approx(50 * MS, abs=10)


def test_a_machine_that_slept(run, build, path):
    """The counter went on for an hour, CLOCK_MONOTONIC did not. The pair that was read then stands behind the record that
    it was read for; and the rate is not measured across the hour."""
    hour = 3600 * 1000 * MS
    t = Trace(clock=TSC, rate=500 * MS)
    call(t, 1, ticks_at(10 * MS), ticks_at(11 * MS))
    t.enter(3, "C_GetSessionInfo", u(7) + P_OWN, time=ticks_at(hour + 20 * MS))
    time_record(t, TSC, ticks_at(hour + 20 * MS) + 500, 20 * MS + 1000, hour + 20 * MS)
    t.leave(4, 3, "C_GetSessionInfo", SESSION_INFO, time=ticks_at(hour + 21 * MS))
    call(t, 5, ticks_at(hour + 30 * MS), ticks_at(hour + 31 * MS))
    t.frame(clock=TSC)
    t.end(pair=(ticks_at(hour + 40 * MS), 40 * MS, hour + 40 * MS, 0))
    shown = calls(run, build, save(path, t))
    assert_never_back(shown)
    assert [c["start"] for c in shown] == pytest.approx([10 * MS, 20 * MS, 30 * MS], abs=1100)
    assert [c["duration"] for c in shown] == pytest.approx([MS] * 3, abs=10)


def test_a_thread_without_a_pair_goes_by_the_latest_of_another(run, build, path):
    """A new thread writes none when one was read a moment ago."""
    t = Trace(clock=TSC, rate=495 * MS)
    time_record(t, TSC, ticks_at(9000 * MS), 9000 * MS)
    call(t, 1, ticks_at(9001 * MS), ticks_at(9002 * MS))
    t.frame(slot=0, tid=100, clock=TSC)
    call(t, 3, ticks_at(9003 * MS), ticks_at(9004 * MS))
    t.frame(slot=1, tid=101, clock=TSC)
    t.end()
    shown = calls(run, build, save(path, t))
    assert [c["start"] for c in shown] == pytest.approx([9001 * MS, 9003 * MS], abs=1100)


def test_clocks_of_a_hostile_trace(run, build, path):
    """Pairs that say nothing, and a TIME that is cut: time goes on."""
    t = Trace(clock=TSC, rate=1)
    call(t, 1, 2**64 - 1, 0)
    time_record(t, TSC, 2**63, 2**63)
    t.record(TIME, n(1))
    call(t, 3, FAR * 5, 2**63)
    t.record(TIME, n(1))
    t.frame(clock=TSC)
    t.end(pair=(2**64 - 1, 2**63, 0, 0))
    shown = calls(run, build, save(path, t))
    assert len(shown) == 2
