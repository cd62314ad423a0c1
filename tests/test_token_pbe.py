"""Keys from passwords: PBKDF2 against its published vectors, the key derivation of PKCS #12 against files that OpenSSL
made and against a few lines of Python."""
import hashlib
import hmac

import pytest

from cryptoki import CKA, CKK, CKM, CKP, CKZ, ULONG, CkError, struct

READABLE = {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}
PBKDF2 = CKM.PKCS5_PBKD2
SHA1, SHA256 = CKP.PKCS5_PBKD2_HMAC_SHA1, CKP.PKCS5_PBKD2_HMAC_SHA256
PASSWORD = "Prüfung & Rätsel"


def params2(password, salt, iterations: int, prf: int, **more):
    """CK_PKCS5_PBKD2_PARAMS2, the form of 2.40 and later. None: a NULL pointer."""
    values = dict(saltSource=CKZ.SALT_SPECIFIED, pSaltSourceData=salt, iterations=iterations, prf=prf,
                  pPassword=password)
    return struct("CK_PKCS5_PBKD2_PARAMS2", **(values | more))


def params1(password: bytes, salt: bytes, iterations: int, prf: int, **more):
    """CK_PKCS5_PBKD2_PARAMS, the older form: the length of the password is behind a pointer."""
    values = dict(saltSource=CKZ.SALT_SPECIFIED, pSaltSourceData=salt, iterations=iterations, prf=prf,
                  pPassword=password, ulPasswordLen=ULONG(len(password)))
    return struct("CK_PKCS5_PBKD2_PARAMS", **(values | more))


def pbe_params(password, salt, iterations: int, iv=None):
    return struct("CK_PBE_PARAMS", pPassword=password, pSalt=salt, ulIteration=iterations, pInitVector=iv)


def generic(length: int) -> dict:
    return READABLE | {CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE_LEN: length}


def refused(name: str, session, mech, asked: dict):
    with pytest.raises(CkError) as e:
        session.generate_key(mech, asked)
    assert e.value.name == "CKR_" + name, (mech, asked)


# --- PBKDF2 --------------------------------------------------------------------------------------------------------

