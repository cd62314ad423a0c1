#include "decoder/cmd/settings_options.h"

#include <stdio.h>
#include <string.h>

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
