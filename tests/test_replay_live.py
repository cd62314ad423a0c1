"""A recorded call becomes a real one: the same functions, structures and buffers, in place where they were in place, on the
module that the trace is of; and what that module writes too much, or what depends on what was not recorded, is told."""
import json
import sys
from pathlib import Path

import pytest

from lab import functions, lab  # noqa: F401
from reader_tools import calls

MOCKS = {"mock240": ["2_40"], "mock30": ["2_40", "3_0"], "mock32": ["2_40", "3_0", "3_2"]}
PIN = "1234"


def record(lab, mock, client, capture="safe", env=None):  # noqa: F811
    """The trace of a client on a mock."""
    out = lab.tmp / f"{client[0]}-{mock}-{capture}"
    library = lab.wrap(mock, f"{out.name}-traced", out=out, capture=capture)
    lab.client(client[0], *client[1:], library, env=env)
    (trace,) = out.glob("*.p11t")
    return trace


def replay(lab, trace, module, *args, status=0, env=None):  # noqa: F811
    pin = lab.tmp / "pin"
    pin.write_text(PIN + "\n")
    # The mocks' tokens are nobody's.
    p = lab.p11trace("replay", trace, "--module", module, "--pin-file", pin, "--so-pin-file", pin, "--destructive", "--json",
                     *args, status=status, env=env)
    return json.loads(p.stdout)


def differences(found):
    return {(d["function"], d["place"], d["recorded"], d["replayed"]): d["count"] for d in found["difference_kinds"]}


@pytest.mark.parametrize("capture", ["safe", "clear"])
@pytest.mark.parametrize("mock", MOCKS)
def test_every_function_with_every_argument(lab, build, mock, capture):  # noqa: F811
    """Every argument wrong in every way (of older lists every second case), every structure with every length: no difference on
    the same module."""
    clients = [("transparency", "-a") if mock == "mock32" else ("transparency", "-a", "-n", "2"), ("structures",)]
    for client in clients + ([("messages",)] if mock != "mock240" else []):
        trace = record(lab, mock, client, capture)
        found = replay(lab, trace, lab.mock(mock))
        assert differences(found) == {}, client
        assert found["withheld_kinds"] == [] and found["not_comparable_kinds"] == [], client
        assert found["replayed"] == found["calls"] > 8
        if client[0] == "transparency":
            names = {call["fn"] for call in calls(lab.run, build, trace)}
            assert names == {name for name, since in functions() if since in MOCKS[mock]} | {"C_GetInterface"}


# --- the arguments that arrive ----------------------------------------------------------------------------------------

def as_given(call):
    """What the module was given, without what a replay may change: handles of sessions that there are none of, and the PIN."""
    given = []
    for a in call["args"]:
        value = json.loads(json.dumps(a["in"]), object_hook=lambda o: {k: v for k, v in o.items() if k != "tag"})
        if a["kind"] == 7 and value["value"] != 0x100:
            value = "no session"
        if a["name"] in ("pPin", "pOldPin", "pNewPin", "ulPinLen", "ulOldLen", "ulNewLen"):
            value = "PIN" if value else None
        given.append(value)
    return [call["fn"], call["rv"], given]


def absurd(call):
    lengths = [a["in"].get("length") or 0 for a in call["args"] if isinstance(a["in"], dict)]
    return any(isinstance(n, str) or n > 1 << 32 for n in lengths)


OURS = {"C_GetInterface", "C_GetTokenInfo", "C_GetAttributeValue", "C_GetSlotList", "C_GetSlotInfo", "C_GetSessionInfo",
        "C_OpenSession", "C_CloseSession", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal"}


@pytest.mark.parametrize("client", [("transparency", "-a", "-n", "7"), ("messages",)], ids=["transparency", "messages"])
def test_the_module_gets_what_it_got(lab, build, client):  # noqa: F811
    """A trace of the replay, beside the trace that was replayed: the same values behind the same pointers, NULL, in place or
    overlapping as they were. Questions of the replay's own lie between them."""
    trace = record(lab, "mock32", client, "clear")
    again = lab.tmp / "again"
    traced = lab.wrap("mock32", "again-traced", out=again, capture="clear")
    assert differences(replay(lab, trace, traced)) == {}
    (second,) = again.glob("*.p11t")
    first, second = ([c for c in calls(lab.run, build, t) if not absurd(c)] for t in (trace, second))
    rest, shared = iter([as_given(c) for c in second]), 0
    for call in first:
        wanted = as_given(call)
        for got in rest:
            if got == wanted:
                break
            assert got[0] in OURS, f"#{call['call']}\n{wanted}\n{got}"
        else:
            pytest.fail(f"#{call['call']} was not made: {wanted}")
        pointers = [str(a["in"].get("pointer", "")) for a in call["args"] if isinstance(a["in"], dict)]
        shared += any(p.startswith(("same", "overlap")) for p in pointers)
    if client[0] == "transparency":
        assert shared > 10


# --- what a module does wrong -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("function, place", [
    ("C_Sign", "pSignature"), ("C_Digest", "pDigest"), ("C_GetInfo", "pInfo"), ("C_GetAttributeValue", "CKA_TOKEN"),
    ("C_EncryptMessage", "pCiphertext"), ("C_WrapKey", "pWrappedKey")])
