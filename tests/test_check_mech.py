"""Mechanisms, told call by call: what no client does on purpose, and what must not be reported."""
import pytest

from check_story import BUFFER_TOO_SMALL, GENERAL_ERROR, OK, SLOT, TOKEN_PRESENT, REMOVABLE
from p11t_make import P_NULL, P_OWN, n, u
from story_calls import Calls
from test_check_guards import checked, found

E, W, I = "error", "warning", "info"
MODULE, CALLER = "module", "caller"
INFO_STRUCT, PSS_STRUCT = 5, 7
RSA, PSS, SHA256_PSS, AES_GCM, AES_CBC, SHA256, ECDSA = 1, 0xD, 0x43, 0x1087, 0x1082, 0x250, 0x1041
SHA384 = 0x260
ENCRYPT, DECRYPT, DIGEST, SIGN, VERIFY, UNWRAP, HW = 0x100, 0x200, 0x400, 0x800, 0x2000, 0x40000, 1
MESSAGE_ENCRYPT, MESSAGE_DECRYPT, ENCAPSULATE, DECAPSULATE = 2, 4, 0x10000000, 0x20000000
ML_KEM, RSA_PAIR, TEMPLATE_INCONSISTENT = 0x17, 0, 0xD1
MECHANISM_INVALID, PARAM_INVALID, TYPE_INCONSISTENT, SIZE_RANGE, NOT_PERMITTED = 0x70, 0x71, 0x63, 0x62, 0x68
NOT_SUPPORTED, DEVICE_ERROR, NOT_PRESENT, FUNCTION_FAILED, DATA_LEN = 0x54, 0x30, 0xE0, 6, 0x21
CKA_CLASS, CKA_KEY_TYPE, CKA_SIGN, CKA_DECRYPT, ALLOWED = 0, 0x100, 0x108, 0x105, 0x40000600
PRIVATE, SECRET, CKK_RSA, CKK_AES = 3, 4, 0, 0x1F
KEY = 7

ONE = [("NSS-MECH-01", E, MODULE)]
ONE_W = [("NSS-MECH-01", W, MODULE)]
TWO, TWO_W, TWO_I = [("NSS-MECH-02", E, MODULE)], [("NSS-MECH-02", W, MODULE)], [("NSS-MECH-02", I, CALLER)]
THREE = [("NSS-MECH-03", W, MODULE)]
FOUR, FOUR_I = [("NSS-MECH-04", E, MODULE)], [("NSS-MECH-04", I, MODULE)]
FIVE = [("NSS-MECH-05", I, MODULE)]
PROMISED, BASIC = [("NSS-INIT-02", E, MODULE)], [("NSS-INIT-08", E, MODULE)]


class Mechanisms(Calls):
    functions = {**Calls.functions,
                 "C_GetMechanismInfo": ((6, "slotID", 0, 0), (4, "type", 0, 0), (32, "pInfo", 0, INFO_STRUCT))}

    def _initialize(self, rv, nss=False):
        return "C_Initialize", P_OWN + b"\x0f" + u(3) + b"\x00\x00" if nss else P_NULL, b""

    def _mechanism_list(self, *types, room=None, slot=SLOT, rv=OK, count=None):
        """room None: a NULL buffer, and `types` are only counted."""
        count = len(types) if count is None else count
        before = u(slot) + (P_NULL if room is None else P_OWN) + P_OWN + u(room or 0)
        values = () if room is None or rv != OK else types
        return "C_GetMechanismList", before, n(len(values)) + b"".join(map(u, values)) + u(count)

    def _mechanism_info(self, type, flags=0, least=0, most=0, slot=SLOT, rv=OK):
        members = n(INFO_STRUCT) + n(3) + u(least) + u(most) + u(flags)
        return "C_GetMechanismInfo", u(slot) + u(type) + P_OWN, members if rv == OK else n(0)

    def lists(self, *types, **more):
        self.call("mechanism_list", *types, **more)
        return self.call("mechanism_list", *types, room=len(types), **more)

    def knows(self, *attributes, key=KEY):
        """Attributes of an object, read."""
        self.call("attributes", 1, key, *((t, 64, 8 if isinstance(v, int) else len(v), v) for t, v in attributes))


def told(*steps, sessions=(1,)):
    t = Mechanisms().start(*sessions)
    for step in steps:
        step(t)
    return t


