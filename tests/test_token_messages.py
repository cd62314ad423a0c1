"""The message functions of PKCS #11 3.x on our token: known answers of OpenSSL (python3-cryptography) for each mechanism, the
rules of beginning and ending, nonces that the token makes."""
import ctypes
import hashlib
import hmac
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from asymmetric import HASHES
from cryptoki import CKA, CKD, CKF, CKG, CKK, CKM, CKR, CKU, Guarded, ULONG, struct  # noqa: F401
from nss_scene import LABEL, PIN, Scene, new_scene, pki, scene  # noqa: F401
from symmetric import code_of, key_of, split

KEY, AAD = bytes(range(32)), b"header"
NOT_ACTIVE, PARAM, ACTIVE = "CKR_OPERATION_NOT_INITIALIZED", "CKR_MECHANISM_PARAM_INVALID", "CKR_OPERATION_ACTIVE"
END = CKF.END_OF_MESSAGE
MESSAGE_FLAGS = CKF.MESSAGE_ENCRYPT | CKF.MESSAGE_DECRYPT | CKF.MESSAGE_SIGN | CKF.MESSAGE_VERIFY | CKF.MULTI_MESSAGE


class Param:
    """A parameter of a message, with the memory for nonce and tag."""

    def __init__(self, mech, iv: bytes, tag=b"\xcc" * 16, generator=CKG.NO_GENERATE, fixed=0, data_len=0):
        self.iv_, self.tag_ = ctypes.create_string_buffer(iv, len(iv)), ctypes.create_string_buffer(tag, len(tag))
        if mech == CKM.AES_GCM:
            self.it = struct("CK_GCM_MESSAGE_PARAMS", pIv=self.iv_, ulIvLen=len(iv), ulIvFixedBits=fixed, ivGenerator=generator,
                             pTag=self.tag_, ulTagBits=8 * len(tag))
        elif mech == CKM.AES_CCM:
            self.it = struct("CK_CCM_MESSAGE_PARAMS", ulDataLen=data_len, pNonce=self.iv_, ulNonceLen=len(iv),
                             ulNonceFixedBits=fixed, nonceGenerator=generator, pMAC=self.tag_, ulMACLen=len(tag))
        else:
            self.it = struct("CK_SALSA20_CHACHA20_POLY1305_MSG_PARAMS", pNonce=self.iv_, ulNonceLen=8 * len(iv), pTag=self.tag_)

    @property
    def iv(self):
        return self.iv_.raw

    @property
    def tag(self):
        return self.tag_.raw

    @property
    def given(self):
        return ctypes.addressof(self.it), ctypes.sizeof(self.it)


CIPHERS = {CKM.AES_GCM: (CKK.AES, AESGCM), CKM.AES_CCM: (CKK.AES, lambda key, tag=16: AESCCM(key, tag)),
           CKM.CHACHA20_POLY1305: (CKK.CHACHA20, ChaCha20Poly1305), CKM.NSS_CHACHA20_POLY1305: (CKK.NSS_CHACHA20, ChaCha20Poly1305)}


def encrypt(s, p, text, aad=AAD):
    return s.output("C_EncryptMessage", *p.given, aad, len(aad), text, len(text))


def decrypt(s, p, sealed, aad=AAD):
    return s.output("C_DecryptMessage", *p.given, aad, len(aad), sealed, len(sealed))


def next_part(s, what, p, data, flags=0):
    """C_EncryptMessageNext or C_DecryptMessageNext with as much room as it asks for."""
    name, size = f"C_{what}MessageNext", ULONG()
    s.call(name, *p.given, data, len(data), None, ctypes.byref(size), flags)
    buffer = Guarded(size.value)
    s.call(name, *p.given, data, len(data), buffer.memory, ctypes.byref(size), flags)
    return buffer.take(size.value)


def in_parts(s, what, p, parts, aad=AAD):
    s.call(f"C_{what}MessageBegin", *p.given, aad, len(aad))
    out = [next_part(s, what, p, part, END if i == len(parts) - 1 else 0) for i, part in enumerate(parts)]
    return out


@pytest.fixture
def s(token):
    s = token.session()
    s.keys = {m: key_of(s, kind, KEY) for m, (kind, _) in CIPHERS.items()}
    return s


