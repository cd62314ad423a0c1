/* What there is to replay: the processes of the traces, how many calls each made of which module, and what is lost. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/replay/job.h"
#include "decoder/seal/seal.h"
#include "decoder/show/dump.h"

/* Of one process, while it is read. */
struct seen {
  struct candidate *module;
  size_t modules;
  uint16_t *id; /* module of the table by id */
  size_t ids;
  uint64_t first, last; /* ns, its own clock */
};

static const char *path_of(const struct process *process, uint16_t id)
{
  const struct module *module = trace_module(process, id);
  return module != NULL && module->path != NULL ? module->path : "";
}

static struct candidate *candidate_of(struct seen *seen, const struct process *process, uint16_t id)
{
  if (id >= seen->ids) {
    seen->id = read_realloc(seen->id, (id + 1u) * sizeof *seen->id);
    for (; seen->ids <= id; seen->ids++) seen->id[seen->ids] = UINT16_MAX;
  }
  if (seen->id[id] != UINT16_MAX) return &seen->module[seen->id[id]];
  const char *path = path_of(process, id);
  size_t at = 0;
  while (at < seen->modules && strcmp(seen->module[at].path, path) != 0) at++;
  if (at == seen->modules) {
    seen->module = read_realloc(seen->module, ++seen->modules * sizeof *seen->module);
    seen->module[at] = (struct candidate){.path = read_strdup(path)};
  }
  seen->id[id] = (uint16_t)at;
  return &seen->module[at];
}

static void see(struct seen *seen, const struct event *event)
{
  if (seen->first == 0 || event->time < seen->first) seen->first = event->time;
  if (event->time > seen->last) seen->last = event->time;
  if (event->type != EVENT_CALL || call_is_probe(event->call)) return;
  struct candidate *module = candidate_of(seen, event->process, event->call->module);
  module->calls++;
  if (event->call->known >= 0 && event->call->known < P11_FUNCTIONS) return;
  if (module->unknown++ == 0)
    snprintf(module->unknown_name, sizeof module->unknown_name, "%s", event->call->info->name);
}

/* --- what is lost, and what cannot be replayed ----------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void add(char *text, size_t size, const char *format, ...)
{
  size_t used = strlen(text);
  if (used > 0 && used + 2 < size) used += (size_t)snprintf(text + used, size - used, "; ");
  va_list args;
  va_start(args, format);
  if (used < size) vsnprintf(text + used, size - used, format, args);
  va_end(args);
}

static void tell_losses(struct job *job, const struct process *p)
{
  char *const lost = job->lost;
  enum { ROOM = sizeof job->lost };
  if (p->damage[0] != '\0') {
    /* It may name the file, which stands in front of what is lost anyway. */
    const size_t path = strlen(p->path);
    const bool named = strncmp(p->damage, p->path, path) == 0 && strncmp(p->damage + path, ": ", 2) == 0;
    add(lost, ROOM, "%s", p->damage + (named ? path + 2 : 0));
  }
  if (p->dropped > 0) add(lost, ROOM, "%" PRIu64 " records were lost", p->dropped);
  if (p->missing > 0) add(lost, ROOM, "%" PRIu64 " records are in files that are not there", p->missing);
  if (p->complete_from > 1) add(lost, ROOM, "it begins with record %" PRIu64, p->complete_from);
  if (job->unknown > 0)
    add(lost, ROOM, "%" PRIu64 " calls of functions that this p11trace does not know (%s)", job->unknown,
        job->unknown_name);
}

/* A CK_ULONG of the trace has to fit into one of ours (a smaller one does), and bytes that no table describes are handed over
 * as they were. */
static void refuse(struct job *job, const struct process *p)
{
  const unsigned ours = 8 * sizeof(CK_ULONG);
  const char *machine = p->machine != NULL && p->machine[0] != '\0' ? p->machine : "that machine";
  if (p->word_bits > ours)
    add(job->refused, sizeof job->refused, "its CK_ULONG has %u bits and ours has %u: replay it on %s", p->word_bits,
        ours, machine);
  if (p->byte_order != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__))
    add(job->refused, sizeof job->refused, "it was recorded on a %s-endian machine and this is none: replay it on %s",
        p->byte_order != 0 ? "big" : "little", machine);
}

/* A key that does not open the trace is refused: whoever gave it wants more than stand-ins. */
static void look_at_seal(struct job *job, const struct process *p, const struct seal_key *key)
{
  job->sealed = p->has_seal && key == NULL;
  if (key == NULL) return;
  struct seal_process *opened = NULL;
  const enum seal_fit fit = seal_open_process(key, p, &opened);
  seal_process_free(opened);
  seal_tell("p11trace replay", key, p, fit);
  if (fit == SEAL_OTHER_KEY || fit == SEAL_SPOILT)
    add(job->refused, sizeof job->refused, "its sealed values do not open with this key");
}

/* --- a job of a process ------------------------------------------------------------------------------------------------ */

/* The files of the process alone, so that it is not looked for among all the others; but what is piped or packed can only be
 * named as the user did. */
