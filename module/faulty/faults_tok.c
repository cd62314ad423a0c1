/* Faults of token information. A token that is not initialised is left as it is: it has no label and no PIN yet. */
#include "faulty/faulty.h"

/* The token's information as the next one has it; false: there is nothing to change. */
static bool initialised(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info, CK_RV *rv)
{
  *rv = NEXT(C_GetTokenInfo, (slot, info));
  return *rv == CKR_OK && (info->flags & CKF_TOKEN_INITIALIZED) != 0;
}

CK_RV dup_label_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) FLT_PAD(pInfo->label, "Twin");
  return rv;
}

CK_RV empty_label_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) FLT_PAD(pInfo->label, "");
  return rv;
}

CK_RV nss_label_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) FLT_PAD(pInfo->label, "NSS Certificate DB");
  return rv;
}

CK_RV no_pininit_flag_C_GetTokenInfo(CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  CK_RV rv;
  if (initialised(slotID, pInfo, &rv)) pInfo->flags &= ~(CK_FLAGS)CKF_USER_PIN_INITIALIZED;
  return rv;
}
