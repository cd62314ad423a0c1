"""capture=full with seal-to=: everything is kept, nobody without the private key can read it, and each value opens in its place
only. The other half, that nothing lies in clear anywhere, is in test_secrets.py."""
import ctypes
import json
import os
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import p11t_reader
import sealing
from lab import assert_nothing_lost, lab  # noqa: F401
from reader_tools import tool
from sealing import DATA, PIN, SECRET, SODIUM, Refused, key_of, open_value, opened, process_key, sealed
from test_secrets import files_below, needles, search
from test_transparency import WAYS, assert_same, both

@pytest.fixture
def pair(lab):
    """(public, private) key file."""
    tool(lab.run, lab.build, "keygen", "-o", lab.tmp / "case")
    return lab.tmp / "case.pub", lab.tmp / "case.key"


HEAD = """import sys; sys.path.insert(0, sys.argv[1])
from cryptoki import *
m = Module(sys.argv[2]).__enter__()
s = m.open_session(m.slot_of('Trace Test'))
s.login('1234-pin')
"""


@dataclass
class Token:
    module: Path
    env: dict


def make_token(lab):
    """Our token "Trace Test", whose user's PIN is 1234-pin."""
    env = {"P11TOKEN_DIR": str(lab.tmp / "tokens")}
    lab.run(lab.build / "p11token", "init", "--label", "Trace Test", "--pin", "1234-pin", "--so-pin", "5678-so-pin",
            "--kdf-cost", "4", env=env)
    return Token(lab.build / "libp11token.so", env)


def script(lab, module, text, env, **more):
    """Runs Python on a module, `s` being a session that is logged in as the user 1234-pin."""
    return lab.run("/usr/bin/python3", "-c", HEAD + text + "\nm.__exit__()\n", os.path.dirname(__file__), module, env=env, **more)


# --- keygen -----------------------------------------------------------------------------------------------------------

def test_keygen(run, build, tmp_path):
    out = tool(run, build, "keygen", "-o", tmp_path / "a", "-c", "for the card reader", umask=0).stdout
    public, private = tmp_path / "a.pub", tmp_path / "a.key"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) & 0o111 == 0
    assert public.read_text().endswith(" for the card reader\n") and public.read_text().count("\n") == 1
    made = ctypes.create_string_buffer(32)
    SODIUM.crypto_scalarmult_base(made, key_of(private))
    assert made.raw == key_of(public)
    digest = ctypes.create_string_buffer(32)
    SODIUM.crypto_generichash(digest, ctypes.c_size_t(32), key_of(public), ctypes.c_ulonglong(32), None, ctypes.c_size_t(0))
    name = "-".join(digest.raw[i:i + 2].hex() for i in range(0, 16, 2))
    assert f"fingerprint  {name}\n" in out and name in private.read_text()
    assert key_of(private).hex() not in out + public.read_text()
    assert tool(run, build, "keygen", "-q", "-o", tmp_path / "b").stdout.strip() != name


@pytest.mark.parametrize("there", ["a.pub", "a.key"])
def test_keygen_overwrites_nothing(run, build, tmp_path, there):
    (tmp_path / there).write_text("mine")
    p = tool(run, build, "keygen", "-o", tmp_path / "a", status=2)
    assert f"{there}: is there already and is not overwritten" in p.stderr and p.stderr.count("\n") == 1
    assert [f.read_text() for f in tmp_path.glob("a.*")] == ["mine"]


