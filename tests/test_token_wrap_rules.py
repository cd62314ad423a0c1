"""Who may wrap what: C_WrapKey and C_UnwrapKey refuse what they must, with the standard's codes."""
import ctypes
import random

import pytest
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.ciphers import algorithms, modes

from cryptoki import CKA, CKK, CKM, CKO, CKR, CKU, CkError, ULONG
from wrapping import (AES, IV, KINDS, PAD, READABLE, encrypt, gcm, keys, pkcs7, pkcs8, private_template,  # noqa: F401
                      refused, rsa_pair, secret, secret_template, wrapper)


def test_keys_that_may_not_be_wrapped(token, keys):
    s = token.session()
    key, target = wrapper(s, CKK.AES, AES), secret(s, CKK.AES, AES)
    public, private = rsa_pair(s, keys["RSA"])
    refused("KEY_UNEXTRACTABLE", s.wrap, PAD, key, s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16,
                                                                                   CKA.EXTRACTABLE: False}))
    hidden = s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 16, CKA.SENSITIVE: True, CKA.EXTRACTABLE: True})
    assert len(s.wrap(PAD, key, hidden)) == 32
    data = s.create({CKA.CLASS: CKO.DATA, CKA.VALUE: b"x"})
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, data)
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, 0)
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, 0x7ffffff0)
    refused("KEY_NOT_WRAPPABLE", s.wrap, PAD, key, public)
    refused("WRAPPING_KEY_HANDLE_INVALID", s.wrap, PAD, data, target)
    refused("WRAPPING_KEY_HANDLE_INVALID", s.wrap, PAD, 0, target)
    refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, PAD, public, target)
    refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, CKM.RSA_PKCS, key, target)
    refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, CKM.RSA_PKCS, private, target)
    refused("WRAPPING_KEY_TYPE_INCONSISTENT", s.wrap, (CKM.DES3_CBC_PAD, IV[:8]), key, target)
    refused("KEY_FUNCTION_NOT_PERMITTED", s.wrap, PAD, secret(s, CKK.AES, AES, WRAP=False), target)
    refused("WRAPPING_KEY_SIZE_RANGE", s.wrap, PAD, wrapper(s, CKK.GENERIC_SECRET, AES[:17]), target)
    refused("MECHANISM_PARAM_INVALID", s.wrap, (CKM.AES_CBC_PAD, IV[:15]), key, target)
    refused("MECHANISM_INVALID", s.wrap, CKM.SHA256, key, target)
    refused("MECHANISM_INVALID", s.wrap, (CKM.AES_OFB, IV), key, target)
    limited = wrapper(s, CKK.AES, AES, ALLOWED_MECHANISMS=[CKM.AES_KEY_WRAP])
    s.wrap(CKM.AES_KEY_WRAP, limited, target)
    with pytest.raises(CkError):
        s.wrap(PAD, limited, target)
    ec_key = s.generate_pair(CKM.EC_KEY_PAIR_GEN, {CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107")}, READABLE)[1]
    for mech in (CKM.AES_ECB, (CKM.AES_CBC, IV)):
        refused("KEY_NOT_WRAPPABLE", s.wrap, mech, key, ec_key)
        refused("TEMPLATE_INCONSISTENT", s.unwrap, mech, key, bytes(160), private_template(CKK.EC))


def test_only_trusted_keys_wrap_the_careful(token):
    """CKA_WRAP_WITH_TRUSTED; only the SO may call a key trusted."""
    s = token.session()
    careful = secret(s, CKK.AES, AES, WRAP_WITH_TRUSTED=True)
    refused("KEY_NOT_WRAPPABLE", s.wrap, PAD, wrapper(s, CKK.AES, AES), careful)
    with pytest.raises(CkError):
        wrapper(s, CKK.AES, AES, TRUSTED=True)
    s.logout()
    s.login(token.so_pin, CKU.SO)
    trusted = wrapper(s, CKK.AES, AES, TRUSTED=True, PRIVATE=False)
    s.logout()
    s.login(token.pin)
    careful = secret(s, CKK.AES, AES, WRAP_WITH_TRUSTED=True)
    assert s.wrap(PAD, trusted, careful) == encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(AES, 16))


def test_wrap_template(token):
    """A wrapping key for keys of a certain kind only."""
    s = token.session()
    key = wrapper(s, CKK.AES, AES, WRAP_TEMPLATE={CKA.KEY_TYPE: CKK.AES, CKA.LABEL: "for export"})
    s.wrap(PAD, key, secret(s, CKK.AES, AES, LABEL="for export"))
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, secret(s, CKK.AES, AES, LABEL="other"))
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, key, secret(s, CKK.GENERIC_SECRET, AES, LABEL="for export"))
    limits = wrapper(s, CKK.AES, AES, WRAP_TEMPLATE={CKA.MODULUS_BITS: 2048})
    refused("KEY_HANDLE_INVALID", s.wrap, PAD, limits, secret(s, CKK.AES, AES))


