/* Does a call pass? */
#include <string.h>

#include "decoder/filter/filter_part.h"

bool filter_fits(const char *pattern, const char *text, size_t size)
{
  const char *star = NULL;
  size_t n = 0, mark = 0;
  while (n < size) {
    if (*pattern == '*') {
      star = ++pattern;
      mark = n;
    } else if (*pattern != '\0' && *pattern == text[n]) {
      pattern++;
      n++;
    } else if (star != NULL) {
      pattern = star;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (*pattern == '*') pattern++;
  return *pattern == '\0';
}

static bool is_over(const struct call *call)
{
  return call->state == CALL_DONE || call->state == CALL_HEADLESS;
}

static bool rv_is(const struct filter_value *v, const struct call *call)
{
  switch ((enum filter_rv)v->rv) {
    case RV_OK: return is_over(call) && call->rv == CKR_OK;
    case RV_FAILED: return is_over(call) && call->rv != CKR_OK;
    case RV_OPEN: return call->state == CALL_OPEN;
    case RV_UNWOUND: return call->state == CALL_ABANDONED;
    case RV_NUMBER: return is_over(call) && call->rv == v->number;
  }
  return false;
}

/* Handles of objects that the call is given or gives: parameters, lists, the new object. */
static bool has_object(const struct call *call, uint64_t handle)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    const struct argument *arg = &call->arg[i];
    switch (call->info->param[i].kind) {
      case P11_K_OBJECT:
      case P11_K_KEY:
        if (arg->in.what == VALUE_NUMBER && arg->in.number == handle) return true;
        break;
      case P11_K_OUT_OBJECT:
        if (arg->out.what == VALUE_NUMBER && arg->out.number == handle) return true;
        break;
      case P11_K_OUT_OBJECTS:
        for (size_t j = 0; arg->out.what == VALUE_LIST && j < arg->out.count; j++) {
          if (arg->out.item[j].number == handle) return true;
        }
        break;
      default: break;
    }
  }
  return false;
}

static bool attribute_is(const struct filter_term *term, const struct filter_value *v, const struct value *attribute)
{
  const struct value *value = attribute->count > 0 ? &attribute->item[0] : NULL;
  if (value == NULL) return false;
  if (term->key == KEY_CLASS) {
    return attribute->number == CKA_CLASS && value->what == VALUE_NUMBER && value->number == v->number;
  }
  return attribute->number == CKA_LABEL && value->what == VALUE_BYTES && value->form == P11T_V_FULL &&
         filter_fits(v->pattern, (const char *)value->bytes, value->kept);
}

static bool template_has(const struct filter_term *term, const struct filter_value *v, const struct value *template)
{
  for (size_t i = 0; template->what == VALUE_TEMPLATE && i < template->count; i++) {
    if (attribute_is(term, v, &template->item[i])) return true;
  }
  return false;
}

static bool any_template_has(const struct filter_term *term, const struct filter_value *v, const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (template_has(term, v, &call->arg[i].in) || template_has(term, v, &call->arg[i].out)) return true;
  }
  return false;
}

static bool in_order(unsigned order, int64_t is, uint64_t wanted)
{
  int64_t w = wanted > INT64_MAX ? INT64_MAX : (int64_t)wanted;
  return (order & (is < w ? ORDER_LESS : is > w ? ORDER_MORE : ORDER_EQUAL)) != 0;
}

static bool value_is(const struct filter *f, const struct filter_term *term, const struct filter_value *v,
                     const struct event *event)
{
  const struct call *call = event->call;
  uint64_t number;
  switch (term->key) {
    case KEY_RV: return rv_is(v, call);
    case KEY_SESSION: return tracker_session(call, &number) && number == v->number;
    case KEY_SLOT: return tracker_slot(f->tracker, event->process, call) == v->number;
    case KEY_OBJECT: return has_object(call, v->number);
    case KEY_MODULE: return call->module == v->number;
    case KEY_PID: return event->process->pid == v->number;
    case KEY_TID: return call->tid == v->number;
    case KEY_THREAD: return call->thread != NULL && filter_fits(v->pattern, call->thread, strlen(call->thread));
    case KEY_MECHANISM: return tracker_mechanism(f->tracker, event->process, call) == v->number;
    case KEY_CLASS:
    case KEY_LABEL: return any_template_has(term, v, call);
    case KEY_DURATION:
      return call->state == CALL_DONE && in_order(term->order, (int64_t)(call->end - call->start), v->number);
    case KEY_TIME: {
      uint64_t time = call->state == CALL_HEADLESS ? call->end : call->start;
      return in_order(term->order, (int64_t)(time - f->origin), v->number);
    }
    default: return false;
  }
}

static bool term_is(const struct filter *f, const struct filter_term *term, const struct event *event)
{
  if (term->key == KEY_PROBE) return call_is_probe(event->call) != term->negative;
  if (term->key == KEY_FN) return p11_callset_has(&term->set, event->call->known);
  bool pass = !term->any_positive;
  for (size_t i = 0; i < term->count; i++) {
    const struct filter_value *v = &term->value[i];
    if (!v->negative && pass) continue;
    if (!value_is(f, term, v, event)) continue;
    if (v->negative) return false;
    pass = true;
  }
  return pass;
}

static bool in_ranges(const struct filter *f, uint64_t number)
{
  for (size_t i = 0; i < f->ranges; i++) {
    if (number >= f->range[i].first && number <= f->range[i].last) return true;
  }
  return f->ranges == 0;
}

bool filter_match(const struct filter *f, const struct event *event)
{
  const struct call *call = event->call;
  if (!in_ranges(f, call->number != 0 ? call->number : call->end_number)) return false;
  for (size_t i = 0; i < f->terms; i++) {
    if (!term_is(f, &f->term[i], event)) return false;
  }
  return true;
}
