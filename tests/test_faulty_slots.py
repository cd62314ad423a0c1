"""The faults of initialising, slots and tokens: each changes the answer that it says it changes. On our token."""
import ctypes
import os
import threading

import pytest

from cryptoki import CKF, CKM, STRUCTURES, ULONG, prototype, struct
from faulty_tokens import Cases, code, faulty  # noqa: F401

cases = Cases()
OK = "OK"

# --- initialising -----------------------------------------------------------------------------------------------------


def interface(p, name, version=None, flags=0):
    """(code, version) of C_GetInterface."""
    out = ctypes.c_void_p()
    asked = ctypes.addressof(struct("CK_VERSION", major=version[0], minor=version[1])) if version else None
    rv = p.m.raw.C_GetInterface(name, asked, ctypes.addressof(out), flags)
    if rv:
        return rv, None
    v = STRUCTURES["CK_VERSION"].from_address(STRUCTURES["CK_INTERFACE"].from_address(out.value).pFunctionList)
    return 0, (v.major, v.minor)


def test_iface_fail(build, faulty):
    with faulty("none") as p:
        get = prototype("C_GetInterface")(("C_GetInterface", p.m.library))
        out = ctypes.c_void_p()
        ask = lambda: get(b"PKCS 11", None, ctypes.addressof(out), 0)  # noqa: E731
        assert ask() == 0
        faulty.setenv("P11FAULTY", "iface-fail")
        assert ask() == 7


@cases("fake-32", ((0, (3, 2)), "OPERATION_NOT_INITIALIZED", "KEY_HANDLE_INVALID"),
       ((0, (3, 2)), "OPERATION_NOT_INITIALIZED", "FUNCTION_NOT_SUPPORTED"))
def _(p):
    s = p.open()
    m = struct("CK_MECHANISM", mechanism=CKM.ECDSA)
    return (interface(p, b"PKCS 11"), p.rv("C_VerifySignature", s.handle, b"x", 1),
            p.rv("C_VerifySignatureInit", s.handle, ctypes.byref(m), 0, b"x", 1))


def initialise(p, string=None):
    args = struct("CK_NSS_C_INITIALIZE_ARGS", flags=CKF.OS_LOCKING_OK, LibraryParameters=string)
    return p.rv("C_Initialize", ctypes.byref(args))


@pytest.mark.parametrize("fault, said", [("none", [OK, OK]), ("cant-lock", ["CANT_LOCK", OK])])
def test_cant_lock(faulty, fault, said):
    with faulty("none") as p:
        p.m.finalize()
        faulty.setenv("P11FAULTY", fault)
        first = initialise(p)
        p.m.raw.C_Finalize(None)
        assert [first, initialise(p)] == said


@pytest.mark.parametrize("fault, said", [("none", OK), ("params-bad", "ARGUMENTS_BAD")])
def test_params_bad(faulty, fault, said):
    with faulty("none") as p:
        p.m.finalize()
        faulty.setenv("P11FAULTY", fault)
        assert initialise(p, p.m.parameters.encode() + b"\0") == said


@cases("double-init-ok", "CRYPTOKI_ALREADY_INITIALIZED", OK)
def _(p):
    return initialise(p)


@cases("noinit-ok", ["CRYPTOKI_NOT_INITIALIZED"] * 3, [OK] * 3)
def _(p):
    p.m.finalize()
    count = ULONG(5)
    return [code(p.m.info), p.rv("C_GetSlotList", 0, None, ctypes.byref(count)), p.rv("C_Finalize", None)]


@cases("wait-general", "NO_EVENT", "GENERAL_ERROR")
def _(p):
    slot = ULONG()
    return p.rv("C_WaitForSlotEvent", CKF.DONT_BLOCK, ctypes.byref(slot), None)


@cases("reuse-after-reinit", "SESSION_HANDLE_INVALID", OK)
def _(p):
    old = [p.open() for _ in range(3)][-1]
    p.m.finalize()
    p.m.initialize()
    p.open()
    return code(old.info)


@cases("fork-ok", (["CRYPTOKI_NOT_INITIALIZED"] * 2), [OK] * 2)
def _(p):
    s = p.open()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, f"{code(p.m.info)} {code(s.info)}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    said = os.read(read, 200).decode().split()
    os.close(read), os.close(write)
    return said


