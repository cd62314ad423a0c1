"""`p11trace wrap` with NSS: modules of a database swapped and put back, parameters of modutil, what is refused."""
import os
import re
import shutil
import stat
import subprocess

import pytest

from nss import LABEL, MODULE_NAME, Stage, environment, softhsm, trace_events

pytestmark = pytest.mark.nss


@pytest.fixture(scope="module")
def made(build, tmp_path_factory):
    return Stage(tmp_path_factory.mktemp("wrap"), build)


@pytest.fixture
def stage(made):
    """A fresh stage of which the module is SoftHSM itself."""
    made.reset()
    made.direct()
    return made


def wrap(stage, *argv, status=0):
    o = stage.run(stage.build / "p11trace", "wrap", *argv)
    assert o.status == status, o.stderr.decode()
    return o


LIST_KEYS = ("certutil", "-K", "-d", "sql:nssdb", "-h", LABEL, "-f", "pin.txt")


# --- modules of a database -------------------------------------------------------------------------------------------

def test_replace_and_restore(stage):
    db = stage.folder / "nssdb"
    before = (db / "pkcs11.txt").read_bytes()
    files = sorted(os.listdir(db))
    untraced = stage.must(*LIST_KEYS)

    wrap(stage, "--nssdb", "sql:nssdb", "--replace", MODULE_NAME, "--out", stage.traces)
    swapped = (db / "pkcs11.txt").read_bytes()
    changed = [(a, b) for a, b in zip(before.split(b"\n"), swapped.split(b"\n"), strict=True) if a != b]
    assert changed == [(b"library=%s" % bytes(stage.module), b"library=%s" % bytes(db / "module-traced.so"))]
    assert stat.S_IMODE((db / "pkcs11.txt").stat().st_mode) == 0o600

    assert stage.must(*LIST_KEYS).stdout == untraced.stdout
    functions = {e.get("fn") for e in trace_events(stage.build, stage.traces)}
    assert {"C_Initialize", "C_Login", "C_FindObjects", "C_Finalize"} <= functions
    traced = sorted(os.listdir(stage.traces))

    wrap(stage, "--nssdb", "sql:nssdb", "--restore")
    assert (db / "pkcs11.txt").read_bytes() == before
    assert sorted(os.listdir(db)) == files
    assert stage.must(*LIST_KEYS).stdout == untraced.stdout
    assert sorted(os.listdir(stage.traces)) == traced, "still traced"


def test_restore_is_exact_beside_other_changes(stage):
    """Lines that NSS does not read, no line break at the end, a module that was added meanwhile: all stay."""
    path = stage.folder / "nssdb" / "pkcs11.txt"
    before = b"# ours\n" + path.read_bytes().replace(b"name=The module\n", b"name=The module\nNSS=trustOrder=50\n")
    before = before.rstrip(b"\n")
    path.write_bytes(before)
    wrap(stage, "--nssdb", "nssdb", "--replace", MODULE_NAME)
    assert path.read_bytes() != before
    extra = b"\n\nlibrary=/nowhere.so\nname=Later"
    path.write_bytes(path.read_bytes() + extra)
    wrap(stage, "--nssdb", "nssdb", "--restore")
    assert path.read_bytes() == before + extra


def test_two_modules_of_one_database(stage):
    path = stage.folder / "nssdb" / "pkcs11.txt"
    shutil.copy(softhsm(), stage.folder / "second module.so")
    with path.open("a") as f:
        f.write(f"library={stage.folder}/second module.so\nname=Second one\n\n")
    before = path.read_bytes()
    wrap(stage, "--nssdb", "sql:nssdb", "--replace", MODULE_NAME)
    wrap(stage, "--nssdb", "sql:nssdb", "--replace", "Second one")
    assert b"second module-traced.so\nname=Second one" in path.read_bytes()
    wrap(stage, "--nssdb", "sql:nssdb", "--restore")
    assert path.read_bytes() == before
    assert not (stage.folder / "nssdb" / "pkcs11.txt.p11trace").exists()