# --- encryption ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mech", CIPHERS, ids=CKM.name)
def test_ciphers(s, mech, count):
    """Whole and in parts, out and in, messages of any length one after the other with one Init; the answers are OpenSSL's."""
    rnd, other = random.Random(mech), CIPHERS[mech][1](KEY)
    for what in ("Encrypt", "Decrypt"):
        s.init(f"C_Message{what}Init", mech, s.keys[mech])
    for _ in range(count(300)):
        text, aad, iv = rnd.randbytes(rnd.randrange(100)), rnd.randbytes(rnd.randrange(40)), rnd.randbytes(12)
        expected = other.encrypt(iv, text, aad)
        p = Param(mech, iv, data_len=len(text))
        assert encrypt(s, p, text, aad) + p.tag == expected and p.iv == iv
        assert decrypt(s, p, expected[:-16], aad) == text
        p = Param(mech, iv, data_len=len(text))
        out = in_parts(s, "Encrypt", p, split(rnd, text), aad)
        assert b"".join(out) + p.tag == expected
        out = in_parts(s, "Decrypt", p, split(rnd, expected[:-16]), aad)
        assert out[-1] == text and not any(out[:-1])
    for what in ("Encrypt", "Decrypt"):
        s.call(f"C_Message{what}Final")
        assert code_of(s.call, f"C_Message{what}Final") == NOT_ACTIVE


@pytest.mark.parametrize("mech, tags, ivs", [(CKM.AES_GCM, (4, 8, 12, 13, 14, 15, 16), (1, 8, 12, 16, 60)),
                                             (CKM.AES_CCM, (4, 6, 8, 10, 12, 14, 16), (7, 9, 13))])
def test_lengths(s, mech, tags, ivs):
    """Every length of tag and nonce that the mechanism has, of messages of one operation."""
    for what in ("Encrypt", "Decrypt"):
        s.init(f"C_Message{what}Init", mech, s.keys[mech])
    for iv_len in ivs:
        for tag_len in tags:
            iv, text = b"\x5a" * iv_len, b"some text"
            p = Param(mech, iv, b"\xcc" * tag_len, data_len=len(text))
            sealed = encrypt(s, p, text)
            if mech == CKM.AES_CCM:
                assert sealed + p.tag == AESCCM(KEY, tag_len).encrypt(iv, text, AAD)
            elif iv_len >= 8:
                assert sealed + p.tag == AESGCM(KEY).encrypt(iv, text, AAD)[:len(text) + tag_len]
            assert decrypt(s, p, sealed) == text


@pytest.mark.parametrize("mech", CIPHERS, ids=CKM.name)
def test_what_is_not_genuine(s, mech):
    """A changed tag, text, nonce or header: CKR_AEAD_DECRYPT_FAILED, nothing released, and the operation goes on."""
    text = bytes(range(48))
    s.init("C_MessageDecryptInit", mech, s.keys[mech])
    sealed = CIPHERS[mech][1](KEY).encrypt(bytes(12), text, AAD)
    body, tag = sealed[:-16], sealed[-16:]
    flip = lambda b: bytes([b[0] ^ 1]) + b[1:]  # noqa: E731
    for iv, t, b, aad in [(bytes(12), flip(tag), body, AAD), (bytes(12), tag, flip(body), AAD),
                          (flip(bytes(12)), tag, body, AAD), (bytes(12), tag, body, b"other")]:
        p = Param(mech, iv, t, data_len=48)
        buffer, size = Guarded(48), ULONG(48)
        rv = s.module.raw.C_DecryptMessage(s.handle, *p.given, aad, len(aad), b, 48, buffer.memory, ctypes.byref(size))
        assert rv == CKR.AEAD_DECRYPT_FAILED and text[:8] not in buffer.take(48)
        s.call("C_DecryptMessageBegin", *p.given, aad, len(aad))
        assert next_part(s, "Decrypt", p, b[:20]) == b""
        assert code_of(next_part, s, "Decrypt", p, b[20:], END) == "CKR_AEAD_DECRYPT_FAILED"
        assert code_of(next_part, s, "Decrypt", p, b[20:], END) == NOT_ACTIVE
        assert decrypt(s, Param(mech, bytes(12), tag, data_len=48), body) == text


