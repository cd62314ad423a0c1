/* Checking the arguments of any function by its description in functions.def. */
#include "core/arguments.h"

#include <limits.h>

#include "pkcs11.h"

/* OpenSSL counts the bytes of a cipher in an int; nobody has a buffer of that size, but careless callers pass
 * CK_UNAVAILABLE_INFORMATION as a length. */
#define MAX_BYTES ((uintptr_t)INT_MAX / 2)
#define MAX_ATTRIBUTES 65536u

/* The Init functions of operations, for which a NULL mechanism means to cancel (PKCS #11 3.0, 5.8 and following). */
static bool null_mechanism_cancels(const struct p11_function_info *f)
{
  switch (f->group) {
    case P11_GROUP_ENCRYPT:
    case P11_GROUP_DECRYPT:
    case P11_GROUP_DIGEST:
    case P11_GROUP_SIGN:
    case P11_GROUP_VERIFY:
    case P11_GROUP_MESSAGE: return true;
    default: return false;
  }
}

static CK_RV check_buffer(const void *buffer, uintptr_t len)
{
  return (buffer == NULL && len > 0) || len > MAX_BYTES ? CKR_ARGUMENTS_BAD : CKR_OK;
}

static CK_RV check_template(const CK_ATTRIBUTE *templ, uintptr_t count, bool output)
{
  if ((templ == NULL && count > 0) || count > MAX_ATTRIBUTES) return CKR_ARGUMENTS_BAD;
  for (uintptr_t i = 0; i < count && !output; i++)
    if (check_buffer(templ[i].pValue, templ[i].ulValueLen) != CKR_OK) return CKR_ATTRIBUTE_VALUE_INVALID;
  return CKR_OK;
}

static CK_RV check_mechanism(const struct p11_function_info *f, const CK_MECHANISM *m)
{
  if (m == NULL) return null_mechanism_cancels(f) ? CKR_OK : CKR_ARGUMENTS_BAD;
  return check_buffer(m->pParameter, m->ulParameterLen) == CKR_OK ? CKR_OK : CKR_MECHANISM_PARAM_INVALID;
}

static CK_RV check(const struct p11_function_info *f, const struct p11_param *p, const uintptr_t *a, uintptr_t value)
{
  uintptr_t linked = p->link > 0 ? a[p->link - 1] : 0;
  switch ((enum p11_kind)p->kind) {
    case P11_K_IN_BYTES:
    case P11_K_MESSAGE_PARAM:
    case P11_K_PIN:
    case P11_K_OUT_BYTES_OF: return check_buffer((const void *)value, linked);
    case P11_K_OUT_OBJECTS: return value == 0 && linked > 0 ? CKR_ARGUMENTS_BAD : CKR_OK;
    case P11_K_TEMPLATE: return check_template((const CK_ATTRIBUTE *)value, linked, false);
    case P11_K_OUT_TEMPLATE: return check_template((const CK_ATTRIBUTE *)value, linked, true);
    case P11_K_MECHANISM: return check_mechanism(f, (const CK_MECHANISM *)value);
    case P11_K_CHARS:
    case P11_K_OUT_NUMBER:
    case P11_K_OUT_FLAGS:
    case P11_K_OUT_SLOT:
    case P11_K_OUT_SESSION:
    case P11_K_OUT_STRUCT:
    case P11_K_OUT_FUNCTION_LIST:
    case P11_K_OUT_INTERFACE: return value == 0 ? CKR_ARGUMENTS_BAD : CKR_OK;
    /* C_SignMessageNext: "pulSignatureLen is set to NULL if there is more data to follow" (5.14.4). */
    case P11_K_OUT_LENGTH:
      return value == 0 && f != &p11_functions[P11_F_C_SignMessageNext] ? CKR_ARGUMENTS_BAD : CKR_OK;
    /* CKM_TLS12_KEY_AND_MAC_DERIVE and the like return their keys in the parameter: phKey may be NULL then. */
    case P11_K_OUT_OBJECT: return value == 0 && f != &p11_functions[P11_F_C_DeriveKey] ? CKR_ARGUMENTS_BAD : CKR_OK;
    default: return CKR_OK;
  }
}

CK_RV tok_check_arguments(enum p11_function function, const uintptr_t *a)
{
  const struct p11_function_info *f = &p11_functions[function];
  CK_RV rv = CKR_OK;
  for (unsigned i = 0; i < f->arity && rv == CKR_OK; i++) rv = check(f, &f->param[i], a, a[i]);
  return rv;
}
