/* Values as JSON.md describes them. */
#include <stdlib.h>

#include "decoder/show/json.h"
#include "decoder/show/value_part.h"
#include "decoder/show/x509.h"

#define K(literal) JSON_KEY(out, literal)

static void put_pointer(struct text *out, unsigned class)
{
  if (class == P11T_P_NULL || class == P11T_P_OWN) return;
  if (class >= P11T_P_SAME) {
    text_s(out, class >= P11T_P_OVERLAP ? ",\"pointer\":\"overlap:" : ",\"pointer\":\"same:");
    text_u(out, class % P11T_P_SAME);
    text_c(out, '"');
  } else {
    K(",\"pointer\":\"unreadable\"");
  }
}

static void put_name(struct text *out, unsigned domain, uint64_t value)
{
  const char *name = p11_constant_name(domain, value);
  if (name == NULL) return;
  K(",\"name\":\"");
  text_s(out, name);
  text_c(out, '"');
}

static void put_number(struct text *out, const struct value *v, struct meaning meaning)
{
  const bool boolean = v->form == P11T_V_BOOL || meaning.as == AS_BOOL;
  if (boolean) {
    K("{\"type\":\"bool\"");
  } else {
    K("{\"type\":\"number\"");
  }
  put_pointer(out, v->pointer);
  K(",\"value\":");
  json_number(out, v->number);
  if (!boolean && meaning.as == AS_ENUM) put_name(out, meaning.domain, v->number);
  if (!boolean && meaning.as == AS_FLAGS) {
    K(",\"names\":");
    json_flag_names(out, meaning.domain, v->number);
  }
  text_c(out, '}');
}

static void put_shape(struct text *out, unsigned shape)
{
  static const char *const name[] = {"same", "zero", "der", "text"};
  if ((shape & 15) == 0) return;
  K(",\"shape\":");
  char next = '[';
  for (int i = 0; i < 4; i++) {
    if (!(shape >> i & 1)) continue;
    text_c(out, next);
    text_c(out, '"');
    text_s(out, name[i]);
    text_c(out, '"');
    next = ',';
  }
  text_c(out, ']');
}

static bool is_utf8(const uint8_t *bytes, size_t size)
{
  uint32_t code;
  for (size_t n; size > 0; bytes += n, size -= n) {
    n = text_character(bytes, size, &code);
    if (n == 0) return false;
  }
  return true;
}

/* What the bytes mean, where a table says so. */
static void put_derived(struct text *out, const struct value *v, struct meaning meaning)
{
  if (meaning.as == AS_TEXT || meaning.as == AS_CHARS || meaning.as == AS_DATE) {
    size_t size = meaning.as == AS_CHARS ? chars_length(v->bytes, v->kept) : v->kept;
    if (!is_utf8(v->bytes, size)) return;
    K(",\"text\":");
    text_json(out, v->bytes, size);
  } else if (meaning.as == AS_NAME) {
    char *name = x509_name(v->bytes, v->kept);
    if (name != NULL) json_outside(out, "dn", name, strlen(name));
    free(name);
  } else if (meaning.as == AS_CERT) {
    struct text shown;
    text_open(&shown, -1);
    if (x509_show(&shown, v->bytes, v->kept)) {
      json_outside(out, "certificate", shown.base, (size_t)(shown.at - shown.base));
    }
    text_close(&shown);
  }
}

static void put_bytes(struct text *out, const struct value *v, struct meaning meaning)
{
  static const char *const form[] = {"null",       "full",   "cut",    "tag",  "sealed",   "unread",   "unavailable",
                                     "dictionary", "length", "number", "bool", "template", "deferred", "numbers"};
  K("{\"type\":\"bytes\"");
  put_pointer(out, v->pointer);
  K(",\"form\":\"");
  text_s(out, v->form < sizeof form / sizeof *form ? form[v->form] : "unknown");
  text_c(out, '"');
  if (v->form != P11T_V_NULL && v->form != P11T_V_UNAVAILABLE) {
    K(",\"length\":");
    json_number(out, v->length);
  }
  if (v->form == P11T_V_FULL || v->form == P11T_V_CUT || v->form == P11T_V_SEALED) {
    K(",\"hex\":");
    json_hex(out, v->bytes, v->kept);
  }
  if (v->form == P11T_V_FULL) put_derived(out, v, meaning);
  if (v->form == P11T_V_TAG) {
    uint8_t tag[8];
    for (int i = 0; i < 8; i++) tag[i] = (uint8_t)(v->number >> (56 - 8 * i));
    K(",\"tag\":");
    json_hex(out, tag, 8);
    put_shape(out, v->shape);
  }
  text_c(out, '}');
}

static void put_version(struct text *out, const struct value *v)
{
  K("{\"type\":\"version\"");
  put_pointer(out, v->pointer);
  K(",\"version\":\"");
  show_version(out, v->number);
  K("\"}");
}

/* `after` the call what was stored is said as it was recorded, the NULL pointers of before are not repeated. */
static void put_attribute(struct text *out, const struct value *v, bool after)
{
  K("{\"attribute\":");
  json_number(out, v->number);
  put_name(out, P11_DOM_CKA, v->number);
  put_pointer(out, v->pointer);
  K(",\"length\":");
  json_number(out, v->length);
  if (v->pointer == P11T_P_NULL && !after) {
    K(",\"value\":null");
  } else if (v->count > 0 && v->item[0].what != VALUE_NONE) {
    K(",\"value\":");
    (after ? json_after : json_value)(out, &v->item[0], meaning_of_attribute(v->number));
  }
  text_c(out, '}');
}

