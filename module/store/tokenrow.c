/* The token's own row: label, PINs, epoch. */
#include <string.h>

#include "database.h"

/* One cursor packs and unpacks, so that the two cannot fall out of step. Numbers are little-endian. */
struct cursor {
  uint8_t *at;
  bool writing;
};

static void bytes(struct cursor *c, void *value, size_t size)
{
  if (c->writing)
    memcpy(c->at, value, size);
  else
    memcpy(value, c->at, size);
  c->at += size;
}

static uint64_t number(struct cursor *c, uint64_t value, size_t size)
{
  uint64_t read = 0;
  for (size_t i = 0; i < size; i++) {
    if (c->writing) c->at[i] = (uint8_t)(value >> 8 * i);
    read |= (uint64_t)c->at[i] << 8 * i;
  }
  c->at += size;
  return read;
}

static void pin(struct cursor *c, struct tok_pin_record *p)
{
  p->set = number(c, p->set, 1) != 0;
  p->usable_master = number(c, p->usable_master, 1) != 0;
  bytes(c, p->salt, sizeof p->salt);
  p->cost = (uint8_t)number(c, p->cost, 1);
  bytes(c, p->wrapped, sizeof p->wrapped);
  p->failed = (uint32_t)number(c, p->failed, 4);
}

/* Everything but the epoch, which has a column. */
static void record(struct cursor *c, struct tok_token_record *t)
{
  bytes(c, t->label, sizeof t->label);
  bytes(c, t->serial, sizeof t->serial);
  t->slot = number(c, t->slot, 8);
  t->pin_limit = (uint32_t)number(c, t->pin_limit, 4);
  t->so_pin_limit = (uint32_t)number(c, t->so_pin_limit, 4);
  t->min_pin = (uint32_t)number(c, t->min_pin, 4);
  t->max_pin = (uint32_t)number(c, t->max_pin, 4);
  pin(c, &t->user);
  pin(c, &t->so);
  bytes(c, t->profile, sizeof t->profile);
}

uint64_t tok_token_sum(uint64_t epoch, const uint8_t packed[TOK_RECORD])
{
  return tok_sum(tok_sum(0x746f6b656e, &epoch, sizeof epoch), packed, TOK_RECORD);
}

void tok_token_pack(const struct tok_token_record *token, uint8_t packed[TOK_RECORD])
{
  struct tok_token_record copy = *token;
  record(&(struct cursor){packed, true}, &copy);
}

bool tok_token_unpack(const uint8_t *packed, size_t size, uint64_t epoch, uint64_t checksum,
                      struct tok_token_record *token)
{
  uint8_t copy[TOK_RECORD];
  if (packed == NULL || size != TOK_RECORD || tok_token_sum(epoch, packed) != checksum) return false;
  memcpy(copy, packed, TOK_RECORD);
  memset(token, 0, sizeof *token);
  record(&(struct cursor){copy, false}, token);
  token->epoch = epoch;
  token->profile[sizeof token->profile - 1] = '\0';
  return true;
}

void tok_token_bind(sqlite3_stmt *statement, const struct tok_token_record *token, const uint8_t packed[TOK_RECORD])
{
  sqlite3_bind_int64(statement, 1, (sqlite3_int64)token->epoch);
  sqlite3_bind_blob(statement, 2, packed, TOK_RECORD, SQLITE_STATIC);
  sqlite3_bind_int64(statement, 3, (sqlite3_int64)tok_token_sum(token->epoch, packed));
}

/* From one of the two tables; *damaged if it could not be read for damage. */
static CK_RV read_from(struct tok_connection *c, enum tok_statement which, struct tok_token_record *token,
                       bool *damaged)
{
  CK_RV rv;
  int rc;
  sqlite3_stmt *statement = tok_statement(c, which, &rv);
  *damaged = false;
  if (statement == NULL) {
    *damaged = tok_sql_damage(sqlite3_errcode(c->db)) || sqlite3_errcode(c->db) == SQLITE_ERROR;
    return rv;
  }
  rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW) {
    const void *packed = sqlite3_column_blob(statement, 1);
    if (!tok_token_unpack(packed, (size_t)sqlite3_column_bytes(statement, 1),
                          (uint64_t)sqlite3_column_int64(statement, 0), (uint64_t)sqlite3_column_int64(statement, 2),
                          token)) {
      *damaged = true;
      rv = CKR_DEVICE_ERROR;
    }
  } else {
    *damaged = rc == SQLITE_DONE || tok_sql_damage(rc);
    rv = rc == SQLITE_DONE ? CKR_DEVICE_ERROR : tok_sql_error(c->db, rc);
  }
  sqlite3_reset(statement);
  return rv;
}

