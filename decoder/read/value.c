/* Bodies of ENTER and LEAVE to values, parameter by parameter (FORMAT.md, section 4). */
#include <string.h>

#include "decoder/read/reader.h"

/* Zeroed values for `count` entries that follow. Each takes at least a byte, so the body bounds them. */
struct value *decode_items(struct decode *d, uint64_t count)
{
  if (count > cursor_left(&d->c) || count > MAX_VALUES - d->values) {
    cursor_fail(&d->c);
    return NULL;
  }
  d->values += count;
  return count == 0 ? NULL : arena_alloc(d->arena, (size_t)count * sizeof(struct value));
}

static void numbers(struct decode *d, struct value *v)
{
  uint64_t count = get_n(&d->c);
  v->what = VALUE_LIST;
  v->item = decode_items(d, count);
  v->count = d->c.bad ? 0 : (size_t)count;
  for (size_t i = 0; i < v->count; i++) {
    v->item[i].what = VALUE_NUMBER;
    v->item[i].number = get_u(&d->c);
  }
}

/* Tag and shape, which are in clear, and the rest for whoever has the key. */
static void sealed(struct decode *d, struct value *v)
{
  struct cursor c = cursor_of(v->bytes, v->kept);
  struct value_sealed s = {.record = d->record, .class = get_u8(&c)};
  uint64_t place = get_n(&c), tag = get_u64(&c);
  uint8_t shape = get_u8(&c);
  if (c.bad || place > UINT32_MAX || cursor_left(&c) < P11T_SEAL_MAC) return;
  s.place = (uint32_t)place;
  s.kept = cursor_left(&c) - P11T_SEAL_MAC;
  s.box = get_bytes(&c, s.kept + P11T_SEAL_MAC);
  if (s.kept > v->length) return;
  struct value_sealed *kept = arena_alloc(d->arena, sizeof *kept);
  *kept = s;
  v->sealed = kept;
  v->number = tag;
  v->shape = shape;
}

void decode_v(struct decode *d, struct value *v)
{
  struct cursor *c = &d->c;
  uint8_t pointer = v->pointer;
  v->what = VALUE_BYTES;
  v->form = get_u8(c);
  switch (v->form) {
    case P11T_V_NULL: break;
    case P11T_V_FULL:
      v->bytes = get_s(c, &v->kept);
      v->length = v->kept;
      break;
    case P11T_V_CUT:
    case P11T_V_SEALED:
      v->length = get_n(c);
      v->bytes = get_s(c, &v->kept);
      if (v->form == P11T_V_SEALED && !c->bad) sealed(d, v);
      break;
    case P11T_V_TAG:
      v->length = get_n(c);
      v->number = get_u64(c);
      v->shape = get_u8(c);
      break;
    case P11T_V_UNREAD:
    case P11T_V_LENGTH:
    case P11T_V_DEFERRED: v->length = get_n(c); break;
    case P11T_V_UNAVAILABLE: v->length = UINT64_MAX; break;
    case P11T_V_DICT:
      v->length = get_n(c);
      v->number = get_n(c);
      break;
    case P11T_V_NUMBER:
      v->what = VALUE_NUMBER;
      v->number = get_u(c);
      v->length = d->reader->p.word_bits == 32 ? 4 : 8;
      break;
    case P11T_V_BOOL:
      v->what = VALUE_NUMBER;
      v->number = get_u8(c);
      v->length = 1;
      break;
    case P11T_V_TEMPLATE: decode_attributes(d, v); break;
    case P11T_V_NUMBERS: numbers(d, v); break;
    case P11T_V_STRUCT: decode_struct(d, v, get_n(c), P11_INOUT); break;
    default: cursor_fail(c); break; /* a form has no length of its own: nothing after it can be read */
  }
  v->pointer = pointer;
}

static void version(struct decode *d, struct value *v)
{
  unsigned major = get_u8(&d->c);
  v->what = VALUE_VERSION;
  v->number = major * 256 + get_u8(&d->c);
}

static void interface(struct decode *d, struct value *v)
{
  v->bytes = get_s(&d->c, &v->kept);
  version(d, v);
  v->what = VALUE_INTERFACE;
  v->length = get_u(&d->c);
}

static void opaque(struct decode *d, struct value *v)
{
  v->what = VALUE_BYTES;
  v->form = P11T_V_FULL;
  v->bytes = get_s(&d->c, &v->kept);
  v->length = v->kept;
}

