/* Values of JSON.md. Keys that are derived, and keys that nobody knows, are not looked at. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/write/import.h"

enum { MAX_DEPTH = 12, PLACE = 200 };

bool import_number(struct import *im, const json_t *json, const char *where, uint64_t *number)
{
  *number = 0;
  if (json_is_integer(json) && json_integer_value(json) >= 0) {
    *number = (uint64_t)json_integer_value(json);
    return true;
  }
  const char *text = json_string_value(json);
  if (text != NULL && strncmp(text, "0x", 2) == 0) {
    const size_t n = strlen(text + 2);
    if (n >= 1 && n <= 16 && strspn(text + 2, "0123456789abcdefABCDEF") == n) {
      *number = strtoull(text + 2, NULL, 16);
      return true;
    }
  }
  return import_fail(im, "%s: expected a number, or a string \"0x...\"", where);
}

uint64_t import_key(struct import *im, const json_t *object, const char *key, uint64_t fallback)
{
  const json_t *json = json_object_get(object, key);
  uint64_t number = fallback;
  if (json != NULL) import_number(im, json, key, &number);
  return number;
}

static int digit(char c)
{
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

static bool hex(struct import *im, const json_t *json, const char *where, const uint8_t **bytes, size_t *size)
{
  const char *text = json_string_value(json);
  const size_t n = json_string_length(json);
  bool fine = text != NULL && n % 2 == 0;
  uint8_t *to = arena_alloc(&im->arena, n / 2 + 1);
  for (size_t i = 0; fine && i < n; i++) {
    const int d = digit(text[i]);
    fine = d >= 0;
    to[i / 2] = (uint8_t)(to[i / 2] << 4 | (d & 15));
  }
  *bytes = to;
  *size = fine ? n / 2 : 0;
  return fine || import_fail(im, "%s: expected a string of pairs of hexadecimal digits", where);
}

const uint8_t *import_text(struct import *im, const json_t *object, const char *key, size_t *length)
{
  char other[64];
  const uint8_t *bytes = (const uint8_t *)"";
  *length = 0;
  snprintf(other, sizeof other, "%s_hex", key);
  const json_t *raw = json_object_get(object, other), *json = json_object_get(object, key);
  if (raw != NULL) {
    hex(im, raw, other, &bytes, length);
  } else if (json_is_string(json)) {
    *length = json_string_length(json);
    bytes = (const uint8_t *)arena_text(&im->arena, json_string_value(json), *length);
  } else if (json != NULL) {
    import_fail(im, "%s: expected a text", key);
  }
  return bytes;
}

const char *import_string(struct import *im, const json_t *object, const char *key)
{
  size_t length;
  const uint8_t *bytes = import_text(im, object, key, &length);
  return arena_text(&im->arena, bytes, length);
}

bool import_version(struct import *im, const json_t *json, const char *where, uint64_t *version)
{
  const char *text = json_string_value(json);
  unsigned major, minor;
  int end = 0;
  if (text == NULL || sscanf(text, "%3u.%3u%n", &major, &minor, &end) != 2 || text[end] != '\0' || major > 255 ||
      minor > 255)
    return import_fail(im, "%s: expected a version such as \"2.40\"", where);
  *version = major * 256 + minor;
  return true;
}

static bool pointer(struct import *im, const json_t *json, const char *where, struct value *v)
{
  const json_t *given = json_object_get(json, "pointer");
  const char *text = json_string_value(given);
  unsigned which;
  int end = 0;
  v->pointer = P11T_P_OWN;
  if (given == NULL) return true;
  if (text != NULL && strcmp(text, "unreadable") == 0) {
    v->pointer = P11T_P_UNREADABLE;
    return true;
  }
  if (text != NULL && sscanf(text, "same:%2u%n", &which, &end) == 1 && text[end] == '\0' && which >= 1 && which < 16) {
    v->pointer = (uint8_t)(P11T_P_SAME + which);
    return true;
  }
  if (text != NULL && sscanf(text, "overlap:%2u%n", &which, &end) == 1 && text[end] == '\0' && which >= 1 &&
      which < 16) {
    v->pointer = (uint8_t)(P11T_P_OVERLAP + which);
    return true;
  }
  return import_fail(im, "%s: pointer: expected \"unreadable\", \"same:K\" or \"overlap:K\"", where);
}

static bool bytes(struct import *im, const json_t *json, const char *where, struct value *v)
{
  static const struct {
    const char *name;
    uint8_t form;
  } forms[] = {
      {"full",        P11T_V_FULL       },
      {"cut",         P11T_V_CUT        },
      {"tag",         P11T_V_TAG        },
      {"sealed",      P11T_V_TAG        }, /* the box is not in JSON */
      {"unread",      P11T_V_UNREAD     },
      {"length",      P11T_V_LENGTH     },
      {"deferred",    P11T_V_DEFERRED   },
      {"dictionary",  P11T_V_DICT       },
      {"unavailable", P11T_V_UNAVAILABLE},
      {"null",        P11T_V_NULL       }
  };
  static const char *const shapes[] = {"same", "zero", "der", "text"};
  const char *form = json_string_value(json_object_get(json, "form"));
  v->what = VALUE_BYTES;
  v->form = P11T_V_FULL;
  for (size_t i = 0; form != NULL; i++) {
    if (i == sizeof forms / sizeof *forms)
      return import_fail(im, "%s: form \"%.40s\": expected one of JSON.md's, such as \"full\" or \"tag\"", where, form);
    if (strcmp(form, forms[i].name) != 0) continue;
    v->form = forms[i].form;
    break;
  }
  if (v->form == P11T_V_UNAVAILABLE) v->length = UINT64_MAX;
  if (v->form == P11T_V_NULL || v->form == P11T_V_UNAVAILABLE) return true;
  if (v->form == P11T_V_FULL || v->form == P11T_V_CUT) {
    if (!hex(im, json_object_get(json, "hex"), where, &v->bytes, &v->kept)) return false;
  }
  v->length = v->kept;
  const json_t *length = json_object_get(json, "length");
  if (v->form != P11T_V_FULL && !import_number(im, length, where, &v->length)) return false;
  if (v->form != P11T_V_TAG) return true;
  const char *tag = json_string_value(json_object_get(json, "tag"));
  if (tag == NULL || strlen(tag) != 16 || strspn(tag, "0123456789abcdef") != 16)
    return import_fail(im, "%s: tag: expected 16 hexadecimal digits", where);
  v->number = strtoull(tag, NULL, 16);
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(json, "shape"), i, item)
  {
    const char *name = json_string_value(item);
    for (unsigned s = 0; name != NULL && s < 4; s++) {
      if (strcmp(name, shapes[s]) == 0) v->shape |= (uint8_t)(1u << s);
    }
  }
  return true;
}

