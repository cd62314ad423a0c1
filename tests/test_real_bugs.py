"""Bugs of modules, cards and NSS that were met in the field, each played on a real token, and what p11trace check says.

A bug is a fault (module/faulty) and the client that meets it: an NSS tool where NSS makes the calls, else a client of
ours that makes those which the issue tells of (tests/clients/play.c). Where no client can make it in a second (calls
that hang for half a minute) it is a trace told call by call. All rules that the bug is known to break must be named, in
a finding or in its "also", and no error of a rule that has nothing to do with it."""
import json
from dataclasses import dataclass

import pytest

from check_story import PIN_INITIALIZED, REMOVABLE, TOKEN_INITIALIZED
from fault_clients import DB
from fault_matrix import CLIENTS, expected, signature
from nss import LABEL, P12_PASSWORD, PIN
from p11t_make import P_NULL, P_OWN, u
from story_login import USUAL, Logins
from test_rules_login import always_key, blank_token


@dataclass
class Bug:
    number: int
    issue: str            # where it was reported
    about: str            # what the user saw, and why
    fault: str            # as in P11FAULTY
    run: str              # the name of a client, or the steps of tests/clients/play.c
    rules: str            # that must be named
    backend: str = "token"
    prepare: object = None

    @property
    def id(self):
        return f"{self.number:02}-{self.issue.split(',')[0].replace(' ', '')}"


def three_tokens(stage):
    """A third token, and a certificate on the second."""
    stage.init_token("Third", "third-so")
    stage.must("pk12util", "-i", "other.p12", *DB, "-h", "Second", "-K", PIN, "-W", P12_PASSWORD)


GRACE = "wait=1100"  # a second that a module is given to notice a removal

