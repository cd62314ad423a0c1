"""Certificates and keys, told call by call: what no client does on purpose, and what must not be reported."""
import functools
import hashlib
import subprocess
import tempfile
from pathlib import Path

import pytest

from check_story import LOGIN_REQUIRED, OK, PIN_INITIALIZED, RW, SERIAL, TOKEN_INITIALIZED, TYPE_INVALID, UNAVAILABLE
from story_calls import Calls
from test_check_guards import checked, found

E, W, I = "error", "warning", "info"
MODULE, CALLER = "module", "caller"
CLASS, TOKEN, LABEL, VALUE, CERTIFICATE_TYPE, ISSUER = 0, 1, 3, 0x11, 0x80, 0x81
SUBJECT, ID, KEY_TYPE, MODULUS, EC_PARAMS, EC_POINT, SIGN = 0x101, 0x102, 0x100, 0x120, 0x180, 0x181, 0x108
MODIFIABLE = 0x170
CERTIFICATE, PUBLIC_KEY, PRIVATE_KEY = 1, 2, 3
READ_ONLY, SESSION_READ_ONLY, HANDLE_INVALID, SENSITIVE = 0x10, 0xB5, 0x82, 0x11
SUBPRIME, PARAMETER_SET = 0x131, 0x61D
CERT, OTHER_CERT, KEY, PUBLIC, OTHER_KEY = 17, 18, 33, 34, 35  # handles
RSA, DSA, EC, ML_DSA = 0, 1, 3, 0x4A
P256, P521 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06052b81040023")
ED25519 = bytes.fromhex("06032b6570")


