/* Kinds of objects: which attributes an object of a class and type has, and what may be done with each.
 *
 * Two tables: kinds.def lists the classes with their types of keys and certificates, kind_attributes.def the
 * attributes, group by group as the standard's tables have them, with the standard's footnotes. */
#ifndef TOK_KINDS_H
#define TOK_KINDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "attrs.h"
#include "pkcs11.h"

/* Footnotes of the attribute tables (PKCS #11 3.2, table "Common footnotes for object attribute tables"); 9 and 13
 * tell of defaults and are not needed. */
enum tok_footnote {
  F1 = 1u << 1,   /* must be given to C_CreateObject */
  F2 = 1u << 2,   /* must not be given to C_CreateObject */
  F3 = 1u << 3,   /* must be given to C_GenerateKey and C_GenerateKeyPair */
  F4 = 1u << 4,   /* must not be given to them */
  F5 = 1u << 5,   /* must be given to C_UnwrapKey */
  F6 = 1u << 6,   /* must not be given to it */
  F7 = 1u << 7,   /* not revealed if CKA_SENSITIVE is TRUE or CKA_EXTRACTABLE FALSE */
  F8 = 1u << 8,   /* may be changed by C_SetAttributeValue and in copying */
  F10 = 1u << 10, /* only the SO may set it */
  F11 = 1u << 11, /* not changed once it is TRUE */
  F12 = 1u << 12, /* not changed once it is FALSE */
  FC = 1u << 13   /* may be changed in copying only ("Storage objects") */
};
#define FT (F2 | F4 | F6) /* set by the token and by nobody else */

/* What an attribute is when neither the template nor the key material says it. */
enum tok_default {
  TOK_D_ABSENT, /* the object does not have it */
  TOK_D_FALSE,
  TOK_D_TRUE,
  TOK_D_EMPTY,
  TOK_D_ZERO,       /* a number */
  TOK_D_UNKNOWN,    /* a number: CK_UNAVAILABLE_INFORMATION */
  TOK_D_USAGE,      /* as kinds.def says for this kind */
  TOK_D_PRIVATE,    /* private and secret keys on the token are private, other objects are not */
  TOK_D_EXTRACTABLE /* FALSE for generated private keys, else TRUE */
};

struct tok_rule {
  CK_ATTRIBUTE_TYPE type;
  uint32_t footnotes;
  uint8_t otherwise; /* enum tok_default */
  uint8_t form;      /* enum p11_value_kind of shim/spec/spec.h */
};

struct tok_kind {
  CK_OBJECT_CLASS class;
  CK_ULONG type; /* CKK_, CKC_, or CK_UNAVAILABLE_INFORMATION for classes without types */
  uint32_t groups;
  uint32_t usage; /* TOK_USE_: usage attributes that are TRUE unless the template says otherwise */
};

/* The attribute that tells the type of an object of the class: CKA_KEY_TYPE, CKA_CERTIFICATE_TYPE, or 0. */
CK_ATTRIBUTE_TYPE tok_class_type_attribute(CK_OBJECT_CLASS class);
/* True if objects of the class can be made at all. */
bool tok_class_known(CK_OBJECT_CLASS class);
/* True if some kind of key is of this type, or some kind of certificate. */
bool tok_type_known(CK_ATTRIBUTE_TYPE type_attribute, CK_ULONG type);
/* The kind; NULL if there is none. A secret key whose type is not known yet (derivation) has one of its own, to check a
 * template with: (CKO_SECRET_KEY, CK_UNAVAILABLE_INFORMATION). */
const struct tok_kind *tok_kind_find(CK_OBJECT_CLASS class, CK_ULONG type);
/* The kind of an object from its attributes, or NULL. */
const struct tok_kind *tok_kind_of(const struct tok_attrs *attrs);
static inline bool tok_kind_is_key(const struct tok_kind *kind)
{
  return kind->class == CKO_PUBLIC_KEY || kind->class == CKO_PRIVATE_KEY || kind->class == CKO_SECRET_KEY;
}

/* The rule for an attribute of a kind, or NULL if objects of this kind do not have it. Vendors' attributes that no
 * table has are a matter of their own: certificates, private keys and NSS's classes take any of them, because NSS
 * stores some (CKA_NSS_DB on private keys, CKA_NSS_MOZILLA_CA_POLICY on certificates ...) and new ones come with new
 * versions. */
const struct tok_rule *tok_rule_find(const struct tok_kind *kind, CK_ATTRIBUTE_TYPE type);
/* True if kinds.def says that keys of the kind have this usage attribute unless told otherwise. */
bool tok_use_by_default(const struct tok_kind *kind, CK_ATTRIBUTE_TYPE usage);
/* All rules of a kind, sorted by type. */
size_t tok_rules_of(const struct tok_kind *kind, const struct tok_rule *const **rules);

/* True if the attribute must not be shown or matched: F7, and the object is sensitive or not extractable. */
bool tok_attr_hidden(const struct tok_kind *kind, const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type);
/* True if the value is never written to disk in the clear. */
bool tok_attr_is_secret(const struct tok_kind *kind, CK_ATTRIBUTE_TYPE type);

#endif
