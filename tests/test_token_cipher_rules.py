"""What ciphers of libp11token.so refuse, key wrapping by all of them, and the forms of AES key wrap."""
import ctypes
import random

import pytest
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM

from cryptoki import CKA, CKG, CKK, CKM, CKO, Guarded, ULONG, struct
from cipher_answers import (GCM_AAD, GCM_IV, IV, K128, K256, TEXT, WRAPPED, ccm, chacha, counter, gcm, nss_chacha,
                            rc2_cbc)
from symmetric import ONE_PART, code_of, key_of, padded, python_cipher, type_of


@pytest.fixture
def s(token):
    return token.session()


# mechanism, lengths that C_Encrypt refuses, lengths that C_Decrypt refuses
LENGTHS = [(CKM.AES_ECB, (1, 15, 17), (1, 15, 17)), ((CKM.AES_CBC, IV), (1, 31), (1, 31)),
           ((CKM.AES_CBC_PAD, IV), (), (0, 1, 15, 17)), ((CKM.AES_CTS, IV), (0, 1, 15), (0, 1, 15)),
           (CKM.AES_KEY_WRAP, (0, 8, 15, 17), (0, 8, 16, 23, 25)), (CKM.AES_KEY_WRAP_KWP, (0,), (0, 8, 15, 17)),
           (CKM.AES_KEY_WRAP_PKCS7, (0, 7), (0, 8, 17, 25)), ((CKM.AES_GCM, gcm(IV[:12])), (), (0, 15)),
           ((CKM.AES_CCM, ccm(IV[:12], b"", 8, 20)), (0, 19, 21), (0, 27, 29))]


