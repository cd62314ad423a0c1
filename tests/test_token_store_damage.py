"""Token files that are damaged, foreign, cut off, moved or deleted: a clear error or the right bytes, never a crash, and what
is not damaged can be read."""
import os
import random
import re
import shutil
import sqlite3

import pytest

from cryptoki import CKA, CKO, CKR, CkError, Module
from token_states import Worker

PAGE = 4096
OBJECTS = 40
# What a damaged object, or a token that cannot be used any more, may answer.
DAMAGED = {CKR.DEVICE_ERROR}


@pytest.fixture
def filled(token):
    """A token at rest with OBJECTS data objects, some long. .file .image .values .pages: on which pages each value lies"""
    rng = random.Random(5)
    s = token.session()
    values = [rng.randbytes(rng.choice([40, 300, 900, 2500, 9000])) for _ in range(OBJECTS)]
    for i, value in enumerate(values):
        s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: False, CKA.LABEL: f"object {i}", CKA.VALUE: value})
    token.finalize()
    (token.file,) = token.directory.iterdir()
    token.image, token.values = token.file.read_bytes(), values
    pages = [token.image[i:i + PAGE] for i in range(0, len(token.image), PAGE)]
    token.pages = [{n for n, page in enumerate(pages) if any(value[at:at + 16] in page for at in range(0, len(value), 16))}
                   for value in values]
    assert all(token.pages)
    return token


def assert_all_there(token):
    """The objects of the fixture, each with its value."""
    s = token.session(login=False)
    for i, value in enumerate(token.values):
        assert s.get(s.find_one({CKA.LABEL: f"object {i}"}), CKA.VALUE) == value
    token.finalize()


def leave_a_log(token, build, env, lines):
    """A process that works on the token is killed after so many lines."""
    p = Worker(build, token, env).start("work", token.pin, "w", 0, 0)
    for _ in range(lines):
        p.stdout.readline()
    p.kill()
    p.communicate()
    (log,) = token.directory.glob("*-wal")
    assert log.stat().st_size > 20 * PAGE
    return log


def put(token, image):
    """The file, as the only one of the folder."""
    for file in token.directory.iterdir():
        file.unlink()
    token.file.write_bytes(image)


