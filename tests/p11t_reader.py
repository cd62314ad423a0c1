"""A second reader of traces, written from shim/trace/FORMAT.md alone: the text is complete if this works.

    trace = p11t_reader.read("certutil.1700000000.42.p11t")
    for call in trace.calls: print(call.number, call.name, call.rv, call.arguments())

The file is read whole; NAME.p11t.live is read with it when it is there.  Every length is checked, every body must be used
up to its last byte: what the text does not say is an error here (ValueError with the place), and damage of the file is
collected in `trace.damage`.  Function names and parameters come from the trace's own SCHEMA, structures from
shim/spec/structures.def."""
import fcntl
import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import xxhash
import zstandard

from p11t_stacks import INFINITE, Object, Stack, parse_object, parse_stacks  # noqa: F401
from p11t_values import SPEC, Cursor, Decoder, Schema, base_structures  # noqa: F401

SKIP_HEAD, SKIP_INFO, SKIP_SEEK = 0x184D2A50, 0x184D2A51, 0x184D2A5E
SCHEMA, EVENTS, TABLES, END = 1, 2, 3, 4
TABLES_SLOT = 0xFFFFFFFF
ENTER, LEAVE, MODULE, UNLOAD, LIST, PROCESS = 1, 2, 3, 4, 14, 13
STACK, TIME, THREAD, OBJECT = 16, 17, 18, 19
FIRST, LAST = 1, 2


# --- records ---------------------------------------------------------------------------------------------------------

@dataclass
class Record:
    kind: int
    flags: int
    function: int
    module: int
    stack: int
    body: bytes
    number: int = 0
    time: int = 0
    aux: int = 0  # ENTER: stack pointer; LEAVE: number of its ENTER
    slot: int = 0
    generation: int = 0
    tid: int = 0
    clock: int = 0
    cut: bool = False  # the last piece is missing


@dataclass
class Info:
    kind: int
    clock: int
    slot: int
    packed: int
    content: int
    tid: int
    generation: int
    dropped: int
    records: int
    first: int
    last: int
    time: int
    offset: int = 0


def parse_info(data, offset=0):
    """The 64 bytes of a FRAME-INFO, or None when magic or hash are wrong."""
    if len(data) != 64 or data[:4] != b"P1FI":
        return None
    if struct.unpack_from("<Q", data, 56)[0] != xxhash.xxh64(data[:56], seed=0).intdigest():
        return None
    return Info(*struct.unpack_from("<BBHIIIIIIQQQ", data, 4), offset)


def frame_records(info, content):
    """The records of an EVENTS or TABLES frame, pieces not joined."""
    c = Cursor(content, 64)
    lengths = c.n(), c.n(), c.n()
    h, a, t = (Cursor(c.take(n)) for n in lengths)
    result, number, sp, time = [], info.first, 0, info.time
    while h.left():
        r = Record(h.u8(), h.u8(), 0, 0, 0, b"", slot=info.slot, generation=info.generation, clock=info.clock)
        if r.kind in (ENTER, LEAVE):
            r.function, r.module, r.stack = h.n(), h.n(), h.n()
        r.body = c.take(h.n())
        if r.kind < 16:
            number += a.z()
            time += t.z()
            r.number, r.time = number, time
            if r.kind == ENTER:
                sp = r.aux = (sp + a.z()) % 2**64
            elif r.kind == LEAVE:
                r.aux = number - a.n()
        result.append(r)
    if a.left() or t.left() or c.left():
        raise ValueError(f"frame of slot {info.slot}: {a.left()}, {t.left()}, {c.left()} bytes left in columns A, T, B")
    if len(result) != info.records:
        raise ValueError(f"frame of slot {info.slot} has {len(result)} records, not {info.records}")
    return result


def slot_records(data, index, generation):
    """The committed records of a slot of the live file."""
    result, pos = [], 64
    while pos + 40 <= len(data):
        commit, kind, flags, function, module, stack, body, number, time, aux = struct.unpack_from("<IBBHHHIQQQ", data, pos)
        if commit == 0:
            break
        if commit % 8 or commit < 40 + body or pos + commit > len(data):
            raise ValueError(f"slot {index}: record of {commit} bytes at {pos}")
        result.append(Record(kind, flags, function, module, stack, data[pos + 40:pos + 40 + body], number, time, aux,
                             index, generation))
        pos += commit
    return result


