"""The faults of operations, mechanisms, PINs, codes and time: each changes the answer that it says."""
import ctypes
import subprocess
import sys
import threading
import time

import pytest

from cryptoki import CKA, CKM, CKU, ULONG, mechanism
from faulty_tokens import P256, Cases, code, faulty  # noqa: F401

cases = Cases()
OK, SMALL, NO_OPERATION = "OK", "BUFFER_TOO_SMALL", "OPERATION_NOT_INITIALIZED"
DATA = b"x" * 32

# --- operations -------------------------------------------------------------------------------------------------------


def out(p, name, s, *arguments, room=None):
    """(code, length) of a function with an output buffer of this size; None: asks for the size."""
    buffer, length = ctypes.create_string_buffer((room or 0) + 64), ULONG(room or 0)
    return p.rv(name, s.handle, *arguments, buffer if room is not None else None, ctypes.byref(length)), length.value


def signing(p, mech=CKM.ECDSA, kind="ec"):
    """A session with a signature begun, and the key."""
    s = p.open()
    p.login(s)
    if kind == "ec":
        _, private = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}, {CKA.SIGN: True})
    else:
        _, private = s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024}, {CKA.SIGN: True})
    s.init("C_SignInit", mech, private)
    return s, private


def digesting(p):
    s = p.open()
    s.init("C_DigestInit", CKM.SHA256)
    return s


def signatures(*rooms):
    """C_Sign one after another, with buffers of these sizes."""
    def probe(p):
        s, _ = signing(p)
        return [out(p, "C_Sign", s, DATA, len(DATA), room=room) for room in rooms]
    return probe


def digests(*rooms):
    def probe(p):
        s = digesting(p)
        return [out(p, "C_DigestFinal", s, room=room) for room in rooms]
    return probe


cases("final-general", NO_OPERATION, "FUNCTION_FAILED")(lambda p: out(p, "C_DigestFinal", p.open(), room=64)[0])


@cases("op-sticky", [OK] * 4, [OK, "OPERATION_ACTIVE"] * 2)
def _(p):
    s, private = signing(p)  # the first; the answers begin with the second
    said = [OK]
    for _ in range(3):
        out(p, "C_Sign", s, DATA, len(DATA), room=64)
        said.append(code(s.init, "C_SignInit", CKM.ECDSA, private))
    return said


cases("query-consumes", [(OK, 64), (OK, 64)], [(OK, 64), (NO_OPERATION, 64)])(signatures(None, 64))
cases("query-consumes@C_DigestFinal:1", [(OK, 32), (OK, 32)], [(OK, 32), (NO_OPERATION, 32)])(digests(None, 32))


@cases("query-consumes@C_SignFinal:1", [(OK, 64), (OK, 64)], [(OK, 64), (NO_OPERATION, 64)])
def _(p):
    s, _ = signing(p, CKM.ECDSA_SHA256)
    s.call("C_SignUpdate", DATA, len(DATA))
    return [out(p, "C_SignFinal", s, room=room) for room in (None, 64)]


cases("query-too-small", [(OK, 64), (OK, 64)], [(SMALL, 64), (OK, 64)])(signatures(None, 64))
cases("query-too-small@C_DigestFinal:1", [(OK, 32), (OK, 32)], [(SMALL, 32), (OK, 32)])(digests(None, 32))
cases("query-short", [(OK, 64), (OK, 64)], [(OK, 63), (OK, 64)])(signatures(None, 64))
cases("too-small-kills", [(SMALL, 64), (OK, 64)], [(SMALL, 64), (NO_OPERATION, 64)])(signatures(5, 64))
cases("too-small-kills@C_DigestFinal:1", [(SMALL, 32), (OK, 32)], [(SMALL, 32), (NO_OPERATION, 32)])(digests(5, 32))
cases("too-small-len", [(SMALL, 64), (OK, 64)], [(SMALL, 5), (OK, 64)])(signatures(5, 64))
cases("overflow-len", [(OK, 64), (OK, 64)], [(OK, 64), (OK, 65)])(signatures(None, 64))


