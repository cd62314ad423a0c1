"""Tokens that are removed and inserted by `p11token` while programs use them: what ends, what comes back, and who is told."""
import ctypes
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import tokens
from cryptoki import CKA, CKF, CKM, CKO, CKR, CKS, CKU, ULONG, CkError, struct

DATA = {CKA.CLASS: CKO.DATA, CKA.LABEL: "x"}
PRESENT, REMOVABLE = CKF.TOKEN_PRESENT, CKF.REMOVABLE_DEVICE


@pytest.fixture
def card(tmp_path, build, monkeypatch):
    """A token that can be removed, with .turn(verb): p11token in another process."""
    for name in [n for n in os.environ if n.startswith("P11TOKEN_")]:
        monkeypatch.delenv(name)
    token = tokens.make_token(tmp_path / "tokens", build / "libp11token.so", monkeypatch.setenv, settings="removable=on",
                              label="Card")

    def turn(verb, *argv, status=0):
        argv = argv or ("--token", token.label)
        p = subprocess.run([build / "p11token", verb, *argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        assert p.returncode == status, p.stdout + p.stderr
        return p.stdout + p.stderr

    token.turn = turn
    yield token
    token.finalize()


def code(function, *arguments):
    """What a method of Module or Session answers: "OK", or the name of the code."""
    try:
        function(*arguments)
    except CkError as e:
        return e.name[4:]
    return "OK"


def event(m, flags=CKF.DONT_BLOCK):
    """C_WaitForSlotEvent: the slot, or the code."""
    slot = ULONG()
    rv = m.raw.C_WaitForSlotEvent(flags, ctypes.byref(slot), None)
    return slot.value if rv == CKR.OK else CKR.name(rv)[4:]


class Call:
    """A call in a thread of its own."""

    def __init__(self, function, *arguments):
        self.answer = None
        self.thread = threading.Thread(target=self.run, args=(function, arguments), daemon=True)
        self.thread.start()

    def run(self, function, arguments):
        self.answer = function(*arguments)

    def busy(self):
        """Returns when the thread has computed for 0.02 s, that is: inside the module."""
        stat = Path(f"/proc/self/task/{self.thread.native_id}/stat")
        while int(stat.read_text().rsplit(")", 1)[1].split()[11]) < 2:
            time.sleep(0.005)

    def asleep(self):
        """Returns when the thread sleeps in poll."""
        where = Path(f"/proc/self/task/{self.thread.native_id}/syscall")
        while where.read_text().split()[0] not in ("7", "271"):
            time.sleep(0.005)

    def within(self, seconds):
        self.thread.join(seconds)
        assert not self.thread.is_alive(), f"no answer within {seconds} s"
        return self.answer


def test_what_the_slot_says(card):
    m, slot = card.load(), card.slot()
    assert m.slot_info(slot)["flags"] == PRESENT | REMOVABLE
    card.turn("remove")
    assert m.slot_info(slot)["flags"] == REMOVABLE
    assert m.slots() == [] and m.slots(token_present=False) == [slot]
    assert code(m.token_info, slot) == code(m.open_session, slot) == code(m.mechanisms, slot) == "TOKEN_NOT_PRESENT"
    assert code(m.mechanism_info, slot, CKM.SHA256) == code(m.init_token, slot, card.so_pin, "x") == "TOKEN_NOT_PRESENT"
    assert m.raw.C_CloseAllSessions(slot) == CKR.OK
    card.turn("insert")
    assert m.slot_info(slot)["flags"] == PRESENT | REMOVABLE and m.slots() == [slot] and card.slot() == slot


def test_a_token_that_is_out_at_the_beginning(card):
    """It has its slot, and the number that it always has."""
    slot = card.slot()
    card.finalize()
    card.turn("remove")
    m = card.load()
    assert m.slots(token_present=False) == [slot] and m.slots() == []
    assert m.slot_info(slot)["flags"] == REMOVABLE and event(m) == "NO_EVENT"
    card.turn("insert")
    assert event(m) == slot and card.session().find({}) == []


def test_the_blank_slot_has_the_flag_of_its_token(build, tmp_path, monkeypatch):
    """CKF_REMOVABLE_DEVICE is there before C_InitToken if it is there afterwards."""
    for settings, flags in (("removable=on", PRESENT | REMOVABLE), ("removable=off", PRESENT)):
        token = tokens.make_token(tmp_path / settings, build / "libp11token.so", monkeypatch.setenv, settings=settings)
        for file in token.directory.iterdir():
            file.unlink()
        m = token.load()
        [slot] = m.slots()
        assert m.slot_info(slot)["flags"] == flags
        m.init_token(slot, "56785678", "New")
        assert m.slot_info(slot)["flags"] == flags
        token.finalize()
        assert token.load().slot_info(slot)["flags"] == flags
        token.finalize()


def test_a_removal_ends_sessions_and_login(card):
    s, public = card.session(), None
    m, slot = card.load(), card.slot()
    s.create({**DATA, CKA.TOKEN: True, CKA.PRIVATE: True})
    s.create({**DATA, CKA.TOKEN: False, CKA.LABEL: "of the session"})
    key = s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.TOKEN: False})
    other = card.session(rw=False)
    m.call("C_DigestInit", s.handle, ctypes.byref(struct("CK_MECHANISM", mechanism=CKM.SHA256)))
    card.turn("remove")
    # A call that begins after the removal finds no session (5.1.3, CKR_SESSION_HANDLE_INVALID).
    assert m.raw.C_DigestUpdate(s.handle, b"x", 1) == CKR.SESSION_HANDLE_INVALID
    assert code(s.info) == code(other.info) == code(s.find, {}) == code(s.login, card.pin) == "SESSION_HANDLE_INVALID"
    assert code(s.logout) == code(other.close) == "SESSION_HANDLE_INVALID"
    card.turn("insert")
    assert code(s.info) == code(other.info) == "SESSION_HANDLE_INVALID"
    public = m.open_session(slot)
    assert public.handle not in (s.handle, other.handle)
    assert public.info()["state"] == CKS.RW_PUBLIC_SESSION and public.find({}) == []
    assert m.token_info(slot)["ulSessionCount"] == 1
    public.login(card.pin)
    assert [public.get(o, CKA.LABEL) for o in public.find({})] == [b"x"]
    assert code(public.get, key, CKA.VALUE_LEN) == "OBJECT_HANDLE_INVALID"


