/* Public keys: how they are encoded, and that what belongs together is one key. */
#include <stdio.h>
#include <string.h>

#include "decoder/rules/key/known.h"

/* --- NSS-KEY-06 --------------------------------------------------------------------------------------------------- */

static const char *class_name(uint64_t class)
{
  return class == CKO_CERTIFICATE ? "certificate" : class == CKO_PUBLIC_KEY ? "public key" : "private key";
}

/* FAQ, Q5: the CKA_ID of a private key is that of its certificate. What it leads to must be that key. */
void rule_key_06(struct check *check, const struct call *call)
{
  static const uint64_t class[] = {CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_CERTIFICATE};
  if (!check->place.slot || model_removal(check->place.slot, call)) return;
  const struct known_news *n = known_learn(check, call);
  if (!n->object || !(n->id || n->key) || !n->known->id || !n->known->key) return;
  if (n->object->facts.token == TRI_NO) return;
  for (size_t i = 0; i < sizeof class / sizeof *class; i++) {
    const struct known *k = n->known;
    if (class[i] == k->class) continue; /* two of one class: NSS-CERT-03 */
    struct model_object *o = known_other(check, BY_ID, k->id, class[i], NULL);
    const struct known *other = known_of(o);
    if (!other || !other->key || other->key == k->key || o->facts.token == TRI_NO) continue;
    const bool wrote = o->made.number || n->object->made.number;
    const struct finding_options options = {.fault = wrote ? FAULT_CALLER : FAULT_MODULE};
    const bool other_first = other->class < k->class;
    struct finding *f = finding_report_as(check, &options, wrote ? SEVERITY_WARNING : SEVERITY_ERROR, k->id,
                                          "the %s and the %s with one CKA_ID are not of one key pair",
                                          class_name(other_first ? k->class : other->class),
                                          class_name(other_first ? other->class : k->class));
    char one[64], two[64];
    snprintf(one, sizeof one, "the %s", class_name(other->class));
    snprintf(two, sizeof two, "the %s with the same CKA_ID: another key", class_name(k->class));
    const struct exhibit e[] = {
        {&other->key_note, one},
        {&k->key_note,     two},
    };
    known_show(f, check, e, 2);
    return;
  }
}

/* --- NSS-KEY-05 --------------------------------------------------------------------------------------------------- */

/* Bytes of a coordinate; 0: not a curve whose points are looked at. */
static size_t curve_size(const uint8_t *oid, size_t size)
{
  static const struct {
    uint8_t length, size, oid[10];
  } curve[] = {
      {10, 24, {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1}}, /* P-192 */
      {10, 32, {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}}, /* P-256 */
      {7,  28, {6, 5, 0x2b, 0x81, 4, 0, 33}                 }, /* P-224 */
      {7,  48, {6, 5, 0x2b, 0x81, 4, 0, 34}                 }, /* P-384 */
      {7,  66, {6, 5, 0x2b, 0x81, 4, 0, 35}                 }, /* P-521 */
      {7,  32, {6, 5, 0x2b, 0x81, 4, 0, 10}                 }, /* secp256k1 */
  };
  for (size_t i = 0; i < sizeof curve / sizeof *curve; i++)
    if (size == curve[i].length && !memcmp(oid, curve[i].oid, size)) return curve[i].size;
  return 0;
}

struct curve {
  size_t size;
  struct note note;
};
static const struct kept_type curve_type = {sizeof(struct curve), NULL};

/* What is wrong with the point, NULL nothing. */
static const char *point_fault(const uint8_t *p, size_t size, size_t coordinate)
{
  size_t inner;
  if (size == 1 + 2 * coordinate && p[0] == 4) return "is the point itself and no DER OCTET STRING";
  const uint8_t *point = der_content(p, size, 4, &inner, NULL);
  if (!point) return "is no DER OCTET STRING";
  if (inner == 1 + coordinate && (point[0] == 2 || point[0] == 3)) return "is a compressed point";
  if (inner != 1 + 2 * coordinate || point[0] != 4) return "is no point of its curve";
  return NULL;
}

static void params_read(struct check *check, struct model_object *o, const uint8_t *params, size_t size)
{
  enum { OID = 6, NAME = 0x13, EXPLICIT = 0x30, IMPLICIT = 5 };
  size_t inner;
  const bool der = size && (params[0] == OID || params[0] == NAME || params[0] == EXPLICIT || params[0] == IMPLICIT) &&
                   der_content(params, size, params[0], &inner, NULL);
  struct curve *c = kept_make(&o->kept, &curve_type);
  c->size = curve_size(params, size);
  model_note(&check->place, &c->note, check->call);
  if (der || !size) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, 1, "CKA_EC_PARAMS is no DER of a curve");
  finding_call(f, check, "CKA_EC_PARAMS: %zu bytes that begin with 0x%02x", size, params[0]);
}

/* The standard, elliptic curve public keys: CKA_EC_PARAMS is the "DER-encoding of an ANSI X9.62 Parameters value",
 * CKA_EC_POINT the "DER-encoding of ANSI X9.62 ECPoint value". Edwards and Montgomery keys have points of their own
 * kind. NSS bears raw points of the curves that it knows (pk11akey.c). */
void rule_key_05(struct check *check, const struct call *call)
{
  const struct value *after = &call->arg[2].out;
  const struct value *params_item = pick_attribute(after, CKA_EC_PARAMS),
                     *point_item = pick_attribute(after, CKA_EC_POINT);
  struct model_object *o = check->place.object;
  uint64_t handle;
  size_t size;
  if ((!params_item && !point_item) || !check->place.slot || call->rv != CKR_OK || !pick_in(call, 1, &handle)) return;
  if (!o) o = model_object_make(check->place.module, handle, check->place.slot);
  const uint8_t *params = pick_bytes(params_item, &size);
  if (params) params_read(check, o, params, size);
  const uint8_t *point = pick_bytes(point_item, &size);
  const struct curve *c = point && size ? kept_get(o->kept, &curve_type) : NULL;
  if (!c || !c->size) return;
  /* As the application wrote it. */
  const struct model_attribute *given = model_attribute(o, CKA_EC_POINT);
  if (o->made.known == P11_F_C_CreateObject && given && given->source == SOURCE_GIVEN) return;
  const char *fault = point_fault(point, size, c->size);
  if (!fault) return;
  struct finding *f =
      finding_report(check, SEVERITY_WARNING, pick_hash(fault, strlen(fault)), "CKA_EC_POINT %s", fault);
  const struct exhibit e[] = {
      {&c->note, "the curve"   },
      {NULL,     "CKA_EC_POINT"},
  };
  known_show(f, check, e, 2);
}
