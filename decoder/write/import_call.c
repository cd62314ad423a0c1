/* A line of "type":"call" to ENTER and LEAVE. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/write/body.h"
#include "decoder/write/import.h"

enum { MAX_DEPTH = 256, BODY_ROOM = 4096, UNWOUND_FRAME = 1, NEXT_FRAME = 2 };

static const struct {
  const char *name;
  enum call_state state;
} states[] = {
    {"done",     CALL_DONE     },
    {"open",     CALL_OPEN     },
    {"unwound",  CALL_ABANDONED},
    {"headless", CALL_HEADLESS }
};

static bool state_of(struct import *im, const json_t *line, struct call *call)
{
  const char *state = json_string_value(json_object_get(line, "state"));
  const bool over = json_object_get(line, "rv") != NULL || json_object_get(line, "rv_value") != NULL;
  call->state = over ? CALL_DONE : CALL_OPEN;
  if (state == NULL) return true;
  for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
    if (strcmp(state, states[i].name) != 0) continue;
    call->state = states[i].state;
    return true;
  }
  return import_fail(im, "state \"%.40s\": expected done, open, unwound or headless", state);
}

static bool return_code(struct import *im, const json_t *line, struct call *call)
{
  const json_t *value = json_object_get(line, "rv_value"), *name = json_object_get(line, "rv");
  const char *text = json_string_value(name);
  if (call->state != CALL_DONE && call->state != CALL_HEADLESS) return true;
  if (value != NULL) return import_number(im, value, "rv_value", &call->rv);
  if (name == NULL)
    return import_fail(im, "rv: a call that is over has a return code: \"rv\":\"CKR_OK\" or \"rv_value\":0");
  if (text != NULL && strncmp(text, "CKR_", 4) == 0) {
    return p11_constant_value(text, &call->rv) || import_fail(im, "rv: %.60s is not a return code", text);
  }
  return import_number(im, name, "rv", &call->rv);
}

static bool flags_of(struct import *im, const json_t *line, struct call *call)
{
  static const struct {
    const char *name;
    uint8_t flag;
  } names[] = {
      {"probe",    P11T_PROBE   },
      {"snapshot", P11T_SNAPSHOT},
      {"cut",      P11T_CUT     },
      {"altered",  P11T_ALTERED },
      {"late",     P11T_LATE    }
  };
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(line, "flags"), i, item)
  {
    const char *text = json_string_value(item);
    bool known = false;
    for (size_t n = 0; text != NULL && n < sizeof names / sizeof *names; n++) {
      if (strcmp(text, names[n].name) != 0) continue;
      call->flags |= names[n].flag;
      known = true;
    }
    if (!known) return import_fail(im, "flags: expected probe, snapshot, cut, altered or late");
  }
  return true;
}

/* Where nothing is told: no pointer, or one if something came through it. */
static void complete(struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    struct argument *a = &call->arg[i];
    const uint8_t kind = call->info->param[i].kind;
    if (a->in.what == VALUE_NONE && kind <= P11_K_KEY) a->in.what = VALUE_NUMBER;
    if (a->in.what == VALUE_NONE && kind == P11_K_OUT_LENGTH && a->out.what != VALUE_NONE) {
      a->in = (struct value){.what = VALUE_NUMBER, .pointer = P11T_P_OWN};
    }
    if (a->in.what == VALUE_NONE) {
      a->in = (struct value){.what = VALUE_POINTER, .pointer = a->out.what != VALUE_NONE ? P11T_P_OWN : P11T_P_NULL};
    }
    if (kind == P11_K_OUT_LENGTH && a->out.what == VALUE_NONE) a->out = a->in;
  }
}

