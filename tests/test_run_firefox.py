"""Firefox ESR, all of it, under `p11trace run`: the parent with the token, and the children in their sandboxes. And what NSS's
own tracer does to the same Firefox."""
import re
import shutil
import warnings

import pytest

import p11t_reader
from firefox import ClientAuthenticationServer, Firefox, MarionetteError, environment_for
from lab import assert_nothing_lost
from nss_scene import LABEL, PIN, new_scene, pki  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan]

CERTIFICATES = """
const database = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
return database.getCerts().length;
"""
NSS_TRACER = {"NSS_DEBUG_PKCS11_MODULE": "NSS Internal PKCS #11 Module"}


@pytest.fixture
def stage(new_scene, tmp_path):
    """A scene with a client key, and the profile whose token has it."""
    scene = new_scene(traced=False)
    scene.trust_ca()
    scene.import_p12("user-rsa")
    shutil.copytree(scene.folder / "nssdb", tmp_path / "profile")
    return scene


def authenticate(scene, tmp_path, pages, env=(), under=()):
    """Starts Firefox, logs in, opens the pages and lists all certificates; returns their number and Firefox's output."""
    log = tmp_path / "firefox.log"
    environment = {**environment_for(tmp_path / "home", scene.env), **dict(env)}
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server, \
            Firefox(tmp_path / "profile", environment, log, under=under) as firefox:
        firefox.answer_prompts(PIN)
        assert LABEL in [m["token"] for m in firefox.modules()]
        for page in range(pages):
            assert firefox.visit(f"https://localhost:{server.port}/{page}") == "User rsa", server.errors
        certificates = firefox.script(CERTIFICATES)
        assert [p[0] for p in firefox.prompts()] == ["password"]
    assert {f"/{page}" for page in range(pages)} <= {path for _, _, path in server.seen}
    return certificates, log.read_text()


def test_client_authentication(stage, tmp_path, build):
    under = [build / "p11trace", "run", "-o", stage.traces, "--"]
    certificates, said = authenticate(stage, tmp_path, 10, under=under)
    assert certificates > 1
    assert "violation" not in said and "exited on signal" not in said, said
    total, processes = map(int, re.search(r"p11trace run: (\d+) calls .* of (\d+) processes", said).groups())
    assert total >= 8000
    # Every process that made calls is there, in one piece, and said how it ended; nothing is left of the others.
    traces = [p11t_reader.read(f) for f in stage.traces.glob("*.p11t")]
    assert len(traces) == processes >= 3
    assert sum(len(t.calls) for t in traces) == total
    for trace in traces:
        assert_nothing_lost(trace)
        assert {how for _, how in re.findall(rf"\[({trace.pid})\]: (.*?);", said)} == {"exit status 0"}
        assert trace.fields[5][0] == b"firefox-esr", "not the title that it gives itself"
    both = [t for t in traces if len({path for _, path, _ in t.modules}) > 1]
    assert [{path.rsplit("/", 1)[1] for _, path, _ in t.modules} for t in both] == [{"libsoftokn3.so", "module.so"}]
    assert "checked" in said and " 0 errors" in said


def test_tracer_of_nss(stage, tmp_path):
    """NSS's tracer hands out a table of 3.0's size with softoken's stamp, 3.2 in Firefox, which calls what is behind its end."""
    try:
        authenticate(stage, tmp_path, 1, env=NSS_TRACER)
    except (MarionetteError, AssertionError, OSError) as e:
        assert "closed the connection" in str(e) or "ended at once" in str(e), e
        return
    warnings.warn("this Firefox has mended NSS's own tracer: it works with NSS_DEBUG_PKCS11_MODULE", stacklevel=1)
