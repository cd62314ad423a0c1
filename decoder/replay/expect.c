#include "decoder/replay/expect.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/filter/filter.h"
#include "decoder/read/arena.h"

static bool fits(const char *pattern, const char *text)
{
  return filter_fits(pattern, text, strlen(text));
}

/* Without the blanks around it. */
static char *trim(char *s)
{
  while (isspace((unsigned char)*s)) s++;
  size_t n = strlen(s);
  while (n > 0 && isspace((unsigned char)s[n - 1])) n--;
  s[n] = '\0';
  return s;
}

static bool known(const char *function)
{
  for (int i = 0; i < P11_FUNCTIONS; i++)
    if (fits(function, p11_functions[i].name)) return true;
  return false;
}

/* Cuts `line` into the parts of `e`. NULL, or what is wrong with it. */
static const char *parse(struct expectation *e, char *line)
{
  char *reason = NULL, *bracket = strstr(line, " [");
  if (bracket != NULL) {
    /* A value may hold what ends it elsewhere: the last "] :" counts. */
    for (char *s = bracket; (s = strstr(s, "] :")) != NULL; s++) reason = s;
    char *arrow = strstr(bracket, " -> ");
    if (reason == NULL || arrow == NULL || arrow > reason)
      return "write FUNCTION PLACE [RECORDED -> REPLAYED] : REASON";
    *bracket = *arrow = *reason = '\0';
    e->recorded = trim(bracket + 2);
    e->replayed = trim(arrow + 4);
    reason += 3;
  } else {
    reason = strstr(line, " :");
    if (reason == NULL) return "it has no reason: write FUNCTION PLACE : REASON";
    *reason = '\0';
    reason += 2;
  }
  e->reason = trim(reason);
  e->function = trim(line);
  e->place = e->function + strcspn(e->function, " \t");
  if (*e->place != '\0') *e->place++ = '\0';
  e->place = trim(e->place);
  if (e->reason[0] == '\0') return "it has no reason: say behind the colon why the difference is accepted";
  if (!known(e->function)) return "there is no function of that name";
  if (e->place[0] == '\0') return "it names no place: write the one that replay shows, or *";
  return NULL;
}

bool expect_read(struct expectations *x, const char *path)
{
  *x = (struct expectations){.path = path};
  FILE *f = fopen(path, "re");
  if (f == NULL) {
    fprintf(stderr, "p11trace replay: %s: cannot read the expected differences: %s\n", path, strerror(errno));
    return false;
  }
  char *line = NULL;
  size_t room = 0;
  bool fine = true;
  for (unsigned number = 1; fine && getline(&line, &room, f) >= 0; number++) {
    char *s = trim(line);
    if (*s == '\0' || *s == '#') continue;
    struct expectation e = {.number = number, .line = read_strdup(s)};
    char *copy = read_strdup(s);
    const char *wrong = parse(&e, copy);
    if (wrong != NULL) {
      fprintf(stderr, "p11trace replay: %s, line %u: %s: %s\n", path, number, e.line, wrong);
      free(copy);
      free(e.line);
      fine = false;
      break;
    }
    x->at = read_realloc(x->at, (x->count + 1) * sizeof *x->at);
    x->at[x->count++] = e; /* `copy` lives on as e.function, which begins it */
  }
  if (fine && ferror(f)) {
    fprintf(stderr, "p11trace replay: %s: cannot read the expected differences: %s\n", path, strerror(errno));
    fine = false;
  }
  free(line);
  fclose(f);
  if (!fine) expect_free(x);
  return fine;
}

struct expectation *expect_find(const struct expectations *x, const struct result_kind *kind)
{
  if (kind->outcome != OUTCOME_DIFFERENT || kind->function >= P11_FUNCTIONS) return NULL;
  /* A call that ended the replay left others untried. */
  if (strcmp(kind->first.place, PLACE_CALL) == 0) return NULL;
  for (size_t i = 0; i < x->count; i++) {
    const struct expectation *e = &x->at[i];
    if (fits(e->function, p11_functions[kind->function].name) && fits(e->place, kind->first.place) &&
        (e->recorded == NULL || (fits(e->recorded, kind->first.recorded) && fits(e->replayed, kind->first.replayed))))
      return &x->at[i];
  }
  return NULL;
}

void expect_free(struct expectations *x)
{
  for (size_t i = 0; i < x->count; i++) {
    free(x->at[i].function);
    free(x->at[i].line);
  }
  free(x->at);
  *x = (struct expectations){.path = x->path};
}
