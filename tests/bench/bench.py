#!/usr/bin/python3
"""What a traced call costs, beside pkcs11-spy and p11-kit's log: nanoseconds, instructions and bytes.

All configurations run in turn, so that a slow minute of the machine hits each of them, and medians over the runs are
shown. Everything is written to a tmpfs. Nanoseconds are never a reason to fail; instructions and bytes, which are the
same on every run, are."""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import configs

# name: (measured figure's unit, limit); checked at the end
GOALS = {
    "C_GetSessionInfo, median over direct": ("ns", 60),
    "C_GetSessionInfo, mean over direct, compression included": ("ns", 200),
    "whole workload, share of pkcs11-spy's cost": ("", 1 / 20),
    "poll of C_GetSessionInfo and C_GetSlotInfo, bytes a call": ("bytes", 12),
    "fixed part of a file": ("bytes", 2560),
    "RSA-2048 signature of SoftHSM, instructions added": ("%", 0.5),
    "RSA-2048 signature of SoftHSM, wall clock added": ("%", 0.5),
}
# What fails `make bench`: figures that do not depend on the machine's mood. Instructions are those of the mean call,
# compression included.
LIMITS = {
    "poll of C_GetSessionInfo and C_GetSlotInfo, bytes a call": 12,
    "fixed part of a file": 2560,
    "C_GetSessionInfo, instructions over direct": 1500,
    "RSA-2048 signature of SoftHSM, instructions added": 0.5,
}


def timed(target, every, load, runs):
    """{config: {workload: {median|mean|batch|worst: value}}}, medians over the runs (worst: the maximum)."""
    seen = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for i in range(runs):
        for config in every[i % len(every):] + every[:i % len(every)]:
            for name, _n, calls, median, mean, batch, worst in config.run(target, load, target.counts):
                figures = dict(calls=calls, median=median, mean=mean, batch=batch, worst=worst)
                for key, value in figures.items():
                    seen[config.name][name][key].append(float(value))
    return {c: {w: {k: (max if k == "worst" else statistics.median)(v) for k, v in fs.items()} for w, fs in ws.items()}
            for c, ws in seen.items()}


def instructions(target, every, load, work):
    """{config: {workload: instructions per operation}}, user space only."""
    result = {}
    for config in every:
        dumps = work / "callgrind"
        for old in work.glob("callgrind*"):
            old.unlink()
        config.run(target, load, target.callgrind,
                   valgrind=["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={dumps}",
                             f"--log-file={work / 'valgrind.log'}"])
        result[config.name] = {}
        for dump in work.glob("callgrind.*"):
            text = dump.read_text(errors="replace")
            name = re.search(r"^desc: Trigger: Client Request: (\w+)", text, re.M)
            total = re.search(r"^(?:summary|totals): (\d+)", text, re.M)
            if name and total:
                result[config.name][name[1]] = int(total[1]) / target.callgrind[name[1]]
        if set(result[config.name]) != set(target.callgrind):
            sys.exit(f"callgrind gave no figures for {config.name}: {sorted(result[config.name])}")
    return result


def table(target, ns, instr, runs):
    others = [c for c in ns if c != "direct"]
    print(f"\n{target.name}: {runs} runs each, alternating; per operation, over the direct call")
    print(f"{'':18}{'direct':>22}" + "".join(f"{c:>27}" for c in others))
    print(f"{'workload':10}{'calls':>8}{'ns':>10}{'instr':>12}" + f"{'median':>8}{'mean ns':>9}{'instr':>10}" * len(others))
    for w, d in ns["direct"].items():
        line = f"{w:10}{d['calls']:>8.0f}{d['batch']:>10.1f}{instr['direct'][w]:>12.0f}"
        for c in others:
            line += (f"{ns[c][w]['batch'] - d['batch']:>8.0f}{ns[c][w]['mean'] - d['mean']:>9.0f}"
                     f"{instr[c][w] - instr['direct'][w]:>10.0f}")
        print(line)
    worst = "  ".join(f"{c} {max(f['worst'] for w, f in ws.items() if w not in ('rsa', 'ecdsa')) / 1e3:.0f} us"
                      for c, ws in ns.items())
    print(f"slowest single operation (signatures apart): {worst}")
    if "ecdsa" in ns["direct"]:
        print("instructions over a real signature are rough: a token's own vary with its random numbers")


