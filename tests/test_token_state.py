"""C_GetOperationState and C_SetOperationState: operations of all kinds, saved in one session and gone on with in another, in
another process, after C_Finalize; what cannot be saved; what is no state; which keys are asked for."""
import ctypes
import hashlib
import hmac
import json
import os
import subprocess
import sys
import textwrap

import pytest
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from conftest import ROOT
from cryptoki import CK, CKA, CKF, CKG, CKK, CKM, CKO, CKR, Module, Session, ULONG, struct
from symmetric import code_of, key_of, padded, python_cipher
from tokens import make_token

KEY, IV = bytes(range(32)), bytes(range(32, 48))
TEXT = bytes(i * 7 % 251 for i in range(400))
HASHES = {CKM.MD5: "md5", CKM.SHA_1: "sha1", CKM.SHA224: "sha224", CKM.SHA256: "sha256", CKM.SHA384: "sha384",
          CKM.SHA512: "sha512", CKM.SHA512_224: "sha512_224", CKM.SHA512_256: "sha512_256"}
HMACS = {CKM.MD5_HMAC: "md5", CKM.SHA_1_HMAC: "sha1", CKM.SHA224_HMAC: "sha224", CKM.SHA256_HMAC: "sha256",
         CKM.SHA384_HMAC: "sha384", CKM.SHA512_HMAC: "sha512", CKM.SHA512_224_HMAC: "sha512_224",
         CKM.SHA512_256_HMAC: "sha512_256"}
# Before, at and behind the ends of blocks of 8, 16, 64 and 128 bytes.
CUTS = [0, 1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 111, 112, 127, 128, 129, 300, 400]
NOT_ACTIVE, INVALID, UNSAVEABLE = "CKR_OPERATION_NOT_INITIALIZED", "CKR_SAVED_STATE_INVALID", "CKR_STATE_UNSAVEABLE"
CTR = (CKM.AES_CTR, struct("CK_AES_CTR_PARAMS", ulCounterBits=128, cb=IV))


def save(s) -> bytes:
    return s.output("C_GetOperationState")


def restore(s, state: bytes, cipher: int = 0, code: int = 0):
    s.call("C_SetOperationState", state, len(state), cipher, code)


def update(s, kind: str, data: bytes) -> bytes:
    if kind in ("Encrypt", "Decrypt"):
        return s.output(f"C_{kind}Update", data, len(data))
    s.call(f"C_{kind}Update", data, len(data))
    return b""


@pytest.fixture
def s(token):
    return token.session()


@pytest.fixture
def other(s, token):
    return token.session(rw=False)


def in_two(s, other, kind: str, mech, key: int, data: bytes, cut: int) -> bytes:
    """The operation, begun in one session and gone on with in the other, while the first does something else with it."""
    s.init(f"C_{kind}Init", mech, *([key] if key else []))
    out = update(s, kind, data[:cut])
    state = save(s)
    update(s, kind, b"not the data")
    restore(other, state, *((key, 0) if kind in ("Encrypt", "Decrypt") else (0, key)))
    s.module.raw.C_SessionCancel(s.handle, CK.UNAVAILABLE_INFORMATION)
    return out + update(other, kind, data[cut:]) + other.output(f"C_{kind}Final")


# --- every mechanism ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mech", HASHES, ids=HASHES.values())
def test_digests(s, other, mech):
    expected = hashlib.new(HASHES[mech], TEXT).digest()
    for cut in CUTS:
        assert in_two(s, other, "Digest", mech, 0, TEXT, cut) == expected, cut


@pytest.mark.parametrize("mech", HMACS, ids=HMACS.values())
@pytest.mark.parametrize("size", [1, 64, 200])
def test_hmacs(s, other, mech, size):
    """Keys shorter and longer than a block; whole and cut."""
    value = (KEY * 8)[:size]
    key = key_of(s, CKK.GENERIC_SECRET, value)
    expected = hmac.digest(value, TEXT, HMACS[mech])
    for cut in CUTS:
        assert in_two(s, other, "Sign", mech, key, TEXT, cut) == expected, cut
    assert in_two(s, other, "Sign", (mech + 1, 5), key, TEXT, 77) == expected[:5]


