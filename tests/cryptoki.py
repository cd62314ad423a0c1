"""A PKCS #11 module driven from Python through ctypes.

    with Module(path, parameters="directory=/tmp/x kdf-cost=4") as m:
        s = m.open_session(m.slots()[0])
        s.login("1234")
        public, private = s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048}, {CKA.TOKEN: True})
        signature = s.sign((CKM.SHA256_RSA_PKCS), private, b"text")

A mechanism is an int or (int, parameter): bytes, an int (CK_ULONG) or a structure (cryptoki.struct, cryptoki.structs).
A template is a dict; values are bool, int (CK_ULONG), bytes, str, None (empty), a list of ints, or a dict (a template in a
template).  Whatever is not CKR_OK raises CkError; m.raw has the plain functions, which return the code.
Every output buffer is guarded: a module that writes behind its end fails the test."""
import ctypes
import os

from cryptoki_types import (CK, CKA, CKC, CKD, CKF, CKG, CKH, CKK, CKM, CKN, CKO, CKP, CKR, CKS, CKT, CKU, CKV,  # noqa: F401
                            CKZ, FUNCTIONS, STRUCTURES, Struct, prototype, struct, structs)

GUARD = b"\xa5\x5a" * 8
ULONG = ctypes.c_ulong
RTLD_LAZY = 1


class CkError(Exception):
    """A function that did not return CKR_OK."""

    def __init__(self, function: str, rv: int):
        self.function, self.rv, self.name = function, rv, CKR.name(rv)
        super().__init__(f"{function}: {self.name}")


