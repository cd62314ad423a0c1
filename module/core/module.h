/* What the whole process shares: is the module initialised, which slots are there, OpenSSL's library context.
 *
 * One C_Initialize makes a `struct tok_module`, one C_Finalize frees it. A forked child starts without one: its copy of
 * the parent's is left alone (never freed, the keys in it wiped), so that the child can call C_Initialize afresh. */
#ifndef TOK_MODULE_H
#define TOK_MODULE_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "pkcs11.h"

struct tok_config;
struct tok_slot;

struct tok_module {
  struct tok_config *config; /* config/config.h; not changed after C_Initialize */
  OSSL_LIB_CTX *crypto;      /* private to us: default and, if configured, legacy provider; no configuration file */
  bool legacy;               /* the legacy provider is loaded: DES, RC2, RC4 work */
  struct tok_slots *slots;   /* core/slots.h */
};

/* The module of this process between C_Initialize and C_Finalize, else NULL. Valid inside any tok_C_ function except
 * those that run without initialisation. */
extern struct tok_module *tok_module;

/* Zeroed memory, or NULL; `free` frees it. */
void *tok_alloc(size_t size);
/* Wipes and frees `size` bytes; NULL is allowed. For whatever held a PIN, a key or plaintext. */
void tok_wipe_free(void *memory, size_t size);
/* A copy of `size` bytes (at least one byte is allocated), or NULL. */
void *tok_dup(const void *from, size_t size);

#endif
