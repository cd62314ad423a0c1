#include "shim/record/sessions.h"

#include <linux/futex.h>
#include <string.h>

#include "shim/record/clock.h"
#include "shim/record/guard.h"
#include "shim/record/operations.h"
#include "shim/record/sys.h"

#define SESSIONS 512
#define SLOTS 64
#define CHAINS 256
#define NOWHERE UINT16_MAX
#define WAIT_NS 1000000000ull

struct session {
  uint64_t handle;
  uint32_t serial; /* 0: free */
  uint32_t ticket; /* of the call that is closing it; 0: open */
  uint16_t module, set, slot;
  uint16_t next;      /* of its chain */
  uint16_t in_flight; /* calls of the application */
  bool writes, probed, short_answer;
  unsigned operations;
};

enum presence { UNKNOWN, ABSENT, PRESENT };

struct slot {
  uint64_t id;
  uint16_t module; /* 0: free */
  uint8_t presence;
  bool blind; /* not all of its sessions are known, or a probe did not come back: it is left alone */
};

/* In a fork's child all of it is the parent's, and begins anew. */
static struct table {
  struct session session[SESSIONS];
  struct slot slot[SLOTS];
  uint16_t chain[CHAINS]; /* place + 1; 0 ends it */
  uint16_t used;          /* places that were ever taken */
  uint16_t probed;        /* sessions that are */
  uint32_t last_serial, last_ticket;
} table;
static _Atomic uint32_t given_back; /* counts; what waits, waits for it to move */

static void lock(uint64_t *signals)
{
  p11t_sessions_lock(signals);
  if (p11t_guard->has_sessions) return;
  memset(&table, 0, sizeof table);
  p11t_guard->has_sessions = 1;
}

static uint16_t *chain_of(unsigned module, uint64_t handle)
{
  return &table.chain[((handle ^ module * 0x9e3779b9ull) * 0x9e3779b97f4a7c15ull >> 56) % CHAINS];
}

static struct session *find(unsigned module, uint64_t handle)
{
  uint16_t at = *chain_of(module, handle);
  while (at != 0 && (table.session[at - 1].handle != handle || table.session[at - 1].module != module))
    at = table.session[at - 1].next;
  return at != 0 ? &table.session[at - 1] : NULL;
}

static void chain(struct session *s)
{
  uint16_t *head = chain_of(s->module, s->handle);
  s->next = *head;
  *head = (uint16_t)(s - table.session + 1);
}

static void unchain(const struct session *s)
{
  uint16_t *at = chain_of(s->module, s->handle);
  while (*at != 0 && &table.session[*at - 1] != s) at = &table.session[*at - 1].next;
  if (*at != 0) *at = s->next;
}

static struct session *named(uint16_t place, uint32_t serial)
{
  struct session *s = &table.session[place % SESSIONS];
  return serial != 0 && s->serial == serial ? s : NULL;
}

static struct p11t_session name_of(const struct session *s)
{
  return (struct p11t_session){s->handle, s->serial, (uint16_t)(s - table.session), s->set};
}

static uint16_t slot_of(unsigned module, uint64_t id)
{
  for (uint16_t i = 0; i < SLOTS; i++) {
    if (table.slot[i].module == module && table.slot[i].id == id) return i;
  }
  return NOWHERE;
}

/* The same; a slot that is new gets a place while there is one. */
static uint16_t slot_for(unsigned module, uint64_t id)
{
  uint16_t place = slot_of(module, id);
  for (uint16_t i = 0; i < SLOTS && place == NOWHERE; i++) {
    if (table.slot[i].module != 0) continue;
    table.slot[i] = (struct slot){.id = id, .module = (uint16_t)module};
    place = i;
  }
  return place;
}

static void drop(struct session *s)
{
  if (s->probed) table.probed--;
  s->serial = 0;
}

/* --- before a call ---------------------------------------------------------------------------------------------- */

/* Sessions that a call closes are nobody's from now on: their numbers may come back before the call does. */
static void begin_close(struct p11t_call *call, const uint64_t *v)
{
  uint32_t ticket = ++table.last_ticket != 0 ? table.last_ticket : ++table.last_ticket;
  uint16_t slot = call->function == P11_F_C_CloseAllSessions ? slot_of(call->module, v[0]) : NOWHERE;
  call->watch.ticket = ticket;
  for (uint16_t i = 0; i < table.used; i++) {
    struct session *s = &table.session[i];
    if (s->serial == 0 || s->ticket != 0 || s->module != call->module) continue;
    if (call->function == P11_F_C_CloseSession && s->handle != v[0]) continue;
    if (call->function == P11_F_C_CloseAllSessions && s->slot != slot) continue;
    unchain(s);
    s->ticket = ticket;
  }
}

