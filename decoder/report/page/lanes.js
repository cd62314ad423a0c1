// What is drawn in the time line, from top to bottom: ticks, pins of the findings, slots with their login, threads.

const SLOTS_MOST = 12, THREADS_MOST = 16, TRACKS_MOST = 8;
const LANE = { ticks: 20, pins: 30, head: 22, band: 19, track: 5, thread: 26 };

// Slots with prompts where there are too many; without a line of life there is nothing to draw.
const slotsShown = D.slots.map((s, i) => Object.assign(s, { i })).filter((s) => s.lines.length)
  .sort((a, b) => b.unexplained - a.unexplained || b.prompts - a.prompts || a.i - b.i).slice(0, SLOTS_MOST)
  .sort((a, b) => a.process - b.process || b.prompts - a.prompts || a.i - b.i);

// When there is nothing more to be known of a slot.
function over(slot) {
  return (D.processes[slot.process] || { until: D.span }).until;
}

// thread -> lane; the last lane takes all threads beyond the most.
const threadLane = new Map();
(function lanesOfThreads() {
  const calls = new Map();
  for (const r of rows) calls.set(r.thread, (calls.get(r.thread) || 0) + r.count);
  [...calls.keys()].sort((a, b) => calls.get(b) - calls.get(a))
    .forEach((thread, i) => threadLane.set(thread, Math.min(i, THREADS_MOST - 1)));
})();

function title(text) {
  return svg("title", {}, text);
}

function label(y, text, more) {
  const most = Math.floor((view.left - 18) / 6.3);
  const e = svg("text", { x: 10, y, class: "label " + (more || "") }, text.length > most ? text.slice(0, most - 1) + "…" : text);
  if (text.length > most) e.append(title(text));
  return e;
}

function clip(x) {
  return Math.min(Math.max(x, view.left), view.width - view.right);
}

// Calls f(start, stop, band) for each band of a lane; `end` is when the last one stops.
function eachBand(lane, end, f) {
  lane.forEach((b, i) => f(b[0], i + 1 < lane.length ? lane[i + 1][0] : end, b));
}

function drawBands(g, texts, y, height, lane, end, name) {
  eachBand(lane, end, (start, stop, [, state, explained]) => {
    const a = clip(xOf(start)), b = clip(xOf(stop));
    if (b - a < 0.3 || state === 0) return;
    const text = name + ": " + loginName(state) + ", " + seconds(start) + " to " + seconds(stop) +
      (explained === false ? ". No order of the calls explains this answer" : "");
    const kind = loginClass(state);
    g.append(svg("rect", { x: a, y, width: Math.max(b - a, 1), height, rx: 2, class: "band " + kind, "data-state": loginName(state) }, title(text)));
    if (explained === false) g.append(svg("line", { x1: a, x2: a, y1: y - 1, y2: y + height + 1, class: "unexplained" }));
    if (b - a > 9 * loginName(state).length) texts.append(svg("text", { x: a + 6, y: y + height - 5, class: "in-band " + kind }, loginName(state)));
  });
}

// Where the module's answers and the calls part: from an answer that no order of the calls explains, until they agree again.
function partings(slot) {
  const edges = [...new Set([...slot.says, ...slot.by_calls].map((b) => b[0]))].sort((a, b) => a - b), list = [];
  const at = (lane, t) => lane.filter((b) => b[0] <= t).pop() || [t, 0];
  edges.forEach((t, i) => {
    const said = at(slot.says, t), state = at(slot.by_calls, t)[1], last = list[list.length - 1];
    if (!said[1] || !state || state & said[1]) return;
    const end = i + 1 < edges.length ? edges[i + 1] : over(slot);
    if (last && last.end === t) last.end = end;
    else if (said[2] === false) list.push({ start: t, end, number: said[3] });
  });
  return list;
}

