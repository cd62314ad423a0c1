"""p11trace state: the life of logins, as a golden text of a story and on traces of NSS's tools."""
import json
import re

import pytest

from check_story import OK, RW, SERIAL, SESSION_HANDLE_INVALID, Story
from fault_matrix import BACKENDS, CLIENTS
from nss import LABEL


def shown(run, build, path, *options, status=0):
    return run(build / "p11trace", "state", *options, path, status=status).stdout


def story():
    t = Story()
    t.initialize()
    t.call("slot_info")
    t.call("token_info", label="Card")
    t.open(1)
    for _ in range(3):
        t.call("session_info", 1, state=0)
        t.wait(1)
    t.call("login", 1, rv=0xA0)
    t.call("login", 1)
    t.call("session_info", 1, state=1)
    t.open(2, flags=RW | SERIAL)
    t.call("close_session", 2)
    t.call("session_info", 1, state=0)
    t.call("session_info", 1, state=0)
    t.call("slot_info", flags=2)
    t.call("session_info", 1, rv=SESSION_HANDLE_INVALID)
    t.call("slot_info")
    return t


def test_story_is_told_exactly(build, run, root, tmp_path):
    text = shown(run, build, story().write(tmp_path / "x.p11t"))
    assert text == (root / "tests" / "cases" / "state" / "card.txt").read_text()


def test_json_says_the_same(build, run, tmp_path):
    path = story().write(tmp_path / "x.p11t")
    (life,) = json.loads(shown(run, build, path, "--json"))
    assert (life["token"], life["prompts"], life["unexplained"]) == ("Card", 2, 1)
    kinds = [(line["kind"], line["count"]) for line in life["lines"]]
    assert kinds[:5] == [("sessions", 1), ("state", 3), ("login", 1), ("login", 1), ("state", 1)]
    (lost,) = [line for line in life["lines"] if line["kind"] == "state" and not line["explained"]]
    assert lost["state"] == "CKS_RO_PUBLIC_SESSION" and lost["count"] == 2
    assert {"gone", "back", "dead"} <= {line["kind"] for line in life["lines"]}
    text = shown(run, build, path)
    for line in life["lines"]:
        assert f"  {line['text']}" in text


@pytest.mark.nss
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault, prompts, unexplained", [("none", 1, 0), ("stale-state", 1, 1)])
def test_nss(fault_stage, backend, fault, prompts, unexplained):
    stage = fault_stage(backend)
    stage.broken(fault)
    CLIENTS["certutil -K"].run(stage)
    p = stage.run(stage.build / "p11trace", "state", stage.traces)
    text = p.stdout.decode()
    assert p.status == 0
    (head,) = re.findall(rf'^slot \d+ "{LABEL}" serial \w+: (.*)$', text, re.M)
    assert head.startswith(f"{prompts} prompt") and (" ! " in head or "(!)" in head) == bool(unexplained)
    assert "PROMPT 1: C_Login(CKU_USER) = CKR_OK\n" in text
    assert re.search(r" from .*libnss3.so.*: NSS has asked the user for the PIN \(PK11_DoPassword\)$", text, re.M)
    assert len(re.findall(r"^! ", text, re.M)) == unexplained


def test_texts_of_others(build, run, tmp_path):
    t = Story(module="/lib/\x1b[31m.so")
    t.initialize()
    t.call("token_info", label="a\x07\"b")
    t.open(1)
    path = t.write(tmp_path / "x.p11t")
    text = shown(run, build, path)
    assert '"a\\x07\\x22b"' in text and "\x1b" not in text and "\x07" not in text
    json.loads(shown(run, build, path, "--json"))


def test_what_cannot_be_read(build, run, tmp_path):
    assert "no-such" in run(build / "p11trace", "state", tmp_path / "no-such.p11t", status=2).stderr
    assert "which trace" in run(build / "p11trace", "state", status=2).stderr
