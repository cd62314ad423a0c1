"""The file is what FORMAT.md says: for zstd, for its seekable readers, for a reader written from the text, and when cut."""
import json
import os
import random
import struct

import pytest
import zstandard

import p11t_json
import p11t_reader
import softhsm
from lab import functions, lab  # noqa: F401


@pytest.fixture
def big(lab):
    """A trace of several slots and some hundred frames."""
    lab.client("threads", "order", lab.wrap("mock32"), 8, 40_000, lab.tmp / "noted")
    (path,) = lab.files()
    return path


def zstd_dc(lab, path):
    return lab.run("zstd", "-dcq", path, text=False).stdout


def test_zstd_accepts(lab, big):
    lab.run("zstd", "-tq", big)


def test_plain_stream_is_delimited(lab, big):
    """decisions.md D2: what zstd -dc gives says of itself where each block ends and what it is."""
    trace = p11t_reader.read(big)
    blocks = p11t_reader.plain_blocks(zstd_dc(lab, big))
    assert len(blocks) == len(trace.frames)
    for (info, block), (in_file, content) in zip(blocks, trace.frames):
        assert block == content
        assert (info.kind, info.slot, info.generation, info.first, info.last) == \
            (in_file.kind, in_file.slot, in_file.generation, in_file.first, in_file.last)
    assert [i.kind for i, _ in blocks][0] == p11t_reader.SCHEMA and [i.kind for i, _ in blocks][-1] == p11t_reader.END


def test_frame_infos(big):
    """FRAME-INFO says of its frame what a reader needs to jump: numbers, counts, times, generations without a hole."""
    generations = {}
    for info, content in p11t_reader.read(big).frames:
        if info.kind != p11t_reader.EVENTS:
            continue
        records = p11t_reader.frame_records(info, content)
        numbers = [r.number for r in records if r.kind < 16]
        assert (min(numbers, default=0), max(numbers, default=0)) == (info.first, info.last)
        if numbers:
            assert next(r.time for r in records if r.kind < 16) == info.time
        assert info.generation == generations.get(info.slot, 0) + 1
        generations[info.slot] = info.generation
    assert len(generations) >= 8


class Seekable:
    """The official reader's rules: the table at the end says where each frame begins, in the file and in the content."""

    def __init__(self, data):
        size, = struct.unpack("<I", data[-9:-5])
        descriptor, magic = data[-5], struct.unpack("<I", data[-4:])[0]
        assert magic == 0x8F92EAB1 and descriptor & 0x7C == 0
        width = 12 if descriptor & 0x80 else 8
        at = len(data) - 9 - size * width
        assert struct.unpack("<II", data[at - 8:at]) == (0x184D2A5E, size * width + 9)
        self.data, self.starts, packed, plain = data, [], 0, 0
        for i in range(size):
            c, d = struct.unpack_from("<II", data, at + i * width)
            self.starts.append((plain, packed, c, d))
            packed += c
            plain += d
        assert packed == at - 8, "the entries do not cover the file"
        self.size = plain

    def read(self, offset, length):
        out, end = b"", offset + length
        for plain, packed, c, d in self.starts:
            if d and plain < end and plain + d > offset:
                frame = zstandard.ZstdDecompressor().decompress(self.data[packed:packed + c], max_output_size=d)
                assert len(frame) == d
                out += frame[max(0, offset - plain):end - plain]
        return out


def test_seek_table(lab, big):
    """decisions.md D1: 300 random reads through the seek table are the bytes of the plain stream."""
    data, plain = big.read_bytes(), zstd_dc(lab, big)
    seekable, rng = Seekable(data), random.Random(1)
    assert seekable.size == len(plain)
    for _ in range(300):
        offset = rng.randrange(len(plain))
        length = rng.choice([1, 100, 70_000, 300_000])
        assert seekable.read(offset, length) == plain[offset:offset + length]


