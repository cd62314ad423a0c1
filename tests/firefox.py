"""Firefox and the TLS server of examples/firefox-login-state, for tests."""
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples" / "firefox-login-state"))

from marionette import BINARY, Firefox, MarionetteError, environment_for  # noqa: E402, F401
from server import ClientAuthenticationServer  # noqa: E402, F401
