/* HEAD: what a trace says of its process (FORMAT.md, section 1). */
#ifndef RECORD_HEAD_H
#define RECORD_HEAD_H

#include <stddef.h>
#include <stdint.h>

#define P11T_HEAD_MAX (8192 - 256) /* fits behind the fields of the live file's head */

/* Notes argc (0: not known) and the program's name; called when the recorder is loaded. */
void p11t_head_facts(int argc);

/* Name of the program as it was when the recorder was loaded: a process that changes its title writes over its arguments, of
 * which the name is one. */
const char *p11t_program(void);

/* Reads what /proc says of the process; before p11t_head_build(). */
void p11t_head_gather(void);

/* Writes HEAD's content for the running process; returns its size. Live path "" when the live file lies beside the trace. */
size_t p11t_head_build(uint8_t out[P11T_HEAD_MAX], const char *live_path);

/* Writes the fields of HEAD that tell one file of the process from another: none for the first one. Returns their size, at
 * most 80. */
size_t p11t_head_of_file(uint8_t *out, uint64_t complete_from, uint32_t index);

#endif
