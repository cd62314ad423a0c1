/* The files of one process (FORMAT.md, section 7): NAME.p11t, NAME.2.p11t ... and NAME.p11t.live are one trace, whichever of
 * them is named. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decoder/read/reader.h"

enum { ROOM = 4096, MAX_FILES = 4096 };

/* What a name is made of: NAME, and the number in it. */
struct family {
  char folder[ROOM], stem[ROOM]; /* stem without folder */
  char first[ROOM], live[ROOM];  /* NAME.p11t, NAME.p11t.live */
  uint32_t number[MAX_FILES];    /* of the files that are there, in order */
  size_t count;
};

static bool ends_in(const char *s, size_t length, const char *suffix)
{
  size_t n = strlen(suffix);
  return length > n && memcmp(s + length - n, suffix, n) == 0;
}

/* The number in STEM.NUMBER.p11t; 1 of STEM.p11t; 0 of any other name. */
static uint32_t number_of(const char *name, const char *stem)
{
  size_t n = strlen(stem);
  if (strncmp(name, stem, n) != 0) return 0;
  if (strcmp(name + n, ".p11t") == 0) return 1;
  char *end;
  if (name[n] != '.' || name[n + 1] < '1' || name[n + 1] > '9') return 0;
  unsigned long number = strtoul(name + n + 1, &end, 10);
  return strcmp(end, ".p11t") == 0 && number > 1 && number < UINT32_MAX ? (uint32_t)number : 0;
}

static void name_file(const struct family *f, uint32_t number, char path[ROOM])
{
  int n = number == 1 ? snprintf(path, ROOM, "%.2000s%.2000s.p11t", f->folder, f->stem)
                      : snprintf(path, ROOM, "%.2000s%.2000s.%" PRIu32 ".p11t", f->folder, f->stem, number);
  (void)n;
}

/* Splits the path, with or without the number that it may end in (a process id may stand there too); false when it has not
 * the form of one of ours: then it stands for itself. */
static bool split(struct family *f, const char *path, bool is_numbered)
{
  size_t length = strlen(path);
  if (length > 1900) return false;
  if (ends_in(path, length, ".live")) length -= 5;
  if (!ends_in(path, length, ".p11t")) return false;
  length -= 5;
  const char *base = memrchr(path, '/', length);
  base = base == NULL ? path : base + 1;
  size_t digits = 0, n = length - (size_t)(base - path);
  while (digits < n && base[n - digits - 1] >= '0' && base[n - digits - 1] <= '9') digits++;
  if (is_numbered && digits > 0 && digits < 10 && n > digits + 1 && base[n - digits - 1] == '.' &&
      base[n - digits] != '0' && !(digits == 1 && base[n - 1] == '1')) {
    n -= digits + 1;
  }
  snprintf(f->folder, ROOM, "%.*s", (int)(base - path), path);
  snprintf(f->stem, ROOM, "%.*s", (int)n, base);
  name_file(f, 1, f->first);
  snprintf(f->live, ROOM, "%.4000s.live", f->first);
  return true;
}

static int by_number(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static void list(struct family *f)
{
  DIR *dir = opendir(f->folder[0] == '\0' ? "." : f->folder);
  f->count = 0;
  if (dir == NULL) return;
  for (struct dirent *e; (e = readdir(dir)) != NULL && f->count < MAX_FILES;) {
    uint32_t number = number_of(e->d_name, f->stem);
    if (number != 0) f->number[f->count++] = number;
  }
  closedir(dir);
  if (f->count > 0) qsort(f->number, f->count, sizeof *f->number, by_number);
}

static struct reader *same_trace(struct trace_set *set, const uint8_t id[16])
{
  static const uint8_t none[16];
  if (memcmp(id, none, 16) == 0) return NULL;
  for (size_t i = 0; i < set->readers; i++) {
    if (memcmp(set->reader[i]->p.trace_id, id, 16) == 0) return set->reader[i];
  }
  return NULL;
}

static bool has_file(const struct reader *r, const char *path)
{
  for (size_t i = 0; i < r->files; i++) {
    if (strcmp(r->file[i].path, path) == 0) return true;
  }
  return false;
}

/* Opens a regular file; -1 when it is missing and may be, -2 with a line on stderr. */
static int open_file(const char *path, bool may_miss)
{
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0) {
    if (may_miss && errno == ENOENT) return -1;
    fprintf(stderr, "p11trace: %s: %s\n", path, strerror(errno));
    return -2;
  }
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) return fd;
  fprintf(stderr, "p11trace: %s: not a regular file\n", path);
  close(fd);
  return -2;
}

