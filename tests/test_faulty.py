"""libp11faulty.so: that it changes nothing without a fault, its settings, its limits, its README."""
import re
import subprocess
import sys
import threading
import time

import pytest

import softhsm
from conftest import SANITIZE, sanitizer_runtime
from cryptoki import CkError
from faulty_table import README, entries, with_table
from faulty_tokens import code, faulty  # noqa: F401
from lab import lab  # noqa: F401

# --- healthy ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("target", ["mock240", "mock30", "mock32", "softhsm"])
def test_interfaces_are_the_targets(lab, target):
    """The same lists with the same functions, vendors' interfaces too; a target without interfaces serves its list."""
    path = softhsm.MODULE if target == "softhsm" else lab.mock(target)
    direct = lab.client("interfaces", path).stdout
    lab.env.update(P11FAULTY_MODULE=str(path), P11FAULTY="none")
    through = lab.client("interfaces", lab.build / "libp11faulty.so").stdout
    if target in ("mock240", "softhsm"):
        through = through[:len(direct) - len("no C_GetInterface\n")] + "no C_GetInterface\n"
    assert through == direct


def test_all_functions_go_through(lab):
    """Whatever the client calls on a module with all functions of 3.2 is answered as without us."""
    direct = lab.client("transparency", lab.mock("mock32")).stdout
    lab.env.update(P11FAULTY_MODULE=str(lab.mock("mock32")), P11FAULTY="none")
    assert lab.client("transparency", lab.build / "libp11faulty.so").stdout == direct
    assert len(direct) > 1000


# --- settings ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, told", [
    ("badpin-genral", "there is no fault `badpin-genral`; near to it: badpin-general"),
    ("", "no fault is named"), (" , ", "no fault is named"),
    ("badpin-general@0", "after @ stands the number of a call"), ("badpin-general@3-2", "after @"),
    ("badpin-general@x", "after @"), ("badpin-general@C_Sign:1", "does not touch C_Sign"),
    ("badpin-general@C_Foo:1", "there is no function of that name"),
    ("slow-info=x", "a number is wanted"), ("badpin-general=5", "takes no number"), ("rv", "needs a function"),
    ("rv=C_Foo:CKR_OK", "no function"),
    ("rv=C_Sign:CKR_FOO", "a return code is wanted"), ("delay=C_Sign", "milliseconds"), ("hang=C_Sign:x", "forever"),
    (",".join(["version-1"] * 33), "more than 32 faults"), ("none@2", "there is no fault `none`"),
])
def test_what_is_not_understood_is_never_healthy(faulty, capfd, text, told):
    with pytest.raises(CkError, match="C_Initialize: CKR_ARGUMENTS_BAD"):
        with faulty(text or " "):
            pass
    assert told in capfd.readouterr().err


def test_limits(faulty):
    def infos(p):
        return [code(p.m.info) for _ in range(6)]

    for text, bad in {"info-fail": "111111", "info-fail@3": "001111", "info-fail@3-4": "001100",
                      "info-fail@2-2": "010000", "info-fail@C_GetInfo:6": "000001", "info-fail@1-1@4-5": "100110",
                      "rv=C_GetInfo:CKR_HOST_MEMORY@2-3": "0hh000", "rv=C_GetInfo:0x2@6": "00000h"}.items():
        with faulty(text) as p:
            assert "".join({"OK": "0", "GENERAL_ERROR": "1", "HOST_MEMORY": "h"}[c] for c in infos(p)) == bad, text


def test_faults_compose_in_the_order_given(faulty):
    for text, version in {"version-1,version-20": (1, 0), "version-20,version-1": (2, 0)}.items():
        with faulty(text) as p:
            assert p.m.info()["cryptokiVersion"] == version
            assert p.m.info()["flags"] == 0
    with faulty("info-flags,version-1") as p:
        assert p.m.info()["flags"] == 1 and p.m.info()["cryptokiVersion"] == (1, 0)


