"""p11trace diff: what a module answered otherwise, and what is no difference."""
import json
import re
import shutil
import xml.etree.ElementTree as ET

import pytest

import fault_clients  # noqa: F401
from fault_matrix import CLIENTS
from nss_scene import LABEL, Scene, pki  # noqa: F401
from p11t_make import u
from p11t_writer import (Writer, asked, attribute, filled, full, gives, length, lists, mechanism, number,
                         pointer, stored, tag, tagged, template, ulong)

READ_ONLY, USER_STATE, PUBLIC_STATE = 4, 1, 0
PROBE = 4
PRIVATE_KEY, CERTIFICATE = 3, 1
OK, PIN_INCORRECT, INCONSISTENT = 0, 0xA0, 0xD1


def diff(run, build, a, b, *options, status=1):
    """What diff says, as JSON."""
    p = run(build / "p11trace", "diff", "--json", *options, a, b, status=status)
    return json.loads(p.stdout)


def places(kind):
    return [(p["place"], p["a"], p["b"]) for p in kind["places"]]


def first(found):
    f = found["first"]
    return f["function"], f["kind"], places(f)


def functions(found):
    """{function: differences of it}"""
    return {f["function"]: f["answers"] + f["arguments"] + f["only_a"] + f["only_b"] for f in found["functions"]
            if f["answers"] + f["arguments"] + f["only_a"] + f["only_b"]}


# --- traces made byte by byte ---------------------------------------------------------------------------------------

class Story(Writer):
    """A client of one slot, whose handles and tags begin where they are told to."""

    def __init__(self, base=1, slot=1, **head):
        super().__init__(**head)
        self.base, self.slot, self.session, self.tags = base, slot, None, base * 1000

    def open(self):
        self.session = self.base
        self.base += 1
        self.call("C_OpenSession", number(self.slot), number(READ_ONLY), pointer(), pointer(), gives(self.session))
        return self.session

    def close(self):
        self.call("C_CloseSession", number(self.session))

    def login(self, rv=OK):
        self.tags += 1
        self.call("C_Login", number(self.session), number(1), tagged(4, self.tags), number(4), rv=rv)

    def state(self, state, times=1, session=None, **more):
        for _ in range(times):
            self.call("C_GetSessionInfo", number(session or self.session), filled(4, u(self.slot), u(state), u(4), u(0)), **more)

    def find(self, kind, *handles, label=None, session=None):
        session = session or self.session
        attributes = [attribute(0, ulong(kind), 8)] + ([attribute(3, full(label), len(label))] if label else [])
        self.call("C_FindObjectsInit", number(session), template(*attributes), number(len(attributes)))
        self.call("C_FindObjects", number(session), lists(*handles), number(10), gives(len(handles)))
        self.call("C_FindObjectsFinal", number(session))

    def label(self, handle, text, session=None):
        self.call("C_GetAttributeValue", number(session or self.session), number(handle),
                  asked((3, 64, len(text), full(text))), number(1))

    def sign(self, key, size=64, rv=OK, type=0x1041, session=None):
        session = session or self.session
        self.tags += 2
        self.call("C_SignInit", number(session), mechanism(type), number(key))
        self.call("C_Sign", number(session), tagged(32, self.tags), number(32), stored(tag(size, self.tags + 1)),
                  length(256, size), rv=rv)


def usual(base=1, slot=1, polls=1, lookups=1, **answers):
    """Opens, looks for two keys, logs in, signs."""
    s = Story(base, slot)
    one, two = 0x10 * base, 0x20 * base
    s.module(path=answers.get("module", "/lib/vendor.so"))
    s.open()
    answers.get("early", lambda story: None)(s)
    s.state(PUBLIC_STATE, polls)
    s.login(answers.get("login", OK))
    s.state(answers.get("state", USER_STATE), polls)
    s.find(PRIVATE_KEY, *answers.get("found", (one, two)))
    for _ in range(lookups):
        s.label(one, answers.get("label", b"first"))
    s.label(two, b"second")
    s.find(PRIVATE_KEY, answers.get("second", two), label=b"second")
    s.sign(two, answers.get("size", 64), type=answers.get("type", 0x1041))
    s.close()
    return s


