/* SQLite's index of the log is a file that every process maps and writes to. When the disk is full, or somebody cuts the
 * file off, writing to such memory ends in SIGBUS.
 *
 * SQLite writes the last byte of each 4 KiB when it makes the file longer, which is not enough where blocks are smaller, or
 * where writing to a block means to find a new one (btrfs). So the kernel is asked to make the pages writable, which it
 * answers with an error instead of a signal: when they are mapped, and before every transaction, since a file system of the
 * second kind may need room again. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include "database.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

#define REGION 32768 /* SQLite's WALINDEX_PGSZ */
#define NO_ROOM (4 << 20)

/* A kernel that does not know the request, or a mapping that is only for reading, is as good as a success. */
static bool writable(volatile void *memory, size_t size)
{
  return madvise((void *)memory, size, MADV_POPULATE_WRITE) == 0 || errno == EINVAL;
}

int tok_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory)
{
  int rc = tok_unix_methods()->xShmMap(file, region, size, extend, memory);
  if (rc != SQLITE_OK || *memory == NULL || writable(*memory, (size_t)size)) return rc;
  *memory = NULL;
  return SQLITE_IOERR_SHMSIZE;
}

CK_RV tok_shm_check(struct tok_connection *connection, bool writing)
{
  struct statvfs v;
  void volatile *memory = NULL;
  sqlite3_file *file = NULL;
  if (connection->fixed || connection->unreadable) return CKR_OK;
  sqlite3_file_control(connection->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  for (int i = 0; i == 0 || writing; i++) {
    if (tok_unix_methods()->xShmMap(file, i, REGION, 0, &memory) != SQLITE_OK || memory == NULL) break;
    /* Readers write to the first page only. */
    if (!writable(memory, writing ? REGION : TOK_PAGE))
      return statvfs(connection->store->path, &v) != 0 || v.f_bavail * v.f_frsize < NO_ROOM ? CKR_DEVICE_MEMORY
                                                                                            : CKR_DEVICE_ERROR;
  }
  return CKR_OK;
}
