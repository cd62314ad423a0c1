#include "decoder/pack/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"
#include "decoder/pack/tar.h"
#include "decoder/read/arena.h"
#include "decoder/read/recover.h"
#include "decoder/show/info.h"

enum { ROOM = 4096 };

struct member {
  char *source;  /* where its bytes are */
  char *name;    /* in the archive, without the folder */
  bool trace;    /* a *.p11t: read for the index */
  char *symbols; /* where names were written before, when that is not beside `source` */
};

struct pack {
  const struct pack_options *options;
  char folder[ROOM]; /* private, for what is made for the archive only */
  unsigned made;
  struct member *member;
  size_t members, room;
  bool damaged;
};

static volatile sig_atomic_t stopped;

static void on_signal(int signal)
{
  stopped = signal;
}

static char *copy_of(const char *text)
{
  char *copy = strdup(text);
  if (copy == NULL) abort();
  return copy;
}

static const char *base_of(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash != NULL ? slash + 1 : path;
}

static const struct member *member_named(const struct pack *p, const char *name)
{
  for (size_t i = 0; i < p->members; i++) {
    if (strcmp(p->member[i].name, name) == 0) return &p->member[i];
  }
  return NULL;
}

static void add(struct pack *p, const char *source, const char *name, bool trace)
{
  if (p->members == p->room) {
    p->room = p->room == 0 ? 32 : p->room * 2;
    p->member = read_realloc(p->member, p->room * sizeof *p->member);
  }
  p->member[p->members++] = (struct member){copy_of(source), copy_of(name), trace, NULL};
}

/* Files of two folders may have one name: PREFIX is put before those of the later process. */
static void prefix_for(const struct pack *p, const struct process *process, char *prefix, size_t size)
{
  prefix[0] = '\0';
  for (unsigned n = 2; n < 1u << 20; n++) {
    bool taken = false;
    char name[ROOM];
    const char *path;
    for (size_t i = 0; (path = trace_file_path(process, i)) != NULL; i++) {
      snprintf(name, sizeof name, "%s%.3000s", prefix, base_of(path));
      taken |= member_named(p, name) != NULL;
    }
    if (!taken) return;
    snprintf(prefix, size, "%u-", n);
  }
}

static void made_path(struct pack *p, char path[ROOM])
{
  snprintf(path, ROOM, "%.4000s/%u.p11t", p->folder, p->made++);
}

/* What cannot be one file goes as two: the live file is copied first, so that a slot which becomes a frame meanwhile is there
 * twice rather than not at all (FORMAT.md, section 6). */
static bool copy_live(struct pack *p, const struct process *process, const char *prefix)
{
  char path[ROOM], name[ROOM], buffer[1 << 16];
  const char *first = trace_file_path(process, 0);
  int from = open(process->live_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), to = -1;
  if (from < 0 && errno == ENOENT) return true; /* it ended */
  made_path(p, path);
  bool fine = from >= 0 && (to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) >= 0;
  for (ssize_t n = 1; fine && n > 0;) {
    n = read(from, buffer, sizeof buffer);
    fine = n >= 0 && write(to, buffer, (size_t)n) == n;
  }
  if (!fine) fprintf(stderr, "p11trace pack: %s: %s\n", process->live_path, strerror(errno));
  if (from >= 0) close(from);
  if (to >= 0 && close(to) != 0) fine = false;
  snprintf(name, sizeof name, "%s%.3000s.live", prefix, base_of(first != NULL ? first : process->path));
  if (fine) add(p, path, name, false);
  return fine;
}