@pytest.fixture
def save(tmp_path):
    def save(name, story):
        path = tmp_path / f"{name}.p11t"
        path.write_bytes(story if isinstance(story, bytes) else story.bytes())
        return path
    return save


def test_handles_tags_and_times_are_no_difference(run, build, save):
    a, b = save("a", usual()), save("b", usual(base=7))
    p = run(build / "p11trace", "diff", a, b)
    assert p.stdout == f"A  {a}: 15 calls of client on vendor.so\nB  {b}: 15 calls of client on vendor.so\nno difference\n"
    assert p.stderr == ""
    found = diff(run, build, a, b, status=0)
    assert found["same"] and found["first"] is None and found["differences"] == [] and functions(found) == {}


def test_the_slot_is_known_by_its_place(run, build, save):
    """Sessions are called after their slots, slots after their place in the list."""
    def listed(*slots):
        s = Story(slot=slots[1])
        s.call("C_GetSlotList", number(0), lists(*slots), length(2, 2))
        s.open()
        s.state(PUBLIC_STATE)
        return s

    assert diff(run, build, save("a", listed(1, 2)), save("b", listed(77, 99)), status=0)["same"]
    swapped = Story(slot=77)
    swapped.call("C_GetSlotList", number(0), lists(77, 99), length(2, 2))
    swapped.open()
    assert not diff(run, build, save("a", listed(1, 2)), save("c", swapped))["same"]


def test_polls_and_repeated_reads_are_one(run, build, save):
    a, b = save("a", usual()), save("b", usual(polls=200, lookups=5))
    found = diff(run, build, a, b, status=0)
    assert [f["calls_b"] for f in found["functions"] if f["function"] == "C_GetSessionInfo"] == [400]


def test_cycles_of_polls(run, build, save):
    """As a browser that idles: two questions in turn, and no event."""
    def idle(turns, then):
        s = Story()
        s.open()
        for _ in range(turns):
            s.state(PUBLIC_STATE)
            s.call("C_WaitForSlotEvent", number(1), gives(None), pointer(), rv=8)
        s.call("C_WaitForSlotEvent", number(1), gives(1), pointer())
        s.state(then)
        return s

    assert diff(run, build, save("a", idle(3, 0)), save("b", idle(1000, 0)), status=0)["same"]
    found = diff(run, build, save("a", idle(3, 0)), save("c", idle(700, 1)))
    assert first(found) == ("C_GetSessionInfo", "answer",
                            [("pInfo.state", "CKS_RO_PUBLIC_SESSION", "CKS_RO_USER_FUNCTIONS")])
    assert found["first"]["b"]["call"] == 1 + 2 + 4 * 700 + 2, "the last of all calls"


@pytest.mark.parametrize("answers, function, kind, place", [
    (dict(login=PIN_INCORRECT, state=PUBLIC_STATE), "C_Login", "answer", [("rv", "CKR_OK", "CKR_PIN_INCORRECT")]),
    (dict(state=PUBLIC_STATE), "C_GetSessionInfo", "answer",
     [("pInfo.state", "CKS_RO_USER_FUNCTIONS", "CKS_RO_PUBLIC_SESSION")]),
    (dict(found=(0x10,)), "C_FindObjects", "answer", [("phObject", "[0x10, 0x20]", "[0x10]"), ("*pulObjectCount", "2", "1")]),
    (dict(label=b"First"), "C_GetAttributeValue", "answer", [("pTemplate CKA_LABEL", '"first"', '"First"')]),
    (dict(second=0x10), "C_FindObjects", "answer", [("phObject", "[0x20]", "[0x10]")]),
    (dict(size=70), "C_Sign", "answer", [("*pulSignatureLen", "64", "70")]),
    (dict(type=0x1042), "C_SignInit", "arguments", [("pMechanism", "{CKM_ECDSA}", "{CKM_ECDSA_SHA1}")]),
], ids=lambda v: v if isinstance(v, str) else "")
def test_the_first_difference(run, build, save, answers, function, kind, place):
    found = diff(run, build, save("a", usual()), save("b", usual(**answers)))
    assert first(found) == (function, kind, place)
    for side in "ab":
        call = found["first"][side]
        assert call["text"].startswith(f"#{call['call']} ") and f" {function}(" in call["text"]
        assert len(call["before"]) == (2 if function == "C_Login" else 3) and call["after"]