def test_key_files_are_told_apart(lab, pair):
    """Each is refused where the other belongs, with what to do; and a private key that others can read."""
    public, private = pair
    traced = lab.wrap("mock32", "m", capture="full", seal_to=public)
    lab.client("lifecycle", "sign", traced)
    (trace,) = lab.files()
    for key, words in ((public, "is the public key: give the private one"), (trace, "is not a private key"),
                       (lab.tmp / "nowhere", "No such file"), (lab.tmp, "is not a regular file")):
        p = lab.p11trace("dump", "--key", key, trace, status=2)
        assert p.stderr.startswith(f"p11trace dump: {key}: ") and words in p.stderr and p.stdout == ""
    private.chmod(0o640)
    assert "chmod 600" in lab.p11trace("dump", "--key", private, trace, status=2).stderr
    for path, words in ((private, "is a private key, which belongs to whoever reads the trace"), (trace, "is not a public key"),
                        (lab.tmp / "nowhere", "`p11trace keygen` makes a pair"), (lab.tmp, "is not a regular file")):
        for verb in (["wrap", lab.mock("mock32"), "-o", lab.tmp / "x.so"], ["run"]):
            p = lab.p11trace(*verb[:1], "--capture", "full", "--seal-to", path, *verb[1:], *(["true"] if verb == ["run"] else []),
                             status=2)
            assert p.stderr.startswith(f"p11trace {verb[0]}: --seal-to {path}: ") and words in p.stderr
    for verb in (["wrap", lab.mock("mock32"), "-o", lab.tmp / "x.so"], ["run", "--", "true"]):
        p = lab.p11trace(verb[0], "--capture", "full", *verb[1:], status=2)
        assert "--capture full needs --seal-to FILE" in p.stderr and p.stderr.count("\n") == 1
    assert not (lab.tmp / "x.so").exists()


# --- the recorder without a key that can be used ----------------------------------------------------------------------

def spoil(lab, public, how):
    match how:
        case "missing": public.unlink()
        case "private": public.write_bytes((lab.tmp / "case.key").read_bytes())
        case "writable": public.chmod(0o666)
        case "short": public.write_text(public.read_text()[:60])
        case "letter": public.write_text(public.read_text().replace(public.read_text()[30], "g", 1))
        case "order": public.write_text("p11trace-seal-public-1 " + "00" * 32 + "\n")  # all keys share one secret with it
        case "fifo":
            public.unlink()
            os.mkfifo(public)
        case "endless":
            public.unlink()
            public.symlink_to("/dev/zero")
        case "folder":
            public.unlink()
            public.mkdir()
        case "sparse":
            public.write_text("")
            os.truncate(public, 1 << 40)


@pytest.mark.parametrize("how, words", [
    ("missing", "cannot be read: No such file or directory"), ("private", "is a private key"),
    ("writable", "others may write it"), ("short", "is not a public key"), ("letter", "is not a public key"),
    ("order", "nothing can be sealed to this public key"), ("fifo", "is not a regular file"),
    ("endless", "is not a regular file"), ("folder", "is not a regular file"), ("sparse", "is not a public key")])
def test_a_key_that_cannot_be_used_is_safe(lab, pair, how, words):
    """The trace is one of capture=safe, and a line says why."""
    traced = lab.wrap("mock32", "m", capture="full", seal_to=pair[0])
    spoil(lab, pair[0], how)
    p = lab.client("lifecycle", "sign", traced)
    lines = [line for line in p.stderr.splitlines() if line.startswith("p11trace: ")]
    assert words in lines[0]
    assert len(lines) == (1 if how == "order" else 2)
    assert how == "order" or "capture=full needs seal-to=FILE" in lines[1]
    trace = lab.trace()
    assert trace.text(17) == "safe" and 24 not in trace.fields and sealed(trace) == []


@pytest.mark.parametrize("way", WAYS)
def test_full_alone_is_safe(lab, way):
    library, env = lab.traced(way, "mock32") if way == "preloaded" else (lab.wrap("mock32"), {})
    p = lab.client("lifecycle", "sign", library, env={**env, "P11TRACE_CAPTURE": "full"})
    assert p.stderr.count("p11trace: capture=full needs seal-to=FILE") == 1
    assert lab.trace().text(17) == "safe"


def test_key_of_the_environment_wins(lab, pair):
    """Over the .conf; one that cannot be used leaves that in force."""
    tool(lab.run, lab.build, "keygen", "-o", lab.tmp / "other")
    traced = lab.wrap("mock32", "m", capture="full", seal_to=pair[0])
    for value, public in ((lab.tmp / "other.pub", lab.tmp / "other.pub"), (lab.tmp / "nowhere", pair[0])):
        lab.client("lifecycle", "sign", traced, env={"P11TRACE_SEAL_TO": value})
        path = max(lab.files(), key=lambda f: f.stat().st_mtime_ns)
        trace = p11t_reader.read(path)
        assert trace.text(17) == "full" and trace.fields[24][0][1:33] == key_of(public)
        path.unlink()


# --- what is kept -----------------------------------------------------------------------------------------------------

