/* Rows of objects: writing and reading. */
#include <stdlib.h>
#include <string.h>

#include "database.h"

uint64_t tok_row_sum(const struct tok_raw_row *row)
{
  const uint64_t head[] = {(uint64_t)row->id, row->version,        row->class,      row->private, row->open != NULL,
                           row->open_len,     row->sealed != NULL, row->sealed_len, row->tags_len};
  uint64_t sum = tok_sum(0x6f626a656374, head, sizeof head);
  sum = tok_sum(sum, row->uuid, 16);
  sum = tok_sum(sum, row->tags, row->tags_len);
  sum = tok_sum(sum, row->open, row->open_len);
  return tok_sum(sum, row->sealed, row->sealed_len);
}

static bool copy_bytes(const uint8_t *from, size_t size, uint8_t **to, size_t *to_size)
{
  if (from == NULL) return true;
  *to = malloc(size > 0 ? size : 1);
  if (*to == NULL) return false;
  memcpy(*to, from, size);
  *to_size = size;
  return true;
}

CK_RV tok_row_fill(const struct tok_raw_row *raw, struct tok_row *row)
{
  memset(row, 0, sizeof *row);
  row->id = raw->id;
  row->version = raw->version;
  row->class = raw->class;
  row->private = raw->private;
  memcpy(row->uuid, raw->uuid, sizeof row->uuid);
  if (copy_bytes(raw->open, raw->open_len, &row->open, &row->open_len) &&
      copy_bytes(raw->sealed, raw->sealed_len, &row->sealed, &row->sealed_len))
    return CKR_OK;
  tok_row_clear(row);
  return CKR_HOST_MEMORY;
}

void tok_row_clear(struct tok_row *row)
{
  free(row->open);
  free(row->sealed);
  memset(row, 0, sizeof *row);
}

/* The columns of a row that READ found; false if the checksum is wrong. */
static bool columns(sqlite3_stmt *s, int64_t id, struct tok_raw_row *raw)
{
  *raw = (struct tok_raw_row){.id = id,
                              .version = (uint64_t)sqlite3_column_int64(s, 0),
                              .class = (CK_OBJECT_CLASS)sqlite3_column_int64(s, 2),
                              .private = sqlite3_column_int64(s, 3) != 0,
                              .checksum = (uint64_t)sqlite3_column_int64(s, 7)};
  raw->uuid = sqlite3_column_blob(s, 1);
  raw->tags = sqlite3_column_blob(s, 4);
  raw->tags_len = (size_t)sqlite3_column_bytes(s, 4);
  /* An empty blob reads as NULL: its type tells. */
  if (sqlite3_column_type(s, 5) != SQLITE_NULL) {
    raw->open = sqlite3_column_blob(s, 5);
    raw->open_len = (size_t)sqlite3_column_bytes(s, 5);
    if (raw->open == NULL) raw->open = (const uint8_t *)"";
  }
  if (sqlite3_column_type(s, 6) != SQLITE_NULL) {
    raw->sealed = sqlite3_column_blob(s, 6);
    raw->sealed_len = (size_t)sqlite3_column_bytes(s, 6);
    if (raw->sealed == NULL) raw->sealed = (const uint8_t *)"";
  }
  return raw->uuid != NULL && sqlite3_column_bytes(s, 1) == 16 && raw->tags_len % TOK_TAG_BYTES == 0 &&
         tok_row_sum(raw) == raw->checksum;
}

struct wanted {
  int64_t id;
  struct tok_row *row; /* to be filled in, or NULL */
  uint64_t version;    /* found */
  CK_RV rv;
  bool found;
};

static bool is_wanted(const struct tok_raw_row *raw, void *context)
{
  struct wanted *w = context;
  if (raw->id != w->id) return true;
  w->found = true;
  w->version = raw->version;
  if (w->row != NULL) w->rv = tok_row_fill(raw, w->row);
  return false;
}