def test_history_of_the_first(run, build, save):
    """The session, the login and where the key came from."""
    found = diff(run, build, save("a", usual()), save("b", usual(size=70)))
    for side in "ab":
        assert [re.match(r"#\d+ [\d.]+ (\w+)\(", line)[1] for line in found["first"][side]["history"]] == [
            "C_OpenSession", "C_Login", "C_SignInit"]


def test_text(run, build, save):
    a, b = save("a", usual()), save("b", usual(state=PUBLIC_STATE))
    out = run(build / "p11trace", "diff", a, b, status=1).stdout
    opened = "#2 C_OpenSession(slotID=1, flags=CKF_SERIAL_SESSION, pApplication=NULL, Notify=NULL, phSession -> 0x1) = CKR_OK"
    login = "#6 C_Login(hSession=0x1, userType=CKU_USER, pPin=<4 bytes, tag 00000000>, ulPinLen=4) = CKR_OK"
    info = ("C_GetSessionInfo(hSession=0x1, pInfo -> {slotID=1, state=%s, flags=CKF_SERIAL_SESSION, ulDeviceError=0}) = "
            "CKR_OK")

    def side(letter, state):
        return f"""  {letter}
       {opened}
       #4 {info % "CKS_RO_PUBLIC_SESSION"}
       {login}
    >  #8 {info % state}
       #10 C_FindObjectsInit(hSession=0x1, pTemplate={{CKA_CLASS=CKO_PRIVATE_KEY}}, ulCount=1) = CKR_OK
       #12 C_FindObjects(hSession=0x1, phObject -> [0x10, 0x20], ulMaxObjectCount=10, pulObjectCount -> 2) = CKR_OK
    what it rests on
       {opened}
       {login}
"""

    assert re.sub(r" [\d.]+ C_", " C_", re.sub(r" <[\d.]+>", "", out)) == f"""\
A  {a}: 15 calls of client on vendor.so
B  {b}: 15 calls of client on vendor.so

first difference: C_GetSessionInfo, the same question, another answer
  pInfo.state
    A  CKS_RO_USER_FUNCTIONS
    B  CKS_RO_PUBLIC_SESSION
{side("A", "CKS_RO_USER_FUNCTIONS")}{side("B", "CKS_RO_PUBLIC_SESSION")}
function                       A calls   B calls   answers arguments    A only    B only
C_GetSessionInfo                     2         2         1         0         0         0
"""


def test_what_the_application_did_otherwise_comes_second(run, build, save):
    """An extra search first, another answer later: the answer is what is told, and that something was before it."""
    b = usual(label=b"First", early=lambda story: story.find(CERTIFICATE))
    a, b = save("a", usual()), save("b", b)
    found = diff(run, build, a, b)
    assert first(found) == ("C_GetAttributeValue", "answer", [("pTemplate CKA_LABEL", '"first"', '"First"')])
    assert functions(found) == {"C_GetAttributeValue": 1, "C_FindObjectsInit": 1, "C_FindObjects": 1, "C_FindObjectsFinal": 1}
    assert "before it the application itself did otherwise, first B #4 C_FindObjectsInit: in B only\n" in run(
        build / "p11trace", "diff", a, b, status=1).stdout


def test_probes_are_left_out(run, build, save):
    b = usual()
    b.state(PUBLIC_STATE, times=3, flags=3 | PROBE)
    assert diff(run, build, save("a", usual()), save("b", b), status=0)["same"]


def test_long_sequences_are_aligned_in_windows(run, build, save):
    """Ten windows; a search more in the third and an answer in the eighth are all that differs."""
    def long(extra, wrong):
        s = Story()
        s.open()
        for i in range(12_000):
            if extra and i == 4_000:
                s.find(CERTIFICATE)
            if i % 100 == 99:
                s.frame()
            s.label(5, b"%d" % (i % 7 if not (wrong and i == 9_000) else 9))
            s.find(PRIVATE_KEY, 5)
        return s

    found = diff(run, build, save("a", long(False, False)), save("b", long(True, True)))
    assert first(found) == ("C_GetAttributeValue", "answer", [("pTemplate CKA_LABEL", '"5"', '"9"')])
    assert functions(found) == {"C_GetAttributeValue": 1, "C_FindObjectsInit": 1, "C_FindObjects": 1, "C_FindObjectsFinal": 1}


