"""Call stacks and mapped files of a trace, for p11t_reader (shim/trace/FORMAT.md, kinds 16 and 19)."""
import os
from dataclasses import dataclass

from p11t_values import Cursor

STACK_KIND = 16
INFINITE = 2**64


@dataclass
class Object:
    id: int
    address: int
    size: int
    build_id: str
    path: str
    since: int  # number of the record from which on it holds


@dataclass
class Stack:
    frames: list  # [(return address, Object or None)], the caller's first
    stale: bool  # may be another file's

    @property
    def addresses(self):
        return [address for address, _ in self.frames]


def parse_object(record, since):
    c = Cursor(record.body)
    o = Object(c.n(), c.u(), c.n(), c.s().decode(), os.fsdecode(c.s()), since)
    if c.left():
        raise ValueError(f"OBJECT {o.path}: {c.left()} bytes left")
    return o


def parse_stacks(trace, records):
    """Every STACK record: each is the first in its fill or has its predecessor there."""
    for r in records:
        if r.kind != STACK_KIND:
            continue
        c = Cursor(r.body)
        index, depth, flags = c.n(), c.n(), c.u8()
        before, _ = trace.stacks[r.slot, r.generation, index - 1] if index > 1 else ([0], False)
        address, addresses = before[0], []
        for _ in range(depth):
            address = (address + c.z()) % 2**64
            addresses.append(address)
        if c.left() or not addresses or flags & ~1:
            raise ValueError(f"STACK {index} of slot {r.slot}: {depth} addresses, flags {flags}, {c.left()} bytes left")
        trace.stacks[r.slot, r.generation, index] = addresses, bool(flags & 1)
