"""A SoftHSM token in a directory of its own: the module that the tests and the benchmarks trace."""
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")


@dataclass
class Token:
    """An initialised token; `env` must be in the environment of every process that loads `module`."""
    conf: Path
    label: str = "Trace Test"
    pin: str = "1234-pin"
    so_pin: str = "5678-so-pin"
    module: Path = MODULE
    env: dict = field(default_factory=dict)

    def tool(self, *args, module=None):
        """Runs pkcs11-tool, logged in as the user."""
        return subprocess.run(["pkcs11-tool", "--module", str(module or self.module), "--token-label", self.label,
                               "--login", "--pin", self.pin, *args], env={**os.environ, **self.env},
                              check=True, capture_output=True, text=True)


def make_token(directory: Path, label: str = "Trace Test") -> Token:
    """Writes softhsm2.conf below `directory` and initialises one token there."""
    directory = Path(directory)
    store = directory / "tokens"
    store.mkdir(parents=True)
    conf = directory / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {store}\nobjectstore.backend = file\nlog.level = ERROR\n")
    token = Token(conf=conf, label=label, env={"SOFTHSM2_CONF": str(conf)})
    subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", token.pin,
                    "--so-pin", token.so_pin], env={**os.environ, **token.env}, check=True, capture_output=True)
    return token