def threads(order, label=b"first", polls=1, extra=0):
    """Each letter of `order` is a thread that signs in a session of its own and reads through the first."""
    s = Story()
    shared = s.open()
    s.login()
    for i, letter in enumerate(order):
        s.frame()
        s.thread(100 + ord(letter), "pool")
        s.state(USER_STATE, polls, session=shared)
        s.find(PRIVATE_KEY, 0x77, session=shared)
        for _ in range(1 + (extra if i == 0 else 0)):
            s.label(0x77, label if i == 3 else b"first", session=shared)
        s.open()
        s.sign(0x77)
        s.close()
    return s


def test_threads_share_the_work_as_it_comes(run, build, save):
    a, b = save("a", threads("abcabc")), save("b", threads("aabbcabc", polls=4, extra=3))
    assert diff(run, build, a, b, status=0)["same"]


def test_an_answer_in_one_of_many_threads(run, build, save):
    found = diff(run, build, save("a", threads("abcabc")), save("b", threads("bacabcab", b"Other")))
    assert first(found) == ("C_GetAttributeValue", "answer", [("pTemplate CKA_LABEL", '"first"', '"Other"')])
    assert functions(found) == {"C_GetAttributeValue": 1}
    assert '"Other"' in found["first"]["b"]["text"] and "pool" in found["first"]["b"]["text"]


def test_more_logins_in_threads(run, build, save):
    again = threads("abcabc")
    again.login()
    found = diff(run, build, save("a", threads("abcabc")), save("b", again))
    assert found["first"]["function"] == "C_Login"


def test_a_filter_for_both(run, build, save):
    a, b = save("a", usual()), save("b", usual(label=b"First", size=70))
    assert functions(diff(run, build, a, b, "-e", "fn=%sign")) == {"C_Sign": 1}
    assert diff(run, build, a, b, "-e", "fn=%session", status=0)["same"]
    assert diff(run, build, a, b, "--calls", "1-12", status=0)["same"]
    p = run(build / "p11trace", "diff", "-e", "fn=C_Sing", a, b, status=2)
    assert "p11trace diff: " in p.stderr and "C_Sing" in p.stderr
    p = run(build / "p11trace", "diff", "-e", "fn=C_Encrypt", a, b, status=2)  # not "no difference"
    assert (p.stdout, p.stderr) == ("", "p11trace diff: no call of either trace passes -e and --calls\n")


def test_processes_are_paired_by_program(run, build, tmp_path):
    def folder(name, *programs):
        path = tmp_path / name
        path.mkdir()
        for i, program in enumerate(programs):
            s = Story(program=program, pid=100 + i, trace_id=bytes([i + 1] * 16))
            s.module()
            s.open()
            s.find(PRIVATE_KEY, 1) if program == "server" else s.find(CERTIFICATE, 1)
            (path / f"{i}.p11t").write_bytes(s.bytes())
        return path

    a = folder("a", "server", "client")
    assert diff(run, build, a, folder("b", "client", "server"), status=0)["same"]
    found = diff(run, build, a, folder("c", "server", "other"))
    assert [(x["side"], x["program"]) for x in found["one_side_only"]] == [("a", "client"), ("b", "other")]
    assert found["first"] is None and functions(found) == {}


def test_descriptions_are_told_and_no_difference(run, build, save):
    def info(version, text):
        s = Story()
        s.call("C_GetInfo", filled(1, bytes((2, 40)), full(b"maker".ljust(32)), u(0), full(text.ljust(32)), bytes(version)))
        return s

    a, b = save("a", info((1, 0), b"library")), save("b", info((1, 1), b"library"))
    found = diff(run, build, a, b, status=0)
    assert [places(d) for d in found["descriptions"]] == [[("pInfo.libraryVersion", "1.0", "1.1")]]
    assert "the modules describe themselves otherwise, which is no difference\n  C_GetInfo pInfo.libraryVersion: 1.0 -> 1.1," in \
        run(build / "p11trace", "diff", a, b).stdout