def test_nothing_to_restore_and_unknown_names(stage):
    assert b"no module of this database is replaced" in wrap(stage, "--nssdb", "sql:nssdb", "--restore",
                                                             status=2).stderr
    assert b'"The module"' in wrap(stage, "--nssdb", "sql:nssdb", "--replace", "Nobody", status=2).stderr
    internal = "NSS Internal PKCS #11 Module"
    assert b"NSS's own" in wrap(stage, "--nssdb", "sql:nssdb", "--replace", internal, status=2).stderr
    wrap(stage, "--nssdb", "sql:nssdb", "--replace", MODULE_NAME)
    assert b"traced already" in wrap(stage, "--nssdb", "sql:nssdb", "--replace", MODULE_NAME, status=2).stderr
    wrap(stage, "--nssdb", "sql:nssdb", "--restore")


def test_changed_by_hand_is_left_alone(stage):
    path = stage.folder / "nssdb" / "pkcs11.txt"
    wrap(stage, "--nssdb", "sql:nssdb", "--replace", MODULE_NAME)
    path.write_bytes(path.read_bytes().replace(b"module-traced.so", b"elsewhere.so"))
    by_hand = path.read_bytes()
    assert b"changed since" in wrap(stage, "--nssdb", "sql:nssdb", "--restore", status=2).stderr
    assert path.read_bytes() == by_hand


# --- the traced copy -------------------------------------------------------------------------------------------------

def test_files_of_a_copy(stage):
    out = wrap(stage, "module.so", "-o", "copy.so", "--out", "traces", "--stack", "off").stdout.decode()
    conf = (stage.folder / "copy.conf").read_text().splitlines()
    assert [line for line in conf if not line.startswith("#")] == [
        f"recorder = {stage.build.resolve()}/libp11trace.so", f"module = {stage.module}",
        f"out = {stage.folder}/traces", "stack = off"]
    assert stat.S_IMODE((stage.folder / "copy.so").stat().st_mode) == 0o755
    assert stat.S_IMODE((stage.folder / "copy.conf").stat().st_mode) == 0o644
    assert stat.S_IMODE((stage.folder / "traces").stat().st_mode) == 0o700
    assert f"-libfile {stage.folder}/copy.so" in out and '"SecurityDevices"' in out
    assert wrap(stage, "module.so", "-q").stdout.decode() == f"{stage.folder}/module-traced.so\n"


def test_a_running_program_keeps_its_copy(stage):
    """Wrapping again gives new files: the old ones, which a program may have mapped, are not written to."""
    wrap(stage, "module.so", "-o", "copy.so")
    with open(stage.folder / "copy.so", "rb") as old:
        inode, text = os.fstat(old.fileno()).st_ino, old.read()
        wrap(stage, "module.so", "-o", "copy.so", "--capture", "meta")
        old.seek(0)
        assert old.read() == text
    assert (stage.folder / "copy.so").stat().st_ino != inode


CRASH = "#include <stdlib.h>\n__attribute__((constructor)) static void c(void) { abort(); }\nint C_GetFunctionList;\n"


def test_refusals(stage):
    def refused(*argv):
        before = sorted(os.listdir(stage.folder))
        text = wrap(stage, *argv, status=2).stderr.decode()
        assert text.startswith("p11trace wrap: ") and text.count("\n") == 1, text
        assert sorted(os.listdir(stage.folder)) == before, "something was written"
        return text

    (stage.folder / "crash.c").write_text(CRASH)
    stage.must("cc", "-shared", "-fPIC", "-o", "crash.so", "crash.c")
    libz = next(p for p in ("/lib", "/usr/lib") for p in [subprocess.run(
        ["sh", "-c", f"ls {p}/*/libz.so.1"], capture_output=True, text=True).stdout.split("\n")[0]] if p)
    assert "No such file" in refused("nowhere/module.so")
    assert "does not load" in refused("message")
    assert "does not load" in refused("libnowhere.so")
    assert "C_GetFunctionList" in refused(libz)
    assert "Aborted" in refused("crash.so")
    assert "not a traced copy" in refused("module.so", "-o", "module.so")
    assert "end in .so" in refused("module.so", "-o", "copy")
    assert "No such file" in refused("module.so", "-o", "nowhere/copy.so")
    assert "--capture takes one of: meta safe full clear" in refused("module.so", "--capture", "all")
    assert "--cut takes a size" in refused("module.so", "--cut", "much")
    assert "--only takes functions" in refused("module.so", "--only", "C_Nothing")
    assert "recorder" in refused("module.so", "--recorder", "nowhere.so")
    assert "recorder" in refused(stage.build / "libp11trace.so")
    assert "sql:" in refused("--nssdb", "dbm:nssdb", "--replace", MODULE_NAME)
    (stage.folder / "other.conf").write_text("somebody else's\n")
    assert "other.conf" in refused("module.so", "-o", "other.so")
    wrap(stage, "module.so", "-o", "copy.so")
    assert "traced already" in refused("copy.so", "-o", "copy2.so")


