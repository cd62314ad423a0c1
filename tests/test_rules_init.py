"""The rules of loading, initialising and static information, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import NULL_SESSION, action
from fault_matrix import E, I, INFO, OPEN, STATE, W, Row, assert_healthy, client, healthy, matrix, run_row

INIT, FINAL, INTERFACE, WAIT = "C_Initialize", "C_Finalize", "C_GetInterface", "C_WaitForSlotEvent"
REFUSES_PARAMETERS = ("NSS-INIT-04", E, "caller")

action("double")
action("finalized", caller={("P11-INIT-05", I, "caller")})
for each in ("reinit", "verify32", "wait2"):
    action(each)


@client("modutil -rawadd", known={"softhsm": {REFUSES_PARAMETERS}})
def with_parameters(stage):
    """A module of NSS's database with `parameters=`, which our token takes."""
    stage.run("modutil", "-force", "-dbdir", "sql:nssdb", "-delete", "The module")
    for trace in stage.traces.glob("*"):
        trace.unlink()
    stage.run("modutil", "-force", "-dbdir", "sql:nssdb", "-rawadd",
              f'library="{stage.module}" name="Again" parameters="kdf-cost=4"')
    stage.run("modutil", "-dbdir", "sql:nssdb", "-list")


def nss_slot(stage, what):
    stage.run(stage.build / "tests" / "clients" / "nss_slot", "sql:nssdb", "The module", what)


@client("nss cancel", known={"softhsm": {NULL_SESSION}})
def cancel(stage):
    """SECMOD_CancelWait: C_Finalize and C_Initialize behind NSS's back."""
    nss_slot(stage, "cancel")


@client("nss wait")
def wait(stage):
    nss_slot(stage, "wait")


ROWS = [
    Row("iface-fail", "modutil -add", "NSS-INIT-01", E, [INTERFACE, INTERFACE]),
    Row("iface-fail", "modutil -list", "NSS-INIT-01", E, [INTERFACE, INTERFACE]),
    Row("fake-32", "client verify32", "NSS-INIT-02", E, [INTERFACE, "C_VerifySignatureInit"]),
    Row("cant-lock", "modutil -list", "NSS-INIT-03", W, [INIT, INIT]),
    Row("cant-lock", "certutil -K", "NSS-INIT-03", W, [INIT, INIT]),
    Row("params-bad", "modutil -rawadd", "NSS-INIT-04", E, [INIT], side="caller", backends=("token",)),
    Row("none", "modutil -rawadd", "NSS-INIT-04", E, [INIT], side="caller", backends=("softhsm",)),
    Row("double-init-ok", "client double", "P11-INIT-05", E, [INIT, INIT]),
    Row("noinit-ok", "client finalized", "P11-INIT-05", E, [FINAL, "C_GetInfo"]),
    Row("version-1", "modutil -add", "NSS-INIT-06", E, [INIT, "C_GetInfo"]),
    Row("version-20", "modutil -add", "NSS-INIT-06", W, [INIT, "C_GetInfo"]),
    Row("info-flags", "modutil -list", "NSS-INIT-06", W, [INIT, "C_GetInfo"]),
    Row("info-fail", "modutil -add", "NSS-INIT-06", E, [INIT, "C_GetInfo"]),
    Row("nul-pad", "modutil -list", "P11-INIT-07", E, [INFO]),
    Row("nul-pad", "certutil -K", "P11-INIT-07", E, [INFO]),
    Row("bad-utf8", "modutil -list", "P11-INIT-07", E, [INFO]),
    Row("null-entry", "modutil -list", "NSS-INIT-08", E, [INTERFACE]),
    Row("null-entry", "client tour", "NSS-INIT-08", E, ["C_GetFunctionList"]),
    Row("wait-general", "nss wait", "NSS-INIT-08", W, [WAIT, WAIT]),
    Row("wait-general", "client wait2", "NSS-INIT-08", W, [WAIT, WAIT]),
    Row("rv=C_FindObjectsInit:CKR_FUNCTION_NOT_SUPPORTED", "certutil -L", "NSS-INIT-08", E, ["C_FindObjectsInit"]),
    Row("reuse-after-reinit", "client reinit", "NSS-INIT-09", E, [OPEN, FINAL, INIT, STATE]),
    Row("fork-ok", "client fork", "P11-INIT-10", W, ["C_GetInfo"], backends=("token",)),
    Row("none", "client fork", "P11-INIT-10", W, ["C_GetInfo"], backends=("softhsm",)),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
