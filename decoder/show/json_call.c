/* Events as JSON objects, one a line. */
#include <inttypes.h>

#include "decoder/show/dump.h"
#include "decoder/show/json.h"
#include "decoder/show/stack.h"

/* HEAD and its like have an empty text where nothing is known. */
static void put_known(json_t *o, const char *key, const char *text)
{
  if (text != NULL && text[0] != '\0') json_text(o, key, text);
}

/* Nanoseconds with a sign. */
static json_t *difference(uint64_t time, uint64_t since)
{
  return json_integer((json_int_t)(time - since));
}

static json_t *typed(const char *type)
{
  json_t *o = json_object();
  json_put(o, "type", json_string(type));
  return o;
}

void json_process(struct dump *d, const struct process *p)
{
  json_t *o = typed("process");
  json_put(o, "process", json_integer(p->index));
  json_put(o, "pid", json_integer(p->pid));
  if (p->parent_pid != 0) json_put(o, "parent_pid", json_integer(p->parent_pid));
  json_put(o, "trace_id", json_hex(p->trace_id, sizeof p->trace_id));
  put_known(o, "path", p->path);
  put_known(o, "executable", p->executable);
  put_known(o, "program", p->program);
  put_known(o, "recorder", p->recorder);
  put_known(o, "capture", p->capture);
  put_known(o, "machine", p->machine);
  json_put(o, "word_bits", json_integer(p->word_bits));
  /* Clock readings are beyond 2^53 on a machine that is up for 105 days: digits in a string, never rounded. */
  json_put(o, "first_monotonic", json_sprintf("%" PRIu64, p->first.monotonic));
  json_put(o, "first_realtime", json_sprintf("%" PRIu64, p->first.realtime));
  json_line(&d->out, o);
}

void json_start(struct dump *d)
{
  json_t *o = typed("trace");
  json_put(o, "version", json_integer(1));
  json_put(o, "processes", json_integer((json_int_t)d->processes));
  json_line(&d->out, o);
  for (size_t i = 0; i < d->processes; i++) json_process(d, d->process[i]);
}

static json_t *args(const struct call *call)
{
  json_t *list = json_array();
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct p11_param *param = &call->info->param[i];
    const struct argument *arg = &call->arg[i];
    const struct meaning meaning = meaning_of_param(param);
    json_t *o = json_object();
    json_text(o, "name", param->name);
    json_put(o, "kind", json_integer(param->kind));
    if (arg->in.what != VALUE_NONE) json_put(o, "in", json_value(&arg->in, meaning));
    if (arg->out.what != VALUE_NONE) json_put(o, "out", json_after(&arg->out, meaning));
    json_add(list, o);
  }
  return list;
}

static void put_flags(json_t *o, unsigned flags)
{
  static const struct {
    unsigned flag;
    const char *name;
  } names[] = {
      {P11T_PROBE,    "probe"   },
      {P11T_SNAPSHOT, "snapshot"},
      {P11T_CUT,      "cut"     },
      {P11T_ALTERED,  "altered" },
      {P11T_LATE,     "late"    }
  };
  json_t *list = json_array();
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (flags & names[i].flag) json_add(list, json_string(names[i].name));
  }
  if (json_array_size(list) > 0) {
    json_put(o, "flags", list);
  } else {
    json_decref(list);
  }
}

static void put_stack(json_t *o, const struct call *call)
{
  if (call->caller != 0) json_put(o, "caller", json_address(call->caller));
  if (call->depth == 0) return;
  json_t *stack = json_array();
  for (unsigned i = 0; i < call->depth; i++) json_add(stack, json_address(call->stack[i]));
  json_put(o, "stack", stack);
  if (call->stale) json_put(o, "stack_stale", json_true());
}

