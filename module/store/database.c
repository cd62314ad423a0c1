/* Connections to SQLite: how they are opened, how long they wait, what their errors mean. */
#include "database.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PATIENCE_MS 60000   /* for other processes that write: far more than any of them needs */
#define WRITE_BACK_MS 1000  /* for readers, when the log has become long */
#define LOG_PAGES 1000      /* after this many pages the log is written back ... */
#define LOG_PAGES_MOST 4000 /* ... and after this many, readers are waited for so that it can begin anew */
#define RESTORE "restore the token from a backup"

static const char *const sql[TOK_SQL_COUNT] = {
#define X(name, text) [TOK_SQL_##name] = text,
    TOK_STATEMENTS(X)
#undef X
};

/* Our copy of SQLite is private, so these settings are nobody else's. A connection is never used by two threads at once:
 * its lock is ours. */
CK_RV tok_database_start(void)
{
  static bool started;
  if (started) return CKR_OK;
  if (sqlite3_config(SQLITE_CONFIG_MULTITHREAD) != SQLITE_OK ||
      sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK || sqlite3_initialize() != SQLITE_OK ||
      tok_pagesum_register() != SQLITE_OK)
    return CKR_GENERAL_ERROR;
  started = true;
  return CKR_OK;
}

bool tok_sql_damage(int rc)
{
  switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return true;
    case SQLITE_IOERR: return rc == SQLITE_IOERR_DATA || rc == SQLITE_IOERR_SHORT_READ || rc == SQLITE_IOERR_CORRUPTFS;
    default: return false;
  }
}

CK_RV tok_sql_error(sqlite3 *db, int rc)
{
  int system = db != NULL ? sqlite3_system_errno(db) : 0;
  switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return CKR_OK;
    case SQLITE_NOMEM: return CKR_HOST_MEMORY;
    case SQLITE_FULL: return CKR_DEVICE_MEMORY;
    case SQLITE_READONLY: return rc == SQLITE_READONLY_DBMOVED ? CKR_DEVICE_REMOVED : CKR_TOKEN_WRITE_PROTECTED;
    case SQLITE_PERM: return CKR_TOKEN_WRITE_PROTECTED;
    case SQLITE_IOERR:
      if (rc == SQLITE_IOERR_NOMEM) return CKR_HOST_MEMORY;
      if (rc == SQLITE_IOERR_SHMSIZE) return CKR_DEVICE_MEMORY;
      /* fall through */
    case SQLITE_CANTOPEN:
      return system == ENOSPC || system == EDQUOT || system == EFBIG ? CKR_DEVICE_MEMORY : CKR_DEVICE_ERROR;
    default: return CKR_DEVICE_ERROR;
  }
}

/* SQLite's own handler waits 100 ms at a time in the end, which starves a process beside one that writes all the time.
 * Waits are short and uneven here. */
static int busy(void *context, int times)
{
  struct tok_connection *c = context;
  struct timespec now;
  long waited;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (times == 0) c->waiting_since = now;
  waited = (now.tv_sec - c->waiting_since.tv_sec) * 1000 + (now.tv_nsec - c->waiting_since.tv_nsec) / 1000000;
  if (waited >= c->patience_ms) return 0;
  long most = times < 10 ? 200000 : 1500000; /* ns */
  nanosleep(&(struct timespec){0, 50000 + now.tv_nsec / 64 % most}, NULL);
  return 1;
}

static int count_frames(void *context, sqlite3 *db, const char *name, int pages)
{
  struct tok_connection *c = context;
  (void)db;
  (void)name;
  c->frames = pages;
  return SQLITE_OK;
}

/* The first 100 bytes, before SQLite looks at the file: a file of another kind is left alone, log and all. Returns
 * false and says why. */
static bool ours(struct tok_connection *c, char *why, size_t why_size)
{
  const char *path = c->store->path;
  uint8_t head[100];
  uint32_t application, format;
  size_t got = tok_raw_read(c->db, head, sizeof head, 0);
  if (got < sizeof head) {
    snprintf(why, why_size, "%s: the file is %s: " RESTORE, path, got == 0 ? "empty" : "cut off");
    return false;
  }
  application = (uint32_t)head[68] << 24 | head[69] << 16 | head[70] << 8 | head[71];
  format = (uint32_t)head[60] << 24 | head[61] << 16 | head[62] << 8 | head[63];
  if (memcmp(head, "SQLite format 3", 16) != 0 || application != TOK_APPLICATION_ID) {
    snprintf(why, why_size, "%s: this is no token file", path);
    return false;
  }
  if (format != TOK_FORMAT) {
    snprintf(why, why_size,
             "%s: the token was written by another version (format %u, this one knows %u): use that version", path,
             (unsigned)format, TOK_FORMAT);
    return false;
  }
  return true;
}

