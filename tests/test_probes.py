"""probe=: the recorder's own questions are made where they belong, nowhere else, and the application does not notice."""
import json
import re
import shutil

import pytest

import p11t_reader
import softhsm
from conftest import ROOT
from lab import assert_nothing_lost, counted, functions, lab  # noqa: F401

PROBE = 4  # the flag of a record
WAYS = ["chained", "preloaded"]
STATE, NEXT, CLASS = "C_GetSessionInfo", "C_FindObjects", "C_GetAttributeValue"

# `probes scene`: what each probe asks, and the application's call that it follows ("before" it).
SCENE = [
    ("open", "C_OpenSession", STATE), ("open", "C_OpenSession", STATE),
    ("state", "C_Login", STATE), ("state", "C_Login", STATE),  # a wrong PIN, then the right one
    ("object", "C_CreateObject", CLASS), ("object", "C_CreateObject", CLASS),
    ("object", "C_GenerateKeyPair", CLASS), ("object", "C_GenerateKeyPair", CLASS), ("object", "C_GenerateKey", CLASS),
    ("find", "before C_FindObjectsFinal", NEXT),  # the second search is asked until there is nothing
    ("state", "C_Logout", STATE),  # the second one is of the last session
]


def is_probe(call):
    flags = {r.flags & PROBE for r in (call.enter, call.leave) if r}
    assert len(flags) == 1, "one of the two records says it, the other does not"
    return flags == {PROBE}


def in_order(trace):
    """The calls by number; of one thread."""
    return sorted(trace.calls, key=lambda c: c.number)


def probes(trace):
    """[(reason, function)] of all probes, the reason as SCENE has it."""
    calls, found = in_order(trace), []
    for i, call in enumerate(calls):
        if not is_probe(call):
            continue
        last = next(c for c in reversed(calls[:i]) if not is_probe(c))
        following = next((c for c in calls[i:] if not is_probe(c)), None)
        assert last.leave.number < call.number, "inside the application's call"
        assert following is None or call.leave.number < following.number
        assert call.trace.stack(call.enter) is None
        before = call.name == NEXT
        found.append((f"before {following.name}" if before else last.name, call.name))
    return found


def own_calls(trace):
    return counted(c for c in trace.calls if not is_probe(c))


@pytest.fixture
def module(request, lab, monkeypatch):
    """(path, environment, label, PIN) of the module that the test is run on."""
    def make(name):
        if name == "mock32":
            return lab.mock(name), {}, "-", "1234"
        if name == "softhsm":
            token = softhsm.make_token(lab.tmp / "token")
        else:
            token = request.getfixturevalue("token")
        return token.module, token.env, token.label, token.pin
    return make


def scene(lab, library, target, env):
    path, token_env, label, pin = target
    return lab.client("probes", "scene", library, label, pin, env={**token_env, **env}).stdout


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["mock32", "softhsm", pytest.param("token", marks=pytest.mark.inprocess)])
def test_each_where_it_belongs(lab, module, name, way):
    target = module(name)
    library, env = lab.traced(way, target[0], "traced", probe="all")
    said = scene(lab, library, target, env)
    assert said == scene(lab, target[0], target, {}), "the application sees a difference"
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert probes(trace) == [(reason, function) for _, reason, function in SCENE]
    assert {c.rv for c in trace.calls if is_probe(c)} == {0}
    for call in trace.calls:
        call.arguments()
    # PR1 asks the other session, PR4 another one than made the object, PR2 the one that searches.
    handles = [c.argument("hSession")[0] for c in in_order(trace) if is_probe(c)]
    a, b = handles[:2]
    assert handles == [a, b, b, b, a, a, a, a, a, a, a]
    if name != "mock32":
        classes = [c.argument("pTemplate")[1] for c in in_order(trace) if is_probe(c) and c.name == CLASS]
        assert len(classes) == 5 and len({str(c) for c in classes}) == 4, "data twice, the keys"


@pytest.mark.parametrize("way", WAYS)
def test_off_by_default(lab, module, way):
    target = module("mock32")
    library, env = lab.traced(way, target[0])
    scene(lab, library, target, env)
    trace = lab.trace()
    assert not [r for r in trace.records if r.flags & PROBE]
    assert 18 not in trace.fields, "no option is in force"


@pytest.mark.parametrize("words", ["state", "find", "object", "open", "removal", "state,open", "off", "notify"])
def test_each_alone(lab, module, words):
    target = module("mock32")
    library = lab.wrap(target[0], probe=words)
    scene(lab, library, target, {})
    trace = lab.trace()
    assert probes(trace) == [(r, f) for word, r, f in SCENE if word in words.split(",")]
    if words != "off":
        assert trace.fields[18] == [f"probe={words}\n".encode()]


