/* `name=value` out of lines and strings. */
#ifndef TOK_WORDS_H
#define TOK_WORDS_H

#include <stdbool.h>

/* Takes the next `name=value` of a string of parameters, which is changed: values may stand in ' or ", inside which
 * a \ makes the next character plain (as NSS writes them). False at the end, or with *problem set to what is wrong
 * there. */
bool tok_word_next(char **text, char **name, char **value, const char **problem);

/* Takes one line of a file apart: false if there is nothing on it (empty, or a comment after #), or with *problem
 * set. */
bool tok_line_split(char *line, char **name, char **value, const char **problem);

#endif