def test_cut_anywhere(lab, count):
    """Cut at any offset: read up to the cut, and said what is missing; status 2."""
    lab.client("threads", "order", lab.wrap("mock32"), 4, 6_000, lab.tmp / "noted")
    (path,) = lab.files()
    whole, data = p11t_reader.read(path), path.read_bytes()
    states = {c.number: (c.name, c.rv) for c in whole.calls}
    ends = [info.offset + 72 + info.packed for info, _ in whole.frames]
    rng, cut = random.Random(2), lab.tmp / "cut.p11t"
    head = 8 + struct.unpack_from("<I", data, 4)[0]
    for i in range(count(200)):
        offset = rng.randrange(1, len(data)) if i else head + 20
        cut.write_bytes(data[:offset])
        trace = p11t_reader.read(cut)
        assert trace.damage
        readable = sum(end <= offset for end in ends)
        assert len(trace.frames) == readable
        expected = {n for info, content in whole.frames[:readable] if info.kind == p11t_reader.EVENTS
                    for n in [r.aux for r in p11t_reader.frame_records(info, content) if r.kind == p11t_reader.LEAVE]}
        dump = lab.p11trace("dump", cut, status=2)
        info = lab.p11trace("info", cut, status=2)
        if offset <= head:
            assert dump.stderr
            continue
        assert "cut" in info.stdout + info.stderr or "missing" in info.stdout + info.stderr
        assert dump.stderr.strip(), "says what is missing"
        if readable:
            calls = [line for line in dump.stdout.splitlines() if "= CKR_" in line]
            assert len(calls) == len(expected), f"cut at {offset}"
            for c in trace.calls:
                if c.state == "done":
                    assert states[c.number] == (c.name, c.rv)


