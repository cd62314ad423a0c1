"""Ciphers of libp11token.so against published answers, and against python3-cryptography on random data."""
import ctypes
import random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from cryptoki import CKA, CKG, CKK, CKM, CKO, CKR, Guarded, ULONG, struct
from symmetric import code_of, key_of, split


def hexes(*texts):
    return tuple(bytes.fromhex(t) for t in texts)


@pytest.fixture
def s(token):
    return token.session()


def counter(block: bytes, bits: int = 128):
    return struct("CK_AES_CTR_PARAMS", ulCounterBits=bits, cb=block)


def rc2_cbc(bits: int, iv: bytes):
    return struct("CK_RC2_CBC_PARAMS", ulEffectiveBits=bits, iv=iv)


def gcm(iv: bytes, aad: bytes = b"", tag_bits: int = 128, name: str = "CK_GCM_PARAMS"):
    return struct(name, pIv=iv, pAAD=aad or None, ulTagBits=tag_bits)


def nss_gcm(iv: bytes, aad: bytes = b"", tag_bits: int = 128):
    return gcm(iv, aad, tag_bits, "CK_NSS_GCM_PARAMS")


def ccm(nonce: bytes, aad: bytes, tag: int, length: int):
    return struct("CK_CCM_PARAMS", ulDataLen=length, pNonce=nonce, pAAD=aad or None, ulMACLen=tag)


def chacha(nonce: bytes, aad: bytes = b"", bits: bool = True):
    return struct("CK_SALSA20_CHACHA20_POLY1305_PARAMS", pNonce=nonce, ulNonceLen=len(nonce) * (8 if bits else 1),
                  pAAD=aad or None)


def nss_chacha(nonce: bytes, aad: bytes = b"", tag: int = 16):
    return struct("CK_NSS_AEAD_PARAMS", pNonce=nonce, pAAD=aad or None, ulTagLen=tag)


# --- published answers: (mechanism, parameter), key type, key, plaintext, ciphertext ---