/* What SQLite cannot reach or what its page's checksum spoils may still be whole itself. */
static CK_RV salvage_row(struct tok_connection *c, struct wanted *wanted)
{
  tok_salvage(c, is_wanted, wanted, NULL);
  return wanted->found ? wanted->rv : CKR_DEVICE_ERROR;
}

CK_RV tok_store_read(struct tok_store *store, int64_t id, struct tok_row *row)
{
  struct tok_connection *c = &store->reader;
  struct wanted wanted = {.id = id, .row = row};
  struct tok_raw_row raw;
  sqlite3_stmt *s;
  bool damaged = false;
  CK_RV rv = tok_connection_lock(c, NULL, 0);
  memset(row, 0, sizeof *row);
  if (rv != CKR_OK) return rv;
  if (c->unreadable) {
    rv = salvage_row(c, &wanted);
    goto out;
  }
  s = tok_statement(c, TOK_SQL_READ, &rv);
  if (s == NULL) goto out;
  sqlite3_bind_int64(s, 1, id);
  int rc = sqlite3_step(s);
  if (rc == SQLITE_DONE) {
    rv = CKR_OBJECT_HANDLE_INVALID;
  } else if (rc != SQLITE_ROW) {
    damaged = tok_sql_damage(rc);
    rv = tok_sql_error(c->db, rc);
  } else if (!columns(s, id, &raw)) {
    /* Also when a page of a long value could not be read: then a blob is missing. */
    damaged = sqlite3_errcode(c->db) != SQLITE_NOMEM;
    rv = damaged ? CKR_DEVICE_ERROR : CKR_HOST_MEMORY;
  } else {
    rv = tok_row_fill(&raw, row);
  }
  sqlite3_reset(s);
  if (damaged) rv = salvage_row(c, &wanted);

out:
  tok_connection_unlock(c);
  return rv;
}

CK_RV tok_store_version(struct tok_store *store, int64_t id, uint64_t *version)
{
  struct tok_connection *c = &store->reader;
  struct wanted wanted = {.id = id};
  sqlite3_stmt *s;
  int rc;
  CK_RV rv = tok_connection_lock(c, NULL, 0);
  *version = 0;
  if (rv != CKR_OK) return rv;
  if (c->unreadable) {
    rv = salvage_row(c, &wanted);
    *version = wanted.version;
    goto out;
  }
  s = tok_statement(c, TOK_SQL_VERSION, &rv);
  if (s == NULL) goto out;
  sqlite3_bind_int64(s, 1, id);
  rc = sqlite3_step(s);
  if (rc == SQLITE_ROW) *version = (uint64_t)sqlite3_column_int64(s, 0);
  rv = tok_sql_error(c->db, rc);
  sqlite3_reset(s);
  if (tok_sql_damage(rc)) {
    rv = salvage_row(c, &wanted);
    *version = wanted.version;
  }

out:
  tok_connection_unlock(c);
  return rv;
}

/* --- writing: all inside a write transaction --------------------------------------------------------------- */

static void bind_blob(sqlite3_stmt *s, int at, const uint8_t *bytes, size_t size)
{
  if (bytes == NULL)
    sqlite3_bind_null(s, at);
  else
    sqlite3_bind_blob64(s, at, bytes, size, SQLITE_STATIC);
}

static CK_RV write_row(struct tok_connection *c, enum tok_statement which, const struct tok_raw_row *raw)
{
  CK_RV rv;
  sqlite3_stmt *s = tok_statement(c, which, &rv);
  if (s == NULL) return rv;
  sqlite3_bind_int64(s, 1, (sqlite3_int64)raw->version);
  bind_blob(s, 2, raw->uuid, 16);
  sqlite3_bind_int64(s, 3, (sqlite3_int64)raw->class);
  sqlite3_bind_int(s, 4, raw->private);
  bind_blob(s, 5, raw->tags, raw->tags_len);
  bind_blob(s, 6, raw->open, raw->open_len);
  bind_blob(s, 7, raw->sealed, raw->sealed_len);
  sqlite3_bind_int64(s, 8, (sqlite3_int64)tok_row_sum(raw));
  sqlite3_bind_int64(s, 9, raw->id);
  rv = tok_run(c, s);
  sqlite3_clear_bindings(s);
  return rv;
}

