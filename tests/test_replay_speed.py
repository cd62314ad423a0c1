"""What a replay costs beside reading the trace. As ratios of processor time: how fast the machine is does not matter."""
import os
import subprocess

import pytest

pytestmark = pytest.mark.nosan
CALLS = 25_000  # times 8


def seconds(argv, env):
    """Processor time of one process and its children, the least of three."""
    best = None
    for _ in range(3):
        with subprocess.Popen([str(a) for a in argv], env=env, stdout=subprocess.DEVNULL) as p:
            _, status, usage = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
        assert p.returncode == 0
        # A process's own children are counted with it once it has waited for them.
        best = min(best or 1e9, usage.ru_utime + usage.ru_stime)
    return best, usage.ru_maxrss


def test_a_call_costs_little_more_than_reading_it(run, build, clean_env, tmp_path):
    null = build / "tests/mocks/null_module.so"
    run(build / "p11trace", "run", "--quiet", "-o", tmp_path, "--", build / "tests/bench/load", "--plain", null, "1234",
        f"mix:{CALLS}")
    (trace,) = tmp_path.glob("*.p11t")
    read, _ = seconds([build / "p11trace", "stat", trace], clean_env)
    replayed, resident = seconds([build / "p11trace", "replay", "--module", null, "--pin", "1234", trace], clean_env)
    # It is read twice and a half; to make, compare and count a call costs about two readings more.
    assert replayed < 12 * read, (replayed, read)
    assert resident < 64 << 10
