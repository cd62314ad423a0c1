"""Opens sealed values as shim/trace/FORMAT.md, section 9 says, with libsodium and nothing of ours."""
import ctypes
import re
import struct

from p11t_values import V

SODIUM = ctypes.CDLL("libsodium.so.23")
DATA, SECRET, PIN = 1, 2, 3


class Refused(Exception):
    pass


def key_of(path):
    """The 32 bytes of a key file."""
    line = next(l for l in path.read_text().splitlines() if l and not l.startswith("#"))
    return bytes.fromhex(re.fullmatch(r"p11trace-seal-(?:public|private)-1 ([0-9a-f]{64})(?: .*)?", line)[1])


def process_key(trace, private):
    """The key of the trace's process, from its HEAD."""
    (field,) = trace.fields[24]
    assert len(field) == 113 and field[0] == 1
    public, out = field[1:33], ctypes.create_string_buffer(32)
    if SODIUM.crypto_box_seal_open(out, field[33:], ctypes.c_ulonglong(80), public, private) != 0:
        raise Refused("HEAD")
    return out.raw


def nonce_of(record, v):
    return struct.pack("<QIB3xQ", record, v.number, v.seal_class, v.length)


def open_value(key, record, v):
    """The bytes of a sealed value that stands in the record of that number."""
    nonce = nonce_of(record, v)
    size = len(v.data) - 16
    out = ctypes.create_string_buffer(max(size, 1))
    if SODIUM.crypto_secretbox_open_detached(out, v.data[:size], v.data[size:], ctypes.c_ulonglong(size), nonce, key) != 0:
        raise Refused(f"record {record}, place {v.number}")
    return out.raw[:size]


def values(tree):
    """Every V in what Decoder makes of a parameter."""
    if isinstance(tree, V):
        yield tree
        yield from values(tree.items)
    elif isinstance(tree, dict):
        for part in tree.values():
            yield from values(part)
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from values(part)


def sealed(trace):
    """[(call, record number, V)] of all sealed values."""
    found = []
    for call in trace.calls:
        for _, before, after in call.arguments():
            found += [(call, record.number, v) for record, tree in ((call.enter, before), (call.leave, after)) if record
                      for v in values(tree) if v.form == 4]
    return found


def opened(trace, private):
    """[(call, class, bytes, V)]"""
    key = process_key(trace, private)
    return [(call, v.seal_class, open_value(key, record, v), v) for call, record, v in sealed(trace)]
