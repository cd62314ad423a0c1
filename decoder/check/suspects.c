#include "decoder/check/suspects.h"

#include "decoder/rules/rules.h"

#define SECOND 1000000000ull
#define SLEEP (30 * SECOND) /* so long after a suspend a login may be lost by that */

/* Of a slot: what was reported. */
struct trail {
  struct note user, public, used, benign, refused;
  struct model_observation last;
  uint64_t login; /* LEAVE number of the login that the next three are of */
  bool spread;    /* another session than the one that logged in has reported it */
  bool lost;      /* a report that nobody is logged in could not be */
  bool gained;    /* of the slot: a login was reported that nobody had made */
  bool waits;     /* `early` waits for the session that logged in */
  bool quiet;     /* and there is nothing to tell if that does not answer: the token may have been pulled */
  struct model_observation early; /* the public state, of another session than the one that logged in */
  unsigned claims;                /* `claim` waits for the next report: the rules that will have it */
  struct model_observation claim; /* CKR_USER_ALREADY_LOGGED_IN where nobody is */
  unsigned pair;                  /* SUSPECT_LOGIN_01 or _02: what `last` and `other` were taken for */
  struct note other;              /* the report before `last`, which it contradicts */
  uint64_t wrong;                 /* number of the last report that could not be */
  uint64_t slept;                 /* ns */
  struct suspects now;
};
static const struct kept_type trail_type = {sizeof(struct trail), NULL};

/* Notes of calls that began after the report are not evidence for it. */
static struct note before(const struct note *note, const struct model_observation *seen)
{
  return note->number && note->number < seen->note.end_number ? *note : (struct note){0};
}

static void gather(const struct model_slot *slot, const struct trail *t, const struct model_observation *seen,
                   struct suspects *s)
{
  *s = (struct suspects){
      .seen = *seen,
      .login = before(&slot->last.login, seen),
      .logout = before(&slot->last.logout, seen),
      .all = before(&slot->last.all, seen),
      .closed = before(&slot->last.closed, seen),
      .pin = before(&slot->last.pin, seen),
      .gone = before(&slot->gone, seen),
      .user = t->user,
      .public = t->public,
      .used = t->used,
      .refused = t->refused,
      .begun = seen->opened,
  };
  const uint64_t evidence = s->user.number > s->used.number ? s->user.end_number : s->used.end_number;
  if (t->benign.number == evidence + 1 && seen->note.number == t->benign.end_number + 1) s->benign = t->benign;
}

