"""The building blocks, the SCHEMA and the values of a trace: sections 2 and 4 of shim/trace/FORMAT.md, as p11t_reader.py
reads them."""
import re
import struct
from dataclasses import dataclass
from pathlib import Path

SPEC = Path(__file__).resolve().parent.parent / "shim" / "spec"
UNAVAILABLE = 2**64 - 1


class Cursor:
    """Reads the building blocks; ValueError at the end."""

    def __init__(self, data, pos=0):
        self.data, self.pos = data, pos

    def take(self, n):
        if n > len(self.data) - self.pos:
            raise ValueError(f"{n} bytes wanted at {self.pos} of {len(self.data)}")
        self.pos += n
        return self.data[self.pos - n:self.pos]

    def fixed(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))

    def u8(self):
        return self.take(1)[0]

    def n(self):
        value, shift = 0, 0
        while True:
            byte = self.u8()
            value |= (byte & 127) << shift
            if byte < 128:
                if value >= 2**64:
                    raise ValueError(f"number beyond 64 bits at {self.pos}")
                return value
            shift += 7

    def z(self):
        n = self.n()
        return n >> 1 ^ -(n & 1)

    def u(self):
        return (self.n() - 1) % 2**64

    def s(self):
        return self.take(self.n())

    def string(self):
        end = self.data.index(b"\0", self.pos)
        text = self.data[self.pos:end]
        self.pos = end + 1
        return text.decode()

    def left(self):
        return len(self.data) - self.pos


# --- SCHEMA and structures.def ---------------------------------------------------------------------------------------

FIELD_KINDS = {"NUMBER": 1, "NUMBER_VOLATILE": 1, "ENUM": 2, "FLAGS": 3, "BOOL": 4, "HANDLE": 5, "CHARS": 6,
               "CHARS_VOLATILE": 6, "ARRAY": 7, "VERSION": 8, "STRUCT": 9, "BYTES": 10, "BITS": 11, "PVERSION": 12,
               "PSTRUCT": 13, "STRUCTS": 14, "TEMPLATE": 15, "MECHANISM": 16, "PNUMBER": 17, "PHANDLE": 18, "POINTER": 19,
               "BYTES_AT": 20, "SLOT": 21, "BYTES_OF": 22}
DIRECTIONS = {"IN": 1, "OUT": 2, "INOUT": 3}


@dataclass
class Member:
    name: str
    kind: int
    direction: int
    ref: str = ""


@dataclass
class Structure:
    name: str
    members: list


def base_structures():
    """Number -> Structure, from the text of structures.def."""
    text = re.sub(r"/\*.*?\*/", "", (SPEC / "structures.def").read_text(), flags=re.S)
    result = {}
    for body in re.split(r"^S\(", text, flags=re.M)[1:]:
        number, name = re.match(r"(\d+),\s*(\w+)", body).groups()
        members = []
        for m in re.finditer(r"\(\s*\w+\s*,\s*(\w+)\s*,\s*(?:\[\w+\])?\s*,\s*(\w+)\(([^()]*)\)\s*\)", body):
            arguments = [a.strip() for a in m[3].split(",")]
            members.append(Member(m[1], FIELD_KINDS[m[2]], DIRECTIONS[arguments[-1]], arguments[0]))
        result[int(number)] = Structure(name, members)
    return result


@dataclass
class Parameter:
    name: str
    kind: int
    link: int
    aux: int


@dataclass
class Function:
    name: str
    version: tuple
    parameters: list


class Schema:
    def __init__(self, content):
        c = Cursor(content, 64)
        n = c.n()
        kinds, links, auxs = c.take(n), c.fixed(f"{n}b"), c.take(n)
        parameters = [Parameter(c.string(), kinds[i], links[i], auxs[i]) for i in range(n)]
        n = c.n()
        majors, minors, arities = c.take(n), c.take(n), c.take(n)
        names = [c.string() for _ in range(n)]
        self.functions = [Function(names[i], (majors[i], minors[i]), [parameters[c.n()] for _ in range(arities[i])])
                          for i in range(n)]
        self.structures = base_structures()
        for _ in range(c.n()):
            e = Cursor(c.s())
            number, name = e.n(), e.s().decode()
            self.structures[number] = Structure(name, [Member(e2[3].decode(), e2[0], e2[1], e2[2])
                                                       for e2 in [(e.u8(), e.u8(), e.n(), e.s()) for _ in range(e.n())]])
        self.constants = []
        for _ in range(c.n()):
            e = Cursor(c.s())
            self.constants.append((e.s().decode(), e.s().decode(), e.u()))
        if c.left():
            raise ValueError(f"SCHEMA: {c.left()} bytes too many")
        self.numbers = {s.name: number for number, s in self.structures.items()}
        self.numbers |= {number: number for number in self.structures}  # a SCHEMA's own members refer by number


# --- values and parameters: section 4 --------------------------------------------------------------------------------

@dataclass
class V:
    """A value: form, true length (None: not said), the bytes kept, or what the form says instead."""
    form: int
    length: int = None
    data: bytes = None
    number: int = None
    tag: int = None
    shape: int = None
    items: list = None
    seal_class: int = None  # of a sealed value; its place is in `number`, the box in `data`


