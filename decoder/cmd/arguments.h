/* What the verbs share: arguments that may be given several times, and the end of a verb that has read traces. */
#ifndef CMD_ARGUMENTS_H
#define CMD_ARGUMENTS_H

#include <argp.h>
#include <stdbool.h>
#include <stddef.h>

#include "decoder/read/trace.h"

struct arguments_list {
  const char **at; /* to be freed; NULL none */
  size_t count;
};
void arguments_add(struct arguments_list *list, const char *text);

/* `-o OUT` of the verbs that write traces: a name, not "-", for a trace is put in its place when it is whole. */
const char *arguments_output(struct argp_state *state, const char *output);
/* What is left of the arguments of such a verb: its traces, and that `output` was given. For the parser's default. */
error_t arguments_traces(int key, char *arg, struct argp_state *state, struct arguments_list *traces,
                         const char *output);

/* Options as the new trace says them: appends " OPTION VALUE" (value may be NULL) to `how`, as far as there is room. */
void arguments_note(char how[1024], const char *option, const char *value);

/* Says on stderr what could not be read of the process's trace, if anything. */
void arguments_tell_damage(const char *verb, const struct process *process);
/* The same for all of the set, which goes with what the model knows of it. Exit status. */
int arguments_close(const char *verb, struct trace_set *set);
/* Is all that the verb said on standard output written? Else says so; `good`: as far as is known. */
bool arguments_written(const char *verb, bool good);

#endif
