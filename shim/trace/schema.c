#include "shim/trace/schema.h"

#include <string.h>

#include "shim/spec/spec.h"
#include "shim/trace/format.h"

/* What a reader of a trace has to know of a parameter: the same description is written once. */
struct descriptor {
  const char *name;
  int8_t link, aux;
  uint8_t kind;
};

#define MAX_DESCRIPTORS 512

static struct descriptor describe(const struct p11_param *p, int position)
{
  struct descriptor d = {p->name, 0, (int8_t)p->aux, p->kind};
  if (p->link) d.link = (int8_t)(p->link - position);
  if (p->kind == P11_K_OUT_OBJECTS) d.aux = (int8_t)(p->aux - position);
  return d;
}

static size_t find(const struct descriptor *all, size_t count, struct descriptor d)
{
  size_t i = 0;
  while (i < count &&
         !(all[i].kind == d.kind && all[i].link == d.link && all[i].aux == d.aux && strcmp(all[i].name, d.name) == 0))
    i++;
  return i;
}

/* By the ends of their names, so that like stands beside like, which compresses. */
static int compare_ends(const char *a, const char *b)
{
  size_t m = strlen(a), n = strlen(b);
  while (m > 0 && n > 0) {
    if (a[--m] != b[--n]) return a[m] < b[n] ? -1 : 1;
  }
  return m > 0 ? 1 : n > 0 ? -1 : 0;
}

static void insert(struct descriptor *all, size_t count, struct descriptor d)
{
  while (count > 0 && compare_ends(all[count - 1].name, d.name) > 0) {
    all[count] = all[count - 1];
    count--;
  }
  all[count] = d;
}

/* Bounded appending. */
struct out {
  uint8_t *p, *end;
  int full;
};

static void put(struct out *o, const void *data, size_t size)
{
  if ((size_t)(o->end - o->p) < size) {
    o->full = 1;
    return;
  }
  memcpy(o->p, data, size);
  o->p += size;
}

static void put_u8(struct out *o, uint8_t v)
{
  put(o, &v, 1);
}
static void put_text(struct out *o, const char *s)
{
  put(o, s, strlen(s) + 1);
}

static void put_n(struct out *o, size_t v)
{
  for (; v >= 0x80; v >>= 7) put_u8(o, (uint8_t)v | 0x80);
  put_u8(o, (uint8_t)v);
}

size_t p11t_schema_build(uint8_t buffer[P11T_SCHEMA_MAX])
{
  struct descriptor all[MAX_DESCRIPTORS];
  uint16_t index[P11_FUNCTIONS][10];
  size_t count = 0;
  for (int f = 0; f < P11_FUNCTIONS; f++) {
    for (int i = 0; i < p11_functions[f].arity; i++) {
      struct descriptor d = describe(&p11_functions[f].param[i], i + 1);
      if (find(all, count, d) < count) continue;
      if (count == MAX_DESCRIPTORS) return 0;
      insert(all, count++, d);
    }
  }
  for (int f = 0; f < P11_FUNCTIONS; f++) {
    for (int i = 0; i < p11_functions[f].arity; i++) {
      index[f][i] = (uint16_t)find(all, count, describe(&p11_functions[f].param[i], i + 1));
    }
  }

  struct out o = {buffer, buffer + P11T_SCHEMA_MAX, 0};
  struct p11t_info blank = {0};
  put(&o, &blank, sizeof blank);
  put_n(&o, count);
  for (size_t i = 0; i < count; i++) put_u8(&o, all[i].kind);
  for (size_t i = 0; i < count; i++) put_u8(&o, (uint8_t)all[i].link);
  for (size_t i = 0; i < count; i++) put_u8(&o, (uint8_t)all[i].aux);
  for (size_t i = 0; i < count; i++) put_text(&o, all[i].name);
  put_n(&o, P11_FUNCTIONS);
  for (int f = 0; f < P11_FUNCTIONS; f++) put_u8(&o, (uint8_t)(p11_functions[f].since >> 8));
  for (int f = 0; f < P11_FUNCTIONS; f++) put_u8(&o, (uint8_t)p11_functions[f].since);
  for (int f = 0; f < P11_FUNCTIONS; f++) put_u8(&o, p11_functions[f].arity);
  for (int f = 0; f < P11_FUNCTIONS; f++) put_text(&o, p11_functions[f].name);
  for (int f = 0; f < P11_FUNCTIONS; f++) {
    for (int i = 0; i < p11_functions[f].arity; i++) put_n(&o, index[f][i]);
  }
  put_n(&o, 0); /* structures: none that the base list of format 1 does not have */
  put_n(&o, 0); /* constants: likewise */
  return o.full ? 0 : (size_t)(o.p - buffer);
}
