"""Thunderbird decrypts an S/MIME message with a key on the traced token."""
import json
import shutil

import pytest

from firefox import Firefox, environment_for
from nss_scene import LABEL, PIN, new_scene, openssl, pki  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan]

DECRYPT = """
const cms = Cc["@mozilla.org/nsCMSDecoderJS;1"].createInstance(Ci.nsICMSDecoderJS);
return String.fromCharCode(...cms.decrypt(arguments[0]));
"""


def test_decryption(new_scene, tmp_path, monkeypatch):
    scene = new_scene()
    scene.trust_ca()
    scene.import_p12("user-rsa")
    scene.forget()  # only Thunderbird's calls count below
    scene.traces.mkdir()
    profile = tmp_path / "profile"
    shutil.copytree(scene.folder / "nssdb", profile)
    openssl(scene.folder, "cms", "-encrypt", "-aes-256-cbc", "-outform", "DER", "-in", "message", "-out", "message.p7",
            "user-rsa.pem")
    message = list((scene.folder / "message.p7").read_bytes())
    monkeypatch.setattr("marionette.BINARY", "/usr/bin/thunderbird")
    with Firefox(profile, environment_for(tmp_path / "home", scene.env), tmp_path / "thunderbird.log") as thunderbird:
        thunderbird.answer_prompts(PIN)
        assert LABEL in [m["token"] for m in thunderbird.modules()]
        for _ in range(2):
            assert thunderbird.script(DECRYPT, message).replace("\r\n", "\n") == "a message\n"
        prompts = thunderbird.prompts()
    assert [p[0] for p in prompts] == ["password"] and LABEL in prompts[0][1]
    assert scene.called("C_Login") == 1
    # The key of the message comes out by C_UnwrapKey; where that fails NSS takes C_Decrypt.
    assert scene.called("C_UnwrapKey") + scene.called("C_Decrypt") >= 2
    life, = [s for s in json.loads(scene("p11trace", "state", "--json", scene.traces)) if s["token"] == LABEL]
    assert (life["prompts"], life["unexplained"]) == (1, 0)
