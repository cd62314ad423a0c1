#include "decoder/write/trim.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/write/ends.h"
#include "decoder/write/outputs.h"
#include "decoder/write/refill.h"

struct trim {
  const struct trim_options *options;
  struct kept_numbers *kept; /* of each process */
  size_t processes;
  uint64_t calls; /* in all */
  int damage;     /* exit status of the first reading, which has said what is lost */
  struct trim_state *state;
  const struct kept_numbers *current;
};

static uint64_t name_of(const struct call *call)
{
  return call->number != 0 ? call->number : call->end_number;
}

/* How far a reading is: numbers count a process's records. */
struct progress {
  const char *of;
  uint64_t *reached, done, total, events;
};

static void progress_see(struct progress *p, const struct event *event)
{
  uint64_t *reached = &p->reached[event->process->index];
  if (event->number > *reached) {
    p->done += event->number - *reached;
    *reached = event->number;
  }
  if (++p->events % 4096 == 0 && p->done <= p->total) outputs_progress(p->of, p->done, p->total);
}

/* Reads all events; with `choose` the filter is asked, else what the chosen calls need is looked for. */
static bool read_all(struct trim *t, struct trace_set *set, bool choose)
{
  struct event event;
  struct filter *filter = t->options->filter;
  struct process *const *process;
  const size_t n = trace_processes(set, &process);
  struct progress progress = {choose ? "trim: choosing" : "trim: what they need", read_zalloc((n + 1) * 8), 0, 0, 0};
  for (size_t i = 0; i < n; i++) progress.total += ends_last_number(reader_of(process[i]));
  if (choose && n > 0) filter_origin(filter, process[0]->first.monotonic);
  while (!outputs_stop() && trace_next(set, &event) == 0) {
    progress_see(&progress, &event);
    if (event.type != EVENT_CALL) continue;
    if (choose) t->calls++;
    if (!choose) {
      trim_state_see(t->state, &event, &t->kept[event.process->index]);
      continue;
    }
    if (filter_match(filter, &event)) {
      kept_numbers_add(&t->kept[event.process->index], name_of(event.call));
      /* That it never returned is known from the next call of its thread alone. */
      if (event.call->state == CALL_ABANDONED) kept_numbers_add(&t->kept[event.process->index], event.number);
      if (t->state != NULL) {
        trim_state_want(t->state, &event, tracker_slot(filter_tracker(filter), event.process, event.call));
      }
    }
    filter_see(filter, &event);
  }
  free(progress.reached);
  return !outputs_stop();
}

/* What is not a call says how the process was, and is little. */
static bool stays(void *user, const struct record *record)
{
  const struct trim *t = user;
  if (record->kind == P11T_ENTER) return kept_numbers_has(t->current, record->number);
  if (record->kind == P11T_LEAVE)
    return kept_numbers_has(t->current, record->aux) || kept_numbers_has(t->current, record->number);
  return true;
}

static void write_process(void *user, struct reader *r, struct out *out)
{
  struct trim *t = user;
  const struct refill how = {.verb = "trim", .user = t, .stays = stays};
  t->current = &t->kept[r->p.index];
  ends_derived(r, out, t->options->how, r->p.derived, 0, NULL, 0);
  ends_schema(r, out);
  refill_all(&how, r, out);
  ends_end(r, out);
}

static struct trace_set *again(const char *const *paths, size_t count)
{
  return trace_again(paths, count) ? trace_open(paths, count) : NULL;
}

/* The readings that say which calls stay. False when there is nothing to be written; *status then says why. */
static bool choose(struct trim *t, const char *const *paths, size_t count, int *status)
{
  struct trace_set *set = again(paths, count);
  struct process *const *list;
  uint64_t chosen = 0;
  if (set == NULL) return false;
  bool fine = outputs_allowed("trim", set);
  t->processes = trace_processes(set, &list);
  t->kept = read_zalloc((t->processes + 1) * sizeof *t->kept);
  fine = fine && read_all(t, set, true);
  for (size_t i = 0; i < t->processes; i++) chosen += t->kept[i].count;
  if (fine && chosen == 0) {
    outputs_progress_end();
    fprintf(stderr, "p11trace trim: no call is chosen, nothing was written\n");
    const int damage = arguments_close("trim", set);
    *status = damage == EXIT_FINE ? EXIT_FOUND : damage;
    return false;
  }
  t->damage = arguments_close("trim", set);
  if (!fine || t->state == NULL) return fine;
  set = again(paths, count);
  fine = set != NULL && read_all(t, set, false);
  if (set != NULL) trace_close(set);
  return fine;
}

static void tell(const struct trim *t)
{
  uint64_t kept = 0;
  for (size_t i = 0; i < t->processes; i++) kept += t->kept[i].count;
  printf("%s: %" PRIu64 " of %" PRIu64 " calls\n", t->options->output, kept, t->calls);
}

int trim_paths(const char *const *paths, size_t count, const struct trim_options *options)
{
  struct trim t = {.options = options, .state = options->keep_state ? trim_state_new() : NULL};
  const struct outputs o = {.verb = "trim", .output = options->output, .user = &t, .write = write_process};
  int status = EXIT_COULD_NOT;
  outputs_listen();
  if (choose(&t, paths, count, &status)) {
    struct trace_set *set = again(paths, count);
    if (set != NULL) {
      status = outputs_write(&o, set);
      if (status == EXIT_FINE && !options->quiet) tell(&t);
      if (status == EXIT_FINE) status = t.damage;
      if (t.damage == EXIT_FINE)
        t.damage = arguments_close("trim", set);
      else
        trace_close(set);
      if (status == EXIT_FINE) status = t.damage;
    }
  }
  for (size_t i = 0; i < t.processes; i++) kept_numbers_free(&t.kept[i]);
  free(t.kept);
  trim_state_free(t.state);
  outputs_progress_end();
  outputs_stopped();
  return status;
}
