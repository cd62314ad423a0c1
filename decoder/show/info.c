/* p11trace info: the page as text; what is counted for it. */
#include "decoder/show/info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "decoder/cmd/cmd.h"
#include "decoder/seal/seal.h"

static void add_thread(struct tally *t, uint32_t tid)
{
  if (t->tids * 2 >= t->tid_room) {
    uint32_t *old = t->tid;
    size_t room = t->tid_room, i;
    t->tid_room = room == 0 ? 64 : room * 2;
    t->tid = calloc(t->tid_room, sizeof *t->tid);
    if (t->tid == NULL) abort();
    t->tids = 0;
    for (i = 0; i < room; i++) {
      if (old[i] != 0) add_thread(t, old[i]);
    }
    free(old);
  }
  size_t at = (tid * 0x9E3779B1u) & (t->tid_room - 1);
  while (t->tid[at] != 0 && t->tid[at] != tid) at = (at + 1) & (t->tid_room - 1);
  if (tid != 0 && t->tid[at] == 0) t->tids++;
  t->tid[at] = tid;
}

static void count_call(struct tally *t, const struct call *c)
{
  add_thread(t, c->tid);
  if (call_is_probe(c)) {
    t->probes++;
    if (c->state == CALL_DONE) return;
  } else {
    t->calls++;
  }
  switch (c->state) {
    case CALL_HEADLESS: t->headless++; /* fall through */
    case CALL_DONE: t->errors += c->rv != 0; return;
    case CALL_ABANDONED: t->abandoned++; return;
    case CALL_OPEN: break;
  }
  t->open++;
  if (t->flights == INFO_FLIGHTS) return;
  struct flight *f = &t->flight[t->flights++];
  *f = (struct flight){.info = c->info, .number = c->number, .start = c->start, .tid = c->tid};
  snprintf(f->thread, sizeof f->thread, "%s", c->thread);
}

static void count(struct info *info)
{
  struct event e;
  while (trace_next(info->set, &e) == 0) {
    struct tally *t = &info->tally[e.process->index];
    if (e.type == EVENT_CALL) count_call(t, e.call);
    if (e.type == EVENT_END) continue;
    if (!t->any || e.time < t->first) t->first = e.time;
    if (!t->any || e.time > t->last) t->last = e.time;
    t->any = true;
  }
}

const char *info_verdict(const struct process *p, const struct tally *t)
{
  if (p->damage[0] != '\0') return "cut";
  switch (p->verdict) {
    case VERDICT_RECORDING: return "recording";
    case VERDICT_COMPLETE: return "complete";
    case VERDICT_ENDED: return "ended";
    case VERDICT_DIED: return "died";
    case VERDICT_UNKNOWN: break;
  }
  return t->any || p->frames > 0 ? "unknown" : "empty";
}

void info_time(uint64_t realtime, char text[40])
{
  time_t seconds = (time_t)(realtime / 1000000000u);
  struct tm tm;
  char date[24], zone[8];
  if (localtime_r(&seconds, &tm) == NULL) {
    snprintf(text, 40, "%" PRIu64 " s since 1970", realtime / 1000000000u);
    return;
  }
  strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
  strftime(zone, sizeof zone, "%z", &tm);
  snprintf(text, 40, "%s.%06u%.3s:%s", date, (unsigned)(realtime % 1000000000u / 1000), zone, zone + 3);
}

/* --- text ---------------------------------------------------------------------------------------------------------- */

static void label(struct text *out, const char *name)
{
  text_s(out, "  ");
  text_s(out, name);
  for (size_t n = strlen(name); n < 10; n++) text_c(out, ' ');
}

static void shown(struct text *out, const char *text)
{
  text_escaped(out, text, strlen(text), "");
}

static void counted(struct text *out, uint64_t n, const char *one, const char *many)
{
  text_u(out, n);
  text_c(out, ' ');
  text_s(out, n == 1 ? one : many);
}

/* 1.234 s, 12.3 ms, 345 us: three or four digits that mean something. */
static void duration(struct text *out, uint64_t ns)
{
  static const struct {
    uint64_t unit;
    const char *name;
  } units[] = {
      {1000000000, " s" },
      {1000000,    " ms"},
      {1000,       " us"}
  };
  for (size_t i = 0; i < 3; i++) {
    if (ns < units[i].unit) continue;
    text_u(out, ns / units[i].unit);
    if (ns < units[i].unit * 1000) {
      text_c(out, '.');
      text_padded(out, ns % units[i].unit / (units[i].unit / 1000), 3);
    }
    text_s(out, units[i].name);
    return;
  }
  text_u(out, ns);
  text_s(out, " ns");
}

