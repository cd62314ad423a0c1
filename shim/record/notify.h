/* A module's callback in the trace: CALLBACK records. */
#ifndef RECORD_NOTIFY_H
#define RECORD_NOTIFY_H

#include <stdint.h>

/* The module calls the application's Notify, and it returns. Both keep errno. */
void p11t_notify_begins(unsigned module, uint64_t session, uint64_t event);
void p11t_notify_ends(unsigned module, uint64_t session, uint64_t rv);

#endif
