/* Is there an order of overlapping calls in which every answer is right?
 *
 * The calls are gone through in the order of their LEAVEs. A configuration is the state after some of them, with the set of
 * those that are done before they have returned. What must be done when a call returns is that call; whatever else is under
 * way is done before it only where that changes something. So the number of configurations is small, and each is looked at
 * once. A call at whose LEAVE no configuration is left is the one that no order explains; it is taken at its word, and the
 * rest is judged by that. */
#include <string.h>

#include "decoder/model/window.h"

#define CONFIGS 1024
#define VISITED 4096 /* a power of two */

struct config {
  uint64_t done;
  uint32_t open;
  uint8_t login;
  bool rest;
};

/* One call is judged at a time, and nothing of it is kept. */
static struct config now[CONFIGS], next[CONFIGS], stack[VISITED], visited[VISITED];
static uint32_t stamp[VISITED], round_number;
static unsigned nows, nexts, depth, visits;
static bool too_many;

struct judge {
  const struct window *w;
  bool strict;
  uint64_t excused; /* calls whose answer need not be right */
  uint8_t logins;   /* states that were possible at the LEAVE that was looked at last */
};

static bool same(const struct config *a, const struct config *b)
{
  return a->done == b->done && a->open == b->open && a->login == b->login && a->rest == b->rest;
}

/* Was it not seen since round_number went up? */
static bool fresh(const struct config *c)
{
  uint64_t h =
      (c->done ^ c->done >> 29) * 0x9e3779b97f4a7c15 + c->open * 0xff51afd7ed558ccdull + c->login * 5u + c->rest;
  h ^= h >> 32;
  for (size_t at = h & (VISITED - 1);; at = (at + 1) & (VISITED - 1)) {
    if (stamp[at] != round_number) {
      if (++visits > VISITED / 2) {
        too_many = true;
        return false;
      }
      stamp[at] = round_number;
      visited[at] = *c;
      return true;
    }
    if (same(&visited[at], c)) return false;
  }
}

static bool fits(const struct judge *j, unsigned i, const struct config *c)
{
  const struct window_op *op = &j->w->op[i];
  if (j->excused >> i & 1) return true;
  return (j->strict ? op->need : op->eased) & c->login;
}

/* Calls that only look are done as soon as what they saw is there. */
static void look(const struct judge *j, uint64_t pending, struct config *c)
{
  for (uint64_t left = pending & ~c->done; left; left &= left - 1) {
    const unsigned i = (unsigned)__builtin_ctzll(left);
    if (j->w->op[i].watches && !(j->excused >> i & 1) && fits(j, i, c)) c->done |= 1ull << i;
  }
}

static void push(const struct judge *j, uint64_t pending, struct config c)
{
  look(j, pending, &c);
  if (fresh(&c)) stack[depth++] = c;
}

static void keep(struct config c, unsigned i)
{
  c.done &= ~(1ull << i); /* it has returned: all have it */
  for (unsigned k = 0; k < nexts; k++)
    if (same(&next[k], &c)) return;
  if (nexts == CONFIGS)
    too_many = true;
  else
    next[nexts++] = c;
}

/* The call takes effect. */
static void take(const struct judge *j, uint64_t pending, unsigned i, struct config c)
{
  const struct window_op *op = &j->w->op[i];
  const uint32_t bit = op->handle >= 0 ? 1u << op->handle : 0;
  c.done |= 1ull << i;
  if (op->after) c.login = op->after;
  if (op->watches) c.login = op->need & -op->need;
  if (op->effect == EFFECT_OPEN) c.open |= bit;
  if (op->effect == EFFECT_ALL) {
    c.open = 0;
    c.rest = false;
    c.login = LOGIN_PUBLIC;
  }
  if (op->effect == EFFECT_CLOSE && (c.open & bit || !bit)) {
    c.open &= ~bit;
    if (!c.open && !c.rest && !j->w->loose) {
      if (j->w->unsure) push(j, pending, c); /* it was not the last */
      c.login = LOGIN_PUBLIC;
    }
  }
  push(j, pending, c);
}

