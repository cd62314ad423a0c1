"""What the tests of the shim share: traced copies of modules, the clients that use them, and the traces they leave."""
import re
import subprocess
from pathlib import Path

import pytest

import p11t_reader
import softhsm
from conftest import SANITIZE, sanitizer_runtime


class Lab:
    def __init__(self, build, tmp_path, run, clean_env):
        self.build, self.tmp, self.run, self.env = build, tmp_path, run, clean_env
        self.out = tmp_path / "traces"
        # Live files that cannot lie beside their traces must not stay in /dev/shm.
        (tmp_path / "run").mkdir(mode=0o700)
        clean_env["XDG_RUNTIME_DIR"] = str(tmp_path / "run")

    def mock(self, name):
        path = self.build / "tests" / "mocks" / f"{name}.so"
        assert path.exists(), f"{path} is missing: run make"
        return path

    def program(self, name):
        path = self.build / "tests" / "clients" / name
        assert path.exists(), f"{path} is missing: run make"
        return path

    def client(self, name, *arguments, **more):
        """Runs tests/clients/NAME; see the fixture `run`."""
        return self.run(self.program(name), *arguments, **more)

    def start(self, name, *arguments, env=None, **more):
        """The same in the background: a Popen."""
        full = {**self.env, **{k: str(v) for k, v in (env or {}).items()}}
        return subprocess.Popen([str(self.program(name)), *map(str, arguments)], env=full, cwd=self.tmp, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def p11trace(self, *arguments, **more):
        return self.run(self.build / "p11trace", *arguments, **more)

    def wrap(self, module, name=None, out=None, **settings):
        """A traced copy of the module; its traces go to self.out."""
        module = self.mock(module) if isinstance(module, str) else module
        path = self.tmp / f"{name or module.stem + '-traced'}.so"
        extra = [a for k, v in settings.items() for a in (f"--{k.replace('_', '-')}", v)]
        self.p11trace("wrap", module, "-o", path, "--out", out or self.out, "--quiet", *extra)
        return path

    def preload(self, out=None, **settings):
        """The environment in which everything is traced without a stub; traces go to self.out."""
        libraries = ([sanitizer_runtime()] if SANITIZE else []) + [str(self.build / "libp11trace.so")]
        env = {"LD_PRELOAD": ":".join(libraries), "P11TRACE_OUT": str(out or self.out)}
        return {**env, **{f"P11TRACE_{k.upper()}": v for k, v in settings.items()}}

    def traced(self, way, module, name=None, out=None, **settings):
        """(library, environment) by which a module is traced: `chained` by a stub, or `preloaded`."""
        if way == "chained":
            return self.wrap(module, name, out, **settings), {}
        return self.mock(module) if isinstance(module, str) else module, self.preload(out, **settings)

    def files(self):
        """All traces so far, by name."""
        return sorted(self.out.glob("*.p11t"))

    def traces(self):
        return [p11t_reader.read(f) for f in self.files()]

    def trace(self, verdict="complete"):
        """The one trace that there is; nothing in it may be missing."""
        (path,) = self.files()
        trace = p11t_reader.read(path)
        assert trace.damage == []
        assert trace.verdict == verdict
        return trace

    def token(self, name="token"):
        """A SoftHSM token with an AES key "aes" and an RSA pair "rsa"."""
        token = softhsm.make_token(self.tmp / name)
        token.tool("--keygen", "--key-type", "AES:16", "--label", "aes")
        token.tool("--keypairgen", "--key-type", "rsa:2048", "--label", "rsa")
        return token


@pytest.fixture
def lab(build, tmp_path, run, clean_env):
    return Lab(build, tmp_path, run, clean_env)


def functions():
    """[(name, since)] of functions.def."""
    text = (p11t_reader.SPEC / "functions.def").read_text()
    return re.findall(r"^F\((C_\w+), V(\d_\d+)", text, re.M)


def counted(calls):
    """{name: number of calls}"""
    result = {}
    for c in calls:
        result[c.name] = result.get(c.name, 0) + 1
    return result


def end_number(trace, tag):
    """A u64 of the END frame."""
    return int.from_bytes(trace.end[tag][0], "little")


def totals(path):
    """(trace with its frames, {tag: u64} of END) of a trace that is too large for read()'s lists."""
    trace, data = p11t_reader.Trace(str(path)), path.read_bytes()
    p11t_reader.read_frames(trace, data, len(data))
    assert trace.damage == [] and trace.frames[-1][0].kind == p11t_reader.END
    end = p11t_reader.parse_fields(p11t_reader.Cursor(trace.frames[-1][1], 64))
    return trace, {tag: int.from_bytes(values[0], "little") for tag, values in end.items() if len(values[0]) == 8}


def assert_nothing_lost(trace):
    """The trace is whole, by its own account: END's totals, the numbers and every body agree."""
    assert trace.damage == []
    numbers = [r.number for r in trace.records]
    assert len(set(numbers)) == len(numbers)
    if trace.end is not None:
        assert end_number(trace, 2) == 0, "records lost"
        assert end_number(trace, 8) == 0, "calls passed through unrecorded"
        assert end_number(trace, 1) == sum(info.records for info, _ in trace.frames)
        assert end_number(trace, 4) == max(numbers)
    assert sorted(numbers) == list(range(min(numbers), max(numbers) + 1)), "a number is missing"
