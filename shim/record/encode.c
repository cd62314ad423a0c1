/* The interpreter over the function table: one loop for the way in, one for the way out. */
#include "shim/record/encode.h"

#include <string.h>

#include "shim/record/messages.h"
#include "shim/record/options.h"
#include "shim/record/sys.h"

#define PTR(x) ((const void *)(uintptr_t)(x))

/* Longest input that is read before the call because the output will overwrite it. */
#define MAX_IN_PLACE (1u << 20)
/* A longer PIN is not read: no token has one, and the length may be nonsense. */
#define MAX_PIN 1024

/* --- the way in ------------------------------------------------------------------------------ */

/* The class of an output buffer's pointer: does it share memory with an input buffer (in-place operation)? */
static uint8_t alias_of(const struct p11_function_info *f, const uint64_t *v, unsigned at, uint64_t capacity)
{
  for (unsigned i = 0; i < at; i++) {
    if (f->param[i].kind != P11_K_IN_BYTES || v[i] == 0) continue;
    uint64_t length = v[f->param[i].link - 1];
    if (v[i] == v[at]) return (uint8_t)(P11T_P_SAME + i + 1);
    if (length != CK_UNAVAILABLE_INFORMATION && capacity != CK_UNAVAILABLE_INFORMATION &&
        (v[i] < v[at] ? v[at] - v[i] < length : v[i] - v[at] < capacity)) {
      return (uint8_t)(P11T_P_OVERLAP + i + 1);
    }
  }
  return P11T_P_OWN;
}

/* The same question asked by an input buffer, whose bytes must then be read before the module overwrites them. */
static uint8_t alias_with_output(const struct p11_function_info *f, const uint64_t *v, unsigned at, uint64_t *capacity)
{
  for (unsigned i = at + 1; i < f->arity; i++) {
    if (f->param[i].kind != P11_K_OUT_BYTES || v[i] == 0) continue;
    const CK_ULONG *length = PTR(v[f->param[i].link - 1]);
    if (length == NULL) continue;
    uint64_t given = v[f->param[at].link - 1];
    *capacity = *length;
    if (v[i] == v[at]) return (uint8_t)(P11T_P_SAME + i + 1);
    if (given != CK_UNAVAILABLE_INFORMATION && *capacity != CK_UNAVAILABLE_INFORMATION &&
        (v[at] < v[i] ? v[i] - v[at] < given : v[at] - v[i] < *capacity)) {
      return (uint8_t)(P11T_P_OVERLAP + i + 1);
    }
  }
  return P11T_P_OWN;
}

static void bytes_in(struct p11t_writer *w, const struct p11_function_info *f, const uint64_t *v, unsigned i,
                     struct p11t_call *call)
{
  uint64_t capacity = 0;
  uint8_t class = v[i] == 0 ? P11T_P_NULL : alias_with_output(f, v, i, &capacity);
  p11t_u8(w, class);
  if (class < P11T_P_SAME) return;
  call->in_place |= (uint16_t)(1u << i);
  uint64_t length = v[f->param[i].link - 1];
  if (length <= MAX_IN_PLACE && length <= capacity)
    p11t_value(w, f->param[i].secrecy, PTR(v[i]), length);
  else
    p11t_value_unread(w, length);
}

