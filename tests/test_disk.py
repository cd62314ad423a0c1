"""What can be wrong with the place of a trace, the module or the recorder.  The program that is traced does not notice: same
output, same exit status.  The user does: one line on stderr, and `p11trace doctor` names the cause."""
import contextlib
import json
import os
import re
import resource
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import p11t_reader
from lab import lab  # noqa: F401

CALLS = 150_000  # about 2 MiB of trace


@contextlib.contextmanager
def mounted(directory, kind, size):
    """A small file system of its own. `size` in KiB."""
    directory.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", directory]
    else:
        image = directory.with_suffix(".img")
        with open(image, "wb") as f:
            f.truncate(size * 1024)
        make = {"ext4": ["mkfs.ext4", "-q", "-m", "0"], "btrfs": ["mkfs.btrfs", "-q", "--mixed"],
                "btrfs-dup": ["mkfs.btrfs", "-q"]}[kind]
        subprocess.run([*make, image], check=True, capture_output=True)
        command = ["mount", "-o", "loop", image, directory]
    subprocess.run(command, check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def fill(directory, leave):
    """Uses up the file system but for about `leave` KiB."""
    with open(directory / "ballast", "wb", buffering=0) as f:
        def free():
            v = os.statvfs(directory)
            return max(0, v.f_bavail * v.f_frsize - leave * 1024)
        with contextlib.suppress(OSError):
            os.posix_fallocate(f.fileno(), 0, free() or 1)
        os.sync()
        if leave:
            return
        with contextlib.suppress(OSError):
            f.seek(0, os.SEEK_END)
            while True:
                f.write(bytes(65536))


def one_line(stderr):
    """The one line that the recorder may say of what is wrong."""
    lines = stderr.splitlines()
    assert len(lines) == 1, stderr
    assert lines[0].startswith("p11trace: ")
    return lines[0]


SIGN, INTERFACES = ["lifecycle", "sign", "MODULE"], ["interfaces", "MODULE"]


def poll(n):
    return ["threads", "poll", "MODULE", n]


def same_as_direct(lab, traced, arguments, env=None, **more):
    """Runs the client on the module and on the traced copy; the second one's stderr."""
    direct, p = (lab.client(*[module if a == "MODULE" else a for a in arguments], env=env, **more)
                 for module in (lab.mock("mock32"), traced))
    assert p.stdout == direct.stdout and direct.stderr == ""
    return p.stderr


def doctor(lab, *arguments, **more):
    """Status and text of `p11trace doctor`."""
    p = lab.p11trace("doctor", *arguments, status=None, **more)
    return p.returncode, p.stdout + p.stderr


# --- no room ----------------------------------------------------------------------------------------------------------

@pytest.mark.root
@pytest.mark.nosan
@pytest.mark.parametrize("kind, size, leave, calls", [("ext4", 8192, 1000, CALLS), ("tmpfs", 4096, 1000, CALLS),
                                                      ("btrfs", 65536, 6000, 6 * CALLS)])
def test_disk_fills_up(lab, kind, size, leave, calls):
    """The disk fills in mid-run.  What was written stays readable, what was lost is counted, nobody gets a signal."""
    with mounted(lab.tmp / kind, kind, size) as place:
        traced = lab.wrap("mock32", out=place / "out", min_free="0")
        fill(place, leave)
        line = one_line(same_as_direct(lab, traced, poll(calls)))
        assert re.search("No space left|min-free", line) and str(place) in line
        (path,) = (place / "out").glob("*.p11t")
        trace = p11t_reader.read(path)
        assert trace.damage == [] and len(trace.calls) > 1000
        lost = int.from_bytes(trace.end[2][0], "little") if trace.end else trace.live.dropped
        assert lost > 1000 and len(trace.records) + lost >= 2 * calls, "what is missing is counted"
        if kind == "btrfs" and trace.live and path.stat().st_size > trace.live.trace_end:
            # A full btrfs may refuse even to cut off half a frame; the live file says where the last whole one ends.
            whole = lab.tmp / "whole.p11t"
            whole.write_bytes(path.read_bytes()[:trace.live.trace_end])
            lab.run("zstd", "-tq", whole)
        else:
            lab.run("zstd", "-tq", path)
        status, text = doctor(lab, traced)
        assert status == 1 and re.search(r"full|space|free", text), text


@pytest.mark.root
@pytest.mark.nosan
@pytest.mark.parametrize("kind, size", [("ext4", 16384), ("tmpfs", 8192), ("btrfs", 65536), ("btrfs-dup", 131072)])
def test_somebody_else_fills_the_disk(lab, kind, size):
    """decisions.md A3: the live file lies on the disk already when another program takes the last block."""
    with mounted(lab.tmp / kind, kind, size) as place:
        traced = lab.wrap("mock32", out=place / "out", min_free="0")
        counters = lab.tmp / "counters"
        p = lab.start("busy", traced, 2, counters)
        time.sleep(0.3)
        assert p.poll() is None, p.communicate()
        fill(place, 0)
        time.sleep(0.7)
        alive = p.poll()
        p.kill()
        _, stderr = p.communicate(timeout=20)
        assert alive is None, f"the traced program died: {p.returncode}"
        assert str(place) in one_line(stderr)
        (path,) = (place / "out").glob("*.p11t")
        trace, data = p11t_reader.Trace(str(path)), path.read_bytes()
        p11t_reader.read_frames(trace, data, min(len(data), p11t_reader.parse_live(live_of(path).read_bytes()).trace_end))
        assert trace.damage == [] and len(trace.frames) > 10


def live_of(path):
    return Path(p11t_reader.named_live(path.read_bytes()) or f"{path}.live")


@pytest.mark.root
@pytest.mark.nosan
@pytest.mark.parametrize("kind, size", [("ext4", 8192), ("tmpfs", 1024), ("btrfs", 65536)])
def test_disk_is_full(lab, kind, size):
    with mounted(lab.tmp / kind, kind, size) as place:
        traced = lab.wrap("mock32", out=place / "out", min_free="0")
        fill(place, 0)
        line = one_line(same_as_direct(lab, traced, poll(5000)))
        assert str(place) in line
        status, text = doctor(lab, traced)
        assert status == 1 and re.search(r"full|space|free", text), text


@pytest.mark.root
def test_less_than_min_free(lab):
    """decisions.md D11: recording does not start when it would use the last room."""
    with mounted(lab.tmp / "small", "tmpfs", 4096) as place:
        traced = lab.wrap("mock32", out=place / "out", min_free="3900K")
        fill(place, 2000)
        line = one_line(same_as_direct(lab, traced, SIGN))
        assert str(place) in line and "min-free" in line
        assert list(place.glob("out/*")) == []


@pytest.mark.nosan
@pytest.mark.parametrize("limit", [0, 4096, 100_000, 400_000])
def test_file_size_limit(lab, limit):
    """decisions.md A2: `ulimit -f` would kill a program that writes beyond it."""
    p_limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))}
    line = one_line(same_as_direct(lab, lab.wrap("mock32"), poll(CALLS), **p_limit))
    assert "File too large" in line or "ulimit" in line or "limit" in line
    for path in lab.files():
        assert path.stat().st_size <= limit
        assert p11t_reader.read(path).damage == [] or limit < 100_000


