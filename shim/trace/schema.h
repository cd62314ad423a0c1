/* The SCHEMA frame: the function table as data (FORMAT.md, section 2). */
#ifndef TRACE_SCHEMA_H
#define TRACE_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

/* Room that p11t_schema_build needs. */
#define P11T_SCHEMA_MAX 8192

/* Writes the content of the SCHEMA frame, the 64 bytes of its FRAME-INFO left to the caller (they are zero). Returns its
 * size, or 0 when P11T_SCHEMA_MAX is too small for the table. */
size_t p11t_schema_build(uint8_t out[P11T_SCHEMA_MAX]);

#endif
