/* The links that are text: the library, its .conf, the environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "decoder/doctor/doctor.h"
#include "decoder/seal/seal.h"
#include "decoder/wrap/wrap.h"
#include "shim/spec/settings.h"

extern char **environ;

const char *doctor_setting(const struct doctor *d, const char *name, const char **where)
{
  const int k = p11_setting_find(name);
  const char *value = k >= 0 ? getenv(p11_settings[k].variable) : NULL;
  if (value != NULL && value[0] != '\0') {
    *where = p11_settings[k].variable;
    return value;
  }
  *where = d->conf.path;
  return d->has_conf ? p11t_conf_get(&d->conf, name) : NULL;
}

/* The library that the host is given must be ours. */
static bool look_at_library(const struct doctor *d)
{
  struct stat st;
  if (stat(d->library, &st) != 0) {
    doctor_bad("library", d->library, "%s: `p11trace wrap` makes a traced copy of a module", strerror(errno));
    return false;
  }
  if (!wrap_is_traced_copy(d->library)) {
    doctor_bad("library", d->library, "is not a traced copy, so nothing that uses it is traced: run `p11trace wrap %s`",
               d->library);
    return false;
  }
  doctor_good("library", d->library, "is a traced copy");
  return true;
}

static void look_at_conf(struct doctor *d)
{
  d->has_conf = p11t_conf_read(d->library, &d->conf);
  if (!d->has_conf) {
    doctor_bad("settings", d->conf.path, "%s%s", d->conf.problem,
               strstr(d->conf.problem, "chmod") != NULL ? "" : ": run `p11trace wrap` again");
    return;
  }
  doctor_good("settings", d->conf.path, "read, %zu settings", d->conf.count);
  for (size_t i = 0; i < d->conf.count; i++) {
    const char *name = d->conf.entry[i].name, *value = d->conf.entry[i].value;
    if (strcmp(name, "module") == 0 || strcmp(name, "recorder") == 0) continue;
    const int k = p11_setting_find(name);
    const char *allowed = k >= 0 ? p11_setting_problem(&p11_settings[k], value) : NULL;
    if (k < 0) {
      doctor_bad("settings", d->conf.path, "no option is called %s: take the line out", name);
    } else if (allowed != NULL) {
      doctor_bad("settings", d->conf.path, "%s = %s is not understood: give %s", name, value, allowed);
    } else {
      doctor_good("settings", d->conf.path, "%s = %s", name, value);
    }
  }
}

static void look_at_environment(const struct doctor *d)
{
  for (char **e = environ; *e != NULL; e++) {
    if (strncmp(*e, "P11TRACE_", 9) != 0) continue;
    char name[64];
    const char *equals = strchr(*e, '=');
    if (equals == NULL || equals[1] == '\0') continue;
    snprintf(name, sizeof name, "%.*s", (int)(equals - *e), *e);
    size_t i = 0;
    while (i < P11_SETTINGS && strcmp(p11_settings[i].variable, name) != 0) i++;
    if (i == P11_SETTINGS) {
      if (strcmp(name, "P11TRACE_MODULE") != 0) doctor_note("environment", name, "is not one that the recorder knows");
      if (strcmp(name, "P11TRACE_MODULE") == 0 && d->library != NULL) {
        doctor_note("environment", name,
                    "counts only where libp11trace.so itself is the module, not for a traced copy");
      }
      continue;
    }
    const char *allowed = p11_setting_problem(&p11_settings[i], equals + 1);
    if (allowed != NULL) {
      doctor_bad("environment", name, "%s is not understood: give %s", equals + 1, allowed);
    } else {
      doctor_good("environment", name, "%s (set here; the traced program needs it too)", equals + 1);
    }
  }
}

/* What capture=full seals to must be there for the recorder, which else goes back to capture=safe. */
static void look_at_sealing(const struct doctor *d)
{
  const char *where, *from, *capture = doctor_setting(d, "capture", &where),
                            *path = doctor_setting(d, "seal-to", &from);
  uint8_t key[P11T_SEAL_KEY];
  char name[SEAL_NAME];
  const bool full = capture != NULL && strcmp(capture, "full") == 0;
  if (path == NULL || path[0] == '\0') {
    if (full)
      doctor_bad("settings", where,
                 "capture = full needs seal-to, and without it is capture = safe: `p11trace keygen` makes a key pair");
    return;
  }
  const char *problem = seal_public_problem(path, key);
  if (problem != NULL) {
    doctor_bad("settings", from, "seal-to = %s: %s", path, problem);
    return;
  }
  seal_name(key, name);
  if (full || (capture != NULL && strcmp(capture, "clear") == 0))
    doctor_good("settings", path, "is a public key, %s", name);
  else
    doctor_note("settings", path, "is a public key, %s, that nothing is sealed to: that takes capture = full", name);
}

void doctor_look_at_settings(struct doctor *d)
{
  if (d->library != NULL && look_at_library(d)) look_at_conf(d);
  look_at_environment(d);
  look_at_sealing(d);
  const char *where, *off = doctor_setting(d, "off", &where);
  if (off != NULL && (strcmp(off, "on") == 0 || strcmp(off, "1") == 0 || strcmp(off, "yes") == 0)) {
    doctor_bad("settings", where, "`off` is on, so everything is passed through: take it out");
  }
}
