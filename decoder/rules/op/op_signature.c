/* What signatures and their verification give. */
#include <inttypes.h>
#include <string.h>

#include "decoder/model/operation.h"
#include "decoder/rules/mech/mech_help.h"

/* Named curves by the DER of their object identifier, and the bytes that the order of the base point takes. */
static const struct {
  uint8_t size, oid[11], order;
} curves[] = {
    {10, "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x01",     24}, /* P-192 */
    {7,  "\x06\x05\x2b\x81\x04\x00\x21",                 28}, /* P-224 */
    {10, "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",     32}, /* P-256 */
    {7,  "\x06\x05\x2b\x81\x04\x00\x22",                 48}, /* P-384 */
    {7,  "\x06\x05\x2b\x81\x04\x00\x23",                 66}, /* P-521 */
    {7,  "\x06\x05\x2b\x81\x04\x00\x0a",                 32}, /* secp256k1 */
    {11, "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x07", 32}, /* brainpoolP256r1 */
    {11, "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0b", 48}, /* brainpoolP384r1 */
    {11, "\x06\x09\x2b\x24\x03\x03\x02\x08\x01\x01\x0d", 64}, /* brainpoolP512r1 */
};

/* Bytes of the order of the key's curve; 0 when the curve is not known. */
static uint64_t order_of(const struct model_object *key)
{
  const struct model_attribute *a = model_attribute(key, CKA_EC_PARAMS);
  if (!a || a->tagged || !a->number) return 0;
  for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
    if (a->length == curves[i].size && a->number == pick_hash(curves[i].oid, curves[i].size)) return curves[i].order;
  return 0;
}

/* Bytes of the key's modulus; 0 when it is not known. */
static uint64_t modulus_of(const struct model_object *key)
{
  const struct model_attribute *a = model_attribute(key, CKA_MODULUS);
  if (a && a->length != UINT64_MAX && a->length > 1) return a->length & ~1ull; /* with or without a zero before it */
  return (model_number(key, CKA_MODULUS_BITS, 0) + 7) / 8;
}

/* Objects of the same slot that are looked at for the public key of a private one. */
#define TWINS 64

/* The other half of the key pair: made with it, or of the same CKA_ID. */
static const struct model_object *twin_of(const struct model_module *m, const struct model_object *key)
{
  unsigned left = TWINS;
  for (const struct model_object *o = m->newest; o && left; o = o->older, left--) {
    if (o == key || o->slot != key->slot || o->facts.class != CKO_PUBLIC_KEY) continue;
    if (key->made.number && o->made.number == key->made.number) return o;
    if (key->facts.id && o->facts.id == key->facts.id) return o;
  }
  return NULL;
}

/* What is expected of a key: found once, and again only when something new may be known. */
struct expectation {
  uint64_t bytes;
  unsigned attributes, uses;
  unsigned ders, raws; /* signatures of the right length that look like DER, and that do not */
};
static const struct kept_type expectation = {sizeof(struct expectation), NULL};

static uint64_t expected(const struct model_module *m, struct model_object *key, bool rsa)
{
  uint64_t n = rsa ? modulus_of(key) : 2 * order_of(key);
  if (n) return n;
  struct expectation *e = kept_make(&key->kept, &expectation);
  if (e->bytes || (e->uses++ % 64 && e->attributes == key->attributes)) return e->bytes;
  e->attributes = key->attributes;
  const struct model_object *twin = twin_of(m, key);
  if (twin) e->bytes = rsa ? modulus_of(twin) : 2 * order_of(twin);
  return e->bytes;
}

/* Is it SEQUENCE { INTEGER, INTEGER } of exactly that length? TRI_UNKNOWN: it is one DER value, which one of 65,536
 * random signatures is too. */
static enum model_tri is_der(const struct value *v)
{
  if (v->what != VALUE_BYTES || v->length < 8) return TRI_NO;
  if (value_is_tagged(v)) return v->shape & P11T_SHAPE_DER ? TRI_UNKNOWN : TRI_NO;
  if (v->form != P11T_V_FULL || v->kept != v->length || v->bytes[0] != 0x30) return TRI_NO;
  const uint8_t *b = v->bytes;
  const size_t n = v->kept, head = b[1] == 0x81 ? 3 : 2;
  if ((head == 2 && b[1] >= 0x80) || b[head - 1] + head != n || b[head] != 0x02) return TRI_NO;
  const size_t second = head + 2 + b[head + 1];
  return second + 2 < n && b[second] == 0x02 && second + 2 + b[second + 1] == n ? TRI_YES : TRI_NO;
}

/* A signature of the right length: DER that was made to fit has it too. By its shape alone it must be the second one
 * of the key, and all of them. */
static bool fits_and_is_der(struct model_object *key, const struct value *v)
{
  const enum model_tri der = is_der(v);
  if (der == TRI_YES) return true;
  struct expectation *e = kept_make(&key->kept, &expectation);
  (*(der == TRI_NO ? &e->raws : &e->ders))++;
  return der == TRI_UNKNOWN && e->ders >= 2 && !e->raws;
}

