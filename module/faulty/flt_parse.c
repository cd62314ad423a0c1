/* The language of P11FAULTY: name[=value][@[C_Function:]FIRST[-LAST]]... , ... */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "faulty/faulty_part.h"

static const struct flt_fault *fault_by_name(const char *name)
{
  for (size_t i = 0; i < flt_faults_count; i++)
    if (strcmp(flt_faults[i].name, name) == 0) return &flt_faults[i];
  return NULL;
}

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

/* How many letters must be put in, left out or changed. */
static size_t distance(const char *a, const char *b)
{
  enum { LONGEST = 64 };
  size_t row[LONGEST + 1];
  const size_t width = smaller(strlen(b), LONGEST);
  for (size_t j = 0; j <= width; j++) row[j] = j;
  for (size_t i = 0; a[i] != 0; i++) {
    size_t corner = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < width; j++) {
      const size_t change = corner + (a[i] != b[j]);
      corner = row[j + 1];
      row[j + 1] = smaller(change, smaller(row[j], row[j + 1]) + 1);
    }
  }
  return row[width];
}

static bool begins_alike(const char *a, const char *b)
{
  const size_t word = strcspn(a, "-");
  return word >= 3 && strncmp(a, b, word) == 0;
}

static bool unknown(struct flt_set *set, const char *name)
{
  char *to = set->problem;
  const size_t room = sizeof set->problem;
  size_t n = (size_t)snprintf(to, room, "there is no fault `%.80s`", name);
  const char *separator = "; near to it: ";
  for (size_t i = 0; i < flt_faults_count && n < room - 80; i++) {
    const char *other = flt_faults[i].name;
    if (distance(name, other) > 1 + strlen(name) / 4 && !begins_alike(name, other)) continue;
    n += (size_t)snprintf(to + n, room - n, "%s%s", separator, other);
    separator = ", ";
  }
  return false;
}

__attribute__((format(printf, 2, 3))) static bool wrong(struct flt_set *set, const char *format, ...)
{
  va_list list;
  va_start(list, format);
  vsnprintf(set->problem, sizeof set->problem, format, list);
  va_end(list);
  return false;
}

static bool number(const char *text, unsigned long *value)
{
  char *end;
  *value = strtoul(text, &end, 0);
  return *text >= '0' && *text <= '9' && *end == 0;
}

static bool parse_limit(struct flt_set *set, struct flt_active *active, char *text)
{
  if (active->limits == FLT_LIMITS) return wrong(set, "%s: more than %d limits", active->fault->name, FLT_LIMITS);
  struct flt_limit limit = {P11_F_ANY, 0, (unsigned long)-1};
  char *colon = strchr(text, ':'), *numbers = colon != NULL ? colon + 1 : text;
  if (colon != NULL) {
    *colon = 0;
    limit.function = p11_function_by_name(text);
    if (limit.function < 0) return wrong(set, "%s@%s: there is no function of that name", active->fault->name, text);
    if (active->by_function[limit.function].run == NULL)
      return wrong(set, "%s does not touch %s", active->fault->name, text);
  }
  char *dash = strchr(numbers, '-');
  if (dash != NULL) *dash = 0;
  const bool good = number(numbers, &limit.first) && (dash == NULL || number(dash + 1, &limit.last));
  if (!good || limit.first == 0 || limit.last < limit.first)
    return wrong(set, "%s: after @ stands the number of a call from 1, or FIRST-LAST", active->fault->name);
  active->limit[active->limits++] = limit;
  return true;
}

