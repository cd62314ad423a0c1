"""Makes traces byte by byte, as shim/trace/FORMAT.md says, for tests of the reader: also such as no recorder would write.

    t = Trace()
    t.enter(1, "C_GetSessionInfo", u(7) + P_OWN)
    t.leave(2, 1, "C_GetSessionInfo", n(0) + n(0))
    t.frame()                 # the records so far become a frame of slot 0
    t.end()
    data = t.bytes()
"""
import struct

import xxhash
import zstandard

# name: ((kind, name, position of the length or 0, aux), ...)
FUNCTIONS = {
    "C_Initialize": ((18, "pInitArgs", 0, 0),),
    "C_GetSessionInfo": ((7, "hSession", 0, 0), (32, "pInfo", 0, 4)),
    "C_Sign": ((7, "hSession", 0, 0), (14, "pData", 3, 0), (2, "ulDataLen", 0, 0), (20, "pSignature", 5, 0),
               (22, "pulSignatureLen", 0, 0)),
    "C_FindObjects": ((7, "hSession", 0, 0), (30, "phObject", 3, 2), (2, "ulMaxObjectCount", 0, 0),
                      (22, "pulObjectCount", 0, 0)),
    "C_WaitForSlotEvent": ((5, "flags", 0, 0), (25, "pSlot", 0, 0), (10, "pReserved", 0, 0)),
    "C_GetAttributeValue": ((7, "hSession", 0, 0), (8, "hObject", 0, 0), (31, "pTemplate", 4, 0), (2, "ulCount", 0, 0)),
    "C_FindObjectsInit": ((7, "hSession", 0, 0), (16, "pTemplate", 3, 0), (2, "ulCount", 0, 0)),
    "C_SignInit": ((7, "hSession", 0, 0), (17, "pMechanism", 0, 0), (9, "hKey", 0, 0)),
    "C_FromTheFuture": ((99, "pNew", 0, 0), (1, "ulAfter", 0, 0)),
}
ENTER, LEAVE, MODULE, UNLOAD, LIST = 1, 2, 3, 4, 14
STACK, TIME, THREAD, OBJECT = 16, 17, 18, 19
SCHEMA, EVENTS, TABLES, END = 1, 2, 3, 4
FIRST, LAST, CUT = 1, 2, 16
P_NULL, P_OWN = b"\x00", b"\x01"
MASK = (1 << 64) - 1
SLOT, HEAD = 65536, 8192


def n(value):
    """Unsigned LEB128."""
    out = bytearray()
    value &= MASK
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def z(value):
    """Signed, zigzag."""
    value &= MASK
    return n((value << 1 ^ (MASK if value >> 63 else 0)) & MASK)


def u(value):
    """A CK_ULONG; None is CK_UNAVAILABLE_INFORMATION."""
    return n(0 if value is None else value + 1)


def s(text):
    text = text.encode() if isinstance(text, str) else text
    return n(len(text)) + text


def field(tag, data):
    return struct.pack("<HH", tag, len(data)) + data


def skip(magic, content):
    return struct.pack("<II", magic, len(content)) + content


def schema(functions=FUNCTIONS):
    parameters, index = [], {}
    for params in functions.values():
        for at, (kind, name, link, aux) in enumerate(params, 1):
            rel = (link - at) & 255 if link else 0
            index.setdefault((kind, rel, aux, name), len(index))
    parameters = list(index)
    out = n(len(parameters)) + bytes(p[0] for p in parameters) + bytes(p[1] for p in parameters)
    out += bytes(p[2] for p in parameters) + b"".join(p[3].encode() + b"\0" for p in parameters)
    out += n(len(functions)) + b"\x02" * len(functions) + b"\x28" * len(functions)
    out += bytes(len(p) for p in functions.values()) + b"".join(f.encode() + b"\0" for f in functions)
    for params in functions.values():
        for at, (kind, name, link, aux) in enumerate(params, 1):
            out += n(index[kind, (link - at) & 255 if link else 0, aux, name])
    return out + n(0) + n(0)


def head(pid=4711, program="client", incompatible=0, minor=0, trace_id=bytes(range(16)), clock=2, extra=b"", options="",
         rate=10**9):
    out = b"P11TRACE" + struct.pack("<HHIQQQ", 1, minor, 0, incompatible, 0, 0)
    program = program.encode() if isinstance(program, str) else program
    out += field(1, trace_id) + field(4, b"/usr/bin/" + program) + field(5, program)
    out += field(6, struct.pack("<I", 3)) + field(8, b"\x11" * 16) + field(9, struct.pack("<Q", 4026531836))
    out += field(10, struct.pack("<I", pid)) + field(11, struct.pack("<Q", 99)) + field(12, b"\x40\x00x86_64")
    out += field(13, struct.pack("<BQ", clock, rate)) + field(14, struct.pack("<QQQQ", 1000, 1000, 1000, 10**18))
    out += field(17, b"safe") + field(22, b"0.1.0") + field(18, options.encode())
    return out + extra


