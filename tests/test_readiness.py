"""examples/nss-readiness/run.sh on our token, on SoftHSM, and on a token with a fault."""
import json
import subprocess
import time

import junitparser
import pytest

from conftest import ROOT
from nss import LABEL, PIN, softhsm

pytestmark = pytest.mark.nss
RUN = ROOT / "examples" / "nss-readiness" / "run.sh"


def readiness(stage, module, *options, status=0, label=LABEL, **env):
    stage.reset()
    out = stage.folder / "readiness"
    p = subprocess.run([RUN, "--out", out, *options, module, label, PIN], cwd=stage.folder, stdin=subprocess.DEVNULL,
                       env={**stage.env, "P11TRACE": str(stage.build / "p11trace"), **env}, capture_output=True, timeout=240)
    text = p.stdout.decode()
    assert p.returncode == status, text + p.stderr.decode()
    return text, out


def failed(out):
    """What the three reports say fails, which must be the same."""
    (suite,) = junitparser.JUnitXml.fromfile(str(out / "report.xml"))
    by_junit = [c.name.partition(": ")[2] for c in suite if any(isinstance(r, junitparser.Failure) for r in c.result)]
    assert suite.failures == len(by_junit) and suite.tests == len(list(suite))
    by_text = [line[9:] for line in (out / "report.txt").read_text().splitlines() if line.startswith("FAILS ")]
    assert by_text == by_junit
    html = (out / "report.html").read_text()
    assert html.count('<td class="no">fails') == len(by_text) and "<script" not in html and "http" not in html.split("<table>")[0]
    return by_text


def objects(stage, module):
    p = stage.run("pkcs11-tool", "--module", module, "--token-label", LABEL, "--login", "--pin", PIN, "-O")
    return p.stdout.decode().count(" Object")


def test_our_token_does_everything(fault_stage):
    stage = fault_stage("token")
    stage.reset()
    before = objects(stage, stage.target)
    text, out = readiness(stage, stage.target, "--change-pin", "--wrong-pin")
    assert failed(out) == [] and "27 of 27 abilities work, 0 fail, 0 skipped" in text
    assert objects(stage, stage.target) == before, "something stays on the token"
    for path in out.rglob("*"):
        assert not path.is_file() or PIN.encode() not in path.read_bytes(), path
    assert (out / "traces" / "client-1.3-rsa").is_dir()


def test_what_softhsm_cannot(fault_stage):
    stage = fault_stage("softhsm")
    text, out = readiness(stage, softhsm(), status=1)
    assert failed(out) == ["RSA key exported to PKCS #12", "TLS 1.2 server, RSA", "TLS 1.3 server, RSA"]
    lines = text.splitlines()
    export = lines.index("FAILS    RSA key exported to PKCS #12")
    assert "C_WrapKey(" in lines[export + 1] and lines[export + 1].rstrip().split(" = ")[1].startswith("CKR_MECHANISM_INVALID")
    server = lines.index("FAILS    TLS 1.3 server, RSA")
    assert "C_CopyObject(" in lines[server + 1] and "pTemplate=NULL" in lines[server + 1] and "CKR_ARGUMENTS_BAD" in lines[server + 1]


def test_a_fault_is_named(fault_stage):
    stage = fault_stage("token")
    text, out = readiness(stage, stage.build / "libp11faulty.so", status=1, P11FAULTY="stale-state",
                          P11FAULTY_MODULE=str(stage.target))
    assert "RSA key and certificate imported from PKCS #12" in failed(out)
    assert "finding: NSS-LOGIN-09 error module" in text
    assert json.loads(stage.run(stage.build / "p11trace", "check", "--json", out / "traces" / "login").stdout)["findings"]


def test_what_only_looks_done_fails(fault_stage):
    """A wrong PIN that is refused with another code, and a C_SetPIN that changes nothing."""
    stage = fault_stage("token")
    text, out = readiness(stage, stage.build / "libp11faulty.so", "--wrong-pin", "--change-pin", status=1,
                          P11FAULTY="badpin-general,setpin-noop", P11FAULTY_MODULE=str(stage.target))
    assert failed(out) == ["A wrong PIN is refused, and said so", "PIN changed, and back"]


def test_a_mistyped_pin_costs_one_try(fault_stage, tmp_path):
    stage = fault_stage("token")
    (tmp_path / "p11token.conf").write_text("pin-retries = 3\n")
    env = {**stage.env, "P11TOKEN_DIR": str(tmp_path), "P11TOKEN_CONF": str(tmp_path / "p11token.conf"),
           "P11TRACE": str(stage.build / "p11trace")}
    subprocess.run([stage.build / "p11token", "init", "--kdf-cost", "4", "--label", "Three", "--pin", PIN, "--so-pin", "12345678"],
                   env=env, check=True, capture_output=True, timeout=20)
    for pin in ("mistyped-1", "mistyped-2"):
        p = subprocess.run([RUN, "--out", tmp_path / "out", stage.target, "Three"], env={**env, "READINESS_PIN": pin},
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        assert p.returncode == 1 and "FAILS    The PIN opens the token" in p.stdout, p.stdout + p.stderr
    subprocess.run(["pkcs11-tool", "--module", stage.target, "--token-label", "Three", "--login", "--pin", PIN, "-O"],
                   env=env, check=True, capture_output=True, timeout=20)


def test_interrupted(fault_stage):
    """Neither the PIN nor anything on the token is left."""
    stage = fault_stage("token")
    stage.reset()
    before, out = objects(stage, stage.target), stage.folder / "readiness"
    with subprocess.Popen([RUN, "--out", out, stage.target, LABEL, PIN], cwd=stage.folder, stdin=subprocess.DEVNULL,
                          env={**stage.env, "P11TRACE": str(stage.build / "p11trace")}, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as p:
        deadline = time.monotonic() + 60
        while not (out / "work" / "client-1.2-rsa.log").exists():
            assert p.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        p.terminate()
        stderr = p.stderr.read()
        assert p.wait(60) == 2 and stderr == b""
    assert not [path for path in out.rglob("*") if path.is_file() and PIN.encode() in path.read_bytes()]
    assert objects(stage, stage.target) == before


@pytest.mark.parametrize("arguments, word", [((), "usage: "), (("/no/such.so", "a", "b"), "/no/such.so"), (("--nothing",), "--nothing")])
def test_wrong_arguments(arguments, word):
    p = subprocess.run([RUN, *arguments], capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
    assert p.returncode == 2 and word in p.stderr.decode()


def test_a_token_that_is_not_there(fault_stage):
    stage = fault_stage("token")
    text, out = readiness(stage, stage.target, status=1, label="No such token")
    assert failed(out) == ["The module loads (modutil -add, -list)"] and "0 of 1 abilities" in text