def flips(image, rng):
    image = bytearray(image)
    touched = set()
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(image))
        image[at] ^= 1 << rng.randrange(8)
        touched.add(at // PAGE)
    return image, touched


def overwrite(image, at, new):
    return image[:at] + new + image[at + len(new):], set(range(at // PAGE, (at + len(new) - 1) // PAGE + 1))


def noise(image, rng):
    at = rng.randrange(len(image) - 1)
    return overwrite(image, at, rng.randbytes(rng.randrange(1, min(3000, len(image) - at))))


def zeros(image, rng):
    at = rng.randrange(len(image) - 1)
    return overwrite(image, at, bytes(rng.randrange(1, min(9000, len(image) - at))))


def cut(image, rng):
    size = rng.randrange(len(image))
    return image[:size], set(range(size // PAGE, len(image) // PAGE))


def page_elsewhere(image, rng):
    here, there = rng.sample(range(len(image) // PAGE), 2)
    return overwrite(image, here * PAGE, image[there * PAGE:][:PAGE])


def first_page(image, rng):
    return overwrite(image, 0, rng.randbytes(PAGE))


WAYS = [flips, noise, zeros, cut, page_elsewhere, first_page]

# Runs in a process of its own: it may crash. Prints what it got.
LOOK = """
import sys
sys.path.insert(0, {tests!r})
from cryptoki import *
m = Module({module!r}, {parameters!r})
m.initialize()
(slot,) = m.slots() or [None]
if slot is None:
    sys.exit()
try:
    print("label", m.token_info(slot)["label"])
    s = m.open_session(slot)
except CkError as e:
    print("refused", e.name)
    m.finalize()
    sys.exit()
for i in range({objects}):
    try:
        found = s.find({{CKA.LABEL: f"object {{i}}"}})
        print("object", i, s.get(found[0], CKA.VALUE).hex() if found else "missing")
    except CkError as e:
        print("object", i, e.name)
for what in (lambda: s.login({pin!r}), lambda: s.create({{CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.LABEL: "new"}}),
             lambda: [s.destroy(h) for h in s.find({{CKA.LABEL: "object 3"}})]):
    try:
        what()
        print("done")
    except CkError as e:
        print("refused", e.name)
m.finalize()
"""


def look(token, run, root):
    program = LOOK.format(tests=str(root / "tests"), module=str(token.module), parameters=token.parameters,
                          objects=OBJECTS, pin=token.pin)
    return run("/usr/bin/python3", "-c", program, env=token.env).stdout


@pytest.mark.parametrize("way", WAYS, ids=[w.__name__ for w in WAYS])
def test_damaged_at_random(filled, run, root, way, count):
    """An object none of whose bytes lies on a page that was touched is found and read; of the others every answer is the
    right value or an error."""
    rng, seen = random.Random(way.__name__), 0
    for i in range(count(100)):
        image, touched = way(filled.image, rng)
        put(filled, image)
        out = look(filled, run, root)
        answers = dict(re.findall(r"(?m)^object (\d+) (.*)$", out))
        errors = set(re.findall(r"CKR_\w+", out))
        assert errors <= {CKR.name(rv) for rv in DAMAGED}, (i, touched, errors)
        if not answers:
            assert len(touched) > 1, f"round {i}: nothing can be read, though only page {touched} was touched\n{out}"
            continue
        for n, value in enumerate(filled.values):
            whole = not filled.pages[n] & touched
            answer = answers[str(n)]
            assert answer == value.hex() or (not whole and (answer == "missing" or answer.startswith("CKR_"))), \
                f"round {i}: object {n} of pages {filled.pages[n]}, touched {touched}: {answer[:80]}"
            seen += answer == value.hex()
    assert seen > 0


def test_damaged_log(filled, build, clean_env, count):
    """A log that was left by a killed process and is damaged too: SQLite takes what is whole of it."""
    rng, log = random.Random(6), leave_a_log(filled, build, clean_env, 60)
    file, frames = filled.file.read_bytes(), log.read_bytes()
    for way in [flips, noise, zeros, cut] * count(40):
        put(filled, file)
        log.write_bytes(way(frames, rng)[0])
        assert_all_there(filled)


NOT_OURS = {"empty": b"", "text": b"not a token at all\n" * 500, "a short head": b"SQLite format 3\0", "zeros": bytes(40000)}


@pytest.mark.parametrize("what", NOT_OURS)
def test_no_token_file(token, what):
    """A file of that name that is none: it is left as it is, and the tokens beside it work."""
    other = token.directory / "0000000000000001.p11token"
    other.write_bytes(NOT_OURS[what])
    try_slots(token)
    assert other.read_bytes() == NOT_OURS[what]


def try_slots(token):
    """Of two slots one has the token, which works, and the other one says that it cannot be used."""
    m, codes = token.load(), []
    for slot in m.slots(token_present=False):
        try:
            assert m.token_info(slot)["label"] == token.label
            s = m.open_session(slot)
            s.login(token.pin)
            s.destroy(s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True}))
        except CkError as e:
            codes.append(e.rv)
    token.finalize()
    assert codes == [CKR.DEVICE_ERROR]


def test_database_of_another_program(token):
    """A SQLite file that is no token, with a log that its program has not written back: nothing is touched."""
    other = token.directory / "0000000000000002.p11token"
    db = sqlite3.connect(other)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE t (x)")
    db.commit()
    saved = token.directory.parent / "saved"
    saved.mkdir()
    for f in token.directory.glob(other.name + "*"):
        shutil.copy(f, saved)
    db.close()
    for f in saved.iterdir():
        shutil.copy(f, token.directory)
    before = {f.name: f.read_bytes() for f in token.directory.glob(other.name + "*")}
    assert before[other.name + "-wal"]
    try_slots(token)
    assert {f.name: f.read_bytes() for f in token.directory.glob(other.name + "*")} == before


def test_written_back_by_another_sqlite(filled, build, clean_env):
    """The sqlite3 command looks at a token whose application was killed, and writes its log back: the token works."""
    leave_a_log(filled, build, clean_env, 200)
    db = sqlite3.connect(filled.file)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    (rows,) = db.execute("SELECT count(*) FROM object").fetchone()
    db.close()
    assert list(filled.directory.iterdir()) == [filled.file]
    assert_all_there(filled)
    Worker(build, filled, clean_env).run("work", filled.pin, "after", 1, 0)
    s = filled.session()
    assert len(s.find({})) >= rows > OBJECTS
    assert all(s.get(h, CKA.LABEL) for h in s.find({}))


def leaves_free(file):
    """Pages of tables and indexes without our checksum whose end is zero: what deleted records leave behind."""
    image = file.read_bytes()
    return [n for n in range(PAGE, len(image), PAGE)
            if image[n] in (2, 5, 10, 13) and image[n + PAGE - 16:n + PAGE] == bytes(16)]


def test_deleted_records_written_back_by_another_sqlite(filled):
    """A page may end in the zeros of a record that was deleted: that is no damage."""
    pid = os.fork()
    if pid == 0:  # ends without closing: the log stays
        try:
            s = filled.session()
            for i in range(OBJECTS):
                if i % 3:
                    s.destroy(s.find_one({CKA.LABEL: f"object {i}"}))
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    db = sqlite3.connect(filled.file)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    assert leaves_free(filled.file), "no page ends in zeros"
    s = filled.session()
    for i in range(0, OBJECTS, 3):
        handle = s.find_one({CKA.LABEL: f"object {i}"})
        assert s.get(handle, CKA.VALUE) == filled.values[i]
        s.set(handle, {CKA.LABEL: f"renamed {i}"})
    for i in range(1, OBJECTS, 3):
        s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: False, CKA.LABEL: f"again {i}", CKA.VALUE: b"v" * 700})
    for i in range(0, OBJECTS, 3):
        s.destroy(s.find_one({CKA.LABEL: f"renamed {i}"}))


def test_deleted_while_in_use(token):
    """What would be written would be lost, so it is refused."""
    s = token.session()
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True})
    for file in token.directory.iterdir():
        file.unlink()
    with pytest.raises(CkError) as e:
        s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True})
    assert e.value.rv == CKR.DEVICE_REMOVED


