"""`p11trace doctor`: the cause by name, first. What is wrong with disks, modules and recorders is in test_disk.py."""
import re
import time

import pytest

from lab import lab  # noqa: F401


@pytest.fixture
def doctor(lab):
    """doctor(argument, ..., status=, env=): its lines as (kind, text)."""

    def doctor(*arguments, **more):
        p = lab.p11trace("doctor", *arguments, **more)
        assert p.stderr == ""
        lines = [re.fullmatch(r"(ok|note|problem) +(\S.*)", line).groups() for line in p.stdout.splitlines()]
        kinds = [kind for kind, _ in lines]
        assert kinds == sorted(kinds, key=["problem", "ok", "note"].index), "problems come first"
        assert ("problem" in kinds) == (p.returncode == 1)
        return lines

    return doctor


def problems(lines):
    return [text for kind, text in lines if kind == "problem"]


def conf_of(traced):
    return traced.with_suffix(".conf")


def test_everything_is_fine(lab, doctor):
    traced = lab.wrap("mock32")
    lines = doctor(traced)
    text = "\n".join(t for _, t in lines)
    for words in (f"library: {traced}: is a traced copy", f"settings: {conf_of(traced)}: read, 3 settings", "libp11trace.so: version",
                  "mock32.so: PKCS #11 2.40, with C_GetInterface", f"output: {lab.out}", "room: ", "live file: ", "there is none"):
        assert words in text
    lab.client("lifecycle", "sign", traced)
    (path,) = lab.files()
    assert any(kind == "note" and f"traces: {path}: 20" in t and t.endswith(f" {path.stat().st_size} bytes") for kind, t in doctor(traced))
    assert lab.p11trace("doctor", "--quiet", traced).stdout == ""
    assert [f.name for f in lab.out.iterdir()] == [path.name], "it leaves nothing behind"


@pytest.mark.parametrize("change, words", [
    (lambda conf: conf.chmod(0o666), "others may write it (mode 666), so it is not used: chmod go-w"),
    (lambda conf: conf.unlink(), "cannot be read: No such file or directory: run `p11trace wrap` again"),
    (lambda conf: conf.write_text(conf.read_text() + "nonsense\n"), "is not `name = value`"),
    (lambda conf: conf.write_text(conf.read_text() + "ou = /tmp\n"), "no option is called ou"),
    (lambda conf: conf.write_text(conf.read_text() + "capture = all\n"), "capture = all is not understood: give one of: meta safe full clear"),
    (lambda conf: conf.write_text(conf.read_text() + "cut = 5X\n"), "cut = 5X is not understood"),
    (lambda conf: conf.write_text(conf.read_text() + "only = %sing\n"), "only = %sing is not understood"),
    (lambda conf: conf.write_text(conf.read_text() + "off = on\n"), "`off` is on, so everything is passed through"),
    (lambda conf: conf.write_text(re.sub("(?m)^module.*$", "", conf.read_text())), "has no `module`"),
    (lambda conf: conf.write_text(conf.read_text() + "live = /nonexistent\n"), "/nonexistent: is no folder"),
    (lambda conf: conf.write_text(conf.read_text() + "min-free = 1000000T\n"), "min-free wants"),
])
def test_settings(lab, doctor, change, words):
    traced = lab.wrap("mock32")
    change(conf_of(traced))
    (problem,) = problems(doctor(traced, status=1))
    assert words in problem


def test_hostile_settings(lab, doctor):
    traced = lab.wrap("mock32")
    conf_of(traced).write_text(conf_of(traced).read_text() + "x\x1b[2J\u202e = 1\n")
    (problem,) = problems(doctor(traced, status=1))
    assert "x\\x1b[2J\\u{202e}" in problem


@pytest.mark.parametrize("path, words", [("mock", "is not a traced copy"), ("/nonexistent.so", "No such file"),
                                         ("/etc/passwd", "is not a traced copy")])
def test_not_a_traced_copy(lab, doctor, path, words):
    (problem,) = problems(doctor(lab.mock("mock32") if path == "mock" else path, status=1))
    assert words in problem


@pytest.mark.parametrize("env, words", [
    ({"P11TRACE_CAPTURE": "all"}, "P11TRACE_CAPTURE: all is not understood"),
    ({"P11TRACE_OFF": "1"}, "P11TRACE_OFF: `off` is on"),
])
def test_environment(lab, doctor, env, words):
    traced = lab.wrap("mock32")
    (problem,) = problems(doctor(traced, status=1, env=env))
    assert words in problem
    lines = doctor(traced, env={"P11TRACE_CAPTURE": "meta", "P11TRACE_NONSENSE": "1"})
    assert ("ok", "environment: P11TRACE_CAPTURE: meta (set here; the traced program needs it too)") in lines
    assert ("note", "environment: P11TRACE_NONSENSE: is not one that the recorder knows") in lines


def test_output_in_the_environment(lab, doctor):
    traced = lab.wrap("mock32")
    place = lab.tmp / "elsewhere"
    lines = doctor(traced, env={"P11TRACE_OUT": place / "deep" / "%e" / "%p.p11t"})
    assert any(kind == "ok" and t.startswith(f"output: {place}/deep: will be made, from P11TRACE_OUT") for kind, t in lines)
    assert not place.exists(), "looking makes nothing"
    target = lab.tmp / "precious"
    target.write_text("precious")
    link = lab.tmp / "link.p11t"
    link.symlink_to(target)
    (problem,) = problems(doctor(traced, status=1, env={"P11TRACE_OUT": link}))
    assert f"output: {link}: is a symbolic link" in problem and target.read_text() == "precious"


def test_no_home(lab, doctor):
    traced = lab.wrap("mock32")
    conf_of(traced).write_text(re.sub("(?m)^out.*$", "", conf_of(traced).read_text()))
    (problem,) = problems(doctor(traced, status=1, env={"HOME": "", "XDG_STATE_HOME": ""}))
    assert "neither XDG_STATE_HOME nor HOME" in problem
    lines = doctor(traced)
    assert any(t.startswith(f"output: {lab.env['XDG_STATE_HOME']}/p11trace: will be made, from XDG_STATE_HOME") for _, t in lines)


def test_without_a_library(lab, doctor):
    lines = doctor()
    assert any(kind == "ok" and t.startswith(f"recorder: {lab.build / 'libp11trace.so'}: version") for kind, t in lines)
    (problem,) = problems(doctor(status=1, env={"P11TRACE_MODULE": "/nonexistent.so"}))
    assert problem.startswith("module: /nonexistent.so: cannot be loaded")


def test_who_records(lab, doctor):
    """A live owner is told by the kernel's lock, a dead one by its absence."""
    traced = lab.wrap("mock32")
    process = lab.start("lifecycle", "sign", traced, env={"MOCK_HANG": "C_Sign"})
    try:
        lines = []
        for _ in range(200):
            lines = [t for kind, t in doctor(traced) if kind == "ok" and "records now" in t]
            if lines or process.poll() is not None:
                break
            time.sleep(0.05)
        (live,) = lab.out.glob("*.live")
        assert lines == [f"recording: {live}: pid {process.pid} (lifecycle) records now"]
    finally:
        process.kill()
        process.communicate()
    lines = doctor(traced)
    assert not any("records now" in t for _, t in lines)
    assert any(kind == "note" and f"pid {process.pid} (lifecycle) ended without notice" in t for kind, t in lines)


def test_wrong_usage(lab):
    assert "one library at a time" in lab.p11trace("doctor", "a.so", "b.so", status=2).stderr
    assert "Exit status" in lab.p11trace("doctor", "--help").stdout
