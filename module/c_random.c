/* Random numbers (PKCS #11 3.2, 5.18), from the generators of our own library context. */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "core/entry.h"
#include "core/module.h"

/* The seed is mixed into the generator from which every thread's own is seeded, along with fresh entropy: it can add
 * to what is there, not replace it. When that generator has been seeded anew, the threads' notice and seed theirs
 * anew from it. */
CK_RV tok_C_SeedRandom(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSeed, CK_ULONG ulSeedLen)
{
  (void)session;
  (void)hSession;
  if (ulSeedLen == 0) return CKR_OK;
  ERR_set_mark();
  EVP_RAND_CTX *primary = RAND_get0_primary(tok_module->crypto);
  CK_RV rv =
      primary != NULL && EVP_RAND_reseed(primary, 0, NULL, 0, pSeed, ulSeedLen) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
  ERR_pop_to_mark();
  return rv;
}

CK_RV tok_C_GenerateRandom(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_BYTE_PTR pRandomData,
                           CK_ULONG ulRandomLen)
{
  (void)session;
  (void)hSession;
  if (ulRandomLen == 0) return CKR_OK;
  ERR_set_mark();
  CK_RV rv = RAND_bytes_ex(tok_module->crypto, pRandomData, ulRandomLen, 0) == 1 ? CKR_OK : CKR_FUNCTION_FAILED;
  ERR_pop_to_mark();
  return rv;
}
