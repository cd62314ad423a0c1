#include "decoder/replay/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "decoder/replay/guard.h"
#include "decoder/show/text.h"

/* Milliseconds between two looks at those that run: short traces are over at once, long ones need no watching that close. */
enum { LOOK_FIRST = 1, LOOK_MOST = 20 };
/* How often --timeout may pass without a call before it is said that the replay itself stands still. */
enum { STANDSTILL = 10 };
#define SECOND 1000000000u
#define GRACE SECOND /* for a replay that is interrupted */

/* What both processes see. */
struct shared {
  struct results results;
  _Atomic int over; /* 1: played to the end, 2: it could not */
};

struct runner {
  struct job *job;
  struct shared *shared;
  pid_t pid;
  uint64_t begun;
  struct replay_change before[REPLAY_CHANGES];
  unsigned changes;
  bool keys;             /* an earlier process generated some */
  uint64_t calls, moved; /* how many were done when it last moved on, and when that was */
};

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
  (void)signal;
  stopped = 1;
}

static uint64_t now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* --- in the child -------------------------------------------------------------------------------------------------- */

static _Noreturn void child(struct runner *r, const struct replay_options *options, pid_t parent)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0); /* it ended before the line above */
  signal(SIGINT, SIG_IGN);           /* whoever waits for us ends us */
  signal(SIGTERM, SIG_DFL);
  /* What a module prints is not our output, and our input is not the module's. */
  dup2(STDERR_FILENO, STDOUT_FILENO);
  const int null = r->job->piped ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null >= 0) dup2(null, STDIN_FILENO);
  struct replay_options mine = *options;
  mine.chosen = r->job->chosen;
  mine.before = r->before;
  mine.changes_before = r->changes;
  mine.keys_before = r->keys;
  bool played = trace_again(r->job->paths, r->job->count);
  if (played)
    played = replay_play(r->job->paths, r->job->count, r->job->index, &mine, &r->shared->results);
  else
    snprintf(r->shared->results.error, sizeof r->shared->results.error, "standard input cannot be read again");
  atomic_store(&r->shared->over, played ? 1 : 2);
  _exit(0); /* no destructors: the module's may be as bad as the rest of it */
}

/* What the processes that are over left otherwise than the recorded ones did. */
static void take_changes(const struct jobs *jobs, struct runner *r)
{
  for (size_t i = 0; i < jobs->count; i++) {
    const struct job *job = &jobs->job[i];
    if (job->state != JOB_OVER || job->results == NULL) continue;
    r->keys |= job->results->made_keys;
    const char *slash = strrchr(job->trace, '/');
    for (unsigned k = 0; k < job->results->changes && r->changes < REPLAY_CHANGES; k++) {
      const struct replay_change *change = &job->results->change[k];
      const struct replay_options known = {.before = r->before, .changes_before = r->changes};
      if (results_change_before(&known, change->slot, change->pin) != NULL) continue;
      r->before[r->changes] = *change;
      snprintf(r->before[r->changes].trace, sizeof change->trace, "%s", slash != NULL ? slash + 1 : job->trace);
      r->changes++;
    }
  }
}

static bool start(struct jobs *jobs, struct runner *r, struct job *job, const struct replay_options *options)
{
  struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    snprintf(job->refused, sizeof job->refused, "cannot be replayed: %s", strerror(errno));
    job->state = JOB_OVER;
    return false;
  }
  *r = (struct runner){.job = job, .shared = shared, .begun = now()};
  r->moved = r->begun;
  take_changes(jobs, r);
  job->results = &shared->results;
  fflush(NULL);
  const pid_t parent = getpid();
  r->pid = fork();
  if (r->pid == 0) child(r, options, parent);
  if (r->pid < 0) {
    snprintf(job->refused, sizeof job->refused, "cannot be replayed: %s", strerror(errno));
    job->state = JOB_OVER;
    return false;
  }
  job->state = JOB_RUNS;
  return true;
}

/* --- what became of it --------------------------------------------------------------------------------------------- */

static const char *name_of(int function)
{
  return function >= 0 && function < P11_FUNCTIONS ? p11_functions[function].name : "a function";
}