/* The settings of a connection; the first of them makes SQLite read the file. */
static int set_up(sqlite3 *db)
{
  static const struct {
    int option, value;
  } options[] = {
      {SQLITE_DBCONFIG_DEFENSIVE,      1},
      {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
      {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
      {SQLITE_DBCONFIG_ENABLE_VIEW,    0},
      {SQLITE_DBCONFIG_DQS_DML,        0},
      {SQLITE_DBCONFIG_DQS_DDL,        0},
      {SQLITE_DBCONFIG_ENABLE_FKEY,    0},
  };
  for (size_t i = 0; i < sizeof options / sizeof *options; i++)
    sqlite3_db_config(db, options[i].option, options[i].value, (int *)NULL);
  return sqlite3_exec(db,
                      "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;"
                      "PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA journal_size_limit = 4194304;"
                      "SELECT epoch FROM token LIMIT 0",
                      NULL, NULL, NULL);
}

static int open_with(struct tok_connection *c, int flags, const char *vfs)
{
  int rc = sqlite3_open_v2(c->store->path, &c->db,
                           flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE, vfs);
  if (rc == SQLITE_OK) {
    sqlite3_busy_handler(c->db, busy, c);
    sqlite3_wal_hook(c->db, count_frames, c);
  }
  return rc;
}

/* What stat says of the file, if it has no log, so that nobody is writing it. */
static bool quiet(const char *path, struct stat *st)
{
  char *wal = NULL;
  struct stat log;
  bool result =
      stat(path, st) == 0 && asprintf(&wal, "%s-wal", path) >= 0 && (stat(wal, &log) != 0 || log.st_size == 0);
  free(wal);
  return result;
}

/* A file that could be opened but not read: SQLite could not make the log or the index of it beside the file. After
 * trying to create them it tries to open them, so the error of the system says that they are missing, not why. */
static CK_RV no_log(struct tok_connection *c, int rc)
{
  char *folder = strdup(c->store->path);
  CK_RV rv = tok_sql_error(c->db, rc);
  bool writable = folder != NULL && access(c->store->path, W_OK) == 0 && access(dirname(folder), W_OK) == 0;
  free(folder);
  if (!writable) return CKR_TOKEN_WRITE_PROTECTED;
  return (rc & 0xff) == SQLITE_CANTOPEN && sqlite3_system_errno(c->db) == ENOENT ? CKR_DEVICE_MEMORY : rv;
}

static CK_RV connect(struct tok_connection *c, char *why, size_t why_size)
{
  const char *path = c->store->path;
  struct stat st;
  CK_RV rv = CKR_OK;
  int rc, system = 0;
  c->fixed = c->unreadable = false;
  c->frames = 0;
  c->patience_ms = PATIENCE_MS;
  /* A FIFO would block, a folder confuse. */
  rc = stat(path, &st);
  if (rc != 0 || !S_ISREG(st.st_mode)) {
    snprintf(why, why_size, "%s: %s", path, rc != 0 ? strerror(errno) : "this is no token file");
    return CKR_DEVICE_ERROR;
  }
  rc = open_with(c, SQLITE_OPEN_READWRITE, TOK_VFS);
  if (rc == SQLITE_OK && !ours(c, why, why_size)) {
    /* Is it one of ours whose first page is damaged? Then SQLite may find that page in the log, or salvage the rows. */
    struct tok_token_record token;
    if (tok_salvage(c, NULL, NULL, &token) != CKR_OK) {
      rv = CKR_DEVICE_ERROR;
      goto out;
    }
  }
  if (rc == SQLITE_OK) rc = set_up(c->db);
  if (rc != SQLITE_OK && c->db != NULL && !tok_sql_damage(rc)) {
    rv = no_log(c, rc);
    system = sqlite3_system_errno(c->db);
    /* Nobody is writing it, so it can be read as it is. */
    if (c == &c->store->reader && quiet(path, &c->seen)) {
      int again;
      sqlite3_close(c->db);
      c->db = NULL;
      again = open_with(c, SQLITE_OPEN_READONLY, TOK_VFS_FIXED);
      if (again == SQLITE_OK) again = set_up(c->db);
      c->fixed = again == SQLITE_OK;
      if (c->fixed) return CKR_OK;
    }
  }
  if (tok_sql_damage(rc)) {
    c->unreadable = true;
    snprintf(why, why_size, "%s: the file is damaged; what can be read of it is read, nothing can be written: " RESTORE,
             path);
    return CKR_OK;
  }
  if (rc == SQLITE_OK) return CKR_OK;
  snprintf(why, why_size, "%s: the token file cannot be %s: %s", path, rv == CKR_DEVICE_MEMORY ? "used" : "read",
           rv == CKR_DEVICE_MEMORY ? "the disk is full"
           : system != 0           ? strerror(system)
                                   : sqlite3_errstr(rc));

out:
  sqlite3_close(c->db);
  c->db = NULL;
  return rv;
}

CK_RV tok_connection_lock(struct tok_connection *connection, char *why, size_t why_size)
{
  CK_RV rv = CKR_OK;
  pthread_mutex_lock(&connection->lock);
  if (connection->db != NULL && connection->fixed) {
    struct stat now;
    if (!quiet(connection->store->path, &now) || now.st_ino != connection->seen.st_ino ||
        now.st_size != connection->seen.st_size || now.st_mtim.tv_sec != connection->seen.st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != connection->seen.st_mtim.tv_nsec)
      tok_connection_close(connection, false);
  }
  if (connection->db == NULL) {
    pthread_mutex_lock(&connection->store->opening);
    rv = connect(connection, why, why_size);
    connection->opened = ++connection->store->opened;
    pthread_mutex_unlock(&connection->store->opening);
    if (connection == &connection->store->reader) connection->store->data_version = -1;
  }
  if (rv == CKR_OK) rv = tok_shm_check(connection, connection == &connection->store->writer);
  if (rv != CKR_OK) pthread_mutex_unlock(&connection->lock);
  return rv;
}

void tok_connection_unlock(struct tok_connection *connection)
{
  pthread_mutex_unlock(&connection->lock);
}

void tok_connection_close(struct tok_connection *connection, bool last)
{
  if (connection->db == NULL) return;
  for (int i = 0; i < TOK_SQL_COUNT; i++) {
    sqlite3_finalize(connection->statements[i]);
    connection->statements[i] = NULL;
  }
  sqlite3_db_config(connection->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, last ? 0 : 1, (int *)NULL);
  sqlite3_close(connection->db);
  connection->db = NULL;
}

sqlite3_stmt *tok_statement(struct tok_connection *connection, enum tok_statement which, CK_RV *rv)
{
  sqlite3_stmt **statement = &connection->statements[which];
  *rv = CKR_OK;
  if (*statement == NULL) {
    int rc = sqlite3_prepare_v3(connection->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, statement, NULL);
    *rv = tok_sql_error(connection->db, rc);
  }
  return *statement;
}

CK_RV tok_run(struct tok_connection *connection, sqlite3_stmt *statement)
{
  CK_RV rv = tok_sql_error(connection->db, sqlite3_step(statement));
  sqlite3_reset(statement);
  return rv;
}

static CK_RV run_simple(struct tok_connection *c, enum tok_statement which)
{
  CK_RV rv;
  sqlite3_stmt *statement = tok_statement(c, which, &rv);
  return statement != NULL ? tok_run(c, statement) : rv;
}

CK_RV tok_write_begin(struct tok_store *store, struct tok_token_record *token)
{
  struct tok_connection *c = &store->writer;
  int moved = 0;
  CK_RV rv = tok_connection_lock(c, NULL, 0);
  if (rv != CKR_OK) return rv;
  if (c->unreadable) {
    rv = CKR_DEVICE_ERROR;
  } else if (sqlite3_db_readonly(c->db, "main") != 0) {
    rv = CKR_TOKEN_WRITE_PROTECTED;
  } else if (sqlite3_file_control(c->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved) {
    /* The file was deleted or another one put in its place: what is written here would be lost. */
    rv = CKR_DEVICE_REMOVED;
  } else {
    rv = run_simple(c, TOK_SQL_BEGIN);
  }
  if (rv != CKR_OK) {
    tok_connection_unlock(c);
    return rv;
  }
  rv = tok_token_read(c, token);
  return rv == CKR_OK ? CKR_OK : tok_write_end(store, rv);
}

static bool checkpoint(struct tok_connection *c, int mode, int patience_ms)
{
  bool done;
  c->patience_ms = patience_ms;
  /* A disk that is full makes this fail and loses nothing: the log stays. */
  done = sqlite3_wal_checkpoint_v2(c->db, "main", mode, NULL, NULL) == SQLITE_OK;
  if (done && mode == SQLITE_CHECKPOINT_TRUNCATE) c->frames = 0;
  c->patience_ms = PATIENCE_MS;
  return done;
}

/* True if the disk has less room than the log would need in the file: before the log takes that too. */
static bool tight(const struct tok_connection *c)
{
  struct statvfs v;
  return statvfs(c->store->path, &v) == 0 && v.f_bavail < (unsigned)c->frames * (uint64_t)TOK_PAGE / v.f_frsize + 1;
}

CK_RV tok_write_end(struct tok_store *store, CK_RV rv)
{
  struct tok_connection *c = &store->writer;
  if (rv == CKR_OK) rv = run_simple(c, TOK_SQL_COMMIT);
  /* After some errors SQLite has rolled back already. */
  if (rv != CKR_OK && !sqlite3_get_autocommit(c->db)) run_simple(c, TOK_SQL_ROLLBACK);
  if (rv == CKR_OK && (c->frames >= LOG_PAGES_MOST || tight(c)))
    checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE, WRITE_BACK_MS);
  else if (rv == CKR_OK && c->frames >= LOG_PAGES)
    checkpoint(c, SQLITE_CHECKPOINT_PASSIVE, 0);
  tok_connection_unlock(c);
  return rv;
}

bool tok_write_back(struct tok_store *store)
{
  struct tok_connection *c = &store->writer;
  bool done;
  if (tok_connection_lock(c, NULL, 0) != CKR_OK) return false;
  done = !c->unreadable && checkpoint(c, SQLITE_CHECKPOINT_TRUNCATE, WRITE_BACK_MS);
  tok_connection_unlock(c);
  return done;
}
