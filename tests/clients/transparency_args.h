/* Arguments for any function, made from the kinds in functions.def, and a token in the state that it needs. */
#ifndef TRANSPARENCY_ARGS_H
#define TRANSPARENCY_ARGS_H

#include "arena.h"

#define ARG_BYTES 32    /* input buffers */
#define ARG_ROOM 512    /* output buffers */
#define ARG_ENTRIES 128 /* lists */

struct world {
  CK_FUNCTION_LIST_3_2_PTR list;
  CK_SESSION_HANDLE session;
  CK_SLOT_ID slot;
  CK_OBJECT_HANDLE secret, private_key, public_key;
  CK_OBJECT_HANDLE scrap; /* a session object, for functions that change or destroy one */
};

static const char *world_pin = "1234";
static bool args_random; /* the module's random numbers are random */

static bool arg_is_pointer(int kind)
{
  return kind >= P11_K_POINTER;
}
static bool arg_is_callback(const char *type)
{
  return strcmp(type, "CK_NOTIFY") == 0;
}
static CK_RV arg_callback(CK_SESSION_HANDLE session, CK_NOTIFICATION event, CK_VOID_PTR application)
{
  (void)session, (void)event, (void)application;
  return CKR_OK;
}

/* The input that an in-place operation shares with its output: the last one before it. -1: none. */
static int arg_in_place(const struct p11_function_info *f)
{
  int in = -1;
  for (int i = 0; i < f->arity; i++) {
    if (f->param[i].kind == P11_K_IN_BYTES) in = i;
    if (f->param[i].kind == P11_K_OUT_BYTES) return in;
  }
  return -1;
}

/* --- templates and mechanisms ----------------------------------------------------------------------------------- */

struct attribute {
  CK_ATTRIBUTE_TYPE type;
  const void *value;
  CK_ULONG size;
};

static const CK_ULONG class_data = CKO_DATA, class_secret = CKO_SECRET_KEY, sixteen = 16, aes = CKK_AES;
static const CK_ULONG class_private = CKO_PRIVATE_KEY, class_public = CKO_PUBLIC_KEY;
static const CK_BBOOL no = CK_FALSE, yes = CK_TRUE;
static const CK_BYTE p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};

/* clang-format off */
#define ATTRIBUTES(name, ...) static const struct attribute name[] = {__VA_ARGS__, {0, NULL, 0}}
ATTRIBUTES(for_object, {CKA_CLASS, &class_data, sizeof class_data}, {CKA_TOKEN, &no, 1}, {CKA_LABEL, "case", 4},
           {CKA_VALUE, "0123456789", 10});
ATTRIBUTES(for_find, {CKA_CLASS, &class_secret, sizeof class_secret}, {CKA_LABEL, "aes", 3});
ATTRIBUTES(for_copy, {CKA_LABEL, "copy", 4}, {CKA_TOKEN, &no, 1});
ATTRIBUTES(for_label, {CKA_LABEL, "again", 5});
ATTRIBUTES(for_secret, {CKA_CLASS, &class_secret, sizeof class_secret}, {CKA_KEY_TYPE, &aes, sizeof aes},
           {CKA_VALUE_LEN, &sixteen, sizeof sixteen}, {CKA_TOKEN, &no, 1}, {CKA_ENCRYPT, &yes, 1});
ATTRIBUTES(for_public, {CKA_EC_PARAMS, p256, sizeof p256}, {CKA_TOKEN, &no, 1});
ATTRIBUTES(for_private, {CKA_TOKEN, &no, 1}, {CKA_SIGN, &yes, 1});
ATTRIBUTES(for_query, {CKA_CLASS, NULL, 8}, {CKA_LABEL, NULL, 64}, {CKA_VALUE, NULL, 64}, {CKA_MODULUS, NULL, 4},
           {CKA_VENDOR_DEFINED + 1, NULL, 8}, {CKA_TOKEN, NULL, 1});
/* clang-format on */

static const struct attribute *template_of(int fn, int param)
{
  switch (fn) {
    case P11_F_C_CreateObject: return for_object;
    case P11_F_C_FindObjectsInit: return for_find;
    case P11_F_C_SetAttributeValue: return for_label;
    case P11_F_C_CopyObject: return for_copy;
    case P11_F_C_GenerateKeyPair: return param == 2 ? for_public : for_private;
    case P11_F_C_GetAttributeValue: return for_query;
    default: return for_secret;
  }
}

