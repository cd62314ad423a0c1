"""The harness of the rules finds fault with a row that is wrong: otherwise all of them would pass."""
from dataclasses import replace

import pytest

from fault_matrix import E, INFO, LOGIN, STATE, W, Case, Row, assert_healthy, run_row

GOOD = Row("stale-state", "certutil -K", "NSS-LOGIN-09", E, [LOGIN, STATE])

pytestmark = pytest.mark.nss


def test_good_row(fault_stage):
    run_row(fault_stage("token"), GOOD)


@pytest.mark.parametrize("wrong", [
    dict(fault="none"), dict(client="modutil -list"), dict(rule="NSS-LOGIN-03"), dict(severity=W),
    dict(evidence=[STATE, LOGIN]), dict(evidence=[LOGIN]), dict(side="caller"), dict(fault="stale-state,serial-clear"),
    dict(fault="stale-state@C_GetSessionInfo:1000")], ids=str)
def test_wrong_row(fault_stage, wrong):
    with pytest.raises(AssertionError):
        run_row(fault_stage("token"), replace(GOOD, **wrong))


def test_what_is_found_without_the_fault_proves_nothing(fault_stage):
    """SoftHSM answers in a forked child itself."""
    row = Row("fork-ok", "client fork", "P11-INIT-10", W, ["C_GetInfo"])
    run_row(fault_stage("token"), row)
    with pytest.raises(AssertionError, match="without the fault too"):
        run_row(fault_stage("softhsm"), row)
    run_row(fault_stage("softhsm"), replace(row, fault="none"))


def test_error_of_the_same_rule_is_another_finding(fault_stage):
    row = Row("nss-label", "modutil -list", "NSS-TOK-01", W, [INFO])
    with pytest.raises(AssertionError):
        run_row(fault_stage("token"), row)


def test_other_findings_may_be_named(fault_stage):
    run_row(fault_stage("token"), replace(GOOD, fault="stale-state,serial-clear", also=("NSS-LOGIN-03",)))


def test_healthy_is_not_taken_for_granted(fault_stage):
    """A client that does wrong itself, and that is not known for it."""
    import fault_matrix
    stage = fault_stage("token")
    known = fault_matrix.CLIENTS["client parallel"]
    assert_healthy(stage, Case("client parallel", "token"))
    more = frozenset({("NSS-LOGIN-09", E, "module")})
    try:
        for wrong in (dict(caller=frozenset()), dict(caller=known.caller | more), dict(known={"token": more})):
            fault_matrix.CLIENTS["client parallel"] = replace(known, **wrong)
            with pytest.raises(AssertionError):
                assert_healthy(stage, Case("client parallel", "token"))
    finally:
        fault_matrix.CLIENTS["client parallel"] = known


def test_friendly_and_probes_reach_the_client(fault_stage):
    """A FRIENDLY module is searched without a login; a probe is in the trace."""
    stage = fault_stage("token")
    for friendly, logins in ((False, 1), (True, 0)):
        stage.broken("none", friendly=friendly)
        stage.run("certutil", "-L", "-d", "sql:nssdb", "-h", "Stage", "-f", "pin.txt")
        assert stage.must(stage.build / "p11trace", "dump", "-e", "fn=C_Login", stage.traces).stdout.count(b"C_Login(") == \
            logins
    shown = []
    for wrap in ((), ("--probe", "all")):
        stage.broken("none", wrap=wrap)
        stage.check_client("tour")
        shown.append(b"probe" in stage.must(stage.build / "p11trace", "dump", stage.traces).stdout)
    assert shown == [False, True]
