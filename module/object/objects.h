/* Objects: from a template to an object, from a handle to an object, searching.
 *
 * A published object is never changed: C_SetAttributeValue publishes a new version of it. So whoever has a reference
 * can read it without a lock. Token objects are rows of the store, read when they are needed and cached; session
 * objects belong to the slot and go with the session that made them.
 *
 * Handles: 0 is none. A session object's handle is even, a token object's odd and made of its row; the handle of a
 * private object also carries the login generation, so C_Logout makes it invalid for ever (PKCS #11 3.2, C_Logout). */
#ifndef TOK_OBJECTS_H
#define TOK_OBJECTS_H

#include <openssl/types.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "attrs.h"
#include "pkcs11.h"

struct tok_session;
struct tok_slot;
struct tok_mech;
struct tok_objects;
struct tok_found;
struct tok_kind;

struct tok_object {
  atomic_uint refs;
  struct tok_slot *slot;
  CK_OBJECT_HANDLE handle;
  bool token, private; /* CKA_TOKEN, CKA_PRIVATE */
  CK_OBJECT_CLASS class;
  const struct tok_kind *kind; /* object/kinds.h */
  CK_KEY_TYPE key_type;        /* CK_UNAVAILABLE_INFORMATION if it is no key */
  CK_SESSION_HANDLE owner;     /* of a session object */
  int64_t row;                 /* of a token object: store/store.h */
  uint64_t version;
  bool sealed;                         /* a token object that is not private, whose secret part waits for a login */
  struct tok_attrs attrs;              /* all of them, defaults included */
  _Atomic(EVP_PKEY *) pkey;            /* made by tok_object_pkey when first needed; freed with the object */
  _Atomic(struct tok_parked *) parked; /* crypto/park.h: an OpenSSL context with the key in it, or NULL */
};

/* --- from handle to object ---------------------------------------------------------------------------------- */

/* A new reference to the object, for tok_object_unref. CKR_OBJECT_HANDLE_INVALID if there is none or it is private
 * and the user is not logged in; CKR_DEVICE_ERROR if it is damaged on disk. */
CK_RV tok_object_get(struct tok_session *session, CK_OBJECT_HANDLE handle, struct tok_object **object);
void tok_object_ref(struct tok_object *object);
void tok_object_unref(struct tok_object *object); /* NULL is allowed; the last one wipes */

/* The key for an operation: tok_object_get, then
 *   CKR_KEY_HANDLE_INVALID          no object, or no key
 *   CKR_USER_NOT_LOGGED_IN          its secret part is sealed
 *   CKR_KEY_TYPE_INCONSISTENT       not a key type or class that `mech` takes for `usage`
 *   CKR_KEY_FUNCTION_NOT_PERMITTED  CKA_<usage> is not TRUE, or CKA_ALLOWED_MECHANISMS does not have it
 * usage is CKA_ENCRYPT, CKA_SIGN ... or 0 for none. For CKA_WRAP and CKA_UNWRAP the standard has its own names for the
 * first and third (CKR_WRAPPING_KEY_HANDLE_INVALID ...), which are then returned. */
CK_RV tok_key_get(struct tok_session *session, CK_OBJECT_HANDLE handle, const struct tok_mech *mech,
                  CK_ATTRIBUTE_TYPE usage, struct tok_object **key);

/* --- from template to object -------------------------------------------------------------------------------- */

enum tok_origin { TOK_CREATE, TOK_GENERATE, TOK_UNWRAP, TOK_DERIVE, TOK_COPY };

/* Reads a caller's template for a new object and fills in the defaults of its class, but not yet the key material.
 *
 * class and key_type are what the function makes (CKO_PRIVATE_KEY, CKK_RSA), or CK_UNAVAILABLE_INFORMATION if the
 * template must or may tell; a template that contradicts them is CKR_TEMPLATE_INCONSISTENT. What the origin forbids
 * is CKR_ATTRIBUTE_READ_ONLY as the standard's footnotes have it, a value of a wrong form
 * CKR_ATTRIBUTE_VALUE_INVALID, an attribute of other kinds of objects CKR_TEMPLATE_INCONSISTENT, one that no table has
 * CKR_ATTRIBUTE_TYPE_INVALID. Also checks that the session may make such an object (CKR_SESSION_READ_ONLY,
 * CKR_USER_NOT_LOGGED_IN). A derived key whose type is not told has its defaults from tok_object_add.
 * `attrs` was empty and is so after an error; it is the caller's, to be cleared by it or taken by tok_object_add. */
CK_RV tok_template_read(struct tok_session *session, enum tok_origin origin, CK_OBJECT_CLASS class,
                        CK_KEY_TYPE key_type, const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *attrs);

/* For C_UnwrapKey, after tok_template_read. A key that was sensitive when it was wrapped is not to come back readable,
 * by whoever may use the unwrapping key and writes CKA_SENSITIVE=FALSE into the template (attack A3 of Bortolozzo,
 * Centenaro, Focardi, Steel: "Attacking and fixing PKCS #11 security tokens", 2010). The wrapped bytes do not say what
 * it was, but the unwrapping key does: a sensitive secret key unwraps sensitive keys, so that becomes the default and
 * CKR_TEMPLATE_INCONSISTENT the answer to FALSE. Not so a private key: what comes under its public half is traffic
 * from outside, and NSS reads it; it is how it decrypts mail and does RSA key exchange. */
CK_RV tok_unwrap_keep_sensitive(const struct tok_object *unwrapping_key, struct tok_attrs *attrs);

/* Publishes a new object: checks that it is complete (CKR_TEMPLATE_INCOMPLETE) and that its key material is sound
 * (tok_material_complete of crypto/pkey.h), sets what the token sets (CKA_LOCAL, CKA_KEY_GEN_MECHANISM,
 * CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_UNIQUE_ID), stores it durably if it is a token object. mechanism
 * is that of generation, or CK_UNAVAILABLE_INFORMATION. base is the key from which it was derived or with which it
 * was unwrapped or copied, for the sensitivity rules, or NULL. Takes the attributes: the set is empty afterwards,
 * also after an error. add_pair publishes both or neither. */
CK_RV tok_object_add(struct tok_session *session, enum tok_origin origin, CK_MECHANISM_TYPE mechanism,
                     const struct tok_object *base, struct tok_attrs *attrs, CK_OBJECT_HANDLE *handle);
CK_RV tok_object_add_pair(struct tok_session *session, CK_MECHANISM_TYPE mechanism, struct tok_attrs *public_attrs,
                          struct tok_attrs *private_attrs, CK_OBJECT_HANDLE *public_handle,
                          CK_OBJECT_HANDLE *private_handle);

/* --- for slots, sessions and logins ------------------------------------------------------------------------- */

struct tok_objects *tok_objects_new(struct tok_slot *slot); /* NULL: no memory */
void tok_objects_free(struct tok_objects *objects);
/* Destroys the session objects that a session made. */
void tok_objects_session_closed(struct tok_slot *slot, CK_SESSION_HANDLE session);
/* After C_Logout and when the last session closes: destroys private session objects, wipes the cache of private
 * objects. */
void tok_objects_logged_out(struct tok_slot *slot);
/* Forgets every cached object, after C_InitToken. */
void tok_objects_forget(struct tok_slot *slot);
/* Frees an active search; NULL is allowed. */
void tok_found_free(struct tok_found *found);

#endif
