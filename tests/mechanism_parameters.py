"""Parameters that work for every mechanism of C_DeriveKey, and for every one of encryption, signing and wrapping."""
import ctypes

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, x25519, x448

import cryptoki
from cryptoki import CK, CKA, CKD, CKF, CKG, CKK, CKM, CKO, CKR, ULONG, CkError, mechanism, struct, template
from token_kinds import DH_P

CLIENT, SERVER = bytes(range(32)), bytes(range(100, 132))


def string(data: bytes):
    return struct("CK_KEY_DERIVATION_STRING_DATA", pData=data)


def randoms():
    return struct("CK_SSL3_RANDOM_DATA", pClientRandom=CLIENT, pServerRandom=SERVER)


def public_values() -> dict:
    """A peer for each kind of agreement."""
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return {
        "EC": ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint),
        "X25519": x25519.X25519PrivateKey.generate().public_key().public_bytes(*raw),
        "X448": x448.X448PrivateKey.generate().public_key().public_bytes(*raw),
        "DH": pow(2, 3 ** 160, DH_P).to_bytes(256, "big"),
    }


class Derivation:
    """One way to derive: `run` returns the handles of the keys made, or raises CkError."""

    def __init__(self, mech: int, parameter=None, attributes: dict = None, no_handle: bool = False, handles=lambda: []):
        self.mech, self.parameter, self.attributes = mech, parameter, attributes or {}
        self.no_handle, self.handles = no_handle, handles

    def __repr__(self):
        return CKM.name(self.mech)

    def run(self, s, base: int, attributes: dict) -> list:
        full = template({**self.attributes, **attributes})
        handle = ULONG()
        s.call("C_DeriveKey", ctypes.byref(mechanism((self.mech, self.parameter))), base, full, len(full),
               None if self.no_handle else ctypes.byref(handle))
        return [h for h in [handle.value] + self.handles() if h]


def key_material(mech: int, tls12: bool) -> Derivation:
    ivs = cryptoki.Guarded(16), cryptoki.Guarded(16)
    out = struct("CK_SSL3_KEY_MAT_OUT", pIVClient=ivs[0].memory, pIVServer=ivs[1].memory)
    more = {"prfHashMechanism": CKM.SHA256} if tls12 else {}
    p = struct("CK_TLS12_KEY_MAT_PARAMS" if tls12 else "CK_SSL3_KEY_MAT_PARAMS", ulMacSizeInBits=160,
               ulKeySizeInBits=128,
               ulIVSizeInBits=128, RandomInfo=randoms(), pReturnedKeyMaterial=out, **more)
    return Derivation(mech, p, {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16}, True,
                      lambda: [out.hClientMacSecret, out.hServerMacSecret, out.hClientKey, out.hServerKey])


def master(mech: int, tls12: bool, version: bool) -> Derivation:
    more = {"prfHashMechanism": CKM.SHA256} if tls12 else {}
    if version:
        more["pVersion"] = struct("CK_VERSION")
    kind = "CK_TLS12_MASTER_KEY_DERIVE_PARAMS" if tls12 else "CK_SSL3_MASTER_KEY_DERIVE_PARAMS"
    return Derivation(mech, struct(kind, RandomInfo=randoms(), **more))


def extended(mech: int) -> Derivation:
    kind = "CK_NSS_TLS_EXTENDED_MASTER_KEY_DERIVE_PARAMS" if "NSS" in CKM.name(mech) else \
        "CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS"
    return Derivation(mech, struct(kind, prfHashMechanism=CKM.SHA256, pSessionHash=bytes(32)))


def hkdf(mech: int, extract: bool, expand: bool, salt: int = 0) -> Derivation:
    p = struct("CK_HKDF_PARAMS", bExtract=extract, bExpand=expand, prfHashMechanism=CKM.SHA256, pInfo=b"info",
               ulSaltType=CKF.HKDF_SALT_KEY if salt else CKF.HKDF_SALT_NULL, hSaltKey=salt)
    return Derivation(mech, p, {CKA.VALUE_LEN: 32})


