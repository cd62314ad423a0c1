"""The rules of token information, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_matrix import E, INFO, LOGIN, W, Row, assert_healthy, healthy, matrix, run_row

ROWS = [
    Row("dup-label", "modutil -list", "NSS-TOK-01", E, [INFO, INFO]),
    Row("dup-label", "certutil -K", "NSS-TOK-01", E, [INFO, INFO]),
    Row("empty-label", "modutil -list", "NSS-TOK-01", W, [INFO]),
    Row("nss-label", "modutil -list", "NSS-TOK-01", W, [INFO]),
    Row("no-pininit-flag", "pkcs11-tool, certutil -K", "NSS-TOK-03", E, [INFO, LOGIN]),
    Row("no-pininit-flag", "client tour", "NSS-TOK-03", E, [INFO, LOGIN]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
