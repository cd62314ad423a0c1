/* Saving and restoring one operation. */
#include "crypto/op_state.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <string.h>

#include "core/module.h"
#include "crypto/hash_state.h"
#include "crypto/mech.h"
#include "object/objects.h"

enum { KEY_HASH = 32 };

/* What a key is: a hash of its type and of what it is made of. Its handle would be another one after a login, and in another
 * process. */
static CK_RV identify(const struct tok_object *key, CK_BYTE hash[KEY_HASH])
{
  static const CK_ATTRIBUTE_TYPE parts[] = {CKA_VALUE, CKA_MODULUS,   CKA_PRIVATE_EXPONENT,
                                            CKA_PRIME, CKA_EC_PARAMS, CKA_EC_POINT};
  struct tok_hash_state state = {.evp = NULL};
  uint64_t head[2] = {key->class, key->key_type};
  CK_RV rv = tok_hash_begin(&state, TOK_SHA256);
  if (rv == CKR_OK) rv = tok_hash_update(&state, head, sizeof head);
  for (size_t i = 0; i < sizeof parts / sizeof parts[0] && rv == CKR_OK; i++) {
    CK_ULONG len = 0;
    const CK_BYTE *value = tok_attrs_get(&key->attrs, parts[i], &len);
    uint64_t described[2] = {parts[i], value != NULL ? len : 0};
    rv = tok_hash_update(&state, described, sizeof described);
    if (rv == CKR_OK && value != NULL) rv = tok_hash_update(&state, value, len);
  }
  if (rv == CKR_OK) rv = tok_hash_finish(&state, hash);
  tok_hash_clear(&state);
  return rv;
}

CK_RV tok_op_save(struct tok_op *op, struct tok_saving *to)
{
  CK_BYTE key[KEY_HASH];
  /* An operation that has ended but for handing out what did not fit has nothing to go on with. */
  if (op->type->save == NULL || op->held != NULL) return CKR_STATE_UNSAVEABLE;
  CK_RV rv = op->key != NULL ? identify(op->key, key) : CKR_OK;
  if (rv != CKR_OK) return rv;
  tok_save_number(to, op->kind);
  tok_save_number(to, op->mech->type);
  tok_save_number(to, op->updating);
  tok_save_bytes(to, key, op->key != NULL ? sizeof key : 0);
  tok_save_bytes(to, op->signature, op->signature_len);
  struct tok_saving own = {NULL, 0, 0, false};
  ERR_set_mark();
  bool done = op->type->save(op, &own);
  ERR_pop_to_mark();
  tok_save_bytes(to, own.data, own.len);
  if (own.failed || to->failed) rv = CKR_HOST_MEMORY;
  if (!done) rv = CKR_STATE_UNSAVEABLE;
  tok_saving_clear(&own);
  OPENSSL_cleanse(key, sizeof key);
  return rv;
}

CK_RV tok_op_saved_read(struct tok_saved *from, struct tok_op_saved *saved)
{
  uint64_t kind = tok_saved_number(from);
  saved->kind = (enum tok_op_kind)kind;
  saved->mechanism = tok_saved_number(from);
  saved->updating = tok_saved_number(from) != 0;
  saved->key = tok_saved_bytes(from, &saved->key_len);
  saved->signature = tok_saved_bytes(from, &saved->signature_len);
  saved->rest.at = tok_saved_bytes(from, &saved->rest.left);
  saved->rest.bad = false;
  if (from->bad || kind >= TOK_OPS || (saved->key_len != 0 && saved->key_len != KEY_HASH))
    return CKR_SAVED_STATE_INVALID;
  return (saved->key_len == 0) == (saved->kind == TOK_DIGEST) ? CKR_OK : CKR_SAVED_STATE_INVALID;
}

/* Is it the key of the saved operation? */
static CK_RV check_key(struct tok_session *session, const struct tok_op_saved *saved, CK_OBJECT_HANDLE handle)
{
  struct tok_object *key = NULL;
  CK_BYTE hash[KEY_HASH];
  CK_RV rv = tok_object_get(session, handle, &key);
  if (rv == CKR_OBJECT_HANDLE_INVALID) return CKR_KEY_CHANGED;
  if (rv != CKR_OK) return rv;
  rv = key->sealed ? CKR_USER_NOT_LOGGED_IN : identify(key, hash);
  if (rv == CKR_OK && CRYPTO_memcmp(hash, saved->key, sizeof hash) != 0) rv = CKR_KEY_CHANGED;
  OPENSSL_cleanse(hash, sizeof hash);
  tok_object_unref(key);
  return rv;
}

/* Begins the operation as its Init function did. */
static CK_RV begin(struct tok_session *session, struct tok_op_saved *saved, CK_OBJECT_HANDLE key, struct tok_op **op)
{
  static const struct {
    CK_FLAGS flag;
    CK_ATTRIBUTE_TYPE usage;
  } uses[TOK_OPS] = {
      [TOK_ENCRYPT] = {CKF_ENCRYPT, CKA_ENCRYPT},
      [TOK_DECRYPT] = {CKF_DECRYPT, CKA_DECRYPT},
      [TOK_DIGEST] = {CKF_DIGEST,  0          },
      [TOK_SIGN] = {CKF_SIGN,    CKA_SIGN   },
      [TOK_VERIFY] = {CKF_VERIFY,  CKA_VERIFY },
      [TOK_VERIFY_SIGNATURE] = {CKF_VERIFY,  CKA_VERIFY },
  };
  size_t len = 0;
  const CK_BYTE *bytes = tok_saved_bytes(&saved->rest, &len);
  if (saved->rest.bad || uses[saved->kind].flag == 0) return CKR_SAVED_STATE_INVALID;
  CK_BYTE *parameter = tok_dup(bytes, len); /* aligned for any structure */
  if (parameter == NULL) return CKR_HOST_MEMORY;
  CK_MECHANISM mechanism = {saved->mechanism, len > 0 ? parameter : NULL, len};
  CK_RV rv = tok_op_begin(session, saved->kind, &mechanism, uses[saved->kind].flag, key, uses[saved->kind].usage, op);
  tok_wipe_free(parameter, len);
  /* Switched off since. */
  return rv == CKR_MECHANISM_INVALID || rv == CKR_MECHANISM_PARAM_INVALID ? CKR_SAVED_STATE_INVALID : rv;
}

CK_RV tok_op_restore(struct tok_session *session, struct tok_op_saved *saved, CK_OBJECT_HANDLE key,
                     struct tok_op **result)
{
  struct tok_op *op = NULL;
  CK_RV rv = saved->key_len > 0 ? check_key(session, saved, key) : CKR_OK;
  if (rv == CKR_OK) rv = begin(session, saved, key, &op);
  if (rv != CKR_OK) return rv;
  ERR_set_mark();
  rv = op->type->restore != NULL ? op->type->restore(op, &saved->rest) : CKR_SAVED_STATE_INVALID;
  ERR_pop_to_mark();
  if (rv == CKR_OK && saved->kind == TOK_VERIFY_SIGNATURE) {
    op->signature = tok_dup(saved->signature, saved->signature_len);
    op->signature_len = saved->signature_len;
    if (op->signature == NULL) rv = CKR_HOST_MEMORY;
  }
  op->updating = saved->updating;
  if (rv == CKR_OK)
    *result = op;
  else
    tok_op_free(op);
  return rv;
}
