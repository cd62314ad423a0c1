"use strict";
// The data of the page, and what every part of it uses. Texts from the trace reach the document as textContent only.

const D = JSON.parse(document.getElementById("data").textContent);

// As enum row_flag.
const FAILED = 1, PROOF = 2, LOGIN = 4, CHANGE = 8, OPEN = 16, UNWOUND = 32, HEADLESS = 64, PROBE = 128;

const rows = D.rows.map((r, i) => {
  const [number, thread, fn, rv, start, took, count, span, longest, flags, slot, session, text, caller, idiom, left] = r;
  const words = (at) => (at < 0 ? "" : D.texts[at]);
  return {
    i, number, thread, start, took, count, span, longest, flags, slot, left,
    process: D.threads[thread][0], name: D.functions[fn], rv: words(rv), session: words(session), text: words(text),
    caller: words(caller), idiom: words(idiom), stack: "", findings: [],
  };
});
for (const [i, text] of D.stacks) rows[i].stack = D.texts[text];

const rowAt = new Map(rows.map((r) => [r.process + ":" + r.number, r]));

// A call that was folded into another is not found.
function findRow(process, number) {
  return rowAt.get(process + ":" + number) || null;
}

// The most severe first, then as they were seen.
const GRADES = { error: 0, warning: 1, info: 2 };
const findings = D.findings.findings.sort((a, b) => GRADES[a.severity] - GRADES[b.severity] || a.first - b.first);
findings.forEach((f, i) => {
  f.i = i;
  f.rows = [];
  for (const e of f.evidence) {
    const row = findRow(e.process, e.call);
    e.row = row;
    if (!row) continue;
    if (!f.rows.includes(row)) f.rows.push(row);
    if (!row.findings.includes(i)) row.findings.push(i);
  }
});

const many = {
  processes: D.processes.length > 1,
  threads: D.threads.length > 1,
  slots: new Set(D.slots.map((s) => s.slot)).size > 1,
};

// --- words ---------------------------------------------------------------------------------------------------------

function seconds(ns) {
  const s = Math.floor(ns / 1e9), us = Math.floor((ns % 1e9) / 1e3);
  return "+" + s + "." + String(us).padStart(6, "0");
}

function duration(ns) {
  if (ns < 0) return "";
  if (ns < 1e3) return ns + " ns";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]])
    if (ns >= size) return (ns / size >= 100 ? Math.round(ns / size) : (ns / size).toPrecision(3)) + " " + unit;
  return "";
}

function counted(n, one, several) {
  return n.toLocaleString("en") + " " + (n === 1 ? one : several || one + "s");
}

function processName(i) {
  const p = D.processes[i];
  return p ? (p.program || "process") + "[" + p.pid + "]" : "process";
}

// The main thread goes by the name of its process.
function threadName(i) {
  const [process, tid, name] = D.threads[i], p = D.processes[process] || {};
  const own = name && name !== p.program ? " " + name : "", main = many.processes && tid === p.pid;
  return ((many.processes ? processName(process) : "") + (main ? "" : " " + tid) + own).trim();
}

function slotName(s) {
  return "slot " + s.slot + (s.token ? " “" + s.token + "”" : "");
}

function fileName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

function loginName(state) {
  return { 0: "no session", 1: "logged out", 2: "user", 3: "logged out or user", 4: "security officer" }[state] || "unknown";
}

function loginClass(state) {
  return { 0: "nobody", 1: "public", 2: "user", 4: "so" }[state] || "unsure";
}

// --- elements -------------------------------------------------------------------------------------------------------

function put(e, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else e.setAttribute(name, value === true ? "" : value);
  }
  for (const c of children) if (c !== null && c !== undefined && c !== "") e.append(c);
  return e;
}

// el("p", {class: "x"}, "text", child): strings become text nodes.
function el(tag, attributes, ...children) {
  return put(document.createElement(tag), attributes, children);
}

function svg(tag, attributes, ...children) {
  return put(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function byId(id) {
  return document.getElementById(id);
}