static void init_args_in(struct p11t_writer *w, const CK_C_INITIALIZE_ARGS *a)
{
  p11t_pointer(w, a);
  if (a == NULL) return;
  p11t_u8(w, (uint8_t)((a->CreateMutex != NULL) | (a->DestroyMutex != NULL) << 1 | (a->LockMutex != NULL) << 2 |
                       (a->UnlockMutex != NULL) << 3));
  p11t_u(w, a->flags);
  /* The member after flags: reserved by the standard, a text for NSS, anything for others. */
  const char *text = a->pReserved;
  size_t length = 0;
  enum p11t_reserved class = text == NULL ? P11T_R_NULL : P11T_R_OTHER;
  if (text != NULL && sys_readable(text)) {
    while (length < 4096 && ((length & 7) || sys_readable(text + length)) && text[length] >= 0x20 &&
           text[length] < 0x7f)
      length++;
    if (length > 0 && length < 4096 && text[length] == 0)
      class = strncmp(text, "p11trace:", 9) == 0 ? P11T_R_OURS : P11T_R_TEXT;
  }
  p11t_u8(w, class);
  if (class == P11T_R_OURS || class == P11T_R_TEXT)
    p11t_value(w, P11_SECRET, text, length);
  else
    p11t_value_null(w);
}

static void string_in(struct p11t_writer *w, const char *s)
{
  p11t_pointer(w, s);
  if (s == NULL) return;
  size_t n = 0;
  while (n < 256 && s[n] != 0) n++;
  p11t_value(w, P11_PUBLIC, s, n);
}

void p11t_encode_enter(struct p11t_writer *w, const struct p11_function_info *f, const uint64_t *v,
                       struct p11t_call *call)
{
  unsigned has_before = 0;
  call->in_place = 0;
  for (unsigned i = 0; i < f->arity; i++) {
    const struct p11_param *p = &f->param[i];
    switch (p->kind) {
      case P11_K_NUMBER:
      case P11_K_LENGTH:
      case P11_K_BOOL:
      case P11_K_ENUM:
      case P11_K_FLAGS:
      case P11_K_SLOT:
      case P11_K_SESSION:
      case P11_K_OBJECT:
      case P11_K_KEY: p11t_u(w, v[i]); break;
      case P11_K_IN_BYTES: bytes_in(w, f, v, i, call); break;
      case P11_K_OUT_BYTES: {
        const CK_ULONG *length = PTR(v[p->link - 1]);
        p11t_u8(w, v[i] == 0 ? P11T_P_NULL : alias_of(f, v, i, length ? *length : 0));
        break;
      }
      case P11_K_OUT_LENGTH: {
        const CK_ULONG *length = PTR(v[i]);
        p11t_pointer(w, length);
        if (length == NULL) break;
        has_before |= 1u << i;
        call->before[i] = *length;
        p11t_u(w, call->before[i]);
        break;
      }
      case P11_K_TEMPLATE:
        p11t_pointer(w, PTR(v[i]));
        if (v[i]) p11t_template_in(w, PTR(v[i]), v[p->link - 1], 0);
        break;
      case P11_K_OUT_TEMPLATE:
        p11t_pointer(w, PTR(v[i]));
        if (v[i]) p11t_template_asked(w, PTR(v[i]), v[p->link - 1], call->capacity);
        break;
      case P11_K_MECHANISM:
        p11t_pointer(w, PTR(v[i]));
        if (v[i]) p11t_mechanism_in(w, PTR(v[i]), 0);
        break;
      case P11_K_VERSION:
        p11t_pointer(w, PTR(v[i]));
        if (v[i]) {
          p11t_u8(w, ((const CK_VERSION *)PTR(v[i]))->major);
          p11t_u8(w, ((const CK_VERSION *)PTR(v[i]))->minor);
        }
        break;
      case P11_K_STRING: string_in(w, PTR(v[i])); break;
      case P11_K_INIT_ARGS: init_args_in(w, PTR(v[i])); break;
      default: p11t_pointer(w, PTR(v[i])); break;
    }
  }
  call->has_before = (uint16_t)has_before;
}

/* --- the way out ----------------------------------------------------------------------------- */

/* True when an output buffer of the call was asked for its size only: the module need not have looked at the inputs. */
static bool is_size_query(const struct p11_function_info *f, const uint64_t *v)
{
  for (unsigned i = 0; i < f->arity; i++) {
    if (f->param[i].kind == P11_K_OUT_BYTES && v[i] == 0) return true;
  }
  return false;
}

