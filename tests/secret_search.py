"""The search for key values in whatever a module puts out, and the keys with known values that it is for.

A value counts as found if eight bytes of it in a row turn up anywhere: as they are, backwards, shifted by bits, or
combined by exclusive or with the bytes that the tests use as data."""
import functools
import hashlib

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x448, x25519

import cryptoki
from asymmetric import number, parts_of
from cryptoki import CKA, CKK, CKO
from token_kinds import DH_P, DSA_G, DSA_P, DSA_Q, octets

WINDOW = 8
MASK = 0x5c                    # the tests' data: nothing but this byte
KNOWN = bytes([MASK]) * 64

COMPONENTS = (CKA.VALUE, CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.PRIME_2, CKA.EXPONENT_1, CKA.EXPONENT_2,
              CKA.COEFFICIENT)


def noise(label: str, n: int) -> bytes:
    """Bytes that look random and are the same each time."""
    return hashlib.shake_256(label.encode()).digest(n)


def windows(data: bytes):
    return (data[i:i + WINDOW] for i in range(len(data) - WINDOW + 1))


class Search:
    """What to look for: {name: value}. A value shorter than eight bytes is looked for as a whole."""

    def __init__(self, secrets: dict, shifts: bool = True):
        self.forms = {}
        self.short = {v: name for name, v in secrets.items() if len(v) < WINDOW}
        for name, value in secrets.items():
            for shift in range(8 if shifts else 1):
                moved = int.from_bytes(value, "big") << shift & (1 << 8 * len(value)) - 1
                # The last byte, and with it the first after a rotation, has bits of something else.
                plain = moved.to_bytes(len(value), "big")[:len(value) - bool(shift)]
                masked = bytes(b ^ MASK for b in plain)
                for how, form in (("", plain), ("masked ", masked)):
                    for direction, text in (("", form), ("backwards ", form[::-1])):
                        for w in windows(text):
                            self.forms[w] = f"{name} {how}{direction}shifted by {shift}"

    def __call__(self, data: bytes) -> list:
        """The names of what is in the data."""
        found = {self.forms[w] for w in windows(data) if w in self.forms}
        return sorted(found | {name for v, name in self.short.items() if v in data})


class Watch:
    """Every output buffer that Session has made since, whole, also of calls that failed."""

    def __init__(self, monkeypatch):
        self.buffers = buffers = []

        class Watched(cryptoki.Guarded):
            def __init__(self, size):
                super().__init__(size)
                buffers.append(self)

        monkeypatch.setattr(cryptoki, "Guarded", Watched)
        self.make = Watched

    def take(self) -> bytes:
        """What has come out since the last time."""
        out = b"\0".join(b.memory.raw[:b.size].rstrip(b"\xcc") for b in self.buffers)
        self.buffers.clear()
        return out


def odd(key: bytes) -> bytes:
    """With the parity of DES keys."""
    return bytes(b ^ (1 - bin(b).count("1") % 2) for b in key)


SECRET_KEYS = {
    "AES-128": (CKK.AES, 16), "AES-192": (CKK.AES, 24), "AES-256": (CKK.AES, 32),
    "DES": (CKK.DES, 8), "DES2": (CKK.DES2, 16), "DES3": (CKK.DES3, 24), "RC2": (CKK.RC2, 16), "RC4": (CKK.RC4, 16),
    "ChaCha20": (CKK.CHACHA20, 32), "NSS ChaCha20": (CKK.NSS_CHACHA20, 32),
    "generic-32": (CKK.GENERIC_SECRET, 32), "generic-48": (CKK.GENERIC_SECRET, 48), "HKDF": (CKK.HKDF, 32),
    "MD5 HMAC": (CKK.MD5_HMAC, 20), "SHA-1 HMAC": (CKK.SHA_1_HMAC, 20), "SHA-224 HMAC": (CKK.SHA224_HMAC, 28),
    "SHA-256 HMAC": (CKK.SHA256_HMAC, 100), "SHA-384 HMAC": (CKK.SHA384_HMAC, 48),
    "SHA-512 HMAC": (CKK.SHA512_HMAC, 64), "SHA-512/224 HMAC": (CKK.SHA512_224_HMAC, 28),
    "SHA-512/256 HMAC": (CKK.SHA512_256_HMAC, 32), "SHA3-224 HMAC": (CKK.SHA3_224_HMAC, 28),
    "SHA3-256 HMAC": (CKK.SHA3_256_HMAC, 32), "SHA3-384 HMAC": (CKK.SHA3_384_HMAC, 48),
    "SHA3-512 HMAC": (CKK.SHA3_512_HMAC, 64),
}


@functools.lru_cache(None)
def keys() -> dict:
    """name -> template for C_CreateObject, of every type of secret and private key."""
    out = {}
    for name, (kind, size) in SECRET_KEYS.items():
        value = noise(name, size)
        out[name] = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind,
                     CKA.VALUE: odd(value) if kind in (CKK.DES, CKK.DES2, CKK.DES3) else value}
    made = {"RSA": rsa.generate_private_key(65537, 2048), "EC": ec.generate_private_key(ec.SECP256R1()),
            "Ed25519": ed25519.Ed25519PrivateKey.generate(), "Ed448": ed448.Ed448PrivateKey.generate(),
            "X25519": x25519.X25519PrivateKey.generate(), "X448": x448.X448PrivateKey.generate()}
    for name, key in made.items():
        out[name] = {CKA.CLASS: CKO.PRIVATE_KEY, **parts_of(key)[1]}
    x = int.from_bytes(noise("DSA", 27), "big") % DSA_Q
    out["DSA"] = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DSA, CKA.PRIME: octets(DSA_P),
                  CKA.SUBPRIME: octets(DSA_Q),
                  CKA.BASE: octets(DSA_G), CKA.VALUE: octets(x)}
    out["DH"] = {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DH, CKA.PRIME: octets(DH_P), CKA.BASE: b"\2",
                 CKA.VALUE: number(int.from_bytes(noise("DH", 40), "big"))}
    return out


def secrets_of(names=None) -> dict:
    """{name and attribute: value} of what is secret in the keys."""
    return {f"{name} {CKA.name(attribute)}": template[attribute] for name, template in keys().items()
            if names is None or name in names for attribute in COMPONENTS if attribute in template}


def is_private(name: str) -> bool:
    return keys()[name][CKA.CLASS] == CKO.PRIVATE_KEY
