"""Traces that are bounded: max= and files=.  The last files of a process are one trace from complete-from on."""
import json
import os
import random
import re
import resource
import subprocess
import time

import pytest

import p11t_reader
from lab import lab  # noqa: F401
from test_disk import fill, mounted, one_line

POLL = "C_GetObjectSize"


def handles(trace, state="done"):
    """The counts that the client gave to its calls, in order."""
    return [c.argument("hObject")[0]["number"] for c in trace.calls if c.name == POLL and c.enter and c.state == state]


def whole_from(trace):
    """Is every number there from complete-from on?"""
    numbers = sorted({r.number for r in trace.records if r.number >= trace.complete_from})
    return numbers == list(range(trace.complete_from, trace.records[-1].number + 1))


def counted(stdout):
    return int(re.search(r"calls (\d+)", stdout)[1])


def info(lab, path):
    (process,) = json.loads(lab.p11trace("info", "--json", path).stdout)["processes"]
    return process


def dumped(lab, path):
    """The client's counts as `p11trace dump --json` has them."""
    lines = map(json.loads, lab.p11trace("dump", "--json", "-e", f"fn={POLL}", path).stdout.splitlines())
    return [int(next(a["in"]["value"] for a in line["args"] if a["name"] == "hObject"))
            for line in lines if line["type"] == "call" and "call" in line and line["state"] == "done"]


def numbers_of(files):
    return [int(re.search(r"\.(\d+)\.p11t$", str(f))[1]) for f in files]


def in_order(files):
    return sorted(files, key=lambda f: (len(f.name), f.name))


@pytest.mark.nosan
def test_a_million_calls_in_three_files(lab, count):
    n = count(1_000_000)
    p = lab.client("bounded", lab.wrap("mock32", out=lab.out / "t.p11t", max="256K", files=3), "poll", n)
    assert counted(p.stdout) == n and p.stderr == ""
    files = in_order(lab.out.iterdir())
    assert len(files) == 3 and min(numbers_of(files)) > 1, "the first ones are gone, and the live file"
    assert numbers_of(files) == list(range(numbers_of(files)[0], numbers_of(files)[0] + 3))
    assert all(f.stat().st_size <= 256 * 1024 for f in files)
    for f in files:
        lab.run("zstd", "-tq", f)
    trace = p11t_reader.read(files[0])
    assert trace.damage == [] and trace.verdict == "complete" and trace.missing == 0
    assert trace.complete_from == trace.files[0][1] > 1 and whole_from(trace)
    kept = handles(trace)
    assert kept == list(range(kept[0], n + 1)), "the last calls are all there"
    assert [m[1] for m in trace.modules] == [str(lab.mock("mock32"))]
    assert [end[7][0] for _, _, _, end, _ in trace.files] == [b"full", b"full", b"exit"]
    for path in (files[0], files[2], lab.out, lab.out / "t.p11t"):
        assert dumped(lab, path) == kept, "whichever file is named"
    process = info(lab, files[1])
    assert process["verdict"] == "complete" and process["files"] == 3 and process["missing"] == 0
    assert process["complete_from"] == trace.complete_from
    text = lab.p11trace("info", lab.out).stdout
    assert f"from #{trace.complete_from} on" in text and "in 3 files" in text
    lab.p11trace("check", lab.out)


def test_what_is_read_when_files_are_gone(lab):
    """A file in the middle that somebody removed is a hole; a last one that is gone is said."""
    lab.client("bounded", lab.wrap("mock32", out=lab.out / "t.p11t", max="256K", files=100), "poll", 100_000)
    files = in_order(lab.out.iterdir())
    assert len(files) >= 5 and files[0].name == "t.p11t"
    trace = p11t_reader.read(files[0])
    assert trace.complete_from == 1 and whole_from(trace) and handles(trace) == list(range(1, 100_001))
    assert info(lab, lab.out)["complete_from"] == 1 and dumped(lab, lab.out) == list(range(1, 100_001))
    files[2].unlink()
    hole = trace.files[3][1] - 1 - trace.files[1][4]
    process = info(lab, lab.out)
    assert process["missing"] == hole and process["complete_from"] == trace.files[3][1] and process["damage"] is None
    again = p11t_reader.read(files[0])
    assert again.missing == hole and again.complete_from == trace.files[3][1]
    lab.p11trace("check", lab.out)
    files[-1].unlink()
    p = lab.p11trace("info", lab.out, status=2)
    assert "later file" in p.stdout


