"""A replay does not hurt a card: PINs that were wrong are not tried, what it did not make stays, and it stops in time."""
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

PIN, SO_PIN, LABEL = "1234-pin", "5678-so-pin", "Guarded"
COULD_NOT = 2


@dataclass
class Card:
    """A token of ours in a folder of its own, programs that use it under the recorder, and copies for replays."""
    build: Path
    tmp: Path
    run: object
    retries: int = 3

    def __post_init__(self):
        self.conf, self.tokens, self.copy = self.tmp / "token.conf", self.tmp / "tokens", self.tmp / "copy"
        self.traces, self.module = self.tmp / "traces", self.tmp / "traced.so"
        self.library = self.build / "libp11token.so"
        self.conf.write_text(f"pin-retries = {self.retries}\n")
        self("p11token", "init", "--kdf-cost", 4, "--label", LABEL, "--pin", PIN, "--so-pin", SO_PIN)
        self.run(self.build / "p11trace", "wrap", self.library, "-o", self.module, "--out", self.traces, "--quiet")

    def __call__(self, program, *argv, tokens=None, **more):
        path = self.build / program
        return self.run(path if path.exists() else program, *argv,
                        env={"P11TOKEN_DIR": tokens or self.tokens, "P11TOKEN_CONF": self.conf}, **more)

    def play(self, *steps):
        self("tests/clients/play", self.module, LABEL, PIN, *steps)

    def pkcs11_tool(self, *argv, module=None, **more):
        return self("pkcs11-tool", "--module", module or self.module, "--token-label", LABEL, *argv, **more)

    def keep(self):
        """What replays begin with: the tokens as they are now."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.tokens, self.copy)

    def forget_traces(self):
        shutil.rmtree(self.traces)

    def replay(self, *options, status=0):
        p = self("p11trace", "replay", "--json", "--module", self.library, *options, self.traces, tokens=self.copy,
                 status=status)
        return json.loads(p.stdout), p

    def flags(self, tokens=None):
        text = self.pkcs11_tool("-L", module=self.library, tokens=tokens or self.copy).stdout
        return re.search(r"token flags +: (.*)", text)[1]

    def labels(self, tokens=None):
        text = self.pkcs11_tool("--login", "--pin", PIN, "-O", module=self.library, tokens=tokens or self.copy).stdout
        return set(re.findall(r"label: +'?([^'\n]*)", text))


@pytest.fixture
def card(build, tmp_path, run):
    return Card(build, tmp_path, run)


def withheld(result):
    return {(k["function"], k["reason"]): k["count"] for k in result["withheld_kinds"]}


REFUSED = ("C_Login", "its PIN was refused when it was recorded (--destructive makes it)")


def wrong_pins(card):
    """Two wrong PINs and the right one, twice over: more wrong ones than the token has tries."""
    card.keep()
    for _ in range(2):
        card.play("a.open=rw", "a.login=bad", "a.state", "a.login=worse", "token", "a.login", "a.state", "a.logout")


@pytest.mark.parametrize("mode", ["serial", "relay", "free"])
def test_wrong_pins_are_not_tried(card, mode):
    wrong_pins(card)
    assert "count low" in card_after_one_try(card)
    result, _ = card.replay("--pin", PIN, "--mode", mode)
    assert result["differences"] == 0
    assert withheld(result) == {REFUSED: 4}
    assert "low" not in card.flags() and "final" not in card.flags(), "all three tries are left"


def card_after_one_try(card):
    """The flags of another copy of the token after a wrong PIN: what the test must not find in the replay's."""
    other = card.tmp / "other"
    shutil.copytree(card.copy, other)
    card.pkcs11_tool("--login", "--pin", "wrong", "-O", module=card.library, tokens=other, status=1)
    return card.flags(other)


@pytest.mark.parametrize("jobs", [1, 2])
def test_pin_that_is_refused_is_tried_once(card, jobs):
    """The user gives a PIN that is not the token's: one try is lost, not one for each login or process."""
    wrong_pins(card)
    text = card("p11trace", "replay", "--module", card.library, "--pin", "not-that", "--jobs", jobs, card.traces,
                tokens=card.copy, status=COULD_NOT).stdout
    assert text.count("the module answered CKR_PIN_INCORRECT to the PIN that was given") == 1
    assert text.count("in the replay of another process") == 1
    assert "count low" in card.flags() and "final" not in card.flags() and "locked" not in card.flags()


