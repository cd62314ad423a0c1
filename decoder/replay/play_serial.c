/* One thread, in the order in which the calls returned. */
#include <stdlib.h>

#include "decoder/model/table.h"
#include "decoder/replay/player_part.h"

struct serial {
  struct play *play;
  struct worker worker;
};

static void *begin(struct play *play)
{
  struct serial *serial = model_alloc(sizeof *serial);
  serial->play = play;
  return serial;
}

static void call_now(void *state, const struct call *call, uint64_t pause)
{
  struct serial *serial = state;
  play_sleep(serial->play, pause);
  play_call(serial->play, &serial->worker, call);
}

static void settle(void *state)
{
  (void)state;
}

static void end(void *state)
{
  struct serial *serial = state;
  live_free(&serial->worker.live);
  free(serial);
}

const struct mode play_serial = {begin, call_now, settle, end};
