#include "decoder/write/body.h"

static void attributes(struct put *p, const struct process *process, const struct value *v);

static void version(struct put *p, uint64_t number)
{
  put_u8(p, (uint8_t)(number >> 8));
  put_u8(p, (uint8_t)number);
}

static void numbers(struct put *p, const struct value *v)
{
  const size_t count = v->what == VALUE_LIST ? v->count : 0;
  put_n(p, count);
  for (size_t i = 0; i < count; i++) put_u(p, v->item[i].number);
}

static bool is_null(const struct value *v)
{
  return v->pointer == P11T_P_NULL || v->pointer == P11T_P_UNREADABLE;
}

static void members(struct put *p, const struct process *process, const struct value *v);

static void mechanism(struct put *p, const struct process *process, const struct value *v)
{
  static const struct value nothing = {.what = VALUE_BYTES, .form = P11T_V_NULL};
  const struct value *parameter = v->count > 0 ? v->item : &nothing;
  put_u(p, v->number);
  put_u8(p, parameter->pointer);
  put_u(p, parameter->length);
  if (parameter->what == VALUE_STRUCT) {
    put_n(p, parameter->structure);
    members(p, process, parameter);
  } else {
    put_n(p, 0);
    body_value(p, process, parameter);
  }
}

static void pointed(struct put *p, const struct process *process, const struct p11_field *f, const struct value *v)
{
  put_u8(p, v->pointer);
  if (is_null(v)) return;
  switch (f->kind) {
    case P11_FK_BYTES:
    case P11_FK_BITS:
    case P11_FK_BYTES_OF:
    case P11_FK_BYTES_AT: body_value(p, process, v); break;
    case P11_FK_PVERSION: version(p, v->number); break;
    case P11_FK_PSTRUCT: members(p, process, v); break;
    case P11_FK_STRUCTS:
      put_n(p, v->count);
      for (size_t i = 0; i < v->count; i++) members(p, process, &v->item[i]);
      break;
    case P11_FK_TEMPLATE: attributes(p, process, v); break;
    case P11_FK_MECHANISM: mechanism(p, process, v); break;
    case P11_FK_PNUMBER:
    case P11_FK_PHANDLE: put_u(p, v->number); break;
    default: break;
  }
}

static void member(struct put *p, const struct process *process, const struct p11_field *f, const struct value *v)
{
  switch (f->kind) {
    case P11_FK_NUMBER:
    case P11_FK_ENUM:
    case P11_FK_FLAGS:
    case P11_FK_BOOL:
    case P11_FK_HANDLE:
    case P11_FK_SLOT: put_u(p, v->number); break;
    case P11_FK_CHARS:
    case P11_FK_ARRAY: body_value(p, process, v); break;
    case P11_FK_VERSION: version(p, v->number); break;
    case P11_FK_STRUCT: members(p, process, v); break;
    default: pointed(p, process, f, v); break;
  }
}

static void members(struct put *p, const struct process *process, const struct value *v)
{
  const struct p11_struct *s = trace_struct(process, v->structure);
  const size_t count = s != NULL && v->what == VALUE_STRUCT ? v->count : 0;
  put_n(p, count);
  for (size_t i = 0; i < count && v->item[i].member < s->count; i++) {
    member(p, process, &s->field[v->item[i].member], &v->item[i]);
  }
}

static void attributes(struct put *p, const struct process *process, const struct value *v)
{
  put_n(p, v->count);
  for (size_t i = 0; i < v->count; i++) {
    const struct value *a = &v->item[i];
    put_u(p, a->number);
    put_u8(p, a->pointer);
    put_u(p, a->length);
    if (a->count > 0) {
      body_value(p, process, a->item);
    } else {
      put_u8(p, P11T_V_NULL);
    }
  }
}

