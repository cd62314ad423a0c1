"""Key agreement of libp11token.so, ECDH and Diffie-Hellman, against python3-cryptography, Python's numbers and the
RFCs; and
the public half of a private key."""
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519, x448
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from cryptoki import CKA, CKD, CKK, CKM, CKO, struct
from derivation import HASHES, P256, code, odd, secret, value_made


@pytest.fixture
def s(token):
    return token.session()


# --- elliptic curves ---

CURVES = {"P-256": (P256, ec.SECP256R1), "P-384": (bytes.fromhex("06052b81040022"), ec.SECP384R1),
          "P-521": (bytes.fromhex("06052b81040023"), ec.SECP521R1)}
X25519 = bytes.fromhex("06032b656e")
X448 = bytes.fromhex("06032b656f")


def octet_string(data: bytes) -> bytes:
    return bytes([4, len(data)] if len(data) < 128 else [4, 0x81, len(data)]) + data


def unwrapped(der: bytes) -> bytes:
    """The contents of a DER OCTET STRING."""
    return der[3:] if der[1] == 0x81 else der[2:]


def ecdh(peer: bytes, kdf: int = CKD.NULL, shared: bytes = None, mech: int = CKM.ECDH1_DERIVE):
    more = {"pSharedData": shared} if shared is not None else {}
    return mech, struct("CK_ECDH1_DERIVE_PARAMS", kdf=kdf, pPublicData=peer, **more)


def ec_pair(s, params: bytes, mech: int = CKM.EC_KEY_PAIR_GEN):
    """The raw public point and the private key."""
    public, private = s.generate_pair(mech, {CKA.EC_PARAMS: params}, {CKA.DERIVE: True})
    return unwrapped(s.get(public, CKA.EC_POINT)), private


def point(key, compressed: bool = False) -> bytes:
    fmt = serialization.PublicFormat.CompressedPoint if compressed else serialization.PublicFormat.UncompressedPoint
    return key.public_key().public_bytes(serialization.Encoding.X962, fmt)


@pytest.mark.parametrize("name", CURVES)
def test_shared_secret_on_a_curve(s, name):
    """Both sides have the same secret; the peer's point raw, compressed, or as a DER OCTET STRING."""
    params, curve = CURVES[name]
    mine, private = ec_pair(s, params)
    peer = ec.generate_private_key(curve())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(curve(), mine))
    for form in (point(peer), octet_string(point(peer)), point(peer, True), octet_string(point(peer, True))):
        assert value_made(s, ecdh(form), private) == z
    assert value_made(s, ecdh(point(peer), mech=CKM.ECDH1_COFACTOR_DERIVE), private) == z
    # "The truncation removes bytes from the leading end of the secret value."
    assert value_made(s, ecdh(point(peer)), private, {CKA.VALUE_LEN: 20}) == z[-20:]
    assert value_made(s, ecdh(point(peer)), private, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32}) == z[-32:]
    assert value_made(s, ecdh(point(peer)), private, {CKA.KEY_TYPE: CKK.DES3}) == odd(z[-24:])
    assert code(s.derive, ecdh(point(peer)), private, {CKA.VALUE_LEN: len(z) + 1}) == "CKR_TEMPLATE_INCONSISTENT"


def test_aes_key_of_the_whole_secret(s):
    """A type of several lengths takes the whole secret, if it has one of them."""
    mine, private = ec_pair(s, P256)
    peer = ec.generate_private_key(ec.SECP256R1())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    assert value_made(s, ecdh(point(peer)), private, {CKA.KEY_TYPE: CKK.AES}) == z
    _, private = ec_pair(s, CURVES["P-521"][0])
    peer = ec.generate_private_key(ec.SECP521R1())
    assert code(s.derive, ecdh(point(peer)), private, {CKA.KEY_TYPE: CKK.AES}) == "CKR_TEMPLATE_INCOMPLETE"


def test_secret_of_rfc_5903(s):
    """RFC 5903, 8.1: the 256-bit group."""
    i = "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433"
    r = ("04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
         "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab")
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC, CKA.EC_PARAMS: P256,
                        CKA.VALUE: bytes.fromhex(i),
                        CKA.DERIVE: True})
    assert value_made(s, ecdh(bytes.fromhex(r)), private).hex() == \
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"


