"""What NSS does is named beside the evidence, and only where it was NSS."""
import json

import pytest

from fault_matrix import BACKENDS


def idioms(stage, fault, client, rule):
    _, result = stage.judge(fault, client, check=("--rule", rule))
    return {(e["function"], e.get("idiom", "").rpartition("(")[2].rstrip(")"))
            for f in result["findings"] for e in f["evidence"]}


@pytest.mark.nss
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault, client, rule, named", [
    ("stale-state", "certutil -K", "NSS-LOGIN-09", {("C_Login", "PK11_DoPassword"), ("C_GetSessionInfo", "PK11_IsLoggedIn")}),
    ("rv=C_Sign:CKR_FUNCTION_FAILED", "tstclnt", "P11-RV-02", {("C_Sign", "PK11_Sign")}),
    ("info-flags", "modutil -list", "NSS-INIT-06", {("C_GetInfo", "secmod_LoadPKCS11Module")}),
])
def test_nss_is_named(fault_stage, backend, fault, client, rule, named):
    assert named <= idioms(fault_stage(backend), fault, client, rule)


@pytest.mark.nss
def test_others_are_not(fault_stage):
    assert {name for _, name in idioms(fault_stage("token"), "stale-state", "client tour", "NSS-LOGIN-09")} == {""}


@pytest.mark.nss
def test_the_text_says_it(fault_stage):
    stage = fault_stage("token")
    stage.judge("stale-state", "certutil -K")
    text = stage.check("--rule", "NSS-LOGIN-09").stdout.decode()
    assert "       here NSS asks whether the user is logged in" in text
    assert json.loads(stage.check("--json").stdout)["findings"]
