"""p11token: tokens, PINs and choosing among tokens. Files in and out are in test_token_tool_files.py."""
import fcntl
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import termios

import pytest

from cryptoki import CKA, CKF, CKO, CKU, CkError, Module

COULD_NOT = 2
PIN, SO_PIN = "1234-pin", "5678-so-pin"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "new"


@pytest.fixture
def tool(run, build, tmp_path, folder):
    """tool(verb, ..., status=): p11token on an empty folder; what went wrong is one line that begins with its name."""
    conf = tmp_path / "empty.conf"
    conf.write_text("")

    def tool(*args, env=None, **more):
        p = run(build / "p11token", *args, env={"P11TOKEN_DIR": folder, "P11TOKEN_CONF": conf, **(env or {})}, **more)
        if p.returncode == COULD_NOT:
            assert re.fullmatch(r"p11token: [^:\n]+: .+: .+\n", p.stderr.splitlines(keepends=True)[-1]), p.stderr
        return p

    return tool


@pytest.fixture
def make(tool):
    """make(label): a token with PIN and SO_PIN; its (slot, serial)."""

    def make(label, *more):
        p = tool("init", "--label", label, "--pin", PIN, "--so-pin", SO_PIN, "--kdf-cost", "4", *more)
        slot, serial, name = re.fullmatch(r'slot (\d+), serial (\w{16}), label "(.*)"\n', p.stdout).groups()
        assert name == label
        return int(slot), serial

    return make


@pytest.fixture
def module(build, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("P11TOKEN_CONF", str(tmp_path / "empty.conf"))
    return lambda: Module(build / "libp11token.so", f"directory={folder} kdf-cost=4")


def token_files(folder):
    return sorted(folder.glob("*.p11token"))


# --- init ---


def test_init_makes_a_token(make, module, folder):
    slot, serial = make("Grüße")
    assert [f.stat().st_mode & 0o777 for f in token_files(folder)] == [0o600]
    with module() as m:
        info = m.token_info(slot)
        assert (info["label"], info["serialNumber"]) == ("Grüße", serial)
        assert info["flags"] & (CKF.TOKEN_INITIALIZED | CKF.USER_PIN_INITIALIZED | CKF.LOGIN_REQUIRED) == (
            CKF.TOKEN_INITIALIZED | CKF.USER_PIN_INITIALIZED | CKF.LOGIN_REQUIRED)
        s = m.open_session(slot)
        s.login(PIN)
        s.logout()
        s.login(SO_PIN, CKU.SO)


def test_second_token_gets_a_slot_of_its_own(make, tool):
    first, second = make("One"), make("Two")
    assert first[0] != second[0] and first[1] != second[1]
    p = tool("init", "--label", "One", "--pin", PIN, "--so-pin", SO_PIN, status=COULD_NOT)
    assert "there is a token of this name: One" in p.stderr
    assert make("One", "--force")[1] not in (first[1], second[1])


def test_init_leaves_the_first_pin_to_nss(tool, module):
    tool("init", "--label", "Fresh", "--so-pin", "", "--kdf-cost", "4")
    assert "user PIN: not set\n  security officer's PIN: empty, until the first user PIN is set\n" in tool("list").stdout
    with module() as m:
        slot = m.slot_of("Fresh")
        assert not m.token_info(slot)["flags"] & CKF.USER_PIN_INITIALIZED
        # What PK11_InitPin does (pk11auth.c): with NSS's own read-only session open.
        m.open_session(slot, rw=False)
        s = m.open_session(slot)
        s.login("", CKU.SO)
        s.init_pin(PIN)
        s.logout()
        s.login(PIN)


@pytest.mark.parametrize("args, words", [
    (["--pin", PIN, "--so-pin", SO_PIN], "no label: --label"),
    (["--label", "x" * 33, "--pin", PIN, "--so-pin", SO_PIN], "label too long: " + "x" * 33),
    (["--label", "", "--pin", PIN, "--so-pin", SO_PIN], "no label: --label"),
    (["--label", "x", "--kdf-cost", "3", "--pin", PIN, "--so-pin", SO_PIN], "not a cost: 3"),
    (["--label", "x", "--kdf-cost", "21", "--pin", PIN, "--so-pin", SO_PIN], "not a cost: 21"),
    (["--label", "x", "--kdf-cost", "ten", "--pin", PIN, "--so-pin", SO_PIN], "not a cost: ten"),
    (["--label", "x", "--pin", PIN, "--so-pin", ""], "no security officer to set it: --pin"),
    (["--label", "x", "--pin", "123", "--so-pin", SO_PIN], "not a good length: user PIN: give 4 to"),
    (["--label", "x", "--pin", PIN, "--so-pin", "123"], "not a good length: security officer's PIN"),
    (["--label", "x", "--pin", "1" * 1025, "--so-pin", SO_PIN], "too long: user PIN"),
    (["--label", "x", "--pin", PIN], "not given: security officer's PIN: use --so-pin-file FILE"),
    (["--label", "x", "--so-pin", SO_PIN], "not given: user PIN: use --pin-file FILE"),
    (["x"], "not understood: x"),
])
def test_init_refuses(tool, folder, args, words):
    p = tool("init", *args, status=COULD_NOT, start_new_session=True)
    assert f"p11token: {words}" in p.stderr and p.stdout == ""
    assert token_files(folder) == [], "nothing is left behind"


def test_making_a_token_new_needs_force_and_the_so_pin(make, tool, module):
    slot, serial = make("Old")
    with module() as m:
        s = m.open_session(slot)
        s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: False, CKA.LABEL: "precious"})
    again = ["init", "--token", "Old", "--label", "New", "--pin", "new-pin", "--so-pin"]
    assert "--force destroys everything on it" in tool(*again, SO_PIN, status=COULD_NOT).stderr
    assert "the PIN is wrong" in tool(*again, "not-it", "--force", status=COULD_NOT).stderr
    assert "precious" in tool("list", "--token", "Old").stdout
    assert f'serial {serial}, label "New"' in tool(*again, SO_PIN, "--force").stdout
    with module() as m:
        s = m.open_session(slot)
        assert m.token_info(slot)["label"] == "New" and s.find() == []
        s.login("new-pin")


