"""The rules of objects, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import action
from fault_matrix import BACKENDS, E, I, READ, W, Row, assert_healthy, healthy, matrix, run_row

OLD_KEY = ("P11-OBJ-11", W, "caller")  # with a module that ends handles, as it should
FIND, MADE, WRITE, DESTROY = "C_FindObjects", "C_CreateObject", "C_SetAttributeValue", "C_DestroyObject"

action("objects")
action("secrets", caller={("NSS-KEY-08", I, "caller")})
action("oldhandles", caller={("P11-OBJ-10", W, "caller")}, known=dict.fromkeys(BACKENDS, {OLD_KEY}))
action("relogin", known=dict.fromkeys(BACKENDS, {OLD_KEY}))

ROWS = [
    Row("unavail-zero", "certutil -L", "P11-OBJ-03", W, [READ]),
    Row("unavail-ok", "certutil -L", "P11-OBJ-03", E, [READ]),
    # read alone, the label is missing in due form; and until it is read alone it seems to be
    Row("unavail-abort", "client tour", "P11-OBJ-03", E, [READ, READ], also=("NSS-CERT-01",)),
    Row("unavail-lie", "client tour", "P11-OBJ-03", E, [READ, READ], also=("NSS-CERT-01",)),
    Row("unavail-whole", "client tour", "P11-OBJ-03", W, [READ, READ]),
    Row("per-session-objects", "certutil -S", "NSS-OBJ-01", E, ["C_GenerateKeyPair", READ]),
    Row("per-session-objects", "client objects", "NSS-OBJ-01", E, [MADE, READ]),
    # the recorder asks itself, through another session
    Row("per-session-objects", "certutil -A", "NSS-OBJ-01", E, [MADE, READ], wrap=("--probe=object",)),
    Row("len-padded", "certutil -L", "P11-OBJ-02", E, [READ, READ]),
    Row("attr-overflow", "certutil -K", "P11-OBJ-04", E, [READ]),
    Row("small-unmarked", "client objects", "P11-OBJ-04", W, [READ]),
    Row("ulong-4", "certutil -K", "P11-OBJ-05", E, [READ]),
    Row("bool-ff", "certutil -K", "P11-OBJ-05", E, [READ]),
    Row("leak-value", "client secrets", "P11-OBJ-06", E, ["C_GenerateKey", READ]),
    Row("wrap-anything", "client secrets", "P11-OBJ-06", E, ["C_GenerateKey", "C_WrapKey"]),
    Row("unsensitive-ok", "client secrets", "P11-OBJ-07", E, ["C_GenerateKey", WRITE]),
    Row("local-lie", "client secrets", "P11-OBJ-07", E, ["C_GenerateKey", READ]),
    Row("attr-drift", "certutil -L", "P11-OBJ-08", E, [FIND, READ]),
    Row("private-drift", "client objects", "P11-OBJ-08", E, [MADE, READ], also=("NSS-CERT-05",)),
    Row("id-overwritten", "certutil -S", "NSS-OBJ-09", E, [MADE, READ]),
    Row("id-overwritten", "certutil -A", "NSS-OBJ-09", E, [MADE, READ]),
    Row("label-cut", "certutil -S", "NSS-OBJ-09", W, [MADE, READ]),
    Row("destroy-nothing", "client oldhandles", "P11-OBJ-10", E, [MADE, DESTROY, READ]),
    Row("handle-recycle-obj", "client objects", "P11-OBJ-10", I, [DESTROY, MADE]),
    Row("handle-recycle-obj", "client oldhandles", "P11-OBJ-10", W, [DESTROY, MADE]),
    Row("create-zero", "certutil -A", "P11-OBJ-10", E, [MADE]),
    Row("keep-private-handles", "client oldhandles", "P11-OBJ-11", E, [FIND, "C_Logout", READ]),
    Row("keep-private-handles", "client relogin", "P11-OBJ-11", W, [FIND, "C_Logout", "C_Login", READ]),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
