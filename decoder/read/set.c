/* A set of traces: arguments to processes, and the order between processes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "decoder/read/reader.h"

struct reader *reader_new(struct trace_set *set)
{
  struct reader *r = read_zalloc(sizeof *r);
  r->set = set;
  struct process *p = &r->p;
  p->path = p->live_path = p->executable = p->program = p->cmdline = p->capture = p->options = p->recorder =
      p->derived = p->machine = "";
  p->word_bits = 64;
  p->clock = P11T_CLOCK_MONOTONIC;
  return r;
}

void reader_free(struct reader *r)
{
  for (size_t i = 0; i < r->files; i++) close(r->file[i].fd);
  merge_free(r);
  call_free_all(r);
  table_free(r);
  free(r->file);
  free(r->owner);
  free(r->frame);
  free(r->live_bytes);
  arena_free(&r->texts);
  free(r);
}

void set_keep(struct trace_set *set, struct reader *r)
{
  if (set->readers == set->reader_room) {
    set->reader_room = set->reader_room == 0 ? 8 : set->reader_room * 2;
    set->reader = read_realloc(set->reader, set->reader_room * sizeof *set->reader);
  }
  set->reader[set->readers++] = r;
}

/* A pipe cannot be read in order: its bytes go to a file that has no name any more. */
int set_spool(void)
{
  const char *folder = getenv("TMPDIR");
  char path[4096];
  snprintf(path, sizeof path, "%s/p11trace-XXXXXX", folder != NULL && folder[0] != '\0' ? folder : "/tmp");
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0) {
    fprintf(stderr, "p11trace: %s: %s: TMPDIR names a folder for what comes through a pipe\n", path, strerror(errno));
    return -1;
  }
  unlink(path);
  static char buffer[1 << 16];
  for (;;) {
    ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) return fd;
    for (ssize_t done = 0, w; n > 0 && done < n; done += w) {
      w = write(fd, buffer + done, (size_t)(n - done));
      if (w < 0 && errno == EINTR) w = 0;
      if (w < 0) n = -1;
    }
    if (n < 0) {
      fprintf(stderr, "p11trace: cannot keep standard input: %s\n", strerror(errno));
      close(fd);
      return -1;
    }
  }
}

void head_peek(int fd, uint8_t id[16], char *live, size_t size)
{
  head_peek_index(fd, id, live, size);
}

uint32_t head_peek_index(int fd, uint8_t id[16], char *live, size_t size)
{
  uint8_t start[SKIP_HEAD];
  uint32_t index = 1;
  memset(id, 0, 16);
  live[0] = '\0';
  if (!file_read(fd, start, sizeof start, 0)) return index;
  struct cursor c = cursor_of(start, sizeof start);
  if (get_u32(&c) != P11T_SKIP_HEAD) return index;
  uint32_t length = get_u32(&c);
  if (length < P11T_HEAD_FIXED || length > 1 << 20) return index;
  uint8_t *head = read_zalloc(length);
  if (file_read(fd, head, length, SKIP_HEAD) && memcmp(head, P11T_HEAD_MAGIC, 8) == 0) {
    struct cursor h = cursor_of(head + P11T_HEAD_FIXED, length - P11T_HEAD_FIXED);
    while (!h.bad && cursor_left(&h) > 0) {
      unsigned tag = get_u16(&h), n = get_u16(&h);
      const uint8_t *field = get_bytes(&h, n);
      if (field == NULL) break;
      if (tag == P11T_HEAD_TRACE_ID && n == 16) memcpy(id, field, 16);
      struct cursor value = cursor_of(field, n);
      if (tag == P11T_HEAD_FILE_INDEX) index = get_u32(&value);
      if (tag == P11T_HEAD_LIVE_PATH && n < size) {
        memcpy(live, field, n);
        live[n] = '\0';
      }
    }
  }
  free(head);
  return index;
}

