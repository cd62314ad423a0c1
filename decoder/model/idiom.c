#include "decoder/model/idiom.h"

#include <string.h>

/* What a thread called last. A table by thread that forgets: a collision costs a name, no more. */
#define THREADS 64

struct last {
  uint32_t tid;
  int16_t function;
  bool is_private; /* C_GetAttributeValue: of CKA_PRIVATE */
  uint64_t end, rv, handle, count;
  uint64_t login; /* the number of a login that may have been for what comes now; 0 none */
  bool checked;   /* IDIOM_PASSWORD */
};

struct threads {
  struct last last[THREADS];
};
static const struct kept_type threads_type = {sizeof(struct threads), NULL};

/* Of a slot: has NSS looked for certificates? */
struct searched {
  bool certificates;
};
static const struct kept_type searched_type = {sizeof(struct searched), NULL};

const char *idiom_text(enum idiom idiom)
{
  static const char *const text[IDIOM_COUNT] = {
#define IDIOM(name, by, meaning) [IDIOM_##name] = meaning " (" by ")",
#include "decoder/model/idioms.def"
#undef IDIOM
  };
  return text[idiom];
}

bool idiom_may_turn(enum idiom idiom)
{
  return idiom == IDIOM_LOGIN || idiom == IDIOM_PASSWORD;
}

static bool interface_is(const struct call *call, const char *name)
{
  const struct value *v = &call->arg[0].in;
  return v->what == VALUE_BYTES && v->bytes && v->kept == strlen(name) && !memcmp(v->bytes, name, v->kept);
}

static enum idiom of_search(const struct call *call)
{
  uint64_t class;
  const struct value *t = pick_template(call);
  if (!pick_attribute_number(t, CKA_CLASS, &class)) return IDIOM_NONE;
  if (class == CKO_PROFILE || class == CKO_NSS_BUILTIN_ROOT_LIST) return IDIOM_TOKEN_SEEN;
  if ((class == CKO_PUBLIC_KEY || class == CKO_PRIVATE_KEY) && pick_attribute(t, CKA_ID)) return IDIOM_USER_CERTIFICATE;
  return IDIOM_NONE;
}

static enum idiom of_login(const struct call *call, const struct last *last)
{
  uint64_t user;
  if (!pick_in(call, 1, &user)) return IDIOM_NONE;
  if (user == CKU_CONTEXT_SPECIFIC) return IDIOM_CONTEXT_LOGIN;
  if (last->function == P11_F_C_Logout && call->start - last->end < 1000000) return IDIOM_PASSWORD;
  if (user == CKU_SO) return IDIOM_LOGIN_SO;
  if (user != CKU_USER) return IDIOM_NONE;
  /* PK11_DoPassword: pk11_CheckPassword says SECWouldBlock to a wrong PIN, and the user is asked again. */
  if (last->function == P11_F_C_Login && last->rv == CKR_PIN_INCORRECT) return IDIOM_LOGIN_AGAIN;
  /* PK11_MakePrivKey reads CKA_PRIVATE of the key that was found, and logs in if it is true. */
  if (last->function == P11_F_C_GetAttributeValue && last->is_private) return IDIOM_LOGIN_KEY;
  return IDIOM_LOGIN;
}

static enum idiom of_create(const struct call *call)
{
  uint64_t class, token;
  const struct value *t = pick_template(call);
  if (!pick_attribute_number(t, CKA_CLASS, &class) || !pick_attribute_number(t, CKA_TOKEN, &token) || !token)
    return IDIOM_NONE;
  return class == CKO_CERTIFICATE ? IDIOM_IMPORT_CERTIFICATE : class == CKO_PRIVATE_KEY ? IDIOM_IMPORT_KEY : IDIOM_NONE;
}

/* The second read of a template that had NULL buffers. */
static bool reads_again(const struct call *call, const struct last *last)
{
  uint64_t object, count;
  return last->function == P11_F_C_GetAttributeValue && pick_in(call, 1, &object) && pick_in(call, 3, &count) &&
         object == last->handle && count == last->count;
}

static enum idiom of_sign(const struct call *call, const struct last *last)
{
  uint64_t room;
  if (pick_is_null(call, 3)) return IDIOM_SIGN_LENGTH;
  if (last->function == P11_F_C_Sign && pick_in(call, 4, &room) && room == 20) return IDIOM_SIGN_LENGTH;
  return IDIOM_SIGN;
}

static bool waits(const struct model_module *m)
{
  return m->active > 0;
}

