"""The rules of login, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_matrix import E, INFO, LOGIN, STATE, W, Row, assert_healthy, healthy, matrix, run_row

ROWS = [
    Row("rw-state-wrong", "certutil -K", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("rw-flag-wrong", "client tour", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("serial-clear", "client tour", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("state-99", "certutil -K", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("slot-wrong", "certutil -K", "NSS-LOGIN-03", E, ["C_OpenSession", STATE]),
    Row("stale-state", "certutil -K", "NSS-LOGIN-09", E, [LOGIN, STATE]),
    Row("stale-state", "client tour", "NSS-LOGIN-09", E, [LOGIN, STATE]),
    Row("already-but-public", "tstclnt", "NSS-LOGIN-09", E, [LOGIN, STATE]),
    Row("badpin-general", "certutil -K wrong PIN", "NSS-LOGIN-10", W, [LOGIN, "C_CloseAllSessions"]),
    Row("badpin-general", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-vendor", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-device", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-len", "client badpin", "NSS-LOGIN-10", W, [LOGIN, STATE]),
    Row("locked-incorrect", "certutil -K", "NSS-LOGIN-10", E, [INFO, LOGIN]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