static int by_name(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Files of a process that was forked under `p11trace run` and has made no call yet. */
static bool is_reserved(const char *folder, const char *name)
{
  char path[4096];
  struct stat trace, live;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (stat(path, &trace) != 0 || trace.st_size > 0) return false;
  snprintf(path, sizeof path, "%s/%s.live", folder, name);
  return stat(path, &live) == 0 && live.st_size == 0;
}

static bool wanted(const char *folder, const char *name)
{
  size_t n = strlen(name);
  if (n > 5 && strcmp(name + n - 5, ".p11t") == 0) return !is_reserved(folder, name);
  if (n <= 10 || strcmp(name + n - 10, ".p11t.live") != 0) return false;
  char trace[4096];
  snprintf(trace, sizeof trace, "%s/%.*s", folder, (int)(n - 5), name);
  return access(trace, F_OK) != 0;
}

static bool add_folder(struct trace_set *set, const char *folder)
{
  DIR *dir = opendir(folder);
  if (dir == NULL) {
    fprintf(stderr, "p11trace: %s: %s\n", folder, strerror(errno));
    return false;
  }
  char **names = NULL;
  size_t n = 0;
  for (struct dirent *e; (e = readdir(dir)) != NULL;) {
    if (!wanted(folder, e->d_name)) continue;
    names = read_realloc(names, (n + 1) * sizeof *names);
    size_t size = strlen(folder) + strlen(e->d_name) + 2;
    names[n] = read_zalloc(size);
    snprintf(names[n++], size, "%s/%s", folder, e->d_name);
  }
  closedir(dir);
  if (n > 0) qsort(names, n, sizeof *names, by_name);
  size_t before = set->readers;
  for (size_t i = 0; i < n; i++) {
    if (!files_add(set, names[i])) set->failed = true;
    free(names[i]);
  }
  free(names);
  if (n == 0) fprintf(stderr, "p11trace: %s: no trace in this folder (no *.p11t)\n", folder);
  return n > 0 && set->readers > before;
}

bool trace_again(const char *const *paths, size_t count)
{
  static bool kept;
  for (size_t i = 0; i < count; i++) {
    if (strcmp(paths[i], "-") != 0) continue;
    if (!kept) {
      int fd = set_spool();
      if (fd < 0) return false;
      kept = dup2(fd, STDIN_FILENO) == STDIN_FILENO;
      close(fd);
    }
    if (kept && lseek(STDIN_FILENO, 0, SEEK_SET) == 0) return true;
    fprintf(stderr, "p11trace: cannot keep standard input: %s\n", strerror(errno));
    return false;
  }
  return true;
}

static bool add_path(struct trace_set *set, const char *path)
{
  struct stat st = {0};
  if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return add_folder(set, path);
  if (strcmp(path, "-") == 0 || !S_ISREG(st.st_mode)) return files_add(set, path);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  bool packed = fd >= 0 && packed_is(fd), fine = packed && packed_add(set, fd, path);
  if (fd >= 0) close(fd);
  return packed ? fine : files_add(set, path);
}

/* Everything is known of the files: what has to be settled before the first event. */
static void prepare(struct reader *r)
{
  files_settle(r);
  live_fold(r);
  file_sort(r);
  if (r->p.has_end) r->p.locked = false; /* it ended while we looked */
  if (!r->has_schema) {
    bool events = false;
    for (size_t i = 0; i < r->frames; i++) events |= r->frame[i].file != FILE_LIVE;
    if (events) reader_damage(r, 0, "%s: no SCHEMA frame; read with this p11trace's own table", r->p.path);
    schema_own(r);
  }
  clock_start(r);
  verdict_early(r);
  r->merge_key = r->frames == 0 ? r->p.first.monotonic : UINT64_MAX;
  struct slot s = {.clock = r->p.clock};
  for (size_t i = 0; i < r->frames; i++) {
    const struct frame_ref *f = &r->frame[i];
    if (f->first_number == 0) continue;
    s.clock = f->clock;
    uint64_t ns = clock_ns(r, &s, f->first_time);
    if (ns < r->merge_key) r->merge_key = ns;
  }
  if (r->merge_key == UINT64_MAX) r->merge_key = r->p.first.monotonic;
  r->last_time = r->merge_key;
}

/* CLOCK_MONOTONIC is one clock within a boot and a time namespace only; otherwise the time of day orders. */
static void choose_clock(struct trace_set *set)
{
  const struct process *a = set->readers == 0 ? NULL : &set->reader[0]->p;
  bool one = true;
  for (size_t i = 1; i < set->readers; i++) {
    const struct process *b = &set->reader[i]->p;
    if (memcmp(a->boot_id, b->boot_id, 16) != 0 || a->time_ns != b->time_ns) one = false;
  }
  for (size_t i = 0; i < set->readers && !one; i++) {
    struct reader *r = set->reader[i];
    r->merge_shift = (int64_t)(r->p.first.realtime - r->p.first.monotonic);
  }
  for (size_t i = 0; i < set->readers; i++) set->reader[i]->merge_key += (uint64_t)set->reader[i]->merge_shift;
}

static int by_start(const void *a, const void *b)
{
  const struct reader *x = *(struct reader *const *)a, *y = *(struct reader *const *)b;
  if (x->merge_key != y->merge_key) return x->merge_key < y->merge_key ? -1 : 1;
  return strcmp(x->p.path, y->p.path);
}

struct trace_set *trace_open(const char *const *paths, size_t count)
{
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max; /* a folder may hold a trace for each of a thousand forks */
    setrlimit(RLIMIT_NOFILE, &files);
  }
  struct trace_set *set = read_zalloc(sizeof *set);
  bool fine = count > 0;
  if (!fine)
    fprintf(stderr, "p11trace: no TRACE given: name a file NAME.p11t, a folder of them, or - for standard input\n");
  for (size_t i = 0; i < count && fine; i++) fine = add_path(set, paths[i]);
  if (!fine) {
    trace_close(set);
    return NULL;
  }
  for (size_t i = 0; i < set->readers; i++) prepare(set->reader[i]);
  choose_clock(set);
  qsort(set->reader, set->readers, sizeof *set->reader, by_start);
  set->process = read_zalloc(set->readers * sizeof *set->process);
  set->heap = read_zalloc(set->readers * sizeof *set->heap);
  for (size_t i = 0; i < set->readers; i++) {
    set->reader[i]->p.index = (unsigned)i;
    set->process[i] = &set->reader[i]->p;
    set->heap[set->heap_size++] = i; /* sorted: a heap */
  }
  return set;
}