def test_nobody_asks_between_removal_and_insertion(card):
    """The sessions are gone all the same: an insertion revives nothing."""
    s = card.session()
    card.turn("remove")
    card.turn("insert")
    assert code(s.info) == "SESSION_HANDLE_INVALID"
    s = card.session(login=False)
    assert s.info()["state"] == CKS.RW_PUBLIC_SESSION


def test_the_security_officer_too(card):
    so = card.session(login=False)
    so.login(card.so_pin, CKU.SO)
    card.turn("remove")
    card.turn("insert")
    # Else CKR_SESSION_READ_WRITE_SO_EXISTS.
    ro = card.session(rw=False, login=False)
    assert ro.info()["state"] == CKS.RO_PUBLIC_SESSION and code(so.info) == "SESSION_HANDLE_INVALID"
    card.session()
    assert ro.info()["state"] == CKS.RO_USER_FUNCTIONS


def flip(token):
    """Removes or inserts at once, as p11token does it, which needs longer than the calls below."""
    [file] = token.directory.glob("*-card")
    with open(file, "r+b", buffering=0) as f:
        changes = int.from_bytes(f.read(12)[8:], "little")
        f.seek(8)
        f.write((changes + 1).to_bytes(4, "little"))


def derive_for_long(s, iterations=1_000_000):
    """A call that computes for some tenths of a second."""
    parameter = struct("CK_PKCS5_PBKD2_PARAMS2", saltSource=1, pSaltSourceData=b"salt" * 4, ulSaltSourceDataLen=16,
                       iterations=iterations, prf=4, pPassword=b"secret", ulPasswordLen=6)
    return code(s.generate_key, (CKM.PKCS5_PBKD2, parameter), {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: 0x1f, CKA.VALUE_LEN: 32})


@pytest.mark.parametrize("back", [False, True])
def test_a_removal_during_a_call(card, back):
    """The call answers CKR_DEVICE_REMOVED, nobody waits for it meanwhile, and it takes nothing from who comes after."""
    s, m = card.session(), card.load()
    call = Call(derive_for_long, s)
    call.busy()
    flip(card)
    if back:
        flip(card)
        now = card.session()
        assert now.info()["state"] == CKS.RW_USER_FUNCTIONS
    else:
        assert code(m.open_session, card_slot(m)) == "TOKEN_NOT_PRESENT"
    assert call.within(60) == "DEVICE_REMOVED" and code(s.info) == "SESSION_HANDLE_INVALID"
    if back:
        assert now.info()["state"] == CKS.RW_USER_FUNCTIONS
        assert m.token_info(card.slot())["ulSessionCount"] == 1


