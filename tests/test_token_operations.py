"""The rules that all operations of a session share: begin, ask for the size, end, cancel, log out."""
import ctypes
import hashlib
import os
import random
import threading
from dataclasses import dataclass

import pytest

from cryptoki import CKA, CKK, CKM, CKR, CKU, CkError, Guarded, ULONG, struct
from symmetric import code_of, key_of

AES, TEXT = bytes(range(16)), bytes(range(64))
NOT_ACTIVE, ACTIVE = "CKR_OPERATION_NOT_INITIALIZED", "CKR_OPERATION_ACTIVE"


@dataclass
class Case:
    """A kind of operation with a mechanism: the functions' names, and what they are given."""
    kind: str
    mech: object
    key: str = ""            # attribute of Keys
    single: str = ""
    gives: bool = True       # has an output buffer; Verify has none
    update_gives: bool = False
    data: bytes = TEXT

    def __str__(self):
        mech = self.mech[0] if isinstance(self.mech, tuple) else self.mech
        return f"{self.kind}-{CKM.name(mech)[4:]}"

    @property
    def usage(self) -> int:
        return getattr(CKA, {"VerifySignature": "VERIFY"}.get(self.kind, self.kind.upper()))


GCM = struct("CK_GCM_PARAMS", pIv=bytes(12), ulTagBits=128)
CTR = struct("CK_AES_CTR_PARAMS", ulCounterBits=128, cb=bytes(16))
CASES = [Case("Encrypt", (CKM.AES_CBC, bytes(16)), "aes", update_gives=True),
         Case("Encrypt", (CKM.AES_CBC_PAD, bytes(16)), "aes", update_gives=True),
         Case("Encrypt", (CKM.AES_GCM, GCM), "aes", update_gives=True),
         Case("Decrypt", (CKM.AES_CBC, bytes(16)), "aes", update_gives=True),
         Case("Decrypt", (CKM.AES_CTR, CTR), "aes", update_gives=True),
         Case("Digest", CKM.SHA256),
         Case("Sign", CKM.SHA256_HMAC, "generic"),
         Case("Sign", (CKM.AES_CMAC_GENERAL, 7), "aes"),
         Case("Verify", CKM.SHA256_HMAC, "generic", gives=False),
         Case("VerifySignature", CKM.AES_CMAC, "aes", gives=False)]
GIVING = [c for c in CASES if c.gives]


class Driver:
    """One case on one session."""

    def __init__(self, s, case: Case):
        self.s, self.case = s, case
        if case.key:
            self.key = key_of(s, *{"aes": (CKK.AES, AES), "generic": (CKK.GENERIC_SECRET, AES)}[case.key])
        self.signature = b""
        if not case.gives:
            self.signature = s.sign(case.mech, self.key, case.data)
        self.expected = self.whole_now()

    def init(self, session=None, mech=None, key=None):
        s = session or self.s
        arguments = [] if self.case.kind == "Digest" else [self.key if key is None else key]
        if self.case.kind == "VerifySignature":
            arguments += [self.signature, len(self.signature)]
        s.init(f"C_{self.case.kind}Init", mech or self.case.mech, *arguments)

    def cancel(self) -> int:
        arguments = [] if self.case.kind == "Digest" else [self.key]
        if self.case.kind == "VerifySignature":
            arguments += [self.signature, len(self.signature)]
        return getattr(self.s.module.raw, f"C_{self.case.kind}Init")(self.s.handle, None, *arguments)

    def single(self, session=None, data=None):
        s, data = session or self.s, self.case.data if data is None else data
        if self.case.gives:
            return s.output(f"C_{self.case.kind}", data, len(data))
        more = (self.signature, len(self.signature)) if self.case.kind == "Verify" else ()
        return s.call(f"C_{self.case.kind}", data, len(data), *more)

    def update(self, data: bytes, session=None):
        s = session or self.s
        if self.case.update_gives:
            return s.output(f"C_{self.case.kind}Update", data, len(data))
        s.call(f"C_{self.case.kind}Update", data, len(data))
        return b""

    def final(self, session=None):
        s = session or self.s
        if self.case.gives:
            return s.output(f"C_{self.case.kind}Final")
        more = (self.signature, len(self.signature)) if self.case.kind == "Verify" else ()
        return s.call(f"C_{self.case.kind}Final", *more)

    def whole_now(self):
        self.init()
        return self.single()

    def raw_single(self, out, room: int):
        """C_Xxx with an output buffer of that room: code and length."""
        size = ULONG(room)
        function = getattr(self.s.module.raw, f"C_{self.case.kind}")
        rv = function(self.s.handle, self.case.data, len(self.case.data), out, ctypes.byref(size))
        return CKR.name(rv), size.value

    def raw_final(self, out, room: int):
        size = ULONG(room)
        rv = getattr(self.s.module.raw, f"C_{self.case.kind}Final")(self.s.handle, out, ctypes.byref(size))
        return CKR.name(rv), size.value

    def assert_over(self):
        for call in (self.single, lambda: self.update(b"x" * 16), self.final):
            assert code_of(call) == NOT_ACTIVE


