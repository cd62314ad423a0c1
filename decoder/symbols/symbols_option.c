#include "decoder/symbols/symbols_option.h"

#include <stdlib.h>

#include "decoder/read/arena.h"

enum { KEY_SYSROOT = 0x5300, KEY_DEBUG_DIR, KEY_RAW };

/* clang-format off */
#define FILE_OPTIONS \
    {"sysroot", KEY_SYSROOT, "DIR", 0, "Look for the files of stacks below DIR, not where the trace says", 8}, \
    {"debug-dir", KEY_DEBUG_DIR, "DIR", 0, "Look for debug files in DIR/.build-id before /usr/lib/debug; several are searched in order", 8}
static const struct argp_option files[] = {
    FILE_OPTIONS,
    {0},
};
static const struct argp_option all[] = {
    FILE_OPTIONS,
    {"raw", KEY_RAW, NULL, 0, "Stacks as file, build id and link-time address; no file is looked at", 8},
    {0},
};
/* clang-format on */

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct symbols_options *o = state->input;
  switch (key) {
    case KEY_SYSROOT: o->sysroot = arg; return 0;
    case KEY_DEBUG_DIR:
      o->debug_dir = read_realloc(o->debug_dir, (o->debug_dirs + 1) * sizeof *o->debug_dir);
      o->debug_dir[o->debug_dirs++] = arg;
      return 0;
    case KEY_RAW: o->raw = true; return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

const struct argp symbols_option_argp = {.options = all, .parser = parse};
const struct argp symbols_option_files = {.options = files, .parser = parse};

void symbols_option_free(struct symbols_options *options)
{
  free(options->debug_dir);
}
