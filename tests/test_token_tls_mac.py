"""The PRF of libp11token.so as a derivation and as a signature, and the MACs of SSL 3.0 and TLS."""
import ctypes
import hashlib
import hmac

import pytest

from cryptoki import CKA, CKK, CKM, CKO, Guarded, ULONG, mechanism, struct, template
from tls_prf import (AES16, CLIENT, MASTER, SERVER, KeyMaterial, block_of, code, master_mech, master_of, prf,
                     randoms,
                     secret, version_pointer)


@pytest.fixture
def s(token):
    return token.session()


# --- exporters and the bare PRF ---

EXPORTERS = [
    ("TLS_KDF", "SHA256", None), ("TLS_KDF", "SHA384", b""), ("TLS12_KDF", "SHA256", b"context"),
             ("TLS_KDF", "TLS_PRF", b"x" * 300),
]


@pytest.mark.parametrize("name,hash_name,context", EXPORTERS)
def test_exporters_of_rfc_5705(s, name, hash_name, context):
    """An empty context is not the same as none."""
    more = {"pContextData": context} if context is not None else {}
    p = struct("CK_TLS_KDF_PARAMS", prfMechanism=getattr(CKM, hash_name), pLabel=b"EXPERIMENTAL label",
               RandomInfo=randoms(),
               ulLabelLength=18, **more)
    if context is not None:
        p.ulContextDataLength = len(context)
    python = None if hash_name == "TLS_PRF" else hash_name.lower()
    seed = CLIENT + SERVER + (len(context).to_bytes(2, "big") + context if context is not None else b"")
    expected = prf(python, MASTER, b"EXPERIMENTAL label", seed, 100)
    mech = getattr(CKM, name), p
    assert s.get(s.derive(mech, secret(s, MASTER), {CKA.VALUE_LEN: 100}), CKA.VALUE) == expected
    assert s.get(s.derive(mech, secret(s, MASTER), AES16), CKA.VALUE) == expected[:16]
    assert code(s.derive, mech, secret(s, MASTER), {}) == "CKR_TEMPLATE_INCOMPLETE"
    protected = secret(s, MASTER, SENSITIVE=True, EXTRACTABLE=False)
    key = s.derive(mech, protected, {CKA.VALUE_LEN: 100})
    assert s.get_bool(key, CKA.SENSITIVE) and not s.get_bool(key, CKA.EXTRACTABLE)
    assert code(s.derive, mech, protected, {CKA.VALUE_LEN: 100, CKA.SENSITIVE: False}) == "CKR_TEMPLATE_INCONSISTENT"


def prf_mech(n: int, label: bytes = b"label", seed: bytes = b"seed"):
    output, length = Guarded(n), ULONG(n)
    return output, (CKM.TLS_PRF, struct("CK_TLS_PRF_PARAMS", pSeed=seed, pLabel=label, pOutput=output.memory,
                                        pulOutputLen=length, ulSeedLen=len(seed), ulLabelLen=len(label)))


@pytest.mark.parametrize("key", [MASTER, b"odd", b"\1"])
def test_prf_into_the_callers_memory(s, key):
    """No key is made; the two halves of an odd secret share a byte."""
    output, mech = prf_mech(100)
    before = sorted(s.find())
    t, base = template({}), secret(s, key)
    s.call("C_DeriveKey", ctypes.byref(mechanism(mech)), base, t, 0, None)
    assert output.take(100) == prf(None, key, b"label", b"seed", 100)
    assert sorted(s.find()) == sorted(before + [base])


def test_no_prf_in_clear_from_a_protected_key(s):
    """Its label could be "key expansion", and the output keys that nobody may see."""
    for more in ({"SENSITIVE": True}, {"EXTRACTABLE": False}):
        output, mech = prf_mech(40)
        assert code(s.derive, mech, secret(s, MASTER, **more), {}) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
        assert output.take(40) == b"\xcc" * 40


# --- MACs ---

def fixed_size(s, mech, key: int, data: bytes, n: int) -> bytes:
    """A signature into a buffer of n bytes, without asking for its size first."""
    buffer, size = Guarded(n), ULONG(n)
    s.init("C_SignInit", mech, key)
    s.call("C_Sign", data, len(data), buffer.memory, ctypes.byref(size))
    assert size.value == n
    return buffer.take(n)


FINISHED = [("TLS_MAC", "SHA256", 12), ("TLS_MAC", "SHA384", 12), ("TLS12_MAC", "SHA256", 20),
            ("TLS_MAC", "TLS_PRF", 12)]


@pytest.mark.parametrize("name,hash_name,n", FINISHED)
@pytest.mark.parametrize("side,label", [(1, b"server finished"), (2, b"client finished")])
def test_finished_messages(s, name, hash_name, n, side, label):
    p = struct("CK_TLS_MAC_PARAMS", prfHashMechanism=getattr(CKM, hash_name), ulMacLength=n, ulServerOrClient=side)
    mech, key, data = (getattr(CKM, name), p), secret(s, MASTER), b"hash of the handshake"
    python = None if hash_name == "TLS_PRF" else hash_name.lower()
    expected = prf(python, MASTER, label, data, n)
    assert s.sign(mech, key, data) == expected
    assert s.sign_parts(mech, key, [data[:5], b"", data[5:]]) == expected
    s.verify(mech, key, data, expected)
    assert code(s.verify, mech, key, data, bytes(n)) == "CKR_SIGNATURE_INVALID"
    assert code(s.verify, mech, key, data, expected + b"\0") == "CKR_SIGNATURE_LEN_RANGE"


