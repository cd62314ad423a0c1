#include "decoder/filter/filter_option.h"

#include <stdlib.h>

#define EXIT_MISUSE 2

void filter_option_expression(const char *verb, struct filter *filter, const char *expression)
{
  struct filter_error error;
  if (filter_add(filter, expression, &error)) return;
  filter_complain(verb, expression, &error);
  exit(EXIT_MISUSE);
}

void filter_option_calls(const char *verb, struct filter *filter, const char *set)
{
  struct filter_error error;
  if (filter_add_calls(filter, set, &error)) return;
  filter_complain(verb, set, &error);
  exit(EXIT_MISUSE);
}