/* Adds or drops the entries of a row in the index; the first is that of "every object". */
static CK_RV index_row(struct tok_connection *c, const struct tok_raw_row *raw, enum tok_statement which)
{
  CK_RV rv;
  sqlite3_stmt *s = tok_statement(c, which, &rv);
  if (s == NULL) return rv;
  for (size_t at = 0; rv == CKR_OK; at += TOK_TAG_BYTES) {
    const uint8_t *tag = at == 0 ? NULL : raw->tags + at - TOK_TAG_BYTES;
    sqlite3_bind_int(s, 1, tag == NULL ? 0 : tag[0] + 1);
    sqlite3_bind_blob(s, 2, tag == NULL ? (const uint8_t *)"" : tag + 1, tag == NULL ? 0 : TOK_TAG_BYTES - 1,
                      SQLITE_STATIC);
    sqlite3_bind_int64(s, 3, (sqlite3_int64)raw->class);
    sqlite3_bind_int64(s, 4, raw->id);
    if (which == TOK_SQL_ADD_TAG) sqlite3_bind_int(s, 5, raw->private);
    rv = tok_run(c, s);
    if (at == raw->tags_len) break;
  }
  sqlite3_clear_bindings(s);
  return rv;
}

/* A caller's row as it is to be stored; `tags` has room for them all. */
static struct tok_raw_row prepared(const struct tok_row *row, uint8_t tags[TOK_MAX_TAGS * TOK_TAG_BYTES])
{
  for (size_t i = 0; i < row->tag_count; i++) {
    tags[i * TOK_TAG_BYTES] = row->tags[i].kind;
    memcpy(tags + i * TOK_TAG_BYTES + 1, row->tags[i].tag, TOK_TAG_BYTES - 1);
  }
  return (struct tok_raw_row){.id = row->id,
                              .version = row->version,
                              .class = row->class,
                              .private = row->private,
                              .uuid = row->uuid,
                              .tags = tags,
                              .tags_len = row->tag_count * TOK_TAG_BYTES,
                              .open = row->open,
                              .open_len = row->open_len,
                              .sealed = row->sealed,
                              .sealed_len = row->sealed_len};
}

static CK_RV last_id(struct tok_connection *c, int64_t *id)
{
  CK_RV rv;
  sqlite3_stmt *s = tok_statement(c, TOK_SQL_LAST_ID, &rv);
  if (s == NULL) return rv;
  int rc = sqlite3_step(s);
  *id = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
  sqlite3_reset(s);
  return tok_sql_error(c->db, rc);
}

/* Begins a write transaction on the token that the caller knows. */
static CK_RV begin_in_epoch(struct tok_store *store, uint64_t epoch)
{
  struct tok_token_record token;
  CK_RV rv = tok_write_begin(store, &token);
  if (rv == CKR_OK && token.epoch != epoch) rv = tok_write_end(store, CKR_DEVICE_REMOVED);
  return rv;
}

static CK_RV insert_once(struct tok_store *store, uint64_t epoch, struct tok_row *const *rows, size_t count)
{
  uint8_t tags[TOK_MAX_TAGS * TOK_TAG_BYTES];
  struct tok_connection *c = &store->writer;
  int64_t id = 0;
  CK_RV rv = begin_in_epoch(store, epoch);
  if (rv != CKR_OK) return rv;
  rv = last_id(c, &id);
  for (size_t i = 0; i < count && rv == CKR_OK; i++) {
    rows[i]->id = ++id;
    rows[i]->version = 1;
    struct tok_raw_row raw = prepared(rows[i], tags);
    rv = write_row(c, TOK_SQL_INSERT, &raw);
    if (rv == CKR_OK) rv = index_row(c, &raw, TOK_SQL_ADD_TAG);
  }
  return tok_write_end(store, rv);
}

