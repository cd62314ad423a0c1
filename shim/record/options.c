#include "shim/record/options.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/record/say.h"
#include "shim/spec/callset.h"
#include "shim/spec/spec.h"

struct p11t_options p11t_options = {
    .capture = P11T_CAPTURE_SAFE,
    .stack = P11T_STACK_CALLER,
    .cut = P11T_CUT_DEFAULT,
    .min_free = UINT64_MAX,
    .only = {UINT64_MAX, UINT64_MAX},
};

/* Bytes with an optional K, M, G or T (powers of 1024). */
static bool parse_size(const char *text, uint64_t *size)
{
  char *end;
  if (!isdigit((unsigned char)*text)) return false;
  unsigned long long n = strtoull(text, &end, 10);
  unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : *end == 'T' ? 40 : 0;
  if (*end != 0 && (shift == 0 || end[1] != 0)) return false;
  if (n > UINT64_MAX >> shift) return false;
  *size = (uint64_t)n << shift;
  return true;
}

static bool parse_path(const char *text, char to[PATH_MAX])
{
  return snprintf(to, PATH_MAX, "%s", text) < PATH_MAX;
}

static bool parse_switch(const char *text, bool *to)
{
  if (strcmp(text, "on") == 0 || strcmp(text, "1") == 0 || strcmp(text, "yes") == 0)
    *to = true;
  else if (strcmp(text, "off") == 0 || strcmp(text, "0") == 0 || strcmp(text, "no") == 0)
    *to = false;
  else
    return false;
  return true;
}

static bool set_out(const char *v)
{
  return parse_path(v, p11t_options.out);
}
static bool set_live(const char *v)
{
  return parse_path(v, p11t_options.live);
}
static bool set_cut(const char *v)
{
  return parse_size(v, &p11t_options.cut);
}
static bool set_min_free(const char *v)
{
  return parse_size(v, &p11t_options.min_free);
}
static bool set_cmdline(const char *v)
{
  return parse_switch(v, &p11t_options.cmdline);
}
static bool set_off(const char *v)
{
  return parse_switch(v, &p11t_options.off);
}
static bool set_only(const char *v)
{
  struct p11_callset set;
  struct p11_callset_error error;
  if (!p11_callset_parse(v, strlen(v), &set, &error)) return false;
  memcpy(p11t_options.only, set.word, sizeof p11t_options.only);
  return true;
}

static bool set_capture(const char *v)
{
  if (strcmp(v, "meta") == 0)
    p11t_options.capture = P11T_CAPTURE_META;
  else if (strcmp(v, "safe") == 0)
    p11t_options.capture = P11T_CAPTURE_SAFE;
  else if (strcmp(v, "clear") == 0)
    p11t_options.capture = P11T_CAPTURE_CLEAR;
  else
    return false;
  return true;
}

static bool set_stack(const char *v)
{
  if (strcmp(v, "off") == 0)
    p11t_options.stack = P11T_STACK_OFF;
  else if (strcmp(v, "caller") == 0)
    p11t_options.stack = P11T_STACK_CALLER;
  else
    return false;
  return true;
}

static const struct {
  const char *name, *variable, *values;
  bool (*set)(const char *value);
} table[] = {
    {"out",      "P11TRACE_OUT",      "a file name (%p %e %m %t) or a folder",     set_out     },
    {"live",     "P11TRACE_LIVE",     "a folder",                                  set_live    },
    {"capture",  "P11TRACE_CAPTURE",  "meta, safe or clear",                       set_capture },
    {"stack",    "P11TRACE_STACK",    "off or caller",                             set_stack   },
    {"cut",      "P11TRACE_CUT",      "a size such as 64K or 1M",                  set_cut     },
    {"min-free", "P11TRACE_MIN_FREE", "a size such as 500M or 1G",                 set_min_free},
    {"only",     "P11TRACE_ONLY",     "functions such as %session,!C_GetSlotInfo", set_only    },
    {"cmdline",  "P11TRACE_CMDLINE",  "on or off",                                 set_cmdline },
    {"off",      "P11TRACE_OFF",      "on or off",                                 set_off     },
};

bool p11t_option_set(const char *name, const char *value, const char *where)
{
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (strcmp(table[i].name, name) != 0) continue;
    if (table[i].set(value)) return true;
    p11t_say("%s: %s=%s is not understood: give %s", where, name, value, table[i].values);
    return false;
  }
  p11t_say("%s: no option is called %s", where, name);
  return false;
}

void p11t_options_from_environment(void)
{
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    const char *value = secure_getenv(table[i].variable);
    if (value != NULL && *value != 0) p11t_option_set(table[i].name, value, table[i].variable);
  }
}
