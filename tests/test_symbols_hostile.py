"""Stacks of traces that somebody else wrote, and files that are not what they say: no wrong name, no wait, no crash."""
import json
import os
import random
import re
import shutil
import subprocess
import time

import pytest

import p11t_make
from lab import lab  # noqa: F401
from p11t_make import OBJECT, STACK, Trace, n, s, u, z
from reader_tools import SESSION_INFO, save, session_call

LIBRARY = next(p for p in ("/lib/x86_64-linux-gnu/libcrypto.so.3", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3")
               if os.path.exists(p))


def build_id(path):
    notes = subprocess.run(["readelf", "-n", path], check=True, capture_output=True, text=True).stdout
    return re.search(r"Build ID: (\w+)", notes)[1]


def functions(path, count):
    """[(address, size, name)] of exported functions."""
    table = subprocess.run(["readelf", "--dyn-syms", "-W", path], check=True, capture_output=True, text=True).stdout
    found = re.findall(r"^ *\d+: ([0-9a-f]+) +(\d+) FUNC +GLOBAL +DEFAULT +\d+ (\w+)", table, re.M)
    return [(int(at, 16), int(size), name) for at, size, name in found if int(size) > 4][:count]


def add_object(t, path, identity="", address=0x7F0000000000, size=0x1000000, id=1):
    t.record(OBJECT, n(id) + u(address) + n(size) + s(identity) + s(path))


def add_stack(t, index, *addresses, before=0, flags=0):
    t.record(STACK, n(index) + n(len(addresses)) + bytes((flags,)) +
             b"".join(z(a - b) for a, b in zip(addresses, (before, *addresses))))


def one_call(path, identity="", *addresses, flags=0, **where):
    t = Trace()
    add_object(t, path, identity, **where)
    add_stack(t, 1, *(addresses or (0x7F0000001234,)), flags=flags)
    session_call(t, 1, stack=1)
    t.frame()
    t.end()
    return t


def shown(lab, trace, *options, name="t.p11t", status=0):
    save(lab.tmp / name, trace)
    p = lab.p11trace("dump", "--stack", *options, name, status=status, timeout=10)
    return re.findall(r"^ > (.*)", p.stdout, re.M), p.stderr


# -- paths ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path, words", (
    ("{tmp}/fifo", "not a regular file"), ("{tmp}", "not a regular file"), ("/dev/zero", "not a regular file"),
    ("/dev/tty", "not a regular file"), ("/proc/self/mem", "not an ELF file"), ("{tmp}/missing", "No such file"),
    ("{tmp}/text", "not an ELF file"), ("/" + "d/" * 3000, "File name too long"), ("linux-vdso.so.1", ""), ("", ""),
    ("{tmp}/../../../../../../etc/passwd", "not an ELF file"), ("{tmp}/loop", "Too many levels"), ("{tmp}/empty", "not an ELF")))
def test_what_is_no_library_is_left_alone(lab, path, words):
    os.mkfifo(lab.tmp / "fifo")
    (lab.tmp / "loop").symlink_to("loop")
    (lab.tmp / "empty").touch()
    (lab.tmp / "text").write_text("dear diary")
    path = path.replace("{tmp}", str(lab.tmp))
    frames, told = shown(lab, one_call(path, "ab" * 20))
    assert frames == [f"{path.rsplit('/', 1)[-1]}+0x1234"]
    assert words in told if words else told == ""


def test_a_path_cannot_leave_the_sysroot(lab):
    root = lab.tmp / "root"
    (root / "lib").mkdir(parents=True)
    outside = lab.tmp / "outside.so"
    shutil.copy(LIBRARY, outside)
    (root / "lib" / "link.so").symlink_to(outside)
    (root / "lib" / "up.so").symlink_to("../../outside.so")
    (root / "lib" / "folder").symlink_to(lab.tmp)
    for path in ("/lib/link.so", "/lib/up.so", "/../outside.so", "/lib/../../outside.so", "/lib/folder/outside.so"):
        frames, told = shown(lab, one_call(path, build_id(LIBRARY)), "--sysroot", root)
        assert frames == [f"{path.rsplit('/', 1)[1]}+0x1234"] and "No such file" in told, path
    shutil.copy(LIBRARY, root / "lib" / "real.so")
    (root / "lib" / "absolute.so").symlink_to("/lib/real.so")  # absolute in the copy: below the sysroot
    at, size, name = functions(LIBRARY, 1)[0]
    for path in ("/lib/real.so", "/lib/absolute.so", "/lib/../../lib/real.so"):
        frames, _ = shown(lab, one_call(path, build_id(LIBRARY), 0x7F0000000000 + at + 5), "--sysroot", root)
        assert frames == [f"{path.rsplit('/', 1)[1]} {name}+0x5"]


