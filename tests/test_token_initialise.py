"""Tokens made and made again, the first PIN as NSS sets it, keys that ask for the PIN, and what a logout ends."""
import threading

import pytest

from cryptoki import CKA, CKM, CKO, CKS, CKU, CkError  # noqa: F401
from pin_bench import ALWAYS, PIN, SO_PIN, bench, code  # noqa: F401
from token_record import read_record


# --- initialising ---------------------------------------------------------------------------------------------------

def test_init_token_again(bench):
    """The SO's PIN makes the token new: objects and the user's PIN go, serial and slot stay."""
    b = bench("so-pin-retries=3").make()
    s = b.session()
    s.login(PIN)
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "private", CKA.VALUE: b"1"})
    public = s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: False, CKA.LABEL: "public", CKA.VALUE: b"2"})
    assert code(b.m.init_token, b.slot, SO_PIN, "Again") == "CKR_SESSION_EXISTS"
    s.close()
    before = read_record(b.directory)
    for pin, expected in (("wrong", "CKR_PIN_INCORRECT"), ("", "CKR_PIN_INCORRECT"), (None, "CKR_ARGUMENTS_BAD")):
        assert code(b.m.init_token, b.slot, pin, "Again") == expected
    assert b.flags() == ALWAYS | {"SO_PIN_COUNT_LOW"}
    b.m.init_token(b.slot, SO_PIN, "Again")
    assert b.flags() == {"LOGIN_REQUIRED", "TOKEN_INITIALIZED"}
    after = read_record(b.directory)
    assert (after.serial, after.slot, after.label.rstrip()) == (before.serial, before.slot, b"Again")
    assert after.epoch > before.epoch and after.so.open(SO_PIN.encode()) != before.so.open(SO_PIN.encode())
    s = b.session()
    assert s.find({}) == [] and code(s.get, public, CKA.LABEL) == "CKR_OBJECT_HANDLE_INVALID"
    assert code(s.login, PIN) == "CKR_USER_PIN_NOT_INITIALIZED"
    s.close()
    assert [code(b.m.init_token, b.slot, "wrong", "Again") for _ in range(4)] == \
        ["CKR_PIN_INCORRECT"] * 2 + ["CKR_PIN_LOCKED"] * 2
    assert code(b.m.init_token, b.slot, SO_PIN, "Again") == "CKR_PIN_LOCKED"


@pytest.mark.parametrize("pin", ["123", "n" * 256])
def test_init_token_with_a_pin_of_a_wrong_length(bench, pin):
    """A blank token stays blank; C_InitToken has CKR_PIN_INCORRECT for it."""
    b = bench()
    assert code(b.m.init_token, b.slot, pin, "Bench") == "CKR_PIN_INCORRECT"
    assert b.flags() == {"LOGIN_REQUIRED"} and not list(b.directory.glob("*") if b.directory.exists() else [])
    b.make()


def test_init_token_elsewhere_ends_a_login(bench):
    """A token made new by another process: here the user is out, their objects are gone, and the new PIN works."""
    b = bench().make()
    s = b.session()
    s.login(PIN)
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "old", CKA.VALUE: b"1"})
    with b.peer() as peer:
        peer(f"m.init_token({b.slot}, {SO_PIN!r}, 'New')")
        peer(f"s = m.open_session({b.slot})")
        peer(f"s.login({SO_PIN!r}, CKU.SO)")
        peer("s.init_pin('other')")
        peer("s.logout()")
        peer("s.login('other')")
        peer("s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: 'new', CKA.VALUE: b'2'})")
        assert code(s.create, {CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "lost"}) in (
            "CKR_DEVICE_REMOVED", "CKR_USER_NOT_LOGGED_IN")
        assert b.m.token_info(b.slot)["label"] == "New"
        assert s.info()["state"] == CKS.RW_PUBLIC_SESSION
        assert s.find({}) == []
        assert code(s.login, PIN) == "CKR_PIN_INCORRECT"
        s.login("other")
        assert s.get(s.find_one({CKA.LABEL: "new"}), CKA.VALUE) == b"2" and len(s.find({})) == 1


# --- the first PIN as NSS sets it -----------------------------------------------------------------------------------

