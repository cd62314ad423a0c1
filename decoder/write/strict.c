#include "decoder/write/strict.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "decoder/write/shape.h"

enum { PAYLOAD, SECRETS, PINS };

static EVP_MAC_CTX *siphash;

void strict_begin(struct strict *s)
{
  EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
  siphash = mac != NULL ? EVP_MAC_CTX_new(mac) : NULL;
  EVP_MAC_free(mac);
  if (siphash == NULL || getrandom(s->key, sizeof s->key, 0) != (ssize_t)sizeof s->key) {
    fputs("p11trace: this machine gives no random bytes, or its libcrypto has no SipHash\n", stderr);
    exit(2);
  }
}

void strict_end(struct strict *s)
{
  explicit_bzero(s->key, sizeof s->key);
  EVP_MAC_CTX_free(siphash);
  siphash = NULL;
}

unsigned strict_word(const char *word, size_t length)
{
  static const char *const words[] = {"labels",  "ids",   "certificates", "names", "serials",
                                      "cmdline", "paths", "threads",      "marks", "keys"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strlen(words[i]) == length && memcmp(words[i], word, length) == 0) return 1u << i;
  }
  return 0;
}

/* As the recorder makes them (FORMAT.md, section 4): of long values the first and the last 2,048 bytes. */
static uint64_t tag_of(const struct strict *s, unsigned domain, const uint8_t *bytes, size_t size, uint64_t length)
{
  enum { WHOLE = 4096 };
  unsigned int eight = 8;
  const OSSL_PARAM params[] = {OSSL_PARAM_uint(OSSL_MAC_PARAM_SIZE, &eight), OSSL_PARAM_END};
  uint64_t tag = 0;
  size_t out;
  const size_t part = size <= WHOLE ? size : WHOLE / 2;
  bool fine = EVP_MAC_init(siphash, s->key[domain], 16, params) == 1 &&
              EVP_MAC_update(siphash, (const uint8_t *)&length, sizeof length) == 1 &&
              (part == 0 || EVP_MAC_update(siphash, bytes, part) == 1) &&
              (size <= WHOLE || EVP_MAC_update(siphash, bytes + size - part, part) == 1) &&
              EVP_MAC_final(siphash, (uint8_t *)&tag, &out, sizeof tag) == 1;
  if (!fine) abort();
  return tag;
}

static unsigned domain_of(unsigned secrecy)
{
  return secrecy == P11_PIN ? PINS : secrecy == P11_DATA || secrecy == P11_PUBLIC ? PAYLOAD : SECRETS;
}

static void only_length(struct value *v, unsigned secrecy, uint64_t length)
{
  *v = (struct value){.what = VALUE_BYTES,
                      .pointer = v->pointer,
                      .member = v->member,
                      .form = P11T_V_LENGTH,
                      .length = secrecy == P11_PIN ? 0 : length}; /* not even how long a PIN is */
}

static void only_tag(const struct strict *s, struct value *v, unsigned secrecy)
{
  const bool whole = v->form == P11T_V_FULL;
  v->number = tag_of(s, domain_of(secrecy), v->bytes, v->kept, v->length);
  v->shape = whole ? shape_of(v->bytes, v->kept) : 0;
  v->form = P11T_V_TAG;
  v->bytes = NULL;
  v->kept = 0;
}

/* Bytes of a class; `drop`: asked to go although they are public. */
static void strict_bytes(struct strict *s, struct value *v, unsigned secrecy, bool drop)
{
  const bool hidden = secrecy != P11_PUBLIC;
  if (v->what != VALUE_BYTES) return;
  switch (v->form) {
    case P11T_V_FULL:
    case P11T_V_CUT:
      if (!hidden && !drop) return;
      if (s->only_secrets && secrecy == P11_DATA) {
        s->payload = true;
        return;
      }
      if (s->meta) {
        only_length(v, secrecy, v->length);
      } else {
        only_tag(s, v, secrecy);
      }
      s->taken++;
      return;
    case P11T_V_SEALED:
      if ((s->keep_sealed || s->only_secrets) && !s->meta) return;
      s->taken++;
      if (s->meta || (v->number == 0 && v->shape == 0)) {
        only_length(v, secrecy, v->length);
      } else {
        v->form = P11T_V_TAG; /* the one that it had before it was sealed too */
        v->bytes = NULL;
        v->kept = 0;
      }
      return;
    case P11T_V_TAG:
      if (!s->meta) return;
      only_length(v, secrecy, v->length);
      s->taken++;
      return;
    default: return;
  }
}

