/* From a template to the attributes of an object: the parts of template.c and publish.c that they share. */
#ifndef TOK_MAKING_H
#define TOK_MAKING_H

#include "kinds.h"
#include "objects.h"

/* A type that no caller can see, in a set that is not published yet: the types (array of CK_ATTRIBUTE_TYPE) that the
 * caller's template had, so that tok_object_add can tell them from defaults. */
#define TOK_TOLD ((CK_ATTRIBUTE_TYPE)-2)
bool tok_told(const struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type);

/* Gives every attribute of the kind that the set does not have its default. CKR_OK or CKR_HOST_MEMORY. */
CK_RV tok_defaults_fill(struct tok_attrs *attrs, const struct tok_kind *kind, enum tok_origin origin);
/* CKA_PRIVATE when nobody says it. */
bool tok_private_by_default(CK_OBJECT_CLASS class, bool token);
/* CKR_TEMPLATE_INCOMPLETE if an attribute with the footnote is missing. */
CK_RV tok_footnote_present(const struct tok_attrs *attrs, const struct tok_kind *kind, uint32_t footnote);

/* May the session make, change or destroy such an object? CKR_SESSION_READ_ONLY, CKR_USER_NOT_LOGGED_IN. */
CK_RV tok_session_may_write(const struct tok_session *session, bool token, bool private);

/* Rules between attributes: CKA_ALWAYS_AUTHENTICATE only on private objects, only the SO makes profiles.
 * CKR_TEMPLATE_INCONSISTENT, CKR_ATTRIBUTE_VALUE_INVALID. */
CK_RV tok_attrs_consistent(const struct tok_session *session, const struct tok_attrs *attrs);

/* CKA_PRIME_BITS and CKA_SUBPRIME_BITS of domain parameters from their numbers. Other classes are left alone. */
CK_RV tok_domain_complete(struct tok_attrs *attrs);

/* What a certificate's CKA_VALUE says, where the template does not: CKA_SUBJECT, CKA_ISSUER, CKA_SERIAL_NUMBER,
 * CKA_CHECK_VALUE. CKR_TEMPLATE_INCOMPLETE without CKA_VALUE and CKA_URL, CKR_ATTRIBUTE_VALUE_INVALID for a
 * CKA_CHECK_VALUE that is not the value's. Other classes are left alone. */
CK_RV tok_certificate_complete(struct tok_attrs *attrs);

/* CKA_UNWRAP_TEMPLATE or CKA_DERIVE_TEMPLATE of the base key: sets what the caller's template did not say; what it said
 * otherwise is CKR_TEMPLATE_INCONSISTENT. The chapters do that before they make the key; this is for the keys that a
 * derivation publishes besides. */
CK_RV tok_template_impose(struct tok_attrs *attrs, enum tok_origin origin, const struct tok_object *base);

/* The attributes of `object` with a template applied as C_SetAttributeValue (copying: false) or C_CopyObject does
 * it, all or nothing: `attrs` was empty and is so after an error. CKR_ATTRIBUTE_READ_ONLY,
 * CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_VALUE_INVALID, CKR_TEMPLATE_INCONSISTENT. */
CK_RV tok_template_apply(const struct tok_session *session, const struct tok_object *object, bool copying,
                         const CK_ATTRIBUTE *templ, CK_ULONG count, struct tok_attrs *attrs);

#endif
