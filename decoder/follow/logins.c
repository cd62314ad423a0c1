#include "decoder/follow/logins.h"

#include <stdlib.h>
#include <string.h>

#include "decoder/model/model.h"
#include "decoder/read/arena.h"

/* Slots of processes that have ended are forgotten, the oldest first, when there are more than this. */
enum { MANY = 16 };

struct login {
  const struct process *process;
  const struct model_slot *slot; /* NULL: the process has ended, or the module is gone */
  uint64_t id;
  char module[256], token[33];
  unsigned prompts;
  uint8_t said; /* LOGIN_*: the last answer that says what the login is; 0 none */
  uint8_t may;  /* what the model makes of all answers, as last looked at */
  bool absent;
  bool parted; /* an answer was given that no order of the calls explains */
};

struct logins {
  struct login **login;
  size_t count, room;
  bool changed;
};

/* From a slot of the model to its entry, which outlives the slot. */
struct link {
  struct logins *logins;
  struct login *login;
};

static void unlink_slot(void *state)
{
  struct link *link = state;
  if (!link->login) return;
  link->login->slot = NULL;
  link->logins->changed = true;
}

static const struct kept_type link_type = {sizeof(struct link), unlink_slot};

static void forget_ended(struct logins *l)
{
  for (size_t i = 0; i < l->count && l->count > MANY;) {
    if (l->login[i]->slot) {
      i++;
      continue;
    }
    free(l->login[i]);
    memmove(&l->login[i], &l->login[i + 1], (--l->count - i) * sizeof(struct login *));
  }
}

/* A slot of a module that is loaded or initialised again goes on in its entry. */
static struct login *find(const struct logins *l, const struct model_slot *slot)
{
  const struct process *process = slot->module->process->process;
  const char *module = model_module_path(slot->module);
  for (size_t i = 0; i < l->count; i++) {
    struct login *n = l->login[i];
    if (!n->slot && n->process == process && n->id == slot->id && !strncmp(n->module, module, sizeof n->module - 1))
      return n;
  }
  return NULL;
}

static struct login *login_of(struct logins *l, struct model_slot *slot)
{
  struct link *link = kept_make(&slot->kept, &link_type);
  if (link->login) return link->login;
  struct login *n = find(l, slot);
  if (!n) {
    if (l->count == l->room) {
      l->room = l->room ? l->room * 2 : MANY;
      l->login = read_realloc(l->login, l->room * sizeof(struct login *));
    }
    n = l->login[l->count++] = read_zalloc(sizeof *n);
    n->process = slot->module->process->process;
    n->id = slot->id;
    strncpy(n->module, model_module_path(slot->module), sizeof n->module - 1);
  }
  n->slot = slot;
  *link = (struct link){l, n};
  l->changed = true;
  forget_ended(l);
  return n;
}

static void say(struct logins *l, struct login *n, unsigned said)
{
  if (n->said == said) return;
  n->said = (uint8_t)said;
  l->changed = true;
}

/* A prompt is what decoder/state counts as one: every login but that of the security officer. */
static void take_login(struct logins *l, const struct call *call, const struct model_place *place)
{
  uint64_t user;
  if (call->known != P11_F_C_Login && call->known != P11_F_C_LoginUser) return;
  if (!place->slot || call->state != CALL_DONE || call_is_probe(call)) return;
  struct login *n = login_of(l, place->slot);
  if (pick_in(call, 1, &user) && user == CKU_SO) return;
  n->prompts++;
  l->changed = true;
}

static void take_state(struct logins *l, const struct model_observation *seen)
{
  if (seen->answer || seen->probe || !seen->seen) return;
  struct login *n = login_of(l, seen->slot);
  n->may = seen->slot->login;
  say(l, n, seen->seen);
  if (n->parted || seen->seen & seen->possible) return;
  n->parted = l->changed = true;
}

/* The answers of C_Login, C_Logout and of closing calls say the state as well as C_GetSessionInfo does, and many programs
 * never call that.  The model knows which do. */
static void take_answers(struct logins *l)
{
  for (size_t i = 0; i < l->count; i++) {
    struct login *n = l->login[i];
    if (!n->slot) continue;
    if (n->may != n->slot->login) {
      n->may = n->slot->login;
      if (n->may == LOGIN_PUBLIC || n->may == LOGIN_USER || n->may == LOGIN_SO) say(l, n, n->may);
    }
    if (n->absent != n->slot->absent) {
      n->absent = n->slot->absent;
      l->changed = true;
    }
    if (n->slot->token.known && memcmp(n->token, n->slot->token.label, sizeof n->token) != 0) {
      memcpy(n->token, n->slot->token.label, sizeof n->token);
      l->changed = true;
    }
  }
}

bool logins_event(struct logins *l, const struct event *event)
{
  l->changed = false;
  model_event(event, 0);
  if (event->type == EVENT_CALL) {
    struct model_place place;
    struct model_observation seen;
    model_place(event, &place);
    model_observe(event, &place);
    take_login(l, event->call, &place);
    while (model_observed(place.module, &seen)) take_state(l, &seen);
    model_apply(event, &place);
    take_answers(l);
  }
  if (event->type == EVENT_END) model_drop(event->process);
  return l->changed;
}

static const char *words(const struct login *n)
{
  if (n->absent) return " gone";
  switch (n->said) {
    case LOGIN_PUBLIC: return " logged out";
    case LOGIN_USER: return " logged in";
    case LOGIN_SO: return " logged in as SO";
    default: return " not known";
  }
}

static void put_process(struct text *text, const struct process *p)
{
  const char *program = p->program && *p->program ? p->program : "process";
  text_escaped(text, program, strlen(program), "");
  text_c(text, '[');
  text_u(text, p->pid);
  text_s(text, "] ");
}

void logins_text(const struct logins *l, struct text *text)
{
  bool several = false;
  for (size_t i = 1; i < l->count; i++) several |= l->login[i]->process != l->login[0]->process;
  for (size_t i = 0; i < l->count; i++) {
    const struct login *n = l->login[i];
    if (i) text_s(text, "; ");
    if (n->parted) text_s(text, "! ");
    if (several) put_process(text, n->process);
    if (*n->token) {
      text_quoted(text, n->token, strlen(n->token));
    } else {
      text_s(text, "slot ");
      text_u(text, n->id);
    }
    text_s(text, words(n));
    text_s(text, ", ");
    text_u(text, n->prompts);
    text_s(text, n->prompts == 1 ? " prompt" : " prompts");
    if (!n->slot) text_s(text, " (ended)");
  }
}

struct logins *logins_new(void)
{
  return read_zalloc(sizeof(struct logins));
}

/* The model of processes that have not ended goes first: its slots lead here. */
void logins_free(struct logins *l)
{
  for (size_t i = 0; i < l->count; i++)
    if (l->login[i]->slot) model_drop(l->login[i]->slot->module->process->process);
  for (size_t i = 0; i < l->count; i++) free(l->login[i]);
  free(l->login);
  free(l);
}