def says(what, *args, **more):
    return lambda t: t.call(what, *args, **more)


def does(name, mechanism, rv=OK, **more):
    return lambda t: t.do(f"C_{name}", 1, rv=rv, pMechanism=mechanism, **more)


def lists(*types, **more):
    return lambda t: t.lists(*types, **more)


def key(*attributes, **more):
    return lambda t: t.knows(*attributes, **more)


def asked(*types):
    return says("mechanism_list", *types)


def answers(*types, **more):
    return says("mechanism_list", *types, room=more.pop("room", len(types)), **more)


def info(type, flags=0, **more):
    return says("mechanism_info", type, flags, **more)


ABSENT, PRESENT = says("slot_info", flags=REMOVABLE), says("slot_info", flags=TOKEN_PRESENT | REMOVABLE)
LATER = lambda t: t.wait(2)  # noqa: E731  out of the window of a removal

LISTS = {
    "as it should be": ((lists(RSA, PSS), lists(PSS, RSA), info(RSA, SIGN, least=512, most=4096)), []),
    "second call fails": ((asked(RSA, PSS), answers(RSA, PSS, rv=GENERAL_ERROR)), ONE),
    "only that it fails": ((answers(RSA, PSS, rv=GENERAL_ERROR),), []),
    "asked in another thread": ((says("mechanism_list", RSA, tid=200), answers(RSA, rv=GENERAL_ERROR)), []),
    "fails as the card is pulled": ((asked(RSA), answers(RSA, rv=NOT_PRESENT)), []),
    "grows": ((asked(RSA, PSS), answers(RSA, PSS, SHA256, room=2, rv=BUFFER_TOO_SMALL)), ONE),
    "too little room": ((asked(RSA, PSS), answers(RSA, PSS, room=1, rv=BUFFER_TOO_SMALL)), []),
    "changes": ((lists(RSA, PSS), lists(RSA, SHA256)), ONE),
    "changes with the login": ((lists(RSA, PSS), says("login", 1), lists(RSA, PSS, SHA256)), ONE_W),
    "changes with the token": ((lists(RSA, PSS), ABSENT, PRESENT, LATER, lists(RSA, SHA256)), []),
    "another slot's": ((lists(RSA, PSS), lists(SHA256, slot=6)), []),
    "listed and unknown": ((lists(RSA), info(RSA, rv=MECHANISM_INVALID)), ONE),
    "unlisted and unknown": ((lists(RSA), info(PSS, rv=MECHANISM_INVALID)), []),
    "unlisted and known": ((lists(RSA), info(PSS, SIGN)), ONE_W),
    "known before the list is": ((info(PSS, SIGN), lists(PSS)), []),
    "sizes the wrong way round": ((info(RSA, SIGN, least=4096, most=512),), ONE),
    "sizes of a digest": ((info(SHA256, DIGEST, least=64, most=0),), []),
    "no smallest size": ((info(RSA, SIGN, least=None, most=512),), []),
}

BY_NSS = says("initialize", nss=True, rv=0x191)


def makes_pair(*uses, rv=OK):
    return does("GenerateKeyPair", RSA_PAIR, rv, pPublicKeyTemplate=[], pPrivateKeyTemplate=[(t, True) for t in uses])


