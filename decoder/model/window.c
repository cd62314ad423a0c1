/* The login of a slot: calls that change it, and reports of it, one by one or overlapping.
 *
 * Call A is before call B if and only if A's LEAVE is before B's ENTER. A window is open from the ENTER of a call that
 * changes the login until no call of the slot is under way that overlaps such a call. What was under way when it opened
 * belongs to it: such calls are only counted when they begin, and taken in when they return. With one thread a window has
 * one call, and nothing is kept. */
#include "decoder/model/window.h"

#include <stdlib.h>

#define DOUBTS (WINDOW_OPS * 3 / 4) /* so many calls are waited for to learn which sessions are open */

/* --- one slot ----------------------------------------------------------------------------------- */

/* Sessions that were open when the token was removed are gone, whatever the application closes afterwards. */
bool window_lives(const struct model_slot *slot, const struct model_session *session)
{
  return !session->lost && (!slot->gone.number || session->opened.end_number > slot->gone.number);
}

bool window_unsure(const struct model_slot *slot)
{
  return slot->window.unsure || slot->module->opening;
}

bool model_may_be_last(const struct model_slot *slot)
{
  return slot->window.live <= slot->window.closing;
}

void model_window_reset(struct model_slot *slot, uint8_t login, bool all_known)
{
  struct model_window *w = &slot->window;
  if (w->calls) w->calls->ops = 0;
  w->live = 0;
  w->unsure = !all_known;
  w->lost = w->open = w->asking > 0;
  w->waits = w->asking;
  w->cut = slot->module->process->last_number + 1;
  slot->login = w->lost ? LOGIN_ANY : login;
}

/* Too many calls, or something that cannot be followed: everything is possible when the window closes. */
static void lose(struct model_slot *slot)
{
  struct model_window *w = &slot->window;
  for (unsigned i = 0; w->calls && i < w->calls->ops; i++) {
    if (!w->calls->op[i].watches) continue;
    w->calls->op[i].seen.overlapped = true;
    window_report(slot->module, &w->calls->op[i].seen);
  }
  if (w->calls) {
    w->unsure |= w->calls->all;
    w->calls->ops = 0;
  }
  w->lost = true;
  slot->login = LOGIN_ANY;
}

static void lose_all(struct model_module *m)
{
  size_t at = 0;
  for (struct model_slot *s; (s = table_next(&m->slots, &at));) {
    lose(s);
    s->window.lost = s->window.open;
  }
}

void model_window_removed(struct model_slot *slot, const struct call *call)
{
  struct model_window *w = &slot->window;
  size_t at = 0;
  w->live = 0;
  for (struct model_session *s; slot->sessions && (s = table_next(&slot->module->sessions, &at));) {
    if (s->slot != slot || s->opened.end_number < call->number) continue;
    s->lost = true; /* opened meanwhile: before or after it was put in again */
    w->unsure = true;
  }
  if (w->open || w->asking || slot->changed > call->number) {
    lose(slot);
    w->lost = w->open;
  } else {
    slot->login = LOGIN_PUBLIC;
  }
}

void model_was_open(struct model_slot *slot)
{
  struct model_window *w = &slot->window;
  w->live++;
  if (!w->open) return;
  w->live_before++;
  if (w->calls) w->calls->rest++;
}

bool model_doubtful(const struct model_session *session)
{
  const struct note *all = &session->slot->last.all, *opened = &session->opened;
  return opened->number < all->end_number && all->number < opened->end_number;
}

/* A session that nobody closed and the module does not know: the token may have been pulled, and all sessions with it. */
void model_session_lost(struct model_session *session)
{
  struct model_slot *slot = session->slot;
  struct model_window *w = &slot->window;
  size_t at = 0;
  if (model_doubtful(session)) return;
  if (!window_lives(slot, session) || w->closing_all || (w->open && w->calls && w->calls->all)) return;
  for (struct model_session *s; (s = table_next(&slot->module->sessions, &at));)
    if (s->slot == slot) s->lost = true;
  w->live = 0;
  w->unsure = true;
  slot->login |= LOGIN_PUBLIC;
  if (w->open) lose(slot);
}

/* --- calls that overlap ------------------------------------------------------------------------- */

static void clear(struct model_slot *slot)
{
  struct model_window *w = &slot->window;
  struct window *c = w->calls;
  if (!c) return;
  c->ops = c->handles = c->open = 0;
  c->rest = w->live_before;
  c->start = w->before;
  c->unsure = window_unsure(slot);
  c->loose = c->all = false;
}

static struct window *window_of(struct model_slot *slot)
{
  if (!slot->window.calls) {
    slot->window.calls = model_alloc(sizeof *slot->window.calls);
    clear(slot);
  }
  return slot->window.calls;
}

