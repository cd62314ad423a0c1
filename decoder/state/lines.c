#include <stdlib.h>
#include <string.h>

#include "decoder/model/idiom.h"
#include "decoder/read/arena.h"
#include "decoder/state/state.h"

/* A life hangs on its slot in the model, so that it is found in one step. */
struct link {
  struct life *life;
};
static const struct kept_type link_type = {sizeof(struct link), NULL};

/* The same slot of the same process after C_Finalize and C_Initialize is one life. */
struct life *states_life(struct states *s, struct model_slot *slot)
{
  struct link *link = kept_make(&slot->kept, &link_type);
  if (link->life) return link->life;
  struct process *process = slot->module->process->process;
  for (size_t i = 0; i < s->count && !link->life; i++) {
    struct life *l = s->life[i];
    if (l->process == process && l->slot == slot->id && !strncmp(l->module, model_module_path(slot->module), 255))
      link->life = l;
  }
  if (link->life) return link->life;
  struct life *l = link->life = model_alloc(sizeof *l);
  l->process = process;
  l->slot = slot->id;
  snprintf(l->module, sizeof l->module, "%s", model_module_path(slot->module));
  if (s->count == s->room) s->life = read_realloc(s->life, (s->room = s->room ? s->room * 2 : 8) * sizeof *s->life);
  s->life[s->count++] = l;
  return l;
}

static void name_token(struct life *l, const struct model_slot *slot)
{
  if (!slot->token.known || *l->token) return;
  memcpy(l->token, slot->token.label, sizeof l->token);
  memcpy(l->serial, slot->token.serial, sizeof l->serial);
}

static struct line *last_line(struct life *l, enum line_kind kind)
{
  return l->lines && l->line[l->lines - 1].kind == kind ? &l->line[l->lines - 1] : NULL;
}

/* "PK11_DoPassword in libnss3.so", or file and offset. */
static void name_caller(const struct states *s, const struct event *event, struct line *n)
{
  const uint64_t address = event->call->caller;
  const struct symbol_frame *f = address && s->symbols ? symbols_frame(s->symbols, event->process, address) : NULL;
  if (f && f->function)
    snprintf(n->caller, sizeof n->caller, "%s in %s", f->function, f->object ? f->object->name : "?");
  else if (address)
    trace_address(event->process, address, n->caller, sizeof n->caller);
}

static struct line *add(struct states *s, struct life *l, enum line_kind kind, const struct event *event,
                        const struct model_place *place)
{
  const struct call *call = event->call;
  if (l->lines == l->room) l->line = read_realloc(l->line, (l->room = l->room ? l->room * 2 : 32) * sizeof *l->line);
  struct line *n = &l->line[l->lines++];
  *n = (struct line){.kind = kind,
                     .idiom = place->idiom,
                     .first = call->start > s->origin ? call->start - s->origin : 0,
                     .number = call->number,
                     .count = 1,
                     .rv = call->rv,
                     .tid = call->tid,
                     .function = (int16_t)call->known};
  n->last = n->first;
  pick_in(call, 0, &n->session);
  if (call->thread) snprintf(n->thread, sizeof n->thread, "%s", call->thread);
  name_caller(s, event, n);
  return n;
}

static void again(const struct states *s, struct line *line, const struct call *call)
{
  line->count++;
  line->last = call->start > s->origin ? call->start - s->origin : 0;
}

static void session_line(struct states *s, struct life *l, const struct event *event, const struct model_place *place,
                         bool opened)
{
  struct line *n = last_line(l, LINE_SESSIONS);
  if (n)
    again(s, n, event->call);
  else
    n = add(s, l, LINE_SESSIONS, event, place);
  n->opened += opened;
  n->closed += !opened;
}

/* Is it the slot's last session that is closed? */
static bool is_last(const struct model_place *place)
{
  return place->session && place->slot->sessions <= 1;
}

static bool dead(const struct call *call)
{
  return call->rv == CKR_SESSION_HANDLE_INVALID || call->rv == CKR_SESSION_CLOSED || call->rv == CKR_DEVICE_REMOVED;
}

static void login_line(struct states *s, struct life *l, const struct event *event, const struct model_place *place)
{
  struct line *n = add(s, l, LINE_LOGIN, event, place);
  if (!pick_in(event->call, 1, &n->user)) n->user = CK_UNAVAILABLE_INFORMATION;
  if (n->user != CKU_SO) n->prompt = ++l->prompts;
}

/* The login that the call tells the reason of. */
static void turn(struct life *l, const struct model_place *place)
{
  for (size_t i = l->lines; place->turned.number && i > 0; i--) {
    struct line *n = &l->line[i - 1];
    if (n->number < place->turned.number) return;
    if (n->kind == LINE_LOGIN && n->number == place->turned.number && idiom_may_turn(n->idiom))
      n->idiom = place->turned.idiom;
  }
}