static bool items(struct import *im, const json_t *list, const char *where, struct value *v)
{
  if (!json_is_array(list)) return import_fail(im, "%s: expected a list", where);
  v->count = json_array_size(list);
  v->item = arena_alloc(&im->arena, (v->count + 1) * sizeof *v->item);
  return true;
}

static bool attribute(struct import *im, const json_t *json, const char *where, unsigned direction, struct value *a)
{
  const json_t *value = json_object_get(json, "value"), *type = json_object_get(json, "attribute");
  const char *name = json_string_value(json_object_get(json, "name"));
  a->what = VALUE_ATTRIBUTE;
  if (type == NULL && name != NULL && strncmp(name, "CKA_", 4) == 0 && p11_constant_value(name, &a->number)) {
    type = NULL; /* by name alone */
  } else if (!import_number(im, type, where, &a->number)) {
    return false;
  }
  if (!pointer(im, json, where, a)) return false;
  if (json_is_null(value)) a->pointer = P11T_P_NULL;
  if (value != NULL) {
    a->item = arena_alloc(&im->arena, sizeof *a->item);
    a->count = 1;
    if (json_is_null(value)) {
      a->item->what = VALUE_BYTES;
    } else if (!import_value(im, value, where, direction, a->item)) {
      return false;
    }
    a->item->pointer = a->pointer;
    a->length = a->item->what == VALUE_BYTES    ? a->item->length
                : a->item->form == P11T_V_BOOL  ? 1
                : a->item->what == VALUE_NUMBER ? 8
                                                : 0;
  }
  a->length = import_key(im, json, "length", a->length);
  return im->error[0] == '\0';
}