static bool is_asked(const struct strict *s, uint64_t type, const struct p11_attribute_info *info)
{
  for (size_t i = 0; i < s->attributes; i++) {
    if (s->attribute[i] == type) return true;
  }
  if (info == NULL) return false;
  switch (type) {
    case CKA_LABEL:
    case CKA_APPLICATION: return (s->drop & DROP_LABELS) != 0;
    case CKA_ID:
    case CKA_UNIQUE_ID:
    case CKA_OBJECT_ID: return (s->drop & DROP_IDS) != 0;
    case CKA_VALUE: return (s->drop & (DROP_CERTIFICATES | DROP_NAMES | DROP_SERIALS | DROP_KEYS)) != 0;
    case CKA_HASH_OF_CERTIFICATE:
    case CKA_NSS_CERT_SHA1_HASH:
    case CKA_NSS_CERT_MD5_HASH: return (s->drop & DROP_CERTIFICATES) != 0;
    case CKA_HASH_OF_SUBJECT_PUBLIC_KEY:
    case CKA_HASH_OF_ISSUER_PUBLIC_KEY: return (s->drop & (DROP_CERTIFICATES | DROP_KEYS)) != 0;
    case CKA_MODULUS:
    case CKA_EC_POINT:
    case CKA_PUBLIC_KEY_INFO: return (s->drop & DROP_KEYS) != 0;
    case CKA_SERIAL_NUMBER: return (s->drop & DROP_SERIALS) != 0;
    case CKA_URL: return (s->drop & DROP_NAMES) != 0;
    default: break;
  }
  if ((s->drop & DROP_NAMES) == 0) return false;
  return info->kind == P11_A_NAME || strstr(info->name, "EMAIL") != NULL || strstr(info->name, "URL") != NULL;
}

static bool is_meta_name(uint64_t type, const struct p11_attribute_info *info)
{
  return info != NULL && (info->kind == P11_A_BOOL || type == CKA_CLASS || type == CKA_KEY_TYPE);
}

static void strict_template(struct strict *s, struct value *v);
static void strict_struct(struct strict *s, struct value *v);

/* What is there of a CKA_VALUE was public when our recorder wrote it: a certificate, or a public key. Of another's trace it is
 * asked as the recorder asks it. */
static unsigned attribute_secrecy(const struct strict *s, const struct p11_attribute_info *info, const struct value *v,
                                  bool is_public)
{
  if (info == NULL) return P11_SECRET;
  if (info->secrecy != P11_VALUE) return info->secrecy;
  const bool shown = !s->only_secrets || is_public || v->form != P11T_V_FULL || shape_is_certificate(v->bytes, v->kept);
  return shown ? P11_PUBLIC : P11_SECRET;
}

static void strict_attribute(struct strict *s, struct value *a, bool is_public)
{
  const struct p11_attribute_info *info = p11_attribute(a->number);
  if (a->count == 0) return;
  struct value *v = a->item;
  const bool asked = is_asked(s, a->number, info);
  const bool says_nothing = v->what == VALUE_BYTES && v->form != P11T_V_FULL && v->form != P11T_V_CUT &&
                            v->form != P11T_V_TAG && v->form != P11T_V_SEALED;
  if (v->what == VALUE_NONE || says_nothing) return;
  if (s->meta && !is_meta_name(a->number, info)) {
    only_length(v, P11_SECRET, v->what == VALUE_BYTES ? v->length : a->length);
    s->taken++;
  } else if (asked && v->what != VALUE_BYTES) {
    only_length(v, P11_PUBLIC, a->length);
    s->taken++;
  } else if (v->what == VALUE_TEMPLATE) {
    strict_template(s, v);
  } else {
    strict_bytes(s, v, attribute_secrecy(s, info, v, is_public), asked);
  }
}