USES = {
    "works": ((lists(AES_GCM), info(AES_GCM, ENCRYPT), does("EncryptInit", AES_GCM)), []),
    "does not work": ((lists(AES_GCM), info(AES_GCM, ENCRYPT), does("EncryptInit", AES_GCM, MECHANISM_INVALID)), TWO),
    "is not there": ((lists(AES_GCM), info(AES_GCM, ENCRYPT), does("EncryptInit", AES_GCM, NOT_SUPPORTED)), TWO),
    "not asked what for": ((lists(AES_GCM), does("EncryptInit", AES_GCM, MECHANISM_INVALID)), TWO_W),
    "not for that": ((lists(AES_GCM), info(AES_GCM, DECRYPT), does("EncryptInit", AES_GCM, MECHANISM_INVALID)), TWO_I),
    "not listed": ((lists(RSA), does("EncryptInit", AES_GCM, MECHANISM_INVALID)), []),
    "never listed": ((does("EncryptInit", AES_GCM, MECHANISM_INVALID),), []),
    "another slot's": ((lists(AES_GCM, slot=6), does("EncryptInit", AES_GCM, MECHANISM_INVALID)), []),
    "another code": ((lists(AES_GCM), info(AES_GCM, ENCRYPT), does("EncryptInit", AES_GCM, PARAM_INVALID)), []),
    "not asked whether it wraps": ((lists(AES_CBC), does("UnwrapKey", AES_CBC, MECHANISM_INVALID)), []),
    "not asked whether RSA decrypts": ((lists(RSA), does("DecryptInit", RSA, MECHANISM_INVALID)), []),
    "does not make that object": ((lists(AES_GCM), info(AES_GCM, UNWRAP), does("UnwrapKey", AES_GCM, NOT_SUPPORTED)), []),
    "does not unwrap": ((lists(AES_GCM), info(AES_GCM, UNWRAP), does("UnwrapKey", AES_GCM, MECHANISM_INVALID)), TWO),
    "right type of key": ((lists(AES_GCM), info(AES_GCM, ENCRYPT), key((CKA_KEY_TYPE, CKK_AES)),
                           does("EncryptInit", AES_GCM, TYPE_INCONSISTENT, hKey=KEY)), TWO),
    "wrong type of key": ((lists(AES_GCM), info(AES_GCM, ENCRYPT), key((CKA_KEY_TYPE, CKK_RSA)),
                           does("EncryptInit", AES_GCM, TYPE_INCONSISTENT, hKey=KEY)), []),
    "unknown type of key": ((lists(AES_GCM), info(AES_GCM, ENCRYPT),
                             does("EncryptInit", AES_GCM, TYPE_INCONSISTENT, hKey=KEY)), []),
    "key for some mechanisms": ((lists(AES_GCM), info(AES_GCM, ENCRYPT), key((ALLOWED, bytes(8))),
                                 does("EncryptInit", AES_GCM, MECHANISM_INVALID, hKey=KEY)), []),
    "card is pulled": ((lists(AES_GCM), info(AES_GCM, ENCRYPT), ABSENT,
                        does("EncryptInit", AES_GCM, MECHANISM_INVALID)), []),
}

FLAGS = {
    "all said": ((info(RSA, SIGN | VERIFY), does("SignInit", RSA)), []),
    "none": ((info(RSA, 0),), THREE),
    "none but hardware": ((info(RSA, HW), info(ECDSA, HW)), THREE),
    "none, and nobody makes keys of it": ((info(AES_CBC, 0),), []),
    "fails": ((lists(RSA), info(RSA, rv=FUNCTION_FAILED)), THREE),
    "fails and is not listed": ((lists(ECDSA), info(RSA, rv=FUNCTION_FAILED)), []),
    "signs nevertheless": ((info(RSA, DECRYPT), does("SignInit", RSA)), THREE),
    "does not sign, as said": ((info(RSA, DECRYPT), does("SignInit", RSA, MECHANISM_INVALID)), []),
    "nobody asked": ((does("SignInit", RSA),), []),
    "a key pair as the flags promise": ((BY_NSS, info(RSA, SIGN | DECRYPT), makes_pair(CKA_SIGN, CKA_DECRYPT)), []),
    "a key pair that may not do what they promise": (
        (BY_NSS, info(RSA, SIGN | DECRYPT), makes_pair(CKA_SIGN, CKA_DECRYPT, rv=TEMPLATE_INCONSISTENT)), THREE),
    "a key pair that is to do more": (
        (BY_NSS, info(RSA, SIGN), makes_pair(CKA_SIGN, CKA_DECRYPT, rv=TEMPLATE_INCONSISTENT)), []),
    "a key pair of somebody else": (
        (info(RSA, SIGN), makes_pair(CKA_SIGN, rv=TEMPLATE_INCONSISTENT)), []),
}

