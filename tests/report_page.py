"""What `p11trace report` writes, as a file and as a page in Chromium."""
import base64
import hashlib
import json
import re

from devtools import Page

# As enum row_flag.
FAILED, PROOF, LOGIN, CHANGE = 1, 2, 4, 8
FIELDS = "number thread fn rv start took count span longest flags slot session text caller idiom left".split()


class Report:
    """The file: .text .data .rows (each a dict) .size"""

    def __init__(self, path):
        self.path, raw = path, path.read_bytes()
        self.size, self.text = len(raw), raw.decode("utf-8")
        (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', self.text, re.S)
        assert not re.search("[<>&\u2028\u2029]", block)
        self.data = json.loads(block)
        self.rows = [dict(zip(FIELDS, r, strict=True)) for r in self.data["rows"]]
        for r in self.rows:
            r["name"], r["text"] = self.data["functions"][r["fn"]], self.data["texts"][r["text"]]

    @property
    def numbers(self):
        return {r["number"] for r in self.rows}

    def accounts(self):
        """Every call is in a row or counted as left out."""
        totals = self.data["totals"]
        between = sum(r["left"] for r in self.rows) + totals["left_first"]
        assert between == totals["left_out"]
        return sum(r["count"] for r in self.rows) + totals["left_out"] == totals["calls"] + totals["probes"]

    def is_closed(self):
        """Nothing is fetched, and only our own style and script are allowed, by their hashes."""
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', self.text)
        rules = dict(r.strip().split(" ", 1) for r in policy.split(";"))
        style, script = re.search("<style>(.*?)</style>", self.text, re.S)[1], re.findall("<script>(.*?)</script>", self.text, re.S)[-1]
        hashed = {k: f"'sha256-{base64.b64encode(hashlib.sha256(v.encode()).digest()).decode()}'"
                  for k, v in (("style-src", style), ("script-src", script))}
        assert rules == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'", **hashed}
        outside = re.sub(r'<script type="application/json".*?</script>', "", self.text, flags=re.S)
        assert "innerHTML" not in outside and "eval(" not in outside and "insertAdjacent" not in outside
        assert set(re.findall(r"https?://[^\"'\s]+", outside)) <= {"http://www.w3.org/2000/svg"}
        return True


def make_report(run, build, out, *traces, status=0, **more):
    run(build / "p11trace", "report", "-o", out, *traces, status=status, **more)
    return Report(out)


class ReportPage(Page):
    """The page in Chromium, when its script has run."""

    def __enter__(self):
        super().__enter__()
        self.wait("document.documentElement.dataset.ready")
        return self

    def is_quiet(self):
        """No error, no warning, no request but the one for the page."""
        self.js("1")
        return (self.complaints, self.requests) == ([], [self.url])

    def texts(self, selector):
        return self.js(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)")

    def count(self, selector):
        return self.js(f"document.querySelectorAll({json.dumps(selector)}).length")

    def selected(self):
        """Numbers of the calls that the table shows as selected, and of the current one."""
        return (self.js('[...document.querySelectorAll("#table .row.selected")].map((e) => Number(e.dataset.call))'),
                self.js('(document.querySelector("#table .row.current") || {dataset: {}}).dataset.call'))
