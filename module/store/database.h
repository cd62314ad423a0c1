/* Inside the store: connections to SQLite, statements, checksums. Nothing outside store/ includes this.
 *
 * A store has two connections, each with a lock of its own: searches and reads do not wait for a write that waits for the
 * disk. All calls of SQLite are made with the lock of a connection of a registered store held, or with the lock of the
 * registry: so before_fork, which takes them all, knows that no thread is inside SQLite. Order of locks: registry, writer,
 * reader. */
#ifndef TOK_DATABASE_H
#define TOK_DATABASE_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "pkcs11.h"
#include "store.h"

#define TOK_PAGE 4096
#define TOK_APPLICATION_ID 0x70313174 /* "p11t" */
#define TOK_FORMAT 1                  /* user_version */
#define TOK_RECORD 270                /* bytes of a packed token record */

/* clang-format off */
#define TOK_STATEMENTS(X) \
  X(BEGIN,        "BEGIN IMMEDIATE") \
  X(COMMIT,       "COMMIT") \
  X(ROLLBACK,     "ROLLBACK") \
  X(DATA_VERSION, "PRAGMA data_version") \
  X(TOKEN,        "SELECT epoch, record, checksum FROM token") \
  X(TOKEN_SPARE,  "SELECT epoch, record, checksum FROM token_spare") \
  X(SET_TOKEN,    "UPDATE token SET epoch = ?1, record = ?2, checksum = ?3") \
  X(SET_SPARE,    "UPDATE token_spare SET epoch = ?1, record = ?2, checksum = ?3") \
  X(ERASE_TAGS,   "DELETE FROM tag") \
  X(ERASE,        "DELETE FROM object") \
  X(LAST_ID,      "SELECT seq FROM sqlite_sequence WHERE name = 'object'") \
  X(READ,         "SELECT version, uuid, class, private, tags, open, sealed, checksum FROM object WHERE id = ?1") \
  X(VERSION,      "SELECT version FROM object WHERE id = ?1") \
  X(INSERT,       "INSERT INTO object (version, uuid, class, private, tags, open, sealed, checksum, id) " \
                  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)") \
  X(UPDATE,       "UPDATE object SET version = ?1, uuid = ?2, class = ?3, private = ?4, tags = ?5, open = ?6, sealed = ?7, " \
                  "checksum = ?8 WHERE id = ?9") \
  X(DELETE,       "DELETE FROM object WHERE id = ?1") \
  X(ADD_TAG,      "INSERT OR IGNORE INTO tag (kind, tag, class, id, private) VALUES (?1, ?2, ?3, ?4, ?5)") \
  X(DROP_TAG,     "DELETE FROM tag WHERE kind = ?1 AND tag = ?2 AND class = ?3 AND id = ?4") \
  X(DROP_TAGS,    "DELETE FROM tag WHERE id = ?1") \
  X(FIND,         "SELECT id, private FROM tag WHERE kind = ?1 AND tag = ?2") \
  X(FIND_CLASS,   "SELECT id, private FROM tag WHERE kind = ?1 AND tag = ?2 AND class = ?3")
/* clang-format on */

enum tok_statement {
#define X(name, sql) TOK_SQL_##name,
  TOK_STATEMENTS(X)
#undef X
      TOK_SQL_COUNT
};

struct tok_connection {
  pthread_mutex_t lock;
  struct tok_store *store;
  sqlite3 *db; /* NULL: not open (yet, or since a fork) */
  sqlite3_stmt *statements[TOK_SQL_COUNT];
  unsigned long opened; /* one more than that of the connection that was opened before it */
  bool fixed;           /* opened as a file that nobody changes, because SQLite cannot make its log and index of it */
  struct stat seen;     /* of a fixed file, when it was opened */
  bool unreadable;      /* page 1 is damaged: SQL does not work, only salvage does */
  int frames;           /* pages in the write-ahead log after the last commit of this connection */
  int patience_ms;      /* how long to wait for other processes */
  struct timespec waiting_since;
};

struct tok_store {
  char *path;
  struct tok_connection reader, writer;
  pthread_mutex_t opening; /* they are opened one after the other, with their own lock held: `opened` tells the order */
  unsigned long opened;
  /* For tok_store_change_number, guarded by the reader's lock: */
  uint64_t change;
  int64_t data_version; /* what the reader's `change` stands for; -1: the reader was opened anew */
  struct tok_store *next;
};

/* --- openstores.c --- */

/* Runs something that uses SQLite without a store, so that no fork comes in between. */
CK_RV tok_store_registry_run(CK_RV (*run)(void *context), void *context);

/* --- database.c --- */

