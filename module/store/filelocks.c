/* SQLite's locks on files, for the file that was opened and not for the process.
 *
 * A POSIX lock belongs to the process: to another copy of this module in it, which is another SQLite, it is none, and
 * whoever closes the file, be it to copy it, takes all of the process's locks away (sqlite.org/howtocorrupt.html, 2.2).
 * Open file description locks (fcntl(2), Linux 3.15) have neither fault, and exclude POSIX locks of other processes as
 * those do each other. They would be inherited by a forked child, but tok_store_before_fork has closed everything. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "database.h"

static int ofd_command(int command)
{
  switch (command) {
    case F_SETLK: return F_OFD_SETLK;
    case F_SETLKW: return F_OFD_SETLKW;
    case F_GETLK: return F_OFD_GETLK;
    default: return -1;
  }
}

/* As fcntl, with whatever argument the command takes. File systems that have POSIX locks only get these. */
static int lock_file(int fd, int command, ...)
{
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  int ofd = ofd_command(command);
  if (ofd == -1) return fcntl(fd, command, argument);
  struct flock *lock = argument;
  lock->l_pid = 0; /* must be */
  int result = fcntl(fd, ofd, lock);
  return result == -1 && errno == EINVAL ? fcntl(fd, command, lock) : result;
}

int tok_filelocks_use(sqlite3_vfs *unix_vfs)
{
  return unix_vfs->xSetSystemCall(unix_vfs, "fcntl", (sqlite3_syscall_ptr)lock_file);
}