@pytest.fixture
def s(token):
    return token.session()


@pytest.fixture
def driver(s, request):
    return Driver(s, request.param)


KEYED = [c for c in CASES if c.key]
every = pytest.mark.parametrize("driver", CASES, indirect=True, ids=str)
keyed = pytest.mark.parametrize("driver", KEYED, indirect=True, ids=str)
giving = pytest.mark.parametrize("driver", GIVING, indirect=True, ids=str)


@every
def test_nothing_works_without_init(driver):
    driver.assert_over()


@every
def test_success_ends_it(driver):
    """Single and Final end the operation; both give the same."""
    driver.assert_over()
    driver.init()
    parts = [driver.update(driver.case.data[:20]), driver.update(b""), driver.update(driver.case.data[20:])]
    last = driver.final()
    if driver.case.gives:
        assert b"".join(parts) + last == driver.expected
    driver.assert_over()


@every
def test_second_init_leaves_the_first_alone(driver):
    """CKR_OPERATION_ACTIVE, before and after a part, and the first goes on as if nothing had happened."""
    driver.init()
    assert code_of(driver.init) == ACTIVE
    assert driver.single() == driver.expected
    driver.init()
    out = driver.update(driver.case.data)
    assert code_of(driver.init) == ACTIVE
    last = driver.final()
    assert not driver.case.gives or out + last == driver.expected


@every
def test_init_without_mechanism_cancels(driver):
    """Since 3.0; with nothing to cancel it is no error."""
    for parts in ((), (b"x" * 16,)):
        driver.init()
        for part in parts:
            driver.update(part)
        assert driver.cancel() == CKR.OK
        driver.assert_over()
    assert driver.cancel() == CKR.OK
    assert driver.whole_now() == driver.expected


@every
def test_one_part_after_several(driver):
    """A one-part call after Update is CKR_OPERATION_ACTIVE and, being an error, ends the operation."""
    driver.init()
    driver.update(driver.case.data[:16])
    assert code_of(driver.single) == ACTIVE
    driver.assert_over()


@giving
def test_asking_for_the_size(driver):
    """NULL asks, too small a buffer is told; neither loses anything nor makes it a multi-part operation."""
    wanted = len(driver.expected)
    driver.init()
    for room in (0, wanted, 2 ** 20):
        assert driver.raw_single(None, room) == ("CKR_OK", wanted)
    for room in (0, 1, wanted - 1):
        assert driver.raw_single(Guarded(room).memory, room) == ("CKR_BUFFER_TOO_SMALL", wanted)
    assert driver.single() == driver.expected
    driver.assert_over()


@giving
def test_asking_for_the_size_of_the_last_part(driver):
    driver.init()
    out = driver.update(driver.case.data)
    wanted = len(driver.expected) - len(out)
    for _ in range(2):
        assert driver.raw_final(None, 0) == ("CKR_OK", wanted)
    if wanted > 0:
        assert driver.raw_final(Guarded(wanted - 1).memory, wanted - 1) == ("CKR_BUFFER_TOO_SMALL", wanted)
    assert out + driver.final() == driver.expected
    driver.assert_over()


@pytest.mark.parametrize("driver", [c for c in CASES if c.update_gives], indirect=True, ids=str)
def test_update_that_is_too_small_changes_nothing(driver):
    driver.init()
    size = ULONG(15)
    update = getattr(driver.s.module.raw, f"C_{driver.case.kind}Update")
    assert update(driver.s.handle, driver.case.data, 64, None, ctypes.byref(size)) == CKR.OK
    assert size.value == 64
    size = ULONG(63)
    assert update(driver.s.handle, driver.case.data, 64, Guarded(63).memory, ctypes.byref(size)) == CKR.BUFFER_TOO_SMALL
    assert driver.single() == driver.expected  # no part has been taken


