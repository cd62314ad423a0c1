/* A module without slots that writes down what C_Initialize hands it: one line per call, appended to the file that
 * P11MOCK_PARAMS names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/spec/pkcs11.h"

#define EXPORT __attribute__((visibility("default")))

#define IN_2_40_V2_40(...) __VA_ARGS__
#define IN_2_40_V3_0(...)
#define IN_2_40_V3_2(...)

#define ARGUMENT(ctx, ctype, name, kind) ctype name __attribute__((unused))
#define UNSUPPORTED(name, ...)                                        \
  static CK_RV unsupported_##name(P11_LIST(ARGUMENT, 0, __VA_ARGS__)) \
  {                                                                   \
    return CKR_FUNCTION_NOT_SUPPORTED;                                \
  }
#define F(name, since, group, class_, ...) IN_2_40_##since(UNSUPPORTED(name, __VA_ARGS__))
#include "shim/spec/functions.def"

static CK_FUNCTION_LIST list = {
    {2, 40},
#define F(name, since, ...) IN_2_40_##since(unsupported_##name, )
#include "shim/spec/functions.def"
};

static CK_RV initialize(CK_VOID_PTR pointer)
{
  const char *path = getenv("P11MOCK_PARAMS");
  FILE *f = path != NULL ? fopen(path, "a") : NULL;
  if (f == NULL) return CKR_GENERAL_ERROR;
  CK_NSS_C_INITIALIZE_ARGS *args = pointer;
  if (args == NULL) {
    fputs("no arguments\n", f);
  } else {
    int callbacks =
        args->CreateMutex != NULL && args->DestroyMutex != NULL && args->LockMutex != NULL && args->UnlockMutex != NULL;
    fprintf(f, "flags=0x%lx callbacks=%d", args->flags, callbacks);
    /* The seventh member is there only if the sixth is set. */
    if (args->LibraryParameters == NULL) {
      fputs(" no parameters\n", f);
    } else {
      fprintf(f, " seventh=%s parameters=%s\n", args->pReserved == NULL ? "NULL" : "set",
              (const char *)args->LibraryParameters);
    }
  }
  fclose(f);
  return CKR_OK;
}

static CK_RV finalize(CK_VOID_PTR reserved)
{
  (void)reserved;
  return CKR_OK;
}

static CK_RV get_info(CK_INFO *info)
{
  memset(info, 0, sizeof *info);
  info->cryptokiVersion = (CK_VERSION){2, 40};
  memset(info->manufacturerID, ' ', sizeof info->manufacturerID);
  memset(info->libraryDescription, ' ', sizeof info->libraryDescription);
  return CKR_OK;
}

static CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
  (void)present;
  (void)slots;
  *count = 0;
  return CKR_OK;
}

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out);

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out)
{
  list.C_Initialize = initialize;
  list.C_Finalize = finalize;
  list.C_GetInfo = get_info;
  list.C_GetSlotList = get_slot_list;
  list.C_GetFunctionList = C_GetFunctionList;
  *out = &list;
  return CKR_OK;
}
