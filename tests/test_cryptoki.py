"""The ctypes binding itself, tried on SoftHSM and compared with the tables it is made of."""
import ctypes
import hashlib
from pathlib import Path

import pytest

import cryptoki
from cryptoki import CKA, CKF, CKK, CKM, CKO, CKR, CkError, Module

CASES = Path(__file__).parent / "cases" / "spec"


def test_structures_have_the_layout_of_the_standard():
    for line in (CASES / "layout.tsv").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, member, *numbers = line.split("\t")
        kind = cryptoki.STRUCTURES[name]
        if member:
            field = getattr(kind, member)
            assert [field.offset, field.size] == [int(n) for n in numbers], line
        else:
            assert [ctypes.sizeof(kind)] == [int(n) for n in numbers], line


def test_constants_have_the_values_of_the_standard():
    lines = [x.split("\t") for x in (CASES / "constants.tsv").read_text().splitlines() if not x.startswith("#")]
    assert len(lines) > 500
    for name, value, *_ in lines:
        prefix, rest = name.split("_", 1)
        assert getattr(getattr(cryptoki, prefix), rest) == int(value, 0), name


def test_lengths_in_structures_are_filled_in():
    p = cryptoki.struct("CK_GCM_PARAMS", pIv=b"x" * 12, pAAD=b"header", ulTagBits=128)
    assert (p.ulIvLen, p.ulAADLen, p.ulTagBits) == (12, 6, 128)
    assert ctypes.string_at(p.pAAD, 6) == b"header"


@pytest.fixture
def session(softhsm, monkeypatch):
    monkeypatch.setenv("SOFTHSM2_CONF", softhsm.env["SOFTHSM2_CONF"])
    with Module(softhsm.module) as m:
        s = m.open_session(m.slot_of(softhsm.label))
        s.login(softhsm.pin)
        yield s


def test_info_and_lists(session):
    m = session.module
    assert m.version == (2, 40) and not hasattr(m.raw, "C_GetInterface")
    slot = session.info()["slotID"]
    assert slot in m.slots() and m.slot_info(slot)["flags"] & CKF.TOKEN_PRESENT
    assert CKM.AES_GCM in m.mechanisms(slot)
    assert m.mechanism_info(slot, CKM.RSA_PKCS)["flags"] & CKF.SIGN
    assert session.info()["state"] == cryptoki.CKS.RW_USER_FUNCTIONS


def test_objects(session):
    h = session.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: False, CKA.LABEL: "x", CKA.VALUE: b"abc"})
    assert session.get(h, CKA.LABEL) == b"x" and session.get_ulong(h, CKA.CLASS) == CKO.DATA
    assert session.get_many(h, [CKA.VALUE, CKA.MODULUS]) == {CKA.VALUE: b"abc", CKA.MODULUS: None}
    session.set(h, {CKA.LABEL: "y"})
    assert session.find_one({CKA.LABEL: "y"}) == h
    copy = session.copy(h, {CKA.LABEL: "z"})
    assert sorted(session.find({CKA.CLASS: CKO.DATA})) == sorted([h, copy])
    session.destroy(h)
    with pytest.raises(CkError) as e:
        session.get(h, CKA.LABEL)
    assert (e.value.name, e.value.function) == ("CKR_OBJECT_HANDLE_INVALID", "C_GetAttributeValue")


def test_operations(session):
    assert session.digest(CKM.SHA256, b"abc") == hashlib.sha256(b"abc").digest()
    assert session.digest_parts(CKM.SHA256, [b"a", b"bc"]) == hashlib.sha256(b"abc").digest()
    # FIPS 197, appendix C.1
    key = session.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: bytes(range(16)),
                          CKA.ENCRYPT: True, CKA.DECRYPT: True, CKA.TOKEN: False})
    text = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert session.encrypt(CKM.AES_ECB, key, text).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    cbc = (CKM.AES_CBC_PAD, bytes(16))
    assert session.decrypt_parts(cbc, key, [session.encrypt_parts(cbc, key, [b"two ", b"parts"])]) == b"two parts"
    gcm = (CKM.AES_GCM, cryptoki.structs.GCM_PARAMS(pIv=b"n" * 12, ulIvBits=96, pAAD=b"aad", ulTagBits=128))
    assert session.decrypt(gcm, key, session.encrypt(gcm, key, b"secret")) == b"secret"
    public, private = session.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN,
                                            {CKA.MODULUS_BITS: 1024, CKA.PUBLIC_EXPONENT: b"\1\0\1", CKA.VERIFY: True},
                                            {CKA.SIGN: True, CKA.SENSITIVE: True})
    signature = session.sign(CKM.SHA256_RSA_PKCS, private, b"text")
    session.verify_parts(CKM.SHA256_RSA_PKCS, public, [b"te", b"xt"], signature)
    with pytest.raises(CkError, match="CKR_SIGNATURE_INVALID"):
        session.verify(CKM.SHA256_RSA_PKCS, public, b"texT", signature)
    assert session.get_many(private, [CKA.PRIVATE_EXPONENT])[CKA.PRIVATE_EXPONENT] is None
    assert len(session.random(33)) == 33
    assert session.module.raw.C_GetSessionInfo(0, bytes(64)) == CKR.SESSION_HANDLE_INVALID
