/* What PKCS #11 is, as data: the descriptions that wrapper, recorder, schema, printer, filter and replay read.
 * Numbers of kinds, forms and structures are written into traces: they are appended to, never changed
 * (shim/trace/FORMAT.md lists them). */
/* Tables and the macros around them are laid out by hand. */
/* clang-format off */
#ifndef P11_SPEC_H
#define P11_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "each.h"
#include "pkcs11.h"

/* Function numbers: the place in the 3.2 function list, counted from 0. */
enum p11_function {
#define F(name, ...) P11_F_##name,
#include "functions.def"
  P11_FUNCTIONS
};

enum p11_since { P11_V2_40 = 0x0228, P11_V3_0 = 0x0300, P11_V3_2 = 0x0302 };

/* Chapters of the standard; the filter language knows them as %general, %slot ... */
#define P11_GROUPS(X) \
  X(GENERAL, general) X(SLOT, slot) X(TOKEN, token) X(SESSION, session) X(OBJECT, object) X(ENCRYPT, encrypt) \
  X(DECRYPT, decrypt) X(DIGEST, digest) X(SIGN, sign) X(VERIFY, verify) X(DUAL, dual) X(KEY, key) \
  X(RANDOM, random) X(PARALLEL, parallel) X(MESSAGE, message) X(ASYNC, async)
enum p11_group {
#define X(upper, lower) P11_GROUP_##upper,
  P11_GROUPS(X)
#undef X
  P11_GROUP_COUNT
};

/* What a player of traces needs to know: may the answer be given again, does it move, does it change state? */
#define P11_CLASSES(X) \
  X(STATIC, static) X(POLL, poll) X(SESSION, sessions) X(LOGIN, login) X(OBJECT, objects) X(FIND, find) \
  X(OPERATION, operation) X(RANDOM, rng) X(EVENT, event)
enum p11_class {
#define X(upper, lower) P11_CLASS_##upper,
  P11_CLASSES(X)
#undef X
  P11_CLASS_COUNT
};

/* How secret a value is. PUBLIC is kept in full; DATA (payload) and SECRET (PINs, keys) by length, tag and shape.
 * VALUE is CKA_VALUE: SECRET unless the bytes are a certificate or CRL, or the same template says certificate or
 * public key. 0 is not a class, so that a forgotten one cannot compile to "public". */
enum p11_secrecy { P11_PUBLIC = 1, P11_DATA, P11_SECRET, P11_PIN, P11_VALUE };

/* How a replay compares a parameter with the recorded one. */
enum p11_compare { P11_CMP_EXACT = 1, P11_CMP_HANDLE, P11_CMP_LENGTH, P11_CMP_VERIFY, P11_CMP_IGNORE };