@pytest.mark.parametrize("kind, mech, value, algorithm", [
    (CKK.AES, CKM.AES_CMAC, KEY[:16], algorithms.AES), (CKK.AES, CKM.AES_CMAC, KEY[:24], algorithms.AES),
    (CKK.AES, CKM.AES_CMAC, KEY, algorithms.AES), (CKK.DES3, CKM.DES3_CMAC, KEY[:24], algorithms.TripleDES)])
def test_cmacs(s, other, kind, mech, value, algorithm):
    key = key_of(s, kind, value)
    for size in (0, 8, 16, 17, 400):
        c = CMAC(algorithm(value))
        c.update(TEXT[:size])
        expected = c.finalize()
        for cut in CUTS:
            assert in_two(s, other, "Sign", mech, key, TEXT[:size], cut) == expected, (size, cut)
    general = CKM.AES_CMAC_GENERAL if kind == CKK.AES else CKM.DES3_CMAC_GENERAL
    assert in_two(s, other, "Sign", (general, 4), key, TEXT, 33) == expected[:4]


RC2 = struct("CK_RC2_CBC_PARAMS", ulEffectiveBits=128, iv=IV[:8])
# mechanism: key type, bytes of the key, what Python computes of it (None: the token itself, in one part)
CIPHERS = {
    CKM.AES_ECB: (CKK.AES, 16, None, lambda k, d: python_cipher(algorithms.AES(k), modes.ECB(), d)),
    CKM.AES_CBC: (CKK.AES, 32, IV, lambda k, d: python_cipher(algorithms.AES(k), modes.CBC(IV), d)),
    CKM.AES_CBC_PAD: (CKK.AES, 24, IV, lambda k, d: python_cipher(algorithms.AES(k), modes.CBC(IV), padded(d, 16))),
    CKM.AES_CTR: (CKK.AES, 16, CTR[1], lambda k, d: python_cipher(algorithms.AES(k), modes.CTR(IV), d)),
    CKM.AES_OFB: (CKK.AES, 32, IV, lambda k, d: python_cipher(algorithms.AES(k), modes.OFB(IV), d)),
    CKM.AES_CFB128: (CKK.AES, 16, IV, lambda k, d: python_cipher(algorithms.AES(k), modes.CFB(IV), d)),
    CKM.AES_CFB8: (CKK.AES, 16, IV, lambda k, d: python_cipher(algorithms.AES(k), modes.CFB8(IV), d)),
    CKM.AES_CTS: (CKK.AES, 16, IV, None),
    CKM.DES3_ECB: (CKK.DES3, 24, None, lambda k, d: python_cipher(algorithms.TripleDES(k), modes.ECB(), d)),
    CKM.DES3_CBC: (CKK.DES3, 24, IV[:8], lambda k, d: python_cipher(algorithms.TripleDES(k), modes.CBC(IV[:8]), d)),
    CKM.DES3_CBC_PAD: (CKK.DES3, 24, IV[:8],
                       lambda k, d: python_cipher(algorithms.TripleDES(k), modes.CBC(IV[:8]), padded(d, 8))),
    CKM.DES_ECB: (CKK.DES, 8, None, None), CKM.DES_CBC: (CKK.DES, 8, IV[:8], None),
    CKM.DES_CBC_PAD: (CKK.DES, 8, IV[:8], None),
    CKM.RC2_ECB: (CKK.RC2, 16, 128, None), CKM.RC2_CBC: (CKK.RC2, 16, RC2, None), CKM.RC2_CBC_PAD: (CKK.RC2, 16, RC2, None),
}
PADDED = (CKM.AES_CBC_PAD, CKM.DES3_CBC_PAD, CKM.DES_CBC_PAD, CKM.RC2_CBC_PAD)
STREAMS = (CKM.AES_CTR, CKM.AES_OFB, CKM.AES_CFB128, CKM.AES_CFB8, CKM.AES_CTS)


