"""The flight recorder: ring= and dump-on=."""
import json
import re
import time

import pytest

import p11t_reader
from lab import lab  # noqa: F401
from test_disk import one_line
from test_rotation import counted, dumped, handles, in_order, info, whole_from


def ring(lab, dump_on=None, ring="1M", **more):
    if dump_on:
        more["dump_on"] = dump_on
    return lab.wrap("mock32", out=lab.out / "t.p11t", ring=ring, **more)


def raw_size(trace):
    """Bytes that the records take in the slots."""
    return sum(40 + (len(r.body) + 7) // 8 * 8 for r in [*trace.records, *trace.other])


@pytest.mark.nosan
def test_a_fault_after_a_million_calls(lab, count):
    n = count(1_000_000)
    p = lab.client("bounded", ring(lab, "rv=failed"), "poll", n, "fault", "poll", 10)
    assert counted(p.stdout) == n + 10 and p.stderr == ""
    assert [f.name for f in lab.out.iterdir()] == ["t.p11t"], "the dump, and no live file"
    lab.run("zstd", "-tq", lab.out / "t.p11t")
    trace = p11t_reader.read(lab.out / "t.p11t")
    assert trace.damage == [] and trace.verdict == "complete" and whole_from(trace)
    kept = handles(trace)
    assert kept == list(range(kept[0], n + 1)), "all before the fault, none behind it"
    assert trace.calls[-1].name == "C_GetSessionInfo" and trace.calls[-1].rv == 0xB3
    assert 0.9 * 2**20 < raw_size(trace) <= 2**20, "the last MiB"
    assert [m[1] for m in trace.modules] == [str(lab.mock("mock32"))]
    assert trace.end[7] == [b"dump"]
    assert trace.end[10] == [f"#{trace.calls[-1].number} C_GetSessionInfo CKR_SESSION_HANDLE_INVALID 0xb3".encode()]
    assert dumped(lab, lab.out) == kept
    process = info(lab, lab.out)
    assert process["complete_from"] == trace.complete_from > 1 and process["reason"] == "dump"
    assert process["trigger"] == trace.end[10][0].decode()
    text = lab.p11trace("info", lab.out).stdout
    assert "complete dump; the process went on" in text and "CKR_SESSION_HANDLE_INVALID" in text
    lab.p11trace("check", lab.out)


@pytest.mark.parametrize("dump_on", [None, "rv=failed"])
def test_nothing_happened(lab, dump_on):
    p = lab.client("bounded", ring(lab, dump_on), "poll", 50_000)
    assert p.stderr == "" and list(lab.out.iterdir()) == []


def test_dump_on_exit(lab):
    lab.client("bounded", ring(lab, "exit"), "poll", 50_000)
    trace = lab.trace()
    assert trace.end[7] == [b"exit"] and whole_from(trace)
    assert handles(trace)[-1] == 50_000 and trace.calls[-1].name == "C_Finalize"


def test_a_small_dump_has_everything(lab):
    lab.client("bounded", ring(lab, "exit"), "poll", 100)
    trace = lab.trace()
    assert trace.complete_from == 1 and handles(trace) == list(range(1, 101)) and whole_from(trace)


@pytest.mark.parametrize("dump_on, dumps", [
    ("rv=CKR_SESSION_HANDLE_INVALID", True), ("rv=0xb3", True), ("rv=CKR_PIN_INCORRECT,CKR_DEVICE_ERROR", False),
    ("rv=failed,!CKR_SESSION_HANDLE_INVALID", False), ("rv:CKR_SESSION_HANDLE_INVALID", True),
    ("fn=C_GetSessionInfo", True),
    ("fn=C_Login|fn=C_GetSessionInfo", True), ("fn=C_GetObjectSize rv=failed", False),
    ("fn=%session rv=failed", True), ("duration>10s", False), ("duration>0ns", False), ("slow:1ns", True)])
def test_what_triggers(lab, dump_on, dumps):
    if "0ns" in dump_on:
        lab.p11trace("wrap", lab.mock("mock32"), "-o", lab.tmp / "x.so", "--dump-on", dump_on, status=2)
        return
    lab.client("bounded", ring(lab, dump_on), "poll", 10, "fault", "poll", 10)
    assert [f.name for f in lab.out.iterdir()] == (["t.p11t"] if dumps else [])


def test_storms_are_limited(lab):
    """At most one dump in dump-every=, and files= of them are kept, the latest ones."""
    steps = ["poll", 5000, "fault"] * 20
    lab.client("bounded", ring(lab, "rv=failed"), *steps)
    assert [f.name for f in lab.out.iterdir()] == ["t.p11t"]
    assert handles(lab.trace())[-1] == 5000, "the first one"
    (lab.out / "t.p11t").unlink()
    lab.client("bounded", ring(lab, "rv=failed", dump_every="0s", files=3), *steps)
    files = in_order(lab.out.iterdir())
    assert [f.name for f in files] == ["t.18.p11t", "t.19.p11t", "t.20.p11t"]
    trace = p11t_reader.read(files[0])
    assert trace.damage == [] and trace.missing == 0 and whole_from(trace)
    assert handles(trace)[-5000:] == list(range(95_001, 100_001))
    assert dumped(lab, files[0]) == handles(trace)


def test_dumps_with_a_hole_between(lab):
    lab.client("bounded", ring(lab, "rv=failed", ring="512K", dump_every="0s"), "poll", 20_000, "fault", "poll", 50_000,
               "fault")
    files = in_order(lab.out.iterdir())
    assert [f.name for f in files] == ["t.p11t", "t.2.p11t"]
    trace = p11t_reader.read(files[0])
    assert trace.damage == [] and trace.missing > 10_000 and whole_from(trace)
    kept = handles(trace)
    assert 20_000 in kept and kept[-1] == 70_000 and kept == dumped(lab, lab.out)
    process = info(lab, lab.out)
    assert process["missing"] == trace.missing and process["complete_from"] == trace.complete_from
    assert "between the files" in lab.p11trace("info", lab.out).stdout
    lab.p11trace("check", lab.out)


@pytest.mark.threads
def test_two_threads(lab):
    p = lab.client("bounded", ring(lab, "rv=failed"), "threads", 2, 30_000, "fault")
    assert counted(p.stdout) == 60_000
    trace = lab.trace()
    assert whole_from(trace)
    by_thread = {}
    for c in trace.calls:
        if c.name == "C_GetObjectSize" and c.enter:
            by_thread.setdefault(c.argument("hObject")[0]["number"] >> 32, set()).add(c.tid)
    assert all(len(tids) == 1 for tids in by_thread.values())
    theirs = [json.loads(line) for line in lab.p11trace("dump", "--json", lab.out).stdout.splitlines()]
    assert {c["call"]: c["tid"] for c in theirs if c["type"] == "call" and "call" in c} == {
        c.number: c.tid for c in trace.calls if c.enter}


@pytest.mark.threads
def test_more_threads_than_slots(lab):
    """Slots of living threads are not taken: the ring grows with them; those of ended ones are."""
    p = lab.client("bounded", ring(lab, "exit", ring="512K"), *["threads", 20, 3000] * 3)
    assert counted(p.stdout) == 180_000 and p.stderr == ""
    trace = lab.trace()
    assert whole_from(trace)
    assert raw_size(trace) < 42 * 65536


def test_fork(lab):
    """The child has a ring of its own."""
    p = lab.client("bounded", ring(lab, "rv=failed"), "poll", 20_000, "fork", "poll", 20_000, "fault")
    assert counted(p.stdout) == 40_000
    trace = p11t_reader.read(lab.out / "t-2.p11t")
    assert trace.damage == [] and 2 in trace.fields and whole_from(trace)
    kept = handles(trace)
    assert kept[0] > 20_000 and kept[-1] == 40_000


@pytest.mark.nosan
def test_killed(lab, count):
    """After a kill the live file is the trace."""
    counter = lab.tmp / "counted"
    traced = ring(lab, "rv=failed")
    for i in range(count(50)):
        p = lab.start("bounded", traced, "endless", env={"COUNTED": counter})
        time.sleep(0.05 + 0.001 * (i % 50))
        p.kill()
        p.communicate(timeout=20)
        returned = int.from_bytes(counter.read_bytes()[:8], "little") if counter.exists() else 0
        if returned > 0:
            trace = p11t_reader.read(lab.out / "t.p11t")
            assert trace.damage == [] and whole_from(trace)
            kept = handles(trace)
            assert kept[-1] in (returned, returned + 1) and kept == list(range(kept[0], kept[-1] + 1))
            assert [m[1] for m in trace.modules] == [str(lab.mock("mock32"))], "though its record is overwritten"
            assert info(lab, lab.out)["complete_from"] == trace.complete_from
            assert (lab.out / "t.p11t.live").stat().st_size <= 2**20 + 2 * 65536 + 8192
        for f in lab.out.iterdir():
            f.unlink()
        counter.unlink(missing_ok=True)


@pytest.mark.nosan
def test_endless_poll_has_a_constant_size(lab):
    counter = lab.tmp / "counted"
    p = lab.start("bounded", ring(lab), "endless", env={"COUNTED": counter})
    time.sleep(0.4)
    sizes = {f.name: f.stat().st_size for f in lab.out.iterdir()}
    running = p11t_reader.read(lab.out / "t.p11t")
    assert lab.p11trace("info", lab.out).stdout.count("recording") == 1 and running.locked
    time.sleep(0.4)
    assert {f.name: f.stat().st_size for f in lab.out.iterdir()} == sizes
    p.kill()
    p.communicate(timeout=20)
    shown = lab.p11trace("dump", lab.out).stdout
    trace = p11t_reader.read(lab.out / "t.p11t")
    assert 0.9 * 2**20 < raw_size(trace) <= 2**20
    lab.p11trace("recover", lab.out / "t.p11t")
    assert [f.name for f in lab.out.iterdir()] == ["t.p11t"] and lab.p11trace("dump", lab.out).stdout == shown
    assert p11t_reader.read(lab.out / "t.p11t").complete_from == trace.complete_from


def test_killed_after_a_dump(lab):
    """The dump and what the live file has since are one trace."""
    p = lab.start("bounded", ring(lab, "rv=failed"), "poll", 5000, "fault", "poll", 500, "kill")
    p.communicate(timeout=20)
    trace = p11t_reader.read(lab.out / "t.p11t")
    assert trace.damage == [] and trace.missing == 0 and whole_from(trace)
    assert handles(trace) == list(range(1, 5501)) == dumped(lab, lab.out)
    assert info(lab, lab.out)["verdict"] in ("ended", "died")


@pytest.mark.parametrize("own", [False, True])
def test_signal(lab, own):
    """The next call writes the dump; a program that uses the signal keeps it."""
    steps = ["poll", 1000, "signal", "poll", 1000]
    p = lab.client("bounded", ring(lab, "signal=USR2"), *(["handler"] if own else []), *steps)
    assert counted(p.stdout) == 2000 and ("handled 1" in p.stdout) is own
    if own:
        assert "USR2" in one_line(p.stderr) and list(lab.out.iterdir()) == []
        return
    trace = lab.trace()
    assert p.stderr == "" and handles(trace)[-1] in (1000, 1001) and trace.end[10] == [b"signal USR2"]


def test_no_other_dump_can_be_opened(lab):
    """The first one was opened at the start."""
    (lab.tmp / "empty").mkdir()
    p = lab.client("bounded", ring(lab, "rv=failed", dump_every="0s"), "poll", 100, "chroot", lab.tmp / "empty",
                   *["fault", "poll", 100] * 3)
    assert counted(p.stdout) == 400 and "t.2.p11t" in one_line(p.stderr)
    trace = p11t_reader.read(lab.out / "t.p11t")
    assert trace.damage == [] and [f[3][7] for f in trace.files] == [[b"dump"]]
    assert handles(trace) == list(range(1, 401)), "the live file could not be removed either"


def test_dump_on_without_ring(lab):
    p = lab.client("bounded", lab.wrap("mock32", dump_on="exit"), "poll", 10)
    assert "ring=" in one_line(p.stderr)
    assert len(handles(lab.trace())) == 10


def instructions(lab, traced, n):
    p = lab.run("valgrind", "--tool=callgrind", f"--callgrind-out-file={lab.tmp}/cg.%p", lab.program("bounded"), traced,
                "poll", n)
    return int(re.search(r"Collected : (\d+)", p.stderr)[1])


@pytest.mark.nosan
def test_costs_no_more_than_the_default(lab):
    """Instructions of a call, flushes included, without another module's."""
    costs = []
    for name, settings in (("plain", {}), ("ring", {"ring": "1M", "dump_on": "exit"})):
        traced = lab.wrap("mock32", name=name, **settings)
        costs.append((instructions(lab, traced, 60_000) - instructions(lab, traced, 10_000)) / 50_000)
    assert costs[1] <= costs[0], costs
