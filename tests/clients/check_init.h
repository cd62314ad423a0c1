/* Actions for the rules of initialising: what NSS's tools do not do. */
#ifndef CHECK_INIT_H
#define CHECK_INIT_H

#include "check_client.h"

static CK_C_INITIALIZE_ARGS native_locks = {NULL, NULL, NULL, NULL, CKF_OS_LOCKING_OK, NULL};

static void initialize_twice(void)
{
  CK_INFO info;
  p11->C_Initialize(&native_locks);
  p11->C_GetInfo(&info);
}

static void use_after_finalize(void)
{
  CK_INFO info;
  CK_ULONG count = 0;
  MUST(p11->C_Finalize(NULL));
  p11->C_GetInfo(&info);
  p11->C_GetSlotList(CK_FALSE, NULL, &count);
  MUST(p11->C_Initialize(&native_locks));
}

/* The session of before is used once more, as NSS does it after it has ended a wait. */
static void initialize_anew(void)
{
  CK_SESSION_INFO info;
  CK_SESSION_HANDLE old = 0;
  for (int i = 0; i < 3; i++) old = open_session(0);
  MUST(p11->C_Finalize(NULL));
  MUST(p11->C_Initialize(&native_locks));
  slot = (CK_SLOT_ID)-1;
  find_slot();
  state(open_session(0)); /* perhaps with the number of the first */
  p11->C_GetSessionInfo(old, &info);
}

/* C_VerifySignatureInit with a key of the caller's, where the newest list of the module has it. */
static void verify_signature(void)
{
  static CK_BYTE modulus[256], exponent[] = {1, 0, 1}, signature[256];
  CK_OBJECT_CLASS class = CKO_PUBLIC_KEY;
  CK_KEY_TYPE type = CKK_RSA;
  CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
  CK_ATTRIBUTE key[] = {
      {CKA_CLASS,           &class,   sizeof class   },
      {CKA_KEY_TYPE,        &type,    sizeof type    },
      {CKA_TOKEN,           &no,      sizeof no      },
      {CKA_VERIFY,          &yes,     sizeof yes     },
      {CKA_MODULUS,         modulus,  sizeof modulus },
      {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}
  };
  CK_MECHANISM sha256_rsa = {CKM_SHA256_RSA_PKCS, NULL, 0};
  CK_OBJECT_HANDLE object;
  const CK_FUNCTION_LIST_3_2_PTR newest = module_newest(module_open(module_path));
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  memset(modulus, 0xc5, sizeof modulus);
  MUST(p11->C_CreateObject(session, key, 6, &object));
  if (newest->version.major == 3 && newest->version.minor >= 2)
    if (newest->C_VerifySignatureInit(session, &sha256_rsa, object, signature, sizeof signature) == CKR_OK)
      newest->C_VerifySignature(session, signature, sizeof signature); /* which it is not */
  MUST(p11->C_CloseSession(session));
}

#endif
