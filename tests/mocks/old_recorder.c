/* A recorder of another version: it has the entry point of ours and refuses every stub. */
#include <stddef.h>

const void *p11trace_attach(unsigned abi, const char *stub);
const void *p11trace_attach(unsigned abi, const char *stub)
{
  (void)abi, (void)stub;
  return NULL;
}
