"""Searches and objects in stories: overlaps, removal, late starts, other threads; each as a pair, what must be found and what
must not."""
import pytest

from check_story import (BUFFER_TOO_SMALL, GENERAL_ERROR, OK, RW, SERIAL, TOKEN_INITIALIZED, UNAVAILABLE)
from story_calls import Calls
from test_check_guards import checked, found

E, W, I = "error", "warning", "info"
CLASS, TOKEN, PRIVATE, LABEL, VALUE, ISSUER, SERIAL_NUMBER, SENSITIVE, ID, LOCAL, EXTRACTABLE = (
    0, 1, 2, 3, 0x11, 0x81, 0x82, 0x103, 0x102, 0x163, 0x162)
NEVER_EXTRACTABLE, ALWAYS_SENSITIVE, COPYABLE, DESTROYABLE = 0x164, 0x165, 0x171, 0x172
TRUTHS = (TOKEN, PRIVATE, SENSITIVE, EXTRACTABLE, LOCAL, NEVER_EXTRACTABLE, ALWAYS_SENSITIVE, COPYABLE, DESTROYABLE)
DATA, CERTIFICATE, PRIVATE_KEY, SECRET_KEY = 0, 1, 3, 4
ACTIVE, NOT_INITIALIZED, NOT_LOGGED_IN, OBJECT_INVALID, KEY_INVALID, DEVICE_ERROR, FAILED = (
    0x90, 0x91, 0x101, 0x82, 0x60, 0x30, 6)
ONE, TWO = 17, 18


class Story(Calls):
    def search(self, template, *handles, session=1, max=10, end=True, tid=100):
        self.init(template, session=session, tid=tid)
        self.more(*handles, session=session, max=max, tid=tid)
        return self.final(session=session, tid=tid) if end else None

    def init(self, template, session=1, rv=OK, tid=100):
        return self.do("C_FindObjectsInit", session, pTemplate=list(template.items()), ulCount=len(template), rv=rv,
                       tid=tid)

    def more(self, *handles, session=1, max=10, rv=OK, tid=100, count=None):
        return self.do("C_FindObjects", session, phObject=handles, ulMaxObjectCount=max, rv=rv, tid=tid,
                       pulObjectCount=len(handles) if count is None else count)

    def final(self, session=1, rv=OK, tid=100):
        return self.do("C_FindObjectsFinal", session, rv=rv, tid=tid)

    def read(self, object, template, session=1, rv=OK, tid=100):
        """Attributes with room enough; None marks one as not available."""
        def one(kind, v):
            size = UNAVAILABLE if v is None else (1 if kind in TRUTHS else 8) \
                if isinstance(v, int) else len(v)
            return kind, 64, size, v
        return self.call("attributes", session, object, *(one(*a) for a in template.items()), rv=rv, tid=tid)

    def make(self, object, template, session=1, rv=OK):
        return self.do("C_CreateObject", session, pTemplate=list(template.items()), ulCount=len(template),
                       phObject=object, rv=rv)

    def set(self, object, template, session=1, rv=OK):
        return self.do("C_SetAttributeValue", session, hObject=object, pTemplate=list(template.items()),
                       ulCount=len(template), rv=rv)

    def destroy(self, object, session=1, rv=OK):
        return self.do("C_DestroyObject", session, hObject=object, rv=rv)


def into(t, *steps):
    """A step is ("name", argument ...), and a dictionary with names for keys at its end are options; or a function."""
    for step in steps:
        if callable(step):
            step(t)
            continue
        name, *args = step
        options = args.pop() if args and isinstance(args[-1], dict) and any(isinstance(k, str) for k in args[-1]) else {}
        if hasattr(Story, name):
            getattr(t, name)(*args, **options)
        else:
            t.call(name, *args, **options)


def tell(*steps):
    def story():
        t = Story().start(1, 2, flags=SERIAL | RW)
        into(t, *steps)
        return t
    return story


