"""The token's file where it cannot be written: on a full disk, in a folder or a file that is only for reading."""
import contextlib
import os
import random
import shutil
import subprocess

import pytest

from cryptoki import CKA, CKF, CKO, CKR, CkError, Module
from test_disk import mounted
from token_states import GONE, States, Worker
from tokens import KDF_COST, make_token

pytestmark = [pytest.mark.root, pytest.mark.nosan]

# Size in KiB. On the ext4 blocks are of 1 KiB, on btrfs every write needs new ones: there the mapped index of the log is in
# danger. And how many times each is filled for each kind of work.
DISKS = {"tmpfs": (3000, 90), "ext4": (8000, 90), "btrfs": (20000, 20)}
DATA = {CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.VALUE: bytes(3000)}


@pytest.fixture(params=DISKS)
def disk(request, tmp_path):
    with mounted(tmp_path / "disk", request.param, DISKS[request.param][0]) as directory:
        yield directory


@pytest.fixture
def on_disk(disk, build, monkeypatch, clean_env):
    """A token on a small disk. .worker .restore() .file"""
    for name in os.environ:
        if name.startswith("P11TOKEN_"):
            monkeypatch.delenv(name)
    token = make_token(disk / "tokens", build / "libp11token.so", monkeypatch.setenv, pin="pin-1")
    (token.file,) = token.directory.iterdir()
    token.worker = Worker(build, token, clean_env)
    pristine = shutil.copy(token.file, disk.parent / "pristine")

    def restore():
        for file in token.directory.iterdir():
            file.unlink()
        shutil.copy(pristine, token.file)

    token.restore = restore
    yield token
    token.finalize()


def free(disk) -> int:
    v = os.statvfs(disk)
    return v.f_bavail * v.f_frsize


