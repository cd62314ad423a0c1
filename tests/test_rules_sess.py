"""The rules of sessions, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_matrix import E, LOGIN, STATE, Row, assert_healthy, healthy, matrix, run_row

ROWS = [
    Row("session-dies,null-session-ok", "certutil -K", "NSS-SESS-01", E, [STATE, STATE]),
    Row("session-dies,null-session-general", "certutil -K", "NSS-SESS-01", E, [STATE, LOGIN]),
    Row("null-session-ok", "client null", "NSS-SESS-01", E, [STATE]),
    Row("parallel-ok", "client parallel", "NSS-SESS-03", E, ["C_OpenSession"]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