def test_unwrap_template(token):
    """What the unwrapping key adds to every key, and may not be contradicted."""
    s = token.session()
    key = wrapper(s, CKK.AES, AES, UNWRAP_TEMPLATE={CKA.EXTRACTABLE: False, CKA.LABEL: "imported",
                                                    CKA.WRAP_TEMPLATE: {CKA.KEY_TYPE: CKK.AES}})
    wrapped = encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(AES, 16))
    what = {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES}
    for more in ({}, {CKA.EXTRACTABLE: False}, {CKA.LABEL: "imported"}):
        new = s.unwrap(PAD, key, wrapped, what | more)
        assert not s.get_bool(new, CKA.EXTRACTABLE) and s.get(new, CKA.LABEL) == b"imported"
        s.wrap(PAD, new, secret(s, CKK.AES, AES))
        refused("KEY_HANDLE_INVALID", s.wrap, PAD, new, secret(s, CKK.GENERIC_SECRET, AES))
    for more in ({CKA.EXTRACTABLE: True}, {CKA.LABEL: "mine"}, {CKA.WRAP_TEMPLATE: {CKA.KEY_TYPE: CKK.DES3}}):
        refused("TEMPLATE_INCONSISTENT", s.unwrap, PAD, key, wrapped, what | more)
    on_token = wrapper(s, CKK.AES, AES, UNWRAP_TEMPLATE={CKA.TOKEN: True})
    refused("SESSION_READ_ONLY", token.session(rw=False).unwrap, PAD, on_token, wrapped, what)


def test_keys_that_cannot_be_unwrapped(token, keys):
    s = token.session()
    key, plain = wrapper(s, CKK.AES, AES), secret(s, CKK.AES, AES, UNWRAP=False)
    public, private = rsa_pair(s, keys["RSA"])
    what = secret_template(CKK.AES)
    wrapped = s.wrap(PAD, key, secret(s, CKK.AES, AES))
    assert s.find({CKA.CLASS: CKO.SECRET_KEY, CKA.LABEL: "new"}) == []
    new = what | {CKA.LABEL: "new"}
    for code, mech, who, data, template in (
            ("UNWRAPPING_KEY_HANDLE_INVALID", PAD, 0, wrapped, new),
            ("UNWRAPPING_KEY_TYPE_INCONSISTENT", PAD, private, wrapped, new),
            ("UNWRAPPING_KEY_TYPE_INCONSISTENT", CKM.RSA_PKCS, key, wrapped, new),
            ("UNWRAPPING_KEY_TYPE_INCONSISTENT", CKM.RSA_PKCS, public, bytes(256), new),
            ("UNWRAPPING_KEY_SIZE_RANGE", PAD, wrapper(s, CKK.GENERIC_SECRET, AES[:17]), wrapped, new),
            ("KEY_FUNCTION_NOT_PERMITTED", PAD, plain, wrapped, new),
            ("MECHANISM_INVALID", CKM.SHA256, key, wrapped, new),
            ("MECHANISM_INVALID", (CKM.AES_OFB, IV), key, wrapped, new),
            ("MECHANISM_PARAM_INVALID", (CKM.AES_CBC_PAD, b""), key, wrapped, new),
            ("MECHANISM_PARAM_INVALID", (CKM.RSA_PKCS, b"x"), private, bytes(256), new),
            ("WRAPPED_KEY_LEN_RANGE", PAD, key, wrapped[:-1], new),
            ("WRAPPED_KEY_LEN_RANGE", PAD, key, b"", new),
            ("WRAPPED_KEY_INVALID", PAD, key, wrapped[:-16] + bytes(16), new),
            ("WRAPPED_KEY_INVALID", CKM.AES_KEY_WRAP, key, bytes(24), new),
            ("WRAPPED_KEY_INVALID", CKM.AES_KEY_WRAP_KWP, key, bytes(24), new),
            ("WRAPPED_KEY_INVALID", (CKM.AES_GCM, gcm()), key, bytes(32), new),
            ("WRAPPED_KEY_INVALID", PAD, key, wrapped, private_template(CKK.RSA)),
            ("WRAPPED_KEY_LEN_RANGE", PAD, key, s.wrap(PAD, key, secret(s, CKK.GENERIC_SECRET, b"x" * 15)), new),
            ("WRAPPED_KEY_LEN_RANGE", PAD, key, wrapped, new | {CKA.KEY_TYPE: CKK.DES3}),
            ("TEMPLATE_INCOMPLETE", PAD, key, wrapped, {CKA.CLASS: CKO.SECRET_KEY}),
            ("TEMPLATE_INCONSISTENT", PAD, key, wrapped, {CKA.CLASS: CKO.PUBLIC_KEY, CKA.KEY_TYPE: CKK.RSA}),
            ("ATTRIBUTE_READ_ONLY", PAD, key, wrapped, new | {CKA.VALUE: AES}),
            ("ATTRIBUTE_READ_ONLY", PAD, key, wrapped, new | {CKA.ALWAYS_SENSITIVE: True})):
        refused(code, s.unwrap, mech, who, data, template)
    ec_blob = encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(pkcs8(keys["P-256"]), 16))
    refused("WRAPPED_KEY_INVALID", s.unwrap, PAD, key, ec_blob, private_template(CKK.RSA))
    refused("WRAPPED_KEY_INVALID", s.unwrap, PAD, key,
            encrypt(algorithms.AES(AES), modes.CBC(IV), pkcs7(pkcs8(keys["P-256"])[:-3], 16)), private_template(CKK.EC))
    refused("SESSION_READ_ONLY", token.session(rw=False).unwrap, PAD, key, wrapped, what | {CKA.TOKEN: True})
    assert s.find({CKA.LABEL: "new"}) == []


