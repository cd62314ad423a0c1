/* Reading the settings. */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/paths.h"
#include "config/words.h"
#include "core/module.h"
#include "pkcs11.h"

enum kind { A_PATH, A_NUMBER, A_WORD, A_SWITCH };

struct setting {
  const char *name;
  enum kind kind;
  size_t offset;     /* in struct tok_config */
  const char *words; /* of a WORD: its values; of a PATH: the default */
  unsigned least, most, initial;
};

/* clang-format off */
static const struct setting settings[] = {
#define PATH(member, name, initial) {name, A_PATH, offsetof(struct tok_config, member), initial, 0, 0, 0},
#define NUMBER(member, name, least, most, initial) \
  {name, A_NUMBER, offsetof(struct tok_config, member), NULL, least, most, initial},
#define WORD(member, name, words, initial) {name, A_WORD, offsetof(struct tok_config, member), words, 0, 0, initial},
#define SWITCH(member, name, initial) {name, A_SWITCH, offsetof(struct tok_config, member), NULL, 0, 0, initial},
#include "config/token_settings.def"
#undef PATH
#undef NUMBER
#undef WORD
#undef SWITCH
};
/* clang-format on */
#define SETTINGS (sizeof settings / sizeof settings[0])
_Static_assert(sizeof(enum tok_spare) == sizeof(unsigned), "WORD settings are stored as unsigned");

/* Where a setting was read, for messages and relative paths. */
struct place {
  struct tok_config *config;
  char where[PATH_MAX + 32]; /* "/etc/x.conf, line 3", "parameters" */
  const char *base;          /* of relative paths; NULL: the current directory */
  CK_RV code;                /* of an error here */
  char *why;
  size_t why_size;
};

static CK_RV complain(const struct place *at, const char *format, ...) __attribute__((format(printf, 2, 3)));
static CK_RV complain(const struct place *at, const char *format, ...)
{
  va_list ap;
  int n = snprintf(at->why, at->why_size, "%s: ", at->where);
  va_start(ap, format);
  if (n >= 0 && (size_t)n < at->why_size) vsnprintf(at->why + n, at->why_size - (size_t)n, format, ap);
  va_end(ap);
  return at->code;
}

/* --- one setting ------------------------------------------------------------------------------------------------ */

static void *member(struct tok_config *config, const struct setting *s)
{
  return (char *)config + s->offset;
}

static CK_RV set_path(const struct place *at, const struct setting *s, const char *value)
{
  char why[200], **to = member(at->config, s);
  char *path = tok_path_expand(value, at->base, why, sizeof why);
  if (path == NULL) return complain(at, "%s: %s", s->name, why);
  free(*to);
  *to = path;
  return CKR_OK;
}

static CK_RV set_number(const struct place *at, const struct setting *s, const char *value)
{
  char *end = NULL;
  errno = 0;
  unsigned long n = isdigit((unsigned char)value[0]) ? strtoul(value, &end, 10) : 0;
  if (end == NULL || *end != '\0' || errno != 0 || n < s->least || n > s->most)
    return complain(at, "%s must be a number from %u to %u, not '%s'", s->name, s->least, s->most, value);
  *(unsigned *)member(at->config, s) = (unsigned)n;
  return CKR_OK;
}

static CK_RV set_word(const struct place *at, const struct setting *s, const char *value)
{
  size_t len = strlen(value);
  unsigned place = 0;
  for (const char *w = s->words; *w != '\0'; place++) {
    size_t n = strcspn(w, " ");
    if (n == len && memcmp(w, value, n) == 0) {
      *(unsigned *)member(at->config, s) = place;
      return CKR_OK;
    }
    w += n;
    w += strspn(w, " ");
  }
  return complain(at, "%s must be one of %s, not '%s'", s->name, s->words, value);
}

static CK_RV set_switch(const struct place *at, const struct setting *s, const char *value)
{
  static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (strcmp(value, words[i]) == 0) {
      *(bool *)member(at->config, s) = i % 2 == 1;
      return CKR_OK;
    }
  }
  return complain(at, "%s must be on or off, not '%s'", s->name, value);
}

