/* Values as JSON.md describes them. */
#include <stdlib.h>

#include "decoder/seal/seal.h"
#include "decoder/show/json.h"
#include "decoder/show/value_part.h"
#include "decoder/show/x509.h"

static void put_pointer(json_t *o, unsigned class)
{
  if (class == P11T_P_NULL || class == P11T_P_OWN) return;
  if (class >= P11T_P_SAME) {
    const char *how = class >= P11T_P_OVERLAP ? "overlap" : "same";
    json_put(o, "pointer", json_sprintf("%s:%u", how, class % P11T_P_SAME));
  } else {
    json_put(o, "pointer", json_string("unreadable"));
  }
}

/* The beginning of every value. */
static json_t *typed(const char *type, const struct value *v)
{
  json_t *o = json_object();
  json_put(o, "type", json_string(type));
  put_pointer(o, v->pointer);
  return o;
}

static void put_name(json_t *o, unsigned domain, uint64_t value)
{
  const char *name = p11_constant_name(domain, value);
  if (name != NULL) json_put(o, "name", json_string(name));
}

static json_t *number(const struct value *v, struct meaning meaning)
{
  const bool boolean = v->form == P11T_V_BOOL || meaning.as == AS_BOOL;
  json_t *o = typed(boolean ? "bool" : "number", v);
  json_put(o, "value", json_number(v->number));
  if (!boolean && meaning.as == AS_ENUM) put_name(o, meaning.domain, v->number);
  if (!boolean && meaning.as == AS_FLAGS) json_put(o, "names", json_flag_names(meaning.domain, v->number));
  return o;
}

static void put_shape(json_t *o, unsigned shape)
{
  static const char *const name[] = {"same", "zero", "der", "text"};
  if ((shape & 15) == 0) return;
  json_t *list = json_array();
  for (int i = 0; i < 4; i++) {
    if (shape >> i & 1) json_add(list, json_string(name[i]));
  }
  json_put(o, "shape", list);
}

/* What the bytes mean, where a table says so. */
static void put_derived(json_t *o, const struct value *v, struct meaning meaning)
{
  if (meaning.as == AS_TEXT || meaning.as == AS_CHARS || meaning.as == AS_DATE) {
    json_t *text = json_utf8(v->bytes, meaning.as == AS_CHARS ? chars_length(v->bytes, v->kept) : v->kept);
    if (text != NULL) json_put(o, "text", text);
  } else if (meaning.as == AS_NAME) {
    char *name = x509_name(v->bytes, v->kept);
    json_text(o, "dn", name);
    free(name);
  } else if (meaning.as == AS_CERT) {
    struct text shown;
    text_open(&shown, -1);
    if (x509_show(&shown, v->bytes, v->kept)) {
      json_outside(o, "certificate", shown.base, (size_t)(shown.at - shown.base));
    }
    text_close(&shown);
  }
}

/* Without the key a sealed value is what a tag says; the box itself is of no use to anybody. */
static void put_sealed(json_t *o, const struct value *v)
{
  static const char *const class[] = {"", "data", "secret", "pin"};
  const unsigned of = seal_class_of(v);
  if (of > 0 && of < sizeof class / sizeof *class) json_put(o, "class", json_string(class[of]));
  json_put(o, "kept", json_number(seal_room(v)));
}

static json_t *bytes(const struct value *v, struct meaning meaning)
{
  static const char *const form[] = {"null",       "full",   "cut",    "tag",  "sealed",   "unread",   "unavailable",
                                     "dictionary", "length", "number", "bool", "template", "deferred", "numbers"};
  json_t *o = typed("bytes", v);
  json_put(o, "form", json_string(v->form < sizeof form / sizeof *form ? form[v->form] : "unknown"));
  if (v->form != P11T_V_NULL && v->form != P11T_V_UNAVAILABLE) json_put(o, "length", json_number(v->length));
  if (v->form == P11T_V_FULL || v->form == P11T_V_CUT) {
    json_put(o, "hex", json_hex(v->bytes, v->kept));
  }
  if (v->form == P11T_V_FULL) put_derived(o, v, meaning);
  if (v->form == P11T_V_SEALED) put_sealed(o, v);
  if (value_is_tagged(v)) {
    json_put(o, "tag", json_sprintf("%016jx", (uintmax_t)v->number));
    put_shape(o, v->shape);
  }
  return o;
}

static json_t *version(const struct value *v)
{
  json_t *o = typed("version", v);
  json_put(o, "version", json_version(v->number));
  return o;
}

