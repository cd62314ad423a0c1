/* Certificates as far as the rules compare them. */
#include "decoder/rules/cert/x509_facts.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "decoder/model/pick.h"

enum { DER_INTEGER = 2, DER_SEQUENCE = 0x30 };

const uint8_t *der_content(const uint8_t *bytes, size_t size, uint8_t tag, size_t *content, size_t *behind)
{
  size_t head = 2, length;
  if (size < 2 || bytes[0] != tag) return NULL;
  length = bytes[1];
  if (length >= 0x80) {
    size_t octets = length & 0x7f;
    if (octets < 1 || octets > 4 || size < 2 + octets) return NULL;
    for (length = 0; octets > 0; octets--) length = length << 8 | bytes[head++];
  }
  if (length > size - head || (!behind && length != size - head)) return NULL;
  *content = length;
  if (behind) *behind = size - head - length;
  return bytes + head;
}

static void strip(const uint8_t **bytes, size_t *size)
{
  while (*size > 0 && **bytes == 0) {
    (*bytes)++;
    (*size)--;
  }
}

uint64_t key_hash(bool modulus, const uint8_t *bytes, size_t size)
{
  if (modulus) strip(&bytes, &size);
  const uint64_t part[] = {modulus, pick_hash(bytes, size)};
  return size ? pick_hash(part, sizeof part) : 0;
}

uint64_t key_nss_id(bool modulus, const uint8_t *bytes, size_t size)
{
  uint8_t digest[SHA_DIGEST_LENGTH];
  if (modulus) strip(&bytes, &size);
  if (size <= sizeof digest) return size ? pick_hash(bytes, size) : 0;
  SHA1(bytes, size, digest);
  return pick_hash(digest, sizeof digest);
}

static void public_key(struct x509_facts *f, const X509 *cert)
{
  ASN1_OBJECT *algorithm;
  const unsigned char *bits;
  int length;
  if (!X509_PUBKEY_get0_param(&algorithm, &bits, &length, NULL, X509_get_X509_PUBKEY(cert)) || length <= 0) return;
  const uint8_t *key = bits;
  size_t size = (size_t)length, behind;
  bool modulus = false;
  switch (OBJ_obj2nid(algorithm)) {
    case NID_rsaEncryption:
    case NID_rsassaPss:
      modulus = true;
      key = der_content(key, size, DER_SEQUENCE, &size, NULL);
      if (key) key = der_content(key, size, DER_INTEGER, &size, &behind);
      if (!key) return;
      break;
    case NID_X9_62_id_ecPublicKey:
    case NID_ED25519:
    case NID_ED448: break;
    default: return;
  }
  f->key = key_hash(modulus, key, size);
  f->nss_id = key_nss_id(modulus, key, size);
}

static uint64_t name_hash(const X509_NAME *name)
{
  const unsigned char *der;
  size_t size;
  return X509_NAME_get0_der(name, &der, &size) ? pick_hash(der, size) : 0;
}

static void serial(struct x509_facts *f, const X509 *cert)
{
  unsigned char *der = NULL;
  size_t content, behind;
  const int size = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert), &der);
  if (size <= 0) return;
  f->serial = pick_hash(der, (size_t)size);
  const uint8_t *bytes = der_content(der, (size_t)size, DER_INTEGER, &content, &behind);
  if (bytes) f->serial_content = pick_hash(bytes, content);
  OPENSSL_free(der);
}

/* The attributes emailAddress and mail of the subject, and rfc822Name of the subjectAltName. */
static bool has_mail(X509 *cert)
{
  if (X509_NAME_get_index_by_NID(X509_get_subject_name(cert), NID_rfc822Mailbox, -1) >= 0) return true;
  STACK_OF(OPENSSL_STRING) *mail = X509_get1_email(cert);
  const bool any = mail != NULL && sk_OPENSSL_STRING_num(mail) > 0;
  X509_email_free(mail);
  return any;
}

struct x509_facts x509_facts(const uint8_t *der, size_t size)
{
  struct x509_facts f = {0};
  const unsigned char *p = der;
  X509 *cert = size <= LONG_MAX ? d2i_X509(NULL, &p, (long)size) : NULL;
  if (cert) {
    f.is_certificate = true;
    const uint32_t flags = X509_get_extension_flags(cert), use = X509_get_extended_key_usage(cert);
    f.ca = (flags & EXFLAG_CA) != 0;
    f.self_issued = (flags & EXFLAG_SI) != 0;
    f.for_mail = use != UINT32_MAX && (use & XKU_SMIME);
    f.has_mail = has_mail(cert);
    f.subject = name_hash(X509_get_subject_name(cert));
    f.issuer = name_hash(X509_get_issuer_name(cert));
    serial(&f, cert);
    public_key(&f, cert);
    X509_free(cert);
  }
  ERR_clear_error();
  return f;
}
