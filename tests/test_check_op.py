"""Operations of sessions, told call by call: what every answer makes of them, and the rules that look at them."""
import pytest

from check_story import ARGUMENTS_BAD, BUFFER_TOO_SMALL, GENERAL_ERROR, LOGIN_REQUIRED, OK, SLOT
from story_calls import Calls
from test_check_guards import checked, found

E, W, I = "error", "warning", "info"
MODULE, CALLER = "module", "caller"
ACTIVE, NOT_INITIALIZED, CANCEL_FAILED, NOT_SUPPORTED, NOT_LOGGED_IN = 0x90, 0x91, 0x202, 0x54, 0x101
SESSION_COUNT, KEY_INVALID, DATA_LEN, SIGNATURE_INVALID, SIGNATURE_LEN = 0xB1, 0x60, 0x21, 0xC0, 0xC1
SAVED_STATE_INVALID, STATE_UNSAVEABLE, FUNCTION_FAILED, NO_RNG = 0x160, 0x180, 6, 0x121
RSA, ECDSA, SHA256 = 1, 0x1041, 0x250
CKF_ENCRYPT, CKF_DIGEST, CKF_SIGN, CKF_RNG = 0x100, 0x400, 0x800, 1
CKA_MODULUS, CKA_EC_PARAMS, CKA_CLASS, CKA_ID = 0x120, 0x180, 0, 0x102
P256 = bytes.fromhex("06082a8648ce3d030107")

SHARED = [("NSS-SESS-05", E, CALLER)]
OP_01 = [("P11-OP-01", E, MODULE)]
OP_01_CALLER = ("P11-OP-01", W, CALLER)
OP_02, OP_02_W = [("P11-OP-02", E, MODULE)], [("P11-OP-02", W, MODULE)]
OP_03, OP_04, OP_05 = ([(f"P11-OP-0{i}", E, MODULE)] for i in (3, 4, 5))
OP_07, OP_08 = ([(f"NSS-OP-0{i}", E, MODULE)] for i in (7, 8))
OP_09, OP_10 = [("P11-OP-09", E, MODULE)], [("P11-OP-10", W, MODULE)]


def told(*steps, sessions=(1, 2)):
    """Each step is (function, answer, parameters) of session 1, or a function of the story."""
    t = Calls().start(*sessions)
    for step in steps:
        if callable(step):
            step(t)
        else:
            name, rv, *more = step
            t.do(f"C_{name}", 1, rv=rv, **(more[0] if more else {}))
    return t


def sign(*then, init={}):
    return lambda: told(("SignInit", OK, init), *then)


QUERY = dict(pSignature=None, pulSignatureLen=(0, 64))
DIGEST_QUERY = dict(pDigest=None, pulDigestLen=(0, 32))
SHORT = dict(pulSignatureLen=(20, 64))
AGAIN = ("SignInit", ACTIVE)  # wrong whenever nothing is active
CANCEL = dict(pMechanism=None)


def amid(first, other, finish_first=False):
    """Two calls of session 1 that overlap, in two threads: each (function, answer)."""
    def step(t):
        a = t.start_of(f"C_{first[0]}", 1, rv=first[1])
        b = t.start_of(f"C_{other[0]}", 1, rv=other[1], tid=200)
        for call in (a, b) if finish_first else (b, a):
            t.finish(call)
    return step


def logs(what, **more):
    return lambda t: t.call(what, 2, **more)


def login_around(t):
    """The login of another session is under way while the signature begins."""
    login = t.begin("login", 2, tid=200)
    t.do("C_SignInit", 1)
    t.finish(login)


