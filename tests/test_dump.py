"""What `p11trace dump` shows, compared byte for byte with tests/golden; and that nothing in a trace can harm a terminal."""
import datetime
import json
import os
import re
import resource
import signal
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import p11t_json
import p11t_reader
from p11t_writer import (NOTHING, NULL, OWN, UNAVAILABLE, UNREADABLE, Arg, Writer, asked, attribute, boolean, cut, filled,
                         full, given, gives, length, lists, mechanism, n, nested, number, numbers, pointer, s, stored,
                         string, tag, tagged, template, u, ulong, unread, version)

ESCAPE = "us\x1b[31mer\u202e\x07"


@pytest.fixture
def dump(run, build, tmp_path):
    """dump(Writer or bytes or path, argument, ...): the CompletedProcess."""

    def dump(trace, *arguments, name="t.p11t", **more):
        if not isinstance(trace, (str, os.PathLike)):
            path = tmp_path / name
            path.write_bytes(trace if isinstance(trace, bytes) else trace.bytes())
            trace = path
        return run(build / "p11trace", "dump", *arguments, trace, **more)

    return dump


def lines(p):
    return p.stdout.splitlines()


def shown(p, name="C_"):
    """Lines of calls without number and time."""
    return [line.split(" ", 2)[2] for line in lines(p) if f" {name}" in line and " --- " not in line]


