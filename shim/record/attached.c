#include "shim/record/attached.h"

#include <elf.h>
#include <link.h>
#include <stdio.h>

#include "shim/record/guard.h"
#include "shim/record/writer.h"

#define MAX_MODULES 64
#define MAX_LISTS 256

/* The record that says it, in the trace that is written. */
struct said {
  uint64_t instance; /* of the trace */
  uint64_t number, time;
};

static struct module {
  unsigned id;
  uint8_t how;
  bool gone; /* unloaded, but calls of it may be in the files that are kept */
  uint64_t base;
  char build_id[41];
  char path[PATH_MAX], stub[PATH_MAX];
  struct said said;
} modules[MAX_MODULES];

static struct list {
  unsigned module;
  char name[64];
  uint8_t major, minor, nulls[16];
  uint64_t flags;
  unsigned functions;
  struct said said;
} lists[MAX_LISTS];

static unsigned last_id;
/* Places that were ever used: the rest of the tables is memory that was never touched. */
static int modules_used, lists_used;

_Atomic unsigned p11t_attached_changes;

static void say_now(struct said *s)
{
  p11t_lock();
  s->number = p11t_next_number();
  s->time = p11t_ticks();
  s->instance = p11t_process.instance;
  p11t_unlock();
  atomic_fetch_add(&p11t_attached_changes, 1);
}

static void write_module(struct p11t_thread *t, const struct module *m)
{
  struct p11t_writer w;
  p11t_begin(&w, t, P11T_MODULE, m->said.number, m->said.time);
  p11t_n(&w, m->id);
  p11t_text(&w, m->path);
  p11t_text(&w, m->build_id);
  p11t_u(&w, m->base);
  p11t_n(&w, m->how);
  p11t_text(&w, m->stub);
  p11t_commit(&w);
}

static void write_list(struct p11t_thread *t, const struct list *l)
{
  struct p11t_writer w;
  size_t bytes = (l->functions + 7) / 8;
  p11t_begin(&w, t, P11T_LIST, l->said.number, l->said.time);
  p11t_n(&w, l->module);
  p11t_text(&w, l->name);
  p11t_u8(&w, l->major);
  p11t_u8(&w, l->minor);
  p11t_u(&w, l->flags);
  p11t_n(&w, l->functions);
  p11t_n(&w, bytes);
  p11t_bytes(&w, l->nulls, bytes);
  p11t_commit(&w);
}

/* Runs a writer of one entry on the calling thread, if recording runs and the thread is not inside a record. */
static void record_now(void (*write)(struct p11t_thread *, void *), void *entry)
{
  if (p11t_process.phase != P11T_RUNNING || atomic_load(&p11t_guard->epoch) == 0) return; /* 0: a child without calls */
  struct p11t_thread *t = p11t_thread_enter();
  if (t == NULL || t->busy != NULL) return;
  t->busy = __builtin_frame_address(0);
  write(t, entry);
  t->busy = NULL;
}

static void module_entry(struct p11t_thread *t, void *entry)
{
  struct module *m = entry;
  say_now(&m->said);
  write_module(t, m);
}
static void list_entry(struct p11t_thread *t, void *entry)
{
  struct list *l = entry;
  say_now(&l->said);
  write_list(t, l);
}

static void unload_entry(struct p11t_thread *t, void *id)
{
  struct p11t_writer w;
  atomic_fetch_add(&p11t_attached_changes, 1);
  p11t_begin(&w, t, P11T_UNLOAD, p11t_next_number(), p11t_ticks());
  p11t_n(&w, *(const unsigned *)id);
  p11t_commit(&w);
}

/* Hex of the GNU build-id in the notes of a loaded object. */
static int find_build_id(struct dl_phdr_info *info, size_t size, void *to)
{
  (void)size;
  struct module *m = to;
  if (info->dlpi_addr != m->base) return 0;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_NOTE) continue;
    const char *p = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr), *end = p + info->dlpi_phdr[i].p_memsz;
    while (end - p >= (long)sizeof(ElfW(Nhdr))) {
      const ElfW(Nhdr) *note = (const void *)p;
      const char *name = p + sizeof *note;
      const unsigned char *id = (const unsigned char *)name + ((note->n_namesz + 3u) & ~3u);
      if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && note->n_descsz <= 20) {
        for (unsigned k = 0; k < note->n_descsz; k++) sprintf(m->build_id + 2 * k, "%02x", id[k]);
        return 1;
      }
      p = (const char *)id + ((note->n_descsz + 3u) & ~3u);
    }
  }
  return 1;
}

