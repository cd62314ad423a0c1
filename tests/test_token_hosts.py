"""libp11token.so as a guest: it reads no configuration but its own, leaves nothing behind, survives every way in
which a host may end, fork or unload it, and does not grow.  The hosts are tests/clients/token_host.c and
token_forks.c."""
import os
import re
import shutil
import stat
import subprocess

import pytest

from cryptoki import CKA, CKO
from secret_search import Search, keys, secrets_of
from token_record import read_record

ASKED = {"HOME", "OPENSSL_MODULES", "OPENSSL_ia32cap", "SQLITE_TMPDIR", "TMPDIR"}


@pytest.fixture
def host(build, run, token):
    """host("exit", "plain"): runs a verb of token_host on the token."""
    def call(verb, *more, program="token_host", **named):
        named["env"] = {**token.env, **named.get("env", {})}
        return run(build / "tests/clients" / program, verb, token.module, *more, **named).stdout
    return call


# --- what it reads ----------------------------------------------------------------------------------------------------

@pytest.mark.nosan
def test_no_other_file_is_opened(build, run, token, tmp_path):
    """Of the files that the module opens, each is in its directory, or of the system's loader, or random bytes."""
    log = tmp_path / "strace.log"
    run("strace", "-f", "-e", "trace=open,openat,openat2,execve", "-o", log, build / "tests/clients/token_host", "use",
        token.module, token.pin, env=token.env)
    opened = set(re.findall(r'(?:open\w*\((?:AT_FDCWD, )?)"([^"]*)"', log.read_text()))
    ours = {name for name in opened if name.startswith(str(token.directory))}
    system = re.compile(r"/etc/ld\.so|/lib|/usr/lib.*/(lib\w+\.so|ossl-modules/legacy\.so)|/dev/u?random|/proc/|/sys/")
    rest = {name for name in opened - ours if not system.match(name)}
    assert len(ours) >= 3
    assert rest - {str(token.module), token.env["P11TOKEN_CONF"], str(token.module.parent)} == set()
    assert log.read_text().count("execve(") == 1


@pytest.mark.nosan
def test_openssl_is_not_configured_by_the_host(host, token, tmp_path):
    """OPENSSL_CONF names a FIFO, at which whoever reads it waits for ever, or a file that would switch every provider
    off."""
    fifo, off = tmp_path / "fifo.cnf", tmp_path / "off.cnf"
    os.mkfifo(fifo)
    off.write_text("openssl_conf = x\n[x]\nproviders = p\nalg_section = a\n[p]\nbase = b\n[b]\nactivate = 1\n"
                   "[a]\ndefault_properties = fips=yes\n")
    for conf in (fifo, off):
        host("use", token.pin, env={"OPENSSL_CONF": conf, "OPENSSL_ENGINES": tmp_path}, timeout=30)


@pytest.mark.nosan
def test_environment_that_is_asked_for(host, token):
    """The names that getenv is called with: our own, and those that libcrypto and SQLite have for themselves."""
    asked = set(re.findall(r"^asks (\w+)$", host("use", token.pin), re.M))
    assert {"P11TOKEN_CONF", "P11TOKEN_DIR"} <= asked
    assert {name for name in asked if not name.startswith(("P11TOKEN_", "XDG_"))} <= ASKED


def test_what_is_in_the_environment_changes_nothing(host, token, tmp_path):
    """Names that other parts of the process go by."""
    noise = {"OPENSSL_ia32cap": "~0x200000200000000", "OPENSSL_MODULES": "/nowhere", "SQLITE_TMPDIR": "/nowhere",
             "TMPDIR": "/nowhere", "RANDFILE": "/nowhere", "LC_ALL": "tr_TR.UTF-8", "SOFTHSM2_CONF": "/nowhere"}
    host("use", token.pin, env=noise)
    host("use", token.pin, env={"OPENSSL_MODULES": tmp_path})


# --- how it ends ------------------------------------------------------------------------------------------------------

WAYS = ["plain", "threads", "atexit-before", "atexit-after", "atexit-threads", "before-threads", "destructor",
        "destructor-busy", "unload", "quick", "quick-threads", "finalized", "finalized-unload"]


