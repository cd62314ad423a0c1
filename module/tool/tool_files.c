/* Files: read whole, and written whole or not at all, never over another one unasked. */
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/module.h"

/* More than this is no file of keys and certificates. */
#define LIMIT ((size_t)16 << 20)

void *tok_read_file(const char *path, size_t *size)
{
  bool standard = strcmp(path, "-") == 0;
  int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  size_t room = 1 << 16, len = 0;
  unsigned char *data = fd >= 0 ? tok_alloc(room) : NULL;
  ssize_t n = data != NULL ? 1 : -1;
  while (n > 0) {
    if (len + 1 == room) {
      unsigned char *more = room < LIMIT ? tok_alloc(room * 2) : NULL;
      if (more == NULL) {
        errno = room < LIMIT ? ENOMEM : EFBIG;
        n = -1;
        break;
      }
      memcpy(more, data, len);
      tok_wipe_free(data, room);
      data = more;
      room *= 2;
    }
    n = read(fd, data + len, room - 1 - len);
    if (n > 0) len += (size_t)n;
  }
  int error = errno;
  if (fd >= 0 && !standard) close(fd);
  void *whole = n == 0 ? tok_dup(data, len + 1) : NULL;
  if (data != NULL) tok_wipe_free(data, room);
  if (whole == NULL) tok_fail("cannot read", path, "%s", strerror(n == 0 ? ENOMEM : error));
  *size = len;
  return whole;
}

static bool write_all(int fd, const unsigned char *data, size_t size)
{
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    data += n;
    size -= (size_t)n;
  }
  return true;
}

bool tok_put_in_place(const char *temporary, const char *path, bool force)
{
  if (force) return rename(temporary, path) == 0;
  if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  /* Not every file system can do that; fewer still can neither do that nor link. */
  return link(temporary, path) == 0 && unlink(temporary) == 0;
}

bool tok_write_file(const char *path, const void *data, size_t size, unsigned mode, bool force)
{
  if (strcmp(path, "-") == 0) {
    if (fflush(stdout) == 0 && write_all(STDOUT_FILENO, data, size)) return true;
    return tok_fail("cannot write", "standard output", "%s", strerror(errno));
  }
  struct stat st;
  if (!force && lstat(path, &st) == 0) return tok_fail("the file exists", path, "choose another name, or add --force");
  char temporary[4096];
  int n = snprintf(temporary, sizeof temporary, "%s.%ld", path, (long)getpid());
  if (n < 0 || n >= (int)sizeof temporary) return tok_fail("cannot write", path, "%s", strerror(ENAMETOOLONG));
  int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  bool good = fd >= 0 && write_all(fd, data, size) && fsync(fd) == 0;
  if (fd >= 0 && close(fd) != 0) good = false;
  int error = errno;
  if (good && !tok_put_in_place(temporary, path, force)) {
    good = false;
    error = errno;
  }
  if (fd >= 0 && !good) unlink(temporary);
  return good || tok_fail("cannot write", path, "%s", strerror(error));
}