# --- no place ---------------------------------------------------------------------------------------------------------

@pytest.mark.root
def test_read_only_place(lab):
    with mounted(lab.tmp / "ro", "tmpfs", 4096) as place:
        (place / "out").mkdir()
        traced = lab.wrap("mock32", out=place / "out")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        line = one_line(same_as_direct(lab, traced, SIGN))
        assert str(place) in line and "Read-only" in line
        status, text = doctor(lab, traced)
        assert status == 1 and str(place) in text, text


@pytest.mark.root
def test_directory_of_somebody_else(lab):
    """As an ordinary user, in a directory that only root may write."""
    home = lab.tmp
    for parent in [home, *home.parents][:4]:
        if parent.stat().st_uid == os.geteuid() and str(parent).startswith("/tmp/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    out = lab.tmp / "roots"
    out.mkdir(mode=0o755)
    traced = lab.wrap("mock32", out=out)
    program = lab.tmp / "lifecycle"
    shutil.copy(lab.program("lifecycle"), program)
    library = lab.tmp / "lib"
    library.mkdir()
    for f in (lab.build / "libp11trace.so", lab.mock("mock32")):
        shutil.copy(f, library)
    conf = traced.with_suffix(".conf")
    text = re.sub(r"\S+/libp11trace\.so", str(library / "libp11trace.so"), conf.read_text())
    conf.write_text(re.sub(r"\S+/mock32\.so", str(library / "mock32.so"), text))
    p = lab.run(program, "sign", traced, user=65534, group=65534)
    line = one_line(p.stderr)
    assert "Permission denied" in line or "another user" in line
    assert str(out) in line and "C_Sign=0x0" in p.stdout


def test_place_below_a_file(lab):
    (lab.tmp / "file").write_text("")
    traced = lab.wrap("mock32", out=lab.tmp / "elsewhere")
    env = {"P11TRACE_OUT": lab.tmp / "file" / "below" / "x.p11t"}
    line = one_line(same_as_direct(lab, traced, SIGN, env=env))
    assert str(lab.tmp / "file") in line
    status, text = doctor(lab, traced, env=env)
    assert status == 1 and str(lab.tmp / "file") in text, text


@pytest.mark.parametrize("dangling", [False, True])
def test_symlink_is_refused(lab, dangling):
    target, link = lab.tmp / "precious", lab.tmp / "link.p11t"
    if not dangling:
        target.write_text("precious")
    link.symlink_to(target)
    line = one_line(same_as_direct(lab, lab.wrap("mock32"), SIGN, env={"P11TRACE_OUT": link}))
    assert str(link) in line and "symbolic link" in line
    assert target.exists() is not dangling and (dangling or target.read_text() == "precious")
    assert link.is_symlink() and not list(lab.tmp.glob("*.live"))


# --- no module, no recorder -------------------------------------------------------------------------------------------

def edit_conf(traced, name, value):
    conf = traced.with_suffix(".conf")
    text, n = re.subn(rf"(?m)^({name}\s*=\s*).*$", lambda m: m[1] + str(value), conf.read_text())
    assert n == 1, f"{name} in {conf.read_text()}"
    conf.write_text(text)


@pytest.mark.parametrize("value, words", [("/nonexistent/vendor.so", "/nonexistent/vendor.so"),
                                          ("/lib/x86_64-linux-gnu/libz.so.1", "C_GetFunctionList")])
def test_no_module_behind(lab, value, words):
    """Missing, or no PKCS #11 module: the host is told by a return code, the user by one line."""
    traced = lab.wrap("mock32")
    edit_conf(traced, "module", value)
    p = lab.client("lifecycle", "sign", traced, status=3)
    ours = [line for line in p.stderr.splitlines() if line.startswith("p11trace: ")]
    assert len(ours) == 1 and words in ours[0] and value in ours[0], p.stderr
    status, text = doctor(lab, traced)
    assert status == 1 and value in text, text
    assert lab.files() == []


@pytest.mark.parametrize("what", ["missing", "other", "older"])
def test_no_recorder(lab, what):
    """decisions.md A10: the stub passes the module's own list through and says so once."""
    value = {"missing": "/nonexistent/libp11trace.so", "other": "/lib/x86_64-linux-gnu/libz.so.1",
             "older": str(lab.mock("old_recorder"))}[what]
    traced = lab.wrap("mock32")
    edit_conf(traced, "recorder", value)
    assert value in one_line(same_as_direct(lab, traced, SIGN))
    assert value in one_line(same_as_direct(lab, traced, INTERFACES))
    status, text = doctor(lab, traced)
    assert status == 1 and value in text, text
    assert lab.files() == []


def test_wrap_refuses_what_is_no_module(lab):
    for path in ("/lib/x86_64-linux-gnu/libz.so.1", "/nonexistent.so"):
        p = lab.p11trace("wrap", path, "-o", lab.tmp / "x.so", status=2)
        assert len(p.stderr.splitlines()) == 1 and path in p.stderr
        assert not (lab.tmp / "x.so").exists()


def test_doctor_finds_nothing(lab):
    traced = lab.wrap("mock32")
    lab.client("lifecycle", "sign", traced)
    status, text = doctor(lab, traced)
    assert status == 0, text


@pytest.mark.nosan
def test_live_file_that_cannot_grow(lab):
    """Four slots fit under the limit, eight threads want one: the others' calls pass through unrecorded, counted and quick."""
    limit = 8192 + 4 * 65536
    p_limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))}
    said = lab.client("threads", "order", lab.wrap("mock32"), 8, 4000, lab.tmp / "noted", **p_limit).stdout
    (path,) = lab.files()
    info = json.loads(lab.p11trace("info", "--json", path).stdout)
    (process,) = info["processes"] if "processes" in info else [info]
    made = int(re.search(r"^calls (\d+)$", said, re.M)[1])
    # All eight have opened a session before the first goes on, and the main thread has a slot too. C_GetFunctionList is
    # not among those that the client counts.
    assert process["passed"] >= 4 and process["calls"] > 100 and process["passed"] + process["calls"] == made + 1
