#include "decoder/model/idiom.h"
#include "decoder/model/search.h"

#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ull

static struct model_process *model_of(struct process *process, uint64_t origin)
{
  struct model_process *p = process->user;
  if (p) return p;
  p = process->user = model_alloc(sizeof *p);
  p->process = process;
  p->origin = origin;
  const uint8_t none[16] = {0};
  p->child = memcmp(process->parent_id, none, sizeof none) != 0;
  return p;
}

struct model_module *model_module(struct model_process *process, uint16_t id)
{
  struct model_module *m = table_get(&process->modules, id);
  if (m) return m;
  m = model_alloc(sizeof *m);
  m->process = process;
  m->id = id;
  table_put(&process->modules, id, m);
  return m;
}

struct model_slot *model_slot(struct model_module *module, uint64_t id)
{
  struct model_slot *s = table_get(&module->slots, id);
  if (s) return s;
  s = model_alloc(sizeof *s);
  s->id = id;
  s->module = module;
  s->window.unsure = module->epoch != EPOCH_OPEN || !module->initialized.number;
  s->login = s->window.unsure ? LOGIN_ANY : LOGIN_PUBLIC;
  table_put(&module->slots, id, s);
  return s;
}

static void drop_slot(void *value)
{
  struct model_slot *s = value;
  table_clear(&s->mechanisms, free);
  kept_clear(&s->kept);
  free(s->window.calls);
  free(s);
}

static void drop_module(void *value)
{
  struct model_module *m = value;
  model_drop_sessions(m, NULL);
  model_drop_objects(m);
  model_drop_reports(m);
  free(m->flight);
  table_clear(&m->slots, drop_slot);
  table_clear(&m->in_flight, NULL);
  kept_clear(&m->kept);
  free(m);
}

void model_drop(struct process *process)
{
  struct model_process *p = process->user;
  if (!p) return;
  table_clear(&p->modules, drop_module);
  free(p);
  process->user = NULL;
}

/* Records are missing: nothing that was known holds any more. What is in flight stays counted. */
static void forget(struct model_process *process)
{
  size_t place = 0;
  for (struct model_module *m; (m = table_next(&process->modules, &place));) {
    model_drop_sessions(m, NULL);
    model_drop_objects(m);
    m->epoch = EPOCH_UNKNOWN;
    m->changed = process->last_number + 1; /* who knows what: calls in flight overlap it */
    m->initialized = m->session_failure = m->announced[0].note = m->announced[1].note = (struct note){0};
    m->partials = 0;
    memset(m->partial, 0, sizeof m->partial);
    model_drop_reports(m);
    kept_clear(&m->kept);
    m->gone_sessions = m->gone_objects = 0;
    size_t at = 0;
    for (struct model_slot *s; (s = table_next(&m->slots, &at));) {
      const struct model_slot empty = {
          .id = s->id, .module = m, .changing = s->changing, .looking = s->looking, .window = s->window};
      table_clear(&s->mechanisms, free);
      kept_clear(&s->kept);
      *s = empty;
      model_window_reset(s, LOGIN_ANY, false);
    }
  }
}

/* Which slot does a starting call change? The module itself stands for all; NULL: nothing that matters. */
static void *changes(struct model_module *m, const struct call *call)
{
  uint64_t n;
  struct model_session *session;
  switch (call->known) {
    case P11_F_C_Initialize:
    case P11_F_C_Finalize: return m;
    case P11_F_C_InitToken:
    case P11_F_C_CloseAllSessions: {
      struct model_slot *slot = pick_in(call, 0, &n) ? table_get(&m->slots, n) : NULL;
      return slot ? (void *)slot : m;
    }
    case P11_F_C_Login:
    case P11_F_C_LoginUser:
      if (pick_in(call, 1, &n) && n == CKU_CONTEXT_SPECIFIC) return NULL;
      break;
    case P11_F_C_Logout:
    case P11_F_C_InitPIN: break;
    case P11_F_C_CloseSession:
      session = pick_in(call, 0, &n) ? model_session(m, n) : NULL;
      /* Only the close of the last session logs out; two that overlap may both be it. */
      if (session && call->state != CALL_HEADLESS && !model_may_be_last(session->slot)) return NULL;
      break;
    default: return NULL;
  }
  session = pick_in(call, 0, &n) ? model_session(m, n) : NULL;
  if (session) return session->slot;
  /* Where all sessions are known it is no session, and nothing happens. */
  return m->epoch == EPOCH_OPEN && m->initialized.number ? NULL : m;
}

