"""DSA: signatures against python3-cryptography and RFC 6979, and what a DSA or Diffie-Hellman key must be."""
import hashlib
import os

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, utils

from asymmetric import HASHES, add, add_private, add_public, code_of, ec_key, number, parts_of, spki
from cryptoki import CKA, CKK, CKM, CKO

# RFC 6979, A.2.1: 1024 bits.
P = int("86F5CA03DCFEB225063FF830A0C769B9DD9D6153AD91D7CE27F787C43278B447E6533B86B18BED6E8A48B784A14C252C"
        "5BE0DBF60B86D6385BD2F12FB763ED8873ABFD3F5BA2E0A8C0A59082EAC056935E529DAF7C610467899C77ADEDFC846C"
        "881870B7B19B2B58F9BE0521A17002E3BDD6B86685EE90B3D9A1B02B782B1779", 16)
Q = int("996F967F6C8E388D9E28D01E205FBA957A5698B1", 16)
G = int("07B0F92546150B62514BB771E2A0C0CE387F03BDA6C56B505209FF25FD3C133D89BBCD97E904E09114D9A7DEFDEADFC9"
        "078EA544D2E401AEECC40BB9FBBF78FD87995A10A1C27CB7789B594BA7EFB5C4326A9FE59A070E136DB77175464ADCA4"
        "17BE5DCE2F40D10A46A3A3943F26AB7FD9C0398FF8C76EE0A56826A8A88F1DBD", 16)
X = int("411602CB19A6CCC34494D79D98EF1E7ED5AF25F7", 16)
Y = int("5DF5E01DED31D0297E274E1691C192FE5868FEF9E19A84776454B100CF16F65392195A38B90523E2542EE61871C0440C"
        "B87C322FC4B4D2EC5E1E7EC766E1BE8D4CE935437DC11C3C8FD426338933EBFE739CB3465F4D3668C5E473508253B1E6"
        "82F65CBDC4FAE93C2EA212390E54905A86E2223170B44EAA7DA5DD9FFCFB7F3B", 16)
SAMPLE_SHA1 = bytes.fromhex("2E1A0C2562B2912CAAF89186FB0F42001585DA5529EFB6B0AFF2D7A68EB70CA313022253B9A88DF5")

HASHED = {name: getattr(CKM, "DSA_" + name.upper()) for name in HASHES}


def rfc_key():
    domain = dsa.DSAParameterNumbers(P, Q, G)
    return dsa.DSAPrivateNumbers(X, dsa.DSAPublicNumbers(Y, domain)).private_key()


@pytest.fixture(scope="module")
def keys() -> dict:
    return {1024: rfc_key(), 2048: dsa.generate_private_key(2048)}


def raw(signature: bytes, size: int) -> bytes:
    r, s = utils.decode_dss_signature(signature)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def der(signature: bytes) -> bytes:
    half = len(signature) // 2
    return utils.encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))


def order_size(key) -> int:
    return (key.parameters().parameter_numbers().q.bit_length() + 7) // 8


@pytest.mark.parametrize("bits", [1024, 2048])
def test_signatures(token, keys, bits):
    """Both ways, with and without a hash in the mechanism, in one part and in several."""
    s, key = token.session(), keys[bits]
    public, private = add(s, key)
    size = order_size(key)
    message = os.urandom(300)
    for name, mech in HASHED.items():
        digest = hashlib.new(name, message).digest()
        form = utils.Prehashed(getattr(hashes, name.upper())())
        for signature in (s.sign(mech, private, message), s.sign_parts(mech, private, [message[:7], message[7:]]),
                          s.sign(CKM.DSA, private, digest)):
            assert len(signature) == 2 * size
            key.public_key().verify(der(signature), digest, form)
        other = raw(key.sign(digest, form), size)
        s.verify(mech, public, message, other)
        s.verify_parts(mech, public, [b"", message], other)
        s.verify(CKM.DSA, public, digest, other)
        assert code_of(s.verify, mech, public, message + b"x", other) == "CKR_SIGNATURE_INVALID"


def test_published_signature(token):
    """RFC 6979, A.2.1, SHA-1."""
    s = token.session()
    public = add_public(s, rfc_key())
    s.verify(CKM.DSA_SHA1, public, b"sample", SAMPLE_SHA1)
    s.verify(CKM.DSA, public, hashlib.sha1(b"sample").digest(), SAMPLE_SHA1)
    assert code_of(s.verify, CKM.DSA_SHA1, public, b"simple", SAMPLE_SHA1) == "CKR_SIGNATURE_INVALID"


