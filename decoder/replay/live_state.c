/* Operations and objects of the recorded process, as far as what comes out of them depends on what was not recorded. */
#include <stdlib.h>
#include <string.h>

#include "decoder/read/arena.h"
#include "decoder/replay/live_part.h"

enum { SESSIONS = 1 << 10, OBJECTS = 1 << 16, MOST_OBJECTS = 1 << 20 };

struct session_state {
  struct session_state *next;
  uint64_t handle;
  struct live_op op[LIVE_KINDS];
  bool known[LIVE_KINDS];
};

struct object_state {
  struct object_state *next;
  uint64_t handle;
  unsigned taint;
};

struct live_states {
  struct session_state *session[SESSIONS];
  struct object_state *object[OBJECTS];
  size_t objects;
};

struct live_states *live_states_new(void)
{
  return read_zalloc(sizeof(struct live_states));
}

static size_t bucket(uint64_t handle, size_t buckets)
{
  return (size_t)(handle * 0x9e3779b97f4a7c15ull >> 40) % buckets;
}

static void forget(struct live_states *states)
{
  for (size_t i = 0; i < SESSIONS; i++) {
    for (struct session_state *s = states->session[i], *next; s != NULL; s = next) {
      next = s->next;
      free(s);
    }
  }
  for (size_t i = 0; i < OBJECTS && states->objects > 0; i++) {
    for (struct object_state *o = states->object[i], *next; o != NULL; o = next) {
      next = o->next;
      free(o);
    }
  }
  memset(states, 0, sizeof *states);
}

void live_states_free(struct live_states *states)
{
  if (states == NULL) return;
  forget(states);
  free(states);
}

void live_all_gone(struct player *player)
{
  forget(player->payload->states);
}

static struct session_state *session_of(struct player *player, uint64_t handle)
{
  struct session_state *s = player->payload->states->session[bucket(handle, SESSIONS)];
  while (s != NULL && s->handle != handle) s = s->next;
  return s;
}

struct live_op *live_op_find(struct player *player, uint64_t session, unsigned kind)
{
  struct session_state *s = session_of(player, session);
  return s != NULL && s->known[kind] ? &s->op[kind] : NULL;
}

struct live_op *live_op_make(struct player *player, uint64_t session, unsigned kind)
{
  struct session_state *s = session_of(player, session);
  if (s == NULL) {
    struct session_state **head = &player->payload->states->session[bucket(session, SESSIONS)];
    s = read_zalloc(sizeof *s);
    s->handle = session;
    s->next = *head;
    *head = s;
  }
  s->known[kind] = true;
  return &s->op[kind];
}

void live_session_gone(struct player *player, uint64_t session)
{
  struct session_state **at = &player->payload->states->session[bucket(session, SESSIONS)];
  while (*at != NULL && (*at)->handle != session) at = &(*at)->next;
  if (*at == NULL) return;
  struct session_state *s = *at;
  *at = s->next;
  free(s);
}

/* An object that no call of the trace made lies on the token: with --prepare its key is a fresh one. */
unsigned live_object_default(const struct player *player)
{
  return player->options->prepare ? TAINT_FRESH : 0;
}

unsigned live_object_taint(struct player *player, uint64_t object)
{
  struct live_states *states = player->payload->states;
  if (states->objects == 0) return live_object_default(player);
  struct object_state *o = states->object[bucket(object, OBJECTS)];
  while (o != NULL && o->handle != object) o = o->next;
  return o != NULL ? o->taint : live_object_default(player);
}

/* What is as it is by default needs no entry. */
void live_object_mark(struct player *player, uint64_t object, unsigned taint)
{
  struct live_states *states = player->payload->states;
  struct object_state **at = &states->object[bucket(object, OBJECTS)];
  while (*at != NULL && (*at)->handle != object) at = &(*at)->next;
  if (*at != NULL && taint != live_object_default(player)) {
    (*at)->taint = taint;
    return;
  }
  if (*at != NULL) {
    struct object_state *gone = *at;
    *at = gone->next;
    states->objects--;
    free(gone);
    return;
  }
  if (taint == live_object_default(player) || states->objects == MOST_OBJECTS) return;
  struct object_state *o = read_zalloc(sizeof *o);
  o->handle = object;
  o->taint = taint;
  *at = o;
  states->objects++;
}

static bool ends_with(const char *name, const char *end)
{
  size_t n = strlen(name), k = strlen(end);
  return n >= k && strcmp(name + n - k, end) == 0;
}

/* The names of the standard are regular: C_[Message]VERBInit, ...Update, ...Next, ...Final; C_DecryptVerifyUpdate does both. */
static struct live_role role_of(const struct p11_function_info *f)
{
  static const char *const verb[] = {"Encrypt", "Decrypt", "Digest", "Sign", "Verify"};
  struct live_role role = {0};
  const char *name = f->name;
  bool messages = f->group == P11_GROUP_MESSAGE;
  if (f->class == P11_CLASS_FIND) {
    role.ops = 1u << LIVE_FIND;
    role.begins = ends_with(name, "Init");
    role.ends = ends_with(name, "Final");
    return role;
  }
  switch (f->group) {
    case P11_GROUP_ENCRYPT:
    case P11_GROUP_DECRYPT:
    case P11_GROUP_DIGEST:
    case P11_GROUP_SIGN:
    case P11_GROUP_VERIFY:
    case P11_GROUP_DUAL:
    case P11_GROUP_MESSAGE: break;
    default: role.consumes = strncmp(name, "C_Unwrap", 8) == 0 || strcmp(name, "C_DecapsulateKey") == 0; return role;
  }
  for (unsigned i = 0; i < sizeof verb / sizeof verb[0]; i++) {
    if (strstr(name, verb[i]) == NULL) continue;
    /* C_VerifySignature has Sign in it, and signs nothing. */
    if (i == LIVE_SIGN && strstr(name, "VerifySignature") != NULL) continue;
    role.ops |= (uint16_t)(1u << (!messages         ? i
                                  : i < LIVE_DIGEST ? LIVE_MESSAGE_ENCRYPT + i
                                                    : LIVE_MESSAGE_ENCRYPT + i - 1));
  }
  bool goes_on = ends_with(name, "Update") || ends_with(name, "DigestKey");
  role.begins = ends_with(name, "Init");
  role.ends = ends_with(name, "Final") || (!messages && !role.begins && !goes_on);
  role.consumes = strstr(name, "Decrypt") != NULL || strstr(name, "Verify") != NULL;
  return role;
}

const struct live_role *live_role(int known)
{
  static struct live_role roles[P11_FUNCTIONS];
  static bool made;
  for (int i = 0; !made && i < P11_FUNCTIONS; i++) roles[i] = role_of(&p11_functions[i]);
  made = true;
  return &roles[known];
}
