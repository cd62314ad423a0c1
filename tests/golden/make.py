"""Writes the expected outputs anew: make.py BUILD [--trace]. With --trace session.p11t too, which is only right while its
format is not released."""
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUTS = {"session.txt": [], "session-verbose.txt": ["-v", "--ns", "-t"], "session.jsonl": ["--json"]}


def main(build, *options):
    sys.path.insert(0, str(HERE.parent))
    if "--trace" in options:
        import test_dump
        (HERE / "session.p11t").write_bytes(test_dump.session().bytes())
    for name, arguments in OUTPUTS.items():
        p = subprocess.run([Path(build) / "p11trace", "dump", *arguments, HERE / "session.p11t"], check=True, text=True,
                           stdout=subprocess.PIPE, env={**os.environ, "TZ": "UTC", "LC_ALL": "C.UTF-8"})
        (HERE / name).write_text(p.stdout.replace(str(HERE), "DIR"))


main(*sys.argv[1:])