/* Trace id in the live file's copy of HEAD; zeros when there is none. */
static void peek_live(const char *path, uint8_t id[16])
{
  uint8_t bytes[P11T_LIVE_HEAD];
  memset(id, 0, 16);
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  if (file_read(fd, bytes, sizeof bytes, 0) && memcmp(bytes, P11T_LIVE_MAGIC, 8) == 0) {
    struct cursor c =
        cursor_of(bytes + P11T_LIVE_HEAD_COPY + P11T_HEAD_FIXED, sizeof bytes - P11T_LIVE_HEAD_COPY - P11T_HEAD_FIXED);
    while (!c.bad && cursor_left(&c) > 0) {
      unsigned tag = get_u16(&c), n = get_u16(&c);
      const uint8_t *field = get_bytes(&c, n);
      if (field == NULL || tag == 0) break;
      if (tag == P11T_HEAD_TRACE_ID && n == 16) memcpy(id, field, 16);
    }
  }
  close(fd);
}

/* Reads the live file, which comes before the files: what is flushed meanwhile is then found in both, and counted once.
 * False: the trace cannot be read at all (said). */
static bool read_live(struct reader *r, const char *beside, const char *elsewhere, bool must)
{
  const char *where = access(beside, F_OK) != 0 && elsewhere[0] != '\0' ? elsewhere : beside;
  if (live_open(r, where, must) || !must) return true;
  if (!r->p.has_live) return false;
  if (r->p.damage[0] == '\0') return true; /* not begun */
  fprintf(stderr, "p11trace: %s\n", r->p.damage);
  return false;
}

static bool add_all(struct reader *r, struct family *f, const uint8_t id[16], uint32_t named)
{
  list(f);
  for (size_t i = 0; i < f->count; i++) {
    char path[ROOM], live[ROOM];
    uint8_t own[16];
    name_file(f, f->number[i], path);
    if (has_file(r, path)) continue;
    int fd = open_file(path, f->number[i] != named); /* the oldest may have been removed just now */
    if (fd < 0) {
      if (f->number[i] == named) return false;
      continue;
    }
    head_peek(fd, own, live, sizeof live);
    if (f->number[i] != named && memcmp(own, id, 16) != 0) {
      close(fd); /* of another process, or not begun yet */
      continue;
    }
    if (file_add(r, path, fd, false) == 0) continue;
    close(fd);
    return false;
  }
  return true;
}

/* Killed, or still at work, between the creation of a file and its HEAD: nothing is in it yet. */
static bool is_unborn(const char *path, uint64_t size)
{
  struct family *f = read_zalloc(sizeof *f);
  bool unborn = size < 8192 && split(f, path, true) && strcmp(f->first, path) != 0 && access(f->live, F_OK) == 0;
  free(f);
  return unborn;
}

static bool add_piped(struct trace_set *set)
{
  int fd = set_spool();
  if (fd < 0) return false;
  if (packed_is(fd)) {
    const bool fine = packed_add(set, fd, "standard input");
    close(fd);
    return fine;
  }
  uint8_t id[16];
  char elsewhere[ROOM];
  head_peek(fd, id, elsewhere, sizeof elsewhere);
  struct reader *r = same_trace(set, id), *known = r;
  if (r == NULL) r = reader_new(set);
  if (file_add(r, "standard input", fd, false) != 0) {
    close(fd);
    if (known == NULL) reader_free(r);
    return false;
  }
  if (known != NULL) return true;
  r->p.path = "-";
  set_keep(set, r);
  return true;
}

/* A file whose name says nothing of others. */
static void lone_family(struct family *f, const char *path)
{
  snprintf(f->first, ROOM, "%s", path);
  snprintf(f->live, ROOM, "%.4000s.live", path);
  f->count = 0;
}