@pytest.mark.parametrize("mech", CIPHERS, ids=[CKM.name(m)[4:] for m in CIPHERS])
def test_ciphers(s, other, mech):
    """Both ways, at every cut; twice, so that the second begins with a context that was kept."""
    kind, size, parameter, python = CIPHERS[mech]
    value = KEY[:size]
    key, how = key_of(s, kind, value), (mech, parameter)
    for length in (16, 400) if mech not in PADDED + STREAMS else (16, 399, 400):
        plain = TEXT[:length]
        sealed = s.encrypt(how, key, plain)
        assert python is None or sealed == python(value, plain)
        for cut in CUTS:
            assert in_two(s, other, "Encrypt", how, key, plain, cut) == sealed, (length, cut)
            assert in_two(s, other, "Decrypt", how, key, sealed, cut) == plain, (length, cut)


def test_counter_still_ends(s, other):
    """The bytes before the counter overflows are part of the state; a counter of zero was 2^128 - 1 before."""
    key = key_of(s, CKK.AES, KEY)
    almost = (CKM.AES_CTR, struct("CK_AES_CTR_PARAMS", ulCounterBits=8, cb=bytes(15) + b"\xfd"))
    s.init("C_EncryptInit", almost, key)
    update(s, "Encrypt", bytes(20))
    restore(other, save(s), key)
    assert code_of(other.output, "C_EncryptUpdate", bytes(29), 29) == "CKR_DATA_LEN_RANGE"
    restore(other, save(s), key)
    assert len(update(other, "Encrypt", bytes(28))) == 28
    last = b"\xff" * 15 + b"\xfe"
    sealed = python_cipher(algorithms.AES(KEY), modes.CTR(last), TEXT[:32])
    for cut in range(33):
        s.module.raw.C_SessionCancel(s.handle, CK.UNAVAILABLE_INFORMATION)
        s.init("C_EncryptInit", (CKM.AES_CTR, struct("CK_AES_CTR_PARAMS", ulCounterBits=128, cb=last)), key)
        out = update(s, "Encrypt", TEXT[:cut])
        restore(other, save(s), key)
        assert out + update(other, "Encrypt", TEXT[cut:32]) == sealed, cut
        assert code_of(other.output, "C_EncryptUpdate", b"x", 1) == "CKR_DATA_LEN_RANGE"


PSS = struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=CKM.SHA256, mgf=CKG.MGF1_SHA256, sLen=32)


@pytest.fixture
def pairs(s):
    """name: (public, private)"""
    use = {CKA.SIGN: True, CKA.PRIVATE: True}
    return {"rsa": s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048, CKA.VERIFY: True}, use),
            "ec": s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}, use)}


@pytest.mark.parametrize("key, mech", [("rsa", CKM.SHA1_RSA_PKCS), ("rsa", CKM.SHA256_RSA_PKCS), ("rsa", CKM.SHA512_RSA_PKCS),
                                       ("rsa", (CKM.SHA256_RSA_PKCS_PSS, PSS)), ("ec", CKM.ECDSA_SHA384),
                                       ("ec", CKM.ECDSA_SHA256)])
def test_signatures(s, other, pairs, key, mech):
    """Made and verified, both ways of verifying; good ones and bad ones."""
    public, private = pairs[key]
    for cut in (0, 1, 64, 100, 129):
        signature = in_two(s, other, "Sign", mech, private, TEXT, cut)
        s.verify(mech, public, TEXT, signature)
        for given, code in ((signature, "CKR_OK"), (signature[:-1] + bytes([signature[-1] ^ 1]), "CKR_SIGNATURE_INVALID")):
            s.init("C_VerifyInit", mech, public)
            update(s, "Verify", TEXT[:cut])
            restore(other, save(s), 0, public)
            update(other, "Verify", TEXT[cut:])
            assert code_of(other.call, "C_VerifyFinal", given, len(given)) == code
            s.module.raw.C_SessionCancel(s.handle, CKF.VERIFY)
            s.init("C_VerifySignatureInit", mech, public, given, len(given))
            update(s, "VerifySignature", TEXT[:cut])
            restore(other, save(s), 0, public)
            update(other, "VerifySignature", TEXT[cut:])
            assert code_of(other.call, "C_VerifySignatureFinal") == code
            s.module.raw.C_SessionCancel(s.handle, CKF.VERIFY)


