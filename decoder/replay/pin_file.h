/* PINs of today's token. */
#ifndef REPLAY_PIN_FILE_H
#define REPLAY_PIN_FILE_H

#include "decoder/replay/replay.h"

/* The first line of the file (- is standard input), without its end. False with a line on stderr. */
bool pin_file_read(struct replay_pin *pin, const char *path);
/* What stands on the command line, and is wiped there. */
bool pin_argument(struct replay_pin *pin, char *argument);

#endif
