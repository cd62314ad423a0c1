"""p11trace redact: a copy that says less."""
import json
import re
import subprocess

import pytest
import zstandard

import p11t_reader
from p11t_make import P_OWN, Trace, field, u
from reader_tools import calls, info, save, tool
from test_trim import GOLDEN, golden, here, objects, shown, whole  # noqa: F401


S_SLOT_INFO, S_TOKEN_INFO = 2, 3  # numbers of structures


def everything(path):
    """All bytes of a trace: as they lie in the file, and decompressed."""
    raw = path.read_bytes()
    out, plain = zstandard.ZstdDecompressor().decompressobj(), b""
    data = raw
    while data:
        if data[:4] in (b"\x50\x2a\x4d\x18", b"\x51\x2a\x4d\x18", b"\x5e\x2a\x4d\x18"):
            size = int.from_bytes(data[4:8], "little")
            data = data[8 + size:]
            continue
        out = zstandard.ZstdDecompressor().decompressobj()
        plain += out.decompress(data)
        data = out.unused_data
    return raw + plain


def bodies(path):
    return {(r.kind, r.number): r.body for r in p11t_reader.read(path).records if r.kind < 16}


@pytest.mark.parametrize("name", [g for g in GOLDEN if g != "session"])
def test_nothing_to_do_changes_no_byte_of_a_body(run, build, golden, tmp_path, name):
    source, out = golden / f"{name}.p11t", tmp_path / "o.p11t"
    assert tool(run, build, "redact", source, "-o", out).stdout == f"{out}: 0 values taken away\n"
    assert bodies(out) == bodies(source)
    assert shown(run, build, out) == shown(run, build, source)
    whole(run, build, out)


@pytest.fixture(scope="module")
def recorded(build, tmp_path_factory):
    """pkcs11-tool signs, encrypts and shows objects: payload in clear, the program's arguments, paths."""
    import softhsm
    folder = tmp_path_factory.mktemp("redact")
    token = softhsm.make_token(folder / "softhsm")
    token.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "label-to-hide", "--id", "1d1d1d1d2e2e2e2e")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=name-to-hide", "-set_serial",
                    "0x7a7b7c7d7e7f0102", "-keyout", folder / "k.pem", "-out", folder / "c.der", "-outform", "DER"],
                   check=True, capture_output=True)
    token.tool("--write-object", folder / "c.der", "--type", "cert", "--label", "label-to-hide", "--id", "1d1d1d1d2e2e2e2e")
    env = {**token.env, "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    subprocess.run([build / "p11trace", "wrap", token.module, "-o", folder / "traced.so", "--out", folder / "traces",
                    "--capture", "clear", "--cmdline", "on"], env=env, check=True, capture_output=True)
    (folder / "payload").write_bytes(b"payload-to-hide-0123456789")
    for i in range(2):
        subprocess.run(["pkcs11-tool", "--module", folder / "traced.so", "--login", "--pin", token.pin, "--sign", "--label",
                        "label-to-hide", "-m", "SHA256-RSA-PKCS", "-i", folder / "payload", "-o", folder / f"sig{i}"],
                       env=env, check=True, capture_output=True)
    subprocess.run(["pkcs11-tool", "--module", folder / "traced.so", "-O"], env=env, check=True, capture_output=True)
    return folder, token


SECRETS = {
    "payload": b"payload-to-hide", "label": b"label-to-hide", "id": bytes.fromhex("1d1d1d1d2e2e2e2e"),
    "name": b"name-to-hide", "serial": bytes.fromhex("7a7b7c7d7e7f0102"), "argument": b"--sign", "path": b"/traced.so"}


def found(out):
    data = b"".join(everything(p) for p in sorted(out.iterdir()))
    return {name for name, value in SECRETS.items() if value in data}


def test_the_search_finds_what_is_there(recorded):
    folder, token = recorded
    assert found(folder / "traces") == set(SECRETS)


