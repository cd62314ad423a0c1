"""Searching: what C_FindObjectsInit finds, in every order and with every template that NSS uses."""
import ctypes
import hashlib

import pytest

from cryptoki import CKA, CKC, CKK, CKO, CKR, CKU, struct
from token_kinds import KINDS

SERIAL, ISSUER, SUBJECT = b"\2\1\x07", b"the issuer", b"the subject"
SHA1, SHA256 = hashlib.sha1(b"certificate").digest(), hashlib.sha256(b"certificate").digest()
CERTIFICATE = {CKA.CLASS: CKO.CERTIFICATE, CKA.CERTIFICATE_TYPE: CKC.X_509, CKA.VALUE: b"certificate", CKA.ID: b"key 1",
               CKA.LABEL: "nick", CKA.ISSUER: ISSUER, CKA.SERIAL_NUMBER: SERIAL, CKA.SUBJECT: SUBJECT}
RSA = KINDS["RSA public"].template[CKA.MODULUS]
POINT = KINDS["EC public"].template[CKA.EC_POINT]
OBJECTS = {
    "certificate": CERTIFICATE,
    "same issuer": {**CERTIFICATE, CKA.SERIAL_NUMBER: b"\2\1\x08", CKA.VALUE: b"second", CKA.ID: b"key 2",
                    CKA.LABEL: "nick 2", CKA.SUBJECT: b"somebody"},
    "same serial": {**CERTIFICATE, CKA.ISSUER: b"another issuer", CKA.VALUE: b"third", CKA.ID: b"key 3"},
    "private": {**KINDS["RSA private"].template, CKA.ID: b"key 1", CKA.LABEL: "nick"},
    "public": {**KINDS["RSA public"].template, CKA.ID: b"key 1", CKA.LABEL: "nick"},
    "ec public": {**KINDS["EC public"].template, CKA.ID: b"key 2"},
    "secret": {**KINDS["AES"].template, CKA.ID: b"key 1", CKA.LABEL: "secret", CKA.SENSITIVE: True},
    "plain": {**KINDS["AES"].template, CKA.ID: b"key 4", CKA.VALUE: b"0123456789abcdef"},
    "trust": {CKA.CLASS: CKO.NSS_TRUST, CKA.ISSUER: ISSUER, CKA.SERIAL_NUMBER: SERIAL, CKA.NSS_CERT_SHA1_HASH: SHA1},
    "trust 3.2": {CKA.CLASS: CKO.TRUST, CKA.ISSUER: ISSUER, CKA.SERIAL_NUMBER: SERIAL, CKA.HASH_OF_CERTIFICATE: SHA256},
    "crl": {CKA.CLASS: CKO.NSS_CRL, CKA.SUBJECT: SUBJECT, CKA.VALUE: b"crl"},
    "mail": {CKA.CLASS: CKO.NSS_SMIME, CKA.SUBJECT: SUBJECT, CKA.NSS_EMAIL: "a@example.net"},
    "data": {CKA.CLASS: CKO.DATA, CKA.LABEL: "nick", CKA.VALUE: b"certificate", CKA.APPLICATION: "app"},
    "hidden data": {CKA.CLASS: CKO.DATA, CKA.LABEL: "hidden", CKA.PRIVATE: True, CKA.VALUE: b"something"},
}

