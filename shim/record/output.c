#include "shim/record/output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "shim/record/say.h"
#include "shim/record/sys.h"

/* Moves a descriptor out of the way of programs that expect small numbers or close the ones they do not know. */
static int out_of_the_way(int fd)
{
  struct rlimit limit;
  long top = 1024;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 1024) top = (long)limit.rlim_cur;
  for (long want = top - 1; want > top - 33 && want > fd; want--) {
    long moved = P11T_SYS(SYS_fcntl, fd, F_DUPFD_CLOEXEC, want);
    if (moved >= 0) {
      sys_close(fd);
      return (int)moved;
    }
  }
  return fd;
}

static bool same_file(int fd, const struct p11t_output *o)
{
  struct stat st;
  int saved = errno;
  bool same = sys_fstat(fd, &st) == 0 && st.st_dev == o->dev && st.st_ino == o->ino;
  errno = saved;
  return same;
}

long p11t_output_create_exact(struct p11t_output *o, const char *path)
{
  struct stat st;
  long fd = sys_open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return fd;
  P11T_SYS(SYS_fchmod, (int)fd, 0600); /* whatever the umask, even an odd one */
  if (sys_fstat((int)fd, &st) != 0) {
    sys_close((int)fd);
    return -EIO;
  }
  o->torn = false;
  o->fd = out_of_the_way((int)fd);
  o->dev = st.st_dev;
  o->ino = st.st_ino;
  snprintf(o->path, sizeof o->path, "%s", path);
  return 0;
}

static bool is_symlink(const char *path)
{
  struct stat st;
  return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

bool p11t_output_create(struct p11t_output *o, char path[PATH_MAX])
{
  char stem[PATH_MAX];
  size_t length = strlen(path);
  const char *suffix = "";
  if (length > 5 && strcmp(path + length - 5, ".p11t") == 0) {
    suffix = ".p11t";
    length -= 5;
  }
  snprintf(stem, sizeof stem, "%.*s", (int)length, path);
  for (int i = 1; i < 1000; i++) {
    int n =
        i == 1 ? snprintf(path, PATH_MAX, "%s%s", stem, suffix) : snprintf(path, PATH_MAX, "%s-%d%s", stem, i, suffix);
    if (n >= PATH_MAX - 8) {
      p11t_say("%.200s...: the name is too long: give a shorter P11TRACE_OUT; not recording", path);
      return false;
    }
    long r = p11t_output_create_exact(o, path);
    if (r == 0) return true;
    if (r != -EEXIST) {
      p11t_say("%s: cannot be created: %s; not recording", path, p11t_errno_text((int)-r));
      return false;
    }
    if (is_symlink(path)) {
      p11t_say(
          "%s: is a symbolic link, which is never written through: remove it or give another P11TRACE_OUT; not "
          "recording",
          path);
      return false;
    }
  }
  p11t_say("%s: this name and 998 more are taken: use %%p or %%t in P11TRACE_OUT; not recording", path);
  return false;
}

bool p11t_output_check(struct p11t_output *o)
{
  if (o->fd >= 0 && same_file(o->fd, o)) return true;
  if (o->fd < 0) return false;
  o->fd = -1; /* not ours any more: not to be closed */
  long fd = sys_open(o->path, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
  if (fd < 0) return false;
  if (!same_file((int)fd, o)) {
    sys_close((int)fd);
    return false;
  }
  o->fd = out_of_the_way((int)fd);
  return true;
}

static long write_all(int fd, uint64_t at, const char *data, size_t size)
{
  long done = sys_lseek(fd, at);
  size_t written = 0;
  while (done >= 0 && written < size) {
    done = sys_write(fd, data + written, size - written);
    if (done == 0) return -ENOSPC;
    if (done > 0) written += (size_t)done;
    if (done == -EINTR) done = 0;
  }
  return done < 0 ? done : 0;
}

/* write(2) under RLIMIT_FSIZE raises SIGXFSZ, which kills: it is blocked for the write and eaten if we caused it. Without a
 * limit there is nothing to fear, and a sandbox does not let us ask for pending signals. */
static long careful_write(int fd, uint64_t at, const void *data, size_t size)
{
  sigset_t set, old, before;
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0) {
    if (limit.rlim_cur == RLIM_INFINITY) return write_all(fd, at, data, size);
    if (at + size > limit.rlim_cur) return -EFBIG;
  }
  sigemptyset(&set);
  sigaddset(&set, SIGXFSZ);
  P11T_SYS(SYS_rt_sigprocmask, SIG_BLOCK, &set, &old, 8);
  sigemptyset(&before);
  P11T_SYS(SYS_rt_sigpending, &before, 8);
  long done = write_all(fd, at, data, size);
  if (done == -EFBIG && !sigismember(&before, SIGXFSZ)) {
    struct timespec now = {0, 0};
    P11T_SYS(SYS_rt_sigtimedwait, &set, (void *)0, &now, 8);
  }
  P11T_SYS(SYS_rt_sigprocmask, SIG_SETMASK, &old, (void *)0, 8);
  return done;
}

long p11t_output_append(struct p11t_output *o, uint64_t *at, const void *data, size_t size)
{
  if (!p11t_output_check(o)) return -EBADF;
  p11t_output_mend(o, *at, false);
  long r = careful_write(o->fd, *at, data, size);
  if (r == 0)
    *at += size;
  else
    o->torn = sys_ftruncate(o->fd, *at) != 0; /* no torn frame in the middle */
  return r;
}

void p11t_output_mend(struct p11t_output *o, uint64_t end, bool patient)
{
  for (int i = 0; o->torn && i < (patient ? 50 : 1); i++) {
    if (!p11t_output_check(o)) return;
    if (sys_ftruncate(o->fd, end) == 0) {
      o->torn = false;
    } else if (patient) {
      struct timespec nap = {0, 2000000};
      P11T_SYS(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &nap, (void *)0);
    }
  }
}

void p11t_output_close(struct p11t_output *o)
{
  if (o->fd >= 0 && same_file(o->fd, o)) sys_close(o->fd);
  o->fd = -1;
}

bool p11t_output_room(int fd, uint64_t *available, uint64_t *total)
{
  struct statfs fs;
  int saved = errno;
  bool known = fstatfs(fd, &fs) == 0 && fs.f_blocks > 0;
  errno = saved;
  if (!known) return false;
  *available = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
  *total = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
  return true;
}
