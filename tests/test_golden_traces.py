"""Every released version of the format stays readable: a trace that the recorder of that version made of certutil on SoftHSM, and
what it holds. A new version of the format adds a pair here and changes none."""
import pytest

import p11t_reader
import sealing

VERSIONS = ["1.0"]


@pytest.mark.parametrize("kind", ["recorded", "rotated", "dumped", "sealed"])
@pytest.mark.parametrize("version", VERSIONS)
def test_old_traces_stay_readable(run, build, root, version, kind):
    """`rotated` and `dumped` are two files each."""
    trace = root / "tests" / "golden" / f"{kind}-{version}.p11t"
    shown = run(build / "p11trace", "dump", "-v", "--ns", "-t", "--caller", trace, env={"TZ": "UTC", "LC_ALL": "C.UTF-8"}).stdout
    assert shown == trace.with_suffix(".txt").read_text()
    run(build / "p11trace", "check", trace)
    assert len(p11t_reader.read(trace).calls) == shown.count(" C_")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_sealed_in_old_traces_opens(run, build, root, tmp_path, version):
    """Payload is shown, a PIN and a key are not, but open all the same. The private key is of no other trace."""
    golden, key = root / "tests" / "golden", tmp_path / "key"
    key.touch(0o600)
    key.write_text((golden / f"sealed-{version}.key").read_text())
    trace = golden / f"sealed-{version}.p11t"
    shown = run(build / "p11trace", "dump", "-v", "--ns", "-t", "--caller", "--key", key, trace,
                env={"TZ": "UTC", "LC_ALL": "C.UTF-8"}).stdout
    assert shown == (golden / f"sealed-{version}-opened.txt").read_text()
    found = [(kind, data) for _, kind, data, _ in sealing.opened(p11t_reader.read(trace), sealing.key_of(key))]
    assert (sealing.PIN, b"golden-pin") in found and (sealing.SECRET, b"golden AES value") in found
    assert [len(data) for _, data in found if data.startswith(b"golden payload") or len(data) > 100] == [14, 400]


def test_this_version_has_one(root):
    text = (root / "shim" / "trace" / "format.h").read_text()
    numbers = [text.split(f"#define P11T_{part} ")[1].split()[0] for part in ("MAJOR", "MINOR")]
    assert ".".join(numbers) in VERSIONS
