/* What the rules compare of a certificate, read from its DER by OpenSSL. */
#ifndef CERT_X509_FACTS_H
#define CERT_X509_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hashes (pick_hash) of DER where nothing else is said; 0: not there or not understood. */
struct x509_facts {
  bool is_certificate; /* else nothing of the rest is set */
  bool ca, self_issued;
  bool for_mail,
      has_mail; /* extendedKeyUsage has emailProtection; an e-mail address is in the subject or subjectAltName */
  uint64_t subject, issuer; /* names */
  uint64_t serial;          /* the INTEGER */
  uint64_t serial_content;  /* without its tag and length */
  uint64_t key, nss_id;     /* as key_hash() and key_nss_id() */
};

struct x509_facts x509_facts(const uint8_t *der, size_t size);

/* A public key as a number: modulus (leading zeros do not count) or point; 0 for an empty one. */
uint64_t key_hash(bool modulus, const uint8_t *bytes, size_t size);
/* The CKA_ID that NSS gives a key pair, as a hash: SHA-1 of modulus or point, itself when it is short
 * (PK11_MakeIDFromPubKey). */
uint64_t key_nss_id(bool modulus, const uint8_t *bytes, size_t size);

/* The content of one DER value with this tag; NULL when the bytes are not that from the first to the last, or begin
 * with it (`behind` not NULL: how many follow). */
const uint8_t *der_content(const uint8_t *bytes, size_t size, uint8_t tag, size_t *content, size_t *behind);

#endif