def session():
    """A short life of a client: each kind of parameter at least once."""
    w = Writer()
    w.module(path="/usr/lib/vendor.so", build_id="c0ffee")
    w.trace.list(w.number(), nulls=b"\x00\x00\x01")
    w.trace.list(w.number(), name="Vendor", version=(9, 1), count=0)
    w.call("C_GetFunctionList", Arg(OWN, b"\x01\x02\x28"))
    w.call("C_GetInterface", string(b"PKCS 11"), version(3, 2), Arg(OWN, n(1) + s(b"PKCS 11") + b"\x03\x02" + u(1)), number(0))
    w.call("C_GetInterface", string(None), Arg(NULL), Arg(OWN, n(0)), number(1), rv=7)
    w.call("C_GetInterfaceList", Arg(OWN, n(2) + (s(b"PKCS 11") + b"\x03\x00" + u(0)) * 2), length(2, 2))
    w.call("C_Initialize", Arg(NULL))
    w.call("C_Initialize", Arg(OWN + b"\x0f" + u(2) + b"\x02" + full(b"configdir='x'")), rv=0x191)
    w.call("C_GetInfo", filled(1, b"\x03\x02", full(b"ACME".ljust(32)), u(0), full(b"Vendor module".ljust(32)), b"\x01\x0a"))
    w.call("C_GetSlotList", number(1), lists(p=NULL), length(0, 2))
    w.call("C_GetSlotList", number(1), lists(0, 7), length(2, 2))
    w.call("C_GetMechanismList", number(0), lists(*range(0x1081, 0x1081 + 20)), length(20, 20))
    w.call("C_GetMechanismInfo", number(0), number(0x1041), filled(5, u(256), u(521), u(0x80000001 | 0x2800)))
    w.call("C_InitToken", number(0), tagged(4, 0x0102030405060708, 8), number(4), given(full(b"my token".ljust(32))))
    w.call("C_OpenSession", number(0), number(6), pointer(OWN), pointer(), gives(1))
    w.call("C_GetSessionInfo", number(1), filled(4, u(0), u(2), u(6), u(0)))
    w.call("C_Login", number(1), number(1), tagged(8, 0x1F2E3D4C5B6A7988, 8), number(8), rv=0xA0)
    w.call("C_Login", number(1), number(9), given(NOTHING, NULL), number(0))
    w.call("C_FindObjectsInit", number(1),
           template(attribute(0, ulong(3), 8), attribute(1, boolean(1), 1), attribute(0x102, full(b"\x01"), 1),
                    attribute(3, full(b"user"), 4)), number(4))
    w.call("C_FindObjects", number(1), lists(2, 3), number(10), gives(2))
    w.call("C_GetAttributeValue", number(1), number(2),
           asked((0, 8, 8, ulong(3)), (0x102, None, 20, NOTHING), (3, 64, 4, full(b"user")), (0x11, 16, None, UNAVAILABLE),
                 (0x110, 8, 8, full(b"20261124")), (0x120, 4, 256, NOTHING)), number(6), rv=0x150)
    w.call("C_SignInit", number(1), mechanism(0x1041), number(2))
    w.call("C_Sign", number(1), tagged(32, 0xAABBCCDD00000000), number(32), stored(NOTHING, NULL), length(0, 64))
    w.call("C_Sign", number(1), tagged(32, 0xAABBCCDD00000000), number(32), stored(tag(64, 1)), length(72, 64), us=12_345)
    w.call("C_Sign", number(1), given(unread(1 << 40)), number(1 << 40), stored(unread(64)), length(64, 64), rv=0xB3)
    w.call("C_EncryptInit", number(1), mechanism(0x1082, parameter=full(bytes(range(16))), length=16, p=OWN), number(2))
    w.call("C_EncryptUpdate", number(1), given(tag(16, 5, 2)), number(16), stored(tag(16, 6), b"\x12"), length(16, 16))
    w.call("C_EncryptInit", number(1), mechanism(0x1087, length=48, p=OWN, structure=45, members=gcm()), number(2))
    w.call("C_MessageEncryptInit", number(1),
           mechanism(0x1087, length=48, p=OWN, structure=46, members=n(4) + u(12) + u(32) + u(1) + u(128),
                     after=n(46) + n(2) + OWN + full(b"\x33" * 12) + OWN + tag(16, 8)), number(2))
    w.call("C_EncryptInit", number(1), mechanism(0x80001234, parameter=tag(3, 9), length=3, p=OWN), number(2), rv=0x70)
    w.call("C_GetObjectSize", number(1), number(2), gives(None), rv=0x54)
    w.call("C_WaitForSlotEvent", number(1), gives(None), pointer(), rv=8)
    w.call("C_SetPIN", number(1), tagged(4, 1, 8), number(4), given(NOTHING, UNREADABLE), number(1 << 63), rv=0x80000007)
    w.call("C_CloseSession", number(1))
    w.enter("C_Sign", number(1), tagged(32, 2), number(32), stored(NOTHING), length(64, 64))
    w.call("C_GetFunctionStatus", number(1), rv=0x51)
    w.leave(w.number(), "C_CancelFunction", number(1), rv=0x51)  # its ENTER is not in the trace
    w.enter("C_WaitForSlotEvent", number(0), gives(0), pointer())
    return w


def gcm():
    """Members of CK_GCM_PARAMS."""
    return n(6) + OWN + full(b"\x22" * 12) + u(12) + u(96) + OWN + tag(40, 7) + u(40) + u(128)


@pytest.mark.parametrize("name, arguments", [("session.txt", []), ("session-verbose.txt", ["-v", "--ns", "-t"]),
                                             ("session.jsonl", ["--json"])])
def test_golden(dump, root, name, arguments, tmp_path):
    """The committed trace, and one written now, look as they did."""
    golden = root / "tests" / "golden"
    expected = (golden / name).read_text()
    assert dump(golden / "session.p11t", *arguments).stdout.replace(str(golden), "DIR") == expected
    assert dump(session(), *arguments, name="session.p11t").stdout.replace(str(tmp_path), "DIR") == expected


def test_second_reader_agrees(dump, tmp_path):
    """Field by field, JSON.md against the reader that was written from FORMAT.md."""
    objects = [json.loads(line) for line in lines(dump(session(), "--json"))]
    calls = {o.get("call"): p11t_json.without_derived(o) for o in objects if o["type"] == "call"}
    trace = p11t_reader.read(tmp_path / "t.p11t")
    other = p11t_json.Json(trace)
    assert len(trace.calls) == len(calls) > 30
    for call in trace.calls:
        one = other.call(call)
        assert calls[one.get("call")] == one


