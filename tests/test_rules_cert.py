"""The rules of certificates, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import DB, TOKEN, WITH_PIN, action
from fault_matrix import E, I, READ, W, Row, assert_healthy, client, healthy, matrix, run_row
from nss import PIN

FIND = "C_FindObjects"

action("lookup")
action("friendly")


@client("certutil -K, certutil -L")
def keys_then_certificates(stage):
    """Who is not logged in does not see the private keys: that they exist is known from the process before."""
    stage.run("certutil", "-K", *DB, *TOKEN, *WITH_PIN)
    stage.run("certutil", "-L", *DB, *TOKEN)


def second_user(stage):
    """One more key pair and certificate of the user."""
    stage.must("pk12util", "-i", "other.p12", *DB, *TOKEN, "-K", PIN, "-W", "p12-stage-4Rt")


def authority(stage):
    """The CA's certificate on the token, with a CKA_ID of its own and no key."""
    stage.must("certutil", "-A", *DB, *TOKEN, *WITH_PIN, "-n", "authority", "-t", "CT,C,C", "-i", "ca.pem")


ROWS = [
    Row("label-trailing", "certutil -L", "NSS-CERT-01", W, [READ]),
    Row("label-trailing", "certutil -L -n", "NSS-CERT-01", W, [READ]),
    Row("label-ends-nul", "certutil -L", "NSS-CERT-01", W, [READ]),
    Row("label-empty", "certutil -L", "NSS-CERT-01", E, [READ, FIND]),
    Row("missing-label", "client tour", "NSS-CERT-01", E, [READ, READ]),

    Row("dup-cert-label", "certutil -L", "NSS-CERT-02", W, [READ, READ], prepare=second_user),

    Row("id-mismatch", "certutil -K", "NSS-CERT-03", E, [READ, READ]),
    Row("id-dup", "certutil -K", "NSS-CERT-03", W, [READ, READ], prepare=second_user),
    Row("id-dup", "certutil -L", "NSS-CERT-03", E, [READ, READ, READ], prepare=second_user),
    Row("id-empty", "certutil -K", "NSS-CERT-03", E, [FIND, READ]),
    Row("id-zero", "certutil -L", "NSS-CERT-03", W, [READ], prepare=authority),

    Row("no-value-search", "tstclnt", "NSS-CERT-04", E, [READ, FIND], friendly=True),
    Row("no-label-search", "tstclnt", "NSS-CERT-04", E, [READ, FIND], friendly=True),
    Row("no-subject-search", "certutil -L -n", "NSS-CERT-04", E, [READ, FIND], friendly=True),
    Row("no-issuer-search", "client lookup", "NSS-CERT-04", E, [READ, FIND]),

    # NSS does not search again on a token on which it has found no certificate: Firefox does, when somebody logs in.
    Row("private-certs", "client friendly", "NSS-CERT-05", W, [FIND, FIND]),
    Row("private-certs", "client tour", "NSS-CERT-05", W, [READ]),

    Row("hide-pubkeys", "certutil -K, certutil -L", "NSS-CERT-06", W, [READ, FIND], friendly=True),
    Row("hide-pubkeys", "client friendly", "NSS-CERT-06", W, [FIND, FIND]),

    Row("no-issuer-attr", "certutil -L", "NSS-CERT-07", W, [READ]),
    Row("no-value-attr", "certutil -L", "NSS-CERT-07", E, [READ]),
    Row("wrong-issuer", "certutil -L", "NSS-CERT-07", E, [READ]),
    Row("cert-tail", "certutil -L", "NSS-CERT-07", E, [READ]),

    Row("profile-lie,private-certs", "client friendly", "NSS-CERT-08", E, [READ, FIND, FIND]),

    Row("no-email", "certutil -L", "NSS-CERT-09", I, [READ]),
    Row("no-email", "tstclnt", "NSS-CERT-09", I, [READ]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
