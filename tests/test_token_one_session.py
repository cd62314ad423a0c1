"""FAQ Q3: a token with one session.  NSS does everything in it, and saves and restores the state of what it does in parts."""
import pytest

from nss import Server as OpenSslServer
from nss_scene import LABEL, PIN, Scene, openssl, pki  # noqa: F401

pytestmark = pytest.mark.nss


@pytest.fixture
def scene(tmp_path, build, pki):  # noqa: F811
    """The trace must have no error; warnings are NSS's own: it leaves operations active that it has saved."""
    made = Scene(tmp_path, build, pki)
    conf = made.folder / "one-session.conf"
    conf.write_text("max-sessions = 1\n")
    made.env["P11TOKEN_CONF"] = str(conf)
    yield made
    assert ": 0 errors" in made("p11trace", "check", "--severity", "error", made.traces).splitlines()[-1]


def test_interleaved_contexts(scene):
    """Digests, HMACs and ciphers, three of each at a time, as OpenSSL computes them: tests/clients/nss_state.c."""
    scene("modutil", "-force", "-dbdir", "sql:nssdb", "-default", "Token", "-mechanisms", "SHA256:SHA512")
    scene(scene.build / "tests" / "clients" / "nss_state", "sql:nssdb", LABEL, PIN)
    assert scene.called("C_GetOperationState") > 200 and scene.called("C_SetOperationState") > 200
    assert scene.called("C_OpenSession") > 10


def test_keys_and_certificates(scene):
    scene.self_signed("rsa", "rsa", "-g", 2048)
    scene.self_signed("ec", "ec", "-q", "nistp256")
    assert sorted(scene.keys()) == [("ec", "ec"), ("rsa", "rsa")]
    for name in ("rsa", "ec"):
        (scene.folder / "self.pem").write_bytes(scene.certificate(name))
        openssl(scene.folder, "verify", "-CAfile", "self.pem", "self.pem")


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_client_authentication(scene, kind):
    scene.trust_ca()
    scene.import_p12(f"user-{kind}")
    for name in ("pem", "key"):
        (scene.folder / f"server.{name}").write_bytes((scene.folder / f"server-rsa.{name}").read_bytes())
    with OpenSslServer(scene, "tls1_3") as server:
        out = scene("tstclnt", "-4", "-h", "localhost", "-p", server.port, "-d", "sql:nssdb", "-n",
                    f"{LABEL}:user-{kind}", "-W", "pins.txt", "-V", "tls1.2:tls1.3", "-A", "request-message")
        assert out.endswith("a message\n")
    assert scene.called("C_Sign") == 1