unsigned p11t_module_attached(const char *path, const char *stub, uint8_t how, uint64_t base)
{
  struct module *m = NULL;
  p11t_lock();
  if (modules_used < MAX_MODULES) m = &modules[modules_used++];
  for (int i = 0; i < modules_used && m == NULL; i++) {
    if (modules[i].gone) m = &modules[i];
  }
  if (m == NULL || last_id == UINT16_MAX) {
    p11t_unlock();
    return 0;
  }
  memset(m, 0, sizeof *m);
  m->id = ++last_id;
  m->how = how;
  snprintf(m->path, sizeof m->path, "%s", path);
  snprintf(m->stub, sizeof m->stub, "%s", stub);
  m->base = base;
  dl_iterate_phdr(find_build_id, m);
  p11t_unlock();
  record_now(module_entry, m);
  return m->id;
}

void p11t_module_detached(unsigned id)
{
  record_now(unload_entry, &id);
  p11t_lock();
  for (int i = 0; i < modules_used; i++) {
    if (modules[i].id == id) modules[i].gone = true;
  }
  p11t_unlock();
}

static bool is_there(unsigned id)
{
  for (int i = 0; i < modules_used; i++) {
    if (modules[i].id == id) return !modules[i].gone;
  }
  return false;
}

void p11t_list_given(unsigned module, const char *name, uint8_t major, uint8_t minor, uint64_t flags,
                     unsigned functions, const uint8_t nulls[16])
{
  struct list fresh = {.module = module, .major = major, .minor = minor, .flags = flags, .functions = functions};
  snprintf(fresh.name, sizeof fresh.name, "%s", name);
  memcpy(fresh.nulls, nulls, sizeof fresh.nulls);
  struct list *place = NULL;
  p11t_lock();
  for (int i = 0; i < lists_used; i++) {
    const struct list *l = &lists[i];
    bool same = l->module == module && l->major == major && l->minor == minor && l->flags == flags &&
                l->functions == functions && strcmp(l->name, fresh.name) == 0 && memcmp(l->nulls, nulls, 16) == 0;
    if (same) {
      p11t_unlock();
      return; /* said before */
    }
    if (lists_used == MAX_LISTS && place == NULL && !is_there(l->module)) place = &lists[i];
  }
  if (place == NULL && lists_used < MAX_LISTS) place = &lists[lists_used++];
  if (place) *place = fresh;
  p11t_unlock();
  record_now(list_entry, place ? place : &fresh);
}

const char *p11t_first_module_name(void)
{
  static char name[128];
  const char *path = "module";
  for (int i = 0; i < modules_used; i++) {
    if (!modules[i].gone) {
      path = modules[i].path;
      break;
    }
  }
  const char *slash = strrchr(path, '/');
  snprintf(name, sizeof name, "%.100s", slash ? slash + 1 : path);
  char *suffix = strstr(name, ".so");
  if (suffix) *suffix = 0;
  return name;
}

void p11t_attached_restate(struct p11t_thread *t)
{
  for (int i = 0; i < modules_used; i++) {
    if (!modules[i].gone) module_entry(t, &modules[i]);
  }
  for (int i = 0; i < lists_used; i++) {
    if (is_there(lists[i].module)) list_entry(t, &lists[i]);
  }
}

void p11t_attached_again(struct p11t_thread *t)
{
  for (int i = 0; i < modules_used; i++) {
    if (modules[i].said.instance == p11t_process.instance) write_module(t, &modules[i]);
  }
  for (int i = 0; i < lists_used; i++) {
    if (lists[i].said.instance == p11t_process.instance) write_list(t, &lists[i]);
  }
}
