"""The recorder when it seals: it never disturbs the program, uses no nonce twice and leaves no key behind."""
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import p11t_reader
import sealing
from lab import assert_nothing_lost, lab  # noqa: F401
from sealing import PIN, SODIUM, key_of, open_value, opened, process_key, sealed
from test_disk import mounted
from test_seal import HEAD, make_token, pair, script  # noqa: F401


@pytest.mark.parametrize("capture", ["full", "clear"])
@pytest.mark.parametrize("offset", [0, 1, 100, 4089, 4095])
def test_a_hole_in_a_value(lab, pair, capture, offset):
    """Memory of which the middle is gone when the module has answered (its callback took it): what lies before the hole is kept,
    and the host lives."""
    lab.run("/usr/bin/python3", "-c", """import ctypes, mmap, sys; sys.path.insert(0, sys.argv[1])
from cryptoki import *
offset, session = int(sys.argv[3]), ctypes.c_ulong()
memory = mmap.mmap(-1, 4 * 4096)
memory[:] = bytes(range(256)) * 64
at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
@ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)
def notify(*_): return ctypes.CDLL(None).mprotect(ctypes.c_void_p(at + 8192), 4096, 0)
with Module(sys.argv[2]) as m:
  m.call("C_OpenSession", m.slots()[0], 4, None, ctypes.cast(notify, ctypes.c_void_p), ctypes.byref(session))
  m.call("C_SeedRandom", session, ctypes.c_void_p(at + offset), 4 * 4096 - offset)
""", os.path.dirname(__file__), lab.wrap("mock32", "m", capture=capture, seal_to=pair[0]), offset,
            env={"MOCK_NOTIFY": "C_SeedRandom"})
    trace = lab.trace()
    (call,) = [c for c in trace.calls if c.name == "C_SeedRandom"]
    (v,) = sealing.values(call.argument("pSeed")[1])
    kept = open_value(process_key(trace, key_of(pair[1])), call.leave.number, v)
    assert kept == (bytes(range(256)) * 32)[offset:] and v.length == 4 * 4096 - offset


def test_a_long_command_line(lab, pair):
    """HEAD has no room for all that it could say: the key of what is sealed is in it."""
    folder = lab.tmp.joinpath(*["x" * 250] * 14)
    folder.mkdir(parents=True)
    python = Path(os.path.realpath("/usr/bin/python3"))
    program = folder / "python3"
    shutil.copy(python, program)
    token = make_token(lab)
    traced = lab.wrap(token.module, "traced", capture="full", seal_to=pair[0], cmdline="on")
    lab.run(program, "-c", HEAD + "m.__exit__()", os.path.dirname(__file__), traced, "x" * 5000, env=token.env)
    trace = lab.trace()
    assert len(trace.fields[4][0]) > 3400 and len(trace.fields[7][0]) == 4096 and 22 not in trace.fields, "no room was left"
    assert (PIN, b"1234-pin") in [found[1:3] for found in opened(trace, key_of(pair[1]))]


def test_threads(lab, pair):
    """Each thread seals in its own records: no nonce is used twice, and all opens."""
    token = make_token(lab)
    script(lab, lab.wrap(token.module, "traced", capture="full", seal_to=pair[0]), """
import threading
def work(i):
  mine = m.open_session(m.slot_of('Trace Test'))
  for n in range(40): mine.digest(CKM.SHA256, b'%d %d ' % (i, n) * 50)
threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
for t in threads: t.start()
for t in threads: t.join()""", token.env)
    trace = lab.trace()
    assert_nothing_lost(trace)
    places = [(record, v.number) for _, record, v in sealed(trace)]
    assert len(set(places)) == len(places) > 6 * 40 * 2
    found = {data for _, _, data, _ in opened(trace, key_of(pair[1]))}
    assert {b"%d %d " % (i, n) * 50 for i in range(6) for n in range(40)} <= found


