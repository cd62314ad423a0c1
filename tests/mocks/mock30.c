/* A module of PKCS #11 3.0 with two vendor interfaces. */
#define MOCK_SINCE 0x0300
#include "mock_core.h"
