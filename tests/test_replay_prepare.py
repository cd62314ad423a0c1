"""replay --prepare: a trace from a token that is not here replays on an empty one."""
import re
import shutil

import pytest

from firefox import ClientAuthenticationServer, Firefox, environment_for
from nss_scene import LABEL, PIN, new_scene, pki, scene  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan]


class Prepared:
    """An empty token beside the scene's, and replays on it."""

    def __init__(self, scene, folder):
        self.scene, self.folder = scene, folder

    def empty(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.env = {**self.scene.env, "P11TOKEN_DIR": str(self.folder)}
        # Its serial number is another one, which certificates and keys do not depend on.
        (self.scene.folder / "expect").write_text("C_GetTokenInfo pInfo.serialNumber : another token\n")
        self.run(self.scene.build / "p11token", "init", "--label", LABEL, "--kdf-cost", 8, "--pin", PIN, "--so-pin",
                 "s0p-empty")

    def run(self, *argv, status=0):
        before, self.scene.env = self.scene.env, self.env
        try:
            return self.scene(*argv, status=status)
        finally:
            self.scene.env = before

    def replay(self, trace, *options, status=0):
        return self.run("p11trace", "replay", "--module", self.scene.build / "libp11token.so", "--pin-file", "pin.txt",
                        "--expect", "expect", *options, trace, status=status)

    def objects(self):
        return self.run("pkcs11-tool", "--module", self.scene.build / "libp11token.so", "--login", "--pin", PIN, "-O")


@pytest.fixture
def prepared(scene, tmp_path):  # noqa: F811
    prepared = Prepared(scene, tmp_path / "empty")
    prepared.empty()
    return prepared


def traces_of(scene):  # noqa: F811
    return sorted(scene.traces.glob("*.p11t"))


def test_nss_tools(scene, prepared):  # noqa: F811
    """What certutil lists and tstclnt authenticates with is made: the certificate as it was, a key of its kind."""
    scene.trust_ca()
    scene.import_p12("user-rsa")
    scene.import_p12("user-ec")
    scene.forget()
    scene.certutil("-K")
    scene.certutil("-L")
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server:
        scene("tstclnt", "-4", "-h", "localhost", "-p", server.port, "-d", "sql:nssdb", "-n", f"{LABEL}:user-rsa", "-W",
              "pins.txt", "-V", "tls1.2:tls1.3", "-A", "request")
    assert scene.called("C_SignInit") == 1
    made = []
    for trace in traces_of(scene):
        prepared.empty()
        said = prepared.replay(trace, "--prepare")
        assert re.match(r"replayed (\d+) of \1 calls of 1 process on .*: no difference", said), said
        made.append(int(re.search(r"^made (\d) objects on the token first$", said, re.M)[1]))
    # Both pairs' private halves and certificates; tstclnt looks at one key.
    assert made == [4, 4, 3]
    assert "its certificate is that of the recorded key, not of the fresh one" in said
    # A second time it is not empty.
    said = prepared.replay(trace, "--prepare", status=2)
    assert "the token has objects already: use an empty one" in said


def test_firefox(scene, prepared, tmp_path):  # noqa: F811
    """Firefox authenticated itself with another token; its calls do the same with a fresh key on this one."""
    scene.trust_ca()
    scene.import_p12("user-ec")
    scene.forget()
    profile = tmp_path / "profile"
    shutil.copytree(scene.folder / "nssdb", profile)
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server, \
            Firefox(profile, environment_for(tmp_path / "home", scene.env), tmp_path / "firefox.log") as firefox:
        firefox.answer_prompts(PIN)
        assert firefox.visit(f"https://localhost:{server.port}/one") == "User ec", server.errors
    (trace,) = traces_of(scene)
    said = prepared.replay(trace, "--prepare")
    assert ": no difference" in said and "made 3 objects on the token first" in said, said
    objects = prepared.objects()
    assert "Private Key Object; EC" in objects and "Public Key Object; EC  EC_POINT 256 bits" in objects
    assert "label:      user-ec" in objects and "CN=User ec" in objects