def test_lengths(token, keys):
    """CKM_DSA takes what the usual hashes give; a signature is twice as long as the order, no more, no less."""
    s, key = token.session(), keys[1024]
    public, private = add(s, key)
    for length in (0, 1, 19, 21, 33, 65, 100):
        assert code_of(s.sign, CKM.DSA, private, bytes(length)) == "CKR_DATA_LEN_RANGE"
        assert code_of(s.verify, CKM.DSA, public, bytes(length), SAMPLE_SHA1) == "CKR_DATA_LEN_RANGE"
    for bad in (b"", SAMPLE_SHA1[:-1], SAMPLE_SHA1 + b"x", SAMPLE_SHA1[:-2]):
        assert code_of(s.verify, CKM.DSA_SHA1, public, b"sample", bad) == "CKR_SIGNATURE_LEN_RANGE"
    for bad in (bytes(40), number(Q) * 2, SAMPLE_SHA1[20:] + SAMPLE_SHA1[:20]):
        assert code_of(s.verify, CKM.DSA_SHA1, public, b"sample", bad) == "CKR_SIGNATURE_INVALID"


def test_keys(token):
    """The public value is computed from the private one; numbers that no key has are refused."""
    s, key = token.session(), rfc_key()
    public, private = add(s, key)
    assert s.get(public, CKA.PUBLIC_KEY_INFO) == s.get(private, CKA.PUBLIC_KEY_INFO) == spki(key)
    public, private = ({CKA.CLASS: c, **p} for c, p in zip((CKO.PUBLIC_KEY, CKO.PRIVATE_KEY), parts_of(key)))
    obj = s.create(public | {CKA.PRIME: b"\x00" + number(P)})
    assert s.get(obj, CKA.PRIME) == number(P)
    bad = [
        (public, CKA.PRIME, number(P - 1)), (public, CKA.PRIME, b"\x07"), (public, CKA.SUBPRIME, number(Q + 2)),
        (public, CKA.SUBPRIME, b"\x01"), (public, CKA.BASE, b"\x01"), (public, CKA.BASE, number(P)),
        (public, CKA.VALUE, b""), (public, CKA.VALUE, b"\x01"), (public, CKA.VALUE, number(P - 1)),
        (public, CKA.VALUE, number(P)), (private, CKA.VALUE, b"\x00"), (private, CKA.VALUE, number(Q)),
        (private, CKA.VALUE, bytes(300) + number(P * 256)), (private, CKA.PUBLIC_KEY_INFO, spki(ec_key("secp256r1"))),
    ]
    for template, kind, value in bad:
        assert code_of(s.create, template | {kind: value}) == "CKR_ATTRIBUTE_VALUE_INVALID", (CKA.name(kind), value[:8])
    for kind in (CKA.PRIME, CKA.SUBPRIME, CKA.BASE, CKA.VALUE):
        for template in (public, private):
            assert code_of(s.create, {k: v for k, v in template.items() if k != kind}) == "CKR_TEMPLATE_INCOMPLETE"


# RFC 2409, 6.2: the 1024 bit group.
DH_PRIME = bytes.fromhex(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF")


def test_diffie_hellman_keys(token):
    """Public values that lead to secrets which everybody knows are refused."""
    s = token.session()
    p = int.from_bytes(DH_PRIME, "big")
    common = {CKA.KEY_TYPE: CKK.DH, CKA.PRIME: DH_PRIME, CKA.BASE: b"\x02"}
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, **common, CKA.VALUE: b"\x01\x23\x45"})
    assert s.get_ulong(private, CKA.VALUE_BITS) == 17
    public = {CKA.CLASS: CKO.PUBLIC_KEY, **common}
    obj = s.create(public | {CKA.VALUE: number(pow(2, 0x12345, p))})
    assert s.get(obj, CKA.PUBLIC_KEY_INFO) == s.get(private, CKA.PUBLIC_KEY_INFO)
    for value in (0, 1, p - 1, p, p + 2):
        assert code_of(s.create, public | {CKA.VALUE: number(value) or b"\x00"}) == "CKR_ATTRIBUTE_VALUE_INVALID", value
    assert code_of(s.create, public | {CKA.VALUE: b"\x02", CKA.PRIME: number(p - 1)}) == "CKR_ATTRIBUTE_VALUE_INVALID"


def test_codes(token, keys):
    s = token.session()
    public, private = add(s, keys[1024])
    ec_private = add_private(s, ec_key("secp256r1"))
    for function, mech, key, code in [
            ("C_SignInit", CKM.DSA, public, "KEY_TYPE_INCONSISTENT"),
            ("C_VerifyInit", CKM.DSA_SHA1, private, "KEY_TYPE_INCONSISTENT"),
            ("C_SignInit", CKM.DSA, ec_private, "KEY_TYPE_INCONSISTENT"),
            ("C_SignInit", CKM.ECDSA, private, "KEY_TYPE_INCONSISTENT"),
            ("C_SignInit", (CKM.DSA, b"\x00"), private, "MECHANISM_PARAM_INVALID"),
            ("C_VerifyInit", (CKM.DSA_SHA256, b"\x00"), public, "MECHANISM_PARAM_INVALID"),
            ("C_EncryptInit", CKM.DSA, public, "MECHANISM_INVALID")]:
        assert code_of(s.init, function, mech, key) == "CKR_" + code
