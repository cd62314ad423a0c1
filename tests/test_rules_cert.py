"""The rules of certificates, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_matrix import E, READ, W, Row, assert_healthy, healthy, matrix, run_row

ROWS = [
    Row("label-trailing", "certutil -L", "NSS-CERT-01", W, [READ]),
    Row("label-trailing", "certutil -L -n", "NSS-CERT-01", W, [READ]),
    Row("label-nul", "certutil -L", "NSS-CERT-01", W, [READ]),
    Row("label-empty", "certutil -L", "NSS-CERT-01", E, [READ, "C_FindObjects"]),
    Row("missing-label", "client tour", "NSS-CERT-01", E, [READ, READ]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
