#include "decoder/show/dump.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"

#define PROGRESS_EVERY (1u << 18) /* events */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
  (void)signal;
  interrupted = 1;
}

uint64_t dump_realtime(const struct process *process, uint64_t time)
{
  return process->first.realtime + (time - process->first.monotonic);
}

/* Seconds since `from` with a sign: a call may have begun before the one that ended first. */
static void put_difference(struct dump *d, uint64_t from, uint64_t time)
{
  uint64_t ns = time - from;
  if ((int64_t)ns < 0) {
    text_c(&d->out, '-');
    ns = 0 - ns;
  }
  text_u(&d->out, ns / 1000000000);
  text_c(&d->out, '.');
  if (d->options->nanoseconds) {
    text_padded(&d->out, ns % 1000000000, 9);
  } else {
    text_padded(&d->out, ns % 1000000000 / 1000, 6);
  }
}

static void put_local(struct dump *d, uint64_t ns)
{
  uint64_t second = ns / 1000000000;
  if (second != d->second || d->date[0] == '\0') {
    time_t t = (time_t)second;
    struct tm tm;
    d->date[0] = '\0';
    if (localtime_r(&t, &tm) != NULL) strftime(d->date, sizeof d->date, "%Y-%m-%d %H:%M:%S", &tm);
    d->second = second;
  }
  text_s(&d->out, d->date);
  text_c(&d->out, '.');
  if (d->options->nanoseconds) {
    text_padded(&d->out, ns % 1000000000, 9);
  } else {
    text_padded(&d->out, ns % 1000000000 / 1000, 6);
  }
}

void dump_time(struct dump *d, const struct process *process, uint64_t time)
{
  switch (d->options->time) {
    case DUMP_ABSOLUTE: put_local(d, dump_realtime(process, time)); break;
    case DUMP_RELATIVE: put_difference(d, d->last, time); break;
    default: put_difference(d, d->origin, time); break;
  }
  d->last = time;
}

/* Columns for what there is only one of would be noise: like strace, they begin when there is a second. */
static void look_for_second(struct dump *d, const struct event *event)
{
  struct dump_first *first = &d->first[event->process->index];
  if (!first->known) *first = (struct dump_first){true, event->call->tid, event->call->module};
  if (event->call->tid != first->tid) d->many_threads = true;
  if (event->call->module != first->module) d->many_modules = true;
}

void dump_event(struct dump *d, const struct event *event)
{
  const struct dump_options *o = d->options;
  switch (event->type) {
    case EVENT_ENTER: return;
    case EVENT_END:
      if (o->json) json_other(d, event);
      return;
    case EVENT_CALL:
      look_for_second(d, event);
      if (filter_match(o->filter, event)) {
        if (o->reveal != NULL) reveal_event(o->reveal, event);
        (o->json ? json_call : dump_call)(d, event);
      }
      filter_see(o->filter, event);
      return;
    default:
      /* A filter asks for calls. */
      if (!o->quiet && filter_is_empty(o->filter)) (o->json ? json_other : dump_other)(d, event);
      return;
  }
}

/* A damaged trace was shown as far as it goes; say what is missing. */
static bool tell_damage(const struct dump *d, const char *verb)
{
  bool any = false;
  for (size_t i = 0; i < d->processes; i++) {
    const struct process *p = d->process[i];
    if (p->damage[0] == '\0') continue;
    any = true;
    struct text text;
    text_open(&text, STDERR_FILENO);
    text_s(&text, verb);
    text_s(&text, ": ");
    text_escaped(&text, p->path, strlen(p->path), "");
    text_s(&text, ": ");
    text_escaped(&text, p->damage, strlen(p->damage), "");
    text_c(&text, '\n');
    text_flush(&text);
    text_close(&text);
  }
  return any;
}

void dump_joined(struct dump *d)
{
  if (d->processes == 1) {
    d->origin = d->last = d->process[0]->first.monotonic;
    filter_origin(d->options->filter, d->origin);
  }
  if (d->processes <= d->first_room) return;
  size_t room = d->processes * 2 + 8;
  struct dump_first *more = realloc(d->first, room * sizeof *more);
  if (more == NULL) {
    fputs("p11trace: out of memory\n", stderr);
    exit(EXIT_COULD_NOT);
  }
  memset(more + d->first_room, 0, (room - d->first_room) * sizeof *more);
  d->first = more;
  d->first_room = room;
}

void dump_begin(struct dump *d, const struct dump_options *options, int fd)
{
  d->options = options;
  d->many_threads = options->threads;
  dump_joined(d);
  if (d->processes > 0) {
    d->origin = d->last = d->process[0]->first.monotonic;
    filter_origin(options->filter, d->origin);
  }
  text_open(&d->out, fd);
  d->symbols = symbols_new(&options->symbols);
  if (options->json) json_start(d);
}

int dump_end(struct dump *d, const char *verb)
{
  int error = text_flush(&d->out);
  text_close(&d->out);
  bool damaged = false;
  if (error == 0) {
    symbols_tell(d->symbols, verb);
    damaged = tell_damage(d, verb);
  } else if (error != EPIPE) {
    fprintf(stderr, "%s: cannot write the output: %s\n", verb, strerror(error));
    damaged = true;
  }
  symbols_free(d->symbols);
  free(d->first);
  return damaged ? EXIT_COULD_NOT : EXIT_FINE;
}

int dump_set(struct trace_set *set, const struct dump_options *options, int fd)
{
  struct dump d = {0};
  d.processes = trace_processes(set, &d.process);
  const bool each_line = isatty(fd), progress = !each_line && isatty(STDERR_FILENO);
  struct sigaction old, act = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
  sigaction(SIGINT, &act, &old);

  dump_begin(&d, options, fd);
  struct event event;
  uint64_t events = 0;
  while (!interrupted && d.out.error == 0 && trace_next(set, &event) == 0) {
    dump_event(&d, &event);
    if (each_line && d.out.at != d.out.base) text_flush(&d.out);
    if (progress && ++events % PROGRESS_EVERY == 0) dprintf(STDERR_FILENO, "\r%ju events", (uintmax_t)events);
  }
  text_flush(&d.out);
  if (progress && events >= PROGRESS_EVERY) dprintf(STDERR_FILENO, "\r\033[K");
  sigaction(SIGINT, &old, NULL);
  if (interrupted) raise(SIGINT); /* the shell must see that we were stopped */
  int error = d.out.error, status = dump_end(&d, "p11trace dump");
  if (error == 0 && options->reveal != NULL && reveal_failed(options->reveal)) return EXIT_COULD_NOT;
  return error == 0 && trace_damaged(set) ? EXIT_COULD_NOT : status;
}
