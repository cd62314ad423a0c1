"""p11trace replay: what its options do, what it says and with which status, and what it makes of a module that breaks."""
import json
import os
import signal
import subprocess
import time

import junitparser
import pytest

from conftest import ROOT
from p11t_make import FUNCTIONS, Trace, field, n
from p11t_writer import NOTHING, Writer, asked, attribute, gives, lists, number, pointer, template, ulong
from reader_tools import save, session_call
from replay_tools import SIGNING, replay  # noqa: F401

# A crash of the module is a crash, in a sanitized build too.
CRASHES = {"ASAN_OPTIONS": "detect_leaks=0:handle_segv=0:allow_user_segv_handler=1"}


@pytest.fixture(scope="module")
def signing(replay):  # noqa: F811
    return replay.record("signing", *SIGNING)


def first(p):
    return p.stdout.splitlines()[0]


def calls_of(replay, trace):  # noqa: F811
    p = subprocess.run([replay.stage.build / "p11trace", "info", "--json", trace], capture_output=True, text=True)
    return json.loads(p.stdout)["processes"][0]["calls"]


def dumped(build, paths):
    """The calls of traces that the application made, with both ends."""
    lines = subprocess.run([build / "p11trace", "dump", "--json", "-e", "!probe", *paths], capture_output=True, text=True).stdout
    return [call for call in map(json.loads, lines.splitlines()) if call["type"] == "call"]


def test_the_same_module_is_the_same(replay, signing):  # noqa: F811
    for mode in ("serial", "relay", "free"):
        p = replay("--mode", mode, signing)
        count = calls_of(replay, signing)
        assert p.stdout == f"replayed {count} of {count} calls of 1 process on {replay.token}: no difference\n", mode
        assert p.stderr == ""
    assert replay("--quiet", signing).stdout == ""


def test_a_wrong_answer_is_named_with_its_history(replay, signing):  # noqa: F811
    p = replay(signing, fault="rv=C_SignInit:CKR_DEVICE_ERROR@2", status=1)
    assert ": 1 difference of 1 kind" in first(p)
    assert "1  C_SignInit rv [CKR_OK -> CKR_DEVICE_ERROR]  (#" in p.stdout
    history = p.stdout.partition("the first difference, and what led to it:\n")[2].splitlines()
    names = [line.split("(")[0].split()[-1] for line in history if line.startswith("  #")]
    assert sorted(names) == ["C_FindObjects", "C_Login", "C_OpenSession", "C_SignInit"] and names[-1] == "C_SignInit"
    numbers = [int(line.split()[0][1:]) for line in history if line.startswith("  #")]
    assert numbers == sorted(numbers)
    assert history[-1] == "      rv: recorded CKR_OK, replayed CKR_DEVICE_ERROR"


@pytest.mark.parametrize("args, said", [
    ((), "which trace?"),
    (("--mode", "fast", "x"), "--mode is serial, relay or free, not fast"),
    (("--speed", "half", "x"), "--speed is max or recorded, not half"),
    (("--until", "0", "x"), "--until wants a number from 1"),
    (("--until", "ten", "x"), "--until wants a number from 1"),
    (("--timeout", "-1", "x"), "--timeout wants a number from 1 to 86400, not -1"),
    (("--jobs", "1000", "x"), "--jobs wants a number from 1 to 256"),
    (("--slot", "1", "x"), "--slot wants OLD=NEW"),
    (("--slot", "1=b", "x"), "--slot wants OLD=NEW"),
    (("--max-slowdown", "C_Sign", "x"), "--max-slowdown wants FUNCTION=P%"),
    (("--max-slowdown", "C_Singe=5%", "x"), "there is no function C_Singe"),
    (("--calls", "5-x", "x"), "p11trace replay: "),
    (("-e", "fn=C_Singe", "x"), "p11trace replay: "),
    (("--json", "--quiet", "x"), "--quiet and --json do not go together"),
    (("--pin-file", "/nonexistent", "x"), "/nonexistent: No such file"),
    (("--expect", "/nonexistent", "x"), "/nonexistent: cannot read the expected differences"),
    (("/nonexistent.p11t",), "/nonexistent.p11t"),
])
def test_what_is_not_understood(replay, args, said):  # noqa: F811
    p = replay(*args, pin=False, status=2)
    assert said in p.stderr and p.stdout == ""


