/* A packed case (p11trace pack): a tar archive in zstd. Its traces are read from a private folder that is gone when they are
 * open. The archive is an outsider's: only plain names of our kinds are taken, whatever folders stand before them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "decoder/read/reader.h"

enum { BLOCK = 512, CHUNK = 1 << 17, MAX_MEMBERS = 65536, MAX_PAX = 1 << 16, NAME_ROOM = 256, MAX_SYMBOLS = 256 << 20 };
#define MAX_UNPACKED (1ull << 38) /* bytes; the disk is full before that */

struct archive {
  int fd;
  const char *shown;
  ZSTD_DCtx *zstd;
  uint8_t *in, *out;
  ZSTD_inBuffer input;
  size_t at, end; /* in out */
  uint64_t unpacked;
  char folder[4096];
  char (*name)[NAME_ROOM]; /* of the files that were made */
  size_t names;
  sigset_t watched;
};

static bool ends_in(const char *name, const char *suffix)
{
  size_t n = strlen(name), m = strlen(suffix);
  return n > m && strcmp(name + n - m, suffix) == 0;
}

bool packed_is(int fd)
{
  uint8_t bytes[4];
  static const uint8_t magic[4] = {0x28, 0xB5, 0x2F, 0xFD};
  return file_read(fd, bytes, sizeof bytes, 0) && memcmp(bytes, magic, sizeof magic) == 0;
}

static bool fail(const struct archive *a, const char *why)
{
  fprintf(stderr, "p11trace: %s: %s\n", a->shown, why);
  return false;
}

/* Ctrl-C is held back while the folder is there, and looked for here. */
static bool is_stopped(const struct archive *a)
{
  sigset_t pending;
  if (sigpending(&pending) != 0) return false;
  static const int stops[] = {SIGINT, SIGTERM, SIGHUP};
  for (int i = 0; i < 3; i++) {
    if (sigismember(&pending, stops[i]) && sigismember(&a->watched, stops[i])) return true;
  }
  return false;
}

/* More of the archive into a->out; false at its end or when it is damaged (*fine). */
static bool fill(struct archive *a, bool *fine)
{
  ZSTD_outBuffer out = {a->out, CHUNK, 0};
  a->at = a->end = 0;
  while (out.pos == 0) {
    if (a->input.pos == a->input.size) {
      ssize_t n = read(a->fd, a->in, CHUNK);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) *fine = fail(a, strerror(errno));
      if (n <= 0) return false;
      a->input = (ZSTD_inBuffer){a->in, (size_t)n, 0};
    }
    size_t left = ZSTD_decompressStream(a->zstd, &out, &a->input);
    if (ZSTD_isError(left)) {
      *fine = fail(a, ZSTD_getErrorName(left));
      return false;
    }
    if (is_stopped(a)) {
      *fine = false;
      return false;
    }
  }
  a->end = out.pos;
  a->unpacked += out.pos;
  if (a->unpacked > MAX_UNPACKED) {
    *fine = fail(a, "it unpacks to more than any case; unpack it with tar --zstd -xf and look");
    return false;
  }
  return true;
}

/* The next `size` bytes: to `to`, or to `fd`, or nowhere. */
static bool take(struct archive *a, uint64_t size, uint8_t *to, int fd)
{
  bool fine = true;
  while (size > 0) {
    if (a->at == a->end && !fill(a, &fine)) return fine ? fail(a, "it is cut: the end of a file is missing") : false;
    size_t n = a->end - a->at < size ? a->end - a->at : (size_t)size;
    if (to != NULL) {
      memcpy(to, a->out + a->at, n);
      to += n;
    }
    for (size_t done = 0; fd >= 0 && done < n;) {
      ssize_t w = write(fd, a->out + a->at + done, n - done);
      if (w < 0 && errno == EINTR) continue;
      if (w <= 0) {
        fprintf(stderr, "p11trace: %s: %s: TMPDIR names a folder with room for what is in %s\n", a->folder,
                strerror(errno), a->shown);
        return false;
      }
      done += (size_t)w;
    }
    a->at += n;
    size -= n;
  }
  return true;
}