static uint64_t latest(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* When the login last changed, as far as the calls say. */
static uint64_t changed(const struct suspects *s)
{
  return latest(latest(s->login.end_number, s->logout.end_number), s->all.end_number);
}

/* A login or logout on another slot since the last report of this one. */
static void look_elsewhere(struct model_slot *slot, struct suspects *s, const struct note *since, bool in)
{
  const struct model_module *m = slot->module;
  size_t at = 0;
  if (!since->number || changed(s) > since->number) return;
  for (struct model_slot *o; (o = table_next(&m->slots, &at));) {
    const struct note did = before(in ? &o->last.login : &o->last.logout, &s->seen);
    if (o == slot || did.number < since->number || did.number < s->elsewhere.number) continue;
    s->elsewhere = did;
    s->elsewhere_slot = o;
    s->rules |= SUSPECT_LOGIN_17;
  }
}

/* The last report contradicts this one, is of another session, and nothing was done between. */
static bool contradicts(const struct trail *t, const struct suspects *s)
{
  const struct model_observation *a = &t->last;
  return a->note.number && a->session != s->seen.session && a->seen != s->seen.seen && !a->overlapped &&
         !s->seen.overlapped && !a->removal && a->note.number > changed(s) && a->note.end_number < s->seen.note.number;
}

/* This session has contradicted the other one before: nothing that happened between can explain both. */
static void again(const struct trail *t, struct suspects *s)
{
  if (!t->pair || !t->other.values || t->other.value[0] != s->seen.session || t->other.number < changed(s)) return;
  s->other_before = t->other;
  s->back_and_forth = true;
}

/* A card that was pulled and put in again unseen takes its sessions and the login with it: a session that was opened since
 * the last sign of the login tells nothing. */
static bool pulled(const struct model_slot *slot, const struct suspects *s)
{
  if (slot->has_flags && !(slot->flags & CKF_REMOVABLE_DEVICE)) return false;
  return s->begun.number > latest(latest(s->user.number, s->used.number), s->login.number);
}

static bool saw_login(const struct model_slot *slot, uint64_t session, const struct note *login)
{
  const struct model_session *s = model_session(slot->module, session);
  return s && s->user_seen > login->number;
}

static void logged_out(struct model_slot *slot, struct trail *t, struct suspects *s)
{
  const struct model_observation *seen = &s->seen;
  const struct note *login = &s->login;
  const bool elsewhere = login->values && seen->session != login->value[0];
  const uint64_t evidence = latest(s->user.number, s->used.number);
  const bool other = !seen->answer && contradicts(t, s) && t->last.seen == LOGIN_USER;
  if (pulled(slot, s)) {
    if (seen->answer || t->waits) return;
    t->waits = t->quiet = true;
    t->early = *seen;
    return;
  }
  t->lost = true;
  look_elsewhere(slot, s, &s->user, false);
  if (s->pin.number > latest(evidence, login->number)) s->rules |= SUSPECT_PIN_04;
  if (login->number > evidence && login->number > latest(s->logout.number, s->all.number)) {
    if (s->rules || !elsewhere || seen->answer || seen->overlapped) {
      s->rules |= SUSPECT_LOGIN_09;
    } else if (!t->waits) {
      t->waits = true;
      t->quiet = false;
      t->early = *seen;
    }
    return;
  }
  /* A session that has never seen the login has not lost it by a close. */
  if (evidence && s->closed.number > evidence && (!other || saw_login(slot, seen->session, login)))
    s->rules |= SUSPECT_SESS_08;
  if (other) {
    s->other = t->last.note;
    again(t, s);
  }
  if (other && elsewhere && t->last.session == login->value[0] && !t->spread) {
    s->rules |= t->pair = SUSPECT_LOGIN_01;
    return;
  }
  if (other) s->rules |= t->pair = SUSPECT_LOGIN_02;
  /* Cards lose power in their sleep. */
  if (t->slept && seen->note.start < t->slept + SLEEP) return;
  if (evidence) s->rules |= SUSPECT_LOGIN_04;
  s->rules |= SUSPECT_LOGIN_01;
}

/* Where no login is needed a token may say what it likes. */
static bool needs_login(const struct model_slot *slot)
{
  return !slot->token.known || slot->token.flags & CKF_LOGIN_REQUIRED;
}

static void logged_in(struct model_slot *slot, struct trail *t, struct suspects *s)
{
  const struct model_observation *seen = &s->seen;
  const struct note *login = &s->login, *all = &s->all;
  const uint64_t out = latest(latest(s->logout.number, all->number), s->gone.number);
  if (t->waits && !seen->answer) {
    /* The login is there after all, and not for all. */
    s->other = t->early.note;
    s->begun = t->early.opened;
    s->back_and_forth = true;
    s->rules |= login->values && seen->session == login->value[0] ? SUSPECT_LOGIN_01 : SUSPECT_LOGIN_02;
    t->waits = false;
    return;
  }
  if (!needs_login(slot)) return;
  if (all->number > latest(latest(login->number, s->public.number), s->logout.number) &&
      s->user.number + login->number && all->known != P11_F_C_InitToken)
    s->rules |= SUSPECT_SESS_07;
  if (!seen->answer) look_elsewhere(slot, s, &s->public, true);
  if (!seen->answer && contradicts(t, s) && t->last.seen == LOGIN_PUBLIC) {
    s->other = t->last.note;
    s->begun = t->last.opened;
    again(t, s);
    s->rules |= t->pair ? t->pair : SUSPECT_LOGIN_02;
    if (t->pair == SUSPECT_LOGIN_01) return;
    t->pair = SUSPECT_LOGIN_02;
  }
  /* What said that it was lost has been reported. */
  if ((t->lost && login->number > out) || (seen->answer && t->wrong > changed(s))) return;
  if ((s->logout.number > latest(s->public.number, all->number) && !t->gained) || login->number > out) {
    s->rules |= SUSPECT_LOGIN_01;
  } else {
    s->rules |= SUSPECT_LOGIN_05;
    t->gained = !seen->answer;
  }
}

static void answered(struct model_slot *slot, struct trail *t, struct suspects *s)
{
  if (s->seen.note.rv == CKR_USER_NOT_LOGGED_IN && s->seen.possible & LOGIN_USER) {
    logged_out(slot, t, s);
  } else if (s->seen.note.rv == CKR_USER_ALREADY_LOGGED_IN && s->seen.seen == LOGIN_USER) {
    logged_in(slot, t, s);
    if (s->seen.overlapped) return;
    /* Whose mistake it is the next report tells. */
    t->claims = s->rules;
    t->claim = s->seen;
    s->rules = 0;
  } else if (t->wrong <= changed(s) && !(s->seen.seen == LOGIN_PUBLIC && pulled(slot, s))) {
    s->rules |= SUSPECT_ANSWER; /* and not only after a report that was wrong itself */
  }
}

static void claimed(const struct model_slot *slot, struct trail *t, struct suspects *s)
{
  const struct model_observation claim = t->claim;
  gather(slot, t, &claim, s);
  s->rules = t->claims;
  t->claims = 0;
}

static void reported(struct model_slot *slot, struct trail *t, const struct model_observation *seen, struct suspects *s)
{
  const bool wrong = !(seen->possible & seen->seen) && !seen->removal;
  const bool own = s->login.values && seen->session == s->login.value[0];
  if (wrong) t->wrong = seen->note.number;
  if (wrong && seen->seen == LOGIN_PUBLIC) {
    t->claims = 0;
    logged_out(slot, t, s);
  } else if (wrong && seen->seen == LOGIN_USER) {
    logged_in(slot, t, s);
  } else if (wrong) {
    s->rules = SUSPECT_LOGIN_01;
  } else if (t->claims && seen->seen == LOGIN_USER) {
    claimed(slot, t, s);
  } else if (t->waits && seen->seen == LOGIN_PUBLIC && own) {
    s->rules = latest(s->user.number, s->used.number) > s->login.number ? SUSPECT_LOGIN_04 : SUSPECT_LOGIN_09;
    t->waits = false;
  }
}

static void remember(struct trail *t, const struct model_observation *seen, const struct suspects *s,
                     const struct note *login)
{
  struct model_session *session;
  if (!(s->rules & (SUSPECT_LOGIN_01 | SUSPECT_LOGIN_02)) && t->last.seen != seen->seen && !t->waits) t->pair = 0;
  if (t->last.seen != seen->seen) t->other = t->last.note;
  t->last = *seen;
  if (seen->seen == LOGIN_USER) {
    t->user = seen->note;
    if ((session = model_session(seen->slot->module, seen->session))) session->user_seen = seen->note.number;
    if (login->values && login->number < seen->note.number && seen->session != login->value[0]) t->spread = true;
  }
  if (seen->seen == LOGIN_PUBLIC) {
    t->public = seen->note;
    t->refused = (struct note){0};
  }
}

const struct suspects *suspects_of(struct model_slot *slot, const struct model_observation *seen)
{
  struct trail *t = kept_make(&slot->kept, &trail_type);
  struct suspects *s = &t->now;
  const bool wrong = !(seen->possible & seen->seen) && !seen->removal;
  const struct note *login = &slot->last.login;
  if (t->login != login->end_number) {
    t->login = login->end_number;
    t->spread = t->lost = false;
    t->pair = 0;
  }
  s->rules = 0;
  if (wrong || t->waits || t->claims) {
    gather(slot, t, seen, s);
    if (seen->answer)
      answered(slot, t, s);
    else
      reported(slot, t, seen, s);
  }
  if (!seen->answer) remember(t, seen, s, login);
  return s->rules ? s : NULL;
}

static const struct suspects *waiting(struct model_slot *slot, unsigned rule)
{
  struct trail *t = kept_get(slot->kept, &trail_type);
  if (!t) return NULL;
  const bool early = rule == SUSPECT_LOGIN_09 && t->waits;
  if (early && t->quiet) {
    t->waits = false;
    return NULL;
  }
  if (!early && !(t->claims & rule)) return NULL;
  const struct model_observation seen = early ? t->early : t->claim;
  gather(slot, t, &seen, &t->now);
  t->now.rules = rule;
  t->now.late = true;
  if (early)
    t->waits = false;
  else
    t->claims &= ~rule;
  return &t->now;
}

void suspects_run(struct check *check, unsigned rule, void (*report)(struct check *check, const struct suspects *why))
{
  if (check->seen) {
    if (check->why && check->why->rules & rule) report(check, check->why);
    return;
  }
  struct model_slot *const own = check->place.slot;
  const bool all = !check->call || check->call->known == P11_F_C_Finalize;
  size_t at = 0;
  for (struct model_slot *s; (s = table_next(&check->place.module->slots, &at));) {
    const struct suspects *why = all || s == own ? waiting(s, rule) : NULL;
    check->place.slot = s;
    if (why) report(check, why);
  }
  check->place.slot = own;
}

/* Is the key of the operation a private one? */
static bool private_key(const struct call *call, const struct model_place *place)
{
  const struct model_session *s = place->session;
  const int op = model_op_of(call->known);
  const struct model_object *key = place->object;
  if (!key && op >= 0) key = model_object(place->module, s->op[op].key);
  return key && (key->facts.class == CKO_PRIVATE_KEY || key->facts.is_private == TRI_YES);
}

void suspects_call(const struct call *call, const struct model_place *place)
{
  struct model_slot *slot = place->slot;
  struct trail *t;
  switch (call->known) {
    case P11_F_C_GetTokenInfo:
    case P11_F_C_GetSlotInfo:
    case P11_F_C_FindObjectsInit:
    case P11_F_C_FindObjects:
      if (!slot || slot->login != LOGIN_USER || !(t = kept_get(slot->kept, &trail_type))) return;
      if (call->number == latest(t->user.end_number, t->used.end_number) + 1) model_note(place, &t->benign, call);
      return;
    case P11_F_C_SignInit:
    case P11_F_C_DecryptInit:
    case P11_F_C_Sign:
    case P11_F_C_SignFinal:
    case P11_F_C_Decrypt:
    case P11_F_C_DecryptFinal:
    case P11_F_C_UnwrapKey:
    case P11_F_C_DeriveKey:
      if (!place->session || slot->login != LOGIN_USER || call->state != CALL_DONE) return;
      if (call->rv == CKR_USER_NOT_LOGGED_IN) {
        t = kept_make(&slot->kept, &trail_type);
        if (!t->refused.number) model_note(place, &t->refused, call);
      } else if (call->rv == CKR_OK && call->known != P11_F_C_SignInit && call->known != P11_F_C_DecryptInit) {
        t = kept_make(&slot->kept, &trail_type);
        /* One proof is enough. */
        if (latest(t->used.number, t->user.number) > latest(slot->last.login.number, slot->last.closed.number)) return;
        if (private_key(call, place)) model_note(place, &t->used, call);
      }
      return;
    default: return;
  }
}

void suspects_sleep(struct model_module *module, uint64_t time)
{
  size_t at = 0;
  for (struct model_slot *s; (s = table_next(&module->slots, &at));) {
    struct trail *t = kept_make(&s->kept, &trail_type);
    t->slept = time;
  }
}
