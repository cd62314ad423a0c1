"""Two operations of a session with one call, such as C_DigestEncryptUpdate."""
import ctypes
import hashlib
import hmac
import random

import pytest
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from cryptoki import CKF, CKK, CKM, CKR, Guarded, ULONG, struct
from symmetric import code_of, key_of, padded, python_cipher, split

KEY, IV = bytes(range(16)), bytes(range(16, 32))
CBC_PAD, CTR = (CKM.AES_CBC_PAD, IV), (CKM.AES_CTR, struct("CK_AES_CTR_PARAMS", ulCounterBits=128, cb=IV))
NOT_ACTIVE = "CKR_OPERATION_NOT_INITIALIZED"


@pytest.fixture
def s(token):
    s = token.session()
    s.aes, s.generic = key_of(s, CKK.AES, KEY), key_of(s, CKK.GENERIC_SECRET, KEY)
    return s


def begin(s, name: str, mech=CBC_PAD):
    """Both operations of C_<name>Update."""
    cipher, mac = (mech, s.aes), (CKM.SHA256_HMAC, s.generic)
    kinds = {"Digest": (CKM.SHA256,), "Encrypt": cipher, "Decrypt": cipher, "Sign": mac, "Verify": mac}
    for kind, arguments in kinds.items():
        if kind in name:
            s.init(f"C_{kind}Init", *arguments)


def sealed_by_python(data: bytes) -> bytes:
    return python_cipher(algorithms.AES(KEY), modes.CBC(IV), padded(data, 16))


@pytest.mark.parametrize("kind", ["Digest", "Sign"])
def test_digest_or_sign_while_encrypting(s, count, kind):
    """In parts of any length: ciphertext and digest are those of the whole."""
    rnd = random.Random(kind)
    for _ in range(count(200)):
        data = rnd.randbytes(rnd.randrange(200))
        begin(s, kind + "Encrypt")
        out = b"".join(s.output(f"C_{kind}EncryptUpdate", p, len(p)) for p in split(rnd, data))
        assert out + s.output("C_EncryptFinal") == sealed_by_python(data)
        expected = hashlib.sha256(data).digest() if kind == "Digest" else hmac.digest(KEY, data, "sha256")
        assert s.output(f"C_{kind}Final") == expected


@pytest.mark.parametrize("kind", ["Digest", "Verify"])
def test_digest_or_verify_while_decrypting(s, count, kind):
    """What C_DecryptFinal gives is digested by a call of its own, as in the standard's example."""
    rnd = random.Random(kind)
    for _ in range(count(200)):
        data = rnd.randbytes(rnd.randrange(200))
        begin(s, "Decrypt" + kind)
        out = b"".join(s.output(f"C_Decrypt{kind}Update", p, len(p)) for p in split(rnd, sealed_by_python(data)))
        last = s.output("C_DecryptFinal")
        assert out + last == data
        s.call(f"C_{kind}Update", last, len(last))
        if kind == "Digest":
            assert s.output("C_DigestFinal") == hashlib.sha256(data).digest()
        else:
            s.call("C_VerifyFinal", hmac.digest(KEY, data, "sha256"), 32)


@pytest.mark.parametrize("name", ["DigestEncrypt", "SignEncrypt", "DecryptDigest", "DecryptVerify"])
def test_rules(s, name):
    """No output, nothing digested; in place; both must be active; an error of one ends both."""
    update = f"C_{name}Update"
    raw = getattr(s.module.raw, update)
    text = bytes(range(40))
    given = text if name.endswith("Encrypt") else python_cipher(algorithms.AES(KEY), modes.CTR(IV), text)
    begin(s, name, CTR)
    size = ULONG()
    assert raw(s.handle, given, 40, None, ctypes.byref(size)) == CKR.OK and size.value == 40
    size = ULONG(39)
    assert raw(s.handle, given, 40, Guarded(39).memory, ctypes.byref(size)) == CKR.BUFFER_TOO_SMALL and size.value == 40
    buffer = Guarded(40)
    ctypes.memmove(buffer.memory, given, 40)
    assert raw(s.handle, buffer.memory, 40, buffer.memory, ctypes.byref(size)) == CKR.OK
    assert buffer.take(40) == (python_cipher(algorithms.AES(KEY), modes.CTR(IV), text) if given == text else text)
    if "Digest" in name:
        assert s.output("C_DigestFinal") == hashlib.sha256(text).digest()
    elif "Sign" in name:
        assert s.output("C_SignFinal") == hmac.digest(KEY, text, "sha256")
    else:
        s.call("C_VerifyFinal", hmac.digest(KEY, text, "sha256"), 32)
    # The cipher is still active, the other is not: an error, and then neither is.
    assert code_of(s.output, update, given, 40) == NOT_ACTIVE
    cipher = "C_EncryptFinal" if name.endswith("Encrypt") else "C_DecryptFinal"
    assert code_of(s.output, cipher) == NOT_ACTIVE


def test_one_part_mechanisms_do_not_take_part(s):
    s.init("C_DigestInit", CKM.SHA256)
    s.init("C_EncryptInit", CKM.AES_KEY_WRAP, s.aes)
    assert code_of(s.output, "C_DigestEncryptUpdate", bytes(16), 16) == NOT_ACTIVE


def test_the_token_says_so(token):
    assert token.load().token_info(token.slot())["flags"] & CKF.DUAL_CRYPTO_OPERATIONS
