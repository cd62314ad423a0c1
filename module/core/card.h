/* The file that makes a token one that can be taken out of its slot: NAME.p11token-card beside NAME.p11token.
 *
 * It holds a counter that goes up by one whenever the token is removed or inserted, by `p11token`: even, the token is in;
 * odd, it is out. Every process maps it, so a look is one load. Only the kernel's close of a descriptor that could write
 * tells waiting processes (core/events.c), so that a `p11token` that is killed after the change has told them as well. */
#ifndef TOK_CARD_H
#define TOK_CARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11.h"

#define TOK_CARD_SUFFIX "-card"

typedef _Atomic uint32_t tok_card; /* the counter */

/* Of tokens that cannot be removed: always 0. */
extern const tok_card tok_card_fixed;

static inline bool tok_card_is_out(uint32_t changes)
{
  return (changes & 1) != 0;
}

/* Makes the file for a token file that is not there yet. Codes as those of tok_store_create. */
CK_RV tok_card_make(const char *token_path);
/* Takes it away again, when the token file could not be made. */
void tok_card_unmake(const char *token_path);
/* Maps the counter; NULL if there is no such file, or with a sentence in `why` if it is not what it should be. */
const tok_card *tok_card_open(const char *token_path, char *why, size_t why_size);
void tok_card_close(const tok_card *card); /* NULL and &tok_card_fixed are allowed */

/* Removes (out) or inserts; false with errno. *changed is false if it was so already. */
bool tok_card_turn(const char *token_path, bool out, bool *changed);

#endif
