/* How calls are shown: the options that dump and follow share, as an argp child whose input is a struct dump_options. */
#ifndef CMD_DUMP_OPTION_H
#define CMD_DUMP_OPTION_H

#include <argp.h>

#include "decoder/filter/filter_option.h"
#include "decoder/show/dump.h"

extern const struct argp dump_option_argp;

/* The defaults; `verb` begins what is said of a wrong filter. */
void dump_option_start(struct dump_options *options, const char *verb);
void dump_option_free(struct dump_options *options);

#endif
