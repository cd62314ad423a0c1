/* Addresses to names, each looked up once. */
#include "decoder/symbols/symbols.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/read/arena.h"
#include "decoder/show/text.h"
#include "decoder/symbols/symbols_part.h"

enum { MAX_FRAMES = 1 << 20, TOLD = 8 };

/* A file by path and build id, however many processes have it mapped. */
struct symbol_file {
  char *path, *build_id;
  struct elf_names *names;
  enum symbols_trust trust;
  char why[256];
  bool opened, wanted; /* wanted: an address in it has no name from elsewhere */
  struct symbol_file *next;
};

enum { FILE_BUCKETS = 4096, OBJECT_BUCKETS = 4096 };

struct symbols {
  const struct symbols_options *options;
  struct symbol_file *file[FILE_BUCKETS];
  struct {
    const struct trace_object *object;
    struct symbol_file *file;
  } recent[OBJECT_BUCKETS];
  struct symbol_frame **frame; /* hash table by object and offset, open addressing */
  size_t frames, frame_room;   /* room: a power of two */
  struct symbol_frame alone;   /* what belongs to no file */
  struct arena arena;          /* frames and their texts */
  struct sidecar **sidecar;    /* by process index */
  bool *sidecar_read;
  size_t sidecars;
};

struct symbols *symbols_new(const struct symbols_options *options)
{
  struct symbols *s = read_zalloc(sizeof *s);
  s->options = options;
  return s;
}

static uint64_t mix(uint64_t h, uint64_t value)
{
  h = (h ^ value) * 0x9e3779b97f4a7c15u;
  return h ^ h >> 29;
}

static struct symbol_file *file_of(struct symbols *s, const struct trace_object *o)
{
  size_t near = mix(0, (uint64_t)(uintptr_t)o) >> 40 & (OBJECT_BUCKETS - 1);
  if (s->recent[near].object == o) return s->recent[near].file;
  uint64_t h = 5381;
  for (const char *c = o->path; *c != '\0'; c++) h = h * 33 + (unsigned char)*c;
  for (const char *c = o->build_id; *c != '\0'; c++) h = h * 33 + (unsigned char)*c;
  struct symbol_file **at = &s->file[mix(0, h) >> 40 & (FILE_BUCKETS - 1)];
  while (*at != NULL && (strcmp((*at)->path, o->path) != 0 || strcmp((*at)->build_id, o->build_id) != 0)) {
    at = &(*at)->next;
  }
  if (*at == NULL) {
    *at = read_zalloc(sizeof **at);
    (*at)->path = strdup(o->path);
    (*at)->build_id = strdup(o->build_id);
    if ((*at)->path == NULL || (*at)->build_id == NULL) abort();
  }
  s->recent[near].object = o;
  s->recent[near].file = *at;
  return *at;
}

static struct sidecar *sidecar_of(struct symbols *s, const struct process *process)
{
  if (process->index >= s->sidecars) {
    size_t wanted = (size_t)process->index + 64;
    s->sidecar = read_realloc(s->sidecar, wanted * sizeof(struct sidecar *));
    s->sidecar_read = read_realloc(s->sidecar_read, wanted * sizeof *s->sidecar_read);
    memset(s->sidecar + s->sidecars, 0, (wanted - s->sidecars) * sizeof(struct sidecar *));
    memset(s->sidecar_read + s->sidecars, 0, (wanted - s->sidecars) * sizeof *s->sidecar_read);
    s->sidecars = wanted;
  }
  if (!s->sidecar_read[process->index]) {
    s->sidecar_read[process->index] = true;
    s->sidecar[process->index] = sidecar_read(process);
  }
  return s->sidecar[process->index];
}

static const char *readable(struct symbols *s, const char *name)
{
  char *plain = symbol_demangle(name);
  const char *text = plain != NULL ? plain : name;
  size_t length = plain != NULL ? strlen(plain) : strcspn(name, "@"); /* a symbol's version is not its name */
  text = arena_text(&s->arena, text, length);
  free(plain);
  return text;
}

static void look_up(struct symbols *s, const struct process *process, struct symbol_frame *f)
{
  struct symbol_file *file = file_of(s, f->object);
  struct sidecar *sidecar = sidecar_of(s, process);
  if (sidecar != NULL && !s->options->files_first && sidecar_find(sidecar, f)) return;
  file->wanted = true;
  if (!file->opened) {
    file->opened = true;
    file->names = elf_names_open(s->options, file->path, file->build_id, &file->trust, file->why, sizeof file->why);
  }
  f->trust = file->trust;
  struct elf_place place;
  /* The address is where the call returns to: the call itself lies before it, perhaps at the end of its function. */
  if (file->names == NULL || f->offset == 0 || !elf_names_find(file->names, f->offset - 1, &place)) {
    if (sidecar != NULL && s->options->files_first) sidecar_find(sidecar, f);
    return;
  }
  if (place.function != NULL) {
    f->function = readable(s, place.function);
    f->function_offset = f->offset - place.start;
  }
  f->source = place.source;
  f->line = place.line;
}