def test_an_overrun_is_told(lab, function, place):  # noqa: F811
    trace = record(lab, "mock32", ("transparency", "-a", "-b"))
    found = replay(lab, trace, lab.mock("mock32"), status=1, env={"MOCK_OVERRUN": function})
    kinds = differences(found)
    assert set(kinds) == {(function, f"behind {place}", "nothing", f"wrote 12 bytes behind {place}")}


def test_a_length_that_is_a_lie_is_told(lab):  # noqa: F811
    """A length beyond the buffer is a difference, and nobody reads there."""
    trace = record(lab, "mock32", ("transparency", "-a", "-b"))
    found = replay(lab, trace, lab.mock("mock32"), status=1, env={"MOCK_LIE": "C_Sign"})
    assert set(differences(found)) == {("C_Sign", "*pulSignatureLen", "48", "1048")}


def test_a_list_without_a_function(lab):  # noqa: F811
    trace = record(lab, "mock32", ("transparency", "-a", "-b"))
    found = replay(lab, trace, lab.mock("mock32"), status=1, env={"MOCK_NULLS": "C_SeedRandom"})
    assert ("C_SeedRandom", "rv", "CKR_OK", "CKR_FUNCTION_NOT_SUPPORTED") in differences(found)
    lists = {"C_GetFunctionList", "C_GetInterface", "C_GetInterfaceList"}
    assert {kind for kind in differences(found) if kind[0] != "C_SeedRandom"} == {
        (name, "function list", "C_SeedRandom is there", "C_SeedRandom is NULL") for name in lists}


# --- what follows what -------------------------------------------------------------------------------------------------

FLOW = '''
import sys
sys.path.insert(0, sys.argv[3])
import cryptoki
from cryptoki import CKA, CKM

IV, TEXT = bytes(range(16)), b"a message of thirty-two bytes ok"
KEY = {CKA.TOKEN: False, CKA.ENCRYPT: True, CKA.DECRYPT: True}
with cryptoki.Module(sys.argv[1]) as module:
    s = module.open_session(module.slots()[0])
    s.login(sys.argv[2])
    aes = s.generate_key(CKM.AES_KEY_GEN, {**KEY, CKA.VALUE_LEN: 16})
    assert s.decrypt((CKM.AES_CBC_PAD, IV), aes, s.encrypt((CKM.AES_CBC_PAD, IV), aes, TEXT)) == TEXT
    digest = s.digest(CKM.SHA256, TEXT)
    public, private = s.generate_pair(CKM.RSA_PKCS_KEY_PAIR_GEN,
        {CKA.TOKEN: False, CKA.MODULUS_BITS: 2048, CKA.PUBLIC_EXPONENT: b"\\1\\0\\1", CKA.VERIFY: True,
         CKA.ENCRYPT: True, CKA.WRAP: True},
        {CKA.TOKEN: False, CKA.SIGN: True, CKA.DECRYPT: True, CKA.UNWRAP: True})
    signature = s.sign(CKM.SHA256_RSA_PKCS, private, TEXT)
    s.verify(CKM.SHA256_RSA_PKCS, public, TEXT, signature)
    try:
        s.verify(CKM.SHA256_RSA_PKCS, public, TEXT, signature[:-1] + bytes([signature[-1] ^ 1]))
    except cryptoki.CkError as e:
        assert "SIGNATURE_INVALID" in str(e)
    assert s.decrypt(CKM.RSA_PKCS, private, s.encrypt(CKM.RSA_PKCS, public, digest)) == digest
    target = s.create({**KEY, CKA.CLASS: 4, CKA.KEY_TYPE: 0x1f, CKA.VALUE: b"0123456789abcdef", CKA.EXTRACTABLE: True,
                       CKA.SENSITIVE: False})
    once = s.encrypt((CKM.AES_CBC, IV), target, TEXT)
    back = s.unwrap(CKM.RSA_PKCS, private, s.wrap(CKM.RSA_PKCS, public, target),
                    {**KEY, CKA.CLASS: 4, CKA.KEY_TYPE: 0x1f, CKA.EXTRACTABLE: True, CKA.SENSITIVE: False})
    assert s.get(back, CKA.VALUE) == b"0123456789abcdef" and s.encrypt((CKM.AES_CBC, IV), back, TEXT) == once
    point, key = s.generate_pair(CKM.EC_KEY_PAIR_GEN,
        {CKA.TOKEN: False, CKA.EC_PARAMS: bytes.fromhex("06082a8648ce3d030107"), CKA.VERIFY: True},
        {CKA.TOKEN: False, CKA.SIGN: True})
    s.verify(CKM.ECDSA, point, digest, s.sign(CKM.ECDSA, key, digest))
    assert s.random(24) != s.random(24)
'''