static CK_ULONG template_make(int fn, int param, uintptr_t *to)
{
  const struct attribute *from = template_of(fn, param);
  CK_ULONG n = 0;
  while (from[n].size != 0) n++;
  *to = arg_place(param, n * sizeof(CK_ATTRIBUTE));
  for (CK_ULONG i = 0; i < n; i++) {
    unsigned char *value = (unsigned char *)(ARG_BASE + (uintptr_t)param * ARG_STEP + i * 128);
    if (from[i].value != NULL) memcpy(value, from[i].value, from[i].size);
    ((CK_ATTRIBUTE_PTR)*to)[i] = (CK_ATTRIBUTE){from[i].type, value, from[i].size};
  }
  return n;
}

static CK_MECHANISM_TYPE mechanism_of(int fn)
{
  if (fn == P11_F_C_GenerateKey) return CKM_AES_KEY_GEN;
  if (fn == P11_F_C_GenerateKeyPair) return CKM_EC_KEY_PAIR_GEN;
  if (fn == P11_F_C_WrapKey || fn == P11_F_C_UnwrapKey) return CKM_AES_KEY_WRAP;
  switch (p11_functions[fn].group) {
    case P11_GROUP_DIGEST: return CKM_SHA256;
    case P11_GROUP_SIGN:
    case P11_GROUP_VERIFY: return CKM_SHA256_RSA_PKCS;
    default: return CKM_AES_CBC_PAD;
  }
}

static void mechanism_fill(int fn, CK_MECHANISM_PTR m, void *iv)
{
  *m = (CK_MECHANISM){mechanism_of(fn), NULL, 0};
  if (m->mechanism != CKM_AES_CBC_PAD) return;
  memset(iv, 0x3c, 16);
  m->pParameter = iv;
  m->ulParameterLen = 16;
}

/* --- the token -------------------------------------------------------------------------------------------------- */

static CK_OBJECT_HANDLE world_find(struct world *w, const CK_ULONG *class, const char *label)
{
  CK_ATTRIBUTE t[] = {
      {CKA_CLASS, (void *)(uintptr_t) class, sizeof *class},
      {CKA_LABEL, (void *)(uintptr_t)label,  strlen(label)}
  };
  CK_OBJECT_HANDLE object = 0;
  CK_ULONG n = 0;
  MUST(w->list->C_FindObjectsInit(w->session, t, 2));
  MUST(w->list->C_FindObjects(w->session, &object, 1, &n));
  MUST(w->list->C_FindObjectsFinal(w->session));
  if (n == 0) DIE("no object \"%s\" in the token", label);
  return object;
}

static void world_begin(struct world *w)
{
  CK_SLOT_ID slots[16];
  CK_ULONG n = 16;
  /* softoken must be told where its database is, and has it in the slot that wants a login. */
  char *parameters = getenv("TRANSPARENCY_PARAMETERS");
  CK_NSS_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK, .LibraryParameters = (CK_CHAR_PTR *)(void *)parameters};
  MUST(w->list->C_Initialize(parameters != NULL ? &args : NULL));
  MUST(w->list->C_GetSlotList(CK_TRUE, slots, &n));
  w->slot = slots[0];
  for (CK_ULONG i = 0; parameters != NULL && i < n; i++) {
    CK_TOKEN_INFO info;
    MUST(w->list->C_GetTokenInfo(slots[i], &info));
    if ((info.flags & CKF_LOGIN_REQUIRED) != 0) w->slot = slots[i];
  }
  MUST(w->list->C_OpenSession(w->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &w->session));
  MUST(w->list->C_Login(w->session, CKU_USER, (CK_UTF8CHAR_PTR)(uintptr_t)world_pin, strlen(world_pin)));
  CK_ATTRIBUTE scrap[] = {
      {CKA_CLASS, (void *)(uintptr_t)&class_data, sizeof class_data},
      {CKA_TOKEN, (void *)(uintptr_t)&no,         1                }
  };
  MUST(w->list->C_CreateObject(w->session, scrap, 2, &w->scrap));
  w->secret = world_find(w, &class_secret, "aes");
  w->private_key = world_find(w, &class_private, "rsa");
  w->public_key = world_find(w, &class_public, "rsa");
}

