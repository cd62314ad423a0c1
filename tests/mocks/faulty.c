/* A module with one fault, or a few: everything goes to the module P11FAULTY_MODULE, except what P11FAULTY names. It lies between the
 * shim and a healthy module (client -> shim -> faulty -> SoftHSM), so that the rules are tested on traces of real clients.
 *
 *   info-fail version-1 version-20 info-flags             C_GetInfo
 *   slot-grow slot-overflow slot-twice slot-general       C_GetSlotList
 *   nul-pad bad-utf8 dup-label empty-label nss-label no-pininit-flag
 *                                                         C_GetTokenInfo
 *   rw-state-wrong rw-flag-wrong serial-clear state-99 slot-wrong stale-state
 *                                                         C_GetSessionInfo
 *   already-but-public badpin-general badpin-device badpin-len badpin-vendor locked-incorrect absent-after-login
 *                                                         C_Login
 *   null-session-ok null-session-general parallel-ok      sessions
 *   session-dies    the first C_GetSessionInfo finds its session gone; not a fault of the rules
 *   missing-label   no object has CKA_LABEL, answered as the standard says: not a fault of C_GetAttributeValue
 *   unavail-zero unavail-ok unavail-abort unavail-lie unavail-whole
 *                   the same, answered wrongly
 *   label-trailing label-nul label-empty                  CKA_LABEL of certificates
 *   none            nothing */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pkcs11.h"

static CK_FUNCTION_LIST list;           /* what we hand out */
static CK_FUNCTION_LIST_PTR target;     /* the healthy module's */
static CK_SESSION_HANDLE first_session; /* null-session-ok: what 0 stands for */
static CK_BBOOL absent;                 /* absent-after-login: the card was pulled */

/* P11FAULTY is a list with commas. */
static int fault_is(const char *name)
{
  const size_t length = strlen(name);
  for (const char *at = getenv("P11FAULTY"); at != NULL && *at; at += strcspn(at, ","), at += *at == ',')
    if (strcspn(at, ",") == length && !strncmp(at, name, length)) return 1;
  return 0;
}

static CK_RV faulty_GetInfo(CK_INFO_PTR info)
{
  if (fault_is("info-fail")) return CKR_GENERAL_ERROR;
  const CK_RV rv = target->C_GetInfo(info);
  if (rv != CKR_OK) return rv;
  if (fault_is("version-1")) info->cryptokiVersion = (CK_VERSION){1, 0};
  if (fault_is("version-20")) info->cryptokiVersion = (CK_VERSION){2, 0};
  if (fault_is("info-flags")) info->flags = 1;
  return rv;
}

static CK_RV faulty_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR slots, CK_ULONG_PTR count)
{
  const CK_ULONG room = slots != NULL && count != NULL ? *count : 0;
  const CK_RV rv = target->C_GetSlotList(present, slots, count);
  if (rv != CKR_OK || slots == NULL) return rv;
  if (fault_is("slot-general")) return CKR_GENERAL_ERROR;
  if (fault_is("slot-grow")) {
    *count = room + 1;
    return CKR_BUFFER_TOO_SMALL;
  }
  if (fault_is("slot-overflow")) *count = room + 1;
  if (fault_is("slot-twice") && *count > 1) slots[1] = slots[0];
  return rv;
}

static CK_RV faulty_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO_PTR info)
{
  const CK_RV rv = target->C_GetSlotInfo(slot, info);
  if (rv == CKR_OK && absent) info->flags &= ~(CK_FLAGS)CKF_TOKEN_PRESENT;
  return rv;
}

static void set_label(CK_TOKEN_INFO_PTR info, const char *label)
{
  memset(info->label, ' ', sizeof info->label);
  memcpy(info->label, label, strlen(label));
}

static CK_RV faulty_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
  const CK_RV rv = target->C_GetTokenInfo(slot, info);
  if (rv != CKR_OK || !(info->flags & CKF_TOKEN_INITIALIZED)) return rv;
  if (fault_is("nul-pad"))
    for (size_t i = sizeof info->label; i && info->label[i - 1] == ' '; i--) info->label[i - 1] = 0;
  if (fault_is("bad-utf8"))
    info->label[sizeof info->label - 1] = 0xc3; /* a character that was cut at the field's end */
  if (fault_is("dup-label")) set_label(info, "Twin");
  if (fault_is("empty-label")) set_label(info, "");
  if (fault_is("nss-label")) set_label(info, "NSS Certificate DB");
  if (fault_is("no-pininit-flag")) info->flags &= ~(CK_FLAGS)CKF_USER_PIN_INITIALIZED;
  if (fault_is("locked-incorrect")) info->flags |= CKF_USER_PIN_LOCKED;
  return rv;
}

