/* Mechanisms: a table (mechanisms.def) and, for each family of them, a table of functions. */
#ifndef TOK_MECH_H
#define TOK_MECH_H

#include <stdbool.h>
#include <stddef.h>

#include "object/attrs.h"
#include "pkcs11.h"

struct tok_session;
struct tok_object;
struct tok_op;
struct tok_mech;

/* What a family of mechanisms can do; NULL: cannot. All read the caller's CK_MECHANISM and answer
 * CKR_MECHANISM_PARAM_INVALID when its parameter is not what the mechanism takes. The mechanism's flags, the key's type
 * and its permission have been checked before. */
struct tok_family {
  /* Begin an operation: set op->type and op->state. op->mech, op->kind and op->key are set. */
  CK_RV (*digest)(struct tok_op *op, CK_MECHANISM_PTR mechanism);
  CK_RV (*cipher)(struct tok_op *op, CK_MECHANISM_PTR mechanism); /* op->kind: TOK_ENCRYPT or TOK_DECRYPT */
  CK_RV (*sign)(struct tok_op *op, CK_MECHANISM_PTR mechanism);   /* op->kind: TOK_SIGN or TOK_VERIFY(_SIGNATURE) */
  /* Fill in the key material; the attributes come from tok_template_read and are complete but for it. */
  CK_RV(*generate)
  (struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_attrs *key);
  CK_RV(*generate_pair)
  (struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_attrs *public_key,
   struct tok_attrs *private_key);
  /* Derive from `base`: the chapter has read the template into `key` (class and key type may still be missing: then the
   * derivation decides). A derivation that makes several keys (TLS) publishes the others itself and writes their handles
   * into the parameter; it sets *none if there is no key to return (CKM_TLS12_KEY_AND_MAC_DERIVE ...: phKey is not used).
   * It must not publish anything if it fails. */
  CK_RV(*derive)
  (struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *base,
   const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key, bool *none);
  /* Wrap and unwrap otherwise than by enciphering the key's bytes with `cipher`; NULL: by `cipher`. *out is the caller's
   * (tok_wipe_free). `secret` is what wrap.c makes of the key to be wrapped: its bytes, or PKCS #8. */
  CK_RV(*wrap)
  (const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *wrapping_key, const CK_BYTE *secret,
   CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len);
  CK_RV(*unwrap)
  (const struct tok_mech *mech, CK_MECHANISM_PTR mechanism, struct tok_object *unwrapping_key, const CK_BYTE *wrapped,
   CK_ULONG len, CK_BYTE **out, CK_ULONG *out_len);
};

struct tok_mech {
  CK_MECHANISM_TYPE type;
  CK_KEY_TYPE key;   /* type of the key it works with or makes; CK_UNAVAILABLE_INFORMATION: none, or several (family) */
  CK_ULONG min, max; /* key size, in the mechanism's unit (bits for RSA, DSA, DH, EC; else bytes); 0, 0: none */
  CK_FLAGS flags;    /* as C_GetMechanismInfo tells, and nothing else: NSS derives usage attributes from them */
  const struct tok_family *family;
  unsigned arg; /* the family's: a hash (crypto/hash.h), a cipher, ... */
  enum { TOK_NEEDS_NOTHING, TOK_NEEDS_LEGACY, TOK_NEEDS_TLS } needs; /* what the configuration must have switched on */
};

/* The mechanism, or NULL if it is not there or switched off. */
const struct tok_mech *tok_mech_find(CK_MECHANISM_TYPE type);
/* All that are switched on, by value; returns the number. `list` may be NULL. */
size_t tok_mech_list(CK_MECHANISM_TYPE *list);
/* True if a key of this type may be used with the mechanism (crypto/mech.c: besides mech->key, CKK_GENERIC_SECRET for HMACs
 * and, of AES length, for AES wrapping: NSS exports PKCS #12 so). */
bool tok_mech_takes(const struct tok_mech *mech, CK_KEY_TYPE key, CK_ATTRIBUTE_TYPE usage);

/* The parameter as a structure of exactly `size` bytes, or NULL. */
static inline void *tok_mech_param(CK_MECHANISM_PTR m, CK_ULONG size)
{
  return m->pParameter != NULL && m->ulParameterLen == size ? m->pParameter : NULL;
}
/* True if the mechanism was given no parameter. Callers who pass a pointer with length 0 are forgiven. */
static inline bool tok_mech_bare(CK_MECHANISM_PTR m)
{
  return m->ulParameterLen == 0;
}

#endif