static enum idiom recognise(const struct model_place *place, const struct call *call, const struct last *last)
{
  switch (call->known) {
    case P11_F_C_GetInterface: return interface_is(call, "Vendor NSS FIPS Interface") ? IDIOM_FIPS_PROBE : IDIOM_LOAD;
    case P11_F_C_GetFunctionList:
    case P11_F_C_Initialize:
    case P11_F_C_GetInfo: return IDIOM_LOAD;
    case P11_F_C_GetSlotInfo: return IDIOM_PRESENCE;
    case P11_F_C_GetSessionInfo: return last->function == P11_F_C_GetSlotInfo ? IDIOM_PRESENCE : IDIOM_LOGGED_IN;
    case P11_F_C_SeedRandom: return last->function == P11_F_C_GenerateRandom ? IDIOM_TOKEN_SEEN : IDIOM_NONE;
    case P11_F_C_FindObjectsInit: return of_search(call);
    case P11_F_C_Login: return of_login(call, last);
    case P11_F_C_GetAttributeValue: return reads_again(call, last) ? IDIOM_SECOND_READ : IDIOM_NONE;
    case P11_F_C_SetAttributeValue: return pick_attribute(pick_template(call), CKA_ID) ? IDIOM_SET_ID : IDIOM_NONE;
    case P11_F_C_SignInit: return IDIOM_SIGN;
    case P11_F_C_Sign: return of_sign(call, last);
    case P11_F_C_DigestFinal:
    case P11_F_C_EncryptFinal:
    case P11_F_C_DecryptFinal:
    case P11_F_C_SignFinal: return call->rv == CKR_OPERATION_NOT_INITIALIZED ? IDIOM_CLEAN_UP : IDIOM_NONE;
    case P11_F_C_GenerateKeyPair: return IDIOM_GENERATE;
    case P11_F_C_CreateObject: return of_create(call);
    case P11_F_C_CloseAllSessions: return IDIOM_SHUTDOWN;
    case P11_F_C_Finalize: return waits(place->module) ? IDIOM_CANCEL_WAIT : IDIOM_SHUTDOWN;
    case P11_F_C_CopyObject: return pick_is_null(call, 2) ? IDIOM_TEMPORARY : IDIOM_NONE;
    default: return IDIOM_NONE;
  }
}

/* Without CKA_LABEL or the like: all of the token's. */
static bool lists_certificates(const struct call *call)
{
  uint64_t class, count;
  return call->known == P11_F_C_FindObjectsInit && pick_attribute_number(pick_template(call), CKA_CLASS, &class) &&
         class == CKO_CERTIFICATE && pick_in(call, 2, &count) && count == 2;
}

/* What NSS does on the way from a login to what it was for: trust of certificates that other tokens have is looked for in all. */
static bool looks_only(const struct call *call)
{
  uint64_t class;
  if (call->known == P11_F_C_FindObjectsInit)
    return pick_attribute_number(pick_template(call), CKA_CLASS, &class) &&
           (class == CKO_TRUST || class == CKO_NSS_TRUST);
  if (call->known == P11_F_C_FindObjects || call->known == P11_F_C_FindObjectsFinal) return true;
  return call->known == P11_F_C_GetSessionInfo || call->known == P11_F_C_GetSlotInfo ||
         call->known == P11_F_C_OpenSession || call->known == P11_F_C_CloseSession;
}

/* PK11_CheckUserPassword before PK11_ChangePW; and a token whose certificates NSS looks for only after the login, which it does
 * where the module is not marked friendly: the first thing then is the search that wanted the login. */
static void look_back(struct model_place *place, const struct call *call, struct last *last)
{
  struct searched *s = place->slot ? kept_make(&place->slot->kept, &searched_type) : NULL;
  const bool lists = lists_certificates(call);
  if (last->login && !looks_only(call)) {
    place->turned.number = last->login;
    place->turned.idiom = IDIOM_NONE;
    if (call->known == P11_F_C_SetPIN && last->checked) place->turned.idiom = IDIOM_PIN_CHANGE;
    if (lists && !last->checked && s && !s->certificates) place->turned.idiom = IDIOM_LOGIN_LISTS;
    if (!place->turned.idiom) place->turned.number = 0;
    last->login = 0;
  }
  if (s && lists) s->certificates = true;
  if (!place->turned.number || !place->slot) return;
  struct note *login = &place->slot->last.login;
  if (login->number == place->turned.number && idiom_may_turn(login->idiom)) login->idiom = place->turned.idiom;
}

enum idiom idiom_of(struct model_place *place, const struct call *call)
{
  struct model_module *m = place->module;
  /* Its first calls come before C_Initialize tells that it is NSS: they are named when it does. */
  if (call->state != CALL_DONE || call->known < 0 || call->flags & P11T_PROBE || !m->nss) return IDIOM_NONE;
  struct threads *t = kept_make(&m->kept, &threads_type);
  struct last *last = &t->last[call->tid % THREADS];
  if (last->tid != call->tid) *last = (struct last){.tid = call->tid, .function = -1};
  const enum idiom idiom = recognise(place, call, last);
  look_back(place, call, last);
  if (call->rv == CKR_OK && idiom_may_turn(idiom)) {
    last->login = call->number;
    last->checked = idiom == IDIOM_PASSWORD;
  }
  last->function = (int16_t)call->known;
  last->end = call->end;
  last->rv = call->rv;
  if (call->known == P11_F_C_GetAttributeValue) {
    last->is_private = pick_attribute(pick_template(call), CKA_PRIVATE) != NULL;
    if (!pick_in(call, 1, &last->handle)) last->handle = 0;
    if (!pick_in(call, 3, &last->count)) last->count = 0;
  }
  return idiom;
}
