"""The value of an unextractable key comes out of libp11token.so by no call whatever; that of a sensitive key never in
clear by C_GetAttributeValue, C_CopyObject or C_DeriveKey.  The keys are put in, so their bytes are known, and
everything that any call puts out is searched for them: all types of keys, all attributes, all mechanisms."""
import ctypes
import re

import pytest

from cryptoki import CKA, CKF, CKK, CKM, CKO, CKR, CkError, ULONG, mechanism, struct, template
from cryptoki_types import entries, text_of
from mechanism_parameters import code_of, derivations, parameter_of
from secret_search import COMPONENTS, KNOWN, Search, Watch, is_private, keys, noise, odd, secrets_of
from token_kinds import BOOLS, KINDS, NUMBERS, TEMPLATES

ATTRIBUTES = [getattr(CKA, name[4:]) for name, *_ in entries("attributes.def", "A")]
# CKA_SENSITIVE, CKA_EXTRACTABLE
PROTECTED = {"sensitive": (True, True), "unextractable": (False, False), "both": (True, False)}
READABLE = (False, True)
ASK_READABLE = {CKA.SENSITIVE: False, CKA.EXTRACTABLE: True}
USES = dict.fromkeys((CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.WRAP, CKA.UNWRAP, CKA.DERIVE), True)
PRIVATE_USES = dict.fromkeys((CKA.DECRYPT, CKA.SIGN, CKA.SIGN_RECOVER, CKA.UNWRAP, CKA.DERIVE), True)
NAMES = list(keys())
SECRETS = [name for name in NAMES if not is_private(name)]


@pytest.fixture
def s(token):
    return token.session()


@pytest.fixture
def watch(monkeypatch):
    return Watch(monkeypatch)


@pytest.fixture(scope="module")
def search():
    return Search(secrets_of())


def put(s, name: str, protection: tuple, **more) -> int:
    """A key of the table, which may do everything that its type can."""
    sensitive, extractable = protection
    return s.create({**keys()[name], **(PRIVATE_USES if is_private(name) else USES), CKA.SENSITIVE: sensitive,
                     CKA.EXTRACTABLE: extractable, **{getattr(CKA, k): v for k, v in more.items()}})


def read_all(s, watch, obj: int):
    """Every attribute alone, all in one template after asking for their lengths, all into large buffers."""
    for attribute in ATTRIBUTES:
        code_of(s.get, obj, attribute)
    code_of(s.get_many, obj, ATTRIBUTES)
    full = template(dict.fromkeys(ATTRIBUTES))
    for entry in full:
        buffer = watch.make(2048)
        entry.pValue, entry.ulValueLen = ctypes.addressof(buffer.memory), 2048
    s.module.raw.C_GetAttributeValue(s.handle, obj, full, len(full))


def test_every_type_of_key_is_in_the_table():
    """The token's own list of kinds of objects has no other secret or private keys."""
    text = text_of("../../module/object/kinds.def")
    names = re.findall(r"\bK\(CKO_(?:SECRET|PRIVATE)_KEY, CKK_(\w+)", text)
    hmac_names = re.findall(r"HMAC_KEY\(CKK_(\w+)\)", text)
    assert len(names) > 12 and len(hmac_names) > 10
    assert {getattr(CKK, n) for n in names + hmac_names} == {k[CKA.KEY_TYPE] for k in keys().values()}


@pytest.mark.parametrize("on_token", [False, True])
@pytest.mark.parametrize("protection", PROTECTED)
def test_no_attribute_has_the_value(s, watch, search, protection, on_token):
    for name in NAMES:
        key = put(s, name, PROTECTED[protection], TOKEN=on_token)
        read_all(s, watch, key)
        assert search(watch.take()) == [], name
        for component in COMPONENTS:
            if component in keys()[name]:
                assert code_of(s.get, key, component) == "CKR_ATTRIBUTE_SENSITIVE", name


@pytest.mark.parametrize("on_token", [False, True])
def test_the_search_finds_a_readable_value(s, watch, search, on_token):
    for name in NAMES:
        read_all(s, watch, put(s, name, READABLE, TOKEN=on_token))
        found = {hit.split(" CKA_")[0] for hit in search(watch.take())}
        assert found == {name}


