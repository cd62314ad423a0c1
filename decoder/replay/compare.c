/* What came out beside what was recorded: the return code, then each parameter by its compare class in the function table. */
#include <inttypes.h>
#include <string.h>

#include "decoder/replay/live_part.h"
#include "decoder/replay/maps.h"
#include "decoder/replay/maps_misfit.h"

static const struct meaning return_code = {AS_ENUM, P11_DOM_CKR};

static uint64_t word_at(uint64_t pointer)
{
  return pointer == 0 ? 0 : *(const CK_ULONG *)(uintptr_t)pointer;
}

uint64_t live_stored(const struct live *live, unsigned param)
{
  const struct p11_param *p = &live->call->info->param[param];
  uint64_t stored = 0;
  if (live->v[param] == 0) return 0;
  switch (p->kind) {
    case P11_K_OUT_OBJECTS: stored = word_at(live->v[p->aux - 1]); break;
    case P11_K_OUT_BYTES_OF: stored = live->v[p->link - 1]; break;
    default: stored = word_at(live->v[p->link - 1]); break;
  }
  return stored < live->room[param] ? stored : stored == CK_UNAVAILABLE_INFORMATION ? 0 : live->room[param];
}

/* --- why a call cannot be compared ------------------------------------------------------------------------------ */

static const char *reason_of(struct live *live)
{
  if (live->taint & TAINT_LOST) return "the operation went another way before, for the difference that was shown then";
  if (live->stand_in != 0) {
    const char *name = live->call->info->param[__builtin_ctz(live->stand_in)].name;
    return live_cannot(live, "%s was not recorded: other bytes of that length stood in", name);
  }
  if (live->taint & TAINT_STAND_IN)
    return "its key or operation was made with bytes that stood in for what was not recorded";
  return "its key is not the recorded one, and what it is given was made with that";
}

/* --- parameters ------------------------------------------------------------------------------------------------- */

/* The mechanism that an output was made with. */
static uint64_t mechanism_of(struct comparing *c)
{
  const struct call *call = c->live->call;
  const struct live_role *role = live_role(call->known);
  if (role->ops != 0) {
    const struct live_op *op = live_op_find(c->player, call->arg[0].in.number, (unsigned)__builtin_ctz(role->ops));
    return op != NULL ? op->mechanism : CK_UNAVAILABLE_INFORMATION;
  }
  return call->info->arity > 1 && call->info->param[1].kind == P11_K_MECHANISM ? call->arg[1].in.number
                                                                               : CK_UNAVAILABLE_INFORMATION;
}

/* Where the table asks for no more than the length, the mechanism may say more: AES-CBC under one key and IV has one answer. */
static bool more_than_length(struct comparing *c)
{
  return c->live->taint == 0 && c->live->stand_in == 0 && c->live->call->info->group != P11_GROUP_MESSAGE &&
         mechanism_is_deterministic(mechanism_of(c));
}

/* Random numbers are compared by one thing only: that they are none of those that are no random numbers. */
static void random_bytes(struct comparing *c, const char *place, const struct value *then, const uint8_t *now,
                         size_t length)
{
  struct payload *payload = c->player->payload;
  if (length < 8 || !value_is_tagged(then)) return;
  bool equal = (then->shape & P11T_SHAPE_SAME) == 0 && memcmp(now, now + 1, length - 1) == 0;
  uint64_t name = payload_name(now, length);
  bool again = name == payload->random_name && then->number != payload->random_tag;
  payload->random_name = name;
  payload->random_tag = then->number;
  if (!equal && !again) return;
  struct difference *d = compare_differ(c, "%s", place);
  compare_text(d->recorded, "<%zu random bytes>", length);
  compare_text(d->replayed, equal ? "<%zu bytes, all equal>" : "<%zu bytes, those of the call before>", length);
}