@contextlib.contextmanager
def no_room(disk, leave):
    """A file that takes all of the disk but about `leave` KiB."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as f:
        for size in (1 << 18, 1 << 12, 1 << 10):
            with contextlib.suppress(OSError):
                while leave == 0 or free(disk) > leave * 1024 + size:
                    if f.write(os.urandom(size)) < size:
                        break
        with contextlib.suppress(OSError):
            os.fsync(f.fileno())
    try:
        yield
    finally:
        ballast.unlink()


def run_into_full(token, disk, leave, *arguments) -> str:
    """What a worker said until it had CKR_DEVICE_MEMORY for the tenth time on a disk with so much room."""
    with no_room(disk, leave):
        return token.worker.run(*arguments, 10)


def works_again(token):
    """A create and a destroy, in a process of their own as far as the token is concerned."""
    s = token.session(login=False)
    s.destroy(s.create(DATA))
    token.finalize()


def settle_work(token, log):
    states = States()
    states.read(log)
    found = token.worker.listed(token.pin)
    assert found.pop("label") == token.label
    states.settle(found)


def settle_pin(token, log):
    states = States()
    states.allowed = {"pin": {"1"}}
    states.read(log)
    (pin,) = states.of("pin")
    assert token.worker.listed(f"pin-{pin}")["label"] == token.label


def settle_init(token, log):
    states = States()
    states.allowed = {"token": {token.label}, "pin": {"1"}}
    states.read(log)
    found = token.worker.listed()
    found["token"] = found.pop("label").removeprefix("token-")
    token.label = found["token"] if found["token"] == token.label else "token-" + found["token"]
    if found.pop("pin", None) != "unset":
        (found["pin"],) = states.of("pin") - {GONE}
        token.worker.listed(f"pin-{found['pin']}")
    states.settle(found)


# What to do for how many seconds at most, what to look at afterwards, KiB of room: a change of what is there needs little.
WORK = {"create, change, destroy": (("work", "pin-1", "full", 4), settle_work, 600),
        "PIN": (("pin", 1, 1), settle_pin, 45),
        "initialise": (("init", "5678-so-pin", 1, 1), settle_init, 45)}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", WORK)
def test_disk_becomes_full(on_disk, disk, what, count, request):
    """At another moment each time, 200 in all for each kind of work: CKR_DEVICE_MEMORY and nothing else; what was
    acknowledged is there, what was refused is not, nothing is torn; with room again everything works."""
    arguments, settle, most = WORK[what]
    rng, label, refused = random.Random(what), on_disk.label, 0
    times = count(DISKS[request.node.callspec.params["disk"]][1])
    for _ in range(times):
        log = run_into_full(on_disk, disk, rng.choice([0, rng.randrange(60), rng.randrange(most)]), *arguments)
        refused += log.count("- ")
        settle(on_disk, log)
        works_again(on_disk)
        on_disk.restore()
        on_disk.label = label
    assert refused >= times


def test_full_disk_in_one_process(on_disk, disk, request):
    """What is there can be read; the same session goes on when there is room again. On btrfs even reading may need room,
    for the index of the log: then it is refused, and there is no SIGBUS."""
    s = on_disk.session()
    kept = s.create({**DATA, CKA.LABEL: "kept"})
    with no_room(disk, 0):
        with pytest.raises(CkError) as e:
            for _ in range(100):
                s.create(DATA)
        assert e.value.rv == CKR.DEVICE_MEMORY
        try:
            assert s.find({CKA.LABEL: "kept"}) == [kept] and s.get(kept, CKA.VALUE) == bytes(3000)
        except CkError as e:
            assert e.rv == CKR.DEVICE_MEMORY and request.node.callspec.params["disk"] == "btrfs"
    s.destroy(kept)
    assert s.get(s.create({**DATA, CKA.LABEL: "new"}), CKA.LABEL) == b"new"


def test_opened_on_a_full_disk(on_disk, disk):
    """A token at rest can be read though SQLite cannot make its log."""
    s = on_disk.session()
    s.create({**DATA, CKA.LABEL: "kept", CKA.PRIVATE: True})
    on_disk.finalize()
    with no_room(disk, 0):
        s = on_disk.session()
        assert s.get(s.find_one({CKA.LABEL: "kept"}), CKA.VALUE) == bytes(3000)
        with pytest.raises(CkError) as e:
            for _ in range(100):
                s.create(DATA)
        assert e.value.rv == CKR.DEVICE_MEMORY
    s.create(DATA)


def test_no_room_for_a_new_token(disk, build, tmp_path, monkeypatch):
    """C_InitToken of a blank token: no file, or no part of one, stays."""
    (tmp_path / "empty.conf").write_text("")
    monkeypatch.setenv("P11TOKEN_CONF", str(tmp_path / "empty.conf"))
    directory = disk / "new"
    directory.mkdir()
    with Module(build / "libp11token.so", f"directory={directory} kdf-cost={KDF_COST}") as m:
        (slot,) = m.slots()
        with no_room(disk, 0):
            with pytest.raises(CkError) as e:
                m.init_token(slot, "so-pin", "new")
            assert e.value.rv == CKR.DEVICE_MEMORY
            assert list(directory.iterdir()) == []
        m.init_token(slot, "so-pin", "new")
        assert m.token_info(slot)["label"] == "new"


def test_medium_for_reading_only(on_disk, disk):
    """Everything can be read; writing is CKR_TOKEN_WRITE_PROTECTED."""
    s = on_disk.session()
    s.create({**DATA, CKA.LABEL: "kept", CKA.PRIVATE: True})
    on_disk.finalize()
    remount(disk, "ro")
    try:
        s = on_disk.session(rw=False)
        assert s.get(s.find_one({CKA.LABEL: "kept"}), CKA.VALUE) == bytes(3000)
        with pytest.raises(CkError) as e:
            on_disk.session(login=False)
        assert e.value.rv == CKR.TOKEN_WRITE_PROTECTED
        assert on_disk.load().token_info(on_disk.slot())["flags"] & CKF.WRITE_PROTECTED
        on_disk.finalize()
    finally:
        remount(disk, "rw")
    works_again(on_disk)


def remount(disk, how):
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)
