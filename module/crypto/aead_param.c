/* The parameters of CKM_AES_GCM, CKM_AES_CCM and CKM_CHACHA20_POLY1305. */
#include <limits.h>

#include "crypto/aead.h"
#include "crypto/args.h"

/* Version 2.40's text and its header did not agree on CK_GCM_PARAMS: 48 bytes with ulIvBits or 40 without. NSS calls
 * the latter CK_NSS_GCM_PARAMS and tries both (lib/pk11wrap/pk11mech.c, pk11cxt.c), so the length has to tell. */
static bool read_gcm(CK_MECHANISM_PTR mechanism, struct tok_aead_param *p)
{
  const CK_GCM_PARAMS *gcm = tok_mech_param(mechanism, sizeof(CK_GCM_PARAMS));
  const CK_NSS_GCM_PARAMS *nss = tok_mech_param(mechanism, sizeof(CK_NSS_GCM_PARAMS));
  CK_ULONG bits = 0;
  if (gcm != NULL) {
    *p = (struct tok_aead_param){gcm->pIv, gcm->pAAD, gcm->ulIvLen, gcm->ulAADLen, 0, 0};
    bits = gcm->ulTagBits;
  } else if (nss != NULL) {
    *p = (struct tok_aead_param){nss->pIv, nss->pAAD, nss->ulIvLen, nss->ulAADLen, 0, 0};
    bits = nss->ulTagBits;
  }
  p->tag_len = bits / 8;
  /* SP 800-38D, 5.2.1.2: these lengths and no others. */
  return bits == 32 || bits == 64 || (bits >= 96 && bits <= 128 && bits % 8 == 0);
}

/* 6.13.5: nonces of 7 to 13 bytes, MACs of 4, 6 ... 16; the length of the data must fit into what the nonce leaves. */
static bool read_ccm(CK_MECHANISM_PTR mechanism, struct tok_aead_param *p)
{
  const CK_CCM_PARAMS *ccm = tok_mech_param(mechanism, sizeof(CK_CCM_PARAMS));
  if (ccm == NULL || ccm->ulNonceLen < 7 || ccm->ulNonceLen > 13) return false;
  if (ccm->ulMACLen < 4 || ccm->ulMACLen > 16 || ccm->ulMACLen % 2 != 0) return false;
  CK_ULONG bytes = 15 - ccm->ulNonceLen;
  if (bytes < sizeof(CK_ULONG) && ccm->ulDataLen >> (8 * bytes) != 0) return false;
  *p = (struct tok_aead_param){ccm->pNonce, ccm->pAAD, ccm->ulNonceLen, ccm->ulAADLen, ccm->ulMACLen, ccm->ulDataLen};
  /* OpenSSL takes either at once or not at all. */
  return ccm->ulDataLen <= INT_MAX && ccm->ulAADLen <= INT_MAX;
}

/* 6.55: ulNonceLen is in bits, 96 for RFC 8439. NSS and others give bytes, 12, in the same structure (PK11_AEAD),
 * and no length is sensible as both. The variants with 64 and 192 bits are not in OpenSSL. */
static bool read_chacha(CK_MECHANISM_PTR mechanism, struct tok_aead_param *p)
{
  const CK_SALSA20_CHACHA20_POLY1305_PARAMS *chacha =
      tok_mech_param(mechanism, sizeof(CK_SALSA20_CHACHA20_POLY1305_PARAMS));
  const CK_NSS_AEAD_PARAMS *nss = tok_mech_param(mechanism, sizeof(CK_NSS_AEAD_PARAMS));
  if (chacha != NULL)
    *p = (struct tok_aead_param){chacha->pNonce, chacha->pAAD, chacha->ulNonceLen, chacha->ulAADLen, 16, 0};
  else if (nss != NULL)
    *p = (struct tok_aead_param){nss->pNonce, nss->pAAD, nss->ulNonceLen, nss->ulAADLen, nss->ulTagLen, 0};
  if (chacha != NULL && p->iv_len == 96) p->iv_len = 12;
  return p->iv_len == 12 && p->tag_len == 16;
}

CK_RV tok_aead_read(unsigned arg, CK_MECHANISM_PTR mechanism, struct tok_aead_param *p)
{
  bool sound = false;
  *p = (struct tok_aead_param){0};
  switch (arg) {
    case TOK_AES_GCM: sound = read_gcm(mechanism, p); break;
    case TOK_AES_CCM: sound = read_ccm(mechanism, p); break;
    case TOK_CHACHA20_POLY1305: sound = read_chacha(mechanism, p); break;
  }
  if (!sound || p->iv == NULL || p->iv_len == 0 || (p->aad == NULL && p->aad_len > 0))
    return CKR_MECHANISM_PARAM_INVALID;
  return CKR_OK;
}
