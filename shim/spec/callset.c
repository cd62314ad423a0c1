#include "callset.h"

#include <string.h>

struct item {
  const char *at;
  size_t length;
};

static bool is(struct item item, const char *word)
{
  return strlen(word) == item.length && memcmp(word, item.at, item.length) == 0;
}

static void add(struct p11_callset *set, int function)
{
  set->word[function / 64] |= 1ull << (function % 64);
}

/* `pattern` with * for any characters. */
static bool fits(struct item pattern, const char *name)
{
  size_t length = strlen(name), p = 0, n = 0, star = SIZE_MAX, mark = 0;
  while (n < length) {
    if (p < pattern.length && pattern.at[p] == '*') {
      star = p++;
      mark = n;
    } else if (p < pattern.length && pattern.at[p] == name[n]) {
      p++;
      n++;
    } else if (star != SIZE_MAX) {
      p = star + 1;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.length && pattern.at[p] == '*') p++;
  return p == pattern.length;
}

static bool add_named(struct p11_callset *set, struct item item)
{
  bool any = false;
  for (int f = 0; f < P11_FUNCTIONS; f++) {
    if (!fits(item, p11_functions[f].name)) continue;
    add(set, f);
    any = true;
  }
  return any;
}

static bool add_group(struct p11_callset *set, struct item item)
{
  static const char *const group[] = {
#define X(upper, lower) [P11_GROUP_##upper] = #lower,
      P11_GROUPS(X)
#undef X
  };
  static const char *const class[] = {
#define X(upper, lower) [P11_CLASS_##upper] = #lower,
      P11_CLASSES(X)
#undef X
  };
  unsigned since = is(item, "2.40") ? P11_V2_40 : is(item, "3.0") ? P11_V3_0 : is(item, "3.2") ? P11_V3_2 : 0;
  bool any = false;
  for (int f = 0; f < P11_FUNCTIONS; f++) {
    const struct p11_function_info *info = &p11_functions[f];
    if (!is(item, "all") && !is(item, group[info->group]) && !is(item, class[info->class]) && info->since != since) {
      continue;
    }
    add(set, f);
    any = true;
  }
  return any;
}

static bool add_item(struct p11_callset *set, struct item item, const char **what)
{
  if (item.length == 0) {
    *what = "nothing stands here";
    return false;
  }
  if (item.at[0] == '%') {
    *what = "no such group of functions";
    return add_group(set, (struct item){item.at + 1, item.length - 1});
  }
  *what = memchr(item.at, '*', item.length) != NULL ? "fits no function" : "no such function";
  return add_named(set, item);
}

bool p11_callset_parse(const char *text, size_t length, struct p11_callset *set, struct p11_callset_error *error)
{
  struct p11_callset with = {{0}}, without = {{0}};
  bool any_with = false;
  size_t at = 0;
  for (;;) {
    size_t end = at;
    while (end < length && text[end] != ',') end++;
    size_t next = end;
    while (at < end && text[at] == ' ') at++;
    while (end > at && text[end - 1] == ' ') end--;
    bool negative = at < end && text[at] == '!';
    if (negative) at++;
    const char *what;
    if (!add_item(negative ? &without : &with, (struct item){text + at, end - at}, &what)) {
      *error = (struct p11_callset_error){at, end - at, what};
      return false;
    }
    if (!negative) any_with = true;
    if (next == length) break;
    at = next + 1;
  }
  for (int f = 0; f < P11_FUNCTIONS && !any_with; f++) add(&with, f);
  for (size_t i = 0; i < sizeof with.word / sizeof *with.word; i++) set->word[i] = with.word[i] & ~without.word[i];
  return true;
}
