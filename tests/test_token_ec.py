"""Elliptic curves: ECDSA, EdDSA and the forms in which curves, points and keys come."""
import hashlib
import os

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, utils, x448, x25519

from asymmetric import (CURVES, HASHES, add, add_private, add_public, code_of, ec_key, octets, parts_of, point, rsa_key,
                        spki)
from cryptoki import CKA, CKK, CKM, CKO, struct

HASHED = {name: getattr(CKM, "ECDSA_" + name.upper()) for name in HASHES}
PYTHON = {name: getattr(hashes, name.upper())() for name in HASHES}
ORDER = {
    "secp256r1": 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551,
    "secp256k1": 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141,
}


def raw(signature: bytes, size: int) -> bytes:
    r, s = utils.decode_dss_signature(signature)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def der(signature: bytes) -> bytes:
    half = len(signature) // 2
    return utils.encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))


@pytest.mark.parametrize("curve", CURVES)
def test_ecdsa(token, curve):
    """Every hash on every curve, both ways with python3-cryptography, in one part and in several."""
    s, key, size = token.session(), ec_key(curve), CURVES[curve][0]
    public, private = add(s, key)
    message = os.urandom(500)
    for name, mech in HASHED.items():
        signature = s.sign(mech, private, message)
        assert len(signature) == 2 * size
        key.public_key().verify(der(signature), message, ec.ECDSA(PYTHON[name]))
        signature = s.sign_parts(mech, private, [message[:9], message[9:]])
        key.public_key().verify(der(signature), message, ec.ECDSA(PYTHON[name]))
        other = raw(key.sign(message, ec.ECDSA(PYTHON[name])), size)
        s.verify(mech, public, message, other)
        s.verify_parts(mech, public, [message[:200], b"", message[200:]], other)
        assert code_of(s.verify, mech, public, message + b"x", other) == "CKR_SIGNATURE_INVALID"


@pytest.mark.parametrize("curve", CURVES)
def test_ecdsa_of_a_digest(token, curve):
    """CKM_ECDSA takes digests of any length; of those longer than the order the left bits count."""
    s, key, size = token.session(), ec_key(curve), CURVES[curve][0]
    public, private = add(s, key)
    for name in ("sha1", "sha224", "sha256", "sha384", "sha512"):
        digest = hashlib.new(name, b"m").digest()
        form = ec.ECDSA(utils.Prehashed(PYTHON[name]))
        key.public_key().verify(der(s.sign(CKM.ECDSA, private, digest)), digest, form)
        s.verify(CKM.ECDSA, public, digest, raw(key.sign(digest, form), size))
        s.verify(HASHED[name], public, b"m", s.sign(CKM.ECDSA, private, digest))
    for length in (1, size - 1, size + 1, 200):
        data = os.urandom(length)
        s.verify(CKM.ECDSA, public, data, s.sign(CKM.ECDSA, private, data))
    assert code_of(s.sign, CKM.ECDSA, private, b"") == "CKR_DATA_LEN_RANGE"
    assert code_of(s.verify, CKM.ECDSA, public, b"", bytes(2 * size)) == "CKR_DATA_LEN_RANGE"


def test_signature_lengths(token):
    """A signature is of even length and at most twice the order; a shorter one is right if r and s fit."""
    s, key = token.session(), ec_key("secp256r1")
    public = add_public(s, key)
    good = raw(key.sign(b"m", ec.ECDSA(hashes.SHA256())), 32)
    for bad in (b"", b"\x01", good[:-1], good + b"x", good + b"xx", bytes(66), bytes(200)):
        assert code_of(s.verify, CKM.ECDSA_SHA256, public, b"m", bad) == "CKR_SIGNATURE_LEN_RANGE", len(bad)
    zero = bytes(32)
    n = ORDER["secp256r1"].to_bytes(32, "big")
    for bad in (zero + zero, good[:32] + zero, zero + good[32:], n + good[32:], good[:32] + n, good[:-2],
                good[32:] + good[:32]):
        assert code_of(s.verify, CKM.ECDSA_SHA256, public, b"m", bad) == "CKR_SIGNATURE_INVALID"
    # s of 31 bytes comes once in 256 tries, r and s both once in 65,536: one is made instead, with a digest to suit.
    k, x = 1, key.private_numbers().private_value
    r = 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296  # of the base point
    short = 5
    e = (short * k - r * x) % ORDER["secp256r1"]
    s.verify(CKM.ECDSA, public, e.to_bytes(32, "big"), r.to_bytes(32, "big") + short.to_bytes(32, "big"))


