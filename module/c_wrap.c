/* Keys out and in under other keys (PKCS #11 3.2, 5.18.3 and 5.18.4): C_WrapKey and C_UnwrapKey.
 *
 * A secret key is its CKA_VALUE, a private key is PKCS #8; the mechanism enciphers that. */
#include <stdlib.h>
#include <string.h>

#include "core/entry.h"
#include "core/module.h"
#include "crypto/mech.h"
#include "crypto/op.h"
#include "crypto/pkcs1_unwrap.h"
#include "crypto/pkey.h"
#include "crypto/secret.h"
#include "object/objects.h"
#include "wrap.h"

/* Mechanisms that do not keep the length of what they wrap, or cannot wrap everything. */
/* clang-format off */
static const struct form {
  CK_MECHANISM_TYPE mechanism;
  CK_ULONG block;   /* a key is filled up with zeros to a multiple of it */
  bool secret_only; /* "can wrap and unwrap any secret key", and no private key */
  bool needs_len;   /* unwrapping does not show how long the key was */
} forms[] = {
  {CKM_AES_ECB, 16, true, true},
  {CKM_AES_CBC, 16, true, true},
  {CKM_DES3_ECB, 8, true, true},
  {CKM_DES3_CBC, 8, true, true},
  {CKM_DES_ECB, 8, true, true},
  {CKM_DES_CBC, 8, true, true},
  {CKM_RC2_ECB, 8, true, true},
  {CKM_RC2_CBC, 8, true, true},
  {CKM_AES_KEY_WRAP, 8, false, false},
  {CKM_NSS_AES_KEY_WRAP, 8, false, false},
  {CKM_RSA_PKCS, 1, true, false},
  {CKM_RSA_PKCS_OAEP, 1, true, false},
  {CKM_RSA_X_509, 1, true, true},
};
/* clang-format on */

static const struct form *form_of(const struct tok_mech *mech)
{
  static const struct form any = {CK_UNAVAILABLE_INFORMATION, 1, false, false};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
    if (forms[i].mechanism == mech->type) return &forms[i];
  return &any;
}

/* Codes of enciphering in the words of these two functions. */
/* clang-format off */
static const struct { CK_RV cipher, wrap, unwrap; } codes[] = {
  {CKR_KEY_HANDLE_INVALID,     CKR_WRAPPING_KEY_HANDLE_INVALID,    CKR_UNWRAPPING_KEY_HANDLE_INVALID},
  {CKR_KEY_SIZE_RANGE,         CKR_WRAPPING_KEY_SIZE_RANGE,        CKR_UNWRAPPING_KEY_SIZE_RANGE},
  {CKR_KEY_TYPE_INCONSISTENT,  CKR_WRAPPING_KEY_TYPE_INCONSISTENT, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT},
  {CKR_DATA_LEN_RANGE,         CKR_KEY_SIZE_RANGE,                 CKR_WRAPPED_KEY_LEN_RANGE},
  {CKR_DATA_INVALID,           CKR_KEY_NOT_WRAPPABLE,              CKR_WRAPPED_KEY_INVALID},
  {CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_FUNCTION_FAILED,              CKR_WRAPPED_KEY_LEN_RANGE},
  {CKR_ENCRYPTED_DATA_INVALID, CKR_FUNCTION_FAILED,                CKR_WRAPPED_KEY_INVALID},
  {CKR_AEAD_DECRYPT_FAILED,    CKR_FUNCTION_FAILED,                CKR_WRAPPED_KEY_INVALID},
};
/* clang-format on */

static CK_RV in_words(CK_RV rv, bool wrap)
{
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
    if (codes[i].cipher == rv) return wrap ? codes[i].wrap : codes[i].unwrap;
  return rv;
}

/* --- C_WrapKey ---------------------------------------------------------------------------------------------- */

/* CKA_WRAP_TEMPLATE: "if all attributes match according to the C_FindObject rules"; what the wrapping key does not have is
 * not checked. */
static CK_RV fits_template(const struct tok_object *wrapping_key, const struct tok_object *key)
{
  struct tok_attrs wanted = TOK_ATTRS_EMPTY;
  CK_ULONG len;
  const CK_BYTE *templ = tok_attrs_get(&wrapping_key->attrs, CKA_WRAP_TEMPLATE, &len);
  CK_RV rv = templ != NULL ? tok_attrs_read(&wanted, templ, len) : CKR_OK;
  for (size_t i = 0; i < wanted.count && rv == CKR_OK; i++)
    if (!tok_attrs_equal(&key->attrs, wanted.list[i].type, wanted.list[i].value, wanted.list[i].len))
      rv = CKR_KEY_HANDLE_INVALID;
  tok_attrs_clear(&wanted);
  return rv;
}

