/* What derivations share: the value of a base key, length and type of the new one, and what it inherits. */
#ifndef TOK_DERIVE_H
#define TOK_DERIVE_H

#include <stdbool.h>

#include "object/objects.h"
#include "pkcs11.h"

/* Bytes that belong to somebody else. */
struct tok_span {
  const CK_BYTE *data;
  CK_ULONG len;
};

/* A template, as the caller gave it; the defaults that tok_template_read adds are not in it. */
struct tok_template {
  const CK_ATTRIBUTE *list;
  CK_ULONG count;
};

/* The longest key that a derivation makes, in bytes. */
#define TOK_DERIVE_MOST 65536

/* Kept with a key that was made of a protected one and of bytes that the caller may know; see tok_derive_enough. No
 * caller can set it: it is not an attribute of any class. */
#define TOK_A_MIXED (CKA_VENDOR_DEFINED | 0x50313101UL)

/* How the new key is related to the base, which decides what the template may ask (PKCS #11 3.2, "rules about key
 * sensitivity and extractability" of each mechanism). */
enum tok_bond {
  TOK_BOND_NONE,    /* a shared secret: what the template says, else the defaults */
  TOK_BOND_DEFAULT, /* one-way: what the template says, else what the base has */
  TOK_BOND_BINDS,   /* from a sensitive base a sensitive key, from an unextractable one an unextractable one */
  TOK_BOND_EQUAL    /* the same as the base has */
};

/* The value of a secret key, or of a data object where HKDF takes one; it belongs to `base`. CKR_KEY_TYPE_INCONSISTENT
 * for keys that are not secret keys. */
CK_RV tok_derive_value(const struct tok_object *base, struct tok_span *value);
/* Not sensitive, and extractable: anybody who may use the key may also read it. */
bool tok_derive_readable(const struct tok_object *base);
/* Unextractable: its value must come out by no call whatever, so not by many calls together either. What is sensitive but
 * extractable leaves by C_WrapKey, if somebody wants it to. */
bool tok_derive_stays(const struct tok_object *base);

/* The attribute in the caller's template, or NULL. */
const CK_ATTRIBUTE *tok_template_find(const struct tok_template *t, CK_ATTRIBUTE_TYPE type);

/* Length in bytes of the new key: that of its type, or CKA_VALUE_LEN of the template; `natural` if neither tells and
 * the type is one of any length, or, with `any`, AES. CKR_TEMPLATE_INCOMPLETE if nothing tells,
 * CKR_TEMPLATE_INCONSISTENT if type and template contradict, CKR_ATTRIBUTE_VALUE_INVALID, CKR_KEY_SIZE_RANGE beyond
 * TOK_DERIVE_MOST. */
CK_RV tok_derive_length(const struct tok_attrs *key, const struct tok_template *t, CK_ULONG natural, bool any,
                        CK_ULONG *len);
/* Sets CKA_VALUE and CKA_VALUE_LEN (or makes the value of a data object). */
CK_RV tok_derive_set(struct tok_attrs *key, const CK_BYTE *value, CK_ULONG len);
/* tok_derive_length, then tok_derive_set with the first bytes of the material. CKR_TEMPLATE_INCONSISTENT if there are
 * not enough of them. */
CK_RV tok_derive_leading(struct tok_attrs *key, const struct tok_template *t, const CK_BYTE *material, CK_ULONG len);
/* The same with the last bytes and `any`: of the shared secrets "the truncation removes bytes from the leading end". */
CK_RV tok_derive_trailing(struct tok_attrs *key, const struct tok_template *t, const CK_BYTE *material, CK_ULONG len);

/* CKA_SENSITIVE and CKA_EXTRACTABLE of the new key, and CKA_WRAP_WITH_TRUSTED if the bond binds and the base has it.
 * CKR_TEMPLATE_INCONSISTENT if the template asks for what the bond does not allow. */
CK_RV tok_derive_inherit(struct tok_attrs *key, const struct tok_template *t, const struct tok_object *base,
                         enum tok_bond bond);
/* For derivations that copy bits of a base which cannot be read: are enough of its `len` bytes in the new key? A key
 * with one unknown byte is found by trying out 256 of them, whatever its CKA_SENSITIVE says (Clulow, "On the security
 * of PKCS #11", 2003), so all of the base must be in it, or 112 bits; and of a base that has bytes known to the
 * caller, all. Of an unextractable one always all: 14 bytes with a known one behind them have the same digest and MAC
 * as 15 bytes if the guess was right, and so on byte by byte. CKR_KEY_SIZE_RANGE if not. */
CK_RV tok_derive_enough(const struct tok_object *base, CK_ULONG len, CK_ULONG taken);

/* May the PRF of TLS 1.0 have this key? It works on the two halves of a secret apart, so known bytes before an
 * unextractable key would move its bytes into a half of their own one by one. CKR_KEY_FUNCTION_NOT_PERMITTED. */
CK_RV tok_derive_halves(const struct tok_object *key);

/* Publishes a derived key. CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE follow the base; a derivation from several
 * keys sets in `key` what these have together. Takes the attributes, like tok_object_add. */
CK_RV tok_derive_publish(struct tok_session *session, const struct tok_object *base, struct tok_attrs *key,
                         CK_OBJECT_HANDLE *handle);
/* Destroys keys published before something failed; 0 is skipped, and all become 0. */
void tok_derive_discard(struct tok_session *session, CK_OBJECT_HANDLE *handles, size_t count);
/* Destroys the additional keys of an SP800-108 derivation whose first key could not be published (kbkdf.c). */
void tok_kbkdf_discard(struct tok_session *session, CK_MECHANISM_PTR mechanism);

#endif