def overlapping(what, *args, **more):
    """Another thread's call goes on during the steps."""
    def during(*steps):
        def story():
            t = tell()()
            steps[0](t)
            other = t.begin(what, *args, tid=200, **more) if not what.startswith("C_") else \
                t.start_of(what, *args, tid=200, **more)
            for step in steps[1:]:
                step(t)
            t.finish(other)
            return t
        return story
    return during


def wait(seconds):
    return lambda t: t.wait(seconds)


def lose(t):
    t.lose()


def pull(t):
    t.call("slot_info", flags=2)


def other_slot(t):
    """Session 9 is one of another slot."""
    t.call("open_session", 9, slot=6)


def pull_and_wait(t):
    pull(t)
    t.wait(2)
    t.call("slot_info")


def generated(t):
    t.do("C_GenerateKey", 1, pMechanism=0x1080, pTemplate=[(CLASS, SECRET_KEY)], ulCount=1, phKey=ONE)


def copied(rv=OK):
    return lambda t: t.do("C_CopyObject", 1, hObject=ONE, pTemplate=[], phNewObject=TWO, rv=rv)


ANY, KEYS, SECRETS = {}, {CLASS: PRIVATE_KEY}, {CLASS: SECRET_KEY}
DATA_OBJECT = {TOKEN: 1, PRIVATE: 0, CLASS: DATA, LABEL: b"name"}
NAMED = {LABEL: b"name"}
KEY = {TOKEN: 1, PRIVATE: 1, CLASS: PRIVATE_KEY, ID: b"id"}
KNOWN = [("search", ANY, ONE), ("read", ONE, DATA_OBJECT)]  # a public object, seen while nobody is logged in
LOGGED_IN = [("login", 1), ("search", KEYS, ONE, TWO), ("read", ONE, KEY), ("read", TWO, {**KEY, ID: b"other"})]
CERT = {CLASS: CERTIFICATE}


def module(rule, severity=E):
    return rule, severity, "module"


def caller(rule, severity=W):
    return rule, severity, "caller"


def late(t):
    """Nothing of before is known."""
    t.lose()


