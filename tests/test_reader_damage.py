"""Traces that are cut, damaged, foreign or hostile: read as far as their bytes go, and what is missing is said."""
import random
import struct
import subprocess
import time

import pytest
import xxhash
import zstandard

from p11t_make import EVENTS, LIST, THREAD, Trace, n, s, skip
from reader_tools import calls, info, measured, numbers, save, session_call, tool


def five_frames():
    """A trace of five frames of four calls each, and the offset where each of its parts ends."""
    t, ends = Trace(), []
    ends.append(len(t.out))
    for i in range(5):
        for k in range(4):
            session_call(t, 8 * i + 2 * k + 1, session=random.Random(i * 4 + k).getrandbits(60))
        t.frame()
        ends.append(len(t.out))
    t.end()
    t.seek_table()
    return t, ends


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.p11t"


def test_whole(run, build, path):
    t, _ = five_frames()
    p = info(run, build, save(path, t))[0]
    assert (p["verdict"], p["calls"], p["damaged_bytes"], p["clean_end"]) == ("complete", 20, 0, True)
    subprocess.run(["zstd", "-qt", path], check=True)


def test_cut_at_every_offset(run, build, path, long):
    t, ends = five_frames()
    data = t.bytes()
    for at in range(1, len(data), 1 if long else 13):
        save(path, data[:at])
        p = run(build / "p11trace", "info", "--json", path, status=None)
        assert p.returncode in (0, 2), (at, p.stderr)
        frames = sum(1 for end in ends[1:] if end <= at)
        assert f'"calls":{4 * frames},' in p.stdout, at
        if p.returncode == 0:  # whole, but for the seek table, which need not be there
            assert frames == 5 and '"verdict":"complete"' in p.stdout, at
        else:
            assert '"verdict":"cut"' in p.stdout and "cut" in p.stdout, at


@pytest.mark.parametrize("frame", range(5))
def test_a_flipped_byte_costs_one_frame(run, build, path, frame):
    t, ends = five_frames()
    rng = random.Random(frame)
    for _ in range(4):
        data = bytearray(t.bytes())
        at = rng.randrange(ends[frame], ends[frame + 1])
        data[at] ^= 1 << rng.randrange(8)
        got = calls(run, build, save(path, bytes(data)), status=2)
        lost = range(8 * frame + 1, 8 * frame + 9, 2)
        assert [c["call"] for c in got] == [i for i in range(1, 41, 2) if i not in lost], at
        p = info(run, build, path, status=2)[0]
        assert p["verdict"] == "cut" and p["damaged_bytes"] > 0 and "offset" in p["damage"], at


@pytest.mark.parametrize("what", ("zeros", "removed", "inserted"))
def test_damage_of_many_bytes(run, build, path, what):
    t, ends = five_frames()
    data = t.bytes()
    a, b = ends[2] - 20, ends[3] - 20  # ends inside the third frame, begins inside the second
    data = {"zeros": data[:a] + bytes(b - a) + data[b:], "removed": data[:a] + data[b:],
            "inserted": data[:a] + random.Random(1).randbytes(100_000) + data[a:]}[what]
    got = [c["call"] for c in calls(run, build, save(path, data), status=2)]
    assert got[:4] == [1, 3, 5, 7] and got[-8:] == list(range(25, 41, 2))
    assert len(got) == (16 if what == "inserted" else 12)
    assert info(run, build, path, status=2)[0]["damaged_bytes"] > 0


def test_a_frame_that_says_that_it_is_huge_is_damage_not_memory(run, build, path):
    t = Trace()
    session_call(t, 1)
    t.frame()
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(1 << 28))
    head = struct.pack("<IBBHIIIIIIQQQ", 0x49463150, EVENTS, 2, 0, len(bomb), 1 << 28, 1, 2, 0, 1, 3, 4, 5)
    t.put(skip(0x184D2A51, head + struct.pack("<Q", xxhash.xxh64(head, seed=0).intdigest())) + bomb)
    head = struct.pack("<IBBHIIIIIIQQQ", 0x49463150, EVENTS, 2, 1, len(bomb), 1 << 19, 1, 2, 0, 1, 3, 4, 5)
    t.put(skip(0x184D2A51, head + struct.pack("<Q", xxhash.xxh64(head, seed=0).intdigest())) + bomb)
    session_call(t, 3)
    t.frame()
    t.end()
    assert [c["call"] for c in calls(run, build, save(path, t), status=2)] == [1, 3]