def test_one_part_mechanisms_before_their_part(s, other, pairs):
    """An operation that was only begun: what is saved is that it was, and with what."""
    digest = hashlib.sha256(TEXT).digest()
    for key, mech in (("rsa", CKM.RSA_PKCS), ("rsa", (CKM.RSA_PKCS_PSS, PSS)), ("ec", CKM.ECDSA)):
        s.init("C_SignInit", mech, pairs[key][1])
        restore(other, save(s), 0, pairs[key][1])
        s.module.raw.C_SessionCancel(s.handle, CKF.SIGN)
        s.verify(mech, pairs[key][0], digest, other.output("C_Sign", digest, 32))


def test_single_part_after_restoring(s, other):
    """A state without a part leaves the choice; one with a part does not."""
    s.init("C_DigestInit", CKM.SHA256)
    restore(other, save(s))
    assert other.output("C_Digest", TEXT, len(TEXT)) == hashlib.sha256(TEXT).digest()
    update(s, "Digest", TEXT)
    restore(other, save(s))
    assert code_of(other.output, "C_Digest", TEXT, len(TEXT)) == "CKR_OPERATION_ACTIVE"


@pytest.mark.parametrize("first, second", [("Digest", "Encrypt"), ("Digest", "Decrypt"), ("Sign", "Encrypt"),
                                           ("Verify", "Decrypt")])
def test_two_operations(s, other, first, second):
    """The legal pairs, gone on with by the functions for two."""
    aes, generic = key_of(s, CKK.AES, KEY), key_of(s, CKK.GENERIC_SECRET, KEY)
    cbc, expected = (CKM.AES_CBC, IV), hmac.digest(KEY, TEXT, "sha256")
    sealed = s.encrypt(cbc, aes, TEXT)
    s.init(f"C_{first}Init", *((CKM.SHA256,) if first == "Digest" else (CKM.SHA256_HMAC, generic)))
    s.init(f"C_{second}Init", cbc, aes)
    name = f"C_{first}{second}Update" if second == "Encrypt" else f"C_{second}{first}Update"
    data, done = (TEXT, sealed) if second == "Encrypt" else (sealed, TEXT)
    out = s.output(name, data[:80], 80)
    state = save(s)
    code = 0 if first == "Digest" else generic
    assert code_of(restore, other, state, 0, code) == "CKR_KEY_NEEDED"
    restore(other, state, aes, code)
    assert out + other.output(name, data[80:], 320) == done and other.output(f"C_{second}Final") == b""
    if first == "Verify":
        other.call("C_VerifyFinal", expected, 32)
    else:
        assert other.output(f"C_{first}Final") == (expected if first == "Sign" else hashlib.sha256(TEXT).digest())


def test_digest_of_a_key(s, other):
    """The key is in the state, and a state may not show it."""
    key = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE: KEY, CKA.SENSITIVE: True,
                    CKA.EXTRACTABLE: False})
    s.init("C_DigestInit", CKM.SHA256)
    s.call("C_DigestKey", key)
    state = save(s)
    assert not any(KEY[i:i + 4] in state for i in range(28))
    restore(other, state)
    assert other.output("C_DigestFinal") == hashlib.sha256(KEY).digest()
    assert save(s) != state and len(save(s)) == len(state)


# --- what cannot be saved -----------------------------------------------------------------------------------------

