/* One call: the variables that it needs in a block of its own, the call, and what it handed out. All of it from the function
 * table. */
#include <inttypes.h>
#include <string.h>

#include "decoder/emit/emit_part.h"
#include "decoder/model/pick.h"
#include "decoder/replay/live_part.h"

#define PART 100 /* calls in one function of the program */
#define WIDTH 116
#define MOST_MADE (64u << 20) /* bytes of an output that are kept */

struct emitting {
  struct emit *e;
  const struct call *call;
  unsigned root[10];      /* the first parameter that shares a buffer with this one */
  const char *buffer[10]; /* of a root */
  const char *length[10]; /* of a LENGTH: the expression, when its buffer knows better */
  const char *arg[10];
};

static bool is_buffer(unsigned kind)
{
  return kind == P11_K_IN_BYTES || kind == P11_K_OUT_BYTES || kind == P11_K_OUT_BYTES_OF;
}

/* Parameters with one address share a buffer: encryption in place. */
static void find_roots(struct emitting *m)
{
  for (unsigned i = 0; i < 10; i++) m->root[i] = i;
  for (unsigned i = 0; i < m->call->info->arity; i++) {
    const unsigned class = m->call->arg[i].in.pointer;
    if (class <= P11T_P_SAME || class > (unsigned)P11T_P_SAME + m->call->info->arity) continue;
    unsigned a = i, b = class - P11T_P_SAME - 1;
    if (!is_buffer(m->call->info->param[a].kind) || !is_buffer(m->call->info->param[b].kind)) continue;
    if (a > b) a = b, b = i;
    m->root[b] = m->root[a];
  }
}

/* What the application said of the size of the buffer of parameter `at`. */
static uint64_t room_of(const struct call *call, unsigned at)
{
  const unsigned link = call->info->param[at].link;
  const struct value *v = link ? &call->arg[link - 1].in : NULL;
  return v && v->what == VALUE_NUMBER ? v->number : 0;
}

static const char *buffer(struct emitting *m, unsigned at)
{
  struct emit *e = m->e;
  const struct call *call = m->call;
  const unsigned root = m->root[at];
  if (m->buffer[root]) return m->buffer[root];
  const struct value *given = NULL;
  uint64_t room = 0;
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (m->root[i] != root || !is_buffer(call->info->param[i].kind)) continue;
    if (call->info->param[i].kind == P11_K_IN_BYTES) {
      given = &call->arg[i].in;
      continue;
    }
    const uint64_t size = room_of(call, i);
    if (call->arg[i].in.pointer != P11T_P_NULL && size > room) room = size;
  }
  const char *name = call->info->param[root].name;
  if (given && given->what == VALUE_BYTES) {
    const char *length;
    const unsigned link = call->info->param[at].link;
    m->buffer[root] = emit_bytes(e, name, given, room, false, &length);
    if (link && call->info->param[at].kind == P11_K_IN_BYTES && !strncmp(m->buffer[root], "made_", 5))
      m->length[link - 1] = length;
  } else if (call->arg[root].in.pointer == P11T_P_NULL) {
    m->buffer[root] = "NULL";
  } else {
    m->buffer[root] = emit_room(e, name, given ? room_of(call, at) : room);
  }
  return m->buffer[root];
}

/* An array for `count` entries of a list that the module fills. */
static const char *list(struct emitting *m, unsigned at, const char *type, uint64_t count)
{
  struct emit *e = m->e;
  if (m->call->arg[at].in.pointer == P11T_P_NULL) return "NULL";
  if (count > 1u << 20) {
    e->use.some = true;
    return emit_format(e, "(%s *)some", type);
  }
  const char *name = m->call->info->param[at].name;
  text_s(&e->before, emit_format(e, "    %s%s %s[%" PRIu64 "]%s;\n", count > 512 ? "static " : "", type, name,
                                 count ? count : 1, count > 512 ? "" : " = {0}"));
  return name;
}

/* The variable that a number which the module hands out goes into. */
static const char *out_number(struct emitting *m, unsigned at, const char *type)
{
  struct emit *e = m->e;
  const struct argument *a = &m->call->arg[at];
  if (a->in.pointer == P11T_P_NULL) return "NULL";
  if (a->in.pointer == P11T_P_UNREADABLE) {
    e->use.some = true;
    return emit_format(e, "(%s *)some", type);
  }
  const char *name = m->call->info->param[at].name;
  const char *given = a->in.what == VALUE_NUMBER ? emit_number(e, a->in.number) : "0";
  text_s(&e->before, emit_format(e, "    %s %s = %s;\n", type, name, given));
  return emit_format(e, "&%s", name);
}

