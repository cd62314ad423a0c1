/* Values made of values: templates, mechanisms, structures, lists. */
#include "decoder/show/value.h"
#include "decoder/show/value_part.h"

#define S(literal) text_raw(out, literal, sizeof(literal) - 1)

static const struct meaning plain = {AS_BYTES, P11_DOM_NONE};

struct meaning meaning_of_param(const struct p11_param *param)
{
  switch (param->kind) {
    case P11_K_NUMBER:
    case P11_K_LENGTH:
    case P11_K_SLOT:
    case P11_K_OUT_LENGTH:
    case P11_K_OUT_NUMBER:
    case P11_K_OUT_SLOT:
    case P11_K_OUT_SLOTS: return (struct meaning){AS_DECIMAL, P11_DOM_NONE};
    case P11_K_BOOL: return (struct meaning){AS_BOOL, P11_DOM_NONE};
    case P11_K_ENUM: return (struct meaning){AS_ENUM, param->aux};
    case P11_K_FLAGS:
    case P11_K_OUT_FLAGS: return (struct meaning){AS_FLAGS, param->aux};
    case P11_K_SESSION:
    case P11_K_OBJECT:
    case P11_K_KEY:
    case P11_K_OUT_SESSION:
    case P11_K_OUT_OBJECT:
    case P11_K_OUT_OBJECTS: return (struct meaning){AS_HEX, P11_DOM_NONE};
    case P11_K_OUT_MECHANISMS: return (struct meaning){AS_ENUM, P11_DOM_CKM};
    case P11_K_STRING: return (struct meaning){AS_TEXT, P11_DOM_NONE};
    case P11_K_CHARS: return (struct meaning){AS_CHARS, P11_DOM_NONE};
    default: return plain;
  }
}

struct meaning meaning_of_field(const struct p11_field *field)
{
  switch (field->kind) {
    case P11_FK_NUMBER:
    case P11_FK_PNUMBER:
    case P11_FK_SLOT: return (struct meaning){AS_DECIMAL, P11_DOM_NONE};
    case P11_FK_ENUM: return (struct meaning){AS_ENUM, field->ref};
    case P11_FK_FLAGS: return (struct meaning){AS_FLAGS, field->ref};
    case P11_FK_BOOL: return (struct meaning){AS_BOOL, P11_DOM_NONE};
    case P11_FK_HANDLE:
    case P11_FK_PHANDLE: return (struct meaning){AS_HEX, P11_DOM_NONE};
    case P11_FK_CHARS: return (struct meaning){AS_CHARS, P11_DOM_NONE};
    default: return plain;
  }
}

struct meaning meaning_of_attribute(uint64_t type)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  if (info == NULL) return plain;
  switch ((enum p11_value_kind)info->kind) {
    case P11_A_NUMBER: return (struct meaning){AS_DECIMAL, P11_DOM_NONE};
    case P11_A_ENUM: return (struct meaning){AS_ENUM, info->domain};
    case P11_A_BOOL: return (struct meaning){AS_BOOL, P11_DOM_NONE};
    case P11_A_TEXT: return (struct meaning){AS_TEXT, P11_DOM_NONE};
    case P11_A_DATE: return (struct meaning){AS_DATE, P11_DOM_NONE};
    case P11_A_NAME: return (struct meaning){AS_NAME, P11_DOM_NONE};
    case P11_A_DER: return (struct meaning){AS_DER, P11_DOM_NONE};
    case P11_A_CERT: return (struct meaning){AS_CERT, P11_DOM_NONE};
    case P11_A_MECHANISMS: return (struct meaning){AS_ENUM, P11_DOM_CKM};
    default: return plain;
  }
}

struct meaning meaning_of_parameter(uint64_t mechanism)
{
  switch (p11_mechanism_plain(mechanism)) {
    case P11_PLAIN_NUMBER: return (struct meaning){AS_DECIMAL, P11_DOM_NONE};
    case P11_PLAIN_HANDLE: return (struct meaning){AS_HEX, P11_DOM_NONE};
    default: return plain;
  }
}

