/* The module of WRONG_SIGNATURES_MODULE with one bit of every signature turned over: right in length and return code. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "shim/spec/pkcs11.h"

static CK_FUNCTION_LIST list;
static CK_FUNCTION_LIST_PTR target;

static CK_RV spoilt(CK_RV rv, CK_BYTE_PTR signature, const CK_ULONG *length)
{
  if (rv == CKR_OK && signature != NULL && *length > 0) signature[*length - 1] ^= 1;
  return rv;
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                  CK_ULONG_PTR size)
{
  return spoilt(target->C_Sign(session, data, length, signature, size), signature, size);
}

static CK_RV sign_final(CK_SESSION_HANDLE session, CK_BYTE_PTR signature, CK_ULONG_PTR size)
{
  return spoilt(target->C_SignFinal(session, signature, size), signature, size);
}

static CK_RV sign_recover(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
                          CK_ULONG_PTR size)
{
  return spoilt(target->C_SignRecover(session, data, length, signature, size), signature, size);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR functions);
CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR functions)
{
  const char *path = getenv("WRONG_SIGNATURES_MODULE");
  void *library = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void *symbol = library == NULL ? NULL : dlsym(library, "C_GetFunctionList");
  CK_C_GetFunctionList get;
  if (symbol == NULL) return CKR_GENERAL_ERROR;
  memcpy(&get, &symbol, sizeof get);
  const CK_RV rv = get(&target);
  if (rv != CKR_OK) return rv;
  list = *target;
  list.C_Sign = sign;
  list.C_SignFinal = sign_final;
  list.C_SignRecover = sign_recover;
  *functions = &list;
  return CKR_OK;
}