def card_slot(m):
    return m.slots(token_present=False)[0]


@pytest.fixture
def slow(tmp_path, build, monkeypatch):
    """A token that can be removed, and takes some time for a PIN."""
    monkeypatch.setattr(tokens, "KDF_COST", 16)
    token = tokens.make_token(tmp_path / "slow", build / "libp11token.so", monkeypatch.setenv, settings="removable=on")
    yield token
    token.finalize()


def test_a_removal_during_a_change_of_pin(slow):
    """The caller is told, as of a card that was pulled too early: whether the PIN has changed is known at the next login."""
    s = slow.session(login=False)
    call = Call(code, s.set_pin, slow.pin, "another-pin")
    call.busy()
    flip(slow)
    flip(slow)
    assert call.within(60) == "DEVICE_REMOVED" and code(s.info) == "SESSION_HANDLE_INVALID"
    slow.session(login=False).login("another-pin")


def test_a_removal_during_a_login(slow):
    """Nobody is logged in afterwards."""
    m, s = slow.load(), slow.session(login=False)
    call = Call(code, s.login, slow.pin)
    call.busy()
    flip(slow)
    flip(slow)
    other = slow.session(login=False)  # ends what was before, while the PIN is still being tried
    assert call.within(60) == "DEVICE_REMOVED"
    assert other.info()["state"] == CKS.RW_PUBLIC_SESSION and code(s.info) == "SESSION_HANDLE_INVALID"
    assert m.token_info(slow.slot())["flags"] & CKF.USER_PIN_COUNT_LOW == 0


# --- events ------------------------------------------------------------------------------------------------------------


def test_events_without_waiting(card):
    m, slot = card.load(), card.slot()
    assert event(m) == "NO_EVENT"
    for verb in ("remove", "insert"):
        card.turn(verb)
        assert [event(m), event(m)] == [slot, "NO_EVENT"]
        assert "was " in card.turn(verb) and event(m) == "NO_EVENT"
    # A slot has one flag (5.5).
    card.turn("remove")
    card.turn("insert")
    assert [event(m), event(m)] == [slot, "NO_EVENT"]
    # What was before C_Initialize is none.
    card.turn("remove")
    card.finalize()
    m = card.load()
    assert event(m) == "NO_EVENT"
    nowhere = ULONG()
    assert m.raw.C_WaitForSlotEvent(CKF.DONT_BLOCK, ctypes.byref(nowhere), 1) == CKR.ARGUMENTS_BAD
    assert m.raw.C_WaitForSlotEvent(0, None, None) == CKR.ARGUMENTS_BAD
    card.finalize()
    assert m.raw.C_WaitForSlotEvent(0, ctypes.byref(nowhere), None) == CKR.CRYPTOKI_NOT_INITIALIZED


def test_events_of_two_slots(card, build):
    """Each slot has its own, also one that came after C_Initialize."""
    m, first = card.load(), card.slot()
    subprocess.run([build / "p11token", "init", "--label", "Second", "--kdf-cost", "4", "--pin", "1234", "--so-pin", "5678",
                    "--removable"], check=True, stdout=subprocess.DEVNULL)
    second = m.slot_of("Second")
    assert event(m) == "NO_EVENT" and m.slot_info(second)["flags"] == PRESENT | REMOVABLE
    s = card.session()
    card.turn("remove", "--token", "Second")
    assert s.info()["state"] == CKS.RW_USER_FUNCTIONS and m.slots() == [first]
    card.turn("remove")
    assert sorted([event(m), event(m)]) == [first, second] and event(m) == "NO_EVENT"


def test_waiting(card):
    """Within a second of the other process's change, and of C_Finalize."""
    m, slot = card.load(), card.slot()
    for verb in ("remove", "insert", "remove"):
        call = Call(event, m, 0)
        call.asleep()
        assert call.answer is None
        card.turn(verb)
        assert call.within(1) == slot
    call = Call(event, m, 0)
    call.asleep()
    began = time.monotonic()
    m.finalize()
    assert call.within(1) == "CRYPTOKI_NOT_INITIALIZED" and time.monotonic() - began < 1
    m.initialize()
    card.turn("insert")
    assert event(m, 0) == slot  # it happened before the call, which need not wait


