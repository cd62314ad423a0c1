// What is selected, and who wants to know: on(event, function), tell(event).

const chosen = {
  finding: -1,      // index in findings
  rows: new Set(),  // what the finding selects
  row: null,        // the call that is shown in full
  only: false,      // the table shows chosen.rows only
};

const listeners = {};

function on(event, listener) {
  (listeners[event] = listeners[event] || []).push(listener);
}

function tell(event) {
  for (const listener of listeners[event] || []) listener();
}

function chooseRow(row) {
  chosen.row = row;
  tell("row");
}

function chooseFinding(i) {
  chosen.finding = i;
  chosen.only = false;
  chosen.rows = new Set(i < 0 ? [] : findings[i].rows);
  tell("finding");
  if (i >= 0 && findings[i].rows.length) chooseRow(findings[i].rows[0]);
}

// The next (or previous) piece of evidence of the finding, round and round.
function stepEvidence(by) {
  const list = chosen.finding < 0 ? [] : findings[chosen.finding].rows;
  if (!list.length) return;
  const at = list.indexOf(chosen.row);
  chooseRow(list[(at + by + list.length) % list.length]);
}

function stepRow(by) {
  const at = chosen.row ? chosen.row.i + by : 0;
  if (rows.length) chooseRow(rows[Math.max(0, Math.min(rows.length - 1, at))]);
}