def test_which_module(run, build, tmp_path):
    trace = save(tmp_path / "t.p11t", Trace())
    assert "Give --module NEW.so" in run(build / "p11trace", "replay", trace, status=2).stderr
    (tmp_path / "text.so").write_text("no library")
    for module, said in (("/nonexistent.so", "cannot be loaded: /nonexistent.so"), ("text.so", "cannot be loaded: ./text.so"),
                         (build / "tests/clients/play", "cannot be loaded"),
                         ("libc.so.6", "is no PKCS #11 module: libc.so.6")):
        p = run(build / "p11trace", "replay", "--module", module, trace, status=2)
        assert said in p.stderr and p.stdout == "" and p.stderr.count("\n") == 1


def test_pin_files(replay, signing, tmp_path):  # noqa: F811
    for content, said in (("", "it is empty"), ("x" * 300 + "\n", "its first line is too long for a PIN")):
        (tmp_path / "pin").write_text(content)
        assert said in replay("--pin-file", tmp_path / "pin", signing, pin=False, status=2).stderr
    (tmp_path / "pin").write_text((replay.stage.folder / "pin.txt").read_text().strip() + "\r\nmore\n")
    replay("--pin-file", tmp_path / "pin", signing, pin=False)


# --- what is printed --------------------------------------------------------------------------------------------------

def test_json(replay, signing):  # noqa: F811
    count = calls_of(replay, signing)
    same = replay.json(signing)
    assert (same["status"], same["calls"], same["replayed"], same["mode"], same["module"]) == (
        0, count, count, "serial", str(replay.token))
    assert same["difference_kinds"] == same["withheld_kinds"] == [] and "explanation" not in same
    (process,) = same["processes"]
    assert (process["trace"], process["program"], process["calls"], process["same"], process["different"]) == (
        str(signing), "play", count, count, 0)
    assert process["recorded_module"] == str(replay.token) and "could_not" not in process
    latency = {row["function"]: row for row in same["latency"]}
    assert latency["C_Sign"]["calls"] == 2 and latency["C_Sign"]["replayed_median_ns"] > 0
    assert latency["C_Sign"]["recorded_ns"] > 0

    (kind,) = replay.json(signing, fault="rv=C_GetSessionInfo:CKR_DEVICE_ERROR", status=1)["difference_kinds"]
    assert kind == {"function": "C_GetSessionInfo", "place": "rv", "recorded": "CKR_OK", "replayed": "CKR_DEVICE_ERROR", "count": 2,
                    "call": kind["call"], "trace": str(signing)}


def test_junit(replay, signing, tmp_path):  # noqa: F811
    other = replay.record("state", "a.open", "a.state", "a.close", folder=tmp_path)
    out, expect = tmp_path / "replay.xml", tmp_path / "expect"
    expect.write_text("C_SeedRandom rv : it has its days\n")
    replay("--junit", out, "--expect", expect, "--max-slowdown", "C_Sign=900%", "--calls", "1-", signing, other,
           fault="rv=C_GetSessionInfo:CKR_DEVICE_ERROR", status=1)
    (suite,) = junitparser.JUnitXml.fromfile(str(out))
    cases = {case.name: [type(r).__name__ for r in case.result] for case in suite}
    assert cases == {str(signing): ["Failure"], str(other): ["Failure"], "C_SeedRandom rv : it has its days": ["Failure"],
                     "C_Sign": ["Skipped"]}
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 3, 0, 1)
    failure = next(case for case in suite if case.name == str(signing)).result[0]
    assert failure.message.startswith("2 differences, first in call #") and "C_OpenSession" in failure.text


def test_verbose_shows_both_times(replay, signing):  # noqa: F811
    lines = replay("-v", signing).stdout.splitlines()
    at = lines.index("     calls   recorded   replayed  (medians)")
    assert any(line.split()[0] == "2" and line.endswith("  C_Sign") for line in lines[at + 1:])


