/* What of a call is compared is what the function table says of each parameter. Left out: addresses and callbacks,
 * PINs and their lengths, payload and secrets but for their lengths, room in buffers (it follows from earlier
 * answers), members that change by themselves, and values of keys that were generated during the trace. The order of
 * handles, slots and mechanisms in a list is the module's affair. */
#include "decoder/diff/shape.h"

#include <stdio.h>
#include <stdlib.h>

#include "decoder/diff/hash.h"
#include "decoder/read/arena.h"
#include "decoder/show/value.h"

enum {
  SEED = 7,
  HASH_NULL = 11,
  HASH_THERE,
  HASH_UNAVAILABLE,
  HASH_LENGTH,
  HASH_BYTES,
  HASH_LIST,
  HASH_OPEN,
  HASH_TEMPLATE
};

/* A longer value in a template is recorded only when the call succeeds, so it cannot be part of the question. */
enum { EARLY = 4096 };

void parts_free(struct parts *parts)
{
  free(parts->at);
  *parts = (struct parts){0};
}

static void note(struct shape *s, enum part_of of, uint64_t hash, const char *name, const char *sub,
                 const struct value *value, struct meaning meaning)
{
  struct parts *p = s->parts;
  p->at = read_realloc(p->at, (p->count + 1) * sizeof *p->at);
  struct part *part = &p->at[p->count++];
  *part = (struct part){.of = of, .hash = hash};
  snprintf(part->place, sizeof part->place, "%s%s", name, sub);
  struct text text;
  text_open(&text, -1);
  const struct printer printer = {.out = &text, .limit = 32, .entries = 8};
  show_value(&printer, value, meaning);
  const size_t size = (size_t)(text.at - text.base), room = sizeof part->text - 4;
  memcpy(part->text, text.base, size < room ? size : room);
  if (size > room) memcpy(part->text + room, "...", 3);
  text_close(&text);
}

static void put(struct shape *s, enum part_of of, uint64_t hash, const char *name, const char *sub,
                const struct value *value, struct meaning meaning)
{
  uint64_t *to = of == PART_QUESTION ? &s->question : of == PART_ANSWER ? &s->answer : &s->description;
  *to = hash_mix(*to, hash);
  if (s->parts) note(s, of, hash, name, sub, value, meaning);
}

bool shape_is_poll(const struct call *call)
{
  const uint8_t class = call->info->class;
  if (class == P11_CLASS_POLL || class == P11_CLASS_EVENT) return true;
  return class == P11_CLASS_STATIC && call->known != P11_F_C_Initialize && call->known != P11_F_C_Finalize;
}

bool shape_is_read(const struct call *call)
{
  if (call->info->class == P11_CLASS_RANDOM) return true;
  if (call->info->class != P11_CLASS_OBJECT) return false;
  for (unsigned i = 0; i < call->info->arity; i++) {
    const uint8_t kind = call->info->param[i].kind;
    if (kind == P11_K_OUT_TEMPLATE || kind == P11_K_OUT_NUMBER) return true;
  }
  return false;
}

bool shape_has_template(const struct call *call)
{
  return call->rv == CKR_OK || call->rv == CKR_ATTRIBUTE_SENSITIVE || call->rv == CKR_ATTRIBUTE_TYPE_INVALID ||
         call->rv == CKR_BUFFER_TOO_SMALL;
}

static uint64_t hash_of(struct names *names, const struct value *v);

static uint64_t of_bytes(struct names *names, const struct value *v)
{
  switch (v->form) {
    case P11T_V_NULL: return HASH_NULL;
    case P11T_V_UNAVAILABLE: return HASH_UNAVAILABLE;
    case P11T_V_FULL: return names_value(names, v->bytes, v->kept);
    case P11T_V_CUT: return hash_mix(names_value(names, v->bytes, v->kept), v->length);
    default: return hash_mix(HASH_LENGTH, v->length); /* secret: a tag says nothing outside its process */
  }
}

static uint64_t of_items(struct names *names, const struct value *v)
{
  uint64_t h = hash_mix(HASH_LIST, v->count);
  for (size_t i = 0; i < v->count; i++) h = hash_mix(h, hash_of(names, &v->item[i]));
  return h;
}

uint64_t shape_attribute(struct names *names, const struct value *a)
{
  if (a->length == UINT64_MAX) return HASH_UNAVAILABLE;
  if (a->pointer == P11T_P_NULL) return hash_mix(HASH_NULL, a->length);
  return a->count ? hash_of(names, a->item) : hash_mix(HASH_LENGTH, a->length);
}

