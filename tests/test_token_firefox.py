"""Firefox ESR authenticates itself to a TLS server with a key on our token."""
import shutil

import pytest

from firefox import ClientAuthenticationServer, Firefox, environment_for
from nss_scene import LABEL, PIN, new_scene, pki  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan]


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_client_authentication(new_scene, tmp_path, kind):
    """One prompt for the PIN, and the same page as often as it is asked for, each time with a signature of the token.
    Firefox reads the module through the 3.2 function list. (What it verifies on the way it verifies in softoken.)"""
    scene = new_scene()
    scene.trust_ca()
    scene.import_p12(f"user-{kind}")
    scene.forget()  # only Firefox's calls count below
    scene.traces.mkdir()
    profile = tmp_path / "profile"
    shutil.copytree(scene.folder / "nssdb", profile)
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server, \
            Firefox(profile, environment_for(tmp_path / "home", scene.env), tmp_path / "firefox.log") as firefox:
        firefox.answer_prompts(PIN)
        assert LABEL in [m["token"] for m in firefox.modules()]
        for path in ("one", "two"):
            assert firefox.visit(f"https://localhost:{server.port}/{path}") == f"User {kind}", server.errors
        prompts = firefox.prompts()
        assert [p[0] for p in prompts] == ["password"] and LABEL in prompts[0][1]
        assert [m["loggedIn"] for m in firefox.modules() if m["token"] == LABEL] == [True]
    asked = [(version, name, path) for version, name, path in server.seen if path in ("/one", "/two")]
    assert [a[1:] for a in asked] == [(f"User {kind}", "/one"), (f"User {kind}", "/two")]
    assert asked[0][0] == "TLSv1.3"
    # With mechanisms that hash, Firefox signs in parts.
    assert scene.called("C_Sign") + scene.called("C_SignFinal") >= 2 and scene.called("C_Login") == 1
    interfaces = scene("p11trace", "dump", "-e", "fn=C_GetInterface", scene.traces)
    assert "3.2" in interfaces, interfaces
