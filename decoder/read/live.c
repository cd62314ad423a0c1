/* The live file: what is not compressed yet.
 *
 * It is copied before the frames of the trace are looked for. So a slot that is flushed meanwhile is found as a frame, and
 * counted once: a slot's content counts if and only if no whole frame has its (slot, generation). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/read/reader.h"

/* A process that records changes the file while we read: only a mapping and acquiring loads see its stores in order. */
struct map {
  const uint8_t *bytes;
  size_t size;
};

uint32_t live_load(const uint8_t *p)
{
  return __atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_ACQUIRE);
}

bool live_parse_head(struct reader *r, const uint8_t *bytes, size_t size)
{
  struct p11t_live_head *h = &r->live_head;
  if (size < P11T_LIVE_HEAD_COPY || memcmp(bytes, P11T_LIVE_MAGIC, 8) != 0) return false;
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  struct cursor c = cursor_of(bytes, P11T_LIVE_HEAD_COPY);
  memcpy(h->magic, get_bytes(&c, 8), 8);
  h->major = get_u16(&c);
  h->minor = get_u16(&c);
  h->head_size = get_u32(&c);
  h->slot_size = get_u32(&c);
  h->slots = get_u32(&c);
  h->trace_end = get_u64(&c);
  h->dropped = get_u64(&c);
  h->cut = get_u64(&c);
  h->passed = get_u64(&c);
  h->frames = get_u64(&c);
  h->state = get_u32(&c);
  h->exit_code = get_u32(&c);
  h->last = get_pair(&c);
  h->head_bytes = get_u32(&c);
  h->file = get_u32(&c);
  h->complete_from = get_u64(&c);
  return h->major == P11T_MAJOR && h->head_size >= P11T_LIVE_HEAD_COPY && h->slot_size >= P11T_SLOT_HEAD + P11T_RAW &&
         h->slot_size <= MAX_CONTENT && h->slot_size % 8 == 0 && h->head_size % 8 == 0;
}

bool live_copy(const uint8_t *slot, uint32_t slot_size, uint32_t at, uint8_t *to, uint32_t *copied)
{
  *copied = 0;
  while (at + P11T_RAW <= slot_size) {
    uint32_t commit = live_load(slot + at);
    if (commit == 0) return true;
    if (commit % 8 != 0 || commit < P11T_RAW || commit > slot_size - at) return false;
    memcpy(to + *copied, slot + at, commit);
    struct cursor body = cursor_of(to + *copied + 12, 4); /* struct p11t_raw.body */
    if (get_u32(&body) > commit - P11T_RAW) return false;
    /* The writer may have begun this slot anew while we copied: the copy must not say another length. */
    memcpy(to + *copied, &commit, sizeof commit);
    *copied += commit;
    at += commit;
  }
  return true;
}

static void add_slot(struct reader *r, uint32_t generation, uint32_t slot, uint32_t tid, size_t offset, uint32_t size)
{
  struct frame_ref ref = {.offset = offset,
                          .content = size,
                          .tid = tid,
                          .generation = generation,
                          .slot = slot == P11T_SLOT_TABLES ? 0 : (uint16_t)slot,
                          .file = FILE_LIVE,
                          .kind = slot == P11T_SLOT_TABLES ? P11T_FRAME_TABLES : P11T_FRAME_EVENTS,
                          .clock = r->p.clock};
  struct source s = {.raw = true, .b = cursor_of(r->live_bytes + offset, size), .frame = &ref};
  struct record record;
  while (source_next(r, &s, &record)) {
    if (!P11T_NUMBERED(record.kind)) continue;
    if (ref.first_number == 0) ref.first_time = record.time;
    if (ref.first_number == 0 || record.number < ref.first_number) ref.first_number = record.number;
    if (record.number > ref.last_number) ref.last_number = record.number;
  }
  ref.records = s.records;
  if (r->frames == r->frame_room) {
    r->frame_room = r->frame_room == 0 ? 16 : r->frame_room * 2;
    r->frame = read_realloc(r->frame, r->frame_room * sizeof *r->frame);
  }
  r->frame[r->frames++] = ref;
}

