#include "decoder/replay/guard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "decoder/model/table.h"
#include "decoder/replay/good_pin.h"
#include "decoder/replay/maps.h"
#include "decoder/replay/payload.h"

enum { USERS = 2 /* SO, user */ };

struct guard {
  struct table good[USERS]; /* tags of PINs that a login succeeded with */
  struct {
    bool known;
    uint64_t tag, slot; /* with which the given PIN was good today */
  } proved[USERS];
};

/* What the replays of all processes of a trace share: they may be played side by side, on one token. */
static struct shared {
  pthread_mutex_t turn; /* of calls with a PIN */
  bool refused;
  char refusal[160];
} * shared;

void guard_share(void)
{
  if (shared) return;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    fputs("p11trace: replay: out of memory\n", stderr);
    exit(2);
  }
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  /* A module may take its process along in the middle of a login. */
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&shared->turn, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

static void take_turn(void)
{
  if (pthread_mutex_lock(&shared->turn) == EOWNERDEAD) pthread_mutex_consistent(&shared->turn);
}

struct guard *guard_new(void)
{
  struct guard *guard = model_alloc(sizeof *guard);
  guard_share();
  return guard;
}

void guard_free(struct guard *guard)
{
  if (!guard) return;
  for (unsigned i = 0; i < USERS; i++) table_clear(&guard->good[i], NULL);
  free(guard);
}

static bool is_login(const struct call *call)
{
  return call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser;
}

/* The PIN that is asked for: index into good. CKU_CONTEXT_SPECIFIC takes the user's. */
static unsigned user_of(const struct call *call)
{
  return call->arg[1].in.number != CKU_SO;
}

static bool tag_of(const struct value *pin, uint64_t *tag)
{
  *tag = pin->number;
  return pin->what == VALUE_BYTES && (pin->form == P11T_V_TAG || pin->form == P11T_V_SEALED);
}

static bool is_null(const struct call *call)
{
  return call->arg[2].in.pointer == P11T_P_NULL;
}

void guard_foresee(struct guard *guard, const struct call *call)
{
  uint64_t tag;
  if (is_login(call) && call->rv == CKR_OK && tag_of(&call->arg[2].in, &tag))
    table_put(&guard->good[user_of(call)], tag, guard);
}

/* Would the PIN not even be looked at, whoever is logged in? With --destructive any other one shows whether it is. */
static bool is_apart_from_pin(const struct call *call)
{
  return good_pin_is_unread(call) &&
         (call->rv == CKR_SESSION_READ_ONLY_EXISTS || call->rv == CKR_SESSION_HANDLE_INVALID ||
          call->rv == CKR_CRYPTOKI_NOT_INITIALIZED || call->rv == CKR_USER_TYPE_INVALID);
}

static const char *withholds_login(struct guard *guard, struct player *player, const struct call *call)
{
  const bool destructive = player->options->destructive;
  if (is_null(call))
    return good_pin_is_refusal(call->rv) && !destructive ? "its PIN was refused when it was recorded" : NULL;
  const unsigned user = user_of(call);
  const struct value *good = good_pin_for(player, call), *pin = good ? good : &call->arg[2].in;
  uint64_t tag;
  if (good_pin_is_refusal(call->rv) && !destructive)
    return "its PIN was refused when it was recorded (--destructive makes it)";
  if (!payload_pin_is_known(player, pin, user ? PAYLOAD_PIN_USER : PAYLOAD_PIN_SO)) {
    if (destructive && is_apart_from_pin(call)) return NULL;
    return user ? "no PIN was given: give --pin-file" : "no PIN of the security officer was given: give --so-pin-file";
  }
  if (!tag_of(pin, &tag) || destructive) return NULL;
  if (call->rv != CKR_OK && guard->good[user].count && !table_get(&guard->good[user], tag))
    return "its PIN is not the one that was good when it was recorded";
  uint64_t slot = 0;
  /* Of sealed PINs each login has its own. */
  const bool given = (user ? &player->options->user : &player->options->so)->given;
  if (given && guard->proved[user].known && guard->proved[user].tag != tag &&
      (!maps_session_slot(player, call->arg[0].in.number, &slot) || slot != guard->proved[user].slot))
    return "its token had another PIN than the one that was given";
  return NULL;
}

const char *guard_withholds(struct guard *guard, struct player *player, const struct call *call)
{
  const bool destructive = player->options->destructive;
  switch (call->known) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser: return withholds_login(guard, player, call);
    case P11_F_C_InitToken: return destructive ? NULL : "it clears a token (--destructive makes it)";
    case P11_F_C_InitPIN:
    case P11_F_C_SetPIN: return destructive ? NULL : "it changes a PIN (--destructive makes it)";
    case P11_F_C_DestroyObject:
    case P11_F_C_SetAttributeValue:
      if (destructive || maps_object_made(player, call->arg[1].in.number) ||
          maps_object_none(player, call->arg[1].in.number))
        return NULL;
      return call->known == P11_F_C_DestroyObject
                 ? "it destroys an object that the replay did not make (--destructive makes it)"
                 : "it changes an object that the replay did not make (--destructive makes it)";
    default: return NULL;
  }
}

