"""The rules of searches, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action
from fault_matrix import E, I, INFO, READ, W, Row, assert_healthy, healthy, matrix, run_row
from nss import LABEL, P12_PASSWORD, PIN

INIT, FIND, FINAL, LOGOUT = "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_Logout"

action("searches")
action("badsearches", caller={("P11-FIND-01", W, "caller"), ("P11-FIND-01", I, "caller"),
                               ("NSS-FIND-02", I, "caller")})


def second_key(stage):
    """One more key and certificate on the token."""
    stage.must("pk12util", "-i", "other.p12", "-d", "sql:nssdb", "-h", LABEL, "-K", PIN, "-W", P12_PASSWORD)


ASKED = ("--probe=find",)  # the recorder asks once more before C_FindObjectsFinal

ROWS = [
    Row("find-end-error", "client searches", "P11-FIND-01", E, [INIT, FIND, FIND], also=("P11-RV-02",)),
    Row("find-end-error", "certutil -L", "P11-FIND-01", W, [INIT, FIND], backends=("token",)),
    # the search of SoftHSM goes on, and is in the way of the next
    Row("find-end-error", "certutil -L", "P11-FIND-01", W, [INIT, FIND], also=("NSS-FIND-02",), backends=("softhsm",)),
    Row("find-final-error", "certutil -L", "P11-FIND-01", E, [INIT, FIND, FINAL], also=("P11-RV-02",)),
    Row("find-nested-ok", "client badsearches", "P11-FIND-01", E, [INIT, INIT]),
    Row("find-err-sticky", "tstclnt", "NSS-FIND-02", E, [INIT, FIND, INIT]),
    Row("short-find", "client searches", "NSS-FIND-03", E, [INIT, FIND, FIND]),
    Row("short-find", "certutil -L", "NSS-FIND-03", E, [INIT, FIND, FIND], wrap=ASKED, prepare=second_key),
    Row("short-find", "certutil -K", "NSS-FIND-03", E, [INIT, FIND, FIND], wrap=ASKED, prepare=second_key),
    Row("nss-class-error", "modutil -list", "NSS-FIND-04", W, [INIT], also=("P11-RV-02",)),
    Row("root-list", "modutil -list", "NSS-FIND-04", E, [INFO, INIT, FIND]),
    Row("private-visible", "client searches", "P11-FIND-05", E, [LOGOUT, INIT, FIND]),
    Row("private-find-general", "tstclnt", "NSS-FIND-06", E, [INIT], friendly=True),
    Row("find-ignore-id", "certutil -K", "P11-FIND-07", E, [FIND, INIT, FIND], prepare=second_key),
    Row("find-ignore-id", "certutil -L", "P11-FIND-07", E, [FIND, INIT, FIND], prepare=second_key),
    Row("find-twice", "certutil -L", "P11-FIND-07", E, [INIT, FIND]),
    Row("find-zero", "client searches", "P11-FIND-07", E, [INIT, FIND]),
    Row("find-no-label", "client searches", "P11-FIND-07", E, [FIND, INIT, FIND]),
    Row("no-cka-token", "certutil -L", "NSS-FIND-08", E, [FIND, READ]),
    Row("listed-unreadable", "certutil -L", "NSS-FIND-08", E, [FIND, READ]),
    Row("raw-serial", "cmsutil -D", "NSS-FIND-09", W, [INIT, FIND, INIT, FIND]),
    Row("raw-serial", "certutil -L -n", "NSS-FIND-09", W, [READ]),
    Row("find-label-nul", "certutil -L -n", "NSS-FIND-09", W, [INIT, FIND, INIT, FIND]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)


def test_not_logged_in_is_an_answer(fault_stage):
    """NSS logs in when a search for private keys answers CKR_USER_NOT_LOGGED_IN: no finding."""
    status, result = fault_stage("token").judge("private-find-denied", "tstclnt", friendly=True)
    assert (status, result["findings"]) == (0, [])