/* May this key be wrapped with that one? */
static CK_RV may_wrap(const struct tok_object *wrapping_key, const struct form *form, const struct tok_object *key)
{
  if (key->class == CKO_PUBLIC_KEY) return CKR_KEY_NOT_WRAPPABLE;
  if (key->class != CKO_SECRET_KEY && key->class != CKO_PRIVATE_KEY) return CKR_KEY_HANDLE_INVALID;
  if (key->sealed) return CKR_USER_NOT_LOGGED_IN;
  if (!tok_attrs_bool(&key->attrs, CKA_EXTRACTABLE, false)) return CKR_KEY_UNEXTRACTABLE;
  if (tok_attrs_bool(&key->attrs, CKA_WRAP_WITH_TRUSTED, false) &&
      !tok_attrs_bool(&wrapping_key->attrs, CKA_TRUSTED, false))
    return CKR_KEY_NOT_WRAPPABLE;
  if (key->class == CKO_PRIVATE_KEY && form->secret_only) return CKR_KEY_NOT_WRAPPABLE;
  return fits_template(wrapping_key, key);
}

/* The bytes of a key, filled up with zeros; *out is the caller's (tok_wipe_free). */
static CK_RV bytes_of(struct tok_object *key, CK_ULONG block, CK_BYTE **out, CK_ULONG *len)
{
  CK_BYTE *pkcs8 = NULL;
  CK_ULONG plain_len = 0;
  const CK_BYTE *plain;
  if (key->class == CKO_PRIVATE_KEY) {
    CK_RV rv = tok_pkcs8_write(key, &pkcs8, &plain_len);
    if (rv != CKR_OK) return rv;
    plain = pkcs8;
  } else {
    plain = tok_attrs_get(&key->attrs, CKA_VALUE, &plain_len);
  }
  CK_RV rv = CKR_KEY_NOT_WRAPPABLE;
  if (plain == NULL || plain_len == 0) goto out;
  *len = plain_len + (block - plain_len % block) % block;
  *out = tok_alloc(*len);
  rv = *out != NULL ? CKR_OK : CKR_HOST_MEMORY;
  if (rv == CKR_OK) memcpy(*out, plain, plain_len);
out:
  tok_wipe_free(pkcs8, plain_len);
  return rv;
}

CK_RV tok_wrap(struct tok_session *session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE wrapping_handle,
               CK_OBJECT_HANDLE handle, CK_BYTE **out, CK_ULONG *out_len)
{
  const struct tok_mech *mech = tok_mech_find(mechanism->mechanism);
  if (mech == NULL || (mech->flags & CKF_WRAP) == 0) return CKR_MECHANISM_INVALID;
  const struct form *form = form_of(mech);
  struct tok_object *wrapping_key = NULL, *key = NULL;
  CK_BYTE *plain = NULL;
  CK_ULONG plain_len = 0;
  CK_RV rv = tok_key_get(session, wrapping_handle, mech, CKA_WRAP, &wrapping_key);
  if (rv != CKR_OK) return rv;
  rv = tok_object_get(session, handle, &key);
  if (rv == CKR_OBJECT_HANDLE_INVALID) rv = CKR_KEY_HANDLE_INVALID;
  if (rv == CKR_OK) rv = may_wrap(wrapping_key, form, key);
  if (rv == CKR_OK) rv = bytes_of(key, form->block, &plain, &plain_len);
  if (rv != CKR_OK) goto out;
  if (mech->family->wrap != NULL)
    rv = mech->family->wrap(mech, mechanism, wrapping_key, plain, plain_len, out, out_len);
  else
    rv = tok_op_run(mech, TOK_ENCRYPT, mechanism, wrapping_key, plain, plain_len, out, out_len);
  rv = in_words(rv, true);
out:
  tok_wipe_free(plain, plain_len);
  tok_object_unref(key);
  tok_object_unref(wrapping_key);
  return rv;
}

CK_RV tok_wrap_output(const CK_BYTE *from, CK_ULONG len, CK_BYTE *to, CK_ULONG *to_len)
{
  CK_RV rv = to != NULL && *to_len < len ? CKR_BUFFER_TOO_SMALL : CKR_OK;
  if (to != NULL && rv == CKR_OK) memcpy(to, from, len);
  *to_len = len;
  return rv;
}

CK_RV tok_C_WrapKey(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                    CK_OBJECT_HANDLE hWrappingKey, CK_OBJECT_HANDLE hKey, CK_BYTE_PTR pWrappedKey,
                    CK_ULONG_PTR pulWrappedKeyLen)
{
  (void)hSession;
  CK_BYTE *wrapped = NULL;
  CK_ULONG len = 0;
  CK_RV rv = tok_wrap(session, pMechanism, hWrappingKey, hKey, &wrapped, &len);
  if (rv == CKR_OK) rv = tok_wrap_output(wrapped, len, pWrappedKey, pulWrappedKeyLen);
  tok_wipe_free(wrapped, len);
  return rv;
}

