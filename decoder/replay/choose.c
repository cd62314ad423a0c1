/* Which of the modules of a recorded process is the one whose calls are made again. */
#include <string.h>

#include "decoder/replay/replay.h"

bool choose_takes(const struct replay_options *options, const struct process *process, uint16_t id)
{
  if (options->chosen == NULL) return true;
  const struct module *module = trace_module(process, id);
  return strcmp(module != NULL && module->path != NULL ? module->path : "", options->chosen) == 0;
}
