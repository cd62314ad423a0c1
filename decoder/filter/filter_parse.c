/* From text to filter, with errors that say where and what is allowed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/filter/filter_part.h"

/* clang-format off */
static const struct key {
  const char *name, *allowed;
} keys[KEYS] = {
    [KEY_FN] = {"fn", "a function (C_Sign, C_Sign*), a group (%session, %login, %3.0; all are in --help), ! before it to "
                      "leave it out"},
    [KEY_RV] = {"rv", "ok, failed, open, unwound, a name (CKR_...) or a number"},
    [KEY_SESSION] = {"session", "a number (12, 0xc)"},
    [KEY_SLOT] = {"slot", "a number (12, 0xc)"},
    [KEY_OBJECT] = {"object", "a number (12, 0xc)"},
    [KEY_MODULE] = {"module", "a number"},
    [KEY_PID] = {"pid", "a number"},
    [KEY_TID] = {"tid", "a number"},
    [KEY_THREAD] = {"thread", "a name, * stands for any characters"},
    [KEY_MECHANISM] = {"mechanism", "a name (CKM_...) or a number"},
    [KEY_CLASS] = {"class", "a name (CKO_...) or a number; groups of functions are written fn=%sign"},
    [KEY_LABEL] = {"label", "a label, * stands for any characters"},
    [KEY_DURATION] = {"duration", "a time with its unit: 10ms, 2.5s, 300us, 80ns"},
    [KEY_TIME] = {"time", "a time with its unit: 10ms, 2.5s, 300us, 80ns"},
    [KEY_PROBE] = {"probe", "probe or !probe"},
};
/* clang-format on */
#define ALL_KEYS "fn rv session slot object module pid tid thread mechanism class label duration time probe"

static bool __attribute__((format(printf, 4, 5)))
fail(struct filter_error *error, size_t at, size_t length, const char *form, ...)
{
  va_list args;
  va_start(args, form);
  error->at = at;
  error->length = length;
  vsnprintf(error->what, sizeof error->what, form, args);
  va_end(args);
  return false;
}

static bool is_word(const char *at, size_t length, const char *word)
{
  return strlen(word) == length && memcmp(at, word, length) == 0;
}

/* Digits or 0x and hexadecimal digits, nothing else, at most 64 bits. */
static bool parse_number(const char *at, size_t length, uint64_t *number)
{
  unsigned base = 10;
  if (length > 2 && at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
    base = 16;
    at += 2;
    length -= 2;
  }
  uint64_t value = 0;
  for (size_t i = 0; i < length; i++) {
    unsigned c = (unsigned char)at[i], digit;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (base == 16 && (c | 32) >= 'a' && (c | 32) <= 'f') {
      digit = (c | 32) - 'a' + 10;
    } else {
      return false;
    }
    if (value > (UINT64_MAX - digit) / base) return false;
    value = value * base + digit;
  }
  *number = value;
  return length > 0;
}

/* 2.5ms in ns; a fraction has at most nine digits. */
static bool parse_time(const char *at, size_t length, uint64_t *ns)
{
  size_t digits = 0;
  while (digits < length && ((at[digits] >= '0' && at[digits] <= '9') || at[digits] == '.')) digits++;
  uint64_t unit = is_word(at + digits, length - digits, "s")    ? 1000000000
                  : is_word(at + digits, length - digits, "ms") ? 1000000
                  : is_word(at + digits, length - digits, "us") ? 1000
                  : is_word(at + digits, length - digits, "ns") ? 1
                                                                : 0;
  const char *point = memchr(at, '.', digits);
  size_t whole = point != NULL ? (size_t)(point - at) : digits;
  uint64_t value;
  if (unit == 0 || !parse_number(at, whole, &value) || value > UINT64_MAX / 2 / unit) return false;
  *ns = value * unit;
  if (point == NULL) return true;
  size_t places = digits - whole - 1;
  if (places == 0 || places > 9 || !parse_number(point + 1, places, &value)) return false;
  uint64_t scale = 1;
  for (size_t i = 0; i < places; i++) scale *= 10;
  *ns += value * unit / scale; /* below 10^9 * 10^9 */
  return true;
}

