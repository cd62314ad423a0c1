/* The objects of a slot in memory: its session objects, and those token objects that were read last.
 *
 * One lock for both, held for look-ups and links only: never while reading the token file, enciphering or freeing. */
#ifndef TOK_OBJECT_POOL_H
#define TOK_OBJECT_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "object_index.h"
#include "objects.h"

/* By what objects are found quickly. The numbers stand in token files: never changed, never used again. */
enum tok_tag_kind {
  TOK_TAG_UNIQUE_ID = 1,
  TOK_TAG_ID = 2,
  TOK_TAG_LABEL = 3,
  TOK_TAG_SUBJECT = 4,
  TOK_TAG_ISSUER_SERIAL = 5, /* CKA_ISSUER and CKA_SERIAL_NUMBER together */
  TOK_TAG_VALUE = 6,         /* CKA_VALUE of certificates, data, public keys */
  TOK_TAG_NSS_SHA1 = 7,      /* CKA_NSS_CERT_SHA1_HASH */
  TOK_TAG_MODULUS = 8,
  TOK_TAG_EC_POINT = 9,
  TOK_TAG_NSS_EMAIL = 10,
  TOK_TAG_CERTIFICATE_HASH = 11, /* CKA_HASH_OF_CERTIFICATE */
  TOK_TAG_END
};

/* An object of a session. */
struct tok_held {
  struct tok_object *object;
  struct tok_node by_serial, by_owner, by_class, by_privacy;
  struct tok_node by_tag[TOK_TAG_END];
  unsigned tagged; /* which of by_tag are linked, as bits */
};

#define TOK_NEVER UINT64_MAX
/* A token object in the cache. */
struct tok_cached {
  struct tok_object *object;
  struct tok_node by_row;
  struct tok_cached *newer, *older; /* by last use */
  uint64_t checked;                 /* the store's change number when it was known to be up to date, or TOK_NEVER */
  uint64_t generation;              /* of the login that opened it */
  size_t bytes;                     /* about, in memory */
  bool opened;                      /* has a part that only a login opens: forgotten at logout */
};

struct tok_objects {
  struct tok_slot *slot;
  uint64_t stamp; /* differs between the lives of a slot: handles of one are void in the next */
  pthread_mutex_t lock;
  struct tok_index by_serial, by_owner, by_class, by_privacy, by_tag; /* session objects */
  struct tok_index by_row;
  struct tok_cached *newest, *oldest;
  size_t cached, cached_bytes;
};

/* Handles: bit 0: token object; bit 1: private; from bit 2 the row or the serial number of a session object. In token
 * objects' the stamp of the slot from bit 34, and, of private ones, the login generation from bit 42. */
CK_OBJECT_HANDLE tok_token_handle(struct tok_slot *slot, int64_t row, bool private, uint64_t generation);
/* The row, if the handle is valid for the slot and the present login; 0 if not. */
int64_t tok_handle_row(struct tok_slot *slot, CK_OBJECT_HANDLE handle);

/* A new object with one reference; takes the attributes. NULL: no memory (the attributes are then cleared too). */
struct tok_object *tok_object_new(struct tok_slot *slot, struct tok_attrs *attrs);
/* The next serial number for a session object, as a handle. */
CK_OBJECT_HANDLE tok_session_handle(bool private);

/* Session objects. publish takes the reference; the entry was allocated before, so that it cannot fail. It fails
 * only if the login under which a private object was made is over: CKR_USER_NOT_LOGGED_IN, and the reference is
 * still the caller's. replace publishes a new version under the old handle if `old` is still the current one:
 * CKR_OBJECT_HANDLE_INVALID if it is gone, CKR_FUNCTION_FAILED if it was changed meanwhile; the reference is taken
 * in any case. */
struct tok_kind;
struct tok_held *tok_held_new(void);
CK_RV tok_held_publish(struct tok_held *held, struct tok_object *object, uint64_t generation);
CK_RV tok_held_replace(struct tok_object *old, struct tok_object *fresh);
CK_RV tok_held_destroy(struct tok_slot *slot, CK_OBJECT_HANDLE handle);

/* The key of a session object under one of its attributes in by_tag; false if it is not tagged by that. `kind` is
 * NULL for a search template. */
bool tok_held_tag(const struct tok_attrs *attrs, const struct tok_kind *kind, enum tok_tag_kind tag, uint64_t *key);

/* Token objects. */
CK_RV tok_cache_get(struct tok_slot *slot, int64_t row, struct tok_object **object);
/* The cache forgets a row. */
void tok_cache_drop(struct tok_slot *slot, int64_t row);
/* The cache learns an object that was just written; takes no reference. */
void tok_cache_put(struct tok_object *object, uint64_t checked, uint64_t generation, bool opened);
void tok_cache_clear(struct tok_objects *objects, bool opened_only);

#endif