# RFC 6979, A.2.5 to A.2.7: private key, hash, r and s of "sample".
RFC6979 = [
    ("secp256r1", "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721", CKM.ECDSA_SHA256,
     "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
     "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"),
    ("secp256r1", "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721", CKM.ECDSA_SHA224,
     "53B2FFF5D1752B2C689DF257C04C40A587FABABB3F6FC2702F1343AF7CA9AA3F"
     "B9AFB64FDC03DC1A131C7D2386D11E349F070AA432A4ACC918BEA988BF75C74C"),
    ("secp384r1", "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D8"
     "96D5724E4C70A825F872C9EA60D2EDF5", CKM.ECDSA_SHA384,
     "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46"
     "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8"),
    ("secp521r1", "00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75"
     "CAA896EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538", CKM.ECDSA_SHA512,
     "00C328FAFCBD79DD77850370C46325D987CB525569FB63C5D3BC53950E6D4C5F174E25A1EE9017B5D450606ADD152B53"
     "4931D7D4E8455CC91F9B15BF05EC36E377FA"
     "00617CCE7CF5064806C467F678D3B4080D6F1CC50AF26CA209417308281B68AF282623EAA63E5B5C0723D8B8C37FF077"
     "7B1A20F8CCB1DCCC43997F1EE0E44DA4A67A"),
]


@pytest.mark.parametrize("curve, secret, mech, signature", RFC6979)
def test_published_signatures(token, curve, secret, mech, signature):
    """The public key comes from the private one, as the token computes it."""
    s = token.session()
    params = bytes.fromhex(CURVES[curve][1])
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: params,
                        CKA.VALUE: bytes.fromhex(secret)})
    public = s.create({CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: params,
                       CKA.EC_POINT: s.get(private, CKA.EC_POINT)})
    s.verify(mech, public, b"sample", bytes.fromhex(signature))
    assert code_of(s.verify, mech, public, b"sampled", bytes.fromhex(signature)) == "CKR_SIGNATURE_INVALID"


# RFC 8032, 7.1 and 7.4: curve, private key, message, signature.
RFC8032 = [
    (ed25519.Ed25519PrivateKey, "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
     "d25bf5f0595bbe24655141438e7a100b"),
    (ed25519.Ed25519PrivateKey, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
     "387b2eaeb4302aeeb00d291612bb0c00"),
    (ed25519.Ed25519PrivateKey, "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
     "4a7c15e9716ed28dc027beceea1ec40a"),
    (ed448.Ed448PrivateKey, "6c82a562cb808d10d632be89c8513ebf6c929f34ddfa8c9f63c9960ef6e348a3"
     "528c8a3fcc2f044e39a3fc5b94492f8f032e7549a20098f95b", "",
     "533a37f6bbe457251f023c0d88f976ae2dfb504a843e34d2074fd823d41a591f2b233f034f628281f2fd7a22ddd47d78"
     "28c59bd0a21bfd3980ff0d2028d4b18a9df63e006c5d1c2d345b925d8dc00b4104852db99ac5c7cdda8530a113a0f4db"
     "b61149f05a7363268c71d95808ff2e652600"),
    (ed448.Ed448PrivateKey, "c4eab05d357007c632f3dbb48489924d552b08fe0c353a0d4a1f00acda2c463a"
     "fbea67c5e8d2877c5e3bc397a659949ef8021e954e0a12274e", "03",
     "26b8f91727bd62897af15e41eb43c377efb9c610d48f2335cb0bd0087810f4352541b143c4b981b7e18f62de8ccdf633"
     "fc1bf037ab7cd779805e0dbcc0aae1cbcee1afb2e027df36bc04dcecbf154336c19f0af7e0a6472905e799f1953d2a0f"
     "f3348ab21aa4adafd1d234441cf807c03a00"),
]


