"""How large traces are, beside pkcs11-spy's text of the same runs."""
import os
import shutil
import tempfile
from pathlib import Path

import pytest

import p11t_reader
from lab import lab  # noqa: F401
from nss import Stage, spy
from test_nss_tools import CASES

FIXED = 2560
SHARE = 15


@pytest.mark.nosan
def test_fixed_part(lab, build, run):  # noqa: F811
    """Bytes of a trace in which nothing happens but that a module is loaded, gets a session and is finalised. Three paths are
    in it, so everything is copied to where paths are short: the build may lie anywhere."""
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as short:
        for file in (lab.program("lifecycle"), lab.mock("null_module"), build / "libp11trace.so"):
            shutil.copy(file, short)
        run(f"{short}/lifecycle", "asks", f"{short}/libp11trace.so", 0,
            env={"P11TRACE_MODULE": f"{short}/null_module.so", "P11TRACE_OUT": short})
        (path,) = Path(short).glob("*.p11t")
        assert len(p11t_reader.read(path).calls) == 5
        assert path.stat().st_size <= FIXED


def test_poll_is_small(lab):  # noqa: F811
    lab.client("lifecycle", "asks", lab.wrap("null_module"), 100_000)
    (path,) = lab.files()
    calls = len(p11t_reader.read(path).calls)
    assert calls >= 100_000 and path.stat().st_size / calls <= 12


@pytest.mark.nss
@pytest.mark.nosan
def test_share_of_the_spys_text(build, tmp_path):
    """The same runs of NSS's tools, written by both: the spy is behind the traced stub. (On SoftHSM: the spy of OpenSC 0.23
    does not log what a 3.2 interface is asked.)"""
    stage = Stage(tmp_path, build)
    stage.must(build / "p11trace", "wrap", spy(), "-o", stage.module, "--out", stage.traces)
    for commands, _ in CASES.values():
        for command in commands:
            stage.run(*command)
    files = list(stage.traces.glob("*.p11t"))
    assert len(files) > 10
    rest = sum(f.stat().st_size - FIXED for f in files)
    assert 0 < rest * SHARE <= os.path.getsize(stage.spy_log)
