/* The recorded threads side by side: a call is made when all those are over that had returned before it was made. */
#include <stdlib.h>

#include "decoder/model/table.h"
#include "decoder/replay/play_threads.h"

struct returned {
  uint64_t end_number, end; /* end: ns, the latest so far */
};

struct free_mode {
  struct threads *threads;
  /* The calls that may not be over yet, by their number in struct threads: what lies further back is. */
  struct returned returned[THREADS_AHEAD];
  struct table thread_end; /* tid to the time of its last return + 1, as a pointer */
};

static void *begin(struct play *play)
{
  struct free_mode *mode = model_alloc(sizeof *mode);
  mode->threads = threads_new(play);
  return mode;
}

/* How many of the calls that were given had returned before `number`. They came in the order of their returns, so it is those
 * up to a place that can be searched for. */
static uint64_t returned_before(const struct free_mode *mode, uint64_t number)
{
  const uint64_t given = threads_given(mode->threads);
  uint64_t low = given > THREADS_AHEAD ? given - THREADS_AHEAD : 0, high = given;
  while (low < high) {
    const uint64_t middle = low + (high - low + 1) / 2; /* in low + 1 .. high */
    if (mode->returned[middle % THREADS_AHEAD].end_number < number)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

static void call_there(void *state, const struct call *call, uint64_t pause)
{
  struct free_mode *mode = state;
  (void)pause; /* counts from the last return of all; here from those that the call waits for */
  const uint64_t after = returned_before(mode, call->number);
  uint64_t since = (uintptr_t)table_get(&mode->thread_end, call->tid);
  if (after && mode->returned[after % THREADS_AHEAD].end > since) since = mode->returned[after % THREADS_AHEAD].end;
  const uint64_t own = since && call->start > since ? call->start - since : 0;
  const uint64_t last = threads_given(mode->threads);
  const uint64_t latest = last ? mode->returned[last % THREADS_AHEAD].end : 0;
  const uint64_t number = threads_give(mode->threads, call, after, own, true);
  mode->returned[number % THREADS_AHEAD] =
      (struct returned){.end_number = call->end_number, .end = call->end > latest ? call->end : latest};
  if (call->end) table_put(&mode->thread_end, call->tid, (void *)(uintptr_t)call->end);
}

static void settle(void *state)
{
  const struct free_mode *mode = state;
  threads_wait(mode->threads, threads_given(mode->threads));
}

static void end(void *state)
{
  struct free_mode *mode = state;
  settle(mode);
  threads_free(mode->threads);
  table_clear(&mode->thread_end, NULL);
  free(mode);
}

const struct mode play_free = {begin, call_there, settle, end};
