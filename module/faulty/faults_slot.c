/* Faults of slots: their list, presence, insertion and removal. */
#include "faulty/faulty.h"

CK_RV slot_grow_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_ULONG room = pSlotList != NULL && pulCount != NULL ? *pulCount : 0;
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  if (rv != CKR_OK || pSlotList == NULL) return rv;
  *pulCount = room + 1;
  return CKR_BUFFER_TOO_SMALL;
}

CK_RV slot_overflow_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_ULONG room = pSlotList != NULL && pulCount != NULL ? *pulCount : 0;
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  if (rv == CKR_OK && pSlotList != NULL) *pulCount = room + 1;
  return rv;
}

CK_RV slot_twice_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  if (rv == CKR_OK && pSlotList != NULL && *pulCount > 1) pSlotList[1] = pSlotList[0];
  return rv;
}

CK_RV slot_general_C_GetSlotList(CK_BBOOL tokenPresent, CK_SLOT_ID_PTR pSlotList, CK_ULONG_PTR pulCount)
{
  const CK_RV rv = NEXT(C_GetSlotList, (tokenPresent, pSlotList, pulCount));
  return rv == CKR_OK && pSlotList != NULL ? CKR_GENERAL_ERROR : rv;
}
