"""The last line of `p11trace follow`: the login of each slot, of live clients and of Firefox."""
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import termios
import threading
from types import SimpleNamespace

import pytest

from check_story import OK, RW, SERIAL, Story
from firefox import ClientAuthenticationServer, Firefox, environment_for
from follower import Follower
from nss import LABEL, PIN
from nss_scene import LABEL as SCENE, PIN as SCENE_PIN, new_scene, pki  # noqa: F401


def watched(stage, *steps, fault="none"):
    """The lines of --status while a client plays these steps."""
    stage.broken(fault)
    stage.traces.mkdir(exist_ok=True)
    f = Follower(SimpleNamespace(build=stage.build, env=stage.env, tmp=stage.folder), "--status", stage.traces)
    p = stage.run(stage.build / "tests/clients/play", stage.module, LABEL, PIN, *steps)
    shown = f.end()
    assert p.status == 0, p.stderr
    assert shown.count(" C_Login(") == sum(".login" in s or ".pad" in s for s in steps)
    assert all(line.startswith("login: ") for line in f.errors.splitlines()), f.errors
    return [line.removeprefix("login: ") for line in f.errors.splitlines()]


@pytest.mark.nss
def test_each_change_has_a_line(fault_stage):
    said = watched(fault_stage("token"), "a.open", "a.state", "3*a.state", "a.login=wrong", "a.login", "a.state",
                   "a.logout", "a.login", "a.close")
    assert said == [f'"{LABEL}" logged out, 0 prompts', f'"{LABEL}" logged out, 1 prompt', f'"{LABEL}" logged in, 2 prompts',
                    f'"{LABEL}" logged out, 2 prompts', f'"{LABEL}" logged in, 3 prompts', f'"{LABEL}" logged out, 3 prompts',
                    f'"{LABEL}" logged out, 3 prompts (ended)']


@pytest.mark.nss
def test_answer_and_calls_part(fault_stage):
    said = watched(fault_stage("token"), "a.open", "a.login", "a.state", "a.login", "2*a.state", fault="stale-state")
    assert said[0] == f'"{LABEL}" logged in, 1 prompt'
    assert said[1] == f'! "{LABEL}" logged out, 1 prompt'
    assert said[-1] == f'! "{LABEL}" logged out, 2 prompts (ended)'


def followed(build, run, path, *options):
    return [line.removeprefix("login: ")
            for line in run(build / "p11trace", "follow", *options, "--status", path).stderr.splitlines()]


def test_officer_removal_and_slot_without_a_name(build, run, tmp_path):
    t = Story()
    t.initialize()
    t.open(1, flags=RW | SERIAL)
    t.call("login", 1, user=0)
    t.call("slot_info", flags=2)
    t.call("slot_info")
    assert followed(build, run, t.write(tmp_path / "x.p11t")) == [
        "slot 5 logged in as SO, 0 prompts", "slot 5 gone, 0 prompts", "slot 5 logged out, 0 prompts",
        "slot 5 logged out, 0 prompts (ended)"]


def test_a_pipe_has_it_only_when_asked(build, run, tmp_path):
    t = Story()
    t.initialize()
    t.open(1)
    t.call("login", 1)
    path = t.write(tmp_path / "x.p11t")
    plain = run(build / "p11trace", "follow", path)
    assert plain.stderr == "" and run(build / "p11trace", "follow", "--status", path).stdout == plain.stdout


def test_label_cannot_write_to_the_terminal(build, run, tmp_path):
    t = Story()
    t.initialize()
    t.call("token_info", label=b"\x1b[2J\xff\"x")
    t.open(1)
    t.call("login", 1, rv=OK)
    assert followed(build, run, t.write(tmp_path / "x.p11t"))[0] == '"\\x1b[2J\\xff\\"x" logged in, 1 prompt'


def on_terminal(argv, columns=80):
    """What a program writes to a terminal as stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    got = []

    def read():
        try:
            while data := os.read(ours, 4096):
                got.append(data)
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs) as p:
        os.close(theirs)
        reader.start()
        p.wait(30)
        reader.join()
    os.close(ours)
    return b"".join(got).decode()


@pytest.mark.parametrize("columns, line", [
    (100, '5 calls, 0 failed, 0 processes recording | "Bank card" logged in, 1 prompt (ended)'),
    (60, '5 calls, 0 failed, 0 processes recording | "Bank card" logg')])
def test_terminal_keeps_one_line(build, tmp_path, columns, line):
    t = Story()
    t.initialize()
    t.call("token_info", label="Bank card")
    t.open(1)
    t.call("login", 1)
    t.call("session_info", 1, state=1)
    path = t.write(tmp_path / "x.p11t")
    said = on_terminal([build / "p11trace", "follow", path], columns)
    assert said.split("\r\x1b[K")[-1] == line + "\r\n"
    assert said.count("\n") == 1
    assert on_terminal([build / "p11trace", "follow", "-q", path]) == ""


@pytest.mark.nss
@pytest.mark.nosan
def test_live_firefox(new_scene, tmp_path):
    """The last line follows what Firefox does: nothing asked, logged in by one prompt, and so to its end."""
    scene = new_scene()
    scene.trust_ca()
    scene.import_p12("user-rsa")
    scene.forget()
    scene.traces.mkdir()
    profile = tmp_path / "profile"
    shutil.copytree(scene.folder / "nssdb", profile)
    f = Follower(SimpleNamespace(build=scene.build, env=scene.env, tmp=tmp_path), "--status", "--wait", scene.traces)
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server, \
            Firefox(profile, environment_for(tmp_path / "home", scene.env), tmp_path / "firefox.log") as firefox:
        firefox.answer_prompts(SCENE_PIN)
        assert firefox.visit(f"https://localhost:{server.port}/") == "User rsa", server.errors
        assert len(firefox.prompts()) == 1
    f.wait_for(1)
    f.process.terminate()
    f.end()
    said = re.findall(rf'^login: (?:\S+\[\d+\] )?"{SCENE}" (.*)$', f.errors, re.M)
    assert said[0].startswith("logged out, 0 prompts"), f.errors
    assert "logged in, 1 prompt" in said and said[-1].startswith("logged in, 1 prompt"), f.errors
    assert "!" not in f.errors
