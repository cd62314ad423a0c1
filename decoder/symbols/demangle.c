/* C++ names. libstdc++ is asked when there is one and it is needed: it is no library that everybody who reads traces has. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/symbols/symbols_part.h"

enum { MAX_NAME = 4096 }; /* a demangled name may be far longer than the name */

char *symbol_demangle(const char *name)
{
  typedef char *(*demangler)(const char *, char *, size_t *, int *);
  static demangler demangle;
  static bool tried;
  if (name[0] != '_' || name[1] != 'Z' || strlen(name) > MAX_NAME) return NULL;
  if (!tried) {
    tried = true;
    void *library = dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
    if (library != NULL) *(void **)&demangle = dlsym(library, "__cxa_demangle");
  }
  int status;
  char *text = demangle == NULL ? NULL : demangle(name, NULL, NULL, &status);
  if (text != NULL && strlen(text) > MAX_NAME) {
    free(text);
    return NULL;
  }
  return text;
}
