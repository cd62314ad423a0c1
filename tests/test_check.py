"""The rules on traces of real clients: NSS's tools where NSS makes the call, tests/clients/check_client.c otherwise.

Client -> recorder -> tests/mocks/faulty.c with one named fault -> SoftHSM. Each row says which findings that gives, with
which calls as evidence; the same client without the fault must give none against the module."""
import json
import shutil
from dataclasses import dataclass

import pytest

from nss import LABEL, PIN, Server, Stage, softhsm

DB, TOKEN, WITH_PIN = ("-d", "sql:nssdb"), ("-h", LABEL), ("-f", "pin.txt")
E, W, I = "error", "warning", "info"
NEVER_SEEN_PIN = "newpin.txt"  # a PIN that the token does not have


class FaultyStage(Stage):
    """A stage with a second token, and with the faulty module where the others have SoftHSM."""

    def _make(self):
        super()._make()
        self.direct()
        self.must("softhsm2-util", "--init-token", "--free", "--label", "Second", "--pin", PIN, "--so-pin", "second-so")
        self.module.unlink()
        shutil.rmtree(self.base)
        shutil.copytree(self.folder, self.base, symlinks=True)

    def broken(self, fault):
        self.reset()
        faulty = self.build / "tests" / "mocks" / "faulty.so"
        self.must(self.build / "p11trace", "wrap", faulty, "-o", self.module, "--out", self.traces, "--quiet")
        self.env.update(P11FAULTY=fault, P11FAULTY_MODULE=str(softhsm()))

    def check(self, *options):
        return self.run(self.build / "p11trace", "check", *options, self.traces)


@pytest.fixture(scope="module")
def stage(build, tmp_path_factory):
    return FaultyStage(tmp_path_factory.mktemp("check"), build)


# --- clients ----------------------------------------------------------------------------------------------------------

def client(action):
    def run(stage):
        stage.run(stage.build / "tests" / "clients" / "check_client", stage.module, LABEL, PIN, action)
    return run


def tool(*argv):
    def run(stage):
        stage.run(*argv)
    return run


def add_module(stage):
    stage.run("modutil", "-force", "-dbdir", "sql:nssdb", "-delete", "The module")
    for trace in stage.traces.glob("*"):
        trace.unlink()  # that of the deletion
    stage.run("modutil", "-force", "-dbdir", "sql:nssdb", "-add", "Again", "-libfile", stage.module)


def tls(stage):
    with Server(stage, "tls1_2") as server:
        stage.run("tstclnt", "-4", "-h", "localhost", "-p", server.port, *DB, "-n", f"{LABEL}:user", "-W", "pins.txt",
                  "-V", "tls1.2:tls1.2", "-A", "request")


def login_then_keys(stage):
    """NSS does not log in when the flag is clear; that a PIN exists is known from another program."""
    stage.run("pkcs11-tool", "--module", stage.module, "--token-label", LABEL, "--login", "--pin", PIN, "-O")
    stage.run("certutil", "-K", *DB, *TOKEN, *WITH_PIN)


CLIENTS = {
    "modutil -list": tool("modutil", "-dbdir", "sql:nssdb", "-list"),
    "modutil -add": add_module,
    "certutil -K": tool("certutil", "-K", *DB, *TOKEN, *WITH_PIN),
    "certutil -K wrong PIN": tool("certutil", "-K", *DB, *TOKEN, "-f", NEVER_SEEN_PIN),
    "certutil -L": tool("certutil", "-L", *DB, *TOKEN, *WITH_PIN),
    "certutil -L -n": tool("certutil", "-L", *DB, *TOKEN, *WITH_PIN, "-n", f"{LABEL}:user"),
    "certutil -K all": tool("certutil", "-K", *DB, "-h", "all", "-f", "pins.txt"),
    "tstclnt": tls,
    "pkcs11-tool, certutil -K": login_then_keys,
    **{f"client {a}": client(a) for a in ("tour", "badpin", "samepin", "null", "nullargs", "parallel", "label", "remove",
                                          "threads", "fork")},
}

# What the application itself does, with the healthy module too.
NULL_SESSION = ("NSS-SESS-01", I, "caller")
BY_THE_CALLER = {
    "client null": {NULL_SESSION}, "client nullargs": {NULL_SESSION},
    "client parallel": {("NSS-SESS-03", E, "caller")},
    "client label": {("NSS-CERT-01", W, "caller"), ("NSS-CERT-01", I, "module")},  # its own certificates, of no key
}


@dataclass
class Row:
    fault: str
    client: str
    rule: str
    severity: str
    evidence: list  # the functions of the numbered calls, in order
    also: tuple = ()  # findings that the fault brings with it


