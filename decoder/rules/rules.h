/* Rules: what NSS and the standard expect of a module, observed in traces. How to add one: README.md. */
#ifndef RULES_H
#define RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "decoder/model/model.h"

enum severity { SEVERITY_INFO = 1, SEVERITY_WARNING, SEVERITY_ERROR };
enum fault { FAULT_MODULE = 1, FAULT_CALLER, FAULT_BOTH }; /* BOTH: of a rule, never of a finding */
/* How a trace comes to show it: rules.def. */
enum see { SEE_NSS = 1, SEE_CALL, SEE_PROBE, SEE_DEVICE, SEE_VALUES };

/* What a rule listens to, beside the numbers of functions (enum p11_function): their completed calls. */
enum {
  ON_END = -1,        /* ends the list */
  ON_SESSIONS = 1000, /* completed calls of every function with a session handle */
  ON_ALL,             /* completed calls of every function */
  ON_PROBES,          /* with the functions named: also the calls that the recorder made itself (check->probe) */
  ON_UNFINISHED,      /* with the functions named: also calls that never returned (see call->state) */
  ON_CHILD, /* with the functions named: also in a fork's child that has not called C_Initialize itself (guard G4) */
  ON_START, /* with the functions named: also the start of each call (check->starting) */
  ON_STATE, /* login states that C_GetSessionInfo reported, when all calls that overlap them are over: check->seen */
  ON_ANSWER, /* answers of C_Login, C_LoginUser and C_Logout that no order of the overlapping calls explains: check->seen */
  ON_LIST,   /* function lists and interfaces that were handed out: check->event->list; call NULL */
  ON_MARKER, /* markers: check->event->marker; call NULL; place.module is each module of the process in turn */
  ON_CLOSE   /* a module was unloaded, or the trace of its process is over: place.module; call NULL */
};
#define RULE_ON_MAX 40

struct check;
struct suspects;
/* `call` is NULL where there is none (ON_STATE, ON_ANSWER, ON_LIST, ON_MARKER, ON_CLOSE). */
typedef void rule_function(struct check *check, const struct call *call);

struct rule {
  const char *id; /* "NSS-LOGIN-09" */
  rule_function *function;
  enum severity severity; /* the highest that it reports */
  enum fault fault;
  const char *faq; /* "Q10", "" when it stands in the standard only */
  bool core;
  enum see see;
  int on[RULE_ON_MAX];
  const char *statement, *quote, *source, *observed, *symptom, *advice;
};

enum rule_number {
#define RULE(id, name, ...) RULE_##name,
#include "decoder/rules/rules.def"
#undef RULE
  RULE_COUNT
};
extern const struct rule rules[RULE_COUNT];

/* Each in a file of its group's folder; called for completed calls of the functions that the rule listens to, before the
 * model takes the call in. */
#define RULE(id, name, ...) rule_function rule_##name;
#include "decoder/rules/rules.def"
#undef RULE

/* The rule of that id, or NULL. */
const struct rule *rule_by_id(const char *id);

/* The cause of what a rule saw. Of the rules that see one cause in one call the first in precedence.def reports, the others
 * are named with it. */
enum cause {
  CAUSE_NONE,
  CAUSE_PUBLIC,        /* the token seems logged out, and nobody logged it out */
  CAUSE_USER,          /* it seems logged in, and nobody logged in */
  CAUSE_NOT_LOGGED_IN, /* CKR_USER_NOT_LOGGED_IN where the user is logged in */
  CAUSE_DEAD_SESSION,  /* a session handle that should be good is not, or the reverse */
  CAUSE_DEAD_OBJECT,   /* an object handle that should be good is not, or the reverse */
  CAUSE_ACTIVE,        /* CKR_OPERATION_ACTIVE */
  CAUSE_MISSING,       /* an object that exists is not found */
  CAUSE_ATTRIBUTES,    /* a template is answered wrongly */
  CAUSE_LENGTH,        /* an output length is wrong */
  CAUSE_CODE           /* a return code is odd: whatever else was found in this call explains it */
};

/* One line of evidence. */
struct evidence {
  struct note note;
  char *detail; /* what is to be seen in it, or NULL */
};
#define EVIDENCE_MAX 8

struct finding {
  const struct rule *rule;
  enum severity severity;
  enum fault fault;
  uint64_t key;                                          /* of everything by which findings are told apart */
  char *module, *module_path, *program, *token, *serial; /* owned; "" when not known */
  bool has_slot;
  uint64_t slot;
  uint32_t pid;
  char *sentence, *hint; /* hint: NULL or a possible external cause */
  const char *known;     /* what the module is known for (profile.h), NULL */
  struct evidence evidence[EVIDENCE_MAX];
  unsigned evidences;
  uint64_t count;
  uint64_t first, last; /* ns since the origin of times */
  uint32_t last_pid;    /* pid is that of the first time */
  uint64_t last_time;
  unsigned processes;       /* in how many it was seen */
  unsigned last_process;    /* index + 1 of the last one */
  uint8_t also[RULE_COUNT]; /* rules that saw the same cause */
};

