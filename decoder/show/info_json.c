/* p11trace info --json: the same facts, every name as in the manual. */
#include "decoder/seal/seal.h"
#include "decoder/show/info.h"
#include "decoder/show/json.h"

/* A text that is not known is null. */
static void put_text(json_t *o, const char *key, const char *text)
{
  if (text == NULL) {
    json_put(o, key, json_null());
  } else {
    json_text(o, key, text);
  }
}

static json_t *lists(const struct process *p, unsigned module)
{
  const struct trace_list *list;
  const size_t n = trace_lists(p, module, &list);
  json_t *array = json_array();
  for (size_t i = 0; i < n; i++) {
    json_t *o = json_object();
    put_text(o, "interface", list[i].name[0] == '\0' ? NULL : list[i].name);
    json_put(o, "version", json_version(list[i].version));
    json_put(o, "flags", json_number(list[i].flags));
    json_put(o, "functions", json_number(list[i].count));
    json_put(o, "null", json_number(list[i].null_count));
    json_add(array, o);
  }
  return array;
}

static json_t *modules(const struct process *p)
{
  static const char *const how[] = {"", "chained", "preloaded", "audited"};
  static uint16_t ids[1024];
  const size_t n = trace_modules(p, ids, 1024);
  json_t *array = json_array();
  for (size_t i = 0; i < n && i < 1024; i++) {
    const struct module *m = trace_module(p, ids[i]);
    json_t *o = json_object();
    json_put(o, "id", json_integer(m->id));
    put_text(o, "path", m->path);
    put_text(o, "build_id", m->build_id);
    put_text(o, "how", m->how < 4 ? how[m->how] : "");
    put_text(o, "stub", m->stub);
    json_put(o, "lists", lists(p, m->id));
    json_add(array, o);
  }
  return array;
}

static json_t *flights(const struct process *p, const struct tally *t)
{
  const uint64_t last = p->last.monotonic > t->last ? p->last.monotonic : t->last;
  json_t *array = json_array();
  for (size_t i = 0; i < t->flights; i++) {
    const struct flight *f = &t->flight[i];
    json_t *o = json_object();
    json_put(o, "number", json_number(f->number));
    put_text(o, "function", f->info->name);
    json_put(o, "tid", json_integer(f->tid));
    put_text(o, "thread", f->thread);
    json_put(o, "at_least_ns", json_number(last > f->start ? last - f->start : 0));
    json_add(array, o);
  }
  return array;
}

static json_t *process(const struct process *p, const struct tally *t)
{
  char when[40];
  info_time(p->first.realtime, when);
  json_t *o = json_object();
  put_text(o, "path", p->path);
  put_text(o, "verdict", info_verdict(p, t));
  json_put(o, "clean_end", json_boolean(p->has_end));
  json_put(o, "recording", json_boolean(p->locked));
  put_text(o, "ended_inside", p->ended_inside);
  put_text(o, "reason", p->end_reason);
  if (p->exit_code >> 31 != 0) json_put(o, "exit_status", json_integer(p->exit_code & 0x7fffffff));
  json_put(o, "in_flight", flights(p, t));
  put_text(o, "damage", p->damage[0] == '\0' ? NULL : p->damage);
  json_put(o, "damaged_bytes", json_number(p->damaged_bytes));
  json_put(o, "trace_id", json_hex(p->trace_id, 16));
  json_put(o, "pid", json_integer(p->pid));
  put_text(o, "program", p->program);
  put_text(o, "executable", p->executable);
  json_put(o, "arguments", json_number(p->argc));
  if (p->cmdline[0] != '\0') put_text(o, "command", p->cmdline);
  json_put(o, "parent_pid", json_integer(p->parent_pid));
  json_put(o, "parent_id", json_hex(p->parent_id, 16));
  put_text(o, "started", when);
  json_put(o, "started_ns", json_integer((json_int_t)p->first.realtime)); /* beyond 2^53, and a number all the same */
  json_put(o, "span_ns", json_number(t->any ? t->last - t->first : 0));
  put_text(o, "recorder", p->recorder);
  put_text(o, "machine", p->machine);
  put_text(o, "capture", p->capture);
  if (p->has_seal) {
    char name[SEAL_NAME];
    seal_name(p->seal_public, name);
    put_text(o, "sealed_to", name);
  }
  put_text(o, "options", p->options);
  json_put(o, "payload_in_clear", json_boolean(p->compat & P11T_COMPAT_CLEAR));
  put_text(o, "derived", p->derived);
  json_put(o, "complete_from", json_number(p->complete_from));
  json_put(o, "file_index", json_number(p->file_index));
  json_put(o, "files", json_number(p->files));
  json_put(o, "missing", json_number(p->missing));
  put_text(o, "trigger", p->trigger);
  json_put(o, "modules", modules(p));
  json_put(o, "threads", json_number(t->tids));
  json_put(o, "calls", json_number(t->calls));
  json_put(o, "errors", json_number(t->errors));
  json_put(o, "open", json_number(t->open));
  json_put(o, "abandoned", json_number(t->abandoned));
  json_put(o, "headless", json_number(t->headless));
  json_put(o, "probes", json_number(t->probes));
  json_put(o, "records", json_number(p->records));
  json_put(o, "last_number", json_number(p->last_number));
  json_put(o, "dropped", json_number(p->dropped));
  json_put(o, "cut", json_number(p->cut));
  json_put(o, "passed", json_number(p->passed));
  json_put(o, "bytes", json_number(p->bytes));
  json_put(o, "live_bytes", json_number(p->live_bytes));
  json_put(o, "frames", json_number(p->frames));
  return o;
}

void info_json(struct info *info)
{
  json_t *o = json_object(), *processes = json_array();
  for (size_t i = 0; i < info->processes; i++) {
    json_add(processes, process(info->process[i], &info->tally[info->process[i]->index]));
  }
  json_put(o, "processes", processes);
  json_put(o, "damaged", json_boolean(trace_damaged(info->set)));
  json_line(&info->out, o);
}
