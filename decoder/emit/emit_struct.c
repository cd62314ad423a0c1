/* Mechanisms and the structures of structures.def. The program defines those that it uses itself, under a name of its own:
 * headers differ in which they have. */
#include <inttypes.h>

#include "decoder/emit/emit_part.h"

static const struct value *member_of(const struct value *v, unsigned member)
{
  if (!v || v->what != VALUE_STRUCT) return NULL;
  for (size_t i = 0; i < v->count; i++)
    if (v->item[i].member == member) return &v->item[i];
  return NULL;
}

/* What the member at `offset` says as a number; 0 when it is not recorded. */
static uint64_t length_at(const struct p11_struct *s, const struct value *in, const struct value *out, unsigned offset)
{
  for (unsigned i = 0; i < s->count; i++) {
    if (s->field[i].offset != offset) continue;
    const struct value *v = member_of(in, i);
    if (!v) v = member_of(out, i);
    return v && v->what == VALUE_NUMBER ? v->number : 0;
  }
  return 0;
}

static const char *list_of_bytes(struct emit *e, const struct value *v)
{
  const char *text = NULL;
  for (size_t i = 0; i < v->kept; i++)
    text = text ? emit_format(e, "%s, 0x%02x", text, v->bytes[i]) : emit_format(e, "0x%02x", v->bytes[i]);
  return emit_format(e, "{%s}", text ? text : "0");
}

static const char *pointer_to_number(struct emit *e, const char *name, const char *type, const char *value)
{
  text_s(&e->before, emit_format(e, "    %s %s = %s;\n", type, name, value));
  return emit_format(e, "&%s", name);
}

static const char *structures(struct emit *e, const char *name, const struct p11_field *f, const struct value *v)
{
  const struct p11_struct *s = p11_struct_info(f->ref);
  const char *text = NULL;
  if (!s) return "NULL";
  for (size_t i = 0; i < v->count; i++) {
    const char *one = emit_struct(e, emit_name(e, f->name), &v->item[i], NULL);
    if (!one) return "NULL";
    text = text ? emit_format(e, "%s, %s", text, one) : one;
  }
  if (!text) return "NULL";
  emit_set_add(&e->structures, f->ref);
  text_s(&e->before, emit_format(e, "    REPRO_%s %s[] = {%s};\n", s->name, name, text));
  return name;
}

static uint64_t room_of(const struct p11_struct *s, const struct p11_field *f, const struct value *in,
                        const struct value *out)
{
  switch (f->kind) {
    case P11_FK_BYTES_OF: return f->ref;
    case P11_FK_BITS: return (length_at(s, in, out, f->link) + 7) / 8;
    default: return length_at(s, in, out, f->link);
  }
}

/* The value of one member. `v`: as given, or where only the module writes it, as it was left. */
static const char *member(struct emit *e, const struct p11_struct *s, const struct p11_field *f, const struct value *in,
                          const struct value *out, const struct value *v)
{
  switch (f->kind) {
    case P11_FK_NUMBER: return emit_number(e, v ? v->number : 0);
    case P11_FK_ENUM: return emit_constant(e, f->ref, v ? v->number : 0);
    case P11_FK_FLAGS: return emit_flags(e, f->ref, v ? v->number : 0);
    case P11_FK_BOOL: return !v || v->number == 0 ? "CK_FALSE" : v->number == 1 ? "CK_TRUE" : emit_number(e, v->number);
    case P11_FK_HANDLE: return f->direction == P11_OUT ? "0" : emit_object(e, v ? v->number : 0);
    case P11_FK_SLOT: return emit_number(e, v ? v->number : 0);
    case P11_FK_CHARS:
    case P11_FK_ARRAY: return v ? list_of_bytes(e, v) : "{0}";
    case P11_FK_VERSION:
      return v ? emit_format(e, "{%u, %u}", (unsigned)(v->number >> 8), (unsigned)(v->number & 255)) : "{0, 0}";
    case P11_FK_STRUCT: {
      const char *inner = v ? emit_struct(e, emit_name(e, f->name), v, NULL) : NULL;
      return inner ? inner : "{0}";
    }
    default: break;
  }
  if (v && v->pointer == P11T_P_NULL) return "NULL";
  const char *name = emit_name(e, f->name);
  switch (f->kind) {
    case P11_FK_BYTES:
    case P11_FK_BITS:
    case P11_FK_BYTES_OF:
    case P11_FK_BYTES_AT:
      if (v && v->what == VALUE_BYTES && f->direction != P11_OUT) return emit_bytes(e, name, v, 0, false, NULL);
      if (v && v->what == VALUE_BYTES && in && member_of(in, (unsigned)(f - s->field)) == v)
        return emit_bytes(e, name, v, room_of(s, f, in, out), false, NULL);
      return emit_room(e, name, room_of(s, f, in, out));
    case P11_FK_PVERSION:
      return pointer_to_number(
          e, name, "CK_VERSION",
          v ? emit_format(e, "{%u, %u}", (unsigned)(v->number >> 8), (unsigned)(v->number & 255)) : "{0, 0}");
    case P11_FK_PSTRUCT: {
      struct value empty = {.what = VALUE_STRUCT, .pointer = P11T_P_OWN, .structure = f->ref};
      const char *inner = emit_struct(e, name, v ? v : &empty, NULL);
      return inner ? emit_format(e, "&%s", inner) : "NULL";
    }
    case P11_FK_STRUCTS: return v ? structures(e, name, f, v) : "NULL";
    case P11_FK_TEMPLATE: return v ? emit_template(e, name, v, false) : "NULL";
    case P11_FK_MECHANISM: return v ? emit_format(e, "&%s", emit_mechanism(e, name, v, NULL)) : "NULL";
    case P11_FK_PNUMBER:
      return pointer_to_number(e, name, "CK_ULONG", emit_number(e, v && v->what == VALUE_NUMBER ? v->number : 0));
    case P11_FK_PHANDLE: return pointer_to_number(e, name, "CK_OBJECT_HANDLE", "0");
    default: e->use.some = true; return "some";
  }
}