uint64_t shape_template(struct names *names, const struct value *v)
{
  if (v->what != VALUE_TEMPLATE) return HASH_NULL;
  uint64_t h = HASH_TEMPLATE;
  for (size_t i = 0; i < v->count; i++)
    h = hash_mix(hash_mix(h, v->item[i].number), shape_attribute(names, &v->item[i]));
  return h;
}

/* Members that are not looked at, so that NSS leaves in them what was there before: without bExtract the salt, without
 * bExpand the info (PKCS #11 3.0, HKDF mechanism parameters). */
static bool is_ignored(const struct value *v, const char *member)
{
  if (v->structure != P11_S_CK_HKDF_PARAMS || v->count < 2) return false;
  return (strstr(member, "Salt") && v->item[0].number == CK_FALSE) ||
         (strstr(member, "Info") && v->item[1].number == CK_FALSE);
}

/* Bytes in the parameter of a mechanism are vectors and nonces, new in each run: their length counts. */
static uint64_t of_member(struct names *names, const struct value *v)
{
  const struct p11_struct *info = NULL;
  uint64_t h = hash_mix(HASH_LIST, v->structure);
  switch (v->what) {
    case VALUE_STRUCT:
      info = p11_struct_info(v->structure);
      for (size_t i = 0; i < v->count; i++) {
        const struct value *m = &v->item[i];
        const bool known = info && m->member < info->count;
        const uint8_t kind = known ? info->field[m->member].kind : 0;
        const bool handle = kind == P11_FK_HANDLE || kind == P11_FK_PHANDLE;
        if (known && info->field[m->member].is_volatile) continue;
        if (known && info->field[m->member].direction == P11_OUT) continue;
        if (known && is_ignored(v, info->field[m->member].name)) continue;
        h = hash_mix(h, m->member);
        h = hash_mix(h, handle && m->what == VALUE_NUMBER ? names_object(names, m->number) : of_member(names, m));
      }
      return h;
    case VALUE_BYTES: return hash_mix(HASH_LENGTH, v->form == P11T_V_NULL ? 0 : v->length);
    case VALUE_TEMPLATE: return shape_template(names, v);
    case VALUE_LIST:
    case VALUE_MECHANISM:
      h = hash_mix(h, v->number);
      for (size_t i = 0; i < v->count; i++) h = hash_mix(h, of_member(names, &v->item[i]));
      return h;
    case VALUE_NUMBER:
    case VALUE_VERSION: return v->number;
    default: return v->pointer == P11T_P_NULL ? HASH_NULL : HASH_THERE;
  }
}

static uint64_t hash_of(struct names *names, const struct value *v)
{
  switch (v->what) {
    case VALUE_NUMBER:
    case VALUE_VERSION: return hash_mix(SEED, v->number);
    case VALUE_BYTES: return of_bytes(names, v);
    case VALUE_TEMPLATE: return shape_template(names, v);
    case VALUE_LIST: return of_items(names, v);
    case VALUE_INTERFACE: return hash_mix(hash_mix(hash_bytes(SEED, v->bytes, v->kept), v->number), v->length);
    case VALUE_MECHANISM:
    case VALUE_STRUCT: return of_member(names, v);
    default: return v->pointer == P11T_P_NULL ? HASH_NULL : HASH_THERE;
  }
}

/* A list whose order says nothing: a sum. */
static uint64_t of_list(const struct names *names, const struct value *list, uint8_t kind)
{
  uint64_t sum = hash_mix(HASH_LIST, list->count);
  for (size_t i = 0; i < list->count; i++) {
    const uint64_t number = list->item[i].number;
    sum += hash_finish(kind == P11_K_OUT_SLOTS     ? names_slot(names, number)
                       : kind == P11_K_OUT_OBJECTS ? names_object(names, number)
                                                   : number);
  }
  return sum;
}

/* Is parameter `at` the length of a PIN? */
static bool length_is_left_out(const struct p11_function_info *info, unsigned at)
{
  for (unsigned i = 0; i < info->arity; i++)
    if (info->param[i].link == at + 1 && info->param[i].kind == P11_K_PIN) return true;
  return false;
}