def test_index_of_the_log_cut_off_while_in_use(token, run, root):
    """Another program cuts off the file that SQLite has mapped: an error, no SIGBUS."""
    program = f"""
import sys
sys.path.insert(0, {str(root / "tests")!r})
from cryptoki import *
m = Module({str(token.module)!r}, {token.parameters!r})
m.initialize()
s = m.open_session(m.slots()[0])
data = {{CKA.CLASS: CKO.DATA, CKA.TOKEN: True}}
s.create(data)
import glob, os
(shm,) = glob.glob({str(token.directory)!r} + "/*-shm")
os.truncate(shm, 0)
for what in (lambda: s.create(data), lambda: s.find(data)):
    try:
        what()
        print("done")
    except CkError as e:
        print(e.name)
"""
    out = run("/usr/bin/python3", "-c", program, env=token.env).stdout.split()
    assert set(out) <= {"done", "CKR_DEVICE_ERROR", "CKR_DEVICE_MEMORY"} and "CKR_DEVICE_ERROR" in out
    s = token.session()
    assert len(s.find({CKA.CLASS: CKO.DATA})) == 1


def test_modes_of_the_files(token):
    """Nobody else may read them, whatever the umask."""
    old = os.umask(0)
    try:
        s = token.session()
        s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True})
        files = {f.name.partition(".p11token")[2]: f.stat().st_mode & 0o777 for f in token.directory.iterdir()}
        assert files == {"": 0o600, "-wal": 0o600, "-shm": 0o600}
        token.finalize()
    finally:
        os.umask(old)


def test_symbolic_links(token, tmp_path):
    """Folder and file may be symbolic links."""
    (tmp_path / "link").symlink_to(token.directory)
    (file,) = token.directory.iterdir()
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / file.name).symlink_to(file)
    for folder in ("link", "third"):
        with Module(token.module, f"directory={tmp_path / folder} kdf-cost=4") as m:
            s = m.open_session(m.slots()[0])
            s.login(token.pin)
            s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.LABEL: folder})
    s = token.session()
    assert len(s.find({CKA.CLASS: CKO.DATA})) == 2