def record_flow(lab, token, capture):  # noqa: F811
    out = lab.tmp / "flow"
    library = lab.wrap(token.module, "flow-traced", out=out, capture=capture)
    script = lab.tmp / "flow.py"
    script.write_text(FLOW)
    lab.run(sys.executable, script, library, token.pin, Path(__file__).parent, env=token.env)
    (trace,) = out.glob("*.p11t")
    return trace


@pytest.mark.nosan  # a module in python
@pytest.mark.parametrize("capture", ["safe", "clear"])
def test_what_came_out_goes_in_again(lab, token, capture):  # noqa: F811
    """Generated keys are others each time, and with capture=safe the data is too: ciphertexts, signatures and wrapped keys of
    this replay are what it decrypts, verifies and unwraps, so that nothing differs and nothing is left uncompared."""
    trace = record_flow(lab, token, capture)
    pin = lab.tmp / "pin"
    pin.write_text(token.pin + "\n")

    def on(module, fault=None, status=0):
        env = {**token.env, "P11FAULTY": fault or "none", "P11FAULTY_MODULE": token.module}
        p = lab.p11trace("replay", trace, "--module", module, "--pin-file", pin, "--json", env=env, status=status)
        return json.loads(p.stdout)

    found = on(token.module)
    assert differences(found) == {} and found["not_comparable_kinds"] == [] and found["withheld_kinds"] == []
    faulty = lab.build / "libp11faulty.so"
    for fault, function, place in [
            ("rv=C_Verify:CKR_SIGNATURE_INVALID@1-1", "C_Verify", "rv"), ("verify-general", "C_Verify", "rv"),
            ("rv=C_Decrypt:CKR_FUNCTION_FAILED@2-2", "C_Decrypt", "rv"), ("query-too-small", "C_Sign", "rv"),
            ("rsa-short", "C_Sign", "pSignature"), ("ecdsa-der", "C_Sign", "pSignature"),
            ("rng-zero", "C_GenerateRandom", "pRandomData"), ("rng-constant", "C_GenerateRandom", "pRandomData")]:
        kinds = differences(on(faulty, fault, status=1))
        assert (function, place) in {kind[:2] for kind in kinds}, (fault, kinds)


@pytest.mark.nosan  # a module in python
def test_a_larger_answer_gets_the_room_that_it_asks_for(lab, token, softhsm):  # noqa: F811
    """SoftHSM has a slot more, and says of a decryption with RSA that it is as long as the modulus, where ours says 11 bytes less:
    the application would have made that room."""
    trace = record_flow(lab, token, "safe")
    pin = lab.tmp / "pin"
    pin.write_text(softhsm.pin + "\n")
    p = lab.p11trace("replay", trace, "--module", softhsm.module, "--pin-file", pin, "--json", env=softhsm.env, status=1)
    found = json.loads(p.stdout)
    assert set(differences(found)) == {("C_GetInterface", "rv", "CKR_OK", "CKR_ARGUMENTS_BAD"),
                                       ("C_GetSlotList", "*pulCount", "1", "2")}
    assert found["withheld_kinds"] == [] and found["not_comparable_kinds"] == []