@every
def test_errors_end_it(driver):
    """A bad argument is an error like any other."""
    raw, kind, h = driver.s.module.raw, driver.case.kind, driver.s.handle
    for name, arguments in ((f"C_{kind}", (None, 5)), (f"C_{kind}Update", (None, 5))):
        driver.init()
        if name == "C_Verify":
            arguments += (driver.signature, len(driver.signature))
        elif driver.case.gives and (driver.case.update_gives or not name.endswith("Update")):
            arguments += (Guarded(100).memory, ctypes.byref(ULONG(100)))
        assert getattr(raw, name)(h, *arguments) == CKR.ARGUMENTS_BAD
        driver.assert_over()
    if driver.case.gives:
        driver.init()
        assert getattr(raw, f"C_{kind}")(h, TEXT, 64, Guarded(100).memory, None) == CKR.ARGUMENTS_BAD
        driver.assert_over()


@every
def test_init_that_fails_begins_nothing(driver):
    """The codes of a bad Init, each of which leaves no operation behind."""
    s, case = driver.s, driver.case
    bad = [(dict(mech=0x7ffffff0), "MECHANISM_INVALID"), (dict(mech=CKM.AES_KEY_GEN), "MECHANISM_INVALID")]
    if case.key:
        kind = CKK.AES if case.key == "aes" else CKK.GENERIC_SECRET
        denied = key_of(s, kind, AES, ENCRYPT=False, DECRYPT=False, SIGN=False, VERIFY=False)
        only = key_of(s, kind, AES, ALLOWED_MECHANISMS=[CKM.AES_ECB])
        other = key_of(s, CKK.DES3, bytes(range(24)))
        bad += [(dict(key=0), "KEY_HANDLE_INVALID"), (dict(key=driver.key + 10 ** 6), "KEY_HANDLE_INVALID"),
                (dict(key=denied), "KEY_FUNCTION_NOT_PERMITTED"), (dict(key=only), "KEY_FUNCTION_NOT_PERMITTED"),
                (dict(key=other), "KEY_TYPE_INCONSISTENT")]
    for arguments, code in bad:
        assert code_of(lambda: driver.init(**arguments)) == f"CKR_{code}"
        driver.assert_over()


def test_kinds_do_not_disturb_each_other(s):
    """One operation of each kind at once in one session, step by step in turn."""
    drivers = [Driver(s, c) for c in {c.kind: c for c in CASES}.values()]
    outputs = [b""] * len(drivers)
    for d in drivers:
        d.init()
    for at in range(0, 64, 16):
        for i, d in enumerate(drivers):
            outputs[i] += d.update(d.case.data[at:at + 16])
    for d, out in zip(drivers, outputs):
        last = d.final()
        assert not d.case.gives or out + last == d.expected


@every
def test_sessions_do_not_disturb_each_other(driver, token):
    other = token.session()
    driver.init()
    driver.init(other)
    assert driver.single() == driver.expected
    assert driver.single(other) == driver.expected
    driver.init(other)
    other.close()
    driver.assert_over()


@keyed
def test_operation_outlives_its_key(driver):
    """A key destroyed in between still finishes what was begun with it."""
    driver.init()
    driver.s.destroy(driver.key)
    assert driver.single() == driver.expected
    assert code_of(driver.init) == "CKR_KEY_HANDLE_INVALID"


class Model:
    """What the standard says about an operation: idle, begun, or with `given` bytes taken in parts."""

    def __init__(self):
        self.active, self.given = False, None

    def expect(self, step: str) -> str:
        """The code of a step, and what it leads to."""
        if step == "cancel":
            self.active = False
            return "CKR_OK"
        if step == "init":
            if self.active:
                return ACTIVE
            self.active, self.given = True, None
            return "CKR_OK"
        if not self.active:
            return NOT_ACTIVE
        if step.startswith("single") and self.given is not None:
            self.active = False
            return ACTIVE
        if step.endswith("small"):
            return "CKR_BUFFER_TOO_SMALL"
        if step == "update":
            self.given = (self.given or 0) + 16
        elif not step.endswith("ask"):
            self.active = False
        return "CKR_OK"


