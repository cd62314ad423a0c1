/* Writing and reading the saved states of operations: numbers of eight bytes and runs of bytes with their length. */
#ifndef TOK_SAVING_H
#define TOK_SAVING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11.h"

/* What is written; what does not find memory sets `failed`, and nothing is written any more. */
struct tok_saving {
  CK_BYTE *data;
  size_t len, room;
  bool failed;
};

/* What is read; what is not there sets `bad`, and only zeros are read any more. */
struct tok_saved {
  const CK_BYTE *at;
  size_t left;
  bool bad;
};

void tok_save_number(struct tok_saving *to, uint64_t number);
void tok_save_bytes(struct tok_saving *to, const void *bytes, size_t len);
void tok_saving_clear(struct tok_saving *to); /* wipes and frees */

uint64_t tok_saved_number(struct tok_saved *from);
/* The bytes lie in what is read. */
const CK_BYTE *tok_saved_bytes(struct tok_saved *from, size_t *len);
/* Just so many bytes. */
void tok_saved_copy(struct tok_saved *from, void *to, size_t len);

#endif
