/* The files that are mapped into the process, so that the decoder can say where an address belongs. */
#ifndef RECORD_OBJECTS_H
#define RECORD_OBJECTS_H

#include <stdint.h>

#include "shim/record/process.h"

/* Reads the list anew if objects came or went. Takes the loader's lock, so it is called where the host holds no lock of
 * ours and we are not in a record: when a module is attached. */
void p11t_objects_refresh(void);

/* Writes the OBJECT record of the file that holds `address`, unless this trace has it or the list does not know it. */
void p11t_object_of(struct p11t_thread *t, uint64_t address);

/* What was said is in a file that may go: it is said again when it is next needed. Under the lock. */
void p11t_objects_forget(void);

#endif
