#include "shim/load/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

static bool name_for(const char *library, char to[PATH_MAX])
{
  size_t n = strlen(library);
  if (n > 3 && strcmp(library + n - 3, ".so") == 0) n -= 3;
  return snprintf(to, PATH_MAX, "%.*s.conf", (int)n, library) < PATH_MAX;
}

/* Opens the file beside the library, or beside the library's real place. */
static int open_beside(const char *library, struct p11t_conf *conf)
{
  char real[PATH_MAX], other[PATH_MAX];
  if (!name_for(library, conf->path)) return -1;
  int fd = open(conf->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd >= 0 || errno != ENOENT || realpath(library, real) == NULL || !name_for(real, other)) return fd;
  fd = open(other, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd >= 0) strcpy(conf->path, other);
  return fd;
}

static bool is_trusted(int fd, const char *library, struct p11t_conf *conf)
{
  struct stat file, owner;
  if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode)) {
    snprintf(conf->problem, sizeof conf->problem, "is not a regular file");
    return false;
  }
  if (file.st_mode & 022) {
    snprintf(conf->problem, sizeof conf->problem, "others may write it (mode %03o), so it is not used: chmod go-w it",
             file.st_mode & 0777u);
    return false;
  }
  if (getauxval(AT_SECURE) != 0 && file.st_uid != 0 && (stat(library, &owner) != 0 || owner.st_uid != file.st_uid)) {
    snprintf(conf->problem, sizeof conf->problem,
             "in a set-id program it must belong to root or to the owner of %.100s", library);
    return false;
  }
  return true;
}

static bool slurp(int fd, struct p11t_conf *conf)
{
  size_t n = 0;
  for (ssize_t r; (r = read(fd, conf->text + n, sizeof conf->text - 1 - n)) > 0;) n += (size_t)r;
  conf->text[n] = 0;
  if (n < sizeof conf->text - 1) return true;
  snprintf(conf->problem, sizeof conf->problem, "is longer than %zu bytes", sizeof conf->text - 2);
  return false;
}

static char *trim(char *s)
{
  while (*s == ' ' || *s == '\t') s++;
  size_t n = strlen(s);
  while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r')) s[--n] = 0;
  return s;
}

static bool parse(struct p11t_conf *conf)
{
  unsigned number = 0;
  for (char *line = conf->text, *next; line != NULL; line = next) {
    number++;
    next = strchr(line, '\n');
    if (next) *next++ = 0;
    line = trim(line);
    if (*line == 0 || *line == '#') continue;
    char *equals = strchr(line, '=');
    if (equals == NULL || conf->count == P11T_CONF_ENTRIES) {
      snprintf(conf->problem, sizeof conf->problem, "line %u: %s", number,
               equals ? "too many settings" : "is not `name = value`");
      return false;
    }
    *equals = 0;
    conf->entry[conf->count].name = trim(line);
    conf->entry[conf->count].value = trim(equals + 1);
    conf->count++;
  }
  return true;
}

bool p11t_conf_read(const char *library, struct p11t_conf *conf)
{
  conf->count = 0;
  conf->problem[0] = conf->path[0] = 0;
  int fd = open_beside(library, conf);
  if (fd < 0) {
    snprintf(conf->problem, sizeof conf->problem, "cannot be read: %s", strerrordesc_np(errno));
    return false;
  }
  bool good = is_trusted(fd, library, conf) && slurp(fd, conf) && parse(conf);
  close(fd);
  return good;
}

const char *p11t_conf_get(const struct p11t_conf *conf, const char *name)
{
  for (size_t i = 0; i < conf->count; i++) {
    if (strcmp(conf->entry[i].name, name) == 0) return conf->entry[i].value;
  }
  return NULL;
}
