"""The token's settings: file, environment, parameters of C_Initialize; what they do and what a wrong one says."""
import os
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from cryptoki import CKF, CKM, CKR, CKU, CkError, Module
from peers import Peer
from token_record import read_record


class Settings:
    """The places that settings come from; `start` initialises the module with what is in them."""

    def __init__(self, home: Path, library: Path, monkeypatch, capfd):
        self.home, self.library, self.monkeypatch, self.capfd = home, library, monkeypatch, capfd
        self.modules = []

    def env(self, **names):
        for name, value in names.items():
            self.monkeypatch.setenv(name, str(value)) if value is not None else self.monkeypatch.delenv(name, False)

    def file(self, text, path=None, mode=0o600) -> Path:
        path = Path(path or self.home / ".config/p11token/p11token.conf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def start(self, parameters=None) -> Module:
        m = Module(self.library, parameters)
        m.initialize()
        self.modules.append(m)
        return m

    def refused(self, parameters=None) -> tuple:
        """(code, what was said on stderr) of a C_Initialize that fails."""
        self.capfd.readouterr()
        with pytest.raises(CkError) as e:
            self.start(parameters)
        return e.value.name, self.capfd.readouterr().err

    def token_in(self, directory, parameters=None, pin=None) -> Module:
        """Starts, and makes a token in the blank slot, whose file must then be in that directory."""
        directory = Path(directory)
        assert not list(directory.glob("*.p11token")), "the directory is not empty"
        m = self.start(parameters)
        m.init_token(m.slots()[0], "so-pin", "Set")
        assert len(list(directory.glob("*.p11token"))) == 1
        if pin is not None:
            s = m.open_session(m.slots()[0])
            s.login("so-pin", CKU.SO)
            s.init_pin(pin)
            s.close()
        return m

    def stop(self):
        while self.modules:
            self.modules.pop().__exit__()


@pytest.fixture
def settings(tmp_path, build, monkeypatch, capfd):
    for name in list(os.environ):
        if name.startswith(("P11TOKEN_", "XDG_")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    made = Settings(home, build / "libp11token.so", monkeypatch, capfd)
    yield made
    made.stop()


# --- what settings do -----------------------------------------------------------------------------------------------

def test_default_directory(settings):
    """Without any setting tokens are in ~/.local/share/p11token, made for this user only when the first token is."""
    m = settings.start()
    assert not (settings.home / ".local").exists()
    m.init_token(m.slots()[0], "so-pin", "Set")
    directory = settings.home / ".local/share/p11token"
    assert len(list(directory.glob("*.p11token"))) == 1
    assert [d.stat().st_mode & 0o777 for d in (directory, directory.parent, directory.parent.parent)] == [0o700] * 3


def test_xdg_data_home(settings, tmp_path):
    """$XDG_DATA_HOME/p11token if that is set, and as the XDG specification says, not if it is relative."""
    settings.env(XDG_DATA_HOME=tmp_path / "data")
    settings.token_in(tmp_path / "data/p11token", "kdf-cost=4")
    settings.stop()
    settings.env(XDG_DATA_HOME="data")
    settings.token_in(settings.home / ".local/share/p11token", "kdf-cost=4")


@pytest.mark.parametrize("value, place", [
    ("~/t", "home/t"), ("$HOME/t/u/", "home/t/u"), ("$XDG_STATE_HOME/t", "home/.local/state/t"),
    ("$XDG_CONFIG_HOME/t", "home/.config/t"), ("$XDG_RUNTIME_DIR/t", "run/t"), ("t u", "home/.config/p11token/t u"),
    ("'a #=\"b'", 'home/.config/p11token/a #="b'), ('"a\'b"', "home/.config/p11token/a'b"),
    (r'"a\"b\\c"', r'home/.config/p11token/a"b\c'), ("~x", "home/.config/p11token/~x"),
])
def test_paths_in_the_file(settings, tmp_path, value, place):
    """~ and $XDG_ variables begin a path; a relative one begins at the file; quotes keep what is in them."""
    settings.env(XDG_RUNTIME_DIR=tmp_path / "run")
    settings.file(f"# where\n\n  directory = {value}  \r\nkdf-cost=4\n")
    settings.token_in(tmp_path / place)


def test_relative_directory_of_the_environment(settings, tmp_path):
    """P11TOKEN_DIR may be relative: to where the program is when it initialises, wherever it goes later."""
    settings.monkeypatch.chdir(tmp_path)
    settings.env(P11TOKEN_DIR="here/tokens")
    m = settings.start("kdf-cost=4")
    settings.monkeypatch.chdir("/")
    m.init_token(m.slots()[0], "so-pin", "Set")
    assert len(list((tmp_path / "here/tokens").glob("*.p11token"))) == 1


def test_who_wins(settings, tmp_path):
    """Parameters, then P11TOKEN_DIR, then the file that P11TOKEN_CONF names or that of the user."""
    other = settings.file(f"directory = {tmp_path}/of-conf\nkdf-cost = 4\n", tmp_path / "other.conf")
    settings.file(f"directory = {tmp_path}/of-file\nkdf-cost = 5\n")
    settings.token_in(tmp_path / "of-file")
    settings.stop()
    settings.env(P11TOKEN_CONF=other)
    settings.token_in(tmp_path / "of-conf")
    settings.stop()
    settings.env(P11TOKEN_DIR=tmp_path / "of-env")
    settings.token_in(tmp_path / "of-env")
    settings.stop()
    settings.token_in(tmp_path / "of-parameters", f"directory='{tmp_path}/of-parameters' kdf-cost=6")
    assert read_record(tmp_path / "of-parameters").so.cost == 6
    settings.stop()
    assert [read_record(tmp_path / d).so.cost for d in ("of-file", "of-conf", "of-env")] == [5, 4, 4]
    settings.env(P11TOKEN_CONF="", P11TOKEN_DIR="")  # empty is as not set
    assert settings.start().token_info(1)["label"] == "Set"


def test_xdg_config_home(settings, tmp_path):
    """The user's file is in $XDG_CONFIG_HOME."""
    settings.env(XDG_CONFIG_HOME=tmp_path / "etc")
    settings.file("min-pin = 9\n", tmp_path / "etc/p11token/p11token.conf")
    m = settings.start()
    assert m.token_info(m.slots()[0])["ulMinPinLen"] == 9


@pytest.mark.parametrize("text", [
    "min-pin=7 kdf-cost=4", " \tmin-pin=7\nkdf-cost=4 \r\n", "min-pin='7' kdf-cost=\"4\"",
    "min-pin=3 kdf-cost=4 min-pin=7"])
def test_parameters(settings, text):
    """A string of parameters: blanks of any kind between them, values quoted or not, the last of a name counts."""
    m = settings.start(text)
    slot = m.slots()[0]
    assert m.token_info(slot)["ulMinPinLen"] == 7
    m.init_token(slot, "so-pin-7", "Set")
    assert read_record(settings.home / ".local/share/p11token").so.cost == 4


def test_what_each_setting_does(settings, tmp_path):
    """Costs, limits and lengths go into a new token; the switches take mechanisms away."""
    settings.file("kdf-cost = 7\npin-retries = 1\nso-pin-retries = 2\nmin-pin = 6\n")
    m = settings.token_in(settings.home / ".local/share/p11token", pin="sixsix")
    record = read_record(settings.home / ".local/share/p11token")
    limits = (record.pin_limit, record.so_pin_limit, record.min_pin, record.max_pin)
    assert (record.user.cost, *limits) == (7, 1, 2, 6, 255)
    s = m.open_session(m.slots()[0])
    with pytest.raises(CkError, match="CKR_PIN_LOCKED"):
        s.login("wrong1")
    settings.stop()
    settings.file("")
    m = settings.start()  # and the token keeps them
    assert m.token_info(m.slots()[0])["ulMinPinLen"] == 6
    assert m.token_info(m.slots()[0])["flags"] & CKF.USER_PIN_LOCKED


@pytest.mark.parametrize("name, mechanisms", [
    ("legacy", [CKM.DES_ECB, CKM.RC4, CKM.MD5]), ("tls", [CKM.TLS12_MASTER_KEY_DERIVE, CKM.TLS_PRF])])
def test_switches(settings, name, mechanisms):
    """legacy and tls, in each way to write on and off."""
    for words, there in ((("on", "yes", "true", "1"), True), (("off", "no", "false", "0"), False)):
        for word in words:
            m = settings.start(f"{name}={word}")
            have = set(m.mechanisms(m.slots()[0]))
            assert [x in have for x in mechanisms] == [there] * len(mechanisms), word
            assert CKM.AES_CBC in have
            settings.stop()


def test_spare_slot(settings):
    """A blank token: never, only as long as there is no other, or always."""
    assert settings.start("spare-slot=never").slots() == []
    settings.stop()
    settings.token_in(settings.home / ".local/share/p11token", "kdf-cost=4")
    settings.stop()
    for word, slots in (("auto", 1), ("never", 1), ("always", 2)):
        assert len(settings.start(f"spare-slot={word}").slots()) == slots
        settings.stop()


def test_random_settings(settings, count):
    """Settings made of torn pieces are read or refused with a sentence, in the parameters and in the file."""
    order = random.Random(2)
    pieces = ["kdf-cost", "=", " ", "4", "'", '"', "\\", "\n", "#", "tls", "on", "directory", "~", "$HOME", "/", "$XDG_",
              "é", "\t", "=4 ", "min-pin=9 ", "legacy=off ", "configdir", "\r\n", "spare-slot=never\n"]
    codes = set()
    for _ in range(count(2000)):
        text = "".join(order.choices(pieces, k=order.randrange(12)))
        for parameters, line in ((text, ""), (None, text)):
            settings.file(line)
            try:
                settings.start(parameters)
                codes.add("CKR_OK")
                said = settings.capfd.readouterr().err
                assert said == ""
            except CkError as e:
                codes.add(e.name)
                said = settings.capfd.readouterr().err
                conf = settings.home / ".config/p11token/p11token.conf"
                where = "parameters: " if parameters is not None else f"{conf}, line "
                assert said.startswith(f"libp11token: {where}") and said.endswith("\n"), (text, said)
            settings.stop()
    assert codes == {"CKR_OK", "CKR_ARGUMENTS_BAD", "CKR_GENERAL_ERROR"}


# --- what is wrong --------------------------------------------------------------------------------------------------

KNOWN = "directory kdf-cost pin-retries so-pin-retries min-pin spare-slot removable legacy tls"
WRONG = [
    ("kdf-cost", "'kdf-cost' is not"),
    ("kdf-costs = 4", f"there is no setting 'kdf-costs'; there are: {KNOWN}"),
    ("Kdf-Cost = 4", "there is no setting 'Kdf-Cost'"),
    ("kdf-cost = 3", "kdf-cost must be a number from 4 to 20, not '3'"),
    ("kdf-cost = 21", "kdf-cost must be a number from 4 to 20, not '21'"),
    ("kdf-cost = -5", "not '-5'"),
    ("kdf-cost = 0x5", "not '0x5'"),
    ("kdf-cost = 99999999999999999999999", "from 4 to 20"),
    ("kdf-cost =", "not ''"),
    ("pin-retries = many", "pin-retries must be a number from 0 to 1000000, not 'many'"),
    ("min-pin = 0", "min-pin must be a number from 1 to 64"),
    ("spare-slot = sometimes", "spare-slot must be one of auto always never, not 'sometimes'"),
    ("legacy = maybe", "legacy must be on or off, not 'maybe'"),
    ("directory = ''", "directory: the path is empty"),
    ("directory = $PATH/x", "directory: $PATH cannot be used: only $HOME and the $XDG_ variables can"),
    ("directory = $XDG_RUNTIME_DIR/x", "directory: $XDG_RUNTIME_DIR is not set to an absolute path"),
    ("directory = /" + "x" * 5000, "directory: the path is too long"),
    ("directory = 'x", "'directory' has a quote that is not closed"),
    ("directory = 'x'y", "'directory' goes on after its closing quote"),
]


@pytest.mark.parametrize("line, said", WRONG, ids=[w[0][:30] for w in WRONG])
def test_wrong_lines(settings, line, said):
    """A wrong line of the file: CKR_GENERAL_ERROR, one sentence with file, line and remedy; afterwards all is well."""
    path = settings.file(f"# a comment\nkdf-cost = 4\n{line}\ntls = neither\n")
    code, err = settings.refused()
    assert code == "CKR_GENERAL_ERROR"
    assert err.startswith(f"libp11token: {path}, line 3: ") and said in err and err.count("\n") == 1
    settings.file("")
    settings.start()


@pytest.mark.parametrize("line, said", WRONG, ids=[w[0][:30] for w in WRONG])
def test_wrong_parameters(settings, line, said):
    """The same in the parameters: CKR_ARGUMENTS_BAD."""
    code, err = settings.refused("kdf-cost=4 " + line.replace(" = ", "=").replace(" =", "=") + " tls=neither")
    assert code == "CKR_ARGUMENTS_BAD"
    assert err.startswith("libp11token: parameters: ") and said in err and err.count("\n") == 1


@pytest.mark.parametrize("text", [
    "configdir='sql:/home/u/.pki/nssdb' certPrefix='' keyPrefix='' secmod='secmod.db' flags=optimizeSpace",
    "flags=readOnly,forcesecmod", "updatedir=''"])
def test_parameters_of_softoken(settings, text):
    """What belongs to NSS's own module is named as that."""
    code, err = settings.refused(text)
    name = text.split("=")[0]
    assert code == "CKR_ARGUMENTS_BAD"
    assert err.startswith(f"libp11token: parameters: '{name}' is a parameter of NSS's softoken, not of p11token: ")


def test_file_that_cannot_be_used(settings, tmp_path):
    """A named file must be there and be a file; one that anybody may write, that is no text or that is too long, is not
    used. The user's own file may be missing."""
    settings.start()
    settings.stop()
    conf = tmp_path / "p11.conf"
    settings.env(P11TOKEN_CONF=conf)
    cases = [
        (lambda: None, "cannot be read: No such file or directory"),
        (lambda: conf.mkdir(), "is not a regular file"),
        (lambda: (conf.rmdir(), settings.file("tls=on\n", conf, 0o646)),
         "anyone may write it (mode 646), so it is not used"),
        (lambda: settings.file(b"tls=on\0\n", conf), "is not text"),
        (lambda: settings.file("#" * 70000, conf), "is longer than 65534 bytes"),
        (lambda: (conf.unlink(), os.mkfifo(conf)), "is not a regular file"),
    ]
    for prepare, said in cases:
        prepare()
        code, err = settings.refused()
        assert (code, err.startswith(f"libp11token: {conf}: {said}")) == ("CKR_GENERAL_ERROR", True), err
    conf.unlink()
    settings.file("tls=on", conf, 0o664)  # the last line need not end
    settings.start()


def test_wrong_environment(settings):
    """P11TOKEN_DIR and P11TOKEN_CONF are named when they are wrong."""
    settings.env(P11TOKEN_DIR="$PATH")
    assert settings.refused() == ("CKR_GENERAL_ERROR", "libp11token: P11TOKEN_DIR: directory: $PATH cannot be used: "
                                                       "only $HOME and the $XDG_ variables can\n")
    settings.env(P11TOKEN_DIR=None, P11TOKEN_CONF="$XDG_RUNTIME_DIR/x")
    code, err = settings.refused()
    assert code == "CKR_GENERAL_ERROR" and err.startswith("libp11token: P11TOKEN_CONF: $XDG_RUNTIME_DIR is not set")


def test_without_home(settings, build):
    """A process without HOME has the home of its user; nobody is asked for one when the directory is named."""
    import pwd
    settings.env(HOME=None)
    directory = Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".local/share/p11token"
    settings.env(P11TOKEN_CONF=settings.file("kdf-cost = 4\n", settings.home / "x.conf"))
    before = directory.exists()
    settings.start()
    assert directory.exists() == before  # nothing is made until there is a token


def test_directory_that_cannot_be_made(settings, tmp_path):
    """A directory below a file: the slot is there, C_InitToken says that the device does not work."""
    (tmp_path / "file").write_text("")
    m = settings.start(f"directory={tmp_path}/file/tokens kdf-cost=4")
    with pytest.raises(CkError, match="CKR_DEVICE_ERROR"):
        m.init_token(m.slots()[0], "so-pin", "Set")


@pytest.mark.root
@pytest.mark.nosan  # a set-id program gets no runtime preloaded, and its environment is the subject
def test_set_id_program(settings, build, tmp_path):
    """A program with another user's rights takes nothing from the environment of whoever starts it."""
    client = build / "tests/clients/token_setid"
    settings.token_in(tmp_path / "planted", f"directory={tmp_path}/planted kdf-cost=4")
    settings.stop()
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        folder.chmod(0o755)
        program, library = folder / "program", folder / "libp11token.so"
        shutil.copy(client, program)
        shutil.copy(settings.library, library)
        library.chmod(0o755)
        planted = folder / "planted"
        shutil.copytree(tmp_path / "planted", planted)
        shutil.chown(planted, "nobody")
        [shutil.chown(p, "nobody") for p in planted.iterdir()]

        def run(**env):
            p = subprocess.run([program, library], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert p.returncode == 0, p.stderr
            return p.stdout.strip()

        wrong = settings.file("no such thing\n", folder / "wrong.conf", 0o644)
        program.chmod(0o755)
        assert run(P11TOKEN_DIR=str(planted)) == "secure 0 initialize 0 slots 1"
        assert run(P11TOKEN_CONF=str(wrong)) == f"secure 0 initialize {CKR.GENERAL_ERROR:x} slots 0"
        shutil.chown(program, "nobody")
        program.chmod(0o4755)
        for env in ({"P11TOKEN_DIR": planted}, {"P11TOKEN_CONF": wrong}, {"XDG_DATA_HOME": folder}, {"HOME": folder}):
            assert run(**{k: str(v) for k, v in env.items()}) == "secure 1 initialize 0 slots 0"
    finally:
        shutil.rmtree(folder)


def test_two_processes_and_one_directory(settings, tmp_path):
    """A token made by one process is found by another that is running, beside the blank one that it has already."""
    with Peer(settings.library, f"directory={tmp_path}/shared kdf-cost=4") as peer:
        assert peer("[m.token_info(i)['label'] for i in m.slots()]") == [""]
        settings.token_in(tmp_path / "shared", f"directory={tmp_path}/shared kdf-cost=4")
        assert sorted(peer("[m.token_info(i)['label'] for i in m.slots()]")) == ["", "Set"]
    assert re.fullmatch(r"[0-9a-f]{16}\.p11token", next((tmp_path / "shared").glob("*.p11token")).name)
