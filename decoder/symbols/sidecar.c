/* NAME.p11t.sym: names found on one machine, for use on another. JSON, described in decoder/show/JSON.md. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/read/arena.h"
#include "decoder/symbols/symbols_part.h"

enum { MAX_SIDECAR = 256 << 20 };

struct known {
  uint64_t offset, function_offset;
  const char *function, *source;
  unsigned line;
};

struct known_file {
  const char *path, *build_id;
  enum symbols_trust trust;
  struct known *known;
  size_t count;
};

struct sidecar {
  struct arena texts;
  struct known_file *file;
  size_t files;
};

static bool parse_address(const json_t *value, uint64_t *address)
{
  const char *text = json_string_value(value);
  char *end;
  if (json_is_integer(value) && json_integer_value(value) >= 0) {
    *address = (uint64_t)json_integer_value(value);
    return true;
  }
  if (text == NULL || strncmp(text, "0x", 2) != 0 || strspn(text + 2, "0123456789abcdef") != strlen(text + 2))
    return false;
  *address = strtoull(text, &end, 16);
  return text[2] != '\0' && strlen(text) <= 18;
}

static const char *keep(struct sidecar *s, const char *text)
{
  return text == NULL ? NULL : arena_text(&s->texts, text, strlen(text));
}

/* KEY, or, where that could not hold it, the bytes of KEY_hex. */
static const char *get_path(struct sidecar *s, const json_t *o)
{
  const char *hex = json_string_value(json_object_get(o, "path_hex"));
  if (hex == NULL) return keep(s, json_string_value(json_object_get(o, "path")));
  size_t n = strlen(hex) / 2;
  char *path = arena_alloc(&s->texts, n + 1);
  for (size_t i = 0; i < n; i++) {
    unsigned byte;
    if (sscanf(hex + 2 * i, "%2x", &byte) != 1 || byte == 0) return NULL;
    path[i] = (char)byte;
  }
  return path;
}

static int by_offset(const void *x, const void *y)
{
  const struct known *a = x, *b = y;
  return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static void read_frames(struct sidecar *s, struct known_file *file, const json_t *frames)
{
  size_t count = json_array_size(frames);
  file->known = read_zalloc((count + 1) * sizeof *file->known);
  for (size_t i = 0; i < count; i++) {
    const json_t *o = json_array_get(frames, i);
    struct known *k = &file->known[file->count];
    json_int_t line = json_integer_value(json_object_get(o, "line"));
    if (!parse_address(json_object_get(o, "offset"), &k->offset)) continue;
    k->function = keep(s, json_string_value(json_object_get(o, "function")));
    if (!parse_address(json_object_get(o, "function_offset"), &k->function_offset)) k->function_offset = 0;
    k->source = keep(s, json_string_value(json_object_get(o, "source")));
    k->line = line > 0 && line < INT32_MAX ? (unsigned)line : 0;
    if (k->function != NULL || k->source != NULL) file->count++;
  }
  qsort(file->known, file->count, sizeof *file->known, by_offset);
}

static int by_file(const void *x, const void *y)
{
  const struct known_file *a = x, *b = y;
  int c = strcmp(a->path, b->path);
  return c != 0 ? c : strcmp(a->build_id, b->build_id);
}

static void read_files(struct sidecar *s, const json_t *files)
{
  size_t count = json_array_size(files);
  s->file = read_zalloc((count + 1) * sizeof *s->file);
  for (size_t i = 0; i < count; i++) {
    const json_t *o = json_array_get(files, i);
    struct known_file *file = &s->file[s->files];
    file->path = get_path(s, o);
    file->build_id = keep(s, json_string_value(json_object_get(o, "build_id")));
    if (file->path == NULL) continue;
    if (file->build_id == NULL) file->build_id = "";
    file->trust = json_is_false(json_object_get(o, "checked")) ? SYMBOLS_UNCHECKED : SYMBOLS_SAME;
    read_frames(s, file, json_object_get(o, "frames"));
    s->files++;
  }
  qsort(s->file, s->files, sizeof *s->file, by_file);
}

static json_t *load_file(const char *path, const char **why)
{
  struct stat st;
  json_error_t error;
  json_t *o = NULL;
  char *whole = realpath(path, NULL);
  int fd = symbol_file_open(NULL, whole != NULL ? whole : path, why);
  free(whole);
  if (fd < 0) return NULL;
  *why = "larger than any that symbolize writes";
  if (fstat(fd, &st) == 0 && st.st_size <= MAX_SIDECAR) {
    o = json_loadfd(fd, 0, &error);
    *why = "not what p11trace symbolize writes";
  }
  close(fd);
  return o;
}

/* *why is set when it is none of this trace. */
static json_t *check(json_t *o, const uint8_t trace_id[16], const char **why)
{
  char id[33];
  for (int i = 0; i < 16; i++) sprintf(id + 2 * i, "%02x", trace_id[i]);
  const char *type = json_string_value(json_object_get(o, "type")),
             *whose = json_string_value(json_object_get(o, "trace_id"));
  if (type != NULL && strcmp(type, "symbols") == 0) {
    if (json_integer_value(json_object_get(o, "version")) != 1) {
      *why = "written by a newer p11trace";
    } else if (whose == NULL || strcmp(whose, id) != 0) {
      *why = "of another trace";
    } else {
      return o;
    }
  }
  json_decref(o);
  return NULL;
}

struct sidecar *sidecar_read(const struct process *p)
{
  const char *why = "not what p11trace symbolize writes";
  json_error_t error;
  json_t *o = NULL;
  if (p->symbols != NULL) {
    o = p->symbols_size <= MAX_SIDECAR ? json_loadb(p->symbols, p->symbols_size, 0, &error) : NULL;
  } else {
    if (p->symbols_path == NULL || access(p->symbols_path, F_OK) != 0) return NULL;
    o = load_file(p->symbols_path, &why);
  }
  o = check(o, p->trace_id, &why);
  if (o == NULL) {
    fprintf(stderr, "p11trace: %s: %s: its names are not used\n", p->symbols_path, why);
    return NULL;
  }
  struct sidecar *s = read_zalloc(sizeof *s);
  read_files(s, json_object_get(o, "files"));
  json_decref(o);
  return s;
}

bool sidecar_find(const struct sidecar *s, struct symbol_frame *frame)
{
  struct known_file wanted = {.path = frame->object->path, .build_id = frame->object->build_id};
  const struct known_file *file = s->files == 0 ? NULL : bsearch(&wanted, s->file, s->files, sizeof wanted, by_file);
  if (file == NULL) return false;
  struct known at = {.offset = frame->offset};
  const struct known *k = file->count == 0 ? NULL : bsearch(&at, file->known, file->count, sizeof at, by_offset);
  if (k == NULL) return false;
  frame->function = k->function;
  frame->function_offset = k->function_offset;
  frame->source = k->source;
  frame->line = k->line;
  frame->trust = file->trust;
  return true;
}

void sidecar_free(struct sidecar *s)
{
  if (s == NULL) return;
  for (size_t i = 0; i < s->files; i++) free(s->file[i].known);
  free(s->file);
  arena_free(&s->texts);
  free(s);
}
