"""Every function of PKCS #11 3.2 with arguments that nobody should pass: NULL for each pointer, odd and huge lengths, handles
that do not exist.  A code must come back, and the session must still work.  Made from functions.def; each function runs in a
process of its own, so that a crash is told as the call that crashed."""
import ctypes
import mmap
import os
import re
import shutil
import signal
import traceback
from dataclasses import replace

import pytest

from cryptoki import (CK, CKA, CKF, CKK, CKM, CKO, CKR, CKU, FUNCTIONS, STRUCTURES, CkError, Module, Session, mechanism, struct,
                      template)
from cryptoki_types import TYPES, entries
from tokens import make_token

PIN = "1234-pin"
ROOM = 1 << 16  # every buffer really has as much
HUGE = (1 << 63, CK.UNAVAILABLE_INFORMATION, (1 << 63) - 1, 1 << 32)
LENGTHS = (0, 1, 2, 7, 15, 17, 1000) + HUGE

CBC, HMAC, RSA, GCM = (CKM.AES_CBC_PAD, bytes(16)), CKM.SHA256_HMAC, CKM.RSA_PKCS, CKM.AES_GCM
SHA, WRAP = CKM.SHA256, CKM.AES_KEY_WRAP

# function: mechanism and key that fit, for those that take them
MECHANISMS = [
    (r"C_(En|De)cryptInit", CBC, "aes"), (r"C_Digest(Init|Key)", SHA, "generic"), (r"C_(Sign|Verify|VerifySignature)Init", HMAC, "generic"),
    (r"C_SignRecoverInit", RSA, "private"), (r"C_VerifyRecoverInit", RSA, "public"), (r"C_Message(En|De)cryptInit", GCM, "aes"),
    (r"C_Message(Sign|Verify)Init", HMAC, "generic"), (r"C_GenerateKey", CKM.AES_KEY_GEN, "aes"),
    (r"C_GenerateKeyPair", CKM.EC_KEY_PAIR_GEN, "aes"), (r"C_(Unw|W)rapKey", WRAP, "aes"), (r"C_(Unw|W)rapKeyAuthenticated", GCM, "aes"),
    (r"C_DeriveKey", CKM.SHA256_KEY_DERIVATION, "generic"), (r"C_(En|De)capsulateKey", CKM.ML_KEM, "public"),
]
# function: what must be active for it
ACTIVE = [
    (r"C_Encrypt(Update|Final)?", ["C_EncryptInit"]), (r"C_Decrypt(Update|Final)?", ["C_DecryptInit"]),
    (r"C_Digest(Update|Final|Key)?", ["C_DigestInit"]), (r"C_Sign(Update|Final)?", ["C_SignInit"]),
    (r"C_Verify(Update|Final)?", ["C_VerifyInit"]), (r"C_SignRecover", ["C_SignRecoverInit"]), (r"C_VerifyRecover", ["C_VerifyRecoverInit"]),
    (r"C_DigestEncryptUpdate", ["C_DigestInit", "C_EncryptInit"]), (r"C_DecryptDigestUpdate", ["C_DigestInit", "C_DecryptInit"]),
    (r"C_SignEncryptUpdate", ["C_SignInit", "C_EncryptInit"]), (r"C_DecryptVerifyUpdate", ["C_VerifyInit", "C_DecryptInit"]),
    (r"C_FindObjects(Final)?", ["C_FindObjectsInit"]), (r"C_GetOperationState", ["C_DigestInit"]),
    (r"C_EncryptMessage(Begin)?|C_MessageEncryptFinal", ["C_MessageEncryptInit"]),
    (r"C_EncryptMessageNext", ["C_MessageEncryptInit", "C_EncryptMessageBegin"]),
    (r"C_DecryptMessage(Begin)?|C_MessageDecryptFinal", ["C_MessageDecryptInit"]),
    (r"C_DecryptMessageNext", ["C_MessageDecryptInit", "C_DecryptMessageBegin"]),
    (r"C_SignMessage(Begin)?|C_MessageSignFinal", ["C_MessageSignInit"]),
    (r"C_SignMessageNext", ["C_MessageSignInit", "C_SignMessageBegin"]),
    (r"C_VerifyMessage(Begin)?|C_MessageVerifyFinal", ["C_MessageVerifyInit"]),
    (r"C_VerifyMessageNext", ["C_MessageVerifyInit", "C_VerifyMessageBegin"]),
    (r"C_VerifySignature(Update|Final)?", ["C_VerifySignatureInit"]),
]
TEMPLATES = {
    "C_CreateObject": {CKA.CLASS: CKO.DATA, CKA.LABEL: "made"}, "C_GenerateKey": {CKA.VALUE_LEN: 16, CKA.TOKEN: False},
    "C_UnwrapKey": {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES}, "C_DeriveKey": {CKA.VALUE_LEN: 16},
    "pPublicKeyTemplate": {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107"), CKA.TOKEN: False}, "pPrivateKeyTemplate": {CKA.TOKEN: False},
}


def matching(table, name):
    return next((row[1:] for row in table if re.fullmatch(row[0], name)), None)


class Scene:
    """An initialised module in the child, with keys, and good arguments for any function."""

    def __init__(self, token):
        self.module = Module(token.module, token.parameters)
        self.module.initialize()
        self.slot = self.module.slot_of(token.label)
        self.keep, self.session, self.keys = None, None, {}
        self.repair()

    def repair(self):
        """Opens a session, logs in and makes the objects, if the last call has ended any of that."""
        raw, info = self.module.raw, ctypes.create_string_buffer(64)
        if self.session is None or raw.C_GetSessionInfo(self.session.handle, info) != CKR.OK:
            self.session = self.module.open_session(self.slot)
            self.keys = {}
        try:
            self.session.login(PIN)
            self.keys = {}
        except CkError as e:
            assert e.rv == CKR.USER_ALREADY_LOGGED_IN, e
        if self.keys:
            return
        s = self.session
        use = {CKA.TOKEN: False, CKA.ENCRYPT: True, CKA.DECRYPT: True, CKA.WRAP: True, CKA.UNWRAP: True, CKA.SIGN: True, CKA.VERIFY: True,
               CKA.DERIVE: True, CKA.EXTRACTABLE: True, CKA.SENSITIVE: False}
        self.keys["aes"] = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(16), **use})
        self.keys["generic"] = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE: bytes(32), **use})
        self.keys["public"], self.keys["private"] = s.generate_pair(
            CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.TOKEN: False, CKA.MODULUS_BITS: 1024, CKA.PUBLIC_EXPONENT: b"\1\0\1"}, {CKA.TOKEN: False})

    def good(self, name: str) -> list:
        """Arguments that the function can work with; what they point to lives until the next call of this."""
        parameters = FUNCTIONS[name][1]
        mech, key = matching(MECHANISMS, name) or (SHA, "aes")
        self.keep, out = [], []
        for ctype, parameter, kind in parameters:
            kind = kind.split("(")[0]
            if kind == "SESSION":
                value = self.session.handle
            elif kind == "SLOT":
                value = self.slot
            elif kind == "KEY":
                value = self.keys[key]
            elif kind == "OBJECT":
                value = self.session.create({CKA.CLASS: CKO.DATA, CKA.LABEL: "x"})
            elif kind == "LENGTH":
                value = 0 if parameter == "ulUsernameLen" else 16
            elif kind == "FLAGS":
                value = {"C_OpenSession": CKF.SERIAL_SESSION, "C_WaitForSlotEvent": CKF.DONT_BLOCK}.get(name, 0)
            elif kind == "ENUM":
                value = {"CK_USER_TYPE": CKU.USER, "CK_MECHANISM_TYPE": CKM.SHA256}.get(ctype, 1)
            elif kind in ("BOOL", "NUMBER"):
                value = 0
            elif kind == "MECHANISM":
                value = mechanism(mech)
            elif kind in ("TEMPLATE", "OUT_TEMPLATE"):
                value = template(TEMPLATES.get(parameter, TEMPLATES.get(name, {CKA.LABEL: "x"})))
            elif kind == "PIN":
                value = ctypes.create_string_buffer(PIN.encode(), ROOM)
            elif kind == "MESSAGE_PARAM":
                value = struct("CK_GCM_MESSAGE_PARAMS", pIv=bytes(12), ulIvLen=12, pTag=bytes(16), ulTagBits=128) \
                    if "crypt" in name else None
            elif kind == "OUT_LENGTH":
                value = ctypes.c_ulong(ROOM)
            elif kind == "STRING":
                value = ctypes.create_string_buffer(b"PKCS 11" if name == "C_GetInterface" else b"C_Sign")
            elif kind == "VERSION":
                value = struct("CK_VERSION", major=3, minor=2)
            elif kind in ("POINTER", "INIT_ARGS") or parameter == "pUsername":
                value = None
            else:  # a buffer, in or out
                value = ctypes.create_string_buffer(ROOM)
            out.append(value)
        # The lengths that belong to a PIN, a template or a message parameter.
        for i, (_, _, kind) in enumerate(parameters):
            link = re.match(r"(PIN|TEMPLATE|OUT_TEMPLATE|MESSAGE_PARAM)\((\d+)\)", kind)
            if link:
                thing = out[i]
                out[int(link[2]) - 1] = len(PIN) if link[1] == "PIN" else len(thing) if "TEMPLATE" in link[1] else (
                    ctypes.sizeof(thing) if thing is not None else 0)
        self.keep = out
        return [ctypes.addressof(v) if isinstance(v, (ctypes.Array, ctypes.Structure, ctypes._SimpleCData)) else v for v in out]

    def begin(self, name: str):
        """Makes active what the function needs; ends what was active."""
        self.module.raw.C_SessionCancel(self.session.handle, CK.UNAVAILABLE_INFORMATION)
        for init in (matching(ACTIVE, name) or [[]])[0]:
            self.module.raw.__dict__[init](*self.good(init))

    def call(self, name: str, changes: dict) -> int:
        self.begin(name)
        arguments = self.good(name)
        for place, value in changes.items():
            arguments[place] = value
        return self.module.raw.__dict__[name](*arguments)

    def check(self):
        """The module still does its work."""
        self.repair()
        self.module.raw.C_SessionCancel(self.session.handle, CK.UNAVAILABLE_INFORMATION)
        other = self.module.open_session(self.slot, rw=False)
        assert other.digest(CKM.SHA_1, b"abc").hex() == "a9993e364706816aba3e25717850c26c9cd0d89d"
        other.close()
        cipher = self.session.encrypt(CKM.AES_ECB, self.keys["aes"], bytes(16))
        assert cipher.hex() == "66e94bd4ef8a2c3b884cfa59ca342b2e"


