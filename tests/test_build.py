"""What the build makes: the recorder is a guest in other programs and must bring nothing along."""
import os
import re
import subprocess

import pytest

pytestmark = pytest.mark.nosan  # sanitized libraries need the sanitizer's


def readelf(*args):
    return subprocess.run(["readelf", "-W", *map(str, args)], check=True, capture_output=True, text=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout


def needed(path):
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", readelf("-d", path)))


def exported(path):
    """Names that other libraries can see."""
    rows = (line.split() for line in readelf("--dyn-syms", path).splitlines())
    return {r[7].split("@")[0] for r in rows
            if len(r) > 7 and r[4] in ("GLOBAL", "WEAK") and r[6] not in ("UND", "ABS", "Ndx")}


def tls_size(path):
    """Bytes of thread-local storage."""
    return sum(int(line.split()[5], 16) for line in readelf("-l", path).splitlines() if line.split()[:1] == ["TLS"])


@pytest.mark.parametrize("name", ["libp11trace.so", "p11stub.so"])
def test_needs_only_libc(build, name):
    libs = needed(build / name)
    assert "libc.so.6" in libs
    assert {lib for lib in libs if not lib.startswith("ld-linux")} == {"libc.so.6"}


@pytest.mark.parametrize("name", ["libp11trace.so", "p11stub.so"])
def test_exports_are_named(build, root, name):
    """Every export is in the version script, and nothing of what is linked in (libzstd) shows."""
    script = root / "shim/load" / {"libp11trace.so": "exports.map", "p11stub.so": "stub.map"}[name]
    text = re.sub(r"/\*.*?\*/", "", script.read_text(), flags=re.S)
    named = set(re.findall(r"(\w+)\s*;", text))
    seen = exported(build / name)
    assert {"C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList"} <= seen
    assert seen <= named, sorted(seen - named)


def test_recorder_stays_and_is_small_in_tls(build):
    """The recorder is never unloaded (its thread state and handlers outlive the module), and its thread-local storage
    fits into the surplus that dlopen has for initial-exec variables."""
    dynamic = readelf("-d", build / "libp11trace.so")
    assert "NODELETE" in dynamic
    assert re.search(r"FLAGS_1\).*NOW", dynamic)
    assert 0 < tls_size(build / "libp11trace.so") <= 16


def test_stub_can_be_unloaded(build):
    assert "NODELETE" not in readelf("-d", build / "p11stub.so")
    assert tls_size(build / "p11stub.so") == 0


@pytest.mark.parametrize("name", ["libp11trace.so", "p11stub.so", "p11trace"])
def test_hardened(build, name):
    """No executable stack, no text relocations, tables read-only after start-up."""
    segments = readelf("-l", build / name)
    stack = next(line.split() for line in segments.splitlines() if line.split()[:1] == ["GNU_STACK"])
    assert "E" not in stack[6]
    assert "GNU_RELRO" in segments
    assert "TEXTREL" not in readelf("-d", build / name)


def test_decoder_carries_this_stub(build):
    assert (build / "p11stub.so").read_bytes() in (build / "p11trace").read_bytes()


def fake_dpkg(tmp_path, installed):
    """A dpkg-query that knows `installed` only, and an apt-get and id that tell what they were asked."""
    rows = "".join(f"echo installed {name}\n" for name in installed)
    for name, body in {"dpkg-query": rows, "apt-get": f"echo \"$*\" >>{tmp_path}/asked\n",
                       "id": "echo ${FAKE_UID:-0}\n"}.items():
        tool = tmp_path / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text("#!/bin/sh\n" + body)
        tool.chmod(0o755)
    return {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}


DEMO = ["libnss3-tools", "openssl", "zstd"]


def test_packages_all_there(run, root, tmp_path):
    p = run(root / "tests/deps.sh", "demo", env=fake_dpkg(tmp_path, DEMO))
    assert p.stdout == p.stderr == ""


def test_packages_installed_by_root(run, root, tmp_path):
    p = run(root / "tests/deps.sh", "demo", env=fake_dpkg(tmp_path, DEMO[:1]))
    assert p.stdout == "installing missing packages: openssl zstd\n"
    assert (tmp_path / "asked").read_text() == "install -y -q --no-install-recommends openssl zstd\n"


@pytest.mark.parametrize("why", [{"NO_INSTALL": "1"}, {"FAKE_UID": "1000"}])
def test_packages_only_named(run, root, tmp_path, why):
    p = run(root / "tests/deps.sh", "demo", status=2, env={**fake_dpkg(tmp_path, DEMO[:1]), **why})
    assert p.stdout == "  apt-get install openssl zstd\n"
    assert not (tmp_path / "asked").exists()
