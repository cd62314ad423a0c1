/* From C_Initialize to C_Finalize: who may come in, and who is inside. */
#ifndef TOK_LIFETIME_H
#define TOK_LIFETIME_H

#include <stdbool.h>

/* Comes in: true if the module is initialised (and libcrypto not yet shut down by a host that is exiting); then tok_leave
 * must follow, and C_Finalize waits for it. */
bool tok_enter(void);
void tok_leave(void);

#endif
