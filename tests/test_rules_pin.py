"""The rules of PINs, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action
from fault_matrix import E, INFO, LOGIN, OPEN, STATE, W, Row, assert_healthy, healthy, matrix, run_row
from nss import NEW_PIN, SO_PIN

SET = "C_SetPIN"
action("setpin", NEW_PIN)
action("badsetpin")
action("notso", SO_PIN)
action("soalone", SO_PIN, caller={("NSS-PIN-03", W, "caller")})

ROWS = [
    Row("setpin-general", "modutil -changepw", "NSS-PIN-01", E, [OPEN, SET]),
    Row("setpin-general", "client setpin", "NSS-PIN-01", E, [OPEN, SET]),
    Row("setpin-len", "modutil -changepw", "NSS-PIN-01", E, [INFO, SET]),
    Row("setpin-ro", "client badsetpin", "NSS-PIN-01", E, [OPEN, SET]),
    Row("setpin-short", "client badsetpin", "NSS-PIN-01", W, [INFO, SET]),
    Row("setpin-user-only", "client setpin", "NSS-PIN-01", W, [OPEN, SET]),

    Row("setpin-noop", "client setpin", "NSS-PIN-02", E, [SET, LOGIN]),

    Row("initpin-anytime", "client notso", "NSS-PIN-03", W, [STATE, "C_InitPIN"]),
    Row("inittoken-anytime", "client notso", "NSS-PIN-03", W, [OPEN, "C_InitToken"]),
    Row("none", "client soalone", "NSS-PIN-03", W, [INFO, LOGIN], side="caller"),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
