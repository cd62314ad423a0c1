"""The rules of objects, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_matrix import E, READ, W, Row, assert_healthy, healthy, matrix, run_row

ROWS = [
    Row("unavail-zero", "certutil -L", "P11-OBJ-03", W, [READ]),
    Row("unavail-ok", "certutil -L", "P11-OBJ-03", E, [READ]),
    # read alone, the label is missing in due form; and until it is read alone it seems to be
    Row("unavail-abort", "client tour", "P11-OBJ-03", E, [READ, READ], also=("NSS-CERT-01",)),
    Row("unavail-lie", "client tour", "P11-OBJ-03", E, [READ, READ], also=("NSS-CERT-01",)),
    Row("unavail-whole", "client tour", "P11-OBJ-03", W, [READ, READ]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
