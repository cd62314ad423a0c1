"""The rules of loading, initialising and static information, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_matrix import E, INFO, W, Row, assert_healthy, healthy, matrix, run_row

ROWS = [
    Row("nul-pad", "modutil -list", "P11-INIT-07", E, [INFO]),
    Row("nul-pad", "certutil -K", "P11-INIT-07", E, [INFO]),
    Row("bad-utf8", "modutil -list", "P11-INIT-07", E, [INFO]),
    Row("version-1", "modutil -add", "NSS-INIT-06", E, ["C_Initialize", "C_GetInfo"]),
    Row("version-20", "modutil -add", "NSS-INIT-06", W, ["C_Initialize", "C_GetInfo"]),
    Row("info-flags", "modutil -list", "NSS-INIT-06", W, ["C_Initialize", "C_GetInfo"]),
    Row("info-fail", "modutil -add", "NSS-INIT-06", E, ["C_Initialize", "C_GetInfo"]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
