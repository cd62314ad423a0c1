/* What C_Initialize and C_OpenSession are handed: locks that work, and a callback that does nothing. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/replay/live_part.h"

static CK_RV create_mutex(CK_VOID_PTR_PTR mutex)
{
  pthread_mutexattr_t attributes;
  pthread_mutex_t *m = malloc(sizeof *m);
  if (mutex == NULL || m == NULL) {
    free(m);
    return mutex == NULL ? CKR_GENERAL_ERROR : CKR_HOST_MEMORY;
  }
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_init(m, &attributes);
  pthread_mutexattr_destroy(&attributes);
  *mutex = m;
  return CKR_OK;
}

static CK_RV destroy_mutex(CK_VOID_PTR mutex)
{
  if (mutex == NULL || pthread_mutex_destroy(mutex) != 0) return CKR_MUTEX_BAD;
  free(mutex);
  return CKR_OK;
}

static CK_RV lock_mutex(CK_VOID_PTR mutex)
{
  return mutex == NULL || pthread_mutex_lock(mutex) != 0 ? CKR_MUTEX_BAD : CKR_OK;
}

static CK_RV unlock_mutex(CK_VOID_PTR mutex)
{
  return mutex == NULL || pthread_mutex_unlock(mutex) != 0 ? CKR_MUTEX_NOT_LOCKED : CKR_OK;
}

CK_RV live_notify(CK_SESSION_HANDLE session, CK_NOTIFICATION event, CK_VOID_PTR application)
{
  (void)session, (void)event, (void)application;
  return CKR_OK;
}

/* The text behind `flags`: the user's, else the recorded one where it was kept. */
static char *parameters(struct laying *l, const struct value *args)
{
  const char *given = l->player->options->parameters;
  if (given != NULL) return arena_text(&l->live->memory, given, strlen(given));
  if (args->count == 0 || args->shape == P11T_R_NULL || args->shape == P11T_R_OURS) return NULL;
  if (args->shape == P11T_R_OTHER) return arena_alloc(&l->live->memory, 4096);
  const struct value *text = args->item;
  size_t length = 0;
  enum payload_how how;
  const uint8_t *bytes = payload_find(l->player, text, &length, &how);
  if (bytes != NULL) return arena_text(&l->live->memory, bytes, length);
  if (text->form == P11T_V_SEALED && !live_absurd(text->length)) {
    uint8_t *to = arena_alloc(&l->live->memory, (size_t)text->length + 1);
    how = payload_fill(l->player, text, to);
    live_secret(l->live, to, (size_t)text->length);
    if (how == PAYLOAD_RECORDED) return (char *)to;
  }
  l->live->stand_in |= (uint16_t)(1u << l->param);
  return NULL;
}

void *live_init_args(struct laying *l, const struct value *args)
{
  if (args->pointer == P11T_P_UNREADABLE) return live_nowhere(l->live);
  if (args->pointer == P11T_P_NULL && l->player->options->parameters == NULL) return NULL;
  CK_NSS_C_INITIALIZE_ARGS *to = arena_alloc(&l->live->memory, sizeof *to);
  if (args->pointer != P11T_P_NULL) {
    if (args->length & 1) to->CreateMutex = create_mutex;
    if (args->length & 2) to->DestroyMutex = destroy_mutex;
    if (args->length & 4) to->LockMutex = lock_mutex;
    if (args->length & 8) to->UnlockMutex = unlock_mutex;
    to->flags = args->number;
  }
  to->LibraryParameters = (CK_CHAR_PTR *)(void *)parameters(l, args);
  return to;
}