static bool one_arg(struct import *im, const json_t *json, unsigned at, struct call *call)
{
  const char *name = json_string_value(json_object_get(json, "name"));
  const struct p11_function_info *info = call->info;
  char place[200];
  for (unsigned i = 0; name != NULL; i++) {
    if (i == info->arity) return import_fail(im, "args[%u]: %s has no parameter %.60s", at, info->name, name);
    if (strcmp(info->param[i].name, name) != 0) continue;
    at = i;
    break;
  }
  if (at >= info->arity) return import_fail(im, "args: %s has %u parameters", info->name, info->arity);
  const struct p11_param *p = &info->param[at];
  struct argument *a = &call->arg[at];
  const json_t *in = json_object_get(json, "in"), *out = json_object_get(json, "out");
  const unsigned before = p->kind == P11_K_MESSAGE_PARAM ? P11_INOUT : P11_IN,
                 after = p->kind == P11_K_MESSAGE_PARAM ? P11_INOUT : P11_OUT;
  snprintf(place, sizeof place, "%.60s.in", p->name);
  if (in != NULL && !import_value(im, in, place, before, &a->in)) return false;
  if (!import_fits_param(p->kind, false, &a->in))
    return import_fail(im, "%s: a value of another type than this parameter of %s has", place, info->name);
  snprintf(place, sizeof place, "%.60s.out", p->name);
  if (out != NULL && !import_value(im, out, place, after, &a->out)) return false;
  if (a->out.what != VALUE_NONE && !import_fits_param(p->kind, true, &a->out))
    return import_fail(im, "%s: a value of another type than %s leaves there", place, info->name);
  return true;
}

static bool args(struct import *im, const json_t *line, struct call *call)
{
  const json_t *list = json_object_get(line, "args");
  if (list != NULL && !json_is_array(list)) return import_fail(im, "args: expected a list");
  for (size_t i = 0; i < json_array_size(list); i++) {
    if (!one_arg(im, json_array_get(list, i), (unsigned)i, call)) return false;
  }
  if ((call->flags & P11T_CUT) == 0 && call->state != CALL_HEADLESS) complete(call);
  return true;
}

static bool stack_of(struct import *im, const json_t *line, struct call *call)
{
  const json_t *list = json_object_get(line, "stack");
  size_t depth = json_array_size(list);
  if (depth > MAX_DEPTH) return import_fail(im, "stack: more than %d addresses", MAX_DEPTH);
  uint64_t *address = arena_alloc(&im->arena, (depth + 1) * sizeof *address);
  for (size_t i = 0; i < depth; i++) {
    if (!import_number(im, json_array_get(list, i), "stack", &address[i])) return false;
  }
  if (depth == 0 && json_object_get(line, "caller") != NULL) {
    depth = 1;
    address[0] = import_key(im, line, "caller", 0);
  }
  call->stack = address;
  call->depth = (unsigned)depth;
  call->stale = json_is_true(json_object_get(line, "stack_stale"));
  return im->error[0] == '\0';
}

/* Nanoseconds since the origin, which may be before it. */
static bool moment(struct import *im, const json_t *line, const char *key, uint64_t origin, uint64_t *ns)
{
  const json_t *json = json_object_get(line, key);
  if (json == NULL) return true;
  if (!json_is_integer(json)) return import_fail(im, "%s: expected nanoseconds, an integer", key);
  *ns = origin + (uint64_t)json_integer_value(json);
  return true;
}

static bool place(struct import *im, struct imported *p, const json_t *line, struct call *call)
{
  const uint64_t origin = im->process[0]->first;
  call->module = (uint16_t)import_key(im, line, "module", 1);
  call->tid = (uint32_t)import_key(im, line, "tid", p->reader.p.pid);
  call->thread = import_string(im, line, "thread");
  call->number = call->state == CALL_HEADLESS ? 0 : import_key(im, line, "call", p->number + 1);
  const bool over = call->state == CALL_DONE || call->state == CALL_HEADLESS;
  const uint64_t next = call->number > p->number ? call->number : p->number;
  call->end_number = over ? import_key(im, line, "end", next + 1) : 0;
  call->start = p->time;
  if (!moment(im, line, "start", origin, &call->start)) return false;
  call->end = call->start;
  if (!moment(im, line, "end_time", origin, &call->end)) return false;
  if (json_object_get(line, "end_time") == NULL) call->end = call->start + import_key(im, line, "duration", 0);
  if (call->state == CALL_DONE && call->end_number <= call->number)
    return import_fail(im, "end: %" PRIu64 " is not after call %" PRIu64, call->end_number, call->number);
  if ((call->state != CALL_HEADLESS && call->number == 0) || (over && call->end_number == 0))
    return import_fail(im, "call: numbers count from 1");
  return im->error[0] == '\0';
}

