/* One pass over the new traces: who made calls, how they ended, and what the rules find. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "decoder/check/profile.h"
#include "decoder/model/model.h"
#include "decoder/run/run.h"

/* More processes than these are only counted. */
#define SHOWN 40

struct counted {
  uint64_t calls, errors;
};

static const char *base_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

/* How it ended: what we saw ourselves, else what the process said of itself, else what its trace looks like. */
static void ended(FILE *to, const struct process *p, bool is_child, int status)
{
  const char *inside = p->verdict == VERDICT_DIED && p->ended_inside != NULL ? p->ended_inside : NULL;
  if (is_child && WIFSIGNALED(status)) {
    fprintf(to, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
  } else if (is_child) {
    fprintf(to, "exit status %d", WEXITSTATUS(status));
  } else if (p->exit_code >> 31 != 0) {
    fprintf(to, "exit status %" PRIu32, p->exit_code & 0x7fffffff);
  } else if (p->verdict == VERDICT_RECORDING) {
    fputs("still running", to);
  } else if (p->verdict == VERDICT_COMPLETE) {
    fputs("ended", to);
  } else {
    fputs("ended without notice", to);
  }
  if (inside != NULL) fprintf(to, " inside %s", inside);
}

static void modules(FILE *to, const struct process *p)
{
  uint16_t ids[256];
  size_t n = trace_modules(p, ids, 256);
  for (size_t i = 0; i < n && i < 256; i++) {
    const struct module *m = trace_module(p, ids[i]);
    char text[300];
    bool seen = false;
    for (size_t k = 0; k < i && !seen; k++) seen = strcmp(trace_module(p, ids[k])->path, m->path) == 0;
    const char *name = base_name(m->path);
    if (!seen)
      fprintf(to, "%s%s", i == 0 ? " of " : ", ", show_bytes((const uint8_t *)name, strlen(name), text, sizeof text));
  }
}

static void line(FILE *to, const struct process *p, const struct counted *c, bool is_child, int status)
{
  char text[200];
  fprintf(to, "  %s[%" PRIu32 "]: ", show_bytes((const uint8_t *)p->program, strlen(p->program), text, sizeof text),
          p->pid);
  ended(to, p, is_child, status);
  fprintf(to, "; %" PRIu64 " call%s", c->calls, c->calls == 1 ? "" : "s");
  if (c->errors > 0) fprintf(to, " (%" PRIu64 " not CKR_OK)", c->errors);
  modules(to, p);
  if (p->damage[0] != '\0') fprintf(to, "; DAMAGED: %s", p->damage);
  if (p->dropped > 0) fprintf(to, "; %" PRIu64 " RECORDS LOST", p->dropped);
  fputc('\n', to);
}

static void processes(FILE *to, struct process *const *process, size_t count, const struct counted *counts, pid_t child,
                      int status)
{
  size_t shown = 0;
  for (size_t i = 0; i < count && shown < SHOWN; i++, shown++)
    line(to, process[i], &counts[i], process[i]->pid == (uint32_t)child, status);
  if (count > shown) fprintf(to, "  and %zu more: p11trace info shows them\n", count - shown);
}

static void nothing(const struct run_place *place)
{
  rmdir(place->folder); /* a fresh one is left only if something is in it */
  fputs(
      "p11trace run: no PKCS #11 call was recorded: a set-id or statically linked program cannot be traced this way "
      "(p11trace wrap can), and a process that could not write its trace has said so\n",
      stderr);
}

enum severity run_summary(const struct run_place *place, char **path, size_t paths, pid_t child, int status, bool quiet)
{
  if (paths == 0) {
    if (!quiet) nothing(place);
    return 0;
  }
  struct trace_set *set = trace_open((const char *const *)path, paths);
  if (set == NULL) return 0;
  struct process *const *process;
  const size_t count = trace_processes(set, &process);
  struct counted *counts = calloc(count + 1, sizeof *counts), all = {0, 0};
  if (counts == NULL) abort();
  for (size_t i = 0; i < count; i++)
    if (process[i]->pid == (uint32_t)child && WIFSIGNALED(status)) process[i]->signal = WTERMSIG(status);
  struct checker *checker = checker_new(NULL, 0, count ? process[0]->first.monotonic : 0);
  struct event event;
  while (!trace_next(set, &event)) {
    if (event.type == EVENT_CALL && !call_is_probe(event.call)) {
      struct counted *c = &counts[event.process->index];
      const bool error = (event.call->state == CALL_DONE || event.call->state == CALL_HEADLESS) && event.call->rv != 0;
      c->calls++, all.calls++;
      c->errors += error, all.errors += error;
    }
    checker_event(checker, &event);
  }
  struct finding *const *list;
  struct check_summary s;
  const size_t findings = profile_conclude(checker, "auto", count, &list, &s);
  const enum severity worst = findings ? list[0]->severity : 0; /* the most severe come first */
  if (!quiet) {
    fprintf(stderr, "\np11trace run: %" PRIu64 " call%s (%" PRIu64 " not CKR_OK) of %zu process%s, traces in %s\n",
            all.calls, all.calls == 1 ? "" : "s", all.errors, count, count == 1 ? "" : "es", place->folder);
    processes(stderr, process, count, counts, child, status);
    check_print_text(stderr, list, findings);
    check_print_summary(stderr, &s);
  }
  for (size_t i = 0; i < count; i++) model_drop(process[i]);
  checker_free(checker);
  trace_close(set);
  free(counts);
  return worst;
}