@pytest.mark.parametrize("how", WAYS)
def test_every_way_to_exit(host, count, how, token):
    """Status 0, nothing said; with threads inside of calls several times over."""
    for _ in range(count(30) if "threads" in how or "busy" in how else 1):
        assert host("exit", token.pin, how, timeout=30) == "leaving\n"
    assert host("use", token.pin).count("asks P11TOKEN_DIR") == 1


@pytest.mark.nosan
@pytest.mark.parametrize("how", WAYS)
def test_every_way_to_exit_beside_libcrypto(host, how, token):
    """The host is linked with the system's libcrypto, whose own atexit handler runs in between."""
    assert host("exit", token.pin, how, timeout=30, env={"LD_PRELOAD": "libcrypto.so.3"}) == "leaving\n"


@pytest.mark.nosan
@pytest.mark.parametrize("how", ["threads", "atexit-after", "destructor"])
def test_exit_under_valgrind(build, run, token, how):
    """No invalid access, whatever order things are taken down in."""
    p = run("valgrind", "-q", "--error-exitcode=9", build / "tests/clients/token_host", "exit", token.module,
            token.pin, how, env=token.env, timeout=120)
    assert p.stdout == "leaving\n"


def test_loaded_and_unloaded_a_hundred_times(host, count, token):
    host("reload", token.pin, count(1000), timeout=120)


def test_thread_that_ends_after_the_module_was_unloaded(host, token):
    """libcrypto has a destructor for each thread that used it."""
    host("orphan", token.pin)


def test_two_libcryptos(host, token):
    """The host's digests work, its error queue gets none of our errors and loses none of its own, also in failing
    calls; when it has shut its libcrypto down, ours still works."""
    assert host("crypto", token.pin) == "ERR queue untouched\n"


# --- forks ------------------------------------------------------------------------------------------------------------

def test_forked_children_work(host, count, token):
    """A child initialises, logs in, signs with a key of the token and makes an object that the parent sees, while the
    parent's threads sign and write: nothing is lost, nobody waits for ever."""
    n = count(500)
    assert host("work", token.pin, n, program="token_forks", timeout=120) == f"child {n} passing 0 parent complete\n"


@pytest.mark.parametrize("verb", ["idle", "spawn"])
def test_forked_children_that_do_not_initialise(host, count, token, verb):
    """CKR_CRYPTOKI_NOT_INITIALIZED, with the parent's handles too; and programs that are started."""
    out = host(verb, token.pin, count(300), program="token_forks", timeout=120)
    assert out == "child 0 passing 0 parent complete\n"


def test_forked_child_of_a_forked_child(host, token):
    assert host("nested", token.pin, program="token_forks") == "child 1 passing 0 parent complete\n"


@pytest.mark.nosan
def test_forks_end_with_a_clean_folder(host, token):
    """The log has been written back and is gone, in whatever order the threads opened their connections again."""
    for verb in ("work", "idle"):
        host(verb, token.pin, 10, program="token_forks")
        assert [p.suffix for p in token.directory.iterdir()] == [".p11token"]


# --- growth -----------------------------------------------------------------------------------------------------------

GROW = [("initialize", 4000), ("sessions", 10000), ("session-objects", 10000), ("token-objects", 300),
        ("signatures", 2000), ("logins", 200), ("failures", 200)]


@pytest.mark.nosan
@pytest.mark.parametrize("what,n", GROW)
def test_memory_in_use_does_not_grow(host, token, what, n):
    """Between the middle and the end malloc has given out less than half of its smallest piece for each time, and
    there is not a page more for each time."""
    half, full = (list(map(int, line.split())) for line in host("grow", token.pin, what, n, timeout=120).splitlines())
    assert full[0] - half[0] < n / 2 * 16
    assert full[1] - half[1] < min(n / 2, 100)


@pytest.mark.nosan
@pytest.mark.parametrize("what", ["initialize", "token-objects", "failures"])
def test_no_leak_under_valgrind(build, run, token, what):
    """Nothing that nobody can reach any more, and no invalid access."""
    run("valgrind", "-q", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible",
        "--error-exitcode=9", build / "tests/clients/token_host", "grow", token.module, token.pin, what, 4,
        env=token.env, timeout=120)


# --- what the host has ------------------------------------------------------------------------------------------------

