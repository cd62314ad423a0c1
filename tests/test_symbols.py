"""Names for call stacks: `dump --stack`, `stat --by-caller`, on traces of real programs."""
import json
import re
import shutil
import subprocess

import pytest

import nss
from lab import lab  # noqa: F401


def tell(*argv):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True).stdout


def build_id(path):
    return re.search(r"Build ID: (\w+)", tell("readelf", "-n", path))[1]


@pytest.fixture
def client(lab, root):
    """tests/clients/callers.c, with DWARF and a build id whatever the flags of the build are."""
    program = lab.tmp / "bin" / "callers"
    program.parent.mkdir()
    tell("gcc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-fno-ipa-sra", "-g", "-Wl,--build-id", f"-I{root}/shim/spec", f"-I{root}/tests/clients",
         "-o", program, root / "tests/clients/callers.c", "-ldl")
    return program


@pytest.fixture
def traced(lab, client):
    """A trace of it: ten calls of C_GetInfo."""
    lab.run(client, lab.wrap("mock240"), 10)
    path, = lab.files()
    return path


def split_debug(lab, client):
    """The program is stripped, its debug file lies where build ids lead; the folder."""
    digits = build_id(client)
    debug = lab.tmp / "debug" / ".build-id" / digits[:2] / f"{digits[2:]}.debug"
    debug.parent.mkdir(parents=True)
    tell("objcopy", "--only-keep-debug", client, debug)
    tell("objcopy", "--strip-all", client)
    return lab.tmp / "debug"


def frames(text):
    """The lines of stacks below the calls of C_GetInfo."""
    return re.findall(r"^#\d+ .*C_GetInfo\(.*\n((?: > .*\n)+)", text, re.M)


def first_frames(text):
    return {f.splitlines()[0] for f in frames(text)}


# -- names ------------------------------------------------------------------------------------------

def test_a_static_function_is_named_with_its_line(lab, traced, root):
    shown = lab.p11trace("dump", "--stack", traced)
    line = next(i for i, text in enumerate((root / "tests/clients/callers.c").read_text().splitlines(), 1)
                if "C_GetInfo(&info)" in text)
    assert len(frames(shown.stdout)) == 10
    assert first_frames(shown.stdout).pop().startswith(" > callers inner_function+0x")
    assert first_frames(shown.stdout).pop().endswith(f" callers.c:{line}")
    assert shown.stderr == ""


def test_a_stripped_program_has_names_through_its_debug_file(lab, traced, client):
    folder = split_debug(lab, client)
    bare = lab.p11trace("dump", "--stack", traced).stdout
    assert re.fullmatch(r" > callers\+0x[0-9a-f]+", first_frames(bare).pop())
    for where in (folder, "debug"):
        named = lab.p11trace("dump", "--stack", "--debug-dir", where, traced)
        assert re.fullmatch(r" > callers inner_function\+0x[0-9a-f]+ callers\.c:\d+", first_frames(named.stdout).pop())
        assert named.stderr == ""
    client.unlink()  # the debug file alone is enough
    alone = lab.p11trace("dump", "--stack", "--debug-dir", folder, traced)
    assert " > callers inner_function+0x" in alone.stdout


def test_json_has_the_same_and_the_bare_addresses(lab, traced, client):
    shown = lab.p11trace("dump", "--json", "--stack", "-e", "fn=C_GetInfo", traced).stdout
    call = [o for o in map(json.loads, shown.splitlines()) if o["type"] == "call"][0]
    frame = call["frames"][0]
    assert [f["address"] for f in call["frames"]] == call["stack"]
    assert frame["file"] == str(client) and frame["build_id"] == build_id(client)
    assert (frame["function"], frame["checked"]) == ("inner_function", True)
    assert frame["source"].endswith("tests/clients/callers.c") and frame["line"] > 0
    symbols = dict((name, int(at, 16)) for at, name in re.findall(r"^(\w+) \w (\w+)$", tell("nm", client), re.M))
    assert int(frame["offset"], 16) == symbols["inner_function"] + frame["function_offset"]
    plain = lab.p11trace("dump", "--json", traced).stdout
    assert "frames" not in plain and '"stack":' in plain


def test_raw_names_file_build_id_and_address(lab, traced, client):
    shown = lab.p11trace("dump", "--stack", "--raw", traced).stdout
    assert re.fullmatch(rf" > {re.escape(str(client))} \[{build_id(client)}\] 0x[0-9a-f]+", first_frames(shown).pop())