static void output_bytes(struct comparing *c, unsigned i)
{
  struct live *live = c->live;
  const struct p11_param *p = &live->call->info->param[i];
  const struct value *then = &live->call->arg[i].out;
  if (then->what != VALUE_BYTES || then->form == P11T_V_NULL || live->v[i] == 0) return;
  const uint8_t *now = (const uint8_t *)(uintptr_t)live->v[i];
  size_t length = (size_t)live_stored(live, i);
  bool exact = p->compare == P11_CMP_EXACT && compare_exactly(c);
  if (p->compare == P11_CMP_VERIFY) {
    switch (verify_signature(c->player, live)) {
      case VERIFIED: return;
      case VERIFIED_WRONG: {
        struct difference *d = compare_differ(c, "%s", p->name);
        compare_text(d->recorded, "<%" PRIu64 " bytes>", then->length);
        compare_text(d->replayed, "<%zu bytes, no signature of the key over the data>", length);
        return;
      }
      case VERIFIED_NOT: exact = more_than_length(c); break;
    }
  } else if (p->compare == P11_CMP_LENGTH) {
    exact = more_than_length(c);
  }
  if (p->kind == P11_K_OUT_BYTES_OF) random_bytes(c, p->name, then, now, length);
  if (exact) compare_bytes(c, p->name, then, (struct meaning){AS_BYTES, 0}, (enum p11_secrecy)p->secrecy, now, length);
}

/* The length of what a decryption gives depends on what it decrypts. */
static void output_length(struct comparing *c, unsigned i)
{
  struct live *live = c->live;
  const struct argument *arg = &live->call->arg[i];
  const struct p11_param *p = &live->call->info->param[i];
  if (arg->out.what != VALUE_NUMBER || live->v[i] == 0) return;
  if (live->tainted && live_role(live->call->known)->consumes) return;
  /* The integers of a fresh private key are now and then a byte shorter than those of the recorded one. */
  if ((live->taint & TAINT_FRESH) &&
      (live->call->known == P11_F_C_WrapKey || live->call->known == P11_F_C_WrapKeyAuthenticated))
    return;
  char place[80] = "*";
  strncat(place, p->name, sizeof place - 2);
  compare_number(c, place, meaning_of_param(p), arg->out.number, word_at(live->v[i]));
}

static void output_number(struct comparing *c, unsigned i)
{
  struct live *live = c->live;
  const struct p11_param *p = &live->call->info->param[i];
  const struct value *then = &live->call->arg[i].out;
  if (then->what != VALUE_NUMBER || live->v[i] == 0) return;
  uint64_t now = word_at(live->v[i]), expected = then->number, why = 0;
  char place[80] = "*";
  strncat(place, p->name, sizeof place - 2);
  switch (p->kind) {
    case P11_K_OUT_SESSION:
    case P11_K_OUT_OBJECT:
      /* Any handle will do but none (2.40, 4.4: CK_INVALID_HANDLE is never a valid one). */
      if (now == CK_INVALID_HANDLE && !live_is_size_query(live->call))
        compare_number(c, place, meaning_of_param(p), then->number, now);
      break;
    case P11_K_OUT_SLOT: {
      if (maps_slot(c->player, then->number, &expected, &why) && expected == now) break;
      struct difference *d = compare_differ(c, "%s", place);
      compare_text(d->recorded, "%" PRIu64, then->number);
      compare_text(d->replayed, "%" PRIu64 ", which is another slot", now);
      break;
    }
    default:
      if (!live->tainted && live->taint == 0) compare_number(c, place, meaning_of_param(p), then->number, now);
      break;
  }
}

/* Slots that were listed belong together from now on. */
static void output_slots(struct comparing *c, unsigned i)
{
  const struct value *then = &c->live->call->arg[i].out;
  if (c->live->v[i] == 0 || then->what != VALUE_LIST) return;
  uint64_t *recorded = arena_alloc(&c->live->memory, (then->count + 1) * sizeof *recorded);
  for (size_t k = 0; k < then->count; k++) recorded[k] = then->item[k].number;
  maps_pair_slots(c->player, recorded, then->count, (const uint64_t *)(uintptr_t)c->live->v[i],
                  (size_t)live_stored(c->live, i));
}

