/* Recorded values as text in the manner of strace: constants by name, what is long cut short. */
#ifndef SHOW_VALUE_H
#define SHOW_VALUE_H

#include "decoder/read/trace.h"
#include "decoder/show/text.h"

/* How a number or bytes are to be read; what it is comes from the tables. */
enum value_as {
  AS_BYTES,   /* hexadecimal */
  AS_DECIMAL, /* a count, a length, a slot */
  AS_HEX,     /* a handle */
  AS_ENUM,    /* from `domain` */
  AS_FLAGS,   /* bits of `domain` */
  AS_BOOL,    /* CK_TRUE, CK_FALSE */
  AS_TEXT,    /* text of its length */
  AS_CHARS,   /* text, blank padded */
  AS_DATE,    /* CK_DATE */
  AS_NAME,    /* DER of an X.501 name */
  AS_DER,     /* other DER */
  AS_CERT     /* a certificate or CRL, if the bytes are one */
};
struct meaning {
  uint8_t as;      /* enum value_as */
  uint16_t domain; /* enum p11_domain */
};
struct meaning meaning_of_param(const struct p11_param *param);
struct meaning meaning_of_field(const struct p11_field *field);
struct meaning meaning_of_attribute(uint64_t type);
struct meaning meaning_of_parameter(uint64_t mechanism);

struct printer {
  struct text *out;
  size_t limit;                         /* bytes of a value that are shown; SIZE_MAX: all */
  size_t entries;                       /* of a list; SIZE_MAX: all */
  bool verbose;                         /* tags in full too */
  const struct p11_function_info *info; /* names of parameters that share a pointer; may be NULL */
};

/* Constant of `domain`; of the vendors' range without a name CKM_VENDOR_DEFINED|0x1234, else hexadecimal. */
void show_constant(struct text *out, unsigned domain, uint64_t value);
/* CKF_A|CKF_B|0x100; 0 when no bit is set. */
void show_flags(struct text *out, unsigned domain, uint64_t value);
/* A CK_ULONG by its meaning; CK_UNAVAILABLE_INFORMATION by name. */
void show_number(struct text *out, struct meaning meaning, uint64_t value);
/* The name of a vendor's range in `domain` ("CKM_VENDOR_DEFINED"), or NULL. */
const char *vendor_name(unsigned domain);
/* 2.40 */
void show_version(struct text *out, uint64_t version);
/* Class of a pointer that is no value: NULL, <ptr>, <unreadable>, <same as pData>. */
void show_pointer(const struct printer *p, unsigned class);
/* Any value. */
void show_value(const struct printer *p, const struct value *value, struct meaning meaning);
/* CK_ATTRIBUTEs filled by C_GetAttributeValue: what was asked (`asked`, may be of another what) and what came back. */
void show_filled(const struct printer *p, const struct value *asked, const struct value *got);
/* What was asked alone: CKA_ID=?, CKA_ID[64]. */
void show_asked(const struct printer *p, const struct value *asked);

#endif
