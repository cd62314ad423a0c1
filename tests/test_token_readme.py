"""module/README.md says what the token is: its lists are held to what the module does."""
import re

from conftest import ROOT
from cryptoki import CKM, CKF, CKR
from cryptoki_types import FUNCTIONS

README = (ROOT / "module" / "README.md").read_text()


def listed(section, column, pattern):
    """What stands in backticks in a column of the tables of a section, up to the next heading."""
    body = README.split(section)[1].split("\n## ")[0]
    cells = [row.split("|")[column] for row in re.findall(r"^\|.*", body, re.M)]
    return [name for name in re.findall(r"`(\w[\w-]*)`", " ".join(cells)) if re.fullmatch(pattern, name)]


def test_functions_that_are_not_there(token):
    """Each function of 3.2 is called: with zeros and NULL for everything but a session, where it has one."""
    module = token.load()
    session = token.session()
    missing = []
    for name, (_, parameters) in FUNCTIONS.items():
        if name in ("C_Initialize", "C_Finalize", "C_Logout", "C_CloseSession", "C_CloseAllSessions"):
            continue  # they are there: this test has used them or is about to
        values = [session.handle if kind == "SESSION" else None if "PTR" in ctype or ctype == "CK_NOTIFY" else 0
                  for ctype, _, kind in parameters]
        if getattr(module.raw, name)(*values) == CKR.FUNCTION_NOT_SUPPORTED:
            missing.append(name)
    assert sorted(missing) == sorted(listed("## What is there", 1, r"C_\w+"))


def test_mechanisms(token):
    module = token.load()
    there = module.mechanisms(token.slot())
    in_readme = listed("## What is there", 2, r"CKM_\w+")
    assert sorted(there) == sorted(CKM.all()[name[4:]] for name in in_readme)


def test_every_mechanism_has_a_flag(token):
    """Flags tell what can be done: none at all would be a mechanism that can do nothing, CKF_HW a lie."""
    module = token.load()
    for mechanism in module.mechanisms(token.slot()):
        flags = module.mechanism_info(token.slot(), mechanism)["flags"]
        assert flags & (CKF.DIGEST | CKF.ENCRYPT | CKF.SIGN | CKF.GENERATE | CKF.GENERATE_KEY_PAIR | CKF.WRAP | CKF.DERIVE)
        assert not flags & CKF.HW


def test_settings():
    table = (ROOT / "module/config/token_settings.def").read_text()
    there = re.findall(r'^\w+\(\w+, +"([\w-]+)"', table, re.M)
    assert len(there) >= 8 and set(there) <= set(listed("## Settings", 1, r"[a-z-]+"))


def test_folders():
    """Every folder of the module has its line."""
    folders = {p.name for p in (ROOT / "module").iterdir() if p.is_dir()}
    assert folders == set(re.findall(r"^\| `(\w+)/` \|", README, re.M))
