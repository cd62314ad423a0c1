/* The slots of this process. */
#include "core/slots.h"

#include <dirent.h>
#include <fcntl.h> /* AT_EACCESS */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"
#include "config/config.h"
#include "core/module.h"
#include "object/objects.h"
#include "store/store.h"

#define SUFFIX ".p11token"

/* Readers take the newest list without a lock, so lists are kept until C_Finalize; there are as many as times that a token
 * came. */
struct list {
  struct list *older;
  size_t count;
  struct tok_slot *slot[];
};

struct tok_slots {
  pthread_mutex_t lock; /* of looking for new ones */
  _Atomic(struct list *) now;
};

static struct list *now(void)
{
  return atomic_load_explicit(&tok_module->slots->now, memory_order_acquire);
}

struct tok_slot *tok_slot_by_id(CK_SLOT_ID id)
{
  struct list *list = now();
  for (size_t i = 0; i < list->count; i++)
    if (list->slot[i]->id == id) return list->slot[i];
  return NULL;
}

static void free_slot(struct tok_slot *slot)
{
  if (slot == NULL) return;
  tok_objects_free(slot->objects);
  tok_auth_free(slot->auth);
  tok_store_close(atomic_load(&slot->store));
  tok_card_close(atomic_load(&slot->changes));
  pthread_mutex_destroy(&slot->lock);
  pthread_mutex_destroy(&slot->clearing);
  free(slot->path);
  free(slot);
}

/* Opens the file of a slot. What is wrong with it is said once, on stderr: the caller sees only CKR_DEVICE_ERROR. */
static void open_store(struct tok_slot *slot, struct tok_token_record *token)
{
  char why[1024] = "";
  struct tok_store *store = NULL;
  CK_RV rv = tok_store_open(slot->path, &store, why, sizeof why);
  if (rv == CKR_OK) rv = tok_store_token(store, token);
  slot->broken = rv;
  if (rv == CKR_OK)
    atomic_store(&slot->store, store);
  else
    tok_store_close(store);
  /* A damaged file of which something can be read opens, but not without a word. */
  if (rv != CKR_OK || why[0] != '\0') fprintf(stderr, "libp11token: %s\n", why[0] != '\0' ? why : slot->path);
}

/* Finds out whether the token of a file can be removed. What was before C_Initialize is no event. */
static void open_card(struct tok_slot *slot)
{
  char why[1024];
  const tok_card *card = tok_card_open(slot->path, why, sizeof why);
  if (why[0] != '\0') fprintf(stderr, "libp11token: %s\n", why);
  if (card == NULL) return;
  slot->removable = true;
  atomic_store(&slot->insertion, atomic_load(card));
  atomic_store(&slot->told, atomic_load(&slot->insertion));
  atomic_store(&slot->changes, card);
}

/* A slot for a token file, or a blank one (path NULL). Its number is the one in the file if that is free. */
static struct tok_slot *new_slot(const char *path)
{
  struct tok_token_record token = {.slot = 0};
  struct tok_slot *slot = tok_alloc(sizeof *slot);
  if (slot == NULL) return NULL;
  pthread_mutex_init(&slot->lock, NULL);
  pthread_mutex_init(&slot->clearing, NULL);
  atomic_store(&slot->changes, &tok_card_fixed);
  /* A blank slot has the flag from the beginning that its token will have: it must not change (PKCS #11 3.2, 3.2). */
  slot->removable = path == NULL && tok_module->config->removable;
  slot->path = path != NULL ? tok_dup(path, strlen(path) + 1) : NULL;
  if (slot->path != NULL) {
    open_card(slot);
    open_store(slot, &token);
  }
  slot->id = token.slot;
  if ((path != NULL && slot->path == NULL) || (slot->auth = tok_auth_new(slot)) == NULL ||
      (slot->objects = tok_objects_new(slot)) == NULL) {
    free_slot(slot);
    return NULL;
  }
  return slot;
}

static bool known(const struct list *list, const char *path)
{
  for (size_t i = 0; i < list->count; i++)
    if (list->slot[i]->path != NULL && strcmp(list->slot[i]->path, path) == 0) return true;
  return false;
}

static CK_SLOT_ID largest_id(const struct list *list)
{
  return list->count > 0 ? list->slot[list->count - 1]->id : 0;
}

/* Publishes a list with one slot more; the slot is freed if that fails. */
static CK_RV publish(struct tok_slot *slot)
{
  struct list *old = now();
  struct list *fresh = slot != NULL ? tok_alloc(sizeof *fresh + (old->count + 1) * sizeof(struct tok_slot *)) : NULL;
  if (fresh == NULL) {
    free_slot(slot);
    return CKR_HOST_MEMORY;
  }
  if (slot->id == 0 || tok_slot_by_id(slot->id) != NULL) slot->id = largest_id(old) + 1;
  size_t at = 0;
  while (at < old->count && old->slot[at]->id < slot->id) at++;
  memcpy(fresh->slot, old->slot, at * sizeof(struct tok_slot *));
  fresh->slot[at] = slot;
  memcpy(fresh->slot + at + 1, old->slot + at, (old->count - at) * sizeof(struct tok_slot *));
  fresh->count = old->count + 1;
  fresh->older = old;
  atomic_store_explicit(&tok_module->slots->now, fresh, memory_order_release);
  return CKR_OK;
}