@functools.lru_cache(None)
def certificate(name):
    """(DER, point of its key) of a self-signed certificate on a new EC key: of a CA, unless it is called leaf."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-subj", f"/CN={name}", "-addext",
                        f"basicConstraints=critical,CA:{'FALSE' if name == 'leaf' else 'TRUE'}",
                        "-keyout", path / "key", "-out", path / "der", "-outform", "DER"],
                       check=True, capture_output=True)
        der = (path / "der").read_bytes()
        at = der.index(bytes.fromhex("03420004"))
        return der, der[at + 3:at + 3 + 65]


def der(name):
    return certificate(name)[0]


def octets(point):
    return b"\x04" + (bytes([len(point)]) if len(point) < 128 else bytes([0x81, len(point)])) + point


def name_of(common):
    """The DER of /CN=common."""
    text = common.encode()
    inner = bytes.fromhex("0603550403") + b"\x0c" + bytes([len(text)]) + text
    for tag in (0x30, 0x31, 0x30):
        inner = bytes([tag, len(inner)]) + inner
    return inner


class Story(Calls):
    def read(self, object, *attributes, rv=OK, session=1, **more):
        """Each attribute is (type, value): None marks it as not available."""
        def whole(kind, v):
            if v is None:
                return kind, None, UNAVAILABLE, None
            size = 8 if isinstance(v, int) else len(v)
            return kind, size + 9, size, v
        return self.call("attributes", session, object, *(whole(*a) for a in attributes), rv=rv, **more)

    def search(self, template, *handles, max=10, session=1, between=lambda: None):
        self.do("C_FindObjectsInit", session, pTemplate=list(template.items()), ulCount=len(template))
        between()
        self.do("C_FindObjects", session, phObject=handles, ulMaxObjectCount=max, pulObjectCount=len(handles))
        return self.do("C_FindObjectsFinal", session)

    def set(self, object, *attributes, **more):
        return self.do("C_SetAttributeValue", more.pop("session", 1), hObject=object, pTemplate=list(attributes),
                       ulCount=len(attributes), **more)

    def make(self, object, *attributes, **more):
        return self.do("C_CreateObject", 1, pTemplate=list(attributes), ulCount=len(attributes), phObject=object,
                       **more)

    def pair(self, *private):
        return self.do("C_GenerateKeyPair", 1, pMechanism=0x1040, pPublicKeyTemplate=[(TOKEN, 1)],
                       ulPublicKeyAttributeCount=1, pPrivateKeyTemplate=[(TOKEN, 1), *private],
                       ulPrivateKeyAttributeCount=1 + len(private), phPublicKey=PUBLIC, phPrivateKey=KEY)

    # --- what is on the token -------------------------------------------------------------------------------------
    def private_key(self, id, handle=KEY, token=1, **more):
        """Found by a search and read: CKA_ID."""
        if token is not None:
            self.search({CLASS: PRIVATE_KEY, TOKEN: token}, handle)
        self.read(handle, (CLASS, PRIVATE_KEY), (ID, id), **more)

    def public_key(self, id, point, handle=PUBLIC, token=1):
        self.search({CLASS: PUBLIC_KEY, TOKEN: token}, handle)
        self.read(handle, (CLASS, PUBLIC_KEY), (ID, id), (EC_POINT, octets(point)))

    def certificate(self, id, name, handle=CERT, label=b"label", **more):
        self.read(handle, (CLASS, CERTIFICATE), (ID, id), (LABEL, label), (VALUE, der(name)), (SUBJECT, name_of(name)),
                  (ISSUER, name_of(name)), **more)


def told(*steps, sessions=(1, 2), login=True):
    t = Story().start(*sessions, flags=SERIAL | RW)
    if login:
        t.call("login", 1)
    for name, *more in steps:
        if callable(name):
            name(t)
        else:
            options = more.pop() if more and isinstance(more[-1], dict) and name != "search" else {}
            getattr(t, name)(*more, **options)
    return t


def logout(t):
    t.call("logout", 1)


def login(t):
    t.call("login", 1)


def pulled(t):
    t.call("slot_info", flags=2)
    t.call("slot_info")


def point(name):
    return certificate(name)[1]


POINT = point("a")
A, B = b"id a", b"id b"

# --- NSS-CERT-02 ------------------------------------------------------------------------------------------------------


def two_certificates(first, second, *more, ids=(A, B), keys=(A, B), **options):
    """Two certificates of these (name, label), and private keys of these CKA_IDs."""
    return told(*more, *(("private_key", id, KEY + 2 * i) for i, id in enumerate(keys)),
                ("certificate", ids[0], first[0], CERT, first[1]),
                ("certificate", ids[1], second[0], OTHER_CERT, second[1]))


ONE = (("a", b"one"), ("b", b"one"))
CERT_02 = [("NSS-CERT-02", W, MODULE)]

# --- NSS-CERT-03 ------------------------------------------------------------------------------------------------------
CERT_03, CERT_03_W = [("NSS-CERT-03", E, MODULE)], [("NSS-CERT-03", W, MODULE)]
CERT_03_CALLER = [("NSS-CERT-03", W, CALLER)]


def nss_key(name):
    """The CKA_ID that NSS gives a key."""
    return hashlib.sha1(point(name)).digest()


def again_after_logout(t):
    """The same key under a new handle."""
    t.private_key(A)
    logout(t)
    login(t)
    t.private_key(A, OTHER_KEY)


def two_of_one_search(t):
    t.search({CLASS: PRIVATE_KEY, TOKEN: 1}, KEY, OTHER_KEY)
    t.read(KEY, (ID, A))
    t.read(OTHER_KEY, (ID, A))


def session_copy(t):
    t.private_key(A)
    t.do("C_CopyObject", 1, hObject=KEY, pTemplate=[(TOKEN, 0)], ulCount=1, phNewObject=OTHER_KEY)
    t.read(OTHER_KEY, (CLASS, PRIVATE_KEY), (ID, A))


def lonely(name, key_found=(), certificate_found=()):
    """NSS looks for the key of a certificate, and for the certificate of a key."""
    return told(("private_key", A), ("search", {ID: A, CLASS: CERTIFICATE}, *certificate_found),
                ("certificate", B, name), ("search", {ID: B, CLASS: PRIVATE_KEY}, *key_found))


# --- NSS-CERT-04 ------------------------------------------------------------------------------------------------------


def looked_up(*between, by={LABEL: b"label"}, first_login=False, found=()):
    steps = [(login,)] if first_login else []
    return told(*steps, ("search", {CLASS: CERTIFICATE, TOKEN: 1}, CERT), ("certificate", A, "a"), *between,
                ("search", {CLASS: CERTIFICATE, **by}, *found), login=False)


def destroyed(t):
    t.do("C_DestroyObject", 1, hObject=CERT)


def overlapping_destroy(t):
    """Another thread destroys while it is looked for."""
    d = t.start_of("C_DestroyObject", 2, tid=200, hObject=CERT)
    t.search({CLASS: CERTIFICATE, LABEL: b"label"}, between=lambda: t.finish(d))


CERT_04 = [("NSS-CERT-04", E, MODULE)]

# --- NSS-CERT-05, NSS-CERT-06 -----------------------------------------------------------------------------------------
CERTIFICATES = {CLASS: CERTIFICATE, TOKEN: 1}
CERT_05, CERT_06 = [("NSS-CERT-05", W, MODULE)], [("NSS-CERT-06", W, MODULE)]


def seen_later(*between, first=(), later=(CERT,), again=CERTIFICATES):
    return told(("search", CERTIFICATES, *first), *between, ("search", again, *later), login=False)


def stored(t):
    t.make(CERT, (CLASS, CERTIFICATE), (TOKEN, 1), (LABEL, b"x"))


def no_public_key(*between, id=A, key=A, flags=LOGIN_REQUIRED | PIN_INITIALIZED | TOKEN_INITIALIZED):
    return told((lambda t: t.call("token_info", flags=flags),), ("search", {ID: id, CLASS: PUBLIC_KEY}), *between,
                (login,), ("search", {ID: key, CLASS: PRIVATE_KEY}, KEY), login=False)


def pair_made(t):
    login(t)
    t.pair()
    t.set(KEY, (ID, A))
    t.set(PUBLIC, (ID, A))


# --- keys -------------------------------------------------------------------------------------------------------------
KEY_02, KEY_03, KEY_06, KEY_09 = ([(f"NSS-KEY-0{i}", E, MODULE)] for i in (2, 3, 6, 9))
KEY_05 = [("NSS-KEY-05", W, MODULE)]
KEY_01, KEY_01_W = [("NSS-KEY-01", E, MODULE)], [("NSS-KEY-01", W, MODULE)]


def ec_key(params, value):
    return told(("read", PUBLIC, (CLASS, PUBLIC_KEY), (KEY_TYPE, EC), (EC_PARAMS, params), (EC_POINT, value)),
                ("read", PUBLIC, (EC_POINT, value)))


def reads_key(type, *attributes, rv, first=login, token=1):
    template = {CLASS: PRIVATE_KEY} if token is None else {CLASS: PRIVATE_KEY, TOKEN: token}
    return told((first,), ("search", template, KEY), ("read", KEY, (KEY_TYPE, type)),
                ("read", KEY, *attributes, dict(rv=rv)), login=False)


def nothing(t):
    pass


CASES = {
    "cert 02": (lambda: two_certificates(*ONE), CERT_02),
    "cert 02: of one subject": (lambda: two_certificates(("a", b"one"), ("a", b"one")), []),
    "cert 02: two labels of one subject": (
        lambda: two_certificates(("a", b"one"), ("a", b"two")), [("NSS-CERT-02", I, MODULE)]),
    "cert 02: the second is a CA's": (lambda: two_certificates(*ONE, keys=(A,)), []),
    "cert 02: the key is found later": (
        lambda: told(("private_key", A), ("certificate", A, "a", CERT, b"one"),
                     ("certificate", B, "b", OTHER_CERT, b"one"),
                     ("search", {ID: B, CLASS: PRIVATE_KEY}, OTHER_KEY)), CERT_02),

    "cert 03: another key's": (
        lambda: told(("public_key", B, POINT), ("certificate", A, "a")), CERT_03),
    "cert 03: equal": (lambda: told(("public_key", A, POINT), ("certificate", A, "a")), []),
    "cert 03: a key of the session": (lambda: told(("public_key", B, POINT, PUBLIC, 0), ("certificate", A, "a")), []),
    "cert 03: the certificate has none": (lambda: told(("public_key", B, POINT), ("certificate", b"", "a")), CERT_03),
    "cert 03: the key is read later": (lambda: told(("certificate", A, "a"), ("public_key", B, POINT)), CERT_03),
    "cert 03: NSS's CKA_ID": (lambda: told(("private_key", nss_key("a")), ("certificate", A, "a")), CERT_03),
    "cert 03: NSS's CKA_ID, both": (
        lambda: told(("private_key", nss_key("a")), ("certificate", nss_key("a"), "a")), []),
    "cert 03: of no key, a CA's": (lambda: told(("private_key", A), ("certificate", B, "b")), []),
    "cert 03: before it is set": (
        lambda: told(("pair",), ("read", PUBLIC, (CLASS, PUBLIC_KEY), (ID, b""), (EC_POINT, octets(POINT))),
                     ("read", KEY, (CLASS, PRIVATE_KEY), (ID, b"")), ("set", KEY, (ID, nss_key("a"))),
                     ("set", PUBLIC, (ID, nss_key("a"))), ("certificate", nss_key("a"), "a")), []),
    "cert 03: the application stored it so": (
        lambda: told(("public_key", B, POINT), ("make", CERT, (CLASS, CERTIFICATE), (TOKEN, 1)),
                     ("certificate", A, "a")),
        CERT_03_CALLER),
    "cert 03: pulled": (lambda: told(("public_key", B, POINT), (pulled,), ("certificate", A, "a")), []),
    "cert 03: renewed": (
        lambda: told(("private_key", A), ("certificate", A, "a"), ("certificate", A, "a", OTHER_CERT)), []),
    "cert 03: two keys of one CKA_ID": (
        lambda: told(("private_key", A), ("certificate", A, "a"),
                     ("certificate", A, "b", OTHER_CERT, b"another")), CERT_03),
    "cert 03: roots of one CKA_ID": (lambda: told(("certificate", A, "a"), ("certificate", A, "b", OTHER_CERT)), []),
    "cert 03: private keys of one CKA_ID": (lambda: told((two_of_one_search,)), CERT_03_W),
    "cert 03: one key, found again": (lambda: told((again_after_logout,)), []),
    "cert 03: one key, copied": (lambda: told((session_copy,)), []),
    "cert 03: empty": (lambda: told(("private_key", b"")), CERT_03),
    "cert 03: empty, a public key": (lambda: told(("public_key", b"", POINT)), []),
    "cert 03: not answered": (lambda: told(("private_key", b"", KEY, 1, dict(rv=TYPE_INVALID))), []),
    # A self-signed certificate of openssl req is one of a CA.
    "cert 03: zero": (lambda: told(("certificate", bytes(4), "a")), CERT_03_W),
    "cert 03: lonely": (lambda: lonely("leaf"), [("NSS-CERT-03", I, MODULE)]),
    "cert 03: lonely, a CA's": (lambda: lonely("a"), []),
    "cert 03: the key is there": (lambda: lonely("leaf", key_found=(OTHER_KEY,)), []),
    "cert 03: the certificate is there": (lambda: lonely("leaf", certificate_found=(OTHER_CERT,)), []),

    "cert 04": (lambda: looked_up(), CERT_04),
    "cert 04: by CKA_ID": (lambda: looked_up(by={ID: A}), CERT_04),
    "cert 04: by value": (lambda: looked_up(by={VALUE: der("a")}), CERT_04),
    "cert 04: by subject": (lambda: looked_up(by={SUBJECT: name_of("a")}), CERT_04),
    "cert 04: all": (lambda: looked_up(by={TOKEN: 1}), CERT_04),
    "cert 04: another label": (lambda: looked_up(by={LABEL: b"labels"}), []),
    "cert 04: found": (lambda: looked_up(found=(CERT,)), []),
    "cert 04: another is found": (lambda: looked_up(found=(OTHER_CERT,)), []),  # P11-FIND-07 alone
    "cert 04: deleted": (lambda: looked_up((destroyed,)), []),
    "cert 04: being deleted": (
        lambda: told(("search", CERTIFICATES, CERT), ("certificate", A, "a"), (overlapping_destroy,), login=False), []),
    "cert 04: seen only with a login": (lambda: looked_up((logout,), first_login=True), []),
    "cert 04: pulled": (lambda: looked_up((pulled,)), []),
    "cert 04: a minute later": (lambda: looked_up((lambda t: t.wait(61),)), []),

    "cert 05": (lambda: seen_later((login,)), CERT_05),
    "cert 05: stored since": (lambda: seen_later((login,), (stored,)), []),
    "cert 05: seen before": (lambda: seen_later((login,), first=(CERT,)), []),
    "cert 05: no login": (lambda: seen_later(), []),
    "cert 05: another search": (lambda: seen_later((login,), again={CLASS: CERTIFICATE}), []),

    "cert 06": (lambda: no_public_key(), CERT_06),
    "cert 06: the key was seen before": (
        lambda: told(("private_key", A), (logout,), ("search", {ID: A, CLASS: PUBLIC_KEY})), CERT_06),
    "cert 06: the key was seen before, and its public key is found": (
        lambda: told(("private_key", A), (logout,), ("search", {ID: A, CLASS: PUBLIC_KEY}, PUBLIC)), []),
    "cert 06: another key": (lambda: no_public_key(key=B), []),
    "cert 06: made since": (lambda: no_public_key((pair_made,), (logout,)), []),
    "cert 06: no login is required": (lambda: no_public_key(flags=PIN_INITIALIZED | TOKEN_INITIALIZED), []),
    "cert 06: a CA's": (
        lambda: told(("certificate", A, "a"), ("search", {ID: A, CLASS: PUBLIC_KEY}), login=False), []),

    "cert 07: another subject": (
        lambda: told(("read", CERT, (CLASS, CERTIFICATE), (VALUE, der("a")), (SUBJECT, name_of("b")))),
        [("NSS-CERT-07", E, MODULE)]),
    "cert 07: read one after the other": (
        lambda: told(("read", CERT, (CLASS, CERTIFICATE), (SUBJECT, name_of("b"))), ("read", CERT, (VALUE, der("a")))),
        [("NSS-CERT-07", E, MODULE)]),
    "cert 07: as it was written": (
        lambda: told(("make", CERT, (CLASS, CERTIFICATE), (TOKEN, 1)),
                     ("read", CERT, (CLASS, CERTIFICATE), (VALUE, der("a")), (SUBJECT, name_of("b")))), []),
    "cert 07: no X.509": (
        lambda: told(("read", CERT, (CLASS, CERTIFICATE), (CERTIFICATE_TYPE, 2), (VALUE, b"\x30\x00"),
                      (SUBJECT, b""))), []),
    "cert 07: no certificate": (
        lambda: told(("read", CERT, (CLASS, CERTIFICATE), (VALUE, b"\x30\x03\x02\x01\x07"))),
        [("NSS-CERT-07", W, MODULE)]),
    "cert 07: a smaller buffer": (
        lambda: told((lambda t: t.call("attributes", 1, CERT, (CLASS, 8, 8, CERTIFICATE),
                                       (VALUE, 10, UNAVAILABLE, None), (0x130, None, UNAVAILABLE, None),
                                       rv=TYPE_INVALID),)), []),

    "key 01: sensitive": (lambda: reads_key(RSA, (MODULUS, None), rv=SENSITIVE), KEY_01),
    "key 01: logged out": (lambda: reads_key(RSA, (MODULUS, None), rv=SENSITIVE, first=nothing), []),
    "key 01: of an EC key": (lambda: reads_key(EC, (MODULUS, None), rv=TYPE_INVALID), []),
    "key 01: the curve": (lambda: reads_key(EC, (EC_PARAMS, None), rv=TYPE_INVALID), KEY_01),
    "key 01: the curve of an RSA key": (lambda: reads_key(RSA, (EC_PARAMS, None), rv=TYPE_INVALID), []),
    "key 01: DSA": (lambda: reads_key(DSA, (SUBPRIME, None), rv=TYPE_INVALID), KEY_01_W),
    "key 01: ML-DSA": (lambda: reads_key(ML_DSA, (PARAMETER_SET, None), rv=TYPE_INVALID), KEY_01_W),
    "key 01: no object": (lambda: reads_key(RSA, (MODULUS, None), rv=HANDLE_INVALID), []),

    "key 02": (lambda: told(("pair",), ("read", PUBLIC, (CLASS, PRIVATE_KEY))), KEY_02),
    "key 02: right": (
        lambda: told(("pair",), ("read", PUBLIC, (CLASS, PUBLIC_KEY)), ("read", KEY, (CLASS, PRIVATE_KEY))), []),
    "key 02: the handle is another object's by now": (
        lambda: told(("pair",), (lambda t: t.do("C_DestroyObject", 1, hObject=PUBLIC),),
                     ("read", PUBLIC, (CLASS, PRIVATE_KEY))), []),

    "key 03": (lambda: told(("pair",), ("set", KEY, (ID, A), dict(rv=READ_ONLY))), KEY_03),
    "key 03: not modifiable": (
        lambda: told(("pair", (MODIFIABLE, 0)), ("set", KEY, (ID, A), dict(rv=READ_ONLY))), []),
    "key 03: another attribute": (lambda: told(("pair",), ("set", KEY, (SIGN, 1), dict(rv=READ_ONLY))), []),
    "key 03: in a read/write session": (
        lambda: told(("pair",), ("set", KEY, (ID, A), dict(rv=SESSION_READ_ONLY))), KEY_03),
    "key 03: in a read-only session": (
        lambda: told((lambda t: t.open(9, flags=SERIAL),), ("pair",),
                     ("set", KEY, (ID, A), dict(rv=SESSION_READ_ONLY, session=9))), []),
    "key 03: write-protected": (
        lambda: told((lambda t: t.call("token_info", flags=LOGIN_REQUIRED | TOKEN_INITIALIZED | PIN_INITIALIZED | 2),),
                     ("pair",), ("set", KEY, (ID, A), dict(rv=READ_ONLY))), []),
    "key 03: a certificate": (
        lambda: told(("certificate", A, "a"), ("set", CERT, (ID, A), dict(rv=READ_ONLY))), []),
    "key 03: NSS's CKA_ID": (
        lambda: told(("pair",), ("read", PUBLIC, (CLASS, PUBLIC_KEY), (EC_POINT, octets(POINT))),
                     ("set", KEY, (ID, nss_key("a")))), []),
    "key 03: another CKA_ID": (
        lambda: told(("pair",), ("read", PUBLIC, (CLASS, PUBLIC_KEY), (EC_POINT, octets(POINT))),
                     ("set", KEY, (ID, A))),
        [("NSS-KEY-03", I, CALLER)]),

    "key 05: DER": (lambda: ec_key(P256, octets(POINT)), []),
    "key 05: raw": (lambda: ec_key(P256, POINT), KEY_05),
    "key 05: compressed": (lambda: ec_key(P256, octets(b"\x02" + POINT[1:33])), KEY_05),
    "key 05: long form": (lambda: ec_key(P521, octets(b"\x04" + bytes(132))), []),
    "key 05: too short": (lambda: ec_key(P521, octets(b"\x04" + bytes(64))), KEY_05),
    "key 05: Edwards": (lambda: ec_key(ED25519, bytes(32)), []),
    "key 05: not DER": (lambda: ec_key(b"P-256", octets(POINT)), KEY_05),

    "key 06": (lambda: told(("public_key", A, point("b")), ("certificate", A, "a")), KEY_06),
    "key 06: after another CKA_ID was set": (
        lambda: told(("public_key", A, point("b")), ("set", PUBLIC, (ID, B)), ("certificate", A, "a")), []),
    "key 06: deleted": (
        lambda: told(("public_key", A, point("b")), (lambda t: t.do("C_DestroyObject", 1, hObject=PUBLIC),),
                     ("certificate", A, "a")), []),

    "key 09: false": (lambda: reads_key(RSA, (TOKEN, 0), rv=OK), KEY_09),
    "key 09: refused": (lambda: reads_key(RSA, (TOKEN, None), rv=TYPE_INVALID), KEY_09),
    "key 09: not known to be the token's": (lambda: reads_key(RSA, (TOKEN, 0), rv=OK, token=None), []),
    "key 09: a session's": (lambda: reads_key(RSA, (TOKEN, 0), rv=OK, token=0), []),
    "key 09: no object": (lambda: reads_key(RSA, (TOKEN, None), rv=HANDLE_INVALID), []),
}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    """Of these two groups: what the other rules find in stories that are so short is not looked at."""
    story, expected = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    mine = [f for f in found(checked(build, run, path)) if f[0].startswith(("NSS-CERT", "NSS-KEY"))]
    assert mine == sorted(expected)


def test_public_key_that_another_process_would_need(build, run, tmp_path):
    """One process sees the private key, another one is not logged in and does not find its public key."""
    keys = told(("private_key", A)).write(tmp_path / "a.p11t")
    t = Story(pid=4712, trace_id=b"\x33" * 16)
    t.wait(5)
    t.start(1)
    t.search({ID: A, CLASS: PUBLIC_KEY})
    looks = t.write(tmp_path / "b.p11t")
    (f,) = [f for f in checked(build, run, keys, looks)["findings"] if f["rule"] == "NSS-CERT-06"]
    assert [e["function"] for e in f["evidence"]] == ["C_GetAttributeValue", "C_FindObjects"]
    assert not [f for f in checked(build, run, looks)["findings"] if f["rule"] == "NSS-CERT-06"]


def test_key_that_somebody_stored_without_an_id(build, run, tmp_path):
    """The module cannot help it when an application gives a key no CKA_ID."""
    makes = told(("pair",)).write(tmp_path / "a.p11t")
    t = Story(pid=4712, trace_id=b"\x33" * 16)
    t.wait(5)
    t.start(1)
    t.call("login", 1)
    t.private_key(b"")
    reads = t.write(tmp_path / "b.p11t")

    def links(*paths):
        return [f for f in found(checked(build, run, *paths)) if f[0] == "NSS-CERT-03"]

    assert links(makes, reads) == CERT_03_CALLER and links(reads) == CERT_03 and links(makes) == []