def join_pieces(records):
    """Chains become one record each; a chain without its end is marked.  Unnumbered records are never chains."""
    result, chains = [], {}
    for r in records:
        if r.kind >= 16 or r.flags & (FIRST | LAST) == FIRST | LAST:
            result.append(r)
        elif r.flags & FIRST:
            chains[r.number] = r
            r.cut = True
            result.append(r)
        elif r.number in chains:
            chains[r.number].body += r.body
            chains[r.number].cut = not r.flags & LAST
            chains[r.number].flags |= r.flags
    return result


# --- calls -----------------------------------------------------------------------------------------------------------

DONE, OPEN, ABANDONED, HEADLESS = "done", "open", "abandoned", "headless"


@dataclass
class Call:
    trace: object
    enter: Record
    leave: Record
    state: str

    @property
    def number(self):
        return self.enter.number if self.enter else self.leave.aux

    @property
    def any(self):
        return self.enter or self.leave

    @property
    def tid(self):
        return self.any.tid

    @property
    def function(self):
        return self.trace.schema.functions[self.any.function]

    @property
    def name(self):
        return self.function.name

    @property
    def stack(self):
        """The fuller one of ENTER's and LEAVE's, None if there is none."""
        stacks = [s for s in (self.trace.stack(self.enter), self.trace.stack(self.leave)) if s]
        return max(stacks, key=lambda s: len(s.frames), default=None)

    @property
    def rv(self):
        return Cursor(self.leave.body).n() if self.leave else None

    def arguments(self):
        """[(Parameter, before, after)]; before or after is None when that record is missing or was cut."""
        decoder, parameters = Decoder(self.trace.schema), self.function.parameters
        before = after = [None] * len(parameters)
        if self.enter and not self.enter.cut:
            c = Cursor(self.enter.body)
            before = [decoder.enter(c, p) for p in parameters]
            if c.left():
                raise ValueError(f"#{self.number} {self.name}: {c.left()} bytes left in ENTER")
        if self.leave and not self.leave.cut:
            c = Cursor(self.leave.body)
            c.n()
            after = [decoder.leave(c, p, b) for p, b in zip(parameters, before)]
            if c.left():
                raise ValueError(f"#{self.number} {self.name}: {c.left()} bytes left in LEAVE")
        return list(zip(parameters, before, after))

    def argument(self, name):
        """(before, after) of the parameter of that name."""
        return next((b, a) for p, b, a in self.arguments() if p.name == name)


def make_calls(trace, records):
    """Pairs ENTER with LEAVE.  A call is abandoned when its frame is gone: a later call of the thread was made at the
    same depth of the stack or above, or an outer call returned."""
    calls, by_number, open_calls = [], {}, {}
    for r in records:
        stack = open_calls.setdefault(r.tid, [])
        if r.kind == ENTER:
            while stack and stack[-1].enter.aux <= r.aux:
                stack.pop().state = ABANDONED
            call = Call(trace, r, None, OPEN)
            by_number[r.number] = call
            stack.append(call)
            calls.append(call)
        elif r.kind == LEAVE:
            call = by_number.get(r.aux)
            if call is None:
                calls.append(Call(trace, None, r, HEADLESS))
                continue
            call.leave, call.state = r, DONE
            if call in stack:
                while stack[-1] is not call:
                    stack.pop().state = ABANDONED
                stack.pop()
    return calls


# --- files -----------------------------------------------------------------------------------------------------------

def parse_head(content):
    """(version, masks, {tag: [bytes]})"""
    c = Cursor(content)
    if c.take(8) != b"P11TRACE":
        raise ValueError("no P11TRACE magic")
    major, minor, zero, incompatible, read_only, compatible = c.fixed("HHIQQQ")
    if major != 1 or incompatible or zero:
        raise ValueError(f"version {major}.{minor}, incompatible mask {incompatible:#x}")
    return (major, minor), (incompatible, read_only, compatible), parse_fields(c)


def parse_fields(c):
    fields = {}
    while c.left():
        tag, length = c.fixed("HH")
        fields.setdefault(tag, []).append(c.take(length))
    return fields


@dataclass
class Live:
    trace_end: int
    dropped: int
    cut: int
    passed: int
    frames: int
    state: int
    exit_code: int
    pair: tuple
    head: bytes
    slots: list  # (index, generation, tid, bytes)
    file: int = 0  # index of the file that trace_end is of
    complete_from: int = 0


