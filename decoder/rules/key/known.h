/* What is known of keys and certificates beside the model: the public key that each belongs to, its CKA_ID, label
 * and subject, and which other objects of the slot share them. For the rules of certificates and keys; kept with
 * objects and slots. */
#ifndef KEY_KNOWN_H
#define KEY_KNOWN_H

#include "decoder/rules/cert/x509_facts.h"
#include "decoder/rules/rules.h"

/* Values are hashes of the bytes (pick_hash), 0 not known. */
struct known {
  uint64_t class;
  bool no_id, zero_id; /* CKA_ID is empty; is zeros only */
  uint64_t id, key, nss_id, label, subject;
  struct note id_note, key_note, label_note; /* what showed it */
  uint64_t der;                              /* fingerprint of CKA_VALUE */
  struct x509_facts cert;                    /* of it */
};

/* What objects of a slot may share. */
enum known_by { BY_ID, BY_KEY, BY_NSS_ID, BY_LABEL, BY_SUBJECT };

/* What a C_GetAttributeValue told. object is NULL when that is nothing about a key or certificate. */
struct known_news {
  uint64_t call;
  struct model_object *object;
  struct known *known;
  bool id, key, label, cert; /* the call has it */
};

/* Takes the finished call in, once, whichever rule asks first: C_GetAttributeValue, and C_SetAttributeValue of a
 * CKA_ID. Never NULL. */
const struct known_news *known_learn(struct check *check, const struct call *call);

struct known *known_of(const struct model_object *object);
/* The last object of that class that has the value, other than `not_this` (may be NULL); NULL when there is none, or
 * it has changed since. Of certificates by label or subject: the first that is different. */
struct model_object *known_other(const struct check *check, enum known_by by, uint64_t value, uint64_t class,
                                 const struct model_object *not_this);

/* Evidence in the order in which it happened, each call once. note NULL: the call at hand. */
struct exhibit {
  const struct note *note;
  const char *text;
};
void known_show(struct finding *finding, struct check *check, const struct exhibit *exhibits, size_t count);

#endif