@giving
def test_random_sequences_of_calls(driver, count):
    """Any order of calls: each code is the model's, and what comes out is right whenever an operation was done."""
    rnd = random.Random(str(driver.case))
    model, out, done = Model(), b"", set()
    has_last = driver.case.update_gives is False or len(driver.expected) > 64  # Final gives something
    steps = ["init"] * 3 + ["cancel", "single", "single ask", "single small"] + ["update"] * 12 + ["final", "final ask"]
    steps += ["final small"] if has_last else []
    whole = driver.case.data
    for _ in range(count(20000)):
        step = rnd.choice(steps)
        given = model.given or 0
        at_end = given >= len(whole)  # only whole data has a known answer
        if step == "update" and at_end or step.startswith("final") and model.active and not at_end:
            continue
        result = b""
        if step == "cancel":
            code = CKR.name(driver.cancel())
        elif step in ("single ask", "single small"):
            room = None if step == "single ask" else Guarded(len(driver.expected) - 1)
            code, _ = driver.raw_single(room and room.memory, room.size if room else 0)
        elif step in ("final ask", "final small"):
            code, _ = driver.raw_final(None if step == "final ask" else Guarded(0).memory, 0)
        else:
            call = {"init": driver.init, "single": driver.single, "final": driver.final,
                    "update": lambda: driver.update(whole[given:given + 16])}[step]
            try:
                result, code = call() or b"", "CKR_OK"
            except CkError as e:
                code = e.name
        was = model.given
        assert code == model.expect(step), (step, was)
        if step == "init" and code == "CKR_OK":
            out = b""
        out += result
        if step in ("single", "final") and code == "CKR_OK":
            assert out == driver.expected
            done.add(step)
    assert done == {"single", "final"}


def test_the_callers_error_queue_stays_empty(s):
    """The program may use the same OpenSSL: what fails in here must not show up there."""
    crypto = ctypes.CDLL("libcrypto.so.3")
    crypto.ERR_peek_error.restype = ctypes.c_ulong
    crypto.ERR_clear_error()
    key, generic = key_of(s, CKK.AES, AES), key_of(s, CKK.GENERIC_SECRET, AES)
    failures = [(s.decrypt, (CKM.AES_CBC_PAD, bytes(16)), key, bytes(32)),
                (s.decrypt, (CKM.AES_GCM, GCM), key, bytes(32)),
                (s.decrypt, CKM.AES_KEY_WRAP, key, bytes(32)), (s.decrypt, CKM.AES_KEY_WRAP_KWP, key, bytes(32)),
                (s.decrypt, CKM.AES_KEY_WRAP_PAD, key, bytes(32)), (s.encrypt, (CKM.AES_CBC, bytes(16)), key, bytes(5)),
                (s.encrypt, (CKM.AES_GCM, struct("CK_GCM_PARAMS", pIv=bytes(200), ulTagBits=128)), key, b"x"),
                (s.verify, CKM.SHA256_HMAC, generic, b"x", bytes(32))]
    for function, *arguments in failures:
        assert code_of(function, *arguments) != "CKR_OK"
        assert crypto.ERR_peek_error() == 0, f"after {arguments[0]}"


# --- login and logout ---

@pytest.mark.parametrize("parts", [False, True], ids=["begun", "after a part"])
@keyed
def test_logout_ends_operations_with_private_keys(driver, token, parts):
    """CKA_PRIVATE: neither after C_Logout nor after the next C_Login does it go on."""
    kind = CKK.AES if driver.case.key == "aes" else CKK.GENERIC_SECRET
    for again in (False, True):
        driver.key = key_of(driver.s, kind, AES, PRIVATE=True)
        driver.init()
        if parts:
            driver.update(driver.case.data[:16])
        driver.s.logout()
        if again:
            driver.s.login(token.pin)
        call = driver.final if parts else driver.single
        assert code_of(call) in ("CKR_USER_NOT_LOGGED_IN", NOT_ACTIVE)
        driver.assert_over()
        if not again:
            driver.s.login(token.pin)


@every
def test_logout_leaves_operations_with_public_keys(driver, token):
    if driver.case.key:
        driver.key = key_of(driver.s, CKK.AES if driver.case.key == "aes" else CKK.GENERIC_SECRET, AES, PRIVATE=False)
    driver.init()
    driver.s.logout()
    assert driver.single() == driver.expected


def rsa_pair(s, **private):
    usage = {CKA.SIGN: True, CKA.DECRYPT: True, CKA.PRIVATE: True}
    return s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024, CKA.VERIFY: True, CKA.ENCRYPT: True},
                           {**usage, **{getattr(CKA, k): v for k, v in private.items()}})


