"""What the tests of C_WrapKey and C_UnwrapKey share: keys in the token and of another library, and padding."""
import pytest
from cryptography.hazmat.primitives import padding as block_padding, serialization
from cryptography.hazmat.primitives.asymmetric import dh, dsa, ec, ed448, ed25519, rsa, x448, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from cryptoki import CKA, CKK, CKM, CKO, CkError, struct

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:
    TripleDES = algorithms.TripleDES

READABLE = {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}
IV = bytes(range(100, 116))


def spoilt(data: bytes, at: int) -> bytes:
    """`data` with one bit changed; a byte put in its place would be the same byte once in 256 runs."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def refused(name: str, function, *arguments):
    with pytest.raises(CkError) as e:
        function(*arguments)
    assert e.value.name == "CKR_" + name, arguments


def secret(session, kind: int, value: bytes, **more) -> int:
    """A readable session key; `more` are attributes by name."""
    return session.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value} | READABLE |
                          {getattr(CKA, k): v for k, v in more.items()})


def wrapper(session, kind: int, value: bytes, **more) -> int:
    return secret(session, kind, value, WRAP=True, UNWRAP=True, **more)


def secret_template(kind: int, length: int = None) -> dict:
    return {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind} | READABLE | ({CKA.VALUE_LEN: length} if length else {})


def private_template(kind: int) -> dict:
    return {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: kind} | READABLE


def odd(key: bytes) -> bytes:
    """A DES key with its parity bits."""
    return bytes(b ^ (1 - b.bit_count() % 2) for b in key)


AES, DES3 = bytes(range(32)), odd(bytes(range(64, 88)))
KEYS = {CKK.AES: AES, CKK.DES3: DES3, CKK.DES: DES3[:8]}


def zeros(value: bytes, block: int) -> bytes:
    return value + bytes(-len(value) % block)


def pkcs7(value: bytes, block: int) -> bytes:
    p = block_padding.PKCS7(block * 8).padder()
    return p.update(value) + p.finalize()


def encrypt(algorithm, mode, data: bytes) -> bytes:
    e = Cipher(algorithm, mode).encryptor()
    return e.update(data) + e.finalize()
PAD = CKM.AES_CBC_PAD, IV
TARGETS = [(CKK.AES, AES[:16]), (CKK.AES, AES[:24]), (CKK.AES, AES), (CKK.DES3, DES3),
           (CKK.GENERIC_SECRET, b"0123456789abc"), (CKK.GENERIC_SECRET, bytes(range(1, 49))),
           (CKK.SHA256_HMAC, b"m" * 32), (CKK.RC4, b"rc4-key-9")]


def gcm(tag_bits: int = 128):
    return struct("CK_GCM_PARAMS", pIv=IV[:12], pAAD=b"header", ulTagBits=tag_bits, ulIvBits=96)


def big(n: int) -> bytes:
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def rsa_pair(session, key, **private) -> tuple:
    """(public, private) objects of another library's key, for wrapping."""
    n = key.private_numbers()
    e = n.public_numbers
    public = session.create({CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: big(e.n),
                             CKA.PUBLIC_EXPONENT: big(e.e), CKA.WRAP: True, CKA.ENCRYPT: True})
    mine = session.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.RSA, CKA.MODULUS: big(e.n),
                           CKA.PUBLIC_EXPONENT: big(e.e), CKA.PRIVATE_EXPONENT: big(n.d), CKA.PRIME_1: big(n.p),
                           CKA.PRIME_2: big(n.q), CKA.EXPONENT_1: big(n.dmp1), CKA.EXPONENT_2: big(n.dmq1),
                           CKA.COEFFICIENT: big(n.iqmp), CKA.UNWRAP: True, CKA.DECRYPT: True} |
                          {getattr(CKA, k): v for k, v in private.items()})
    return public, mine


@pytest.fixture(scope="module")
def keys():
    """Private keys of another library, by name."""
    group = dh.DHParameterNumbers(int(
        "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
        "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
        "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF", 16), 2)
    return {
        "RSA": rsa.generate_private_key(65537, 2048),
        "P-256": ec.generate_private_key(ec.SECP256R1()),
        "P-521": ec.generate_private_key(ec.SECP521R1()),
        "secp256k1": ec.generate_private_key(ec.SECP256K1()),
        "DSA": dsa.generate_private_key(1024),
        "DH": group.parameters().generate_private_key(),
        "Ed25519": ed25519.Ed25519PrivateKey.generate(),
        "Ed448": ed448.Ed448PrivateKey.generate(),
        "X25519": x25519.X25519PrivateKey.generate(),
        "X448": x448.X448PrivateKey.generate(),
    }


KINDS = {"RSA": CKK.RSA, "P-256": CKK.EC, "P-521": CKK.EC, "secp256k1": CKK.EC, "DSA": CKK.DSA, "DH": CKK.DH,
         "Ed25519": CKK.EC_EDWARDS, "Ed448": CKK.EC_EDWARDS, "X25519": CKK.EC_MONTGOMERY, "X448": CKK.EC_MONTGOMERY}


def pkcs8(key) -> bytes:
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def spki(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
