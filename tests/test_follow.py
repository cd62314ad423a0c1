"""`p11trace follow`: what dump shows, while it is recorded; every call once, in the order of its thread."""
import json
import os
import re
import signal
import statistics
import struct
import subprocess
import time

import pytest

from follower import Follower
from lab import lab  # noqa: F401


@pytest.fixture
def follow(lab):
    running = []

    def start(*arguments):
        running.append(Follower(lab, *arguments))
        return running[-1]

    lab.out.mkdir(exist_ok=True)
    yield start
    for f in running:
        f.process.kill()


def calls(text):
    return [o for o in map(json.loads, text.splitlines()) if o["type"] == "call"]


def timeless(text):
    """Without its times: dump knows the clock's rate better, from its last reading."""
    return re.sub(r"\b\d+\.\d{6,9}\b", "T", text)


def by_thread(shown):
    """{tid: [(call, end, fn, state)]} in the order in which they were shown."""
    threads = {}
    for c in shown:
        threads.setdefault((c["pid"], c["tid"]), []).append((c.get("call"), c.get("end"), c["fn"], c["state"]))
    return threads


# -- the same as dump --------------------------------------------------------------------------------

@pytest.mark.parametrize("rounds, pause", ((20_000, 0), (300, 2000)))
def test_one_thread_is_shown_as_dump_shows_it(lab, follow, rounds, pause):
    library = lab.wrap("mock240")
    f = follow(lab.out)
    lab.client("callers", library, rounds, pause)
    shown = f.end()
    assert timeless(shown) == timeless(lab.p11trace("dump", lab.out).stdout)
    assert shown.count(" C_GetInfo(") == rounds and f.errors == ""


@pytest.mark.parametrize("what", (("order", 8, 32_000, "order.log"), ("churn", 200),
                                  pytest.param(("flush", 4000), marks=pytest.mark.nosan)))  # cancels threads
def test_many_threads_and_slots_that_change_hands(lab, follow, what):
    library = lab.wrap("mock240")
    f = follow("--json", lab.out)
    said = lab.client("threads", what[0], library, *what[1:]).stdout
    shown = calls(f.end())
    assert by_thread(shown) == by_thread(calls(lab.p11trace("dump", "--json", lab.out).stdout))
    assert sum(c["state"] == "done" for c in shown) >= int(said.split()[-1])


def test_a_killed_process_is_shown_to_its_last_call(lab, follow):
    library = lab.wrap("mock240")
    f = follow("--json", lab.out)
    client = lab.start("busy", library, 4, lab.tmp / "returned", env={"MOCK_SLOW": 50})
    f.wait_for(10_000)
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdout.close()
    client.stderr.close()
    shown = calls(f.end())
    returned = struct.unpack("<4Q", (lab.tmp / "returned").read_bytes()[:32])
    done = [c for c in shown if c["state"] == "done"]
    numbers = [c["call"] for c in shown]
    assert len(set(numbers)) == len(numbers)
    for i, count in enumerate(returned):
        of_session = [c for c in done if c["fn"] != "C_Initialize" and c["args"][0].get("in", {}).get("value") == 0x100 + i]
        assert count <= len(of_session) <= count + 1
        assert [c["end"] for c in of_session] == sorted(c["end"] for c in of_session)
    assert by_thread(shown) == by_thread(calls(lab.p11trace("dump", "--json", lab.out).stdout))
    path, = lab.files()
    end = [json.loads(line) for _, line in f.lines if '"type":"end"' in line]
    assert [e["verdict"] for e in end] == [json.loads(lab.p11trace("info", "--json", path).stdout)["processes"][0]["verdict"]]


def test_the_recorder_is_not_disturbed(lab, follow):
    """Two that follow, one stopped in the middle: the trace is complete and nothing is lost."""
    from lab import assert_nothing_lost
    library = lab.wrap("mock240")
    f, stopped = follow(lab.out), follow(lab.out)
    client = lab.start("callers", library, 30_000)
    stopped.wait_for(100)
    stopped.process.send_signal(signal.SIGSTOP)
    assert client.wait(30) == 0
    client.communicate()
    stopped.process.send_signal(signal.SIGCONT)
    assert timeless(f.end()) == timeless(stopped.end()) == timeless(lab.p11trace("dump", lab.out).stdout)
    assert_nothing_lost(lab.trace())


# -- when --------------------------------------------------------------------------------------------

def test_each_call_is_shown_soon(lab, follow):
    library = lab.wrap("mock240")
    f = follow("--json", lab.out)
    lab.client("callers", library, 100, 20_000)
    f.end()
    process = next(json.loads(line) for _, line in f.lines if '"type":"process"' in line)
    late = [came - (int(process["first_realtime"]) + c["end_time"]) / 1e9 for came, line in f.lines
            for c in calls(line) if c["fn"] == "C_GetInfo"]
    assert len(late) == 100
    assert statistics.median(late) < 0.2, sorted(late)


def test_control_c_is_a_good_end(lab, follow):
    library = lab.wrap("mock240")
    f = follow(lab.out)
    client = lab.start("callers", library, 10_000, 1000)
    f.wait_for(50)
    f.process.send_signal(signal.SIGINT)
    assert f.end().count("\n") >= 50
    assert client.poll() is None
    # Again, by name and in the middle: from the beginning on.
    path, = lab.files()
    again = follow("--json", path)
    again.wait_for(60)
    assert [c["call"] for c in calls("".join(line for _, line in again.lines[:60]))][:2] == [2, 5]
    client.kill()
    client.communicate()
    shown = calls(again.end())
    assert by_thread(shown) == by_thread(calls(lab.p11trace("dump", "--json", path).stdout))


