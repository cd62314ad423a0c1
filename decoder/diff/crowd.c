/* Several threads: which of them makes a call, in which order, and how often a cache is filled, is chance and
 * differs between two runs of the same program. A session's life does not help either: NSS's threads share one for
 * all that is no operation. What is not chance is that the same question, while the same user is logged in, gets the
 * same answer. So each question has its answers, on both sides, and differs when one side has an answer that the
 * other never gave.
 *
 * The question of a call that goes on with an operation holds the call that began it (C_Sign: mechanism and key),
 * that of C_FindObjects the search (names.h), so that a session need not be followed. A call during which somebody
 * logged in or out may be answered either way: it only explains what is seen elsewhere. How often logins succeed or
 * fail is compared. */
#include <stdlib.h>

#include "decoder/diff/found.h"
#include "decoder/diff/hash.h"
#include "decoder/model/table.h"
#include "decoder/read/arena.h"

enum { CROWD_QUESTIONS = 1 << 17, ANSWERS = 4, STATES = 4, UNSURE = STATES - 1 };

struct given {
  uint64_t answer, description, number, rv, times;
};

struct state {
  struct given given[SIDES][ANSWERS]; /* of more, only the times are counted */
  unsigned answers[SIDES];
  uint64_t times[SIDES];
};

struct question {
  struct question *next; /* in the order in which they came */
  uint64_t question;
  uint16_t function;
  bool poll;
  struct state *state[STATES]; /* nobody, SO, user; unsure */
};

struct crowd {
  struct table table;
  struct question *first, **end;
  size_t questions;
  struct found *found;
  const struct diff_pair *pair;
};

static void take(struct crowd *c, int side, const struct exchange *e, uint64_t login)
{
  struct question *q = table_get(&c->table, e->question);
  c->found->function[e->function].calls[side]++;
  if (!q) {
    if (c->questions == CROWD_QUESTIONS) {
      c->found->uncompared++;
      return;
    }
    c->questions++;
    q = read_zalloc(sizeof *q);
    *q = (struct question){.question = e->question, .function = e->function, .poll = e->poll};
    *c->end = q;
    c->end = &q->next;
    table_put(&c->table, e->question, q);
  }
  const unsigned at = e->unsure ? UNSURE : login < UNSURE ? (unsigned)login : UNSURE;
  struct state *s = q->state[at];
  if (!s) s = q->state[at] = read_zalloc(sizeof *s);
  s->times[side]++;
  for (unsigned i = 0; i < s->answers[side]; i++) {
    if (s->given[side][i].answer != e->answer) continue;
    s->given[side][i].times++;
    return;
  }
  if (s->answers[side] == ANSWERS) return;
  s->given[side][s->answers[side]++] = (struct given){e->answer, e->description, e->number, e->rv, 1};
}

static const struct given *given(const struct state *s, int side, uint64_t answer)
{
  for (unsigned i = 0; s && i < s->answers[side]; i++)
    if (s->given[side][i].answer == answer) return &s->given[side][i];
  return NULL;
}

static const struct given *given_in_any(const struct question *q, int side, uint64_t answer)
{
  for (unsigned i = 0; i < STATES; i++) {
    const struct given *g = given(q->state[i], side, answer);
    if (g) return g;
  }
  return NULL;
}

static struct exchange exchange_of(const struct question *q, const struct given *g)
{
  return (struct exchange){
      .question = q->question, .answer = g->answer, .number = g->number, .rv = g->rv, .function = q->function};
}

/* A difference that is kept until all are known: they are told in the order of the calls. */
struct pending {
  uint64_t order;
  enum difference_kind kind;
  struct exchange at[SIDES];
  bool has[SIDES];
};
struct pendings {
  struct pending *at;
  size_t count, room;
};

static void pend(struct pendings *p, const struct question *q, enum difference_kind kind, const struct given *a,
                 const struct given *b, uint64_t order)
{
  if (p->count == p->room) {
    p->room = p->room * 2 + 16;
    p->at = read_realloc(p->at, p->room * sizeof *p->at);
  }
  struct pending *new = &p->at[p->count++];
  *new = (struct pending){
      .order = order, .kind = kind, .has = {a != NULL, b != NULL}
  };
  if (a) new->at[SIDE_A] = exchange_of(q, a);
  if (b) new->at[SIDE_B] = exchange_of(q, b);
}

