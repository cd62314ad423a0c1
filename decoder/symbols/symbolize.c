/* p11trace symbolize: the names of every address in a trace's stacks, written beside the trace. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/cmd/cmd.h"
#include "decoder/read/arena.h"
#include "decoder/show/json.h"
#include "decoder/symbols/symbols_part.h"

enum { MAX_SEEN = 1 << 20, NAME_ROOM = 4096 + 16 };

struct seen {
  const struct trace_object *object;
  uint64_t offset;
  json_t *frame;
};

/* The addresses of one process. */
struct names {
  struct seen *seen; /* hash table */
  size_t count, room, named;
};

static size_t home_of(const struct names *n, const struct trace_object *object, uint64_t offset)
{
  uint64_t h = ((uint64_t)(uintptr_t)object ^ offset * 0x9e3779b97f4a7c15u) * 0x9e3779b97f4a7c15u;
  return h >> 24 & (n->room - 1);
}

static struct seen *place_of(struct names *n, const struct trace_object *object, uint64_t offset)
{
  size_t at = home_of(n, object, offset);
  while (n->seen[at].object != NULL && (n->seen[at].object != object || n->seen[at].offset != offset)) {
    at = (at + 1) & (n->room - 1);
  }
  return &n->seen[at];
}

static void make_room(struct names *n)
{
  struct names more = {.room = n->room == 0 ? 256 : n->room * 2};
  if (n->count * 2 < n->room) return;
  more.seen = read_zalloc(more.room * sizeof *more.seen);
  for (size_t i = 0; i < n->room; i++) {
    if (n->seen[i].object != NULL) *place_of(&more, n->seen[i].object, n->seen[i].offset) = n->seen[i];
  }
  free(n->seen);
  n->seen = more.seen;
  n->room = more.room;
}

static json_t *frame_object(const struct symbol_frame *f)
{
  json_t *o = json_object();
  json_put(o, "offset", json_address(f->offset));
  if (f->function != NULL) {
    json_text(o, "function", f->function);
    json_put(o, "function_offset", json_number(f->function_offset));
  }
  if (f->source != NULL) {
    json_text(o, "source", f->source);
    json_put(o, "line", json_integer(f->line));
  }
  return o;
}

static void see(struct symbols *symbols, struct names *n, const struct process *process, uint64_t address)
{
  const struct trace_object *o = trace_object(process, address);
  if (o == NULL) return;
  make_room(n);
  struct seen *at = place_of(n, o, address - o->address);
  if (at->object != NULL || n->count >= MAX_SEEN) return;
  const struct symbol_frame *f = symbols_frame(symbols, process, address);
  *at = (struct seen){.object = o, .offset = f->offset};
  n->count++;
  if (f->function == NULL && f->source == NULL) return;
  at->frame = frame_object(f);
  json_put(at->frame, "checked", json_boolean(f->trust != SYMBOLS_UNCHECKED)); /* moves to the file's object */
  n->named++;
}

static int by_place(const void *x, const void *y)
{
  const struct seen *a = x, *b = y;
  if ((a->object == NULL) != (b->object == NULL)) return a->object == NULL ? 1 : -1;
  if (a->object == NULL) return 0;
  int c = strcmp(a->object->path, b->object->path);
  if (c == 0) c = strcmp(a->object->build_id, b->object->build_id);
  return c != 0 ? c : a->offset < b->offset ? -1 : a->offset > b->offset;
}

static bool same_file(const struct trace_object *a, const struct trace_object *b)
{
  return a != NULL && strcmp(a->path, b->path) == 0 && strcmp(a->build_id, b->build_id) == 0;
}

static json_t *document(const struct process *p, struct names *n)
{
  json_t *o = json_object(), *files = json_array(), *frames = NULL;
  json_put(o, "type", json_string("symbols"));
  json_put(o, "version", json_integer(1));
  json_put(o, "trace_id", json_hex(p->trace_id, 16));
  if (n->room > 0) qsort(n->seen, n->room, sizeof *n->seen, by_place);
  const struct trace_object *last = NULL;
  for (size_t i = 0; i < n->count; i++) {
    struct seen *s = &n->seen[i];
    if (s->frame == NULL) continue;
    if (!same_file(last, s->object)) {
      json_t *file = json_object();
      json_text(file, "path", s->object->path);
      json_text(file, "build_id", s->object->build_id);
      json_put(file, "checked", json_incref(json_object_get(s->frame, "checked")));
      json_put(file, "frames", frames = json_array());
      json_add(files, file);
      last = s->object;
    }
    json_object_del(s->frame, "checked");
    json_add(frames, s->frame);
  }
  json_put(o, "files", files);
  return o;
}

