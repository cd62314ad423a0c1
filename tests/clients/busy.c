/* busy MODULE THREADS FILE
 *
 * Calls without end; FILE holds a u64 per thread: how many calls on its session have returned. It is a shared
 * mapping, so
 * that it is right at the moment at which the process is killed. Thread i's session is 0x100 + i on the mocks. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "p11client.h"

static CK_FUNCTION_LIST_PTR list;
static _Atomic uint64_t *returned;
static CK_SESSION_HANDLE session[64];

static void *work(void *argument)
{
  size_t me = (size_t)argument;
  CK_ATTRIBUTE t[] = {
      {CKA_LABEL, (void *)(uintptr_t) "an object", 9}
  };
  CK_BYTE data[100] = {0}, out[256];
  CK_SESSION_INFO info;
  CK_OBJECT_HANDLE found[4];
  for (CK_ULONG i = 0, n;; i++) {
    switch (i % 5) {
      case 0: MUST(list->C_GetSessionInfo(session[me], &info)); break;
      case 1: MUST(list->C_FindObjectsInit(session[me], t, 1)); break;
      case 2: MUST(list->C_FindObjects(session[me], found, 4, &n)); break;
      case 3: MUST(list->C_FindObjectsFinal(session[me])); break;
      default:
        n = sizeof out;
        MUST(list->C_Sign(session[me], data, sizeof data, out, &n));
        break;
    }
    atomic_fetch_add(&returned[me], 1);
  }
  return NULL;
}

int main(int argc, char **argv)
{
  size_t threads = argc == 4 ? (size_t)atoi(argv[2]) : 0;
  pthread_t thread;
  if (threads < 1 || threads > 64) DIE("usage: busy MODULE THREADS FILE");
  int fd = open(argv[3], O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || ftruncate(fd, 4096) != 0) DIE("%s", argv[3]);
  returned = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if ((void *)returned == MAP_FAILED) DIE("mmap");
  list = module_list(argv[1]);
  MUST(list->C_Initialize(NULL));
  for (size_t i = 0; i < threads; i++) MUST(list->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session[i]));
  for (size_t i = 0; i < threads; i++) {
    if (pthread_create(&thread, NULL, work, (void *)i) != 0) DIE("pthread_create");
  }
  pthread_join(thread, NULL);
  return 0;
}
