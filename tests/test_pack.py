"""`p11trace pack`: a case as one file, read by every verb and by tar."""
import io
import json
import random
import re
import signal
import stat
import subprocess
import tarfile

import pytest
import zstandard

from lab import lab  # noqa: F401
from p11t_make import Trace, s
from reader_tools import calls, numbers, save, session_call, sign_enter


def pack(lab, *arguments, name="case.tar.zst", status=0):
    result = lab.p11trace("pack", "-o", lab.tmp / name, *arguments, status=status)
    left = [p.name for p in lab.tmp.iterdir() if p.name.startswith("p11trace-")]
    assert left == [], "temporary files"
    return lab.tmp / name, result


def members(path):
    """{name: (mode, content)}, by Python's own tar and zstd."""
    with zstandard.open(path) as f, tarfile.open(fileobj=io.BytesIO(f.read())) as tar:
        return {m.name: (m.mode, tar.extractfile(m).read()) for m in tar.getmembers()}


def archive(*entries):
    """A packed file of (name, content) or of TarInfo objects."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size = len(entry[1])
            tar.addfile(info, io.BytesIO(entry[1]))
    return zstandard.ZstdCompressor().compress(out.getvalue())


def trace(first=1, **head):
    t = Trace(**head)
    for i in range(first, first + 40, 2):
        session_call(t, i)
    t.frame()
    t.end()
    return t


# -- what goes in --------------------------------------------------------------------------------------

def test_a_folder_of_whole_traces(lab):
    library = lab.wrap("mock240")
    for rounds in (5, 7):
        lab.client("callers", library, rounds)
    before = {p: p.read_bytes() for p in lab.out.iterdir()}
    path, said = pack(lab, lab.out)
    inside = members(path)
    names = [f.name for f in lab.files()]
    assert list(inside) == ["case/info.json"] + sorted(f"case/{n}{e}" for n in names for e in ("", ".sym"))
    assert all(mode == 0o600 for mode, _ in inside.values())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert said.stdout == f"{path}: 5 files, {path.stat().st_size} bytes\n" and said.stderr == ""
    for name in names:
        assert inside[f"case/{name}"][1] == (lab.out / name).read_bytes()
    assert {p: p.read_bytes() for p in lab.out.iterdir()} == before
    index = json.loads(inside["case/info.json"][1])
    assert sorted(p["path"] for p in index["processes"]) == names
    assert str(lab.tmp) not in json.dumps([p["path"] for p in index["processes"]])
    # and by the programs that everybody has
    lab.run("sh", "-c", f"mkdir unpacked; zstd -dc '{path}' | tar -x -C unpacked")
    assert lab.p11trace("dump", "unpacked/case").stdout == lab.p11trace("dump", lab.out).stdout


def test_every_verb_reads_it(lab):
    library = lab.wrap("mock240")
    for rounds in (5, 7):
        lab.client("callers", library, rounds)
    path, _ = pack(lab, lab.out)
    for verb in (["dump"], ["dump", "--stack"], ["dump", "--json", "-e", "fn=C_GetInfo"], ["stat", "--by-caller"], ["check"]):
        packed, plain = (lab.p11trace(*verb, where).stdout for where in (path, lab.out))
        assert packed.replace(f"{path}/", f"{lab.out}/") == plain, verb
    shown = json.loads(lab.p11trace("info", "--json", path).stdout)["processes"]
    assert sorted(p["path"] for p in shown) == [f"{path}/{f.name}" for f in lab.files()]
    assert [p["verdict"] for p in shown] == ["complete"] * 2
    assert not [p for p in lab.tmp.iterdir() if p.name.startswith("p11trace-")]


def test_it_comes_through_a_pipe(lab):
    """Verbs that read once, and those that read again."""
    for rounds in (5, 7):
        lab.client("callers", lab.wrap("mock240"), rounds)
    path, _ = pack(lab, lab.out)
    for verb in (("dump",), ("diff", lab.out), ("trim", "-o", lab.tmp / "trimmed")):
        piped = lab.p11trace(*verb, "-", input=path.read_bytes(), text=False).stdout.decode()
        if verb == ("dump",):
            assert piped == lab.p11trace("dump", path).stdout
    number = len(calls(lab.run, lab.build, lab.out))
    assert piped == f"{lab.tmp}/trimmed: {number} of {number} calls\n"
    assert sorted(p.name for p in (lab.tmp / "trimmed").iterdir()) == [f.name for f in lab.files()]


def test_a_process_that_goes_on(lab):
    library = lab.wrap("mock240")
    client = lab.start("callers", library, 100_000, 200)
    try:
        assert client.stdout.readline() == "ready\n"
        while not lab.files() or len(calls(lab.run, lab.build, lab.files()[0])) < 100:
            pass
        path, said = pack(lab, lab.out)
        assert client.poll() is None and said.stderr == ""
        live = lab.files()[0].with_name(lab.files()[0].name + ".live")
        assert live.exists()
    finally:
        client.send_signal(signal.SIGKILL)
        client.communicate()
    inside = members(path)
    assert sorted(inside) == sorted(["case/info.json"] + [f"case/{lab.files()[0].name}{e}" for e in ("", ".sym")])
    assert json.loads(inside["case/info.json"][1])["processes"][0]["verdict"] == "recording"
    packed, all_ = calls(lab.run, lab.build, path), calls(lab.run, lab.build, lab.out)
    done = [c for c in numbers(packed) if c[2] == "done"]
    assert 100 <= len(done) < len(all_) and done == numbers(all_)[:len(done)]
    shown = json.loads(lab.p11trace("info", "--json", path).stdout)["processes"][0]
    assert (shown["verdict"], shown["reason"], shown["recording"]) == ("recording", "snapshot", False)
    # Killed meanwhile: as recover would fold it.
    again, _ = pack(lab, lab.out, name="again.tar.zst")
    assert live.exists()
    assert numbers(calls(lab.run, lab.build, again)) == numbers(all_)
    shown = json.loads(lab.p11trace("info", "--json", again).stdout)["processes"][0]
    assert (shown["verdict"], shown["reason"]) == ("ended" if all_[-1]["state"] == "done" else "died", "recovered")


def test_names_of_stacks_go_with_it(lab):
    program = lab.tmp / "callers"
    program.write_bytes(lab.program("callers").read_bytes())
    program.chmod(0o755)
    lab.run(program, lab.wrap("mock240"), 3)
    expected = lab.p11trace("dump", "--stack", lab.out).stdout
    with_names, _ = pack(lab, lab.out)
    without, _ = pack(lab, "--no-symbols", lab.out, name="bare.tar.zst")
    program.unlink()
    assert lab.p11trace("dump", "--stack", with_names).stdout == expected
    assert " > callers main+0x" in expected
    assert " > callers main+0x" not in lab.p11trace("dump", "--stack", without).stdout
    assert not [n for n in members(without) if n.endswith(".sym")]
    # A list that is there goes in either way, also where the files are not.
    lab.run("sh", "-c", f"zstd -dc '{with_names}' | tar -x")
    for i, option in enumerate(([], ["--no-symbols"])):
        far, _ = pack(lab, *option, "case", name=f"far{i}.tar.zst")
        assert lab.p11trace("dump", "--stack", far).stdout == expected


def test_a_damaged_trace_goes_as_it_is(lab):
    t = Trace()
    session_call(t, 1)
    t.frame()
    middle = len(t.out)
    session_call(t, 3)
    t.frame()
    sign_enter(t, 5)
    t.live_slot()
    data = bytearray(t.bytes())
    data[middle + 100] ^= 0xFF
    lab.out.mkdir()
    save(lab.out / "t.p11t", bytes(data), t.live(frames=2))
    path, _ = pack(lab, lab.out, status=2)
    inside = members(path)
    assert inside["case/t.p11t"][1] == bytes(data)
    assert inside["case/t.p11t.live"][1] == t.live(frames=2)
    shown = lab.p11trace("dump", path, status=2)
    assert shown.stdout == lab.p11trace("dump", lab.out, status=2).stdout


def test_one_name_in_two_folders_and_long_names(lab):
    long = "n" * 200 + ".p11t"
    for i, folder in enumerate(("a", "b")):
        (lab.tmp / folder).mkdir()
        for k, name in enumerate(("t.p11t", long)):
            save(lab.tmp / folder / name, trace(trace_id=bytes([i, k]) * 8, pid=100 + 10 * i + k))
    path, _ = pack(lab, "a", "b")
    assert sorted(members(path)) == sorted(["case/info.json", "case/t.p11t", f"case/{long}", "case/2-t.p11t", f"case/2-{long}"])
    shown = json.loads(lab.p11trace("info", "--json", path).stdout)["processes"]
    assert sorted(p["pid"] for p in shown) == [100, 101, 110, 111]
    listed = lab.run("sh", "-c", f"zstd -dc '{path}' | tar -t").stdout.split()
    assert sorted(listed) == sorted(members(path))


def test_rotated_files_go_together(lab):
    library = lab.wrap("mock240", max="256K", files=3)
    lab.client("threads", "poll", library, 60_000)  # does not compress
    assert len(lab.files()) == 3
    path, _ = pack(lab, lab.files()[0])
    assert {f"case/{f.name}" for f in lab.files()} <= set(members(path))
    assert lab.p11trace("dump", path).stdout == lab.p11trace("dump", lab.out).stdout


# -- what is refused -----------------------------------------------------------------------------------

def test_nothing_is_overwritten_or_left_behind(lab):
    lab.client("callers", lab.wrap("mock240"), 1)
    for name in ("there", "link"):
        path = lab.tmp / name
        path.symlink_to("nowhere") if name == "link" else path.write_text("dear diary")
        _, refused = pack(lab, lab.out, name=name, status=2)
        assert f"{path}: File exists" in refused.stderr
    assert (lab.tmp / "there").read_text() == "dear diary"
    assert "No such file" in pack(lab, lab.out, name="no/where.tar.zst", status=2)[1].stderr
    assert "No such file" in pack(lab, "missing.p11t", status=2)[1].stderr
    assert "no -o FILE" in lab.p11trace("pack", lab.out, status=2).stderr
    assert sorted(p.name for p in lab.tmp.glob("case*")) == []


# -- archives of somebody else ----------------------------------------------------------------------------

def test_members_cannot_lead_elsewhere(lab):
    link = tarfile.TarInfo("link.p11t")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    fifo = tarfile.TarInfo("fifo.p11t")
    fifo.type = tarfile.FIFOTYPE
    good = trace().bytes()
    (lab.tmp / "inner").mkdir()
    path = lab.tmp / "inner" / "x.tar.zst"
    path.write_bytes(archive(("../../escaped.p11t", good), ("/tmp/absolute.p11t", trace(trace_id=b"2" * 16).bytes()), link, fifo,
                             ("case/run.sh", b"#!/bin/sh"), ("case/.p11t", good), (f"a/{'d' * 300}/deep.p11t", trace(trace_id=b"3" * 16).bytes())))
    shown = json.loads(lab.p11trace("info", "--json", path).stdout)["processes"]
    assert sorted(p["path"].rsplit("/", 1)[1] for p in shown) == ["absolute.p11t", "deep.p11t", "escaped.p11t"]
    assert not (lab.tmp / "escaped.p11t").exists() and not [p for p in lab.tmp.iterdir() if p.name.startswith("p11trace-")]


@pytest.mark.parametrize("what, words", (
    (lambda: archive(("notes.txt", b"x")), "no trace is in it"),
    (lambda: archive(("a.p11t", trace().bytes()), ("b/a.p11t", trace().bytes())), "File exists"),
    (lambda: zstandard.ZstdCompressor().compress(b"dear diary\n" * 200), "neither a trace nor"),
    (lambda: archive(("a.p11t", trace().bytes()))[:-30], "a.tar.zst: "),
    (lambda: zstandard.ZstdCompressor().compress(b""), "no trace is in it"),
    (lambda: b"\x28\xb5\x2f\xfd" + bytes(100), "a.tar.zst: ")))
def test_what_is_no_case(lab, what, words):
    (lab.tmp / "a.tar.zst").write_bytes(what())
    assert words in lab.p11trace("dump", "a.tar.zst", status=2).stderr
    assert not [p for p in lab.tmp.iterdir() if p.name.startswith("p11trace-")]


def test_damaged_archives(lab, count):
    rng = random.Random(8)
    plain = bytearray(zstandard.ZstdDecompressor().decompressobj().decompress(
        archive(("c/a.p11t", trace().bytes()), ("c/a.p11t.sym", b'{"type":"symbols"}'), (f"c/{'l' * 150}.p11t", trace(trace_id=b"4" * 16).bytes()))))
    whole = archive(("c/a.p11t", trace().bytes()))
    for i in range(count(400)):
        data = bytearray(plain if i % 2 else whole)
        for _ in range(rng.choice((1, 3, 20))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if i % 5 == 0:
            del data[rng.randrange(len(data)):]
        (lab.tmp / "x").write_bytes(zstandard.ZstdCompressor().compress(bytes(data)) if i % 2 else bytes(data))
        p = lab.p11trace("dump", "--stack", "x", status=None, text=False, timeout=20)
        assert p.returncode in (0, 2), (i, p.stderr[-2000:])
    assert not [p for p in lab.tmp.iterdir() if p.name.startswith("p11trace-")]


def test_control_c_while_it_is_unpacked(lab):
    big = random.Random(1).randbytes(1 << 20) * 200
    (lab.tmp / "big").write_bytes(archive(("a.p11t", trace().bytes() + big)))
    p = subprocess.Popen([lab.build / "p11trace", "info", "big"], env=lab.env, cwd=lab.tmp, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE)
    while p.poll() is None and not [f for f in lab.tmp.iterdir() if f.name.startswith("p11trace-")]:
        pass
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=30)
    assert p.returncode in (-signal.SIGINT, 0, 2)
    assert not [f for f in lab.tmp.iterdir() if f.name.startswith("p11trace-")]


def test_names_in_archives_are_escaped(lab):
    (lab.tmp / "x").write_bytes(archive(("a\x1b[2J\n.p11t", trace().bytes()[:-40] + s("x"))))
    p = lab.p11trace("info", "x", status=None)
    assert "\x1b" not in p.stdout + p.stderr and re.search(r"a\\x1b\[2J\\n\.p11t", p.stdout + p.stderr)