def test_lists_that_say_that_they_are_endless(run, build, path):
    t = Trace()
    t.enter(1, "C_FindObjects", b"\x08\x01\x0b\x01\x01")
    t.leave(2, 1, "C_FindObjects", n(0) + n(1 << 62) + b"\x01" * 100)
    t.record(LIST, n(65535) + s("x") + b"\x02\x28" + n(1 << 63) + n(1 << 40) + n(1 << 50), 3)
    t.enter(4, "C_FindObjectsInit", b"\x08\x01" + n(1 << 40))
    session_call(t, 5)
    t.frame()
    t.end()
    got = calls(run, build, save(path, t), status=2)
    assert numbers(got) == [(1, 2, "done"), (4, None, "unwound"), (5, 6, "done")]


def peak(build, *argv):
    """Status and peak memory (MiB) of the tool."""
    status, _, kib = measured([build / "p11trace", *argv])
    return status, kib / 1024


@pytest.mark.nosan
@pytest.mark.parametrize("what", ("open calls", "threads", "nested templates"))
def test_hostile_traces_take_bounded_memory(build, path, what):
    t = Trace()
    if what == "open calls":  # ever deeper, none returns
        for i in range(100_000):
            t.enter(i + 1, "C_GetSessionInfo", b"\x08\x01", sp=(1 << 40) - 16 * i)
            if i % 5000 == 4999:
                t.frame()
    elif what == "threads":
        for i in range(100_000):
            t.record(THREAD, n(i + 1) + s("a name of fifteen"))
            t.enter(i + 1, "C_GetSessionInfo", b"\x08\x01")
            if i % 5000 == 4999:
                t.frame(slot=1023)
    else:
        inner = n(0)
        for _ in range(200):
            inner = n(1) + n(1) + b"\x01" + n(9) + b"\x0b" + inner
        for i in range(1000):
            t.enter(i + 1, "C_FindObjectsInit", b"\x08\x01" + inner + n(2))
            if i % 20 == 19:
                t.frame()
    t.end()
    started = time.monotonic()
    status, memory = peak(build, "info", save(path, t))
    assert status in (0, 2)
    assert memory < 64 and time.monotonic() - started < 20


def test_a_foreign_file_is_named(run, build, tmp_path):
    p = tool(run, build, "info", "/etc/passwd", status=2)
    assert p.stderr.startswith("p11trace: /etc/passwd: not a trace (no P11TRACE at its start)")
    other = save(tmp_path / "other.p11t", zstandard.ZstdCompressor().compress(b"some other zstd file"))
    t, _ = five_frames()
    save(tmp_path / "t.p11t", t)
    p = tool(run, build, "info", "--json", tmp_path, status=2)  # in a folder it does not keep the others from being read
    assert f"{other}: not a trace" in p.stderr and '"calls":20' in p.stdout


def test_what_is_not_there(run, build, tmp_path):
    for argument, word in ((tmp_path / "none.p11t", "No such file"), (tmp_path, "no trace in this folder"),
                           ("/dev/null", "not a regular file")):
        p = tool(run, build, "info", argument, status=2)
        assert word in p.stderr and p.stdout == "" and p.stderr.count("\n") == 1


def test_empty_files(run, build, path):
    p = info(run, build, save(path, b""))[0]
    assert (p["verdict"], p["calls"]) == ("empty", 0)
    t = Trace(with_schema=False)
    session_call(t, 1)
    t.functions = ["C_Initialize", "C_Finalize"]
    t.live_slot()
    save(path, b"", t.live(trace_end=0))
    p = info(run, build, path)[0]
    assert (p["program"], p["pid"], p["verdict"], p["records"]) == ("client", 4711, "ended", 2)


def test_a_trace_without_its_end_and_live_file_is_cut(run, build, path):
    t = Trace()
    session_call(t, 1)
    t.frame()
    p = info(run, build, save(path, t), status=2)[0]
    assert p["verdict"] == "cut" and p["calls"] == 1 and "live file" in p["damage"]


def test_a_frame_that_went_missing_is_noticed_by_the_count(run, build, path):
    t, ends = five_frames()
    data = t.bytes()
    p = info(run, build, save(path, data[:ends[1]] + data[ends[2]:]), status=2)[0]
    assert p["damage"] == "8 of 40 records are missing"


def test_without_schema_the_own_table_is_used_and_said(run, build, path):
    t = Trace(with_schema=False)
    t.functions = ["C_Initialize", "C_Finalize"]
    t.enter(1, "C_Finalize", b"\x00")
    t.leave(2, 1, "C_Finalize", n(0))
    t.frame()
    t.end()
    got = calls(run, build, save(path, t), status=2)
    assert [c["fn"] for c in got] == ["C_Finalize"]
    assert "SCHEMA" in info(run, build, path, status=2)[0]["damage"]
