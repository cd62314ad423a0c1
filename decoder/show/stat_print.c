#include <stdlib.h>
#include <string.h>

#include "decoder/show/stat.h"
#include "decoder/show/value.h"

#define S(literal) text_raw(out, literal, sizeof(literal) - 1)

static enum stat_sort sort_by;

static int order(uint64_t a, uint64_t b)
{
  return a > b ? -1 : a < b; /* the largest first */
}

static int by_name(const struct stat_row *a, const struct stat_row *b)
{
  int c = strcmp(a->key.function != NULL ? a->key.function : "", b->key.function != NULL ? b->key.function : "");
  if (c == 0) c = strcmp(a->key.module != NULL ? a->key.module : "", b->key.module != NULL ? b->key.module : "");
  if (c == 0) c = order(b->key.mechanism, a->key.mechanism);
  if (c == 0) c = order(b->key.slot, a->key.slot);
  if (c == 0) c = order(b->key.pid, a->key.pid);
  if (c == 0) c = strcmp(a->key.caller != NULL ? a->key.caller : "", b->key.caller != NULL ? b->key.caller : "");
  return c != 0 ? c : order(b->key.tid, a->key.tid);
}

static int compare_rows(const void *x, const void *y)
{
  const struct stat_row *a = *(struct stat_row *const *)x, *b = *(struct stat_row *const *)y;
  int c = 0;
  switch (sort_by) {
    case SORT_TOTAL: c = order(a->time.total, b->time.total); break;
    case SORT_CALLS: c = order(a->calls, b->calls); break;
    case SORT_ERRORS: c = order(a->errors, b->errors); break;
    case SORT_P50: c = order(hist_percentile(&a->time, 50), hist_percentile(&b->time, 50)); break;
    case SORT_P99: c = order(hist_percentile(&a->time, 99), hist_percentile(&b->time, 99)); break;
    case SORT_MAX: c = order(a->time.most, b->time.most); break;
    case SORT_NAME: break;
  }
  return c != 0 ? c : by_name(a, b);
}

static int compare_errors(const void *x, const void *y)
{
  const struct stat_error *a = *(struct stat_error *const *)x, *b = *(struct stat_error *const *)y;
  int c = order(a->count, b->count);
  if (c == 0) c = strcmp(a->function, b->function);
  return c != 0 ? c : order(b->rv, a->rv);
}

void stat_sort(struct stats *s)
{
  /* Rows of calls that did not pass the filter were needed for the concurrency only. */
  size_t kept = 0;
  for (size_t i = 0; i < s->rows; i++) {
    if (s->row[i]->calls == 0) continue;
    struct stat_row *row = s->row[i];
    s->row[i] = s->row[kept];
    s->row[kept++] = row;
  }
  sort_by = s->options->sort;
  if (kept > 0) qsort(s->row, kept, sizeof(struct stat_row *), compare_rows);
  if (s->errors > 0) qsort(s->error, s->errors, sizeof(struct stat_error *), compare_errors);
}

/* --- text ------------------------------------------------------------------------------------------------------------ */

static void put_right(struct text *out, struct text *cell, size_t width)
{
  size_t length = (size_t)(cell->at - cell->base);
  while (length < width--) text_c(out, ' ');
  text_raw(out, cell->base, length);
  cell->at = cell->base;
}

/* Three digits that count: 80ns 1.23us 45.6ms 2.50s 1234s. */
static void put_time(struct text *cell, uint64_t ns)
{
  static const struct {
    uint64_t unit;
    const char *name;
  } units[] = {
      {1000000000, "s" },
      {1000000,    "ms"},
      {1000,       "us"}
  };
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    uint64_t unit = units[i].unit;
    if (ns < unit) continue;
    unsigned places = ns < 10 * unit ? 2 : ns < 100 * unit ? 1 : 0;
    text_u(cell, ns / unit);
    if (places > 0) {
      text_c(cell, '.');
      uint64_t thousandths = ns % unit * 1000 / unit;
      text_padded(cell, places == 2 ? thousandths / 10 : thousandths / 100, places);
    }
    text_s(cell, units[i].name);
    return;
  }
  text_u(cell, ns);
  text_s(cell, "ns");
}

static void put_percent(struct text *cell, uint64_t part, uint64_t whole)
{
  uint64_t hundredths = whole == 0 ? 0 : (uint64_t)((double)part * 10000 / (double)whole + 0.5);
  text_u(cell, hundredths / 100);
  text_c(cell, '.');
  text_padded(cell, hundredths % 100, 2);
}

