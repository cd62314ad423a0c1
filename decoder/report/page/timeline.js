// The time line: scale, zoom and pointer; what is drawn in it is in lanes.js.

const view = {
  mode: "time",  // or "calls": each row takes the same width, however long nothing happened
  from: 0, to: 1, // what is to be seen, in the units of the mode
  left: 176, right: 14, width: 1000,
};

const starts = rows.map((r) => r.start);

// A few bursts with long pauses between are better seen call by call.
function chooseMode() {
  const gaps = starts.map((s, i) => (i ? s - starts[i - 1] : 0)).sort((a, b) => b - a).slice(0, Math.max(8, rows.length / 20));
  if (rows.length > 40 && gaps.reduce((a, b) => a + b, 0) > 0.7 * D.span) view.mode = "calls";
}

function extent() {
  if (view.mode === "calls") return [-0.5, Math.max(rows.length, 1)];
  const first = rows.length ? rows[0].start : 0, pad = Math.max((D.span - first) * 0.01, 1);
  return [Math.max(first - pad, -pad), D.span + pad];
}

// Index of the last row that begins at `t` or before, -1 none.
function rowBefore(t) {
  let low = -1, high = starts.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (starts[middle] <= t) low = middle;
    else high = middle - 1;
  }
  return low;
}

function unitOf(t) {
  if (view.mode === "time") return t;
  const i = rowBefore(t);
  if (i < 0) return -0.5;
  const next = i + 1 < starts.length ? starts[i + 1] : D.span, room = next - starts[i];
  return i + (room > 0 ? Math.min(1, (t - starts[i]) / room) : 0);
}

function xOfUnit(u) {
  return view.left + ((u - view.from) / (view.to - view.from)) * (view.width - view.left - view.right);
}

function xOf(t) {
  return xOfUnit(unitOf(t));
}

function unitAt(x) {
  return view.from + ((x - view.left) / (view.width - view.left - view.right)) * (view.to - view.from);
}

// [start, end] of a row on the page.
function rowSpan(r) {
  const u = view.mode === "calls" ? r.i : r.start;
  const x = xOfUnit(u);
  const end = view.mode === "calls" ? xOfUnit(r.i + 0.75) : xOf(r.start + Math.max(r.took, 0));
  return [x, Math.max(end, x + 2)];
}

function setView(from, to) {
  const [low, high] = extent(), least = view.mode === "calls" ? 4 : 2000;
  const width = Math.min(Math.max(to - from, least), high - low);
  view.from = Math.min(Math.max(from, low), high - width);
  view.to = view.from + width;
  drawTimeline();
}

function zoom(factor, around) {
  const middle = around === undefined ? (chosen.row ? unitOf(chosen.row.start) : (view.from + view.to) / 2) : around;
  const at = Math.min(Math.max((middle - view.from) / (view.to - view.from), 0), 1), width = (view.to - view.from) * factor;
  setView(middle - at * width, middle + (1 - at) * width);
}

function showAll() {
  setView(...extent());
}

function setMode(mode) {
  view.mode = mode;
  for (const b of document.querySelectorAll(".axis")) b.setAttribute("aria-pressed", String(b.dataset.mode === mode));
  showAll();
}

// What is selected stays in sight.
function bringIntoView(row) {
  const u = unitOf(row.start), width = view.to - view.from;
  if (u < view.from || u > view.to) setView(u - width / 2, u + width / 2);
  else drawTimeline();
}

// --- ticks -----------------------------------------------------------------------------------------------------------

function ticks() {
  const room = view.width - view.left - view.right, rough = ((view.to - view.from) / room) * 120;
  let step = Math.pow(10, Math.floor(Math.log10(rough)));
  for (const m of [1, 2, 5, 10]) {
    if (step * m < rough) continue;
    step *= m;
    break;
  }
  if (view.mode === "calls") step = Math.max(1, Math.round(step));
  const list = [];
  for (let u = Math.ceil(view.from / step) * step; u <= view.to; u += step) {
    if (view.mode === "time") list.push([u, tickTime(u, step)]);
    else if (rows[u]) list.push([u, "#" + rows[u].number + " " + tickTime(rows[u].start, 1e5)]);
  }
  return list;
}