def test_unsaveable(s, pairs):
    aes, generic, rc4 = key_of(s, CKK.AES, KEY), key_of(s, CKK.GENERIC_SECRET, KEY), key_of(s, CKK.RC4, KEY)
    gcm = struct("CK_GCM_PARAMS", pIv=bytes(12), ulTagBits=128)
    for kind, mech, key in [("Digest", CKM.SHA3_256, ()), ("Sign", CKM.SHA3_256_HMAC, (generic,)), ("Encrypt", CKM.RC4, (rc4,)),
                            ("Encrypt", (CKM.AES_GCM, gcm), (aes,)), ("Encrypt", CKM.AES_KEY_WRAP, (aes,)),
                            ("Encrypt", CKM.RSA_PKCS, (pairs["rsa"][0],)), ("Sign", CKM.SHA3_256_RSA_PKCS, (pairs["rsa"][1],)),
                            ("Sign", CKM.TLS10_MAC_CLIENT, (generic,))]:
        s.init(f"C_{kind}Init", mech, *key)
        assert code_of(save, s) == UNSAVEABLE, CKM.name(mech[0] if isinstance(mech, tuple) else mech)
        assert s.module.raw.C_SessionCancel(s.handle, CK.UNAVAILABLE_INFORMATION) == CKR.OK
    # What the caller's buffer did not take; two that would want the same key; one that may not be saved beside one that may.
    s.init("C_DecryptInit", (CKM.AES_CBC_PAD, IV), aes)
    sealed = s.encrypt((CKM.AES_CBC_PAD, IV), aes, TEXT)
    room = ULONG(len(TEXT) - 1)
    buffer = ctypes.create_string_buffer(len(sealed))
    assert s.module.raw.C_Decrypt(s.handle, sealed, len(sealed), buffer, ctypes.byref(room)) == CKR.BUFFER_TOO_SMALL
    assert code_of(save, s) == UNSAVEABLE
    s.module.raw.C_SessionCancel(s.handle, CK.UNAVAILABLE_INFORMATION)
    s.init("C_EncryptInit", (CKM.AES_CBC, IV), aes)
    s.init("C_DecryptInit", (CKM.AES_CBC, IV), aes)
    assert code_of(save, s) == UNSAVEABLE
    s.module.raw.C_SessionCancel(s.handle, CK.UNAVAILABLE_INFORMATION)
    s.init("C_SignRecoverInit", CKM.RSA_PKCS, pairs["rsa"][1])
    assert code_of(save, s) == NOT_ACTIVE
    s.init("C_DigestInit", CKM.SHA256)
    assert code_of(save, s) == UNSAVEABLE


def test_nothing_to_save(s):
    assert code_of(save, s) == NOT_ACTIVE
    s.call("C_FindObjectsInit", None, 0)
    assert code_of(save, s) == NOT_ACTIVE


def test_sizes(s, other):
    """5.2: the size is asked for, a small buffer loses nothing."""
    s.init("C_DigestInit", CKM.SHA256)
    update(s, "Digest", TEXT)
    size = ULONG()
    raw = s.module.raw
    assert raw.C_GetOperationState(s.handle, None, ctypes.byref(size)) == CKR.OK
    needed, buffer = size.value, ctypes.create_string_buffer(b"\xcc" * 2000, 2000)
    size.value = needed - 1
    assert raw.C_GetOperationState(s.handle, buffer, ctypes.byref(size)) == CKR.BUFFER_TOO_SMALL
    assert size.value == needed and buffer.raw == b"\xcc" * 2000
    size.value = 2000
    assert raw.C_GetOperationState(s.handle, buffer, ctypes.byref(size)) == CKR.OK and size.value == needed
    assert buffer.raw[needed:] == b"\xcc" * (2000 - needed)
    restore(other, buffer.raw[:needed])
    assert other.output("C_DigestFinal") == s.output("C_DigestFinal") == hashlib.sha256(TEXT).digest()


# --- what is no state ---------------------------------------------------------------------------------------------

