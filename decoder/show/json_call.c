/* Events as JSON objects, one a line. */
#include "decoder/show/dump.h"
#include "decoder/show/json.h"

#define K(literal) JSON_KEY(out, literal)

static void put_text(struct text *out, const char *key, const char *s)
{
  if (s != NULL && s[0] != '\0') json_outside(out, key, s, strlen(s));
}

/* Clock readings are beyond 2^53 on a machine that is up for 105 days: digits in a string, never rounded. */
static void put_reading(struct text *out, const char *key, uint64_t ns)
{
  text_s(out, key);
  text_c(out, '"');
  text_u(out, ns);
  text_c(out, '"');
}

void json_start(struct dump *d)
{
  struct text *out = &d->out;
  K("{\"type\":\"trace\",\"version\":1,\"processes\":");
  text_u(out, d->processes);
  K("}\n");
  for (size_t i = 0; i < d->processes; i++) {
    const struct process *p = d->process[i];
    K("{\"type\":\"process\",\"process\":");
    text_u(out, p->index);
    K(",\"pid\":");
    text_u(out, p->pid);
    if (p->parent_pid != 0) {
      K(",\"parent_pid\":");
      text_u(out, p->parent_pid);
    }
    K(",\"trace_id\":");
    json_hex(out, p->trace_id, sizeof p->trace_id);
    put_text(out, "path", p->path);
    put_text(out, "executable", p->executable);
    put_text(out, "program", p->program);
    put_text(out, "recorder", p->recorder);
    put_text(out, "capture", p->capture);
    put_text(out, "machine", p->machine);
    K(",\"word_bits\":");
    text_u(out, p->word_bits);
    put_reading(out, ",\"first_monotonic\":", p->first.monotonic);
    put_reading(out, ",\"first_realtime\":", p->first.realtime);
    K("}\n");
  }
}

static void put_args(struct text *out, const struct call *call)
{
  K(",\"args\":[");
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct p11_param *param = &call->info->param[i];
    const struct argument *arg = &call->arg[i];
    text_s(out, i > 0 ? ",{\"name\":" : "{\"name\":");
    text_json(out, param->name, strlen(param->name));
    K(",\"kind\":");
    text_u(out, param->kind);
    struct meaning meaning = meaning_of_param(param);
    if (arg->in.what != VALUE_NONE) {
      K(",\"in\":");
      json_value(out, &arg->in, meaning);
    }
    if (arg->out.what != VALUE_NONE) {
      K(",\"out\":");
      json_after(out, &arg->out, meaning);
    }
    text_c(out, '}');
  }
  text_c(out, ']');
}

static void put_flags(struct text *out, unsigned flags)
{
  static const struct {
    unsigned flag;
    const char *name;
  } names[] = {
      {P11T_PROBE,    "\"probe\""   },
      {P11T_SNAPSHOT, "\"snapshot\""},
      {P11T_CUT,      "\"cut\""     },
      {P11T_ALTERED,  "\"altered\"" },
      {P11T_LATE,     "\"late\""    }
  };
  bool any = false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (!(flags & names[i].flag)) continue;
    text_s(out, any ? "," : ",\"flags\":[");
    text_s(out, names[i].name);
    any = true;
  }
  if (any) text_c(out, ']');
}

static void put_stack(struct text *out, const struct call *call)
{
  if (call->caller != 0) {
    K(",\"caller\":");
    json_address(out, call->caller);
  }
  if (call->depth == 0) return;
  K(",\"stack\":[");
  for (unsigned i = 0; i < call->depth; i++) {
    if (i > 0) text_c(out, ',');
    json_address(out, call->stack[i]);
  }
  text_c(out, ']');
}

static void put_times(struct dump *d, const struct call *call)
{
  struct text *out = &d->out;
  const bool begun = call->state != CALL_HEADLESS, over = call->state == CALL_DONE || call->state == CALL_HEADLESS;
  if (begun) {
    K(",\"start\":");
    json_time(out, call->start - d->origin);
  }
  if (over) {
    K(",\"end_time\":");
    json_time(out, call->end - d->origin);
  }
  if (begun && over) {
    K(",\"duration\":");
    json_time(out, call->end - call->start);
  }
}

