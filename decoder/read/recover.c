/* Folding a live file into its trace; see recover.h. */
#include "decoder/read/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "decoder/read/reader.h"
#include "shim/trace/frame.h"
#include "shim/trace/schema.h"

/* The file that is being written. */
struct output {
  int fd, error;
  char temporary[4200];
  uint32_t (*size)[2]; /* for the seek table: bytes of each frame, bytes of its content */
  size_t sizes, room;
  uint64_t records;
  bool has_schema, has_end;
  ZSTD_CCtx *zstd;
  uint8_t *packed;
};

static void put(struct output *o, const void *bytes, size_t size)
{
  const uint8_t *p = bytes;
  while (size > 0 && o->error == 0) {
    ssize_t n = write(o->fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      o->error = n < 0 ? errno : EIO;
      return;
    }
    p += n, size -= (size_t)n;
  }
}

static void note(struct output *o, size_t size, size_t content)
{
  if (o->sizes == o->room) {
    o->room = o->room == 0 ? 64 : o->room * 2;
    o->size = read_realloc(o->size, o->room * sizeof *o->size);
  }
  o->size[o->sizes][0] = (uint32_t)size;
  o->size[o->sizes++][1] = (uint32_t)content;
}

static void put_skippable(struct output *o, uint32_t magic, const void *content, size_t size)
{
  uint32_t start[2] = {magic, (uint32_t)size};
  put(o, start, sizeof start);
  put(o, content, size);
  note(o, SKIP_HEAD + size, 0);
}

/* FRAME-INFO and data frame; the first 64 bytes of `content` become the one that belongs inside. */
static void put_frame(struct output *o, struct p11t_info info, uint8_t *content, size_t size)
{
  info.magic = P11T_INFO_MAGIC;
  info.content = (uint32_t)size;
  info.packed = 0;
  info.hash = 0;
  memcpy(content, &info, sizeof info);
  size_t n = ZSTD_compress2(o->zstd, o->packed, MAX_PACKED, content, size);
  if (ZSTD_isError(n)) {
    o->error = EIO;
    return;
  }
  info.packed = (uint32_t)n;
  p11t_info_seal(&info);
  put_skippable(o, P11T_SKIP_INFO, &info, sizeof info);
  put(o, o->packed, n);
  note(o, n, size);
}

/* Every frame of the file that can be read, as it is. */
static void copy_frames(struct reader *r, struct output *o, struct trace_file *f)
{
  uint8_t info[FRAME_INFO], *content = NULL;
  size_t room = 0;
  for (uint64_t at = f->head_end; (at = file_resynchronise(f, at)) < f->size && o->error == 0;) {
    struct frame_ref ref = {0};
    if (!file_read(f->fd, info, sizeof info, at) || !file_info(info, &ref)) break;
    ref.offset = at + FRAME_INFO;
    ref.file = (uint16_t)(f - r->file);
    at = ref.offset;
    if (ref.packed > f->size - ref.offset || ref.packed > MAX_PACKED || ref.content < INFO_SIZE ||
        ref.content > MAX_CONTENT || !frame_load(r, &ref, &content, &room)) {
      continue; /* damaged: the next one may begin inside it */
    }
    put(o, info, sizeof info);
    note(o, sizeof info, 0);
    put(o, r->set->packed, ref.packed);
    note(o, ref.packed, ref.content);
    if (ref.kind == P11T_FRAME_SCHEMA) o->has_schema = true;
    if (ref.kind == P11T_FRAME_END) o->has_end = true;
    o->records += ref.records;
    at = ref.offset + ref.packed;
  }
  free(content);
}

static void put_schema(struct output *o)
{
  uint8_t content[P11T_SCHEMA_MAX];
  size_t size = p11t_schema_build(content);
  if (size != 0) put_frame(o, (struct p11t_info){.kind = P11T_FRAME_SCHEMA}, content, size);
}

static void put_slot(struct reader *r, struct output *o, const struct frame_ref *ref)
{
  uint8_t *work = read_zalloc(P11T_FRAME_WORK), *content = read_zalloc(2 * P11T_SLOT_SIZE);
  struct p11t_info info = {.kind = ref->kind,
                           .clock = ref->clock,
                           .slot = ref->slot,
                           .tid = ref->tid,
                           .generation = ref->generation,
                           .dropped = (uint32_t)r->p.dropped};
  /* A slot of another size is of another version, whose bits live_open would not have let pass. */
  uint32_t size = ref->content < P11T_SLOT_SIZE ? ref->content : P11T_SLOT_SIZE;
  size_t n = p11t_frame_build(content, work, r->live_bytes + ref->offset, size, &info);
  if (n != 0) put_frame(o, info, content, n);
  o->records += info.records;
  free(content);
  free(work);
}