STATES = {
    # Whole and Final end it
    "sign, active": (sign(("Sign", OK), AGAIN), OP_02),
    "sign, again": (sign(("Sign", OK), ("SignInit", OK)), []),
    "sign fails, active": (sign(("Sign", DATA_LEN), AGAIN), OP_02),
    "update fails, active": (sign(("SignUpdate", DATA_LEN), AGAIN), OP_02),
    "update, active": (sign(("SignUpdate", OK), AGAIN), []),
    "update, final, active": (sign(("SignUpdate", OK), ("SignFinal", OK), AGAIN), OP_02),
    "query, active": (sign(("Sign", OK, QUERY), AGAIN), []),
    "too small, active": (sign(("Sign", BUFFER_TOO_SMALL, SHORT), AGAIN), []),
    "bad arguments, active": (sign(("Sign", ARGUMENTS_BAD), AGAIN), []),
    "another kind is active": (sign(("DigestInit", ACTIVE)), []),
    "a search is active": (lambda: told(("FindObjectsInit", OK), AGAIN), []),
    "a search failed": (lambda: told(("FindObjectsInit", OK), ("FindObjects", GENERAL_ERROR), AGAIN), []),
    "a search is over": (
        lambda: told(("FindObjectsInit", OK), ("FindObjects", OK), ("FindObjectsFinal", OK), AGAIN), OP_02),
    "nothing was begun": (lambda: told(AGAIN), OP_02),
    "an Init failed": (lambda: told(("SignInit", KEY_INVALID), AGAIN), OP_02),
    "an Init failed amid another": (sign(("SignInit", KEY_INVALID), AGAIN), []),
    "one leak is told once": (lambda: told(AGAIN, AGAIN, AGAIN), OP_02),
    "after a leak the next call ends it": (lambda: told(AGAIN, ("SignFinal", OK)), OP_02),
    "verify too small, active": (
        lambda: told(("VerifyInit", OK), ("Verify", BUFFER_TOO_SMALL), ("VerifyInit", ACTIVE)),
        [*OP_02, *OP_10]),
    # replaced, or survived
    "begun twice": (sign(("SignInit", OK)), OP_02_W),
    "begun twice, a login between": (sign(logs("login"), ("SignInit", OK)), []),
    "goes on after an error": (sign(("SignUpdate", DATA_LEN), ("SignUpdate", OK)), [*OP_02_W, OP_01_CALLER]),
    "ends after an error": (sign(("SignUpdate", DATA_LEN), ("SignFinal", OK)), OP_02_W),
    # whose order is not known
    "active, by two threads": (sign(amid(("Sign", OK), AGAIN, True)), SHARED),
    "begun twice, by two threads": (lambda: told(amid(("SignInit", OK), ("SignInit", OK), True)), SHARED),
    "goes on after an error, by two threads": (
        sign(amid(("SignUpdate", DATA_LEN), ("SignUpdate", OK), True)), SHARED),
    # cancels
    "cancelled": (sign(("SignInit", OK, CANCEL), AGAIN), OP_02),
    "cancelled, begun again": (sign(("SignInit", OK, CANCEL), ("SignInit", OK)), []),
    "cancelled when there is nothing": (lambda: told(("SignInit", NOT_INITIALIZED, CANCEL), ("SignInit", OK)), []),
    "cancel is refused": (sign(("SignInit", CANCEL_FAILED, CANCEL), AGAIN), []),
    "cancel is refused, begun again": (sign(("SignInit", CANCEL_FAILED, CANCEL), ("SignInit", OK)), OP_02_W),
    "cancel is not known": (sign(("SignInit", ARGUMENTS_BAD, CANCEL), ("SignInit", OK)), []),
    "session cancel": (sign(("SessionCancel", OK, dict(flags=CKF_SIGN)), AGAIN), OP_02),
    "session cancel of another": (sign(("SessionCancel", OK, dict(flags=CKF_DIGEST)), AGAIN), []),
    "session cancel fails": (sign(("SessionCancel", CANCEL_FAILED, dict(flags=CKF_SIGN)), ("SignInit", OK)), []),
    "session cancel is not there": (
        sign(("SessionCancel", NOT_SUPPORTED, dict(flags=CKF_SIGN)), ("SignInit", OK)), OP_02_W),
    "session cancel of nothing": (sign(("SessionCancel", OK, dict(flags=0)), ("SignInit", OK)), OP_02_W),
    # others
    "state is restored": (lambda: told(("SetOperationState", OK), AGAIN), []),
    "state is not restored": (lambda: told(("SetOperationState", NOT_SUPPORTED), AGAIN), OP_02),
    "logged out": (sign(logs("logout"), ("SignInit", OK)), []),
    "the user was logged in already": (sign(logs("login", rv=0x100), ("SignInit", OK)), OP_02_W),
    "a login is under way": (lambda: told(login_around, ("SignInit", OK)), []),
    "a wrong PIN": (sign(logs("login", rv=0xA0), ("SignInit", OK)), OP_02_W),
    "records are lost": (lambda: told(("Sign", NOT_INITIALIZED), lambda t: t.lose(), AGAIN), [OP_01_CALLER]),
    "another session's": (sign(lambda t: t.do("C_SignInit", 2, rv=ACTIVE)), OP_02),
    "opened again": (
        sign(lambda t: (t.call("close_session", 1), t.open(1)), ("SignInit", OK)), []),
    "closed and opened again amid the call": (
        sign(lambda t: [a := t.start_of("C_Sign", 1), t.call("close_session", 1, tid=200), t.open(1, tid=200),
                        t.finish(a)], ("SignUpdate", OK)), []),
    # dual functions
    "dual": (
        lambda: told(("DigestInit", OK), ("EncryptInit", OK), ("DigestEncryptUpdate", OK), ("DigestInit", ACTIVE)), []),
    "dual without one": (
        lambda: told(("DigestInit", OK), ("DigestEncryptUpdate", OK)), [*OP_01, OP_01_CALLER]),
    "dual fails": (
        lambda: told(("DigestInit", OK), ("EncryptInit", OK), ("DigestEncryptUpdate", DATA_LEN),
                     ("DigestInit", ACTIVE)), []),
    "dual, then whole": (
        lambda: told(("DigestInit", OK), ("EncryptInit", OK), ("DigestEncryptUpdate", OK), ("Digest", ACTIVE)),
        [("P11-OP-01", E, CALLER)]),
    # messages
    "messages go on": (
        lambda: told(("MessageSignInit", OK), ("SignMessage", OK), ("SignMessage", OK), ("MessageSignInit", ACTIVE)),
        []),
    "a message fails, the next does not": (
        lambda: told(("MessageSignInit", OK), ("SignMessage", DATA_LEN), ("SignMessage", OK)), []),
    "messages are over": (
        lambda: told(("MessageSignInit", OK), ("SignMessage", OK), ("MessageSignFinal", OK),
                     ("MessageSignInit", ACTIVE)), OP_02),
    "a message without an operation": (lambda: told(("SignMessage", OK)), [*OP_01, OP_01_CALLER]),
    "a part without a message": (
        lambda: told(("MessageSignInit", OK), ("SignMessageNext", NOT_INITIALIZED), ("SignMessage", OK)), []),
}

