"""Real programs notice that a token goes and comes back: OpenSC's, a program of NSS that waits for events, Firefox.  What they
called is judged by `p11trace check`."""
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from firefox import ClientAuthenticationServer, Firefox, environment_for
from nss_scene import LABEL, MODULE_NAME, PIN, SO_PIN, Scene, pki  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan]


class CardScene(Scene):
    """A scene whose token can be removed."""

    def make_token(self, init):
        self("p11token", "init", "--label", LABEL, "--kdf-cost", 8, "--pin", PIN, "--so-pin", SO_PIN, "--removable")

    def turn(self, verb):
        assert f": {verb.removesuffix('e')}ed" in self("p11token", verb, "--token", LABEL)

    def judged(self):
        """No error, and none of the rules of removals and events speaks."""
        found = self("p11trace", "check", "--severity", "info", self.traces, status=None)
        assert "0 errors" in found and not re.search(r"NSS-SLOT-0[5-9]", found), found


@pytest.fixture
def scene(tmp_path, build, pki):  # noqa: F811
    scene = CardScene(tmp_path, build, pki)
    yield scene
    scene.judged()


class Program:
    """A program that is told what to do and answers line by line."""

    def __init__(self, scene, *argv):
        self.process = subprocess.Popen([str(a) for a in argv], cwd=scene.folder, env=scene.env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.text = b""

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def says(self, wanted, seconds=20):
        """Reads until it has said something that matches; returns the match and forgets what came before."""
        deadline = time.monotonic() + seconds
        while True:
            match = re.search(wanted.encode(), self.text)
            if match:
                self.text = self.text[match.end():]
                return match
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.process.stdout], [], [], left)[0], f"{wanted!r} not in {self.text!r}"
            more = self.process.stdout.read1()
            assert more, f"it ended without {wanted!r}: {self.text!r}"
            self.text += more

    def asleep(self):
        """Returns when a thread of it waits in the module: in poll, for two descriptors, for ever."""
        while not any(self._polls(task) for task in Path(f"/proc/{self.process.pid}/task").iterdir()):
            time.sleep(0.01)

    @staticmethod
    def _polls(task):
        call = (task / "syscall").read_text().split()
        return call[0] == "7" and call[2:4] == ["0x2", "0xffffffff"]

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0, self.process.stdout.read()


def test_opensc(scene):
    """pkcs11-tool --test-hotplug: by looking, and by waiting."""
    p = Program(scene, "stdbuf", "-o0", "pkcs11-tool", "--module", scene.module, "--test-hotplug")
    there, gone = r"Slot 0 \(0x1\): .*\n  token label +: Scene\n", r"Slot 0 \(0x1\): .*\n  \(empty\)\n"
    p.says("continue, x to exit:")
    for verb, wanted in (("remove", gone), ("insert", there)):
        scene.turn(verb)
        p.tell("")
        p.says(wanted)
        p.says("continue, x to exit:")
    p.tell("x")
    p.says(r"using C_WaitForSlotEvent")
    p.says("continue, x to exit:")
    p.tell("")
    p.says(r"Calling C_WaitForSlotEvent: event on slot 0x1\n")  # what it has seen, but not been told
    p.says("continue, x to exit:")
    for verb, wanted in (("remove", gone), ("insert", there)):
        p.tell("")
        p.says("Calling C_WaitForSlotEvent: ")
        p.asleep()
        scene.turn(verb)
        p.says(r"^event on slot 0x1\n", 1)
        p.says(wanted)
        p.says("continue, x to exit:")
    p.tell("x")
    p.end()


def test_nss_waits_for_events(scene, build):
    """SECMOD_WaitForAnyTokenEvent returns within a second of a removal, an insertion and SECMOD_CancelWait, which is
    C_Finalize; the login is gone with the card, and keys are found again after the next one."""
    scene.import_p12("user-rsa")
    p = Program(scene, build / "tests/clients/nss_events", "sql:nssdb", MODULE_NAME, LABEL, PIN)
    p.says("ready\n")
    p.tell("login")
    p.says("login: ok\n")
    p.tell("look")
    p.says("look: present, logged in, 1 keys\n")
    for _ in range(2):
        p.tell("wait")
        p.asleep()
        scene.turn("remove")
        p.says(f"event: {LABEL} absent\n", 1)
        p.tell("wait")
        p.asleep()
        p.tell("look")
        p.says("look: absent, logged out, 0 keys\n")
        scene.turn("insert")
        p.says(f"event: {LABEL} present\n", 1)
        p.tell("look")
        p.says("look: present, logged out, 0 keys\n")
        p.tell("login")
        p.says("login: ok\n")
        p.tell("look")
        p.says("look: present, logged in, 1 keys\n")
    p.tell("wait")
    p.asleep()
    p.tell("cancel")
    p.says("event: none\n", 1)
    p.says("cancelled\n", 1)
    p.end()
    assert re.search(r"C_WaitForSlotEvent\(.*CKR_CRYPTOKI_NOT_INITIALIZED",
                     scene("p11trace", "dump", "-e", "fn=C_WaitForSlotEvent", scene.traces))


STATUS = """
const done = arguments[arguments.length - 1];
(async () => {
  const database = Cc["@mozilla.org/security/pkcs11moduledb;1"].getService(Ci.nsIPKCS11ModuleDB);
  for (const module of await database.listModules())
    if (module.name == "Token")
      for (const slot of module.slots)
        return [slot.status == Ci.nsIPKCS11Slot.SLOT_NOT_PRESENT, slot.status == Ci.nsIPKCS11Slot.SLOT_LOGGED_IN];
})().then(done, e => done(["failed", String(e)]));
"""


def test_firefox(scene, tmp_path):
    """A key on the card is used; the card is pulled: Firefox says so and is not logged in; it comes back: a PIN is asked for
    and the key is used again."""
    scene.trust_ca()
    scene.import_p12("user-rsa")
    shutil.rmtree(scene.traces)  # only Firefox's calls count below
    scene.traces.mkdir()
    profile = tmp_path / "profile"
    shutil.copytree(scene.folder / "nssdb", profile)

    def becomes(firefox, wanted):
        deadline = time.monotonic() + 10
        while firefox.script(STATUS, asynchronous=True) != wanted:
            assert time.monotonic() < deadline, firefox.script(STATUS, asynchronous=True)
            time.sleep(0.1)

    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as first, \
            ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as second, \
            Firefox(profile, environment_for(tmp_path / "home", scene.env), tmp_path / "firefox.log") as firefox:
        firefox.answer_prompts(PIN)
        assert firefox.visit(f"https://localhost:{first.port}/") == "User rsa", first.errors
        becomes(firefox, [False, True])
        scene.turn("remove")
        becomes(firefox, [True, False])
        scene.turn("insert")
        becomes(firefox, [False, False])
        assert firefox.visit(f"https://localhost:{second.port}/") == "User rsa", second.errors
        becomes(firefox, [False, True])
        assert len(firefox.prompts()) == 2