def test_stat_by_caller(lab, traced):
    rows = json.loads(lab.p11trace("stat", "--by-caller", "--json", traced).stdout)["rows"]
    calls = {r["caller"]: r["calls"] for r in rows}
    assert calls["callers inner_function"] == 10
    assert calls["callers main"] == 3  # C_GetInterface, C_Initialize, C_Finalize
    assert all(r["total"] > 0 and "fn" not in r for r in rows)
    both = json.loads(lab.p11trace("stat", "--by", "caller,fn", "--json", traced).stdout)["rows"]
    assert {(r["caller"], r["fn"]): r["calls"] for r in both}["callers inner_function", "C_GetInfo"] == 10
    assert "  callers inner_function\n" in lab.p11trace("stat", "--by-caller", traced).stdout


def test_cplusplus_names_are_readable(lab, root):
    source = lab.tmp / "c.cc"
    source.write_text("""
#include <dlfcn.h>
#include "p11client.h"
namespace card { struct Reader { int ask(CK_FUNCTION_LIST_PTR p11, double); }; }
__attribute__((noinline)) int card::Reader::ask(CK_FUNCTION_LIST_PTR p11, double d) {
  int rv = (int)p11->C_Initialize(nullptr);
  asm volatile("" ::: "memory");
  return rv + (int)d;
}
int main(int, char **argv) { return card::Reader().ask(module_list(argv[1]), 0); }
""")
    tell("g++", "-O1", "-w", f"-I{root}/shim/spec", f"-I{root}/tests/clients", "-o", lab.tmp / "c", source, "-ldl")
    lab.run(lab.tmp / "c", lab.wrap("mock240"))
    assert " > c card::Reader::ask(" in lab.p11trace("dump", "--stack", lab.files()[0]).stdout


def test_certutil_is_called_by_functions_of_libnss3(lab):
    token = lab.token()
    library = lab.wrap(token.module)
    db = f"sql:{lab.tmp}/nssdb"
    (lab.tmp / "nssdb").mkdir()
    (lab.tmp / "pin").write_text(token.pin)
    (lab.tmp / "noise").write_bytes(bytes(range(64)))
    lab.run("certutil", "-N", "-d", db, "--empty-password")
    lab.run("modutil", "-force", "-dbdir", db, "-add", "traced", "-libfile", library, env=token.env)
    lab.run("certutil", "-S", "-d", db, "-h", token.label, "-f", "pin", "-n", "me", "-s", "CN=me", "-x", "-t", "u,u,u", "-z",
            "noise", env=token.env)
    trace, = (f for f in lab.files() if f.name.startswith("certutil"))
    shown = lab.p11trace("dump", "--stack", trace).stdout
    assert re.search(r"C_GenerateKeyPair\(.*\n > libnss3\.so PK11_GenerateKeyPairWithOpFlags\+0x", shown)
    assert re.search(r"C_Sign\(.*\n > libnss3\.so PK11_Sign\w*\+0x", shown)
    callers = lab.p11trace("stat", "--by-caller", trace).stdout
    assert "  libnss3.so PK11_GenerateKeyPairWithOpFlags\n" in callers
    # What lies between two exported functions of the stripped library belongs to neither.
    exported = {name: (int(at, 16), int(size)) for at, size, name in re.findall(
        r"^ *\d+: (\w+) +(\d+) FUNC +\w+ +DEFAULT +\d+ (\w+)@@", tell("readelf", "--dyn-syms", "-W", nss.installed("*-linux-gnu/libnss3.so")), re.M)}
    for name, offset in re.findall(r"> libnss3\.so (\w+)\+0x(\w+)$", shown, re.M):
        assert int(offset, 16) <= exported[name][1]


# -- never a wrong name --------------------------------------------------------------------------------

def test_another_build_of_the_file_gives_no_names(lab, traced, client):
    true_id = build_id(client)
    folder = split_debug(lab, client)
    other = lab.tmp / "other.c"
    other.write_text("int main(void) { return 0; } " + "".join(f"void f{i}(void) {{}}\n" for i in range(500)))
    tell("gcc", "-Wl,--build-id", "-o", client, other)
    assert build_id(client) != true_id
    shown = lab.p11trace("dump", "--stack", traced)
    assert re.fullmatch(r" > callers\+0x[0-9a-f]+", first_frames(shown.stdout).pop())
    assert shown.stderr.startswith(f"p11trace dump: {client}: its build id is {build_id(client)}, in the trace {true_id}")
    named = lab.p11trace("dump", "--stack", "--debug-dir", folder, traced)  # its debug file is still the right one
    assert first_frames(named.stdout).pop().startswith(" > callers inner_function+0x")


