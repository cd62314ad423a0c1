/* Attributes, mechanisms and members of structures (FORMAT.md, section 4, below the table). */
#include "decoder/read/reader.h"

static bool deeper(struct decode *d)
{
  if (d->depth < MAX_NESTING) {
    d->depth++;
    return true;
  }
  cursor_fail(&d->c);
  return false;
}

static struct value *one(struct decode *d, struct value *v)
{
  v->item = decode_items(d, 1);
  v->count = v->item == NULL ? 0 : 1;
  return v->item;
}

void decode_attributes(struct decode *d, struct value *v)
{
  uint64_t count = get_n(&d->c);
  v->what = VALUE_TEMPLATE;
  if (!deeper(d)) return;
  v->item = decode_items(d, count);
  v->count = d->c.bad ? 0 : (size_t)count;
  for (size_t i = 0; i < v->count && !d->c.bad; i++) {
    struct value *a = &v->item[i];
    a->what = VALUE_ATTRIBUTE;
    a->number = get_u(&d->c);
    a->pointer = get_u8(&d->c);
    a->length = get_u(&d->c);
    struct value *inner = one(d, a);
    if (inner == NULL) break;
    inner->pointer = a->pointer;
    decode_v(d, inner);
  }
  d->depth--;
}

void decode_mechanism(struct decode *d, struct value *v)
{
  v->what = VALUE_MECHANISM;
  v->number = get_u(&d->c);
  uint8_t pointer = get_u8(&d->c);
  uint64_t length = get_u(&d->c), number = get_n(&d->c);
  struct value *parameter = one(d, v);
  if (parameter == NULL) return;
  if (number > UINT16_MAX) {
    cursor_fail(&d->c);
    return;
  }
  if (number == 0) {
    decode_v(d, parameter);
    /* The length of the parameter as given, also where no bytes of it are kept. */
    if (parameter->form == P11T_V_NULL) parameter->length = length;
  } else {
    decode_struct(d, parameter, (unsigned)number, P11_IN);
    parameter->length = length;
  }
  parameter->pointer = pointer;
}

static void several(struct decode *d, struct value *v, unsigned number, unsigned direction)
{
  uint64_t count = get_n(&d->c);
  v->what = VALUE_LIST;
  v->item = decode_items(d, count);
  v->count = d->c.bad ? 0 : (size_t)count;
  for (size_t i = 0; i < v->count && !d->c.bad; i++) decode_struct(d, &v->item[i], number, direction);
}

static void member(struct decode *d, const struct p11_field *f, struct value *v, unsigned direction)
{
  struct cursor *c = &d->c;
  switch (f->kind) {
    case P11_FK_NUMBER:
    case P11_FK_ENUM:
    case P11_FK_FLAGS:
    case P11_FK_BOOL:
    case P11_FK_HANDLE:
    case P11_FK_SLOT:
      v->what = VALUE_NUMBER;
      v->number = get_u(c);
      return;
    case P11_FK_CHARS:
    case P11_FK_ARRAY:
      v->pointer = P11T_P_OWN;
      decode_v(d, v);
      return;
    case P11_FK_VERSION:
      v->what = VALUE_VERSION;
      v->pointer = P11T_P_OWN;
      v->number = (uint64_t)get_u8(c) << 8;
      v->number |= get_u8(c);
      return;
    case P11_FK_STRUCT:
      decode_struct(d, v, f->ref, direction);
      v->pointer = P11T_P_OWN;
      return;
    default: break;
  }
  v->what = VALUE_POINTER;
  v->pointer = get_u8(c);
  if (v->pointer == P11T_P_NULL || v->pointer == P11T_P_UNREADABLE) return;
  uint8_t pointer = v->pointer;
  switch (f->kind) {
    case P11_FK_BYTES:
    case P11_FK_BITS:
    case P11_FK_BYTES_OF:
    case P11_FK_BYTES_AT: decode_v(d, v); break;
    case P11_FK_PVERSION:
      v->what = VALUE_VERSION;
      v->number = (uint64_t)get_u8(c) << 8;
      v->number |= get_u8(c);
      break;
    case P11_FK_PSTRUCT: decode_struct(d, v, f->ref, direction); break;
    case P11_FK_STRUCTS: several(d, v, f->ref, direction); break;
    case P11_FK_TEMPLATE: decode_attributes(d, v); break;
    case P11_FK_MECHANISM: decode_mechanism(d, v); break;
    case P11_FK_PNUMBER:
    case P11_FK_PHANDLE:
      v->what = VALUE_NUMBER;
      v->number = get_u(c);
      break;
    case P11_FK_POINTER: break;
    default: cursor_fail(c); break;
  }
  v->pointer = pointer;
}

/* The members that ENTER (P11_IN) or LEAVE (P11_OUT) holds, in the order of the structure. */
void decode_struct(struct decode *d, struct value *v, unsigned number, unsigned direction)
{
  const struct p11_struct *s = schema_struct(d->reader, number);
  uint64_t count = get_n(&d->c);
  v->what = VALUE_STRUCT;
  v->structure = (uint16_t)number;
  if (s == NULL || count > s->count || !deeper(d)) {
    cursor_fail(&d->c);
    return;
  }
  v->item = decode_items(d, count);
  unsigned field = 0;
  for (uint64_t i = 0; i < count && !d->c.bad; i++) {
    while (field < s->count && (s->field[field].direction & direction) == 0) field++;
    if (field == s->count) {
      cursor_fail(&d->c);
      break;
    }
    v->item[i].member = (uint16_t)field;
    member(d, &s->field[field], &v->item[i], direction);
    v->count = (size_t)i + 1;
    field++;
  }
  d->depth--;
}
