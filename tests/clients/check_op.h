/* Actions for the rules of operations. */
#include "check_client.h"

static CK_MECHANISM sha256 = {CKM_SHA256, NULL, 0}, rsa_sha256 = {CKM_SHA256_RSA_PKCS, NULL, 0};
static CK_BYTE text[] = "what is digested and signed";

/* An RSA key of that class, the first with CKA_SIGN or CKA_VERIFY. */
static CK_OBJECT_HANDLE rsa_key(CK_SESSION_HANDLE session, CK_OBJECT_CLASS class)
{
  CK_KEY_TYPE rsa = CKK_RSA;
  CK_BBOOL yes = CK_TRUE;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS,                                        &class, sizeof class},
      {CKA_KEY_TYPE,                                     &rsa,   sizeof rsa  },
      {class == CKO_PRIVATE_KEY ? CKA_SIGN : CKA_VERIFY, &yes,   sizeof yes  }
  };
  CK_OBJECT_HANDLE key = 0;
  CK_ULONG count = 0;
  MUST(p11->C_FindObjectsInit(session, what, 3));
  MUST(p11->C_FindObjects(session, &key, 1, &count));
  MUST(p11->C_FindObjectsFinal(session));
  if (count != 1) DIE("there is no RSA key of class %lu", class);
  return key;
}

static void idle(void)
{
  CK_BYTE out[64];
  CK_ULONG length = sizeof out;
  const CK_SESSION_HANDLE session = open_session(0);
  p11->C_DigestFinal(session, out, &length);
  MUST(p11->C_CloseSession(session));
}

static void sign_with(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_ULONG first_room)
{
  CK_BYTE out[1024], modulus[1024];
  CK_ATTRIBUTE a = {CKA_MODULUS, modulus, sizeof modulus};
  CK_ULONG length = first_room;
  p11->C_GetAttributeValue(session, key, &a, 1);
  if (p11->C_SignInit(session, &rsa_sha256, key) != CKR_OK) return;
  p11->C_Sign(session, text, sizeof text, first_room ? out : NULL, &length);
  length = sizeof out;
  p11->C_Sign(session, text, sizeof text, out, &length);
}

static void digest_with(CK_SESSION_HANDLE session, CK_ULONG first_room)
{
  CK_BYTE out[64];
  CK_ULONG length = first_room;
  p11->C_DigestInit(session, &sha256);
  p11->C_DigestUpdate(session, text, sizeof text);
  p11->C_DigestFinal(session, first_room ? out : NULL, &length);
  length = sizeof out;
  p11->C_DigestFinal(session, out, &length);
}

static void lengths(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  const CK_OBJECT_HANDLE key = rsa_key(session, CKO_PRIVATE_KEY);
  for (CK_ULONG room = 0; room <= 20; room += 20) {
    digest_with(session, room);
    sign_with(session, key, room);
  }
  MUST(p11->C_CloseSession(session));
}

static void randoms(void)
{
  CK_BYTE out[64];
  const CK_SESSION_HANDLE session = open_session(0);
  for (int i = 0; i < 2; i++) p11->C_GenerateRandom(session, out, sizeof out);
  MUST(p11->C_CloseSession(session));
}

static void verifies(void)
{
  CK_BYTE signature[1024];
  CK_ULONG length = sizeof signature;
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  const CK_OBJECT_HANDLE private = rsa_key(session, CKO_PRIVATE_KEY), public = rsa_key(session, CKO_PUBLIC_KEY);
  p11->C_SignInit(session, &rsa_sha256, private);
  p11->C_Sign(session, text, sizeof text, signature, &length);
  for (int i = 0; i < 2; i++) {
    p11->C_VerifyInit(session, &rsa_sha256, public);
    p11->C_Verify(session, text, sizeof text, signature, length);
    signature[length - 1] ^= 1;
  }
  MUST(p11->C_CloseSession(session));
}

/* As NSS does when sessions run out: a session of its own for each digest, or the state of the first saved. */
static void starved(void)
{
  CK_BYTE out[64];
  CK_ULONG length = sizeof out;
  CK_SESSION_HANDLE first = open_session(0), own = first;
  p11->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL, &own);
  p11->C_DigestInit(own, &sha256);
  p11->C_DigestUpdate(own, text, sizeof text);
  if (own == first) p11->C_GetOperationState(own, NULL, &length);
  length = sizeof out;
  p11->C_DigestFinal(own, out, &length);
  p11->C_CloseAllSessions(slot);
}
