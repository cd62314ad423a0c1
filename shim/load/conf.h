/* The .conf file beside a traced library: lines `name = value`, `#` begins a comment line. Shared by stub, recorder and
 * `p11trace doctor`. No allocation, no stdio, nothing that outlives the call. */
#ifndef LOAD_CONF_H
#define LOAD_CONF_H

#include <limits.h> /* PATH_MAX */
#include <stdbool.h>
#include <stddef.h>

#define P11T_CONF_ENTRIES 32

struct p11t_conf {
  char path[PATH_MAX]; /* of the file that was read, or that was looked for first */
  char problem[256];   /* in words, when something is wrong; "" */
  size_t count;
  struct {
    const char *name, *value;
  } entry[P11T_CONF_ENTRIES];
  char text[16384]; /* entries point into it */
};

/* Reads NAME.conf for the library NAME.so: beside `library`, else beside what it links to. False when there is none or it
 * must not be trusted: a file that others may write could name any library to be loaded into the host; in a set-id program
 * it must belong to root or to the library's owner. conf->problem says what and where. */
bool p11t_conf_read(const char *library, struct p11t_conf *conf);

/* Value of `name`, or NULL. */
const char *p11t_conf_get(const struct p11t_conf *conf, const char *name);

#endif
