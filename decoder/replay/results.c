/* What is found while a trace is played, folded into kinds so that a million calls need no more room than ten. */
#include "decoder/replay/results.h"

#include <ctype.h>
#include <string.h>

/* A copy that fits, not cut inside a character. */
static void keep(char *to, size_t size, const char *from)
{
  size_t length = strnlen(from, size);
  if (length == size) {
    length = size - 1;
    while (length > 0 && ((uint8_t)from[length] & 0xc0) == 0x80) length--;
  }
  memcpy(to, from, length);
  to[length] = '\0';
}

/* Behind the number that begins here: decimal, or hexadecimal with 0x. */
static const char *behind_number(const char *s)
{
  if (s[0] == '0' && s[1] == 'x') {
    for (s += 2; isxdigit((unsigned char)*s);) s++;
    return s;
  }
  while (isdigit((unsigned char)*s)) s++;
  return s;
}

/* The same sentence, whatever handles and numbers of calls stand in it? The kept one may be cut short. */
static bool same_reason(const char *kept, const char *reason, size_t size)
{
  const char *const begin = kept;
  while (*kept != '\0' && *reason != '\0') {
    if (isdigit((unsigned char)*kept) && isdigit((unsigned char)*reason)) {
      kept = behind_number(kept);
      reason = behind_number(reason);
    } else if (*kept++ != *reason++) {
      return false;
    }
  }
  return *kept == *reason || (size_t)(kept - begin) >= size - 4;
}

static bool same_kind(const struct result_kind *kind, int function, enum outcome outcome,
                      const struct difference *found, const char *reason)
{
  if (kind->function != (uint16_t)function || kind->outcome != outcome) return false;
  if (outcome != OUTCOME_DIFFERENT) return same_reason(kind->reason, reason, sizeof kind->reason);
  if (strcmp(kind->first.place, found->place) != 0) return false;
  return strcmp(found->place, "rv") != 0 ||
         (strcmp(kind->first.recorded, found->recorded) == 0 && strcmp(kind->first.replayed, found->replayed) == 0);
}

void results_note(struct results *results, int function, enum outcome outcome, const struct difference *found,
                  const char *reason, uint64_t call)
{
  if (reason == NULL) reason = "";
  for (unsigned i = 0; i < results->kinds; i++) {
    if (!same_kind(&results->kind[i], function, outcome, found, reason)) continue;
    results->kind[i].count++;
    return;
  }
  if (results->kinds == RESULTS_KINDS) {
    results->kinds_lost++;
    return;
  }
  struct result_kind *kind = &results->kind[results->kinds];
  *kind = (struct result_kind){.function = (uint16_t)function, .outcome = outcome, .call = call, .count = 1};
  if (outcome == OUTCOME_DIFFERENT)
    kind->first = *found;
  else
    keep(kind->reason, sizeof kind->reason, reason);
  /* Whoever waits for us reads it only when we are gone; the count last all the same. */
  results->kinds++;
}

static void take_time(struct results *results, const struct live *live)
{
  const struct call *call = live->call;
  if (call->known < 0 || call->end < call->start || call->end == 0 || live->end < live->start) return;
  struct result_latency *l = &results->latency[call->known];
  const uint64_t recorded = call->end - call->start, replayed = live->end - live->start;
  l->calls++;
  l->recorded_ns += recorded;
  l->replayed_ns += replayed;
  l->recorded[results_bucket(recorded)]++;
  l->replayed[results_bucket(replayed)]++;
}

void results_add(struct results *results, const struct live *live, enum outcome outcome, const struct difference *found,
                 unsigned count, const char *reason)
{
  const struct call *call = live->call;
  results->calls++;
  results->outcome[outcome]++;
  if (outcome != OUTCOME_WITHHELD) take_time(results, live);
  if (outcome == OUTCOME_SAME) return;
  if (outcome != OUTCOME_DIFFERENT) {
    results_note(results, call->known, outcome, NULL, reason, call->number);
    return;
  }
  for (unsigned i = 0; i < count && i < LIVE_DIFFERENCES; i++)
    results_note(results, call->known, outcome, &found[i], NULL, call->number);
  if (results->first_difference == 0 || call->number < results->first_difference)
    results->first_difference = call->number;
}

void results_withheld(struct results *results, const struct call *call, const char *reason)
{
  results->calls++;
  results->outcome[OUTCOME_WITHHELD]++;
  results_note(results, call->known, OUTCOME_WITHHELD, NULL, reason, call->number);
}

void results_changed(struct results *results, uint64_t slot, bool pin, uint64_t call)
{
  for (unsigned i = 0; i < results->changes; i++)
    if (results->change[i].slot == slot && results->change[i].pin == pin) return;
  if (results->changes == REPLAY_CHANGES) return;
  results->change[results->changes++] = (struct replay_change){.slot = slot, .pin = pin, .call = call};
}

const struct replay_change *results_change_before(const struct replay_options *options, uint64_t slot, bool pin)
{
  for (unsigned i = 0; i < options->changes_before; i++)
    if (options->before[i].slot == slot && options->before[i].pin == pin) return &options->before[i];
  return NULL;
}

unsigned results_bucket(uint64_t ns)
{
  if (ns < 8) return (unsigned)ns;
  const unsigned power = 63 - (unsigned)__builtin_clzll(ns);
  const unsigned bucket = (power - 2) * 8 + (unsigned)(ns >> (power - 3) & 7);
  return bucket < RESULTS_BUCKETS ? bucket : RESULTS_BUCKETS - 1;
}

/* First duration of a bucket. */
static uint64_t bucket_from(unsigned bucket)
{
  if (bucket < 8) return bucket;
  return (uint64_t)(8 + bucket % 8) << (bucket / 8 - 1);
}

uint64_t results_median(const uint32_t bucket[RESULTS_BUCKETS])
{
  uint64_t total = 0, before = 0;
  for (unsigned i = 0; i < RESULTS_BUCKETS; i++) total += bucket[i];
  const uint64_t wanted = (total + 1) / 2;
  for (unsigned i = 0; i < RESULTS_BUCKETS; i++) {
    if (bucket[i] == 0 || before + bucket[i] < wanted) {
      before += bucket[i];
      continue;
    }
    /* As if those of a bucket were spread evenly over it. */
    const uint64_t from = bucket_from(i), width = bucket_from(i + 1) - from;
    return from + (uint64_t)((double)width * (double)(wanted - before) / (bucket[i] + 1.0));
  }
  return 0;
}
