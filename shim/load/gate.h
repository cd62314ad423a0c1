/* What stub and recorder know of each other. The recorder exports p11trace_attach and p11trace_detach; nothing else of
 * theirs meets, so that a stub of one build works with the recorder of the next. */
#ifndef LOAD_GATE_H
#define LOAD_GATE_H

#include "shim/spec/pkcs11.h"

/* The three entry points of a traced module. All NULL: the target could not be loaded, which was said already. */
struct p11trace_gate {
  CK_C_GetFunctionList get_function_list;
  CK_C_GetInterfaceList get_interface_list;
  CK_C_GetInterface get_interface;
  unsigned module; /* id */
};

/* Loads the target that the .conf beside `library` (the stub's own path) names, and returns its gate, which stays valid
 * until p11trace_detach. NULL when `abi` (P11T_STUB_ABI of the stub) is not one that this recorder serves; that is all that
 * `library` NULL asks. */
const struct p11trace_gate *p11trace_attach(unsigned abi, const char *library);

/* The host unloads the stub: unloads the target. */
void p11trace_detach(const struct p11trace_gate *gate);

typedef const struct p11trace_gate *(*p11trace_attach_function)(unsigned, const char *);
typedef void (*p11trace_detach_function)(const struct p11trace_gate *);

/* For a target that has C_GetFunctionList only (SoftHSM): whether a request made to C_GetInterface is answered with the one
 * interface "PKCS 11" of its list. NSS does not fall back when the symbol exists and fails, so it has to be. */
static inline int p11t_is_only_interface(const CK_UTF8CHAR *name, const CK_VERSION *wanted, CK_FLAGS flags,
                                         const CK_VERSION *have)
{
  static const char standard[] = "PKCS 11";
  if (flags != 0) return 0;
  for (unsigned i = 0; name != NULL && i < sizeof standard; i++) {
    if (name[i] != (unsigned char)standard[i]) return 0;
  }
  return wanted == NULL || (wanted->major == have->major && wanted->minor == have->minor);
}

#endif