# --- what is accepted -------------------------------------------------------------------------------------------------

def test_expected_differences(replay, signing, tmp_path):  # noqa: F811
    expect = tmp_path / "expect"
    expect.write_text("# our card\n\nC_GetS*Info rv [CKR_OK -> CKR_DEVICE_*] : the card has no battery : so be it\n")
    p = replay("--expect", expect, signing, fault="rv=C_GetSessionInfo:CKR_DEVICE_ERROR")
    assert "no difference, 2 expected" in first(p)
    assert "expected: the card has no battery : so be it" in p.stdout and "what led to it" not in p.stdout
    found = replay.json("--expect", expect, signing, fault="rv=C_GetSessionInfo:CKR_DEVICE_ERROR")
    assert found["expectations"] == [{"line": 3, "text": "C_GetS*Info rv [CKR_OK -> CKR_DEVICE_*] : the card has no battery : so be it",
                                      "reason": "the card has no battery : so be it", "used": 2}]
    # Another code is another difference, and the entry is then not used.
    p = replay("--expect", expect, signing, fault="rv=C_GetSessionInfo:CKR_FUNCTION_FAILED", status=1)
    assert "2  C_GetSessionInfo rv [CKR_OK -> CKR_FUNCTION_FAILED]" in p.stdout


def test_an_expectation_that_is_not_met_is_an_error(replay, signing, tmp_path):  # noqa: F811
    expect = tmp_path / "expect"
    expect.write_text("C_Sign rv : old\nC_Login * : older\n")
    p = replay("--expect", expect, signing, status=1)
    assert p.stdout.endswith(f"expected, but not met ({expect}):\n  line 1: C_Sign rv : old\n  line 2: C_Login * : older\n")


@pytest.mark.parametrize("line, said", [
    ("C_Sign rv", "it has no reason"),
    ("C_Sign rv :", "it has no reason"),
    ("C_Sign rv [CKR_OK -> CKR_DEVICE_ERROR]", "write FUNCTION PLACE [RECORDED -> REPLAYED] : REASON"),
    ("C_Sign rv [CKR_OK] : because", "write FUNCTION PLACE [RECORDED -> REPLAYED] : REASON"),
    ("C_Singe rv : because", "there is no function of that name"),
    ("C_Sign : because", "it names no place"),
])
def test_expectations_that_are_refused(replay, signing, tmp_path, line, said):  # noqa: F811
    expect = tmp_path / "expect"
    expect.write_text(f"# first\n{line}\n")
    p = replay("--expect", expect, signing, status=2)
    assert f"{expect}, line 2: {line}: {said}" in p.stderr and p.stdout == ""


def test_slower(replay, tmp_path):  # noqa: F811
    trace = replay.record("polls", "25*token", "5*slot", folder=tmp_path)
    p = replay("--max-slowdown", "C_GetTokenInfo=50", "--max-slowdown", "C_GetSlotInfo=50%", trace,
               fault="slow-info=20", status=1)
    (slow,) = [line for line in p.stdout.splitlines() if line.endswith("C_GetTokenInfo  SLOWER than +50 %")]
    assert 25 <= int(slow.split()[0]) <= 30
    assert "C_GetSlotInfo  too few calls to tell (20 are needed)" in p.stdout
    assert "C_GetTokenInfo  within +1000000 %" in replay("--max-slowdown", "C_GetTokenInfo=1000000%", trace).stdout


# --- modules that break -----------------------------------------------------------------------------------------------

def test_a_crash_is_a_result(replay, signing):  # noqa: F811
    replay.stage.env.update(CRASHES)
    p = replay("--timeout", "20", signing, fault="crash=C_Sign", status=1)
    assert "the module crashed (SIGSEGV) in C_Sign, call #" in p.stdout
    assert "1  C_Sign the module crashed (SIGSEGV)  (#" in p.stdout and "C_SignInit" in p.stdout
    assert not list(replay.stage.folder.glob("core*"))
    done, of = first(p).split()[1], first(p).split()[3]
    assert int(done) < int(of)


