"""Ways to the value of a key that take many calls, each of them harmless alone.  With a key that may leave (it is
extractable) they work, which shows that they are real; with an unextractable one the token refuses a step that they
need."""
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cryptoki import CK, CKA, CKK, CKM, CKO, ULONG, struct
from mechanism_parameters import code_of
from secret_search import noise
from token_kinds import KINDS

VALUE = noise("attacked", 32)
EXTRACTABLE = {CKA.SENSITIVE: True, CKA.EXTRACTABLE: True}
UNEXTRACTABLE = {CKA.SENSITIVE: True, CKA.EXTRACTABLE: False}
READABLE = {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}


@pytest.fixture
def s(token):
    return token.session()


def key(s, value: bytes, how: dict, kind: int = CKK.GENERIC_SECRET) -> int:
    uses = dict.fromkeys((CKA.DERIVE, CKA.SIGN, CKA.ENCRYPT), True)
    return s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: kind, CKA.VALUE: value, **uses, **how})


def string(data: bytes):
    return struct("CK_KEY_DERIVATION_STRING_DATA", pData=data)


def rc2_with_few_bits(s, target: int, effective: int) -> bytes:
    return s.encrypt((CKM.RC2_ECB, effective), target, bytes(8))


def test_rc2_key_by_effective_bits(s):
    """With eight effective bits only one byte of the expanded key counts (RFC 2268, 2), with sixteen two, and so on.
    A key of 128 bytes is its own expansion."""
    value = noise("rc2", 128)
    target, found = key(s, value, EXTRACTABLE, CKK.RC2), b""
    for n in range(1, 4):
        wanted = rc2_with_few_bits(s, target, 8 * n)
        for guess in range(256):
            mine = key(s, bytes(128 - n) + bytes([guess]) + found, READABLE, CKK.RC2)
            if rc2_with_few_bits(s, mine, 8 * n) == wanted:
                found = bytes([guess]) + found
                break
            s.destroy(mine)
    assert found == value[-3:]
    target = key(s, value, UNEXTRACTABLE, CKK.RC2)
    for bits in (1, 8, 64, 104, 111):
        assert code_of(rc2_with_few_bits, s, target, bits) == "CKR_MECHANISM_PARAM_INVALID"
    cbc = CKM.RC2_CBC, struct("CK_RC2_CBC_PARAMS", ulEffectiveBits=8, iv=bytes(8))
    assert code_of(s.encrypt, cbc, target, bytes(8)) == "CKR_MECHANISM_PARAM_INVALID"
    assert rc2_with_few_bits(s, target, 112) and rc2_with_few_bits(s, target, 1024)


@pytest.mark.parametrize("size,bits", [(5, 40), (8, 64), (16, 128)])
def test_rc2_as_it_is_used_with_short_keys(s, size, bits):
    """All bits of the key are enough, as in PKCS #12 and S/MIME."""
    for how in (EXTRACTABLE, UNEXTRACTABLE):
        assert rc2_with_few_bits(s, key(s, noise("rc2", size), how, CKK.RC2), bits)


def test_byte_by_byte_from_longer_and_longer_parts(s):
    """Fourteen bytes of the key with a known one behind them are the first fifteen bytes if the guess is right, and
    any use tells whether two keys are the same."""
    def part(base, n):
        return s.derive((CKM.EXTRACT_KEY_FROM_KEY, 0), base, {CKA.VALUE_LEN: n, CKA.DERIVE: True, CKA.SIGN: True})

    base, found = key(s, VALUE, EXTRACTABLE), b""
    for n in (14, 15):
        wanted = s.sign(CKM.SHA256_HMAC, part(base, n + 1), b"")
        shorter = part(base, n)
        for guess in range(256):
            longer = s.derive((CKM.CONCATENATE_BASE_AND_DATA, string(bytes([guess]))), shorter, {CKA.SIGN: True})
            if s.sign(CKM.SHA256_HMAC, longer, b"") == wanted:
                found += bytes([guess])
    assert found == VALUE[14:16]
    base = key(s, VALUE, UNEXTRACTABLE)
    for n in range(1, 32):
        assert code_of(part, base, n) == "CKR_KEY_SIZE_RANGE"
        for mech in (CKM.XOR_BASE_AND_DATA, CKM.CONCATENATE_BASE_AND_DATA):
            assert code_of(s.derive, (mech, string(bytes(n))), base, {CKA.VALUE_LEN: n}) == "CKR_KEY_SIZE_RANGE"
        assert code_of(s.derive, (CKM.CONCATENATE_DATA_AND_BASE, string(b"1")), base, {CKA.VALUE_LEN: n + 1}) == \
            "CKR_KEY_SIZE_RANGE"
    assert part(base, 32)