void json_call(struct dump *d, const struct event *event)
{
  static const char *const state[] = {
      [CALL_DONE] = "done", [CALL_OPEN] = "open", [CALL_ABANDONED] = "unwound", [CALL_HEADLESS] = "headless"};
  struct text *out = &d->out;
  const struct call *call = event->call;
  K("{\"type\":\"call\"");
  if (call->state != CALL_HEADLESS) {
    K(",\"call\":");
    json_number(out, call->number);
  }
  if (call->end_number != 0) {
    K(",\"end\":");
    json_number(out, call->end_number);
  }
  K(",\"process\":");
  text_u(out, event->process->index);
  K(",\"pid\":");
  text_u(out, event->process->pid);
  K(",\"tid\":");
  text_u(out, call->tid);
  put_text(out, "thread", call->thread);
  K(",\"module\":");
  text_u(out, call->module);
  put_text(out, "fn", call->info->name);
  K(",\"function\":");
  text_u(out, call->function);
  put_times(d, call);
  K(",\"state\":\"");
  text_s(out, state[call->state]);
  text_c(out, '"');
  if (call->state == CALL_DONE || call->state == CALL_HEADLESS) {
    K(",\"rv\":\"");
    const char *name = p11_constant_name(P11_DOM_CKR, call->rv);
    if (name != NULL) {
      text_s(out, name);
    } else {
      text_x(out, call->rv);
    }
    K("\",\"rv_value\":");
    json_number(out, call->rv);
  }
  put_flags(out, call->flags);
  put_stack(out, call);
  put_args(out, call);
  K("}\n");
}

static void put_module(struct text *out, const struct module *m)
{
  static const char *const how[] = {"unknown", "chained", "preloaded", "audited"};
  K(",\"module\":");
  text_u(out, m->id);
  put_text(out, "path", m->path);
  put_text(out, "build_id", m->build_id);
  K(",\"base\":");
  json_address(out, m->base);
  K(",\"how\":\"");
  text_s(out, how[m->how < 4 ? m->how : 0]);
  text_c(out, '"');
  put_text(out, "stub", m->stub);
}

static void put_list(struct text *out, const struct event *event)
{
  if (event->module != NULL) {
    K(",\"module\":");
    text_u(out, event->module->id);
  }
  const char *name = event->list.name != NULL ? event->list.name : "";
  json_outside(out, "name", name, strlen(name));
  K(",\"version\":\"");
  show_version(out, event->list.version);
  K("\",\"flags\":");
  json_number(out, event->list.flags);
  K(",\"functions\":");
  text_u(out, event->list.count);
  K(",\"null\":[");
  bool any = false;
  for (unsigned i = 0; i < event->list.count && i / 8 < event->list.null_bytes; i++) {
    if (!(event->list.nulls[i / 8] >> (i % 8) & 1)) continue;
    if (any) text_c(out, ',');
    text_u(out, i);
    any = true;
  }
  text_c(out, ']');
}

static void put_end(struct text *out, const struct process *p)
{
  static const char *const verdict[] = {[VERDICT_RECORDING] = "recording",
                                        [VERDICT_COMPLETE] = "complete",
                                        [VERDICT_ENDED] = "ended",
                                        [VERDICT_DIED] = "died",
                                        [VERDICT_UNKNOWN] = "unknown"};
  K(",\"verdict\":\"");
  text_s(out, verdict[p->verdict]);
  text_c(out, '"');
  put_text(out, "inside", p->ended_inside);
  K(",\"records\":");
  json_number(out, p->records);
  K(",\"calls\":");
  json_number(out, p->calls);
  K(",\"dropped\":");
  json_number(out, p->dropped);
  K(",\"cut\":");
  json_number(out, p->cut);
  K(",\"passed\":");
  json_number(out, p->passed);
  K(",\"damaged_bytes\":");
  json_number(out, p->damaged_bytes);
  put_text(out, "damage", p->damage);
}

void json_other(struct dump *d, const struct event *event)
{
  static const char *const type[] = {[EVENT_MODULE] = "module",
                                     [EVENT_UNLOAD] = "unload",
                                     [EVENT_LIST] = "list",
                                     [EVENT_MARKER] = "marker",
                                     [EVENT_END] = "end"};
  struct text *out = &d->out;
  K("{\"type\":\"");
  text_s(out, type[event->type]);
  K("\",\"process\":");
  text_u(out, event->process->index);
  if (event->type != EVENT_END) {
    K(",\"number\":");
    json_number(out, event->number);
    K(",\"time\":");
    json_time(out, event->time - d->origin);
  }
  switch (event->type) {
    case EVENT_MODULE: put_module(out, event->module); break;
    case EVENT_UNLOAD:
      K(",\"module\":");
      text_u(out, event->module != NULL ? event->module->id : 0);
      break;
    case EVENT_LIST: put_list(out, event); break;
    case EVENT_END: put_end(out, event->process); break;
    default:
      K(",\"kind\":");
      text_u(out, event->marker.kind);
      K(",\"body\":");
      json_hex(out, event->marker.body, event->marker.length);
      break;
  }
  K("}\n");
}