def test_a_crash_is_not_to_be_expected(replay, signing, tmp_path):  # noqa: F811
    replay.stage.env.update(CRASHES)
    (tmp_path / "expect").write_text("C_Sign * : it always does\n")
    p = replay("--expect", tmp_path / "expect", signing, fault="crash=C_Sign", status=1)
    assert "1 difference of 1 kind" in first(p) and "line 1: C_Sign * : it always does" in p.stdout


def test_a_call_that_does_not_return(replay, signing):  # noqa: F811
    for mode in ("serial", "free"):
        p = replay("--timeout", "1", "--mode", mode, signing, fault="hang=C_Sign:forever", status=1)
        assert "did not return within 1 s" in p.stdout and p.stderr == ""
        assert any("C_Sign, call #" in line and line.endswith("did not return within 1 s") for line in p.stdout.splitlines())


def test_the_others_are_replayed_all_the_same(replay, signing, tmp_path):  # noqa: F811
    other = replay.record("state", "a.open", "a.state", "a.close", folder=tmp_path)
    for jobs in ("1", "2"):
        found = replay.json("--jobs", jobs, signing, other, fault="crash=C_Sign", status=1)
        signed, state = found["processes"]
        assert "crashed (SIGSEGV) in C_Sign" in signed["broke"] and signed["different"] == 1
        assert state["same"] == state["calls"] and "broke" not in state


