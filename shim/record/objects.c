#include "shim/record/objects.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <unistd.h>

#include "shim/record/guard.h"
#include "shim/record/writer.h"

#define MAX_OBJECTS 512

static struct object {
  uint64_t start, end, base; /* [start, end) of its load segments; base: what link-time addresses are relative to */
  uint64_t file;             /* in which it was said: value of `file` */
  char build_id[41];
  char path[256];
} objects[MAX_OBJECTS];
static _Atomic unsigned count;
static _Atomic uint64_t file = 1;
static unsigned long long seen_adds, seen_subs;

static void read_build_id(struct object *o, const char *p, const char *end)
{
  while (end - p >= (long)sizeof(ElfW(Nhdr))) {
    const ElfW(Nhdr) *note = (const void *)p;
    const unsigned char *id = (const unsigned char *)p + sizeof *note + ((note->n_namesz + 3u) & ~3u);
    if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && note->n_descsz <= 20) {
      for (unsigned k = 0; k < note->n_descsz; k++) sprintf(o->build_id + 2 * k, "%02x", id[k]);
      return;
    }
    p = (const char *)id + ((note->n_descsz + 3u) & ~3u);
  }
}

static int add(struct dl_phdr_info *info, size_t size, void *changed)
{
  (void)size;
  if (!*(bool *)changed) { /* the first object tells whether anything moved */
    if (info->dlpi_adds == seen_adds && info->dlpi_subs == seen_subs) return 1;
    seen_adds = info->dlpi_adds;
    seen_subs = info->dlpi_subs;
    *(bool *)changed = true;
  }
  struct object o = {.start = UINT64_MAX, .base = info->dlpi_addr};
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *p = &info->dlpi_phdr[i];
    uint64_t from = info->dlpi_addr + p->p_vaddr;
    if (p->p_type == PT_LOAD && from < o.start) o.start = from;
    if (p->p_type == PT_LOAD && from + p->p_memsz > o.end) o.end = from + p->p_memsz;
    if (p->p_type == PT_NOTE && o.build_id[0] == 0)
      read_build_id(&o, (const char *)from, (const char *)from + p->p_memsz);
  }
  const char *name = info->dlpi_name;
  if (*name == 0) { /* the program itself */
    ssize_t n = readlink("/proc/self/exe", o.path, sizeof o.path - 1);
    o.path[n > 0 ? n : 0] = 0;
  } else {
    snprintf(o.path, sizeof o.path, "%s", name);
  }
  unsigned n = atomic_load(&count);
  for (unsigned i = 0; i < n; i++) {
    if (objects[i].start == o.start && objects[i].end == o.end && strcmp(objects[i].path, o.path) == 0) return 0;
  }
  if (n == MAX_OBJECTS) return 1;
  objects[n] = o;
  atomic_store_explicit(&count, n + 1, memory_order_release);
  return 0;
}

void p11t_objects_refresh(void)
{
  static atomic_flag busy = ATOMIC_FLAG_INIT;
  bool changed = false;
  if (atomic_flag_test_and_set(&busy)) return; /* another thread is at it: waiting could meet the loader's lock */
  dl_iterate_phdr(add, &changed);
  atomic_flag_clear(&busy);
}

void p11t_object_of(struct p11t_thread *t, uint64_t address)
{
  unsigned n = atomic_load_explicit(&count, memory_order_acquire);
  /* The latest first: a file that was mapped where another had been is the one that is there. */
  while (n > 0 && !(address >= objects[n - 1].start && address < objects[n - 1].end)) n--;
  if (n == 0) return;
  struct object *o = &objects[n - 1];
  uint64_t now = atomic_load(&file) + (p11t_process.instance << 32);
  if (__atomic_exchange_n(&o->file, now, __ATOMIC_RELAXED) == now) return;
  struct p11t_writer w;
  p11t_begin(&w, t, P11T_OBJECT, 0, 0);
  p11t_n(&w, n);
  p11t_u(&w, o->base);
  p11t_n(&w, o->end - o->base);
  p11t_text(&w, o->build_id);
  p11t_text(&w, o->path);
  p11t_commit(&w);
}

void p11t_objects_forget(void)
{
  atomic_fetch_add(&file, 1);
}
