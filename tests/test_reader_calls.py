"""From records to calls: order, pairs, calls that never return, pieces, and what a newer recorder may write."""
import pytest

from p11t_make import CUT, ENTER, FIRST, LAST, P_OWN, STACK, TIME, FUNCTIONS, Trace, field, n, s, u, z
from reader_tools import SESSION_INFO, calls, info, numbers, save, session_call, sign_enter, sign_leave, tool


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.p11t"


def shown(run, build, path, trace, status=0):
    return calls(run, build, save(path, trace), status=status)


def test_calls_of_two_threads_come_in_the_order_of_their_ends(run, build, path):
    t = Trace()
    t.thread(100, "main")
    sign_enter(t, 1)
    sign_leave(t, 6, 1)
    t.frame(slot=0, tid=100)
    t.thread(101, "worker")
    session_call(t, 2)
    session_call(t, 4)
    t.frame(slot=1, tid=101)
    t.end()
    t.seek_table()
    got = shown(run, build, path, t)
    assert [(c["call"], c["end"], c["fn"], c["tid"], c["thread"]) for c in got] == [
        (2, 3, "C_GetSessionInfo", 101, "worker"), (4, 5, "C_GetSessionInfo", 101, "worker"), (1, 6, "C_Sign", 100, "main")]


def test_an_idle_slot_that_was_flushed_last_is_shown_where_it_belongs(run, build, path):
    t = Trace()
    for i in range(3):
        session_call(t, 10 + 2 * i)
        t.frame(slot=1, tid=101)
    session_call(t, 1)
    session_call(t, 12 + 8)
    t.frame(slot=0, tid=100)
    t.end()
    assert [c["call"] for c in shown(run, build, path, t)] == [1, 10, 12, 14, 20]


def test_frames_of_one_slot_are_read_in_order_of_generation(run, build, path):
    t = Trace()
    session_call(t, 3)
    t.frame(generation=2)
    session_call(t, 1)
    t.frame(generation=1)
    t.end()
    assert [c["call"] for c in shown(run, build, path, t)] == [1, 3]


def test_one_fill_that_is_there_twice_counts_once(run, build, path):
    t = Trace()
    for _ in range(2):
        session_call(t, 1)
        t.frame(generation=1)
    t.end(records=2)
    assert [c["call"] for c in shown(run, build, path, t)] == [1]


def test_a_thousand_slots(run, build, path):
    t = Trace()
    for slot in range(1024):
        t.thread(1000 + slot)
        session_call(t, 1 + 2 * slot)
        session_call(t, 4001 + 2 * (1023 - slot))
        t.frame(slot=slot, tid=1000 + slot)
    t.end()
    got = shown(run, build, path, t)
    assert [c["call"] for c in got] == [*range(1, 2049, 2), *range(4001, 6049, 2)]
    assert [c["tid"] for c in got[:1024]] == list(range(1000, 2024))
    assert info(run, build, path)[0]["threads"] == 1024


def test_nested_calls_are_not_taken_for_abandoned_ones(run, build, path):
    t = Trace()
    sign_enter(t, 1, sp=0x7000)
    session_call(t, 2, sp=0x6000)  # a callback that calls back: deeper
    sign_leave(t, 4, 1)
    t.frame()
    t.end()
    assert numbers(shown(run, build, path, t)) == [(2, 3, "done"), (1, 4, "done")]


def test_a_call_that_was_unwound_is_closed_by_the_threads_next_call(run, build, path):
    t = Trace()
    sign_enter(t, 1, sp=0x7000)
    session_call(t, 2, sp=0x7000)
    sign_enter(t, 4, sp=0x6000)
    sign_enter(t, 5, sp=0x5000)
    session_call(t, 6, sp=0x7100)
    t.frame()
    t.end()
    assert numbers(shown(run, build, path, t)) == [
        (1, None, "unwound"), (2, 3, "done"), (5, None, "unwound"), (4, None, "unwound"), (6, 7, "done")]
    assert info(run, build, path)[0]["abandoned"] == 3


def test_another_threads_call_closes_nothing(run, build, path):
    t = Trace()
    t.thread(100)
    sign_enter(t, 1, sp=0x1000)
    t.frame(slot=0, tid=100)
    t.thread(101)
    session_call(t, 2, sp=0x9000)
    t.frame(slot=1, tid=101)
    t.end()
    assert numbers(shown(run, build, path, t)) == [(2, 3, "done"), (1, None, "open")]


