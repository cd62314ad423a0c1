"""What the tests of the reader share."""
import json
import subprocess
import sys

from p11t_make import P_OWN, Trace, n, u

SESSION_INFO = n(0) + n(4) + n(4) + u(1) + u(2) + u(4) + u(0)


def tool(run, build, verb, *args, status=0, **more):
    return run(build / "p11trace", verb, *args, status=status, **more)


def calls(run, build, *paths, status=0):
    """The calls that dump shows, in its order, as dicts (decoder/show/JSON.md)."""
    lines = [json.loads(line) for line in tool(run, build, "dump", "--json", *paths, status=status).stdout.splitlines()]
    return [o for o in lines if o["type"] == "call"]


def info(run, build, *paths, status=0):
    """The processes that info shows."""
    return json.loads(tool(run, build, "info", "--json", *paths, status=status).stdout)["processes"]


def session_call(trace, number, session=7, leave=None, sp=0x7000, **more):
    """C_GetSessionInfo that succeeds: ENTER and LEAVE."""
    trace.enter(number, "C_GetSessionInfo", u(session) + P_OWN, sp=sp, **more)
    trace.leave(leave or number + 1, number, "C_GetSessionInfo", SESSION_INFO)


def sign_enter(trace, number, sp=0x7000):
    trace.enter(number, "C_Sign", u(7) + P_OWN + u(32) + P_OWN + P_OWN + u(256), sp=sp)


def sign_leave(trace, number, of):
    trace.leave(number, of, "C_Sign", n(0) + b"\x03" + n(32) + b"12345678\x00" + b"\x01" + n(2) + b"ok" + u(2))


def save(path, trace, live=None):
    path.write_bytes(trace.bytes() if isinstance(trace, Trace) else trace)
    if live is not None:
        path.with_name(path.name + ".live").write_bytes(live)
    return path


def numbers(shown):
    return [(c.get("call"), c.get("end"), c["state"]) for c in shown]


# A process's peak begins with that of the process that it was forked from: not from pytest.
MEASURE = """import os, subprocess, sys
p = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(p.pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss)"""


def measured(argv, env=None):
    """(exit status, seconds of processor time with its children, peak memory in KiB) of a program."""
    p = subprocess.run([sys.executable, "-c", MEASURE, *map(str, argv)], env=env, capture_output=True, text=True, check=True)
    status, seconds, peak = p.stdout.split()
    return int(status), float(seconds), int(peak)