@pytest.mark.parametrize("kind, secret, message, signature", RFC8032)
def test_eddsa_vectors(token, kind, secret, message, signature):
    s, message, signature = token.session(), bytes.fromhex(message), bytes.fromhex(signature)
    public, private = add(s, kind.from_private_bytes(bytes.fromhex(secret)))
    none = struct("CK_EDDSA_PARAMS", phFlag=False)
    for mech in (CKM.EDDSA, (CKM.EDDSA, none)):
        assert s.sign(mech, private, message) == signature
        assert s.sign_parts(mech, private, [message[:1], message[1:]]) == signature
        s.verify(mech, public, message, signature)
        s.verify_parts(mech, public, [b"", message], signature)
    assert code_of(s.verify, CKM.EDDSA, public, message + b"x", signature) == "CKR_SIGNATURE_INVALID"
    spoilt = signature[:5] + bytes([signature[5] ^ 1]) + signature[6:]
    assert code_of(s.verify, CKM.EDDSA, public, message, spoilt) == "CKR_SIGNATURE_INVALID"
    for bad in (b"", signature[:-1], signature + b"\x00"):
        assert code_of(s.verify, CKM.EDDSA, public, message, bad) == "CKR_SIGNATURE_LEN_RANGE"


def test_eddsa_large_message(token):
    """Parts are kept until the end; they may be many."""
    s, key = token.session(), ed25519.Ed25519PrivateKey.generate()
    public, private = add(s, key)
    parts = [os.urandom(997) for _ in range(300)]
    signature = s.sign_parts(CKM.EDDSA, private, parts)
    assert signature == key.sign(b"".join(parts))
    s.verify_parts(CKM.EDDSA, public, parts[:1] + [b"".join(parts[1:])], signature)


def test_eddsa_parameters(token):
    """OpenSSL 3.0 has neither contexts nor hashing first: asked for, they are refused and not left out."""
    s = token.session()
    for key in (ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate()):
        public, private = add(s, key)
        for parameter in (struct("CK_EDDSA_PARAMS", phFlag=True),
                          struct("CK_EDDSA_PARAMS", phFlag=False, pContextData=b"c"), b"\x00", bytes(23), bytes(25)):
            assert code_of(s.init, "C_SignInit", (CKM.EDDSA, parameter), private) == "CKR_MECHANISM_PARAM_INVALID"
            assert code_of(s.init, "C_VerifyInit", (CKM.EDDSA, parameter), public) == "CKR_MECHANISM_PARAM_INVALID"


ALL_KEYS = [*CURVES, "X25519", "X448", "Ed25519", "Ed448"]


def any_key(name: str):
    kinds = {"X25519": x25519.X25519PrivateKey, "X448": x448.X448PrivateKey, "Ed25519": ed25519.Ed25519PrivateKey,
             "Ed448": ed448.Ed448PrivateKey}
    return kinds[name].generate() if name in kinds else ec_key(name)


@pytest.mark.parametrize("name", ALL_KEYS)
def test_forms_of_a_point(token, name):
    """CKA_EC_POINT is taken as a DER OCTET STRING and as it is, and told as a DER OCTET STRING, for every curve."""
    s, key = token.session(), any_key(name)
    public, private = parts_of(key)
    for given in (octets(point(key)), point(key)):
        obj = s.create({CKA.CLASS: CKO.PUBLIC_KEY, **public, CKA.EC_POINT: given})
        assert s.get(obj, CKA.EC_POINT) == octets(point(key))
        assert s.get(obj, CKA.PUBLIC_KEY_INFO) == spki(key)
    for template in (private, private | {CKA.EC_POINT: octets(point(key))}, private | {CKA.PUBLIC_KEY_INFO: spki(key)}):
        obj = s.create({CKA.CLASS: CKO.PRIVATE_KEY, **template})
        assert s.get(obj, CKA.EC_POINT) == octets(point(key))
        assert s.get(obj, CKA.PUBLIC_KEY_INFO) == spki(key)
    other = any_key("secp256r1" if name == "secp256k1" else name)
    if name not in CURVES:
        wrong = private | {CKA.CLASS: CKO.PRIVATE_KEY, CKA.EC_POINT: octets(point(other))}
        assert code_of(s.create, wrong) == "CKR_TEMPLATE_INCONSISTENT"
        wrong = private | {CKA.CLASS: CKO.PRIVATE_KEY, CKA.PUBLIC_KEY_INFO: spki(other)}
        assert code_of(s.create, wrong) == "CKR_ATTRIBUTE_VALUE_INVALID"
    for bad in (b"", b"\x04", b"\x00", octets(b"\x00"), point(key)[:-1], octets(point(key)) + b"\x00", octets(b"")):
        template = {CKA.CLASS: CKO.PUBLIC_KEY, **public, CKA.EC_POINT: bad}
        assert code_of(s.create, template) == "CKR_ATTRIBUTE_VALUE_INVALID", bad