static void begin_use(struct p11t_call *call, const uint64_t *v)
{
  struct session *s = find(call->module, v[0]);
  if (s == NULL) return;
  unsigned begins = p11t_operation_begins(call->function, v);
  s->in_flight++;
  call->watch.place = (uint16_t)(s - table.session);
  call->watch.serial = s->serial;
  call->watch.begun = begins & ~s->operations;
  s->operations |= begins;
  if (call->function == P11_F_C_FindObjectsInit || call->function == P11_F_C_FindObjects) s->short_answer = false;
}

/* The session of a probe that must be over before this call is made. */
static const struct session *in_the_way(const struct p11t_call *call)
{
  const struct session *own = named(call->watch.place, call->watch.serial);
  bool alone = own != NULL && (own->operations & P11T_OPERATION_KEY & call->watch.begun) != 0;
  for (uint16_t i = 0; table.probed > 0 && i < table.used; i++) {
    const struct session *s = &table.session[i];
    if (s->serial == 0 || !s->probed || table.slot[s->slot].blind) continue;
    if (s == own || (alone && s->slot == own->slot) || (call->watch.ticket != 0 && s->ticket == call->watch.ticket))
      return s;
  }
  return NULL;
}

static void wait_for_probes(const struct p11t_call *call, uint64_t *signals)
{
  uint64_t until = 0;
  for (const struct session *s; (s = in_the_way(call)) != NULL;) {
    uint64_t now = p11t_monotonic();
    if (until == 0) until = now + WAIT_NS;
    if (now >= until) {
      table.slot[s->slot].blind = true; /* the module does not answer, or the thread is gone */
      continue;
    }
    struct timespec rest = {(time_t)((until - now) / 1000000000u), (long)((until - now) % 1000000000u)};
    uint32_t seen = atomic_load(&given_back);
    p11t_sessions_unlock(signals);
    P11T_SYS(SYS_futex, (uint32_t *)&given_back, FUTEX_WAIT_PRIVATE, seen, &rest);
    lock(signals);
  }
}

void p11t_sessions_enter(struct p11t_call *call, const uint64_t *v, bool inside)
{
  uint64_t signals;
  unsigned f = call->function;
  bool closes = f == P11_F_C_CloseSession || f == P11_F_C_CloseAllSessions || f == P11_F_C_Finalize;
  if (!closes && p11_functions[f].param[0].kind != P11_K_SESSION) return;
  lock(&signals);
  if (closes)
    begin_close(call, v);
  else
    begin_use(call, v);
  if (!inside) wait_for_probes(call, &signals);
  p11t_sessions_unlock(&signals);
}

/* --- after it --------------------------------------------------------------------------------------------------- */

static void forget_module(unsigned module)
{
  for (uint16_t i = 0; i < table.used; i++) {
    struct session *s = &table.session[i];
    if (s->serial == 0 || s->module != module) continue;
    if (s->ticket == 0) unchain(s);
    drop(s);
  }
  for (uint16_t i = 0; i < SLOTS; i++) {
    if (table.slot[i].module == module) table.slot[i].module = 0;
  }
}

static void end_close(const struct p11t_call *call, const uint64_t *v, CK_RV rv)
{
  bool gone = rv == CKR_OK;
  if (call->function == P11_F_C_CloseSession) gone |= rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED;
  for (uint16_t i = 0; i < table.used; i++) {
    struct session *s = &table.session[i];
    if (s->serial == 0 || s->ticket != call->watch.ticket) continue;
    if (gone || find(s->module, s->handle) != NULL) {
      drop(s);
    } else {
      s->ticket = 0;
      chain(s);
    }
  }
  if (!gone || call->function == P11_F_C_CloseSession) return;
  if (call->function == P11_F_C_Finalize) {
    forget_module(call->module);
    return;
  }
  uint16_t slot = slot_of(call->module, v[0]);
  if (slot != NOWHERE) table.slot[slot].blind = false;
}

static struct session *free_place(void)
{
  for (uint16_t i = 0; i < table.used; i++) {
    if (table.session[i].serial == 0) return &table.session[i];
  }
  return table.used < SESSIONS ? &table.session[table.used++] : NULL;
}

static void opened(const struct p11t_call *call, const uint64_t *v, struct p11t_left *left)
{
  uint16_t slot = slot_for(call->module, v[0]);
  if (slot == NOWHERE || !sys_readable((const void *)v[4])) return;
  uint64_t handle = *(const CK_SESSION_HANDLE *)v[4];
  table.slot[slot].presence = PRESENT;
  struct session *s = find(call->module, handle);
  if (s != NULL) { /* its end was not seen: the token was pulled out */
    unchain(s);
    drop(s);
  }
  s = v[1] & CKF_ASYNC_SESSION ? NULL : free_place();
  if (s == NULL) {
    table.slot[slot].blind = true;
    return;
  }
  *s = (struct session){.handle = handle,
                        .serial = ++table.last_serial != 0 ? table.last_serial : ++table.last_serial,
                        .module = call->module,
                        .set = call->watch.set,
                        .slot = slot,
                        .writes = (v[1] & CKF_RW_SESSION) != 0};
  chain(s);
  left->session = name_of(s);
  left->slot = slot;
}

