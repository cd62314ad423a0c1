"""What the tests of the token's digests, ciphers and operations share."""
from cryptoki import CKA, CKO, CkError


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
    attributes = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value, **{getattr(CKA, u): True for u in usages}}
    return s.create({**attributes, **{getattr(CKA, name): v for name, v in more.items()}})


def split(rnd, data: bytes) -> list:
    """The data in up to five parts, some of them empty."""
    cuts = sorted(rnd.randrange(len(data) + 1) for _ in range(rnd.randrange(5)))
    return [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)])]
