"""The recorder as LD_PRELOAD: each lookup answers as without it, and every module that is found is recorded."""
import os
import re
import shutil

import pytest

import p11t_reader
import softhsm
from lab import assert_nothing_lost, counted, functions, lab  # noqa: F401
from nss import installed
from test_interfaces import NULLS


def modules_of(trace):
    """{id: base name}"""
    return {number: os.path.basename(path) for number, path, _ in trace.modules}


@pytest.mark.nosan  # a sanitizer's runtime has puts as well
@pytest.mark.parametrize("module", ["mock240", "mock32", pytest.param(softhsm.MODULE, id="softhsm")])
def test_lookups(lab, module):
    """Found or not, errno and dlerror(): the same; RTLD_NEXT and RTLD_DEFAULT go by the caller, not by us."""
    path = lab.mock(module) if isinstance(module, str) else module
    direct = lab.client("lookups", path).stdout
    assert "next puts: in libc.so.6" in direct and "same list" in direct
    assert ("module C_GetInterface: NULL" in direct) == (module != "mock32")
    traced = lab.client("lookups", path, env=lab.preload()).stdout
    # Where only our own export has the name the loader's message names us instead of the program.
    ours = re.compile(r"(errno=77 error=)\S+/libp11trace\.so:")
    assert ours.sub(rf"\1{lab.program('lookups')}:", traced) == direct
    assert len(ours.findall(traced)) == 3 * 3, "RTLD_DEFAULT, RTLD_NEXT, dlopen(NULL)"


@pytest.mark.parametrize("env", [{}, {"MOCK_NULLS": NULLS}, {"MOCK_LIST": "3"}], ids=["plain", "nulls", "list"])
@pytest.mark.parametrize("module", ["mock240", "mock30", "mock32", pytest.param(softhsm.MODULE, id="softhsm")])
def test_interfaces(lab, module, env):
    """All that a host sees of a module's lists, also that a module of 2.40 has no C_GetInterface."""
    path = lab.mock(module) if isinstance(module, str) else module
    direct = lab.client("interfaces", path, env=env).stdout
    traced = lab.client("interfaces", path, env={**lab.preload(), **env}).stdout
    assert traced == direct and "ANOTHER" not in direct
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert {r.body[-1] if r.kind == 3 else 0 for r in trace.records} <= {0}, "no stub"
    if not env:
        assert counted(trace.calls)["C_GetInfo"] == traced.count("C_GetInfo=0x190")


def test_thirty_three_modules(lab):
    """Each of 32 has its own id in every record; the next works as well, and one line says that it is not recorded."""
    paths = []
    for i in range(33):
        paths.append(lab.tmp / f"module{i:02}.so")
        shutil.copy(lab.mock("mock240" if i % 2 else "mock32"), paths[-1])
    p = lab.client("lookups", "many", *paths, env=lab.preload())
    assert p.stdout == "33 modules\n"
    assert p.stderr == f"p11trace: {paths[32]}: 32 modules are traced already: this one and what follows is not\n"
    trace = lab.trace()
    assert_nothing_lost(trace)
    names = modules_of(trace)
    assert sorted(names.values()) == [f"module{i:02}.so" for i in range(32)]
    asked = [names[c.enter.module] for c in trace.calls if c.name == "C_GetInfo"]
    there = [f"module{i:02}.so" for i in range(32)]
    assert asked == there + there[::-1]


