#include "decoder/replay/good_pin.h"

#include <stdlib.h>
#include <string.h>

#include "decoder/model/table.h"
#include "decoder/replay/live_part.h"
#include "decoder/replay/maps.h"

enum { PINS_KEPT = 16, BOX_MOST = 1024 };

/* The one of a user of a token that was good last. Sealed ones stay sealed. */
struct good_pin {
  bool known, so;
  uint64_t slot; /* recorded */
  struct value value;
  struct value_sealed sealed;
  uint8_t box[BOX_MOST];
};

struct good_pins {
  struct table slots; /* recorded session -> its slot + 1; while the trace is read for the first time */
  struct good_pin pin[PINS_KEPT];
};

struct good_pins *good_pins_new(void)
{
  return model_alloc(sizeof(struct good_pins));
}

void good_pins_free(struct good_pins *pins)
{
  if (!pins) return;
  table_clear(&pins->slots, NULL);
  explicit_bzero(pins, sizeof *pins);
  free(pins);
}

static struct good_pin *find(struct good_pins *pins, bool so, uint64_t slot)
{
  for (unsigned i = 0; i < PINS_KEPT; i++)
    if (pins->pin[i].known && pins->pin[i].so == so && pins->pin[i].slot == slot) return &pins->pin[i];
  return NULL;
}

static void keep(struct good_pins *pins, bool so, uint64_t slot, const struct value *value)
{
  struct good_pin *pin = find(pins, so, slot);
  for (unsigned i = 0; !pin && i < PINS_KEPT; i++)
    if (!pins->pin[i].known) pin = &pins->pin[i];
  if (!pin || !value_is_tagged(value)) return;
  const bool sealed = value->form == P11T_V_SEALED;
  const size_t size = sealed ? value->sealed->kept + P11T_SEAL_MAC : 0;
  if (size > sizeof pin->box) return;
  *pin = (struct good_pin){.known = true, .so = so, .slot = slot, .value = *value};
  pin->value.bytes = NULL;
  pin->value.kept = 0;
  if (!sealed) return;
  memcpy(pin->box, value->sealed->box, size);
  pin->sealed = *value->sealed;
  pin->sealed.box = pin->box;
  pin->value.sealed = &pin->sealed;
}

static bool is_login(const struct call *call)
{
  return call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser;
}

/* CKU_CONTEXT_SPECIFIC takes the user's. */
static bool is_so(const struct call *call)
{
  return call->arg[1].in.number == CKU_SO;
}

void good_pin_foresee(struct player *player, const struct call *call)
{
  struct good_pins *pins = player->payload->pins;
  if (call->rv != CKR_OK) return;
  if (call->known == P11_F_C_OpenSession && call->arg[4].out.what == VALUE_NUMBER)
    table_put(&pins->slots, call->arg[4].out.number, (void *)(uintptr_t)(call->arg[0].in.number + 1));
  if (call->known == P11_F_C_CloseSession) table_take(&pins->slots, call->arg[0].in.number);
  if (!is_login(call)) return;
  const uint64_t slot = (uintptr_t)table_get(&pins->slots, call->arg[0].in.number);
  if (slot && !find(pins, is_so(call), slot - 1)) keep(pins, is_so(call), slot - 1, &call->arg[2].in);
}

void good_pin_learn(struct player *player, const struct call *call)
{
  struct good_pins *pins = player->payload->pins;
  uint64_t slot;
  if (!maps_session_slot(player, call->arg[0].in.number, &slot)) return;
  switch (call->known) {
    case P11_F_C_Login:
    case P11_F_C_LoginUser: keep(pins, is_so(call), slot, &call->arg[2].in); break;
    case P11_F_C_InitPIN: keep(pins, false, slot, &call->arg[1].in); break;
    case P11_F_C_SetPIN: keep(pins, player->payload->so, slot, &call->arg[3].in); break;
    default: break;
  }
}

bool good_pin_is_refusal(uint64_t rv)
{
  return rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE || rv == CKR_PIN_LOCKED;
}

bool good_pin_is_unread(const struct call *call)
{
  const struct value *pin = &call->arg[2].in;
  if (!is_login(call) || pin->pointer == P11T_P_NULL || pin->pointer == P11T_P_UNREADABLE) return false;
  if (!call->arg[3].in.number || live_absurd(call->arg[3].in.number)) return false;
  return pin->what == VALUE_NONE || pin->what == VALUE_POINTER ||
         (pin->what == VALUE_BYTES && pin->form == P11T_V_UNREAD);
}

const struct value *good_pin_for(struct player *player, const struct call *call)
{
  uint64_t slot;
  if (!good_pin_is_unread(call) || good_pin_is_refusal(call->rv) ||
      !maps_session_slot(player, call->arg[0].in.number, &slot))
    return NULL;
  const struct good_pin *pin = find(player->payload->pins, is_so(call), slot);
  return pin ? &pin->value : NULL;
}
