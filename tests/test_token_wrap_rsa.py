"""Keys under RSA keys, there and back, and that bad padding is not told."""
import os

import pytest
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from cryptoki import CKA, CKG, CKK, CKM, CKZ, struct
from wrapping import (AES, DES3, KINDS, TARGETS, keys, pkcs8, private_template, refused, rsa_pair, secret,  # noqa: F401
                      secret_template, spki, spoilt)


def oaep(hash_mechanism: int = CKM.SHA_1, mgf: int = CKG.MGF1_SHA1, label: bytes = None):
    source = {} if label is None else {"pSourceData": label}
    return struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=hash_mechanism, mgf=mgf, source=CKZ.DATA_SPECIFIED, **source)


def oaep_padding(h=hashes.SHA1, label=None):
    return padding.OAEP(padding.MGF1(h()), h(), label)


ASYMMETRIC = [
    ("PKCS", CKM.RSA_PKCS, padding.PKCS1v15()),
    ("OAEP-SHA1", (CKM.RSA_PKCS_OAEP, oaep()), oaep_padding()),
    ("OAEP-SHA256-label", (CKM.RSA_PKCS_OAEP, oaep(CKM.SHA256, CKG.MGF1_SHA256, b"label")),
     oaep_padding(hashes.SHA256, b"label")),
]


@pytest.mark.parametrize("name, mech, scheme", ASYMMETRIC, ids=[a[0] for a in ASYMMETRIC])
def test_secret_keys_under_rsa(token, keys, name, mech, scheme):
    """S/MIME content keys and TLS premaster secrets come so."""
    s = token.session()
    public, private = rsa_pair(s, keys["RSA"])
    for target, value in TARGETS:
        case = CKK.name(target), len(value)
        wrapped = s.wrap(mech, public, secret(s, target, value))
        assert keys["RSA"].decrypt(wrapped, scheme) == value, case
        for length in {None, None if target == CKK.DES3 else len(value)}:
            back = s.unwrap(mech, private, keys["RSA"].public_key().encrypt(value, scheme),
                            secret_template(target, length))
            assert s.get(back, CKA.VALUE) == value, case
            assert not any(s.get_bool(back, k) for k in (CKA.LOCAL, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE))
    room = {"PKCS": 245, "OAEP-SHA1": 214, "OAEP-SHA256-label": 190}[name]
    s.wrap(mech, public, secret(s, CKK.GENERIC_SECRET, b"x" * room))
    refused("KEY_SIZE_RANGE", s.wrap, mech, public, secret(s, CKK.GENERIC_SECRET, b"x" * (room + 1)))
    refused("KEY_NOT_WRAPPABLE", s.wrap, mech, public, private)
    wrapped = keys["RSA"].public_key().encrypt(b"x" * 16, scheme)
    for bad in (wrapped[:-1], wrapped + b"\0", b""):
        refused("WRAPPED_KEY_LEN_RANGE", s.unwrap, mech, private, bad, secret_template(CKK.AES))
    refused("WRAPPED_KEY_INVALID", s.unwrap, mech, private, b"\xff" * 256, secret_template(CKK.AES, 16))
    refused("TEMPLATE_INCONSISTENT", s.unwrap, mech, private, wrapped, private_template(CKK.EC))
    if name != "PKCS":
        refused("WRAPPED_KEY_LEN_RANGE", s.unwrap, mech, private, wrapped, secret_template(CKK.AES, 32))
        refused("WRAPPED_KEY_INVALID", s.unwrap, mech, private, spoilt(wrapped, 255), secret_template(CKK.AES, 16))


def test_raw_rsa(token, keys):
    """The key is at the end of the block; its length has to be told."""
    s = token.session()
    public, private = rsa_pair(s, keys["RSA"])
    n = keys["RSA"].private_numbers()
    wrapped = s.wrap(CKM.RSA_X_509, public, secret(s, CKK.AES, AES))
    assert pow(int.from_bytes(wrapped, "big"), n.d, n.public_numbers.n) == int.from_bytes(AES, "big")
    back = s.unwrap(CKM.RSA_X_509, private, wrapped, secret_template(CKK.AES, 32))
    assert s.get(back, CKA.VALUE) == AES
    des = s.unwrap(CKM.RSA_X_509, private, s.wrap(CKM.RSA_X_509, public, secret(s, CKK.DES3, DES3)),
                   secret_template(CKK.DES3))
    assert s.get(des, CKA.VALUE) == DES3
    refused("TEMPLATE_INCOMPLETE", s.unwrap, CKM.RSA_X_509, private, wrapped, secret_template(CKK.AES))
    refused("KEY_NOT_WRAPPABLE", s.wrap, CKM.RSA_X_509, public, private)