/* "C_Sign, call #12, and C_Login, call #14"; the number of the first of them. */
static uint64_t in_module(const struct results *results, char *text, size_t size, int *function)
{
  uint64_t first = 0;
  size_t used = 0;
  text[0] = '\0';
  for (unsigned i = 0, named = 0; i < RESULTS_THREADS && named < 3 && used < size; i++) {
    const uint64_t call = atomic_load(&results->thread[i].call);
    if (atomic_load(&results->thread[i].since) == 0 || call == 0) continue;
    const int f = (int)atomic_load(&results->thread[i].function);
    const int n = snprintf(text + used, size - used, "%s%s, call #%llu", named++ > 0 ? " or " : "", name_of(f),
                           (unsigned long long)call);
    used += n > 0 ? (size_t)n : 0;
    if (first == 0 || call < first) {
      first = call;
      *function = f;
    }
  }
  return first;
}

/* `what` happened to `job` while the module was at work. It counts as a difference: the recorded call returned. */
static void broke(struct job *job, const char *what, uint64_t call, int function, const char *where)
{
  struct results *results = job->results;
  snprintf(job->broke, sizeof job->broke, "%s%s%s", what, where[0] != '\0' ? " in " : ", but in no call", where);
  job->broke_call = call;
  struct difference found = {.place = PLACE_CALL, .recorded = "returned"};
  snprintf(found.replayed, sizeof found.replayed, "%s", what);
  results_note(results, function, OUTCOME_DIFFERENT, &found, NULL, call);
  if (call != 0) {
    results->calls++;
    results->outcome[OUTCOME_DIFFERENT]++;
    if (results->first_difference == 0 || call < results->first_difference) results->first_difference = call;
  }
}

static void ended(struct runner *r, int status)
{
  struct job *job = r->job;
  job->state = JOB_OVER;
  job->nanoseconds = now() - r->begun;
  if (job->broke[0] != '\0' || job->interrupted || job->results->error[0] != '\0') return;
  if (atomic_load(&r->shared->over) != 0) {
    if (atomic_load(&r->shared->over) == 2)
      snprintf(job->results->error, sizeof job->results->error, "it could not be replayed");
    return;
  }
  char what[120], where[160];
  int function = -1;
  if (WIFSIGNALED(status))
    snprintf(what, sizeof what, "the module crashed (SIG%s)", sigabbrev_np(WTERMSIG(status)));
  else
    snprintf(what, sizeof what, "the module ended the process (exit status %d)", WEXITSTATUS(status));
  const uint64_t call = in_module(job->results, where, sizeof where, &function);
  broke(job, what, call, function, where);
}

/* May it stay in the module as long as it likes? Where the calls of other threads go on, C_WaitForSlotEvent is ended by
 * C_Finalize; where they wait for it, nothing ends it. */
static bool may_wait(const struct replay_options *options, int function)
{
  return function == P11_F_C_WaitForSlotEvent && options->mode == REPLAY_FREE;
}

static void hung(struct runner *r, const struct replay_options *options, unsigned thread)
{
  struct results *results = r->job->results;
  const uint64_t call = atomic_load(&results->thread[thread].call);
  const int function = (int)atomic_load(&results->thread[thread].function);
  kill(r->pid, SIGKILL);
  char what[120], where[100];
  snprintf(what, sizeof what, "did not return within %u s", options->timeout);
  snprintf(where, sizeof where, "%s, call #%llu", name_of(function), (unsigned long long)call);
  broke(r->job, what, call, function, where);
  snprintf(r->job->broke, sizeof r->job->broke, "%s %s", where, what);
}

/* Has a call been in the module for too long? */
static void watch(struct runner *r, const struct replay_options *options)
{
  const uint64_t t = now(), most = (uint64_t)options->timeout * SECOND;
  struct results *results = r->job->results;
  for (unsigned i = 0; i < RESULTS_THREADS; i++) {
    const uint64_t since = atomic_load(&results->thread[i].since);
    const int function = (int)atomic_load(&results->thread[i].function);
    if (since == 0 || t < since || t - since < most || may_wait(options, function)) continue;
    hung(r, options, i);
    return;
  }
  bool inside = options->recorded_speed;
  unsigned waits = RESULTS_THREADS;
  for (unsigned i = 0; i < RESULTS_THREADS && !inside; i++) {
    if (atomic_load(&results->thread[i].since) == 0) continue;
    inside = !may_wait(options, (int)atomic_load(&results->thread[i].function));
    waits = i;
  }
  if (inside || results->calls == 0 || results->calls != r->calls) {
    r->calls = results->calls;
    r->moved = t;
  } else if (waits < RESULTS_THREADS && t - r->moved > 2 * most) {
    hung(r, options, waits); /* all the others wait for it */
  } else if (t - r->moved > STANDSTILL * most) {
    kill(r->pid, SIGKILL);
    snprintf(results->error, sizeof results->error, "the replay stood still after %llu calls, in no call of the trace",
             (unsigned long long)results->calls);
  }
}

