"""Ciphers of libp11token.so against published answers, and against python3-cryptography on random data."""
import ctypes
import random

import pytest
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from cryptoki import CKK, CKM, CKR, Guarded, ULONG
from cipher_answers import COUNTER, GCM_AAD, GCM_IV, IV, K128, K256, KNOWN, TEXT, ccm, chacha, counter, gcm, nss_gcm
from symmetric import ONE_PART, code_of, key_of, padded, python_cipher, split, type_of


@pytest.fixture
def s(token):
    return token.session()


def in_place(s, init: str, call: str, mech, key: int, data: bytes, room: int) -> bytes:
    """The operation with input and output in the same memory of `room` bytes."""
    buffer = Guarded(room)
    ctypes.memmove(buffer.memory, data, len(data))
    size = ULONG(room)
    s.init(init, mech, key)
    s.call(call, buffer.memory, len(data), buffer.memory, ctypes.byref(size))
    return buffer.take(size.value)


def check_both_ways(s, rnd, mech, key: int, plain: bytes, sealed: bytes):
    """One part, several parts and in place, twice, so that the second time meets what the first left behind."""
    for _ in range(2):
        assert s.encrypt(mech, key, plain) == sealed
        assert s.decrypt(mech, key, sealed) == plain
        room = max(len(plain), len(sealed)) + 16
        assert in_place(s, "C_EncryptInit", "C_Encrypt", mech, key, plain, room) == sealed
        assert in_place(s, "C_DecryptInit", "C_Decrypt", mech, key, sealed, room) == plain
        if type_of(mech) not in ONE_PART:
            assert s.encrypt_parts(mech, key, split(rnd, plain)) == sealed
            assert s.decrypt_parts(mech, key, split(rnd, sealed)) == plain


def test_published_answers(s):
    """Every vector above, encrypted and decrypted in every way of calling."""
    rnd = random.Random(3)
    for mech, kind, key, plain, sealed in KNOWN:
        handle = key_of(s, kind, key)
        try:
            check_both_ways(s, rnd, mech, handle, plain, sealed)
        except Exception as e:
            what = f"{CKM.name(type_of(mech))}, a key of {len(key)} bytes, {len(plain)} bytes of text"
            raise AssertionError(f"{what}: {e}") from e


# --- random data against python3-cryptography ---

def cts_cs1(key: bytes, iv: bytes, data: bytes) -> bytes:
    """CBC-CS1 of NIST's addendum to SP 800-38A, section 3: the last but one block of ciphertext is cut short."""
    short = -len(data) % 16
    c = python_cipher(algorithms.AES(key), modes.CBC(iv), data + bytes(short))
    return c[:len(c) - 16 - short] + c[-16:]


