/* Ticks to nanoseconds of CLOCK_MONOTONIC.
 *
 * A thread writes a TIME record whenever a second or so has passed since its last one (FORMAT.md, kind 17), so a tick is
 * converted from the latest pair of its own slot with one rate for the process. The rate comes from the first and the last
 * pair of the trace, which cancels the error of the first estimate; if a suspend in between made the two clocks disagree
 * (the counter goes on or starts anew, CLOCK_MONOTONIC stands still), the estimate of HEAD stands. */
#include "decoder/read/reader.h"

static uint64_t rate_of(uint64_t ns, uint64_t ticks)
{
  return (uint64_t)(((unsigned __int128)ns << 32) / ticks);
}

void clock_start(struct reader *r)
{
  const struct process *p = &r->p;
  uint64_t estimate = p->clock == P11T_CLOCK_MONOTONIC ? 1000000000u : p->ticks_per_second;
  if (estimate == 0) estimate = 1000000000u;
  r->tick_rate = rate_of(1000000000u, estimate);
  if (p->clock == P11T_CLOCK_MONOTONIC) {
    r->tick_rate = 1ull << 32;
    return;
  }
  uint64_t ticks = p->last.ticks - p->first.ticks, ns = p->last.monotonic - p->first.monotonic;
  if (p->last.ticks <= p->first.ticks || p->last.monotonic <= p->first.monotonic || ns < 1000) return;
  uint64_t measured = rate_of(ns, ticks);
  uint64_t low = r->tick_rate - r->tick_rate / 50, high = r->tick_rate + r->tick_rate / 50;
  /* Without an estimate the pairs are all there is. */
  if (p->ticks_per_second == 0 || (measured > low && measured < high)) r->tick_rate = measured;
}

uint64_t clock_ns(const struct reader *r, const struct slot *slot, uint64_t ticks)
{
  const struct p11t_clock_pair *base = slot->has_base ? &slot->base : &r->p.first;
  if ((slot->clock == 0 ? r->p.clock : slot->clock) == P11T_CLOCK_MONOTONIC) {
    /* A record whose time was read just before its process gave the counter up; recorders before 0.2 told the clock of
     * such a frame wrongly. No reading of CLOCK_MONOTONIC is older than the first one. */
    if (r->p.clock == P11T_CLOCK_MONOTONIC || ticks >= r->p.first.monotonic) return ticks;
    base = &r->p.first;
  }
  int64_t delta = (int64_t)(ticks - base->ticks);
  return base->monotonic + (uint64_t)(int64_t)(((__int128)delta * r->tick_rate) >> 32);
}

void clock_record(struct reader *r, struct slot *slot, const struct record *record)
{
  (void)r;
  struct cursor c = cursor_of(record->body, record->length);
  uint8_t clock = get_u8(&c);
  struct p11t_clock_pair pair = get_pair(&c);
  if (c.bad) return;
  slot->clock = clock;
  slot->base = pair;
  slot->has_base = true;
}
