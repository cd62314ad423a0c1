/* A recorded call made ready to be made: each parameter by its kind in the function table. */
#include "decoder/replay/live.h"

#include <inttypes.h>
#include <string.h>

#include "decoder/replay/good_pin.h"
#include "decoder/replay/live_part.h"
#include "decoder/replay/maps.h"

/* Where the recorder says no more than that two buffers overlap, the input lies this far behind the output's beginning. */
#define OVERLAP 8

static uint64_t address(const void *p)
{
  return (uint64_t)(uintptr_t)p;
}

/* --- outputs ---------------------------------------------------------------------------------------------------- */

/* Bytes, or entries, that there was room for. */
static uint64_t capacity(struct laying *l, unsigned i)
{
  const struct call *call = l->live->call;
  const struct p11_param *p = &call->info->param[i];
  if (p->link == 0) return 0;
  const struct value *length = &call->arg[p->link - 1].in;
  if (length->what != VALUE_NUMBER) return 0;
  bool asked = call->info->param[p->link - 1].kind == P11_K_OUT_LENGTH;
  return asked ? live_room_for(l->player, call, length->number) : length->number;
}

/* The length that goes in with a buffer. */
static uint64_t given_length(struct laying *l)
{
  const struct call *call = l->live->call;
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (call->info->param[i].link == l->param + 1 && call->arg[i].in.pointer != P11T_P_NULL) return capacity(l, i);
  }
  return call->arg[l->param].in.number;
}

/* A buffer of `count` entries. One for which nobody has memory was never filled: 64 KiB, and the length as it was given. */
static void *room(struct laying *l, uint64_t count, size_t size)
{
  unsigned i = l->param;
  const char *name = l->live->call->info->param[i].name;
  if (live_absurd(count) || live_absurd(count * size)) {
    l->live->room[i] = 65536 / size;
    return live_small(l->live);
  }
  l->live->room[i] = count;
  return live_room(l->live, (size_t)count * size, name, 0);
}

/* The input that lies in the same memory as output `i`, -1 none; *overlap where only a part does. */
static int shared_with(const struct call *call, unsigned i, bool *overlap)
{
  for (unsigned k = 0; k < i; k++) {
    if (call->info->param[k].kind != P11_K_IN_BYTES) continue;
    unsigned in = call->arg[k].in.pointer, out = call->arg[i].in.pointer;
    bool same = in == P11T_P_SAME + i + 1 || out == P11T_P_SAME + k + 1;
    *overlap = !same;
    if (same || in == P11T_P_OVERLAP + i + 1 || out == P11T_P_OVERLAP + k + 1) return (int)k;
  }
  return -1;
}

/* In place (5.2 of 2.40 allows it nowhere and forbids it nowhere; NSS and TLS do it): input and output are one piece of memory. */
static void out_bytes(struct laying *l)
{
  struct live *live = l->live;
  const struct call *call = live->call;
  unsigned i = l->param;
  uint64_t can = capacity(l, i);
  bool overlap = false;
  int in = shared_with(call, i, &overlap);
  const struct value *input = in < 0 ? NULL : &call->arg[in].in;
  if (input == NULL || live_absurd(can) || live_absurd(input->length) || input->what != VALUE_BYTES) {
    live->v[i] = address(room(l, can, 1));
    return;
  }
  uint64_t offset = overlap ? OVERLAP : 0, whole = input->length + offset > can ? input->length + offset : can;
  uint8_t *to = room(l, whole, 1);
  live->room[i] = can;
  live->v[i] = address(to);
  live->v[in] = address(to + offset);
  l->param = (unsigned)in;
  live_fill(l, input, live_class(call->info->param[in].secrecy), to + offset);
  l->param = i;
}

/* --- inputs ----------------------------------------------------------------------------------------------------- */