@pytest.mark.parametrize("mech", CIPHERS, ids=CKM.name)
def test_room(s, mech):
    """A question for the length and a buffer that is too small use nothing up, also at the end of a message in parts; in place
    works."""
    text = bytes(range(40))
    expected = CIPHERS[mech][1](KEY).encrypt(bytes(12), text, AAD)
    s.init("C_MessageEncryptInit", mech, s.keys[mech])
    s.init("C_MessageDecryptInit", mech, s.keys[mech])
    raw, p = s.module.raw, Param(mech, bytes(12), data_len=40)
    size = ULONG(39)
    assert raw.C_EncryptMessage(s.handle, *p.given, AAD, 6, text, 40, Guarded(39).memory, ctypes.byref(size)) == CKR.BUFFER_TOO_SMALL
    assert size.value == 40 and p.tag == b"\xcc" * 16
    for what, given, wanted in (("Encrypt", text, expected[:-16]), ("Decrypt", expected[:-16], text)):
        s.call(f"C_{what}MessageBegin", *p.given, AAD, 6)
        first = next_part(s, what, p, given[:17])
        size = ULONG(3)
        rv = getattr(raw, f"C_{what}MessageNext")(s.handle, *p.given, given[17:], 23, Guarded(3).memory, ctypes.byref(size), END)
        assert rv == CKR.BUFFER_TOO_SMALL and len(first) + size.value == 40
        assert first + next_part(s, what, p, given[17:], END) == wanted
        assert p.tag == expected[-16:]
    buffer = Guarded(40)
    for what, given, wanted in (("Encrypt", text, expected[:-16]), ("Decrypt", expected[:-16], text)):
        ctypes.memmove(buffer.memory, given, 40)
        s.call(f"C_{what}Message", *p.given, AAD, 6, buffer.memory, 40, buffer.memory, ctypes.byref(ULONG(40)))
        assert buffer.take(40) == wanted


@pytest.mark.parametrize("what, mech", [("Encrypt", CKM.AES_GCM), ("Decrypt", CKM.AES_GCM), ("Sign", CKM.SHA256_HMAC),
                                        ("Verify", CKM.SHA256_HMAC)])
def test_rules(s, what, mech):
    """One operation of a kind, one message at a time, the end only between messages; cancelled in both ways; all of it beside
    the plain operation of the same kind."""
    cipher = "crypt" in what
    key = s.keys[mech] if cipher else key_of(s, CKK.GENERIC_SECRET, KEY)
    init, begin, whole, final = f"C_Message{what}Init", f"C_{what}MessageBegin", f"C_{what}Message", f"C_Message{what}Final"
    p = Param(CKM.AES_GCM, bytes(12))
    given, aad = (p.given, (AAD, 6)) if cipher else ((None, 0), ())
    mac = hmac.digest(KEY, b"", "sha256")

    def message(name=whole):
        out = (mac, 32) if what == "Verify" else (Guarded(64).memory, ctypes.byref(ULONG(64)))
        s.call(name, *given, *(aad if name == whole else ()), b"", 0, *out, *((END,) if cipher and name != whole else ()))

    if what == "Decrypt":
        p.tag_.raw = AESGCM(KEY).encrypt(bytes(12), b"", AAD)
    following = f"C_{what}MessageNext"
    for call in (message, lambda: s.call(begin, *given, *aad), lambda: message(following), lambda: s.call(final)):
        assert code_of(call) == NOT_ACTIVE
    s.init(init, mech, key)
    assert code_of(s.init, init, mech, key) == ACTIVE
    assert code_of(message, following) == NOT_ACTIVE
    message()
    s.call(begin, *given, *aad)
    for call in (message, lambda: s.call(begin, *given, *aad), lambda: s.call(final)):
        assert code_of(call) == ACTIVE
    message(following)
    assert code_of(message, following) == NOT_ACTIVE
    # A part with a bad argument ends the message, not the operation.
    s.call(begin, *given, *aad)
    assert code_of(s.call, following, None, 7, b"", 0, None, *((ctypes.byref(ULONG()), END) if cipher else (0,) if what == "Verify"
                                                              else (ctypes.byref(ULONG()),))) == "CKR_ARGUMENTS_BAD"
    assert code_of(message, following) == NOT_ACTIVE
    message()
    # The plain operation is another one.
    plain = (CKM.AES_CBC, bytes(16)) if cipher else mech
    s.init(f"C_{what}Init", plain, key)
    message()
    s.call(f"C_{what}Init", None, 0)
    message()
    for cancel in (lambda: s.call(init, None, 0), lambda: s.call("C_SessionCancel", getattr(CKF, f"MESSAGE_{what.upper()}"))):
        s.call(begin, *given, *aad)
        cancel()
        assert code_of(message) == NOT_ACTIVE and code_of(message, following) == NOT_ACTIVE
        s.init(init, mech, key)
    s.call("C_SessionCancel", getattr(CKF, what.upper()))  # the plain one's flag
    message()
    s.call(final)


