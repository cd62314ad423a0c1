/* A stricter policy, applied to values that were recorded already. What is taken away leaves its length, and a tag under a key
 * of this run that is written nowhere, so that equal values stay equal and nothing can be guessed from them. */
#ifndef WRITE_STRICT_H
#define WRITE_STRICT_H

#include "decoder/read/trace.h"

enum strict_drop {
  DROP_LABELS = 1,       /* CKA_LABEL, CKA_APPLICATION, labels of tokens */
  DROP_IDS = 2,          /* CKA_ID, CKA_UNIQUE_ID, CKA_OBJECT_ID */
  DROP_CERTIFICATES = 4, /* CKA_VALUE where it was kept, and their hashes */
  DROP_NAMES = 8,        /* subjects, issuers, URLs, mail addresses; certificates, which hold them */
  DROP_SERIALS = 16,     /* of certificates and tokens; certificates and descriptions of slots, which hold them */
  DROP_CMDLINE = 32,     /* arguments of the program */
  DROP_PATHS = 64,       /* folders of executable, modules, mapped files */
  DROP_THREADS = 128,    /* names of threads */
  DROP_MARKS = 256,      /* texts of MARK and DEVICE records */
  DROP_KEYS = 512        /* public keys, of which an id may be the hash; certificates, which hold them */
};

struct strict {
  bool meta; /* no attribute values but classes, key types and booleans; no tags */
  bool keep_sealed;
  unsigned drop; /* enum strict_drop */
  const uint64_t *attribute;
  size_t attributes;
  uint8_t key[3][16];         /* of the tags: payload, secrets, PINs */
  bool only_secrets, payload; /* for strict_secrets: payload in clear was met */
  uint64_t taken;             /* values that were taken away */
};

/* Makes the keys. Ends the program when the machine has no random bytes. */
void strict_begin(struct strict *strict);
void strict_end(struct strict *strict);

/* The word of `--drop`, or 0. */
unsigned strict_word(const char *word, size_t length);

/* Parameters of a call, as decoded at ENTER (`in`) or at LEAVE (`out`, and `in` of what is recorded then). */
void strict_enter(struct strict *strict, struct call *call);
void strict_leave(struct strict *strict, struct call *call);

/* For traces of others (import): secrets that are there in clear, which our recorder never writes, become tags; the rest is
 * as it was. True when payload in clear stays. */
bool strict_secrets(struct strict *strict, struct call *call);

#endif
