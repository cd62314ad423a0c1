#include "decoder/emit/emit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decoder/cmd/arguments.h"
#include "decoder/emit/emit_part.h"
#include "decoder/model/pick.h"

enum { FINE = 0, COULD_NOT = 2 };

static struct trace_set *open_again(const struct emit *e)
{
  return trace_again(e->options->path, e->options->paths) ? trace_open(e->options->path, e->options->paths) : NULL;
}

static const char *path_of(const struct event *event)
{
  const struct module *module = trace_module(event->process, event->call->module);
  return module && module->path ? module->path : "";
}

/* Is it a call of the process and module that the program is for? */
static bool is_ours(const struct emit *e, const struct event *event)
{
  return event->type == EVENT_CALL && !call_is_probe(event->call) && e->process->index == event->process->index &&
         strcmp(path_of(event), e->module) == 0;
}

static const char *refuse(const struct emit *e, const struct event *event)
{
  static char text[1024];
  if (e->process->index != event->process->index) {
    snprintf(text, sizeof text,
             "p11trace emit-c: calls of more than one process (pids %" PRIu32 " and %" PRIu32
             "): choose one with -e pid=%" PRIu32,
             e->process->pid, event->process->pid, e->process->pid);
    return text;
  }
  if (strcmp(path_of(event), e->module) != 0) {
    snprintf(text, sizeof text,
             "p11trace emit-c: calls of more than one module (%s and %s): choose one with --module-of PART of its path",
             e->module, path_of(event));
    return text;
  }
  return NULL;
}

static bool is_wanted(const struct emit *e, const struct event *event)
{
  if (event->type != EVENT_CALL || call_is_probe(event->call)) return false;
  return !e->options->module_of || strstr(path_of(event), e->options->module_of) != NULL;
}

/* Of which process and module are the chosen calls? */
static bool find_process(struct emit *e, struct trace_set *set, struct table *chosen)
{
  struct event event;
  while (!trace_next(set, &event)) {
    if (event.type != EVENT_CALL) continue;
    const bool passes = is_wanted(e, &event) && filter_match(e->options->filter, &event);
    filter_see(e->options->filter, &event);
    if (!passes) continue;
    if (!e->process) {
      e->process = event.process;
      e->module = read_strdup(path_of(&event));
    }
    const char *why = refuse(e, &event);
    if (why) {
      fprintf(stderr, "%s\n", why);
      return false;
    }
    if (e->chosen && e->tid != event.call->tid) e->threads = true;
    e->tid = event.call->tid;
    table_put(chosen, event.call->number ? event.call->number : event.call->end_number, chosen);
    e->chosen++;
  }
  if (!e->chosen) fprintf(stderr, "p11trace emit-c: no call is chosen; p11trace dump shows their numbers\n");
  return e->chosen != 0;
}

static uint64_t name_of(const struct call *call)
{
  return call->number ? call->number : call->end_number;
}

/* What the chosen calls need, and whose PIN is which. */
static void find_needs(struct emit *e, struct trace_set *set, const struct table *chosen, struct table *included)
{
  struct needs needs = {.included = included};
  struct event event;
  while (!trace_next(set, &event)) {
    if (!is_ours(e, &event)) continue;
    const bool is_chosen = table_get(chosen, name_of(event.call)) != NULL;
    emit_pin_facts(e, event.call);
    needs_see(&needs, event.call, is_chosen);
    if (is_chosen) table_put(included, name_of(event.call), (void *)(uintptr_t)NEED_CHOSEN);
  }
  needs_free(&needs);
}

/* Tags of what goes in, below `v`: those that came out before are kept by the program. */
static void goes_in(struct emit *e, struct table *out, const struct value *v)
{
  if (emit_tagged(v) && table_get(out, v->number) && !table_get(&e->made, v->number)) {
    struct emit_made *made = model_alloc(sizeof *made);
    made->tag = v->number;
    made->length = v->length;
    table_put(&e->made, v->number, made);
  }
  for (size_t i = 0; i < v->count; i++) goes_in(e, out, &v->item[i]);
}

