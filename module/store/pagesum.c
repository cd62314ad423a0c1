/* Every page of a token file carries a checksum in its last 8 bytes, so that a damaged page of an index is noticed and not
 * merely a search that finds less.
 *
 * SQLite leaves the bytes alone (the database was made with 8 reserved bytes per page). They are filled in when a page is
 * written to the main file and looked at when it is read from there; to SQLite they are zero, and so they are in the
 * write-ahead log, whose frames have checksums of their own. A page with zero there was written back by another program's
 * SQLite (the sqlite3 command, on a token whose application was killed) and is accepted, unless it looks as if zeros had
 * been written over its end. */
#include <pthread.h>
#include <string.h>

#include "database.h"

#define SUM_SIZE 8
#define SUM_FACTOR 0x9e3779b97f4a7c15u /* 2^64 divided by the golden ratio: odd, so multiplying loses nothing */

static sqlite3_vfs *unix_vfs;
static sqlite3_vfs ours[2]; /* [1]: for fixed files */
static sqlite3_io_methods methods[2];
static const sqlite3_io_methods *unix_methods;
static pthread_mutex_t methods_lock = PTHREAD_MUTEX_INITIALIZER;

uint64_t tok_sum(uint64_t sum, const void *data, size_t size)
{
  const uint8_t *p = data;
  uint64_t word;
  size_t left = size;
  sum ^= size * SUM_FACTOR;
  for (; left >= 8; left -= 8, p += 8) {
    memcpy(&word, p, 8);
    sum = (sum ^ word) * SUM_FACTOR;
    sum ^= sum >> 32;
  }
  word = 0;
  if (left > 0) memcpy(&word, p, left);
  sum = (sum ^ word) * SUM_FACTOR;
  return sum ^ sum >> 29;
}

/* The page's place is part of it: a page that was written to another one's place is damage too. */
static uint64_t page_sum(const uint8_t *page, sqlite3_int64 offset)
{
  uint64_t sum = tok_sum((uint64_t)offset, page, TOK_PAGE - SUM_SIZE);
  return sum != 0 ? sum : 1;
}

void tok_page_seal(uint8_t page[TOK_PAGE], int64_t offset)
{
  uint64_t sum = page_sum(page, offset);
  memcpy(page + TOK_PAGE - SUM_SIZE, &sum, SUM_SIZE);
}

static bool whole_page(int size, sqlite3_int64 offset)
{
  return size == TOK_PAGE && offset % TOK_PAGE == 0;
}

static unsigned number_at(const uint8_t *page, unsigned at)
{
  return (unsigned)page[at] << 8 | page[at + 1];
}

/* Does the page of a table or an index say itself that its last `size` bytes hold nothing? Records that were deleted leave a
 * free block (two bytes where the next one is, two its size), which secure_delete has filled with zeros; a page without a
 * record has none at all (SQLite's file format, "B-tree Pages"). */
static bool end_is_free(const uint8_t *page, unsigned size)
{
  const unsigned head = memcmp(page, "SQLite format 3", 16) == 0 ? 100 : 0, end = TOK_PAGE - SUM_SIZE;
  if (number_at(page, head + 3) == 0) return number_at(page, head + 5) == end;
  unsigned block = number_at(page, head + 1), after = head;
  while (block > after && block + 4 <= end) { /* they lie in the order of their places */
    if (block + number_at(page, block + 2) == end) return block + 4 + size <= end;
    after = block;
    block = number_at(page, block);
  }
  return false;
}

/* Is this what another SQLite writes? Pages of tables and indexes are filled from their end, and the last thing there is the
 * end of a record, which is a checksum or a number, or it is free; other pages (first byte 0) hold parts of long values, and
 * those have a checksum in their row. */
static bool foreign(const uint8_t *page)
{
  static const uint8_t zeros[8];
  return page[0] == 0 || memcmp(page + TOK_PAGE - SUM_SIZE - sizeof zeros, zeros, sizeof zeros) != 0 ||
         end_is_free(page, sizeof zeros);
}

