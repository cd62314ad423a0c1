"""Return codes, crashes and hangs."""
import json
import re

import pytest

import test_rules_find  # noqa: F401  its clients
from check_story import Story
from fault_matrix import E, I, OPEN, READ, Row, W, assert_healthy, client, healthy, matrix, run_row
from nss import LABEL


@client("pkcs11-tool -O")
def objects(stage):
    stage.run("pkcs11-tool", "--module", stage.module, "--token-label", LABEL, "-O")


ROWS = [
    Row("rv=C_OpenSession:CKR_PIN_INCORRECT@1", "pkcs11-tool -O", "P11-RV-01", W, [OPEN]),
    Row("rv-odd", "modutil -list", "P11-RV-01", W, [OPEN]),
    Row("rv=C_SignInit:CKR_SIGNATURE_INVALID", "tstclnt", "P11-RV-01", W, ["C_SignInit"]),
    Row("rv=C_Sign:CKR_FUNCTION_FAILED", "tstclnt", "P11-RV-02", W, ["C_Sign"]),
    Row("rv=C_GetTokenInfo:0x80000063@1", "modutil -list", "P11-RV-02", W, ["C_GetTokenInfo"]),
    # It meets calls of all kinds, and each kind has a rule of its own.
    Row("rv-general-10pct", "client searches", "P11-RV-02", W, [READ, READ], also=("P11-FIND-01", "NSS-FIND-06")),
    # How it ended is not in the trace of a wrapped module; p11trace run sees it (below).
    Row("crash-on-null", "certutil -L", "P11-RV-03", I, [READ]),
    Row("crash=C_FindObjects", "pkcs11-tool -O", "P11-RV-03", I, ["C_FindObjects"]),
    # With SoftHSM NSS gives up after the first.
    Row("rv=C_GetAttributeValue:CKR_FUNCTION_FAILED@9-14", "tstclnt", "P11-RV-02", W, [READ, READ], backends=("token",),
        also=("NSS-FIND-04",)),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)


@pytest.mark.nss
@pytest.mark.nosan  # the SIGSEGV is one that a sanitizer takes for itself
def test_run_sees_the_crash(fault_stage):
    stage = fault_stage("token")
    stage.broken("crash=C_FindObjects")
    p = stage.run(stage.build / "p11trace", "run", "--out", stage.traces, "--", "pkcs11-tool", "--module",
                  stage.build / "libp11faulty.so", "--token-label", LABEL, "-O")
    text = p.stderr.decode()
    assert p.status == 128 + 11
    assert re.search(r"^P11-RV-03 error module .*the process is ended by SIGSEGV in C_FindObjects$", text, re.M), text


# --- what takes too long to wait for ----------------------------------------------------------------------------------

def story(took, what="token_info", end=True, **more):
    t = Story()
    t.initialize()
    call = t.begin(what, **more)
    t.wait(took)
    t.finish(call) if end else None
    t.call("slot_info", tid=200)
    return t


@pytest.mark.parametrize("name, severity", [
    ("late", W), ("in time", None), ("typing", None), ("never", E), ("ended", None)])
def test_time_limits(build, run, tmp_path, name, severity):
    t = {"late": lambda: story(31), "in time": lambda: story(29), "never": lambda: story(31, end=False),
         "ended": lambda: story(2, end=False)}.get(name)
    if t:
        t = t()
    else:
        t = Story()
        t.initialize()
        t.open(1)
        call = t.begin("login", 1)
        t.wait(200)
        t.finish(call)
    t.write(tmp_path / "x.p11t")
    out = run(build / "p11trace", "check", "--json", "--rule", "P11-RV-03", tmp_path, status=None).stdout
    assert [f["severity"] for f in json.loads(out)["findings"]] == ([severity] if severity else [])
