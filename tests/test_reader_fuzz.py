"""The reader and the verbs on damaged input: no crash, no hang, an exit status that is promised."""
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from p11t_make import EVENTS, SCHEMA, LIST, Trace, n, s, schema, u
from reader_tools import save, session_call, sign_enter, sign_leave

SECONDS = 20


def trace():
    t = Trace()
    t.thread(100, "main")
    t.module(1)
    t.list(2, nulls=b"\x05")
    t.record(16, n(1) + n(2) + b"\0" + n(8) + n(6))
    for i in range(3, 40, 4):
        session_call(t, i, stack=1)
        sign_enter(t, i + 2)
        sign_leave(t, i + 3, i + 2)
    t.frame()
    t.enter(50, "C_FindObjectsInit", u(7) + b"\x01" + n(2) + u(0) + b"\x01" + u(8) + b"\x09" + u(3) + u(1) + b"\x01" +
            u(1) + b"\x0a\x01" + u(2))
    t.leave(51, 50, "C_FindObjectsInit", n(0) + n(0))
    t.enter(52, "C_SignInit", u(7) + b"\x01" + u(13) + b"\x01" + u(24) + n(101) + n(3) + u(1) + u(2) + u(20) + u(9))
    t.leave(53, 52, "C_SignInit", n(0) + n(0))
    t.enter(54, "C_FindObjects", u(7) + b"\x01" + u(10) + b"\x01" + u(0))
    t.leave(55, 54, "C_FindObjects", n(0) + n(3) + u(1) + u(2) + u(3) + u(3))
    t.frame(slot=1, tid=101)
    return t


@pytest.fixture(scope="module")
def real(build, tmp_path_factory):
    """Traces of real calls, and one of a process that was killed, with its live file."""
    import os

    from conftest import SANITIZE, sanitizer_runtime
    from softhsm import make_token
    folder = tmp_path_factory.mktemp("real")
    token = make_token(folder / "token")
    env = {**os.environ, **token.env, "P11TRACE_MODULE": str(token.module), "P11TRACE_OUT": str(folder)}
    if SANITIZE:
        env.update(LD_PRELOAD=sanitizer_runtime(), ASAN_OPTIONS="detect_leaks=0")
    tool = ["pkcs11-tool", "--module", build / "libp11trace.so", "--login", "--pin", token.pin]
    for args in (["--keypairgen", "--key-type", "EC:prime256v1", "--label", "k", "--id", "01"], ["-O"], ["-M"],
                 ["--test"]):
        subprocess.run([*tool, *args], env=env, check=True, capture_output=True, timeout=100)
    sealed = Path(__file__).parent / "golden" / "sealed-1.0.p11t"
    return [f.read_bytes() for f in (*sorted(folder.glob("*.p11t")), sealed)]


def damaged(data, rng):
    """The bytes with a few flips, a cut, a hole, or a part that is there twice."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data) + 1)
        size = rng.choice((1, 4, 40, 400))
        match rng.randrange(6):
            case 0 | 1 if at < len(data): data[at] ^= 1 << rng.randrange(8)
            case 2: del data[at:]
            case 3: data[at:at + size] = bytes(len(data[at:at + size]))
            case 4: del data[at:at + size]
            case 5: data[at:at] = data[max(0, at - size):at]
        if not data:
            break
    return bytes(data)


@pytest.fixture(scope="module")
def fuzzer(root, build):
    """tests/fuzz/fuzz_read.c with libFuzzer, made anew when a source is newer."""
    program = build / "fuzz" / "fuzz_read"
    read = [f for f in sorted(root.glob("decoder/read/*.c")) if f.name != "recover.c"]  # that one writes
    sources = [root / "tests/fuzz/fuzz_read.c", *read, *sorted(root.glob("shim/spec/*.c")),
               *sorted(root.glob("shim/trace/*.c"))]
    headers = [*root.glob("decoder/read/*.h"), *root.glob("shim/*/*.h"), *root.glob("shim/spec/**/*.def")]
    if not program.exists() or program.stat().st_mtime < max(f.stat().st_mtime for f in [*sources, *headers]):
        program.parent.mkdir(exist_ok=True)
        subprocess.run(["clang", "-std=c11", "-D_GNU_SOURCE", "-DFUZZER", "-O1", "-g", "-w",
                        "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", f"-I{root}",
                        f"-I{root}/shim/spec", "-o", program, *sources, "-lzstd"], check=True, timeout=200)
    return program


def fuzz(program, *args):
    """The limit of memory is meant for the reader: what it freed is not kept in quarantine beyond 32 MiB, and its peak does
    not begin with that of pytest, from which it would be forked without the shell."""
    p = subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", program, *args], capture_output=True, text=True, errors="replace", timeout=SECONDS * 10,
                       env={**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=32"})
    assert p.returncode == 0, p.stderr[-6000:]
    return p.stderr


def frame_content(kind, slot, content):
    return struct.pack("<HBB", len(content), kind, slot) + content


def test_libfuzzer_finds_nothing(fuzzer, tmp_path, real):
    corpus, found = tmp_path / "corpus", tmp_path / "found"
    corpus.mkdir()
    found.mkdir()
    t = trace()
    sign_enter(t, 60)
    content, _ = t.columns()
    t.live_slot()
    inputs = [b"\0" + t.bytes(), b"\1" + struct.pack("<I", len(t.out)) + t.bytes() + t.live(frames=2, slots=1)[:9000]]
    inputs += [b"\0" + r for r in real]
    inputs.append(b"\2" + frame_content(SCHEMA, 0, schema()) + frame_content(EVENTS, 128, content))
    for i, data in enumerate(inputs):
        (corpus / f"seed{i}").write_bytes(data)
    log = fuzz(fuzzer, f"-max_total_time={SECONDS}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=16384", "-seed=11",
               f"-artifact_prefix={found}/", corpus)
    runs = int(log.split("stat::number_of_executed_units:")[1].split()[0]) if "stat::" in log else int(
        log.split("Done ")[1].split()[0])
    assert runs > 1000
    assert not list(found.iterdir())


def test_two_thousand_damaged_traces(fuzzer, tmp_path, real):
    rng = random.Random(20)
    seeds = [b"\0" + trace().bytes(), *(b"\0" + r for r in real)]
    for i in range(2000):
        (tmp_path / f"m{i}").write_bytes(b"\0" + damaged(rng.choice(seeds)[1:], rng))
    log = fuzz(fuzzer, "-timeout=10", *sorted(tmp_path.glob("m*")))
    assert log.count("Executed") == 2000


@pytest.mark.parametrize("verb", (["info"], ["info", "--json"], ["dump"], ["dump", "--json"], ["stat"], ["check"],
                                  ["report", "-o", "-"]))
def test_verbs_on_damaged_traces(run, build, tmp_path, real, count, verb):
    rng = random.Random(repr(verb))
    seeds = [trace().bytes(), *real]
    t = trace()
    sign_enter(t, 60)
    t.live_slot()
    live = t.live(frames=2, slots=1)
    statuses = set()
    for i in range(count(330)):
        if i % 4 == 3:
            path = save(tmp_path / f"{i}.p11t", damaged(t.bytes(), rng), damaged(live, rng))
        else:
            path = save(tmp_path / f"{i}.p11t", damaged(rng.choice(seeds), rng))
        p = run(build / "p11trace", *verb, path, status=None, text=False, timeout=20)
        assert p.returncode in (0, 1, 2), (i, p.returncode, p.stderr[-3000:])
        statuses.add(p.returncode)
    assert 2 in statuses