static void strict_template(struct strict *s, struct value *v)
{
  bool is_public = false; /* the template says that it is of a certificate or a public key */
  for (size_t i = 0; i < v->count; i++) {
    const struct value *a = &v->item[i];
    if (a->number != CKA_CLASS || a->count == 0 || a->item->what != VALUE_NUMBER) continue;
    is_public = a->item->number == CKO_CERTIFICATE || a->item->number == CKO_PUBLIC_KEY;
  }
  for (size_t i = 0; i < v->count; i++) strict_attribute(s, &v->item[i], is_public);
}

static unsigned plain_secrecy(uint64_t mechanism)
{
  switch (p11_mechanism_plain(mechanism)) {
    case P11_PLAIN_IV:
    case P11_PLAIN_NUMBER:
    case P11_PLAIN_HANDLE:
    case P11_PLAIN_VERSION: return P11_PUBLIC;
    default: return P11_SECRET;
  }
}

/* Anything that is not bytes of its own. */
static void strict_inside(struct strict *s, struct value *v)
{
  switch (v->what) {
    case VALUE_TEMPLATE: strict_template(s, v); break;
    case VALUE_STRUCT: strict_struct(s, v); break;
    case VALUE_LIST:
      for (size_t i = 0; i < v->count; i++) strict_inside(s, &v->item[i]);
      break;
    case VALUE_MECHANISM:
      if (v->count == 0) break;
      if (v->item->what == VALUE_BYTES) {
        const uint64_t given = v->item->length; /* of the parameter: it stands beside the value too */
        strict_bytes(s, v->item, plain_secrecy(v->number), false);
        v->item->length = given;
      } else {
        strict_inside(s, v->item);
      }
      break;
    case VALUE_INIT_ARGS:
      if (v->count > 0) strict_bytes(s, v->item, P11_SECRET, false);
      break;
    default: break;
  }
}

static bool is_dropped_field(const struct strict *s, const struct p11_field *f)
{
  if (strcmp(f->name, "label") == 0) return (s->drop & DROP_LABELS) != 0;
  const bool serial = strcmp(f->name, "serialNumber") == 0 || strcmp(f->name, "slotDescription") == 0;
  return serial && (s->drop & DROP_SERIALS) != 0;
}

static void strict_struct(struct strict *s, struct value *v)
{
  const struct p11_struct *info = p11_struct_info(v->structure);
  for (size_t i = 0; i < v->count; i++) {
    struct value *m = &v->item[i];
    const struct p11_field *f = info != NULL && m->member < info->count ? &info->field[m->member] : NULL;
    if (m->what == VALUE_BYTES) {
      strict_bytes(s, m, f == NULL || f->secrecy == 0 ? P11_SECRET : f->secrecy, f != NULL && is_dropped_field(s, f));
    } else {
      strict_inside(s, m);
    }
  }
}

static void strict_value(struct strict *s, const struct p11_param *p, struct value *v)
{
  if (v->what == VALUE_BYTES && p->kind < 64) {
    const bool label = p->kind == P11_K_CHARS && (s->drop & DROP_LABELS) != 0;
    strict_bytes(s, v, p->secrecy == 0 ? P11_SECRET : p->secrecy, label);
  } else if (v->what == VALUE_BYTES) { /* of a newer recorder: nobody knows what it is */
    s->taken += v->kept > 0;
    v->kept = v->length = 0;
  } else {
    strict_inside(s, v);
  }
}

void strict_enter(struct strict *s, struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) strict_value(s, &call->info->param[i], &call->arg[i].in);
}

void strict_leave(struct strict *s, struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    strict_value(s, &call->info->param[i], &call->arg[i].in);
    strict_value(s, &call->info->param[i], &call->arg[i].out);
  }
}

bool strict_secrets(struct strict *s, struct call *call)
{
  s->only_secrets = true;
  s->payload = false;
  strict_leave(s, call);
  return s->payload;
}
