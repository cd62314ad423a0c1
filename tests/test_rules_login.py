"""The rules of login, each proved by a fault and by its absence: see fault_matrix.py."""
from fault_clients import DB, TOKEN, action, tool
from fault_matrix import (E, I, INFO, LOGIN, OPEN, READ, STATE, W, Row, assert_healthy, client, healthy, matrix,
                          run_row)
from nss import LABEL, PIN, SO_PIN

SIGN_INIT, SIGN, LOGOUT = "C_SignInit", "C_Sign", "C_Logout"
ALWAYS = "abcd"  # CKA_ID of the key with CKA_ALWAYS_AUTHENTICATE


def always_key(stage):
    """A key that wants a PIN for each use, beside the one that is there."""
    stage.must("pkcs11-tool", "--module", stage.module, "--token-label", LABEL, "--login", "--pin", PIN, "--keypairgen",
               "--key-type", "rsa:2048", "--label", "always", "--id", ALWAYS, "--always-auth", "--usage-sign")


def blank_token(stage):
    """A token whose user has no PIN; our own has the SO's empty PIN, which is the one that NSS gives."""
    if stage.backend == "token":
        stage.must(stage.build / "p11token", "init", "--kdf-cost", 4, "--label", "Blank", "--so-pin", "")
        return
    slots = stage.must("pkcs11-tool", "--module", stage.module, "--list-slots").stdout
    stage.must("pkcs11-tool", "--module", stage.module, "--slot-index", slots.count(b"\nSlot ") - 1, "--init-token",
               "--label", "Blank", "--so-pin", SO_PIN)


def signing(steps, *more, **known):
    """client sign: `steps` between C_SignInit and C_Sign, as tests/clients/check_login.h has them."""
    client(f"client sign {' '.join((steps, *more))}", **known)(lambda stage: stage.check_client("sign", steps, *more))


@client("play: private key")
def private_key_in_public(stage):
    """Reads that the key is private, and uses it."""
    stage.run(stage.build / "tests/clients/play", stage.module, LABEL, PIN,
              *"a.open a.login a.state a.key a.policy a.init a.sign a.state".split())


@client("play: three signatures", caller={("NSS-LOGIN-12", W, "caller")})
def sign_thrice(stage):
    """Logs in for each of them, and asks for the state before and after it."""
    stage.run(stage.build / "tests/clients/play", stage.module, LABEL, PIN,
              "a.open", *(3 * "a.login a.state a.key a.init a.sign a.state ").split())


tool("certutil -R", "certutil", "-R", *DB, *TOKEN, "-f", "pins.txt", "-k", ALWAYS, "-s", "CN=always", "-o",
     "always.der")
NO_FIRST_PIN = ("NSS-LOGIN-13", W, "caller")
tool("modutil first PIN", "modutil", "-force", "-dbdir", "sql:nssdb", "-changepw", "Blank", "-newpwfile", "newpin.txt",
     known={"token": {("NSS-LOGIN-13", I, "module")}, "softhsm": {NO_FIRST_PIN}})
SO_FOR_NOTHING = ("NSS-PIN-03", W, "caller")
for each in ("twice", "logouts", "lowpin", "logins"):
    action(each)
action("thrice", caller={("NSS-LOGIN-12", W, "caller")})
action("context", caller={("NSS-LOGIN-14", W, "caller")})
action("so", SO_PIN, caller={NO_FIRST_PIN, SO_FOR_NOTHING})
for each in ("al", "alq", "aw", "a"):
    signing(each)
signing("n", "3")
signing("al", "6", known={b: {("NSS-LOGIN-16", I, "module")} for b in ("token", "softhsm")})

