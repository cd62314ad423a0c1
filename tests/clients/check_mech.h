/* Actions for the rules of mechanisms: test_rules_mech.py. */
#ifndef CHECK_MECH_H
#define CHECK_MECH_H

#include "check_perf.h"

/* The list as NSS reads it, and what is said of each mechanism. */
static void list_mechanisms(void)
{
  CK_MECHANISM_TYPE list[1024];
  CK_ULONG count = 0;
  CK_MECHANISM_INFO info;
  if (p11->C_GetMechanismList(slot, NULL, &count) != CKR_OK || count > 1024) return;
  if (p11->C_GetMechanismList(slot, list, &count) != CKR_OK) return;
  for (CK_ULONG i = 0; i < count; i++) p11->C_GetMechanismInfo(slot, list[i], &info);
}

static void mechanisms(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  list_mechanisms();
  login(session, pin);
  list_mechanisms();
}

/* AES-GCM with a new key; the argument "blind": without asking what the mechanism is for. */
static void encrypt(void)
{
  static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  static CK_ULONG length = 32;
  CK_MECHANISM_TYPE list[1024];
  CK_ULONG count = 1024;
  CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
  CK_BYTE iv[12] = {0}, data[16] = {0}, output[64];
  CK_ULONG size = sizeof output;
  CK_GCM_PARAMS gcm = {iv, sizeof iv, 8 * sizeof iv, NULL, 0, 128};
  CK_MECHANISM mechanism = {CKM_AES_GCM, &gcm, sizeof gcm};
  CK_ATTRIBUTE what[] = {
      {CKA_TOKEN,     &no,     sizeof no    },
      {CKA_VALUE_LEN, &length, sizeof length},
      {CKA_ENCRYPT,   &yes,    sizeof yes   }
  };
  CK_OBJECT_HANDLE key = 0;
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  if (more[0])
    p11->C_GetMechanismList(slot, list, &count);
  else
    list_mechanisms();
  if (p11->C_GenerateKey(session, &generate, what, 3, &key) != CKR_OK) return;
  if (p11->C_EncryptInit(session, &mechanism, key) == CKR_OK) p11->C_Encrypt(session, data, sizeof data, output, &size);
}

/* Signatures with the user's key: PSS as in TLS 1.3, PSS as nobody uses it, and without the mechanism's promise. */
static void pss(void)
{
  CK_RSA_PKCS_PSS_PARAMS tls = {CKM_SHA256, CKG_MGF1_SHA256, 32}, odd = {CKM_SHA256, CKG_MGF1_SHA1, 7};
  CK_MECHANISM mechanism[] = {
      {CKM_RSA_PKCS_PSS, &tls, sizeof tls},
      {CKM_RSA_PKCS_PSS, &odd, sizeof odd}
  };
  CK_BYTE data[32] = {0}, signature[512];
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  list_mechanisms();
  const CK_OBJECT_HANDLE key = rsa_private_key(session);
  for (int i = 0; i < 2; i++) {
    CK_ULONG length = sizeof signature;
    if (p11->C_SignInit(session, &mechanism[i], key) == CKR_OK)
      p11->C_Sign(session, data, sizeof data, signature, &length);
  }
}

#endif
