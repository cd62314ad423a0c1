/* Names and values. */
#include "config/words.h"

#include <string.h>

static bool blank(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static char *skip_blanks(char *s)
{
  while (blank(*s)) s++;
  return s;
}

/* Reads a quoted value in place and ends it; returns what follows the closing quote, or NULL if there is none. */
static char *unquote(char *s)
{
  char quote = *s, *to = s;
  for (char *from = s + 1; *from != '\0'; from++) {
    if (*from == quote) {
      *to = '\0';
      return from + 1;
    }
    if (*from == '\\' && from[1] != '\0') from++;
    *to++ = *from;
  }
  return NULL;
}

static bool is_quote(char c)
{
  return c == '\'' || c == '"';
}

bool tok_word_next(char **text, char **name, char **value, const char **problem)
{
  *problem = NULL;
  char *s = skip_blanks(*text);
  *name = s;
  *value = NULL;
  if (*s == '\0') return false;
  while (*s != '\0' && *s != '=' && !blank(*s)) s++;
  if (*s != '=') {
    *s = '\0';
    *problem = "is not name=value";
    return false;
  }
  *s++ = '\0';
  *value = s;
  if (is_quote(*s)) {
    s = unquote(s);
    if (s == NULL) *problem = "has a quote that is not closed";
    if (s != NULL && *s != '\0' && !blank(*s)) *problem = "goes on after its closing quote";
    if (*problem != NULL) return false;
  } else {
    while (*s != '\0' && !blank(*s)) s++;
    if (*s != '\0') *s++ = '\0';
  }
  *text = s;
  return true;
}

bool tok_line_split(char *line, char **name, char **value, const char **problem)
{
  *problem = NULL;
  *name = line = skip_blanks(line);
  *value = NULL;
  if (*line == '\0' || *line == '#') return false;
  char *end = line + strlen(line), *equals = strchr(line, '=');
  while (blank(end[-1])) *--end = '\0';
  if (equals == NULL) {
    *problem = "is not `name = value`";
    return false;
  }
  end = equals;
  while (end > line && blank(end[-1])) end--;
  *end = '\0';
  *value = skip_blanks(equals + 1);
  if (is_quote(**value)) {
    char *after = unquote(*value);
    if (after == NULL || *after != '\0')
      *problem = after == NULL ? "has a quote that is not closed" : "goes on after its closing quote";
  }
  return *problem == NULL;
}
