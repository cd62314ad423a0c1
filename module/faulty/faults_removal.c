/* A card that is pulled after a login: as bad modules show it, and as a good one does. */
#include "faulty/faulty.h"

/* The card of a slot: from PULLED on it is out, until somebody has LOOKED; then it is BACK, for some faults. */
enum card { IN, PULLED, LOOKED, BACK };

static bool is_out(CK_SLOT_ID slot)
{
  const enum card card = (enum card)flt_get(FLT_SLOT, slot);
  return card == PULLED || card == LOOKED;
}

static CK_RV pull_after_login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
  struct flt_session s;
  const CK_RV rv = NEXT(C_Login, (session, user, pin, length));
  if (rv == CKR_OK && flt_session(session, &s)) flt_claim(FLT_SLOT, s.slot, PULLED);
  return rv;
}

static CK_RV look(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info, bool removable)
{
  const CK_RV rv = NEXT(C_GetSlotInfo, (slot, info));
  if (rv != CKR_OK) return rv;
  info->flags &= ~(CK_FLAGS)CKF_REMOVABLE_DEVICE;
  if (removable) info->flags |= CKF_REMOVABLE_DEVICE;
  if (is_out(slot)) info->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
  return rv;
}

/* The second look finds a card in the slot. */
static CK_RV look_until_back(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info)
{
  if (flt_get(FLT_SLOT, slot) == LOOKED) flt_set(FLT_SLOT, slot, BACK);
  const CK_RV rv = look(slot, info, true);
  if (rv == CKR_OK && flt_get(FLT_SLOT, slot) == PULLED) flt_set(FLT_SLOT, slot, LOOKED);
  return rv;
}

static enum card card_of(const struct flt_call *call)
{
  struct flt_session s;
  return flt_has_session(call) && flt_session(call->arg[0], &s) ? (enum card)flt_get(FLT_SLOT, s.slot) : IN;
}

CK_RV perm_dies_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return pull_after_login(hSession, userType, pPin, ulPinLen);
}

CK_RV perm_dies_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  return look(slotID, pInfo, false);
}

CK_RV perm_dies_ANY(struct flt_call *call)
{
  return card_of(call) == IN ? flt_go_on(call) : CKR_DEVICE_REMOVED;
}

CK_RV ghost_session_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return pull_after_login(hSession, userType, pPin, ulPinLen);
}

CK_RV ghost_session_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  const CK_ULONG looks = flt_value(0);
  if (looks > 0 && flt_get(FLT_SLOT, slotID) == PULLED && flt_add(FLT_FAULT, slotID, 1) > looks)
    flt_set(FLT_SLOT, slotID, BACK);
  return look(slotID, pInfo, true);
}

CK_RV revive_session_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return pull_after_login(hSession, userType, pPin, ulPinLen);
}

CK_RV revive_session_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  return look_until_back(slotID, pInfo);
}

CK_RV revive_session_ANY(struct flt_call *call)
{
  const enum card card = card_of(call);
  return card == PULLED || card == LOOKED ? CKR_DEVICE_REMOVED : flt_go_on(call);
}

CK_RV lost_event_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return pull_after_login(hSession, userType, pPin, ulPinLen);
}

CK_RV lost_event_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  return look(slotID, pInfo, true);
}

CK_RV lost_event_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
  (void)pSlot, (void)pReserved;
  if (flags & CKF_DONT_BLOCK) return CKR_NO_EVENT;
  while (flt_sleep(1000)) continue;
  return CKR_CRYPTOKI_NOT_INITIALIZED;
}

/* --- a good module: nothing is wrong here ------------------------------------------------------------------------- */

/* The sessions die with the card, and so does what was logged in. */
static CK_RV pull(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
  struct flt_session s, all[64];
  const CK_RV rv = NEXT(C_Login, (session, user, pin, length));
  if (rv != CKR_OK || user != CKU_USER || !flt_session(session, &s) || !flt_claim(FLT_SLOT, s.slot, PULLED)) return rv;
  const size_t n = flt_sessions(s.slot, all, 64);
  for (size_t i = 0; i < n && i < 64; i++) flt_set(FLT_SESSION, all[i].handle, 1);
  TARGET(C_Logout, (session));
  return rv;
}

static CK_RV any(struct flt_call *call)
{
  if (flt_has_session(call) && flt_get(FLT_SESSION, call->arg[0])) return CKR_SESSION_HANDLE_INVALID;
  const bool of_token = call->function == P11_F_C_GetTokenInfo || call->function == P11_F_C_OpenSession ||
                        call->function == P11_F_C_GetMechanismList || call->function == P11_F_C_GetMechanismInfo ||
                        call->function == P11_F_C_InitToken;
  return of_token && is_out(call->arg[0]) ? CKR_TOKEN_NOT_PRESENT : flt_go_on(call);
}

/* Blocks until a card is pulled, which it tells once, or C_Finalize is called. */
static CK_RV wait(CK_FLAGS flags, CK_SLOT_ID_PTR slot)
{
  do {
    size_t place = 0;
    CK_SLOT_ID id;
    if (flt_each_kept(FLT_SLOT, PULLED, &place, &id) && flt_claim(FLT_OBJECT, id, 1)) {
      *slot = id;
      return CKR_OK;
    }
    if (flags & CKF_DONT_BLOCK) return CKR_NO_EVENT;
  } while (flt_sleep(10));
  return CKR_CRYPTOKI_NOT_INITIALIZED;
}

CK_RV removed_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return flt_get(FLT_SESSION, hSession) ? CKR_SESSION_HANDLE_INVALID : pull(hSession, userType, pPin, ulPinLen);
}

CK_RV removed_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  return look(slotID, pInfo, true);
}

CK_RV removed_C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID_PTR pSlot, CK_VOID_PTR pReserved)
{
  (void)pReserved;
  return wait(flags, pSlot);
}

CK_RV removed_ANY(struct flt_call *call)
{
  return any(call);
}

CK_RV removed_back_C_Login(CK_SESSION_HANDLE hSession, CK_USER_TYPE userType, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  return flt_get(FLT_SESSION, hSession) ? CKR_SESSION_HANDLE_INVALID : pull(hSession, userType, pPin, ulPinLen);
}

CK_RV removed_back_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  return look_until_back(slotID, pInfo);
}

CK_RV removed_back_ANY(struct flt_call *call)
{
  return any(call);
}

/* Slots as readers have them: those of our token and of SoftHSM are permanent. */
CK_RV removable_C_GetSlotInfo(CK_SLOT_ID slotID, CK_SLOT_INFO_PTR pInfo)
{
  const CK_RV rv = NEXT(C_GetSlotInfo, (slotID, pInfo));
  if (rv == CKR_OK) pInfo->flags |= CKF_REMOVABLE_DEVICE;
  return rv;
}