def test_a_thread_that_ended_in_a_call_has_left_it_when_its_slot_goes_on(run, build, path):
    t = Trace()
    t.thread(100)
    sign_enter(t, 1)
    t.thread(101)  # the slot's next owner: 100 was cancelled
    session_call(t, 2)
    t.frame()
    t.end()
    got = shown(run, build, path, t)
    assert numbers(got) == [(1, None, "unwound"), (2, 3, "done")]
    assert [c["tid"] for c in got] == [100, 101]


def test_leave_without_enter_and_enter_without_leave(run, build, path):
    t = Trace()
    t.leave(5, 2, "C_GetSessionInfo", n(7) + n(0))
    sign_enter(t, 6)
    t.frame()
    t.end()
    got = shown(run, build, path, t)
    assert numbers(got) == [(None, 5, "headless"), (6, None, "open")]
    assert got[0]["rv_value"] == 7


def test_a_function_that_does_not_match_is_no_pair(run, build, path):
    t = Trace()
    sign_enter(t, 1)
    t.leave(2, 1, "C_GetSessionInfo", n(0) + n(0))
    t.frame()
    t.end()
    assert numbers(shown(run, build, path, t)) == [(None, 2, "headless"), (1, None, "open")]


def test_outputs_are_there_when_the_frame_of_enter_is_long_gone(run, build, path):
    t = Trace()
    sign_enter(t, 1)
    t.frame()
    t.record(STACK, n(1) + n(2) + b"\0" + z(0x1111) + z(5))
    sign_leave(t, 2, 1)
    session_call(t, 3, stack=1)
    t.frame()
    t.end()
    got = shown(run, build, path, t)
    args = {a["name"]: a for a in got[0]["args"]}
    assert args["pData"]["in"]["length"] == 32 and args["pData"]["in"]["form"] == "tag"
    assert args["pSignature"]["out"]["hex"] == b"ok".hex()
    assert (args["pulSignatureLen"]["in"]["value"], args["pulSignatureLen"]["out"]["value"]) == (256, 2)
    assert "caller" not in got[0] and got[1]["caller"] == "0x1111"


def pieces(t, kind, body, number, function, size, last=True, cut_first=False, **more):
    parts = [body[i:i + size] for i in range(0, len(body), size)]
    for i, part in enumerate(parts):
        if cut_first and i == 0:
            continue
        flags = (FIRST if i == 0 else 0) | (LAST if last and i == len(parts) - 1 else 0)
        t.record(kind, part, number, function=list(FUNCTIONS).index(function), flags=flags, **more)
        yield i


def test_a_record_in_pieces_is_one_record(run, build, path):
    handles = n(0) + n(30000) + b"".join(u(i) for i in range(30000)) + u(30000)
    t = Trace()
    t.enter(1, "C_FindObjects", u(7) + P_OWN + u(30000) + P_OWN + u(0))
    for i in pieces(t, 2, handles, 2, "C_FindObjects", 16384, aux=1):
        if i == 1:
            t.frame()  # the rest comes with the next fill
    session_call(t, 3)
    t.frame()
    t.end()
    got = shown(run, build, path, t)
    assert numbers(got) == [(1, 2, "done"), (3, 4, "done")]
    listed = next(a for a in got[0]["args"] if a["name"] == "phObject")["out"]
    assert str(29999) in str(listed) and "flags" not in got[0]


@pytest.mark.parametrize("lost", ("first", "last"))
def test_pieces_without_an_end_or_a_beginning_are_cut(run, build, path, lost):
    handles = n(0) + n(30000) + b"".join(u(i) for i in range(30000)) + u(30000)
    t = Trace()
    t.enter(1, "C_FindObjects", u(7) + P_OWN + u(30000) + P_OWN + u(0))
    list(pieces(t, 2, handles, 2, "C_FindObjects", 16384, last=lost != "last", cut_first=lost == "first", aux=1))
    session_call(t, 3)
    t.frame()
    t.end()
    got = shown(run, build, path, t)
    assert [(c["call"], "cut" in c.get("flags", ())) for c in got] == [(1, True), (3, False)]
    assert got[0]["state"] == ("unwound" if lost == "first" else "done")


def test_a_chain_that_the_end_of_the_file_cut(run, build, path):
    t = Trace()
    list(pieces(t, ENTER, u(7) + P_OWN + u(10) + P_OWN + u(0), 1, "C_FindObjects", 3, last=False, aux=0x7000))
    t.frame()
    t.end()
    got = shown(run, build, path, t)
    assert numbers(got) == [(1, None, "open")] and got[0]["flags"] == ["cut"]


