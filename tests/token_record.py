"""The token's own row read from a token file by other means than the module's: Python's SQLite, struct, hashlib."""
import hashlib
import json
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PIN = struct.Struct("<??16sB60sI")
FIRST = struct.Struct("<32s16sQIIII")

# In a process of its own: a second SQLite in this one, where the module has its own, would take its file locks away
# (sqlite.org/howtocorrupt.html, 2.2).
READ = """
import json, sqlite3, sys
epoch, record = sqlite3.connect(sys.argv[1], uri=True).execute("SELECT epoch, record FROM token").fetchone()
print(json.dumps([epoch, record.hex()]))
"""


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
    out = subprocess.run([sys.executable, "-c", READ, f"file:{token_file(directory)}?mode=ro"], check=True,
                         stdout=subprocess.PIPE).stdout
    epoch, record = json.loads(out)
    record = bytes.fromhex(record)
    first = FIRST.unpack_from(record)
    user, so = (Pin(who, first[1], *PIN.unpack_from(record, FIRST.size + i * PIN.size))
                for i, who in enumerate((b"user", b"SO")))
    return Record(*first, epoch, user, so)