CASES = {
    # the order of calls
    "find 01: two at once": (tell(("init", ANY), ("init", ANY)), [module("P11-FIND-01"), caller("P11-FIND-01")]),
    "find 01: two at once, refused": (tell(("init", ANY), ("init", ANY, {"rv": ACTIVE})), [caller("P11-FIND-01")]),
    "find 01: in two sessions": (tell(("init", ANY), ("init", ANY, {"session": 2})), []),
    "find 01: the first ends meanwhile": (
        overlapping("C_FindObjectsFinal", 1)(lambda t: t.init(ANY), lambda t: t.init(ANY)), []),
    "find 01: nothing is at work": (
        tell(("search", ANY), ("init", ANY, {"rv": ACTIVE})), [module("P11-FIND-01")]),
    "find 01: opened before the trace": (tell(late, ("init", ANY, {"rv": ACTIVE})), []),
    "find 01: the end is an error": (
        tell(("search", ANY, ONE, {"end": False}), ("more", {"rv": FAILED}), ("final",)), [module("P11-FIND-01")]),
    "find 01: the device fails": (
        tell(("search", ANY, ONE, {"end": False}), ("more", {"rv": DEVICE_ERROR}), ("final",)), []),
    "find 01: the end is empty": (tell(("search", ANY, ONE, {"end": False}), ("more",), ("final",)), []),
    "find 01: the search is lost": (
        tell(("init", ANY), ("more", {"rv": NOT_INITIALIZED})), [module("P11-FIND-01")]),
    "find 01: a logout ended it": (
        tell(("login", 1), ("init", ANY), ("logout", 1), ("more", {"rv": NOT_INITIALIZED})), []),
    "find 01: no search": (tell(("more", {"rv": NOT_INITIALIZED})), [caller("P11-FIND-01")]),
    "find 01: no search, and an answer": (tell(("more",)), [module("P11-FIND-01"), caller("P11-FIND-01")]),
    "find 01: no search, another code": (
        tell(("more", {"rv": GENERAL_ERROR})), [module("P11-FIND-01", W), caller("P11-FIND-01")]),
    # a search that failed
    "find 02": (tell(("init", ANY), ("more", {"rv": DEVICE_ERROR}), ("init", ANY, {"rv": ACTIVE})),
                [module("NSS-FIND-02"), caller("NSS-FIND-02")]),
    "find 02: finished": (
        tell(("init", ANY), ("more", {"rv": DEVICE_ERROR}), ("final",), ("init", ANY)), []),
    "find 02: not blocked": (tell(("init", ANY), ("more", {"rv": DEVICE_ERROR}), ("init", ANY)), []),
    "find 02: pulled": (tell(("init", ANY), ("more", {"rv": DEVICE_ERROR}), pull, ("init", ANY, {"rv": ACTIVE})), []),
    "find 02: closed": (tell(("init", ANY), ("close_session", 1)), [caller("NSS-FIND-02", I)]),
    "find 02: a minute": (tell(("init", ANY), wait(70), ("final",)), [caller("NSS-FIND-02", I)]),
    # arrays that are not full
    "find 03": (tell(("search", ANY, ONE, {"end": False}), ("more", TWO)), [module("NSS-FIND-03")]),
    "find 03: full": (tell(("search", ANY, ONE, {"end": False, "max": 1}), ("more", TWO, {"max": 1})), []),
    "find 03: made meanwhile": (
        tell(("search", ANY, ONE, {"end": False}), ("make", TWO, NAMED, {"session": 2}), ("more", TWO)), []),
    "find 03: being made": (overlapping("C_CreateObject", 2, pTemplate=[], phObject=TWO)(
        lambda t: t.search(ANY, ONE, end=False), lambda t: t.more(TWO)), []),
    "find 03: again": (tell(("search", ANY, ONE), ("search", ANY, ONE, TWO)), [module("NSS-FIND-03", W)]),
    "find 03: again, another one": (tell(("search", ANY, ONE), ("search", NAMED, ONE, TWO)), []),
    "find 03: again, made between": (tell(("search", ANY, ONE), ("make", TWO, NAMED), ("search", ANY, ONE, TWO)), []),
    "find 03: again, logged in between": (tell(("search", ANY, ONE), ("login", 1), ("search", ANY, ONE, TWO)), []),
    "find 03: again, later": (tell(("search", ANY, ONE), wait(70), ("search", ANY, ONE, TWO)), []),
    "find 03: again, pulled between": (tell(("search", ANY, ONE), pull_and_wait, ("search", ANY, ONE, TWO)), []),
    # what a token does not know
    "find 04": (tell(("init", {CLASS: 0xCE534353}, {"rv": GENERAL_ERROR})), [module("NSS-FIND-04", W)]),
    "find 04: 2.40": (tell(("init", {CLASS: CERTIFICATE}, {"rv": GENERAL_ERROR})), []),
    "find 04: the device": (tell(("init", {CLASS: 0xCE534353}, {"rv": DEVICE_ERROR})), []),
    "find 04: a vendor's class": (
        tell(("init", {CLASS: 0x80000001}, {"rv": GENERAL_ERROR})), [module("NSS-FIND-04", W)]),
    "find 04: in the results": (
        tell(("search", NAMED), ("init", {CLASS: 0x80000001}), ("more", {"rv": GENERAL_ERROR})),
        [module("NSS-FIND-04", W)]),
    "find 04: no such value": (tell(("init", {CLASS: 0xCE534353}, {"rv": 0x13})), []),
    "find 04: roots": (tell(("search", {CLASS: 0xCE534354}, ONE)), [module("NSS-FIND-04")]),
    "find 04: roots of a root module": (
        tell(("token_info", {"flags": TOKEN_INITIALIZED}), ("search", {CLASS: 0xCE534354}, ONE)), []),
    # private objects
    "find 05": (tell(*LOGGED_IN, ("logout", 1), ("search", KEYS, ONE)), [module("P11-FIND-05")]),
    "find 05: another kind of object": (tell(*LOGGED_IN, ("logout", 1), ("search", {CLASS: CERTIFICATE}, ONE)), []),
    "find 05: no login is needed": (
        tell(("token_info", {"flags": TOKEN_INITIALIZED}), *LOGGED_IN, ("logout", 1), ("search", KEYS, ONE)), []),
    "find 05: a login goes on": (overlapping("login", 2)(
        lambda t: into(t, *LOGGED_IN, ("logout", 1)),
        lambda t: t.search(KEYS, ONE)), []),
    "find 05: read": (tell(("read", ONE, KEY)), [module("P11-FIND-05")]),
    "find 05: a public key": (tell(("read", ONE, {**KEY, PRIVATE: 0})), []),
    "find 05: late": (tell(late, ("read", ONE, KEY)), []),
    "find 06": (tell(("init", KEYS, {"rv": GENERAL_ERROR})), [module("NSS-FIND-06")]),
    "find 06: secret keys": (tell(("init", SECRETS, {"rv": FAILED})), [module("NSS-FIND-06")]),
    "find 06: in the results": (
        tell(("search", NAMED), ("init", KEYS), ("more", {"rv": GENERAL_ERROR})), [module("NSS-FIND-06")]),
    "find 06: not logged in": (tell(("init", KEYS, {"rv": NOT_LOGGED_IN})), []),
    "find 06: logged in": (tell(("login", 1), ("init", KEYS, {"rv": GENERAL_ERROR})), []),
    "find 06: no login is needed": (
        tell(("token_info", {"flags": TOKEN_INITIALIZED}), ("init", KEYS, {"rv": GENERAL_ERROR})), []),
    "find 06: a login goes on": (
        overlapping("login", 2)(lambda t: None, lambda t: t.init(KEYS, rv=GENERAL_ERROR)), []),
    # results
    "find 07: missing": (tell(*KNOWN, ("search", NAMED)), [module("P11-FIND-07")]),
    "find 07: found": (tell(*KNOWN, ("search", NAMED, ONE)), []),
    "find 07: another name": (tell(*KNOWN, ("search", {LABEL: b"nam"})), []),
    "find 07: not to the end": (tell(*KNOWN, ("search", NAMED, TWO, {"max": 1})), []),
    "find 07: no end": (tell(*KNOWN, ("init", NAMED), ("final",)), []),
    "find 07: destroyed": (tell(*KNOWN, ("destroy", ONE), ("search", NAMED)), []),
    "find 07: being destroyed": (overlapping("C_DestroyObject", 2, hObject=ONE)(
        lambda t: into(t, *KNOWN), lambda t: t.search(NAMED)), []),
    "find 07: renamed": (tell(*KNOWN, ("set", ONE, {LABEL: b"new"}), ("search", NAMED)), []),
    "find 07: pulled": (tell(*KNOWN, pull_and_wait, ("search", NAMED)), []),
    "find 07: records lost": (tell(*KNOWN, lose, ("search", NAMED)), []),
    "find 07: long ago": (tell(*KNOWN, wait(70), ("search", NAMED)), []),
    "find 07: a private object beside another": (
        tell(*LOGGED_IN, ("search", KEYS, TWO)), [module("P11-FIND-07")]),
    "find 07: all private objects": (tell(*LOGGED_IN, ("search", KEYS)), []),
    "find 07: private, logged out": (tell(*LOGGED_IN, ("logout", 1), ("search", KEYS)), []),
    "find 07: private, being logged out": (
        overlapping("logout", 2)(lambda t: into(t, *LOGGED_IN), lambda t: t.search(KEYS, TWO)), []),
    "find 07: not the one asked for": (tell(*KNOWN, ("search", {LABEL: b"other"}, ONE)), [module("P11-FIND-07")]),
    "find 07: renamed before": (
        tell(*KNOWN, ("set", ONE, {LABEL: b"other"}), ("search", {LABEL: b"other"}, ONE)), []),
    "find 07: twice": (tell(("search", ANY, ONE, ONE)), [module("P11-FIND-07")]),
    "find 07: in two searches": (tell(("search", ANY, ONE), ("search", ANY, ONE)), []),
    "find 07: too many": (tell(("init", ANY), ("more", ONE, {"max": 1, "count": 2})), [module("P11-FIND-07")]),
    "find 07: zero": (tell(("search", ANY, 0)), [module("P11-FIND-07")]),
    # reading what was found
    "find 08": (tell(("search", CERT, ONE), ("read", ONE, NAMED, {"rv": OBJECT_INVALID})), [module("NSS-FIND-08")]),
    "find 08: destroyed": (
        tell(("search", CERT, ONE), ("destroy", ONE, {"session": 2}), ("read", ONE, NAMED, {"rv": OBJECT_INVALID})),
        [caller("P11-OBJ-10")]),
    "find 08: being destroyed": (overlapping("C_DestroyObject", 2, hObject=ONE)(
        lambda t: t.search(CERT, ONE), lambda t: t.read(ONE, NAMED, rv=OBJECT_INVALID)), []),
    "find 08: pulled": (tell(("search", CERT, ONE), pull, ("read", ONE, NAMED, {"rv": OBJECT_INVALID})), []),
    "find 08: no CKA_TOKEN": (
        tell(("search", CERT, ONE), ("read", ONE, {TOKEN: None, LABEL: b"x"}, {"rv": 0x12})), [module("NSS-FIND-08")]),
    "find 08: no CKA_TOKEN of a key": (tell(("search", {CLASS: PRIVATE_KEY, LABEL: b"x"}, ONE),
                                            ("read", ONE, {TOKEN: None, LABEL: b"x"}, {"rv": 0x12})), []),
    # encodings
    "find 09: serial number": (
        tell(("search", {ISSUER: b"0", SERIAL_NUMBER: b"\2\1\7"}), ("search", {ISSUER: b"0", SERIAL_NUMBER: b"\7"}, ONE)),
        [module("NSS-FIND-09", W)]),
    "find 09: the first form": (tell(("search", {ISSUER: b"0", SERIAL_NUMBER: b"\2\1\7"}, ONE)), []),
    "find 09: neither": (
        tell(("search", {ISSUER: b"0", SERIAL_NUMBER: b"\2\1\7"}), ("search", {ISSUER: b"0", SERIAL_NUMBER: b"\7"})), []),
    "find 09: another one": (
        tell(("search", {ISSUER: b"0", SERIAL_NUMBER: b"\2\1\7"}), ("search", {ISSUER: b"0", SERIAL_NUMBER: b"\6"}, ONE)),
        []),
    "find 09: made between": (
        tell(("search", {SERIAL_NUMBER: b"\2\1\7"}), ("make", ONE, NAMED), ("search", {SERIAL_NUMBER: b"\7"}, ONE)), []),
    "find 09: label": (tell(("search", NAMED), ("search", {LABEL: b"name\0"}, ONE)), [module("NSS-FIND-09", W)]),
    "find 09: trust": (tell(("search", {CLASS: 0xCE534353, SERIAL_NUMBER: b"\2\1\7"}),
                            ("search", {CLASS: 0xCE534353, SERIAL_NUMBER: b"\7"}, ONE)), []),
    # sessions
    "obj 01": (tell(("make", ONE, NAMED), ("read", ONE, NAMED, {"session": 2, "rv": OBJECT_INVALID})),
               [module("NSS-OBJ-01")]),
    "obj 01: in its session": (
        tell(("make", ONE, NAMED), ("read", ONE, NAMED, {"rv": OBJECT_INVALID})), [module("P11-OBJ-10")]),
    "obj 01: the session is closed": (
        tell(("make", ONE, NAMED), ("close_session", 1), ("read", ONE, NAMED, {"session": 2, "rv": OBJECT_INVALID})), []),
    "obj 01: the session is being closed": (overlapping("close_session", 1)(
        lambda t: t.make(ONE, NAMED), lambda t: t.read(ONE, NAMED, session=2, rv=OBJECT_INVALID)), []),
    "obj 01: being destroyed": (overlapping("C_DestroyObject", 1, hObject=ONE)(
        lambda t: t.make(ONE, NAMED), lambda t: t.read(ONE, NAMED, session=2, rv=OBJECT_INVALID)), []),
    "obj 01: private, logged out": (
        tell(("login", 1), ("make", ONE, {PRIVATE: True}), ("logout", 1),
             ("read", ONE, NAMED, {"session": 2, "rv": OBJECT_INVALID})), [caller("P11-OBJ-11")]),
    "obj 01: key": (
        tell(("make", ONE, {**NAMED, CLASS: SECRET_KEY}),
             lambda t: t.do("C_EncryptInit", 2, hKey=ONE, rv=KEY_INVALID)), [module("NSS-OBJ-01")]),
    "obj 01: search": (tell(("make", ONE, NAMED), ("read", ONE, NAMED), ("search", NAMED, {"session": 2})),
                       [module("NSS-OBJ-01")]),
    # lengths
    "obj 02": (tell(lambda t: t.call("attributes", 1, ONE, (LABEL, None, 9, None)), ("read", ONE, NAMED)),
               [module("P11-OBJ-02")]),
    "obj 02: renamed between": (tell(lambda t: t.call("attributes", 1, ONE, (LABEL, None, 9, None)),
                                     ("set", ONE, NAMED), ("read", ONE, NAMED)), []),
    "obj 02: another object": (
        tell(lambda t: t.call("attributes", 1, TWO, (LABEL, None, 9, None)), ("read", ONE, NAMED)), []),
    "obj 02: too small": (
        tell(lambda t: t.call("attributes", 1, ONE, (LABEL, None, 9, None)),
             lambda t: t.call("attributes", 1, ONE, (LABEL, 9, UNAVAILABLE, None), rv=BUFFER_TOO_SMALL)),
        [module("P11-OBJ-02")]),
    "obj 02: a smaller buffer": (
        tell(lambda t: t.call("attributes", 1, ONE, (LABEL, None, 9, None)),
             lambda t: t.call("attributes", 1, ONE, (LABEL, 8, UNAVAILABLE, None), rv=BUFFER_TOO_SMALL)), []),
    "obj 04": (tell(lambda t: t.call("attributes", 1, ONE, (LABEL, 3, 4, None))), [module("P11-OBJ-04")]),
    "obj 04: a length is asked": (tell(lambda t: t.call("attributes", 1, ONE, (LABEL, None, 4, None))), []),
    "obj 04: not marked": (tell(lambda t: t.call("attributes", 1, ONE, (LABEL, 3, 3, None), rv=BUFFER_TOO_SMALL)),
                           [module("P11-OBJ-04", W)]),
    "obj 05": (tell(lambda t: t.call("attributes", 1, ONE, (CLASS, 8, 4, b"\1\0\0\0"))), [module("P11-OBJ-05")]),
    "obj 05: truth": (tell(("read", ONE, {TOKEN: 2})), [module("P11-OBJ-05")]),
    "obj 05: empty": (tell(lambda t: t.call("attributes", 1, ONE, (CLASS, 8, 0, None))), [module("P11-OBJ-05", W)]),
    # secrets
    "obj 06": (tell(("read", ONE, {CLASS: SECRET_KEY, SENSITIVE: 1, VALUE: b"secret"})), [module("P11-OBJ-06")]),
    "obj 06: not extractable": (
        tell(("read", ONE, {CLASS: SECRET_KEY, EXTRACTABLE: 0}), ("read", ONE, {VALUE: b"x"})), [module("P11-OBJ-06")]),
    "obj 06: may be read": (tell(("read", ONE, {CLASS: DATA, SENSITIVE: 0, EXTRACTABLE: 1, VALUE: b"secret"})), []),
    "obj 06: a certificate": (tell(("read", ONE, {CLASS: CERTIFICATE, VALUE: b"open"})), []),
    "obj 07": (tell(("read", ONE, {CLASS: SECRET_KEY, SENSITIVE: 1}), ("read", ONE, {SENSITIVE: 0})),
               [module("P11-OBJ-07")]),
    "obj 07: hardened": (tell(("read", ONE, {CLASS: SECRET_KEY, SENSITIVE: 0}), ("read", ONE, {SENSITIVE: 1})), []),
    "obj 07: another object": (tell(("read", ONE, {CLASS: SECRET_KEY, SENSITIVE: 1}), ("destroy", ONE),
                                    ("make", ONE, {CLASS: SECRET_KEY}), ("read", ONE, {SENSITIVE: 0})),
                               [module("P11-OBJ-10", I)]),
    "obj 07: the length alone": (
        tell(("read", ONE, {CLASS: SECRET_KEY}), lambda t: t.call("attributes", 1, ONE, (EXTRACTABLE, None, 1, None)),
             ("read", ONE, {EXTRACTABLE: 1})), []),
    "obj 07: LOCAL": (tell(("make", ONE, {CLASS: SECRET_KEY}), ("read", ONE, {LOCAL: 1})), [module("P11-OBJ-07")]),
    "obj 07: generated, not LOCAL": (tell(generated, ("read", ONE, {LOCAL: 0})), [module("P11-OBJ-07")]),
    "obj 07: generated, LOCAL": (tell(generated, ("read", ONE, {LOCAL: 1})), []),
    "obj 07: never readable, from outside": (
        tell(("make", ONE, {CLASS: SECRET_KEY}), ("read", ONE, {ALWAYS_SENSITIVE: 1, NEVER_EXTRACTABLE: 1})),
        [module("P11-OBJ-07")] * 2),
    "obj 07: never readable, generated": (
        tell(generated, ("read", ONE, {ALWAYS_SENSITIVE: 1, NEVER_EXTRACTABLE: 1})), []),
    "obj 07: never readable, and readable": (
        tell(generated, ("read", ONE, {SENSITIVE: 0, ALWAYS_SENSITIVE: 1, EXTRACTABLE: 1, NEVER_EXTRACTABLE: 1})),
        [module("P11-OBJ-07")] * 2),
    "obj 07: not to be copied": (tell(("read", ONE, {COPYABLE: 0}), copied()), [module("P11-OBJ-07")]),
    "obj 07: not to be copied, refused": (tell(("read", ONE, {COPYABLE: 0}), copied(0x1B)), []),
    "obj 07: may be copied": (tell(("read", ONE, {COPYABLE: 1}), copied()), []),
    "obj 07: not to be destroyed": (tell(("read", ONE, {DESTROYABLE: 0}), ("destroy", ONE)), [module("P11-OBJ-07")]),
    "obj 07: not to be destroyed, refused": (
        tell(("read", ONE, {DESTROYABLE: 0}), ("destroy", ONE, {"rv": 0x1B})), []),
    "obj 07: not LOCAL": (tell(("make", ONE, {CLASS: SECRET_KEY}), ("read", ONE, {LOCAL: 0})), []),
    # values
    "obj 08": (tell(("read", ONE, {TOKEN: 1}), ("read", ONE, {TOKEN: 0})), [module("P11-OBJ-08")]),
    "obj 08: a label": (tell(("read", ONE, {LABEL: b"a"}), ("read", ONE, {LABEL: b"b"})), []),
    "obj 08: another object": (tell(("read", ONE, {TOKEN: 1}), pull_and_wait, ("read", ONE, {TOKEN: 0})), []),
    "obj 09": (tell(("make", ONE, NAMED), ("read", ONE, {LABEL: b"mane"})), [module("NSS-OBJ-09")]),
    "obj 09: cut": (tell(("make", ONE, NAMED), ("read", ONE, {LABEL: b"nam"})), [module("NSS-OBJ-09", W)]),
    "obj 09: kept": (tell(("make", ONE, NAMED), ("read", ONE, NAMED)), []),
    "obj 09: written again": (
        tell(("make", ONE, NAMED), ("set", ONE, {LABEL: b"new"}), ("read", ONE, {LABEL: b"new"})), []),
    "obj 09: being written": (
        overlapping("C_SetAttributeValue", 2, hObject=ONE, pTemplate=[(LABEL, b"new")])(
            lambda t: t.make(ONE, NAMED), lambda t: t.read(ONE, {LABEL: b"new"})), []),
    "obj 09: two lengths, then the value": (
        tell(("make", ONE, NAMED), lambda t: t.call("attributes", 1, ONE, (LABEL, None, 4, None)),
             ("read", ONE, {LABEL: b"mane"})), [module("NSS-OBJ-09")]),
    "obj 09: not found": (tell(("make", ONE, NAMED), ("search", NAMED)), [module("NSS-OBJ-09")]),
    # handles
    "obj 10: after its end": (tell(("make", ONE, NAMED), ("destroy", ONE), ("read", ONE, NAMED)),
                              [module("P11-OBJ-10"), caller("P11-OBJ-10")]),
    "obj 10: after its end, refused": (
        tell(("make", ONE, NAMED), ("destroy", ONE), ("read", ONE, NAMED, {"rv": OBJECT_INVALID})),
        [caller("P11-OBJ-10")]),
    "obj 10: at its end": (overlapping("C_DestroyObject", 2, hObject=ONE)(
        lambda t: t.make(ONE, NAMED), lambda t: t.read(ONE, NAMED)), []),
    # Softoken numbers the objects of each slot by themselves.
    "obj 10: another slot's": (
        tell(("make", ONE, NAMED), other_slot, ("destroy", ONE, {"session": 9}), ("read", ONE, NAMED)), []),
    "obj 10: again, in another slot": (
        tell(("make", ONE, NAMED), ("destroy", ONE), other_slot, ("make", ONE, NAMED, {"session": 9})), []),
    "obj 10: again": (tell(("make", ONE, NAMED), ("destroy", ONE), ("make", ONE, NAMED)), [module("P11-OBJ-10", I)]),
    "obj 10: again, later": (tell(("make", ONE, NAMED), ("destroy", ONE), wait(70), ("make", ONE, NAMED)), []),
    "obj 10: pulled": (tell(*KNOWN, pull, ("read", ONE, NAMED, {"rv": OBJECT_INVALID})), []),
    "obj 10: records lost": (tell(*KNOWN, lose, ("read", ONE, NAMED, {"rv": OBJECT_INVALID})), []),
    "obj 11": (tell(*LOGGED_IN, ("logout", 1), ("read", ONE, NAMED)), [module("P11-OBJ-11")]),
    "obj 11: logged in again": (tell(*LOGGED_IN, ("logout", 1), ("login", 1), ("read", ONE, NAMED)),
                                [module("P11-OBJ-11", W)]),
    "obj 11: looked up again": (
        tell(*LOGGED_IN, ("logout", 1), ("login", 1), ("search", KEYS, ONE), ("read", ONE, NAMED)), []),
    "obj 11: public": (tell(*KNOWN, ("login", 1), ("logout", 1), ("read", ONE, NAMED)), []),
    "obj 11: being logged out": (
        overlapping("logout", 2)(lambda t: into(t, *LOGGED_IN), lambda t: t.read(ONE, NAMED)), []),
    "obj 11: a session object": (
        tell(("login", 1), ("make", ONE, {PRIVATE: True}), ("logout", 1), ("login", 1), ("search", ANY, ONE)),
        [module("P11-OBJ-11")]),
    "obj 11: a token object": (tell(*LOGGED_IN, ("logout", 1), ("login", 1), ("search", ANY, ONE)), []),
}


# Other groups of rules have their own stories.
MINE = [option for rule in (*(f"P11-FIND-0{n}" for n in (1, 5, 7)), *(f"NSS-FIND-0{n}" for n in (2, 3, 4, 6, 8, 9)),
                            *(f"NSS-OBJ-0{n}" for n in (1, 9)), *(f"P11-OBJ-{n:02}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 11)))
        for option in ("--rule", rule)]


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    story, expected = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    result = checked(build, run, *MINE, path, status=1 if any(s == E for _, s, _ in expected) else 0)
    assert found(result) == sorted(expected)
    assert all(f["evidence"] for f in result["findings"])