def test_waiting_ends_sessions_first(card):
    """Who is told of a removal finds the sessions gone and the slot empty."""
    m, s, slot = card.load(), card.session(), card.slot()
    call = Call(lambda: (event(m, 0), code(s.info), m.slot_info(slot)["flags"]))
    call.asleep()
    card.turn("remove")
    assert call.within(1) == (slot, "SESSION_HANDLE_INVALID", REMOVABLE)


def test_several_threads_wait(card):
    """One is told of an event; C_Finalize ends the waiting of all."""
    m, slot = card.load(), card.slot()
    calls = [Call(event, m, 0) for _ in range(4)]
    card.turn("remove")
    deadline = time.monotonic() + 1
    while not any(c.answer for c in calls) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [c.answer for c in calls if c.answer] == [slot]
    m.finalize()
    assert sorted(str(c.within(1)) for c in calls) == sorted([str(slot)] + ["CRYPTOKI_NOT_INITIALIZED"] * 3)


def test_waiting_without_anything_that_could_happen(token):
    """On tokens that cannot be removed it blocks as well, until C_Finalize."""
    m = token.load()
    assert m.slot_info(token.slot())["flags"] == PRESENT and event(m) == "NO_EVENT"
    call = Call(event, m, 0)
    call.asleep()
    m.finalize()
    assert call.within(1) == "CRYPTOKI_NOT_INITIALIZED"


def in_child(function):
    """Runs it in a forked child; True if it returned True."""
    pid = os.fork()
    if pid == 0:
        good = False
        try:
            good = function()
        except BaseException as e:
            os.write(2, f"child: {e!r}\n".encode())
        finally:
            os._exit(0 if good else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_fork(card, count):
    """A child has its own events and leaves those of the parent, a thread of which waits, alone."""
    m, slot, s = card.load(), card.slot(), card.session()
    call = Call(event, m, 0)
    call.asleep()

    def child():
        before = m.raw.C_GetSlotInfo(slot, ctypes.byref(struct("CK_SLOT_INFO")))
        m.initialize()
        none = event(m)
        card.turn("remove")
        told = event(m, 0)
        card.turn("insert")
        told_again = event(m, 0)
        m.finalize()
        return (before, none, told, told_again) == (CKR.CRYPTOKI_NOT_INITIALIZED, "NO_EVENT", slot, slot)

    assert in_child(child)
    assert call.within(1) == slot
    assert code(s.info) == "SESSION_HANDLE_INVALID"
    for _ in range(count(50)):
        call = Call(event, m, 0)
        # Also while the thread is on its way to sleep.
        assert in_child(lambda: m.raw.C_Finalize(None) == CKR.CRYPTOKI_NOT_INITIALIZED)
        card.turn("remove")
        first = call.within(1)
        card.turn("insert")
        assert (first, event(m)) in ((slot, slot), (slot, "NO_EVENT"))
    links = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.islink(f"/proc/self/fd/{fd}")]
    assert sorted(link for link in links if link.startswith("anon_inode")) == ["anon_inode:[eventfd]", "anon_inode:inotify"]


def test_killed_processes(card, build, count):
    """A killed p11token has either changed the token, and then everybody is told, or not; a killed program that waited and
    had sessions leaves nothing behind."""
    m, slot = card.load(), card.slot()
    pid = os.fork()
    if pid == 0:
        try:
            m.initialize()
            m.open_session(slot)
            Call(event, m, 0).asleep()
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    out = False
    for n in range(count(100)):
        call = Call(event, m, 0)
        call.asleep()
        p = subprocess.Popen([build / "p11token", "insert" if out else "remove", "--token", card.label], stdout=subprocess.DEVNULL)
        time.sleep(0.0004 * (n % 25))
        p.kill()
        p.wait()
        now = m.slot_info(slot)["flags"] & PRESENT == 0
        if now == out:
            card.turn("insert" if out else "remove")
        assert call.within(1) == slot
        out = not out
        assert m.slot_info(slot)["flags"] == (REMOVABLE if out else PRESENT | REMOVABLE)


