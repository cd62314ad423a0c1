/* Messages name files, programs and options as they are called, and a name may hold anything. */
#ifndef CMD_PLAIN_STDERR_H
#define CMD_PLAIN_STDERR_H

/* From here on nothing that goes through `stderr` moves a terminal's cursor: what text_escaped() (decoder/show/text.h) would
 * escape comes out as \xHH, but for the line's end. A line of progress goes past it, to STDERR_FILENO. */
void plain_stderr(void);

#endif
