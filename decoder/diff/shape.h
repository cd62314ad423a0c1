/* A call's question and answer as hashes, or part by part. */
#ifndef DIFF_SHAPE_H
#define DIFF_SHAPE_H

#include "decoder/diff/names.h"

enum part_of { PART_QUESTION, PART_ANSWER, PART_DESCRIPTION };

/* One thing that is compared: "rv", "pInfo.flags", "pTemplate CKA_LABEL". */
struct part {
  enum part_of of;
  uint64_t hash;
  char place[96], text[240]; /* escaped, cut with "..." */
};
struct parts {
  struct part *at;
  size_t count;
};
void parts_free(struct parts *parts);

struct shape {
  uint64_t question, answer, description;
  struct parts *parts; /* filled when not NULL */
};

/* Of a call of the module that `names` is of, before names_leave. */
void shape_call(struct shape *shape, struct names *names, const struct call *call);
/* A template in a question, for whoever asks for what a search was: survey.c. */
uint64_t shape_template(struct names *names, const struct value *template);
/* The value of an attribute. */
uint64_t shape_attribute(struct names *names, const struct value *attribute);

/* C_GetAttributeValue: the return code leaves something to read in the template. */
bool shape_has_template(const struct call *call);

/* Only asks: its answer changes by what others do, and it is made again and again. */
bool shape_is_poll(const struct call *call);
/* Reads an object, or draws random bytes: the same twice in a row is one. */
bool shape_is_read(const struct call *call);

#endif
