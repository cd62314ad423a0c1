"""Chromium shows a client certificate whose key is on the traced token.  It asks for the PIN in a window of its own, which only a
screen shows: Xvfb, and xdotool types."""
import json
import os
import shutil
import subprocess
import time

import pytest

from conftest import own_mounts
from firefox import ClientAuthenticationServer
from nss_scene import LABEL, PIN, new_scene, pki  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan, pytest.mark.root]

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--password-store=basic", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--ignore-certificate-errors"]


class Screen:
    """An X server that has chosen its number itself."""

    def __enter__(self):
        ours, theirs = os.pipe()
        self.process = subprocess.Popen(["Xvfb", "-displayfd", str(theirs), "-screen", "0", "1000x700x24", "-nolisten", "tcp"],
                                        pass_fds=[theirs], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(theirs)
        with os.fdopen(ours) as number:
            name = number.readline().strip()
        if not name:
            self.__exit__()
            raise AssertionError("Xvfb does not start")
        self.env = {"DISPLAY": f":{name}"}
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def xdotool(self, *argv):
        return subprocess.run(["xdotool", *map(str, argv)], env={**os.environ, **self.env}, capture_output=True, text=True,
                              timeout=20).stdout.split("\n")

    def windows(self):
        """{name: window}"""
        found = [w for w in self.xdotool("search", "--onlyvisible", "--name", ".") if w]
        return {self.xdotool("getwindowname", w)[0]: w for w in found}


def visit(scene, tmp_path, url, seen):
    """Opens the page, types the PIN as often as it is asked for; returns how often."""
    policy = tmp_path / "etc" / "policies" / "managed"
    policy.mkdir(parents=True)
    rule = json.dumps({"pattern": "https://localhost:*", "filter": {}})
    (policy / "test.json").write_text(json.dumps({"AutoSelectCertificateForUrls": [rule]}))
    home = tmp_path / "home"
    (home / ".pki").mkdir(parents=True)
    shutil.copytree(scene.folder / "nssdb", home / ".pki" / "nssdb")
    argv = ["chromium", *ARGUMENTS, f"--user-data-dir={tmp_path}/profile", url]
    script = 'mount --bind "$0" /etc/chromium && exec "$@"'
    prompts, names = 0, set()
    with Screen() as screen, open(tmp_path / "chromium.log", "wb") as log:
        p = subprocess.Popen([*own_mounts(), "sh", "-c", script, tmp_path / "etc", *argv],
                             env={**scene.env, **screen.env, "HOME": str(home)}, stdin=subprocess.DEVNULL, stdout=log,
                             stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 60
            answered = None
            while not seen and time.monotonic() < deadline and p.poll() is None:
                windows = screen.windows()
                names |= set(windows)
                dialog = next((w for name, w in windows.items() if name == "Unlock Security Device"), None)
                if dialog and dialog != answered:
                    screen.xdotool("type", "--delay", 20, PIN)
                    screen.xdotool("key", "Return")
                    prompts, answered = prompts + 1, dialog
                time.sleep(0.2)
        finally:
            p.terminate()
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
    assert seen, (names, (tmp_path / "chromium.log").read_text(errors="replace")[-2000:])
    return prompts


def test_client_certificate(new_scene, tmp_path):
    scene = new_scene()
    scene.trust_ca()
    scene.import_p12("user-rsa")
    scene.forget()  # only Chromium's calls count below
    scene.traces.mkdir()
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server:
        assert visit(scene, tmp_path, f"https://localhost:{server.port}/page", server.seen) == 1
        assert server.seen[0] == ("TLSv1.3", "User rsa", "/page")
    assert scene.called("C_Login") == 1
    assert scene.called("C_Sign") + scene.called("C_SignFinal") >= 1
    life, = [s for s in json.loads(scene("p11trace", "state", "--json", scene.traces)) if s["token"] == LABEL]
    assert (life["prompts"], life["unexplained"]) == (1, 0)
