"""check --sarif and --junit, --profile, and the rules verb, against what `check --json` says of the same traces."""
import json
import re
import xml.etree.ElementTree as ET

import jsonschema
import junitparser
import pytest

from check_story import ALREADY, GENERAL_ERROR, RW, SERIAL, Story
from conftest import ROOT


def text(**more):
    return {"type": "object", "required": ["text"], "additionalProperties": False,
            "properties": {"text": {"type": "string", "minLength": 1, **more}}}


LEVEL = {"enum": ["none", "note", "warning", "error"]}
BAG = {"type": "object"}
LOCATION = {
    "type": "object", "additionalProperties": False,
    "properties": {
        "id": {"type": "integer", "minimum": -1}, "message": text(), "properties": BAG,
        "physicalLocation": {
            "type": "object", "additionalProperties": False, "required": ["artifactLocation"],
            "properties": {"artifactLocation": {
                "type": "object", "additionalProperties": False, "required": ["uri"],
                "properties": {"uri": {"type": "string", "pattern": r"^([A-Za-z0-9._~/-]|%[0-9A-F]{2})+$"}}}}},
        "logicalLocations": {"type": "array", "items": {
            "type": "object", "additionalProperties": False, "required": ["fullyQualifiedName"],
            "properties": {"fullyQualifiedName": {"type": "string"}, "kind": {"type": "string"}}}}}}
# The part of SARIF 2.1.0 that we write, as the standard has it (sections 3.13, 3.14, 3.18, 3.19, 3.27, 3.28, 3.49).
SARIF = {
    "type": "object", "required": ["version", "runs"], "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "pattern": "/sarif-schema-2[.]1[.]0[.]json$"}, "version": {"const": "2.1.0"},
        "runs": {"type": "array", "minItems": 1, "items": {
            "type": "object", "required": ["tool", "results"], "additionalProperties": False,
            "properties": {
                "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                "tool": {"type": "object", "required": ["driver"], "additionalProperties": False, "properties": {"driver": {
                    "type": "object", "required": ["name", "rules"], "additionalProperties": False,
                    "properties": {
                        "name": {"const": "p11trace"}, "version": {"type": "string"},
                        "rules": {"type": "array", "uniqueItems": True, "items": {
                            "type": "object", "required": ["id"], "additionalProperties": False,
                            "properties": {
                                "id": {"type": "string"}, "shortDescription": text(), "fullDescription": text(),
                                "help": text(), "properties": BAG, "defaultConfiguration": {
                                    "type": "object", "additionalProperties": False,
                                    "properties": {"level": LEVEL}}}}}}}}},
                "results": {"type": "array", "items": {
                    "type": "object", "required": ["message", "ruleId", "ruleIndex", "level"],
                    "additionalProperties": False,
                    "properties": {
                        "ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0}, "level": LEVEL,
                        "message": text(), "occurrenceCount": {"type": "integer", "minimum": 1}, "properties": BAG,
                        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
                        "locations": {"type": "array", "items": LOCATION, "minItems": 1},
                        "relatedLocations": {"type": "array", "items": LOCATION, "uniqueItems": True}}}}}}}}}


def stories(folder):
    """Traces with an error, a warning and infos, a name that wants escapes, and one without anything."""
    folder = folder / "a folder & <more>"
    folder.mkdir()
    t = Story(module="/lib/\"odd\" & <name>\x1b\xff.so")
    t.initialize()
    t.call("slot_info")
    t.call("token_info", label="<b>&\"']]>", serial="0<1")
    t.open(1)
    t.call("login", 1, rv=ALREADY)
    t.call("session_info", 1, state=0)
    t.call("logout", 0, rv=GENERAL_ERROR)
    t.open(2, flags=RW | SERIAL)
    t.call("session_info", 2, state=1, flags=SERIAL)
    t.write(folder / "one.p11t")
    return folder


@pytest.fixture
def found(build, run, tmp_path):
    folder = stories(tmp_path)

    def check(*options, status=1):
        return run(build / "p11trace", "check", *options, folder, status=status).stdout
    return check, json.loads(check("--json"))["findings"]


def test_the_stories_have_findings(found):
    assert {f["severity"] for f in found[1]} == {"error", "warning", "info"} or len(found[1]) >= 2


def test_sarif(found):
    check, findings = found
    log = json.loads(check("--sarif"))
    jsonschema.Draft7Validator.check_schema(SARIF)
    jsonschema.validate(log, SARIF)
    (one,) = log["runs"]
    rules = [r["id"] for r in one["tool"]["driver"]["rules"]]
    level = {"error": "error", "warning": "warning", "info": "note"}
    assert [(r["ruleId"], r["level"], r["message"]["text"], r["occurrenceCount"], len(r["relatedLocations"]))
            for r in one["results"]] == \
        [(f["rule"], level[f["severity"]], f["sentence"], f["count"], len(f["evidence"])) for f in findings]
    for result in one["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith(
            "/a%20folder%20%26%20%3Cmore%3E/one.p11t")
    keys = [r["partialFingerprints"]["p11trace/v1"] for r in one["results"]]
    assert len(set(keys)) == len(keys)


