#include "decoder/show/stat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"
#include "decoder/show/stack.h"
#include "decoder/show/text.h"

/* The row of each call in flight, chosen when it begins: what is known of sessions may be otherwise when it ends. */
#define INFLIGHT 16384 /* power of two, twice what a reader keeps open */
struct inflight {
  uint64_t number; /* 0: free */
  unsigned process;
  struct stat_row *row;
};
static struct inflight inflight[INFLIGHT];
static size_t inflights;

static size_t home_of(uint64_t number, unsigned process)
{
  return (size_t)((number ^ (uint64_t)process << 44) * 0x9e3779b97f4a7c15u >> 40) & (INFLIGHT - 1);
}

static void put_inflight(uint64_t number, unsigned process, struct stat_row *row)
{
  if (number == 0 || inflights >= INFLIGHT / 2) return;
  size_t i = home_of(number, process);
  while (inflight[i].number != 0) i = (i + 1) & (INFLIGHT - 1);
  inflight[i] = (struct inflight){number, process, row};
  inflights++;
}

static struct stat_row *take_inflight(uint64_t number, unsigned process)
{
  size_t hole = home_of(number, process);
  while (inflight[hole].number != number || inflight[hole].process != process) {
    if (inflight[hole].number == 0 || number == 0) return NULL;
    hole = (hole + 1) & (INFLIGHT - 1);
  }
  struct stat_row *row = inflight[hole].row;
  for (size_t i = (hole + 1) & (INFLIGHT - 1); inflight[i].number != 0; i = (i + 1) & (INFLIGHT - 1)) {
    size_t home = home_of(inflight[i].number, inflight[i].process);
    if (((i - home) & (INFLIGHT - 1)) < ((i - hole) & (INFLIGHT - 1))) continue;
    inflight[hole] = inflight[i];
    hole = i;
  }
  inflight[hole].number = 0;
  inflights--;
  return row;
}

/* Ours when the table has it: the same pointer for every process. */
static const char *name_of(const struct call *call)
{
  return call->known >= 0 ? p11_functions[call->known].name : stat_intern(call->info->name);
}

static const char *module_of(const struct process *process, unsigned id)
{
  /* One entry is enough: calls of one module come in long runs. */
  static const struct process *last_process;
  static unsigned last_id;
  static const char *last;
  if (last == NULL || process != last_process || id != last_id) {
    const struct module *m = trace_module(process, id);
    if (m == NULL) return stat_intern("?"); /* its record may still come */
    last = stat_intern(m->path);
    last_process = process;
    last_id = id;
  }
  return last;
}

/* Function and file that the call came from. */
static const char *caller_of(struct stats *s, const struct event *event)
{
  if (event->call->caller == 0) return stat_intern("?");
  const struct symbol_frame *f = symbols_frame(s->symbols, event->process, event->call->caller);
  if (f->text != NULL) return stat_intern(f->text);
  struct text text;
  text_open(&text, -1);
  stack_function(&text, f);
  text_c(&text, '\0');
  const char *caller = stat_intern(text.base);
  if (f->object != NULL) symbols_keep_text(s->symbols, f, text.base, (size_t)(text.at - text.base - 1));
  text_close(&text);
  return caller;
}

static struct stat_row *choose_row(struct stats *s, const struct event *event)
{
  const struct call *call = event->call;
  const struct tracker *tracker = filter_tracker(s->options->filter);
  const unsigned by = s->options->by;
  struct stat_key key = {.mechanism = STAT_NONE, .slot = STAT_NONE};
  if (by & BY_FN) key.function = name_of(call);
  if (by & BY_MECHANISM) key.mechanism = tracker_mechanism(tracker, event->process, call);
  if (by & BY_SLOT) key.slot = tracker_slot(tracker, event->process, call);
  if (by & (BY_MODULE | BY_SLOT)) key.module = module_of(event->process, call->module);
  if (by & (BY_PROCESS | BY_THREAD)) key.pid = event->process->pid;
  if (by & BY_THREAD) key.tid = call->tid;
  if (by & BY_CALLER) key.caller = caller_of(s, event);
  struct stat_row *row = stat_row_of(s, &key);
  if ((by & BY_THREAD) && row->thread == NULL && call->thread != NULL && call->thread[0] != '\0') {
    row->thread = strdup(call->thread);
  }
  if (key.module != s->row[0]->key.module) s->many_modules = true;
  return row;
}

