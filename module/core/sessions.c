/* The table of sessions. */
#include "core/sessions.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "core/module.h"
#include "core/presence.h"
#include "crypto/op.h"
#include "object/objects.h"

/* A handle is 1 + place + generation * PLACES: sessions opened first have small numbers, and a place that is used again
 * has another handle. Tables grow by chunks that never move, so that a handle is looked up without a lock of the table. */
#define CHUNK 256u
#define CHUNKS 256u
#define PLACES (CHUNK * CHUNKS)

struct place {
  struct tok_session session;
  CK_ULONG next_handle; /* of the next session here */
  struct place *next;   /* in the list of free places */
};

static _Atomic(struct place *) chunks[CHUNKS];
static struct {
  pthread_mutex_t lock;
  struct place *first, *last; /* free places, oldest first: a handle comes back as late as can be */
  unsigned used;              /* chunks */
} table = {PTHREAD_MUTEX_INITIALIZER, NULL, NULL, 0};

struct tok_session *tok_session_lock(CK_SESSION_HANDLE handle)
{
  if (handle == CK_INVALID_HANDLE) return NULL;
  CK_ULONG at = (handle - 1) % PLACES;
  struct place *chunk = atomic_load_explicit(&chunks[at / CHUNK], memory_order_acquire);
  if (chunk == NULL) return NULL;
  struct tok_session *session = &chunk[at % CHUNK].session;
  pthread_mutex_lock(&session->lock);
  if (session->handle == handle) {
    if (!tok_session_lost(session)) return session;
    tok_session_lose(session);
    return NULL;
  }
  pthread_mutex_unlock(&session->lock);
  return NULL;
}

void tok_session_unlock(struct tok_session *session)
{
  pthread_mutex_unlock(&session->lock);
}

void tok_session_end(struct tok_session *session, enum tok_op_kind kind)
{
  tok_op_free(session->op[kind]);
  session->op[kind] = NULL;
}

static void give_back(struct place *place)
{
  place->next = NULL;
  if (table.last != NULL)
    table.last->next = place;
  else
    table.first = place;
  table.last = place;
}

/* The table is locked. */
static bool add_chunk(void)
{
  if (table.used == CHUNKS) return false;
  struct place *chunk = tok_alloc(CHUNK * sizeof *chunk);
  if (chunk == NULL) return false;
  for (unsigned i = 0; i < CHUNK; i++) {
    pthread_mutex_init(&chunk[i].session.lock, NULL);
    chunk[i].next_handle = 1 + table.used * CHUNK + i;
    give_back(&chunk[i]);
  }
  atomic_store_explicit(&chunks[table.used++], chunk, memory_order_release);
  return true;
}

static struct place *take(void)
{
  pthread_mutex_lock(&table.lock);
  struct place *place = NULL;
  if (table.first != NULL || add_chunk()) {
    place = table.first;
    table.first = place->next;
    if (table.first == NULL) table.last = NULL;
  }
  pthread_mutex_unlock(&table.lock);
  return place;
}

CK_RV tok_session_open(struct tok_slot *slot, CK_FLAGS flags, CK_SESSION_HANDLE *handle)
{
  struct place *place = take();
  if (place == NULL) return CKR_SESSION_COUNT;
  struct tok_session *session = &place->session;
  bool rw = (flags & CKF_RW_SESSION) != 0;
  uint32_t born = atomic_load(&slot->insertion);
  CK_RV rv = tok_card_is_out(born) ? CKR_TOKEN_NOT_PRESENT : CKR_OK;
  pthread_mutex_lock(&slot->lock);
  /* While the SO is logged in there may be no R/O session (PKCS #11 3.2, C_OpenSession); counted under the same lock as
   * the SO's login looks for one. */
  if (rv == CKR_OK && !rw && tok_auth_who(slot) == TOK_SO) rv = CKR_SESSION_READ_WRITE_SO_EXISTS;
  if (rv == CKR_OK) {
    slot->sessions++;
    if (rw) slot->rw_sessions++;
  }
  pthread_mutex_unlock(&slot->lock);
  if (rv != CKR_OK) {
    pthread_mutex_lock(&table.lock);
    give_back(place);
    pthread_mutex_unlock(&table.lock);
    return rv;
  }
  pthread_mutex_lock(&session->lock);
  session->slot = slot;
  session->born = born;
  session->flags = flags & (CKF_RW_SESSION | CKF_SERIAL_SESSION);
  *handle = session->handle = place->next_handle;
  place->next_handle += PLACES;
  pthread_mutex_unlock(&session->lock);
  return CKR_OK;
}