static uint64_t octal(const uint8_t *text, size_t size)
{
  uint64_t value = 0;
  for (size_t i = 0; i < size && text[i] >= '0' && text[i] <= '7'; i++) value = value << 3 | (uint64_t)(text[i] - '0');
  return value;
}

static bool is_header(const uint8_t *h)
{
  unsigned sum = 0;
  for (int i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? ' ' : h[i];
  return memcmp(h + 257, "ustar", 5) == 0 && octal(h + 148, 8) == sum;
}

/* "LENGTH KEY=VALUE\n" ...: path and size. */
static void read_pax(const char *text, size_t length, char *name, uint64_t *size)
{
  while (length > 0) {
    char *after;
    size_t n = strtoul(text, &after, 10);
    if (n == 0 || n > length || *after != ' ' || (size_t)(after - text) + 1 >= n) return;
    const char *key = after + 1, *end = text + n - 1;
    if (end - key > 5 && memcmp(key, "path=", 5) == 0) {
      const char *slash = memrchr(key + 5, '/', (size_t)(end - key - 5));
      const char *base = slash != NULL ? slash + 1 : key + 5;
      snprintf(name, NAME_ROOM, "%.*s", end - base < NAME_ROOM ? (int)(end - base) : 0, base);
    }
    if (end - key > 5 && memcmp(key, "size=", 5) == 0) *size = strtoull(key + 5, NULL, 10);
    text += n;
    length -= n;
  }
}

static bool wanted(const char *name)
{
  return name[0] != '.' && strchr(name, '/') == NULL &&
         (ends_in(name, ".p11t") || ends_in(name, ".p11t.live") || ends_in(name, ".p11t.sym"));
}

static bool make_member(struct archive *a, const char *name, uint64_t size)
{
  char path[4096 + NAME_ROOM];
  snprintf(path, sizeof path, "%s/%s", a->folder, name);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) {
    fprintf(stderr, "p11trace: %s: %s in it: %s\n", a->shown, name, strerror(errno));
    return false;
  }
  a->name = read_realloc(a->name, (a->names + 1) * sizeof *a->name);
  snprintf(a->name[a->names++], NAME_ROOM, "%s", name);
  bool fine = take(a, size, NULL, fd);
  close(fd);
  return fine;
}

static bool unpack(struct archive *a)
{
  char name[NAME_ROOM], next[NAME_ROOM] = "";
  uint64_t next_size = 0;
  for (size_t members = 0; members < MAX_MEMBERS; members++) {
    uint8_t h[BLOCK];
    bool fine = true;
    if (a->at == a->end && !fill(a, &fine)) return fine; /* without the two empty blocks: enough */
    if (!take(a, sizeof h, h, -1)) return false;
    if (h[0] == 0) return true;
    if (!is_header(h)) return fail(a, "it is neither a trace nor what p11trace pack writes");
    uint64_t size = next_size != 0 ? next_size : octal(h + 124, 12), padding = (BLOCK - size % BLOCK) % BLOCK;
    snprintf(name, sizeof name, "%s", next);
    if (name[0] == '\0') {
      const char *text = (const char *)h, *slash = memrchr(text, '/', strnlen(text, 100));
      const char *base = slash != NULL ? slash + 1 : text;
      snprintf(name, sizeof name, "%.*s", (int)(strnlen(text, 100) - (size_t)(base - text)), base);
    }
    next[0] = '\0';
    next_size = 0;
    if (h[156] == 'x' && size <= MAX_PAX) {
      char *records = read_zalloc(size + 1);
      fine = take(a, size, (uint8_t *)records, -1) && take(a, padding, NULL, -1);
      if (fine) read_pax(records, size, next, &next_size);
      free(records);
      if (!fine) return false;
      continue;
    }
    bool file = (h[156] == '0' || h[156] == '\0') && wanted(name);
    if (file ? !make_member(a, name, size) : !take(a, size, NULL, -1)) return false;
    if (!take(a, padding, NULL, -1)) return false;
  }
  return fail(a, "it has more files than any case");
}

