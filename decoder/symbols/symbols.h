/* Names for the addresses of call stacks.
 *
 * A trace holds raw addresses and, for each mapped file, path, address and build id. Names come from the files themselves, from
 * debug files found by build id, or from what `p11trace symbolize` wrote beside the trace. A file whose build id is not the
 * trace's gives no names: none are better than wrong ones. Paths in a trace are an outsider's words: only regular files are
 * opened, and what they say is escaped where it is shown. */
#ifndef SYMBOLS_SYMBOLS_H
#define SYMBOLS_SYMBOLS_H

#include "decoder/read/trace.h"

struct symbols_options {
  const char *sysroot; /* files are looked for below this folder only; NULL: where the trace says */
  const char **debug_dir;
  size_t debug_dirs; /* in front of /usr/lib/debug */
  bool raw;          /* look nothing up */
  bool files_first;  /* what lies beside the trace only where the files have no name */
};

enum symbols_trust {
  SYMBOLS_NONE,      /* nothing was looked for */
  SYMBOLS_SAME,      /* the build ids agree */
  SYMBOLS_UNCHECKED, /* trace or file has no build id */
  SYMBOLS_DIFFERENT, /* another build: no names */
  SYMBOLS_MISSING    /* no file */
};

struct symbol_frame {
  uint64_t address;
  const struct trace_object *object; /* NULL: in no file that the trace knows */
  uint64_t offset;                   /* in it: the link-time address */
  const char *function;              /* NULL unknown */
  uint64_t function_offset;
  const char *source; /* NULL unknown */
  unsigned line;
  enum symbols_trust trust;
  char *text; /* for whoever shows it: the line, made once */
  size_t text_length;
};

struct symbols;

/* `options` must live as long. */
struct symbols *symbols_new(const struct symbols_options *options);

/* What is known of an address of the event just delivered. Lives until the next call. */
const struct symbol_frame *symbols_frame(struct symbols *symbols, const struct process *process, uint64_t address);

/* Keeps `text` with the frame, whatever was kept before. */
void symbols_keep_text(struct symbols *symbols, const struct symbol_frame *frame, const char *text, size_t length);

/* On stderr, each line begun with `verb`: the files whose names could not be used, and why. */
void symbols_tell(const struct symbols *symbols, const char *verb);

void symbols_free(struct symbols *symbols);

/* Writes the names of every address in the set's stacks beside each trace (NAME.p11t.sym), or for a set of one process to
 * `output`. Files that are not such a list of names are not replaced. An exit status of cmd.h. */
int symbols_write(struct trace_set *set, const struct symbols_options *options, const char *output, bool quiet);

/* The same to a place for each process, by its index in the set. */
int symbols_write_to(struct trace_set *set, const struct symbols_options *options, const char *const *output,
                     bool quiet);

#endif