@pytest.mark.parametrize("protection", PROTECTED)
def test_no_attribute_of_an_unwrapped_key_has_the_value(s, watch, search, protection):
    """The same for keys that came in by C_UnwrapKey, and for those that it made shorter or of another type."""
    kek = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES, CKA.VALUE: noise("kek", 32), CKA.WRAP: True,
                    CKA.UNWRAP: True})
    sensitive, extractable = PROTECTED[protection]
    for name in NAMES:
        wrapped = s.wrap(CKM.AES_KEY_WRAP_KWP, kek, put(s, name, READABLE))
        types = {keys()[name][CKA.KEY_TYPE]} | (set() if is_private(name) else {CKK.GENERIC_SECRET})
        watch.take()
        for kind in types:
            key = s.unwrap(CKM.AES_KEY_WRAP_KWP, kek, wrapped,
                           {CKA.CLASS: keys()[name][CKA.CLASS], CKA.KEY_TYPE: kind, CKA.SENSITIVE: sensitive,
                            CKA.EXTRACTABLE: extractable})
            read_all(s, watch, key)
            assert search(watch.take()) == [], name


def values_for(attribute: int) -> list:
    """What somebody might want to set."""
    if attribute in BOOLS:
        return [True, False]
    if attribute == CKA.CLASS:
        return [CKO.DATA, CKO.PUBLIC_KEY, CKO.SECRET_KEY, CKO.CERTIFICATE]
    if attribute == CKA.KEY_TYPE:
        return [CKK.GENERIC_SECRET, CKK.RC2, CKK.AES, CKK.RSA, CKK.EC, CKK.DES]
    if attribute in NUMBERS:
        return [1, 16]
    if attribute in TEMPLATES:
        return [ASK_READABLE]
    return [b"", KNOWN[:16], KNOWN]


# What says which key it is: nothing of it may change, or using the key with other numbers would give it away.
FIXED = {CKA.CLASS, CKA.KEY_TYPE, CKA.VALUE_LEN, CKA.MODULUS, CKA.MODULUS_BITS, CKA.PUBLIC_EXPONENT, CKA.PRIME,
         CKA.SUBPRIME, CKA.BASE, CKA.EC_PARAMS, CKA.EC_POINT, CKA.ALWAYS_SENSITIVE, CKA.NEVER_EXTRACTABLE, CKA.LOCAL,
         CKA.KEY_GEN_MECHANISM, CKA.PUBLIC_KEY_INFO, *COMPONENTS}


@pytest.mark.parametrize("protection", PROTECTED)
@pytest.mark.parametrize("name", ["AES-256", "DES3", "RC2", "generic-32", "SHA-256 HMAC", "HKDF", "RSA", "EC",
                                  "Ed25519", "X25519", "DSA", "DH"])
def test_no_change_makes_a_key_kinder(s, watch, search, name, protection):
    """Every attribute, by C_SetAttributeValue and by C_CopyObject, with several values."""
    key = put(s, name, PROTECTED[protection])
    sensitive, extractable = PROTECTED[protection]
    before = s.get_many(key, FIXED)
    done = 0
    for attribute in ATTRIBUTES:
        for value in values_for(attribute):
            try:
                copy = s.copy(key, {attribute: value})
            except CkError:
                copy = None
            set_it = code_of(s.set, copy, {attribute: value}) if copy is not None else code_of(
                s.set, s.copy(key), {attribute: value})
            done += set_it == "CKR_OK"
            if copy is None:
                continue
            assert s.get_many(copy, FIXED) == before, CKA.name(attribute)
            assert s.get_bool(copy, CKA.SENSITIVE) or not sensitive, CKA.name(attribute)
            assert not s.get_bool(copy, CKA.EXTRACTABLE) or extractable, CKA.name(attribute)
            s.get_many(copy, ATTRIBUTES)
            code_of(s.destroy, copy)
    assert done >= 10
    assert code_of(s.set, key, {CKA.SENSITIVE: False}) != "CKR_OK" or not sensitive
    assert code_of(s.set, key, {CKA.EXTRACTABLE: True}) != "CKR_OK" or extractable
    assert s.get_many(key, FIXED) == before
    read_all(s, watch, key)
    assert search(watch.take()) == []


# --- wrapping ---

WRAPPERS = ["AES-256", "DES3", "DES", "RC2", "ChaCha20", "generic-32"]


def wrapping_keys(s) -> list:
    """One of each type that can wrap; the RSA keys are public, of another key than that of the table."""
    made = [s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: keys()[n][CKA.KEY_TYPE], CKA.WRAP: True,
                      CKA.UNWRAP: True, CKA.DECRYPT: True, CKA.VALUE: odd(keys()[n][CKA.VALUE][::-1])})
            for n in WRAPPERS]
    return made + [s.create({**KINDS["RSA public"].template, CKA.WRAP: True})]


