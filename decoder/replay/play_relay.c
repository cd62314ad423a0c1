/* The recorded threads, one call at a time in the order in which they returned: what a module keeps per thread is as it was. */
#include "decoder/replay/play_threads.h"

static void *begin(struct play *play)
{
  return threads_new(play);
}

static void call_there(void *state, const struct call *call, uint64_t pause)
{
  threads_wait(state, threads_give(state, call, 0, pause, false));
}

static void settle(void *state)
{
  (void)state;
}

static void end(void *state)
{
  threads_free(state);
}

const struct mode play_relay = {begin, call_there, settle, end};
