/* What the test programs share that are hosts of the token: the first token, logged in, a key pair, and using it. */
#ifndef TOKEN_USE_H
#define TOKEN_USE_H

#include <stdbool.h>

#include "p11client.h"

/* What a host knows of its module. */
struct host {
  CK_FUNCTION_LIST_PTR p11;
  CK_SLOT_ID slot;
  CK_SESSION_HANDLE session;
};

static inline void host_begin(struct host *h)
{
  CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
  CK_ULONG count = 1;
  MUST(h->p11->C_Initialize(&args));
  MUST(h->p11->C_GetSlotList(CK_TRUE, &h->slot, &count));
  MUST(h->p11->C_OpenSession(h->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &h->session));
}

static inline void host_login(struct host *h, const char *pin)
{
  MUST(h->p11->C_Login(h->session, CKU_USER, (CK_UTF8CHAR_PTR)pin, strlen(pin)));
}

static inline CK_SESSION_HANDLE host_session(const struct host *h)
{
  CK_SESSION_HANDLE session = 0;
  MUST(h->p11->C_OpenSession(h->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
  return session;
}

/* The token's P-256 key; made if it is not there. */
static inline CK_OBJECT_HANDLE host_key(const struct host *h, CK_SESSION_HANDLE session)
{
  CK_BBOOL yes = CK_TRUE;
  CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
  CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_MECHANISM generate = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
  CK_OBJECT_HANDLE public_key, key = 0;
  CK_ULONG count = 0;
  CK_ATTRIBUTE wanted[] = {
      {CKA_CLASS, &class, sizeof class},
      {CKA_TOKEN, &yes,   1           },
      {CKA_SIGN,  &yes,   1           }
  };
  CK_ATTRIBUTE curve[] = {
      {CKA_EC_PARAMS, p256, sizeof p256}
  };
  MUST(h->p11->C_FindObjectsInit(session, wanted, 3));
  MUST(h->p11->C_FindObjects(session, &key, 1, &count));
  MUST(h->p11->C_FindObjectsFinal(session));
  if (count == 0) MUST(h->p11->C_GenerateKeyPair(session, &generate, curve, 1, wanted + 1, 2, &public_key, &key));
  return key;
}

/* A signature; CKR_OK, or what the module says. */
static inline CK_RV host_sign(const struct host *h, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
  CK_MECHANISM ecdsa = {CKM_ECDSA_SHA256, NULL, 0};
  CK_BYTE text[] = "a text", signature[64];
  CK_ULONG len = sizeof signature;
  CK_RV rv = h->p11->C_SignInit(session, &ecdsa, key);
  return rv == CKR_OK ? h->p11->C_Sign(session, text, sizeof text, signature, &len) : rv;
}

/* A data object; CKR_OK, or what the module says. */
static inline CK_RV host_create(const struct host *h, CK_SESSION_HANDLE session, const char *label, bool on_token,
                                CK_OBJECT_HANDLE *object)
{
  CK_OBJECT_CLASS class = CKO_DATA;
  CK_BBOOL token = on_token;
  CK_ATTRIBUTE templ[] = {
      {CKA_CLASS, &class,        sizeof class },
      {CKA_TOKEN, &token,        1            },
      {CKA_LABEL, (void *)label, strlen(label)},
      {CKA_VALUE, (void *)label, strlen(label)}
  };
  return h->p11->C_CreateObject(session, templ, 4, object);
}

/* How many objects have the label. */
static inline CK_ULONG host_count(const struct host *h, CK_SESSION_HANDLE session, const char *label)
{
  CK_OBJECT_HANDLE found[512];
  CK_ULONG count = 0;
  CK_ATTRIBUTE templ[] = {
      {CKA_LABEL, (void *)label, strlen(label)}
  };
  MUST(h->p11->C_FindObjectsInit(session, templ, 1));
  MUST(h->p11->C_FindObjects(session, found, 512, &count));
  MUST(h->p11->C_FindObjectsFinal(session));
  return count;
}

#endif