# what is asked: what is found
SEARCHES = [
    # NSS's, counted in a day of its tools
    ({CKA.CLASS: CKO.NSS_TRUST, CKA.ISSUER: ISSUER, CKA.SERIAL_NUMBER: SERIAL}, ["trust"]),
    ({CKA.CLASS: CKO.PRIVATE_KEY, CKA.ID: b"key 1"}, ["private"]),
    ({CKA.CLASS: CKO.PUBLIC_KEY, CKA.ID: b"key 1"}, ["public"]),
    ({CKA.CLASS: CKO.PROFILE}, []),
    ({CKA.CLASS: CKO.NSS_BUILTIN_ROOT_LIST}, []),
    ({CKA.CLASS: CKO.CERTIFICATE, CKA.ISSUER: ISSUER, CKA.SERIAL_NUMBER: SERIAL}, ["certificate"]),
    ({CKA.CLASS: CKO.CERTIFICATE, CKA.ID: b"key 1"}, ["certificate"]),
    ({CKA.CLASS: CKO.CERTIFICATE, CKA.LABEL: "nick"}, ["certificate", "same serial"]),
    ({CKA.CLASS: CKO.CERTIFICATE, CKA.LABEL: "nick\0"}, []),
    ({CKA.CLASS: CKO.CERTIFICATE, CKA.SUBJECT: SUBJECT}, ["certificate", "same serial"]),
    ({CKA.CLASS: CKO.NSS_TRUST, CKA.NSS_CERT_SHA1_HASH: SHA1}, ["trust"]),
    ({CKA.CLASS: CKO.CERTIFICATE, CKA.VALUE: b"certificate"}, ["certificate"]),
    ({CKA.CLASS: CKO.NSS_CRL, CKA.SUBJECT: SUBJECT}, ["crl"]),
    ({CKA.CLASS: CKO.NSS_SMIME, CKA.SUBJECT: SUBJECT, CKA.NSS_EMAIL: "a@example.net"}, ["mail"]),
    ({CKA.CLASS: CKO.PRIVATE_KEY}, ["private"]),
    ({CKA.CLASS: CKO.SECRET_KEY}, ["secret", "plain"]),
    # other tokens' and tools'
    ({CKA.CLASS: CKO.TRUST, CKA.HASH_OF_CERTIFICATE: SHA256}, ["trust 3.2"]),
    ({CKA.CLASS: CKO.TRUST, CKA.ISSUER: ISSUER, CKA.SERIAL_NUMBER: SERIAL}, ["trust 3.2"]),
    ({CKA.CLASS: CKO.PUBLIC_KEY, CKA.MODULUS: RSA}, ["public"]),
    ({CKA.MODULUS: RSA}, ["private", "public"]),
    ({CKA.CLASS: CKO.PUBLIC_KEY, CKA.EC_POINT: POINT}, ["ec public"]),
    ({CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.EC}, ["ec public"]),
    ({CKA.ID: b"key 1"}, ["certificate", "private", "public", "secret"]),
    ({CKA.ID: b"key 1", CKA.LABEL: "nick"}, ["certificate", "private", "public"]),
    ({CKA.LABEL: "nick"}, ["certificate", "same serial", "private", "public", "data"]),
    ({CKA.ISSUER: ISSUER}, ["certificate", "same issuer", "trust", "trust 3.2"]),
    ({CKA.ISSUER: ISSUER, CKA.SERIAL_NUMBER: SERIAL}, ["certificate", "trust", "trust 3.2"]),
    ({CKA.ISSUER: SERIAL, CKA.SERIAL_NUMBER: ISSUER}, []),
    ({CKA.VALUE: b"certificate"}, ["certificate", "data"]),
    ({CKA.CLASS: CKO.DATA, CKA.APPLICATION: "app"}, ["data"]),
    ({CKA.APPLICATION: "app", CKA.LABEL: "nick"}, ["data"]),
    ({CKA.PRIVATE: True, CKA.CLASS: CKO.DATA}, ["hidden data"]),
    ({CKA.LABEL: "hidden", CKA.CLASS: CKO.DATA, CKA.PRIVATE: True}, ["hidden data"]),
    ({CKA.LABEL: "hidden", CKA.CLASS: CKO.DATA, CKA.PRIVATE: False}, []),
    ({CKA.SIGN: True, CKA.KEY_TYPE: CKK.RSA}, ["private"]),
    ({CKA.LABEL: "", CKA.CLASS: CKO.SECRET_KEY}, ["plain"]),
    # secret values: only what may be read is found
    ({CKA.VALUE: KINDS["AES"].template[CKA.VALUE]}, []),
    ({CKA.VALUE: b"0123456789abcdef"}, ["plain"]),
    ({CKA.CLASS: CKO.SECRET_KEY, CKA.VALUE: b"0123456789abcdef"}, ["plain"]),
    ({CKA.CLASS: CKO.PRIVATE_KEY, CKA.PRIME_1: KINDS["RSA private"].template[CKA.PRIME_1]}, []),
    # nonsense finds nothing and is no error
    ({CKA.CLASS: 0x1234}, []), ({0x7777: b"x"}, []), ({CKA.CLASS: CKO.DATA, CKA.MODULUS: b"x"}, []),
    ({CKA.LABEL: b"n"}, []), ({CKA.CLASS: b"\1"}, []), ({CKA.TOKEN: b"\2"}, []), ({CKA.TOKEN: b"12"}, []),
    ({CKA.ID: b""}, []),
    ({}, list(OBJECTS)),
]


