"""Why did NSS prompt? The way in NSS that led to each login, from the calls around it, and more exactly from its stack."""
import json
import shutil

import pytest

from check_story import Story
from firefox import ClientAuthenticationServer, Firefox, environment_for
from nss_scene import LABEL, MODULE_NAME, PIN, new_scene, pki  # noqa: F401

pytestmark = pytest.mark.nss

CERTIFICATES = "NSS looks for certificates on a token that is not marked friendly, and asks for the PIN before (pk11_AuthenticateUnfriendly)"
LISTS = "NSS has asked the user for the PIN before it looks for certificates, as on a token that is not marked friendly (PK11_DoPassword)"
CHANGE = "NSS checks the old PIN, to set a new one (PK11_CheckUserPassword, PK11_ChangePW)"
FIND_KEY = "NSS looks for the private key of a certificate, and asks for the PIN before (PK11_FindKeyByAnyCert)"
PROGRAM = "the program itself has asked NSS to log in (PK11_Authenticate)"
ASKED = "NSS has asked the user for the PIN (PK11_DoPassword)"


def unfriendly(scene):
    """NSS has to log in to see this token's certificates: the module is not said to show them."""
    scene("modutil", "-force", "-dbdir", "sql:nssdb", "-delete", MODULE_NAME)
    scene("modutil", "-force", "-dbdir", "sql:nssdb", "-add", MODULE_NAME, "-libfile", scene.module)


def reasons(scene, traces=None):
    lives = json.loads(scene("p11trace", "state", "--json", traces or scene.traces))
    return [line.get("idiom") for life in lives for line in life["lines"] if "prompt" in line]


@pytest.fixture
def scene(new_scene):
    scene = new_scene(traced=False)
    scene.trust_ca()
    scene.import_p12("user-rsa")
    return scene


def under(scene, stack, *argv, status=0):
    scene.forget()
    scene("p11trace", "run", "-q", "--stack", stack, "-o", scene.traces, "--", *argv, status=status)
    return reasons(scene)


DB = ("-d", "sql:nssdb")


SHOWN = pytest.mark.parametrize("stack, reason", [("caller", LISTS), ("all", CERTIFICATES)], ids=["calls", "stack"])


@SHOWN
def test_certificates_of_an_unfriendly_token(scene, stack, reason):
    unfriendly(scene)
    assert under(scene, stack, "certutil", "-L", *DB, "-h", "all", "-f", "pin.txt") == [reason]


@pytest.mark.parametrize("stack", ["caller", "all"])
def test_certificates_of_a_friendly_token(scene, stack):
    """No login for the certificates themselves."""
    assert not {CERTIFICATES, LISTS} & set(under(scene, stack, "certutil", "-L", *DB, "-h", "all", "-f", "pin.txt"))


@pytest.mark.parametrize("stack", ["caller", "all"])
def test_changed_pin(scene, stack):
    (scene.folder / "new.txt").write_text("87654321\n")
    said = under(scene, stack, "modutil", "-force", "-dbdir", "sql:nssdb", "-changepw", LABEL, "-pwfile", "pin.txt",
                 "-newpwfile", "new.txt")
    assert said == [CHANGE]


@pytest.mark.parametrize("stack, reason", [("caller", ASKED), ("all", PROGRAM)], ids=["calls", "stack"])
def test_the_program_logs_in(scene, stack, reason):
    assert under(scene, stack, "certutil", "-K", *DB, "-h", LABEL, "-f", "pin.txt") == [reason]


def firefox(scene, tmp_path, stack, act):
    shutil.copytree(scene.folder / "nssdb", tmp_path / "profile")
    scene.forget()
    run = [scene.build / "p11trace", "run", "-q", "--stack", stack, "-o", scene.traces, "--"]
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server, \
            Firefox(tmp_path / "profile", environment_for(tmp_path / "home", scene.env), tmp_path / "log", under=run) as firefox:
        firefox.answer_prompts(PIN)
        act(firefox, server)
        assert len(firefox.prompts()) == 1
    return reasons(scene)


@pytest.mark.nosan
def test_firefox_finds_the_key_of_a_page(scene, tmp_path):
    def visit(firefox, server):
        assert firefox.visit(f"https://localhost:{server.port}/") == "User rsa", server.errors

    assert firefox(scene, tmp_path, "all", visit) == [FIND_KEY]


@pytest.mark.nosan
@SHOWN
def test_firefox_shows_certificates(scene, tmp_path, stack, reason):
    """getCerts() on an unfriendly token: the manager of certificates asks for the PIN."""
    unfriendly(scene)
    script = 'return Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).getCerts().length;'
    assert firefox(scene, tmp_path, stack, lambda f, _: f.script(script)) == [reason]


@SHOWN
def test_check_says_it_beside_the_evidence(scene, stack, reason):
    """The login that the module forgets, and what it was for."""
    shutil.copy(scene.build / "libp11faulty.so", scene.module)
    scene.module.with_suffix(".conf").write_text(f"module = {scene.build}/libp11token.so\nfaults = stale-state\n")
    unfriendly(scene)
    asked = under(scene, stack, "certutil", "-L", *DB, "-h", "all", "-f", "pin.txt", status=None)
    assert reason in asked
    (found,) = json.loads(scene("p11trace", "check", "--json", "--rule", "NSS-LOGIN-09", scene.traces, status=None))["findings"]
    assert [e["idiom"] for e in found["evidence"] if e["function"] == "C_Login"] == [reason]
    scene.forget()  # the module is at fault


def test_others_have_no_way(build, run, tmp_path):
    t = Story()
    t.initialize()
    t.open(1)
    t.call("logout", 1)
    t.call("login", 1)
    path = t.write(tmp_path / "x.p11t")
    lives = json.loads(run(build / "p11trace", "state", "--json", path).stdout)
    assert [line.get("idiom") for life in lives for line in life["lines"] if "prompt" in line] == [None]
