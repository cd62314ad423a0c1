#include "decoder/follow/follow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"
#include "decoder/follow/status.h"
#include "decoder/read/arena.h"
#include "decoder/read/tail.h"

/* Milliseconds. A call is shown within two looks and the time that a missing number is waited for (tail.h). */
enum { LOOK_BUSY = 10, LOOK_IDLE = 50, IDLE_AFTER = 1000, SCAN = 100, READY_WITHIN = 1000 };

/* A file that was named or found, until it is being followed or never will be. */
struct candidate {
  char *path;
  bool named; /* on the command line */
  bool settled;
  uint64_t since; /* ms, when it was found */
};

struct follow {
  const struct follow_options *options;
  struct tail *tail;
  struct dump dump;
  const char **folder;
  size_t folders;
  struct candidate *candidate;
  size_t candidates, room;
  struct status *status; /* NULL: none */
  uint64_t now, last_event, last_scan;
  bool first_scan;
};

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
  (void)signal;
  stopped = 1;
}

static uint64_t milliseconds(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void add_candidate(struct follow *f, const char *path, bool named)
{
  for (size_t i = 0; i < f->candidates; i++) {
    if (strcmp(f->candidate[i].path, path) == 0) return;
  }
  if (f->candidates == f->room) {
    f->room = f->room == 0 ? 32 : f->room * 2;
    f->candidate = read_realloc(f->candidate, f->room * sizeof *f->candidate);
  }
  char *copy = strdup(path);
  if (copy == NULL) abort();
  f->candidate[f->candidates++] = (struct candidate){.path = copy, .named = named, .since = f->now};
}

static int by_path(const void *x, const void *y)
{
  return strcmp(*(char *const *)x, *(char *const *)y);
}

/* Names that begin with the program and its start time: in order of their names is nearly in order of time. */
static void scan(struct follow *f, const char *folder)
{
  DIR *dir = opendir(folder);
  if (dir == NULL) return; /* it may come back */
  char **name = NULL;
  size_t names = 0;
  for (struct dirent *e; (e = readdir(dir)) != NULL;) {
    size_t n = strlen(e->d_name), size = n + strlen(folder) + 2;
    if (n <= 5 || strcmp(e->d_name + n - 5, ".p11t") != 0) continue;
    name = read_realloc(name, (names + 1) * sizeof(char *));
    name[names] = read_zalloc(size);
    snprintf(name[names++], size, "%s/%s", folder, e->d_name);
  }
  closedir(dir);
  if (names > 0) qsort(name, names, sizeof(char *), by_path);
  for (size_t i = 0; i < names; i++) {
    add_candidate(f, name[i], false);
    free(name[i]);
  }
  free(name);
}

static void joined(struct follow *f, struct process *process)
{
  f->dump.processes = tail_processes(f->tail, &f->dump.process);
  dump_joined(&f->dump);
  if (f->options->dump.json) json_process(&f->dump, process);
}

/* A lock on its live file says that a process is about to record, though nothing is in its trace yet. */
static bool is_awaited(const struct candidate *c)
{
  char live[4096];
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  if (snprintf(live, sizeof live, "%s.live", c->path) >= (int)sizeof live) return false;
  int fd = open(live, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return false;
  bool locked = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  close(fd);
  return locked;
}

/* Begins to follow what is ready. False when a file that was named cannot be. */
static bool add_ready(struct follow *f, bool *awaited)
{
  bool fine = true;
  for (size_t i = 0; i < f->candidates; i++) {
    struct candidate *c = &f->candidate[i];
    struct process *process;
    if (c->settled) continue;
    /* Of a folder the old traces are not what is asked for; one that came since may have ended already. */
    enum tail_added added = tail_add(f->tail, c->path, c->named || !f->first_scan, &process);
    if (added == TAIL_ADDED) joined(f, process);
    if (added == TAIL_CANNOT && c->named) fine = false;
    c->settled = added != TAIL_LATER;
    if (added != TAIL_LATER) continue;
    if (f->now - c->since < READY_WITHIN || is_awaited(c)) {
      *awaited = true;
    } else if (c->named) {
      fprintf(stderr, "p11trace follow: %s: nothing is recorded in it\n", c->path);
      c->settled = true;
      fine = false;
    }
  }
  return fine;
}

/* Everything that is due now. */
static void show_due(struct follow *f)
{
  struct event event;
  tail_poll(f->tail);
  while (!stopped && f->dump.out.error == 0 && tail_next(f->tail, &event) == 0) {
    f->last_event = f->now;
    dump_event(&f->dump, &event);
    if (!status_event(f->status, &event)) continue;
    text_flush(&f->dump.out);
    status_line(f->status);
  }
  if (f->dump.out.at == f->dump.out.base) return;
  status_hide(f->status);
  text_flush(&f->dump.out);
}

static bool sort_paths(struct follow *f, const char *const *paths, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    struct stat st;
    size_t n = strlen(paths[i]);
    if (stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode)) {
      f->folder[f->folders++] = paths[i];
      continue;
    }
    char path[4096];
    bool live = n > 5 && strcmp(paths[i] + n - 5, ".live") == 0;
    snprintf(path, sizeof path, "%.*s", (int)(live ? n - 5 : n), paths[i]);
    if (access(path, R_OK) != 0) {
      fprintf(stderr, "p11trace follow: %s: %s: name a trace or a folder that traces go to\n", path, strerror(errno));
      return false;
    }
    add_candidate(f, path, true);
  }
  return true;
}