def test_parameters(s):
    """Each member of the parameters with a wrong value, at the Init and with the message."""
    gcm, ccm, chacha = CKM.AES_GCM, CKM.AES_CCM, CKM.CHACHA20_POLY1305
    assert code_of(s.init, "C_MessageEncryptInit", (gcm, bytes(7)), s.keys[gcm]) == PARAM
    assert code_of(s.init, "C_MessageEncryptInit", (ccm, struct("CK_GCM_MESSAGE_PARAMS", ulIvLen=1)), s.keys[ccm]) == PARAM
    wrong = {gcm: [dict(ulTagBits=129), dict(ulTagBits=40), dict(ulTagBits=1 << 62), dict(pTag=None), dict(pIv=None), dict(ulIvLen=0),
                   dict(ivGenerator=5), dict(ivGenerator=1, ulIvFixedBits=96), dict(ivGenerator=3, ulIvFixedBits=33),
                   dict(ivGenerator=2, ulIvLen=1 << 40)],
             ccm: [dict(ulMACLen=5), dict(ulMACLen=18), dict(pMAC=None), dict(ulNonceLen=6), dict(ulNonceLen=14), dict(pNonce=None),
                   dict(nonceGenerator=9)],
             chacha: [dict(ulNonceLen=64), dict(ulNonceLen=11), dict(pNonce=None), dict(pTag=None)]}
    for mech, members in wrong.items():
        s.init("C_MessageEncryptInit", (mech, Param(mech, bytes(12)).it), s.keys[mech])
        for member in members:
            p = Param(mech, bytes(12), data_len=4)
            for name, value in member.items():
                setattr(p.it, name, value)
            assert code_of(encrypt, s, p, b"text") == PARAM, member
            assert code_of(s.call, "C_EncryptMessageBegin", *p.given, AAD, 6) == PARAM, member
        p = Param(mech, bytes(12), data_len=4)
        assert code_of(s.output, "C_EncryptMessage", p.given[0], p.given[1] - 1, AAD, 6, b"text", 4) == PARAM
        assert code_of(s.output, "C_EncryptMessage", None, 0, AAD, 6, b"text", 4) == PARAM
        assert encrypt(s, p, b"text") + p.tag == CIPHERS[mech][1](KEY).encrypt(bytes(12), b"text", AAD)
        # Another tag length at the end than at the beginning, and no parameter.
        for bad in ((p.given[0], p.given[1] - 1), (None, 0)):
            s.call("C_EncryptMessageBegin", *p.given, AAD, 6)
            assert code_of(s.call, "C_EncryptMessageNext", *bad, b"text", 4, Guarded(9).memory, ctypes.byref(ULONG(9)), END) == PARAM
            assert code_of(next_part, s, "Encrypt", p, b"text", END) == NOT_ACTIVE
        if mech != chacha:
            s.call("C_EncryptMessageBegin", *p.given, AAD, 6)
            assert code_of(next_part, s, "Encrypt", Param(mech, bytes(12), bytes(12), data_len=4), b"text", END) == PARAM
        s.call("C_EncryptMessageBegin", *p.given, AAD, 6)
        assert code_of(next_part, s, "Encrypt", p, b"text", 2) == "CKR_ARGUMENTS_BAD"
        s.call("C_MessageEncryptFinal")
    s.init("C_MessageEncryptInit", ccm, s.keys[ccm])
    assert code_of(encrypt, s, Param(ccm, bytes(12), data_len=5), b"text") == "CKR_DATA_LEN_RANGE"
    p = Param(ccm, bytes(12), data_len=5)
    s.call("C_EncryptMessageBegin", *p.given, AAD, 6)
    assert code_of(next_part, s, "Encrypt", p, b"more than 5") == "CKR_DATA_LEN_RANGE"
    # NSS gives the length of a nonce in bytes.
    s.init("C_MessageDecryptInit", chacha, s.keys[chacha])
    sealed = ChaCha20Poly1305(KEY).encrypt(bytes(12), b"text", AAD)
    p = Param(chacha, bytes(12), sealed[4:])
    p.it.ulNonceLen = 12
    assert decrypt(s, p, sealed[:4]) == b"text"


# --- nonces that the token makes -------------------------------------------------------------------------------------

BASE = bytes.fromhex("a1a2a3a4b1b2b3b4c1c2c3c4")


def counted(n: int, fixed: int, xor: bool) -> bytes:
    """The nth nonce of a series with that many fixed bits."""
    free = 8 * len(BASE) - fixed
    whole = int.from_bytes(BASE, "big")
    low = whole & ((1 << free) - 1)
    return ((whole - low) | (low ^ n if xor else n)).to_bytes(len(BASE), "big")


