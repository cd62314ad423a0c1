/* The derivations of SSL 3.0 and TLS 1.0 to 1.2: what tls_derive.c has of each mechanism. */
#ifndef TOK_TLS_DERIVE_H
#define TOK_TLS_DERIVE_H

#include "crypto/derive.h"
#include "crypto/hash.h"
#include "crypto/mech.h"
#include "crypto/tls_prf.h"

enum tok_tls_step { TOK_TLS_MASTER, TOK_TLS_EXTENDED_MASTER, TOK_TLS_KEYS, TOK_TLS_KDF, TOK_TLS_PRF };
enum tok_tls_version {
  TOK_SSL3,
  TOK_TLS10,
  TOK_TLS12,       /* the parameter names the hash */
  TOK_TLS12_SHA256 /* NSS's own: the parameter is that of TLS 1.0, the hash is SHA-256 */
};

struct tok_tls_kind {
  CK_MECHANISM_TYPE mechanism;
  enum tok_tls_step step;
  enum tok_tls_version version;
  bool dh;   /* the pre-master secret is a shared secret of any length, not 48 bytes with a version in front */
  bool safe; /* no IVs come out */
};

/* What every step gets. */
struct tok_tls_call {
  struct tok_session *session;
  const struct tok_tls_kind *kind;
  CK_MECHANISM_PTR mechanism;
  struct tok_object *base;
  struct tok_span secret; /* the base's value */
  struct tok_template t;
  struct tok_attrs *key;
};

CK_RV tok_tls_master(const struct tok_tls_call *c);          /* tls_derive_master.c */
CK_RV tok_tls_extended_master(const struct tok_tls_call *c); /* tls_derive_master.c */
CK_RV tok_tls_keys(const struct tok_tls_call *c);            /* tls_derive_keys.c */

/* Both randoms, of 32 bytes each. CKR_MECHANISM_PARAM_INVALID. */
CK_RV tok_tls_randoms(const CK_SSL3_RANDOM_DATA *r, struct tok_span *client, struct tok_span *server);
/* The PRF of the call: SSL 3.0, or with `hash` that of TLS. `label` is what TLS puts before r1 and r2. */
CK_RV tok_tls_output(const struct tok_tls_call *c, enum tok_hash hash, const char *label, struct tok_span r1,
                     struct tok_span r2, CK_BYTE *out, CK_ULONG len);
/* Sets a boolean of the new key unless the template has it. */
CK_RV tok_tls_default(const struct tok_tls_call *c, struct tok_attrs *key, CK_ATTRIBUTE_TYPE type, bool value);

#endif
