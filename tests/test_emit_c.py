"""p11trace emit-c: the program compiles against p11-kit's header alone, and makes the recorded calls with the same answers."""
import re

import pytest

import softhsm
from lab import Lab, lab  # noqa: F401 (fixture)
from p11t_make import Trace
from reader_tools import save, session_call

PIN, SO_PIN, WRONG = "p1n-emit-4Wv", "s0p-emit-8Jd", "wr0ng-emit-2Lx"
KIT = "/usr/include/p11-kit-1"
LABEL = "Emit"


def emit(lab, traces, *options, status=0):
    return lab.p11trace("emit-c", *options, *traces, status=status)


def compiled(lab, source, name="repro", compilers=("gcc", "clang")):
    """The program, made by the last of the compilers; a warning of any is a failure."""
    path = lab.tmp / f"{name}.c"
    path.write_text(source)
    for compiler in compilers:
        lab.run(compiler, "-Wall", "-Wextra", "-Werror", f"-I{KIT}", "-o", lab.tmp / name, path, "-ldl")
    assert re.findall(r"^#include .*", source, re.M)[-1] == "#include <p11-kit/pkcs11.h>"
    return lab.tmp / name


def functions(source):
    """What the program calls, in order."""
    return re.findall(r"^  /\* #\d+ (C_\w+)", source, re.M)


def made(p):
    """(calls made, calls that differ) of a run."""
    return tuple(map(int, re.fullmatch(r"(\d+) calls made, (\d+) differ", p.stdout.splitlines()[-1]).groups()))


def token(lab):
    env = {"P11TOKEN_DIR": lab.tmp / "tokens"}
    lab.run(lab.build / "p11token", "init", "--label", LABEL, "--kdf-cost", 8, "--pin", PIN, "--so-pin", SO_PIN, env=env)
    return lab.build / "libp11token.so", env


def pkcs11_tool(lab, module, env, *argv, pin=PIN, status=0):
    lab.run("pkcs11-tool", "--module", module, "--login", "--pin", pin, *argv, env=env, status=status)


@pytest.mark.parametrize("mock, least", [("mock32", 104), ("mock240", 68)])
def test_every_function(lab, mock, least):
    lab.client("transparency", "-a", "-b", lab.wrap(mock))
    source = emit(lab, lab.files()).stdout
    calls = functions(source)
    assert len(set(calls)) >= least
    program = compiled(lab, source)
    said = [word for word in ("so=SO-PIN", "wrong-pins") if f"[{word}]" in source]
    p = lab.run(program, lab.mock(mock), "1234", *said)
    not_made = p.stdout.count(": not made\n")
    assert made(p) == (len(calls) - not_made, 0)
    # The recorder answers C_GetInterface for a module that does not have it.
    assert {line.split()[0] for line in p.stdout.splitlines()[:-1]} <= {"C_GetInterface", "C_GetInterfaceList"}
    assert not_made == 0 or mock == "mock240"


def test_every_structure(lab):
    lab.client("structures", lab.wrap("mock32"))
    source = emit(lab, lab.files()).stdout
    for name in ("CK_GCM_PARAMS", "CK_SSL3_KEY_MAT_PARAMS", "CK_PKCS5_PBKD2_PARAMS2", "CK_X3DH_INITIATE_PARAMS"):
        assert f"}} REPRO_{name};" in source
    p = lab.run(compiled(lab, source), lab.mock("mock32"))
    assert made(p) == (len(functions(source)), 0)


@pytest.fixture
def scene(lab):
    """(module, environment, PIN) of a token and traces of what pkcs11-tool did on it."""
    def new(kind):
        if kind == "token":
            module, env = token(lab)
            pin = PIN
        else:
            store = softhsm.make_token(lab.tmp / "softhsm")
            module, env, pin = store.module, store.env, store.pin
        traced = lab.wrap(module)
        (lab.tmp / "data").write_bytes(bytes(range(100)))
        pkcs11_tool(lab, traced, env, "--keypairgen", "--key-type", "rsa:2048", "--id", "01", "--label", "signer", pin=pin)
        pkcs11_tool(lab, traced, env, "--sign", "--mechanism", "SHA256-RSA-PKCS-PSS", "--id", "01", "-i", "data", "-o",
                    "signature", pin=pin)
        pkcs11_tool(lab, traced, env, "-O", pin=WRONG, status=1)
        return module, env, pin
    return new


