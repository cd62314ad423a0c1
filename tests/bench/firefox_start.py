#!/usr/bin/python3
"""How long Firefox takes to start with a token, traced and not: from exec to the moment when it can be driven and has listed
the token. All ways run in turn, from copies of one profile that has been used before; medians and quartiles over the runs. No
figure fails."""
import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from firefox import Firefox, environment_for  # noqa: E402
from nss_scene import LABEL, Scene, make_pki  # noqa: E402

RUNS = 10
WAYS = {"direct": "the module itself", "chained": "a traced copy of it (p11trace wrap)", "run": "p11trace run, everything traced"}


class Impatient(Firefox):
    POLL = 0.005


def prepare(build, folder, way):
    """A token with a key, and a profile that Firefox has used, with the module traced or not."""
    folder.mkdir()
    (folder / "pki").mkdir()
    make_pki(folder / "pki")
    scene = Scene(folder, build, folder / "pki", traced=way == "chained")
    scene.trust_ca()
    scene.import_p12("user-rsa")
    start(scene, folder / "used", scene.folder / "nssdb", ())
    shutil.rmtree(scene.traces, ignore_errors=True)
    return scene


def start(scene, profile, like, under):
    """Seconds until Firefox is ready; quits it."""
    shutil.copytree(like, profile, symlinks=True)  # its lock points to nothing
    environment = environment_for(scene.folder / "home", scene.env)
    begin = time.monotonic()
    with Impatient(profile, environment, scene.folder / "firefox.log", under=under) as firefox:
        assert LABEL in [m["token"] for m in firefox.modules()]
        return time.monotonic() - begin


def calls(build, traces):
    """Of all processes until Firefox is ready and has quit."""
    text = subprocess.run([build / "p11trace", "stat", "--json", traces], capture_output=True, check=True).stdout
    return json.loads(text)["calls"]


def measure(build, folder, runs):
    scenes = {way: prepare(build, folder / way, way) for way in WAYS}
    seconds, made = {way: [] for way in WAYS}, {way: [] for way in WAYS}
    order = list(WAYS)
    for run in range(runs):
        for way in order[run % 3:] + order[:run % 3]:
            scene, profile = scenes[way], folder / way / f"profile{run}"
            under = [build / "p11trace", "run", "-q", "-o", scene.traces, "--"] if way == "run" else ()
            seconds[way].append(start(scene, profile, folder / way / "used", under))
            if way != "direct":
                made[way].append(calls(build, scene.traces))
                shutil.rmtree(scene.traces)
            shutil.rmtree(profile)
    return seconds, made


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=lambda p: Path(p).resolve(), default=Path("build"))
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each way ({RUNS})")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="firefox-start-") as folder:
        seconds, made = measure(options.build, Path(folder), options.runs)
    base = statistics.median(seconds["direct"])
    print(f"Firefox's start with a token, {options.runs} runs each: seconds until it is ready")
    print(f"  {'':42} {'median':>7} {'quartiles':>14} {'ratio':>6} {'calls':>7}")
    for way, what in WAYS.items():
        low, median, high = statistics.quantiles(seconds[way], n=4) if options.runs > 1 else seconds[way] * 3
        number = f"{statistics.median(made[way]):7.0f}" if made[way] else f"{'':>7}"
        print(f"  {what:42} {median:7.3f} {low:6.3f}-{high:5.3f} {median / base:6.3f} {number}")


if __name__ == "__main__":
    main()
