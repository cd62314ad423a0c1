/* The options --sysroot, --debug-dir and --raw of the verbs that show stacks, as an argp child. */
#ifndef SYMBOLS_SYMBOLS_OPTION_H
#define SYMBOLS_SYMBOLS_OPTION_H

#include <argp.h>

#include "decoder/symbols/symbols.h"

/* Its input is a struct symbols_options. symbols_option_files leaves --raw out. */
extern const struct argp symbols_option_argp, symbols_option_files;

/* What parsing allocated. */
void symbols_option_free(struct symbols_options *options);

#endif