SIZES = [1, 31, 32, 33, 63, 64, 65, 95, 96, 511, 512, 543, 544, 545, 576, 4095, 4096, 4097, 16384, 70000, 1048576]


@pytest.fixture
def real(lab, pair):
    """A token used with all sizes of payload, an imported key, a login and a failed one."""
    token = make_token(lab)
    traced = lab.wrap(token.module, "traced", capture="full", seal_to=pair[0], cut="2M")
    script(lab, traced, f"""
for n in {SIZES}: s.digest(CKM.SHA256, bytes(i * 7 % 251 for i in range(n)))
key = s.create({{CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: b'An AES key value', CKA.ENCRYPT: True,
                CKA.TOKEN: False, CKA.LABEL: 'imported'}})
s.encrypt((CKM.AES_CBC_PAD, b'initial vector 1'), key, b'what is encrypted')
s.logout()
for pin in ('wrong-pin', '1234-pin'):
  try: s.login(pin)
  except CkError: pass
""", token.env)
    return token


def test_everything_is_kept(lab, pair, real):
    """Payload, key and PINs open to what went through the call, whatever their size; lengths, tags and shapes are as with
    capture=safe."""
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert trace.text(17) == "full"
    found = opened(trace, key_of(pair[1]))
    by_call = {}
    for call, kind, data, v in found:
        by_call.setdefault(call.name, []).append((kind, data))
        assert v.length == len(data)
    assert [d for d in by_call["C_Digest"] if len(d[1]) != 32 or d[1][:2] == b"\0\7"] == \
        [(DATA, bytes(i * 7 % 251 for i in range(n))) for n in SIZES]
    assert by_call["C_Login"] == [(PIN, p) for p in (b"1234-pin", b"wrong-pin", b"1234-pin")]
    assert (SECRET, b"An AES key value") in by_call["C_CreateObject"]
    assert by_call["C_Encrypt"][0] == (DATA, b"what is encrypted") and len(by_call["C_Encrypt"][1][1]) == 32
    pins = [v for call, kind, _, v in found if kind == PIN]
    assert pins[0].tag == pins[2].tag != pins[1].tag and {v.shape for v in pins} == {8}
    nonces = [(record, v.number) for _, record, v in sealed(trace)]
    assert len(set(nonces)) == len(nonces)


def test_public_things_stay_in_clear(lab, pair, real):
    text = lab.p11trace("dump", *lab.files()).stdout
    assert 'CKA_LABEL="imported"' in text and "CKM_AES_CBC_PAD" in text


def test_cut(lab, pair):
    """cut= bounds what is sealed as what is kept in full."""
    token = make_token(lab)
    traced = lab.wrap(token.module, "traced", capture="full", seal_to=pair[0], cut="100")
    script(lab, traced, "s.digest(CKM.SHA256, bytes(range(250)))\n", token.env)
    trace = lab.trace()
    (whole,) = [(data, v) for call, _, data, v in opened(trace, key_of(pair[1])) if call.name == "C_Digest"]
    assert whole[0] == bytes(range(100)) and whole[1].length == 250
    digest = [c for c in trace.calls if c.name == "C_Digest"][-1]
    (out,) = sealing.values(digest.argument("pDigest")[1])
    assert (out.form, out.length) == (3, 32), "no room was left: length, tag and shape"
    shown = lab.p11trace("dump", "-e", "fn=C_Digest", *lab.files()).stdout
    assert "pData=<250 bytes, sealed in part, tag " in shown
    shown = lab.p11trace("dump", "-v", "--key", pair[1], "-e", "fn=C_Digest", *lab.files()).stdout
    assert "0x" + bytes(range(100)).hex() + "...<250 bytes, cut when recorded>" in shown


def test_clear_with_a_key(lab, pair):
    """capture=clear with seal-to: payload in clear, secrets and PINs sealed."""
    token = make_token(lab)
    traced = lab.wrap(token.module, "traced", capture="clear", seal_to=pair[0])
    script(lab, traced, "s.digest(CKM.SHA256, b'in the open')\ns.random(16)\n", token.env)
    trace = lab.trace()
    found = opened(trace, key_of(pair[1]))
    assert {(c.name, kind) for c, kind, _, _ in found} == {("C_Login", PIN), ("C_GenerateRandom", SECRET)}
    digest = [c for c in trace.calls if c.name == "C_Digest"][-1]
    assert digest.argument("pData")[1]["value"].data == b"in the open"


