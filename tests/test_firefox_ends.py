"""However Firefox ends, its trace has every call, `info` says how it ended, and `p11trace run` which signal it was."""
import os
import re
import shutil
import signal

import pytest

import p11t_reader
from firefox import ClientAuthenticationServer, Firefox, MarionetteError, environment_for
from lab import assert_nothing_lost
from nss_scene import PIN, new_scene, pki  # noqa: F401

pytestmark = [pytest.mark.nss, pytest.mark.nosan]

ENDED = "ended (no clean end: the program left with _exit or was killed between calls)"
INSIDE = "ended inside C_SignInit"
# how: (what `info` says, how `run` says that the process ended, its exit status)
ENDS = {
    "its own fast shutdown": (ENDED, "exit status 0", 0),  # _exit; softoken and the token stay initialised
    "a slow shutdown": ("complete", "exit status 0", 0),
    "killed": (ENDED, "killed by SIGKILL", 128 + signal.SIGKILL),
    "a crash in the module": (INSIDE, "killed by SIGSEGV inside C_SignInit", 128 + signal.SIGSEGV),
    "a crash elsewhere": (ENDED, "killed by SIGSEGV", 128 + signal.SIGSEGV),
}
SLOW = {"toolkit.shutdown.fastShutdownStage": 0}
CRASH = "crash=C_SignInit"


@pytest.fixture
def staged(new_scene, tmp_path):
    """staged(chained, fault): (scene, profile) of a token with a client key behind libp11faulty.so; traced when `chained`."""
    def make(chained, fault):
        scene = new_scene(traced=False)
        scene.trust_ca()
        scene.import_p12("user-rsa")
        module = scene.folder / "faulty.so" if chained else scene.module
        shutil.copy(scene.build / "libp11faulty.so", module)
        module.with_suffix(".conf").write_text(f"module = {scene.build}/libp11token.so\nfaults = {fault}\n")
        if chained:
            scene.module.unlink()
            scene("p11trace", "wrap", module, "-o", scene.module, "--out", scene.traces)
        shutil.copytree(scene.folder / "nssdb", tmp_path / "profile")
        return scene, tmp_path / "profile"

    return make


def play(scene, profile, tmp_path, how, under):
    """Logs in, asks for a page, and ends as `how` says; returns what Firefox and `run` wrote."""
    log = tmp_path / "firefox.log"
    with ClientAuthenticationServer(scene.folder, "server-rsa.pem", "server-rsa.key", "ca.pem") as server, \
            Firefox(profile, environment_for(tmp_path / "home", scene.env), log, SLOW if how.startswith("a slow") else (),
                    under) as firefox:
        firefox.answer_prompts(PIN)
        pid = firefox.script("return Services.appinfo.processID")
        if how == "a crash in the module":
            with pytest.raises((MarionetteError, OSError)):
                firefox.visit(f"https://localhost:{server.port}/")
        else:
            assert firefox.visit(f"https://localhost:{server.port}/") == "User rsa", server.errors
            if "shutdown" not in how:
                os.kill(pid, signal.SIGKILL if how == "killed" else signal.SIGSEGV)
        if "shutdown" not in how:
            firefox.process.wait(60)
    return pid, firefox.process.returncode, log.read_text(errors="replace")


def told(scene, path):
    """The verdict, and what was in flight."""
    text = scene("p11trace", "info", "-v", path)
    verdict = re.search(r"^  verdict   (.*)$", text, re.M)[1].removesuffix(", exit status 0").removesuffix(" (recovered)")
    return verdict, re.findall(r"^  in flight #\d+ (\w+),", text, re.M)


def is_whole(path, how):
    """No record is lost, the login and its signature are there; returns the calls that did not return. A signal that Firefox did
    not expect may find a thread in softoken, or on its way to a record whose number it has taken."""
    trace = p11t_reader.read(path)
    if how in ("killed", "a crash elsewhere"):
        assert trace.damage == []
        numbers = {r.number for r in trace.records}
        assert max(numbers) - min(numbers) + 1 - len(numbers) <= len({r.tid for r in trace.records})
    else:
        assert_nothing_lost(trace)
    names = [c.name for c in trace.calls]
    assert names.count("C_Login") >= 1 and "C_SignInit" in names
    assert ("C_Finalize" in names) == (how == "a slow shutdown")
    return [c.name for c in trace.calls if c.state != "done"]


def judge(scene, path, how):
    """The function that `info` says Firefox ended in, if any."""
    inside = is_whole(path, how)
    verdict, flight = told(scene, path)
    assert sorted(flight) == sorted(inside)
    if how in ("killed", "a crash elsewhere") and inside:
        assert verdict.startswith("ended inside C_")
        return inside
    assert verdict == ENDS[how][0] and inside == ["C_SignInit"] * (verdict == INSIDE)
    return []


@pytest.mark.parametrize("how", ENDS)
def test_under_run(staged, tmp_path, how):
    _, end, status = ENDS[how]
    scene, profile = staged(False, CRASH if how == "a crash in the module" else "none")
    pid, code, said = play(scene, profile, tmp_path, how, [scene.build / "p11trace", "run", "-o", scene.traces, "--"])
    assert code == status, said
    (path,) = scene.traces.glob(f"*.{pid}.p11t")
    by_chance = judge(scene, path, how)
    (ended,) = re.findall(rf"^  firefox-esr\[{pid}\]: (.*?); \d+ calls", said, re.M)
    assert ended.startswith(end) if by_chance else ended == end, said


@pytest.mark.parametrize("how", ["its own fast shutdown", "killed", "a crash in the module", "a crash elsewhere"])
def test_chained(staged, tmp_path, how):
    scene, profile = staged(True, CRASH if how == "a crash in the module" else "none")
    play(scene, profile, tmp_path, how, ())
    (path,) = scene.traces.glob("*.p11t")
    judge(scene, path, how)
    # What was in the live file is folded in, and says the same.
    scene("p11trace", "recover", path)
    assert not list(scene.traces.glob("*.live"))
    judge(scene, path, how)