static bool add_process(struct pack *p, const struct process *process)
{
  char prefix[16], path[ROOM], name[ROOM];
  struct recovered folded = {0};
  prefix_for(p, process, prefix, sizeof prefix);
  if (process->compat & P11T_COMPAT_CLEAR) {
    fprintf(stderr, "p11trace pack: %s: holds payload in clear (capture=clear)\n", process->path);
  }
  if (process->has_live) {
    made_path(p, path);
    int status = process->damage[0] != '\0' ? 1 : trace_snapshot(process->path, path, &folded);
    if (status < 0) return false;
    if (folded.damaged) status = 1; /* goes as it is: what cannot be read here may be read elsewhere */
    if (status > 0) {
      folded.source[0] = '\0';
      if (!copy_live(p, process, prefix)) return false;
    } else {
      snprintf(name, sizeof name, "%s%.3000s", prefix, base_of(folded.source));
      add(p, path, name, true);
      if (process->symbols_path != NULL) p->member[p->members - 1].symbols = copy_of(process->symbols_path);
    }
  }
  const char *source;
  for (size_t i = 0; (source = trace_file_path(process, i)) != NULL; i++) {
    if (strcmp(source, folded.source) == 0) continue;
    snprintf(name, sizeof name, "%s%.3000s", prefix, base_of(source));
    add(p, source, name, true);
  }
  /* Names that were found already, perhaps on a machine that is far. */
  if (p->options->no_symbols && process->symbols_path != NULL && access(process->symbols_path, R_OK) == 0) {
    snprintf(name, sizeof name, "%s%.3000s", prefix, base_of(process->symbols_path));
    add(p, process->symbols_path, name, false);
  }
  return true;
}

static bool gather(struct pack *p, const char *const *paths, size_t count)
{
  struct trace_set *set = trace_open(paths, count);
  struct process *const *process;
  if (set == NULL) return false;
  size_t processes = trace_processes(set, &process);
  bool fine = true;
  for (size_t i = 0; i < processes && fine && !stopped; i++) fine = add_process(p, process[i]);
  if (fine && p->members == 0) {
    fprintf(stderr, "p11trace pack: nothing is recorded in these traces\n");
    fine = false;
  }
  trace_close(set);
  return fine;
}

/* Index and names are made from what is being packed. */
static struct trace_set *open_members(const struct pack *p, const char **path)
{
  size_t n = 0;
  for (size_t i = 0; i < p->members; i++) {
    if (p->member[i].trace) path[n++] = p->member[i].source;
  }
  return trace_open(path, n);
}

static const struct member *member_of(const struct pack *p, const struct process *process)
{
  const char *path = trace_file_path(process, 0);
  for (size_t i = 0; i < p->members && path != NULL; i++) {
    if (strcmp(p->member[i].source, path) == 0) return &p->member[i];
  }
  return NULL;
}

static bool add_index(struct pack *p)
{
  char path[ROOM];
  const char **paths = read_zalloc((p->members + 1) * sizeof *paths);
  struct trace_set *set = open_members(p, paths);
  struct process *const *process;
  bool fine = false;
  int fd = -1;
  if (set == NULL) goto out;
  size_t processes = trace_processes(set, &process);
  for (size_t i = 0; i < processes; i++) {
    const struct member *m = member_of(p, process[i]);
    if (m != NULL) process[i]->path = m->name; /* not where it lay on this machine */
    process[i]->live_path = base_of(process[i]->live_path);
  }
  made_path(p, path);
  fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) goto out;
  p->damaged = info_set(set, true, true, fd) != EXIT_FINE;
  fine = close(fd) == 0;
  if (fine) add(p, path, "info.json", false);
out:
  if (!fine) fprintf(stderr, "p11trace pack: cannot make the index: %s\n", strerror(errno));
  if (set != NULL) trace_close(set);
  free(paths);
  return fine;
}

static bool add_symbols(struct pack *p)
{
  if (p->options->no_symbols) return true;
  const char **paths = read_zalloc((p->members + 1) * sizeof *paths);
  struct trace_set *set = open_members(p, paths);
  struct process *const *process;
  if (set == NULL) {
    free(paths);
    return false;
  }
  size_t processes = trace_processes(set, &process);
  char **output = read_zalloc((processes + 1) * sizeof(char *)), path[ROOM], name[ROOM];
  for (size_t i = 0; i < processes; i++) {
    made_path(p, path);
    output[i] = copy_of(path);
    const struct member *m = member_of(p, process[i]);
    if (m != NULL && m->symbols != NULL) process[i]->symbols_path = m->symbols;
  }
  symbols_write_to(set, &p->options->symbols, (const char *const *)output, true);
  for (size_t i = 0; i < processes; i++) {
    const struct member *m = member_of(p, process[i]);
    if (m != NULL && access(output[i], R_OK) == 0) {
      snprintf(name, sizeof name, "%.4000s.sym", m->name);
      add(p, output[i], name, false);
    }
    free(output[i]);
  }
  free(output);
  free(paths);
  trace_close(set);
  return true;
}

