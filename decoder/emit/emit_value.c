/* Values as C: constants by name, bytes as arrays, templates. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/emit/emit_part.h"
#include "decoder/replay/payload.h"

#define WRITTEN_OUT 1024      /* stand-ins that are longer are made by a loop */
#define ON_STACK 4096         /* arrays that are longer are static */
#define MOST_ROOM (64u << 20) /* recorded lengths beyond it are nothing that a module used */

bool emit_set_has(const struct emit_set *set, uint64_t number)
{
  return table_get(&set->known, number) != NULL;
}

void emit_set_add(struct emit_set *set, uint64_t number)
{
  if (emit_set_has(set, number)) return;
  table_put(&set->known, number, set);
  if ((set->count & (set->count - 1)) == 0)
    set->at = read_realloc(set->at, (set->count ? 2 * set->count : 1) * sizeof *set->at);
  set->at[set->count++] = number;
}

void emit_set_free(struct emit_set *set)
{
  table_clear(&set->known, NULL);
  free(set->at);
}

const char *emit_format(struct emit *e, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  char *text = read_vasprintf(format, args);
  va_end(args);
  const char *kept = arena_text(&e->arena, text, strlen(text));
  free(text);
  return kept;
}

const char *emit_name(struct emit *e, const char *base)
{
  return emit_format(e, "%s_%u", base, ++e->names);
}

const char *emit_number(struct emit *e, uint64_t value)
{
  if (value == UINT64_MAX) return "(CK_ULONG)-1";
  return emit_format(e, value < 65536 ? "%" PRIu64 : "0x%" PRIx64 "UL", value);
}

const char *emit_constant(struct emit *e, unsigned domain, uint64_t value)
{
  const char *name = domain == P11_DOM_NONE ? NULL : p11_constant_name(domain, value);
  if (!name) return value < 10 ? emit_format(e, "%" PRIu64, value) : emit_format(e, "0x%" PRIx64 "UL", value);
  emit_set_add(&e->constants, (uintptr_t)name);
  return name;
}

const char *emit_flags(struct emit *e, unsigned domain, uint64_t value)
{
  const char *text = NULL;
  for (uint64_t left = value; left && value != UINT64_MAX; left &= left - 1) {
    const char *bit = emit_constant(e, domain, left & (~left + 1));
    text = text ? emit_format(e, "%s | %s", text, bit) : bit;
  }
  return text ? text : emit_number(e, value);
}

const char *emit_object(struct emit *e, uint64_t handle)
{
  if (emit_set_has(&e->objects, handle)) return emit_format(e, "object_%" PRIu64, handle);
  return emit_number(e, handle);
}

struct emit_made *emit_made_of(const struct emit *e, const struct value *v)
{
  struct emit_made *made = emit_tagged(v) ? table_get(&e->made, v->number) : NULL;
  return made && made->length == v->length ? made : NULL;
}

/* As the standard's text in a string: every byte that is not plain is octal, which ends by itself. */
static void quoted(struct text *out, const uint8_t *bytes, size_t length)
{
  text_c(out, '"');
  for (size_t i = 0; i < length; i++) {
    const uint8_t c = bytes[i];
    if (c >= ' ' && c < 127 && c != '"' && c != '\\' && c != '?') {
      text_c(out, (char)c);
    } else {
      text_c(out, '\\');
      text_c(out, (char)('0' + (c >> 6)));
      text_c(out, (char)('0' + (c >> 3 & 7)));
      text_c(out, (char)('0' + (c & 7)));
    }
  }
  text_c(out, '"');
}

static void hexadecimal(struct text *out, const uint8_t *bytes, size_t length)
{
  text_c(out, '{');
  for (size_t i = 0; i < length; i++) {
    if (i % 16 == 0 && length > 16) text_s(out, "\n      ");
    text_s(out, "0x");
    text_hex(out, &bytes[i], 1);
    if (i + 1 < length) text_s(out, i % 16 == 15 ? "," : ", ");
  }
  text_c(out, '}');
}

static bool is_plain(const uint8_t *bytes, size_t length)
{
  for (size_t i = 0; i < length; i++)
    if (bytes[i] < ' ' || bytes[i] > 126) return false;
  return length > 0;
}

static void declare(struct emit *e, const char *name, uint64_t size)
{
  text_s(&e->before, size > ON_STACK ? "    static CK_BYTE " : "    CK_BYTE ");
  text_s(&e->before, name);
}

const char *emit_room(struct emit *e, const char *name, uint64_t room)
{
  if (room > MOST_ROOM) {
    e->use.some = true;
    return "some";
  }
  declare(e, name, room);
  text_s(&e->before, emit_format(e, "[%" PRIu64 "]%s;\n", room ? room : 1, room > ON_STACK ? "" : " = {0}"));
  return name;
}

static void stand_in_text(struct emit *e, const char *name, const struct value *v, uint64_t size)
{
  static const char why[] = "not recorded: a stand-in of the same length";
  e->call_stands_in = true;
  declare(e, name, size);
  if (v->length > WRITTEN_OUT) {
    text_s(&e->before, emit_format(e, "[%" PRIu64 "]; /* %s */\n", size, why));
    text_s(&e->before, emit_format(e, "    fill(%s, %" PRIu64 ", %uu);\n", name, v->length, (unsigned)v->number | 1));
    e->use.fill = true;
    return;
  }
  uint8_t *bytes = arena_alloc(&e->arena, v->length + 1);
  stand_in(v, bytes);
  text_s(&e->before, emit_format(e, "[%" PRIu64 "] = ", size));
  hexadecimal(&e->before, bytes, v->length);
  text_s(&e->before, emit_format(e, "; /* %s */\n", why));
}

