/* System calls without libc's wrappers, because those are cancellation points: a thread cancelled inside one would leave
 * the recorder's lock held (a host's thread must be able to die only where it could die without us).
 * Each returns what the kernel does: a negative errno on failure, and leaves errno alone but for what syscall() does to
 * it, which the callers in record/ save and restore. */
#ifndef RECORD_SYS_H
#define RECORD_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define P11T_SYS(...)               \
  ({                                \
    long r_ = syscall(__VA_ARGS__); \
    r_ < 0 ? -(long)errno : r_;     \
  })

static inline long sys_open(const char *path, int flags, int mode)
{
  return P11T_SYS(SYS_openat, AT_FDCWD, path, flags, mode);
}
static inline long sys_close(int fd)
{
  return P11T_SYS(SYS_close, fd);
}
static inline long sys_read(int fd, void *to, size_t size)
{
  return P11T_SYS(SYS_read, fd, to, size);
}
static inline long sys_write(int fd, const void *from, size_t size)
{
  return P11T_SYS(SYS_write, fd, from, size);
}
static inline long sys_lseek(int fd, uint64_t offset)
{
  return P11T_SYS(SYS_lseek, fd, offset, SEEK_SET);
}
static inline long sys_ftruncate(int fd, uint64_t size)
{
  return P11T_SYS(SYS_ftruncate, fd, size);
}
static inline long sys_unlink(const char *path)
{
  return P11T_SYS(SYS_unlinkat, AT_FDCWD, path, 0);
}
/* libc's fstat is newfstatat, which sandboxes take for a question about a path. */
static inline long sys_fstat(int fd, struct stat *st)
{
  return P11T_SYS(SYS_fstat, fd, st);
}
/* All signals but the one by which a sandbox refuses a system call: where that is blocked it kills. */
static inline void sys_block_signals(sigset_t *old)
{
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGSYS);
  P11T_SYS(SYS_rt_sigprocmask, SIG_BLOCK, &all, old, 8);
}
static inline bool sys_random(void *to, size_t size)
{
  return P11T_SYS(SYS_getrandom, to, size, 0) == (long)size;
}
static inline long sys_gettid(void)
{
  return syscall(SYS_gettid);
}
static inline long sys_getpid(void)
{
  return syscall(SYS_getpid);
}

/* True when the 8 bytes at `p` can be read: the kernel copies the new mask in before it looks at the odd `how`. */
static inline int sys_readable(const void *p)
{
  int saved = errno;
  long r = P11T_SYS(SYS_rt_sigprocmask, 0x7fff, p, (void *)0, 8);
  errno = saved;
  return r != -EFAULT;
}

/* The same for `size` bytes: a word of each page. Words that are aligned lie in one page. */
static inline int sys_readable_all(const void *p, uint64_t size)
{
  uintptr_t at = (uintptr_t)p & ~(uintptr_t)7, end;
  if (__builtin_add_overflow((uintptr_t)p, size, &end)) return 0;
  for (; at < end; at = (at | 4095) + 1) {
    if (!sys_readable((const void *)at)) return 0;
  }
  return 1;
}

#endif
