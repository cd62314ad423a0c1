/* One token in one SQLite file (WAL, synchronous=FULL: what has returned CKR_OK is on disk).
 *
 * The store knows rows and tags, not attributes: object/ makes both. It is safe for several threads and for several
 * processes; what one of them commits, all see at their next call. Errors: CKR_DEVICE_MEMORY when the disk is full,
 * CKR_DEVICE_ERROR when the file is damaged or cannot be read or written, CKR_TOKEN_WRITE_PROTECTED when it may not be
 * written, CKR_HOST_MEMORY.
 *
 * Damage: pages, rows and the token's row have checksums. A damaged index is passed over, a damaged object is
 * CKR_DEVICE_ERROR, the others are read even if SQLite cannot make sense of the file any more (then nothing is written).
 *
 * Nobody but SQLite may open() a token file while a store of this process has it open: closing any descriptor of a file
 * drops all of the process's POSIX locks on it. A file that is put in another's place needs the other one's -wal and -shm
 * removed first.
 *
 * fork: SQLite's connections and its table of POSIX locks must not be carried into a child, so all connections of the
 * process are closed before a fork (tok_store_before_fork, which waits for statements that are running) and opened again
 * by whoever needs one next, in the parent or in a child after its own C_Initialize. */
#ifndef TOK_STORE_H
#define TOK_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pkcs11.h"

struct tok_store;

/* Encrypted key: nonce, ciphertext and tag of the 32 byte master key under a key from a PIN (auth/). */
#define TOK_WRAPPED 60
#define TOK_SALT 16

/* One user's PIN. */
struct tok_pin_record {
  bool set;
  bool usable_master; /* `wrapped` holds the master key; else only the check of the PIN */
  uint8_t salt[TOK_SALT];
  uint8_t cost; /* scrypt: N = 2^cost, r = 8, p = 1 */
  uint8_t wrapped[TOK_WRAPPED];
  uint32_t failed; /* wrong PINs since the last right one */
};

/* The token itself: one row. */
struct tok_token_record {
  char label[32];                   /* UTF-8, blank padded */
  char serial[16];                  /* hexadecimal digits, fixed for the life of the file */
  uint64_t slot;                    /* the number of its slot, chosen when the token was made */
  uint64_t epoch;                   /* goes up with every C_InitToken: keys and handles of an older epoch are void */
  uint32_t pin_limit, so_pin_limit; /* wrong PINs before a lock-out; 0: never */
  uint32_t min_pin, max_pin;        /* bytes */
  struct tok_pin_record user, so;
  char profile[32]; /* name of a profile of the configuration, NUL terminated; "" for none */
};

/* A search key of a row: `kind` says of what (object/), `tag` is a hash of it. */
struct tok_tag {
  uint8_t kind;
  uint8_t tag[16];
};
#define TOK_MAX_TAGS 16

struct tok_row {
  int64_t id;       /* never used again for another object; set by insert */
  uint64_t version; /* goes up with every change of this row; set by insert and update */
  uint8_t uuid[16]; /* random; bound into what is sealed */
  CK_OBJECT_CLASS class;
  bool private;
  uint8_t *open; /* what is kept in the clear, or NULL; malloc'd */
  size_t open_len;
  uint8_t *sealed; /* what is encrypted, or NULL; malloc'd */
  size_t sealed_len;
  struct tok_tag tags[TOK_MAX_TAGS];
  size_t tag_count; /* not filled in by read */
};

/* Makes a new token file, complete and durable, or nothing at all (a temporary name and a link or rename; an existing file
 * is never replaced: CKR_DEVICE_ERROR). Mode 0600. */
CK_RV tok_store_create(const char *path, const struct tok_token_record *token);
/* Opens a token file; CKR_DEVICE_ERROR, with the reason in `why` (a sentence for a log, may be NULL), if it is damaged, is
 * no token file or was written by another version. A file that opens though it is damaged leaves its sentence there too. */
CK_RV tok_store_open(const char *path, struct tok_store **store, char *why, size_t why_size);
void tok_store_close(struct tok_store *store); /* NULL is allowed */

/* The token's row. */
CK_RV tok_store_token(struct tok_store *store, struct tok_token_record *token);
/* Changes it: reads, calls `change` (which may refuse with its own code, or ask for a fresh token by setting *erase: then
 * every object goes too), writes, all in one write transaction; durable on return. */
CK_RV tok_store_change_token(struct tok_store *store,
                             CK_RV (*change)(struct tok_token_record *token, bool *erase, void *context),
                             void *context);

/* Rows. `epoch` is the one that the caller logged in with or read last; another one on disk is CKR_DEVICE_REMOVED (the
 * token was initialised anew by someone else). insert stores all rows or none. update replaces the contents and tags of
 * row->id if its version is still `row->version`, else CKR_FUNCTION_FAILED and the caller tries again; a row that is gone is
 * CKR_OBJECT_HANDLE_INVALID, also for delete and read. */
CK_RV tok_store_insert(struct tok_store *store, uint64_t epoch, struct tok_row *const *rows, size_t count);
CK_RV tok_store_update(struct tok_store *store, uint64_t epoch, struct tok_row *row);
CK_RV tok_store_delete(struct tok_store *store, uint64_t epoch, int64_t id);
/* Fills in a row; free it with tok_row_clear. A row whose checksum is wrong is CKR_DEVICE_ERROR. */
CK_RV tok_store_read(struct tok_store *store, int64_t id, struct tok_row *row);
void tok_row_clear(struct tok_row *row);
/* The version of a row (0: gone) without reading it. */
CK_RV tok_store_version(struct tok_store *store, int64_t id, uint64_t *version);

/* What to look for: any of `alternatives` tags of one kind (or none: every row), of one class (or
 * CK_UNAVAILABLE_INFORMATION: any), with or without private rows. */
struct tok_query {
  CK_OBJECT_CLASS class;
  bool with_private;
  struct tok_tag any[2];
  size_t alternatives;
};
struct tok_hit {
  int64_t id;
  bool private;
};
/* The rows that match, by id; *hits is the caller's, to be freed. A damaged index is passed over by reading the rows. */
CK_RV tok_store_find(struct tok_store *store, const struct tok_query *query, struct tok_hit **hits, size_t *count);

/* A number that differs from an earlier one if anything was committed in between, by any process: what was read before may
 * be out of date. Costs a few microseconds. */
CK_RV tok_store_change_number(struct tok_store *store, uint64_t *number);

/* A consistent copy of a token file that is in use, durable, mode 0600; `to` must not exist. For `p11token backup`. */
CK_RV tok_store_backup(struct tok_store *store, const char *to);

/* For core/module.c: close every connection before a fork. */
void tok_store_before_fork(void);
void tok_store_after_fork_parent(void);
void tok_store_after_fork_child(void); /* async-signal-safe */

#endif
