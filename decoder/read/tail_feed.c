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

/* A slot as it was when we began to look. */
struct place {
  const uint8_t *at;
  uint32_t index, generation;
};

static bool is_same(const struct place *p)
{
  return live_load(p->at + 8) == p->generation && live_load(p->at + 4) == p->index;
}

/* A flight recorder has several fills of one slot: the older ones first. */
static int by_fill(const void *a, const void *b)
{
  const struct place *x = a, *y = b;
  if (x->index != y->index) return x->index < y->index ? -1 : 1;
  return x->generation < y->generation ? -1 : x->generation > y->generation;
}

/* A flight recorder keeps what TABLES frames hold in two slots, and writes them anew when they change. */
static void read_tables(struct followed *f, const struct place *place)
{
  uint32_t size = 0;
  if (!live_copy(place->at, f->r->live_head.slot_size, P11T_SLOT_HEAD, f->copy, &size) || size == 0) return;
  if (size == f->tables_size && memcmp(f->tables, f->copy, size) == 0) return;
  f->tables = read_realloc(f->tables, size);
  memcpy(f->tables, f->copy, size);
  f->tables_size = size;
  struct frame_ref ref = {
      .content = size, .bytes = read_zalloc(size), .file = FILE_FED, .kind = P11T_FRAME_TABLES, .clock = f->r->p.clock};
  memcpy(ref.bytes, f->copy, size);
  give(f, FEED_TABLES, &ref);
}

/* The records that were committed to a slot since the last look. */
static void read_slot(struct followed *f, const struct place *place, bool ended)
{
  const struct p11t_live_head *h = &f->r->live_head;
  const uint32_t index = place->index, generation = place->generation;
  struct feed *feed = &f->feed[index];
  const uint8_t *slot = place->at;
  uint32_t tid = live_load(slot + 12), size = 0;
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
  if (!is_same(place) || (!sound && !ended)) return;
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

void feed_poll(struct followed *f, bool ended)
{
  struct reader *r = f->r;
  feed_map(f);
  /* In this order: what a slot held before its generation was raised is in a frame that the head knew of then. So frames are
   * looked for after the generations were read, and slots are read after the frames. */
  struct place *place = NULL;
  uint32_t slots = 0, used = 0;
  const uint32_t now = feed_file_now(f);
  if (f->map != NULL) {
    live_parse_head(r, f->map, f->map_size);
    slots = r->live_head.slots < P11T_MAX_SLOTS ? r->live_head.slots : P11T_MAX_SLOTS;
    uint64_t there =
        f->map_size > r->live_head.head_size ? (f->map_size - r->live_head.head_size) / r->live_head.slot_size : 0;
    if (slots > there) slots = (uint32_t)there;
    place = read_zalloc((slots + 1) * sizeof *place);
    for (uint32_t i = 0; i < slots; i++) {
      struct place *p = &place[used];
      p->at = f->map + r->live_head.head_size + (size_t)i * r->live_head.slot_size;
      if (live_load(p->at) != P11T_SLOT_MAGIC) continue; /* not made yet */
      p->index = live_load(p->at + 4);
      p->generation = live_load(p->at + 8);
      used += p->generation != 0 && (p->index < P11T_MAX_SLOTS || p->index == P11T_SLOT_TABLES);
    }
    qsort(place, used, sizeof *place, by_fill);
    r->p.dropped = r->live_head.dropped;
    r->p.cut = r->live_head.cut;
    r->p.passed = r->live_head.passed;
    r->p.losing = r->live_head.state == P11T_LOSING;
    if (r->live_head.last.ticks != 0) r->p.last = r->live_head.last;
  }
  bool whole = feed_files(f, ended);
  give_frames(f);
  feed_close(f);
  /* Another file was begun meanwhile: it may hold what the slots lost. */
  if (!ended && (!whole || feed_file_now(f) != now)) used = 0;
  for (uint32_t i = 0; i < used; i++) {
    if (place[i].index == P11T_SLOT_TABLES)
      read_tables(f, &place[i]);
    else if (ended || is_same(&place[i])) /* raised since: the frame in between may not have been looked for */
      read_slot(f, &place[i], ended);
  }
  free(place);
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
  free(f->tables);
}
