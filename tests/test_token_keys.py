"""Where PINs and keys are, and where they are not: on the disk, in the memory of a process, in a forked child."""
import os
import re
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cryptoki import CKA, CKK, CKO, CKS, CKU, CkError  # noqa: F401
from pin_bench import PIN, SO_PIN, bench, code  # noqa: F401
from token_record import read_record, token_file

SECRET_KEY = os.urandom(32)
SECRET_TEXT = b"a text that nobody may read on the disk"


def fill(s):
    """Puts secrets of each kind of object on the token."""
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "private label",
              CKA.VALUE: SECRET_TEXT})
    for private in (True, False):
        s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.TOKEN: True, CKA.PRIVATE: private,
                  CKA.SENSITIVE: True, CKA.VALUE: SECRET_KEY})


def test_no_pin_or_key_on_the_disk(bench):
    """No file of the token directory has a PIN, a key, a private text or the master key in it, at any moment of use."""
    b = bench().make()
    s = b.session()
    s.login(PIN)
    fill(s)
    master = read_record(b.directory).user.open(PIN.encode())
    s.set_pin(PIN, "a PIN that came later")
    code(s.set_pin, "a PIN that was wrong", "other PIN")
    needles = [PIN.encode(), SO_PIN.encode(), b"a PIN that", SECRET_TEXT, SECRET_KEY, b"private label", master]
    needles += [n.decode().encode("utf-16-le") for n in needles[:4]]
    b.m.finalize()
    files = [p for p in b.directory.rglob("*") if p.is_file()]
    assert token_file(b.directory) in files
    for path in files:
        data = path.read_bytes()
        assert not [n for n in needles if n in data], path
        assert path.stat().st_mode & 0o077 == 0, path
    assert b.directory.stat().st_mode & 0o077 == 0
    b.m.initialize()
    s = b.session()
    s.login("a PIN that came later")
    assert s.get(s.find_one({CKA.LABEL: "private label"}), CKA.VALUE) == SECRET_TEXT


def test_what_the_record_holds(bench):
    """The record, opened by other means: both PINs lead to the same key, by scrypt at the stored cost, each only by its
    own PIN and for its own user."""
    b = bench("kdf-cost=6").make()
    record = read_record(b.directory)
    assert (record.user.cost, record.so.cost) == (6, 6)
    master = record.user.open(PIN.encode())
    assert len(master) == 32 and record.so.open(SO_PIN.encode()) == master
    assert record.user.salt != record.so.salt and record.user.wrapped != record.so.wrapped
    for pin, attempt in ((record.user, SO_PIN), (record.so, PIN), (record.user, PIN + "\0"), (record.user, "")):
        with pytest.raises(InvalidTag):
            pin.open(attempt.encode())
    record.user.who = b"SO"
    with pytest.raises(InvalidTag):
        record.user.open(PIN.encode())


def test_cost_is_the_tokens(bench):
    """A token keeps the cost that it was made with, whatever is configured when its PINs are changed."""
    b = bench("kdf-cost=5").make()
    b.m.finalize()
    b.m.parameters = f"directory={b.directory} kdf-cost=9"
    b.m.initialize()
    s = b.session()
    s.set_pin(PIN, "other")
    s.login(SO_PIN, CKU.SO)
    s.set_pin(SO_PIN, "other SO")
    assert (read_record(b.directory).user.cost, read_record(b.directory).so.cost) == (5, 5)
    s.init_pin("third")
    assert read_record(b.directory).user.cost == 5


def test_every_secret_is_salted(bench):
    """The same PIN set again has another salt, another nonce and the same key behind it."""
    b = bench().make()
    s = b.session()
    seen = [read_record(b.directory).user]
    for _ in range(3):
        s.set_pin(PIN, PIN)
        seen.append(read_record(b.directory).user)
    assert len({p.salt for p in seen}) == len({p.wrapped[:12] for p in seen}) == 4
    assert len({p.open(PIN.encode()) for p in seen}) == 1