def test_first_pin_as_nss_sets_it(bench):
    """pk11auth.c, PK11_InitPin: the default R/O session is open; SO login with an empty PIN in a R/W session,
    C_InitPIN, C_Logout, login of the user in the R/O session."""
    b = bench().make(pin=None, so_pin="")
    assert b.flags() == {"LOGIN_REQUIRED", "TOKEN_INITIALIZED"}
    ro, rw = b.session(False), b.session(True)
    assert code(rw.login, PIN) == "CKR_USER_PIN_NOT_INITIALIZED"
    assert code(rw.login, "guess", CKU.SO) == "CKR_PIN_INCORRECT"
    rw.login("", CKU.SO)
    assert (ro.info()["state"], rw.info()["state"]) == (CKS.RO_PUBLIC_SESSION, CKS.RW_SO_FUNCTIONS)
    assert code(ro.init_pin, PIN) == "CKR_USER_NOT_LOGGED_IN"
    rw.init_pin(PIN)
    rw.init_pin(PIN + "2")  # the SO, still logged in, thinks again
    rw.logout()
    rw.close()
    assert b.flags() == ALWAYS | {"SO_PIN_LOCKED"}
    ro.login(PIN + "2")
    assert ro.info()["state"] == CKS.RO_USER_FUNCTIONS
    record = read_record(b.directory)
    assert not record.so.is_set and record.so.wrapped == bytes(60) and record.user.usable_master
    s = b.session()
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "x", CKA.VALUE: b"first"})
    s.logout()
    ro.close()
    for pin in ("", "guess", PIN):
        assert code(s.login, pin, CKU.SO) == "CKR_PIN_LOCKED"
    s.close()
    assert code(b.m.init_token, b.slot, "", "Again") == "CKR_PIN_LOCKED"
    s = b.session()
    s.login(PIN + "2")
    assert s.get(s.find_one({CKA.LABEL: "x"}), CKA.VALUE) == b"first"


def test_empty_so_pin_only_where_it_was_made(bench):
    """No token with a real SO PIN opens to an empty one, and none goes back to it."""
    b = bench().make()
    s = b.session()
    assert code(s.login, "", CKU.SO) == "CKR_PIN_INCORRECT"
    s.login(SO_PIN, CKU.SO)
    assert code(s.set_pin, SO_PIN, "") == "CKR_PIN_LEN_RANGE"
    assert code(s.set_pin, "", "other pin") == "CKR_PIN_INCORRECT"


def test_empty_so_pin_becomes_a_real_one(bench):
    """The SO may set a PIN before there is a user's; the key that the empty PIN led to is not used."""
    b = bench().make(pin=None, so_pin="")
    known_to_all = read_record(b.directory).so.open(b"")
    s = b.session()
    s.login("", CKU.SO)
    s.set_pin("", SO_PIN)
    s.init_pin(PIN)
    s.logout()
    assert code(s.login, "", CKU.SO) == "CKR_PIN_INCORRECT"
    record = read_record(b.directory)
    master = record.so.open(SO_PIN.encode())
    assert master == record.user.open(PIN.encode()) != known_to_all and record.so.usable_master
    s.login(SO_PIN, CKU.SO)
    s.init_pin("another")
    assert read_record(b.directory).user.open(b"another") == master


def test_first_pin_is_set_once(bench):
    """Two processes at the same blank token: the second cannot put another key over the first one's."""
    b = bench().make(pin=None, so_pin="")
    s = b.session()
    s.login("", CKU.SO)
    with b.peer() as peer:
        peer(f"s = m.open_session({b.slot})")
        peer("s.login('', CKU.SO)")
        s.init_pin(PIN)
        assert peer.code("s.init_pin('other')") == "CKR_USER_NOT_LOGGED_IN"
        assert peer.code("s.set_pin('', 'other')") == "CKR_PIN_LOCKED"
    s.logout()
    s.login(PIN)


def test_empty_so_token_made_again(bench):
    """Before the first user PIN, such a token can be initialised again with the empty PIN."""
    b = bench().make(pin=None, so_pin="")
    assert code(b.m.init_token, b.slot, SO_PIN, "Again") == "CKR_PIN_INCORRECT"
    b.m.init_token(b.slot, "", "Again")
    s = b.session()
    s.login("", CKU.SO)
    s.init_pin(PIN)


# --- keys that ask for the PIN every time ---------------------------------------------------------------------------

@pytest.fixture
def asking(bench):
    """A token with a key of CKA_ALWAYS_AUTHENTICATE, and the user logged in: (bench, session, key)."""
    b = bench("pin-retries=3").make()
    s = b.session()
    s.login(PIN)
    _, key = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")},
                             {CKA.TOKEN: True, CKA.PRIVATE: True, CKA.SIGN: True, CKA.ALWAYS_AUTHENTICATE: True})
    return b, s, key


