#include <stdlib.h>

#include "decoder/report/report_part.h"

enum { SESSIONS_MOST = 20000, SESSIONS_SHOWN = 600 };

/* --- sessions ---------------------------------------------------------------------------------------- */

/* Hangs on a session of the model, and goes with it: that is the end of the session. */
struct mark {
  struct report *report;
  size_t index;
};

static void gone(void *state)
{
  const struct mark *mark = state;
  struct report *r = mark->report;
  if (r && !r->ending) r->session[mark->index].end = r->last;
}

static const struct kept_type mark_type = {sizeof(struct mark), gone};

/* After the model has taken the call in. */
void sessions_take(struct report *r, const struct event *event)
{
  const struct call *call = event->call;
  uint64_t handle, flags = 0;
  if (call->known != P11_F_C_OpenSession || !call_returned(call, CKR_OK) || !pick_out(call, 4, &handle)) return;
  struct model_session *s = model_session(model_module(event->process->user, call->module), handle);
  if (!s || kept_get(s->kept, &mark_type)) return;
  if (r->sessions == SESSIONS_MOST) {
    r->sessions_left++;
    return;
  }
  pick_in(call, 1, &flags);
  r->session = report_more(r->session, r->sessions, &r->session_room, sizeof *r->session);
  struct report_session *n = &r->session[r->sessions];
  *n = (struct report_session){
      .life = -1, .handle = handle, .start = call->end, .number = call->number, .read_write = flags & CKF_RW_SESSION};
  const struct life *life = states_life(&r->states, s->slot);
  for (size_t i = 0; i < r->states.count; i++)
    if (r->states.life[i] == life) n->life = (int32_t)i;
  *(struct mark *)kept_make(&s->kept, &mark_type) = (struct mark){r, r->sessions++};
}

static json_int_t since(const struct report *r, uint64_t time)
{
  return time > r->origin ? (json_int_t)(time - r->origin) : 0;
}

static int longer(const void *a, const void *b)
{
  const struct report_session *x = a, *y = b;
  const uint64_t p = (x->end ? x->end : UINT64_MAX) - x->start, q = (y->end ? y->end : UINT64_MAX) - y->start;
  return p == q ? (x->number > y->number) - (x->number < y->number) : p < q ? 1 : -1;
}

uint64_t sessions_left(const struct report *r)
{
  return r->sessions_left + (r->sessions > SESSIONS_SHOWN ? r->sessions - SESSIONS_SHOWN : 0);
}

json_t *sessions_json(struct report *r)
{
  json_t *list = json_array();
  if (r->sessions) qsort(r->session, r->sessions, sizeof *r->session, longer);
  for (size_t i = 0; i < r->sessions && i < SESSIONS_SHOWN; i++) {
    const struct report_session *s = &r->session[i];
    char handle[24];
    snprintf(handle, sizeof handle, "0x%llx", (unsigned long long)s->handle);
    json_array_append_new(
        list, json_pack("[i, s, I, I, b, I]", (int)s->life, handle, since(r, s->start),
                        s->end ? since(r, s->end) : (json_int_t)-1, (int)s->read_write, (json_int_t)s->number));
  }
  return list;
}

/* --- bands of a slot ----------------------------------------------------------------------------------- */

/* Begins a band where the state changes. */
static void band(json_t *lane, uint64_t at, unsigned state)
{
  const json_t *last = json_array_get(lane, json_array_size(lane) - 1);
  if (last && json_integer_value(json_array_get(last, 1)) == (json_int_t)state) return;
  json_array_append_new(lane, json_pack("[I, i]", (json_int_t)at, (int)state));
}

json_t *lane_presence(const struct life *life)
{
  json_t *lane = json_array();
  for (size_t i = 0; i < life->lines; i++) {
    const struct line *n = &life->line[i];
    if (n->kind == LINE_GONE || n->kind == LINE_BACK || !i) band(lane, n->first, n->kind != LINE_GONE);
  }
  return lane;
}

/* What the application did: its sessions are closed, nobody is logged in. */
json_t *lane_calls(const struct life *life)
{
  json_t *lane = json_array();
  for (size_t i = 0; i < life->lines; i++) {
    const struct line *n = &life->line[i];
    if (n->kind == LINE_CLOSE)
      band(lane, n->first, 0);
    else if (n->kind != LINE_STATE || n->by_calls)
      band(lane, n->first, n->by_calls);
  }
  return lane;
}

/* What C_GetSessionInfo said, until it says something else or the sessions are gone. */
json_t *lane_says(const struct life *life)
{
  json_t *lane = json_array();
  bool open = false;
  for (size_t i = 0; i < life->lines; i++) {
    const struct line *n = &life->line[i];
    if (n->kind == LINE_STATE) {
      json_array_append_new(
          lane, json_pack("[I, i, b, I]", (json_int_t)n->first, (int)n->seen, (int)!n->parts, (json_int_t)n->number));
      open = true;
    } else if (open && (n->kind == LINE_CLOSE || n->kind == LINE_GONE)) {
      json_array_append_new(lane, json_pack("[I, i, b, I]", (json_int_t)n->first, 0, 1, (json_int_t)n->number));
      open = false;
    }
  }
  return lane;
}

void lane_thin(json_t *lane, size_t keep)
{
  const size_t n = json_array_size(lane);
  if (n <= keep) return;
  const size_t step = (n + keep - 1) / keep | 1;
  json_t *few = json_array();
  for (size_t i = 0; i < n; i += step) json_array_append(few, json_array_get(lane, i));
  json_array_clear(lane);
  json_array_extend(lane, few);
  json_decref(few);
}
