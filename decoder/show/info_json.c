/* p11trace info --json: the same facts, every name as in the manual. */
#include <string.h>

#include "decoder/show/info.h"

/* Commas between members come from `first`. */
struct writer {
  struct text *out;
  bool first;
};

static void key(struct writer *w, const char *name)
{
  if (!w->first) text_c(w->out, ',');
  w->first = false;
  text_c(w->out, '"');
  text_s(w->out, name);
  text_s(w->out, "\":");
}

static void member_u(struct writer *w, const char *name, uint64_t value)
{
  key(w, name);
  text_u(w->out, value);
}

static void member_s(struct writer *w, const char *name, const char *value)
{
  key(w, name);
  if (value == NULL) {
    text_s(w->out, "null");
  } else {
    text_json(w->out, value, strlen(value));
  }
}

static void member_b(struct writer *w, const char *name, bool value)
{
  key(w, name);
  text_s(w->out, value ? "true" : "false");
}

static void member_hex(struct writer *w, const char *name, const void *bytes, size_t size)
{
  key(w, name);
  text_c(w->out, '"');
  text_hex(w->out, bytes, size);
  text_c(w->out, '"');
}

static void open_with(struct writer *w, char bracket)
{
  text_c(w->out, bracket);
  w->first = true;
}

static void close_with(struct writer *w, char bracket)
{
  text_c(w->out, bracket);
  w->first = false;
}

static void next(struct writer *w)
{
  if (!w->first) text_c(w->out, ',');
}

static void modules(struct writer *w, const struct process *p)
{
  static const char *const how[] = {"", "chained", "preloaded", "audited"};
  static uint16_t ids[1024];
  size_t n = trace_modules(p, ids, 1024);
  key(w, "modules");
  open_with(w, '[');
  for (size_t i = 0; i < n && i < 1024; i++) {
    const struct module *m = trace_module(p, ids[i]);
    const struct trace_list *list;
    next(w);
    open_with(w, '{');
    member_u(w, "id", m->id);
    member_s(w, "path", m->path);
    member_s(w, "build_id", m->build_id);
    member_s(w, "how", m->how < 4 ? how[m->how] : "");
    member_s(w, "stub", m->stub);
    key(w, "lists");
    open_with(w, '[');
    size_t lists = trace_lists(p, m->id, &list);
    for (size_t k = 0; k < lists; k++) {
      next(w);
      open_with(w, '{');
      member_s(w, "interface", list[k].name[0] == '\0' ? NULL : list[k].name);
      key(w, "version");
      text_c(w->out, '"');
      text_u(w->out, list[k].version >> 8);
      text_c(w->out, '.');
      text_u(w->out, list[k].version & 255);
      text_c(w->out, '"');
      member_u(w, "flags", list[k].flags);
      member_u(w, "functions", list[k].count);
      member_u(w, "null", list[k].null_count);
      close_with(w, '}');
    }
    close_with(w, ']');
    close_with(w, '}');
  }
  close_with(w, ']');
}

static void flights(struct writer *w, const struct process *p, const struct tally *t)
{
  uint64_t last = p->last.monotonic > t->last ? p->last.monotonic : t->last;
  key(w, "in_flight");
  open_with(w, '[');
  for (size_t i = 0; i < t->flights; i++) {
    const struct flight *f = &t->flight[i];
    next(w);
    open_with(w, '{');
    member_u(w, "number", f->number);
    member_s(w, "function", f->info->name);
    member_u(w, "tid", f->tid);
    member_s(w, "thread", f->thread);
    member_u(w, "at_least_ns", last > f->start ? last - f->start : 0);
    close_with(w, '}');
  }
  close_with(w, ']');
}

static void process(struct writer *w, const struct process *p, const struct tally *t)
{
  char when[40];
  open_with(w, '{');
  member_s(w, "path", p->path);
  member_s(w, "verdict", info_verdict(p, t));
  member_b(w, "clean_end", p->has_end);
  member_b(w, "recording", p->locked);
  member_s(w, "ended_inside", p->ended_inside);
  member_s(w, "reason", p->end_reason);
  if (p->exit_code >> 31 != 0) member_u(w, "exit_status", p->exit_code & 0x7fffffff);
  flights(w, p, t);
  member_s(w, "damage", p->damage[0] == '\0' ? NULL : p->damage);
  member_u(w, "damaged_bytes", p->damaged_bytes);
  member_hex(w, "trace_id", p->trace_id, 16);
  member_u(w, "pid", p->pid);
  member_s(w, "program", p->program);
  member_s(w, "executable", p->executable);
  member_u(w, "arguments", p->argc);
  if (p->cmdline[0] != '\0') member_s(w, "command", p->cmdline);
  member_u(w, "parent_pid", p->parent_pid);
  member_hex(w, "parent_id", p->parent_id, 16);
  info_time(p->first.realtime, when);
  member_s(w, "started", when);
  member_u(w, "started_ns", p->first.realtime);
  member_u(w, "span_ns", t->any ? t->last - t->first : 0);
  member_s(w, "recorder", p->recorder);
  member_s(w, "machine", p->machine);
  member_s(w, "capture", p->capture);
  member_s(w, "options", p->options);
  member_b(w, "payload_in_clear", p->compat & P11T_COMPAT_CLEAR);
  member_s(w, "derived", p->derived);
  member_u(w, "complete_from", p->complete_from);
  member_u(w, "file_index", p->file_index);
  modules(w, p);
  member_u(w, "threads", t->tids);
  member_u(w, "calls", t->calls);
  member_u(w, "errors", t->errors);
  member_u(w, "open", t->open);
  member_u(w, "abandoned", t->abandoned);
  member_u(w, "headless", t->headless);
  member_u(w, "probes", t->probes);
  member_u(w, "records", p->records);
  member_u(w, "last_number", p->last_number);
  member_u(w, "dropped", p->dropped);
  member_u(w, "cut", p->cut);
  member_u(w, "passed", p->passed);
  member_u(w, "bytes", p->bytes);
  member_u(w, "live_bytes", p->live_bytes);
  member_u(w, "frames", p->frames);
  close_with(w, '}');
}

void info_json(struct info *info)
{
  struct writer w = {&info->out, true};
  open_with(&w, '{');
  key(&w, "processes");
  open_with(&w, '[');
  for (size_t i = 0; i < info->processes; i++) {
    next(&w);
    process(&w, info->process[i], &info->tally[info->process[i]->index]);
  }
  close_with(&w, ']');
  member_b(&w, "damaged", trace_damaged(info->set));
  close_with(&w, '}');
  text_c(&info->out, '\n');
}