/* When the process was last known to be there. */
static uint64_t last_sign(const struct process *p, const struct tally *t)
{
  return p->last.monotonic > t->last ? p->last.monotonic : t->last;
}

static void verdict_line(struct text *out, const struct process *p, const struct tally *t)
{
  const char *word = info_verdict(p, t);
  label(out, "verdict");
  if (strcmp(word, "cut") == 0) {
    text_s(out, "cut: ");
    shown(out, p->damage);
    if (p->damaged_bytes > 0) {
      text_s(out, " (");
      counted(out, p->damaged_bytes, "byte cannot", "bytes cannot");
      text_s(out, " be used in all)");
    }
    text_s(out, "\n");
    if (p->verdict == VERDICT_UNKNOWN) return;
    label(out, "");
    text_s(out, "beside that: ");
  }
  switch (p->verdict) {
    case VERDICT_RECORDING: text_s(out, "recording"); break;
    case VERDICT_COMPLETE:
      text_s(out, "complete");
      if (p->end_reason != NULL && strcmp(p->end_reason, "dump") == 0) text_s(out, " dump; the process went on");
      break;
    case VERDICT_ENDED:
      text_s(out, "ended (no clean end: the program left with _exit or was killed between calls)");
      break;
    case VERDICT_DIED:
      text_s(out, "ended inside ");
      shown(out, p->ended_inside);
      break;
    case VERDICT_UNKNOWN: text_s(out, t->any ? "unknown" : "empty: nothing was recorded"); break;
  }
  if (p->end_reason != NULL && strcmp(p->end_reason, "exit") != 0 && strcmp(p->end_reason, "dump") != 0) {
    text_s(out, " (");
    shown(out, p->end_reason);
    text_c(out, ')');
  }
  if (p->exit_code >> 31 != 0) {
    text_s(out, ", exit status ");
    text_u(out, p->exit_code & 0x7fffffff);
  }
  if (p->losing) text_s(out, "; LOSING RECORDS: the disk was full when it was last seen");
  text_c(out, '\n');
}

static void flights(struct text *out, const struct process *p, const struct tally *t)
{
  for (size_t i = 0; i < t->flights; i++) {
    const struct flight *f = &t->flight[i];
    label(out, "in flight");
    text_c(out, '#');
    text_u(out, f->number);
    text_c(out, ' ');
    shown(out, f->info->name);
    text_s(out, ", thread ");
    text_u(out, f->tid);
    if (f->thread[0] != '\0') {
      text_s(out, " (");
      shown(out, f->thread);
      text_c(out, ')');
    }
    text_s(out, ", for at least ");
    uint64_t last = last_sign(p, t);
    duration(out, last > f->start ? last - f->start : 0);
    text_c(out, '\n');
  }
  if (t->open > t->flights) {
    label(out, "");
    text_s(out, "and ");
    text_u(out, t->open - t->flights);
    text_s(out, " more\n");
  }
}

static void origin(struct text *out, const struct info *info, const struct process *p)
{
  static const uint8_t none[16];
  if (p->parent_pid == 0 && memcmp(p->parent_id, none, 16) == 0) return;
  label(out, "parent");
  text_s(out, "pid ");
  text_u(out, p->parent_pid);
  for (size_t i = 0; i < info->processes; i++) {
    if (memcmp(info->process[i]->trace_id, p->parent_id, 16) != 0) continue;
    text_s(out, ", traced in ");
    shown(out, info->process[i]->path);
    break;
  }
  text_c(out, '\n');
}

