#include "shim/record/live.h"

#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/record/options.h"
#include "shim/record/process.h"
#include "shim/record/say.h"
#include "shim/record/stack.h"
#include "shim/record/sys.h"

#define FIRST_SLOTS 4
#define FIRST_SIZE (P11T_LIVE_HEAD + FIRST_SLOTS * P11T_SLOT_SIZE)
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* Stores into a mapped page that the file system cannot back kill the host (SIGBUS). Zeros written beforehand are backing
 * enough where blocks are overwritten in place; a copy-on-write file system needs a new block for each store and may have
 * none. So: only file systems known to write in place. Not btrfs, although it can be told to (FS_NOCOW_FL): a full one then
 * still lacks the room for its metadata, and the store kills (tests/test_disk.py). */
static bool stores_are_backed(int fd)
{
  struct statfs fs;
  if (fstatfs(fd, &fs) != 0) return false;
  switch ((unsigned long)fs.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case TMPFS_MAGIC: return true;
    default: return false;
  }
}

/* The last attempt failed because a file may not be so large here (ulimit -f) or the disk is full. */
static bool no_room;

static bool write_zeros(uint64_t from, uint64_t size)
{
  static const char zeros[P11T_SLOT_SIZE];
  for (uint64_t at = from; at < from + size;) {
    uint64_t left = from + size - at;
    long r = p11t_output_append(&p11t_process.live, &at, zeros, left < sizeof zeros ? (size_t)left : sizeof zeros);
    no_room = r == -EFBIG || r == -ENOSPC;
    if (r != 0) return false;
  }
  return true;
}

static void *map(size_t size, uint64_t offset)
{
  const struct p11t_output *live = &p11t_process.live;
  void *m = live->fd >= 0 ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, live->fd, (off_t)offset)
                          : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return NULL;
  madvise(m, size, MADV_DONTFORK); /* a child would write into the parent's records */
  madvise(m, size, MADV_DONTDUMP);
  return m;
}

/* The owner's lock lives as long as the mapping of the head, because that keeps the open file description alive after its
 * descriptor is closed: readers learn from the kernel whether the process is still there. */