# -- values ----------------------------------------------------------------------------------------
def found(dump, *attributes, arguments=()):
    """The template of C_FindObjectsInit as it is shown."""
    w = Writer()
    w.call("C_FindObjectsInit", number(1), template(*attributes), number(len(attributes)))
    (line,) = shown(dump(w, *arguments))
    return re.fullmatch(r"C_FindObjectsInit\(hSession=0x1, pTemplate=\{(.*)\}, ulCount=\d+\) = CKR_OK <0.000005>", line)[1]


@pytest.mark.parametrize("kind, value, size, text", [
    (0x000, ulong(3), 8, "CKA_CLASS=CKO_PRIVATE_KEY"),
    (0x000, ulong(0x80000001), 8, "CKA_CLASS=CKO_VENDOR_DEFINED|0x1"),
    (0x000, ulong(0xCE534351), 8, "CKA_CLASS=CKO_NSS_CRL"),
    (0x000, ulong(0x99), 8, "CKA_CLASS=0x99"),
    (0x000, ulong(None), 8, "CKA_CLASS=CK_UNAVAILABLE_INFORMATION"),
    (0x000, full(b"\x03\0\0\0"), 4, "CKA_CLASS=0x03000000"),
    (0x001, boolean(0), 1, "CKA_TOKEN=CK_FALSE"),
    (0x001, boolean(2), 1, "CKA_TOKEN=0x2"),
    (0x003, full(b""), 0, 'CKA_LABEL=""'),
    (0x003, full("Schlüssel \"1\"".encode()), 14, 'CKA_LABEL="Schlüssel \\"1\\""'),
    (0x003, full(b"a\\b\xff\n"), 5, 'CKA_LABEL="a\\\\b\\xff\\n"'),
    (0x003, cut(4000, b"abc"), 4000, 'CKA_LABEL="abc"...<4000 bytes, cut when recorded>'),
    (0x102, full(b""), 0, 'CKA_ID=""'),
    (0x102, full(bytes(40)), 40, "CKA_ID=0x" + "00" * 32 + "...<40 bytes>"),
    (0x110, full(b"20261124"), 8, "CKA_START_DATE=2026-11-24"),
    (0x110, full(b"2026\x1b124"), 8, "CKA_START_DATE=0x323032361b313234"),
    (0x121, ulong(2048), 8, "CKA_MODULUS_BITS=2048"),
    (0x122, full(b"\1\0\1"), 3, "CKA_PUBLIC_EXPONENT=0x010001"),
    (0x123, tag(256, 0xDEADBEEF00112233), 256, "CKA_PRIVATE_EXPONENT=<256 bytes, tag deadbeef>"),
    (0x180, full(bytes.fromhex("06082a8648ce3d030107")), 10, "CKA_EC_PARAMS=<OID prime256v1>"),
    (0x40000600, numbers(0x1041, 0x40), 16, "CKA_ALLOWED_MECHANISMS=[CKM_ECDSA, CKM_SHA256_RSA_PKCS]"),
    (0x40000211, nested(attribute(0, ulong(4), 8), attribute(0x162, boolean(1), 1)), 48,
     "CKA_WRAP_TEMPLATE={CKA_CLASS=CKO_SECRET_KEY, CKA_EXTRACTABLE=CK_TRUE}"),
    (0x8BAD0001, tag(1, 0, 3), 1, "CKA_VENDOR_DEFINED|0xbad0001=<1 byte, tag 00000000, all zero>"),
    (0x123456, tag(20, 0, 5), 20, "0x123456=<20 bytes, tag 00000000, all equal, DER>"),
])
def test_attribute(dump, kind, value, size, text):
    assert found(dump, attribute(kind, value, size)) == text


