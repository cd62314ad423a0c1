/* The recorder's settings as options of `wrap` and `run`. */
#ifndef SETTINGS_OPTIONS_H
#define SETTINGS_OPTIONS_H

#include <argp.h>
#include <limits.h> /* PATH_MAX */
#include <stdbool.h>
#include <stddef.h>

#include "shim/spec/settings.h"

/* Appends a heading, an option --NAME with key `first_key` + number for each setting, and the end of the table. */
void settings_options(struct argp_option *to, int first_key, const char *heading, int group);

/* A value is refused here if the recorder would not understand it: there it would only be a line on the stderr of a browser
 * that nobody sees. False: `problem` says what and what to do. */
bool settings_accept(size_t which, const char *value, char *problem, size_t size);

/* The settings that have to do with sealing, NULL where they were not given: says on stderr what is wrong with them, and exits,
 * or makes the path of *seal_to one from the root in `real`. */
void settings_seal(const char *who, const char *capture, const char **seal_to, char real[PATH_MAX]);

#endif
