#include "decoder/diff/stream.h"

#include <stdlib.h>
#include <unistd.h>

#include "decoder/diff/hash.h"
#include "decoder/diff/shape.h"
#include "decoder/filter/filter_option.h"
#include "decoder/read/arena.h"

struct filter *stream_filter(const struct diff_options *options)
{
  struct filter *filter = filter_new();
  if (!filter) {
    fputs("p11trace diff: out of memory\n", stderr);
    exit(2);
  }
  for (size_t i = 0; i < options->expressions; i++)
    filter_option_expression("p11trace diff", filter, options->expression[i]);
  for (size_t i = 0; i < options->call_sets; i++) filter_option_calls("p11trace diff", filter, options->calls[i]);
  return filter;
}

/* Of many processes the files of one alone are opened, where they lie by themselves. */
static struct trace_set *open_set(const struct survey *survey, const struct process_seen *process, unsigned *index)
{
  const char *path = survey->path;
  *index = process->index;
  if (survey->processes > 1 && access(process->path, R_OK) == 0) {
    struct trace_set *set = trace_open((const char *const *)&process->path, 1);
    struct process *const *list;
    if (set && trace_processes(set, &list) == 1) {
      *index = 0;
      return set;
    }
    if (set) trace_close(set);
  }
  return trace_again(&path, 1) ? trace_open(&path, 1) : NULL;
}

bool stream_open(struct stream *s, const struct diff_pair *pair, int side, const struct diff_options *options)
{
  *s = (struct stream){.process = pair->process[side], .module = pair->module[side], .crowd = pair->crowd, .epoch = 1};
  s->set = open_set(pair->survey[side], s->process, &s->index);
  if (!s->set) return false;
  s->filter = stream_filter(options);
  filter_origin(s->filter, s->process->origin);
  s->poll = read_zalloc(STREAM_POLLS * sizeof *s->poll);
  names_start(&s->names, s->module, !s->crowd);
  return true;
}

void stream_close(struct stream *s)
{
  if (!s->set) return;
  names_free(&s->names);
  filter_free(s->filter);
  free(s->poll);
  trace_close(s->set);
  s->set = NULL;
}

/* After such a call polls may be answered otherwise, and that they are is no news. */
static bool begins_epoch(const struct call *call)
{
  switch (call->known) {
    case P11_F_C_Initialize:
    case P11_F_C_Finalize:
    case P11_F_C_CloseSession:
    case P11_F_C_CloseAllSessions: return true;
    default: return call->info->class == P11_CLASS_LOGIN;
  }
}

bool stream_next(struct stream *s, struct exchange *e, uint64_t *login)
{
  while (!trace_next(s->set, &s->event)) {
    const struct call *call = s->event.call;
    if (s->event.type != EVENT_CALL && s->event.type != EVENT_ENTER) continue;
    if (s->event.process->index != s->index || call->module != s->module->id || call_is_probe(call)) continue;
    if (s->event.type == EVENT_ENTER) {
      names_enter(&s->names, call);
      continue;
    }
    const bool wanted = filter_match(s->filter, &s->event);
    filter_see(s->filter, &s->event);
    struct shape shape = {0};
    shape_call(&shape, &s->names, call);
    *e = (struct exchange){.question = shape.question,
                           .answer = shape.answer,
                           .description = shape.description,
                           .number = call->number,
                           .rv = call->rv,
                           .epoch = s->epoch,
                           .function = call->known >= 0 ? (uint16_t)call->known : P11_FUNCTIONS,
                           .state = (uint8_t)call->state,
                           .poll = shape_is_poll(call)};
    *login = names_login(&s->names, call, &e->unsure);
    /* What a poll tells depends on who is logged in. */
    if (e->poll && !s->crowd) e->question = hash_mix(e->question, *login);
    if (call->state == CALL_DONE && begins_epoch(call)) s->epoch++;
    if (wanted && call->state != CALL_HEADLESS) return true;
    stream_see(s, e);
  }
  return false;
}

void stream_see(struct stream *s, const struct exchange *e)
{
  names_leave(&s->names, s->event.call, e->question);
}

static bool says_nothing_new(struct stream *s, const struct exchange *e)
{
  if (e->poll) {
    struct stream_poll *p = &s->poll[e->question % STREAM_POLLS];
    const bool again = p->epoch == e->epoch && p->question == e->question && p->answer == e->answer;
    *p = (struct stream_poll){.question = e->question, .answer = e->answer, .number = e->number, .epoch = e->epoch};
    return again;
  }
  const bool read = shape_is_read(s->event.call), again = read && s->read == e->question && s->read_answer == e->answer;
  s->read = read ? e->question : 0;
  s->read_answer = e->answer;
  return again;
}

bool stream_folded(struct stream *s, struct exchange *e, uint64_t *folded)
{
  uint64_t login;
  while (stream_next(s, e, &login)) {
    const bool again = says_nothing_new(s, e);
    stream_see(s, e);
    if (!again) return true;
    folded[e->function]++;
  }
  return false;
}
