/* Structures behind pointers, laid out member by member from structures.def: first the numbers, then the lengths that are reached
 * through pointers, then what they are the lengths of. */
#include <string.h>

#include "decoder/replay/live_part.h"

/* Buffers whose size no member tells: an IV of one block, a public key. */
#define UNKNOWN_SIZE 256

static const struct value *member_of(const struct value *members, unsigned field)
{
  if (members == NULL || members->what != VALUE_STRUCT) return NULL;
  for (size_t i = field < members->count ? field : members->count; i-- > 0;) {
    if (members->item[i].member == field) return &members->item[i];
  }
  return field < members->count && members->item[field].member == field ? &members->item[field] : NULL;
}

static uint64_t load(const uint8_t *at, unsigned size)
{
  uint64_t number = 0;
  memcpy(&number, at, size < sizeof number ? size : sizeof number);
  return number;
}

static void *load_pointer(const uint8_t *at)
{
  void *p;
  memcpy(&p, at, sizeof p);
  return p;
}

static unsigned phase_of(unsigned kind)
{
  switch (kind) {
    case P11_FK_BYTES:
    case P11_FK_BITS:
    case P11_FK_BYTES_OF:
    case P11_FK_BYTES_AT: return 2;
    case P11_FK_PVERSION:
    case P11_FK_PSTRUCT:
    case P11_FK_STRUCTS:
    case P11_FK_TEMPLATE:
    case P11_FK_MECHANISM:
    case P11_FK_PNUMBER:
    case P11_FK_PHANDLE:
    case P11_FK_POINTER: return 1;
    default: return 0;
  }
}

/* Is the member the length of another? */
static bool is_length(const struct p11_struct *s, const struct p11_field *f)
{
  for (unsigned i = 0; i < s->count; i++) {
    if ((s->field[i].kind == P11_FK_BYTES || s->field[i].kind == P11_FK_BITS) && s->field[i].link == f->offset)
      return true;
  }
  return false;
}

/* What the module alone writes begins as zeros; but a length that it may write (CK_NSS_JPAKEPublicValue) says what room there
 * was. */
static void inside(struct laying *l, const struct p11_struct *s, const struct p11_field *f, uint8_t *to,
                   const struct value *v, const struct value *out, unsigned depth)
{
  uint64_t number = v != NULL ? v->number : out != NULL && is_length(s, f) ? out->number : 0;
  switch (f->kind) {
    case P11_FK_STRUCT: live_structure(l, p11_struct_info(f->ref), to, v, out, depth + 1); break;
    case P11_FK_CHARS:
    case P11_FK_ARRAY:
      if (v != NULL && v->what == VALUE_BYTES && v->length == f->size) live_fill(l, v, live_class(f->secrecy), to);
      break;
    case P11_FK_VERSION:
      to[0] = (uint8_t)(number >> 8);
      to[1] = (uint8_t)number;
      break;
    default:
      if (v != NULL && f->kind == P11_FK_HANDLE && (f->direction & P11_IN)) number = live_object(l, number, f->name);
      if (v != NULL && f->kind == P11_FK_SLOT && (f->direction & P11_IN)) number = live_slot(l, number, f->name);
      memcpy(to, &number, f->size < sizeof number ? f->size : sizeof number);
      break;
  }
}

/* Bytes that there is room for behind a pointer that the module writes through. */
static uint64_t room_of(struct laying *l, const struct p11_field *f, const uint8_t *at)
{
  const CK_ULONG *n;
  switch (f->kind) {
    case P11_FK_BYTES_OF: return f->ref;
    case P11_FK_BYTES: return load(at + f->link, sizeof(CK_ULONG));
    case P11_FK_BITS: return (load(at + f->link, sizeof(CK_ULONG)) + 7) / 8;
    default: n = load_pointer(at + f->link); return n != NULL && n != live_nowhere(l->live) ? *n : 0;
  }
}

static void *bytes(struct laying *l, const struct p11_field *f, uint8_t *at, const struct value *v,
                   const struct value *out)
{
  enum payload_class class = live_class(f->secrecy);
  if ((f->direction & P11_OUT) == 0) {
    if (v == NULL) return NULL;
    uint64_t given = room_of(l, f, at), length = given > v->length ? given : v->length;
    void *p = live_bytes(l, v, class, &length);
    if (length != given && given == v->length && f->kind == P11_FK_BYTES) memcpy(at + f->link, &length, sizeof length);
    return p;
  }
  uint64_t room = room_of(l, f, at);
  if (live_absurd(room)) return live_small(l->live);
  uint8_t *to = live_room(l->live, (size_t)room, f->name, 0);
  if (v != NULL && v->what == VALUE_BYTES && v->form != P11T_V_NULL && v->length <= room) live_fill(l, v, class, to);
  /* The caller's bytes, where the recorded module left them alone. */
  if (v == NULL && out != NULL && out->form == P11T_V_FULL && out->kept <= room) memcpy(to, out->bytes, out->kept);
  return to;
}

