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

#endif