def parse_live(data):
    if data[:8] != b"P11TLIVE":
        raise ValueError("live file without magic")
    major, minor, head_size, slot_size, count = struct.unpack_from("<HHIII", data, 8)
    end, dropped, cut, passed, frames, state, code, p0, p1, p2, p3, n, file, complete_from = struct.unpack_from(
        "<QQQQQIIQQQQIIQ", data, 24)
    slots = []
    for i in range(count):
        slot = data[head_size + i * slot_size:head_size + (i + 1) * slot_size]
        if len(slot) < 64:
            break
        magic, index, generation, tid = struct.unpack_from("<IIII", slot)
        if magic == 0x4C533150 and generation:
            slots.append((index, generation, tid, slot))
    return Live(end, dropped, cut, passed, frames, state, code, (p0, p1, p2, p3), data[256:256 + n], slots,
                file, complete_from)


def is_locked(path):
    """Does a process hold the owner's lock?"""
    F_OFD_GETLK, F_UNLCK = 36, 2
    with open(path, "rb") as f:
        request = struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 1, 0)
        return struct.unpack("hhqqi4x", fcntl.fcntl(f, F_OFD_GETLK, request))[0] != F_UNLCK


@dataclass
class Trace:
    path: str
    files: list = field(default_factory=list)  # [(index, complete_from, path, END's fields or None, largest number)] in order
    complete_from: int = 1
    missing: int = 0  # numbers between files that are in none
    version: tuple = None
    masks: tuple = None
    fields: dict = field(default_factory=dict)
    schema: Schema = None
    frames: list = field(default_factory=list)  # (Info, content)
    seek: list = None  # [(packed, content)] of the seek table
    end: dict = None
    live: Live = None
    locked: bool = False
    records: list = field(default_factory=list)  # numbered ones, in order of number
    other: list = field(default_factory=list)  # STACK, TIME, THREAD, OBJECT in file order
    objects: list = field(default_factory=list)  # what OBJECT records say, in the order in which it holds
    stacks: dict = field(default_factory=dict)  # (slot, generation, index): (addresses, stale)
    calls: list = field(default_factory=list)
    damage: list = field(default_factory=list)  # (offset, what)

    def text(self, tag):
        return self.fields[tag][0].decode("utf-8", "surrogateescape") if tag in self.fields else None

    @property
    def pid(self):
        return struct.unpack("<I", self.fields[10][0])[0]

    @property
    def modules(self):
        """[(id, path, how)]"""
        result = []
        for r in self.records:
            if r.kind == MODULE:
                c = Cursor(r.body)
                number, path, _, _, how = c.n(), c.s(), c.s(), c.u(), c.n()
                result.append((number, os.fsdecode(path), how))
        return result

    def stack(self, record):
        """The stack that an ENTER or LEAVE names, None if none."""
        if not record or not record.stack:
            return None
        addresses, stale = self.stacks[record.slot, record.generation, record.stack]
        return Stack([(a, self.object_at(a, record.number)) for a in addresses], stale)

    def object_at(self, address, number):
        """The file that the return address belongs to in the record of that number: the latest that was told of."""
        covering = [o for o in self.objects if o.address < address <= o.address + o.size]
        before = [o for o in covering if o.since <= number]
        return before[-1] if before else covering[0] if covering else None

    @property
    def verdict(self):
        if self.damage:
            return "cut"
        if self.locked or (self.end is not None and self.end.get(7) == [b"snapshot"]):
            return "recording"
        if self.end is not None:
            return "complete"
        running = [c for c in self.calls if c.state == OPEN and c.name != "C_WaitForSlotEvent"]
        return "died in call" if running else "ended"


def read_frames(trace, data, end):
    """Fills head, frames and seek table from the bytes of NAME.p11t up to `end`."""
    pos, expected = 0, True
    unzip = zstandard.ZstdDecompressor()

    def lost(what):
        nonlocal pos, expected
        if expected:
            trace.damage.append((pos, what))
        expected = False
        pos = data.find(struct.pack("<I", SKIP_INFO), pos + 1, end)
        if pos < 0:
            pos = end

    while pos < end:
        if pos + 8 > end:
            lost("frame header cut")
            continue
        magic, size = struct.unpack_from("<II", data, pos)
        if magic == SKIP_HEAD and pos == 0 and pos + 8 + size <= end:
            trace.version, trace.masks, trace.fields = parse_head(data[8:8 + size])
            pos += 8 + size
        elif magic == SKIP_INFO and size == 64 and pos + 72 <= end and parse_info(data[pos + 8:pos + 72], pos):
            info = parse_info(data[pos + 8:pos + 72], pos)
            if pos + 72 + info.packed > end:
                lost(f"data frame of {info.packed} bytes cut")
                continue
            try:
                content = unzip.decompress(data[pos + 72:pos + 72 + info.packed], max_output_size=max(info.content, 1))
            except zstandard.ZstdError as e:
                lost(str(e))
                continue
            inside = bytearray(data[pos + 8:pos + 72])
            inside[8:12], inside[56:64] = bytes(4), bytes(8)
            if len(content) != info.content or content[:64] != inside:
                lost("content does not fit its FRAME-INFO")
                continue
            trace.frames.append((info, content))
            pos += 72 + info.packed
            expected = True
        elif magic == SKIP_SEEK and pos + 8 + size == end and data[end - 4:end] == b"\xb1\xea\x92\x8f":
            count, descriptor = struct.unpack_from("<IB", data, end - 9)
            width = 12 if descriptor & 128 else 8
            if size != 9 + width * count:
                raise ValueError("seek table of a wrong size")
            trace.seek = [struct.unpack_from("<II", data, pos + 8 + i * width) for i in range(count)]
            pos = end
        else:
            lost(f"no frame: {magic:#010x}" if magic not in (SKIP_HEAD, SKIP_INFO, SKIP_SEEK) else "frame cut or damaged")