def test_sarif_of_nothing(build, run, tmp_path):
    t = Story()
    t.initialize()
    t.write(tmp_path / "x.p11t")
    log = json.loads(run(build / "p11trace", "check", "--sarif", tmp_path).stdout)
    jsonschema.validate(log, SARIF)
    assert log["runs"][0]["results"] == []


@pytest.mark.parametrize("severity", ["error", "warning", "info"])
def test_junit(found, build, run, severity):
    check, findings = found
    data = check("--junit", "--severity", severity)
    order = ["info", "warning", "error"]
    failures = [f for f in findings if order.index(f["severity"]) >= order.index(severity)]
    silent = len(re.findall("^(NSS|P11)-", run(build / "p11trace", "rules").stdout, re.M)) - len({f["rule"] for f in findings})
    xml = junitparser.JUnitXml.fromstring(data.encode())
    suites = list(xml)
    assert len(suites) == 1 and suites[0].name == "p11trace check"
    cases = list(suites[0])
    assert suites[0].tests == len(cases) == len(findings) + silent
    bad = [c for c in cases if any(isinstance(r, junitparser.Failure) for r in c.result)]
    assert suites[0].failures == len(bad) == len(failures) > 0
    assert [c.result[0].type for c in bad] == [f["severity"] for f in failures]
    for case, finding in zip(bad, failures):
        assert case.name.startswith(finding["rule"] + ": ") and case.result[0].text.startswith("1. #")
    ET.fromstring(data)


def test_profile(build, run, tmp_path):
    """What SoftHSM is known for is told as such; a module of another name is accused."""
    def traced(path):
        t = Story(module=path)
        t.initialize()
        t.call("slot_info")
        t.call("token_info", flags=0x404)
        t.open(1)
        t.call("login", 1, rv=ALREADY)
        t.call("session_info", 1, state=0)
        return t

    def severities(*options, status=None):
        out = run(build / "p11trace", "check", "--json", "--rule", "NSS-LOGIN-09", *options, tmp_path, status=status).stdout
        return [(f["severity"], "known" in f) for f in json.loads(out)["findings"]]

    traced("/usr/lib/libsoftokn3.so").write(tmp_path / "x.p11t")
    assert severities("--profile", "none", status=1) == [("error", False)]
    assert severities(status=0) == [("info", True)] == severities("--profile", "softoken", status=0)
    assert severities("--profile", "softhsm", status=1) == [("error", False)]
    assert "known of this module: " in run(build / "p11trace", "check", tmp_path).stdout
    p = run(build / "p11trace", "check", "--profile", "hsm", tmp_path, status=2)
    assert "no profile hsm" in p.stderr


# --- the catalogue ----------------------------------------------------------------------------------------------------

def catalogue(build, run):
    return json.loads(run(build / "p11trace", "rules", "--json").stdout)


def test_rules_are_listed_in_each_form(build, run):
    rules = catalogue(build, run)
    text_lines = run(build / "p11trace", "rules").stdout.splitlines()
    table = run(build / "p11trace", "rules", "--markdown").stdout.splitlines()
    assert [line.split()[0] for line in text_lines] == [r["rule"] for r in rules]
    assert [re.split(r"(?<!\\)\|", line)[1].strip() for line in table[2:]] == [r["rule"] for r in rules]
    assert len({len(re.split(r"(?<!\\)\|", line)) for line in table}) == 1
    one = run(build / "p11trace", "rules", "NSS-LOGIN-09").stdout
    assert one.count("\n") == 1 and one.startswith("NSS-LOGIN-09 ")
    assert "no rule NSS-LOGIN-99" in run(build / "p11trace", "rules", "NSS-LOGIN-99", status=2).stderr


def test_every_rule_is_explained(build, run):
    for rule in catalogue(build, run):
        shown = run(build / "p11trace", "check", "--explain", rule["rule"]).stdout
        flat = " ".join(shown.split())
        for key in ("statement", "quote", "source", "observed", "symptom", "advice"):
            assert len(rule[key]) > 3, (rule["rule"], key)
            assert " ".join(rule[key].split()) in flat, (rule["rule"], key)
        assert all(re.fullmatch(r"Q([1-9]|[12]\d|3[0-2])", q) for q in rule["faq"].split(",") if q)


def test_every_question_of_the_faq_is_covered(build, run):
    questions = json.loads(run(build / "p11trace", "rules", "--coverage", "--json").stdout)
    assert [q["question"] for q in questions] == list(range(1, 33))
    ids = {r["rule"]: r for r in catalogue(build, run)}
    for q in questions:
        assert q["rules"] or len(q["unseen"]) > 40, f"Q{q['question']} has neither rules nor a reason"
        for rule in q["rules"]:
            assert f"Q{q['question']}" in ids[rule]["faq"].split(",")
    shown = run(build / "p11trace", "rules", "--coverage").stdout
    assert re.findall(r"^Q(\d+)", shown, re.M) == [str(n) for n in range(1, 33)]
    assert run(build / "p11trace", "rules", "--coverage", "--markdown").stdout.count("\n") == 34


def test_the_rule_table_of_the_readme(build, run):
    """Made by `p11trace rules --markdown`; the text around it says so."""
    table = run(build / "p11trace", "rules", "--markdown").stdout
    assert table in (ROOT / "README.md").read_text()