@pytest.mark.parametrize("mech", [CKM.AES_GCM, CKM.AES_CCM], ids=CKM.name)
@pytest.mark.parametrize("fixed", [0, 32, 37, 88, 95])
@pytest.mark.parametrize("xor", [False, True])
def test_counters(s, mech, fixed, xor):
    """Counters from zero, whole and in parts, though the caller gives the last nonce back instead of the first; a series comes to
    its end rather than repeat."""
    s.init("C_MessageEncryptInit", mech, s.keys[mech])
    generator = CKG.GENERATE_COUNTER_XOR if xor else CKG.GENERATE_COUNTER
    p = Param(mech, BASE, generator=generator, fixed=fixed, data_len=4)
    n = min(300, 1 << (96 - fixed))
    for i in range(n):
        sealed = encrypt(s, p, b"text") if i % 3 else b"".join(in_parts(s, "Encrypt", p, [b"te", b"xt"]))
        assert p.iv == counted(i, fixed, xor)
        assert sealed + p.tag == CIPHERS[mech][1](KEY).encrypt(p.iv, b"text", AAD)
    if n < 300:
        for _ in range(2):
            assert code_of(encrypt, s, p, b"text") == "CKR_FUNCTION_FAILED" and p.iv == counted(n - 1, fixed, xor)
    # What makes the series may not change in it.
    for other in (Param(mech, BASE, data_len=4), Param(mech, BASE, generator=generator, fixed=fixed + 1 - 2 * (fixed == 95), data_len=4),
                  Param(mech, BASE + b"\0", generator=generator, fixed=fixed, data_len=4),
                  Param(mech, BASE, generator=CKG.GENERATE_COUNTER if xor else CKG.GENERATE_COUNTER_XOR, fixed=fixed, data_len=4)):
        assert code_of(encrypt, s, other, b"text") == PARAM and other.iv[:12] == BASE
    # And with the next Init it begins again; on decryption the generator is ignored.
    s.call("C_MessageEncryptFinal")
    s.init("C_MessageEncryptInit", mech, s.keys[mech])
    s.init("C_MessageDecryptInit", mech, s.keys[mech])
    p = Param(mech, BASE, generator=generator, fixed=fixed, data_len=4)
    sealed = encrypt(s, p, b"text")
    assert p.iv == counted(0, fixed, xor)
    assert decrypt(s, p, sealed) == b"text" and p.iv == counted(0, fixed, xor)


def test_a_question_uses_no_nonce(s):
    s.init("C_MessageEncryptInit", CKM.AES_GCM, s.keys[CKM.AES_GCM])
    p = Param(CKM.AES_GCM, BASE, generator=CKG.GENERATE_COUNTER, fixed=94)
    for i in range(4):
        assert len(encrypt(s, p, b"text")) == 4  # asks first
        size = ULONG(3)
        rv = s.module.raw.C_EncryptMessage(s.handle, *p.given, AAD, 6, b"text", 4, Guarded(3).memory, ctypes.byref(size))
        assert rv == CKR.BUFFER_TOO_SMALL and p.iv == counted(i, 94, False)
    assert code_of(encrypt, s, p, b"text") == "CKR_FUNCTION_FAILED"


@pytest.mark.parametrize("generator, fixed, random_", [(CKG.GENERATE_RANDOM, 0, True), (CKG.GENERATE_RANDOM, 32, True),
                                                       (CKG.GENERATE, 29, True), (CKG.GENERATE, 33, False)])
def test_random_nonces(s, generator, fixed, random_):
    """CKG_GENERATE is random where there is room for it, else it counts."""
    s.init("C_MessageEncryptInit", CKM.AES_GCM, s.keys[CKM.AES_GCM])
    seen = set()
    for i in range(200):
        p = Param(CKM.AES_GCM, BASE, generator=generator, fixed=fixed)
        assert encrypt(s, p, b"text") + p.tag == AESGCM(KEY).encrypt(p.iv, b"text", AAD)
        shift = 96 - fixed
        assert int.from_bytes(p.iv, "big") >> shift == int.from_bytes(BASE, "big") >> shift
        assert random_ or p.iv == counted(i, fixed, False)
        seen.add(p.iv)
    assert len(seen) == 200


# --- signatures ------------------------------------------------------------------------------------------------------

def pss(name, salt=32):
    return struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=HASHES[name][0], mgf=HASHES[name][1], sLen=salt)