static bool all_zero(const uint8_t *page)
{
  return page[0] == 0 && memcmp(page, page + 1, TOK_PAGE - 1) == 0;
}

static int read_page(sqlite3_file *file, void *buffer, int size, sqlite3_int64 offset)
{
  int rc = unix_methods->xRead(file, buffer, size, offset);
  uint8_t *tail = (uint8_t *)buffer + TOK_PAGE - SUM_SIZE;
  uint64_t sum;
  if (!whole_page(size, offset)) return rc;
  /* The rest is zero then, and SQLite would take the page for whole. */
  if (rc == SQLITE_IOERR_SHORT_READ && !all_zero(buffer)) return SQLITE_IOERR_DATA;
  if (rc != SQLITE_OK) return rc;
  memcpy(&sum, tail, SUM_SIZE);
  if (sum == 0 ? !foreign(buffer) : sum != page_sum(buffer, offset)) return SQLITE_IOERR_DATA;
  memset(tail, 0, SUM_SIZE);
  return SQLITE_OK;
}

static int write_page(sqlite3_file *file, const void *buffer, int size, sqlite3_int64 offset)
{
  uint8_t page[TOK_PAGE];
  if (!whole_page(size, offset)) return unix_methods->xWrite(file, buffer, size, offset);
  memcpy(page, buffer, TOK_PAGE);
  tok_page_seal(page, offset);
  return unix_methods->xWrite(file, page, TOK_PAGE, offset);
}

/* SQLite then takes no locks and looks for no log. */
static int fixed_characteristics(sqlite3_file *file)
{
  return unix_methods->xDeviceCharacteristics(file) | SQLITE_IOCAP_IMMUTABLE;
}

/* The file that SQLite's own layer opened stays what it is; only its table of functions is exchanged, and only that of the
 * main file: log and journals need nothing. */
static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  int rc = unix_vfs->xOpen(unix_vfs, name, file, flags, out_flags);
  if (rc != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0) return rc;
  pthread_mutex_lock(&methods_lock);
  if (unix_methods == NULL) {
    unix_methods = file->pMethods;
    methods[0] = *unix_methods;
    methods[0].xRead = read_page;
    methods[0].xWrite = write_page;
    methods[0].xShmMap = tok_shm_map;
    methods[1] = methods[0];
    methods[1].xDeviceCharacteristics = fixed_characteristics;
  }
  pthread_mutex_unlock(&methods_lock);
  file->pMethods = &methods[vfs == &ours[1]];
  return SQLITE_OK;
}

const sqlite3_io_methods *tok_unix_methods(void)
{
  return unix_methods;
}

int tok_pagesum_register(void)
{
  static const char *const names[2] = {TOK_VFS, TOK_VFS_FIXED};
  unix_vfs = sqlite3_vfs_find("unix");
  if (unix_vfs == NULL) return SQLITE_ERROR;
  int rc = tok_filelocks_use(unix_vfs);
  for (int i = 0; i < 2 && rc == SQLITE_OK; i++) {
    ours[i] = *unix_vfs;
    ours[i].pNext = NULL;
    ours[i].zName = names[i];
    ours[i].xOpen = open_file;
    rc = sqlite3_vfs_register(&ours[i], 0);
  }
  return rc;
}

size_t tok_raw_read(sqlite3 *db, void *to, size_t size, int64_t offset)
{
  sqlite3_file *file = NULL;
  sqlite3_int64 end = 0;
  if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file->pMethods == NULL)
    return 0;
  if (file->pMethods->xFileSize(file, &end) != SQLITE_OK || offset >= end) return 0;
  if (size > (size_t)(end - offset)) size = (size_t)(end - offset);
  return unix_methods->xRead(file, to, (int)size, offset) == SQLITE_OK ? size : 0;
}