/* Parameters that NSS gives to its own module: seen when the wrong library stands in an entry of pkcs11.txt. */
static bool is_softokens(const char *name)
{
  static const char *const names[] = {"configdir",
                                      "certPrefix",
                                      "keyPrefix",
                                      "secmod",
                                      "flags",
                                      "updatedir",
                                      "updateid",
                                      "minPWLen",
                                      "manufacturerID",
                                      "libraryDescription",
                                      "cryptoTokenDescription"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcasecmp(name, names[i]) == 0) return true;
  return false;
}

static CK_RV unknown(const struct place *at, const char *name)
{
  char all[256] = "";
  size_t used = 0;
  if (is_softokens(name))
    return complain(at,
                    "'%s' is a parameter of NSS's softoken, not of p11token: take these parameters out, or name the "
                    "module they belong to",
                    name);
  for (size_t i = 0; i < SETTINGS && used < sizeof all; i++)
    used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i > 0 ? " " : "", settings[i].name);
  return complain(at, "there is no setting '%s'; there are: %s", name, all);
}

static CK_RV set(const struct place *at, const char *name, const char *value)
{
  for (size_t i = 0; i < SETTINGS; i++) {
    const struct setting *s = &settings[i];
    if (strcmp(s->name, name) != 0) continue;
    switch (s->kind) {
      case A_PATH: return set_path(at, s, value);
      case A_NUMBER: return set_number(at, s, value);
      case A_WORD: return set_word(at, s, value);
      case A_SWITCH: return set_switch(at, s, value);
    }
  }
  return unknown(at, name);
}

static void set_defaults(struct tok_config *config)
{
  for (size_t i = 0; i < SETTINGS; i++) {
    const struct setting *s = &settings[i];
    if (s->kind == A_SWITCH)
      *(bool *)member(config, s) = s->initial != 0;
    else if (s->kind != A_PATH)
      *(unsigned *)member(config, s) = s->initial;
  }
}

/* Paths that nobody has set: at the end, so that a user without a home needs none if everything is named. */
static CK_RV set_default_paths(const struct place *at)
{
  CK_RV rv = CKR_OK;
  for (size_t i = 0; i < SETTINGS && rv == CKR_OK; i++)
    if (settings[i].kind == A_PATH && *(char **)member(at->config, &settings[i]) == NULL)
      rv = set_path(at, &settings[i], settings[i].words);
  return rv;
}

/* --- the file --------------------------------------------------------------------------------------------------- */

#define MOST_BYTES 65536

static CK_RV check_file(const struct place *at, int fd)
{
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return complain(at, "is not a regular file");
  if ((st.st_mode & S_IWOTH) != 0)
    return complain(at, "anyone may write it (mode %03o), so it is not used: chmod o-w it", st.st_mode & 0777u);
  if (getauxval(AT_SECURE) != 0 && st.st_uid != 0 && st.st_uid != geteuid())
    return complain(at, "in a set-id program it must belong to root or to the effective user");
  return CKR_OK;
}

static CK_RV read_lines(struct place *at, const char *path, char *text)
{
  CK_RV rv = CKR_OK;
  unsigned number = 0;
  for (char *line = text, *next; line != NULL && rv == CKR_OK; line = next) {
    char *name, *value;
    const char *problem;
    next = strchr(line, '\n');
    if (next != NULL) *next++ = '\0';
    snprintf(at->where, sizeof at->where, "%s, line %u", path, ++number);
    if (tok_line_split(line, &name, &value, &problem))
      rv = set(at, name, value);
    else if (problem != NULL)
      rv = complain(at, "'%.100s' %s", name, problem);
  }
  return rv;
}