@pytest.mark.parametrize("curve", CURVES)
def test_points_off_the_curve(token, curve):
    """CVE-2021-3798: a point that is on another curve, or at infinity, must not become a key."""
    s, key, size = token.session(), ec_key(curve), CURVES[curve][0]
    good = point(key)
    p_plus = b"\x04" + b"\xff" * (2 * size)
    negated = good[:1 + size] + bytes(b ^ 0xff for b in good[1 + size:])
    public = {CKA.CLASS: CKO.PUBLIC_KEY, **parts_of(key)[0]}
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), p_plus, negated, b"\x04" + bytes(2 * size), b"\x00"):
        for form in (bad, octets(bad)):
            assert code_of(s.create, public | {CKA.EC_POINT: form}) == "CKR_ATTRIBUTE_VALUE_INVALID", bad[:8]
    for unsupported in (b"\x06" + good[1:], b"\x07" + good[1:], b"\x02" + good[1:1 + size], b"\x03" + good[1:1 + size]):
        for form in (unsupported, octets(unsupported)):
            assert code_of(s.create, public | {CKA.EC_POINT: form}) == "CKR_TEMPLATE_INCONSISTENT", unsupported[:8]


@pytest.mark.parametrize("curve", CURVES)
def test_private_values(token, curve):
    """Between 0 and the order; leading zeros do no harm, missing ones neither."""
    s, size = token.session(), CURVES[curve][0]
    template = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: bytes.fromhex(CURVES[curve][1])}
    for good in (b"\x01", bytes(size - 1) + b"\x01", bytes(size + 3) + b"\x01"):
        obj = s.create(template | {CKA.VALUE: good})
        expected = ec.derive_private_key(1, ec_key(curve).curve)
        assert s.get(obj, CKA.PUBLIC_KEY_INFO) == spki(expected)
        signature = s.sign(CKM.ECDSA_SHA256, obj, b"m")
        expected.public_key().verify(der(signature), b"m", ec.ECDSA(hashes.SHA256()))
    bad = [b"", b"\x00", b"\xff" * size, b"\x01" + bytes(size)]
    if curve in ORDER:
        bad.append(ORDER[curve].to_bytes(size, "big"))
        assert code_of(s.create, template | {CKA.VALUE: (ORDER[curve] - 1).to_bytes(size, "big")}) == "CKR_OK"
    for value in bad:
        assert code_of(s.create, template | {CKA.VALUE: value}) == "CKR_ATTRIBUTE_VALUE_INVALID", value
    assert code_of(s.create, template) == "CKR_TEMPLATE_INCOMPLETE"


def printable(text: str) -> bytes:
    return b"\x13" + bytes([len(text)]) + text.encode()


NAMES = [
    ("secp256r1", printable("secp256r1")), ("secp256r1", printable("prime256v1")), ("secp384r1", printable("secp384r1")),
    ("secp521r1", printable("secp521r1")), ("secp256k1", printable("secp256k1")), ("X25519", printable("curve25519")),
    ("X448", printable("curve448")), ("Ed25519", printable("edwards25519")), ("Ed448", printable("edwards448")),
    ("X25519", bytes.fromhex("06092b06010401da470f01")),
]


@pytest.mark.parametrize("name, params", NAMES)
def test_names_of_curves(token, name, params):
    """CKA_EC_PARAMS may be a name or NSS's OID, and stays what it was given as."""
    s, key = token.session(), any_key(name)
    for klass, parts in zip((CKO.PUBLIC_KEY, CKO.PRIVATE_KEY), parts_of(key)):
        obj = s.create({CKA.CLASS: klass, **parts, CKA.EC_PARAMS: params})
        assert s.get(obj, CKA.EC_PARAMS) == params
        assert s.get(obj, CKA.PUBLIC_KEY_INFO) == spki(key)
        if klass == CKO.PRIVATE_KEY and name in CURVES:
            key.public_key().verify(der(s.sign(CKM.ECDSA_SHA256, obj, b"m")), b"m", ec.ECDSA(hashes.SHA256()))
        if klass == CKO.PRIVATE_KEY and name.startswith("Ed"):
            assert s.sign(CKM.EDDSA, obj, b"m") == key.sign(b"m")


