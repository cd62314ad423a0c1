"""Somebody who can write the token file but has no PIN: what he changes in an object is noticed at a login.

The checksums of rows are no secret, so they are made right again here."""
import sqlite3
import struct as packing

import pytest

from cryptoki import CKA, CKO
from token_kinds import KINDS

FACTOR, MASK = 0x9e3779b97f4a7c15, (1 << 64) - 1  # SUM_FACTOR of pagesum.c
KEY = {**KINDS["AES"].template, CKA.TOKEN: True, CKA.SENSITIVE: True, CKA.EXTRACTABLE: False}


def fold(total: int, data: bytes) -> int:
    """tok_sum of pagesum.c."""
    total ^= len(data) * FACTOR & MASK
    whole = len(data) // 8 * 8
    for (word,) in packing.iter_unpack("<Q", data[:whole]):
        total = (total ^ word) * FACTOR & MASK
        total ^= total >> 32
    total = (total ^ int.from_bytes(data[whole:], "little")) * FACTOR & MASK
    return total ^ total >> 29


COLUMNS = ("id", "version", "uuid", "class", "private", "tags", "open", "sealed")


class File:
    """The rows of a token file, by CKA_UNIQUE_ID."""

    def __init__(self, token):
        (path,) = [p for p in token.directory.iterdir() if p.read_bytes()[:6] == b"SQLite"]
        self.database = sqlite3.connect(path)

    def row(self, identity: bytes) -> dict:
        uuid = bytes.fromhex(identity.decode().replace("-", ""))
        query = f"SELECT {','.join(COLUMNS)}, checksum FROM object WHERE uuid = ?"
        found = self.database.execute(query, (uuid,)).fetchone()
        row = dict(zip(COLUMNS, found))
        assert found[-1] & MASK == self.checksum(row), "the checksum of the row is another one than here"
        return row

    def checksum(self, row: dict) -> int:
        present = [row["open"] is not None, row["sealed"] is not None]
        blobs = [row[name] or b"" for name in ("tags", "open", "sealed")]
        head = packing.pack("<9Q", row["id"], row["version"], row["class"], row["private"], present[0], len(blobs[1]),
                            present[1], len(blobs[2]), len(blobs[0]))
        total = fold(0x6f626a656374, head)
        for part in (row["uuid"], *blobs):
            total = fold(total, part)
        return total

    def write(self, row: dict):
        total = self.checksum(row)
        changed = ",".join(f"{name} = ?" for name in COLUMNS[1:])
        with self.database:
            self.database.execute(f"UPDATE object SET {changed}, checksum = ? WHERE id = ?",
                                  [row[name] for name in COLUMNS[1:]] + [total - (total >> 63 << 64), row["id"]])


def attribute(kind: int, value: bytes) -> bytes:
    """As it lies in a row."""
    return packing.pack("<QI", kind, len(value)) + value


def swapped(row: dict, kind: int, old: bytes, new: bytes) -> dict:
    assert row["open"].count(attribute(kind, old)) == 1
    return {**row, "open": row["open"].replace(attribute(kind, old), attribute(kind, new))}


# name: (is the object private, what becomes of its row and another one's)
CHANGES = {
    "made extractable": (False, lambda mine, other: swapped(mine, CKA.EXTRACTABLE, b"\0", b"\1")),
    "made readable": (False, lambda mine, other: swapped(mine, CKA.SENSITIVE, b"\1", b"\0")),
    "allowed to decrypt": (False, lambda mine, other: swapped(mine, CKA.DECRYPT, b"\0", b"\1")),
    "given another key": (False, lambda mine, other: {**mine, "sealed": other["sealed"]}),
    "given another private object": (True, lambda mine, other: {**mine, "sealed": other["sealed"]}),
    "renamed as another": (True, lambda mine, other: {**mine, "sealed": other["sealed"], "uuid": other["uuid"]}),
    "of another class": (True, lambda mine, other: {**mine, "class": CKO.DATA}),
    "made public": (True, lambda mine, other: {**mine, "private": 0}),
    "one bit": (True, lambda mine, other: {**mine, "sealed": mine["sealed"][:-1] + bytes([mine["sealed"][-1] ^ 1])}),
    "cut short": (True, lambda mine, other: {**mine, "sealed": mine["sealed"][:20]}),
    "emptied": (True, lambda mine, other: {**mine, "sealed": b""}),
    "attributes cut short": (False, lambda mine, other: {**mine, "open": mine["open"][:-3]}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_object_is_not_there_any_more(change, token):
    """After a login it is not found, whatever is asked, and does not hide the rest."""
    private, edit = CHANGES[change]
    s = token.session()
    made = {**KEY, CKA.PRIVATE: private, CKA.DECRYPT: False}
    mine, other = (s.get(s.create({**made, CKA.LABEL: label}), CKA.UNIQUE_ID) for label in ("mine", "other"))
    token.finalize()
    file = File(token)
    rows = file.row(mine), file.row(other)
    if change == "renamed as another":
        file.write({**rows[1], "uuid": bytes(16)})
    file.write(edit(*rows))
    file.database.close()

    s = token.session(login=False)
    assert s.find({CKA.LABEL: "mine", CKA.PRIVATE: True}) == []
    s.login(token.pin)
    # What has another one's name, number and contents is that one, twice; it is still not this one changed.
    left = {s.get(h, CKA.LABEL) for h in s.find({CKA.CLASS: CKO.SECRET_KEY})}
    assert left == {b"other"} and s.find({CKA.LABEL: "mine"}) == []
    assert s.find({CKA.CLASS: CKO.DATA}) == []
    assert {s.get(h, CKA.LABEL) for h in s.find()} == {b"other"}


def test_rows_written_back_as_they_were_are_sound(token):
    """The tool of these tests changes nothing by itself."""
    s = token.session()
    identity = s.get(s.create({**KEY, CKA.LABEL: "mine"}), CKA.UNIQUE_ID)
    token.finalize()
    file = File(token)
    file.write(file.row(identity))
    file.database.close()
    assert token.session().find({CKA.LABEL: "mine"})
