"""Return codes."""
from fault_matrix import OPEN, READ, Row, W, assert_healthy, client, healthy, matrix, run_row
from nss import LABEL



@client("pkcs11-tool -O")
def objects(stage):
    stage.run("pkcs11-tool", "--module", stage.module, "--token-label", LABEL, "-O")


ROWS = [
    Row("rv=C_OpenSession:CKR_PIN_INCORRECT@1", "pkcs11-tool -O", "P11-RV-01", W, [OPEN]),
    Row("rv=C_FindObjectsInit:CKR_SIGNATURE_INVALID@1", "certutil -K", "P11-RV-01", W, ["C_FindObjectsInit"]),
    Row("rv=C_Sign:CKR_FUNCTION_FAILED", "tstclnt", "P11-RV-02", W, ["C_Sign"]),
    Row("rv=C_GetTokenInfo:0x80000063@1", "modutil -list", "P11-RV-02", W, ["C_GetTokenInfo"]),
    # With SoftHSM NSS gives up after the first.
    Row("rv=C_GetAttributeValue:CKR_FUNCTION_FAILED@9-14", "tstclnt", "P11-RV-02", W, [READ, READ], backends=("token",)),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
