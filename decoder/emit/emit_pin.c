/* PINs are never in the program: it is given them. Which one a call had is known by its tag. */
#include "decoder/emit/emit_part.h"
#include "decoder/model/pick.h"

/* The first PIN that each user logged in with is the one that the program is given. */
void emit_pin_facts(struct emit *e, const struct call *call)
{
  if (call->known != P11_F_C_Login && call->known != P11_F_C_LoginUser) return;
  if (!call_returned(call, CKR_OK)) return;
  const struct value *pin = &call->arg[2].in;
  const uint64_t user = call->arg[1].in.number;
  if (!emit_tagged(pin)) return;
  if (user == CKU_USER && !e->has_user) {
    e->has_user = true;
    e->user_pin = pin->number;
  } else if (user == CKU_SO && !e->has_so) {
    e->has_so = true;
    e->so_pin = pin->number;
  }
}

/* Who the call speaks for, where no tag tells. */
static bool is_for_so(const struct call *call)
{
  const int user = pick_kind(call, P11_K_ENUM);
  return user >= 0 ? call->arg[user].in.number == CKU_SO : call->known == P11_F_C_InitToken;
}

enum whose { USERS, SOS, ANOTHER };
static enum whose whose(const struct emit *e, const struct call *call, const struct value *pin)
{
  if (e->has_user && emit_tagged(pin) && pin->number == e->user_pin) return USERS;
  if (e->has_so && emit_tagged(pin) && pin->number == e->so_pin) return SOS;
  const bool login = call->known == P11_F_C_Login || call->known == P11_F_C_LoginUser;
  if (login && call->rv == CKR_PIN_INCORRECT) return ANOTHER;
  if (is_for_so(call)) return e->has_so && emit_tagged(pin) ? ANOTHER : SOS;
  return e->has_user && emit_tagged(pin) ? ANOTHER : USERS;
}

bool emit_pin_is_wrong(const struct emit *e, const struct call *call)
{
  if (call->known != P11_F_C_Login && call->known != P11_F_C_LoginUser) return false;
  const struct value *pin = &call->arg[2].in;
  return call->rv != CKR_OK && pin->what == VALUE_BYTES && pin->pointer != P11T_P_NULL && pin->form != P11T_V_NULL &&
         whose(e, call, pin) == ANOTHER;
}

const char *emit_pin(struct emit *e, const struct call *call, unsigned at, const char **length)
{
  const struct value *pin = &call->arg[at].in;
  const struct p11_param *param = &call->info->param[at];
  const uint64_t given = param->link ? call->arg[param->link - 1].in.number : 0;
  *length = emit_number(e, given);
  if (pin->pointer == P11T_P_NULL) return "NULL";
  if (given > 256 || pin->form == P11T_V_UNREAD) return emit_room(e, emit_name(e, "pin"), given);
  switch (whose(e, call, pin)) {
    case USERS:
      e->use.own_pin = true;
      *length = "pin_length";
      return "pin";
    case SOS:
      e->use.so_pin = true;
      *length = "so_pin_length";
      return "so_pin";
    default: break;
  }
  /* Another PIN: digits that say nothing, the same for the same PIN. */
  const char *name = emit_name(e, "other_pin");
  char digits[257];
  for (uint64_t i = 0; i < given; i++)
    digits[i] = (char)('0' + (emit_tagged(pin) ? pin->number >> (i % 16) * 4 : i) % 10);
  digits[given] = '\0';
  text_s(&e->before, emit_format(e, "    CK_UTF8CHAR %s[] = \"%s\"; /* not recorded: another PIN of that length */\n",
                                 name, digits));
  e->call_stands_in = true;
  return name;
}