def variants(name: str):
    """(change of arguments, must it be refused) for every pointer, every length, pairs of the two, and every handle."""
    parameters = FUNCTIONS[name][1]
    optional = ("OUT_BYTES", "OUT_SLOTS", "OUT_MECHANISMS", "OUT_INTERFACES", "MECHANISM", "POINTER", "INIT_ARGS", "MESSAGE_PARAM", "STRING",
                "VERSION", "PIN", "OUT_OBJECT", "IN_BYTES", "TEMPLATE", "OUT_TEMPLATE", "OUT_OBJECTS")
    for i, (ctype, _, kind) in enumerate(parameters):
        base = kind.split("(")[0]
        if TYPES[ctype] is ctypes.c_void_p:
            if name != "C_Finalize":
                # C_SignMessageNext without a length: more parts are to come.
                yield {i: None}, base not in optional and (name, base) != ("C_SignMessageNext", "OUT_LENGTH")
            link = re.match(r"(IN_BYTES|PIN|TEMPLATE|OUT_TEMPLATE|MESSAGE_PARAM|OUT_OBJECTS)\((\d+)", kind)
            for length in LENGTHS if link else ():
                yield {i: None, int(link[2]) - 1: length}, length in HUGE
        elif base == "LENGTH":
            for length in LENGTHS:
                linked = any(re.match(rf"(IN_BYTES|PIN|TEMPLATE|OUT_TEMPLATE)\({i + 1}\b", k) for _, _, k in parameters)
                # An array of templates or buffers of that many is not there: short ones, and what nobody can mean.
                if length in (0, 1) or length in HUGE or not any(re.match(rf"(TEMPLATE|OUT_TEMPLATE)\({i + 1}\b", k) for _, _, k in parameters):
                    yield {i: length}, linked and length in HUGE
        elif base in ("SESSION", "SLOT", "KEY", "OBJECT"):
            # Only C_SetOperationState may be told that there is no key, and Init of a digest has none.
            for handle in (0, 1 << 63, CK.UNAVAILABLE_INFORMATION):
                yield {i: handle}, name != "C_SetOperationState" or base == "SESSION"


