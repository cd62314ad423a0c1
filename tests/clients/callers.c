/* Calls a module from functions of its own, so that stacks have something to say: main > outer > middle > inner > C_GetInfo.
 *
 *   callers MODULE [ROUNDS [PAUSE-US]]      prints "ready" when the module is initialised; C_GetInfo ROUNDS times */
#include <unistd.h>

#include "p11client.h"

static volatile unsigned done;

static __attribute__((noinline)) void inner_function(CK_FUNCTION_LIST_PTR p11)
{
  CK_INFO info;
  MUST(p11->C_GetInfo(&info));
  done++;
}

static __attribute__((noinline)) void middle_function(CK_FUNCTION_LIST_PTR p11)
{
  inner_function(p11);
  done++;
}

__attribute__((noinline, visibility("default"))) void outer_function(CK_FUNCTION_LIST_PTR p11);
void outer_function(CK_FUNCTION_LIST_PTR p11)
{
  middle_function(p11);
  done++;
}

int main(int argc, char **argv)
{
  if (argc < 2) DIE("usage: callers MODULE [ROUNDS [PAUSE-US]]");
  unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 1, pause = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
  CK_FUNCTION_LIST_PTR p11 = module_list(argv[1]);
  MUST(p11->C_Initialize(NULL));
  puts("ready");
  fflush(stdout);
  for (unsigned i = 0; i < rounds; i++) {
    outer_function(p11);
    if (pause > 0) usleep(pause);
  }
  MUST(p11->C_Finalize(NULL));
  return 0;
}
