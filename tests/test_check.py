"""What `p11trace check` says besides the rules: of NSS itself, of answers that are explained, of its evidence.

Each rule has its rows in test_rules_GROUP.py; the harness is fault_matrix.py."""
import json

import pytest

from fault_clients import NULL_SESSION, tls
from fault_matrix import CLIENTS, STATE, expected, signature
from nss import PIN


@pytest.fixture
def stage(fault_stage):
    return fault_stage("softhsm")


@pytest.mark.nss
def test_nss_goes_on_with_session_0(stage):
    """A session is gone; what NSS does then is said, with where."""
    _, result = stage.judge("session-dies", "certutil -K")
    lost, *_ = result["findings"]
    assert lost["rule"] == "NSS-SLOT-07"
    (f,) = [f for f in result["findings"] if signature(f) == NULL_SESSION]
    gone, used = f["evidence"]
    assert (gone["function"], gone["rv"], used["function"]) == (STATE, "CKR_SESSION_HANDLE_INVALID", STATE)
    assert f["count"] == 2, "C_Login(0) follows"
    assert "hSession=0x0" in used["text"] and "libnss3.so+0x" in used["detail"]


@pytest.mark.parametrize("fault, name", [("removed", "client remove"), ("badpin-general", "client samepin"),
                                         ("stale-state", "client null"), ("missing-label", "client null")])
def test_explained_answers_are_not_reported(stage, fault, name):
    """The card was pulled; the PIN was right; there was no login; nothing was read."""
    _, result = stage.judge(fault, name)
    assert CLIENTS[name].caller <= {signature(f) for f in result["findings"]} <= expected(stage, name)


def test_evidence_is_what_dump_shows(stage):
    """Number, time, thread and return code of each evidence line are those of the call in the trace."""
    _, result = stage.judge("stale-state", "certutil -K")
    f, *_ = result["findings"]
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
        stage.judge(fault, name)
        for options in ((), ("--json",)):
            out = stage.check(*options).stdout
            assert out and PIN.encode() not in out and b"not the PIN" not in out
