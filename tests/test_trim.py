"""p11trace trim and merge: fewer calls, or fewer files, and nothing else."""
import json
import os
import pty
import re
import resource
import signal
import subprocess
import time

import pytest

import p11t_reader
from lab import lab  # noqa: F401
from p11t_make import Trace
from reader_tools import calls, info, save, session_call, sign_enter, tool

GOLDEN = ("recorded-1.0", "rotated-1.0", "dumped-1.0", "session")


def whole(run, build, path):
    """The file is what FORMAT.md says, for zstd, for the second reader and for ours."""
    run("zstd", "-tq", path)
    read = p11t_reader.read(path)
    assert read.damage == []
    assert path.stat().st_mode & 0o777 == 0o600
    tool(run, build, "info", path)
    return read


def objects(run, build, *args, status=0):
    return [json.loads(line) for line in tool(run, build, "dump", "--json", *args, status=status).stdout.splitlines()]


def shown(run, build, *args, status=0):
    return tool(run, build, "dump", "--stack", *args, status=status).stdout.splitlines()


def of_calls(lines):
    return [line for line in lines if " --- " not in line]


@pytest.fixture
def golden(here):
    return here / "golden"


@pytest.fixture
def here(request):
    return request.path.parent


@pytest.mark.parametrize("name", GOLDEN)
@pytest.mark.parametrize("what", ("rv=ok", "rv=failed", "fn=%session,!C_Login", "fn=%general,%object", "fn=C_Sign*"))
def test_trim_keeps_what_dump_shows(run, build, golden, tmp_path, name, what):
    source, out = golden / f"{name}.p11t", tmp_path / "t.p11t"
    expected = of_calls(shown(run, build, "-e", what, source))
    chosen = [line for line in expected if line.startswith(("#", "..."))]
    if not chosen:
        p = tool(run, build, "trim", source, "-e", what, "-o", out, status=1)
        assert p.stderr == "p11trace trim: no call is chosen, nothing was written\n" and not out.exists()
        return
    tool(run, build, "trim", source, "-e", what, "-o", out)
    got = of_calls(shown(run, build, out))
    if any("<unwound>" in line for line in expected):  # it is the next call of the thread that shows this
        got = [line for line in got if line in expected]
    assert got == expected
    whole(run, build, out)


@pytest.mark.parametrize("name", GOLDEN)
def test_trim_of_all_calls_changes_no_body(run, build, golden, tmp_path, name):
    source, out = golden / f"{name}.p11t", tmp_path / "t.p11t"
    tool(run, build, "trim", source, "-o", out)
    assert shown(run, build, out) == shown(run, build, source)
    before, after = ({r.number: r.body for r in p11t_reader.read(p).records if r.kind in (1, 2)} for p in (source, out))
    assert {k: v for k, v in before.items() if k in after} == after
    assert len(whole(run, build, out).calls) == len(calls(run, build, source))


def test_a_trimmed_trace_says_so(run, build, golden, tmp_path):
    out = tmp_path / "t.p11t"
    tool(run, build, "trim", golden / "session.p11t", "--calls", "1-20", "-e", "rv=ok", "-o", out)
    [p] = info(run, build, out)
    [of] = info(run, build, golden / "session.p11t")
    assert p["derived"].endswith(f"trim --calls 1-20 -e rv=ok, from trace {of['trace_id']}")
    assert p["trace_id"] != of["trace_id"] and p["damage"] is None


