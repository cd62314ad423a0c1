/* Memory that is wiped before it is freed. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "core/module.h"

void *tok_alloc(size_t size)
{
  return calloc(1, size > 0 ? size : 1);
}

void tok_wipe_free(void *memory, size_t size)
{
  if (memory == NULL) return;
  OPENSSL_cleanse(memory, size);
  free(memory);
}

void *tok_dup(const void *from, size_t size)
{
  void *copy = tok_alloc(size);
  if (copy != NULL && size > 0) memcpy(copy, from, size);
  return copy;
}
