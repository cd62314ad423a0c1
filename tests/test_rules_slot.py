"""The rules of slots, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_matrix import E, Row, assert_healthy, healthy, matrix, run_row

ROWS = [
    Row("slot-grow", "modutil -list", "NSS-SLOT-01", E, ["C_GetSlotList", "C_GetSlotList"]),
    Row("slot-general", "modutil -list", "NSS-SLOT-01", E, ["C_GetSlotList", "C_GetSlotList"]),
    Row("slot-twice", "modutil -list", "NSS-SLOT-01", E, ["C_GetSlotList"], also=("NSS-TOK-01",)),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
