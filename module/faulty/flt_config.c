/* Which target and which faults: P11FAULTY_MODULE and P11FAULTY, or a file with `module =` and `faults =`. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "faulty/faulty_part.h"

enum { FILE_MAX = 16384 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(const struct flt_set *) current;

const struct flt_set *flt_current(void)
{
  return atomic_load(&current);
}

struct settings {
  char text[FILE_MAX]; /* of the file; the two below point into it or into the environment */
  char path[PATH_MAX];
  const char *module, *faults;
  char problem[PATH_MAX + 200];
};

static char *trim(char *s)
{
  while (*s == ' ' || *s == '\t') s++;
  size_t n = strlen(s);
  while (n > 0 && strchr(" \t\r", s[n - 1]) != NULL) s[--n] = 0;
  return s;
}

static void parse_file(struct settings *s)
{
  unsigned number = 0;
  for (char *line = s->text, *next; line != NULL; line = next) {
    number++;
    next = strchr(line, '\n');
    if (next != NULL) *next++ = 0;
    line = trim(line);
    if (*line == 0 || *line == '#') continue;
    char *equals = strchr(line, '=');
    if (equals != NULL) *equals = 0;
    const char *name = trim(line), *value = equals != NULL ? trim(equals + 1) : NULL;
    if (value != NULL && strcmp(name, "module") == 0)
      s->module = value;
    else if (value != NULL && strcmp(name, "faults") == 0)
      s->faults = value;
    else
      snprintf(s->problem, sizeof s->problem, "%s, line %u: neither `module = PATH` nor `faults = NAME,...`", s->path,
               number);
  }
}

/* NAME.conf for NAME.so, beside the file as it was loaded or beside the file that a link leads to. */
static FILE *open_beside(struct settings *s)
{
  Dl_info us;
  char real[PATH_MAX];
  if (dladdr((void *)(uintptr_t)flt_configure, &us) == 0) return NULL;
  const char *names[] = {us.dli_fname, realpath(us.dli_fname, real)};
  for (size_t i = 0; i < 2; i++) {
    if (names[i] == NULL) continue;
    size_t n = strlen(names[i]);
    if (n > 3 && strcmp(names[i] + n - 3, ".so") == 0) n -= 3;
    if (snprintf(s->path, sizeof s->path, "%.*s.conf", (int)n, names[i]) >= (int)sizeof s->path) continue;
    FILE *f = fopen(s->path, "re");
    if (f != NULL) return f;
  }
  return NULL;
}

static void read_file(struct settings *s)
{
  const char *named = secure_getenv("P11FAULTY_CONF");
  FILE *f;
  if (named != NULL && *named != 0) {
    snprintf(s->path, sizeof s->path, "%s", named);
    f = fopen(s->path, "re");
    if (f == NULL) snprintf(s->problem, sizeof s->problem, "P11FAULTY_CONF: %s: %s", s->path, strerrordesc_np(errno));
  } else {
    f = open_beside(s);
  }
  if (f == NULL) return;
  s->text[fread(s->text, 1, sizeof s->text - 1, f)] = 0;
  fclose(f);
  parse_file(s);
}

/* The environment goes before the file. */
static void read_settings(struct settings *s)
{
  memset(s, 0, sizeof *s);
  read_file(s);
  const char *module = secure_getenv("P11FAULTY_MODULE"), *faults = secure_getenv("P11FAULTY");
  if (module != NULL && *module != 0) s->module = module;
  if (faults != NULL && *faults != 0) s->faults = faults;
  if (s->faults == NULL) s->faults = "";
}

static struct flt_set *make_set(const struct settings *s)
{
  struct flt_set *set = calloc(1, sizeof *set);
  if (set == NULL) return NULL;
  set->text = strdup(s->faults);
  if (set->text == NULL) {
    free(set);
    return NULL;
  }
  if (s->problem[0] != 0)
    snprintf(set->problem, sizeof set->problem, "%.500s", s->problem);
  else
    flt_parse(set);
  if (set->problem[0] != 0) set->count = 0;
  return set;
}

/* A set that nobody has seen. */
static void drop_set(struct flt_set *set)
{
  free(set->text);
  free(set);
}

/* Makes a set current, unless it is as the current one. A problem is told once. */
static void publish(struct flt_set *set)
{
  const struct flt_set *now = flt_current();
  if (now != NULL && strcmp(now->text, set->text) == 0 && strcmp(now->problem, set->problem) == 0) {
    drop_set(set);
    return;
  }
  if (set->problem[0] != 0) fprintf(stderr, "p11faulty: %s\n", set->problem);
  flt_state_reset();
  flt_calls_reset();
  atomic_store(&current, set);
}

CK_RV flt_configure(void)
{
  static struct settings s;
  const int before = errno; /* a host may look at the one that the target leaves */
  CK_RV rv = CKR_OK;
  pthread_mutex_lock(&mutex);
  read_settings(&s);
  if (s.module == NULL) {
    fprintf(stderr, "p11faulty: no target: set P11FAULTY_MODULE, or `module = PATH` in %s\n",
            s.path[0] != 0 ? s.path : "NAME.conf beside NAME.so");
    rv = CKR_GENERAL_ERROR;
  } else {
    rv = flt_load(s.module);
  }
  if (rv == CKR_OK) {
    struct flt_set *set = make_set(&s);
    if (set != NULL)
      publish(set);
    else
      rv = CKR_HOST_MEMORY;
  }
  pthread_mutex_unlock(&mutex);
  errno = before;
  return rv;
}
