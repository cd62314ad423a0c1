/* C_Initialize and C_Finalize, and what a fork does to them. */
#include "core/lifetime.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/auth.h"
#include "config/config.h"
#include "core/entry.h"
#include "core/events.h"
#include "core/init_args.h"
#include "core/module.h"
#include "core/sessions.h"
#include "core/slots.h"
#include "crypto/ciphers.h"
#include "crypto/hash.h"
#include "store/store.h"

struct tok_module *tok_module;

static atomic_bool ready;
static atomic_uint inside; /* calls that have come in and not left */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* OpenSSL's library context, kept from one C_Initialize to the next; see load_crypto. */
static struct {
  OSSL_LIB_CTX *context;
  bool legacy;
} kept;

/* If libcrypto is the system's (TOKEN_CRYPTO in the Makefile), a host that exits may have shut it down before it closes its
 * modules; nothing of ours may touch it then (SoftHSM crashes there: softhsm/SoftHSMv2#553, #729). OPENSSL_init_crypto
 * tells, and costs a few nanoseconds. */
static bool crypto_is_there(void)
{
  return OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL) != 0;
}

bool tok_enter(void)
{
  atomic_fetch_add(&inside, 1);
  if (atomic_load(&ready) && crypto_is_there()) return true;
  tok_leave();
  return false;
}

void tok_leave(void)
{
  atomic_fetch_sub(&inside, 1);
}

/* --- fork ------------------------------------------------------------------------------------------------------- */

static void before_fork(void)
{
  tok_store_before_fork();
}

static void after_fork_parent(void)
{
  tok_store_after_fork_parent();
}

/* The child has one thread and a copy of everything, locked in any state: it lets go of all of it, so that its own
 * C_Initialize begins from nothing (PKCS #11 3.2, C_Initialize: a child must initialise for itself). */
static void after_fork_child(void)
{
  tok_store_after_fork_child();
  tok_auth_after_fork_child();
  tok_sessions_abandon();
  tok_events_after_fork_child();
  tok_ciphers_abandon();
  tok_module = NULL;
  kept.context = NULL;
  kept.legacy = false;
  atomic_store(&ready, false);
  atomic_store(&inside, 0);
  lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

static CK_RV watch_forks(void)
{
  static bool watched;
  if (!watched && pthread_atfork(before_fork, after_fork_parent, after_fork_child) != 0) return CKR_HOST_MEMORY;
  watched = true;
  return CKR_OK;
}

/* --- beginning and end ------------------------------------------------------------------------------------------ */

/* Frees what there is of a module. */
static void teardown(struct tok_module *module)
{
  tok_slots_free(module);
  tok_ciphers_unload();
  tok_hashes_unload();
  tok_config_free(module->config);
  free(module);
}

/* A library context of our own, with the providers that we name and no configuration file: a host may have made a PKCS #11
 * provider its default, and that would lead back to us (softhsm/SoftHSMv2#834). It is made once and kept for the process's
 * next C_Initialize: taking providers down while a host exits is where others crash, because the legacy provider is a
 * library that uses the system's libcrypto, which may be gone by then. A forked child makes its own. */
static CK_RV load_crypto(struct tok_module *module)
{
  if (!crypto_is_there()) return CKR_GENERAL_ERROR;
  if (kept.context == NULL) {
    OSSL_LIB_CTX *context = OSSL_LIB_CTX_new();
    if (context == NULL || OSSL_PROVIDER_load(context, "default") == NULL) {
      OSSL_LIB_CTX_free(context);
      return CKR_GENERAL_ERROR;
    }
    kept.context = context;
  }
  /* The legacy provider is a file of its own that may be missing: then its mechanisms are. */
  if (module->config->legacy && !kept.legacy) {
    ERR_set_mark();
    kept.legacy = OSSL_PROVIDER_load(kept.context, "legacy") != NULL;
    ERR_pop_to_mark();
  }
  module->crypto = kept.context;
  module->legacy = module->config->legacy && kept.legacy;
  return tok_hashes_load(module->crypto);
}

static CK_RV setup(const char *parameters)
{
  char why[1024] = "";
  struct tok_module *module = tok_alloc(sizeof *module);
  if (module == NULL) return CKR_HOST_MEMORY;
  CK_RV rv = tok_config_read(parameters, &module->config, why, sizeof why);
  if (rv != CKR_OK && why[0] != '\0') fprintf(stderr, "libp11token: %s\n", why);
  tok_module = module; /* the parts below look at it */
  if (rv == CKR_OK) rv = load_crypto(module);
  if (rv == CKR_OK) rv = tok_slots_new(module);
  if (rv != CKR_OK) {
    teardown(module);
    tok_module = NULL;
  }
  return rv;
}

CK_RV tok_C_Initialize(struct tok_session *session, CK_VOID_PTR pInitArgs)
{
  (void)session;
  char *parameters = NULL;
  CK_RV rv = tok_init_args(pInitArgs, &parameters);
  if (rv != CKR_OK) return rv;
  pthread_mutex_lock(&lock);
  if (atomic_load(&ready)) rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;
  if (rv == CKR_OK) rv = watch_forks();
  if (rv == CKR_OK) rv = setup(parameters);
  if (rv == CKR_OK) atomic_store(&ready, true);
  pthread_mutex_unlock(&lock);
  free(parameters);
  return rv;
}

CK_RV tok_C_Finalize(struct tok_session *session, CK_VOID_PTR pReserved)
{
  (void)session;
  if (pReserved != NULL) return CKR_ARGUMENTS_BAD;
  CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
  pthread_mutex_lock(&lock);
  if (atomic_load(&ready)) {
    atomic_store(&ready, false); /* nobody comes in any more */
    tok_events_end();            /* and whoever sleeps in C_WaitForSlotEvent leaves */
    while (atomic_load(&inside) > 0) sched_yield();
    tok_events_free();
    if (crypto_is_there()) {
      tok_session_close_all(NULL);
      tok_sessions_free();
      teardown(tok_module);
    } else {
      tok_sessions_abandon();
    }
    tok_module = NULL;
    rv = CKR_OK;
  }
  pthread_mutex_unlock(&lock);
  return rv;
}