static void misfit_differs(struct comparing *c, uint64_t type)
{
  struct difference *d = compare_differ(c, "phObject");
  struct text name;
  text_open(&name, -1);
  show_constant(&name, P11_DOM_CKA, type);
  compare_text(d->recorded, "objects that were asked for");
  compare_text(d->replayed, "an object whose %.*s is not the one that was asked for", (int)(name.at - name.base),
               name.base);
  text_close(&name);
}

/* What a search found, whatever its order. */
static void found_objects(struct comparing *c, const uint64_t *now, size_t count)
{
  size_t missing = 0, more = 0;
  unsigned differences = *c->count;
  maps_pair_found(c->player, c->live->call->arg[0].in.number, c->live->call, now, count, &missing, &more);
  uint64_t type = 0;
  const bool misfits = maps_misfit(c->player, c->live->call, &type);
  if ((missing == 0 && more == 0 && !misfits) || c->live->tainted || differences > 0) return;
  if (misfits) {
    misfit_differs(c, type);
    return;
  }
  struct difference *d = compare_differ(c, "phObject");
  compare_text(d->recorded, "%zu objects that this search does not find", missing);
  compare_text(d->replayed, "%zu objects that the recorded one did not find", more);
}

static void output(struct comparing *c, unsigned i)
{
  struct live *live = c->live;
  const struct argument *arg = &live->call->arg[i];
  const struct p11_param *p = &live->call->info->param[i];
  switch (p->kind) {
    case P11_K_OUT_BYTES:
    case P11_K_OUT_BYTES_OF: output_bytes(c, i); break;
    case P11_K_OUT_LENGTH: output_length(c, i); break;
    case P11_K_OUT_NUMBER:
    case P11_K_OUT_FLAGS:
    case P11_K_OUT_SLOT:
    case P11_K_OUT_SESSION:
    case P11_K_OUT_OBJECT: output_number(c, i); break;
    case P11_K_OUT_SLOTS: output_slots(c, i); break;
    case P11_K_OUT_MECHANISMS: compare_mechanisms(c, i); break;
    case P11_K_OUT_TEMPLATE: compare_attributes(c, i); break;
    case P11_K_OUT_STRUCT: compare_structure(c, p->name, &arg->out, (const void *)(uintptr_t)live->v[i]); break;
    case P11_K_OUT_FUNCTION_LIST:
      if (live->v[i] != 0) compare_functions(c, *(void *const *)(uintptr_t)live->v[i], false);
      break;
    case P11_K_OUT_INTERFACE:
    case P11_K_OUT_INTERFACES: compare_interfaces(c, i); break;
    case P11_K_MECHANISM: {
      const CK_MECHANISM *m = (const CK_MECHANISM *)(uintptr_t)live->v[i];
      if (m != NULL && arg->out.what == VALUE_STRUCT && live->taint == 0)
        compare_structure(c, p->name, &arg->out, m->pParameter);
      break;
    }
    case P11_K_MESSAGE_PARAM:
      if (arg->in.what == VALUE_STRUCT && live->taint == 0)
        compare_structure(c, p->name, &arg->in, (const void *)(uintptr_t)live->v[i]);
      break;
    default: break;
  }
}

/* C_FindObjects says at the end whether all were found, so its list comes after its count. */
static void outputs(struct comparing *c)
{
  const struct live *live = c->live;
  unsigned arity = live->call->info->arity;
  for (unsigned i = 0; i < arity; i++) output(c, i);
  for (unsigned i = 0; i < arity; i++) {
    if (live->call->info->param[i].kind != P11_K_OUT_OBJECTS) continue;
    found_objects(c, (const uint64_t *)(uintptr_t)live->v[i], (size_t)live_stored(live, i));
    return;
  }
  if (live->call->known == P11_F_C_FindObjectsFinal) found_objects(c, NULL, 0);
}

