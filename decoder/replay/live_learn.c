/* What a call that was made leaves behind: handles, bytes that later calls take in, and what is not to be trusted any more. */
#include <string.h>

#include "decoder/replay/live_part.h"
#include "decoder/replay/maps.h"
#include "decoder/replay/maps_misfit.h"
#include "decoder/replay/results.h"

static uint64_t word_at(const void *p)
{
  return p == NULL ? 0 : *(const CK_ULONG *)p;
}

static void *pointer_at(uint64_t v)
{
  return (void *)(uintptr_t)v;
}

/* --- structures ------------------------------------------------------------------------------------------------- */

static void learn_object(struct live *live, struct player *player, uint64_t then, uint64_t now, unsigned taint)
{
  if (then == CK_INVALID_HANDLE || now == CK_INVALID_HANDLE) return;
  maps_pair_object(player, then, now, live->call);
  live_object_mark(player, then, taint);
}

static void learn_members(struct live *live, struct player *player, const struct value *then, const uint8_t *at,
                          unsigned depth)
{
  const struct p11_struct *s = then->what == VALUE_STRUCT ? p11_struct_info(then->structure) : NULL;
  for (size_t i = 0; s != NULL && i < then->count && depth < 8; i++) {
    const struct value *v = &then->item[i];
    const struct p11_field *f = v->member < s->count ? &s->field[v->member] : NULL;
    if (f == NULL || !(f->direction & P11_OUT)) continue;
    const uint8_t *here = at + f->offset, *behind = NULL;
    CK_ULONG number = 0;
    if (f->kind >= P11_FK_BYTES && f->kind != P11_FK_SLOT) memcpy(&behind, here, sizeof behind);
    switch (f->kind) {
      case P11_FK_HANDLE:
        memcpy(&number, here, sizeof number);
        learn_object(live, player, v->number, number, live->taint | TAINT_FRESH);
        break;
      case P11_FK_STRUCT: learn_members(live, player, v, here, depth + 1); break;
      default:
        if (behind == NULL || v->pointer == P11T_P_NULL || v->pointer == P11T_P_UNREADABLE) break;
        if (f->kind == P11_FK_PHANDLE) {
          learn_object(live, player, v->number, word_at(behind), live->taint | TAINT_FRESH);
        } else if (f->kind == P11_FK_PSTRUCT) {
          learn_members(live, player, v, behind, depth + 1);
        } else if (f->kind == P11_FK_STRUCTS && v->what == VALUE_LIST) {
          size_t size = p11_struct_info(f->ref)->size;
          for (size_t k = 0; k < v->count; k++) learn_members(live, player, &v->item[k], behind + k * size, depth + 1);
        } else if (v->what == VALUE_BYTES && v->form != P11T_V_NULL && !live_absurd(v->length) &&
                   live->call->info->group != P11_GROUP_ASYNC) {
          payload_learn(player, v, behind, (size_t)v->length);
        }
        break;
    }
  }
}

/* --- outputs ---------------------------------------------------------------------------------------------------- */

/* Attributes of keys, and whatever is known by its tag; names and labels are the application's. */
static void learn_attributes(struct live *live, struct player *player, unsigned i)
{
  const struct value *then = &live->call->arg[i].out, *asked = &live->call->arg[i].in;
  const CK_ATTRIBUTE *a = pointer_at(live->v[i]);
  if (a == NULL || then->what != VALUE_TEMPLATE || then->count != asked->count) return;
  for (size_t k = 0; k < then->count; k++) {
    const struct value *value = then->item[k].count > 0 ? then->item[k].item : NULL;
    if (a[k].pValue == NULL)
      live_attribute_answered(player, live->call, a[k].type, then->item[k].length, a[k].ulValueLen);
    if (value == NULL || value->what != VALUE_BYTES || a[k].pValue == NULL || asked->item[k].length > PAYLOAD_MOST ||
        a[k].ulValueLen > asked->item[k].length) {
      continue;
    }
    if (!value_is_tagged(value) && !attribute_is_of_key(a[k].type)) continue;
    payload_learn(player, value, a[k].pValue, a[k].ulValueLen);
  }
}

static bool live_makes_keys(int function)
{
  return function == P11_F_C_GenerateKey || function == P11_F_C_GenerateKeyPair;
}

/* Keys that the module makes are others each time, and so is what is unwrapped with or derived from them. */
static unsigned taint_of_new(const struct live *live)
{
  const struct call *call = live->call;
  if (live->tainted) return live->taint | TAINT_STAND_IN | TAINT_FRESH;
  switch (call->known) {
    case P11_F_C_GenerateKey:
    case P11_F_C_GenerateKeyPair:
    case P11_F_C_EncapsulateKey:
    case P11_F_C_DecapsulateKey: return live->taint | TAINT_FRESH;
    default: return live->taint | (live_role(call->known)->consumes ? TAINT_FRESH : 0u);
  }
}

/* Was the buffer that this is the length of NULL? */
static bool asks_for_length(const struct live *live, unsigned param)
{
  for (unsigned i = 0; i < live->call->info->arity; i++) {
    if (live->call->info->param[i].link == param + 1) return live->v[i] == 0;
  }
  return false;
}