bool files_add(struct trace_set *set, const char *path)
{
  if (strcmp(path, "-") == 0) return add_piped(set);
  if (strlen(path) > ROOM - 16) {
    fprintf(stderr, "p11trace: %s: %s\n", path, strerror(ENAMETOOLONG));
    return false;
  }
  struct family *f = read_zalloc(sizeof *f);
  char elsewhere[ROOM] = "";
  uint8_t id[16] = {0};
  bool is_family = split(f, path, false), given_live = ends_in(path, strlen(path), ".live"), fine = false;
  if (!is_family) lone_family(f, path);
  if (given_live) snprintf(f->live, ROOM, "%s", path);
  if (given_live && !is_family) snprintf(f->first, ROOM, "%.*s", (int)strlen(path) - 5, path);
  const char *trace = given_live ? f->first : path;
  struct reader *r = NULL, *known = NULL;
  int fd = open_file(trace, true);
  bool missing = fd < 0;
  if (fd == -2) goto out;
  static const uint8_t none[16];
  struct stat st = {0};
  if (missing) {
    peek_live(f->live, id);
  } else {
    uint32_t index = head_peek_index(fd, id, elsewhere, sizeof elsewhere);
    if (index > 1 && is_family) split(f, path, true);
    fstat(fd, &st);
  }
  if (!missing && memcmp(id, none, 16) == 0 && is_unborn(path, (uint64_t)st.st_size)) {
    fine = true;
    goto out;
  }
  known = same_trace(set, id);
  r = known != NULL ? known : reader_new(set);
  if (known != NULL && missing) {
    fine = true;
    goto out;
  }
  bool live_there = access(f->live, F_OK) == 0;
  if (missing && !live_there) {
    if (is_family) list(f);
    if (f->count == 0) {
      fprintf(stderr, "p11trace: %s: %s\n", trace, strerror(ENOENT));
      goto out;
    }
    char other[ROOM]; /* the first files of a rotation go */
    name_file(f, f->number[f->count - 1], other);
    if (known == NULL) reader_free(r);
    r = NULL;
    fine = strcmp(other, path) != 0 && files_add(set, other);
    goto out;
  }
  if (!r->p.has_live && !read_live(r, f->live, elsewhere, given_live && missing)) goto out;
  if (is_family) {
    fine = add_all(r, f, id,
                   missing ? 0 : number_of(strrchr(trace, '/') == NULL ? trace : strrchr(trace, '/') + 1, f->stem));
  } else if (!missing && !has_file(r, trace)) {
    fine = file_add(r, trace, fd, false) == 0;
    if (fine) fd = -1;
  } else {
    fine = true;
  }
  if (!fine) goto out;
  if (r->files == 0 && r->live_state_known && r->live_head.frames > 0) {
    reader_damage(r, r->live_head.trace_end, "%s is not there: only what %s still holds can be read", trace, f->live);
  }
  if (known == NULL) {
    r->p.path =
        arena_text(&r->texts, r->files > 0 ? r->file[0].path : trace, strlen(r->files > 0 ? r->file[0].path : trace));
    char symbols[ROOM];
    if (snprintf(symbols, sizeof symbols, "%s.sym", r->p.path) < ROOM) {
      r->p.symbols_path = arena_text(&r->texts, symbols, strlen(symbols));
    }
    set_keep(set, r);
  }
  r = NULL;
out:
  if (fd >= 0) close(fd);
  if (r != NULL && known == NULL) reader_free(r);
  free(f);
  return fine;
}

static int by_index(const void *a, const void *b)
{
  const struct trace_file *x = a, *y = b;
  return x->index != y->index ? (x->index < y->index ? -1 : 1) : strcmp(x->path, y->path);
}

/* Ours in the order of HEAD's index, and the frames' references to them. */
static void sort(struct reader *r)
{
  uint16_t *place = read_zalloc((r->files + 1) * sizeof *place);
  for (size_t i = 0; i < r->files; i++) r->file[i].added = (uint32_t)i;
  if (r->files > 1) qsort(r->file, r->files, sizeof *r->file, by_index);
  for (size_t i = 0; i < r->files; i++) place[r->file[i].added] = (uint16_t)i;
  for (size_t i = 0; i < r->frames; i++) {
    if (r->frame[i].file < r->files) r->frame[i].file = place[r->frame[i].file];
  }
  free(place);
}

/* Numbers from `from` on are said to be all there; `to` is the largest one before. */
static void join(struct reader *r, uint64_t from, uint64_t *to, uint64_t last)
{
  if (from > *to + 1 && from > 1) {
    if (*to > 0) r->p.missing += from - *to - 1;
    r->p.complete_from = from;
  }
  if (last > *to) *to = last;
}

void files_settle(struct reader *r)
{
  struct process *p = &r->p;
  sort(r);
  uint64_t to = 0, *last = read_zalloc((r->files + 1) * sizeof *last);
  for (size_t i = 0; i < r->frames; i++) {
    const struct frame_ref *f = &r->frame[i];
    size_t file = f->file < r->files ? f->file : r->files;
    if (f->kind == P11T_FRAME_EVENTS && f->last_number > last[file]) last[file] = f->last_number;
  }
  p->complete_from = 1;
  p->missing = 0;
  for (size_t i = 0; i < r->files; i++) join(r, r->file[i].complete_from, &to, last[i]);
  if (p->has_live && r->live_head.complete_from > 1) join(r, r->live_head.complete_from, &to, last[r->files]);
  free(last);
  const struct trace_file *newest = r->files > 0 ? &r->file[r->files - 1] : NULL;
  if (newest != NULL) p->file_index = newest->index;
  p->files = (uint32_t)r->files;
  p->end_reason = newest != NULL && newest->has_end ? newest->end_reason : NULL;
  bool goes_on = p->end_reason != NULL &&
                 (strcmp(p->end_reason, "full") == 0 || (strcmp(p->end_reason, "dump") == 0 && p->has_live));
  p->has_end = newest != NULL && newest->has_end && !goes_on;
}