INFO, LOGIN, STATE = "C_GetTokenInfo", "C_Login", "C_GetSessionInfo"
READ = "C_GetAttributeValue"

ROWS = [
    Row("nul-pad", "modutil -list", "P11-INIT-07", E, [INFO]),
    Row("nul-pad", "certutil -K", "P11-INIT-07", E, [INFO]),
    Row("bad-utf8", "modutil -list", "P11-INIT-07", E, [INFO]),
    Row("version-1", "modutil -add", "NSS-INIT-06", E, ["C_Initialize", "C_GetInfo"]),
    Row("version-20", "modutil -add", "NSS-INIT-06", W, ["C_Initialize", "C_GetInfo"]),
    Row("info-flags", "modutil -list", "NSS-INIT-06", W, ["C_Initialize", "C_GetInfo"]),
    Row("info-fail", "modutil -add", "NSS-INIT-06", E, ["C_Initialize", "C_GetInfo"]),
    Row("slot-grow", "modutil -list", "NSS-SLOT-01", E, ["C_GetSlotList", "C_GetSlotList"]),
    Row("slot-general", "modutil -list", "NSS-SLOT-01", E, ["C_GetSlotList", "C_GetSlotList"]),
    Row("slot-twice", "modutil -list", "NSS-SLOT-01", E, ["C_GetSlotList"], also=("NSS-TOK-01",)),
    Row("dup-label", "modutil -list", "NSS-TOK-01", E, [INFO, INFO]),
    Row("dup-label", "certutil -K", "NSS-TOK-01", E, [INFO, INFO]),
    Row("empty-label", "modutil -list", "NSS-TOK-01", W, [INFO]),
    Row("nss-label", "modutil -list", "NSS-TOK-01", W, [INFO]),
    Row("no-pininit-flag", "pkcs11-tool, certutil -K", "NSS-TOK-03", E, [INFO, LOGIN]),
    Row("no-pininit-flag", "client tour", "NSS-TOK-03", E, [INFO, LOGIN]),
    Row("rw-state-wrong", "certutil -K", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("rw-flag-wrong", "client tour", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("serial-clear", "client tour", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("state-99", "certutil -K", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("slot-wrong", "certutil -K", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("stale-state", "certutil -K", "NSS-LOGIN-09", E, [LOGIN, STATE]),
    Row("stale-state", "client tour", "NSS-LOGIN-09", E, [LOGIN, STATE]),
    Row("already-but-public", "tstclnt", "NSS-LOGIN-09", E, [LOGIN, STATE]),
    Row("badpin-general", "certutil -K wrong PIN", "NSS-LOGIN-10", W, [LOGIN, "C_CloseAllSessions"]),
    Row("badpin-general", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-vendor", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-device", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-len", "client badpin", "NSS-LOGIN-10", W, [LOGIN, STATE]),
    Row("locked-incorrect", "certutil -K", "NSS-LOGIN-10", E, [INFO, LOGIN]),
    Row("session-dies,null-session-ok", "certutil -K", "NSS-SESS-01", E, [STATE, STATE]),
    Row("session-dies,null-session-general", "certutil -K", "NSS-SESS-01", E, [STATE, LOGIN]),
    Row("null-session-ok", "client null", "NSS-SESS-01", E, [STATE]),
    Row("parallel-ok", "client parallel", "NSS-SESS-03", E, ["C_OpenSession"]),
    Row("unavail-zero", "certutil -L", "P11-OBJ-03", W, [READ]),
    Row("unavail-ok", "certutil -L", "P11-OBJ-03", E, [READ]),
    # read alone, the label is missing in due form; and until it is read alone it seems to be
    Row("unavail-abort", "client tour", "P11-OBJ-03", E, [READ, READ], also=("NSS-CERT-01",)),
    Row("unavail-lie", "client tour", "P11-OBJ-03", E, [READ, READ], also=("NSS-CERT-01",)),
    Row("unavail-whole", "client tour", "P11-OBJ-03", W, [READ, READ]),
    Row("label-trailing", "certutil -L", "NSS-CERT-01", W, [READ]),
    Row("label-trailing", "certutil -L -n", "NSS-CERT-01", W, [READ]),
    Row("label-nul", "certutil -L", "NSS-CERT-01", W, [READ]),
    Row("label-empty", "certutil -L", "NSS-CERT-01", E, [READ, "C_FindObjects"]),
    Row("missing-label", "client tour", "NSS-CERT-01", E, [READ, READ]),
]


def run_check(stage, fault, name, *options):
    stage.broken(fault)
    CLIENTS[name](stage)
    assert list(stage.traces.glob("*.p11t")), "the client was not traced"
    p = stage.check("--json", *options)
    assert p.stderr == b""
    return p.status, json.loads(p.stdout)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r.rule}-{r.fault}-{r.client}".replace(" ", "_"))
@pytest.mark.nss
def test_fault_is_found(stage, row):
    status, result = run_check(stage, row.fault, row.client)
    mine = [f for f in result["findings"] if f["rule"] == row.rule and f["fault"] == "module" and
            f["severity"] == row.severity]
    assert mine, [(f["rule"], f["severity"], f["sentence"]) for f in result["findings"]]
    assert row.evidence in [[e["function"] for e in f["evidence"]] for f in mine]
    for f in mine:
        calls = [(e["pid"], e["call"]) for e in f["evidence"]]
        assert all(number > 0 for _, number in calls)
        assert f["module"].endswith("/faulty.so") and f["sentence"] and f["symptom"] and f["advice"]
    others = {(f["rule"], f["severity"], f["fault"]) for f in result["findings"] if f["rule"] != row.rule}
    expected = {x for x in BY_THE_CALLER.get(row.client, ()) if x[0] != row.rule}
    assert {rule for rule, _, _ in others - expected} <= set(row.also)
    assert status == (1 if result["summary"]["errors"] else 0)


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.nss
def test_healthy_module_is_not_accused(stage, name):
    status, result = run_check(stage, "none", name)
    assert {(f["rule"], f["severity"], f["fault"]) for f in result["findings"]} == BY_THE_CALLER.get(name, set())
    assert status == (1 if name == "client parallel" else 0)
    assert result["summary"]["calls"] > 5 and result["summary"]["rules"] == 12


@pytest.mark.nss
def test_nss_goes_on_with_session_0(stage):
    """A session that is gone is no fault by itself; what NSS does then is said, with where."""
    _, result = run_check(stage, "session-dies", "certutil -K")
    (f,) = result["findings"]
    assert (f["rule"], f["severity"], f["fault"]) == NULL_SESSION
    gone, used = f["evidence"]
    assert (gone["function"], gone["rv"], used["function"]) == (STATE, "CKR_SESSION_HANDLE_INVALID", STATE)
    assert f["count"] == 2, "C_Login(0) follows"
    assert "hSession=0x0" in used["text"] and "libnss3.so+0x" in used["detail"]


@pytest.mark.parametrize("fault, name", [("absent-after-login", "client remove"), ("badpin-general", "client samepin"),
                                         ("stale-state", "client null"), ("missing-label", "client null")])
def test_explained_answers_are_not_reported(stage, fault, name):
    """The card was pulled; the PIN was right; there was no login; nothing was read."""
    _, result = run_check(stage, fault, name)
    assert {(f["rule"], f["severity"], f["fault"]) for f in result["findings"]} == BY_THE_CALLER.get(name, set())


def test_evidence_is_what_dump_shows(stage):
    """Number, time, thread and return code of each evidence line are those of the call in the trace."""
    _, result = run_check(stage, "stale-state", "certutil -K")
    (f,) = result["findings"]
    dumped = {}
    for line in stage.must(stage.build / "p11trace", "dump", "--json", stage.traces).stdout.splitlines():
        e = json.loads(line)
        if e["type"] == "call":
            dumped[e["call"]] = e
    for e in f["evidence"]:
        d = dumped[e["call"]]
        assert (d["fn"], d["end"], d["rv"], d["pid"], d["tid"]) == (e["function"], e["return"], e["rv"], e["pid"], e["tid"])
        assert d["start"] / 1e9 == pytest.approx(e["time"], abs=1e-6)
    login, state = f["evidence"]
    assert login["call"] < state["call"] and "state=CKS_RO_PUBLIC_SESSION" in state["text"]


def test_a_prompt_loop_counts_its_prompts(stage):
    """Every use of the key asks for the PIN again."""
    stage.broken("already-but-public")
    tls(stage)
    p = stage.check("--rule", "NSS-LOGIN-09")
    assert p.status == 1 and b"NSS-LOGIN-09 error module slot " in p.stdout
    assert b"why NSS cares: Firefox asks for the PIN for ever" in p.stdout


def test_no_pin_in_the_findings(stage):
    for fault, name in (("badpin-general", "client badpin"), ("stale-state", "certutil -K")):
        run_check(stage, fault, name)
        for options in ((), ("--json",)):
            out = stage.check(*options).stdout
            assert out and PIN.encode() not in out and b"not the PIN" not in out