def test_removal(lab):
    """The slot's answer changes three times while there are sessions, and once when there are none any more."""
    said = lab.client("probes", "removed", lab.wrap("mock32", probe="removal"), env={"MOCK_REMOVE": 1}).stdout
    assert said == lab.client("probes", "removed", lab.mock("mock32"), env={"MOCK_REMOVE": 1}).stdout
    assert said.count("present 0") == 2 and said.count("present 1") == 1
    trace = lab.trace()
    assert probes(trace) == [("C_GetSlotInfo", STATE)] * 6


def test_the_others_at_most_eight(lab):
    """PR1 asks eight of many sessions, read/write ones and others."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from cryptoki import Module
with Module(sys.argv[2]) as m:
    sessions = [m.open_session(1, rw=i >= 10) for i in range(20)]
    sessions[0].login("1234")
"""
    lab.run("/usr/bin/python3", "-c", code, ROOT / "tests", lab.wrap("mock32", probe="state"))
    asked = [c.argument("hSession")[0]["number"] for c in in_order(lab.trace()) if is_probe(c)]
    assert len(asked) == len(set(asked)) == 8 and 0x100 not in asked
    assert len([h for h in asked if h >= 0x10a]) == 4


def test_only_does_not_hide_them(lab, module):
    """What is not recorded is watched all the same; what the recorder asks is recorded."""
    target = module("mock32")
    scene(lab, lab.wrap(target[0], probe="all", only="C_Login"), target, {})
    trace = lab.trace()
    assert own_calls(trace) == {"C_Login": 2}
    assert [c.name for c in in_order(trace) if is_probe(c)] == [function for _, _, function in SCENE]


# --- never in the way ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("way", WAYS)
def test_never_while_a_key_is_used(lab, way):
    """A card that forgets its key when it is asked anything: with all that calls for a probe done in between, in other
    sessions and in this one, it keeps it."""
    fragile = {"MOCK_FRAGILE": 1}
    library, env = lab.traced(way, "mock32", probe="all")
    said = lab.client("probes", "quiet", library, env={**env, **fragile}).stdout
    assert said == lab.client("probes", "quiet", lab.mock("mock32"), env=fragile).stdout
    assert re.search(r"C_Sign = 0x0", said) and "C_DecryptFinal = 0x0" in said and "0x101" not in said
    trace = lab.trace()
    assert probes(trace) == [("C_OpenSession", STATE)] * 3, "two before it all, one after"
    assert counted(trace.calls)["C_OpenSession"] == 3 + 5


def test_the_card_is_fragile(lab):
    said = lab.client("probes", "asked", lab.wrap("mock32"), env={"MOCK_FRAGILE": 1}).stdout
    assert "C_Sign = 0x101" in said


@pytest.mark.threads
@pytest.mark.parametrize("slow", [0, 20])
def test_threads_and_a_fragile_card(lab, slow, count):
    """Eight threads sign, log in, search and close at once; no probe ever meets a key in use, nor a session that another
    thread closes."""
    rounds, seen = count(2_000), set()
    for _ in range(10):
        p = lab.client("probes", "race", lab.wrap("mock32", probe="all"), 8, rounds,
                       env={"MOCK_FRAGILE": 1, "MOCK_SLOW": slow}, timeout=200)
        made = int(re.search(r"calls (\d+)", p.stdout)[1])
        trace = lab.trace()
        assert_nothing_lost(trace)
        asked = [c for c in trace.calls if is_probe(c)]
        assert len(trace.calls) - len(asked) == made + 1, "C_GetFunctionList is the one more"
        assert len(asked) > rounds and {c.rv for c in asked} == {0}, "a probe met a closed session"
        seen |= {c.name for c in asked}
        if seen >= {STATE, CLASS}:
            break  # a loaded machine may leave no room for the second in one race
        for file in lab.files():
            file.unlink()
    assert seen >= {STATE, CLASS}


@pytest.mark.nosan
@pytest.mark.parametrize("how, fn", [("throw", "C_Sign"), ("jump", "C_Sign"), ("nested", "C_Sign")])
def test_left_in_other_ways(lab, how, fn):
    p = lab.client("unwind", how, lab.wrap("mock32", probe="all,notify"), 300, env={"MOCK_NOTIFY": fn})
    assert p.stdout == "left 300\n"
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert own_calls(trace)["C_Sign"] == 300


@pytest.mark.nosan
def test_cancelled_threads(lab):
    p = lab.client("threads", "cancel", lab.wrap("mock32", probe="all"), 20, env={"MOCK_HANG": "C_Sign"})
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert own_calls(trace)["C_GetSessionInfo"] == 20 * 20
    assert "calls" in p.stdout


