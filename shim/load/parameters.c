#include "shim/load/parameters.h"

#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "shim/load/sets.h"
#include "shim/record/options.h"
#include "shim/record/process.h"
#include "shim/record/say.h"
#include "shim/record/sys.h"

static const char prefix[] = "p11trace:";

static bool begins_with_ours(const char *text)
{
  for (size_t i = 0; i < sizeof prefix - 1; i++) {
    if ((i & 7) == 0 && !sys_readable(text + i)) return false;
    if (text[i] != prefix[i]) return false;
  }
  return true;
}

/* One word: up to a blank, with "..." and '...' in which blanks are kept. Returns what follows it. */
static const char *word(const char *text, char *to, size_t size)
{
  size_t n = 0;
  char quote = 0;
  while (*text == ' ' || *text == '\t') text++;
  for (; *text && (quote || (*text != ' ' && *text != '\t')); text++) {
    if (quote ? *text == quote : *text == '"' || *text == '\'') quote = quote ? 0 : *text;
    if (n < size - 1) to[n++] = *text;
  }
  to[n] = 0;
  return text;
}

static void unquote(char *s)
{
  char *to = s;
  for (; *s; s++) {
    if (*s != '"' && *s != '\'') *to++ = *s;
  }
  *to = 0;
}

static void apply(char *setting, struct p11t_parameters *own, bool apply_options)
{
  unquote(setting);
  char *equals = strchr(setting, '=');
  if (equals == NULL) {
    p11t_say("parameters: p11trace:%s: give p11trace:name=value", setting);
    return;
  }
  *equals = 0;
  if (strcmp(setting, "module") == 0)
    snprintf(own->module, sizeof own->module, "%s", equals + 1);
  else if (!apply_options)
    return;
  else if (getauxval(AT_SECURE) != 0 && (strcmp(setting, "capture") == 0 || strcmp(setting, "seal-to") == 0))
    p11t_say("parameters: %s: in a set-id program what is recorded is said in the .conf file only", setting);
  else if (p11t_process.phase == P11T_IDLE)
    p11t_option_set(setting, equals + 1, "parameters");
  else
    p11t_say("parameters: %s comes too late, the trace has begun: give it in the .conf file or as P11TRACE_...",
             setting);
}

bool p11t_parameters_cut(const void *pInitArgs, struct p11t_parameters *own, bool apply_options)
{
  const CK_C_INITIALIZE_ARGS *given = pInitArgs;
  if (given == NULL || given->pReserved == NULL || !begins_with_ours(given->pReserved)) return false;
  char piece[PATH_MAX + 64];
  size_t n = 0;
  own->module[0] = own->rest[0] = 0;
  for (const char *text = given->pReserved; *text;) {
    text = word(text, piece, sizeof piece);
    if (strncmp(piece, prefix, sizeof prefix - 1) == 0)
      apply(piece + sizeof prefix - 1, own, apply_options);
    else if (*piece)
      n += (size_t)snprintf(own->rest + n, sizeof own->rest - n, "%s%s", n ? " " : "", piece);
    if (n >= sizeof own->rest) n = sizeof own->rest - 1;
  }
  p11t_options_from_environment(); /* which stands over parameters */
  memset(&own->copy, 0, sizeof own->copy);
  memcpy(&own->copy, given, sizeof *given);
  own->copy.LibraryParameters = own->rest[0] ? (CK_VOID_PTR)own->rest : NULL;
  return true;
}

CK_RV p11t_parameters_missing(void)
{
  p11t_say(
      "no module to trace is known: set P11TRACE_MODULE, or give modutil -string \"p11trace:module=/path/vendor.so\", "
      "or "
      "use a copy that `p11trace wrap` wrote");
  return CKR_ARGUMENTS_BAD;
}

CK_FUNCTION_LIST_PTR p11t_lazy_list(unsigned number)
{
  static CK_FUNCTION_LIST list; /* one: a second host of the bare recorder gets the same */
  list.version = (CK_VERSION){2, 40};
#define F_V2_40(name) list.name = (CK_##name)p11t_wrappers[number][P11_F_##name];
#define F_V3_0(name)
#define F_V3_2(name)
#define F(name, since, ...) F_##since(name)
#include "shim/spec/functions.def"
  return &list;
}