/* The number of the call's session in the window, -1 when whether it was open before is not known. */
static int handle_of(struct model_slot *slot, struct window *c, const struct window_op *op)
{
  if (!op->session) return -1;
  for (unsigned i = 0; i < c->handles; i++)
    if (c->handle[i] == op->session) return (int)i;
  const struct model_session *s = model_session(slot->module, op->session);
  const bool was_open = op->effect != EFFECT_OPEN && s && s->slot == slot && window_lives(slot, s) && c->rest;
  if ((op->effect != EFFECT_OPEN && !was_open) || c->handles == WINDOW_HANDLES) return -1;
  if (was_open) {
    c->open |= 1u << c->handles;
    c->rest--;
  }
  c->handle[c->handles] = op->session;
  return (int)c->handles++;
}

/* Makes room: what calls saw is forgotten, and, as long as another session stays open, which sessions are. */
static bool thin(struct model_slot *slot, struct window *c)
{
  unsigned kept = 0;
  if (c->all || !c->rest) return false;
  for (unsigned i = 0; i < c->ops; i++)
    if (c->op[i].last) return false;
  for (unsigned i = 0; i < c->ops; i++) {
    struct window_op *op = &c->op[i];
    if (op->watches) {
      op->seen.overlapped = true;
      window_report(slot->module, &op->seen);
    } else if (op->after) {
      c->op[kept] = *op;
      c->op[kept++].handle = -1;
    }
  }
  c->loose = true;
  c->ops = kept;
  return kept < WINDOW_OPS / 2;
}

static void take(const struct call *call, const struct model_place *place, struct model_slot *slot,
                 struct window_op *op)
{
  struct window *c = window_of(slot);
  if (c->loose && op->effect != EFFECT_NONE) {
    if (op->effect == EFFECT_ALL || op->last) lose(slot);
    return;
  }
  if (c->ops == WINDOW_OPS && !thin(slot, c)) {
    lose(slot);
    return;
  }
  c->unsure |= window_unsure(slot);
  c->all |= op->effect == EFFECT_ALL;
  op->handle = c->loose ? -1 : (int8_t)handle_of(slot, c, op);
  if (op->handle < 0 && op->effect != EFFECT_NONE && op->effect != EFFECT_ALL) c->unsure = true;
  window_describe(call, place, slot, op, &op->seen);
  op->seen.overlapped = true;
  c->op[c->ops++] = *op;
  if (op->after) slot->login |= op->after;
  if (op->effect == EFFECT_CLOSE || op->effect == EFFECT_ALL) slot->login |= LOGIN_PUBLIC;
}

/* Everything that the calls may have left on the way. */
static uint8_t any_of(const struct window *c)
{
  uint8_t login = c->start;
  for (unsigned i = 0; i < c->ops; i++) {
    login |= c->op[i].after;
    if (c->op[i].effect == EFFECT_CLOSE || c->op[i].effect == EFFECT_ALL) login |= LOGIN_PUBLIC;
  }
  return login;
}

/* All calls are over, or, if `anyway`, no more are to come. */
static void over(struct model_slot *slot, bool anyway)
{
  struct model_window *w = &slot->window;
  struct window *c = w->calls;
  struct window_end end;
  if (w->lost) {
    slot->login = LOGIN_ANY;
    w->open = w->lost = false;
    return;
  }
  if (!c || !c->ops) {
    slot->login = w->before;
    w->open = false;
    return;
  }
  if (!window_solve(c, &end)) {
    lose(slot);
    w->open = w->lost = false;
    return;
  }
  bool said = false;
  for (unsigned i = 0; i < c->ops; i++) said |= c->op[i].odd;
  const bool doubt = !c->loose && (end.open != end.maybe || end.rest != end.maybe_rest);
  if (doubt && !said && !anyway && c->ops < DOUBTS) return;
  const uint8_t any = any_of(c);
  for (unsigned i = 0; i < c->ops; i++) {
    struct window_op *op = &c->op[i];
    if (!op->odd && !op->watches) continue;
    op->seen.possible = op->odd ? op->possible : any | op->seen.seen;
    if (op->need != LOGIN_ANY) window_report(slot->module, &op->seen);
  }
  if (!c->loose) {
    w->live = (unsigned)__builtin_popcount(end.open) + (end.rest ? c->rest : 0);
    w->unsure = (w->unsure && !c->all) || doubt;
  }
  slot->login = end.login;
  c->ops = 0;
  w->open = false;
}

/* --- beginning and end of calls ----------------------------------------------------------------- */

static bool matters(const struct call *call)
{
  switch (call->known) {
    case P11_F_C_OpenSession:
    case P11_F_C_CloseSession:
    case P11_F_C_CloseAllSessions:
    case P11_F_C_GetSessionInfo:
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
    case P11_F_C_Logout:
    case P11_F_C_InitToken: return true;
    default: return false;
  }
}

static bool closes_all(const struct call *call)
{
  return call->known == P11_F_C_CloseAllSessions || call->known == P11_F_C_InitToken;
}

static struct model_slot *slot_of(struct model_module *m, const struct call *call)
{
  uint64_t n;
  if (!pick_in(call, 0, &n)) return NULL;
  if (call->info->param[0].kind == P11_K_SLOT) return table_get(&m->slots, n);
  const struct model_session *s = model_session(m, n);
  return s ? s->slot : NULL;
}

