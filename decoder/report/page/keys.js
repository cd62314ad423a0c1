// Keys of the whole page, printing, and the start.

function escape() {
  if (chosen.only) {
    toggleOnly();
  } else if (byId("search").value || table.filter !== FILTERS[0]) {
    setFilter(FILTERS[0]);
    setSearch("");
  } else {
    chosen.row = null;
    chooseFinding(-1);
    tell("row");
    drawTimeline();
  }
  if (document.activeElement === byId("search")) byId("table").focus();
}

function goTo(key) {
  const head = document.querySelector(".finding.here .finding-head") || document.querySelector(".finding-head");
  const target = { f: head, t: byId("timeline"), c: byId("table") }[key];
  if (target) target.focus();
}

function keyInTimeline(event) {
  const act = { ArrowRight: () => stepRow(1), ArrowLeft: () => stepRow(-1), Home: () => chooseRow(rows[0]), End: () => chooseRow(rows[rows.length - 1]),
                "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: showAll }[event.key];
  if (!act || !rows.length) return;
  event.preventDefault();
  act();
}

function keyAnywhere(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || byId("help").open) return;
  if (event.key === "Escape") {
    event.preventDefault();
    escape();
    return;
  }
  if (event.target === byId("search")) return;
  const act = { "/": () => { byId("search").focus(); byId("search").select(); }, "?": () => byId("help").showModal(), n: () => stepEvidence(1), p: () => stepEvidence(-1),
                f: () => goTo("f"), t: () => goTo("t"), c: () => goTo("c") }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

// On paper there is nothing to scroll: the calls that tell something, or all where they are few.
function preparePrint() {
  const most = 300, few = rows.length <= most, list = few ? rows : rows.filter((r) => r.flags & ~PROBE).slice(0, most);
  byId("printed").replaceChildren(
    el("h2", {}, few ? "Calls" : "Calls that are evidence, logins, failures and changes"), ...list.map((r) => rowElement(r, r.i)),
    el("p", {}, counted(list.length, "row") + " of " + rows.length + "; " + counted(D.totals.calls + D.totals.probes, "call") + " in all"));
}

byId("timeline").addEventListener("keydown", keyInTimeline);
document.addEventListener("keydown", keyAnywhere);
byId("help-button").addEventListener("click", () => byId("help").showModal());
window.addEventListener("beforeprint", preparePrint);
window.addEventListener("afterprint", () => byId("printed").replaceChildren());

drawSummary();
drawFindings();
drawLegend();
startTimeline();
startTable();
drawDetails();
drawLives();
drawLatency();
document.documentElement.dataset.ready = "1";