/* Kinds of parameters. The numbers stand in every trace's schema; the encoding of each is in FORMAT.md. */
enum p11_kind {
  P11_K_NUMBER = 1,      /* CK_ULONG with no better name */
  P11_K_LENGTH = 2,      /* CK_ULONG: length in bytes, or count of entries, of another parameter */
  P11_K_BOOL = 3,        /* CK_BBOOL */
  P11_K_ENUM = 4,        /* CK_ULONG from a list of constants: aux = domain */
  P11_K_FLAGS = 5,       /* CK_FLAGS: aux = domain */
  P11_K_SLOT = 6,        /* CK_SLOT_ID */
  P11_K_SESSION = 7,     /* CK_SESSION_HANDLE */
  P11_K_OBJECT = 8,      /* CK_OBJECT_HANDLE of any object */
  P11_K_KEY = 9,         /* CK_OBJECT_HANDLE of a key */
  P11_K_POINTER = 10,    /* only NULL or not: reserved, application data, callbacks */
  P11_K_STRING = 11,     /* NUL-terminated text */
  P11_K_CHARS = 12,      /* text of a fixed size, blank padded: aux = size */
  P11_K_VERSION = 13,    /* CK_VERSION *, in */
  P11_K_IN_BYTES = 14,   /* buffer read by the module: link = its length */
  P11_K_PIN = 15,        /* the same for a PIN */
  P11_K_TEMPLATE = 16,   /* CK_ATTRIBUTE *, in: link = count */
  P11_K_MECHANISM = 17,  /* CK_MECHANISM *, in, some of its fields out */
  P11_K_INIT_ARGS = 18,  /* CK_C_INITIALIZE_ARGS * */
  P11_K_MESSAGE_PARAM = 19, /* parameter of one message: link = its length */
  P11_K_OUT_BYTES = 20,  /* buffer written: link = pointer to its length, in: capacity, out: length */
  P11_K_OUT_BYTES_OF = 21, /* buffer filled in full: link = its length */
  P11_K_OUT_LENGTH = 22, /* CK_ULONG *, in: capacity, out: length or count */
  P11_K_OUT_NUMBER = 23, /* CK_ULONG *, out */
  P11_K_OUT_FLAGS = 24,  /* CK_FLAGS *, out: aux = domain */
  P11_K_OUT_SLOT = 25,   /* CK_SLOT_ID *, out */
  P11_K_OUT_SESSION = 26, /* CK_SESSION_HANDLE *, out */
  P11_K_OUT_OBJECT = 27, /* CK_OBJECT_HANDLE *, out, one */
  P11_K_OUT_SLOTS = 28,  /* CK_SLOT_ID *: link = pointer to the count */
  P11_K_OUT_MECHANISMS = 29, /* CK_MECHANISM_TYPE *: link = pointer to the count */
  P11_K_OUT_OBJECTS = 30, /* CK_OBJECT_HANDLE *: link = capacity, aux = position of the pointer to the count */
  P11_K_OUT_TEMPLATE = 31, /* CK_ATTRIBUTE *, values written: link = count */
  P11_K_OUT_STRUCT = 32, /* information structure: aux = structure number */
  P11_K_OUT_FUNCTION_LIST = 33, /* CK_FUNCTION_LIST ** */
  P11_K_OUT_INTERFACE = 34, /* CK_INTERFACE ** */
  P11_K_OUT_INTERFACES = 35, /* CK_INTERFACE *: link = pointer to the count */
  P11_K_END
};

/* One parameter of one function. */
struct p11_param {
  const char *name, *type; /* as in the standard */
  uint8_t kind;            /* enum p11_kind */
  uint8_t link;            /* 1-based position of the parameter with the length, or 0 */
  uint8_t secrecy;         /* enum p11_secrecy */
  uint8_t compare;         /* enum p11_compare */
  uint16_t aux;            /* domain, structure number, size or position, by kind */
};

struct p11_function_info {
  const char *name;
  uint16_t since; /* enum p11_since: major * 256 + minor */
  uint8_t group, class, arity;
  struct p11_param param[10];
};

/* All functions, by number. */
extern const struct p11_function_info p11_functions[P11_FUNCTIONS];

/* Number of the function of that name ("C_Sign"), or -1. */
int p11_function_by_name(const char *name);