def test_a_key_that_wants_its_pin_every_time_does_not_unwrap(token, keys):
    """There is no place for the PIN in C_UnwrapKey; decrypting with the PIN works."""
    s = token.session()
    public, private = rsa_pair(s, keys["RSA"], ALWAYS_AUTHENTICATE=True, PRIVATE=True)
    wrapped = s.wrap(CKM.RSA_PKCS, public, secret(s, CKK.AES, AES))
    refused("USER_NOT_LOGGED_IN", s.unwrap, CKM.RSA_PKCS, private, wrapped, secret_template(CKK.AES))
    s.init("C_DecryptInit", CKM.RSA_PKCS, private)
    s.login(token.pin, CKU.CONTEXT_SPECIFIC)
    buffer, length = ctypes.create_string_buffer(256), ULONG(256)
    s.call("C_Decrypt", wrapped, len(wrapped), buffer, ctypes.byref(length))
    assert buffer.raw[:length.value] == AES


def test_a_sensitive_key_stays_sensitive(token):
    """Out under a key and in again as a readable one is a copy of the key, and it says so of itself."""
    s = token.session()
    key = wrapper(s, CKK.AES, AES)
    hidden = s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.SENSITIVE: True, CKA.EXTRACTABLE: True})
    assert s.get_bool(hidden, CKA.ALWAYS_SENSITIVE)
    back = s.unwrap(PAD, key, s.wrap(PAD, key, hidden), {CKA.CLASS: CKO.SECRET_KEY, CKA.KEY_TYPE: CKK.AES,
                                                         CKA.SENSITIVE: True, CKA.EXTRACTABLE: False})
    assert not s.get_bool(back, CKA.ALWAYS_SENSITIVE) and not s.get_bool(back, CKA.NEVER_EXTRACTABLE)
    refused("ATTRIBUTE_SENSITIVE", s.get, back, CKA.VALUE)
    one = s.encrypt((CKM.AES_CBC, IV), hidden, bytes(16))
    assert one == s.encrypt((CKM.AES_CBC, IV), back, bytes(16))


# PKCS #11 3.2, what C_UnwrapKey may say to a damaged key.
DAMAGED = {CKR.OK, CKR.WRAPPED_KEY_INVALID, CKR.WRAPPED_KEY_LEN_RANGE, CKR.CURVE_NOT_SUPPORTED, CKR.DOMAIN_PARAMS_INVALID}


@pytest.mark.parametrize("name", KINDS)
def test_damaged_private_keys(token, keys, name, count):
    """Bytes changed, cut off and put in: refused with a code of the standard, or a key that works as far as it goes."""
    s, chance = token.session(), random.Random(name)
    key, good = wrapper(s, CKK.AES, AES), pkcs8(keys[name])
    codes = set()
    for _ in range(count(2000)):
        blob = bytearray(good)
        at = chance.randrange(len(blob))
        match chance.randrange(4):
            case 0: blob[at] ^= 1 << chance.randrange(8)
            case 1: blob[at] = chance.choice((0, 1, 0x7f, 0x80, 0xff))
            case 2: del blob[at:at + chance.randrange(1, 8)]
            case 3: blob[at:at] = bytes([blob[at]]) * chance.randrange(1, 8)
        if not blob:
            continue
        try:
            new = s.unwrap(CKM.AES_KEY_WRAP_KWP, key, keywrap.aes_key_wrap_with_padding(AES, bytes(blob)),
                           private_template(KINDS[name]) | {CKA.SIGN: True})
        except CkError as e:
            codes.add(e.rv)
        else:
            s.wrap(CKM.AES_KEY_WRAP_KWP, key, new)
            s.destroy(new)
    assert CKR.WRAPPED_KEY_INVALID in codes
    assert codes <= DAMAGED, {CKR.name(c) for c in codes - DAMAGED}
