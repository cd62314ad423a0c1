"""Firefox ESR without a screen, driven through its Marionette protocol: JSON messages over a socket, each preceded by its
length."""
import json
import os
import socket
import subprocess
import time
from pathlib import Path

BINARY = "/usr/bin/firefox-esr"

# Nothing of the network but our own server; no page at start; the only client certificate is taken without a question.
PREFERENCES = {
    "app.normandy.enabled": False, "app.update.disabledForTesting": True, "browser.newtabpage.enabled": False,
    "browser.safebrowsing.downloads.enabled": False, "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False, "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage": "about:blank", "browser.startup.page": 0, "datareporting.policy.dataSubmissionEnabled": False,
    "dom.push.connection.enabled": False, "extensions.getAddons.cache.enabled": False, "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True, "network.proxy.type": 0, "security.OCSP.enabled": 0,
    "security.default_personal_cert": "Select Automatically", "security.remote_settings.intermediates.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1", "startup.homepage_welcome_url": "about:blank",
    "toolkit.telemetry.enabled": False,
}

# A PIN prompt during TLS blocks the thread on which Marionette's own socket lives, so prompts are answered inside Firefox,
# by a prompter of ours that counts them.
PROMPTER = """
const [answers] = arguments;
const state = Cu.getGlobalForObject(Services).__prompts = [];
const prompter = {
  QueryInterface: ChromeUtils.generateQI(["nsIPromptFactory", "nsIPrompt"]),
  getPrompt() { return this; },
  alert(title, text) { state.push(["alert", text]); },
  promptPassword(title, text, answer) {
    state.push(["password", text]);
    answer.value = answers.length > 1 ? answers.shift() : answers[0];
    return answer.value !== null;
  },
};
Components.manager.QueryInterface(Ci.nsIComponentRegistrar).registerFactory(
  Services.uuid.generateUUID(), "counting prompter", "@mozilla.org/prompter;1",
  {createInstance: iid => prompter.QueryInterface(iid), QueryInterface: ChromeUtils.generateQI(["nsIFactory"])});
return true;
"""
PROMPTS = "return Cu.getGlobalForObject(Services).__prompts;"
MODULES = """
const done = arguments[arguments.length - 1];
(async () => {
  const database = Cc["@mozilla.org/security/pkcs11moduledb;1"].getService(Ci.nsIPKCS11ModuleDB);
  const found = [];
  for (const module of await database.listModules())
    for (const slot of module.slots) {
      let token = null;
      try { token = slot.getToken(); } catch (e) { }
      found.push({module: module.name, token: token && token.tokenName, loggedIn: token && token.isLoggedIn});
    }
  return found;
})().then(done, e => done(["failed", String(e)]));
"""


class MarionetteError(Exception):
    pass


class Firefox:
    """A running Firefox with the given profile; use as a context manager."""

    POLL = 0.1  # seconds between two tries to reach it

    def __init__(self, profile: Path, env: dict, log: Path, preferences=(), under=()):
        """`under`: the command that Firefox is an argument of, such as p11trace run."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        lines = {**PREFERENCES, "marionette.port": port, **dict(preferences)}
        (profile / "user.js").write_text("".join(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n"
                                                 for k, v in lines.items()))
        self.log, self.buffer, self.id = log, b"", 0
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                [*map(str, under), BINARY, "--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile",
                 str(profile)], env={**env, "MOZ_HEADLESS": "1"}, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            self.socket = self._connect(port)
            self.socket.settimeout(90)
            self._receive()  # its greeting
            self("WebDriver:NewSession", capabilities={"alwaysMatch": {"acceptInsecureCerts": False}})
        except BaseException:
            self.close()
            raise

    def _connect(self, port):
        deadline = time.monotonic() + 90
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), 5)
            except OSError:
                assert self.process.poll() is None, f"Firefox ended at once\n{self.log.read_text()}"
                assert time.monotonic() < deadline, f"Firefox does not listen\n{self.log.read_text()}"
                time.sleep(self.POLL)

    def _receive(self):
        while True:
            length, colon, rest = self.buffer.partition(b":")
            if colon and len(rest) >= int(length):
                self.buffer = rest[int(length):]
                return json.loads(rest[:int(length)])
            data = self.socket.recv(65536)
            if not data:
                raise MarionetteError(f"Firefox closed the connection\n{self.log.read_text()}")
            self.buffer += data

    def __call__(self, command, **parameters):
        """Sends a Marionette command and returns its result."""
        self.id += 1
        message = json.dumps([0, self.id, command, parameters]).encode()
        self.socket.sendall(str(len(message)).encode() + b":" + message)
        while True:
            _, number, error, result = self._receive()
            if number == self.id:
                if error:
                    raise MarionetteError(f"{error.get('error')}: {error.get('message')}")
                return result

    def script(self, text, *arguments, asynchronous=False):
        """Runs JavaScript with the browser's own rights."""
        self("Marionette:SetContext", value="chrome")
        command = "WebDriver:ExecuteAsyncScript" if asynchronous else "WebDriver:ExecuteScript"
        return self(command, script=text, args=list(arguments), sandbox="system", newSandbox=False)["value"]

    def answer_prompts(self, *answers):
        """Answers prompts with these PINs in turn, None for the button Cancel; the last is given again and again."""
        self.script(PROMPTER, list(answers))

    def prompts(self):
        return self.script(PROMPTS)

    def modules(self):
        return self.script(MODULES, asynchronous=True)

    def visit(self, url) -> str:
        """Loads a page and returns its title."""
        self("Marionette:SetContext", value="content")
        self("WebDriver:Navigate", url=url)
        return self("WebDriver:GetTitle")["value"]

    def close(self):
        """Quits as a user does; ends our process if that does not work."""
        try:
            self("Marionette:Quit", flags=["eAttemptQuit"])
            self.process.wait(30)
        except (OSError, AttributeError, MarionetteError, subprocess.TimeoutExpired):
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def environment_for(home: Path, env: dict) -> dict:
    """Firefox writes below HOME even with a profile of its own."""
    home.mkdir(exist_ok=True)
    return {**env, "HOME": str(home), "PATH": os.environ["PATH"]}
