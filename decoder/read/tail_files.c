/* A followed process that goes on in another file (FORMAT.md, section 7). */
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/read/tail_feed.h"

uint32_t feed_file_now(const struct followed *f)
{
  return f->map == NULL ? f->index : live_load(f->map + offsetof(struct p11t_live_head, file));
}

/* Up to where there are whole frames. The owner cuts off what it could not write whole. */
static uint64_t whole_end(struct followed *f, bool current)
{
  struct trace_file *file = &f->r->file[f->r->files - 1];
  struct stat st;
  if (fstat(file->fd, &st) != 0) return 0;
  uint64_t end = (uint64_t)st.st_size;
  if (current && f->map != NULL) { /* in one piece, and after the generations */
    const uint8_t *p = f->map + offsetof(struct p11t_live_head, trace_end);
    end = __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_ACQUIRE);
  }
  return end <= (uint64_t)st.st_size ? end : (uint64_t)st.st_size;
}

void feed_first_name(const char *path, uint32_t index, char *to, size_t size)
{
  size_t n = strlen(path);
  snprintf(to, size, "%s", path);
  if (index < 2 || n < 7 || n >= size) return;
  size_t end = n - 5, at = end;
  while (at > 0 && path[at - 1] >= '0' && path[at - 1] <= '9') at--;
  if (at > 1 && at < end && path[at - 1] == '.') snprintf(to + at - 1, size - at + 1, ".p11t");
}

static bool open_next(struct followed *f, uint32_t index)
{
  char path[4096], first[4096];
  feed_first_name(f->r->p.path, f->r->file[0].index, first, sizeof first);
  size_t n = strlen(first);
  if (n > 5 && strcmp(first + n - 5, ".p11t") == 0) n -= 5;
  if (snprintf(path, sizeof path, "%.*s.%" PRIu32 "%s", (int)n, first, index, first + n) >= (int)sizeof path)
    return false;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return false; /* removed already, or the number was passed over */
  uint8_t id[16];
  char live[4096];
  head_peek(fd, id, live, sizeof live);
  if (memcmp(id, f->r->p.trace_id, 16) == 0 && file_add(f->r, path, fd, true) == 0) return true;
  close(fd);
  return false;
}

bool feed_files(struct followed *f, bool ended)
{
  struct reader *r = f->r;
  uint32_t now = feed_file_now(f);
  if (now == 0 && ended) now = f->index + 1; /* killed while it began one */
  if (now == 0 && f->index > 0) return false;
  bool ring = strstr(r->p.options, "ring=") != NULL; /* its dumps say again what the slots said */
  if (ring) {
    f->index = now;
    return true;
  }
  file_more(r, (unsigned)r->files - 1, whole_end(f, !ended && now <= f->index));
  while (f->index < now) {
    if (open_next(f, ++f->index)) file_more(r, (unsigned)r->files - 1, whole_end(f, !ended && f->index == now));
  }
  r->p.has_end = r->p.has_end && (r->p.end_reason == NULL || strcmp(r->p.end_reason, "full") != 0);
  r->p.bytes = 0;
  for (size_t i = 0; i < r->files; i++) r->p.bytes += r->file[i].size;
  return true;
}

void feed_close(struct followed *f)
{
  struct reader *r = f->r;
  size_t open = 0;
  for (size_t i = 0; i + 1 < r->files; i++) open += r->file[i].fd >= 0;
  if (open == 0) return;
  uint8_t *wanted = read_zalloc(r->files);
  for (unsigned i = 0; i < FEED_SLOTS; i++) {
    const struct slot *s = &r->slot[i];
    for (uint32_t k = s->next; k < s->frames; k++) {
      if (s->frame[k].file < r->files) wanted[s->frame[k].file] = 1;
    }
  }
  for (size_t i = 0; i + 1 < r->files; i++) {
    if (wanted[i] || r->file[i].fd < 0) continue;
    close(r->file[i].fd);
    r->file[i].fd = -1;
  }
  free(wanted);
}
