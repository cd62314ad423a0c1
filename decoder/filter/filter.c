#include "decoder/filter/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/filter/filter_part.h"
#include "decoder/show/text.h"

struct filter *filter_new(void)
{
  struct filter *f = calloc(1, sizeof *f);
  if (f == NULL) return NULL;
  f->tracker = tracker_new();
  if (f->tracker == NULL) {
    free(f);
    return NULL;
  }
  return f;
}

void filter_free(struct filter *f)
{
  if (f == NULL) return;
  for (size_t i = 0; i < f->terms; i++) {
    for (size_t j = 0; j < f->term[i].count; j++) free(f->term[i].value[j].pattern);
    free(f->term[i].value);
  }
  free(f->term);
  free(f->range);
  tracker_free(f->tracker);
  free(f);
}

bool filter_is_empty(const struct filter *f)
{
  return f->terms == 0 && f->ranges == 0;
}

bool filter_speaks_of_probes(const struct filter *f)
{
  for (size_t i = 0; i < f->terms; i++) {
    if (f->term[i].key == KEY_PROBE) return true;
  }
  return false;
}

void filter_origin(struct filter *f, uint64_t ns)
{
  f->origin = ns;
}

const struct tracker *filter_tracker(const struct filter *f)
{
  return f->tracker;
}

void filter_see(struct filter *f, const struct event *event)
{
  tracker_see(f->tracker, event->process, event->call);
}

void filter_complain(const char *verb, const char *expression, const struct filter_error *error)
{
  struct text t;
  text_open(&t, STDERR_FILENO);
  text_s(&t, verb);
  text_s(&t, ": ");
  text_s(&t, error->what);
  text_s(&t, "\n  ");
  /* Escapes would move the mark: what is not plain is shown as one ? a byte. */
  size_t length = strlen(expression);
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)expression[i];
    text_c(&t, c >= 0x20 && c < 0x7f ? (char)c : '?');
  }
  text_s(&t, "\n  ");
  for (size_t i = 0; i < error->at; i++) text_c(&t, ' ');
  text_c(&t, '^');
  for (size_t i = 1; i < error->length; i++) text_c(&t, '~');
  text_c(&t, '\n');
  text_flush(&t);
  text_close(&t);
}
