"""Stories of logins, PINs and token information: story_calls.py with the functions that take PINs.

    t = Logins().start(1)
    t.set_pin(1, old=7, new=8)          # PINs are numbers: equal numbers, equal PINs
    t.login(1, pin=8)
    t.context(1)                        # C_Login(CKU_CONTEXT_SPECIFIC)
    t.token(flags=..., most=1)"""
from check_story import (LOGIN_REQUIRED, OK, PIN_INITIALIZED, RW, SERIAL, SLOT, TOKEN_INFO, TOKEN_INITIALIZED,
                         UNAVAILABLE, pin_value, text)
from p11t_make import P_NULL, P_OWN, n, u
from story_calls import Calls

USUAL = LOGIN_REQUIRED | PIN_INITIALIZED | TOKEN_INITIALIZED
CKU_SO, CKU_USER, CKU_CONTEXT = 0, 1, 2
SESSION, PIN, LENGTH = (7, "hSession", 0, 0), 15, 2
PIN_FUNCTIONS = {
    "C_InitPIN": (SESSION, (PIN, "pPin", 3, 0), (LENGTH, "ulPinLen", 0, 0)),
    "C_SetPIN": (SESSION, (PIN, "pOldPin", 3, 0), (LENGTH, "ulOldLen", 0, 0), (PIN, "pNewPin", 5, 0),
                 (LENGTH, "ulNewLen", 0, 0)),
    "C_InitToken": ((6, "slotID", 0, 0), (PIN, "pPin", 3, 0), (LENGTH, "ulPinLen", 0, 0), (12, "pLabel", 0, 32)),
    "C_CloseAllSessions": ((6, "slotID", 0, 0),),
}


def pointer(pin):
    return P_NULL if pin == "" else P_OWN


class Logins(Calls):
    functions = {**Calls.functions, **PIN_FUNCTIONS}

    # What a story tells, in short.
    def login(self, session, **more):
        return self.call("login", session, **more)

    def so(self, session, **more):
        return self.call("login", session, user=CKU_SO, **more)

    def context(self, session, **more):
        return self.call("login", session, user=CKU_CONTEXT, **more)

    def logout(self, session, **more):
        return self.call("logout", session, **more)

    def state(self, session, user=False, **more):
        return self.call("session_info", session, state=int(user), **more)

    def token(self, **more):
        return self.call("token_info", **more)

    def set_pin(self, session, **more):
        return self.call("set_pin", session, **more)

    def always(self, session, key, value):
        """CKA_ALWAYS_AUTHENTICATE is read: true, false, or None: the key does not have it."""
        return self.call("attributes", session, key, (0x202, 1, UNAVAILABLE if value is None else 1,
                                                          None if value is None else int(value)),
                         rv=0x12 if value is None else OK)

    # The functions.
    def _set_pin(self, session, old=7, new=8, length=4, rv=OK):
        return ("C_SetPIN", u(session) + pointer(old) + u(4) + pointer(new) + u(length),
                pin_value(old, 4) + pin_value(new, length))

    def _init_pin(self, session, pin=8, rv=OK):
        return "C_InitPIN", u(session) + pointer(pin) + u(4), pin_value(pin, 4)

    def _init_token(self, slot=SLOT, pin=9, rv=OK):
        return "C_InitToken", u(slot) + pointer(pin) + u(4) + P_OWN, pin_value(pin, 4) + text("Token", 32)

    def _close_all(self, slot=SLOT, rv=OK):
        return "C_CloseAllSessions", u(slot), b""

    def _token_info(self, slot=SLOT, label="Token", serial="0001", maker="Maker", flags=USUAL, most=0, count=None,
                    most_rw=0, pins=(4, 64), rv=OK):
        members = n(18) + text(label, 32) + text(maker, 32) + text("Model", 16) + text(serial, 16)
        members += u(flags) + u(most) + u(count) + u(most_rw) + u(UNAVAILABLE) + u(pins[1]) + u(pins[0])
        members += u(0) * 4 + bytes(4) + text("", 16)
        return "C_GetTokenInfo", u(slot) + P_OWN, n(TOKEN_INFO) + members if rv == OK else n(0)


def fixed(*sessions, flags=SERIAL | RW):
    """A token in a slot that nobody takes it out of."""
    t = Logins()
    t.initialize()
    t.call("slot_info", flags=1)
    t.token()
    for session in sessions or (1, 2):
        t.open(session, flags=flags)
    return t