def kbkdf(mech: int, prf: int, other: int) -> Derivation:
    """With a second key, and with the key `other` among the data if it is not 0."""
    def field(kind, value=None):
        f = struct("CK_PRF_DATA_PARAM", type=getattr(CK, "SP800_108_" + kind))
        if value is not None:
            f.fill("pValue", value)
            f.ulValueLen = len(value) if isinstance(value, bytes) else ctypes.sizeof(value)
        return f
    counter = struct("CK_SP800_108_COUNTER_FORMAT", ulWidthInBits=16)
    iteration = field("ITERATION_VARIABLE", counter if mech == CKM.SP800_108_COUNTER_KDF else None)
    fields = [iteration, field("BYTE_ARRAY", b"data")]
    if other:
        fields.append(field("KEY_HANDLE", ULONG(other)))
    second = ULONG()
    more = template({CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16, CKA.SENSITIVE: False, CKA.EXTRACTABLE: True})
    extra = struct("CK_DERIVED_KEY", pTemplate=more, ulAttributeCount=len(more), phKey=second)
    kind = "CK_SP800_108_FEEDBACK_KDF_PARAMS" if mech == CKM.SP800_108_FEEDBACK_KDF else "CK_SP800_108_KDF_PARAMS"
    p = struct(kind, prfType=prf, ulNumberOfDataParams=len(fields), pDataParams=fields, ulAdditionalDerivedKeys=1,
               pAdditionalDerivedKeys=[extra])
    return Derivation(mech, p, {CKA.VALUE_LEN: 32}, handles=lambda: [second.value])


def tls_prf() -> Derivation:
    output, length = cryptoki.Guarded(100), ULONG(100)
    return Derivation(CKM.TLS_PRF, struct("CK_TLS_PRF_PARAMS", pSeed=b"seed", pLabel=b"label", pOutput=output.memory,
                                          pulOutputLen=length, ulSeedLen=4, ulLabelLen=5), no_handle=True)


def tls_kdf(mech: int, prf: int) -> Derivation:
    p = struct("CK_TLS_KDF_PARAMS", prfMechanism=prf, pLabel=b"label", RandomInfo=randoms(), ulLabelLength=5)
    return Derivation(mech, p, {CKA.VALUE_LEN: 48})


