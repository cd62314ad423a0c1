/* Values that only the holder of a private key can read: seal-to= with capture=full, and the secrets of capture=clear.
 *
 * Each process makes one key at random and writes it, sealed to the public key (crypto_box_seal), into HEAD; each value is a
 * crypto_secretbox under it. The key lies in the guard's page: no core dump has it and a fork's child makes its own. */
#ifndef RECORD_SEAL_H
#define RECORD_SEAL_H

#include "shim/record/guard.h"
#include "shim/record/writer.h"
#include "shim/trace/sealing.h"

/* Reads the public key in the file `path`; `where` is who named it. False after one line to stderr: what was there stays. */
bool p11t_seal_to(const char *path, const char *where);

/* Makes the process's key, when values are to be sealed. Falls back to capture=safe, after one line to stderr, where
 * capture=full has nothing to seal to. Under the lock. False: the kernel gives no random bytes. */
bool p11t_seal_start(void);

/* Content of HEAD's field; 0 when nothing is sealed. */
size_t p11t_seal_head(uint8_t out[P11T_SEAL_HEAD]);

static inline bool p11t_seals(void)
{
  return p11t_guard->has_seal_key != 0;
}

/* V of the first `kept` of `size` bytes, sealed. No byte of them lies in the slot or stays on the stack. */
void p11t_seal_value(struct p11t_writer *w, enum p11t_seal_class class, const uint8_t *bytes, uint64_t size,
                     uint64_t kept, uint64_t tag, uint8_t shape);

#endif
