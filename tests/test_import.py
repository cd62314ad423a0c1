"""p11trace import: JSON lines become a trace."""
import json

import pytest

from lab import lab  # noqa: F401
from p11t_make import Trace
from reader_tools import calls, info, save, session_call, sign_enter, sign_leave, tool
from test_trim import GOLDEN, golden, here, objects, two, whole  # noqa: F401


def lines_of(run, build, *paths, status=0):
    return tool(run, build, "dump", "--json", *paths, status=status).stdout


def without(text):
    """What a new file cannot have: its path and id, the places of functions in another's schema; and what JSON does not hold:
    records that are said twice."""
    result = []
    for o in map(json.loads, text.splitlines()):
        for key in {"process": ("path", "trace_id"), "end": ("records",), "call": ("function",)}.get(o["type"], ()):
            o.pop(key, None)
        result.append(o)
    return result


def imported(run, build, tmp_path, text, name="o.p11t", status=0):
    source = tmp_path / "in.jsonl"
    source.write_text(text if isinstance(text, str) else "".join(json.dumps(o) + "\n" for o in text))
    return tool(run, build, "import", source, "-o", tmp_path / name, status=status)


@pytest.mark.parametrize("name", [g for g in GOLDEN if g != "session"])
def test_the_same_lines_come_back(run, build, golden, tmp_path, name):
    text = lines_of(run, build, golden / f"{name}.p11t")
    p = imported(run, build, tmp_path, text)
    assert p.stderr == ""
    assert without(lines_of(run, build, tmp_path / "o.p11t")) == without(text)
    whole(run, build, tmp_path / "o.p11t")
    [of], [new] = info(run, build, golden / f"{name}.p11t"), info(run, build, tmp_path / "o.p11t")
    assert new["derived"].endswith(f"import, from trace {of['trace_id']}")


def test_all_states_of_calls(run, build, golden, tmp_path):
    """Open, unwound, headless, nested; and a text in clear that our recorder would not have kept."""
    text = lines_of(run, build, golden / "session.p11t")
    p = imported(run, build, tmp_path, text)
    assert p.stderr == "p11trace import: 1 secret stood there in clear: length and tag are in the trace\n"
    a, b = without(text), without(lines_of(run, build, tmp_path / "o.p11t"))
    assert [x for x in a if x.get("call") != 14] == [x for x in b if x.get("call") != 14]
    assert {x["state"] for x in b if x["type"] == "call"} == {"done", "open", "unwound", "headless"}
    whole(run, build, tmp_path / "o.p11t")


def test_threads_and_nesting(run, build, tmp_path):
    """Lines come in the order of returns: a call around another one comes after it."""
    t = Trace()
    t.thread(100)
    sign_enter(t, 5, sp=0x7000)
    session_call(t, 7, leave=9, sp=0x6000)
    sign_leave(t, 11, 5)
    t.frame()
    t.thread(101, "other")
    session_call(t, 6, leave=8)
    sign_enter(t, 12)
    t.frame(slot=1, tid=101)
    t.end()
    text = lines_of(run, build, save(tmp_path / "t.p11t", t))
    imported(run, build, tmp_path, text)
    assert without(lines_of(run, build, tmp_path / "o.p11t")) == without(text)


def test_a_traced_program(lab, run, build, tmp_path):
    """Four threads, call stacks, a token of SoftHSM: 1,000 and more calls."""
    token = lab.token()
    module = lab.wrap(token.module, stack="error")
    for action in ("-O", "-M"):
        run("pkcs11-tool", "--module", module, action, "--login", "--pin", token.pin, env=token.env)
    lab.client("busy", lab.wrap("mock32"), 4, lab.tmp / "returned", 200, status=None)
    for source in lab.files():
        text = lines_of(run, build, source)
        imported(run, build, tmp_path, text, name=source.name)
        assert without(lines_of(run, build, tmp_path / source.name)) == without(text)
        whole(run, build, tmp_path / source.name)


def test_any_order_of_keys(run, build, golden, tmp_path):
    def turned(o):
        if isinstance(o, dict):
            return {k: turned(o[k]) for k in reversed(o)}
        return [turned(x) for x in o] if isinstance(o, list) else o

    text = lines_of(run, build, golden / "recorded-1.0.p11t")
    imported(run, build, tmp_path, [turned(json.loads(line)) for line in text.splitlines()])
    assert without(lines_of(run, build, tmp_path / "o.p11t")) == without(text)


def test_several_processes(run, build, tmp_path):
    text = lines_of(run, build, two(tmp_path))
    imported(run, build, tmp_path, text, name="out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.p11t", "2.p11t"]
    assert without(lines_of(run, build, tmp_path / "out")) == without(text)


