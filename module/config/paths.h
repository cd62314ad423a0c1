/* Where things are for this user. */
#ifndef TOK_PATHS_H
#define TOK_PATHS_H

#include <stdbool.h>
#include <stddef.h>

/* A variable of the environment that is set, not empty, and may be believed (not in a set-id program); or NULL. */
const char *tok_env(const char *name);

/* Makes a path absolute: `~` and `~/...` are the user's home; `$HOME` and the `$XDG_..._HOME` of the XDG base directory
 * specification, with its defaults, and `$XDG_RUNTIME_DIR` may begin it; a relative path begins at `base` (NULL: the
 * current directory). The result is the caller's (free). NULL with the reason in `why`. */
char *tok_path_expand(const char *path, const char *base, char *why, size_t why_size);

#endif
