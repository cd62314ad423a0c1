/* What the rules about mechanisms share. */
#ifndef MECH_HELP_H
#define MECH_HELP_H

#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

/* "CKM_RSA_PKCS", or its number; `text` is room for at least 24 bytes. */
const char *mech_name(uint64_t type, char *text);
/* The CKF_* without which the function must not be called with a mechanism, 0 for functions that take none. */
uint64_t mech_flag(int function);
/* "CKF_SIGN"; of one flag. */
const char *mech_flag_name(uint64_t flag);
/* The mechanism that the call gives; false when there is none, or the trace does not say. */
bool mech_given(const struct call *call, uint64_t *type);
/* The key that the call works with, as far as it is known; NULL when it has none. */
const struct model_object *mech_key(const struct check *check, const struct call *call);
/* The type of key that the mechanism works with, CK_UNAVAILABLE_INFORMATION if it is not one alone, or not known
 * here. */
uint64_t mech_key_type(uint64_t type);
/* May the key be restricted to some mechanisms (CKA_ALLOWED_MECHANISMS)? */
bool mech_restricted(const struct model_object *key);
/* PSS, with the hash made by the mechanism or without. */
bool mech_is_pss(uint64_t type);
/* Codes of a token, session, handle or login that is not there: they say nothing of a mechanism. */
bool mech_elsewhere(uint64_t rv);

#endif