def test_several_files(lab, pair):
    """Rotation and a flight recorder: each file's HEAD has the key, which is one."""
    traced = lab.wrap("mock32", "m", capture="full", seal_to=pair[0], max="256K", files="3")
    lab.client("bounded", traced, "poll", "100000")
    files = lab.files()
    assert len(files) == 3
    heads = [f.read_bytes()[8:8 + int.from_bytes(f.read_bytes()[4:8], "little")] for f in files]
    assert len({p11t_reader.parse_head(h)[2][24][0] for h in heads}) == 1


@pytest.mark.parametrize("settings", [dict(max="256K", files="900"), dict(ring="2M", dump_on="fn=C_DigestFinal|exit", dump_every="1ms"),
                                      dict(probe="all")], ids=["rotated", "ring", "probes"])
def test_no_nonce_twice(lab, pair, settings):
    """Long values and short ones of several threads, over several files, dumps of one ring and probes' calls: what has the same
    nonce is the same value, and whatever is there opens."""
    token = make_token(lab)
    script(lab, lab.wrap(token.module, "traced", capture="full", seal_to=pair[0], **settings), """
import threading
def work(i):
  mine = m.open_session(m.slot_of('Trace Test'))
  for n in range(8): mine.digest_parts(CKM.SHA256, [b"%d %d " % (i, n) * size for size in (1, 20, 4000, 16000)])
threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
s.digest(CKM.SHA256, b'the last words')""", token.env)
    files = lab.files()
    assert len(files) > 1 or "probe" in settings
    boxes, keys = {}, set()
    for trace in map(p11t_reader.read, files):
        assert trace.damage == []
        keys.add(process_key(trace, key_of(pair[1])))
        for call, record, v in sealed(trace):
            assert boxes.setdefault((record, v.number), v.data) == v.data
            assert len(open_value(min(keys), record, v)) == v.length
    assert len(keys) == 1 and len(boxes) > 80
    newest = max(files, key=lambda f: f.stat().st_mtime_ns)
    assert b"the last words".hex() in lab.p11trace("dump", "--json", "--key", pair[1], newest).stdout


@pytest.mark.root
def test_full_disk(lab, pair):
    """Where no room is left the program runs on, the trace says what is missing, and what is there opens."""
    token = make_token(lab)
    with mounted(lab.tmp / "small", "tmpfs", 2048) as place:
        p = script(lab, lab.wrap(token.module, "traced", out=place, capture="full", seal_to=pair[0], min_free="0"), """
import os
for n in range(200): s.digest(CKM.SHA256, os.urandom(30000))
print('to its end')""", token.env)
        assert p.stdout == "to its end\n"
        (path,) = place.glob("*.p11t")
        found = opened(p11t_reader.read(path), key_of(pair[1]))
    assert 10 < sum(len(data) == 30000 for _, _, data, _ in found) < 200


@pytest.mark.nosan
def test_no_core_holds_the_key(lab, pair):
    """The process's key is in no core dump of the program that is recorded."""
    token = make_token(lab)
    traced = lab.wrap(token.module, "traced", capture="full", seal_to=pair[0])
    program = HEAD + "s.digest(CKM.SHA256, b'x' * 5000)\nprint('ready', flush=True)\nsys.stdin.read()\nm.__exit__()\n"
    p = subprocess.Popen(["/usr/bin/python3", "-c", program, os.path.dirname(__file__), traced], env={**lab.env, **token.env},
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert p.stdout.readline() == "ready\n"
        lab.run("gcore", "-o", lab.tmp / "core", p.pid)
    finally:
        p.stdin.close()
        p.wait()
    (core,) = lab.tmp.glob("core.*")
    data, trace = core.read_bytes(), lab.trace()
    key = process_key(trace, key_of(pair[1]))
    subkey = ctypes.create_string_buffer(32)
    for _, record, v in sealed(trace):  # of a single value, and the beginning of its stream
        nonce = sealing.nonce_of(record, v)
        SODIUM.crypto_core_hsalsa20(subkey, nonce, key, None)
        assert [i for i in range(25) if subkey.raw[i:i + 8] in data] == [], v
    assert key_of(pair[0]) in data, "the public key is in the core: it is one of this process"
    assert [i for i in range(25) if key[i:i + 8] in data] == []