LOAD = """
import ctypes, sys
m = ctypes.CDLL(sys.argv[1])
f = ctypes.c_void_p()
rv = m.C_GetFunctionList(ctypes.byref(f))
print(hex(rv))
if rv == 0:
    call = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)
    get = lambda i: call(ctypes.c_void_p.from_address(f.value + 8 + 8 * i).value)
    print(hex(get(0)(None)), hex(get(2)(ctypes.create_string_buffer(256))))
"""


def preloaded(env):
    """What a program that was not built with the sanitizer needs besides."""
    return {**env, "LD_PRELOAD": sanitizer_runtime()} if SANITIZE else env


def load(library, env):
    """What C_GetFunctionList, C_Initialize and C_GetInfo say in a process of their own."""
    env = preloaded(env)
    p = subprocess.run([sys.executable, "-c", LOAD, library], env=env, capture_output=True, text=True, timeout=60)
    return p.stdout.split(), p.stderr


def test_file_beside_a_copy_of_any_name(build, tmp_path, clean_env):
    copy = tmp_path / "my-card.so"
    copy.write_bytes((build / "libp11faulty.so").read_bytes())
    conf = tmp_path / "my-card.conf"
    clean_env["P11TOKEN_DIR"] = str(tmp_path / "tokens")
    assert load(copy, clean_env) == (["0x5"], "p11faulty: no target: set P11FAULTY_MODULE, or `module = PATH` in "
                                              f"{conf}\n")
    conf.write_text(f"# a card\nmodule = {build}/libp11token.so\nfaults = info-fail\n")
    assert load(copy, clean_env) == (["0x0", "0x0", "0x5"], "")
    link = tmp_path / "other" / "link.so"
    link.parent.mkdir()
    link.symlink_to(copy)
    assert load(link, clean_env) == (["0x0", "0x0", "0x5"], ""), "the file beside what the link leads to"
    assert load(copy, {**clean_env, "P11FAULTY": "none"}) == (["0x0", "0x0", "0x0"], ""), "the environment goes before"
    named = tmp_path / "named.conf"
    named.write_text(f"module={build}/libp11token.so\nfaults=none\n")
    assert load(copy, {**clean_env, "P11FAULTY_CONF": str(named)})[0] == ["0x0", "0x0", "0x0"]
    conf.write_text(f"module = {build}/libp11token.so\nfault = none\n")
    said, told = load(copy, clean_env)
    assert said == ["0x0", "0x7", "0x190"] and "line 2: neither `module = PATH` nor `faults = NAME,...`" in told


def test_target_that_is_none(build, clean_env):
    us = build / "libp11faulty.so"
    for target, told in {"/nowhere.so": "cannot be loaded", us: "is this module itself",
                         "libc.so.6": "has no function list to give"}.items():
        said, err = load(us, {**clean_env, "P11FAULTY": "none", "P11FAULTY_MODULE": str(target)})
        assert said == ["0x5"] and told in err


# --- the faults of any function ---------------------------------------------------------------------------------------

def test_delay(faulty):
    with faulty("delay=C_GetInfo:300@2-2") as p:
        took = []
        for _ in range(3):
            began = time.monotonic()
            p.m.info()
            took.append(time.monotonic() - began)
    assert 0.3 <= took[1] < 3 and took[0] < 0.3 and took[2] < 0.3


def test_hang_ends_with_finalize(faulty):
    with faulty("hang=C_GetInfo") as p:
        said = []
        thread = threading.Thread(target=lambda: said.append(code(p.m.info)))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        p.m.finalize()
        thread.join(5)
    assert said == ["CRYPTOKI_NOT_INITIALIZED"]


@pytest.mark.nosan
def test_crash(build, tmp_path, clean_env):
    env = {**clean_env, "P11FAULTY": "crash=C_GetInfo", "P11FAULTY_MODULE": str(build / "libp11token.so"),
           "P11TOKEN_DIR": str(tmp_path / "tokens")}
    p = subprocess.run([sys.executable, "-c", LOAD, build / "libp11faulty.so"], env=env, capture_output=True,
                       timeout=60)
    assert p.returncode == -11


@pytest.mark.threads
def test_threads_and_state(faulty):
    """Eight threads, each with its session: every second answer of all is wrong, as if there were one."""
    with faulty("flaky-session") as p:
        wrong, info = [], threading.Lock()

        def ask():
            s = p.open()
            mine = [code(s.info) for _ in range(200)]
            with info:
                wrong.extend(mine)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert wrong.count("SESSION_HANDLE_INVALID") == wrong.count("OK") == 800


