/* What calls hand out, end and lose. */
#include <stdlib.h>

#include "decoder/replay/maps_part.h"
#include "decoder/replay/results.h"

static void session_new(struct maps *maps, uint64_t recorded, uint64_t now, const struct call *call, uint64_t lost)
{
  struct life *life = life_begin(maps, &maps->session, recorded, now, call, lost);
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == P11_K_SLOT) life->session->place = place_make(maps, call->arg[i].in.number);
  if (life->session->place) life->session->place->sessions++;
}

void maps_pair_session(struct player *player, uint64_t recorded, uint64_t now, const struct call *call)
{
  if (recorded != CK_INVALID_HANDLE) session_new(player->maps, recorded, now, call, 0);
}

/* Is an object that the call made a session object? CKA_TOKEN is false by default; what a copy inherits is not known. */
static bool is_session_object(const struct call *call, unsigned output)
{
  if (call->known == P11_F_C_CopyObject) return false;
  /* The template that belongs to the output: C_GenerateKeyPair has two of each. */
  unsigned outputs_before = 0, at = 0;
  for (unsigned i = 0; i < output; i++) outputs_before += call->info->param[i].kind == P11_K_OUT_OBJECT;
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (call->info->param[i].kind != P11_K_TEMPLATE || at++ != outputs_before) continue;
    const struct value *in = &call->arg[i].in;
    for (size_t k = 0; k < in->count; k++) {
      const struct value *a = &in->item[k];
      if (a->number != CKA_TOKEN || !a->count) continue;
      const struct value *v = a->item;
      return !(v->form == P11T_V_BOOL ? v->number != 0 : v->kept == 1 && v->bytes[0]);
    }
  }
  return true;
}

static void object_new(struct maps *maps, uint64_t recorded, uint64_t now, const struct call *call, uint64_t lost)
{
  struct life *life = life_begin(maps, &maps->object, recorded, now, call, lost), *session = session_of(maps, call);
  life->place = session ? session->session->place : NULL;
  life->epoch = life->place ? life->place->epoch : 0;
  life->era = life->place ? life->place->era : 0;
  unsigned output = call->info->arity;
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (call->info->param[i].kind != P11_K_OUT_OBJECT) continue;
    life->made = true;
    if (call->arg[i].out.what == VALUE_NUMBER && call->arg[i].out.number == recorded) output = i;
  }
  /* Keys that come out of a mechanism's parameter are made as the others are. */
  if (!life->made || call->info->class == P11_CLASS_FIND || !session || session->to != UINT64_MAX) return;
  if (output < call->info->arity && !is_session_object(call, output)) return;
  life->owner = session;
  life->next = session->session->objects;
  if (life->next) life->next->previous = life;
  session->session->objects = life;
}

void maps_pair_object(struct player *player, uint64_t recorded, uint64_t now, const struct call *call)
{
  struct maps *maps = player->maps;
  if (recorded == CK_INVALID_HANDLE || now == CK_INVALID_HANDLE) return;
  struct life *life = call->info->class == P11_CLASS_FIND ? life_of(maps, &maps->object, recorded) : NULL;
  if (!life || life->to != UINT64_MAX) {
    object_new(maps, recorded, now, call, 0);
    return;
  }
  if (life->lost || (life->now != now && life_is_weak(life))) life_move(&maps->object, life, now);
  if (life->now == now && life->place) life->epoch = life->place->epoch;
}

/* --- ended --- */

static void end_sessions(struct maps *maps, uint64_t slot, uint64_t number)
{
  struct handles all = {0};
  size_t at = 0;
  for (struct life *life; (life = table_next(&maps->session.recorded, &at));)
    if (life->session->place && life->session->place->id == slot && life->from <= number)
      handles_add(&all, life->handle);
  for (size_t i = 0; i < all.count; i++)
    life_end(maps, &maps->session, table_get(&maps->session.recorded, all.at[i]), number);
  free(all.at);
}

static void end_object(struct maps *maps, uint64_t handle, uint64_t number, bool spare)
{
  struct life *life = life_of(maps, &maps->object, handle);
  if (!life) return;
  if (spare && !life->lost) table_put(&maps->spared, life->now, (void *)(uintptr_t)number);
  life_end(maps, &maps->object, life, number);
}