def test_cost_is_kept(tool):
    tool("init", "--label", "a", "--so-pin", "", "--kdf-cost", "6")
    out = tool("list").stdout
    assert "cost of a PIN: 6\n" in out


# --- PINs: where they come from ---


def test_pins_from_files_and_standard_input(tool, tmp_path, module):
    for name, text in (("pin", f"{PIN}\r\nsecond line\n"), ("so", SO_PIN), ("empty", ""), ("long", "x" * 1025)):
        (tmp_path / name).write_text(text)
    tool("init", "--label", "f", "--pin-file", "pin", "--so-pin-file", "so", "--kdf-cost", "4")
    with module() as m:
        s = m.open_session(m.slot_of("f"))
        s.login(PIN)
        s.logout()
        s.login(SO_PIN, CKU.SO)
    assert "objects: 0\n" in tool("list", "--token", "f", "--pin-file", "-", input=f"{PIN}\n").stdout
    for name, words in (("empty", "the file is empty"), ("long", "the first line is too long"), ("none", "cannot read: none: No such file")):
        assert words in tool("list", "--token", "f", "--pin-file", name, status=COULD_NOT).stderr


def test_a_pin_of_the_command_line_is_wiped_there(build, tmp_path, clean_env):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    p = subprocess.Popen([build / "p11token", "pin", "--pin", "secret-1", "--so-pin=secret-2", "--new-pin-file", fifo],
                         env={**clean_env, "P11TOKEN_DIR": str(tmp_path / "none")}, stderr=subprocess.PIPE)
    with open(fifo, "w"):  # both ends are open: the options before it have been read
        with open(f"/proc/{p.pid}/cmdline", "rb") as f:
            assert b"secret" not in f.read()
    p.communicate()
    assert p.returncode == COULD_NOT


