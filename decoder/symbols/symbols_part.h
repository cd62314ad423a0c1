/* Inside the room: files, ELF, and the list of names beside a trace. */
#ifndef SYMBOLS_SYMBOLS_PART_H
#define SYMBOLS_SYMBOLS_PART_H

#include "decoder/symbols/symbols.h"

/* --- symbol_file.c: opens a regular file for reading; `root` NULL or a folder that the path, its symbolic links and its ..
 * cannot leave. Never waits (a FIFO) and never touches a device. -1 with *why. */
int symbol_file_open(const char *root, const char *path, const char **why);

/* --- elf.c: one mapped file */
struct elf_names;

struct elf_place {
  const char *function; /* as in the symbol table, NULL unknown */
  uint64_t start;       /* of the function */
  const char *source;   /* NULL unknown */
  unsigned line;
};

/* Opens the file and its debug file. NULL when there are no names to be had; *trust says why, *why in words. */
struct elf_names *elf_names_open(const struct symbols_options *options, const char *path, const char *build_id,
                                 enum symbols_trust *trust, char *why, size_t size);
/* The function that holds link-time address `pc`, and the line. False when neither is known. */
bool elf_names_find(struct elf_names *names, uint64_t pc, struct elf_place *place);
void elf_names_close(struct elf_names *names);

/* Readable form of a C++ name, malloc'ed, or NULL. */
char *symbol_demangle(const char *name);

/* --- sidecar.c */
struct sidecar;

/* What lies beside the process's trace, if it is of this trace; NULL when there is none or it cannot be used (said). */
struct sidecar *sidecar_read(const struct process *process);
/* Fills function, function_offset, source, line and trust of the frame; false when it is not in the list. The texts are the
 * sidecar's. */
bool sidecar_find(const struct sidecar *sidecar, struct symbol_frame *frame);
void sidecar_free(struct sidecar *sidecar);

#endif
