/* Keys in pages of their own. */
#include "auth/keypage.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "auth/auth.h"
#include "core/module.h"

/* All pages, for the child of a fork, which may run in the middle of a change of this list: so an entry is linked in
 * when it is complete, and unlinked before its page goes. */
struct entry {
  struct tok_keys *keys;
  _Atomic(struct entry *) next;
};

static _Atomic(struct entry *) pages;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static size_t page_size(void)
{
  return (size_t)sysconf(_SC_PAGESIZE);
}

struct tok_keys *tok_keypage_new(void)
{
  size_t size = page_size();
  struct entry *entry = tok_alloc(sizeof *entry);
  void *page =
      entry != NULL ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : MAP_FAILED;
  if (page == MAP_FAILED) {
    free(entry);
    return NULL;
  }
  (void)mlock(page, size);
  (void)madvise(page, size, MADV_DONTDUMP);
  (void)madvise(page, size, MADV_WIPEONFORK);
  entry->keys = page;
  pthread_mutex_lock(&lock);
  atomic_store(&entry->next, atomic_load(&pages));
  atomic_store(&pages, entry);
  pthread_mutex_unlock(&lock);
  return page;
}

void tok_keypage_wipe(struct tok_keys *keys)
{
  OPENSSL_cleanse(keys, sizeof *keys);
}

void tok_keypage_free(struct tok_keys *keys)
{
  if (keys == NULL) return;
  tok_keypage_wipe(keys);
  pthread_mutex_lock(&lock);
  _Atomic(struct entry *) *link = &pages;
  struct entry *entry;
  while ((entry = atomic_load(link)) != NULL && entry->keys != keys) link = &entry->next;
  if (entry != NULL) atomic_store(link, atomic_load(&entry->next));
  pthread_mutex_unlock(&lock);
  free(entry);
  munmap(keys, page_size());
}

/* MADV_WIPEONFORK has done it already, on Linux 4.14 and later. */
void tok_auth_after_fork_child(void)
{
  for (struct entry *entry = atomic_load(&pages); entry != NULL; entry = atomic_load(&entry->next))
    OPENSSL_cleanse(entry->keys, sizeof *entry->keys);
  atomic_store(&pages, NULL); /* the parent's slots are left alone, never freed */
  lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}
