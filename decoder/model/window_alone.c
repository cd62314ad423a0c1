/* Calls that nothing overlaps. */
#include "decoder/model/window.h"

void window_count(struct model_slot *slot, const struct window_op *op)
{
  struct model_window *w = &slot->window;
  const struct model_session *s = model_session(slot->module, op->session);
  if (op->effect == EFFECT_OPEN) w->live++;
  if (op->effect == EFFECT_CLOSE && w->live && s && window_lives(slot, s)) w->live--;
  if (op->effect == EFFECT_ALL) {
    w->live = 0;
    w->unsure = op->either;
  }
}

/* The state that a session reports, and nothing that changes it is under way. */
void window_look(const struct call *call, const struct model_place *place, struct model_slot *slot,
                 const struct window_op *op, bool blind)
{
  struct model_observation seen;
  const struct model_session *s = model_session(slot->module, op->session);
  /* A dead session may say what it likes, unless somebody could log in again. */
  const bool known = !blind && (!s || window_lives(slot, s) || slot->last.login.number > slot->gone.number);
  if (!op->watches) return;
  window_describe(call, place, slot, op, &seen);
  seen.overlapped = blind;
  if (known) {
    seen.possible = slot->login;
    slot->login = op->need;
  }
  window_report(slot->module, &seen);
}

static void odd(const struct call *call, const struct model_place *place, struct model_slot *slot,
                const struct window_op *op)
{
  struct model_observation seen;
  window_describe(call, place, slot, op, &seen);
  seen.possible = slot->login;
  seen.overlapped = !model_settled(slot, call); /* by calls without effect */
  window_report(slot->module, &seen);
}

void window_alone(const struct call *call, const struct model_place *place, struct model_slot *slot,
                  const struct window_op *op)
{
  uint8_t login = 0;
  for (uint8_t from = LOGIN_PUBLIC; from <= LOGIN_SO; from <<= 1)
    if (slot->login & op->need & from) login |= op->after ? op->after : from;
  if (!login) {
    odd(call, place, slot, op);
    login = op->after ? op->after : slot->login;
  }
  if (op->either) login |= slot->login;
  if (op->effect == EFFECT_ALL) login = op->either ? slot->login | LOGIN_PUBLIC : LOGIN_PUBLIC;
  window_count(slot, op);
  if (op->effect == EFFECT_CLOSE && !slot->window.live)
    login = window_unsure(slot) || op->either ? login | LOGIN_PUBLIC : LOGIN_PUBLIC;
  slot->login = login;
}
