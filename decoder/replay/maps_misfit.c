#include "decoder/replay/maps_misfit.h"

#include <stdlib.h>
#include <string.h>

#include "decoder/replay/live_part.h"
#include "decoder/replay/maps_part.h"
#include "decoder/replay/portrait_part.h"

/* Only what is left over is looked at; where that is much, the first ones say it. */
enum { LOOKED_AT_MOST = 64, ROOM_MORE = 64, VALUE_MOST = 1 << 16 };

/* A template, and behind it its values. */
struct maps_asked {
  size_t size, count;
  CK_ATTRIBUTE at[];
};

void maps_misfit_free(struct maps_asked *asked)
{
  if (!asked) return;
  explicit_bzero(asked, asked->size);
  free(asked);
}

/* Templates within templates are a matter of the module's own comparison. */
static bool is_compared(struct live *live, const CK_ATTRIBUTE *a)
{
  return a->pValue != live_nowhere(live) && !(a->type & CKF_ARRAY_ATTRIBUTE) && a->ulValueLen <= VALUE_MOST &&
         (a->pValue || !a->ulValueLen);
}

void maps_misfit_asked(struct player *player, struct live *live)
{
  const struct life *life = session_of(player->maps, live->call);
  const CK_ATTRIBUTE *template = (const CK_ATTRIBUTE *)(uintptr_t)live->v[1];
  const size_t count = (size_t)live->v[2];
  if (!life || live->stand_in || !template || count != live->call->arg[1].in.count) return;
  size_t size = sizeof(struct maps_asked) + count * sizeof *template;
  for (size_t i = 0; i < count; i++) size += is_compared(live, &template[i]) ? template[i].ulValueLen : 0;
  struct maps_asked *asked = model_alloc(size);
  uint8_t *to = (uint8_t *)&asked->at[count];
  asked->size = size;
  for (size_t i = 0; i < count; i++) {
    const CK_ATTRIBUTE *a = &template[i];
    if (!is_compared(live, a)) continue;
    if (a->ulValueLen) memcpy(to, a->pValue, a->ulValueLen);
    asked->at[asked->count++] = (CK_ATTRIBUTE){a->type, to, a->ulValueLen};
    to += a->ulValueLen;
  }
  maps_misfit_free(life->session->asked);
  life->session->asked = asked;
}

/* CKA_SERIAL_NUMBER is asked for with and without its DER header, and some modules answer to both. */
static bool is_tail(const CK_ATTRIBUTE *a, const uint8_t *bytes, size_t length)
{
  const size_t n = a->ulValueLen < length ? a->ulValueLen : length;
  return n && !memcmp((const uint8_t *)a->pValue + a->ulValueLen - n, bytes + length - n, n);
}

static bool is_asked(const CK_ATTRIBUTE *a, const uint8_t *bytes, size_t length)
{
  if (length == a->ulValueLen && (!length || !memcmp(bytes, a->pValue, length))) return true;
  return a->type == CKA_SERIAL_NUMBER && is_tail(a, bytes, length);
}

/* What cannot be read counts as fitting. */
static bool fits(const CK_FUNCTION_LIST_3_2 *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                 const CK_ATTRIBUTE *a, uint8_t *buffer)
{
  CK_ATTRIBUTE read = {a->type, buffer, a->ulValueLen + ROOM_MORE};
  const CK_RV rv = f->C_GetAttributeValue(session, object, &read, 1);
  if (rv == CKR_BUFFER_TOO_SMALL) return false;
  return rv != CKR_OK || read.ulValueLen > a->ulValueLen + ROOM_MORE || is_asked(a, buffer, read.ulValueLen);
}

/* A module that never looked at the attribute: what the recorded one found has not what was asked for either. */
static bool was_loose(struct player *player, const struct call *call, const CK_ATTRIBUTE *a)
{
  const struct value *found = &call->arg[1].out;
  for (size_t i = 0; player->portraits && i < found->count; i++) {
    const struct portrait *portrait = portrait_of(player->portraits, found->item[i].number, call->number);
    size_t length;
    const uint8_t *bytes = portrait ? portrait_bytes(portrait, a->type, &length) : NULL;
    if (bytes && !is_asked(a, bytes, length)) return true;
    CK_ULONG asked = 0;
    uint64_t number;
    if (a->ulValueLen > sizeof asked || !portrait || !portrait_number(portrait, a->type, &number)) continue;
    memcpy(&asked, a->pValue, a->ulValueLen);
    if (asked != number) return true;
  }
  return false;
}

static const CK_ATTRIBUTE *misfit(struct player *player, const struct maps_asked *asked, CK_SESSION_HANDLE session,
                                  CK_OBJECT_HANDLE object)
{
  const CK_FUNCTION_LIST_3_2 *f = target_functions(player->target);
  const CK_ATTRIBUTE *found = NULL;
  for (size_t i = 0; i < asked->count && !found && f->C_GetAttributeValue; i++) {
    const CK_ATTRIBUTE *a = &asked->at[i];
    uint8_t *buffer = model_alloc(a->ulValueLen + ROOM_MORE);
    if (!fits(f, session, object, a, buffer)) found = a;
    explicit_bzero(buffer, a->ulValueLen + ROOM_MORE);
    free(buffer);
  }
  return found;
}

void maps_misfit_look(struct player *player, struct session *search, CK_SESSION_HANDLE session, const struct call *call,
                      const uint64_t *now, size_t count)
{
  unsigned looked_at = 0;
  search->misfits = false;
  for (size_t i = 0; search->asked && i < search->now.count && looked_at < LOOKED_AT_MOST; i++) {
    size_t at = 0;
    while (at < count && now[at] != search->now.at[i]) at++;
    if (at == count) continue; /* it came with an earlier call */
    looked_at++;
    const CK_ATTRIBUTE *a = misfit(player, search->asked, session, search->now.at[i]);
    if (!a || was_loose(player, call, a)) continue;
    search->misfits = true;
    search->misfit = a->type;
    return;
  }
}

bool maps_misfit(struct player *player, const struct call *call, uint64_t *type)
{
  const struct life *life = session_of(player->maps, call);
  if (!life || !life->session->misfits) return false;
  *type = life->session->misfit;
  return true;
}