def test_safe_with_a_key_seals_nothing(lab, pair):
    token = make_token(lab)
    script(lab, lab.wrap(token.module, "traced", seal_to=pair[0]), "s.digest(CKM.SHA256, b'payload')\n", token.env)
    trace = lab.trace()
    assert 24 not in trace.fields and sealed(trace) == []


def test_each_process_has_its_key(lab, pair):
    """A fork's child makes its own, and one trace's key opens nothing in the other."""
    token = make_token(lab)
    script(lab, lab.wrap(token.module, "traced", capture="full", seal_to=pair[0]), """
import os
s.digest(CKM.SHA256, b'the parent speaks')
if os.fork() == 0:
  m.initialize()
  m.open_session(m.slot_of('Trace Test')).digest(CKM.SHA256, b'the child speaks')
  os._exit(0)
os.wait()""", token.env)
    traces = lab.traces()
    keys = [process_key(t, key_of(pair[1])) for t in traces]
    assert len(traces) == 2 and len(set(keys)) == 2
    spoken = [{data for call, _, data, _ in opened(t, key_of(pair[1])) if call.name == "C_Digest"} for t in traces]
    for who in (b"the parent speaks", b"the child speaks"):
        assert sum(who in found for found in spoken) == 1
    for trace, other in zip(traces, reversed(keys)):
        for _, record, v in sealed(trace):
            with pytest.raises(Refused):
                open_value(other, record, v)


@pytest.mark.parametrize("way", WAYS)
def test_transparent(lab, pair, way):
    """Every function with every argument wrong answers the same, and what was sealed opens."""
    library, env = lab.traced(way, "mock32", capture="full", **({"seal_to": pair[0]}))
    direct, traced = both(lab, ["-a"], lab.mock("mock32"), library, env_traced=env)
    assert_same(direct, traced)
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert len(opened(trace, key_of(pair[1]))) > 1000


def test_structures(lab, pair):
    """The client's buffers say what they hold: payload is sealed as payload, secrets as secrets, public things not at all."""
    lab.client("structures", lab.wrap("mock32", "m", capture="full", seal_to=pair[0]))
    trace = lab.trace()
    words = {DATA: set(), SECRET: set()}
    for _, kind, data, _ in opened(trace, key_of(pair[1])):
        for word in (b"public", b"payload", b"secret"):
            if word in data:
                words[kind].add(word)
    assert words == {DATA: {b"payload"}, SECRET: {b"secret"}}
    content = b"".join(content for _, content in trace.frames)
    assert b"public--" in content and b"payload-" not in content and b"secret--" not in content


# --- a value belongs where it is --------------------------------------------------------------------------------------

def test_a_value_opens_in_its_place_only(lab, pair, real):
    trace = lab.trace()
    key = process_key(trace, key_of(pair[1]))
    _, record, v = next(x for x in sealed(trace) if x[0].name == "C_Login")
    for number, place, kind, length in ((record + 2, v.number, PIN, v.length), (record, v.number + 1, PIN, v.length),
                                        (record, v.number, DATA, v.length), (record, v.number, PIN, v.length + 1)):
        with pytest.raises(Refused):
            open_value(key, number, type(v)(4, length, v.data, number=place, seal_class=kind))
    with pytest.raises(Refused):
        open_value(key, record, type(v)(4, v.length, bytes([v.data[0] ^ 1]) + v.data[1:], number=v.number, seal_class=PIN))
    assert open_value(key, record, v) == b"1234-pin"


# --- dump --key -------------------------------------------------------------------------------------------------------

def test_dump_shows_payload_only(lab, pair, real):
    """With the key: payload. Never a PIN or a key, in text or JSON."""
    for options in ((), ("-v",), ("--json",)):
        p = lab.p11trace("dump", *options, "--key", pair[1], *lab.files())
        assert b"what is encrypted".hex() in p.stdout and p.stderr == ""
        for secret in (b"1234-pin", b"wrong-pin", b"An AES key value"):
            assert secret.hex() not in p.stdout and secret.decode() not in p.stdout
        assert b"what is encrypted".hex() not in lab.p11trace("dump", *options, *lab.files()).stdout
    shown = {c["call"]: c for c in map(json.loads, p.stdout.splitlines()) if c["type"] == "call"}
    login = next(c for c in shown.values() if c["fn"] == "C_Login")
    pin = next(a["in"] for a in login["args"] if a["name"] == "pPin")
    assert (pin["form"], pin["class"], pin["length"], pin["kept"], pin["shape"]) == ("sealed", "pin", 8, 8, ["text"])