static bool earlier(const struct trace_set *set, size_t a, size_t b)
{
  const struct reader *x = set->reader[a], *y = set->reader[b];
  return x->merge_key != y->merge_key ? x->merge_key < y->merge_key : a < b;
}

static void sift_down(struct trace_set *set, size_t at)
{
  for (;;) {
    size_t least = at, left = 2 * at + 1;
    if (left < set->heap_size && earlier(set, set->heap[left], set->heap[least])) least = left;
    if (left + 1 < set->heap_size && earlier(set, set->heap[left + 1], set->heap[least])) least = left + 1;
    if (least == at) return;
    size_t swap = set->heap[at];
    set->heap[at] = set->heap[least];
    set->heap[least] = swap;
    at = least;
  }
}

/* The process whose event was delivered last takes its new place. */
static void place(struct trace_set *set)
{
  struct reader *r = set->current;
  if (r == NULL || set->readers == 1) return;
  reader_settle(r);
  uint64_t ns;
  if (r->queue == NULL && r->pending_enter == NULL && merge_peek(r, &ns)) {
    ns += (uint64_t)r->merge_shift;
    if (ns > r->merge_key) r->merge_key = ns; /* two threads' clocks may differ by a little: never back */
  }
  sift_down(set, 0);
}

/* A process that is over gives its memory back, but for what trace.h lets a caller ask for later. */
static void retire(struct trace_set *set, struct reader *r)
{
  merge_free(r);
  free(r->frame);
  r->frame = NULL;
  r->frames = 0;
  set->heap[0] = set->heap[--set->heap_size];
  sift_down(set, 0);
}

int trace_next(struct trace_set *set, struct event *event)
{
  place(set);
  set->current = NULL;
  while (set->heap_size > 0) {
    struct reader *r = set->reader[set->heap[0]];
    if (reader_event(r, event)) {
      set->current = r;
      return 0;
    }
    retire(set, r);
  }
  return 1;
}

size_t trace_processes(const struct trace_set *set, struct process *const **list)
{
  *list = set->process;
  return set->readers;
}

const char *trace_file_path(const struct process *process, size_t at)
{
  const struct reader *r = reader_of(process);
  return at < r->files ? r->file[at].path : NULL;
}

bool trace_damaged(const struct trace_set *set)
{
  if (set->failed) return true;
  for (size_t i = 0; i < set->readers; i++) {
    if (set->reader[i]->p.damage[0] != '\0') return true;
  }
  return false;
}

void trace_close(struct trace_set *set)
{
  for (size_t i = 0; i < set->readers; i++) reader_free(set->reader[i]);
  free(set->reader);
  free(set->process);
  free(set->heap);
  ZSTD_freeDCtx(set->zstd);
  free(set->packed);
  free(set);
}