# What a list of that version, or of these mechanisms, says can be called: NSS-INIT-02, NSS-INIT-08.
FUNCTIONS = {
    "messages": ((lists(AES_GCM), info(AES_GCM, MESSAGE_ENCRYPT), does("MessageEncryptInit", AES_GCM, GENERAL_ERROR)),
                 PROMISED),
    "messages, NSS has another way": (
        (lists(AES_GCM), info(AES_GCM, MESSAGE_ENCRYPT), does("MessageEncryptInit", AES_GCM, NOT_SUPPORTED)), []),
    "messages, not promised": (
        (lists(AES_GCM), info(AES_GCM, ENCRYPT), does("MessageEncryptInit", AES_GCM, GENERAL_ERROR)), []),
    "messages, only encrypted": (
        (lists(AES_GCM), info(AES_GCM, MESSAGE_ENCRYPT), does("MessageDecryptInit", AES_GCM, GENERAL_ERROR)), []),
    "messages, decrypted": (
        (lists(AES_GCM), info(AES_GCM, MESSAGE_DECRYPT), does("MessageDecryptInit", AES_GCM, PARAM_INVALID)), PROMISED),
    "encapsulation": ((lists(ML_KEM), info(ML_KEM, ENCAPSULATE), does("EncapsulateKey", ML_KEM, NOT_SUPPORTED)),
                      PROMISED),
    "encapsulation, nobody asked": ((lists(ML_KEM), does("EncapsulateKey", ML_KEM, NOT_SUPPORTED)), []),
    "encapsulation, another code": (
        (lists(ML_KEM), info(ML_KEM, ENCAPSULATE), does("EncapsulateKey", ML_KEM, SIZE_RANGE)), []),
    "decapsulation": ((lists(ML_KEM), info(ML_KEM, DECAPSULATE), does("DecapsulateKey", ML_KEM, NOT_SUPPORTED)),
                      PROMISED),
    "signatures of a slot that signs": ((lists(RSA), info(RSA, SIGN), does("SignInit", RSA, NOT_SUPPORTED)), BASIC),
    "signatures of a slot that decrypts": ((lists(RSA), info(RSA, DECRYPT), does("SignInit", RSA, NOT_SUPPORTED)), []),
    "signatures, nothing known": ((does("SignInit", RSA, NOT_SUPPORTED),), []),
}


def pss(hash=SHA256, mgf=2, salt=32, type=PSS):
    """A mechanism with its parameter."""
    return type, 24, PSS_STRUCT, n(3) + u(hash) + u(mgf) + u(salt)


def sign(rv):
    return lambda t: t.do("C_Sign", 1, rv=rv)


TLS = pss()
USER_KEY = key((CKA_CLASS, PRIVATE), (CKA_KEY_TYPE, CKK_RSA))
RSA_PSS = lists(RSA, PSS, SHA256_PSS)
PSS_CASES = {
    "works": ((RSA_PSS, USER_KEY, does("SignInit", TLS), sign(OK)), []),
    "does not begin": ((RSA_PSS, does("SignInit", TLS, MECHANISM_INVALID)), FOUR),
    "does not take SHA-384": ((RSA_PSS, does("SignInit", pss(SHA384, 3, 48), PARAM_INVALID)), FOUR),
    "with the hash": ((RSA_PSS, does("SignInit", pss(type=SHA256_PSS), PARAM_INVALID)), FOUR),
    "another hash for the mask": ((RSA_PSS, does("SignInit", pss(mgf=1), PARAM_INVALID)), []),
    "another salt": ((RSA_PSS, does("SignInit", pss(salt=20), PARAM_INVALID)), []),
    "nothing known of the parameter": ((RSA_PSS, does("SignInit", PSS, PARAM_INVALID)), []),
    "not listed": ((lists(RSA), does("SignInit", TLS, MECHANISM_INVALID)), []),
    "not for signatures": ((RSA_PSS, info(PSS, VERIFY), does("SignInit", TLS, MECHANISM_INVALID)), []),
    "key is too short": ((RSA_PSS, does("SignInit", TLS, SIZE_RANGE)), []),
    "key for some mechanisms": ((RSA_PSS, key((ALLOWED, bytes(8))), does("SignInit", TLS, MECHANISM_INVALID, hKey=KEY)),
                                []),
    "key that may not sign": ((RSA_PSS, USER_KEY, key((CKA_SIGN, 0)),
                               does("SignInit", TLS, NOT_PERMITTED, hKey=KEY)), []),
    "key that may sign": ((RSA_PSS, USER_KEY, key((CKA_SIGN, 1)),
                           does("SignInit", TLS, NOT_PERMITTED, hKey=KEY)), FOUR),
    "does not end": ((RSA_PSS, USER_KEY, does("SignInit", RSA, hKey=KEY), sign(OK), does("SignInit", TLS, hKey=KEY),
                      sign(FUNCTION_FAILED)), FOUR),
    "nothing is signed at all": ((RSA_PSS, USER_KEY, does("SignInit", TLS, hKey=KEY), sign(FUNCTION_FAILED)), []),
    "does not begin, and nothing is signed at all": ((RSA_PSS, does("SignInit", TLS, GENERAL_ERROR)), []),
    "data of another length": ((RSA_PSS, does("SignInit", TLS), sign(DATA_LEN)), []),
    "another signature in between": ((RSA_PSS, does("SignInit", TLS), sign(OK), does("SignInit", RSA),
                                      sign(FUNCTION_FAILED)), []),
    "key without PSS": ((lists(RSA), USER_KEY), FOUR_I),
    "public key without PSS": ((lists(RSA), key((CKA_CLASS, 2), (CKA_KEY_TYPE, CKK_RSA))), []),
    "key of another slot": ((lists(RSA, slot=6), RSA_PSS, USER_KEY), []),
    "key, and no list": ((USER_KEY,), []),
}

