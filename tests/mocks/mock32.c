/* A module of PKCS #11 3.2 with the lists of 3.0, 3.2 and 2.40, in that order, and two vendor interfaces. */
#define MOCK_SINCE 0x0302
#include "mock_core.h"
