/* What the author of a fault may use. README.md shows how a fault is added.
 *
 * A fault is an entry of a GROUP.def and one function per PKCS #11 function that it changes, in faults_GROUP.c:
 *
 *   FAULT("badpin-general", badpin_general, "NSS-LOGIN-10",
 *         "C_Login with a wrong PIN answers CKR_GENERAL_ERROR", C_Login)
 *
 *   CK_RV badpin_general_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin,
 *                                CK_ULONG ulPinLen)
 *   {
 *     const CK_RV rv = NEXT(C_Login, (hSession, userType, pPin, ulPinLen));
 *     return rv == CKR_PIN_INCORRECT ? CKR_GENERAL_ERROR : rv;
 *   }
 *
 * Any thread may be in any function at any time: what a fault remembers is kept by flt_get and flt_set, or atomic. */
#ifndef FAULTY_H
#define FAULTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pkcs11.h"
#include "spec.h"

/* --- calling on --------------------------------------------------------------------------------------------------- */

/* NEXT(C_Login, (hSession, ...)): the next active fault that has C_Login, in the order in which they were named, and in
 * the end the target. From within a fault any function may be called so; the faults before it do not see it.
 * TARGET(C_Login, (hSession, ...)): the target's answer, past all faults. */
#define NEXT(function, arguments) flt_next_##function arguments
#define TARGET(function, arguments) flt_target_##function arguments

/* A call of any function, for faults that do the same in many: FAULT(..., ANY) and CK_RV name_ANY(struct flt_call *).
 * The parameters may be changed; flt_go_on is NEXT. If the fault has a typed function too, that one gets the call. */
struct flt_call {
  enum p11_function function;
  uintptr_t *arg; /* as many as p11_functions[function].arity, in order, pointers and numbers alike */
  CK_RV (*go_on)(const uintptr_t *arg);
};
#define flt_go_on(call) ((call)->go_on((call)->arg))

/* A session handle is the first parameter. */
static inline bool flt_has_session(const struct flt_call *call)
{
  return p11_functions[call->function].param[0].kind == P11_K_SESSION;
}

/* clang-format off */
#define FLT_PARAMETER(ctx, ctype, pname, kind) ctype pname
#define F(name, since, group, class, ...)                            \
  typedef CK_RV flt_type_##name(P11_LIST(FLT_PARAMETER, 0, __VA_ARGS__)); \
  flt_type_##name flt_next_##name, flt_target_##name;
#include "functions.def"
typedef CK_RV flt_type_ANY(struct flt_call *call);

/* The functions of the faults themselves. FLT_EACH(M, ctx, a, b) is M(ctx, a) M(ctx, b). */
#define FLT_EACH(M, ctx, ...) P11_CAT(FLT_EACH_, P11_COUNT(__VA_ARGS__))(M, ctx, __VA_ARGS__)
#define FLT_EACH_1(M, c, e) M(c, e)
#define FLT_EACH_2(M, c, e, ...) M(c, e) FLT_EACH_1(M, c, __VA_ARGS__)
#define FLT_EACH_3(M, c, e, ...) M(c, e) FLT_EACH_2(M, c, __VA_ARGS__)
#define FLT_EACH_4(M, c, e, ...) M(c, e) FLT_EACH_3(M, c, __VA_ARGS__)
#define FLT_EACH_5(M, c, e, ...) M(c, e) FLT_EACH_4(M, c, __VA_ARGS__)
#define FLT_EACH_6(M, c, e, ...) M(c, e) FLT_EACH_5(M, c, __VA_ARGS__)
#define FLT_EACH_7(M, c, e, ...) M(c, e) FLT_EACH_6(M, c, __VA_ARGS__)
#define FLT_EACH_8(M, c, e, ...) M(c, e) FLT_EACH_7(M, c, __VA_ARGS__)
#define FLT_EACH_9(M, c, e, ...) M(c, e) FLT_EACH_8(M, c, __VA_ARGS__)
#define FLT_EACH_10(M, c, e, ...) M(c, e) FLT_EACH_9(M, c, __VA_ARGS__)
#define FLT_EACH_11(M, c, e, ...) M(c, e) FLT_EACH_10(M, c, __VA_ARGS__)
#define FLT_EACH_12(M, c, e, ...) M(c, e) FLT_EACH_11(M, c, __VA_ARGS__)

#define FLT_DECLARE(id, function) flt_type_##function id##_##function;
#define FAULT(name, id, rule, text, ...) FLT_EACH(FLT_DECLARE, id, __VA_ARGS__)
#include "faulty/faults.def"
/* clang-format on */

/* --- remembering -------------------------------------------------------------------------------------------------- */

/* Numbers that a fault keeps, each under a kind and a key; 0 where nothing was kept. Faults do not see each other's.
 * All are dropped at C_Finalize but FLT_EVER; those of a session when the target closes it. */
