/* Records of one process to events. */
#include <string.h>

#include "decoder/read/reader.h"

static void fill(struct reader *r, struct event *event, enum event_type type, uint64_t number, uint64_t time)
{
  *event = (struct event){.type = type, .number = number, .time = time, .process = &r->p};
}

/* The next queued call, or the ENTER that waits behind them. */
static bool deliver(struct reader *r, struct event *event)
{
  struct open_call *o = r->queue;
  if (o != NULL) {
    r->queue = o->next_queued;
    r->current = o;
    fill(r, event, EVENT_CALL, o->event_number, o->event_time);
    event->call = &o->call;
    r->p.calls++;
    return true;
  }
  if (r->pending_enter == NULL) return false;
  o = r->pending_enter;
  r->pending_enter = NULL;
  fill(r, event, EVENT_ENTER, o->call.number, o->call.start);
  event->call = &o->call;
  return true;
}

void reader_settle(struct reader *r)
{
  if (!r->started) merge_start(r);
  if (r->current != NULL) call_release(r, r->current);
  r->current = NULL;
  if (r->queue != NULL || r->pending_enter != NULL) return;
  if (r->advance != NULL) {
    r->advance = NULL;
    merge_advance(r);
  }
}

/* One record; true when it made an event that is not a call. */
static bool handle(struct reader *r, struct slot *s, struct event *event)
{
  const struct record *record = &s->record;
  r->p.records++;
  if (record->number > r->p.last_number) r->p.last_number = record->number;
  switch (record->kind) {
    case P11T_ENTER: call_enter(r, s, record); return false;
    case P11T_LEAVE: call_leave(r, s, record); return false;
    default: break;
  }
  fill(r, event, EVENT_MARKER, record->number, s->latest);
  switch (record->kind) {
    case P11T_MODULE:
    case P11T_UNLOAD:
    case P11T_LIST: return table_record(r, record, event);
    case P11T_FORK:
    case P11T_GAP:
    case P11T_SUSPEND:
    case P11T_DEVICE:
    case P11T_MARK:
    case P11T_CALLBACK:
    case P11T_CHECKPOINT:
    case P11T_ATTACHED:
    case P11T_PROCESS:
      event->marker.kind = record->kind;
      event->marker.body = record->body;
      event->marker.length = record->length;
      return true;
    default: return false; /* of a newer recorder: stepped over */
  }
}

/* A number is due when all smaller ones were handed out; or when it has waited so long that what is missing is lost, or lies
 * in a slot whose thread was stopped in mid-record (decision C7). */
#define HOLD_NS 50000000u

static bool is_due(const struct reader *r, const struct slot *s)
{
  return !r->tailing || s->key <= r->p.last_number + 1 || r->now - s->arrived >= HOLD_NS;
}

bool reader_due(struct reader *r, uint64_t *ns)
{
  reader_settle(r);
  *ns = r->last_time;
  if (r->queue != NULL || r->pending_enter != NULL) return true;
  const struct slot *s = r->finished ? NULL : merge_top(r);
  if (s == NULL) return !r->tailing && !r->end_delivered;
  *ns = clock_time(r, s, s->key_time);
  return is_due(r, s);
}

bool reader_event(struct reader *r, struct event *event)
{
  for (;;) {
    reader_settle(r);
    if (deliver(r, event)) return true;
    struct slot *s = r->finished ? NULL : merge_top(r);
    if (r->queue != NULL) continue; /* a slot went to another thread */
    if (r->tailing && (s == NULL || !is_due(r, s))) return false;
    if (s == NULL) break;
    r->advance = s;
    s->latest = clock_time(r, s, s->record.time);
    if (s->latest > r->last_time) r->last_time = s->latest;
    if (s->object != NULL) table_settle(r, s);
    if (handle(r, s, event)) return true;
  }
  if (!r->finished) {
    r->finished = true;
    verdict_late(r);
    call_finish(r);
    if (deliver(r, event)) return true;
  }
  if (r->end_delivered) return false;
  r->end_delivered = true;
  fill(r, event, EVENT_END, r->p.last_number, r->last_time);
  return true;
}