@pytest.mark.parametrize("mech, plain_lengths, sealed_lengths", LENGTHS)
def test_lengths_that_are_refused(s, mech, plain_lengths, sealed_lengths):
    """CKR_DATA_LEN_RANGE and CKR_ENCRYPTED_DATA_LEN_RANGE, in one part and in two; the operation is over."""
    key = key_of(s, CKK.AES, K128)
    parts = type_of(mech) not in ONE_PART
    for lengths, way, code in ((plain_lengths, "encrypt", "CKR_DATA_LEN_RANGE"),
                               (sealed_lengths, "decrypt", "CKR_ENCRYPTED_DATA_LEN_RANGE")):
        for n in lengths:
            assert code_of(getattr(s, way), mech, key, bytes(n)) == code
            assert code_of(s.output, f"C_{way.capitalize()}", b"", 0) == "CKR_OPERATION_NOT_INITIALIZED"
            if parts:
                assert code_of(getattr(s, way + "_parts"), mech, key, [bytes(n // 2), bytes(n - n // 2)]) == code


@pytest.mark.parametrize("name, kind, block", [("AES_CBC_PAD", CKK.AES, 16), ("DES3_CBC_PAD", CKK.DES3, 8)])
def test_wrong_padding(s, name, kind, block):
    """Every kind of wrong padding is CKR_ENCRYPTED_DATA_INVALID."""
    key, iv = key_of(s, kind, bytes(range(24))), bytes(block)
    plain_mech, mech = (getattr(CKM, name[:-4]), iv), (getattr(CKM, name), iv)
    for last in (0, block + 1, 255, 2, block):
        text = bytes([7] * (block - 1) + [last]) if last != block else bytes([block - 1] * (block - 1) + [block])
        sealed = s.encrypt(plain_mech, key, bytes(block) + text)
        assert code_of(s.decrypt, mech, key, sealed) == "CKR_ENCRYPTED_DATA_INVALID"
        assert code_of(s.decrypt_parts, mech, key, [sealed[:3], sealed[3:]]) == "CKR_ENCRYPTED_DATA_INVALID"


def test_counter_that_overflows(s):
    """ulCounterBits = 2, counter 1: three blocks and no more (6.15), in one part and in several; nor past 2^128."""
    key = key_of(s, CKK.AES, K128)
    ecb = lambda block: python_cipher(algorithms.AES(K128), modes.ECB(), block)  # noqa: E731
    cases = (2, 1, 3), (1, 1, 1), (2, 0, 4), (32, 2 ** 32 - 2, 2), (128, 2 ** 128 - 1, 1), (64, 2 ** 64 - 3, 3)
    for bits, first, blocks in cases:
        nonce = int.from_bytes(b"\x5a" * 16, "big") >> bits << bits if bits < 128 else 0
        mech = (CKM.AES_CTR, counter((nonce + first).to_bytes(16, "big"), bits))
        expected = b"".join(ecb((nonce + first + i).to_bytes(16, "big")) for i in range(blocks))
        data = bytes(16 * blocks)
        assert s.encrypt(mech, key, data) == expected
        assert s.decrypt_parts(mech, key, [expected[:5], expected[5:]]) == data
        for way in (s.encrypt, s.decrypt):
            assert code_of(way, mech, key, data + b"x") == "CKR_DATA_LEN_RANGE"
        assert code_of(s.encrypt_parts, mech, key, [data, b"x"]) == "CKR_DATA_LEN_RANGE"


# key type: (mechanism, parameter) ...
PARAMETERS = {
    CKK.AES: [
        (CKM.AES_ECB, IV), (CKM.AES_CBC, None), (CKM.AES_CBC, IV[:15]), (CKM.AES_CBC_PAD, IV + b"x"), (CKM.AES_CTR, IV),
        (CKM.AES_CTR, counter(IV, 0)), (CKM.AES_CTR, counter(IV, 129)), (CKM.AES_CTS, b""), (CKM.AES_OFB, IV[:8]),
        (CKM.AES_GCM, IV), (CKM.AES_GCM, None), (CKM.AES_GCM, gcm(b"")), (CKM.AES_GCM, gcm(bytes(300))),
        *((CKM.AES_GCM, gcm(GCM_IV, b"", bits)) for bits in (0, 8, 16, 33, 72, 95, 97, 129, 136, 2 ** 63)),
        (CKM.AES_CCM, gcm(GCM_IV, b"", 1)), (CKM.AES_CCM, ccm(bytes(13), b"", 8, 65536)),
        *((CKM.AES_CCM, ccm(bytes(n), b"", 8, 1)) for n in (6, 14)),
        *((CKM.AES_CCM, ccm(GCM_IV, b"", n, 1)) for n in (0, 2, 5, 15, 18)),
        (CKM.AES_KEY_WRAP, IV), (CKM.AES_KEY_WRAP, IV[:4]), (CKM.AES_KEY_WRAP_KWP, IV[:8])],
    CKK.CHACHA20: [
        (CKM.CHACHA20_POLY1305, chacha(IV[:8])), (CKM.CHACHA20_POLY1305, chacha(IV)), (CKM.CHACHA20_POLY1305, IV[:12]),
        (CKM.CHACHA20_POLY1305, nss_chacha(IV[:12], b"", 12))],
    CKK.DES3: [(CKM.DES3_CBC, IV), (CKM.DES3_ECB, IV[:8])],
    CKK.RC2: [(CKM.RC2_ECB, 0), (CKM.RC2_ECB, 1025), (CKM.RC2_ECB, None), (CKM.RC2_CBC, IV[:8]),
              (CKM.RC2_CBC, rc2_cbc(2 ** 40, IV[:8]))],
    CKK.RC4: [(CKM.RC4, IV)],
}


@pytest.mark.parametrize("kind", PARAMETERS)
def test_parameters_that_are_refused(s, kind):
    """CKR_MECHANISM_PARAM_INVALID, and no operation is active afterwards."""
    key = key_of(s, kind, K256 if kind == CKK.CHACHA20 else bytes(range(1, 25)))
    for mech in PARAMETERS[kind]:
        for way in ("Encrypt", "Decrypt"):
            assert code_of(s.init, f"C_{way}Init", mech, key) == "CKR_MECHANISM_PARAM_INVALID", CKM.name(mech[0])
            assert code_of(s.output, f"C_{way}", b"", 0) == "CKR_OPERATION_NOT_INITIALIZED"


def test_initial_values_of_key_wrap(s):
    """The optional parameter: 8 bytes, 4 for RFC 5649 (6.16.2); what was wrapped with another does not unwrap."""
    key = key_of(s, CKK.AES, K128)
    for mech, n in ((CKM.AES_KEY_WRAP, 8), (CKM.AES_KEY_WRAP_PKCS7, 8), (CKM.AES_KEY_WRAP_PAD, 8),
                    (CKM.AES_KEY_WRAP_KWP, 4)):
        sealed = s.encrypt((mech, IV[:n]), key, WRAPPED)
        assert s.decrypt((mech, IV[:n]), key, sealed) == WRAPPED
        assert sealed != s.encrypt(mech, key, WRAPPED)
        assert code_of(s.decrypt, mech, key, sealed) == "CKR_ENCRYPTED_DATA_INVALID"
        default = b"\xa6" * 8 if n == 8 else bytes.fromhex("a65959a6")
        assert s.encrypt((mech, default), key, WRAPPED) == s.encrypt(mech, key, WRAPPED)


def test_padded_key_wrap(s, count):
    """PKCS #7 padding to 8 bytes, then RFC 3394; CKM_AES_KEY_WRAP_PAD writes that and reads RFC 5649 too."""
    rnd = random.Random(5)
    key = key_of(s, CKK.AES, K256)
    for length in range(8, 8 + count(100)):
        plain = rnd.randbytes(length)
        expected = s.encrypt(CKM.AES_KEY_WRAP, key, padded(plain, 8))
        for mech in (CKM.AES_KEY_WRAP_PKCS7, CKM.AES_KEY_WRAP_PAD, CKM.NSS_AES_KEY_WRAP_PAD):
            assert s.encrypt(mech, key, plain) == expected
            assert s.decrypt(mech, key, expected) == plain
        kwp = s.encrypt(CKM.AES_KEY_WRAP_KWP, key, plain)
        assert s.decrypt(CKM.AES_KEY_WRAP_PAD, key, kwp) == plain
        assert code_of(s.decrypt, CKM.AES_KEY_WRAP_PKCS7, key, kwp) == "CKR_ENCRYPTED_DATA_INVALID"
        assert code_of(s.decrypt, CKM.AES_KEY_WRAP_KWP, key, expected) == "CKR_ENCRYPTED_DATA_INVALID"
    for wrong in (bytes(8) + b"\0" * 8, bytes(8) + bytes([9] * 8), bytes(8) + b"\1\1\1\1\1\1\2\3"):
        sealed = s.encrypt(CKM.AES_KEY_WRAP, key, wrong)
        assert code_of(s.decrypt, CKM.AES_KEY_WRAP_PKCS7, key, sealed) == "CKR_ENCRYPTED_DATA_INVALID"


@pytest.mark.parametrize("mech", sorted(ONE_PART))
def test_key_wrap_is_one_part_only(s, mech):
    """Functions for several parts find no operation, and it is over (6.16.3: single-part operations only)."""
    key = key_of(s, CKK.AES, K128)
    for way in ("Encrypt", "Decrypt"):
        for call in ((f"C_{way}Update", bytes(16), 16), (f"C_{way}Final",)):
            s.init(f"C_{way}Init", mech, key)
            assert code_of(s.output, *call) == "CKR_OPERATION_NOT_INITIALIZED"
            assert code_of(s.output, f"C_{way}", bytes(24), 24) == "CKR_OPERATION_NOT_INITIALIZED"


def test_keys_of_the_wrong_kind(s):
    """Another type is CKR_KEY_TYPE_INCONSISTENT; a generic secret encrypts nothing."""
    aes, des3 = key_of(s, CKK.AES, K128), key_of(s, CKK.DES3, bytes(range(24)))
    generic = key_of(s, CKK.GENERIC_SECRET, K128)
    for mech, key in (((CKM.AES_CBC, IV), des3), ((CKM.DES3_CBC, IV[:8]), aes), ((CKM.AES_CBC, IV), generic),
                      ((CKM.CHACHA20_POLY1305, chacha(IV[:12])), aes)):
        assert code_of(s.encrypt, mech, key, bytes(16)) == "CKR_KEY_TYPE_INCONSISTENT"


WRAP_MECHS = [(CKM.AES_CBC_PAD, IV), (CKM.AES_GCM, gcm(GCM_IV, GCM_AAD)), (CKM.AES_CCM, ccm(GCM_IV, b"", 16, 999)),
              CKM.AES_KEY_WRAP, CKM.AES_KEY_WRAP_PAD, CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PKCS7,
              CKM.NSS_AES_KEY_WRAP]


@pytest.mark.parametrize("mech", WRAP_MECHS)
@pytest.mark.parametrize("length", [16, 20, 27])
def test_wrapping_with_each(s, mech, length):
    """A secret key, wrapped under an AES key and under a generic secret of the same bytes, comes back."""
    value = bytes(range(1, length + 1))
    target = key_of(s, CKK.GENERIC_SECRET, value, EXTRACTABLE=True)
    results = []
    for kind in (CKK.AES, CKK.GENERIC_SECRET):
        wrapping = key_of(s, kind, K256)
        wrapped = s.wrap(mech, wrapping, target)
        results.append(wrapped)
        template = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.SENSITIVE: False,
                    CKA.EXTRACTABLE: True}
        if type_of(mech) in (CKM.AES_KEY_WRAP, CKM.NSS_AES_KEY_WRAP):
            template[CKA.VALUE_LEN] = length
        assert s.get(s.unwrap(mech, wrapping, wrapped, template), CKA.VALUE) == value
    assert results[0] == results[1]
    if type_of(mech) == CKM.AES_GCM:
        assert results[0] == AESGCM(K256).encrypt(GCM_IV, value, GCM_AAD)
    if type_of(mech) == CKM.AES_CCM:
        assert results[0] == AESCCM(K256, 16).encrypt(GCM_IV, value, b"")


def test_wrapping_with_a_nonce_of_the_token(s):
    """CK_GCM_WRAP_PARAMS and CK_CCM_WRAP_PARAMS: the token fills in what is not fixed of the nonce."""
    key, target = key_of(s, CKK.AES, K256), key_of(s, CKK.GENERIC_SECRET, TEXT[:40], EXTRACTABLE=True)
    ones = b"\xff" * 12
    for generator in (CKG.NO_GENERATE, CKG.GENERATE, CKG.GENERATE_RANDOM):
        for fixed in (0, 12, 32):
            p = struct("CK_GCM_WRAP_PARAMS", pIv=ones, ulIvFixedBits=fixed, ivGenerator=generator, pAAD=b"aad",
                       ulTagBits=128)
            q = struct("CK_CCM_WRAP_PARAMS", pNonce=ones, ulNonceFixedBits=fixed, nonceGenerator=generator,
                       pAAD=b"aad", ulMACLen=16)
            for mech, param, member, python in ((CKM.AES_GCM, p, "pIv", AESGCM(K256)),
                                                (CKM.AES_CCM, q, "pNonce", AESCCM(K256))):
                size, out = ULONG(56), Guarded(56)
                m = struct("CK_MECHANISM", mechanism=mech, pParameter=param, ulParameterLen=ctypes.sizeof(param))
                s.call("C_WrapKey", ctypes.byref(m), key, target, out.memory, ctypes.byref(size))
                iv = bytes(param.keep[member])
                assert (iv == ones) == (generator == CKG.NO_GENERATE)
                assert int.from_bytes(iv, "big") >> (96 - fixed) == 2 ** fixed - 1
                assert python.decrypt(iv, out.take(size.value), b"aad") == TEXT[:40]
    p = struct("CK_GCM_WRAP_PARAMS", pIv=bytes(12), ulIvFixedBits=0, ivGenerator=CKG.GENERATE_COUNTER, ulTagBits=128)
    assert code_of(s.wrap, (CKM.AES_GCM, p), key, target) == "CKR_MECHANISM_PARAM_INVALID"