def test_kinds_of_a_newer_recorder_are_stepped_over(run, build, path):
    t = Trace(minor=7, extra=field(999, b"unknown"))
    t.record(15, b"numbered, unknown", 1)
    t.record(77, b"unnumbered, unknown")
    t.enter(2, "C_FromTheFuture", s("new kind") + u(3))
    t.leave(3, 2, "C_FromTheFuture", n(0) + s("back"))
    t.frame()
    t.data_frame(9, b"a frame of an unknown kind")
    session_call(t, 4)
    t.frame()
    t.end()
    got = shown(run, build, path, t)
    assert numbers(got) == [(2, 3, "done"), (4, 5, "done")]
    args = {a["name"]: a for a in got[0]["args"]}
    assert args["pNew"]["in"]["hex"] == b"new kind".hex() and args["pNew"]["out"]["hex"] == b"back".hex()
    assert args["ulAfter"]["in"]["value"] == 3


def test_an_incompatible_feature_is_refused_in_words(run, build, path):
    t = Trace(incompatible=1 << 40)
    t.end()
    p = tool(run, build, "info", save(path, t), status=2)
    assert str(path) in p.stderr and "newer" in p.stderr and "0x10000000000" in p.stderr
    assert p.stdout == ""


def test_numbers_that_repeat_and_go_back(run, build, path):
    t = Trace()
    for number in (5, 5, 1, 5, 2):
        session_call(t, number, leave=number)
    t.frame()
    t.end()
    assert len(shown(run, build, path, t)) == 5


def test_ticks_become_time_by_the_pair_of_the_thread(run, build, path):
    t = Trace(clock=1)  # 1 tick is 1 ns, says HEAD
    clock = (5_000_000).to_bytes(8, "little") + (77_000_000).to_bytes(8, "little") + bytes(16)
    t.record(TIME, b"\x01" + clock)
    session_call(t, 1, time=5_000_100)
    t.frame()
    t.end()
    got = shown(run, build, path, t)[0]
    assert got["start"] == 77_000_100 - 1000  # since the first pair of HEAD, at 1000 ns


def test_two_processes_are_merged_by_time(run, build, tmp_path):
    for pid, first in ((1, 1000), (2, 2000)):
        t = Trace(pid=pid, trace_id=bytes([pid] * 16))
        for i in range(3):
            t.enter(2 * i + 1, "C_GetSessionInfo", u(7) + P_OWN, time=first + 2000 * i)
            t.leave(2 * i + 2, 2 * i + 1, "C_GetSessionInfo", SESSION_INFO, time=first + 2000 * i + 10)
        t.frame()
        t.end()
        save(tmp_path / f"{pid}.p11t", t)
    got = calls(run, build, tmp_path)
    assert [c["pid"] for c in got] == [1, 2, 1, 2, 1, 2]
    text = tool(run, build, "info", tmp_path).stdout
    assert text.count("3 calls, 0 errors  complete") == 2


def test_from_a_pipe(run, build, path):
    t = Trace()
    session_call(t, 1)
    t.frame()
    t.end()
    p = run(build / "p11trace", "info", "--json", "-", input=t.bytes(), text=False)
    assert b'"verdict":"complete"' in p.stdout and b'"calls":1' in p.stdout


def test_two_files_of_a_rotation_are_one_process(run, build, tmp_path):
    a, b = Trace(), Trace(extra=field(20, (2).to_bytes(4, "little")))
    session_call(a, 1)
    a.frame(generation=1)
    session_call(b, 3)
    b.frame(generation=2)
    b.end(records=4)
    got = calls(run, build, save(tmp_path / "x.2.p11t", b), save(tmp_path / "x.p11t", a), status=None)
    assert numbers(got) == [(1, 2, "done"), (3, 4, "done")]
    assert len(info(run, build, tmp_path, status=None)) == 1


def test_cut_values_are_said(run, build, path):
    t = Trace()
    t.enter(1, "C_GetSessionInfo", u(7) + P_OWN)
    t.leave(2, 1, "C_GetSessionInfo", n(0x30), flags=FIRST | LAST | CUT)  # a LEAVE for which there was no more room
    t.frame()
    t.end()
    got = shown(run, build, path, t)
    assert (got[0]["rv_value"], got[0]["flags"]) == (0x30, ["cut"])


def test_a_body_that_does_not_hold_its_parameters_is_damage(run, build, path):
    t = Trace()
    t.enter(1, "C_Sign", u(7) + P_OWN)
    t.frame()
    t.end()
    got = shown(run, build, path, t, status=2)
    assert got[0]["flags"] == ["cut"]
    assert "record 1 (C_Sign)" in info(run, build, path, status=2)[0]["damage"]