def test_attribute_without_value(dump):
    assert found(dump, attribute(0x102, NOTHING, 0, NULL)) == "CKA_ID=NULL"
    assert found(dump, attribute(0x102, NOTHING, 9, NULL)) == "CKA_ID=NULL[9]"
    assert found(dump, attribute(0x102, unread(9), 9, UNREADABLE)) == "CKA_ID=<9 bytes, not read>"


def test_size_and_verbose(dump):
    long = attribute(0x102, full(bytes(range(64))), 64)
    assert found(dump, long, arguments=["-s", "2"]) == "CKA_ID=0x0001...<64 bytes>"
    assert found(dump, long, arguments=["-v"]) == "CKA_ID=0x" + bytes(range(64)).hex()
    assert found(dump, attribute(0x11, tag(5, 0x0123456789ABCDEF), 5), arguments=["-v"]) == \
        "CKA_VALUE=<5 bytes, tag 0123456789abcdef>"
    # A cut does not go through a character.
    assert found(dump, attribute(3, full("äöü".encode()), 6), arguments=["-s", "3"]) == 'CKA_LABEL="ä"...<6 bytes>'


def certificate(common_name):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example"),
                      x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    day = datetime.datetime(2026, 1, 1)
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(0x1A2B).not_valid_before(day).not_valid_after(day + datetime.timedelta(9)).sign(key, hashes.SHA256()))
    crl = (x509.CertificateRevocationListBuilder().issuer_name(name).last_update(day)
           .next_update(day + datetime.timedelta(9)).sign(key, hashes.SHA256()))
    return cert.public_bytes(serialization.Encoding.DER), crl.public_bytes(serialization.Encoding.DER), name.public_bytes()


def test_certificates_and_names(dump):
    cert, crl, name = certificate("Ada Lövelace")
    assert found(dump, attribute(0x11, full(cert), len(cert))) == \
        'CKA_VALUE=<certificate: subject "CN=Ada Lövelace,O=Example", serial 0x1a2b>'
    assert found(dump, attribute(0x11, full(crl), len(crl))) == 'CKA_VALUE=<CRL: issuer "CN=Ada Lövelace,O=Example">'
    assert found(dump, attribute(0x101, full(name), len(name))) == 'CKA_SUBJECT="CN=Ada Lövelace,O=Example"'
    # What only begins like one is shown as bytes.
    for wrong in (cert[:-1], cert + b"\0", b"\x30\x82" + bytes(50)):
        assert found(dump, attribute(0x11, full(wrong), len(wrong))).startswith(f"CKA_VALUE=0x{wrong[:32].hex()}...<")
    assert found(dump, attribute(0x101, full(name[:-1]), len(name) - 1)).startswith("CKA_SUBJECT=0x30")


def test_hostile_names_in_certificates(dump):
    cert, _, name = certificate(ESCAPE)
    for text in (found(dump, attribute(0x11, full(cert), len(cert))), found(dump, attribute(0x101, full(name), len(name)))):
        assert "\\x1b[31m" in text and "\\u{202e}" in text and "\x1b" not in text and "\u202e" not in text


def test_pointers_that_are_shared(dump):
    w = Writer()
    plain, overwritten = tag(16, 1 << 32), tag(16, 2 << 32)
    w.call("C_Encrypt", number(1), Arg(bytes([16 + 4]) + plain, overwritten), number(16),
           stored(overwritten, bytes([16 + 2])), length(16, 16))
    w.call("C_Encrypt", number(1), Arg(bytes([32 + 4]) + plain, plain), number(16), stored(unread(16), bytes([32 + 2])),
           length(16, 16), rv=0x150)
    one, two = shown(dump(w))
    assert "pData=<16 bytes, tag 00000001> -> <16 bytes, tag 00000002>, " in one
    assert "pEncryptedData=<same as pData> -> <16 bytes, tag 00000002>" in one
    assert "pEncryptedData=<overlaps pData>," in two


