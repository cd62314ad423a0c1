"""The rules of token information, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action
from fault_matrix import (E, I, INFO, LOGIN, OPEN, READ, STATE, W, Row, assert_healthy, client, healthy, matrix,
                          run_row)
from nss import PIN
from test_rules_login import blank_token

NO_PIN = {("NSS-TOK-06", E, "caller")}
for each in ("keys", "look", "write", "sessions"):
    action(each)
action("pad", caller=NO_PIN)


@client("client firstpin")
def first_pin(stage):
    stage.run(stage.build / "tests" / "clients" / "check_client", stage.module, "Second", PIN, "firstpin", "second-so")


ROWS = [
    Row("dup-label", "modutil -list", "NSS-TOK-01", E, [INFO, INFO]),
    Row("dup-label", "certutil -K", "NSS-TOK-01", E, [INFO, INFO]),
    Row("empty-label", "modutil -list", "NSS-TOK-01", W, [INFO]),
    Row("nss-label", "modutil -list", "NSS-TOK-01", W, [INFO], also=("NSS-TOK-01",)),  # both tokens have it

    Row("colon-label", "modutil -list", "NSS-TOK-02", W, [INFO]),
    Row("colon-label", "certutil -L -n", "NSS-TOK-02", W, [INFO]),

    Row("no-pininit-flag", "pkcs11-tool, certutil -K", "NSS-TOK-03", E, [INFO, LOGIN]),
    Row("no-pininit-flag", "client tour", "NSS-TOK-03", E, [INFO, LOGIN]),
    Row("certs-say-private,no-pininit-flag", "client look", "NSS-TOK-03", E, [INFO, READ],
        also=("P11-FIND-05",)),

    Row("no-loginreq-flag", "certutil -S", "NSS-TOK-04", E, [INFO, "C_GenerateKeyPair"]),
    Row("no-loginreq-flag", "client keys", "NSS-TOK-04", E, [INFO, "C_FindObjects", LOGIN, "C_FindObjects"]),

    Row("stale-flags", "client firstpin", "NSS-TOK-05", W, [INFO, "C_InitToken", INFO], also=("NSS-PIN-03",)),
    Row("stale-flags", "modutil first PIN", "NSS-TOK-05", W, [INFO, "C_InitPIN", INFO], also=("NSS-TOK-03",),
        backends=("token",), prepare=blank_token),

    Row("pinpad-args", "certutil -K", "NSS-TOK-06", E, [INFO, LOGIN]),
    Row("pinpad-args", "client pad", "NSS-TOK-06", E, [INFO, LOGIN]),
    Row("pinpad-args", "client tour", "NSS-TOK-06", W, [INFO, LOGIN], side="caller"),
    Row("none", "client pad", "NSS-TOK-06", E, [INFO, LOGIN], side="caller"),

    Row("wp-lie", "certutil -S", "NSS-TOK-07", W, [INFO, OPEN]),
    Row("wp-lie", "pk12util -i", "NSS-TOK-07", W, [INFO, OPEN]),
    Row("wp-ignored", "client write", "NSS-TOK-07", W, [INFO, "C_CreateObject"]),
    Row("rw-ignored", "client write", "NSS-TOK-07", W, [OPEN, STATE]),

    Row("early-session-count", "client sessions", "NSS-TOK-08", W, [INFO, OPEN]),
    Row("max-sess-1,early-session-count=0", "certutil -K", "NSS-TOK-08", W, [INFO, OPEN]),
    Row("session-limit-lie", "client sessions", "NSS-TOK-08", W, [INFO, OPEN]),
    Row("session-count-0", "client sessions", "NSS-TOK-08", W, [INFO]),
    Row("session-limit-lie=12", "modutil -list", "NSS-TOK-08", I, [INFO]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
