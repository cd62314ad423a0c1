/* Traces that are still being written; see tail.h. */
#include "decoder/read/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "decoder/read/tail_feed.h"

struct tail {
  struct trace_set set; /* what the reader needs of one */
  struct followed **followed;
  struct process **process;
  size_t count, room, running;
  struct followed *current; /* whose event was handed out last */
  uint64_t now;
};

static uint64_t monotonic(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct tail *tail_new(void)
{
  struct tail *tail = read_zalloc(sizeof *tail);
  tail->now = monotonic();
  return tail;
}

static void free_followed(struct followed *f)
{
  if (f->whole != NULL) {
    trace_close(f->whole);
  } else {
    feed_free(f);
    reader_free(f->r);
  }
  if (f->live_fd >= 0) close(f->live_fd);
  free(f);
}

static struct followed *new_followed(struct tail *tail)
{
  struct followed *f = read_zalloc(sizeof *f);
  struct reader *r = reader_new(&tail->set);
  f->r = r;
  f->live_fd = -1;
  r->followed = r->tailing = r->started = true;
  r->now = tail->now;
  r->slots = FEED_SLOTS;
  r->slot = read_zalloc(r->slots * sizeof *r->slot);
  r->heap = read_zalloc(r->slots * sizeof *r->heap);
  for (unsigned i = 0; i < FEED_SLOTS; i++) {
    r->slot[i].state = SLOT_DONE;
    f->feed[i].generation = 1;
    f->feed[i].at = P11T_SLOT_HEAD;
  }
  return f;
}

static bool is_known(const struct tail *tail, const struct stat *st)
{
  for (size_t i = 0; i < tail->count; i++) {
    const struct followed *f = tail->followed[i];
    if (f->id_device == st->st_dev && f->id_inode == st->st_ino) return true;
  }
  return false;
}

static bool is_known_trace(const struct tail *tail, const uint8_t id[16])
{
  for (size_t i = 0; i < tail->count; i++) {
    if (memcmp(tail->process[i]->trace_id, id, 16) == 0) return true;
  }
  return false;
}

/* Whether its process is still there: by the lock on the live file, or, without such a file, by what HEAD says. */
static bool is_alive(struct followed *f)
{
  struct reader *r = f->r;
  if (r->p.has_end) return false;
  if (f->live_fd >= 0) return verdict_locked(r, f->live_fd);
  return strstr(r->p.options, "live=none") != NULL && verdict_owner_lives(&r->p);
}

/* The live file, beside the trace or where HEAD says. False when there is one that is not ready yet. */
static bool open_live(struct followed *f, const char *trace, const char *elsewhere)
{
  struct reader *r = f->r;
  char beside[4096];
  struct stat st;
  if (snprintf(beside, sizeof beside, "%s.live", trace) >= (int)sizeof beside) return true;
  const char *path = access(beside, F_OK) != 0 && elsewhere[0] != '\0' ? elsewhere : beside;
  f->live_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (f->live_fd < 0) return true;
  if (fstat(f->live_fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    close(f->live_fd);
    f->live_fd = -1;
    return true;
  }
  feed_map(f);
  if (f->map == NULL || !live_parse_head(r, f->map, f->map_size)) return false;
  r->p.has_live = r->live_state_known = true;
  r->p.live_path = arena_text(&r->texts, path, strlen(path));
  r->p.exit_code = r->live_head.exit_code;
  f->copy = read_zalloc(r->live_head.slot_size);
  return true;
}

static void keep(struct tail *tail, struct followed *f, const struct stat *st)
{
  if (tail->count == tail->room) {
    tail->room = tail->room == 0 ? 16 : tail->room * 2;
    tail->followed = read_realloc(tail->followed, tail->room * sizeof(struct followed *));
    tail->process = read_realloc(tail->process, tail->room * sizeof(struct process *));
  }
  f->id_device = st->st_dev;
  f->id_inode = st->st_ino;
  f->r->p.index = (unsigned)tail->count;
  tail->process[tail->count] = &f->r->p;
  tail->followed[tail->count++] = f;
  tail->running++;
}

/* Of a process with several files the oldest one that is there, where that is not `path` itself: its descriptor, and its name in
 * `older`; else -1. */
static int open_oldest(const char *path, uint32_t *index, const uint8_t id[16], char older[4096])
{
  char first[4096], live[4096];
  uint8_t other[16];
  feed_first_name(path, *index, first, sizeof first);
  size_t n = strlen(first);
  for (uint32_t k = 1; k < *index && n > 5; k++) {
    int length = k == 1 ? snprintf(older, 4096, "%s", first)
                        : snprintf(older, 4096, "%.*s.%u.p11t", (int)n - 5, first, (unsigned)k);
    int fd = length < 4096 ? open(older, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    if (fd < 0) continue;
    head_peek(fd, other, live, sizeof live);
    if (memcmp(id, other, sizeof other) == 0) {
      *index = k;
      return fd;
    }
    close(fd);
  }
  return -1;
}

enum tail_added tail_add(struct tail *tail, const char *path, bool ended, struct process **process)
{
  char live[4096], names[4096];
  uint8_t id[16];
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
    fprintf(stderr, "p11trace: %s: %s\n", path, fd < 0 ? strerror(errno) : "not a regular file");
    if (fd >= 0) close(fd);
    return TAIL_CANNOT;
  }
  enum tail_added result = TAIL_KNOWN;
  if (is_known(tail, &st)) goto fail;
  result = TAIL_LATER;
  if (st.st_size == 0) goto fail;
  struct followed *f = new_followed(tail);
  struct reader *r = f->r;
  f->index = head_peek_index(fd, id, live, sizeof live);
  r->p.path = arena_text(&r->texts, path, strlen(path));
  if (is_known_trace(tail, id)) { /* a later file of it */
    result = TAIL_KNOWN;
    goto forget;
  }
  feed_first_name(path, f->index, names, sizeof names);
  if (!open_live(f, names, live)) goto forget;
  char older[4096];
  int oldest = open_oldest(path, &f->index, id, older);
  if (oldest >= 0) {
    close(fd);
    fd = oldest;
    path = older;
    r->p.path = arena_text(&r->texts, path, strlen(path));
  }
  if (file_add(r, path, fd, false) != 0) {
    result = TAIL_CANNOT;
    goto forget;
  }
  fd = -1; /* the reader's */
  if (r->head == NULL || (!r->has_schema && f->live_fd >= 0 && is_alive(f))) goto forget;
  const char *reason = r->p.has_end && f->map != NULL ? r->p.end_reason : NULL; /* the live file has the rest */
  if (reason != NULL && (strcmp(reason, "full") == 0 || strcmp(reason, "dump") == 0)) r->p.has_end = false;
  f->ended = !is_alive(f);
  result = TAIL_ENDED;
  if (f->ended && !ended) goto forget;
  if (f->ended) {
    struct trace_set *whole = trace_open(&path, 1);
    result = TAIL_CANNOT;
    if (whole == NULL) goto forget;
    free_followed(f);
    f = read_zalloc(sizeof *f);
    f->live_fd = -1;
    f->whole = whole;
    f->r = whole->reader[0];
    keep(tail, f, &st);
    *process = &f->r->p;
    return TAIL_ADDED;
  }
  r->p.locked = true;
  r->p.verdict = VERDICT_RECORDING;
  if (snprintf(names, sizeof names, "%s.sym", path) < (int)sizeof names) {
    r->p.symbols_path = arena_text(&r->texts, names, strlen(names));
  }
  if (!r->has_schema) schema_own(r);
  clock_start(r);
  r->last_time = r->p.first.monotonic;
  keep(tail, f, &st);
  *process = &r->p;
  return TAIL_ADDED;
forget:
  free_followed(f);
fail:
  if (fd >= 0) close(fd);
  return result;
}

/* All that is left of it, and how it ended. */
static void finish(struct followed *f)
{
  struct reader *r = f->r;
  f->ended = true;
  feed_poll(f, true);
  r->tailing = false;
  for (unsigned i = 0; i < FEED_SLOTS; i++) merge_feed(r, &r->slot[i]); /* records that were never ended */
  r->p.locked = false;
  if (f->map != NULL) r->p.exit_code = r->live_head.exit_code;
  verdict_early(r);
}

void tail_poll(struct tail *tail)
{
  tail->now = monotonic();
  for (size_t i = 0; i < tail->count; i++) {
    struct followed *f = tail->followed[i];
    if (f->done || !f->r->tailing) continue;
    f->r->now = tail->now;
    bool alive = is_alive(f); /* before reading: what it left is there when it is gone */
    if (alive) feed_poll(f, false);
    if (!alive || f->r->p.has_end) finish(f);
  }
}

static void retire(struct tail *tail, struct followed *f)
{
  f->done = true;
  tail->running--;
}

int tail_next(struct tail *tail, struct event *event)
{
  struct followed *first = NULL;
  uint64_t least = 0, ns;
  for (size_t i = 0; i < tail->count; i++) {
    struct followed *f = tail->followed[i];
    if (f->done || !reader_due(f->r, &ns)) continue;
    if (first == NULL || ns < least) {
      first = f;
      least = ns;
    }
  }
  if (first == NULL || !reader_event(first->r, event)) return 1;
  if (event->type == EVENT_END) retire(tail, first);
  return 0;
}

size_t tail_running(const struct tail *tail)
{
  return tail->running;
}

size_t tail_processes(const struct tail *tail, struct process *const **list)
{
  *list = tail->process;
  return tail->count;
}

bool tail_damaged(const struct tail *tail)
{
  for (size_t i = 0; i < tail->count; i++) {
    if (tail->process[i]->damage[0] != '\0') return true;
  }
  return false;
}

void tail_free(struct tail *tail)
{
  for (size_t i = 0; i < tail->count; i++) free_followed(tail->followed[i]);
  ZSTD_freeDCtx(tail->set.zstd);
  free(tail->set.packed);
  free(tail->followed);
  free(tail->process);
  free(tail);
}