# --- memory ---------------------------------------------------------------------------------------------------------

def mappings(pid):
    """(first, last, flags) of every readable mapping of a process."""
    first = None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line)
        if head:
            first, last, mode = int(head[1], 16), int(head[2], 16), head[3]
        elif line.startswith("VmFlags:") and mode[0] == "r":
            yield first, last, line.split()[1:]


def places(pid, needle: bytes):
    """The flags of the mappings in which a process has these bytes, one entry for each time."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for first, last, flags in mappings(pid):
            try:
                memory.seek(first)
                data = memory.read(last - first)
            except (OSError, ValueError):  # [vvar] and the like
                continue
            found += [flags] * len(re.findall(re.escape(needle), data))
    return found


@pytest.mark.nosan
def test_keys_in_memory(bench):
    """While the user is logged in the keys are in one page, locked, in no core dump, empty in a forked child; after the
    logout they are nowhere."""
    b = bench().make()
    s = b.session()
    s.login(PIN)
    fill(s)
    s.close()
    master = read_record(b.directory).user.open(PIN.encode())
    subkeys = [HKDF(SHA256(), 32, None, b"p11token " + name).derive(master) for name in (b"seal", b"tag")]
    with b.peer() as peer:
        peer(f"s = m.open_session({b.slot})")
        for _ in range(2):
            peer(f"s.login({PIN!r})")
            assert len(peer("[len(s.get(o, CKA.CLASS)) for o in s.find({})]")) == 3
            for key in [master, *subkeys]:
                [flags] = places(peer.pid, key)
                assert {"dd", "wf"} <= set(flags)  # not dumped, wiped on fork
                assert "lo" in flags or locked_memory_is_short()
            child = peer("(__import__('os').fork() or __import__('signal').pause())")
            assert [places(child, key) for key in [master, *subkeys]] == [[], [], []]
            os.kill(child, 9)
            peer("__import__('os').wait()")
            peer("s.logout()")
            for secret in (master, *subkeys, SECRET_KEY, SECRET_TEXT):
                assert places(peer.pid, secret) == []
        peer(f"s.login({PIN!r})")
        peer("m.finalize()")
        for secret in (master, *subkeys):
            assert places(peer.pid, secret) == []


def locked_memory_is_short() -> bool:
    """RLIMIT_MEMLOCK does not allow the page."""
    import resource
    return os.geteuid() != 0 and resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < 1 << 20


def test_child_has_no_login(bench):
    """A forked child is nobody until it initialises and logs in for itself; the parent stays logged in."""
    b = bench().make()
    with b.peer() as peer:
        peer(f"s = m.open_session({b.slot})")
        peer(f"s.login({PIN!r})")
        peer(f"""if True:
            import os, sys
            def in_child():
                got = []
                def code(f, *a):
                    try:
                        f(*a)
                    except CkError as e:
                        return e.name
                    return "CKR_OK"
                got.append(code(s.logout))
                m.initialize()
                t = m.open_session({b.slot})
                got.append(t.info()["state"])
                got.append(code(t.login, "wrong"))
                got.append(code(t.login, {PIN!r}))
                m.finalize()
                return got
            def forked():
                r, w = os.pipe()
                if os.fork() == 0:
                    try:
                        os.write(w, json.dumps(in_child()).encode())
                    finally:
                        os._exit(0)
                os.close(w)
                os.wait()
                with os.fdopen(r) as f:
                    return json.load(f)
            import json
        """)
        assert peer("forked()") == ["CKR_CRYPTOKI_NOT_INITIALIZED", CKS.RW_PUBLIC_SESSION, "CKR_PIN_INCORRECT",
                                    "CKR_OK"]
        assert peer("s.info()['state']") == CKS.RW_USER_FUNCTIONS
        assert peer.code("s.logout()") == "CKR_OK"