static void learn_output(struct live *live, struct player *player, unsigned i)
{
  const struct argument *arg = &live->call->arg[i];
  const struct p11_param *p = &live->call->info->param[i];
  switch (p->kind) {
    case P11_K_OUT_BYTES:
    case P11_K_OUT_BYTES_OF:
      if (arg->out.what == VALUE_BYTES && arg->out.form != P11T_V_NULL && live->v[i] != 0)
        payload_learn(player, &arg->out, pointer_at(live->v[i]), (size_t)live_stored(live, i));
      break;
    case P11_K_OUT_LENGTH:
      if (asks_for_length(live, i) && arg->out.what == VALUE_NUMBER && live->v[i] != 0)
        live_answered(player, live->call, arg->out.number, word_at(pointer_at(live->v[i])));
      break;
    case P11_K_OUT_TEMPLATE: learn_attributes(live, player, i); break;
    case P11_K_OUT_SESSION:
      if (arg->out.what != VALUE_NUMBER) break;
      live_session_gone(player, arg->out.number);
      maps_pair_session(player, arg->out.number, word_at(pointer_at(live->v[i])), live->call);
      break;
    case P11_K_OUT_OBJECT:
      if (arg->out.what == VALUE_NUMBER && !live_is_size_query(live->call))
        learn_object(live, player, arg->out.number, word_at(pointer_at(live->v[i])), taint_of_new(live));
      if (live_makes_keys(live->call->known)) player->results->made_keys = true;
      break;
    case P11_K_OUT_STRUCT:
      if (live->v[i] != 0) learn_members(live, player, &arg->out, pointer_at(live->v[i]), 0);
      break;
    case P11_K_MESSAGE_PARAM:
      if (live->v[i] != 0) learn_members(live, player, &arg->in, pointer_at(live->v[i]), 0);
      break;
    case P11_K_MECHANISM: {
      const CK_MECHANISM *m = pointer_at(live->v[i]);
      if (m != NULL && m->pParameter != NULL && arg->out.what == VALUE_STRUCT)
        learn_members(live, player, &arg->out, m->pParameter, 0);
      break;
    }
    default: break;
  }
}

/* --- operations ------------------------------------------------------------------------------------------------- */

/* A call that fails ends the operation, unless the buffer was too small (2.40, 5.2). */
static bool goes_on(const struct live_role *role, uint64_t rv)
{
  if (rv == CKR_BUFFER_TOO_SMALL) return true;
  return rv == CKR_OK && !role->ends;
}

static void learn_operations(struct live *live, struct player *player)
{
  const struct call *call = live->call;
  const struct live_role *role = live_role(call->known);
  if (role->ops == 0 || live_is_size_query(call)) return;
  uint64_t session = call->arg[0].in.number;
  bool then = goes_on(role, call->rv), now = goes_on(role, live->rv);
  for (unsigned ops = role->ops; ops != 0; ops &= ops - 1) {
    unsigned kind = (unsigned)__builtin_ctz(ops);
    struct live_op *op = live_op_find(player, session, kind);
    if (role->begins) {
      if (call->rv != CKR_OK && live->rv != CKR_OK) continue; /* what was active still is */
      op = live_op_make(player, session, kind);
      op->mechanism =
          call->info->param[1].kind == P11_K_MECHANISM ? call->arg[1].in.number : CK_UNAVAILABLE_INFORMATION;
      op->taint = live->taint;
      if (then != now) op->taint |= TAINT_LOST;
      continue;
    }
    if (op == NULL && then == now) continue;
    if (op == NULL) op = live_op_make(player, session, kind);
    /* The recorder saw both ends: the operation is over in both, or it is active in one only. */
    op->taint = then != now ? op->taint | TAINT_LOST : then ? op->taint | live->taint : 0;
  }
}

/* --- the call --------------------------------------------------------------------------------------------------- */

static bool hands_out(const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    uint8_t kind = call->info->param[i].kind;
    if (kind == P11_K_OUT_SESSION || kind == P11_K_OUT_OBJECT || call->arg[i].out.what == VALUE_STRUCT) return true;
  }
  return false;
}

static void learn_ends(struct live *live, struct player *player)
{
  const struct call *call = live->call;
  switch (call->known) {
    case P11_F_C_CloseSession: live_session_gone(player, call->arg[0].in.number); break;
    case P11_F_C_DestroyObject: live_object_mark(player, call->arg[1].in.number, live_object_default(player)); break;
    case P11_F_C_Finalize: live_all_gone(player); break;
    case P11_F_C_Login:
    case P11_F_C_LoginUser: player->payload->so = call->arg[1].in.number == CKU_SO; return;
    case P11_F_C_Logout: player->payload->so = false; break;
    case P11_F_C_CloseAllSessions: break;
    default: return;
  }
  maps_ended(player, call);
}

void live_learn(struct live *live, struct player *player)
{
  const struct call *call = live->call;
  unsigned arity = call->info->arity;
  bool then = call->state == CALL_DONE && call->rv == CKR_OK, now = live->rv == CKR_OK;
  if (then && now) {
    for (unsigned i = 0; i < arity; i++) learn_output(live, player, i);
  } else if (call->state == CALL_DONE && code_fills_template(call->rv) && code_fills_template(live->rv)) {
    for (unsigned i = 0; i < arity; i++) {
      if (call->info->param[i].kind == P11_K_OUT_TEMPLATE) learn_attributes(live, player, i);
    }
  } else if (then && hands_out(call)) {
    maps_lost(player, call);
  }
  if (then && now && call->known == P11_F_C_FindObjectsInit) maps_misfit_asked(player, live);
  if (then) learn_ends(live, player);
  verify_see(player, live);
  learn_operations(live, player);
  live_wipe(live);
  if (live->rv == CKR_PENDING) live_abandon(live);
}
