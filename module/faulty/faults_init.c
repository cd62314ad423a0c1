/* Faults of loading, initialising and static information. */
#include "faulty/faulty.h"

CK_RV info_fail_C_GetInfo(CK_INFO_PTR pInfo)
{
  (void)pInfo;
  return CKR_GENERAL_ERROR;
}

static CK_RV with_version(CK_INFO_PTR info, CK_BYTE major, CK_BYTE minor)
{
  const CK_RV rv = NEXT(C_GetInfo, (info));
  if (rv == CKR_OK) info->cryptokiVersion = (CK_VERSION){major, minor};
  return rv;
}

CK_RV version_1_C_GetInfo(CK_INFO_PTR pInfo)
{
  return with_version(pInfo, 1, 0);
}

CK_RV version_20_C_GetInfo(CK_INFO_PTR pInfo)
{
  return with_version(pInfo, 2, 0);
}

CK_RV info_flags_C_GetInfo(CK_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetInfo, (pInfo));
  if (rv == CKR_OK) pInfo->flags = 1;
  return rv;
}

CK_RV nul_pad_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetTokenInfo, (slotID, pInfo));
  if (rv != CKR_OK || !(pInfo->flags & CKF_TOKEN_INITIALIZED)) return rv;
  for (size_t i = sizeof pInfo->label; i && pInfo->label[i - 1] == ' '; i--) pInfo->label[i - 1] = 0;
  return rv;
}

CK_RV bad_utf8_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetTokenInfo, (slotID, pInfo));
  if (rv == CKR_OK && pInfo->flags & CKF_TOKEN_INITIALIZED)
    pInfo->label[sizeof pInfo->label - 1] = 0xc3; /* the first of two bytes */
  return rv;
}

CK_RV wait_general_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
  (void)flags, (void)pSlot, (void)pReserved;
  return CKR_GENERAL_ERROR;
}