WORKER = r"""
import sys
import threading
from cryptoki import CKA, CKO, CkError, Module
m = Module(sys.argv[1], sys.argv[2])
m.initialize()
slot = m.slots(token_present=False)[0]
print("ready", flush=True)
rounds = 0
def work():
    global rounds
    while not stop.is_set():
        try:
            s = m.open_session(slot)
            try:
                s.login(sys.argv[3])
            except CkError as e:
                if e.name != "CKR_USER_ALREADY_LOGGED_IN":
                    raise
            h = s.create({CKA.CLASS: CKO.DATA, CKA.LABEL: "w", CKA.TOKEN: False, CKA.PRIVATE: True})
            assert s.get(h, CKA.LABEL) == b"w"
            s.destroy(h)
            s.close()
            rounds += 1
        except CkError as e:
            if e.name not in ("CKR_TOKEN_NOT_PRESENT", "CKR_SESSION_HANDLE_INVALID", "CKR_DEVICE_REMOVED",
                              "CKR_USER_NOT_LOGGED_IN", "CKR_OBJECT_HANDLE_INVALID"):
                errors.append(repr(e))
                return
stop, errors = threading.Event(), []
threads = [threading.Thread(target=work) for _ in range(3)]
for t in threads: t.start()
sys.stdin.read()
stop.set()
for t in threads: t.join()
s = m.open_session(slot)
s.login(sys.argv[3]) if m.token_info(slot)["ulSessionCount"] == 1 else None
s.find({})
m.finalize()
print(errors, rounds > 0)
"""


def test_many_processes_and_threads(card, count):
    """Two processes with three threads each work at the token while it comes and goes: only codes that say so, no lock-up, and
    everything works afterwards."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    workers = [subprocess.Popen(["/usr/bin/python3", "-c", WORKER, str(card.module), card.parameters, card.pin], env=env, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    for w in workers:
        assert w.stdout.readline() == "ready\n"
    for _ in range(count(200)):
        card.turn("remove")
        card.turn("insert")
    for w in workers:
        out, err = w.communicate(timeout=60)
        assert (out, err) == ("[] True\n", "")


# --- files and the tool ------------------------------------------------------------------------------------------------


def test_the_file_is_only_read(card):
    """A process that may only read sees removals as others do. Root may write anywhere but in a file system mounted
    read-only; so the file is looked at: it is mapped and opened for reading only."""
    m = card.load()
    [file] = card.directory.glob("*-card")
    assert file.stat().st_size == 4096 and file.stat().st_mode & 0o777 == 0o600
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("p11token-card")]
    assert [line.split()[1] for line in maps] == ["r--s"]
    assert not any(os.readlink(f"/proc/self/fd/{fd}").endswith("-card") for fd in os.listdir("/proc/self/fd")
                   if os.path.islink(f"/proc/self/fd/{fd}"))
    card.turn("remove")
    assert event(m) == m.slots(token_present=False)[0]


@pytest.mark.parametrize("content", [b"", b"p11card\0", bytes(4096), b"x" * 5000], ids=["empty", "short", "zeros", "long"])
def test_a_damaged_file(card, content, capfd):
    """The token is then one that cannot be removed, and works; a sentence names the file."""
    [file] = card.directory.glob("*-card")
    file.write_bytes(content)
    m = card.load()
    assert m.slot_info(card.slot())["flags"] == PRESENT and card.session().find({}) == []
    assert f"{file}: not the file that p11token made" in capfd.readouterr().err
    assert "the token cannot be removed" in card.turn("remove", status=2)


def test_messages(card, build):
    subprocess.run([build / "p11token", "init", "--label", "Fixed", "--kdf-cost", "4", "--pin", "1234", "--so-pin", "5678"],
                   check=True, stdout=subprocess.DEVNULL)
    said = card.turn("remove", "--token", "Fixed", status=2)
    assert "the token cannot be removed" in said and "p11token init --removable" in said
    assert "no such token: Card2" in card.turn("insert", "--token", "Card2", status=2)
    slot = card.slot()
    assert card.turn("remove", "--slot", str(slot)) == f"slot {slot}: removed\n"
    assert card.turn("remove") == f"slot {slot}: was removed\n"
    listed = card.turn("list", "--dir", str(card.directory))
    assert f'slot {slot}  "Card"' in listed and "removed: p11token insert puts it back" in listed and '"Fixed"' in listed
    for argv in (["list"], ["pin", "--pin", "1", "--new-pin", "2"], ["backup", str(card.directory / "copy")]):
        said = card.turn(argv[0], *argv[1:], "--token", "Card", status=2)
        assert "the token is removed: Card: put it back with p11token insert" in said
    assert "there is a token of this name" in card.turn("init", "--label", "Card", "--pin", "1234", "--so-pin", "5678", status=2)
    # The only one that can be removed need not be named.
    assert card.turn("insert", "--dir", str(card.directory)) == f"slot {slot}: inserted\n"
