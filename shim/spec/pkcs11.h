/* PKCS #11 3.2 in C: types, structures, functions, function lists and constants.
 *
 * Written for p11trace from the tables in this folder, so that there is one source: the structures come from
 * structures.def, functions and lists from functions.def, the values from constants.def. tests/test_spec.py compares
 * names, values, sizes and offsets with the standard's and with the headers of NSS and p11-kit. Stands alone (also in
 * C++); not to be mixed with another PKCS #11 header. Layouts are those of Unix: natural alignment, LP64. */
/* Tables and the macros around them are laid out by hand. */
/* clang-format off */
#ifndef P11_PKCS11_H
#define P11_PKCS11_H

#include <stddef.h>

#include "each.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CK_PTR *
#ifndef NULL_PTR
#define NULL_PTR NULL
#endif

/* Base types. Whatever the standard calls a type of its own is CK_ULONG underneath, if it is not a byte. */
typedef unsigned char CK_BYTE;
typedef CK_BYTE CK_CHAR, CK_UTF8CHAR, CK_BBOOL;
typedef unsigned long CK_ULONG;
typedef long CK_LONG;
typedef CK_ULONG CK_FLAGS, CK_RV, CK_STATE, CK_SLOT_ID, CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_USER_TYPE, CK_NOTIFICATION;
typedef CK_ULONG CK_OBJECT_CLASS, CK_KEY_TYPE, CK_CERTIFICATE_TYPE, CK_CERTIFICATE_CATEGORY, CK_ATTRIBUTE_TYPE;
typedef CK_ULONG CK_MECHANISM_TYPE, CK_PROFILE_ID, CK_HW_FEATURE_TYPE, CK_JAVA_MIDP_SECURITY_DOMAIN, CK_TRUST;
typedef CK_ULONG CK_VALIDATION_TYPE, CK_VALIDATION_AUTHORITY_TYPE, CK_SESSION_VALIDATION_FLAGS_TYPE;
typedef CK_ULONG CK_ML_DSA_PARAMETER_SET_TYPE, CK_SLH_DSA_PARAMETER_SET_TYPE, CK_ML_KEM_PARAMETER_SET_TYPE;
typedef CK_ULONG CK_RSA_PKCS_MGF_TYPE, CK_RSA_PKCS_OAEP_SOURCE_TYPE, CK_EC_KDF_TYPE, CK_X9_42_DH_KDF_TYPE;
typedef CK_ULONG CK_X3DH_KDF_TYPE, CK_X2RATCHET_KDF_TYPE, CK_XEDDSA_HASH_TYPE, CK_GENERATOR_FUNCTION, CK_HEDGE_TYPE;
typedef CK_ULONG CK_PKCS5_PBKDF2_SALT_SOURCE_TYPE, CK_PKCS5_PBKD2_PSEUDO_RANDOM_FUNCTION_TYPE, CK_OTP_PARAM_TYPE;
typedef CK_ULONG CK_PRF_DATA_TYPE, CK_SP800_108_DKM_LENGTH_METHOD;
typedef CK_MECHANISM_TYPE CK_SP800_108_PRF_TYPE;

/* Mechanisms whose parameter is a number. */
typedef CK_ULONG CK_RC2_PARAMS, CK_MAC_GENERAL_PARAMS, CK_EXTRACT_PARAMS;

typedef void *CK_VOID_PTR;
typedef CK_VOID_PTR *CK_VOID_PTR_PTR;
typedef CK_BYTE *CK_BYTE_PTR;
typedef CK_CHAR *CK_CHAR_PTR;
typedef CK_UTF8CHAR *CK_UTF8CHAR_PTR;
typedef CK_UTF8CHAR_PTR *CK_UTF8CHAR_PTR_PTR;
typedef CK_BBOOL *CK_BBOOL_PTR;
typedef CK_ULONG *CK_ULONG_PTR;
typedef CK_FLAGS *CK_FLAGS_PTR;
typedef CK_SLOT_ID *CK_SLOT_ID_PTR;
typedef CK_SESSION_HANDLE *CK_SESSION_HANDLE_PTR;
typedef CK_OBJECT_HANDLE *CK_OBJECT_HANDLE_PTR;
typedef CK_OBJECT_CLASS *CK_OBJECT_CLASS_PTR;
typedef CK_MECHANISM_TYPE *CK_MECHANISM_TYPE_PTR;

/* Structures that the recorder and the decoder know by heart; all others are in structures.def. */
typedef struct CK_VERSION {
  CK_BYTE major, minor;
} CK_VERSION;
typedef CK_VERSION *CK_VERSION_PTR;

typedef struct CK_DATE {
  CK_CHAR year[4], month[2], day[2];
} CK_DATE;
typedef CK_DATE *CK_DATE_PTR;

typedef struct CK_ATTRIBUTE {
  CK_ATTRIBUTE_TYPE type;
  CK_VOID_PTR pValue;
  CK_ULONG ulValueLen; /* bytes */
} CK_ATTRIBUTE;
typedef CK_ATTRIBUTE *CK_ATTRIBUTE_PTR;

typedef struct CK_MECHANISM {
  CK_MECHANISM_TYPE mechanism;
  CK_VOID_PTR pParameter;
  CK_ULONG ulParameterLen; /* bytes */
} CK_MECHANISM;
typedef CK_MECHANISM *CK_MECHANISM_PTR;

/* A function list by name and version; pFunctionList begins with its CK_VERSION. */
typedef struct CK_INTERFACE {
  CK_UTF8CHAR_PTR pInterfaceName;
  CK_VOID_PTR pFunctionList;
  CK_FLAGS flags;
} CK_INTERFACE;
typedef CK_INTERFACE *CK_INTERFACE_PTR;
typedef CK_INTERFACE_PTR *CK_INTERFACE_PTR_PTR;