/* A constant whose name begins as those of its list do, or a number. */
static bool parse_constant(const char *at, size_t length, const char *prefix, uint64_t *number)
{
  char name[96];
  if (parse_number(at, length, number)) return true;
  if (length >= sizeof name || strncmp(at, prefix, strlen(prefix)) != 0) return false;
  memcpy(name, at, length);
  name[length] = '\0';
  return p11_constant_value(name, number);
}

static bool parse_rv(const char *at, size_t length, struct filter_value *v)
{
  static const struct {
    const char *word;
    enum filter_rv rv;
  } words[] = {
      {"ok",      RV_OK     },
      {"failed",  RV_FAILED },
      {"open",    RV_OPEN   },
      {"unwound", RV_UNWOUND}
  };
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (!is_word(at, length, words[i].word)) continue;
    v->rv = (uint8_t)words[i].rv;
    return true;
  }
  v->rv = RV_NUMBER;
  return parse_constant(at, length, "CKR_", &v->number);
}

static bool parse_value(enum filter_key key, const char *at, size_t length, struct filter_value *v)
{
  if (length == 0) return false;
  switch (key) {
    case KEY_RV: return parse_rv(at, length, v);
    case KEY_MECHANISM: return parse_constant(at, length, "CKM_", &v->number);
    case KEY_CLASS: return parse_constant(at, length, "CKO_", &v->number);
    case KEY_THREAD:
    case KEY_LABEL: return (v->pattern = strndup(at, length)) != NULL;
    case KEY_DURATION:
    case KEY_TIME: return parse_time(at, length, &v->number);
    default: return parse_number(at, length, &v->number);
  }
}

static bool parse_functions(struct filter_term *term, const char *expression, size_t at, bool all_negative,
                            struct filter_error *error)
{
  struct p11_callset_error e;
  const char *mark = all_negative ? strchr(expression + at, '!') : NULL;
  if (mark != NULL) {
    size_t where = (size_t)(mark - expression);
    return fail(error, where, 1, "!= and ! together at character %zu: leave one out", where + 1);
  }
  if (!p11_callset_parse(expression + at, strlen(expression + at), &term->set, &e)) {
    return fail(error, at + e.at, e.length, "%s at character %zu; allowed is %s", e.what, at + e.at + 1,
                keys[KEY_FN].allowed);
  }
  if (all_negative) {
    for (size_t i = 0; i < sizeof term->set.word / sizeof *term->set.word; i++) term->set.word[i] = ~term->set.word[i];
  }
  return true;
}

static bool parse_values(struct filter_term *term, const char *expression, size_t at, bool all_negative,
                         struct filter_error *error)
{
  for (;;) {
    size_t length = strcspn(expression + at, ",");
    struct filter_value v = {.negative = all_negative};
    if (length > 0 && expression[at] == '!') {
      if (all_negative) return fail(error, at, 1, "!= and ! together at character %zu: leave one out", at + 1);
      v.negative = true;
      at++;
      length--;
    }
    if (!parse_value(term->key, expression + at, length, &v)) {
      return fail(error, at, length, "wrong value for %s at character %zu; allowed is %s", keys[term->key].name, at + 1,
                  keys[term->key].allowed);
    }
    struct filter_value *more = realloc(term->value, (term->count + 1) * sizeof *more);
    if (more == NULL) {
      free(v.pattern);
      return fail(error, at, length, "out of memory");
    }
    term->value = more;
    term->value[term->count++] = v;
    if (!v.negative) term->any_positive = true;
    at += length;
    if (expression[at] == '\0') return true;
    at++;
  }
}

static bool add_term(struct filter *f, const struct filter_term *term)
{
  struct filter_term *more = realloc(f->term, (f->terms + 1) * sizeof *more);
  if (more == NULL) return false;
  f->term = more;
  f->term[f->terms++] = *term;
  return true;
}