static void *several(struct laying *l, const struct p11_field *f, const uint8_t *at, const struct value *v,
                     const struct value *out, unsigned depth)
{
  const struct p11_struct *s = p11_struct_info(f->ref);
  size_t count = v != NULL && v->what == VALUE_LIST ? v->count : 0;
  if (load(at + f->link, sizeof(CK_ULONG)) > count) return live_small(l->live);
  uint8_t *to = live_room(l->live, count * s->size, f->name, 0);
  for (size_t i = 0; i < count; i++) {
    const struct value *answer = out != NULL && out->what == VALUE_LIST && i < out->count ? &out->item[i] : NULL;
    live_structure(l, s, to + i * s->size, &v->item[i], answer, depth + 1);
  }
  return to;
}

/* What a member points to. What the module alone writes is not recorded on the way in, but on the way out if the call succeeded:
 * then it is known whether there was a pointer. */
static void *behind(struct laying *l, const struct p11_field *f, uint8_t *at, const struct value *v,
                    const struct value *out, unsigned depth)
{
  const struct value *known = v != NULL ? v : out;
  unsigned pointer = known != NULL ? known->pointer : P11T_P_OWN;
  if (pointer == P11T_P_NULL) return NULL;
  if (pointer == P11T_P_UNREADABLE) return live_nowhere(l->live);
  if (v == NULL && (f->direction & P11_OUT) == 0) return NULL;
  switch (f->kind) {
    case P11_FK_PVERSION: {
      CK_VERSION *version = live_room(l->live, sizeof *version, f->name, 0);
      if (v != NULL) *version = (CK_VERSION){(CK_BYTE)(v->number >> 8), (CK_BYTE)v->number};
      return version;
    }
    case P11_FK_PNUMBER:
    case P11_FK_PHANDLE: {
      CK_ULONG *number = live_room(l->live, sizeof *number, f->name, 0);
      if (v != NULL) {
        bool handle = f->kind == P11_FK_PHANDLE && (f->direction & P11_IN);
        *number = handle ? live_object(l, v->number, f->name) : v->number;
      }
      return number;
    }
    case P11_FK_PSTRUCT: {
      const struct p11_struct *s = p11_struct_info(f->ref);
      void *to = live_room(l->live, s->size, f->name, 0);
      live_structure(l, s, to, v, out, depth + 1);
      return to;
    }
    case P11_FK_STRUCTS: return several(l, f, at, v, out, depth);
    case P11_FK_TEMPLATE:
      if (load(at + f->link, sizeof(CK_ULONG)) > v->count) return live_small(l->live);
      return live_template(l, v, depth + 1);
    case P11_FK_MECHANISM: return live_mechanism(l, v, depth + 1);
    case P11_FK_POINTER:
      if ((f->direction & P11_OUT) == 0) l->live->stand_in |= (uint16_t)(1u << l->param);
      return live_room(l->live, UNKNOWN_SIZE, f->name, 0);
    default: return bytes(l, f, at, v, out);
  }
}

void live_structure(struct laying *l, const struct p11_struct *s, uint8_t *to, const struct value *members,
                    const struct value *out, unsigned depth)
{
  if (depth > 8) return;
  for (unsigned phase = 0; phase < 3; phase++) {
    for (unsigned i = 0; i < s->count; i++) {
      const struct p11_field *f = &s->field[i];
      if (phase_of(f->kind) != phase) continue;
      const struct value *v = member_of(members, i), *answer = member_of(out, i);
      if (phase == 0) {
        inside(l, s, f, to + f->offset, v, answer, depth);
      } else {
        void *p = behind(l, f, to, v, answer, depth);
        memcpy(to + f->offset, &p, sizeof p);
      }
    }
  }
}

/* Words that may be addresses of the recorded process. */
static bool holds_address(const uint8_t *bytes, size_t length)
{
  for (size_t i = 0; i + 8 <= length; i += 8) {
    uint64_t word = load(bytes + i, 8);
    if (word >> 32 != 0 && word >> 47 == 0) return true;
  }
  return false;
}