# SP 800-38A, appendix F: the keys, the IV and the plaintext are the same for every mode.
K128, K192, K256 = hexes("2b7e151628aed2a6abf7158809cf4f3c", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
                         "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
IV = bytes(range(16))
TEXT = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
                     "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
COUNTER = counter(bytes(range(0xf0, 0x100)))
NIST = [
    (CKM.AES_ECB, K128, "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf"
                        "43b1cd7f598ece23881b00e3ed0306887b0c785e27e8ad3f8223207104725dd4"),
    (CKM.AES_ECB, K192, "bd334f1d6e45f25ff712a214571fa5cc974104846d0ad3ad7734ecb3ecee4eef"
                        "ef7afd2270e2e60adce0ba2face6444e9a4b41ba738d6c72fb16691603c18e0e"),
    (CKM.AES_ECB, K256, "f3eed1bdb5d2a03c064b5a7e3db181f8591ccb10d410ed26dc5ba74a31362870"
                        "b6ed21b99ca6f4f9f153e7b1beafed1d23304b7a39f9f3ff067d8d8f9e24ecc7"),
    ((CKM.AES_CBC, IV), K128, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2"
                              "73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7"),
    ((CKM.AES_CBC, IV), K192, "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a"
                              "571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd"),
    ((CKM.AES_CBC, IV), K256, "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
                              "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"),
    ((CKM.AES_CFB8, IV), K128, "3b79424c9c0dd436bace9e0ed4586a4f32b9"),
    ((CKM.AES_CFB128, IV), K128, "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b"
                                 "26751f67a3cbb140b1808cf187a4f4dfc04b05357c5d1c0eeac4c66f9ff7f2e6"),
    ((CKM.AES_CFB128, IV), K256, "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b"
                                 "df10132415e54b92a13ed0a8267ae2f975a385741ab9cef82031623d55b1e471"),
    ((CKM.AES_OFB, IV), K128, "3b3fd92eb72dad20333449f8e83cfb4a7789508d16918f03f53c52dac54ed825"
                              "9740051e9c5fecf64344f7a82260edcc304c6528f659c77866a510d9c1d6ae5e"),
    ((CKM.AES_OFB, IV), K256, "dc7e84bfda79164b7ecd8486985d38604febdc6740d20b3ac88f6ad82a4fb08d"
                              "71ab47a086e86eedf39d1c5bba97c4080126141d67f37be8538f5a8be740e484"),
    ((CKM.AES_CTR, COUNTER), K128, "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
                                   "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"),
    ((CKM.AES_CTR, COUNTER), K192, "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94"
                                   "1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050"),
    ((CKM.AES_CTR, COUNTER), K256, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
                                   "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"),
]
KNOWN = [(m, CKK.AES, key, TEXT[:len(c) // 2], bytes.fromhex(c)) for m, key, c in NIST]

# RFC 3962, appendix B, has ciphertext stealing with the last two blocks swapped (CS3): here they are as CS1 has them.
CTS_KEY, CTS_TEXT = b"chicken teriyaki", b"I would like the General Gau's Chicken, please, and wonton soup."
CTS = [(17, "97", "c6353568f2bf8cb4d8a580362da7ff7f"), (31, "97687268d6ecccc0c07b25e25ecfe5", "fc00783e0efdb2c1d445d4c8eff7ed22"),
       (32, "97687268d6ecccc0c07b25e25ecfe584", "39312523a78662d5be7fcbcc98ebf5a8"),
       (47, "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5", "b3fffd940c16a18c1b5549d2f838029e"),
       (48, "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a8", "9dad8bbb96c4cdc03bc103e1a194bbd8"),
       (64, "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a89dad8bbb96c4cdc03bc103e1a194bbd8",
        "4807efe836ee89a526730dbc2f7bc840")]
KNOWN += [((CKM.AES_CTS, bytes(16)), CKK.AES, CTS_KEY, CTS_TEXT[:n], bytes.fromhex(a + b)) for n, a, b in CTS]

# GCM: McGrew and Viega, The Galois/Counter Mode of Operation, appendix B (also in SP 800-38D's examples): cases 1 to 6, 14, 16.
GCM_KEY, GCM_KEY2 = hexes("feffe9928665731c6d6a8f9467308308", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
GCM_TEXT = bytes.fromhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                         "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255")
GCM_AAD = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
GCM_LONG_IV = bytes.fromhex("9313225df88406e555909c5aff5269aa6a7a9538534f7da1e4c303d2a318a728"
                            "c3c0c95156809539fcf0e2429a6b525416aedbf5a0de6a57a637b39b")
GCM_IV = bytes.fromhex("cafebabefacedbaddecaf888")
GCMS = [
    (bytes(16), bytes(12), b"", b"", "58e2fccefa7e3061367f1d57a4e7455a"),
    (bytes(16), bytes(12), b"", bytes(16), "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"),
    (GCM_KEY, GCM_IV, b"", GCM_TEXT,
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05"
     "1ba30b396a0aac973d58e091473f59854d5c2af327cd64a62cf35abd2ba6fab4"),
    (GCM_KEY, GCM_IV, GCM_AAD, GCM_TEXT[:60],
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa05"
     "1ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47"),
    (GCM_KEY, GCM_IV[:8], GCM_AAD, GCM_TEXT[:60],
     "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b42"
     "4989b5e1ebac0f07c23f45983612d2e79e3b0785561be14aaca2fccb"),
    (GCM_KEY, GCM_LONG_IV, GCM_AAD, GCM_TEXT[:60],
     "8ce24998625615b603a033aca13fb894be9112a5c3a211a8ba262a3cca7e2ca701e4a9a4fba43c90ccdcb281d48c7c6f"
     "d62875d2aca417034c34aee5619cc5aefffe0bfa462af43c1699d050"),
    (bytes(32), bytes(12), b"", bytes(16), "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    (GCM_KEY2, GCM_IV, GCM_AAD, GCM_TEXT[:60],
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
     "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"),
]
KNOWN += [((CKM.AES_GCM, make(iv, aad)), CKK.AES, key, text, bytes.fromhex(c)) for key, iv, aad, text, c in GCMS
          for make in (gcm, nss_gcm)]

# CCM: SP 800-38C, examples 1 to 3.
CCM_KEY = bytes(range(0x40, 0x50))
CCMS = [(bytes(range(0x10, 0x17)), bytes(range(8)), bytes(range(0x20, 0x24)), 4, "7162015b4dac255d"),
        (bytes(range(0x10, 0x18)), bytes(range(16)), bytes(range(0x20, 0x30)), 6, "d2a1f0e051ea5f62081a7792073d593d1fc64fbfaccd"),
        (bytes(range(0x10, 0x1c)), bytes(range(20)), bytes(range(0x20, 0x38)), 8,
         "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951")]
KNOWN += [((CKM.AES_CCM, ccm(nonce, aad, tag, len(text))), CKK.AES, CCM_KEY, text, bytes.fromhex(c))
          for nonce, aad, text, tag, c in CCMS]

# ChaCha20-Poly1305: RFC 8439, 2.8.2.
CHACHA = (bytes(range(0x80, 0xa0)), bytes.fromhex("070000004041424344454647"), bytes.fromhex("50515253c0c1c2c3c4c5c6c7"),
          b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
          bytes.fromhex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
                        "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
                        "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691"))
KNOWN += [((m, p), kind, CHACHA[0], CHACHA[3], CHACHA[4])
          for m, kind in ((CKM.CHACHA20_POLY1305, CKK.CHACHA20), (CKM.NSS_CHACHA20_POLY1305, CKK.NSS_CHACHA20))
          for p in (chacha(CHACHA[1], CHACHA[2]), chacha(CHACHA[1], CHACHA[2], bits=False), nss_chacha(CHACHA[1], CHACHA[2]))]

# Key wrap: RFC 3394, 4.1 to 4.6, and RFC 5649, section 6.
KEK, WRAPPED = bytes(range(32)), bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
KWP_KEK = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
WRAPS = [(16, 16, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"), (24, 16, "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"),
         (32, 16, "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"),
         (24, 24, "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2"),
         (32, 24, "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1"),
         (32, 32, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21")]
KNOWN += [(m, CKK.AES, KEK[:k], WRAPPED[:n], bytes.fromhex(c)) for m in (CKM.AES_KEY_WRAP, CKM.NSS_AES_KEY_WRAP)
          for k, n, c in WRAPS]
KNOWN += [(CKM.AES_KEY_WRAP_KWP, CKK.AES, KWP_KEK, *hexes("c37b7e6492584340bed12207808941155068f738",
                                                        "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a")),
          (CKM.AES_KEY_WRAP_KWP, CKK.AES, KWP_KEK, *hexes("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"))]

# DES: FIPS 81, table B1 (ECB) and C1 (CBC). Triple DES: SP 800-67, appendix B. RC2: RFC 2268, section 5. RC4: RFC 6229.
FOX = b"The qufck brown fox jump"  # sic: 5468652071756663...
DES = bytes.fromhex("0123456789abcdef")
DES3 = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")
KNOWN += [(CKM.DES_ECB, CKK.DES, DES, b"Now is the time for all ", bytes.fromhex("3fa40e8a984d48156a271787ab8883f9893d51ec4b563b53")),
          ((CKM.DES_CBC, bytes.fromhex("1234567890abcdef")), CKK.DES, DES, b"Now is the time for all ",
           bytes.fromhex("e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6")),
          (CKM.DES3_ECB, CKK.DES3, DES3, FOX, bytes.fromhex("a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900"))]
RC2 = [(63, "0000000000000000", "0000000000000000", "ebb773f993278eff"), (64, "ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"),
       (64, "3000000000000000", "1000000000000001", "30649edf9be7d2c2"), (64, "88", "0000000000000000", "61a8a244adacccf0"),
       (64, "88bca90e90875a", "0000000000000000", "6ccf4308974c267f"),
       (64, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "1a807d272bbe5db1"),
       (128, "88bca90e90875a7f0f79c384627bafb2", "0000000000000000", "2269552ab0f85ca6"),
       (129, "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e", "0000000000000000", "5b78d3a43dfff1f1")]
KNOWN += [((CKM.RC2_ECB, bits), CKK.RC2, *hexes(key, text, c)) for bits, key, text, c in RC2]
KNOWN += [((CKM.RC2_CBC, rc2_cbc(bits, bytes(8))), CKK.RC2, *hexes(key, text, c)) for bits, key, text, c in RC2]
RC4 = [("0102030405", "b2396305f03dc027ccc3524a0a1118a8"), ("0102030405060708090a0b0c0d0e0f10", "9ac7cc9a609d1ef7b2932899cde41b97"),
       (bytes(range(1, 33)).hex(), "eaa6bd25880bf93d3f5d1e4ca2611d91")]
KNOWN += [(CKM.RC4, CKK.RC4, bytes.fromhex(key), bytes(16), bytes.fromhex(c)) for key, c in RC4]

ONE_PART = {CKM.AES_KEY_WRAP, CKM.NSS_AES_KEY_WRAP, CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PAD, CKM.AES_KEY_WRAP_PKCS7,
            CKM.NSS_AES_KEY_WRAP_PAD}


def type_of(mech) -> int:
    return mech[0] if isinstance(mech, tuple) else mech


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
            raise AssertionError(f"{CKM.name(type_of(mech))} with a key of {len(key)} bytes, {len(plain)} bytes of text: {e}") from e


# --- random data against python3-cryptography ---

def python_cipher(algorithm, mode, data: bytes, encrypt: bool = True) -> bytes:
    c = Cipher(algorithm, mode)
    c = c.encryptor() if encrypt else c.decryptor()
    return c.update(data) + c.finalize()


def padded(data: bytes, block: int) -> bytes:
    n = block - len(data) % block
    return data + bytes([n]) * n


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
        mode = modes.CBC(iv) if name == "AES_CBC" else modes.ECB()
        return (getattr(CKM, name), iv if name == "AES_CBC" else None), CKK.AES, key, whole, python_cipher(aes, mode, whole)
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
        return (CKM.AES_GCM, rnd.choice((gcm, nss_gcm))(nonce, aad, 8 * tag)), CKK.AES, key, data, full[:len(data) + tag]
    if name == "AES_CCM":
        nonce, tag = rnd.randbytes(rnd.randrange(7, 14)), rnd.choice((4, 6, 8, 10, 12, 14, 16))
        return ((CKM.AES_CCM, ccm(nonce, aad, tag, len(data))), CKK.AES, key, data, AESCCM(key, tag).encrypt(nonce, data, aad))
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


RANDOM = ["AES_ECB", "AES_CBC", "AES_CBC_PAD", "AES_OFB", "AES_CFB8", "AES_CFB128", "AES_CTR", "AES_CTS", "AES_GCM", "AES_CCM",
          "CHACHA20_POLY1305", "DES3_ECB", "DES3_CBC", "DES3_CBC_PAD"]


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
                                         ((CKM.DES3_CBC_PAD, IV[:8]), 8), ((CKM.AES_CTR, COUNTER), 1), ((CKM.AES_CTS, IV), 1)])
def test_updates_in_place(s, count, mech, block):
    """Parts in place: what one Update gives is where its input was, whatever is left over from the part before."""
    rnd = random.Random(4)
    key = key_of(s, CKK.DES3 if block == 8 else CKK.AES, bytes(range(24)))
    for _ in range(count(100)):
        data = rnd.randbytes(16 * rnd.randrange(2, 12))
        sealed = s.encrypt(mech, key, data)
        for init, update, final, source, expected in (("C_EncryptInit", "C_EncryptUpdate", "C_EncryptFinal", data, sealed),
                                                     ("C_DecryptInit", "C_DecryptUpdate", "C_DecryptFinal", sealed, data)):
            s.init(init, mech, key)
            out = b""
            for part in split(rnd, source):
                buffer, size = Guarded(len(part) + 32), ULONG(len(part) + 32)
                ctypes.memmove(buffer.memory, part, len(part))
                s.call(update, buffer.memory, len(part), buffer.memory, ctypes.byref(size))
                out += buffer.take(size.value)
            assert out + s.output(final) == expected


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
        size = ULONG(wanted - 1)
        assert s.module.raw.C_Encrypt(s.handle, bytes(given), given, Guarded(wanted - 1).memory, ctypes.byref(size)) == CKR.BUFFER_TOO_SMALL
        assert size.value == wanted
        assert len(s.output("C_Encrypt", bytes(given), given)) == wanted


@pytest.mark.parametrize("mech", [(CKM.AES_CBC_PAD, IV), CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PKCS7])
def test_buffer_of_just_the_right_size(s, mech):
    """Where the length shows only after decrypting: too small a buffer is told the length, and a second call gets the rest."""
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
    assert [len(s.output("C_DecryptUpdate", sealed[a:b], b - a)) for a, b in ((0, 16), (16, 17), (17, 48))] == [0, 16, 16]
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
            assert s.module.raw.C_Decrypt(s.handle, bad, 80, buffer.memory, ctypes.byref(size)) == CKR.ENCRYPTED_DATA_INVALID
            assert plain[:8] not in buffer.memory.raw and plain[8:16] not in buffer.memory.raw
        assert code_of(s.decrypt, mech, key, sealed[:15]) == "CKR_ENCRYPTED_DATA_LEN_RANGE"
        assert code_of(s.decrypt_parts, mech, key, [sealed[:15]]) == "CKR_ENCRYPTED_DATA_LEN_RANGE"


# mechanism, lengths that C_Encrypt refuses, lengths that C_Decrypt refuses
LENGTHS = [(CKM.AES_ECB, (1, 15, 17), (1, 15, 17)), ((CKM.AES_CBC, IV), (1, 31), (1, 31)), ((CKM.AES_CBC_PAD, IV), (), (0, 1, 15, 17)),
           ((CKM.AES_CTS, IV), (0, 1, 15), (0, 1, 15)), (CKM.AES_KEY_WRAP, (0, 8, 15, 17), (0, 8, 16, 23, 25)),
           (CKM.AES_KEY_WRAP_KWP, (0,), (0, 8, 15, 17)), (CKM.AES_KEY_WRAP_PKCS7, (0, 7), (0, 8, 17, 25)),
           ((CKM.AES_CCM, ccm(IV[:12], b"", 8, 20)), (0, 19, 21), (0, 27, 29)), ((CKM.AES_GCM, gcm(IV[:12])), (), (0, 15))]


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
    for bits, first, blocks in ((2, 1, 3), (1, 1, 1), (2, 0, 4), (32, 2 ** 32 - 2, 2), (128, 2 ** 128 - 1, 1), (64, 2 ** 64 - 3, 3)):
        nonce = int.from_bytes(b"\x5a" * 16, "big") >> bits << bits if bits < 128 else 0
        mech = (CKM.AES_CTR, counter((nonce + first).to_bytes(16, "big"), bits))
        expected = b"".join(ecb((nonce + first + i).to_bytes(16, "big")) for i in range(blocks))
        data = bytes(16 * blocks)
        assert s.encrypt(mech, key, data) == expected
        assert s.decrypt_parts(mech, key, [expected[:5], expected[5:]]) == data
        for way in (s.encrypt, s.decrypt):
            assert code_of(way, mech, key, data + b"x") == "CKR_DATA_LEN_RANGE"
        assert code_of(s.encrypt_parts, mech, key, [data, b"x"]) == "CKR_DATA_LEN_RANGE"


@pytest.mark.parametrize("mech, kind", [
    ((CKM.AES_ECB, IV), CKK.AES), ((CKM.AES_CBC, None), CKK.AES), ((CKM.AES_CBC, IV[:15]), CKK.AES), ((CKM.AES_CBC_PAD, IV + b"x"), CKK.AES),
    ((CKM.AES_CTR, IV), CKK.AES), ((CKM.AES_CTR, counter(IV, 0)), CKK.AES), ((CKM.AES_CTR, counter(IV, 129)), CKK.AES),
    ((CKM.AES_CTS, b""), CKK.AES), ((CKM.AES_OFB, IV[:8]), CKK.AES), ((CKM.AES_GCM, IV), CKK.AES), ((CKM.AES_GCM, None), CKK.AES),
    *(((CKM.AES_GCM, gcm(GCM_IV, b"", bits)), CKK.AES) for bits in (0, 8, 16, 33, 72, 95, 97, 129, 136, 2 ** 63)),
    ((CKM.AES_GCM, gcm(b"")), CKK.AES), ((CKM.AES_GCM, gcm(bytes(300))), CKK.AES),
    ((CKM.AES_CCM, gcm(GCM_IV, b"", 1)), CKK.AES), *(((CKM.AES_CCM, ccm(bytes(n), b"", 8, 1)), CKK.AES) for n in (6, 14)),
    *(((CKM.AES_CCM, ccm(GCM_IV, b"", n, 1)), CKK.AES) for n in (0, 2, 5, 15, 18)), ((CKM.AES_CCM, ccm(bytes(13), b"", 8, 65536)), CKK.AES),
    ((CKM.CHACHA20_POLY1305, chacha(IV[:8])), CKK.CHACHA20), ((CKM.CHACHA20_POLY1305, chacha(IV)), CKK.CHACHA20),
    ((CKM.CHACHA20_POLY1305, nss_chacha(IV[:12], b"", 12)), CKK.CHACHA20), ((CKM.CHACHA20_POLY1305, IV[:12]), CKK.CHACHA20),
    ((CKM.AES_KEY_WRAP, IV), CKK.AES), ((CKM.AES_KEY_WRAP, IV[:4]), CKK.AES), ((CKM.AES_KEY_WRAP_KWP, IV[:8]), CKK.AES),
    ((CKM.DES3_CBC, IV), CKK.DES3), ((CKM.RC2_ECB, 0), CKK.RC2), ((CKM.RC2_ECB, 1025), CKK.RC2), ((CKM.RC2_CBC, IV[:8]), CKK.RC2),
    ((CKM.RC2_CBC, rc2_cbc(2 ** 40, IV[:8])), CKK.RC2), ((CKM.RC4, IV), CKK.RC4)])
def test_parameters_that_are_refused(s, mech, kind):
    """CKR_MECHANISM_PARAM_INVALID, and no operation is active afterwards."""
    key = key_of(s, kind, bytes(range(1, 25)) if kind != CKK.CHACHA20 else K256)
    for way in ("Encrypt", "Decrypt"):
        assert code_of(s.init, f"C_{way}Init", mech, key) == "CKR_MECHANISM_PARAM_INVALID"
        assert code_of(s.output, f"C_{way}", b"", 0) == "CKR_OPERATION_NOT_INITIALIZED"


def test_initial_values_of_key_wrap(s):
    """The optional parameter: 8 bytes, 4 for RFC 5649 (6.16.2); what was wrapped with another does not unwrap."""
    key = key_of(s, CKK.AES, K128)
    for mech, n in ((CKM.AES_KEY_WRAP, 8), (CKM.AES_KEY_WRAP_PKCS7, 8), (CKM.AES_KEY_WRAP_PAD, 8), (CKM.AES_KEY_WRAP_KWP, 4)):
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


WRAP_MECHS = [(CKM.AES_CBC_PAD, IV), (CKM.AES_GCM, gcm(GCM_IV, GCM_AAD)), (CKM.AES_CCM, ccm(GCM_IV, b"", 16, 999)), CKM.AES_KEY_WRAP,
              CKM.AES_KEY_WRAP_PAD, CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PKCS7, CKM.NSS_AES_KEY_WRAP]


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
        template = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}
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
    for generator in (CKG.NO_GENERATE, CKG.GENERATE, CKG.GENERATE_RANDOM):
        for fixed in (0, 12, 32):
            p = struct("CK_GCM_WRAP_PARAMS", pIv=b"\xff" * 12, ulIvFixedBits=fixed, ivGenerator=generator, pAAD=b"aad", ulTagBits=128)
            q = struct("CK_CCM_WRAP_PARAMS", ulDataLen=0, pNonce=b"\xff" * 12, ulNonceFixedBits=fixed, nonceGenerator=generator,
                       pAAD=b"aad", ulMACLen=16)
            for mech, param, member, python in ((CKM.AES_GCM, p, "pIv", AESGCM(K256)), (CKM.AES_CCM, q, "pNonce", AESCCM(K256))):
                size, out = ULONG(56), Guarded(56)
                mechanism = struct("CK_MECHANISM", mechanism=mech, pParameter=param, ulParameterLen=ctypes.sizeof(param))
                s.call("C_WrapKey", ctypes.byref(mechanism), key, target, out.memory, ctypes.byref(size))
                iv = bytes(param.keep[member])
                assert (iv == b"\xff" * 12) == (generator == CKG.NO_GENERATE)
                assert int.from_bytes(iv, "big") >> (96 - fixed) == 2 ** fixed - 1
                assert python.decrypt(iv, out.take(size.value), b"aad") == TEXT[:40]
    p = struct("CK_GCM_WRAP_PARAMS", pIv=bytes(12), ulIvFixedBits=0, ivGenerator=CKG.GENERATE_COUNTER, ulTagBits=128)
    assert code_of(s.wrap, (CKM.AES_GCM, p), key, target) == "CKR_MECHANISM_PARAM_INVALID"