static uint8_t *field(uint8_t *p, uint16_t tag, const void *data, size_t size)
{
  uint16_t length = (uint16_t)size;
  memcpy(p, &tag, 2);
  memcpy(p + 2, &length, 2);
  memcpy(p + 4, data, size);
  return p + 4 + size;
}

static void put_end(struct reader *r, struct output *o, const uint64_t *open, size_t opens)
{
  const struct process *p = &r->p;
  uint8_t *content = read_zalloc(INFO_SIZE + 512 + opens * 12), *at = content + INFO_SIZE;
  at = field(at, P11T_END_RECORDS, &o->records, 8);
  at = field(at, P11T_END_DROPPED, &p->dropped, 8);
  at = field(at, P11T_END_CUT, &p->cut, 8);
  at = field(at, P11T_END_LAST, &p->last_number, 8);
  at = field(at, P11T_END_PASSED, &p->passed, 8);
  if (p->last.ticks != 0) at = field(at, P11T_END_CLOCK_PAIR, &p->last, sizeof p->last);
  for (size_t i = 0; i < opens; i++) at = field(at, P11T_END_OPEN, &open[i], 8);
  at = p->locked ? field(at, P11T_END_REASON, "snapshot", 8) : field(at, P11T_END_REASON, "recovered", 9);
  put_frame(o, (struct p11t_info){.kind = P11T_FRAME_END}, content, (size_t)(at - content));
  free(content);
}

/* One entry for each frame, skippable ones with content 0 (zstd contrib/seekable_format). */
static void put_seek_table(struct output *o)
{
  uint32_t start[2] = {P11T_SKIP_SEEK, (uint32_t)(o->sizes * 8 + 9)}, entries = (uint32_t)o->sizes,
           magic = P11T_SEEK_MAGIC;
  uint8_t footer[9] = {0};
  put(o, start, sizeof start);
  put(o, o->size, o->sizes * sizeof *o->size);
  memcpy(footer, &entries, 4);
  memcpy(footer + 5, &magic, 4);
  put(o, footer, sizeof footer);
}

static bool begin(struct output *o, const char *path)
{
  snprintf(o->temporary, sizeof o->temporary, "%s.XXXXXX", path);
  o->fd = mkostemp(o->temporary, O_CLOEXEC); /* 0600 */
  if (o->fd < 0) {
    fprintf(stderr, "p11trace: %s: %s\n", o->temporary, strerror(errno));
    return false;
  }
  o->zstd = ZSTD_createCCtx();
  if (o->zstd == NULL) abort();
  ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_checksumFlag, 1);
  o->packed = read_zalloc(MAX_PACKED);
  return true;
}

/* Puts the new file in its place; false (said) when it could not be written. */
static bool finish(struct output *o, const char *path, bool replace)
{
  if (o->error == 0 && fsync(o->fd) != 0) o->error = errno;
  if (close(o->fd) != 0 && o->error == 0) o->error = errno;
  if (o->error == 0 && (replace ? rename(o->temporary, path) : link(o->temporary, path)) != 0) o->error = errno;
  if (o->error != 0 || !replace) unlink(o->temporary);
  if (o->error != 0) fprintf(stderr, "p11trace: %s: %s; nothing was changed\n", path, strerror(o->error));
  return o->error == 0;
}

/* Nobody records into the live file, and no other recover is at work on it: that is what our lock says from now on. */
static bool take_lock(const char *path, int *fd)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  *fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (*fd < 0) {
    fprintf(stderr, "p11trace: %s: %s\n", path, strerror(errno));
    return false;
  }
  if (fcntl(*fd, F_OFD_SETLK, &lock) == 0 || errno == EINVAL || errno == ENOLCK) return true;
  fprintf(stderr, "p11trace: %s: still being recorded or recovered\n", path);
  return false;
}

/* What must not be done, in words; NULL when all is well. */
static const char *objection(const struct reader *r, const char *output)
{
  if (r->read_only != 0) return "it has features that only a newer p11trace may change";
  const struct trace_file *last = r->files > 0 ? &r->file[r->files - 1] : NULL;
  if (last != NULL && last->has_end && !r->p.has_end && r->p.has_live)
    return "its last file is a whole dump of a flight recorder, or one that was full; all verbs read the live file "
           "with it";
  if (output == NULL && r->p.damage[0] != '\0')
    return "it is damaged: -o FILE writes what can be read and leaves it as it is";
  return NULL;
}

/* Reads to the end: the numbers of the calls in flight, and the totals of the process. */
static size_t read_all(struct trace_set *set, uint64_t **open)
{
  struct event e;
  size_t n = 0;
  *open = NULL;
  while (trace_next(set, &e) == 0) {
    if (e.type != EVENT_CALL || e.call->state != CALL_OPEN || n == MAX_OPEN) continue;
    *open = read_realloc(*open, (n + 1) * sizeof **open);
    (*open)[n++] = e.call->number;
  }
  return n;
}