def test_changed_states(s, other):
    """Every byte changed, every length cut, bytes added: none is taken, and the operation that is active stays."""
    key = key_of(s, CKK.AES, KEY)
    s.init("C_EncryptInit", (CKM.AES_CBC, IV), key)
    update(s, "Encrypt", TEXT[:100])
    state = save(s)
    other.init("C_DigestInit", CKM.SHA256)
    # While a user is logged in the token's copy of the key is there, which this process does not need: bytes 84 to 143.
    for i in range(len(state)):
        assert code_of(restore, other, state[:i] + bytes([state[i] ^ 1 << i % 8]) + state[i + 1:], key) == INVALID, i
        assert code_of(restore, other, state[:i], key) in (INVALID, "CKR_ARGUMENTS_BAD"), i
    assert code_of(restore, other, state + b"\0", key) == INVALID
    assert code_of(restore, other, bytes(len(state)), key) == INVALID
    assert other.output("C_DigestFinal") == hashlib.sha256(b"").digest()
    restore(other, state, key)


def test_state_of_another_token(s, token, tmp_path, build, monkeypatch):
    """Also of the same token before it was initialised anew."""
    s.init("C_DigestInit", CKM.SHA256)
    state = save(s)
    token.finalize()
    second = make_token(tmp_path / "second", build / "libp11token.so", monkeypatch.setenv, label="Second")
    assert code_of(restore, second.session(), state) == INVALID
    second.finalize()
    s = token.session()
    restore(s, state)
    s.close()
    token.load().init_token(token.slot(), token.so_pin, token.label)
    assert code_of(restore, token.session(login=False), state) == INVALID


# --- keys ---------------------------------------------------------------------------------------------------------

def test_keys_that_are_asked_for(s, other):
    aes, twin, changed = (key_of(s, CKK.AES, v) for v in (KEY, KEY, KEY[::-1]))
    generic, wrong = key_of(s, CKK.GENERIC_SECRET, KEY), key_of(s, CKK.GENERIC_SECRET, KEY[::-1])
    s.init("C_DigestInit", CKM.SHA256)
    state = save(s)
    for keys in ((aes, 0), (0, generic), (aes, generic)):
        assert code_of(restore, other, state, *keys) == "CKR_KEY_NOT_NEEDED"
    s.call("C_DigestFinal", ctypes.create_string_buffer(32), ctypes.byref(ULONG(32)))

    s.init("C_EncryptInit", (CKM.AES_CBC, IV), aes)
    state = save(s)
    assert code_of(restore, other, state) == "CKR_KEY_NEEDED"
    assert code_of(restore, other, state, 0, aes) == "CKR_KEY_NOT_NEEDED"
    assert code_of(restore, other, state, aes, generic) == "CKR_KEY_NOT_NEEDED"
    for key in (changed, generic, 987654321, aes + 1):
        assert code_of(restore, other, state, key) == "CKR_KEY_CHANGED"
    restore(other, state, aes)
    restore(other, state, twin)  # another object, the same key
    s.set(aes, {CKA.ENCRYPT: False})
    assert code_of(restore, other, state, aes) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    s.destroy(aes)
    assert code_of(restore, other, state, aes) == "CKR_KEY_CHANGED"
    s.module.raw.C_SessionCancel(s.handle, CK.UNAVAILABLE_INFORMATION)

    s.init("C_SignInit", CKM.SHA256_HMAC, generic)
    state = save(s)
    assert code_of(restore, other, state) == "CKR_KEY_NEEDED"
    assert code_of(restore, other, state, twin, generic) == "CKR_KEY_NOT_NEEDED"
    assert code_of(restore, other, state, 0, wrong) == "CKR_KEY_CHANGED"
    assert code_of(restore, other, state, wrong) == "CKR_KEY_NOT_NEEDED"
    restore(other, state, 0, generic)
    restore(other, state, generic)  # as NSS gives it