static void wait_a_while(const struct follow *f)
{
  long ms = f->now - f->last_event < IDLE_AFTER ? LOOK_BUSY : LOOK_IDLE;
  nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static int loop(struct follow *f)
{
  bool fine = true;
  for (f->first_scan = true; !stopped && f->dump.out.error == 0; f->first_scan = false) {
    bool awaited = false;
    f->now = milliseconds();
    if (f->first_scan || f->now - f->last_scan >= SCAN) {
      for (size_t i = 0; i < f->folders; i++) scan(f, f->folder[i]);
      f->last_scan = f->now;
    }
    fine &= add_ready(f, &awaited);
    show_due(f);
    status_show(f->status, f->now, tail_running(f->tail));
    struct process *const *process;
    bool any = tail_processes(f->tail, &process) > 0;
    bool scanned = f->now == f->last_scan; /* the last process's child may have begun in between */
    if (tail_running(f->tail) == 0 && !awaited && !f->options->wait && scanned && (any || f->folders == 0)) break;
    wait_a_while(f);
  }
  status_end(f->status, tail_running(f->tail));
  return fine ? EXIT_FINE : EXIT_COULD_NOT;
}

int follow_paths(const char *const *paths, size_t count, const struct follow_options *options, int fd)
{
  struct follow f = {.options = options, .tail = tail_new(), .now = milliseconds()};
  f.folder = read_zalloc((count + 1) * sizeof *f.folder);
  struct sigaction act = {.sa_handler = on_signal};
  sigaction(SIGINT, &act, NULL);
  sigaction(SIGTERM, &act, NULL);
  signal(SIGPIPE, SIG_IGN);
  dump_begin(&f.dump, &options->dump, fd);
  int status = EXIT_COULD_NOT;
  if (sort_paths(&f, paths, count)) {
    f.status = status_new(options->dump.quiet, options->status);
    status = loop(&f);
    int shown = dump_end(&f.dump, "p11trace follow");
    if (shown != EXIT_FINE) status = shown;
  } else {
    f.dump.out.error = EPIPE;
    dump_end(&f.dump, "p11trace follow");
  }
  tail_free(f.tail);
  for (size_t i = 0; i < f.candidates; i++) free(f.candidate[i].path);
  free(f.candidate);
  free(f.folder);
  return status;
}
