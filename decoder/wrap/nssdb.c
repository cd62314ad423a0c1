/* The module list of an NSS database, a text file: paragraphs of key=value lines, pkcs11.txt. Only the one library=
 * line of one paragraph is ever changed, so that putting it back gives the file byte for byte. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "decoder/wrap/wrap.h"

struct span {
  const char *at;
  size_t length;
};

/* One paragraph: the whole library= line (without its line break) and the name. */
struct entry {
  struct span library, name;
};

struct database {
  char directory[PATH_MAX];
  char list[PATH_MAX]; /* DIR/pkcs11.txt, symbolic links followed */
  char side[PATH_MAX]; /* DIR/pkcs11.txt.p11trace */
  char *text;
  size_t size;
  struct stat st;
};

static const char side_heading[] =
    "# Modules of this NSS database that `p11trace wrap --replace` has put traced copies in the place of.\n"
    "# `p11trace wrap --nssdb sql:DIR --restore` reads this file, puts them back and removes it.\n";

static bool next_line(const char **at, const char *end, struct span *line)
{
  if (*at >= end) return false;
  const char *stop = memchr(*at, '\n', (size_t)(end - *at));
  line->at = *at;
  line->length = (size_t)((stop != NULL ? stop : end) - *at);
  *at = stop != NULL ? stop + 1 : end;
  return true;
}

/* The value, if the line is KEY=value; surrounding double quotes, which NSS also reads, are not part of it. */
static bool value_of(struct span line, const char *key, struct span *value)
{
  size_t length = strlen(key);
  if (line.length <= length || strncasecmp(line.at, key, length) != 0 || line.at[length] != '=') return false;
  value->at = line.at + length + 1;
  value->length = line.length - length - 1;
  if (value->length >= 2 && value->at[0] == '"' && value->at[value->length - 1] == '"') {
    value->at++;
    value->length -= 2;
  }
  return true;
}

static bool same(struct span a, const char *b)
{
  return a.length == strlen(b) && memcmp(a.at, b, a.length) == 0;
}

/* The next paragraph at *at; false at the end of the file. */
static bool next_entry(const char **at, const char *end, struct entry *entry)
{
  struct span line, value;
  bool any = false;
  memset(entry, 0, sizeof *entry);
  while (next_line(at, end, &line)) {
    if (line.length == 0) {
      if (any) return true;
      continue;
    }
    any = true;
    if (value_of(line, "library", &value)) entry->library = line;
    if (value_of(line, "name", &value)) entry->name = value;
  }
  return any;
}

static bool find_entry(const struct database *db, const char *name, struct entry *entry)
{
  const char *at = db->text;
  while (next_entry(&at, db->text + db->size, entry)) {
    if (entry->name.at != NULL && same(entry->name, name)) return true;
  }
  return false;
}

static int open_database(const char *name, struct database *db)
{
  char path[PATH_MAX];
  memset(db, 0, sizeof *db);
  if (strncmp(name, "dbm:", 4) == 0) {
    return wrap_fail("not a database with a module list in text", name, "only sql: databases have a pkcs11.txt");
  }
  const char *directory = strncmp(name, "sql:", 4) == 0 ? name + 4 : name;
  if (realpath(directory, db->directory) == NULL) {
    return wrap_fail("no such NSS database", name, "%s", strerror(errno));
  }
  if (snprintf(path, sizeof path, "%s/pkcs11.txt", db->directory) >= (int)sizeof path ||
      snprintf(db->side, sizeof db->side, "%s.p11trace", path) >= (int)sizeof db->side) {
    return wrap_fail("no such NSS database", name, "the path is too long");
  }
  if (realpath(path, db->list) == NULL || (db->text = wrap_read_file(db->list, &db->size, &db->st)) == NULL) {
    return wrap_fail("no module list", path, "%s; is this the folder of a profile or of `certutil -N`?",
                     strerror(errno));
  }
  return 0;
}

