#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "decoder/check/json.h"
#include "decoder/objects/objects.h"
#include "decoder/rules/rules.h"

/* A slot as it was before its last session was closed. */
struct snapshot {
  char *text;
  json_t *json;
};

static void free_snapshot(void *state)
{
  struct snapshot *s = state;
  free(s->text);
  json_decref(s->json);
}

static const struct kept_type snapshot_type = {sizeof(struct snapshot), free_snapshot};

static bool has_objects(const struct model_slot *slot)
{
  for (const struct model_object *o = slot->module->newest; o; o = o->older)
    if (o->slot == slot) return true;
  return false;
}

static const char *shown(const char *text, char *to, size_t size)
{
  return show_bytes((const uint8_t *)text, strlen(text), to, size);
}

/* CKO_PRIVATE_KEY as "private key", vendor's classes as numbers. */
static void class_name(const struct model_object *o, char *to, size_t size)
{
  const char *name = o->facts.class == MODEL_NO_CLASS ? NULL : p11_constant_name(P11_DOM_CKO, o->facts.class);
  if (!name) {
    if (o->facts.class == MODEL_NO_CLASS)
      snprintf(to, size, "object");
    else
      snprintf(to, size, "class 0x%" PRIx64, o->facts.class);
    return;
  }
  snprintf(to, size, "%s", name + strlen("CKO_"));
  for (char *p = to; *p; p++) *p = *p == '_' ? ' ' : *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
}

static const char *lives(const struct model_object *o)
{
  return o->facts.token == TRI_YES ? "token" : o->facts.token == TRI_NO ? "session" : "";
}

static void print_object(FILE *to, const struct model_object *o)
{
  char class[80];
  const struct object_texts *t = objects_texts(o);
  const struct object_belief b = objects_belief(o);
  const uint64_t type = model_number(o, CKA_KEY_TYPE, UINT64_MAX);
  const char *key = type == UINT64_MAX ? NULL : p11_constant_name(P11_DOM_CKK, type);
  class_name(o, class, sizeof class);
  fprintf(to, "  0x%-11" PRIx64 " %-7s %s", o->handle, lives(o), class);
  if (key) fprintf(to, " %s", key);
  if (t && t->label) fprintf(to, " \"%s\"", t->label);
  if (t && t->id) fprintf(to, " CKA_ID %s", *t->id ? t->id : "empty");
  if (t && t->subject) fprintf(to, " subject \"%s\"", t->subject);
  if (o->facts.token != TRI_NO && *b.words) {
    fprintf(to, "; %s", b.words);
    const struct model_object *other = b.private_key ? b.private_key : b.certificate ? b.certificate : b.public_key;
    if (other) fprintf(to, " (0x%" PRIx64 ")", other->handle);
  }
  fputc('\n', to);
}

static const char *plural(uint64_t n)
{
  return n == 1 ? "" : "s";
}

static void print_list(FILE *to, const struct model_slot *slot)
{
  char text[200];
  size_t count;
  const struct model_object **list = objects_of(slot, &count);
  const struct slot_searches *s = objects_searches(slot);
  fprintf(to, "slot %" PRIu64, slot->id);
  if (slot->token.known) fprintf(to, " \"%s\"", shown(slot->token.label, text, sizeof text));
  if (slot->token.known && *slot->token.serial) fprintf(to, " serial %s", shown(slot->token.serial, text, sizeof text));
  fprintf(to, ": %zu object%s", count, plural(count));
  if (s)
    fprintf(to,
            "; %" PRIu64 " search%s (%" PRIu64 " for certificates, %" PRIu64 " for private, %" PRIu64
            " for public keys)",
            s->all, s->all == 1 ? "" : "es", s->certificates, s->private_keys, s->public_keys);
  else
    fputs("; never searched", to);
  fputc('\n', to);
  for (size_t i = 0; i < count; i++) print_object(to, list[i]);
  free(list);
}

static void print_slot(FILE *to, const struct model_slot *slot)
{
  const struct snapshot *s = kept_get(slot->kept, &snapshot_type);
  if (s && !has_objects(slot))
    fputs(s->text, to);
  else
    print_list(to, slot);
}