def p_md5(secret: bytes, seed: bytes, n: int) -> bytes:
    out, a = b"", seed
    while len(out) < n:
        a = hmac.digest(secret, a, "md5")
        out += hmac.digest(secret, a + seed, "md5")
    return out[:n]


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b))


def test_halves_of_a_secret_in_the_prf_of_tls_1_0(s):
    """S1 is as many known bytes as it takes and one byte of the key, S2 the rest of it: what two different beginnings
    have in common cancels out, and 256 guesses are left (RFC 2246, 5)."""
    def output(target, beginning):
        joined = s.derive((CKM.CONCATENATE_DATA_AND_BASE, string(beginning)), target,
                          {CKA.SIGN: True, CKA.DERIVE: True})
        return s.sign((CKM.TLS_PRF_GENERAL, 32), joined, b"seed")

    def attack(target) -> bytes:
        beginnings = bytes(30), b"\1" * 30
        difference = xor(*(output(target, b) for b in beginnings))
        return bytes(g for g in range(256)
                     if xor(*(p_md5(b + bytes([g]), b"seed", 32) for b in beginnings)) == difference)

    assert attack(key(s, VALUE, EXTRACTABLE)) == VALUE[:1]
    target = key(s, VALUE, UNEXTRACTABLE)
    assert code_of(attack, target) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    joined = s.derive((CKM.CONCATENATE_DATA_AND_BASE, string(bytes(16))), target, {CKA.SIGN: True, CKA.DERIVE: True})
    randoms = struct("CK_SSL3_RANDOM_DATA", pClientRandom=bytes(32), pServerRandom=bytes(32))
    finished = struct("CK_TLS_MAC_PARAMS", prfHashMechanism=CKM.TLS_PRF, ulMacLength=12, ulServerOrClient=1)
    for mech in (CKM.TLS10_MAC_SERVER, CKM.TLS10_MAC_CLIENT, (CKM.TLS_MAC, finished)):
        assert code_of(s.sign, mech, joined, b"") == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    master = struct("CK_SSL3_MASTER_KEY_DERIVE_PARAMS", RandomInfo=randoms)
    exporter = struct("CK_TLS_KDF_PARAMS", prfMechanism=CKM.TLS_PRF, pLabel=b"label", RandomInfo=randoms,
                      ulLabelLength=5)
    for mech in ((CKM.TLS_MASTER_KEY_DERIVE_DH, master), (CKM.TLS_MASTER_KEY_DERIVE, master), (CKM.TLS_KDF, exporter)):
        assert code_of(s.derive, mech, joined, {CKA.VALUE_LEN: 48, **READABLE}) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
    # The PRF of TLS 1.2 takes a secret whole.
    assert s.sign((CKM.NSS_TLS_PRF_GENERAL_SHA256, 32), joined, b"seed")