static int fail_unknown(const struct database *db, const char *name)
{
  char *names = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&names, &size);
  if (f != NULL) {
    const char *at = db->text;
    struct entry entry;
    for (const char *comma = ""; next_entry(&at, db->text + db->size, &entry); comma = ", ") {
      fprintf(f, "%s\"%.*s\"", comma, (int)entry.name.length, entry.name.at != NULL ? entry.name.at : "");
    }
    fclose(f);
  }
  wrap_fail("no module of this name", name, "%s has %s", db->list, names != NULL ? names : "others");
  free(names);
  return -1;
}

/* Writes pkcs11.txt with the bytes of `old`, a span of db->text, exchanged, and reads it again. */
static int exchange(struct database *db, struct span old, const char *new, size_t new_length)
{
  size_t before = (size_t)(old.at - db->text);
  size_t after = db->size - before - old.length;
  size_t size = before + new_length + after;
  char *text = malloc(size + 1);
  if (text == NULL) return wrap_fail("cannot change", db->list, "%s", strerror(ENOMEM));
  memcpy(text, db->text, before);
  memcpy(text + before, new, new_length);
  memcpy(text + before + new_length, old.at + old.length, after);
  text[size] = '\0';
  if (wrap_replace_file(db->list, text, size, db->st.st_mode & 07777, &db->st) != 0) {
    wrap_fail("cannot change", db->list, "%s", strerror(errno));
    free(text);
    return -1;
  }
  free(db->text);
  db->text = text;
  db->size = size;
  return 0;
}

/* The side file's paragraphs: name=, original= (the whole old line) and traced= (the whole new one). */
static int remember(const struct database *db, struct entry entry, const char *traced)
{
  size_t old_size = 0;
  char *old = wrap_read_file(db->side, &old_size, NULL);
  if (old == NULL && errno != ENOENT) return wrap_fail("cannot read", db->side, "%s", strerror(errno));
  char *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  if (f == NULL) {
    free(old);
    return wrap_fail("cannot write", db->side, "%s", strerror(errno));
  }
  if (old != NULL) {
    fwrite(old, 1, old_size, f);
  } else {
    fputs(side_heading, f);
  }
  fprintf(f, "\nname=%.*s\noriginal=%.*s\ntraced=%s\n", (int)entry.name.length, entry.name.at,
          (int)entry.library.length, entry.library.at, traced);
  free(old);
  int bad = ferror(f);
  if (fclose(f) != 0 || bad) {
    free(text);
    return wrap_fail("cannot write", db->side, "%s", strerror(ENOMEM));
  }
  int result = wrap_replace_file(db->side, text, size, 0600, &db->st);
  if (result != 0) wrap_fail("cannot write", db->side, "%s", strerror(errno));
  free(text);
  return result;
}

int nssdb_replace(const char *database, const char *name, struct wrap_request *request, struct wrap_copy *copy)
{
  struct database db;
  struct entry entry;
  struct span library = {0};
  char *module = NULL, *line = NULL;
  int result = -1;

  if (open_database(database, &db) != 0) goto out;
  if (!find_entry(&db, name, &entry)) {
    fail_unknown(&db, name);
    goto out;
  }
  if (entry.library.at == NULL || !value_of(entry.library, "library", &library) || library.length == 0) {
    wrap_fail("this is NSS's own module", name, "it is built in and has no library= line to exchange");
    goto out;
  }
  module = strndup(library.at, library.length);
  if (module == NULL) {
    wrap_fail("cannot change", db.list, "%s", strerror(errno));
    goto out;
  }
  if (wrap_is_traced_copy(module)) {
    wrap_fail("the module is traced already", name, "put the original back first: p11trace wrap --nssdb %s --restore",
              database);
    goto out;
  }
  request->module = module;
  if (request->directory == NULL) request->directory = db.directory;
  if (wrap_write(request, copy) != 0) goto out;
  if (asprintf(&line, "library=%s", copy->library) < 0) {
    line = NULL;
    wrap_fail("cannot change", db.list, "%s", strerror(ENOMEM));
    goto out;
  }
  /* The side file first: whatever happens in between, --restore finds its way back. */
  if (remember(&db, entry, line) != 0 || exchange(&db, entry.library, line, strlen(line)) != 0) goto out;
  printf("\"%s\" in %s is now %s\n", name, db.list, copy->library);
  result = 0;
out:
  request->module = NULL;
  free(line);
  free(module);
  free(db.text);
  return result;
}