@pytest.mark.nosan
@pytest.mark.parametrize("how", ["between", "clone", "inside", "busy"])
def test_forks(lab, how):
    """A child's sessions are its own: those of the parent are not asked."""
    env = {"MOCK_FORK": "C_Sign"} if how == "inside" else {}
    said = lab.client("forks", how, lab.wrap("mock32", probe="all"), env=env).stdout
    assert len(re.findall(r"^child", said, re.M)) == (30 if how == "busy" else 1)
    traces = [t for t in lab.traces() if t.fields.get(3)]
    assert len(traces) >= 1
    for child in traces:
        assert child.damage == []
        for i, call in enumerate(calls := in_order(child)):
            if is_probe(call):
                assert calls[i - 1].name == "C_OpenSession" and call.rv == 0
                assert calls[i - 1].argument("phSession")[1] == call.argument("hSession")[0]


def test_the_sessions_of_the_parent(lab):
    """Without C_Initialize a child's calls are in sessions that its table does not have: nobody is asked."""
    code = """
import os, sys
sys.path.insert(0, sys.argv[1])
from cryptoki import Module
with Module(sys.argv[2]) as m:
    sessions = [m.open_session(1), m.open_session(1)]
    child = os.fork()
    sessions[0].login("1234")
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
"""
    lab.run("/usr/bin/python3", "-c", code, ROOT / "tests", lab.wrap("mock32", probe="state"))
    asked = {bool(t.fields.get(3)): [c.name for c in t.calls if is_probe(c)] for t in lab.traces()}
    assert asked == {False: [STATE], True: []}
    assert all(own_calls(t)["C_Login"] == 1 for t in lab.traces())


def test_reload(lab):
    """A module that is unloaded with open sessions takes them with it, however often."""
    code = """
import _ctypes, sys
sys.path.insert(0, sys.argv[1])
from cryptoki import Module
for _ in range(100):
    m = Module(sys.argv[2])
    m.initialize()
    m.open_session(1)
    _ctypes.dlclose(m.library._handle)
"""
    lab.run("/usr/bin/python3", "-c", code, ROOT / "tests", lab.wrap("mock32", probe="open"))
    trace = lab.trace()
    assert probes(trace) == [("C_OpenSession", STATE)] * 100


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mock", ["mock240", "mock32"])
def test_transparent(lab, mock, way):
    """Every function with every argument wrong in every way."""
    library, env = lab.traced(way, mock, "one", probe="all,notify")
    direct = lab.client("transparency", "-a", lab.mock(mock), timeout=600).stdout.splitlines()
    traced = lab.client("transparency", "-a", library, env=env, timeout=600).stdout.splitlines()
    assert len(direct) > 500 and traced == direct
    (path,) = lab.files()
    assert any(is_probe(c) for c in p11t_reader.read(path).calls)


@pytest.mark.nosan
@pytest.mark.timeout(900)
def test_transparent_on_softhsm(lab, long):
    token = lab.token("direct")
    shutil.copytree(lab.tmp / "direct", lab.tmp / "copy")
    copy = lab.tmp / "copy" / "softhsm2.conf"
    copy.write_text(token.conf.read_text().replace("/direct/", "/copy/"))
    arguments = ["-n", 1 if long else 16, "-r", "-p", token.pin]
    library = lab.wrap(softhsm.MODULE, "softhsm", probe="all,notify")
    direct = lab.client("transparency", *arguments, softhsm.MODULE, env=token.env, timeout=600).stdout.splitlines()
    traced = lab.client("transparency", *arguments, library, env={"SOFTHSM2_CONF": copy}, timeout=600).stdout.splitlines()
    assert len(direct) > 100 and traced == direct


# --- notify -------------------------------------------------------------------------------------------------------------

def test_callbacks(lab):
    """Each Notify is two records, with what the application does in it between them."""
    library = lab.wrap("mock32", probe="notify")
    said = lab.client("unwind", "nested", library, 5, env={"MOCK_NOTIFY": "C_Sign"}).stdout
    assert said == "left 5\n"
    trace = lab.trace()
    assert_nothing_lost(trace)
    records = [r for r in trace.records if r.kind == 10]
    bodies = []
    for r in records:
        c = p11t_reader.Cursor(r.body)
        bodies.append((c.n(), c.n(), c.u(), c.u()))
        assert not c.left()
    assert bodies == [(1, 1, 0x100, 0), (2, 1, 0x100, 0)] * 5
    signs = [c for c in trace.calls if c.name == "C_Sign"]
    inner = [c for c in trace.calls if c.name == STATE][:5]
    for sign, begins, call, ends in zip(signs, records[::2], inner, records[1::2]):
        assert sign.number < begins.number < call.number < call.leave.number < ends.number < sign.leave.number
    text = lab.p11trace("dump", lab.out).stdout
    assert text.count("--- module 1: Notify(hSession=0x100, event=CKN_SURRENDER) is called ---") == 5
    assert text.count("--- module 1: Notify(hSession=0x100) = CKR_OK ---") == 5


