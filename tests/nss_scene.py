"""A scene for NSS's tools on our token: a fresh token, an NSS database that knows the traced module, keys and certificates
made by OpenSSL.  Everything that the tools do is traced, `Scene.verdict` is what `p11trace check` says of it, and it is
replayed on the token as it was before: no difference."""
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from nss import environment

LABEL, PIN, SO_PIN, PASSWORD = "Scene", "p1n-scene-7Hq", "s0p-scene-3Mk", "p12-scene-9Zt"
MODULE_NAME = "Token"

USER = "subjectAltName=email:{0}@example.test\nextendedKeyUsage=clientAuth,emailProtection\n"
SERVER = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
CA = "basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign,cRLSign\n"
KEYS = {"rsa": ["-newkey", "rsa:2048"], "ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "p384": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"]}
# What `openssl pkcs12 -export` is told for the three generations of PKCS #12 files.
P12_FORMS = {"aes256": ["-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-macalg", "SHA256"],
             "3des": ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "SHA1"],
             "rc2": ["-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-RC2-40", "-macalg", "SHA1"]}


def openssl(folder, *argv):
    p = subprocess.run(["openssl", *map(str, argv)], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=60)
    assert p.returncode == 0, f"openssl {argv}\n{p.stderr.decode()}"
    return p.stdout