OP_01_CASES = {
    "final without": (lambda: told(("SignFinal", NOT_INITIALIZED)), []),
    "final without, general": (lambda: told(("DigestFinal", GENERAL_ERROR)), OP_01),
    "final without, OK": (lambda: told(("DigestFinal", OK)), OP_01),
    "whole without": (lambda: told(("Sign", NOT_INITIALIZED)), [OP_01_CALLER]),
    "whole without, OK": (lambda: told(("Sign", OK)), [*OP_01, OP_01_CALLER]),
    "whole without, no such function": (lambda: told(("Sign", NOT_SUPPORTED)), [OP_01_CALLER]),
    "whole twice": (sign(("Sign", OK), ("Sign", FUNCTION_FAILED)), [*OP_01, OP_01_CALLER]),
    "whole after update": (sign(("SignUpdate", OK), ("Sign", ACTIVE)), [("P11-OP-01", E, CALLER)]),
    "whole after update, OK": (
        sign(("SignUpdate", OK), ("Sign", OK)), [("P11-OP-01", E, CALLER), ("P11-OP-01", W, MODULE)]),
    "opened before the trace": (lambda: late(("Sign", OK)), []),
    "amid an Init": (lambda: told(amid(("SignInit", OK), ("Sign", OK))), [("NSS-SESS-05", E, CALLER)]),
    "the token was pulled": (lambda: told(lambda t: t.call("slot_info", flags=2), ("Sign", GENERAL_ERROR)), []),
}


def late(*steps):
    t = Calls()
    t.call("session_info", 1)
    for name, rv in steps:
        t.do(f"C_{name}", 1, rv=rv)
    return t


def digest(*then):
    return lambda: told(("DigestInit", OK), ("DigestUpdate", OK), *then)