/* HEAD of the last file. A flight recorder's live file has lost the first numbers, which the file knows nothing of. */
static void put_head(struct reader *r, struct output *o)
{
  uint8_t *head = read_zalloc(r->head_size + 12);
  size_t size = r->head_size;
  memcpy(head, r->head, size);
  if (r->p.has_live && r->live_head.complete_from > 1) {
    size = (size_t)(field(head + size, P11T_HEAD_COMPLETE_FROM, &r->live_head.complete_from, 8) - head);
  }
  put_skippable(o, P11T_SKIP_HEAD, head, size);
  free(head);
}

/* What the files before the last one hold. */
static uint64_t records_before(const struct reader *r)
{
  uint64_t n = 0;
  for (size_t i = 0; i < r->frames; i++) {
    if (r->frame[i].file + 1u < r->files) n += r->frame[i].records;
  }
  return n;
}

static bool write_trace(struct reader *r, struct output *o, const struct frame_ref *slot, size_t slots,
                        const uint64_t *open, size_t opens)
{
  put_head(r, o);
  uint64_t damaged = r->p.damaged_bytes;
  if (r->files > 0) copy_frames(r, o, &r->file[r->files - 1]);
  r->p.damaged_bytes = damaged; /* counted before */
  if (!o->has_schema) put_schema(o);
  if (!o->has_end) {
    for (size_t i = 0; i < slots; i++) put_slot(r, o, &slot[i]);
    put_end(r, o, open, opens);
  }
  put_seek_table(o);
  return o->error == 0;
}

static int fold(const char *path, const char *output, bool snapshot, struct recovered *result)
{
  int status = -1, lock = -1;
  struct output o = {.fd = -1};
  uint64_t *open_calls = NULL;
  struct frame_ref *slot = NULL;
  *result = (struct recovered){0};
  struct trace_set *set = trace_open(&path, 1);
  if (set == NULL) return -1;
  struct reader *r = set->readers == 1 ? set->reader[0] : NULL;
  const char *problem = r == NULL ? "name one trace, not a folder of several" : objection(r, output);
  if (r != NULL && r->p.locked && !snapshot) {
    fprintf(stderr, "p11trace: %s: still being recorded by pid %" PRIu32 "; recover it when that has ended\n", path,
            r->p.pid);
    goto out;
  }
  if (problem == NULL && r->head == NULL) problem = "nothing was recorded in it";
  if (problem != NULL) {
    status = snapshot ? 1 : -1;
    if (!snapshot) fprintf(stderr, "p11trace: %s: %s\n", path, problem);
    goto out;
  }
  const char *last = r->files > 0 ? r->file[r->files - 1].path : r->p.path;
  snprintf(result->path, sizeof result->path, "%s", output != NULL ? output : last);
  snprintf(result->source, sizeof result->source, "%s", last);
  if (!r->p.has_live && r->p.has_end && output == NULL) {
    result->nothing = 1;
    status = 0;
    goto out;
  }
  if (!r->p.has_live && output == NULL) {
    fprintf(stderr, "p11trace: %s: its live file is not there: nothing to fold in\n", path);
    goto out;
  }
  if (output == NULL && !take_lock(r->p.live_path, &lock)) goto out;
  slot = read_zalloc(r->frames * sizeof *slot);
  size_t slots = 0;
  for (size_t i = 0; i < r->frames; i++) {
    if (r->frame[i].file == FILE_LIVE) slot[slots++] = r->frame[i];
  }
  uint64_t before = records_before(r);
  size_t opens = read_all(set, &open_calls);
  result->damaged = r->p.damage[0] != '\0';
  if (output == NULL && (problem = objection(r, output)) != NULL) { /* damage inside frames shows only now */
    fprintf(stderr, "p11trace: %s: %s\n", path, problem);
    goto out;
  }
  if (!begin(&o, result->path)) goto out;
  o.records = before;
  write_trace(r, &o, slot, slots, open_calls, opens);
  if (!finish(&o, result->path, output == NULL)) goto out;
  for (size_t i = 0; i < slots && !o.has_end; i++) result->records += slot[i].records;
  result->frames = o.has_end ? 0 : slots;
  if (output == NULL && unlink(r->p.live_path) != 0) {
    fprintf(stderr, "p11trace: %s: %s; its records are in the trace now\n", r->p.live_path, strerror(errno));
    goto out;
  }
  status = 0;
out:
  if (lock >= 0) close(lock);
  ZSTD_freeCCtx(o.zstd);
  free(o.packed);
  free(o.size);
  free(open_calls);
  free(slot);
  trace_close(set);
  return status;
}

int trace_recover(const char *path, const char *output, struct recovered *result)
{
  return fold(path, output, false, result);
}

int trace_snapshot(const char *path, const char *output, struct recovered *result)
{
  return fold(path, output, true, result);
}
