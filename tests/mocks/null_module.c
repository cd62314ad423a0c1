/* A module that does next to nothing: one token, any number of sessions, constant answers. What a traced call costs
 * over a direct one is seen sharper here than on a token that works. Thread-safe, since it keeps no state. */
#include <string.h>

#include "shim/spec/pkcs11.h"

#define EXPORT __attribute__((visibility("default")))

enum { THE_SLOT = 1, THE_SESSION = 1, THE_KEY = 7, SIGNATURE_BYTES = 256 };

/* The functions of 2.40 answer CKR_FUNCTION_NOT_SUPPORTED until fill() has put a better one in place. */
#define IN_2_40_V2_40(...) __VA_ARGS__
#define IN_2_40_V3_0(...)
#define IN_2_40_V3_2(...)

#define ARGUMENT(ctx, ctype, name, kind) ctype name __attribute__((unused))
#define UNSUPPORTED(name, ...)                                        \
  static CK_RV unsupported_##name(P11_LIST(ARGUMENT, 0, __VA_ARGS__)) \
  {                                                                   \
    return CKR_FUNCTION_NOT_SUPPORTED;                                \
  }
#define F(name, since, group, class_, ...) IN_2_40_##since(UNSUPPORTED(name, __VA_ARGS__))
#include "shim/spec/functions.def"

static CK_FUNCTION_LIST list = {
    {2, 40},
#define F(name, since, ...) IN_2_40_##since(unsupported_##name, )
#include "shim/spec/functions.def"
};

static void pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
  memset(field, ' ', size);
  memcpy(field, text, strlen(text));
}
#define PAD(field, text) pad(field, sizeof(field), text)

static CK_RV initialize(CK_VOID_PTR args)
{
  (void)args;
  return CKR_OK;
}

static CK_RV finalize(CK_VOID_PTR reserved)
{
  (void)reserved;
  return CKR_OK;
}

static CK_RV get_info(CK_INFO *info)
{
  memset(info, 0, sizeof *info);
  info->cryptokiVersion = (CK_VERSION){2, 40};
  PAD(info->manufacturerID, "p11trace tests");
  PAD(info->libraryDescription, "constant answers");
  return CKR_OK;
}

static CK_RV get_slot_list(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
  (void)present;
  CK_ULONG room = *count;
  *count = 1;
  if (slots == NULL) return CKR_OK;
  if (room < 1) return CKR_BUFFER_TOO_SMALL;
  slots[0] = THE_SLOT;
  return CKR_OK;
}

static CK_SLOT_INFO slot_info = {.flags = CKF_TOKEN_PRESENT};
static CK_TOKEN_INFO token_info = {.flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED,
                                   .ulMaxPinLen = 64,
                                   .ulMinPinLen = 4};

static CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
  if (slot != THE_SLOT) return CKR_SLOT_ID_INVALID;
  *info = slot_info;
  return CKR_OK;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
  if (slot != THE_SLOT) return CKR_SLOT_ID_INVALID;
  *info = token_info;
  return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session)
{
  (void)flags, (void)application, (void)notify;
  if (slot != THE_SLOT) return CKR_SLOT_ID_INVALID;
  *session = THE_SESSION;
  return CKR_OK;
}

static CK_RV session_call(CK_SESSION_HANDLE session)
{
  return session == THE_SESSION ? CKR_OK : CKR_SESSION_HANDLE_INVALID;
}

static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
  if (session != THE_SESSION) return CKR_SESSION_HANDLE_INVALID;
  *info = (CK_SESSION_INFO){
      .slotID = THE_SLOT, .state = CKS_RW_USER_FUNCTIONS, .flags = CKF_RW_SESSION | CKF_SERIAL_SESSION};
  return CKR_OK;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG length)
{
  (void)user, (void)pin, (void)length;
  return session_call(session);
}

static CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
  (void)template, (void)count;
  return session_call(session);
}

static CK_RV find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG room, CK_ULONG *count)
{
  *count = room > 0;
  if (room > 0) objects[0] = THE_KEY;
  return session_call(session);
}

/* Every attribute is eight bytes long. */
static CK_RV get_attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
  static const CK_ULONG value = 3;
  if (object != THE_KEY) return CKR_OBJECT_HANDLE_INVALID;
  CK_RV rv = session_call(session);
  for (CK_ULONG i = 0; i < count; i++) {
    if (template[i].pValue != NULL) {
      if (template[i].ulValueLen >= sizeof value) {
        memcpy(template[i].pValue, &value, sizeof value);
      } else {
        rv = CKR_BUFFER_TOO_SMALL;
      }
    }
    template[i].ulValueLen = sizeof value;
  }
  return rv;
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
  (void)mechanism, (void)key;
  return session_call(session);
}

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *length)
{
  (void)data, (void)data_len;
  CK_ULONG room = *length;
  *length = SIGNATURE_BYTES;
  if (signature == NULL) return session_call(session);
  if (room < SIGNATURE_BYTES) return CKR_BUFFER_TOO_SMALL;
  memset(signature, 0x5a, SIGNATURE_BYTES);
  return session_call(session);
}

EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out);
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
  *out = &list;
  return CKR_OK;
}

__attribute__((constructor)) static void fill(void)
{
  PAD(slot_info.slotDescription, "null slot");
  PAD(slot_info.manufacturerID, "p11trace tests");
  PAD(token_info.label, "null token");
  PAD(token_info.manufacturerID, "p11trace tests");
  PAD(token_info.model, "null");
  PAD(token_info.serialNumber, "1");
  PAD(token_info.utcTime, "");
  list.C_Initialize = initialize;
  list.C_Finalize = finalize;
  list.C_GetInfo = get_info;
  list.C_GetFunctionList = C_GetFunctionList;
  list.C_GetSlotList = get_slot_list;
  list.C_GetSlotInfo = get_slot_info;
  list.C_GetTokenInfo = get_token_info;
  list.C_OpenSession = open_session;
  list.C_CloseSession = session_call;
  list.C_GetSessionInfo = get_session_info;
  list.C_Login = login;
  list.C_Logout = session_call;
  list.C_FindObjectsInit = find_init;
  list.C_FindObjects = find;
  list.C_FindObjectsFinal = session_call;
  list.C_GetAttributeValue = get_attributes;
  list.C_SignInit = sign_init;
  list.C_Sign = sign;
}