def derivations(mech: int, size: int, known: bytes, other: int) -> list:
    """The ways to derive with a mechanism from a base of `size` bytes; `known` are data, `other` is a secret key.
    Empty if the mechanism is not known here."""
    name = CKM.name(mech)[4:]
    if name.endswith("_KEY_DERIVATION"):
        return [Derivation(mech)]
    if name.endswith("_ECB_ENCRYPT_DATA"):
        return [Derivation(mech, string(known[:32]))]
    if name.endswith("_CBC_ENCRYPT_DATA"):
        kind = "CK_AES_CBC_ENCRYPT_DATA_PARAMS" if name.startswith("AES") else "CK_DES_CBC_ENCRYPT_DATA_PARAMS"
        iv = bytes(16 if name.startswith("AES") else 8)
        return [Derivation(mech, struct(kind, iv=iv, pData=known[:32], length=32))]
    if name in ("CONCATENATE_BASE_AND_DATA", "CONCATENATE_DATA_AND_BASE"):
        return [Derivation(mech, string(known[:n]), more) for n in (1, 16)
                for more in ({}, {CKA.VALUE_LEN: size}, {CKA.VALUE_LEN: 8})]
    if name == "XOR_BASE_AND_DATA":
        whole = known * (size // len(known) + 1)
        return [Derivation(mech, string(data[:n])) for data in (whole, bytes(size)) for n in (size, size // 2)]
    if name == "EXTRACT_KEY_FROM_KEY":
        return [Derivation(mech, bit, {CKA.VALUE_LEN: n}) for bit in (0, 3, 8, size * 4, size * 8 - 1)
                for n in (size, size - 1, 14, 8, 1) if 0 < n <= size]
    if name == "CONCATENATE_BASE_AND_KEY":
        return [Derivation(mech, other)]
    if name in ("PUB_KEY_FROM_PRIV_KEY", "NSS_PUB_FROM_PRIV"):
        return [Derivation(mech)]
    if name in ("HKDF_DERIVE", "HKDF_DATA"):
        return [hkdf(mech, *how) for how in ((True, True), (True, False), (False, True), (True, True, other))]
    if name.startswith("SP800_108_"):
        return [kbkdf(mech, prf, o) for prf in (CKM.SHA256_HMAC, CKM.AES_CMAC, CKM.DES3_CMAC) for o in (0, other)]
    if name.startswith("ECDH1_"):
        return [Derivation(mech, struct("CK_ECDH1_DERIVE_PARAMS", kdf=kdf, pPublicData=peer), more)
                for kind, peer in public_values().items() if kind != "DH"
                for kdf, more in ((CKD.NULL, {}), (CKD.SHA256_KDF, {CKA.VALUE_LEN: 32}))]
    if name == "DH_PKCS_DERIVE":
        return [Derivation(mech, public_values()["DH"])]
    if name in ("TLS_KDF", "TLS12_KDF"):
        return [tls_kdf(mech, prf) for prf in (CKM.TLS_PRF, CKM.SHA256)]
    if name == "TLS_PRF":
        return [tls_prf()]
    if "EXTENDED_MASTER" in name:
        return [extended(mech)]
    if "MASTER_KEY_DERIVE" in name:
        return [master(mech, name.startswith("TLS12"), v) for v in ((False,) if "_DH" in name else (False, True))]
    if "KEY_AND_MAC_DERIVE" in name or name == "TLS12_KEY_SAFE_DERIVE":
        return [key_material(mech, name.startswith("TLS12"))]
    return []


# --- encryption, signatures, wrapping ---

GCM = struct("CK_GCM_PARAMS", pIv=bytes(12), pAAD=b"header", ulTagBits=128, ulIvBits=96)
OAEP = struct("CK_RSA_PKCS_OAEP_PARAMS", hashAlg=CKM.SHA256, mgf=CKG.MGF1_SHA256, source=cryptoki.CKZ.DATA_SPECIFIED)
PARAMETERS = {
    CKM.AES_CTR: struct("CK_AES_CTR_PARAMS", ulCounterBits=128, cb=bytes(16)), CKM.AES_GCM: GCM,
    CKM.AES_CCM: struct("CK_CCM_PARAMS", ulDataLen=32, pNonce=bytes(12), pAAD=b"header", ulMACLen=16),
    CKM.CHACHA20_POLY1305: struct("CK_SALSA20_CHACHA20_POLY1305_PARAMS", pNonce=bytes(12), pAAD=b"header"),
    CKM.NSS_CHACHA20_POLY1305: struct("CK_NSS_AEAD_PARAMS", pNonce=bytes(12), pAAD=b"header", ulTagLen=16),
    CKM.RC2_ECB: 128, CKM.RC2_CBC: struct("CK_RC2_CBC_PARAMS", ulEffectiveBits=128, iv=bytes(8)),
    CKM.RC2_CBC_PAD: struct("CK_RC2_CBC_PARAMS", ulEffectiveBits=128, iv=bytes(8)),
    CKM.RSA_PKCS_OAEP: OAEP, CKM.RSA_AES_KEY_WRAP: struct("CK_RSA_AES_KEY_WRAP_PARAMS", ulAESKeyBits=256,
                                                          pOAEPParams=OAEP),
    CKM.RSA_PKCS_PSS: struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=CKM.SHA256, mgf=CKG.MGF1_SHA256, sLen=32),
    CKM.TLS_MAC: struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=12, ulServerOrClient=1),
    CKM.TLS12_MAC: struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=12, ulServerOrClient=1),
    CKM.SSL3_MD5_MAC: 16, CKM.SSL3_SHA1_MAC: 20, CKM.TLS_PRF_GENERAL: 64, CKM.NSS_TLS_PRF_GENERAL_SHA256: 64,
}


def parameter_of(mech: int):
    """A parameter that works, or None for mechanisms that take none."""
    if mech in PARAMETERS:
        return PARAMETERS[mech]
    name = CKM.name(mech)[4:]
    if name.endswith("_GENERAL"):
        return 8
    if "_RSA_PKCS_PSS" in name:
        digest = name.split("_RSA")[0]
        return struct("CK_RSA_PKCS_PSS_PARAMS", hashAlg=getattr(CKM, {"SHA1": "SHA_1"}.get(digest, digest)),
                      mgf=getattr(CKG, "MGF1_" + digest), sLen=20)
    modes = ("_CBC", "_CBC_PAD", "_CTS", "_OFB", "_CFB8", "_CFB128")
    return bytes(16 if name.startswith("AES") else 8) if name.endswith(modes) else None


def code_of(call, *arguments) -> str:
    """The name of the code with which a call fails, or CKR_OK."""
    try:
        call(*arguments)
    except CkError as e:
        assert CKR.name(e.rv) == e.name
        return e.name
    return "CKR_OK"