/* Does the call make, change or destroy objects? */
static bool makes(const struct call *call)
{
  return call->known == P11_F_C_DestroyObject || call->known == P11_F_C_SetAttributeValue || model_makes(call->known);
}

static bool asks_for_count(const struct call *call)
{
  return call->known == P11_F_C_GetSlotList && pick_is_null(call, 1);
}

/* Counts the calls in flight of the session that the call names. */
static void busy(struct model_module *m, const struct call *call, int change)
{
  uint64_t n;
  const int i = pick_kind(call, P11_K_SESSION);
  struct model_session *s = i >= 0 && pick_in(call, (unsigned)i, &n) ? model_session(m, n) : NULL;
  if (!s || (change < 0 && !s->in_flight)) return;
  s->in_flight = change > 0 ? s->in_flight + 1 : s->in_flight - 1;
}

/* Counts the calls in flight that may find the slot empty. */
static void look(struct model_module *m, const struct call *call, int change)
{
  uint64_t n;
  if (call->known != P11_F_C_GetSlotInfo && call->known != P11_F_C_GetTokenInfo && call->known != P11_F_C_OpenSession)
    return;
  struct model_slot *s = pick_in(call, 0, &n) ? table_get(&m->slots, n) : NULL;
  if (!s || (change < 0 && !s->looking)) return;
  s->looking = change > 0 ? s->looking + 1 : s->looking - 1;
}

static void enter(const struct event *event)
{
  struct model_process *p = event->process->user;
  struct model_module *m = model_module(p, event->call->module);
  m->active++;
  if (event->call->known == P11_F_C_WaitForSlotEvent) m->waiting++;
  busy(m, event->call, 1);
  look(m, event->call, 1);
  if (asks_for_count(event->call)) m->announcing++;
  if (makes(event->call)) m->making++;
  model_window_enter(m, event->call);
  void *what = changes(m, event->call);
  if (!what) return;
  if (what == m)
    m->changing++;
  else
    ((struct model_slot *)what)->changing++;
  table_put(&m->in_flight, event->call->number, what);
}

/* The call is over, whatever became of it. Returns what it may have changed. */
static void *leave(struct model_module *m, const struct call *call)
{
  if (call->state != CALL_HEADLESS) {
    if (m->active) m->active--;
    if (call->known == P11_F_C_WaitForSlotEvent && m->waiting) m->waiting--;
    busy(m, call, -1);
    look(m, call, -1);
  }
  if (asks_for_count(call) && m->announcing) m->announcing--;
  if (call->state != CALL_HEADLESS && makes(call) && m->making) m->making--;
  if (call->state == CALL_HEADLESS) return changes(m, call);
  void *what = m->in_flight.count ? table_take(&m->in_flight, call->number) : NULL;
  if (what == m)
    m->changing--;
  else if (what)
    ((struct model_slot *)what)->changing--;
  return what;
}

static void changed(const struct call *call, struct model_place *place)
{
  const uint64_t end = call->end_number ? call->end_number : UINT64_MAX;
  if (makes(call) && (call->state != CALL_DONE || call->rv == CKR_OK)) place->module->made = end;
  if (place->changes == place->module)
    place->module->changed = end;
  else if (place->changes)
    ((struct model_slot *)place->changes)->changed = end;
}

static void list(const struct event *event)
{
  struct model_process *p = event->process->user;
  const char *name = event->list.name;
  if (!event->module || (name && *name && strcmp(name, "PKCS 11"))) return;
  struct model_module *m = model_module(p, event->module->id);
  if (!m->lowest_list || event->list.version < m->lowest_list) m->lowest_list = event->list.version;
}

void model_event(const struct event *event, uint64_t origin)
{
  struct model_process *p = model_of(event->process, origin);
  if (event->time > p->latest) p->latest = event->time;
  if (event->number) {
    /* Numbers of one process come without holes; a hole is a record that was lost. */
    if (p->last_number && event->number > p->last_number + 1) forget(p);
    if (event->number > p->last_number) p->last_number = event->number;
  }
  switch (event->type) {
    case EVENT_ENTER: enter(event); break;
    case EVENT_LIST: list(event); break;
    case EVENT_UNLOAD:
      if (event->module) {
        void *m = table_take(&p->modules, event->module->id);
        if (m) drop_module(m);
      }
      break;
    case EVENT_MARKER:
      if (event->marker.kind == P11T_GAP) forget(p);
      break;
    default: break;
  }
}

