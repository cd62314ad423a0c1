"""Another process that has the token open, for tests of what processes see of each other.

    with Peer(token.module, token.parameters) as peer:
        peer("s = m.open_session(m.slots()[0])")
        peer("s.login('1234')")            # CkError here as there

The source is run in the other process, where `m` is the module, initialised, and cryptoki's names are known; the value
of an expression comes back (numbers, strings, lists, dicts; bytes as bytes)."""
import json
import os
import subprocess
import sys
from pathlib import Path

from cryptoki import CKR, CkError

CHILD = r"""
import json, sys
sys.path.insert(0, sys.argv[1])
import cryptoki
from cryptoki import *
out = sys.stdout
space = dict(vars(cryptoki), m=Module(sys.argv[2], sys.argv[3] or None))
try:
    space["m"].initialize()
    reply = {}
except CkError as e:
    reply = {"function": e.function, "rv": e.rv}
print(json.dumps(reply), flush=True)
for line in sys.stdin:
    source = json.loads(line)
    try:
        try:
            code = compile(source, "peer", "eval")
        except SyntaxError:
            exec(compile(source, "peer", "exec"), space)
            value = None
        else:
            value = eval(code, space)
        if isinstance(value, bytes):
            reply = {"bytes": value.hex()}
        else:
            reply = {"value": value if isinstance(value, (int, str, list, dict, tuple)) else None}
    except CkError as e:
        reply = {"function": e.function, "rv": e.rv}
    except Exception as e:
        reply = {"error": f"{type(e).__name__}: {e}"}
    print(json.dumps(reply), file=out, flush=True)
"""


class Peer:
    """A process of its own; `pid` is its number. Calls may be split: `send`, then `answer`. `within` is a program with
    its arguments that starts it, such as unshare."""

    def __init__(self, module, parameters: str = "", env: dict = None, within=()):
        self.process = subprocess.Popen(
            [*within, sys.executable, "-c", CHILD, str(Path(__file__).parent), str(module), parameters or ""],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.pid = self.process.pid

    def send(self, source: str):
        self.process.stdin.write(json.dumps(source) + "\n")
        self.process.stdin.flush()

    def answer(self):
        line = self.process.stdout.readline()
        assert line, f"the other process ended with status {self.process.wait()}"
        reply = json.loads(line)
        assert "error" not in reply, reply["error"]
        if "rv" in reply:
            raise CkError(reply["function"], reply["rv"])
        return bytes.fromhex(reply["bytes"]) if "bytes" in reply else reply.get("value")

    def __call__(self, source: str):
        self.send(source)
        return self.answer()

    def code(self, source: str) -> str:
        """The name of the code with which it fails, or CKR_OK."""
        try:
            self(source)
        except CkError as e:
            return e.name
        return CKR.name(CKR.OK)

    def __enter__(self):
        self.answer()
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        finally:
            self.process.kill()
            self.process.stdout.close()
