"""The login and the removal of the card, told call by call: after it nobody is logged in."""
import pytest

from check_story import REMOVABLE
from story_login import Logins
from test_check_guards import checked

PRESENT = 1
STATES = ("NSS-LOGIN-01", "NSS-LOGIN-02", "NSS-LOGIN-05", "NSS-LOGIN-09")


def put_back(*after):
    """A login, the card out and in again, and seconds later another session."""
    t = Logins().start(1)
    t.call("slot_info", flags=REMOVABLE | PRESENT)
    t.login(1)
    t.state(1, user=True)
    t.call("slot_info", flags=REMOVABLE)
    t.wait(5)
    t.call("slot_info", flags=REMOVABLE | PRESENT)
    t.token()
    t.wait(5)
    t.open(2)
    for step in after:
        step(t)
    return t


def public(t):
    t.state(2)


def user(t):
    t.state(2, user=True)


def login(t):
    t.login(2)


CASES = {
    "nobody is logged in": ((public,), []),
    "the login is still there": ((user,), ["NSS-LOGIN-05"]),
    "a new login": ((public, login, user), []),
    "a new login, not asked before": ((login, user), []),
}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    after, rules = CASES[case]
    path = put_back(*after).write(tmp_path / "story.p11t")
    findings = [f for f in checked(build, run, path)["findings"] if f["rule"] in STATES]
    assert [f["rule"] for f in findings] == rules
    if rules:
        assert [e["function"] for e in findings[0]["evidence"]] == ["C_GetSlotInfo", "C_GetSessionInfo"]