/* Reads a file; `must` it be there? */
static CK_RV read_file(struct place *at, const char *path, bool must)
{
  snprintf(at->where, sizeof at->where, "%s", path);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0 && !must && (errno == ENOENT || errno == ENOTDIR || errno == EACCES)) return CKR_OK;
  if (fd < 0) return complain(at, "cannot be read: %s", strerrordesc_np(errno));
  char *text = tok_alloc(MOST_BYTES);
  CK_RV rv = text != NULL ? check_file(at, fd) : CKR_HOST_MEMORY;
  size_t n = 0;
  ssize_t r = 0;
  while (rv == CKR_OK && n < MOST_BYTES - 1 && (r = read(fd, text + n, MOST_BYTES - 1 - n)) > 0) n += (size_t)r;
  if (rv == CKR_OK && r < 0) rv = complain(at, "cannot be read: %s", strerrordesc_np(errno));
  if (rv == CKR_OK && n == MOST_BYTES - 1) rv = complain(at, "is longer than %d bytes", MOST_BYTES - 2);
  if (rv == CKR_OK && memchr(text, '\0', n) != NULL) rv = complain(at, "is not text: there is a NUL in it");
  if (rv == CKR_OK) rv = read_lines(at, path, text);
  free(text);
  close(fd);
  return rv;
}

/* P11TOKEN_CONF, or the user's own file. */
static CK_RV read_configured(struct place *at)
{
  const char *named = tok_env("P11TOKEN_CONF");
  char why[200];
  snprintf(at->where, sizeof at->where, "%s", named != NULL ? "P11TOKEN_CONF" : "settings");
  char *path =
      tok_path_expand(named != NULL ? named : "$XDG_CONFIG_HOME/p11token/p11token.conf", NULL, why, sizeof why);
  if (path == NULL) return named != NULL ? complain(at, "%s", why) : CKR_OK; /* no home: no file */
  char *folder = tok_dup(path, strlen(path) + 1), *slash = folder != NULL ? strrchr(folder, '/') : NULL;
  if (slash != NULL) slash[slash == folder] = '\0';
  at->base = folder;
  CK_RV rv = folder != NULL ? read_file(at, path, named != NULL) : CKR_HOST_MEMORY;
  at->base = NULL;
  free(folder);
  free(path);
  return rv;
}

/* --- the rest --------------------------------------------------------------------------------------------------- */

static CK_RV read_environment(struct place *at)
{
  const char *directory = tok_env("P11TOKEN_DIR");
  snprintf(at->where, sizeof at->where, "P11TOKEN_DIR");
  return directory != NULL ? set(at, "directory", directory) : CKR_OK;
}

static CK_RV read_parameters(struct place *at, const char *parameters)
{
  if (parameters == NULL) return CKR_OK;
  char *copy = tok_dup(parameters, strlen(parameters) + 1), *text = copy, *name, *value;
  const char *problem;
  if (copy == NULL) return CKR_HOST_MEMORY;
  CK_RV rv = CKR_OK;
  snprintf(at->where, sizeof at->where, "parameters");
  at->code = CKR_ARGUMENTS_BAD;
  while (rv == CKR_OK && tok_word_next(&text, &name, &value, &problem)) rv = set(at, name, value);
  if (rv == CKR_OK && problem != NULL) rv = complain(at, "'%.100s' %s", name, problem);
  at->code = CKR_GENERAL_ERROR;
  free(copy);
  return rv;
}

unsigned long tok_config_read(const char *parameters, struct tok_config **config, char *why, size_t why_size)
{
  struct place at = {.config = tok_alloc(sizeof **config), .code = CKR_GENERAL_ERROR, .why = why, .why_size = why_size};
  *config = NULL;
  if (why_size > 0) why[0] = '\0';
  if (at.config == NULL) return CKR_HOST_MEMORY;
  set_defaults(at.config);
  CK_RV rv = read_configured(&at);
  if (rv == CKR_OK) rv = read_environment(&at);
  if (rv == CKR_OK) rv = read_parameters(&at, parameters);
  snprintf(at.where, sizeof at.where, rv == CKR_OK ? "settings" : "");
  if (rv == CKR_OK) rv = set_default_paths(&at);
  if (rv == CKR_OK)
    *config = at.config;
  else
    tok_config_free(at.config);
  return rv;
}

void tok_config_free(struct tok_config *config)
{
  if (config == NULL) return;
  for (size_t i = 0; i < SETTINGS; i++)
    if (settings[i].kind == A_PATH) free(*(char **)member(config, &settings[i]));
  free(config);
}