def test_a_debug_file_of_another_build_is_not_used(lab, traced, client):
    folder = split_debug(lab, client)
    debug, = folder.rglob("*.debug")
    shutil.copy("/usr/bin/certutil", debug)
    assert re.fullmatch(r" > callers\+0x[0-9a-f]+",
                        first_frames(lab.p11trace("dump", "--stack", "--debug-dir", folder, traced).stdout).pop())


def test_a_program_without_build_id_is_named_with_a_mark(lab, client):
    tell("objcopy", "--remove-section", ".note.gnu.build-id", client)
    lab.run(client, lab.wrap("mock240"), 1)
    shown = lab.p11trace("dump", "--stack", lab.files()[0])
    assert first_frames(shown.stdout).pop().endswith("(build id not checked)")
    assert "its names cannot be checked" in shown.stderr


# -- symbolize ---------------------------------------------------------------------------------------

def test_symbolize_on_another_machine(lab, traced, client):
    """The trace and copies of the files go elsewhere; what was written there works where neither is."""
    expected = lab.p11trace("dump", "--stack", traced).stdout
    sysroot = lab.tmp / "sysroot"
    copy = sysroot / str(client)[1:]
    copy.parent.mkdir(parents=True)
    shutil.move(client, copy)
    missing = lab.p11trace("dump", "--stack", traced)
    assert "inner_function" not in missing.stdout
    assert "1 file of the trace not found here: --sysroot DIR" in missing.stderr
    assert lab.p11trace("dump", "--stack", "--sysroot", sysroot, traced).stdout == expected
    said = lab.p11trace("symbolize", "--sysroot", sysroot, traced).stdout
    sidecar = traced.with_name(traced.name + ".sym")
    assert said == f"{sidecar}: 4 of 4 addresses have names\n"
    assert sidecar.stat().st_mode & 0o777 == 0o600
    shutil.rmtree(sysroot)
    shown = lab.p11trace("dump", "--stack", traced)
    assert (shown.stdout, shown.stderr) == (expected, "")
    assert "  callers inner_function\n" in lab.p11trace("stat", "--by-caller", traced).stdout
    # Once more where the files are not: nothing that was known is lost.
    before = sidecar.read_bytes()
    lab.p11trace("symbolize", traced)
    assert sidecar.read_bytes() == before


def test_symbolize_finds_copies_that_lie_side_by_side(lab, traced, client):
    expected = lab.p11trace("dump", "--stack", traced).stdout
    (lab.tmp / "flat").mkdir()
    shutil.move(client, lab.tmp / "flat")
    lab.p11trace("symbolize", "--quiet", "--sysroot", "flat", "-o", "names.sym", traced)
    assert lab.p11trace("dump", "--stack", "--sysroot", "flat", traced).stdout == expected
    assert json.loads((lab.tmp / "names.sym").read_text())["type"] == "symbols"


def test_symbolize_replaces_nothing_that_is_not_its_own(lab, traced):
    for name in ("notes.txt", "folder"):
        path = lab.tmp / name
        path.mkdir() if name == "folder" else path.write_text("dear diary")
        refused = lab.p11trace("symbolize", "-o", path, traced, status=2)
        assert f"{path}: is there and is no list of names" in refused.stderr
    assert (lab.tmp / "notes.txt").read_text() == "dear diary"
    lab.run(lab.program("callers"), lab.wrap("mock240", name="again"), 1)
    assert "several traces" in lab.p11trace("symbolize", "-o", "x", lab.out, status=2).stderr
    said = lab.p11trace("symbolize", lab.out).stdout.splitlines()
    assert len(said) == 2 and len(list(lab.out.glob("*.p11t.sym"))) == 2
    assert len(lab.p11trace("info", "--json", lab.out).stdout.splitlines()) == 1  # lists of names are no traces


def test_the_list_of_another_trace_is_not_used(lab, traced, client):
    lab.run(client, lab.wrap("mock240", name="again"), 1)
    first, second = lab.files()
    lab.p11trace("symbolize", first)
    shutil.copy(f"{first}.sym", f"{second}.sym")
    client.unlink()
    shown = lab.p11trace("dump", "--stack", second)
    assert "inner_function" not in shown.stdout and "of another trace: its names are not used" in shown.stderr