/* A parameter that no table describes, a vendor's: it may be a structure with pointers in it. What is not known of it, and what
 * pointed somewhere once, is zeros: a NULL pointer is better than one that leads anywhere. */
static void *undescribed(struct laying *l, const struct value *value, uint64_t *length)
{
  struct live *live = l->live;
  bool known = value->what == VALUE_BYTES && (value->form == P11T_V_FULL || payload_opens(l->player, value));
  if (value->pointer == P11T_P_NULL || value->pointer == P11T_P_UNREADABLE || value->what != VALUE_BYTES ||
      live_absurd(value->length))
    return live_bytes(l, value, PAYLOAD_SECRET, length);
  uint8_t *to = known ? live_bytes(l, value, PAYLOAD_SECRET, length) : NULL;
  if (to != NULL && !holds_address(to, (size_t)*length)) return to;
  live->stand_in |= (uint16_t)(1u << l->param);
  return arena_alloc(&live->memory, (size_t)value->length + 1);
}

/* A structure of a newer recorder, which ours has no layout of. */
static bool is_laid_out(struct laying *l, const struct value *value)
{
  if (value->what != VALUE_STRUCT || p11_struct_info(value->structure) != NULL) return true;
  l->why = live_cannot(l->live, "its %s is a structure that this version does not know",
                       l->live->call->info->param[l->param].name);
  return false;
}

CK_MECHANISM *live_mechanism(struct laying *l, const struct value *mechanism, unsigned depth)
{
  struct live *live = l->live;
  if (mechanism->pointer == P11T_P_NULL) return NULL;
  if (mechanism->pointer == P11T_P_UNREADABLE) return live_nowhere(live);
  CK_MECHANISM *m = arena_alloc(&live->memory, sizeof *m);
  m->mechanism = mechanism->number;
  if (mechanism->count == 0) return m;
  const struct value *parameter = mechanism->item;
  if (!is_laid_out(l, parameter)) return m;
  uint64_t length = parameter->length;
  enum p11_plain plain = p11_mechanism_plain(mechanism->number);
  const struct p11_struct *s = parameter->what == VALUE_STRUCT ? p11_struct_info(parameter->structure) : NULL;
  if (parameter->pointer == P11T_P_NULL) {
    m->pParameter = NULL;
  } else if (s != NULL) {
    m->pParameter = live_room(live, s->size, "pParameter", 0);
    live_structure(l, s, m->pParameter, parameter, depth == 0 ? l->out : NULL, depth);
    length = s->size;
  } else {
    bool is_known = plain != P11_PLAIN_UNKNOWN && plain != P11_PLAIN_NONE;
    m->pParameter = is_known ? live_bytes(l, parameter, PAYLOAD_DATA, &length) : undescribed(l, parameter, &length);
    if (parameter->what == VALUE_NUMBER && plain == P11_PLAIN_HANDLE)
      *(CK_ULONG *)m->pParameter = live_object(l, parameter->number, "pParameter");
  }
  m->ulParameterLen = length;
  return m;
}

/* The parameter of one message. Where its structure is not known its bytes may be addresses of the recorded process: NULL
 * pointers are better than those, and than anything made up. */
void *live_message(struct laying *l, const struct value *value, uint64_t session, uint64_t length)
{
  struct live *live = l->live;
  const char *name = live->call->info->param[l->param].name;
  if (value->pointer == P11T_P_NULL) return NULL;
  if (value->pointer == P11T_P_UNREADABLE) return live_nowhere(live);
  const struct p11_struct *s = value->what == VALUE_STRUCT ? p11_struct_info(value->structure) : NULL;
  bool full = value->what == VALUE_BYTES && value->form == P11T_V_FULL;
  if (!is_laid_out(l, value)) return NULL;
  if (s == NULL && (full || live_absurd(length))) return undescribed(l, value, &length);
  if (s == NULL) {
    const struct live_role *role = live_role(live->call->known);
    for (unsigned kind = 0; kind < LIVE_KINDS; kind++) {
      const struct live_op *op = role->ops & 1u << kind ? live_op_find(l->player, session, kind) : NULL;
      if (op != NULL) s = p11_struct_info(p11_message_struct(op->mechanism, length));
    }
    live->stand_in |= (uint16_t)(1u << l->param);
    if (s == NULL) return live_room(live, (size_t)length, name, 0);
  }
  void *to = live_room(live, s->size, name, 0);
  live_structure(l, s, to, value, NULL, 0);
  return to;
}