# --- the table --------------------------------------------------------------------------------------------------------

def test_readme_has_all_faults():
    assert len(entries()) > 60
    assert README.read_text() == with_table(README.read_text()), "run tests/faulty_table.py"


def test_rules_of_the_faults_exist(build, run):
    """A fault names a rule of the checker."""
    rules = set(re.findall(r"^((?:NSS|P11)-[A-Z]+-\d+) ", run(build / "p11trace", "check", "--list").stdout, re.M))
    assert {rule for _, _, _, rule, _, _ in entries() if len(rule) > 1} <= rules


# --- what the README shows --------------------------------------------------------------------------------------------

@pytest.mark.nss
def test_readme_is_what_happens(build, tmp_path, clean_env):
    """The commands of "NSS and Firefox" and the lines behind them, on SoftHSM."""
    readme = README.read_text()
    (tmp_path / "tokens").mkdir()
    (tmp_path / "db").mkdir()
    (tmp_path / "pin.txt").write_text("1234\n")
    (tmp_path / "soft.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    (tmp_path / "card.conf").write_text(f"module = {softhsm.MODULE}\nfaults = none\n")
    clean_env.update(SOFTHSM2_CONF=str(tmp_path / "soft.conf"), PATH=f"{build}:{clean_env['PATH']}")

    def sh(command, shown=True):
        if shown:
            assert f"    $ {command}\n" in readme, command
        p = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=preloaded(clean_env), capture_output=True,
                           text=True, timeout=60, stdin=subprocess.DEVNULL)
        return p.stdout + p.stderr

    sh(f"cp {build}/libp11faulty.so card.so", shown=False)
    sh("softhsm2-util --init-token --free --label Card --pin 1234 --so-pin 5678", shown=False)
    sh("certutil -N -d sql:db --empty-password", shown=False)
    assert 'Module "Card" added to database.' in sh("modutil -force -dbdir sql:db -add Card -libfile $PWD/card.so")
    sh("certutil -S -d sql:db -h Card -f pin.txt -n me -s CN=me -x -t u,u,u -z pin.txt", shown=False)
    assert re.search(r"^< 0> rsa      \w{40}   Card:me$", sh("certutil -K -d sql:db -h Card -f pin.txt"), re.M)
    sh("sed -i 's/^faults.*/faults = stale-state/' card.conf")
    assert "certutil: no keys found" in sh("certutil -K -d sql:db -h Card -f pin.txt")
    sh("modutil -force -dbdir sql:db -delete Card", shown=False)
    sh("p11trace wrap card.so -o traced.so --out traces")
    sh("modutil -force -dbdir sql:db -add Traced -libfile $PWD/traced.so")
    sh("certutil -K -d sql:db -h Card -f pin.txt")
    found = sh("p11trace check traces")
    assert re.search(r'^NSS-LOGIN-09 error module slot \d+ "Card": C_Login succeeds, and C_GetSessionInfo reports the '
                     "token logged out$", found, re.M)
    assert re.search(r"^  why NSS cares: Firefox asks for the PIN for ever although it is right", found, re.M)
    sh("sed -i 's/^faults.*/faults = badpin-genral/' card.conf", shown=False)
    told = sh("pkcs11-tool --module ./card.so -L", shown=False)
    assert told.count("p11faulty: there is no fault `badpin-genral`; near to it: badpin-general, badpin-device, "
                      "badpin-len, badpin-vendor") == 1, told
    env = f"P11FAULTY_MODULE={softhsm.MODULE} P11FAULTY"
    for fault, answer in {"badpin-general": "CKR_GENERAL_ERROR (0x5)", "none": "CKR_PIN_INCORRECT (0xa0)"}.items():
        assert answer in readme
        assert f"C_Login failed: rv = {answer}" in sh(
            f"{env}={fault} pkcs11-tool --module {build}/libp11faulty.so --token-label Card --login --pin 0000 -O",
            shown=False)