void json_call(struct dump *d, const struct event *event)
{
  static const char *const state[] = {
      [CALL_DONE] = "done", [CALL_OPEN] = "open", [CALL_ABANDONED] = "unwound", [CALL_HEADLESS] = "headless"};
  const struct call *call = event->call;
  const bool begun = call->state != CALL_HEADLESS, over = call->state == CALL_DONE || call->state == CALL_HEADLESS;
  json_t *o = typed("call");
  if (begun) json_put(o, "call", json_number(call->number));
  if (call->end_number != 0) json_put(o, "end", json_number(call->end_number));
  json_put(o, "process", json_integer(event->process->index));
  json_put(o, "pid", json_integer(event->process->pid));
  json_put(o, "tid", json_integer(call->tid));
  put_known(o, "thread", call->thread);
  json_put(o, "module", json_integer(call->module));
  put_known(o, "fn", call->info->name);
  json_put(o, "function", json_integer(call->function));
  if (begun) json_put(o, "start", difference(call->start, d->origin));
  if (over) json_put(o, "end_time", difference(call->end, d->origin));
  if (begun && over) json_put(o, "duration", difference(call->end, call->start));
  json_put(o, "state", json_string(state[call->state]));
  if (over) {
    const char *name = p11_constant_name(P11_DOM_CKR, call->rv);
    json_put(o, "rv", name != NULL ? json_string(name) : json_address(call->rv));
    json_put(o, "rv_value", json_number(call->rv));
  }
  put_flags(o, call->flags);
  put_stack(o, call);
  if (d->options->stack && call->depth > 0) json_put(o, "frames", stack_json(d->symbols, event->process, call));
  json_put(o, "args", args(call));
  json_line(&d->out, o);
}

static void put_module(json_t *o, const struct module *m)
{
  static const char *const how[] = {"unknown", "chained", "preloaded", "audited"};
  json_put(o, "module", json_integer(m->id));
  put_known(o, "path", m->path);
  put_known(o, "build_id", m->build_id);
  json_put(o, "base", json_address(m->base));
  json_put(o, "how", json_string(how[m->how < 4 ? m->how : 0]));
  put_known(o, "stub", m->stub);
}

static void put_list(json_t *o, const struct event *event)
{
  if (event->module != NULL) json_put(o, "module", json_integer(event->module->id));
  json_text(o, "name", event->list.name != NULL ? event->list.name : "");
  json_put(o, "version", json_version(event->list.version));
  json_put(o, "flags", json_number(event->list.flags));
  json_put(o, "functions", json_integer(event->list.count));
  json_t *nulls = json_array();
  for (unsigned i = 0; i < event->list.count && i / 8 < event->list.null_bytes; i++) {
    if (event->list.nulls[i / 8] >> (i % 8) & 1) json_add(nulls, json_integer(i));
  }
  json_put(o, "null", nulls);
}

static void put_end(json_t *o, const struct process *p)
{
  static const char *const verdict[] = {[VERDICT_RECORDING] = "recording",
                                        [VERDICT_COMPLETE] = "complete",
                                        [VERDICT_ENDED] = "ended",
                                        [VERDICT_DIED] = "died",
                                        [VERDICT_UNKNOWN] = "unknown"};
  json_put(o, "verdict", json_string(verdict[p->verdict]));
  put_known(o, "inside", p->ended_inside);
  json_put(o, "records", json_number(p->records));
  json_put(o, "calls", json_number(p->calls));
  json_put(o, "dropped", json_number(p->dropped));
  json_put(o, "cut", json_number(p->cut));
  json_put(o, "passed", json_number(p->passed));
  json_put(o, "damaged_bytes", json_number(p->damaged_bytes));
  put_known(o, "damage", p->damage);
}

void json_other(struct dump *d, const struct event *event)
{
  static const char *const type[] = {[EVENT_MODULE] = "module",
                                     [EVENT_UNLOAD] = "unload",
                                     [EVENT_LIST] = "list",
                                     [EVENT_MARKER] = "marker",
                                     [EVENT_END] = "end"};
  json_t *o = typed(type[event->type]);
  json_put(o, "process", json_integer(event->process->index));
  if (event->type != EVENT_END) {
    json_put(o, "number", json_number(event->number));
    json_put(o, "time", difference(event->time, d->origin));
  }
  switch (event->type) {
    case EVENT_MODULE: put_module(o, event->module); break;
    case EVENT_UNLOAD: json_put(o, "module", json_integer(event->module != NULL ? event->module->id : 0)); break;
    case EVENT_LIST: put_list(o, event); break;
    case EVENT_END: put_end(o, event->process); break;
    default:
      json_put(o, "kind", json_integer(event->marker.kind));
      json_put(o, "body", json_hex(event->marker.body, event->marker.length));
      break;
  }
  json_line(&d->out, o);
}
