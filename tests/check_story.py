"""Traces told call by call, for what no client can be made to do on purpose: overlaps, gaps, late starts, removal.

    t = Story()
    t.initialize()
    t.open(session=1)
    t.call("login", 1, pin=7)                    # one call after another ...
    a = t.begin("logout", 1, tid=2)              # ... or overlapping
    t.call("session_info", 1, state=0)
    t.finish(a)
    path = t.write(tmp_path / "x.p11t")

Numbers and times go on by themselves; wait(seconds) lets time pass, lose(n) loses n records."""
import contextlib

from p11t_make import P_NULL, P_OWN, Trace, n, s, u

SLOT, SESSION_INFO, TOKEN_INFO, SLOT_INFO = 5, 4, 3, 2
SERIAL, RW = 4, 2
LOGIN_REQUIRED, PIN_INITIALIZED, TOKEN_INITIALIZED, PIN_LOCKED = 4, 8, 0x400, 0x40000
TOKEN_PRESENT, REMOVABLE = 1, 2
OK, GENERAL_ERROR, ARGUMENTS_BAD, TYPE_INVALID, DEVICE_ERROR = 0, 5, 7, 0x12, 0x30
PIN_INCORRECT, PIN_LEN_RANGE, BUFFER_TOO_SMALL, ALREADY = 0xA0, 0xA2, 0x150, 0x100
SESSION_HANDLE_INVALID, TOKEN_NOT_PRESENT = 0xB3, 0xE0
CKA_CLASS, CKA_LABEL, CKA_ID = 0, 3, 0x102
UNAVAILABLE = None  # p11t_make.u

FUNCTIONS = {
    "C_Initialize": ((18, "pInitArgs", 0, 0),),
    "C_Finalize": ((10, "pReserved", 0, 0),),
    "C_GetSlotList": ((3, "tokenPresent", 0, 0), (28, "pSlotList", 3, 0), (22, "pulCount", 0, 0)),
    "C_GetSlotInfo": ((6, "slotID", 0, 0), (32, "pInfo", 0, SLOT_INFO)),
    "C_GetTokenInfo": ((6, "slotID", 0, 0), (32, "pInfo", 0, TOKEN_INFO)),
    "C_OpenSession": ((6, "slotID", 0, 0), (5, "flags", 0, 0), (10, "pApplication", 0, 0), (10, "Notify", 0, 0),
                      (26, "phSession", 0, 0)),
    "C_CloseSession": ((7, "hSession", 0, 0),),
    "C_CloseAllSessions": ((6, "slotID", 0, 0),),
    "C_GetSessionInfo": ((7, "hSession", 0, 0), (32, "pInfo", 0, SESSION_INFO)),
    "C_Login": ((7, "hSession", 0, 0), (4, "userType", 0, 0), (15, "pPin", 4, 0), (2, "ulPinLen", 0, 0)),
    "C_Logout": ((7, "hSession", 0, 0),),
    "C_GetAttributeValue": ((7, "hSession", 0, 0), (8, "hObject", 0, 0), (31, "pTemplate", 4, 0), (2, "ulCount", 0, 0)),
    "C_SetAttributeValue": ((7, "hSession", 0, 0), (8, "hObject", 0, 0), (16, "pTemplate", 4, 0), (2, "ulCount", 0, 0)),
}


def full(data):
    return b"\x01" + n(len(data)) + data


def text(value, size):
    value = value.encode() if isinstance(value, str) else value
    return full(value.ljust(size))


def pin_value(pin, length):
    """A tag of the PIN; None: the module did not read it; "": a NULL pointer."""
    if pin == "":
        return b"\x00"
    if pin is None:
        return b"\x05" + n(length)
    return b"\x03" + n(length) + pin.to_bytes(8, "little") + b"\x08"


def attribute_value(value):
    if value is None or value is False:
        return b"\x00"
    return b"\x09" + u(value) if isinstance(value, int) else full(value)


