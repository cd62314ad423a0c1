/* Names for what NSS does: which of its patterns a call belongs to (idioms.def). Only where C_Initialize came with NSS's
 * arguments; IDIOM_NONE otherwise. */
#ifndef MODEL_IDIOM_H
#define MODEL_IDIOM_H

#include "decoder/model/model.h"
#include "decoder/symbols/symbols.h"

enum idiom {
  IDIOM_NONE,
#define IDIOM(name, by, meaning) IDIOM_##name,
#include "decoder/model/idioms.def"
#undef IDIOM
  IDIOM_COUNT
};

/* The pattern of a finished call, from it and from what its thread called before. Call once for each, in order. What a login was
 * for may show later: place->turned. */
enum idiom idiom_of(struct model_place *place, const struct call *call);
/* The same, or more exactly for a login whose stack is in the trace: which of NSS's functions wanted it. `symbols` may be NULL. */
enum idiom idiom_by_stack(enum idiom known, const struct event *event, struct symbols *symbols);
/* May a later call tell more of a login that is named so? Not when its stack has. */
bool idiom_may_turn(enum idiom idiom);
/* "NSS loads the module (secmod_LoadPKCS11Module)"; NULL for IDIOM_NONE. */
const char *idiom_text(enum idiom idiom);

#endif