@pytest.mark.parametrize("kind", ["token", "softhsm"])
def test_same_codes(lab, scene, kind):
    module, env, pin = scene(kind)
    for trace, extra in zip(lab.files(), ((), (), ("wrong-pins",))):
        source = emit(lab, [trace]).stdout
        for secret in (pin, WRONG, pin.encode().hex(), ", ".join(f"0x{b:02x}" for b in pin.encode())):
            assert secret not in source
        p = lab.run(compiled(lab, source), module, pin, *extra, env=env)
        not_made = re.findall(r"^(C_\w+) #\d+, .*: not made$", p.stdout, re.M)
        assert made(p) == (len(functions(source)) - len(not_made), 0)
        assert set(not_made) <= ({"C_GetInterface"} if kind == "softhsm" else set())
    # A wrong PIN costs a try: not without being told.
    p = lab.run(lab.tmp / "repro", module, pin, env=env)
    assert re.search(r"^C_Login #\d+, a wrong PIN: not made$", p.stdout, re.M)


def test_what_a_call_needs(lab, scene):
    module, env, pin = scene("token")
    source = emit(lab, lab.files()[1:2], "-e", "fn=C_Sign").stdout
    assert functions(source) == ["C_Initialize", "C_GetSlotList", "C_OpenSession", "C_Login", "C_FindObjectsInit",
                                 "C_FindObjects", "C_FindObjectsFinal", "C_SignInit", "C_Sign"]
    assert source.count(", which calls below need: recorded CKR_OK */") == 8
    assert "9 calls, 1 of them chosen, the others needed by those" in source
    assert "/* not recorded: a stand-in of the same length */" in source
    assert made(lab.run(compiled(lab, source), module, pin, env=env)) == (9, 0)
    # Another module answers otherwise, and the program says which call did.
    p = lab.run(lab.tmp / "repro", lab.mock("mock240"), pin, status=1)
    assert re.search(r"^C_\w+ #\d+.*: 0x[0-9a-f]{8} CKR_\w+, recorded 0x00000000 CKR_OK$", p.stdout, re.M)


def test_outputs_go_in_again(lab):
    """The signature that C_Verify gets is the one that C_Sign made, though neither is in the trace."""
    module, env = token(lab)
    traced = lab.wrap(module)
    pkcs11_tool(lab, traced, env, "--keypairgen", "--key-type", "rsa:2048", "--id", "02", "--label", "tested")
    pkcs11_tool(lab, traced, env, "--test")
    trace = lab.files()[1]
    source = emit(lab, [trace], "-e", "fn=C_Verify", "-e", "rv=ok").stdout
    assert "C_Sign" in functions(source) and re.search(r"p11->C_Verify\(session_\d+, \w+, \w+, made_\d+, made_\d+_length\)",
                                                       source)
    p = lab.run(compiled(lab, source, compilers=("gcc",)), module, PIN, env=env)
    assert made(p) == (len(functions(source)), 0)


def test_payload_in_clear(lab):
    """With capture=clear no call of pkcs11-tool's whole test depends on a stand-in, nor is a PIN or a key in the text."""
    module, env = token(lab)
    traced = lab.wrap(module, capture="clear")
    pkcs11_tool(lab, module, env, "--keypairgen", "--key-type", "rsa:2048", "--id", "02", "--label", "tested")
    pkcs11_tool(lab, traced, env, "--test")
    source = emit(lab, lab.files()).stdout
    assert PIN not in source and PIN.encode().hex() not in source
    p = lab.run(compiled(lab, source, compilers=("gcc",)), module, PIN, env=env)
    assert made(p) == (len(functions(source)), 0) and {"C_Sign", "C_Verify", "C_Decrypt"} <= set(functions(source))


def test_refusals(lab):
    for _ in range(2):
        lab.client("messages", lab.wrap("mock32"))
    assert "choose one with -e pid=" in emit(lab, lab.files(), status=2).stderr
    p = emit(lab, lab.files()[:1], "-e", "fn=C_WaitForSlotEvent", status=2)
    assert p.stderr == "p11trace emit-c: no call is chosen; p11trace dump shows their numbers\n" and p.stdout == ""
    assert "which trace?" in lab.p11trace("emit-c", status=None).stderr
    assert emit(lab, lab.files()[:1], "--module-of", "mock32").stdout
    assert emit(lab, lab.files()[:1], "--module-of", "elsewhere", status=2).stdout == ""


def test_a_damaged_trace(lab):
    """A program of what is left, and which bytes of which trace are lost."""
    t = Trace()
    for i in range(3):
        t.thread(100)
        session_call(t, 10 * i + 5)
        t.frame()
    t.end()
    data = bytearray(t.bytes())
    magic = b"\x51\x2a\x4d\x18\x40\0\0\0P1FI\x02"
    data[data.index(magic, data.index(magic) + 1) + 72 + 30] ^= 0xff
    path = save(lab.tmp / "t.p11t", bytes(data))
    p = emit(lab, [path], status=2)
    assert functions(p.stdout).count("C_GetSessionInfo") == 2
    damage, lost = p.stderr.splitlines()
    assert damage.startswith(f"p11trace emit-c: {path}: ") and "is damaged" in damage
    assert lost == "p11trace emit-c: bytes of the trace are lost: calls may be missing from the program"