def random_case(rnd, name: str):
    """(mechanism, key type, key, plain, sealed) of random content."""
    key, iv, data = rnd.randbytes(rnd.choice((16, 24, 32))), rnd.randbytes(16), rnd.randbytes(rnd.randrange(200))
    whole = data[:len(data) // 16 * 16]
    aes = algorithms.AES(key)
    aad, tag = rnd.randbytes(rnd.randrange(40)), rnd.choice((12, 13, 14, 15, 16))
    if name == "AES_CBC_PAD":
        return (CKM.AES_CBC_PAD, iv), CKK.AES, key, data, python_cipher(aes, modes.CBC(iv), padded(data, 16))
    if name in ("AES_CBC", "AES_ECB"):
        parameter, mode = (iv, modes.CBC(iv)) if name == "AES_CBC" else (None, modes.ECB())
        return (getattr(CKM, name), parameter), CKK.AES, key, whole, python_cipher(aes, mode, whole)
    if name in ("AES_OFB", "AES_CFB8", "AES_CFB128"):
        mode = {"AES_OFB": modes.OFB, "AES_CFB8": modes.CFB8, "AES_CFB128": modes.CFB}[name](iv)
        return (getattr(CKM, name), iv), CKK.AES, key, data, python_cipher(aes, mode, data)
    if name == "AES_CTR":
        bits = rnd.randrange(5, 129)
        block = iv[:15] + bytes([iv[15] & 0x0f])  # the counter's lowest bits begin low: no overflow
        return (CKM.AES_CTR, counter(block, bits)), CKK.AES, key, data, python_cipher(aes, modes.CTR(block), data)
    if name == "AES_CTS":
        data += bytes(16)
        return (CKM.AES_CTS, iv), CKK.AES, key, data, cts_cs1(key, iv, data)
    if name == "AES_GCM":
        nonce = rnd.randbytes(rnd.choice((12, 8, 13, 16, 60, 128)))
        full = AESGCM(key).encrypt(nonce, data, aad)
        parameter = rnd.choice((gcm, nss_gcm))(nonce, aad, 8 * tag)
        return (CKM.AES_GCM, parameter), CKK.AES, key, data, full[:len(data) + tag]
    if name == "AES_CCM":
        nonce, tag = rnd.randbytes(rnd.randrange(7, 14)), rnd.choice((4, 6, 8, 10, 12, 14, 16))
        return ((CKM.AES_CCM, ccm(nonce, aad, tag, len(data))), CKK.AES, key, data,
                AESCCM(key, tag).encrypt(nonce, data, aad))
    if name == "CHACHA20_POLY1305":
        key = rnd.randbytes(32)
        return ((CKM.CHACHA20_POLY1305, chacha(iv[:12], aad)), CKK.CHACHA20, key, data,
                ChaCha20Poly1305(key).encrypt(iv[:12], data, aad))
    if name in ("DES3_ECB", "DES3_CBC", "DES3_CBC_PAD"):
        key = key[:24] if len(key) > 16 else key
        kind = CKK.DES3 if len(key) == 24 else CKK.DES2
        whole = padded(data, 8) if name == "DES3_CBC_PAD" else whole
        mode = modes.ECB() if name == "DES3_ECB" else modes.CBC(iv[:8])
        plain = data if name == "DES3_CBC_PAD" else whole
        return ((getattr(CKM, name), None if name == "DES3_ECB" else iv[:8]), kind, key, plain,
                python_cipher(algorithms.TripleDES(key), mode, whole))
    raise ValueError(name)


RANDOM = ["AES_ECB", "AES_CBC", "AES_CBC_PAD", "AES_OFB", "AES_CFB8", "AES_CFB128", "AES_CTR", "AES_CTS", "AES_GCM",
          "AES_CCM", "CHACHA20_POLY1305", "DES3_ECB", "DES3_CBC", "DES3_CBC_PAD"]


@pytest.mark.parametrize("name", RANDOM)
def test_random_data(s, count, name):
    """Random keys, nonces, lengths and splits, on one session, as another implementation has it."""
    rnd = random.Random(name)
    for _ in range(count(100)):
        mech, kind, key, plain, sealed = random_case(rnd, name)
        handle = key_of(s, kind, key)
        check_both_ways(s, rnd, mech, handle, plain, sealed)
        s.destroy(handle)


def test_empty_data(s):
    """No data: of any cipher that takes it, with and without an address."""
    aes = key_of(s, CKK.AES, K128)
    cases = [(CKM.AES_ECB, b""), ((CKM.AES_CBC, IV), b""), ((CKM.AES_CTR, COUNTER), b""), ((CKM.AES_CFB8, IV), b""),
             ((CKM.AES_CBC_PAD, IV), python_cipher(algorithms.AES(K128), modes.CBC(IV), bytes([16]) * 16)),
             ((CKM.AES_GCM, gcm(GCM_IV, GCM_AAD)), AESGCM(K128).encrypt(GCM_IV, b"", GCM_AAD)),
             ((CKM.AES_CCM, ccm(GCM_IV, GCM_AAD, 8, 0)), AESCCM(K128, 8).encrypt(GCM_IV, b"", GCM_AAD)),
             ((CKM.AES_CCM, ccm(GCM_IV, b"", 8, 0)), AESCCM(K128, 8).encrypt(GCM_IV, b"", b""))]
    for mech, sealed in cases:
        for data in (b"", None):
            size, out = ULONG(64), Guarded(64)
            s.init("C_EncryptInit", mech, aes)
            s.call("C_Encrypt", data, 0, out.memory, ctypes.byref(size))
            assert out.take(size.value) == sealed
        assert s.encrypt_parts(mech, aes, []) == sealed
        assert s.decrypt(mech, aes, sealed) == b""
        assert s.decrypt_parts(mech, aes, [sealed]) == b""


@pytest.mark.parametrize("mech, block", [((CKM.AES_CBC_PAD, IV), 16), ((CKM.AES_CBC, IV), 16), (CKM.AES_ECB, 16),
                                         ((CKM.DES3_CBC_PAD, IV[:8]), 8), ((CKM.AES_CTR, COUNTER), 1),
                                         ((CKM.AES_CTS, IV), 1)])
def test_updates_in_place(s, count, mech, block):
    """Parts in place: what one Update gives is where its input was, whatever is left over from the part before."""
    rnd = random.Random(4)
    key = key_of(s, CKK.DES3 if block == 8 else CKK.AES, bytes(range(24)))
    for _ in range(count(100)):
        data = rnd.randbytes(16 * rnd.randrange(2, 12))
        sealed = s.encrypt(mech, key, data)
        for way, source, expected in (("C_Encrypt", data, sealed), ("C_Decrypt", sealed, data)):
            s.init(way + "Init", mech, key)
            out = b""
            for part in split(rnd, source):
                buffer, size = Guarded(len(part) + 32), ULONG(len(part) + 32)
                ctypes.memmove(buffer.memory, part, len(part))
                s.call(way + "Update", buffer.memory, len(part), buffer.memory, ctypes.byref(size))
                out += buffer.take(size.value)
            assert out + s.output(way + "Final") == expected


def test_output_that_overlaps_its_input(s):
    """Shifted by a few bytes either way the result is still right."""
    key = key_of(s, CKK.AES, K128)
    for mech in ((CKM.AES_CBC, IV), (CKM.AES_CTR, COUNTER), (CKM.AES_GCM, gcm(GCM_IV))):
        expected = s.encrypt(mech, key, TEXT)
        for shift in (-17, -16, -1, 1, 15, 33):
            memory = ctypes.create_string_buffer(256)
            source = ctypes.addressof(memory) + 64
            ctypes.memmove(source, TEXT, len(TEXT))
            size = ULONG(len(expected))
            s.init("C_EncryptInit", mech, key)
            target = (ctypes.c_ubyte * 100).from_address(source + shift)
            s.call("C_Encrypt", (ctypes.c_ubyte * 64).from_address(source), 64, target, ctypes.byref(size))
            assert bytes(target)[:size.value] == expected


def test_sizes_asked_for(s):
    """A size query answers at least what is needed, and exactly that where the length follows from the input."""
    aes = key_of(s, CKK.AES, K128)
    size = ULONG()
    exact = [((CKM.AES_CBC_PAD, IV), 20, 32), ((CKM.AES_CBC_PAD, IV), 32, 48), ((CKM.AES_CTR, COUNTER), 20, 20),
             ((CKM.AES_GCM, gcm(GCM_IV, b"", 96)), 20, 32), ((CKM.AES_CTS, IV), 20, 20), (CKM.AES_KEY_WRAP, 24, 32),
             (CKM.AES_KEY_WRAP_KWP, 20, 32), (CKM.AES_KEY_WRAP_PKCS7, 24, 40)]
    for mech, given, wanted in exact:
        s.init("C_EncryptInit", mech, aes)
        for _ in range(2):
            s.call("C_Encrypt", bytes(given), given, None, ctypes.byref(size))
            assert size.value == wanted
        # One byte less is not enough, is told, and loses nothing.
        size, small = ULONG(wanted - 1), Guarded(wanted - 1)
        rv = s.module.raw.C_Encrypt(s.handle, bytes(given), given, small.memory, ctypes.byref(size))
        assert (rv, size.value) == (CKR.BUFFER_TOO_SMALL, wanted)
        assert len(s.output("C_Encrypt", bytes(given), given)) == wanted


@pytest.mark.parametrize("mech", [(CKM.AES_CBC_PAD, IV), CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PKCS7])
def test_buffer_of_just_the_right_size(s, mech):
    """Where the length shows only after decrypting: too small a buffer is told it, and the next call gets the data."""
    key = key_of(s, CKK.AES, K128)
    for length in (9, 16, 17, 25):
        plain = bytes(range(length))
        sealed = s.encrypt(mech, key, plain)
        size = ULONG(length)
        s.init("C_DecryptInit", mech, key)
        buffer = Guarded(length)
        s.call("C_Decrypt", sealed, len(sealed), buffer.memory, ctypes.byref(size))
        assert buffer.take(size.value) == plain
        s.init("C_DecryptInit", mech, key)
        for _ in range(2):
            size, small = ULONG(length - 1), Guarded(length - 1)
            rv = s.module.raw.C_Decrypt(s.handle, sealed, len(sealed), small.memory, ctypes.byref(size))
            assert (rv, size.value) == (CKR.BUFFER_TOO_SMALL, length)
            assert small.take(length - 1) == b"\xcc" * (length - 1)
        assert s.output("C_Decrypt", sealed, len(sealed)) == plain
        assert code_of(s.output, "C_Decrypt", sealed, len(sealed)) == "CKR_OPERATION_NOT_INITIALIZED"


def test_updates_give_out_what_they_can(s):
    """5.2: as much output as can be computed, so with padding the last block only is held back on the way back."""
    key = key_of(s, CKK.AES, K128)
    mech = (CKM.AES_CBC_PAD, IV)
    s.init("C_EncryptInit", mech, key)
    assert [len(s.output("C_EncryptUpdate", bytes(n), n)) for n in (15, 1, 17, 31)] == [0, 16, 16, 32]
    assert len(s.output("C_EncryptFinal")) == 16
    s.init("C_DecryptInit", mech, key)
    sealed = s.encrypt(mech, key, bytes(40))
    cuts = (0, 16), (16, 17), (17, 48)
    assert [len(s.output("C_DecryptUpdate", sealed[a:b], b - a)) for a, b in cuts] == [0, 16, 16]
    assert len(s.output("C_DecryptFinal")) == 8


def test_nothing_decrypted_before_the_tag(s):
    """AEAD: Updates give out nothing; a wrong tag gives out nothing at all, and the buffer has no plaintext in it."""
    aes, cha = key_of(s, CKK.AES, K128), key_of(s, CKK.CHACHA20, K256)
    plain = bytes(range(64))
    for mech, key in (((CKM.AES_GCM, gcm(GCM_IV, GCM_AAD)), aes), ((CKM.AES_CCM, ccm(GCM_IV, GCM_AAD, 16, 64)), aes),
                      ((CKM.CHACHA20_POLY1305, chacha(GCM_IV, GCM_AAD)), cha)):
        sealed = s.encrypt(mech, key, plain)
        s.init("C_DecryptInit", mech, key)
        assert s.output("C_DecryptUpdate", sealed[:70], 70) == b""
        assert s.output("C_DecryptUpdate", sealed[70:], 10) == b""
        assert s.output("C_DecryptFinal") == plain
        for i in (0, 63, 64, 79):
            bad = sealed[:i] + bytes([sealed[i] ^ 0x80]) + sealed[i + 1:]
            assert code_of(s.decrypt, mech, key, bad) == "CKR_ENCRYPTED_DATA_INVALID"
            assert code_of(s.decrypt_parts, mech, key, [bad[:20], bad[20:]]) == "CKR_ENCRYPTED_DATA_INVALID"
            buffer, size = Guarded(64), ULONG(64)
            s.init("C_DecryptInit", mech, key)
            rv = s.module.raw.C_Decrypt(s.handle, bad, 80, buffer.memory, ctypes.byref(size))
            assert rv == CKR.ENCRYPTED_DATA_INVALID
            assert plain[:8] not in buffer.memory.raw and plain[8:16] not in buffer.memory.raw
        assert code_of(s.decrypt, mech, key, sealed[:15]) == "CKR_ENCRYPTED_DATA_LEN_RANGE"
        assert code_of(s.decrypt_parts, mech, key, [sealed[:15]]) == "CKR_ENCRYPTED_DATA_LEN_RANGE"
