/* One trace file: HEAD, then hopping from FRAME-INFO to FRAME-INFO. Nothing is decompressed here but SCHEMA and END. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "decoder/read/reader.h"

enum { STRIDE = FRAME_INFO, WINDOW = 1 << 16, MAX_HEAD = 1 << 20 };

bool file_read(int fd, void *to, size_t size, uint64_t offset)
{
  uint8_t *p = to;
  while (size > 0) {
    ssize_t n = pread(fd, p, size, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    p += n, size -= (size_t)n, offset += (uint64_t)n;
  }
  return true;
}

void reader_damage(struct reader *r, uint64_t bytes, const char *format, ...)
{
  r->p.damaged_bytes += bytes;
  if (r->p.damage[0] != '\0') return;
  va_list args;
  va_start(args, format);
  vsnprintf(r->p.damage, sizeof r->p.damage, format, args);
  va_end(args);
}

/* The 72 bytes of a FRAME-INFO with its skippable head, or false when they are not one. */
bool file_info(const uint8_t *bytes, struct frame_ref *ref)
{
  struct cursor c = cursor_of(bytes, STRIDE);
  if (get_u32(&c) != P11T_SKIP_INFO || get_u32(&c) != INFO_SIZE) return false;
  const uint8_t *info = c.at;
  if (get_u32(&c) != P11T_INFO_MAGIC) return false;
  ref->kind = get_u8(&c);
  ref->clock = get_u8(&c);
  ref->slot = get_u16(&c);
  ref->packed = get_u32(&c);
  ref->content = get_u32(&c);
  ref->tid = get_u32(&c);
  ref->generation = get_u32(&c);
  get_u32(&c); /* dropped so far: END and the live head have the total */
  ref->records = get_u32(&c);
  ref->first_number = get_u64(&c);
  ref->last_number = get_u64(&c);
  ref->first_time = get_u64(&c);
  return get_u64(&c) == XXH64(info, 56, 0);
}

static uint32_t info_dropped(const uint8_t *bytes)
{
  struct cursor c = cursor_of(bytes + SKIP_HEAD + 24, 4);
  return get_u32(&c);
}

/* Offset of the next FRAME-INFO at or after `from`, or the file's size. */
uint64_t file_resynchronise(const struct trace_file *f, uint64_t from)
{
  static const uint8_t magic[8] = {0x51, 0x2A, 0x4D, 0x18, INFO_SIZE, 0, 0, 0};
  uint8_t *window = read_zalloc(WINDOW + STRIDE);
  struct frame_ref ref;
  uint64_t found = f->size;
  while (from + STRIDE <= f->size) {
    uint64_t left = f->size - from;
    size_t n = left < WINDOW + STRIDE ? (size_t)left : WINDOW + STRIDE;
    if (!file_read(f->fd, window, n, from)) break;
    const uint8_t *p = window, *end = window + n - STRIDE + 1;
    while (p < end && (p = memchr(p, magic[0], (size_t)(end - p))) != NULL) {
      if (memcmp(p, magic, sizeof magic) == 0 && file_info(p, &ref)) {
        found = from + (uint64_t)(p - window);
        goto out;
      }
      p++;
    }
    if (n < WINDOW + STRIDE) break;
    from += WINDOW + 1;
  }
out:
  free(window);
  return found;
}

static void add_frame(struct reader *r, const struct frame_ref *ref)
{
  if (r->frames == r->frame_room) {
    r->frame_room = r->frame_room == 0 ? 16 : r->frame_room * 2;
    r->frame = read_realloc(r->frame, r->frame_room * sizeof *r->frame);
  }
  r->frame[r->frames++] = *ref;
}

/* SCHEMA and END are wanted at once. */
static void special_frame(struct reader *r, struct trace_file *f, const struct frame_ref *ref)
{
  uint8_t *content = NULL;
  size_t room = 0;
  if (ref->kind == P11T_FRAME_SCHEMA && r->has_schema) return; /* restated in a later file */
  if (frame_load(r, ref, &content, &room)) {
    if (ref->kind == P11T_FRAME_END) {
      f->has_end = true;
      end_parse(r, content + INFO_SIZE, ref->content - INFO_SIZE);
      f->end_reason = r->p.end_reason;
    } else if (!schema_parse(r, content + INFO_SIZE, ref->content - INFO_SIZE)) {
      reader_damage(r, ref->content, "the SCHEMA frame at offset %" PRIu64 " cannot be read", ref->offset);
    }
  }
  free(content);
}