/* False: the call has been answered with *rv. */
static int session_of(CK_SESSION_HANDLE_PTR session, CK_RV *rv)
{
  if (*session != 0) return 1;
  if (fault_is("null-session-ok") && first_session != 0) *session = first_session;
  if (!fault_is("null-session-general")) return 1;
  *rv = CKR_GENERAL_ERROR;
  return 0;
}

static CK_RV faulty_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                                CK_SESSION_HANDLE_PTR session)
{
  if (fault_is("parallel-ok")) flags |= CKF_SERIAL_SESSION;
  const CK_RV rv = target->C_OpenSession(slot, flags, application, notify, session);
  if (rv == CKR_OK && first_session == 0) first_session = *session;
  return rv;
}

static CK_RV faulty_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO_PTR info)
{
  CK_RV rv;
  if (!session_of(&session, &rv)) return rv;
  static CK_BBOOL died;
  if (fault_is("session-dies") && !died) {
    died = CK_TRUE;
    return CKR_SESSION_HANDLE_INVALID;
  }
  rv = target->C_GetSessionInfo(session, info);
  if (rv != CKR_OK) return rv;
  const CK_BBOOL rw = (info->flags & CKF_RW_SESSION) != 0;
  if (fault_is("rw-state-wrong") && !rw)
    info->state = info->state == CKS_RO_USER_FUNCTIONS ? CKS_RW_USER_FUNCTIONS : CKS_RW_PUBLIC_SESSION;
  if (fault_is("rw-flag-wrong")) info->flags ^= CKF_RW_SESSION;
  if (fault_is("serial-clear")) info->flags &= ~(CK_FLAGS)CKF_SERIAL_SESSION;
  if (fault_is("state-99")) info->state = 99;
  if (fault_is("slot-wrong")) info->slotID++;
  if (fault_is("stale-state") || absent) info->state = rw ? CKS_RW_PUBLIC_SESSION : CKS_RO_PUBLIC_SESSION;
  return rv;
}

static CK_RV faulty_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length)
{
  CK_RV rv;
  if (!session_of(&session, &rv)) return rv;
  if (fault_is("already-but-public") && user == CKU_USER) return CKR_USER_ALREADY_LOGGED_IN;
  rv = target->C_Login(session, user, pin, length);
  if (rv == CKR_OK && fault_is("absent-after-login")) absent = CK_TRUE;
  if (fault_is("locked-incorrect")) return CKR_PIN_INCORRECT;
  if (rv != CKR_PIN_INCORRECT) return rv;
  if (fault_is("badpin-general")) return CKR_GENERAL_ERROR;
  if (fault_is("badpin-device")) return CKR_DEVICE_ERROR;
  if (fault_is("badpin-len")) return CKR_PIN_LEN_RANGE;
  if (fault_is("badpin-vendor")) return CKR_VENDOR_DEFINED | 0x63c2;
  return rv;
}

static CK_RV faulty_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
  CK_RV rv;
  return session_of(&session, &rv) ? target->C_FindObjectsInit(session, template, count) : rv;
}

static CK_RV faulty_FindObjectsFinal(CK_SESSION_HANDLE session)
{
  CK_RV rv;
  return session_of(&session, &rv) ? target->C_FindObjectsFinal(session) : rv;
}

/* --- C_GetAttributeValue -------------------------------------------------------------------------- */

static CK_BBOOL is_certificate(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
  CK_OBJECT_CLASS class = 0;
  CK_ATTRIBUTE a = {CKA_CLASS, &class, sizeof class};
  return target->C_GetAttributeValue(session, object, &a, 1) == CKR_OK && class == CKO_CERTIFICATE;
}

/* One attribute as an object has it that has no CKA_LABEL. */
static CK_RV without_label(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a)
{
  if (a->type != CKA_LABEL) return target->C_GetAttributeValue(session, object, a, 1);
  a->ulValueLen = fault_is("unavail-zero") ? 0 : CK_UNAVAILABLE_INFORMATION;
  return CKR_ATTRIBUTE_TYPE_INVALID;
}