/* --- the call --------------------------------------------------------------------------------------------------- */

static void overruns(struct comparing *c)
{
  for (const struct live_piece *piece = c->live->piece; piece != NULL; piece = piece->next) {
    size_t behind = piece->guarded ? live_overrun(piece) : 0;
    if (behind == 0) continue;
    struct text name;
    text_open(&name, -1);
    if (piece->name != NULL) {
      text_s(&name, piece->name);
    } else {
      show_constant(&name, P11_DOM_CKA, piece->attribute);
    }
    struct difference *d = compare_differ(c, "behind %.*s", (int)(name.at - name.base), name.base);
    compare_text(d->recorded, "nothing");
    compare_text(d->replayed, "wrote %zu bytes behind %.*s", behind, (int)(name.at - name.base), name.base);
    text_close(&name);
  }
}

/* Of two return codes that differ: does it lie in what stood in for something else? */
static bool is_our_doing(const struct live *live)
{
  uint64_t then = live->call->rv;
  if (!live->tainted) return false;
  if (live->taint & TAINT_LOST) return true;
  return code_depends_on_data(live->call, then) && code_depends_on_data(live->call, live->rv);
}

/* An attribute that is readable on one side only is why the codes differ: it is said once, by its name. */
static void drop_code(struct comparing *c, unsigned param)
{
  const struct argument *arg = &c->live->call->arg[param];
  const CK_ATTRIBUTE *now = (const CK_ATTRIBUTE *)(uintptr_t)c->live->v[param];
  bool explained = false;
  if (now == NULL || arg->out.what != VALUE_TEMPLATE || arg->in.count != arg->out.count) return;
  for (size_t i = 0; i < arg->out.count; i++) {
    bool then = arg->out.item[i].length != CK_UNAVAILABLE_INFORMATION;
    explained |= then != (now[i].ulValueLen != CK_UNAVAILABLE_INFORMATION);
  }
  if (!explained || *c->count < 2 || strcmp(c->found[0].place, "rv") != 0) return;
  memmove(c->found, c->found + 1, --*c->count * sizeof *c->found);
}

enum outcome live_compare(struct live *live, struct player *player, struct difference *found, unsigned *count,
                          const char **reason)
{
  struct comparing c = {live, player, found, count, false};
  const struct call *call = live->call;
  bool incomparable = false;
  *count = 0;
  *reason = NULL;
  overruns(&c);
  if (call->state != CALL_DONE) {
    *reason = "the recorded call did not return";
    return *count > 0 ? OUTCOME_DIFFERENT : OUTCOME_INCOMPARABLE;
  }
  if (call->rv != live->rv) {
    incomparable = is_our_doing(live);
    if (!incomparable) compare_number(&c, "rv", return_code, call->rv, live->rv);
    if (!incomparable && code_fills_template(call->rv) && code_fills_template(live->rv)) {
      for (unsigned i = 0; i < call->info->arity; i++) {
        if (call->info->param[i].kind != P11_K_OUT_TEMPLATE) continue;
        compare_attributes(&c, i);
        drop_code(&c, i);
      }
    }
  } else if (call->rv == CKR_OK) {
    outputs(&c);
  } else if (code_fills_template(call->rv)) {
    for (unsigned i = 0; i < call->info->arity; i++) {
      uint8_t kind = call->info->param[i].kind;
      if (kind == P11_K_OUT_TEMPLATE) compare_attributes(&c, i);
      if (kind == P11_K_OUT_LENGTH && call->rv == CKR_BUFFER_TOO_SMALL) output_length(&c, i);
    }
  }
  if (*count > 0) return OUTCOME_DIFFERENT;
  if (!incomparable && !c.unsure) return OUTCOME_SAME;
  *reason = reason_of(live);
  return OUTCOME_INCOMPARABLE;
}
