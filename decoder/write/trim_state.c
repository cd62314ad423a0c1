/* What a chosen call depends on. The session that it uses was opened; somebody logged in to its token; its operation was
 * begun; its key was made, or found by a search. Each of these is known by the numbers of the calls that brought it about, its
 * causes, and a call that is kept keeps its causes. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/read/arena.h"
#include "decoder/write/trim.h"

enum { SEARCH = P11_GROUP_COUNT, KINDS, MAX_FOUND = 4096, MAX_OBJECTS_KNOWN = 1 << 16, MAX_CAUSES = 1 << 16 };

struct causes {
  uint64_t *number;
  size_t count, room;
};

/* An operation of a session: encryption, a search, ... */
struct operation {
  struct causes causes;
  bool wanted; /* a call of it stays: then all do */
  uint64_t *found;
  size_t founds;
};

struct thing {
  uint64_t key[4]; /* process, module, session or object, handle */
  uint64_t slot;
  struct causes causes;
  struct operation *operation; /* KINDS, of a session */
};

struct trim_state {
  void *things; /* a tree */
  void *slots;  /* wanted ones: process, module, 0, slot */
  size_t objects;
};

enum { SESSION, OBJECT, SLOT, MODULE };

static int by_key(const void *a, const void *b)
{
  const struct thing *x = a, *y = b;
  for (int i = 0; i < 4; i++) {
    if (x->key[i] != y->key[i]) return x->key[i] < y->key[i] ? -1 : 1;
  }
  return 0;
}

static struct thing key_of(const struct event *e, uint64_t kind, uint64_t handle)
{
  return (struct thing){
      .key = {e->process->index, e->call->module, kind, handle}
  };
}

static struct thing *find(void *const *tree, const struct event *e, uint64_t kind, uint64_t handle)
{
  const struct thing key = key_of(e, kind, handle);
  struct thing **at = tfind(&key, tree, by_key);
  return at == NULL ? NULL : *at;
}

static struct thing *make(void **tree, const struct event *e, uint64_t kind, uint64_t handle)
{
  struct thing *t = find(tree, e, kind, handle);
  if (t != NULL) return t;
  t = read_zalloc(sizeof *t);
  *t = key_of(e, kind, handle);
  if (tsearch(t, tree, by_key) == NULL) abort();
  return t;
}

static void free_thing(void *thing)
{
  struct thing *t = thing;
  for (size_t i = 0; t->operation != NULL && i < KINDS; i++) {
    free(t->operation[i].causes.number);
    free(t->operation[i].found);
  }
  free(t->operation);
  free(t->causes.number);
  free(t);
}

static void forget(void **tree, struct thing *t)
{
  if (t == NULL) return;
  tdelete(t, tree, by_key);
  free_thing(t);
}

static void cause(struct causes *c, uint64_t number)
{
  if (number == 0 || c->count == MAX_CAUSES) return;
  if (c->count == c->room) c->number = read_realloc(c->number, (c->room = c->room * 2 + 4) * sizeof *c->number);
  c->number[c->count++] = number;
}

static void cause_all(struct causes *c, const struct causes *more)
{
  for (size_t i = 0; i < more->count; i++) cause(c, more->number[i]);
}

static void keep_all(struct kept_numbers *kept, const struct causes *c)
{
  for (size_t i = 0; i < c->count; i++) kept_numbers_add(kept, c->number[i]);
}

struct trim_state *trim_state_new(void)
{
  return read_zalloc(sizeof(struct trim_state));
}

void trim_state_free(struct trim_state *s)
{
  if (s == NULL) return;
  tdestroy(s->things, free_thing);
  tdestroy(s->slots, free_thing);
  free(s);
}

void trim_state_want(struct trim_state *s, const struct event *e, uint64_t slot)
{
  make(&s->slots, e, MODULE, 0);
  if (slot != TRACKER_UNKNOWN) make(&s->slots, e, SLOT, slot);
}

static bool ends_in(const char *text, const char *end)
{
  const size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}

/* The causes of the objects that the call names, and what its session is there for. */
static void inputs(struct trim_state *s, const struct event *e, struct causes *causes)
{
  const struct call *call = e->call;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *in = &call->arg[i].in;
    const uint8_t kind = call->info->param[i].kind;
    if (in->what != VALUE_NUMBER || (kind != P11_K_OBJECT && kind != P11_K_KEY && kind != P11_K_SESSION)) continue;
    const struct thing *t = find(&s->things, e, kind == P11_K_SESSION ? SESSION : OBJECT, in->number);
    if (t != NULL) cause_all(causes, &t->causes);
  }
}

static void make_object(struct trim_state *s, const struct event *e, uint64_t handle, const struct causes *causes)
{
  struct thing *t = find(&s->things, e, OBJECT, handle);
  if (t == NULL && s->objects >= MAX_OBJECTS_KNOWN) return;
  if (t == NULL) s->objects++;
  t = make(&s->things, e, OBJECT, handle);
  t->causes.count = 0;
  cause_all(&t->causes, causes);
}