def x963(name: str, z: bytes, shared: bytes, n: int, counter_first: bool) -> bytes:
    """ANSI X9.63, or SP800-56A where the counter comes first."""
    out = b""
    for i in range(1, n + 1):
        c = i.to_bytes(4, "big")
        out += hashlib.new(name, c + z + shared if counter_first else z + c + shared).digest()
    return out[:n]


@pytest.mark.parametrize("sp800", [False, True])
@pytest.mark.parametrize("name",
                         ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA3_224", "SHA3_256", "SHA3_384",
                          "SHA3_512"])
def test_key_derivation_functions(s, name, sp800):
    kdf = getattr(CKD, name + ("_KDF_SP800" if sp800 else "_KDF"))
    mine, private = ec_pair(s, P256)
    peer = ec.generate_private_key(ec.SECP256R1())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    for shared in (None, b"shared info"):
        for n in (1, 24, 200):
            expected = x963(HASHES[name], z, shared or b"", n, sp800)
            assert value_made(s, ecdh(point(peer), kdf, shared), private, {CKA.VALUE_LEN: n}) == expected
    assert code(s.derive, ecdh(point(peer), kdf), private, {}) == "CKR_TEMPLATE_INCOMPLETE"


def test_key_wrapping_key_as_nss_asks_for_it(s):
    """cmspubkey.c: CKD_SHA1_KDF, target CKM_NSS_AES_KEY_WRAP, with which the content key is unwrapped."""
    mine, private = ec_pair(s, P256)
    peer = ec.generate_private_key(ec.SECP256R1())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    key = s.derive(ecdh(octet_string(point(peer)), CKD.SHA1_KDF, b"info"), private,
                   {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.UNWRAP: True, CKA.VALUE_LEN: 16})
    assert s.get(key, CKA.VALUE) == x963("sha1", z, b"info", 16, False)
    content = s.unwrap(CKM.NSS_AES_KEY_WRAP, key, aes_key_wrap(s.get(key, CKA.VALUE), bytes(range(16))),
                       {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.DECRYPT: True})
    assert s.get(content, CKA.VALUE) == bytes(range(16))