static const char *shown_path(struct reader *r, const struct archive *a, const char *path)
{
  size_t n = strlen(a->folder);
  char shown[8192];
  if (strncmp(path, a->folder, n) != 0) return path;
  snprintf(shown, sizeof shown, "%.4000s%.4000s", a->shown, path + n);
  return arena_text(&r->texts, shown, strlen(shown));
}

/* The list of names, which is read when the first name is asked for. */
static void keep_symbols(struct reader *r, const char *path)
{
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= MAX_SYMBOLS) {
    char *symbols = arena_alloc(&r->texts, (size_t)st.st_size + 1);
    if (file_read(fd, symbols, (size_t)st.st_size, 0)) {
      r->p.symbols = symbols;
      r->p.symbols_size = (size_t)st.st_size;
    }
  }
  close(fd);
}

/* What is said of the traces names the archive, not the folder that is gone. */
static void rename_all(struct reader *r, const struct archive *a)
{
  if (r->p.symbols_path != NULL) {
    keep_symbols(r, r->p.symbols_path);
    r->p.symbols_path = shown_path(r, a, r->p.symbols_path);
  }
  r->p.path = shown_path(r, a, r->p.path);
  r->p.live_path = shown_path(r, a, r->p.live_path);
  for (size_t i = 0; i < r->files; i++) r->file[i].path = (char *)(uintptr_t)shown_path(r, a, r->file[i].path);
}

static bool add_members(struct trace_set *set, const struct archive *a)
{
  size_t before = set->readers;
  char path[4096 + NAME_ROOM], trace[4096 + NAME_ROOM];
  for (size_t i = 0; i < a->names; i++) {
    snprintf(path, sizeof path, "%s/%s", a->folder, a->name[i]);
    bool live = ends_in(path, ".live");
    snprintf(trace, sizeof trace, "%.*s", (int)(strlen(path) - (live ? 5 : 0)), path);
    if (ends_in(path, ".sym") || (live && access(trace, F_OK) == 0)) continue;
    if (!files_add(set, path)) set->failed = true;
  }
  for (size_t i = before; i < set->readers; i++) rename_all(set->reader[i], a);
  return set->readers > before || fail(a, "no trace is in it");
}

static void remove_members(const struct archive *a)
{
  char path[4096 + NAME_ROOM];
  for (size_t i = 0; i < a->names; i++) {
    snprintf(path, sizeof path, "%s/%s", a->folder, a->name[i]);
    unlink(path);
  }
  rmdir(a->folder);
}

bool packed_add(struct trace_set *set, int fd, const char *shown)
{
  struct archive a = {.fd = fd, .shown = shown, .zstd = ZSTD_createDCtx()};
  const char *place = getenv("TMPDIR");
  bool fine = false;
  sigset_t old, now;
  snprintf(a.folder, sizeof a.folder, "%.4000s/p11trace-XXXXXX", place != NULL && place[0] != '\0' ? place : "/tmp");
  if (a.zstd == NULL) abort();
  ZSTD_DCtx_setParameter(a.zstd, ZSTD_d_windowLogMax, 27);
  sigemptyset(&now);
  sigaddset(&now, SIGINT);
  sigaddset(&now, SIGTERM);
  sigaddset(&now, SIGHUP);
  sigprocmask(SIG_BLOCK, &now, &old);
  for (int s = 1; s < 32; s++) {
    if (sigismember(&old, s) == 1) sigdelset(&now, s);
  }
  a.watched = now;
  a.in = read_zalloc(CHUNK);
  a.out = read_zalloc(CHUNK);
  if (lseek(fd, 0, SEEK_SET) != 0 || mkdtemp(a.folder) == NULL) {
    fprintf(stderr, "p11trace: %s: %s: TMPDIR names a folder for what is in %s\n", a.folder, strerror(errno), shown);
  } else {
    fine = unpack(&a) && add_members(set, &a);
    remove_members(&a);
  }
  sigprocmask(SIG_SETMASK, &old, NULL);
  ZSTD_freeDCtx(a.zstd);
  free(a.in);
  free(a.out);
  free(a.name);
  return fine;
}