static void show_list(const struct printer *p, const struct value *v, struct meaning meaning)
{
  struct text *out = p->out;
  size_t shown = v->count < p->entries ? v->count : p->entries;
  text_c(out, '[');
  for (size_t i = 0; i < shown; i++) {
    if (i > 0) S(", ");
    show_value(p, &v->item[i], meaning);
  }
  if (shown < v->count) {
    S(", ... ");
    text_u(out, v->count - shown);
    S(" more");
  }
  text_c(out, ']');
}

static void show_attribute(const struct printer *p, const struct value *v)
{
  struct text *out = p->out;
  show_constant(out, P11_DOM_CKA, v->number);
  text_c(out, '=');
  const struct value *value = v->count > 0 ? &v->item[0] : NULL;
  if (v->pointer == P11T_P_NULL || value == NULL || value->what == VALUE_NONE) {
    show_pointer(p, v->pointer);
    if (v->length == 0) return;
    text_c(out, '[');
    show_number(out, (struct meaning){AS_DECIMAL, 0}, v->length);
    text_c(out, ']');
    return;
  }
  show_value(p, value, meaning_of_attribute(v->number));
}

static void show_template(const struct printer *p, const struct value *v)
{
  struct text *out = p->out;
  text_c(out, '{');
  for (size_t i = 0; i < v->count; i++) {
    if (i > 0) S(", ");
    show_attribute(p, &v->item[i]);
  }
  text_c(out, '}');
}

/* CKA_ID=?->20 a question for the length, CKA_ID[64]=0x01 a buffer of 64 of which one byte was used, CKA_ID[8]->20 a
 * buffer that got nothing; no [..] when the buffer was filled exactly. */
void show_filled(const struct printer *p, const struct value *asked, const struct value *got)
{
  struct text *out = p->out;
  const struct meaning count = {AS_DECIMAL, P11_DOM_NONE};
  text_c(out, '{');
  for (size_t i = 0; i < got->count; i++) {
    const struct value *a = &got->item[i];
    const struct value *before = asked->what == VALUE_TEMPLATE && i < asked->count ? &asked->item[i] : NULL;
    const struct value *value = a->count > 0 && a->item[0].what != VALUE_NONE ? &a->item[0] : NULL;
    if (value != NULL && value->what == VALUE_BYTES && value->form == P11T_V_NULL) value = NULL;
    if (i > 0) S(", ");
    show_constant(out, P11_DOM_CKA, a->number);
    if (before != NULL && before->pointer == P11T_P_NULL) {
      S("=?->");
      show_number(out, count, a->length);
      continue;
    }
    if (before != NULL && (value == NULL || before->length != a->length)) {
      text_c(out, '[');
      show_number(out, count, before->length);
      text_c(out, ']');
    }
    if (value != NULL) {
      text_c(out, '=');
      show_value(p, value, meaning_of_attribute(a->number));
    } else {
      S("->");
      show_number(out, count, a->length);
    }
  }
  text_c(out, '}');
}

void show_asked(const struct printer *p, const struct value *asked)
{
  struct text *out = p->out;
  text_c(out, '{');
  for (size_t i = 0; i < asked->count; i++) {
    const struct value *a = &asked->item[i];
    if (i > 0) S(", ");
    show_constant(out, P11_DOM_CKA, a->number);
    if (a->pointer == P11T_P_NULL) {
      S("=?");
      continue;
    }
    text_c(out, '[');
    show_number(out, (struct meaning){AS_DECIMAL, 0}, a->length);
    text_c(out, ']');
  }
  text_c(out, '}');
}