def test_the_wrong_key(lab, pair, real):
    """Refused with both fingerprints; what needs no key is shown."""
    given = tool(lab.run, lab.build, "keygen", "-q", "-o", lab.tmp / "other").stdout.strip()
    wanted = lab.p11trace("info", *lab.files()).stdout.split("sealed to ")[1].split("\n")[0]
    p = lab.p11trace("dump", "--key", lab.tmp / "other.key", *lab.files(), status=2)
    assert f"is sealed to {wanted}, the key that was given is {given}: give the private key of that one" in p.stderr
    assert p.stderr.count("\n") == 1
    assert p.stdout == lab.p11trace("dump", *lab.files()).stdout


def test_a_key_that_is_not_needed(lab, pair):
    lab.client("lifecycle", "sign", lab.wrap("mock32"))
    p = lab.p11trace("dump", "--key", pair[1], *lab.files())
    assert "nothing in it is sealed (capture=safe): the key is not needed" in p.stderr


# --- nothing lies in clear --------------------------------------------------------------------------------------------

def test_nothing_in_clear(lab, pair):
    """Payload, PIN and key are in no file: not in the trace, not in the live file of a program that was killed, and not in what
    is sent; nor is the private key, or the process's. All is searched as it is, decompressed, backwards and as digits."""
    token = make_token(lab)
    traced = lab.wrap(token.module, "traced", capture="full", seal_to=pair[0])
    words = {"payload": "c4nary-payload-of-full", "value": "c4nary AES value", "pin": "1234-pin", "wrong": "c4nary-wrong"}
    text = f"""s.digest(CKM.SHA256, b'{words["payload"]}')
s.create({{CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: b'{words["value"]}', CKA.TOKEN: False}})
s.logout()
try: s.login('{words["wrong"]}')
except CkError: pass
"""
    script(lab, traced, text, token.env)
    (ended,) = lab.files()
    script(lab, traced, text + "import os\nos.kill(os.getpid(), 9)", token.env, status=-9)
    lab.p11trace("pack", "-q", "-o", lab.tmp / "case.tar.zst", *lab.files())
    blobs = {f"{folder.name}/{k}": v for folder in (lab.out, lab.tmp / "run") for k, v in files_below(folder).items()}
    assert any(name.endswith(".live") for name in blobs)
    for verb in ("info", "dump", "stat", "check"):
        for options in ((), ("--json",)):
            blobs[verb, options] = lab.p11trace(verb, *options, *lab.files(), status=None, text=False).stdout
    blobs["pack"] = (lab.tmp / "case.tar.zst").read_bytes()
    keys = {f"process {t.pid}": process_key(t, key_of(pair[1])) for t in lab.traces()} | {"private": key_of(pair[1])}
    assert len(keys) == 3
    assert search(blobs, needles(words, keys), keys) == []
    found = [{data for _, _, data, _ in opened(t, key_of(pair[1]))} for t in lab.traces()]
    assert all({w.encode() for w in words.values()} <= f for f in found), "all of it is there for who has the key"


# --- replay -----------------------------------------------------------------------------------------------------------

CANARIES = {"payload": "c4nary-payload-of-full", "value": "c4nary AES value", "pin": "1234-pin"}


@pytest.fixture
def replayed(lab, pair):
    """(replay, what): `replay` plays a trace of CANARIES on the same token and gives the process; `what` opens what the module
    was then given: its traced copy records that, sealed too."""
    token = make_token(lab)
    script(lab, lab.wrap(token.module, "first", capture="full", seal_to=pair[0]), f"""
s.digest(CKM.SHA256, b'{CANARIES["payload"]}')
key = s.create({{CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: b'{CANARIES["value"]}', CKA.ENCRYPT: True,
                CKA.TOKEN: False}})
s.encrypt((CKM.AES_CBC_PAD, b'initial vector 1'), key, b'{CANARIES["payload"]}')""", token.env)
    (trace,) = lab.files()
    again = lab.wrap(token.module, "again", out=lab.tmp / "again", capture="full", seal_to=pair[0])

    def replay(*options, **more):
        return lab.p11trace("replay", *options, "--module", again, trace, env=token.env, **more)

    def what():
        traces = [p11t_reader.read(path) for path in (lab.tmp / "again").glob("*.p11t")]
        return {data for t in traces for _, _, data, _ in opened(t, key_of(pair[1]))}
    return replay, what


