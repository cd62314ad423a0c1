/* Events to model to rules. */
#include <stdlib.h>
#include <string.h>

#include "decoder/rules/rules.h"

struct checker {
  struct findings store;
  /* Rules that listen to each function, those of precedence.def first. */
  uint8_t listener[P11_FUNCTIONS][RULE_COUNT], listeners[P11_FUNCTIONS];
  struct table logins; /* hash of module and token -> struct note: the last successful login of the user */
  uint64_t calls, origin;
  unsigned enabled;
};

static bool listens(const struct rule *rule, int function)
{
  bool session = false;
  for (unsigned i = 0; i < p11_functions[function].arity; i++)
    session |= p11_functions[function].param[i].kind == P11_K_SESSION;
  for (unsigned i = 0; rule->on[i] != ON_END; i++)
    if (rule->on[i] == function || rule->on[i] == ON_ALL || (rule->on[i] == ON_SESSIONS && session)) return true;
  return false;
}

static void listen(struct checker *c, const struct rule *rule)
{
  const uint8_t index = (uint8_t)(rule - rules);
  for (int f = 0; f < P11_FUNCTIONS; f++)
    if (listens(rule, f)) c->listener[f][c->listeners[f]++] = index;
  c->enabled++;
}

struct checker *checker_new(const char *const *only, size_t count, uint64_t origin)
{
  static const uint8_t first[] = {
#define BEFORE(cause, a, b) RULE_##a, RULE_##b,
#include "decoder/rules/precedence.def"
#undef BEFORE
  };
  struct checker *c = model_alloc(sizeof *c);
  c->origin = origin;
  bool wanted[RULE_COUNT] = {0};
  for (size_t i = 0; i < RULE_COUNT; i++) wanted[i] = !count;
  for (size_t i = 0; i < count; i++) wanted[rule_by_id(only[i]) - rules] = true;
  for (size_t i = 0; i < sizeof first; i++) {
    if (wanted[first[i]]) listen(c, &rules[first[i]]);
    wanted[first[i]] = false;
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

const struct note *checker_login(struct check *check, const struct model_slot *slot, const struct model_token *token)
{
  if (slot->user.number) return &slot->user;
  return *token->serial ? table_get(&check->checker->logins, token_key(slot, token)) : NULL;
}

/* Keeps the logins of tokens beyond the process: slot->token is the one before the call. */
static void remember_login(struct checker *c, const struct call *call, const struct model_slot *slot)
{
  if (call->known != P11_F_C_Login && call->known != P11_F_C_LoginUser && call->known != P11_F_C_InitToken) return;
  if (!call_returned(call, CKR_OK) || !slot || !slot->token.known || !*slot->token.serial) return;
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

static void call_over(struct checker *c, const struct event *event)
{
  const struct call *call = event->call;
  struct check check = {.event = event, .call = call, .checker = c};
  c->calls++;
  model_place(event, &check.place);
  /* In a fork child that has not initialised the module nothing is expected of it (guard G4). */
  if (call->state == CALL_DONE && call->known >= 0 && !check.place.process->child) {
    c->store.causes = 0;
    for (unsigned i = 0; i < c->listeners[call->known]; i++) {
      check.rule = &rules[c->listener[call->known][i]];
      check.rule->function(&check, call);
    }
  }
  remember_login(c, call, check.place.slot);
  model_apply(event, &check.place);
}

void checker_event(struct checker *checker, const struct event *event)
{
  model_event(event, checker->origin);
  if (event->type == EVENT_CALL) call_over(checker, event);
  if (event->type == EVENT_END) model_drop(event->process);
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

uint64_t checker_not_kept(const struct checker *checker)
{
  return checker->store.not_kept;
}

void checker_free(struct checker *checker)
{
  findings_clear(&checker->store);
  table_clear(&checker->logins, free);
  free(checker);
}
