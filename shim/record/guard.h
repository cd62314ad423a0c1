/* The one page that a fork wipes (MADV_WIPEONFORK) and a core dump leaves out (MADV_DONTDUMP): the word that tells a
 * process from its fork, the recorder's lock (a child must not inherit it held), the keys of the tags and the key that values
 * are sealed with (a child gets new ones). */
#ifndef RECORD_GUARD_H
#define RECORD_GUARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct p11t_guard {
  /* What a thread's state must match for its slot to be usable. 0: fresh process (or a fork's child). Changes at the end
   * of recording and when the clock changes, which sends every thread through the slow way once. */
  _Atomic uint64_t epoch;
  _Atomic uint32_t lock; /* 0 free, 1 held, 2 held and waited for */
  uint32_t has_keys;
  _Atomic uint32_t modules_lock;
  _Atomic uint32_t sessions_lock;
  uint32_t has_sessions; /* 0: what the table of sessions holds is the parent's */
  uint32_t reserved;     /* 1: this process's files were opened when it was forked (reserve.h) */
  uint8_t key[3][16];    /* SipHash keys by class: payload, secrets, PINs */
  uint32_t has_seal_key;
  uint8_t seal_key[32]; /* seal.h */
};

extern struct p11t_guard *p11t_guard; /* valid once p11t_guard_make() said so */

/* Maps the page; false when the kernel has none to give or cannot wipe it at a fork (before Linux 4.14): no tracing then. */
bool p11t_guard_make(void);

/* The recorder's only lock: taken in slow ways and flushes, never across a call into the module. Sleeps in the kernel by
 * futex, is no cancellation point, and is free in a fork's child whatever the parent did. */
void p11t_lock(void);
void p11t_unlock(void);

/* The lock of the tables of modules (load/): the same kind, taken before p11t_lock() and never with a call into the loader
 * that could wait for dlopen: a constructor that looks for a module holds the loader's lock and waits for this one. */
void p11t_modules_lock(void);
void p11t_modules_unlock(void);

/* The lock of the table of sessions (sessions.h), innermost. No signal handler runs in between: it might call the module. */
void p11t_sessions_lock(uint64_t *signals);
void p11t_sessions_unlock(const uint64_t *signals);

#endif