BUGS = [
    Bug(1, "OpenSC #1935",
        "PIN prompts without end after the card was out and in again: NSS logs in on the session that went with the "
        "card, and then without one",
        "ghost-session=1,rv=C_Login:CKR_SESSION_HANDLE_INVALID@2-4",
        f"a.open a.login slot {GRACE} a.state slot a.login a.login 0.login a.close a.open a.login",
        "NSS-SLOT-05 NSS-SESS-01 NSS-LOGIN-12"),
    Bug(2, "OpenSC #1822",
        "nothing works after the card was out and in again, until the browser is restarted: the old session seems "
        "good, and its use fails",
        "ghost-session=1,rv=C_SignInit:CKR_DEVICE_REMOVED@2",
        f"a.open a.login a.key a.init a.sign slot {GRACE} a.state slot a.state a.init",
        "NSS-SLOT-05 NSS-SLOT-06"),
    Bug(3, "OpenSC #2740",
        "connections are dropped when another program logs the card out: C_GetSessionInfo takes that for a removal and "
        "ends the session",
        "flaky-session",
        "tstclnt",
        "NSS-SLOT-07"),
    Bug(4, "OpenSC #596, #624",
        "signing works once and never again, though the user is logged in: another program has reset the card",
        "rv=C_SignInit:CKR_USER_NOT_LOGGED_IN@2-2,stale-state@C_GetSessionInfo:4",
        "a.open a.login a.state a.key a.policy a.init a.sign a.state a.init a.state a.state",
        "NSS-LOGIN-06 NSS-LOGIN-04"),
    Bug(5, "OpenSC #959",
        "the login is not told, so that NSS must ask again",
        "always-public",
        "a.open a.login a.state a.key a.policy a.init a.sign a.state",
        "NSS-LOGIN-09 NSS-LOGIN-07"),
    Bug(6, "OpenSC #1436",
        "up to eight prompts in a row: asking about the token drops the login",
        "probe-logs-out",
        "a.open a.login a.state token a.state a.login a.state token a.state a.login a.state token a.state a.login",
        "NSS-LOGIN-04 NSS-LOGIN-12"),
    Bug(7, "OpenSC #2897",
        "a login in one program logs the other one out",
        "info-logs-out=2",
        "a.open a.login a.key 2*a.state wait=1200 a.state",
        "NSS-LOGIN-04"),
    Bug(8, "OpenSC #1071, #1072, Mozilla bug 1333725",
        "the PIN is accepted and the signature fails: what is asked between the two resets the card",
        "ctx-fragile",
        "client sign alq",
        "NSS-LOGIN-15", prepare=always_key),
    Bug(9, "OpenSC #1039",
        "the second signature with a non-repudiation key fails: the key does not say that it wants a PIN each time, or "
        "does not take it",
        "aa-hidden@C_GetAttributeValue:1-1,ctx-invalid",
        "a.open a.login a.key=always a.init a.policy a.sign a.init a.policy a.context a.sign",
        "NSS-LOGIN-14 NSS-LOGIN-16", prepare=always_key),
    Bug(10, "OpenSC #2244",
        "the PIN is asked for twice: a key that needs no login for each use says that it does",
        "aa-lie",
        "a.open a.login a.key" + 5 * " a.init a.policy a.context a.sign",
        "NSS-LOGIN-16"),
    Bug(11, "OpenSC #2681, #2733, #2920",
        "one prompt for each PIN, only to list certificates; a profile that says otherwise is wrong for some of the "
        "slots",
        "private-certs,profile-lie@C_FindObjectsInit:3-3",
        "a.open a.certs a.login a.certs on=Second b.open b.profile b.certs b.login b.certs on=Third c.open c.login "
        "c.certs",
        "NSS-CERT-05 NSS-CERT-08 NSS-LOGIN-12", prepare=three_tokens),
    Bug(12, "OpenSC #1135",
        "the PINs of one card are asked for in an order that nobody understands: each is a slot of its own",
        "slot-bleed",
        "a.open on=Second b.open b.state on=Third c.open c.state a.login b.state c.state b.login c.login",
        "NSS-LOGIN-12 NSS-LOGIN-17", prepare=three_tokens),
    Bug(13, "OpenSC #683",
        "another reader is used after hot-plugging: slots are numbered anew",
        "slot-renumber",
        "a.open a.login slots slots slot",
        "NSS-SLOT-02"),
    Bug(14, "OpenSC #629, #872, #1947, #1961",
        "tokens that are not there, NSS in a loop: slots go while NSS has them",
        "slot-shrink@C_GetSlotList:5,ghost-token",
        "on=Second slot a.open slots slot token",
        "NSS-SLOT-02 NSS-SLOT-03"),
    Bug(15, "OpenSC #1908",
        "certificates are shown after the token was pulled: slot and session say nothing of it",
        "rv=C_OpenSession:CKR_TOKEN_NOT_PRESENT@2",
        f"a.open slot b.open slot b.open {GRACE} a.state a.certs slot",
        "NSS-SLOT-05 NSS-SLOT-03"),
    Bug(18, "OpenSC #2030, Mozilla bug 1627273",
        "slow pages with a card that is not known: NSS begins anew at each look",
        "delay=C_GetTokenInfo:25,rv=C_GetTokenInfo:CKR_TOKEN_NOT_RECOGNIZED@3",
        24 * "slot token ",
        "NSS-SLOT-03 NSS-PERF-01"),
    Bug(19, "OpenSC #2987, Mozilla bug 1872998",
        "connections time out while the PIN dialog is open: the token's information takes long, and waits for the "
        "login",
        "slow-info=25,global-lock=540",
        "a.open b.open 12*b.state 24*token" + 4 * " &a.login wait=20 b.state join a.logout",
        "NSS-PERF-01 NSS-PERF-02"),
    Bug(20, "OpenSC #2019, #1771",
        "each request is slow with a card in the reader: the card is asked for each state",
        "delay=C_GetSessionInfo:25",
        "a.open a.login 24*a.poll",
        "NSS-PERF-01"),
    Bug(21, "OpenSC #849, Mozilla bug 1162897",
        "certificates of one token cannot be chosen: its label has a colon",
        "colon-label",
        "certutil -L -n",
        "NSS-TOK-02"),
    Bug(22, "SoftHSMv2 #309, #317",
        "certificates that NSS has imported are not seen without a login: they are private",
        "private-certs",
        "a.open a.certs a.login a.certs",
        "NSS-CERT-05", backend="softhsm"),
    Bug(23, "tpm2-pkcs11 #860",
        "certutil -A never asks for the PIN: the code says that the session is read-only",
        "create-read-only",
        "certutil -A",
        "NSS-SESS-10"),
    Bug(24, "tpm2-pkcs11 #340",
        "a certificate without its key: they have not the same CKA_ID",
        "id-mismatch",
        "certutil -K",
        "NSS-CERT-03"),
    Bug(25, "wolfPKCS11 #76",
        "NSS cannot log in, odd prompts: no flag for the PIN, an empty one taken for none, sessions not counted",
        "no-pininit-flag,session-count-0",
        "a.open b.open token a.pad a.login a.key a.state token",
        "NSS-TOK-03 NSS-TOK-06 NSS-TOK-08"),
    Bug(26, "wolfPKCS11 #80, #83, #84",
        "NSS cannot set the first PIN: its read-only session keeps the SO out",
        "so-strict",
        "modutil first PIN",
        "NSS-LOGIN-13", prepare=blank_token),
    Bug(27, "wolfPKCS11 #62",
        "making keys and TLS fail: objects are there for one session only",
        "per-session-objects",
        "certutil -S",
        "NSS-OBJ-01"),
    Bug(28, "nethsm-pkcs11 #183, #319",
        "the certificate has another name after the import: the token has put its own",
        "id-overwritten,label-cut",
        "certutil -S",
        "NSS-OBJ-09"),
    Bug(30, "fireftp #125, Mozilla bug 1192559",
        "each connection asks for the smart card's PIN: NSS logs in to look for a client certificate",
        "private-certs",
        "a.open a.certs 3*a.login a.certs",
        "NSS-CERT-05 NSS-LOGIN-12"),
    Bug(31, "Firefox, PK11PasswordPromptRunnable",
        "one dialog, and the other tabs fail meanwhile: a second prompt is cancelled",
        "slow-login=1500",
        "a.open b.open c.open &a.login wait=300 &b.state &c.state join",
        "NSS-LOGIN-12"),
    Bug(32, "NSS 3.87.1 of Debian",
        "listing keys deletes them: NSS takes a key for a temporary one",
        "no-token-attr",
        "certutil -K",
        "NSS-KEY-09"),
    Bug(33, "OpenSC #2903",
        "a PIN pad asks all the time though the user is logged in: a login without a PIN is not known for one, and "
        "nobody looks whether one is needed",
        "pinpad-args@C_GetTokenInfo:1-1,pinpad-args@C_Login:1-1,double-login-ok",
        "a.open a.state a.pad a.login a.state a.login b.open b.login",
        "NSS-LOGIN-08 NSS-TOK-06"),
    Bug(34, "OpenSC #2536",
        "the card needs no PIN after it was out and in again",
        "ghost-session=2",
        f"a.open a.login slot {GRACE} slot slot {GRACE} b.open b.state a.state",
        "NSS-SLOT-06 NSS-LOGIN-05"),
    Bug(35, "OpenSC #3519",
        "prompts a few times a day, when another browser starts: it resets the card",
        "info-logs-out=2",
        "a.open a.login a.key 2*a.state wait=1200 a.state a.login a.state",
        "NSS-LOGIN-04"),
    Bug(36, "OpenSC #3613",
        "the second signature fails after a good login: the key wants a PIN each time and does not say so",
        "rv=C_Sign:CKR_USER_NOT_LOGGED_IN@2-2",
        "a.open a.login a.state a.key a.init a.policy a.sign a.init a.sign a.state",
        "NSS-LOGIN-06 NSS-LOGIN-16"),
]


