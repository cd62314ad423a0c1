/* What is left of a value that is not kept: its length, a keyed tag and its shape. */
#ifndef RECORD_TAG_H
#define RECORD_TAG_H

#include <stddef.h>
#include <stdint.h>

/* Which key: equal tags of one domain in one process mean equal bytes. Domains are classes, not parameters, so that a
 * signature has the same tag where it comes out and where it is verified. */
enum p11t_tag_domain { P11T_TAG_DATA, P11T_TAG_SECRET, P11T_TAG_PIN };

/* Longer values are represented by their length, first and last half of this many bytes. */
#define P11T_TAG_WHOLE 4096

/* SipHash-2-4 of the length and the bytes. `bytes` must be readable at both ends. */
uint64_t p11t_tag(enum p11t_tag_domain domain, const uint8_t *bytes, size_t size);

/* enum p11t_shape bits of the same bytes (all, or first and last half of P11T_TAG_WHOLE). */
uint8_t p11t_shape(const uint8_t *bytes, size_t size);

/* True when the bytes are exactly one X.509 Certificate or CertificateList: a SEQUENCE of a SEQUENCE, an
 * AlgorithmIdentifier and a BIT STRING that fill it to the end. */
int p11t_is_certificate(const uint8_t *bytes, size_t size);

#endif
