"""What NSS's tools did on SoftHSM is done again on our token, and the reverse. Both tokens have the same key and certificate.

Everything that comes out otherwise is in tests/cases/replay/*.expect, with the sentence of the standard that leaves it open or,
where one of the two modules is wrong, decides it. A pattern there may cover members of one structure: which ones stands here."""
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from nss import LABEL, MODULE_NAME, P12_PASSWORD, PIN, Server, Stage
from nss_scene import Server as Listener, free_port
from test_nss_tools import DB, DBDIR, NOISE, TOKEN, WITH_PIN, WITH_PINS

pytestmark = pytest.mark.nss

EXPECTED = ROOT / "tests/cases/replay"
KINDS_MAX = 12
CKO_NSS_TRUST = 0xce534353

# Members that patterns of both files cover.
MEMBERS = {
    "C_GetInfo": "cryptokiVersion manufacturerID libraryDescription libraryVersion",
    "C_GetSlotInfo": "slotDescription manufacturerID hardwareVersion firmwareVersion",
    "C_GetTokenInfo": "manufacturerID model serialNumber flags hardwareVersion firmwareVersion",
    "C_GetMechanismInfo": "ulMinKeySize flags",
}
LISTS = {("C_GetMechanismList", "*pulCount"), ("C_GetMechanismList", "pMechanismList")}
# Of CK_TOKEN_INFO's flags: what each of the two can do, no state.
FLAGS = {"CKF_RESTORE_KEY_NOT_NEEDED", "CKF_DUAL_CRYPTO_OPERATIONS"}

# A database that knows the module as one whose certificates are there before a login.
FRIENDLY = ("-d", "sql:friendly")

FORGET = """
import sys
from cryptoki import Module
with Module(sys.argv[1]) as module:
    session = module.open_session(module.slot_of(sys.argv[2]))
    session.login(sys.argv[3])
    for found in session.find({0: int(sys.argv[4])}):
        session.destroy(found)
"""


def self_signed(name, *kind):
    return ("certutil", "-S", *DB, *TOKEN, *WITH_PINS, "-n", name, "-s", f"CN={name}", "-x", "-t", "u,u,u", "-v", 1, "-m", 5,
            *NOISE, "-k", *kind)


def import_p12(name):
    return ("pk12util", "-i", f"{name}.p12", *DB, *TOKEN, "-K", PIN, "-W", P12_PASSWORD)


BEFORE = [
    ("modutil", *DBDIR, "-list"),
    ("modutil", *DBDIR, "-list", MODULE_NAME),
    ("certutil", "-K", *DB, *TOKEN, *WITH_PIN),
    ("certutil", "-L", *DB, *TOKEN, *WITH_PIN),
    ("certutil", "-L", *DB, *TOKEN, *WITH_PIN, "-n", f"{LABEL}:user"),
    ("certutil", "-V", *FRIENDLY, "-n", f"{LABEL}:user", "-u", "C"),
    self_signed("self-rsa", "rsa", "-g", 2048),
    self_signed("self-ec", "ec", "-q", "nistp256"),
    ("certutil", "-R", *DB, *TOKEN, *WITH_PIN, "-s", "CN=Request", "-o", "out", *NOISE, "-k", "ec", "-q", "nistp384"),
    ("certutil", "-A", *DB, *TOKEN, *WITH_PIN, "-n", "added", "-t", "u,u,u", "-i", "other.pem"),
    import_p12("other"),
    import_p12("ec"),
    ("certutil", "-K", *DB, *TOKEN, *WITH_PIN),
    ("certutil", "-D", *DB, *TOKEN, *WITH_PIN, "-n", f"{LABEL}:self-rsa"),
    ("certutil", "-F", *DB, *TOKEN, *WITH_PIN, "-n", f"{LABEL}:self-ec"),
    ("cmsutil", "-S", *DB, *WITH_PINS, "-N", f"{LABEL}:user", "-H", "SHA256", "-i", "message", "-o", "out"),
    ("cmsutil", "-D", *DB, *WITH_PINS, "-i", "signed", "-h", 1, "-o", "out"),
    ("cmsutil", "-D", *DB, *WITH_PINS, "-i", "encrypted", "-o", "out"),
]
WRONG_PIN = ("certutil", "-K", *DB, *TOKEN, "-f", "newpin.txt")
CHANGE = ("modutil", "-force", *DBDIR, "-changepw", LABEL, "-pwfile", "pin.txt", "-newpwfile", "newpin.txt")
NEW_PIN = ("certutil", "-K", *DB, *TOKEN, "-f", "newpin.txt")