static void put_module_name(struct text *out, const char *path)
{
  const char *slash = strrchr(path, '/');
  const char *name = slash != NULL ? slash + 1 : path;
  text_escaped(out, name, strlen(name), " ");
}

/* What the row is about, behind its figures. */
static void put_what(const struct stats *s, struct text *out, const struct stat_row *row)
{
  const unsigned by = s->options->by;
  if (row->key.caller != NULL) {
    S("  ");
    text_s(out, row->key.caller); /* escaped when it was made */
  }
  if (by & BY_FN) {
    S("  ");
    text_escaped(out, row->key.function, strlen(row->key.function), "");
  }
  if (row->key.mechanism != STAT_NONE) {
    S("  ");
    show_constant(out, P11_DOM_CKM, row->key.mechanism);
  }
  if (by & BY_SLOT && row->key.slot != STAT_NONE) {
    S("  slot ");
    show_number(out, (struct meaning){AS_DECIMAL, 0}, row->key.slot);
  }
  if (by & BY_MODULE || (by & BY_SLOT && s->many_modules)) {
    S("  ");
    put_module_name(out, row->key.module != NULL ? row->key.module : "?");
  }
  if (by & (BY_PROCESS | BY_THREAD) && row->key.pid != 0) {
    S("  pid ");
    text_u(out, row->key.pid);
  }
  if (by & BY_THREAD && row->key.tid != 0) {
    S("  tid ");
    text_u(out, row->key.tid);
    if (row->thread != NULL) {
      text_c(out, ' ');
      text_escaped(out, row->thread, strlen(row->thread), "");
    }
  }
}

static void put_row(const struct stats *s, struct text *out, struct text *cell, const struct stat_row *row)
{
  put_percent(cell, row->time.total, s->total);
  put_right(out, cell, 6);
  const uint64_t times[] = {row->time.total, hist_percentile(&row->time, 50), hist_percentile(&row->time, 95),
                            hist_percentile(&row->time, 99), row->time.most};
  put_time(cell, times[0]);
  put_right(out, cell, 9);
  text_u(cell, row->calls);
  put_right(out, cell, 10);
  if (row->errors > 0) text_u(cell, row->errors);
  put_right(out, cell, 8);
  for (int i = 1; i < 5; i++) {
    if (row->time.count > 0) {
      put_time(cell, times[i]);
    } else {
      text_c(cell, '-');
    }
    put_right(out, cell, 8);
  }
  text_u(cell, row->concurrency);
  put_right(out, cell, 6);
  put_what(s, out, row);
  if (row->open > 0) {
    S("  (");
    text_u(out, row->open);
    S(" in flight at the end)");
  }
  if (row->unwound > 0) {
    S("  (");
    text_u(out, row->unwound);
    S(" unwound)");
  }
  text_c(out, '\n');
}

static void put_plural(struct text *out, uint64_t count, const char *one, const char *many)
{
  text_u(out, count);
  text_c(out, ' ');
  text_s(out, count == 1 ? one : many);
}

void stat_print_text(struct stats *s, struct text *out)
{
  struct text cell;
  text_open(&cell, -1);
  put_plural(out, s->calls, "call", "calls");
  S(", ");
  text_u(out, s->failed);
  S(" failed, ");
  text_u(out, s->open);
  S(" in flight at the end, ");
  text_u(out, s->unwound);
  S(" unwound; ");
  put_time(out, s->total);
  S(" in the module within ");
  put_time(out, s->last - s->first);
  S(", at most ");
  text_u(out, s->concurrency);
  S(" at once");
  if (s->probes > 0) {
    S(" (without ");
    put_plural(out, s->probes, "probe call", "probe calls");
    S(" of the recorder)");
  }
  text_c(out, '\n');
  if (s->calls == 0) {
    text_close(&cell);
    return;
  }
  S("\n% time    total     calls  errors     p50     p95     p99     max  conc  what\n");
  for (size_t i = 0; i < s->rows && s->row[i]->calls > 0; i++) put_row(s, out, &cell, s->row[i]);
  if (s->rows_full)
    S("(too many different rows: the later ones are counted without mechanism, slot, thread and caller)\n");
  if (s->errors > 0) S("\n     count  error\n");
  for (size_t i = 0; i < s->errors; i++) {
    text_u(&cell, s->error[i]->count);
    put_right(out, &cell, 10);
    S("  ");
    text_escaped(out, s->error[i]->function, strlen(s->error[i]->function), "");
    text_c(out, ' ');
    show_constant(out, P11_DOM_CKR, s->error[i]->rv);
    text_c(out, '\n');
  }
  if (s->errors_full) S("(too many different errors: some are not listed)\n");
  text_close(&cell);
}
