/* Reading rows out of a damaged file without SQLite.
 *
 * Every page is looked at for itself: if it is a leaf of a table (SQLite's file format, 1.6) its cells are read as records,
 * and a record is believed if it has the form and the checksum of one of our rows. So a row can be read as long as its own
 * bytes and the few that lead to them within its page are whole, whatever became of the schema, the inner pages or the
 * index. A deleted row is not found: secure_delete overwrites it. Every length and offset here comes from a damaged file. */
#include <stdlib.h>
#include <string.h>

#include "database.h"

#define USABLE (TOK_PAGE - 8)
#define LEAF 0x0d
#define MOST_COLUMNS 9
#define MOST_PAYLOAD (64u << 20)

struct column {
  enum { NOTHING, INTEGER, BLOB } type;
  uint64_t number;
  const uint8_t *bytes; /* of a blob */
  size_t size;
};

/* What is left to read. */
struct span {
  const uint8_t *at;
  size_t left;
};

struct search {
  sqlite3 *db;
  bool (*row)(const struct tok_raw_row *row, void *context);
  void *context;
  struct tok_token_record *token;
  bool token_found, enough;
};

/* SQLite's variable-length number: 7 bits a byte, the ninth has 8. */
static bool varint(struct span *s, uint64_t *value)
{
  *value = 0;
  for (int i = 0; i < 9; i++) {
    if (s->left == 0) return false;
    uint8_t byte = *s->at++;
    s->left--;
    if (i == 8) {
      *value = *value << 8 | byte;
      return true;
    }
    *value = *value << 7 | (byte & 0x7f);
    if (byte < 0x80) return true;
  }
  return false;
}

static bool column(struct span *body, uint64_t type, struct column *c)
{
  static const uint8_t sizes[] = {0, 1, 2, 3, 4, 6, 8};
  size_t size;
  *c = (struct column){.type = INTEGER};
  if (type == 0) {
    c->type = NOTHING;
    return true;
  }
  if (type == 8 || type == 9) {
    c->number = type - 8;
    return true;
  }
  if (type >= 12 && type % 2 == 0) {
    if ((type - 12) / 2 > body->left) return false;
    *c = (struct column){.type = BLOB, .bytes = body->at, .size = (size_t)((type - 12) / 2)};
    size = c->size;
  } else if (type < sizeof sizes) {
    size = sizes[type];
    if (size > body->left) return false;
    c->number = (body->at[0] & 0x80) != 0 ? UINT64_MAX : 0;
    for (size_t i = 0; i < size; i++) c->number = c->number << 8 | body->at[i];
  } else {
    return false;
  }
  body->at += size;
  body->left -= size;
  return true;
}

/* Splits a record; returns the number of columns, 0 if it is none of ours. */
static size_t split(const uint8_t *payload, size_t size, struct column columns[MOST_COLUMNS])
{
  struct span head = {payload, size}, body;
  uint64_t head_size, type;
  size_t count = 0;
  if (!varint(&head, &head_size) || head_size > size || head_size < size - head.left) return 0;
  body = (struct span){payload + head_size, size - (size_t)head_size};
  head.left = (size_t)head_size - (size_t)(head.at - payload);
  for (; head.left > 0; count++)
    if (count == MOST_COLUMNS || !varint(&head, &type) || !column(&body, type, &columns[count])) return 0;
  return count;
}

static void token_record(struct search *s, const struct column c[4])
{
  if (s->token != NULL && c[1].type == INTEGER && c[2].type == BLOB && c[3].type == INTEGER &&
      tok_token_unpack(c[2].bytes, c[2].size, c[1].number, c[3].number, s->token))
    s->token_found = true;
}

static bool optional_blob(const struct column *c)
{
  return c->type == NOTHING || c->type == BLOB;
}

/* Columns as in newfile.c: the id (kept outside of the record), version, uuid, class, private, tags, open, sealed,
 * checksum. */
