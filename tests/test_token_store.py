"""The token's file through real PKCS #11 calls: processes that are killed, processes that work at the same time."""
import random
import signal
import time

import pytest

from cryptoki import CKR, CkError
from token_states import GONE, States, Worker


@pytest.fixture
def worker(build, token, clean_env):
    return Worker(build, token, clean_env)


def kill_one(worker, rng, *arguments) -> str:
    """Lets a worker begin, kills it somewhere and returns what it said."""
    log = worker.token.directory.parent / "log"
    with open(log, "w") as out:
        p = worker.start(*arguments, stdout=out)
    end = time.monotonic() + 60
    while not log.stat().st_size and p.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(rng.random() * 0.05)
    p.kill()
    _, err = p.communicate(timeout=20)
    assert p.returncode == -signal.SIGKILL, f"it ended by itself: {err}"
    return log.read_text()


def found_objects(worker, *pin) -> dict:
    found = worker.listed(*pin)
    found.pop("label")
    return found


@pytest.mark.nosan
@pytest.mark.timeout(900)
def test_killed_while_working(worker, token, count):
    """Creating, changing and destroying: what was acknowledged is there, nothing is torn, pairs have both halves."""
    rng, states, done = random.Random(1), States(), 0
    for i in range(count(200)):
        done += states.read(kill_one(worker, rng, "work", token.pin, f"k{i}", 0, 0))
        assert all(f.stat().st_size < 6 << 20 for f in token.directory.glob("*-wal")), "the log was never written back"
        states.settle(found_objects(worker, token.pin))
    assert done > count(200) // 4


@pytest.mark.nosan
@pytest.mark.timeout(900)
def test_killed_while_changing_the_pin(worker, token, count):
    """The PIN is the last acknowledged or the next one, and opens the private objects that were there before."""
    rng, states, done = random.Random(2), States(), 0
    states.read(worker.run("work", token.pin, "before", 1, 0))
    kept = found_objects(worker, token.pin)
    assert len(kept) > 3
    s = token.session(login=False)
    s.set_pin(token.pin, "pin-1")
    token.finalize()
    pins, last = States(), 1
    pins.allowed = {"pin": {"1"}}
    for _ in range(count(200)):
        done += pins.read(kill_one(worker, rng, "pin", last, 0, 0))
        opened = [n for n in sorted(pins.of("pin")) if opens(token, f"pin-{n}")]
        assert len(opened) == 1, f"of {pins.of('pin')} these are right: {opened}"
        pins.settle({"pin": opened[0]})
        last = int(opened[0])
    assert done > count(200) // 4
    assert found_objects(worker, f"pin-{last}") == kept


def opens(token, pin) -> bool:
    """Is it the user's PIN? In this process."""
    s = token.session(login=False)
    try:
        s.login(pin)
    except CkError as e:
        assert e.rv == CKR.PIN_INCORRECT, e
        return False
    finally:
        token.finalize()
    return True


@pytest.mark.nosan
@pytest.mark.timeout(900)
def test_killed_while_initialising(worker, token, count):
    """C_InitToken: the old token or the new one, never a bit of both."""
    rng, states, done, n = random.Random(3), States(), 0, 1
    states.allowed = {"token": {"of the fixture"}, "pin": {"of the fixture"}}
    for _ in range(count(200)):
        log = kill_one(worker, rng, "init", token.so_pin, n, 0, 0)
        done += states.read(log)
        found = worker.listed()
        label = found.pop("label")
        found["token"] = label.removeprefix("token-") if label != token.label else "of the fixture"
        if found.pop("pin", None) != "unset":
            (found["pin"],) = states.of("pin") - {GONE}
            worker.listed(token.pin if found["pin"] == "of the fixture" else f"pin-{found['pin']}")
        states.settle(found)
        n += 1 + log.count("? token")
    assert done > count(200) // 4


@pytest.mark.timeout(300)
def test_two_processes(worker, token, count):
    """They create, change and destroy for a minute: no error, nothing is lost, and the log does not grow for ever."""
    seconds = count(60)
    workers = [worker.start("work", token.pin, f"p{i}", seconds, 0) for i in range(2)]
    outs = [p.communicate(timeout=seconds + 60) for p in workers]
    assert [p.returncode for p in workers] == [0, 0], [err for _, err in outs]
    states = States()
    done = [states.read(out) for out, _ in outs]
    assert min(done) > 10 * seconds, f"{done} changes in {seconds} s: one was starved"
    assert all(len(s) == 1 for s in states.allowed.values())
    states.settle(found_objects(worker, token.pin))
    assert [f.suffix for f in token.directory.iterdir()] == [".p11token"]
    (file,) = token.directory.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_many_processes_at_once(worker, token, count):
    """Eight processes that start together, none gives up."""
    workers = [worker.start("work", token.pin, f"p{i}", 3, 0) for i in range(8)]
    outs = [p.communicate(timeout=120) for p in workers]
    assert {p.returncode for p in workers} == {0}, [err for _, err in outs]
    states = States()
    assert min(states.read(out) for out, _ in outs) > 3
    states.settle(found_objects(worker, token.pin))