def gives(length, room=1024):
    return dict(pulSignatureLen=(room, length))


LENGTHS = {
    "query": (sign(("Sign", OK, QUERY), ("Sign", OK)), []),
    "query ends it": (sign(("Sign", OK, QUERY), ("Sign", NOT_INITIALIZED)), OP_03),
    "query ends it, final": (digest(("DigestFinal", OK, DIGEST_QUERY), ("DigestFinal", NOT_INITIALIZED)), OP_03),
    "query ends it, context login between": (
        sign(("Sign", OK, QUERY), lambda t: t.call("login", 1, user=2), ("Sign", NOT_INITIALIZED)), OP_03),
    "query ends it, login between": (sign(("Sign", OK, QUERY), logs("login"), ("Sign", NOT_INITIALIZED)), []),
    "query ends it, used by two threads": (
        sign(amid(("Sign", OK), ("Sign", OK), True), ("Sign", NOT_INITIALIZED)), [("NSS-SESS-05", E, CALLER)]),
    "query too small": (sign(("Sign", BUFFER_TOO_SMALL, QUERY)), OP_03),
    "query not logged in": (sign(("Sign", NOT_LOGGED_IN, QUERY)), []),
    "more than announced": (sign(("Sign", OK, QUERY), ("Sign", OK, gives(65))), OP_03),
    "less than announced": (sign(("Sign", OK, QUERY), ("Sign", OK, gives(60))), []),
    "more data than asked for": (sign(("Sign", OK, QUERY), ("Sign", OK, dict(pData=bytes(9), **gives(65)))), []),
    "more than another function": (
        lambda: told(("EncryptInit", OK), ("EncryptUpdate", OK, dict(pEncryptedPart=None, pulEncryptedPartLen=(0, 16))),
                     ("EncryptFinal", OK, dict(pulLastEncryptedPartLen=(99, 32)))), []),
    "announced as nothing": (sign(("Sign", OK, dict(pSignature=None, pulSignatureLen=(0, 0)))), OP_03),
    "the rest is nothing": (
        lambda: told(("EncryptInit", OK), ("EncryptUpdate", OK),
                     ("EncryptFinal", OK, dict(pLastEncryptedPart=None, pulLastEncryptedPartLen=(0, 0))),
                     ("EncryptFinal", NOT_INITIALIZED)), []),
    "too small": (sign(("Sign", BUFFER_TOO_SMALL, SHORT), ("Sign", OK)), []),
    "too small, and not": (sign(("Sign", BUFFER_TOO_SMALL, gives(20, 20))), OP_04),
    "too small, again": (sign(("Sign", BUFFER_TOO_SMALL, SHORT), ("Sign", BUFFER_TOO_SMALL, gives(65, 64))), OP_04),
    "too small, other data": (
        sign(("Sign", BUFFER_TOO_SMALL, SHORT), ("Sign", BUFFER_TOO_SMALL, dict(pData=bytes(9), **gives(65, 64)))), []),
    "too small, with less": (sign(("Sign", BUFFER_TOO_SMALL, SHORT), ("Sign", BUFFER_TOO_SMALL, gives(64, 40))), []),
    "too small ends it": (sign(("Sign", BUFFER_TOO_SMALL, SHORT), ("Sign", NOT_INITIALIZED)), OP_04),
    "too small, wrapping": (lambda: told(("WrapKey", BUFFER_TOO_SMALL, dict(pulWrappedKeyLen=(20, 20)))), OP_04),
    "more than there is room for": (sign(("Sign", OK, gives(65, 64))), OP_05),
    "asked, more than the NULL buffer holds": (sign(("Sign", OK, QUERY)), []),
    "more handles than there is room for": (
        lambda: told(("FindObjectsInit", OK),
                     ("FindObjects", OK, dict(phObject=(1, 2), ulMaxObjectCount=2, pulObjectCount=3))), OP_05),
    "as many handles": (
        lambda: told(("FindObjectsInit", OK),
                     ("FindObjects", OK, dict(phObject=(1, 2), ulMaxObjectCount=2, pulObjectCount=2))), []),
    "more mechanisms than there is room for": (
        lambda: told(lambda t: t.do("C_GetMechanismList", SLOT, pMechanismList=(1, 2), pulCount=(2, 3))), OP_05),
}