# --- slots ------------------------------------------------------------------------------------------------------------

def listed(p):
    """(code, count, the two are the same) of the list of two slots."""
    ids, count = (ULONG * 4)(), ULONG(2)
    return p.rv("C_GetSlotList", 1, ids, ctypes.byref(count)), count.value, ids[0] == ids[1]


for fault, said in {"slot-overflow": (OK, 3, False), "slot-grow": ("BUFFER_TOO_SMALL", 3, False),
                    "slot-twice": (OK, 2, True), "slot-general": ("GENERAL_ERROR", 2, False)}.items():
    cases(fault, (OK, 2, False), said)(listed)


@cases("slot-shrink", [2, 2, 2, OK], [2, 1, 1, "SLOT_ID_INVALID"])
def _(p):
    count, first = ULONG(), p.m.slots(False)
    p.m.call("C_GetSlotList", 0, None, ctypes.byref(count))
    return [len(first), count.value, len(p.m.slots(False)), code(p.m.slot_info, first[-1])]


@cases("slot-renumber", (True, OK, OK), (False, "SLOT_ID_INVALID", OK))
def _(p):
    first = p.m.slots(False)
    second = p.m.slots(False)
    return first == second, code(p.m.slot_info, first[0]), code(p.m.token_info, second[0])


@cases("ghost-token", (True, OK), (True, "TOKEN_NOT_PRESENT"))
def _(p):
    return present(p), code(p.open)


def present(p, slot=None):
    return bool(p.m.slot_info(p.slot if slot is None else slot)["flags"] & CKF.TOKEN_PRESENT)


def removable(p):
    return bool(p.m.slot_info(p.slot)["flags"] & CKF.REMOVABLE_DEVICE)


@cases("perm-absent", (True, True), (True, False))
def _(p):
    return tuple(present(p, s) for s in p.m.slots(False))


@cases("removable-flips", False, True)
def _(p):
    return len({removable(p) for _ in range(4)}) == 2


def after_login(p, looks=1):
    """What is said of slot and session before a login, and at each look after it."""
    s = p.open()
    said = [present(p), code(s.info)]
    s.login(p.token.pin)
    for _ in range(looks):
        said += [present(p), code(s.info)]
    return said


cases("perm-dies", [True, OK, True, OK], [True, OK, False, "DEVICE_REMOVED"])(after_login)
cases("ghost-session", [True, OK, True, OK], [True, OK, False, OK])(after_login)
cases("ghost-session=1", [True, OK] * 3, [True, OK, False, OK, True, OK])(lambda p: after_login(p, 2))
cases("revive-session", [True, OK] * 3, [True, OK, False, "DEVICE_REMOVED", True, OK])(lambda p: after_login(p, 2))
cases("flaky-session", [OK] * 4, [OK, "SESSION_HANDLE_INVALID"] * 2)(lambda p: [code(s.info) for s in [p.open()] * 4])


class Waiter:
    """A thread in C_WaitForSlotEvent that blocks."""

    def __init__(self, p):
        self.p, self.said, self.slot = p, [], ULONG()
        self.thread = threading.Thread(target=self.wait, daemon=True)
        self.thread.start()

    def wait(self):
        self.said.append(self.p.rv("C_WaitForSlotEvent", 0, ctypes.byref(self.slot), None))

    def after(self, seconds):
        self.thread.join(seconds)
        return self.said


@cases("wait-noevent", [], ["NO_EVENT"])
def _(p):
    w = Waiter(p)
    said = w.after(0.3)[:]
    p.m.finalize()
    w.after(5)
    return said


@cases("wait-stuck=1000", [[], ["CRYPTOKI_NOT_INITIALIZED"]], [[], [], ["CRYPTOKI_NOT_INITIALIZED"]])
def _(p):
    w = Waiter(p)
    said = [w.after(0.2)[:]]
    p.m.finalize()
    said.append(w.after(0.5)[:])
    return said if said[-1] else said + [w.after(10)]


@cases("lost-event", [True, []], [False, []])
def _(p):
    w = Waiter(p)
    after_login(p, 0)
    said = [present(p), w.after(0.3)[:]]
    p.m.finalize()
    w.after(5)
    return said


@pytest.mark.parametrize("fault", cases)
def test_fault_changes_the_answer(faulty, fault):
    cases.check(faulty, fault)