def test_no_core(build, clean_env, tmp_path):
    """PINs are in its memory."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def unlimited():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)

    p = subprocess.Popen([build / "p11token", "pin", "--pin-file", fifo], env=clean_env, cwd=tmp_path, preexec_fn=unlimited)
    with open(fifo, "w"):
        os.kill(p.pid, signal.SIGABRT)
        _, status = os.waitpid(p.pid, 0)
    p.returncode = 0
    assert os.WTERMSIG(status) == signal.SIGABRT and not os.WCOREDUMP(status)
    assert [f.name for f in tmp_path.iterdir() if "core" in f.name] == []


def on_terminal(argv, env, answers):
    """Runs a program on a terminal of its own, answering each question; (status, all that the terminal showed)."""
    master, slave = pty.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored if the tests run in the background

    p = subprocess.Popen(argv, env=env, stdin=slave, stdout=slave, stderr=slave, preexec_fn=take_terminal)
    os.close(slave)
    shown, answers = b"", list(answers)
    while True:
        try:
            some = os.read(master, 1024)
        except OSError:  # EIO: the last one has closed the terminal
            break
        if not some:
            break
        shown += some
        # The question is written after the echo was switched off.
        if answers and shown.rstrip(b" ").endswith(b":"):
            os.write(master, answers.pop(0).encode())
    os.close(master)
    return p.wait(), shown.decode().replace("\r\n", "\n")


def test_questions_on_the_terminal(tool, build, clean_env, folder, module):
    argv = [str(build / "p11token"), "init", "--label", "tty", "--kdf-cost", "4"]
    env = {**clean_env, "P11TOKEN_DIR": str(folder)}
    status, shown = on_terminal(argv, env, [SO_PIN + "\n", SO_PIN + "\n", PIN + "\n", "1234-pim\n"])
    assert status == COULD_NOT and "the two entries differ: user PIN: try again" in shown
    assert token_files(folder) == []
    status, shown = on_terminal(argv, env, [SO_PIN + "\n", SO_PIN + "\n", PIN + "\n", PIN + "\n"])
    assert status == 0, shown
    assert shown.startswith("security officer's PIN: \nsecurity officer's PIN, once more: \nuser PIN: \nuser PIN, once more: \nslot ")
    assert PIN not in shown and SO_PIN not in shown, "no echo"
    with module() as m:
        m.open_session(m.slot_of("tty")).login(PIN)
    # Ctrl-C ends it by the signal, as everybody expects.
    status, shown = on_terminal([argv[0], "list", "--token", "tty", "--login"], env, ["\x03"])
    assert status == -2, shown


# --- list and choosing ---


def test_list_of_nothing(tool, folder):
    assert tool("list").stdout == f"no token in {folder}; p11token init --label NAME makes one\n"
    assert not folder.exists(), "looking makes nothing"


def test_list_tells_the_state_of_the_pins(make, tool, module):
    slot, serial = make("States")
    (path,) = token_files_of(tool)
    assert tool("list").stdout == (
        f'slot {slot}  "States"  serial {serial}\n  user PIN: set\n  security officer\'s PIN: set\n'
        f"  cost of a PIN: 4\n  file: {path}\n  objects: 0, not counting private ones\n")
    for left in range(9, 0, -1):
        tool("list", "--token", "States", "--pin", "wrong", status=COULD_NOT)
        assert f"user PIN: set, {10 - left} wrong ones, {left} tries left\n" in tool("list").stdout
    assert "locked" in tool("list", "--token", "States", "--pin", "wrong", status=COULD_NOT).stderr
    assert "user PIN: locked after 10 wrong ones\n" in tool("list").stdout
    assert "p11token pin --unlock" in tool("list", "--token", "States", "--pin", PIN, status=COULD_NOT).stderr


def token_files_of(tool):
    return re.findall(r"^  file: (.*)$", tool("list").stdout, re.M)


def test_list_shows_private_objects_after_login_only(make, tool, module):
    slot, _ = make("Objects")
    with module() as m:
        s = m.open_session(slot)
        s.login(PIN)
        for private, label in ((False, "for all"), (True, "for me"), (False, "bad\x1b[2J\"label")):
            s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: private, CKA.LABEL: label, CKA.VALUE: b"x"})
    out = tool("list", "--token", "Objects").stdout
    assert "objects: 2, not counting private ones" in out and 'data "for all"' in out and "for me" not in out
    assert 'data "bad\\x1b[2J\\x22label"\n' in out, "a label cannot reach the terminal's controls"
    out = tool("list", "--token", "Objects", "--pin", PIN).stdout
    assert "objects: 3\n" in out and 'data "for me"\n' in out
    assert "no token: --login" in tool("list", "--login", status=COULD_NOT).stderr


def test_a_damaged_file_does_not_hide_the_others(make, tool, folder):
    make("Good")
    (folder / "bad.p11token").write_bytes(b"this is no token file" * 500)
    p = tool("list", status=COULD_NOT)
    assert '"Good"' in p.stdout and f"{folder}/bad.p11token: the token file is damaged" in p.stderr
    assert "objects: 0" in tool("list", "--token", "Good").stdout


def test_choosing(make, tool):
    one, two = make("Same"), make("Same", "--force")
    make("Other")
    p = tool("list", "--token", "Same", status=COULD_NOT)
    assert "more than one token: Same: choose" in p.stderr and one[1] in p.stderr and two[1] in p.stderr and "Other" not in p.stderr
    assert f"serial {two[1]}" in tool("list", "--serial", two[1]).stdout
    assert f"serial {one[1]}" in tool("list", "--slot", one[0]).stdout
    assert f"serial {two[1]}" in tool("list", "--token", "Same", "--slot", two[0]).stdout
    p = tool("list", "--token", "Third", status=COULD_NOT)
    assert "no such token: Third: there are: " in p.stderr and "Other (serial" in p.stderr
    for args in (["--serial", "0"], ["--slot", "999"], ["--token", "Other", "--serial", one[1]]):
        assert "no such token" in tool("list", *args, status=COULD_NOT).stderr
    assert "not a number: x" in tool("list", "--slot", "x", status=COULD_NOT).stderr
    assert "more than one token: token folder" in tool("backup", "copy", status=COULD_NOT).stderr


def test_where_the_tokens_are(tool, tmp_path):
    conf = tmp_path / "my.conf"
    conf.write_text(f"directory = {tmp_path}/by-conf\nkdf-cost = 5\n")
    init = ["init", "--so-pin", "", "--label"]
    tool(*init, "conf", env={"P11TOKEN_DIR": "", "P11TOKEN_CONF": conf})
    tool(*init, "env")
    tool(*init, "dir", "--dir", tmp_path / "by dir")
    for args, env, label in (([], {"P11TOKEN_DIR": "", "P11TOKEN_CONF": conf}, "conf"), ([], {}, "env"),
                             (["--dir", tmp_path / "by dir"], {}, "dir")):
        out = tool("list", *args, env=env).stdout
        assert re.findall(r'^slot \d+  "(.*)"', out, re.M) == [label]
    conf.write_text("kdf-cost = many\n")
    p = tool("list", env={"P11TOKEN_CONF": conf}, status=COULD_NOT)
    assert f"{conf}" in p.stderr.splitlines()[0] and "p11token: cannot start: settings: " in p.stderr


# --- pin ---


def test_pin_changes_the_pin(make, tool, module):
    slot, _ = make("Pins")
    assert tool("pin", "--pin", PIN, "--new-pin", "second-pin").stdout == "Pins: the user PIN is changed\n"
    assert tool("pin", "--so", "--so-pin", SO_PIN, "--new-pin", "second-so").stdout == "Pins: the security officer's PIN is changed\n"
    with module() as m:
        s = m.open_session(slot)
        for pin, user, good in ((PIN, CKU.USER, False), (SO_PIN, CKU.SO, False), ("second-so", CKU.SO, True), ("second-pin", CKU.USER, True)):
            if good:
                s.login(pin, user)
                s.logout()
            else:
                with pytest.raises(CkError, match="CKR_PIN_INCORRECT"):
                    s.login(pin, user)


def test_unlock_sets_a_new_user_pin(make, tool, module):
    slot, _ = make("Locked")
    with module() as m:
        s = m.open_session(slot)
        s.login(PIN)
        s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "kept"})
        s.logout()
        for _ in range(10):
            with pytest.raises(CkError):
                s.login("wrong")
        tool("pin", "--pin", PIN, "--new-pin", "whatever", status=COULD_NOT)
        tool("pin", "--unlock", "--so-pin", SO_PIN, "--new-pin", "after-pin")
        s.login("after-pin")  # this process, which was there before, sees it
        assert len(s.find({CKA.LABEL: "kept"})) == 1, "no object is lost"


@pytest.mark.parametrize("args, words", [
    (["--pin", "wrong", "--new-pin", "good-pin"], "the PIN is wrong"),
    (["--pin", PIN, "--new-pin", "123"], "not a good length: new PIN: give 4 to"),
    (["--so", "--so-pin", "wrong", "--new-pin", "good-pin"], "cannot log in as security officer: Errors: the PIN is wrong"),
    (["--so", "--unlock"], "one at a time"),
    (["--so", "--pin", PIN], "not needed: --pin"),
    (["--so-pin", PIN], "not needed: --so-pin"),
    (["--pin", PIN], "not given: new PIN: use --new-pin-file FILE"),
    (["1234"], "not understood: 1234"),
])
def test_pin_refuses(make, tool, module, args, words):
    slot, _ = make("Errors")
    assert words in tool("pin", *args, status=COULD_NOT, start_new_session=True).stderr
    with module() as m:
        m.open_session(slot).login(PIN)


def test_pin_where_there_is_none(tool):
    tool("init", "--label", "Fresh", "--so-pin", "", "--kdf-cost", "4")
    assert "p11token pin --unlock" in tool("pin", "--pin", "x", "--new-pin", "some-pin", status=COULD_NOT).stderr
    tool("pin", "--unlock", "--so-pin", "", "--new-pin", PIN)
    assert "objects: 0\n" in tool("list", "--token", "Fresh", "--pin", PIN).stdout
    assert "locked for ever" in tool("pin", "--unlock", "--so-pin", "", "--new-pin", PIN, status=COULD_NOT).stderr


# --- backup ---


def test_backup_while_the_token_is_in_use(make, tool, module, tmp_path, folder):
    slot, serial = make("Saved")
    copy = tmp_path / "copy"
    with module() as m:
        s = m.open_session(slot)
        s.login(PIN)
        template = {CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.VALUE: b"secret value", CKA.LABEL: "in"}
        s.create(template)
        assert tool("backup", copy).stdout == f"Saved: copied to {copy}\n"
        assert "the file exists" in tool("backup", copy, status=COULD_NOT).stderr
        s.create({**template, CKA.LABEL: "too late"})
    assert copy.stat().st_mode & 0o777 == 0o600 and b"secret value" not in copy.read_bytes()
    # Restoring, as --help says.
    (name,) = token_files(folder)
    for extra in folder.glob(name.name + "-*"):
        extra.unlink()
    shutil.copy(copy, name)
    with module() as m:
        assert m.token_info(slot)["serialNumber"] == serial
        s = m.open_session(slot)
        s.login(PIN)
        assert [s.get(h, CKA.LABEL) for h in s.find()] == [b"in"]
        assert s.get(s.find_one({CKA.LABEL: "in"}), CKA.VALUE) == b"secret value"
        s.create({**template, CKA.LABEL: "after"})
    tool("backup", "--force", copy)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("copy")] == ["copy"], "no temporary file is left"
    shutil.rmtree(folder)
    folder.mkdir()
    shutil.copy(copy, folder / "other-name.p11token")
    assert '"after"' in tool("list", "--token", "Saved", "--pin", PIN).stdout


def test_backup_refuses(make, tool, tmp_path):
    make("One")
    assert "no file: FILE" in tool("backup", status=COULD_NOT).stderr
    assert "more than one file: b" in tool("backup", "a", "b", status=COULD_NOT).stderr
    p = tool("backup", tmp_path / "no" / "folder", status=COULD_NOT)
    assert f"cannot copy the token: {tmp_path}/no/folder: " in p.stderr


# --- the program ---


def test_help_and_verbs(tool, tmp_path):
    verbs = ("init", "list", "import", "export", "pin", "backup")
    text = tool("--help").stdout
    for verb in verbs:
        assert f"\n  {verb} " in text
        assert f"Usage: p11token {verb} " in tool(verb, "--help").stdout
    assert re.fullmatch(r"p11token \d+\.\d+\n", tool("--version").stdout)
    assert "nonsense: no such verb: init list import export pin backup" in tool("nonsense", status=COULD_NOT).stderr
