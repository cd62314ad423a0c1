/* A trace that is being written: HEAD, frames with their FRAME-INFO, END, seek table (FORMAT.md, section 1). */
#ifndef WRITE_OUT_H
#define WRITE_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/trace/format.h"

struct out {
  int fd, error;        /* error: an errno, 0 none */
  char temporary[4200]; /* where it is written until it is whole */
  uint32_t (*size)[2];  /* for the seek table: bytes of each frame, bytes of its content */
  size_t sizes, room;
  uint64_t records; /* in the frames so far */
  void *zstd;       /* compression context */
  uint8_t *packed;
};

/* Begins a file of mode 0600 beside `path`, which is not touched. False, said on stderr, when that cannot be. */
bool out_begin(struct out *o, const char *path);
/* A skippable frame. */
void out_skippable(struct out *o, uint32_t magic, const void *content, size_t size);
/* FRAME-INFO and data frame; the first 64 bytes of `content` become the ones that belong inside. */
void out_frame(struct out *o, struct p11t_info info, uint8_t *content, size_t size);
/* The same as they lie in another file: the FRAME-INFO with its skippable head, and the zstd frame. */
void out_copy(struct out *o, const uint8_t *info, size_t info_size, const uint8_t *packed, size_t size, size_t content);
/* What the live file holds of a slot, as a frame. */
struct reader;
struct frame_ref;
void out_slot(struct out *o, const struct reader *r, const struct frame_ref *ref);
/* This program's own function table. */
void out_schema(struct out *o);
void out_seek_table(struct out *o);
/* Puts the whole file in its place, where nothing may be unless `replace`; false, said, when it could not be written. */
bool out_finish(struct out *o, const char *path, bool replace);
/* Forgets all of it, and removes what was written unless out_finish did its work. */
void out_drop(struct out *o);

/* Appends a field of HEAD or END at `to`: u16 tag, u16 length, bytes. Returns the place behind it. */
uint8_t *out_field(uint8_t *to, uint16_t tag, const void *bytes, size_t size);

#endif