def test_settings_are_the_recorders(stage, root):
    """wrap offers what the recorder understands, and all of it."""
    table = set(re.findall(r'^S\(\w+, "([a-z-]+)", "P11TRACE_', (root / "shim/spec/settings.def").read_text(), re.M))
    help_text = wrap(stage, "--help").stdout.decode()
    offered = set(re.findall(r"^ +--([a-z-]+)=", help_text[help_text.index("Settings of the recorder"):], re.M))
    assert len(table) > 5 and offered == table


# --- parameters of modutil -------------------------------------------------------------------------------------------

@pytest.fixture
def database(tmp_path, build):
    """An empty NSS database and what runs a program on it."""
    env = environment(tmp_path, P11MOCK_PARAMS=tmp_path / "params")
    (tmp_path / "nssdb").mkdir()

    def run(*argv, **more):
        p = subprocess.run([str(a) for a in argv], cwd=tmp_path, env={**env, **more}, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=60)
        assert p.returncode == 0, p.stdout + p.stderr
        return p.stdout

    run("certutil", "-N", "-d", "sql:nssdb", "--empty-password")
    return run


def test_target_from_nss_parameters(stage):
    """The recorder itself as NSS's module; which module it records is known only when C_Initialize is called."""
    (stage.folder / "seen").mkdir(mode=0o700)
    untraced = stage.must(*LIST_KEYS)
    stage.must("modutil", "-force", "-dbdir", "sql:nssdb", "-delete", MODULE_NAME)
    stage.must("modutil", "-force", "-dbdir", "sql:nssdb", "-add", MODULE_NAME,
               "-libfile", stage.build / "libp11trace.so",
               "-string", f"p11trace:module={softhsm()} p11trace:out={stage.folder}/seen")
    assert stage.must(*LIST_KEYS).stdout == untraced.stdout
    functions = {e.get("fn") for e in trace_events(stage.build, stage.folder / "seen")}
    assert {"C_Initialize", "C_Login", "C_FindObjects", "C_Finalize"} <= functions


@pytest.mark.parametrize("given, arrives", [
    ("p11trace:out={out} note=kept other='x y'", "note=kept other='x y'"),
    ("p11trace:out={out}", None),
    ("note=kept p11trace.out=/nowhere", "note=kept p11trace.out=/nowhere"),
    ("", None),
])
def test_other_parameters_are_passed_on(database, build, tmp_path, given, arrives):
    """Our own keys are taken out; the rest reaches the module, or nothing if nothing is left."""
    mock = build / "tests/mocks/mock_params.so"
    database(build / "p11trace", "wrap", mock, "-o", "copy.so", "--out", "traces")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    given = given.format(out=tmp_path / "elsewhere")
    options = ("-string", given) if given else ()
    database("modutil", "-force", "-dbdir", "sql:nssdb", "-add", "P", "-libfile", tmp_path / "copy.so", *options)
    (tmp_path / "params").unlink()
    database("modutil", "-dbdir", "sql:nssdb", "-list", "P")
    lines = (tmp_path / "params").read_text().splitlines()
    assert lines and len(set(lines)) == 1
    if arrives is None:
        assert lines[0] == "flags=0x3 callbacks=1 no parameters"
    else:
        head, _, rest = lines[0].partition(" parameters=")
        assert head == "flags=0x3 callbacks=1 seventh=NULL" and rest.split() == arrives.split()
