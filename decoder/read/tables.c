/* Modules, the lists that they hand out, and the files that are mapped into the process. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/read/reader.h"

static const char *get_text(struct reader *r, struct cursor *c)
{
  size_t length;
  const uint8_t *bytes = get_s(c, &length);
  return bytes == NULL ? "" : arena_text(&r->texts, bytes, length);
}

static struct module_entry *entry(struct reader *r, uint64_t id)
{
  if (id >= MAX_TABLE) return NULL;
  if (id >= r->modules) {
    size_t wanted = (size_t)id + 1;
    r->module = read_realloc(r->module, wanted * sizeof *r->module);
    memset(r->module + r->modules, 0, (wanted - r->modules) * sizeof *r->module);
    r->modules = wanted;
  }
  struct module_entry *m = &r->module[id];
  if (m->pub.path == NULL) m->pub = (struct module){.id = (uint16_t)id, .path = "", .build_id = "", .stub = ""};
  return m;
}

static bool add_module(struct reader *r, struct cursor *c, struct event *event)
{
  struct module_entry *m = entry(r, get_n(c));
  if (m == NULL) return false;
  /* Restated in the tables of a later file: no event. */
  size_t length;
  const uint8_t *path = get_s(c, &length);
  if (c->bad) return false;
  if (m->known && !m->unloaded && strlen(m->pub.path) == length && memcmp(m->pub.path, path, length) == 0) return false;
  m->pub.path = arena_text(&r->texts, path, length);
  m->pub.build_id = get_text(r, c);
  m->pub.base = get_u(c);
  m->pub.how = (uint8_t)get_n(c);
  m->pub.stub = get_text(r, c);
  m->known = true;
  m->unloaded = false;
  event->type = EVENT_MODULE;
  event->module = &m->pub;
  return true;
}

static bool add_list(struct reader *r, struct cursor *c, struct event *event)
{
  struct module_entry *m = entry(r, get_n(c));
  if (m == NULL) return false;
  struct trace_list l = {0};
  size_t length;
  const uint8_t *name = get_s(c, &length);
  l.version = (uint16_t)(get_u8(c) << 8);
  l.version |= get_u8(c);
  l.flags = get_u(c);
  l.count = (unsigned)get_n(c);
  const uint8_t *nulls = get_s(c, &l.null_bytes);
  if (c->bad) return false;
  event->type = EVENT_LIST;
  event->module = &m->pub;
  for (size_t i = 0; i < m->lists; i++) {
    const struct trace_list *old = &m->list[i];
    if (strlen(old->name) == length && memcmp(old->name, name, length) == 0 && old->version == l.version &&
        old->flags == l.flags && old->count == l.count) {
      return false; /* restated */
    }
  }
  if (m->lists >= MAX_TABLE) return false;
  l.name = arena_text(&r->texts, name, length);
  l.nulls = (const uint8_t *)arena_text(&r->texts, nulls, l.null_bytes);
  for (size_t i = 0; i < l.count && i / 8 < l.null_bytes; i++) l.null_count += l.nulls[i / 8] >> (i % 8) & 1;
  m->list = read_realloc(m->list, (m->lists + 1) * sizeof *m->list);
  m->list[m->lists++] = l;
  event->list.name = l.name;
  event->list.version = l.version;
  event->list.flags = l.flags;
  event->list.count = l.count;
  event->list.nulls = l.nulls;
  event->list.null_bytes = l.null_bytes;
  return true;
}

/* MODULE, UNLOAD and LIST records; true when they make an event. */
bool table_record(struct reader *r, const struct record *record, struct event *event)
{
  struct cursor c = cursor_of(record->body, record->length);
  switch (record->kind) {
    case P11T_MODULE: return add_module(r, &c, event);
    case P11T_LIST: return add_list(r, &c, event);
    case P11T_UNLOAD: {
      struct module_entry *m = entry(r, get_n(&c));
      if (m == NULL || c.bad) return false;
      m->unloaded = true;
      event->type = EVENT_UNLOAD;
      event->module = &m->pub;
      return true;
    }
    default: return false;
  }
}

