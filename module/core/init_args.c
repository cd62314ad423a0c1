/* The arguments of C_Initialize. */
#include "core/init_args.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/module.h"

#define MAX_PARAMETERS 65536 /* bytes */

/* Copies what is readable at `from`, at most `size` bytes, without ever faulting; returns how many. */
static size_t peek(const char *from, char *to, size_t size)
{
  size_t done = 0;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  while (done < size) {
    /* One page at a time: a call that reaches into an unmapped page may transfer nothing at all. */
    size_t part = page - ((uintptr_t)(from + done) & (page - 1));
    if (part > size - done) part = size - done;
    struct iovec local = {to + done, part}, remote = {(void *)(uintptr_t)(from + done), part};
    ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
    if (n <= 0) break;
    if (memchr(to + done, '\0', (size_t)n) != NULL) return done + (size_t)n;
    done += (size_t)n;
  }
  return done;
}

/* The sixth member is the standard's pReserved, which must be NULL; NSS puts the module's parameter string there
 * (pk11load.c). Other programs have put anything there, so it is a string only if its page can be read and it holds text. */
static CK_RV read_parameters(const char *from, char **parameters)
{
  char *text = tok_alloc(MAX_PARAMETERS);
  if (text == NULL) return CKR_HOST_MEMORY;
  size_t readable = peek(from, text, MAX_PARAMETERS);
  size_t len = strnlen(text, readable);
  bool good = len < readable;
  for (size_t i = 0; i < len && good; i++) {
    unsigned char c = (unsigned char)text[i];
    good = c >= ' ' ? c != 0x7f : c == '\t' || c == '\n' || c == '\r';
  }
  if (!good) {
    free(text);
    return CKR_ARGUMENTS_BAD;
  }
  *parameters = text;
  return CKR_OK;
}

CK_RV tok_init_args(const void *pointer, char **parameters)
{
  const CK_C_INITIALIZE_ARGS *args = pointer;
  *parameters = NULL;
  if (args == NULL) return CKR_OK;
  int given = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) + (args->LockMutex != NULL) +
              (args->UnlockMutex != NULL);
  if (given != 0 && given != 4) return CKR_ARGUMENTS_BAD;
  /* Only the system's locks work with the system's threads, and there are no others (as p11-kit has it). */
  if (given == 4 && (args->flags & CKF_OS_LOCKING_OK) == 0) return CKR_CANT_LOCK;
  return args->pReserved != NULL ? read_parameters(args->pReserved, parameters) : CKR_OK;
}
