#ifndef LOAD_NOTIFY_H
#define LOAD_NOTIFY_H

#include "shim/spec/pkcs11.h"

/* With probe=notify puts ours in the place of the callback that an application gives to C_OpenSession. As it is when there is
 * none, or more than 256 different ones. */
void p11t_notify_wrap(unsigned module, CK_VOID_PTR *pApplication, CK_NOTIFY *Notify);

#endif