static bool template(struct import *im, const json_t *json, const char *where, unsigned direction, struct value *v)
{
  v->what = VALUE_TEMPLATE;
  const json_t *list = json_object_get(json, "attributes");
  if (!items(im, list, where, v)) return false;
  for (size_t i = 0; i < v->count; i++) {
    char place[PLACE];
    snprintf(place, sizeof place, "%.150s.attributes[%zu]", where, i);
    if (!attribute(im, json_array_get(list, i), place, direction, &v->item[i])) return false;
  }
  return true;
}

static bool mechanism(struct import *im, const json_t *json, const char *where, struct value *v)
{
  const json_t *type = json_object_get(json, "mechanism"), *parameter = json_object_get(json, "parameter");
  const char *name = json_string_value(json_object_get(json, "name"));
  v->what = VALUE_MECHANISM;
  const bool named =
      type == NULL && name != NULL && strncmp(name, "CKM_", 4) == 0 && p11_constant_value(name, &v->number);
  if (!named && !import_number(im, type, where, &v->number)) return false;
  v->item = arena_alloc(&im->arena, sizeof *v->item);
  v->count = 1;
  v->item->what = VALUE_BYTES;
  if (parameter != NULL && !json_is_null(parameter) && !import_value(im, parameter, where, P11_IN, v->item))
    return false;
  if (v->item->what != VALUE_BYTES && v->item->what != VALUE_NUMBER && v->item->what != VALUE_STRUCT)
    return import_fail(im, "%s: parameter: expected bytes, a number or a struct", where);
  v->item->length = import_key(im, json, "length", v->item->what == VALUE_NUMBER ? 8 : v->item->length);
  return im->error[0] == '\0';
}

/* What stands for a member that is not told of. */
static struct value nothing(unsigned kind)
{
  const bool number = kind <= P11_FK_HANDLE || kind == P11_FK_SLOT;
  if (number) return (struct value){.what = VALUE_NUMBER};
  if (kind == P11_FK_VERSION) return (struct value){.what = VALUE_VERSION, .pointer = P11T_P_OWN};
  if (kind == P11_FK_CHARS || kind == P11_FK_ARRAY) return (struct value){.what = VALUE_BYTES, .pointer = P11T_P_OWN};
  if (kind == P11_FK_STRUCT) return (struct value){.what = VALUE_STRUCT, .pointer = P11T_P_OWN};
  return (struct value){.what = VALUE_POINTER};
}

static bool fits_member(const struct p11_field *f, const struct value *v)
{
  if (v->what == VALUE_POINTER) /* of which nothing is told */
    return f->kind == P11_FK_POINTER || v->pointer == P11T_P_NULL || v->pointer == P11T_P_UNREADABLE;
  switch (f->kind) {
    case P11_FK_CHARS:
    case P11_FK_ARRAY:
    case P11_FK_BYTES:
    case P11_FK_BITS:
    case P11_FK_BYTES_OF:
    case P11_FK_BYTES_AT: return v->what == VALUE_BYTES || v->what == VALUE_NUMBER;
    case P11_FK_VERSION:
    case P11_FK_PVERSION: return v->what == VALUE_VERSION;
    case P11_FK_STRUCT:
    case P11_FK_PSTRUCT: return v->what == VALUE_STRUCT && v->structure == f->ref;
    case P11_FK_STRUCTS:
      for (size_t i = 0; v->what == VALUE_LIST && i < v->count; i++) {
        if (v->item[i].what != VALUE_STRUCT || v->item[i].structure != f->ref) return false;
      }
      return v->what == VALUE_LIST;
    case P11_FK_TEMPLATE: return v->what == VALUE_TEMPLATE;
    case P11_FK_MECHANISM: return v->what == VALUE_MECHANISM;
    case P11_FK_POINTER: return false;
    default: return v->what == VALUE_NUMBER;
  }
}