@pytest.mark.parametrize("structure, members, text", [
    (6, n(5) + u(0x250) + u(2) + u(1) + NULL + u(0),
     "{CKM_RSA_PKCS_OAEP, {hashAlg=CKM_SHA256, mgf=CKG_MGF1_SHA256, source=CKZ_DATA_SPECIFIED, pSourceData=NULL, "
     "ulSourceDataLen=0}}"),
    (7, n(3) + u(0x250) + u(0x99) + u(32), "{CKM_RSA_PKCS_OAEP, {hashAlg=CKM_SHA256, mgf=0x99, sLen=32}}"),
])
def test_mechanism_members(dump, structure, members, text):
    w = Writer()
    w.call("C_EncryptInit", number(1), mechanism(9, length=40, p=OWN, structure=structure, members=members), number(2))
    assert shown(dump(w)) == [f"C_EncryptInit(hSession=0x1, pMechanism={text}, hKey=0x2) = CKR_OK <0.000005>"]


# -- what is outside --------------------------------------------------------------------------------
def hostile():
    w = Writer(program="evil\x1b]0;x\x07")
    w.thread(7, "main")
    w.module(path="/tmp/\x1b[2J\u202e.so\n#99 fake")
    w.call("C_Finalize", pointer())
    w.thread(8, "x] C_Login(\x1b[1m\u2028")
    w.call("C_InitToken", number(0), given(NOTHING, NULL), number(0), given(full(ESCAPE.encode() + b"\xc3\x28\x80")))
    w.call("C_GetInterface", string(ESCAPE.encode()), Arg(NULL), Arg(OWN, n(1) + s(b"\xff\x1b") + b"\x03\x00" + u(0)), number(0))
    return w


def test_hostile_text(dump):
    """Nothing that a trace holds reaches the terminal as a control, a second line or a reversed one."""
    p = dump(hostile(), text=False)
    p.stdout.decode()
    assert b"\x1b" not in p.stdout and b"\x07" not in p.stdout and p.stderr == b""
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", p.stdout.decode())
    assert len(p.stdout.splitlines()) == 4
    assert b"[8 x\\] C_Login(\\x1b[1m\\u{2028}]" in p.stdout
    assert b'"us\\x1b[31mer\\u{202e}\\x07\\xc3(\\x80"' in p.stdout


def test_hostile_json(dump):
    p = dump(hostile(), "--json", text=False)
    objects = [json.loads(line) for line in p.stdout.decode("utf-8").splitlines()]
    assert b"\x1b" not in p.stdout
    call = next(o for o in objects if o.get("fn") == "C_GetInterface")
    assert call["thread"] == "x] C_Login(\x1b[1m\u2028"
    assert call["args"][2]["out"]["name"] == "\ufffd\x1b" and call["args"][2]["out"]["name_hex"] == "ff1b"
    label = next(o for o in objects if o.get("fn") == "C_InitToken")["args"][3]["in"]
    assert "text" not in label and label["hex"] == (ESCAPE.encode() + b"\xc3\x28\x80").hex()


def test_numbers_in_json(dump):
    w = Writer()
    w.call("C_CloseSession", number(2**53 - 1))
    w.call("C_CloseSession", number(2**53))
    w.call("C_CloseSession", number(None))
    values = [o["args"][0]["in"]["value"] for o in map(json.loads, lines(dump(w, "--json"))) if o["type"] == "call"]
    assert values == [2**53 - 1, "0x20000000000000", "0xffffffffffffffff"]


# -- columns and options -----------------------------------------------------------------------------
def two_threads():
    w = Writer()
    w.thread(7, "main")
    w.call("C_Finalize", pointer())
    w.frame()
    w.thread(8, "Socket Thread")
    w.call("C_Finalize", pointer(), module=2)
    w.frame(slot=1)
    return w


