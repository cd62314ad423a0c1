"""What the tests of the token's digests, ciphers and operations share."""
from cryptography.hazmat.primitives.ciphers import Cipher

from cryptoki import CKA, CKM, CKO, CkError

# Mechanisms that do all of their data at once.
ONE_PART = {CKM.AES_KEY_WRAP, CKM.NSS_AES_KEY_WRAP, CKM.AES_KEY_WRAP_KWP, CKM.AES_KEY_WRAP_PAD, CKM.AES_KEY_WRAP_PKCS7,
            CKM.NSS_AES_KEY_WRAP_PAD}


def code_of(function, *arguments) -> str:
    """The name of the code with which a call fails, or CKR_OK."""
    try:
        function(*arguments)
    except CkError as e:
        return e.name
    return "CKR_OK"


def key_of(s, kind: int, value: bytes, **more) -> int:
    """A session key with that value which may do everything."""
    usages = ("ENCRYPT", "DECRYPT", "SIGN", "VERIFY", "WRAP", "UNWRAP")
    named = {**dict.fromkeys(usages, True), **more}
    return s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value,
                     **{getattr(CKA, name): v for name, v in named.items()}})


def split(rnd, data: bytes) -> list:
    """The data in up to five parts, some of them empty."""
    cuts = sorted(rnd.randrange(len(data) + 1) for _ in range(rnd.randrange(5)))
    return [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)])]


def type_of(mech) -> int:
    """The mechanism without its parameter."""
    return mech[0] if isinstance(mech, tuple) else mech


def python_cipher(algorithm, mode, data: bytes, encrypt: bool = True) -> bytes:
    c = Cipher(algorithm, mode)
    c = c.encryptor() if encrypt else c.decryptor()
    return c.update(data) + c.finalize()


def padded(data: bytes, block: int) -> bytes:
    """With the padding of PKCS #7."""
    n = block - len(data) % block
    return data + bytes([n]) * n