@pytest.mark.parametrize("fault, digest, cipher, length", [
    ("none", (OK, 32), (OK, 16), 32), ("too-small-kills", (NO_OPERATION, 32), (NO_OPERATION, 64), 32),
    ("too-small-len", (OK, 32), (OK, 16), 5)])
def test_small_buffers_elsewhere(faulty, fault, digest, cipher, length):
    with faulty(fault) as p:
        s = digesting(p)
        assert out(p, "C_Digest", s, DATA, 32, room=5) == (SMALL, length)
        assert out(p, "C_Digest", s, DATA, 32, room=32) == digest
        s = p.open(login=True)
        key = s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.ENCRYPT: True, CKA.DECRYPT: True})
        s.init("C_EncryptInit", (CKM.AES_CBC, b"i" * 16), key)
        assert out(p, "C_Encrypt", s, DATA[:16], 16, room=5)[0] == SMALL
        assert out(p, "C_Encrypt", s, DATA[:16], 16, room=64) == (cipher if fault != "too-small-len" else (OK, 16))
        s = p.open()
        s.init("C_DecryptInit", (CKM.AES_CBC, b"i" * 16), key)
        assert out(p, "C_Decrypt", s, DATA[:16], 16, room=5) == (SMALL, 5 if fault == "too-small-len" else 16)
        assert out(p, "C_Decrypt", s, DATA[:16], 16, room=64) == cipher


# Our token has no operation states either.
cases("no-opstate", "FUNCTION_NOT_SUPPORTED", "FUNCTION_NOT_SUPPORTED")(
    lambda p: out(p, "C_GetOperationState", digesting(p))[0])


def signature(p, mech=CKM.ECDSA, kind="ec", room=64):
    s, _ = signing(p, mech, kind)
    buffer, length = ctypes.create_string_buffer(room), ULONG(room)
    s.call("C_Sign", DATA, len(DATA), buffer, ctypes.byref(length))
    return buffer.raw[:length.value]


def is_der(sig):
    return sig[0] == 0x30 and sig[1] == len(sig) - 2 and sig[2] == 2 and sig[4 + sig[3]] == 2 and \
        len(sig) == 6 + sig[3] + sig[5 + sig[3]]


cases("ecdsa-der", False, True)(lambda p: all(is_der(signature(p, room=room)) for room in (64, 64, 72, 100)))
cases("rsa-short", 128, 127)(lambda p: len(signature(p, CKM.RSA_PKCS, "rsa", 128)))
cases("rng-needs-login", [OK, OK], ["USER_NOT_LOGGED_IN", OK])(
    lambda p: [code(p.open().random, 16), code(p.open(login=True).random, 16)])
cases("rng-constant", [False, False], [True, False])(
    lambda p: (lambda a, b: [a == b, len(set(a)) == 1])(p.open().random(32), p.open().random(32)))
cases("rng-zero", False, True)(lambda p: p.open().random(32) == bytes(32))


@cases("verify-general", [OK, "SIGNATURE_INVALID", "SIGNATURE_LEN_RANGE"], [OK, "GENERAL_ERROR", "GENERAL_ERROR"])
def _(p):
    s = p.open(login=True)
    public, private = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, CKA.VERIFY: True}, {CKA.SIGN: True})
    s.init("C_SignInit", CKM.ECDSA, private)
    good, said = s.output("C_Sign", DATA, len(DATA)), []
    for sig in (good, bytes(63) + b"\x01", b"short"):
        s.init("C_VerifyInit", CKM.ECDSA, public)
        said.append(p.rv("C_Verify", s.handle, DATA, len(DATA), sig, len(sig)))
    return said


# --- mechanisms -------------------------------------------------------------------------------------------------------

def info(p, mech, slot=None):
    return code(p.m.mechanism_info, p.slot if slot is None else slot, mech)


