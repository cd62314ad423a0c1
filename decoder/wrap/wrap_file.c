/* Files of the wrap room: read whole, replaced whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/wrap/wrap.h"

enum { FILE_LIMIT = 16 << 20 };

const char *wrap_verb = "wrap";

int wrap_fail(const char *what, const char *where, const char *todo, ...)
{
  va_list args;
  va_start(args, todo);
  fflush(stdout);
  fprintf(stderr, "p11trace %s: %s: %s: ", wrap_verb, what, where);
  vfprintf(stderr, todo, args);
  fputc('\n', stderr);
  va_end(args);
  return -1;
}

char *wrap_read_file(const char *path, size_t *size, struct stat *st)
{
  struct stat own;
  if (st == NULL) st = &own;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  char *data = NULL;
  size_t got = 0;
  int error = 0;
  if (fstat(fd, st) != 0) {
    error = errno;
  } else if (!S_ISREG(st->st_mode)) {
    error = EINVAL;
  } else if (st->st_size > FILE_LIMIT) {
    error = EFBIG;
  } else if ((data = malloc((size_t)st->st_size + 1)) == NULL) {
    error = ENOMEM;
  }
  while (error == 0 && got < (size_t)st->st_size) {
    ssize_t n = read(fd, data + got, (size_t)st->st_size - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) error = errno;
    if (n <= 0) break;
    got += (size_t)n;
  }
  close(fd);
  if (error != 0) {
    free(data);
    errno = error;
    return NULL;
  }
  data[got] = '\0';
  *size = got;
  return data;
}

static int write_all(int fd, const char *data, size_t size)
{
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    data += n;
    size -= (size_t)n;
  }
  return 0;
}

int wrap_replace_file(const char *path, const void *data, size_t size, mode_t mode, const struct stat *like)
{
  char temporary[PATH_MAX];
  if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary) {
    errno = ENAMETOOLONG;
    return -1;
  }
  int fd = mkostemp(temporary, O_CLOEXEC);
  if (fd < 0) return -1;
  int error = 0;
  /* root may edit a user's database: the file stays the user's. The owner comes first, chown clears mode bits. */
  if (like != NULL && (like->st_uid != geteuid() || like->st_gid != getegid()) &&
      fchown(fd, like->st_uid, like->st_gid) != 0) {
    error = errno;
  }
  if (error == 0 && fchmod(fd, mode) != 0) error = errno;
  if (error == 0 && write_all(fd, data, size) != 0) error = errno;
  if (error == 0 && fsync(fd) != 0) error = errno;
  if (close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && rename(temporary, path) != 0) error = errno;
  if (error == 0) return 0;
  unlink(temporary);
  errno = error;
  return -1;
}

int wrap_is_traced_copy(const char *path)
{
  static const char mark[] = "p11trace_stub"; /* the stub's exported symbol, so it is in the file's string table */
  size_t size;
  char *data = wrap_read_file(path, &size, NULL);
  if (data == NULL) return 0;
  int found = size > 4 && memcmp(data, "\177ELF", 4) == 0 && memmem(data, size, mark, sizeof mark) != NULL;
  free(data);
  return found;
}

int wrap_conf_path(const char *library, char conf[PATH_MAX])
{
  size_t length = strlen(library);
  if (length > 3 && strcmp(library + length - 3, ".so") == 0) length -= 3;
  return snprintf(conf, PATH_MAX, "%.*s.conf", (int)length, library) < PATH_MAX ? 0 : -1;
}
