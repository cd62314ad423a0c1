"""Stories of any function: check_story.py with what functions.def says of all the others.

    t = Calls()
    t.start(1)                                             # initialised, session 1 is open
    t.do("C_SignInit", 1, pMechanism=CKM_RSA_PKCS, hKey=7)
    t.do("C_Sign", 1, pSignature=bytes(256), pulSignatureLen=(256, 256))
    a = t.start_of("C_Sign", 1, tid=200, rv=OPERATION_NOT_INITIALIZED)   # overlapping: t.finish(a)

Parameters that are not given are sensible: data of 4 bytes, an output buffer of 1024 bytes that gets 64."""
import re

from check_story import OK, SERIAL, Story
from conftest import ROOT
from p11t_make import P_NULL, P_OWN, n, u

KINDS = {"NUMBER": 1, "LENGTH": 2, "BOOL": 3, "ENUM": 4, "FLAGS": 5, "SLOT": 6, "SESSION": 7, "OBJECT": 8, "KEY": 9,
         "POINTER": 10, "IN_BYTES": 14, "PIN": 15, "TEMPLATE": 16, "MECHANISM": 17, "MESSAGE_PARAM": 19,
         "OUT_BYTES": 20, "OUT_BYTES_OF": 21, "OUT_LENGTH": 22, "OUT_NUMBER": 23, "OUT_SESSION": 26, "OUT_OBJECT": 27,
         "OUT_MECHANISMS": 29, "OUT_OBJECTS": 30}
DATA = b"data"


def described():
    """name: its parameters as p11t_make wants them, of all functions whose parameters are of these kinds."""
    text, functions = (ROOT / "shim/spec/functions.def").read_text(), {}
    for name, body in re.findall(r"^F\((C_\w+),[^\n]*,\n((?:  \(.*\n)+)", text, re.M):
        parameters = [(KINDS.get(kind), param, int(numbers[0]) if (numbers := re.findall(r"\b\d+\b", more)) else 0, 0)
                      for param, kind, more in re.findall(r"\([^(),]+, (\w+), (\w+)((?:\([^)]*\))?)\)", body)]
        if all(p[0] for p in parameters):
            functions[name] = tuple(parameters)
    return functions


DESCRIBED = described()


def value(v):
    """V: bytes as they are, (length, tag, shape) as a tag, True and False a CK_BBOOL, None a NULL pointer."""
    if v is None:
        return b"\x00"
    if isinstance(v, bool):
        return b"\x0a" + bytes([v])
    if isinstance(v, tuple):
        length, tag, shape = v
        return b"\x03" + n(length) + tag.to_bytes(8, "little") + bytes([shape])
    return b"\x09" + u(v) if isinstance(v, int) else b"\x01" + n(len(v)) + v


def pointer(v):
    return P_NULL if v is None else P_OWN


def template(attributes):
    return pointer(attributes) + (b"" if attributes is None else n(len(attributes)) + b"".join(
        u(kind) + P_OWN + u(1 if isinstance(v, bool) else 8 if isinstance(v, int) else len(v)) + value(v) for kind, v in attributes))


def mechanism_value(v):
    """A number, or (number, length of the parameter, its structure, the members)."""
    if v is None:
        return b""
    if isinstance(v, int):
        return u(v) + P_NULL + u(0) + n(0) + b"\x00"
    kind, length, structure, members = v
    return u(kind) + P_OWN + u(length) + n(structure) + members


class Calls(Story):
    functions = {**DESCRIBED, **Story.functions}

    def start(self, *sessions, flags=SERIAL):
        self.initialize()
        self.call("slot_info")
        self.call("token_info")
        for session in sessions or (1,):
            self.open(session, flags=flags)
        return self

    def do(self, name, session, **more):
        """The call's number."""
        return self.call("any", name, session, **more)

    def start_of(self, name, session, **more):
        return self.begin("any", name, session, **more)

    def _any(self, name, session, rv=OK, **given):
        before, after, ok = b"", b"", rv == OK
        kinds = [kind for kind, *_ in DESCRIBED[name]]
        assert set(given) <= {param for _, param, _, _ in DESCRIBED[name]}, given
        for at, (kind, param, _, _) in enumerate(DESCRIBED[name]):
            if kind in (7, 6) and at == 0:
                before += u(session)
            elif kind <= 9:
                behind = DESCRIBED[name][at - 1][1] if at and kinds[at - 1] in (14, 15, 19) else None
                data = given.get(behind, DATA) if behind else b""
                size = 0 if data is None else data[0] if isinstance(data, tuple) else len(data)
                before += u(given.get(param, size))
            elif kind == 10:
                before += pointer(given.get(param))
            elif kind in (14, 15, 19):
                data = given.get(param, DATA)
                before, after = before + pointer(data), after + value(data)
            elif kind == 16:
                before, after = before + template(given.get(param, [])), after + n(0)
            elif kind == 17:
                mechanism = given.get(param, 0x250)
                before += pointer(mechanism) + mechanism_value(mechanism)
                after += n(0)
            elif kind in (20, 21):
                data = given.get(param, bytes(64))
                before, after = before + pointer(data), after + value(data if ok else None)
            elif kind == 22:
                room, length = given.get(param, (1024, 64))
                before, after = before + P_OWN + u(room), after + u(length)
            elif kind in (23, 26, 27):
                before, after = before + P_OWN, after + (b"\x01" + u(given.get(param, 0)) if ok else b"\x00")
            else:
                handles = given.get(param, ())
                before, after = before + P_OWN, after + n(len(handles)) + b"".join(map(u, handles))
        return name, before, after