def poll_bytes(target, every, load):
    """{config: (bytes a call, fixed bytes)} of a long poll, by the difference of two lengths."""
    result = {}
    for config in every[1:]:
        size = {}
        for n in (20000, 60000):  # operations of two calls
            config.run(target, load, {"poll": n}, "--plain")
            size[n] = config.bytes_written()
        # The fixed part is what a process leaves that calls C_Initialize and C_Finalize.
        config.run(target, load, {}, "--initialize")
        result[config.name] = ((size[60000] - size[20000]) / 80000, config.bytes_written())
    return result


WRITER = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
while os.getppid() == int(sys.argv[2]):
    os.pwrite(fd, os.urandom(1 << 20), 0)
    os.fsync(fd)
"""


def beside_writer(build, target, load):
    """The slowest C_GetSessionInfo while another process writes to the same disk and syncs all the time."""
    disk = build / "bench"
    disk.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=disk) as d:
        work = Path(d)
        every = [c for c in configs.configs(build, target, work) if c.name in ("direct", "p11trace")]
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(work / "noise"), str(os.getpid())])
        try:
            time.sleep(0.5)
            worst = {c.name: max(float(line[6]) for _ in range(5)
                                 for line in c.run(target, load, {"session": 200000})) for c in every}
        finally:
            writer.kill()
            writer.wait()
    print("slowest C_GetSessionInfo of a million, trace on disk beside a writer that syncs: "
          + ", ".join(f"{c} {ns / 1e3:.0f} us" for c, ns in worst.items()))


def judge(ns, instr, size, soft_ns, soft_instr):
    """Prints each goal with what was measured; returns the number of limits that were passed."""
    mine, spy, direct = ns["p11trace"], ns["pkcs11-spy"], ns["direct"]
    per_call, fixed = size["p11trace"]
    measured = {
        "C_GetSessionInfo, median over direct": mine["session"]["batch"] - direct["session"]["batch"],
        "C_GetSessionInfo, mean over direct, compression included": mine["session"]["mean"] - direct["session"]["mean"],
        "whole workload, share of pkcs11-spy's cost":
            (mine["mix"]["mean"] - direct["mix"]["mean"]) / (spy["mix"]["mean"] - direct["mix"]["mean"]),
        "poll of C_GetSessionInfo and C_GetSlotInfo, bytes a call": per_call,
        "fixed part of a file": fixed,
        # What is added is the same for each module, and a token's own instructions vary: that of null_module is taken.
        "RSA-2048 signature of SoftHSM, instructions added":
            100 * (instr["p11trace"]["rsa"] - instr["direct"]["rsa"]) / soft_instr["direct"]["rsa"],
        "RSA-2048 signature of SoftHSM, wall clock added":
            100 * (soft_ns["p11trace"]["rsa"]["median"] / soft_ns["direct"]["rsa"]["median"] - 1),
    }
    print("\ngoals (null_module)")
    for name, (unit, limit) in GOALS.items():
        word = "met" if measured[name] <= limit else "MISSED"
        shown = [f"1/{1 / v:.0f}" if unit == "" and v > 0 else f"{v:.4g} {unit}" for v in (measured[name], limit)]
        print(f"  {name:58} {shown[0]:>12}   goal {shown[1]:>11}   {word}")
    measured["C_GetSessionInfo, instructions over direct"] = instr["p11trace"]["session"] - instr["direct"]["session"]
    failed = [name for name, limit in LIMITS.items() if not 0 < measured[name] <= limit]
    for name in failed:
        print(f"FAILED: {name}: {measured[name]:.4g}, limit {LIMITS[name]}")
    return len(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--runs", type=int, default=20)
    args = parser.parse_args()
    build = args.build.resolve()
    load = build / "tests/bench/load"
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="p11bench.") as d:
        work = Path(d)
        null, soft = configs.targets(build, work)
        results = {}
        for target in (null, soft):
            every = configs.configs(build, target, work)
            ns = timed(target, every, load, args.runs)
            instr = instructions(target, every, load, work)
            table(target, ns, instr, args.runs)
            results[target.name] = ns, instr
        size = poll_bytes(null, configs.configs(build, null, work), load)
        print("\nbytes a call of a poll: " + ", ".join(f"{c} {b:.1f}" for c, (b, _) in size.items()))
        beside_writer(build, null, load)
        ns, instr = results[null.name]
        if "p11trace" not in ns:
            sys.exit(f"{build}/libp11trace.so is not there: only the others were measured")
        return 1 if judge(ns, instr, size, *results[soft.name]) else 0


if __name__ == "__main__":
    sys.exit(main())
