"""p11trace report: the page of a login that never takes, opened in headless Chromium, and what a hostile trace makes of it."""
import json

import pytest

from check_story import RW, SERIAL, Story
from fault_matrix import CLIENTS
from nss import LABEL
from p11t_make import u
from report_page import FAILED, LOGIN, PROOF, Report, ReportPage, make_report
from story_calls import Calls

pytestmark = pytest.mark.nosan  # Chromium; the verb itself runs in the sanitized builds through test_reader_fuzz.py


@pytest.fixture(scope="module")
def stale(fault_stage, tmp_path_factory):
    """The report of certutil -K on a token that succeeds in C_Login and stays logged out."""
    stage = fault_stage("token")
    stage.broken("stale-state")
    CLIENTS["certutil -K"].run(stage)
    out = tmp_path_factory.mktemp("stale") / "report.html"
    p = stage.run(stage.build / "p11trace", "report", stage.traces, "-o", out)
    assert p.status == 0 and f"{out}: " in p.stdout.decode() and "1 finding" in p.stdout.decode()
    check = json.loads(stage.run(stage.build / "p11trace", "check", "--json", stage.traces).stdout)
    return Report(out), check["findings"]


@pytest.fixture
def browse(tmp_path):
    """browse(report, dark=False): the page, to be used with `with`."""
    return lambda report, **more: ReportPage(tmp_path / "chromium", report.path.as_uri(), **more)


# --- the stale state --------------------------------------------------------------------------------------------------------

def test_everything_that_proves_is_in_the_file(stale):
    report, findings = stale
    assert report.is_closed() and report.accounts()
    (finding,) = findings
    assert finding["rule"] == "NSS-LOGIN-09"
    proof = {e["call"] for e in finding["evidence"]}
    assert {r["number"] for r in report.rows if r["flags"] & PROOF} == proof
    assert [r["name"] for r in report.rows if r["flags"] & LOGIN] == ["C_Login"]
    assert sum(r["count"] for r in report.rows if r["flags"] & FAILED) == report.data["totals"]["errors"]


def test_the_login_band_the_finding_and_its_evidence_are_shown(stale, browse):
    report, (finding,) = stale
    with browse(report) as page:
        slot = '.slot[data-slot="1"]'
        assert page.texts(f"{slot} .head") == [f"slot 1 “{LABEL}”"]
        assert page.js(f"""[...document.querySelectorAll('{slot} [data-lane=calls] .band')].map((e) => e.dataset.state)""") == ["logged out", "user"]
        assert set(page.js(f"""[...document.querySelectorAll('{slot} [data-lane=says] .band')].map((e) => e.dataset.state)""")) == {"logged out"}
        assert page.js(f"document.querySelector('{slot} .parting').dataset.call") == str(finding["evidence"][-1]["call"])
        assert page.count(f"{slot} .prompt") == 1 and page.count(".pin.error") == 1
        (card,) = page.texts(".finding")
        assert finding["sentence"] in card and finding["rule"] in card and finding["advice"] in card
        assert page.texts(".finding .evidence") == [f"{i}. {e['text']}" for i, e in enumerate(finding["evidence"], 1)]
        assert page.is_quiet()


def test_a_click_on_the_finding_selects_its_calls(stale, browse):
    report, (finding,) = stale
    proof = [e["call"] for e in finding["evidence"]]
    with browse(report) as page:
        assert page.selected() == ([], None)
        page.click(".finding-head")
        page.js("byId('table').scrollTop = 1e6")
        page.wait("document.querySelectorAll('#table .row.selected').length")
        assert page.js("[...chosen.rows].map((r) => r.number)") == proof
        assert page.js('[...document.querySelectorAll("#timeline .chosen")].map((e) => Number(e.dataset.call))') == proof
        page.click(".finding .only")
        assert page.selected() == (proof, str(proof[0]))
        assert "C_Login" in page.texts("#details .call")[0]
        page.click(f'.evidence[data-call="{proof[-1]}"]')
        assert page.selected() == (proof, str(proof[-1])) and "C_GetSessionInfo" in page.texts("#details .call")[0]
        # A pin does the same, and a mark on the time line shows its call.
        page.key("Escape", "Escape")
        assert page.js("chosen.finding") == -1 and page.selected() == ([], None)
        page.click(".pin circle")
        assert page.js("chosen.finding") == 0
        login = next(r for r in report.rows if r["flags"] & LOGIN)
        x, y = page.js(f"""(() => {{ const r = rows.find((e) => e.number === {login["number"]}), b = document.querySelector(".thread .lane").getBoundingClientRect(),
            t = byId("timeline").getBoundingClientRect(); return [t.x + rowSpan(r)[0] + 1, b.y + b.height / 2]; }})()""")
        page.click_at(x, y)
        assert page.js("chosen.row.number") == login["number"]
        assert page.is_quiet()