/* Raw signatures have the length of two orders: one that is none of them and DER is not raw. */
static bool is_raw_length(uint64_t length)
{
  for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
    if (length == 2u * curves[i].order) return true;
  return length % 2 == 0 && length > 128;
}

/* The standard, RSA mechanisms: a signature is as long as the modulus; ECDSA: "the concatenation of the ECDSA values
 * r and s, both represented as an octet string of equal length of at most nLen". NSS makes room for that (pk11obj.c,
 * PK11_SignatureLen) and puts it into DER itself. */
void rule_op_07(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  uint64_t length;
  const unsigned out = call->known == P11_F_C_Sign ? 3 : 1;
  if (!s || call->rv != CKR_OK || pick_is_null(call, out) || !pick_out(call, out + 1, &length)) return;
  const struct model_operation *op = &s->op[OP_SIGN];
  const uint64_t type = mech_key_type(op->mechanism);
  const bool rsa = type == CKK_RSA;
  if ((!rsa && type != CKK_EC) || !model_active(op) || !model_alone(s, call)) return;
  struct model_object *key = model_object(check->place.module, op->key);
  const uint64_t bytes = key ? expected(check->place.module, key, rsa) : 0;
  const struct value *signature = &call->arg[out].out;
  struct finding *f = NULL;
  if (bytes == length && (rsa || !fits_and_is_der(key, signature))) return;
  /* CKA_MODULUS with an odd number of bytes has a zero before it, or the key is a strange one. */
  if (rsa && (!bytes || length == bytes + 1)) return;
  if (rsa)
    f = finding_report(check, SEVERITY_ERROR, 1,
                       "a signature of a key with a modulus of %" PRIu64 " bytes has %" PRIu64 " bytes", bytes, length);
  else if (is_der(signature) != TRI_NO && (bytes || !is_raw_length(length)))
    f = finding_report(check, SEVERITY_ERROR, 2,
                       "an ECDSA signature is DER (%" PRIu64 " bytes) instead of the two numbers r and s", length);
  else if (bytes)
    f = finding_report(check, SEVERITY_ERROR, 3,
                       "an ECDSA signature has %" PRIu64 " bytes instead of the %" PRIu64 " of r and s", length, bytes);
  finding_note(f, &op->begun, NULL);
  finding_call(f, check, NULL);
}

static bool tells_the_result(uint64_t rv)
{
  switch (rv) {
    case CKR_OK:
    case CKR_SIGNATURE_INVALID:
    case CKR_SIGNATURE_LEN_RANGE:
    case CKR_DATA_LEN_RANGE:
    case CKR_ARGUMENTS_BAD:
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_MEMORY:
    case CKR_DEVICE_REMOVED:
    case CKR_FUNCTION_CANCELED:
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_HOST_MEMORY:
    case CKR_OPERATION_ACTIVE:
    case CKR_OPERATION_NOT_INITIALIZED:
    case CKR_PENDING:
    case CKR_PIN_EXPIRED:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_RESOURCE_EXCEEDED:
    case CKR_USER_NOT_LOGGED_IN: return true;
    default: return false;
  }
}

static void verification_goes_on(struct check *check, const struct call *call)
{
  const struct finding_options o = {.cause = CAUSE_ACTIVE};
  const struct model_session *s = check->place.session;
  const struct model_operation *op = &s->op[OP_VERIFY];
  if (!model_idle(s) || !model_alone(s, call) || model_removal(s->slot, call)) return;
  if (op->last.known != P11_F_C_Verify && op->last.known != P11_F_C_VerifyFinal) return;
  struct finding *f = finding_report_as(check, &o, SEVERITY_WARNING, 1, "%s does not end the verification",
                                        p11_functions[op->last.known].name);
  finding_note(f, &op->last, NULL);
  finding_call(f, check, NULL);
}

/* The standard, C_Verify: "A successful call to C_Verify should return either the value CKR_OK (indicating that the
 * supplied signature is valid) or CKR_SIGNATURE_INVALID [...]. If the signature can be seen to be invalid purely on
 * the basis of its length, then CKR_SIGNATURE_LEN_RANGE should be returned. In any of these cases, the active
 * verification operation is terminated." */
void rule_op_10(struct check *check, const struct call *call)
{
  const struct finding_options o = {.cause = CAUSE_CODE};
  const struct model_session *s = check->place.session;
  char unknown[24];
  if (!s) return;
  if (call->known == P11_F_C_VerifyInit) {
    if (call->rv == CKR_OPERATION_ACTIVE) verification_goes_on(check, call);
    return;
  }
  if (tells_the_result(call->rv) || model_removal(s->slot, call)) return;
  const struct model_operation *op = &s->op[model_op_of(call->known)];
  struct finding *f =
      finding_report_as(check, &o, SEVERITY_WARNING, 0, "%s returns %s, which does not say that the signature is bad",
                        call->info->name, note_rv(call->rv, unknown));
  if (model_active(op)) finding_note(f, &op->begun, NULL);
  finding_call(f, check, NULL);
}
