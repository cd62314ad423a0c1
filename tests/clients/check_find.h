/* Actions for the rules on searches (test_rules_find.py) and objects (test_rules_obj.py): see check_client.h. */
#ifndef CHECK_FIND_H
#define CHECK_FIND_H

#include "check_client.h"

static CK_OBJECT_CLASS data_class = CKO_DATA, private_class = CKO_PRIVATE_KEY, certificate_class = CKO_CERTIFICATE;
static CK_BBOOL is_false = CK_FALSE;

/* Public data, gone with the session. */
static CK_OBJECT_HANDLE make_data(CK_SESSION_HANDLE session, const char *name)
{
  CK_OBJECT_HANDLE object = 0;
  CK_ATTRIBUTE what[] = {
      {CKA_CLASS,   &data_class,    sizeof data_class},
      {CKA_TOKEN,   &is_false,      sizeof is_false  },
      {CKA_PRIVATE, &is_false,      sizeof is_false  },
      {CKA_LABEL,   (void *)name,   strlen(name)     },
      {CKA_VALUE,   (void *)"some", 4                }
  };
  p11->C_CreateObject(session, what, 5, &object);
  return object;
}

/* To the end and one call further, `max` at a time. Returns how many handles there are, at most 64 of them in `found`. */
static CK_ULONG search(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR what, CK_ULONG count, CK_ULONG max,
                       CK_OBJECT_HANDLE_PTR found)
{
  CK_ULONG n = 0, of_call = 0;
  if (p11->C_FindObjectsInit(session, what, count) != CKR_OK) return 0;
  do {
    CK_OBJECT_HANDLE object[64];
    if (p11->C_FindObjects(session, object, max, &of_call) != CKR_OK) break;
    for (CK_ULONG i = 0; i < of_call && n < 64; i++) found[n++] = object[i];
  } while (of_call > 0);
  p11->C_FindObjectsFinal(session);
  return n;
}

/* Searches as they should be: data objects by label from two sessions, certificates by CKA_ID, then private keys before,
 * during and after a login. Everything that is found is read. */
static void searches(void)
{
  CK_OBJECT_HANDLE found[64];
  const CK_SESSION_HANDLE rw = open_session(CKF_RW_SESSION), ro = open_session(0);
  CK_ATTRIBUTE data[] = {
      {CKA_CLASS, &data_class,   sizeof data_class},
      {CKA_LABEL, (void *)"two", 3                }
  };
  CK_ATTRIBUTE keys[] = {
      {CKA_CLASS, &private_class, sizeof private_class}
  };
  make_data(rw, "one");
  make_data(rw, "two");
  make_data(rw, "two");
  for (int pass = 0; pass < 2; pass++) {
    CK_ULONG n = search(rw, data, 1, 10, found);
    for (CK_ULONG i = 0; i < n; i++) read_object(rw, found[i]);
    search(rw, data, 2, 10, found);
    search(ro, data, 2, 1, found);
  }
  CK_BYTE id[64];
  CK_ATTRIBUTE certificates[] = {
      {CKA_CLASS, &certificate_class, sizeof certificate_class},
      {CKA_ID,    id,                 sizeof id               }
  };
  CK_ULONG n = search(ro, certificates, 1, 10, found);
  for (CK_ULONG i = 0; i < n; i++) {
    read_object(ro, found[i]);
    certificates[1].ulValueLen = sizeof id;
    p11->C_GetAttributeValue(ro, found[i], &certificates[1], 1);
  }
  if (n > 0) search(rw, certificates, 2, 10, found);
  for (int pass = 0; pass < 3; pass++) {
    if (pass == 1) login(ro, pin);
    if (pass == 2) p11->C_Logout(ro);
    state(ro);
    n = search(ro, keys, 1, 10, found);
    for (CK_ULONG i = 0; i < n; i++) read_object(ro, found[i]);
  }
  MUST(p11->C_CloseSession(ro));
  MUST(p11->C_CloseSession(rw));
}

/* Searches as they should not be: two at once, none, and one that is left. */
static void bad_searches(void)
{
  CK_OBJECT_HANDLE object;
  CK_ULONG n;
  const CK_SESSION_HANDLE session = open_session(0);
  p11->C_FindObjectsInit(session, NULL, 0);
  p11->C_FindObjectsInit(session, NULL, 0);
  p11->C_FindObjectsFinal(session);
  p11->C_FindObjects(session, &object, 1, &n);
  p11->C_FindObjectsFinal(session);
  p11->C_FindObjectsInit(session, NULL, 0);
  p11->C_FindObjects(session, &object, 1, &n);
  p11->C_CloseSession(session);
}

static CK_OBJECT_HANDLE make_key(CK_SESSION_HANDLE session, CK_BBOOL open)
{
  CK_MECHANISM generate = {CKM_AES_KEY_GEN, NULL, 0};
  CK_ULONG length = 32;
  CK_BBOOL closed = !open, yes = CK_TRUE;
  CK_OBJECT_HANDLE key = 0;
  CK_ATTRIBUTE what[] = {
      {CKA_TOKEN,       &is_false, sizeof is_false},
      {CKA_PRIVATE,     &yes,      sizeof yes     },
      {CKA_SENSITIVE,   &closed,   sizeof closed  },
      {CKA_EXTRACTABLE, &open,     sizeof open    },
      {CKA_WRAP,        &yes,      sizeof yes     },
      {CKA_ENCRYPT,     &yes,      sizeof yes     },
      {CKA_VALUE_LEN,   &length,   sizeof length  }
  };
  p11->C_GenerateKey(session, &generate, what, 7, &key);
  return key;
}