/* Closes a session that is locked, and unlocks it. True if it was the slot's last one. */
static bool close_only(struct tok_session *session)
{
  struct tok_slot *slot = session->slot;
  CK_SESSION_HANDLE handle = session->handle;
  bool rw = tok_session_rw(session);
  for (int kind = 0; kind < TOK_OPS; kind++) tok_session_end(session, (enum tok_op_kind)kind);
  tok_found_free(session->found);
  session->found = NULL;
  session->handle = 0;
  session->slot = NULL;
  pthread_mutex_unlock(&session->lock);

  tok_objects_session_closed(slot, handle);
  pthread_mutex_lock(&slot->lock);
  slot->sessions--;
  if (rw) slot->rw_sessions--;
  bool last = slot->sessions == 0;
  pthread_mutex_unlock(&slot->lock);

  pthread_mutex_lock(&table.lock);
  give_back((struct place *)session);
  pthread_mutex_unlock(&table.lock);
  return last;
}

static void close_locked(struct tok_session *session)
{
  struct tok_slot *slot = session->slot;
  /* The last one closed logs the user out (PKCS #11 3.2, C_CloseSession). */
  if (close_only(session)) tok_auth_sessions_closed(slot);
}

void tok_session_lose(struct tok_session *session)
{
  struct tok_slot *slot = session->slot;
  close_locked(session);
  tok_slot_present(slot); /* ends the rest */
}

void tok_session_close_lost(struct tok_slot *slot)
{
  for (unsigned c = 0; c < CHUNKS; c++) {
    struct place *chunk = atomic_load_explicit(&chunks[c], memory_order_acquire);
    if (chunk == NULL) break;
    for (unsigned i = 0; i < CHUNK; i++) {
      struct tok_session *session = &chunk[i].session;
      if (pthread_mutex_trylock(&session->lock) != 0) continue;
      if (session->handle != 0 && session->slot == slot && tok_session_lost(session))
        close_only(session);
      else
        pthread_mutex_unlock(&session->lock);
    }
  }
}

CK_RV tok_session_close(CK_SESSION_HANDLE handle)
{
  struct tok_session *session = tok_session_lock(handle);
  if (session == NULL) return CKR_SESSION_HANDLE_INVALID;
  close_locked(session);
  return CKR_OK;
}

void tok_session_close_all(struct tok_slot *slot)
{
  for (unsigned c = 0; c < CHUNKS; c++) {
    struct place *chunk = atomic_load_explicit(&chunks[c], memory_order_acquire);
    if (chunk == NULL) break;
    for (unsigned i = 0; i < CHUNK; i++) {
      struct tok_session *session = &chunk[i].session;
      pthread_mutex_lock(&session->lock);
      if (session->handle != 0 && (slot == NULL || session->slot == slot))
        close_locked(session);
      else
        pthread_mutex_unlock(&session->lock);
    }
  }
}

void tok_slot_visit_sessions(struct tok_slot *slot, void (*visit)(struct tok_session *session, void *context),
                             void *context)
{
  for (unsigned c = 0; c < CHUNKS; c++) {
    struct place *chunk = atomic_load_explicit(&chunks[c], memory_order_acquire);
    if (chunk == NULL) break;
    for (unsigned i = 0; i < CHUNK; i++) {
      struct tok_session *session = &chunk[i].session;
      if (pthread_mutex_trylock(&session->lock) != 0) continue;
      if (session->handle != 0 && session->slot == slot) visit(session, context);
      pthread_mutex_unlock(&session->lock);
    }
  }
}

void tok_sessions_abandon(void)
{
  for (unsigned c = 0; c < CHUNKS; c++) atomic_store(&chunks[c], NULL);
  table.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
  table.first = table.last = NULL;
  table.used = 0;
}

void tok_sessions_free(void)
{
  for (unsigned c = 0; c < table.used; c++) {
    struct place *chunk = atomic_load(&chunks[c]);
    for (unsigned i = 0; i < CHUNK; i++) pthread_mutex_destroy(&chunk[i].session.lock);
    free(chunk);
  }
  tok_sessions_abandon();
}