def test_descriptors_and_modes(host, token):
    """Open files are closed by C_Finalize and never inherited; files are 0600 in a folder of 0700 under the umask 0."""
    before, during, after = host("descriptors", token.pin).splitlines()
    mine = set(during.split()) - set(before.split())
    assert mine and all(str(token.directory) in d and d.endswith(":cloexec") for d in mine)
    assert after == before
    assert {stat.S_IMODE(p.stat().st_mode) for p in token.directory.iterdir()} == {0o600}


def test_modes_of_a_folder_that_the_module_makes(build, run, tmp_path):
    """p11token init in a place where nothing is, under the umask 0: 0700, and what is in it 0600."""
    (tmp_path / "conf").write_text("")
    env = {"P11TOKEN_DIR": tmp_path / "new", "P11TOKEN_CONF": tmp_path / "conf"}
    pins = tmp_path / "pins"
    pins.write_text("1234-pin\n")
    run(build / "p11token", "init", "--label", "Mine", "--pin-file", pins, "--so-pin-file", pins, env=env, umask=0)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "new").iterdir()} == {0o600}


def test_signals_locale_folder_and_umask(host, token):
    assert host("state", token.pin) == "state untouched\n"


# --- two at once ------------------------------------------------------------------------------------------------------

def test_two_copies_of_the_module_in_one_process(build, run, token, tmp_path, count):
    """The same token by two files with the same contents: both write at once, both see everything, and the second
    goes on when the first has ended."""
    copy = tmp_path / "second.so"
    shutil.copy(token.module, copy)
    n = count(160)  # the client looks for 512 objects at most
    p = run(build / "tests/clients/token_host", "two", token.module, copy, token.pin, n, env=token.env, timeout=120)
    assert p.stdout == f"kept {2 * n} kept {2 * n} kept {3 * n} gone 0\n"
    assert [p.suffix for p in token.directory.iterdir()] == [".p11token"]
    assert len(token.session().find({CKA.LABEL: b"kept"})) == 3 * n


@pytest.mark.nosan
def test_reading_the_token_file_takes_no_lock_away(token, run):
    """POSIX locks of a process go when it closes any descriptor of the file; a backup in the same process does that."""
    s = token.session()
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.LABEL: b"mine"})
    [path] = token.directory.glob("*.p11token")

    def locks() -> int:
        inode = str(path.stat().st_ino)
        return sum(f":{inode} " in line for line in open("/proc/locks"))

    before = locks()
    path.read_bytes()
    assert before >= 1 and locks() == before


# --- a core dump ------------------------------------------------------------------------------------------------------

def in_core(path, wanted: Search) -> set:
    """Names of the secrets with eight bytes in a row in the file."""
    found, names = set(), {w: name.split(" ")[0] for w, name in wanted.forms.items()}
    data = path.read_bytes()
    for window, name in names.items():
        if name not in found and window in data:
            found.add(name)
    return found


@pytest.mark.nosan
@pytest.mark.parametrize("when", ["logged-in", "logged-out", "finalized"])
def test_core_dump(build, run, token, tmp_path, clean_env, when):
    """Neither PIN nor master key of the token is in a core dump, not even while the user is logged in; after the
    logout no value of a private object either, though all keys have been read and used."""
    names = ["AES-256", "generic-48", "EC", "RSA"]
    s = token.session()
    for name in names:
        s.create({**keys()[name], CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: name, CKA.EXTRACTABLE: False,
                  **({CKA.ENCRYPT: True} if name == "AES-256" else {CKA.SIGN: True})})
    token.finalize()
    master = read_record(token.directory).user.open(token.pin.encode())
    core = tmp_path / "core"
    p = subprocess.Popen([build / "tests/clients/token_host", "hold", token.module, when],
                         env={**clean_env, **token.env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        p.stdin.write(token.pin.encode() + b"\n")
        p.stdin.flush()
        assert [p.stdout.readline() for _ in range(2)] == [b"4 objects\n", b"ready\n"]
        run("gcore", "-o", core, p.pid, timeout=60)
    finally:
        p.stdin.close()
        p.wait()
    dumped = next(tmp_path.glob("core.*"))
    data = dumped.read_bytes()
    assert str(token.directory).encode() in data or when == "finalized"
    assert token.pin.encode() not in data
    assert all(master[i:i + 8] not in data for i in range(0, 25))
    if when != "logged-in":
        assert in_core(dumped, Search({k: v[:24] for k, v in secrets_of(names).items()}, shifts=False)) == set()
