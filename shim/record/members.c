/* Structures, member by member: never as raw bytes, whose padding holds whatever was on the caller's stack. */
#include <string.h>

#include "shim/record/encode.h"
#include "shim/record/sys.h"

/* A list inside a structure is believed up to this many entries. */
#define MAX_INNER 64

static uint64_t load(const char *at, unsigned size)
{
  if (size == 1) return *(const uint8_t *)at;
  uint64_t v = 0;
  memcpy(&v, at, size < sizeof v ? size : sizeof v);
  return v;
}

static const void *load_pointer(const char *at)
{
  const void *p;
  memcpy(&p, at, sizeof p);
  return p;
}

static void version(struct p11t_writer *w, const CK_VERSION *v)
{
  p11t_u8(w, v->major);
  p11t_u8(w, v->minor);
}

/* Length in bytes of what a BYTES, BITS, BYTES_OF or BYTES_AT member points to. */
static uint64_t linked_length(const struct p11_field *f, const char *at)
{
  if (f->kind == P11_FK_BYTES_OF) return f->ref;
  uint64_t n = load(at + f->link, sizeof(CK_ULONG));
  if (f->kind == P11_FK_BYTES) return n;
  if (f->kind == P11_FK_BITS) return n / 8 + (n % 8 != 0);
  /* CK_PKCS5_PBKD2_PARAMS: the pointer may be a length, of a caller who meant the other layout. */
  const CK_ULONG *p = load_pointer(at + f->link);
  return p && sys_readable(p) ? *p : 0;
}

/* Bytes behind a pointer that will be read, as far as this can be said beforehand. */
static uint64_t needed(const struct p11_field *f, const char *at)
{
  switch (f->kind) {
    case P11_FK_BYTES:
    case P11_FK_BITS:
    case P11_FK_BYTES_OF:
    case P11_FK_BYTES_AT: {
      uint64_t n = linked_length(f, at);
      return n > P11T_EARLY * 16 ? 0 : n;
    }
    case P11_FK_POINTER: return 0;
    case P11_FK_PNUMBER:
    case P11_FK_PHANDLE: return sizeof(CK_ULONG);
    case P11_FK_PSTRUCT: return p11_struct_info(f->ref)->size;
    default: return 1;
  }
}

static void pointed(struct p11t_writer *w, const struct p11_field *f, const char *at, unsigned which, unsigned depth)
{
  const void *p = load_pointer(at + f->offset);
  /* Members that the module will not look at may hold anything: NSS leaves pSalt of CK_HKDF_PARAMS unset when it only
   * expands, and in CK_PKCS5_PBKD2_PARAMS the pointer may be a length, of a caller who meant the other layout. */
  if (p != NULL && !sys_readable_all(p, needed(f, at))) {
    p11t_u8(w, P11T_P_UNREADABLE);
    return;
  }
  p11t_pointer(w, p);
  if (p == NULL) return;
  switch (f->kind) {
    case P11_FK_BYTES:
    case P11_FK_BITS:
    case P11_FK_BYTES_OF:
    case P11_FK_BYTES_AT: {
      uint64_t n = linked_length(f, at);
      if (n > P11T_EARLY * 16)
        p11t_value_unread(w, n);
      else
        p11t_value(w, f->secrecy, p, n);
      break;
    }
    case P11_FK_PVERSION: version(w, p); break;
    case P11_FK_PNUMBER:
    case P11_FK_PHANDLE: p11t_u(w, load(p, sizeof(CK_ULONG))); break;
    case P11_FK_PSTRUCT: p11t_members(w, p11_struct_info(f->ref), p, which, depth + 1); break;
    case P11_FK_STRUCTS: {
      const struct p11_struct *s = p11_struct_info(f->ref);
      uint64_t n = load(at + f->link, sizeof(CK_ULONG));
      if (n > MAX_INNER) n = 0;
      p11t_n(w, n);
      for (uint64_t i = 0; i < n; i++) p11t_members(w, s, (const char *)p + i * s->size, which, depth + 1);
      break;
    }
    case P11_FK_TEMPLATE: p11t_template_in(w, p, load(at + f->link, sizeof(CK_ULONG)), depth + 1); break;
    case P11_FK_MECHANISM: p11t_mechanism_in(w, p, depth + 1); break;
    default: break;
  }
}

static inline void member(struct p11t_writer *w, const struct p11_field *f, const char *at, unsigned which,
                          unsigned depth)
{
  const char *p = at + f->offset;
  if (__builtin_expect(f->size == sizeof(CK_ULONG) && f->kind <= P11_FK_HANDLE, 1)) {
    CK_ULONG v;
    memcpy(&v, p, sizeof v);
    p11t_u(w, v);
    return;
  }
  switch (f->kind) {
    case P11_FK_NUMBER:
    case P11_FK_ENUM:
    case P11_FK_FLAGS:
    case P11_FK_BOOL:
    case P11_FK_HANDLE:
    case P11_FK_SLOT: p11t_u(w, load(p, f->size)); break;
    case P11_FK_CHARS:
    case P11_FK_ARRAY: p11t_value(w, f->secrecy, p, f->size); break;
    case P11_FK_VERSION: version(w, (const CK_VERSION *)(const void *)p); break;
    case P11_FK_STRUCT: p11t_members(w, p11_struct_info(f->ref), p, which, depth + 1); break;
    default: pointed(w, f, at, which, depth); break;
  }
}

void p11t_members(struct p11t_writer *w, const struct p11_struct *s, const void *at, unsigned which, unsigned depth)
{
  unsigned count = 0;
  if (which == P11_INOUT && depth == 0) { /* an information structure, the common case: all of it */
    p11t_n(w, s->count);
    for (unsigned i = 0; i < s->count; i++) member(w, &s->field[i], at, which, depth);
    return;
  }
  if (depth <= P11T_DEPTH) {
    for (unsigned i = 0; i < s->count; i++) count += (s->field[i].direction & which) != 0;
  }
  p11t_n(w, count);
  if (count == 0) return;
  for (unsigned i = 0; i < s->count; i++) {
    if (s->field[i].direction & which) member(w, &s->field[i], at, which, depth);
  }
}