/* rv=C_Sign:CKR_DEVICE_ERROR  delay=C_Login:5000  crash=C_Sign  hang=C_Sign[:forever] */
static bool parse_generic(struct flt_set *set, struct flt_active *active, char *value)
{
  const char *name = active->fault->name;
  if (value == NULL) return wrong(set, "%s needs a function: %s=C_Sign", name, name);
  char *colon = strchr(value, ':'), *detail = colon != NULL ? colon + 1 : NULL;
  if (colon != NULL) *colon = 0;
  const int function = p11_function_by_name(value);
  if (function < 0) return wrong(set, "%s=%s: there is no function of that name", name, value);
  uint64_t code = 0;
  unsigned long plain = 0;
  if (strcmp(name, "rv") == 0) {
    if (detail == NULL || (!p11_constant_value(detail, &code) && !number(detail, &plain)))
      return wrong(set, "rv=%s:%s: a return code is wanted, by name or number", value, detail != NULL ? detail : "");
    active->value = code != 0 ? code : plain;
  } else if (strcmp(name, "delay") == 0) {
    if (detail == NULL || !number(detail, &plain)) return wrong(set, "delay=%s: milliseconds are wanted", value);
    active->value = plain;
  } else if (detail != NULL) {
    if (strcmp(name, "hang") != 0 || strcmp(detail, "forever") != 0)
      return wrong(set, "%s=%s:%s: only hang can be :forever", name, value, detail);
    active->value = 1;
  }
  active->has_value = true;
  active->by_function[function].run = active->fault->hooks[0].run;
  active->by_function[function].any = true;
  return true;
}

/* ANY leaves alone what comes before C_Initialize. */
static void take_hooks(struct flt_active *active)
{
  for (size_t h = 0; h < active->fault->count; h++) {
    const struct flt_hook *hook = &active->fault->hooks[h];
    if (hook->function != P11_F_ANY) {
      active->by_function[hook->function].run = hook->run;
      active->by_function[hook->function].any = false;
      continue;
    }
    for (size_t f = 0; f < P11_FUNCTIONS; f++) {
      if (f == P11_F_C_GetFunctionList || f == P11_F_C_GetInterfaceList || f == P11_F_C_GetInterface ||
          f == P11_F_C_Initialize || active->by_function[f].run != NULL)
        continue;
      active->by_function[f].run = hook->run;
      active->by_function[f].any = true;
    }
  }
}

static bool parse_one(struct flt_set *set, char *text)
{
  char *limits = strchr(text, '@');
  if (limits != NULL) *limits++ = 0;
  char *value = strchr(text, '=');
  if (value != NULL) *value++ = 0;
  if (strcmp(text, "none") == 0 && value == NULL && limits == NULL) return true;
  if (set->count == FLT_ACTIVE_MAX) return wrong(set, "more than %d faults at once", FLT_ACTIVE_MAX);
  struct flt_active *active = &set->active[set->count];
  active->fault = fault_by_name(text);
  if (active->fault == NULL) return unknown(set, text);
  if (active->fault->rule[0] == 0) {
    if (!parse_generic(set, active, value)) return false;
  } else {
    unsigned long plain = 0;
    /* The text of a fault says of it what N is, if it takes one. */
    if (value != NULL && strstr(active->fault->text, "=N") == NULL)
      return wrong(set, "%s=%s: this fault takes no number", text, value);
    if (value != NULL && !number(value, &plain)) return wrong(set, "%s=%s: a number is wanted", text, value);
    active->value = plain;
    active->has_value = value != NULL;
    take_hooks(active);
  }
  for (char *next; limits != NULL; limits = next) {
    next = strchr(limits, '@');
    if (next != NULL) *next++ = 0;
    if (!parse_limit(set, active, limits)) return false;
  }
  set->count++;
  return true;
}

bool flt_parse(struct flt_set *set)
{
  char *copy = strdup(set->text), *rest = copy;
  if (copy == NULL) return wrong(set, "no memory");
  bool good = true, any = false;
  for (char *one; good && (one = strsep(&rest, ",")) != NULL;) {
    one += strspn(one, " \t");
    one[strcspn(one, " \t\n")] = 0;
    if (*one == 0) continue;
    any = true;
    good = parse_one(set, one);
  }
  if (!any)
    good = wrong(set, "no fault is named: set P11FAULTY, or `faults = ...` in the file; `none` is the healthy module");
  free(copy);
  return good;
}
