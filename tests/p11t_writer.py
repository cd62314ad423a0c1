"""Traces written call by call in the words of PKCS #11, for tests of what the decoder shows: p11t_make's frames, the
schema of functions.def, and the encodings of FORMAT.md section 4 by name.

    w = Writer()
    w.call("C_Login", number(1), number(1), tagged(8, 0x1F2E3D4C, 8), number(8))

Arguments are in the order of the function; an Arg holds what ENTER and LEAVE say of a parameter."""
import re
from collections import namedtuple
from pathlib import Path

import p11t_make
from p11t_make import n, s, u

SPEC = Path(__file__).resolve().parent.parent / "shim" / "spec"
KINDS = {"NUMBER": 1, "LENGTH": 2, "BOOL": 3, "ENUM": 4, "FLAGS": 5, "SLOT": 6, "SESSION": 7, "OBJECT": 8, "KEY": 9,
         "POINTER": 10, "STRING": 11, "CHARS": 12, "VERSION": 13, "IN_BYTES": 14, "PIN": 15, "TEMPLATE": 16,
         "MECHANISM": 17, "INIT_ARGS": 18, "MESSAGE_PARAM": 19, "OUT_BYTES": 20, "OUT_BYTES_OF": 21, "OUT_LENGTH": 22,
         "OUT_NUMBER": 23, "OUT_FLAGS": 24, "OUT_SLOT": 25, "OUT_SESSION": 26, "OUT_OBJECT": 27, "OUT_SLOTS": 28,
         "OUT_MECHANISMS": 29, "OUT_OBJECTS": 30, "OUT_TEMPLATE": 31, "OUT_STRUCT": 32, "OUT_FUNCTION_LIST": 33,
         "OUT_INTERFACE": 34, "OUT_INTERFACES": 35}


def read_def(name, letter):
    """The entries of a table, as lists of their arguments; parenthesised ones as lists too."""
    text = re.sub(r"/\*.*?\*/", "", (SPEC / name).read_text(), flags=re.S)
    for entry in re.finditer(rf"^{letter}\((.*?)\)\s*$(?=\s*(?:^{letter}\(|^#|\Z))", text, flags=re.S | re.M):
        yield " ".join(entry.group(1).split())


def functions():
    """The functions as p11t_make.schema wants them."""
    domain = {line.split(",")[0]: i for i, line in enumerate(read_def("domains.def", "D"), 1)}
    structure = {line.split(",")[1].strip(): int(line.split(",")[0]) for line in read_def("structures.def", "S")}
    result = {}
    for line in read_def("functions.def", "F"):
        params = []
        for _, name, kind, args in re.findall(r"\((\w+), (\w+), (\w+)(?:\((.*?)\))?\)", line):
            args = [a.strip() for a in args.split(",")] if args else []
            link = aux = 0
            if kind in ("ENUM", "FLAGS", "OUT_FLAGS"):
                aux = domain.get(args[0], 0)
            elif kind == "OUT_STRUCT":
                aux = structure[args[0]]
            elif kind == "CHARS":
                aux = int(args[0])
            elif args:
                link = int(args[0])
                aux = (int(args[1]) - len(params) - 1) & 255 if kind == "OUT_OBJECTS" else 0
            params.append((KINDS[kind], name, link, aux))
        result[line.split(",")[0]] = tuple(params)
    assert len(result) == 104
    return result


FUNCTIONS = functions()
NULL, OWN, UNREADABLE = b"\x00", b"\x01", b"\x02"
Arg = namedtuple("Arg", "enter leave", defaults=(b"",))


# -- values ----------------------------------------------------------------------------------------
def full(data):
    return b"\x01" + s(data)


def cut(length, data):
    return b"\x02" + n(length) + s(data)


def tag(length, value, shape=0):
    return b"\x03" + n(length) + value.to_bytes(8, "little") + bytes((shape,))


def unread(length):
    return b"\x05" + n(length)


NOTHING, UNAVAILABLE = b"\x00", b"\x06"


def ulong(value):
    return b"\x09" + u(value)


def boolean(value):
    return b"\x0a" + bytes((value,))


def numbers(*values):
    return b"\x0d" + n(len(values)) + b"".join(u(v) for v in values)


def nested(*attributes):
    return b"\x0b" + n(len(attributes)) + b"".join(attributes)


def attribute(kind, value, length, pointer=OWN):
    return u(kind) + pointer + u(length) + value


# -- parameters ------------------------------------------------------------------------------------
def number(value):
    return Arg(u(value))


def pointer(p=NULL):
    return Arg(p)


def given(value, p=OWN):
    """Bytes, a PIN, a message parameter: kinds 14, 15, 19; 12."""
    return Arg(p, value)


def tagged(length, value, shape=0):
    return given(tag(length, value, shape))


def string(data):
    return Arg(OWN + full(data)) if data is not None else Arg(NULL)


def version(major, minor):
    return Arg(OWN + bytes((major, minor)))


def template(*attributes):
    return Arg(OWN + n(len(attributes)) + b"".join(attributes), n(0))


def mechanism(kind, parameter=NOTHING, length=0, p=NULL, structure=0, members=b"", after=n(0)):
    return Arg(OWN + u(kind) + p + u(length) + n(structure) + (members if structure else parameter), after)


def stored(value, p=OWN):
    """Kinds 20, 21."""
    return Arg(p, value)


def length(before, after):
    return Arg(OWN + u(before), u(after))


def gives(value):
    """Kinds 23 to 27; None: the call failed."""
    return Arg(OWN, b"\x00" if value is None else b"\x01" + u(value))


def lists(*values, p=OWN):
    return Arg(p, n(len(values)) + b"".join(u(v) for v in values))


def asked(*attributes):
    """(type, capacity or None for a NULL pValue, length after, V)"""
    return Arg(OWN + n(len(attributes)) + b"".join(u(t) + (NULL + u(0) if c is None else OWN + u(c)) for t, c, _, _ in attributes),
               n(len(attributes)) + b"".join(u(after) + v for _, _, after, v in attributes))


def filled(structure, *members):
    """Kind 32, members already encoded; structure 0: not written."""
    return Arg(OWN, n(structure) + (n(len(members)) + b"".join(members) if structure else b""))


class Writer:
    """Calls of one process, numbered as they come; `us` is the time that a call takes."""

    def __init__(self, **head):
        self.trace = p11t_make.Trace(FUNCTIONS, **head)
        self.next = 1
        self.now = 1000
        self.tid = 100

    def thread(self, tid, name=""):
        self.trace.thread(tid, name)
        self.tid = tid

    def number(self):
        self.next += 1
        return self.next - 1

    def module(self, **what):
        self.trace.module(self.number(), **what)

    def enter(self, name, *args, module=1, flags=3):
        assert len(args) == len(FUNCTIONS[name]), name
        at = self.number()
        self.now += 10_000
        self.trace.enter(at, name, b"".join(a.enter for a in args), time=self.now, module=module, flags=flags)
        return at

    def leave(self, at, name, *args, rv=0, us=5, module=1, flags=3):
        self.now += us * 1000
        self.trace.leave(self.number(), at, name, n(rv) + b"".join(a.leave for a in args), time=self.now, module=module,
                         flags=flags)

    def call(self, name, *args, rv=0, us=5, module=1, flags=3):
        self.leave(self.enter(name, *args, module=module, flags=flags), name, *args, rv=rv, us=us, module=module, flags=flags)

    def frame(self, slot=0):
        self.trace.frame(slot=slot, tid=self.tid)

    def bytes(self):
        if self.trace.records:
            self.frame()
        self.trace.end()
        self.trace.seek_table()
        return self.trace.bytes()