static void copy_slots(struct reader *r, const struct map *m, const char *path)
{
  const struct p11t_live_head *h = &r->live_head;
  uint64_t there = m->size > h->head_size ? (m->size - h->head_size) / h->slot_size : 0;
  uint32_t slots = h->slots < there ? h->slots : (uint32_t)there;
  if (h->slots > there && !r->p.locked) {
    reader_damage(r, (h->slots - there) * h->slot_size, "%s: cut: %" PRIu64 " of %u slots are there", path, there,
                  h->slots);
  }
  if (slots > UINT16_MAX) slots = UINT16_MAX;
  uint8_t *copy = read_zalloc(h->slot_size);
  for (uint32_t i = 0; i < slots; i++) {
    const uint8_t *slot = m->bytes + h->head_size + (size_t)i * h->slot_size;
    struct cursor c = cursor_of(slot, P11T_SLOT_HEAD);
    uint32_t size = 0, index = 0, generation = 0, tid = 0;
    bool sound = true;
    if (get_u32(&c) != P11T_SLOT_MAGIC) {
      /* Grown, but not written yet: zeros. */
      if (live_load(slot) != 0) reader_damage(r, h->slot_size, "%s: slot %u is damaged", path, i);
      continue;
    }
    for (int tries = 0; tries < 16; tries++) {
      index = live_load(slot + 4);
      generation = live_load(slot + 8);
      tid = live_load(slot + 12);
      sound = live_copy(slot, h->slot_size, P11T_SLOT_HEAD, copy, &size);
      __atomic_thread_fence(__ATOMIC_ACQUIRE);
      if (live_load(slot + 8) == generation && live_load(slot + 4) == index && (sound || !r->p.locked)) break;
      size = 0; /* flushed meanwhile: again */
    }
    if (!sound && !r->p.locked) {
      reader_damage(r, h->slot_size - P11T_SLOT_HEAD - size, "%s: slot %u is damaged after %u bytes", path, i, size);
    }
    if (size == 0 || generation == 0) continue; /* 0: it is being handed to another thread */
    if (index > UINT16_MAX && index != P11T_SLOT_TABLES) {
      reader_damage(r, h->slot_size, "%s: slot %u is damaged", path, i);
      continue;
    }
    size_t offset = r->live_size;
    r->live_bytes = read_realloc(r->live_bytes, offset + size);
    memcpy(r->live_bytes + offset, copy, size);
    r->live_size += size;
    add_slot(r, generation, index, tid, offset, size);
  }
  free(copy);
}

bool live_open(struct reader *r, const char *path, bool must)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  struct map m = {0};
  bool fine = false;
  if (fd < 0) {
    if (must || errno != ENOENT) fprintf(stderr, "p11trace: %s: %s\n", path, strerror(errno));
    return false;
  }
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) goto out;
  r->p.live_bytes = (uint64_t)st.st_size;
  m.size = (size_t)st.st_size;
  if (m.size > 0) {
    m.bytes = mmap(NULL, m.size, PROT_READ, MAP_SHARED, fd, 0);
    if (m.bytes == MAP_FAILED) {
      fprintf(stderr, "p11trace: %s: %s\n", path, strerror(errno));
      m.bytes = NULL;
      goto out;
    }
  }
  r->p.has_live = true;
  r->p.live_path = arena_text(&r->texts, path, strlen(path));
  r->p.locked = verdict_locked(r, fd);
  if (!live_parse_head(r, m.bytes, m.size)) {
    /* The magic is stored last: a process that was killed before that has recorded nothing. */
    bool began = m.size >= 8 && memcmp(m.bytes, "\0\0\0\0\0\0\0\0", 8) != 0;
    if (began) reader_damage(r, m.size, "%s: not a live file that this p11trace can read", path);
    goto out;
  }
  const struct p11t_live_head *h = &r->live_head;
  r->live_state_known = true;
  r->p.losing = h->state == P11T_LOSING;
  r->p.exit_code = h->exit_code;
  r->p.dropped = h->dropped;
  r->p.cut = h->cut;
  r->p.passed = h->passed;
  if (h->head_bytes <= h->head_size - P11T_LIVE_HEAD_COPY && m.size >= P11T_LIVE_HEAD_COPY + (uint64_t)h->head_bytes) {
    int status = head_parse(r, m.bytes + P11T_LIVE_HEAD_COPY, h->head_bytes, path);
    r->p.live_path = arena_text(&r->texts, path, strlen(path));
    if (status == HEAD_NEWER) goto out;
    if (status == HEAD_FOREIGN) reader_damage(r, h->head_bytes, "%s: its copy of HEAD is damaged", path);
  }
  copy_slots(r, &m, path);
  if (h->last.ticks != 0) r->p.last = h->last;
  /* The state that counts is that after the slots were read: an owner that ended meanwhile wrote the rest as frames. */
  fine = true;
out:
  if (m.bytes != NULL) munmap((void *)(uintptr_t)m.bytes, m.size);
  close(fd);
  return fine;
}

static int by_fill(const void *a, const void *b)
{
  const struct frame_ref *x = *(const struct frame_ref *const *)a, *y = *(const struct frame_ref *const *)b;
  if (x->slot != y->slot) return x->slot < y->slot ? -1 : 1;
  return x->generation < y->generation ? -1 : x->generation > y->generation;
}

void live_fold(struct reader *r)
{
  size_t slots = 0, kept = 0;
  struct frame_ref **slot = read_zalloc((r->frames + 1) * sizeof *slot);
  for (size_t i = 0; i < r->frames; i++) {
    if (r->frame[i].file == FILE_LIVE && r->frame[i].kind == P11T_FRAME_EVENTS) slot[slots++] = &r->frame[i];
  }
  if (slots > 0) qsort(slot, slots, sizeof *slot, by_fill);
  for (size_t i = 0; i < r->frames && slots > 0; i++) {
    struct frame_ref *f = &r->frame[i], **twin;
    if (f->file == FILE_LIVE || f->kind != P11T_FRAME_EVENTS) continue;
    twin = bsearch(&f, slot, slots, sizeof *slot, by_fill);
    if (twin == NULL) continue;
    /* A dump has what was in the slot then. */
    if ((*twin)->records <= f->records)
      (*twin)->records = 0;
    else
      f->records = 0;
  }
  free(slot);
  for (size_t i = 0; i < r->frames; i++) {
    if (r->frame[i].records != 0) r->frame[kept++] = r->frame[i];
  }
  r->frames = kept;
}