def collect(trace):
    """Records of all frames and of the live slots that no frame holds, in order, with their threads."""
    fills = {}  # slot -> {generation: (records, tid)}
    owners = {}  # (slot, generation) -> tid, from TABLES

    def add_fill(slot, generation, records, tid):
        """Two dumps of a flight recorder may have one slot: the later one has more of it."""
        have = fills.setdefault(slot, {}).get(generation)
        if have is None or len(records) > len(have[0]):
            fills[slot][generation] = records, tid

    def add_tables(records):
        trace.records.extend(r for r in records if r.kind < 16)
        trace.other.extend(r for r in records if r.kind >= 16)
        for r in records:
            if r.kind == THREAD:
                c = Cursor(r.body)
                tid, _, slot, generation = c.n(), c.s(), c.n(), c.n()
                owners[slot, generation] = tid

    for info, content in trace.frames:
        if info.kind == EVENTS:
            add_fill(info.slot, info.generation, frame_records(info, content), info.tid)
        elif info.kind == TABLES:
            add_tables(frame_records(info, content))
        elif info.kind == SCHEMA:
            trace.schema = Schema(content)
        elif info.kind == END:
            trace.end = parse_fields(Cursor(content, 64))
    for index, generation, tid, data in trace.live.slots if trace.live else ():
        records = slot_records(data, index, generation)
        if index == TABLES_SLOT:
            add_tables(records)
        else:
            add_fill(index, generation, records, tid)
    for slot in sorted(fills):
        tid, chain, before = 0, [], 0
        for generation, (records, owner) in sorted(fills[slot].items()):
            if tid == 0 or before + 1 != generation:
                tid = owners.get((slot, generation), owner)
            before = generation
            for r in records:
                if r.kind == THREAD:
                    tid = Cursor(r.body).n()
                r.tid = tid
            chain += records
        following = INFINITE  # number of the next record in the slot
        for r in reversed(chain):
            if r.kind < 16:
                following = r.number
            elif r.kind == OBJECT:
                trace.objects.append(parse_object(r, following))
        parse_stacks(trace, chain)
        for r in join_pieces(chain):
            (trace.records if r.kind < 16 else trace.other).append(r)
    trace.objects.sort(key=lambda o: o.since)
    seen = {}
    for r in trace.records:  # TABLES restate records
        seen.setdefault((r.number, r.kind), r)
    trace.records = sorted(seen.values(), key=lambda r: r.number)


def named_live(data):
    """Where HEAD says that the live file is, if it does not lie beside the trace."""
    if len(data) < 8 or struct.unpack_from("<I", data)[0] != SKIP_HEAD or 8 + struct.unpack_from("<I", data, 4)[0] > len(data):
        return None
    fields = parse_head(data[8:8 + struct.unpack_from("<I", data, 4)[0]])[2]
    return os.fsdecode(fields[21][0]) if 21 in fields else None


def family(path, numbered):
    """The files of the trace that `path` is one of, [Path] in order of their numbers, and NAME.p11t.  `numbered`: the number
    in its name is one of ours, not a process id."""
    folder, name = os.path.split(path)
    stem = re.fullmatch(r"(.+?)(?:\.[1-9]\d*)?\.p11t" if numbered else r"(.+)\.p11t", name)
    if stem is None:
        return [Path(path)], Path(path)
    first = Path(folder) / f"{stem[1]}.p11t"
    found = [(int(m[1] or 1), p) for p in Path(folder or ".").iterdir()
             if (m := re.fullmatch(re.escape(stem[1]) + r"(?:\.([1-9]\d*))?\.p11t", p.name))]
    return [p for _, p in sorted(found)], first