def value_of(value):
    """A ctypes object with the bytes of an attribute or a parameter, or None."""
    if value is None:
        return None
    if isinstance(value, bool):
        return ctypes.c_ubyte(value)
    if isinstance(value, int):
        return ULONG(value)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, dict):
        return template(value)
    if isinstance(value, (list, tuple)):
        return (ULONG * len(value))(*value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return (ctypes.c_ubyte * len(value)).from_buffer_copy(value)
    return value


def template(attributes: dict):
    """An array of CK_ATTRIBUTE; `keep` holds the values."""
    array = (STRUCTURES["CK_ATTRIBUTE"] * len(attributes))()
    array.keep = [value_of(v) for v in attributes.values()]
    for entry, kind, value in zip(array, attributes, array.keep):
        entry.type = kind
        entry.pValue = ctypes.addressof(value) if value is not None else None
        entry.ulValueLen = ctypes.sizeof(value) if value is not None else 0
    return array


def mechanism(mech) -> Struct:
    """A CK_MECHANISM of an int or (int, parameter)."""
    kind, parameter = mech if isinstance(mech, tuple) else (mech, None)
    value = value_of(parameter)
    out = struct("CK_MECHANISM", mechanism=kind)
    if value is not None:
        out.fill("pParameter", value)
        out.ulParameterLen = ctypes.sizeof(value)
    return out


class Guarded:
    """An output buffer of `size` bytes with a pattern behind it."""

    def __init__(self, size: int):
        self.size = size
        self.memory = ctypes.create_string_buffer(b"\xcc" * size + GUARD, size + len(GUARD))

    def take(self, length: int) -> bytes:
        raw = self.memory.raw
        assert raw[self.size:] == GUARD, f"the module wrote behind the end of a buffer of {self.size} bytes"
        assert length <= self.size, f"the module says that it wrote {length} bytes into {self.size}"
        return raw[:length]


class Raw:
    """The functions of the newest list that the module has, by name; what the list lacks is no attribute."""


class Module:
    def __init__(self, path, parameters: str = None):
        # Not CDLL(path): that binds every symbol at once, and a module under construction may lack some.
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.restype, dlopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_int]
        handle = dlopen(os.fsencode(path), RTLD_LAZY)
        if not handle:
            dlerror = ctypes.CDLL(None).dlerror
            dlerror.restype = ctypes.c_char_p
            raise OSError(dlerror().decode())
        self.path, self.parameters, self.raw = path, parameters, Raw()
        self.library = ctypes.CDLL(os.fspath(path), handle=handle)
        self._load()

    def _load(self):
        pointer = ctypes.c_void_p()
        if hasattr(self.library, "C_GetInterface"):
            for minor in (2, 0):
                version = struct("CK_VERSION", major=3, minor=minor)
                rv = prototype("C_GetInterface")(("C_GetInterface", self.library))(
                    b"PKCS 11", ctypes.addressof(version), ctypes.addressof(pointer), 0)
                if rv == CKR.OK:
                    break
            if rv:
                raise CkError("C_GetInterface", rv)
            address = STRUCTURES["CK_INTERFACE"].from_address(pointer.value).pFunctionList
        else:
            rv = prototype("C_GetFunctionList")(("C_GetFunctionList", self.library))(ctypes.addressof(pointer))
            if rv:
                raise CkError("C_GetFunctionList", rv)
            address = pointer.value
        version = STRUCTURES["CK_VERSION"].from_address(address)
        self.version = (version.major, version.minor)
        known = {"V2_40": (2, 0), "V3_0": (3, 0), "V3_2": (3, 2)}
        names = [name for name, (since, _) in FUNCTIONS.items() if known[since] <= self.version]
        places = (ctypes.c_void_p * len(names)).from_address(address + ctypes.sizeof(ctypes.c_void_p))
        for name, place in zip(names, places):
            if place:
                setattr(self.raw, name, prototype(name)(place))

    def call(self, name: str, *arguments):
        """The function of that name; CkError unless CKR_OK."""
        rv = getattr(self.raw, name)(*arguments)
        if rv:
            raise CkError(name, rv)

    def output(self, name: str, *arguments) -> bytes:
        """A function whose last two parameters are a buffer and its length: asks for the size, then for the bytes."""
        size = ULONG()
        self.call(name, *arguments, None, ctypes.byref(size))
        buffer = Guarded(size.value)
        self.call(name, *arguments, buffer.memory, ctypes.byref(size))
        return buffer.take(size.value)

    def info_of(self, name: str, kind: str, *arguments) -> dict:
        out = struct(kind)
        self.call(name, *arguments, ctypes.byref(out))
        return out.as_dict()

    def initialize(self):
        parameters = self.parameters.encode() + b"\0" if self.parameters is not None else None
        args = struct("CK_NSS_C_INITIALIZE_ARGS", flags=CKF.OS_LOCKING_OK, LibraryParameters=parameters)
        self.call("C_Initialize", ctypes.byref(args))

    def finalize(self):
        self.call("C_Finalize", None)

    def __enter__(self):
        self.initialize()
        return self

    def __exit__(self, *_):
        rv = self.raw.C_Finalize(None)
        if rv not in (CKR.OK, CKR.CRYPTOKI_NOT_INITIALIZED):
            raise CkError("C_Finalize", rv)

    def info(self) -> dict:
        return self.info_of("C_GetInfo", "CK_INFO")

    def slots(self, token_present: bool = True) -> list:
        count = ULONG()
        self.call("C_GetSlotList", token_present, None, ctypes.byref(count))
        ids = (ULONG * max(count.value, 1))()
        self.call("C_GetSlotList", token_present, ids, ctypes.byref(count))
        return list(ids)[:count.value]

    def slot_info(self, slot: int) -> dict:
        return self.info_of("C_GetSlotInfo", "CK_SLOT_INFO", slot)

    def token_info(self, slot: int) -> dict:
        return self.info_of("C_GetTokenInfo", "CK_TOKEN_INFO", slot)

    def slot_of(self, label: str) -> int:
        """The slot whose token has that label."""
        return next(i for i in self.slots() if self.token_info(i)["label"] == label)

    def mechanisms(self, slot: int) -> list:
        count = ULONG()
        self.call("C_GetMechanismList", slot, None, ctypes.byref(count))
        types = (ULONG * max(count.value, 1))()
        self.call("C_GetMechanismList", slot, types, ctypes.byref(count))
        return list(types)[:count.value]

    def mechanism_info(self, slot: int, mech: int) -> dict:
        return self.info_of("C_GetMechanismInfo", "CK_MECHANISM_INFO", slot, mech)

    def init_token(self, slot: int, so_pin, label: str):
        pin = pin_of(so_pin)
        self.call("C_InitToken", slot, pin, len(pin or b""), label.encode().ljust(32))

    def open_session(self, slot: int, rw: bool = True) -> "Session":
        handle = ULONG()
        self.call("C_OpenSession", slot, CKF.SERIAL_SESSION | (CKF.RW_SESSION if rw else 0), None, None,
                  ctypes.byref(handle))
        return Session(self, handle.value)

    def close_all(self, slot: int):
        self.call("C_CloseAllSessions", slot)


def pin_of(pin):
    return pin.encode() if isinstance(pin, str) else pin