function drawPartings(g, y, height, slot) {
  for (const part of partings(slot)) {
    const a = clip(xOf(part.start)), b = clip(xOf(part.end));
    if (b - a < 0.3) continue;
    const text = "From #" + part.number + " on the module's answers and what the calls did part";
    g.append(svg("rect", { x: a, y, width: Math.max(b - a, 2), height, class: "parting", rx: 3, "data-call": part.number }, title(text)));
  }
}

// Each prompt as a flag with its number on the band of the calls.
function drawPrompts(g, y, slot) {
  let last = -100;
  for (const line of slot.lines) {
    if (line.kind !== "login" || !line.prompt) continue;
    const x = xOf(line.first * 1e9), row = findRow(slot.process, line.call);
    if (x < view.left - 1 || x > view.width - view.right + 1) continue;
    const failed = line.rv !== "CKR_OK", crowded = x - last < 15 || line.prompt > 99;
    const mark = svg("g", { class: "prompt" + (failed ? " failed" : ""), "data-call": line.call },
                     svg("line", { x1: x, x2: x, y1: y + 6, y2: y + LANE.band }),
                     title("Prompt " + line.prompt + ": #" + line.call + " " + line.function + " = " + line.rv + ", " + seconds(line.first * 1e9)));
    if (!crowded) {
      mark.append(svg("circle", { cx: x, cy: y + 1, r: 7 }), svg("text", { x, y: y + 4.5, "text-anchor": "middle" }, String(line.prompt)));
      last = x;
    }
    if (row) mark.addEventListener("click", () => chooseRow(row));
    g.append(mark);
  }
}

// Sessions as thin lines, each in the first track that is free.
function drawSessions(g, y, slot) {
  const tracks = [], own = D.sessions.filter((s) => s[0] === slot.i).sort((a, b) => a[2] - b[2]);
  for (const [, handle, start, end, write, number] of own) {
    const until = end < 0 ? over(slot) : end;
    let track = tracks.findIndex((busy) => busy <= start);
    if (track < 0) track = tracks.push(0) - 1;
    tracks[track] = until;
    if (track >= TRACKS_MOST) continue;
    const a = clip(xOf(start)), b = clip(xOf(until));
    if (xOf(until) < view.left || xOf(start) > view.width - view.right) continue;
    const text = "session " + handle + (write ? ", read/write" : ", read only") + ", #" + number + " " + seconds(start) +
      (end < 0 ? ", open to the end" : " to " + seconds(end));
    g.append(svg("rect", { x: a, y: y + track * LANE.track, width: Math.max(b - a, 1.5), height: LANE.track - 1.5, class: "session" + (write ? " write" : "") }, title(text)));
  }
  return Math.min(tracks.length, TRACKS_MOST) * LANE.track;
}

function drawPresence(g, y, slot) {
  eachBand(slot.presence, over(slot), (start, end, [, there]) => {
    const a = clip(xOf(start)), b = clip(xOf(end));
    if (b - a < 0.3) return;
    const text = (there ? "token present" : "token gone") + ", " + seconds(start) + " to " + seconds(end);
    g.append(svg("rect", { x: a, y, width: b - a, height: 4, class: there ? "present" : "gone" }, title(text)));
  });
}