def test_control_characters_are_escaped(lab):
    path = "/tmp/a\x1b[2J\n > libc.so main+0x1\u202e.so"
    frames, told = shown(lab, one_call(path, "\x1b[31mzz"))
    assert frames == [r"a\x1b[2J\n > libc.so main+0x1\u{202e}.so+0x1234"]
    assert "\x1b" not in told and r"\x1b[2J\n" in told
    raw, _ = shown(lab, one_call(path, "\x1b[31mzz"), "--raw")
    assert raw == [r"/tmp/a\x1b[2J\n > libc.so main+0x1\u{202e}.so [\x1b[31mzz] 0x1234"]
    lines = lab.p11trace("dump", "--json", "--stack", "t.p11t").stdout.splitlines()
    assert json.loads(lines[2])["frames"][0]["file"] == path
    assert "\x1b" not in lab.p11trace("stat", "--by-caller", "t.p11t").stdout


def test_names_in_files_are_escaped(lab):
    library = lab.tmp / "n.so"
    subprocess.run(["gcc", "-shared", "-nostdlib", "-Wl,--build-id", "-x", "c", "-o", library, "-"], check=True,
                   input=b"int aWXYZb(int x) { return x + 1; }")
    (at, _, _), = functions(library, 9)
    library.write_bytes(library.read_bytes().replace(b"aWXYZb", b"a\x1b[2Jb"))
    frames, _ = shown(lab, one_call(f"{library}", build_id(library), 0x7F0000000000 + at + 2))
    assert frames == [r"n.so a\x1b[2Jb+0x2"]


# -- which file an address is in -----------------------------------------------------------------------

def test_files_that_took_turns_at_one_address(lab):
    """Each call has the file that was mapped when it was made, also in the eyes of another thread's earlier calls."""
    t = Trace()
    number_ = 1
    for turn in range(6):
        add_object(t, f"/lib/{'ab'[turn % 2]}.so", "12" * 20, id=turn + 1)
        add_stack(t, turn + 1, 0x7F0000001000 + turn, before=0x7F0000001000 + turn - 1 if turn else 0)
        session_call(t, number_, leave=number_ + 1, stack=turn + 1)
        number_ += 10
    t.frame()
    for turn in range(6):  # the other thread tells of no file; its numbers lie between
        add_stack(t, turn + 1, 0x7F0000002000 + turn, before=0x7F0000002000 + turn - 1 if turn else 0)
        session_call(t, 5 + 10 * turn, leave=6 + 10 * turn, stack=turn + 1)
    t.frame(slot=1, tid=101)
    t.end()
    frames, _ = shown(lab, t, "--raw")
    assert [f.split()[0] for f in frames] == [f"/lib/{'ab'[k // 2 % 2]}.so" for k in range(12)]


def test_stale_stacks_are_marked(lab):
    frames, _ = shown(lab, one_call("/lib/a.so", "", flags=1))
    assert frames == ["(may be stale: a file was unmapped before)", "a.so+0x1234"]
    calls = [json.loads(line) for line in lab.p11trace("dump", "--json", "t.p11t").stdout.splitlines()]
    assert [c["stack_stale"] for c in calls if c["type"] == "call"] == [True]
    assert "stack_stale" not in lab.p11trace("dump", "--json", save(lab.tmp / "u.p11t", one_call("/lib/a.so"))).stdout