function tickTime(ns, step) {
  const digits = Math.max(0, Math.min(6, 9 - Math.floor(Math.log10(step))));
  return "+" + (ns / 1e9).toFixed(digits) + " s";
}

// --- pointer --------------------------------------------------------------------------------------------------------

// The row of a thread's lane that is nearest to x, at most 12 pixels away. Proof goes before the rest where both are near.
function nearest(thread, x) {
  let best = null, least = 12;
  for (const r of rows) {
    if (!threadLane.has(r.thread) || threadLane.get(r.thread) !== thread) continue;
    const [a, b] = rowSpan(r), d = x < a ? a - x : x > b ? x - b : 0;
    const weighted = d - (r.flags & PROOF ? 1.5 : 0) - (r.flags & (LOGIN | FAILED) ? 1 : 0);
    if (weighted < least) [best, least] = [r, weighted];
  }
  return best;
}

function pointed(event) {
  const box = byId("timeline").getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function rowUnder(event) {
  const lane = event.target.closest && event.target.closest("[data-thread-lane]");
  return lane ? nearest(Number(lane.dataset.threadLane), pointed(event).x) : null;
}

function showTip(event) {
  const tip = byId("tip"), r = rowUnder(event);
  tip.hidden = !r;
  if (!r) return;
  tip.textContent = "#" + r.number + " " + seconds(r.start) + " " + r.name + (r.rv ? " = " + r.rv : "") +
    (r.count > 1 ? " ×" + r.count : "") + " · " + duration(r.took);
  const box = byId("time").getBoundingClientRect();
  tip.style.left = Math.min(event.clientX - box.left + 12, box.width - tip.offsetWidth - 8) + "px";
  tip.style.top = event.clientY - box.top + 16 + "px";
}

const drag = { from: null, moved: false };

function pointerDown(event) {
  const { x } = pointed(event);
  if (event.button || x < view.left) return;
  drag.from = x;
  drag.moved = false;
}

function pointerMove(event) {
  showTip(event);
  if (drag.from === null) return;
  const { x } = pointed(event), band = byId("drag-band");
  drag.moved = drag.moved || Math.abs(x - drag.from) > 5;
  if (!band || !drag.moved) return;
  band.setAttribute("x", Math.min(x, drag.from));
  band.setAttribute("width", Math.abs(x - drag.from));
}

function pointerUp(event) {
  if (drag.from === null) return;
  const { x } = pointed(event), from = drag.from;
  drag.from = null;
  if (drag.moved) {
    setView(unitAt(Math.min(x, from)), unitAt(Math.max(x, from)));
    return;
  }
  const row = rowUnder(event);
  if (row) chooseRow(row);
}

function startTimeline() {
  const box = byId("timeline");
  box.addEventListener("pointerdown", pointerDown);
  box.addEventListener("pointermove", pointerMove);
  box.addEventListener("pointerleave", () => { byId("tip").hidden = true; });
  window.addEventListener("pointerup", pointerUp);
  box.addEventListener("dblclick", showAll);
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    const by = event.deltaY || event.deltaX;
    if (event.ctrlKey) zoom(by > 0 ? 1.25 : 0.8, unitAt(pointed(event).x));
    else setView(view.from + Math.sign(by) * (view.to - view.from) * 0.1, view.to + Math.sign(by) * (view.to - view.from) * 0.1);
  }, { passive: false });
  byId("zoom-in").addEventListener("click", () => zoom(0.5));
  byId("zoom-out").addEventListener("click", () => zoom(2));
  byId("zoom-all").addEventListener("click", showAll);
  for (const b of document.querySelectorAll(".axis")) b.addEventListener("click", () => setMode(b.dataset.mode));
  on("row", () => chosen.row && bringIntoView(chosen.row));
  on("finding", () => drawTimeline());
  new ResizeObserver(() => {
    if (box.clientWidth && box.clientWidth !== view.width) drawTimeline();
  }).observe(box);
  chooseMode();
  setMode(view.mode);
}
