/* When times say nothing. */
#include "decoder/rules/perf/perf_help.h"

#define AFTER_SUSPEND (30 * SECOND)

struct suspended {
  uint64_t until;
};
static const struct kept_type suspended = {sizeof(struct suspended), NULL};

void perf_marker(struct check *check)
{
  if (check->event->marker.kind != P11T_SUSPEND) return;
  ((struct suspended *)kept_make(&check->place.module->kept, &suspended))->until = check->event->time + AFTER_SUSPEND;
}

bool perf_disturbed(const struct check *check, const struct call *call)
{
  const struct suspended *s = kept_get(check->place.module->kept, &suspended);
  if (s && call->start < s->until) return true;
  /* A card that nobody knows is in, though none can be used: it is no removal for those who wait for that answer. */
  return call->rv != CKR_TOKEN_NOT_RECOGNIZED && model_removal(check->place.slot, call);
}

void perf_hint(struct finding *finding)
{
  if (finding)
    finding_hint(finding, "a machine under load does the same: record again while it has nothing else to do");
}
