"""Keys of python3-cryptography as objects of the token, and the paddings of RSA (RFC 8017) computed here."""
import functools
import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x448, x25519

from cryptoki import CKA, CKG, CKK, CKM, CKO, CKR, CkError

# hash of hashlib: digest mechanism, MGF
HASHES = {
    "sha1": (CKM.SHA_1, CKG.MGF1_SHA1),
    "sha224": (CKM.SHA224, CKG.MGF1_SHA224),
    "sha256": (CKM.SHA256, CKG.MGF1_SHA256),
    "sha384": (CKM.SHA384, CKG.MGF1_SHA384),
    "sha512": (CKM.SHA512, CKG.MGF1_SHA512),
    "sha3_224": (CKM.SHA3_224, CKG.MGF1_SHA3_224),
    "sha3_256": (CKM.SHA3_256, CKG.MGF1_SHA3_256),
    "sha3_384": (CKM.SHA3_384, CKG.MGF1_SHA3_384),
    "sha3_512": (CKM.SHA3_512, CKG.MGF1_SHA3_512),
}
# curve of cryptography: bytes of the order, DER of the OID
CURVES = {
    "secp256r1": (32, "06082a8648ce3d030107"),
    "secp384r1": (48, "06052b81040022"),
    "secp521r1": (66, "06052b81040023"),
    "secp256k1": (32, "06052b8104000a"),
}
RAW = {
    x25519.X25519PrivateKey: (CKK.EC_MONTGOMERY, "06032b656e"),
    x448.X448PrivateKey: (CKK.EC_MONTGOMERY, "06032b656f"),
    ed25519.Ed25519PrivateKey: (CKK.EC_EDWARDS, "06032b6570"),
    ed448.Ed448PrivateKey: (CKK.EC_EDWARDS, "06032b6571"),
}


def code_of(function, *arguments) -> str:
    """The name of the code with which a call fails, or CKR_OK."""
    try:
        function(*arguments)
    except CkError as e:
        assert CKR.name(e.rv) == e.name
        return e.name
    return "CKR_OK"


def number(n: int) -> bytes:
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def octets(content: bytes) -> bytes:
    """A DER OCTET STRING."""
    n = len(content)
    return b"\x04" + (bytes([n]) if n < 128 else bytes([0x81, n])) + content


@functools.lru_cache(maxsize=None)
def rsa_key(bits: int, exponent: int = 65537):
    return rsa.generate_private_key(exponent, bits)


@functools.lru_cache(maxsize=None)
def ec_key(curve: str):
    return ec.generate_private_key({c.name: c for c in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1, ec.SECP256K1)}[curve]())


def point(key) -> bytes:
    """The public point or key as it is, without DER."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    else:
        form = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return key.public_key().public_bytes(*form)


def spki(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def parts_of(key) -> tuple:
    """The key's own attributes: of the public object, of the private object."""
    if isinstance(key, rsa.RSAPrivateKey):
        n = key.private_numbers()
        public = {CKA.MODULUS: number(n.public_numbers.n), CKA.PUBLIC_EXPONENT: number(n.public_numbers.e)}
        return {CKA.KEY_TYPE: CKK.RSA, **public}, {
            CKA.KEY_TYPE: CKK.RSA, **public, CKA.PRIVATE_EXPONENT: number(n.d), CKA.PRIME_1: number(n.p),
            CKA.PRIME_2: number(n.q), CKA.EXPONENT_1: number(n.dmp1), CKA.EXPONENT_2: number(n.dmq1),
            CKA.COEFFICIENT: number(n.iqmp)}
    if isinstance(key, dsa.DSAPrivateKey):
        n = key.private_numbers()
        p = n.public_numbers.parameter_numbers
        domain = {CKA.KEY_TYPE: CKK.DSA, CKA.PRIME: number(p.p), CKA.SUBPRIME: number(p.q), CKA.BASE: number(p.g)}
        return {**domain, CKA.VALUE: number(n.public_numbers.y)}, {**domain, CKA.VALUE: number(n.x)}
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size, oid = CURVES[key.curve.name]
        common = {CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: bytes.fromhex(oid)}
        value = key.private_numbers().private_value.to_bytes(size, "big")
    else:
        kind, oid = next(v for k, v in RAW.items() if isinstance(key, k))
        common = {CKA.KEY_TYPE: kind, CKA.EC_PARAMS: bytes.fromhex(oid)}
        value = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    return {**common, CKA.EC_POINT: octets(point(key))}, {**common, CKA.VALUE: value}


