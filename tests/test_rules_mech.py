"""The rules of mechanisms, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action, tool
from fault_matrix import E, I, W, Row, assert_healthy, client, healthy, matrix, run_row
from nss import LABEL, PIN

LIST, MECHANISM, SIGN_INIT, ENCRYPT_INIT = "C_GetMechanismList", "C_GetMechanismInfo", "C_SignInit", "C_EncryptInit"

for each in ("mechanisms", "encrypt", "pss"):
    action(each)
tool("pkcs11-tool -M", "pkcs11-tool", "--module", "./module.so", "--token-label", LABEL, "-M")


@client("client encrypt blind")
def encrypt_unasked(stage):
    stage.check_client("encrypt", "blind")


@client("pkcs11-tool PSS")
def own_parameters(stage):
    """PSS with SHA-1 for the mask: as nobody asks for it but to try."""
    stage.write("digest", "0123456789abcdef0123456789abcdef")
    stage.run("pkcs11-tool", "--module", stage.module, "--token-label", LABEL, "--login", "--pin", PIN, "--sign",
              "-m", "RSA-PKCS-PSS", "--hash-algorithm", "SHA256", "--mgf", "MGF1-SHA1", "-i", "digest", "-o", "sig")


ROWS = [
    Row("mech-second-fail", "modutil -list", "NSS-MECH-01", E, [LIST, LIST]),
    Row("mech-second-fail", "certutil -S", "NSS-MECH-01", E, [LIST, LIST]),
    Row("mech-info-invalid=1", "certutil -S", "NSS-MECH-01", E, [LIST, MECHANISM]),
    Row("mech-info-invalid", "client mechanisms", "NSS-MECH-01", E, [LIST, MECHANISM]),
    Row("mech-sizes", "certutil -S", "NSS-MECH-01", E, [MECHANISM]),
    Row("mech-sizes", "pkcs11-tool -M", "NSS-MECH-01", E, [MECHANISM]),
    Row("mech-lie=0x1041", "certutil -S ec", "NSS-MECH-02", E, [MECHANISM, SIGN_INIT]),
    Row("mech-lie", "client encrypt", "NSS-MECH-02", E, [MECHANISM, ENCRYPT_INIT]),
    Row("mech-lie", "client encrypt blind", "NSS-MECH-02", W, [LIST, ENCRYPT_INIT]),
    Row("mech-noflags", "certutil -S", "NSS-MECH-03", W, [MECHANISM]),
    Row("no-pss", "tstclnt 1.3", "NSS-MECH-04", E, [LIST, SIGN_INIT]),
    Row("no-pss", "client pss", "NSS-MECH-04", E, [MECHANISM, SIGN_INIT]),
    Row("pss-unlisted", "certutil -K", "NSS-MECH-04", I, [LIST, "C_GetAttributeValue"]),
    # SoftHSM's slots have no fixed order, and the fault is about the first.
    Row("split-slots", "tstclnt", "NSS-MECH-05", I, [LIST, LIST, SIGN_INIT], backends=("token",)),
    Row("asymmetric-only", "tstclnt", "NSS-MECH-05", I, [LIST, SIGN_INIT]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)


def test_pss_with_other_parameters_is_the_caller_s_affair(fault_stage):
    """The same fault, and a client that does not do what TLS 1.3 does."""
    status, result = fault_stage("token").judge("no-pss", "pkcs11-tool PSS")
    assert status == 0 and not [f for f in result["findings"] if f["rule"].startswith("NSS-MECH")]