# -- which -------------------------------------------------------------------------------------------

def test_processes_join_and_old_traces_are_left_out(lab, follow):
    library = lab.wrap("mock240")
    lab.client("callers", library, 7)
    old, = lab.files()
    f = follow("--json", "--wait", lab.out)
    for rounds in (11, 13):
        lab.client("callers", library, rounds)
    clients = [lab.start("callers", library, 200, 1000) for _ in range(3)]
    for c in clients:
        c.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while sum('"type":"end"' in line for _, line in f.lines) < 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    f.process.send_signal(signal.SIGINT)
    shown = calls(f.end())
    counts = sorted(len([c for c in calls_ if c[2] == "C_GetInfo"]) for calls_ in by_thread(shown).values())
    assert counts == [11, 13, 200, 200, 200]
    new = [p for p in lab.files() if p != old]
    assert by_thread(shown) == by_thread(calls(lab.p11trace("dump", "--json", *new).stdout))
    assert timeless(follow(old).end()) == timeless(lab.p11trace("dump", old).stdout)  # but by name


def test_forked_children_are_followed(lab, follow):
    library = lab.wrap("mock240")
    f = follow("--json", lab.out)
    lab.client("forks", "between", library)
    shown = f.end()
    pids = {c["pid"] for c in calls(shown)}
    dumped = [c for c in calls(lab.p11trace("dump", "--json", lab.out).stdout) if c["pid"] in pids]
    assert by_thread(calls(shown)) == by_thread(dumped)


def test_filters_and_options_of_dump(lab, follow):
    library = lab.wrap("mock240")
    f = follow("-e", "fn=C_Initialize,C_Finalize", "--stack", "--ns", "--threads", lab.out)
    lab.client("callers", library, 50)
    shown = f.end()
    dumped = lab.p11trace("dump", "-e", "fn=C_Initialize,C_Finalize", "--stack", "--ns", "--threads", lab.out).stdout
    assert timeless(shown) == timeless(dumped)
    assert shown.count(" > callers main+0x") == 2


def test_a_live_file_that_lies_elsewhere(lab, follow):
    (lab.tmp / "elsewhere").mkdir()
    library = lab.wrap("mock240", live=lab.tmp / "elsewhere")
    f = follow(lab.out)
    lab.client("callers", library, 300, 1000)
    assert timeless(f.end()) == timeless(lab.p11trace("dump", lab.out).stdout)
    assert not list(lab.out.glob("*.live"))


# -- what cannot be followed ---------------------------------------------------------------------------

def test_what_cannot_be_followed(lab):
    os.mkfifo(lab.tmp / "fifo.p11t")
    (lab.tmp / "text.p11t").write_text("dear diary\n")
    (lab.tmp / "empty.p11t").touch()
    for name, words in (("fifo.p11t", "not a regular file"), ("text.p11t", "not a trace"), ("missing.p11t", "No such file"),
                        ("empty.p11t", "nothing is recorded"), ("-", "cannot be followed")):
        refused = lab.p11trace("follow", name, status=2, timeout=10)
        assert words in refused.stderr, (name, refused.stderr)


def test_a_reader_that_has_enough(lab, follow):
    library = lab.wrap("mock240")
    lab.out.mkdir(exist_ok=True)
    client = lab.start("callers", library, 5000, 1000)
    f = subprocess.Popen(["sh", "-c", f"'{lab.build}/p11trace' follow '{lab.out}' | head -n 5"], env=lab.env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = f.communicate(timeout=20)
    assert (out.count("\n"), err) == (5, "")
    client.kill()
    client.communicate()


@pytest.mark.parametrize("settings", [{"max": "256K", "files": 100}, {"ring": "4M"}])
def test_bounded_traces(lab, follow, settings):
    """A process that goes on in other files, and one that is a flight recorder."""
    library = lab.wrap("mock240", **settings)
    f = follow("-e", "fn=C_GetObjectSize", lab.out)
    p = lab.start("bounded", library, *["poll", 1000, "nap", 20] * 25)
    p.communicate(timeout=30)
    shown = [int(n, 16) for n in re.findall("hObject=(0x[0-9a-f]+)", f.end())]
    assert shown == list(range(1, 25_001))


@pytest.mark.parametrize("settings", [{"max": "256K", "files": 3}, {"max": "256K", "files": 2}, {"ring": "4M"}])
def test_bounded_traces_begun_in_the_middle(lab, follow, settings):
    """All that is still there when the watch begins, and all that comes; later the same of files that are done."""
    library = lab.wrap("mock240", **settings)
    p = lab.start("bounded", library, *["poll", 20_000], *["poll", 1000, "nap", 100] * 30)
    while len(lab.files()) < settings.get("files", 1) or not lab.files()[0].stat().st_size:
        time.sleep(0.01)
    watches = [follow("-e", "fn=C_GetObjectSize", where) for where in (lab.out, lab.files()[0])]
    p.communicate(timeout=30)
    for f in watches:
        shown = [int(n, 16) for n in re.findall("hObject=(0x[0-9a-f]+)", f.end())]
        assert shown == list(range(shown[0], 50_001)) and len(shown) > 10_000
        assert f.errors == ""
    if lab.files():
        done = follow(lab.files()[0]).end(status=None)
        assert done == lab.p11trace("dump", lab.files()[0], status=None).stdout and len(done) > 1000