/* Once per process, with the registry's lock held. */
CK_RV tok_database_start(void);
/* Locks a connection and opens it if it is not open. After CKR_OK the caller unlocks. */
CK_RV tok_connection_lock(struct tok_connection *connection, char *why, size_t why_size);
void tok_connection_unlock(struct tok_connection *connection);
/* Closes it (the lock is held). `last` is false before a fork: then the log is left to be written back later. */
void tok_connection_close(struct tok_connection *connection, bool last);
/* A prepared statement, or NULL and the reason. */
sqlite3_stmt *tok_statement(struct tok_connection *connection, enum tok_statement which, CK_RV *rv);
/* Runs a statement that returns no row, and resets it. */
CK_RV tok_run(struct tok_connection *connection, sqlite3_stmt *statement);
/* The code for what SQLite said; SQLITE_OK, _ROW and _DONE are CKR_OK. */
CK_RV tok_sql_error(sqlite3 *db, int rc);
/* True if a result of SQLite means that bytes of the file are not what they were. */
bool tok_sql_damage(int rc);

/* A write transaction: locks the writer. Whatever tok_write_begin returned CKR_OK for ends with tok_write_end, which
 * commits if rv is CKR_OK, else rolls back, and returns the result of both. */
CK_RV tok_write_begin(struct tok_store *store, struct tok_token_record *token);
CK_RV tok_write_end(struct tok_store *store, CK_RV rv);
/* Writes the log back into the file and empties it, which makes room on the disk and lets nothing old lie about; false if
 * that is not possible at once. */
bool tok_write_back(struct tok_store *store);

/* --- pagesum.c --- */

#define TOK_VFS "p11token"
#define TOK_VFS_FIXED "p11token-fixed" /* the same for files that nobody changes */
/* A checksum: `sum` is that of what came before, or a start value of the caller's. A change within 8 bytes never goes
 * unnoticed, any other with probability 2^-64. The length is part of it. */
uint64_t tok_sum(uint64_t sum, const void *data, size_t size);
/* Writes the checksum of the page at `offset` of the file into its last 8 bytes. */
void tok_page_seal(uint8_t page[TOK_PAGE], int64_t offset);
/* Registers both; SQLITE_OK or an error of SQLite. */
int tok_pagesum_register(void);
/* Reads from the main file behind SQLite's back, without looking at page checksums. Returns the number of bytes. */
size_t tok_raw_read(sqlite3 *db, void *to, size_t size, int64_t offset);

/* SQLite's own functions for files. */
const sqlite3_io_methods *tok_unix_methods(void);

/* --- filelocks.c --- */

/* From now on all of SQLite's locks are those of open file descriptions. SQLITE_OK, or an error of SQLite. */
int tok_filelocks_use(sqlite3_vfs *unix_vfs);

/* --- sharedmap.c --- */

/* xShmMap of our files. */
int tok_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory);
/* Before a transaction: can the index of the log be written to? CKR_DEVICE_MEMORY if the disk is full. */
CK_RV tok_shm_check(struct tok_connection *connection, bool writing);

/* --- newfile.c, tokenrow.c, objectrow.c --- */

/* Packs a record but for its epoch, and back; false if it is none. */
void tok_token_pack(const struct tok_token_record *token, uint8_t record[TOK_RECORD]);
bool tok_token_unpack(const uint8_t *record, size_t size, uint64_t epoch, uint64_t checksum,
                      struct tok_token_record *token);
uint64_t tok_token_sum(uint64_t epoch, const uint8_t record[TOK_RECORD]);
/* Reads the token's row, its spare copy if need be. The connection is locked. */
CK_RV tok_token_read(struct tok_connection *connection, struct tok_token_record *token);
/* Binds epoch, record and checksum. */
void tok_token_bind(sqlite3_stmt *statement, const struct tok_token_record *token, const uint8_t record[TOK_RECORD]);

/* A row as it lies in a record of the file, nothing copied. */
struct tok_raw_row {
  int64_t id;
  uint64_t version, checksum;
  CK_OBJECT_CLASS class;
  bool private;
  const uint8_t *uuid, *tags, *open, *sealed; /* open, sealed NULL: none */
  size_t tags_len, open_len, sealed_len;
};
#define TOK_TAG_BYTES 17 /* of one tag in `tags`: kind, tag */
uint64_t tok_row_sum(const struct tok_raw_row *row);
/* A copy of it for a caller. */
CK_RV tok_row_fill(const struct tok_raw_row *raw, struct tok_row *row);

/* --- salvage.c --- */

/* What can be read of a damaged file: visits every object row whose checksum is right, in the order of the file, until
 * `row` returns false. The token's row goes to `token` (may be NULL), which returns CKR_OK if it was found. Nothing of
 * SQLite's structure is needed but the page that the row lies on. */
CK_RV tok_salvage(struct tok_connection *connection, bool (*row)(const struct tok_raw_row *row, void *context),
                  void *context, struct tok_token_record *token);

#endif
