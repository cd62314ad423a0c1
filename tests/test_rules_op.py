"""The rules of operations, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action
from fault_matrix import E, INFO, OPEN, W, Row, assert_healthy, client, healthy, matrix, run_row
from nss import LABEL

INIT, SIGN, DIGEST_INIT, DIGEST, FINAL, RANDOM = ("C_SignInit", "C_Sign", "C_DigestInit", "C_DigestUpdate",
                                                 "C_DigestFinal", "C_GenerateRandom")
for each in ("idle", "lengths", "random", "verify", "starved"):
    action(each)


@client("pkcs11-tool --generate-random")
def generate_random(stage):
    stage.run("pkcs11-tool", "--module", stage.module, "--token-label", LABEL, "--generate-random", 64)


def digests_on_token(stage):
    """From now on NSS digests on the token."""
    stage.must("modutil", "-force", "-dbdir", "sql:nssdb", "-default", "The module", "-mechanisms", "SHA1:SHA256")

ROWS = [
    Row("final-general", "client idle", "P11-OP-01", E, [OPEN, FINAL]),
    Row("op-sticky", "certutil -S", "P11-OP-02", E, [OPEN, INIT]),
    Row("query-consumes", "client lengths", "P11-OP-03", E, [DIGEST_INIT, FINAL, FINAL]),
    Row("query-too-small", "client lengths", "P11-OP-03", E, [FINAL]),
    Row("query-short", "client lengths", "P11-OP-03", E, [INIT, SIGN, SIGN]),
    Row("too-small-kills", "client lengths", "P11-OP-04", E, [DIGEST_INIT, FINAL, FINAL]),
    Row("too-small-len", "client lengths", "P11-OP-04", E, [SIGN]),
    Row("overflow-len", "tstclnt", "P11-OP-05", E, [SIGN]),
    Row("max-sess-1,no-opstate", "client starved", "NSS-OP-06", E, [OPEN, DIGEST_INIT, "C_GetOperationState"]),
    Row("max-sess-1,no-opstate", "certutil -S", "NSS-OP-06", E, [OPEN, DIGEST_INIT, "C_GetOperationState"],
        prepare=digests_on_token),
    # NSS makes room for r and s only, and the DER is made to fit: its bytes must be seen.
    Row("ecdsa-der", "certutil -S ec", "NSS-OP-07", E, [INIT, SIGN], wrap=("--capture=clear",)),
    Row("rsa-short", "certutil -S", "NSS-OP-07", E, [INIT, SIGN]),
    Row("rng-needs-login", "modutil -list", "NSS-OP-08", W, [INFO, RANDOM]),
    Row("rng-needs-login", "pkcs11-tool --generate-random", "NSS-OP-08", E, [INFO, RANDOM]),
    Row("rng-constant", "client random", "P11-OP-09", E, [RANDOM, RANDOM]),
    Row("rng-zero", "modutil -list", "P11-OP-09", E, [RANDOM]),
    Row("verify-general", "client verify", "P11-OP-10", W, ["C_VerifyInit", "C_Verify"]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