/* The length as given, which goes with the bytes where those are others now. */
static void in_bytes(struct laying *l, enum payload_class class)
{
  struct live *live = l->live;
  unsigned i = l->param, link = live->call->info->param[i].link - 1u;
  if (live->v[i] != 0) return; /* in place: it is there already */
  uint64_t length = live->call->arg[link].in.number;
  live->v[i] = address(live_bytes(l, &live->call->arg[i].in, class, &length));
  live->v[link] = length;
}

static bool pin_is_wrong(uint64_t rv)
{
  return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE || rv == CKR_PIN_TOO_WEAK;
}

/* C_InitToken takes the security officer's PIN, C_InitPIN makes the user's, C_SetPIN changes that of whoever is logged in. */
static enum payload_class pin_class(struct laying *l)
{
  const struct call *call = l->live->call;
  switch (call->known) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser: return call->arg[1].in.number == CKU_SO ? PAYLOAD_PIN_SO : PAYLOAD_PIN_USER;
    case P11_F_C_InitToken: return PAYLOAD_PIN_SO;
    case P11_F_C_SetPIN: return l->player->payload->so ? PAYLOAD_PIN_SO : PAYLOAD_PIN_USER;
    default: return PAYLOAD_PIN_USER;
  }
}

/* The user's PIN is that of today in the place of the one that was good first. What else the trace has sealed, a new PIN or an
 * old one, goes in as it was. */
static bool is_another_pin(struct player *player, const struct value *value, enum payload_class class, uint64_t rv)
{
  uint64_t *good = &player->payload->good_pin[class == PAYLOAD_PIN_SO];
  if (!payload_opens(player, value)) return false;
  if (*good == 0 && rv == CKR_OK) *good = value->number;
  return value->number != *good;
}

static void pin(struct laying *l)
{
  struct live *live = l->live;
  const struct call *call = live->call;
  const struct value *good = good_pin_for(l->player, call), *value = good ? good : &call->arg[l->param].in;
  unsigned link = call->info->param[l->param].link - 1u;
  enum payload_class class = pin_class(l);
  const struct replay_pin *given = payload_pin(l->player, class);
  bool wrong = pin_is_wrong(call->rv), empty = value->length == 0 && value->form != P11T_V_LENGTH;
  bool other = is_another_pin(l->player, value, class, call->rv);
  if (empty || value->pointer == P11T_P_NULL || value->pointer == P11T_P_UNREADABLE || live_absurd(value->length)) {
    in_bytes(l, PAYLOAD_SECRET);
  } else if (given != NULL && !wrong && !other) {
    uint8_t *to = arena_alloc(&live->memory, given->length + 1);
    memcpy(to, given->bytes, given->length);
    live_secret(live, to, given->length);
    live->v[l->param] = address(to);
    live->v[link] = given->length;
  } else if (good != NULL) {
    uint64_t length = value->length;
    live->v[l->param] = address(live_bytes(l, value, PAYLOAD_SECRET, &length));
    live->v[link] = length;
  } else {
    uint16_t before = live->stand_in;
    in_bytes(l, PAYLOAD_SECRET);
    if (wrong) live->stand_in = before; /* any other PIN is as wrong as the recorded one */
  }
}

static void string(struct laying *l)
{
  const struct value *value = &l->live->call->arg[l->param].in;
  uint64_t length = value->length;
  l->live->v[l->param] = address(live_bytes(l, value, PAYLOAD_DATA, &length));
}

static void chars(struct laying *l)
{
  struct value value = l->live->call->arg[l->param].in;
  uint64_t size = l->live->call->info->param[l->param].aux;
  if (value.what == VALUE_BYTES && value.form != P11T_V_FULL && value.pointer != P11T_P_NULL) value.length = size;
  l->live->v[l->param] = address(live_bytes(l, &value, PAYLOAD_DATA, &size));
}

