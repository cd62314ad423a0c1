/* Rows and errors by key. One stats at a time: the hash tables are this file's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/show/stat.h"

#define BUCKETS 8192 /* power of two */
#define TEXTS 4096

static struct stat_row *row_bucket[BUCKETS];
static struct stat_error *error_bucket[BUCKETS];

struct interned {
  struct interned *next;
  char text[];
};
static struct interned *text_bucket[TEXTS];

static void *need(void *memory)
{
  if (memory != NULL) return memory;
  fputs("p11trace stat: out of memory\n", stderr);
  exit(2);
}

static uint64_t mix(uint64_t h, uint64_t value)
{
  h = (h ^ value) * 0x9e3779b97f4a7c15u;
  return h ^ h >> 29;
}

const char *stat_intern(const char *text)
{
  unsigned h = 5381;
  for (const char *p = text; *p != '\0'; p++) h = h * 33 + (unsigned char)*p;
  struct interned **at = &text_bucket[h % TEXTS];
  for (; *at != NULL; at = &(*at)->next) {
    if (strcmp((*at)->text, text) == 0) return (*at)->text;
  }
  size_t size = strlen(text) + 1;
  struct interned *i = need(malloc(sizeof *i + size));
  i->next = NULL;
  memcpy(i->text, text, size);
  *at = i;
  return i->text;
}

static bool is_key(const struct stat_key *a, const struct stat_key *b)
{
  return a->function == b->function && a->module == b->module && a->mechanism == b->mechanism && a->slot == b->slot &&
         a->pid == b->pid && a->tid == b->tid && a->caller == b->caller;
}

static struct stat_row **place(const struct stat_key *key)
{
  uint64_t h = mix(0, (uint64_t)(uintptr_t)key->function);
  h = mix(h, (uint64_t)(uintptr_t)key->module);
  h = mix(h, key->mechanism);
  h = mix(h, (uint64_t)(uintptr_t)key->caller);
  h = mix(h, key->slot);
  h = mix(h, (uint64_t)key->pid << 32 | key->tid);
  return &row_bucket[h >> 32 & (BUCKETS - 1)];
}

struct stat_row *stat_row_of(struct stats *stats, const struct stat_key *key)
{
  struct stat_row **bucket = place(key);
  for (struct stat_row *r = *bucket; r != NULL; r = r->next) {
    if (is_key(&r->key, key)) return r;
  }
  struct stat_key plain = *key;
  if (stats->rows >= STAT_ROWS) {
    /* The rest goes into one row for each function and module: few, however long the trace. */
    plain.mechanism = plain.slot = STAT_NONE;
    plain.pid = plain.tid = 0;
    plain.caller = NULL;
    stats->rows_full = true;
    if (!is_key(&plain, key)) return stat_row_of(stats, &plain);
  }
  struct stat_row *r = need(calloc(1, sizeof *r));
  r->key = plain;
  r->next = *bucket;
  *bucket = r;
  if ((stats->rows & (stats->rows + 1)) == 0 || stats->row == NULL) {
    stats->row = need(realloc(stats->row, (stats->rows * 2 + 2) * sizeof(struct stat_row *)));
  }
  stats->row[stats->rows++] = r;
  return r;
}

void stat_add_error(struct stats *stats, const char *function, uint64_t rv)
{
  uint64_t h = mix(mix(0, (uint64_t)(uintptr_t)function), rv);
  struct stat_error **bucket = &error_bucket[h >> 32 & (BUCKETS - 1)];
  for (struct stat_error *e = *bucket; e != NULL; e = e->next) {
    if (e->function != function || e->rv != rv) continue;
    e->count++;
    return;
  }
  if (stats->errors >= STAT_ERRORS) {
    stats->errors_full = true;
    return;
  }
  struct stat_error *e = need(calloc(1, sizeof *e));
  *e = (struct stat_error){.function = function, .rv = rv, .count = 1, .next = *bucket};
  *bucket = e;
  if (stats->error == NULL) stats->error = need(calloc(STAT_ERRORS, sizeof(struct stat_error *)));
  stats->error[stats->errors++] = e;
}

void stat_free(struct stats *stats)
{
  for (size_t i = 0; i < stats->rows; i++) {
    hist_free(&stats->row[i]->time);
    free(stats->row[i]->thread);
    free(stats->row[i]);
  }
  for (size_t i = 0; i < stats->errors; i++) free(stats->error[i]);
  free(stats->row);
  free(stats->error);
  for (size_t i = 0; i < sizeof text_bucket / sizeof *text_bucket; i++) {
    while (text_bucket[i] != NULL) {
      struct interned *t = text_bucket[i];
      text_bucket[i] = t->next;
      free(t);
    }
  }
  memset(row_bucket, 0, sizeof row_bucket);
  memset(error_bucket, 0, sizeof error_bucket);
}
