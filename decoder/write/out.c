#include "decoder/write/out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "decoder/read/reader.h"
#include "shim/trace/frame.h"
#include "shim/trace/schema.h"

static void put(struct out *o, const void *bytes, size_t size)
{
  const uint8_t *p = bytes;
  while (size > 0 && o->error == 0) {
    ssize_t n = write(o->fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      o->error = n < 0 ? errno : EIO;
      return;
    }
    p += n, size -= (size_t)n;
  }
}

static void note(struct out *o, size_t size, size_t content)
{
  if (o->sizes == o->room) {
    o->room = o->room == 0 ? 64 : o->room * 2;
    o->size = read_realloc(o->size, o->room * sizeof *o->size);
  }
  o->size[o->sizes][0] = (uint32_t)size;
  o->size[o->sizes++][1] = (uint32_t)content;
}

bool out_begin(struct out *o, const char *path)
{
  *o = (struct out){.fd = -1};
  snprintf(o->temporary, sizeof o->temporary, "%.4000s.XXXXXX", path);
  o->fd = mkostemp(o->temporary, O_CLOEXEC); /* 0600 */
  if (o->fd < 0) {
    fprintf(stderr, "p11trace: %s: %s\n", path, strerror(errno));
    return false;
  }
  o->zstd = ZSTD_createCCtx();
  if (o->zstd == NULL) abort();
  ZSTD_CCtx_setParameter(o->zstd, ZSTD_c_checksumFlag, 1);
  o->packed = read_zalloc(MAX_PACKED);
  return true;
}

void out_skippable(struct out *o, uint32_t magic, const void *content, size_t size)
{
  uint32_t start[2] = {magic, (uint32_t)size};
  put(o, start, sizeof start);
  put(o, content, size);
  note(o, SKIP_HEAD + size, 0);
}

void out_frame(struct out *o, struct p11t_info info, uint8_t *content, size_t size)
{
  info.magic = P11T_INFO_MAGIC;
  info.content = (uint32_t)size;
  info.packed = 0;
  info.hash = 0;
  memcpy(content, &info, sizeof info);
  size_t n = ZSTD_compress2(o->zstd, o->packed, MAX_PACKED, content, size);
  if (ZSTD_isError(n)) {
    o->error = EIO;
    return;
  }
  info.packed = (uint32_t)n;
  p11t_info_seal(&info);
  out_skippable(o, P11T_SKIP_INFO, &info, sizeof info);
  put(o, o->packed, n);
  note(o, n, size);
  o->records += info.records;
}

void out_copy(struct out *o, const uint8_t *info, size_t info_size, const uint8_t *packed, size_t size, size_t content)
{
  put(o, info, info_size);
  note(o, info_size, 0);
  put(o, packed, size);
  note(o, size, content);
}

void out_slot(struct out *o, const struct reader *r, const struct frame_ref *ref)
{
  uint8_t *work = read_zalloc(P11T_FRAME_WORK), *content = read_zalloc(2 * P11T_SLOT_SIZE);
  struct p11t_info info = {.kind = ref->kind,
                           .clock = ref->clock,
                           .slot = ref->slot,
                           .tid = ref->tid,
                           .generation = ref->generation,
                           .dropped = (uint32_t)r->p.dropped};
  /* A slot of another size is of another version, whose bits live_open would not have let pass. */
  const size_t size = ref->content < P11T_SLOT_SIZE ? ref->content : P11T_SLOT_SIZE;
  const size_t n = p11t_frame_build(content, work, r->live_bytes + ref->offset, size, &info);
  if (n != 0) out_frame(o, info, content, n);
  free(content);
  free(work);
}

void out_schema(struct out *o)
{
  uint8_t content[P11T_SCHEMA_MAX];
  size_t size = p11t_schema_build(content);
  if (size != 0) out_frame(o, (struct p11t_info){.kind = P11T_FRAME_SCHEMA}, content, size);
}

/* One entry for each frame, skippable ones with content 0 (zstd contrib/seekable_format). */
void out_seek_table(struct out *o)
{
  uint32_t start[2] = {P11T_SKIP_SEEK, (uint32_t)(o->sizes * 8 + 9)}, entries = (uint32_t)o->sizes,
           magic = P11T_SEEK_MAGIC;
  uint8_t footer[9] = {0};
  put(o, start, sizeof start);
  put(o, o->size, o->sizes * sizeof *o->size);
  memcpy(footer, &entries, 4);
  memcpy(footer + 5, &magic, 4);
  put(o, footer, sizeof footer);
}

/* Where nothing may be. Some file systems know no links (FAT, of a memory stick), some no such renaming (NFS). */
static int move(const char *from, const char *to)
{
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (link(from, to) != 0) return errno;
  unlink(from);
  return 0;
}

bool out_finish(struct out *o, const char *path, bool replace)
{
  if (o->error == 0 && fsync(o->fd) != 0) o->error = errno;
  if (close(o->fd) != 0 && o->error == 0) o->error = errno;
  o->fd = -1;
  if (o->error == 0 && replace && rename(o->temporary, path) != 0) o->error = errno;
  if (o->error == 0 && !replace) o->error = move(o->temporary, path);
  if (o->error != 0) unlink(o->temporary);
  if (o->error != 0) fprintf(stderr, "p11trace: %s: %s; nothing was changed\n", path, strerror(o->error));
  return o->error == 0;
}

void out_drop(struct out *o)
{
  if (o->fd >= 0) {
    close(o->fd);
    unlink(o->temporary);
  }
  ZSTD_freeCCtx(o->zstd);
  free(o->packed);
  free(o->size);
  *o = (struct out){.fd = -1};
}

uint8_t *out_field(uint8_t *to, uint16_t tag, const void *bytes, size_t size)
{
  uint16_t length = (uint16_t)size;
  memcpy(to, &tag, 2);
  memcpy(to + 2, &length, 2);
  if (size > 0) memcpy(to + 4, bytes, size);
  return to + 4 + size;
}
