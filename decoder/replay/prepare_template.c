/* Templates for objects that are made, and the making of them with what the token takes. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/prepare_part.h"

void prepare_say(struct prepare *p, const char *format, ...)
{
  char *text = p->player->results->prepared_text, sentence[400];
  const size_t room = sizeof p->player->results->prepared_text;
  va_list args;
  va_start(args, format);
  vsnprintf(sentence, sizeof sentence, format, args);
  va_end(args);
  const size_t used = strlen(text);
  if (strstr(text, sentence)) return;
  if (used + strlen(sentence) + 8 < room)
    snprintf(text + used, room - used, "%s%s", used ? "; " : "", sentence);
  else if (used + 6 < room && strcmp(text + used - 3, "...") != 0)
    snprintf(text + used, room - used, "; ...");
}

const char *prepare_name(struct prepare *p, const struct portrait *portrait)
{
  static const struct {
    uint64_t class;
    const char *name;
  } classes[] = {
      {CKO_CERTIFICATE, "certificate" },
      {CKO_PRIVATE_KEY, "private key" },
      {CKO_PUBLIC_KEY,  "public key"  },
      {CKO_SECRET_KEY,  "secret key"  },
      {CKO_DATA,        "data object" },
      {CKO_TRUST,       "trust object"},
      {CKO_NSS_TRUST,   "trust object"}
  };
  uint64_t class = UINT64_MAX;
  const char *name = "object";
  portrait_number(portrait, CKA_CLASS, &class);
  for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
    if (classes[i].class == class) name = classes[i].name;
  size_t length;
  const uint8_t *label = portrait_bytes(portrait, CKA_LABEL, &length);
  struct text text;
  text_open(&text, -1);
  text_s(&text, name);
  if (label && length && length <= 80) {
    text_c(&text, ' ');
    text_quoted(&text, label, length);
  }
  name = arena_text(&p->memory, text.base, (size_t)(text.at - text.base));
  text_close(&text);
  return name;
}

const char *prepare_code(struct prepare *p, CK_RV rv)
{
  const char *name = p11_constant_name(P11_DOM_CKR, rv);
  char number[32];
  if (name) return name;
  snprintf(number, sizeof number, "0x%lx", rv);
  return arena_text(&p->memory, number, strlen(number));
}

bool prepare_has(const struct prepare_template *t, CK_ATTRIBUTE_TYPE type)
{
  for (unsigned i = 0; i < t->count; i++)
    if (t->at[i].type == type) return true;
  return false;
}

void prepare_put(struct prepare *p, struct prepare_template *t, CK_ATTRIBUTE_TYPE type, const void *bytes,
                 size_t length, bool needed)
{
  if (t->count == PREPARE_MOST || prepare_has(t, type)) return;
  void *copy = arena_alloc(&p->memory, length + 1);
  if (length) memcpy(copy, bytes, length);
  t->needed[t->count] = needed;
  t->out[t->count] = false;
  t->at[t->count++] = (CK_ATTRIBUTE){type, copy, length};
}

void prepare_put_number(struct prepare *p, struct prepare_template *t, CK_ATTRIBUTE_TYPE type, CK_ULONG number,
                        bool needed)
{
  prepare_put(p, t, type, &number, sizeof number, needed);
}

void prepare_put_bool(struct prepare *p, struct prepare_template *t, CK_ATTRIBUTE_TYPE type, bool value, bool needed)
{
  const CK_BBOOL byte = value ? CK_TRUE : CK_FALSE;
  prepare_put(p, t, type, &byte, 1, needed);
}

/* What a token says of an object and its maker cannot, and what a fresh key has anew. */
static bool is_the_tokens(CK_ATTRIBUTE_TYPE type, bool key)
{
  switch (type) {
    case CKA_LOCAL:
    case CKA_ALWAYS_SENSITIVE:
    case CKA_NEVER_EXTRACTABLE:
    case CKA_KEY_GEN_MECHANISM:
    case CKA_UNIQUE_ID:
    case CKA_CHECK_VALUE:
    case CKA_TRUSTED:
    case CKA_PUBLIC_KEY_INFO: return true;
    case CKA_VALUE:
    case CKA_MODULUS:
    case CKA_MODULUS_BITS:
    case CKA_PUBLIC_EXPONENT:
    case CKA_EC_PARAMS:
    case CKA_EC_POINT:
    case CKA_PRIME:
    case CKA_SUBPRIME:
    case CKA_BASE:
    case CKA_VALUE_LEN:
    case CKA_VALUE_BITS:
    case CKA_SEED:
    case CKA_PARAMETER_SET: return key;
    default: return false;
  }
}