static void object_record(struct search *s, int64_t id, const struct column c[9])
{
  struct tok_raw_row raw;
  if (s->row == NULL || c[1].type != INTEGER || c[2].type != BLOB || c[2].size != 16 || c[3].type != INTEGER ||
      c[4].type != INTEGER || c[5].type != BLOB || c[5].size % TOK_TAG_BYTES != 0 || c[8].type != INTEGER ||
      !optional_blob(&c[6]) || !optional_blob(&c[7]))
    return;
  raw = (struct tok_raw_row){.id = id,
                             .version = c[1].number,
                             .uuid = c[2].bytes,
                             .class = (CK_OBJECT_CLASS)c[3].number,
                             .private = c[4].number != 0,
                             .tags = c[5].bytes,
                             .tags_len = c[5].size,
                             .checksum = c[8].number,
                             .open = c[6].bytes,
                             .open_len = c[6].size,
                             .sealed = c[7].bytes,
                             .sealed_len = c[7].size};
  if (tok_row_sum(&raw) == raw.checksum && !s->row(&raw, s->context)) s->enough = true;
}

static uint32_t big_endian(const uint8_t *p, int size)
{
  uint32_t value = 0;
  for (int i = 0; i < size; i++) value = value << 8 | p[i];
  return value;
}

/* Puts a payload together that continues on overflow pages; NULL if the chain is broken. The caller frees it. */
static uint8_t *gather(sqlite3 *db, const uint8_t *local, size_t local_size, size_t size)
{
  uint8_t page[TOK_PAGE], *whole = malloc(size);
  uint32_t next = big_endian(local + local_size, 4);
  size_t at = local_size;
  if (whole == NULL) return NULL;
  memcpy(whole, local, local_size);
  while (at < size) {
    size_t part = size - at < USABLE - 4 ? size - at : USABLE - 4;
    if (next == 0 || tok_raw_read(db, page, TOK_PAGE, (int64_t)(next - 1) * TOK_PAGE) != TOK_PAGE) {
      free(whole);
      return NULL;
    }
    memcpy(whole + at, page + 4, part);
    at += part;
    next = big_endian(page, 4);
  }
  return whole;
}

static void cell(struct search *s, const uint8_t *page, size_t offset)
{
  struct span span = {page + offset, USABLE - offset};
  struct column columns[MOST_COLUMNS];
  const size_t most = USABLE - 35, least = (USABLE - 12) * 32 / 255 - 23;
  uint64_t size, id;
  size_t local, count;
  uint8_t *gathered = NULL;
  const uint8_t *payload;
  if (!varint(&span, &size) || !varint(&span, &id) || size == 0 || size > MOST_PAYLOAD) return;
  payload = span.at;
  local = (size_t)size;
  if (size > most) {
    local = least + ((size_t)size - least) % (USABLE - 4);
    if (local > most) local = least;
    if (local + 4 > span.left) return;
    gathered = gather(s->db, span.at, local, (size_t)size);
    if (gathered == NULL) return;
    payload = gathered;
  } else if (local > span.left) {
    return;
  }
  count = split(payload, (size_t)size, columns);
  if (count == 4) token_record(s, columns);
  if (count == 9) object_record(s, (int64_t)id, columns);
  free(gathered);
}

static void page_cells(struct search *s, const uint8_t *page)
{
  size_t count;
  if (page[0] != LEAF) return;
  count = big_endian(page + 3, 2);
  for (size_t i = 0; i < count && 8 + 2 * i + 2 <= USABLE && !s->enough; i++) {
    size_t offset = big_endian(page + 8 + 2 * i, 2);
    if (offset >= 8 && offset < USABLE) cell(s, page, offset);
  }
}

CK_RV tok_salvage(struct tok_connection *connection, bool (*row)(const struct tok_raw_row *row, void *context),
                  void *context, struct tok_token_record *token)
{
  struct search s = {.db = connection->db, .row = row, .context = context, .token = token};
  uint8_t page[TOK_PAGE];
  /* What lies in the log only would be missed. */
  sqlite3_wal_checkpoint_v2(connection->db, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
  /* Page 1 holds the schema, no rows. A file that was cut off may end within a page. */
  for (int64_t at = TOK_PAGE; !s.enough; at += TOK_PAGE) {
    size_t got = tok_raw_read(s.db, page, TOK_PAGE, at);
    if (got == 0) break;
    memset(page + got, 0, TOK_PAGE - got);
    page_cells(&s, page);
    if (s.token_found && row == NULL) break;
  }
  return token != NULL && !s.token_found ? CKR_DEVICE_ERROR : CKR_OK;
}