def test_what_was_active_is_cancelled(s, other):
    key = key_of(s, CKK.AES, KEY)
    s.init("C_DigestInit", CKM.SHA256)
    state = save(s)
    other.init("C_EncryptInit", (CKM.AES_CBC, IV), key)
    other.call("C_FindObjectsInit", None, 0)
    restore(other, state)
    assert code_of(other.output, "C_EncryptFinal") == NOT_ACTIVE
    assert code_of(other.call, "C_FindObjectsFinal") == NOT_ACTIVE
    assert other.output("C_DigestFinal") == hashlib.sha256(b"").digest()
    restore(s, state)  # its own, over itself
    assert s.output("C_DigestFinal") == hashlib.sha256(b"").digest()


def test_logins(s, token, other):
    """A state of an operation with a private key lives on over a logout, the operation itself does not."""
    value = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: KEY, CKA.TOKEN: True, CKA.PRIVATE: True,
             CKA.ENCRYPT: True, CKA.LABEL: "kept"}
    key = s.create(value)
    s.init("C_EncryptInit", (CKM.AES_CBC, IV), key)
    out, state = update(s, "Encrypt", TEXT[:100]), save(s)
    s.init("C_DigestInit", CKM.SHA256)
    s.logout()
    digest = save(s)  # the digest is all that is left
    assert code_of(restore, other, state, key) == "CKR_KEY_CHANGED"
    restore(other, digest)
    assert other.output("C_DigestFinal") == hashlib.sha256(b"").digest()
    s.login(token.pin)
    assert code_of(restore, other, state, key) == "CKR_KEY_CHANGED"
    restore(other, state, s.find_one({CKA.LABEL: "kept"}))
    assert out + update(other, "Encrypt", TEXT[100:]) == s.encrypt((CKM.AES_CBC, IV), s.find_one({CKA.LABEL: "kept"}), TEXT)


def test_pin_for_each_use(s, token, other):
    """CKA_ALWAYS_AUTHENTICATE: a restored operation wants the PIN again, whatever the saved one had."""
    use = {CKA.SIGN: True, CKA.PRIVATE: True, CKA.ALWAYS_AUTHENTICATE: True}
    public, private = s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024}, use)
    s.init("C_SignInit", CKM.SHA256_RSA_PKCS, private)
    save(s)
    s.login(token.pin, user=2)
    update(s, "Sign", TEXT)
    restore(other, save(s), 0, private)
    assert code_of(other.output, "C_SignFinal") == "CKR_USER_NOT_LOGGED_IN"
    restore(other, save(s), 0, private)
    other.login(token.pin, user=2)
    assert other.output("C_SignFinal") == s.output("C_SignFinal")


# --- other processes, and after C_Finalize ------------------------------------------------------------------------

def saved_for_later(token) -> dict:
    """States of a digest and of three operations with a token key, by name."""
    s = token.session()
    states = {}
    for label, kind in (("aes", CKK.AES), ("generic", CKK.GENERIC_SECRET)):
        s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: KEY, CKA.TOKEN: True, CKA.ENCRYPT: True,
                  CKA.SIGN: True, CKA.LABEL: label} if kind == CKK.AES else
                 {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: KEY, CKA.TOKEN: True, CKA.SIGN: True,
                  CKA.LABEL: label})
    for name, mech, label in [("Digest", CKM.SHA512, None), ("Encrypt", (CKM.AES_CFB128, IV), "aes"),
                              ("Sign", CKM.SHA384_HMAC, "generic")]:
        s.init(f"C_{name}Init", mech, *([s.find_one({CKA.LABEL: label})] if label else []))
        update(s, name, TEXT[:77])
        states[name] = save(s)
        s.module.raw.C_SessionCancel(s.handle, CK.UNAVAILABLE_INFORMATION)
    return states


def go_on(s, states: dict) -> dict:
    """What is left of each, or the code with which it is refused."""
    out = {}
    find = lambda label: (s.find({CKA.LABEL: label}) or [1])[0]  # noqa: E731
    for name, keys in (("Digest", ()), ("Encrypt", (find("aes"),)), ("Sign", (0, find("generic")))):
        out[name] = code_of(restore, s, states[name], *keys)
        if out[name] == "CKR_OK":
            out[name] = (update(s, name, TEXT[77:]) + s.output(f"C_{name}Final")).hex()
    return out