class Session:
    def __init__(self, module: Module, handle: int):
        self.module, self.handle = module, handle

    def call(self, name: str, *arguments):
        self.module.call(name, self.handle, *arguments)

    def output(self, name: str, *arguments) -> bytes:
        return self.module.output(name, self.handle, *arguments)

    def handle_from(self, name: str, *arguments) -> int:
        out = ULONG()
        self.call(name, *arguments, ctypes.byref(out))
        return out.value

    def close(self):
        self.call("C_CloseSession")

    def info(self) -> dict:
        return self.module.info_of("C_GetSessionInfo", "CK_SESSION_INFO", self.handle)

    # --- PINs: str, bytes, or None for a NULL pointer ---

    def login(self, pin, user: int = CKU.USER):
        pin = pin_of(pin)
        self.call("C_Login", user, pin, len(pin or b""))

    def logout(self):
        self.call("C_Logout")

    def init_pin(self, pin):
        pin = pin_of(pin)
        self.call("C_InitPIN", pin, len(pin or b""))

    def set_pin(self, old, new):
        old, new = pin_of(old), pin_of(new)
        self.call("C_SetPIN", old, len(old or b""), new, len(new or b""))

    # --- objects ---

    def create(self, attributes: dict) -> int:
        t = template(attributes)
        return self.handle_from("C_CreateObject", t, len(t))

    def copy(self, obj: int, attributes: dict = None) -> int:
        t = template(attributes or {})
        return self.handle_from("C_CopyObject", obj, t, len(t))

    def destroy(self, obj: int):
        self.call("C_DestroyObject", obj)

    def size(self, obj: int) -> int:
        return self.handle_from("C_GetObjectSize", obj)

    def get(self, obj: int, kind: int) -> bytes:
        entry = struct("CK_ATTRIBUTE", type=kind)
        self.call("C_GetAttributeValue", obj, ctypes.byref(entry), 1)
        buffer = Guarded(entry.ulValueLen)
        entry.pValue = ctypes.addressof(buffer.memory)
        self.call("C_GetAttributeValue", obj, ctypes.byref(entry), 1)
        return buffer.take(entry.ulValueLen)

    def get_ulong(self, obj: int, kind: int) -> int:
        value = self.get(obj, kind)
        assert len(value) == ctypes.sizeof(ULONG), f"{CKA.name(kind)} has {len(value)} bytes"
        return int.from_bytes(value, "little")

    def get_bool(self, obj: int, kind: int) -> bool:
        value = self.get(obj, kind)
        assert value in (b"\0", b"\1"), f"{CKA.name(kind)} is {value.hex()}"
        return value == b"\1"

    def get_many(self, obj: int, kinds) -> dict:
        """One call for all; None for what is sensitive or what the object does not have."""
        allowed = (CKR.OK, CKR.ATTRIBUTE_SENSITIVE, CKR.ATTRIBUTE_TYPE_INVALID)
        entries = template(dict.fromkeys(kinds))
        buffers = {}
        for _ in range(2):
            rv = self.module.raw.C_GetAttributeValue(self.handle, obj, entries, len(entries))
            if rv not in allowed:
                raise CkError("C_GetAttributeValue", rv)
            if not buffers:
                for e in entries:
                    buffers[e.type] = Guarded(e.ulValueLen if e.ulValueLen != CK.UNAVAILABLE_INFORMATION else 0)
                    e.pValue = ctypes.addressof(buffers[e.type].memory)
                    e.ulValueLen = buffers[e.type].size
        return {e.type: None if e.ulValueLen == CK.UNAVAILABLE_INFORMATION else buffers[e.type].take(e.ulValueLen)
                for e in entries}

    def set(self, obj: int, attributes: dict):
        t = template(attributes)
        self.call("C_SetAttributeValue", obj, t, len(t))

    def find(self, attributes: dict = None, at_once: int = 64) -> list:
        t = template(attributes or {})
        self.call("C_FindObjectsInit", t, len(t))
        found, batch, count = [], (ULONG * at_once)(), ULONG()
        try:
            while True:
                self.call("C_FindObjects", batch, at_once, ctypes.byref(count))
                if not count.value:
                    return found
                found += batch[:count.value]
        finally:
            self.module.raw.C_FindObjectsFinal(self.handle)

    def find_one(self, attributes: dict) -> int:
        found = self.find(attributes)
        assert len(found) == 1, f"{len(found)} objects instead of one"
        return found[0]

    # --- operations ---

    def init(self, name: str, mech, *key):
        self.call(name, ctypes.byref(mechanism(mech)), *key)

    def parts(self, update: str, final: str, parts) -> bytes:
        """The outputs of one Update for each part and of Final, together."""
        out = [self.output(update, bytes(p), len(p)) for p in parts]
        return b"".join(out + [self.output(final)])

    def encrypt(self, mech, key: int, data: bytes) -> bytes:
        self.init("C_EncryptInit", mech, key)
        return self.output("C_Encrypt", data, len(data))

    def encrypt_parts(self, mech, key: int, parts) -> bytes:
        self.init("C_EncryptInit", mech, key)
        return self.parts("C_EncryptUpdate", "C_EncryptFinal", parts)

    def decrypt(self, mech, key: int, data: bytes) -> bytes:
        self.init("C_DecryptInit", mech, key)
        return self.output("C_Decrypt", data, len(data))

    def decrypt_parts(self, mech, key: int, parts) -> bytes:
        self.init("C_DecryptInit", mech, key)
        return self.parts("C_DecryptUpdate", "C_DecryptFinal", parts)

    def digest(self, mech, data: bytes) -> bytes:
        self.init("C_DigestInit", mech)
        return self.output("C_Digest", data, len(data))

    def digest_parts(self, mech, parts, keys=()) -> bytes:
        """`keys`: handles of secret keys whose values are digested after the parts."""
        self.init("C_DigestInit", mech)
        for part in parts:
            self.call("C_DigestUpdate", part, len(part))
        for key in keys:
            self.call("C_DigestKey", key)
        return self.output("C_DigestFinal")

    def sign(self, mech, key: int, data: bytes) -> bytes:
        self.init("C_SignInit", mech, key)
        return self.output("C_Sign", data, len(data))

    def sign_parts(self, mech, key: int, parts) -> bytes:
        self.init("C_SignInit", mech, key)
        for part in parts:
            self.call("C_SignUpdate", part, len(part))
        return self.output("C_SignFinal")

    def verify(self, mech, key: int, data: bytes, signature: bytes):
        self.init("C_VerifyInit", mech, key)
        self.call("C_Verify", data, len(data), signature, len(signature))

    def verify_parts(self, mech, key: int, parts, signature: bytes):
        self.init("C_VerifyInit", mech, key)
        for part in parts:
            self.call("C_VerifyUpdate", part, len(part))
        self.call("C_VerifyFinal", signature, len(signature))

    def sign_recover(self, mech, key: int, data: bytes) -> bytes:
        self.init("C_SignRecoverInit", mech, key)
        return self.output("C_SignRecover", data, len(data))

    def verify_recover(self, mech, key: int, signature: bytes) -> bytes:
        self.init("C_VerifyRecoverInit", mech, key)
        return self.output("C_VerifyRecover", signature, len(signature))

    # --- keys ---

    def generate_key(self, mech, attributes: dict) -> int:
        t = template(attributes)
        return self.handle_from("C_GenerateKey", ctypes.byref(mechanism(mech)), t, len(t))

    def generate_pair(self, mech, public: dict, private: dict) -> tuple:
        t1, t2, h1, h2 = template(public), template(private), ULONG(), ULONG()
        self.call("C_GenerateKeyPair", ctypes.byref(mechanism(mech)), t1, len(t1), t2, len(t2), ctypes.byref(h1),
                  ctypes.byref(h2))
        return h1.value, h2.value

    def wrap(self, mech, wrapping_key: int, key: int) -> bytes:
        return self.output("C_WrapKey", ctypes.byref(mechanism(mech)), wrapping_key, key)

    def unwrap(self, mech, key: int, wrapped: bytes, attributes: dict) -> int:
        t = template(attributes)
        return self.handle_from("C_UnwrapKey", ctypes.byref(mechanism(mech)), key, wrapped, len(wrapped), t, len(t))

    def derive(self, mech, base: int, attributes: dict) -> int:
        t = template(attributes)
        return self.handle_from("C_DeriveKey", ctypes.byref(mechanism(mech)), base, t, len(t))

    def random(self, n: int) -> bytes:
        buffer = Guarded(n)
        self.call("C_GenerateRandom", buffer.memory, n)
        return buffer.take(n)

    def seed(self, data: bytes):
        self.call("C_SeedRandom", data, len(data))
