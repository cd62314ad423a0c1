"""What a host sees of a module's interfaces, and what it sees when it unloads one: the same as without the shim."""
import os
import re

import pytest

import softhsm
from lab import assert_nothing_lost, counted, lab  # noqa: F401

NULLS = "C_SeedRandom,C_LoginUser,C_AsyncJoin,C_GetInfo"


@pytest.mark.parametrize("env", [{}, {"MOCK_NULLS": NULLS}, {"MOCK_LIST": "3"}, {"MOCK_LIST": "3", "MOCK_NULLS": NULLS}],
                         ids=["plain", "nulls", "list", "list-nulls"])
@pytest.mark.parametrize("mock", ["mock30", "mock32"])
def test_equal(lab, mock, env):
    direct = lab.client("interfaces", lab.mock(mock), env=env).stdout
    traced = lab.client("interfaces", lab.wrap(mock), env=env).stdout
    assert "C_GetInterfaceList room=6 0x0" in direct and "ANOTHER" not in direct
    assert traced.splitlines() == direct.splitlines()


def test_every_list_is_traced(lab):
    """Each C_GetInfo that the client made through a list of the standard is in the trace, and so are the questions."""
    text = lab.client("interfaces", lab.wrap("mock32")).stdout
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert counted(trace.calls)["C_GetInfo"] == text.count("C_GetInfo=0x190") > 20
    asked = [c for c in trace.calls if c.name == "C_GetInterface"]
    assert len(asked) >= text.count("\nC_GetInterface ") - 1
    answered = [c for c in asked if c.rv == 0]
    assert {(i["name"], i["version"]) for c in answered for i in c.argument("ppInterface")[1]["interfaces"]} == {
        (b"PKCS 11", (2, 40)), (b"PKCS 11", (3, 0)), (b"PKCS 11", (3, 2)), (b"Vendor NSS FIPS Interface", (1, 0)),
        (b"Vendor Acme", (9, 9))}
    asked_name = next(c for c in asked if c.argument("pInterfaceName")[0]["pointer"]).argument("pInterfaceName")[0]
    assert asked_name["value"].data == b"PKCS 11"


@pytest.mark.parametrize("module", [pytest.param("mock240", id="mock240"), pytest.param(softhsm.MODULE, id="softhsm")])
def test_target_without_interfaces(lab, module):
    """design.md 4.0: one interface, "PKCS 11" of the list's version, flags 0; what is asked beyond it does not exist."""
    direct = lab.client("interfaces", lab.mock(module) if isinstance(module, str) else module).stdout.splitlines()
    traced = lab.client("interfaces", lab.wrap(module)).stdout.splitlines()
    assert direct[-1] == "no C_GetInterface"
    assert traced[:len(direct) - 1] == direct[:-1], "C_GetFunctionList"
    rest = traced[len(direct) - 1:]
    one = '  "PKCS 11" flags=0x0 2.40 C_GetInfo=0x190'
    assert "C_GetInterfaceList NULL 0x0 count=1" in rest
    assert "C_GetInterfaceList room=0 0x150 count=1" in rest
    assert rest.count(one) == 6, "for every room from 1 to 6"
    asked = [re.fullmatch(r"C_GetInterface (.*) (\S+) flags=(\S+) (0x\w+)(.*)", line) for line in rest]
    asked = [m for m in asked if m]
    assert len(asked) == 9 * 6 * 8
    for m in asked:
        name, version, flags, rv, answer = m.groups()
        if name in ("NULL", "PKCS 11") and version in ("any", "2.40") and flags == "0x0":
            assert (rv, answer) == ("0x0", ' "PKCS 11" flags=0x0 2.40 C_GetInfo=0x190'), m[0]
        else:
            assert (rv, answer) == ("0x7", ""), m[0]


@pytest.mark.parametrize("how", ["finalize", "keep"])
@pytest.mark.parametrize("mock", ["mock240", "mock32"])
def test_reload(lab, mock, how):
    """dlclose runs the module's destructor, and a second load finds a fresh module, as without us."""
    env = {"MOCK_VERBOSE": "1"}
    direct = lab.client("lifecycle", "reload", lab.mock(mock), how, env=env)
    traced = lab.client("lifecycle", "reload", lab.wrap(mock), how, env=env)
    assert traced.stdout == direct.stdout
    assert "2 C_Initialize=0x0" in direct.stdout
    assert traced.stderr == direct.stderr
    assert direct.stderr.count("mock: unloaded") == 2
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert counted(trace.calls)["C_Initialize"] == 2
    assert len([r for r in trace.records if r.kind == 4]) == 2, "UNLOAD"


def test_two_modules_one_trace(lab):
    first, second = lab.wrap("mock240", "first"), lab.wrap("mock32", "second")
    direct = lab.client("lifecycle", "two", lab.mock("mock240"), lab.mock("mock32")).stdout
    assert lab.client("lifecycle", "two", first, second).stdout == direct
    trace = lab.trace()
    assert_nothing_lost(trace)
    assert {os.path.basename(path) for _, path, _ in trace.modules} == {"mock240.so", "mock32.so"}
    module = {number: os.path.basename(path) for number, path, _ in trace.modules}
    infos = [module[c.enter.module] for c in trace.calls if c.name == "C_GetInfo"]
    assert infos == ["mock32.so", "mock240.so"] * 50, \
        "one numbering: calls of both modules in the order in which they were made"
    assert {c.rv for c in trace.calls} == {0}