/* --- C_UnwrapKey -------------------------------------------------------------------------------------------- */

static bool is_nested(CK_ATTRIBUTE_TYPE type)
{
  return type == CKA_WRAP_TEMPLATE || type == CKA_UNWRAP_TEMPLATE || type == CKA_DERIVE_TEMPLATE;
}

/* Reads the template for the new key together with what CKA_UNWRAP_TEMPLATE adds: "if any attribute conflict occurs on an
 * attempt to unwrap a key then the function SHALL return CKR_TEMPLATE_INCONSISTENT". That is what tok_template_read says to
 * two values of one attribute. Templates inside the template are kept in another form, so they are added afterwards. */
static CK_RV read_template(struct tok_session *session, const struct tok_object *unwrapping_key,
                           const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key)
{
  struct tok_attrs added = TOK_ATTRS_EMPTY;
  CK_ATTRIBUTE *all = NULL;
  CK_ULONG len, class = CKO_SECRET_KEY, total = count;
  const CK_BYTE *stored = tok_attrs_get(&unwrapping_key->attrs, CKA_UNWRAP_TEMPLATE, &len);
  CK_RV rv = stored != NULL ? tok_attrs_read(&added, stored, len) : CKR_OK;
  if (rv != CKR_OK) goto out;
  all = calloc(count + added.count + 1, sizeof *all);
  rv = CKR_HOST_MEMORY;
  if (all == NULL) goto out;
  if (count != 0) memcpy(all, templ, count * sizeof *all);
  for (size_t i = 0; i < added.count; i++)
    if (!is_nested(added.list[i].type))
      all[total++] = (CK_ATTRIBUTE){added.list[i].type, added.list[i].value, added.list[i].len};
  /* As softoken: a template without a class asks for a secret key. */
  for (CK_ULONG i = 0; i < total; i++)
    if (all[i].type == CKA_CLASS) class = CK_UNAVAILABLE_INFORMATION;
  rv = tok_template_read(session, TOK_UNWRAP, class, CK_UNAVAILABLE_INFORMATION, all, total, key);
  if (rv == CKR_OK) rv = tok_unwrap_keep_sensitive(unwrapping_key, key);
  for (size_t i = 0; i < added.count && rv == CKR_OK; i++) {
    if (!is_nested(added.list[i].type)) continue;
    if (!tok_attrs_has(key, added.list[i].type))
      rv = tok_attrs_set(key, added.list[i].type, added.list[i].value, added.list[i].len);
    else if (!tok_attrs_equal(key, added.list[i].type, added.list[i].value, added.list[i].len))
      rv = CKR_TEMPLATE_INCONSISTENT;
  }
out:
  free(all);
  tok_attrs_clear(&added);
  return rv;
}