@pytest.mark.parametrize("kind", ["DES", "DES2", "DES3", "RC2", "RC4"])
def test_no_weak_cipher_with_a_related_key(s, kind):
    """Parity bits that the token sets tell of the bits beside them; two of three DES keys may be known ones; RC4 with
    known bytes before its key gives it away."""
    size = {"DES": 8, "DES2": 16, "DES3": 24, "RC2": 16, "RC4": 16}[kind]
    how = {CKA.KEY_TYPE: getattr(CKK, kind), **({CKA.VALUE_LEN: size} if kind in ("RC2", "RC4") else {})}
    known = key(s, bytes(range(1, 9)), READABLE)
    for parent, n in ((EXTRACTABLE, size), (UNEXTRACTABLE, size)):
        base = key(s, noise("whole", n), parent)
        short = key(s, noise("short", n - 4), parent)
        codes = {code_of(s.derive, (CKM.XOR_BASE_AND_DATA, string(bytes(n))), base, how),
                 code_of(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 1), base, {**how, CKA.VALUE_LEN: size}),
                 code_of(s.derive, (CKM.CONCATENATE_BASE_AND_DATA, string(bytes(4))), short, how),
                 code_of(s.derive, (CKM.CONCATENATE_DATA_AND_BASE, string(bytes(4))), short, how),
                 code_of(s.derive, (CKM.CONCATENATE_BASE_AND_KEY, known), short, how)}
        assert codes == ({"CKR_OK"} if parent is EXTRACTABLE else {"CKR_TEMPLATE_INCONSISTENT"}), (kind, parent)
    # One-way derivations make keys of every type.
    assert s.derive(CKM.SHA512_KEY_DERIVATION, base, how)


def cmac_kdf(s, known: int, field: int, prf: int) -> bytes:
    """PRF(known key, the value of the other key), as a key that can be read."""
    iteration = struct("CK_PRF_DATA_PARAM", type=CK.SP800_108_ITERATION_VARIABLE)
    handle = struct("CK_PRF_DATA_PARAM", type=CK.SP800_108_KEY_HANDLE, pValue=ULONG(field), ulValueLen=8)
    p = struct("CK_SP800_108_FEEDBACK_KDF_PARAMS", prfType=prf, ulNumberOfDataParams=2, pDataParams=[iteration, handle])
    size = 16 if prf == CKM.AES_CMAC else 8
    return s.get(s.derive((CKM.SP800_108_FEEDBACK_KDF, p), known, {CKA.VALUE_LEN: size, **READABLE}), CKA.VALUE)


def test_key_as_data_of_a_cmac(s):
    """A CMAC of one block is the block enciphered (SP 800-38B, 6.2), so with a known base key what is a field of the input
    comes out again."""
    known, value = bytes(range(16)), VALUE[:16]

    def attack(field: int) -> bytes:
        block = cmac_kdf(s, key(s, known, READABLE, CKK.AES), field, CKM.AES_CMAC)
        aes = Cipher(algorithms.AES(known), modes.ECB())
        zero = int.from_bytes(aes.encryptor().update(bytes(16)), "big")
        subkey = (zero << 1 & (1 << 128) - 1 ^ (0x87 if zero >> 127 else 0)).to_bytes(16, "big")
        return xor(aes.decryptor().update(block), subkey)

    assert attack(key(s, value, READABLE)) == value
    des = key(s, KINDS["DES3"].template[CKA.VALUE], READABLE, CKK.DES3)
    assert len(cmac_kdf(s, des, key(s, value, READABLE), CKM.DES3_CMAC)) == 8
    for how in (EXTRACTABLE, UNEXTRACTABLE, {CKA.SENSITIVE: False, CKA.EXTRACTABLE: False}):
        target = key(s, value, how)
        assert code_of(attack, target) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
        assert code_of(cmac_kdf, s, des, target, CKM.DES3_CMAC) == "CKR_KEY_FUNCTION_NOT_PERMITTED"
        # HMACs are one-way.
        assert cmac_kdf(s, key(s, known, READABLE), target, CKM.SHA256_HMAC)


def test_finding_does_not_confirm_a_value(s):
    """Searching for a secret attribute of a key that cannot be read finds nothing, whether the value is right or not."""
    readable, target = key(s, VALUE, READABLE), key(s, VALUE, UNEXTRACTABLE)
    found = s.find({CKA.VALUE: VALUE})
    assert target not in found
    assert readable in found
