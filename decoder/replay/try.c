/* Is what --module names a PKCS #11 module? A traced copy of one (p11trace wrap) is: a replay can be recorded. */
#include <stdio.h>
#include <string.h>

#include "decoder/replay/job.h"
#include "decoder/wrap/wrap.h"

bool try_module(const char *path)
{
  struct wrap_probe probe;
  wrap_verb = "replay";
  if (wrap_probe_module(path, &probe) != 0) return false;
  switch (probe.answer) {
    case WRAP_PROBE_GOOD:
    case WRAP_PROBE_TRACED: return true;
    case WRAP_PROBE_NOT_LOADABLE: wrap_fail("cannot be loaded", path, "%s", probe.text); break;
    case WRAP_PROBE_NO_FUNCTION_LIST:
      wrap_fail("is no PKCS #11 module", path, "it has no C_GetFunctionList; give the module's library");
      break;
    case WRAP_PROBE_DIED:
      wrap_fail("ends the process that loads it", path, "%s%s; see whether it works with pkcs11-tool",
                probe.signal != 0 ? "SIG" : "without a signal", probe.signal != 0 ? sigabbrev_np(probe.signal) : "");
      break;
    case WRAP_PROBE_HANGS: wrap_fail("does not end loading", path, "see whether it works with pkcs11-tool"); break;
  }
  return false;
}
