/* Events to model to rules. */
#include <stdlib.h>
#include <string.h>

#include "decoder/check/suspects.h"
#include "decoder/model/idiom.h"
#include "decoder/model/serial.h"
#include "decoder/rules/rules.h"

/* Who hears what. */
struct listeners {
  uint8_t rule[RULE_COUNT], count;
};

struct checker {
  struct findings store;
  struct listeners call[P11_FUNCTIONS], start[P11_FUNCTIONS], probe[P11_FUNCTIONS], unfinished[P11_FUNCTIONS],
      child[P11_FUNCTIONS];
  struct listeners state, answer, list, marker, close;
  struct kept *kept;
  struct table users;      /* hash of a serial number -> struct users */
  struct table logins;     /* hash of module and token -> struct note: the last successful login of the user */
  struct symbols *symbols; /* for the stacks of logins */
  uint64_t calls, origin;
  unsigned enabled;
  bool runs[RULE_COUNT];
};

/* From first to last; that each is a rule is tests/test_rules_all.py's to see. */
static const char *const precedence[] = {
#define BEFORE_OTHERS(id) id,
#include "decoder/check/precedence.def"
#undef BEFORE_OTHERS
};

static bool hears(const struct rule *rule, int what)
{
  for (unsigned i = 0; rule->on[i] != ON_END; i++)
    if (rule->on[i] == what) return true;
  return false;
}

static bool listens(const struct rule *rule, int function)
{
  bool session = false;
  for (unsigned i = 0; i < p11_functions[function].arity; i++)
    session |= p11_functions[function].param[i].kind == P11_K_SESSION;
  return hears(rule, function) || hears(rule, ON_ALL) || (session && hears(rule, ON_SESSIONS));
}

static void add(struct listeners *l, const struct rule *rule)
{
  l->rule[l->count++] = (uint8_t)(rule - rules);
}

static void listen(struct checker *c, const struct rule *rule)
{
  for (int f = 0; f < P11_FUNCTIONS; f++) {
    if (!listens(rule, f)) continue;
    add(&c->call[f], rule);
    if (hears(rule, ON_START)) add(&c->start[f], rule);
    if (hears(rule, ON_PROBES)) add(&c->probe[f], rule);
    if (hears(rule, ON_UNFINISHED)) add(&c->unfinished[f], rule);
    if (hears(rule, ON_CHILD)) add(&c->child[f], rule);
  }
  if (hears(rule, ON_STATE)) add(&c->state, rule);
  if (hears(rule, ON_ANSWER)) add(&c->answer, rule);
  if (hears(rule, ON_LIST)) add(&c->list, rule);
  if (hears(rule, ON_MARKER)) add(&c->marker, rule);
  if (hears(rule, ON_CLOSE)) add(&c->close, rule);
  c->enabled++;
  c->runs[rule - rules] = true;
}

static const struct symbols_options as_the_trace_says = {0};

struct checker *checker_new(const char *const *only, size_t count, uint64_t origin)
{
  struct checker *c = model_alloc(sizeof *c);
  c->origin = origin;
  c->symbols = symbols_new(&as_the_trace_says);
  bool wanted[RULE_COUNT] = {0};
  for (size_t i = 0; i < RULE_COUNT; i++) wanted[i] = !count;
  for (size_t i = 0; i < count; i++) wanted[rule_by_id(only[i]) - rules] = true;
  for (size_t i = 0; i < sizeof precedence / sizeof *precedence; i++) {
    const struct rule *rule = rule_by_id(precedence[i]);
    if (!rule || !wanted[rule - rules]) continue;
    listen(c, rule);
    wanted[rule - rules] = false;
  }
  for (size_t i = 0; i < RULE_COUNT; i++)
    if (wanted[i]) listen(c, &rules[i]);
  return c;
}

static uint64_t token_key(const struct model_slot *slot, const struct model_token *t)
{
  const char *path = model_module_path(slot->module);
  return pick_hash(path, strlen(path)) ^ pick_hash(t->serial, strlen(t->serial)) * 3;
}

struct kept **checker_kept(struct check *check)
{
  return &check->checker->kept;
}

uint64_t checker_token(const struct model_slot *slot)
{
  return slot->token.known && serial_tells(slot->token.serial) ? token_key(slot, &slot->token) : 0;
}

const struct note *checker_login(struct check *check, const struct model_slot *slot, const struct model_token *token)
{
  if (slot->user.number) return &slot->user;
  return serial_tells(token->serial) ? table_get(&check->checker->logins, token_key(slot, token)) : NULL;
}

