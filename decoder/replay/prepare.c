/* The objects that a trace expects to find, made on empty tokens: certificates as they were, fresh keys of the same kinds. */
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/guard.h"
#include "decoder/replay/maps.h"
#include "decoder/replay/payload.h"
#include "decoder/replay/prepare_part.h"

static bool could_not(struct prepare *p, const char *what, CK_RV rv)
{
  snprintf(p->player->results->error, sizeof p->player->results->error, "--prepare: %s%s%s", what,
           rv == CKR_OK ? "" : ": ", rv == CKR_OK ? "" : prepare_code(p, rv));
  return false;
}

static uint64_t class_of(const struct portrait *portrait)
{
  uint64_t class = UINT64_MAX;
  portrait_number(portrait, CKA_CLASS, &class);
  return class;
}

/* What tokens have of their own: nobody makes it. */
static bool is_the_tokens_own(uint64_t class)
{
  return class == CKO_HW_FEATURE || class == CKO_MECHANISM || class == CKO_PROFILE || class == CKO_VALIDATION ||
         class == CKO_NSS_BUILTIN_ROOT_LIST;
}

/* A certificate of the trace that is on the token already. */
static bool is_there(struct prepare *p, struct prepare_list *list, CK_OBJECT_HANDLE object)
{
  static uint8_t value[65536];
  CK_ATTRIBUTE a = {CKA_VALUE, value, sizeof value};
  if (p->f->C_GetAttributeValue(p->session, object, &a, 1) != CKR_OK || a.ulValueLen > sizeof value) return false;
  for (size_t i = 0; i < list->count; i++) {
    size_t length;
    const uint8_t *known = list->at[i] && class_of(list->at[i]) == CKO_CERTIFICATE
                               ? portrait_bytes(list->at[i], CKA_VALUE, &length)
                               : NULL;
    if (!known || length != a.ulValueLen || memcmp(known, value, length) != 0) continue;
    list->at[i] = NULL; /* not once more */
    return true;
  }
  return false;
}

/* Is the token empty but for what it has of its own, and for certificates that would be made? */
static bool is_empty(struct prepare *p, struct prepare_list *list)
{
  const CK_FUNCTION_LIST_3_2 *f = p->f;
  CK_RV rv = f->C_FindObjectsInit(p->session, NULL, 0);
  if (rv != CKR_OK) return could_not(p, "the token's objects cannot be listed", rv);
  bool empty = true;
  CK_OBJECT_HANDLE found[64];
  CK_ULONG count = 0;
  while (empty && (rv = f->C_FindObjects(p->session, found, 64, &count)) == CKR_OK && count && count <= 64) {
    for (CK_ULONG i = 0; i < count && empty; i++) {
      CK_OBJECT_CLASS class = CK_UNAVAILABLE_INFORMATION;
      CK_ATTRIBUTE a = {CKA_CLASS, &class, sizeof class};
      f->C_GetAttributeValue(p->session, found[i], &a, 1);
      if (is_the_tokens_own(class)) continue;
      empty = class == CKO_CERTIFICATE && is_there(p, list, found[i]);
    }
  }
  f->C_FindObjectsFinal(p->session);
  if (rv != CKR_OK) return could_not(p, "the token's objects cannot be listed", rv);
  return empty || could_not(p, "the token has objects already: use an empty one", CKR_OK);
}

/* Subject, issuer and serial number, which a certificate object must have, from the certificate. */
static void put_names(struct prepare *p, struct prepare_template *t, const uint8_t *der, size_t length)
{
  X509 *x = d2i_X509(NULL, &der, (long)length);
  if (!x) return;
  uint8_t *subject = NULL, *issuer = NULL, *serial = NULL;
  const int subject_size = i2d_X509_NAME(X509_get_subject_name(x), &subject);
  const int issuer_size = i2d_X509_NAME(X509_get_issuer_name(x), &issuer);
  const int serial_size = i2d_ASN1_INTEGER(X509_get_serialNumber(x), &serial);
  if (subject_size > 0) prepare_put(p, t, CKA_SUBJECT, subject, (size_t)subject_size, false);
  if (issuer_size > 0) prepare_put(p, t, CKA_ISSUER, issuer, (size_t)issuer_size, false);
  if (serial_size > 0) prepare_put(p, t, CKA_SERIAL_NUMBER, serial, (size_t)serial_size, false);
  OPENSSL_free(subject);
  OPENSSL_free(issuer);
  OPENSSL_free(serial);
  X509_free(x);
}

