"""The tests of threads, forks, kills and unwound calls, with whole call stacks taken."""
import pytest

import test_fork
import test_kill
import test_threads
from lab import lab  # noqa: F401

pytestmark = pytest.mark.usefixtures("mode")


@pytest.fixture(params=["error", "first", "all"])
def mode(lab, request):  # noqa: F811
    lab.env["P11TRACE_STACK"] = request.param
    return request.param


@pytest.fixture
def few():
    """Counts of the tests, small enough to run them in each mode."""
    return lambda n: min(n // 10, 4000)


@pytest.mark.threads
def test_order(lab, few):  # noqa: F811
    test_threads.test_order(lab, few)


@pytest.mark.threads
def test_churn(lab, few):  # noqa: F811
    test_threads.test_churn(lab, few)


@pytest.mark.threads
@pytest.mark.nosan
def test_cancelled(lab):  # noqa: F811
    test_threads.test_cancelled_in_a_call(lab)


@pytest.mark.nosan
@pytest.mark.parametrize("how", ["throw", "jump"])
def test_left(lab, how):  # noqa: F811
    test_threads.test_left_by_exception_or_jump(lab, how)


def test_nested(lab):  # noqa: F811
    test_threads.test_call_inside_a_callback(lab)


@pytest.mark.parametrize("how", ["between", "clone"])
def test_fork_between_calls(lab, how):  # noqa: F811
    test_fork.test_child_has_its_own_trace(lab, how)


def test_fork_inside_a_call(lab):  # noqa: F811
    test_fork.test_fork_inside_a_call(lab, "mock32")


@pytest.mark.threads
@pytest.mark.nosan
def test_forks_of_a_busy_process(lab):  # noqa: F811
    test_fork.test_forks_of_a_busy_process(lab)


@pytest.mark.nosan
def test_killed(lab):  # noqa: F811
    test_kill.test_killed_anywhere(lab, lambda n: n // 40)


@pytest.mark.nosan
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV"])
def test_died_in_sign(lab, how):  # noqa: F811
    test_kill.test_died_in_sign(lab, how)


@pytest.mark.nosan
def test_system_calls(lab, mode):  # noqa: F811
    """A sandbox allows what a walk asks of the kernel: rt_sigprocmask only, and that a few times in each thread."""
    def calls(stack):
        log = lab.tmp / "strace"
        lab.run("strace", "-f", "-o", log, lab.program("stacks"), "chain", lab.wrap("mock32"), 20, env={"P11TRACE_STACK": stack})
        names = [line.split()[1].split("(")[0] for line in log.read_text().splitlines()]
        return {name: names.count(name) for name in set(names)}

    plain, walked = calls("off"), calls(mode)
    more = {name: n - plain.get(name, 0) for name, n in walked.items() if n > plain.get(name, 0)}
    assert set(more) <= {"rt_sigprocmask", "mmap", "madvise"}
    assert more.get("rt_sigprocmask", 0) < 40
    assert more["mmap"] == more["madvise"] == 4, "the memory of each slot"