const char *emit_bytes(struct emit *e, const char *name, const struct value *v, uint64_t room, bool text,
                       const char **length)
{
  if (length) *length = emit_number(e, v->length);
  if (v->pointer == P11T_P_NULL || v->form == P11T_V_NULL) {
    if (v->pointer != P11T_P_NULL) return emit_room(e, name, room ? room : v->length);
    return "NULL";
  }
  const struct emit_made *made = emit_made_of(e, v);
  if (made && made->out && room == 0) {
    if (length) *length = emit_format(e, "made_%u_length", made->number);
    return emit_format(e, "made_%u", made->number);
  }
  uint64_t size = v->length > room ? v->length : room;
  if (v->length > MOST_ROOM || v->form == P11T_V_UNAVAILABLE) {
    e->use.some = true;
    return "some";
  }
  if (size == 0 || (v->form == P11T_V_UNREAD && !e->unread_matters)) return emit_room(e, name, size);
  if (v->form == P11T_V_UNREAD) {
    /* Not zeros: their signature with bare RSA is good. */
    struct value other = *v;
    other.number = ++e->names;
    stand_in_text(e, name, &other, size);
    return name;
  }
  if (v->form != P11T_V_FULL && v->form != P11T_V_CUT) {
    stand_in_text(e, name, v, size);
    return name;
  }
  declare(e, name, size);
  if (text && size == v->kept && is_plain(v->bytes, v->kept)) {
    text_s(&e->before, "[] = ");
    quoted(&e->before, v->bytes, v->kept);
    text_s(&e->before, ";\n");
    return name;
  }
  text_s(&e->before, emit_format(e, "[%" PRIu64 "] = ", size));
  hexadecimal(&e->before, v->bytes, v->kept);
  if (v->kept < v->length) e->call_stands_in = true;
  text_s(&e->before, v->kept < v->length ? "; /* recorded up to here */\n" : ";\n");
  return name;
}

/* "CKA_KEY_TYPE" to "key_type"; "value" for what has no name. */
static const char *attribute_base(struct emit *e, uint64_t type)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  if (!info) return "value";
  char *name = arena_text(&e->arena, info->name + 4, strlen(info->name + 4));
  for (char *c = name; *c; c++)
    if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
  return name;
}

static const char *numbers(struct emit *e, const char *name, const struct value *v, unsigned domain)
{
  const char *text = NULL;
  for (size_t i = 0; i < v->count; i++) {
    const char *one = emit_constant(e, domain, v->item[i].number);
    text = text ? emit_format(e, "%s, %s", text, one) : one;
  }
  text_s(&e->before, emit_format(e, "    CK_ULONG %s[] = {%s};\n", name, text ? text : "0"));
  return name;
}

/* The value of one attribute; *length its length. */
static const char *attribute(struct emit *e, const struct value *a, bool asked, const char **length)
{
  const struct p11_attribute_info *info = p11_attribute(a->number);
  *length = emit_number(e, a->length);
  if (a->pointer == P11T_P_NULL) return "NULL";
  const char *name = emit_name(e, attribute_base(e, a->number));
  const struct value *v = a->count ? &a->item[0] : NULL;
  if (asked || !v || v->what == VALUE_NONE) return emit_room(e, name, a->length == UINT64_MAX ? 1 : a->length);
  switch (v->what) {
    case VALUE_NUMBER:
      *length = emit_format(e, "sizeof %s", name);
      if (v->form == P11T_V_BOOL) {
        const char *truth = v->number == 1 ? "CK_TRUE" : v->number == 0 ? "CK_FALSE" : emit_number(e, v->number);
        text_s(&e->before, emit_format(e, "    CK_BBOOL %s = %s;\n", name, truth));
        return emit_format(e, "&%s", name);
      }
      const char *number =
          info && info->kind == P11_A_ENUM ? emit_constant(e, info->domain, v->number) : emit_number(e, v->number);
      text_s(&e->before, emit_format(e, "    CK_ULONG %s = %s;\n", name, number));
      return emit_format(e, "&%s", name);
    case VALUE_LIST:
      *length = emit_format(e, "%zu * sizeof(CK_ULONG)", v->count);
      return numbers(e, name, v, info && info->kind == P11_A_MECHANISMS ? P11_DOM_CKM : P11_DOM_NONE);
    case VALUE_TEMPLATE:
      *length = emit_format(e, "%zu * sizeof(CK_ATTRIBUTE)", v->count);
      return emit_template(e, name, v, false);
    case VALUE_BYTES: {
      const bool text = info && (info->kind == P11_A_TEXT || info->kind == P11_A_DATE);
      return emit_bytes(e, name, v, 0, text, NULL);
    }
    default: return emit_room(e, name, a->length);
  }
}

const char *emit_template(struct emit *e, const char *name, const struct value *v, bool asked)
{
  if (v->pointer == P11T_P_NULL) return "NULL";
  if (v->count == 0) {
    text_s(&e->before, emit_format(e, "    CK_ATTRIBUTE %s[1] = {{0, NULL, 0}};\n", name));
    return name;
  }
  const char **line = arena_alloc(&e->arena, v->count * sizeof *line);
  for (size_t i = 0; i < v->count; i++) {
    const struct value *a = &v->item[i];
    const char *length, *value = attribute(e, a, asked, &length);
    line[i] = emit_format(e, "        {%s, %s, %s},\n", emit_constant(e, P11_DOM_CKA, a->number), value, length);
  }
  text_s(&e->before, emit_format(e, "    CK_ATTRIBUTE %s[] = {\n", name));
  for (size_t i = 0; i < v->count; i++) text_s(&e->before, line[i]);
  text_s(&e->before, "    };\n");
  return name;
}
