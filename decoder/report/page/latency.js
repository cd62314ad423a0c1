// Durations by function: figures, and a histogram whose bars are powers of two of nanoseconds.

const COLUMNS = [
  ["function", "Function", (l) => D.functions[l.function], (l) => D.functions[l.function]],
  ["count", "Calls", (l) => l.count.toLocaleString("en"), (l) => -l.count],
  ["errors", "Failed", (l) => (l.errors ? l.errors.toLocaleString("en") : ""), (l) => -l.errors],
  ["total", "Total", (l) => duration(l.total), (l) => -l.total],
  ["p50", "Median", (l) => duration(l.p50), (l) => -l.p50],
  ["p90", "90 %", (l) => duration(l.p90), (l) => -l.p90],
  ["p99", "99 %", (l) => duration(l.p99), (l) => -l.p99],
  ["max", "Longest", (l) => duration(l.max), (l) => -l.max],
];
const sorting = { by: COLUMNS[3] };

const powers = (function range() {
  const firsts = D.latency.map((l) => l.bars[0]), lasts = D.latency.map((l) => l.bars[0] + l.bars.length - 2);
  return [Math.min(...firsts, 10), Math.max(...lasts, 20)];
})();

function histogram(l) {
  const [low, high] = powers, w = 240, h = 22, step = w / (high - low + 1), most = Math.max(...l.bars.slice(1));
  const root = svg("svg", { width: w, height: h, viewBox: "0 0 " + w + " " + h, class: "histogram", role: "img",
                            "aria-label": "median " + duration(l.p50) + ", longest " + duration(l.max) });
  for (const [power, ] of [[10], [20], [30]])
    if (power > low && power <= high) root.append(svg("line", { x1: (power - low) * step, x2: (power - low) * step, y1: 0, y2: h, class: "tick" }));
  l.bars.slice(1).forEach((n, i) => {
    if (!n) return;
    const power = l.bars[0] + i, tall = Math.max(2, (Math.log(1 + n) / Math.log(1 + most)) * (h - 2));
    root.append(svg("rect", { x: (power - low) * step + 0.5, y: h - tall, width: Math.max(step - 1, 1), height: tall },
                    title(counted(n, "call") + " of " + duration(power === 5 ? 0 : 2 ** power) + " to " + duration(2 ** (power + 1)))));
  });
  return root;
}

function latencyRow(l) {
  const name = D.functions[l.function];
  return el("tr", { "data-function": name }, ...COLUMNS.map(([id, , text]) => id === "function"
    ? el("th", { scope: "row" }, el("button", { type: "button", class: "link", onclick: () => { setSearch(name + "("); byId("search").focus(); } }, name))
    : el("td", { class: id === "errors" && l.errors ? "bad" : "" }, text(l))), el("td", { class: "bars" }, histogram(l)));
}

function drawLatency() {
  const key = sorting.by[3];
  const list = [...D.latency].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
  const heads = COLUMNS.map((c) => el("th", { scope: "col", "aria-sort": c === sorting.by ? (c[0] === "function" ? "ascending" : "descending") : "none" },
    el("button", { type: "button", class: "link", onclick: () => { sorting.by = c; drawLatency(); } }, c[1])));
  byId("latency-table").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, ...heads, el("th", { scope: "col", class: "bars" }, "1 µs and 1 ms are marked"))), el("tbody", {}, ...list.map(latencyRow))));
}