class Decoder:
    """Decodes the bodies of ENTER and LEAVE."""

    def __init__(self, schema):
        self.schema = schema

    def value(self, c):
        form = c.u8()
        if form == 0:
            return V(0)
        if form == 1:
            data = c.s()
            return V(1, len(data), data)
        if form == 2:
            return V(2, c.n(), c.s())
        if form == 3:
            return V(3, c.n(), tag=c.fixed("Q")[0], shape=c.u8())
        if form == 4:
            length, s = c.n(), Cursor(c.s())
            seal_class, place = s.u8(), s.n()
            return V(4, length, tag=s.fixed("Q")[0], shape=s.u8(), number=place, seal_class=seal_class,
                     data=s.take(s.left()))
        if form in (5, 8, 12):
            return V(form, c.n())
        if form == 6:
            return V(6, UNAVAILABLE)
        if form == 7:
            return V(7, c.n(), number=c.n())
        if form == 9:
            return V(9, number=c.u())
        if form == 10:
            return V(10, number=c.u8())
        if form == 11:
            return V(11, items=self.template(c))
        if form == 13:
            return V(13, items=[c.u() for _ in range(c.n())])
        if form == 14:
            number = c.n()
            return V(14, number=number, items=self.members(c, number, 3))
        raise ValueError(f"value form {form} at {c.pos}")

    def template(self, c):
        return [dict(type=c.u(), pointer=c.u8(), length=c.u(), value=self.value(c)) for _ in range(c.n())]

    def mechanism(self, c, direction):
        m = dict(mechanism=c.u(), pointer=c.u8(), length=c.u(), structure=c.n())
        if m["structure"]:
            m["members"] = self.members(c, m["structure"], direction)
        else:
            m["value"] = self.value(c)
        return m

    def members(self, c, number, direction):
        members = [m for m in self.schema.structures[number].members if m.direction & direction]
        count = c.n()
        if count > len(members):
            raise ValueError(f"{count} members of structure {number} at {c.pos}, which has {len(members)}")
        return {m.name: self.member(c, m, direction) for m in members[:count]}

    def member(self, c, m, direction):
        k = m.kind
        if k in (1, 2, 3, 4, 5, 21):
            return c.u()
        if k in (6, 7):
            return self.value(c)
        if k == 8:
            return c.u8(), c.u8()
        if k == 9:
            return self.members(c, self.schema.numbers[m.ref], direction)
        pointer = c.u8()
        if k == 19 or pointer in (0, 2):
            return dict(pointer=pointer)
        if k in (10, 11, 20, 22):
            inside = self.value(c)
        elif k == 12:
            inside = (c.u8(), c.u8())
        elif k == 13:
            inside = self.members(c, self.schema.numbers[m.ref], direction)
        elif k == 14:
            inside = [self.members(c, self.schema.numbers[m.ref], direction) for _ in range(c.n())]
        elif k == 15:
            inside = self.template(c)
        elif k == 16:
            inside = self.mechanism(c, direction)
        elif k in (17, 18):
            inside = c.u()
        else:
            raise ValueError(f"member kind {k} at {c.pos}")
        return dict(pointer=pointer, value=inside)

    def interface(self, c):
        return dict(name=c.s(), version=(c.u8(), c.u8()), flags=c.u())

    def enter(self, c, p):
        k = p.kind
        if k >= 64:
            return dict(unknown=c.s())
        if k <= 9:
            return dict(number=c.u())
        r = dict(pointer=c.u8())
        if k in (14, 15, 19):
            if r["pointer"] >= 16:
                r["value"] = self.value(c)
        elif r["pointer"] == 0:
            pass
        elif k == 11:
            r["value"] = self.value(c)
        elif k == 13:
            r["version"] = (c.u8(), c.u8())
        elif k == 16:
            r["template"] = self.template(c)
        elif k == 17:
            r["mechanism"] = self.mechanism(c, 1)
        elif k == 18:
            r.update(callbacks=c.u8(), flags=c.u(), reserved=c.u8(), value=self.value(c))
        elif k == 22:
            r["number"] = c.u()
        elif k == 31:
            r["template"] = [dict(type=c.u(), pointer=c.u8(), length=c.u()) for _ in range(c.n())]
        return r

    def leave(self, c, p, before):
        """What the parameter is after the call; {} when the kind says nothing."""
        k, null = p.kind, before is not None and before.get("pointer") == 0
        if k >= 64:
            return dict(unknown=c.s())
        if k in (12, 14, 15, 19, 20, 21):
            return dict(value=self.value(c))
        if k == 16:
            return dict(deferred={c.n(): self.value(c) for _ in range(c.n())})
        if k in (17, 32):
            number = c.n()
            return dict(structure=number, members=self.members(c, number, 2)) if number else dict(structure=0)
        if k == 22 and not null:
            return dict(number=c.u())
        if 23 <= k <= 27 and not null:
            return dict(number=c.u()) if c.u8() else {}
        if 28 <= k <= 30:
            return dict(list=[c.u() for _ in range(c.n())])
        if k == 31:
            return dict(template=[dict(length=c.u(), value=self.value(c)) for _ in range(c.n())])
        if k == 33:
            return dict(version=(c.u8(), c.u8())) if c.u8() else {}
        if k in (34, 35):
            return dict(interfaces=[self.interface(c) for _ in range(c.n())])
        return {}
