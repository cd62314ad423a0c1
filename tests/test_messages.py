"""The parameter of one message is a structure that only the session's mechanism tells the layout of."""
import json

from lab import lab  # noqa: F401
from test_format import assert_agrees


def test_message_parameters(lab):
    lab.client("messages", lab.wrap("mock32"))
    lab.trace()
    dump = [json.loads(line) for line in lab.p11trace("dump", "--json", lab.out).stdout.splitlines()]
    known, unknown = [c for c in dump if c.get("fn") == "C_EncryptMessage"]
    value = next(a for a in known["args"] if a["name"] == "pParameter")["in"]
    assert value["struct"] == "CK_GCM_MESSAGE_PARAMS"
    assert bytes.fromhex(value["members"]["pIv"]["hex"]) == b"initialvect\0"
    assert value["members"]["ulTagBits"]["value"] == 128
    # A vendor's: its pointers are nobody's to follow.
    value = next(a for a in unknown["args"] if a["name"] == "pParameter")["in"]
    assert (value["type"], value["length"]) == ("bytes", 48) and "tag" in value
    assert assert_agrees(lab, *lab.files()) > 5


def test_message_parameters_in_text(lab):
    lab.client("messages", lab.wrap("mock32"))
    text = lab.p11trace("dump", "-e", "fn=C_EncryptMessage", lab.out).stdout
    assert "ulIvLen=12" in text and "ivGenerator=CKG_NO_GENERATE" in text
