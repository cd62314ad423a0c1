/* Faults of any function; which one is part of their names. */
#include <signal.h>

#include "faulty/faulty.h"

CK_RV generic_rv_ANY(struct flt_call *call)
{
  (void)call;
  return flt_value(CKR_GENERAL_ERROR);
}

CK_RV generic_delay_ANY(struct flt_call *call)
{
  flt_sleep(flt_value(0));
  return flt_go_on(call);
}

CK_RV generic_crash_ANY(struct flt_call *call)
{
  raise(SIGSEGV);
  return flt_go_on(call);
}

/* With :forever not even C_Finalize ends it. */
CK_RV generic_hang_ANY(struct flt_call *call)
{
  (void)call;
  do {
    while (flt_sleep(1000)) continue;
  } while (flt_value(0) != 0);
  return CKR_CRYPTOKI_NOT_INITIALIZED;
}