static void find_made(struct emit *e, struct trace_set *set, const struct table *included)
{
  struct table out = {0};
  struct event event;
  while (!trace_next(set, &event)) {
    if (!is_ours(e, &event) || !table_get(included, name_of(event.call))) continue;
    const struct call *call = event.call;
    for (unsigned i = 0; i < call->info->arity; i++)
      if (call->info->param[i].kind != P11_K_PIN) goes_in(e, &out, &call->arg[i].in);
    for (unsigned i = 0; i < call->info->arity && call_returned(call, CKR_OK); i++) {
      const unsigned kind = call->info->param[i].kind;
      if ((kind == P11_K_OUT_BYTES || kind == P11_K_OUT_BYTES_OF) && emit_tagged(&call->arg[i].out))
        table_put(&out, call->arg[i].out.number, &out);
    }
  }
  table_clear(&out, NULL);
}

static bool changes(const struct call *call)
{
  if (call->known == P11_F_C_SetPIN || call->known == P11_F_C_InitPIN || call->known == P11_F_C_InitToken) return true;
  return pick_kind(call, P11_K_TEMPLATE) >= 0 ? call->info->class == P11_CLASS_OBJECT
                                              : call->known == P11_F_C_DestroyObject;
}

static void write_calls(struct emit *e, struct trace_set *set, const struct table *included)
{
  struct event event;
  while (!trace_next(set, &event)) {
    if (!is_ours(e, &event)) continue;
    const uintptr_t why = (uintptr_t)table_get(included, name_of(event.call));
    if (!why) continue;
    emit_call(e, event.call, (enum need_why)why);
    if (changes(event.call)) e->changing++;
  }
  if (e->parts) text_s(&e->body, "}\n");
}

static int copy_body(struct emit *e, struct text *out)
{
  char block[65536];
  ssize_t n;
  if (text_flush(&e->body) || lseek(e->body.fd, 0, SEEK_SET) < 0) return -1;
  while ((n = read(e->body.fd, block, sizeof block)) > 0) text_raw(out, block, (size_t)n);
  return n < 0 ? -1 : 0;
}

static int write_program(struct emit *e)
{
  struct text out;
  text_open(&out, e->options->fd);
  emit_prologue(e, &out);
  const int bad = copy_body(e, &out);
  emit_epilogue(e, &out);
  const int error = text_flush(&out);
  text_close(&out);
  if (!bad && !error) return FINE;
  fprintf(stderr, "p11trace emit-c: the program cannot be written: %s\n", strerror(error ? error : errno));
  return COULD_NOT;
}

static int tell_damage(struct trace_set *set)
{
  struct process *const *process;
  const size_t processes = trace_processes(set, &process);
  for (size_t i = 0; i < processes; i++) arguments_tell_damage("emit-c", process[i]);
  fputs("p11trace emit-c: bytes of the trace are lost: calls may be missing from the program\n", stderr);
  return COULD_NOT;
}

static int passes(struct emit *e)
{
  struct table chosen = {0}, included = {0};
  struct trace_set *set = open_again(e);
  int status = COULD_NOT;
  if (set && find_process(e, set, &chosen)) {
    /* The set goes on being open: the process belongs to it. */
    struct trace_set *second = open_again(e), *third = second ? open_again(e) : NULL,
                     *last = third ? open_again(e) : NULL;
    if (last) {
      find_needs(e, second, &chosen, &included);
      find_made(e, third, &included);
      write_calls(e, last, &included);
      status = write_program(e);
      if (trace_damaged(set)) status = tell_damage(set);
    }
    if (last) trace_close(last);
    if (third) trace_close(third);
    if (second) trace_close(second);
  }
  if (set) trace_close(set);
  table_clear(&chosen, NULL);
  table_clear(&included, NULL);
  return status;
}

int emit_c(const struct emit_options *options)
{
  struct emit e = {.options = options};
  FILE *body = tmpfile();
  if (!body) {
    fprintf(stderr, "p11trace emit-c: no temporary file: %s\n", strerror(errno));
    return COULD_NOT;
  }
  text_open(&e.body, fileno(body));
  text_open(&e.before, -1);
  text_open(&e.after, -1);
  text_open(&e.line, -1);
  const int status = passes(&e);
  text_close(&e.body);
  text_close(&e.before);
  text_close(&e.after);
  text_close(&e.line);
  fclose(body);
  table_clear(&e.made, free);
  emit_set_free(&e.made_room);
  emit_set_free(&e.sessions);
  emit_set_free(&e.objects);
  emit_set_free(&e.slots);
  emit_set_free(&e.constants);
  emit_set_free(&e.structures);
  arena_free(&e.arena);
  free(e.module);
  return status;
}
