"""examples/replay-in-ci: golden traces of NSS's tools, replayed on a healthy token and on one that answers wrongly."""
import subprocess

import junitparser
import pytest

from conftest import ROOT
from nss import environment

pytestmark = pytest.mark.nss
RUN = ROOT / "examples" / "replay-in-ci" / "run.sh"
NAMES = ["certificates", "decrypt", "keys", "new-key", "sign"]


@pytest.fixture(scope="module")
def played(build, tmp_path_factory):
    """played(ARGUMENT ..., status=0, **environment): what run.sh prints; the golden traces are made by its first run."""
    folder = tmp_path_factory.mktemp("ci")

    def play(*args, status=0, **env):
        env = environment(folder, BUILD=build, **env)
        p = subprocess.run([RUN, "--out", folder / "out", *args], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=120)
        assert p.returncode == status, p.stdout + p.stderr
        return p.stdout

    play.out = folder / "out"
    return play


def cases(out):
    (suite,) = junitparser.JUnitXml.fromfile(str(out / "replay.xml"))
    return {case.name.rpartition("/")[2].removesuffix(".p11t"): [type(r).__name__ for r in case.result] for case in suite}


def test_golden_traces_on_a_fresh_token(played):
    text = played()
    assert text.count("no difference, ") == 1 and "calls of 5 processes on " in text
    assert sorted(p.stem for p in (played.out / "golden").iterdir()) == NAMES
    found = cases(played.out)
    assert [name for name in found if name in NAMES] == sorted(NAMES, key=list(found).index) and not any(found.values())
    assert len(found) == len(NAMES) + 1  # and the line of expected.txt
    for path in (played.out / "golden").iterdir():
        assert b"1234-golden" not in path.read_bytes()


def test_a_module_that_answers_wrongly(played, build):
    played()
    text = played(build / "libp11faulty.so", played.out / "pin.txt", status=1, P11FAULTY_MODULE=build / "libp11token.so",
                  P11FAULTY="rv=C_SignInit:CKR_FUNCTION_FAILED", P11TOKEN_DIR=played.out / "today")
    assert "C_SignInit rv [CKR_OK -> CKR_FUNCTION_FAILED]" in text
    assert {name for name, results in cases(played.out).items() if "Failure" in results} >= {"sign", "new-key"}


def test_what_cannot_be(played):
    assert "there is no option --nothing" in subprocess.run([RUN, "--nothing"], capture_output=True, text=True).stderr
    assert played("/nonexistent.so", "/nonexistent", status=2).splitlines() == [f"{played.out}/replay.xml (JUnit)"]