def test_keys(stale, browse):
    report, (finding,) = stale
    proof = [e["call"] for e in finding["evidence"]]
    with browse(report) as page:
        focused = "document.activeElement.id || document.activeElement.className"
        page.key("/")
        assert page.js(focused) == "search" and page.js("document.activeElement.matches(':focus-visible')")
        page.type("C_FindObjects( !pulObjectCount=9")
        shown = page.js("table.list.map((r) => r.name)")
        assert shown and set(shown) == {"C_FindObjects"}
        page.key("Enter")
        assert page.js(focused) == "table" and page.js("chosen.row === table.list[0]")
        assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.key("ArrowDown")
        assert page.js("chosen.row === table.list[1]")
        page.key("End", "ArrowUp")
        assert page.js("table.at === table.list.length - 2")
        page.key("Escape")
        assert page.js("byId('search').value") == "" and page.js("table.list.length") == len(report.rows)
        page.key("f")
        assert page.js(focused) == "finding-head" and page.js("document.activeElement.matches(':focus-visible')")
        page.key("Enter")
        assert page.js("chosen.finding") == 0 and page.js("chosen.row.number") == proof[0]
        page.key("n")
        assert page.js("chosen.row.number") == proof[1]
        page.key("p")
        assert page.js("chosen.row.number") == proof[0]
        page.key("t")
        assert page.js(focused) == "timeline"
        page.key("ArrowRight")
        assert page.js("chosen.row.i") == page.js(f"findRow(0, {proof[0]}).i + 1")
        width = page.js("view.to - view.from")
        page.key("+", "+")
        assert page.js("view.to - view.from") == pytest.approx(width / 4, rel=0.01)
        page.key("0")
        assert page.js("view.to - view.from") == pytest.approx(width, rel=0.01)
        page.key("?")
        assert page.js("byId('help').open")
        page.key("Escape")
        assert not page.js("byId('help').open") and page.js("chosen.finding") == 0
        page.key("Escape")
        assert page.js("chosen.finding") == -1 and page.js("chosen.row") is None
        assert page.is_quiet()


