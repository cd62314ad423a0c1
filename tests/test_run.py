"""`p11trace run`: the command is as it would be without, and at the end it is told who made calls and how they ended."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

import p11t_reader
from conftest import SANITIZE, sanitizer_runtime
from lab import assert_nothing_lost, counted, lab, totals  # noqa: F401
from nss import installed
from test_fork import assert_child_of, made, parent_of, said_by


def processes(stderr):
    """{pid: (how it ended, number of calls)} of the summary."""
    return {int(pid): (how, int(n)) for pid, how, n in re.findall(r"^  .*\[(\d+)\]: (.*?); (\d+) calls?", stderr, re.M)}


# A sanitized command wants the runtime before the recorder; `run` leaves it there.
RUNTIME = {"LD_PRELOAD": sanitizer_runtime()} if SANITIZE else {}


def run(lab, *command, options=(), env=None, **more):
    return lab.p11trace("run", "-o", lab.out, *options, "--", *command, env={**RUNTIME, **(env or {})}, **more)


def test_summary(lab):
    """Calls, modules, how it ended, and the findings of check."""
    p = run(lab, lab.program("lookups"), "many", lab.mock("mock240"), lab.mock("mock32"))
    assert p.stdout == "2 modules\n"
    trace = lab.trace()
    assert_nothing_lost(trace)
    lines = p.stderr.strip().splitlines()
    n = len(trace.calls)
    assert lines[0] == f"p11trace run: {n} calls (0 not CKR_OK) of 1 process, traces in {lab.out}"
    assert lines[1] == f"  lookups[{trace.pid}]: exit status 0; {n} calls of mock240.so, mock32.so"
    assert lines[-1].startswith(f"checked {n} calls of 1 process with ")
    assert lab.p11trace("check", lab.out).stdout.splitlines()[-1] == lines[-1]


def test_fresh_folder(lab):
    """Without -o each run has a folder of its own, which it names."""
    folders = []
    for _ in range(2):
        p = lab.p11trace("run", lab.program("lookups"), "many", lab.mock("mock240"), env=RUNTIME)
        folders.append(re.search(r"traces in (.*)", p.stderr)[1])
    assert folders[0] != folders[1]
    for folder in folders:
        assert folder.startswith(f"{lab.env['XDG_STATE_HOME']}/p11trace/lookups.")
        assert len(os.listdir(folder)) == 1 and os.stat(folder).st_mode & 0o777 == 0o700


def test_only_new_traces(lab):
    """A folder that has traces: they are left alone and not counted."""
    run(lab, lab.program("lookups"), "many", lab.mock("mock240"))
    before = lab.files()
    p = run(lab, lab.program("lookups"), "many", lab.mock("mock32"))
    assert "of 1 process" in p.stderr and "mock32.so" in p.stderr and "mock240.so" not in p.stderr
    assert set(before) < set(lab.files())


@pytest.mark.nosan
@pytest.mark.parametrize("script, status", [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)])
def test_exit_status(lab, script, status):
    p = run(lab, "sh", "-c", script, status=status)
    assert "no PKCS #11 call was recorded" in p.stderr
    assert not lab.out.exists(), "nothing was recorded"


@pytest.mark.nosan
def test_cannot_be_started(lab):
    (lab.tmp / "data").write_text("no program")
    assert "No such file" in run(lab, "no-such-program", status=127).stderr
    assert "ermission denied" in run(lab, lab.tmp / "data", status=126).stderr


@pytest.mark.parametrize("arguments, words", [
    ([], "no COMMAND"), (["--capture", "all", "true"], "meta safe full clear"), (["-o", "a/%p", "true"], "without %-marks"),
    (["-o", "x.p11t", "true"], "takes a folder"), (["--fail-on", "never", "true"], "error, warning or info"),
    (["--recorder", "/nonexistent.so", "true"], "p11trace run: no recorder"), (["-o", "/proc/x", "true"], "cannot be made")])
def test_misuse(lab, arguments, words):
    assert words in lab.p11trace("run", *arguments, status=2).stderr


@pytest.mark.nosan
def test_environment_and_arguments(lab, build):
    """LD_PRELOAD keeps what was there, settings become variables, and options behind the command are the command's."""
    other = installed("*-linux-gnu/libzstd.so.1")
    p = run(lab, "sh", "-c", 'echo "$LD_PRELOAD $P11TRACE_CAPTURE $P11TRACE_OUT $0 $1"', "-q", "--capture=meta",
            options=["--capture", "clear"], env={"LD_PRELOAD": other})
    assert p.stdout == f"{build}/libp11trace.so:{other} clear {lab.out} -q --capture=meta\n"


