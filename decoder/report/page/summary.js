// The head of the page: who was traced, how it ended, the figures.

function tile(value, label, kind) {
  return el("div", { class: "tile " + (kind || "") }, el("b", {}, value.toLocaleString("en")), el("span", {}, label));
}

function ending(p) {
  const words = { complete: "trace complete", recording: "still recording", ended: "ended without closing",
                  died: "ended inside " + (p.inside || "a call"), cut: "trace damaged", empty: "nothing recorded" };
  return (words[p.verdict] || p.verdict) + (p.signal ? ", signal " + p.signal : "");
}

function processLine(p) {
  const modules = p.modules.map(fileName).join(", ");
  return el("p", { class: "process" }, el("b", {}, (p.program || "process") + "[" + p.pid + "]"),
            modules ? " calls " + modules : "", " · " + ending(p), p.dropped ? " · " + counted(p.dropped, "record") + " lost" : "",
            " · " + p.started.replace("T", " ").slice(0, 19), p.damage ? el("span", { class: "bad" }, " " + p.damage) : "");
}

function drawSummary() {
  const s = D.findings.summary, t = D.totals;
  const prompts = D.slots.reduce((sum, slot) => sum + slot.prompts, 0);
  const parts = D.slots.reduce((sum, slot) => sum + slot.unexplained, 0);
  const shown = D.processes.slice(0, 3).map(processLine);
  if (D.processes.length > 3)
    shown.push(el("details", {}, el("summary", {}, counted(t.processes - 3, "more process", "more processes")),
                  ...D.processes.slice(3).map(processLine)));
  byId("who").append(...shown);
  byId("tiles").append(
    tile(s.errors, s.errors === 1 ? "error" : "errors", s.errors ? "error" : "good"),
    tile(s.warnings, s.warnings === 1 ? "warning" : "warnings", s.warnings ? "warning" : ""),
    tile(prompts, prompts === 1 ? "PIN prompt" : "PIN prompts", prompts > 1 ? "login" : ""),
    tile(parts, "login answers unexplained", parts ? "error" : ""),
    tile(t.calls, "calls"),
    tile(t.errors, "failed"),
    tile(duration(D.span), "traced"));
  byId("made").textContent = "p11trace " + D.version;
}

function nextTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

byId("theme").addEventListener("click", nextTheme);