/* Certificates, trust, data. */
static void make_object(struct prepare *p, const struct portrait *portrait, uint64_t class)
{
  struct prepare_template t = {0};
  const char *what = prepare_name(p, portrait);
  size_t length;
  const uint8_t *value = portrait_bytes(portrait, CKA_VALUE, &length);
  if (class == CKO_CERTIFICATE && (!value || !length)) {
    prepare_say(p, "%s: not made, the trace never saw its CKA_VALUE", what);
    return;
  }
  prepare_put_number(p, &t, CKA_CLASS, class, true);
  prepare_put_bool(p, &t, CKA_TOKEN, true, true);
  if (class == CKO_CERTIFICATE) {
    uint64_t type = CKC_X_509;
    portrait_number(portrait, CKA_CERTIFICATE_TYPE, &type);
    prepare_put_number(p, &t, CKA_CERTIFICATE_TYPE, type, true);
    prepare_put(p, &t, CKA_VALUE, value, length, true);
  } else if (class == CKO_DATA && !value) {
    /* Not recorded: something of its length. */
    const struct value *tagged = NULL;
    for (size_t i = 0; i < portrait->count; i++)
      if (portrait->attribute[i].number == CKA_VALUE && portrait->attribute[i].count)
        tagged = &portrait->attribute[i].item[0];
    if (tagged && tagged->what == VALUE_BYTES && tagged->length <= 1u << 20) {
      uint8_t *bytes = arena_alloc(&p->memory, tagged->length + 1);
      stand_in(tagged, bytes);
      prepare_put(p, &t, CKA_VALUE, bytes, tagged->length, false);
      prepare_say(p, "%s: its value is not recorded, a stand-in is there", what);
    }
  }
  prepare_put_known(p, &t, portrait);
  if (class == CKO_CERTIFICATE) put_names(p, &t, value, length);
  if (class == CKO_CERTIFICATE || class == CKO_DATA) prepare_put_bool(p, &t, CKA_PRIVATE, portrait->user, false);
  CK_OBJECT_HANDLE made[2];
  const CK_RV rv = prepare_make(p, what, NULL, &t, NULL, made);
  if (rv == CKR_OK)
    p->made++;
  else
    prepare_say(p, "%s: not made, C_CreateObject returned %s", what, prepare_code(p, rv));
}

/* The object of that class with the CKA_ID of `like`; NULL none. */
static struct portrait **with_id(struct prepare_list *list, uint64_t class, const struct portrait *like)
{
  size_t length, other;
  const uint8_t *id = portrait_bytes(like, CKA_ID, &length);
  for (size_t i = 0; id && length && i < list->count; i++) {
    if (!list->at[i] || class_of(list->at[i]) != class) continue;
    const uint8_t *its = portrait_bytes(list->at[i], CKA_ID, &other);
    if (its && other == length && !memcmp(its, id, length)) return &list->at[i];
  }
  return NULL;
}

static void make_keys(struct prepare *p, struct prepare_list *list, const struct prepare_list *all)
{
  struct prepare_list known = *all;
  static const uint64_t first[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY};
  for (unsigned pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < list->count; i++) {
      const struct portrait *key = list->at[i];
      if (!key || class_of(key) != first[pass]) continue;
      struct portrait **certificate = with_id(&known, CKO_CERTIFICATE, key);
      struct portrait **public = pass == 0 ? with_id(list, CKO_PUBLIC_KEY, key) : &list->at[i];
      prepare_pair(p, public ? *public : NULL, pass == 0 ? key : NULL, certificate ? *certificate : NULL);
      if (public) *public = NULL;
      list->at[i] = NULL;
    }
  }
}