def test_the_end_of_a_function_and_of_a_file(lab):
    """A call that never returns is the last instruction: what follows it belongs to another."""
    (at, size, name), *_ = functions(LIBRARY, 1)
    identity = build_id(LIBRARY)
    frames, _ = shown(lab, one_call(LIBRARY, identity, 0x7F0000000000 + at + size, 0x7F0000000000 + at, 0x7F0001000000,
                                    0x7F0001000001))
    assert frames[0] == f"libcrypto.so.3 {name}+{hex(size)}"
    assert not frames[1].startswith(f"libcrypto.so.3 {name}")
    assert frames[2:] == ["libcrypto.so.3+0x1000000", "0x7f0001000001"]


@pytest.mark.parametrize("address, size", ((2**64 - 1, 100), (2**64 - 4096, 2**64 - 1), (0, 2**64 - 1), (0x7F0000000000, 0),
                                           (1, 2**63)))
def test_impossible_mappings(lab, address, size):
    t = Trace()
    for i in range(3):
        add_object(t, f"/lib/{i}.so", "", address - i & p11t_make.MASK, size, id=i + 1)
    add_stack(t, 1, 0, 1, 0x7F0000001234, 2**64 - 1)
    session_call(t, 1, stack=1)
    t.frame()
    t.end()
    frames, _ = shown(lab, t)
    assert len(frames) == 4


def test_more_files_than_any_process_has(lab):
    t = Trace()
    for i in range(30_000):
        add_object(t, f"/lib/{i}.so", "", 0x7F0000000000 + i * 4096, 4096, id=i + 1)
        if i % 3000 == 2999:
            t.frame()
    add_stack(t, 1, *(0x7F0000000000 + i * 4096 + 16 for i in range(3000)))
    session_call(t, 1, stack=1)
    t.frame()
    t.end()
    began = time.monotonic()
    frames, _ = shown(lab, t)
    assert len(frames) == 3000 and frames[7] == "7.so+0x10" and time.monotonic() - began < 10


# -- damaged files -----------------------------------------------------------------------------------

def damage(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 4, 30))):
        # Headers and tables lie at the ends of an ELF file.
        at = rng.choice((rng.randrange(64), rng.randrange(len(data)), len(data) - 1 - rng.randrange(min(3000, len(data)))))
        data[at] = rng.randrange(256)
    if rng.randrange(8) == 0:
        del data[rng.randrange(len(data)):]
    return bytes(data)


def test_damaged_libraries(lab, root, count):
    program = lab.tmp / "callers"
    subprocess.run(["gcc", "-g", "-O1", f"-I{root}/shim/spec", f"-I{root}/tests/clients", "-Wl,--build-id=none", "-o", program,
                    root / "tests/clients/callers.c", "-ldl"], check=True)
    whole = program.read_bytes()
    end = len(whole)
    symbols = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout
    places = [int(a, 16) + 1 for a in re.findall(r"^(\w+) [tT]", symbols, re.M)]
    save(lab.tmp / "t.p11t", one_call(str(program), "", *(0x7F0000000000 + a for a in places), size=1 << 24))
    rng = random.Random(5)
    for i in range(count(600)):
        program.write_bytes(damage(whole, rng))
        p = lab.p11trace("dump", "--stack", "t.p11t", status=None, text=False, timeout=20)
        assert p.returncode == 0 and p.stdout.count(b"\n > ") == len(places), (i, end, p.stderr[-3000:])


