/* Lengths of output: asked for, too small, told. */
#include <inttypes.h>

#include "decoder/model/operation.h"
#include "decoder/rules/rules.h"

/* What a call says of its output; unknown lengths are UNKNOWN. */
#define UNKNOWN CK_UNAVAILABLE_INFORMATION
struct output {
  uint64_t number; /* of the call; 0: there is none */
  int known;
  uint64_t room, length, input; /* of the buffer before, of the output after, of the data given */
  bool null;
};

static struct output output_of(const struct call *call)
{
  struct output o = {call->number, call->known, UNKNOWN, UNKNOWN, UNKNOWN, model_asks_length(call)};
  const int length = pick_kind(call, P11_K_OUT_LENGTH), data = pick_kind(call, P11_K_IN_BYTES);
  if (length >= 0) {
    if (!pick_in(call, (unsigned)length, &o.room)) o.room = UNKNOWN;
    if (!pick_out(call, (unsigned)length, &o.length)) o.length = UNKNOWN;
  }
  if (data >= 0 && !pick_in(call, (unsigned)data + 1, &o.input)) o.input = UNKNOWN;
  return o;
}

/* The last query, or refusal, of each kind of operation in a session. */
struct outputs {
  struct output of[OP_KINDS];
};
static const struct kept_type queries = {sizeof(struct outputs), NULL};
static const struct kept_type refusals = {sizeof(struct outputs), NULL};

/* What was kept of the call just before this one in the same operation; NULL when that was another call. */
static const struct output *before(struct check *check, const struct call *call, const struct kept_type *type, int kind)
{
  const struct model_session *s = check->place.session;
  const struct outputs *kept = kept_get(s->kept, type);
  if (!kept || !kept->of[kind].number || kept->of[kind].number != s->op[kind].last.number) return NULL;
  return model_alone(s, call) ? &kept->of[kind] : NULL;
}

static void remember(struct check *check, const struct call *call, const struct kept_type *type, int kind,
                     const struct output *output)
{
  struct model_session *s = check->place.session;
  if (!model_active(&s->op[kind])) return;
  if (!model_alone(s, call) || call_is_probe(call)) return;
  ((struct outputs *)kept_make(&s->kept, type))->of[kind] = *output;
}

static bool same_question(const struct output *a, const struct output *b)
{
  return a->known == b->known && a->input == b->input;
}

/* Signatures and digests are never empty. */
static bool has_output(int function)
{
  return function == P11_F_C_Sign || function == P11_F_C_SignFinal || function == P11_F_C_Digest ||
         function == P11_F_C_DigestFinal;
}

static void query(struct check *check, const struct call *call, const struct output *now, int kind)
{
  struct finding *f = NULL;
  if (call->rv == CKR_BUFFER_TOO_SMALL && now->room != UNKNOWN) {
    f = finding_report(check, SEVERITY_ERROR, (uint64_t)call->known,
                       "%s with a NULL buffer, which asks for the length, returns CKR_BUFFER_TOO_SMALL",
                       call->info->name);
  } else if (call->rv == CKR_OK && now->length == 0 && has_output(call->known) &&
             model_active(&check->place.session->op[kind])) {
    f = finding_report(check, SEVERITY_ERROR, (uint64_t)call->known, "%s announces an output of 0 bytes",
                       call->info->name);
  }
  finding_call(f, check, NULL);
  if (call->rv == CKR_OK && kind >= 0 && check->place.session) remember(check, call, &queries, kind, now);
}

static void answer(struct check *check, const struct call *call, const struct output *now, int kind)
{
  const struct model_operation *op = &check->place.session->op[kind];
  const struct output *asked = before(check, call, &queries, kind);
  struct finding *f = NULL;
  if (!asked) return;
  if (call->rv == CKR_OPERATION_NOT_INITIALIZED && model_active(op)) {
    f = finding_report(check, SEVERITY_ERROR, (uint64_t)asked->known,
                       "%s with a NULL buffer, which only asks for the length, ends the operation",
                       p11_functions[asked->known].name);
  } else if (call->rv == CKR_OK && same_question(asked, now) && asked->length != UNKNOWN && now->length != UNKNOWN &&
             now->length > asked->length) {
    f = finding_report(check, SEVERITY_ERROR, (uint64_t)call->known,
                       "%s announces %" PRIu64 " bytes and then gives %" PRIu64, call->info->name, asked->length,
                       now->length);
  }
  finding_note(f, &op->begun, NULL);
  finding_note(f, &op->last, "the query");
  finding_call(f, check, NULL);
}