def in_child(token, note, work):
    """Runs work(scene, note) in a fork; what it raises or dies of fails the test, with the last call noted."""
    note[:] = bytes(len(note))
    pid = os.fork()
    if pid == 0:
        status = 1
        signal.alarm(120)  # a call that does not come back is a finding too: the parent sees SIGALRM
        try:
            work(Scene(token))
            status = 0
        except BaseException:
            text = note[:].rstrip(b"\0") + b"\n" + traceback.format_exc().encode()
            note[:] = text[:len(note)].ljust(len(note), b"\0")
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    text = note[:].rstrip(b"\0").decode()
    if os.WIFSIGNALED(status):
        pytest.fail(f"killed by {signal.Signals(os.WTERMSIG(status)).name} in {text}")
    assert status == 0, text


@pytest.fixture(scope="module")
def original(tmp_path_factory, build):
    patch = pytest.MonkeyPatch()
    made = make_token(tmp_path_factory.mktemp("arguments") / "tokens", build / "libp11token.so", patch.setenv)
    yield made
    patch.undo()


@pytest.fixture
def copied(original, tmp_path):
    """A copy for each function: some of them change PINs."""
    shutil.copytree(original.directory, tmp_path / "tokens")
    return replace(original, directory=tmp_path / "tokens", parameters=f"directory={tmp_path}/tokens kdf-cost=4")


