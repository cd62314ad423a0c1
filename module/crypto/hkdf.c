/* CKM_HKDF_DERIVE and CKM_HKDF_DATA: RFC 5869 (PKCS #11 3.2, 6.62). */
#include <openssl/crypto.h>
#include <string.h>

#include "core/module.h"
#include "crypto/derive.h"
#include "crypto/hash.h"
#include "crypto/mech.h"

/* The salt; *key is set if it is that of a key or data object, and is the caller's reference. No salt is one of no
 * bytes, which to HMAC is the same as "a string of HashLen zeros". */
static CK_RV find_salt(struct tok_session *session, const struct tok_mech *mech, const CK_HKDF_PARAMS *p,
                       struct tok_object **key, struct tok_span *salt)
{
  CK_RV rv = CKR_OK;
  *salt = (struct tok_span){(const CK_BYTE *)"", 0};
  switch (p->ulSaltType) {
    case CKF_HKDF_SALT_NULL: return CKR_OK;
    case CKF_HKDF_SALT_DATA:
      if (p->pSalt == NULL && p->ulSaltLen > 0) return CKR_MECHANISM_PARAM_INVALID;
      if (p->ulSaltLen > TOK_DERIVE_MOST) return CKR_MECHANISM_PARAM_INVALID;
      if (p->ulSaltLen > 0) *salt = (struct tok_span){p->pSalt, p->ulSaltLen};
      return CKR_OK;
    case CKF_HKDF_SALT_KEY:
      rv = tok_key_get(session, p->hSaltKey, mech, CKA_DERIVE, key);
      if (rv == CKR_KEY_HANDLE_INVALID && tok_object_get(session, p->hSaltKey, key) == CKR_OK)
        rv = (*key)->class == CKO_DATA ? CKR_OK : CKR_KEY_HANDLE_INVALID;
      return rv == CKR_OK ? tok_derive_value(*key, salt) : rv;
    default: return CKR_MECHANISM_PARAM_INVALID;
  }
}

/* T(i) = HMAC(prk, T(i-1) || info || i), one after the other. */
static CK_RV expand(enum tok_hash hash, struct tok_span prk, struct tok_span info, CK_BYTE *out, CK_ULONG len)
{
  CK_BYTE block[64];
  CK_ULONG h = tok_hash_size(hash), done = 0;
  CK_BYTE *input = tok_alloc(h + info.len + 1); /* T(i-1), info, i; the first time from info on */
  if (input == NULL) return CKR_HOST_MEMORY;
  if (info.len > 0) memcpy(input + h, info.data, info.len);
  CK_RV rv = CKR_OK;
  for (unsigned i = 1; rv == CKR_OK && done < len; i++) {
    input[h + info.len] = (CK_BYTE)i;
    CK_ULONG from = i == 1 ? h : 0;
    rv = tok_hmac_once(hash, prk.data, prk.len, input + from, h - from + info.len + 1, block);
    memcpy(input, block, h);
    CK_ULONG part = len - done < h ? len - done : h;
    memcpy(out + done, block, part);
    done += part;
  }
  OPENSSL_cleanse(block, sizeof block);
  tok_wipe_free(input, h + info.len + 1);
  return rv;
}

/* The whole of it, or one half, into `out`. */
static CK_RV run(const CK_HKDF_PARAMS *p, enum tok_hash hash, struct tok_span value, struct tok_span salt, CK_BYTE *out,
                 CK_ULONG len)
{
  CK_BYTE prk[64];
  CK_ULONG h = tok_hash_size(hash);
  CK_RV rv = CKR_OK;
  if (p->bExtract) {
    rv = tok_hmac_once(hash, salt.data, salt.len, value.data, value.len, prk);
    value = (struct tok_span){prk, h};
  }
  if (rv == CKR_OK && !p->bExpand) memcpy(out, prk, len);
  if (rv == CKR_OK && p->bExpand) rv = expand(hash, value, (struct tok_span){p->pInfo, p->ulInfoLen}, out, len);
  OPENSSL_cleanse(prk, sizeof prk);
  return rv;
}

static CK_RV wanted_length(const CK_HKDF_PARAMS *p, CK_ULONG h, const struct tok_attrs *key,
                           const struct tok_template *t, CK_ULONG *len)
{
  CK_RV rv = tok_derive_length(key, t, p->bExpand ? 0 : h, !p->bExpand, len);
  if (rv != CKR_OK) return rv;
  /* "If it [bExpand] is false CKA_VALUE_LEN may be set to the length of the hash." */
  if (!p->bExpand && *len != h) return CKR_TEMPLATE_INCONSISTENT;
  return *len <= 255 * h ? CKR_OK : CKR_KEY_SIZE_RANGE;
}

static CK_RV derive(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                    struct tok_object *base, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key,
                    bool *none)
{
  (void)none;
  const struct tok_template t = {templ, count};
  const CK_HKDF_PARAMS *p = tok_mech_param(mechanism, sizeof *p);
  if (p == NULL || (!p->bExtract && !p->bExpand)) return CKR_MECHANISM_PARAM_INVALID;
  if (p->bExpand && ((p->pInfo == NULL && p->ulInfoLen > 0) || p->ulInfoLen > TOK_DERIVE_MOST))
    return CKR_MECHANISM_PARAM_INVALID;
  enum tok_hash hash = tok_hash_by_mechanism(p->prfHashMechanism);
  if (hash == TOK_HASH_NONE) return CKR_MECHANISM_PARAM_INVALID;
  /* "The input key must be of type CKK_HKDF or CKK_GENERIC_SECRET." */
  if (base->class == CKO_SECRET_KEY && base->key_type != CKK_HKDF && base->key_type != CKK_GENERIC_SECRET)
    return CKR_KEY_TYPE_INCONSISTENT;
  struct tok_object *salt_key = NULL;
  struct tok_span value, salt = {NULL, 0};
  CK_BYTE *out = NULL;
  CK_ULONG len = 0;
  CK_RV rv = tok_derive_value(base, &value);
  if (rv == CKR_OK && p->bExtract) rv = find_salt(session, mech, p, &salt_key, &salt);
  if (rv == CKR_OK) rv = tok_derive_inherit(key, &t, base, TOK_BOND_DEFAULT);
  if (rv == CKR_OK) rv = wanted_length(p, tok_hash_size(hash), key, &t, &len);
  if (rv != CKR_OK) goto out;
  out = tok_alloc(len);
  rv = out != NULL ? run(p, hash, value, salt, out, len) : CKR_HOST_MEMORY;
  if (rv == CKR_OK) rv = tok_derive_set(key, out, len);
out:
  tok_wipe_free(out, out != NULL ? len : 0);
  tok_object_unref(salt_key);
  return rv;
}

const struct tok_family tok_family_hkdf = {.derive = derive};