def test_trim_by_time(run, build, golden, tmp_path):
    source = golden / "recorded-1.0.p11t"
    start = [c["start"] for c in calls(run, build, source)]
    middle = sorted(start)[len(start) // 2]
    out = tmp_path / "t.p11t"
    tool(run, build, "trim", source, "--from", f"{middle}ns", "-o", out)
    assert [c["start"] for c in calls(run, build, out)] == [s for s in start if s >= middle]
    tool(run, build, "trim", source, "--to", f"{middle}ns", "-o", tmp_path / "u.p11t")
    assert [c["start"] for c in calls(run, build, tmp_path / "u.p11t")] == [s for s in start if s < middle]


def test_nothing_is_overwritten(run, build, golden, tmp_path):
    out = save(tmp_path / "t.p11t", b"mine")
    for verb in ("trim", "merge"):
        p = tool(run, build, verb, golden / "session.p11t", "-o", out, status=2)
        assert "nothing is overwritten" in p.stderr and out.read_bytes() == b"mine"


@pytest.mark.parametrize("name", GOLDEN)
def test_merge_is_the_same_trace(run, build, golden, tmp_path, name):
    source, out = golden / f"{name}.p11t", tmp_path / "t.p11t"
    tool(run, build, "merge", source, "-o", out)
    assert shown(run, build, out) == shown(run, build, source)
    whole(run, build, out)
    assert info(run, build, out)[0]["trace_id"] == info(run, build, source)[0]["trace_id"]
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["t.p11t"]


# --- files of one process, and several processes ----------------------------------------------------------------------

def test_a_rotation_becomes_one_file(lab, run, build, tmp_path):
    lab.client("bounded", lab.wrap("mock32", out=lab.out / "t.p11t", max="256K", files=3), "poll", 160_000)
    files = sorted(lab.out.iterdir())
    assert len(files) > 1
    out = tmp_path / "one.p11t"
    tool(run, build, "merge", lab.out, "-o", out)
    run("zstd", "-tq", out)
    [before], [after] = info(run, build, lab.out), info(run, build, out)
    for key in ("verdict", "calls", "complete_from", "missing", "damage", "trace_id", "started_ns", "in_flight"):
        assert after[key] == before[key], key
    assert after["files"] == 1 and after["file_index"] == 1 and after["calls"] > 10_000
    assert len({tool(run, build, "stat", "--json", path).stdout for path in (lab.out, out)}) == 1


def test_dumps_and_the_live_file_become_one(lab, run, build, tmp_path):
    """A flight recorder that dumped twice."""
    module = lab.wrap("mock32", out=lab.out / "t.p11t", ring="1M", dump_on="rv=failed")
    lab.client("bounded", module, "poll", 100, "fault", "poll", 200, "fault", "poll", 10)
    assert len(list(lab.out.iterdir())) >= 1
    out = tmp_path / "one.p11t"
    tool(run, build, "merge", *sorted(lab.out.iterdir()), "-o", out)
    assert objects(run, build, out)[2:-1] == objects(run, build, lab.out)[2:-1]
    whole(run, build, out)


def test_a_live_file_is_merged(run, build, tmp_path):
    t = Trace()
    t.thread(100)
    session_call(t, 5)
    t.frame()
    t.thread(100)
    sign_enter(t, 9)
    t.live_slot()
    source = save(tmp_path / "t.p11t", t, t.live(frames=1))
    before = shown(run, build, source)
    out = tmp_path / "one.p11t"
    tool(run, build, "merge", source, "-o", out)
    assert shown(run, build, out) == before
    assert whole(run, build, out).end[7] == [b"recovered"]
    assert "ended inside C_Sign (recovered)" in tool(run, build, "info", out).stdout
    assert source.with_name("t.p11t.live").exists()


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def two(tmp_path):
    (tmp_path / "in").mkdir()
    for pid in (1, 2):
        t = Trace(pid=pid, trace_id=bytes([pid] * 16))
        t.thread(100)
        session_call(t, 5, time=10_000 * pid)
        t.frame()
        t.end()
        t.seek_table()
        save(tmp_path / "in" / f"{pid}.p11t", t)
    return tmp_path / "in"


@pytest.mark.parametrize("verb", ("merge", "trim", "redact"))
def test_several_processes_are_a_folder(run, build, tmp_path, verb):
    folder, out = two(tmp_path), tmp_path / "out"
    tool(run, build, verb, folder, "-o", out)
    assert sorted(p.name for p in out.iterdir()) == ["1.p11t", "2.p11t"]
    assert out.stat().st_mode & 0o777 == 0o700
    for p in out.iterdir():
        whole(run, build, p)
    assert shown(run, build, out) == shown(run, build, folder)
    tool(run, build, verb, folder, "-o", out, status=2)


@pytest.mark.parametrize("verb", ("merge", "trim", "redact"))
def test_a_trace_that_is_being_recorded_is_refused(lab, run, build, tmp_path, verb):
    client = lab.start("lifecycle", "sign", lab.wrap("mock32", out=lab.out / "t.p11t"), env={"MOCK_HANG": "C_Sign"})
    try:
        until(lambda: "in flight" in run(build / "p11trace", "info", lab.out, status=None).stdout)
        p = tool(run, build, verb, lab.out, "-o", tmp_path / "o.p11t", status=2)
        assert f"still being recorded by pid {client.pid}" in p.stderr
        assert not (tmp_path / "o.p11t").exists()
    finally:
        client.kill()
        client.communicate()


def masked(at, bit):
    t = Trace()
    t.out[8 + at] |= bit
    t.thread(100)
    session_call(t, 5)
    t.frame()
    t.end()
    return t


@pytest.mark.parametrize("verb", ("merge", "trim", "redact"))
def test_unknown_features(run, build, tmp_path, verb):
    """Read-only compatible: it may be read and must not be changed."""
    source, out = save(tmp_path / "t.p11t", masked(24, 4)), tmp_path / "o.p11t"
    assert "only a newer p11trace may change" in tool(run, build, verb, source, "-o", out, status=2).stderr
    assert not out.exists()
    source = save(tmp_path / "u.p11t", masked(32, 64))
    tool(run, build, verb, source, "-o", out)


@pytest.mark.parametrize("verb", ("merge", "trim", "redact"))
def test_what_can_be_read_of_a_damaged_trace(run, build, tmp_path, verb):
    t = Trace()
    for i in range(3):
        t.thread(100)
        session_call(t, 10 * i + 5)
        t.frame()
    t.end()
    t.seek_table()
    data = bytearray(t.bytes())
    magic = b"\x51\x2a\x4d\x18\x40\0\0\0P1FI\x02"
    places = [i for i in range(len(data)) if data.startswith(magic, i)]
    data[places[1] + 72 + 30] ^= 0xff
    source, out = save(tmp_path / "t.p11t", bytes(data)), tmp_path / "o.p11t"
    p = tool(run, build, verb, source, "-o", out, status=2)
    assert "is damaged" in p.stderr
    assert [c["call"] for c in calls(run, build, out)] == [5, 25]
    whole(run, build, out)


def test_no_call_in_what_is_left(run, build, tmp_path):
    t = Trace()
    session_call(t, 5)
    t.frame()
    source, out = save(tmp_path / "t.p11t", t), tmp_path / "o.p11t"
    assert "no end" in tool(run, build, "trim", source, "--calls", "7", "-o", out, status=2).stderr
    assert not out.exists()


# --- state -------------------------------------------------------------------------------------------------------------

def test_keep_state(lab, run, build, tmp_path):
    token = lab.token()
    module = lab.wrap(token.module)
    env = token.env
    for args in (("--sign", "--mechanism", "SHA256-RSA-PKCS", "--label", "rsa", "--pin", token.pin, "--login"),):
        run("pkcs11-tool", "--module", module, "-i", "/etc/hostname", "-o", tmp_path / "sig", *args, env=env)
    [source] = lab.files()
    out = tmp_path / "o.p11t"
    tool(run, build, "trim", source, "-e", "fn=C_Sign,C_SignFinal", "-o", out)
    assert {c["fn"] for c in calls(run, build, out)} <= {"C_Sign", "C_SignFinal"}
    tool(run, build, "trim", source, "-e", "fn=C_Sign,C_SignFinal", "--keep-state", "-o", tmp_path / "s.p11t")
    kept = [c["fn"] for c in calls(run, build, tmp_path / "s.p11t")]
    for name in ("C_Initialize", "C_OpenSession", "C_Login", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal",
                 "C_SignInit", "C_Finalize"):
        assert name in kept, name
    assert "C_GetMechanismList" not in kept and len(kept) < len(calls(run, build, source))
    assert kept.count("C_FindObjectsInit") == kept.count("C_FindObjectsFinal")
    p = tool(run, build, "check", "--severity", "error", tmp_path / "s.p11t", status=None)
    assert p.stdout == tool(run, build, "check", "--severity", "error", source, status=None).stdout or p.returncode == 0


# --- long traces -------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def long_trace(tmp_path_factory):
    """100,000 calls in fills of 500."""
    t = Trace()
    for i in range(200):
        t.thread(100)
        for k in range(500):
            session_call(t, 1000 * i + 2 * k + 1)
        t.frame()
    t.end()
    t.seek_table()
    return save(tmp_path_factory.mktemp("long") / "t.p11t", t)


@pytest.mark.nosan
@pytest.mark.parametrize("verb", ("merge", "trim", "redact"))
def test_memory_does_not_grow(build, long_trace, tmp_path, verb):
    """In 64 MiB of address space beyond what the program itself takes."""
    p = subprocess.run([build / "p11trace", verb, long_trace, "-o", tmp_path / "o.p11t"], capture_output=True,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (96 << 20, 96 << 20)))
    assert p.returncode == 0, p.stderr