static void template_before(struct decode *d, struct value *v)
{
  uint64_t count = get_n(&d->c);
  v->item = decode_items(d, count);
  v->count = d->c.bad ? 0 : (size_t)count;
  for (size_t i = 0; i < v->count; i++) {
    struct value *a = &v->item[i];
    a->what = VALUE_ATTRIBUTE;
    a->number = get_u(&d->c);
    a->pointer = get_u8(&d->c);
    a->length = get_u(&d->c);
  }
}

static void init_args(struct decode *d, struct value *v)
{
  v->length = get_u8(&d->c);
  v->number = get_u(&d->c);
  v->shape = get_u8(&d->c);
  v->item = decode_items(d, 1);
  if (v->item == NULL) return;
  v->count = 1;
  decode_v(d, v->item);
}

/* One parameter of ENTER. */
static void enter(struct decode *d, const struct p11_param *p, struct value *v)
{
  struct cursor *c = &d->c;
  if (p->kind >= P11_K_NUMBER && p->kind <= P11_K_KEY) {
    v->what = VALUE_NUMBER;
    v->number = get_u(c);
    return;
  }
  if (p->kind >= 64) {
    opaque(d, v);
    return;
  }
  if (p->kind == 0 || p->kind >= P11_K_END) {
    cursor_fail(c);
    return;
  }
  v->what = VALUE_POINTER;
  v->pointer = get_u8(c);
  bool null = v->pointer == P11T_P_NULL || v->pointer == P11T_P_UNREADABLE;
  switch (p->kind) {
    case P11_K_STRING:
      v->what = VALUE_BYTES;
      if (!null) decode_v(d, v);
      break;
    case P11_K_VERSION:
      v->what = VALUE_VERSION;
      if (!null) version(d, v);
      break;
    case P11_K_IN_BYTES:
    case P11_K_PIN:
    case P11_K_MESSAGE_PARAM:
      if (v->pointer >= P11T_P_SAME) decode_v(d, v);
      break;
    case P11_K_TEMPLATE:
      v->what = VALUE_TEMPLATE;
      if (!null) decode_attributes(d, v);
      break;
    case P11_K_MECHANISM:
      v->what = VALUE_MECHANISM;
      if (!null) decode_mechanism(d, v);
      break;
    case P11_K_INIT_ARGS:
      v->what = VALUE_INIT_ARGS;
      if (!null) init_args(d, v);
      break;
    case P11_K_OUT_LENGTH:
      if (null) break;
      v->what = VALUE_NUMBER;
      v->number = get_u(c);
      break;
    case P11_K_OUT_TEMPLATE:
      v->what = VALUE_TEMPLATE;
      if (!null) template_before(d, v);
      break;
    default: break;
  }
}

/* Values that were too long to be read before the call: into the template where they belong. */
static void deferred(struct decode *d, struct value *in)
{
  uint64_t count = get_n(&d->c);
  if (count > cursor_left(&d->c)) cursor_fail(&d->c);
  for (uint64_t i = 0; i < count && !d->c.bad; i++) {
    uint64_t index = get_n(&d->c);
    struct value v = {0};
    decode_v(d, &v);
    if (in->what != VALUE_TEMPLATE || index >= in->count || in->item[index].count == 0) continue;
    v.pointer = in->item[index].item[0].pointer;
    in->item[index].item[0] = v;
  }
}

static void template_after(struct decode *d, const struct value *in, struct value *out)
{
  uint64_t count = get_n(&d->c);
  if (count == 0) return;
  out->what = VALUE_TEMPLATE;
  out->item = decode_items(d, count);
  out->count = d->c.bad ? 0 : (size_t)count;
  for (size_t i = 0; i < out->count; i++) {
    struct value *a = &out->item[i];
    bool paired = in->what == VALUE_TEMPLATE && i < in->count;
    a->what = VALUE_ATTRIBUTE;
    a->number = paired ? in->item[i].number : UINT64_MAX;
    a->pointer = paired ? in->item[i].pointer : P11T_P_OWN;
    a->length = get_u(&d->c);
    a->item = decode_items(d, 1);
    if (a->item == NULL) return;
    a->count = 1;
    a->item->pointer = a->pointer;
    decode_v(d, a->item);
  }
}

