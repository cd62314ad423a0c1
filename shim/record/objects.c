#include "shim/record/objects.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/record/guard.h"
#include "shim/record/options.h"
#include "shim/record/say.h"
#include "shim/record/sys.h"
#include "shim/record/writer.h"

#define PAGE 4096

#ifdef DLFO_STRUCT_HAS_EH_DBASE
typedef int (*find_function)(void *, struct dl_find_object *);
static find_function find;
#endif

static char program[PATH_MAX];

/* By name: the recorder must load with an older C library too, and no symbol may be looked up in a record. */
__attribute__((constructor)) static void load(void)
{
#ifdef DLFO_STRUCT_HAS_EH_DBASE
  find = (find_function)dlsym(RTLD_DEFAULT, "_dl_find_object");
#endif
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
  program[n > 0 ? n : 0] = 0;
}

#ifdef DLFO_STRUCT_HAS_EH_DBASE
bool p11t_objects_known(void)
{
  return find != NULL;
}

static bool lookup(struct p11t_object *o, uint64_t address)
{
  struct dl_find_object f;
  if (find == NULL || find((void *)(uintptr_t)address, &f) != 0) return false;
  o->start = (uint64_t)(uintptr_t)f.dlfo_map_start;
  o->end = (uint64_t)(uintptr_t)f.dlfo_map_end;
  o->map = f.dlfo_link_map;
  o->index = (uint64_t)(uintptr_t)f.dlfo_eh_frame;
  return true;
}
#else
bool p11t_objects_known(void)
{
  return false;
}
static bool lookup(struct p11t_object *o, uint64_t address)
{
  (void)o, (void)address;
  return false;
}
#endif

void p11t_objects_refresh(void)
{
  if (p11t_options.stack <= P11T_STACK_CALLER || p11t_objects_known()) return;
  p11t_say("stack: this C library cannot say where code is mapped (glibc 2.35 can): only the caller is recorded");
  p11t_options.stack = P11T_STACK_CALLER;
}

/* Where the build-id lies. Only what is in the first page is read: that is mapped, since it holds the ELF header. */
static void find_build_id(struct p11t_object *o)
{
  const char *page = (const char *)o->start;
  const ElfW(Ehdr) *head = (const void *)page;
  o->id_size = 0;
  memcpy(o->head, page, sizeof o->head);
  if (memcmp(page, ELFMAG, SELFMAG) != 0) return;
  if (head->e_phentsize != sizeof(ElfW(Phdr)) || head->e_phoff > PAGE) return;
  const ElfW(Phdr) *p = (const void *)(page + head->e_phoff);
  for (unsigned i = 0; i < head->e_phnum && head->e_phoff + (i + 1) * sizeof *p <= PAGE; i++) {
    uint64_t at = o->base + p[i].p_vaddr - o->start, end = at + p[i].p_memsz;
    if (p[i].p_type != PT_NOTE || at > PAGE || end > PAGE) continue;
    while (at + sizeof(ElfW(Nhdr)) <= end) {
      const ElfW(Nhdr) *note = (const void *)(page + at);
      uint64_t id = at + sizeof *note + ((note->n_namesz + 3u) & ~3u), size = note->n_descsz;
      if (size > PAGE || id + size > end) break;
      if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && size <= sizeof o->id) {
        o->id_at = (uint16_t)id;
        o->id_size = (uint8_t)size;
        memcpy(o->id, page + id, size);
        return;
      }
      at = id + ((size + 3) & ~3ull);
    }
  }
}

bool p11t_object_in_place(const struct p11t_object *o)
{
  struct p11t_object now;
  if (!lookup(&now, o->start)) return false;
  return now.start == o->start && now.end == o->end && now.map == o->map && now.index == o->index &&
         memcmp((const void *)o->start, o->head, sizeof o->head) == 0 &&
         memcmp((const char *)o->start + o->id_at, o->id, o->id_size) == 0;
}

static void leave(struct p11t_object *o, struct p11t_gone *gone)
{
  if (o->end == 0) return;
  atomic_store_explicit(&p11t_objects_replaced, true, memory_order_relaxed);
  if (gone->end == 0 || o->start < gone->start) gone->start = o->start;
  if (o->end > gone->end) gone->end = o->end;
  o->start = o->end = 0;
}

int p11t_object_find(struct p11t_object_table *table, uint64_t address, struct p11t_gone *gone)
{
  struct p11t_object o = {0};
  if (!lookup(&o, address)) return -1;
  int place = -1;
  for (int i = 0; i < P11T_OBJECTS; i++) {
    struct p11t_object *have = &table->object[i];
    if (have->end <= o.start || have->start >= o.end) continue;
    if (have->start == o.start && p11t_object_in_place(have)) return i;
    leave(have, gone); /* it was unloaded */
    place = i;
  }
  if (place < 0) place = (int)(table->next++ % P11T_OBJECTS);
  leave(&table->object[place], gone);
  const struct link_map *map = o.map;
  o.base = map->l_addr;
  o.stays = map->l_name == NULL || *map->l_name == 0;
  find_build_id(&o);
  table->object[place] = o;
  return place;
}