def test_progress_of_all_readings(build, long_trace, tmp_path):
    """On a terminal; a shorter line leaves nothing of a longer one."""
    ours, theirs = pty.openpty()
    p = subprocess.Popen([build / "p11trace", "trim", "--keep-state", "--calls", "1-99", long_trace, "-o",
                          tmp_path / "o.p11t"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            text += os.read(ours, 65536)
        except OSError:  # EIO: nobody has the other end any more
            break
    os.close(ours)
    assert p.wait(timeout=60) == 0
    for of in ("trim: choosing", "trim: what they need", "trim"):
        shown = [int(n) for n in re.findall(rf"\rp11trace {of}: (\d+) %\033\[K".encode(), text)]
        assert shown == sorted(set(shown)) and len(shown) > 10 and shown[-1] > 80 and shown[-1] <= 100, (of, shown)
    assert text.endswith(b"\r\033[K")


# --- the ends ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("verb, name", (("merge", "SIGINT"), ("trim", "SIGINT"), ("redact", "SIGTERM"), ("trim", "SIGHUP")))
def test_stopping_leaves_nothing(run, build, long_trace, tmp_path, verb, name):
    """A signal in the middle of its writing: the partial file goes, and the shell sees the signal."""
    out = tmp_path / "out"
    out.mkdir()
    log = tmp_path / "log"
    run("strace", "-o", log, "-e", "trace=write,unlink,unlinkat", "-e", f"inject=write:signal={name}:when=20",
        build / "p11trace", verb, long_trace, "-o", out / "o.p11t", status=-getattr(signal, name),
        env={"ASAN_OPTIONS": "detect_leaks=0"}, preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL))
    text = log.read_text()
    assert text.count("write(") >= 20 and f'"{out}/o.p11t.' in text and f"+++ killed by {name} +++" in text
    assert list(out.iterdir()) == []


def test_what_is_ignored_stays_ignored(run, build, long_trace, tmp_path):
    """Under nohup the end of the terminal is not the end of the work."""
    out = tmp_path / "o.p11t"
    run("strace", "-o", tmp_path / "log", "-e", "trace=write", "-e", "inject=write:signal=SIGHUP:when=20", build / "p11trace",
        "redact", long_trace, "-o", out, env={"ASAN_OPTIONS": "detect_leaks=0"},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert "--- SIGHUP" in (tmp_path / "log").read_text() and info(run, build, out)[0]["calls"] == 100_000


@pytest.mark.parametrize("verb", ("merge", "trim", "redact"))
def test_a_file_that_may_not_be_as_large(build, long_trace, tmp_path, verb):
    out = tmp_path / "out"
    out.mkdir()
    p = subprocess.run([build / "p11trace", verb, long_trace, "-o", out / "o.p11t"], capture_output=True, text=True,
                       preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)))
    assert (p.returncode, p.stderr) == (2, f"p11trace: {out}/o.p11t: File too large; nothing was changed\n")
    assert list(out.iterdir()) == []


