"""The rules of keys, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action
from fault_matrix import E, I, READ, W, Row, assert_healthy, healthy, matrix, run_row
from test_rules_cert import second_user

FIND, MAKE, PAIR, SET = "C_FindObjects", "C_CreateObject", "C_GenerateKeyPair", "C_SetAttributeValue"
MOVES = ("NSS-KEY-07", I, "caller")
COPIES, TAKES = ("NSS-KEY-08", W, "caller"), ("NSS-KEY-08", I, "caller")
NAMES = ("NSS-KEY-03", I, "caller")

action("movekey", caller={MOVES})
action("otherslot", known={"token": {MOVES}})  # SoftHSM answers CKR_USER_NOT_LOGGED_IN
action("secret", caller={COPIES, TAKES})
action("namepair", caller={NAMES})

ROWS = [
    Row("no-modulus", "tstclnt", "NSS-KEY-01", E, [FIND, READ]),
    Row("no-modulus", "certutil -S", "NSS-KEY-01", E, [PAIR, READ]),
    Row("no-key-type", "certutil -K", "NSS-KEY-01", E, [FIND, READ]),

    Row("swap-handles", "certutil -S", "NSS-KEY-02", E, [PAIR, READ]),
    Row("no-usage", "client namepair", "NSS-KEY-02", W, [PAIR, READ]),

    Row("id-readonly", "certutil -S", "NSS-KEY-03", E, [PAIR, SET]),
    Row("id-readonly", "certutil -S ec", "NSS-KEY-03", E, [PAIR, SET]),

    Row("no-import,no-keygen-mech", "certutil -S", "NSS-KEY-04", E, ["C_GetTokenInfo", MAKE]),
    Row("no-keygen-mech,no-import", "certutil -S ec", "NSS-KEY-04", E, ["C_GetTokenInfo", MAKE]),

    Row("raw-ecpoint", "certutil -S ec", "NSS-KEY-05", W, [READ]),
    Row("compressed-ecpoint", "certutil -S ec", "NSS-KEY-05", W, [READ]),
    Row("bad-ecparams", "certutil -S ec", "NSS-KEY-05", W, [READ]),

    Row("wrong-pair", "tstclnt", "NSS-KEY-06", E, [READ, READ], prepare=second_user),

    Row("none", "client movekey", *MOVES[:2], [FIND, READ], side="caller"),

    Row("none", "client otherslot", *MOVES[:2], [FIND, "C_SignInit"], side="caller",
        backends=("token",)),

    Row("none", "client secret", *COPIES[:2], [MAKE, "C_CopyObject"], side="caller"),

    Row("no-token-attr", "certutil -K", "NSS-KEY-09", E, [FIND, READ]),
    Row("token-attr-false", "certutil -K", "NSS-KEY-09", E, [FIND, READ]),
    Row("no-token-attr,max-sess-1", "certutil -K", "NSS-KEY-09", E, [FIND, READ]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)


def test_keys_that_nss_has_deleted(fault_stage):
    """What NSS does to a key of which it cannot read CKA_TOKEN is said in the finding: copied and nearly deleted
    through its read-only session, deleted where the only session is read/write."""
    for fault, sentence in (("no-token-attr", "the application takes the user's key for a temporary one"),
                            ("no-token-attr,max-sess-1", "the application has deleted the user's key")):
        _, result = fault_stage("token").judge(fault, "certutil -K")
        (finding,) = [f for f in result["findings"] if f["rule"] == "NSS-KEY-09"]
        assert finding["sentence"].startswith(sentence)


def test_key_that_stays_as_an_orphan(fault_stage):
    _, result = fault_stage("token").judge("id-readonly", "certutil -S")
    (finding,) = [f for f in result["findings"] if f["rule"] == "NSS-KEY-03"]
    assert finding["sentence"].endswith("(CKR_SESSION_READ_ONLY): the token keeps an orphan key")