/* A handle that the module hands out is kept in a variable of its own, for the calls that follow. */
static const char *out_handle(struct emitting *m, unsigned at, struct emit_set *set, const char *type, const char *name)
{
  struct emit *e = m->e;
  const struct value *out = &m->call->arg[at].out;
  if (out->what != VALUE_NUMBER || m->call->arg[at].in.pointer == P11T_P_NULL || out->number == 0)
    return out_number(m, at, type);
  emit_set_add(set, out->number);
  return emit_format(e, "&%s_%" PRIu64, name, out->number);
}

/* The handles of a list, by their places in it. */
static void take_list(struct emitting *m, unsigned at, unsigned count, struct emit_set *set, const char *name)
{
  struct emit *e = m->e;
  const struct value *out = &m->call->arg[at].out;
  for (size_t i = 0; m->call->rv == CKR_OK && i < out->count; i++) {
    const uint64_t number = out->item[i].number;
    emit_set_add(set, number);
    text_s(&e->after, emit_format(e, "    if (%s > %zu) %s_%" PRIu64 " = %s[%zu];\n", m->call->info->param[count].name,
                                  i, name, number, m->call->info->param[at].name, i));
  }
}

static const char *init_args(struct emitting *m, const struct value *v)
{
  struct emit *e = m->e;
  if (v->pointer == P11T_P_NULL || v->what != VALUE_INIT_ARGS) return "NULL";
  static const char *const callback[] = {"create_mutex", "destroy_mutex", "lock_mutex", "unlock_mutex"};
  const char *text = "";
  for (unsigned i = 0; i < 4; i++) {
    const bool given = (v->length >> i & 1) != 0;
    if (given) e->use.mutexes = true;
    text = emit_format(e, "%s%s, ", text, given ? callback[i] : "NULL");
  }
  const char *flags = emit_flags(e, P11_DOM_CKF_INITIALIZE, v->number);
  if (v->shape == P11T_R_NULL) {
    text_s(&e->before, emit_format(e, "    CK_C_INITIALIZE_ARGS args = {%s%s, NULL};\n", text, flags));
    return "&args";
  }
  /* NSS passes a text there, and one more member behind it. */
  e->use.parameters = true;
  text_s(&e->before, "    struct {\n      CK_C_INITIALIZE_ARGS args;\n      void *seventh;\n    }");
  text_s(&e->before, emit_format(e, " args = {{%s%s, parameters}, NULL};\n", text, flags));
  return "&args";
}

static const char *out_template(struct emitting *m, unsigned at)
{
  return emit_template(m->e, m->call->info->param[at].name, &m->call->arg[at].in, true);
}

static const char *out_struct(struct emitting *m, unsigned at)
{
  struct emit *e = m->e;
  const struct p11_param *p = &m->call->info->param[at];
  if (m->call->arg[at].in.pointer == P11T_P_NULL) return "NULL";
  const struct p11_struct *s = p11_struct_info(p->aux);
  if (!s) {
    e->use.some = true;
    return "some";
  }
  /* The five of 2.40 are in every header. */
  const bool own = p->aux > P11_S_CK_MECHANISM_INFO;
  if (own) emit_set_add(&e->structures, p->aux);
  text_s(&e->before, emit_format(e, "    %s%s %s;\n", own ? "REPRO_" : "", s->name, p->name));
  text_s(&e->before, emit_format(e, "    memset(&%s, 0, sizeof %s);\n", p->name, p->name));
  return emit_format(e, "&%s", p->name);
}

static const char *text_of(struct emitting *m, unsigned at)
{
  struct emit *e = m->e;
  const struct value *v = &m->call->arg[at].in;
  if (v->pointer == P11T_P_NULL || v->form == P11T_V_NULL || v->form != P11T_V_FULL) return "NULL";
  struct value with_end = *v; /* arena_text's NUL stands behind it */
  with_end.bytes = (const uint8_t *)arena_text(&e->arena, v->bytes, v->kept);
  return emit_bytes(e, m->call->info->param[at].name, &with_end, 0, true, NULL);
}