@pytest.mark.parametrize("params,kind", [(X25519, x25519.X25519PrivateKey), (X448, x448.X448PrivateKey)])
def test_montgomery_curves(s, params, kind):
    public, private = s.generate_pair(CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: params}, {CKA.DERIVE: True})
    size = 56 if params == X448 else 32
    mine = s.get(public, CKA.EC_POINT)[-size:]
    peer = kind.generate()
    raw = peer.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    z = peer.exchange(type(peer.public_key()).from_public_bytes(mine))
    for form in (raw, octet_string(raw)):
        assert value_made(s, ecdh(form), private) == z
    assert value_made(s, ecdh(raw, CKD.SHA256_KDF, b"info"), private, {CKA.VALUE_LEN: 40}) == \
        x963("sha256", z, b"info", 40, False)
    assert code(s.derive, ecdh(bytes(size)), private, {}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, ecdh(raw[1:]), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


def test_secret_of_rfc_7748(s):
    """RFC 7748, 6.1: Alice's private key, Bob's public key, their secret."""
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.EC_MONTGOMERY, CKA.EC_PARAMS: X25519,
                        CKA.DERIVE: True,
                        CKA.VALUE: bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")})
    bob = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    assert value_made(s, ecdh(bob), private).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def test_x25519_as_nss_of_debian_12_makes_it(s):
    """CKM_EC_KEY_PAIR_GEN with NSS's own OID of the curve, 1.3.6.1.4.1.11591.15.1."""
    mine, private = ec_pair(s, bytes.fromhex("06092b06010401da470f01"))
    peer = x25519.X25519PrivateKey.generate()
    raw = peer.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    z = peer.exchange(x25519.X25519PublicKey.from_public_bytes(mine[-32:]))
    assert value_made(s, ecdh(raw), private) == value_made(s, ecdh(octet_string(raw)), private) == z


BAD_POINTS = [
    bytes(65), b"\x04" + bytes(64), b"\x04" + b"\x01" * 64, b"\0", b"", b"\x04\x41", b"\x02" + b"\xff" * 32,
    octet_string(b"\x04" + b"\x01" * 64), octet_string(bytes(3)), b"\x04" + b"\xff" * 64,
]


@pytest.mark.parametrize("peer", BAD_POINTS)
def test_points_that_are_not_on_the_curve(s, peer):
    """An invalid point would let a peer find the private key bit by bit."""
    _, private = ec_pair(s, P256)
    assert code(s.derive, ecdh(peer), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


def test_parameters_of_ecdh(s):
    _, private = ec_pair(s, P256)
    public, _ = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, CKA.DERIVE: True}, {CKA.DERIVE: True})
    peer = point(ec.generate_private_key(ec.SECP256R1()))
    assert code(s.derive, ecdh(peer, CKD.NULL, b"not with CKD_NULL"), private, {}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, ecdh(peer, 0x7777), private, {CKA.VALUE_LEN: 16}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, (CKM.ECDH1_DERIVE, b"short"), private, {}) == "CKR_MECHANISM_PARAM_INVALID"
    assert code(s.derive, ecdh(peer), public, {}) == "CKR_KEY_TYPE_INCONSISTENT"
    assert code(s.derive, ecdh(peer), secret(s, b"secret"), {}) == "CKR_KEY_TYPE_INCONSISTENT"
    other = point(ec.generate_private_key(ec.SECP384R1()))
    assert code(s.derive, ecdh(other), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


def test_shared_secret_of_a_token_key(token):
    """The secret of a sensitive private key may be read if nobody says otherwise: NSS does (TLS)."""
    s = token.session()
    public, private = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256, CKA.TOKEN: True},
                                      {CKA.DERIVE: True, CKA.TOKEN: True, CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    mine = unwrapped(s.get(public, CKA.EC_POINT))
    peer = ec.generate_private_key(ec.SECP256R1())
    z = peer.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), mine))
    key = s.derive(ecdh(point(peer)), private, {})
    assert s.get(key, CKA.VALUE) == z
    key = s.derive(ecdh(point(peer)), private, {CKA.TOKEN: True, CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    assert s.get_bool(key, CKA.TOKEN) and s.get_bool(key, CKA.ALWAYS_SENSITIVE)


# --- Diffie-Hellman ---

# RFC 2409, 6.2, Second Oakley Group: 1024 bits, generator 2.
PRIME = int("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
            "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
            "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF", 16)


def big(n: int, size: int = 128) -> bytes:
    return n.to_bytes(size, "big")


def dh_private(s, x: int, p: int = PRIME) -> int:
    return s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DH, CKA.PRIME: big(p), CKA.BASE: b"\2",
                     CKA.VALUE: big(x),
                     CKA.DERIVE: True})


def test_diffie_hellman(s):
    x, y = 0x1234567890ABCDEF << 200 | 77, 0xFEDCBA0987654321 << 150 | 3
    z = big(pow(pow(2, y, PRIME), x, PRIME))
    private, peer = dh_private(s, x), big(pow(2, y, PRIME))
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private) == z.lstrip(b"\0")
    assert value_made(s, (CKM.DH_PKCS_DERIVE, b"\0" + peer), private, {CKA.VALUE_LEN: 128}) == z
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private, {CKA.VALUE_LEN: 48}) == z[-48:]
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 32}) == z[-32:]
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private, {CKA.KEY_TYPE: CKK.DES3}) == odd(z[-24:])
    for wrong in ({CKA.VALUE_LEN: 129}, {CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 128}):
        assert code(s.derive, (CKM.DH_PKCS_DERIVE, peer), private, wrong) == "CKR_TEMPLATE_INCONSISTENT"


def test_secret_that_begins_with_zeros(s):
    """TLS takes the secret without leading zeros (RFC 5246, 8.1.2); a length brings them back."""
    y = 0x1234567
    x = next(x for x in range(1 << 64, (1 << 64) + 5000) if big(pow(2, x * y, PRIME))[0] == 0)
    z = big(pow(2, x * y, PRIME))
    private, peer = dh_private(s, x), big(pow(2, y, PRIME))
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private) == z.lstrip(b"\0")
    assert value_made(s, (CKM.DH_PKCS_DERIVE, peer), private, {CKA.VALUE_LEN: 128}) == z


