"""A token directory of its own with the module on it, for tests that make tokens in several ways."""
import os

import pytest

from cryptoki import CKF, CKU, CkError, Module
from peers import Peer

PIN, SO_PIN = "1234-pin", "5678-so-pin"
PIN_FLAGS = {name: getattr(CKF, name) for name in (
    "LOGIN_REQUIRED USER_PIN_INITIALIZED TOKEN_INITIALIZED USER_PIN_COUNT_LOW USER_PIN_FINAL_TRY USER_PIN_LOCKED "
    "SO_PIN_COUNT_LOW SO_PIN_FINAL_TRY SO_PIN_LOCKED").split()}


class Bench:
    """A token directory of its own, and the module on it in this process."""

    def __init__(self, directory, library, settings: str):
        self.library, self.directory = library, directory
        self.parameters = f"directory={directory} kdf-cost=4 {settings}"
        self.m = Module(library, self.parameters)
        self.m.initialize()
        self.slot = self.m.slots()[0]

    def make(self, pin=PIN, so_pin=SO_PIN):
        """Makes the token, with a user PIN unless `pin` is None."""
        self.m.init_token(self.slot, so_pin, "Bench")
        if pin is not None:
            s = self.m.open_session(self.slot)
            s.login(so_pin, CKU.SO)
            s.init_pin(pin)
            s.close()
        return self

    def session(self, rw=True):
        return self.m.open_session(self.slot, rw)

    def flags(self) -> set:
        """The flags of C_GetTokenInfo that this is about, without those that every token of these tests has."""
        flags = self.m.token_info(self.slot)["flags"]
        return {name for name, bit in PIN_FLAGS.items() if flags & bit}

    def peer(self, within=()) -> Peer:
        return Peer(self.library, self.parameters, within=within)


ALWAYS = {"LOGIN_REQUIRED", "USER_PIN_INITIALIZED", "TOKEN_INITIALIZED"}


@pytest.fixture
def bench(tmp_path, build, monkeypatch):
    """bench(settings) -> Bench, finalised at the end."""
    for name in [n for n in os.environ if n.startswith("P11TOKEN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    made = []

    def make(settings=""):
        made.append(Bench(tmp_path / f"tokens{len(made)}", build / "libp11token.so", settings))
        return made[-1]

    yield make
    for b in made:
        b.m.__exit__()


def code(function, *arguments) -> str:
    """The name of the code of a call."""
    try:
        function(*arguments)
    except CkError as e:
        return e.name
    return "CKR_OK"