def test_junit(run, build, save, tmp_path):
    a, b = save("a", usual()), save("b", usual(label=b"<First>&", size=70))
    p = run(build / "p11trace", "diff", "-q", "--junit", tmp_path / "x.xml", a, b, status=1)
    assert p.stdout == p.stderr == ""
    suite = ET.parse(tmp_path / "x.xml").getroot()[0]
    cases = {c.get("name"): c.find("failure") for c in suite}
    assert suite.get("tests") == str(len(cases)) and suite.get("failures") == "2"
    assert {name for name, failure in cases.items() if failure is not None} == {"C_GetAttributeValue", "C_Sign"}
    assert cases["C_GetAttributeValue"].get("message") == "the first difference"
    assert 'pTemplate CKA_LABEL: "first" -> "<First>&"' in cases["C_GetAttributeValue"].text
    assert oct((tmp_path / "x.xml").stat().st_mode & 0o777) == "0o600"
    run(build / "p11trace", "diff", "-q", "--junit", "/nowhere/x.xml", a, a, status=2)


def test_a_damaged_trace_is_compared_as_far_as_it_goes(run, build, save):
    a = usual()
    a.frame()
    a.state(USER_STATE)
    whole = a.bytes()
    b = save("b", whole[:a.trace.sizes[0][0] + sum(size for size, _ in a.trace.sizes[1:5]) + 20])
    p = run(build / "p11trace", "diff", save("a", usual()), b, status=2)
    assert "no difference\n" in p.stdout and f"p11trace diff: {b}: " in p.stderr


def test_more_objects_than_have_names(run, build, save):
    """Those beyond are one to it, which is said."""
    def many(base):
        s = Story()
        s.open()
        for i in range(10):
            s.find(CERTIFICATE, *range(base + 500 * i, base + 500 * (i + 1)), label=b"%d" % i)
        return s
    a, b = save("a", many(1000)), save("b", many(9000))
    p = run(build / "p11trace", "diff", "--json", a, b)
    said = "p11trace diff: {}: searches found more than 4096 objects; 904 of them are not told from each other\n"
    assert p.stderr == said.format(a) + said.format(b)
    found = json.loads(p.stdout)
    assert [found[k]["objects_without_names"] for k in "ab"] == [904, 904]


def test_what_cannot_be_compared(run, build, save, tmp_path):
    a = save("a", usual())
    for args, what in (([a], "which two traces?"), (["-", "-"], "standard input"), ([a, tmp_path / "none.p11t"], "none.p11t"),
                       (["--color=red", a, a], "--color=red")):
        assert what in run(build / "p11trace", "diff", *args, status=2).stderr


def test_standard_input_and_color(run, build, save):
    a, b = save("a", usual()), save("b", usual(size=70))
    p = run(build / "p11trace", "diff", "--color=always", a, "-", status=1, input=b.read_bytes(), text=False)
    assert b"first difference: \x1b[1;31mC_Sign\x1b[0m" in p.stdout
    assert b"\x1b" not in run(build / "p11trace", "diff", "--color=never", a, b, status=1, text=False).stdout


# --- traces of real clients -----------------------------------------------------------------------------------------

@pytest.mark.nss
def test_two_runs_of_one_scenario(run, build, tmp_path, pki):  # noqa: F811
    """certutil, and a server and a client with eight threads, which share the work in another way each time."""
    scene = Scene(tmp_path, build, pki)
    scene.trust_ca()
    for name in ("server-ec", "user-ec"):
        scene.import_p12(name)
    scene.forget()

    def keep(name):
        scene.traces.rename(tmp_path / name)
        return tmp_path / name

    kept = []
    for i in range(2):
        scene.certutil("-K")
        kept.append(keep(f"keys{i}"))
        scene.certutil("-L")
        kept.append(keep(f"list{i}"))
        with scene.selfserv("server-ec", "-rr", "-t", 8) as server:
            scene("strsclnt", "-d", "sql:nssdb", "-n", f"{LABEL}:user-ec", "-W", "pins.txt", "-c", 40 + 10 * i, "-t", 8, "-N",
                  "-V", "tls1.2:tls1.3", "-p", server.port, "localhost", status=None, timeout=120)
        kept.append(keep(f"tls{i}"))
    for a, b in zip(kept[:3], kept[3:]):
        assert run(build / "p11trace", "diff", a, b, status=None).stdout.endswith("no difference\n")
    assert run(build / "p11trace", "diff", kept[0], kept[1], status=1).stdout.count("first difference: C_Login, in A only")


