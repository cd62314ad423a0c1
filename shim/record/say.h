/* One line to stderr: the only way in which the recorder speaks to the user of a traced program. */
#ifndef RECORD_SAY_H
#define RECORD_SAY_H

/* "p11trace: " and the text, one write(2); no malloc, no stdio, no cancellation point; errno is kept.
 * Lines longer than 1,000 bytes are cut. */
void p11t_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The text of an errno value, static (strerror may allocate and is not for every thread). */
const char *p11t_errno_text(int error);

#endif
