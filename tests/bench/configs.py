"""The ways to load a module that the benchmarks compare: bare, and under each tracer."""
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from softhsm import make_token  # noqa: E402

LIBDIR = Path("/usr/lib") / subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True,
                                           check=True).stdout.strip()
CPU = str(max(os.sched_getaffinity(0)))  # the same one for all, and not the first, which serves most interrupts


@dataclass
class Target:
    """A module with keys 01 (RSA) and 02 (EC) on its only initialised token."""
    name: str
    module: Path
    pin: str
    env: dict
    counts: dict  # operations of each workload in a timed run
    callgrind: dict  # and under callgrind


@dataclass
class Config:
    """One way to load a target; what it writes lies in `out`, which is emptied before each run."""
    name: str
    module: Path
    out: Path
    env: dict = field(default_factory=dict)
    prefix: list = field(default_factory=list)  # words before the command

    def run(self, target, load, counts, *options, valgrind=()):
        """Runs the load; returns its lines, split into words."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("P11TRACE_", "PKCS11SPY", "P11_KIT_"))}
        env.update(target.env, **self.env)
        argv = [*self.prefix, *valgrind, str(load), "--cpu", CPU, *options, str(self.module), target.pin,
                *(f"{name}:{n}" for name, n in counts.items())]
        log = self.out / "stderr"  # where p11-kit's log goes
        with open(log, "wb") as err:
            p = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=err, text=True)
        if p.returncode != 0:
            tail = log.read_bytes()[-2000:].decode(errors="replace")
            sys.exit(f"{self.name} on {target.name}: status {p.returncode}: {' '.join(argv)}\n{tail}")
        # A tracer that wrote nothing would win every comparison.
        if self.name != "direct" and self.bytes_written() < 200:
            sys.exit(f"{self.name} on {target.name} recorded nothing: {' '.join(argv)}")
        return [line.split() for line in p.stdout.splitlines()]

    def bytes_written(self):
        return sum(f.stat().st_size for f in self.out.rglob("*") if f.is_file())


def null_target(build):
    """The module without costs."""
    return Target("null_module", build / "tests/mocks/null_module.so", "1234", {},
                  dict(session=20000, slot=20000, find=4000, attr=5000, rsa=4000, mix=3000),
                  dict(session=16000, slot=16000, find=5000, attr=8000, rsa=5000, mix=2000))


def targets(build, work):
    """The module without costs, and SoftHSM with a token made for this run."""
    null = null_target(build)
    token = make_token(work / "softhsm")
    for key, number in (("RSA:2048", "01"), ("EC:prime256v1", "02")):
        token.tool("--keypairgen", "--key-type", key, "--id", number, "--label", f"bench {number}")
    soft = Target("SoftHSM 2", token.module, token.pin, token.env,
                  dict(session=20000, slot=20000, find=500, attr=2000, rsa=40, ecdsa=100),
                  dict(session=8000, slot=8000, find=100, attr=300, rsa=3, ecdsa=10))
    return [null, soft]


def p11trace(build, target, work):
    """Our own: a wrapped copy, or the recorder itself as long as there is no `p11trace wrap`; None if neither is."""
    out = work / "p11trace"
    recorder = build / "libp11trace.so"
    if not recorder.exists():
        return None
    wrapped = work / f"{target.module.stem}-traced.so"
    tool = build / "p11trace"
    if tool.exists():
        wrapped.unlink(missing_ok=True)
        subprocess.run([tool, "wrap", "-q", "-o", wrapped, "--recorder", recorder, "--out", out, target.module],
                       check=True, stdout=subprocess.DEVNULL, env={**os.environ, **target.env})
        return Config("p11trace", wrapped, out)
    return Config("p11trace", recorder, out, {"P11TRACE_MODULE": str(target.module), "P11TRACE_OUT": str(out)})


def pkcs11_spy(target, work):
    out = work / "spy"
    return Config("pkcs11-spy", LIBDIR / "pkcs11-spy.so", out,
                  {"PKCS11SPY": str(target.module), "PKCS11SPY_OUTPUT": str(out / "log")})


def p11_kit(target, work):
    """p11-kit logs the calls of modules that its own configuration names, and ignores a user's for root. So the system's
    is replaced in a mount namespace that only the measured process sees."""
    modules = work / "p11-kit-modules"
    modules.mkdir(exist_ok=True)
    (modules / "bench.module").write_text(f"module: {target.module}\nlog-calls: yes\n")
    system = subprocess.run(["pkg-config", "--variable=p11_module_configs", "p11-kit-1"], capture_output=True, text=True,
                            check=True).stdout.strip()
    script = f'mount --bind "$0" {system} && ( ! [ -d /etc/pkcs11 ] || mount -t tmpfs none /etc/pkcs11 ) && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return Config("p11-kit log", LIBDIR / "p11-kit-proxy.so", work / "p11kit", {"P11_KIT_NO_USER_CONFIG": "1"},
                  ["unshare", *user, "--mount", "--propagation", "private", "sh", "-c", script, str(modules)])


def configs(build, target, work):
    """All that can be measured, the bare module first."""
    every = [Config("direct", target.module, work / "direct"), p11trace(build, target, work), pkcs11_spy(target, work),
             p11_kit(target, work)]
    return [c for c in every if c is not None]