static void modules(struct text *out, const struct process *p)
{
  static const char *const how[] = {"", ", chained", ", preloaded", ", audited"};
  static uint16_t ids[1024];
  size_t n = trace_modules(p, ids, 1024);
  for (size_t i = 0; i < n && i < 1024; i++) {
    const struct module *m = trace_module(p, ids[i]);
    const struct trace_list *list;
    char name[24];
    snprintf(name, sizeof name, "module %u", m->id);
    label(out, name);
    shown(out, m->path);
    text_s(out, m->how < 4 ? how[m->how] : "");
    if (m->stub[0] != '\0') {
      text_s(out, " by ");
      shown(out, m->stub);
    }
    if (m->build_id[0] != '\0') {
      text_s(out, ", build-id ");
      shown(out, m->build_id);
    }
    text_c(out, '\n');
    size_t lists = trace_lists(p, m->id, &list);
    for (size_t k = 0; k < lists && k < 64; k++) {
      label(out, "");
      if (list[k].name[0] == '\0') {
        text_s(out, "function list");
      } else {
        text_s(out, "interface ");
        text_quoted(out, list[k].name, strlen(list[k].name));
      }
      text_c(out, ' ');
      text_u(out, list[k].version >> 8);
      text_c(out, '.');
      text_u(out, list[k].version & 255);
      if (list[k].count == 0) {
        text_s(out, ": layout unknown, its calls are not recorded\n");
        continue;
      }
      text_s(out, ": ");
      text_u(out, list[k].count);
      text_s(out, " functions");
      if (list[k].null_count > 0) {
        text_s(out, ", ");
        text_u(out, list[k].null_count);
        text_s(out, " of them NULL");
      }
      text_c(out, '\n');
    }
  }
}

static void numbers(struct text *out, const struct process *p, const struct tally *t)
{
  label(out, "calls");
  text_u(out, t->calls);
  text_s(out, " in ");
  counted(out, t->tids, "thread", "threads");
  text_s(out, ", ");
  text_u(out, t->errors);
  text_s(out, " not CKR_OK");
  const struct {
    uint64_t n;
    const char *what;
  } also[] = {
      {t->open,      " in flight"                                   },
      {t->abandoned, " abandoned"                                   },
      {t->headless,  " whose beginning is lost"                     },
      {t->probes,    t->probes == 1 ? " probe call" : " probe calls"}
  };
  for (size_t i = 0; i < 4; i++) {
    if (also[i].n == 0) continue;
    text_s(out, ", ");
    text_u(out, also[i].n);
    text_s(out, also[i].what);
  }
  text_c(out, '\n');
  label(out, "size");
  counted(out, p->bytes, "byte", "bytes");
  if (p->has_live) {
    text_s(out, " and ");
    text_u(out, p->live_bytes);
    text_s(out, " in the live file");
  }
  text_s(out, ", ");
  counted(out, p->frames, "frame", "frames");
  if (p->files > 1) {
    text_s(out, " in ");
    counted(out, p->files, "file", "files");
  }
  const uint64_t all = t->calls + t->probes;
  if (all > 0) {
    text_s(out, ", ");
    text_u(out, p->bytes / all);
    text_c(out, '.');
    text_u(out, p->bytes * 10 / all % 10);
    text_s(out, " bytes a call");
  }
  text_c(out, '\n');
  if (p->dropped + p->cut + p->passed > 0) {
    label(out, "LOST");
    counted(out, p->dropped, "record", "records");
    text_s(out, " lost, ");
    counted(out, p->cut, "value", "values");
    text_s(out, " cut, ");
    counted(out, p->passed, "call", "calls");
    text_s(out, " passed through unrecorded\n");
  }
}

