/* Calls of a machine whose CK_ULONG has 32 bits, as one with ours would have made them. */
#ifndef REPLAY_WIDEN_H
#define REPLAY_WIDEN_H

#include "decoder/read/trace.h"

/* Lengths of attributes that are asked for and whose values are CK_ULONGs or hold them; changes nothing in the call of a
 * process that has ours. Values that are given are laid out in our size anyway. */
void widen(const struct process *process, const struct call *call);

#endif