@pytest.mark.parametrize("options, gone", [
    ((), {"payload"}),
    (("--drop", "cmdline,labels"), {"payload", "label", "argument"}),
    (("--drop", "names"), {"payload", "name"}),
    (("--drop", "names,serials,ids"), {"payload", "name", "serial", "id"}),
    (("--drop-attribute", "CKA_ID"), {"payload", "id"}),
    (("--drop", "cmdline,paths,threads"), {"payload", "argument", "path"}),
    (("--capture", "meta"), {"payload", "id", "name", "serial"}),
    (("--capture", "meta", "--drop", "labels,cmdline,paths"), set(SECRETS)),
])
def test_what_is_dropped_is_nowhere(run, build, recorded, tmp_path, options, gone):
    folder, token = recorded
    out = tmp_path / "out"
    before = {p: p.read_bytes() for p in (folder / "traces").iterdir()}
    tool(run, build, "redact", folder / "traces", "-o", out, *options)
    assert not gone & found(out)
    assert before == {p: p.read_bytes() for p in (folder / "traces").iterdir()}
    for p in out.iterdir():
        whole(run, build, p)
    assert all("payload in clear" not in tool(run, build, "info", p).stdout for p in out.iterdir())


def shape(o):
    """A call without its values."""
    return [o.get(k) for k in ("call", "end", "fn", "start", "end_time", "rv_value", "tid", "module")]


def rules(run, build, traces):
    """The rules that check names, in its order; there are some."""
    found = json.loads(tool(run, build, "check", "--json", traces, status=None).stdout)["findings"]
    return [f["rule"] for f in found]


def test_structure_stays(run, build, recorded, tmp_path):
    folder, token = recorded
    out = tmp_path / "out"
    tool(run, build, "redact", folder / "traces", "-o", out, "--capture", "meta", "--drop", "labels,paths,threads")
    assert [shape(c) for c in calls(run, build, out)] == [shape(c) for c in calls(run, build, folder / "traces")]
    assert set(rules(run, build, out)) <= set(rules(run, build, folder / "traces"))


def test_check_finds_the_same_in_safe(run, build, recorded, tmp_path):
    folder, token = recorded
    out = tmp_path / "out"
    tool(run, build, "redact", folder / "traces", "-o", out)
    assert rules(run, build, out) == rules(run, build, folder / "traces")


def test_equal_stays_equal(run, build, recorded, tmp_path):
    """The same payload was signed twice; tags are under a key of the output, and another one the next time."""
    folder, token = recorded
    tags = []
    for i in range(2):
        tool(run, build, "redact", folder / "traces", "-o", tmp_path / str(i))
        of = [a["in"]["tag"] for c in calls(run, build, tmp_path / str(i)) if c["fn"].startswith("C_Sign")
              for a in c["args"] if a["name"] in ("pData", "pPart") and a["in"].get("form") == "tag"]
        assert len(of) == 2 and len(set(of)) == 1
        tags += of[:1]
    assert tags[0] != tags[1]


def test_meta_has_no_tags(run, build, recorded, tmp_path):
    folder, token = recorded
    tool(run, build, "redact", folder / "traces", "-o", tmp_path / "out", "--capture", "meta")
    text = tool(run, build, "dump", "--json", tmp_path / "out").stdout
    assert '"form":"tag"' not in text and '"CKA_CLASS"' in text and '"form":"length"' in text
    assert {p["capture"] for p in info(run, build, tmp_path / "out")} == {"meta"}


def test_a_call_that_is_cut_keeps_what_is_before(run, build, tmp_path):
    t = Trace()
    t.thread(100)
    t.enter(5, "C_Sign", u(7) + P_OWN, flags=1 | 2 | 16)
    t.frame()
    t.end()
    t.seek_table()
    out = tmp_path / "o.p11t"
    tool(run, build, "redact", save(tmp_path / "t.p11t", t), "-o", out)
    [c] = calls(run, build, out)
    assert c["args"][0]["in"]["value"] == 7 and "cut" in c["flags"]


def test_records_of_a_newer_recorder_go(run, build, tmp_path):
    """Nobody can tell what they hold."""
    t = Trace()
    t.thread(100)
    t.record(15, b"canary-canary", number=4)
    t.record(40, b"canary-canary")
    session = u(7) + P_OWN
    t.enter(5, "C_GetSessionInfo", session)
    t.frame()
    t.end()
    out = tmp_path / "o.p11t"
    p = tool(run, build, "redact", save(tmp_path / "t.p11t", t), "-o", out, status=2)
    assert "2 records are of a newer recorder" in p.stderr
    assert b"canary" not in everything(out) and len(calls(run, build, out)) == 1


