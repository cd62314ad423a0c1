/* settings.def as a table, and whether a value is one: what recorder, wrap and doctor have in common. No allocation. */
#ifndef P11_SETTINGS_H
#define P11_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

enum p11_setting_id {
#define S(id, ...) P11_SETTING_##id,
#include "settings.def"
  P11_SETTINGS
};

enum p11_setting_looks {
  P11_SETTING_PATH,
  P11_SETTING_SIZE,
  P11_SETTING_FUNCTIONS,
  P11_SETTING_COUNT,
  P11_SETTING_DURATION,
  P11_SETTING_TRIGGERS,
  P11_SETTING_WORD,
  P11_SETTING_WORDS
};

struct p11_setting {
  const char *name, *variable;
  enum p11_setting_looks looks;
  /* Of WORD and WORDS: separated by blanks, the first word is number 0; of a switch the even ones are on. Of SIZE the least, of
   * COUNT the largest one that is allowed. */
  const char *words;
  const char *metavar, *help;
};

extern const struct p11_setting p11_settings[P11_SETTINGS];

/* The setting of that name, or -1. */
int p11_setting_find(const char *name);

/* NULL when `value` is one for the setting, else what is allowed, in words. */
const char *p11_setting_problem(const struct p11_setting *s, const char *value);

/* Bytes, with K, M, G or T for powers of 1024; false when the text is no size or too large. */
bool p11_setting_size(const char *text, uint64_t *size);

/* A whole number from 1 to the largest that the setting allows. */
bool p11_setting_count(const struct p11_setting *s, const char *text, unsigned *count);

/* Place of `value` among the words of the setting, or -1. */
int p11_setting_word(const struct p11_setting *s, const char *value);

/* Of WORDS: a bit for each word that `value` has, by its place; 0 when one of them is none, or there are none. */
unsigned p11_setting_words(const struct p11_setting *s, const char *value);

#endif