/* The one key that has no value: probe, !probe. */
static bool add_probe(struct filter *f, const char *expression, struct filter_error *error)
{
  struct filter_term term = {.key = KEY_PROBE, .negative = expression[0] == '!'};
  size_t word = term.negative ? 6 : 5;
  if (expression[word] != '\0') {
    return fail(error, word, strlen(expression) - word, "probe has no value: wrong from character %zu on; write %s",
                word + 1, keys[KEY_PROBE].allowed);
  }
  return add_term(f, &term) || fail(error, 0, word, "out of memory");
}

bool filter_add(struct filter *f, const char *expression, struct filter_error *error)
{
  size_t name = strcspn(expression, "=<>!");
  if (is_word(expression, name, "probe") || strncmp(expression, "!probe", 6) == 0)
    return add_probe(f, expression, error);
  unsigned key = 0;
  while (key < KEYS && !is_word(expression, name, keys[key].name)) key++;
  if (key == KEYS) {
    return fail(error, 0, name, "no such key at character 1; there are " ALL_KEYS);
  }
  struct filter_term term = {.key = (enum filter_key)key};
  const bool ordered = key == KEY_DURATION || key == KEY_TIME;
  static const struct sign {
    const char *text;
    unsigned order;
  } signs[] = {
      {"!=", ORDER_EQUAL             },
      {"=",  ORDER_EQUAL             },
      {"<=", ORDER_LESS | ORDER_EQUAL},
      {">=", ORDER_MORE | ORDER_EQUAL},
      {"<",  ORDER_LESS              },
      {">",  ORDER_MORE              }
  };
  const struct sign *sign = NULL;
  for (size_t i = 0; i < (ordered ? sizeof signs / sizeof *signs : 2) && sign == NULL; i++) {
    if (strncmp(expression + name, signs[i].text, strlen(signs[i].text)) == 0) sign = &signs[i];
  }
  if (sign == NULL) {
    return fail(error, name, strspn(expression + name, "=<>!"),
                "%s is followed by %s, not by what stands at character %zu", keys[key].name,
                ordered ? "= != < > <= or >=" : "= or !=", name + 1);
  }
  const bool negative = sign == &signs[0];
  term.order = sign->order;
  size_t at = name + strlen(sign->text);
  bool good = key == KEY_FN ? parse_functions(&term, expression, at, negative, error)
                            : parse_values(&term, expression, at, negative, error);
  if (good && add_term(f, &term)) return true;
  if (good) fail(error, 0, name, "out of memory");
  for (size_t i = 0; i < term.count; i++) free(term.value[i].pattern);
  free(term.value);
  return false;
}

bool filter_add_calls(struct filter *f, const char *set, struct filter_error *error)
{
  static const char allowed[] = "allowed are numbers and ranges: 7, 10-200, 300-, -20, separated by commas";
  for (size_t at = 0;; at++) {
    size_t length = strcspn(set + at, ",");
    const char *dash = memchr(set + at, '-', length);
    size_t first = dash != NULL ? (size_t)(dash - (set + at)) : length;
    struct filter_range r = {0, UINT64_MAX};
    bool good = length > 0 && !(dash != NULL && length == 1);
    if (good && first > 0) good = parse_number(set + at, first, &r.first);
    if (good && dash == NULL) {
      r.last = r.first;
    } else if (good && first + 1 < length) {
      good = parse_number(dash + 1, length - first - 1, &r.last);
    }
    if (!good) return fail(error, at, length, "wrong set of calls at character %zu; %s", at + 1, allowed);
    if (r.first > r.last) {
      return fail(error, at, length, "the range at character %zu ends before it begins; %s", at + 1, allowed);
    }
    struct filter_range *more = realloc(f->range, (f->ranges + 1) * sizeof *more);
    if (more == NULL) return fail(error, at, length, "out of memory");
    f->range = more;
    f->range[f->ranges++] = r;
    at += length;
    if (set[at] == '\0') return true;
  }
}