def test_preparing_tries_once_too(card):
    """--prepare logs in before the first call of each process."""
    data = card.tmp / "data"
    data.write_bytes(b"some data")
    card.keep()
    card.pkcs11_tool("--login", "--pin", PIN, "--write-object", data, "--type", "data", "--label", "a")
    card.forget_traces()
    for _ in range(2):
        card.pkcs11_tool("--login", "--pin", PIN, "-O")
    result, _ = card.replay("--pin", "not-that", "--prepare", status=COULD_NOT)
    assert len([p for p in result["processes"] if "PIN is refused" in p.get("could_not", "")]) == 2
    assert "count low" in card.flags() and "final" not in card.flags() and "locked" not in card.flags()


def test_no_pin(card):
    card.play("a.open=rw", "a.login", "a.state", "a.logout", "a.login", "a.state", "a.logout", "a.state")
    card.keep()
    result, _ = card.replay()
    assert result["differences"] == 0
    assert withheld(result) == {("C_Login", "no PIN was given: give --pin-file"): 2}
    assert {(k["function"], k["count"]) for k in result["not_comparable_kinds"]} == {("C_GetSessionInfo", 2), ("C_Logout", 2)}


def test_stops_before_the_last_try(build, tmp_path, run):
    """The token has one try left: even the right PIN is not risked."""
    card = Card(build, tmp_path, run, retries=2)
    card.play("a.open=rw", "a.login", "a.state", "a.logout")
    card.keep()
    card.pkcs11_tool("--login", "--pin", "wrong", "-O", module=card.library, tokens=card.copy, status=1)
    assert "final user PIN try" in card.flags()
    p = card("p11trace", "replay", "--module", card.library, "--pin", PIN, card.traces, tokens=card.copy, status=COULD_NOT)
    assert re.search(r"before #\d+ \(C_Login\): the token in slot 1 says CKF_USER_PIN_FINAL_TRY", p.stdout)
    assert "final user PIN try" in card.flags()


def test_other_objects_stay(card):
    """Objects of others are neither destroyed nor changed, and searches that would lack them are no differences."""
    data = card.tmp / "data"
    data.write_bytes(b"some data")
    for label in ("mine", "theirs"):
        card.pkcs11_tool("--login", "--pin", PIN, "--write-object", data, "--type", "data", "--label", label)
    card.forget_traces()
    card.keep()
    card.pkcs11_tool("--login", "--pin", PIN, "--delete-object", "--type", "data", "--label", "theirs")
    assert card.labels(card.tokens) == {"mine"}

    result, _ = card.replay("--pin", PIN)
    reason = "it destroys an object that the replay did not make (--destructive makes it)"
    assert withheld(result) == {("C_DestroyObject", reason): 1}
    assert result["differences"] == 0
    assert card.labels() == {"mine", "theirs"}

    result, _ = card.replay("--pin", PIN, "--destructive")
    assert (result["differences"], result["withheld"]) == (0, 0)
    assert card.labels() == {"mine"}


def test_pins_and_tokens_stay(card):
    """C_SetPIN, C_InitPIN and C_InitToken; the PINs of today are those that the user gives."""
    card.keep()
    card.pkcs11_tool("--login", "--pin", PIN, "--change-pin", "--new-pin", "another-pin")
    card.pkcs11_tool("--login", "--login-type", "so", "--so-pin", SO_PIN, "--init-pin", "--new-pin", "third-pin")
    card.pkcs11_tool("--init-token", "--label", LABEL, "--so-pin", SO_PIN)
    result, _ = card.replay("--pin", PIN)
    assert result["differences"] == 0
    assert withheld(result)["C_SetPIN", "it changes a PIN (--destructive makes it)"] == 1
    assert withheld(result)["C_InitPIN", "it changes a PIN (--destructive makes it)"] == 1
    assert withheld(result)["C_InitToken", "it clears a token (--destructive makes it)"] == 1
    assert withheld(result)["C_Login", "no PIN of the security officer was given: give --so-pin-file"] == 1
    assert card.pkcs11_tool("--login", "--pin", PIN, "-O", module=card.library, tokens=card.copy).returncode == 0