class Trace:
    def __init__(self, functions=FUNCTIONS, with_schema=True, **head_options):
        self.functions = list(functions)
        self.out = bytearray()
        self.sizes = []
        self.written = 0
        self.records = []
        self.generation = {}
        self.lives = {}
        self.head = head(**head_options)
        self.put(skip(0x184D2A50, self.head))
        if with_schema:
            self.data_frame(SCHEMA, schema(functions))

    def put(self, frame, content=0):
        self.sizes.append((len(frame), content))
        self.out += frame

    def data_frame(self, kind, content, slot=0, tid=100, generation=0, records=0, first=0, last=0, time=0, clock=2):
        def info(packed, hashed):
            head = struct.pack("<IBBHIIIIIIQQQ", 0x49463150, kind, clock, slot, packed, 64 + len(content), tid, generation,
                               0, records, first, last, time)
            return head + struct.pack("<Q", xxhash.xxh64(head, seed=0).intdigest() if hashed else 0)

        packed = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(info(0, False) + content)
        self.put(skip(0x184D2A51, info(len(packed), True)))
        self.put(packed, 64 + len(content))

    # -- records -----------------------------------------------------------------------------------
    def record(self, kind, body=b"", number=0, time=None, function=0, module=1, stack=0, aux=0, flags=FIRST | LAST):
        time = number * 1000 + 1000 if time is None else time
        self.records.append((kind, flags, function, module, stack, number, time, aux, body))

    def enter(self, number, function, body, sp=0x7000, **more):
        index = self.functions.index(function) if isinstance(function, str) else function
        self.record(ENTER, body, number, function=index, aux=sp, **more)

    def leave(self, number, of, function, body, **more):
        index = self.functions.index(function) if isinstance(function, str) else function
        self.record(LEAVE, body, number, function=index, aux=of, **more)

    def thread(self, tid, name="main"):
        self.record(THREAD, n(tid) + s(name))

    def module(self, number, id=1, path="/lib/vendor.so", build_id="abcd"):
        self.record(MODULE, n(id) + s(path) + s(build_id) + u(0x7F0000) + n(1) + s("/lib/stub.so"), number)

    def list(self, number, id=1, name="", version=(2, 40), count=68, nulls=b""):
        self.record(LIST, n(id) + s(name) + bytes(version) + u(0) + n(count) + s(nulls), number)

    def columns(self):
        h, a, t, b = bytearray(), bytearray(), bytearray(), bytearray()
        numbered = [r for r in self.records if r[0] < 16]
        first = min((r[5] for r in numbered), default=0)
        last = max((r[5] for r in numbered), default=0)
        time0 = numbered[0][6] if numbered else 0
        number, sp, time = first, 0, time0
        for kind, flags, function, module, stack, num, when, aux, body in self.records:
            h += bytes((kind, flags))
            if kind in (ENTER, LEAVE):
                h += n(function) + n(module) + n(stack)
            h += n(len(body))
            if kind < 16:
                a += z(num - number)
                number = num
                if kind == ENTER:
                    a += z(aux - sp)
                    sp = aux
                if kind == LEAVE:
                    a += n(num - aux)
                t += z(when - time)
                time = when
            b += body
        content = n(len(h)) + n(len(a)) + n(len(t)) + bytes(h) + bytes(a) + bytes(t) + bytes(b)
        return content, dict(records=len(self.records), first=first, last=last, time=time0)

    def frame(self, slot=0, tid=100, kind=EVENTS, generation=None, clock=2):
        """The records so far become a frame."""
        content, info = self.columns()
        self.generation[slot] = generation or self.generation.get(slot, 0) + 1
        self.data_frame(kind, content, slot, tid, self.generation[slot], clock=clock, **info)
        self.written += len(self.records)
        self.records = []

    def live_slot(self, slot=0, tid=100, generation=None):
        """The records so far stay in a slot of the live file."""
        raw = bytearray()
        for kind, flags, function, module, stack, number, when, aux, body in self.records:
            size = (40 + len(body) + 7) // 8 * 8
            raw += struct.pack("<IBBHHHIQQQ", size, kind, flags, function, module, stack, len(body), number, when, aux)
            raw += body + bytes(size - 40 - len(body))
        self.lives[slot] = (generation or self.generation.get(slot, 0) + 1, tid, bytes(raw))
        self.records = []

    def end(self, reason="exit", pair=None, **fields):
        fields.setdefault("records", self.written)
        tags = dict(records=1, dropped=2, cut=3, last=4, passed=8)
        out = b"".join(field(tags[k], struct.pack("<Q", v)) for k, v in fields.items())
        out += field(5, struct.pack("<QQQQ", *pair)) if pair else b""
        self.data_frame(END, out + field(7, reason.encode()))

    def seek_table(self):
        entries = b"".join(struct.pack("<II", *size) for size in self.sizes)
        self.put(skip(0x184D2A5E, entries + struct.pack("<IBI", len(self.sizes), 0, 0x8F92EAB1)))

    def bytes(self):
        return bytes(self.out)

    def live(self, frames=0, state=1, slots=None, trace_end=None):
        slots = (max(self.lives) + 1 if self.lives else 4) if slots is None else slots
        out = b"P11TLIVE" + struct.pack("<HHIIIQQQQQII", 1, 0, HEAD, SLOT, slots,
                                        len(self.out) if trace_end is None else trace_end, 0, 0, 0, frames, state, 0)
        out += struct.pack("<QQQQ", 10**6, 10**6, 10**6, 10**18 + 10**6) + struct.pack("<I", len(self.head))
        out = out.ljust(256, b"\0") + self.head
        out = bytearray(out.ljust(HEAD, b"\0"))
        for i in range(slots):
            generation, tid, raw = self.lives.get(i, (1, 0, b""))
            slot = struct.pack("<IIII", 0x4C533150, i, generation, tid).ljust(64, b"\0") + raw
            out += slot.ljust(SLOT, b"\0")
        return bytes(out)
