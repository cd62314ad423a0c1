#!/usr/bin/python3
"""The table of the faults in module/faulty/README.md, made from the .def files; run, it writes it anew."""
import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "module" / "faulty"
README = FOLDER / "README.md"
BEGIN, END = "| fault | rule | what it does |\n|---|---|---|\n", "\n\n"


def entries():
    """(group, name, identifier, rule, text, functions) of each fault, in the order of the tables."""
    found = []
    for group in re.findall(r'#include "faulty/(\w+).def"', (FOLDER / "faults.def").read_text()):
        text = (FOLDER / f"{group}.def").read_text()
        there = re.findall(r'^FAULT\("([^"]+)", (\w+), "([^"]*)",\s*"([^"]+)",\s*([^)]+)\)', text, re.M)
        assert len(re.findall(r"^FAULT", text, re.M)) == len(there), f"{group}.def is not understood"
        found += [(group, *e) for e in there]
    return found


def with_table(readme):
    """README.md with the table as it must be."""
    start = readme.index(BEGIN) + len(BEGIN)
    rows = [f"| `{name}` | {rule if len(rule) > 1 else ''} | {text} |" for _, name, _, rule, text, _ in entries()]
    return readme[:start] + "\n".join(rows) + readme[readme.index(END, start):]


if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