def test_columns_begin_with_the_second(dump):
    assert [line.split(" C_")[0].split(" ", 2)[2:] for line in lines(dump(two_threads()))] == [[], ["[8 Socket Thread module 2]"]]
    first, second = lines(dump(two_threads(), "--threads"))
    assert " [7 main] C_Finalize" in first and " [8 Socket Thread module 2] C_Finalize" in second


def test_several_processes(dump, tmp_path, run, build):
    for pid in (4711, 4712):
        w = Writer(pid=pid, trace_id=bytes([pid & 255]) * 16)
        w.call("C_Finalize", pointer())
        (tmp_path / f"{pid}.p11t").write_bytes(w.bytes())
    p = run(build / "p11trace", "dump", tmp_path)
    assert sorted(shown(p)) == ["[4711] C_Finalize(pReserved=NULL) = CKR_OK <0.000005>",
                                "[4712] C_Finalize(pReserved=NULL) = CKR_OK <0.000005>"]
    objects = [json.loads(line) for line in lines(run(build / "p11trace", "dump", "--json", tmp_path))]
    assert objects[0] == {"type": "trace", "version": 1, "processes": 2}
    assert {o["pid"] for o in objects if o["type"] == "call"} == {4711, 4712}
    assert [o["process"] for o in objects if o["type"] == "end"] in ([0, 1], [1, 0])


def test_threads_of_interleaved_processes(run, build, tmp_path):
    for pid in (4711, 4712):
        w = Writer(pid=pid, trace_id=bytes([pid & 255]) * 16)
        for tid in (1, 2):
            w.thread(tid)
            w.call("C_Finalize", pointer())
        (tmp_path / f"{pid}.p11t").write_bytes(w.bytes())
    prefixes = [line.split(" C_")[0] for line in shown(run(build / "p11trace", "dump", tmp_path))]
    assert sorted(prefixes) == ["[4711/2]", "[4711]", "[4712/2]", "[4712]"]


def test_times(dump):
    w = Writer()
    w.call("C_Finalize", pointer())
    w.call("C_Finalize", pointer(), us=2_500_000)
    assert [line.split()[1] for line in lines(dump(w))] == ["0.000010", "0.000025"]
    assert [line.split()[1] for line in lines(dump(w, "-r", "--ns"))] == ["0.000010000", "0.000015000"]
    # The head's clock pair: monotonic 1000 ns is 10^9 s after 1970.
    assert lines(dump(w, "-t"))[0].startswith("#1 2001-09-09 01:46:40.000010 C_Finalize")
    assert lines(dump(w, "-t", env={"TZ": "XYZ-3"}))[0].startswith("#1 2001-09-09 04:46:40.000010 ")
    assert lines(dump(w))[1].endswith("<2.500000>") and lines(dump(w, "--ns"))[1].endswith("<2.500000000>")


def test_quiet_leaves_calls(dump):
    assert all(" --- " not in line for line in lines(dump(session(), "-q")))
    assert sum(" --- " in line for line in lines(dump(session()))) == 3


def test_color(dump):
    w = Writer()
    w.call("C_Finalize", pointer(), rv=0x190)
    assert "\x1b" not in dump(w).stdout and "\x1b" not in dump(w, "--color=never").stdout
    assert "\x1b[31mCKR_CRYPTOKI_NOT_INITIALIZED\x1b[0m" in dump(w, "--color=always").stdout
    assert "auto, always and never" in dump(w, "--color=maybe", status=2).stderr


def test_caller(dump):
    w = Writer()
    w.trace.record(16, n(1) + n(1) + b"\0" + n(0x7F001234 * 2))
    w.trace.record(19, n(1) + u(0x7F001000) + n(0x1000) + s("id") + s("/lib/libnss3.so"))
    at = w.number()
    w.trace.enter(at, "C_Finalize", NULL, stack=1)
    w.trace.leave(w.number(), at, "C_Finalize", n(0))
    (line,) = lines(dump(w, "--caller"))
    assert line.endswith(" caller=libnss3.so+0x234")
    assert "caller" not in lines(dump(w))[0]
    assert json.loads(lines(dump(w, "--json"))[2])["caller"] == "0x7f001234"