/* Which of the skippable frames that are not ours may stand here: all of them, if they end within the file. */
static bool skippable(const struct trace_file *f, uint64_t at, const uint8_t *bytes, uint64_t *end)
{
  struct cursor c = cursor_of(bytes, SKIP_HEAD);
  uint32_t magic = get_u32(&c), size = get_u32(&c);
  if (magic < 0x184D2A50u || magic > 0x184D2A5Fu || magic == P11T_SKIP_INFO) return false;
  *end = at + SKIP_HEAD + size;
  return *end <= f->size;
}

static void hop(struct reader *r, struct trace_file *f, unsigned number, uint64_t at)
{
  uint64_t back = at; /* where a search for the next frame may begin */
  f->whole_end = at;
  while (at < f->size) {
    uint8_t bytes[STRIDE];
    struct frame_ref ref = {0};
    uint64_t left = f->size - at, end;
    size_t n = left < STRIDE ? (size_t)left : STRIDE;
    if (!file_read(f->fd, bytes, n, at)) break;
    if (n == STRIDE && file_info(bytes, &ref)) {
      uint64_t data = at + STRIDE;
      if (ref.packed > f->size - data) { /* its end is not there: cut, or bytes went missing further on */
        uint64_t next = file_resynchronise(f, data);
        if (next == f->size) break;
        reader_damage(r, next - at, "%s: the frame at offset %" PRIu64 " is cut", f->path, at);
        at = next;
        continue;
      }
      if (ref.content < INFO_SIZE || ref.content > MAX_CONTENT || ref.packed > MAX_PACKED) {
        reader_damage(r, ref.packed, "%s: the frame at offset %" PRIu64 " says that it is %u bytes long", f->path, at,
                      ref.content);
      } else {
        ref.offset = data;
        ref.file = (uint16_t)number;
        if (info_dropped(bytes) > r->p.dropped) r->p.dropped = info_dropped(bytes);
        if (ref.kind == P11T_FRAME_EVENTS || ref.kind == P11T_FRAME_TABLES) add_frame(r, &ref);
        if (ref.kind == P11T_FRAME_SCHEMA || ref.kind == P11T_FRAME_END) special_frame(r, f, &ref);
      }
      back = data;
      at = f->whole_end = data + ref.packed;
      continue;
    }
    if (n >= SKIP_HEAD && skippable(f, at, bytes, &end)) {
      at = back = f->whole_end = end;
      continue;
    }
    uint64_t next = file_resynchronise(f, back);
    if (next == f->size) break;
    if (next < at) { /* bytes are missing inside the frame before */
      if (r->frames > 0 && r->frame[r->frames - 1].offset == back) r->frames--;
      reader_damage(r, next - back, "%s: bytes are missing in the frame at offset %" PRIu64, f->path, back - STRIDE);
    } else {
      reader_damage(r, next - at, "%s: offset %" PRIu64 ": %" PRIu64 " bytes are no frame", f->path, at, next - at);
    }
    at = back = next;
  }
}

void file_more(struct reader *r, unsigned number, uint64_t end)
{
  struct trace_file *f = &r->file[number];
  if (end <= f->whole_end) return;
  f->size = end;
  hop(r, f, number, f->whole_end);
}

/* A file that is cut inside HEAD is still one of ours if what there is of it fits. */
static bool looks_cut(const uint8_t *bytes, size_t size)
{
  static const uint8_t start[4] = {0x50, 0x2A, 0x4D, 0x18};
  if (size < 4) return memcmp(bytes, start, size) == 0;
  if (memcmp(bytes, start, 4) != 0) return false;
  return size <= SKIP_HEAD ||
         memcmp(bytes + SKIP_HEAD, P11T_HEAD_MAGIC, size - SKIP_HEAD < 8 ? size - SKIP_HEAD : 8) == 0;
}

