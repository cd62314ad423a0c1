/* Fill by fill from one trace to another: slots, generations, numbers, times and threads stay as they are, records may go or
 * get another body. One frame is in memory at a time, and a record that is in pieces. */
#ifndef WRITE_REFILL_H
#define WRITE_REFILL_H

#include "decoder/read/reader.h"
#include "decoder/write/out.h"

struct refill {
  const char *verb;
  void *user;
  /* Does a numbered record stay? May be asked more than once. NULL: all do. Then STACK records that no record needs go, and
   * so do fills of which nothing stays: what they said of thread and clock is said by the next one of the slot. */
  bool (*stays)(void *user, const struct record *record);
  /* May give a record another body, which lives until the next call; the pieces of a record are joined. `whole`: all of it
   * is there; else its end is lost, or its beginning, and then it has no body. False: the record goes. NULL: no change. */
  bool (*change)(void *user, struct record *record, bool whole);
};

/* All frames of `r`'s process to `out`. What cannot be read or written goes to the process's damage. */
void refill_all(const struct refill *refill, struct reader *r, struct out *out);

#endif
