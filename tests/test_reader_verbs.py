"""The table of verbs, and the page that info prints."""
import pytest

from p11t_make import Trace, field
from reader_tools import save, session_call, sign_enter, tool

VERBS = ("run", "info", "dump", "follow", "stat", "state", "objects", "check", "rules", "report", "replay", "diff", "emit-c",
         "recover", "pack", "merge", "trim", "redact", "import", "symbolize", "keygen", "wrap", "doctor")


def test_help_lists_every_verb(run, build):
    out = tool(run, build, "--help").stdout
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line[2] != " "] == list(VERBS)
    assert tool(run, build, "--version").stdout.startswith("p11trace ")
    assert "VERB" in run(build / "p11trace", status=2).stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(run, build, verb):
    out = tool(run, build, verb, "--help").stdout
    assert out.startswith(f"Usage: p11trace {verb} ")


def test_an_unknown_verb(run, build):
    p = tool(run, build, "inof", status=2)
    assert "did you mean 'info'?" in p.stderr and p.stdout == ""
    p = tool(run, build, "frobnicate", status=2)
    assert all(verb in p.stderr for verb in VERBS)


@pytest.mark.parametrize("verb", ("info", "recover"))
def test_usage_errors_are_status_2(run, build, verb):
    for args in ((), ("--no-such-option", "x")):
        assert f"p11trace {verb}" in tool(run, build, verb, *args, status=2).stderr


def test_the_page(run, build, tmp_path):
    t = Trace(options="stack=caller\n")
    t.thread(100, "main\x1b[2J")
    t.module(1)
    t.list(2, nulls=b"\x05")
    t.list(3, name="PKCS 11", version=(3, 0), count=92)
    t.list(4, name="Vendor", version=(1, 0), count=0)
    sign_enter(t, 7)
    t.frame()
    t.thread(101)
    session_call(t, 5, time=10_000)
    t.frame(slot=1, tid=101)
    t.end(dropped=3, cut=1, passed=2)
    out = tool(run, build, "info", save(tmp_path / "t.p11t", t)).stdout
    assert out == f"""{tmp_path}/t.p11t
  verdict   complete
  in flight #7 C_Sign, thread 100 (main\\x1b[2J), for at least 2.000 us
  process   client, pid 4711, /usr/bin/client, 3 arguments
  started   2001-09-09T01:46:40.000000+00:00, calls within 8.000 us
  recorder  0.1.0 on x86_64, capture=safe
  options   stack=caller
  module 1  /lib/vendor.so, chained by /lib/stub.so, build-id abcd
            function list 2.40: 68 functions, 2 of them NULL
            interface "PKCS 11" 3.0: 92 functions
            interface "Vendor" 1.0: layout unknown, its calls are not recorded
  calls     2 in 2 threads, 0 not CKR_OK, 1 in flight
  size      {len(t.out)} bytes, 2 frames, {len(t.out) * 10 // 2 / 10} bytes a call
  LOST      3 records lost, 1 value cut, 2 calls passed through unrecorded
"""


def test_payload_in_clear_is_said_loudly(run, build, tmp_path):
    t = Trace()
    t.end()
    data = bytearray(t.bytes())
    data[40] |= 1  # the compatible mask of HEAD
    path = save(tmp_path / "t.p11t", bytes(data))
    assert "PAYLOAD IN CLEAR" in tool(run, build, "info", path).stdout


def test_a_forks_parent_is_found_in_the_set(run, build, tmp_path):
    parent = Trace(trace_id=b"P" * 16)
    parent.end()
    child = Trace(trace_id=b"C" * 16, pid=4712, extra=field(2, b"P" * 16) + field(3, (4711).to_bytes(4, "little")))
    child.end()
    save(tmp_path / "a.p11t", parent)
    save(tmp_path / "b.p11t", child)
    assert f"parent    pid 4711, traced in {tmp_path}/a.p11t\n" in tool(run, build, "info", tmp_path).stdout


def test_info_of_many_is_short(run, build, tmp_path):
    """Of a folder of traces each process has its line; in full stand those with which something is the matter."""
    for i in range(5):
        t = Trace(pid=4711 + i, trace_id=bytes([i] * 16))
        t.module(1)
        session_call(t, 2, time=10_000)
        t.frame()
        if i < 4:
            t.end()
        save(tmp_path / f"{i}.p11t", t)
    short = tool(run, build, "info", tmp_path, status=2).stdout
    assert short.count("client[") == 5 and short.count("  verdict ") == 1 and "  verdict   cut" in short
    assert "4 processes (p11trace info -v shows all)" in short
    full = tool(run, build, "info", "-v", tmp_path, status=2).stdout
    assert full.count("  verdict ") == 5 and "not shown" not in full
