/* The function lists of the three versions, and how they are asked for (PKCS #11 3.2, 5.4). */
#define P11_PROTOTYPES
#include "core/entry.h"

#include <string.h>

/* clang-format off */
/* They begin with the same functions but are three objects: a caller reads as many as its version has. */
#define IN_V2_40(name) name,
#define IN_V3_0(name)
#define IN_V3_2(name)
#define F(name, since, ...) IN_##since(name)
static CK_FUNCTION_LIST list_2_40 = {{2, 40},
#include "functions.def"
};
#undef IN_V3_0
#define IN_V3_0(name) name,
#define F(name, since, ...) IN_##since(name)
static CK_FUNCTION_LIST_3_0 list_3_0 = {{3, 0},
#include "functions.def"
};
#undef IN_V3_2
#define IN_V3_2(name) name,
#define F(name, since, ...) IN_##since(name)
static CK_FUNCTION_LIST_3_2 list_3_2 = {{3, 2},
#include "functions.def"
};
/* clang-format on */

/* The newest first: it is the default. CKF_INTERFACE_FORK_SAFE would promise that a forked child keeps its sessions, which
 * is not so; NSS asks for it first and then without. */
static CK_INTERFACE interfaces[] = {
    {(CK_UTF8CHAR_PTR) "PKCS 11", &list_3_2,  0},
    {(CK_UTF8CHAR_PTR) "PKCS 11", &list_3_0,  0},
    {(CK_UTF8CHAR_PTR) "PKCS 11", &list_2_40, 0},
};
#define INTERFACES (sizeof interfaces / sizeof interfaces[0])

CK_RV tok_C_GetFunctionList(struct tok_session *session, CK_FUNCTION_LIST_PTR_PTR ppFunctionList)
{
  (void)session;
  /* Never a newer list under the old type: SoftHSM does that and crashes its callers (softhsm/SoftHSMv2#852). */
  *ppFunctionList = &list_2_40;
  return CKR_OK;
}

CK_RV tok_C_GetInterfaceList(struct tok_session *session, CK_INTERFACE_PTR pInterfacesList, CK_ULONG_PTR pulCount)
{
  (void)session;
  CK_RV rv = CKR_OK;
  if (pInterfacesList != NULL) {
    if (*pulCount < INTERFACES)
      rv = CKR_BUFFER_TOO_SMALL;
    else
      memcpy(pInterfacesList, interfaces, sizeof interfaces);
  }
  *pulCount = INTERFACES;
  return rv;
}

CK_RV tok_C_GetInterface(struct tok_session *session, CK_UTF8CHAR_PTR pInterfaceName, CK_VERSION_PTR pVersion,
                         CK_INTERFACE_PTR_PTR ppInterface, CK_FLAGS flags)
{
  (void)session;
  for (size_t i = 0; i < INTERFACES; i++) {
    const CK_VERSION *version = interfaces[i].pFunctionList;
    if (pInterfaceName != NULL && strcmp((const char *)pInterfaceName, (const char *)interfaces[i].pInterfaceName) != 0)
      continue;
    if (pVersion != NULL && (pVersion->major != version->major || pVersion->minor != version->minor)) continue;
    if ((flags & interfaces[i].flags) != flags) continue;
    *ppInterface = &interfaces[i];
    return CKR_OK;
  }
  /* OpenSC's pkcs11-spy 0.23 reads the name of the answer even after an error and would crash NSS: give it one to read. */
  *ppInterface = &interfaces[0];
  return CKR_ARGUMENTS_BAD;
}
