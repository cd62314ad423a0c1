#include "decoder/diff/survey.h"

#include <stdlib.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/diff/hash.h"
#include "decoder/diff/shape.h"
#include "decoder/read/arena.h"

enum { PROGRESS_EVERY = 1 << 19 };

/* What the survey needs of a module while it reads. */
struct reading {
  struct module_seen seen;
  struct names names;
};
struct process_reading {
  struct reading **module;
  size_t modules;
};

static struct reading *reading_of(struct process_reading *p, const struct process *process, const struct call *call)
{
  for (size_t i = 0; i < p->modules; i++)
    if (p->module[i]->seen.id == call->module) return p->module[i];
  p->module = read_realloc(p->module, (p->modules + 1) * sizeof(struct reading *));
  struct reading *r = p->module[p->modules++] = read_zalloc(sizeof *r);
  const struct module *module = trace_module(process, call->module);
  r->seen.id = call->module;
  r->seen.path = read_strdup(module && module->path ? module->path : "");
  r->seen.tid = call->tid;
  names_start(&r->names, NULL, false);
  return r;
}

static struct slot_seen *slot_of(struct module_seen *m, uint64_t id)
{
  for (size_t i = 0; i < m->slots; i++)
    if (m->slot[i].id == id) return &m->slot[i];
  if (m->slots == m->slot_room) {
    m->slot_room = m->slot_room * 2 + 8;
    m->slot = read_realloc(m->slot, m->slot_room * sizeof *m->slot);
  }
  struct slot_seen *s = &m->slot[m->slots++];
  *s = (struct slot_seen){.id = id, .name = hash_mix(1, id)};
  return s;
}

static void see_slots(struct module_seen *m, const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *out = &call->arg[i].out;
    if (call->info->param[i].kind == P11_K_OUT_SLOTS && out->what == VALUE_LIST)
      for (size_t k = 0; k < out->count; k++) slot_of(m, out->item[k].number);
  }
  if (call->known != P11_F_C_GetTokenInfo || call->arg[1].out.what != VALUE_STRUCT) return;
  struct slot_seen *s = slot_of(m, call->arg[0].in.number);
  const struct value *info = &call->arg[1].out;
  if (s->labelled || info->count == 0 || info->item[0].what != VALUE_BYTES || !info->item[0].bytes) return;
  size_t size = info->item[0].kept < sizeof s->label - 1 ? info->item[0].kept : sizeof s->label - 1;
  while (size > 0 && info->item[0].bytes[size - 1] == ' ') size--;
  memcpy(s->label, info->item[0].bytes, size);
  s->label[size] = '\0';
  s->labelled = true;
}

static void fact(struct object_seen *o, uint64_t type, uint64_t hash, bool is_long)
{
  for (unsigned i = 0; i < o->facts; i++)
    if (o->fact[i].type == type) return;
  if (o->facts == SURVEY_FACTS) return;
  o->fact[o->facts].type = type;
  o->fact[o->facts].hash = hash;
  o->fact[o->facts++].is_long = is_long;
}

static struct object_seen *object_of(struct reading *r, uint64_t handle)
{
  const uintptr_t at = (uintptr_t)table_get(&r->seen.by_key, object_key(handle, r->names.generation));
  return at ? &r->seen.object[at - 1] : NULL;
}

static void found(struct reading *r, uint64_t handle, uint64_t search, unsigned *index)
{
  struct module_seen *m = &r->seen;
  if (names_is_made(&r->names, handle) || object_of(r, handle)) return;
  if (m->objects == SURVEY_OBJECTS) {
    m->objects_lost++;
    return;
  }
  if (m->objects == m->object_room) {
    m->object_room = m->object_room * 2 + 16;
    m->object = read_realloc(m->object, m->object_room * sizeof *m->object);
  }
  const uint64_t key = object_key(handle, r->names.generation);
  m->object[m->objects++] = (struct object_seen){.key = key, .search = search, .index = (*index)++};
  table_put(&m->by_key, key, (void *)(uintptr_t)m->objects); /* NOLINT: a number in a table of pointers */
}

