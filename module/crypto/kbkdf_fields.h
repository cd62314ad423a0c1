/* The parameters of an SP800-108 derivation, and the PRF's input that is made of them. */
#ifndef TOK_KBKDF_FIELDS_H
#define TOK_KBKDF_FIELDS_H

#include "crypto/derive.h"
#include "crypto/hash.h"

struct tok_mech;
extern const struct tok_family tok_family_kbkdf;

struct tok_kbkdf {
  CK_MECHANISM_TYPE mode, prf;
  struct tok_object *base;
  const CK_PRF_DATA_PARAM *fields;
  CK_ULONG field_count;
  struct tok_span iv; /* feedback */
  const CK_DERIVED_KEY *keys;
  CK_ULONG more; /* number of `keys` */
  /* after tok_kbkdf_prepare */
  enum tok_hash hash; /* TOK_HASH_NONE: CMAC */
  struct tok_span secret;
  CK_BYTE des3[24];          /* K1 K2 K1 of a key of two parts */
  CK_ULONG block;            /* bytes of the PRF's output */
  struct tok_object **inner; /* keys whose values are fields; as many entries as fields, NULL for the others */
  bool always_sensitive, never_extractable; /* of any of the keys */
  /* after tok_kbkdf_lengths */
  uint64_t dkm_bits;
  CK_ULONG room; /* bytes of the PRF's input, at most */
};

/* The caller's structure, not looked into further. False if it has another size or contradicts itself. */
bool tok_kbkdf_read(CK_MECHANISM_PTR mechanism, struct tok_kbkdf *k);
/* Checks the fields against the mode, finds the PRF and the keys that are fields. CKR_MECHANISM_PARAM_INVALID,
 * CKR_KEY_TYPE_INCONSISTENT if the PRF does not take the base, CKR_KEY_FUNCTION_NOT_PERMITTED if it would give a key
 * away that is a field, or what tok_key_get says of the other keys. */
CK_RV tok_kbkdf_prepare(struct tok_session *session, const struct tok_mech *mech, struct tok_kbkdf *k);
/* Settles the length field for `bytes` of keys in `segments` blocks. CKR_KEY_SIZE_RANGE if the counter does not count
 * so far, CKR_MECHANISM_PARAM_INVALID if the length does not fit its field. */
CK_RV tok_kbkdf_lengths(struct tok_kbkdf *k, CK_ULONG bytes, CK_ULONG segments);
/* The input for the `i`th block into `out` (k->room bytes); returns its length. i = 0 leaves out iteration variable and
 * counter, as the double pipeline's A(0) does. */
CK_ULONG tok_kbkdf_input(const struct tok_kbkdf *k, struct tok_span iteration, CK_ULONG i, CK_BYTE *out);
/* k->block bytes of PRF(base key, data). */
CK_RV tok_kbkdf_prf(const struct tok_kbkdf *k, const CK_BYTE *data, CK_ULONG len, CK_BYTE *out);
void tok_kbkdf_free(struct tok_kbkdf *k);

#endif