/* First of the mapped files that ends behind the address. */
static size_t find_object(const struct reader *r, uint64_t address)
{
  size_t low = 0, high = r->objects;
  while (low < high) {
    size_t middle = (low + high) / 2;
    const struct trace_object *o = r->object[middle];
    if (address >= o->address && address - o->address >= o->size) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static bool covers(const struct trace_object *o, uint64_t address)
{
  return address - o->address < o->size;
}

/* It holds only from the slot's next record on: another thread's calls that are still to come may have been made when another
 * file was mapped there. */
void table_object(struct reader *r, struct slot *slot, const struct record *record)
{
  struct cursor c = cursor_of(record->body, record->length);
  size_t id_length, length;
  get_n(&c);
  uint64_t address = get_u(&c), size = get_n(&c);
  const uint8_t *id = get_s(&c, &id_length), *path = get_s(&c, &length);
  if (c.bad || size == 0 || address == UINT64_MAX) return;
  size_t at = find_object(r, address);
  if (slot->object == NULL && at < r->objects) { /* every thread may tell of it */
    const struct trace_object *old = r->object[at];
    if (old->address == address && old->size == size && strlen(old->path) == length &&
        memcmp(old->path, path, length) == 0 && strlen(old->build_id) == id_length &&
        memcmp(old->build_id, id, id_length) == 0) {
      return;
    }
  }
  if (r->objects_seen >= MAX_OBJECTS) return;
  r->objects_seen++;
  struct trace_object *o = arena_alloc(&r->texts, sizeof *o);
  o->address = address;
  o->size = size <= UINT64_MAX - address ? size : UINT64_MAX - address;
  o->path = arena_text(&r->texts, path, length);
  o->build_id = arena_text(&r->texts, id, id_length);
  const char *slash = strrchr(o->path, '/');
  o->name = slash == NULL ? o->path : slash + 1;
  if (slot->object == NULL) {
    slot->object = o;
  } else {
    slot->last_object->next = o;
  }
  slot->last_object = o;
  r->objects_waiting++;
}

/* What lay where the new file is mapped is not mapped any more. */
static void map_object(struct reader *r, struct trace_object *o)
{
  size_t from = find_object(r, o->address), to = from;
  while (to < r->objects && r->object[to]->address < o->address + o->size) to++;
  if (from == to) {
    if (r->objects == r->object_room) {
      r->object_room = r->object_room == 0 ? 32 : r->object_room * 2;
      r->object = read_realloc(r->object, r->object_room * sizeof *r->object);
    }
    memmove(r->object + from + 1, r->object + from, (r->objects - from) * sizeof *r->object);
    r->objects++;
  } else {
    memmove(r->object + from + 1, r->object + to, (r->objects - to) * sizeof *r->object);
    r->objects -= to - from - 1;
  }
  r->object[from] = o;
}

void table_settle(struct reader *r, struct slot *slot)
{
  while (slot->object != NULL) {
    struct trace_object *o = slot->object;
    slot->object = o->next;
    o->next = NULL;
    r->objects_waiting--;
    map_object(r, o);
  }
}

const struct trace_object *trace_object(const struct process *process, uint64_t address)
{
  const struct reader *r = reader_of(process);
  address--; /* what it returns from: a call may be the last instruction of its file */
  size_t at = find_object(r, address);
  if (at < r->objects && covers(r->object[at], address)) return r->object[at];
  /* Two threads saw it at once: one told of it, the other's call has the smaller number. */
  for (size_t i = 0; i < r->slots && r->objects_waiting > 0; i++) {
    unsigned looked = 0;
    for (const struct trace_object *o = r->slot[i].object; o != NULL && looked < 64; o = o->next, looked++) {
      if (covers(o, address)) return o;
    }
  }
  return NULL;
}

const struct module *trace_module(const struct process *process, unsigned id)
{
  const struct reader *r = reader_of(process);
  return id < r->modules && r->module[id].known ? &r->module[id].pub : NULL;
}

size_t trace_modules(const struct process *process, uint16_t *ids, size_t room)
{
  const struct reader *r = reader_of(process);
  size_t n = 0;
  for (size_t i = 0; i < r->modules; i++) {
    if (!r->module[i].known) continue;
    if (n < room) ids[n] = (uint16_t)i;
    n++;
  }
  return n;
}

size_t trace_lists(const struct process *process, unsigned id, const struct trace_list **list)
{
  const struct reader *r = reader_of(process);
  *list = id < r->modules ? r->module[id].list : NULL;
  return *list == NULL ? 0 : r->module[id].lists;
}

void trace_address(const struct process *process, uint64_t address, char *text, size_t size)
{
  const struct trace_object *o = trace_object(process, address);
  if (o != NULL) {
    snprintf(text, size, "%s+0x%" PRIx64, o->name, address - o->address);
  } else {
    snprintf(text, size, "0x%" PRIx64, address);
  }
}

void table_free(struct reader *r)
{
  for (size_t i = 0; i < r->modules; i++) free(r->module[i].list);
  free(r->module);
  free(r->object);
}