/* Answers that only one side gave to a question that both asked in this state. */
static void compare_answers(struct pendings *p, const struct question *q, const struct state *s)
{
  bool differs = false;
  for (int side = SIDE_B; side >= SIDE_A; side--) {
    for (unsigned i = 0; i < s->answers[side]; i++) {
      const struct given *g = &s->given[side][i], *other = &s->given[!side][0];
      if (given(s, !side, g->answer) || given(q->state[UNSURE], !side, g->answer) || s->answers[!side] == ANSWERS)
        continue;
      /* Of two that are only on their side each, one is the other's counterpart: told once. */
      for (unsigned k = 0; k < s->answers[!side]; k++)
        if (!given(s, side, s->given[!side][k].answer)) other = &s->given[!side][k];
      if (side == SIDE_A && differs) continue;
      differs = true;
      pend(p, q, DIFFERENT_ANSWER, side == SIDE_A ? g : other, side == SIDE_A ? other : g, g->number);
    }
  }
}

static void compare_times(struct pendings *p, const struct question *q)
{
  if (q->function >= P11_FUNCTIONS || p11_functions[q->function].class != P11_CLASS_LOGIN) return;
  uint64_t times[SIDES] = {0};
  const struct given *any[SIDES] = {0};
  for (unsigned i = 0; i < STATES; i++) {
    for (int side = 0; q->state[i] && side < SIDES; side++) {
      times[side] += q->state[i]->times[side];
      if (q->state[i]->times[side]) any[side] = &q->state[i]->given[side][0];
    }
  }
  if (times[SIDE_A] && times[SIDE_B] && times[SIDE_A] != times[SIDE_B])
    pend(p, q, DIFFERENT_TIMES, any[SIDE_A], any[SIDE_B], any[SIDE_B]->number);
}

static void compare(struct crowd *c, struct pendings *p, const struct question *q)
{
  for (unsigned i = 0; i < UNSURE; i++) {
    const struct state *s = q->state[i];
    if (!s) continue;
    if (s->times[SIDE_A] && s->times[SIDE_B]) {
      compare_answers(p, q, s);
      const struct given *a = &s->given[SIDE_A][0], *b = given(s, SIDE_B, a->answer);
      if (b && a->description != b->description) pend(p, q, DIFFERENT_DESCRIPTION, a, b, b->number);
    } else if (!q->poll) {
      const int side = s->times[SIDE_A] ? SIDE_A : SIDE_B;
      const struct given *g = &s->given[side][0];
      if (!given_in_any(q, !side, g->answer))
        pend(p, q, side == SIDE_A ? DIFFERENT_ONLY_A : DIFFERENT_ONLY_B, side == SIDE_A ? g : NULL,
             side == SIDE_A ? NULL : g, g->number);
    }
    uint64_t least = s->times[SIDE_A] < s->times[SIDE_B] ? s->times[SIDE_A] : s->times[SIDE_B];
    c->found->function[q->function].same += least;
  }
  compare_times(p, q);
}

static int by_order(const void *a, const void *b)
{
  const struct pending *x = a, *y = b;
  return x->order < y->order ? -1 : x->order > y->order;
}

static void conclude(struct crowd *c)
{
  struct pendings p = {0};
  for (const struct question *q = c->first; q; q = q->next) compare(c, &p, q);
  if (p.count) qsort(p.at, p.count, sizeof *p.at, by_order);
  for (size_t i = 0; i < p.count; i++) {
    const struct pending *d = &p.at[i];
    found_add(c->found, c->pair, d->kind, d->has[SIDE_A] ? &d->at[SIDE_A] : NULL,
              d->has[SIDE_B] ? &d->at[SIDE_B] : NULL);
  }
  free(p.at);
}

static bool read_side(struct crowd *c, int side, const struct diff_options *options)
{
  struct stream stream;
  struct exchange e;
  uint64_t login;
  if (!stream_open(&stream, c->pair, side, options)) return false;
  while (stream_next(&stream, &e, &login)) {
    stream_see(&stream, &e);
    take(c, side, &e, login);
  }
  stream_close(&stream);
  return true;
}

bool crowd_compare(struct found *found, const struct diff_pair *pair, const struct diff_options *options)
{
  struct crowd *c = read_zalloc(sizeof *c);
  *c = (struct crowd){.end = &c->first, .found = found, .pair = pair};
  const bool good = read_side(c, SIDE_A, options) && read_side(c, SIDE_B, options);
  if (good) conclude(c);
  for (struct question *q = c->first, *next; q; q = next) {
    next = q->next;
    for (unsigned i = 0; i < STATES; i++) free(q->state[i]);
    free(q);
  }
  table_clear(&c->table, NULL);
  free(c);
  return good;
}