/* The length that a secret key must have, by its template or its type; 0: what comes out. */
static CK_RV length_wanted(const struct tok_attrs *key, const struct form *form, CK_ULONG *len)
{
  CK_KEY_TYPE type = tok_attrs_ulong(key, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  CK_ULONG fixed = tok_secret_fixed_size(type);
  *len = tok_attrs_ulong(key, CKA_VALUE_LEN, fixed);
  if (fixed != 0 && *len != fixed) return CKR_WRAPPED_KEY_LEN_RANGE;
  if (*len == 0 && tok_attrs_has(key, CKA_VALUE_LEN)) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (*len != 0) return tok_secret_size_ok(type, *len) ? CKR_OK : CKR_WRAPPED_KEY_LEN_RANGE;
  /* "SHALL specify CKA_VALUE_LEN when neither the key type of the unwrapped key nor the unwrapping mechanism unambiguously
   * determine the length". AES keys of 16 and 32 bytes fill their blocks; who has wrapped one of 24 must say so. */
  bool blocks = type == CKK_AES && form->block != 1;
  return form->needs_len && !blocks ? CKR_TEMPLATE_INCOMPLETE : CKR_OK;
}

/* Takes a secret key out of what was deciphered. At most one block less a byte is cut off: a key must not become a shorter
 * one that can be guessed. */
static CK_RV take_secret(struct tok_attrs *key, const struct form *form, CK_ULONG want, const CK_BYTE *plain,
                         CK_ULONG len)
{
  CK_KEY_TYPE type = tok_attrs_ulong(key, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION);
  if (want == 0) want = len;
  if (want > len) return CKR_WRAPPED_KEY_LEN_RANGE;
  /* PKCS #11 3.2, 6.1.12 (raw RSA): the key is "taken from the end of this sequence of bytes". */
  if (form->mechanism == CKM_RSA_X_509)
    plain += len - want;
  else if (len - want >= form->block)
    return CKR_WRAPPED_KEY_LEN_RANGE;
  if (!tok_secret_size_ok(type, want)) return CKR_WRAPPED_KEY_LEN_RANGE;
  return tok_secret_put(key, plain, want);
}

/* What tok_object_add may still find wrong is the key material, for the template has been read. */
static CK_RV material_in_words(CK_RV rv)
{
  switch (rv) {
    case CKR_ATTRIBUTE_VALUE_INVALID:
    case CKR_TEMPLATE_INCONSISTENT: return CKR_WRAPPED_KEY_INVALID;
    case CKR_KEY_SIZE_RANGE: return CKR_WRAPPED_KEY_LEN_RANGE;
    default: return rv;
  }
}

CK_RV tok_unwrap(struct tok_session *session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE unwrapping_handle,
                 const CK_BYTE *wrapped, CK_ULONG len, const CK_ATTRIBUTE *templ, CK_ULONG count,
                 CK_OBJECT_HANDLE *handle)
{
  const struct tok_mech *mech = tok_mech_find(mechanism->mechanism);
  if (mech == NULL || (mech->flags & CKF_UNWRAP) == 0) return CKR_MECHANISM_INVALID;
  const struct form *form = form_of(mech);
  struct tok_object *unwrapping_key = NULL;
  struct tok_attrs key = TOK_ATTRS_EMPTY;
  CK_BYTE *plain = NULL;
  CK_ULONG plain_len = 0, want = 0;
  CK_RV rv = tok_key_get(session, unwrapping_handle, mech, CKA_UNWRAP, &unwrapping_key);
  if (rv != CKR_OK) return rv;
  /* Without a PIN for this use, "CKR_USER_NOT_LOGGED_IN [is] to be returned from calls using the key" (4.9), and between the
   * call of this function and its end there is no place for a C_Login(CKU_CONTEXT_SPECIFIC). Otherwise the key would decrypt
   * any number of messages for one PIN. */
  if (unwrapping_key->class == CKO_PRIVATE_KEY &&
      tok_attrs_bool(&unwrapping_key->attrs, CKA_ALWAYS_AUTHENTICATE, false))
    rv = CKR_USER_NOT_LOGGED_IN;
  if (rv == CKR_OK) rv = read_template(session, unwrapping_key, templ, count, &key);
  if (rv != CKR_OK) goto out;
  CK_OBJECT_CLASS class = tok_attrs_ulong(&key, CKA_CLASS, CK_UNAVAILABLE_INFORMATION);
  bool secret = class == CKO_SECRET_KEY;
  rv = CKR_TEMPLATE_INCONSISTENT;
  if (!secret && (class != CKO_PRIVATE_KEY || form->secret_only)) goto out;
  rv = secret ? length_wanted(&key, form, &want) : CKR_OK;
  if (rv != CKR_OK) goto out;

  if (mech->type == CKM_RSA_PKCS)
    rv = tok_mech_bare(mechanism) ? tok_pkcs1_unwrap(unwrapping_key, wrapped, len,
                                                     tok_attrs_ulong(&key, CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION),
                                                     want, &plain, &plain_len)
                                  : CKR_MECHANISM_PARAM_INVALID;
  else if (mech->family->unwrap != NULL)
    rv = mech->family->unwrap(mech, mechanism, unwrapping_key, wrapped, len, &plain, &plain_len);
  else
    rv = tok_op_run(mech, TOK_DECRYPT, mechanism, unwrapping_key, wrapped, len, &plain, &plain_len);
  rv = in_words(rv, false);
  if (rv == CKR_OK)
    rv = secret ? take_secret(&key, form, want, plain, plain_len) : tok_pkcs8_read(plain, plain_len, &key);
  if (rv == CKR_OK)
    rv = material_in_words(
        tok_object_add(session, TOK_UNWRAP, CK_UNAVAILABLE_INFORMATION, unwrapping_key, &key, handle));
out:
  tok_wipe_free(plain, plain_len);
  tok_attrs_clear(&key);
  tok_object_unref(unwrapping_key);
  return rv;
}

CK_RV tok_C_UnwrapKey(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                      CK_OBJECT_HANDLE hUnwrappingKey, CK_BYTE_PTR pWrappedKey, CK_ULONG ulWrappedKeyLen,
                      CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulAttributeCount, CK_OBJECT_HANDLE_PTR phKey)
{
  (void)hSession;
  return tok_unwrap(session, pMechanism, hUnwrappingKey, pWrappedKey, ulWrappedKeyLen, pTemplate, ulAttributeCount,
                    phKey);
}