bool guard_concerns(const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == P11_K_PIN) return true;
  return false;
}

/* Today's slot of the call's token. */
static bool slot_of(struct player *player, const struct call *call, uint64_t *slot)
{
  uint64_t recorded, why;
  pthread_mutex_lock(&player->lock);
  maps_at(player->maps, call);
  bool known = true;
  if (call->known == P11_F_C_InitToken)
    recorded = call->arg[0].in.number;
  else
    known = maps_session_slot(player, call->arg[0].in.number, &recorded);
  known = known && maps_slot(player, recorded, slot, &why);
  pthread_mutex_unlock(&player->lock);
  return known;
}

const char *guard_enter(struct player *player, const struct call *call, char *text, size_t size)
{
  take_turn();
  if (shared->refused) {
    snprintf(text, size, "before #%" PRIu64 " (%s): %s in the replay of another process: the card counts wrong PINs",
             call->number, call->info->name, shared->refusal);
    return text;
  }
  const CK_FUNCTION_LIST_3_2 *functions = target_functions(player->target);
  uint64_t slot;
  CK_TOKEN_INFO info;
  if (!functions->C_GetTokenInfo || !slot_of(player, call, &slot) || functions->C_GetTokenInfo(slot, &info) != CKR_OK)
    return NULL;
  const bool so = call->known == P11_F_C_InitToken || (is_login(call) && !user_of(call));
  const CK_FLAGS final = so ? CKF_SO_PIN_FINAL_TRY : CKF_USER_PIN_FINAL_TRY;
  const CK_FLAGS locked = so ? CKF_SO_PIN_LOCKED : CKF_USER_PIN_LOCKED;
  if (!(info.flags & (final | locked))) return NULL;
  snprintf(text, size,
           "before #%" PRIu64 " (%s): the token in slot %" PRIu64
           " says %s: one more wrong PIN could lock it for good; log in "
           "once with the right PIN, then replay again",
           call->number, call->info->name, slot,
           info.flags & locked ? (so ? "CKF_SO_PIN_LOCKED" : "CKF_USER_PIN_LOCKED")
                               : (so ? "CKF_SO_PIN_FINAL_TRY" : "CKF_USER_PIN_FINAL_TRY"));
  return text;
}

const char *guard_refused(const struct live *live, char *text, size_t size)
{
  const struct call *call = live->call;
  if (!good_pin_is_refusal(live->rv) || good_pin_is_refusal(call->rv)) return NULL;
  const char *name = p11_constant_name(P11_DOM_CKR, live->rv);
  if (is_login(call) && live->stand_in)
    snprintf(
        text, size,
        "at #%" PRIu64
        " (%s): the module answered %s to a PIN that stands for the one that was not recorded; the card counts wrong "
        "PINs, so the replay ends",
        call->number, call->info->name, name ? name : "a refusal");
  else
    snprintf(text, size,
             "at #%" PRIu64
             " (%s): the module answered %s to the PIN that was given; the card counts wrong PINs, so it is not "
             "tried again: is it the PIN of this token?",
             call->number, call->info->name, name ? name : "a refusal");
  snprintf(shared->refusal, sizeof shared->refusal, "the PIN that was given was refused at #%" PRIu64, call->number);
  shared->refused = true;
  return text;
}

CK_RV guard_login(const CK_FUNCTION_LIST_3_2 *functions, CK_SESSION_HANDLE session, const struct replay_pin *pin)
{
  take_turn();
  CK_RV rv = CKR_PIN_INCORRECT;
  if (!shared->refused) {
    rv = functions->C_Login(session, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)pin->bytes, pin->length);
    if (good_pin_is_refusal(rv)) {
      snprintf(shared->refusal, sizeof shared->refusal, "the PIN that was given was refused before the first call");
      shared->refused = true;
    }
  }
  pthread_mutex_unlock(&shared->turn);
  return rv;
}

static void prove(struct guard *guard, struct player *player, const struct call *call)
{
  uint64_t tag, slot;
  if (!is_login(call) || !tag_of(&call->arg[2].in, &tag)) return;
  const unsigned user = user_of(call);
  if (guard->proved[user].known || !maps_session_slot(player, call->arg[0].in.number, &slot)) return;
  guard->proved[user].known = true;
  guard->proved[user].tag = tag;
  guard->proved[user].slot = slot;
}

void guard_leave(struct guard *guard, struct player *player, const struct live *live)
{
  if (live && live->rv == CKR_OK) {
    pthread_mutex_lock(&player->lock);
    maps_at(player->maps, live->call);
    prove(guard, player, live->call);
    if (live->call->rv == CKR_OK) good_pin_learn(player, live->call);
    pthread_mutex_unlock(&player->lock);
  }
  pthread_mutex_unlock(&shared->turn);
}