static const char *version(struct emitting *m, unsigned at)
{
  struct emit *e = m->e;
  const struct value *v = &m->call->arg[at].in;
  if (v->pointer == P11T_P_NULL) return "NULL";
  text_s(&e->before, emit_format(e, "    CK_VERSION version = {%u, %u};\n", (unsigned)(v->number >> 8),
                                 (unsigned)(v->number & 255)));
  return "&version";
}

static const char *variable(struct emitting *m, const struct emit_set *set, const char *name, uint64_t number)
{
  if (emit_set_has(set, number)) return emit_format(m->e, "%s_%" PRIu64, name, number);
  return emit_number(m->e, number);
}

static const char *argument(struct emitting *m, unsigned i)
{
  struct emit *e = m->e;
  const struct call *call = m->call;
  const struct p11_param *p = &call->info->param[i];
  const struct value *in = &call->arg[i].in;
  switch (p->kind) {
    case P11_K_NUMBER: return emit_number(e, in->number);
    case P11_K_LENGTH: return m->length[i] ? m->length[i] : emit_number(e, in->number);
    case P11_K_BOOL: return in->number == 1 ? "CK_TRUE" : in->number == 0 ? "CK_FALSE" : emit_number(e, in->number);
    case P11_K_ENUM: return emit_constant(e, p->aux, in->number);
    case P11_K_FLAGS: return emit_flags(e, p->aux, in->number);
    case P11_K_SLOT: emit_set_add(&e->slots, in->number); return variable(m, &e->slots, "slot", in->number);
    case P11_K_SESSION: return variable(m, &e->sessions, "session", in->number);
    case P11_K_OBJECT:
    case P11_K_KEY: return emit_object(e, in->number);
    case P11_K_POINTER:
      if (in->pointer == P11T_P_NULL) return "NULL";
      if (strcmp(p->type, "CK_NOTIFY") == 0) {
        e->use.notify = true;
        return "notify";
      }
      e->use.some = true;
      return "some";
    case P11_K_STRING: return text_of(m, i);
    case P11_K_CHARS: return in->pointer == P11T_P_NULL ? "NULL" : emit_bytes(e, p->name, in, p->aux, true, NULL);
    case P11_K_VERSION: return version(m, i);
    case P11_K_IN_BYTES:
    case P11_K_OUT_BYTES:
    case P11_K_OUT_BYTES_OF: return buffer(m, i);
    case P11_K_PIN: {
      const char *length, *pin = emit_pin(e, call, i, &length);
      if (p->link) m->length[p->link - 1] = length;
      return pin;
    }
    case P11_K_TEMPLATE: return emit_template(e, p->name, in, false);
    case P11_K_MECHANISM:
      if (in->pointer == P11T_P_NULL) return "NULL";
      return emit_format(e, "&%s", emit_mechanism(e, p->name, in, &call->arg[i].out));
    case P11_K_INIT_ARGS: return init_args(m, in);
    case P11_K_MESSAGE_PARAM: {
      if (in->pointer == P11T_P_NULL) return "NULL";
      const char *s = in->what == VALUE_STRUCT ? emit_struct(e, p->name, in, in) : NULL;
      if (s) return emit_format(e, "&%s", s);
      return in->what == VALUE_BYTES ? emit_bytes(e, p->name, in, 0, false, NULL)
                                     : emit_room(e, p->name, room_of(call, i));
    }
    case P11_K_OUT_LENGTH:
    case P11_K_OUT_NUMBER: return out_number(m, i, "CK_ULONG");
    case P11_K_OUT_FLAGS: return out_number(m, i, "CK_FLAGS");
    case P11_K_OUT_SLOT: return out_number(m, i, "CK_SLOT_ID");
    case P11_K_OUT_SESSION: return out_handle(m, i, &e->sessions, "CK_SESSION_HANDLE", "session");
    case P11_K_OUT_OBJECT: return out_handle(m, i, &e->objects, "CK_OBJECT_HANDLE", "object");
    case P11_K_OUT_SLOTS: return list(m, i, "CK_SLOT_ID", room_of(call, i));
    case P11_K_OUT_MECHANISMS: return list(m, i, "CK_MECHANISM_TYPE", room_of(call, i));
    case P11_K_OUT_OBJECTS: return list(m, i, "CK_OBJECT_HANDLE", room_of(call, i));
    case P11_K_OUT_TEMPLATE: return out_template(m, i);
    case P11_K_OUT_STRUCT: return out_struct(m, i);
    case P11_K_OUT_FUNCTION_LIST:
      if (in->pointer == P11T_P_NULL) return "NULL";
      text_s(&e->before, "    CK_FUNCTION_LIST *functions = NULL;\n");
      return "&functions";
    case P11_K_OUT_INTERFACE:
      e->use.interfaces = true;
      if (in->pointer == P11T_P_NULL) return "NULL";
      text_s(&e->before, "    REPRO_CK_INTERFACE *found = NULL;\n");
      return "&found";
    case P11_K_OUT_INTERFACES: e->use.interfaces = true; return list(m, i, "REPRO_CK_INTERFACE", room_of(call, i));
    default: return "NULL";
  }
}

