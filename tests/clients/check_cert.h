/* Actions for the rules on certificates (test_rules_cert.py) and keys (test_rules_key.py): see check_client.h. */
#ifndef CHECK_CERT_H
#define CHECK_CERT_H

#include "check_client.h"

static CK_BBOOL is_true = CK_TRUE;
static CK_OBJECT_CLASS of_certificate = CKO_CERTIFICATE, of_private = CKO_PRIVATE_KEY, of_public = CKO_PUBLIC_KEY,
                       of_secret = CKO_SECRET_KEY, of_profile = CKO_PROFILE;

enum { HAS = 5, ROOM = 2048 };
struct read_certificate {
  CK_ATTRIBUTE value[HAS];
  CK_BYTE room[HAS][ROOM];
};
static const CK_ATTRIBUTE_TYPE certificate_has[HAS] = {CKA_ID, CKA_LABEL, CKA_ISSUER, CKA_SERIAL_NUMBER, CKA_VALUE};

static CK_OBJECT_HANDLE first(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR what, CK_ULONG count)
{
  CK_OBJECT_HANDLE object[16];
  CK_ULONG n = 0;
  if (p11->C_FindObjectsInit(session, what, count) != CKR_OK) return 0;
  p11->C_FindObjects(session, object, 16, &n);
  p11->C_FindObjectsFinal(session);
  return n ? object[0] : 0;
}

static CK_OBJECT_HANDLE first_of(CK_SESSION_HANDLE session, CK_OBJECT_CLASS *class, CK_ATTRIBUTE *more_of_it)
{
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS, class,    sizeof *class },
      {CKA_TOKEN, &is_true, sizeof is_true},
      {0,         NULL,     0             }
  };
  if (more_of_it) what[2] = *more_of_it;
  return first(session, what, more_of_it ? 3 : 2);
}

static void read_certificate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, struct read_certificate *c)
{
  for (int i = 0; i < HAS; i++) {
    c->value[i] = (CK_ATTRIBUTE){certificate_has[i], c->room[i], ROOM};
    if (p11->C_GetAttributeValue(session, object, &c->value[i], 1) != CKR_OK) c->value[i].ulValueLen = 0;
  }
}

/* Reads a certificate and looks it up by what it has. */
static void lookup(void)
{
  struct read_certificate c;
  const CK_SESSION_HANDLE session = open_session(0);
  const CK_OBJECT_HANDLE object = first_of(session, &of_certificate, NULL);
  if (!object) return;
  read_certificate(session, object, &c);
  CK_ATTRIBUTE by_issuer[] = {
      {CKA_CLASS, &of_certificate, sizeof of_certificate},
      c.value[2], c.value[3]
  };
  first(session, by_issuer, 3);
  for (int i = 0; i < HAS; i++)
    if (i != 2 && i != 3) first_of(session, &of_certificate, &c.value[i]);
}

/* What an application sees of a token without a login, and with one. */
static void friendly(void)
{
  struct read_certificate c;
  CK_ULONG id = 0;
  CK_ATTRIBUTE profile = {CKA_PROFILE_ID, &id, sizeof id};
  const CK_SESSION_HANDLE session = open_session(0);
  const CK_OBJECT_HANDLE says = first_of(session, &of_profile, NULL);
  if (says) p11->C_GetAttributeValue(session, says, &profile, 1);
  CK_OBJECT_HANDLE object = first_of(session, &of_certificate, NULL);
  if (object) {
    read_certificate(session, object, &c);
    first_of(session, &of_public, &c.value[0]);
  }
  login(session, pin);
  object = first_of(session, &of_certificate, NULL);
  if (!object) return;
  read_certificate(session, object, &c);
  first_of(session, &of_private, &c.value[0]);
}

static void read_one(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type)
{
  CK_BYTE room[ROOM];
  CK_ATTRIBUTE a = {type, room, sizeof room};
  p11->C_GetAttributeValue(session, object, &a, 1);
}

/* Wants to have the private key. */
static void move_key(void)
{
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  const CK_OBJECT_HANDLE key = first_of(session, &of_private, NULL);
  if (key) read_one(session, key, CKA_PRIVATE_EXPONENT);
}

/* Wants to sign in another slot than the key's. */
static void other_slot(void)
{
  CK_SLOT_ID id[64];
  CK_ULONG count = 64;
  CK_MECHANISM mechanism = {CKM_RSA_PKCS, NULL, 0};
  CK_SESSION_HANDLE other;
  const CK_SESSION_HANDLE session = open_session(0);
  login(session, pin);
  const CK_OBJECT_HANDLE key = first_of(session, &of_private, NULL);
  MUST(p11->C_GetSlotList(CK_TRUE, id, &count));
  for (CK_ULONG i = 0; i < count; i++)
    if (id[i] != slot && p11->C_OpenSession(id[i], CKF_SERIAL_SESSION, NULL, NULL, &other) == CKR_OK)
      p11->C_SignInit(other, &mechanism, key);
}

/* A secret key that is copied for nothing, and read. */
static void take_secret(void)
{
  CK_KEY_TYPE aes = CKK_AES;
  CK_BBOOL no = CK_FALSE;
  CK_BYTE key[16] = "sixteen letters";
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS,       &of_secret, sizeof of_secret},
      {CKA_KEY_TYPE,    &aes,       sizeof aes      },
      {CKA_TOKEN,       &no,        sizeof no       },
      {CKA_SENSITIVE,   &no,        sizeof no       },
      {CKA_EXTRACTABLE, &is_true,   sizeof is_true  },
      {CKA_ENCRYPT,     &is_true,   sizeof is_true  },
      {CKA_VALUE,       key,        sizeof key      }
  };
  CK_OBJECT_HANDLE object, copy;
  CK_MECHANISM_TYPE list[512];
  CK_ULONG count = 512;
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  p11->C_GetMechanismList(slot, list, &count);
  login(session, pin);
  if (p11->C_CreateObject(session, what, 7, &object) != CKR_OK) return;
  p11->C_CopyObject(session, object, &what[5], 1, &copy);
  read_one(session, object, CKA_VALUE);
}

/* A key pair of the session, whose CKA_ID is set as NSS does it, but to a name. */
static void name_pair(void)
{
  CK_BBOOL no = CK_FALSE;
  CK_ULONG bits = 1024;
  CK_MECHANISM mechanism = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
  CK_ATTRIBUTE public[] = {
      {CKA_TOKEN,        &no,      sizeof no     },
      {CKA_MODULUS_BITS, &bits,    sizeof bits   },
      {CKA_VERIFY,       &is_true, sizeof is_true}
  };
  CK_ATTRIBUTE private[] = {
      {CKA_TOKEN, &no,      sizeof no     },
      {CKA_SIGN,  &is_true, sizeof is_true}
  };
  CK_ATTRIBUTE id = {CKA_ID, (void *)"a name", 6};
  CK_OBJECT_HANDLE public_key, private_key;
  const CK_SESSION_HANDLE session = open_session(CKF_RW_SESSION);
  login(session, pin);
  if (p11->C_GenerateKeyPair(session, &mechanism, public, 3, private, 2, &public_key, &private_key) != CKR_OK) return;
  read_one(session, public_key, CKA_MODULUS);
  read_one(session, private_key, CKA_SIGN);
  p11->C_SetAttributeValue(session, private_key, &id, 1);
  p11->C_SetAttributeValue(session, public_key, &id, 1);
}

#endif