void model_window_enter(struct model_module *m, const struct call *call)
{
  if (!matters(call)) return;
  struct model_slot *slot = slot_of(m, call);
  if (!slot) {
    m->opening += call->known == P11_F_C_OpenSession;
    return;
  }
  struct model_window *w = &slot->window;
  if (m->flights == m->flight_room) {
    const unsigned room = m->flight_room ? m->flight_room * 2 : 8;
    struct model_flight *more = model_alloc(room * sizeof *more);
    for (unsigned i = 0; i < m->flights; i++) more[i] = m->flight[i];
    free(m->flight);
    m->flight = more;
    m->flight_room = room;
  }
  bool changes = call->known != P11_F_C_GetSessionInfo && call->known != P11_F_C_OpenSession;
  w->asking++;
  w->closing_all += closes_all(call);
  if (call->known == P11_F_C_CloseSession) {
    w->closing++;
    changes = model_may_be_last(slot);
  }
  m->flight[m->flights++] = (struct model_flight){.number = call->number, .slot = slot, .changes = changes};
  if (!changes) return;
  w->changing++;
  if (w->open) return;
  w->open = true;
  w->before = slot->login;
  w->live_before = w->live;
  clear(slot);
}

static bool landed(struct model_module *m, uint64_t number, struct model_flight *flight)
{
  for (unsigned i = m->flights; i-- > 0;) {
    if (m->flight[i].number != number) continue;
    *flight = m->flight[i];
    m->flight[i] = m->flight[--m->flights];
    return true;
  }
  return false;
}

/* A session of a slot that is not known, or the last that is. */
static void close_unknown(struct model_module *m)
{
  size_t at = 0;
  for (struct model_slot *s; (s = table_next(&m->slots, &at));) {
    if (s->window.open)
      lose(s);
    else if (!s->window.live)
      s->login |= LOGIN_PUBLIC;
  }
}

/* Its beginning is not known, or its slot was not: what it may overlap is not known either. */
static void stray(const struct call *call, const struct model_place *place, const struct window_op *op, bool known)
{
  struct model_slot *slot = place->slot;
  if (op->watches) {
    if (known && slot && !slot->window.open) window_look(call, place, slot, op, !model_settled(slot, call));
  } else if (op->effect == EFFECT_OPEN) {
    if (!slot) return;
    slot->window.live++;
    if (slot->window.open) lose(slot);
  } else if (op->effect == EFFECT_CLOSE) {
    if (slot) window_count(slot, op); /* another call has told its slot meanwhile */
    close_unknown(place->module);
  } else if (op->effect != EFFECT_ALL || !slot || !known) {
    if (op->after || op->effect == EFFECT_ALL) lose_all(place->module);
  }
}

void model_finish(struct model_module *module)
{
  size_t at = 0;
  for (struct model_slot *s; (s = table_next(&module->slots, &at));)
    if (s->window.open && !s->window.asking) over(s, true);
}

void model_observe(const struct event *event, struct model_place *place)
{
  const struct call *call = event->call;
  struct model_module *m = place->module;
  struct model_flight flight = {0};
  struct window_op op;
  if (call->known == P11_F_C_Finalize && call_returned(call, CKR_OK)) model_finish(m);
  if (!matters(call)) return;
  model_adopt(call, place);
  const bool means = window_op(call, &op);
  if (call->state == CALL_HEADLESS || !landed(m, call->number, &flight)) {
    if (call->known == P11_F_C_OpenSession && call->state != CALL_HEADLESS && m->opening) m->opening--;
    if (means) stray(call, place, &op, call->state != CALL_HEADLESS);
    return;
  }
  struct model_slot *slot = flight.slot;
  struct model_window *w = &slot->window;
  /* Calls that concern all slots overlap: C_Finalize, or a login on a session whose slot is not known. */
  const bool blind = m->changing || m->changed > call->number;
  w->asking--;
  w->changing -= flight.changes;
  w->closing -= call->known == P11_F_C_CloseSession;
  w->closing_all -= closes_all(call);
  if (call->known == P11_F_C_OpenSession && call->state != CALL_DONE) w->unsure = true;
  if (!w->open) {
    /* A change whose beginning is not in the trace has opened no window. */
    if (means) {
      window_count(slot, &op);
      window_look(call, place, slot, &op, blind || !model_settled(slot, call));
    }
    return;
  }
  if (blind) lose(slot);
  if (flight.changes && !w->asking && !w->lost && !(w->calls && w->calls->ops)) {
    slot->login = w->before;
    if (means) window_alone(call, place, slot, &op);
    w->open = false;
    return;
  }
  if (means) {
    op.last = op.effect == EFFECT_CLOSE && flight.changes;
    if (!w->lost) take(call, place, slot, &op);
    if (w->lost && op.watches) window_look(call, place, slot, &op, true);
    window_count(slot, &op);
  } else if (!w->lost) {
    handle_of(slot, window_of(slot), &op); /* it is known still */
  }
  if (flight.changes) {
    w->cut = op.leave;
    w->waits = w->asking;
  } else if (call->number < w->cut && w->waits) {
    w->waits--;
  }
  if (!w->changing && !w->waits) over(slot, false);
}