def wrap_mechanisms(token) -> list:
    m = token.load()
    slot = token.slot()
    return [x for x in m.mechanisms(slot) if m.mechanism_info(slot, x)["flags"] & CKF.WRAP]


def test_no_mechanism_wraps_an_unextractable_key(token, s, watch, search):
    wrappers, mechanisms = wrapping_keys(s), wrap_mechanisms(token)
    worked = set()
    for name in NAMES:
        readable = put(s, name, READABLE)
        protected = [put(s, name, PROTECTED[p]) for p in ("unextractable", "both")]
        for mech in mechanisms:
            how = mech, parameter_of(mech)
            for wrapper in wrappers:
                if code_of(s.wrap, how, wrapper, readable) != "CKR_OK":
                    continue
                worked.add(mech)
                watch.take()
                for key in protected:
                    assert code_of(s.wrap, how, wrapper, key) == "CKR_KEY_UNEXTRACTABLE"
                    assert search(watch.take()) == [], (name, CKM.name(mech))
    assert worked == set(mechanisms)


def test_authenticated_wrapping_of_an_unextractable_key(s, watch, search):
    """C_WrapKeyAuthenticated, with the control that it wraps a readable one."""
    wrapper, tag = wrapping_keys(s)[0], watch.make(16)
    p = struct("CK_GCM_MESSAGE_PARAMS", pIv=bytes(12), ulIvLen=12, pTag=tag.memory, ulTagBits=128)
    how = ctypes.byref(mechanism((CKM.AES_GCM, p)))
    for name in NAMES:
        assert code_of(s.output, "C_WrapKeyAuthenticated", how, wrapper, put(s, name, READABLE), b"data", 4) == "CKR_OK"
        watch.take()
        for protection in ("unextractable", "both"):
            key = put(s, name, PROTECTED[protection])
            assert code_of(s.output, "C_WrapKeyAuthenticated", how, wrapper, key, b"data", 4) == "CKR_KEY_UNEXTRACTABLE"
            assert search(watch.take()) == [], name


def test_a_wrapped_sensitive_key_is_not_in_clear(token, s, watch, search):
    """It leaves, but enciphered; the control is that the key which wrapped it deciphers it."""
    wrappers, mechanisms = wrapping_keys(s), wrap_mechanisms(token)
    for name in NAMES:
        key = put(s, name, PROTECTED["sensitive"])
        for mech in mechanisms:
            for wrapper in wrappers:
                code_of(s.wrap, (mech, parameter_of(mech)), wrapper, key)
        assert search(watch.take()) == [], name
    wrapped = s.wrap((CKM.AES_CBC_PAD, bytes(16)), wrappers[0], put(s, "generic-32", PROTECTED["sensitive"]))
    s.decrypt((CKM.AES_CBC_PAD, bytes(16)), wrappers[0], wrapped)
    assert search(watch.take()) != []


def test_wrapping_with_trusted_keys_only(token, s):
    """CKA_WRAP_WITH_TRUSTED: only the SO can make a key trusted, and neither copies nor keys with the same bits get
    round it."""
    wrappers, mechanisms = wrapping_keys(s), wrap_mechanisms(token)
    key = put(s, "generic-32", PROTECTED["sensitive"], WRAP_WITH_TRUSTED=True)
    mixed = [s.derive((CKM.EXTRACT_KEY_FROM_KEY, 0), key, {CKA.VALUE_LEN: 32}),
             s.derive((CKM.XOR_BASE_AND_DATA, struct("CK_KEY_DERIVATION_STRING_DATA", pData=bytes(32))), key, {})]
    assert code_of(s.copy, key, {CKA.WRAP_WITH_TRUSTED: False}) == "CKR_ATTRIBUTE_READ_ONLY"
    assert code_of(s.set, key, {CKA.WRAP_WITH_TRUSTED: False}) == "CKR_ATTRIBUTE_READ_ONLY"
    assert code_of(s.set, wrappers[0], {CKA.TRUSTED: True}) != "CKR_OK"
    assert code_of(s.copy, wrappers[0], {CKA.TRUSTED: True}) != "CKR_OK"
    assert code_of(s.derive, (CKM.EXTRACT_KEY_FROM_KEY, 0), key, {CKA.VALUE_LEN: 32, CKA.WRAP_WITH_TRUSTED: False}) == \
        "CKR_TEMPLATE_INCONSISTENT"
    refused = 0
    for mech in mechanisms:
        for wrapper in wrappers:
            if code_of(s.wrap, (mech, parameter_of(mech)), wrapper, put(s, "generic-32", READABLE)) == "CKR_OK":
                for same in [key, s.copy(key)] + mixed:
                    assert code_of(s.wrap, (mech, parameter_of(mech)), wrapper, same) == "CKR_KEY_NOT_WRAPPABLE"
                    refused += 1
    assert refused >= 4 * len(mechanisms)


