"""What the tests of the TLS mechanisms share: the PRFs, written out from RFC 2246, RFC 5246 and RFC 6101, and the
parameters."""
import ctypes
import hashlib
import hmac

import pytest

from cryptoki import CKA, CKK, CKM, CKO, CkError, Guarded, mechanism, struct, template

CLIENT, SERVER = bytes(range(32)), bytes(range(100, 132))
PMS = b"\3\3" + bytes(range(46))
MASTER = bytes(range(150, 198))
AES16 = {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16}


def p_hash(name: str, key: bytes, seed: bytes, n: int) -> bytes:
    out, a = b"", seed
    while len(out) < n:
        a = hmac.digest(key, a, name)
        out += hmac.digest(key, a + seed, name)
    return out[:n]


def prf(name, key: bytes, label: bytes, seed: bytes, n: int) -> bytes:
    """name None: TLS 1.0 and 1.1."""
    if name:
        return p_hash(name, key, label + seed, n)
    half = (len(key) + 1) // 2
    a, b = p_hash("md5", key[:half], label + seed, n), p_hash("sha1", key[-half:], label + seed, n)
    return bytes(x ^ y for x, y in zip(a, b))


def ssl3(key: bytes, seed: bytes, n: int) -> bytes:
    out = b""
    for i in range(26):
        inner = hashlib.sha1(bytes([65 + i]) * (i + 1) + key + seed).digest()
        out += hashlib.md5(key + inner).digest()
    return out[:n]


def master_of(version: str, name, key: bytes) -> bytes:
    if version == "SSL3":
        return ssl3(key, CLIENT + SERVER, 48)
    return prf(name, key, b"master secret", CLIENT + SERVER, 48)


def block_of(version: str, name, key: bytes, n: int) -> bytes:
    return ssl3(key, SERVER + CLIENT, n) if version == "SSL3" else prf(name, key, b"key expansion", SERVER + CLIENT, n)


# --- parameters and keys ---

def randoms(client: bytes = CLIENT, server: bytes = SERVER):
    return struct("CK_SSL3_RANDOM_DATA", pClientRandom=client, pServerRandom=server)


def version_pointer():
    """A CK_VERSION, for a pointer to it."""
    return struct("CK_VERSION", major=9, minor=9)


def master_mech(name: str, hash_name=None, version=None, random=None):
    more = {"pVersion": version} if version is not None else {}
    if name.startswith("TLS12"):
        more["prfHashMechanism"] = getattr(CKM, hash_name)
    kind = "CK_TLS12_MASTER_KEY_DERIVE_PARAMS" if name.startswith("TLS12") else "CK_SSL3_MASTER_KEY_DERIVE_PARAMS"
    return getattr(CKM, name), struct(kind, RandomInfo=random or randoms(), **more)


class KeyMaterial:
    """The parameter of a ..._KEY_AND_MAC_DERIVE and what it returns; sizes in bytes."""

    def __init__(self, name: str, mac: int, key: int, iv: int, hash_name=None, **changes):
        self.ivs = Guarded(iv), Guarded(iv)
        self.out = struct("CK_SSL3_KEY_MAT_OUT", pIVClient=self.ivs[0].memory, pIVServer=self.ivs[1].memory)
        kind = "CK_SSL3_KEY_MAT_PARAMS"
        if name.startswith("TLS12"):
            kind, changes["prfHashMechanism"] = "CK_TLS12_KEY_MAT_PARAMS", getattr(CKM, hash_name)
        values = dict(ulMacSizeInBits=mac * 8, ulKeySizeInBits=key * 8, ulIVSizeInBits=iv * 8, RandomInfo=randoms(),
                      pReturnedKeyMaterial=self.out)
        self.mech = getattr(CKM, name), struct(kind, **{**values, **changes})
        self.iv = iv

    def derive(self, s, base: int, attributes: dict):
        """phKey is NULL: "the parameter phKey ... is unnecessary, and should be a NULL_PTR"."""
        t = template(attributes)
        s.call("C_DeriveKey", ctypes.byref(mechanism(self.mech)), base, t, len(t), None)

    def handles(self) -> list:
        return [self.out.hClientMacSecret, self.out.hServerMacSecret, self.out.hClientKey, self.out.hServerKey]

    def iv_bytes(self) -> bytes:
        return b"".join(g.take(self.iv) for g in self.ivs)


def secret(s, value: bytes, **more) -> int:
    attributes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE: value, CKA.DERIVE: True,
                  CKA.SIGN: True, CKA.VERIFY: True}
    return s.create({**attributes, **{getattr(CKA, name): v for name, v in more.items()}})


def code(call, *arguments) -> str:
    with pytest.raises(CkError) as e:
        call(*arguments)
    return e.value.name