def make_pki(folder: Path):
    """ca, then issued by it: NAME-rsa, NAME-ec, NAME-p384 for user and server; intermediate, and leaf issued by that.
    Each as .pem and .key, the users also as NAME-FORM.p12."""
    def issue(name, subject, kind, extensions, issuer, serial):
        (folder / f"{name}.ext").write_text(extensions)
        openssl(folder, "req", *KEYS[kind], "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key",
                "-set_serial", serial, "-days", 30, "-extfile", f"{name}.ext", "-out", f"{name}.pem")

    openssl(folder, "req", "-x509", *KEYS["rsa"], "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj",
            "/CN=Scene CA", "-days", 30, "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    for serial, kind in enumerate(KEYS, start=10):
        issue(f"user-{kind}", f"/CN=User {kind}/emailAddress={kind}@example.test", kind, USER.format(kind), "ca", serial)
        issue(f"server-{kind}", "/CN=localhost", kind, SERVER, "ca", serial + 10)
    issue("intermediate", "/CN=Scene Intermediate", "ec", CA, "ca", 30)
    issue("leaf", "/CN=Leaf/emailAddress=leaf@example.test", "ec", USER.format("leaf"), "intermediate", 31)
    for name in [f"{n}-{k}" for n in ("user", "server") for k in KEYS]:
        for form in P12_FORMS if name == "user-rsa" else ("aes256",):
            openssl(folder, "pkcs12", "-export", "-in", f"{name}.pem", "-inkey", f"{name}.key", "-name", name,
                    "-passout", f"pass:{PASSWORD}", *P12_FORMS[form], "-out", f"{name}-{form}.p12")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A server process that is there as soon as something accepts on its port; ended at exit."""

    def __init__(self, scene, argv, port):
        self.argv, self.port, self.scene = [str(a) for a in argv], port, scene
        self.log = scene.folder / f"server-{port}.log"

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.argv, cwd=self.scene.folder, env=self.scene.env,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"{self.argv} ended\n{self.log.read_text()}"
            if self._listens():
                return self
            time.sleep(0.05)
        self.__exit__()
        raise AssertionError(f"{self.argv} does not listen\n{self.log.read_text()}")

    def _listens(self):
        """Looks into the kernel's table: a connection would be one that the server has to answer."""
        wanted = f":{self.port:04X}"
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(wanted) and fields[3] == "0A":
                    return True
        return False

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Scene:
    """One token and one NSS database in `folder`; the tools run there.  `init` False leaves the token's user PIN unset.
    `traced` False: the module itself is in the database, for `p11trace run`."""

    def __init__(self, folder: Path, build: Path, pki: Path, init=True, traced=True):
        self.folder, self.build, self.traces, self.traced = folder / "scene", build, folder / "traces", traced
        shutil.copytree(pki, self.folder)
        self.module = self.folder / "module.so"
        self.env = environment(folder, P11TOKEN_DIR=self.folder / "tokens")
        for name, text in {"pin.txt": f"{PIN}\n", "pins.txt": f"{LABEL}:{PIN}\n", "password.txt": f"{PASSWORD}\n",
                           "message": "a message\n", "request": "GET / HTTP/1.0\r\n\r\n",
                           "request-message": "GET /message HTTP/1.0\r\n\r\n"}.items():
            (self.folder / name).write_text(text)
        (self.folder / "noise").write_bytes(bytes(range(64)))
        (self.folder / "nssdb").mkdir()
        self.make_token(init)
        self.forget()
        if traced:
            # Sealed, so that what the trace keeps is enough to do all of it again.
            self("p11trace", "keygen", "-o", "seal")
            self("p11trace", "wrap", build / "libp11token.so", "-o", self.module, "--out", self.traces, "--capture", "full",
                 "--seal-to", self.folder / "seal.pub")
        else:
            shutil.copy(build / "libp11token.so", self.module)
        self("certutil", "-N", "-d", "sql:nssdb", "--empty-password")
        self("modutil", "-force", "-dbdir", "sql:nssdb", "-add", MODULE_NAME, "-libfile", self.module,
             # Certificates are looked for without a login only on a token that is said to show them (FAQ Q4, Q5).
             "-mechanisms", "FRIENDLY")

    def make_token(self, init):
        # No user PIN and an empty SO PIN: the state in which NSS sets the first PIN.
        pins = ["--pin", PIN, "--so-pin", SO_PIN] if init else ["--so-pin", ""]
        self("p11token", "init", "--label", LABEL, "--kdf-cost", 8, *pins)

    def forget(self):
        """What was done so far is no part of the trace: neither its files nor, for the replay, the token as it was."""
        shutil.rmtree(self.traces, ignore_errors=True)
        then = self.folder.parent / "tokens-then"
        shutil.rmtree(then, ignore_errors=True)
        shutil.copytree(self.folder / "tokens", then)

    def __call__(self, *argv, status=0, timeout=60) -> str:
        """Runs a tool, which must end with `status` (None: any), and returns both of its outputs."""
        argv = [str(a) for a in argv]
        if argv[0] in ("p11trace", "p11token"):
            argv[0] = str(self.build / argv[0])
        p = subprocess.run(argv, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=timeout)
        text = p.stdout.decode(errors="replace")
        assert status is None or p.returncode == status, f"{argv}: status {p.returncode}, not {status}\n{text}"
        return text

    # --- what most scenes do ------------------------------------------------------------------------------------

    def certutil(self, verb, *argv, login=True, **more):
        pin = ("-f", "pin.txt") if login else ()
        return self("certutil", verb, "-d", "sql:nssdb", "-h", LABEL, *pin, *argv, **more)

    def trust_ca(self):
        self("certutil", "-A", "-d", "sql:nssdb", "-n", "CA", "-t", "CT,C,C", "-i", "ca.pem")

    def import_p12(self, name, form="aes256", **more):
        return self("pk12util", "-i", f"{name}-{form}.p12", "-d", "sql:nssdb", "-h", LABEL, "-K", PIN, "-W", PASSWORD,
                    **more)

    def self_signed(self, name, kind, *argv):
        """certutil -S: key pair and certificate on the token."""
        return self("certutil", "-S", "-d", "sql:nssdb", "-h", LABEL, "-f", "pins.txt", "-n", name, "-s", f"CN={name}",
                    "-x", "-t", "u,u,u", "-m", abs(hash(name)) % 100000 + 1, "-v", 1, "-z", "noise", "-k", kind, *argv)

    def keys(self):
        """The lines of `certutil -K`, as (type, nickname without the token's name)."""
        return re.findall(rf"^<[ \d]+> (\w+) +[0-9a-f]+ +(?:{LABEL}:)?(.*)$", self.certutil("-K"), re.M)

    def certificate(self, nickname) -> bytes:
        """A certificate on the token as PEM, read without logging in."""
        self("certutil", "-L", "-d", "sql:nssdb", "-n", f"{LABEL}:{nickname}", "-a", "-o", "got.pem")
        return (self.folder / "got.pem").read_bytes()

    def public_key(self, pem_file) -> bytes:
        return openssl(self.folder, "x509", "-in", pem_file, "-noout", "-pubkey")

    def selfserv(self, nickname, *argv):
        port = free_port()
        return Server(self, ["selfserv", "-d", "sql:nssdb", "-n", f"{LABEL}:{nickname}", "-p", port, "-f", "pins.txt",
                             "-V", "tls1.2:tls1.3", *argv], port)

    def verdict(self) -> str:
        """The last line of `p11trace check`, which must find nothing above info."""
        return self("p11trace", "check", "--severity", "warning", self.traces).splitlines()[-1]

    def replay(self, mode) -> str:
        """What is said of the traces' replay on the token as it was at the beginning. What would be withheld from a card
        may happen to this copy."""
        now = self.folder.parent / "tokens-now"
        shutil.rmtree(now, ignore_errors=True)
        shutil.copytree(self.folder.parent / "tokens-then", now)
        p = subprocess.run([self.build / "p11trace", "replay", "--module", self.build / "libp11token.so", "--key", "seal.key",
                            "--destructive", "--mode", mode, self.traces], cwd=self.folder,
                           env={**self.env, "P11TOKEN_DIR": str(now)}, stdin=subprocess.DEVNULL, capture_output=True,
                           text=True, timeout=120)
        # A client and its server have two traces, and are replayed one after the other.
        assert all("replayed one after another" in line for line in p.stderr.splitlines()), p.stderr
        return p.stdout

    def called(self, function) -> int:
        """How often the trace has a function."""
        text = self("p11trace", "dump", "-e", f"fn={function}", self.traces)
        return len(re.findall(rf"\b{function}\(", text))


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    make_pki(folder)
    return folder


@pytest.fixture
def new_scene(tmp_path, build, pki):
    """new_scene(...): a scene whose trace is judged when the test has passed."""
    scenes = []

    def new(**how):
        scenes.append(Scene(tmp_path, build, pki, **how))
        return scenes[-1]

    yield new
    for scene in scenes:
        if list(scene.traces.glob("*.p11t")):
            assert "0 errors, 0 warnings" in scene.verdict()
            for mode in ("serial", "relay") if scene.traced else ():
                said = scene.replay(mode)
                assert re.fullmatch(r"replayed (\d+) of \1 calls of \d+ process(?:es)? on .*: no difference\n", said), said


@pytest.fixture
def scene(new_scene):
    return new_scene()