static CK_RV each_without_label(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                CK_ULONG count)
{
  CK_RV result = CKR_OK;
  for (CK_ULONG i = 0; i < count; i++) {
    const CK_RV rv = without_label(session, object, &template[i]);
    if (rv != CKR_OK) result = rv;
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID && fault_is("unavail-abort")) break;
  }
  return fault_is("unavail-ok") && result == CKR_ATTRIBUTE_TYPE_INVALID ? CKR_OK : result;
}

/* The label of the object with `tail` behind it. */
static CK_RV with_tail(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR a, char tail)
{
  CK_BYTE text[256];
  CK_ATTRIBUTE label = {CKA_LABEL, text, sizeof text - 1};
  const CK_RV rv = target->C_GetAttributeValue(session, object, &label, 1);
  if (rv != CKR_OK) return rv;
  text[label.ulValueLen++] = (CK_BYTE)tail;
  if (fault_is("label-empty")) label.ulValueLen = 0;
  if (a->pValue == NULL) {
    a->ulValueLen = label.ulValueLen;
    return CKR_OK;
  }
  if (a->ulValueLen < label.ulValueLen) {
    a->ulValueLen = CK_UNAVAILABLE_INFORMATION;
    return CKR_BUFFER_TOO_SMALL;
  }
  memcpy(a->pValue, text, label.ulValueLen);
  a->ulValueLen = label.ulValueLen;
  return CKR_OK;
}

static CK_RV each_with_tail(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                            CK_ULONG count, char tail)
{
  CK_RV result = CKR_OK;
  const CK_BBOOL certificate = is_certificate(session, object);
  for (CK_ULONG i = 0; i < count; i++) {
    const CK_RV rv = certificate && template[i].type == CKA_LABEL
                         ? with_tail(session, object, &template[i], tail)
                         : target->C_GetAttributeValue(session, object, &template[i], 1);
    if (rv != CKR_OK) result = rv;
  }
  return result;
}

static CK_BBOOL has_label(CK_ATTRIBUTE_PTR template, CK_ULONG count)
{
  for (CK_ULONG i = 0; i < count; i++)
    if (template[i].type == CKA_LABEL) return CK_TRUE;
  return CK_FALSE;
}

static CK_RV faulty_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template,
                                      CK_ULONG count)
{
  if (template == NULL || session == 0) return target->C_GetAttributeValue(session, object, template, count);
  if (fault_is("label-trailing") || fault_is("label-empty"))
    return each_with_tail(session, object, template, count, ' ');
  if (fault_is("label-nul")) return each_with_tail(session, object, template, count, 0);
  const CK_BBOOL several = count > 1 && has_label(template, count);
  if (several && fault_is("unavail-whole")) return CKR_GENERAL_ERROR;
  if (fault_is("missing-label") || fault_is("unavail-zero") || fault_is("unavail-ok") || fault_is("unavail-abort") ||
      (several && fault_is("unavail-lie")))
    return each_without_label(session, object, template, count);
  return target->C_GetAttributeValue(session, object, template, count);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR result);

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR result)
{
  if (result == NULL) return CKR_ARGUMENTS_BAD;
  if (target == NULL) {
    const char *path = getenv("P11FAULTY_MODULE");
    void *handle = dlopen(path != NULL ? path : "/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW | RTLD_LOCAL);
    CK_C_GetFunctionList get;
    if (handle == NULL) {
      fprintf(stderr, "faulty: %s\n", dlerror());
      return CKR_GENERAL_ERROR;
    }
    *(void **)&get = dlsym(handle, "C_GetFunctionList");
    if (get == NULL || get(&target) != CKR_OK) return CKR_GENERAL_ERROR;
  }
  list = *target;
  list.C_GetFunctionList = C_GetFunctionList;
  list.C_GetInfo = faulty_GetInfo;
  list.C_GetSlotList = faulty_GetSlotList;
  list.C_GetSlotInfo = faulty_GetSlotInfo;
  list.C_GetTokenInfo = faulty_GetTokenInfo;
  list.C_OpenSession = faulty_OpenSession;
  list.C_GetSessionInfo = faulty_GetSessionInfo;
  list.C_Login = faulty_Login;
  list.C_FindObjectsInit = faulty_FindObjectsInit;
  list.C_FindObjectsFinal = faulty_FindObjectsFinal;
  list.C_GetAttributeValue = faulty_GetAttributeValue;
  *result = &list;
  return CKR_OK;
}