static bool says_absent(const struct call *call)
{
  return call->state == CALL_DONE &&
         (call->rv == CKR_DEVICE_REMOVED || call->rv == CKR_TOKEN_NOT_PRESENT || call->rv == CKR_TOKEN_NOT_RECOGNIZED);
}

/* The slot or session that the call names; sessions that were opened before the trace began are known by nothing but their
 * number until C_GetSessionInfo tells their slot. */
static void find_session(const struct call *call, struct model_place *place)
{
  uint64_t n;
  int i = pick_kind(call, P11_K_SESSION);
  if (i >= 0 && pick_in(call, (unsigned)i, &n)) {
    place->session = model_session(place->module, n);
    if (place->session) {
      place->slot = place->session->slot;
      model_refresh_operations(place->session);
    }
  }
  i = pick_kind(call, P11_K_SLOT);
  if (i < 0 || !pick_in(call, (unsigned)i, &n)) return;
  /* Numbers that are no slot get no memory. */
  const bool exists = call_returned(call, CKR_OK) || says_absent(call);
  place->slot = exists ? model_slot(place->module, n) : table_get(&place->module->slots, n);
}

static void find(const struct event *event, struct model_place *place)
{
  const struct call *call = event->call;
  find_session(call, place);
  uint64_t n;
  int i = pick_kind(call, P11_K_OBJECT);
  if (i < 0) i = pick_kind(call, P11_K_KEY);
  if (i >= 0 && pick_in(call, (unsigned)i, &n)) place->object = model_object(place->module, n);
  /* Softoken numbers the objects of each slot by themselves: the same handle is another slot's object. */
  if (place->object && place->slot && place->object->slot && place->object->slot != place->slot) place->object = NULL;
}

void model_place(const struct event *event, struct model_place *place)
{
  struct model_process *p = event->process->user;
  *place = (struct model_place){.process = p, .module = model_module(p, event->call->module)};
  place->changes = leave(place->module, event->call);
  find(event, place);
  place->idiom = (uint8_t)idiom_of(place, event->call);
}

void model_starting(const struct event *event, struct model_place *place)
{
  struct model_process *p = event->process->user;
  *place = (struct model_place){.process = p, .module = model_module(p, event->call->module)};
  find(event, place);
}

/* --- taking a call in ------------------------------------------------------------------------- */

void model_note(const struct model_place *place, struct note *note, const struct call *call)
{
  note_take(note, place->process->process, place->process->origin, call);
  note->idiom = place->idiom;
}

static void reset_slots(struct model_module *m, uint8_t login)
{
  size_t at = 0;
  for (struct model_slot *s; (s = table_next(&m->slots, &at));) {
    model_window_reset(s, login, true);
    s->token.known = s->has_flags = s->absent = s->mechanisms_listed = false;
    s->removal = 0;
    s->gone = s->back = (struct note){0};
    memset(&s->last, 0, sizeof s->last);
    memset(&s->rule, 0, sizeof s->rule);
    table_clear(&s->mechanisms, free);
    kept_clear(&s->kept);
  }
}

/* pk11load.c, secmodLockFunctions and secmodNoLockArgs. */
static bool as_nss_does(const struct call *call)
{
  const struct value *args = &call->arg[0].in;
  return args->what == VALUE_INIT_ARGS && args->length == 15 &&
         args->number == (CKF_LIBRARY_CANT_CREATE_OS_THREADS | CKF_OS_LOCKING_OK);
}

static void initialize(const struct call *call, struct model_place *place)
{
  struct model_module *m = place->module;
  if (as_nss_does(call)) m->nss = true;
  const bool already = call_returned(call, CKR_CRYPTOKI_ALREADY_INITIALIZED);
  if (!already && !call_returned(call, CKR_OK)) return;
  place->process->child = false;
  if (m->epoch == EPOCH_OPEN) return;
  m->epoch = EPOCH_OPEN;
  m->asked_info = already;
  if (already) return; /* another part of the program did it: sessions may be open */
  model_note(place, &m->initialized, call);
  m->epochs++;
  model_drop_sessions(m, NULL);
  model_drop_objects(m);
  reset_slots(m, LOGIN_PUBLIC);
}

