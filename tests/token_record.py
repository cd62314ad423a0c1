"""The token's own row read from a token file by other means than the module's: Python's SQLite, struct, hashlib."""
import hashlib
import sqlite3
import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PIN = struct.Struct("<??16sB60sI")
FIRST = struct.Struct("<32s16sQIIII")


@dataclass
class Pin:
    """One user's PIN as it is stored."""
    who: bytes
    serial: bytes
    is_set: bool
    usable_master: bool
    salt: bytes
    cost: int
    wrapped: bytes
    failed: int

    def open(self, pin: bytes) -> bytes:
        """The key that is wrapped under the PIN; cryptography's InvalidTag if it is another PIN."""
        n = 1 << self.cost
        kek = hashlib.scrypt(pin, salt=self.salt + bytes([len(pin)]), n=n, r=8, p=1, maxmem=1024 * (n + 64), dklen=32)
        return AESGCM(kek).decrypt(self.wrapped[:12], self.wrapped[12:],
                                   b"p11token PIN of " + self.who.ljust(4) + self.serial)


@dataclass
class Record:
    label: bytes
    serial: bytes
    slot: int
    pin_limit: int
    so_pin_limit: int
    min_pin: int
    max_pin: int
    epoch: int
    user: Pin
    so: Pin


def token_file(directory) -> Path:
    """The one token file of a directory."""
    [path] = Path(directory).glob("*.p11token")
    return path


def read_record(directory) -> Record:
    """The record of the one token of a directory."""
    with closing(sqlite3.connect(f"file:{token_file(directory)}?mode=ro", uri=True)) as db:
        epoch, record = db.execute("SELECT epoch, record FROM token").fetchone()
    first = FIRST.unpack_from(record)
    user, so = (Pin(who, first[1], *PIN.unpack_from(record, FIRST.size + i * PIN.size))
                for i, who in enumerate((b"user", b"SO")))
    return Record(*first, epoch, user, so)