def make(session, where: bool) -> dict:
    return {name: session.create({**wanted, CKA.TOKEN: where}) for name, wanted in OBJECTS.items()}


@pytest.mark.parametrize("where", (False, True), ids=("session", "token"))
def test_every_search_finds_exactly_what_matches(where, token):
    """In the order in which the objects were made, with and without CKA_TOKEN."""
    s = token.session()
    names = {handle: name for name, handle in make(s, where).items()}
    for wanted, expected in SEARCHES:
        assert [names[h] for h in s.find(wanted)] == expected, wanted
        if CKA.TOKEN not in wanted:
            assert [names[h] for h in s.find({**wanted, CKA.TOKEN: where})] == expected, wanted
            assert s.find({**wanted, CKA.TOKEN: not where}) == [], wanted


def test_searches_by_another_process_agree(token):
    """What was written is found by its tags alone: everything is forgotten in between."""
    make(token.session(), True)
    token.finalize()
    s = token.session()
    for wanted, expected in SEARCHES:
        assert len(s.find(wanted)) == len(expected), wanted


def test_both_kinds_of_objects_are_found_together(token):
    s = token.session()
    on_token, in_session = make(s, True), make(s, False)
    for name, wanted in OBJECTS.items():
        if CKA.LABEL in wanted:
            found = s.find({k: wanted[k] for k in (CKA.CLASS, CKA.LABEL)})
            assert on_token[name] in found and in_session[name] in found
            assert len(found) == len(set(found))


def test_without_a_login_only_public_objects_are_found(token):
    """And no error: NSS asks for the PIN only if the search worked (NSS-FIND-06)."""
    s = token.session()
    names = {handle: name for name, handle in make(s, True).items()}
    s.logout()
    hidden = {"private", "secret", "plain", "hidden data"}
    for wanted, expected in SEARCHES:
        assert [names[h] for h in s.find(wanted)] == [n for n in expected if n not in hidden], wanted
    s.login(token.so_pin, CKU.SO)
    assert set(names[h] for h in s.find()) == set(OBJECTS) - hidden


def test_each_object_is_found_by_its_unique_id(token):
    s = token.session()
    for where in (True, False):
        for handle in make(s, where).values():
            assert s.find({CKA.UNIQUE_ID: s.get(handle, CKA.UNIQUE_ID)}) == [handle]


def test_an_object_is_found_by_its_new_values(token):
    """And not by the old ones, for every attribute that has an index and can be changed."""
    s = token.session()
    for where in (False, True):
        obj = s.create({**CERTIFICATE, CKA.TOKEN: where})
        s.set(obj, {CKA.LABEL: "new", CKA.ID: b"new", CKA.ISSUER: b"new issuer"})
        for a, old, new in ((CKA.LABEL, "nick", "new"), (CKA.ID, b"key 1", b"new"),
                            (CKA.ISSUER, ISSUER, b"new issuer")):
            assert s.find({a: old, CKA.TOKEN: where}) == [] and s.find({a: new, CKA.TOKEN: where}) == [obj]
        assert s.find({CKA.ISSUER: b"new issuer", CKA.SERIAL_NUMBER: SERIAL, CKA.TOKEN: where}) == [obj]


# --- the state of a search --------------------------------------------------------------------------------------------