static bool map_head_locked(void)
{
  struct p11t_output *live = &p11t_process.live;
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  long fd = sys_open(live->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return false;
  P11T_SYS(SYS_fcntl, (int)fd, F_OFD_SETLK, &lock);
  int kept = live->fd;
  live->fd = (int)fd;
  p11t_process.head = map(P11T_LIVE_HEAD, 0);
  live->fd = kept;
  sys_close((int)fd);
  return p11t_process.head != NULL;
}

static void give_up_file(void)
{
  struct p11t_output *live = &p11t_process.live;
  if (live->fd >= 0) {
    sys_unlink(live->path);
    p11t_output_close(live);
  }
  live->path[0] = 0;
}

/* The live file has no slots yet: a child that may never make a call. */
static bool empty;

static bool try_place(const char *path)
{
  struct p11t_output *live = &p11t_process.live;
  if (p11t_output_create_exact(live, path) != 0) return false;
  uint64_t room, total;
  bool fits = p11t_output_room(live->fd, &room, &total) && room > FIRST_SIZE + (1u << 20);
  if (fits && stores_are_backed(live->fd) && (empty || write_zeros(0, FIRST_SIZE)) && map_head_locked()) return true;
  give_up_file();
  return false;
}

static bool try_folder(const char *folder, const char *name)
{
  char path[PATH_MAX];
  if (strlen(folder) + strlen(name) + 8 > sizeof path) return false;
  snprintf(path, sizeof path, "%.2000s/%.2000s.live", folder, name);
  return try_place(path);
}

void p11t_live_place(char path[], size_t size, bool without_slots)
{
  struct p11t_process *p = &p11t_process;
  const char *slash = strrchr(p->trace.path, '/'), *name = slash ? slash + 1 : p->trace.path;
  const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
  char beside[PATH_MAX + 8], folder[PATH_MAX];
  path[0] = 0;
  p->live.fd = -1;
  empty = without_slots;
  snprintf(beside, sizeof beside, "%.*s.live", PATH_MAX - 1, p->trace.path);
  bool placed = false;
  if (p11t_options.live[0])
    placed = try_folder(p11t_options.live, name);
  else if (strlen(beside) < PATH_MAX && try_place(beside))
    placed = true;
  bool is_beside = placed && strcmp(p->live.path, beside) == 0;
  if (!placed && runtime && *runtime == '/' &&
      snprintf(folder, sizeof folder, "%s/p11trace", runtime) < (int)sizeof folder) {
    mkdir(folder, 0700);
    placed = try_folder(folder, name);
  }
  if (!placed) placed = try_folder("/dev/shm", name);
  if (placed && !is_beside) snprintf(path, size, "%s", p->live.path);
}

bool p11t_live_fill(void)
{
  struct p11t_process *p = &p11t_process;
  if (empty && p->live.fd >= 0 && !write_zeros(0, FIRST_SIZE)) {
    munmap(p->head, P11T_LIVE_HEAD);
    give_up_file();
  }
  p->write_through = p->live.fd < 0;
  if (p->write_through) {
    if (!no_room) { /* else another folder would not help, and the trace itself will say so when it cannot go on */
      p11t_say("no place for the live file of %s: give P11TRACE_LIVE a folder on ext4, xfs or tmpfs; %s", p->trace.path,
               p11t_options.ring ? "what the flight recorder holds is lost when the program is killed"
                                 : "each record is now written at once, which is slow");
    }
    p->head = map(P11T_LIVE_HEAD, 0);
    if (p->head == NULL) return false;
  }
  p->slots = p->places = 0;
  for (int i = 0; i < FIRST_SLOTS; i++) {
    if (!p11t_slot_grow()) return i > 0;
  }
  return true;
}

void p11t_live_publish(const uint8_t *content, size_t size)
{
  struct p11t_live_head *h = p11t_process.head;
  h->major = P11T_MAJOR;
  h->minor = P11T_MINOR;
  h->head_size = P11T_LIVE_HEAD;
  h->slot_size = P11T_SLOT_SIZE;
  h->state = P11T_RECORDING;
  h->head_bytes = (uint32_t)size;
  memcpy((uint8_t *)h + P11T_LIVE_HEAD_COPY, content, size);
  atomic_thread_fence(memory_order_release);
  memcpy(h->magic, P11T_LIVE_MAGIC, 8);
}

uint8_t *p11t_place_grow(void)
{
  struct p11t_process *p = &p11t_process;
  if (p->places >= P11T_MAX_SLOTS) return NULL;
  uint64_t offset = P11T_LIVE_HEAD + (uint64_t)p->places * P11T_SLOT_SIZE;
  if (p->live.fd >= 0 && p->places >= FIRST_SLOTS && !write_zeros(offset, P11T_SLOT_SIZE)) return NULL;
  uint8_t *base = map(P11T_SLOT_SIZE, offset);
  if (base == NULL) return NULL;
  p->place[p->places++] = base;
  atomic_store_explicit((_Atomic uint32_t *)&p->head->slots, p->places, memory_order_release);
  return base;
}

void p11t_place_begin(struct p11t_thread *t, uint8_t *base, uint32_t generation)
{
  struct p11t_slot_head *head = (void *)base;
  atomic_store_explicit((_Atomic uint32_t *)(void *)(base + P11T_SLOT_HEAD), 0, memory_order_release);
  atomic_store_explicit((_Atomic uint32_t *)&head->generation, 0, memory_order_release);
  head->index = t->slot;
  head->tid = t->tid;
  head->magic = P11T_SLOT_MAGIC;
  atomic_store_explicit((_Atomic uint32_t *)&head->generation, generation, memory_order_release);
  t->base = base;
  t->p = base + P11T_SLOT_HEAD;
  t->end = base + P11T_SLOT_SIZE;
}

bool p11t_slot_grow(void)
{
  struct p11t_process *p = &p11t_process;
  uint8_t *base = p->slots < P11T_MAX_SLOTS ? p11t_place_grow() : NULL;
  if (base == NULL) return false;
  struct p11t_thread *t = &p->thread[p->slots];
  struct p11t_stacks *stack = t->stack; /* a parent's: its maps of code hold in the child too */
  memset(t, 0, sizeof *t);
  t->stack = stack;
  p11t_stacks_make(t);
  t->slot = (uint16_t)p->slots;
  t->fill = 1;
  p11t_place_begin(t, base, 1);
  p->slots++;
  return true;
}