static bool structure(struct import *im, const json_t *json, const char *where, unsigned direction, struct value *v)
{
  const json_t *members = json_object_get(json, "members");
  const uint64_t number = import_key(im, json, "number", 0);
  const struct p11_struct *info = number <= UINT16_MAX ? p11_struct_info((unsigned)number) : NULL;
  v->what = VALUE_STRUCT;
  if (info == NULL)
    return import_fail(im, "%s: number: %" PRIu64 " is no structure that this p11trace knows", where, number);
  if (!json_is_object(members)) return import_fail(im, "%s: members: expected an object", where);
  v->structure = (uint16_t)number;
  v->item = arena_alloc(&im->arena, ((size_t)info->count + 1) * sizeof *v->item);
  size_t left = json_object_size(members);
  for (unsigned i = 0; i < info->count && left > 0; i++) {
    const struct p11_field *f = &info->field[i];
    char place[PLACE];
    if ((f->direction & direction) == 0) continue;
    const json_t *given = json_object_get(members, f->name);
    struct value *m = &v->item[v->count++];
    *m = nothing(f->kind);
    snprintf(place, sizeof place, "%.150s.%.40s", where, f->name);
    if (given != NULL) left--;
    if (given != NULL && !json_is_null(given) && !import_value(im, given, place, direction, m)) return false;
    if (given != NULL && !json_is_null(given) && !fits_member(f, m))
      return import_fail(im, "%s: a value of another type than this member of %s has", place, info->name);
    m->member = (uint16_t)i;
  }
  if (left > 0) return import_fail(im, "%s: members: %zu of them %s does not have here", where, left, info->name);
  return true;
}

static bool list(struct import *im, const json_t *json, const char *where, unsigned direction, struct value *v)
{
  const json_t *all = json_object_get(json, "items");
  v->what = VALUE_LIST;
  if (!items(im, all, where, v)) return false;
  for (size_t i = 0; i < v->count; i++) {
    if (!import_value(im, json_array_get(all, i), where, direction, &v->item[i])) return false;
  }
  return true;
}

static bool interface(struct import *im, const json_t *json, const char *where, struct value *v)
{
  v->what = VALUE_INTERFACE;
  v->bytes = import_text(im, json, "name", &v->kept);
  v->length = import_key(im, json, "flags", 0);
  return import_version(im, json_object_get(json, "version"), where, &v->number);
}

static bool init_args(struct import *im, const json_t *json, const char *where, struct value *v)
{
  static const char *const classes[] = {"null", "ours", "text", "other"};
  const char *class = json_string_value(json_object_get(json, "reserved"));
  const json_t *value = json_object_get(json, "value");
  v->what = VALUE_INIT_ARGS;
  v->length = import_key(im, json, "callbacks", 0) & 15;
  v->number = import_key(im, json, "flags", 0);
  for (uint8_t i = 0; class != NULL && i < 4; i++) {
    if (strcmp(class, classes[i]) == 0) v->shape = i;
  }
  if (value == NULL) return true;
  v->item = arena_alloc(&im->arena, sizeof *v->item);
  v->count = 1;
  v->item->what = VALUE_BYTES;
  return json_is_null(value) || import_value(im, value, where, P11_IN, v->item);
}

static bool typed(struct import *im, const json_t *json, const char *type, const char *where, unsigned direction,
                  struct value *v)
{
  if (strcmp(type, "pointer") == 0) {
    v->what = VALUE_POINTER;
    return true;
  }
  if (strcmp(type, "number") == 0 || strcmp(type, "bool") == 0) {
    const bool boolean = type[0] == 'b';
    v->what = VALUE_NUMBER;
    v->form = boolean ? P11T_V_BOOL : P11T_V_NUMBER;
    v->length = boolean ? 1 : 8;
    return import_number(im, json_object_get(json, "value"), where, &v->number);
  }
  if (strcmp(type, "bytes") == 0) return bytes(im, json, where, v);
  if (strcmp(type, "version") == 0) {
    v->what = VALUE_VERSION;
    return import_version(im, json_object_get(json, "version"), where, &v->number);
  }
  if (strcmp(type, "template") == 0) return template(im, json, where, direction, v);
  if (strcmp(type, "mechanism") == 0) return mechanism(im, json, where, v);
  if (strcmp(type, "struct") == 0) return structure(im, json, where, direction, v);
  if (strcmp(type, "list") == 0) return list(im, json, where, direction, v);
  if (strcmp(type, "interface") == 0) return interface(im, json, where, v);
  if (strcmp(type, "init_args") == 0) return init_args(im, json, where, v);
  return import_fail(im, "%s: type \"%.40s\": not one of JSON.md's values", where, type);
}

