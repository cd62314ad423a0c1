"""The rules of time and threads, each proved by a fault and by its absence: see fault_matrix.py.

Faults take as little time as their rules ask for. What a machine under load must not be accused of is told exactly in
test_check_perf.py."""
from fault_clients import action
from fault_matrix import INFO, LOGIN, STATE, W, Row, assert_healthy, healthy, matrix, run_row

for each in ("poll", "waitlogin", "waitsign", "race"):
    action(each)

ROWS = [
    Row("slow-info=25", "client poll", "NSS-PERF-01", W, [INFO] * 3),
    Row("global-lock=540", "client waitlogin", "NSS-PERF-02", W, [LOGIN, STATE] * 3),
    Row("slow-sign-lock=540", "client waitsign", "NSS-PERF-02", W, ["C_Sign", STATE] * 3, backends=("token",)),
    Row("race-window", "client race", "NSS-PERF-03", W, ["C_FindObjectsInit"] * 3, also=("P11-RV-02",)),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
