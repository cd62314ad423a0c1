/* The box in which the saved state of operations leaves the module.
 *
 * A state holds what came of data and keys: chaining values, the beginning of a block, the state of an HMAC. So it is
 * encrypted and authenticated, under a key of its own that is in the box twice: under a random key of the process, so that
 * whoever saved it can restore it whatever happens to the login; and, if a user was logged in, under the token's key, so
 * that another process can restore it while the user is logged in there. Either is bound to the token. */
#ifndef TOK_STATE_BOX_H
#define TOK_STATE_BOX_H

#include <stddef.h>
#include <stdint.h>

#include "pkcs11.h"

struct tok_slot;

/* The length of the box of a state of `len` bytes. */
size_t tok_state_box_size(size_t len);
/* `box` has room for it. */
CK_RV tok_state_box_seal(struct tok_slot *slot, const uint8_t *state, size_t len, uint8_t *box);
/* *state is the caller's (tok_wipe_free). CKR_SAVED_STATE_INVALID if the box was changed or cut, is of another token (or of
 * this one before it was initialised anew), or is of another process and nobody is logged in who could open it. */
CK_RV tok_state_box_open(struct tok_slot *slot, const uint8_t *box, size_t len, uint8_t **state, size_t *state_len);

/* In a forked child: wipes the process's key; the child has one of its own. Async-signal-safe. */
void tok_state_box_after_fork_child(void);

#endif
