/* What a file to be imported holds, before any of it is on a token. */
#ifndef TOK_ITEMS_H
#define TOK_ITEMS_H

#include <openssl/pkcs12.h>
#include <stdbool.h>
#include <stddef.h>

#include "pkcs11.h"

struct tok_secret;

struct tok_item {
  X509 *cert; /* one of these three */
  X509_CRL *crl;
  EVP_PKEY *key;
  bool private;     /* of a key */
  const char *path; /* the file that it came from; the caller's */
  char *label;      /* friendlyName of PKCS #12, or NULL */
  CK_BYTE id[20];   /* CKA_ID as NSS makes it of the public key; of a certificate, that of its key */
  size_t id_len;    /* 0: unknown kind of key */
};

struct tok_items {
  struct tok_item *item;
  size_t count;
};

/* Reads a file: PEM with any number of objects, or DER: certificate, CRL, PKCS #12, private key (PKCS #8, also
 * encrypted, PKCS #1, SEC 1) or public key. Asks for the passphrase, which belongs to the file, if one is needed and
 * not known. */
bool tok_items_read(struct tok_items *items, const char *path, struct tok_secret *passphrase);
/* The bags of a PKCS #12 file. `path` is for messages. */
bool tok_items_read_p12(struct tok_items *items, PKCS12 *p12, const char *path, struct tok_secret *passphrase);
/* Adds what is in `item`, with its id; takes it over, also when it fails for want of memory. */
bool tok_items_add(struct tok_items *items, struct tok_item item);
void tok_items_clear(struct tok_items *items);

/* A key out of DER of any form that OpenSSL knows; NULL if it is none. If a passphrase is needed it is asked for, once:
 * *asked is true then, and a failure means that it was wrong. */
EVP_PKEY *tok_key_from_der(const unsigned char *der, size_t len, bool private, struct tok_secret *passphrase,
                           bool *asked);

#endif
