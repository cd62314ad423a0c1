/* Keys of a login in memory: a page of their own, locked if the system lets us, in no core dump, empty in a child. */
#ifndef TOK_KEYPAGE_H
#define TOK_KEYPAGE_H

#include <stdint.h>

#include "auth/keybox.h"

struct tok_keys {
  uint8_t master[TOK_KEY];
  uint8_t seal[TOK_KEY];
  uint8_t tag[TOK_KEY];
};

/* Zeroed; NULL: no memory. A page that cannot be locked (RLIMIT_MEMLOCK) is used all the same. */
struct tok_keys *tok_keypage_new(void);
void tok_keypage_free(struct tok_keys *keys); /* wipes; NULL is allowed */
void tok_keypage_wipe(struct tok_keys *keys);

#endif