def expected() -> dict:
    return {"Digest": hashlib.sha512(TEXT).hexdigest(),
            "Encrypt": python_cipher(algorithms.AES(KEY), modes.CFB(IV), TEXT)[77:].hex(),
            "Sign": hmac.new(KEY, TEXT, "sha384").hexdigest()}


def test_after_finalize(token):
    states = saved_for_later(token)
    token.finalize()
    assert go_on(token.session(), states) == expected()


ELSEWHERE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from cryptoki import Module
from test_token_state import go_on
with Module(sys.argv[2], sys.argv[3]) as m:
    s = m.open_session(m.slot_of("Test Token"))
    states = {k: bytes.fromhex(v) for k, v in json.loads(sys.argv[5]).items()}
    before = go_on(s, states)
    s.login(sys.argv[4])
    print(json.dumps([before, go_on(s, states)]))
"""


def elsewhere(token, states: dict) -> list:
    """[without a login, with one], in another process."""
    argv = [ROOT / "tests", token.module, token.parameters, token.pin, json.dumps({k: v.hex() for k, v in states.items()})]
    p = subprocess.run([sys.executable, "-c", textwrap.dedent(ELSEWHERE), *map(str, argv)], capture_output=True, timeout=60,
                       env={**os.environ, **token.env}, check=False)
    assert p.returncode == 0, p.stderr.decode()
    return json.loads(p.stdout)


def test_in_another_process(token):
    """By the token's key: while the user is logged in there, as he was here."""
    states = saved_for_later(token)
    assert elsewhere(token, states) == [dict.fromkeys(states, INVALID), expected()]


def test_without_a_login_it_stays_in_the_process(token):
    s = token.session(login=False)
    s.init("C_DigestInit", CKM.SHA512)
    update(s, "Digest", TEXT[:77])
    states = {"Digest": save(s), "Encrypt": bytes(400), "Sign": bytes(400)}
    assert [e["Digest"] for e in elsewhere(token, states)] == [INVALID, INVALID]
    assert go_on(s, states)["Digest"] == expected()["Digest"]


def test_forked_child_has_a_key_of_its_own(token):
    """It restores what was saved under the token's key after a login, and nothing else."""
    states = saved_for_later(token)
    s = token.session(login=False)
    s.logout()
    s.init("C_DigestInit", CKM.SHA512)
    public = {**states, "Digest": save(s)}
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with Module(token.module, token.parameters) as m:
                child = m.open_session(m.slot_of(token.label))
                ok = go_on(child, states)["Digest"] == INVALID
                child.login(token.pin)
                ok &= go_on(child, states) == expected() and go_on(child, public)["Digest"] == INVALID
                status = 0 if ok else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert code_of(restore, s, public["Digest"]) == "CKR_OK"


def test_on_a_blank_token(tmp_path, build, monkeypatch):
    monkeypatch.setenv("P11TOKEN_DIR", str(tmp_path / "none"))
    with Module(build / "libp11token.so", f"directory={tmp_path}/none") as m:
        one, two = (m.open_session(m.slots()[0]) for _ in "12")
        assert in_two(one, two, "Digest", CKM.SHA256, 0, TEXT, 70) == hashlib.sha256(TEXT).digest()


# --- few sessions -------------------------------------------------------------------------------------------------

def test_max_sessions(token):
    """The setting counts the sessions of a slot; a closed one makes room."""
    token.parameters += " max-sessions=2"
    m = token.load()
    info = m.token_info(token.slot())
    assert (info["ulMaxSessionCount"], info["ulMaxRwSessionCount"]) == (2, 2)
    one, two = token.session(), token.session(rw=False)
    assert code_of(m.open_session, token.slot()) == "CKR_SESSION_COUNT"
    assert m.token_info(token.slot())["ulSessionCount"] == 2
    two.close()
    assert token.session().digest(CKM.SHA256, b"") == one.digest(CKM.SHA256, b"")
    m.close_all(token.slot())
    assert isinstance(token.session(), Session)
