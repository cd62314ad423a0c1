/* What is in a trace beside calls, as lines --- like this ---. */
#include "decoder/read/cursor.h"
#include "decoder/show/dump.h"
#include "decoder/show/value.h"

#define S(literal) text_raw(out, literal, sizeof(literal) - 1)

static void quoted(struct text *out, const char *s)
{
  text_quoted(out, s != NULL ? s : "", s != NULL ? strlen(s) : 0);
}

static void show_module(struct text *out, const struct module *m)
{
  static const char *const how[] = {"?", "chained", "preloaded", "audited"};
  S("module ");
  text_u(out, m->id);
  S(": ");
  quoted(out, m->path);
  S(", ");
  text_s(out, how[m->how < 4 ? m->how : 0]);
  if (m->stub != NULL && m->stub[0] != '\0') {
    S(" by ");
    quoted(out, m->stub);
  }
  if (m->build_id != NULL && m->build_id[0] != '\0') {
    S(", build id ");
    text_escaped(out, m->build_id, strlen(m->build_id), "");
  }
}

/* What the module hands out, and the functions that it leaves out. */
static void show_list(struct text *out, const struct event *event)
{
  if (event->module != NULL) {
    S("module ");
    text_u(out, event->module->id);
    S(": ");
  }
  if (event->list.name == NULL || event->list.name[0] == '\0') {
    S("function list ");
  } else {
    S("interface ");
    quoted(out, event->list.name);
    text_c(out, ' ');
  }
  show_version(out, event->list.version);
  S(", flags ");
  show_flags(out, P11_DOM_CKF_INTERFACE, event->list.flags);
  if (event->list.count == 0) {
    S(", of unknown layout: passed through, not recorded");
    return;
  }
  S(", ");
  text_u(out, event->list.count);
  S(" functions");
  bool any = false;
  for (unsigned i = 0; i < event->list.count && i / 8 < event->list.null_bytes; i++) {
    if (!(event->list.nulls[i / 8] >> (i % 8) & 1)) continue;
    text_s(out, any ? ", " : ", NULL: ");
    if (i < P11_FUNCTIONS) {
      text_s(out, p11_functions[i].name);
    } else {
      text_u(out, i);
    }
    any = true;
  }
}

/* An application's Notify: called by the module, and what it answered. */
static void show_callback(struct text *out, struct cursor *c)
{
  uint64_t what = get_n(c), module = get_n(c), session = get_u(c), number = get_u(c);
  if (what != P11T_CALLBACK_BEGINS && what != P11T_CALLBACK_ENDS) {
    S("callback");
    return;
  }
  S("module ");
  text_u(out, module);
  S(": Notify(hSession=");
  show_number(out, (struct meaning){AS_HEX, 0}, session);
  if (what == P11T_CALLBACK_BEGINS) {
    S(", event=");
    show_constant(out, P11_DOM_CKN, number);
    S(") is called");
  } else {
    S(") = ");
    show_constant(out, P11_DOM_CKR, number);
  }
}

static void show_marker(struct text *out, const struct event *event)
{
  struct cursor c = cursor_of(event->marker.body, event->marker.length);
  switch (event->marker.kind) {
    case P11T_GAP: {
      uint64_t first = get_n(&c), last = get_n(&c);
      S("records ");
      text_u(out, first);
      S(" to ");
      text_u(out, last);
      S(" are lost");
      return;
    }
    case P11T_SUSPEND: {
      uint64_t ns = get_n(&c);
      S("suspended for ");
      text_u(out, ns / 1000000000);
      text_c(out, '.');
      text_padded(out, ns % 1000000000 / 1000000, 3);
      S(" s");
      return;
    }
    case P11T_DEVICE:
    case P11T_MARK: {
      size_t size;
      const uint8_t *bytes = get_s(&c, &size);
      text_s(out, event->marker.kind == P11T_MARK ? "mark " : "device ");
      text_quoted(out, bytes, bytes != NULL ? size : 0);
      return;
    }
    case P11T_PROCESS: {
      uint64_t kind = get_n(&c), code = get_n(&c);
      if (kind == 1) {
        S("exited with status ");
      } else if (kind == 2) {
        S("killed by signal ");
      } else {
        S("process ended, ");
      }
      text_u(out, code);
      return;
    }
    case P11T_FORK: S("forked"); return;
    case P11T_CALLBACK: show_callback(out, &c); return;
    case P11T_CHECKPOINT: S("checkpoint"); return;
    case P11T_ATTACHED: S("attached"); return;
    default:
      S("record of kind ");
      text_u(out, event->marker.kind);
      S(", ");
      text_u(out, event->marker.length);
      S(" bytes");
      return;
  }
}

void dump_other(struct dump *d, const struct event *event)
{
  struct text *out = &d->out;
  text_c(out, '#');
  text_u(out, event->number);
  text_c(out, ' ');
  dump_time(d, event->process, event->time);
  S(" --- ");
  if (d->processes > 1) {
    S("process ");
    text_u(out, event->process->pid);
    S(": ");
  }
  switch (event->type) {
    case EVENT_MODULE: show_module(out, event->module); break;
    case EVENT_UNLOAD:
      S("module ");
      text_u(out, event->module != NULL ? event->module->id : 0);
      S(" unloaded");
      break;
    case EVENT_LIST: show_list(out, event); break;
    default: show_marker(out, event); break;
  }
  S(" ---\n");
}
