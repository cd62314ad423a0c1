/* Keys and certificates: which belong together. */
#include "decoder/rules/key/known.h"

#include <stdlib.h>
#include <string.h>

static const struct kept_type of_object = {sizeof(struct known), NULL};
static const struct kept_type of_module = {sizeof(struct known_news), NULL};

/* --- what objects of a slot share --------------------------------------------------------------------------------- */

#define ENTRIES 4096 /* per slot; then it is forgotten and begins anew */

/* Handles of the last private key, public key and certificate that were seen with a value, and of the ones before. */
struct shared {
  uint64_t handle[3], before[3];
};

struct index {
  struct table by_value;
};

static void clear_index(void *state)
{
  table_clear(&((struct index *)state)->by_value, free);
}
static const struct kept_type of_slot = {sizeof(struct index), clear_index};

static int place_of(uint64_t class)
{
  return class == CKO_PRIVATE_KEY ? 0 : class == CKO_PUBLIC_KEY ? 1 : class == CKO_CERTIFICATE ? 2 : -1;
}

static uint64_t entry_key(enum known_by by, uint64_t value)
{
  const uint64_t part[] = {by, value};
  return pick_hash(part, sizeof part);
}

static void put(struct model_slot *slot, enum known_by by, uint64_t value, const struct model_object *object,
                uint64_t class)
{
  const int at = place_of(class);
  if (!value || at < 0) return;
  struct index *index = kept_make(&slot->kept, &of_slot);
  const uint64_t key = entry_key(by, value);
  struct shared *s = table_get(&index->by_value, key);
  if (!s) {
    if (index->by_value.count >= ENTRIES) table_clear(&index->by_value, free);
    table_put(&index->by_value, key, s = model_alloc(sizeof *s));
  }
  if (s->handle[at] == object->handle) return;
  s->before[at] = s->handle[at];
  s->handle[at] = object->handle;
}

static uint64_t value_of(const struct known *k, enum known_by by)
{
  switch (by) {
    case BY_ID: return k->id;
    case BY_KEY: return k->key;
    case BY_NSS_ID: return k->nss_id;
    case BY_LABEL: return k->label;
    case BY_SUBJECT: return k->subject;
  }
  return 0;
}

struct known *known_of(const struct model_object *object)
{
  return object ? kept_get(object->kept, &of_object) : NULL;
}

struct model_object *known_other(const struct check *check, enum known_by by, uint64_t value, uint64_t class,
                                 const struct model_object *not_this)
{
  const struct index *index = kept_get(check->place.slot->kept, &of_slot);
  const struct shared *s = value && index ? table_get(&index->by_value, entry_key(by, value)) : NULL;
  const int at = place_of(class);
  for (int i = 0; s && i < 2; i++) {
    struct model_object *o = table_get(&check->place.module->objects, i ? s->before[at] : s->handle[at]);
    const struct known *k = known_of(o);
    if (o && o != not_this && o->slot == check->place.slot && k && k->class == class && value_of(k, by) == value)
      return o;
  }
  return NULL;
}

/* --- learning ----------------------------------------------------------------------------------------------------- */

static void learn_id(struct known *k, const uint8_t *id, size_t length)
{
  k->no_id = length == 0;
  k->id = length ? pick_hash(id, length) : 0;
  k->zero_id = length > 0;
  for (size_t i = 0; i < length && k->zero_id; i++) k->zero_id = id[i] == 0;
}

/* Enough of a certificate to see that it is still the same: its length, beginning and end, where the signature is. */
static uint64_t fingerprint(const uint8_t *der, size_t size)
{
  const size_t some = size < 64 ? size : 64;
  const uint64_t part[] = {size, pick_hash(der, some), pick_hash(der + size - some, some)};
  return pick_hash(part, sizeof part);
}

static void learn_der(struct known *k, const uint8_t *der, size_t size)
{
  const uint64_t seen = fingerprint(der, size);
  if (k->der == seen) return;
  k->der = seen;
  k->cert = x509_facts(der, size);
  k->key = k->cert.key;
  k->nss_id = k->cert.nss_id;
  if (k->cert.subject) k->subject = k->cert.subject;
}

/* CKA_EC_POINT is a point in an OCTET STRING; without one it is still the same point. */
static void learn_key(struct known *k, bool modulus, const uint8_t *bytes, size_t size)
{
  size_t inner;
  const uint8_t *point = modulus ? NULL : der_content(bytes, size, 4, &inner, NULL);
  if (point && inner) {
    bytes = point;
    size = inner;
  }
  const uint64_t key = key_hash(modulus, bytes, size);
  if (key == k->key) return;
  k->key = key;
  k->nss_id = key_nss_id(modulus, bytes, size);
}

