#include "decoder/cmd/arguments.h"

#include <stdio.h>
#include <string.h>

#include "decoder/cmd/cmd.h"
#include "decoder/model/model.h"
#include "decoder/read/arena.h"

void arguments_add(struct arguments_list *list, const char *text)
{
  list->at = read_realloc(list->at, (list->count + 1) * sizeof *list->at);
  list->at[list->count++] = text;
}

const char *arguments_output(struct argp_state *state, const char *output)
{
  if (output[0] == '\0' || strcmp(output, "-") == 0)
    argp_error(state, "-o '%s': a trace goes to a file: name one (./- if it is to be called -)", output);
  return output;
}

error_t arguments_traces(int key, char *arg, struct argp_state *state, struct arguments_list *traces,
                         const char *output)
{
  switch (key) {
    case ARGP_KEY_NO_ARGS: argp_error(state, "no trace given"); return 0;
    case ARGP_KEY_ARG: arguments_add(traces, arg); return 0;
    case ARGP_KEY_END:
      if (output == NULL && traces->count > 0) argp_error(state, "no -o OUT given: name the file to write");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

void arguments_note(char how[1024], const char *option, const char *value)
{
  const size_t n = strlen(how);
  snprintf(how + n, 1024 - n, " %s%s%s", option, value != NULL ? " " : "", value != NULL ? value : "");
}

void arguments_tell_damage(const char *verb, const struct process *process)
{
  if (process->damage[0]) fprintf(stderr, "p11trace %s: %s: %s\n", verb, process->path, process->damage);
}

int arguments_close(const char *verb, struct trace_set *set)
{
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  const int status = trace_damaged(set) ? EXIT_COULD_NOT : EXIT_FINE;
  for (size_t i = 0; i < processes; i++) {
    arguments_tell_damage(verb, process[i]);
    model_drop(process[i]);
  }
  trace_close(set);
  return status;
}

bool arguments_written(const char *verb, bool good)
{
  if (fflush(stdout) || ferror(stdout)) good = false;
  if (!good) fprintf(stderr, "p11trace %s: cannot write the result\n", verb);
  return good;
}
