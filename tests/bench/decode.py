#!/usr/bin/python3
"""How fast, and in how much memory, the decoder reads a trace of ten million calls.

The trace is a client's loop over the module without costs: session and slot queries, searches, attributes, signatures.
Fails if a verb needs more than 64 MiB, or prints less than there is."""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import configs

MEMORY_LIMIT = 64  # MiB
CALLS_PER_MIX = 8


def peak_and_seconds(argv, stdout):
    """(status, seconds, peak resident MiB) of one process; its standard output goes to the open file `stdout`."""
    began = time.monotonic()
    p = subprocess.Popen(argv, stdout=stdout)
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    return p.returncode, time.monotonic() - began, usage.ru_maxrss / 1024


def counted(argv):
    """Like peak_and_seconds, with the lines that came out; wc is far faster than what it counts."""
    wc = subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    result = peak_and_seconds(argv, wc.stdin)
    wc.stdin.close()
    lines = int(wc.stdout.read())
    wc.wait()
    return *result, lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--calls", type=int, default=10_000_000)
    args = parser.parse_args()
    build = args.build.resolve()
    tool = build / "p11trace"
    if not tool.exists():
        sys.exit(f"{tool} is not there")
    disk = build / "bench"
    disk.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=disk) as d:
        work = Path(d)
        null = configs.Target("null_module", build / "tests/mocks/null_module.so", "1234", {}, {}, {})
        traced = configs.p11trace(build, null, work)
        began = time.monotonic()
        traced.run(null, build / "tests/bench/load", {"mix": args.calls // CALLS_PER_MIX}, "--plain")
        seconds = time.monotonic() - began
        files = sorted(traced.out.rglob("*.p11t"))
        size = sum(f.stat().st_size for f in files)
        if size < args.calls:
            sys.exit(f"the trace has {size} bytes, less than one a call: not all was recorded")
        print(f"\ntrace of {args.calls} calls: {len(files)} file(s), {size / 1e6:.1f} MB, {size / args.calls:.1f} bytes a "
              f"call, recorded in {seconds:.1f} s")
        print(f"{'verb':8}{'calls/s':>12}{'seconds':>10}{'peak MiB':>10}{'lines':>12}")
        failed = 0
        for verb in ("dump", "stat", "check"):
            status, seconds, peak, lines = counted([tool, verb, *files])
            print(f"{verb:8}{args.calls / seconds:>12.0f}{seconds:>10.1f}{peak:>10.1f}{lines:>12}")
            # `check` says with 1 that it found something.
            wrong = [f"status {status}"] if status not in ((0, 1) if verb == "check" else (0,)) else []
            wrong += [f"more than {MEMORY_LIMIT} MiB"] if peak > MEMORY_LIMIT else []
            wrong += ["fewer lines than calls"] if verb == "dump" and lines < args.calls else []
            wrong += ["no output"] if lines == 0 and verb == "stat" else []
            for why in wrong:
                print(f"FAILED: {verb}: {why}")
            failed += len(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
