"""The rules of sessions, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action
from fault_matrix import E, I, LOGIN, OPEN, READ, STATE, W, Row, assert_healthy, healthy, matrix, run_row

CLOSE, DIGEST, MAKE, FINAL = "C_CloseSession", "C_DigestUpdate", "C_CreateObject", "C_Finalize"
# What these clients do wrong themselves.
action("closed", caller={("NSS-SESS-04", W, "caller")})
action("shared", caller={("NSS-SESS-05", E, "caller")})
action("kept")
action("leaves", caller={("NSS-SESS-13", W, "caller")})
action("rowrite", caller={("NSS-SESS-10", W, "caller")})

ROWS = [
    Row("session-dies,null-session-ok", "certutil -K", "NSS-SESS-01", E, [STATE, STATE], also=("NSS-SLOT-07",)),
    Row("session-dies,null-session-general", "certutil -K", "NSS-SESS-01", E, [STATE, LOGIN], also=("NSS-SLOT-07",)),
    Row("null-session-ok", "client null", "NSS-SESS-01", E, [STATE]),
    Row("handle-recycle", "certutil -K", "NSS-SESS-02", I, [OPEN, CLOSE, OPEN]),
    Row("handle-recycle", "client closed", "NSS-SESS-02", W, [OPEN, CLOSE, OPEN]),
    Row("parallel-ok", "client parallel", "NSS-SESS-03", E, [OPEN]),
    Row("closed-ok", "client closed", "NSS-SESS-04", E, [OPEN, CLOSE, STATE]),
    Row("none", "client shared", "NSS-SESS-05", E, [DIGEST, DIGEST], side="caller"),
    Row("no-rw", "certutil -S", "NSS-SESS-06", E, ["C_GetTokenInfo", OPEN]),
    Row("session-objects-all-die", "client kept", "NSS-SESS-09", E, [OPEN, MAKE, CLOSE, READ]),
    Row("create-read-only", "certutil -A", "NSS-SESS-10", E, [OPEN, MAKE]),
    Row("none", "client rowrite", "NSS-SESS-10", W, [OPEN, MAKE], side="caller"),
    # NSS generates a key where the token can, and else brings one.
    Row("no-session-objects", "pk12util -i", "NSS-SESS-11", E, ["C_GenerateKey"], backends=("token",)),
    Row("no-session-objects@1", "pk12util -i", "NSS-SESS-11", E, [MAKE], backends=("softhsm",)),
    Row("notify-bad", "modutil -list", "NSS-SESS-12", E, [OPEN]),
    Row("none", "client leaves", "NSS-SESS-13", W, [OPEN, OPEN, OPEN, "C_DigestInit", FINAL], side="caller"),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
