"""A trace and its live file, read as one: killed processes, running ones, and folding the two."""
import fcntl
import os
import signal
import struct
import subprocess

import pytest

from p11t_make import HEAD, SLOT, Trace
from reader_tools import calls, info, numbers, save, session_call, sign_enter, sign_leave, tool


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.p11t"


def killed(in_call=True):
    t = Trace()
    t.thread(100)
    session_call(t, 1)
    t.frame()
    t.thread(100)
    session_call(t, 3)
    if in_call:
        sign_enter(t, 5)
    t.live_slot()
    return t


def test_killed_inside_a_call(run, build, path):
    t = killed()
    save(path, t, t.live(frames=1))
    assert numbers(calls(run, build, path)) == [(1, 2, "done"), (3, 4, "done"), (5, None, "open")]
    p = info(run, build, path)[0]
    assert (p["verdict"], p["ended_inside"], p["recording"]) == ("died", "C_Sign", False)
    assert [(f["number"], f["function"], f["tid"]) for f in p["in_flight"]] == [(5, "C_Sign", 100)]
    assert "verdict   ended inside C_Sign\n" in tool(run, build, "info", path).stdout


def test_the_live_file_can_be_named_too(run, build, path):
    t = killed()
    save(path, t, t.live(frames=1))
    assert len(calls(run, build, f"{path}.live")) == 3


def test_killed_between_calls(run, build, path):
    t = killed(in_call=False)
    save(path, t, t.live(frames=1))
    p = info(run, build, path)[0]
    assert (p["verdict"], p["ended_inside"], p["calls"]) == ("ended", None, 2)
    assert "ended (no clean end:" in tool(run, build, "info", path).stdout


def test_waiting_for_a_slot_event_is_not_dying_in_a_call(run, build, path):
    t = killed(in_call=False)
    t.enter(5, "C_WaitForSlotEvent", b"\x01\x01\x00")
    t.live_slot(slot=1, tid=101)
    save(path, t, t.live(frames=1))
    p = info(run, build, path)[0]
    assert (p["verdict"], p["open"]) == ("ended", 1)


def test_a_slot_whose_fill_is_a_frame_does_not_count_again(run, build, path):
    t = Trace()
    session_call(t, 1)
    t.frame()
    session_call(t, 1)
    t.live_slot(generation=1)  # killed between the frame and the reset of the slot
    save(path, t, t.live(frames=1))
    assert [c["call"] for c in calls(run, build, path)] == [1]


def test_a_torn_frame_of_a_killed_process_loses_nothing(run, build, path):
    t = killed()
    whole = len(t.out)
    torn = Trace()
    session_call(torn, 3)
    torn.frame()
    save(path, t.bytes() + torn.bytes()[-100:-10], t.live(frames=1, trace_end=whole))
    p = info(run, build, path)[0]
    assert (p["verdict"], p["calls"], p["damaged_bytes"]) == ("died", 3, 0)


def test_a_trace_that_is_shorter_than_the_live_file_says_is_cut(run, build, path):
    t = killed()
    save(path, t.bytes()[:-10], t.live(frames=1))
    p = info(run, build, path, status=2)[0]
    assert p["verdict"] == "cut" and "10 bytes are missing" in p["damage"]
    assert [c["call"] for c in calls(run, build, path, status=2)] == [3, 5]


@pytest.mark.parametrize("commit", (3, 4, 0x7FFFFFF8, 0xFFFFFFFF, 48))
def test_a_damaged_slot_is_read_up_to_the_damage(run, build, path, commit):
    t = killed()
    live = bytearray(t.live(frames=1))
    at = HEAD + 64
    for _ in range(2):  # THREAD and the first ENTER stay
        at += struct.unpack_from("<I", live, at)[0]
    struct.pack_into("<I", live, at, commit)
    if commit == 48:
        struct.pack_into("<I", live, at + 12, 60000)  # the body would not fit
    save(path, t, bytes(live))
    got = numbers(calls(run, build, path, status=2))
    assert got[:2] == [(1, 2, "done"), (3, None, "open")]