# --- derivation ---

def derive_mechanisms(token) -> list:
    m = token.load()
    slot = token.slot()
    return [x for x in m.mechanisms(slot) if m.mechanism_info(slot, x)["flags"] & CKF.DERIVE]


def ways(mech: int, name: str, other: int) -> list:
    return derivations(mech, len(keys()[name].get(CKA.VALUE, b"")) or 1, KNOWN, other)


INVERTIBLE = {CKM.CONCATENATE_BASE_AND_KEY, CKM.CONCATENATE_BASE_AND_DATA, CKM.CONCATENATE_DATA_AND_BASE,
              CKM.XOR_BASE_AND_DATA, CKM.EXTRACT_KEY_FROM_KEY}
TWO_KEYS = {CKM.CONCATENATE_BASE_AND_KEY, CKM.HKDF_DERIVE, CKM.HKDF_DATA, CKM.SP800_108_COUNTER_KDF,
            CKM.SP800_108_FEEDBACK_KDF, CKM.SP800_108_DOUBLE_PIPELINE_KDF}
ASKED = [ASK_READABLE, {}, {CKA.SENSITIVE: False}, {CKA.EXTRACTABLE: True}]


def test_derivations_of_readable_keys(token, s, watch, search):
    """The control: every mechanism works with these parameters, and the search finds the base where it comes out
    again."""
    for mech in derive_mechanisms(token):
        other = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE: KNOWN[:20],
                          CKA.DERIVE: True})
        worked, hits = 0, []
        for name in NAMES:
            base = put(s, name, READABLE)
            for way in ways(mech, name, other):
                try:
                    made = way.run(s, base, {})
                except CkError:
                    continue
                worked += 1
                watch.take()
                for key in made:
                    s.get_many(key, ATTRIBUTES)
                hits += search(watch.take())
        assert worked, f"no parameter here works for {CKM.name(mech)}"
        assert bool(hits) == (mech in INVERTIBLE), CKM.name(mech)


@pytest.mark.parametrize("protection", PROTECTED)
def test_no_derivation_brings_out_the_value(token, s, watch, search, protection):
    """Whatever the template asks for; what is then read of the new keys, or written into the mechanism's parameter."""
    protected_other = put(s, "generic-48", PROTECTED[protection])
    known_other = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE: KNOWN[:20],
                            CKA.DERIVE: True})
    made_some = set()
    for mech in derive_mechanisms(token):
        for name in NAMES:
            base = put(s, name, PROTECTED[protection])
            for other in (known_other, protected_other) if mech in TWO_KEYS else (known_other,):
                for way in ways(mech, name, other):
                    for more in ASKED if mech in INVERTIBLE else ASKED[:2]:
                        try:
                            made = way.run(s, base, more)
                        except CkError:
                            continue
                        made_some.add(mech)
                        for key in made:
                            s.get_many(key, ATTRIBUTES)
                            s.destroy(key)
            s.destroy(base)
            assert search(watch.take()) == [], (CKM.name(mech), name)
    assert made_some >= set(derive_mechanisms(token)) - {CKM.TLS_PRF}


@pytest.mark.parametrize("protection", PROTECTED)
def test_a_protected_key_beside_a_known_one(s, watch, search, protection):
    """The other way round: the base can be read, the second key cannot."""
    base = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE: KNOWN[:32],
                     CKA.DERIVE: True})
    made_some = set()
    for name in SECRETS:
        other = put(s, name, PROTECTED[protection])
        for mech in TWO_KEYS:
            for way in ways(mech, name, other):
                for more in ASKED:
                    try:
                        for key in way.run(s, base, more):
                            made_some.add(mech)
                            s.get_many(key, ATTRIBUTES)
                    except CkError:
                        continue
        assert search(watch.take()) == [], name
    assert made_some == TWO_KEYS


