"""Fixtures that every test may use.  A package that is missing is a failure here, never a skip."""
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

import cryptoki
import tokens
from softhsm import make_token

ROOT = Path(__file__).resolve().parent.parent
LONG = os.environ.get("P11TRACE_LONG", "0") not in ("", "0")
SANITIZE = os.environ.get("P11TRACE_SANITIZE", "")

# What would change the behaviour of a traced program without the test having asked for it.
FOREIGN = ("P11TRACE_", "P11TOKEN_", "P11FAULTY", "PKCS11SPY", "P11_KIT_", "NSS_", "NSPR_", "SOFTHSM2_", "LD_", "XDG_",
           "MALLOC_")


def pytest_collection_modifyitems(items):
    for item in items:
        # These load the module into pytest itself: in a sanitized build pytest needs the runtime preloaded.
        if {"token", "faulty"} & set(item.fixturenames) or any(
                v is cryptoki or getattr(v, "__module__", None) == "cryptoki" for v in vars(item.module).values()):
            item.add_marker(pytest.mark.inprocess)
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root: mounts file systems or changes the user id"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def build() -> Path:
    """The build folder under test, as an absolute path."""
    path = ROOT / os.environ.get("P11TRACE_BUILD", "build")
    assert path.is_dir(), f"{path} does not exist: run make first"
    return path


@pytest.fixture(scope="session")
def long() -> bool:
    """True under `make check-long`."""
    return LONG


@pytest.fixture(scope="session")
def count():
    """count(n): how often to repeat a loop whose full count is n; a tenth of it, at least once, in `make check`."""
    return lambda n: n if LONG else max(1, n // 10)


@pytest.fixture(scope="session")
def fault_stage(build, tmp_path_factory):
    """fault_stage(backend): the stage of fault_matrix.py on "token" or "softhsm", made when it is first asked for."""
    import fault_matrix
    made = {}

    def stage(backend):
        if backend not in made:
            made[backend] = fault_matrix.FaultStage(tmp_path_factory.mktemp(backend), build, backend)
        return made[backend]

    return stage


def own_mounts():
    """The command that gives a mount namespace. In a chroot, whose root is no mount, propagation cannot be changed, and
    need not be: whoever made the chroot has a namespace for it."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0:
        return ["unshare", "-m"]
    return ["unshare", "-m", "--propagation", "unchanged"]


def sanitizer_runtime() -> str:
    """The library that a program which was not built with the sanitizer must load before a module that was."""
    lib = {"address": "libasan.so", "thread": "libtsan.so"}[SANITIZE]
    return subprocess.run(["gcc", f"-print-file-name={lib}"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clean_env(tmp_path) -> dict:
    """An environment in which nothing is traced yet and everything that is written goes below tmp_path."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    env.update(HOME=str(tmp_path / "home"), XDG_STATE_HOME=str(tmp_path / "state"), TMPDIR=str(tmp_path),
               LC_ALL="C.UTF-8", TZ="UTC")
    for name in ("home", "state"):
        (tmp_path / name).mkdir(exist_ok=True)
    if SANITIZE:
        env["ASAN_OPTIONS"] = "detect_leaks=0:allocator_may_return_null=1"
        env["UBSAN_OPTIONS"] = "print_stacktrace=1"
        env["TSAN_OPTIONS"] = "halt_on_error=1:exitcode=66"
    return env


@pytest.fixture
def run(tmp_path, clean_env, build):
    """run(program, argument, ..., status=0, env={...}, input=None, timeout=60, cwd=tmp_path, text=True)

    Runs a program in the clean environment plus `env` and returns the subprocess.CompletedProcess.  The test fails,
    with both outputs, if the status is not `status` (a negative one is a signal; None accepts any).  Only the name of a
    program without a slash is looked up in PATH; names below the build folder are given as build / "p11trace"."""

    def run(*argv, status=0, env=None, input=None, timeout=60, cwd=tmp_path, text=True, **more):
        argv = [os.fspath(a) if isinstance(a, os.PathLike) else str(a) for a in argv]
        full = {**clean_env, **{k: str(v) for k, v in (env or {}).items()}}
        if SANITIZE and not argv[0].startswith(str(build)):
            full["LD_PRELOAD"] = ":".join(filter(None, (sanitizer_runtime(), full.get("LD_PRELOAD"))))
        p = subprocess.run(argv, env=full, cwd=cwd, input=input, timeout=timeout, text=text,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        if status is not None and p.returncode != status:
            got = signal.Signals(-p.returncode).name if p.returncode < 0 else p.returncode
            pytest.fail(f"{shlex.join(argv)}\nended with {got}, not {status}\n--- stdout\n{p.stdout}\n"
                        f"--- stderr\n{p.stderr}", pytrace=True)
        return p

    return run


@pytest.fixture
def softhsm(tmp_path):
    """A fresh SoftHSM token: .module .label .pin .so_pin .env .tool(...)"""
    return make_token(tmp_path / "softhsm")


@pytest.fixture
def token(tmp_path, build, monkeypatch):
    """A fresh token of libp11token.so: .module .directory .parameters .env .label .pin .so_pin .load() .session()"""
    for name in os.environ:
        if name.startswith("P11TOKEN_"):
            monkeypatch.delenv(name)
    fresh = tokens.make_token(tmp_path / "tokens", build / "libp11token.so", monkeypatch.setenv)
    yield fresh
    fresh.finalize()