static void page(struct info *info, const struct process *p)
{
  struct text *out = &info->out;
  const struct tally *t = &info->tally[p->index];
  char when[40];
  shown(out, p->path);
  text_c(out, '\n');
  verdict_line(out, p, t);
  flights(out, p, t);
  if (p->trigger != NULL) {
    label(out, "dumped");
    text_s(out, "on ");
    shown(out, p->trigger);
    text_c(out, '\n');
  }
  if (p->program[0] == '\0' && p->pid == 0) { /* not even HEAD */
    numbers(out, p, t);
    return;
  }
  label(out, "process");
  shown(out, p->program);
  text_s(out, ", pid ");
  text_u(out, p->pid);
  text_s(out, ", ");
  shown(out, p->executable);
  text_s(out, ", ");
  counted(out, p->argc, "argument", "arguments");
  text_c(out, '\n');
  if (p->cmdline[0] != '\0') {
    label(out, "command");
    shown(out, p->cmdline);
    text_c(out, '\n');
  }
  if (p->first.realtime != 0) {
    info_time(p->first.realtime, when);
    label(out, "started");
    text_s(out, when);
    if (t->any) {
      text_s(out, ", calls within ");
      duration(out, t->last - t->first);
    }
    text_c(out, '\n');
  }
  origin(out, info, p);
  label(out, "recorder");
  shown(out, p->recorder);
  text_s(out, " on ");
  shown(out, p->machine);
  text_s(out, ", capture=");
  shown(out, p->capture);
  if (p->has_seal) {
    char name[SEAL_NAME];
    seal_name(p->seal_public, name);
    text_s(out, ", sealed to ");
    text_s(out, name);
  }
  text_c(out, '\n');
  if (p->options[0] != '\0') {
    for (const char *at = p->options; *at != '\0'; at += strcspn(at, "\n"), at += *at == '\n') {
      label(out, at == p->options ? "options" : "");
      text_escaped(out, at, strcspn(at, "\n"), "");
      text_c(out, '\n');
    }
  }
  if (p->compat & P11T_COMPAT_CLEAR) {
    label(out, "WARNING");
    text_s(out, "PAYLOAD IN CLEAR: this file holds data that the application signed, encrypted or digested\n");
  }
  if (p->derived[0] != '\0' || (p->compat & P11T_COMPAT_DERIVED)) {
    label(out, "derived");
    shown(out, p->derived);
    text_c(out, '\n');
  }
  if (p->complete_from > 1) {
    label(out, "complete");
    text_s(out, "from #");
    text_u(out, p->complete_from);
    text_s(out, strstr(p->options, "ring=") != NULL ? " on; older records were overwritten"
                                                    : " on; older records are in files that are not there");
    if (p->missing > 0) {
      text_s(out, ", and ");
      counted(out, p->missing, "number", "numbers");
      text_s(out, " between the files shown");
    }
    text_c(out, '\n');
  }
  modules(out, p);
  numbers(out, p, t);
}

static void summary(struct info *info, const struct process *p)
{
  struct text *out = &info->out;
  const struct tally *t = &info->tally[p->index];
  const char *word = info_verdict(p, t);
  shown(out, p->path);
  text_s(out, "  ");
  shown(out, p->program);
  text_s(out, "[");
  text_u(out, p->pid);
  text_s(out, "]  ");
  counted(out, t->calls, "call", "calls");
  text_s(out, ", ");
  counted(out, t->errors, "error", "errors");
  text_s(out, "  ");
  text_s(out, strcmp(word, "died") == 0 ? "ended inside " : word);
  if (strcmp(word, "died") == 0) shown(out, p->ended_inside);
  text_c(out, '\n');
}

/* Of many processes only those are shown in full with which something is the matter. */
static bool is_worth_a_page(const struct info *info, const struct process *p)
{
  return info->processes <= 3 || strcmp(info_verdict(p, &info->tally[p->index]), "complete") != 0 ||
         (p->compat & P11T_COMPAT_CLEAR) != 0;
}

int info_set(struct trace_set *set, bool json, bool verbose, int fd)
{
  struct info info = {.set = set};
  info.processes = trace_processes(set, &info.process);
  info.tally = calloc(info.processes == 0 ? 1 : info.processes, sizeof *info.tally);
  if (info.tally == NULL) abort();
  count(&info);
  text_open(&info.out, fd);
  if (json) {
    info_json(&info);
  } else {
    for (size_t i = 0; i < info.processes && info.processes > 1; i++) summary(&info, info.process[i]);
    size_t left_out = 0;
    for (size_t i = 0; i < info.processes; i++) {
      if (!verbose && !is_worth_a_page(&info, info.process[i])) {
        left_out++;
        continue;
      }
      if (info.processes > 1) text_c(&info.out, '\n');
      page(&info, info.process[i]);
    }
    if (left_out > 0) {
      text_s(&info.out, "\ncomplete and not shown in full: ");
      counted(&info.out, left_out, "process", "processes");
      text_s(&info.out, " (p11trace info -v shows all)\n");
    }
  }
  int error = text_flush(&info.out);
  text_close(&info.out);
  for (size_t i = 0; i < info.processes; i++) free(info.tally[i].tid);
  free(info.tally);
  if (error != 0 && error != EPIPE) fprintf(stderr, "p11trace: standard output: %s\n", strerror(error));
  return (error != 0 && error != EPIPE) || trace_damaged(set) ? EXIT_COULD_NOT : EXIT_FINE;
}