/* Begins the operation that the function goes on with. A module that refuses will do so in all runs. */
static void world_prepare(struct world *w, int fn)
{
  CK_FUNCTION_LIST_3_2_PTR l = w->list;
  CK_ATTRIBUTE any = {CKA_TOKEN, (void *)(uintptr_t)&yes, 1};
  CK_MECHANISM m;
  CK_BYTE iv[16];
  mechanism_fill(fn, &m, iv);
  switch (p11_functions[fn].group) {
    case P11_GROUP_ENCRYPT:
      if (fn != P11_F_C_EncryptInit) l->C_EncryptInit(w->session, &m, w->secret);
      break;
    case P11_GROUP_DECRYPT:
      if (fn != P11_F_C_DecryptInit) l->C_DecryptInit(w->session, &m, w->secret);
      break;
    case P11_GROUP_DIGEST:
      if (fn != P11_F_C_DigestInit) l->C_DigestInit(w->session, &m);
      break;
    case P11_GROUP_SIGN:
      if (fn != P11_F_C_SignInit && fn != P11_F_C_SignRecoverInit) l->C_SignInit(w->session, &m, w->private_key);
      break;
    case P11_GROUP_VERIFY:
      if (fn != P11_F_C_VerifyInit && fn != P11_F_C_VerifyRecoverInit) l->C_VerifyInit(w->session, &m, w->public_key);
      break;
    default:
      if (fn == P11_F_C_FindObjects) l->C_FindObjectsInit(w->session, &any, 1);
  }
}

/* --- the arguments ---------------------------------------------------------------------------------------------- */

static uintptr_t arg_number(const struct world *w, int fn, const struct p11_param *p)
{
  switch (p->kind) {
    case P11_K_SESSION: return w->session;
    case P11_K_SLOT: return w->slot;
    case P11_K_OBJECT: return fn == P11_F_C_GetAttributeValue || fn == P11_F_C_CopyObject ? w->secret : w->scrap;
    case P11_K_KEY:
      return p11_functions[fn].group == P11_GROUP_SIGN     ? w->private_key
             : p11_functions[fn].group == P11_GROUP_VERIFY ? w->public_key
                                                           : w->secret;
    case P11_K_ENUM: return p->aux == P11_DOM_CKM ? CKM_AES_CBC : 1;
    case P11_K_FLAGS:
      return fn == P11_F_C_OpenSession ? CKF_SERIAL_SESSION : fn == P11_F_C_WaitForSlotEvent ? CKF_DONT_BLOCK : 0;
    case P11_K_BOOL: return CK_TRUE;
    default: return 4; /* lengths are set with their buffers; this is the capacity of C_FindObjects */
  }
}

static void *arg_bytes(int i, size_t size, uintptr_t *to)
{
  *to = arg_place(i, size);
  for (size_t k = 0; k < size; k++) ((unsigned char *)*to)[k] = (unsigned char)(i * 16 + (int)k);
  return (void *)*to;
}

static void args_make(const struct world *w, int fn, uintptr_t *a)
{
  const struct p11_function_info *f = &p11_functions[fn];
  for (uintptr_t i = 0; i < f->arity; i++) memset((void *)(ARG_BASE + i * ARG_STEP), 0xa5, ARG_SIZE);
  for (int i = 0; i < f->arity; i++) a[i] = arg_is_pointer(f->param[i].kind) ? 0 : arg_number(w, fn, &f->param[i]);
  for (int i = 0; i < f->arity; i++) {
    const struct p11_param *p = &f->param[i];
    uintptr_t *length = p->link ? &a[p->link - 1] : NULL;
    switch (p->kind) {
      case P11_K_STRING: strcpy(arg_bytes(i, 8, &a[i]), fn == P11_F_C_GetInterface ? "PKCS 11" : "C_Sign"); break;
      case P11_K_CHARS: memset(arg_bytes(i, p->aux, &a[i]), 'L', p->aux); break;
      case P11_K_VERSION: *(CK_VERSION *)arg_bytes(i, sizeof(CK_VERSION), &a[i]) = (CK_VERSION){2, 40}; break;
      case P11_K_IN_BYTES:
      case P11_K_MESSAGE_PARAM:
      case P11_K_OUT_BYTES_OF:
        arg_bytes(i, ARG_BYTES, &a[i]);
        *length = ARG_BYTES;
        break;
      case P11_K_PIN: memcpy(arg_bytes(i, strlen(world_pin), &a[i]), world_pin, *length = strlen(world_pin)); break;
      case P11_K_TEMPLATE:
      case P11_K_OUT_TEMPLATE: *length = template_make(fn, i, &a[i]); break;
      case P11_K_MECHANISM:
        mechanism_fill(fn, arg_bytes(i, sizeof(CK_MECHANISM), &a[i]), (void *)(ARG_BASE + (uintptr_t)i * ARG_STEP));
        break;
      case P11_K_INIT_ARGS:
        *(CK_C_INITIALIZE_ARGS_PTR)arg_bytes(i, sizeof(CK_C_INITIALIZE_ARGS), &a[i]) =
            (CK_C_INITIALIZE_ARGS){NULL, NULL, NULL, NULL, CKF_OS_LOCKING_OK, NULL};
        break;
      case P11_K_OUT_BYTES: arg_bytes(i, ARG_ROOM, &a[i]); break;
      case P11_K_OUT_LENGTH: *(CK_ULONG_PTR)arg_bytes(i, sizeof(CK_ULONG), &a[i]) = ARG_ENTRIES; break;
      case P11_K_OUT_SLOTS:
      case P11_K_OUT_MECHANISMS: arg_bytes(i, ARG_ENTRIES * sizeof(CK_ULONG), &a[i]); break;
      case P11_K_OUT_INTERFACES: arg_bytes(i, ARG_ENTRIES * sizeof(CK_INTERFACE), &a[i]); break;
      case P11_K_OUT_OBJECTS: arg_bytes(i, 4 * sizeof(CK_OBJECT_HANDLE), &a[i]); break;
      case P11_K_OUT_STRUCT: arg_bytes(i, p11_struct_info(p->aux)->size, &a[i]); break;
      case P11_K_OUT_NUMBER:
      case P11_K_OUT_FLAGS:
      case P11_K_OUT_SLOT:
      case P11_K_OUT_SESSION:
      case P11_K_OUT_OBJECT:
      case P11_K_OUT_FUNCTION_LIST:
      case P11_K_OUT_INTERFACE: arg_bytes(i, sizeof(CK_ULONG), &a[i]); break;
      default: break;
    }
  }
  for (int i = 0; i < f->arity; i++) { /* room for buffers is counted in bytes */
    if (f->param[i].kind == P11_K_OUT_BYTES) *(CK_ULONG_PTR)a[f->param[i].link - 1] = ARG_ROOM;
  }
}