/* PINs were looked at when the token says something about them. */
static bool pin_was_read(uint64_t rv)
{
  return rv == CKR_OK || rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE ||
         rv == CKR_PIN_EXPIRED || rv == CKR_PIN_LOCKED || rv == CKR_PIN_TOO_WEAK;
}

static void bytes_late(struct p11t_writer *w, enum p11_secrecy secrecy, uint64_t pointer, uint64_t length,
                       bool was_read)
{
  if (pointer == 0)
    p11t_value_null(w);
  else if (!was_read)
    p11t_value_unread(w, length);
  else
    p11t_value(w, secrecy, PTR(pointer), length);
}

/* The parameter of one message, member by member where the session's mechanism is known: it holds pointers of the process,
 * and IV and tag that the module wrote. */
static void message_late(struct p11t_writer *w, const uint64_t *v, unsigned i, uint64_t size,
                         const struct p11t_call *call, bool ok)
{
  unsigned number = ok && v[i] ? p11t_message_structure(call->module, v[0], size) : P11_S_NONE;
  if (number == P11_S_NONE) {
    bytes_late(w, P11_DATA, v[i], size, ok);
    return;
  }
  p11t_u8(w, P11T_V_STRUCT);
  p11t_n(w, number);
  p11t_members(w, p11_struct_info(number), PTR(v[i]), P11_INOUT, 0);
}

/* What was stored in a buffer: at most what there was room for, whatever the module says. */
static void bytes_out(struct p11t_writer *w, const struct p11_param *p, const uint64_t *v, const struct p11t_call *call,
                      unsigned i, bool ok)
{
  unsigned at = p->link - 1u;
  if (v[i] == 0 || !ok || !(call->has_before & 1u << at)) {
    p11t_value_null(w);
    return;
  }
  uint64_t room = call->before[at], stored = *(const CK_ULONG *)PTR(v[at]);
  if (stored == CK_UNAVAILABLE_INFORMATION)
    p11t_value_null(w);
  else
    p11t_value(w, p->secrecy, PTR(v[i]), stored < room ? stored : room);
}

/* Entries of an output list: as many as there are and as there was room for, all of them. */
static void list_out(struct p11t_writer *w, uint64_t pointer, uint64_t room, uint64_t count)
{
  const CK_ULONG *entry = PTR(pointer);
  uint64_t n = pointer == 0 || count == CK_UNAVAILABLE_INFORMATION ? 0 : count < room ? count : room;
  if (n * sizeof *entry > P11T_EARLY && !(sys_readable(entry) && sys_readable(entry + n - 1))) n = 0;
  p11t_n(w, n);
  for (uint64_t i = 0; i < n; i++) p11t_u(w, entry[i]);
}

static void one_interface(struct p11t_writer *w, const CK_INTERFACE *face)
{
  const CK_VERSION *version = face->pFunctionList;
  p11t_text(w, face->pInterfaceName ? (const char *)face->pInterfaceName : "");
  p11t_u8(w, version ? version->major : 0);
  p11t_u8(w, version ? version->minor : 0);
  p11t_u(w, face->flags);
}

static void interfaces_out(struct p11t_writer *w, uint64_t pointer, uint64_t room, uint64_t count)
{
  const CK_INTERFACE *face = PTR(pointer);
  uint64_t n = pointer == 0 || count == CK_UNAVAILABLE_INFORMATION ? 0 : count < room ? count : room;
  if (n > P11T_MAX_COUNT) n = 0;
  p11t_n(w, n);
  for (uint64_t i = 0; i < n; i++) one_interface(w, &face[i]);
}

/* Count that an OUT_LENGTH parameter came back with, and the room it went in with. */
static uint64_t count_after(const uint64_t *v, unsigned at)
{
  return v[at] ? *(const CK_ULONG *)PTR(v[at]) : 0;
}