static void learn_one(struct check *check, struct known_news *news, const struct value *a)
{
  struct known *k = news->known;
  size_t length;
  const uint8_t *bytes = pick_bytes(a, &length);
  if (!bytes && a->length == 0) {
    bytes = (const uint8_t *)"";
    length = 0;
  }
  /* Where the template was refused nothing may have been written. */
  if (!bytes || (!length && check->call->rv != CKR_OK)) return;
  switch (a->number) {
    case CKA_ID:
      learn_id(k, bytes, length);
      news->id = true;
      model_note(&check->place, &k->id_note, check->call);
      return;
    case CKA_LABEL:
      k->label = length ? pick_hash(bytes, length) : 0;
      news->label = true;
      model_note(&check->place, &k->label_note, check->call);
      return;
    case CKA_SUBJECT:
      if (length) k->subject = pick_hash(bytes, length);
      return;
    case CKA_VALUE:
      if (k->class != CKO_CERTIFICATE || !length) return;
      learn_der(k, bytes, length);
      news->cert = news->key = true;
      break;
    case CKA_MODULUS:
    case CKA_EC_POINT:
      if (k->class == CKO_CERTIFICATE || !length) return;
      learn_key(k, a->number == CKA_MODULUS, bytes, length);
      news->key = true;
      break;
    default: return;
  }
  model_note(&check->place, &k->key_note, check->call);
}

static bool interesting(const struct value *template)
{
  for (size_t i = 0; i < template->count; i++) switch (template->item[i].number) {
      case CKA_ID:
      case CKA_LABEL:
      case CKA_SUBJECT:
      case CKA_VALUE:
      case CKA_MODULUS:
      case CKA_EC_POINT: return true;
      default: break;
    }
  return false;
}

static void learn_read(struct check *check, struct known_news *news, const struct value *after)
{
  uint64_t handle, class;
  struct model_object *o = check->place.object;
  if (!pick_in(check->call, 1, &handle)) return;
  if (!pick_attribute_number(after, CKA_CLASS, &class)) class = o ? o->facts.class : MODEL_NO_CLASS;
  if (place_of(class) < 0) return;
  if (!o) o = model_object_make(check->place.module, handle, check->place.slot);
  struct known *k = kept_make(&o->kept, &of_object);
  if (k->class != class) *k = (struct known){.class = class};
  static const enum known_by all[] = {BY_ID, BY_KEY, BY_NSS_ID, BY_LABEL, BY_SUBJECT};
  uint64_t before[sizeof all / sizeof *all];
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) before[i] = value_of(k, all[i]);
  news->object = o;
  news->known = k;
  for (size_t i = 0; i < after->count; i++)
    if (after->item[i].length != UINT64_MAX) learn_one(check, news, &after->item[i]);
  /* A search by CKA_ID that returned it says the same, when nobody reads it. */
  if (!k->id && !k->no_id && o->facts.id) {
    k->id = o->facts.id;
    k->id_note = o->found;
    news->id = true;
  }
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (value_of(k, all[i]) != before[i]) put(check->place.slot, all[i], value_of(k, all[i]), o, class);
}

static void learn_written(struct check *check, const struct value *template)
{
  struct known *k = known_of(check->place.object);
  size_t length;
  const uint8_t *id = pick_bytes(pick_attribute(template, CKA_ID), &length);
  if (!id || !k) return;
  learn_id(k, id, length);
  model_note(&check->place, &k->id_note, check->call);
  put(check->place.slot, BY_ID, k->id, check->place.object, k->class);
}

const struct known_news *known_learn(struct check *check, const struct call *call)
{
  static const struct known_news nothing;
  const bool reads = call->known == P11_F_C_GetAttributeValue;
  const struct value *template = pick_template(call);
  if (!check->place.slot || call->state != CALL_DONE || !template || (!reads && call->rv != CKR_OK)) return &nothing;
  if (call->rv != CKR_OK && call->rv != CKR_ATTRIBUTE_TYPE_INVALID && call->rv != CKR_ATTRIBUTE_SENSITIVE &&
      call->rv != CKR_BUFFER_TOO_SMALL)
    return &nothing;
  if (!interesting(template)) return &nothing;
  struct known_news *news = kept_make(&check->place.module->kept, &of_module);
  if (news->call == call->number) return news;
  *news = (struct known_news){.call = call->number};
  if (reads)
    learn_read(check, news, template);
  else
    learn_written(check, template);
  return news;
}

/* --- evidence ----------------------------------------------------------------------------------------------------- */

static int earlier(const void *a, const void *b)
{
  const struct exhibit *x = a, *y = b;
  const uint64_t m = x->note ? x->note->start : UINT64_MAX, n = y->note ? y->note->start : UINT64_MAX;
  return m < n ? -1 : m > n;
}

void known_show(struct finding *finding, struct check *check, const struct exhibit *exhibits, size_t count)
{
  struct exhibit sorted[EVIDENCE_MAX];
  uint64_t last = 0;
  if (!finding || count > EVIDENCE_MAX) return;
  memcpy(sorted, exhibits, count * sizeof *sorted);
  qsort(sorted, count, sizeof *sorted, earlier);
  for (size_t i = 0; i < count; i++) {
    const struct note *note = sorted[i].note;
    const uint64_t start = note ? note->start : check->call->start;
    if ((note && !note->number) || start == last) continue;
    last = start;
    if (note)
      finding_note(finding, note, "%s", sorted[i].text);
    else
      finding_call(finding, check, "%s", sorted[i].text);
  }
}
