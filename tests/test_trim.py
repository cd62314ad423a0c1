"""p11trace trim and merge: fewer calls, or fewer files, and nothing else."""
import json
import subprocess

import pytest

import p11t_reader
from p11t_make import Trace, field
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