/* The kinds as functions.def writes them. */
#define P_NUMBER P11_K_NUMBER, 0, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_LENGTH P11_K_LENGTH, 0, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_BOOL P11_K_BOOL, 0, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_ENUM(domain) P11_K_ENUM, 0, P11_PUBLIC, P11_CMP_EXACT, P11_DOM_##domain
#define P_FLAGS(domain) P11_K_FLAGS, 0, P11_PUBLIC, P11_CMP_EXACT, P11_DOM_##domain
#define P_SLOT P11_K_SLOT, 0, P11_PUBLIC, P11_CMP_HANDLE, 0
#define P_SESSION P11_K_SESSION, 0, P11_PUBLIC, P11_CMP_HANDLE, 0
#define P_OBJECT P11_K_OBJECT, 0, P11_PUBLIC, P11_CMP_HANDLE, 0
#define P_KEY P11_K_KEY, 0, P11_PUBLIC, P11_CMP_HANDLE, 0
#define P_POINTER P11_K_POINTER, 0, P11_PUBLIC, P11_CMP_IGNORE, 0
#define P_STRING P11_K_STRING, 0, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_CHARS(size, secrecy) P11_K_CHARS, 0, P11_##secrecy, P11_CMP_EXACT, size
#define P_VERSION P11_K_VERSION, 0, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_IN_BYTES(link, secrecy) P11_K_IN_BYTES, link, P11_##secrecy, P11_CMP_EXACT, 0
#define P_PIN(link) P11_K_PIN, link, P11_PIN, P11_CMP_IGNORE, 0
#define P_TEMPLATE(link) P11_K_TEMPLATE, link, P11_PUBLIC, P11_CMP_EXACT, 0 /* each attribute has its own class */
#define P_MECHANISM P11_K_MECHANISM, 0, P11_PUBLIC, P11_CMP_EXACT, 0        /* each field has its own class */
#define P_INIT_ARGS P11_K_INIT_ARGS, 0, P11_SECRET, P11_CMP_EXACT, 0
#define P_MESSAGE_PARAM(link) P11_K_MESSAGE_PARAM, link, P11_DATA, P11_CMP_EXACT, 0
#define P_OUT_BYTES(link, secrecy, compare) P11_K_OUT_BYTES, link, P11_##secrecy, P11_CMP_##compare, 0
#define P_OUT_BYTES_OF(link, secrecy, compare) P11_K_OUT_BYTES_OF, link, P11_##secrecy, P11_CMP_##compare, 0
#define P_OUT_LENGTH P11_K_OUT_LENGTH, 0, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_OUT_NUMBER P11_K_OUT_NUMBER, 0, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_OUT_FLAGS(domain) P11_K_OUT_FLAGS, 0, P11_PUBLIC, P11_CMP_EXACT, P11_DOM_##domain
#define P_OUT_SLOT P11_K_OUT_SLOT, 0, P11_PUBLIC, P11_CMP_HANDLE, 0
#define P_OUT_SESSION P11_K_OUT_SESSION, 0, P11_PUBLIC, P11_CMP_HANDLE, 0
#define P_OUT_OBJECT P11_K_OUT_OBJECT, 0, P11_PUBLIC, P11_CMP_HANDLE, 0
#define P_OUT_SLOTS(link) P11_K_OUT_SLOTS, link, P11_PUBLIC, P11_CMP_HANDLE, 0
#define P_OUT_MECHANISMS(link) P11_K_OUT_MECHANISMS, link, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_OUT_OBJECTS(link, count) P11_K_OUT_OBJECTS, link, P11_PUBLIC, P11_CMP_HANDLE, count
#define P_OUT_TEMPLATE(link) P11_K_OUT_TEMPLATE, link, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_OUT_STRUCT(name) P11_K_OUT_STRUCT, 0, P11_PUBLIC, P11_CMP_EXACT, P11_S_##name
#define P_OUT_FUNCTION_LIST P11_K_OUT_FUNCTION_LIST, 0, P11_PUBLIC, P11_CMP_IGNORE, 0
#define P_OUT_INTERFACE P11_K_OUT_INTERFACE, 0, P11_PUBLIC, P11_CMP_EXACT, 0
#define P_OUT_INTERFACES(link) P11_K_OUT_INTERFACES, link, P11_PUBLIC, P11_CMP_EXACT, 0

/* Domains: the list of constants in which a value is looked up. A prefix is no list: CKP has five. */
enum p11_domain {
  P11_DOM_NONE,
#define D(domain, label, is_flags) P11_DOM_##domain,
#include "domains.def"
  P11_DOMAINS
};

/* Name of a constant, or NULL when the list does not have it. Static text. */
const char *p11_constant_name(enum p11_domain domain, uint64_t value);
/* Value of the constant of that name in any domain (CKR_OK, CKA_NSS_URL); false when there is none. */
bool p11_constant_value(const char *name, uint64_t *value);

