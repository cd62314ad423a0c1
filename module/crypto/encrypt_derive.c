/* CKM_AES_CBC_ENCRYPT_DATA and the like: the new key is data enciphered with the base key (PKCS #11 3.2, "Key
 * derivation by data encryption"). */
#include <string.h>

#include "core/module.h"
#include "crypto/args.h"
#include "crypto/derive.h"
#include "crypto/mech.h"
#include "crypto/op.h"

/* By tok_mech.arg: the mechanism that enciphers, and bytes of its blocks, which are those of the IV in CBC. */
struct cipher {
  unsigned arg;
  CK_MECHANISM_TYPE mechanism;
  CK_ULONG block, iv;
};
static const struct cipher ciphers[] = {
    {TOK_AES_ECB,  CKM_AES_ECB,  16, 0 },
    {TOK_AES_CBC,  CKM_AES_CBC,  16, 16},
    {TOK_DES3_ECB, CKM_DES3_ECB, 8,  0 },
    {TOK_DES3_CBC, CKM_DES3_CBC, 8,  8 },
};

/* The IV (a copy) and the data, from one of three structures. CKR_MECHANISM_PARAM_INVALID. */
static CK_RV read_parameter(const struct cipher *c, CK_MECHANISM_PTR m, CK_BYTE *iv, struct tok_span *data)
{
  if (c->iv == 0) {
    const CK_KEY_DERIVATION_STRING_DATA *p = tok_mech_param(m, sizeof *p);
    if (p == NULL) return CKR_MECHANISM_PARAM_INVALID;
    *data = (struct tok_span){p->pData, p->ulLen};
  } else if (c->iv == 16) {
    const CK_AES_CBC_ENCRYPT_DATA_PARAMS *p = tok_mech_param(m, sizeof *p);
    if (p == NULL) return CKR_MECHANISM_PARAM_INVALID;
    memcpy(iv, p->iv, sizeof p->iv);
    *data = (struct tok_span){p->pData, p->length};
  } else {
    const CK_DES_CBC_ENCRYPT_DATA_PARAMS *p = tok_mech_param(m, sizeof *p);
    if (p == NULL) return CKR_MECHANISM_PARAM_INVALID;
    memcpy(iv, p->iv, sizeof p->iv);
    *data = (struct tok_span){p->pData, p->length};
  }
  if (data->data == NULL || data->len == 0 || data->len > TOK_DERIVE_MOST) return CKR_MECHANISM_PARAM_INVALID;
  return data->len % c->block == 0 ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

static CK_RV derive(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                    struct tok_object *base, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *key,
                    bool *none)
{
  (void)session;
  (void)none;
  const struct tok_template t = {templ, count};
  const struct cipher *c = ciphers;
  while (c->arg != mech->arg) c++;
  CK_BYTE iv[16], *material = NULL;
  CK_ULONG len = 0, wanted = 0;
  struct tok_span data;
  CK_RV rv = read_parameter(c, mechanism, iv, &data);
  if (rv == CKR_OK) rv = tok_derive_inherit(key, &t, base, TOK_BOND_DEFAULT);
  if (rv == CKR_OK) rv = tok_derive_length(key, &t, data.len, false, &wanted);
  if (rv != CKR_OK) return rv;
  /* "If the data is too short to make the requested key then the mechanism returns CKR_DATA_LEN_RANGE." */
  if (wanted > data.len) return CKR_DATA_LEN_RANGE;
  const struct tok_mech *enciphers = tok_mech_find(c->mechanism);
  if (enciphers == NULL) return CKR_MECHANISM_INVALID;
  CK_MECHANISM m = {c->mechanism, c->iv > 0 ? iv : NULL, c->iv};
  rv = tok_op_run(enciphers, TOK_ENCRYPT, &m, base, data.data, data.len, &material, &len);
  if (rv != CKR_OK) return rv;
  rv = wanted <= len ? tok_derive_set(key, material, wanted) : CKR_FUNCTION_FAILED;
  tok_wipe_free(material, len);
  return rv;
}

const struct tok_family tok_family_encrypt_derive = {.derive = derive};