static void show_struct(const struct printer *p, const struct value *v)
{
  struct text *out = p->out;
  const struct p11_struct *info = p11_struct_info(v->structure);
  text_c(out, '{');
  for (size_t i = 0; i < v->count; i++) {
    const struct value *member = &v->item[i];
    const struct p11_field *field = info != NULL && member->member < info->count ? &info->field[member->member] : NULL;
    if (i > 0) S(", ");
    text_s(out, field != NULL ? field->name : "?");
    text_c(out, '=');
    show_value(p, member, field != NULL ? meaning_of_field(field) : plain);
  }
  text_c(out, '}');
}

static void show_mechanism(const struct printer *p, const struct value *v)
{
  struct text *out = p->out;
  text_c(out, '{');
  show_constant(out, P11_DOM_CKM, v->number);
  const struct value *parameter = v->count > 0 ? &v->item[0] : NULL;
  if (parameter != NULL && (parameter->pointer != P11T_P_NULL || parameter->length != 0)) {
    S(", ");
    if (parameter->pointer == P11T_P_NULL) {
      S("NULL[");
      show_number(out, (struct meaning){AS_DECIMAL, 0}, parameter->length);
      text_c(out, ']');
    } else {
      show_value(p, parameter, meaning_of_parameter(v->number));
    }
  }
  text_c(out, '}');
}

static void show_init_args(const struct printer *p, const struct value *v)
{
  static const char *const callback[] = {"CreateMutex", "DestroyMutex", "LockMutex", "UnlockMutex"};
  struct text *out = p->out;
  text_c(out, '{');
  for (int i = 0; i < 4; i++) {
    if (v->length >> i & 1) {
      text_s(out, callback[i]);
      S("=<ptr>, ");
    }
  }
  S("flags=");
  show_flags(out, P11_DOM_CKF_INITIALIZE, v->number);
  S(", pReserved=");
  if (v->shape == P11T_R_NULL) {
    S("NULL");
  } else if (v->shape == P11T_R_OTHER || v->count == 0 || v->item[0].what == VALUE_NONE) {
    S("<ptr>");
  } else {
    show_value(p, &v->item[0], (struct meaning){AS_TEXT, P11_DOM_NONE});
  }
  text_c(out, '}');
}

static void show_interface(const struct printer *p, const struct value *v)
{
  struct text *out = p->out;
  text_c(out, '{');
  text_quoted(out, v->bytes, v->kept);
  S(", ");
  show_version(out, v->number);
  S(", flags=");
  show_flags(out, P11_DOM_CKF_INTERFACE, v->length);
  text_c(out, '}');
}

void show_value(const struct printer *p, const struct value *v, struct meaning meaning)
{
  /* What is reached through a pointer and is not there: the pointer says why. */
  bool pointed =
      v->what == VALUE_TEMPLATE || v->what == VALUE_MECHANISM || v->what == VALUE_INIT_ARGS || v->what == VALUE_VERSION;
  if (pointed && v->pointer == P11T_P_NULL && v->count == 0) {
    show_pointer(p, P11T_P_NULL);
    return;
  }
  if (v->pointer == P11T_P_UNREADABLE && v->count == 0 && v->what != VALUE_BYTES) {
    show_pointer(p, P11T_P_UNREADABLE);
    return;
  }
  switch ((enum value_what)v->what) {
    case VALUE_NONE: text_c(p->out, '?'); return;
    case VALUE_NUMBER:
      if (v->form == P11T_V_BOOL) meaning.as = AS_BOOL;
      show_number(p->out, meaning, v->number);
      return;
    case VALUE_POINTER: show_pointer(p, v->pointer); return;
    case VALUE_BYTES: value_bytes(p, v, meaning); return;
    case VALUE_VERSION: show_version(p->out, v->number); return;
    case VALUE_TEMPLATE: show_template(p, v); return;
    case VALUE_ATTRIBUTE: show_attribute(p, v); return;
    case VALUE_MECHANISM: show_mechanism(p, v); return;
    case VALUE_STRUCT: show_struct(p, v); return;
    case VALUE_LIST: show_list(p, v, meaning); return;
    case VALUE_INTERFACE: show_interface(p, v); return;
    case VALUE_INIT_ARGS: show_init_args(p, v); return;
  }
}
