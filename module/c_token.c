/* The token as a whole and its PINs (PKCS #11 3.2, 5.5). */
#include <string.h>

#include "auth/auth.h"
#include "config/config.h"
#include "core/entry.h"
#include "core/module.h"
#include "core/presence.h"
#include "core/text.h"
#include "core/version.h"
#include "store/store.h"

/* True if one session can have two operations at once: whether those functions are there. */
static bool has_dual_functions(void)
{
  return tok_C_DigestEncryptUpdate != NULL && tok_C_DecryptDigestUpdate != NULL && tok_C_SignEncryptUpdate != NULL &&
         tok_C_DecryptVerifyUpdate != NULL;
}

/* What a blank token says of itself: what C_InitToken would make of it. */
static void blank_token(struct tok_token_record *token)
{
  memset(token, 0, sizeof *token);
  memset(token->label, ' ', sizeof token->label);
  memset(token->serial, ' ', sizeof token->serial);
  token->min_pin = tok_module->config->min_pin;
  token->max_pin = TOK_MAX_PIN;
}

CK_RV tok_C_GetTokenInfo(struct tok_session *session, CK_SLOT_ID slotID, CK_TOKEN_INFO_PTR pInfo)
{
  (void)session;
  struct tok_slot *slot = tok_slot_by_id(slotID);
  if (slot == NULL) return CKR_SLOT_ID_INVALID;
  struct tok_token_record token;
  CK_RV rv = tok_slot_present(slot);
  if (rv == CKR_OK) rv = tok_auth_token(slot, &token);
  bool blank = rv == CKR_TOKEN_NOT_RECOGNIZED;
  if (blank) blank_token(&token);
  if (rv != CKR_OK && !blank) return rv;

  memcpy(pInfo->label, token.label, sizeof pInfo->label);
  memcpy(pInfo->serialNumber, token.serial, sizeof pInfo->serialNumber);
  tok_pad(pInfo->manufacturerID, sizeof pInfo->manufacturerID, TOK_MANUFACTURER);
  tok_pad(pInfo->model, sizeof pInfo->model, TOK_MODEL);
  memset(pInfo->utcTime, ' ', sizeof pInfo->utcTime); /* no clock: CKF_CLOCK_ON_TOKEN is not set */
  pInfo->flags = CKF_RNG | (blank ? CKF_LOGIN_REQUIRED : CKF_TOKEN_INITIALIZED | tok_auth_flags(&token));
  if (!tok_slot_writable(slot)) pInfo->flags |= CKF_WRITE_PROTECTED;
  if (has_dual_functions()) pInfo->flags |= CKF_DUAL_CRYPTO_OPERATIONS;
  pInfo->ulMaxSessionCount = pInfo->ulMaxRwSessionCount = CK_EFFECTIVELY_INFINITE;
  pthread_mutex_lock(&slot->lock);
  pInfo->ulSessionCount = slot->sessions;
  pInfo->ulRwSessionCount = slot->rw_sessions;
  pthread_mutex_unlock(&slot->lock);
  pInfo->ulMinPinLen = token.min_pin;
  pInfo->ulMaxPinLen = token.max_pin;
  pInfo->ulTotalPublicMemory = pInfo->ulFreePublicMemory = CK_UNAVAILABLE_INFORMATION;
  pInfo->ulTotalPrivateMemory = pInfo->ulFreePrivateMemory = CK_UNAVAILABLE_INFORMATION;
  pInfo->hardwareVersion = pInfo->firmwareVersion = (CK_VERSION){TOK_VERSION_MAJOR, TOK_VERSION_MINOR};
  return CKR_OK;
}

CK_RV tok_C_InitToken(struct tok_session *session, CK_SLOT_ID slotID, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen,
                      CK_UTF8CHAR_PTR pLabel)
{
  (void)session;
  struct tok_slot *slot = tok_slot_by_id(slotID);
  if (slot == NULL) return CKR_SLOT_ID_INVALID;
  if (pPin == NULL || pLabel == NULL) return CKR_ARGUMENTS_BAD;
  if (tok_slot_present(slot) != CKR_OK) return CKR_TOKEN_NOT_PRESENT;
  return tok_auth_new_token(slot, pPin, ulPinLen, pLabel);
}

/* The slot of a session; its R/W-ness in *rw, and which insertion of the token it belongs to in *born. NULL: there is no such
 * session. */
static struct tok_slot *slot_of(CK_SESSION_HANDLE handle, bool *rw, uint32_t *born)
{
  struct tok_session *session = tok_session_lock(handle);
  if (session == NULL) return NULL;
  struct tok_slot *slot = session->slot;
  *rw = tok_session_rw(session);
  *born = session->born;
  tok_session_unlock(session);
  return slot;
}

/* What a function answers whose session was not locked while it worked: was the token removed meanwhile? */
static CK_RV still_there(struct tok_slot *slot, uint32_t born, CK_RV rv)
{
  return tok_slot_changes(slot) != born ? CKR_DEVICE_REMOVED : rv;
}

CK_RV tok_C_InitPIN(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pPin, CK_ULONG ulPinLen)
{
  (void)session;
  bool rw;
  uint32_t born;
  struct tok_slot *slot = slot_of(hSession, &rw, &born);
  if (slot == NULL) return CKR_SESSION_HANDLE_INVALID;
  /* "only in the R/W SO Functions state"; in any other, also in a R/O session: */
  if (!rw || tok_auth_who(slot) != TOK_SO) return CKR_USER_NOT_LOGGED_IN;
  if (pPin == NULL) return CKR_ARGUMENTS_BAD;
  return still_there(slot, born, tok_auth_init_pin(slot, pPin, ulPinLen));
}

CK_RV tok_C_SetPIN(struct tok_session *session, CK_SESSION_HANDLE hSession, CK_UTF8CHAR_PTR pOldPin, CK_ULONG ulOldLen,
                   CK_UTF8CHAR_PTR pNewPin, CK_ULONG ulNewLen)
{
  (void)session;
  bool rw;
  uint32_t born;
  struct tok_slot *slot = slot_of(hSession, &rw, &born);
  if (slot == NULL) return CKR_SESSION_HANDLE_INVALID;
  if (!rw) return CKR_SESSION_READ_ONLY;
  if (pOldPin == NULL || pNewPin == NULL) return CKR_ARGUMENTS_BAD;
  return still_there(slot, born, tok_auth_set_pin(slot, pOldPin, ulOldLen, pNewPin, ulNewLen));
}