/* Application data, a reserved pointer, a callback; C_AsyncJoin hands over a buffer in this way, whose length follows. */
static void pointer(struct laying *l)
{
  const struct call *call = l->live->call;
  unsigned i = l->param;
  if (call->arg[i].in.pointer == P11T_P_NULL) return;
  if (strcmp(call->info->param[i].type, "CK_NOTIFY") == 0) {
    CK_NOTIFY notify = live_notify;
    memcpy(&l->live->v[i], &notify, sizeof notify);
  } else if (i + 1 < call->info->arity && call->info->param[i + 1].kind == P11_K_LENGTH) {
    l->live->v[i] = address(room(l, call->arg[i + 1].in.number, 1));
  } else {
    l->live->v[i] = address(live_small(l->live));
  }
}

static void session(struct laying *l)
{
  uint64_t recorded = l->live->call->arg[l->param].in.number, why = 0;
  if (maps_session(l->player, recorded, &l->live->v[l->param], &why)) return;
  if (why != 0) {
    l->why = live_cannot(l->live, "its session 0x%" PRIx64 " is not there: #%" PRIu64 " did not open it today",
                         recorded, why);
  } else {
    l->why = live_cannot(l->live, "its session 0x%" PRIx64 " is not there", recorded);
  }
}

/* Everything but buffers that are written, which come first because inputs may lie in them. */
static void input(struct laying *l)
{
  struct live *live = l->live;
  unsigned i = l->param;
  const struct argument *arg = &live->call->arg[i];
  const struct p11_param *p = &live->call->info->param[i];
  switch (p->kind) {
    case P11_K_SESSION: session(l); break;
    case P11_K_SLOT: live->v[i] = live_slot(l, arg->in.number, p->name); break;
    case P11_K_OBJECT:
    case P11_K_KEY: live->v[i] = live_object(l, arg->in.number, p->name); break;
    case P11_K_POINTER: pointer(l); break;
    case P11_K_STRING: string(l); break;
    case P11_K_CHARS: chars(l); break;
    case P11_K_VERSION:
      if (arg->in.pointer != P11T_P_NULL) {
        CK_VERSION *version = arena_alloc(&live->memory, sizeof *version);
        *version = (CK_VERSION){(CK_BYTE)(arg->in.number >> 8), (CK_BYTE)arg->in.number};
        live->v[i] = address(version);
      }
      break;
    case P11_K_IN_BYTES: in_bytes(l, live_class(p->secrecy)); break;
    case P11_K_PIN: pin(l); break;
    case P11_K_TEMPLATE: live->v[i] = address(live_template(l, &arg->in, 0)); break;
    case P11_K_MECHANISM:
      l->out = arg->out.what == VALUE_STRUCT ? &arg->out : NULL;
      live->v[i] = address(live_mechanism(l, &arg->in, 0));
      break;
    case P11_K_INIT_ARGS: live->v[i] = address(live_init_args(l, &arg->in)); break;
    case P11_K_MESSAGE_PARAM:
      l->writes = !live_role(live->call->known)->consumes;
      live->v[i] = address(live_message(l, &arg->in, live->call->arg[0].in.number, live->v[p->link - 1]));
      l->writes = false;
      break;
    default: break;
  }
}

static void output(struct laying *l)
{
  struct live *live = l->live;
  const struct call *call = live->call;
  unsigned i = l->param;
  const struct value *in = &call->arg[i].in;
  const struct p11_param *p = &call->info->param[i];
  if (p->kind < P11_K_OUT_BYTES || in->pointer == P11T_P_NULL) return;
  if (in->pointer == P11T_P_UNREADABLE) {
    live->v[i] = address(live_nowhere(live));
    return;
  }
  switch (p->kind) {
    case P11_K_OUT_BYTES: out_bytes(l); break;
    case P11_K_OUT_BYTES_OF: live->v[i] = address(room(l, capacity(l, i), 1)); break;
    case P11_K_OUT_SLOTS:
    case P11_K_OUT_MECHANISMS:
    case P11_K_OUT_OBJECTS: live->v[i] = address(room(l, capacity(l, i), sizeof(CK_ULONG))); break;
    case P11_K_OUT_INTERFACES: live->v[i] = address(room(l, capacity(l, i), sizeof(CK_INTERFACE))); break;
    case P11_K_OUT_TEMPLATE: live->v[i] = address(live_asked(l, in, &call->arg[i].out)); break;
    case P11_K_OUT_STRUCT: live->v[i] = address(live_room(live, p11_struct_info(p->aux)->size, p->name, 0)); break;
    default: { /* one number, handle or pointer */
      uint64_t *word = arena_alloc(&live->memory, sizeof *word);
      if (p->kind == P11_K_OUT_LENGTH) *word = given_length(l);
      live->v[i] = address(word);
    }
  }
}