function drawSlot(root, y, slot) {
  const g = svg("g", { class: "slot", "data-slot": slot.slot });
  g.append(svg("line", { x1: 0, x2: view.width, y1: y, y2: y, class: "rule" }));
  const where = many.processes ? ", " + processName(slot.process) : "";
  g.append(svg("text", { x: 10, y: y + 15, class: "label head" }, slotName(slot)));
  g.append(svg("text", { x: view.width - view.right, y: y + 14, class: "label", "text-anchor": "end" },
               fileName(slot.module) + where + " · " + counted(slot.prompts, "prompt") +
               (slot.unexplained ? " · " + counted(slot.unexplained, "answer") + " unexplained" : "")));
  y += LANE.head + 4;
  g.append(label(y + 6, "token", "small"));
  drawPresence(g, y + 1, slot);
  y += 14;
  g.append(label(y + 13, "after the calls"));
  g.append(label(y + LANE.band + 17, "the module says"));
  const texts = svg("g", {});
  const afterCalls = svg("g", { "data-lane": "calls" }), says = svg("g", { "data-lane": "says" });
  drawBands(afterCalls, texts, y, LANE.band, slot.by_calls, over(slot), "After the calls");
  drawBands(says, texts, y + LANE.band + 4, LANE.band, slot.says, over(slot), "The module says");
  g.append(afterCalls, says);
  if (!slot.says.length) g.append(svg("text", { x: clip(xOf(slot.lines[0].first * 1e9)) + 6, y: y + 2 * LANE.band - 1, class: "label small" }, "C_GetSessionInfo was not called"));
  drawPartings(g, y - 2, 2 * LANE.band + 8, slot);
  g.append(texts);
  drawPrompts(g, y, slot);
  y += 2 * LANE.band + 9;
  const used = drawSessions(g, y, slot);
  if (used) g.append(label(y + 7, "sessions", "small"));
  root.append(g);
  return y + Math.max(used, 5) + 9;
}

// --- calls ---------------------------------------------------------------------------------------------------------------

function kindOf(r) {
  if (r.flags & (OPEN | UNWOUND)) return "open";
  if (r.flags & LOGIN) return "login";
  if (r.flags & FAILED) return "failed";
  return r.flags & PROBE ? "probe" : "plain";
}

function drawThreads(root, y) {
  const lanes = new Set(threadLane.values());
  root.append(svg("line", { x1: 0, x2: view.width, y1: y, y2: y, class: "rule" }));
  y += 6;
  for (let lane = 0; lane < lanes.size; lane++) {
    const own = [...threadLane].filter(([, l]) => l === lane).map(([thread]) => thread);
    const g = svg("g", { class: "thread", "data-thread-lane": lane });
    g.append(label(y + 14, own.length > 1 ? counted(own.length, "other thread") : "thread " + threadName(own[0])));
    g.append(svg("rect", { x: view.left, y, width: view.width - view.left - view.right, height: LANE.thread - 6, class: "lane" }));
    const paths = {}, chosenPath = [];
    for (const r of rows) {
      if (threadLane.get(r.thread) !== lane) continue;
      const [a, b] = rowSpan(r);
      if (b < view.left || a > view.width - view.right) continue;
      const x = clip(a), w = Math.max(clip(b) - x, 1.6), kind = kindOf(r), tall = kind === "plain" || kind === "probe" ? 4 : 0;
      (paths[kind] = paths[kind] || []).push("M" + x.toFixed(1) + " " + (y + tall) + "h" + w.toFixed(1) + "v" + (LANE.thread - 6 - 2 * tall) + "h-" + w.toFixed(1) + "z");
      if (r.count > 1 && r.span) {
        const end = clip(view.mode === "calls" ? b : xOf(r.start + r.span));
        if (end > x) (paths.folded = paths.folded || []).push("M" + x.toFixed(1) + " " + (y + LANE.thread - 9) + "H" + end.toFixed(1));
      }
      if (chosen.rows.has(r) || r === chosen.row)
        chosenPath.push(svg("rect", { x: x - 2.5, y: y - 3, width: w + 5, height: LANE.thread, rx: 3, class: r === chosen.row ? "chosen current" : "chosen", "data-call": r.number }));
    }
    for (const kind of ["folded", "plain", "probe", "failed", "login", "open"])
      if (paths[kind]) g.append(svg("path", { d: paths[kind].join(""), class: "calls " + kind }));
    g.append(...chosenPath);
    root.append(g);
    y += LANE.thread;
  }
  return y + 4;
}

// --- findings ------------------------------------------------------------------------------------------------------------

