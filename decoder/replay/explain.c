/* The first difference with its history: what made the session, the operation and the objects that its call works on. The
 * trace is read again, up to that call; what came before it is found from its handles, so that nothing of the rest is kept. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/model/operation.h"
#include "decoder/replay/judgement.h"
#include "decoder/show/dump.h"
#include "decoder/show/value.h"

enum { OBJECTS = 4, VALUE_BYTES_SHOWN = 32, LIST_SHOWN = 8, LINE_MOST = 400 };

/* One call of the history, as a line. */
struct said {
  uint64_t number; /* 0: none */
  char *line;
  const char *why; /* what it did: "opened the session" */
};

struct history {
  const struct job *job;
  uint64_t until; /* number of the call that differs */
  bool has_session, has_slot;
  uint64_t session, slot;
  struct tracker *tracker; /* of the reading that goes on */
  int op[2];               /* enum model_op */
  unsigned ops;
  uint64_t object[OBJECTS];
  unsigned objects;
  struct said opened, login, begun[2], made[OBJECTS], call;
};

static void add_object(struct history *h, uint64_t object)
{
  if (object == CK_INVALID_HANDLE || h->objects == OBJECTS) return;
  for (unsigned i = 0; i < h->objects; i++)
    if (h->object[i] == object) return;
  h->object[h->objects++] = object;
}

/* A long line is cut, but not inside a character, so that the return code can still be seen. */
static void cut(struct text *out)
{
  if (out->at - out->base <= LINE_MOST) return;
  out->at = out->base + LINE_MOST;
  while (((uint8_t)*out->at & 0xc0) == 0x80) out->at--;
  text_s(out, "...)");
}

static char *line_of(const struct call *call)
{
  struct text out;
  text_open(&out, -1);
  const struct printer p = {.out = &out, .limit = VALUE_BYTES_SHOWN, .entries = LIST_SHOWN, .info = call->info};
  text_c(&out, '#');
  text_u(&out, call->number);
  text_c(&out, ' ');
  text_escaped(&out, call->info->name, strlen(call->info->name), "");
  dump_arguments(&p, call);
  cut(&out);
  text_s(&out, " = ");
  if (call->state == CALL_DONE)
    show_constant(&out, P11_DOM_CKR, call->rv);
  else
    text_s(&out, call->state == CALL_OPEN ? "? <in flight at the end>" : "? <unwound>");
  text_c(&out, '\0');
  char *line = read_strdup(out.base);
  text_close(&out);
  return line;
}

static void say(struct said *said, const struct call *call, const char *why)
{
  free(said->line);
  *said = (struct said){.number = call->number, .line = line_of(call), .why = why};
}

static const struct value *given(const struct call *call, unsigned kind)
{
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == kind && call->arg[i].in.what == VALUE_NUMBER) return &call->arg[i].in;
  return NULL;
}

/* The handles that a call was given. */
static void take_handles(struct history *h, const struct call *call)
{
  const struct value *session = given(call, P11_K_SESSION), *slot = given(call, P11_K_SLOT);
  if (session != NULL) h->session = session->number, h->has_session = true;
  if (slot != NULL) h->slot = slot->number, h->has_slot = true;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const unsigned kind = call->info->param[i].kind;
    if ((kind == P11_K_KEY || kind == P11_K_OBJECT) && call->arg[i].in.what == VALUE_NUMBER)
      add_object(h, call->arg[i].in.number);
  }
}

/* Did the call hand out `object`? */
static bool hands_out(const struct call *call, uint64_t object)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *out = &call->arg[i].out;
    const unsigned kind = call->info->param[i].kind;
    if (kind == P11_K_OUT_OBJECT && out->what == VALUE_NUMBER && out->number == object) return true;
    if (kind != P11_K_OUT_OBJECTS || out->what != VALUE_LIST) continue;
    for (size_t k = 0; k < out->count; k++)
      if (out->item[k].number == object) return true;
  }
  return false;
}

static bool of_session(const struct history *h, const struct call *call)
{
  const struct value *session = given(call, P11_K_SESSION);
  return h->has_session && session != NULL && session->number == h->session;
}

/* One call before the one that differs. */
static void before(struct history *h, const struct process *process, const struct call *call)
{
  if (call->state != CALL_DONE) return;
  uint64_t session;
  if (call->known == P11_F_C_OpenSession && call->rv == CKR_OK && h->has_session && tracker_session(call, &session) &&
      session == h->session) {
    say(&h->opened, call, "opened the session");
    take_handles(h, call); /* its slot */
  }
  /* A login is one of all the application's sessions on the slot. */
  if (call->known >= 0 && p11_functions[call->known].class == P11_CLASS_LOGIN && h->has_slot)
    if (tracker_slot(h->tracker, process, call) == h->slot) say(&h->login, call, "last login or logout of the slot");
  for (unsigned i = 0; i < h->ops; i++) {
    int op[2];
    const unsigned ops = call->known >= 0 ? model_ops_of(call->known, op) : 0;
    if (ops == 1 && op[0] == h->op[i] && of_session(h, call) && model_begins(call)) say(&h->begun[i], call, "began it");
  }
  for (unsigned i = 0; i < h->objects; i++)
    if (call->rv == CKR_OK && hands_out(call, h->object[i])) say(&h->made[i], call, "handed out the object");
}