def test_derived_in_several_steps(s, watch, search):
    """Two and three invertible derivations in a row, with data that cancel out: each key stays as protected as the
    first."""
    known = s.create({CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.GENERIC_SECRET, CKA.VALUE: KNOWN[:8],
                      CKA.DERIVE: True})
    reached = 0
    for protection in PROTECTED.values():
        todo = [(put(s, "generic-32", protection), 32, 0)]
        while todo:
            base, size, depth = todo.pop()
            for mech in INVERTIBLE:
                for way in derivations(mech, size, KNOWN, known)[:8]:
                    try:
                        key = way.run(s, base, {CKA.DERIVE: True})[0]
                    except CkError:
                        continue
                    reached += 1
                    assert s.get_bool(key, CKA.SENSITIVE) or not protection[0]
                    assert not s.get_bool(key, CKA.EXTRACTABLE) or protection[1]
                    assert code_of(s.get, key, CKA.VALUE) == "CKR_ATTRIBUTE_SENSITIVE"
                    if depth < 2:
                        todo.append((key, s.get_ulong(key, CKA.VALUE_LEN), depth + 1))
    assert reached > 500
    assert search(watch.take()) == []


# --- use ---

CALLS = {CKF.ENCRYPT: ("encrypt", "encrypt_parts"), CKF.DECRYPT: ("decrypt", "decrypt_parts"),
         CKF.SIGN: ("sign", "sign_parts")}


def test_no_use_of_a_key_puts_its_value_out(token, s, watch, search):
    """Every mechanism of encryption, decryption, signing and digesting, in one part and in several."""
    m, slot = token.load(), token.slot()
    worked = {}
    objects = {name: [put(s, name, p) for p in PROTECTED.values()] for name in NAMES}
    for mech in m.mechanisms(slot):
        flags = m.mechanism_info(slot, mech)["flags"]
        how = mech, parameter_of(mech)
        for name, handles in objects.items():
            if flags & CKF.DIGEST:
                for key in handles:
                    worked[mech, "digest"] = worked.get((mech, "digest"), 0) + (
                        code_of(s.digest_parts, how, [KNOWN], [key]) == "CKR_OK")
            for flag, calls in CALLS.items():
                if not flags & flag:
                    continue
                for size in (32, 20, 256):
                    data = b"\0" * (size == 256) + (KNOWN * 4)[:size - (size == 256)]
                    for call, arguments in zip(calls, (data, [data[:16], data[16:]])):
                        ok = code_of(getattr(s, call), how, handles[2], arguments) == "CKR_OK"
                        worked[mech, flag] = worked.get((mech, flag), 0) + ok
                        s.module.raw.C_SignInit(s.handle, None, 0)
        assert search(watch.take()) == [], CKM.name(mech)
    # The RSA keys of the table are private; and a text that nobody has enciphered may be refused.
    excused = {(mech, CKF.ENCRYPT) for mech in (CKM.RSA_PKCS, CKM.RSA_X_509, CKM.RSA_PKCS_OAEP)}
    excused |= {(mech, flag) for mech, flag in worked if flag == CKF.DECRYPT}
    assert {CKM.name(mech) for (mech, flag), n in worked.items() if n == 0 and (mech, flag) not in excused} == set()
    assert sum(n > 0 for (mech, flag), n in worked.items() if flag == CKF.DECRYPT) > 10


def test_no_state_of_an_operation_comes_out(s):
    """C_GetOperationState would have to protect the key in it; it is not there."""
    raw, size = s.module.raw, ULONG()
    key = put(s, "AES-256", PROTECTED["both"])
    s.init("C_EncryptInit", CKM.AES_ECB, key)
    assert raw.C_GetOperationState(s.handle, None, ctypes.byref(size)) == CKR.FUNCTION_NOT_SUPPORTED


def test_nothing_of_a_private_object_after_logout(s, watch, search):
    """Session and token objects, by their old handles and by new ones."""
    names = ["AES-256", "generic-32", "RSA", "EC"]
    handles = [put(s, name, READABLE, PRIVATE=True, TOKEN=t) for name in names for t in (False, True)]
    public = [put(s, name, PROTECTED["both"], PRIVATE=False, TOKEN=True) for name in names]
    watch.take()
    s.logout()
    for obj in handles:
        read_all(s, watch, obj)
        assert code_of(s.get, obj, CKA.CLASS) == "CKR_OBJECT_HANDLE_INVALID"
        assert code_of(s.copy, obj, {CKA.PRIVATE: False}) == "CKR_OBJECT_HANDLE_INVALID"
    for obj in public + s.find():
        read_all(s, watch, obj)
    assert search(watch.take()) == []
