/* Random numbers and digests: for everybody, and not always the same. */
#include <inttypes.h>

#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

/* What NSS asks of each new token, once, whether it is the default or not (pk11slot.c, PK11_InitToken). */
#define NSS_ASKS 32

/* Of a slot: it was asked for random numbers. */
static const struct kept_type asked_type = {1, NULL};

static bool refuses_random(uint64_t rv)
{
  return rv == CKR_USER_NOT_LOGGED_IN || rv == CKR_RANDOM_NO_RNG || rv == CKR_FUNCTION_NOT_SUPPORTED ||
         rv == CKR_FUNCTION_FAILED;
}

static void generate(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  const struct model_token *t = &slot->token;
  uint64_t length = 0;
  char unknown[24];
  const bool first = !kept_get(slot->kept, &asked_type);
  if (first) kept_make(&slot->kept, &asked_type);
  if (!t->known || model_removal(slot, call)) return;
  struct finding *f = NULL;
  pick_in(call, 2, &length);
  if (t->flags & CKF_RNG && refuses_random(call->rv))
    f = finding_report(check, first && length == NSS_ASKS ? SEVERITY_WARNING : SEVERITY_ERROR, 1,
                       "the token has CKF_RNG, and C_GenerateRandom returns %s", note_rv(call->rv, unknown));
  else if (!(t->flags & CKF_RNG) && call->rv == CKR_OK)
    f = finding_report(check, SEVERITY_INFO, 2, "the token generates random numbers, and CKF_RNG is not set");
  finding_note(f, &t->note, NULL);
  finding_call(f, check, NULL);
}

static void seed(struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  char unknown[24];
  if (call->rv != CKR_USER_NOT_LOGGED_IN && call->rv != CKR_RANDOM_NO_RNG) return;
  if (!slot->token.known || !(slot->token.flags & CKF_RNG) || model_removal(slot, call)) return;
  struct finding *f = finding_report(check, SEVERITY_WARNING, 3, "the token has CKF_RNG, and C_SeedRandom returns %s",
                                     note_rv(call->rv, unknown));
  finding_note(f, &slot->token.note, NULL);
  finding_call(f, check, NULL);
}

/* C_DigestKey is about a key, which may be private. */
static void digest(struct check *check, const struct call *call)
{
  const struct model_session *s = check->place.session;
  uint64_t type = s->op[OP_DIGEST].mechanism;
  if (call->rv != CKR_USER_NOT_LOGGED_IN || model_removal(s->slot, call)) return;
  if (call->known == P11_F_C_DigestInit) {
    if (call->arg[1].in.what != VALUE_MECHANISM) return;
    type = call->arg[1].in.number;
  }
  const struct model_mechanism *m = model_mechanism(s->slot, type);
  if (!m || !m->listed || (m->known && !(m->flags & CKF_DIGEST))) return;
  const char *name = p11_constant_name(P11_DOM_CKM, type);
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 4, "%s returns CKR_USER_NOT_LOGGED_IN for %s, which the slot lists",
                     call->info->name, name ? name : "a digest");
  finding_note(f, &m->note, NULL);
  finding_call(f, check, NULL);
}

/* FAQ, Q7: "If you do, your token must be able to generate random numbers even when it is not logged in." */
void rule_op_08(struct check *check, const struct call *call)
{
  if (!check->place.session) return;
  switch (call->known) {
    case P11_F_C_GenerateRandom: generate(check, call); return;
    case P11_F_C_SeedRandom: seed(check, call); return;
    default: digest(check, call);
  }
}

#define SHORTEST 16 /* bytes: fewer may repeat by chance */
#define OUTPUTS 1024

/* Per slot: the last outputs, each in the place that its hash names. */
struct outputs {
  struct {
    uint64_t hash, length;
    struct note note;
  } last[2]; /* the last two, with their calls */
  unsigned count;
  uint64_t hash[OUTPUTS];
  uint64_t number[OUTPUTS]; /* of the call */
};
static const struct kept_type outputs = {sizeof(struct outputs), NULL};

static uint64_t hash_of(const struct value *v)
{
  if (value_is_tagged(v)) return v->number;
  return v->form == P11T_V_FULL && v->kept == v->length ? pick_hash(v->bytes, v->kept) : 0;
}

static bool all_equal(const struct value *v)
{
  if (value_is_tagged(v)) return v->shape & P11T_SHAPE_SAME;
  if (v->form != P11T_V_FULL || v->kept != v->length) return false;
  for (size_t i = 1; i < v->kept; i++)
    if (v->bytes[i] != v->bytes[0]) return false;
  return true;
}

static void repeated(struct check *check, struct outputs *o, uint64_t hash, uint64_t length)
{
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 2, "two calls of C_GenerateRandom give the same %" PRIu64 " bytes", length);
  for (unsigned i = 0; i < 2; i++)
    if (o->last[i].hash == hash) {
      finding_note(f, &o->last[i].note, NULL);
      finding_call(f, check, NULL);
      return;
    }
  finding_call(f, check, "the same as of call #%" PRIu64, o->number[hash % OUTPUTS]);
}

/* FAQ, Q7, as above; what follows from it is that the numbers are random. Only equality and shape are looked at. */
void rule_op_09(struct check *check, const struct call *call)
{
  struct model_slot *slot = check->place.slot;
  const struct value *v = &call->arg[1].out;
  if (!slot || call->rv != CKR_OK || v->what != VALUE_BYTES || v->length < SHORTEST) return;
  const uint64_t hash = hash_of(v);
  if (!hash) return;
  struct outputs *o = kept_make(&slot->kept, &outputs);
  if (all_equal(v)) {
    struct finding *f =
        finding_report(check, SEVERITY_ERROR, 1, "C_GenerateRandom gives %" PRIu64 " equal bytes", v->length);
    finding_call(f, check, NULL);
  } else if (o->hash[hash % OUTPUTS] == hash) {
    repeated(check, o, hash, v->length);
  }
  o->hash[hash % OUTPUTS] = hash;
  o->number[hash % OUTPUTS] = call->number;
  const unsigned at = o->count++ % 2;
  o->last[at].hash = hash;
  model_note(&check->place, &o->last[at].note, call);
}