def test_a_cut_live_file(run, build, path):
    t = killed()
    live = t.live(frames=1)
    for size in (0, 5, 100, 300, HEAD, HEAD + 100, HEAD + SLOT - 8):
        save(path, t, live[:size])
        p = run(build / "p11trace", "info", "--json", path, status=None)
        assert p.returncode in (0, 2) and '"calls":1,' in p.stdout, size


def test_whoever_holds_the_lock_is_recording(run, build, path):
    t = killed()
    save(path, t, t.live(frames=1))
    with open(f"{path}.live", "r+b") as f:
        fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        p = info(run, build, path)[0]
        assert (p["verdict"], p["recording"], p["open"]) == ("recording", True, 1)
        refused = tool(run, build, "recover", path, status=2)
        assert "still being recorded by pid 4711" in refused.stderr
        assert path.with_name("t.p11t.live").exists()
    assert info(run, build, path)[0]["verdict"] == "died"


# -- recover ---------------------------------------------------------------------------------------

def test_recover_makes_one_file(run, build, path):
    t = killed()
    save(path, t, t.live(frames=1))
    os.chmod(path, 0o644)
    before = calls(run, build, path)
    tool(run, build, "recover", path)
    assert sorted(f.name for f in path.parent.glob("t.p11t*")) == ["t.p11t"]
    assert path.stat().st_mode & 0o777 == 0o600
    subprocess.run(["zstd", "-qt", path], check=True)
    assert calls(run, build, path) == before
    p = info(run, build, path)[0]
    assert (p["verdict"], p["ended_inside"], p["reason"], p["clean_end"]) == ("died", "C_Sign", "recovered", True)
    assert "whole already" in tool(run, build, "recover", path).stdout


def test_recover_elsewhere_leaves_the_originals(run, build, path, tmp_path):
    t = killed()
    save(path, t, t.live(frames=1))
    out = tmp_path / "out.p11t"
    tool(run, build, "recover", "-o", out, path)
    assert path.read_bytes() == t.bytes() and path.with_name("t.p11t.live").exists()
    assert numbers(calls(run, build, out)) == numbers(calls(run, build, path))
    assert "File exists" in tool(run, build, "recover", "-o", out, path, status=2).stderr
    assert not list(tmp_path.glob("out.p11t.*"))


def test_recover_of_a_damaged_trace_goes_elsewhere_only(run, build, path, tmp_path):
    t = Trace()
    session_call(t, 1)
    t.frame()
    middle = len(t.out)
    session_call(t, 3)
    t.frame()
    session_call(t, 5)
    t.live_slot()
    data = bytearray(t.bytes())
    data[middle + 100] ^= 0xFF
    save(path, bytes(data), t.live(frames=2))
    assert "-o FILE" in tool(run, build, "recover", path, status=2).stderr
    assert path.read_bytes() == bytes(data)
    out = tmp_path / "out.p11t"
    tool(run, build, "recover", "-o", out, path)
    subprocess.run(["zstd", "-qt", out], check=True)
    assert [c["call"] for c in calls(run, build, out)] == [1, 5]


def test_the_seek_table_has_an_entry_for_every_frame(run, build, path):
    t = killed()
    save(path, t, t.live(frames=1))
    tool(run, build, "recover", path)
    data, at, frames = path.read_bytes(), 0, []
    entries, _, magic = struct.unpack("<IBI", data[-9:])
    table = struct.unpack(f"<{2 * entries}I", data[-9 - 8 * entries:-9])
    while data[at:at + 4] != struct.pack("<I", 0x184D2A5E):
        skippable = data[at:at + 4] in (struct.pack("<I", 0x184D2A50), struct.pack("<I", 0x184D2A51))
        size = struct.unpack_from("<I", data, at + 4)[0] + 8 if skippable else packed
        packed, content = struct.unpack_from("<II", data, at + 16) if skippable else (0, content)
        frames.append((size, 0 if skippable else content))
        at += size
    assert magic == 0x8F92EAB1 and list(zip(table[::2], table[1::2])) == frames