static void bytes(struct put *p, const struct value *v)
{
  put_u8(p, v->form);
  switch (v->form) {
    case P11T_V_FULL: put_s(p, v->bytes, v->kept); break;
    case P11T_V_CUT:
    case P11T_V_SEALED:
      put_n(p, v->length);
      put_s(p, v->bytes, v->kept);
      break;
    case P11T_V_TAG:
      put_n(p, v->length);
      put_u64(p, v->number);
      put_u8(p, v->shape);
      break;
    case P11T_V_UNREAD:
    case P11T_V_LENGTH:
    case P11T_V_DEFERRED: put_n(p, v->length); break;
    case P11T_V_DICT:
      put_n(p, v->length);
      put_n(p, v->number);
      break;
    default: break;
  }
}

void body_value(struct put *p, const struct process *process, const struct value *v)
{
  switch (v->what) {
    case VALUE_BYTES: bytes(p, v); break;
    case VALUE_NUMBER:
      put_u8(p, v->form == P11T_V_BOOL ? P11T_V_BOOL : P11T_V_NUMBER);
      if (v->form == P11T_V_BOOL) {
        put_u8(p, (uint8_t)v->number);
      } else {
        put_u(p, v->number);
      }
      break;
    case VALUE_TEMPLATE:
      put_u8(p, P11T_V_TEMPLATE);
      attributes(p, process, v);
      break;
    case VALUE_LIST:
      put_u8(p, P11T_V_NUMBERS);
      numbers(p, v);
      break;
    case VALUE_STRUCT:
      put_u8(p, P11T_V_STRUCT);
      put_n(p, v->structure);
      members(p, process, v);
      break;
    default: put_u8(p, P11T_V_NULL); break;
  }
}

static void asked(struct put *p, const struct value *v)
{
  put_n(p, v->count);
  for (size_t i = 0; i < v->count; i++) {
    put_u(p, v->item[i].number);
    put_u8(p, v->item[i].pointer);
    put_u(p, v->item[i].length);
  }
}

static void init_args(struct put *p, const struct process *process, const struct value *v)
{
  put_u8(p, (uint8_t)v->length);
  put_u(p, v->number);
  put_u8(p, v->shape);
  if (v->count > 0) {
    body_value(p, process, v->item);
  } else {
    put_u8(p, P11T_V_NULL);
  }
}

static void enter(struct put *p, const struct process *process, unsigned kind, const struct value *v)
{
  if (kind >= P11_K_NUMBER && kind <= P11_K_KEY) {
    put_u(p, v->number);
    return;
  }
  if (kind >= 64) {
    put_s(p, v->bytes, v->kept);
    return;
  }
  put_u8(p, v->pointer);
  switch (kind) {
    case P11_K_IN_BYTES:
    case P11_K_PIN:
    case P11_K_MESSAGE_PARAM:
      if (v->pointer >= P11T_P_SAME) body_value(p, process, v);
      return;
    default: break;
  }
  if (is_null(v)) return;
  switch (kind) {
    case P11_K_STRING: body_value(p, process, v); break;
    case P11_K_VERSION: version(p, v->number); break;
    case P11_K_TEMPLATE: attributes(p, process, v); break;
    case P11_K_MECHANISM: mechanism(p, process, v); break;
    case P11_K_INIT_ARGS: init_args(p, process, v); break;
    case P11_K_OUT_LENGTH: put_u(p, v->number); break;
    case P11_K_OUT_TEMPLATE: asked(p, v); break;
    default: break;
  }
}

bool body_enter(struct put *p, const struct process *process, const struct call *call)
{
  for (unsigned i = 0; i < call->info->arity; i++) {
    if (call->arg[i].in.what == VALUE_NONE) return false;
    enter(p, process, call->info->param[i].kind, &call->arg[i].in);
  }
  return true;
}

static void deferred(struct put *p, const struct process *process, const struct value *in, const uint8_t *late)
{
  size_t count = 0;
  for (size_t i = 0; late != NULL && i < in->count; i++) count += late[i / 8] >> (i % 8) & 1;
  put_n(p, count);
  for (size_t i = 0; count > 0 && i < in->count; i++) {
    if ((late[i / 8] >> (i % 8) & 1) == 0) continue;
    put_n(p, i);
    body_value(p, process, in->item[i].item);
  }
}