static void after_struct(struct decode *d, struct value *out)
{
  uint64_t number = get_n(&d->c);
  if (number == 0 || d->c.bad) return;
  if (number > UINT16_MAX) {
    cursor_fail(&d->c);
    return;
  }
  decode_struct(d, out, (unsigned)number, P11_OUT);
}

static void interfaces(struct decode *d, uint8_t kind, struct value *out)
{
  uint64_t count = get_n(&d->c);
  if (count == 0 || d->c.bad) return;
  if (kind == P11_K_OUT_INTERFACE) {
    interface(d, out);
    return;
  }
  out->what = VALUE_LIST;
  out->item = decode_items(d, count);
  out->count = d->c.bad ? 0 : (size_t)count;
  for (size_t i = 0; i < out->count; i++) interface(d, &out->item[i]);
}

/* One parameter of LEAVE. */
static void leave(struct decode *d, const struct p11_param *p, struct argument *a)
{
  struct cursor *c = &d->c;
  struct value *out = &a->out;
  uint8_t pointer = a->in.pointer;
  bool headless = a->in.what == VALUE_NONE;
  if (p->kind >= 64) {
    opaque(d, out);
    return;
  }
  switch (p->kind) {
    case P11_K_CHARS:
    case P11_K_IN_BYTES:
    case P11_K_PIN:
    case P11_K_MESSAGE_PARAM:
      /* Read after the call, but it is what the call was given. */
      if (a->in.what == VALUE_BYTES) {
        decode_v(d, out);
        if (out->form == P11T_V_UNREAD || out->form == P11T_V_NULL) *out = (struct value){0};
      } else {
        decode_v(d, &a->in);
        a->in.pointer = pointer;
        if (headless) a->in.pointer = a->in.form == P11T_V_NULL ? P11T_P_NULL : P11T_P_OWN;
      }
      break;
    case P11_K_TEMPLATE: deferred(d, &a->in); break;
    case P11_K_MECHANISM: after_struct(d, out); break;
    case P11_K_OUT_BYTES:
    case P11_K_OUT_BYTES_OF: decode_v(d, out); break;
    case P11_K_OUT_LENGTH:
      if (pointer == P11T_P_NULL) break;
      out->what = VALUE_NUMBER;
      out->number = get_u(c);
      break;
    case P11_K_OUT_NUMBER:
    case P11_K_OUT_FLAGS:
    case P11_K_OUT_SLOT:
    case P11_K_OUT_SESSION:
    case P11_K_OUT_OBJECT:
      if (pointer == P11T_P_NULL || get_u8(c) == 0) break;
      out->what = VALUE_NUMBER;
      out->number = get_u(c);
      break;
    case P11_K_OUT_SLOTS:
    case P11_K_OUT_MECHANISMS:
    case P11_K_OUT_OBJECTS: numbers(d, out); break;
    case P11_K_OUT_TEMPLATE: template_after(d, &a->in, out); break;
    case P11_K_OUT_STRUCT: after_struct(d, out); break;
    case P11_K_OUT_FUNCTION_LIST:
      if (get_u8(c) != 0) version(d, out);
      break;
    case P11_K_OUT_INTERFACE:
    case P11_K_OUT_INTERFACES: interfaces(d, p->kind, out); break;
    default:
      if (p->kind == 0 || p->kind >= P11_K_END) cursor_fail(c);
      break; /* the others say nothing here */
  }
  if (out->what != VALUE_NONE) out->pointer = pointer;
}

bool value_enter(struct reader *r, struct open_call *open, struct cursor *body)
{
  struct call *call = &open->call;
  struct decode d = {r, &open->arena, *body, 0, 0, call->number};
  for (unsigned i = 0; i < call->info->arity && !d.c.bad; i++) enter(&d, &call->info->param[i], &call->arg[i].in);
  return !d.c.bad;
}

bool value_leave(struct reader *r, struct open_call *open, struct cursor *body)
{
  struct call *call = &open->call;
  struct decode d = {r, &open->arena, *body, 0, 0, call->end_number};
  for (unsigned i = 0; i < call->info->arity && !d.c.bad; i++) {
    /* Whether a value follows depends on the pointer at ENTER; without ENTER the rest cannot be told apart. */
    uint8_t kind = call->info->param[i].kind;
    if (call->state == CALL_HEADLESS && kind >= P11_K_OUT_LENGTH && kind <= P11_K_OUT_OBJECT) break;
    leave(&d, &call->info->param[i], &call->arg[i]);
  }
  return !d.c.bad;
}
