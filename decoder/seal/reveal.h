/* Calls with their sealed payload opened, for showing. PINs and keys stay sealed: the private key is there to replay a trace,
 * and nobody needs to read them. */
#ifndef SEAL_REVEAL_H
#define SEAL_REVEAL_H

#include "decoder/seal/seal.h"

struct reveal;

/* `key` stays the caller's and must outlive it. */
struct reveal *reveal_new(const char *who, const struct seal_key *key);
/* Wipes what it opened. */
void reveal_free(struct reveal *reveal);

/* Opens what is payload in the call of the event. It is in clear there until the next event, for which `reveal` wipes it.
 * Does nothing for processes that are sealed to another key (said once for each). */
void reveal_event(struct reveal *reveal, const struct event *event);

/* True when a process or value could not be opened. Says how many values. */
bool reveal_failed(const struct reveal *reveal);

#endif
