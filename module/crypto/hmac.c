/* Family `hmac`. */
#include <openssl/evp.h>

#include "crypto/hash.h"
#include "crypto/mac.h"
#include "crypto/mech.h"
#include "object/objects.h"

static CK_RV make(struct tok_op *op, EVP_MAC_CTX **context)
{
  CK_ULONG len = 0;
  const CK_BYTE *key = tok_attrs_get(&op->key->attrs, CKA_VALUE, &len);
  if (key == NULL) return CKR_KEY_HANDLE_INVALID;
  if (len < op->mech->min || len > op->mech->max) return CKR_KEY_SIZE_RANGE;
  *context = EVP_MAC_CTX_new(tok_hmac());
  if (*context == NULL) return CKR_HOST_MEMORY;
  return tok_hmac_init(*context, TOK_HASH_OF(op->mech->arg), key, len);
}

static CK_RV start(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  return tok_mac_start(op, mechanism, tok_hash_size(TOK_HASH_OF(op->mech->arg)), make);
}

const struct tok_family tok_family_hmac = {.sign = start};
