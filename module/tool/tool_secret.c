/* PINs and passphrases: from the command line, a file or the terminal; never kept longer than needed. */
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "core/module.h"

void tok_secret_clear(struct tok_secret *secret)
{
  if (secret->bytes != NULL) tok_wipe_free(secret->bytes, secret->len + 1);
  secret->bytes = NULL;
  secret->len = 0;
}

static bool set(struct tok_secret *secret, const char *bytes, size_t len)
{
  tok_secret_clear(secret);
  secret->bytes = tok_alloc(len + 1);
  if (secret->bytes == NULL) return tok_fail_rv("cannot keep it", secret->name, CKR_HOST_MEMORY);
  memcpy(secret->bytes, bytes, len);
  secret->len = len;
  return true;
}

bool tok_secret_argument(struct tok_secret *secret, char *argument)
{
  size_t len = strlen(argument);
  bool good = len <= TOK_MAX_SECRET ? set(secret, argument, len)
                                    : tok_fail("too long", secret->name, "give at most %d bytes", TOK_MAX_SECRET);
  OPENSSL_cleanse(argument, len);
  return good;
}

/* Reads a line without its end into `line`, byte by byte so that no buffer keeps what follows or a copy. Returns its
 * length; -1 with errno after an error, ENODATA if there is not a single byte, EMSGSIZE if it is longer than `size`.
 * Signals that the caller has blocked end it with EINTR if `waiting` is the mask without them: only while it waits, so
 * that none falls between a look at them and the read. NULL: no signals are blocked. */
static ssize_t read_line(int fd, char *line, size_t size, const sigset_t *waiting)
{
  size_t len = 0;
  for (bool any = false;; any = true) {
    char c;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (waiting != NULL && ppoll(&ready, 1, NULL, waiting) < 0) return -1;
    ssize_t n = read(fd, &c, 1);
    if (n < 0) return -1;
    if (n == 0 && !any) {
      errno = ENODATA;
      return -1;
    }
    if (n == 0 || c == '\n') break;
    if (len == size) {
      errno = EMSGSIZE;
      return -1;
    }
    line[len++] = c;
  }
  if (len > 0 && line[len - 1] == '\r') len--;
  return (ssize_t)len;
}

bool tok_secret_file(struct tok_secret *secret, const char *path)
{
  char line[TOK_MAX_SECRET];
  bool standard = strcmp(path, "-") == 0;
  int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  ssize_t len = fd >= 0 ? read_line(fd, line, sizeof line, NULL) : -1;
  int error = errno;
  if (fd >= 0 && !standard) close(fd);
  bool good = len >= 0;
  if (good) {
    good = set(secret, line, (size_t)len);
  } else if (error == ENODATA) {
    tok_fail("the file is empty", path, "its first line must be the %s", secret->name);
  } else if (error == EMSGSIZE) {
    tok_fail("the first line is too long", path, "give at most %d bytes", TOK_MAX_SECRET);
  } else {
    tok_fail("cannot read", path, "%s", strerror(error));
  }
  OPENSSL_cleanse(line, sizeof line);
  return good;
}

/* --- the terminal ------------------------------------------------------------------------------------------------ */

static volatile sig_atomic_t caught;

static void note_signal(int number)
{
  caught = number;
}

static void put(int fd, const char *text)
{
  if (write(fd, text, strlen(text)) < 0) caught = caught; /* a terminal that has gone shows at the read */
}

/* One question. A signal that ends the program waits until the terminal echoes again. */
static ssize_t ask_once(int tty, const char *name, const char *again, char *line, size_t size)
{
  static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
  enum { ENDS = sizeof ends / sizeof *ends };
  struct sigaction note = {.sa_handler = note_signal}, before[ENDS];
  struct termios echoing, silent;
  sigset_t block, waiting;
  if (tcgetattr(tty, &echoing) != 0) return -1;
  caught = 0;
  sigemptyset(&block);
  for (int i = 0; i < ENDS; i++) sigaddset(&block, ends[i]);
  sigprocmask(SIG_BLOCK, &block, &waiting);
  for (int i = 0; i < ENDS; i++) {
    sigaction(ends[i], NULL, &before[i]);
    if (before[i].sa_handler != SIG_IGN) sigaction(ends[i], &note, NULL); /* whoever started us wants it ignored */
  }
  silent = echoing;
  silent.c_lflag &= ~(tcflag_t)ECHO;
  tcsetattr(tty, TCSAFLUSH, &silent);
  put(tty, name);
  put(tty, again);
  ssize_t len = read_line(tty, line, size, &waiting);
  int error = errno;
  tcsetattr(tty, TCSAFLUSH, &echoing);
  put(tty, "\n");
  /* What has come meanwhile is noted before the earlier handlers are back. */
  sigprocmask(SIG_SETMASK, &waiting, NULL);
  for (int i = 0; i < ENDS; i++) sigaction(ends[i], &before[i], NULL);
  if (caught != 0) {
    OPENSSL_cleanse(line, size);
    raise(caught);
    error = EINTR;
    len = -1;
  }
  errno = error;
  return len;
}

bool tok_secret_need(struct tok_secret *secret, const char *option, bool twice)
{
  if (secret->bytes != NULL) return true;
  char first[TOK_MAX_SECRET], second[TOK_MAX_SECRET];
  bool good = false;
  int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
  if (tty < 0) {
    return tok_fail("not given", secret->name, "use --%s-file FILE; there is no terminal to ask on", option);
  }
  ssize_t len = ask_once(tty, secret->name, ": ", first, sizeof first);
  ssize_t check = len >= 0 && twice ? ask_once(tty, secret->name, ", once more: ", second, sizeof second) : len;
  if (len < 0 || check < 0) {
    tok_fail("cannot read", secret->name, "%s", errno == ENODATA ? "the input ended" : strerror(errno));
  } else if (twice && (len != check || memcmp(first, second, (size_t)len) != 0)) {
    tok_fail("the two entries differ", secret->name, "try again");
  } else {
    good = set(secret, first, (size_t)len);
  }
  close(tty);
  OPENSSL_cleanse(first, sizeof first);
  OPENSSL_cleanse(second, sizeof second);
  return good;
}
