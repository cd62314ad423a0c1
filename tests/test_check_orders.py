"""Logins, logouts, opens and closes of several threads overlap: is a finding made exactly where no order explains the answers?

The schedules and the oracle, which goes through all orders by itself, are in login_orders.py."""
import json
import random

import pytest

from check_story import TOKEN_PRESENT, Story
from login_orders import explained, simulate, spoiled, tell

# Each sees one way of contradicting: NSS-LOGIN-08 and -11 the successes where nothing was to be done.
RULES = {"NSS-LOGIN-01", "NSS-LOGIN-02", "NSS-LOGIN-04", "NSS-LOGIN-05", "NSS-LOGIN-08", "NSS-LOGIN-09", "NSS-LOGIN-11",
         "NSS-LOGIN-17", "NSS-SESS-07", "NSS-SESS-08", "NSS-PIN-04"}
BATCH = 200  # schedules in a trace, each a module of its own; more than 256 findings of a rule are not kept


def contradicted(finding):
    """Is it about answers that contradict each other? That a wrong PIN is told from a right one when the user is logged in
    already is a question of the code alone."""
    return finding["rule"] in RULES and "CKR_PIN_INCORRECT" not in finding["sentence"]


def check(build, run, path, schedules):
    """The findings of each schedule."""
    story = Story(module="/lib/0.so")
    for i, calls in enumerate(schedules):
        if i:
            story.module(story.next(), id=i + 1, path=f"/lib/{i}.so", time=story.now)
        story.call("initialize", module=i + 1)
        story.call("slot_info", flags=TOKEN_PRESENT, module=i + 1)  # and it stays there
        tell(story, calls, i + 1)
    p = run(build / "p11trace", "check", "--json", story.write(path), status=None)
    assert p.returncode in (0, 1), p.stderr
    found = [[] for _ in schedules]
    for f in filter(contradicted, json.loads(p.stdout)["findings"]):
        found[int(f["module"].rsplit("/", 1)[1].removesuffix(".so"))].append((f["rule"], f["sentence"]))
    return found


def batches(seeds, **shape):
    for first in range(seeds.start, seeds.stop, BATCH):
        some = range(first, min(first + BATCH, seeds.stop))
        yield some, [simulate(seed, **shape) for seed in some]


def test_ten_thousand_schedules(build, run, tmp_path):
    """Eight threads on a module that is right: nothing. With one answer replaced: a finding where the oracle finds no order,
    and none where it does."""
    split = {True: 0, False: 0}
    for seeds, schedules in batches(range(10000)):
        found = check(build, run, tmp_path / "right.p11t", schedules)
        assert not any(found), [(s, f) for s, f in zip(seeds, found) if f]
        wrong = [spoiled(c, random.Random(s)) or c for s, c in zip(seeds, schedules)]
        found = check(build, run, tmp_path / "wrong.p11t", wrong)
        for seed, calls, f in zip(seeds, wrong, found):
            fine = explained(calls)
            split[fine] += 1
            assert bool(f) != fine, (seed, "can be explained" if fine else "cannot be explained", f)
    assert min(split.values()) > 3000  # neither is rare


@pytest.mark.parametrize("shape", [dict(threads=1), dict(threads=2, crowd=2), dict(threads=3, calls=22),
                                   dict(crowd=1, calls=20), dict(crowd=6, calls=10), dict(crowd=8, calls=16)],
                         ids=lambda s: "-".join(f"{k}{v}" for k, v in s.items()))
def test_other_shapes(build, run, tmp_path, count, shape):
    for seeds, schedules in batches(range(10 ** 6, 10 ** 6 + count(4000)), **shape):
        assert not any(check(build, run, tmp_path / "right.p11t", schedules))
        wrong = [spoiled(c, random.Random(s)) or c for s, c in zip(seeds, schedules)]
        found = check(build, run, tmp_path / "wrong.p11t", wrong)
        assert [(s, bool(f)) for s, f in zip(seeds, found)] == [(s, not explained(c)) for s, c in zip(seeds, wrong)]


@pytest.mark.parametrize("crowd", [2, 7, 30])
def test_storms(build, run, tmp_path, count, crowd):
    """Hundreds of calls without a moment of rest, more than are gone through: silence, and no mistake afterwards."""
    for seed in range(count(100)):
        schedules = [simulate(seed, threads=crowd + 2, calls=500, crowd=crowd)]
        assert check(build, run, tmp_path / "storm.p11t", schedules) == [[]]
        # One wrong answer may be found or not.
        check(build, run, tmp_path / "storm.p11t", [spoiled(schedules[0], random.Random(seed))])