def test_unknown_curves(token):
    s, key = token.session(), ec_key("secp256r1")
    for klass, parts in zip((CKO.PUBLIC_KEY, CKO.PRIVATE_KEY), parts_of(key)):
        template = {CKA.CLASS: klass, **parts}
        for params, code in ((bytes.fromhex("06052b81040021"), "CURVE_NOT_SUPPORTED"),
                             (printable("secp192r1"), "CURVE_NOT_SUPPORTED"), (printable(""), "CURVE_NOT_SUPPORTED"), (b"", "DOMAIN_PARAMS_INVALID"),
                             (b"\x05\x00", "DOMAIN_PARAMS_INVALID"), (b"\x30\x03\x02\x01\x01", "DOMAIN_PARAMS_INVALID"),
                             (b"\x06\x7f", "DOMAIN_PARAMS_INVALID"),
                             (bytes.fromhex("06032b6570"), "CURVE_NOT_SUPPORTED")):
            assert code_of(s.create, template | {CKA.EC_PARAMS: params}) == "CKR_" + code, params
        del template[CKA.EC_PARAMS]
        assert code_of(s.create, template) == "CKR_TEMPLATE_INCOMPLETE"


def test_curve25519_of_nss(token):
    """NSS has curve25519 under CKK_EC with an OID of its own; such a key is there, but does not sign."""
    s, key = token.session(), any_key("X25519")
    params = bytes.fromhex("06092b06010401da470f01")
    public, private = ({**p, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: params} for p in parts_of(key))
    public = s.create({CKA.CLASS: CKO.PUBLIC_KEY, **public, CKA.EC_POINT: point(key)})
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, **private})
    assert s.get(private, CKA.EC_POINT) == s.get(public, CKA.EC_POINT) == octets(point(key))
    assert code_of(s.init, "C_SignInit", CKM.ECDSA, private) == "CKR_KEY_TYPE_INCONSISTENT"
    assert code_of(s.init, "C_VerifyInit", CKM.ECDSA_SHA1, public) == "CKR_KEY_TYPE_INCONSISTENT"


def test_codes(token):
    """Keys of the wrong class or type, and parameters where there are none."""
    s = token.session()
    public, private = add(s, ec_key("secp256r1"))
    ed_public, ed_private = add(s, any_key("Ed25519"))
    x_public, x_private = add(s, any_key("X25519"))
    rsa_private = add_private(s, rsa_key(1024))
    cases = [
        ("C_SignInit", CKM.ECDSA, public), ("C_VerifyInit", CKM.ECDSA, private), ("C_SignInit", CKM.ECDSA, ed_private),
        ("C_SignInit", CKM.ECDSA, x_private), ("C_SignInit", CKM.ECDSA, rsa_private), ("C_SignInit", CKM.EDDSA, private),
        ("C_SignInit", CKM.EDDSA, x_private), ("C_SignInit", CKM.EDDSA, ed_public), ("C_VerifyInit", CKM.EDDSA, ed_private),
        ("C_VerifyInit", CKM.ECDSA_SHA256, ed_public), ("C_VerifyInit", CKM.EDDSA, x_public),
    ]
    for function, mech, key in cases:
        assert code_of(s.init, function, mech, key) == "CKR_KEY_TYPE_INCONSISTENT", (function, CKM.name(mech))
    for mech in (CKM.ECDSA, CKM.ECDSA_SHA256):
        assert code_of(s.init, "C_SignInit", (mech, b"\x00"), private) == "CKR_MECHANISM_PARAM_INVALID"
    s.init("C_SignInit", CKM.ECDSA, private)
    assert code_of(s.call, "C_SignUpdate", b"x", 1) == "CKR_OPERATION_NOT_INITIALIZED"


def test_a_spoilt_signature_never_verifies(token, count):
    """Each bit of a signature counts, for python3-cryptography and for the token alike."""
    s, key = token.session(), ec_key("secp256k1")
    public, private = add(s, key)
    signature = bytearray(s.sign(CKM.ECDSA_SHA256, private, b"m"))
    for i in range(0, 512, 512 // count(512)):
        signature[i // 8] ^= 1 << i % 8
        with pytest.raises(InvalidSignature):
            key.public_key().verify(der(bytes(signature)), b"m", ec.ECDSA(hashes.SHA256()))
        assert code_of(s.verify, CKM.ECDSA_SHA256, public, b"m", bytes(signature)) == "CKR_SIGNATURE_INVALID"
        signature[i // 8] ^= 1 << i % 8
