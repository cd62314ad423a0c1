"""What a replay costs beside reading the trace. As ratios of processor time: how fast the machine is does not matter."""
import pytest

from reader_tools import measured

pytestmark = pytest.mark.nosan
CALLS = 25_000  # times 8


def seconds(argv, env):
    """Processor time of a program and its children, the least of three; peak memory in KiB."""
    runs = [measured(argv, env) for _ in range(3)]
    assert [status for status, _, _ in runs] == [0, 0, 0]
    return min(s for _, s, _ in runs), max(peak for _, _, peak in runs)


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
