/* What HMAC and CMAC share: a key, data, and a code of which the caller gets the first bytes. */
#ifndef TOK_MAC_H
#define TOK_MAC_H

#include "crypto/op.h"

/* How a family computes; `own` is its part of the state, zeroed at first. */
struct tok_mac_type {
  size_t size;                                 /* bytes of `own` */
  CK_RV (*make)(struct tok_op *op, void *own); /* puts op->key in */
  CK_RV (*begin)(void *own);                   /* a code, with the key that is there */
  CK_RV (*update)(void *own, const CK_BYTE *in, CK_ULONG len);
  CK_RV (*finish)(void *own, CK_BYTE *mac, CK_ULONG *len); /* all of it, TOK_MAX_HASH bytes at most */
  void (*free)(void *own); /* what `own` points to; called after a `make` that failed too */
  /* Between `begin` and `finish`; NULL, both: cannot be done. */
  bool (*save)(void *own, struct tok_saving *to);
  bool (*restore)(void *own, struct tok_saved *from);
};

/* Begins an operation with a MAC of `full` bytes, or of as many as the parameter says if the mechanism is a _GENERAL
 * one. CKR_MECHANISM_PARAM_INVALID, and what type->make returns, which is called when nothing is parked with the key. */
CK_RV tok_mac_start(struct tok_op *op, CK_MECHANISM_PTR mechanism, CK_ULONG full, const struct tok_mac_type *type);

#endif