enum flt_kind { FLT_FAULT, FLT_SLOT, FLT_SESSION, FLT_OBJECT, FLT_EVER };
CK_ULONG flt_get(enum flt_kind kind, CK_ULONG key);
void flt_set(enum flt_kind kind, CK_ULONG key, CK_ULONG value);
CK_ULONG flt_add(enum flt_kind kind, CK_ULONG key, CK_ULONG more); /* the sum */
/* Keeps the value if nothing is kept yet; false otherwise. For what only one thread may get. */
bool flt_claim(enum flt_kind kind, CK_ULONG key, CK_ULONG value);
/* Forgets all of one kind: FLT_OBJECT after a logout, say. */
void flt_forget(enum flt_kind kind);
/* The next kept entry of the kind whose value is `value`, from *place on (0 at first); false when there is none. */
bool flt_each_kept(enum flt_kind kind, CK_ULONG value, size_t *place, CK_ULONG *key);

/* True once in the life of the process. */
bool flt_once(void);
/* Which call of its function this is, from 1. */
unsigned long flt_number(void);
/* The number in name=number, or this one. */
CK_ULONG flt_value(CK_ULONG otherwise);
/* Sleeps, in parts, so that C_Finalize in another thread ends it; false then. */
bool flt_sleep(CK_ULONG milliseconds);

/* --- what there is in the target ---------------------------------------------------------------------------------- */

/* The sessions that the target has opened through this module. */
struct flt_session {
  CK_SESSION_HANDLE handle;
  CK_SLOT_ID slot;
  CK_FLAGS flags;
  unsigned long ordinal; /* from 1, in the order of opening */
};
bool flt_session(CK_SESSION_HANDLE handle, struct flt_session *out);
bool flt_is_rw(CK_SESSION_HANDLE handle);
/* The open sessions in the order of opening; all slots if `slot` is ~0. Returns how many there are, writes `room`. */
size_t flt_sessions(CK_SLOT_ID slot, struct flt_session *out, size_t room);
/* The state as the target reports it; ~0 if it does not. */
CK_STATE flt_state(CK_SESSION_HANDLE handle);
static inline bool flt_is_public(CK_STATE state)
{
  return state == CKS_RO_PUBLIC_SESSION || state == CKS_RW_PUBLIC_SESSION;
}
static inline bool flt_is_user(CK_STATE state)
{
  return state == CKS_RO_USER_FUNCTIONS || state == CKS_RW_USER_FUNCTIONS;
}
/* The same kind of session, logged in or not. */
CK_STATE flt_state_public(CK_FLAGS session_flags);
CK_STATE flt_state_user(CK_FLAGS session_flags);

/* An attribute of an object, asked of the target; false if it has none, or one longer than `room`. */
bool flt_read(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *value, CK_ULONG room,
              CK_ULONG *length);
CK_ULONG flt_number_of(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type); /* ~0: none */
bool flt_is_true(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type);
#define flt_class(session, object) ((CK_OBJECT_CLASS)flt_number_of(session, object, CKA_CLASS))

/* --- templates ---------------------------------------------------------------------------------------------------- */

/* The entry of that type, or NULL. */
CK_ATTRIBUTE_PTR flt_entry(CK_ATTRIBUTE_PTR templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type);
/* The template has the attribute with this number, or with this truth. */
bool flt_says(CK_ATTRIBUTE_PTR templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ULONG number);
bool flt_says_bool(CK_ATTRIBUTE_PTR templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type, bool truth);
/* A copy without the attributes of that type: out has room for count entries; returns how many are left. */
CK_ULONG flt_without(const CK_ATTRIBUTE *templ, CK_ULONG count, CK_ATTRIBUTE_TYPE type, CK_ATTRIBUTE *out);
enum { FLT_TEMPLATE = 64 }; /* longer templates are passed on as they are */

/* C_GetAttributeValue one attribute at a time: `one` answers an attribute, by NEXT or by itself. Codes are merged as
 * the standard asks: any of the three codes of single attributes, after all of them; anything else ends it. */
typedef CK_RV flt_one_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a);
CK_RV flt_each_attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR templ, CK_ULONG count,
                         flt_one_attribute *one);
/* The ways of answering one: with a value, and marked as unavailable with the code. */
CK_RV flt_answer(CK_ATTRIBUTE_PTR a, const void *value, CK_ULONG length);
CK_RV flt_refuse(CK_ATTRIBUTE_PTR a, CK_RV code);

/* --- found objects, output, text ---------------------------------------------------------------------------------- */

/* C_FindObjects that leaves out what `keep` does not want; asks on, so that 0 still means the end. */
typedef bool flt_keep(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);
CK_RV flt_find_only(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG max, CK_ULONG_PTR count,
                    flt_keep *keep);
/* Blank-padded text of an information structure. */
void flt_pad(CK_UTF8CHAR *field, size_t size, const char *text);
#define FLT_PAD(field, text) flt_pad(field, sizeof(field), text)

/* --- interfaces --------------------------------------------------------------------------------------------------- */

/* A list of that version whose functions are all there; what the target lacks answers CKR_FUNCTION_NOT_SUPPORTED. */
CK_VOID_PTR flt_list(CK_BYTE major, CK_BYTE minor);
/* "PKCS 11" with that list. */
CK_INTERFACE_PTR flt_interface(CK_BYTE major, CK_BYTE minor);
/* A list like this one with NULL in place of one function, as the interface "PKCS 11". */
CK_INTERFACE_PTR flt_list_without(const void *list, enum p11_function function);

#endif