def test_stopping_an_import(build, tmp_path):
    """The same where it waits for more lines."""
    out = tmp_path / "out"
    out.mkdir()
    p = subprocess.Popen([build / "p11trace", "import", "-", "-o", out / "o.p11t"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    p.stdin.write(b'{"type":"call","fn":"C_Finalize","rv":"CKR_OK"}\n' * 2)
    p.stdin.flush()
    until(lambda: list(out.iterdir()))
    p.send_signal(signal.SIGINT)
    assert p.wait(timeout=20) == -signal.SIGINT
    assert (p.stdout.read(), p.stderr.read(), list(out.iterdir())) == (b"", b"", [])
    p.stdin.close()


@pytest.mark.parametrize("error, way", (("EINVAL", "link"), ("ENOSYS", "link"), (None, "renameat2")))
def test_file_systems_that_know_one_way_only(run, build, golden, tmp_path, error, way):
    """FAT has no links, and others no renaming that overwrites nothing: each alone will do."""
    other = "renameat2" if way == "link" else "link"
    log, out = tmp_path / "log", tmp_path / "o.p11t"
    for status in (0, 2):
        run("strace", "-o", log, "-e", "trace=link,renameat2", "-e", f"inject={other}:error={error or 'EPERM'}",
            build / "p11trace", "trim", golden / "session.p11t", "-o", out, status=status,
            env={"ASAN_OPTIONS": "detect_leaks=0"})
        if status == 0:
            assert f"{way}(" in log.read_text()
    assert [p.name for p in tmp_path.glob("*.p11t*")] == ["o.p11t"]
    whole(run, build, out)


@pytest.mark.parametrize("verb", ("merge", "trim", "redact", "import"))
@pytest.mark.parametrize("output", ("-", ""))
def test_a_trace_goes_to_a_file(run, build, golden, tmp_path, verb, output):
    p = tool(run, build, verb, golden / "session.p11t", "-o", output, status=2)
    assert f"-o '{output}': a trace goes to a file: name one" in p.stderr
    assert not [f for f in tmp_path.iterdir() if f.is_file()]


def test_what_each_says(run, build, golden, tmp_path):
    files = [golden / name for name in ("rotated-1.0.p11t", "rotated-1.0.2.p11t")]
    number = len(calls(run, build, *files))
    for verb, said in (("merge", f"{number} calls of 2 files"), ("trim", f"{number} of {number} calls"),
                       ("redact", "0 values taken away")):
        out = tmp_path / f"{verb}.p11t"
        assert tool(run, build, verb, *files, "-o", out).stdout == f"{out}: {said}\n"
        p = tool(run, build, verb, "-q", *files, "-o", tmp_path / f"{verb}-quiet.p11t")
        assert p.stdout == p.stderr == ""
