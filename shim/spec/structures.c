/* structures.def as tables: one array of members per structure. */
/* Tables and the macros around them are laid out by hand. */
/* clang-format off */
#include "spec.h"

/* The kinds as structures.def writes them: kind, secrecy, direction, volatile, then the member with the length (OF) or
 * none (NO), and the structure or domain. */
#define FK_NUMBER(dir)                    NUMBER, PUBLIC, dir, 0, NO, 0, 0
#define FK_NUMBER_VOLATILE(dir)           NUMBER, PUBLIC, dir, 1, NO, 0, 0
#define FK_ENUM(domain, dir)              ENUM, PUBLIC, dir, 0, NO, 0, P11_DOM_##domain
#define FK_FLAGS(domain, dir)             FLAGS, PUBLIC, dir, 0, NO, 0, P11_DOM_##domain
#define FK_BOOL(dir)                      BOOL, PUBLIC, dir, 0, NO, 0, 0
#define FK_HANDLE(dir)                    HANDLE, PUBLIC, dir, 0, NO, 0, 0
#define FK_SLOT(dir)                      SLOT, PUBLIC, dir, 0, NO, 0, 0
#define FK_CHARS(secrecy, dir)            CHARS, secrecy, dir, 0, NO, 0, 0
#define FK_CHARS_VOLATILE(secrecy, dir)   CHARS, secrecy, dir, 1, NO, 0, 0
#define FK_ARRAY(secrecy, dir)            ARRAY, secrecy, dir, 0, NO, 0, 0
#define FK_VERSION(dir)                   VERSION, PUBLIC, dir, 0, NO, 0, 0
#define FK_STRUCT(ref, dir)               STRUCT, PUBLIC, dir, 0, NO, 0, P11_S_##ref /* its members have their own class */
#define FK_BYTES(length, secrecy, dir)    BYTES, secrecy, dir, 0, OF, length, 0
#define FK_BITS(length, secrecy, dir)     BITS, secrecy, dir, 0, OF, length, 0
#define FK_BYTES_AT(length, secrecy, dir) BYTES_AT, secrecy, dir, 0, OF, length, 0
#define FK_BYTES_OF(size, secrecy, dir)    BYTES_OF, secrecy, dir, 0, NO, 0, size
#define FK_PVERSION(dir)                  PVERSION, PUBLIC, dir, 0, NO, 0, 0
#define FK_PSTRUCT(ref, dir)              PSTRUCT, PUBLIC, dir, 0, NO, 0, P11_S_##ref
#define FK_STRUCTS(ref, count, dir)       STRUCTS, PUBLIC, dir, 0, OF, count, P11_S_##ref
#define FK_TEMPLATE(count, dir)           TEMPLATE, PUBLIC, dir, 0, OF, count, 0 /* each attribute has its own class */
#define FK_MECHANISM(dir)                 MECHANISM, PUBLIC, dir, 0, NO, 0, 0
#define FK_PNUMBER(dir)                   PNUMBER, PUBLIC, dir, 0, NO, 0, 0
#define FK_PHANDLE(dir)                   PHANDLE, PUBLIC, dir, 0, NO, 0, 0
#define FK_POINTER(secrecy, dir)          POINTER, secrecy, dir, 0, NO, 0, 0

#define LINK_NO(sname, member) 0
#define LINK_OF(sname, member) offsetof(sname, member)

#define ENTRY(sname, member, k, secrecy, dir, vol, LINK, length, ref)                                                \
  {#member, offsetof(sname, member), sizeof(((sname *)0)->member), P11_FK_##k, P11_##secrecy, P11_##dir, vol,        \
   LINK_##LINK(sname, length), ref}
#define EXPAND(sname, member, ...) ENTRY(sname, member, __VA_ARGS__)
#define FIELD(sname, ctype, member, suffix, kind) EXPAND(sname, member, FK_##kind)

#define S(number, name, ...) static const struct p11_field fields_##name[] = {P11_LIST(FIELD, name, __VA_ARGS__)};
#include "structures.def"

#define S(number, name, ...) \
  [number] = {#name, sizeof(name), sizeof fields_##name / sizeof fields_##name[0], fields_##name},
static const struct p11_struct structures[] = {
#include "structures.def"
};

/* Offsets and sizes are 16 bits in the descriptions. */
#define S(number, name, ...) _Static_assert(sizeof(name) < 65536 && number > 0, #name);
#include "structures.def"

const struct p11_struct *p11_struct_info(unsigned number)
{
  if (number >= sizeof structures / sizeof structures[0] || structures[number].name == NULL) return NULL;
  return &structures[number];
}
