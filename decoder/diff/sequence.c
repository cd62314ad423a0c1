/* One thread on both sides: the order of its calls is no chance, so the two sequences are aligned.
 *
 * In windows of WINDOW exchanges, so that memory does not grow; what is behind the last match of a window is looked
 * at again in the next. Between two matches stand the calls that differ: those with the same question are an answer
 * that differs, those of the same function were asked otherwise, the rest is on one side only. A poll that one side
 * did not make is its timing and no difference, unless the other side's last answer to it was another one. */
#include <stdlib.h>

#include "decoder/diff/align.h"
#include "decoder/diff/found.h"
#include "decoder/diff/hash.h"
#include "decoder/read/arena.h"

enum {
  WINDOW = 4096,
  STEP = 512, /* exchanges that go where nothing matches */
  REACH = 512 /* calls of B that are looked at for a mate */
};

struct side {
  struct stream stream;
  struct exchange at[WINDOW];
  uint64_t key[WINDOW];
  int32_t mate[WINDOW]; /* in a stretch that differs: the call on the other side that it is compared with, or -1 */
  size_t count;
  bool ended;
  struct exchange last[STREAM_POLLS]; /* polls that were passed, by question; epoch 0 none */
  uint32_t epoch;                     /* where it is */
};

struct sequence {
  struct side side[SIDES];
  int32_t with[WINDOW];
  struct align align;
  struct found *found;
  const struct diff_pair *pair;
};

static void fill(struct sequence *s, int side)
{
  struct side *w = &s->side[side];
  uint64_t folded[P11_FUNCTIONS + 1] = {0};
  while (w->count < WINDOW && !w->ended) {
    struct exchange *e = &w->at[w->count];
    if (!stream_folded(&w->stream, e, folded)) {
      w->ended = true;
      break;
    }
    w->key[w->count++] = hash_mix(e->question, e->answer);
    s->found->function[e->function].calls[side]++;
  }
  for (unsigned i = 0; i <= P11_FUNCTIONS; i++) s->found->function[i].calls[side] += folded[i];
}

static void passed(struct side *w, const struct exchange *e)
{
  w->epoch = e->epoch;
  if (e->poll) w->last[e->question % STREAM_POLLS] = *e;
}

static void same(struct sequence *s, const struct exchange *a, const struct exchange *b)
{
  s->found->function[a->function].same++;
  if (a->description != b->description) found_add(s->found, s->pair, DIFFERENT_DESCRIPTION, a, b);
  passed(&s->side[SIDE_A], a);
  passed(&s->side[SIDE_B], b);
}

/* A poll of one side alone: its timing, unless the last answer on the other side was another one. */
static void lone_poll(struct sequence *s, int side, const struct exchange *e)
{
  const struct side *other = &s->side[!side];
  const struct exchange *last = &other->last[e->question % STREAM_POLLS];
  if (last->epoch != other->epoch || last->epoch == 0 || last->question != e->question || last->answer == e->answer)
    return;
  found_add(s->found, s->pair, DIFFERENT_ANSWER, side == SIDE_A ? e : last, side == SIDE_A ? last : e);
}

/* Finds for each call of A that has no mate yet one of B, in order. */
static void pair_by(struct sequence *s, size_t a, size_t end_a, size_t b, size_t end_b, bool by_question)
{
  struct side *left = &s->side[SIDE_A], *right = &s->side[SIDE_B];
  for (size_t i = a; i < end_a; i++) {
    const struct exchange *x = &left->at[i];
    if (left->mate[i] >= 0 || (!by_question && x->poll)) continue;
    for (size_t k = b; k < end_b && k < b + REACH; k++) {
      const struct exchange *y = &right->at[k];
      if (right->mate[k] >= 0 || (by_question ? x->question != y->question : x->function != y->function)) continue;
      left->mate[i] = (int32_t)k;
      right->mate[k] = (int32_t)i;
      break;
    }
    while (b < end_b && right->mate[b] >= 0) b++;
  }
}

/* Where the two part, the shortest list of edits is not always the story: [x], [] beside [] is not one C_FindObjects
 * more, but the first of them answered otherwise. So the next call on the other side is looked at too, though it has
 * a match. */
static bool parted(struct sequence *s, int side, const struct exchange *e, size_t next)
{
  const struct side *other = &s->side[!side];
  if (next >= other->count) return false;
  const struct exchange *x = &other->at[next];
  if (x->question != e->question || x->answer == e->answer) return false;
  found_add(s->found, s->pair, DIFFERENT_ANSWER, side == SIDE_A ? e : x, side == SIDE_A ? x : e);
  return true;
}

