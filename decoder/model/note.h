/* A note of a call: what evidence shows of it, kept after the event is gone. Small and without pointers into the event, so
 * that the model can keep one per session at the cost of a copy. */
#ifndef MODEL_NOTE_H
#define MODEL_NOTE_H

#include <stddef.h>
#include <stdint.h>

#include "decoder/read/trace.h"

#define NOTE_VALUES 5

struct note {
  const struct process *process; /* NULL: the note is empty */
  uint64_t number, end_number;   /* of ENTER and LEAVE */
  uint64_t start, end;           /* ns */
  uint64_t offset;               /* of start, ns since the origin of times */
  uint64_t rv;
  uint32_t tid;
  uint16_t module;
  int16_t known; /* enum p11_function, or -1 */
  uint8_t state; /* enum call_state */
  uint8_t idiom; /* enum idiom (idiom.h): what NSS did with it, 0 nothing that has a name */
  uint8_t values;
  uint8_t where[NOTE_VALUES]; /* parameter, from 0; NOTE_OUT: as left; NOTE_MEMBER: what the function reports */
  uint64_t value[NOTE_VALUES];
};
#define NOTE_OUT 0x20    /* in `where`: a number written by the module */
#define NOTE_MEMBER 0x40 /* state of C_GetSessionInfo, flags of the other information functions */
#define NOTE_FLAGS 0x80  /* flags of C_GetSessionInfo */

/* Takes a note of `call`, shown with times from `origin` (ns) on. */
void note_take(struct note *note, const struct process *process, uint64_t origin, const struct call *call);

/* Evidence in one line, without a line end: "#812 +3.214000 [4711] C_GetSessionInfo(hSession=0x1) = CKR_OK
 * state=CKS_RO_PUBLIC_SESSION". Cut when it does not fit. */
void note_text(const struct note *note, char *text, size_t size);

/* A name for a return code, "CKR_0x80000001" when it has none; `text` is room for at least 24 bytes. */
const char *note_rv(uint64_t rv, char *text);

/* snprintf at the end of a text of `size` bytes of which `*used` are taken; cuts. */
void note_append(char *text, size_t size, size_t *used, const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
