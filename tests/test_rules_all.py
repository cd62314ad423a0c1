"""Every rule has a row that makes it fire, or a reason why none can. Prints the table (pytest -s)."""
import importlib
import re

import pytest

from conftest import ROOT
from fault_matrix import BACKENDS, CLIENTS, Case, assert_healthy
from faulty_table import entries

# rule: why no client and no fault can make it fire.
UNFIRED = {}
UNFIRED_MAX = 8


def all_rows():
    rows = []
    for path in sorted((ROOT / "tests").glob("test_rules_*.py")):
        if path.stem != "test_rules_all":
            rows += importlib.import_module(path.stem).ROWS
    return rows


def listed(build, run):
    return re.findall(r"^((?:NSS|P11)-[A-Z]+-\d+) ", run(build / "p11trace", "check", "--list").stdout, re.M)


def test_every_rule_is_fired(build, run):
    rules, rows = listed(build, run), all_rows()
    fired = {r.rule for r in rows}
    width = max(len(r.fault) for r in rows)
    for rule in rules:
        mine = [r for r in rows if r.rule == rule]
        for r in mine:
            print(f"{rule:14} {r.severity:8} {r.fault:{width}} {' '.join(r.backends):14} {r.client}")
        if not mine:
            print(f"{rule:14} not fired: {UNFIRED.get(rule, 'NO REASON')}")
    assert fired <= set(rules), "rows of rules that do not exist"
    assert not [r for r in rules if r not in fired and r not in UNFIRED], "rules without a row"
    assert not fired & set(UNFIRED), "not fired, but there is a row"
    assert len(UNFIRED) <= UNFIRED_MAX


def test_every_fault_is_found_by_its_rule():
    """The rule that a fault names, in its .def file and in the README, is the one that a row shows to find it."""
    shown = {(fault.split("@")[0].split("=")[0], r.rule) for r in all_rows() for fault in r.fault.split(",")}
    # test_rules_rv.py tells in a story what takes half a minute.
    assert [(name, rule) for _, name, _, rule, _, _ in entries() if len(rule) > 1 and (name, rule) not in shown] == [
        ("hang-getslotinfo", "P11-RV-03")]


def without_a_row():
    used = {r.client for r in all_rows()}
    return [Case(name, b) for name in CLIENTS if name not in used for b in BACKENDS]


@pytest.mark.nss
@pytest.mark.parametrize("case", without_a_row(), ids=lambda c: c.id)
def test_healthy_module_is_not_accused(fault_stage, case):
    """By clients that meet no fault in a row either."""
    assert_healthy(fault_stage(case.backend), case)


def test_the_tables_of_check_name_rules_that_exist(build, run):
    """A name that is no rule's would do nothing, and nobody would see it."""
    rules = set(listed(build, run))
    for name, pattern in (("precedence.def", r'^BEFORE_OTHERS\("([^"]+)"\)'), ("profiles.def", r'^KNOWN\("[^"]+", "([^"]+)"')):
        named = re.findall(pattern, (ROOT / "decoder" / "check" / name).read_text(), re.M)
        assert len(named) > 10 and set(named) <= rules, set(named) - rules


def test_rows_are_told_apart():
    ids = [(r.id, b) for r in all_rows() for b in r.backends]
    assert len(ids) == len(set(ids))
