// A module whose C_GetSessionInfo throws and catches an exception of its own, and fails for every second session.
#include <stdexcept>

#include "pkcs11.h"

extern "C" CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list);

__attribute__((noinline)) static void deep(int levels)
{
  if (levels == 0) throw std::runtime_error("inside the module");
  deep(levels - 1);
  asm volatile("");
}

extern "C" __attribute__((noinline, visibility("default"))) int throw_and_catch(int levels)
{
  try {
    deep(levels);
  } catch (const std::exception &) {
    return 1;
  }
  return 0;
}

static CK_RV initialize(CK_VOID_PTR)
{
  return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID, CK_FLAGS, CK_VOID_PTR, CK_NOTIFY, CK_SESSION_HANDLE_PTR session)
{
  *session = 1;
  return CKR_OK;
}

static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
  *info = CK_SESSION_INFO{};
  return throw_and_catch(5) && session == 1 ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

static CK_FUNCTION_LIST functions;

extern "C" __attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
  functions.version = {2, 40};
  functions.C_Initialize = initialize;
  functions.C_Finalize = initialize;
  functions.C_GetFunctionList = C_GetFunctionList;
  functions.C_OpenSession = open_session;
  functions.C_GetSessionInfo = get_session_info;
  *list = &functions;
  return CKR_OK;
}