def test_always_authenticate(s, token):
    """Each use of the key wants the PIN once more, between Init and the next call, and for that use only (4.9)."""
    public, private = rsa_pair(s, ALWAYS_AUTHENTICATE=True)
    sealed = s.encrypt(CKM.RSA_PKCS, public, b"hello")

    def again(pin=token.pin):
        s.login(pin, CKU.CONTEXT_SPECIFIC)

    cases = [(("C_SignInit", CKM.SHA256_RSA_PKCS), ("C_Sign", b"data", 4)),
             (("C_DecryptInit", CKM.RSA_PKCS), ("C_Decrypt", sealed, len(sealed)))]
    for init, call in cases:
        for _ in range(2):
            s.init(*init, private)
            assert code_of(s.output, *call) == "CKR_USER_NOT_LOGGED_IN"
            assert code_of(s.output, *call) == NOT_ACTIVE
        s.init(*init, private)
        assert code_of(again, "wrong-pin") == "CKR_PIN_INCORRECT"
        again()
        result = s.output(*call)
        assert code_of(again) == NOT_ACTIVE
    assert result == b"hello"
    # In parts: once for the whole of it.
    s.init("C_SignInit", CKM.SHA256_RSA_PKCS, private)
    again()
    s.call("C_SignUpdate", b"da", 2)
    s.call("C_SignUpdate", b"ta", 2)
    s.verify(CKM.SHA256_RSA_PKCS, public, b"data", s.output("C_SignFinal"))
    # The size may be asked for without using the PIN up.
    s.init("C_SignInit", CKM.SHA256_RSA_PKCS, private)
    again()
    assert len(s.output("C_Sign", b"data", 4)) == 128
    # Verifying and encrypting with the public half is free.
    assert len(s.encrypt(CKM.RSA_PKCS, public, b"x")) == 128


def test_ordinary_keys_want_no_second_pin(s, token):
    _, private = rsa_pair(s, ALWAYS_AUTHENTICATE=False)
    assert code_of(s.login, token.pin, CKU.CONTEXT_SPECIFIC) == NOT_ACTIVE
    s.init("C_SignInit", CKM.SHA256_RSA_PKCS, private)
    assert code_of(s.login, token.pin, CKU.CONTEXT_SPECIFIC) == NOT_ACTIVE
    assert len(s.output("C_Sign", b"data", 4)) == 128


# --- several threads ---

@pytest.mark.threads
def test_threads_with_one_key(token, count):
    """Every thread has a session, all use the same keys, with mechanisms in turn: each gets its own right answer."""
    s = token.session()
    aes, generic = key_of(s, CKK.AES, AES), key_of(s, CKK.GENERIC_SECRET, AES)
    wrong = []

    def work(n: int):
        mine = token.load().open_session(token.slot())
        text = bytes([n]) * 100
        try:
            mechs = [((CKM.AES_CBC_PAD, bytes([n]) * 16), aes),
                     ((CKM.AES_GCM, struct("CK_GCM_PARAMS", pIv=bytes([n]) * 12, ulTagBits=128)), aes)]
            sealed = [mine.encrypt(m, k, text) for m, k in mechs]
            mac = mine.sign(CKM.SHA256_HMAC, generic, text)
            for _ in range(count(200)):
                for (m, k), c in zip(mechs, sealed):
                    if mine.encrypt(m, k, text) != c or mine.decrypt(m, k, c) != text:
                        wrong.append(n)
                mine.verify(CKM.SHA256_HMAC, generic, text, mac)
        except CkError as e:
            wrong.append((n, str(e)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    # And with one session after the other the answers are the same as of another implementation.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    assert s.encrypt((CKM.AES_GCM, GCM), aes, TEXT) == AESGCM(AES).encrypt(bytes(12), TEXT, None)


def test_operations_in_a_forked_child(token):
    """A child that calls C_Initialize for itself computes with ciphers and hashes of its own."""
    parent = token.session()
    key = key_of(parent, CKK.AES, AES)
    sealed = parent.encrypt((CKM.AES_GCM, GCM), key, TEXT)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            token.loaded.initialize()
            child = token.session()
            key = key_of(child, CKK.AES, AES)
            right = child.encrypt((CKM.AES_GCM, GCM), key, TEXT) == sealed
            right = right and child.digest(CKM.SHA256, TEXT) == hashlib.sha256(TEXT).digest()
            token.loaded.finalize()
            status = 0 if right else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert parent.encrypt((CKM.AES_GCM, GCM), key, TEXT) == sealed
