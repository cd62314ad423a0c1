// The findings, each with its evidence; a click selects its calls.

function evidenceLine(f, e, i) {
  const head = e.row ? "" : " (not among the calls that are shown)";
  const line = el("button", { type: "button", class: "evidence", "data-call": e.call, disabled: !e.row,
                              onclick: () => e.row && chooseRow(e.row) },
                  el("b", {}, i + 1 + "."), " " + e.text + head);
  return el("li", {}, line, e.detail ? el("p", { class: "quiet" }, e.detail) : "", e.idiom ? el("p", { class: "quiet" }, "here " + e.idiom) : "");
}

function said(label, text) {
  return text ? el("p", {}, el("b", {}, label + " "), text) : "";
}

function whose(f) {
  return { module: "the module", caller: "the application" }[f.fault] || f.fault;
}

function findingBody(f) {
  const times = f.count === 1 ? "once, " + seconds(f.first * 1e9)
    : counted(f.count, "time") + ", first " + seconds(f.first * 1e9) + ", last " + seconds(f.last * 1e9);
  return el("div", { class: "body" },
            el("ol", { class: "proofs" }, ...f.evidence.map((e, i) => evidenceLine(f, e, i))),
            said("Why NSS cares:", f.symptom), said("What to change:", f.advice), said("Possibly:", f.hint), said("Known of this module:", f.known),
            f.also.length ? said("Also:", f.also.join(", ")) : "",
            el("p", { class: "quiet" }, f.program + "[" + f.pid + "], " + fileName(f.module) + (f.serial ? ", serial " + f.serial : "") + " · " + times +
               (f.faq ? " · FAQ " + f.faq : "")),
            el("button", { type: "button", class: "only", onclick: () => toggleOnly() }, "Show only these calls"));
}

function findingCard(f) {
  const where = f.slot === null ? "" : " · slot " + f.slot + (f.token ? " “" + f.token + "”" : "");
  const head = el("button", { type: "button", class: "finding-head", "aria-expanded": "false", "data-finding": f.i, onclick: () => chooseFinding(chosen.finding === f.i ? -1 : f.i) },
                  el("span", { class: "number " + f.severity }, String(f.i + 1)),
                  el("span", { class: "what" }, el("span", { class: "sentence" }, f.sentence),
                     el("span", { class: "quiet" }, f.rule + " · " + f.severity + " of " + whose(f) + where + (f.count > 1 ? " · " + counted(f.count, "time") : ""))));
  return el("article", { class: "finding " + f.severity, "data-rule": f.rule }, head, findingBody(f));
}

function toggleOnly() {
  chosen.only = !chosen.only;
  tell("only");
}

function drawFindings() {
  const s = D.findings.summary, list = byId("finding-list");
  list.replaceChildren(...findings.map(findingCard));
  if (!findings.length)
    list.append(el("p", { class: "none" }, "p11trace check found nothing: " + counted(s.calls, "call") + " held against " + counted(s.rules, "rule") + "."));
}

function markFinding() {
  for (const head of document.querySelectorAll(".finding-head")) {
    const here = Number(head.dataset.finding) === chosen.finding;
    head.setAttribute("aria-expanded", String(here));
    head.closest("article").classList.toggle("here", here);
  }
}

function markEvidence() {
  for (const line of document.querySelectorAll(".finding.here .evidence"))
    line.toggleAttribute("aria-current", !!chosen.row && Number(line.dataset.call) === chosen.row.number);
}

function stepFinding(by) {
  const heads = [...document.querySelectorAll(".finding-head")], at = heads.indexOf(document.activeElement);
  const next = heads[Math.max(0, Math.min(heads.length - 1, at + by))];
  if (next) next.focus();
}

byId("finding-list").addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  event.preventDefault();
  stepFinding(event.key === "ArrowDown" ? 1 : -1);
});
on("finding", markFinding);
on("finding", markEvidence);
on("row", markEvidence);
