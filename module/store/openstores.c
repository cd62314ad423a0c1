/* The stores that this process has open, and what happens to them when it forks. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "database.h"

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct tok_store *open_stores;

static void forget(struct tok_store *store)
{
  pthread_mutex_lock(&registry);
  for (struct tok_store **s = &open_stores; *s != NULL; s = &(*s)->next)
    if (*s == store) {
      *s = store->next;
      break;
    }
  pthread_mutex_unlock(&registry);
}

CK_RV tok_store_open(const char *path, struct tok_store **store, char *why, size_t why_size)
{
  struct tok_token_record token;
  struct tok_store *s = calloc(1, sizeof *s);
  CK_RV rv = CKR_OK;
  if (why_size > 0) why[0] = '\0';
  if (s == NULL) return CKR_HOST_MEMORY;
  /* SQLite would refuse a symbolic link anywhere in the path; it is only to be sure that the file opened is the one
   * named, so links are followed here. */
  s->path = realpath(path, NULL);
  if (s->path == NULL) {
    if (why_size > 0) snprintf(why, why_size, "%s: %s", path, strerror(errno));
    free(s);
    return errno == ENOMEM ? CKR_HOST_MEMORY : CKR_DEVICE_ERROR;
  }
  s->reader.store = s->writer.store = s;
  s->data_version = -1;
  pthread_mutex_init(&s->reader.lock, NULL);
  pthread_mutex_init(&s->writer.lock, NULL);
  pthread_mutex_init(&s->opening, NULL);
  pthread_mutex_lock(&registry);
  rv = tok_database_start();
  s->next = open_stores;
  open_stores = s;
  pthread_mutex_unlock(&registry);

  if (rv == CKR_OK) rv = tok_connection_lock(&s->reader, why, why_size);
  if (rv == CKR_OK) {
    rv = tok_token_read(&s->reader, &token);
    if (rv != CKR_OK && why_size > 0)
      snprintf(why, why_size, "%s: the token's own record is damaged: restore the token from a backup", s->path);
    tok_connection_unlock(&s->reader);
  }
  if (rv != CKR_OK) {
    tok_store_close(s);
    s = NULL;
  }
  *store = s;
  return rv;
}

void tok_store_close(struct tok_store *store)
{
  if (store == NULL) return;
  pthread_mutex_lock(&store->writer.lock);
  pthread_mutex_lock(&store->reader.lock);
  /* The lock that both have on the main file belongs to the one that was opened first (filelocks.c). It is closed last, for
   * only who has the file alone writes the log back and removes it. */
  bool reader_last = store->reader.opened < store->writer.opened;
  tok_connection_close(reader_last ? &store->writer : &store->reader, true);
  tok_connection_close(reader_last ? &store->reader : &store->writer, true);
  pthread_mutex_unlock(&store->reader.lock);
  pthread_mutex_unlock(&store->writer.lock);
  forget(store);
  pthread_mutex_destroy(&store->reader.lock);
  pthread_mutex_destroy(&store->writer.lock);
  pthread_mutex_destroy(&store->opening);
  free(store->path);
  free(store);
}

/* SQLite knows for the whole process which POSIX locks it holds; a child, which holds none of them, must not inherit that
 * knowledge. So everything is closed, and closed for good as far as the child can see. The last connection to close would
 * write the log back; that can wait, a fork should be quick. */
void tok_store_before_fork(void)
{
  pthread_mutex_lock(&registry);
  for (struct tok_store *s = open_stores; s != NULL; s = s->next) {
    pthread_mutex_lock(&s->writer.lock);
    pthread_mutex_lock(&s->reader.lock);
    tok_connection_close(&s->reader, false);
    tok_connection_close(&s->writer, false);
  }
}

void tok_store_after_fork_parent(void)
{
  for (struct tok_store *s = open_stores; s != NULL; s = s->next) {
    pthread_mutex_unlock(&s->reader.lock);
    pthread_mutex_unlock(&s->writer.lock);
  }
  pthread_mutex_unlock(&registry);
}

/* The parent's stores are left as they are, locked; nobody in the child knows them. */
void tok_store_after_fork_child(void)
{
  open_stores = NULL;
  registry = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

CK_RV tok_store_registry_run(CK_RV (*run)(void *context), void *context)
{
  CK_RV rv;
  pthread_mutex_lock(&registry);
  rv = tok_database_start();
  if (rv == CKR_OK) rv = run(context);
  pthread_mutex_unlock(&registry);
  return rv;
}