def test_results_come_in_as_many_pieces_as_asked_for(token):
    """Each call fills its array as long as there is something (NSS-FIND-03)."""
    s = token.session()
    handles = [s.create({CKA.CLASS: CKO.DATA}) for _ in range(10)]
    for size in (1, 3, 10, 11):
        assert s.find(at_once=size) == handles
        s.call("C_FindObjectsInit", None, 0)
        batch, count, got = (ctypes.c_ulong * size)(), ctypes.c_ulong(), []
        while True:
            s.call("C_FindObjects", batch, size, ctypes.byref(count))
            got.append(count.value)
            if not count.value:
                break
        s.call("C_FindObjectsFinal")
        assert got == [size] * (10 // size) + ([10 % size] if 10 % size else []) + [0]


def test_calls_out_of_turn(token):
    s, raw = token.session(), token.load().raw
    batch, count = (ctypes.c_ulong * 4)(), ctypes.c_ulong()
    assert raw.C_FindObjects(s.handle, batch, 4, ctypes.byref(count)) == CKR.OPERATION_NOT_INITIALIZED
    assert raw.C_FindObjectsFinal(s.handle) == CKR.OPERATION_NOT_INITIALIZED
    assert raw.C_FindObjectsInit(s.handle, None, 0) == CKR.OK
    assert raw.C_FindObjectsInit(s.handle, None, 0) == CKR.OPERATION_ACTIVE
    second = token.session()
    assert second.find() == [], "another session has a search of its own"
    assert raw.C_FindObjects(s.handle, batch, 4, ctypes.byref(count)) == CKR.OK
    assert raw.C_FindObjectsFinal(s.handle) == CKR.OK
    assert raw.C_FindObjectsInit(s.handle, None, 1) == CKR.ARGUMENTS_BAD
    assert raw.C_FindObjectsFinal(s.handle) == CKR.OPERATION_NOT_INITIALIZED
    assert raw.C_FindObjectsInit(s.handle, None, 0) == CKR.OK
    s.close()
    assert second.find() == []


def test_a_search_holds_what_was_there_when_it_began(token):
    s = token.session()
    handles = [s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True}) for _ in range(3)]
    s.call("C_FindObjectsInit", None, 0)
    s.create({CKA.CLASS: CKO.DATA})
    s.destroy(handles[2])
    batch, count = (ctypes.c_ulong * 8)(), ctypes.c_ulong()
    s.call("C_FindObjects", batch, 8, ctypes.byref(count))
    assert list(batch)[:count.value] == handles
    s.call("C_FindObjectsFinal")


def test_one_attribute_asked_for_twice(token):
    """The same value is one condition, two values cannot both be."""
    s = token.session()
    obj = s.create({CKA.CLASS: CKO.DATA, CKA.LABEL: "one"})
    keep = [ctypes.create_string_buffer(text, 3) for text in (b"one", b"one", b"two")]
    entries = (struct("CK_ATTRIBUTE").__class__ * 3)()
    for entry, text in zip(entries, keep):
        entry.type, entry.pValue, entry.ulValueLen = CKA.LABEL, ctypes.addressof(text), 3
    found, count = ctypes.c_ulong(), ctypes.c_ulong()
    for number, expected in ((2, [obj]), (3, [])):
        s.call("C_FindObjectsInit", entries, number)
        s.call("C_FindObjects", ctypes.byref(found), 1, ctypes.byref(count))
        assert [found.value][:count.value] == expected
        s.call("C_FindObjectsFinal")


def test_five_thousand_objects(token, count):
    """Single ones by each index, groups by a label that hundreds share, and all of them."""
    s, number = token.session(), count(5000)
    handles = [s.create({**CERTIFICATE, CKA.TOKEN: True, CKA.LABEL: f"group {i % 10}", CKA.ID: b"id %d" % i,
                         CKA.SERIAL_NUMBER: b"serial %d" % i, CKA.VALUE: b"value %d" % i,
                         CKA.PRIVATE: i % 3 == 0}) for i in range(number)]
    assert s.find({CKA.CLASS: CKO.CERTIFICATE}) == handles
    assert s.find({CKA.CLASS: CKO.CERTIFICATE, CKA.PRIVATE: True}) == handles[::3]
    for i in range(10):
        assert s.find({CKA.LABEL: f"group {i}"}) == handles[i::10]
    for i in range(0, number, 37):
        for wanted in ({CKA.ID: b"id %d" % i}, {CKA.ISSUER: ISSUER, CKA.SERIAL_NUMBER: b"serial %d" % i},
                       {CKA.CLASS: CKO.CERTIFICATE, CKA.VALUE: b"value %d" % i}):
            assert s.find(wanted) == [handles[i]]
    s.logout()
    assert s.find() == [h for i, h in enumerate(handles) if i % 3]


def test_a_damaged_object_does_not_hide_the_others(token):
    """Rows are checked when they are read; what is broken is not found, and reading it by its handle is a device
    error."""
    s = token.session()
    good, bad = (s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.LABEL: "same", CKA.VALUE: text})
                 for text in (b"good" * 50, b"bad!" * 50))
    token.finalize()
    (path,) = [p for p in token.directory.iterdir() if b"bad!" * 50 in p.read_bytes()]
    path.write_bytes(path.read_bytes().replace(b"bad!" * 50, b"BAD!" * 50))
    after = token.session()
    found = after.find({CKA.LABEL: "same"})
    assert [after.get(h, CKA.VALUE) for h in found] == [b"good" * 50]
