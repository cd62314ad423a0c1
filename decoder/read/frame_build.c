/* The recorder's own builders of frames, for recover: there is one writer of EVENTS and of SCHEMA. */
#include "shim/trace/frame.c"
#undef MAX_DESCRIPTORS
#define put_n schema_put_n
#include "shim/trace/schema.c"
