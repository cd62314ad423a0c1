/* Searching by tags. */
#include <stdlib.h>
#include <string.h>

#include "database.h"

struct hits {
  const struct tok_query *query;
  struct tok_hit *list;
  size_t count, room;
  bool no_memory;
};

static bool add(struct hits *h, int64_t id, bool private)
{
  if (private && !h->query->with_private) return true;
  if (h->count == h->room) {
    size_t room = h->room == 0 ? 8 : 2 * h->room;
    struct tok_hit *more = realloc(h->list, room * sizeof *more);
    if (more == NULL) {
      h->no_memory = true;
      return false;
    }
    h->list = more;
    h->room = room;
  }
  h->list[h->count++] = (struct tok_hit){id, private};
  return true;
}

static int by_id(const void *a, const void *b)
{
  int64_t x = ((const struct tok_hit *)a)->id, y = ((const struct tok_hit *)b)->id;
  return (x > y) - (x < y);
}

/* In order, each once: several alternatives may have found the same. */
static void tidy(struct hits *h)
{
  size_t kept = 0;
  bool sorted = true;
  for (size_t i = 1; i < h->count && sorted; i++) sorted = h->list[i - 1].id < h->list[i].id;
  if (sorted) return;
  qsort(h->list, h->count, sizeof *h->list, by_id);
  for (size_t i = 0; i < h->count; i++)
    if (kept == 0 || h->list[kept - 1].id != h->list[i].id) h->list[kept++] = h->list[i];
  h->count = kept;
}

/* Does a row that salvage found match? */
static bool matches(const struct tok_raw_row *raw, void *context)
{
  struct hits *h = context;
  const struct tok_query *q = h->query;
  bool match = q->alternatives == 0;
  if (q->class != CK_UNAVAILABLE_INFORMATION && q->class != raw->class) return true;
  for (size_t at = 0; at < raw->tags_len && !match; at += TOK_TAG_BYTES)
    for (size_t i = 0; i < q->alternatives && !match; i++)
      match = raw->tags[at] == q->any[i].kind && memcmp(raw->tags + at + 1, q->any[i].tag, TOK_TAG_BYTES - 1) == 0;
  return !match || add(h, raw->id, raw->private);
}

/* One lookup in the index; `tag` NULL: every object. Returns SQLite's result. */
static int look_up(struct tok_connection *c, struct hits *h, const struct tok_tag *tag, CK_RV *rv)
{
  bool any_class = h->query->class == CK_UNAVAILABLE_INFORMATION;
  sqlite3_stmt *s = tok_statement(c, any_class ? TOK_SQL_FIND : TOK_SQL_FIND_CLASS, rv);
  int rc;
  if (s == NULL) return sqlite3_errcode(c->db);
  sqlite3_bind_int(s, 1, tag == NULL ? 0 : tag->kind + 1);
  sqlite3_bind_blob(s, 2, tag == NULL ? (const uint8_t *)"" : tag->tag, tag == NULL ? 0 : TOK_TAG_BYTES - 1,
                    SQLITE_STATIC);
  if (!any_class) sqlite3_bind_int64(s, 3, (sqlite3_int64)h->query->class);
  while ((rc = sqlite3_step(s)) == SQLITE_ROW)
    if (!add(h, sqlite3_column_int64(s, 0), sqlite3_column_int(s, 1) != 0)) break;
  *rv = tok_sql_error(c->db, rc);
  sqlite3_reset(s);
  return rc;
}

CK_RV tok_store_find(struct tok_store *store, const struct tok_query *query, struct tok_hit **hits, size_t *count)
{
  struct tok_connection *c = &store->reader;
  struct hits h = {.query = query};
  size_t lookups = query->alternatives > 0 ? query->alternatives : 1;
  bool damaged;
  CK_RV rv = tok_connection_lock(c, NULL, 0);
  *hits = NULL;
  *count = 0;
  if (rv != CKR_OK) return rv;
  damaged = c->unreadable;
  for (size_t i = 0; i < lookups && rv == CKR_OK && !damaged; i++)
    damaged = tok_sql_damage(look_up(c, &h, query->alternatives > 0 ? &query->any[i] : NULL, &rv));
  if (damaged) {
    h.count = 0;
    rv = CKR_OK;
    tok_salvage(c, matches, &h, NULL);
  }
  tok_connection_unlock(c);
  if (h.no_memory) rv = CKR_HOST_MEMORY;
  if (rv != CKR_OK) {
    free(h.list);
    return rv;
  }
  tidy(&h);
  *hits = h.list;
  *count = h.count;
  return CKR_OK;
}

CK_RV tok_store_change_number(struct tok_store *store, uint64_t *number)
{
  struct tok_connection *c = &store->reader;
  CK_RV rv = tok_connection_lock(c, NULL, 0);
  if (rv != CKR_OK) return rv;
  /* SQLite's number compares within one connection; the writer is another one, so own commits count too. */
  sqlite3_stmt *s = c->unreadable ? NULL : tok_statement(c, TOK_SQL_DATA_VERSION, &rv);
  if (s != NULL) {
    int rc = sqlite3_step(s);
    int64_t version = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    rv = tok_sql_error(c->db, rc);
    sqlite3_reset(s);
    if (version != store->data_version || version == -1) store->change++;
    store->data_version = version;
  }
  *number = store->change;
  tok_connection_unlock(c);
  return rv;
}