@pytest.mark.nosan
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_handed_on(lab, build, number):
    """What is sent to run reaches the command; run waits for it, and its summary comes."""
    script = f"trap 'echo got; exit 5' {number.name[3:]}; echo ready; while :; do sleep 0.05; done"
    p = subprocess.Popen([build / "p11trace", "run", "-o", lab.out, "--", "sh", "-c", script], env=lab.env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline() == "ready\n"
    p.send_signal(number)
    out, err = p.communicate(timeout=20)
    assert (out, p.returncode) == ("got\n", 5)
    assert "p11trace run:" in err


def test_fail_on(lab):
    """Findings decide only when that is asked for, and only those of the level or above."""
    command = [lab.program("forks"), "quiet", lab.mock("mock32")]
    p = run(lab, *command)
    assert "NSS-LOGIN-03 error" in p.stderr
    run(lab, *command, options=["--fail-on", "error"], status=1)
    assert run(lab, *command, options=["--quiet", "--fail-on", "warning"], status=1).stderr == ""
    run(lab, lab.program("lookups"), "many", lab.mock("mock240"), options=["--fail-on", "error"])


def test_quiet(lab):
    p = run(lab, lab.program("lookups"), "many", lab.mock("mock240"), options=["-q"])
    assert (p.stdout, p.stderr) == ("1 modules\n", "")
    assert len(lab.files()) == 1


@pytest.mark.nosan  # a sanitizer takes the signal for itself
def test_crash_in_a_call(lab):
    p = run(lab, lab.program("lifecycle"), "sign", lab.mock("mock32"), env={"MOCK_CRASH": "C_Sign"}, status=139)
    (how, _), = processes(p.stderr).values()
    assert how == "killed by SIGSEGV inside C_Sign"


# --- forks -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how", ["before", "between", "clone", "quick", "quiet", "vfork", "exec", "inside"])
def test_forks(lab, how):
    """One trace for each process that makes calls, each told of; files of the others are gone."""
    p = run(lab, lab.program("forks"), how, lab.mock("mock32"), env={"MOCK_FORK": "C_Sign"} if how == "inside" else {})
    said = said_by(p)
    parent, traces = parent_of(said), {t.pid: t for t in lab.traces()}
    callers = {pid for pid, (who, n) in said.items() if n > 0}
    assert set(traces) == callers if how != "exec" else len(traces) == 2
    assert sorted(lab.out.iterdir()) == lab.files() or how == "quick", "no live file but the one of a process that left early"
    assert {pid: end for pid, (end, _) in processes(p.stderr).items()} == {pid: "exit status 0" for pid in traces}
    for pid, trace in traces.items():
        assert_nothing_lost(trace)
        if pid in said:
            assert made(trace) == said[pid][1]
        if pid != parent and how not in ("before", "exec"):
            assert_child_of(trace, traces[parent])


@pytest.mark.threads
@pytest.mark.nosan
@pytest.mark.timeout(600)
def test_forks_of_a_busy_process(lab, count):
    """1,000 children, forked while eight threads are in calls and flushes (a tenth in `make check`)."""
    children = count(1000)
    p = run(lab, lab.program("forks"), "busy", lab.mock("mock32"), children, 8, options=["-q"], timeout=600)
    said = said_by(p)
    parent = parent_of(said)
    files = {int(f.name.split(".")[-2].split("-")[0]): f for f in lab.files()}
    assert len(said) == children + 1 and set(files) == set(said)
    whole, end = totals(files.pop(parent))
    assert end[2] == end[8] == 0, "lost, passed through"
    for pid, path in files.items():
        child = p11t_reader.read(path)
        assert_nothing_lost(child)
        assert made(child) == said[pid][1] == 12
        assert child.verdict == "complete"
        assert_child_of(child, whole)
    assert list(lab.out.glob("*.live")) == []


@pytest.mark.nosan
def test_daemon_goes_on(lab):
    """A process that outlives the command keeps its trace, and is told of as still there."""
    p = run(lab, "sh", "-c", f"{lab.program('lifecycle')} sign {lab.mock('mock32')} >/dev/null 2>&1 & echo $!; sleep 0.4",
            env={"MOCK_HANG": "C_Sign"})
    daemon = int(p.stdout)
    try:
        assert processes(p.stderr)[daemon][0] == "still running"
        (trace,) = lab.traces()
        assert trace.verdict == "recording"
    finally:
        os.kill(daemon, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while json.loads(lab.p11trace("info", "--json", lab.out).stdout)["processes"][0]["verdict"] == "recording":
        assert time.monotonic() < deadline


@pytest.mark.nosan
def test_place_that_cannot_be_written_by_a_child(lab):
    """A process that cannot write says so in one line, and goes on."""
    lab.out.mkdir()
    script = f"rmdir {lab.out}; touch {lab.out}; exec {lab.program('lookups')} many {lab.mock('mock240')}"
    p = run(lab, "sh", "-c", script)
    assert p.stdout == "1 modules\n"
    assert p.stderr.count("not recording") == 1


def test_counts_agree_with_the_traces(lab):
    p = run(lab, lab.program("lifecycle"), "two", lab.mock("mock240"), lab.mock("mock32"))
    (trace,) = lab.traces()
    assert processes(p.stderr) == {trace.pid: ("exit status 0", sum(counted(trace.calls).values()))}
