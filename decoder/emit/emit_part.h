/* What the parts of emit-c share. */
#ifndef EMIT_PART_H
#define EMIT_PART_H

#include "decoder/emit/emit.h"
#include "decoder/emit/needs.h"
#include "decoder/model/table.h"
#include "decoder/read/arena.h"
#include "decoder/show/text.h"

/* Numbers in the order in which they were first put in. */
struct emit_set {
  struct table known;
  uint64_t *at;
  size_t count;
};
bool emit_set_has(const struct emit_set *set, uint64_t number);
void emit_set_add(struct emit_set *set, uint64_t number);
void emit_set_free(struct emit_set *set);

/* Bytes that come out of one call and go into a later one: the variable made_N. */
struct emit_made {
  uint64_t tag, length;
  unsigned number;
  bool out; /* the program has filled it */
};

struct emit {
  const struct emit_options *options;
  const struct process *process; /* of the calls */
  char *module;                  /* their module's path */
  uint64_t calls, chosen, left_out, changing;
  uint64_t first, last; /* numbers of the chosen calls */
  bool threads;         /* several made them */
  uint32_t tid;
  uint64_t stand_ins;

  struct table made;         /* tag -> struct emit_made, owned */
  struct emit_set made_room; /* capacity of made_1, made_2 ... in order, made unique by its upper half */
  bool has_user, has_so;
  uint64_t user_pin, so_pin; /* tags */

  struct text body;                /* the calls so far, in a file without a name */
  struct text before, after, line; /* of the call at hand: declarations, what follows the call, scratch */
  struct arena arena;              /* names in the call at hand */
  unsigned names;
  bool call_stands_in;
  bool unread_matters; /* the recorded code may come from bytes that the recorder left unread */

  struct emit_set sessions, objects, slots; /* variables */
  struct emit_set constants;                /* addresses of their names */
  struct emit_set structures;
  bool function[P11_FUNCTIONS]; /* of 3.0 and later that are called */
  struct {
    bool some, notify, mutexes, parameters, fill, take, interfaces, so_pin, wrong, skip, own_pin;
  } use;
  unsigned parts, in_part;
};

/* Of sealed values too, where the reader knows the tag. */
static inline bool emit_tagged(const struct value *v)
{
  return v->what == VALUE_BYTES && (v->form == P11T_V_TAG || (v->form == P11T_V_SEALED && v->number != 0));
}

/* A text that lives as long as the call at hand. */
const char *emit_format(struct emit *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A name that is free in the call's block: BASE_N. */
const char *emit_name(struct emit *e, const char *base);

/* emit_value.c. All return a C expression; what it needs is declared in e->before. */
const char *emit_constant(struct emit *e, unsigned domain, uint64_t value);
const char *emit_flags(struct emit *e, unsigned domain, uint64_t value);
const char *emit_number(struct emit *e, uint64_t value);
const char *emit_object(struct emit *e, uint64_t handle);
/* An array that holds the bytes and has at least `room` of them; *length, when asked for, the expression of theirs. */
const char *emit_bytes(struct emit *e, const char *name, const struct value *v, uint64_t room, bool text,
                       const char **length);
/* An array of `room` zeros. */
const char *emit_room(struct emit *e, const char *name, uint64_t room);
/* CK_ATTRIBUTE array; `asked`: of C_GetAttributeValue. */
const char *emit_template(struct emit *e, const char *name, const struct value *v, bool asked);
/* The value that `made` knows by its tag, NULL none. */
struct emit_made *emit_made_of(const struct emit *e, const struct value *v);

/* emit_struct.c */
const char *emit_mechanism(struct emit *e, const char *name, const struct value *in, const struct value *out);
/* Name of a variable of that structure; NULL when it is not known. */
const char *emit_struct(struct emit *e, const char *name, const struct value *in, const struct value *out);

/* emit_pin.c */
const char *emit_pin(struct emit *e, const struct call *call, unsigned at, const char **length);
bool emit_pin_is_wrong(const struct emit *e, const struct call *call);
void emit_pin_facts(struct emit *e, const struct call *call);

/* emit_call.c */
void emit_call(struct emit *e, const struct call *call, enum need_why why);

/* emit_program.c: what stands before and behind the calls. */
void emit_prologue(struct emit *e, struct text *out);
void emit_epilogue(struct emit *e, struct text *out);

#endif