# -- the real recorder -----------------------------------------------------------------------------

CLIENT = """
import ctypes, sys, time
p11 = ctypes.CDLL(sys.argv[1])
table = ctypes.c_void_p()
assert p11.C_GetFunctionList(ctypes.byref(table)) == 0
f = ctypes.cast(table, ctypes.POINTER(ctypes.c_void_p))
call = lambda i, *a: ctypes.CFUNCTYPE(ctypes.c_ulong, *(type(x) for x in a))(f[i])(*a)
assert call(1, ctypes.c_void_p()) == 0
n = int(sys.argv[2])
info = ctypes.create_string_buffer(1024)
for i in range(n):
    call(3, ctypes.c_void_p(ctypes.addressof(info)))
print("ready", flush=True)
for i in range(int(sys.argv[3])):
    call(3, ctypes.c_void_p(ctypes.addressof(info)))
    time.sleep(float(sys.argv[4]))
time.sleep(60)
"""


@pytest.fixture
def recording(tmp_path, softhsm, build, clean_env):
    """recording(n): a process that has made C_Initialize and n times C_GetInfo, goes on with `busy` more at its own pace and
    then sleeps; and its trace."""
    from conftest import SANITIZE, sanitizer_runtime
    running = []

    def start(n, busy=0, pause=0):
        env = {**clean_env, **softhsm.env, "P11TRACE_MODULE": str(softhsm.module), "P11TRACE_OUT": str(tmp_path / "out")}
        if SANITIZE:
            env["LD_PRELOAD"] = sanitizer_runtime()
        (tmp_path / "out").mkdir(exist_ok=True)
        p = subprocess.Popen(["/usr/bin/python3", "-c", CLIENT, build / "libp11trace.so", str(n), str(busy), str(pause)],
                             env=env, stdout=subprocess.PIPE, text=True)
        running.append(p)
        assert p.stdout.readline() == "ready\n"
        trace, = (tmp_path / "out").glob("*.p11t")
        return p, trace

    yield start
    for p in running:
        p.kill()
        p.wait()
        p.stdout.close()


@pytest.mark.parametrize("n", (3, 5000))
def test_a_running_process_and_then_a_killed_one(run, build, recording, n):
    p, trace = recording(n)
    live = trace.with_name(trace.name + ".live")
    seen = info(run, build, trace)[0]
    assert (seen["verdict"], seen["pid"], seen["open"]) == ("recording", p.pid, 0)
    assert seen["calls"] >= n + 1
    assert tool(run, build, "recover", trace, status=2).stderr.count(f"pid {p.pid}") == 1
    p.send_signal(signal.SIGKILL)
    p.wait()
    after = info(run, build, trace)[0]
    assert (after["verdict"], after["calls"], after["records"]) == ("ended", seen["calls"], seen["records"])
    before = numbers(calls(run, build, trace))
    tool(run, build, "recover", trace)
    assert not live.exists() and numbers(calls(run, build, trace)) == before
    assert [c[0] for c in before] == sorted(c[0] for c in before)
    assert info(run, build, trace)[0]["verdict"] == "ended"


@pytest.mark.parametrize("pause", (0, 0.0005))
def test_reading_while_it_is_written(run, build, recording, pause):
    """A reader of a busy process sees whole calls, in order, without holes, whenever it looks."""
    p, trace = recording(10, busy=20_000 if pause == 0 else 2_000, pause=pause)
    last = 0
    for _ in range(5):
        one = calls(run, build, trace)
        done = [c["call"] for c in one if c["state"] == "done"]
        assert done[3:] == list(range(done[3], done[3] + 2 * len(done[3:]), 2))
        assert sum(c["state"] == "open" for c in one) <= 1
        assert len(one) >= last
        last = len(one)
    assert p.poll() is None