def test_fields_of_a_newer_recorder_go(run, build, tmp_path):
    t = Trace(minor=9, extra=field(77, b"canary-canary"))
    t.thread(100)
    t.enter(5, "C_GetSessionInfo", u(7) + P_OWN)
    t.frame()
    t.end()
    source, out = save(tmp_path / "t.p11t", t), tmp_path / "o.p11t"
    tool(run, build, "trim", source, "-o", tmp_path / "trimmed.p11t")
    assert b"canary" in everything(tmp_path / "trimmed.p11t")
    tool(run, build, "redact", source, "-o", out)
    assert b"canary" not in everything(out) and len(calls(run, build, out)) == 1


def test_how_it_came_about_says_nothing_of_what_goes(run, build, golden, tmp_path):
    """What trim was asked for may name a label."""
    trimmed, out = tmp_path / "t.p11t", tmp_path / "o.p11t"
    tool(run, build, "trim", golden / "session.p11t", "-e", "label=!canary", "-o", trimmed)
    assert b"canary" in everything(trimmed)
    tool(run, build, "redact", trimmed, "-o", out, "--drop", "labels")
    assert b"canary" not in everything(out)
    [of], [p] = info(run, build, trimmed), info(run, build, out)
    assert re.fullmatch(rf"p11trace \S+ redact --drop labels, from trace {of['trace_id']}; that: p11trace \S+ trim", p["derived"])


def value(name, hex):
    return {"name": name, "value": {"type": "bytes", "hex": hex.hex()}}


@pytest.mark.parametrize("drop, left", [
    ("labels", {"id", "sha1", "modulus", "point", "slot", "serial", "mail"}),
    ("ids,keys", {"label", "application", "sha1", "slot", "serial", "mail", "token"}),
    ("certificates", {"label", "application", "id", "modulus", "point", "slot", "serial", "mail", "token"}),
    ("serials,names", {"label", "application", "id", "sha1", "modulus", "point", "token"}),
])
def test_all_places_of_a_word(run, build, tmp_path, drop, left):
    """Beside the usual ones: a certificate's hash, the reader's serial number in its slot's description, a data object's
    application, the key of which CKA_ID is the hash, an NSS object's mail address."""
    canary = {k: f"canary-of-the-{k}".encode() for k in
              ("label", "application", "id", "sha1", "modulus", "point", "slot", "serial", "mail", "token")}
    attributes = [value("CKA_LABEL", canary["label"]), value("CKA_APPLICATION", canary["application"]),
                  value("CKA_ID", canary["id"]), value("CKA_NSS_CERT_SHA1_HASH", canary["sha1"]),
                  value("CKA_MODULUS", canary["modulus"]), value("CKA_EC_POINT", canary["point"]),
                  value("CKA_NSS_EMAIL", canary["mail"])]
    struct = lambda number, **members: {"type": "struct", "number": number, "members": {  # noqa: E731
        k: {"type": "bytes", "hex": v.ljust(n).hex()} for k, (v, n) in members.items()}}
    slot, token = (S_SLOT_INFO, S_TOKEN_INFO)
    lines = [{"type": "call", "fn": "C_GetSlotInfo", "rv": "CKR_OK", "args": [
                 {"in": 1}, {"out": struct(slot, slotDescription=(canary["slot"], 64))}]},
             {"type": "call", "fn": "C_GetTokenInfo", "rv": "CKR_OK", "args": [
                 {"in": 1}, {"out": struct(token, label=(canary["token"], 32), serialNumber=(canary["serial"], 16))}]},
             {"type": "call", "fn": "C_FindObjectsInit", "rv": "CKR_OK", "args": [
                 {"in": 7}, {"in": {"type": "template", "attributes": attributes}}, {"in": len(attributes)}]}]
    source, made, out = tmp_path / "in.jsonl", tmp_path / "t.p11t", tmp_path / "o.p11t"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tool(run, build, "import", source, "-o", made)
    there = lambda p: {k for k, v in canary.items() if v in everything(p)}  # noqa: E731
    assert there(made) == set(canary)
    tool(run, build, "redact", made, "-o", out, "--drop", drop)
    assert there(out) == left


def test_words_that_are_not_understood(run, build, golden, tmp_path):
    for args in (("--drop", "label"), ("--capture", "clear"), ("--drop-attribute", "CKA_LABLE")):
        p = tool(run, build, "redact", golden / "session.p11t", "-o", tmp_path / "o", *args, status=2)
        assert args[1] in p.stderr and not (tmp_path / "o").exists()
