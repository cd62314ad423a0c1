/* Bytes and handles of a call that is made ready. */
#include <inttypes.h>
#include <string.h>

#include "decoder/replay/live_part.h"
#include "decoder/replay/maps.h"

/* A buffer as long as this was never there, so that no module read it. */
#define NOBODY_HAS (1ull << 36)

enum payload_class live_class(unsigned secrecy)
{
  return secrecy == P11_SECRET || secrecy == P11_PIN || secrecy == P11_VALUE ? PAYLOAD_SECRET : PAYLOAD_DATA;
}

enum payload_class live_attribute_class(uint64_t type)
{
  const struct p11_attribute_info *info = p11_attribute(type);
  return info == NULL ? PAYLOAD_SECRET : live_class(info->secrecy);
}

static void noted(struct laying *l, enum payload_how how)
{
  uint16_t bit = (uint16_t)(1u << l->param);
  if (how == PAYLOAD_STAND_IN && !l->writes) l->live->stand_in |= bit;
  if (how == PAYLOAD_FOLLOWED) l->live->followed |= bit;
}

void live_fill(struct laying *l, const struct value *value, enum payload_class class, uint8_t *to)
{
  enum payload_how how = payload_fill(l->player, value, to);
  noted(l, how);
  if (class != PAYLOAD_DATA || value->form == P11T_V_SEALED) live_secret(l->live, to, (size_t)value->length);
}

/* Bytes of an array of numbers (form NUMBERS), of a CK_ULONG or a CK_BBOOL. */
static void *live_words(struct laying *l, const struct value *value, uint64_t *length)
{
  if (value->what == VALUE_LIST) {
    CK_ULONG *to = arena_alloc(&l->live->memory, (value->count + 1) * sizeof *to);
    for (size_t i = 0; i < value->count; i++) to[i] = value->item[i].number;
    *length = value->count * sizeof *to;
    return to;
  }
  CK_ULONG *to = arena_alloc(&l->live->memory, sizeof *to);
  if (value->form == P11T_V_BOOL) {
    *(CK_BBOOL *)to = (CK_BBOOL)value->number;
    *length = 1;
  } else {
    *to = value->number;
    *length = sizeof *to; /* a CK_ULONG of this machine, whatever that of the recorded one was */
  }
  return to;
}

/* The length that was given says how far the module reads, whatever is kept of the bytes: capture=meta has PINs without length. */
static void *padded(struct laying *l, const struct value *value, enum payload_class class, uint64_t length)
{
  uint8_t *to = arena_alloc(&l->live->memory, (size_t)length + 1);
  live_fill(l, value, class, to);
  l->live->stand_in |= (uint16_t)(1u << l->param);
  return to;
}

void *live_bytes(struct laying *l, const struct value *value, enum payload_class class, uint64_t *length)
{
  struct live *live = l->live;
  if (value->pointer == P11T_P_NULL) return NULL;
  if (value->pointer == P11T_P_UNREADABLE) return live_nowhere(live);
  if (value->what == VALUE_NUMBER || value->what == VALUE_LIST) return live_words(l, value, length);
  if (value->what == VALUE_POINTER || value->what == VALUE_NONE) { /* of a call that never returned */
    struct value unread = {.what = VALUE_BYTES, .form = P11T_V_UNREAD, .length = *length, .pointer = value->pointer};
    return live_bytes(l, &unread, class, length);
  }
  if (live_absurd(value->length)) {
    if (value->length < NOBODY_HAS && l->live->call->rv == CKR_OK && l->live->call->state == CALL_DONE) {
      l->why = live_cannot(live, "its %s is %" PRIu64 " bytes long and was not recorded",
                           live->call->info->param[l->param].name, value->length);
    }
    live->stand_in |= (uint16_t)(1u << l->param);
    return live_small(live);
  }
  if (value->what == VALUE_BYTES && value->length < *length && !live_absurd(*length))
    return padded(l, value, class, *length);
  size_t now = 0;
  enum payload_how how = PAYLOAD_RECORDED;
  const uint8_t *bytes = payload_find(l->player, value, &now, &how);
  if (bytes != NULL) {
    uint8_t *to = arena_alloc(&live->memory, now + 1);
    if (now > 0) memcpy(to, bytes, now);
    if (now != value->length && *length == value->length) *length = now;
    noted(l, how);
    if (class != PAYLOAD_DATA) live_secret(live, to, now);
    return to;
  }
  uint8_t *to = arena_alloc(&live->memory, (size_t)value->length + 1);
  live_fill(l, value, class, to);
  return to;
}

static void missing(struct laying *l, const char *name, uint64_t recorded, uint64_t why)
{
  if (why != 0) {
    l->why = live_cannot(l->live, "its %s 0x%" PRIx64 " is not there: #%" PRIu64 " did not hand it out today", name,
                         recorded, why);
  } else {
    l->why = live_cannot(l->live, "its %s 0x%" PRIx64 " is not there", name, recorded);
  }
}

uint64_t live_object(struct laying *l, uint64_t recorded, const char *name)
{
  uint64_t now = recorded, why = 0;
  if (recorded == CK_INVALID_HANDLE) return recorded;
  if (!maps_object(l->player, recorded, &now, &why)) missing(l, name, recorded, why);
  l->live->taint |= (uint8_t)live_object_taint(l->player, recorded);
  return now;
}

uint64_t live_slot(struct laying *l, uint64_t recorded, const char *name)
{
  uint64_t now = recorded, why = 0;
  if (!maps_slot(l->player, recorded, &now, &why)) missing(l, name, recorded, why);
  return now;
}