/* A call that was unwound is known by the next one of its thread, made from the same frame: frames are given to the two. */
static uint64_t frame_of(struct imported *p, const struct call *call)
{
  for (size_t i = 0; i < p->unwounds; i++) {
    if (p->unwound[i] != call->tid) continue;
    if (call->state == CALL_ABANDONED) return UNWOUND_FRAME;
    p->unwound[i] = p->unwound[--p->unwounds];
    return NEXT_FRAME;
  }
  if (call->state != CALL_ABANDONED) return 0;
  p->unwound = read_realloc(p->unwound, (p->unwounds + 1) * sizeof *p->unwound);
  p->unwound[p->unwounds++] = call->tid;
  return UNWOUND_FRAME;
}

/* Bodies grow with what the line holds. */
static bool put_body(struct import *im, struct imported *p, const struct call *call, bool after, size_t hint,
                     struct record *record)
{
  for (size_t room = hint + BODY_ROOM;; room *= 2) {
    uint8_t *body = arena_alloc(&im->arena, room);
    struct put put = {body, body + room, false};
    if (after) {
      body_leave(&put, &p->reader.p, call, NULL);
    } else {
      body_enter(&put, &p->reader.p, call);
    }
    record->body = body;
    record->length = (size_t)(put.at - body);
    if (!put.full) return true;
    if (room > MAX_CHAIN) return import_fail(im, "the call is larger than a trace takes");
  }
}

static bool write_call(struct import *im, struct imported *p, const struct call *call, size_t hint)
{
  struct record record = {.kind = P11T_ENTER,
                          .flags = call->flags,
                          .function = call->function,
                          .module = call->module,
                          .number = call->number,
                          .time = call->start};
  if (call->state != CALL_HEADLESS) {
    record.aux = frame_of(p, call);
    if (!put_body(im, p, call, false, hint, &record)) return false;
    if (!import_record(im, p, call->tid, call->thread, &record, call->stack, call->depth, call->stale)) return false;
  }
  if (call->end_number == 0) return true;
  record.kind = P11T_LEAVE;
  record.stack = 0;
  record.number = call->end_number;
  record.time = call->end;
  record.aux = call->number;
  const size_t depth = call->state == CALL_HEADLESS ? call->depth : 0;
  return put_body(im, p, call, true, hint, &record) &&
         import_record(im, p, call->tid, call->thread, &record, call->stack, depth, call->stale);
}

bool import_call(struct import *im, struct imported *p, const json_t *line)
{
  struct call call = {.thread = ""};
  const char *name = json_string_value(json_object_get(line, "fn"));
  if (name == NULL) return import_fail(im, "fn: expected the name of a function, such as \"C_Sign\"");
  call.known = p11_function_by_name(name);
  if (call.known < 0) return import_fail(im, "fn: %.60s is not a function of PKCS #11 3.2", name);
  call.function = (uint16_t)call.known;
  call.info = &p11_functions[call.known];
  if (!state_of(im, line, &call) || !flags_of(im, line, &call) || !return_code(im, line, &call) ||
      !args(im, line, &call) || !stack_of(im, line, &call) || !place(im, p, line, &call))
    return false;
  if (strict_secrets(&im->strict, &call)) p->clear = true;
  p->calls++;
  /* Hexadecimal digits are most of a long line. */
  return write_call(im, p, &call, 0);
}
