/* Paths of this user. */
#include "config/paths.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *tok_env(const char *name)
{
  const char *value = secure_getenv(name);
  return value != NULL && value[0] != '\0' ? value : NULL;
}

/* HOME, else what the system says of the effective user. */
static bool home(char to[PATH_MAX])
{
  const char *value = tok_env("HOME");
  struct passwd entry, *found = NULL;
  char room[4096];
  if (value == NULL && getpwuid_r(geteuid(), &entry, room, sizeof room, &found) == 0 && found != NULL)
    value = found->pw_dir;
  return value != NULL && value[0] == '/' && snprintf(to, PATH_MAX, "%s", value) < PATH_MAX;
}

/* The variables that may begin a path, and what they are if they are not set or not absolute (XDG base directories). */
static const struct {
  const char *name, *below_home; /* NULL: nothing */
} variables[] = {
    {"HOME",            ""             },
    {"XDG_DATA_HOME",   "/.local/share"},
    {"XDG_CONFIG_HOME", "/.config"     },
    {"XDG_STATE_HOME",  "/.local/state"},
    {"XDG_CACHE_HOME",  "/.cache"      },
    {"XDG_RUNTIME_DIR", NULL           },
};

/* What stands for `$name`, into `to`. */
static bool variable(const char *name, size_t len, char to[PATH_MAX], char *why, size_t why_size)
{
  size_t i = 0, count = sizeof variables / sizeof variables[0];
  while (i < count && (strlen(variables[i].name) != len || memcmp(variables[i].name, name, len) != 0)) i++;
  if (i == count) {
    snprintf(why, why_size, "$%.*s cannot be used: only $HOME and the $XDG_ variables can", (int)len, name);
    return false;
  }
  const char *value = tok_env(variables[i].name);
  if (value != NULL && value[0] == '/') return snprintf(to, PATH_MAX, "%s", value) < PATH_MAX;
  if (variables[i].below_home == NULL) {
    snprintf(why, why_size, "$%s is not set to an absolute path", variables[i].name);
    return false;
  }
  char at[PATH_MAX];
  if (home(at) && snprintf(to, PATH_MAX, "%s%s", at, variables[i].below_home) < PATH_MAX) return true;
  snprintf(why, why_size, "the user's home directory is not known: set HOME, or name an absolute path");
  return false;
}

/* The beginning of a path that is not to be taken as it is, into `to`; *rest is what follows it. */
static bool begin(const char *path, const char *base, char to[PATH_MAX], const char **rest, char *why, size_t why_size)
{
  *rest = path;
  to[0] = '\0';
  if (path[0] == '/') return true;
  if (path[0] == '~' && (path[1] == '/' || path[1] == '\0')) {
    *rest = path + 1;
    return variable("HOME", 4, to, why, why_size);
  }
  if (path[0] == '$') {
    size_t len = strcspn(path + 1, "/");
    *rest = path + 1 + len;
    return variable(path + 1, len, to, why, why_size);
  }
  if (base == NULL && getcwd(to, PATH_MAX - 1) == NULL) {
    snprintf(why, why_size, "the current directory is not known: name an absolute path");
    return false;
  }
  if (base != NULL && snprintf(to, PATH_MAX - 1, "%s", base) >= PATH_MAX - 1) to[0] = '\0';
  strcat(to, "/");
  return true;
}

char *tok_path_expand(const char *path, const char *base, char *why, size_t why_size)
{
  char first[PATH_MAX] = "";
  const char *rest;
  snprintf(why, why_size, "the path is too long");
  if (path[0] == '\0') {
    snprintf(why, why_size, "the path is empty");
    return NULL;
  }
  if (!begin(path, base, first, &rest, why, why_size)) return NULL;
  size_t len = strlen(first) + strlen(rest);
  if (len >= PATH_MAX) return NULL;
  char *all = malloc(len + 1);
  if (all == NULL) return NULL;
  strcpy(all, first);
  strcat(all, rest);
  while (len > 1 && all[len - 1] == '/') all[--len] = '\0';
  why[0] = '\0';
  return all;
}