int file_add(struct reader *r, const char *path, int fd, bool quiet)
{
  struct stat st;
  uint8_t bytes[SKIP_HEAD + 8];
  uint64_t at = 0;
  struct trace_file f = {.fd = fd, .path = arena_text(&r->texts, path, strlen(path))};
  if (fstat(fd, &st) == 0) f.size = (uint64_t)st.st_size;
  size_t n = f.size < sizeof bytes ? (size_t)f.size : sizeof bytes;
  if (!file_read(fd, bytes, n, 0)) n = 0;
  if (n > 0 && !looks_cut(bytes, n)) {
    if (!quiet) {
      fprintf(stderr,
              "p11trace: %s: not a trace (no P11TRACE at its start): give a file NAME.p11t that the recorder wrote\n",
              path);
    }
    return 1;
  }
  if (n > 0) {
    struct cursor c = cursor_of(bytes, n);
    get_u32(&c);
    uint64_t size = get_u32(&c);
    if (c.bad || SKIP_HEAD + size > f.size || size > MAX_HEAD) {
      /* Cut inside HEAD, or HEAD's length is damaged: read what there is of it, then look for frames. */
      if (n == sizeof bytes) {
        size = f.size - SKIP_HEAD < 4096 ? f.size - SKIP_HEAD : 4096;
        reader_damage(r, f.size < 4096 ? f.size : 0, "%s: cut inside HEAD, at offset %" PRIu64, path, f.size);
      } else {
        reader_damage(r, f.size, "%s: cut inside HEAD, at offset %" PRIu64, path, f.size);
        size = 0;
      }
    }
    uint8_t *head = read_zalloc(size);
    r->p.complete_from = r->p.file_index = 0;
    int status = HEAD_FINE;
    if (size > 0 && file_read(fd, head, (size_t)size, SKIP_HEAD)) status = head_parse(r, head, (size_t)size, path);
    free(head);
    if (status != HEAD_FINE) return 1;
    f.head_end = SKIP_HEAD + size <= f.size ? SKIP_HEAD + size : 0;
    at = SKIP_HEAD + size < f.size ? SKIP_HEAD + size : f.size;
  }
  f.index = r->p.file_index > 0 ? r->p.file_index : 1;
  f.complete_from = r->p.complete_from > 0 ? r->p.complete_from : 1;
  r->file = read_realloc(r->file, (r->files + 1) * sizeof *r->file);
  r->file[r->files++] = f;
  r->p.bytes += f.size;
  hop(r, &r->file[r->files - 1], (unsigned)r->files - 1, at);
  return 0;
}

static int by_slot(const void *a, const void *b)
{
  const struct frame_ref *x = a, *y = b;
  if ((x->kind == P11T_FRAME_TABLES) != (y->kind == P11T_FRAME_TABLES)) return x->kind == P11T_FRAME_TABLES ? -1 : 1;
  if (x->kind != P11T_FRAME_TABLES) {
    if (x->slot != y->slot) return x->slot < y->slot ? -1 : 1;
    if (x->generation != y->generation) return x->generation < y->generation ? -1 : 1;
  }
  if (x->file != y->file) return x->file < y->file ? -1 : 1;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

void file_sort(struct reader *r)
{
  if (r->frames == 0) return;
  qsort(r->frame, r->frames, sizeof *r->frame, by_slot);
  size_t kept = 0;
  for (size_t i = 0; i < r->frames; i++) {
    const struct frame_ref *f = &r->frame[i], *before = kept == 0 ? NULL : &r->frame[kept - 1];
    if (before != NULL && f->kind == P11T_FRAME_EVENTS && before->kind == f->kind && before->slot == f->slot &&
        before->generation == f->generation) {
      /* The same fill twice: one file given twice, or a slot that was not used again between two dumps. */
      if (f->records > before->records) r->frame[kept - 1] = *f;
      continue;
    }
    r->frame[kept++] = *f;
  }
  r->frames = kept;
  r->p.frames = kept;
}