/* --- all of them --------------------------------------------------------------------------------------------------- */

static void progress(const struct jobs *jobs, bool end)
{
  static uint64_t last;
  if (!isatty(STDERR_FILENO)) return;
  const uint64_t t = now();
  if (end) {
    dprintf(STDERR_FILENO, "\r\033[K");
  } else if (t - last > SECOND / 5) {
    last = t;
    uint64_t done = 0, all = 0;
    for (size_t i = 0; i < jobs->count; i++) {
      all += jobs->job[i].calls;
      if (jobs->job[i].results != NULL) done += jobs->job[i].results->calls;
    }
    dprintf(STDERR_FILENO, "\r%llu of %llu calls", (unsigned long long)done, (unsigned long long)all);
  }
}

static struct job *next_waiting(struct jobs *jobs)
{
  for (size_t i = 0; i < jobs->count; i++) {
    if (jobs->job[i].state != JOB_WAITS) continue;
    if (jobs->job[i].refused[0] == '\0') return &jobs->job[i];
    jobs->job[i].state = JOB_OVER;
  }
  return NULL;
}

/* Looks at those that run. True when one of them is over. */
static bool look(struct runner *runner, unsigned *running, const struct replay_options *options)
{
  bool any = false;
  for (unsigned i = 0; i < *running;) {
    struct runner *r = &runner[i];
    if (stopped && !r->job->interrupted) {
      r->job->interrupted = true;
      r->moved = now();
      kill(r->pid, SIGTERM); /* between two calls it ends what it began */
    } else if (r->job->interrupted && now() - r->moved > GRACE) {
      kill(r->pid, SIGKILL);
    }
    int status = 0;
    const pid_t pid = waitpid(r->pid, &status, WNOHANG);
    if (pid == 0) {
      if (r->job->broke[0] == '\0' && r->job->results->error[0] == '\0' && !r->job->interrupted) watch(r, options);
      i++;
      continue;
    }
    ended(r, status);
    runner[i] = runner[--*running];
    any = true;
  }
  return any;
}

void jobs_run(struct jobs *jobs, const struct replay_options *options, unsigned at_once)
{
  struct sigaction note = {.sa_handler = on_signal}, before[2];
  sigaction(SIGINT, &note, &before[0]);
  sigaction(SIGTERM, &note, &before[1]);
  guard_share();
  /* What is piped has one place where it is read, which all of them share. */
  for (size_t i = 0; i < jobs->count; i++)
    if (jobs->job[i].piped) at_once = 1;
  struct runner *runner = read_zalloc(at_once * sizeof *runner);
  unsigned running = 0;
  long wait = LOOK_FIRST;
  for (;;) {
    struct job *job;
    while (!stopped && running < at_once && (job = next_waiting(jobs)) != NULL) {
      if (start(jobs, &runner[running], job, options)) running++;
      wait = LOOK_FIRST;
    }
    if (running == 0) break;
    if (look(runner, &running, options)) continue;
    progress(jobs, false);
    nanosleep(&(struct timespec){0, wait * 1000000}, NULL);
    if (wait < LOOK_MOST) wait++;
  }
  progress(jobs, true);
  for (size_t i = 0; i < jobs->count; i++) {
    if (jobs->job[i].state == JOB_OVER) continue;
    jobs->job[i].interrupted = true;
    jobs->job[i].state = JOB_OVER;
  }
  free(runner);
  sigaction(SIGINT, &before[0], NULL);
  sigaction(SIGTERM, &before[1], NULL);
}

void jobs_free(struct jobs *jobs)
{
  for (size_t i = 0; i < jobs->count; i++) {
    struct job *job = &jobs->job[i];
    if (job->results != NULL) munmap(job->results, sizeof(struct shared));
    for (size_t k = 0; k < job->count; k++) free((char *)job->paths[k]);
    free(job->paths);
    free(job->trace);
    free(job->program);
    free(job->chosen);
  }
  free(jobs->job);
}
