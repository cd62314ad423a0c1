#include "decoder/report/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/check/profile.h"
#include "decoder/cmd/arguments.h"
#include "decoder/cmd/cmd.h"
#include "decoder/report/report_part.h"
#include "decoder/rules/rules.h"

/* --- first reading: findings --------------------------------------------------------------------------- */

/* What `check --json` says, each call of the evidence with the place of its process: a pid is not one process for ever. */
static json_t *findings_json(struct report *r, struct finding *const *list, size_t count, const struct check_summary *s)
{
  char *text = NULL;
  size_t size = 0;
  FILE *to = open_memstream(&text, &size);
  if (!to) abort();
  check_print_json(to, list, count, s);
  fclose(to);
  json_t *all = json_loadb(text, size, 0, NULL);
  free(text);
  data_clean(all);
  json_t *findings = json_object_get(all, "findings");
  r->proof = model_alloc((count * EVIDENCE_MAX + 1) * sizeof *r->proof);
  for (size_t i = 0; i < count; i++) {
    json_t *evidence = json_object_get(json_array_get(findings, i), "evidence");
    for (unsigned k = 0; k < list[i]->evidences; k++) {
      const struct note *n = &list[i]->evidence[k].note;
      r->proof[r->proofs++] = (struct proof){n->process->index, n->number};
      json_object_set_new(json_array_get(evidence, k), "process", json_integer(n->process->index));
    }
  }
  qsort(r->proof, r->proofs, sizeof *r->proof, proof_order);
  return all;
}

static json_t *look_for_findings(struct report *r)
{
  const struct report_options *o = r->options;
  if (!trace_again(o->trace, o->traces)) return NULL;
  struct trace_set *set = trace_open(o->trace, o->traces);
  if (!set) return NULL;
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  struct checker *checker = checker_new(NULL, 0, processes ? process[0]->first.monotonic : 0);
  struct event event;
  while (!trace_next(set, &event)) checker_event(checker, &event);
  struct finding *const *list;
  struct check_summary s;
  const size_t count = profile_conclude(checker, o->profile, processes, &list, &s);
  json_t *all = findings_json(r, list, count, &s);
  for (size_t i = 0; i < processes; i++) model_drop(process[i]);
  checker_free(checker);
  trace_close(set);
  return all;
}

/* --- second reading: calls ------------------------------------------------------------------------------ */

/* Before the model takes the call in: afterwards a session that it closed is not known any more. */
static void placed(void *user, const struct event *event, const struct model_place *place)
{
  struct report *r = user;
  (void)event;
  r->at.life = place->slot ? states_life(&r->states, place->slot) : NULL;
  r->at.lines = r->at.life ? r->at.life->lines : 0;
  r->at.session = place->session ? place->session->handle : 0;
  r->at.idiom = place->idiom;
}

static void take(struct report *r, const struct event *event)
{
  const uint64_t now = event->type == EVENT_CALL && event->call->end ? event->call->end : event->time;
  if (now > r->last) r->last = now;
  if (event->type != EVENT_END && now > r->until[event->process->index]) r->until[event->process->index] = now;
  r->ending = event->type == EVENT_END;
  states_event(&r->states, event);
  if (event->type != EVENT_CALL) return;
  const struct call *call = event->call;
  r->calls += !call_is_probe(call);
  r->probes += call_is_probe(call);
  r->errors += !call_is_probe(call) && (call->state == CALL_DONE || call->state == CALL_HEADLESS) && call->rv != CKR_OK;
  if (event->process->user) sessions_take(r, event);
  rows_take(r, event);
  latency_take(r, call);
}

static const char *title_of(struct process *const *process, size_t processes, char *title, size_t size)
{
  const char *program = processes && process[0]->program ? process[0]->program : "";
  if (processes == 1)
    snprintf(title, size, "%s[%u]: PKCS #11 report", *program ? program : "process", (unsigned)process[0]->pid);
  else
    snprintf(title, size, "%zu processes: PKCS #11 report", processes);
  return title;
}

/* Rows are left out until the page has its size. */
static char *fit(struct report *r, struct process *const *process, size_t processes, json_t *findings, size_t *size)
{
  char title[300];
  for (;;) {
    json_t *data = data_json(r, process, processes, findings);
    char *page = page_make(data, title_of(process, processes, title, sizeof title), size);
    json_decref(data);
    if (!page || *size <= r->options->size || !rows_thin(r)) return page;
    free(page);
  }
}

static bool write_page(const struct report_options *o, const char *page, size_t size)
{
  const bool out = !strcmp(o->output, "-");
  FILE *to = out ? stdout : fopen(o->output, "w");
  bool good = to && fwrite(page, 1, size, to) == size;
  if (to) good &= (out ? fflush(to) : fclose(to)) == 0;
  if (!good) fprintf(stderr, "p11trace report: %s: cannot write the page: %s\n", o->output, strerror(errno));
  return good;
}

/* "report.html: 51 calls, 1 finding"; what had to be left out is said in the page too. */
static void tell(const struct report *r, const json_t *findings)
{
  const size_t n = json_array_size(json_object_get(findings, "findings"));
  if (r->options->quiet || !strcmp(r->options->output, "-")) return;
  printf("%s: %llu call%s, %zu finding%s", r->options->output, (unsigned long long)r->calls, r->calls == 1 ? "" : "s",
         n, n == 1 ? "" : "s");
  if (r->left_out) printf("; %llu calls are counted only", (unsigned long long)r->left_out);
  putchar('\n');
}

static int show(struct report *r, json_t *findings)
{
  const struct report_options *o = r->options;
  struct trace_set *set = trace_again(o->trace, o->traces) ? trace_open(o->trace, o->traces) : NULL;
  if (!set) return EXIT_COULD_NOT;
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  r->origin = r->last = r->states.origin = processes ? process[0]->first.monotonic : 0;
  r->until = model_alloc((processes + 1) * sizeof *r->until);
  struct event event;
  while (!trace_next(set, &event)) take(r, &event);
  r->ending = true;
  size_t size;
  char *page = fit(r, process, processes, findings, &size);
  int status = page && write_page(o, page, size) ? EXIT_FINE : EXIT_COULD_NOT;
  if (!page) fputs("p11trace report: the page cannot be made of these traces\n", stderr);
  if (status == EXIT_FINE) tell(r, findings);
  if (trace_damaged(set)) status = EXIT_COULD_NOT;
  for (size_t i = 0; i < processes; i++) {
    arguments_tell_damage("report", process[i]);
    model_drop(process[i]);
  }
  free(page);
  symbols_tell(r->symbols, "p11trace report");
  trace_close(set);
  return status;
}

int report_write(const struct report_options *options)
{
  struct report r = {
      .options = options, .stride = {1, 1, 1, 1}
  };
  json_t *findings = look_for_findings(&r);
  int status = EXIT_COULD_NOT;
  if (findings) {
    r.symbols = r.states.symbols = symbols_new(&options->symbols);
    r.states.call = placed;
    r.states.user = &r;
    status = show(&r, findings);
    symbols_free(r.symbols);
  }
  states_free(&r.states);
  rows_free(&r);
  latency_free(&r);
  free(r.session);
  free(r.until);
  free(r.proof);
  json_decref(findings);
  return status;
}