def test_the_smallest_lines(run, build, tmp_path):
    imported(run, build, tmp_path, [
        {"type": "call", "fn": "C_Initialize", "rv": "CKR_OK"},
        {"type": "call", "fn": "C_OpenSession", "rv": "CKR_OK", "args": [
            {"in": 1}, {"in": 4}, {"name": "phSession", "out": 7}]},
        {"type": "call", "fn": "C_FindObjectsInit", "rv": "CKR_OK", "args": [{"in": 7}, {"in": {
            "type": "template", "attributes": [{"name": "CKA_CLASS", "value": 3}, {"name": "CKA_TOKEN", "value": True}]}},
            {"in": 2}]},
        {"type": "call", "fn": "C_Login", "rv": "CKR_PIN_INCORRECT", "duration": 1000, "args": [
            {"in": 7}, {"in": 1}, {"in": {"type": "bytes", "hex": b"canary-1234".hex()}}, {"in": 11}]},
        {"type": "call", "fn": "C_Finalize"}])
    out = tmp_path / "o.p11t"
    lines = [line.split(" ", 2)[2] for line in tool(run, build, "dump", out).stdout.splitlines()]
    assert lines[0] == "C_Initialize(pInitArgs=NULL) = CKR_OK <0.000000>"
    assert lines[1] == ("C_OpenSession(slotID=1, flags=CKF_SERIAL_SESSION, pApplication=NULL, Notify=NULL, phSession -> 0x7)"
                        " = CKR_OK <0.000000>")
    assert "pTemplate={CKA_CLASS=CKO_PRIVATE_KEY, CKA_TOKEN=CK_TRUE}, ulCount=2" in lines[2]
    assert "pPin=<11 bytes, tag " in lines[3] and "<0.000001>" in lines[3]
    assert "<in flight at the end>" in lines[4]
    assert [c.get("end") for c in calls(run, build, out)] == [2, 4, 6, 8, None]
    read = whole(run, build, out)
    assert not any(b"canary" in r.body for r in read.records)
    tool(run, build, "check", out, status=None)


GOOD = '{"type":"call","fn":"C_Finalize","rv":"CKR_OK"}'


@pytest.mark.parametrize("line, what", [
    ('{"type":"call"', "not JSON, at character"),
    ('[]', 'expected an object with "type"'),
    ('{"type":"cal"}', 'type "cal": expected trace, process, call'),
    ('{"type":"call"}', "fn: expected the name of a function"),
    ('{"type":"call","fn":"C_Sing","rv":"CKR_OK"}', "fn: C_Sing is not a function of PKCS #11 3.2"),
    ('{"type":"call","fn":"C_Sign","rv":"CKR_OKAY"}', "rv: CKR_OKAY is not a return code"),
    ('{"type":"call","fn":"C_Sign","state":"done"}', "rv: a call that is over has a return code"),
    ('{"type":"call","fn":"C_Sign","rv":0,"state":"dne"}', "expected done, open, unwound or headless"),
    ('{"type":"call","fn":"C_Sign","rv":0,"args":[{"in":"7"}]}', 'hSession.in: expected a number, or a string "0x..."'),
    ('{"type":"call","fn":"C_Sign","rv":0,"args":[{"in":null}]}', "hSession.in: a value of another type"),
    ('{"type":"call","fn":"C_Sign","rv":0,"args":[{"name":"hSesion","in":7}]}', "C_Sign has no parameter hSesion"),
    ('{"type":"call","fn":"C_Finalize","rv":0,"args":[{},{}]}', "args: C_Finalize has 1 parameters"),
    ('{"type":"call","fn":"C_Sign","rv":0,"args":[{"in":7},{"in":{"type":"bytes","hex":"012"}}]}',
     "pData.in: expected a string of pairs of hexadecimal digits"),
    ('{"type":"call","fn":"C_Sign","rv":0,"call":9,"end":8}', "end: 8 is not after call 9"),
    ('{"type":"call","fn":"C_Sign","rv":0,"process":3}', "process: 3: the file begins with"),
    ('{"type":"call","type":"call"}', "duplicate"),
    ('{"type":"marker","kind":1}', "kind: expected"),
])
def test_a_line_that_is_wrong(run, build, tmp_path, line, what):
    p = imported(run, build, tmp_path, f"{GOOD}\n\n{line}\n{GOOD}\n", status=2)
    assert p.stderr.startswith(f"p11trace import: {tmp_path}/in.jsonl:3: ") and what in p.stderr, p.stderr
    assert not (tmp_path / "o.p11t").exists() and p.stdout == ""
    assert [f.name for f in tmp_path.iterdir() if f.is_file()] == ["in.jsonl"]


def test_from_a_pipe(run, build, tmp_path):
    tool(run, build, "import", "-", "-o", tmp_path / "o.p11t", input=GOOD + "\n")
    assert [c["fn"] for c in calls(run, build, tmp_path / "o.p11t")] == ["C_Finalize"]
    assert "nothing is in it" in tool(run, build, "import", "-", "-o", tmp_path / "p.p11t", input="\n", status=2).stderr
    p = tool(run, build, "import", "-", "-o", tmp_path / "o.p11t", input=GOOD, status=2)
    assert "nothing is overwritten" in p.stderr


def test_what_is_no_text(run, build, golden, tmp_path):
    p = tool(run, build, "import", golden / "session.p11t", "-o", tmp_path / "o.p11t", status=2)
    assert p.stderr == (f"p11trace import: {golden}/session.p11t:1: this is a trace, and import takes what "
                        "`p11trace dump --json` prints of one\n")
    p = tool(run, build, "import", tmp_path, "-o", tmp_path / "o.p11t", status=2)
    assert p.stderr == f"p11trace import: {tmp_path}: cannot be read: Is a directory\n"
    p = tool(run, build, "import", "/dev/null", "-o", tmp_path / "o.p11t", status=2)
    assert p.stderr == "p11trace import: /dev/null: nothing is in it\n"


def test_payload_in_clear_is_said(run, build, tmp_path):
    imported(run, build, tmp_path, [{"type": "call", "fn": "C_Digest", "rv": "CKR_OK", "args": [
        {"in": 7}, {"in": {"type": "bytes", "hex": "0102"}}, {"in": 2}]}])
    assert info(run, build, tmp_path / "o.p11t")[0]["payload_in_clear"] is True
