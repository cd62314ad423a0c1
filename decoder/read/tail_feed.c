/* The records of a process that goes on, each once.
 *
 * A slot is full, its records become a frame, its generation is raised, it is filled anew. So for each slot it is enough to know
 * the generation that is being read and how many of its records were: the frame of that generation has the rest, frames of
 * smaller ones are old. A copy counts only if the generation is the same afterwards (decision C9). */
#include "decoder/read/tail_feed.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

void feed_map(struct followed *f)
{
  struct stat st;
  if (f->live_fd < 0 || fstat(f->live_fd, &st) != 0 || (size_t)st.st_size <= f->map_size) return;
  void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, f->live_fd, 0);
  if (map == MAP_FAILED) return;
  if (f->map != NULL) munmap(f->map, f->map_size);
  f->map = map;
  f->map_size = (size_t)st.st_size;
}

/* One more frame for the slot's part of the merge. */
static void give(struct followed *f, unsigned index, const struct frame_ref *ref)
{
  struct feed *feed = &f->feed[index];
  struct slot *s = &f->r->slot[index];
  if (s->next == s->frames && s->source.frame == NULL) s->next = s->frames = 0; /* all is read: begin anew */
  if (s->frames == feed->room) {
    feed->room = feed->room == 0 ? 4 : feed->room * 2;
    feed->ref = read_realloc(feed->ref, feed->room * sizeof *feed->ref);
    s->frame = feed->ref;
    if (s->source.frame != NULL) s->source.frame = &feed->ref[s->next - 1];
  }
  feed->ref[s->frames] = *ref;
  feed->ref[s->frames++].arrived = f->r->now;
  if (ref->kind == P11T_FRAME_EVENTS) f->r->p.frames++;
  merge_feed(f->r, s);
}

static void give_frames(struct followed *f)
{
  struct reader *r = f->r;
  for (size_t i = 0; i < r->frames; i++) {
    struct frame_ref ref = r->frame[i];
    if (ref.kind == P11T_FRAME_TABLES) {
      give(f, FEED_TABLES, &ref);
      continue;
    }
    if (ref.slot >= P11T_MAX_SLOTS) {
      reader_damage(r, ref.packed, "%s: a frame is of slot %u", r->p.path, ref.slot);
      continue;
    }
    struct feed *feed = &f->feed[ref.slot];
    if (ref.generation < feed->generation) continue;
    if (ref.generation == feed->generation) ref.skip = feed->records;
    feed->generation = ref.generation + 1;
    feed->at = P11T_SLOT_HEAD;
    feed->records = 0;
    give(f, ref.slot, &ref);
  }
  r->frames = 0;
}

/* The records that were committed to a slot since the last look. */
static void read_slot(struct followed *f, unsigned index, bool ended)
{
  const struct p11t_live_head *h = &f->r->live_head;
  struct feed *feed = &f->feed[index];
  uint64_t offset = h->head_size + (uint64_t)index * h->slot_size;
  if (offset + h->slot_size > f->map_size) return;
  const uint8_t *slot = f->map + offset;
  if (live_load(slot) != P11T_SLOT_MAGIC) return; /* not made yet */
  uint32_t generation = live_load(slot + 8), tid = live_load(slot + 12), size = 0;
  if (generation < feed->generation) return; /* its frame was read already */
  if (generation > feed->generation) {       /* frames were looked for in between: what is missing is lost */
    feed->generation = generation;
    feed->at = P11T_SLOT_HEAD;
    feed->records = 0;
  }
  /* Between frame and next generation the first commit word is 0, and no other. */
  if (feed->at >= h->slot_size) return;
  bool sound = live_copy(slot, h->slot_size, feed->at, f->copy, &size);
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  if (live_load(slot + 8) != generation || (!sound && !ended)) return;
  if (!sound) {
    reader_damage(f->r, h->slot_size - feed->at - size, "%s: slot %u is damaged", f->r->p.live_path, index);
  }
  if (size == 0) return;
  struct frame_ref ref = {.content = size,
                          .bytes = read_zalloc(size),
                          .tid = tid,
                          .generation = generation,
                          .slot = (uint16_t)index,
                          .file = FILE_FED,
                          .kind = P11T_FRAME_EVENTS,
                          .clock = f->r->p.clock};
  memcpy(ref.bytes, f->copy, size);
  struct source s = {.raw = true, .b = cursor_of(ref.bytes, size), .frame = &ref};
  struct record record;
  while (source_next(f->r, &s, &record)) feed->records++;
  feed->at += size;
  give(f, index, &ref);
}

/* Up to where there are whole frames. The owner cuts off what it could not write whole. */
static uint64_t whole_end(struct followed *f, bool ended)
{
  struct trace_file *file = &f->r->file[0];
  struct stat st;
  if (fstat(file->fd, &st) != 0) return 0;
  f->r->p.bytes = (uint64_t)st.st_size;
  uint64_t end = (uint64_t)st.st_size;
  if (f->map != NULL && !ended) { /* in one piece, and after the generations */
    const uint8_t *p = f->map + offsetof(struct p11t_live_head, trace_end);
    end = __atomic_load_n((const uint64_t *)(const void *)p, __ATOMIC_ACQUIRE);
  }
  return end <= (uint64_t)st.st_size ? end : (uint64_t)st.st_size;
}

void feed_poll(struct followed *f, bool ended)
{
  struct reader *r = f->r;
  feed_map(f);
  /* In this order: what a slot held before its generation was raised is in a frame that the head knew of then. So frames are
   * looked for after the generations were read, and slots are read after the frames. */
  uint32_t *generation = NULL, slots = 0;
  if (f->map != NULL) {
    live_parse_head(r, f->map, f->map_size);
    slots = r->live_head.slots < P11T_MAX_SLOTS ? r->live_head.slots : P11T_MAX_SLOTS;
    uint64_t there =
        f->map_size > r->live_head.head_size ? (f->map_size - r->live_head.head_size) / r->live_head.slot_size : 0;
    if (slots > there) slots = (uint32_t)there;
    generation = read_zalloc((slots + 1) * sizeof *generation);
    for (uint32_t i = 0; i < slots; i++) {
      generation[i] = live_load(f->map + r->live_head.head_size + (size_t)i * r->live_head.slot_size + 8);
    }
    r->p.dropped = r->live_head.dropped;
    r->p.cut = r->live_head.cut;
    r->p.passed = r->live_head.passed;
    r->p.losing = r->live_head.state == P11T_LOSING;
    if (r->live_head.last.ticks != 0) r->p.last = r->live_head.last;
  }
  file_more(r, 0, whole_end(f, ended));
  give_frames(f);
  for (uint32_t i = 0; i < slots; i++) {
    const uint8_t *slot = f->map + r->live_head.head_size + (size_t)i * r->live_head.slot_size;
    /* Raised since: the frame in between may not have been looked for. */
    if (ended || live_load(slot + 8) == generation[i]) read_slot(f, i, ended);
  }
  free(generation);
}

void feed_free(struct followed *f)
{
  for (unsigned i = 0; i < FEED_SLOTS; i++) {
    struct slot *s = &f->r->slot[i];
    for (uint32_t k = s->next; k < s->frames; k++) free(f->feed[i].ref[k].bytes);
    free(f->feed[i].ref);
  }
  if (f->map != NULL) munmap(f->map, f->map_size);
  free(f->copy);
}
