/* Several files of one process: NAME.p11t, NAME.2.p11t, NAME.3.p11t ... (settings max= and files=), and the dumps of a flight
 * recorder, which are named in the same way. All of it under the lock. */
#ifndef RECORD_ROTATE_H
#define RECORD_ROTATE_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/trace/format.h"

/* The first file was begun. */
bool p11t_rotation_start(void);

/* Takes note of the numbers in a frame that was written, or lost. */
void p11t_rotation_saw(const struct p11t_info *info);

/* Goes on in another file when the next frame might not fit into this one. When there can be none (a sandbox, no room) the
 * recorder is a flight recorder until there can: slots are used again unwritten, and what is lost is counted. */
void p11t_rotate_if_full(void);

/* The end: what the slots still hold goes into the file that there is, whatever its size. */
void p11t_rotation_ends(void);

/* Makes the next file of the process the one that is written, with HEAD, SCHEMA and TABLES; all numbers from complete_from
 * on are in it or will be. The file before is ended with `reason` unless it is NULL, and the oldest one goes when there are
 * more than files=. False, after a line on stderr, when it cannot be: then nothing has changed. */
bool p11t_next_file(uint64_t complete_from, const char *reason);

/* Removes a file that is still the one we made. */
struct p11t_output;
void p11t_remove(const struct p11t_output *o);

#endif
