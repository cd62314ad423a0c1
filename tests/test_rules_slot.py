"""The rules of slots, each proved by a fault and by its absence: see fault_matrix.py."""
import re

import pytest

import test_rules_init  # noqa: F401  its clients
from fault_clients import action
from fault_matrix import (BACKENDS, E, I, OPEN, STATE, W, Row, assert_healthy, client, expected, healthy, matrix,
                          run_row, signature)
from nss import LABEL, PIN

LIST, SLOT, WAIT, FINAL = "C_GetSlotList", "C_GetSlotInfo", "C_WaitForSlotEvent", "C_Finalize"
REMOVAL = ("--probe", "removal")

for each in ("relist", "slots", "open", "pull", "keep", "waits", "endwait", "event"):
    action(each)
# A module that can wait lets both wait.
action("waiters", known={"token": {("NSS-SLOT-08", W, "caller")}})


@client("nss update")
def update(stage):
    """SECMOD_UpdateSlotList."""
    stage.run(stage.build / "tests" / "clients" / "nss_slot", "sql:nssdb", "The module", "update")


@client("nss present")
def present(stage):
    """PK11_IsPresent after a login: C_GetSlotInfo once a second."""
    stage.run(stage.build / "tests" / "clients" / "nss_slot", "sql:nssdb", "The module", "present", LABEL, PIN)


ROWS = [
    Row("slot-grow", "modutil -list", "NSS-SLOT-01", E, [LIST, LIST]),
    Row("slot-general", "modutil -list", "NSS-SLOT-01", E, [LIST, LIST]),
    Row("slot-overflow", "modutil -list", "NSS-SLOT-01", E, [LIST]),
    Row("slot-twice", "modutil -list", "NSS-SLOT-01", E, [LIST]),
    Row("slot-shrink", "nss update", "NSS-SLOT-02", E, [LIST, LIST]),
    Row("slot-shrink", "client relist", "NSS-SLOT-02", E, [LIST, SLOT]),
    Row("slot-renumber", "client slots", "NSS-SLOT-02", E, [LIST, LIST]),
    Row("rv=C_GetSlotInfo:CKR_SLOT_ID_INVALID@5", "client open", "NSS-SLOT-02", E, [LIST, SLOT]),
    Row("ghost-token", "certutil -K all", "NSS-SLOT-03", W, [SLOT, OPEN]),
    Row("removable,ghost-token", "client open", "NSS-SLOT-03", W, [SLOT, OPEN, SLOT, OPEN]),
    Row("perm-absent", "modutil -list", "NSS-SLOT-04", E, [SLOT]),
    Row("perm-dies", "certutil -K", "NSS-SLOT-04", E, [SLOT, OPEN, "C_FindObjectsInit"]),
    Row("perm-dies", "client pull", "NSS-SLOT-04", E, [SLOT]),
    Row("removable-flips", "client open", "NSS-SLOT-04", E, [SLOT, SLOT]),
    Row("ghost-session", "client pull", "NSS-SLOT-05", E, [OPEN, SLOT, STATE]),
    Row("ghost-session", "nss present", "NSS-SLOT-05", E, [OPEN, SLOT, STATE], wrap=REMOVAL),
    Row("removable,absent-after-login", "client remove", "NSS-SLOT-05", E, [OPEN, SLOT, STATE]),
    Row("revive-session", "client pull", "NSS-SLOT-06", E, [OPEN, SLOT, SLOT, STATE]),
    Row("revive-session", "nss present", "NSS-SLOT-06", E, [OPEN, SLOT, SLOT, STATE], wrap=REMOVAL),
    Row("flaky-session", "client keep", "NSS-SLOT-07", E, [OPEN, STATE, OPEN]),
    Row("flaky-session", "certutil -K", "NSS-SLOT-07", E, [OPEN, STATE]),
    Row("removable,flaky-session", "tstclnt", "NSS-SLOT-07", E, [OPEN, STATE, OPEN]),
    Row("wait-noevent", "client wait2", "NSS-SLOT-08", E, [WAIT]),
    Row("wait-noevent", "nss cancel", "NSS-SLOT-08", E, [WAIT]),
    Row("wait-stuck", "client endwait", "NSS-SLOT-08", E, [WAIT, FINAL]),
    Row("wait-general", "client waits", "NSS-SLOT-08", E, [WAIT, WAIT]),
    Row("removed", "client waiters", "NSS-SLOT-08", W, [WAIT, WAIT], side="caller", backends=("softhsm",)),
    Row("none", "client waiters", "NSS-SLOT-08", W, [WAIT, WAIT], side="caller", backends=("token",)),
    Row("lost-event", "client event", "NSS-SLOT-09", W, [WAIT, SLOT, SLOT, SLOT], backends=("token",)),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)


PULLED = ("client pull", "client remove", "certutil -K", "certutil -S", "tstclnt", "nss present")
WAITING = ("client event", "client endwait")  # `removed-back` does not tell of events
# What shows that there was a removal, or a wait for one.
GONE = re.compile(r"CKR_SESSION_HANDLE_INVALID|CKR_TOKEN_NOT_PRESENT"
                  r"|C_WaitForSlotEvent\(.* = (CKR_OK|CKR_CRYPTOKI_NOT_INITIALIZED)")


@pytest.mark.nss
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrap", [(), REMOVAL], ids=["plain", "probed"])
@pytest.mark.parametrize("fault, name", [("removed", name) for name in PULLED + WAITING] +
                         [("removed-back", name) for name in PULLED])
def test_a_card_may_be_pulled(fault_stage, fault, name, wrap, backend):
    """The sessions end, the slot is empty, and then perhaps another card is there: as it should be."""
    stage = fault_stage(backend)
    _, result = stage.judge(fault, name, wrap=wrap)
    assert GONE.search(stage.must(stage.build / "p11trace", "dump", stage.traces).stdout.decode())
    found = [f for f in result["findings"] if f["fault"] == "module" and f["severity"] != I]
    assert {signature(f) for f in found} <= expected(stage, name), [(*signature(f), f["sentence"]) for f in found]