SPLIT = {
    "signs only": ((lists(RSA, PSS), USER_KEY, does("SignInit", RSA, hKey=KEY)), FIVE),
    "has no keys": ((lists(RSA, PSS), does("SignInit", RSA, hKey=KEY)), []),
    "does more": ((lists(RSA, PSS, AES_CBC), USER_KEY, does("SignInit", RSA, hKey=KEY)), []),
    "not listed": ((USER_KEY, does("SignInit", RSA, hKey=KEY)), []),
}

CASES = {f"{group}: {name}": case for group, cases in
         dict(list=LISTS, use=USES, flags=FLAGS, functions=FUNCTIONS, pss=PSS_CASES, split=SPLIT).items()
         for name, case in cases.items()}
ONLY = {"list": ("MECH-01",), "use": ("MECH-02",), "flags": ("MECH-03",), "pss": ("MECH-04",), "split": ("MECH-05",),
        "functions": ("INIT-02", "INIT-08")}


@pytest.mark.parametrize("case", CASES)
def test_story(case, build, run, tmp_path):
    steps, expected = CASES[case]
    only = [w for i in ONLY[case.split(":")[0]] for w in ("--rule", f"NSS-{i}")]
    path = told(*steps).write(tmp_path / "story.p11t")
    result = checked(build, run, *only, path, status=1 if any(e[1] == E for e in expected) else 0)
    assert found(result) == sorted(expected), [f["sentence"] for f in result["findings"]]
    assert all(f["evidence"] for f in result["findings"])


def test_evidence_of_a_signature_that_does_not_end(build, run, tmp_path):
    t = told(RSA_PSS, USER_KEY, does("SignInit", RSA, hKey=KEY))
    signed = t.do("C_Sign", 1)
    listed, begun = t.lists(RSA, PSS, SHA256_PSS), t.do("C_SignInit", 1, pMechanism=TLS, hKey=KEY)
    failed = t.do("C_Sign", 1, rv=DEVICE_ERROR)
    (f,) = checked(build, run, "--rule", "NSS-MECH-04", "--rule", "P11-RV-02", t.write(tmp_path / "x.p11t"),
                   status=1)["findings"]
    assert [e["call"] for e in f["evidence"]] == [listed, signed, begun, failed]
    assert f["sentence"] == ("CKM_RSA_PKCS_PSS is listed, and C_Sign with the parameters of TLS 1.3 fails with "
                             "CKR_DEVICE_ERROR")
    assert f["also"] == ["P11-RV-02"]


def test_slots_that_share_the_work(build, run, tmp_path):
    t = told(lists(RSA), USER_KEY)
    other = t.lists(AES_CBC, SHA256, slot=6)
    t.do("C_SignInit", 1, pMechanism=RSA, hKey=KEY)
    (f,) = checked(build, run, "--rule", "NSS-MECH-05", t.write(tmp_path / "x.p11t"), status=0)["findings"]
    assert f["sentence"] == ("the slot of the private key lists no mechanisms for AES, HMAC, key derivation, digests; "
                             "another slot of the module does")
    assert f["evidence"][1]["call"] == other and f["evidence"][1]["detail"] == "slot 6 lists CKM_SHA256"