/* A file of that name is replaced only if it is one of ours. */
static bool may_replace(const char *path)
{
  static const char start[] = "{\"type\":\"symbols\"";
  char bytes[sizeof start - 1];
  struct stat st;
  if (lstat(path, &st) != 0) return errno == ENOENT;
  int fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
  if (fd < 0) return false;
  bool ours = read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes && memcmp(bytes, start, sizeof bytes) == 0;
  close(fd);
  return ours;
}

static bool write_file(const char *path, json_t *o)
{
  char temporary[NAME_ROOM];
  struct text out;
  int error = 0;
  snprintf(temporary, sizeof temporary, "%.4096s.XXXXXX", path);
  int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 */
  if (fd < 0) error = errno;
  text_open(&out, fd);
  json_line(&out, o);
  if (fd >= 0) {
    error = text_flush(&out);
    if (close(fd) != 0 && error == 0) error = errno;
    if (error == 0 && rename(temporary, path) != 0) error = errno;
    if (error != 0) unlink(temporary);
  }
  text_close(&out);
  if (error != 0) fprintf(stderr, "p11trace symbolize: %s: %s\n", path, strerror(error));
  return error == 0;
}

static bool write_process(const struct process *p, struct names *n, const char *output, bool quiet)
{
  char path[NAME_ROOM];
  snprintf(path, sizeof path, "%s", output != NULL ? output : p->symbols_path == NULL ? "" : p->symbols_path);
  if (path[0] == '\0') {
    fprintf(stderr, "p11trace symbolize: %s: there is no place beside it: name one with -o FILE\n", p->path);
    return false;
  }
  if (!may_replace(path)) {
    fprintf(stderr, "p11trace symbolize: %s: is there and is no list of names: name another with -o FILE\n", path);
    return false;
  }
  if (!write_file(path, document(p, n))) return false;
  if (!quiet) printf("%s: %zu of %zu addresses have names\n", path, n->named, n->count);
  return true;
}

int symbols_write_to(struct trace_set *set, const struct symbols_options *options, const char *const *output,
                     bool quiet)
{
  struct process *const *process;
  size_t processes = trace_processes(set, &process);
  struct symbols_options own = *options;
  own.files_first = true;
  struct symbols *symbols = symbols_new(&own);
  struct names *names = read_zalloc((processes + 1) * sizeof *names);
  const bool progress = isatty(STDERR_FILENO);
  int status = EXIT_FINE;
  struct event e;
  for (uint64_t events = 1; trace_next(set, &e) == 0; events++) {
    if (progress && events % (1u << 20) == 0) dprintf(STDERR_FILENO, "\r%ju events", (uintmax_t)events);
    if (e.type != EVENT_CALL) continue;
    for (unsigned i = 0; i < e.call->depth; i++) {
      see(symbols, &names[e.process->index], e.process, e.call->stack[i]);
    }
  }
  if (progress) dprintf(STDERR_FILENO, "\r\033[K");
  for (size_t i = 0; i < processes; i++) {
    bool wanted = names[i].count > 0; /* a trace without stacks needs no list */
    if (wanted && !write_process(process[i], &names[i], output != NULL ? output[i] : NULL, quiet))
      status = EXIT_COULD_NOT;
    free(names[i].seen);
  }
  if (!quiet) symbols_tell(symbols, "p11trace symbolize");
  symbols_free(symbols);
  free(names);
  return trace_damaged(set) ? EXIT_COULD_NOT : status;
}

int symbols_write(struct trace_set *set, const struct symbols_options *options, const char *output, bool quiet)
{
  struct process *const *process;
  if (output != NULL && trace_processes(set, &process) != 1) {
    fprintf(stderr, "p11trace symbolize: -o %s: several traces: without -o each gets its NAME.p11t.sym\n", output);
    return EXIT_COULD_NOT;
  }
  return symbols_write_to(set, options, output != NULL ? &output : NULL, quiet);
}
