"""Forks before, between and inside calls: every process has its own trace, the child's says whose child it is."""
import re

import pytest

import p11t_reader
from lab import assert_nothing_lost, counted, lab, totals  # noqa: F401


def said_by(p):
    """{pid: (parent or child, calls)}"""
    return {int(pid): (who, int(n)) for who, pid, n in re.findall(r"(parent|child) (\d+) (\d+)", p.stdout)}


def run_forks(lab, how, mock="mock32", **env):
    """What the client says, and {pid: trace}."""
    said = said_by(lab.client("forks", how, lab.wrap(mock), env=env))
    traces = {t.pid: t for t in lab.traces()}
    assert len(traces) == len(lab.files()), "one trace per process"
    return said, traces


def parent_of(said):
    return next(pid for pid, (who, _) in said.items() if who == "parent")


def assert_child_of(child, parent):
    assert child.fields[2] == parent.fields[1], "trace id of the parent"
    assert int.from_bytes(child.fields[3][0], "little") == parent.pid
    assert child.fields[1] != parent.fields[1]


def made(trace):
    return len([c for c in trace.calls if c.name not in ("C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList")])


@pytest.mark.parametrize("how", ["between", "clone"])
def test_child_has_its_own_trace(lab, how):
    said, traces = run_forks(lab, how)
    assert set(traces) == set(said) and len(said) == 2
    for pid, (_, calls) in said.items():
        assert_nothing_lost(traces[pid])
        assert traces[pid].verdict == "complete"
        assert made(traces[pid]) == calls
    parent = parent_of(said)
    (child,) = set(said) - {parent}
    assert_child_of(traces[child], traces[parent])
    initialize = next(c for c in traces[child].calls if c.name == "C_Initialize")
    assert initialize.rv == 0x191, "the child inherited an initialised module; that is recorded, not changed"


def test_fork_before_the_first_call(lab):
    said, traces = run_forks(lab, "before")
    assert set(traces) == set(said)
    for pid, (_, calls) in said.items():
        assert_nothing_lost(traces[pid])
        assert made(traces[pid]) == calls


def test_child_by_quick_exit(lab):
    """_exit in the child: its live file stays, and the two files hold all."""
    said, traces = run_forks(lab, "quick")
    parent = parent_of(said)
    (child,) = set(said) - {parent}
    assert traces[parent].verdict == "complete" and traces[child].verdict == "ended"
    for pid, (_, calls) in said.items():
        assert_nothing_lost(traces[pid])
        assert made(traces[pid]) == calls
    assert_child_of(traces[child], traces[parent])


@pytest.mark.parametrize("how", ["quiet", "vfork"])
def test_child_without_a_call(lab, how):
    """It creates nothing, and what it does at its exit leaves the parent's trace alone."""
    said, traces = run_forks(lab, how)
    parent = parent_of(said)
    assert set(traces) == {parent}
    assert list(lab.out.glob("*.live")) == []
    assert_nothing_lost(traces[parent])
    assert traces[parent].verdict == "complete"
    assert made(traces[parent]) == said[parent][1]


@pytest.mark.parametrize("mock", ["mock240", "mock32"])
def test_fork_inside_a_call(lab, mock):
    """decisions.md A6: the module forks in C_Sign, and both processes return from it."""
    said, traces = run_forks(lab, "inside", mock, MOCK_FORK="C_Sign")
    parent = parent_of(said)
    (child,) = set(said) - {parent}
    assert set(traces) == {parent, child}
    for pid, (_, calls) in said.items():
        assert_nothing_lost(traces[pid])
        assert made(traces[pid]) == calls
    assert counted(traces[parent].calls)["C_Sign"] == 1
    assert "C_Sign" not in counted(traces[child].calls), "it was made by the parent"
    assert_child_of(traces[child], traces[parent])


@pytest.mark.threads
@pytest.mark.nosan
def test_forks_of_a_busy_process(lab):
    """30 children, forked while three threads are in calls and flushes; each makes twelve calls of its own."""
    said = said_by(lab.client("forks", "busy", lab.wrap("mock32")))
    parent = parent_of(said)
    files = {int(f.name.split(".")[-2].split("-")[0]): f for f in lab.files()}
    assert len(said) == 31 and set(files) == set(said)
    whole, end = totals(files.pop(parent))
    assert end[2] == end[8] == 0, "lost, passed through"
    assert end[1] == sum(info.records for info, _ in whole.frames) > 1000
    for pid, path in files.items():
        child = p11t_reader.read(path)
        assert_nothing_lost(child)
        assert made(child) == said[pid][1] == 12
        assert_child_of(child, whole)