@pytest.fixture(scope="module")
def note():
    """Memory that the child shares, for what it is about to do."""
    return mmap.mmap(-1, 8192)


def named(rv):
    return CKR.name(rv) if not CKR.name(rv).startswith("CKR_0x") else None


@pytest.mark.parametrize("name", FUNCTIONS)
def test_odd_arguments(copied, note, name):
    def work(scene):
        if name not in ("C_Finalize", "C_InitToken"):
            note[:] = f"{name} with good arguments".encode().ljust(len(note), b"\0")
            rv = scene.call(name, {})
            assert rv != CKR.ARGUMENTS_BAD and named(rv), CKR.name(rv)
            scene.check()
        for change, refused in variants(name):
            words = ", ".join(f"{FUNCTIONS[name][1][i][1]}={v}" for i, v in change.items())
            note[:] = f"{name}: {words}".encode().ljust(len(note), b"\0")
            rv = scene.call(name, change)
            assert named(rv), f"no code of the standard: {rv:#x}"
            assert not refused or rv != CKR.OK, "accepted"
            scene.check()

    in_child(copied, note, work)


INITS = ["C_EncryptInit", "C_DecryptInit", "C_DigestInit", "C_SignInit", "C_VerifyInit", "C_SignRecoverInit", "C_VerifyRecoverInit",
         "C_MessageEncryptInit", "C_MessageDecryptInit", "C_MessageSignInit", "C_MessageVerifyInit", "C_VerifySignatureInit", "C_WrapKey",
         "C_UnwrapKey", "C_DeriveKey", "C_GenerateKey", "C_WrapKeyAuthenticated", "C_UnwrapKeyAuthenticated"]




# Structures of one size with others (mechanisms.def: GCM, PBKD2).
NAMED = {"GCM": ["CK_GCM_PARAMS", "CK_GCM_MESSAGE_PARAMS"], "PBKD2": ["CK_PKCS5_PBKD2_PARAMS2"]}
TAKES = {CKM.all()[mech.split("_", 1)[1]]: NAMED.get(what, re.findall(r"CK_\w+", what)) for mech, what in entries("mechanisms.def", "M")}