def test_reloaded(lab, count):
    """Two modules that come to one address in turn: each load is a module of its own, unloaded before the next."""
    times = count(1000)
    lab.client("lookups", "reload", times, lab.mock("mock240"), lab.mock("mock30"), env=lab.preload())
    trace = lab.trace()
    assert_nothing_lost(trace)
    names = modules_of(trace)
    assert [names[i] for i in sorted(names)] == ["mock240.so", "mock30.so"] * (times // 2)
    assert len([r for r in trace.records if r.kind == 4]) == times, "UNLOAD"
    assert [c.enter.module for c in trace.calls if c.name == "C_GetInfo"] == list(range(1, times + 1))


@pytest.mark.parametrize("how", ["finalize", "keep"])
def test_unloaded(lab, how):
    """dlclose runs the module's destructor, and a second load finds a fresh module, as without us."""
    env = {"MOCK_VERBOSE": "1"}
    direct = lab.client("lifecycle", "reload", lab.mock("mock32"), how, env=env)
    traced = lab.client("lifecycle", "reload", lab.mock("mock32"), how, env={**env, **lab.preload()})
    assert (traced.stdout, traced.stderr) == (direct.stdout, direct.stderr)
    assert counted(lab.trace().calls)["C_Initialize"] == 2


@pytest.mark.parametrize("recorder", ["same", "copy"])
def test_chained_and_preloaded(lab, build, recorder):
    """A stub under preload: attached once, by the recorder that is there, even if the stub names another."""
    stub = lab.wrap("mock32")
    if recorder == "copy":
        shutil.copy(build / "libp11trace.so", lab.tmp / "libp11trace.so")
        conf = stub.with_suffix(".conf")
        conf.write_text(re.sub(r"(?m)^recorder = .*", f"recorder = {lab.tmp}/libp11trace.so", conf.read_text()))
    lab.client("lookups", "many", stub, lab.mock("mock240"), env=lab.preload())
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert sorted(modules_of(trace).values()) == ["mock240.so", "mock32.so"]
    assert counted(trace.calls)["C_GetInfo"] == 4


# --- programs that are built for one test ------------------------------------------------------------------------------

@pytest.fixture
def compile(lab, root):
    """compile(name, text, option, ...): a program, or a library when the name ends in .so."""
    def compile(name, text, *options):
        source = lab.tmp / (name + ".c")
        source.write_text(text)
        shared = ["-shared", "-fPIC"] if name.endswith(".so") else []
        lab.run("gcc", "-O2", "-D_GNU_SOURCE", f"-I{root}", f"-I{root}/shim/spec", f"-I{root}/tests/clients", *shared,
                "-o", lab.tmp / name, source, *options)
        return lab.tmp / name
    return compile


DIRECT = r"""
#include "p11client.h"
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR);
%s
{
  CK_FUNCTION_LIST_PTR list, again;
  CK_INFO info;
  CK_C_GetFunctionList address = C_GetFunctionList;
  MUST(C_GetFunctionList(&list));
  MUST(address(&again));
  if (list != again) DIE("another list");
  MUST(list->C_Initialize(NULL));
  MUST(list->C_GetInfo(&info));
  MUST(list->C_GetFunctionList(&again));
  if (list != again) DIE("another list");
  puts("fine");
  return 0;
}
"""


@pytest.mark.nosan
@pytest.mark.parametrize("binding", ["lazy", "now"])
def test_linked_directly(lab, compile, binding):
    """A program that names the module on its linker's command line, calls it and takes its address."""
    mock = lab.mock("mock32")
    program = compile("direct", DIRECT % "int main(void)", mock, f"-Wl,-rpath,{mock.parent},-z,{binding}")
    assert lab.run(program).stdout == "fine\n"
    assert lab.run(program, env=lab.preload()).stdout == "fine\n"
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert list(modules_of(trace).values()) == ["mock32.so"]
    assert counted(trace.calls) == {"C_GetFunctionList": 3, "C_Initialize": 1, "C_GetInfo": 1}


@pytest.mark.nosan
def test_plugin_linked_directly(lab, compile):
    """The module is in the scope of a library only that is loaded with RTLD_LOCAL: not where we could see it by name."""
    mock = lab.mock("mock32")
    compile("plugin.so", DIRECT % "int plugin(void)", mock, f"-Wl,-rpath,{mock.parent}")
    host = compile("host", """
#include "p11client.h"
int main(int argc, char **argv)
{
  void *h = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
  if (h == NULL) DIE("%s", dlerror());
  return ((int (*)(void))dlsym(h, "plugin"))();
}
""")
    for env in ({}, lab.preload(), lab.preload(off="on")):
        assert lab.run(host, lab.tmp / "plugin.so", env=env).stdout == "fine\n"
    assert counted(lab.trace().calls)["C_GetInfo"] == 1


EARLY = """
#include "p11client.h"
__attribute__((constructor)) static void early(void)
{
  CK_FUNCTION_LIST_PTR list = module_list("%s");
  CK_INFO info;
  MUST(list->C_Initialize(NULL));
  MUST(list->C_GetInfo(&info));
}
void late(void) {}
"""


@pytest.mark.nosan
def test_lookup_before_our_constructor(lab, compile):
    """A library's constructor, which runs before ours."""
    compile("early.so", EARLY % lab.mock("mock32"))
    program = compile("program", "void late(void); int main(void) { late(); return 5; }", lab.tmp / "early.so",
                      f"-Wl,-rpath,{lab.tmp}")
    lab.run(program, status=5, env=lab.preload())
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert counted(trace.calls)["C_GetInfo"] == 1


HOOK = """
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
void *dlsym(void *handle, const char *name)
{
  static void *(*next)(void *, const char *);
  if (next == NULL) next = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
  if (strcmp(name, "C_GetFunctionList") == 0) fprintf(stderr, "hook\\n");
  return next(handle, name);
}
"""


@pytest.mark.nosan
def test_other_hooks_stay_in_the_chain(lab, compile, build):
    """Another preloaded library that interposes dlsym is asked as well, before or after us."""
    hook = compile("hook.so", HOOK)
    p = lab.client("lookups", "many", lab.mock("mock240"),
                   env={**lab.preload(), "LD_PRELOAD": f"{build}/libp11trace.so:{hook}"})
    assert p.stdout == "1 modules\n" and "hook" in p.stderr
    assert counted(lab.trace().calls)["C_GetInfo"] == 2


MALLOC = """
#include <dlfcn.h>
#include <stddef.h>
static void *(*next)(size_t);
void *malloc(size_t size)
{
  if (next == NULL) next = dlsym(RTLD_NEXT, "malloc");
  return next(size);
}
"""


@pytest.mark.nosan
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_malloc_that_looks_itself_up(lab, compile, build, first):
    """The first dlsym of the process comes from inside malloc, before any constructor."""
    wrapper = compile("malloc.so", MALLOC)
    both = [f"{build}/libp11trace.so", str(wrapper)]
    env = {**lab.preload(), "LD_PRELOAD": ":".join(both if first == "ours" else both[::-1])}
    assert lab.client("lookups", "many", lab.mock("mock240"), env=env).stdout == "1 modules\n"
    assert counted(lab.trace().calls)["C_GetInfo"] == 2


@pytest.mark.nosan
def test_program_with_address_sanitizer(lab, compile, root):
    """Its runtime looks up what it replaces before any of it works."""
    program = compile("sanitized", (root / "tests/clients/lookups.c").read_text(), "-fsanitize=address")
    env = {**lab.preload(), "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}
    assert lab.run(program, "many", lab.mock("mock32"), env=env).stdout == "1 modules\n"
    assert counted(lab.trace().calls)["C_GetInfo"] == 2


@pytest.mark.nosan
def test_exit_status_and_children_by_vfork(lab, compile):
    """_exit is noted by the process that ends, not by a vfork's child that runs in its memory."""
    program = compile("quick", """
#include "p11client.h"
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
  CK_FUNCTION_LIST_PTR list = module_list(argv[1]);
  MUST(list->C_Initialize(NULL));
  if (vfork() == 0) _exit(9);
  wait(NULL);
  if (argc > 2) raise(9);
  _exit(6);
}
""".replace("#include <unistd.h>", "#include <unistd.h>\n#include <signal.h>"))
    lab.run(program, lab.mock("mock32"), status=6, env=lab.preload())
    lab.run(program, lab.mock("mock32"), "killed", status=-9, env=lab.preload(out=lab.tmp / "killed"))
    assert "exit status 6" in lab.p11trace("info", lab.out).stdout
    assert "exit status" not in lab.p11trace("info", lab.tmp / "killed").stdout


@pytest.mark.nss
@pytest.mark.nosan
def test_softoken(lab):
    """softoken's own names: NSC_ and FC_ are one module with two lists, and its parameters reach it as NSS gave them."""
    db = lab.tmp / "db"
    db.mkdir()
    env = lab.preload()
    plain = lab.run("certutil", "-N", "-d", f"sql:{db}", "--empty-password")
    assert plain.stdout == ""
    direct = lab.run("certutil", "-L", "-d", f"sql:{db}")
    traced = lab.run("certutil", "-L", "-d", f"sql:{db}", env=env)
    assert (traced.stdout, traced.stderr) == (direct.stdout, direct.stderr)
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert list(modules_of(trace).values()) == ["libsoftokn3.so"]
    assert counted(trace.calls)["C_Initialize"] == 1
    p = lab.client("lookups", installed("*-linux-gnu/libsoftokn3.so"), env={**env, "P11TRACE_OUT": lab.tmp / "names"})
    assert "module NSC_GetFunctionList: found" in p.stdout and "module FC_GetInterface: found" in p.stdout


def test_off(lab):
    p = lab.client("lookups", "many", lab.mock("mock32"), env=lab.preload(off="on"))
    assert p.stdout == "1 modules\n" and not lab.out.exists()


def test_set_of_functions(lab):
    lab.client("lookups", "many", lab.mock("mock32"), env=lab.preload(only="C_GetInfo"))
    assert set(counted(lab.trace().calls)) == {"C_GetInfo"} < {name for name, _ in functions()}