static void take_paths(struct job *job, const struct process *p, const char *const *paths, size_t count)
{
  size_t files = 0;
  bool own = true;
  for (const char *path; (path = trace_file_path(p, files)) != NULL; files++) own = own && access(path, R_OK) == 0;
  own = own && files > 0;
  job->count = own ? files : count;
  job->index = own ? 0 : p->index;
  job->paths = read_zalloc((job->count + 1) * sizeof *job->paths);
  for (size_t i = 0; i < job->count; i++) {
    job->paths[i] = read_strdup(own ? trace_file_path(p, i) : paths[i]);
    job->piped = job->piped || strcmp(job->paths[i], "-") == 0;
  }
}

static void add_job(struct jobs *jobs, const struct process *p, const struct seen *seen, const struct candidate *module,
                    const char *const *paths, size_t count, const struct seal_key *key)
{
  jobs->job = read_realloc(jobs->job, (jobs->count + 1) * sizeof *jobs->job);
  struct job *job = &jobs->job[jobs->count++];
  *job = (struct job){.pid = p->pid, .calls = module->calls, .unknown = module->unknown};
  take_paths(job, p, paths, count);
  job->trace = read_strdup(p->path);
  job->program = read_strdup(p->program != NULL ? p->program : "");
  job->chosen = read_strdup(module->path);
  memcpy(job->unknown_name, module->unknown_name, sizeof job->unknown_name);
  job->begun = dump_realtime(p, seen->first);
  job->ended = dump_realtime(p, seen->last);
  tell_losses(job, p);
  refuse(job, p);
  look_at_seal(job, p, key);
}

static void list_modules(const struct process *p, const struct seen *seen, const struct replay_options *options)
{
  if (options->recorded != NULL)
    fprintf(stderr, "p11trace replay: %s: --recorded %s fits several modules: give more of the path\n", p->path,
            options->recorded);
  else
    fprintf(stderr, "p11trace replay: %s: it has calls of several modules: choose one with --recorded\n", p->path);
  for (size_t i = 0; i < seen->modules; i++)
    fprintf(stderr, "  %s  %" PRIu64 " calls\n", seen->module[i].path, seen->module[i].calls);
}

/* Processes that only used what stands beside a module, where others used the module itself. */
static void drop_beside(struct jobs *jobs, const struct replay_options *options)
{
  bool any = false;
  for (size_t i = 0; i < jobs->count; i++) any = any || !choose_beside(jobs->job[i].chosen);
  if (!any || options->recorded != NULL) return;
  size_t kept = 0;
  for (size_t i = 0; i < jobs->count; i++) {
    struct job *job = &jobs->job[i];
    if (!choose_beside(job->chosen)) {
      jobs->job[kept++] = *job;
      continue;
    }
    jobs->passed_over++;
    for (size_t k = 0; k < job->count; k++) free((char *)job->paths[k]);
    free(job->paths);
    free(job->trace);
    free(job->program);
    free(job->chosen);
  }
  jobs->count = kept;
}

static void count_overlaps(struct jobs *jobs)
{
  uint64_t latest = 0;
  for (size_t i = 0; i < jobs->count; i++) {
    if (i > 0 && jobs->job[i].begun < latest) jobs->overlapping++;
    if (jobs->job[i].ended > latest) latest = jobs->job[i].ended;
  }
}

bool jobs_survey(struct jobs *jobs, const char *const *paths, size_t count, const struct replay_options *options)
{
  if (!trace_again(paths, count)) return false;
  struct trace_set *set = trace_open(paths, count);
  if (set == NULL) return false;
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  struct seen *seen = read_zalloc((processes + 1) * sizeof *seen);
  struct event event;
  while (trace_next(set, &event) == 0) see(&seen[event.process->index], &event);
  bool fine = true;
  for (size_t i = 0; i < processes; i++) {
    struct seen *s = &seen[process[i]->index];
    const int chosen = choose(s->module, s->modules, options);
    if (chosen == -2) list_modules(process[i], s, options);
    if (chosen == -2) fine = false;
    if (chosen == -1) jobs->passed_over++;
    if (chosen >= 0) add_job(jobs, process[i], s, &s->module[chosen], paths, count, options->key);
  }
  if (fine) drop_beside(jobs, options);
  if (fine && jobs->count == 0) {
    for (size_t i = 0; i < processes; i++)
      if (process[i]->damage[0] != '\0')
        fprintf(stderr, "p11trace replay: %s: %s\n", process[i]->path, process[i]->damage);
    fprintf(stderr, "p11trace replay: %s: no calls of %s%s in it\n", count == 1 ? paths[0] : "the traces",
            options->recorded != NULL ? "a module with " : "any module",
            options->recorded != NULL ? options->recorded : "");
    for (size_t i = 0; i < processes && options->recorded != NULL; i++)
      for (size_t k = 0; k < seen[i].modules; k++)
        fprintf(stderr, "  %s: %s  %" PRIu64 " calls\n", process[i]->path, seen[i].module[k].path,
                seen[i].module[k].calls);
    fine = false;
  }
  count_overlaps(jobs);
  if (fine && trace_damaged(set)) jobs->failed = true;
  for (size_t i = 0; i < processes; i++) {
    for (size_t k = 0; k < seen[i].modules; k++) free(seen[i].module[k].path);
    free(seen[i].module);
    free(seen[i].id);
  }
  free(seen);
  trace_close(set);
  return fine;
}