static int is_token_file(const struct dirent *entry)
{
  size_t len = strlen(entry->d_name), suffix = strlen(SUFFIX);
  return entry->d_name[0] != '.' && len > suffix && strcmp(entry->d_name + len - suffix, SUFFIX) == 0;
}

/* Adds the token files that have come; a directory that is not there has none. */
static CK_RV look_for_files(void)
{
  const char *directory = tok_module->config->directory;
  struct dirent **entries;
  int count = scandir(directory, &entries, is_token_file, alphasort);
  CK_RV rv = CKR_OK;
  for (int i = 0; i < count; i++) {
    size_t size = strlen(directory) + strlen(entries[i]->d_name) + 2;
    char *path = tok_alloc(size);
    if (path == NULL) rv = CKR_HOST_MEMORY;
    if (rv == CKR_OK) {
      snprintf(path, size, "%s/%s", directory, entries[i]->d_name);
      if (!known(now(), path)) rv = publish(new_slot(path));
    }
    free(path);
    free(entries[i]);
  }
  if (count >= 0) free(entries);
  return rv;
}

/* Adds a slot with a blank token, from which C_InitToken makes a token, if the configuration wants one. */
static CK_RV look_for_spare(void)
{
  struct list *list = now();
  enum tok_spare spare = tok_module->config->spare_slot;
  if (spare == TOK_SPARE_NEVER || (spare == TOK_SPARE_AUTO && list->count > 0)) return CKR_OK;
  for (size_t i = 0; i < list->count; i++)
    if (list->slot[i]->path == NULL) return CKR_OK;
  return publish(new_slot(NULL));
}

size_t tok_slots_list(bool fresh, struct tok_slot ***slots)
{
  if (fresh) {
    pthread_mutex_lock(&tok_module->slots->lock);
    if (look_for_files() == CKR_OK) look_for_spare(); /* without memory, the slots known so far */
    pthread_mutex_unlock(&tok_module->slots->lock);
  }
  struct list *list = now();
  *slots = list->slot;
  return list->count;
}

bool tok_slot_writable(struct tok_slot *slot)
{
  char folder[PATH_MAX];
  if (atomic_load(&slot->store) == NULL) return true;
  snprintf(folder, sizeof folder, "%s", slot->path);
  *strrchr(folder, '/') = '\0';
  return faccessat(AT_FDCWD, slot->path, W_OK, AT_EACCESS) == 0 && faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) == 0;
}

CK_RV tok_slot_make(struct tok_slot *slot, const char *path, const struct tok_token_record *token)
{
  struct tok_token_record again;
  char *copy = tok_dup(path, strlen(path) + 1);
  if (copy == NULL) return CKR_HOST_MEMORY;
  /* Under the lock of the look-out, which would take the new file for another slot's. */
  pthread_mutex_lock(&tok_module->slots->lock);
  /* First the file that says that the token can be removed: other processes look once, when they see the token. */
  CK_RV rv = slot->removable ? tok_card_make(path) : CKR_OK;
  if (rv == CKR_OK) {
    rv = tok_store_create(path, token);
    if (rv != CKR_OK && slot->removable) tok_card_unmake(path);
  }
  if (rv == CKR_OK) {
    slot->path = copy;
    if (slot->removable) open_card(slot);
    open_store(slot, &again);
    rv = slot->broken;
  } else {
    free(copy);
  }
  pthread_mutex_unlock(&tok_module->slots->lock);
  return rv;
}

CK_RV tok_slots_new(struct tok_module *module)
{
  struct tok_slot **slots;
  struct list *empty = tok_alloc(sizeof *empty);
  module->slots = tok_alloc(sizeof *module->slots);
  if (empty == NULL || module->slots == NULL) {
    free(empty);
    return CKR_HOST_MEMORY;
  }
  pthread_mutex_init(&module->slots->lock, NULL);
  atomic_store(&module->slots->now, empty);
  tok_slots_list(true, &slots);
  return CKR_OK;
}

void tok_slots_free(struct tok_module *module)
{
  if (module->slots == NULL) return;
  struct list *list = atomic_load(&module->slots->now);
  for (size_t i = 0; list != NULL && i < list->count; i++) free_slot(list->slot[i]);
  while (list != NULL) {
    struct list *older = list->older;
    free(list);
    list = older;
  }
  pthread_mutex_destroy(&module->slots->lock);
  free(module->slots);
}