/* Kinds of structure members; numbers stand in FORMAT.md. */
enum p11_field_kind {
  P11_FK_NUMBER = 1,   /* CK_ULONG, or CK_BYTE: size tells */
  P11_FK_ENUM = 2,     /* from a list: domain */
  P11_FK_FLAGS = 3,    /* bits of a list: domain */
  P11_FK_BOOL = 4,     /* CK_BBOOL */
  P11_FK_HANDLE = 5,   /* object handle */
  P11_FK_CHARS = 6,    /* text, fixed size, blank padded */
  P11_FK_ARRAY = 7,    /* bytes, fixed size, inside the structure */
  P11_FK_VERSION = 8,  /* CK_VERSION inside */
  P11_FK_STRUCT = 9,   /* structure inside: ref */
  P11_FK_BYTES = 10,   /* pointer: link = offset of the length in bytes */
  P11_FK_BITS = 11,    /* pointer: link = offset of the length in bits */
  P11_FK_PVERSION = 12, /* CK_VERSION * */
  P11_FK_PSTRUCT = 13, /* pointer to one structure: ref */
  P11_FK_STRUCTS = 14, /* pointer to several: ref, link = offset of the count */
  P11_FK_TEMPLATE = 15, /* CK_ATTRIBUTE *: link = offset of the count */
  P11_FK_MECHANISM = 16, /* CK_MECHANISM * */
  P11_FK_PNUMBER = 17, /* CK_ULONG * */
  P11_FK_PHANDLE = 18, /* CK_OBJECT_HANDLE * */
  P11_FK_POINTER = 19, /* only NULL or not */
  P11_FK_BYTES_AT = 20, /* pointer: link = offset of a CK_ULONG * to the length */
  P11_FK_SLOT = 21,    /* CK_SLOT_ID */
  P11_FK_BYTES_OF = 22 /* pointer to a fixed number of bytes: ref */
};
enum p11_direction { P11_IN = 1, P11_OUT = 2, P11_INOUT = 3 };

struct p11_field {
  const char *name;
  uint16_t offset, size; /* bytes */
  uint8_t kind;          /* enum p11_field_kind */
  uint8_t secrecy;       /* enum p11_secrecy */
  uint8_t direction;     /* enum p11_direction: who writes it */
  uint8_t is_volatile;   /* changes by itself: utcTime, session counts, free memory */
  uint16_t link;         /* offset of the member with the length, by kind */
  uint16_t ref;          /* structure number or domain, by kind */
};

struct p11_struct {
  const char *name;
  uint16_t size; /* sizeof, bytes */
  uint16_t count;
  const struct p11_field *field;
};

/* Structure numbers, fixed for ever: structures.def gives each. 0 is none. */
enum p11_struct_number {
  P11_S_NONE,
#define S(number, name, ...) P11_S_##name = number,
#include "structures.def"
};

/* Description of structure `number`, or NULL. */
const struct p11_struct *p11_struct_info(unsigned number);

/* Structure of a mechanism's parameter of `size` bytes at `parameter` (readable), or P11_S_NONE when the mechanism is
 * unknown, has none or the size fits none. The two GCM layouts are told apart by size, the two PBKD2 layouts as
 * softoken does it (ulPasswordLen at most 8192: a length, not a pointer). */
unsigned p11_mechanism_struct(uint64_t mechanism, const void *parameter, uint64_t size);

/* Structure of the parameter of one message (C_EncryptMessage and its family) under a mechanism, or P11_S_NONE when there
 * is none known or `size` is not its size. */
unsigned p11_message_struct(uint64_t mechanism, uint64_t size);

/* What the parameter of a mechanism is when it is no structure. */
enum p11_plain { P11_PLAIN_NONE, P11_PLAIN_IV, P11_PLAIN_NUMBER, P11_PLAIN_HANDLE, P11_PLAIN_VERSION, P11_PLAIN_UNKNOWN };
enum p11_plain p11_mechanism_plain(uint64_t mechanism);

/* Attributes. */
enum p11_value_kind {
  P11_A_NUMBER = 1, /* CK_ULONG */
  P11_A_ENUM,       /* CK_ULONG of a list: domain */
  P11_A_BOOL,       /* CK_BBOOL */
  P11_A_BYTES,      /* any bytes */
  P11_A_TEXT,       /* UTF-8 or RFC 2279 string */
  P11_A_INTEGER,    /* big-endian big integer */
  P11_A_DATE,       /* CK_DATE */
  P11_A_NAME,       /* DER of an X.501 name */
  P11_A_DER,        /* other DER */
  P11_A_CERT,       /* CKA_VALUE: a certificate or CRL when the bytes are one */
  P11_A_TEMPLATE,   /* array of CK_ATTRIBUTE */
  P11_A_MECHANISMS  /* array of CK_MECHANISM_TYPE */
};

struct p11_attribute_info {
  const char *name; /* CKA_... */
  uint64_t type;
  uint8_t kind;    /* enum p11_value_kind */
  uint8_t secrecy; /* enum p11_secrecy */
  uint16_t domain; /* enum p11_domain, for ENUM */
};

/* Description of an attribute type; NULL for one that the tables do not have (a vendor's: then SECRET). */
const struct p11_attribute_info *p11_attribute(uint64_t type);

#endif
