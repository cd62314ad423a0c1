/* The name of the trace: the option `out`, or the default under the user's state folder. `out` is a file when it ends in .p11t
 * or has a %-mark; everything else is a folder, whether it is there already or not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shim/record/attached.h"
#include "shim/record/head.h"
#include "shim/record/options.h"
#include "shim/record/output.h"
#include "shim/record/process.h"
#include "shim/record/say.h"

#define DEFAULT_NAME "%e.%t.%p.p11t"

/* Text for one %-mark; a part of a file name must not hold a slash or begin with a dot. */
static void mark(char letter, char *to, size_t size)
{
  time_t start = (time_t)(p11t_process.first.realtime / 1000000000u);
  struct tm tm;
  switch (letter) {
    case 'p': snprintf(to, size, "%u", p11t_process.pid); break;
    case 'e': snprintf(to, size, "%.100s", p11t_program()); break;
    case 'm': snprintf(to, size, "%.100s", p11t_first_module_name()); break;
    case 't':
      gmtime_r(&start, &tm);
      strftime(to, size, "%Y%m%dT%H%M%SZ", &tm);
      break;
    case '%': snprintf(to, size, "%%"); break;
    default: snprintf(to, size, "%%%c", letter); break;
  }
  for (char *c = to; *c; c++) {
    if (*c == '/' || (unsigned char)*c < 0x20 || (c == to && *c == '.')) *c = '_';
  }
}

static bool expand(const char *pattern, char *to, size_t size)
{
  size_t n = 0;
  for (const char *c = pattern; *c; c++) {
    char piece[128] = {*c, 0};
    if (*c == '%' && c[1]) mark(*++c, piece, sizeof piece);
    size_t m = strlen(piece);
    if (n + m >= size) return false;
    memcpy(to + n, piece, m + 1);
    n += m;
  }
  return true;
}

/* Makes `path` and the folders above it, 0700. */
static bool make_folders(char *path)
{
  for (char *c = path + 1;; c++) {
    if (*c != '/' && *c != 0) continue;
    char kept = *c;
    *c = 0;
    int r = mkdir(path, 0700);
    int error = errno;
    *c = kept;
    if (r != 0 && error != EEXIST && kept == 0) {
      errno = error;
      return false;
    }
    if (kept == 0) return true;
  }
}

static bool is_folder(const char *path)
{
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool default_folder(char *to, size_t size)
{
  const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
  int n = state && *state == '/' ? snprintf(to, size, "%s/p11trace", state)
          : home && *home == '/' ? snprintf(to, size, "%s/.local/state/p11trace", home)
                                 : -1;
  if (n < 0 || (size_t)n >= size) {
    p11t_say(
        "neither XDG_STATE_HOME nor HOME names a folder: give P11TRACE_OUT or `out` in the .conf file; not recording");
    return false;
  }
  return true;
}

bool p11t_output_path(char path[PATH_MAX])
{
  char pattern[PATH_MAX], folder[PATH_MAX];
  if (p11t_options.out[0] == 0) {
    if (!default_folder(folder, sizeof folder)) return false;
    if (!make_folders(folder)) {
      p11t_say("%s: cannot be made: %s; not recording", folder, p11t_errno_text(errno));
      return false;
    }
    struct stat st;
    if (stat(folder, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
      p11t_say("%s: belongs to another user or others may write in it: mend that or give P11TRACE_OUT; not recording",
               folder);
      return false;
    }
    snprintf(pattern, sizeof pattern, "%.*s/%s", PATH_MAX - 32, folder, DEFAULT_NAME);
  } else {
    size_t n = strlen(p11t_options.out);
    bool is_file = (n > 5 && strcmp(p11t_options.out + n - 5, ".p11t") == 0) || strchr(p11t_options.out, '%') != NULL;
    bool as_folder = !is_file || p11t_options.out[n - 1] == '/' || is_folder(p11t_options.out);
    snprintf(pattern, sizeof pattern, "%.*s%s", PATH_MAX - 32, p11t_options.out, as_folder ? "/" DEFAULT_NAME : "");
  }
  char cwd[PATH_MAX] = "", expanded[PATH_MAX];
  if (!expand(pattern, expanded, sizeof expanded)) {
    p11t_say("%.200s...: the name is too long; not recording", pattern);
    return false;
  }
  if (expanded[0] != '/' && getcwd(cwd, sizeof cwd - 1) != NULL) strcat(cwd, "/");
  if (snprintf(path, PATH_MAX, "%s%s", cwd, expanded) >= PATH_MAX - 32) {
    p11t_say("%.200s...: the name is too long; not recording", expanded);
    return false;
  }
  char *slash = strrchr(path, '/');
  if (slash == NULL || slash == path) return true;
  *slash = 0;
  bool made = is_folder(path) || make_folders(path);
  if (!made) p11t_say("%s: cannot be made: %s: give another P11TRACE_OUT; not recording", path, p11t_errno_text(errno));
  *slash = '/';
  return made;
}