@pytest.mark.parametrize("options", [(), ("--json",), ("--junit", "junit.xml")])
def test_replay_with_the_key(lab, pair, replayed, options):
    """The login, the imported key and the payload are those that were recorded, so what comes out is too; and none of them is in
    anything that was written or said."""
    replay, what = replayed
    p = replay("--key", pair[1], *options)
    assert json.loads(p.stdout)["withheld"] == 0 if "--json" in options else "withheld" not in p.stdout
    assert {w.encode() for w in CANARIES.values()} <= what()
    blobs = {name: data for folder in (lab.out, lab.tmp / "again", lab.tmp / "run") for name, data in files_below(folder).items()}
    blobs |= {"stdout": p.stdout.encode(), "stderr": p.stderr.encode()}
    if "--junit" in options:
        blobs["junit"] = (lab.tmp / "junit.xml").read_bytes()
    assert search(blobs, needles(CANARIES, {"private": key_of(pair[1])}), {}) == []


def test_replay_without_the_key(replayed):
    """What it left out is said, and others stand in."""
    replay, what = replayed
    p = replay()
    assert "sealed values of 1 process stay closed, others stand in for them: give --key\n" in p.stdout
    assert "C_Login no PIN was given: give --pin-file" in p.stdout
    assert {w.encode() for w in CANARIES.values()} & what() == set()


def test_replay_with_the_wrong_key(lab, replayed):
    """Refused: nothing is played."""
    replay, what = replayed
    given = tool(lab.run, lab.build, "keygen", "-q", "-o", lab.tmp / "other").stdout.strip()
    p = replay("--key", lab.tmp / "other.key", status=2)
    assert f"the key that was given is {given}" in p.stderr and "do not open with this key" in p.stdout
    assert what() == set()


# --- after the process ------------------------------------------------------------------------------------------------

def test_recover_and_pack_carry_it(lab, pair):
    """A killed client's live file, recovered, and the file that is sent: what was sealed opens in both."""
    token = make_token(lab)
    traced = lab.wrap(token.module, "traced", capture="full", seal_to=pair[0])
    script(lab, traced, "s.digest(CKM.SHA256, b'before the end')\nimport os\nos.kill(os.getpid(), 9)", token.env, status=-9)
    (path,) = lab.files()

    def pieces(where):
        shown = lab.p11trace("dump", "--json", "--key", pair[1], where).stdout
        return b"before the end".hex() in shown
    assert pieces(path)
    lab.p11trace("pack", "-q", "-o", lab.tmp / "case.tar.zst", path)
    assert pieces(lab.tmp / "case.tar.zst")
    lab.p11trace("recover", path)
    assert pieces(path) and not list(lab.tmp.rglob("*.live"))
    assert (PIN, b"1234-pin") in [(kind, data) for _, kind, data, _ in opened(p11t_reader.read(path), key_of(pair[1]))]


def test_the_verbs_that_write_traces(lab, pair, real):
    """trim, merge and redact --keep-sealed carry what is sealed; redact without leaves tags, and JSON has no more than these."""
    (path,) = lab.files()
    inputs = "what is encrypted".encode().hex()
    tags = sorted((v.length, v.tag) for _, _, v in sealed(lab.trace()))
    for verb, *options in (["trim", "--calls", "1-"], ["merge"], ["redact", "--keep-sealed"]):
        out = lab.tmp / f"{verb}.p11t"
        lab.p11trace(verb, *options, "-o", out, path)
        assert inputs in lab.p11trace("dump", "--key", pair[1], out).stdout, verb
        assert len(opened(p11t_reader.read(out), key_of(pair[1]))) == len(tags), verb
    (lab.tmp / "lines").write_text(lab.p11trace("dump", "--json", path).stdout)
    for verb, *options in (["redact", "-o", lab.tmp / "out.p11t", path],
                           ["import", "-o", lab.tmp / "in.p11t", lab.tmp / "lines"]):
        lab.p11trace(verb, *options)
        trace = p11t_reader.read(options[1])
        assert sealed(trace) == [] and 24 not in trace.fields
        kept = [v for c in trace.calls for part in c.arguments() for v in sealing.values(part[1:]) if v.form == 3]
        assert sorted((v.length, v.tag) for v in kept) == tags, verb


