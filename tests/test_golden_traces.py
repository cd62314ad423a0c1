"""Every released version of the format stays readable: a trace that the recorder of that version made of certutil on SoftHSM, and
what it holds. A new version of the format adds a pair here and changes none."""
import pytest

import p11t_reader

VERSIONS = ["1.0"]


@pytest.mark.parametrize("kind", ["recorded", "rotated", "dumped"])
@pytest.mark.parametrize("version", VERSIONS)
def test_old_traces_stay_readable(run, build, root, version, kind):
    """`rotated` and `dumped` are two files each."""
    trace = root / "tests" / "golden" / f"{kind}-{version}.p11t"
    shown = run(build / "p11trace", "dump", "-v", "--ns", "-t", "--caller", trace, env={"TZ": "UTC", "LC_ALL": "C.UTF-8"}).stdout
    assert shown == trace.with_suffix(".txt").read_text()
    run(build / "p11trace", "check", trace)
    assert len(p11t_reader.read(trace).calls) == shown.count(" C_")


def test_this_version_has_one(root):
    text = (root / "shim" / "trace" / "format.h").read_text()
    numbers = [text.split(f"#define P11T_{part} ")[1].split()[0] for part in ("MAJOR", "MINOR")]
    assert ".".join(numbers) in VERSIONS
