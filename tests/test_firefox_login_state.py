"""examples/firefox-login-state/run.sh; and Firefox that gets the traced token by a policy or from its profile, with no
environment variable of ours."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, own_mounts
from firefox import ClientAuthenticationServer, Firefox, environment_for
from report_page import Report

pytestmark = [pytest.mark.nss, pytest.mark.nosan]
EXAMPLE = ROOT / "examples" / "firefox-login-state"
ROW = re.compile(r"^(\S+) +(\d+)  (\d)/(\d) +(.*)$", re.M)


def play(build, out, *scenarios, status=0):
    p = subprocess.run([EXAMPLE / "run.sh", "--out", out, *scenarios], env={**os.environ, "BUILD": str(build)},
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
    assert p.returncode == status, p.stdout + p.stderr
    return p.stdout if status == 0 else p.stderr


def reasons(build, folder):
    """What NSS did at each prompt, as `p11trace state` tells."""
    p = subprocess.run([build / "p11trace", "state", "--json", folder / "traces"], capture_output=True, timeout=60)
    return [line["idiom"] for life in json.loads(p.stdout) for line in life["lines"] if "prompt" in line]


def test_table(build, tmp_path):
    """Prompts, pages and finding of a healthy token, of one that is not at fault, and of one that is."""
    text = play(build, tmp_path / "out", "healthy", "stale-state", "wrong-pin")
    rows = {name: (int(prompts), int(came), finding) for name, prompts, came, _, finding in ROW.findall(text)}
    assert rows["healthy"] == (1, 3, "none")
    assert rows["wrong-pin"] == (3, 3, "none")
    prompts, came, finding = rows["stale-state"]
    assert prompts >= 10 and came == 0 and finding.startswith("NSS-LOGIN-09 error: PIN prompt loop: ")
    reports = re.findall(r"^report: (.*)$", text, re.M)
    assert reports == [f"{tmp_path}/out/{name}/report.html" for name in ("healthy", "stale-state", "wrong-pin")]
    assert [Report(Path(r)).data["totals"]["calls"] > 0 for r in reports] == [True] * 3
    assert "NSS-LOGIN-09" in Path(reports[1]).read_text() and "NSS-LOGIN-09" not in Path(reports[0]).read_text()
    assert len(rows) == 3 and "NSS-LOGIN-09" in (tmp_path / "out" / "stale-state" / "check.txt").read_text()
    # The way in NSS that led to each prompt.
    asked = "NSS has asked the user for the PIN (PK11_DoPassword)"
    lists = "NSS has asked the user for the PIN before it looks for certificates, as on a token that is not marked friendly (PK11_DoPassword)"
    again = "NSS asks the user again: the PIN before was wrong (PK11_DoPassword)"
    key = "NSS has found a private key and asks for the PIN before it is used (PK11_MakePrivKey)"
    assert reasons(build, tmp_path / "out" / "healthy") == [lists]
    assert reasons(build, tmp_path / "out" / "wrong-pin") == [asked, again, again]
    stale = reasons(build, tmp_path / "out" / "stale-state")
    assert len(stale) == prompts and stale[0] == lists and set(stale[1:]) <= {asked, key} and key in stale


def test_one_scenario_shows_the_life_lines(build, tmp_path):
    out = tmp_path / "out"
    text = play(build, out, "logout-after-sign")
    ((name, prompts, came, _, finding),) = ROW.findall(text)
    assert (name, prompts, came) == ("logout-after-sign", "3", "3")
    # NSS closes the session that signed at once: whether the close or the signature logs out, the calls may not tell.
    assert finding.startswith(("NSS-LOGIN-12 warning: ", "NSS-SESS-08 error: ")), finding
    assert re.findall(r"PROMPT (\d): C_Login\(CKU_USER\) = CKR_OK", text) == ["1", "2", "3"]
    # A second run takes the place of its own folder, and of no other.
    assert "was not made by this script" in play(build, tmp_path, "healthy", status=2)


def test_wrong_arguments(build, tmp_path):
    assert "there is no scenario nothing" in play(build, tmp_path / "out", "nothing", status=2)
    assert "there is no option --nothing" in play(build, tmp_path / "out", "--nothing", status=2)


@pytest.fixture
def staged(build, tmp_path):
    """What run.sh makes for a scenario, without Firefox."""
    script = f'here="{EXAMPLE}" root="{ROOT}" out="{tmp_path}/out"; . "{EXAMPLE}/stage.sh"; set_up; stage healthy none'
    subprocess.run(["sh", "-c", script], env={**os.environ, "BUILD": str(build)}, check=True, timeout=60,
                   stdin=subprocess.DEVNULL)
    return tmp_path / "out"


@pytest.mark.root
@pytest.mark.parametrize("way", ["policy", "profile"])
def test_way_in(build, staged, tmp_path, way):
    """SecurityDevices of a policy, and the profile's own list of modules: one trace, one prompt, nothing in the environment."""
    folder, common = staged / "healthy", staged / "common"
    under = ()
    if way == "policy":
        shutil.rmtree(folder / "profile")
        shutil.copytree(common / "profile", folder / "profile")
        assert "traced.so" not in (folder / "profile" / "pkcs11.txt").read_text()
        policies = tmp_path / "policies"
        policies.mkdir()
        (policies / "policies.json").write_text(json.dumps(
            {"policies": {"SecurityDevices": {"Add": {"Traced card": str(folder / "traced.so")}}}}))
        # Firefox looks beside itself; in a mount namespace of its own that folder is ours.
        under = [*own_mounts(), "sh", "-c", 'mount --bind "$0" /usr/lib/firefox-esr/distribution && exec "$@"', policies]
    env = environment_for(folder / "home", {})
    assert not [name for name in env if name not in ("HOME", "PATH")]
    with ClientAuthenticationServer(common, "server.pem", "server.key", "ca.pem") as server, \
            Firefox(folder / "profile", env, tmp_path / "firefox.log", under=under) as firefox:
        firefox.answer_prompts("12345678")
        assert firefox.visit(f"https://localhost:{server.port}/") == "Alice", server.errors
        assert len(firefox.prompts()) == 1
        assert "Card" in [m["token"] for m in firefox.modules()]
    (trace,) = (folder / "traces").glob("*.p11t")
    checked = subprocess.run([build / "p11trace", "check", trace], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0 and " 0 errors, 0 warnings" in checked.stdout, checked.stdout