def client_trace(stage, fault, name, to):
    stage.broken(fault)
    CLIENTS[name].run(stage)
    shutil.rmtree(to, ignore_errors=True)
    shutil.move(stage.traces, to)
    return to


# What the module answers otherwise, and the first call that shows it.
FAULTS = [
    ("cant-lock", "certutil -K", "C_Initialize", ["rv"]),
    ("info-flags", "modutil -list", "C_GetInfo", ["pInfo.flags"]),
    ("nul-pad", "certutil -K", "C_GetTokenInfo", ["pInfo.label"]),
    ("stale-state", "certutil -K", "C_GetSessionInfo", ["pInfo.state"]),
    ("badpin-general", "client badpin", "C_Login", ["rv"]),
    ("perm-absent", "modutil -list", "C_GetSlotInfo", ["pInfo.flags"]),
    ("nss-class-error", "modutil -list", "C_FindObjectsInit", ["rv"]),
    ("find-twice", "certutil -L", "C_FindObjects", ["phObject", "*pulObjectCount"]),
    ("find-final-error", "certutil -L", "C_FindObjectsFinal", ["rv"]),
    ("wrong-issuer", "certutil -L", "C_GetAttributeValue", ["pTemplate CKA_ISSUER"]),
    ("cert-tail", "certutil -L", "C_GetAttributeValue", ["pTemplate CKA_VALUE's length"]),
    ("id-mismatch", "certutil -K", "C_GetAttributeValue", ["pTemplate CKA_ID"]),
    ("id-overwritten", "certutil -S", "C_GetAttributeValue", ["pTemplate CKA_ID"]),  # of a key that is new each time
    ("no-modulus", "tstclnt", "C_GetAttributeValue", ["rv"]),
    ("rv=C_Sign:CKR_FUNCTION_FAILED", "tstclnt", "C_Sign", ["rv"]),
    ("setpin-len", "modutil -changepw", "C_SetPIN", ["rv"]),
]


@pytest.mark.nss
@pytest.mark.parametrize("fault, name, function, place", FAULTS, ids=[f[0].split(":")[0] for f in FAULTS])
def test_a_fault_is_the_first_difference(run, build, fault_stage, tmp_path_factory, fault, name, function, place):
    stage = fault_stage("token")
    good = stage.folder.parent / f"good-{name.replace(' ', '_')}"
    if not good.exists():
        client_trace(stage, "none", name, good)
        again = client_trace(stage, "none", name, tmp_path_factory.mktemp("again") / "t")
        assert diff(run, build, good, again, status=0)["same"]
    bad = client_trace(stage, fault, name, tmp_path_factory.mktemp("bad") / "t")
    found = diff(run, build, good, bad)
    got = first(found)
    assert (*got[:2], [p[0] for p in got[2]]) == (function, "answer", place)


@pytest.mark.nss
def test_our_token_beside_softhsm(run, build, fault_stage, tmp_path):
    """What differs is named by function, and what each calls itself is no difference."""
    kept = []
    for backend in ("token", "softhsm"):
        kept.append(client_trace(fault_stage(backend), "none", "client tour", tmp_path / backend))
    found = diff(run, build, *kept)
    differing = functions(found)
    assert {"C_GetInfo", "C_GetSlotList", "C_GetTokenInfo"} <= set(differing)
    assert not {"C_Login", "C_OpenSession", "C_GetSessionInfo", "C_Sign", "C_FindObjectsInit"} & set(differing), differing
    assert found["descriptions"]
