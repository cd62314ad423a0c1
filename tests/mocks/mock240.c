/* A module of PKCS #11 2.40: it has C_GetFunctionList and no C_GetInterface. */
#define MOCK_SINCE 0x0228
#include "mock_core.h"
