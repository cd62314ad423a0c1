/* The mechanism of a session's message operation. The parameter of one message (C_EncryptMessage) is a structure whose layout
 * only the mechanism given to C_MessageEncryptInit tells; the recorder keeps no state of objects, but this much of operations,
 * in a table of fixed size without a lock. */
#ifndef RECORD_MESSAGES_H
#define RECORD_MESSAGES_H

#include <stdint.h>

/* C_Message*Init of this session succeeded with this mechanism. */
void p11t_message_begins(unsigned module, uint64_t session, uint64_t mechanism);

/* Number of the structure of a message parameter of `size` bytes in this session; 0 when it is not known. */
unsigned p11t_message_structure(unsigned module, uint64_t session, uint64_t size);

#endif
