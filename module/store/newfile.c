/* New token files: built in memory, then put in place whole.
 *
 * Neither a crash nor a full disk leaves half a file: it has no name until it is complete and on the disk. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "database.h"

/* The token's row lies in two tables, so on two pages that are not neighbours: one may be damaged. `tags` of an object repeats what `tag` says of
 * it, to find it when `tag` is damaged and to know what to delete there. Kind 0 with an empty tag stands for "every
 * object"; the other kinds are one more than the caller's. */
static const char schema[] =
    "CREATE TABLE token (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, record BLOB NOT NULL, checksum INTEGER NOT "
    "NULL);"
    "CREATE TABLE object (id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL, uuid BLOB NOT NULL,"
    " class INTEGER NOT NULL, private INTEGER NOT NULL, tags BLOB NOT NULL, open BLOB, sealed BLOB,"
    " checksum INTEGER NOT NULL);"
    "CREATE TABLE tag (kind INTEGER NOT NULL, tag BLOB NOT NULL, class INTEGER NOT NULL, id INTEGER NOT NULL,"
    " private INTEGER NOT NULL, PRIMARY KEY (kind, tag, class, id)) WITHOUT ROWID;"
    "CREATE TABLE token_spare (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, record BLOB NOT NULL,"
    " checksum INTEGER NOT NULL);";

struct image {
  uint8_t *bytes; /* sqlite3_free */
  sqlite3_int64 size;
  const struct tok_token_record *token; /* to make one */
  sqlite3 *from;                        /* or to copy one */
};

static CK_RV errno_rv(int error)
{
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return CKR_DEVICE_MEMORY;
    case EACCES:
    case EPERM:
    case EROFS: return CKR_TOKEN_WRITE_PROTECTED;
    case ENOMEM: return CKR_HOST_MEMORY;
    default: return CKR_DEVICE_ERROR;
  }
}

static int insert_token(sqlite3 *db, const struct tok_token_record *token)
{
  uint8_t record[TOK_RECORD];
  int rc = SQLITE_OK;
  tok_token_pack(token, record);
  for (int i = 0; i < 2 && rc == SQLITE_OK; i++) {
    sqlite3_stmt *statement = NULL;
    rc = sqlite3_prepare_v2(db,
                            i == 0 ? "INSERT INTO token (id, epoch, record, checksum) VALUES (1, ?1, ?2, ?3)"
                                   : "INSERT INTO token_spare (id, epoch, record, checksum) VALUES (1, ?1, ?2, ?3)",
                            -1, &statement, NULL);
    if (rc != SQLITE_OK) break;
    tok_token_bind(statement, token, record);
    sqlite3_step(statement);
    rc = sqlite3_finalize(statement);
  }
  return rc;
}

/* A database in memory: a new token, or a copy of one. */
static CK_RV make_image(void *context)
{
  struct image *image = context;
  sqlite3 *db = NULL;
  sqlite3_backup *backup;
  char settings[128];
  int reserve = 8, rc;
  CK_RV rv = CKR_OK;
  rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
  if (rc != SQLITE_OK) goto out;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
  if (image->from != NULL) {
    backup = sqlite3_backup_init(db, "main", image->from, "main");
    if (backup == NULL) {
      rc = sqlite3_errcode(db);
      goto out;
    }
    sqlite3_backup_step(backup, -1);
    rc = sqlite3_backup_finish(backup);
  } else {
    snprintf(settings, sizeof settings, "PRAGMA page_size = %d; PRAGMA application_id = %d; PRAGMA user_version = %d;",
             TOK_PAGE, TOK_APPLICATION_ID, TOK_FORMAT);
    rc = sqlite3_exec(db, settings, NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK) rc = insert_token(db, image->token);
  }
  if (rc != SQLITE_OK) goto out;
  image->bytes = sqlite3_serialize(db, "main", &image->size, 0);
  if (image->bytes == NULL) {
    rv = CKR_HOST_MEMORY;
    goto out;
  }
  if (image->size < TOK_PAGE || image->size % TOK_PAGE != 0) {
    rv = CKR_DEVICE_ERROR;
    goto out;
  }
  image->bytes[18] = image->bytes[19] = 2; /* write-ahead log, from the beginning */
  for (sqlite3_int64 i = 0; i < image->size; i += TOK_PAGE) {
    memset(image->bytes + i + TOK_PAGE - 8, 0, 8);
    tok_page_seal(image->bytes + i, i);
  }

out:
  if (rv == CKR_OK) rv = tok_sql_error(db, rc);
  sqlite3_close(db);
  return rv;
}

