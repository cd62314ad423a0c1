/* Folding a live file into its trace. */
#ifndef READ_RECOVER_H
#define READ_RECOVER_H

#include <stdint.h>

struct recovered {
  char path[4096];          /* of the trace that was written */
  char source[4096];        /* of the file that the live file was folded into: the process's last one */
  uint64_t frames, records; /* that came from the live file */
  int nothing;              /* 1: it was whole, nothing was done */
  int damaged;              /* 1: not all of it could be read */
};

/* Makes one whole trace of `path` (NAME.p11t or NAME.p11t.live) and its live file: every whole frame, the records of the
 * live file's slots as frames, END with reason "recovered", the seek table. With `output` NULL the trace is replaced and the
 * live file removed, and a damaged one is refused; else the trace goes to `output`, which must not exist, and the originals
 * stay. Written to a temporary name, mode 0600, and renamed when it is on the disk. 0, or -1 with a line on stderr. */
int trace_recover(const char *path, const char *output, struct recovered *result);

/* The same to `output`, also of a process that goes on: END then says "snapshot". 1, without a word, when the two cannot be
 * one file. */
int trace_snapshot(const char *path, const char *output, struct recovered *result);

#endif