def test_context_login(asking):
    """Every use asks for the PIN; a login for one is spent with it (NSS-LOGIN-14 to 16)."""
    b, s, key = asking
    digest = bytes(32)
    assert code(s.login, PIN, CKU.CONTEXT_SPECIFIC) == "CKR_OPERATION_NOT_INITIALIZED"
    assert code(s.sign, CKM.ECDSA, key, digest) == "CKR_USER_NOT_LOGGED_IN"
    for _ in range(2):
        s.init("C_SignInit", CKM.ECDSA, key)
        assert code(b.session().login, PIN, CKU.CONTEXT_SPECIFIC) == "CKR_OPERATION_NOT_INITIALIZED"
        assert code(s.login, "wrong", CKU.CONTEXT_SPECIFIC) == "CKR_PIN_INCORRECT"
        assert s.info()["state"] == CKS.RW_USER_FUNCTIONS
        s.login(PIN, CKU.CONTEXT_SPECIFIC)
        assert code(s.login, PIN, CKU.CONTEXT_SPECIFIC) == "CKR_OPERATION_NOT_INITIALIZED"
        b.m.token_info(b.slot), b.session(False).info(), s.get(key, CKA.ALWAYS_AUTHENTICATE)
        assert len(s.output("C_Sign", digest, len(digest))) == 64
        assert b.flags() == ALWAYS
    s.init("C_SignInit", CKM.ECDSA, key)
    assert s.info()["state"] == CKS.RW_USER_FUNCTIONS
    assert code(s.output, "C_Sign", digest, len(digest)) == "CKR_USER_NOT_LOGGED_IN"


def test_context_login_may_lock(asking):
    """Guesses at a context login count, and the last one logs the user out (PKCS #11 3.2, 4.10)."""
    b, s, key = asking
    other = b.session()
    s.init("C_SignInit", CKM.ECDSA, key)
    answers = [code(s.login, "wrong", CKU.CONTEXT_SPECIFIC) for _ in range(3)]
    assert answers == ["CKR_PIN_INCORRECT"] * 2 + ["CKR_PIN_LOCKED"]
    assert other.info()["state"] == s.info()["state"] == CKS.RW_PUBLIC_SESSION
    assert code(s.output, "C_Sign", bytes(32), 32) == "CKR_OPERATION_NOT_INITIALIZED"
    assert code(other.login, PIN) == "CKR_PIN_LOCKED"


def test_logout_ends_private_operations(bench):
    """C_Sign does not work after C_Logout (softhsm/SoftHSMv2#900), not even after another login; a digest goes on."""
    b = bench().make()
    s, other = b.session(), b.session()
    s.login(PIN)
    _, key = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")},
                             {CKA.PRIVATE: True, CKA.SIGN: True})
    s.init("C_SignInit", CKM.ECDSA, key)
    other.init("C_DigestInit", CKM.SHA256)
    other.logout()
    other.login(PIN)
    assert code(s.output, "C_Sign", bytes(32), 32) == "CKR_OPERATION_NOT_INITIALIZED"
    assert code(s.sign, CKM.ECDSA, key, bytes(32)) == "CKR_KEY_HANDLE_INVALID"
    assert other.output("C_Digest", b"abc", 3).hex().startswith("ba7816bf8f01cfea")


@pytest.mark.threads
def test_logins_come_and_go(bench, count):
    """While one thread logs in and out, others make, read, find and sign with private objects: each call works, or says
    that nobody is logged in or that its object or operation went with the login; nothing is damaged."""
    b = bench().make()
    master = b.session()
    master.login(PIN)
    master.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.LABEL: "one", CKA.VALUE: b"here"})
    stop, seen = threading.Event(), []

    def work():
        s = b.session()
        while not stop.is_set():
            for step in (lambda: s.get(s.find({CKA.LABEL: "one"})[0], CKA.VALUE),
                         lambda: s.create({CKA.CLASS: CKO.DATA, CKA.PRIVATE: True, CKA.LABEL: "two"}),
                         lambda: s.destroy(s.find({CKA.LABEL: "two"})[0]), lambda: b.m.token_info(b.slot)):
                try:
                    step()
                except IndexError:
                    seen.append("nothing found")
                except CkError as e:
                    seen.append(e.name)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for _ in range(count(300)):
        master.logout()
        master.login(PIN)
    stop.set()
    for t in threads:
        t.join()
    assert set(seen) <= {"nothing found", "CKR_USER_NOT_LOGGED_IN", "CKR_OBJECT_HANDLE_INVALID"}
    assert master.get(master.find_one({CKA.LABEL: "one"}), CKA.VALUE) == b"here"
