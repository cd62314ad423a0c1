"""The rules on traces of real clients, with a fault and without: what all tests/test_rules_*.py share.

Client -> recorder -> libp11faulty.so with named faults -> our token, or SoftHSM. A test file of a group of rules is

    from fault_matrix import E, W, Row, assert_healthy, healthy, matrix, run_row

    ROWS = [Row("badpin-general", "client badpin", "NSS-LOGIN-10", E, ["C_Login", "C_Login"])]

    @matrix(ROWS)
    def test_fault_is_found(fault_stage, row, backend):
        run_row(fault_stage(backend), row)

    @healthy(ROWS)
    def test_healthy_module_is_not_accused(fault_stage, case):
        assert_healthy(fault_stage(case.backend), case)

Clients stand in fault_clients.py; a test file adds its own by @client("name")."""
import json
import shutil
from dataclasses import dataclass

import pytest

from nss import LABEL, PIN, Stage

E, W, I = "error", "warning", "info"
BACKENDS = ("token", "softhsm")
# The calls that stand in most evidence.
INFO, LOGIN, STATE, READ, OPEN = ("C_GetTokenInfo", "C_Login", "C_GetSessionInfo", "C_GetAttributeValue",
                                  "C_OpenSession")


@dataclass
class Row:
    """One fault, the client that meets it, and what p11trace check must say of the trace."""
    fault: str            # as in P11FAULTY: several with commas, calls after @
    client: str           # a name of CLIENTS
    rule: str
    severity: str
    evidence: list        # the functions of the numbered calls, in order
    also: tuple = ()      # rules of other findings that the fault brings with it
    backends: tuple = BACKENDS
    wrap: tuple = ()      # more options of p11trace wrap: probes
    friendly: bool = False  # the database knows the module as FRIENDLY: NSS then searches before it logs in
    check: tuple = ()     # more options of p11trace check
    prepare: object = None  # prepare(stage): runs before the client, on the healthy token without a recorder
    side: str = "module"  # whose fault it is

    @property
    def id(self):
        return f"{self.rule}-{self.fault}-{self.client}".replace(" ", "_")


@dataclass
class Client:
    run: object           # run(stage)
    caller: frozenset     # (rule, severity, side) of what it does with the healthy module too
    known: dict           # backend: the same, of what that module is known to do wrong or oddly


CLIENTS = {}


def client(name, caller=(), known=None):
    """@client("name") def run(stage): ...; the function may fail or crash, only its trace is looked at."""
    def add(run):
        assert name not in CLIENTS, f"there is a client {name} already"
        CLIENTS[name] = Client(run, frozenset(caller), {k: frozenset(v) for k, v in (known or {}).items()})
        return run
    return add


# What a healthy backend is known to deviate in, whichever the client: (rule, severity, side).
KNOWN = {"token": frozenset(),
         "softhsm": frozenset({("NSS-LOGIN-11", W, "module"), ("NSS-SLOT-03", I, "module")})}


class FaultStage(Stage):
    """A stage with a second token, a second database (FRIENDLY), and the faulty module in front of the token."""

    def __init__(self, folder, build, backend):
        self.runs = {}
        super().__init__(folder, build, backend)

    def _make(self):
        super()._make()
        self.direct()
        self.init_token("Second", "second-so")
        shutil.copytree(self.folder / "nssdb", self.folder / "friendly")
        self.must("modutil", "-force", "-dbdir", "sql:friendly", "-delete", "The module")
        self.must("modutil", "-force", "-dbdir", "sql:friendly", "-add", "The module", "-libfile", self.module,
                  "-mechanisms", "FRIENDLY")
        self.module.unlink()
        shutil.rmtree(self.base)
        shutil.copytree(self.folder, self.base, symlinks=True)

    def broken(self, fault, wrap=(), friendly=False, prepare=None):
        """A fresh stage whose module has these faults and is recorded."""
        self.reset()
        if friendly:
            shutil.rmtree(self.folder / "nssdb")
            (self.folder / "friendly").rename(self.folder / "nssdb")
        if prepare:
            self.direct()
            prepare(self)
            self.module.unlink()
        self.must(self.build / "p11trace", "wrap", self.build / "libp11faulty.so", "-o", self.module, "--out",
                  self.traces, "--quiet", *wrap)
        self.env.update(P11FAULTY=fault, P11FAULTY_MODULE=str(self.target))

    def check(self, *options):
        return self.run(self.build / "p11trace", "check", *options, self.traces)

    def judge(self, fault, name, check=(), **how):
        """(status, findings as in JSON) of the client with the fault."""
        self.broken(fault, **how)
        CLIENTS[name].run(self)
        assert list(self.traces.glob("*.p11t")), "the client was not traced"
        p = self.check("--json", *check)
        assert p.stderr == b""
        return p.status, json.loads(p.stdout)

    def check_client(self, action, *more):
        return self.run(self.build / "tests" / "clients" / "check_client", self.module, LABEL, PIN, action, *more)