static int by_name(const void *x, const void *y)
{
  const struct member *a = x, *b = y;
  bool first = strcmp(a->name, "info.json") == 0, second = strcmp(b->name, "info.json") == 0;
  if (first != second) return first ? -1 : 1;
  return strcmp(a->name, b->name);
}

/* "case" of "some/where/case.tar.zst": the folder that everything is in. */
static void folder_name(const char *output, char *name, size_t size)
{
  const char *base = base_of(output);
  size_t n = strcspn(base, ".");
  snprintf(name, size, "%.*s", (int)(n > 0 && n < 100 ? n : 4), n > 0 && n < 100 ? base : "case");
}

static bool write_members(struct pack *p, struct tar *tar)
{
  char folder[128], name[ROOM];
  folder_name(p->options->output, folder, sizeof folder);
  qsort(p->member, p->members, sizeof *p->member, by_name);
  for (size_t i = 0; i < p->members && !stopped; i++) {
    const struct member *m = &p->member[i];
    struct stat st;
    int fd = open(m->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool fine = fd >= 0 && fstat(fd, &st) == 0;
    snprintf(name, sizeof name, "%s/%.3900s", folder, m->name);
    fine = fine && tar_file(tar, name, fd, (uint64_t)st.st_size, st.st_mtime);
    if (!fine)
      fprintf(stderr, "p11trace pack: %s: %s\n", tar->error != 0 ? p->options->output : m->source, strerror(errno));
    if (fd >= 0) close(fd);
    if (!fine) return false;
  }
  return !stopped && tar_finish(tar);
}

static bool write_archive(struct pack *p)
{
  char temporary[ROOM + 16];
  struct tar tar;
  const char *output = p->options->output;
  snprintf(temporary, sizeof temporary, "%.4000s.XXXXXX", output);
  int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
  if (fd < 0) {
    fprintf(stderr, "p11trace pack: %s: %s\n", temporary, strerror(errno));
    return false;
  }
  bool fine = tar_begin(&tar, fd) && write_members(p, &tar);
  tar_free(&tar);
  if (fine && (fsync(fd) != 0 || link(temporary, output) != 0)) {
    fprintf(stderr, "p11trace pack: %s: %s\n", output, strerror(errno));
    fine = false;
  }
  close(fd);
  unlink(temporary);
  return fine;
}

static bool make_folder(struct pack *p)
{
  const char *place = getenv("TMPDIR");
  snprintf(p->folder, sizeof p->folder, "%.3900s/p11trace-pack-XXXXXX",
           place != NULL && place[0] != '\0' ? place : "/tmp");
  if (mkdtemp(p->folder) != NULL) return true;
  fprintf(stderr, "p11trace pack: %s: %s: TMPDIR names a folder for what is made for the archive\n", p->folder,
          strerror(errno));
  return false;
}

static void remove_folder(const struct pack *p)
{
  char path[ROOM];
  for (unsigned i = 0; i < p->made; i++) {
    snprintf(path, sizeof path, "%.4000s/%u.p11t", p->folder, i);
    unlink(path);
  }
  rmdir(p->folder);
}

int pack_paths(const char *const *paths, size_t count, const struct pack_options *options)
{
  struct pack p = {.options = options};
  struct stat st;
  if (lstat(options->output, &st) == 0) {
    fprintf(stderr, "p11trace pack: %s: %s: nothing is overwritten, name another file\n", options->output,
            strerror(EEXIST));
    return EXIT_COULD_NOT;
  }
  if (!make_folder(&p)) return EXIT_COULD_NOT;
  struct sigaction act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
  sigaction(SIGINT, &act, NULL);
  sigaction(SIGTERM, &act, NULL);
  bool fine = gather(&p, paths, count) && add_index(&p) && add_symbols(&p) && write_archive(&p);
  remove_folder(&p);
  if (fine && !options->quiet) {
    printf("%s: %zu files", options->output, p.members);
    if (stat(options->output, &st) == 0) printf(", %ju bytes", (uintmax_t)st.st_size);
    putchar('\n');
  }
  for (size_t i = 0; i < p.members; i++) {
    free(p.member[i].source);
    free(p.member[i].name);
    free(p.member[i].symbols);
  }
  free(p.member);
  if (stopped) raise(stopped);
  return fine && !p.damaged ? EXIT_FINE : EXIT_COULD_NOT;
}