class Story(Trace):
    functions = FUNCTIONS

    def __init__(self, parent=None, module="/lib/vendor.so", **options):
        extra = b"" if parent is None else b"\x02\x00\x10\x00" + parent
        super().__init__(type(self).functions, extra=extra, **options)
        self.number, self.now, self.threads = 0, 10**9, {}
        self.module(self.next(), path=module, time=self.now)
        self.list(self.next(), time=self.now)

    def module(self, number, id=1, path="/lib/vendor.so", time=None):
        self.record(3, n(id) + s(path) + s("abcd") + u(0x7F0000) + n(1) + s("/lib/stub.so"), number, time=time)

    def list(self, number, id=1, version=(2, 40), time=None):
        self.record(14, n(id) + s("") + bytes(version) + u(0) + n(68) + s(b""), number, time=time)

    def second_module(self, path="/lib/other.so"):
        self.module(self.next(), id=2, path=path, time=self.now)

    def next(self):
        self.number += 1
        self.now += 1000
        return self.number

    def wait(self, seconds):
        self.now += int(seconds * 10**9)

    def lose(self, count=1):
        self.number += count

    # --- calls ------------------------------------------------------------------------------------------------------
    def begin(self, what, *args, tid=100, module=1, rv=OK, **more):
        """ENTER; what it will answer is given already."""
        name, before, after = getattr(self, "_" + what)(*args, rv=rv, **more)
        number = self.next()
        with self.of(tid):
            self.enter(number, name, before, module=module, time=self.now)
        return number, name, n(rv) + after, tid, module

    def finish(self, call):
        number, name, after, tid, module = call
        own = self.next()
        with self.of(tid):
            self.leave(own, number, name, after, module=module, time=self.now)

    def call(self, *args, **more):
        begun = self.begin(*args, **more)
        self.finish(begun)
        return begun[0]

    @contextlib.contextmanager
    def of(self, tid):
        """Records go to the slot of that thread."""
        common, self.records = self.records, self.threads.setdefault(tid, [])
        if not self.records:
            self.thread(tid)
        yield
        self.records = common

    def write(self, path, end=True):
        self.frame(slot=0)
        for slot, (tid, records) in enumerate(self.threads.items(), 1):
            self.records = records
            self.frame(slot=slot, tid=tid)
        if end:
            self.end(last=self.number)
        path.write_bytes(self.bytes())
        return path

    # --- the usual beginning ----------------------------------------------------------------------------------------
    def initialize(self, **more):
        return self.call("initialize", **more)

    def open(self, session, **more):
        return self.call("open_session", session, **more)

    # --- the functions ----------------------------------------------------------------------------------------------
    def _initialize(self, rv):
        return "C_Initialize", P_NULL, b""

    def _finalize(self, rv):
        return "C_Finalize", P_NULL, b""

    def _slot_list(self, count, room=None, present=False, rv=OK, slots=()):
        if room is None:
            return "C_GetSlotList", u(int(present)) + P_NULL + P_OWN + u(0), n(0) + u(count)
        return ("C_GetSlotList", u(int(present)) + P_OWN + P_OWN + u(room),
                n(len(slots)) + b"".join(map(u, slots)) + u(count))

    def _slot_info(self, slot=SLOT, flags=TOKEN_PRESENT | REMOVABLE, rv=OK):
        members = n(5) + text("A slot", 64) + text("Maker", 32) + u(flags) + bytes(4)
        return "C_GetSlotInfo", u(slot) + P_OWN, n(SLOT_INFO) + members if rv == OK else n(0)

    def _token_info(self, slot=SLOT, label="Token", serial="0001", rv=OK, maker="Maker",
                    flags=LOGIN_REQUIRED | PIN_INITIALIZED | TOKEN_INITIALIZED):
        members = n(18) + text(label, 32) + text(maker, 32) + text("Model", 16) + text(serial, 16)
        members += u(flags) + (u(0) + u(UNAVAILABLE)) * 2 + u(64) + u(4) + u(0) * 4 + bytes(4) + text("", 16)
        return "C_GetTokenInfo", u(slot) + P_OWN, n(TOKEN_INFO) + members if rv == OK else n(0)

    def _open_session(self, session, slot=SLOT, flags=SERIAL, rv=OK):
        return ("C_OpenSession", u(slot) + u(flags) + P_NULL + P_NULL + P_OWN,
                b"\x01" + u(session) if rv == OK else b"\x00")

    def _close_session(self, session, rv=OK):
        return "C_CloseSession", u(session), b""

    def _close_all(self, slot=SLOT, rv=OK):
        return "C_CloseAllSessions", u(slot), b""

    def _session_info(self, session, state=0, flags=SERIAL, slot=SLOT, rv=OK, null=False):
        members = n(SESSION_INFO) + n(4) + u(slot) + u(state) + u(flags) + u(0)
        return "C_GetSessionInfo", u(session) + (P_NULL if null else P_OWN), members if rv == OK else n(0)

    def _login(self, session, pin=7, length=4, user=1, rv=OK):
        return ("C_Login", u(session) + u(user) + (P_NULL if pin == "" else P_OWN) + u(length), pin_value(pin, length))

    def _logout(self, session, rv=OK):
        return "C_Logout", u(session), b""

    def _attributes(self, session, object, *attributes, rv=OK):
        """Each attribute is (type, room or None for a NULL buffer, length after, value after or None)."""
        before = n(len(attributes)) + b"".join(u(t) + (P_NULL if room is None else P_OWN) + u(room or 0)
                                               for t, room, _, _ in attributes)
        after = n(len(attributes)) + b"".join(u(length) + attribute_value(value) for _, _, length, value in attributes)
        return "C_GetAttributeValue", u(session) + u(object) + P_OWN + before + u(len(attributes)), after

    def _set_label(self, session, object, label, rv=OK):
        template = P_OWN + n(1) + u(CKA_LABEL) + P_OWN + u(len(label)) + full(label)
        return "C_SetAttributeValue", u(session) + u(object) + template + u(1), n(0)