void objects_print(FILE *to, const struct model_module *module)
{
  char text[400], program[200];
  size_t count;
  const struct process *p = module->process->process;
  const struct model_slot **list = objects_slots(module, &count);
  if (count)
    fprintf(to, "%s[%" PRIu32 "] %s\n",
            p->program && *p->program ? shown(p->program, program, sizeof program) : "process", p->pid,
            shown(model_module_path(module), text, sizeof text));
  for (size_t i = 0; i < count; i++) print_slot(to, list[i]);
  if (count) fputc('\n', to);
  free(list);
}

/* --- JSON --------------------------------------------------------------------------------------- */

static void optional(json_t *j, const char *name, const char *text)
{
  if (text) json_object_set_new(j, name, check_json_text(text));
}

static void handle(json_t *j, const char *name, const struct model_object *o)
{
  if (o) json_object_set_new(j, name, json_integer((json_int_t)o->handle));
}

static json_t *object_json(const struct model_object *o)
{
  char class[80];
  const struct object_texts *t = objects_texts(o);
  const struct object_belief b = objects_belief(o);
  const uint64_t type = model_number(o, CKA_KEY_TYPE, UINT64_MAX);
  class_name(o, class, sizeof class);
  json_t *j = json_pack("{s:I, s:s}", "handle", (json_int_t)o->handle, "class", class);
  optional(j, "lives", *lives(o) ? lives(o) : NULL);
  optional(j, "key_type", type == UINT64_MAX ? NULL : p11_constant_name(P11_DOM_CKK, type));
  optional(j, "label", t ? t->label : NULL);
  optional(j, "id", t ? t->id : NULL);
  optional(j, "subject", t ? t->subject : NULL);
  if (o->facts.token == TRI_NO) return j;
  handle(j, "certificate", b.certificate);
  handle(j, "private_key", b.private_key);
  handle(j, "public_key", b.public_key);
  optional(j, "belief", *b.words ? b.words : NULL);
  return j;
}

static json_t *slot_json(const struct model_slot *slot)
{
  size_t count;
  const struct process *p = slot->module->process->process;
  const struct model_object **object = objects_of(slot, &count);
  const struct slot_searches none = {0}, *s = objects_searches(slot);
  json_t *list = json_array();
  if (!s) s = &none;
  for (size_t k = 0; k < count; k++) json_array_append_new(list, object_json(object[k]));
  free(object);
  return json_pack("{s:o, s:I, s:o, s:I, s:o, s:o, s:o, s:{s:I, s:I, s:I, s:I}}", "program",
                   check_json_text(p->program ? p->program : ""), "pid", (json_int_t)p->pid, "module",
                   check_json_text(model_module_path(slot->module)), "slot", (json_int_t)slot->id, "token",
                   check_json_text(slot->token.known ? slot->token.label : ""), "serial",
                   check_json_text(slot->token.known ? slot->token.serial : ""), "objects", list, "searches", "all",
                   (json_int_t)s->all, "certificates", (json_int_t)s->certificates, "private_keys",
                   (json_int_t)s->private_keys, "public_keys", (json_int_t)s->public_keys);
}

void objects_add(void *array, const struct model_module *module)
{
  size_t slots;
  const struct model_slot **slot = objects_slots(module, &slots);
  for (size_t i = 0; i < slots; i++) {
    const struct snapshot *s = kept_get(slot[i]->kept, &snapshot_type);
    json_array_append_new(array, s && !has_objects(slot[i]) ? json_incref(s->json) : slot_json(slot[i]));
  }
  free(slot);
}

void objects_keep(struct model_slot *slot)
{
  size_t size;
  if (!has_objects(slot)) return;
  struct snapshot *s = kept_make(&slot->kept, &snapshot_type);
  free_snapshot(s);
  *s = (struct snapshot){.json = slot_json(slot)};
  FILE *to = open_memstream(&s->text, &size);
  if (!to) abort();
  print_list(to, slot);
  fclose(to);
}
