// unwind throw|jump MODULE N
//
// N times the session's Notify callback leaves C_Sign by an exception or a longjmp, through the module and whatever is
// between the module and us (the mock: MOCK_NOTIFY=C_Sign); then N ordinary calls.
// unwind nested MODULE N: the callback makes a call of its own and returns.
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "p11client.h"

static CK_FUNCTION_LIST_PTR list;
static std::string mode;
static std::jmp_buf back;

static CK_RV notify(CK_SESSION_HANDLE session, CK_NOTIFICATION, CK_VOID_PTR)
{
  if (mode == "throw") throw std::runtime_error("out of the callback");
  if (mode == "jump") std::longjmp(back, 1);
  CK_SESSION_INFO info;
  return list->C_GetSessionInfo(session, &info);
}

static CK_RV sign(CK_SESSION_HANDLE session)
{
  CK_BYTE data[8] = {0}, signature[64];
  CK_ULONG n = sizeof signature;
  return list->C_Sign(session, data, sizeof data, signature, &n);
}

// In a frame of its own: nothing here may be changed between setjmp and longjmp.
static bool left_by_jump(CK_SESSION_HANDLE session)
{
  if (setjmp(back) != 0) return true;
  sign(session);
  return false;
}

static bool left(CK_SESSION_HANDLE session)
{
  if (mode == "jump") return left_by_jump(session);
  if (mode == "nested") return sign(session) == CKR_OK;
  try {
    sign(session);
  } catch (const std::runtime_error &) {
    return true;
  }
  return false;
}

int main(int argc, char **argv)
{
  if (argc != 4) DIE("usage: unwind throw|jump|nested MODULE N");
  mode = argv[1];
  list = module_list(argv[2]);
  const int n = std::atoi(argv[3]);
  CK_SESSION_HANDLE session;
  CK_SESSION_INFO info;
  MUST(list->C_Initialize(nullptr));
  MUST(list->C_OpenSession(1, CKF_SERIAL_SESSION, nullptr, notify, &session));
  int count = 0;
  for (int i = 0; i < n; i++) count += left(session);
  for (int i = 0; i < n; i++) MUST(list->C_GetSessionInfo(session, &info));
  MUST(list->C_Finalize(nullptr));
  std::printf("left %d\n", count);
}