ROWS = [
    Row("rw-state-wrong", "certutil -K", "NSS-LOGIN-03", E, [OPEN, STATE]),
    Row("rw-flag-wrong", "client tour", "NSS-LOGIN-03", E, [OPEN, STATE]),
    Row("serial-clear", "client tour", "NSS-LOGIN-03", E, [OPEN, STATE]),
    Row("state-99", "certutil -K", "NSS-LOGIN-03", E, [OPEN, STATE]),
    Row("slot-wrong", "certutil -K", "NSS-LOGIN-03", E, [OPEN, STATE]),

    Row("stale-user", "tstclnt", "NSS-LOGIN-06", W, [STATE, SIGN_INIT]),
    Row("stale-user", "certutil -S", "NSS-LOGIN-06", W, [STATE, SIGN_INIT]),
    Row("stale-user", "client sign al", "NSS-LOGIN-06", E, [STATE, SIGN_INIT, STATE], prepare=always_key),
    Row("login-not-propagated", "certutil -S", "NSS-LOGIN-06", E, [LOGIN, "C_GenerateKeyPair"]),
    Row("rv=C_Sign:CKR_USER_NOT_LOGGED_IN@3", "client sign n 3", "NSS-LOGIN-06", E, [STATE, SIGN, SIGN]),

    Row("always-public", "tstclnt", "NSS-LOGIN-07", E, [STATE, SIGN_INIT, SIGN], also=("NSS-LOGIN-09",)),
    Row("always-public", "play: private key", "NSS-LOGIN-07", E, [STATE, SIGN_INIT, SIGN], also=("NSS-LOGIN-09",)),

    Row("double-login-general", "client twice", "NSS-LOGIN-08", E, [LOGIN, LOGIN]),
    Row("double-login-ok", "client twice", "NSS-LOGIN-08", W, [LOGIN, LOGIN]),

    Row("stale-state", "certutil -K", "NSS-LOGIN-09", E, [LOGIN, STATE]),
    Row("stale-state", "client tour", "NSS-LOGIN-09", E, [LOGIN, STATE]),
    Row("already-but-public", "tstclnt", "NSS-LOGIN-09", E, [LOGIN, STATE]),

    Row("badpin-general", "certutil -K wrong PIN", "NSS-LOGIN-10", W, [LOGIN, "C_CloseAllSessions"]),
    Row("badpin-general", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-general", "client lowpin", "NSS-LOGIN-10", E, [LOGIN, INFO]),
    Row("badpin-device", "client lowpin", "NSS-LOGIN-10", E, [LOGIN, INFO]),
    Row("badpin-vendor", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-device", "client badpin", "NSS-LOGIN-10", E, [LOGIN, LOGIN]),
    Row("badpin-len", "client badpin", "NSS-LOGIN-10", W, [LOGIN, STATE]),
    Row("locked-incorrect", "certutil -K", "NSS-LOGIN-10", E, [INFO, LOGIN]),

    # SoftHSM itself answers CKR_OK
    Row("logout-ok", "modutil -changepw", "NSS-LOGIN-11", W, [LOGOUT], backends=("token",)),
    Row("logout-ok", "client logouts", "NSS-LOGIN-11", W, [STATE, LOGOUT], backends=("token",)),
    Row("logout-general", "modutil -changepw", "NSS-LOGIN-11", E, [LOGOUT]),
    Row("logout-resets-card", "client logouts", "NSS-LOGIN-11", E, [OPEN, LOGOUT, STATE]),

    Row("slow-login=1500", "client logins", "NSS-LOGIN-12", W, [LOGIN, LOGIN], side="caller"),
    Row("info-logs-out", "client thrice", "NSS-LOGIN-12", W, [LOGIN, STATE, LOGIN, STATE, LOGIN],
        also=("NSS-LOGIN-04",)),
    Row("sign-logs-out", "play: three signatures", "NSS-LOGIN-12", W, [LOGIN, STATE, LOGIN, STATE, LOGIN],
        also=("NSS-LOGIN-04",)),

    # SoftHSM itself keeps the SO out
    Row("so-strict", "modutil first PIN", "NSS-LOGIN-13", W, [OPEN, LOGIN], side="caller", prepare=blank_token,
        backends=("token",)),
    Row("none", "modutil first PIN", "NSS-LOGIN-13", W, [OPEN, LOGIN], side="caller", prepare=blank_token,
        backends=("softhsm",)),
    Row("so-lenient", "client so", "NSS-LOGIN-13", I, [OPEN, LOGIN]),

    Row("ctx-invalid", "certutil -R", "NSS-LOGIN-14", E, [SIGN_INIT, READ, LOGIN], prepare=always_key),
    Row("ctx-anytime", "client context", "NSS-LOGIN-14", E, [LOGIN]),
    Row("ctx-wrong-ends", "client sign aw", "NSS-LOGIN-14", E, [SIGN_INIT, LOGIN, SIGN], prepare=always_key),

    Row("ctx-ignored", "certutil -R", "NSS-LOGIN-15", E, [SIGN_INIT, LOGIN, SIGN], prepare=always_key),
    Row("ctx-fragile", "client sign alq", "NSS-LOGIN-15", E,
        [SIGN_INIT, LOGIN, "C_GetSlotInfo", STATE, INFO, SIGN], prepare=always_key),
    Row("ctx-logs-out", "client sign alq", "NSS-LOGIN-15", E, [STATE, LOGIN, STATE], prepare=always_key),

    Row("aa-lie", "client sign a", "NSS-LOGIN-16", W, [SIGN_INIT, READ, SIGN]),
    Row("aa-hidden", "certutil -R", "NSS-LOGIN-16", E, [STATE, SIGN_INIT, READ, SIGN], prepare=always_key),
    Row("aa-hidden", "client sign al", "NSS-LOGIN-16", E, [STATE, SIGN_INIT, READ, SIGN], prepare=always_key),
    Row("none", "client sign al 6", "NSS-LOGIN-16", I, [SIGN_INIT, LOGIN, SIGN], prepare=always_key),
]


@matrix(ROWS)
def test_fault_is_found(fault_stage, row, backend):
    run_row(fault_stage(backend), row)


@healthy(ROWS)
def test_healthy_module_is_not_accused(fault_stage, case):
    assert_healthy(fault_stage(case.backend), case)
