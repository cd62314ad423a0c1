/* What the token does in a program with the rights of another user, started from an environment that is not its own.
 *
 *   token_setid MODULE
 *
 * prints "secure S initialize RV slots N": AT_SECURE, the code of C_Initialize(NULL) in hexadecimal, and the number of slots
 * with an initialised token. */
#include <sys/auxv.h>

#include "p11client.h"

int main(int argc, char **argv)
{
  if (argc != 2) DIE("usage: token_setid MODULE");
  CK_FUNCTION_LIST_PTR f = module_list(argv[1]);
  CK_RV rv = f->C_Initialize(NULL);
  CK_SLOT_ID slots[64];
  CK_ULONG count = 0, tokens = 0;
  if (rv == CKR_OK) {
    MUST(f->C_GetSlotList(CK_TRUE, NULL, &count));
    if (count > 64) DIE("too many slots");
    MUST(f->C_GetSlotList(CK_TRUE, slots, &count));
  }
  for (CK_ULONG i = 0; i < count; i++) {
    CK_TOKEN_INFO info;
    MUST(f->C_GetTokenInfo(slots[i], &info));
    if (info.flags & CKF_TOKEN_INITIALIZED) tokens++;
  }
  printf("secure %lu initialize %lx slots %lu\n", getauxval(AT_SECURE), rv, tokens);
  if (rv == CKR_OK) MUST(f->C_Finalize(NULL));
  return 0;
}
