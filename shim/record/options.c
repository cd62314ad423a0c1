#include "shim/record/options.h"

#include <stdlib.h>
#include <string.h>

#include "shim/record/say.h"
#include "shim/record/seal.h"
#include "shim/spec/callset.h"
#include "shim/spec/settings.h"

struct p11t_options p11t_options = {
    .capture = P11T_CAPTURE_SAFE,
    .stack = P11T_STACK_CALLER,
    .cut = P11T_CUT_DEFAULT,
    .min_free = UINT64_MAX,
    .only = {UINT64_MAX, UINT64_MAX},
    .plain = {UINT64_MAX, UINT64_MAX},
    .files = P11T_FILES_DEFAULT,
    .dump_every = P11T_DUMP_EVERY_DEFAULT,
};

static void set_only(const char *value)
{
  struct p11_callset set;
  struct p11_callset_error error;
  if (p11_callset_parse(value, strlen(value), &set, &error))
    memcpy(p11t_options.only, set.word, sizeof p11t_options.only);
}

static void set_probe(const struct p11_setting *s, const char *value)
{
  unsigned words = p11_setting_words(s, value);
  if (words & P11T_PROBE_ALL) words |= P11T_PROBE_CALLS;
  p11t_options.probe = words & (P11T_PROBE_CALLS | P11T_PROBE_NOTIFY);
}

/* While calls are made beside the application's, all of its calls are watched. */
static void settle(void)
{
  struct p11t_options *o = &p11t_options;
  for (int i = 0; i < 2; i++) o->plain[i] = o->probe & P11T_PROBE_CALLS ? 0 : o->only[i];
}

bool p11t_option_set(const char *name, const char *value, const char *where)
{
  struct p11t_options *o = &p11t_options;
  int id = p11_setting_find(name);
  if (id < 0) {
    p11t_say("%s: no setting is called %s", where, name);
    return false;
  }
  const struct p11_setting *s = &p11_settings[id];
  const char *allowed = p11_setting_problem(s, value);
  if (allowed != NULL) {
    p11t_say("%s: %s=%s is not understood: give %s", where, name, value, allowed);
    return false;
  }
  int word = p11_setting_word(s, value); /* the enumerations of options.h are in the order of the words */
  switch ((enum p11_setting_id)id) {
    case P11_SETTING_OUT: strcpy(o->out, value); break;
    case P11_SETTING_LIVE: strcpy(o->live, value); break;
    case P11_SETTING_CAPTURE: o->capture = (enum p11t_capture)word; break;
    case P11_SETTING_SEAL_TO: return p11t_seal_to(value, where);
    case P11_SETTING_STACK: o->stack = (enum p11t_stack_mode)word; break;
    case P11_SETTING_CUT: p11_setting_size(value, &o->cut); break;
    case P11_SETTING_MIN_FREE: p11_setting_size(value, &o->min_free); break;
    case P11_SETTING_ONLY: set_only(value); break;
    case P11_SETTING_MAX: p11_setting_size(value, &o->max); break;
    case P11_SETTING_FILES: p11_setting_count(s, value, &o->files); break;
    case P11_SETTING_RING: p11_setting_size(value, &o->ring); break;
    case P11_SETTING_DUMP_ON: p11_triggers_parse(value, &o->dump_on); break;
    case P11_SETTING_DUMP_EVERY: p11_duration_parse(value, strlen(value), &o->dump_every); break;
    case P11_SETTING_PROBE: set_probe(s, value); break;
    case P11_SETTING_CMDLINE: o->cmdline = word % 2 == 0; break;
    case P11_SETTING_OFF: o->off = word % 2 == 0; break;
    case P11_SETTINGS: break;
  }
  settle();
  return true;
}

void p11t_options_from_environment(void)
{
  for (int i = 0; i < P11_SETTINGS; i++) {
    const char *value = secure_getenv(p11_settings[i].variable);
    if (value != NULL && *value != 0) p11t_option_set(p11_settings[i].name, value, p11_settings[i].variable);
  }
}