static void end_use(const struct p11t_call *call, const uint64_t *v, CK_RV rv, struct p11t_left *left)
{
  struct session *s = named(call->watch.place, call->watch.serial);
  if (s == NULL) return;
  s->in_flight--;
  s->operations = p11t_operation_after(call->function, v, rv, s->operations, call->watch.begun);
  if (call->function == P11_F_C_FindObjects && rv == CKR_OK && sys_readable((const void *)v[3])) {
    CK_ULONG count = *(const CK_ULONG *)v[3];
    s->short_answer = count > 0 && count < v[2];
  }
  if (s->ticket != 0) return; /* somebody is closing it */
  left->session = name_of(s);
  left->slot = s->slot;
}

static void looked_at(const struct p11t_call *call, const uint64_t *v, struct p11t_left *left)
{
  uint16_t slot = slot_for(call->module, v[0]);
  const CK_SLOT_INFO *info = (const void *)v[1];
  if (slot == NOWHERE || !sys_readable_all(info, sizeof *info)) return;
  uint8_t before = table.slot[slot].presence, now = info->flags & CKF_TOKEN_PRESENT ? PRESENT : ABSENT;
  table.slot[slot].presence = now;
  left->slot = slot;
  left->moved = before != UNKNOWN && before != now;
}

void p11t_sessions_leave(const struct p11t_call *call, const uint64_t *v, CK_RV rv, struct p11t_left *left)
{
  uint64_t signals;
  *left = (struct p11t_left){.slot = NOWHERE};
  unsigned f = call->function;
  bool known = call->watch.ticket != 0 || call->watch.serial != 0;
  if (!known && (rv != CKR_OK || (f != P11_F_C_OpenSession && f != P11_F_C_GetSlotInfo && f != P11_F_C_Initialize)))
    return;
  lock(&signals);
  if (call->watch.ticket != 0)
    end_close(call, v, rv);
  else if (call->watch.serial != 0)
    end_use(call, v, rv, left);
  else if (f == P11_F_C_OpenSession)
    opened(call, v, left);
  else if (f == P11_F_C_GetSlotInfo)
    looked_at(call, v, left);
  else
    forget_module(call->module);
  p11t_sessions_unlock(&signals);
}

void p11t_sessions_forget(unsigned module)
{
  uint64_t signals;
  lock(&signals);
  forget_module(module);
  p11t_sessions_unlock(&signals);
}

/* --- for probes -------------------------------------------------------------------------------------------------- */

unsigned p11t_sessions_of(uint16_t slot, const struct p11t_session *except, struct p11t_session *list, unsigned room)
{
  uint64_t signals;
  unsigned n = 0;
  lock(&signals);
  for (int pass = 0; pass < 3; pass++) { /* half of the room is for each kind, and what is left for any */
    unsigned end = pass == 0 ? room / 2 : room;
    for (uint16_t i = 0; i < table.used && n < end; i++) {
      const struct session *s = &table.session[i];
      if (s->serial == 0 || s->ticket != 0 || s->slot != slot || s->serial == except->serial) continue;
      bool had = false;
      for (unsigned k = 0; k < n && !had; k++) had = list[k].serial == s->serial;
      if (!had && (pass == 2 || s->writes == (pass == 0))) list[n++] = name_of(s);
    }
  }
  p11t_sessions_unlock(&signals);
  return n;
}

bool p11t_session_short(unsigned module, uint64_t handle, struct p11t_session *session)
{
  uint64_t signals;
  lock(&signals);
  const struct session *s = find(module, handle);
  bool is = s != NULL && s->short_answer;
  if (is) *session = name_of(s);
  p11t_sessions_unlock(&signals);
  return is;
}

static bool key_is_used(uint16_t slot)
{
  for (uint16_t i = 0; i < table.used; i++) {
    const struct session *s = &table.session[i];
    if (s->serial != 0 && s->slot == slot && (s->operations & P11T_OPERATION_KEY)) return true;
  }
  return false;
}

bool p11t_session_take(const struct p11t_session *session, unsigned allowed)
{
  uint64_t signals;
  lock(&signals);
  struct session *s = named(session->place, session->serial);
  bool may = s != NULL && s->ticket == 0 && s->in_flight == 0 && !s->probed && (s->operations & ~allowed) == 0 &&
             !table.slot[s->slot].blind && !key_is_used(s->slot);
  if (may) {
    s->probed = true;
    table.probed++;
  }
  p11t_sessions_unlock(&signals);
  return may;
}

void p11t_session_give(const struct p11t_session *session)
{
  uint64_t signals;
  lock(&signals);
  struct session *s = named(session->place, session->serial);
  if (s != NULL && s->probed) {
    s->probed = false;
    table.probed--;
  }
  atomic_fetch_add(&given_back, 1);
  P11T_SYS(SYS_futex, (uint32_t *)&given_back, FUTEX_WAKE_PRIVATE, INT32_MAX);
  p11t_sessions_unlock(&signals);
}