@pytest.mark.root
@pytest.mark.nosan  # a set-id program gets no runtime preloaded, and its environment is the subject
def test_set_id_program(lab, pair):
    """A program with another user's rights seals to what the .conf beside its library says, and to nothing that the environment
    names; a key that belongs to neither root nor that user is not used."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        folder.chmod(0o755)
        for name in ("libp11trace.so", "libp11token.so", "tests/clients/token_setid", "tests/mocks/mock32.so"):
            shutil.copy(lab.build / name, folder)
        shutil.copy(pair[0], folder / "case.pub")
        tool(lab.run, lab.build, "keygen", "-o", folder / "other")
        (folder / "out").mkdir()
        lab.p11trace("wrap", folder / "mock32.so", "-o", folder / "traced.so", "--out", folder / "out", "--quiet", "--recorder",
                     folder / "libp11trace.so", "--capture", "full", "--seal-to", folder / "case.pub", "--live", folder / "out")
        program = folder / "token_setid"
        for path in (program, folder / "out"):
            shutil.chown(path, "nobody")
        program.chmod(0o4755)
        for owner, policy in (("root", "full"), ("nobody", "full"), ("daemon", "safe")):
            shutil.chown(folder / "case.pub", owner)
            p = subprocess.run([program, folder / "traced.so"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={"P11TRACE_CAPTURE": "clear", "P11TRACE_SEAL_TO": str(folder / "other.pub")})
            assert p.stdout.startswith("secure 1 "), p.stdout + p.stderr
            assert ("must belong to root or to the program's owner" in p.stderr) == (policy == "safe")
            (path,) = (folder / "out").glob("*.p11t")
            trace = p11t_reader.read(path)
            assert trace.text(17) == policy
            if policy == "full":
                assert trace.fields[24][0][1:33] == key_of(pair[0])
            path.unlink()
        shutil.chown(folder / "case.pub", "root")
        conf = folder / "traced.conf"
        conf.write_text(conf.read_text().replace(f"{folder}/case.pub", "case.pub"))
        p = subprocess.run([program, folder / "traced.so"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
                           env={})
        assert p.stdout.startswith("secure 1 ") and "the path must begin with /" in p.stderr
    finally:
        shutil.rmtree(folder)


def test_a_spoilt_head(lab, pair, real):
    """One bit of the sealed key in HEAD: said, and nothing opens."""
    (path,) = lab.files()
    data = bytearray(path.read_bytes())
    at = data.index(key_of(pair[0])) + 32 + 40
    data[at] ^= 1
    path.write_bytes(data)
    p = lab.p11trace("dump", "--key", pair[1], path, status=2)
    assert "its HEAD does not open with that key: it is damaged or was changed" in p.stderr
    assert b"what is encrypted".hex() not in p.stdout


# --- doctor -----------------------------------------------------------------------------------------------------------

def test_doctor(lab, pair):
    traced = lab.wrap("mock32", "m", capture="full", seal_to=pair[0])
    name = lab.p11trace("keygen", "-q", "-o", lab.tmp / "other").stdout.strip()
    assert "is a public key, " in lab.p11trace("doctor", traced, status=None).stdout
    p = lab.p11trace("doctor", traced, env={"P11TRACE_SEAL_TO": lab.tmp / "other.pub", "P11TRACE_CAPTURE": "safe"}, status=None)
    assert f"is a public key, {name}, that nothing is sealed to: that takes capture = full" in p.stdout
    pair[0].unlink()
    p = lab.p11trace("doctor", traced, status=1)
    assert f"seal-to = {pair[0]}: is not there: `p11trace keygen` makes a pair" in p.stdout
    conf = traced.with_suffix(".conf")
    conf.write_text("".join(line for line in conf.read_text().splitlines(True) if not line.startswith("seal-to")))
    assert "capture = full needs seal-to" in lab.p11trace("doctor", traced, status=1).stdout