/* The search is remembered as the session's operation, its template as facts of what it returns first. */
static void see_objects(struct reading *r, const struct call *call)
{
  if (call->known == P11_F_C_FindObjects && call->arg[1].out.what == VALUE_LIST) {
    unsigned index = 0;
    const struct value *list = &call->arg[1].out;
    for (size_t i = 0; i < list->count; i++) found(r, list->item[i].number, names_begun(&r->names, call), &index);
    return;
  }
  if (call->known != P11_F_C_GetAttributeValue || call->arg[2].out.what != VALUE_TEMPLATE || !shape_has_template(call))
    return;
  struct object_seen *o = object_of(r, call->arg[1].in.number);
  if (!o) return;
  const struct value *t = &call->arg[2].out;
  for (size_t i = 0; i < t->count; i++) {
    const struct value *a = &t->item[i];
    if (a->length != UINT64_MAX && a->pointer != P11T_P_NULL && a->count)
      fact(o, a->number, shape_attribute(&r->names, a), a->item->what == VALUE_BYTES && a->length >= 4);
  }
}

static void see_call(struct reading *r, const struct call *call)
{
  struct module_seen *m = &r->seen;
  m->calls++;
  if (call->tid != m->tid) m->threads = true;
  if (call->state != CALL_DONE) return;
  if (call->rv == CKR_OK && call->info->group == P11_GROUP_SLOT) see_slots(m, call);
  if (call->info->group == P11_GROUP_OBJECT) see_objects(r, call);
  /* Searches are named by their templates alone: the session does not matter here. */
  const uint64_t question = call->known == P11_F_C_FindObjectsInit ? shape_template(&r->names, &call->arg[1].in) : 0;
  names_leave(&r->names, call, question);
}

static void keep(struct process_seen *to, struct process_reading *from)
{
  for (size_t i = 0; i < from->modules; i++) {
    to->module = read_realloc(to->module, (to->modules + 1) * sizeof *to->module);
    to->module[to->modules++] = from->module[i]->seen;
    names_free(&from->module[i]->names);
    free(from->module[i]);
  }
  free(from->module);
}

static void tell_losses(struct survey *survey, struct process_seen *seen, const struct process *p)
{
  arguments_tell_damage("diff", p);
  if (!p->dropped) return;
  fprintf(stderr, "p11trace diff: %s: %llu records were lost; what comes after each gap may look different\n", p->path,
          (unsigned long long)p->dropped);
  seen->lossy = survey->damaged = true;
}

bool survey_read(struct survey *survey, const char *path)
{
  *survey = (struct survey){.path = path};
  if (!trace_again(&path, 1)) return false;
  struct trace_set *set = trace_open(&path, 1);
  if (!set) return false;
  struct process *const *process;
  size_t count = trace_processes(set, &process);
  struct process_reading *reading = read_zalloc((count + 1) * sizeof *reading);
  const bool progress = isatty(STDERR_FILENO);
  struct event event;
  uint64_t events = 0;
  while (!trace_next(set, &event)) {
    if (progress && ++events % PROGRESS_EVERY == 0) dprintf(STDERR_FILENO, "\r%ju events", (uintmax_t)events);
    if (event.type != EVENT_CALL || call_is_probe(event.call) || event.process->index >= count) continue;
    survey->calls++;
    see_call(reading_of(&reading[event.process->index], event.process, event.call), event.call);
  }
  if (progress && events >= PROGRESS_EVERY) dprintf(STDERR_FILENO, "\r\033[K");
  survey->processes = count;
  survey->process = read_zalloc((count + 1) * sizeof *survey->process);
  survey->damaged = trace_damaged(set);
  for (size_t i = 0; i < count; i++) {
    const struct process *p = process[i];
    struct process_seen *seen = &survey->process[i];
    *seen = (struct process_seen){.index = p->index, .pid = p->pid, .origin = process[0]->first.monotonic};
    seen->program = read_strdup(p->program ? p->program : "");
    seen->path = read_strdup(p->path);
    keep(seen, &reading[i]);
    tell_losses(survey, seen, p);
  }
  free(reading);
  trace_close(set);
  return true;
}

uint64_t survey_unnamed(const struct survey *survey)
{
  uint64_t count = 0;
  for (size_t i = 0; i < survey->processes; i++)
    for (size_t k = 0; k < survey->process[i].modules; k++) count += survey->process[i].module[k].objects_lost;
  return count;
}

void survey_free(struct survey *survey)
{
  for (size_t i = 0; i < survey->processes; i++) {
    struct process_seen *p = &survey->process[i];
    for (size_t k = 0; k < p->modules; k++) {
      free(p->module[k].path);
      free(p->module[k].slot);
      free(p->module[k].object);
      table_clear(&p->module[k].by_key, NULL);
    }
    free(p->module);
    free(p->program);
    free(p->path);
  }
  free(survey->process);
}