def judge(found, rules, healthy=frozenset()):
    """`healthy`: what is found with the healthy module too, which tells nothing of the bug."""
    found = [f for f in found if signature(f) not in healthy]
    said = [(f["rule"], f["severity"], f["sentence"], f["also"]) for f in found]
    named = {f["rule"] for f in found}.union(*(f["also"] for f in found))
    assert set(rules.split()) <= named, said
    unrelated = [f for f in found if f["severity"] == "error" and f["rule"] not in rules.split()]
    assert not unrelated, said


@pytest.mark.nss
@pytest.mark.parametrize("bug", BUGS, ids=lambda b: b.id)
def test_bug_is_told(fault_stage, bug):
    stage = fault_stage(bug.backend)
    stage.broken(bug.fault, prepare=bug.prepare)
    if bug.run in CLIENTS:
        CLIENTS[bug.run].run(stage)
    else:
        p = stage.run(stage.build / "tests/clients/play", stage.module, LABEL, PIN, *bug.run.split())
        assert p.status == 0, p.stderr
    p = stage.check("--json")
    assert p.stderr == b""
    judge(json.loads(p.stdout)["findings"], bug.rules, expected(stage, bug.run) if bug.run in CLIENTS else frozenset())


# --- what takes too long to wait for, told call by call ---------------------------------------------------------------