static void make_all(struct prepare *p, struct prepare_list *list, const struct prepare_list *all)
{
  unsigned unknown = 0;
  make_keys(p, list, all);
  for (size_t i = 0; i < list->count; i++) {
    if (!list->at[i]) continue;
    const uint64_t class = class_of(list->at[i]);
    if (class == CKO_SECRET_KEY)
      prepare_secret(p, list->at[i]);
    else if (class == UINT64_MAX)
      unknown++;
    else if (!is_the_tokens_own(class))
      make_object(p, list->at[i], class);
  }
  if (unknown)
    prepare_say(p, "%u object%s not made: the trace does not say of which class", unknown, unknown == 1 ? "" : "s");
}

static bool login(struct prepare *p, CK_SLOT_ID slot, bool *logged_in)
{
  const struct replay_pin *pin = &p->player->options->user;
  CK_TOKEN_INFO info;
  memset(&info, 0, sizeof info);
  CK_RV rv = p->f->C_GetTokenInfo(slot, &info);
  if (rv != CKR_OK) return could_not(p, "the token does not tell of itself", rv);
  if (!(info.flags & CKF_LOGIN_REQUIRED)) return true;
  if (!pin->given) return could_not(p, "the user's PIN is needed (--pin-file)", CKR_OK);
  if (info.flags & CKF_USER_PIN_FINAL_TRY)
    return could_not(p, "the token has one try left for the user's PIN: it is not used", CKR_OK);
  rv = guard_login(p->f, p->session, pin);
  if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN) return could_not(p, "the user's PIN is refused", rv);
  *logged_in = rv == CKR_OK;
  return true;
}

static bool make_slot(struct prepare *p, uint64_t recorded, struct prepare_list *list)
{
  uint64_t slot, why;
  bool logged_in = false, good;
  if (!maps_slot(p->player, recorded, &slot, &why)) {
    prepare_say(p, "slot %llu of the trace is not there: %zu objects not made", (unsigned long long)recorded,
                list->count);
    return true;
  }
  CK_RV rv = p->f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &p->session);
  if (rv != CKR_OK) return could_not(p, "no session can be opened to write", rv);
  const struct prepare_list all = {arena_alloc(&p->memory, (list->count + 1) * sizeof *list->at), list->count};
  memcpy(all.at, list->at, list->count * sizeof *list->at);
  good = login(p, slot, &logged_in) && is_empty(p, list);
  if (good) make_all(p, list, &all);
  if (logged_in) p->f->C_Logout(p->session);
  p->f->C_CloseSession(p->session);
  return good;
}

/* Has an object a class that is made? A trace that only asked for a token's profile needs nothing. */
static bool needs_something(const struct prepare_list *list)
{
  for (size_t i = 0; i < list->count; i++)
    if (class_of(list->at[i]) != UINT64_MAX && !is_the_tokens_own(class_of(list->at[i]))) return true;
  return false;
}

int prepare(struct player *player)
{
  struct prepare p = {.player = player, .f = target_functions(player->target)};
  const CK_FUNCTION_LIST_3_2 *f = p.f;
  struct table done = {0};
  bool good = true;
  if (!f->C_OpenSession || !f->C_CloseSession || !f->C_Login || !f->C_Logout || !f->C_GetTokenInfo ||
      !f->C_FindObjectsInit || !f->C_FindObjects || !f->C_FindObjectsFinal || !f->C_GetAttributeValue)
    good = could_not(&p, "the module has not the functions that it takes", CKR_OK);
  if (!player->portraits) return good ? 0 : -1;
  for (const struct portrait_entry *e = player->portraits->first; good && e; e = e->next) {
    struct prepare_list list;
    if (table_put(&done, e->portrait.slot, &done)) continue;
    prepare_wanted(&p, e->portrait.slot, &list);
    if (needs_something(&list)) good = make_slot(&p, e->portrait.slot, &list);
  }
  table_clear(&done, NULL);
  arena_free(&p.memory);
  return good ? p.made : -1;
}