void p11t_encode_leave(struct p11t_writer *w, const struct p11_function_info *f, const uint64_t *v,
                       const struct p11t_call *call, uint64_t rv)
{
  const bool ok = rv == CKR_OK;
  p11t_n(w, rv);
  for (unsigned i = 0; i < f->arity; i++) {
    const struct p11_param *p = &f->param[i];
    unsigned link = p->link ? p->link - 1u : 0;
    switch (p->kind) {
      case P11_K_MESSAGE_PARAM: message_late(w, v, i, v[link], call, ok); break;
      case P11_K_IN_BYTES:
        bytes_late(w, p->secrecy, v[i], v[link], ok && !(call->in_place & 1u << i) && !is_size_query(f, v));
        break;
      case P11_K_PIN: bytes_late(w, P11_PIN, v[i], v[link], pin_was_read(rv) && v[link] <= MAX_PIN); break;
      case P11_K_CHARS: bytes_late(w, p->secrecy, v[i], p->aux, ok); break;
      case P11_K_TEMPLATE: p11t_template_late(w, PTR(v[i]), v[link], ok); break;
      case P11_K_OUT_TEMPLATE:
        p11t_template_answered(
            w, PTR(v[i]), v[link], call->capacity,
            ok || rv == CKR_ATTRIBUTE_SENSITIVE || rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL);
        break;
      case P11_K_MECHANISM:
        p11t_mechanism_out(w, ok ? PTR(v[i]) : NULL);
        if (ok && v[i] && f->group == P11_GROUP_MESSAGE) {
          p11t_message_begins(call->module, v[0], ((const CK_MECHANISM *)PTR(v[i]))->mechanism);
        }
        break;
      case P11_K_OUT_BYTES: bytes_out(w, p, v, call, i, ok); break;
      case P11_K_OUT_BYTES_OF: bytes_late(w, p->secrecy, v[i], v[link], ok); break;
      case P11_K_OUT_LENGTH:
        if (call->has_before & 1u << i) p11t_u(w, *(const CK_ULONG *)PTR(v[i]));
        break;
      case P11_K_OUT_NUMBER:
      case P11_K_OUT_FLAGS:
      case P11_K_OUT_SLOT:
      case P11_K_OUT_SESSION:
      case P11_K_OUT_OBJECT:
        if (v[i] == 0) break;
        p11t_u8(w, ok);
        if (ok) p11t_u(w, *(const CK_ULONG *)PTR(v[i]));
        break;
      case P11_K_OUT_SLOTS:
      case P11_K_OUT_MECHANISMS: list_out(w, ok ? v[i] : 0, call->before[link], count_after(v, link)); break;
      case P11_K_OUT_OBJECTS: list_out(w, ok ? v[i] : 0, v[link], count_after(v, p->aux - 1u)); break;
      case P11_K_OUT_STRUCT: {
        unsigned number = ok && v[i] ? p->aux : P11_S_NONE;
        p11t_n(w, number);
        if (number) p11t_members(w, p11_struct_info(number), PTR(v[i]), P11_INOUT, 0);
        break;
      }
      case P11_K_OUT_FUNCTION_LIST: {
        const CK_VERSION *version = ok && v[i] ? *(const CK_VERSION *const *)PTR(v[i]) : NULL;
        p11t_u8(w, version != NULL);
        if (version == NULL) break;
        p11t_u8(w, version->major);
        p11t_u8(w, version->minor);
        break;
      }
      case P11_K_OUT_INTERFACE: {
        const CK_INTERFACE *face = ok && v[i] ? *(const CK_INTERFACE *const *)PTR(v[i]) : NULL;
        interfaces_out(w, (uint64_t)(uintptr_t)face, 1, 1);
        break;
      }
      case P11_K_OUT_INTERFACES: interfaces_out(w, ok ? v[i] : 0, call->before[link], count_after(v, link)); break;
      default: break;
    }
  }
}
