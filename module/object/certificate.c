/* What a certificate says of itself. */
#include "core/module.h"
#include "crypto/der.h"
#include "crypto/hash.h"
#include "object/making.h"

/* The parts of a TBSCertificate (RFC 5280, 4.1), with tag and length. False if the bytes are no certificate. */
static bool parts_of(const CK_BYTE *der, CK_ULONG len, struct tok_der *serial, struct tok_der *issuer,
                     struct tok_der *subject)
{
  struct tok_der all = {der, len}, certificate, tbs, skipped;
  return tok_der_next(&all, TOK_DER_SEQUENCE, &certificate) && tok_der_next(&certificate, TOK_DER_SEQUENCE, &tbs) &&
         (tok_der_next(&tbs, TOK_DER_CONTEXT + 0, &skipped) || true) && /* version */
         tok_der_any(&tbs, serial) && tok_der_any(&tbs, &skipped) &&    /* signature algorithm */
         tok_der_any(&tbs, issuer) && tok_der_any(&tbs, &skipped) &&    /* validity */
         tok_der_any(&tbs, subject) && serial->at[0] == TOK_DER_INTEGER && issuer->at[0] == TOK_DER_SEQUENCE &&
         subject->at[0] == TOK_DER_SEQUENCE;
}

static CK_RV set_missing(struct tok_attrs *attrs, CK_ATTRIBUTE_TYPE type, const struct tok_der *value)
{
  CK_ULONG len;
  const CK_BYTE *there = tok_attrs_get(attrs, type, &len);
  if (there != NULL && (len > 0 || tok_told(attrs, type))) return CKR_OK;
  return tok_attrs_set(attrs, type, value->at, value->left);
}

/* The first three bytes of the SHA-1 of CKA_VALUE. A template may say it, or prevent it with an empty value. */
static CK_RV check_value(struct tok_attrs *attrs, const CK_BYTE *der, CK_ULONG len)
{
  CK_BYTE hash[20];
  CK_ULONG told_len;
  const CK_BYTE *told = tok_attrs_get(attrs, CKA_CHECK_VALUE, &told_len);
  if (told != NULL && told_len == 0) return CKR_OK;
  CK_RV rv = tok_hash_once(TOK_SHA1, der, len, hash);
  if (rv != CKR_OK) return rv;
  if (told != NULL) return tok_attrs_equal(attrs, CKA_CHECK_VALUE, hash, 3) ? CKR_OK : CKR_ATTRIBUTE_VALUE_INVALID;
  return tok_attrs_set(attrs, CKA_CHECK_VALUE, hash, 3);
}

CK_RV tok_certificate_complete(struct tok_attrs *attrs)
{
  struct tok_der serial, issuer, subject;
  CK_ULONG len, url_len;
  if (tok_attrs_ulong(attrs, CKA_CLASS, 0) != CKO_CERTIFICATE) return CKR_OK;
  const CK_BYTE *der = tok_attrs_get(attrs, CKA_VALUE, &len);
  tok_attrs_get(attrs, CKA_URL, &url_len);
  if (len == 0) return url_len > 0 ? CKR_OK : CKR_TEMPLATE_INCOMPLETE;
  CK_RV rv = check_value(attrs, der, len);
  if (rv != CKR_OK || tok_attrs_ulong(attrs, CKA_CERTIFICATE_TYPE, 0) != CKC_X_509) return rv;
  /* What is no certificate at all is stored as it is, as long as its template is complete: nothing says that a token
   * must read certificates. */
  der = tok_attrs_get(attrs, CKA_VALUE, &len);
  if (!parts_of(der, len, &serial, &issuer, &subject)) return CKR_OK;
  rv = set_missing(attrs, CKA_SUBJECT, &subject);
  if (rv == CKR_OK) rv = set_missing(attrs, CKA_ISSUER, &issuer);
  if (rv == CKR_OK) rv = set_missing(attrs, CKA_SERIAL_NUMBER, &serial);
  return rv;
}
