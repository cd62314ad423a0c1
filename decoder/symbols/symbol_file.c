/* Opening files that somebody else's trace names. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "decoder/symbols/symbols_part.h"

static bool climbs(const char *path)
{
  for (const char *at = path; (at = strstr(at, "..")) != NULL; at += 2) {
    if ((at == path || at[-1] == '/') && (at[2] == '\0' || at[2] == '/')) return true;
  }
  return false;
}

/* Inside `root` the kernel resolves symbolic links and .. as if it were the root folder. */
static int find_below(const char *root, const char *path)
{
  int folder = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return -1;
  struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
  int fd = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
  if (fd < 0 && (errno == ENOSYS || errno == EPERM)) { /* before Linux 5.6, or a sandbox that does not know it */
    while (*path == '/') path++;
    errno = ENOENT;
    fd = climbs(path) ? -1 : openat(folder, path, O_PATH | O_CLOEXEC);
  }
  int error = errno;
  close(folder);
  errno = error;
  return fd;
}

int symbol_file_open(const char *root, const char *path, const char **why)
{
  if (path[0] != '/') {
    *why = "not a path of a file";
    return -1;
  }
  /* First without opening what it is: to open a FIFO waits, to open a device may do anything. */
  int found = root != NULL ? find_below(root, path) : open(path, O_PATH | O_CLOEXEC);
  if (found < 0) {
    *why = strerror(errno);
    return -1;
  }
  struct stat st;
  char again[64];
  int fd = -1;
  *why = "not a regular file";
  if (fstat(found, &st) == 0 && S_ISREG(st.st_mode)) {
    snprintf(again, sizeof again, "/proc/self/fd/%d", found);
    fd = open(again, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) *why = strerror(errno);
  }
  close(found);
  return fd;
}