def add_public(s, key, **more) -> int:
    return s.create({CKA.CLASS: CKO.PUBLIC_KEY, **parts_of(key)[0], **{getattr(CKA, k): v for k, v in more.items()}})


def add_private(s, key, **more) -> int:
    return s.create({CKA.CLASS: CKO.PRIVATE_KEY, **parts_of(key)[1], **{getattr(CKA, k): v for k, v in more.items()}})


def add(s, key) -> tuple:
    """Session objects of the key: public and private."""
    return add_public(s, key), add_private(s, key)


# --- RFC 8017 ------------------------------------------------------------------------------------------------------

def mgf1(seed: bytes, length: int, name: str) -> bytes:
    blocks = range(-(-length // hashlib.new(name).digest_size))
    return b"".join(hashlib.new(name, seed + i.to_bytes(4, "big")).digest() for i in blocks)[:length]


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b))


def pss_encode(digest: bytes, bits: int, name: str, mgf: str, salt: bytes) -> bytes:
    """EMSA-PSS for a modulus of that many bits."""
    size = (bits - 1 + 7) // 8
    h = hashlib.new(name, bytes(8) + digest + salt).digest()
    db = bytes(size - len(salt) - len(h) - 2) + b"\x01" + salt
    masked = bytearray(xor(db, mgf1(h, len(db), mgf)))
    masked[0] &= 0xff >> (8 * size - (bits - 1))
    return bytes(masked) + h + b"\xbc"


def pss_salt(block: bytes, digest: bytes, bits: int, name: str, mgf: str, length: int) -> bytes:
    """The salt of a block that is the PSS encoding of the digest with a salt of that length; fails if it is not."""
    size, hlen = (bits - 1 + 7) // 8, len(digest)
    assert len(block) == size and block[-1] == 0xbc
    masked, h = block[:size - hlen - 1], block[size - hlen - 1:-1]
    db = xor(masked, mgf1(h, len(masked), mgf))
    salt = db[len(db) - length:] if length else b""
    assert pss_encode(digest, bits, name, mgf, salt) == block
    return salt


def oaep_encode(message: bytes, size: int, name: str, mgf: str, label: bytes, seed: bytes) -> bytes:
    """EME-OAEP for a modulus of `size` bytes."""
    lhash = hashlib.new(name, label).digest()
    db = lhash + bytes(size - len(message) - 2 * len(lhash) - 2) + b"\x01" + message
    masked = xor(db, mgf1(seed, len(db), mgf))
    return b"\x00" + xor(seed, mgf1(masked, len(seed), mgf)) + masked


def oaep_decode(block: bytes, name: str, mgf: str, label: bytes) -> bytes:
    lhash = hashlib.new(name, label).digest()
    assert block[0] == 0
    seed, masked = block[1:1 + len(lhash)], block[1 + len(lhash):]
    seed = xor(seed, mgf1(masked, len(seed), mgf))
    db = xor(masked, mgf1(seed, len(masked), mgf))
    assert db.startswith(lhash)
    padding, message = db[len(lhash):].split(b"\x01", 1)
    assert not padding.strip(b"\x00")
    return message


def public_op(key, block: bytes) -> bytes:
    """Raw RSA with the public key, to the length of the modulus."""
    n = key.private_numbers().public_numbers
    return pow(int.from_bytes(block, "big"), n.e, n.n).to_bytes((n.n.bit_length() + 7) // 8, "big")


def private_op(key, block: bytes) -> bytes:
    n = key.private_numbers()
    c, modulus = int.from_bytes(block, "big"), n.public_numbers.n
    m2 = pow(c, n.dmq1, n.q)
    m = m2 + n.q * ((pow(c, n.dmp1, n.p) - m2) * n.iqmp % n.p)
    return m.to_bytes((modulus.bit_length() + 7) // 8, "big")


def mgfs(name: str, bits: int) -> list:
    """Which MGFs to try with a hash: all of them with the small keys, with the large ones its own and the next."""
    names = list(HASHES)
    return names if bits < 1500 else [name, names[(names.index(name) + 1) % len(names)]]
