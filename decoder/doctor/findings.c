/* Findings are kept until all are known: the cause is to be read first. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "decoder/doctor/doctor.h"
#include "decoder/show/text.h"

enum kind { BAD, GOOD, NOTE, KINDS };

static struct text kept[KINDS];
static unsigned problems;

static void add(enum kind kind, const char *what, const char *where, const char *form, va_list args)
{
  static const char *const word[KINDS] = {"problem", "ok     ", "note   "};
  char line[2048];
  struct text *out = &kept[kind];
  if (out->base == NULL) text_open(out, -1);
  if (kind == BAD) problems++;
  vsnprintf(line, sizeof line, form, args);
  text_s(out, word[kind]);
  text_c(out, ' ');
  text_s(out, what);
  text_s(out, ": ");
  if (where != NULL) {
    text_escaped(out, where, strlen(where), "");
    text_s(out, ": ");
  }
  text_escaped(out, line, strlen(line), "");
  text_c(out, '\n');
}

void doctor_good(const char *what, const char *where, const char *form, ...)
{
  va_list args;
  va_start(args, form);
  add(GOOD, what, where, form, args);
  va_end(args);
}

void doctor_note(const char *what, const char *where, const char *form, ...)
{
  va_list args;
  va_start(args, form);
  add(NOTE, what, where, form, args);
  va_end(args);
}

void doctor_bad(const char *what, const char *where, const char *form, ...)
{
  va_list args;
  va_start(args, form);
  add(BAD, what, where, form, args);
  va_end(args);
}

unsigned doctor_print(bool quiet)
{
  unsigned found = problems;
  struct text out;
  text_open(&out, STDOUT_FILENO);
  for (int kind = 0; kind < KINDS; kind++) {
    if (kept[kind].base == NULL) continue;
    if (!quiet || kind == BAD) text_raw(&out, kept[kind].base, (size_t)(kept[kind].at - kept[kind].base));
    text_close(&kept[kind]);
  }
  text_flush(&out);
  text_close(&out);
  problems = 0;
  return found;
}