def signature(finding):
    return finding["rule"], finding["severity"], finding["fault"]


def expected(stage, name):
    """What is found with the healthy module."""
    c = CLIENTS[name]
    return c.caller | c.known.get(stage.backend, frozenset()) | KNOWN[stage.backend]


def run_row(stage, row):
    """The row's rule is found first, with its severity and evidence, and no error of a rule that is not in `also`."""
    wanted = (row.rule, row.severity, row.side)
    # What is found without the fault too would prove nothing of it.
    assert row.fault == "none" or wanted not in expected(stage, row.client), "found without the fault too"
    status, result = stage.judge(row.fault, row.client, row.check, wrap=row.wrap, friendly=row.friendly,
                                 prepare=row.prepare)
    found = result["findings"]
    said = [(*signature(f), f["sentence"], [e["function"] for e in f["evidence"]]) for f in found]
    mine = [f for f in found if signature(f) == wanted]
    assert mine, said
    assert list(row.evidence) in [[e["function"] for e in f["evidence"]] for f in mine], said
    for f in mine:
        assert all(e["call"] > 0 for e in f["evidence"])
        assert f["module"].endswith("/libp11faulty.so") and f["sentence"] and f["symptom"]
        assert f["advice"] or row.side == "caller"  # the advice is for the side that the rule is about
    others = [f for f in found if signature(f) not in expected(stage, row.client) | {wanted}]
    assert set(row.also) <= {f["rule"] for f in others}, "nothing else is found"
    unrelated = [f for f in others if f["rule"] not in row.also]
    assert not [f for f in unrelated if f["severity"] == E], said
    assert not [f for f in unrelated if found.index(f) < found.index(mine[0])], said
    assert status == (1 if result["summary"]["errors"] else 0)


@dataclass(frozen=True)
class Case:
    """A client on the healthy module, as a row has it."""
    client: str
    backend: str
    wrap: tuple = ()
    friendly: bool = False
    check: tuple = ()
    prepare: object = None

    @property
    def id(self):
        more = ("-friendly" if self.friendly else "") + "".join(f"-{w}" for w in self.wrap)
        return f"{self.client}-{self.backend}{more}".replace(" ", "_")


def assert_healthy(stage, case):
    """The client on the module without a fault: nothing is found but what the client or the backend is known for. Each
    case runs once for all groups of rules."""
    if case not in stage.runs:
        stage.runs[case] = stage.judge("none", case.client, case.check, wrap=case.wrap, friendly=case.friendly,
                                       prepare=case.prepare)
    status, result = stage.runs[case]
    c, found = CLIENTS[case.client], {signature(f) for f in result["findings"]}
    assert found <= expected(stage, case.client), [(*signature(f), f["sentence"]) for f in result["findings"]]
    assert c.caller <= found, "the client does not do what it is known for"
    assert c.known.get(case.backend, frozenset()) <= found, "the module does not do what it is known for"
    assert status == (1 if result["summary"]["errors"] else 0)
    assert result["summary"]["calls"] > 5


def matrix(rows):
    """One test per row and backend."""
    return lambda f: pytest.mark.nss(pytest.mark.parametrize(
        "row, backend", [pytest.param(r, b, id=f"{r.id}-{b}") for r in rows for b in r.backends])(f))


def healthy(rows):
    """One test per client of the rows and backend."""
    cases = list(dict.fromkeys(Case(r.client, b, r.wrap, r.friendly, r.check, r.prepare)
                               for r in rows for b in r.backends))
    return lambda f: pytest.mark.nss(pytest.mark.parametrize("case", cases, ids=lambda c: c.id)(f))


import fault_clients  # noqa: E402,F401  the clients that all groups share
