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

void table_object(struct reader *r, const struct record *record)
{
  struct cursor c = cursor_of(record->body, record->length);
  struct object o;
  size_t length;
  get_n(&c);
  o.address = get_u(&c);
  o.size = get_n(&c);
  get_s(&c, &length); /* build-id */
  const uint8_t *path = get_s(&c, &length);
  if (c.bad || r->objects >= MAX_TABLE) return;
  for (size_t i = r->objects; i-- > 0;) { /* every thread may tell of it */
    const struct object *old = &r->object[i];
    if (old->address == o.address && old->size == o.size) return;
  }
  if (r->objects == r->object_room) {
    r->object_room = r->object_room == 0 ? 32 : r->object_room * 2;
    r->object = read_realloc(r->object, r->object_room * sizeof *r->object);
  }
  const uint8_t *base = length == 0 ? NULL : memrchr(path, '/', length);
  if (base != NULL) {
    length -= (size_t)(base + 1 - path);
    path = base + 1;
  }
  o.name = arena_text(&r->texts, path, length);
  r->object[r->objects++] = o;
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
  const struct reader *r = reader_of(process);
  for (size_t i = r->objects; i-- > 0;) { /* the latest mapping counts */
    const struct object *o = &r->object[i];
    if (address - o->address < o->size) {
      snprintf(text, size, "%s+0x%" PRIx64, o->name, address - o->address);
      return;
    }
  }
  snprintf(text, size, "0x%" PRIx64, address);
}

void table_free(struct reader *r)
{
  for (size_t i = 0; i < r->modules; i++) free(r->module[i].list);
  free(r->module);
  free(r->object);
}