void prepare_put_known(struct prepare *p, struct prepare_template *t, const struct portrait *portrait)
{
  uint64_t class = UINT64_MAX;
  portrait_number(portrait, CKA_CLASS, &class);
  const bool key = class == CKO_PRIVATE_KEY || class == CKO_PUBLIC_KEY || class == CKO_SECRET_KEY;
  for (size_t i = 0; i < portrait->count; i++) {
    const CK_ATTRIBUTE_TYPE type = portrait->attribute[i].number;
    const struct value *v = portrait_attribute(portrait, type);
    const struct p11_attribute_info *info = p11_attribute(type);
    if (!v || !info || is_the_tokens(type, key) || (key && info->secrecy == P11_SECRET)) continue;
    if (v->what == VALUE_NUMBER) {
      if (v->form == P11T_V_BOOL || info->kind == P11_A_BOOL)
        prepare_put_bool(p, t, type, v->number != 0, false);
      else
        prepare_put_number(p, t, type, v->number, false);
    } else if (v->what == VALUE_BYTES && v->kept == v->length) {
      prepare_put(p, t, type, v->bytes, v->kept, false);
    }
  }
}

static CK_ULONG left(const struct prepare_template *t, CK_ATTRIBUTE *to)
{
  CK_ULONG count = 0;
  for (unsigned i = 0; t && i < t->count; i++)
    if (!t->out[i]) to[count++] = t->at[i];
  return count;
}

static CK_RV try(struct prepare *p, CK_MECHANISM *mechanism, const struct prepare_template *first,
                 const struct prepare_template *second, CK_OBJECT_HANDLE made[2])
{
  CK_ATTRIBUTE a[PREPARE_MOST], b[PREPARE_MOST];
  const CK_ULONG count = left(first, a), other = left(second, b);
  made[0] = made[1] = CK_INVALID_HANDLE;
  if (second) {
    if (!p->f->C_GenerateKeyPair) return CKR_FUNCTION_NOT_SUPPORTED;
    return p->f->C_GenerateKeyPair(p->session, mechanism, a, count, b, other, &made[0], &made[1]);
  }
  if (mechanism) {
    if (!p->f->C_GenerateKey) return CKR_FUNCTION_NOT_SUPPORTED;
    return p->f->C_GenerateKey(p->session, mechanism, a, count, &made[0]);
  }
  return p->f->C_CreateObject ? p->f->C_CreateObject(p->session, a, count, &made[0]) : CKR_FUNCTION_NOT_SUPPORTED;
}

static bool refuses_an_attribute(CK_RV rv)
{
  return rv == CKR_TEMPLATE_INCONSISTENT || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_VALUE_INVALID ||
         rv == CKR_ATTRIBUTE_READ_ONLY || rv == CKR_ARGUMENTS_BAD;
}

static void tell_left_out(struct prepare *p, const char *what, const struct prepare_template *t)
{
  for (unsigned i = 0; t && i < t->count; i++) {
    if (!t->out[i]) continue;
    const struct p11_attribute_info *info = p11_attribute(t->at[i].type);
    prepare_say(p, "%s: the token refuses %s", what, info ? info->name : "an attribute");
  }
}

/* The next one, from `at` on, that may be left out and is not; the templates' places one after the other. */
static bool *optional(struct prepare_template *first, struct prepare_template *second, unsigned *at)
{
  for (; *at < first->count + (second ? second->count : 0); ++*at) {
    struct prepare_template *t = *at < first->count ? first : second;
    const unsigned i = *at < first->count ? *at : *at - first->count;
    if (!t->needed[i] && !t->out[i]) return &t->out[i];
  }
  return NULL;
}

CK_RV prepare_make(struct prepare *p, const char *what, CK_MECHANISM *mechanism, struct prepare_template *first,
                   struct prepare_template *second, CK_OBJECT_HANDLE made[2])
{
  CK_RV rv = try(p, mechanism, first, second, made);
  while (refuses_an_attribute(rv)) {
    /* One of them alone? */
    bool *out, *last = NULL;
    for (unsigned at = 0; (out = optional(first, second, &at)); at++) {
      *out = true;
      const CK_RV without = try(p, mechanism, first, second, made);
      if (without == CKR_OK) {
        tell_left_out(p, what, first);
        tell_left_out(p, what, second);
        return CKR_OK;
      }
      *out = false;
      last = out;
    }
    if (!last) return rv;
    *last = true;
    rv = try(p, mechanism, first, second, made);
  }
  if (rv == CKR_OK) {
    tell_left_out(p, what, first);
    tell_left_out(p, what, second);
  }
  return rv;
}