def test_finished_messages_of_a_derived_master_secret(s):
    """As in a handshake of NSS: pre-master secret, master secret, Finished, keys; all of it on the token."""
    pms = s.generate_key((CKM.SSL3_PRE_MASTER_KEY_GEN, struct("CK_VERSION", major=3, minor=3)), {CKA.SIGN: True})
    master = s.derive(master_mech("TLS12_MASTER_KEY_DERIVE", "SHA256", version_pointer()), pms,
                      {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.DERIVE: True, CKA.SIGN: True,
                       CKA.VERIFY: True})
    value = master_of("TLS12", "sha256", s.get(pms, CKA.VALUE))
    p = struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=12, ulServerOrClient=2)
    assert s.sign((CKM.TLS_MAC, p), master, b"hash") == prf("sha256", value, b"client finished", b"hash", 12)
    exported = fixed_size(s, CKM.NSS_TLS_PRF_GENERAL_SHA256, master, b"labelseed", 40)
    assert exported == prf("sha256", value, b"label", b"seed", 40)
    m = KeyMaterial("TLS12_KEY_AND_MAC_DERIVE", 32, 16, 16, "SHA256")
    m.derive(s, master, {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE_LEN: 16, CKA.ENCRYPT: True})
    assert s.get(m.handles()[2], CKA.VALUE) == block_of("TLS12", "sha256", value, 80)[64:]
    text = s.encrypt((CKM.AES_CBC_PAD, bytes(16)), m.handles()[2], b"record")
    assert s.decrypt((CKM.AES_CBC_PAD, bytes(16)), m.handles()[2], text) == b"record"
    assert s.sign(CKM.SHA256_HMAC, m.handles()[0], b"record") == \
        hmac.digest(block_of("TLS12", "sha256", value, 32), b"record", "sha256")


@pytest.mark.parametrize("name,label",
                         [("TLS10_MAC_SERVER", b"server finished"), ("TLS10_MAC_CLIENT", b"client finished")])
def test_finished_messages_of_tls_1_0(s, name, label):
    assert s.sign(getattr(CKM, name), secret(s, MASTER), b"hashes") == prf(None, MASTER, label, b"hashes", 12)


@pytest.mark.parametrize("name,python", [("TLS_PRF_GENERAL", None), ("NSS_TLS_PRF_GENERAL_SHA256", "sha256")])
def test_prf_as_a_signature(s, name, python):
    """As NSS exports keying material: label and seed are the data, the output is as long as the buffer."""
    mech, key = getattr(CKM, name), secret(s, MASTER)
    for n in (1, 32, 47, 500):
        assert fixed_size(s, mech, key, b"labelseed", n) == prf(python, MASTER, b"label", b"seed", n)
    buffer, size = Guarded(66), ULONG(66)
    s.init("C_SignInit", mech, key)
    for part in (b"label", b"seed" * 600):
        s.call("C_SignUpdate", part, len(part))
    s.call("C_SignFinal", buffer.memory, ctypes.byref(size))
    expected = prf(python, MASTER, b"label", b"seed" * 600, 66)
    assert buffer.take(size.value) == expected
    s.verify(mech, key, b"label" + b"seed" * 600, expected)
    assert code(s.verify, mech, key, b"label", expected) == "CKR_SIGNATURE_INVALID"
    assert s.sign((mech, 20), key, b"labelseed") == prf(python, MASTER, b"label", b"seed", 20)


def test_p_sha256_of_the_working_group(s):
    """www.ietf.org/mail-archive/web/tls/current/msg03416.html"""
    key = secret(s, bytes.fromhex("9bbe436ba940f017b17652849a71db35"))
    data = b"test label" + bytes.fromhex("a0ba9f936cda311827a6f796ffd5198c")
    assert fixed_size(s, CKM.NSS_TLS_PRF_GENERAL_SHA256, key, data, 100).hex() == (
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa0"
        "22f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66")


@pytest.mark.parametrize("name,python,pad", [("SSL3_MD5_MAC", "md5", 48), ("SSL3_SHA1_MAC", "sha1", 40)])
def test_macs_of_ssl_3(s, name, python, pad):
    """RFC 6101, 5.2.3.1."""
    for key in (b"a key of 16 byte", bytes(range(70))):
        inner = hashlib.new(python, key + b"\x36" * pad + b"record").digest()
        expected = hashlib.new(python, key + b"\x5c" * pad + inner).digest()
        for n in (4, 8, len(expected)):
            mech = getattr(CKM, name), n
            assert s.sign(mech, secret(s, key), b"record") == expected[:n]
            assert s.sign_parts(mech, secret(s, key), [b"rec", b"ord"]) == expected[:n]
            s.verify(mech, secret(s, key), b"record", expected[:n])


MAC_WRONG = [
    (CKM.SSL3_MD5_MAC, None), (CKM.SSL3_MD5_MAC, 3), (CKM.SSL3_MD5_MAC, 17), (CKM.SSL3_SHA1_MAC, 21),
             (CKM.TLS_MAC, None),
    (CKM.TLS_MAC, struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=11, ulServerOrClient=1)),
    (CKM.TLS_MAC, struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.SHA256, ulMacLength=12, ulServerOrClient=3)),
    (CKM.TLS_MAC, struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.AES_ECB, ulMacLength=12, ulServerOrClient=1)),
    (CKM.TLS_MAC, struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.TLS_PRF, ulMacLength=13, ulServerOrClient=1)),
    (CKM.TLS10_MAC_SERVER, 12), (CKM.TLS_PRF_GENERAL, b"x"), (CKM.TLS_PRF_GENERAL, 0),
]


@pytest.mark.parametrize("mech,parameter", MAC_WRONG)
def test_parameters_of_the_macs(s, mech, parameter):
    assert code(s.sign, (mech, parameter), secret(s, MASTER), b"data") == "CKR_MECHANISM_PARAM_INVALID"
