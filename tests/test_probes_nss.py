"""NSS's tools with probe=all: the same outputs, no finding on a healthy token, and the questions that NSS does not ask."""
import re
from collections import Counter

import pytest

import p11t_reader
from nss import LABEL, PIN, Server, Stage
from test_nss_tools import CASES, DB, perform, seen

pytestmark = pytest.mark.nss

PROBE = 4


@pytest.fixture(scope="module", params=["softhsm", "token"])
def stage(build, tmp_path_factory, request):
    return Stage(tmp_path_factory.mktemp(f"probes-{request.param}"), build, request.param)


def probed(stage):
    stage.traced("--probe", "all")


def asked(stage):
    """{(the application's call that gave the reason, the probe): how often} in all traces."""
    found = Counter()
    for path in stage.traces.glob("*.p11t"):
        trace = p11t_reader.read(path)
        assert trace.damage == []
        calls = sorted(trace.calls, key=lambda c: c.number)
        assert len({c.tid for c in calls}) == 1
        for i, call in enumerate(calls):
            if not call.enter.flags & PROBE:
                continue
            assert call.rv == 0 or call.name == "C_GetAttributeValue"
            side = calls[i:] if call.name == "C_FindObjects" else calls[i::-1]
            found[next(c.name for c in side if not c.enter.flags & PROBE), call.name] += 1
            # Nothing of ours while a key is used anywhere in the slot.
            last = next((c.name for c in calls[i::-1] if re.search("Sign|Decrypt", c.name)), "")
            assert not last.endswith("Init")
    return found


def findings(stage):
    p = stage.run(stage.build / "p11trace", "check", "--severity", "warning", stage.traces)
    return p.stdout.decode().splitlines()[-1]


def sessions(stage):
    return sum(1 for path in stage.traces.glob("*.p11t") for c in p11t_reader.read(path).calls
               if c.name == "C_OpenSession" and c.rv == 0)


@pytest.mark.parametrize("case", ["certutil -K", "certutil -S ec", "pk12util -i", "cmsutil -D encrypted"])
def test_tool(stage, case):
    commands, _ = CASES[case]
    direct = perform(stage, stage.direct, commands)
    traced = perform(stage, lambda: probed(stage), commands)
    assert seen(traced) == seen(direct) and direct[0].status == 0
    found = asked(stage)
    assert set(found) <= {("C_OpenSession", "C_GetSessionInfo"), ("C_Login", "C_GetSessionInfo"),
                          ("C_FindObjectsFinal", "C_FindObjects"), ("C_CreateObject", "C_GetAttributeValue"),
                          ("C_GenerateKeyPair", "C_GetAttributeValue"), ("C_UnwrapKey", "C_GetAttributeValue"),
                          ("C_GenerateKey", "C_GetAttributeValue"), ("C_CopyObject", "C_GetAttributeValue")}
    assert found["C_OpenSession", "C_GetSessionInfo"] == sessions(stage)
    if case == "certutil -S ec":  # an empty search is no short one
        assert found["C_GenerateKeyPair", "C_GetAttributeValue"] == 2
    else:
        assert found["C_FindObjectsFinal", "C_FindObjects"] >= 1
    assert "0 errors" in findings(stage)


def test_tls(stage):
    """A handshake with the key on the token: the server is satisfied, and nothing was asked before the signature."""
    stage.reset()
    probed(stage)
    with Server(stage, "tls1_3") as server:
        o = stage.run("tstclnt", "-4", "-h", "localhost", "-p", server.port, *DB, "-n", f"{LABEL}:user", "-W", "pins.txt",
                      "-V", "tls1.2:tls1.3", "-A", "request")
    assert o.status == 0 and o.stdout.endswith(b"a message\n")
    assert asked(stage)["C_OpenSession", "C_GetSessionInfo"] >= 1
    assert "0 errors" in findings(stage)


def test_two_sessions_and_a_login(stage):
    """pkcs11-tool has one session: PR1 finds nobody; with NSS's two it does."""
    stage.reset()
    probed(stage)
    stage.must("pkcs11-tool", "--module", stage.module, "--token-label", LABEL, "--login", "--pin", PIN, "-O")
    assert asked(stage)["C_Login", "C_GetSessionInfo"] == 0