@pytest.mark.parametrize("words", ["open", "open,notify"])
def test_what_a_probe_leads_to_is_a_probe(lab, words):
    """The module calls back while it is asked: what the application does there is not of its own accord."""
    said = lab.client("probes", "called", lab.wrap("mock32", probe=words), env={"MOCK_NOTIFY": STATE}).stdout
    assert said.startswith("notified of session 0x100, event 0, by its own pointer\n")
    trace = lab.trace()
    assert_nothing_lost(trace)
    asked = [c for c in in_order(trace) if is_probe(c)]
    assert [c.name for c in asked] == [STATE, "C_GetInfo"]
    assert asked[0].number < asked[1].number < asked[1].leave.number < asked[0].leave.number
    assert own_calls(trace)["C_GetInfo"] == 1


def test_callbacks_are_not_touched_without(lab):
    lab.client("unwind", "nested", lab.wrap("mock32", probe="all"), 5, env={"MOCK_NOTIFY": "C_Sign"})
    assert not [r for r in lab.trace().records if r.kind == 10]


# --- what the verbs make of them ------------------------------------------------------------------------------------------

@pytest.fixture
def traced(lab, module):
    target = module("mock32")
    scene(lab, lab.wrap(target[0], probe="all"), target, {})
    return lab


def numbers(text):
    return [int(n) for n in re.findall(r"^#(\d+) [\d.]+ C_", text, re.M)]


def test_dump_and_filters(traced):
    def dump(*argv):
        return traced.p11trace("dump", *argv, traced.out).stdout
    calls = in_order(traced.trace())
    asked, own = [[c.number for c in calls if is_probe(c) == yes] for yes in (True, False)]
    assert len(asked) == len(SCENE)
    assert numbers(dump("-e", "probe")) == asked
    assert numbers(dump("-e", "!probe")) == own
    assert numbers(dump("-e", "probe", "-e", "fn=C_FindObjects")) == [c.number for c in calls if is_probe(c) and c.name == NEXT]
    marked = [line for line in dump().splitlines() if line.endswith(" <probe>")]
    assert [int(re.match(r"#(\d+)", line)[1]) for line in marked] == asked
    objects = [o for o in map(json.loads, dump("--json").splitlines()) if o["type"] == "call"]
    assert [o["call"] for o in objects if "probe" in o.get("flags", [])] == asked
    for wrong, at in (("probe=1", 6), ("!probes", 7), ("probe!", 6)):
        p = traced.p11trace("dump", "-e", wrong, traced.out, status=2)
        assert f"character {at} on; write probe or !probe" in p.stderr


def test_figures_are_the_applications(traced):
    own = own_calls(traced.trace())
    p = traced.p11trace("stat", traced.out).stdout
    assert p.startswith(f"{sum(own.values())} calls, 0 failed") and "(without 11 probe calls of the recorder)" in p
    stat = json.loads(traced.p11trace("stat", "--json", "--by", "fn", traced.out).stdout)
    assert stat["probes"] == 11 and {r["fn"]: r["calls"] for r in stat["rows"]} == own
    stat = json.loads(traced.p11trace("stat", "--json", "-e", "probe", traced.out).stdout)
    assert stat["calls"] == 11 and "probes" not in stat
    (path,) = traced.files()
    info = traced.p11trace("info", path).stdout
    assert re.search(rf"calls     {sum(own.values())} in 1 thread, 0 not CKR_OK, 11 probe calls\n", info)
    assert "probe=state,find,removal,object,open" in info
    (process,) = json.loads(traced.p11trace("info", "--json", path).stdout)["processes"]
    assert process["calls"] == sum(own.values()) and process["probes"] == 11


def test_flight_recorder(lab):
    """A probe that fails is no reason for a dump."""
    library = lab.wrap("mock32", probe="all", ring="1M", dump_on="fn=C_GetSessionInfo")
    lab.client("probes", "quiet", library)
    assert not [f for f in lab.files() if any(c.name == STATE for c in p11t_reader.read(f).calls)]


def test_wrong_words(lab):
    p = lab.run(lab.build / "p11trace", "wrap", lab.mock("mock32"), "--probe", "state,stat", status=2)
    assert "off state find removal object open notify all" in p.stderr
    library = lab.wrap("mock32")
    p = lab.client("probes", "asked", library, env={"P11TRACE_PROBE": "everything"})
    assert "P11TRACE_PROBE: probe=everything is not understood: give some of these, with commas between: off " in p.stderr
    assert not any(is_probe(c) for c in lab.trace().calls)