/* The standard, conventions for output: "If pBuf is NULL_PTR, then all that the function does is return (in
 * *pulBufLen) a number of bytes which would suffice [...]. CKR_OK is returned by the function." NSS does so when it
 * ends a digest (pk11cxt.c, pk11_Finalize). Codes of sessions, tokens and logins are not about the query. */
void rule_op_03(struct check *check, const struct call *call)
{
  const int kind = model_op_of(call->known);
  const struct output now = output_of(call);
  if (kind >= 0 && !check->place.session) return;
  if (now.null)
    query(check, call, &now, kind);
  else if (kind >= 0 && kept_get(check->place.session->kept, &queries))
    answer(check, call, &now, kind);
}

static void refused(struct check *check, const struct call *call, const struct output *now, int kind)
{
  struct finding *f = NULL;
  const struct output *last = kind >= 0 ? before(check, call, &refusals, kind) : NULL;
  if (now->room != UNKNOWN && now->length != UNKNOWN && now->length <= now->room) {
    f = finding_report(check, SEVERITY_ERROR, (uint64_t)call->known,
                       "%s returns CKR_BUFFER_TOO_SMALL for %" PRIu64 " bytes, and says that %" PRIu64 " are needed",
                       call->info->name, now->room, now->length);
  } else if (last && same_question(last, now) && last->length != UNKNOWN && now->room != UNKNOWN &&
             now->room >= last->length) {
    f = finding_report(check, SEVERITY_ERROR, (uint64_t)call->known,
                       "%s says that %" PRIu64 " bytes are needed, and returns CKR_BUFFER_TOO_SMALL for %" PRIu64,
                       call->info->name, last->length, now->room);
    finding_note(f, &check->place.session->op[kind].last, NULL);
  }
  finding_call(f, check, NULL);
  if (kind >= 0) remember(check, call, &refusals, kind, now);
}

/* The standard: "If the buffer is not large enough, then CKR_BUFFER_TOO_SMALL is returned and *pulBufLen is set to
 * at least the number of bytes needed"; the operation goes on. A decryption may ask for more than it gives, so that
 * a buffer of exactly the plaintext may be refused: that is no fault, as the number told is larger then. */
void rule_op_04(struct check *check, const struct call *call)
{
  const int kind = model_op_of(call->known);
  if (kind >= 0 && !check->place.session) return;
  if (call->rv == CKR_BUFFER_TOO_SMALL) {
    const struct output now = output_of(call);
    if (!now.null && pick_kind(call, P11_K_OUT_BYTES) >= 0) refused(check, call, &now, kind);
    return;
  }
  if (kind < 0 || call->rv != CKR_OPERATION_NOT_INITIALIZED || !kept_get(check->place.session->kept, &refusals)) return;
  const struct model_operation *op = &check->place.session->op[kind];
  const struct output *last = before(check, call, &refusals, kind);
  if (!last || !model_active(op)) return;
  struct finding *f = finding_report(check, SEVERITY_ERROR, (uint64_t)last->known,
                                     "CKR_BUFFER_TOO_SMALL of %s ends the operation", p11_functions[last->known].name);
  finding_note(f, &op->begun, NULL);
  finding_note(f, &op->last, NULL);
  finding_call(f, check, NULL);
}

/* Room and count of a call that fills a buffer or an array. */
static bool amounts(const struct call *call, uint64_t *room, uint64_t *count)
{
  if (call->known == P11_F_C_FindObjects)
    return !pick_is_null(call, 1) && pick_in(call, 2, room) && pick_out(call, 3, count);
  const int length = pick_kind(call, P11_K_OUT_LENGTH);
  return length > 0 && !pick_is_null(call, (unsigned)length - 1) && pick_in(call, (unsigned)length, room) &&
         pick_out(call, (unsigned)length, count);
}

/* The standard: "If that buffer is large enough to hold the cryptographic output [...] *pulBufLen is set to the
 * exact number of bytes returned": never more than there is room for. Attributes are P11-OBJ-04's, slots
 * NSS-SLOT-01's. */
void rule_op_05(struct check *check, const struct call *call)
{
  const struct finding_options o = {.cause = CAUSE_LENGTH};
  uint64_t room, count;
  if (call->rv != CKR_OK || !amounts(call, &room, &count) || count <= room) return;
  const bool entries = call->known == P11_F_C_FindObjects || call->known == P11_F_C_GetMechanismList;
  struct finding *f = finding_report_as(check, &o, SEVERITY_ERROR, (uint64_t)call->known,
                                        "%s says that it wrote %" PRIu64 " %s into a buffer for %" PRIu64,
                                        call->info->name, count, entries ? "entries" : "bytes", room);
  finding_call(f, check, NULL);
}
