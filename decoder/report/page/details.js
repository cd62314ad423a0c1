// One call in full, and the life lines of each slot as text.

function drawDetails() {
  const r = chosen.row, box = byId("details");
  box.replaceChildren();
  if (!r) {
    box.append(el("p", { class: "quiet" }, "Select a call to see all of it."));
    return;
  }
  const list = el("dl", {});
  const fact = (name, ...text) => { if (text.some((t) => t !== "")) list.append(el("dt", {}, name), el("dd", {}, ...text)); };
  const slot = r.slot < 0 ? "" : slotName(D.slots[r.slot]) + (r.session ? ", session " + r.session : "");
  fact("when", seconds(r.start) + (r.took >= 0 ? ", took " + duration(r.took) : r.flags & OPEN ? ", in flight at the end" : ""));
  if (r.count > 1) fact("folded", counted(r.count, "such call") + " until " + seconds(r.start + r.span) + ", the longest took " + duration(r.longest));
  fact("thread", processName(r.process) + " " + D.threads[r.thread].slice(1).join(" ").trim());
  fact("slot", slot);
  fact("caller", r.caller);
  fact("NSS", r.idiom.replace(/^NSS /, ""));
  fact("notes", [r.flags & PROBE ? "made by the recorder, not by the application" : "", r.flags & HEADLESS ? "its beginning was not recorded" : "", r.flags & UNWOUND ? "never returned: unwound" : ""].filter(Boolean).join(", "));
  if (r.findings.length)
    fact("evidence of", ...r.findings.map((i) => el("button", { type: "button", class: "link", onclick: () => chooseFinding(i) }, i + 1 + ". " + findings[i].rule + " ")));
  box.append(el("p", { class: "call" }, el("b", {}, "#" + r.number + " " + r.name), r.text + (r.rv ? " = " : ""), r.rv ? el("b", { class: r.flags & FAILED ? "bad" : "fine" }, r.rv) : ""), list);
  if (r.stack) box.append(el("details", {}, el("summary", {}, "call stack"), el("pre", {}, r.stack)));
}

function lifeLine(slot, line) {
  const row = findRow(slot.process, line.call), from = line.first * 1e9, until = line.last * 1e9;
  const parts = line.explained === false;
  const text = line.text + (until - from >= 1000 ? " until " + seconds(until) : "");
  const e = el("button", { type: "button", class: "life " + line.kind + (parts ? " parts" : ""), disabled: !row, "data-call": line.call, onclick: () => row && chooseRow(row) },
               el("span", { class: "c-number" }, "#" + line.call), el("span", { class: "c-time" }, seconds(from)), el("span", {}, text, parts ? el("b", { class: "bad" }, " ← no order of the calls explains it") : ""));
  const why = line.kind === "login" || line.kind === "logout" || line.kind === "pin" || parts ? [line.caller, line.idiom].filter(Boolean).join(": ") : "";
  return el("li", {}, e, why ? el("p", { class: "quiet" }, why) : "");
}

function drawLives() {
  const slots = D.slots.filter((s) => s.lines.length);
  byId("life-list").append(...slots.map((s, i) => el("details", { open: i < 1 || s.unexplained > 0 },
    el("summary", {}, el("b", {}, slotName(s)), " " + [processName(s.process), fileName(s.module), s.serial ? "serial " + s.serial : "", counted(s.prompts, "prompt"),
      s.unexplained ? counted(s.unexplained, "answer") + " unexplained" : "", s.lines_left ? counted(s.lines_left, "line") + " left out" : ""].filter(Boolean).join(" · ")),
    el("ol", { class: "lines" }, ...s.lines.map((line) => lifeLine(s, line))))));
  if (!slots.length) byId("life-list").append(el("p", { class: "quiet" }, "No session was opened."));
}

on("row", drawDetails);
