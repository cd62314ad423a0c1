#include "decoder/run/run.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"
#include "decoder/wrap/wrap.h"

enum { STATUS_CANNOT_START = 126, STATUS_NOT_FOUND = 127 };

/* Processes that end a moment after their parent are waited for; daemons are not. */
#define PATIENCE_MS 1000

/* --- environment ------------------------------------------------------------------------------------------------------- */

/* A sanitizer's runtime insists on being the first library; all others do not care. */
static size_t length_of_runtimes(const char *preload)
{
  static const char *const runtimes[] = {"libasan", "libtsan", "libubsan", "liblsan", "libclang_rt."};
  size_t end = 0;
  while (preload[end] != '\0') {
    size_t from = end + strspn(preload + end, ": "), to = from + strcspn(preload + from, ": "), base = to;
    while (base > from && preload[base - 1] != '/') base--;
    bool runtime = false;
    for (size_t i = 0; i < sizeof runtimes / sizeof *runtimes; i++)
      runtime |= strncmp(preload + base, runtimes[i], strlen(runtimes[i])) == 0;
    if (!runtime) break;
    end = to;
  }
  return end;
}

static int set_environment(const struct run_request *request, const struct run_place *place)
{
  char recorder[PATH_MAX];
  wrap_verb = "run";
  if (wrap_find_recorder(request->recorder, recorder) != 0) return -1;
  if (strpbrk(recorder, ": ") != NULL) {
    fprintf(
        stderr,
        "p11trace run: the recorder cannot be preloaded: %s: LD_PRELOAD has no way to write a path with a blank or a "
        "colon; give a copy elsewhere with --recorder\n",
        recorder);
    return -1;
  }
  const char *given = getenv("LD_PRELOAD");
  if (given == NULL) given = "";
  size_t first = length_of_runtimes(given), size = strlen(given) + strlen(recorder) + 3;
  const char *rest = given + first + strspn(given + first, ": ");
  char *preload = malloc(size);
  if (preload == NULL) abort();
  snprintf(preload, size, "%.*s%s%s%s%s", (int)first, given, first > 0 ? ":" : "", recorder, *rest != '\0' ? ":" : "",
           rest);
  bool set = setenv("LD_PRELOAD", preload, 1) == 0;
  for (size_t i = 0; i < request->n_settings; i++)
    set &= setenv(request->settings[i].variable, request->settings[i].value, 1) == 0;
  set &= setenv("P11TRACE_OUT", place->folder, 1) == 0 && setenv("P11TRACE_RUN", "1", 1) == 0;
  free(preload);
  if (!set) abort();
  return 0;
}

/* --- signals ----------------------------------------------------------------------------------------------------------- */

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
enum { FORWARDED = sizeof forwarded / sizeof *forwarded };
static volatile sig_atomic_t child;

/* What the terminal sends reaches the command too; what somebody sends to us is for the command. */
static void forward(int signal, siginfo_t *info, void *unused)
{
  (void)unused;
  int saved = errno;
  if (child > 0 && info->si_code <= 0) kill((pid_t)child, signal);
  errno = saved;
}

static void handle_signals(bool begin)
{
  static struct sigaction before[FORWARDED];
  for (size_t i = 0; i < FORWARDED; i++) {
    struct sigaction action = {.sa_sigaction = forward, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigfillset(&action.sa_mask);
    if (!begin) {
      sigaction(forwarded[i], &before[i], NULL);
    } else if (sigaction(forwarded[i], NULL, &before[i]) == 0 && before[i].sa_handler != SIG_IGN) {
      sigaction(forwarded[i], &action, NULL); /* what is ignored stays so for the command: nohup */
    }
  }
}

/* --- the command ------------------------------------------------------------------------------------------------------- */

/* Signals wait until it is known to whom they go. 0 or an errno. */
static int start(char **command)
{
  extern char **environ;
  sigset_t all, old;
  posix_spawnattr_t attributes;
  pid_t pid = 0;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, &old);
  handle_signals(true);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &old);
  int error = posix_spawnp(&pid, command[0], NULL, &attributes, command, environ);
  posix_spawnattr_destroy(&attributes);
  child = (sig_atomic_t)pid;
  sigprocmask(SIG_SETMASK, &old, NULL);
  return error;
}

static int wait_for(pid_t pid)
{
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return status;
}

static void be_patient(const struct run_place *place)
{
  for (int ms = 0; ms < PATIENCE_MS && run_place_busy(place); ms += 50) {
    struct timespec nap = {0, 50000000};
    nanosleep(&nap, NULL);
  }
}

static int finish(const struct run_request *request, const struct run_place *place, int status)
{
  int result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  size_t count;
  be_patient(place);
  char **paths = run_place_new(place, &count);
  enum severity worst = 0;
  if (!request->quiet || request->fail_on != 0)
    worst = run_summary(place, paths, count, (pid_t)child, status, request->quiet);
  for (size_t i = 0; i < count; i++) free(paths[i]);
  free(paths);
  return request->fail_on != 0 && worst >= request->fail_on ? EXIT_FOUND : result;
}

int run_command(const struct run_request *request)
{
  static struct run_place place;
  place.live = request->live != NULL ? request->live : getenv("P11TRACE_LIVE");
  const char *out = request->out != NULL ? request->out : getenv("P11TRACE_OUT");
  if (run_place_open(&place, out, request->command[0]) != 0) return EXIT_COULD_NOT;
  if (set_environment(request, &place) != 0) return EXIT_COULD_NOT;
  int error = start(request->command);
  if (error != 0) {
    fprintf(stderr, "p11trace run: cannot be started: %s: %s\n", request->command[0], strerror(error));
    rmdir(place.folder);
    return error == ENOENT ? STATUS_NOT_FOUND : STATUS_CANNOT_START;
  }
  int status = wait_for((pid_t)child);
  handle_signals(false);
  int result = finish(request, &place, status);
  run_place_close(&place);
  return result;
}
