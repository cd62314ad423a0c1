/* structures MODULE
 *
 * Gives C_DeriveKey every mechanism that has a structure for a parameter, filled in as structures.def describes it,
 * then
 * with lengths that are 0, huge or unavailable and with all pointers NULL; on a good and on a bad session. A module
 * that
 * does not know the mechanism follows none of these pointers, so nobody else may run into what is behind them: each
 * structure ends at an unmapped page, and so does what it points to.
 *
 * Buffers hold "public..." "payload..." or "secret..." by the class of their member: the test looks for these words. */
#include <stdbool.h>

#include "arena.h"
#include "shim/spec/structures.c"

enum how { AS_IT_SHOULD_BE, ZERO, HUGE_LENGTHS, UNAVAILABLE, NULLS, HOWS };
static const char *const hows[] = {"as it should be", "lengths 0", "lengths huge", "lengths unavailable",
                                   "pointers NULL"};

/* Each object behind a pointer gets memory of its own, used again for each case. */
static unsigned places_used;
static void *place(size_t size)
{
  unsigned i = places_used++;
  if (i >= ARG_PLACES) DIE("more than %lu objects", ARG_PLACES);
  memset((void *)arg_place((int)i, ARG_SIZE), 0xa5, ARG_SIZE);
  return (void *)arg_place((int)i, (size + 7) & ~7ul);
}

static void *words(unsigned secrecy)
{
  static const char *const text[] = {"", "public--", "payload-", "secret--", "secret--", "secret--"};
  char *to = place(16);
  memcpy(to, text[secrecy], 8);
  memcpy(to + 8, text[secrecy], 8);
  return to;
}

static CK_ULONG length_of(enum how how, CK_ULONG good)
{
  return how == ZERO ? 0 : how == HUGE_LENGTHS ? 1ul << 40 : how == UNAVAILABLE ? CK_UNAVAILABLE_INFORMATION : good;
}

static void fill_members(unsigned char *to, unsigned number, enum how how, int depth);

static void *structure_make(unsigned number, enum how how, int depth)
{
  unsigned char *to = place(p11_struct_info(number)->size);
  memset(to, 0, p11_struct_info(number)->size);
  if (depth < 4) fill_members(to, number, how, depth + 1);
  return to;
}

static void *behind(const struct p11_field *f, enum how how, int depth)
{
  switch (f->kind) {
    case P11_FK_BYTES:
    case P11_FK_BITS:
    case P11_FK_BYTES_OF:
    case P11_FK_BYTES_AT:
    case P11_FK_POINTER: return words(f->secrecy);
    case P11_FK_PVERSION: return memset(place(sizeof(CK_VERSION)), 3, sizeof(CK_VERSION));
    case P11_FK_PNUMBER:
    case P11_FK_PHANDLE: {
      CK_ULONG *n = place(sizeof *n);
      *n = f->kind == P11_FK_PNUMBER ? length_of(how, 16) : 0x70;
      return n;
    }
    case P11_FK_PSTRUCT:
    case P11_FK_STRUCTS: return structure_make(f->ref, how, depth);
    case P11_FK_TEMPLATE: {
      CK_ATTRIBUTE *a = place(sizeof *a);
      *a = (CK_ATTRIBUTE){CKA_LABEL, words(P11_PUBLIC), length_of(how, 16)};
      return a;
    }
    default: {
      CK_MECHANISM *m = place(sizeof *m);
      *m = (CK_MECHANISM){CKM_SHA256, NULL, 0};
      return m;
    }
  }
}

