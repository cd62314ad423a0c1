"""A stage for NSS's command line tools: one token, one NSS database, and three ways of loading the module.

Every client of a test runs in a fresh copy of the same folder under the same path, with the module always in the same
file, `stage/module.so`: SoftHSM itself, its traced copy, or pkcs11-spy.  So outputs can be compared byte for byte.
With backend="token" our own token is there in place of SoftHSM."""
import collections
import functools
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from conftest import FOREIGN, ROOT, SANITIZE, sanitizer_runtime

LABEL, PIN, SO_PIN, NEW_PIN, P12_PASSWORD = "Stage", "p1n-stage-6Wd", "s0p-stage-2Fg", "n3w-stage-8Jk", "p12-stage-4Rt"
MODULE_NAME = "The module"


def installed(pattern: str) -> Path:
    """A library of the distribution, wherever its architecture's folder is."""
    found = sorted(Path("/usr/lib").glob(pattern))
    assert found, f"/usr/lib/{pattern} is not installed"
    return found[0]


def softhsm() -> Path:
    return installed("softhsm/libsofthsm2.so")


def spy() -> Path:
    return installed("*/pkcs11-spy.so")


def environment(home: Path, **more) -> dict:
    """What a traced program shall see: nothing of the caller's that changes NSS, SoftHSM or the recorder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    env.update(HOME=str(home), XDG_STATE_HOME=str(home / "state"), LC_ALL="C.UTF-8", TZ="UTC")
    if SANITIZE:
        env["LD_PRELOAD"] = sanitizer_runtime()
        env["ASAN_OPTIONS"] = "detect_leaks=0"
    env.update({k: str(v) for k, v in more.items()})
    return env


@dataclass
class Outcome:
    """How one command ended, and how long it took."""
    argv: list
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float


class Stage:
    """The folder: tokens/ nssdb/ ca.pem user.p12 pin.txt pins.txt ...; `reset` brings the state of `build` back."""

    def __init__(self, folder: Path, build: Path, backend: str = "softhsm"):
        self.folder, self.build, self.backend = folder / "stage", build, backend
        self.target = softhsm() if backend == "softhsm" else build / "libp11token.so"
        self.base, self.traces = folder / "base", folder / "traces"
        self.module = self.folder / "module.so"
        self.spy_log = folder / "spy.log"
        self.env = environment(folder, SOFTHSM2_CONF=self.folder / "softhsm2.conf", PKCS11SPY=self.target,
                               PKCS11SPY_OUTPUT=self.spy_log, P11TOKEN_DIR=self.folder / "tokens")
        self._make()

    # --- making it ------------------------------------------------------------------------------------------------

    def _make(self):
        self.folder.mkdir()
        (self.folder / "tokens").mkdir()
        (self.folder / "nssdb").mkdir()
        self.write("softhsm2.conf", f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\n"
                                    "log.level = ERROR\n")
        self.write("pin.txt", PIN + "\n")
        self.write("newpin.txt", NEW_PIN + "\n")
        self.write("pins.txt", f"{LABEL}:{PIN}\n")
        self.write("message", "a message\n")
        self.write("request", "GET /message HTTP/1.0\r\n\r\n")
        (self.folder / "noise").write_bytes(bytes(range(64)))
        self._certificates()
        self.direct()
        self.init_token(LABEL, SO_PIN)
        self.must("certutil", "-N", "-d", "sql:nssdb", "--empty-password")
        self.must("modutil", "-force", "-dbdir", "sql:nssdb", "-add", MODULE_NAME, "-libfile", self.module)
        self.must("certutil", "-A", "-d", "sql:nssdb", "-n", "CA", "-t", "CT,C,C", "-i", "ca.pem")
        self.must("pk12util", "-i", "user.p12", "-d", "sql:nssdb", "-h", LABEL, "-K", PIN, "-W", P12_PASSWORD)
        self.must("certutil", "-A", "-d", "sql:nssdb", "-n", "recipient", "-t", ",,", "-i", "user.pem")
        self.must("cmsutil", "-S", "-d", "sql:nssdb", "-f", "pins.txt", "-N", f"{LABEL}:user", "-H", "SHA256",
                  "-i", "message", "-o", "signed")
        self.must("cmsutil", "-E", "-d", "sql:nssdb", "-f", "pins.txt", "-r", "user@example.test", "-i", "message",
                  "-o", "encrypted")
        self.module.unlink()
        shutil.copytree(self.folder, self.base, symlinks=True)

    def init_token(self, label, so_pin):
        """One more token, whose user's PIN is PIN."""
        if self.backend == "softhsm":
            self.must("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", so_pin)
        else:
            self.must(self.build / "p11token", "init", "--kdf-cost", 4, "--label", label, "--pin", PIN, "--so-pin", so_pin)

    def _certificates(self):
        def issue(name, subject, serial, extensions):
            self.write(f"{name}.ext", extensions)
            self.must("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key",
                      "-out", f"{name}.csr", "-subj", subject)
            self.must("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                      "-set_serial", serial, "-days", 30, "-extfile", f"{name}.ext", "-out", f"{name}.pem")

        self.must("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
                  "-subj", "/CN=Stage CA", "-days", 30, "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        issue("user", "/CN=User/emailAddress=user@example.test", 2,
              "subjectAltName=email:user@example.test\nextendedKeyUsage=clientAuth,emailProtection\n")
        issue("other", "/CN=Other", 3, "extendedKeyUsage=clientAuth\n")
        issue("server", "/CN=localhost", 4, "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        for name in ("user", "other"):
            self.must("openssl", "pkcs12", "-export", "-in", f"{name}.pem", "-inkey", f"{name}.key", "-name", name,
                      "-passout", f"pass:{P12_PASSWORD}", "-out", f"{name}.p12")

    def write(self, name: str, text: str):
        (self.folder / name).write_text(text)

    # --- the three ways -------------------------------------------------------------------------------------------

    def reset(self):
        """Token and database as they were made; no module, no traces."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.base, self.folder, symlinks=True)
        shutil.rmtree(self.traces, ignore_errors=True)
        self.spy_log.unlink(missing_ok=True)

    def direct(self):
        shutil.copy(self.target, self.module)

    def spied(self):
        shutil.copy(spy(), self.module)

    def traced(self, *options):
        self.must(self.build / "p11trace", "wrap", self.target, "-o", self.module, "--out", self.traces, *options)

    # --- running --------------------------------------------------------------------------------------------------

    def run(self, *argv, timeout=60) -> Outcome:
        argv = [str(a) for a in argv]
        began = time.monotonic()
        p = subprocess.run(argv, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                           timeout=timeout)
        return Outcome(argv, p.returncode, p.stdout, p.stderr, time.monotonic() - began)

    def must(self, *argv) -> Outcome:
        o = self.run(*argv)
        assert o.status == 0, f"{o.argv}: status {o.status}\n{o.stdout.decode()}\n{o.stderr.decode()}"
        return o


class Server:
    """`openssl s_server` that insists on a client certificate and hands out the stage's files; .port"""

    def __init__(self, stage: Stage, version: str):
        self.log = stage.folder / "server.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem", "-key", "server.key",
                 "-CAfile", "ca.pem", "-Verify", "2", "-verify_return_error", f"-{version}", "-WWW"],
                cwd=stage.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        for _ in range(100):
            found = re.search(r"^ACCEPT .*:(\d+)$", self.log.read_text(), re.M)
            if found:
                self.port = int(found[1])
                return self
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)
        raise AssertionError("s_server does not say on which port it listens")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


