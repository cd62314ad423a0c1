"""The rules of the login state, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action
from fault_matrix import E, INFO, LOGIN, OPEN, STATE, W, Row, assert_healthy, client, healthy, matrix, run_row

CLOSE, CLOSE_ALL, INITIALIZE = "C_CloseSession", "C_CloseAllSessions", "C_Initialize"
PROBES = ("--probe", "all")

for each in ("states", "otherstate", "askinfo", "closeother", "closedigest", "samesetpin"):
    action(each)
for then in ("state", "login"):
    client(f"client reopen {then}")(lambda stage, then=then: stage.check_client("reopen", then))
client("client bothslots")(lambda stage: stage.check_client("bothslots", "Second"))

ROWS = [
    Row("login-not-propagated", "client states", "NSS-LOGIN-01", E, [LOGIN, STATE, STATE, STATE]),
    Row("login-not-propagated", "client otherstate", "NSS-LOGIN-01", E, [LOGIN, STATE, STATE]),
    # NSS does not ask the session again that logged in: the card may have been reset.
    Row("login-not-propagated", "tstclnt", "NSS-LOGIN-01", W, [LOGIN, STATE, OPEN, STATE], wrap=PROBES),
    # Its only read-only session is that of the login.
    Row("split-state", "certutil -S", "NSS-LOGIN-01", E, [LOGIN, OPEN, STATE, STATE], wrap=PROBES),

    Row("split-state", "client states", "NSS-LOGIN-02", E, [STATE, STATE, STATE]),

    Row("probe-logs-out", "client askinfo", "NSS-LOGIN-04", E, [LOGIN, STATE, INFO, STATE]),
    Row("info-logs-out", "client states", "NSS-LOGIN-04", W, [LOGIN, STATE, STATE]),

    Row("always-user", "certutil -K", "NSS-LOGIN-05", E, [INITIALIZE, STATE]),
    Row("always-user", "client tour", "NSS-LOGIN-05", E, [INITIALIZE, STATE]),

    Row("always-public", "tstclnt", "NSS-LOGIN-09", E, [LOGIN, STATE], also=("NSS-LOGIN-07",)),
    Row("already-but-public", "client tour", "NSS-LOGIN-09", E, [LOGIN, STATE]),

    Row("slot-bleed", "client bothslots", "NSS-LOGIN-17", W, [STATE, LOGIN, STATE]),

    Row("sticky-login", "client reopen state", "NSS-SESS-07", E, [LOGIN, CLOSE_ALL, OPEN, STATE]),
    Row("sticky-login", "client reopen login", "NSS-SESS-07", E, [STATE, CLOSE_ALL, OPEN, LOGIN]),

    Row("close-logs-out", "client closeother", "NSS-SESS-08", E, [LOGIN, STATE, CLOSE, STATE]),
    Row("rv=C_Digest:CKR_OPERATION_NOT_INITIALIZED", "client closedigest", "NSS-SESS-08", E,
        ["C_DigestInit", CLOSE, "C_Digest"]),
    Row("close-logs-out", "certutil -K", "NSS-SESS-08", E, ["C_FindObjects", CLOSE, "C_GetAttributeValue"]),

    Row("setpin-logs-out", "client samesetpin", "NSS-PIN-04", W, [STATE, "C_SetPIN", STATE]),
    Row("setpin-logs-out", "modutil -changepw", "NSS-PIN-04", W, [LOGIN, "C_SetPIN", STATE]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
