"""Call stacks: who called, in every mode, from every kind of code, and when modules come and go at one address."""
import json
import os
import re
import subprocess

import pytest

import p11t_reader
from conftest import SANITIZE
from lab import assert_nothing_lost, counted, lab  # noqa: F401

NOSAN = pytest.mark.nosan  # a sanitizer's own handler calls ours
CHAIN = ["stacks_call", "stacks_three", "stacks_two", "stacks_one", "main"]
START = ["libc.so.6", "libc.so.6", "stacks"]  # _start, in the program, calls two functions of libc


class Names:
    """Function names of a program's return addresses."""

    def __init__(self, path):
        self.path = str(path)
        rows = (line.split() for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines())
        self.symbols = sorted((int(r[0], 16), r[2]) for r in rows if len(r) == 3 and r[1] in "tT")

    def __call__(self, frame):
        """The function, or the file's name where that is another, or None."""
        address, o = frame
        if o is None or o.path != self.path:
            return o and os.path.basename(o.path)
        return [name for at, name in self.symbols if at < address - o.address][-1]


@pytest.fixture
def stacks(lab):  # noqa: F811
    """stacks(mode, client's mode, n): the trace, and names of each call of C_GetSessionInfo: (failed, ENTER's, LEAVE's)."""
    name = Names(lab.program("stacks"))

    def run(stack, mode, n):
        lab.client("stacks", mode, lab.wrap("mock32", stack=stack), n)
        trace = lab.trace()
        assert_nothing_lost(trace)
        rows = []
        for c in trace.calls:
            if c.name == "C_GetSessionInfo":
                both = trace.stack(c.enter), trace.stack(c.leave)
                assert not any(s and s.stale for s in both)
                rows.append((c.rv != 0, *([name(f) for f in s.frames] if s else None for s in both)))
        assert len(rows) == 2 * n
        return rows

    return run


FULL = CHAIN + START


@pytest.mark.parametrize("mode, succeeds, fails", [
    ("off", (None, None), (None, None)),
    ("caller", (CHAIN[:1], None), (CHAIN[:1], None)),
    ("error", (CHAIN[:1], None), (CHAIN[:1], FULL)),
    ("all", (FULL, None), (FULL, None)),
])
def test_modes(stacks, mode, succeeds, fails):
    rows = stacks(mode, "chain", 3)
    assert [(e and e[:5] + [x if x != "_start" else "stacks" for x in e[5:]], leave and leave[:5] + START) for _, e, leave in rows] \
        == [succeeds, fails] * 3


def test_first(stacks):
    """The full stack once for each function and caller: the call that succeeds and the one that fails are two."""
    rows = stacks("first", "chain", 3)
    assert [len(enter) for _, enter, _ in rows] == [8, 8, 1, 1, 1, 1]
    assert rows[0][1][:5] == rows[1][1][:5] == CHAIN
    assert all(enter == ["stacks_call"] and leave is None for _, enter, leave in rows[2:])


@pytest.mark.parametrize("mode, expected, start", [
    ("aligned", ["stacks_call", "stacks_aligned", "main"], True),
    # raise is two functions of libc; the address in the frame that the signal made is libc's too.
    pytest.param("signal", ["stacks_call", "stacks_handler", "libc.so.6", "libc.so.6", "libc.so.6"], None, marks=NOSAN),
    # Another stack is not gone to.
    pytest.param("altstack", ["stacks_call", "stacks_handler", "libc.so.6"], False, marks=NOSAN),
    ("jit", ["stacks_call", None], False),  # code without tables is the end
    ("context", ["stacks_call", "stacks_three", "stacks_two", "stacks_one", "stacks_context", "libc.so.6"], False),
])
def test_from(stacks, mode, expected, start):
    for _, enter, _ in stacks("all", mode, 5):
        assert enter[:len(expected)] == expected
        if start is False:
            assert len(enter) == len(expected)
        if start is True:
            assert len(enter) == len(expected) + 3
        if mode == "signal":
            assert "main" in enter


def test_depth_is_bounded(lab):  # noqa: F811
    """64 frames of 200; the run of a thread that is deep in its stack is followed to there."""
    bench = lab.build / "tests/bench/stack_load"
    lab.run(bench, lab.wrap("mock32", stack="all"), 200, 1, 64)
    trace = lab.trace()
    depths = {len(c.stack.frames) for c in trace.calls if c.name == "C_GetSessionInfo"}
    assert depths == {64}