def key(modulus=None, curve=None, id=b"id", handle=7, cls=3):
    kind, data = (CKA_MODULUS, modulus) if modulus else (CKA_EC_PARAMS, curve)
    return lambda t: t.call("attributes", 1, handle, (CKA_CLASS, 8, 8, cls), (CKA_ID, 20, len(id), id),
                            *([(kind, 999, len(data), data)] if data else []))


def signed(length, mechanism, *before, first=b"", shape=None, final=False):
    data = (length, 99, shape) if shape is not None else first + bytes(max(0, length - len(first)))
    more = dict(pSignature=data, pulSignatureLen=(1024, length))
    steps = [("SignUpdate", OK), ("SignFinal", OK, more)] if final else [("Sign", OK, more)]
    return lambda: told(*before, ("SignInit", OK, dict(pMechanism=mechanism, hKey=7)), *steps)


def shapes(*each):
    def one(shape):
        yield "SignInit", OK, dict(pMechanism=ECDSA, hKey=7)
        yield "Sign", OK, dict(pSignature=(64, 99, shape), pulSignatureLen=(1024, 64))
    return lambda: told(key(curve=P256), *[step for shape in each for step in one(shape)])


def short_amid_another(t):
    a = t.start_of("C_Sign", 1, pSignature=bytes(255), pulSignatureLen=(1024, 255))
    t.do("C_SeedRandom", 1, tid=200)
    t.finish(a)


DER_70 = b"\x30\x44\x02\x20" + bytes(32) + b"\x02\x20" + bytes(32)
FITS = b"\x30\x3e\x02\x1d" + bytes(29) + b"\x02\x1d" + bytes(29)
SIGNATURES = {
    "rsa": (signed(256, RSA, key(bytes(range(256)))), []),
    "rsa, short": (signed(255, RSA, key(bytes(256))), OP_07),
    "rsa, short, in parts": (signed(255, 0x40, key(bytes(256)), final=True), OP_07),
    "rsa, short, and another thread is in the session": (
        lambda: told(key(bytes(256)), ("SignInit", OK, dict(pMechanism=RSA, hKey=7)), short_amid_another), [
            ("NSS-SESS-05", I, CALLER)]),
    "rsa, modulus with a zero before it": (signed(256, RSA, key(bytes(257))), []),
    "rsa, odd modulus": (signed(257, RSA, key(bytes(257))), []),
    "rsa, modulus not known": (signed(255, RSA, key(None)), []),
    "rsa, key not known": (signed(255, RSA), []),
    "rsa, modulus of the public key": (signed(255, RSA, key(bytes(256), handle=8, cls=2), key()), OP_07),
    "rsa, modulus of another key": (signed(255, RSA, key(bytes(256), handle=8, cls=2, id=b"xy"), key()), []),
    "another mechanism": (signed(255, SHA256, key(bytes(256))), []),
    "ecdsa": (signed(64, ECDSA, key(curve=P256)), []),
    "ecdsa, length": (signed(63, ECDSA, key(curve=P256)), OP_07),
    "ecdsa, DER": (signed(70, ECDSA, key(curve=P256), first=DER_70), OP_07),
    "ecdsa, DER by its shape": (signed(70, ECDSA, key(curve=P256), shape=4), OP_07),
    "ecdsa, DER that was made to fit": (signed(64, ECDSA, key(curve=P256), first=FITS), OP_07),
    "ecdsa, begins like DER": (signed(64, ECDSA, key(curve=P256), first=FITS[:20]), []),
    "ecdsa, one has the shape": (signed(64, ECDSA, key(curve=P256), shape=4), []),
    "ecdsa, two have the shape": (shapes(4, 4), OP_07),
    "ecdsa, the second has the shape": (shapes(0, 4, 4), []),
    "ecdsa, curve not known, DER": (signed(70, ECDSA, key(), first=DER_70), OP_07),
    "ecdsa, curve not known": (signed(70, ECDSA, key()), []),
    "ecdsa, curve not known, raw that looks like DER": (signed(64, ECDSA, key(), first=b"\x30\x3e\x02"), []),
    "ecdsa, another curve": (signed(56, ECDSA, key(curve=b"\x06\x01\x09")), []),
}


