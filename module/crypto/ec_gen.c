/* CKM_EC_KEY_PAIR_GEN, CKM_EC_EDWARDS_KEY_PAIR_GEN and CKM_EC_MONTGOMERY_KEY_PAIR_GEN. */
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <string.h>

#include "core/module.h"
#include "crypto/curves.h"
#include "crypto/mech.h"
#include "crypto/pair.h"
#include "crypto/pkey.h"

/* "Attempts to generate keys over these curves using any other EC key pair generation mechanism will fail with
 * CKR_CURVE_NOT_SUPPORTED" (PKCS #11 3.2, 6.3, Edwards and Montgomery key pair generation). But NSS asks for its X25519 keys
 * through CKM_EC_KEY_PAIR_GEN, and wants to see CKK_EC then (pk11akey.c, PK11_GenerateKeyPairWithOpFlags and
 * PK11_ExtractPublicKey). */
static bool makes(CK_MECHANISM_TYPE mechanism, const struct tok_curve *curve)
{
  switch (curve->kind) {
    case TOK_WEIERSTRASS: return mechanism == CKM_EC_KEY_PAIR_GEN;
    case TOK_EDWARDS: return mechanism == CKM_EC_EDWARDS_KEY_PAIR_GEN;
    case TOK_MONTGOMERY: break;
  }
  if (mechanism == CKM_EC_KEY_PAIR_GEN) return strcmp(curve->name, "X25519") == 0;
  return mechanism == CKM_EC_MONTGOMERY_KEY_PAIR_GEN;
}

/* pkcs11-tool of OpenSC 0.23 asks for PrintableString "curve25519" with a length of eleven. */
static CK_RV correct_params(struct tok_attrs *public_key)
{
  static const char wrong[] = "\x13\x0b\143urve25519", right[] = "\x13\x0a\143urve25519"; /* \143: c */
  if (!tok_attrs_equal(public_key, CKA_EC_PARAMS, wrong, sizeof wrong - 1)) return CKR_OK;
  return tok_attrs_set(public_key, CKA_EC_PARAMS, right, sizeof right - 1);
}

static CK_RV generate_pair(struct tok_session *session, const struct tok_mech *mech, CK_MECHANISM_PTR mechanism,
                           struct tok_attrs *public_key, struct tok_attrs *private_key)
{
  (void)session;
  if (!tok_mech_bare(mechanism)) return CKR_MECHANISM_PARAM_INVALID;
  CK_RV rv = correct_params(public_key);
  if (rv != CKR_OK) return rv;
  CK_ULONG len;
  const CK_BYTE *params = tok_attrs_get(public_key, CKA_EC_PARAMS, &len);
  if (params == NULL) return CKR_TEMPLATE_INCOMPLETE;
  const struct tok_curve *curve;
  rv = tok_curve_find(params, len, &curve);
  if (rv != CKR_OK) return rv;
  if (!makes(mech->type, curve)) return CKR_CURVE_NOT_SUPPORTED;
  /* Both halves name the curve as the caller did; tok_attrs_from_pkey leaves it so. */
  rv = tok_attrs_set(private_key, CKA_EC_PARAMS, params, len);
  if (rv != CKR_OK) return rv;

  bool group = curve->kind == TOK_WEIERSTRASS;
  OSSL_PARAM settings[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)curve->name, 0),
                           OSSL_PARAM_construct_end()};
  EVP_PKEY_CTX *context = tok_pkey_context(group ? "EC" : curve->name);
  rv = tok_pair_generate(context, group ? settings : NULL, public_key, private_key);
  EVP_PKEY_CTX_free(context);
  return rv;
}

const struct tok_family tok_family_ec_gen = {.generate_pair = generate_pair};
