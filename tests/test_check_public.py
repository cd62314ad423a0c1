"""NSS-LOGIN-07: what a private key may do while C_GetSessionInfo says that nobody is logged in, told call by call."""
import pytest

from check_story import CKA_CLASS, LOGIN_REQUIRED, PIN_INITIALIZED, REMOVABLE, TOKEN_INITIALIZED
from story_login import Logins
from test_check_guards import checked, found

CKA_TOKEN, CKA_PRIVATE, PRIVATE_KEY, KEY, OTHER = 1, 2, 3, 7, 200
FOUND = [("NSS-LOGIN-07", "error", "module")]


def read(t, private=True):
    t.call("attributes", 1, KEY, (CKA_CLASS, 8, 8, PRIVATE_KEY), (CKA_PRIVATE, 1, 1, int(private)))


def use(t, session=1, between=lambda t: None):
    t.do("C_SignInit", session, pMechanism=1, hKey=KEY)
    between(t)
    t.do("C_Sign", session)


def search(t, session=1):
    t.do("C_FindObjectsInit", session, pTemplate=[(CKA_CLASS, PRIVATE_KEY)])
    t.do("C_FindObjects", session, phObject=[KEY], pulObjectCount=1)
    t.do("C_FindObjectsFinal", session)


def told(*steps, flags=LOGIN_REQUIRED | PIN_INITIALIZED | TOKEN_INITIALIZED, sessions=(1, 2)):
    def story():
        t = Logins().start(*sessions)
        t.token(flags=flags)
        for step in steps:
            step(t)
        return t
    return story


def login(t, session=1):
    t.login(session)


def public(session=1):
    return lambda t: t.state(session)


def user(session=1):
    return lambda t: t.state(session, user=True)


def overlapping_login(t):
    a = t.begin("login", 1, tid=OTHER)
    use(t)
    t.finish(a)


def pulled(t):
    t.call("slot_info", flags=REMOVABLE)


CASES = {
    "used": (told(login, public(), read, use), FOUND),
    "used in another session": (told(login, public(), read, lambda t: use(t, 2)), FOUND),
    "found": (told(login, public(), read, search), FOUND),
    "the user is logged in": (told(login, user(), read, use), []),
    "not private": (told(login, public(), lambda t: read(t, False), use), []),
    "not known to be private": (told(login, public(), use), []),
    "a login since": (told(login, read, public(), login, use), []),
    "a login at the same time": (told(login, read, public(), overlapping_login), []),
    "begun before the report": (told(login, read, lambda t: use(t, between=public())), []),
    "with a login for the use": (told(login, public(), read, lambda t: use(t, between=lambda t: t.context(1))), []),
    "a session that knows nothing of the login": (told(login, public(2), read, use), []),
    "two sessions that disagree": (told(login, user(2), public(), read, lambda t: use(t, 2)), []),
    "no login is required": (told(login, public(), read, use, flags=TOKEN_INITIALIZED), []),
    "the card is pulled": (told(login, public(), read, pulled, use), []),
}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    story, expected = CASES[case]
    path = story().write(tmp_path / "story.p11t")
    result = checked(build, run, path, "--rule", "NSS-LOGIN-07", status=1 if expected else 0)
    assert found(result) == expected
