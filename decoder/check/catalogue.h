/* The rules as a list: for `p11trace rules`, for the table in the README, and against the questions of the FAQ. */
#ifndef CHECK_CATALOGUE_H
#define CHECK_CATALOGUE_H

#include <stdbool.h>
#include <stdio.h>

enum catalogue_form { CATALOGUE_TEXT, CATALOGUE_MARKDOWN, CATALOGUE_JSON };

/* All rules, or the `count` named ones (ids that exist). False when it cannot be written. */
bool catalogue_print(FILE *to, enum catalogue_form form, const char *const *only, size_t count);
/* Each question of the FAQ with its rules, and what no trace can show. */
bool catalogue_coverage(FILE *to, enum catalogue_form form);

#endif