static void put_template(struct text *out, const struct value *v, bool after)
{
  K("{\"type\":\"template\"");
  put_pointer(out, v->pointer);
  K(",\"attributes\":[");
  for (size_t i = 0; i < v->count; i++) {
    if (i > 0) text_c(out, ',');
    put_attribute(out, &v->item[i], after);
  }
  K("]}");
}

static void put_mechanism(struct text *out, const struct value *v)
{
  K("{\"type\":\"mechanism\"");
  put_pointer(out, v->pointer);
  K(",\"mechanism\":");
  json_number(out, v->number);
  put_name(out, P11_DOM_CKM, v->number);
  if (v->count > 0) {
    K(",\"length\":");
    json_number(out, v->item[0].length);
    K(",\"parameter\":");
    if (v->item[0].pointer == P11T_P_NULL) {
      K("null");
    } else {
      json_value(out, &v->item[0], meaning_of_parameter(v->number));
    }
  }
  text_c(out, '}');
}

static void put_struct(struct text *out, const struct value *v)
{
  const struct p11_struct *info = p11_struct_info(v->structure);
  K("{\"type\":\"struct\"");
  put_pointer(out, v->pointer);
  K(",\"struct\":");
  text_json(out, info != NULL ? info->name : "", info != NULL ? strlen(info->name) : 0);
  K(",\"number\":");
  text_u(out, v->structure);
  K(",\"members\":{");
  bool any = false;
  for (size_t i = 0; i < v->count; i++) {
    const struct value *m = &v->item[i];
    if (info == NULL || m->member >= info->count || m->what == VALUE_NONE) continue;
    if (any) text_c(out, ',');
    text_c(out, '"');
    text_s(out, info->field[m->member].name);
    K("\":");
    json_value(out, m, meaning_of_field(&info->field[m->member]));
    any = true;
  }
  K("}}");
}

static void put_list(struct text *out, const struct value *v, struct meaning meaning)
{
  K("{\"type\":\"list\"");
  put_pointer(out, v->pointer);
  K(",\"items\":[");
  for (size_t i = 0; i < v->count; i++) {
    if (i > 0) text_c(out, ',');
    json_value(out, &v->item[i], meaning);
  }
  K("]}");
}

static void put_interface(struct text *out, const struct value *v)
{
  K("{\"type\":\"interface\"");
  put_pointer(out, v->pointer);
  json_outside(out, "name", v->bytes != NULL ? (const void *)v->bytes : "", v->bytes != NULL ? v->kept : 0);
  K(",\"version\":\"");
  show_version(out, v->number);
  K("\",\"flags\":");
  json_number(out, v->length);
  text_c(out, '}');
}

static void put_init_args(struct text *out, const struct value *v)
{
  static const char *const reserved[] = {"null", "ours", "text", "other"};
  K("{\"type\":\"init_args\"");
  put_pointer(out, v->pointer);
  K(",\"callbacks\":");
  text_u(out, v->length);
  K(",\"flags\":");
  json_number(out, v->number);
  K(",\"reserved\":\"");
  text_s(out, v->shape < 4 ? reserved[v->shape] : "other");
  text_c(out, '"');
  if (v->count > 0 && v->item[0].what != VALUE_NONE) {
    K(",\"value\":");
    json_after(out, &v->item[0], (struct meaning){AS_TEXT, P11_DOM_NONE});
  }
  text_c(out, '}');
}

void json_value(struct text *out, const struct value *v, struct meaning meaning)
{
  /* NULL pointers: those kinds of values that are always behind one, or that nothing was found in. */
  if (v->pointer == P11T_P_NULL && v->count == 0) {
    bool null = v->what == VALUE_POINTER || v->what == VALUE_TEMPLATE || v->what == VALUE_MECHANISM ||
                v->what == VALUE_INIT_ARGS || v->what == VALUE_VERSION || v->what == VALUE_LIST ||
                (v->what == VALUE_BYTES && v->form == P11T_V_NULL);
    if (null) {
      K("null");
      return;
    }
  }
  switch ((enum value_what)v->what) {
    case VALUE_NONE: K("null"); return;
    case VALUE_NUMBER: put_number(out, v, meaning); return;
    case VALUE_POINTER:
      K("{\"type\":\"pointer\"");
      put_pointer(out, v->pointer);
      text_c(out, '}');
      return;
    case VALUE_BYTES: put_bytes(out, v, meaning); return;
    case VALUE_VERSION: put_version(out, v); return;
    case VALUE_TEMPLATE: put_template(out, v, false); return;
    case VALUE_ATTRIBUTE: put_attribute(out, v, false); return;
    case VALUE_MECHANISM: put_mechanism(out, v); return;
    case VALUE_STRUCT: put_struct(out, v); return;
    case VALUE_LIST: put_list(out, v, meaning); return;
    case VALUE_INTERFACE: put_interface(out, v); return;
    case VALUE_INIT_ARGS: put_init_args(out, v); return;
  }
}

void json_after(struct text *out, const struct value *v, struct meaning meaning)
{
  switch (v->what) {
    case VALUE_BYTES: put_bytes(out, v, meaning); return;
    case VALUE_LIST: put_list(out, v, meaning); return;
    case VALUE_TEMPLATE: put_template(out, v, true); return;
    default: json_value(out, v, meaning); return;
  }
}