/* Reads up to the call; `look` sees each of the module's calls before it, `at` that one. */
typedef void look_at(struct history *h, const struct process *process, const struct call *call);
static bool read_until(struct history *h, look_at *look, look_at *at)
{
  const struct job *job = h->job;
  if (!trace_again(job->paths, job->count)) return false;
  struct trace_set *set = trace_open(job->paths, job->count);
  if (set == NULL) return false;
  const struct replay_options chosen = {.chosen = job->chosen};
  struct event event;
  bool found = false;
  h->tracker = tracker_new();
  if (h->tracker == NULL) return trace_close(set), false;
  while (!found && trace_next(set, &event) == 0) {
    if (event.type != EVENT_CALL || event.process->index != job->index || call_is_probe(event.call)) continue;
    if (!choose_takes(&chosen, event.process, event.call->module)) continue;
    found = event.call->number == h->until;
    if (found && at != NULL)
      at(h, event.process, event.call);
    else if (!found && look != NULL)
      look(h, event.process, event.call);
    tracker_see(h->tracker, event.process, event.call);
  }
  tracker_free(h->tracker);
  trace_close(set);
  return found;
}

static void at_call(struct history *h, const struct process *process, const struct call *call)
{
  (void)process;
  take_handles(h, call);
  if (call->known >= 0 && model_step_of(call->known) != STEP_INIT) h->ops = model_ops_of(call->known, h->op);
  say(&h->call, call, "");
}

/* The objects that the operations were begun with are known only now. */
static void take_begun(struct history *h, const struct process *process, const struct call *call)
{
  (void)process;
  for (unsigned i = 0; i < h->ops; i++)
    if (h->begun[i].number == call->number) take_handles(h, call);
}

/* --- as text --------------------------------------------------------------------------------------------------------- */

static int by_number(const void *x, const void *y)
{
  const struct said *a = *(const struct said *const *)x, *b = *(const struct said *const *)y;
  return a->number < b->number ? -1 : a->number > b->number;
}

static void line(struct text *out, const struct said *said)
{
  text_s(out, "  ");
  text_s(out, said->line);
  if (said->why[0] != '\0') {
    text_s(out, "  (");
    text_s(out, said->why);
    text_c(out, ')');
  }
  text_c(out, '\n');
}

static void differences(struct text *out, const struct judgement *v, const struct history *h)
{
  unsigned lines = 0;
  for (unsigned i = 0; i < h->job->results->kinds && lines < 6; i++) {
    const struct result_kind *k = &h->job->results->kind[i];
    if (k->outcome != OUTCOME_DIFFERENT || k->call != h->until) continue;
    if (v->expectations != NULL && expect_find(v->expectations, k) != NULL) continue;
    lines++;
    text_s(out, "      ");
    text_s(out, k->first.place);
    text_s(out, ": recorded ");
    text_s(out, k->first.recorded);
    text_s(out, ", replayed ");
    text_s(out, k->first.replayed);
    text_c(out, '\n');
  }
}

static char *tell(const struct judgement *v, struct history *h)
{
  const struct said *all[4 + OBJECTS];
  size_t count = 0;
  const struct said *const alone[] = {&h->opened, &h->login, &h->begun[0], &h->begun[1]};
  for (size_t i = 0; i < 4; i++)
    if (alone[i]->number != 0) all[count++] = alone[i];
  for (unsigned i = 0; i < h->objects; i++) {
    bool twice = h->made[i].number == 0;
    for (size_t k = 0; k < count && !twice; k++) twice = all[k]->number == h->made[i].number;
    if (!twice) all[count++] = &h->made[i];
  }
  if (count > 1) qsort(all, count, sizeof *all, by_number);
  struct text out;
  text_open(&out, -1);
  text_s(&out, "the first difference");
  if (v->jobs->count > 1) {
    text_s(&out, " (");
    text_escaped(&out, h->job->trace, strlen(h->job->trace), "");
    text_c(&out, ')');
  }
  text_s(&out, ", and what led to it:\n");
  for (size_t i = 0; i < count; i++) line(&out, all[i]);
  line(&out, &h->call);
  differences(&out, v, h);
  text_c(&out, '\0');
  char *text = read_strdup(out.base);
  text_close(&out);
  return text;
}

void explain(struct judgement *v)
{
  struct history h = {0};
  for (size_t i = 0; i < v->jobs->count && h.job == NULL; i++) {
    const struct job *job = &v->jobs->job[i];
    for (unsigned k = 0; job->results != NULL && k < job->results->kinds; k++) {
      const struct result_kind *kind = &job->results->kind[k];
      if (kind->outcome != OUTCOME_DIFFERENT || kind->call == 0 || (h.job != NULL && kind->call >= h.until)) continue;
      if (v->expectations != NULL && expect_find(v->expectations, kind) != NULL) continue;
      h.job = job;
      h.until = kind->call;
    }
  }
  if (h.job == NULL) return;
  /* From the call to its handles, from these to what handed them out, and again with the slot and the operation's key. */
  if (read_until(&h, NULL, at_call) && read_until(&h, before, NULL)) {
    if (h.ops > 0) read_until(&h, take_begun, NULL);
    if (h.has_session) read_until(&h, before, NULL);
    v->explanation = tell(v, &h);
    v->explained = h.job;
  }
  free(h.opened.line);
  free(h.login.line);
  free(h.call.line);
  for (int i = 0; i < 2; i++) free(h.begun[i].line);
  for (int i = 0; i < OBJECTS; i++) free(h.made[i].line);
}
