"""What the tests of `p11trace replay` share: a trace of the client `play` on our token, and the verb on any module."""
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from nss import LABEL, PIN

# What a program does with a key that the token has.
SIGNING = ("slots", "slot", "token", "a.open", "a.state", "a.login", "a.state", "a.key", "a.init", "a.sign", "a.init", "a.sign",
           "a.certs", "a.logout", "a.close")


class Replayer:
    """The stage's token with the traces of what was played on it. Every replay begins with the token as it was."""

    def __init__(self, stage, folder: Path):
        self.stage, self.folder = stage, folder
        self.token, self.faulty = stage.build / "libp11token.so", stage.build / "libp11faulty.so"

    def record(self, name, *steps, folder=None, wrap=()):
        """NAME.p11t of the client `play` on the token."""
        folder = folder or self.folder
        self.stage.reset()
        self.stage.traced("--quiet", *wrap)
        self.stage.must(self.stage.build / "tests/clients/play", self.stage.module, LABEL, PIN, *steps)
        (trace,) = self.stage.traces.glob("*.p11t")
        folder.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(trace, folder / f"{name}.p11t"))

    def command(self, *args, fault=None, module=None, pin=True):
        self.stage.reset()
        self.stage.env.update(P11FAULTY=fault or "none", P11FAULTY_MODULE=str(self.token))
        argv = [self.stage.build / "p11trace", "replay", "--module", module or (self.faulty if fault else self.token)]
        return [str(a) for a in argv + (["--pin-file", "pin.txt"] if pin else []) + list(args)]

    def __call__(self, *args, status=0, **how):
        p = subprocess.run(self.command(*args, **how), cwd=self.stage.folder, env=self.stage.env, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=60)
        assert status in (None, p.returncode), f"status {p.returncode}\n{p.stdout}\n{p.stderr}"
        assert PIN not in p.stdout + p.stderr
        return p

    def json(self, *args, **how):
        return json.loads(self("--json", *args, **how).stdout)


@pytest.fixture(scope="module")
def replay(fault_stage, tmp_path_factory):
    return Replayer(fault_stage("token"), tmp_path_factory.mktemp("golden"))