static void finalize(const struct call *call, struct model_place *place)
{
  struct model_module *m = place->module;
  size_t at = 0;
  model_note(place, &m->finalized, call);
  for (struct model_session *s; (s = table_next(&m->sessions, &at));)
    model_session_gone(m, s, GONE_FINALIZED, &m->finalized);
  for (struct model_object *o = m->newest; o; o = o->older) model_object_gone(m, o, GONE_FINALIZED, &m->finalized);
  model_drop_sessions(m, NULL);
  model_drop_objects(m);
  reset_slots(m, LOGIN_PUBLIC);
  m->epoch = EPOCH_CLOSED;
  m->initialized = m->session_failure = m->announced[0].note = m->announced[1].note = (struct note){0};
}

static void announce(const struct call *call, struct model_place *place)
{
  struct model_module *m = place->module;
  uint64_t present, count;
  if (!asks_for_count(call)) return;
  m->announced_before = m->announced_end;
  m->announced_end = call->end_number ? call->end_number : UINT64_MAX;
  if (!pick_in(call, 0, &present)) return;
  struct note *note = &m->announced[present != 0].note;
  *note = (struct note){0};
  /* An overlapping one may have looked at the slots later than this one. */
  if (m->announcing || m->announced_before > call->number) return;
  if (!call_returned(call, CKR_OK) || !pick_out(call, 2, &count)) return;
  model_note(place, note, call);
  m->announced[present != 0].count = count;
}

/* Fixed-width text of a structure, without trailing blanks. */
/* False when the trace does not have it. */
static bool text_member(const struct call *call, size_t offset, char *to, size_t size)
{
  const struct value *v = pick_member(call, 1, P11_S_CK_TOKEN_INFO, offset);
  size_t n = v && v->what == VALUE_BYTES ? v->kept : 0;
  if (n >= size) n = size - 1;
  if (n) memcpy(to, v->bytes, n);
  to[n] = 0;
  n = strlen(to);
  while (n && to[n - 1] == ' ') to[--n] = 0;
  return v && v->what == VALUE_BYTES && v->form == P11T_V_FULL;
}

static uint64_t number_member(const struct call *call, size_t offset)
{
  const struct value *v = pick_member(call, 1, P11_S_CK_TOKEN_INFO, offset);
  return v ? v->number : 0;
}

bool model_token_info(const struct call *call, struct model_token *token)
{
  if (!call_returned(call, CKR_OK) || call->arg[1].out.what != VALUE_STRUCT) return false;
  struct model_token t = {.known = true};
  t.labelled = text_member(call, offsetof(CK_TOKEN_INFO, label), t.label, sizeof t.label);
  text_member(call, offsetof(CK_TOKEN_INFO, manufacturerID), t.maker, sizeof t.maker);
  text_member(call, offsetof(CK_TOKEN_INFO, model), t.model, sizeof t.model);
  text_member(call, offsetof(CK_TOKEN_INFO, serialNumber), t.serial, sizeof t.serial);
  t.flags = number_member(call, offsetof(CK_TOKEN_INFO, flags));
  t.min_pin = number_member(call, offsetof(CK_TOKEN_INFO, ulMinPinLen));
  t.max_pin = number_member(call, offsetof(CK_TOKEN_INFO, ulMaxPinLen));
  t.sessions = number_member(call, offsetof(CK_TOKEN_INFO, ulSessionCount));
  t.max_sessions = number_member(call, offsetof(CK_TOKEN_INFO, ulMaxSessionCount));
  t.rw_sessions = number_member(call, offsetof(CK_TOKEN_INFO, ulRwSessionCount));
  t.max_rw_sessions = number_member(call, offsetof(CK_TOKEN_INFO, ulMaxRwSessionCount));
  *token = t;
  return true;
}

/* A sign that the token is there, or is not. */
void model_token_present(const struct call *call, struct model_place *place)
{
  struct model_slot *s = place->slot;
  s->seen = call->end;
  if (!s->absent) return;
  s->absent = false;
  s->generation++;
  model_note(place, &s->back, call);
}

