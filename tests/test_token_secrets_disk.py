"""No PIN and no key is in the token directory of libp11token.so, in the log and its index neither: while sessions are
open, after objects were changed, copied and destroyed, after PINs were changed, and when the process was killed in
between."""
import signal
import subprocess
import sys

import pytest

from conftest import ROOT
from cryptoki import CKA, CKM, CKO, CKU
from secret_search import KNOWN, Search, is_private, keys, noise, secrets_of
from test_secrets import needles

PINS = {"user": "t0ken-user-Pin-17", "new user": "n3w-token-user-Pin", "so": "t0ken-so-Pin-2291",
        "new so": "n3w-token-so-Pin-4"}
PLAIN = noise("text of a private object", 64)


def files(directory) -> dict:
    return {p.name: p.read_bytes() for p in sorted(directory.iterdir())}


@pytest.fixture(scope="module")
def search():
    return Search({**secrets_of(), "text": PLAIN, **{f"pin {k}": v.encode() for k, v in PINS.items()}}, shifts=False)


@pytest.fixture(scope="module")
def spelt():
    """PINs in every spelling."""
    return needles({**PINS, "first": "1234-pin", "first so": "5678-so-pin"}, {})


def hits(directory, search, spelt) -> list:
    found = []
    for name, data in files(directory).items():
        found += [(name, hit) for hit in search(data)] + [(name, how) for how, form in spelt.items() if form in data]
    return found


def put_all(s, **more) -> list:
    """Every key of the table as a token object, in the four combinations, private and not, and a private text."""
    made = [s.create({**keys()[name], CKA.TOKEN: True, CKA.LABEL: f"label of {name}", CKA.SENSITIVE: sensitive,
                      CKA.EXTRACTABLE: extractable, **({CKA.PRIVATE: private} if private is not None else {})})
            for name in keys() for sensitive in (False, True) for extractable in (False, True)
            for private in (None, True)]
    return made + [s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: True, CKA.VALUE: PLAIN,
                             CKA.LABEL: "a text"})]


def change_pins(token) -> None:
    s = token.session(login=False)
    s.login(token.so_pin, CKU.SO)
    s.init_pin(PINS["user"])
    s.set_pin(token.so_pin, PINS["so"])
    s.set_pin(PINS["so"], PINS["new so"])
    s.logout()
    s.login(PINS["user"])
    s.set_pin(PINS["user"], PINS["new user"])


def test_token_directory(token, search, spelt):
    change_pins(token)
    s = token.session(login=False)
    made = put_all(s)
    assert {name.rsplit(".", 1)[-1] for name in files(token.directory)} == {"p11token", "p11token-wal", "p11token-shm"}
    assert hits(token.directory, search, spelt) == []
    for obj in made[:-1:3]:
        s.set(obj, {CKA.LABEL: "another label", CKA.ID: KNOWN})
    for obj in made[1::3]:
        s.copy(obj, {CKA.LABEL: "copied label"})
        s.destroy(obj)
    assert hits(token.directory, search, spelt) == []
    s.logout()
    assert hits(token.directory, search, spelt) == []
    token.finalize()
    assert [name.rsplit(".", 1)[-1] for name in files(token.directory)] == ["p11token"]
    assert hits(token.directory, search, spelt) == []


def test_public_keys_are_kept_as_secret(token, search, spelt):
    """Secret and private keys that are no private objects, which NSS makes when nobody has to log in: their values
    are sealed all the same."""
    s = token.session()
    for name in keys():
        s.create({**keys()[name], CKA.TOKEN: True, CKA.PRIVATE: False})
    assert hits(token.directory, search, spelt) == []


def test_the_search_looks_where_the_values_would_be(token, search, spelt):
    """What is no secret is in the same files in clear, and secrets would be found there."""
    s = token.session()
    modulus = keys()["RSA"][CKA.MODULUS]
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: False, CKA.LABEL: "label-in-clear",
              CKA.VALUE: modulus})
    s.create({CKA.CLASS: CKO.DATA, CKA.TOKEN: True, CKA.PRIVATE: False, CKA.VALUE: b"." * 99 + PLAIN[:9] + b"." * 99})
    together = b"".join(files(token.directory).values())
    assert b"label-in-clear" in together and modulus[:100] in together
    assert {hit for _, hit in hits(token.directory, search, spelt)} >= {"text shifted by 0"}
    for name in keys():
        value = next(iter(secrets_of([name]).values()))
        assert search(b"." * 7 + value[len(value) - 8:] + b".") != [], name


KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
import test_token_secrets_disk as test
from tokens import Token
token = Token(module={module!r}, directory={directory!r}, parameters={parameters!r})
test.change_pins(token)
s = token.session(login=False)
made = test.put_all(s)
for obj in made[::5]:
    s.destroy(obj)
print("ready", flush=True)
if {busy!r}:
    while True:
        test.put_all(s)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("busy", [False, True])
@pytest.mark.nosan
def test_killed_process(token, clean_env, search, spelt, busy):
    """SIGKILL with sessions open, between calls and in the middle of writing; and the next process's recovery changes
    nothing."""
    code = KILLED.format(tests=str(ROOT / "tests"), module=str(token.module), directory=str(token.directory),
                         parameters=token.parameters, busy=busy)
    p = subprocess.Popen([sys.executable, "-c", code], env={**clean_env, **token.env}, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\n"
    if busy:
        p.kill()
    assert p.wait() == -signal.SIGKILL
    assert any(name.endswith("-wal") and data for name, data in files(token.directory).items())
    assert hits(token.directory, search, spelt) == []
    s = token.session(login=False)
    s.login(PINS["new user"])
    assert len(s.find({CKA.LABEL: "label of AES-256"})) >= 4
    token.finalize()
    assert hits(token.directory, search, spelt) == []


def test_generated_keys(token, spelt):
    """Readable keys that the token makes: their values are not in its files either."""
    s = token.session()
    made = [s.generate_key(CKM.AES_KEY_GEN, {CKA.VALUE_LEN: 32, CKA.TOKEN: True, CKA.SENSITIVE: False,
                                             CKA.EXTRACTABLE: True, CKA.PRIVATE: private}) for private in (True, False) for _ in range(10)]
    values = {str(i): s.get(obj, CKA.VALUE) for i, obj in enumerate(made)}
    assert len(set(values.values())) == 20
    assert hits(token.directory, Search(values), spelt) == []


def test_private_keys_of_the_table_are_there():
    """What the searches are for: all types, none of them short."""
    assert sum(map(is_private, keys())) == 8
    assert all(len(value) >= 8 for value in secrets_of().values())
