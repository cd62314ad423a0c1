/* Nobody is logged in, as C_GetSessionInfo says, and a private key can be used nevertheless. */
#include "decoder/rules/login/login_help.h"

/* Is the report that of the session at hand, or of the one that logged in, where NSS asks? That others know nothing of a login
 * is NSS-LOGIN-01's and -02's. */
static bool of_this_login(const struct check *check, const struct model_slot *slot, const struct note *seen)
{
  const struct note *login = &slot->last.login, *user = &slot->last.user_seen;
  if (!seen->values || !check->place.session) return false;
  if (user->number > login->number && user->values && user->value[0] != seen->value[0]) return false;
  return seen->value[0] == check->place.session->handle || !login->values || seen->value[0] == login->value[0];
}

/* The report that nobody is logged in; NULL when something was said or done since that makes it doubtful. */
static const struct note *says_public(const struct check *check, const struct call *call)
{
  const struct model_slot *slot = check->place.slot;
  if (!slot || !slot->token.known || !(slot->token.flags & CKF_LOGIN_REQUIRED)) return NULL;
  const struct note *seen = &slot->last.public_seen;
  if (!seen->number || seen->end_number > call->number || seen->number < slot->last.user_seen.number) return NULL;
  if (seen->number < slot->last.login.end_number || seen->number < slot->last.so.end_number) return NULL;
  if (!of_this_login(check, slot, seen)) return NULL;
  return model_settled(slot, call) && !model_removal(slot, call) ? seen : NULL;
}

static void report(struct check *check, const struct note *seen, const struct note *begun, const char *detail)
{
  struct finding *f =
      finding_report(check, SEVERITY_ERROR, 0,
                     "C_GetSessionInfo reports that nobody is logged in, and private keys can be found and used");
  finding_note(f, seen, NULL);
  if (begun) finding_note(f, begun, NULL);
  finding_call(f, check, "%s", detail);
}

/* What C_Logout has made invalid is not among the objects any more: handles that live on are P11-OBJ-11's. */
static bool private_key(const struct model_object *o)
{
  return o && o->facts.is_private == TRI_YES && o->facts.class == CKO_PRIVATE_KEY;
}

static void found(struct check *check, const struct call *call, const struct note *seen)
{
  const struct value *list = &call->arg[1].out;
  /* By the calls too nobody is logged in: P11-FIND-05's. */
  if (list->what != VALUE_LIST || model_logged_out(check->place.slot)) return;
  for (size_t i = 0; i < list->count; i++)
    if (private_key(table_get(&check->place.module->objects, list->item[i].number))) {
      report(check, seen, NULL, "a private key is found");
      return;
    }
}

static void used(struct check *check, const struct call *call, const struct note *seen)
{
  const struct model_session *s = check->place.session;
  if (!s || model_asks_length(call) || !model_alone(s, call)) return;
  const struct model_operation *op = &s->op[model_op_of(call->known)];
  if (!model_active(op) || op->context || op->begun.number < seen->end_number) return;
  if (private_key(model_object(check->place.module, op->key)))
    report(check, seen, &op->begun, "the key has CKA_PRIVATE = CK_TRUE");
}

/* The standard, CKA_PRIVATE: "When the CKA_PRIVATE attribute is CK_TRUE, a user may not access the object until the user has
 * been authenticated to the token." NSS asks the state before each use and prompts when nobody is logged in
 * (pk11auth.c, PK11_IsLoggedIn): a token that works all the same asks for the PIN in vain. */
void rule_login_07(struct check *check, const struct call *call)
{
  if (call->rv != CKR_OK) return;
  const struct note *seen = says_public(check, call);
  if (!seen) return;
  if (call->known == P11_F_C_FindObjects)
    found(check, call, seen);
  else
    used(check, call, seen);
}