# RFC 6070 (SHA-1), RFC 7914, section 11 (SHA-256).
VECTORS = [
    (SHA1, b"password", b"salt", 1, "0c60c80f961f0e71f3a9b524af6012062fe037a6"),
    (SHA1, b"password", b"salt", 2, "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
    (SHA1, b"password", b"salt", 4096, "4b007901b765489abead49d926f721d065a429c1"),
    (SHA1, b"passwordPASSWORDpassword", b"saltSALTsaltSALTsaltSALTsaltSALTsalt", 4096,
     "3d2eec4fe41c849b80c8d83662c0e44a8b291a964cf2f07038"),
    (SHA1, b"pass\0word", b"sa\0lt", 4096, "56fa6aa75548099dcc37d7f03425e0c3"),
    (SHA256, b"passwd", b"salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
                                    "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"),
    (SHA256, b"Password", b"NaCl", 80000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"
                                          "a1d425a1225833549adb841b51c9b3176a272bdebba1d078478f62b397f33c8d"),
]


@pytest.mark.parametrize("form", [params1, params2])
def test_pbkdf2_published_vectors(token, form):
    """Both layouts of the parameters, which have one size, are told apart."""
    s = token.session()
    for prf, password, salt, iterations, expected in VECTORS:
        key = s.generate_key((PBKDF2, form(password, salt, iterations, prf)), generic(len(expected) // 2))
        assert s.get(key, CKA.VALUE).hex() == expected
        assert s.get_bool(key, CKA.LOCAL)
        assert s.get_ulong(key, CKA.KEY_GEN_MECHANISM) == PBKDF2


def test_pbkdf2_with_every_hash(token):
    s = token.session()
    prfs = {SHA1: "sha1", CKP.PKCS5_PBKD2_HMAC_SHA224: "sha224", SHA256: "sha256",
            CKP.PKCS5_PBKD2_HMAC_SHA384: "sha384", CKP.PKCS5_PBKD2_HMAC_SHA512: "sha512",
            CKP.PKCS5_PBKD2_HMAC_SHA512_224: "sha512_224", CKP.PKCS5_PBKD2_HMAC_SHA512_256: "sha512_256"}
    for prf, name in prfs.items():
        for password, salt, length in ((b"secret", b"NaCl", 100), (b"", b"NaCl", 16), (b"secret", b"", 16),
                                       (b"p" * 8192, b"s" * 300, 33)):
            key = s.generate_key((PBKDF2, params2(password, salt, 3, prf)), generic(length))
            expected = hashlib.pbkdf2_hmac(name, password, salt, 3, length)
            assert s.get(key, CKA.VALUE) == expected, (name, password[:8], salt[:8])
    empty = s.generate_key((PBKDF2, params2(None, None, 3, SHA1)), generic(16))
    assert s.get(empty, CKA.VALUE) == hashlib.pbkdf2_hmac("sha1", b"", b"", 3, 16)


def odd(key: bytes) -> bytes:
    """A DES key with its parity bits."""
    return bytes(b ^ (1 - b.bit_count() % 2) for b in key)


def test_pbkdf2_makes_any_type_of_key(token):
    """CKA_VALUE_LEN is needed unless the type has one length only; then it may be given."""
    s = token.session()
    mech = PBKDF2, params2(b"secret", b"NaCl", 2, SHA256)
    full = hashlib.pbkdf2_hmac("sha256", b"secret", b"NaCl", 2, 64)
    for kind, asked, expected in ((CKK.AES, 16, full[:16]), (CKK.AES, 32, full[:32]), (CKK.RC2, 5, full[:5]),
                                  (CKK.DES3, None, odd(full[:24])), (CKK.DES3, 24, odd(full[:24])),
                                  (CKK.DES2, None, odd(full[:16])), (CKK.CHACHA20, None, full[:32]),
                                  (CKK.SHA256_HMAC, 64, full)):
        what = READABLE | {CKA.KEY_TYPE: kind} | ({} if asked is None else {CKA.VALUE_LEN: asked})
        key = s.generate_key(mech, what)
        assert s.get(key, CKA.VALUE) == expected, CKK.name(kind)
        assert s.get_ulong(key, CKA.KEY_TYPE) == kind
    refused("TEMPLATE_INCOMPLETE", s, mech, {CKA.VALUE_LEN: 16})
    refused("TEMPLATE_INCOMPLETE", s, mech, {CKA.KEY_TYPE: CKK.AES})
    refused("TEMPLATE_INCOMPLETE", s, mech, {CKA.KEY_TYPE: CKK.GENERIC_SECRET})
    refused("TEMPLATE_INCONSISTENT", s, mech, {CKA.KEY_TYPE: CKK.DES3, CKA.VALUE_LEN: 16})
    refused("TEMPLATE_INCONSISTENT", s, mech, {CKA.KEY_TYPE: CKK.RSA, CKA.VALUE_LEN: 16})
    refused("ATTRIBUTE_VALUE_INVALID", s, mech, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 20})
    refused("ATTRIBUTE_VALUE_INVALID", s, mech, generic(65537))


def test_pbkdf2_key_for_nss(token):
    """The template of PK11_PBEKeyGen: usable for what a PBES2 file needs."""
    s = token.session()
    usage = dict.fromkeys((CKA.SIGN, CKA.ENCRYPT, CKA.DECRYPT, CKA.UNWRAP, CKA.WRAP), True)
    key = s.generate_key((PBKDF2, params1(b"secret", b"NaCl", 2, SHA256)),
                         {CKA.VALUE_LEN: 32, CKA.KEY_TYPE: CKK.AES} | usage)
    assert all(s.get_bool(key, kind) for kind in usage)


def test_pbkdf2_parameters_that_cannot_be(token):
    s = token.session()
    good = b"secret", b"NaCl", 2, SHA256
    for parameter in (None, b"", bytes(71), bytes(72), bytes(73),
                      params2(b"secret", b"NaCl", 0, SHA256), params2(b"secret", b"NaCl", 1 << 40, SHA256),
                      params2(b"secret", b"NaCl", 2, 0), params2(b"secret", b"NaCl", 2, 99),
                      params2(b"secret", b"NaCl", 2, CKP.PKCS5_PBKD2_HMAC_GOSTR3411),
                      params2(*good, saltSource=2), params2(*good, pPrfData=b"more"),
                      params2(None, b"NaCl", 2, SHA256, ulPasswordLen=6),
                      params2(b"secret", None, 2, SHA256, ulSaltSourceDataLen=4),
                      params2(b"secret", b"NaCl", 2, SHA256, ulSaltSourceDataLen=1 << 62),
                      params1(*good, ulPasswordLen=ULONG(8193))):
        refused("MECHANISM_PARAM_INVALID", s, (PBKDF2, parameter), generic(16))


# --- PKCS #12 ------------------------------------------------------------------------------------------------------

def bmp(password: str) -> bytes:
    """As PKCS #12 wants passwords: UTF-16, big endian, with a final zero."""
    return password.encode("utf-16-be") + b"\0\0"


def pkcs12_kdf(hash_name: str, identity: int, password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """RFC 7292, appendix B.2, in numbers."""
    v = hashlib.new(hash_name).block_size

    def fill(text):
        return (text * v)[:-(-len(text) // v) * v]
    blocks, out = fill(salt) + fill(password), b""
    while len(out) < length:
        a = bytes([identity]) * v + blocks
        for _ in range(iterations):
            a = hashlib.new(hash_name, a).digest()
        out += a
        b = int.from_bytes((a * v)[:v], "big") + 1
        blocks = b"".join(((int.from_bytes(blocks[i:i + v], "big") + b) % (1 << 8 * v)).to_bytes(v, "big")
                          for i in range(0, len(blocks), v))
    return out[:length]


def der(data: bytes) -> list:
    """The elements of some DER: constructed ones as lists, INTEGERs as ints, others as bytes."""
    out = []
    while data:
        tag, n, head = data[0], data[1], 2
        if n & 0x80:
            head += n & 0x7f
            n = int.from_bytes(data[2:head], "big")
        content, data = data[head:head + n], data[head + n:]
        out.append(der(content) if tag & 0x20 else int.from_bytes(content, "big") if tag == 2 else content)
    return out


# mechanism, its name for openssl, key type, bytes of the key, how to decipher with key and IV
PBES = [
    (CKM.PBE_SHA1_DES3_EDE_CBC, "PBE-SHA1-3DES", CKK.DES3, 24, lambda iv: (CKM.DES3_CBC_PAD, iv)),
    (CKM.PBE_SHA1_DES2_EDE_CBC, "PBE-SHA1-2DES", CKK.DES2, 16, lambda iv: (CKM.DES3_CBC_PAD, iv)),
    (CKM.PBE_SHA1_RC2_128_CBC, "PBE-SHA1-RC2-128", CKK.RC2, 16,
     lambda iv: (CKM.RC2_CBC_PAD, struct("CK_RC2_CBC_PARAMS", ulEffectiveBits=128, iv=iv))),
    (CKM.PBE_SHA1_RC2_40_CBC, "PBE-SHA1-RC2-40", CKK.RC2, 5,
     lambda iv: (CKM.RC2_CBC_PAD, struct("CK_RC2_CBC_PARAMS", ulEffectiveBits=40, iv=iv))),
    (CKM.PBE_SHA1_RC4_128, "PBE-SHA1-RC4-128", CKK.RC4, 16, lambda iv: CKM.RC4),
    (CKM.PBE_SHA1_RC4_40, "PBE-SHA1-RC4-40", CKK.RC4, 5, lambda iv: CKM.RC4),
]


@pytest.fixture
def key_file(run, tmp_path):
    """A private key in the clear, PKCS #8: its path and its bytes."""
    path = tmp_path / "key.pem"
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
    run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", path, "-outform", "DER", "-out", tmp_path / "p8")
    return path, (tmp_path / "p8").read_bytes()


@pytest.mark.parametrize("mech, name, kind, length, cipher", PBES, ids=[p[1] for p in PBES])
def test_pkcs12_keys_open_what_openssl_encrypted(token, run, tmp_path, key_file, mech, name, kind, length, cipher):
    """Key and IV from the password; the IV goes where the caller says."""
    path, plain = key_file
    legacy = ("-provider", "legacy", "-provider", "default")
    run("openssl", "pkcs8", "-topk8", "-v1", name, "-iter", "1500", "-passout", f"pass:{PASSWORD}",
        "-in", path, "-outform", "DER", "-out", tmp_path / "encrypted", *legacy)
    [[[_, [salt, iterations]], encrypted]] = der((tmp_path / "encrypted").read_bytes())
    assert iterations == 1500
    s = token.session()
    iv = (ULONG * 1)()
    key = s.generate_key((mech, pbe_params(bmp(PASSWORD), salt, iterations, iv)), READABLE)
    assert s.get_ulong(key, CKA.KEY_TYPE) == kind
    assert s.decrypt(cipher(bytes(iv)), key, encrypted) == plain

    value = pkcs12_kdf("sha1", 1, bmp(PASSWORD), salt, iterations, length)
    assert s.get(key, CKA.VALUE) == (odd(value) if kind in (CKK.DES2, CKK.DES3) else value)
    if kind != CKK.RC4:
        assert bytes(iv) == pkcs12_kdf("sha1", 2, bmp(PASSWORD), salt, iterations, 8)
    # Without a place for the IV, and with the length, which the template may repeat.
    again = s.generate_key((mech, pbe_params(bmp(PASSWORD), salt, iterations)), READABLE | {CKA.VALUE_LEN: length})
    assert s.get(again, CKA.VALUE) == s.get(key, CKA.VALUE)


HMACS = [
    (CKM.PBA_SHA1_WITH_SHA1_HMAC, "sha1", CKM.SHA_1_HMAC),
    (CKM.NSS_PKCS12_PBE_SHA224_HMAC_KEY_GEN, "sha224", CKM.SHA224_HMAC),
    (CKM.NSS_PKCS12_PBE_SHA256_HMAC_KEY_GEN, "sha256", CKM.SHA256_HMAC),
    (CKM.NSS_PKCS12_PBE_SHA384_HMAC_KEY_GEN, "sha384", CKM.SHA384_HMAC),
    (CKM.NSS_PKCS12_PBE_SHA512_HMAC_KEY_GEN, "sha512", CKM.SHA512_HMAC),
]


@pytest.mark.parametrize("mech, name, mac", HMACS, ids=[h[1] for h in HMACS])
def test_pkcs12_files_of_openssl(token, run, tmp_path, key_file, mech, name, mac):
    """The MAC of a file, with a key of the hash's length; inside, a private key under PBES2."""
    path, plain = key_file
    run("openssl", "pkcs12", "-export", "-nocerts", "-inkey", path, "-macalg", name, "-iter", "1200",
        "-passout", f"pass:{PASSWORD}", "-out", tmp_path / "p12")
    [[_, [_, [safe]], [[_, digest], salt, iterations]]] = der((tmp_path / "p12").read_bytes())
    s = token.session()
    key = s.generate_key((mech, pbe_params(bmp(PASSWORD), salt, iterations)), READABLE | {CKA.SIGN: True})
    value = s.get(key, CKA.VALUE)
    assert s.get_ulong(key, CKA.KEY_TYPE) == CKK.GENERIC_SECRET
    assert value == pkcs12_kdf(name, 3, bmp(PASSWORD), salt, iterations, len(digest))
    assert hmac.digest(value, safe, name) == digest

    [[[_, [bags]]]] = der(safe)
    [[[_, [[[_, [[_, [salt, iterations, *_]], [_, iv]]], encrypted]], *_]]] = der(bags)
    key = s.generate_key((PBKDF2, params2(PASSWORD.encode(), salt, iterations, SHA256)),
                         {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32})
    assert s.decrypt((CKM.AES_CBC_PAD, iv), key, encrypted) == plain


def test_pkcs12_parameters_that_cannot_be(token):
    s = token.session()
    good = pbe_params(bmp("x"), b"saltsalt", 2)
    for mech in [p[0] for p in PBES] + [h[0] for h in HMACS]:
        for parameter in (None, b"", bytes(47), bytes(48), bytes(49), pbe_params(bmp("x"), b"saltsalt", 0),
                          pbe_params(bmp("x"), b"saltsalt", 1 << 40), pbe_params(None, None, 2),
                          struct("CK_PBE_PARAMS", ulPasswordLen=4, pSalt=b"salt", ulIteration=1),
                          struct("CK_PBE_PARAMS", pPassword=b"\0x", ulSaltLen=4, ulIteration=1),
                          struct("CK_PBE_PARAMS", pPassword=b"\0x", pSalt=b"salt", ulSaltLen=1 << 62, ulIteration=1)):
            refused("MECHANISM_PARAM_INVALID", s, (mech, parameter), READABLE)
        refused("TEMPLATE_INCONSISTENT", s, (mech, good), READABLE | {CKA.KEY_TYPE: CKK.AES})
        refused("TEMPLATE_INCONSISTENT", s, (mech, good), READABLE | {CKA.VALUE_LEN: 17})


def test_pkcs12_without_password_or_salt(token):
    """Empty is not missing: a file may have an empty password, as two zero bytes or as none."""
    s = token.session()
    for password, salt in ((b"", b"salt"), (b"\0\0", b"salt"), (bmp("x"), b""), (None, b"salt"),
                           (bmp("x" * 200), b"s" * 130)):
        for mech, name, _ in HMACS:
            key = s.generate_key((mech, pbe_params(password, salt, 2)), READABLE)
            assert s.get(key, CKA.VALUE) == pkcs12_kdf(name, 3, password or b"", salt or b"", 2,
                                                       hashlib.new(name).digest_size)
