/* One process that is followed: inside tail.c and tail_feed.c. */
#ifndef READ_TAIL_FEED_H
#define READ_TAIL_FEED_H

#include "decoder/read/reader.h"

enum { FEED_TABLES = P11T_MAX_SLOTS, FEED_SLOTS }; /* frames of tables have a slot of their own, behind the others */

/* What was read of a slot. */
struct feed {
  struct frame_ref *ref; /* for slot.frame */
  uint32_t room;
  uint32_t generation;  /* of the fill that is being read: smaller ones were read, as frames or from the slot */
  uint32_t at, records; /* of that fill: bytes of the slot, records */
};

struct followed {
  struct reader *r;
  struct trace_set *whole; /* it had ended already: read as every other verb reads it; NULL else */
  uint8_t *map;            /* of the live file, NULL none */
  size_t map_size;
  int live_fd;
  struct feed feed[FEED_SLOTS];
  uint8_t *copy;   /* of a slot */
  uint8_t *tables; /* what the slots of tables held last */
  size_t tables_size;
  bool ended, done;
  uint32_t index; /* of the file that is being read, among those of the process */
  uint64_t id_device, id_inode;
};

/* Maps the live file anew when it has grown. */
void feed_map(struct followed *f);

/* tail_files.c: NAME.p11t, of the file of that index. */
void feed_first_name(const char *path, uint32_t index, char *to, size_t size);
/* what there is in the process's next files; false when the process is just beginning one. */
bool feed_files(struct followed *f, bool ended);
/* The file that the owner writes, by the live file's head; 0 while it is beginning one. */
uint32_t feed_file_now(const struct followed *f);

/* New records, of frames and of slots. When the owner has `ended`, all that is left. */
void feed_poll(struct followed *f, bool ended);

/* A file that the recorder has removed takes room on the disk for as long as it is open: closes those that are read. */
void feed_close(struct followed *f);

void feed_free(struct followed *f);

#endif
