#include "triggers.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char all_forms[] =
    "alternatives separated by |, such as rv=failed|fn=C_Login rv=CKR_PIN_LOCKED|duration>100ms|"
    "signal=USR2|exit";

/* The return codes alone: all names of constants would double the recorder. */
static const struct {
  const char *name;
  uint64_t value;
} codes[] = {
#define C(name, value, source) {#name, value},
#include "constants/ckr.def"
#undef C
};

const char *p11_trigger_rv_name(uint64_t rv)
{
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    if (codes[i].value == rv) return codes[i].name;
  }
  return NULL;
}

static bool is_word(const char *at, size_t length, const char *word)
{
  return strlen(word) == length && memcmp(at, word, length) == 0;
}

/* Digits of base 10, or 16 behind 0x. */
static bool parse_number(const char *at, size_t length, uint64_t *number)
{
  char digits[24], *end;
  int base = length > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X') ? 16 : 10;
  if (length == 0 || length >= sizeof digits || at[0] < '0' || at[0] > '9') return false;
  memcpy(digits, at, length);
  digits[length] = 0;
  *number = strtoull(digits, &end, base);
  return *end == 0;
}

bool p11_duration_parse(const char *text, size_t length, uint64_t *ns)
{
  static const struct {
    const char *unit;
    uint64_t ns;
  } units[] = {
      {"ns", 1            },
      {"us", 1000         },
      {"ms", 1000000      },
      {"s",  1000000000   },
      {"m",  60000000000  },
      {"h",  3600000000000}
  };
  size_t digits = 0;
  while (digits < length && text[digits] >= '0' && text[digits] <= '9') digits++;
  uint64_t n;
  if (!parse_number(text, digits, &n)) return false;
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    if (!is_word(text + digits, length - digits, units[i].unit)) continue;
    if (n > UINT64_MAX / 4 / units[i].ns) return false;
    *ns = n * units[i].ns;
    return true;
  }
  return false;
}

static bool parse_rv(const char *at, size_t length, struct p11_trigger *t)
{
  for (;; at++, length--) {
    const char *comma = memchr(at, ',', length);
    size_t n = comma != NULL ? (size_t)(comma - at) : length;
    if (t->rvs == P11_TRIGGER_RVS) return false;
    bool negative = n > 0 && *at == '!', known = false;
    at += negative;
    length -= negative;
    n -= negative;
    t->rv[t->rvs].negative = negative;
    t->rv[t->rvs].what = is_word(at, n, "ok")       ? P11_TRIGGER_OK
                         : is_word(at, n, "failed") ? P11_TRIGGER_FAILED
                                                    : P11_TRIGGER_RV;
    known = t->rv[t->rvs].what != P11_TRIGGER_RV || parse_number(at, n, &t->rv[t->rvs].value);
    for (size_t i = 0; i < sizeof codes / sizeof *codes && !known; i++) {
      known = is_word(at, n, codes[i].name);
      if (known) t->rv[t->rvs].value = codes[i].value;
    }
    if (!known) return false;
    t->rvs++;
    at += n;
    length -= n;
    if (length == 0) return true;
  }
}

/* One condition, KEY=VALUE. NULL or what is allowed. */
static const char *parse_condition(const char *at, size_t length, struct p11_trigger *t, struct p11_triggers *all)
{
  size_t key = 0;
  while (key < length && strchr("=:>", at[key]) == NULL) key++;
  const char *value = at + key + 1;
  size_t n = key < length ? length - key - 1 : 0;
  char sign = key < length ? at[key] : 0;
  struct p11_callset_error error;
  if (is_word(at, key, "duration") ? sign != '>' : sign == '>') return all_forms;
  if (is_word(at, key, "rv"))
    return parse_rv(value, n, t)
               ? NULL
               : "rv= ok, failed, or names and numbers of at most 16 return codes: rv=CKR_DEVICE_ERROR,0x101";
  if (is_word(at, key, "fn"))
    return p11_callset_parse(value, n, &t->functions, &error) ? NULL
                                                              : "fn= functions such as fn=%session,!C_GetSlotInfo";
  if (is_word(at, key, "duration") || is_word(at, key, "slow")) {
    all->timed = true;
    return p11_duration_parse(value, n, &t->longer_than) && t->longer_than > 0
               ? NULL
               : "a time such as duration>100ms or duration>2s";
  }
  return all_forms;
}

static const char *parse_alternative(const char *at, size_t length, struct p11_triggers *all)
{
  while (length > 0 && *at == ' ') at++, length--;
  while (length > 0 && at[length - 1] == ' ') length--;
  if (length == 0) return all_forms;
  if (is_word(at, length, "exit")) {
    all->exit = true;
    return NULL;
  }
  if (length > 7 && memcmp(at, "signal", 6) == 0 && (at[6] == '=' || at[6] == ':')) {
    int number = is_word(at + 7, length - 7, "USR1") ? SIGUSR1 : is_word(at + 7, length - 7, "USR2") ? SIGUSR2 : 0;
    if (number == 0 || (all->signal != 0 && all->signal != number)) return "one signal: signal=USR1 or signal=USR2";
    all->signal = number;
    return NULL;
  }
  if (all->calls == P11_TRIGGERS_MAX) return "at most 8 alternatives";
  struct p11_trigger *t = &all->call[all->calls++];
  memset(&t->functions, 0xff, sizeof t->functions);
  while (length > 0) {
    size_t n = 0;
    while (n < length && at[n] != ' ') n++;
    const char *allowed = n > 0 ? parse_condition(at, n, t, all) : NULL;
    if (allowed != NULL) return allowed;
    n += n < length;
    at += n;
    length -= n;
  }
  return NULL;
}

const char *p11_triggers_parse(const char *text, struct p11_triggers *triggers)
{
  memset(triggers, 0, sizeof *triggers);
  for (;;) {
    size_t n = strcspn(text, "|");
    const char *allowed = parse_alternative(text, n, triggers);
    if (allowed != NULL) return allowed;
    if (text[n] == 0) return NULL;
    text += n + 1;
  }
}

bool p11_trigger_matches(const struct p11_trigger *t, unsigned function, uint64_t rv, uint64_t ns)
{
  if (!p11_callset_has(&t->functions, (int)function) || (t->longer_than > 0 && ns <= t->longer_than)) return false;
  bool wanted = t->rvs == 0, positive = false;
  for (unsigned i = 0; i < t->rvs; i++) {
    bool hit = t->rv[i].what == P11_TRIGGER_OK       ? rv == 0
               : t->rv[i].what == P11_TRIGGER_FAILED ? rv != 0
                                                     : rv == t->rv[i].value;
    if (t->rv[i].negative && hit) return false;
    if (!t->rv[i].negative) positive = true, wanted |= hit;
  }
  return wanted || !positive;
}