/* Keeps the logins of tokens beyond the process: slot->token is the one before the call. */
static void remember_login(struct checker *c, const struct call *call, const struct model_slot *slot)
{
  if (call->known != P11_F_C_Login && call->known != P11_F_C_LoginUser && call->known != P11_F_C_InitToken) return;
  if (!call_returned(call, CKR_OK) || !slot || !slot->token.known || !serial_tells(slot->token.serial)) return;
  const uint64_t key = token_key(slot, &slot->token);
  uint64_t user;
  if (call->known == P11_F_C_InitToken) {
    free(table_take(&c->logins, key));
  } else if (pick_in(call, 1, &user) && user == CKU_USER) {
    struct note *note = table_get(&c->logins, key);
    if (!note) table_put(&c->logins, key, note = model_alloc(sizeof *note));
    note_take(note, slot->module->process->process, slot->module->process->origin, call);
  }
}

/* The last calls on a token by two processes, the later first. */
struct users {
  struct note last[2];
};

static uint64_t serial_key(const struct model_slot *slot)
{
  return pick_hash(slot->token.serial, strlen(slot->token.serial));
}

static void remember_user(struct checker *c, const struct call *call, const struct model_slot *slot)
{
  switch (call->known) {
    case P11_F_C_OpenSession:
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
    case P11_F_C_Logout:
    case P11_F_C_InitToken: break;
    default: return;
  }
  if (!call_returned(call, CKR_OK) || !slot || !slot->token.known || !serial_tells(slot->token.serial)) return;
  const struct process *process = slot->module->process->process;
  struct users *u = table_get(&c->users, serial_key(slot));
  if (u && u->last[0].process == process) return; /* one call of each turn is enough */
  if (!u) table_put(&c->users, serial_key(slot), u = model_alloc(sizeof *u));
  u->last[1] = u->last[0];
  note_take(&u->last[0], process, slot->module->process->origin, call);
}

const struct note *checker_other(struct check *check, const struct model_slot *slot)
{
  if (!slot || !slot->token.known || !serial_tells(slot->token.serial)) return NULL;
  const struct users *u = table_get(&check->checker->users, serial_key(slot));
  for (unsigned i = 0; u && i < 2; i++)
    if (u->last[i].process && u->last[i].process != check->event->process) return &u->last[i];
  return NULL;
}

static void run(struct check *check, const struct listeners *to)
{
  for (unsigned i = 0; i < to->count; i++) {
    check->rule = &rules[to->rule[i]];
    check->rule->function(check, check->call);
  }
}

/* In a fork child that has not initialised the module nothing else is expected of it (guard G4). */
static const struct listeners *of_call(const struct checker *c, const struct check *check)
{
  const struct call *call = check->call;
  if (call->known < 0) return NULL;
  if (check->place.process->child) return call->state == CALL_DONE && !check->probe ? &c->child[call->known] : NULL;
  if (check->probe) return call->state == CALL_DONE ? &c->probe[call->known] : NULL;
  return call->state == CALL_DONE ? &c->call[call->known] : &c->unfinished[call->known];
}

/* States whose overlapping calls are over now. */
static void settled(struct checker *c, const struct event *event, const struct check *call)
{
  struct model_observation seen;
  while (model_observed(call->place.module, &seen)) {
    if (call->place.process->child) continue;
    struct check check = {.event = event, .checker = c, .seen = &seen, .probe = seen.probe};
    check.place = (struct model_place){
        .process = call->place.process, .module = call->place.module, .slot = seen.slot, .session = NULL};
    /* Seen by the call at hand: what the rules on the call have reported explains it. */
    if (!call->call || seen.note.end_number != call->call->end_number) c->store.causes = 0;
    check.why = suspects_of(seen.slot, &seen);
    run(&check, seen.answer ? &c->answer : &c->state);
  }
}

/* What a login was for, in the evidence that it is already. */
static void turn(struct checker *c, const struct process *process, const struct model_place *place)
{
  for (size_t i = 0; place->turned.number && i < c->store.count; i++) {
    struct finding *f = c->store.list[i];
    for (unsigned k = 0; k < f->evidences; k++) {
      struct note *n = &f->evidence[k].note;
      if (n->number == place->turned.number && n->process == process && idiom_may_turn(n->idiom))
        n->idiom = place->turned.idiom;
    }
  }
}

static void call_over(struct checker *c, const struct event *event)
{
  const struct call *call = event->call;
  struct check check = {.event = event, .call = call, .checker = c, .probe = call->flags & P11T_PROBE};
  if (!check.probe) c->calls++;
  model_place(event, &check.place);
  check.place.idiom = (uint8_t)idiom_by_stack(check.place.idiom, event, c->symbols);
  turn(c, event->process, &check.place);
  c->store.causes = 0;
  const struct listeners *to = of_call(c, &check);
  if (to) run(&check, to);
  suspects_call(call, &check.place);
  model_observe(event, &check.place);
  settled(c, event, &check);
  remember_login(c, call, check.place.slot);
  remember_user(c, call, check.place.slot);
  model_apply(event, &check.place);
}