const char *emit_struct(struct emit *e, const char *name, const struct value *in, const struct value *out)
{
  const struct p11_struct *s = in->what == VALUE_STRUCT ? p11_struct_info(in->structure) : NULL;
  if (!s) return NULL;
  emit_set_add(&e->structures, in->structure);
  const char **line = arena_alloc(&e->arena, s->count * sizeof *line);
  for (unsigned i = 0; i < s->count; i++) {
    const struct p11_field *f = &s->field[i];
    const struct value *v = member_of(in, i), *left = member_of(out, i);
    if (!v) v = left;
    line[i] = emit_format(e, "        .%s = %s,\n", f->name, member(e, s, f, in, out, v));
    /* A handle that the module stores there stands for the recorded one from now on. */
    if (f->kind == P11_FK_HANDLE && left && left->number && left->number != UINT64_MAX) {
      emit_set_add(&e->objects, left->number);
      text_s(&e->after, emit_format(e, "    object_%" PRIu64 " = %s.%s;\n", left->number, name, f->name));
    }
  }
  text_s(&e->before, emit_format(e, "    REPRO_%s %s = {\n", s->name, name));
  for (unsigned i = 0; i < s->count; i++) text_s(&e->before, line[i]);
  text_s(&e->before, "    };\n");
  return name;
}

/* The parameter, and its length. */
static const char *parameter(struct emit *e, const struct value *mechanism, const struct value *out,
                             const char **length)
{
  const struct value *v = mechanism->count ? &mechanism->item[0] : NULL;
  *length = "0";
  if (!v) return "NULL";
  *length = emit_number(e, v->length);
  if (v->pointer == P11T_P_NULL) return "NULL";
  const char *name = emit_name(e, "parameter");
  switch (v->what) {
    case VALUE_STRUCT: {
      const struct p11_struct *s = p11_struct_info(v->structure);
      const char *structure = emit_struct(e, name, v, out);
      if (!structure) return emit_room(e, name, v->length);
      if (s->size == v->length) *length = emit_format(e, "sizeof %s", name);
      return emit_format(e, "&%s", structure);
    }
    case VALUE_NUMBER: {
      const bool handle = p11_mechanism_plain(mechanism->number) == P11_PLAIN_HANDLE;
      *length = emit_format(e, "sizeof %s", name);
      return pointer_to_number(e, name, "CK_ULONG", handle ? emit_object(e, v->number) : emit_number(e, v->number));
    }
    case VALUE_VERSION:
      return pointer_to_number(e, name, "CK_VERSION",
                               emit_format(e, "{%u, %u}", (unsigned)(v->number >> 8), (unsigned)(v->number & 255)));
    case VALUE_BYTES: return emit_bytes(e, name, v, 0, false, NULL);
    default: return emit_room(e, name, v->length);
  }
}

const char *emit_mechanism(struct emit *e, const char *name, const struct value *in, const struct value *out)
{
  const char *length, *value = parameter(e, in, out && out->what == VALUE_STRUCT ? out : NULL, &length);
  text_s(&e->before, emit_format(e, "    CK_MECHANISM %s = {%s, %s, %s};\n", name,
                                 emit_constant(e, P11_DOM_CKM, in->number), value, length));
  return name;
}