RNG, NOT_LOGGED_IN, CANCELLED = 1, 0x101, 0x50
BROWSER, PROMPT, EVENTS, PAGE = 100, 200, 300, 400  # threads
KEY = 7


class Cards(Logins):
    functions = {**Logins.functions,
                 "C_WaitForSlotEvent": ((5, "flags", 0, 0), (25, "pSlot", 0, 0), (10, "pReserved", 0, 0))}

    def _wait_event(self, rv=0):
        return "C_WaitForSlotEvent", u(0) + P_OWN + P_NULL, b"\x00"

    def browse(self, times=25, session=1):
        """What NSS asks about once a second, all the time."""
        for _ in range(times):
            self.wait(1)
            self.call("slot_info", tid=BROWSER)
            self.call("session_info", session, tid=BROWSER)


def pulled_while_asking():
    t = Cards().start(1)
    t.begin("wait_event", tid=EVENTS)
    t.browse()
    t.begin("login", 1, tid=PROMPT)
    t.wait(2)
    t.call("slot_info", flags=REMOVABLE, tid=BROWSER)
    t.begin("session_info", 1, tid=BROWSER)
    t.wait(40)
    t.call("slot_info", flags=REMOVABLE, tid=PAGE)
    return t


def frozen_at_insertion():
    """The call for random numbers was suspected first, for what it answers without a login (NSS-OP-08); what froze were
    two calls at a time that waited for each other."""
    t = Cards().start(1)
    t.call("token_info", flags=USUAL | RNG)
    t.do("C_GenerateRandom", 1, ulRandomLen=32, rv=NOT_LOGGED_IN)
    t.browse()
    t.call("slot_info", flags=REMOVABLE)
    t.wait(5)
    t.call("slot_info")
    t.call("token_info", flags=USUAL | RNG)
    t.open(2)
    t.start_of("C_GenerateRandom", 2, ulRandomLen=32, tid=BROWSER)
    t.begin("session_info", 2, tid=PAGE)
    t.wait(40)
    t.call("slot_list", 1, tid=EVENTS)
    return t


def own_dialog():
    """Where a login is made at all its PIN is empty: the module asks for another one itself."""
    t = Cards().start(1)
    t.call("token_info", flags=PIN_INITIALIZED | TOKEN_INITIALIZED)
    t.browse()
    for rv in (0, NOT_LOGGED_IN):
        t.do("C_SignInit", 1, pMechanism=1, hKey=KEY)
        call = t.start_of("C_Sign", 1, rv=rv)
        t.wait(12)
        t.finish(call)
    for _ in range(3):
        call = t.begin("login", 1, pin=0, length=0, rv=CANCELLED)
        t.wait(6)
        t.finish(call)
    return t


TOLD = {
    "16-OpenSC#143": (pulled_while_asking, "NSS-SLOT-09 P11-RV-03"),  # hangs when the card is pulled at the prompt
    "17-OpenSC#1278": (frozen_at_insertion, "P11-RV-03 NSS-OP-08"),  # freezes when a card is put in
    "29-eid-mw#175": (own_dialog, "NSS-TOK-04 NSS-TOK-06"),  # the module has a dialog of its own for each signature
}


@pytest.mark.parametrize("name", TOLD)
def test_bug_in_a_story(build, run, tmp_path, name):
    story, rules = TOLD[name]
    story().write(tmp_path / "x.p11t")
    result = json.loads(run(build / "p11trace", "check", "--json", tmp_path, status=None).stdout)
    assert result["summary"]["calls"] >= 50
    judge(result["findings"], rules)


def test_all_are_there():
    numbers = [b.number for b in BUGS] + [int(name[:2]) for name in TOLD]
    assert sorted(numbers) == list(range(1, 37))