/* `after` the call what was stored is said as it was recorded, the NULL pointers of before are not repeated. */
static json_t *attribute(const struct value *v, bool after)
{
  json_t *o = json_object();
  json_put(o, "attribute", json_number(v->number));
  put_name(o, P11_DOM_CKA, v->number);
  put_pointer(o, v->pointer);
  json_put(o, "length", json_number(v->length));
  if (v->pointer == P11T_P_NULL && !after) {
    json_put(o, "value", json_null());
  } else if (v->count > 0 && v->item[0].what != VALUE_NONE) {
    json_put(o, "value", (after ? json_after : json_value)(&v->item[0], meaning_of_attribute(v->number)));
  }
  return o;
}

static json_t *template(const struct value *v, bool after)
{
  json_t *o = typed("template", v), *list = json_array();
  for (size_t i = 0; i < v->count; i++) json_add(list, attribute(&v->item[i], after));
  json_put(o, "attributes", list);
  return o;
}

static json_t *mechanism(const struct value *v)
{
  json_t *o = typed("mechanism", v);
  json_put(o, "mechanism", json_number(v->number));
  put_name(o, P11_DOM_CKM, v->number);
  if (v->count > 0) {
    const struct value *parameter = &v->item[0];
    const bool null = parameter->pointer == P11T_P_NULL;
    json_put(o, "length", json_number(parameter->length));
    json_put(o, "parameter", null ? json_null() : json_value(parameter, meaning_of_parameter(v->number)));
  }
  return o;
}

static json_t *structure(const struct value *v)
{
  const struct p11_struct *info = p11_struct_info(v->structure);
  json_t *o = typed("struct", v), *members = json_object();
  json_put(o, "struct", json_string(info != NULL ? info->name : ""));
  json_put(o, "number", json_integer(v->structure));
  for (size_t i = 0; i < v->count; i++) {
    const struct value *m = &v->item[i];
    if (info == NULL || m->member >= info->count || m->what == VALUE_NONE) continue;
    const struct p11_field *field = &info->field[m->member];
    json_put(members, field->name, json_value(m, meaning_of_field(field)));
  }
  json_put(o, "members", members);
  return o;
}

static json_t *list(const struct value *v, struct meaning meaning)
{
  json_t *o = typed("list", v), *items = json_array();
  for (size_t i = 0; i < v->count; i++) json_add(items, json_value(&v->item[i], meaning));
  json_put(o, "items", items);
  return o;
}

static json_t *interface(const struct value *v)
{
  json_t *o = typed("interface", v);
  json_outside(o, "name", v->bytes != NULL ? (const void *)v->bytes : "", v->bytes != NULL ? v->kept : 0);
  json_put(o, "version", json_version(v->number));
  json_put(o, "flags", json_number(v->length));
  return o;
}

static json_t *init_args(const struct value *v)
{
  static const char *const reserved[] = {"null", "ours", "text", "other"};
  json_t *o = typed("init_args", v);
  json_put(o, "callbacks", json_number(v->length));
  json_put(o, "flags", json_number(v->number));
  json_put(o, "reserved", json_string(v->shape < 4 ? reserved[v->shape] : "other"));
  if (v->count > 0 && v->item[0].what != VALUE_NONE) {
    json_put(o, "value", json_after(&v->item[0], (struct meaning){AS_TEXT, P11_DOM_NONE}));
  }
  return o;
}

json_t *json_value(const struct value *v, struct meaning meaning)
{
  /* NULL pointers: those kinds of values that are always behind one, or that nothing was found in. */
  if (v->pointer == P11T_P_NULL && v->count == 0) {
    bool null = v->what == VALUE_POINTER || v->what == VALUE_TEMPLATE || v->what == VALUE_MECHANISM ||
                v->what == VALUE_INIT_ARGS || v->what == VALUE_VERSION || v->what == VALUE_LIST ||
                (v->what == VALUE_BYTES && v->form == P11T_V_NULL);
    if (null) return json_null();
  }
  switch ((enum value_what)v->what) {
    case VALUE_NONE: break;
    case VALUE_NUMBER: return number(v, meaning);
    case VALUE_POINTER: return typed("pointer", v);
    case VALUE_BYTES: return bytes(v, meaning);
    case VALUE_VERSION: return version(v);
    case VALUE_TEMPLATE: return template(v, false);
    case VALUE_ATTRIBUTE: return attribute(v, false);
    case VALUE_MECHANISM: return mechanism(v);
    case VALUE_STRUCT: return structure(v);
    case VALUE_LIST: return list(v, meaning);
    case VALUE_INTERFACE: return interface(v);
    case VALUE_INIT_ARGS: return init_args(v);
  }
  return json_null();
}

json_t *json_after(const struct value *v, struct meaning meaning)
{
  switch (v->what) {
    case VALUE_BYTES: return bytes(v, meaning);
    case VALUE_LIST: return list(v, meaning);
    case VALUE_TEMPLATE: return template(v, true);
    default: return json_value(v, meaning);
  }
}