/* Callbacks. */
typedef CK_RV (*CK_NOTIFY)(CK_SESSION_HANDLE hSession, CK_NOTIFICATION event, CK_VOID_PTR pApplication);
typedef CK_RV (*CK_CREATEMUTEX)(CK_VOID_PTR_PTR ppMutex);
typedef CK_RV (*CK_DESTROYMUTEX)(CK_VOID_PTR pMutex);
typedef CK_RV (*CK_LOCKMUTEX)(CK_VOID_PTR pMutex);
typedef CK_RV (*CK_UNLOCKMUTEX)(CK_VOID_PTR pMutex);

typedef struct CK_C_INITIALIZE_ARGS {
  CK_CREATEMUTEX CreateMutex;
  CK_DESTROYMUTEX DestroyMutex;
  CK_LOCKMUTEX LockMutex;
  CK_UNLOCKMUTEX UnlockMutex;
  CK_FLAGS flags;
  CK_VOID_PTR pReserved;
} CK_C_INITIALIZE_ARGS;
typedef CK_C_INITIALIZE_ARGS *CK_C_INITIALIZE_ARGS_PTR;

/* What NSS passes: a parameter string in the reserved place. The seventh member exists only if the string is there,
 * and is NULL. */
typedef struct CK_NSS_C_INITIALIZE_ARGS {
  CK_CREATEMUTEX CreateMutex;
  CK_DESTROYMUTEX DestroyMutex;
  CK_LOCKMUTEX LockMutex;
  CK_UNLOCKMUTEX UnlockMutex;
  CK_FLAGS flags;
  CK_CHAR_PTR *LibraryParameters; /* the string itself, whatever the type says */
  CK_VOID_PTR pReserved;
} CK_NSS_C_INITIALIZE_ARGS;

/* structures.def: first all names with their pointer types, then the members. */
#define S(number, name, ...) \
  typedef struct name name;  \
  typedef name *name##_PTR;
#include "structures.def"

#define P11_MEMBER(ctx, ctype, member, suffix, kind) ctype member suffix;
#define S(number, name, ...) \
  struct name {              \
    P11_EACH(P11_MEMBER, 0, __VA_ARGS__) \
  };
#include "structures.def"
#undef P11_MEMBER

/* functions.def: a pointer type CK_C_Xxx for each function, then the lists as they grew. */
typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;
typedef struct CK_FUNCTION_LIST_3_0 CK_FUNCTION_LIST_3_0;
typedef struct CK_FUNCTION_LIST_3_2 CK_FUNCTION_LIST_3_2;
typedef CK_FUNCTION_LIST *CK_FUNCTION_LIST_PTR;
typedef CK_FUNCTION_LIST_PTR *CK_FUNCTION_LIST_PTR_PTR;
typedef CK_FUNCTION_LIST_3_0 *CK_FUNCTION_LIST_3_0_PTR;
typedef CK_FUNCTION_LIST_3_0_PTR *CK_FUNCTION_LIST_3_0_PTR_PTR;
typedef CK_FUNCTION_LIST_3_2 *CK_FUNCTION_LIST_3_2_PTR;
typedef CK_FUNCTION_LIST_3_2_PTR *CK_FUNCTION_LIST_3_2_PTR_PTR;

#define P11_ARGUMENT(ctx, ctype, pname, kind) ctype pname
#define F(name, since, group, class_, ...) typedef CK_RV (*CK_##name)(P11_LIST(P11_ARGUMENT, 0, __VA_ARGS__));
#include "functions.def"

/* A module that exports its functions by name asks for their prototypes. */
#ifdef P11_PROTOTYPES
#define F(name, since, group, class_, ...) CK_RV name(P11_LIST(P11_ARGUMENT, 0, __VA_ARGS__));
#include "functions.def"
#endif
#undef P11_ARGUMENT

#define P11_SLOT_V2_40(...) __VA_ARGS__
#define P11_SLOT_V3_0(...)
#define P11_SLOT_V3_2(...)
#define F(name, since, ...) P11_SLOT_##since(CK_##name name;)
struct CK_FUNCTION_LIST {
  CK_VERSION version;
#include "functions.def"
};

#undef P11_SLOT_V3_0
#define P11_SLOT_V3_0(...) __VA_ARGS__
#define F(name, since, ...) P11_SLOT_##since(CK_##name name;)
struct CK_FUNCTION_LIST_3_0 {
  CK_VERSION version;
#include "functions.def"
};

#undef P11_SLOT_V3_2
#define P11_SLOT_V3_2(...) __VA_ARGS__
#define F(name, since, ...) P11_SLOT_##since(CK_##name name;)
struct CK_FUNCTION_LIST_3_2 {
  CK_VERSION version;
#include "functions.def"
};
#undef P11_SLOT_V2_40
#undef P11_SLOT_V3_0
#undef P11_SLOT_V3_2

/* The constants. Enumerators and not macros, because a macro cannot define one; usable in case labels and
 * initialisers. CK_UNAVAILABLE_INFORMATION makes the enumeration as wide as CK_ULONG, so no value is cut and `~` works
 * on all: one that fits int is int and is sign-extended, any other is unsigned long (in C++ all are). */
#ifdef __cplusplus
enum : CK_ULONG {
#else
enum {
#endif
#define BEGIN(domain)
#define C(name, value, source) name = value,
#define END(domain)
#include "constants.def"
  P11_CONSTANTS_END = ~0UL
};

#ifdef __cplusplus
}
#endif
#endif