static void asked_template(struct shape *s, struct names *names, const struct p11_param *p, const struct value *v)
{
  for (size_t i = 0; i < v->count; i++) {
    const struct value *a = &v->item[i];
    const struct value type = {.what = VALUE_NUMBER, .number = a->number};
    put(s, PART_QUESTION,
        hash_mix(a->number, p->kind == P11_K_TEMPLATE   ? 1
                            : a->pointer == P11T_P_NULL ? 2
                                                        : 3),
        p->name, "", &type, (struct meaning){AS_ENUM, P11_DOM_CKA});
    if (p->kind != P11_K_TEMPLATE) continue;
    char sub[80] = " ";
    if (s->parts) {
      const struct p11_attribute_info *info = p11_attribute(a->number);
      if (info)
        snprintf(sub, sizeof sub, " %s", info->name);
      else
        snprintf(sub, sizeof sub, " 0x%llx", (unsigned long long)a->number);
    }
    const bool late = a->length > EARLY && a->pointer != P11T_P_NULL;
    put(s, PART_QUESTION, late ? hash_mix(HASH_LENGTH, a->length) : shape_attribute(names, a), p->name, sub,
        a->count ? a->item : a, meaning_of_attribute(a->number));
  }
}

static void question(struct shape *s, struct names *names, const struct call *call, unsigned at)
{
  const struct p11_param *p = &call->info->param[at];
  const struct value *v = &call->arg[at].in;
  const struct meaning meaning = meaning_of_param(p);
  uint64_t h;
  switch (p->kind) {
    case P11_K_POINTER: return;
    case P11_K_LENGTH:
      /* How many random bytes it wants is the application's chance too. */
      if (length_is_left_out(call->info, at) || call->info->class == P11_CLASS_RANDOM) return;
      h = v->number;
      break;
    case P11_K_SLOT: h = names_slot(names, v->number); break;
    case P11_K_SESSION: h = names_session(names, v->number); break;
    case P11_K_OBJECT:
    case P11_K_KEY: h = names_object(names, v->number); break;
    case P11_K_TEMPLATE:
    case P11_K_OUT_TEMPLATE:
      if (v->what == VALUE_TEMPLATE) {
        asked_template(s, names, p, v);
        return;
      }
      h = HASH_NULL;
      break;
    case P11_K_STRING:
      h = v->what == VALUE_BYTES && v->form == P11T_V_FULL ? hash_bytes(SEED, v->bytes, v->kept) : HASH_NULL;
      break;
    case P11_K_MECHANISM: h = hash_of(names, v); break;
    case P11_K_INIT_ARGS: h = v->pointer == P11T_P_NULL ? HASH_NULL : hash_mix(v->number, v->length); break;
    case P11_K_NUMBER:
    case P11_K_BOOL:
    case P11_K_ENUM:
    case P11_K_FLAGS: h = v->number; break;
    case P11_K_VERSION: h = hash_of(names, v); break;
    case P11_K_OUT_LENGTH: h = v->what == VALUE_POINTER ? HASH_NULL : HASH_THERE; break;
    default:
      /* Payload and outputs: only whether there is any. A value that was read has a form, a pointer has a class. */
      h = v->what == VALUE_BYTES ? (v->form == P11T_V_NULL ? HASH_NULL : HASH_THERE)
                                 : (v->pointer == P11T_P_NULL ? HASH_NULL : HASH_THERE);
  }
  put(s, PART_QUESTION, h, p->name, "", v, meaning);
}

/* What a module calls itself and its hardware is not what it does; its Cryptoki version and the token's label are. */
static bool describes(const struct p11_field *f)
{
  if (f->kind == P11_FK_CHARS) return strcmp(f->name, "label") != 0;
  return f->kind == P11_FK_VERSION && strcmp(f->name, "cryptokiVersion") != 0;
}

static void answered_struct(struct shape *s, struct names *names, const struct p11_param *p, const struct value *v)
{
  const struct p11_struct *info = p11_struct_info(v->structure);
  for (size_t i = 0; info && i < v->count; i++) {
    const struct value *m = &v->item[i];
    if (m->member >= info->count) continue;
    const struct p11_field *f = &info->field[m->member];
    if (f->is_volatile || f->kind == P11_FK_POINTER) continue;
    uint64_t h;
    if (f->kind == P11_FK_SLOT && m->what == VALUE_NUMBER)
      h = names_slot(names, m->number);
    else if (m->what == VALUE_BYTES && m->form == P11T_V_FULL)
      h = hash_bytes(SEED, m->bytes, m->kept);
    else
      h = hash_of(names, m);
    char sub[64] = "";
    if (s->parts) snprintf(sub, sizeof sub, ".%s", f->name);
    put(s, describes(f) ? PART_DESCRIPTION : PART_ANSWER, h, p->name, sub, m, meaning_of_field(f));
  }
}