def test_damage_in_the_middle(lab, big):
    """A hole costs the frames that it touches and nothing else."""
    data = bytearray(big.read_bytes())
    whole = p11t_reader.read(big)
    at = whole.frames[len(whole.frames) // 2][0].offset
    data[at + 100:at + 140] = bytes(40)
    broken = lab.tmp / "broken.p11t"
    broken.write_bytes(data)
    trace = p11t_reader.read(broken)
    assert len(trace.frames) == len(whole.frames) - 1 and len(trace.damage) == 1
    dump = lab.p11trace("dump", broken, status=2)
    done = [c for c in trace.calls if c.leave]
    assert len([line for line in dump.stdout.splitlines() if "= CKR_" in line]) == len(done)
    assert str(at + 72) in dump.stderr, "says where the damaged data frame is"


def assert_agrees(lab, *paths):
    """`dump --json` and the second reader say the same of every call, field by field. The number of calls."""
    lines = [json.loads(line) for line in lab.p11trace("dump", "--json", *paths, timeout=200).stdout.splitlines()]
    assert lines[0] == {"type": "trace", "version": 1, "processes": len(paths)}
    process = {line["process"]: line for line in lines if line["type"] == "process"}
    calls = 0
    for path in paths:
        trace = p11t_reader.read(path)
        assert trace.damage == []
        mine = p11t_json.Json(trace)
        (head,) = [p for p in process.values() if p["path"] == str(path)]
        assert head["pid"] == trace.pid and head["trace_id"] == trace.fields[1][0].hex()
        assert head["program"] == trace.text(5) and head["capture"] == trace.text(17)
        theirs = [line for line in lines if line.get("process") == head["process"]]
        decoded = {line.get("call", ("end", line.get("end"))): p11t_json.without_derived(line) for line in theirs
                   if line["type"] == "call"}
        for call in trace.calls:
            key = call.number if call.enter else ("end", call.leave.number)
            assert decoded.pop(key) == mine.call(call), f"#{call.number} {call.name} in {path}"
            calls += 1
        assert decoded == {}, "calls that the second reader does not have"
        assert [(m["module"], m["path"], m["how"]) for m in theirs if m["type"] == "module"] == [
            (number, path, ("", "chained", "preloaded", "audited")[how]) for number, path, how in trace.modules]
        (end,) = [e for e in theirs if e["type"] == "end"]
        assert end["verdict"] == trace.verdict.split()[0] and end["calls"] == len(trace.calls)
        check_times(trace, theirs, int(head["first_monotonic"]))
    return calls


def check_times(trace, theirs, origin):
    """Calls' times are within the process's life, do not run backwards in a thread, and are exact for clock readings."""
    last = {}
    for line in sorted((x for x in theirs if x["type"] == "call" and "call" in x), key=lambda x: x["call"]):
        assert line["start"] >= last.get(line["tid"], 0)
        last[line["tid"]] = line["start"]
        if "end" in line:
            assert line["end_time"] - line["start"] == line["duration"] >= 0


def test_reader_agrees_on_everything(lab):
    """Every function with every argument that is wrong, in all policies."""
    lab.p11trace("keygen", "-o", lab.tmp / "case")
    for capture in ("safe", "meta", "full", "clear"):
        lab.client("transparency", "-a", lab.wrap("mock32", capture, capture=capture, seal_to=lab.tmp / "case.pub"))
    assert assert_agrees(lab, *lab.files()) > 25_000


@pytest.mark.nosan  # one of the ends is a SIGSEGV, which a sanitizer takes for itself
def test_reader_agrees_on_threads_and_ends(lab):
    """Threads, unwound calls, forks, a death inside a call."""
    traced = lab.wrap("mock32")
    lab.client("threads", "order", traced, 8, 4000, lab.tmp / "noted")
    lab.client("unwind", "throw", traced, 100, env={"MOCK_NOTIFY": "C_Sign"})
    lab.client("unwind", "nested", traced, 100, env={"MOCK_NOTIFY": "C_Sign"})
    lab.client("forks", "quick", traced)
    lab.client("lifecycle", "two", traced, lab.wrap("mock240"))
    lab.client("lifecycle", "sign", traced, env={"MOCK_CRASH": "C_Sign"}, status=-11)
    lab.client("structures", traced)
    assert assert_agrees(lab, *lab.files()) > 4000


def test_reader_agrees_on_softhsm(lab):
    """pkcs11-tool making keys, signing, reading certificates and deleting."""
    token = lab.token()
    traced = lab.wrap(softhsm.MODULE, "softhsm")
    data = lab.tmp / "data"
    data.write_bytes(b"to be signed")
    for arguments in (["-O"], ["--sign", "-m", "SHA256-RSA-PKCS", "--label", "rsa", "-i", data, "-o", lab.tmp / "signature"],
                      ["--keypairgen", "--key-type", "EC:prime256v1", "--label", "ec"],
                      ["--write-object", data, "--type", "data", "--label", "data"],
                      ["--delete-object", "--type", "data", "--label", "data"]):
        lab.run("pkcs11-tool", "--module", traced, "--token-label", token.label, "--login", "--pin", token.pin, *arguments,
                env=token.env)
    assert assert_agrees(lab, *lab.files()) > 200


@pytest.mark.nss
def test_reader_agrees_on_nss(lab):
    """certutil with a key on the token: NSS's own templates, mechanisms and sessions."""
    token, db, traced = lab.token(), lab.tmp / "db", lab.wrap(softhsm.MODULE, "softhsm")
    db.mkdir()
    (lab.tmp / "pin").write_text(token.pin + "\n")
    (lab.tmp / "noise").write_bytes(bytes(range(256)) * 8)
    lab.run("certutil", "-N", "-d", f"sql:{db}", "--empty-password")
    lab.run("modutil", "-dbdir", f"sql:{db}", "-add", "traced", "-libfile", traced, "-force", env=token.env)
    lab.run("certutil", "-S", "-d", f"sql:{db}", "-h", token.label, "-f", lab.tmp / "pin", "-z", lab.tmp / "noise", "-n", "me",
            "-s", "CN=me", "-x", "-t", "u,u,u", env=token.env)
    lab.run("certutil", "-L", "-d", f"sql:{db}", "-h", token.label, "-f", lab.tmp / "pin", env=token.env)
    lab.run("certutil", "-K", "-d", f"sql:{db}", "-h", token.label, "-f", lab.tmp / "pin", env=token.env)
    assert assert_agrees(lab, *lab.files()) > 200


def test_schema_is_functions_def(big):
    """The trace's own function table is functions.def, as text."""
    schema = p11t_reader.read(big).schema
    assert [(f.name, f"{f.version[0]}_{f.version[1]}") for f in schema.functions] == functions()
    sign = next(f for f in schema.functions if f.name == "C_Sign")
    assert [(p.name, p.kind, p.link) for p in sign.parameters] == [
        ("hSession", 7, 0), ("pData", 14, 1), ("ulDataLen", 2, 0), ("pSignature", 20, 1), ("pulSignatureLen", 22, 0)]


def test_files_are_private(lab):
    """0600 whatever the umask, also while recording."""
    p = lab.start("lifecycle", "sign", lab.wrap("mock32"), env={"MOCK_HANG": "C_Sign"}, preexec_fn=lambda: os.umask(0))
    assert p.stderr.readline() == "hang\n"
    files = sorted(lab.out.iterdir())
    modes = [f.stat().st_mode & 0o777 for f in files]
    p.kill()
    p.communicate(timeout=10)
    assert [f.suffix for f in files] == [".p11t", ".live"] and modes == [0o600, 0o600]


def test_existing_names_are_kept(lab):
    """decisions.md D10: a name that is taken gets -2, -3; nothing is overwritten."""
    traced, taken = lab.wrap("mock32"), lab.tmp / "one.p11t"
    taken.write_text("not ours")
    for _ in range(2):
        lab.client("lifecycle", "sign", traced, env={"P11TRACE_OUT": lab.tmp / "one.p11t"})
    assert taken.read_text() == "not ours"
    for name in ("one-2.p11t", "one-3.p11t"):
        assert p11t_reader.read(lab.tmp / name).verdict == "complete"
