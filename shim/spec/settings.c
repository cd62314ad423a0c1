#include "settings.h"

#include <ctype.h>
#include <limits.h> /* PATH_MAX */
#include <stdlib.h>
#include <string.h>

#include "callset.h"
#include "triggers.h"

const struct p11_setting p11_settings[P11_SETTINGS] = {
#define S(id, name, variable, looks, words, metavar, help) {name, variable, P11_SETTING_##looks, words, metavar, help},
#include "settings.def"
};

int p11_setting_find(const char *name)
{
  for (int i = 0; i < P11_SETTINGS; i++) {
    if (strcmp(p11_settings[i].name, name) == 0) return i;
  }
  return -1;
}

bool p11_setting_size(const char *text, uint64_t *size)
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

bool p11_setting_count(const struct p11_setting *s, const char *text, unsigned *count)
{
  char *end;
  if (!isdigit((unsigned char)*text)) return false;
  unsigned long n = strtoul(text, &end, 10);
  if (*end != 0 || n == 0 || n > strtoul(s->words, NULL, 10)) return false;
  *count = (unsigned)n;
  return true;
}

static int word_place(const struct p11_setting *s, const char *value, size_t length)
{
  int place = 0;
  for (const char *w = s->words; *w; place++) {
    size_t n = strcspn(w, " ");
    if (n == length && memcmp(w, value, n) == 0) return place;
    w += n;
    w += strspn(w, " ");
  }
  return -1;
}

int p11_setting_word(const struct p11_setting *s, const char *value)
{
  return word_place(s, value, strlen(value));
}

unsigned p11_setting_words(const struct p11_setting *s, const char *value)
{
  unsigned bits = 0;
  for (;; value++) {
    size_t length = strcspn(value, ",");
    int place = word_place(s, value, length);
    if (place < 0) return 0;
    bits |= 1u << place;
    value += length;
    if (*value == 0) return bits;
  }
}

/* What to give, for each setting whose `words` say it. */
#define SAY_PATH(words) ""
#define SAY_SIZE(words) "a size of at least " words ", such as 64K, 500M or 1G"
#define SAY_FUNCTIONS(words) ""
#define SAY_COUNT(words) "a number from 1 to " words
#define SAY_DURATION(words) ""
#define SAY_TRIGGERS(words) ""
#define SAY_WORD(words) "one of: " words
#define SAY_WORDS(words) "some of these, with commas between: " words
#define S(id, name, variable, looks, words, metavar, help) SAY_##looks(words),
static const char *const allowed[P11_SETTINGS] = {
#include "settings.def"
};

const char *p11_setting_problem(const struct p11_setting *s, const char *value)
{
  uint64_t size, least = 0;
  unsigned count;
  struct p11_callset set;
  struct p11_callset_error error;
  struct p11_triggers triggers;
  switch (s->looks) {
    case P11_SETTING_PATH: return strlen(value) < PATH_MAX ? NULL : "a shorter path";
    case P11_SETTING_SIZE:
      if (*s->words) p11_setting_size(s->words, &least);
      if (p11_setting_size(value, &size) && size >= least) return NULL;
      return *s->words ? allowed[s - p11_settings] : "a size such as 64K, 500M or 1G";
    case P11_SETTING_FUNCTIONS:
      return p11_callset_parse(value, strlen(value), &set, &error) ? NULL : "functions such as %session,!C_GetSlotInfo";
    case P11_SETTING_COUNT: return p11_setting_count(s, value, &count) ? NULL : allowed[s - p11_settings];
    case P11_SETTING_DURATION:
      return p11_duration_parse(value, strlen(value), &size) ? NULL : "a time such as 10s or 500ms";
    case P11_SETTING_TRIGGERS: return p11_triggers_parse(value, &triggers);
    case P11_SETTING_WORD: return p11_setting_word(s, value) >= 0 ? NULL : allowed[s - p11_settings];
    case P11_SETTING_WORDS: return p11_setting_words(s, value) != 0 ? NULL : allowed[s - p11_settings];
  }
  return NULL;
}
