/* Kinds of objects. */
#include "object/kinds.h"

#include <pthread.h>
#include <stdlib.h>

#include "spec.h"

/* clang-format off */
#define GROUPS(X) \
  X(OBJECT) X(STORAGE) X(DATA) X(CERTIFICATE) X(X509) X(WTLS) X(X509_ATTRIBUTE) X(KEY) X(PUBLIC) X(PRIVATE) X(SECRET) \
  X(BYTES) X(RSA_PUBLIC) X(RSA_PRIVATE) X(DSA_PUBLIC) X(DSA_PRIVATE) X(DH_PUBLIC) X(DH_PRIVATE) X(EC_PUBLIC) \
  X(EC_PRIVATE) X(DOMAIN_PARAMETERS) X(DSA_PARAMETERS) X(DH_PARAMETERS) X(PROFILE) X(TRUST) X(NSS_TRUST) X(NSS_CRL) \
  X(NSS_SMIME) X(VENDOR)
enum group_number {
#define X(name) NUMBER_##name,
  GROUPS(X)
#undef X
  GROUP_COUNT
};
enum group {
#define X(name) name = (int)(1u << NUMBER_##name),
  GROUPS(X)
#undef X
};
_Static_assert(GROUP_COUNT <= 31, "groups fit into an int");

#define USES(X) \
  X(ENCRYPT) X(DECRYPT) X(SIGN) X(SIGN_RECOVER) X(VERIFY) X(VERIFY_RECOVER) X(WRAP) X(UNWRAP) X(DERIVE)
enum use_number {
#define X(name) USE_NUMBER_##name,
  USES(X)
#undef X
};
enum use {
#define X(name) name = 1 << USE_NUMBER_##name,
  USES(X)
#undef X
};

#define NONE CK_UNAVAILABLE_INFORMATION
static const struct tok_kind kinds[] = {
#define K(class, type, groups, usage) {class, type, groups, usage},
#include "object/kinds.def"
};
#undef NONE

static const struct {
  uint32_t group;
  CK_ATTRIBUTE_TYPE type;
  uint32_t footnotes;
  enum tok_default otherwise;
} table[] = {
#define R(group, attribute, footnotes, otherwise) {group, attribute, footnotes, TOK_D_##otherwise},
#include "object/kind_attributes.def"
};
/* clang-format on */
#define KINDS (sizeof kinds / sizeof kinds[0])
#define RULES (sizeof table / sizeof table[0])

/* Any vendor's attribute of a kind that takes them. */
static const struct tok_rule vendor_rule = {CKA_VENDOR_DEFINED, F8, TOK_D_ABSENT, P11_A_BYTES};

/* The rules of each kind, sorted by type: made once, because a template is looked up attribute by attribute. */
#define MOST_RULES 64
static struct tok_rule rules[RULES];
static const struct tok_rule *sorted[KINDS][MOST_RULES];
static size_t counts[KINDS];

static int by_type(const void *a, const void *b)
{
  const struct tok_rule *const *left = a, *const *right = b;
  return ((*left)->type > (*right)->type) - ((*left)->type < (*right)->type);
}

static void make_lists(void)
{
  for (size_t i = 0; i < RULES; i++) {
    const struct p11_attribute_info *info = p11_attribute(table[i].type);
    rules[i] = (struct tok_rule){table[i].type, table[i].footnotes, (uint8_t)table[i].otherwise,
                                 info != NULL ? info->kind : P11_A_BYTES};
  }
  for (size_t k = 0; k < KINDS; k++) {
    for (size_t i = 0; i < RULES; i++)
      if ((table[i].group & kinds[k].groups) != 0 && counts[k] < MOST_RULES) sorted[k][counts[k]++] = &rules[i];
    qsort(sorted[k], counts[k], sizeof sorted[k][0], by_type);
  }
}

static size_t list_of(const struct tok_kind *kind)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_lists);
  return (size_t)(kind - kinds);
}

CK_ATTRIBUTE_TYPE tok_class_type_attribute(CK_OBJECT_CLASS class)
{
  switch (class) {
    case CKO_CERTIFICATE: return CKA_CERTIFICATE_TYPE;
    case CKO_PUBLIC_KEY:
    case CKO_PRIVATE_KEY:
    case CKO_SECRET_KEY:
    case CKO_DOMAIN_PARAMETERS: return CKA_KEY_TYPE;
    default: return 0;
  }
}

bool tok_class_known(CK_OBJECT_CLASS class)
{
  for (size_t i = 0; i < KINDS; i++)
    if (kinds[i].class == class) return true;
  return false;
}

bool tok_type_known(CK_ATTRIBUTE_TYPE type_attribute, CK_ULONG type)
{
  for (size_t i = 0; i < KINDS; i++)
    if (kinds[i].type == type && type != CK_UNAVAILABLE_INFORMATION &&
        tok_class_type_attribute(kinds[i].class) == type_attribute)
      return true;
  return false;
}

const struct tok_kind *tok_kind_find(CK_OBJECT_CLASS class, CK_ULONG type)
{
  for (size_t i = 0; i < KINDS; i++)
    if (kinds[i].class == class && kinds[i].type == type) return &kinds[i];
  return NULL;
}

const struct tok_kind *tok_kind_of(const struct tok_attrs *attrs)
{
  CK_OBJECT_CLASS class = tok_attrs_ulong(attrs, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
  CK_ATTRIBUTE_TYPE type = tok_class_type_attribute(class);
  return tok_kind_find(
      class, type != 0 ? tok_attrs_ulong(attrs, type, CK_UNAVAILABLE_INFORMATION) : CK_UNAVAILABLE_INFORMATION);
}

size_t tok_rules_of(const struct tok_kind *kind, const struct tok_rule *const **list)
{
  size_t k = list_of(kind);
  *list = sorted[k];
  return counts[k];
}

const struct tok_rule *tok_rule_find(const struct tok_kind *kind, CK_ATTRIBUTE_TYPE type)
{
  const struct tok_rule *const *list;
  size_t low = 0, high = tok_rules_of(kind, &list), count = high;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (list[middle]->type < type)
      low = middle + 1;
    else
      high = middle;
  }
  if (low < count && list[low]->type == type) return list[low];
  return type >= CKA_VENDOR_DEFINED && (kind->groups & VENDOR) != 0 ? &vendor_rule : NULL;
}

bool tok_attr_hidden(const struct tok_kind *kind, const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type)
{
  const struct tok_rule *rule = tok_rule_find(kind, type);
  if (rule == NULL || (rule->footnotes & F7) == 0) return false;
  return tok_attrs_bool(attrs, CKA_SENSITIVE, true) || !tok_attrs_bool(attrs, CKA_EXTRACTABLE, false);
}

bool tok_attr_is_secret(const struct tok_kind *kind, CK_ATTRIBUTE_TYPE type)
{
  if (kind->class != CKO_PRIVATE_KEY && kind->class != CKO_SECRET_KEY) return false;
  const struct tok_rule *rule = tok_rule_find(kind, type);
  const struct p11_attribute_info *info = p11_attribute(type);
  return rule == NULL || (rule->footnotes & F7) != 0 || info == NULL || info->secrecy == P11_SECRET;
}

bool tok_use_by_default(const struct tok_kind *kind, CK_ATTRIBUTE_TYPE usage)
{
  switch (usage) {
#define X(name) \
  case CKA_##name: return (kind->usage & name) != 0;
    USES(X)
#undef X
    default: return false;
  }
}
