/* p11trace objects: what NSS believes of the objects of each token. */
#include <argp.h>
#include <stdlib.h>

#include "decoder/check/json.h"
#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/objects/objects.h"

enum { KEY_JSON = 256 };

struct options {
  struct arguments_list traces;
  bool json;
};

static const struct argp_option option[] = {
    {"json", KEY_JSON, NULL, 0, "One JSON array: an object for each slot", 0},
    {0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
  struct options *o = state->input;
  switch (key) {
    case KEY_JSON: o->json = true; return 0;
    case ARGP_KEY_ARG: arguments_add(&o->traces, arg); return 0;
    case ARGP_KEY_END:
      if (!o->traces.count) argp_error(state, "which trace? Give files, directories or -");
      return 0;
    default: return ARGP_ERR_UNKNOWN;
  }
}

static void show(const struct model_module *module, json_t *array)
{
  if (array)
    objects_add(array, module);
  else
    objects_print(stdout, module);
}

/* Is that the end of the slot's sessions? */
static bool closes(const struct call *call, const struct model_place *place)
{
  if (!place->slot || !call_returned(call, CKR_OK)) return false;
  return call->known == P11_F_C_CloseAllSessions || (call->known == P11_F_C_CloseSession && place->slot->sessions <= 1);
}

/* A module is shown while its objects are known: before C_Finalize forgets them, before it is unloaded, at the end. */
static void take(const struct event *event, json_t *array, uint64_t origin)
{
  struct model_process *p = event->process->user;
  struct model_module *m;
  struct model_place place;
  struct model_observation seen;
  size_t at = 0;
  switch (event->type) {
    case EVENT_CALL:
      model_event(event, origin);
      model_place(event, &place);
      if (event->call->known == P11_F_C_Finalize && call_returned(event->call, CKR_OK)) show(place.module, array);
      if (closes(event->call, &place)) objects_keep(place.slot);
      model_observe(event, &place);
      while (model_observed(place.module, &seen)) continue; /* what the login is does not matter here */
      model_apply(event, &place);
      objects_watch(event, &place);
      return;
    case EVENT_UNLOAD:
      m = p && event->module ? table_get(&p->modules, event->module->id) : NULL;
      if (m && m->epoch != EPOCH_CLOSED) show(m, array);
      break;
    case EVENT_END:
      while (p && (m = table_next(&p->modules, &at)))
        if (m->epoch != EPOCH_CLOSED) show(m, array);
      model_event(event, origin);
      model_drop(event->process);
      return;
    default: break;
  }
  model_event(event, origin);
}

static int objects(const struct options *o)
{
  struct trace_set *set = trace_open(o->traces.at, o->traces.count);
  if (!set) return EXIT_COULD_NOT;
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  json_t *array = o->json ? json_array() : NULL;
  struct event event;
  while (!trace_next(set, &event)) take(&event, array, processes ? process[0]->first.monotonic : 0);
  const bool written = !array || check_json_write(stdout, array);
  const int status = arguments_close("objects", set);
  return arguments_written("objects", written) ? status : EXIT_COULD_NOT;
}

int cmd_objects(int argc, char **argv)
{
  static const struct argp argp = {
      option,
      parse,
      "TRACE...",
      "Lists the objects that a trace shows, slot by slot, with what NSS makes of them: which certificate is the "
      "user's, "
      "which key has none, which slots were searched.\vA TRACE is a file, a directory or -. Only what the program has "
      "read is known. Exit status: 0, or 2 when bytes of a trace are lost (after showing the rest).",
      NULL,
      NULL,
      NULL};
  struct options o = {0};
  argp_parse(&argp, argc, argv, 0, NULL, &o);
  const int status = objects(&o);
  free(o.traces.at);
  return status;
}
