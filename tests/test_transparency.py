"""The shim changes nothing: every function with every argument wrong in every way answers the same with and without it,
whether a stub is in front of the module or the recorder is preloaded."""
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import cryptoki
import p11t_reader
import softhsm
from cryptoki import CKA, CKM
from lab import assert_nothing_lost, counted, functions, lab  # noqa: F401
from nss import installed

WAYS = ["chained", "preloaded"]
SOFTOKEN = installed("*-linux-gnu*/libsoftokn3.so")

def both(lab, arguments, direct, traced, env_direct=None, env_traced=None, **more):
    """The lines that the client prints on the module and on its traced copy."""
    def lines(module, env):
        return lab.client("transparency", *arguments, module, env=env, timeout=600, **more).stdout.splitlines()
    with ThreadPoolExecutor(2) as two:
        a, b = two.submit(lines, direct, env_direct), two.submit(lines, traced, env_traced)
        return a.result(), b.result()


def assert_same(direct, traced):
    different = [f"direct: {d}\ntraced: {t}" for d, t in zip(direct, traced) if d != t]
    assert len(direct) == len(traced)
    assert different == [], "\n".join(different[:20])


def assert_recorded(lab, lines, at_least):
    """There is a trace of every case that made a call, and a sample of them is whole."""
    files = lab.files()
    assert len(files) >= at_least
    for path in files[::max(1, len(files) // 60)]:
        trace = p11t_reader.read(path)
        assert trace.damage == [] and trace.calls
        for call in trace.calls:
            call.arguments()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mock, version", [("mock240", "2.40"), ("mock30", "3.0"), ("mock32", "3.2")])
def test_mock(lab, mock, version, way, long):
    """All cases in one process; each in its own, every fifth in `make check`."""
    library, env = lab.traced(way, mock, "one", out=lab.tmp / "one-process")
    direct, traced = both(lab, ["-a"], lab.mock(mock), library, env_traced=env)
    assert_same(direct, traced)
    assert direct[0] == f"version {version}"
    names = {line.split()[0] for line in direct[1:]}
    assert names == {n for n, since in functions() if since <= version.replace(".", "_")}
    library, env = lab.traced(way, mock)
    direct, traced = both(lab, ["-n", 1 if long else 5], lab.mock(mock), library, env_traced=env)
    assert_same(direct, traced)
    assert not [line for line in direct if "signal" in line or "exit" in line], "the mock is a careful module"
    assert_recorded(lab, direct, len(direct) - 1)


@pytest.mark.nosan
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
def test_softhsm(lab, way, long):
    """Each case in its own process; every fourth in `make check`."""
    token = lab.token("direct")
    shutil.copytree(lab.tmp / "direct", lab.tmp / "copy")
    copy = lab.tmp / "copy" / "softhsm2.conf"
    copy.write_text(token.conf.read_text().replace("/direct/", "/copy/"))
    library, env = lab.traced(way, softhsm.MODULE, "softhsm")
    direct, traced = both(lab, ["-n", 1 if long else 4, "-r", "-p", token.pin], softhsm.MODULE, library,
                          token.env, {**env, "SOFTHSM2_CONF": copy})
    assert_same(direct, traced)
    full = 1 if long else 4
    assert len(direct) > 1500 // full
    assert len([line for line in direct if "rv=0x0 " in line]) > 100 // full, "the cases must get past the checks of arguments"
    assert [line for line in direct if "signal=" in line], "SoftHSM follows a huge count; if it no longer does, fine"
    assert_recorded(lab, direct, 1000 // full)


@pytest.mark.nosan  # pkcs11-tool makes the keys
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
def test_own_token(lab, way, token, long):
    """The same on libp11token.so, through its 3.2 list; every tenth in `make check`."""
    for what in (["--keygen", "--key-type", "AES:16", "--label", "aes"], ["--keypairgen", "--key-type", "rsa:2048", "--label", "rsa"]):
        lab.run("pkcs11-tool", "--module", token.module, "--token-label", token.label, "--login", "--pin", token.pin, *what,
                env=token.env)
    shutil.copytree(token.directory, lab.tmp / "copy")
    library, env = lab.traced(way, token.module, "token")
    step = 1 if long else 10
    direct, traced = both(lab, ["-n", step, "-r", "-p", token.pin], token.module, library, token.env,
                          {**env, **token.env, "P11TOKEN_DIR": lab.tmp / "copy"})
    assert_same(direct, traced)
    assert direct[0] == "version 3.2" and len(direct) > 1500 // step
    assert len([line for line in direct if "rv=0x0 " in line]) > 100 // step
    assert_recorded(lab, direct, 1000 // step)


def softoken_database(folder, like=None):
    """An NSS database with the keys that the client looks for, or a copy of another; softoken's parameters for it."""
    if like is not None:
        shutil.copytree(like, folder)
        return softoken_parameters(folder)
    folder.mkdir()
    (folder / "pin").write_text(f"{SOFTOKEN_PIN}\n")
    subprocess.run(["certutil", "-N", "-d", f"sql:{folder}", "-f", folder / "pin"], check=True)
    with cryptoki.Module(SOFTOKEN, softoken_parameters(folder)) as module:
        s = module.open_session(module.slots()[-1], rw=True)
        s.login(SOFTOKEN_PIN)
        s.generate_key(CKM.AES_KEY_GEN, {CKA.TOKEN: True, CKA.LABEL: "aes", CKA.ID: b"\1", CKA.VALUE_LEN: 16,
                                         CKA.ENCRYPT: True, CKA.DECRYPT: True})
        both = {CKA.TOKEN: True, CKA.LABEL: "rsa", CKA.ID: b"\2"}
        s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN,
                        {**both, CKA.MODULUS_BITS: 2048, CKA.PUBLIC_EXPONENT: b"\1\0\1", CKA.VERIFY: True},
                        {**both, CKA.PRIVATE: True, CKA.SENSITIVE: True, CKA.SIGN: True, CKA.DECRYPT: True})
    return softoken_parameters(folder)


SOFTOKEN_PIN = "softoken-1234"


def softoken_parameters(folder):
    return f"configdir='sql:{folder}' certPrefix='' keyPrefix='' secmod='' flags="


@pytest.mark.nosan
@pytest.mark.nss
@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", WAYS)
def test_softoken(lab, way):
    """NSS's own module, which needs its parameters and does not mind what it is given: crashes are the same too. Every
    tenth case: among all of them are some that take the keys away from those that follow."""
    first = lab.tmp / "first-db"
    softoken_database(first)
    library, env = lab.traced(way, SOFTOKEN, "softoken")
    direct, traced = both(lab, ["-n", 10, "-r", "-p", SOFTOKEN_PIN], SOFTOKEN, library,
                          {"TRANSPARENCY_PARAMETERS": softoken_database(lab.tmp / "direct-db", first)},
                          {**env, "TRANSPARENCY_PARAMETERS": softoken_database(lab.tmp / "traced-db", first)})
    # With a length that is huge C_SignFinal answers CKR_BUFFER_TOO_SMALL and whatever lies on its stack.
    unset = re.compile(r"^(C_SignFinal valid \*pulSignatureLen=huge rv=0x150 .*) pulSignatureLen=\w+$")
    assert_same([unset.sub(r"\1", line) for line in direct], [unset.sub(r"\1", line) for line in traced])
    assert direct[0] == "version 3.0" and len(direct) > 1500 // 10
    assert len([line for line in direct if "rv=0x0 " in line]) > 100 // 10
    assert_recorded(lab, direct, 500 // 10)


@pytest.mark.parametrize("settings", [{"capture": "meta"}, {"capture": "safe"}, {"capture": "clear"}, {"stack": "off"},
                                      {"cut": "16"}, {"off": "on"}], ids=lambda s: "=".join(*s.items()))
def test_settings(lab, settings):
    """In one process, so that one trace holds everything, whatever is recorded of it."""
    direct, traced = both(lab, ["-a"], lab.mock("mock32"), lab.wrap("mock32", **settings))
    assert_same(direct, traced)
    if "off" in settings:
        assert lab.files() == []
        return
    trace = lab.trace()
    assert_nothing_lost(trace)
    in_trace, in_client = counted(trace.calls), counted_lines(direct)
    assert set(in_client) == {name for name, _ in functions()}
    assert [n for n in in_client if in_trace.get(n, 0) < in_client[n]] == []
    for call in trace.calls:
        call.arguments()


def counted_lines(lines):
    result = {}
    for line in lines[1:]:
        result[line.split()[0]] = result.get(line.split()[0], 0) + 1
    return result


def test_values(lab):
    """What was given and answered stands in the trace: return codes one by one, and a value of each simple kind."""
    _, traced = both(lab, ["-a"], lab.mock("mock32"), lab.wrap("mock32"))
    trace = lab.trace()
    for name, _ in functions():
        lines = [line for line in traced if line.split()[0] == name]
        answers = [int(line.split("rv=")[1].split()[0], 16) for line in lines]
        recorded = [c.rv for c in trace.calls if c.name == name]
        assert is_subsequence(answers, recorded), name
    find = next(c for c in trace.calls if c.name == "C_FindObjects" and c.rv == 0)
    assert find.argument("ulMaxObjectCount")[0]["number"] == 1
    assert find.argument("phObject")[1]["list"] == [0x70]
    assert find.argument("pulObjectCount")[1]["number"] == 1
    session = next(c for c in trace.calls if c.name == "C_GetSessionInfo" and c.rv == 0)
    assert session.argument("hSession")[0]["number"] == 0x100
    assert session.argument("pInfo")[1]["members"] == {"slotID": 40, "state": 3, "flags": 1, "ulDeviceError": 43}
    label = next(c for c in trace.calls if c.name == "C_InitToken" and c.rv == 0).argument("pLabel")[1]["value"]
    assert label.data == b"L" * 32


def is_subsequence(short, long):
    rest = iter(long)
    return all(x in rest for x in short)


LIARS = ["C_GetSlotList", "C_GetMechanismList", "C_GetAttributeValue", "C_FindObjects", "C_GetOperationState", "C_Encrypt",
         "C_EncryptUpdate", "C_EncryptFinal", "C_Decrypt", "C_Digest", "C_DigestFinal", "C_Sign", "C_SignFinal",
         "C_SignRecover", "C_VerifyRecover", "C_DigestEncryptUpdate", "C_WrapKey", "C_EncryptMessage",
         "C_EncryptMessageNext", "C_SignMessage", "C_EncapsulateKey", "C_WrapKeyAuthenticated", "C_AsyncGetID"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", LIARS)
def test_module_that_lies(lab, name, way):
    """decisions.md A5: lengths beyond the caller's buffer, which ends at an unmapped page, are not believed."""
    traced, env = lab.traced(way, "mock32")
    lie = {"MOCK_LIE": name}
    a = lab.client("transparency", "-ab", lab.mock("mock32"), name, env=lie).stdout.splitlines()
    b = lab.client("transparency", "-ab", traced, name, env={**env, **lie}).stdout.splitlines()
    assert_same(a, b)
    assert_nothing_lost(lab.trace())


def test_lie_is_in_the_trace(lab):
    lab.client("transparency", "-ab", lab.wrap("mock32"), "C_Sign", env={"MOCK_LIE": "C_Sign"})
    sign = next(c for c in lab.trace().calls if c.name == "C_Sign" and c.rv == 0 and c.argument("pSignature")[0]["pointer"])
    before, after = sign.argument("pulSignatureLen")
    assert before["number"] == 512 and after["number"] == 48 + 1000
    assert sign.argument("pSignature")[1]["value"].length == 512, "no more than the caller's buffer is read"


def test_in_place(lab):
    """decisions.md D14: the trace says when input and output are one buffer, or overlap."""
    lab.client("transparency", "-a", lab.wrap("mock32"), "C_Encrypt")
    calls = [c for c in lab.trace().calls if c.name == "C_Encrypt" and c.rv == 0]
    classes = {c.argument("pData")[0]["pointer"] for c in calls} | {c.argument("pEncryptedData")[0]["pointer"] for c in calls}
    assert {1, 0} <= classes
    assert {16 + 2, 16 + 4} & classes, "the same address"
    assert {32 + 2, 32 + 4} & classes, "overlapping"


@pytest.mark.parametrize("way", WAYS)
def test_structures(lab, way):
    """Every structure that a mechanism takes, also with lengths that no memory has and with NULL pointers: the module
    follows none of them, so nobody may die of it; and every member is in the trace."""
    a = lab.client("structures", lab.mock("mock32")).stdout.splitlines()
    traced, env = lab.traced(way, "mock32")
    b = lab.client("structures", traced, env=env).stdout.splitlines()
    assert_same(a, b)
    trace = lab.trace()
    assert_nothing_lost(trace)
    calls = iter([c for c in trace.calls if c.name == "C_DeriveKey"])
    seen = set()
    for line, call in zip(a, calls):
        before = call.argument("pMechanism")[0]["mechanism"]
        structure = trace.schema.structures[before["structure"]].name if before["structure"] else None
        if "as it should be" in line:
            assert structure == line.split()[1], line
            seen.add(structure)
            assert members_named(trace, before["members"], structure)
    assert len(seen) > 70
    # Classes of members: public bytes are there, payload and secrets are not.
    plain = lab.run("zstd", "-dcq", trace.path, text=False).stdout
    assert b"public--" in plain
    assert b"payload-" not in plain and b"secret--" not in plain


def members_named(trace, members, structure):
    """The members that the module reads, by the names in structures.def."""
    named = next(s for s in trace.schema.structures.values() if s.name == structure)
    return list(members) == [m.name for m in named.members if m.direction & 1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mock", ["mock240", "mock32"])
def test_null_functions(lab, mock, way):
    nulls = "C_SeedRandom,C_WaitForSlotEvent,C_Digest"
    library, env = lab.traced(way, mock)
    direct, traced = both(lab, ["-a"], lab.mock(mock), library, {"MOCK_NULLS": nulls}, {**env, "MOCK_NULLS": nulls})
    assert_same(direct, traced)
    assert {line.split()[0] for line in direct if line.endswith(" null")} == set(nulls.split(","))
