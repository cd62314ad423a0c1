/* The little of DER that keys need: SubjectPublicKeyInfo, PKCS #8 and signatures. */
#ifndef TOK_DER_H
#define TOK_DER_H

#include <stdbool.h>
#include <stddef.h>

#include "pkcs11.h"

enum {
  TOK_DER_INTEGER = 0x02,
  TOK_DER_BIT_STRING = 0x03,
  TOK_DER_OCTET_STRING = 0x04,
  TOK_DER_NULL = 0x05,
  TOK_DER_OID = 0x06,
  TOK_DER_PRINTABLE = 0x13,
  TOK_DER_SEQUENCE = 0x30,
  TOK_DER_CONTEXT = 0xa0 /* constructed, plus the number */
};

/* What is being read. Not a copy. */
struct tok_der {
  const CK_BYTE *at;
  size_t left;
};

/* The next element of `in` if it has this tag: its content; `in` moves past it. False, and nothing moves, if it has another
 * tag, or a length that is not in its shortest form or longer than what is there. */
bool tok_der_next(struct tok_der *in, unsigned tag, struct tok_der *content);
/* The next element whatever it is, with tag and length, as bytes. */
bool tok_der_any(struct tok_der *in, struct tok_der *whole);
/* The next element if it is an INTEGER that is not negative: its bytes without leading zeros (none for 0). */
bool tok_der_unsigned(struct tok_der *in, struct tok_der *value);

/* What is being written: starts zeroed, grows; memory is wiped when it moves. After a failure nothing more is written. */
struct tok_der_out {
  CK_BYTE *data;
  size_t len, room;
  bool failed;
};

void tok_der_bytes(struct tok_der_out *out, const void *bytes, size_t len);
void tok_der_put(struct tok_der_out *out, unsigned tag, const void *content, size_t len);
/* An unsigned big-endian number as INTEGER, in its shortest form. */
void tok_der_put_unsigned(struct tok_der_out *out, const CK_BYTE *value, size_t len);
/* What is written between the two becomes the content of one element. */
size_t tok_der_begin(const struct tok_der_out *out);
void tok_der_end(struct tok_der_out *out, size_t begin, unsigned tag);
/* Hands the bytes to the caller (tok_wipe_free), or CKR_HOST_MEMORY; `out` is empty afterwards. */
CK_RV tok_der_finish(struct tok_der_out *out, CK_BYTE **data, CK_ULONG *len);

#endif
