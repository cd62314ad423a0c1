"""`make demo`, from a fresh folder to the checked trace; and the same for a module of the reader's own."""
import re
import subprocess

import pytest

from conftest import ROOT
from nss import environment, run_demo

pytestmark = pytest.mark.nss


@pytest.fixture(scope="module")
def demo(build, tmp_path_factory):
    return run_demo(tmp_path_factory.getbasetemp(), build)


def statuses(output):
    """{command line: exit status} of everything that was shown."""
    return dict(re.findall(r"^\$ (.*)\n(?:    .*\n)*?    exit status (\d+)$", output, re.M))


def test_ends_with_the_checked_trace(demo):
    assert demo.status == 0, demo.output
    shown = statuses(demo.output)
    assert len(shown) == demo.output.count("\n    exit status ") and len(shown) >= 25
    verdict = shown.pop("p11trace check traces")
    assert verdict in "01"
    assert set(shown.values()) == {"0"}
    last = demo.output.rindex("$ p11trace check traces")
    assert not re.search(r"^\$ ", demo.output[last + 1:], re.M), "the check comes last"
    assert len(demo.output[last:].splitlines()) > 3, "and says something"


def test_every_tool_left_a_trace(demo):
    traces = {p.name.split(".")[0] for p in (demo.folder / "traces").iterdir()}
    assert traces == {"certutil", "modutil", "pk12util", "cmsutil", "tstclnt"}


def test_shows_the_calls(demo):
    calls = demo.output[demo.output.index("$ p11trace dump"):demo.output.index("$ p11trace stat")]
    assert 20 <= len(calls.splitlines()) <= 50
    for function in ("C_Login", "C_GenerateKeyPair", "C_CreateObject", "C_Sign", "C_DecryptUpdate", "C_SetPIN",
                     "C_DestroyObject"):
        assert function in calls
    assert "CKM_" in calls


def test_stops_when_a_step_fails(build, tmp_path):
    """A module that cannot be added: status 1 and the failing command last, not a demo that goes on regardless."""
    fake = tmp_path / "build"
    fake.mkdir()
    for name, script in {"p11trace": "echo no >&2\nexit 2\n", "p11token": "exit 0\n"}.items():
        (fake / name).write_text("#!/bin/sh\n" + script)
        (fake / name).chmod(0o755)
    p = subprocess.run(["sh", ROOT / "examples/modutil-chain/demo.sh"], stdin=subprocess.DEVNULL, text=True,
                       env=environment(tmp_path, BUILD=fake, DEMO_DIR=tmp_path / "demo"), capture_output=True)
    assert p.returncode == 1
    assert list(statuses(p.stdout).values())[-1] == "2" and "modutil" not in p.stdout


def test_folders_of_others_are_not_removed(build, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine").write_text("x")
    p = subprocess.run(["sh", ROOT / "examples/modutil-chain/demo.sh"], stdin=subprocess.DEVNULL, text=True,
                       env=environment(tmp_path, BUILD=build, DEMO_DIR=tmp_path / "demo"), capture_output=True)
    assert p.returncode == 2 and (tmp_path / "demo" / "mine").read_text() == "x"


@pytest.mark.parametrize("options, in_place", [((), False), (("--generate",), False), ((), True)])
def test_module_of_your_own(demo, build, tmp_path, options, in_place):
    """run.sh on the demo's token, as it would be on a vendor's; in_place: the reader's database knows the module."""
    module = build / "libp11token.so"
    env = environment(tmp_path, BUILD=build, P11TOKEN_DIR=demo.folder / "tokens")
    argv = ["sh", ROOT / "examples/modutil-chain/run.sh", module, "--pin-file", demo.folder / "newpin.txt", "--dir",
            tmp_path / "run", *options]
    objects = ["pkcs11-tool", "--module", module, "--token-label", "Demo", "--login", "--pin",
               (demo.folder / "newpin.txt").read_text().strip(), "--list-objects"]

    def listing():
        return sorted(subprocess.run(objects, env=env, capture_output=True, text=True, check=True).stdout.splitlines())

    if in_place:
        (tmp_path / "nssdb").mkdir()
        for command in (["certutil", "-N", "-d", "sql:nssdb", "--empty-password"],
                        ["modutil", "-force", "-dbdir", "sql:nssdb", "-add", "My card", "-libfile", module]):
            subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
        database = {p.name: p.read_bytes() for p in (tmp_path / "nssdb").iterdir()}
        argv += ["--nssdb", f"sql:{tmp_path}/nssdb"]
    before = listing()
    p = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    shown = statuses(p.stdout)
    assert p.returncode == int(shown.pop("p11trace check traces")) in (0, 1), p.stdout + p.stderr
    assert set(shown.values()) == {"0"}, p.stdout
    assert any(" -R " in c for c in shown), "nothing was signed"
    assert any(" -S " in c for c in shown) == bool(options)
    assert listing() == before, "the token has changed"
    assert list((tmp_path / "run/traces").iterdir())
    assert not list((tmp_path / "run/work").glob("pin*")), "the PIN was left behind"
    if in_place:
        assert any("--replace" in c for c in shown)
        assert {p.name: p.read_bytes() for p in (tmp_path / "nssdb").iterdir()} == database