@pytest.mark.parametrize("arguments, words", [([], "no trace given"), (["--nonsense", "x"], "unrecognized option"),
                                              (["-s", "-3", "x"], "not a number of bytes"), (["/nonexistent.p11t"], "nonexistent")])
def test_wrong_usage(run, build, arguments, words):
    p = run(build / "p11trace", "dump", *arguments, status=2)
    assert words in p.stderr and p.stdout == ""


def test_help_has_examples(run, build):
    text = run(build / "p11trace", "dump", "--help").stdout
    for words in ("-e rv=failed", "fn=%session,!C_Login", "--calls", "--json", "Exit status"):
        assert words in text


# -- ends --------------------------------------------------------------------------------------------
def many(count):
    w = Writer()
    for _ in range(count // 500):
        for _ in range(500):
            w.call("C_GetSessionInfo", number(1), filled(4, u(0), u(0), u(4), u(0)))
        w.frame()
    return w


def test_damage_is_shown_after_the_rest(dump):
    data = many(5000).bytes()
    whole = len(lines(dump(data)))
    p = dump(data[:len(data) - 700], status=2)
    assert 500 <= len(lines(p)) < whole and lines(p) == lines(dump(data))[:len(lines(p))]
    assert len(p.stderr.splitlines()) == 1 and "t.p11t" in p.stderr


def test_output_that_cannot_be_written(dump, build, tmp_path, clean_env):
    (tmp_path / "m.p11t").write_bytes(many(1000).bytes())
    with open("/dev/full", "w") as full_disk:
        p = subprocess.run([build / "p11trace", "dump", tmp_path / "m.p11t"], stdout=full_disk, stderr=subprocess.PIPE,
                           text=True, env=clean_env)
    assert p.returncode == 2 and "cannot write the output: No space left on device" in p.stderr


@pytest.mark.parametrize("ignored", [False, True])
def test_reader_that_leaves(build, tmp_path, clean_env, ignored):
    """dump | head -1"""
    (tmp_path / "m.p11t").write_bytes(many(20_000).bytes())
    trap = "trap '' PIPE; " if ignored else ""
    p = subprocess.run(["bash", "-c", f"{trap}'{build}/p11trace' dump m.p11t | head -1; echo ${{PIPESTATUS[0]}}"], cwd=tmp_path,
                       capture_output=True, text=True, env=clean_env)
    first, status = p.stdout.splitlines()
    assert first.startswith("#1 0.000010 C_GetSessionInfo(") and p.stderr == ""
    assert status == ("0" if ignored else str(128 + signal.SIGPIPE))


def test_interrupt_ends_after_a_whole_line(build, tmp_path, clean_env):
    (tmp_path / "m.p11t").write_bytes(many(20_000).bytes())
    # A shell's background job, and so what it starts, ignores the signal.
    p = subprocess.Popen([build / "p11trace", "dump", tmp_path / "m.p11t"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         env=clean_env, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    start = p.stdout.read(100)  # it runs, and soon waits for the pipe
    p.send_signal(signal.SIGINT)
    text = start + p.stdout.read()
    assert p.wait(20) == -signal.SIGINT and p.stderr.read() == b""
    assert text.endswith(b"\n") and 1 <= text.count(b"\n") < 20_000


@pytest.mark.nosan
def test_memory_does_not_grow(build, tmp_path, clean_env):
    (tmp_path / "m.p11t").write_bytes(many(100_000).bytes())

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (40 << 20, 40 << 20))  # libraries take half of it

    for arguments in (["dump"], ["dump", "--json"], ["stat"]):
        p = subprocess.run([build / "p11trace", *arguments, tmp_path / "m.p11t"], stdout=subprocess.DEVNULL, env=clean_env,
                           preexec_fn=limit, stderr=subprocess.PIPE)
        assert (p.returncode, p.stderr) == (0, b"")