/* --- what the trace was told ------------------------------------------------------------------------------------------- */

#define MAX_SAID 1024

_Atomic uint64_t p11t_objects_epoch = 1;
_Atomic bool p11t_objects_replaced;

static struct said {
  uint64_t start, end;
  uint64_t since; /* epoch */
  char head[64];
  uint8_t id[20];
  char path[64]; /* the end of it */
} said[MAX_SAID];
static unsigned said_count;
static uint64_t last_id;

static const char *path_of(const struct p11t_object *o)
{
  const char *name = ((const struct link_map *)o->map)->l_name;
  return name == NULL || *name == 0 ? program : name;
}

static bool same(const struct said *s, const struct p11t_object *o, const char *path)
{
  size_t n = strlen(path), skip = n < sizeof s->path ? 0 : n - sizeof s->path + 1;
  return s->start == o->start && s->end == o->end && memcmp(s->head, o->head, sizeof s->head) == 0 &&
         memcmp(s->id, o->id, sizeof s->id) == 0 && strcmp(s->path, path + skip) == 0;
}

/* Enters the file among those that the trace knows; false when it is there. Under the lock. */
static bool enter(struct p11t_object *o, const char *path)
{
  struct said *place = NULL;
  bool replaces = false;
  for (unsigned i = 0; i < said_count; i++) {
    struct said *s = &said[i];
    if (s->end <= o->start || s->start >= o->end) continue;
    if (same(s, o, path)) return false;
    s->start = s->end = 0;
    place = s;
    replaces = true;
  }
  if (place == NULL) place = &said[said_count < MAX_SAID ? said_count++ : o->start / PAGE % MAX_SAID];
  size_t n = strlen(path), skip = n < sizeof place->path ? 0 : n - sizeof place->path + 1;
  place->start = o->start;
  place->end = o->end;
  memcpy(place->head, o->head, sizeof place->head);
  memcpy(place->id, o->id, sizeof place->id);
  strcpy(place->path, path + skip);
  if (replaces) {
    atomic_fetch_add(&p11t_objects_epoch, 1);
    atomic_store_explicit(&p11t_objects_replaced, true, memory_order_relaxed);
  }
  place->since = atomic_load(&p11t_objects_epoch);
  return true;
}

bool p11t_object_holds(const struct p11t_object *o)
{
  if (!p11t_object_in_place(o)) return false;
  if (o->said == atomic_load(&p11t_objects_epoch)) return true;
  for (unsigned i = 0; i < said_count; i++) {
    const struct said *s = &said[i];
    if (s->end <= o->start || s->start >= o->end) continue;
    if (s->since > o->said || !same(s, o, path_of(o))) return false;
  }
  return true;
}

static void write_object(struct p11t_thread *t, const struct p11t_object *o, const char *path, uint64_t id)
{
  struct p11t_writer w;
  char build_id[41] = "";
  for (unsigned k = 0; k < o->id_size; k++) sprintf(build_id + 2 * k, "%02x", o->id[k]);
  if ((size_t)(t->end - t->p) < P11T_ROOM + strlen(path))
    p11t_flush_within(t); /* a record without number is of one piece */
  p11t_begin(&w, t, P11T_OBJECT, 0, 0);
  p11t_n(&w, id);
  p11t_u(&w, o->base);
  p11t_n(&w, o->end - o->base);
  p11t_text(&w, build_id);
  p11t_text(&w, path);
  p11t_commit(&w);
}

void p11t_object_say(struct p11t_thread *t, struct p11t_object *o)
{
  if (o->said == atomic_load_explicit(&p11t_objects_epoch, memory_order_acquire)) return;
  const char *path = path_of(o);
  int saved = errno;
  sigset_t all, old;
  sigfillset(&all);
  P11T_SYS(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, 8); /* a handler that jumps away would leave the lock held */
  p11t_lock();
  bool is_new = enter(o, path);
  uint64_t id = is_new ? ++last_id : 0;
  o->said = atomic_load(&p11t_objects_epoch);
  p11t_unlock();
  P11T_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &old, (void *)0, 8);
  errno = saved;
  if (is_new) write_object(t, o, path, id);
}

void p11t_objects_forget(void)
{
  said_count = 0;
  atomic_fetch_add(&p11t_objects_epoch, 1);
}
