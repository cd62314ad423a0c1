"""What `p11trace stat` counts."""
import json
import random

import pytest

from p11t_writer import Writer, filled, gives, length, mechanism, number, pointer, stored, tag, tagged

SIGN = (number(1), tagged(9, 1), number(9), stored(tag(64, 1)), length(64, 64))


@pytest.fixture
def stat(run, build, tmp_path):
    def stat(trace, *arguments, **more):
        path = tmp_path / "t.p11t"
        path.write_bytes(trace.bytes())
        return run(build / "p11trace", "stat", *arguments, path, **more)

    return stat


def table(p):
    return json.loads(p.stdout)


def rows(p, *keys):
    """{the row's values of keys: row}"""
    result = {tuple(r.get(k) for k in keys): r for r in table(p)["rows"]}
    assert len(result) == len(table(p)["rows"])
    return result


def scene():
    w = Writer()
    w.module(id=1, path="/lib/one.so")
    w.thread(7, "main")
    for slot, handle in ((5, 1), (6, 2)):
        w.call("C_OpenSession", number(slot), number(4), pointer(), pointer(), gives(handle))
    w.call("C_SignInit", number(1), mechanism(0x1041), number(3))
    for _ in range(10):
        w.call("C_Sign", *SIGN, us=100)
    w.call("C_SignInit", number(1), mechanism(0x40), number(3))
    for _ in range(3):
        w.call("C_Sign", *SIGN, us=2000)
    w.call("C_Sign", number(2), *SIGN[1:], rv=0x91)
    w.call("C_Login", number(1), number(1), tagged(4, 1), number(4), rv=0xA0)
    w.call("C_Login", number(1), number(1), tagged(4, 1), number(4), rv=0xA0)
    w.call("C_Login", number(1), number(1), tagged(4, 1), number(4), rv=0x100)
    w.enter("C_WaitForSlotEvent", number(0), gives(0), pointer())
    return w


def test_rows(stat):
    p = stat(scene(), "--json")
    assert {k: v for k, v in table(p).items() if k not in ("rows", "errors_by_code", "elapsed")} == {
        "type": "stat", "version": 1, "calls": 22, "errors": 4, "open": 1, "unwound": 0, "concurrency": 1,
        "total": 10 * 100_000 + 3 * 2_000_000 + 8 * 5000}
    r = rows(p, "fn", "mechanism_name", "slot")
    assert {k: (v["calls"], v["errors"]) for k, v in r.items()} == {
        ("C_OpenSession", None, 5): (1, 0), ("C_OpenSession", None, 6): (1, 0), ("C_SignInit", "CKM_ECDSA", 5): (1, 0),
        ("C_SignInit", "CKM_SHA256_RSA_PKCS", 5): (1, 0), ("C_Sign", "CKM_ECDSA", 5): (10, 0),
        ("C_Sign", "CKM_SHA256_RSA_PKCS", 5): (3, 0), ("C_Sign", None, 6): (1, 1), ("C_Login", None, 5): (3, 3),
        ("C_WaitForSlotEvent", None, None): (1, 0)}
    ecdsa = r["C_Sign", "CKM_ECDSA", 5]
    assert (ecdsa["total"], ecdsa["min"], ecdsa["max"], ecdsa["module"]) == (1_000_000, 100_000, 100_000, "/lib/one.so")
    assert "max" not in r["C_WaitForSlotEvent", None, None] and r["C_WaitForSlotEvent", None, None]["open"] == 1
    assert table(p)["errors_by_code"] == [
        {"count": 2, "fn": "C_Login", "rv_value": 0xA0, "rv": "CKR_PIN_INCORRECT"},
        {"count": 1, "fn": "C_Login", "rv_value": 0x100, "rv": "CKR_USER_ALREADY_LOGGED_IN"},
        {"count": 1, "fn": "C_Sign", "rv_value": 0x91, "rv": "CKR_OPERATION_NOT_INITIALIZED"}]


def test_text(stat):
    lines = stat(scene()).stdout.splitlines()
    assert lines[0].startswith("22 calls, 4 failed, 1 in flight at the end, 0 unwound; 7.04ms in the module within ")
    assert lines[2].split() == ["%", "time", "total", "calls", "errors", "p50", "p95", "p99", "max", "conc", "what"]
    assert lines[3].split() == ["85.23", "6.00ms", "3", "2.00ms", "2.00ms", "2.00ms", "2.00ms", "1", "C_Sign",
                                "CKM_SHA256_RSA_PKCS", "slot", "5"]
    assert lines[4].split() == ["14.20", "1.00ms", "10", "100us", "100us", "100us", "100us", "1", "C_Sign", "CKM_ECDSA",
                                "slot", "5"]
    assert any(line.endswith("C_WaitForSlotEvent  (1 in flight at the end)") for line in lines)
    assert lines[-3:] == ["         2  C_Login CKR_PIN_INCORRECT", "         1  C_Login CKR_USER_ALREADY_LOGGED_IN",
                          "         1  C_Sign CKR_OPERATION_NOT_INITIALIZED"]


