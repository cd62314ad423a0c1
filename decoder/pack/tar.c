#include "decoder/pack/tar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512, CHUNK = 1 << 17, LARGEST_OCTAL = 11 };

struct header {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6], version[2],
      uname[32], gname[32], major[8], minor[8], prefix[155], rest[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

bool tar_begin(struct tar *tar, int fd)
{
  *tar = (struct tar){.fd = fd, .zstd = ZSTD_createCCtx(), .packed = malloc(CHUNK)};
  if (tar->zstd == NULL || tar->packed == NULL) return false;
  ZSTD_CCtx_setParameter(tar->zstd, ZSTD_c_checksumFlag, 1);
  return true;
}

static void put_packed(struct tar *tar, size_t size)
{
  for (size_t done = 0; done < size && tar->error == 0;) {
    ssize_t n = write(tar->fd, tar->packed + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      tar->error = n < 0 ? errno : EIO;
      return;
    }
    done += (size_t)n;
  }
}

static void put(struct tar *tar, const void *bytes, size_t size, ZSTD_EndDirective directive)
{
  ZSTD_inBuffer in = {bytes, size, 0};
  size_t left;
  do {
    ZSTD_outBuffer out = {tar->packed, CHUNK, 0};
    left = ZSTD_compressStream2(tar->zstd, &out, &in, directive);
    if (ZSTD_isError(left)) {
      tar->error = EIO;
      return;
    }
    put_packed(tar, out.pos);
  } while (tar->error == 0 && (in.pos < in.size || (directive == ZSTD_e_end && left > 0)));
}

static void put_padding(struct tar *tar, uint64_t size)
{
  static const uint8_t zeros[BLOCK];
  if (size % BLOCK != 0) put(tar, zeros, BLOCK - size % BLOCK, ZSTD_e_continue);
}

static void put_header(struct tar *tar, const char *name, uint64_t size, time_t modified, char type)
{
  struct header h = {
      .type = type, .magic = "ustar", .version = {'0', '0'}
  };
  if (size >> (3 * LARGEST_OCTAL)) size = 0; /* the pax header has it */
  memcpy(h.name, name, strnlen(name, sizeof h.name));
  snprintf(h.mode, sizeof h.mode, "%07o", 0600);
  snprintf(h.uid, sizeof h.uid, "%07o", 0);
  snprintf(h.gid, sizeof h.gid, "%07o", 0);
  snprintf(h.size, sizeof h.size, "%011" PRIo64, size);
  snprintf(h.mtime, sizeof h.mtime, "%011" PRIo64, (uint64_t)(modified > 0 ? modified : 0) & 077777777777u);
  memset(h.sum, ' ', sizeof h.sum);
  unsigned sum = 0;
  for (size_t i = 0; i < sizeof h; i++) sum += ((const uint8_t *)&h)[i];
  snprintf(h.sum, sizeof h.sum, "%06o", sum); /* NUL, and the blank that is there */
  put(tar, &h, sizeof h, ZSTD_e_continue);
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static size_t pax_record(char *to, size_t room, const char *key, const char *value)
{
  size_t rest = strlen(key) + strlen(value) + 3, length = rest + 1, digits = 1;
  for (size_t n = length; n >= 10; n /= 10) digits++;
  length = rest + digits;
  if (snprintf(NULL, 0, "%zu", length) != (int)digits) length++;
  int n = snprintf(to, room, "%zu %s=%s\n", length, key, value);
  return n > 0 && (size_t)n < room ? (size_t)n : 0;
}

static void put_pax(struct tar *tar, const char *name, uint64_t size)
{
  char records[8192], digits[24];
  size_t n = 0;
  if (strlen(name) > sizeof((struct header *)0)->name) n += pax_record(records, sizeof records, "path", name);
  if (size >> (3 * LARGEST_OCTAL)) {
    snprintf(digits, sizeof digits, "%" PRIu64, size);
    n += pax_record(records + n, sizeof records - n, "size", digits);
  }
  if (n == 0) return;
  put_header(tar, "pax", n, 0, 'x');
  put(tar, records, n, ZSTD_e_continue);
  put_padding(tar, n);
}

bool tar_file(struct tar *tar, const char *name, int fd, uint64_t size, time_t modified)
{
  uint8_t *buffer = malloc(CHUNK);
  bool fine = buffer != NULL;
  put_pax(tar, name, size);
  put_header(tar, name, size, modified, '0');
  for (uint64_t at = 0; fine && at < size && tar->error == 0;) {
    ssize_t n = pread(fd, buffer, size - at < CHUNK ? (size_t)(size - at) : CHUNK, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENODATA; /* it has become shorter */
    if (n <= 0) {
      fine = false;
      break;
    }
    put(tar, buffer, (size_t)n, ZSTD_e_continue);
    at += (uint64_t)n;
  }
  put_padding(tar, size);
  free(buffer);
  if (fine && tar->error != 0) errno = tar->error;
  return fine && tar->error == 0;
}

bool tar_finish(struct tar *tar)
{
  static const uint8_t zeros[2 * BLOCK];
  put(tar, zeros, sizeof zeros, ZSTD_e_end);
  return tar->error == 0;
}

void tar_free(struct tar *tar)
{
  ZSTD_freeCCtx(tar->zstd);
  free(tar->packed);
}
