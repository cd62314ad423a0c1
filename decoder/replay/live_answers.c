/* The two-call idiom (2.40, 5.2): an application that asks how large a buffer must be gives one of that size. Where the module of
 * today asks for more than the recorded one did, it gets what it asked for: the larger answer is one difference, and
 * CKR_BUFFER_TOO_SMALL would be none of the module's. */
#include "decoder/replay/live_part.h"

static uint64_t key_of(uint64_t whose, uint64_t what)
{
  uint64_t key = (whose * 0x9e3779b97f4a7c15ull ^ what) * 0x9fb21c651e98df25ull;
  return key == 0 ? 1 : key;
}

static struct live_answer *answer_of(struct payload *payload, uint64_t key)
{
  return &payload->answer[key >> 32 & (LIVE_ANSWERS - 1)];
}

static void put(struct payload *payload, uint64_t key, uint64_t then, uint64_t now)
{
  struct live_answer *answer = answer_of(payload, key);
  bool larger = then != CK_UNAVAILABLE_INFORMATION && now != CK_UNAVAILABLE_INFORMATION && now > then;
  if (larger) {
    *answer = (struct live_answer){key, then, now};
    payload->larger = true;
  } else if (answer->key == key) {
    answer->key = 0;
  }
}

static uint64_t get(struct payload *payload, uint64_t key, uint64_t given)
{
  if (!payload->larger) return given;
  const struct live_answer *answer = answer_of(payload, key);
  return answer->key == key && answer->then == given ? answer->now : given;
}

/* Of a session, or of the module for C_GetSlotList and its like. */
static uint64_t call_key(const struct call *call)
{
  bool session = call->info->arity > 0 && call->info->param[0].kind == P11_K_SESSION;
  return key_of(session ? call->arg[0].in.number : UINT64_MAX, (uint64_t)call->known);
}

void live_answered(struct player *player, const struct call *call, uint64_t then, uint64_t now)
{
  if (then != now || player->payload->larger) put(player->payload, call_key(call), then, now);
}

uint64_t live_room_for(struct player *player, const struct call *call, uint64_t given)
{
  return call->rv == CKR_OK ? get(player->payload, call_key(call), given) : given;
}

static uint64_t attribute_key(const struct call *call, uint64_t type)
{
  return key_of(call->arg[1].in.number, 1ull << 63 | type);
}

void live_attribute_answered(struct player *player, const struct call *call, uint64_t type, uint64_t then, uint64_t now)
{
  if (then != now || player->payload->larger) put(player->payload, attribute_key(call, type), then, now);
}

uint64_t live_attribute_room(struct player *player, const struct call *call, uint64_t type, uint64_t given)
{
  return get(player->payload, attribute_key(call, type), given);
}