bool import_value(struct import *im, const json_t *json, const char *where, unsigned direction, struct value *v)
{
  static unsigned depth;
  const char *type = json_string_value(json_object_get(json, "type"));
  *v = (struct value){.pointer = P11T_P_OWN};
  if (json_is_null(json)) {
    v->what = VALUE_POINTER;
    v->pointer = P11T_P_NULL;
    return true;
  }
  if (json_is_boolean(json)) {
    *v = (struct value){.what = VALUE_NUMBER, .form = P11T_V_BOOL, .length = 1, .number = json_is_true(json)};
    return true;
  }
  if (json_is_integer(json) || json_is_string(json)) {
    *v = (struct value){.what = VALUE_NUMBER, .form = P11T_V_NUMBER, .length = 8};
    return import_number(im, json, where, &v->number);
  }
  if (type == NULL) return import_fail(im, "%s: expected null, a number, or an object with \"type\"", where);
  if (depth == MAX_DEPTH) return import_fail(im, "%s: too many values inside each other", where);
  if (!pointer(im, json, where, v)) return false;
  depth++;
  const bool fine = typed(im, json, type, where, direction, v);
  depth--;
  return fine;
}

bool import_fits_param(unsigned kind, bool after, const struct value *v)
{
  if (v->what == VALUE_NONE) return true;
  if (kind <= P11_K_KEY) return !after && v->what == VALUE_NUMBER;
  if (v->what == VALUE_POINTER) return kind != P11_K_STRING || v->pointer != P11T_P_OWN;
  switch (kind) {
    case P11_K_STRING: return !after && v->what == VALUE_BYTES;
    case P11_K_CHARS:
    case P11_K_IN_BYTES:
    case P11_K_PIN: return v->what == VALUE_BYTES;
    case P11_K_MESSAGE_PARAM: return v->what == VALUE_BYTES || v->what == VALUE_STRUCT;
    case P11_K_VERSION: return !after && v->what == VALUE_VERSION;
    case P11_K_TEMPLATE: return !after && v->what == VALUE_TEMPLATE;
    case P11_K_OUT_TEMPLATE: return v->what == VALUE_TEMPLATE;
    case P11_K_MECHANISM: return v->what == (after ? VALUE_STRUCT : VALUE_MECHANISM);
    case P11_K_INIT_ARGS: return !after && v->what == VALUE_INIT_ARGS;
    case P11_K_OUT_BYTES:
    case P11_K_OUT_BYTES_OF: return after && v->what == VALUE_BYTES;
    case P11_K_OUT_LENGTH: return v->what == VALUE_NUMBER;
    case P11_K_OUT_NUMBER:
    case P11_K_OUT_FLAGS:
    case P11_K_OUT_SLOT:
    case P11_K_OUT_SESSION:
    case P11_K_OUT_OBJECT: return after && v->what == VALUE_NUMBER;
    case P11_K_OUT_SLOTS:
    case P11_K_OUT_MECHANISMS:
    case P11_K_OUT_OBJECTS:
      for (size_t i = 0; v->what == VALUE_LIST && i < v->count; i++) {
        if (v->item[i].what != VALUE_NUMBER) return false;
      }
      return after && v->what == VALUE_LIST;
    case P11_K_OUT_STRUCT: return after && v->what == VALUE_STRUCT;
    case P11_K_OUT_FUNCTION_LIST: return after && v->what == VALUE_VERSION;
    case P11_K_OUT_INTERFACE: return after && v->what == VALUE_INTERFACE;
    case P11_K_OUT_INTERFACES:
      for (size_t i = 0; v->what == VALUE_LIST && i < v->count; i++) {
        if (v->item[i].what != VALUE_INTERFACE) return false;
      }
      return after && v->what == VALUE_LIST;
    default: return false;
  }
}
