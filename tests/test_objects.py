"""p11trace objects: on traces of NSS's tools, with our token and SoftHSM."""
import json

import pytest

from check_story import CKA_LABEL, Story
from fault_matrix import BACKENDS, CLIENTS
from nss import LABEL
from story_calls import Calls


def listed(stage, name, *options):
    stage.broken("none")
    CLIENTS[name].run(stage)
    p = stage.run(stage.build / "p11trace", "objects", *options, stage.traces)
    assert p.status == 0 and p.stderr == b""
    return p.stdout.decode()


@pytest.mark.nss
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_users_certificate_and_its_keys(fault_stage, backend):
    slots = json.loads(listed(fault_stage(backend), "tstclnt", "--json"))
    (slot,) = [s for s in slots if s["token"] == LABEL]
    by_class = {o["class"]: o for o in slot["objects"] if o.get("lives") == "token"}
    certificate, key = by_class["certificate"], by_class["private key"]
    assert certificate["label"] == "user" and "CN=User" in certificate["subject"]
    assert certificate["private_key"] == key["handle"] and key["certificate"] == certificate["handle"]
    assert certificate["belief"].startswith("the user's: a private key") and key["belief"] == "has a certificate"
    assert len(certificate["id"]) == 40 and slot["searches"]["certificates"] > 0
    assert all(s["searches"]["all"] > 0 for s in slots if s["token"]), "NSS searches every token (FAQ Q1)"


@pytest.mark.nss
@pytest.mark.parametrize("backend", BACKENDS)
def test_text(fault_stage, backend):
    text = listed(fault_stage(backend), "certutil -L")
    assert f'"{LABEL}" serial ' in text and " for certificates" in text
    (line,) = [x for x in text.splitlines() if '"user"' in x]
    assert " token   certificate " in line and "CKA_ID " in line


def test_a_slot_that_nobody_searched_and_texts_of_others(build, run, tmp_path):
    t = Story()
    t.initialize()
    t.call("token_info", label="a\x1b[31m\"b")
    t.open(1)
    path = t.write(tmp_path / "x.p11t")
    text = run(build / "p11trace", "objects", path).stdout
    assert 'slot 5 "a\\x1b[31m\\x22b" serial 0001: 0 objects; never searched' in text and "\x1b" not in text
    (slot,) = json.loads(run(build / "p11trace", "objects", "--json", path).stdout)
    assert slot["objects"] == [] and slot["searches"]["all"] == 0


def test_sessions_opened_before_the_trace(build, run, tmp_path):
    """C_GetSessionInfo tells their slot."""
    t = Calls()
    t.call("session_info", 1, state=1)
    t.do("C_FindObjectsInit", 1, pTemplate=[(0, 3)], ulCount=1)
    t.do("C_FindObjects", 1, phObject=(7,), ulMaxObjectCount=1, pulObjectCount=1)
    (slot,) = json.loads(run(build / "p11trace", "objects", "--json", t.write(tmp_path / "x.p11t")).stdout)
    assert slot["slot"] == 5 and slot["searches"]["private_keys"] == 1
    assert [(o["handle"], o["class"]) for o in slot["objects"]] == [(7, "private key")]


MADE = {"C_CreateObject": {"phObject": 7}, "C_CopyObject": {"hObject": 6, "phNewObject": 7},
        "C_GenerateKey": {"phKey": 7}, "C_UnwrapKey": {"phKey": 7}, "C_UnwrapKeyAuthenticated": {"phKey": 7},
        "C_DeriveKey": {"phKey": 7}, "C_EncapsulateKey": {"phKey": 7}, "C_DecapsulateKey": {"phKey": 7}}


@pytest.mark.parametrize("function", MADE)
def test_the_label_that_an_object_was_made_with(build, run, tmp_path, function):
    t = Calls().start(1)
    t.do(function, 1, pTemplate=[(CKA_LABEL, b"made")], **MADE[function])
    (slot,) = json.loads(run(build / "p11trace", "objects", "--json", t.write(tmp_path / "x.p11t")).stdout)
    assert [(o["handle"], o["label"]) for o in slot["objects"]] == [(7, "made")]


def test_what_cannot_be_read(build, run, tmp_path):
    assert "no-such" in run(build / "p11trace", "objects", tmp_path / "no-such.p11t", status=2).stderr
    assert "which trace" in run(build / "p11trace", "objects", status=2).stderr
    t = Story()
    t.initialize()
    t.call("token_info")
    t.open(1)
    path = t.write(tmp_path / "x.p11t")
    path.write_bytes(path.read_bytes()[:-30])  # into the END frame
    p = run(build / "p11trace", "objects", path, status=2)
    assert "slot 5" in p.stdout and p.stderr.startswith(f"p11trace objects: {path}: ")
