/* Files that we keep open in somebody else's process. */
#ifndef RECORD_OUTPUT_H
#define RECORD_OUTPUT_H

#include <limits.h> /* PATH_MAX */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct p11t_output {
  int fd;    /* -1: none */
  bool torn; /* part of a frame stands behind the end: a full btrfs may refuse even to cut it off */
  dev_t dev;
  ino_t ino;
  char path[PATH_MAX]; /* absolute */
};

/* Where the trace goes: expands the option `out` (%p pid, %e program, %m module, %t start time; a folder gets the default
 * name) and makes missing folders, mode 0700. Says why and returns false when it cannot be. */
bool p11t_output_path(char path[PATH_MAX]);

/* Creates the trace: mode 0600, never an existing file (-2, -3 ... -999 is inserted before .p11t), never through a
 * symbolic link. Changes `path` to the name taken. Says why and returns false when it cannot be. */
bool p11t_output_create(struct p11t_output *o, char path[PATH_MAX]);

/* Creates a file of exactly this name, mode 0600; replaces nothing. 0 or a negative errno. */
long p11t_output_create_exact(struct p11t_output *o, const char *path);

/* True when the descriptor is still our file. A daemon may have closed or reused the number: then it is neither used nor
 * closed, and the path is opened again once if it still names our file. */
bool p11t_output_check(struct p11t_output *o);

/* Appends at `at`, which becomes the new end. All or nothing: a short write is taken back. 0 or a negative errno. Survives
 * RLIMIT_FSIZE (EFBIG, no signal) and a full disk. */
long p11t_output_append(struct p11t_output *o, uint64_t *at, const void *data, size_t size);

/* Tries again to cut off what stands behind `end`; for a little while when `patient`. */
void p11t_output_mend(struct p11t_output *o, uint64_t end, bool patient);

/* Closes our descriptor if it is still ours. */
void p11t_output_close(struct p11t_output *o);

/* Bytes that a user may still write on the file system of `fd`, and its size; false when unknown. */
bool p11t_output_room(int fd, uint64_t *available, uint64_t *total);

#endif
