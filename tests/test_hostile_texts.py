"""Labels, ids, names of threads, programs and files may hold anything: every output stays well-formed, and no control character of
a trace reaches a terminal."""
import json
import os
import re
import subprocess
import unicodedata
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from check_story import CKA_ID, CKA_LABEL, RW, SERIAL, Story

# HTML, quotes, the escape of a terminal, its one-byte form, a bell, line breaks, what turns text around, bytes that are not UTF-8.
HOSTILE = [b"<script>alert(1)</script>", b"\"'`&lt;]]>--><!--", b"\x1b[2J\x1b]0;x\x07", b"\xc2\x9b2J\x9b\r\n\t\x0b\x7f",
           "\u202eedoc\u2028\u2066\ufeff".encode(), b"\xff\xfe\xc0\x80\xed\xa0\x80\xf5", b"%s%n\\x1b\\", b"a\x00b\x00"]
MARK = b"FRAGMENT"  # what makes sure that a text was shown


class Hostile(Story):
    def __init__(self, evil):
        self.evil = evil
        super().__init__(module=b"/lib/" + MARK + evil + b".so", program=MARK + evil)

    def thread(self, tid, name="main"):
        super().thread(tid, self.evil[:15])


def story(evil, path):
    t = Hostile(evil)
    label = MARK + evil
    t.initialize()
    t.call("slot_info")
    t.call("token_info", label=label[:32], serial=evil[:16], maker=evil[:32])
    t.open(1, flags=RW | SERIAL)
    t.call("login", 1, rv=0xA0)
    t.call("login", 1)
    t.call("session_info", 1, state=0)
    t.call("session_info", 1, state=0)
    t.call("attributes", 1, 7, (CKA_LABEL, 64, len(label), label), (CKA_ID, 64, len(evil), evil))
    t.call("set_label", 1, 7, label)
    t.call("login", 1)
    t.call("session_info", 1, state=0)
    return t.write(path)


def harmless(text):
    """No control character but the line's end, nothing that turns or hides text."""
    bad = {c for c in text if c != "\n" and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202e\u2066\ufeff")}
    assert not bad, (bad, [line for line in text.split("\n") if bad & set(line)][:3])


def plain(text):
    harmless(text)


def ascii(text):
    """JSON may hold U+007F and more as they are (RFC 8259, 7), but who looks at it does so on a terminal."""
    assert not re.search(r"[^\n\x20-\x7e]", text)


def document(text):
    ascii(text)
    json.loads(text)


def lines(text):
    ascii(text)
    for line in text.removesuffix("\n").split("\n"):
        json.loads(line)


def xml(text):
    ElementTree.fromstring(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)


# arguments: (what the output is, does it show labels)
VERBS = {
    "dump": (plain, True), "dump -v --stack --threads --caller": (plain, True), "dump --color=always -t": (None, True),
    "dump --json": (lines, True), "dump --json -v": (lines, True), "info": (plain, True), "info -v": (plain, True),
    "info --json": (document, True), "stat": (plain, False), "stat --by-caller": (plain, False), "stat --json": (document, False),
    "check": (plain, True), "check --json": (document, True), "check --sarif": (document, True), "check --junit": (xml, True),
    "check --profile none --json": (document, True), "objects": (plain, True), "objects --json": (document, True), "state": (plain, True), "state --json": (document, True),
    "follow --threads": (plain, True), "follow --json": (lines, True), "follow --status": (plain, True),
}


# One argument for each way in which a verb speaks of it: a file that is missing, or that is no trace, a folder without one.
FILES = ("missing", "garbage", "folder", "recording", "cut")


@pytest.mark.parametrize("what", FILES)
def test_messages_are_well_formed(build, clean_env, tmp_path, what):
    for i, evil in enumerate(HOSTILE):
        name = os.fsencode(tmp_path) + b"/" + evil.replace(b"\0", b"").replace(b"/", b"")
        if what == "garbage":
            Path(os.fsdecode(name)).write_bytes(b"none" * 100)
        elif what == "folder":
            os.mkdir(name)
        elif what != "missing":
            whole = story(evil, tmp_path / f"{i}.p11t").read_bytes()
            Path(os.fsdecode(name)).write_bytes(whole[:-100] + bytes(100) if what == "cut" else whole[:-20])
        for verb in ("info", "dump", "stat", "check", "state", "objects", "report -o /dev/null", "symbolize", "recover", "pack -o case.tar.zst",
                     "wrap -o /no/where.so", "rules --rule", "no-such-verb"):
            p = subprocess.run([build / "p11trace", *verb.split(), name], env=clean_env, cwd=tmp_path, capture_output=True, timeout=30)
            said = p.stderr.decode()
            harmless(said)
            if what in ("missing", "garbage") and verb in ("info", "dump", "check", "recover"):
                assert p.returncode == 2 and said
        p = subprocess.run([build / "p11trace", name, "x"], env=clean_env, cwd=tmp_path, capture_output=True, timeout=30)
        harmless(p.stderr.decode())
        assert p.returncode == 2


@pytest.mark.parametrize("verb", VERBS)
def test_output_is_well_formed(build, clean_env, tmp_path, verb):
    kind, shows = VERBS[verb]
    seen = False
    for i, evil in enumerate(HOSTILE):
        path = story(evil, tmp_path / f"{i}.p11t")
        p = subprocess.run([build / "p11trace", *verb.split(), path], env=clean_env, capture_output=True, timeout=30)
        assert p.returncode in ((0, 1) if verb.startswith("check") else (0,)), p.stderr
        text = p.stdout.decode()  # UTF-8, or this fails
        if kind:
            kind(text)
        else:  # colours are ours
            harmless(re.sub("\x1b\\[[0-9;]*m", "", text))
        harmless(p.stderr.decode())
        seen |= MARK in p.stdout
    assert seen == shows or not shows
