/* What is said of bytes that are not kept: the recorder's shapes (FORMAT.md, form 3). */
#ifndef WRITE_SHAPE_H
#define WRITE_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint8_t shape_of(const uint8_t *bytes, size_t size);
/* Are the bytes one whole X.509 certificate or CRL? */
bool shape_is_certificate(const uint8_t *bytes, size_t size);

#endif
