/* Ticks to nanoseconds of CLOCK_MONOTONIC.
 *
 * A thread writes a TIME record whenever half a second or so has passed since its last one (FORMAT.md, kind 17), so a tick
 * is converted from the latest pair of its own slot with one rate for the process. The rate is that between the two pairs
 * which are furthest apart: of the whole trace, as a rule, where its first and last pair are known. HEAD's estimate is
 * of a fraction of a millisecond, and one moment in which the process was put off makes it wrong by many percent, so it
 * is the last resort: for what is followed, until the first TIME; and where the machine slept in between, when the counter
 * goes on or starts anew and CLOCK_MONOTONIC stands still.
 *
 * Pairs do not meet exactly, and a process that gives its counter up goes over to another clock. So what a slot's records
 * say is never earlier than what they said before: clock_ns is raised to the slot's latest. */
#include "decoder/read/reader.h"

#define SHORTEST_NS 1000u    /* of pairs that say anything */
#define SURE_NS 10000000u    /* of pairs that say more than an estimate of HEAD that they do not agree with */
#define FAR_TICKS (1u << 28) /* recorders': a record further than that from its pair has a new one behind it */

static uint64_t rate_of(uint64_t ns, uint64_t ticks)
{
  return (uint64_t)(((unsigned __int128)ns << 32) / ticks);
}

/* CLOCK_BOOTTIME goes on while the machine sleeps. */
static bool slept(const struct p11t_clock_pair *a, const struct p11t_clock_pair *b)
{
  uint64_t ns = b->monotonic - a->monotonic;
  return (int64_t)(b->boottime - a->boottime - ns) > (int64_t)(ns / 1000 + 1000000);
}

/* Within one PART-th of it. */
static bool is_about(uint64_t rate, uint64_t of, uint64_t part)
{
  return rate > of - of / part && rate < of + of / part;
}

/* Takes the rate from two pairs of the counter if that is better than what is known. */
static void learn(struct reader *r, const struct p11t_clock_pair *a, const struct p11t_clock_pair *b)
{
  uint64_t ticks = b->ticks - a->ticks, ns = b->monotonic - a->monotonic;
  if (b->ticks <= a->ticks || b->monotonic <= a->monotonic || ns <= r->rate_span) return;
  if (ns < SHORTEST_NS) return;
  uint64_t measured = rate_of(ns, ticks), estimate = r->head_rate;
  if (estimate != 0) { /* else pairs are all there is */
    if (slept(a, b)) return;
    if (ns < SURE_NS && !is_about(measured, estimate, 50)) return;
    /* Not even a bad estimate is that wrong: something happened that no clock saw (a stopped virtual machine). */
    if (!is_about(measured, estimate, 4)) return;
  }
  r->tick_rate = measured;
  r->rate_span = ns;
}

void clock_start(struct reader *r)
{
  const struct process *p = &r->p;
  r->tick_rate = 1ull << 32;
  r->recent = p->first;
  if (p->clock == P11T_CLOCK_MONOTONIC) return;
  if (p->ticks_per_second != 0) r->tick_rate = r->head_rate = rate_of(1000000000u, p->ticks_per_second);
  /* A process that gave the counter up ends with a pair of CLOCK_MONOTONIC: both numbers are the same. */
  if (p->last.ticks != p->last.monotonic) learn(r, &p->first, &p->last);
}

uint64_t clock_ns(const struct reader *r, const struct slot *slot, uint64_t ticks)
{
  const struct p11t_clock_pair *base = slot->has_base ? &slot->base : &r->recent;
  if ((slot->clock == 0 ? r->p.clock : slot->clock) == P11T_CLOCK_MONOTONIC) {
    /* A record whose time was read just before its process gave the counter up; recorders before 0.2 told the clock of
     * such a frame wrongly. No reading of CLOCK_MONOTONIC is older than the first one. */
    if (r->p.clock == P11T_CLOCK_MONOTONIC || ticks >= r->p.first.monotonic) return ticks;
    base = &r->recent;
  }
  int64_t delta = (int64_t)(ticks - base->ticks);
  return base->monotonic + (uint64_t)(int64_t)(((__int128)delta * r->tick_rate) >> 32);
}

uint64_t clock_time(const struct reader *r, const struct slot *slot, uint64_t ticks)
{
  uint64_t ns = clock_ns(r, slot, ticks);
  return ns > slot->latest ? ns : slot->latest;
}

static bool get_time(const struct record *record, uint8_t *clock, struct p11t_clock_pair *pair)
{
  struct cursor c = cursor_of(record->body, record->length);
  *clock = get_u8(&c);
  *pair = get_pair(&c);
  return !c.bad;
}

void clock_record(struct reader *r, struct slot *slot, const struct record *record)
{
  uint8_t clock;
  struct p11t_clock_pair pair;
  if (!get_time(record, &clock, &pair)) return;
  if (clock == P11T_CLOCK_TSC && r->p.clock == P11T_CLOCK_TSC) {
    learn(r, &r->p.first, &pair);
    if (slot->has_base && slot->clock == clock) learn(r, &slot->base, &pair); /* the machine may have slept before */
    r->recent = pair;
  }
  slot->clock = clock;
  slot->base = pair;
  slot->has_base = true;
}

void clock_look_ahead(struct reader *r, struct slot *slot)
{
  const struct p11t_clock_pair *base = slot->has_base ? &slot->base : &r->recent;
  uint8_t clock;
  struct p11t_clock_pair pair;
  struct record next;
  if (slot->key_time - base->ticks <= FAR_TICKS || slot->clock != P11T_CLOCK_TSC || slot->has_held) return;
  if (!source_peek(r, &slot->source, P11T_TIME, &next) || !get_time(&next, &clock, &pair)) return;
  if (clock == slot->clock) clock_record(r, slot, &next);
}