static void call_starts(struct checker *c, const struct event *event)
{
  const struct call *call = event->call;
  if (call->known < 0 || !c->start[call->known].count || call->flags & P11T_PROBE) return;
  struct check check = {.event = event, .call = call, .checker = c, .starting = true};
  model_starting(event, &check.place);
  if (check.place.process->child) return;
  c->store.causes = 0;
  run(&check, &c->start[call->known]);
}

/* What concerns every module of the process. */
static void each_module(struct checker *c, const struct event *event, const struct listeners *to)
{
  struct model_process *p = event->process->user;
  size_t at = 0;
  if (!to->count || !p) return;
  for (struct model_module *m; (m = table_next(&p->modules, &at));) {
    struct check check = {
        .event = event, .checker = c, .place = {.process = p, .module = m}
    };
    c->store.causes = 0;
    run(&check, to);
  }
}

static void slept(const struct event *event)
{
  struct model_process *p = event->process->user;
  size_t at = 0;
  for (struct model_module *m; p && (m = table_next(&p->modules, &at));) suspects_sleep(m, event->time);
}

static void list_given(struct checker *c, const struct event *event)
{
  struct check check = {.event = event, .checker = c};
  if (!c->list.count || !event->module) return;
  check.place.process = event->process->user;
  check.place.module = model_module(check.place.process, event->module->id);
  c->store.causes = 0;
  run(&check, &c->list);
}

/* The module goes, and what was known of it. */
static void unloaded(struct checker *c, const struct event *event)
{
  struct model_process *p = event->process->user;
  struct model_module *m = p && event->module ? table_get(&p->modules, event->module->id) : NULL;
  if (!m) return;
  struct check check = {
      .event = event, .checker = c, .place = {.process = p, .module = m}
  };
  model_finish(m);
  settled(c, event, &check);
  c->store.causes = 0;
  run(&check, &c->close);
}

static void ended(struct checker *c, const struct event *event)
{
  struct model_process *p = event->process->user;
  size_t at = 0;
  for (struct model_module *m; p && (m = table_next(&p->modules, &at));) {
    const struct check check = {
        .event = event, .checker = c, .place = {.process = p, .module = m}
    };
    model_finish(m);
    settled(c, event, &check);
  }
  each_module(c, event, &c->close);
}

void checker_event(struct checker *checker, const struct event *event)
{
  if (event->type == EVENT_UNLOAD) unloaded(checker, event);
  model_event(event, checker->origin);
  switch (event->type) {
    case EVENT_ENTER: call_starts(checker, event); break;
    case EVENT_CALL: call_over(checker, event); break;
    case EVENT_LIST: list_given(checker, event); break;
    case EVENT_MARKER:
      if (event->marker.kind == P11T_SUSPEND) slept(event);
      each_module(checker, event, &checker->marker);
      break;
    case EVENT_END:
      ended(checker, event);
      model_drop(event->process);
      break;
    default: break;
  }
}

struct findings *checker_store(struct checker *checker)
{
  return &checker->store;
}

static int compare(const void *a, const void *b)
{
  const struct finding *x = *(struct finding *const *)a, *y = *(struct finding *const *)b;
  if (x->severity != y->severity) return x->severity > y->severity ? -1 : 1;
  const int path = strcmp(x->module_path, y->module_path);
  if (path) return path;
  if (x->rule != y->rule) return x->rule < y->rule ? -1 : 1;
  if (x->slot != y->slot) return x->slot < y->slot ? -1 : 1;
  return x->key < y->key ? -1 : x->key > y->key;
}

size_t checker_findings(struct checker *checker, struct finding *const **list)
{
  struct findings *s = &checker->store;
  if (s->count) qsort(s->list, s->count, sizeof *s->list, compare);
  *list = s->list;
  return s->count;
}

uint64_t checker_calls(const struct checker *checker)
{
  return checker->calls;
}

unsigned checker_rules(const struct checker *checker)
{
  return checker->enabled;
}

bool checker_runs(const struct checker *checker, const struct rule *rule)
{
  return checker->runs[rule - rules];
}

uint64_t checker_not_kept(const struct checker *checker)
{
  return checker->store.not_kept;
}

void checker_free(struct checker *checker)
{
  findings_clear(&checker->store);
  table_clear(&checker->logins, free);
  kept_clear(&checker->kept);
  table_clear(&checker->users, free);
  symbols_free(checker->symbols);
  free(checker);
}