cases("mech-second-fail", OK, "GENERAL_ERROR")(lambda p: code(p.m.mechanisms, p.slot))
cases("mech-info-invalid", OK, "MECHANISM_INVALID")(lambda p: info(p, p.m.mechanisms(p.slot)[0]))
cases("mech-info-invalid=0x1041", [OK, OK], ["MECHANISM_INVALID", OK])(
    lambda p: [info(p, CKM.ECDSA), info(p, CKM.RSA_PKCS)])


@cases("mech-sizes", True, False)
def _(p):
    i = p.m.mechanism_info(p.slot, CKM.RSA_PKCS)
    return i["ulMinKeySize"] < i["ulMaxKeySize"]


cases("mech-noflags", False, True)(lambda p: p.m.mechanism_info(p.slot, CKM.RSA_PKCS)["flags"] == 0)


def begin(mech, **more):
    """Is it listed, and does C_SignInit with an EC key take it?"""
    def probe(p):
        s = p.open(login=True)
        kind = [CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}] if mech == CKM.ECDSA else \
            [CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024}]
        _, private = s.generate_pair(*kind, {CKA.SIGN: True})
        return mech in p.m.mechanisms(p.slot), p.rv("C_SignInit", s.handle, ctypes.byref(mechanism(mech)), private)
    return probe


cases("mech-lie=0x1041", (True, OK), (True, "MECHANISM_INVALID"))(begin(CKM.ECDSA))


@cases("mech-lie", (True, "MECHANISM_PARAM_INVALID"), (True, "MECHANISM_INVALID"))
def _(p):
    s = p.open(login=True)
    return CKM.AES_GCM in p.m.mechanisms(p.slot), code(s.init, "C_EncryptInit", CKM.AES_GCM, p.secret(s))


cases("no-pss", (True, "MECHANISM_PARAM_INVALID"), (True, "MECHANISM_INVALID"))(begin(CKM.RSA_PKCS_PSS))
cases("pss-unlisted", (True, "MECHANISM_PARAM_INVALID"), (False, "MECHANISM_INVALID"))(begin(CKM.RSA_PKCS_PSS))


def sides(p):
    """For each slot: does it list RSA, EC, AES, SHA-256, and does it tell of them?"""
    kinds = (CKM.RSA_PKCS, CKM.ECDSA, CKM.AES_CBC, CKM.SHA256)
    for slot in p.m.slots():
        assert [k in p.m.mechanisms(slot) for k in kinds] == [info(p, k, slot) == OK for k in kinds]
    return [[k in p.m.mechanisms(slot) for k in kinds] for slot in p.m.slots()]


cases("split-slots", [[True] * 4] * 2, [[True, True, False, False], [False, False, True, True]])(sides)
cases("asymmetric-only", [[True] * 4] * 2, [[True, True, False, False]] * 2)(sides)

# --- PINs -------------------------------------------------------------------------------------------------------------


@cases("setpin-general", [OK, OK], ["GENERAL_ERROR", "PIN_INCORRECT"])
@cases("setpin-noop", [OK, OK], [OK, "PIN_INCORRECT"])
def _(p):
    s = p.open()
    said = [code(s.set_pin, p.token.pin, "another pin")]
    said.append(p.login(s, "another pin"))
    if said[0] == OK and said[1] == OK:
        s.set_pin("another pin", p.token.pin)
    return said


@cases("setpin-logs-out", 3, 2)
def _(p):
    s = p.open(login=True)
    s.set_pin(p.token.pin, p.token.pin)
    return p.state(s)


cases("initpin-anytime", "USER_NOT_LOGGED_IN", OK)(lambda p: code(p.open().init_pin, "another pin"))
cases("inittoken-anytime", "SESSION_EXISTS", OK)(
    lambda p: [p.open(), code(p.m.init_token, p.slot, p.token.so_pin, p.token.label)][1])


def test_the_officer_may_set_the_pin(faulty):
    with faulty("initpin-anytime") as p:
        s = p.open()
        s.login(p.token.so_pin, CKU.SO)
        s.init_pin("another pin")
        s.logout()
        assert p.login(s, "another pin") == OK


# --- codes, crashes, hangs --------------------------------------------------------------------------------------------

