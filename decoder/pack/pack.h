/* All files of a case as one file to send. */
#ifndef PACK_PACK_H
#define PACK_PACK_H

#include "decoder/symbols/symbols.h"

struct pack_options {
  const char *output;
  bool no_symbols, quiet;
  struct symbols_options symbols;
};

/* Writes the traces that `paths` name (files, folders) into options->output, which must not exist: every file of each process,
 * what is in live files folded in, names of call stacks, and an index. The originals stay as they are. An exit status of
 * cmd.h. */
int pack_paths(const char *const *paths, size_t count, const struct pack_options *options);

#endif
