/* The files of one process as one. */
#ifndef WRITE_MERGE_FILES_H
#define WRITE_MERGE_FILES_H

#include <stdbool.h>
#include <stddef.h>

/* Writes the processes that `paths` name to `output`, a folder when there are several. An exit status of cmd.h. */
int merge_files(const char *const *paths, size_t count, const char *output, bool quiet);

#endif
