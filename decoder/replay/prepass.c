#include "decoder/replay/prepass.h"

#include <stdio.h>

#include "decoder/replay/good_pin.h"
#include "decoder/replay/guard.h"
#include "decoder/replay/live_part.h"
#include "decoder/replay/portrait.h"
#include "decoder/replay/results.h"

bool prepass(struct player *player, struct guard *guard, const char *const *paths, size_t count, unsigned index)
{
  struct trace_set *set = trace_again(paths, count) ? trace_open(paths, count) : NULL;
  struct process *const *process;
  if (!set || index >= trace_processes(set, &process)) {
    snprintf(player->results->error, sizeof player->results->error, "the trace cannot be read again");
    if (set) trace_close(set);
    return false;
  }
  struct portraits_reading *portraits = portraits_begin();
  bool searches = false;
  struct event event;
  while (!trace_next(set, &event)) {
    if (event.type == EVENT_LIST && event.process->index == index && event.module &&
        choose_takes(player->options, event.process, event.module->id))
      live_list_foresee(player, &event);
    if (event.type != EVENT_CALL || event.process->index != index) continue;
    const struct call *call = event.call;
    if (call_is_probe(call) || call->known < 0 || !choose_takes(player->options, event.process, call->module)) continue;
    if (call->state != CALL_DONE && call->state != CALL_HEADLESS) continue;
    maps_foresee(player, call);
    guard_foresee(guard, call);
    good_pin_foresee(player, call);
    portraits_see(portraits, call);
    searches |= call->known == P11_F_C_FindObjects && call->rv == CKR_OK && call->arg[1].out.count;
  }
  player->portraits = portraits_end(portraits);
  if (!searches && !player->options->prepare) {
    portraits_free(player->portraits);
    player->portraits = NULL;
  }
  trace_close(set);
  return true;
}
