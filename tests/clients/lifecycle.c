/* lifecycle reload MODULE finalize|keep   load, use and unload a module twice; `keep` leaves out C_Finalize
 * lifecycle two MODULE MODULE             use two modules in turn in one process
 * lifecycle sign MODULE                   a session, ten C_GetSessionInfo, C_SignInit, C_Sign; prints the signature
 * lifecycle asks MODULE N                 asks N times for the state of a session and of its slot, in turn
 *
 * Prints every return code. */
#include <unistd.h>

#include "p11client.h"

static void use(CK_FUNCTION_LIST_PTR list, const char *name)
{
  CK_SESSION_HANDLE session = 0;
  CK_INFO info;
  CK_RV opened = list->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session);
  printf("%s C_GetInfo=0x%lx C_OpenSession=0x%lx\n", name, list->C_GetInfo(&info), opened);
}

static void reload(const char *path, int finalize)
{
  for (int i = 1; i <= 2; i++) {
    struct module m = module_open(path);
    CK_FUNCTION_LIST_PTR list = NULL;
    MUST(m.get_list(&list));
    printf("%d C_Initialize=0x%lx\n", i, list->C_Initialize(NULL));
    use(list, "reload");
    if (finalize) printf("%d C_Finalize=0x%lx\n", i, list->C_Finalize(NULL));
    fputs("client: unloading\n", stderr);
    if (dlclose(m.handle) != 0) DIE("dlclose: %s", dlerror());
    fputs("client: unloaded\n", stderr);
  }
}

static void two(const char *first, const char *second)
{
  CK_FUNCTION_LIST_PTR a = module_list(first), b = module_list(second);
  if (a == b) DIE("two modules, one list");
  printf("C_Initialize=0x%lx 0x%lx\n", a->C_Initialize(NULL), b->C_Initialize(NULL));
  for (int i = 0; i < 100; i++) use(i % 2 ? a : b, i % 2 ? "first" : "second");
  printf("C_Finalize=0x%lx 0x%lx\n", b->C_Finalize(NULL), a->C_Finalize(NULL));
}

static void sign(const char *path)
{
  CK_FUNCTION_LIST_PTR list = module_list(path);
  CK_MECHANISM m = {CKM_SHA256_RSA_PKCS, NULL, 0};
  CK_BYTE data[] = "to be signed", signature[512];
  CK_ULONG n = sizeof signature;
  CK_SESSION_HANDLE session;
  CK_SESSION_INFO info;
  printf("C_Initialize=0x%lx", list->C_Initialize(NULL));
  MUST(list->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session));
  for (int i = 0; i < 10; i++) MUST(list->C_GetSessionInfo(session, &info));
  MUST(list->C_SignInit(session, &m, 0x70));
  fflush(stdout);
  CK_RV rv = list->C_Sign(session, data, sizeof data - 1, signature, &n);
  printf(" C_Sign=0x%lx", rv);
  for (CK_ULONG i = 0; rv == CKR_OK && i < n && i < sizeof signature; i++) printf("%s%02x", i ? "" : " ", signature[i]);
  printf("\nC_Finalize=0x%lx\n", list->C_Finalize(NULL));
}

/* What a browser does all day: is the token still there, is the user still logged in? */
static void asks(const char *path, unsigned long n)
{
  CK_FUNCTION_LIST_PTR list = module_list(path);
  CK_SESSION_HANDLE session = 0;
  CK_SESSION_INFO session_info;
  CK_SLOT_INFO slot_info;
  CK_SLOT_ID slot = 0;
  CK_ULONG count = 1;
  MUST(list->C_Initialize(NULL));
  MUST(list->C_GetSlotList(CK_TRUE, &slot, &count));
  MUST(list->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
  for (unsigned long i = 0; i < n; i += 2) {
    MUST(list->C_GetSessionInfo(session, &session_info));
    MUST(list->C_GetSlotInfo(slot, &slot_info));
  }
  MUST(list->C_Finalize(NULL));
}

int main(int argc, char **argv)
{
  if (argc == 4 && strcmp(argv[1], "reload") == 0)
    reload(argv[2], strcmp(argv[3], "finalize") == 0);
  else if (argc == 4 && strcmp(argv[1], "two") == 0)
    two(argv[2], argv[3]);
  else if (argc == 3 && strcmp(argv[1], "sign") == 0)
    sign(argv[2]);
  else if (argc == 4 && strcmp(argv[1], "asks") == 0)
    asks(argv[2], strtoul(argv[3], NULL, 10));
  else
    DIE("usage: lifecycle reload MODULE finalize|keep | two MODULE MODULE | sign MODULE | asks MODULE N");
  return 0;
}
