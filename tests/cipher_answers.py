"""Published answers of ciphers, with their sources; KNOWN: [(mechanism, key type, key, plaintext, ciphertext), ...]."""
from cryptoki import CKK, CKM, struct


def hexes(*texts):
    return tuple(bytes.fromhex(t) for t in texts)


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
CTS = [(17, "97", "c6353568f2bf8cb4d8a580362da7ff7f"),
       (31, "97687268d6ecccc0c07b25e25ecfe5", "fc00783e0efdb2c1d445d4c8eff7ed22"),
       (32, "97687268d6ecccc0c07b25e25ecfe584", "39312523a78662d5be7fcbcc98ebf5a8"),
       (47, "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5", "b3fffd940c16a18c1b5549d2f838029e"),
       (48, "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a8", "9dad8bbb96c4cdc03bc103e1a194bbd8"),
       (64, "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a89dad8bbb96c4cdc03bc103e1a194bbd8",
        "4807efe836ee89a526730dbc2f7bc840")]
KNOWN += [((CKM.AES_CTS, bytes(16)), CKK.AES, CTS_KEY, CTS_TEXT[:n], bytes.fromhex(a + b)) for n, a, b in CTS]

# GCM: McGrew and Viega, The Galois/Counter Mode of Operation, appendix B: cases 1 to 6, 14 and 16.
GCM_KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308")
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
    (2 * GCM_KEY, GCM_IV, GCM_AAD, GCM_TEXT[:60],
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838"
     "c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"),
]
KNOWN += [((CKM.AES_GCM, make(iv, aad)), CKK.AES, key, text, bytes.fromhex(c)) for key, iv, aad, text, c in GCMS
          for make in (gcm, nss_gcm)]

# CCM: SP 800-38C, examples 1 to 3.
CCM_KEY = bytes(range(0x40, 0x50))
CCMS = [(bytes(range(0x10, 0x17)), bytes(range(8)), bytes(range(0x20, 0x24)), 4, "7162015b4dac255d"),
        (bytes(range(0x10, 0x18)), bytes(range(16)), bytes(range(0x20, 0x30)), 6,
         "d2a1f0e051ea5f62081a7792073d593d1fc64fbfaccd"),
        (bytes(range(0x10, 0x1c)), bytes(range(20)), bytes(range(0x20, 0x38)), 8,
         "e3b201a9f5b71a7a9b1ceaeccd97e70b6176aad9a4428aa5484392fbc1b09951")]
KNOWN += [((CKM.AES_CCM, ccm(nonce, aad, tag, len(text))), CKK.AES, CCM_KEY, text, bytes.fromhex(c))
          for nonce, aad, text, tag, c in CCMS]

# ChaCha20-Poly1305: RFC 8439, 2.8.2.
CHACHA_KEY = bytes(range(0x80, 0xa0))
CHACHA_NONCE, CHACHA_AAD = hexes("070000004041424344454647", "50515253c0c1c2c3c4c5c6c7")
CHACHA_TEXT = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
               b"sunscreen would be it.")
CHACHA_SEALED = bytes.fromhex(
    "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b"
    "1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
    "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691")
KNOWN += [((m, p), kind, CHACHA_KEY, CHACHA_TEXT, CHACHA_SEALED)
          for m, kind in ((CKM.CHACHA20_POLY1305, CKK.CHACHA20), (CKM.NSS_CHACHA20_POLY1305, CKK.NSS_CHACHA20))
          for p in (chacha(CHACHA_NONCE, CHACHA_AAD), chacha(CHACHA_NONCE, CHACHA_AAD, bits=False),
                    nss_chacha(CHACHA_NONCE, CHACHA_AAD))]

# Key wrap: RFC 3394, 4.1 to 4.6, and RFC 5649, section 6.
KEK, WRAPPED = bytes(range(32)), bytes.fromhex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f")
KWP_KEK = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")
WRAPS = [(16, 16, "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5"),
         (24, 16, "96778b25ae6ca435f92b5b97c050aed2468ab8a17ad84e5d"),
         (32, 16, "64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7"),
         (24, 24, "031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2"),
         (32, 24, "a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1"),
         (32, 32, "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21")]
KNOWN += [(m, CKK.AES, KEK[:k], WRAPPED[:n], bytes.fromhex(c)) for m in (CKM.AES_KEY_WRAP, CKM.NSS_AES_KEY_WRAP)
          for k, n, c in WRAPS]
KWPS = [("c37b7e6492584340bed12207808941155068f738",
         "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f")]
KNOWN += [(CKM.AES_KEY_WRAP_KWP, CKK.AES, KWP_KEK, *hexes(text, c)) for text, c in KWPS]

# DES: FIPS 81, table B1 (ECB) and C1 (CBC). Triple DES: SP 800-67, appendix B. RC2: RFC 2268, section 5. RC4: RFC 6229.
FOX = b"The qufck brown fox jump"  # sic: 5468652071756663...
DES = bytes.fromhex("0123456789abcdef")
DES3 = bytes.fromhex("0123456789abcdef23456789abcdef01456789abcdef0123")
NOW = b"Now is the time for all "
KNOWN += [(CKM.DES_ECB, CKK.DES, DES, NOW, bytes.fromhex("3fa40e8a984d48156a271787ab8883f9893d51ec4b563b53")),
          ((CKM.DES_CBC, bytes.fromhex("1234567890abcdef")), CKK.DES, DES, NOW,
           bytes.fromhex("e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6")),
          (CKM.DES3_ECB, CKK.DES3, DES3, FOX, bytes.fromhex("a826fd8ce53b855fcce21c8112256fe668d5c05dd9b6b900"))]
ZERO = "0000000000000000"
RC2 = [(63, ZERO, ZERO, "ebb773f993278eff"),
       (64, "ffffffffffffffff", "ffffffffffffffff", "278b27e42e2f0d49"),
       (64, "3000000000000000", "1000000000000001", "30649edf9be7d2c2"),
       (64, "88", ZERO, "61a8a244adacccf0"),
       (64, "88bca90e90875a", ZERO, "6ccf4308974c267f"),
       (64, "88bca90e90875a7f0f79c384627bafb2", ZERO, "1a807d272bbe5db1"),
       (128, "88bca90e90875a7f0f79c384627bafb2", ZERO, "2269552ab0f85ca6"),
       (129, "88bca90e90875a7f0f79c384627bafb216f80a6f85920584c42fceb0be255daf1e", ZERO, "5b78d3a43dfff1f1")]
KNOWN += [((CKM.RC2_ECB, bits), CKK.RC2, *hexes(key, text, c)) for bits, key, text, c in RC2]
KNOWN += [((CKM.RC2_CBC, rc2_cbc(bits, bytes(8))), CKK.RC2, *hexes(key, text, c)) for bits, key, text, c in RC2]
RC4 = [("0102030405", "b2396305f03dc027ccc3524a0a1118a8"),
       ("0102030405060708090a0b0c0d0e0f10", "9ac7cc9a609d1ef7b2932899cde41b97"),
       (bytes(range(1, 33)).hex(), "eaa6bd25880bf93d3f5d1e4ca2611d91")]
KNOWN += [(CKM.RC4, CKK.RC4, bytes.fromhex(key), bytes(16), bytes.fromhex(c)) for key, c in RC4]
