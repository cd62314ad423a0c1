#include "decoder/write/outputs.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"

enum { ROOM = 4096 };

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
  stopped = signal;
}

/* What is ignored (nohup, a job in the background) stays so. */
static void listen_to(int signal)
{
  const struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
  struct sigaction before;
  if (sigaction(signal, NULL, &before) == 0 && before.sa_handler != SIG_IGN) sigaction(signal, &act, NULL);
}

void outputs_listen(void)
{
  listen_to(SIGINT);
  listen_to(SIGTERM);
  listen_to(SIGHUP);
  signal(SIGXFSZ, SIG_IGN); /* a file that may not be as large is an error of write */
}

bool outputs_stop(void)
{
  return stopped != 0;
}

void outputs_stopped(void)
{
  if (stopped) raise(stopped); /* the shell must see that we were stopped */
}

static bool progress_shown;

void outputs_progress(const char *verb, uint64_t done, uint64_t total)
{
  static uint64_t last;
  static const char *of;
  if (total == 0 || !isatty(STDERR_FILENO)) return;
  const uint64_t percent = done * 100 / total;
  if (progress_shown && percent == last && verb == of) return;
  last = percent;
  of = verb;
  progress_shown = true;
  dprintf(STDERR_FILENO, "\rp11trace %s: %" PRIu64 " %%\033[K", verb, percent);
}

void outputs_progress_end(void)
{
  if (progress_shown) dprintf(STDERR_FILENO, "\r\033[K");
  progress_shown = false;
}

static const char *base_of(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

static const char *first_name(const struct process *p)
{
  const char *path = trace_file_path(p, 0), *name = base_of(path != NULL ? path : p->path);
  return strcmp(name, "-") == 0 || strcmp(name, "standard input") == 0 ? "trace.p11t" : name;
}

void outputs_name(const struct trace_set *set, size_t process, char *name, size_t size)
{
  struct process *const *list;
  trace_processes(set, &list);
  const char *own = first_name(list[process]);
  unsigned same = 0;
  for (size_t i = 0; i < process; i++) same += strcmp(first_name(list[i]), own) == 0;
  if (same > 0) {
    snprintf(name, size, "%u-%s", same + 1, own);
  } else {
    snprintf(name, size, "%s", own);
  }
}

bool outputs_allowed(const char *verb, struct trace_set *set)
{
  struct process *const *list;
  const size_t n = trace_processes(set, &list);
  if (n == 0) {
    fprintf(stderr, "p11trace %s: nothing is recorded in these traces\n", verb);
    return false;
  }
  for (size_t i = 0; i < n; i++) {
    const struct reader *r = reader_of(list[i]);
    if (list[i]->locked) {
      fprintf(stderr, "p11trace %s: %s: still being recorded by pid %" PRIu32 "; wait until that has ended\n", verb,
              list[i]->path, list[i]->pid);
      return false;
    }
    if (r->read_only != 0) {
      fprintf(stderr, "p11trace %s: %s: it has features that only a newer p11trace may change\n", verb, list[i]->path);
      return false;
    }
    if (r->head == NULL) {
      fprintf(stderr, "p11trace %s: %s: nothing was recorded in it\n", verb, list[i]->path);
      return false;
    }
  }
  return true;
}

/* One process to one file; false when it could not be written. */
static bool write_one(const struct outputs *o, struct reader *r, const char *path)
{
  struct out out;
  if (!out_begin(&out, path)) return false;
  o->write(o->user, r, &out);
  const bool fine = !stopped && out_finish(&out, path, false);
  out_drop(&out);
  return fine;
}

static void path_of(const struct outputs *o, const struct trace_set *set, size_t n, size_t i, char path[ROOM])
{
  char name[ROOM / 2];
  if (n == 1) {
    snprintf(path, ROOM, "%.4000s", o->output);
    return;
  }
  outputs_name(set, i, name, sizeof name);
  snprintf(path, ROOM, "%.2000s/%.2000s", o->output, name);
}

static bool is_free(const struct outputs *o)
{
  struct stat st;
  if (lstat(o->output, &st) != 0) return true;
  fprintf(stderr, "p11trace %s: %s: %s: nothing is overwritten, name another\n", o->verb, o->output, strerror(EEXIST));
  return false;
}

int outputs_write(const struct outputs *o, struct trace_set *set)
{
  struct process *const *list;
  const size_t n = trace_processes(set, &list);
  char path[ROOM];
  bool fine = outputs_allowed(o->verb, set) && is_free(o);
  if (!fine) return EXIT_COULD_NOT;
  outputs_listen();
  if (n > 1 && mkdir(o->output, 0700) != 0) {
    fprintf(stderr, "p11trace %s: %s: %s\n", o->verb, o->output, strerror(errno));
    return EXIT_COULD_NOT;
  }
  size_t done = 0;
  while (done < n && fine) {
    path_of(o, set, n, done, path);
    fine = write_one(o, reader_of(list[done]), path);
    if (fine) done++;
  }
  outputs_progress_end();
  if (!fine) {
    while (done > 0) {
      path_of(o, set, n, --done, path);
      unlink(path);
    }
    if (n > 1) rmdir(o->output);
  }
  outputs_stopped();
  return fine ? EXIT_FINE : EXIT_COULD_NOT;
}
