#include "decoder/replay/lost.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "decoder/replay/live_part.h"
#include "decoder/replay/maps_part.h"
#include "decoder/replay/results.h"

static struct live_role role_of_call(const struct call *call)
{
  return call->known < 0 ? (struct live_role){0} : *live_role(call->known);
}

static uint64_t gone_of(const struct life *session, uint16_t bits)
{
  for (unsigned i = 0; i < LIVE_KINDS; i++)
    if (bits & 1u << i && session->session->gone[i]) return session->session->gone[i];
  return 0;
}

/* --- before --- */

static bool says_handle(uint64_t rv)
{
  switch (rv) {
    case CKR_CRYPTOKI_NOT_INITIALIZED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_SESSION_CLOSED:
    case CKR_OBJECT_HANDLE_INVALID:
    case CKR_KEY_HANDLE_INVALID: return true;
    default: return false;
  }
}

/* Of a trace that begins with the process under way: handles from before. */
static const char *reason_late(const struct maps *maps, const struct call *call)
{
  if (!maps->late || says_handle(call->rv)) return NULL;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const uint64_t handle = call->arg[i].in.number;
    switch (call->info->param[i].kind) {
      case P11_K_SESSION:
        if (!life_of(maps, &maps->session, handle) && handle) return "its session was opened before the trace begins";
        break;
      case P11_K_OBJECT:
      case P11_K_KEY:
        if (!life_of(maps, &maps->object, handle) && handle) return "its object was found before the trace begins";
        break;
      default: break;
    }
  }
  return NULL;
}

const char *lost_reason(struct player *player, const struct call *call, char *text, size_t size)
{
  const struct maps *maps = player->maps;
  const char *late = reason_late(maps, call);
  if (late) return late;
  const struct live_role use = role_of_call(call);
  const struct life *session = use.ops && !use.begins ? session_of(maps, call) : NULL;
  const uint64_t gone = session ? gone_of(session, use.ops) : 0;
  if (!gone) return NULL;
  snprintf(text, size, "its operation was lost with #%" PRIu64, gone);
  return text;
}

/* --- after --- */

/* What a login or the objects of a token have no part in. */
static bool is_apart(const struct call *call)
{
  return call->info->class == P11_CLASS_STATIC || call->info->class == P11_CLASS_RANDOM ||
         call->info->class == P11_CLASS_EVENT;
}

static const struct place *place_of_call(struct maps *maps, const struct call *call)
{
  const struct life *session = session_of(maps, call);
  if (session) return session->session->place;
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == P11_K_SLOT) return place_of(maps, call->arg[i].in.number);
  return NULL;
}

/* What the replay of an earlier process left otherwise on the token. */
static const char *excuse_before(const struct player *player, const struct place *place, const struct call *call,
                                 char *text, size_t size)
{
  const bool finds = call->info->class == P11_CLASS_FIND;
  const bool pin = call->info->class == P11_CLASS_LOGIN || call->known == P11_F_C_GetTokenInfo;
  if (!place || !place->paired || (!finds && !pin)) return NULL;
  const struct replay_change *change = results_change_before(player->options, place->now, pin);
  if (!change) return NULL;
  snprintf(text, size, "its token has %s today because of #%" PRIu64 " of %s", pin ? "another PIN" : "other objects",
           change->call, change->trace);
  return text;
}

const char *lost_excuse(struct player *player, const struct call *call, uint64_t rv, char *text, size_t size)
{
  struct maps *maps = player->maps;
  const struct life *session = session_of(maps, call);
  const struct place *place = place_of_call(maps, call);
  if (place && place->no_login && !is_apart(call)) {
    snprintf(text, size, "nobody is logged in: #%" PRIu64 " was not made or failed", place->no_login);
    return text;
  }
  if (place && place->no_try && call->known == P11_F_C_GetTokenInfo) {
    snprintf(text, size, "the wrong PIN of #%" PRIu64 " was not tried", place->no_try);
    return text;
  }
  if (session && session->session->explained && call->info->class == P11_CLASS_FIND) {
    snprintf(text, size, "its token has other objects today because of #%" PRIu64, session->session->explained);
    return text;
  }
  for (unsigned i = 0; i < call->info->arity; i++) {
    const unsigned kind = call->info->param[i].kind;
    if (kind != P11_K_OBJECT && kind != P11_K_KEY) continue;
    const struct life *object = life_of(maps, &maps->object, call->arg[i].in.number);
    if (object && object->withheld) {
      snprintf(text, size, "its object was not changed by #%" PRIu64, object->withheld);
      return text;
    }
    if (object && object->to != UINT64_MAX && call->number && call->number < object->to) {
      snprintf(text, size, "the end of its object, at #%" PRIu64 ", overlapped with it", object->to);
      return text;
    }
  }
  if (place && place->withheld && (call->info->class == P11_CLASS_FIND || call->info->class == P11_CLASS_POLL)) {
    snprintf(text, size, "its token was not changed by #%" PRIu64, place->withheld);
    return text;
  }
  if (session && session->to != UINT64_MAX && call->number && call->number < session->to) {
    snprintf(text, size, "the end of its session, at #%" PRIu64 ", overlapped with it", session->to);
    return text;
  }
  const char *before = excuse_before(player, place, call, text, size);
  if (before) return before;
  const struct live_role use = role_of_call(call);
  const uint64_t gone = session && use.begins ? gone_of(session, use.ops) : 0;
  if (!gone || (rv != CKR_OPERATION_ACTIVE && call->rv != CKR_OPERATION_ACTIVE)) return NULL;
  snprintf(text, size, "the operation before it went another way with #%" PRIu64, gone);
  return text;
}

static bool is_login(const struct call *call)
{
  return call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser;
}

/* The token counts wrong PINs until the right one comes. */
static void note_tries(struct player *player, const struct call *call, bool made)
{
  const struct life *session = session_of(player->maps, call);
  if (!session || !session->session->place) return;
  if (call->rv == CKR_OK)
    session->session->place->no_try = 0;
  else if (!made)
    session->session->place->no_try = number_of(call);
}

/* Of a login for one key (CKU_CONTEXT_SPECIFIC): the operations that it is for. */
static const uint16_t of_one_key = 1u << LIVE_SIGN | 1u << LIVE_DECRYPT;

static bool is_login_of_key(const struct call *call)
{
  return is_login(call) && call->arg[1].in.number == CKU_CONTEXT_SPECIFIC;
}

void lost_note(struct player *player, const struct call *call, bool made, uint64_t rv)
{
  struct live_role use = role_of_call(call);
  if (is_login(call)) note_tries(player, call, made);
  if (is_login_of_key(call)) use.ops = of_one_key;
  if (!use.ops && call->known != P11_F_C_SessionCancel) return;
  struct life *life = session_of(player->maps, call);
  if (!life) return;
  struct session *session = life->session;
  const bool same = made && rv == call->rv;
  if (use.begins && use.ops & 1u << LIVE_FIND) maps_search_begins(session, call);
  if (call->known == P11_F_C_SessionCancel) {
    if (same && rv == CKR_OK) memset(session->gone, 0, sizeof session->gone);
    return;
  }
  if (same && !use.begins) return;
  for (unsigned i = 0; i < LIVE_KINDS; i++) {
    if (!(use.ops & 1u << i)) continue;
    if (same)
      session->gone[i] = 0;
    else if (!session->gone[i] || use.begins)
      session->gone[i] = number_of(call);
  }
}
