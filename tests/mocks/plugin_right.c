/* See plugin_left.c. */
#define PLUGIN_FRAME 520
#define PLUGIN_INNER plugin_right
#include "tests/mocks/plugin_left.c" /* NOLINT */