@pytest.mark.nosan
def test_threads_in_files(lab):
    """Records of an idle thread come in a later file; names of threads are known from TABLES."""
    p = lab.client("bounded", lab.wrap("mock32", out=lab.out / "t.p11t", max="256K", files=2), "poll", 100, "threads", 4,
                   50_000)
    assert counted(p.stdout) == 200_100
    files = in_order(lab.out.iterdir())
    assert len(files) == 2 and numbers_of(files)[0] > 3
    trace = p11t_reader.read(files[0])
    assert trace.damage == [] and whole_from(trace)
    by_thread = {}
    for c in trace.calls:
        if c.name == POLL and c.enter and c.enter.number >= trace.complete_from:
            by_thread.setdefault(c.argument("hObject")[0]["number"] >> 32, set()).add(c.tid)
    assert all(len(tids) == 1 for tids in by_thread.values()), "each call is its thread's"
    theirs = {}
    for line in map(json.loads, lab.p11trace("dump", "--json", lab.out).stdout.splitlines()):
        if line["type"] == "call" and line["fn"] == POLL and "call" in line:
            theirs[line["call"]] = line["tid"]
    assert theirs == {c.number: c.tid for c in trace.calls if c.name == POLL and c.enter}


@pytest.mark.nosan
def test_killed_in_rotation(lab, count):
    """SIGKILL at random moments of a process that rotates all the time: what had returned is there."""
    counter = lab.tmp / "counted"
    traced = lab.wrap("mock32", out=lab.out / "t.p11t", max="256K", files=3)
    random.seed(4)
    for i in range(count(200)):
        p = lab.start("bounded", traced, "endless", env={"COUNTED": counter})
        time.sleep(0.02 + random.random() * 0.08)
        p.kill()
        p.communicate(timeout=20)
        returned = int.from_bytes(counter.read_bytes()[:8], "little") if counter.exists() else 0
        files = [f for f in lab.out.iterdir() if f.suffix == ".p11t"]
        if returned == 0:
            continue
        process = info(lab, lab.out)
        assert process["damage"] is None and process["missing"] == 0, i
        shown = lab.p11trace("dump", "-e", f"fn={POLL}", "-e", "rv=ok", lab.out).stdout
        kept = [int(n, 16) for n in re.findall(r"hObject=(0x[0-9a-f]+)", shown)]
        assert kept[-1] in (returned, returned + 1) and kept == list(range(kept[0], kept[-1] + 1))
        if i % 5 == 0:
            trace = p11t_reader.read(in_order(files)[0])
            assert trace.damage == [] and trace.missing == 0 and process["complete_from"] == trace.complete_from
            assert handles(trace) == kept
        assert process["verdict"] in ("ended", "died")
        assert len(files) <= 4, "one more than files= while it changes"
        for f in lab.out.iterdir():
            f.unlink()
        counter.unlink()


@pytest.mark.nosan
def test_recover_after_rotation(lab):
    counter = lab.tmp / "counted"
    p = lab.start("bounded", lab.wrap("mock32", out=lab.out / "t.p11t", max="256K", files=3), "endless",
                  env={"COUNTED": counter})
    time.sleep(0.3)
    p.kill()
    p.communicate(timeout=20)
    before = lab.p11trace("dump", lab.out).stdout
    lab.p11trace("recover", lab.out / "t.p11t.live")
    assert not (lab.out / "t.p11t.live").exists()
    assert lab.p11trace("dump", lab.out).stdout == before
    files = in_order(lab.out.iterdir())
    for f in files:
        lab.run("zstd", "-tq", f)
    trace = p11t_reader.read(files[0])
    assert trace.damage == [] and trace.end[7][0] == b"recovered" and whole_from(trace)


@pytest.mark.root
@pytest.mark.nosan
def test_no_other_file_can_be_opened(lab):
    """In a chroot, as in a sandbox: a flight recorder from then on; the end is in the file that there is."""
    empty = lab.tmp / "empty"
    empty.mkdir()
    traced = lab.wrap("mock32", out=lab.out / "t.p11t", max="256K")
    p = lab.client("bounded", traced, "poll", 10, "chroot", empty, "poll", 100_000)
    assert counted(p.stdout) == 100_010
    line = one_line(p.stderr)
    assert "t.2.p11t" in line and "No such file" in line
    (path,) = (f for f in lab.out.iterdir() if f.suffix == ".p11t")
    trace = p11t_reader.read(path)
    assert trace.damage == [] and list(empty.iterdir()) == []
    kept = handles(trace)
    assert kept[0] == 1 and kept[-1] == 100_010, "the first and the last ones"
    lost = int.from_bytes(trace.end[2][0], "little")
    assert lost > 1000 and len(trace.records) + lost >= 2 * 100_010
    assert path.stat().st_size < 400 * 1024