static bool write_all(int fd, const uint8_t *bytes, size_t size)
{
  while (size > 0) {
    ssize_t n = write(fd, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes += n;
    size -= (size_t)n;
  }
  return fsync(fd) == 0;
}

/* Writes a file without a name and names it; where the file system or a missing /proc does not allow that, one with a
 * temporary name. Returns 0 or an errno; EEXIST if `path` exists. */
static int place(const char *folder, const char *path, const uint8_t *bytes, size_t size)
{
  char by_fd[64], *temporary = NULL;
  unsigned char salt[8];
  int error = 0, fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) {
    snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
    if (fchmod(fd, 0600) != 0 || !write_all(fd, bytes, size) ||
        linkat(AT_FDCWD, by_fd, AT_FDCWD, path, AT_SYMLINK_FOLLOW) != 0)
      error = errno;
    close(fd);
    if (error != ENOENT && error != EPERM && error != EXDEV) return error;
  } else if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL) {
    return errno;
  }
  if (getrandom(salt, sizeof salt, 0) != sizeof salt ||
      asprintf(&temporary, "%s.%02x%02x%02x%02x%02x%02x%02x%02x.new", path, salt[0], salt[1], salt[2], salt[3], salt[4],
               salt[5], salt[6], salt[7]) < 0)
    return ENOMEM;
  error = 0;
  fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    error = errno;
    goto out;
  }
  if (fchmod(fd, 0600) != 0 || !write_all(fd, bytes, size)) error = errno;
  close(fd);
  if (error == 0 && renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) != 0) {
    error = errno;
    if (error == EINVAL || error == ENOSYS) error = link(temporary, path) == 0 ? 0 : errno;
  }
  unlink(temporary); /* not there any more after a rename */

out:
  free(temporary);
  return error;
}

static CK_RV place_durably(const char *path, const struct image *image)
{
  char *copy = strdup(path);
  const char *folder;
  int error, fd;
  if (copy == NULL) return CKR_HOST_MEMORY;
  folder = dirname(copy);
  error = place(folder, path, image->bytes, (size_t)image->size);
  if (error == 0) {
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) error = errno;
    if (fd >= 0) close(fd);
    if (error == EINVAL) error = 0; /* a file system that does not sync folders */
    if (error != 0) unlink(path);
  }
  free(copy);
  return error == 0 ? CKR_OK : errno_rv(error);
}

/* A log that lies beside no token would be taken for the new token's. */
static CK_RV nothing_there(const char *path)
{
  static const char *const suffixes[] = {"", "-wal", "-journal", "-shm"};
  CK_RV rv = CKR_OK;
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && rv == CKR_OK; i++) {
    struct stat st;
    char *name = NULL;
    if (asprintf(&name, "%s%s", path, suffixes[i]) < 0) return CKR_HOST_MEMORY;
    if (lstat(name, &st) == 0 && (i == 0 || unlink(name) != 0)) rv = CKR_DEVICE_ERROR;
    free(name);
  }
  return rv;
}

CK_RV tok_store_create(const char *path, const struct tok_token_record *token)
{
  struct image image = {.token = token};
  CK_RV rv = nothing_there(path);
  if (rv == CKR_OK) rv = tok_store_registry_run(make_image, &image);
  if (rv == CKR_OK) rv = place_durably(path, &image);
  sqlite3_free(image.bytes);
  return rv;
}

CK_RV tok_store_backup(struct tok_store *store, const char *to)
{
  struct image image = {0};
  CK_RV rv = nothing_there(to);
  if (rv == CKR_OK) rv = tok_connection_lock(&store->reader, NULL, 0);
  if (rv != CKR_OK) return rv;
  image.from = store->reader.db;
  rv = store->reader.unreadable ? CKR_DEVICE_ERROR : make_image(&image);
  tok_connection_unlock(&store->reader);
  if (rv == CKR_OK) rv = place_durably(to, &image);
  sqlite3_free(image.bytes);
  return rv;
}
