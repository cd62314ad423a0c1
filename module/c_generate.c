/* Making keys (PKCS #11 3.2, 5.18.1 and 5.18.2): C_GenerateKey and C_GenerateKeyPair. The session's is the only lock that is
 * held meanwhile; an RSA key takes a second. */
#include "core/entry.h"
#include "crypto/mech.h"
#include "object/objects.h"

CK_RV tok_C_GenerateKey(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                        CK_ATTRIBUTE_PTR pTemplate, CK_ULONG ulCount, CK_OBJECT_HANDLE_PTR phKey)
{
  (void)hSession;
  const struct tok_mech *mech = tok_mech_find(pMechanism->mechanism);
  if (mech == NULL || (mech->flags & CKF_GENERATE) == 0 || mech->family->generate == NULL) return CKR_MECHANISM_INVALID;
  struct tok_attrs key = TOK_ATTRS_EMPTY;
  CK_RV rv = tok_template_read(session, TOK_GENERATE, CKO_SECRET_KEY, mech->key, pTemplate, ulCount, &key);
  if (rv == CKR_OK) rv = mech->family->generate(session, mech, pMechanism, &key);
  if (rv == CKR_OK) rv = tok_object_add(session, TOK_GENERATE, mech->type, NULL, &key, phKey);
  tok_attrs_clear(&key);
  return rv;
}

CK_RV tok_C_GenerateKeyPair(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism,
                            CK_ATTRIBUTE_PTR pPublicKeyTemplate, CK_ULONG ulPublicKeyAttributeCount,
                            CK_ATTRIBUTE_PTR pPrivateKeyTemplate, CK_ULONG ulPrivateKeyAttributeCount,
                            CK_OBJECT_HANDLE_PTR phPublicKey, CK_OBJECT_HANDLE_PTR phPrivateKey)
{
  (void)hSession;
  const struct tok_mech *mech = tok_mech_find(pMechanism->mechanism);
  if (mech == NULL || (mech->flags & CKF_GENERATE_KEY_PAIR) == 0 || mech->family->generate_pair == NULL)
    return CKR_MECHANISM_INVALID;
  struct tok_attrs public_key = TOK_ATTRS_EMPTY, private_key = TOK_ATTRS_EMPTY;
  CK_RV rv = tok_template_read(session, TOK_GENERATE, CKO_PUBLIC_KEY, mech->key, pPublicKeyTemplate,
                               ulPublicKeyAttributeCount, &public_key);
  if (rv == CKR_OK)
    rv = tok_template_read(session, TOK_GENERATE, CKO_PRIVATE_KEY, mech->key, pPrivateKeyTemplate,
                           ulPrivateKeyAttributeCount, &private_key);
  if (rv == CKR_OK) rv = mech->family->generate_pair(session, mech, pMechanism, &public_key, &private_key);
  if (rv == CKR_OK) rv = tok_object_add_pair(session, mech->type, &public_key, &private_key, phPublicKey, phPrivateKey);
  tok_attrs_clear(&public_key);
  tok_attrs_clear(&private_key);
  return rv;
}
