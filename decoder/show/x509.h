/* DER as a reader of traces wants to see it: names, certificates and CRLs in short, by OpenSSL. */
#ifndef SHOW_X509_H
#define SHOW_X509_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decoder/show/text.h"

/* The X.501 name in `der` as RFC 2253 writes it ("CN=Ada,O=Example"), UTF-8, not yet escaped, into memory that the caller
 * frees; NULL when the bytes are not one name from the first to the last. */
char *x509_name(const uint8_t *der, size_t size);

/* Prints <certificate: subject "CN=Ada", serial 0x1a> or <CRL: issuer "CN=Ca">. False, and nothing printed, when the
 * bytes are neither. */
bool x509_show(struct text *text, const uint8_t *der, size_t size);

/* Prints <OID prime256v1>; false, and nothing printed, when the bytes are not one object identifier. */
bool x509_show_oid(struct text *text, const uint8_t *der, size_t size);

#endif