/* A question for a length: nothing is made, and nothing ends (2.40, 5.2). */
bool live_is_size_query(const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (call->info->param[i].kind == P11_K_OUT_BYTES && call->arg[i].in.pointer == P11T_P_NULL) return true;
  }
  return false;
}

/* --- the call --------------------------------------------------------------------------------------------------- */

/* The operation that the call goes on with may be made of stand-ins too. A key that is not the recorded one makes nothing of
 * what was made with that one: only what came out of this replay can be taken in by it. */
static void judge(struct live *live, struct player *player)
{
  const struct live_role *role = live_role(live->call->known);
  if (!role->begins) {
    for (unsigned ops = role->ops; ops != 0; ops &= ops - 1) {
      const struct live_op *op = live_op_find(player, live->call->arg[0].in.number, (unsigned)__builtin_ctz(ops));
      if (op != NULL) live->taint |= op->taint;
    }
  }
  if (live->stand_in != 0) live->taint |= TAINT_STAND_IN;
  bool foreign = (live->taint & TAINT_FRESH) && role->consumes && !role->begins && live->followed == 0;
  /* How long an answer would be does not depend on what it would say. */
  if (live_is_size_query(live->call) && !role->consumes) live->taint &= (uint8_t)~TAINT_STAND_IN;
  live->tainted = (live->taint & (TAINT_STAND_IN | TAINT_LOST)) != 0 || foreign;
}

/* The table that the trace brings along may be of another version than ours. */
static bool same_parameters(const struct call *call)
{
  const struct p11_function_info *ours = &p11_functions[call->known];
  if (call->info == ours) return true;
  if (call->info->arity != ours->arity) return false;
  for (unsigned i = 0; i < ours->arity; i++) {
    if (call->info->param[i].kind != ours->param[i].kind || call->info->param[i].link != ours->param[i].link)
      return false;
  }
  return true;
}

const char *live_build(struct live *live, struct player *player, const struct call *call)
{
  live_begin(live);
  live->call = call;
  memset(live->v, 0, sizeof live->v);
  memset(live->room, 0, sizeof live->room);
  live->rv = 0;
  live->stand_in = live->followed = 0;
  live->taint = 0;
  live->tainted = false;
  if (call->state == CALL_HEADLESS) return "its beginning was not recorded";
  if (call->known < 0) return live_cannot(live, "%s is no function that we know", call->info->name);
  if (!same_parameters(call))
    return live_cannot(live, "%s was recorded with other parameters than ours", call->info->name);
  struct laying l = {.live = live, .player = player};
  unsigned arity = call->info->arity;
  for (unsigned i = 0; i < arity; i++) {
    uint8_t kind = call->info->param[i].kind;
    if (kind >= P11_K_NUMBER && kind <= P11_K_FLAGS) live->v[i] = call->arg[i].in.number;
  }
  for (l.param = 0; l.param < arity && l.why == NULL; l.param++) output(&l);
  for (l.param = 0; l.param < arity && l.why == NULL; l.param++) input(&l);
  if (l.why != NULL) return l.why;
  judge(live, player);
  return NULL;
}
