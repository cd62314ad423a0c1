"""A fresh token of libp11token.so in a directory of its own; the fixture `token` of conftest.py hands it out."""
from dataclasses import dataclass, field
from pathlib import Path

from cryptoki import CKU, CkError, CKR, Module, Session

# Cheap on purpose: what makes a PIN expensive to guess is tested where it is the subject.
KDF_COST = 4


@dataclass
class Token:
    """An initialised token; `env` must be in the environment of every process that loads `module` or runs p11token."""
    module: Path
    directory: Path
    label: str = "Test Token"
    pin: str = "1234-pin"
    so_pin: str = "5678-so-pin"
    env: dict = field(default_factory=dict)
    parameters: str = ""
    loaded: Module = None

    def load(self) -> Module:
        """The module, initialised on the first call; one per process, so every call returns the same."""
        if self.loaded is None:
            module = Module(self.module, self.parameters)
            module.initialize()
            self.loaded = module
        return self.loaded

    def slot(self) -> int:
        return self.load().slot_of(self.label)

    def session(self, rw: bool = True, login: bool = True) -> Session:
        """A new session; `login` logs the user in unless that has happened."""
        s = self.load().open_session(self.slot(), rw)
        if login:
            try:
                s.login(self.pin)
            except CkError as e:
                if e.rv != CKR.USER_ALREADY_LOGGED_IN:
                    raise
        return s

    def finalize(self):
        """C_Finalize, if the test has not done it itself."""
        if self.loaded is not None:
            self.loaded.__exit__()
            self.loaded = None


def make_token(directory: Path, module: Path, setenv, settings: str = "", **names) -> Token:
    """Initialises a token, with both PINs set, in the blank slot of an empty directory. Leaves the module finalised.

    setenv(name, value) is called for what this process needs in its environment before it loads the module: whoever
    runs the tests may have settings of their own."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    token = Token(module=Path(module), directory=directory, **names)
    conf = directory.parent / (directory.name + ".conf")
    conf.write_text("")
    token.parameters = f"directory={directory} kdf-cost={KDF_COST} {settings}".rstrip()
    token.env = {"P11TOKEN_DIR": str(directory), "P11TOKEN_CONF": str(conf)}
    for name, value in token.env.items():
        setenv(name, value)
    with Module(token.module, token.parameters) as m:
        slot = m.slots()[0]
        m.init_token(slot, token.so_pin, token.label)
        s = m.open_session(slot)
        s.login(token.so_pin, CKU.SO)
        s.init_pin(token.pin)
        s.logout()
        s.close()
    return token