def token(flags):
    return lambda t: t.call("token_info", flags=flags | LOGIN_REQUIRED)


def random(size=32, rv=OK, data=None, session=1):
    return lambda t: t.do("C_GenerateRandom", session, rv=rv, ulRandomLen=size,
                          pRandomData=data if data is not None else (size, t.number + 1000, 0))


NSS_ASKS = [("NSS-OP-08", W, MODULE)]
RANDOM = {
    "random": (lambda: told(token(CKF_RNG), random()), []),
    "random needs a login, asked by NSS": (lambda: told(token(CKF_RNG), random(rv=NOT_LOGGED_IN)), NSS_ASKS),
    "random needs a login": (lambda: told(token(CKF_RNG), random(16, NOT_LOGGED_IN)), OP_08),
    "random needs a login, twice": (
        lambda: told(token(CKF_RNG), random(rv=NOT_LOGGED_IN), random(rv=NOT_LOGGED_IN)), OP_08),
    "no random": (lambda: told(token(0), random(rv=NO_RNG)), []),
    "random without the flag": (lambda: told(token(0), random()), [("NSS-OP-08", I, MODULE)]),
    "flags not known": (lambda: told(lambda t: t.call("token_info", slot=6), random(rv=NO_RNG)), []),
    "seed needs a login": (lambda: told(token(CKF_RNG), ("SeedRandom", NOT_LOGGED_IN)), NSS_ASKS),
    "seed is not taken": (lambda: told(token(CKF_RNG), ("SeedRandom", 0x120)), []),
    "digest needs a login": (lambda: told(listed, ("DigestInit", NOT_LOGGED_IN)), OP_08),
    "digest that is not listed": (lambda: told(listed, ("DigestInit", NOT_LOGGED_IN, dict(pMechanism=RSA))), []),
    "digest of a list needs a login later": (
        lambda: told(listed, ("DigestInit", OK), ("Digest", NOT_LOGGED_IN)), OP_08),
    "the token was pulled": (
        lambda: told(token(CKF_RNG), lambda t: t.call("slot_info", flags=2), random(16, NOT_LOGGED_IN)), []),
    "equal bytes": (lambda: told(token(CKF_RNG), random(data=bytes(32))), OP_09),
    "equal bytes by their shape": (lambda: told(token(CKF_RNG), random(data=(32, 5, 1))), OP_09),
    "the same twice": (lambda: told(token(CKF_RNG), random(data=(32, 5, 0)), random(data=(32, 5, 0))), OP_09),
    "the same in two sessions": (
        lambda: told(token(CKF_RNG), random(data=(32, 5, 0)), random(data=(32, 5, 0), session=2)), OP_09),
    "the same after others": (lambda: told(token(CKF_RNG), random(data=(32, 5, 0)), *[random() for _ in range(50)],
                                           random(data=(32, 5, 0))), OP_09),
    "short ones": (lambda: told(token(CKF_RNG), random(8, data=bytes(8)), random(8, data=bytes(8))), []),
    "failed": (lambda: told(random(rv=GENERAL_ERROR), random(rv=GENERAL_ERROR)), []),
}


def listed(t):
    t.do("C_GetMechanismList", SLOT, pMechanismList=(SHA256,), pulCount=(1, 1))


def verify(*then):
    return lambda: told(("VerifyInit", OK), *then)


VERIFY = {
    "valid": (verify(("Verify", OK)), []),
    "invalid": (verify(("Verify", SIGNATURE_INVALID), ("VerifyInit", OK)), []),
    "too long": (verify(("Verify", SIGNATURE_LEN)), []),
    "failed": (verify(("Verify", FUNCTION_FAILED)), OP_10),
    "failed in parts": (verify(("VerifyUpdate", OK), ("VerifyFinal", GENERAL_ERROR)), OP_10),
    "invalid, and goes on": (verify(("Verify", SIGNATURE_INVALID), ("VerifyInit", ACTIVE)), OP_02),
}


def starved(*then, rv=SESSION_COUNT):
    """No second session is to be had, so a digest begins in the first."""
    def refuse(t):
        t.call("open_session", 9, rv=rv)
    return lambda: told(refuse, ("DigestInit", OK), ("DigestUpdate", OK), *then, sessions=(1,))


