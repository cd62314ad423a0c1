"""A client that dies in the middle of a call, or is killed anywhere: what was committed is there."""
import random
import signal
import struct
import time

import pytest

import p11t_reader
from lab import lab  # noqa: F401

pytestmark = pytest.mark.nosan

MADE = ["C_GetFunctionList", "C_Initialize", "C_OpenSession"] + ["C_GetSessionInfo"] * 10 + ["C_SignInit", "C_Sign"]


def die_in_sign(lab, how):
    """The client's trace after SIGKILL or SIGSEGV inside C_Sign."""
    traced = lab.wrap("mock32")
    if how == "SIGSEGV":
        lab.client("lifecycle", "sign", traced, env={"MOCK_CRASH": "C_Sign"}, status=-signal.SIGSEGV)
        return
    p = lab.start("lifecycle", "sign", traced, env={"MOCK_HANG": "C_Sign"})
    assert p.stderr.readline() == "hang\n"
    p.kill()
    assert p.wait(10) == -signal.SIGKILL
    p.stdout.close()
    p.stderr.close()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV"])
def test_died_in_sign(lab, how):
    die_in_sign(lab, how)
    trace = lab.trace("died in call")
    assert [c.name for c in trace.calls if c.name not in ("C_GetInterface", "C_GetInterfaceList")] == MADE
    *done, sign = trace.calls
    assert {c.state for c in done} == {"done"} and {c.rv for c in done} == {0}
    assert sign.state == "open" and sign.leave is None
    before = {p.name: b for p, b, _ in sign.arguments()}
    assert before["hSession"]["number"] == 0x100
    assert before["ulDataLen"]["number"] == len("to be signed")
    assert before["pulSignatureLen"]["number"] == 512
    assert before["pSignature"]["pointer"] == 1

    (path,) = lab.files()
    info = lab.p11trace("info", path)
    assert "ended inside C_Sign" in info.stdout
    dump = lab.p11trace("dump", path).stdout
    for name in set(MADE):
        assert dump.count(f"{name}(") == MADE.count(name), dump
    last = next(line for line in dump.splitlines()[::-1] if "C_Sign(" in line)
    assert "in flight" in last and "CKR_" not in last
    assert "hSession=0x100" in last and "ulDataLen=12" in last


def test_recover(lab):
    """`recover` folds the two files into one that says the same."""
    die_in_sign(lab, "SIGKILL")
    (path,) = lab.files()
    dump = lab.p11trace("dump", path).stdout
    before = [(c.number, c.name, c.state) for c in lab.trace("died in call").calls]
    lab.p11trace("recover", path)
    (path,) = lab.files()
    assert not list(lab.out.glob("*.live"))
    assert lab.p11trace("dump", path).stdout == dump
    assert [(c.number, c.name, c.state) for c in p11t_reader.read(path).calls] == before
    lab.run("zstd", "-tq", path)
    assert "ended inside C_Sign" in lab.p11trace("info", path).stdout


def test_recover_refuses_a_running_process(lab):
    """decisions.md A13: the live file of a running process is never touched."""
    p = lab.start("lifecycle", "sign", lab.wrap("mock32"), env={"MOCK_HANG": "C_Sign"})
    assert p.stderr.readline() == "hang\n"
    try:
        (path,) = lab.files()
        assert p11t_reader.read(path).verdict == "recording"
        assert "recording" in lab.p11trace("info", path).stdout
        live = path.with_name(path.name + ".live")
        before = path.read_bytes(), live.stat().st_size
        refused = lab.p11trace("recover", path, status=2)
        assert len(refused.stderr.splitlines()) == 1
        assert (path.read_bytes(), live.stat().st_size) == before
        dump = lab.p11trace("dump", path).stdout
        assert dump.count("C_GetSessionInfo(") == 10 and "C_Sign(" in dump
    finally:
        p.kill()
        p.communicate(timeout=10)
    assert p11t_reader.read(path).verdict == "died in call"


@pytest.mark.timeout(1200)
def test_killed_anywhere(lab, count):
    """200 SIGKILLs of a busy client: for each thread, what its own counter says has returned is in the trace, and at most
    one more, whose counter the kill forestalled."""
    rng = random.Random(20)
    traced, threads = lab.wrap("mock32"), 3
    total = open_calls = 0
    for i in range(count(200) + 60):
        if i >= count(200) and open_calls:
            break  # a few kills may all fall between two calls: then there are some more
        counters = lab.tmp / "counters"
        counters.unlink(missing_ok=True)
        p = lab.start("busy", traced, threads, counters)
        wait_until(lambda: counters.exists() and counters.stat().st_size and any(read_counters(counters, threads)), p)
        time.sleep(rng.random() * 0.015)
        p.kill()
        _, stderr = p.communicate(timeout=20)
        assert p.returncode == -signal.SIGKILL and stderr == ""
        (path,) = lab.files()
        trace = p11t_reader.read(path)
        assert trace.damage == [] and trace.verdict in ("ended", "died in call")
        done = [0] * threads
        for c in trace.calls:
            if c.name in ("C_GetSessionInfo", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_Sign"):
                session = p11t_reader.Cursor(c.enter.body).u() - 0x100
                done[session] += c.state == "done"
                open_calls += c.state == "open"
        for returned, recorded in zip(read_counters(counters, threads), done):
            assert returned <= recorded <= returned + 1, f"kill {i}: the client counted {returned}, the trace {recorded}"
        assert {c.state for c in trace.calls} <= {"done", "open"}
        numbers = [r.number for r in trace.records]
        missing = max(numbers) - len(set(numbers))
        assert missing <= threads, "a thread may have taken a number and died before its record was whole"
        total += sum(done)
        if i % 10 == 0:
            dump = lab.p11trace("dump", path, timeout=120).stdout
            assert dump.count(" = CKR_OK") == len([c for c in trace.calls if c.state == "done"]), "the decoder's count"
        for f in list(lab.out.iterdir()):
            f.unlink()
    assert total > 1000 and open_calls > 0


def read_counters(path, threads):
    return struct.unpack(f"<{threads}Q", path.read_bytes()[:8 * threads])


def wait_until(condition, process, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.001)


def test_exit_without_clean_up(lab):
    """Firefox's way: _exit, no C_Finalize.  That is no crash and no damage."""
    lab.client("forks", "quick", lab.wrap("mock32"))
    child = next(t for t in lab.traces() if 3 in t.fields)
    assert child.verdict == "ended"
    info = lab.p11trace("info", child.path)
    assert "crash" not in info.stdout and "ended inside" not in info.stdout
