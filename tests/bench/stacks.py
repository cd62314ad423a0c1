#!/usr/bin/python3
"""What call stacks cost: each mode at three depths and on 1, 2 and 8 threads, over the direct call.

Modes run in turn; shown are medians over the runs. Nanoseconds are never a reason to fail; instructions are."""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import configs

MODES = ["off", "caller", "error", "first", "all"]
DEPTHS = [10, 20, 40]
THREADS = [1, 2, 8]
OPERATIONS = 32000
# Instructions over the direct call, compression included: what fails `make bench`.
LIMITS = {("all", 20): 5000, ("error", 20): 2600}


def run(build, config, stack, depth, threads, *more, operations=OPERATIONS, prefix=()):
    """(median, mean) of a run, in ns."""
    for old in config.out.glob("*"):
        old.unlink()
    env = {k: v for k, v in os.environ.items() if not k.startswith("P11TRACE_")}
    if stack:
        env["P11TRACE_STACK"] = stack
    argv = [*prefix, build / "tests/bench/stack_load", config.module, depth, threads, operations, *more]
    p = subprocess.run([str(a) for a in argv], env=env, stdout=subprocess.PIPE, text=True, check=True)
    if stack and config.bytes_written() < 200:
        sys.exit(f"stack={stack}: nothing was recorded")
    return [float(x) for x in p.stdout.split()]


def timed(build, direct, traced, runs):
    """{(mode, depth, threads, fails): (median, mean) over direct}"""
    seen = defaultdict(list)
    for i in range(runs):
        for threads in THREADS:
            for depth in DEPTHS:
                for fails in ([], ["fail"]) if threads == 1 else ([],):
                    bare = run(build, direct, None, depth, threads, *fails)
                    for mode in MODES[i % len(MODES):] + MODES[:i % len(MODES)]:
                        ns = run(build, traced, mode, depth, threads, *fails)
                        seen[mode, depth, threads, bool(fails)].append([a - b for a, b in zip(ns, bare)])
    return {key: [statistics.median(column) for column in zip(*rows)] for key, rows in seen.items()}


def instructions(build, direct, traced, work):
    """{(mode, depth, fails): instructions over direct}, user space only."""
    def count(config, stack, depth, *more):
        out = work / "callgrind"
        for old in work.glob("callgrind*"):
            old.unlink()
        operations = 6400
        run(build, config, stack, depth, 1, *more, operations=operations,
            prefix=["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", f"--log-file={work / 'valgrind.log'}"])
        for dump in work.glob("callgrind.*"):
            text = dump.read_text(errors="replace")
            if re.search(r"^desc: Trigger: Client Request: stack", text, re.M):
                return int(re.search(r"^(?:summary|totals): (\d+)", text, re.M)[1]) / operations
        sys.exit("callgrind gave no figures")

    result = {}
    for depth in DEPTHS:
        for fails in ([], ["fail"]):
            bare = count(direct, None, depth, *fails)
            for mode in MODES:
                result[mode, depth, bool(fails)] = count(traced, mode, depth, *fails) - bare
    return result


def table(ns, instr):
    print("\nstacks: C_GetSessionInfo of null_module, per call over the direct call: ns median (mean of processor time)")
    print(f"{'':8}{'':>6}{'instr':>9}" + "".join(f"{f'{t} thread' + 's' * (t > 1):>16}" for t in THREADS)
          + f"{'failing call':>18}{'instr':>9}")
    for mode in MODES:
        for depth in DEPTHS:
            cells = ["{:.0f} ({:.0f})".format(*ns[mode, depth, t, False]) for t in THREADS]
            failing = "{:.0f} ({:.0f})".format(*ns[mode, depth, 1, True])
            print(f"{mode:8}{depth:>6}{instr[mode, depth, False]:>9.0f}" + "".join(f"{c:>16}" for c in cells)
                  + f"{failing:>18}{instr[mode, depth, True]:>9.0f}")


def judge(ns, instr):
    print("\ngoals (stacks)")
    goals = [("all at depth 20, median over direct", ns["all", 20, 1, False][0], 350)]
    for t in THREADS:
        worst = max(ns["error", d, t, False][0] - ns["caller", d, t, False][0] for d in DEPTHS)
        goals.append((f"error over caller, {t} thread" + "s" * (t > 1), worst, 10))
    for name, value, limit in goals:
        print(f"  {name:58} {value:>9.0f} ns   goal {limit:>8} ns   {'met' if value <= limit else 'MISSED'}")
    failed = [key for key, limit in LIMITS.items() if not 0 < instr[(*key, False)] <= limit]
    for mode, depth in failed:
        print(f"FAILED: stack={mode} at depth {depth}: {instr[mode, depth, False]:.0f} instructions, limit {LIMITS[mode, depth]}")
    return len(failed)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    build = args.build.resolve()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="p11bench.") as d:
        work = Path(d)
        null = configs.null_target(build)
        direct = configs.Config("direct", null.module, work / "direct")
        traced = configs.p11trace(build, null, work)
        for config in (direct, traced):
            config.out.mkdir(exist_ok=True)
        ns = timed(build, direct, traced, args.runs)
        instr = instructions(build, direct, traced, work)
        table(ns, instr)
        return 1 if judge(ns, instr) else 0


if __name__ == "__main__":
    sys.exit(main())