@pytest.mark.root
@pytest.mark.nosan
def test_disk_full_in_rotation(lab):
    """The disk fills while files are changed, and has room again later."""
    with mounted(lab.tmp / "small", "tmpfs", 2048) as place:
        traced = lab.wrap("mock32", out=place / "out" / "t.p11t", max="256K", files=100, min_free="0")
        p = lab.client("bounded", traced, "poll", 300_000)
        assert counted(p.stdout) == 300_000 and str(place) in one_line(p.stderr)
        files = in_order(f for f in (place / "out").iterdir() if f.suffix == ".p11t")
        trace = p11t_reader.read(files[0])
        assert trace.damage == [] and len(files) > 3
        kept = handles(trace)
        assert kept[0] == 1 and len(kept) > 10_000


@pytest.mark.root
@pytest.mark.nosan
def test_room_again(lab):
    """min-free= stops the recording; when there is room again it goes on, in a new file where one is due."""
    with mounted(lab.tmp / "small", "tmpfs", 8192) as place:
        traced = lab.wrap("mock32", out=place / "out" / "t.p11t", max="256K", files=3, min_free="1M")
        p = lab.start("bounded", traced, "poll", 20_000, "say", "poll", 100_000, "say", "nap", 1100, "poll", 50_000,
                      stdin=subprocess.PIPE)
        assert p.stdout.readline() == "ready\n"
        fill(place, 500)
        p.stdin.write("\n")
        p.stdin.flush()
        assert p.stdout.readline() == "ready\n"
        os.unlink(place / "ballast")
        out, err = p.communicate("\n", timeout=30)
        assert counted(out) == 170_000
        assert [("min-free" in line, "written again" in line) for line in err.splitlines()] == [(True, False), (False, True)]
        files = in_order(f for f in (place / "out").iterdir() if f.suffix == ".p11t")
        trace = p11t_reader.read(files[0])
        assert trace.damage == [] and handles(trace)[-20_000:] == list(range(150_001, 170_001))
        assert int.from_bytes(trace.end[2][0], "little") > 10_000


@pytest.mark.nosan
def test_ulimit(lab):
    """A limit on the size of files that is smaller than max=."""
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))}
    p = lab.client("bounded", lab.wrap("mock32", max="10M"), "poll", 200_000, **limit)
    assert counted(p.stdout) == 200_000 and "too large" in one_line(p.stderr)


def test_a_name_that_is_taken(lab):
    """Nothing is overwritten: the next number is used."""
    lab.out.mkdir()
    (lab.out / "t.2.p11t").write_text("precious")
    lab.client("bounded", lab.wrap("mock32", out=lab.out / "t.p11t", max="256K", files=100), "poll", 30_000)
    assert (lab.out / "t.2.p11t").read_text() == "precious"
    assert (lab.out / "t.3.p11t").exists()
    trace = p11t_reader.read(lab.out / "t.p11t")
    assert trace.missing == 0 and whole_from(trace) and handles(trace) == list(range(1, 30_001))
    assert dumped(lab, lab.out / "t.p11t") == list(range(1, 30_001))


@pytest.mark.parametrize("setting, value, words", [
    ("max", "100K", "at least 256K"), ("max", "much", "at least 256K"), ("files", "0", "from 1 to 1000"),
    ("files", "many", "from 1 to 1000"), ("ring", "1K", "at least 512K"), ("dump-on", "sometimes", "rv=failed|"),
    ("dump-on", "rv=CKR_NONSENSE", "names and numbers"), ("dump-on", "fn=C_None", "functions such as"),
    ("dump-on", "duration>fast", "a time such as"), ("dump-on", "signal=KILL", "signal=USR1"),
    ("dump-on", "", "rv=failed|"), ("dump-every", "soon", "10s")])
def test_settings_errors(lab, setting, value, words):
    """Each is named, with what is allowed, by wrap and by the recorder."""
    if value:
        p = lab.p11trace("wrap", lab.mock("mock32"), "-o", lab.tmp / "x.so", f"--{setting}", value, status=2)
        assert words in p.stderr and setting in p.stderr and value in p.stderr
    traced = lab.wrap("mock32")
    with open(traced.with_suffix(".conf"), "a") as f:
        f.write(f"{setting} = {value}\n")
    p = lab.client("bounded", traced, "poll", 1)
    assert words in one_line(p.stderr) and setting in p.stderr