@pytest.mark.parametrize("by, keys, expected", [
    ("fn", ["fn"], {("C_OpenSession",): 2, ("C_SignInit",): 2, ("C_Sign",): 14, ("C_Login",): 3, ("C_WaitForSlotEvent",): 1}),
    ("slot", ["slot"], {(5,): 19, (6,): 2, (None,): 1}),
    ("mechanism", ["mechanism"], {(0x1041,): 11, (0x40,): 4, (None,): 7}),
    ("module", ["module"], {("/lib/one.so",): 22}),
    ("thread", ["pid", "tid", "thread"], {(4711, 7, "main"): 22}),
    ("process", ["pid"], {(4711,): 22}),
    ("slot,fn", ["slot", "fn"], {(5, "C_OpenSession"): 1, (6, "C_OpenSession"): 1, (5, "C_SignInit"): 2, (5, "C_Sign"): 13,
                                 (6, "C_Sign"): 1, (5, "C_Login"): 3, (None, "C_WaitForSlotEvent"): 1}),
])
def test_by(stat, by, keys, expected):
    assert {k: v["calls"] for k, v in rows(stat(scene(), "--json", "--by", by), *keys).items()} == expected


@pytest.mark.parametrize("sort, first", [("total", "C_Sign"), ("calls", "C_Sign"), ("errors", "C_Login"), ("max", "C_Sign"),
                                         ("name", "C_Login")])
def test_sort(stat, sort, first):
    assert table(stat(scene(), "--json", "--by", "fn", "--sort", sort))["rows"][0]["fn"] == first


def test_filter(stat):
    p = table(stat(scene(), "--json", "-e", "mechanism=CKM_ECDSA", "-e", "fn=C_Sign"))
    assert (p["calls"], [r["fn"] for r in p["rows"]], p["errors_by_code"]) == (10, ["C_Sign"], [])
    p = stat(scene(), "-e", "fn=C_Encrypt")
    assert p.stdout.splitlines() == ["0 calls, 0 failed, 0 in flight at the end, 0 unwound; 0ns in the module within 0ns, "
                                     "at most 1 at once"]
    assert table(stat(scene(), "--json", "--calls", "1-5"))["calls"] == 2


def test_concurrency(stat):
    """Calls that overlap, told from calls that follow each other."""
    w = Writer()
    frames = []
    order = [(1, "C_Sign"), (2, "C_Sign"), (3, "C_GetInfo"), (-2,), (4, "C_Sign"), (5, "C_Sign"), (-1,), (-4,), (-5,), (-3,),
             (6, "C_Sign"), (-6,)]
    at, name = {}, {}
    args = {"C_Sign": SIGN, "C_GetInfo": (filled(0),)}
    for call, *what in order:
        number_ = w.number()
        w.now += 1000
        if call > 0:
            at[call], name[call] = number_, what[0]
            frames.append((call, number_, "enter", w.now))
        else:
            frames.append((-call, number_, "leave", w.now))
    for thread in sorted(at):  # each call has a thread and a slot of its own
        w.thread(thread)
        for call, number_, kind, now in frames:
            if call != thread:
                continue
            function = name[call]
            if kind == "enter":
                w.trace.enter(number_, function, b"".join(a.enter for a in args[function]), time=now)
            else:
                w.trace.leave(number_, at[call], function, b"\0" + b"".join(a.leave for a in args[function]), time=now)
        w.frame(slot=thread)
    p = stat(w, "--json")
    assert table(p)["concurrency"] == 4
    r = rows(p, "fn")
    assert r["C_Sign",]["concurrency"] == 3 and r["C_GetInfo",]["concurrency"] == 1
    assert rows(stat(w, "--json", "-e", "fn=C_GetInfo"), "fn").keys() == {("C_GetInfo",)}


def test_percentiles(stat):
    """To 1/32, over eight powers of ten."""
    random.seed(11)
    times = [int(10 ** random.uniform(0, 8)) for _ in range(3000)]
    w = Writer()
    for ns in times:
        at = w.enter("C_Finalize", pointer())
        w.now += ns
        w.trace.leave(w.number(), at, "C_Finalize", b"\0", time=w.now)
    row = table(stat(w, "--json"))["rows"][0]
    times.sort()
    assert (row["min"], row["max"], row["total"]) == (times[0], times[-1], sum(times))
    for percent in (50, 95, 99):
        exact = times[-(-len(times) * percent // 100) - 1]
        assert exact <= row[f"p{percent}"] <= exact * (1 + 1 / 32) + 1


def test_many_rows_are_bounded(stat):
    w = Writer()
    for i in range(4200):
        w.call("C_GetSlotInfo", number(i), filled(0))
    p = stat(w)
    assert len(p.stdout.splitlines()) < 4110 and "too many different rows" in p.stdout
    assert table(stat(w, "--json"))["calls"] == 4200
    assert sum(r["calls"] for r in table(stat(w, "--json"))["rows"]) == 4200


@pytest.mark.parametrize("arguments, words", [(["--by", "fn,nonsense", "x"], "character 4"), (["--sort", "up", "x"], "p99"),
                                              ([], "no trace given"), (["/nonexistent.p11t"], "nonexistent")])
def test_wrong_usage(run, build, arguments, words):
    p = run(build / "p11trace", "stat", *arguments, status=2)
    assert words in p.stderr and p.stdout == ""


def test_hostile_names(stat):
    w = Writer()
    w.module(id=1, path="/lib/\x1b[2J\u202e.so")
    w.thread(7, "x\x1b]0;\x07")
    w.call("C_Finalize", pointer())
    for arguments in (["--by", "module,thread"], ["--by", "module,thread", "--json"]):
        text = stat(w, *arguments).stdout
        assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