void maps_ended(struct player *player, const struct call *call)
{
  struct maps *maps = player->maps;
  struct life *session = session_of(maps, call);
  switch (call->known) {
    case P11_F_C_CloseSession:
      if (session) life_end(maps, &maps->session, session, call->end_number);
      break;
    case P11_F_C_CloseAllSessions: end_sessions(maps, call->arg[0].in.number, call->end_number); break;
    case P11_F_C_DestroyObject: end_object(maps, call->arg[1].in.number, call->end_number, false); break;
    case P11_F_C_Finalize: maps_finalized(maps, call->end_number); break;
    case P11_F_C_InitToken: end_sessions(maps, call->arg[0].in.number, call->end_number); /* fall through */
    case P11_F_C_Logout: {
      struct place *place = session                            ? session->session->place
                            : call->known == P11_F_C_InitToken ? place_make(maps, call->arg[0].in.number)
                                                               : NULL;
      /* "... private session objects are destroyed, and handles to private objects become invalid" (5.6.9). */
      if (place) place->epoch++, place->no_login = 0;
      break;
    }
    default: break;
  }
}

/* --- lost --- */

static void lose(struct maps *maps, struct side *side, uint64_t handle, const struct call *call)
{
  if (handle == CK_INVALID_HANDLE) return;
  struct life *life = life_of(maps, side, handle);
  if (call->info->class == P11_CLASS_FIND && life && life->to == UINT64_MAX) return; /* it is there from before */
  if (side == &maps->session)
    session_new(maps, handle, handle, call, number_of(call));
  else
    object_new(maps, handle, handle, call, number_of(call));
}

void maps_lose_found(struct maps *maps, uint64_t handle, const struct call *call)
{
  lose(maps, &maps->object, handle, call);
}

/* The processes that are replayed later find the token otherwise too. */
static void tell_later(struct player *player, const struct place *place, bool pin, const struct call *call)
{
  if (place && place->paired) results_changed(player->results, place->now, pin, number_of(call));
}

void maps_spare(struct player *player, uint64_t now, const struct call *call)
{
  const struct life *session = session_of(player->maps, call);
  table_put(&player->maps->spared, now, (void *)(uintptr_t)number_of(call));
  if (session) tell_later(player, session->session->place, false, call);
}

static void lose_outputs(struct player *player, const struct call *call)
{
  struct maps *maps = player->maps;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct value *out = &call->arg[i].out;
    switch (call->info->param[i].kind) {
      case P11_K_OUT_SESSION:
        if (out->what == VALUE_NUMBER) lose(maps, &maps->session, out->number, call);
        break;
      case P11_K_OUT_OBJECT:
        if (out->what != VALUE_NUMBER) break;
        lose(maps, &maps->object, out->number, call);
        const struct life *session = session_of(maps, call);
        if (session && !is_session_object(call, i)) tell_later(player, session->session->place, false, call);
        break;
      case P11_K_OUT_OBJECTS:
        for (size_t k = 0; k < out->count; k++) lose(maps, &maps->object, out->item[k].number, call);
        break;
      default: break;
    }
  }
}

void maps_lost(struct player *player, const struct call *call)
{
  struct maps *maps = player->maps;
  const bool returned = call->state == CALL_DONE || call->state == CALL_HEADLESS;
  if (!returned || call->rv != CKR_OK) return;
  const struct life *session = session_of(maps, call);
  struct place *place = session ? session->session->place : NULL;
  lose_outputs(player, call);
  switch (call->known) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
      /* That of one key is part of its operation (lost.c). */
      if (place && call->arg[1].in.number != CKU_CONTEXT_SPECIFIC) place->no_login = number_of(call);
      break;
    case P11_F_C_SetAttributeValue: {
      struct life *object = life_of(maps, &maps->object, call->arg[1].in.number);
      if (object) object->withheld = number_of(call);
      if (place) place->withheld = number_of(call);
      tell_later(player, place, false, call);
      break;
    }
    case P11_F_C_InitToken:
      place = place_make(maps, call->arg[0].in.number);
      place->withheld = number_of(call);
      tell_later(player, place, false, call);
      tell_later(player, place, true, call);
      maps_ended(player, call);
      break;
    case P11_F_C_CloseSession:
    case P11_F_C_CloseAllSessions:
    case P11_F_C_Finalize:
    case P11_F_C_Logout: maps_ended(player, call); break;
    case P11_F_C_InitPIN:
    case P11_F_C_SetPIN:
      if (place) place->withheld = number_of(call);
      tell_later(player, place, true, call);
      break;
    case P11_F_C_DestroyObject:
      end_object(maps, call->arg[1].in.number, call->end_number, true);
      tell_later(player, place, false, call);
      break;
    default: break;
  }
}
