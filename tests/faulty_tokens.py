"""A token behind libp11faulty.so, in this process; the fixture `faulty` of test_faulty*.py, and their cases."""
import ctypes
import subprocess
from contextlib import contextmanager

import pytest

from cryptoki import CKA, CKC, CKM, CKO, CKR, CKU, CkError, Module, struct
from tokens import make_token

P256 = bytes.fromhex("06082a8648ce3d030107")


def code(call, *arguments):
    """The name of the return code."""
    try:
        call(*arguments)
        return "OK"
    except CkError as e:
        return e.name.removeprefix("CKR_")


class Probe:
    """The module with the faults of P11FAULTY, initialised: .m, .slot, and what most probes need."""

    def __init__(self, module, token):
        self.m, self.token = module, token

    @property
    def slot(self):
        """The slot of the token; by its number if a fault hides its label."""
        labels = {self.m.token_info(i)["label"]: i for i in self.m.slots()}
        return labels.get(self.token.label, self.m.slots()[0])

    def rv(self, name, *arguments):
        """The name of the code that a function returns."""
        return CKR.name(getattr(self.m.raw, name)(*arguments)).removeprefix("CKR_")

    def open(self, rw=True, login=False):
        s = self.m.open_session(self.slot, rw)
        if login:
            s.login(self.token.pin)
        return s

    def state(self, session):
        return session.info()["state"]

    def login(self, session, pin=None, user=CKU.USER):
        return code(session.login, self.token.pin if pin is None else pin, user)

    def key(self, session, ident=b"k", **more):
        """(public, private): a P-256 pair on the token."""
        return session.generate_pair(
            CKM.EC_KEY_PAIR_GEN, {CKA.TOKEN: True, CKA.EC_PARAMS: P256, CKA.VERIFY: True, CKA.ID: ident, **more},
            {CKA.TOKEN: True, CKA.PRIVATE: True, CKA.SENSITIVE: True, CKA.SIGN: True, CKA.ID: ident, **more})

    def certificate(self, session, label="cert", ident=b"k", **more):
        return session.create({
            CKA.CLASS: CKO.CERTIFICATE, CKA.CERTIFICATE_TYPE: CKC.X_509, CKA.TOKEN: True, CKA.PRIVATE: False,
            CKA.SUBJECT: b"\x30\x00", CKA.ISSUER: b"\x30\x00", CKA.SERIAL_NUMBER: b"\x02\x01\x07",
            CKA.VALUE: b"\x30\x03\x02\x01\x01", CKA.ID: ident, CKA.LABEL: label, **more})

    def secret(self, session, token=False, **more):
        return session.generate_key(CKM.AES_KEY_GEN, {CKA.TOKEN: token, CKA.VALUE_LEN: 32, CKA.ENCRYPT: True, **more})

    def attribute(self, session, obj, kind, room=256):
        """(code, length, value) of one attribute, asked for with a buffer of this size; None: without."""
        buffer = ctypes.create_string_buffer(room + 64) if room is not None else None
        a = struct("CK_ATTRIBUTE", type=kind, ulValueLen=room or 0)
        a.pValue = ctypes.addressof(buffer) if buffer is not None else None
        rv = self.rv("C_GetAttributeValue", session.handle, obj, ctypes.byref(a), 1)
        length = a.ulValueLen if a.ulValueLen < 2 ** 63 else -1
        return rv, length, buffer.raw[:length] if buffer is not None and length >= 0 else None


class Faulty:
    def __init__(self, build, token, setenv):
        self.build, self.token, self.setenv = build, token, setenv
        setenv("P11FAULTY_MODULE", str(build / "libp11token.so"))

    @contextmanager
    def __call__(self, faults):
        """The probe of a module with these faults."""
        self.setenv("P11FAULTY", "none")
        Module(self.build / "libp11faulty.so")  # forgets what an earlier fault has counted
        self.setenv("P11FAULTY", faults)
        module = Module(self.build / "libp11faulty.so", self.token.parameters)
        module.initialize()
        try:
            yield Probe(module, self.token)
        finally:
            module.raw.C_Finalize(None)


@pytest.fixture
def faulty(build, tmp_path, monkeypatch):
    """faulty(FAULTS) is a context: a fresh token behind the faulty module, and another in a second slot."""
    token = make_token(tmp_path / "tokens", build / "libp11token.so", monkeypatch.setenv)
    subprocess.run([build / "p11token", "init", "--label", "Second", "--kdf-cost", "4", "--pin", token.pin, "--so-pin",
                    token.so_pin], check=True, capture_output=True, timeout=60)
    return Faulty(build, token, monkeypatch.setenv)


class Cases(dict):
    """@cases(FAULT, what it returns without the fault, what with it) def probe(p): ..."""

    def __call__(self, fault, healthy, broken):
        def add(probe):
            assert fault not in self
            self[fault] = (probe, healthy, broken)
            return probe
        return add

    def check(self, faulty, fault):
        probe, healthy, broken = self[fault]
        with faulty("none") as p:
            seen = probe(p)
            assert seen == healthy, f"without the fault: {seen}"
        with faulty(fault) as p:
            seen = probe(p)
            assert seen == broken, f"with the fault: {seen}"