/* What the call handed out goes into the program's variables. */
static void take(struct emitting *m, unsigned i)
{
  struct emit *e = m->e;
  const struct call *call = m->call;
  const struct p11_param *p = &call->info->param[i];
  const struct value *out = &call->arg[i].out;
  if (p->kind == P11_K_OUT_SLOTS && p->link) take_list(m, i, p->link - 1u, &e->slots, "slot");
  if (p->kind == P11_K_OUT_OBJECTS && p->aux) take_list(m, i, p->aux - 1u, &e->objects, "object");
  if (p->kind != P11_K_OUT_BYTES && p->kind != P11_K_OUT_BYTES_OF) return;
  struct emit_made *made = call->rv == CKR_OK ? emit_made_of(e, out) : NULL;
  if (!made || !p->link || out->length > MOST_MADE || !strcmp(m->arg[i], "NULL")) return;
  if (!made->out) {
    made->out = true;
    made->number = (unsigned)e->made_room.count + 1;
    const uint64_t room = room_of(call, i), size = room > out->length && room <= MOST_MADE ? room : out->length;
    emit_set_add(&e->made_room, (uint64_t)made->number << 32 | (uint32_t)(size ? size : 1));
  }
  e->use.take = true;
  const char *length =
      call->info->param[p->link - 1].kind == P11_K_LENGTH ? m->arg[p->link - 1] : call->info->param[p->link - 1].name;
  text_s(&e->after, emit_format(e, "    made_%u_length = take(made_%u, sizeof made_%u, %s, %s);\n", made->number,
                                made->number, made->number, m->arg[i], length));
}

/* "p11->C_Sign" or, of what came later, "v3.C_LoginUser". */
static const char *function(struct emit *e, const struct call *call)
{
  if (p11_functions[call->known].since <= P11_V2_40) return emit_format(e, "p11->%s", call->info->name);
  e->function[call->known] = true;
  return emit_format(e, "v3.%s", call->info->name);
}

static void write_call(struct emitting *m, const char *indent)
{
  struct emit *e = m->e;
  const struct call *call = m->call;
  const char *code = emit_constant(e, P11_DOM_CKR, call->rv);
  const char *line = emit_format(e, "%sexpect(%s(", indent, function(e, call));
  const size_t hang = strlen(line);
  for (unsigned i = 0; i <= call->info->arity; i++) {
    const bool end = i == call->info->arity;
    const char *item = end ? emit_format(e, ", %s, \"%s #%" PRIu64 "%s\");\n", code, call->info->name, call->number,
                                         e->call_stands_in ? ", with stand-ins" : "")
                           : emit_format(e, "%s%s", m->arg[i], i + 1 == call->info->arity ? ")" : ",");
    if (i && !end && strlen(line) + strlen(item) + 1 > WIDTH) {
      text_s(&e->line, line);
      text_c(&e->line, '\n');
      line = emit_format(e, "%*s%s", (int)hang, "", item);
    } else if (end && strlen(line) + strlen(item) > WIDTH + 1) {
      text_s(&e->line, line);
      line = emit_format(e, ",\n%*s%s", (int)strlen(indent) + 7, "", item + 2);
    } else {
      line = emit_format(e, "%s%s%s", line, i && !end ? " " : "", item);
    }
  }
  text_s(&e->line, line);
}

static void begin_part(struct emit *e)
{
  if (e->in_part == 0) text_s(&e->body, emit_format(e, "static void calls_%u(void)\n{\n", ++e->parts));
  if (++e->in_part < PART) return;
  e->in_part = 1;
  text_s(&e->body, emit_format(e, "}\n\nstatic void calls_%u(void)\n{\n", ++e->parts));
}