/* Takes the row that is there now out of the index and tells its version; CKR_OBJECT_HANDLE_INVALID if there is none. A row
 * that is damaged does not know its entries: then, if `force`, all of the index is searched for them. */
static CK_RV unindex(struct tok_connection *c, int64_t id, bool force, uint64_t *version)
{
  struct tok_raw_row raw;
  CK_RV rv;
  sqlite3_stmt *s = tok_statement(c, TOK_SQL_READ, &rv);
  if (s == NULL) return rv;
  sqlite3_bind_int64(s, 1, id);
  int rc = sqlite3_step(s);
  bool whole = rc == SQLITE_ROW && columns(s, id, &raw);
  if (rc == SQLITE_DONE) {
    rv = CKR_OBJECT_HANDLE_INVALID;
  } else if (whole) {
    *version = raw.version;
    rv = index_row(c, &raw, TOK_SQL_DROP_TAG);
  } else {
    rv = rc == SQLITE_ROW ? CKR_DEVICE_ERROR : tok_sql_error(c->db, rc);
  }
  sqlite3_reset(s);
  if (whole || rc == SQLITE_DONE || !force || rv != CKR_DEVICE_ERROR) return rv;
  s = tok_statement(c, TOK_SQL_DROP_TAGS, &rv);
  if (s == NULL) return rv;
  sqlite3_bind_int64(s, 1, id);
  return tok_run(c, s);
}

static CK_RV update_once(struct tok_store *store, uint64_t epoch, struct tok_row *row)
{
  uint8_t tags[TOK_MAX_TAGS * TOK_TAG_BYTES];
  struct tok_connection *c = &store->writer;
  struct tok_raw_row raw = prepared(row, tags);
  uint64_t version = 0;
  CK_RV rv = begin_in_epoch(store, epoch);
  if (rv != CKR_OK) return rv;
  rv = unindex(c, row->id, false, &version);
  if (rv == CKR_OK && version != row->version) rv = CKR_FUNCTION_FAILED;
  raw.version = version + 1;
  if (rv == CKR_OK) rv = write_row(c, TOK_SQL_UPDATE, &raw);
  if (rv == CKR_OK) rv = index_row(c, &raw, TOK_SQL_ADD_TAG);
  rv = tok_write_end(store, rv);
  if (rv == CKR_OK) row->version = raw.version;
  return rv;
}

static CK_RV delete_once(struct tok_store *store, uint64_t epoch, int64_t id)
{
  struct tok_connection *c = &store->writer;
  sqlite3_stmt *s;
  uint64_t version;
  CK_RV rv = begin_in_epoch(store, epoch);
  if (rv != CKR_OK) return rv;
  rv = unindex(c, id, true, &version);
  s = rv == CKR_OK ? tok_statement(c, TOK_SQL_DELETE, &rv) : NULL;
  if (s != NULL) {
    sqlite3_bind_int64(s, 1, id);
    rv = tok_run(c, s);
  }
  return tok_write_end(store, rv);
}

/* --- for callers: when the disk is full, the log may be what fills it --------------------------------------- */

CK_RV tok_store_insert(struct tok_store *store, uint64_t epoch, struct tok_row *const *rows, size_t count)
{
  CK_RV rv = insert_once(store, epoch, rows, count);
  return rv == CKR_DEVICE_MEMORY && tok_write_back(store) ? insert_once(store, epoch, rows, count) : rv;
}

CK_RV tok_store_update(struct tok_store *store, uint64_t epoch, struct tok_row *row)
{
  CK_RV rv = update_once(store, epoch, row);
  return rv == CKR_DEVICE_MEMORY && tok_write_back(store) ? update_once(store, epoch, row) : rv;
}

CK_RV tok_store_delete(struct tok_store *store, uint64_t epoch, int64_t id)
{
  CK_RV rv = delete_once(store, epoch, id);
  return rv == CKR_DEVICE_MEMORY && tok_write_back(store) ? delete_once(store, epoch, id) : rv;
}
