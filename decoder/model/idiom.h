/* Names for what NSS does: which of its patterns a call belongs to (idioms.def). Only where C_Initialize came with NSS's
 * arguments; IDIOM_NONE otherwise. */
#ifndef MODEL_IDIOM_H
#define MODEL_IDIOM_H

#include "decoder/model/model.h"

enum idiom {
  IDIOM_NONE,
#define IDIOM(name, by, meaning) IDIOM_##name,
#include "decoder/model/idioms.def"
#undef IDIOM
  IDIOM_COUNT
};

/* The pattern of a finished call, from it and from what its thread called before. Call once for each, in order. */
enum idiom idiom_of(const struct model_place *place, const struct call *call);
/* "NSS loads the module (secmod_LoadPKCS11Module)"; NULL for IDIOM_NONE. */
const char *idiom_text(enum idiom idiom);

#endif