static void begin(struct stats *s, const struct event *event)
{
  struct stat_row *row = choose_row(s, event);
  put_inflight(event->call->number, event->process->index, row);
  if (++row->running > row->concurrency) row->concurrency = row->running;
  if (++s->running > s->concurrency) s->concurrency = s->running;
}

static void end(struct stats *s, const struct event *event)
{
  const struct call *call = event->call;
  struct stat_row *row = take_inflight(call->number, event->process->index);
  if (row != NULL) {
    row->running--;
    s->running--;
  } else {
    row = choose_row(s, event);
  }
  if (!filter_match(s->options->filter, event)) return;
  uint64_t from = call->state == CALL_HEADLESS ? call->end : call->start;
  uint64_t to = call->end != 0 ? call->end : call->start;
  if (s->calls == 0 || from < s->first) s->first = from;
  if (s->calls == 0 || to > s->last) s->last = to;
  s->calls++;
  row->calls++;
  switch (call->state) {
    case CALL_OPEN:
      s->open++;
      row->open++;
      return;
    case CALL_ABANDONED:
      s->unwound++;
      row->unwound++;
      return;
    case CALL_DONE: {
      uint64_t ns = call->end > call->start ? call->end - call->start : 0;
      hist_add(&row->time, ns);
      s->total += ns;
      break;
    }
    case CALL_HEADLESS: break;
  }
  if (call->rv == CKR_OK) return;
  s->failed++;
  row->errors++;
  stat_add_error(s, name_of(call), call->rv);
}

int stat_set(struct trace_set *set, const struct stat_options *options, int fd)
{
  struct stats s = {.options = options, .symbols = symbols_new(&options->symbols)};
  struct process *const *process;
  size_t processes = trace_processes(set, &process);
  if (processes > 0) filter_origin(options->filter, process[0]->first.monotonic);
  const bool progress = isatty(STDERR_FILENO) && !isatty(fd);
  struct event event;
  const bool all = filter_speaks_of_probes(options->filter);
  for (uint64_t events = 1; trace_next(set, &event) == 0; events++) {
    const bool left_out = event.call != NULL && !all && call_is_probe(event.call);
    if (event.type == EVENT_ENTER && !left_out) begin(&s, &event);
    if (event.type == EVENT_CALL) {
      if (left_out)
        s.probes++;
      else
        end(&s, &event);
      filter_see(options->filter, &event);
    }
    if (progress && events % (1u << 20) == 0) dprintf(STDERR_FILENO, "\r%ju events", (uintmax_t)events);
  }
  if (progress) dprintf(STDERR_FILENO, "\r\033[K");

  struct text out;
  text_open(&out, fd);
  stat_sort(&s);
  (options->json ? stat_print_json : stat_print_text)(&s, &out);
  int error = text_flush(&out);
  text_close(&out);
  stat_free(&s);
  if (error == 0) symbols_tell(s.symbols, "p11trace stat");
  symbols_free(s.symbols);
  if (error != 0 && error != EPIPE) {
    fprintf(stderr, "p11trace stat: cannot write the output: %s\n", strerror(error));
    return EXIT_COULD_NOT;
  }
  if (!trace_damaged(set)) return EXIT_FINE;
  for (size_t i = 0; i < processes; i++) {
    if (process[i]->damage[0] == '\0') continue;
    text_open(&out, STDERR_FILENO);
    text_s(&out, "p11trace stat: ");
    text_escaped(&out, process[i]->path, strlen(process[i]->path), "");
    text_s(&out, ": ");
    text_escaped(&out, process[i]->damage, strlen(process[i]->damage), "");
    text_c(&out, '\n');
    text_flush(&out);
    text_close(&out);
  }
  return EXIT_COULD_NOT;
}
