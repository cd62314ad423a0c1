/* What C_WrapKey and C_UnwrapKey share with their authenticated forms. */
#ifndef TOK_WRAP_H
#define TOK_WRAP_H

#include "pkcs11.h"

struct tok_session;

/* Wraps one key with another; all of the checks and codes of C_WrapKey but those of its buffer. *out is the caller's
 * (tok_wipe_free). */
CK_RV tok_wrap(struct tok_session *session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE wrapping_key,
               CK_OBJECT_HANDLE key, CK_BYTE **out, CK_ULONG *out_len);

/* C_UnwrapKey. */
CK_RV tok_unwrap(struct tok_session *session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE unwrapping_key,
                 const CK_BYTE *wrapped, CK_ULONG len, const CK_ATTRIBUTE *templ, CK_ULONG count,
                 CK_OBJECT_HANDLE *handle);

/* PKCS #11 3.2, 5.2: the size if `to` is NULL, CKR_BUFFER_TOO_SMALL and the size if *to_len is less, else the bytes. */
CK_RV tok_wrap_output(const CK_BYTE *from, CK_ULONG len, CK_BYTE *to, CK_ULONG *to_len);

#endif
