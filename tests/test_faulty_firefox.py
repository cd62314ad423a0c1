"""Firefox on a broken token: a copy of libp11faulty.so with its .conf beside it, and nothing in the environment."""
import shutil

import pytest

from firefox import ClientAuthenticationServer, Firefox, MarionetteError, environment_for
from nss_scene import LABEL, PIN, new_scene, pki  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan]


def visit(new_scene, tmp_path, fault):
    """(the title of a page that wants a client certificate, or None; how often Firefox asked for the PIN)"""
    scene = new_scene(traced=False)
    scene.trust_ca()
    scene.import_p12("user-rsa")
    shutil.copy(scene.build / "libp11faulty.so", scene.module)
    scene.module.with_suffix(".conf").write_text(f"module = {scene.build}/libp11token.so\nfaults = {fault}\n")
    profile = tmp_path / "profile"
    shutil.copytree(scene.folder / "nssdb", profile)
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server, \
            Firefox(profile, environment_for(tmp_path / "home", scene.env), tmp_path / "firefox.log") as firefox:
        firefox.answer_prompts(PIN)
        firefox("WebDriver:SetTimeouts", pageLoad=5000)
        try:
            title = firefox.visit(f"https://localhost:{server.port}/")
        except MarionetteError as e:
            assert "Navigation timed out" in str(e)
            title = None
        prompts = firefox.prompts()
    assert all(LABEL in text for _, text in prompts)
    return title, len(prompts)


def test_healthy(new_scene, tmp_path):
    assert visit(new_scene, tmp_path, "none") == ("User rsa", 1)


def test_token_that_forgets_the_login(new_scene, tmp_path):
    """NSS-LOGIN-09: the PIN is right, and Firefox asks for it again and again; the page never comes."""
    title, prompts = visit(new_scene, tmp_path, "stale-state")
    assert title is None and prompts > 1