@pytest.fixture
def pairs(s):
    """key type: (public key, private key)"""
    made = {CKK.RSA: s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048}, {})}
    made[CKK.EC] = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}, {})
    made[CKK.EC_EDWARDS] = s.generate_pair(CKM.EC_EDWARDS_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06032b6570")}, {})
    return made


def sign_in_parts(s, parts):
    s.call("C_SignMessageBegin", None, 0)
    for part in parts[:-1]:
        s.call("C_SignMessageNext", None, 0, part, len(part), None, None)
    return s.output("C_SignMessageNext", None, 0, parts[-1], len(parts[-1]))


def verify_in_parts(s, parts, signature):
    s.call("C_VerifyMessageBegin", None, 0)
    for part in parts[:-1]:
        s.call("C_VerifyMessageNext", None, 0, part, len(part), None, 0)
    s.call("C_VerifyMessageNext", None, 0, parts[-1], len(parts[-1]), signature, len(signature))


def parameter_for(mech):
    name = CKM.name(mech)
    if name.endswith("_GENERAL"):
        return (mech, 4)
    if name.endswith("PSS"):
        found = [h for h, (digest, _) in HASHES.items() if CKM.name(digest).replace("CKM_SHA_1", "CKM_SHA1") + "_" in name]
        return (mech, pss(found[0] if found else "sha256", 20))
    return mech


def test_signatures_of_every_mechanism(s, token, pairs):
    """Whatever says CKF_MESSAGE_SIGN signs messages as C_Sign does (same bytes, or C_Verify takes them), verifies them, refuses
    others and goes on; in parts if it says CKF_MULTI_MESSAGE, and not if it does not."""
    secret = {CKK.AES: key_of(s, CKK.AES, KEY), CKK.DES3: key_of(s, CKK.DES3, bytes(range(1, 48, 2))),
              CKK.GENERIC_SECRET: key_of(s, CKK.GENERIC_SECRET, KEY)}
    dsa = s.generate_pair(CKM.DSA_KEY_PAIR_GEN, dsa_domain(), {})
    done = 0
    for mech in token.load().mechanisms(token.slot()):
        flags, name = token.load().mechanism_info(token.slot(), mech)["flags"], CKM.name(mech)
        if not flags & CKF.MESSAGE_SIGN:
            continue
        assert flags & CKF.SIGN and flags & CKF.VERIFY and flags & CKF.MESSAGE_VERIFY
        if "HMAC" in name or "CMAC" in name:
            public = private = secret[CKK.AES if "AES" in name else CKK.DES3 if "DES3" in name else CKK.GENERIC_SECRET]
        else:
            public, private = (dsa if "_DSA" in name else
                               pairs[CKK.RSA if "RSA" in name else CKK.EC if "ECDSA" in name else CKK.EC_EDWARDS])
        given, done = parameter_for(mech), done + 1
        s.init("C_MessageSignInit", given, private)
        s.init("C_MessageVerifyInit", given, public)
        for text in (b"a" * 32, b"b" * 32, bytes(32)):
            signature = s.output("C_SignMessage", None, 0, text, 32)
            s.verify(given, public, text, signature)
            if "PSS" not in name and "DSA" not in name or mech == CKM.EDDSA:
                assert signature == s.sign(given, private, text)
            s.call("C_VerifyMessage", None, 0, text, 32, signature, len(signature))
            bad = bytes([signature[0] ^ 1]) + signature[1:]
            assert code_of(s.call, "C_VerifyMessage", None, 0, text, 32, bad, len(bad)) == "CKR_SIGNATURE_INVALID"
            assert code_of(s.call, "C_VerifyMessage", None, 0, text, 32, bad, len(bad) - 1) == "CKR_SIGNATURE_LEN_RANGE"
            if flags & CKF.MULTI_MESSAGE:
                parts = [text[:5], b"", text[5:20], text[20:]]
                signature = sign_in_parts(s, parts)
                s.verify(given, public, text, signature)
                verify_in_parts(s, parts, signature)
                assert code_of(verify_in_parts, s, parts, bad[:len(signature)]) == "CKR_SIGNATURE_INVALID"
            else:
                assert code_of(s.call, "C_SignMessageBegin", None, 0) == "CKR_FUNCTION_FAILED"
                assert code_of(s.call, "C_VerifyMessageBegin", None, 0) == "CKR_FUNCTION_FAILED"
        # None of them takes a parameter for a message.
        assert code_of(s.output, "C_SignMessage", bytes(8), 8, text, 32) == PARAM
        s.call("C_MessageSignFinal")
        s.call("C_MessageVerifyFinal")
    assert done == 70


def dsa_domain():
    from cryptography.hazmat.primitives.asymmetric import dsa
    n = dsa.generate_parameters(1024).parameter_numbers()
    return {k: v.to_bytes((v.bit_length() + 7) // 8, "big") for k, v in ((CKA.PRIME, n.p), (CKA.SUBPRIME, n.q), (CKA.BASE, n.g))}


def test_signatures_against_openssl(s, pairs):
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    def other(kind):
        return serialization.load_der_public_key(s.get(pairs[kind][0], CKA.PUBLIC_KEY_INFO))

    def der(signature):
        half = len(signature) // 2
        return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    checks = [(CKK.RSA, CKM.SHA256_RSA_PKCS, lambda k, sig, t: k.verify(sig, t, padding.PKCS1v15(), hashes.SHA256())),
              (CKK.RSA, (CKM.SHA256_RSA_PKCS_PSS, pss("sha256")),
               lambda k, sig, t: k.verify(sig, t, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())),
              (CKK.EC, CKM.ECDSA_SHA384, lambda k, sig, t: k.verify(der(sig), t, ec.ECDSA(hashes.SHA384()))),
              (CKK.EC_EDWARDS, CKM.EDDSA, lambda k, sig, t: k.verify(sig, t))]
    for kind, mech, check in checks:
        s.init("C_MessageSignInit", mech, pairs[kind][1])
        for text in (b"", b"one", b"another one"):
            check(other(kind), s.output("C_SignMessage", None, 0, text, len(text)), text)
            signature = sign_in_parts(s, [text, b"", b"more"])
            check(other(kind), signature, text + b"more")
            with pytest.raises(InvalidSignature):
                check(other(kind), signature, text + b"less")
        s.call("C_MessageSignFinal")
    s.init("C_MessageSignInit", CKM.SHA512_HMAC, key_of(s, CKK.GENERIC_SECRET, KEY))
    assert s.output("C_SignMessage", None, 0, b"text", 4) == hmac.digest(KEY, b"text", "sha512")
    assert sign_in_parts(s, [b"te", b"xt"]) == hmac.digest(KEY, b"text", "sha512")


def test_the_parameter_of_the_init_is_kept(s, pairs):
    """The caller's memory is free after C_MessageSignInit."""
    from cryptoki import mechanism
    m = mechanism((CKM.RSA_PKCS_PSS, pss("sha256", 20)))
    s.call("C_MessageSignInit", ctypes.byref(m), pairs[CKK.RSA][1])
    ctypes.memset(m.pParameter, 0xff, m.ulParameterLen)
    digest = hashlib.sha256(b"text").digest()
    for _ in range(2):
        signature = s.output("C_SignMessage", None, 0, digest, 32)
        s.verify((CKM.RSA_PKCS_PSS, pss("sha256", 20)), pairs[CKK.RSA][0], digest, signature)
    assert code_of(s.output, "C_SignMessage", None, 0, digest, 31) == "CKR_DATA_LEN_RANGE"
    assert len(s.output("C_SignMessage", None, 0, digest, 32)) == 256


# --- keys and flags --------------------------------------------------------------------------------------------------

def test_flags(s, token):
    """The flags say where messages work: refused without one; what has none of them has no CKF_MULTI_MESSAGE."""
    key = {"C_MessageEncryptInit": s.keys[CKM.AES_GCM], "C_MessageSignInit": key_of(s, CKK.GENERIC_SECRET, KEY)}
    with_flag = {CKF.MESSAGE_ENCRYPT: set(), CKF.MESSAGE_DECRYPT: set()}
    for mech in token.load().mechanisms(token.slot()):
        flags = token.load().mechanism_info(token.slot(), mech)["flags"]
        for flag, names in with_flag.items():
            if flags & flag:
                names.add(mech)
                assert flags & CKF.MULTI_MESSAGE
        assert bool(flags & CKF.MESSAGE_SIGN) == bool(flags & CKF.MESSAGE_VERIFY)
        if not flags & (MESSAGE_FLAGS - CKF.MULTI_MESSAGE):
            assert not flags & CKF.MULTI_MESSAGE
        for init, k in key.items():
            if not flags & (CKF.MESSAGE_ENCRYPT if "crypt" in init else CKF.MESSAGE_SIGN):
                assert code_of(s.init, init, mech, k) == "CKR_MECHANISM_INVALID"
    assert with_flag == {CKF.MESSAGE_ENCRYPT: set(CIPHERS), CKF.MESSAGE_DECRYPT: set(CIPHERS)}


def test_keys_that_may_not(s, pairs):
    for what, flag in (("Encrypt", "ENCRYPT"), ("Decrypt", "DECRYPT"), ("Sign", "SIGN"), ("Verify", "VERIFY")):
        mech, kind = (CKM.AES_GCM, CKK.AES) if "crypt" in what else (CKM.SHA256_HMAC, CKK.GENERIC_SECRET)
        may_not = key_of(s, kind, KEY, **{flag: False})
        assert code_of(s.init, f"C_Message{what}Init", mech, may_not) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
        assert code_of(s.init, f"C_Message{what}Init", mech, pairs[CKK.RSA][0]) == "CKR_KEY_TYPE_INCONSISTENT"
        assert code_of(s.init, f"C_Message{what}Init", mech, 0) == "CKR_KEY_HANDLE_INVALID"
    assert code_of(s.init, "C_MessageSignInit", (CKM.SHA256_RSA_PKCS_PSS, bytes(5)), pairs[CKK.RSA][1]) == PARAM
    assert code_of(s.init, "C_MessageSignInit", (CKM.SHA256_RSA_PKCS_PSS, bytes(500)), pairs[CKK.RSA][1]) == PARAM


def test_logout_ends_what_has_a_private_key(s, token):
    private = key_of(s, CKK.AES, KEY, PRIVATE=True)
    public = s.keys[CKM.AES_GCM]
    other = token.session()
    s.init("C_MessageEncryptInit", CKM.AES_GCM, private)
    s.init("C_MessageDecryptInit", CKM.AES_GCM, private)
    other.init("C_MessageEncryptInit", CKM.AES_GCM, public)
    p = Param(CKM.AES_GCM, bytes(12))
    encrypt(s, p, b"text")
    s.call("C_DecryptMessageBegin", *p.given, AAD, 6)
    s.logout()
    assert code_of(encrypt, s, p, b"text") == NOT_ACTIVE
    assert code_of(next_part, s, "Decrypt", p, b"text") == NOT_ACTIVE
    s.login(token.pin)
    assert code_of(encrypt, s, p, b"text") == NOT_ACTIVE
    assert len(encrypt(other, p, b"text")) == 4


def test_pin_for_each_message(s, token):
    """CKA_ALWAYS_AUTHENTICATE, "for each use (sign or decrypt) with the key": for each message."""
    public, private = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")},
                                      {CKA.ALWAYS_AUTHENTICATE: True, CKA.PRIVATE: True})
    s.init("C_MessageSignInit", CKM.ECDSA_SHA256, private)
    refused = "CKR_USER_NOT_LOGGED_IN"
    for _ in range(2):
        assert code_of(s.output, "C_SignMessage", None, 0, b"text", 4) == refused
        assert code_of(s.call, "C_SignMessageBegin", None, 0) == refused
        s.login(token.pin, CKU.CONTEXT_SPECIFIC)
        signature = s.output("C_SignMessage", None, 0, b"text", 4)
        s.verify(CKM.ECDSA_SHA256, public, b"text", signature)
        assert code_of(s.output, "C_SignMessage", None, 0, b"text", 4) == refused
        s.login(token.pin, CKU.CONTEXT_SPECIFIC)
        s.verify(CKM.ECDSA_SHA256, public, b"text", sign_in_parts(s, [b"te", b"xt"]))
    s.call("C_MessageSignFinal")


# --- NSS -------------------------------------------------------------------------------------------------------------

@pytest.mark.nss
def test_nss(scene):
    """PK11_AEADOp with keys on the token: NSS uses the message functions, and what comes out is OpenSSL's."""
    lines = scene(scene.build / "tests" / "clients" / "nss_aead", "sql:nssdb", LABEL, PIN).splitlines()
    assert len(lines) == 45
    bytes_of = lambda text: b"" if text == "-" else bytes.fromhex(text)  # noqa: E731
    seen, base = {}, b"\xa0" * 12
    for line in lines:
        mech, generator, fixed, *rest = line.split()
        iv, aad, text, sealed, tag = map(bytes_of, rest)
        cipher = AESGCM if int(mech, 16) == CKM.AES_GCM else ChaCha20Poly1305
        assert cipher(KEY).encrypt(iv, text, aad) == sealed + tag
        way = int(mech, 16), int(generator), int(fixed)
        n = len(seen.setdefault(way, []))
        free = 96 - way[2]
        low = int.from_bytes(iv, "big") & ((1 << free) - 1)
        assert way[1] == CKG.NO_GENERATE or int.from_bytes(iv, "big") >> free == int.from_bytes(base, "big") >> free
        if way[1] == CKG.GENERATE_COUNTER:
            assert low == n
        elif way[1] == CKG.GENERATE_COUNTER_XOR:
            assert low == int.from_bytes(base, "big") & ((1 << free) - 1) ^ n
        seen[way].append(iv)
    assert len(seen) == 9 and all(len(set(ivs)) == 5 for ivs in seen.values())
    assert scene.called("C_EncryptMessage") == scene.called("C_DecryptMessage") == 45
    assert scene.called("C_EncryptInit") == scene.called("C_DecryptInit") == 0


@pytest.mark.nss
def test_nss_and_wrong_tags(tmp_path, build, pki):
    """What is not genuine is an error to NSS too, and the context works on."""
    scene = Scene(tmp_path, build, pki)  # noqa: F811
    assert scene(build / "tests" / "clients" / "nss_aead", "sql:nssdb", LABEL, PIN, "spoilt").count("\n") == 45
    dump = scene("p11trace", "dump", "-e", "fn=C_DecryptMessage", scene.traces)
    assert dump.count("= CKR_OK") == dump.count("= CKR_AEAD_DECRYPT_FAILED") == 45
    assert "0 errors, 0 warnings" in scene.verdict()