@pytest.mark.threads
@pytest.mark.parametrize("threads", [0, 6])
@pytest.mark.parametrize("mode", ["caller", "error", "first", "all"])
def test_modules_at_one_address(lab, count, mode, threads):  # noqa: F811
    """Two plugins whose frames differ take turns at one address 1,000 times: every stack is right, or marked."""
    n = count(1000) // (3 if threads else 1)
    left, right = lab.mock("plugin_left"), lab.mock("plugin_right")
    p = lab.client("stacks", "reload", lab.wrap("mock32", stack=mode), n, left, right, threads)
    # Another thread's memory may lie in the hole that a plugin left; sanitized plugins differ in more than their frames.
    assert p.stdout == "at one address\n" or threads or SANITIZE
    trace = lab.trace()
    assert_nothing_lost(trace)
    own = {str(path): path.name for path in (left, right, lab.program("stacks"))}
    marked = full = 0
    for c in trace.calls:
        if c.name != "C_GetSessionInfo":
            continue
        session = c.argument("hSession")[0]["number"]
        plugin = str(right if session % 1000 == 257 else left)
        stack = c.stack
        files = [o and o.path for _, o in stack.frames]
        assert all(o is not None for _, o in stack.frames)
        if stack.stale:
            marked += 1
            assert len(files) == 1
            continue
        if files[0] != str(lab.program("stacks")):
            assert files[0] == plugin
        if len(files) > 1:
            full += 1
            known = [own[f] for f in files if f in own]
            if files[0] == plugin:
                assert known[:3] == [own[plugin], own[plugin], "stacks"] and own[plugin] not in known[2:]
            assert len(files) in (6, 7) or SANITIZE
    calls = counted(trace.calls)["C_GetSessionInfo"]
    assert {"caller": full == 0, "error": full == calls / 2, "first": 0 < full < 20, "all": full == calls}[mode]
    assert marked <= {"all": 0, "first": 40, "caller": 40, "error": 40}[mode], "once it was seen, it is looked for"


def test_readers_agree(lab):  # noqa: F811
    """`dump --json` shows the frames that the second reader sees."""
    for mode in ("all", "error"):
        lab.client("stacks", "chain", lab.wrap("mock32", mode, stack=mode), 5)
    for path in lab.files():
        lines = [json.loads(line) for line in lab.p11trace("dump", "--json", path).stdout.splitlines()]
        theirs = {line["call"]: line for line in lines if line.get("type") == "call"}
        trace = p11t_reader.read(path)
        for c in trace.calls:
            addresses = [int(re.match(r"0x[0-9a-f]+", address_of(f))[0], 16) for f in theirs[c.number]["stack"]]
            assert addresses == c.stack.addresses


def address_of(frame):
    return frame if isinstance(frame, str) else frame["address"]


def test_nothing_else_is_loaded(lab):  # noqa: F811
    """No unwinder that would take over the exceptions of modules that are loaded later."""
    p = lab.start("lifecycle", "sign", lab.wrap("mock32", stack="all"), env={"MOCK_HANG": "C_Sign"})
    assert p.stderr.readline() == "hang\n"
    try:
        with open(f"/proc/{p.pid}/maps") as maps:
            assert "unwind" not in maps.read()
    finally:
        p.kill()
        p.communicate(timeout=10)
    trace = lab.trace("died in call")
    assert len(trace.calls[-1].stack.frames) >= 4, "the call in flight has its stack"


def instructions(lab, *argv):
    """{what was thrown: instructions of it} by callgrind: all that is below the client's function `thrown`."""
    out = lab.tmp / "callgrind.out"
    lab.run("valgrind", "-q", "--tool=callgrind", "--toggle-collect=throw_and_catch", f"--callgrind-out-file={out}", *argv,
            timeout=120)
    return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.M)[1])


@pytest.mark.nosan
@pytest.mark.parametrize("mode", ["caller", "all"])
def test_exceptions_cost_the_same(lab, mode):  # noqa: F811
    """C++ exceptions thrown and caught in a module that is loaded under the shim."""
    module = lab.mock("thrower")
    direct = instructions(lab, lab.program("stacks"), "chain", module, 500)
    traced = instructions(lab, lab.program("stacks"), "chain", lab.wrap("thrower", stack=mode), 500)
    print(f"1,000 exceptions: {direct} instructions, traced {traced}")
    assert direct > 1_000_000
    assert traced == pytest.approx(direct, rel=0.03)
