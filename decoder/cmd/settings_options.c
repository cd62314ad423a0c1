#include "decoder/cmd/settings_options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/cmd/cmd.h"
#include "decoder/seal/seal.h"

void settings_options(struct argp_option *to, int first_key, const char *heading, int group)
{
  *to++ = (struct argp_option){.doc = heading, .group = group};
  for (int i = 0; i < P11_SETTINGS; i++) {
    *to++ = (struct argp_option){.name = p11_settings[i].name,
                                 .key = first_key + i,
                                 .arg = p11_settings[i].metavar,
                                 .doc = p11_settings[i].help,
                                 .group = group};
  }
  *to = (struct argp_option){0};
}

bool settings_accept(size_t which, const char *value, char *problem, size_t size)
{
  const struct p11_setting *s = &p11_settings[which];
  const char *allowed;
  if (value[0] == '\0')
    snprintf(problem, size, "empty value: %s: leave the option out for the default", s->name);
  else if (strpbrk(value, "\r\n") != NULL)
    snprintf(problem, size, "line break in a value: %s: values are single lines", s->name);
  else if ((allowed = p11_setting_problem(s, value)) != NULL)
    snprintf(problem, size, "not understood: %s: --%s takes %s", value, s->name, allowed);
  else
    return true;
  return false;
}

void settings_seal(const char *who, const char *capture, const char **seal_to, char real[PATH_MAX])
{
  uint8_t key[P11T_SEAL_KEY];
  const char *problem = NULL;
  if (*seal_to == NULL) {
    if (capture == NULL || strcmp(capture, "full") != 0) return;
    fprintf(
        stderr,
        "%s: --capture full needs --seal-to FILE, the public key that everything is sealed to: `p11trace keygen` makes "
        "one\n",
        who);
    exit(EXIT_COULD_NOT);
  }
  problem = seal_public_problem(*seal_to, key);
  if (problem == NULL && realpath(*seal_to, real) == NULL) problem = strerror(errno);
  if (problem != NULL) {
    fprintf(stderr, "%s: --seal-to %s: %s\n", who, *seal_to, problem);
    exit(EXIT_COULD_NOT);
  }
  if (strpbrk(real, "\r\n") != NULL) {
    fprintf(stderr, "%s: --seal-to %s: its path has a line break in it: put it elsewhere\n", who, *seal_to);
    exit(EXIT_COULD_NOT);
  }
  *seal_to = real;
}
