/* RSA signatures that give back what was signed: CKM_RSA_PKCS and CKM_RSA_X_509 (PKCS #11 3.2, 6.1). */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/mech.h"
#include "crypto/pkey.h"
#include "crypto/rsa.h"
#include "object/objects.h"

struct recover {
  EVP_PKEY_CTX *ctx;
  CK_ULONG size; /* bytes of the modulus */
  bool raw;
};

static CK_RV room(struct tok_op *op, enum tok_step step, CK_ULONG in, CK_ULONG *out, bool *exact)
{
  (void)step;
  const struct recover *recover = op->state;
  if (in != recover->size) return CKR_SIGNATURE_LEN_RANGE;
  *out = recover->raw ? recover->size : recover->size - 11;
  *exact = false; /* "will never return CKR_BUFFER_TOO_SMALL" for a wrong signature: so it is opened first */
  return CKR_OK;
}

/* The data in 00 01 ff ... ff 00 data, with eight ff or more; NULL if the block is something else. */
static const CK_BYTE *unpad(const CK_BYTE *block, CK_ULONG size, CK_ULONG *len)
{
  CK_ULONG i = 2;
  if (block[0] != 0 || block[1] != 1) return NULL;
  while (i < size && block[i] == 0xff) i++;
  if (i < 10 || i == size || block[i] != 0) return NULL;
  *len = size - i - 1;
  return block + i + 1;
}

static CK_RV single(struct tok_op *op, const CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
  const struct recover *recover = op->state;
  CK_BYTE block[TOK_MAX_RSA];
  size_t size = recover->size;
  if (EVP_PKEY_verify_recover(recover->ctx, block, &size, in, len) != 1 || size != recover->size)
    return CKR_SIGNATURE_INVALID;
  CK_ULONG data_len = size;
  const CK_BYTE *data = recover->raw ? block : unpad(block, size, &data_len);
  if (data == NULL) return CKR_SIGNATURE_INVALID;
  memcpy(out, data, data_len);
  *out_len = data_len;
  return CKR_OK;
}

static void free_state(struct tok_op *op)
{
  struct recover *recover = op->state;
  if (recover == NULL) return;
  EVP_PKEY_CTX_free(recover->ctx);
  tok_wipe_free(recover, sizeof *recover);
  op->state = NULL;
}

static const struct tok_op_type type = {.room = room, .single = single, .free = free_state};

CK_RV tok_rsa_recover(struct tok_op *op, CK_MECHANISM_PTR mechanism)
{
  int padding = RSA_NO_PADDING;
  OSSL_PARAM params[] = {OSSL_PARAM_construct_int(OSSL_SIGNATURE_PARAM_PAD_MODE, &padding), OSSL_PARAM_construct_end()};
  CK_ULONG bits = 0, size = 0;
  EVP_PKEY *pkey = NULL;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = tok_rsa_size(op, &bits, &size);
  if (rv == CKR_OK) rv = tok_object_pkey(op->key, &pkey);
  if (rv != CKR_OK) return rv;
  struct recover *recover = tok_alloc(sizeof *recover);
  if (recover == NULL) return CKR_HOST_MEMORY;
  *recover = (struct recover){.size = size, .raw = TOK_RSA_OF(op->mech->arg) == TOK_RSA_RAW};
  op->state = recover;
  op->type = &type;
  recover->ctx = EVP_PKEY_CTX_new_from_pkey(tok_module->crypto, pkey, NULL);
  if (recover->ctx == NULL) return CKR_HOST_MEMORY;
  return EVP_PKEY_verify_recover_init_ex(recover->ctx, params) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
}
