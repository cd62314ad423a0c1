/* What the chapters implement: tok_C_Xxx for each C_Xxx, with the same parameters after `session`.
 *
 * The exported C_Xxx are made from shim/spec/functions.def in entry.c. Before tok_C_Xxx runs, its entry has seen to it that
 *   - the module is initialised (CKR_CRYPTOKI_NOT_INITIALIZED), except for those that work without;
 *   - hSession is an open session (CKR_SESSION_HANDLE_INVALID); `session` is it, locked, and NULL for functions without one
 *     and for those that may close sessions or log in and out (groups SESSION and TOKEN), which get it unlocked: they have
 *     its handle;
 *   - no pointer that the function must read or write is NULL, no buffer has a length but no address, no length is so large
 *     that it can only be a mistake, and in templates and mechanisms the same holds (CKR_ARGUMENTS_BAD). Output buffers
 *     may be NULL: that asks for the size. pMechanism may be NULL in the Init functions of operations: that cancels.
 * Afterwards the entry ends the operation that the function works on when the function, not being an Init, returns anything
 * but CKR_OK and CKR_BUFFER_TOO_SMALL (PKCS #11 3.2, 5.8 to 5.15). Ending it after success is the chapter's work.
 * A function without tok_C_Xxx returns CKR_FUNCTION_NOT_SUPPORTED. */
#ifndef TOK_ENTRY_H
#define TOK_ENTRY_H

#include "pkcs11.h"
#include "sessions.h"

/* clang-format off */
#define TOK_PARAMETER(ctx, ctype, pname, kind) ctype pname
#define F(name, since, group, class, ...) \
  CK_RV tok_##name(struct tok_session *session, P11_LIST(TOK_PARAMETER, 0, __VA_ARGS__)) __attribute__((weak, visibility("hidden")));
#include "functions.def"
#undef TOK_PARAMETER
/* clang-format on */

#endif
