"""Digests, HMAC, CMAC and random numbers of libp11token.so against published answers and Python's own."""
import ctypes
import hashlib
import hmac
import random

import pytest

from cryptoki import CKA, CKF, CKK, CKM, CKO, CKR, Guarded, ULONG
from symmetric import code_of, key_of, split

# FIPS 180-4 and FIPS 202, the example "abc" (csrc.nist.gov, Standards and Guidelines, Example Values); RFC 1321, A.5.
ABC = {
    "MD5": ("md5", "900150983cd24fb0d6963f7d28e17f72"),
    "SHA_1": ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    "SHA224": ("sha224", "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7"),
    "SHA256": ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    "SHA384": ("sha384", "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                         "8086072ba1e7cc2358baeca134c825a7"),
    "SHA512": ("sha512", "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                         "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"),
    "SHA512_224": ("sha512_224", "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa"),
    "SHA512_256": ("sha512_256", "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
    "SHA3_224": ("sha3_224", "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf"),
    "SHA3_256": ("sha3_256", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"),
    "SHA3_384": ("sha3_384", "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b2"
                             "98d88cea927ac7f539f1edf228376d25"),
    "SHA3_512": ("sha3_512", "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e"
                             "10e116e9192af3c91a7ec57647e3934057340b4cf408d5a56592f8274eec53f0"),
}
HASHES = list(ABC)

# RFC 2202 (MD5, SHA-1) and RFC 4231: key, data, MAC.
JEFE = b"Jefe", b"what do ya want for nothing?"
LONG_KEY = b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First"
HMACS = [
    ("MD5", *JEFE, "750c783e6ab0b503eaa86e310a5db738"),
    ("SHA_1", *JEFE, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
    ("SHA224", *JEFE, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
    ("SHA256", *JEFE, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ("SHA384", *JEFE, "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
                      "8e2240ca5e69e2c78b3239ecfab21649"),
    ("SHA512", *JEFE, "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
                      "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
    ("SHA224", *LONG_KEY, "95e9a0db962095adaebe9b2d6f0dbce2d499f112f2d2b7273fa6870e"),
    ("SHA256", *LONG_KEY, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    ("SHA384", *LONG_KEY, "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6"
                          "0c2ef6ab4030fe8296248df163f44952"),
    ("SHA512", *LONG_KEY, "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352"
                          "6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"),
]

# SP 800-38B, D.1 to D.5 (AES-128 is also RFC 4493): key, MAC of the first 0, 16, 40, 64 bytes, or 0, 8, 20, 32 for DES.
TEXT = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                     "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
CMACS = [
    ("AES", "2b7e151628aed2a6abf7158809cf4f3c",
     ("bb1d6929e95937287fa37d129b756746", "070a16b46b4d4144f79bdd9dd04a287c",
      "dfa66747de9ae63030ca32611497c827", "51f0bebf7e3b9d92fc49741779363cfe")),
    ("AES", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
     ("d17ddf46adaacde531cac483de7a9367", "9e99a7bf31e710900662f65e617c5184",
      "8a1de5be2eb31aad089a82e6ee908b0e", "a1d5df0eed790f794d77589659f39a11")),
    ("AES", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
     ("028962f61b7bf89efc6b551f4667d983", "28a7023f452e8f82bd4bf28d8c37c35c",
      "aaf3d8f1de5640c232f5b169b9c911e6", "e1992190549f6ed5696a2c056c315410")),
    ("DES3", "8aa83bf8cbda10620bc1bf19fbb6cd58bc313d4a371ca8b5",
     ("b7a688e122ffaf95", "8e8f293136283797", "743ddbe0ce2dc2ed", "33e6b1092400eae5")),
    ("DES3", "4cf15134a2850dd58a3d10ba80570d38",
     ("bd2ebf9a3ba00361", "4ff2ab813c53ce83", "62dd1b471902bd4e", "31b1e431dabc4eb8")),
]


def mech(hash_name: str, suffix: str = "") -> int:
    return getattr(CKM, hash_name + suffix)


@pytest.fixture
def s(token):
    return token.session()


@pytest.mark.parametrize("name", HASHES)
def test_digest_of_abc(s, name):
    """The digest that the standard prints, whole, in parts, and of nothing."""
    python, expected = ABC[name]
    assert s.digest(mech(name), b"abc").hex() == expected
    assert s.digest_parts(mech(name), [b"a", b"", b"bc"]).hex() == expected
    empty = hashlib.new(python).digest()
    assert s.digest(mech(name), b"") == empty
    assert s.digest_parts(mech(name), []) == empty


def test_digests_of_random_lengths_and_splits(s, count):
    """Any length around the block sizes, in any parts, is what Python's hashlib says."""
    rnd = random.Random(1)
    for _ in range(count(300)):
        name = rnd.choice(HASHES)
        data = rnd.randbytes(rnd.choice((rnd.randrange(300), rnd.randrange(5000))))
        expected = hashlib.new(ABC[name][0], data).digest()
        assert s.digest(mech(name), data) == expected
        assert s.digest_parts(mech(name), split(rnd, data)) == expected


def test_empty_input_may_be_a_null_pointer(s):
    """C_Digest and C_DigestUpdate with no data and no address."""
    raw, out, size = s.module.raw, Guarded(32), ULONG(32)
    s.init("C_DigestInit", CKM.SHA256)
    assert raw.C_Digest(s.handle, None, 0, out.memory, ctypes.byref(size)) == CKR.OK
    assert out.take(size.value) == hashlib.sha256().digest()
    s.init("C_DigestInit", CKM.SHA256)
    assert raw.C_DigestUpdate(s.handle, None, 0) == CKR.OK
    assert s.output("C_DigestFinal") == hashlib.sha256().digest()


def test_digest_key(s):
    """A secret key's value is digested, also a sensitive one; other objects are not."""
    plain = key_of(s, CKK.GENERIC_SECRET, b"secret", SENSITIVE=False)
    hidden = key_of(s, CKK.AES, bytes(16), SENSITIVE=True, EXTRACTABLE=False)
    expected = hashlib.sha256(b"before" + b"secret" + bytes(16)).digest()
    assert s.digest_parts(CKM.SHA256, [b"before"], [plain, hidden]) == expected
    data = s.create({CKA.CLASS: CKO.DATA, CKA.VALUE: b"x"})
    for handle, code in ((data, "KEY_INDIGESTIBLE"), (plain + 1000, "KEY_HANDLE_INVALID")):
        s.init("C_DigestInit", CKM.SHA256)
        assert code_of(s.call, "C_DigestKey", handle) == f"CKR_{code}"
        assert code_of(s.output, "C_DigestFinal") == "CKR_OPERATION_NOT_INITIALIZED"
    # It is a part: no one-part call afterwards.
    s.init("C_DigestInit", CKM.SHA256)
    s.call("C_DigestKey", plain)
    assert code_of(s.output, "C_Digest", b"x", 1) == "CKR_OPERATION_ACTIVE"


@pytest.mark.parametrize("name", HASHES)
def test_digest_takes_no_parameter(s, name):
    assert code_of(s.digest, (mech(name), b"x"), b"abc") == "CKR_MECHANISM_PARAM_INVALID"


@pytest.mark.parametrize("name, key, data, expected", HMACS, ids=[f"{v[0]}-{len(v[1])}" for v in HMACS])
def test_hmac_of_the_rfcs(s, name, key, data, expected):
    handle = key_of(s, CKK.GENERIC_SECRET, key)
    expected = bytes.fromhex(expected)
    for _ in range(2):  # the second time with the context of the first
        assert s.sign(mech(name, "_HMAC"), handle, data) == expected
        assert s.sign_parts(mech(name, "_HMAC"), handle, [data[:5], b"", data[5:]]) == expected
        s.verify(mech(name, "_HMAC"), handle, data, expected)
        s.verify_parts(mech(name, "_HMAC"), handle, [data[:7], data[7:]], expected)


def test_hmacs_of_random_keys_and_splits(s, count):
    """Every hash, keys longer and shorter than its block, all lengths of the _GENERAL form."""
    rnd = random.Random(2)
    for i in range(count(300)):
        name = HASHES[i % len(HASHES)]
        key, data = rnd.randbytes(rnd.randrange(1, 200)), rnd.randbytes(rnd.randrange(400))
        expected = hmac.new(key, data, ABC[name][0]).digest()
        handle = key_of(s, CKK.GENERIC_SECRET, key)
        assert s.sign(mech(name, "_HMAC"), handle, data) == expected
        length = rnd.randrange(1, len(expected) + 1)
        general = (mech(name, "_HMAC_GENERAL"), length)
        assert s.sign_parts(general, handle, split(rnd, data)) == expected[:length]
        s.verify(general, handle, data, expected[:length])
        s.destroy(handle)


@pytest.mark.parametrize("kind", ["SHA_1_HMAC", "SHA256_HMAC", "SHA512_HMAC", "HKDF"])
def test_hmac_with_keys_of_other_types(s, kind):
    """CKK_<hash>_HMAC keys and, as NSS has them, CKK_HKDF keys."""
    handle = key_of(s, getattr(CKK, kind), b"k" * 32)
    assert s.sign(CKM.SHA256_HMAC, handle, b"x") == hmac.digest(b"k" * 32, b"x", "sha256")


@pytest.mark.parametrize("kind, key, macs", CMACS)
def test_cmac_of_nist(s, kind, key, macs):
    key, block = bytes.fromhex(key), 16 if kind == "AES" else 8
    key_type = {8: CKK.DES3, 16: CKK.AES}[block] if len(key) != 16 or block == 16 else CKK.DES2
    handle = key_of(s, key_type, key)
    full, general = getattr(CKM, kind + "_CMAC"), getattr(CKM, kind + "_CMAC_GENERAL")
    for length, expected in zip((0, block, 5 * block // 2, 4 * block), map(bytes.fromhex, macs)):
        data = TEXT[:length]
        assert s.sign(full, handle, data) == expected
        assert s.sign_parts(full, handle, [data[:3], data[3:]]) == expected
        s.verify(full, handle, data, expected)
        for n in (1, 4, block):
            assert s.sign((general, n), handle, data) == expected[:n]
            s.verify_parts((general, n), handle, [data], expected[:n])


MACS = [("SHA256_HMAC", CKK.GENERIC_SECRET, 32), ("SHA3_384_HMAC", CKK.GENERIC_SECRET, 48),
        ("MD5_HMAC", CKK.GENERIC_SECRET, 16), ("AES_CMAC", CKK.AES, 16), ("DES3_CMAC", CKK.DES3, 8)]


@pytest.mark.parametrize("name, kind, size", MACS)
def test_mac_that_is_wrong(s, name, kind, size):
    """Each wrong byte is CKR_SIGNATURE_INVALID, each wrong length CKR_SIGNATURE_LEN_RANGE, also of _GENERAL forms."""
    handle = key_of(s, kind, bytes(range(1, 25)))
    for mech_of, good in ((getattr(CKM, name), size), ((getattr(CKM, name + "_GENERAL"), size - 3), size - 3)):
        mac = s.sign(mech_of, handle, b"data")
        assert len(mac) == good
        for i in range(good):
            bad = mac[:i] + bytes([mac[i] ^ 1]) + mac[i + 1:]
            assert code_of(s.verify, mech_of, handle, b"data", bad) == "CKR_SIGNATURE_INVALID"
            assert code_of(s.verify_parts, mech_of, handle, [b"data"], bad) == "CKR_SIGNATURE_INVALID"
        for bad in (mac[:-1], mac + b"\0", mac[:1]):
            assert code_of(s.verify, mech_of, handle, b"data", bad) == "CKR_SIGNATURE_LEN_RANGE"
        assert code_of(s.verify, mech_of, handle, b"Data", mac) == "CKR_SIGNATURE_INVALID"
        s.verify(mech_of, handle, b"data", mac)


@pytest.mark.parametrize("name, kind, size", MACS)
def test_mac_parameters(s, name, kind, size):
    """_GENERAL wants a length of 1 to the full one; the other form wants none, but NSS's TLS names it the full one."""
    handle = key_of(s, kind, bytes(range(1, 25)))
    general = getattr(CKM, name + "_GENERAL")
    for bad in (None, 0, size + 1, 2 ** 63, b"\4\0\0\0", b""):
        assert code_of(s.sign, (general, bad), handle, b"x") == "CKR_MECHANISM_PARAM_INVALID"
    for bad in (size - 1, size + 1, 0, b"", b"1234", bytes(16)):
        code = "CKR_OK" if bad == b"" else "CKR_MECHANISM_PARAM_INVALID"
        assert code_of(s.sign, (getattr(CKM, name), bad), handle, b"x") == code
    assert s.sign((getattr(CKM, name), size), handle, b"x") == s.sign(getattr(CKM, name), handle, b"x")


def test_mac_keys_of_the_wrong_type(s):
    aes = key_of(s, CKK.AES, bytes(16))
    generic = key_of(s, CKK.GENERIC_SECRET, bytes(16))
    assert code_of(s.sign, CKM.SHA256_HMAC, aes, b"x") == "CKR_KEY_TYPE_INCONSISTENT"
    assert code_of(s.sign, CKM.AES_CMAC, generic, b"x") == "CKR_KEY_TYPE_INCONSISTENT"
    assert code_of(s.sign, CKM.DES3_CMAC, aes, b"x") == "CKR_KEY_TYPE_INCONSISTENT"


def test_mechanism_flags(token):
    """Digests digest, MACs sign and verify, messages too, and nothing else."""
    m = token.load()
    signs = CKF.SIGN | CKF.VERIFY | CKF.MESSAGE_SIGN | CKF.MESSAGE_VERIFY | CKF.MULTI_MESSAGE
    for name in HASHES:
        assert m.mechanism_info(token.slot(), mech(name))["flags"] == CKF.DIGEST
        for suffix in ("_HMAC", "_HMAC_GENERAL"):
            assert m.mechanism_info(token.slot(), mech(name, suffix))["flags"] == signs


def test_random(token):
    """Before any login; each answer is new, no byte is left unwritten, and seeds do not determine what follows."""
    s = token.session(login=False)
    for size in (0, 1, 16, 1000, 70000):
        assert len(s.random(size)) == size
    answers = {s.random(16) for _ in range(200)}
    assert len(answers) == 200
    counts = [0] * 256
    for byte in s.random(1 << 16):
        counts[byte] += 1
    # 256 expected of each; a deviation of 10 sigma is no accident.
    assert all(96 < n < 416 for n in counts)
    after = set()
    for _ in range(5):
        s.seed(b"the same seed each time")
        after.add(s.random(16))
    assert len(after) == 5
    s.seed(bytes(100000))
    assert s.module.raw.C_SeedRandom(s.handle, None, 0) == CKR.OK
    assert s.module.raw.C_GenerateRandom(s.handle, None, 0) == CKR.OK
    assert s.module.raw.C_GenerateRandom(s.handle, None, 1) == CKR.ARGUMENTS_BAD
    assert s.module.raw.C_SeedRandom(s.handle, None, 1) == CKR.ARGUMENTS_BAD
    assert token.load().token_info(token.slot())["flags"] & CKF.RNG