static void fill_members(unsigned char *to, unsigned number, enum how how, int depth)
{
  const struct p11_struct *s = p11_struct_info(number);
  for (unsigned i = 0; i < s->count; i++) { /* numbers first: those that are lengths are set again below */
    const struct p11_field *f = &s->field[i];
    CK_ULONG one = 1;
    switch (f->kind) {
      case P11_FK_NUMBER:
      case P11_FK_ENUM:
      case P11_FK_FLAGS:
      case P11_FK_BOOL:
      case P11_FK_HANDLE:
      case P11_FK_SLOT: memcpy(to + f->offset, &one, f->size); break;
      case P11_FK_STRUCT: fill_members(to + f->offset, f->ref, how, depth); break;
      case P11_FK_CHARS:
      case P11_FK_ARRAY: memset(to + f->offset, 'c', f->size); break;
      default: break;
    }
  }
  for (unsigned i = 0; i < s->count; i++) {
    const struct p11_field *f = &s->field[i];
    bool many = f->kind == P11_FK_STRUCTS || f->kind == P11_FK_TEMPLATE;
    if (f->kind < P11_FK_BYTES || f->kind == P11_FK_SLOT) continue;
    void *pointer = how == NULLS ? NULL : behind(f, how, depth);
    memcpy(to + f->offset, &pointer, sizeof pointer);
    CK_ULONG n = length_of(how, many ? 1 : f->kind == P11_FK_BITS ? 128 : 16);
    if (many || f->kind == P11_FK_BYTES || f->kind == P11_FK_BITS) memcpy(to + f->link, &n, sizeof n);
  }
}

#define IS_NONE 0
#define IS_IV 0
#define IS_NUMBER 0
#define IS_HANDLE 0
#define IS_VERSION 0
#define IS_ONE(a) P11_S_##a
#define IS_TWO(a, b) P11_S_##a, P11_S_##b
#define IS_THREE(a, b, c) P11_S_##a, P11_S_##b, P11_S_##c
#define IS_GCM P11_S_CK_GCM_PARAMS, P11_S_CK_GCM_MESSAGE_PARAMS, P11_S_CK_GCM_WRAP_PARAMS, P11_S_CK_NSS_GCM_PARAMS
#define IS_PBKD2 P11_S_CK_PKCS5_PBKD2_PARAMS2, P11_S_CK_PKCS5_PBKD2_PARAMS
static const struct {
  CK_MECHANISM_TYPE mechanism;
  unsigned structure[4];
} mechanisms[] = {
#define M(name, kind) {name, {IS_##kind}},
#include "shim/spec/mechanisms.def"
};

static void derive(CK_FUNCTION_LIST_PTR list, CK_SESSION_HANDLE session, CK_MECHANISM_TYPE type, unsigned number,
                   enum how how)
{
  places_used = 0;
  CK_OBJECT_HANDLE key = 0;
  CK_MECHANISM m = {type, structure_make(number, how, 0), p11_struct_info(number)->size};
  CK_RV rv = list->C_DeriveKey(session, &m, 0x70, NULL, 0, &key);
  printf("0x%lx %s %s 0x%lx rv=0x%lx key=%lu", session, p11_struct_info(number)->name, hows[how], type, rv, key);
  for (unsigned i = 0; i < places_used; i++) printf(" %016lx", arg_checksum((int)i));
  putchar('\n');
}

int main(int argc, char **argv)
{
  CK_SESSION_HANDLE session;
  if (argc != 2) DIE("usage: structures MODULE");
  setvbuf(stdout, NULL, _IOLBF, 0);
  args_map();
  CK_FUNCTION_LIST_PTR list = module_list(argv[1]);
  MUST(list->C_Initialize(NULL));
  MUST(list->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session));
  for (size_t i = 0; i < sizeof mechanisms / sizeof mechanisms[0]; i++) {
    for (size_t k = 0; k < 4 && mechanisms[i].structure[k]; k++) {
      for (enum how how = 0; how < HOWS; how++) {
        derive(list, session, mechanisms[i].mechanism, mechanisms[i].structure[k], how);
        derive(list, 0xdead, mechanisms[i].mechanism, mechanisms[i].structure[k], how);
      }
    }
  }
  MUST(list->C_Finalize(NULL));
  return 0;
}