static void answered(struct put *p, const struct process *process, const struct value *v)
{
  const size_t count = v->what == VALUE_TEMPLATE ? v->count : 0;
  put_n(p, count);
  for (size_t i = 0; i < count; i++) {
    put_u(p, v->item[i].length);
    if (v->item[i].count > 0) {
      body_value(p, process, v->item[i].item);
    } else {
      put_u8(p, P11T_V_NULL);
    }
  }
}

static void interface(struct put *p, const struct value *v)
{
  put_s(p, v->bytes, v->kept);
  version(p, v->number);
  put_u(p, v->length);
}

static void interfaces(struct put *p, const struct value *v)
{
  const bool one = v->what == VALUE_INTERFACE;
  const size_t count = one ? 1 : v->what == VALUE_LIST ? v->count : 0;
  put_n(p, count);
  for (size_t i = 0; i < count; i++) interface(p, one ? v : &v->item[i]);
}

static void structure(struct put *p, const struct process *process, const struct value *v)
{
  const unsigned number = v->what == VALUE_STRUCT ? v->structure : 0;
  put_n(p, number);
  if (number != 0) members(p, process, v);
}

static void leave(struct put *p, const struct process *process, unsigned kind, const struct argument *a,
                  const uint8_t *late)
{
  const struct value *out = &a->out;
  static const struct value nothing = {.what = VALUE_BYTES, .form = P11T_V_NULL};
  if (kind >= 64) {
    put_s(p, out->bytes, out->kept);
    return;
  }
  switch (kind) {
    case P11_K_CHARS: body_value(p, process, &a->in); break;
    case P11_K_IN_BYTES:
    case P11_K_PIN:
    case P11_K_MESSAGE_PARAM:
      if (a->in.pointer >= P11T_P_SAME) {
        body_value(p, process, out->what != VALUE_NONE ? out : &nothing);
      } else {
        body_value(p, process, a->in.what == VALUE_POINTER ? &nothing : &a->in);
      }
      break;
    case P11_K_TEMPLATE: deferred(p, process, &a->in, late); break;
    case P11_K_MECHANISM:
    case P11_K_OUT_STRUCT: structure(p, process, out); break;
    case P11_K_OUT_BYTES:
    case P11_K_OUT_BYTES_OF: body_value(p, process, out->what != VALUE_NONE ? out : &nothing); break;
    case P11_K_OUT_LENGTH:
      if (a->in.pointer != P11T_P_NULL) put_u(p, out->number);
      break;
    case P11_K_OUT_NUMBER:
    case P11_K_OUT_FLAGS:
    case P11_K_OUT_SLOT:
    case P11_K_OUT_SESSION:
    case P11_K_OUT_OBJECT:
      if (a->in.pointer == P11T_P_NULL) break;
      put_u8(p, out->what == VALUE_NUMBER);
      if (out->what == VALUE_NUMBER) put_u(p, out->number);
      break;
    case P11_K_OUT_SLOTS:
    case P11_K_OUT_MECHANISMS:
    case P11_K_OUT_OBJECTS: numbers(p, out); break;
    case P11_K_OUT_TEMPLATE: answered(p, process, out); break;
    case P11_K_OUT_FUNCTION_LIST:
      put_u8(p, out->what == VALUE_VERSION);
      if (out->what == VALUE_VERSION) version(p, out->number);
      break;
    case P11_K_OUT_INTERFACE:
    case P11_K_OUT_INTERFACES: interfaces(p, out); break;
    default: break;
  }
}

void body_leave(struct put *p, const struct process *process, const struct call *call, const uint8_t *const late[10])
{
  put_n(p, call->rv);
  for (unsigned i = 0; i < call->info->arity; i++) {
    const uint8_t kind = call->info->param[i].kind;
    if (call->state == CALL_HEADLESS && kind >= P11_K_OUT_LENGTH && kind <= P11_K_OUT_OBJECT) break;
    leave(p, process, kind, &call->arg[i], late != NULL ? late[i] : NULL);
  }
}
