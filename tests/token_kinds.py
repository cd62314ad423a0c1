"""A sound object of every kind that the token has, for tests that go through them; and what the standard's tables say.

The keys are made by python3-cryptography, the DSA group by OpenSSL, the DH group is RFC 7919's ffdhe2048."""
import functools
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from cryptoki import CK, CKA, CKC, CKK, CKM, CKO, CKP

FOOTNOTES = Path(__file__).parent / "cases/token/footnotes.tsv"

DSA_P = int("efd883dcd82cd38ac8e8728683cb7ea7f8caccf1ea31783b629e527faa81e9bdb50b0628f01800c4b8fa7bd1858499cd"
            "10f01fa69c7e35407a3b3e438d8682bcefd769de99941d5ed246556c41f5ffb25470e2051110cf64aec19dc8bd5d7f97"
            "98543b65cc7910cd2d72def36a01b4a2e53f4e3cb8295f91ffec972d6a339a83", 16)
DSA_Q = int("865fdaffed2a092fcc34d11bc83405e9a0af8faa536f78cd89beb167", 16)
DSA_G = int("bca5433352c3a39ac203fa02762dbee78db60ca70fde4b30bf8a9cfd13cfb6ff89a043bc95809892c3a3c028d0a0551c"
            "f7db71da8af1c725e97010c1232b97becf5e8020adcf02ecd5fb5a245a9b864c4bb03e01be5cde4f826ab0b9c2b920fc"
            "cdcea21e28767fbe74dcf781ba1295ff7d9dce8e2ed47c56001f9f9dd8bfb68c", 16)
DH_P = int("FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9"
           "7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935"
           "984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB"
           "B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61"
           "9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA"
           "886B423861285C97FFFFFFFFFFFFFFFF", 16)

P256 = bytes.fromhex("06082a8648ce3d030107")
ED25519 = bytes.fromhex("06032b6570")
X25519 = bytes.fromhex("06032b656e")


def octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