static void answered_template(struct shape *s, struct names *names, const struct p11_param *p, const struct value *v)
{
  for (size_t i = 0; i < v->count; i++) {
    const struct value *a = &v->item[i];
    const struct p11_attribute_info *info = s->parts ? p11_attribute(a->number) : NULL;
    char sub[80] = "";
    if (s->parts && info) snprintf(sub, sizeof sub, " %s", info->name);
    if (s->parts && !info) snprintf(sub, sizeof sub, " 0x%llx", (unsigned long long)a->number);
    const struct value length = {.what = VALUE_NUMBER, .number = a->length};
    const bool value = a->length != UINT64_MAX && a->pointer != P11T_P_NULL && a->count;
    if (s->parts && !value) strncat(sub, "'s length", sizeof sub - strlen(sub) - 1);
    put(s, PART_ANSWER, shape_attribute(names, a), p->name, sub, value ? a->item : &length,
        value ? meaning_of_attribute(a->number) : (struct meaning){AS_DECIMAL, 0});
  }
}

static void answer(struct shape *s, struct names *names, const struct call *call, unsigned at)
{
  const struct p11_param *p = &call->info->param[at];
  const struct value *v = &call->arg[at].out;
  if (v->what == VALUE_NONE || p->compare == P11_CMP_IGNORE) return;
  const struct meaning meaning = meaning_of_param(p);
  switch (p->kind) {
    case P11_K_OUT_TEMPLATE:
      if (v->what == VALUE_TEMPLATE && shape_has_template(call)) answered_template(s, names, p, v);
      return;
    case P11_K_OUT_LENGTH:
      if (call->rv != CKR_OK && call->rv != CKR_BUFFER_TOO_SMALL) return;
      put(s, PART_ANSWER, v->number, "*", p->name, v, meaning);
      return;
    default: break;
  }
  if (call->rv != CKR_OK) return;
  switch (p->kind) {
    case P11_K_OUT_NUMBER:
    case P11_K_OUT_FLAGS: put(s, PART_ANSWER, v->number, "*", p->name, v, meaning); return;
    case P11_K_OUT_SLOT: put(s, PART_ANSWER, names_slot(names, v->number), "*", p->name, v, meaning); return;
    case P11_K_OUT_SESSION:
    case P11_K_OUT_OBJECT:
      put(s, PART_ANSWER, v->number == CK_INVALID_HANDLE ? HASH_NULL : HASH_THERE, "*", p->name, v, meaning);
      return;
    case P11_K_OUT_SLOTS:
    case P11_K_OUT_MECHANISMS:
    case P11_K_OUT_OBJECTS:
      if (v->what == VALUE_LIST) put(s, PART_ANSWER, of_list(names, v, p->kind), p->name, "", v, meaning);
      return;
    case P11_K_OUT_STRUCT:
      if (v->what == VALUE_STRUCT) answered_struct(s, names, p, v);
      return;
    case P11_K_OUT_FUNCTION_LIST:
    case P11_K_OUT_INTERFACE:
    case P11_K_OUT_INTERFACES: put(s, PART_ANSWER, hash_of(names, v), p->name, "", v, meaning); return;
    case P11_K_OUT_BYTES_OF:
    case P11_K_OUT_BYTES:
      /* The length stands beside it. That all bytes are the same is no chance in so many. */
      if (v->what == VALUE_BYTES && v->form == P11T_V_TAG) {
        const uint64_t flat = v->length >= 16 ? v->shape & (P11T_SHAPE_SAME | P11T_SHAPE_ZERO) : 0;
        put(s, PART_ANSWER, flat, p->name, "", v, meaning);
      }
      return;
    default: return;
  }
}

void shape_call(struct shape *s, struct names *names, const struct call *call)
{
  const struct p11_function_info *info = call->info;
  s->question = call->known >= 0 ? hash_mix(SEED, (uint64_t)call->known) : hash_text(SEED, info->name);
  s->answer = s->description = SEED;
  for (unsigned i = 0; i < info->arity; i++) question(s, names, call, i);
  const uint64_t begun = names_begun(names, call);
  if (begun) s->question = hash_mix(s->question, begun);
  if (call->state == CALL_OPEN || call->state == CALL_ABANDONED) {
    const struct value none = {.what = VALUE_NONE};
    put(s, PART_ANSWER, hash_mix(HASH_OPEN, call->state), "rv", "", &none, (struct meaning){0});
    return;
  }
  const struct value rv = {.what = VALUE_NUMBER, .number = call->rv};
  put(s, PART_ANSWER, call->rv, "rv", "", &rv, (struct meaning){AS_ENUM, P11_DOM_CKR});
  for (unsigned i = 0; i < info->arity; i++) answer(s, names, call, i);
}