def trace_id(data):
    """From HEAD; None when there is none."""
    if len(data) < 8 or struct.unpack_from("<I", data)[0] != SKIP_HEAD or 8 + struct.unpack_from("<I", data, 4)[0] > len(data):
        return None
    return parse_head(data[8:8 + struct.unpack_from("<I", data, 4)[0]])[2].get(1)


def read(path, live=None):
    """The trace that `path`, NAME.p11t, NAME.2.p11t ... or NAME.p11t.live, belongs to; `live` when the live file is elsewhere
    than HEAD says."""
    path = os.fspath(path)
    if path.endswith(".live"):
        path, live = path[:-5], path
    trace = Trace(path)
    data = Path(path).read_bytes() if os.path.exists(path) else b""
    paths, first = family(path, int.from_bytes(trace_index(data), "little") > 1)
    live = live or named_live(data) or f"{first}.live"
    if os.path.exists(live):
        trace.locked = is_locked(live)
        trace.live = parse_live(Path(live).read_bytes())
    if trace.live and trace.live.head:
        trace.version, trace.masks, trace.fields = parse_head(trace.live.head)
    own = trace_id(data) or trace.fields.get(1)
    newest = trace.live.file if trace.live else 0
    to, result = 0, []
    for p in paths if own else [Path(path)]:
        data = p.read_bytes() if p.exists() else b""
        if own and trace_id(data) != own:
            if p == Path(path):
                trace.damage.append((0, "no HEAD"))
            continue  # of another process, or the owner was killed before it had a HEAD
        part = Trace(str(p))
        end = len(data)
        index = int.from_bytes(trace_index(data), "little")
        if trace.live and (index == newest or newest == 0 and len(paths) == 1):
            end = min(end, trace.live.trace_end)
        read_frames(part, data, end)
        if trace.live and newest == 0 and len(paths) > 1:
            part.damage = []
        result.append(part)
    for part in sorted(result, key=lambda t: int.from_bytes(t.fields.get(20, [b"\1"])[0], "little")):
        trace.version, trace.masks, trace.fields = part.version or trace.version, part.masks or trace.masks, {
            **part.fields} or trace.fields
        trace.frames += part.frames
        trace.damage += part.damage
        trace.seek = part.seek
        index, start = (int.from_bytes(part.fields.get(tag, [b"\1"])[0], "little") for tag in (20, 19))
        ends = [parse_fields(Cursor(content, 64)) for info, content in part.frames if info.kind == END]
        last = max((info.last for info, _ in part.frames if info.kind == EVENTS), default=0)
        trace.files.append((index, start, part.path, ends[-1] if ends else None, last))
        to = joined(trace, start, to, last)
    if trace.version is None:
        trace.damage.append((0, "no HEAD"))
        return trace
    collect(trace)
    if trace.live:
        joined(trace, max(trace.live.complete_from, 1), to, 0)
    reason = trace.files[-1][3][7][0] if trace.files and trace.files[-1][3] else None
    if reason is None or reason == b"full" or (reason == b"dump" and trace.live):
        trace.end = None  # of an earlier file
    at_once = any(b"live=none" in options for options in trace.fields.get(18, []))  # each record was written at once
    if trace.end is None and trace.live is None and not at_once and not trace.damage:
        trace.damage.append((len(data), "no END and no live file"))
    if trace.schema:
        trace.calls = make_calls(trace, trace.records)
    return trace


def joined(trace, start, to, last):
    """`start` and all numbers behind it are there; `to` is the largest one before.  Returns the largest one now."""
    if start > 1 and start > to + 1:
        trace.missing += start - to - 1 if to else 0
        trace.complete_from = start
    return max(to, last)


def trace_index(data):
    return parse_head(data[8:8 + struct.unpack_from("<I", data, 4)[0]])[2].get(20, [b"\1"])[0] if trace_id(data) else b""


def plain_blocks(plain):
    """Splits the output of `zstd -dc` by what it says of itself: [(Info, block)]."""
    blocks, pos = [], 0
    while pos < len(plain):
        if plain[pos:pos + 4] != b"P1FI":
            raise ValueError(f"no block at {pos}")
        info = Info(*struct.unpack_from("<BBHIIIIIIQQQ", plain, pos + 4), pos)
        if info.packed or struct.unpack_from("<Q", plain, pos + 56)[0] or pos + info.content > len(plain):
            raise ValueError(f"block at {pos} does not fit")
        blocks.append((info, plain[pos:pos + info.content]))
        pos += info.content
    return blocks