static size_t home_of(const struct symbols *s, const struct trace_object *object, uint64_t offset)
{
  return mix(mix(0, (uint64_t)(uintptr_t)object), offset) >> 20 & (s->frame_room - 1);
}

static void forget(struct symbols *s)
{
  arena_reset(&s->arena);
  if (s->frame_room > 0) memset(s->frame, 0, s->frame_room * sizeof(struct symbol_frame *));
  s->frames = 0;
}

static void grow(struct symbols *s)
{
  size_t old_room = s->frame_room;
  struct symbol_frame **old = s->frame;
  s->frame_room = old_room == 0 ? 1024 : old_room * 2;
  s->frame = read_zalloc(s->frame_room * sizeof(struct symbol_frame *));
  for (size_t i = 0; i < old_room; i++) {
    if (old[i] == NULL) continue;
    size_t at = home_of(s, old[i]->object, old[i]->offset);
    while (s->frame[at] != NULL) at = (at + 1) & (s->frame_room - 1);
    s->frame[at] = old[i];
  }
  free(old);
}

const struct symbol_frame *symbols_frame(struct symbols *s, const struct process *process, uint64_t address)
{
  const struct trace_object *o = trace_object(process, address);
  if (o == NULL) {
    s->alone = (struct symbol_frame){.address = address};
    return &s->alone;
  }
  uint64_t offset = address - o->address;
  if (s->frames >= MAX_FRAMES) forget(s);
  if (s->frames * 2 >= s->frame_room) grow(s);
  size_t at = home_of(s, o, offset);
  while (s->frame[at] != NULL && (s->frame[at]->object != o || s->frame[at]->offset != offset)) {
    at = (at + 1) & (s->frame_room - 1);
  }
  if (s->frame[at] == NULL) {
    struct symbol_frame *f = arena_alloc(&s->arena, sizeof *f);
    *f = (struct symbol_frame){.address = address, .object = o, .offset = offset};
    if (!s->options->raw) look_up(s, process, f);
    s->frame[at] = f;
    s->frames++;
  }
  return s->frame[at];
}

void symbols_keep_text(struct symbols *s, const struct symbol_frame *frame, const char *text, size_t length)
{
  struct symbol_frame *f = (struct symbol_frame *)(uintptr_t)frame;
  f->text = arena_text(&s->arena, text, length);
  f->text_length = length;
}

static void tell_file(const struct symbol_file *file, const char *verb)
{
  struct text text;
  text_open(&text, 2);
  text_s(&text, verb);
  text_s(&text, ": ");
  text_escaped(&text, file->path, strlen(file->path), "");
  text_s(&text, ": ");
  text_s(&text, file->why);
  text_c(&text, '\n');
  text_flush(&text);
  text_close(&text);
}

void symbols_tell(const struct symbols *s, const char *verb)
{
  size_t missing = 0, told = 0, more = 0;
  const struct symbol_file *first = NULL;
  for (size_t i = 0; i < FILE_BUCKETS; i++) {
    for (const struct symbol_file *f = s->file[i]; f != NULL; f = f->next) {
      if (!f->wanted) continue;
      if (f->trust == SYMBOLS_MISSING && f->names == NULL && f->path[0] == '/') {
        missing++;
        if (first == NULL) first = f;
      }
      bool doubtful = (f->trust == SYMBOLS_DIFFERENT && f->names == NULL) || f->trust == SYMBOLS_UNCHECKED;
      if (doubtful && told++ < TOLD) tell_file(f, verb);
      if (doubtful && told > TOLD) more++;
    }
  }
  if (more > 0) fprintf(stderr, "%s: %zu more files are of another build or cannot be checked\n", verb, more);
  if (missing == 0) return;
  tell_file(first, verb);
  fprintf(stderr, "%s: %zu file%s of the trace not found here: --sysroot DIR names a folder with copies\n", verb,
          missing, missing == 1 ? "" : "s");
}

void symbols_free(struct symbols *s)
{
  if (s == NULL) return;
  for (size_t i = 0; i < FILE_BUCKETS; i++) {
    while (s->file[i] != NULL) {
      struct symbol_file *f = s->file[i];
      s->file[i] = f->next;
      elf_names_close(f->names);
      free(f->path);
      free(f->build_id);
      free(f);
    }
  }
  for (size_t i = 0; i < s->sidecars; i++) sidecar_free(s->sidecar[i]);
  free(s->sidecar);
  free(s->sidecar_read);
  free(s->frame);
  arena_free(&s->arena);
  free(s);
}