// A pin for each finding at its last evidence (beside the one before where that is taken), and a line down to each of the
// calls of the one that is selected.
function drawPins(root, y, bottom) {
  const g = svg("g", { class: "pins" });
  g.append(label(y + 15, "findings"));
  const inView = (x) => x >= view.left - 1 && x <= view.width - view.right + 1;
  const pins = findings.filter((f) => f.rows.length).map((f) => ({ f, x: rowSpan(f.rows[f.rows.length - 1])[0] + 1 })).sort((a, b) => a.x - b.x);
  let last = -100;
  for (const { f, x } of pins) {
    const here = f.i === chosen.finding, cx = Math.max(x, last + 15);
    if (here) for (const row of f.rows) {
      const to = rowSpan(row)[0] + 1;
      if (inView(to)) g.append(svg("line", { x1: to, x2: to, y1: y + 20, y2: bottom, class: "pin-line " + f.severity }));
    }
    if (!inView(x) || cx > view.width - 8) continue;
    last = cx;
    const pin = svg("g", { class: "pin " + f.severity + (here ? " here" : ""), "data-finding": f.i },
                    svg("path", { d: "M" + cx + " " + (y + 10) + "L" + x + " " + (y + 25) }), svg("circle", { cx, cy: y + 10, r: here ? 8 : 6.5 }),
                    svg("text", { x: cx, y: y + 13.5, "text-anchor": "middle" }, String(f.i + 1)), title(f.rule + ": " + f.sentence));
    pin.addEventListener("click", () => chooseFinding(f.i));
    g.append(pin);
  }
  root.append(g);
}

function drawTicks(root, bottom) {
  const g = svg("g", { class: "ticks" });
  for (const [u, text] of ticks()) {
    const x = xOfUnit(u);
    if (x < view.left || x > view.width - view.right) continue;
    g.append(svg("line", { x1: x, x2: x, y1: LANE.ticks - 4, y2: bottom }));
    if (x < view.width - 60) g.append(svg("text", { x: x + 3, y: LANE.ticks - 6 }, text));
  }
  root.append(g);
}

function hatches() {
  const line = (kind) => svg("pattern", { id: "hatch-" + kind, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
                             svg("rect", { width: 2, height: 6, class: "hatch-" + kind }));
  return svg("defs", {}, line("bad"), line("unsure"));
}

function drawTimeline() {
  const box = byId("timeline");
  view.width = Math.max(box.clientWidth, 480);
  const root = svg("svg", { width: view.width, role: "img", "aria-label": "Logins, sessions and calls over time" }, hatches());
  const back = svg("g", {}), front = svg("g", {});
  let y = LANE.ticks + (findings.length ? LANE.pins : 4);
  for (const slot of slotsShown) y = drawSlot(front, y, slot);
  y = drawThreads(front, y);
  drawTicks(back, y);
  if (findings.length) drawPins(front, LANE.ticks, y - 6);
  root.append(back, front, svg("rect", { id: "drag-band", y: LANE.ticks, height: y - LANE.ticks, width: 0 }));
  root.setAttribute("height", y);
  root.setAttribute("viewBox", "0 0 " + view.width + " " + y);
  box.replaceChildren(root);
}

function drawLegend() {
  const swatch = (kind, text) => el("span", { class: "key" }, el("i", { class: "swatch " + kind }), text);
  const used = new Set(slotsShown.flatMap((s) => [...s.by_calls, ...s.says].map((b) => loginClass(b[1]))));
  byId("legend").append(swatch("public", "logged out"), swatch("user", "user"), used.has("so") ? swatch("so", "security officer") : "",
                        used.has("unsure") ? swatch("unsure", "not known") : "", swatch("parting", "they part"), swatch("login", "login call"), swatch("failed", "failed call"));
  const left = D.slots.filter((s) => s.lines.length).length - slotsShown.length;
  if (left > 0) byId("legend").append(el("span", {}, counted(left, "more slot") + " below"));
}
