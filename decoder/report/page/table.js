// The table of calls. Only what is in sight is in the document: each row has the same height.

const ROW = 26;
const FILTERS = [
  ["all", "All", () => true],
  ["proof", "Evidence", (r) => r.flags & PROOF],
  ["login", "Logins", (r) => r.flags & LOGIN || (r.flags & CHANGE && r.name === "C_GetSessionInfo")],
  ["failed", "Failed", (r) => r.flags & (FAILED | OPEN | UNWOUND)],
];
const table = { words: [], filter: FILTERS[0], list: [], at: -1 };

function haystack(r) {
  if (!r.search)
    r.search = ("#" + r.number + " " + r.name + r.text + " = " + r.rv + " " + threadName(r.thread) + " " + r.session + " " + r.caller + " " + r.idiom).toLowerCase();
  return r.search;
}

// All words must be there; one with ! must not; #79 is that call.
function matches(r) {
  return table.words.every((w) => {
    if (/^#\d+$/.test(w)) return "#" + r.number === w;
    return w[0] === "!" && w.length > 1 ? !haystack(r).includes(w.slice(1)) : haystack(r).includes(w);
  });
}

// Rows, and between them how many calls are not shown: {left: n}.
function refill() {
  const whole = !table.words.length && table.filter === FILTERS[0] && !chosen.only;
  table.list = [];
  if (whole && D.totals.left_first) table.list.push({ left: D.totals.left_first, gap: true });
  let calls = 0;
  for (const r of rows) {
    if (chosen.only ? !chosen.rows.has(r) : !(table.filter[2](r) && matches(r))) continue;
    table.list.push(r);
    calls += r.count;
    if (whole && r.left) table.list.push({ left: r.left, gap: true });
  }
  note(calls, whole);
  table.at = chosen.row ? table.list.indexOf(chosen.row) : -1;
  byId("table").setAttribute("aria-rowcount", table.list.length);
  drawRows();
}

function note(calls, whole) {
  const t = D.totals, all = t.calls + t.probes;
  const shown = table.list.filter((r) => !r.gap).length;
  const parts = [whole ? counted(all, "call") + " in " + counted(shown, "row") : counted(shown, "row") + ", " + counted(calls, "call")];
  if (t.left_out) parts.push(counted(t.left_out, "call is", "calls are") + " not shown, only counted; none of them is evidence");
  if (chosen.only) parts.push("of the finding that is selected");
  byId("table-note").textContent = parts.join(" · ");
}

function rowElement(r, at) {
  if (r.gap) return el("div", { class: "row gap", role: "row" }, el("span", { role: "gridcell" }, "⋯ " + counted(r.left, "call") + " not shown"));
  const slot = r.slot < 0 ? "" : D.slots[r.slot].slot;
  const kind = ["row", kindOf(r), r.flags & PROOF ? "proof" : "", chosen.rows.has(r) ? "selected" : "", r === chosen.row ? "current" : ""].join(" ");
  const cell = (name, ...text) => el("span", { class: name, role: "gridcell" }, ...text);
  return el("div", { class: kind, role: "row", id: "row-" + r.i, "aria-selected": String(chosen.rows.has(r) || r === chosen.row), "aria-rowindex": at + 1, "data-call": r.number,
                     onclick: () => chooseRow(r) },
            cell("c-number", "#" + r.number), cell("c-time", seconds(r.start)),
            many.threads ? cell("c-thread", threadName(r.thread)) : "", many.slots ? cell("c-slot", String(slot)) : "",
            cell("c-call", r.findings.map((i) => el("i", { class: "badge " + findings[i].severity }, String(i + 1)))[0] || "", el("b", {}, r.name), r.count > 1 ? el("i", { class: "times" }, "×" + r.count.toLocaleString("en")) : "", el("span", { class: "arguments" }, r.text)),
            cell("c-rv", r.rv || (r.flags & OPEN ? "in flight" : "unwound")), cell("c-took", duration(r.took)));
}

function drawRows() {
  const box = byId("table"), inner = byId("table-rows");
  inner.style.height = table.list.length * ROW + "px";
  // After the list became shorter the rows that are still there keep the scroll bar where it was.
  const top = Math.min(box.scrollTop, Math.max(0, table.list.length * ROW - box.clientHeight));
  const from = Math.max(0, Math.floor(top / ROW) - 5), to = Math.min(table.list.length, from + Math.ceil(box.clientHeight / ROW) + 10);
  inner.replaceChildren(...table.list.slice(from, to).map((r, i) => {
    const e = rowElement(r, from + i);
    e.style.top = (from + i) * ROW + "px";
    return e;
  }));
  if (chosen.row) box.setAttribute("aria-activedescendant", "row-" + chosen.row.i);
  else box.removeAttribute("aria-activedescendant");
}

function showRow() {
  const box = byId("table");
  table.at = chosen.row ? table.list.indexOf(chosen.row) : -1;
  if (table.at >= 0) {
    const top = table.at * ROW;
    if (top < box.scrollTop || top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 3;
  }
  drawRows();
}

function moveInTable(by) {
  let at = table.at < 0 ? (by > 0 ? -1 : table.list.length) : table.at;
  at = Math.max(0, Math.min(table.list.length - 1, at + by));
  if (table.list[at] && table.list[at].gap) at += by > 0 ? 1 : -1;
  const r = table.list[at];
  if (r && !r.gap) chooseRow(r);
}

function setSearch(text) {
  byId("search").value = text;
  table.words = text.toLowerCase().split(/\s+/).filter(Boolean);
  chosen.only = false;
  refill();
}

function setFilter(filter) {
  table.filter = filter;
  chosen.only = false;
  for (const b of byId("filters").children) b.setAttribute("aria-pressed", String(b.dataset.filter === filter[0]));
  refill();
}

const STEPS = () => ({ ArrowDown: 1, ArrowUp: -1, PageDown: Math.floor(byId("table").clientHeight / ROW) - 1, PageUp: 1 - Math.floor(byId("table").clientHeight / ROW), Home: -1e9, End: 1e9 });

function startTable() {
  byId("filters").append(...FILTERS.map((f) => el("button", { type: "button", "data-filter": f[0], "aria-pressed": String(f === FILTERS[0]), onclick: () => setFilter(f) }, f[1])));
  byId("search").addEventListener("input", (event) => setSearch(event.target.value));
  byId("search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "ArrowDown") return;
    event.preventDefault();
    byId("table").focus();
    if (table.at < 0) moveInTable(1);
  });
  byId("table").addEventListener("scroll", drawRows);
  byId("table").addEventListener("keydown", (event) => {
    const by = STEPS()[event.key];
    if (by !== undefined) {
      event.preventDefault();
      moveInTable(by);
    } else if (event.key === "Enter" && chosen.row && chosen.row.findings.length) {
      chooseFinding(chosen.row.findings[0]);
    }
  });
  on("row", () => {
    if (chosen.row && !table.list.includes(chosen.row)) setFilter(FILTERS[0]), setSearch("");
    showRow();
  });
  on("finding", refill);
  on("only", refill);
  refill();
}
