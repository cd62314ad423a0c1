/* The key for an operation. */
#include <string.h>

#include "auth/auth.h"
#include "core/sessions.h"
#include "crypto/mech.h"
#include "object/objects.h"

#define PUB 1
#define PRIV 2
#define SEC 4

/* Which classes of keys can do what, and the standard's codes where they are not the common ones. */
static const struct {
  CK_ATTRIBUTE_TYPE usage;
  unsigned classes;
  CK_RV bad_handle, bad_type;
} uses[] = {
  /* clang-format off */
    {CKA_ENCRYPT, PUB | SEC, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {CKA_DECRYPT, PRIV | SEC, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {CKA_SIGN, PRIV | SEC, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {CKA_SIGN_RECOVER, PRIV, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {CKA_VERIFY, PUB | SEC, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {CKA_VERIFY_RECOVER, PUB, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {CKA_DERIVE, PRIV | SEC, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {CKA_WRAP, PUB | SEC, CKR_WRAPPING_KEY_HANDLE_INVALID, CKR_WRAPPING_KEY_TYPE_INCONSISTENT},
    {CKA_UNWRAP, PRIV | SEC, CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT},
    {CKA_ENCAPSULATE, PUB, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {CKA_DECAPSULATE, PRIV, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
    {0, PUB | PRIV | SEC, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT},
  /* clang-format on */
};

static unsigned class_bit(CK_OBJECT_CLASS class)
{
  switch (class) {
    case CKO_PUBLIC_KEY: return PUB;
    case CKO_PRIVATE_KEY: return PRIV;
    case CKO_SECRET_KEY: return SEC;
    default: return 0;
  }
}

/* CKA_ALLOWED_MECHANISMS; without one, or with an empty list, all are. */
static bool mechanism_allowed(const struct tok_object *key, const struct tok_mech *mech)
{
  CK_ULONG len;
  const CK_BYTE *list = tok_attrs_get(&key->attrs, CKA_ALLOWED_MECHANISMS, &len);
  if (list == NULL || len == 0 || mech == NULL) return true;
  for (CK_ULONG i = 0; i + sizeof mech->type <= len; i += sizeof mech->type)
    if (memcmp(list + i, &mech->type, sizeof mech->type) == 0) return true;
  return false;
}

CK_RV tok_key_get(struct tok_session *session, CK_OBJECT_HANDLE handle, const struct tok_mech *mech,
                  CK_ATTRIBUTE_TYPE usage, struct tok_object **key)
{
  size_t i = 0;
  struct tok_object *object = NULL;
  while (uses[i].usage != 0 && uses[i].usage != usage) i++;
  CK_RV rv = tok_object_get(session, handle, &object);
  if (rv != CKR_OK) return rv == CKR_OBJECT_HANDLE_INVALID ? uses[i].bad_handle : rv;
  if (class_bit(object->class) == 0)
    rv = uses[i].bad_handle;
  else if (object->sealed)
    rv = CKR_USER_NOT_LOGGED_IN;
  else if ((class_bit(object->class) & uses[i].classes) == 0)
    rv = uses[i].bad_type;
  else if (mech != NULL && !tok_mech_takes(mech, object->key_type, usage))
    rv = uses[i].bad_type;
  else if (usage != 0 && !tok_attrs_bool(&object->attrs, usage, false))
    rv = CKR_KEY_FUNCTION_NOT_PERMITTED;
  else if (!mechanism_allowed(object, mech))
    rv = CKR_KEY_FUNCTION_NOT_PERMITTED;
  if (rv == CKR_OK)
    *key = object;
  else
    tok_object_unref(object);
  return rv;
}