def state(tag):
    return dict(pOperationState=(80, tag, 0), pulOperationStateLen=(200, 80))


OP_06 = [("NSS-OP-06", E, MODULE)]
RESTORE = {
    "not supported": (starved(("GetOperationState", NOT_SUPPORTED)), OP_06),
    "cannot be saved": (starved(("GetOperationState", STATE_UNSAVEABLE)), OP_06),
    "saved": (starved(("GetOperationState", OK, state(5))), []),
    "nothing to save": (starved(("DigestFinal", OK), ("GetOperationState", NOT_INITIALIZED)), []),
    "sessions are to be had": (lambda: told(("DigestInit", OK), ("GetOperationState", NOT_SUPPORTED)), []),
    "sessions are to be had again": (
        starved(lambda t: (t.open(9), t.do("C_DigestInit", 9), t.do("C_GetOperationState", 9, rv=NOT_SUPPORTED))), []),
    "begun before": (
        lambda: told(("DigestInit", OK), lambda t: t.call("open_session", 9, rv=SESSION_COUNT),
                     ("GetOperationState", NOT_SUPPORTED)), []),
    "restored": (starved(("GetOperationState", OK, state(5)), ("DigestFinal", OK),
                         ("SetOperationState", OK, dict(pOperationState=(80, 5, 0)))), []),
    "its own state is refused": (
        starved(("GetOperationState", OK, state(5)), ("DigestFinal", OK),
                ("SetOperationState", SAVED_STATE_INVALID, dict(pOperationState=(80, 5, 0)))), OP_06),
    "another state is refused": (
        starved(("GetOperationState", OK, state(5)), ("DigestFinal", OK),
                ("SetOperationState", SAVED_STATE_INVALID, dict(pOperationState=(80, 6, 0)))), []),
    "NSS leaves it active": (
        starved(("GetOperationState", OK, state(5)), ("DigestInit", ACTIVE)), [("NSS-OP-06", W, CALLER)]),
    "left active, not saved": (starved(("DigestInit", ACTIVE)), []),
}

CASES = {f"{group}: {name}": case for group, cases in
         dict(state=STATES, without=OP_01_CASES, length=LENGTHS, signature=SIGNATURES, random=RANDOM, verify=VERIFY,
              restore=RESTORE).items() for name, case in cases.items()}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    story, expected = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    result = checked(build, run, *only(), path, status=1 if any(e[1] == E for e in expected) else 0)
    assert found(result) == sorted(expected), [f["sentence"] for f in result["findings"]]
    assert all(f["evidence"] for f in result["findings"])


def only():
    """The rules of these stories: what others say of them is theirs to test."""
    rules = [f"P11-OP-{i:02}" for i in (1, 2, 3, 4, 5, 9, 10)] + ["NSS-OP-06", "NSS-OP-07", "NSS-OP-08", "NSS-SESS-05"]
    return [word for rule in rules for word in ("--rule", rule)]


def test_evidence_tells_what_should_have_ended_it(build, run, tmp_path):
    t = Calls().start(1)
    begun, ended = t.do("C_SignInit", 1), t.do("C_Sign", 1)
    t.do("C_GetOperationState", 1, rv=NOT_INITIALIZED)
    again = t.do("C_DigestInit", 1, rv=ACTIVE)
    (f,) = checked(build, run, "--rule", "P11-OP-02", t.write(tmp_path / "x.p11t"), status=1)["findings"]
    assert [e["call"] for e in f["evidence"]] == [begun, ended, again]
    assert f["sentence"] == "C_DigestInit returns CKR_OPERATION_ACTIVE although C_Sign has ended the operation before"


def test_one_cause_is_one_finding(build, run, tmp_path):
    """A verification that does not end is a leak, and that of a verification."""
    t = told(("VerifyInit", OK), ("Verify", SIGNATURE_INVALID), ("VerifyInit", ACTIVE))
    (f,) = checked(build, run, *only(), t.write(tmp_path / "x.p11t"), status=1)["findings"]
    assert (f["rule"], f["also"]) == ("P11-OP-02", ["P11-OP-10"])