static void absent(const struct call *call, struct model_place *place)
{
  struct model_slot *s = place->slot;
  s->removal = call->end;
  s->token.known = false;
  /* That the slot is empty says more than that a call failed. */
  if (!s->absent || (call->known == P11_F_C_GetSlotInfo && s->gone.known != P11_F_C_GetSlotInfo))
    model_note(place, &s->gone, call);
  model_window_removed(s, call);
  if (!s->absent) model_drop_objects_at(s, GONE_REMOVED, &s->gone);
  s->absent = true;
  place->object = NULL;
  s->back = (struct note){0};
}

static void token_info(const struct call *call, struct model_place *place)
{
  struct model_slot *s = place->slot;
  struct model_token t;
  if (!s || !model_token_info(call, &t)) return;
  model_note(place, &t.note, call);
  if (s->token.known && (strcmp(s->token.serial, t.serial) || strcmp(s->token.label, t.label))) {
    s->user = (struct note){0}; /* another token */
    s->keys = 0;
    s->generation++;
    memset(&s->rule, 0, sizeof s->rule);
  }
  s->token = t;
  model_token_present(call, place);
}

static void slot_info(const struct call *call, struct model_place *place)
{
  const struct value *flags = pick_member(call, 1, P11_S_CK_SLOT_INFO, offsetof(CK_SLOT_INFO, flags));
  struct model_slot *s = place->slot;
  if (!s || !flags) return;
  s->has_flags = true;
  s->flags = flags->number;
  if (flags->number & CKF_TOKEN_PRESENT)
    model_token_present(call, place);
  else
    absent(call, place);
}

void model_apply(const struct event *event, struct model_place *place)
{
  const struct call *call = event->call;
  const bool ok = call_returned(call, CKR_OK);
  if (call->end_number > place->module->ended && call->known != P11_F_C_WaitForSlotEvent)
    place->module->ended = call->end_number;
  changed(call, place);
  if (place->slot && says_absent(call)) absent(call, place);
  switch (call->known) {
    case P11_F_C_Initialize: initialize(call, place); break;
    case P11_F_C_Finalize:
      if (ok) finalize(call, place);
      break;
    case P11_F_C_GetInfo: place->module->asked_info = true; break;
    case P11_F_C_GetSlotList: announce(call, place); break;
    case P11_F_C_GetSlotInfo:
      if (ok) slot_info(call, place);
      break;
    case P11_F_C_GetTokenInfo:
      if (ok) token_info(call, place);
      break;
    case -1: break;
    case P11_F_C_GetMechanismList:
    case P11_F_C_GetMechanismInfo: model_apply_mechanism(call, place); break;
    case P11_F_C_FindObjectsInit:
    case P11_F_C_FindObjects:
    case P11_F_C_FindObjectsFinal:
      model_apply_object(call, place);
      model_apply_operation(call, place);
      model_apply_session(call, place);
      model_apply_search(call, place);
      break;
    default:
      model_apply_object(call, place); /* while the session that made an object is still known */
      model_apply_operation(call, place);
      model_apply_session(call, place);
  }
}

/* --- questions --------------------------------------------------------------------------------- */

bool model_settled(const struct model_slot *slot, const struct call *call)
{
  return model_login_still(slot, call->number);
}

bool model_removal(const struct model_slot *slot, const struct call *call)
{
  return slot && slot->removal && call->end < slot->removal + SECOND;
}

unsigned model_state_class(uint64_t state)
{
  switch (state) {
    case CKS_RO_PUBLIC_SESSION:
    case CKS_RW_PUBLIC_SESSION: return LOGIN_PUBLIC;
    case CKS_RO_USER_FUNCTIONS:
    case CKS_RW_USER_FUNCTIONS: return LOGIN_USER;
    case CKS_RW_SO_FUNCTIONS: return LOGIN_SO;
    default: return 0;
  }
}

const char *model_module_path(const struct model_module *module)
{
  const struct module *m = trace_module(module->process->process, module->id);
  return m && m->path ? m->path : "";
}

bool model_is_proxy(const struct model_module *module)
{
  static const char *const names[] = {"p11-kit-proxy", "p11-kit-client", "pkcs11-spy", "p11trace"};
  const char *name = model_module_name(module);
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strstr(name, names[i])) return true;
  return false;
}

const char *model_module_name(const struct model_module *module)
{
  const char *path = model_module_path(module), *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}
