"""Plays one scenario in Firefox: play.py SCENARIO FOLDER COMMON. Writes how many prompts the user would have seen into
FOLDER/prompts and how many of the pages came into FOLDER/pages."""
import contextlib
import sys
import time
from pathlib import Path

from marionette import Firefox, MarionetteError, environment_for
from server import ClientAuthenticationServer

PIN = "12345678"
ANSWERS = {"wrong-pin": ("11111111", "22222222", PIN), "cancel": (None,)}
# NSS believes an answer about the login or the presence of a card for a second.
PAUSE = 1.2
PAGES, PATIENCE = 3, 5  # seconds for a page


def visit(firefox, url) -> bool:
    try:
        return firefox.visit(url) == "Alice"
    except MarionetteError:
        return False


def play(scenario, folder, common):
    """Each page is of another server: Firefox has no connection to it yet, and none that hangs."""
    servers = [ClientAuthenticationServer(common, "server.pem", "server.key", "ca.pem") for _ in range(PAGES)]
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.enter_context(server)
        firefox = stack.enter_context(
            Firefox(folder / "profile", environment_for(folder / "home", {}), folder / "firefox.log"))
        firefox.answer_prompts(*ANSWERS.get(scenario, (PIN,)))
        firefox("WebDriver:SetTimeouts", pageLoad=1000 * PATIENCE)
        came = 0
        for server in servers:
            came += visit(firefox, f"https://localhost:{server.port}/")
            time.sleep(PAUSE)
        return len(firefox.prompts()), f"{came}/{PAGES}"


if __name__ == "__main__":
    name, where = sys.argv[1], Path(sys.argv[2])
    prompts, loaded = play(name, where, Path(sys.argv[3]))
    (where / "prompts").write_text(f"{prompts}\n")
    (where / "pages").write_text(f"{loaded}\n")
