/* Does a serial number tell one token from another? Softoken's is all zeros, whatever the database. */
#ifndef MODEL_SERIAL_H
#define MODEL_SERIAL_H

#include <stdbool.h>
#include <string.h>

static inline bool serial_tells(const char *serial)
{
  return serial[strspn(serial, "0 ")] != 0;
}

#endif
