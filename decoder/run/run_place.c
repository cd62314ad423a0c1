#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "decoder/run/run.h"
#include "shim/trace/format.h"

static int fail(const char *what, const char *where, const char *todo)
{
  fprintf(stderr, "p11trace run: %s: %s: %s\n", what, where, todo);
  return -1;
}

static int make_folders(char *path)
{
  for (char *c = path + 1;; c++) {
    if (*c != '/' && *c != '\0') continue;
    char kept = *c;
    *c = '\0';
    int r = mkdir(path, 0700);
    *c = kept;
    if (r != 0 && errno != EEXIST && kept == '\0') return fail("cannot be made", path, strerror(errno));
    if (kept == '\0') return 0;
  }
}

/* A folder of its own for each run, under the recorder's default. */
static int fresh_folder(char to[PATH_MAX], const char *command)
{
  const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME"), *slash = strrchr(command, '/');
  const char *name = slash != NULL ? slash + 1 : command;
  char start[32];
  time_t now = time(NULL);
  struct tm tm;
  strftime(start, sizeof start, "%Y%m%dT%H%M%SZ", gmtime_r(&now, &tm));
  int n = state != NULL && *state == '/' ? snprintf(to, PATH_MAX, "%.3000s/p11trace", state)
          : home != NULL && *home == '/' ? snprintf(to, PATH_MAX, "%.3000s/.local/state/p11trace", home)
                                         : -1;
  if (n < 0) return fail("no place for traces", "XDG_STATE_HOME, HOME", "neither names a folder: give one with -o");
  if (make_folders(to) != 0) return -1;
  for (int i = 1; i < 1000; i++) {
    char suffix[8] = "";
    if (i > 1) snprintf(suffix, sizeof suffix, "-%d", i);
    snprintf(to + n, PATH_MAX - (size_t)n, "/%.200s.%s%s", name[0] == '.' ? "command" : name, start, suffix);
    if (mkdir(to, 0700) == 0) return 0;
    if (errno != EEXIST) return fail("cannot be made", to, strerror(errno));
  }
  return fail("cannot be made", to, "its name and 998 more are taken");
}

static bool is_trace(const char *name)
{
  size_t n = strlen(name);
  return n > 5 && strcmp(name + n - 5, ".p11t") == 0;
}

static int by_name(const void *a, const void *b)
{
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the traces in the folder, sorted. */
static char **list(const char *folder, size_t *count)
{
  char **names = NULL;
  *count = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
    if (!is_trace(e->d_name)) continue;
    if ((*count & (*count + 1)) == 0) names = realloc(names, 2 * (*count + 1) * sizeof *names);
    if (names == NULL || (names[*count] = strdup(e->d_name)) == NULL) abort();
    (*count)++;
  }
  if (dir != NULL) closedir(dir);
  if (*count > 0) qsort(names, *count, sizeof *names, by_name);
  return names;
}

int run_place_open(struct run_place *place, const char *out, const char *command)
{
  if (out == NULL || out[0] == '\0') {
    if (fresh_folder(place->folder, command) != 0) return -1;
  } else {
    char given[PATH_MAX];
    /* The recorder would take both for names of files. */
    if (strchr(out, '%') != NULL || is_trace(out))
      return fail("not a folder", out, "run takes a folder for the traces of all processes, without %-marks");
    if (snprintf(given, sizeof given, "%s", out) >= (int)sizeof given)
      return fail("too long", out, "give a shorter name");
    if (make_folders(given) != 0) return -1;
    if (realpath(given, place->folder) == NULL) return fail("cannot be used", given, strerror(errno));
  }
  if (strlen(place->folder) > PATH_MAX - 300) return fail("too long", place->folder, "give a shorter name");
  if (access(place->folder, W_OK | X_OK) != 0) return fail("cannot be written", place->folder, strerror(errno));
  place->old = list(place->folder, &place->olds);
  return 0;
}

void run_place_close(struct run_place *place)
{
  for (size_t i = 0; i < place->olds; i++) free(place->old[i]);
  free(place->old);
}

/* The live file of a trace: beside it, or where the recorder looks for a place next. False: there is none. */
static bool live_of(const struct run_place *place, const char *name, char to[PATH_MAX])
{
  const char *runtime = getenv("XDG_RUNTIME_DIR");
  char private[PATH_MAX] = "";
  if (runtime != NULL && *runtime == '/') snprintf(private, sizeof private, "%.3000s/p11trace", runtime);
  const char *const folders[] = {place->folder, place->live, private, "/dev/shm"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    if (folders[i] == NULL || folders[i][0] == '\0') continue;
    if (snprintf(to, PATH_MAX, "%s/%s.live", folders[i], name) >= PATH_MAX) continue;
    if (access(to, F_OK) == 0) return true;
  }
  return false;
}

/* Its owner holds a lock as long as it lives. */
static bool is_locked(const char *path)
{
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  bool locked = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
  if (fd >= 0) close(fd);
  return locked;
}

static bool is_old(const struct run_place *place, const char *name)
{
  return place->olds > 0 && bsearch(&name, place->old, place->olds, sizeof *place->old, by_name) != NULL;
}

bool run_place_busy(const struct run_place *place)
{
  size_t count;
  char live[PATH_MAX], **names = list(place->folder, &count);
  bool busy = false;
  for (size_t i = 0; i < count; i++) {
    if (!busy && !is_old(place, names[i]) && live_of(place, names[i], live)) busy = is_locked(live);
    free(names[i]);
  }
  free(names);
  return busy;
}

/* Nothing is in it that is not in the trace: its process made no call, or closed it and may have been in a sandbox, in which
 * it could not remove it. */
static bool is_spent(const char *live)
{
  struct p11t_live_head head = {.state = 0};
  int fd = open(live, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  ssize_t n = fd >= 0 ? read(fd, &head, sizeof head) : -1;
  if (fd >= 0) close(fd);
  return n == 0 ||
         (n == sizeof head && memcmp(head.magic, P11T_LIVE_MAGIC, sizeof head.magic) == 0 && head.state == P11T_CLOSED);
}

/* Removes what nobody needs. An empty trace is that of a process that was forked and made no call; false when it was. */
static bool tidy(const struct run_place *place, const char *path, const char *name, bool empty)
{
  char live[PATH_MAX];
  bool has_live = live_of(place, name, live), locked = has_live && is_locked(live);
  if (has_live && !locked && is_spent(live)) unlink(live);
  if (empty && !locked) unlink(path);
  return !empty;
}

char **run_place_new(const struct run_place *place, size_t *count)
{
  size_t all, n = 0;
  char **names = list(place->folder, &all), **paths = calloc(all + 1, sizeof *paths);
  if (paths == NULL) abort();
  for (size_t i = 0; i < all; i++) {
    char path[PATH_MAX];
    struct stat st;
    bool fits = snprintf(path, sizeof path, "%s/%s", place->folder, names[i]) < (int)sizeof path;
    if (fits && !is_old(place, names[i]) && lstat(path, &st) == 0 && S_ISREG(st.st_mode) &&
        tidy(place, path, names[i], st.st_size == 0)) {
      if ((paths[n++] = strdup(path)) == NULL) abort();
    }
    free(names[i]);
  }
  free(names);
  *count = n;
  return paths;
}