/* What may have happened until call i returned; false when nothing explains its answer. */
static bool returned(struct judge *j, unsigned i)
{
  const struct window *w = j->w;
  uint64_t pending = 0;
  for (unsigned k = i; k < w->ops; k++)
    if (w->op[k].enter < w->op[i].leave) pending |= 1ull << k;
  round_number++;
  visits = depth = nexts = 0;
  j->logins = 0;
  for (unsigned k = 0; k < nows; k++) push(j, pending, now[k]);
  while (depth && !too_many) {
    const struct config c = stack[--depth];
    j->logins |= c.login;
    if (c.done >> i & 1) {
      keep(c, i);
      continue;
    }
    if (w->op[i].either) keep(c, i);
    for (uint64_t left = pending & ~c.done; left; left &= left - 1) {
      const unsigned k = (unsigned)__builtin_ctzll(left);
      if (w->op[k].watches && (k != i || !(j->excused >> k & 1))) continue;
      if (fits(j, k, &c)) take(j, pending, k, c);
    }
  }
  return nexts > 0;
}

static void begin(const struct window *w)
{
  nows = 0;
  for (unsigned login = LOGIN_PUBLIC; login <= LOGIN_SO; login <<= 1)
    if (w->start & login) now[nows++] = (struct config){.open = w->open, .login = (uint8_t)login, .rest = w->rest > 0};
}

/* The first call at whose LEAVE there is no order left; -1 none; `now` is what all left then. */
static int judge(struct judge *j)
{
  begin(j->w);
  for (unsigned i = 0; i < j->w->ops; i++) {
    if (!returned(j, i)) return (int)i;
    if (too_many) return -1;
    memcpy(now, next, nexts * sizeof *next);
    nows = nexts;
  }
  return -1;
}

static void finish(struct window_end *end)
{
  *end = (struct window_end){.open = UINT32_MAX, .rest = true};
  for (unsigned i = 0; i < nows; i++) {
    end->login |= now[i].login;
    end->open &= now[i].open;
    end->maybe |= now[i].open;
    end->rest &= now[i].rest;
    end->maybe_rest |= now[i].rest;
  }
}

/* Success where the standard has another code. */
static bool lax(const struct window_op *op)
{
  return op->need != op->eased;
}

static void blame(struct window *w, unsigned i, uint8_t logins)
{
  w->op[i].odd = true;
  w->op[i].possible = logins;
}

/* Does it explain all that these succeeded where there was nothing to do? `now` is what all leave then. */
static bool explained_by(struct window *w, uint64_t easy)
{
  uint8_t need[WINDOW_OPS];
  struct judge j = {.w = w, .strict = true};
  for (unsigned i = 0; i < w->ops; i++) {
    need[i] = w->op[i].need;
    if (easy >> i & 1) w->op[i].need = w->op[i].eased;
  }
  const bool yes = judge(&j) < 0;
  for (unsigned i = 0; i < w->ops; i++) w->op[i].need = need[i];
  return yes;
}

/* If answers that are only too friendly explain all, it is these: one if one is enough, else as few as can be found. */
static bool blame_lax(struct window *w)
{
  uint64_t all = 0, few = 0;
  for (unsigned i = 0; i < w->ops; i++)
    if (lax(&w->op[i])) all |= 1ull << i;
  for (uint64_t left = all; left && !few; left &= left - 1)
    if (explained_by(w, left & -left)) few = left & -left;
  if (!few && !explained_by(w, all)) return false;
  if (!few) {
    few = all;
    for (uint64_t left = all; left; left &= left - 1)
      if (explained_by(w, few & ~(left & -left))) few &= ~(left & -left);
  }
  for (unsigned i = 0; i < w->ops; i++)
    if (few >> i & 1) blame(w, i, LOGIN_ANY & ~w->op[i].need);
  return explained_by(w, few);
}

bool window_solve(struct window *w, struct window_end *end)
{
  struct judge j = {.w = w, .strict = true};
  too_many = false;
  for (unsigned i = 0; i < w->ops; i++) {
    w->op[i].odd = false;
    w->op[i].possible = LOGIN_ANY;
  }
  if (judge(&j) >= 0 && !blame_lax(w)) {
    j.strict = false;
    for (int i; (i = judge(&j)) >= 0;) {
      blame(w, (unsigned)i, j.logins);
      j.excused |= 1ull << i;
    }
  }
  finish(end);
  return !too_many;
}
