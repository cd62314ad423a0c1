"""What the tests of derivation share: base keys, and the value that comes out."""
import pytest

from cryptoki import CKA, CKK, CKO, CkError

HASHES = {"SHA1": "sha1", "SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512",
          "SHA512_224": "sha512_224", "SHA512_256": "sha512_256", "SHA3_224": "sha3_224", "SHA3_256": "sha3_256",
          "SHA3_384": "sha3_384", "SHA3_512": "sha3_512"}
KEY = bytes(range(64, 96))
P256 = bytes.fromhex("06082a8648ce3d030107")


def secret(s, value: bytes, kind: int = CKK.GENERIC_SECRET, **more) -> int:
    """A session key with that value; more: attributes by name."""
    attributes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value, CKA.DERIVE: True}
    return s.create({**attributes, **{getattr(CKA, name): v for name, v in more.items()}})


def protected(s, value: bytes, **more) -> int:
    return secret(s, value, SENSITIVE=True, EXTRACTABLE=False, **more)


def value_made(s, mech, base: int, attributes: dict = None) -> bytes:
    """The value of the key that is derived, which may be read."""
    readable = {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}
    return s.get(s.derive(mech, base, {**readable, **(attributes or {})}), CKA.VALUE)


def code(call, *arguments, **named) -> str:
    """The name of the code that a call fails with."""
    with pytest.raises(CkError) as e:
        call(*arguments, **named)
    return e.value.name


def odd(value: bytes) -> bytes:
    """With the parity of DES keys."""
    return bytes(b ^ (1 - bin(b).count("1") % 2) for b in value)