/* What a rule function sees: the call, and what was known before it. Never NULL: event, place.process, place.module. */
struct check {
  const struct event *event;
  const struct call *call;
  struct model_place place;
  struct checker *checker;
  const struct rule *rule;              /* the one that is running */
  const struct model_observation *seen; /* ON_STATE, ON_ANSWER, else NULL */
  const struct suspects
      *why;      /* with `seen`: what may explain it (decoder/check/suspects.h); NULL when nothing has to */
  bool probe;    /* the recorder made the call: evidence against the module only */
  bool starting; /* ON_START: `call` has no answer yet */
};

/* Begins a finding, or counts one more of the same. Findings are the same when rule, fault, path of the module, slot id and
 * `key` are, in whatever process; `key` is the rule's own: a field, a label, a function.
 * Returns NULL when nothing has to be added: it was seen before at least as severely, or a rule that goes before it has
 * reported the same cause. Otherwise the caller adds evidence. The text is the sentence of the finding. */
struct finding *finding_report(struct check *check, enum severity severity, uint64_t key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* What differs from finding_report()'s defaults. */
struct finding_options {
  enum fault fault; /* 0: the rule's */
  enum cause cause;
  bool same;               /* raises the severity of what was counted already */
  bool no_slot;            /* a matter of the module, not of the call's slot */
  struct model_slot *slot; /* not the slot of the call */
};
struct finding *finding_report_as(struct check *check, const struct finding_options *options, enum severity severity,
                                  uint64_t key, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Has another rule reported that cause in this call? */
bool finding_explained(const struct check *check, enum cause cause);

/* Adds evidence: a note that was kept, or the call that is being looked at (ON_STATE: that C_GetSessionInfo). Detail may be
 * NULL. Does nothing when finding is NULL or the note is empty. */
void finding_note(struct finding *finding, const struct note *note, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void finding_call(struct finding *finding, struct check *check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The call that is being looked at, and who made it: for findings of the caller's side. */
void finding_caller(struct finding *finding, struct check *check);
/* A possible external cause. */
void finding_hint(struct finding *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* That a proxy may have answered for the module, if it is one (guard G7). */
void finding_hint_proxy(struct finding *finding, const struct check *check);
/* Does the rule's advice fit? It is for the side that the rule is about, of both sides the module. */
bool finding_advised(const struct finding *finding);
/* Another sentence for the finding with that key, as more of the same was seen. */
void finding_say(struct check *check, uint64_t key, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The last successful login of the user on that token, which is in that slot now, in any process of the set before now;
 * NULL none. */
const struct note *checker_login(struct check *check, const struct model_slot *slot, const struct model_token *token);

/* Where a rule keeps what it must remember beyond the end of a process: kept_make(checker_kept(check), &type). */
struct kept **checker_kept(struct check *check);
/* A key for what is known of a token in whatever process: its module and serial number; 0 when it has none. */
uint64_t checker_token(const struct model_slot *slot);

/* The last call by which another process than `slot`'s used the token in it before now: C_OpenSession, C_Login, C_Logout ...;
 * NULL none. */
const struct note *checker_other(struct check *check, const struct model_slot *slot);

/* --- the engine --------------------------------------------------------------------------------- */

/* `only`: ids of the rules to run, none for all; each must exist. `origin`: ns, what times are shown from. */
struct checker *checker_new(const char *const *only, size_t count, uint64_t origin);
/* Takes one event of trace_next() in. */
void checker_event(struct checker *checker, const struct event *event);
/* Findings, the most severe first, then by module, rule and first call. */
size_t checker_findings(struct checker *checker, struct finding *const **list);
uint64_t checker_calls(const struct checker *checker);
unsigned checker_rules(const struct checker *checker);
/* Is the rule among those that are checked? */
bool checker_runs(const struct checker *checker, const struct rule *rule);
/* How many findings were not kept because a rule had too many different ones. */
uint64_t checker_not_kept(const struct checker *checker);
void checker_free(struct checker *checker);

/* Internal: what findings.c keeps. */
struct findings {
  struct table by_key;
  struct finding **list;
  size_t count, room;
  unsigned per_rule[RULE_COUNT];
  uint64_t not_kept;
  /* what was reported in the call that is being looked at */
  struct {
    enum cause cause;
    struct finding *finding;
  } cause[8];
  unsigned causes;
};
void findings_clear(struct findings *findings);
struct findings *checker_store(struct checker *checker);

/* --- output ------------------------------------------------------------------------------------- */

struct check_summary {
  uint64_t calls;
  size_t processes;
  unsigned rules;
  unsigned errors, warnings, infos;
};
void check_print_text(FILE *to, struct finding *const *list, size_t count);
void check_print_summary(FILE *to, const struct check_summary *summary);
/* One JSON object: {"findings": [...], "summary": {...}}; returns false when it cannot be written. */
bool check_print_json(FILE *to, struct finding *const *list, size_t count, const struct check_summary *summary);
/* SARIF 2.1.0, JUnit; findings of `level` and above are failures. False when it cannot be written. */
bool check_print_sarif(FILE *to, struct finding *const *list, size_t count);
bool check_print_junit(FILE *to, struct checker *checker, struct finding *const *list, size_t count,
                       enum severity level);
void check_explain(FILE *to, const struct rule *rule);

const char *severity_name(enum severity severity);
const char *fault_name(enum fault fault);
/* Bytes as the text to show: printable UTF-8 as it is, the rest as \xNN. Returns `text`. */
char *show_bytes(const uint8_t *bytes, size_t length, char *text, size_t size);

#endif
