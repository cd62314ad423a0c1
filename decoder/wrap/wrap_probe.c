/* Loading somebody else's module only to look at it: in a child process, with a time limit. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h> /* struct link_map */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "decoder/wrap/wrap.h"

/* Vendor libraries look for readers and daemons in their constructors; ten seconds is beyond any that works. */
enum { PROBE_SECONDS = 10 };

static void look(const char *module, struct wrap_probe *probe)
{
  /* As NSS loads it (PR_LD_NOW | PR_LD_LOCAL), so that an unresolved symbol is found here and not in the browser. */
  void *handle = dlopen(module, RTLD_NOW | RTLD_LOCAL);
  if (handle == NULL) {
    const char *why = dlerror();
    probe->answer = WRAP_PROBE_NOT_LOADABLE;
    if (why == NULL) why = "unknown reason";
    /* "NAME: why"; the name stands in our own message already. */
    size_t name = strlen(module);
    if (strncmp(why, module, name) == 0 && strncmp(why + name, ": ", 2) == 0) why += name + 2;
    snprintf(probe->text, sizeof probe->text, "%s", why);
    return;
  }
  struct link_map *map = NULL;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != NULL) {
    snprintf(probe->path, sizeof probe->path, "%s", map->l_name);
  }
  if (dlsym(handle, "p11trace_stub") != NULL) {
    probe->answer = WRAP_PROBE_TRACED;
  } else if (dlsym(handle, "C_GetFunctionList") == NULL) {
    probe->answer = WRAP_PROBE_NO_FUNCTION_LIST;
  } else {
    probe->answer = WRAP_PROBE_GOOD;
  }
}

static _Noreturn void child(const char *module, int result)
{
  /* What constructors print is not our output. */
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    for (int fd = 0; fd <= 2; fd++) dup2(null, fd);
  }
  struct wrap_probe probe = {.answer = WRAP_PROBE_DIED};
  look(module, &probe);
  const char *at = (const char *)&probe;
  for (size_t left = sizeof probe; left > 0;) {
    ssize_t n = write(result, at, left);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(1);
    at += n;
    left -= (size_t)n;
  }
  _exit(0); /* no destructors: they may be as bad as the constructors */
}

static long milliseconds(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads the child's answer; returns the bytes received, fewer than asked when the child ended or time is up. */
static size_t receive(int fd, void *buffer, size_t size, int *timed_out)
{
  long end = milliseconds() + PROBE_SECONDS * 1000L;
  size_t got = 0;
  *timed_out = 0;
  while (got < size) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    long left = end - milliseconds();
    int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      *timed_out = 1;
      break;
    }
    ssize_t n = read(fd, (char *)buffer + got, size - got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    got += (size_t)n;
  }
  return got;
}

int wrap_probe_module(const char *module, struct wrap_probe *probe)
{
  int fds[2];
  memset(probe, 0, sizeof *probe);
  if (pipe2(fds, O_CLOEXEC) != 0) {
    return wrap_fail("cannot look at the module", module, "%s", strerror(errno));
  }
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) {
    int error = errno;
    close(fds[0]);
    close(fds[1]);
    return wrap_fail("cannot look at the module", module, "%s", strerror(error));
  }
  if (pid == 0) {
    close(fds[0]);
    child(module, fds[1]);
  }
  close(fds[1]);
  int timed_out, status = 0;
  size_t got = receive(fds[0], probe, sizeof *probe, &timed_out);
  close(fds[0]);
  if (timed_out) kill(pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (got != sizeof *probe) {
    memset(probe, 0, sizeof *probe);
    probe->answer = timed_out ? WRAP_PROBE_HANGS : WRAP_PROBE_DIED;
    if (WIFSIGNALED(status)) probe->signal = WTERMSIG(status);
  }
  return 0;
}
