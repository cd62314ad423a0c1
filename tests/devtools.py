"""A page in headless Chromium, driven through the DevTools protocol over pipes: what it logs, asks for and shows.

    with Page(tmp_path / "profile", "file:///tmp/report.html", size=(1280, 900)) as page:
        page.js("document.title")
        page.key("/")
        page.click("#search")
        assert page.complaints == [] and page.requests == ["file:///tmp/report.html"]
"""
import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

# Real code of a key, as Chromium wants it.
CODES = {"ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "ArrowRight": 39, "Enter": 13, "Escape": 27, "Home": 36, "End": 35, "Tab": 9}


class Page:
    def __init__(self, profile, url, size=(1280, 1000), dark=False):
        self.profile, self.url, self.size, self.dark = Path(profile), url, size, dark
        self.complaints, self.requests, self.number, self.buffer = [], [], 0, b""

    def __enter__(self):
        self.profile.mkdir(parents=True, exist_ok=True)
        low, self.to = os.pipe()
        self.back, write = os.pipe()
        own, theirs = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (low, write))
        os.close(low)
        os.close(write)
        # Chromium's sandbox does not work for root in a container; a page that loads nothing needs none.
        argv = [shutil.which("chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
                "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--hide-scrollbars",
                "--force-color-profile=srgb", f"--user-data-dir={self.profile}", f"--window-size={self.size[0]},{self.size[1]}"]
        # Its sockets lie below TMPDIR, whose name pytest makes longer than a socket's may be.
        self.temporary = tempfile.mkdtemp(prefix="p11-")
        self.log = open(self.profile / "log", "wb")
        env = {**{k: v for k, v in os.environ.items() if not k.startswith(("LD_", "P11TRACE"))}, "HOME": str(self.profile),
               "TMPDIR": self.temporary}
        # The protocol is spoken on 3 and 4, which may be somebody's already: a shell puts the pipes there.
        self.process = subprocess.Popen(["bash", "-c", f'exec 3<&{own} 4>&{theirs} {own}<&- {theirs}>&-; exec "$@"', "bash", *argv],
                                        pass_fds=(own, theirs), env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        start_new_session=True)
        os.close(own)
        os.close(theirs)
        try:
            self.open_page()
        except BaseException:
            self.__exit__()  # nobody else would end the browser
            raise
        return self

    def open_page(self):
        target = self.ask("Target.createTarget", url="about:blank", session=None)["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True, session=None)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=self.size[0], height=self.size[1], deviceScaleFactor=1, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if self.dark else "light"}])
        self.ask("Page.navigate", url=self.url)
        self.wait("document.readyState == 'complete'")

    def __exit__(self, *_):
        try:
            self.send("Browser.close", {}, None)
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        for fd in (self.to, self.back):
            os.close(fd)
        self.log.close()
        shutil.rmtree(self.temporary, ignore_errors=True)

    # --- the protocol: JSON objects that end in a NUL ----------------------------------------------------------------
    def send(self, method, params, session):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data):]
        return self.number

    def receive(self, patience):
        end = time.monotonic() + patience
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.back], [], [], max(0, end - time.monotonic()))
            if not ready:
                return None
            data = os.read(self.back, 1 << 20)
            assert data, f"Chromium is gone: {(self.profile / 'log').read_bytes().decode(errors='replace')[-2000:]}"
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def ask(self, method, session="own", **params):
        number = self.send(method, params, self.session if session == "own" else session)
        while True:
            message = self.receive(60)
            assert message, f"no answer to {method}"
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.note(message)

    def note(self, message):
        """What a page says or asks for by itself."""
        method, params = message.get("method", ""), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"].get("exception", {}).get("description", str(params)))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {params['message']}")
            self.send("Page.handleJavaScriptDialog", {"accept": True}, self.session)

    # --- what a test does ----------------------------------------------------------------------------------------------
    def js(self, expression):
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, expression, patience=20):
        end = time.monotonic() + patience
        while not self.js(f"!!({expression})"):
            assert time.monotonic() < end, (f"not within {patience} s: {expression}", self.complaints)
            time.sleep(0.02)

    def key(self, *keys):
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            code = CODES.get(key, ord(key.upper()) if len(key) == 1 and key.isalnum() else 0)
            self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", key=key, text=text, windowsVirtualKeyCode=code)
            self.ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        self.ask("Input.insertText", text=text)

    def click(self, selector):
        """Where a user would click: in the middle of what is there, after scrolling to it."""
        x, y = self.js(f"""(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: "center"}});
            const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()""")
        self.click_at(x, y)

    def click_at(self, x, y):
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def media(self, **features):
        self.ask("Emulation.setEmulatedMedia", **features)

    def screenshot(self, path, height=None):
        clip = {"clip": {"x": 0, "y": 0, "width": self.size[0], "height": height, "scale": 1}} if height else {}
        Path(path).write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png", **clip)["data"]))

    def pdf(self, path):
        Path(path).write_bytes(base64.b64decode(self.ask("Page.printToPDF", printBackground=True)["data"]))