static void set(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, const void *value,
                CK_ULONG length)
{
  CK_ATTRIBUTE a = {type, (CK_VOID_PTR)value, length};
  p11->C_SetAttributeValue(session, object, &a, 1);
}

static void get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, CK_ULONG room)
{
  CK_BYTE value[4096];
  CK_ATTRIBUTE a = {type, value, room < sizeof value ? room : sizeof value};
  p11->C_GetAttributeValue(session, object, &a, 1);
}

/* Objects as they should be used: made in one session, read, changed and found through another, destroyed. */
static void objects(void)
{
  CK_OBJECT_HANDLE found[64];
  const CK_SESSION_HANDLE rw = open_session(CKF_RW_SESSION), ro = open_session(0);
  CK_ATTRIBUTE data[] = {
      {CKA_CLASS, &data_class,     sizeof data_class},
      {CKA_LABEL, (void *)"other", 5                }
  };
  login(ro, pin);
  for (int i = 0; i < 2; i++) {
    const CK_OBJECT_HANDLE object = make_data(rw, "first");
    read_object(ro, object);
    set(rw, object, CKA_LABEL, "other", 5);
    search(ro, data, 2, 10, found);
    read_object(rw, object);
    get(ro, object, CKA_LABEL, 1);
    p11->C_DestroyObject(rw, object);
  }
  CK_ATTRIBUTE certificates[] = {
      {CKA_CLASS, &certificate_class, sizeof certificate_class}
  };
  const CK_ULONG n = search(ro, certificates, 1, 10, found);
  for (CK_ULONG i = 0; i < 2 * n; i++) {
    get(ro, found[i / 2], CKA_VALUE, 4096);
    get(ro, found[i / 2], CKA_PRIVATE, 1);
  }
}

static CK_ULONG found_keys(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR found)
{
  CK_ATTRIBUTE keys[] = {
      {CKA_CLASS, &private_class, sizeof private_class}
  };
  login(session, pin);
  const CK_ULONG n = search(session, keys, 1, 10, found);
  for (CK_ULONG i = 0; i < n; i++) read_object(session, found[i]);
  return n;
}

/* A key that can be taken out and one that cannot: what they say of themselves, and whether they stay in. */
static void secrets(void)
{
  static const CK_ATTRIBUTE_TYPE type[] = {
      CKA_CLASS, CKA_KEY_TYPE, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL};
  CK_OBJECT_HANDLE found[64];
  CK_BYTE wrapped[256];
  CK_ULONG length = sizeof wrapped;
  CK_MECHANISM wrap = {CKM_AES_KEY_WRAP, NULL, 0};
  const CK_BBOOL yes = CK_TRUE;
  const CK_SESSION_HANDLE rw = open_session(CKF_RW_SESSION);
  login(rw, pin);
  const CK_OBJECT_HANDLE closed = make_key(rw, CK_FALSE), open = make_key(rw, CK_TRUE);
  for (unsigned i = 0; i < sizeof type / sizeof *type; i++) {
    get(rw, closed, type[i], 64);
    get(rw, open, type[i], 64);
  }
  get(rw, closed, CKA_VALUE, 64);
  get(rw, open, CKA_VALUE, 64);
  p11->C_WrapKey(rw, &wrap, open, closed, wrapped, &length);
  length = sizeof wrapped;
  p11->C_WrapKey(rw, &wrap, closed, open, wrapped, &length);
  set(rw, closed, CKA_EXTRACTABLE, &yes, sizeof yes);
  set(rw, closed, CKA_SENSITIVE, &is_false, sizeof is_false);
  CK_ATTRIBUTE keys[] = {
      {CKA_CLASS, &private_class, sizeof private_class}
  };
  const CK_ULONG n = search(rw, keys, 1, 10, found);
  for (CK_ULONG i = 0; i < n; i++) {
    get(rw, found[i], CKA_SENSITIVE, 1);
    get(rw, found[i], CKA_PRIVATE_EXPONENT, 512);
  }
}

/* Handles that are kept too long: of what was destroyed, and of a private key after a logout. */
static void old_handles(void)
{
  CK_OBJECT_HANDLE found[64];
  const CK_SESSION_HANDLE rw = open_session(CKF_RW_SESSION);
  const CK_OBJECT_HANDLE object = make_data(rw, "first");
  read_object(rw, object);
  p11->C_DestroyObject(rw, object);
  get(rw, object, CKA_LABEL, 64);
  read_object(rw, make_data(rw, "second"));
  if (found_keys(rw, found) == 0) DIE("no private key");
  p11->C_Logout(rw);
  get(rw, found[0], CKA_LABEL, 64);
}

/* The same after a logout and the next login, as NSS does it when it checks a PIN. */
static void relogin(void)
{
  CK_OBJECT_HANDLE found[64];
  const CK_SESSION_HANDLE rw = open_session(CKF_RW_SESSION);
  if (found_keys(rw, found) == 0) DIE("no private key");
  p11->C_Logout(rw);
  login(rw, pin);
  get(rw, found[0], CKA_LABEL, 64);
}

#endif