@functools.lru_cache(None)
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@functools.lru_cache(None)
def parts(kind: str) -> tuple:
    """The components of a key pair: (public, private)."""
    raw = (Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    if kind == "RSA":
        n = rsa_key().private_numbers()
        public = {CKA.MODULUS: octets(n.public_numbers.n), CKA.PUBLIC_EXPONENT: octets(n.public_numbers.e)}
        return public, {**public, CKA.PRIVATE_EXPONENT: octets(n.d), CKA.PRIME_1: octets(n.p), CKA.PRIME_2: octets(n.q),
                        CKA.EXPONENT_1: octets(n.dmp1), CKA.EXPONENT_2: octets(n.dmq1), CKA.COEFFICIENT: octets(n.iqmp)}
    if kind == "DSA":
        group = {CKA.PRIME: octets(DSA_P), CKA.SUBPRIME: octets(DSA_Q), CKA.BASE: octets(DSA_G)}
        return {**group, CKA.VALUE: octets(pow(DSA_G, 4711, DSA_P))}, {**group, CKA.VALUE: octets(4711)}
    if kind == "DH":
        group, x = {CKA.PRIME: octets(DH_P), CKA.BASE: b"\2"}, 3 ** 150
        return {**group, CKA.VALUE: octets(pow(2, x, DH_P))}, {**group, CKA.VALUE: octets(x)}
    if kind == "EC":
        key = ec.generate_private_key(ec.SECP256R1())
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return ({CKA.EC_PARAMS: P256, CKA.EC_POINT: b"\4\x41" + point},
                {CKA.EC_PARAMS: P256, CKA.VALUE: key.private_numbers().private_value.to_bytes(32, "big")})
    module, oid = {"Edwards": (ed25519.Ed25519PrivateKey, ED25519),
                   "Montgomery": (x25519.X25519PrivateKey, X25519)}[kind]
    key = module.generate()
    point = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return ({CKA.EC_PARAMS: oid, CKA.EC_POINT: b"\4\x20" + point},
            {CKA.EC_PARAMS: oid, CKA.VALUE: key.private_bytes(*raw)})


def group(kind: str) -> dict:
    """The numbers that all keys of a group share."""
    return {k: v for k, v in parts(kind)[0].items() if k != CKA.VALUE}


@dataclass
class Kind:
    name: str
    tables: list            # of the standard
    template: dict          # for C_CreateObject, complete and no more
    generate: tuple = None  # mechanism, template of the public or secret key, is this kind the private half
    so: bool = False        # only the SO may make it

    @functools.cached_property
    def rules(self) -> dict:
        """Attribute -> footnotes."""
        out = {}
        for table in ["Common", "Common Storage"] + self.tables:
            out.update(standard()[table])
        return out


@functools.lru_cache(None)
def standard() -> dict:
    """Table -> attribute -> footnotes."""
    tables = {}
    for line in FOOTNOTES.read_text().splitlines():
        if not line.startswith("#"):
            table, attribute, notes = line.split("\t")
            tables.setdefault(table, {})[getattr(CKA, attribute[4:])] = {int(n) for n in notes.split(",") if n}
    return tables


def _kinds():
    yield Kind("data", ["Data"], {CKA.CLASS: CKO.DATA})
    certificate = {CKA.CLASS: CKO.CERTIFICATE, CKA.VALUE: b"no DER"}
    yield Kind("x509", ["Common Certificate", "X.509 Certificate"],
               {**certificate, CKA.CERTIFICATE_TYPE: CKC.X_509, CKA.SUBJECT: b"subject"})
    yield Kind("wtls", ["Common Certificate", "WTLS Certificate"],
               {**certificate, CKA.CERTIFICATE_TYPE: CKC.WTLS, CKA.SUBJECT: b"subject"})
    yield Kind("attribute certificate", ["Common Certificate", "X.509 Attribute Certificate"],
               {**certificate, CKA.CERTIFICATE_TYPE: CKC.X_509_ATTR_CERT, CKA.OWNER: b"owner"})
    pairs = {
        "RSA": (CKK.RSA, "RSA", CKM.RSA_PKCS_KEY_PAIR_GEN, {CKA.MODULUS_BITS: 1024}),
        "DSA": (CKK.DSA, "DSA", CKM.DSA_KEY_PAIR_GEN, group("DSA")),
        "DH": (CKK.DH, "Diffie-Hellman", CKM.DH_PKCS_KEY_PAIR_GEN, group("DH")),
        "EC": (CKK.EC, "Elliptic Curve", CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: P256}),
        "Edwards": (CKK.EC_EDWARDS, "Edwards Elliptic Curve", CKM.EC_EDWARDS_KEY_PAIR_GEN, {CKA.EC_PARAMS: ED25519}),
        "Montgomery": (CKK.EC_MONTGOMERY, "Montgomery Elliptic Curve", CKM.EC_MONTGOMERY_KEY_PAIR_GEN,
                       {CKA.EC_PARAMS: X25519}),
    }
    for name, (key_type, table, mechanism, wanted) in pairs.items():
        public, private = parts(name)
        yield Kind(name + " public", ["Common Key", "Common Public Key", table + " Public Key"],
                   {CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: key_type, **public}, (mechanism, wanted, False))
        yield Kind(name + " private", ["Common Key", "Common Private Key", table + " Private Key"],
                   {CKA.CLASS: CKO.PRIVATE_KEY, CKA.KEY_TYPE: key_type, **private}, (mechanism, wanted, True))
    odd = bytes.fromhex("0123456789abcdef" "fedcba9876543210" "1032547698badcfe")  # of odd parity
    secrets = {
        "AES": (CKK.AES, "AES", bytes(range(16)), CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16}),
        "DES2": (CKK.DES2, "DES2", odd[:16], CKM.DES2_KEY_GEN, {}),
        "DES3": (CKK.DES3, "DES3", odd, CKM.DES3_KEY_GEN, {}),
        "ChaCha20": (CKK.CHACHA20, "ChaCha20", bytes(32), CKM.CHACHA20_KEY_GEN, {}),
        "generic": (CKK.GENERIC_SECRET, "Generic", b"secret", CKM.GENERIC_SECRET_KEY_GEN, {CKA.VALUE_LEN: 20}),
        "HKDF": (CKK.HKDF, "Generic", b"secret", CKM.HKDF_KEY_GEN, {CKA.VALUE_LEN: 20}),
        "SHA-256 HMAC": (CKK.SHA256_HMAC, "Generic", b"secret", None, {}),
        "SHA-1 HMAC": (CKK.SHA_1_HMAC, "Generic", b"secret", None, {}),
    }
    for name, (key_type, table, value, mechanism, wanted) in secrets.items():
        yield Kind(name, ["Common Key", "Common Secret Key", table + " Secret Key"],
                   {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: key_type, CKA.VALUE: value},
                   (mechanism, wanted, False) if mechanism is not None else None)
    parameters = {CKA.CLASS: CKO.DOMAIN_PARAMETERS}
    yield Kind("DSA parameters", ["Common Domain Parameter", "DSA Domain Parameter"],
               {**parameters, CKA.KEY_TYPE: CKK.DSA, **pairs["DSA"][3]})
    yield Kind("DH parameters", ["Common Domain Parameter", "Diffie-Hellman Domain Parameter"],
               {**parameters, CKA.KEY_TYPE: CKK.DH, **pairs["DH"][3]})
    yield Kind("profile", ["Profile"], {CKA.CLASS: CKO.PROFILE, CKA.PROFILE_ID: CKP.BASELINE_PROVIDER}, so=True)
    yield Kind("trust", ["Trust"], {CKA.CLASS: CKO.TRUST, CKA.ISSUER: b"issuer", CKA.SERIAL_NUMBER: b"\2\1\1"})