def test_interrupted(replay, signing):  # noqa: F811
    argv = replay.command("--timeout", "60", signing, fault="hang=C_Sign:forever")
    p = subprocess.Popen(argv, cwd=replay.stage.folder, env=replay.stage.env, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    children = f"/proc/{p.pid}/task/{p.pid}/children"
    deadline = time.monotonic() + 20
    # The child that hangs, not the one that looks at the module first: it stays.
    child, seen = "", 0.0
    while time.monotonic() < deadline and (not child or time.monotonic() - seen < 0.5):
        with open(children) as f:
            now = f.read().strip()
        if now != child:
            child, seen = now, time.monotonic()
        time.sleep(0.02)
    os.kill(p.pid, signal.SIGINT)
    out, err = p.communicate(timeout=20)
    assert p.returncode == 2 and "it was interrupted" in out
    assert not os.path.exists(f"/proc/{child}")


# --- which calls, which processes ---------------------------------------------------------------------------------------

def test_until_and_calls(replay, signing):  # noqa: F811
    count = calls_of(replay, signing)
    found = replay.json("--until", "9", signing)
    assert 0 < found["replayed"] < count and found["status"] == 0
    found = replay.json("-e", "fn=C_Initialize,C_Finalize,C_GetInfo", signing)
    assert found["replayed"] == 3 and found["calls"] == count


def test_several_processes(replay, tmp_path):  # noqa: F811
    """In the order of their start, whatever the order of the names."""
    for name in ("b", "a"):
        replay.record(name, "a.open", "a.state", "a.close", folder=tmp_path)
    p = replay(tmp_path)
    assert "calls of 2 processes on " in first(p) and p.stderr == ""
    assert [os.path.basename(x["trace"]) for x in replay.json(tmp_path)["processes"]] == ["b.p11t", "a.p11t"]


def test_processes_that_ran_at_the_same_time(replay, tmp_path):  # noqa: F811
    for i in range(2):
        two_modules(tmp_path / f"{i}.p11t", "/lib/card.so", calls=(3,), pid=7 + i, trace_id=bytes([i]) * 16)
    said = "1 of 2 processes ran while another one did; they are replayed one after another"
    assert said in replay(tmp_path).stderr
    assert said not in replay("--jobs", "2", tmp_path).stderr


def test_a_pipe_and_a_packed_case(replay, signing, tmp_path):  # noqa: F811
    count = calls_of(replay, signing)
    for jobs in ("1", "4"):
        argv = replay.command("--jobs", jobs, "-")
        p = subprocess.run(argv, cwd=replay.stage.folder, env=replay.stage.env, input=signing.read_bytes(), capture_output=True)
        assert p.returncode == 0 and p.stdout.startswith(f"replayed {count} of {count} calls".encode()), p.stderr
    other = replay.record("state", "a.open", "a.state", "a.close", folder=tmp_path)
    subprocess.run([replay.stage.build / "p11trace", "pack", "-o", tmp_path / "case.tar.zst", signing, other], check=True,
                   capture_output=True)
    found = replay.json(tmp_path / "case.tar.zst")
    assert [p["same"] == p["calls"] for p in found["processes"]] == [True, True] and found["status"] == 0


def test_a_process_in_several_files(replay, build):  # noqa: F811
    golden = [ROOT / "tests/golden" / name for name in ("rotated-1.0.p11t", "rotated-1.0.2.p11t")]
    p = replay(*golden, module=build / "tests/mocks/null_module.so", status=None)
    assert f"of {len(dumped(build, golden))} calls of 1 process on " in first(p)


def two_modules(path, *names, calls=(1, 1), **head):
    w = Writer(**head)
    for i, name in enumerate(names, 1):
        w.module(id=i, path=name)
    for i, times in enumerate(calls, 1):
        for _ in range(times):
            w.call("C_Finalize", pointer(), module=i, rv=0x190)
    return save(path, w.bytes())


@pytest.mark.parametrize("names, options, chosen", [
    (("/lib/libsoftokn3.so", "/lib/card.so"), (), "/lib/card.so"),
    (("/usr/lib/p11-kit-proxy.so", "/lib/card.so"), (), "/lib/card.so"),
    (("/lib/one.so", "/old/libp11token.so"), (), "/old/libp11token.so"),
    (("/lib/one.so", "/lib/two.so"), ("--recorded", "two"), "/lib/two.so"),
    (("/lib/libsoftokn3.so", "/lib/card.so"), ("--recorded", "softokn"), "/lib/libsoftokn3.so"),
])
def test_which_of_several_modules(replay, tmp_path, names, options, chosen):  # noqa: F811
    trace = two_modules(tmp_path / "t.p11t", *names)
    (process,) = replay.json(*options, trace)["processes"]
    assert (process["recorded_module"], process["calls"]) == (chosen, 1)


def test_a_choice_that_is_open(replay, tmp_path):  # noqa: F811
    trace = two_modules(tmp_path / "t.p11t", "/lib/one.so", "/lib/two.so", calls=(1, 3))
    p = replay(trace, status=2)
    assert p.stderr == (f"p11trace replay: {trace}: it has calls of several modules: choose one with --recorded\n"
                        "  /lib/one.so  1 calls\n  /lib/two.so  3 calls\n")
    p = replay("--recorded", "lib", trace, status=2)
    assert "--recorded lib fits several modules" in p.stderr
    p = replay("--recorded", "three", trace, status=2)
    assert "no calls of a module with three in it" in p.stderr and "/lib/two.so  3 calls" in p.stderr


def test_processes_without_the_module_are_passed_over(replay, signing, tmp_path):  # noqa: F811
    other = two_modules(tmp_path / "t.p11t", "/lib/libsoftokn3.so", calls=(2,), pid=9, trace_id=b"2" * 16)
    empty = two_modules(tmp_path / "e.p11t", "/lib/card.so", calls=(), pid=10, trace_id=b"3" * 16)
    p = replay(signing, other, empty)
    assert "calls of 1 process on " in first(p)
    assert p.stderr == "p11trace replay: 2 processes without a call of the module are passed over\n"


# --- sealed values ------------------------------------------------------------------------------------------------------

def test_sealed_values(replay, tmp_path):  # noqa: F811
    for name in ("right", "wrong"):
        subprocess.run([replay.stage.build / "p11trace", "keygen", "-o", tmp_path / name], check=True, capture_output=True,
                       env=replay.stage.env)
    trace = replay.record("sealed", *SIGNING, folder=tmp_path,
                          wrap=("--capture", "full", "--seal-to", tmp_path / "right.pub"))
    # With the key the PIN and the data are those of then, and the signatures over the data too.
    assert replay("--key", tmp_path / "right.key", trace, pin=False).stdout.endswith("no difference\n")
    p = replay(trace)
    assert "sealed values of 1 process stay closed, others stand in for them: give --key" in p.stdout.splitlines()[1]
    (process,) = replay.json("--key", tmp_path / "wrong.key", trace, status=2)["processes"]
    assert process["could_not"] == "its sealed values do not open with this key" and process["same"] == 0
    p = replay("--key", tmp_path / "wrong.key", trace, status=2)
    assert p.stderr.startswith(f"p11trace replay: {trace}: is sealed to ") and first(p).startswith("replayed 0 of ")
    assert "/nonexistent" in replay("--key", "/nonexistent", trace, status=2).stderr


# --- traces that are not whole ------------------------------------------------------------------------------------------

def test_a_damaged_trace(replay, signing, tmp_path):  # noqa: F811
    count, data = calls_of(replay, signing), bytearray(signing.read_bytes())
    frames = [at for at in range(len(data)) if data.startswith(b"\x28\xb5\x2f\xfd", at)]
    damaged, cut = tmp_path / "damaged.p11t", tmp_path / "cut.p11t"
    for at in frames:
        changed = data.copy()
        changed[at + 12] ^= 0xFF
        damaged.write_bytes(changed)
        p = replay(damaged, status=2)
        assert " is damaged: " in p.stdout + p.stderr
        if at == frames[-1]:
            assert first(p).startswith(f"replayed {count} of {count} calls")
            assert f"not all of it:\n  {damaged}: the frame at offset {at} (" in p.stdout
    # The end is missing: all calls are there, and that something is gone is said.
    cut.write_bytes(data[:-40])
    p = replay(cut, status=2)
    assert first(p).startswith(f"replayed {count} of {count} calls") and f"not all of it:\n  {cut}: " in p.stdout


def test_a_newer_minor_version(replay, tmp_path):  # noqa: F811
    t = Trace(FUNCTIONS, minor=7)
    t.module(1, path="/lib/card.so")
    t.enter(2, "C_FromTheFuture", b"\x01" + n(0))
    t.leave(3, 2, "C_FromTheFuture", n(0))
    session_call(t, 4)
    t.frame()
    t.end()
    p = replay(save(tmp_path / "t.p11t", t), status=2)
    assert "1 calls of functions that this p11trace does not know (C_FromTheFuture)" in p.stdout
    assert "of 2 calls of 1 process" in first(p)
    p = replay(save(tmp_path / "u.p11t", Trace(incompatible=1 << 40)), status=2)
    assert "written by a newer recorder" in p.stderr


@pytest.mark.parametrize("arch, said", [
    (b"\x80\x00future", "its CK_ULONG has 128 bits and ours has 64: replay it on future"),
    (b"\x40\x01s390x", "it was recorded on a big-endian machine and this is none: replay it on s390x"),
])
def test_machines_that_are_not_ours(replay, tmp_path, arch, said):  # noqa: F811
    trace = two_modules(tmp_path / "t.p11t", "/lib/card.so", calls=(1,), extra=field(12, arch))
    p = replay(trace, status=2)
    assert said in p.stdout and first(p).startswith("replayed 0 of 1 calls")
    assert replay.json(trace, status=2)["processes"][0]["could_not"] == said


def test_a_trace_of_a_smaller_word(replay, tmp_path):  # noqa: F811
    """CK_ULONGs of four bytes, in templates that are given and in buffers that are asked to be filled."""
    w = Writer(extra=field(12, b"\x20\x00i686"))
    w.module(path="/lib/card.so")
    w.call("C_Initialize", pointer())
    w.call("C_OpenSession", number(1), number(4), pointer(), pointer(), gives(7))
    w.call("C_FindObjectsInit", number(7), template(attribute(0, ulong(1), 4)), number(1))
    w.call("C_FindObjects", number(7), lists(0x10), number(1), gives(1))
    w.call("C_FindObjectsFinal", number(7))
    w.call("C_GetAttributeValue", number(7), number(0x10), asked((0, 4, 4, ulong(1))), number(1))
    w.call("C_GetAttributeValue", number(7), number(0x10), asked((0, None, 4, NOTHING)), number(1))
    assert "replayed 7 of 7 calls" in first(replay(save(tmp_path / "t.p11t", w.bytes())))
