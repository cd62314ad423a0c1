"""A healthy trace, replayed on a module with a fault: the replay names the first call that is answered otherwise.

The rows are those of the rules (fault_matrix.py), one for each fault: its client is traced once without the fault, everything
sealed, and the trace is replayed on libp11faulty.so with it, on a copy of the token as it was before. Which functions a fault
changes stands in module/faulty/*.def; where it changes what is kept, the call is named that shows it (SHOWN_BY)."""
import json
import shutil

import pytest

from fault_matrix import CLIENTS
from faulty_table import entries
from test_rules_all import all_rows

CHANGES = {name: {f.strip() for f in functions.split(",")} for _, name, _, _, _, functions in entries()}

# The first call whose answer is another one, where the fault itself answers as before.
SHOWN_BY = {
    "C_FindObjects": "root-list private-visible raw-serial find-label-nul find-ignore-id",  # what it finds now
    "C_GetAttributeValue": "swap-handles id-overwritten label-cut destroy-nothing keep-private-handles "
                           "session-objects-all-die",
    "C_GetSessionInfo": "sign-logs-out probe-logs-out sticky-login close-logs-out setpin-logs-out rw-ignored",
    "C_GetSlotInfo": "slot-twice",  # of the second slot, which is the first one now
    "C_Login": "setpin-noop",  # with the new PIN
}
for function, faults in SHOWN_BY.items():
    for fault in faults.split():
        CHANGES[fault] = CHANGES[fault] | {function}

# Not of the answers: the same ones come later, or only while another thread is in the module too.
NO_ANSWER = {"slow-login", "slow-info", "global-lock", "slow-sign-lock", "race-window"}
# Where the client of the first row does not meet it when all is well.
CLIENT = {"split-state": "client states", "handle-recycle": "client closed", "handle-recycle-obj": "client oldhandles"}
# A C_WaitForSlotEvent that blocks until C_Finalize is made beside it only.
FREE = {"wait-noevent", "wait-stuck"}
# fault: why the replay of its client's trace shows nothing.
MISSED = {
    "handle-recycle": "in the healthy trace no closed session is used after another one was opened",
    "handle-recycle-obj": "in the healthy trace no destroyed object is used after another one was made",
}
MISSED_MAX = 2


def parts(fault):
    return [one.split("@")[0].split("=")[0] for one in fault.split(",")]


def rows():
    """One row for each fault, on our token: the one whose client meets it most."""
    chosen = {}
    for row in all_rows():
        if "token" in row.backends and row.fault != "none":
            chosen.setdefault(row.fault, row)
            if row.client == CLIENT.get(row.fault):
                chosen[row.fault] = row
    return list(chosen.values())


@pytest.fixture(scope="module")
def healthy(fault_stage, tmp_path_factory):
    """healthy(row): a folder with the traces of the row's client without a fault, and the tokens as they were before."""
    stage, root, made = fault_stage("token"), tmp_path_factory.mktemp("healthy"), {}
    stage.must(stage.build / "p11trace", "keygen", "-o", root / "seal")

    def get(row):
        key = row.client, row.friendly, row.prepare
        if key not in made:
            here = made[key] = root / str(len(made))
            stage.broken("none", ("--capture", "full", "--seal-to", root / "seal.pub"), row.friendly, row.prepare)
            shutil.copytree(stage.folder / "tokens", here / "tokens")
            CLIENTS[row.client].run(stage)
            shutil.copytree(stage.traces, here / "traces")
        return made[key]
    return get


def replayed(stage, here, fault, *options):
    """(exit status, result as in JSON) of the replay with that fault, on a copy of the tokens: what would be withheld from a
    card may happen to it."""
    now, before = here / "tokens-now", stage.env
    shutil.rmtree(now, ignore_errors=True)
    shutil.copytree(here / "tokens", now)
    stage.env = {**before, "P11FAULTY": fault, "P11FAULTY_MODULE": str(stage.target), "P11TOKEN_DIR": str(now)}
    try:
        p = stage.run(stage.build / "p11trace", "replay", "--module", stage.build / "libp11faulty.so", "--json",
                      "--key", here.parent / "seal.key", *options, here / "traces")
    finally:
        stage.env = before
    return p.status, json.loads(p.stdout)


@pytest.mark.nss
@pytest.mark.parametrize("row", rows(), ids=lambda r: f"{r.fault}-{r.client}".replace(" ", "_"))
def test_fault_is_named(fault_stage, healthy, row):
    stage, here = fault_stage("token"), healthy(row)
    options = ("--timeout", 2) if row.fault in FREE or row.fault.startswith("hang") else ()
    status, result = replayed(stage, here, row.fault, "--destructive", "--mode",
                              "free" if row.fault in FREE else "serial", *options)
    names = parts(row.fault)
    if set(names) & (NO_ANSWER | set(MISSED)):
        assert status == 0 and result["differences"] == 0, "it is named, and need not be excused"
        return
    # A replay that ends to protect a card (a good PIN was refused) has status 2.
    stops = [p.get("stopped", "") for p in result["processes"]]
    assert status == 1 or status == 2 and any("wrong PIN" in s for s in stops), result
    first = result["difference_kinds"][0]
    expected = set().union(*(CHANGES[n] for n in names))
    assert first["function"] in expected or "ANY" in expected, (first, sorted(expected))
    assert f"#{first['call']} {first['function']}" in result["explanation"]


@pytest.mark.nss
@pytest.mark.parametrize("mode", ["serial", "relay"])
def test_without_a_fault_nothing_is_named(fault_stage, healthy, mode):
    """All the clients' traces, each once."""
    for here in dict.fromkeys(healthy(row) for row in rows()):
        status, result = replayed(fault_stage("token"), here, "none", "--destructive", "--mode", mode)
        assert (status, result["differences"]) == (0, 0), result


def row_of(fault):
    return next(row for row in rows() if row.fault == fault)


@pytest.mark.nss
def test_a_pin_that_was_not_read_is_the_one_that_was_good(fault_stage, healthy):
    """The second login of a user: its PIN is not in the trace, and nothing is risked by the one of the first."""
    status, result = replayed(fault_stage("token"), healthy(row_of("double-login-ok")), "double-login-ok")
    assert status == 1 and result["withheld"] == 0
    first = result["difference_kinds"][0]
    assert (first["function"], first["recorded"], first["replayed"]) == ("C_Login", "CKR_USER_ALREADY_LOGGED_IN", "CKR_OK")


@pytest.mark.nss
def test_a_pin_that_nobody_knows_is_not_tried(fault_stage, healthy):
    """A login of the security officer that was refused for a read-only session: any PIN would do only if it is refused again."""
    stage, here = fault_stage("token"), healthy(row_of("so-lenient"))
    status, result = replayed(stage, here, "so-lenient")
    assert status == 0
    assert [kind["reason"] for kind in result["withheld_kinds"]] == [
        "no PIN of the security officer was given: give --so-pin-file"]
    status, result = replayed(stage, here, "so-lenient", "--destructive")
    assert status == 2 and result["difference_kinds"][0]["replayed"] == "CKR_PIN_INCORRECT"
    assert "a PIN that stands for the one that was not recorded" in result["processes"][0]["stopped"]


def test_what_is_missed_is_little():
    """The answer-changing faults that replaying their client's trace does not show."""
    assert len(MISSED) <= MISSED_MAX and set(MISSED) | NO_ANSWER <= set(CHANGES)