cases("rv-odd", OK, "PIN_INCORRECT")(lambda p: code(p.open))
cases("rv-general-10pct", 0, 10)(lambda p: [code(s.info) for s in [p.open()] * 100].count("GENERAL_ERROR"))
cases("rv-general-10pct=4", [OK] * 4, [OK] * 3 + ["GENERAL_ERROR"])(lambda p: [code(s.info) for s in [p.open()] * 4])


def takes(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began


cases("hang-getslotinfo=300", False, True)(lambda p: takes(lambda: p.m.slot_info(p.slot)) >= 0.3)
cases("slow-info=300", False, True)(lambda p: takes(lambda: p.m.token_info(p.slot)) >= 0.3)

CRASH = """
import sys
sys.path.insert(0, {tests!r})
from cryptoki import CKA, Module
m = Module({module!r}, {parameters!r})
m.initialize()
s = m.open_session(m.slots()[0])
o = s.create({{CKA.CLASS: 0, CKA.VALUE: b"x"}})
print(s.get(o, CKA.VALUE))
"""


@pytest.mark.nosan
@pytest.mark.parametrize("fault, status", [("none", 0), ("crash-on-null", -11)])
def test_crash_on_null(faulty, root, fault, status):
    faulty.setenv("P11FAULTY", fault)
    text = CRASH.format(tests=str(root / "tests"), module=str(faulty.build / "libp11faulty.so"),
                        parameters=faulty.token.parameters)
    assert subprocess.run([sys.executable, "-c", text], capture_output=True, timeout=60).returncode == status


# --- threads ----------------------------------------------------------------------------------------------------------

def together(*calls):
    """How long each took that began with the first, the second a little later."""
    took = [0.0] * len(calls)

    def run(i, call):
        time.sleep(0.1 * i)
        took[i] = takes(call)

    threads = [threading.Thread(target=run, args=(i, c)) for i, c in enumerate(calls)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return took


@cases("global-lock=800", False, True)
def _(p):
    s, other = p.open(), p.open()
    return together(lambda: p.login(s), other.info)[1] > 0.3


@cases("slow-sign-lock=800", False, True)
def _(p):
    s, _ = signing(p)
    other = p.open()
    return together(lambda: out(p, "C_Sign", s, DATA, len(DATA), room=64), other.info)[1] > 0.3


def searches(p, threads):
    """The codes of C_FindObjectsInit in so many threads, each with its session."""
    said = []

    def search():
        s = p.open()
        for _ in range(100):
            rv = p.rv("C_FindObjectsInit", s.handle, None, 0)
            said.append(rv)
            p.m.raw.C_FindObjectsFinal(s.handle)

    running = [threading.Thread(target=search) for _ in range(threads)]
    for t in running:
        t.start()
    for t in running:
        t.join()
    return set(said)


cases("race-window", ({OK}, {OK}), ({OK}, {OK, "GENERAL_ERROR"}))(lambda p: (searches(p, 1), searches(p, 4)))


@pytest.mark.parametrize("fault", cases)
def test_fault_changes_the_answer(faulty, fault):
    cases.check(faulty, fault)


def test_null_entry(faulty):
    with faulty("none") as p:
        assert hasattr(p.m.raw, "C_CancelFunction")
        whole = len(vars(p.m.raw))
    with faulty("null-entry") as p:
        assert not hasattr(p.m.raw, "C_CancelFunction") and len(vars(p.m.raw)) == whole - 1
        assert code(p.m.info) == OK


def test_every_fault_has_a_test(faulty):
    """Here, in the files beside, or in the groups' own."""
    import importlib
    from conftest import ROOT
    from faulty_table import entries
    tested, text = set(), ""
    for path in sorted((ROOT / "tests").glob("test_faulty*.py")):
        cases_there = getattr(importlib.import_module(path.stem), "cases", {})
        tested |= {name.split("=")[0].split("@")[0] for name in cases_there}
        text += path.read_text()
    for path in (ROOT / "tests").glob("test_rules_*.py"):
        text += path.read_text()
    missing = [name for group, name, *_ in entries() if name not in tested and f'"{name}' not in text]
    assert not missing