static void comment(struct emit *e, const struct call *call, enum need_why why)
{
  begin_part(e);
  text_s(&e->body, emit_format(e, "  /* #%" PRIu64 " %s", call->number, call->info->name));
  if (e->threads && call->thread[0]) {
    text_s(&e->body, ", thread ");
    text_escaped(&e->body, call->thread, strlen(call->thread), "*/");
  }
  if (why == NEED_INCLUDED) text_s(&e->body, ", which calls below need");
}

/* A trace brings its own table along. The program is made from ours, so they must say the same. */
static bool is_as_we_know_it(const struct call *call)
{
  const struct p11_function_info *ours = &p11_functions[call->known], *theirs = call->info;
  if (ours->arity != theirs->arity) return false;
  for (unsigned i = 0; i < ours->arity; i++) {
    const struct p11_param *a = &ours->param[i], *b = &theirs->param[i];
    if (a->kind != b->kind || a->link != b->link || a->aux != b->aux) return false;
  }
  return true;
}

static const char *why_left_out(const struct call *call)
{
  if (call->state == CALL_OPEN) return "had not returned when the recording ended";
  if (call->state == CALL_ABANDONED) return "never returned: an exception or longjmp went through it";
  if (call->state == CALL_HEADLESS) return "the record of its parameters is lost";
  if (call->known < 0) return "not a function of PKCS #11 3.2";
  if (!is_as_we_know_it(call)) return "its parameters are not those of PKCS #11 3.2";
  return (call->flags & P11T_CUT) ? "its parameters are not recorded in full" : NULL;
}

void emit_call(struct emit *e, const struct call *call, enum need_why why)
{
  arena_reset(&e->arena);
  e->before.at = e->before.base;
  e->after.at = e->after.base;
  e->line.at = e->line.base;
  e->names = 0;
  e->call_stands_in = false;
  comment(e, call, why);
  const char *left_out = why_left_out(call);
  if (left_out) {
    text_s(&e->body, emit_format(e, ": left out, %s */\n", left_out));
    e->left_out++;
    return;
  }
  text_s(&e->body, emit_format(e, ": recorded %s */\n", emit_constant(e, P11_DOM_CKR, call->rv)));
  e->unread_matters = call->rv != CKR_OK && code_depends_on_data(call, call->rv);
  struct emitting m = {.e = e, .call = call};
  find_roots(&m);
  /* Lengths last: their buffers may know them better. */
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind != P11_K_LENGTH) m.arg[i] = argument(&m, i);
  for (unsigned i = 0; i < call->info->arity; i++)
    if (call->info->param[i].kind == P11_K_LENGTH) m.arg[i] = argument(&m, i);
  for (unsigned i = 0; i < call->info->arity; i++) take(&m, i);
  /* Where a call may be left out when the program runs. */
  const char *unless = NULL, *why_not = "";
  if (emit_pin_is_wrong(e, call)) {
    e->use.wrong = true;
    unless = "!wrong_pins";
    why_not = "a wrong PIN";
  } else if (call->known == P11_F_C_GetInterface || call->known == P11_F_C_GetInterfaceList) {
    /* The recorder answers it for a module that does not have it. */
    e->use.skip = true;
    unless = emit_format(e, "v3.%s == NULL", call->info->name);
    why_not = "which the module does not have";
  }
  const bool block = e->before.at != e->before.base || e->after.at != e->after.base || unless;
  if (unless)
    text_s(&e->line, emit_format(e, "    if (%s) {\n      skip(\"%s #%" PRIu64 ", %s\");\n    } else {\n", unless,
                                 call->info->name, call->number, why_not));
  write_call(&m, unless ? "      " : block ? "    " : "  ");
  if (unless) text_s(&e->line, "    }\n");
  if (block) text_s(&e->body, "  {\n");
  text_raw(&e->body, e->before.base, (size_t)(e->before.at - e->before.base));
  text_raw(&e->body, e->line.base, (size_t)(e->line.at - e->line.base));
  text_raw(&e->body, e->after.base, (size_t)(e->after.at - e->after.base));
  if (block) text_s(&e->body, "  }\n");
  e->calls++;
  if (e->call_stands_in) e->stand_ins++;
}