def test_damaged_lists_of_names(lab, count):
    t = one_call("/lib/a.so", "ab" * 20)
    save(lab.tmp / "t.p11t", t)
    frame = {"offset": "0x1234", "function": "good", "function_offset": 4, "source": "a.c", "line": 7}
    file = {"path": "/lib/a.so", "build_id": "ab" * 20, "checked": True, "frames": [frame]}
    good = {"type": "symbols", "version": 1, "trace_id": bytes(range(16)).hex(), "files": [file]}
    sidecar = lab.tmp / "t.p11t.sym"

    def frames():
        p = lab.p11trace("dump", "--stack", "t.p11t", timeout=10)
        return re.findall(r"^ > (.*)", p.stdout, re.M), p.stderr

    sidecar.write_text(json.dumps(good))
    assert frames() == (["a.so good+0x4 a.c:7"], "")
    for wrong in (b"", b"[]", b"{", b"null", b"[" * 100_000, b'{"type":"symbols"}', json.dumps({**good, "version": 2}).encode(),
                  json.dumps({**good, "trace_id": "00" * 16}).encode(), json.dumps({**good, "type": "x"}).encode()):
        sidecar.write_bytes(wrong)
        shown_frames, told = frames()
        assert shown_frames == ["a.so+0x1234"] and "its names are not used" in told, wrong
    for files in ({}, 7, [7], [{}], [{"path": 7}], [{"path": "/lib/a.so", "frames": 7}],
                  [{**file, "build_id": "cd" * 20}], [{**file, "frames": [{**frame, "offset": "0x12345678123456789"}]}],
                  [{**file, "frames": [{**frame, "offset": -1}]}], [{**file, "path_hex": "zz"}]):
        sidecar.write_text(json.dumps({**good, "files": files}))
        assert frames()[0] == ["a.so+0x1234"], files
    sidecar.write_text(json.dumps({**good, "files": [{**file, "frames": [{**frame, "function": "a\x1b[2J", "source": "\n", "line": 2**40}]}]}))
    assert frames()[0] == [r"a.so a\x1b[2J+0x4 \n:0"]
    sidecar.unlink()
    os.mkfifo(sidecar)
    assert "not a regular file" in frames()[1]
    sidecar.unlink()
    rng = random.Random(6)
    for _ in range(count(300)):
        data = bytearray(json.dumps(good).encode())
        for _ in range(rng.choice((1, 3, 10))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        sidecar.write_bytes(data)
        frames()


# -- many --------------------------------------------------------------------------------------------

def many_calls(path, calls, stacks=10_000, depth=20, per_frame=500):
    """A trace of that many calls with that many different stacks of functions of libcrypto."""
    known, rng = functions(LIBRARY, 4000), random.Random(3)
    t = Trace()
    base, identity = 0x7F0000000000, build_id(LIBRARY)
    kinds, per_kind = 200, stacks // 200
    contents = []
    for kind in range(kinds):
        add_object(t, LIBRARY, identity)
        for i in range(per_kind):
            chosen = [base + at + rng.randrange(1, size) for at, size, _ in rng.sample(known, depth)]
            add_stack(t, i + 1, *chosen, before=before if i else 0)
            before = chosen[0]
        for i in range(per_frame):
            at = 1 + 2 * i
            t.enter(at, "C_GetSessionInfo", u(7) + b"\x01", stack=1 + i % per_kind)
            t.leave(at + 1, at, "C_GetSessionInfo", SESSION_INFO)
        contents.append(t.columns())
        t.records = []
    for generation in range(calls // per_frame):
        content, info = contents[generation % kinds]
        first = 1 + generation * 2 * per_frame
        t.data_frame(p11t_make.EVENTS, content, 0, 100, generation + 1,
                     **{**info, "first": first, "last": first + 2 * per_frame - 1, "time": first * 1000})
        t.written += info["records"]
    t.end()
    path.write_bytes(t.bytes())


def test_a_million_calls_with_ten_thousand_stacks(lab, long):
    calls = 1_000_000 if long else 100_000
    path = lab.tmp / "many.p11t"
    many_calls(path, calls)
    began = time.monotonic()
    with open(os.devnull, "w") as nowhere:
        subprocess.run([lab.build / "p11trace", "dump", "--stack", path], check=True, stdout=nowhere, env=lab.env)
    dumped = time.monotonic() - began
    began = time.monotonic()
    rows = json.loads(lab.p11trace("stat", "--by-caller", "--json", path).stdout)
    counted = time.monotonic() - began
    began = time.monotonic()
    lab.p11trace("symbolize", path)
    symbolized = time.monotonic() - began
    print(f"{calls} calls: dump --stack {dumped:.1f} s, stat --by-caller {counted:.1f} s, symbolize {symbolized:.1f} s")
    assert rows["calls"] == calls and all(r["caller"].startswith("libcrypto.so.3 ") for r in rows["rows"])
    assert dumped < 60 and counted < 60 and symbolized < 60