def numbers_of(kind, at: int = 0):
    """Where the numbers of a structure are, those of structures inside it as well."""
    for member, ctype in kind._fields_:
        offset = at + getattr(kind, member).offset
        if issubclass(ctype, ctypes.Structure):
            yield from numbers_of(ctype, offset)
        elif ctype is ctypes.c_ulong:
            yield offset


def filled(kind, number: int):
    """Structures whose pointers are all NULL. Of the numbers, those that say how much is behind a pointer among them, all are
    `number`, or one of them is, or all but one are."""
    places = list(numbers_of(kind))
    for chosen in [places] + [[p] for p in places] + [[q for q in places if q != p] for p in places]:
        out = bytearray(ctypes.sizeof(kind))
        for p in chosen:
            out[p:p + 8] = number.to_bytes(8, "little")
        yield bytes(out)


def parameters_of(name: str, mech: int, numbers) -> list:
    """Bytes for the parameter of a mechanism: zeros of the size of each structure and of odd sizes, numbers, and the structures
    that the mechanism takes, filled as above."""
    some = {bytes(ctypes.sizeof(k)) for k in STRUCTURES.values()} | {bytes(n) for n in (0, 1, 7, 17, 1000)}
    some |= {n.to_bytes(8, "little") for n in numbers}
    for kind in TAKES.get(mech, []):
        # One mechanism has structures of one size for several functions, with numbers of one where the other has pointers.
        if ("Authenticated" in name) == ("_MESSAGE_" in kind):
            for n in numbers:
                some.update(filled(STRUCTURES[kind], n))
    return sorted(some, key=lambda b: (len(b), b))


@pytest.mark.parametrize("name", INITS)
def test_every_mechanism_with_parameters_of_any_kind(copied, note, long, name):
    """Each with each kind of key; none of these parameters has a valid pointer in it, some are what the mechanism takes."""
    numbers = (1, 16, *HUGE[:2]) if long else (16, HUGE[1])
    parameter_kinds = [k for _, _, k in FUNCTIONS[name][1]]
    keys = [i for i, k in enumerate(parameter_kinds) if k == "KEY"][:1]
    place = parameter_kinds.index("MECHANISM")

    def work(scene):
        mechanisms = scene.module.mechanisms(scene.slot)
        assert len(mechanisms) > 50
        arguments = scene.good(name)
        lengths = [v for k, v in zip(parameter_kinds, scene.keep) if k.startswith("OUT_LENGTH")]
        memory = ctypes.create_string_buffer(ROOM)
        m = struct("CK_MECHANISM", pParameter=ctypes.addressof(memory))
        arguments[place] = ctypes.addressof(m)
        for m.mechanism in mechanisms:
            values = [(v, len(v)) for v in parameters_of(name, m.mechanism, numbers)] + [(b"", size) for size in HUGE]
            for key in (("aes", "generic", "private", "public") if long else ("aes", "private")) if keys else (None,):
                for i in keys:
                    arguments[i] = scene.keys[key]
                for value, size in values:
                    # In PBKDF2 alone a number may be meant as an address: ulPasswordLen of CK_PKCS5_PBKD2_PARAMS.
                    if m.mechanism == CKM.PKCS5_PBKD2 and any(value.endswith(n.to_bytes(8, "little")) for n in HUGE):
                        continue
                    ctypes.memmove(memory, value, len(value))
                    m.ulParameterLen = size
                    note[:] = f"{name}: {CKM.name(m.mechanism)}, key {key}, {size} bytes: {value[:400].hex()}".encode().ljust(len(note), b"\0")
                    for length in lengths:
                        length.value = ROOM
                    rv = scene.module.raw.__dict__[name](*arguments)
                    assert named(rv), f"no code of the standard: {rv:#x}"
                    assert size not in HUGE or rv != CKR.OK, "accepted"
                    if rv == CKR.OK:
                        scene.module.raw.C_SessionCancel(scene.session.handle, CK.UNAVAILABLE_INFORMATION)
            scene.check()

    in_child(copied, note, work)