def test_light_dark_and_paper(stale, browse, tmp_path):
    report, _ = stale
    back, colors = "getComputedStyle(document.body).backgroundColor", {}
    for dark in (False, True):
        with browse(report, dark=dark) as page:
            colors[dark] = page.js(back)
            page.click("#theme")
            assert page.js(back) != colors[dark]
            page.js("addEventListener('beforeprint', () => { window.onPaper = byId('printed').querySelectorAll('.row').length; }), 0")
            page.pdf(tmp_path / "page.pdf")
            assert page.js("window.onPaper") == len(report.rows) and page.count("#printed .row") == 0
            page.media(media="print")
            assert page.js(back) == "rgb(255, 255, 255)"
            assert page.js("getComputedStyle(document.querySelector('.finding .body')).display") == "block"
            assert page.is_quiet()
    assert colors[False] != colors[True] and (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_durations(stale, browse):
    report, _ = stale
    with browse(report) as page:
        assert page.count("#latency tbody tr") == len(report.data["latency"]) == len({r["name"] for r in report.rows})
        assert sum(l["count"] for l in report.data["latency"]) == report.data["totals"]["calls"]
        assert all(sum(l["bars"][1:]) == l["count"] for l in report.data["latency"])
        page.click('tr[data-function="C_Login"] button')
        assert page.js("table.list.map((r) => r.name)") == ["C_Login"]


# --- lanes --------------------------------------------------------------------------------------------------------------------

def test_lanes_of_slots_sessions_threads_and_processes(build, run, tmp_path, browse):
    traces = tmp_path / "traces"
    traces.mkdir()
    for pid in (4711, 4712):
        t = Story(pid=pid, trace_id=bytes([pid & 255]) * 16)
        t.initialize()
        t.call("slot_info")
        t.call("token_info", label="Card")
        t.open(1, flags=RW | SERIAL)
        t.open(2, tid=101)
        t.call("login", 1, user=0)
        t.call("session_info", 1, state=4)
        t.call("logout", 1)
        t.call("login", 1, user=1, tid=101)
        t.call("slot_info", flags=2)
        if pid == 4712:
            t.begin("session_info", 1)
        t.wait(1)
        t.write(traces / f"{pid}.p11t")
    report = make_report(run, build, tmp_path / "out.html", traces)
    assert report.accounts()
    with browse(report) as page:
        assert page.count(".slot") == 2 and page.count(".thread") == 4
        for process in (0, 1):
            states = f"[...document.querySelectorAll('.slot')][{process}].querySelectorAll('%s')"
            named = lambda lane: page.js(f"[...{states % lane}].map((e) => e.dataset.state)")  # noqa: E731
            assert named("[data-lane=calls] .band") == ["logged out", "security officer", "logged out", "user"]
            assert named("[data-lane=says] .band") == ["security officer"]
            assert page.js(f"({states % '.present'}).length") == page.js(f"({states % '.gone'}).length") == 1
            assert page.js(f"({states % '.session'}).length") == 2 and page.js(f"({states % '.session.write'}).length") == 1
        assert [text.split(" ")[1] for text in page.texts(".thread .label")].count("client[4712]") == 2
        page.click('button[data-filter="failed"]')
        assert page.js("table.list.map((r) => [r.name, r.rv])") == [["C_GetSessionInfo", ""]]
        assert page.texts("#table .row.open .c-rv") == ["in flight"]
        page.key("c", "ArrowDown")
        assert "in flight at the end" in page.texts("#details")[0]
        assert page.is_quiet()


# --- what others write into a trace ------------------------------------------------------------------------------------------

BREAK = "</script><script>boom()</script>"
IMAGE = "\"'><img src=x onerror=boom()>"
COMMENT = "<!--<script>\u2028${boom()}&lt;b&gt;"
BYTES = b"\xff\xfe\x00\x1b[31m\x9b<b>\xe2\x80\xae"


class Hostile(Story):
    functions = {**Story.functions, "C_" + IMAGE: ((7, BREAK, 0, 0),)}

    def thread(self, tid, name=None):
        super().thread(tid, [IMAGE, BREAK, BYTES][tid % 3])

    def _evil(self, session, rv=0x80000000 | 0x3C):
        return "C_" + IMAGE, u(session), b""


def hostile():
    t = Hostile(module="/lib/" + BREAK + ".so", program=IMAGE)
    t.initialize()
    t.call("slot_info")
    t.call("token_info", label=BREAK, serial=IMAGE[:16], maker=COMMENT[:20])
    t.call("slot_info", slot=6)
    t.call("token_info", slot=6, label=BYTES.replace(b"\0", b""))
    t.open(1)
    t.open(2, slot=6, tid=101)
    t.call("session_info", 1, tid=102)
    t.call("login", 1)
    t.call("session_info", 1, state=0)
    t.call("attributes", 1, 7, (3, 64, len(BREAK), BREAK.encode()), (3, 64, len(BYTES), BYTES))
    t.call("set_label", 1, 7, COMMENT.encode())
    t.call("evil", 1)
    t.call("logout", 1)
    t.call("session_info", 2, state=1, tid=101)
    return t


def test_a_hostile_trace_is_text(build, run, tmp_path, browse):
    report = make_report(run, build, tmp_path / "out.html", hostile().write(tmp_path / "x.p11t"))
    assert report.is_closed() and report.accounts()
    assert "\x1b" not in report.text and "\x00" not in report.text and "\u202e" not in json.dumps(report.data, ensure_ascii=False)
    assert report.data["findings"]["findings"], "nothing to show with hostile texts in it"
    with browse(report) as page:
        for head in range(page.count(".finding-head")):
            page.js(f"chooseFinding({head})")
        page.js("for (const r of rows) chooseRow(r)")
        page.js("preparePrint()")
        assert page.js("typeof boom") == "undefined"
        assert page.js("document.scripts.length") == 2 and page.count("img, iframe, object, embed, b b") == 0
        text = page.js("document.querySelector('header').textContent + document.querySelector('main').textContent")
        heads = page.texts(".slot .head")
        assert f"slot 5 “{BREAK}”" in heads and any("\\xff\\xfe\\x1b[31m" in head for head in heads)
        for shown in (IMAGE, f"C_{IMAGE}(", BREAK + "=0x1", "${boom()}&lt;", "\\xff\\xfe\\x00\\x1b[31m"):
            assert shown in text, shown
        assert IMAGE in page.js("document.title")
        page.key("/")
        page.type(BREAK)
        assert page.js("table.list.length") >= 1
        assert page.is_quiet()


# --- size ----------------------------------------------------------------------------------------------------------------------

class Long(Calls):
    """A story in frames of some thousand records."""

    def flush(self):
        common, self.records = self.records, self.threads.pop(100)
        self.frame(slot=1)
        self.records = common


CALLS = 100_000


@pytest.fixture(scope="module")
def long_trace(tmp_path_factory):
    """100,000 calls: of a fourth each the same, reads of different objects, failures all different, logins and logouts."""
    t = Long().start(1, flags=SERIAL | RW)
    done = 4
    while done < CALLS:
        i = done
        t.do("C_GenerateRandom", 1, pRandomData=bytes(8))
        t.call("attributes", 1, i, (3, 64, 40, b"%020d%020d" % (i, i * i)))
        t.call("attributes", 1, i, (3, 64, None, None), rv=0x12)
        t.call("login", 1) if i % 8 < 4 else t.call("logout", 1)
        done += 4
        if i % 3000 < 4:
            t.flush()
    return t.write(tmp_path_factory.mktemp("long") / "long.p11t")


def test_a_hundred_thousand_calls_fit(build, run, tmp_path, browse, long_trace):
    report = make_report(run, build, tmp_path / "out.html", long_trace)
    assert report.data["totals"]["calls"] == CALLS and report.accounts()
    assert report.size < 2 * 1024 * 1024
    assert report.data["totals"]["left_out"] > 0
    proof = {e["call"] for f in report.data["findings"]["findings"] for e in f["evidence"]}
    assert proof <= report.numbers
    with browse(report) as page:
        page.js("setMode('time')")
        page.wait("document.querySelector('#timeline .band.user')")
        assert f"{report.data['totals']['left_out']:,} calls are not shown" in page.texts("#table-note")[0]
        page.js("byId('table').scrollTop = 1e9")
        page.wait("document.querySelectorAll('#table .row').length > 5")
        assert page.count("#table .row") < 60, "all rows are in the document"
        assert page.is_quiet()


def test_what_is_the_same_is_folded(build, run, tmp_path):
    t = Long().start(1)
    for i in range(3000):
        t.call("slot_info")
        t.call("session_info", 1)
        t.wait(1)
        if i == 1500:
            t.call("session_info", 1, state=1)
            t.call("slot_info", rv=0x30)
        if not i % 1000:
            t.flush()
    report = make_report(run, build, tmp_path / "out.html", t.write(tmp_path / "x.p11t"))
    assert report.accounts() and report.data["totals"]["left_out"] == 0 and len(report.rows) < 20
    polls = [r for r in report.rows if r["name"] == "C_GetSessionInfo" and r["count"] > 1]
    # Three answers begin something new and one is evidence: these stand alone.
    assert [r["count"] for r in polls] == [1499, 1498] and polls[0]["span"] >= 1498 * 10**9
    assert sum(r["count"] for r in report.rows if r["name"] == "C_GetSessionInfo") == 3001
    assert [r["count"] for r in report.rows if r["flags"] & FAILED] == [1]


# --- from the outside ------------------------------------------------------------------------------------------------------------

def small(tmp_path):
    t = Story()
    t.initialize()
    t.call("slot_info")
    t.call("token_info", label="Card")
    t.open(1)
    t.call("login", 1)
    t.call("session_info", 1, state=1)
    return t.write(tmp_path / "x.p11t")


def test_standard_input_and_output(build, run, tmp_path):
    path = small(tmp_path)
    named = make_report(run, build, tmp_path / "a.html", path)
    p = run(build / "p11trace", "report", "-", "-o", "-", input=path.read_bytes(), text=False)
    (tmp_path / "b.html").write_bytes(p.stdout)
    assert Report(tmp_path / "b.html").data == named.data
    with open(path, "rb") as stdin:
        p = run(build / "p11trace", "report", "-", "-q", "-o", tmp_path / "c.html", stdin=stdin)
    assert p.stdout == "" and Report(tmp_path / "c.html").data == named.data


def test_a_module_that_works(build, run, tmp_path, browse):
    report = make_report(run, build, tmp_path / "out.html", small(tmp_path))
    with browse(report) as page:
        assert page.texts("#finding-list") == [f"p11trace check found nothing: 6 calls held against {report.data['findings']['summary']['rules']} rules."]
        assert page.is_quiet()


def test_nothing_was_called(build, run, tmp_path, browse):
    t = Story()
    report = make_report(run, build, tmp_path / "out.html", t.write(tmp_path / "x.p11t"))
    with browse(report) as page:
        assert page.texts("#life-list") == ["No session was opened."]
        page.key("t", "ArrowRight", "c", "ArrowDown", "Enter", "n")
        assert page.is_quiet()


def test_what_cannot_be_done(build, run, tmp_path):
    path = small(tmp_path)
    for arguments, word in (((tmp_path / "none.p11t",), "none.p11t"), ((), "which trace"), ((path, "-o", "/no/such/folder/x.html"), "/no/such/folder/x.html"),
                            ((path, "--profile", "none-such"), "none-such")):
        p = run(build / "p11trace", "report", *arguments, status=2)
        assert word in p.stderr and p.stdout == ""
    whole = path.read_bytes()
    (tmp_path / "cut.p11t").write_bytes(whole[:-300] + bytes(200) + whole[-100:])
    report = make_report(run, build, tmp_path / "out.html", tmp_path / "cut.p11t", status=2)
    assert report.data["processes"][0]["damage"]