class Twin(Stage):
    """A stage whose files are those of another one, so that both tokens have the same key and certificate; and an EC key to
    be imported."""

    def __init__(self, folder: Path, build: Path, backend: str, other: Stage = None):
        self.other = other
        super().__init__(folder, build, backend)
        self.reset()
        # SoftHSM keeps no trust of NSS's: our token has no more than it to begin with.
        self.env["PYTHONPATH"] = str(ROOT / "tests")
        self.must(sys.executable, "-c", FORGET, self.target, LABEL, PIN, CKO_NSS_TRUST)
        self.must(build / "p11trace", "keygen", "-o", "seal")
        (self.folder / "friendly").mkdir()
        self.direct()
        self.must("certutil", "-N", *FRIENDLY, "--empty-password")
        self.must("certutil", "-A", *FRIENDLY, "-n", "CA", "-t", "CT,C,C", "-i", "ca.pem")
        self.must("modutil", "-force", "-dbdir", "sql:friendly", "-add", MODULE_NAME, "-libfile", self.module, "-mechanisms",
                  "FRIENDLY")
        self.module.unlink()
        shutil.rmtree(self.base)
        shutil.copytree(self.folder, self.base, symlinks=True)

    def _certificates(self):
        if self.other:
            for file in self.other.base.iterdir():
                if file.suffix in (".pem", ".key", ".p12") and file.name != "seal.key":
                    shutil.copy(file, self.folder)
            return
        super()._certificates()
        self.write("ec.ext", "subjectAltName=DNS:localhost\n")
        self.must("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ec.key",
                  "-out", "ec.csr", "-subj", "/CN=localhost")
        self.must("openssl", "x509", "-req", "-in", "ec.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", 6, "-days", 30,
                  "-extfile", "ec.ext", "-out", "ec.pem")
        self.must("openssl", "pkcs12", "-export", "-in", "ec.pem", "-inkey", "ec.key", "-name", "ec", "-passout",
                  f"pass:{P12_PASSWORD}", "-out", "ec.p12")

    def connect(self, version):
        with Server(self, version) as server:
            out = self.must("tstclnt", "-4", "-h", "localhost", "-p", server.port, *DB, "-n", f"{LABEL}:user", "-W", "pins.txt",
                            "-V", "tls1.2:tls1.3", "-A", "request")
        assert out.stdout.endswith(b"a message\n")

    def serve(self):
        """selfserv with the EC key on the token, strsclnt with the RSA one."""
        port = free_port()
        with Listener(self, ["selfserv", *DB, "-n", f"{LABEL}:ec", "-p", port, "-f", "pins.txt", "-V", "tls1.2:tls1.3", "-rr"],
                      port):
            out = self.run("strsclnt", "-p", port, *DB, "-n", f"{LABEL}:user", "-W", "pins.txt", "-c", 12, "-t", 3, "-N",
                           "localhost")
        assert b"12 server certificates tested" in out.stdout + out.stderr, out

    def record(self, folder: Path, *options):
        """All that the tools do, from the token as it was made to a new PIN."""
        self.reset()
        self.traced("--quiet", *options)
        for command in BEFORE:
            self.must(*command)
        assert self.run(*WRONG_PIN).status == 255
        for version in ("tls1_2", "tls1_3"):
            self.connect(version)
        self.serve()
        self.must(*CHANGE)
        self.must(*NEW_PIN)
        assert self.run("certutil", "-K", *DB, *TOKEN, *WITH_PIN).status == 255, "the old PIN"
        shutil.copytree(self.traces, folder)
        return folder

    def replay(self, traces: Path, *options, status=0):
        """What `p11trace replay --json` says of traces of the other one's module on this one's token as it was made."""
        self.reset()
        p = subprocess.run([str(a) for a in (self.build / "p11trace", "replay", "--json", "--module", self.target,
                                             "--destructive", *options, traces)],
                           cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert p.returncode == status, f"status {p.returncode}\n{p.stdout}\n{p.stderr}"
        return json.loads(p.stdout)


@pytest.fixture(scope="module")
def twins(build, tmp_path_factory):
    softhsm = Twin(tmp_path_factory.mktemp("softhsm"), build, "softhsm")
    return {"softhsm": softhsm, "token": Twin(tmp_path_factory.mktemp("token"), build, "token", softhsm)}


def entries(name):
    lines = (EXPECTED / f"{name}.expect").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def places(kinds):
    """{(function, place)} without what MEMBERS and LISTS have."""
    covered = LISTS | {(function, f"pInfo.{member}") for function, members in MEMBERS.items() for member in members.split()}
    found = {(k["function"], k["place"]) for k in kinds}
    assert covered <= found, covered - found
    return found - covered


def flags_that_differ(kinds):
    (kind,) = [k for k in kinds if (k["function"], k["place"]) == ("C_GetTokenInfo", "pInfo.flags")]
    return set(kind["recorded"].split("|")) ^ set(kind["replayed"].split("|"))


BOTH = {("C_GetInterface", "ppInterface"), ("C_GetSlotList", "*pulCount"), ("C_CreateObject", "rv"), ("C_Logout", "rv"),
        ("C_GetAttributeValue", "pTemplate CKA_VALUE")}
FOUND = {
    "softhsm-on-token": BOTH | {("C_UnwrapKey", "rv"), ("C_GetAttributeValue", "pTemplate CKA_VALUE_LEN")},
    "token-on-softhsm": BOTH | {("C_GenerateKey", "rv")},
}


@pytest.mark.parametrize("name", FOUND)
def test_across(twins, tmp_path, name):
    recorded, replayed = (twins[part] for part in name.split("-on-"))
    traces = recorded.record(tmp_path / "traces", "--capture", "full", "--seal-to", recorded.folder / "seal.pub")
    said = replayed.replay(traces, "--key", recorded.base / "seal.key", "--expect", EXPECTED / f"{name}.expect")
    assert said["status"] == 0 and said["differences"] == 0
    assert all(e["used"] for e in said["expectations"]) and len(said["expectations"]) == len(entries(name)) <= KINDS_MAX
    assert places(said["difference_kinds"]) == FOUND[name]
    assert flags_that_differ(said["difference_kinds"]) == FLAGS
    assert said["replayed"] > 0.9 * said["calls"]


def test_across_without_payload(twins, tmp_path):
    """What --capture safe leaves out is not comparable, or withheld, and nothing more is different for it."""
    recorded, replayed = twins["softhsm"], twins["token"]
    traces = recorded.record(tmp_path / "traces")
    said = replayed.replay(traces, "--pin-file", "pin.txt", "--expect", EXPECTED / "softhsm-on-token.expect", status=1)
    assert said["differences"] == 0
    assert [e["text"].split(" [")[0] for e in said["expectations"] if not e["used"]] == \
        ["C_GetAttributeValue pTemplate CKA_VALUE_LEN"], "of a key that was unwrapped from other bytes"
    assert {k["function"] for k in said["not_comparable_kinds"]} == {"C_CreateObject", "C_FindObjects", "C_FindObjectsFinal"}
    assert said["replayed"] > 0.9 * said["calls"]


@pytest.mark.parametrize("name", FOUND)
def test_reasons(name):
    """Each entry has one function, a place, and a quotation with its section."""
    for line in entries(name):
        assert re.fullmatch(r'C_\w+ \S+ .*: [23]\.\d+( \(mechanisms\))?, \d+(\.\d+)+(, [A-Z_]+[^:]*)?: "[^"]+".*', line), line
