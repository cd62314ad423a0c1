"""`p11trace follow` in the background, for tests."""
import re
import subprocess
import threading
import time
from pathlib import Path


class Follower:
    """p11trace follow in the background; its lines with the time at which each came."""

    def __init__(self, lab, *arguments):
        self.process = subprocess.Popen([str(lab.build / "p11trace"), "follow", *map(str, arguments)], env=lab.env, cwd=lab.tmp,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.errors = [], ""
        self.reader = threading.Thread(target=self._read)
        self.complainer = threading.Thread(target=self._complain)
        self.reader.start()
        self.complainer.start()
        self._looks()

    def _looks(self):
        """Returns when it has seen what is there: it sleeps between two looks, and nowhere else."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < deadline:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            if int(re.search(r"^voluntary_ctxt_switches:\s(\d+)", status, re.M)[1]) >= 5:
                return
            time.sleep(0.01)

    def _read(self):
        for line in self.process.stdout:
            self.lines.append((time.time(), line))

    def _complain(self):
        self.errors = self.process.stderr.read()

    def end(self, status=0, timeout=60):
        try:
            got = self.process.wait(timeout)
            assert status is None or got == status
        finally:
            self.process.kill()
            self.reader.join()
            self.complainer.join()
            self.process.stdout.close()
            self.process.stderr.close()
        return "".join(line for _, line in self.lines)

    def wait_for(self, count, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.lines) < count:
            assert self.process.poll() is None and time.monotonic() < deadline, (len(self.lines), self.errors)
            time.sleep(0.01)