@pytest.mark.parametrize("value", [0, 1, PRIME - 1, PRIME, PRIME + 1])
def test_public_values_that_give_the_secret_away(s, value):
    private = dh_private(s, 0x1234567890ABCDEF << 200)
    assert code(s.derive, (CKM.DH_PKCS_DERIVE, big(value)), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


def test_parameters_of_diffie_hellman(s):
    private = dh_private(s, 0x1234567890ABCDEF << 200)
    for peer in (None, b"", bytes(200)):
        assert code(s.derive, (CKM.DH_PKCS_DERIVE, peer), private, {}) == "CKR_MECHANISM_PARAM_INVALID"


# --- the public half of a private key ---

PAIRS = {
    "RSA": (CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 2048}, (CKA.MODULUS, CKA.PUBLIC_EXPONENT)),
    "EC": (CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}, (CKA.EC_PARAMS, CKA.EC_POINT)),
    "Ed25519": (CKM.EC_EDWARDS_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06032b6570")},
                (CKA.EC_PARAMS, CKA.EC_POINT)),
    "X25519": (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: X25519}, (CKA.EC_PARAMS, CKA.EC_POINT)),
    "X448": (CKM.EC_MONTGOMERY_KEY_PAIR_GEN, {CKA.EC_PARAMS: X448}, (CKA.EC_PARAMS, CKA.EC_POINT)),
    "DH": (CKM.DH_PKCS_KEY_PAIR_GEN, {CKA.PRIME: big(PRIME), CKA.BASE: b"\2"}, (CKA.PRIME, CKA.BASE, CKA.VALUE)),
}


def test_public_half_of_a_dsa_key(s):
    """The group is small, because only the arithmetic matters: p and q of 1024 and 160 bits, g = 2^((p-1)/q)."""
    q = int("996f967f6c8e388d9e28d01e205fba957a5698b1", 16)
    first = (1 << 1023) // (2 * q) + 1
    p = next(p for p in (2 * n * q + 1 for n in range(first, first + 200000)) if pow(2, p - 1, p) == 1)
    g = pow(2, (p - 1) // q, p)
    private = s.create({CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: CKK.DSA, CKA.PRIME: big(p), CKA.SUBPRIME: big(q, 20),
                        CKA.BASE: big(g), CKA.VALUE: big(0x1234567, 20)})
    key = s.derive(CKM.PUB_KEY_FROM_PRIV_KEY, private, {})
    assert s.get(key, CKA.VALUE) == big(pow(g, 0x1234567, p)).lstrip(b"\0")


@pytest.mark.parametrize("mech", [CKM.PUB_KEY_FROM_PRIV_KEY, CKM.NSS_PUB_FROM_PRIV])
@pytest.mark.parametrize("name", PAIRS)
def test_public_half_of_a_private_key(s, name, mech):
    """With an empty template, as NSS asks, and without CKA_DERIVE; ID and uses are those of the private key."""
    generate, public, components = PAIRS[name]
    made, private = s.generate_pair(generate, public, {CKA.ID: b"the id", CKA.DERIVE: False, CKA.SENSITIVE: True,
                                                       CKA.EXTRACTABLE: False})
    key = s.derive(mech, private, {})
    assert s.get_ulong(key, CKA.CLASS) == CKO.PUBLIC_KEY
    assert s.get_many(key, components) == s.get_many(made, components)
    assert s.get(key, CKA.ID) == b"the id" and not s.get_bool(key, CKA.LOCAL) and not s.get_bool(key, CKA.TOKEN)
    if name in ("RSA", "EC", "Ed25519"):
        assert s.get_bool(key, CKA.VERIFY) == s.get_bool(private, CKA.SIGN)
    told = s.derive(mech, private, {CKA.TOKEN: True, CKA.ID: b"other", CKA.LABEL: "mine"})
    assert s.get_bool(told, CKA.TOKEN) and s.get(told, CKA.ID) == b"other"
    assert code(s.derive, mech, made, {}) == "CKR_KEY_TYPE_INCONSISTENT"
    assert code(s.derive, mech, private, {CKA.CLASS: CKO.SECRET_KEY}) == "CKR_TEMPLATE_INCONSISTENT"
