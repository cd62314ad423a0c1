/* A call as a line of text. */
#include "decoder/show/dump.h"
#include "decoder/show/stack.h"
#include "decoder/show/value.h"

#define S(literal) text_raw(out, literal, sizeof(literal) - 1)

#define LIST_ENTRIES 16 /* of a list, unless --verbose */

static bool holds(const struct value *v)
{
  if (v->what == VALUE_NONE || v->what == VALUE_POINTER) return false;
  return v->what != VALUE_BYTES || (v->form != P11T_V_NULL && v->form != P11T_V_UNREAD);
}

static void show_argument(const struct printer *p, const struct p11_param *param, const struct argument *arg)
{
  struct text *out = p->out;
  struct meaning meaning = meaning_of_param(param);
  text_s(out, param->name);
  bool came = holds(&arg->out) && !(arg->in.what == VALUE_POINTER && arg->in.pointer == P11T_P_NULL);
  if (param->kind == P11_K_OUT_TEMPLATE && came) {
    S(" -> ");
    show_filled(p, &arg->in, &arg->out);
    return;
  }
  /* An output's own pointer says nothing once the value is there. */
  if (!came || arg->in.what != VALUE_POINTER || arg->in.pointer >= P11T_P_SAME) {
    text_c(out, '=');
    if (param->kind == P11_K_OUT_TEMPLATE && arg->in.what == VALUE_TEMPLATE && arg->in.pointer != P11T_P_NULL) {
      show_asked(p, &arg->in);
    } else {
      show_value(p, &arg->in, meaning);
    }
  }
  if (came) {
    S(" -> ");
    show_value(p, &arg->out, meaning);
  }
}

static void show_seconds(const struct dump *d, struct text *out, uint64_t ns)
{
  text_u(out, ns / 1000000000);
  text_c(out, '.');
  if (d->options->nanoseconds) {
    text_padded(out, ns % 1000000000, 9);
  } else {
    text_padded(out, ns % 1000000000 / 1000, 6);
  }
}

static void show_prefix(struct dump *d, const struct event *event)
{
  struct text *out = &d->out;
  const struct call *call = event->call;
  text_c(out, '#');
  if (call->number != 0) {
    text_u(out, call->number);
  } else {
    text_c(out, '?');
  }
  text_c(out, ' ');
  dump_time(d, event->process, call->state == CALL_HEADLESS ? call->end : call->start);
  text_c(out, ' ');
  if (d->processes > 1 || d->many_threads || d->many_modules) {
    text_c(out, '[');
    if (d->processes > 1) {
      text_u(out, event->process->pid);
      if (d->many_threads) text_c(out, '/');
    }
    if (d->many_threads) {
      text_u(out, call->tid);
      if (call->thread != NULL && call->thread[0] != '\0') {
        text_c(out, ' ');
        text_escaped(out, call->thread, strlen(call->thread), "]");
      }
    }
    if (d->many_modules) {
      if (d->processes > 1 || d->many_threads) text_c(out, ' ');
      S("module ");
      text_u(out, call->module);
    }
    S("] ");
  }
}

static void paint(struct dump *d, const char *color)
{
  if (d->options->color) text_s(&d->out, color);
}

static void show_end(struct dump *d, const struct call *call)
{
  struct text *out = &d->out;
  switch (call->state) {
    case CALL_OPEN:
      paint(d, "\033[33m");
      S("? <in flight at the end>");
      paint(d, "\033[0m");
      return;
    case CALL_ABANDONED:
      paint(d, "\033[33m");
      S("? <unwound>");
      paint(d, "\033[0m");
      return;
    default: break;
  }
  if (call->rv != CKR_OK) paint(d, "\033[31m");
  show_constant(out, P11_DOM_CKR, call->rv);
  if (call->rv != CKR_OK) paint(d, "\033[0m");
  if (call->state == CALL_HEADLESS) {
    S(" <begin not recorded>");
    return;
  }
  S(" <");
  show_seconds(d, out, call->end - call->start);
  text_c(out, '>');
}

static void show_flags_of(struct text *out, unsigned flags)
{
  if (flags & P11T_PROBE) S(" <probe>");
  if (flags & P11T_SNAPSHOT) S(" <snapshot>");
  if (flags & P11T_CUT) S(" <cut>");
  if (flags & P11T_ALTERED) S(" <altered>");
  if (flags & P11T_LATE) S(" <late>");
}

void dump_arguments(const struct printer *p, const struct call *call)
{
  struct text *out = p->out;
  text_c(out, '(');
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (i > 0) S(", ");
    show_argument(p, &call->info->param[i], &call->arg[i]);
  }
  text_c(out, ')');
}

void dump_call(struct dump *d, const struct event *event)
{
  struct text *out = &d->out;
  const struct call *call = event->call;
  const struct printer p = {.out = out,
                            .limit = d->options->verbose ? SIZE_MAX : d->options->limit,
                            .entries = d->options->verbose ? SIZE_MAX : LIST_ENTRIES,
                            .verbose = d->options->verbose,
                            .info = call->info};
  show_prefix(d, event);
  text_escaped(out, call->info->name, strlen(call->info->name), "");
  dump_arguments(&p, call);
  S(" = ");
  show_end(d, call);
  show_flags_of(out, call->flags);
  if (d->options->caller && call->caller != 0) {
    char text[512];
    trace_address(event->process, call->caller, text, sizeof text);
    S(" caller=");
    text_escaped(out, text, strlen(text), "");
  }
  text_c(out, '\n');
  if (d->options->stack) stack_lines(out, d->symbols, event->process, call, d->options->symbols.raw);
}