/* The traced copy, if it was made inside the database's folder, goes with the replacement. */
static void remove_copy(const struct database *db, struct span traced)
{
  struct span path;
  char library[PATH_MAX], conf[PATH_MAX];
  size_t directory = strlen(db->directory);
  if (!value_of(traced, "library", &path) || path.length >= sizeof library) return;
  memcpy(library, path.at, path.length);
  library[path.length] = '\0';
  if (strncmp(library, db->directory, directory) != 0 || library[directory] != '/' ||
      strchr(library + directory + 1, '/') != NULL || !wrap_is_traced_copy(library)) {
    return;
  }
  unlink(library);
  if (wrap_conf_path(library, conf) == 0) unlink(conf);
}

struct replaced {
  struct span name, original, traced;
};

static bool next_replaced(const char **at, const char *end, struct replaced *r)
{
  struct span line;
  memset(r, 0, sizeof *r);
  while (next_line(at, end, &line)) {
    value_of(line, "name", &r->name);
    value_of(line, "original", &r->original);
    if (value_of(line, "traced", &r->traced)) {
      if (r->name.at != NULL && r->original.at != NULL) return true;
      memset(r, 0, sizeof *r);
    }
  }
  return false;
}

static int restore_one(struct database *db, const struct replaced *r)
{
  struct entry entry;
  char *name = strndup(r->name.at, r->name.length);
  if (name == NULL) return wrap_fail("cannot restore", db->list, "%s", strerror(errno));
  int result = 0;
  if (!find_entry(db, name, &entry) || entry.library.at == NULL) {
    printf("\"%s\" is no longer in %s: nothing to put back\n", name, db->list);
  } else if (entry.library.length == r->original.length &&
             memcmp(entry.library.at, r->original.at, r->original.length) == 0) {
    /* A replacement that was interrupted, or somebody was here before us. */
    printf("\"%s\" in %s has its own library already\n", name, db->list);
  } else if (entry.library.length == r->traced.length &&
             memcmp(entry.library.at, r->traced.at, r->traced.length) == 0) {
    result = exchange(db, entry.library, r->original.at, r->original.length);
    if (result == 0) {
      printf("\"%s\" in %s is %.*s again\n", name, db->list, (int)r->original.length, r->original.at);
    }
  } else {
    result = wrap_fail("the module's library has been changed since", name, "left as it is; remove %s if that is right",
                       db->side);
  }
  if (result == 0) remove_copy(db, r->traced);
  free(name);
  return result;
}

int nssdb_restore(const char *database)
{
  struct database db;
  struct replaced r;
  char *side = NULL;
  size_t size;
  int result = -1;

  if (open_database(database, &db) != 0) goto out;
  side = wrap_read_file(db.side, &size, NULL);
  if (side == NULL) {
    wrap_fail("nothing to restore", db.side, "%s",
              errno == ENOENT ? "no module of this database is replaced" : strerror(errno));
    goto out;
  }
  result = 0;
  const char *at = side;
  while (next_replaced(&at, side + size, &r)) {
    if (restore_one(&db, &r) != 0) result = -1;
  }
  if (result == 0 && unlink(db.side) != 0) {
    result = wrap_fail("cannot remove", db.side, "%s", strerror(errno));
  }
out:
  free(side);
  free(db.text);
  return result;
}
