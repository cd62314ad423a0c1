/* A tar archive (POSIX ustar, pax where a name or size needs it) written through zstd. */
#ifndef PACK_TAR_H
#define PACK_TAR_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <zstd.h>

struct tar {
  int fd;
  int error; /* errno of the first write that failed, 0 none */
  ZSTD_CCtx *zstd;
  uint8_t *packed;
};

/* False without memory. */
bool tar_begin(struct tar *tar, int fd);

/* A regular file of mode 0600: the first `size` bytes of `fd`. False when they are not there (errno) or tar->error is set. */
bool tar_file(struct tar *tar, const char *name, int fd, uint64_t size, time_t modified);

/* Writes the end; false when anything could not be written. */
bool tar_finish(struct tar *tar);

void tar_free(struct tar *tar);

#endif