static void lone(struct sequence *s, int side, const struct exchange *e)
{
  if (e->poll)
    lone_poll(s, side, e);
  else if (side == SIDE_A)
    found_add(s->found, s->pair, DIFFERENT_ONLY_A, e, NULL);
  else
    found_add(s->found, s->pair, DIFFERENT_ONLY_B, NULL, e);
}

static void mates(struct sequence *s, const struct exchange *a, const struct exchange *b)
{
  if (a->question != b->question)
    found_add(s->found, s->pair, DIFFERENT_ARGUMENTS, a, b);
  else if (a->answer != b->answer)
    found_add(s->found, s->pair, DIFFERENT_ANSWER, a, b);
  else
    s->found->function[a->function].same++; /* in another place */
}

/* A stretch without a match: [a, end_a) against [b, end_b). */
static void stretch(struct sequence *s, size_t a, size_t end_a, size_t b, size_t end_b)
{
  struct side *left = &s->side[SIDE_A], *right = &s->side[SIDE_B];
  for (size_t i = a; i < end_a; i++) left->mate[i] = -1;
  for (size_t k = b; k < end_b; k++) right->mate[k] = -1;
  pair_by(s, a, end_a, b, end_b, true);
  pair_by(s, a, end_a, b, end_b, false);
  for (size_t i = a, k = b; i < end_a || k < end_b;) {
    /* In turn, so that what is found first was first in either trace. */
    const int side = i < end_a && (k >= end_b || i - a <= k - b) ? SIDE_A : SIDE_B;
    const size_t at = side == SIDE_A ? i++ : k++;
    const struct exchange *e = &s->side[side].at[at];
    const int32_t mate = s->side[side].mate[at];
    const bool here = side == SIDE_A ? at == a && end_b == b : at == b && end_a == a;
    if (mate < 0 && (!here || !parted(s, side, e, side == SIDE_A ? b : a)))
      lone(s, side, e);
    else if (mate >= 0 && side == SIDE_A)
      mates(s, e, &right->at[mate]);
    passed(&s->side[side], e);
  }
}

static void drop(struct side *w, size_t used)
{
  w->count -= used;
  memmove(w->at, w->at + used, w->count * sizeof *w->at);
  memmove(w->key, w->key + used, w->count * sizeof *w->key);
}

/* Takes what is sure of the windows: all when both traces have ended, else up to a match in their first three
 * quarters. */
static void take(struct sequence *s)
{
  struct side *left = &s->side[SIDE_A], *right = &s->side[SIDE_B];
  size_t used_a, used_b, a = 0, b = 0;
  align_run(&s->align, left->key, left->count, right->key, right->count, s->with, &used_a, &used_b);
  const bool all = left->ended && right->ended && used_a == left->count && used_b == right->count;
  size_t end_a = used_a, end_b = used_b;
  if (!all) {
    for (size_t i = 0; i < used_a; i++) {
      if (s->with[i] < 0) continue;
      const size_t k = (size_t)s->with[i];
      if (a > 0 && ((!left->ended && i >= WINDOW * 3 / 4) || (!right->ended && k >= WINDOW * 3 / 4))) break;
      a = i + 1;
      b = k + 1;
    }
    if (a > 0) {
      end_a = a;
      end_b = b;
    } else {
      /* Nothing matches. The end of a trace may belong to what is still to come in the other: it stays. */
      const bool keep_a = left->ended && (!right->ended || left->count < right->count),
                 keep_b = right->ended && !keep_a;
      end_a = keep_a ? 0 : left->count < STEP ? left->count : STEP;
      end_b = keep_b ? 0 : right->count < STEP ? right->count : STEP;
    }
  }
  a = b = 0;
  for (size_t i = 0; i < end_a; i++) {
    if (s->with[i] < 0) continue;
    const size_t k = (size_t)s->with[i];
    stretch(s, a, i, b, k);
    same(s, &left->at[i], &right->at[k]);
    a = i + 1;
    b = k + 1;
  }
  stretch(s, a, end_a, b, end_b);
  drop(left, end_a);
  drop(right, end_b);
}

bool sequence_compare(struct found *found, const struct diff_pair *pair, const struct diff_options *options)
{
  struct sequence *s = read_zalloc(sizeof *s);
  s->found = found;
  s->pair = pair;
  const bool opened = stream_open(&s->side[SIDE_A].stream, pair, SIDE_A, options) &&
                      stream_open(&s->side[SIDE_B].stream, pair, SIDE_B, options);
  if (opened) {
    align_start(&s->align);
    for (;;) {
      fill(s, SIDE_A);
      fill(s, SIDE_B);
      if (s->side[SIDE_A].count + s->side[SIDE_B].count == 0) break;
      take(s);
    }
    align_free(&s->align);
  }
  stream_close(&s->side[SIDE_A].stream);
  stream_close(&s->side[SIDE_B].stream);
  free(s);
  return opened;
}
