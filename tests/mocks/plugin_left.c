/* A plugin that makes PKCS #11 calls, with plugin_right.c: the same code at the same places, but frames of another size, so
 * that what was learnt of the one is wrong for the other. */
#include "pkcs11.h"

#ifndef PLUGIN_FRAME
#define PLUGIN_FRAME 1544
#define PLUGIN_INNER plugin_left
#endif

void PLUGIN_INNER(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session);
void plugin_run(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session);

__attribute__((noinline)) void PLUGIN_INNER(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session)
{
  CK_SESSION_INFO info;
  volatile unsigned char frame[PLUGIN_FRAME];
  frame[0] = 1;
  p11->C_GetSessionInfo(session, &info);
  p11->C_GetSessionInfo(session + 1000, &info);
  frame[1] = frame[0];
}

void plugin_run(CK_FUNCTION_LIST_PTR p11, CK_SESSION_HANDLE session)
{
  volatile unsigned char frame[PLUGIN_FRAME];
  frame[0] = 1;
  PLUGIN_INNER(p11, session);
  frame[1] = frame[0];
}