# --- counting -----------------------------------------------------------------------------------------------------

def spy_calls_per_function(log: Path) -> collections.Counter:
    """Each call begins with a line `N: C_Name` in a spy log."""
    return collections.Counter(re.findall(rb"^\d+: (C_\w+)", log.read_bytes(), re.M)) if log.exists() \
        else collections.Counter()


def trace_events(build: Path, traces: Path) -> list:
    """All objects of `p11trace dump --json`."""
    p = subprocess.run([build / "p11trace", "dump", "--json", traces], capture_output=True, timeout=120)
    assert p.returncode == 0, p.stderr.decode()
    return [json.loads(line) for line in p.stdout.splitlines() if line]


def calls_per_function(build: Path, traces: Path) -> collections.Counter:
    return collections.Counter(e["fn"].encode() for e in trace_events(build, traces) if "fn" in e)


# --- the demo -----------------------------------------------------------------------------------------------------

@dataclass
class Demo:
    folder: Path
    status: int
    output: str


@functools.lru_cache(maxsize=None)
def run_demo(folder: Path, build: Path) -> Demo:
    """examples/modutil-chain/demo.sh, once for all tests that look at what it leaves."""
    env = environment(folder, BUILD=build, DEMO_DIR=folder / "demo")
    p = subprocess.run(["sh", ROOT / "examples/modutil-chain/demo.sh"], env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240, check=False)
    return Demo(folder / "demo", p.returncode, p.stdout)