/* Addresses in outputs differ from run to run by right: names and versions behind them stay, they go. */
static void interface_forget(CK_INTERFACE_PTR i)
{
  CK_VERSION *v = i->pFunctionList;
  uint64_t name = 0;
  for (const unsigned char *c = i->pInterfaceName; *c; c++) name = name * 31 + *c;
  i->pInterfaceName = (CK_UTF8CHAR_PTR)(uintptr_t)name;
  i->pFunctionList = (CK_VOID_PTR)(uintptr_t)(v->major * 256u + v->minor);
}

static void args_forget(int fn, CK_RV rv, const uintptr_t *a)
{
  const struct p11_function_info *f = &p11_functions[fn];
  for (int i = 0; i < f->arity && rv == CKR_OK; i++) {
    if (a[i] == 0) continue;
    switch (f->param[i].kind) {
      case P11_K_OUT_FUNCTION_LIST: {
        CK_FUNCTION_LIST_PTR *list = (CK_FUNCTION_LIST_PTR_PTR)a[i];
        *list = (CK_FUNCTION_LIST_PTR)(uintptr_t)((*list)->version.major * 256u + (*list)->version.minor);
        break;
      }
      case P11_K_OUT_INTERFACE: {
        CK_INTERFACE copy = **(CK_INTERFACE_PTR_PTR)a[i];
        interface_forget(&copy);
        *(uintptr_t *)a[i] = (uintptr_t)copy.pInterfaceName * 31 + (uintptr_t)copy.pFunctionList + copy.flags;
        break;
      }
      case P11_K_OUT_INTERFACES:
        for (CK_ULONG k = 0; k < *(CK_ULONG_PTR)a[f->param[i].link - 1]; k++)
          interface_forget((CK_INTERFACE_PTR)a[i] + k);
        break;
      case P11_K_OUT_SESSION:
      case P11_K_OUT_OBJECT: /* SoftHSM counts sessions and objects in the order of addresses */
        if (args_random) *(CK_ULONG_PTR)a[i] = 0;
        break;
      case P11_K_OUT_OBJECTS:
        if (args_random) memset((void *)a[i], 0, 4 * sizeof(CK_OBJECT_HANDLE));
        break;
      case P11_K_OUT_BYTES_OF:
        if (args_random) memset((void *)a[i], 0, a[f->param[i].link - 1]);
        break;
      case P11_K_OUT_STRUCT:
        if (args_random && f->param[i].aux == P11_S_CK_TOKEN_INFO)
          memset(((CK_TOKEN_INFO_PTR)a[i])->utcTime, 0, sizeof((CK_TOKEN_INFO_PTR)a[i])->utcTime);
        break;
      default: break;
    }
  }
}

#endif