def test_bad_pkcs1_padding_is_not_told(token, keys, count):
    """Whatever a ciphertext decrypts to, C_UnwrapKey gives a key: of the length that the template asks for, the same
    each time. So nobody can use the token as an oracle, neither for the padding nor for the length inside."""
    s = token.session()
    _, private = rsa_pair(s, keys["RSA"])
    n = keys["RSA"].private_numbers().public_numbers

    def raw(block: bytes) -> bytes:
        assert len(block) == 256
        return pow(int.from_bytes(block, "big"), n.e, n.n).to_bytes(256, "big")

    def value(wrapped: bytes, template: dict) -> bytes:
        return s.get(s.unwrap(CKM.RSA_PKCS, private, wrapped, template), CKA.VALUE)
    premaster = b"\x03\x03" + bytes(range(46))
    good = b"\0\2" + b"\x55" * (256 - 3 - 48) + b"\0" + premaster
    tls = secret_template(CKK.GENERIC_SECRET, 48)
    assert value(raw(good), tls) == premaster
    bad = [b"\0\1" + good[2:], b"\1\2" + good[2:], b"\0\2" + b"\x55" * 254, b"\0\2" + bytes(254), bytes(256),
           b"\0\2" + b"\x55" * 7 + b"\0" + b"\x77" * 246,              # seven bytes of padding
           good[:-49] + b"\x55\0" + premaster[1:],                     # 47 bytes
           good[:-50] + b"\0\x09" + premaster,                         # 49 bytes
           good[:-1 - 48] + b"\x55" + premaster[:-1] + b"\0"]          # none
    seen = set()
    for block in bad:
        results = {value(raw(block), tls) for _ in range(2)}
        assert len(results) == 1, block.hex()
        seen |= results
        assert {len(r) for r in results} == {48} and premaster[2:] not in results.pop()
    assert len(seen) == len(bad)
    # Eight bytes of padding are enough, and the whole rest is the key.
    longest = b"\x77" * 245
    assert value(raw(b"\0\2" + b"\x55" * 8 + b"\0" + longest), secret_template(CKK.GENERIC_SECRET)) == longest
    # Without a length, it is one that a key of the type may have.
    for kind, lengths in ((CKK.AES, {16, 24, 32}), (CKK.DES3, {24}), (CKK.RC4, set(range(1, 246)))):
        got = {len(value(raw(b"\0\1" + os.urandom(254)), secret_template(kind))) for _ in range(count(200))}
        assert got <= lengths and (kind != CKK.AES or len(got) == 3), CKK.name(kind)


def test_rsa_aes_key_wrap(token, keys):
    """Built and taken apart by another library: the AES key under OAEP, then the key under RFC 5649."""
    s = token.session()
    public, private = rsa_pair(s, keys["RSA"])
    for bits, h, hash_mechanism, mgf in ((128, hashes.SHA1, CKM.SHA_1, CKG.MGF1_SHA1),
                                         (192, hashes.SHA384, CKM.SHA384, CKG.MGF1_SHA384),
                                         (256, hashes.SHA256, CKM.SHA256, CKG.MGF1_SHA256)):
        mech = CKM.RSA_AES_KEY_WRAP, struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=bits,
                                            pOAEPParams=oaep(hash_mechanism, mgf))
        scheme = oaep_padding(h)
        for name in ("RSA", "P-256", "Ed25519"):
            aes = os.urandom(bits // 8)
            wrapped = keys["RSA"].public_key().encrypt(aes, scheme) + keywrap.aes_key_wrap_with_padding(
                aes, pkcs8(keys[name]))
            here = s.unwrap(mech, private, wrapped, private_template(KINDS[name]))
            assert s.get(here, CKA.PUBLIC_KEY_INFO) == spki(keys[name])
            out = s.wrap(mech, public, here)
            aes = keys["RSA"].decrypt(out[:256], scheme)
            assert len(aes) == bits // 8
            again = serialization.load_der_private_key(keywrap.aes_key_unwrap_with_padding(aes, out[256:]), None)
            assert pkcs8(again) == pkcs8(keys[name])
            assert s.wrap(mech, public, here) != out
        back = s.unwrap(mech, private, s.wrap(mech, public, secret(s, CKK.AES, AES)), secret_template(CKK.AES))
        assert s.get(back, CKA.VALUE) == AES
        for bad, code in ((wrapped[:256], "WRAPPED_KEY_LEN_RANGE"), (wrapped[:100], "WRAPPED_KEY_LEN_RANGE"),
                          (wrapped[:-8], "WRAPPED_KEY_INVALID"), (wrapped[:-1] + b"\0\0", "WRAPPED_KEY_INVALID"),
                          (spoilt(wrapped, 255), "WRAPPED_KEY_INVALID")):
            refused(code, s.unwrap, mech, private, bad, private_template(CKK.EC_EDWARDS))
        wrong = 128 if bits != 128 else 256
        other = CKM.RSA_AES_KEY_WRAP, struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=wrong,
                                             pOAEPParams=oaep(hash_mechanism, mgf))
        refused("WRAPPED_KEY_INVALID", s.unwrap, other, private, wrapped, private_template(CKK.EC_EDWARDS))
    for parameter in (None, b"", struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=256),
                      struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=0, pOAEPParams=oaep()),
                      struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=256, pOAEPParams=oaep(CKM.AES_CBC))):
        refused("MECHANISM_PARAM_INVALID", s.wrap, (CKM.RSA_AES_KEY_WRAP, parameter), public, here)
        refused("MECHANISM_PARAM_INVALID", s.unwrap, (CKM.RSA_AES_KEY_WRAP, parameter), private, wrapped,
                private_template(CKK.EC_EDWARDS))