/* What the call is to the slot; before model_apply(). */
static void take_call(struct states *s, const struct event *event, const struct model_place *place)
{
  const struct call *call = event->call;
  const bool ok = call_returned(call, CKR_OK);
  if (!place->slot || call->state != CALL_DONE || call->known < 0 || call->flags & P11T_PROBE) return;
  struct life *l = states_life(s, place->slot);
  switch (call->known) {
    case P11_F_C_OpenSession:
      if (ok) session_line(s, l, event, place, true);
      break;
    case P11_F_C_CloseSession:
      if (ok && is_last(place))
        add(s, l, LINE_CLOSE, event, place);
      else if (ok)
        session_line(s, l, event, place, false);
      break;
    case P11_F_C_CloseAllSessions: add(s, l, LINE_CLOSE, event, place); break;
    case P11_F_C_Login:
    case P11_F_C_LoginUser: login_line(s, l, event, place); return;
    case P11_F_C_Logout: add(s, l, LINE_LOGOUT, event, place); return;
    case P11_F_C_SetPIN:
    case P11_F_C_InitPIN:
    case P11_F_C_InitToken: add(s, l, LINE_PIN, event, place); return;
    default: break;
  }
  if (dead(call) && place->session) {
    struct line *n = last_line(l, LINE_DEAD);
    if (n && n->session == place->session->handle)
      again(s, n, call);
    else
      add(s, l, LINE_DEAD, event, place);
  }
}

/* A state that the module reported, when all that overlapped it is over. */
static void take_state(struct states *s, const struct event *event, const struct model_observation *seen)
{
  if (seen->answer || seen->probe) return;
  struct life *l = states_life(s, seen->slot);
  struct line *n = last_line(l, LINE_STATE);
  const bool parts = seen->seen && !(seen->seen & seen->possible);
  const uint64_t at = seen->note.start > s->origin ? seen->note.start - s->origin : 0;
  if (n && n->state == seen->state && (n->parts || !parts)) {
    n->count++;
    n->last = at;
    return;
  }
  const struct model_place place = {.idiom = seen->note.idiom};
  n = add(s, l, LINE_STATE, event, &place);
  n->first = n->last = at;
  n->number = seen->note.number;
  n->tid = seen->note.tid;
  n->rv = CKR_OK;
  n->function = P11_F_C_GetSessionInfo;
  n->session = seen->session;
  n->state = seen->state;
  n->seen = seen->seen;
  n->possible = seen->possible;
  n->parts = parts;
  l->parts += parts;
}

/* Presence, from what the model makes of the call; after model_apply(). */
static void take_presence(struct states *s, const struct event *event, const struct model_place *place, bool was_absent)
{
  if (!place->slot || event->call->state != CALL_DONE) return;
  struct life *l = place->slot->absent != was_absent ? states_life(s, place->slot) : NULL;
  if (l) add(s, l, was_absent ? LINE_BACK : LINE_GONE, event, place);
  if (place->slot->token.known) name_token(states_life(s, place->slot), place->slot);
}

static void finalized(struct states *s, const struct event *event, const struct model_place *place)
{
  size_t at = 0;
  for (struct model_slot *slot; (slot = table_next(&place->module->slots, &at));)
    if (slot->sessions) add(s, states_life(s, slot), LINE_CLOSE, event, place)->by_calls = LOGIN_PUBLIC;
}

/* What the application's own calls make of the login: the last of those that change it. Removal ends it too. */
static uint8_t by_calls(const struct model_slot *slot)
{
  const uint64_t user = slot->last.login.number, so = slot->last.so.number;
  const uint64_t ends[] = {slot->last.logout.number, slot->last.all.number, slot->gone.number};
  uint64_t end = 0;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (ends[i] > end) end = ends[i];
  if (slot->absent) return 0;
  if (user > end && user > so) return LOGIN_USER;
  if (so > end) return LOGIN_SO;
  return end ? LOGIN_PUBLIC : slot->login;
}

static void call_over(struct states *s, const struct event *event)
{
  struct model_place place;
  struct model_observation seen;
  model_place(event, &place);
  place.idiom = (uint8_t)idiom_by_stack(place.idiom, event, s->symbols);
  if (s->call) s->call(s->user, event, &place);
  struct life *life = place.slot ? states_life(s, place.slot) : NULL;
  const size_t before = life ? life->lines : 0;
  const bool absent = place.slot && place.slot->absent;
  if (life) turn(life, &place);
  take_call(s, event, &place);
  if (event->call->known == P11_F_C_Finalize && call_returned(event->call, CKR_OK)) finalized(s, event, &place);
  model_observe(event, &place);
  while (model_observed(place.module, &seen)) take_state(s, event, &seen);
  model_apply(event, &place);
  take_presence(s, event, &place, absent);
  for (size_t i = before; life && i < life->lines; i++) life->line[i].by_calls = by_calls(place.slot);
}

void states_event(struct states *states, const struct event *event)
{
  model_event(event, states->origin);
  if (event->type == EVENT_CALL) call_over(states, event);
  if (event->type == EVENT_END) model_drop(event->process);
}

void states_free(struct states *states)
{
  for (size_t i = 0; i < states->count; i++) {
    free(states->life[i]->line);
    free(states->life[i]);
  }
  free(states->life);
}
