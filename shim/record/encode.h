/* Parameters of a call as the trace has them: FORMAT.md, section 4. */
#ifndef RECORD_ENCODE_H
#define RECORD_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/record/writer.h"
#include "shim/spec/spec.h"

/* A template or list is believed up to this many entries before the call. */
#define P11T_MAX_COUNT 1024
/* Longest value that is read before the call; longer ones wait for the module to say that it read them. */
#define P11T_EARLY 4096
/* Templates inside templates are followed this deep. */
#define P11T_DEPTH 4

/* Attributes of a C_GetAttributeValue whose values are recorded: their buffers' sizes are remembered across the call. */
#define P11T_CAPACITIES 64

/* The same, when calls are watched for probe=. */
struct p11t_watch {
  bool on;
  uint8_t flags;   /* of the records: P11T_PROBE inside a call of ours */
  uint16_t set;    /* wrapper set */
  uint16_t place;  /* of the session, for sessions.c */
  uint32_t serial; /* which session had the place, 0 none */
  uint32_t ticket; /* of what is being closed, 0 nothing */
  unsigned begun;  /* operations that are to begin with this call */
  uint64_t number; /* of ENTER */
};

/* What ENTER has to tell LEAVE: on the wrapper's stack. */
struct p11t_call {
  uint64_t epoch;      /* of p11t_guard at ENTER: a fork in between shows */
  uint64_t number;     /* of ENTER; 0: not recorded, or watched */
  uint64_t before[10]; /* *pulLen as it was, by parameter; and whether: bit in has_before */
  uint16_t has_before;
  uint16_t in_place; /* inputs that an output overwrote: bit by parameter */
  uint16_t function, module;
  int16_t caller_object; /* of the thread's table: to be looked at after the call; -1: none */
  void *frame, *caller;
  uint64_t start;                     /* time of ENTER, when a trigger asks for it */
  uint64_t capacity[P11T_CAPACITIES]; /* ulValueLen of an OUT template as it was */
  struct p11t_watch watch;            /* set when `number` is 0 */
};

/* The parameters as given: before the module is called. */
void p11t_encode_enter(struct p11t_writer *w, const struct p11_function_info *f, const uint64_t *v,
                       struct p11t_call *call);

/* The parameters as left: after the module returned rv. */
void p11t_encode_leave(struct p11t_writer *w, const struct p11_function_info *f, const uint64_t *v,
                       const struct p11t_call *call, uint64_t rv);

/* V of `size` bytes at `bytes`, redacted by class. `domain` only says which key makes the tag. The bytes must be readable
 * at both ends; UNREAD is written when they are not and the value is longer than P11T_EARLY. */
void p11t_value(struct p11t_writer *w, enum p11_secrecy secrecy, const void *bytes, uint64_t size);

/* V forms without bytes. */
void p11t_value_unread(struct p11t_writer *w, uint64_t size);
static inline void p11t_value_null(struct p11t_writer *w)
{
  p11t_u8(w, P11T_V_NULL);
}

/* P of a pointer that overlaps nothing. */
static inline void p11t_pointer(struct p11t_writer *w, const void *p)
{
  p11t_u8(w, p ? P11T_P_OWN : P11T_P_NULL);
}

/* N count and the attributes as given: values up to P11T_EARLY bytes, longer ones as DEFERRED. */
void p11t_template_in(struct p11t_writer *w, const CK_ATTRIBUTE *a, uint64_t count, unsigned depth);
/* The deferred ones, when the module read them. */
void p11t_template_late(struct p11t_writer *w, const CK_ATTRIBUTE *a, uint64_t count, bool ok);
/* C_GetAttributeValue: what was asked for, and what came. `values`: the return code allows to look at them. */
void p11t_template_asked(struct p11t_writer *w, const CK_ATTRIBUTE *a, uint64_t count,
                         uint64_t capacity[P11T_CAPACITIES]);
void p11t_template_answered(struct p11t_writer *w, const CK_ATTRIBUTE *a, uint64_t count,
                            const uint64_t capacity[P11T_CAPACITIES], bool values);

/* A mechanism and its parameter; members that the module writes are said again by p11t_mechanism_out. */
void p11t_mechanism_in(struct p11t_writer *w, const CK_MECHANISM *m, unsigned depth);
void p11t_mechanism_out(struct p11t_writer *w, const CK_MECHANISM *m);

/* N count and members of a structure; those with one of the directions (enum p11_direction) in `which`. */
void p11t_members(struct p11t_writer *w, const struct p11_struct *s, const void *at, unsigned which, unsigned depth);

#endif
