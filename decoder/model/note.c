#include "decoder/model/note.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "decoder/model/pick.h"

static void keep(struct note *note, unsigned where, uint64_t value)
{
  if (note->values == NOTE_VALUES) return;
  note->where[note->values] = (uint8_t)where;
  note->value[note->values++] = value;
}

static void keep_member(struct note *note, const struct call *call, unsigned where, unsigned index, unsigned structure,
                        size_t offset)
{
  const struct value *v = pick_member(call, index, structure, offset);
  if (v) keep(note, where, v->number);
}

void note_take(struct note *note, const struct process *process, uint64_t origin, const struct call *call)
{
  *note = (struct note){.process = process,
                        .number = call->number,
                        .end_number = call->end_number,
                        .start = call->start,
                        .end = call->end,
                        .offset = call->start > origin ? call->start - origin : 0,
                        .rv = call->rv,
                        .tid = call->tid,
                        .module = call->module,
                        .known = (int16_t)call->known,
                        .state = (uint8_t)call->state};
  const bool ok = call_returned(call, CKR_OK);
  for (unsigned i = 0; i < call->info->arity; i++) {
    const unsigned kind = call->info->param[i].kind;
    uint64_t n;
    if (kind <= P11_K_KEY) {
      if (pick_in(call, i, &n)) keep(note, i, n);
    } else if (kind == P11_K_OUT_LENGTH || (ok && kind >= P11_K_OUT_NUMBER && kind <= P11_K_OUT_OBJECT)) {
      if (pick_out(call, i, &n)) keep(note, i | NOTE_OUT, n);
    }
  }
  if (!ok) return;
  switch (call->known) {
    case P11_F_C_GetSessionInfo:
      keep_member(note, call, NOTE_MEMBER, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, state));
      keep_member(note, call, NOTE_FLAGS, 1, P11_S_CK_SESSION_INFO, offsetof(CK_SESSION_INFO, flags));
      break;
    case P11_F_C_GetTokenInfo:
      keep_member(note, call, NOTE_MEMBER, 1, P11_S_CK_TOKEN_INFO, offsetof(CK_TOKEN_INFO, flags));
      break;
    case P11_F_C_GetSlotInfo:
      keep_member(note, call, NOTE_MEMBER, 1, P11_S_CK_SLOT_INFO, offsetof(CK_SLOT_INFO, flags));
      break;
    case P11_F_C_GetInfo:
      keep_member(note, call, NOTE_MEMBER, 0, P11_S_CK_INFO, offsetof(CK_INFO, cryptokiVersion));
      break;
  }
}

void note_append(char *text, size_t size, size_t *used, const char *format, ...)
{
  if (*used + 1 >= size) return;
  va_list args;
  va_start(args, format);
  const int n = vsnprintf(text + *used, size - *used, format, args);
  va_end(args);
  if (n > 0) *used = *used + (size_t)n < size ? *used + (size_t)n : size - 1;
}

const char *note_rv(uint64_t rv, char *text)
{
  const char *name = p11_constant_name(P11_DOM_CKR, rv);
  if (name) return name;
  snprintf(text, 24, "CKR_0x%" PRIx64, rv);
  return text;
}

static void append_flags(char *text, size_t size, size_t *used, unsigned domain, uint64_t flags)
{
  if (!flags) note_append(text, size, used, "0");
  const char *bar = "";
  for (unsigned bit = 0; bit < 64; bit++) {
    if (!(flags >> bit & 1)) continue;
    const char *name = p11_constant_name(domain, 1ull << bit);
    if (name)
      note_append(text, size, used, "%s%s", bar, name);
    else
      note_append(text, size, used, "%s0x%" PRIx64, bar, (uint64_t)1 << bit);
    bar = "|";
  }
}

static void append_value(char *text, size_t size, size_t *used, const struct p11_param *param, uint64_t value)
{
  const char *name;
  switch (param->kind) {
    case P11_K_FLAGS:
    case P11_K_OUT_FLAGS: append_flags(text, size, used, param->aux, value); return;
    case P11_K_ENUM:
      name = p11_constant_name(param->aux, value);
      if (name)
        note_append(text, size, used, "%s", name);
      else
        note_append(text, size, used, "0x%" PRIx64, value);
      return;
    case P11_K_BOOL:
      if (value <= 1)
        note_append(text, size, used, value ? "CK_TRUE" : "CK_FALSE");
      else
        note_append(text, size, used, "%" PRIu64, value);
      return;
    case P11_K_SESSION:
    case P11_K_OBJECT:
    case P11_K_KEY:
    case P11_K_OUT_SESSION:
    case P11_K_OUT_OBJECT: note_append(text, size, used, "0x%" PRIx64, value); return;
    default:
      if (value == UINT64_MAX)
        note_append(text, size, used, "CK_UNAVAILABLE_INFORMATION");
      else
        note_append(text, size, used, "%" PRIu64, value);
  }
}

static void append_member(const struct note *note, unsigned where, uint64_t value, char *text, size_t size,
                          size_t *used)
{
  const char *state = p11_constant_name(P11_DOM_CKS_SESSION, value);
  if (note->known == P11_F_C_GetInfo) {
    note_append(text, size, used, " cryptokiVersion=%u.%u", (unsigned)(value >> 8), (unsigned)(value & 255));
  } else if (note->known == P11_F_C_GetSessionInfo && where == NOTE_MEMBER) {
    if (state)
      note_append(text, size, used, " state=%s", state);
    else
      note_append(text, size, used, " state=%" PRIu64, value);
  } else {
    note_append(text, size, used, " flags=");
    append_flags(text, size, used,
                 where == NOTE_FLAGS                   ? P11_DOM_CKF_SESSION
                 : note->known == P11_F_C_GetTokenInfo ? P11_DOM_CKF_TOKEN
                                                       : P11_DOM_CKF_SLOT,
                 value);
  }
}

void note_text(const struct note *note, char *text, size_t size)
{
  char unknown[24];
  size_t used = 0;
  text[0] = 0;
  note_append(text, size, &used, "#%" PRIu64 " +%" PRIu64 ".%06" PRIu64 " [%" PRIu32 "] ", note->number,
              note->offset / 1000000000, note->offset / 1000 % 1000000, note->tid);
  if (note->known < 0) {
    note_append(text, size, &used, "(unknown function)");
  } else {
    const struct p11_function_info *info = &p11_functions[note->known];
    const char *comma = "";
    note_append(text, size, &used, "%s(", info->name);
    for (unsigned i = 0; i < note->values; i++) {
      if (note->where[i] >= NOTE_MEMBER) continue;
      const struct p11_param *param = &info->param[note->where[i] & 15];
      note_append(text, size, &used, "%s%s%s=", comma, note->where[i] & NOTE_OUT ? "*" : "", param->name);
      append_value(text, size, &used, param, note->value[i]);
      comma = ", ";
    }
    note_append(text, size, &used, ")");
  }
  switch (note->state) {
    case CALL_OPEN: note_append(text, size, &used, " (has not returned)"); break;
    case CALL_ABANDONED: note_append(text, size, &used, " (was unwound)"); break;
    default: note_append(text, size, &used, " = %s", note_rv(note->rv, unknown));
  }
  for (unsigned i = 0; i < note->values; i++)
    if (note->where[i] >= NOTE_MEMBER) append_member(note, note->where[i], note->value[i], text, size, &used);
}