/* Handles that came back: this call, and what it needs, is why they are there. */
static void outputs(struct trim_state *s, const struct event *e, struct operation *search, const struct causes *causes)
{
  const struct call *call = e->call;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *out = &call->arg[i].out;
    const uint8_t kind = call->info->param[i].kind;
    if (kind == P11_K_OUT_OBJECT && out->what == VALUE_NUMBER) make_object(s, e, out->number, causes);
    if (kind != P11_K_OUT_OBJECTS || out->what != VALUE_LIST || search == NULL) continue;
    for (size_t n = 0; n < out->count; n++) {
      make_object(s, e, out->item[n].number, &search->causes);
      if (search->founds == MAX_FOUND) continue;
      search->found = read_realloc(search->found, (search->founds + 1) * sizeof *search->found);
      search->found[search->founds++] = out->item[n].number;
    }
  }
}

static struct operation *operation_of(struct thing *session, const struct call *call)
{
  if (session == NULL || (call->info->class != P11_CLASS_OPERATION && call->info->class != P11_CLASS_FIND)) return NULL;
  if (session->operation == NULL) session->operation = read_zalloc(KINDS * sizeof *session->operation);
  return &session->operation[call->info->class == P11_CLASS_FIND ? SEARCH : call->info->group];
}

/* One call more of an operation. Of one that is wanted already all before is kept. */
static void want(struct operation *o, const struct causes *causes, bool chosen, struct kept_numbers *kept)
{
  const bool before = o->wanted;
  cause_all(&o->causes, causes);
  if (chosen) o->wanted = true;
  if (o->wanted) keep_all(kept, before ? causes : &o->causes);
}

/* One call of an operation: it joins the ones before, and if one of them stays all do. */
static void operate(struct trim_state *s, const struct event *e, struct operation *o, const struct causes *causes,
                    bool chosen, struct kept_numbers *kept)
{
  const struct call *call = e->call;
  if (ends_in(call->info->name, "Init")) {
    o->causes.count = o->founds = 0;
    o->wanted = false;
  }
  want(o, causes, chosen, kept);
  if (!ends_in(call->info->name, "FindObjectsFinal")) return;
  for (size_t i = 0; i < o->founds; i++) { /* a search that is kept for what it found must end */
    struct thing *t = find(&s->things, e, OBJECT, o->found[i]);
    if (t != NULL) cause(&t->causes, call->number);
  }
}

/* A call that takes two operations further. */
static void operate_both(struct thing *session, const struct causes *causes, bool chosen, struct kept_numbers *kept)
{
  for (size_t i = P11_GROUP_ENCRYPT; i <= P11_GROUP_VERIFY && session->operation != NULL; i++) {
    struct operation *o = &session->operation[i];
    if (o->causes.count == 0) continue;
    want(o, causes, chosen, kept);
  }
}

static bool is_done(const struct call *call)
{
  return call->state == CALL_DONE && call->rv == CKR_OK;
}

static uint64_t input(const struct call *call, uint8_t kind)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (call->info->param[i].kind == kind && call->arg[i].in.what == VALUE_NUMBER) return call->arg[i].in.number;
  }
  return TRACKER_UNKNOWN;
}

/* Calls of the life of module, session and login. */
static void live(struct trim_state *s, const struct event *e, struct thing *session, const struct causes *causes,
                 struct kept_numbers *kept)
{
  const struct call *call = e->call;
  const uint64_t slot = session != NULL ? session->slot : input(call, P11_K_SLOT);
  const bool wanted = slot != TRACKER_UNKNOWN && find(&s->slots, e, SLOT, slot) != NULL;
  if (call->info->class == P11_CLASS_LOGIN && wanted) {
    kept_numbers_add(kept, call->number);
    keep_all(kept, causes);
  }
  switch (call->known) {
    case P11_F_C_Initialize:
    case P11_F_C_Finalize:
    case P11_F_C_GetFunctionList:
    case P11_F_C_GetInterface:
    case P11_F_C_GetInterfaceList:
      if (find(&s->slots, e, MODULE, 0) != NULL) kept_numbers_add(kept, call->number);
      break;
    case P11_F_C_OpenSession:
      if (!is_done(call) || call->arg[4].out.what != VALUE_NUMBER) break;
      session = make(&s->things, e, SESSION, call->arg[4].out.number);
      session->slot = slot;
      session->causes.count = 0;
      for (size_t i = 0; session->operation != NULL && i < KINDS; i++) session->operation[i].causes.count = 0;
      cause(&session->causes, call->number);
      break;
    case P11_F_C_CloseSession:
      if (session == NULL) break;
      if (kept_numbers_has(kept, session->causes.number[0])) kept_numbers_add(kept, call->number);
      if (is_done(call)) forget(&s->things, session);
      break;
    case P11_F_C_CloseAllSessions:
      if (wanted) kept_numbers_add(kept, call->number);
      break;
    default: break;
  }
}

void trim_state_see(struct trim_state *s, const struct event *e, struct kept_numbers *kept)
{
  const struct call *call = e->call;
  if (call->number == 0 || call_is_probe(call)) return;
  const bool chosen = kept_numbers_has(kept, call->number);
  struct causes causes = {0};
  struct thing *session = find(&s->things, e, SESSION, input(call, P11_K_SESSION));
  struct operation *o = operation_of(session, call);
  inputs(s, e, &causes);
  cause(&causes, call->number);
  if (chosen) keep_all(kept, &causes);
  if (o != NULL) operate(s, e, o, &causes, chosen, kept);
  if (session != NULL && call->info->group == P11_GROUP_DUAL) operate_both(session, &causes, chosen, kept);
  if (is_done(call)) outputs(s, e, o, &causes);
  live(s, e, session, &causes, kept);
  free(causes.number);
}
