/* Faults of mechanisms: their list, what is told of them, and whether they work. */
#include "faulty/faulty.h"

CK_RV mech_second_fail_C_GetMechanismList(CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList,
                                          CK_ULONG_PTR pulCount)
{
  const CK_RV rv = NEXT(C_GetMechanismList, (slotID, pMechanismList, pulCount));
  return rv == CKR_OK && pMechanismList != NULL ? CKR_GENERAL_ERROR : rv;
}

enum { MECHANISMS = 1024 };

/* The target's list; returns how many, 0 if there are none to be had. */
static CK_ULONG listed(CK_SLOT_ID slot, CK_MECHANISM_TYPE list[MECHANISMS])
{
  CK_ULONG count = MECHANISMS;
  return TARGET(C_GetMechanismList, (slot, list, &count)) == CKR_OK ? count : 0;
}

CK_RV mech_info_invalid_C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo)
{
  CK_MECHANISM_TYPE list[MECHANISMS];
  const CK_MECHANISM_TYPE first = listed(slotID, list) > 0 ? list[0] : CK_UNAVAILABLE_INFORMATION;
  return type == flt_value(first) ? CKR_MECHANISM_INVALID : NEXT(C_GetMechanismInfo, (slotID, type, pInfo));
}

CK_RV mech_sizes_C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetMechanismInfo, (slotID, type, pInfo));
  if (rv != CKR_OK) return rv;
  const CK_ULONG least = pInfo->ulMinKeySize;
  pInfo->ulMinKeySize = pInfo->ulMaxKeySize;
  pInfo->ulMaxKeySize = least;
  return rv;
}

CK_RV mech_noflags_C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetMechanismInfo, (slotID, type, pInfo));
  if (rv == CKR_OK) pInfo->flags = 0;
  return rv;
}

CK_RV mech_lie_ANY(struct flt_call *call)
{
  const struct p11_function_info *f = &p11_functions[call->function];
  for (size_t i = 0; i < f->arity; i++) {
    const CK_MECHANISM *mechanism = f->param[i].kind == P11_K_MECHANISM ? (CK_MECHANISM *)call->arg[i] : NULL;
    if (mechanism != NULL && mechanism->mechanism == flt_value(CKM_AES_GCM)) return CKR_MECHANISM_INVALID;
  }
  return flt_go_on(call);
}

CK_RV no_pss_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return pMechanism != NULL && pMechanism->mechanism == CKM_RSA_PKCS_PSS
             ? CKR_MECHANISM_INVALID
             : NEXT(C_SignInit, (hSession, pMechanism, hKey));
}

/* --- lists without some ------------------------------------------------------------------------------------------- */

typedef bool drop_mechanism(CK_SLOT_ID slot, CK_MECHANISM_TYPE type);

static CK_RV list_without(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR out, CK_ULONG_PTR count, drop_mechanism *drop)
{
  CK_MECHANISM_TYPE list[MECHANISMS];
  CK_ULONG n = MECHANISMS, left = 0;
  const CK_RV rv = NEXT(C_GetMechanismList, (slot, list, &n));
  if (rv != CKR_OK || count == NULL) return rv;
  for (CK_ULONG i = 0; i < n; i++)
    if (!drop(slot, list[i])) list[left++] = list[i];
  const CK_ULONG room = *count;
  *count = left;
  if (out == NULL) return CKR_OK;
  if (room < left) return CKR_BUFFER_TOO_SMALL;
  memcpy(out, list, left * sizeof list[0]);
  return CKR_OK;
}

static CK_RV info_without(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR info, drop_mechanism *drop)
{
  return drop(slot, type) ? CKR_MECHANISM_INVALID : NEXT(C_GetMechanismInfo, (slot, type, info));
}

static bool is_pss(CK_SLOT_ID slot, CK_MECHANISM_TYPE type)
{
  (void)slot;
  switch (type) {
    case CKM_RSA_PKCS_PSS:
    case CKM_SHA1_RSA_PKCS_PSS:
    case CKM_SHA224_RSA_PKCS_PSS:
    case CKM_SHA256_RSA_PKCS_PSS:
    case CKM_SHA384_RSA_PKCS_PSS:
    case CKM_SHA512_RSA_PKCS_PSS: return true;
    default: return false;
  }
}

CK_RV pss_unlisted_C_GetMechanismList(CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList, CK_ULONG_PTR pulCount)
{
  return list_without(slotID, pMechanismList, pulCount, is_pss);
}

CK_RV pss_unlisted_C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo)
{
  return info_without(slotID, type, pInfo, is_pss);
}

CK_RV pss_unlisted_C_SignInit(CK_SESSION_HANDLE hSession, CK_MECHANISM_PTR pMechanism, CK_OBJECT_HANDLE hKey)
{
  return pMechanism != NULL && is_pss(0, pMechanism->mechanism) ? CKR_MECHANISM_INVALID
                                                                : NEXT(C_SignInit, (hSession, pMechanism, hKey));
}

/* RSA, DSA and DH have the low numbers; the elliptic curves a range of their own. */
static bool is_symmetric(CK_SLOT_ID slot, CK_MECHANISM_TYPE type)
{
  (void)slot;
  const bool low = type < CKM_RC2_KEY_GEN, curve = type >= CKM_EC_KEY_PAIR_GEN && type < CKM_JUNIPER_KEY_GEN;
  return !low && !curve;
}

/* Of the first slot what is symmetric, of the others what is not. */
static bool is_on_the_other_side(CK_SLOT_ID slot, CK_MECHANISM_TYPE type)
{
  CK_SLOT_ID slots[64];
  CK_ULONG count = sizeof slots / sizeof slots[0];
  const bool first = TARGET(C_GetSlotList, (CK_TRUE, slots, &count)) != CKR_OK || count == 0 || slots[0] == slot;
  return is_symmetric(slot, type) == first;
}

CK_RV split_slots_C_GetMechanismList(CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList, CK_ULONG_PTR pulCount)
{
  return list_without(slotID, pMechanismList, pulCount, is_on_the_other_side);
}

CK_RV split_slots_C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo)
{
  return info_without(slotID, type, pInfo, is_on_the_other_side);
}

CK_RV asymmetric_only_C_GetMechanismList(CK_SLOT_ID slotID, CK_MECHANISM_TYPE_PTR pMechanismList, CK_ULONG_PTR pulCount)
{
  return list_without(slotID, pMechanismList, pulCount, is_symmetric);
}

CK_RV asymmetric_only_C_GetMechanismInfo(CK_SLOT_ID slotID, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO_PTR pInfo)
{
  return info_without(slotID, type, pInfo, is_symmetric);
}
