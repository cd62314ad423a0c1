/* The SCHEMA frame to function descriptions; FORMAT.md, section 2. */
#include <stdlib.h>
#include <string.h>

#include "decoder/read/reader.h"

/* Names of a list, NUL-terminated, one after another. */
static const char *get_name(struct cursor *c)
{
  const uint8_t *end = cursor_left(c) == 0 ? NULL : memchr(c->at, 0, cursor_left(c));
  if (end == NULL) {
    cursor_fail(c);
    return "";
  }
  const char *name = (const char *)c->at;
  c->at = end + 1;
  return name;
}

/* What the trace does not say, our own table does, where it means the same parameter. */
static void complete(struct p11_function_info *f, int known)
{
  const struct p11_function_info *ours = known < 0 ? NULL : &p11_functions[known];
  f->group = ours == NULL ? P11_GROUP_GENERAL : ours->group;
  f->class = ours == NULL ? P11_CLASS_STATIC : ours->class;
  for (unsigned i = 0; i < f->arity && i < MAX_PARAMS; i++) {
    struct p11_param *p = &f->param[i];
    const struct p11_param *o = ours != NULL && i < ours->arity ? &ours->param[i] : NULL;
    bool same = o != NULL && o->kind == p->kind;
    p->type = same ? o->type : "CK_ULONG";
    p->secrecy = same ? o->secrecy : P11_SECRET;
    p->compare = same ? o->compare : P11_CMP_IGNORE;
    if (same && o->aux > UINT8_MAX) p->aux = o->aux; /* one byte in the trace */
  }
}

/* Structures that are not in the base list: kind, direction and name of each member. */
static void additional(struct reader *r, struct cursor *c)
{
  uint64_t count = get_n(c);
  if (count > cursor_left(c)) cursor_fail(c);
  if (c->bad || count == 0) return;
  r->structure = arena_alloc(&r->texts, (size_t)count * sizeof *r->structure);
  r->structure_number = arena_alloc(&r->texts, (size_t)count * sizeof *r->structure_number);
  for (uint64_t i = 0; i < count && !c->bad; i++) {
    size_t size, length;
    const uint8_t *bytes = get_s(c, &size);
    struct cursor s = cursor_of(bytes, size);
    uint64_t number = get_n(&s);
    const uint8_t *name = get_s(&s, &length);
    const char *text = name == NULL ? "" : arena_text(&r->texts, name, length);
    uint64_t members = get_n(&s);
    if (s.bad || number > UINT16_MAX || members > cursor_left(&s) || members > UINT16_MAX) continue;
    struct p11_field *field = arena_alloc(&r->texts, (size_t)members * sizeof *field);
    for (uint64_t k = 0; k < members; k++) {
      field[k].kind = get_u8(&s);
      field[k].direction = get_u8(&s);
      field[k].ref = (uint16_t)get_n(&s);
      field[k].secrecy = P11_SECRET;
      name = get_s(&s, &length);
      field[k].name = name == NULL ? "" : arena_text(&r->texts, name, length);
    }
    if (s.bad) continue;
    r->structure[r->structures] = (struct p11_struct){text, 0, (uint16_t)members, field};
    r->structure_number[r->structures++] = (uint16_t)number;
  }
}

const struct p11_struct *schema_struct(const struct reader *r, unsigned number)
{
  const struct p11_struct *ours = p11_struct_info(number);
  if (ours != NULL) return ours;
  for (size_t i = 0; i < r->structures; i++) {
    if (r->structure_number[i] == number) return &r->structure[i];
  }
  return NULL;
}

const struct p11_struct *trace_struct(const struct process *process, unsigned number)
{
  return schema_struct(reader_of(process), number);
}

bool schema_parse(struct reader *r, const uint8_t *bytes, size_t length)
{
  struct cursor c = cursor_of(arena_text(&r->texts, bytes, length), length);
  uint64_t descriptors = get_n(&c);
  const uint8_t *kind = get_bytes(&c, descriptors), *link = get_bytes(&c, descriptors),
                *aux = get_bytes(&c, descriptors);
  if (c.bad) return false;
  const char **name = arena_alloc(&r->texts, (size_t)descriptors * sizeof *name);
  for (uint64_t i = 0; i < descriptors; i++) name[i] = get_name(&c);
  uint64_t count = get_n(&c);
  const uint8_t *major = get_bytes(&c, count), *minor = get_bytes(&c, count), *arity = get_bytes(&c, count);
  if (c.bad) return false;
  struct p11_function_info *f = arena_alloc(&r->texts, (size_t)count * sizeof *f);
  int16_t *known = arena_alloc(&r->texts, (size_t)count * sizeof *known);
  for (uint64_t i = 0; i < count; i++) f[i].name = get_name(&c);
  for (uint64_t i = 0; i < count && !c.bad; i++) {
    f[i].since = (uint16_t)(major[i] << 8 | minor[i]);
    f[i].arity = arity[i] < MAX_PARAMS ? arity[i] : MAX_PARAMS;
    for (unsigned k = 0; k < arity[i]; k++) {
      uint64_t d = get_n(&c);
      if (d >= descriptors) cursor_fail(&c);
      if (c.bad || k >= MAX_PARAMS) continue;
      int at = (int)k + 1 + (int8_t)link[d], value = aux[d];
      struct p11_param *p = &f[i].param[k];
      p->name = name[d];
      p->kind = kind[d];
      if (kind[d] == P11_K_OUT_OBJECTS) value = (int)k + 1 + (int8_t)aux[d];
      p->link = link[d] != 0 && at >= 1 && at <= MAX_PARAMS ? (uint8_t)at : 0;
      p->aux = (uint16_t)(value < 0 ? 0 : value);
    }
    known[i] = (int16_t)p11_function_by_name(f[i].name);
    complete(&f[i], known[i]);
  }
  if (c.bad) return false;
  r->function = f;
  r->known = known;
  r->functions = (size_t)count;
  r->has_schema = true;
  additional(r, &c);
  return true;
}

void schema_own(struct reader *r)
{
  r->function = arena_alloc(&r->texts, sizeof p11_functions);
  memcpy(r->function, p11_functions, sizeof p11_functions);
  r->known = arena_alloc(&r->texts, P11_FUNCTIONS * sizeof *r->known);
  for (int i = 0; i < P11_FUNCTIONS; i++) r->known[i] = (int16_t)i;
  r->functions = P11_FUNCTIONS;
}