KINDS = {kind.name: kind for kind in _kinds()}
NSS = {
    "NSS trust": {CKA.CLASS: CKO.NSS_TRUST, CKA.ISSUER: b"issuer", CKA.SERIAL_NUMBER: b"\2\1\1",
                  CKA.NSS_CERT_SHA1_HASH: bytes(20), CKA.NSS_CERT_MD5_HASH: bytes(16),
                  CKA.NSS_TRUST_SERVER_AUTH: 0xce534352, CKA.NSS_TRUST_STEP_UP_APPROVED: False},
    "NSS CRL": {CKA.CLASS: CKO.NSS_CRL, CKA.SUBJECT: b"subject", CKA.VALUE: b"crl", CKA.NSS_URL: "http://crl"},
    "NSS S/MIME": {CKA.CLASS: CKO.NSS_SMIME, CKA.SUBJECT: b"subject", CKA.NSS_EMAIL: "a@b", CKA.VALUE: b"profile"},
}

BOOLS = {getattr(CKA, name) for name in
         ("TOKEN PRIVATE MODIFIABLE COPYABLE DESTROYABLE TRUSTED DERIVE LOCAL ENCRYPT DECRYPT SIGN SIGN_RECOVER VERIFY "
          "VERIFY_RECOVER WRAP UNWRAP ENCAPSULATE DECAPSULATE SENSITIVE EXTRACTABLE ALWAYS_SENSITIVE NEVER_EXTRACTABLE "
          "WRAP_WITH_TRUSTED ALWAYS_AUTHENTICATE").split()}
NUMBERS = {getattr(CKA, name) for name in
           ("CLASS CERTIFICATE_TYPE CERTIFICATE_CATEGORY KEY_TYPE KEY_GEN_MECHANISM OBJECT_VALIDATION_FLAGS "
            "MODULUS_BITS VALUE_LEN VALUE_BITS PRIME_BITS SUBPRIME_BITS PROFILE_ID JAVA_MIDP_SECURITY_DOMAIN "
            "NAME_HASH_ALGORITHM TRUST_SERVER_AUTH TRUST_CLIENT_AUTH TRUST_CODE_SIGNING TRUST_EMAIL_PROTECTION TRUST_IPSEC_IKE "
            "TRUST_TIME_STAMPING TRUST_OCSP_SIGNING").split()}
DATES = {CKA.START_DATE, CKA.END_DATE}
TEMPLATES = {CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE, CKA.DERIVE_TEMPLATE, CKA.ENCAPSULATE_TEMPLATE,
             CKA.DECAPSULATE_TEMPLATE}


def sample(attribute: int):
    """Some value of the right form."""
    if attribute in BOOLS:
        return True
    if attribute in NUMBERS:
        return CK.UNAVAILABLE_INFORMATION >> 1
    if attribute in DATES:
        return "20260101"
    if attribute in TEMPLATES:
        return {CKA.SENSITIVE: True}
    if attribute == CKA.ALLOWED_MECHANISMS:
        return [CKM.AES_CBC]
    return b"sample"