CK_RV tok_token_read(struct tok_connection *connection, struct tok_token_record *token)
{
  CK_RV rv = CKR_OK;
  bool damaged = true;
  if (!connection->unreadable) rv = read_from(connection, TOK_SQL_TOKEN, token, &damaged);
  if (damaged && !connection->unreadable) rv = read_from(connection, TOK_SQL_TOKEN_SPARE, token, &damaged);
  if (damaged) rv = tok_salvage(connection, NULL, NULL, token);
  return rv;
}

CK_RV tok_store_token(struct tok_store *store, struct tok_token_record *token)
{
  CK_RV rv = tok_connection_lock(&store->reader, NULL, 0);
  if (rv != CKR_OK) return rv;
  rv = tok_token_read(&store->reader, token);
  tok_connection_unlock(&store->reader);
  return rv;
}

static CK_RV write_token(struct tok_connection *c, const struct tok_token_record *token)
{
  uint8_t packed[TOK_RECORD];
  CK_RV rv = CKR_OK;
  tok_token_pack(token, packed);
  for (int i = 0; i < 2 && rv == CKR_OK; i++) {
    sqlite3_stmt *statement = tok_statement(c, i == 0 ? TOK_SQL_SET_TOKEN : TOK_SQL_SET_SPARE, &rv);
    if (statement == NULL) break;
    tok_token_bind(statement, token, packed);
    rv = tok_run(c, statement);
    sqlite3_clear_bindings(statement);
  }
  return rv;
}

static CK_RV erase_objects(struct tok_connection *c)
{
  CK_RV rv;
  sqlite3_stmt *statement = tok_statement(c, TOK_SQL_ERASE_TAGS, &rv);
  if (statement != NULL) rv = tok_run(c, statement);
  if (rv == CKR_OK) statement = tok_statement(c, TOK_SQL_ERASE, &rv);
  if (rv == CKR_OK) rv = tok_run(c, statement);
  return rv;
}

/* True if the keys of `before` must not be found in the file any more. */
static bool keys_changed(const struct tok_token_record *before, const struct tok_token_record *after)
{
  return memcmp(before->user.wrapped, after->user.wrapped, TOK_WRAPPED) != 0 ||
         memcmp(before->so.wrapped, after->so.wrapped, TOK_WRAPPED) != 0;
}

static CK_RV change_and_end(struct tok_store *store, const struct tok_token_record *token, bool erase, CK_RV rv)
{
  if (rv == CKR_OK && erase) rv = erase_objects(&store->writer);
  if (rv == CKR_OK) rv = write_token(&store->writer, token);
  return tok_write_end(store, rv);
}

CK_RV tok_store_change_token(struct tok_store *store,
                             CK_RV (*change)(struct tok_token_record *token, bool *erase, void *context), void *context)
{
  struct tok_token_record before, now, token;
  bool erase = false;
  CK_RV rv = tok_write_begin(store, &before);
  if (rv != CKR_OK) return rv;
  token = before;
  rv = change(&token, &erase, context);
  rv = change_and_end(store, &token, erase, rv);
  /* When the disk is full, the log may be what fills it. `change` is called once. */
  if (rv == CKR_DEVICE_MEMORY && tok_write_back(store) && tok_write_begin(store, &now) == CKR_OK)
    rv = change_and_end(store, &token, erase, memcmp(&now, &before, sizeof now) == 0 ? CKR_OK : CKR_DEVICE_MEMORY);
  /* The log still has the old pages, with the master key under the old PIN. */
  if (rv == CKR_OK && (erase || keys_changed(&before, &token))) tok_write_back(store);
  return rv;
}
