"""p11trace objects: on traces of NSS's tools, with our token and SoftHSM."""
import json

import pytest

from check_story import Story
from fault_matrix import BACKENDS, CLIENTS
from nss import LABEL


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


def test_what_cannot_be_read(build, run, tmp_path):
    assert "no-such" in run(build / "p11trace", "objects", tmp_path / "no-such.p11t", status=2).stderr
    assert "which trace" in run(build / "p11trace", "objects", status=2).stderr
    t = Story()
    t.initialize()
    t.call("token_info")
    t.open(1)
    path = t.write(tmp_path / "x.p11t")
    path.write_bytes(path.read_bytes()[:-30])
    p = run(build / "p11trace", "objects", path, status=None)
    assert "slot 5" in p.stdout and p.returncode in (0, 2)
