/* JSON lines, as dump --json writes them (decoder/show/JSON.md), to traces. */
#ifndef WRITE_IMPORT_H
#define WRITE_IMPORT_H

#include <jansson.h>

#include "decoder/read/reader.h"
#include "decoder/write/out.h"
#include "decoder/write/raw.h"
#include "decoder/write/strict.h"

struct import_result {
  uint64_t lines, calls, secrets; /* secrets that stood there in clear, and are tags now */
  size_t processes;
};

/* Reads `path` ("-" is standard input) and writes `output`, a folder when there are several processes. An exit status of
 * cmd.h: nothing is written when a line is not as it should be, which is said with its number. */
int import_lines(const char *path, const char *output, struct import_result *result);

/* --- between the files of this room ---------------------------------------------------------------- */

/* A slot that is being filled with the records of one thread, in order of number. */
struct import_slot {
  uint32_t tid, generation;
  char thread[64];
  uint64_t last; /* number */
  struct raw raw;
  bool said; /* whose it is, in this fill */
  uint16_t stacks;
  uint64_t address; /* first one of the last stack */
};

struct imported {
  struct reader reader; /* of which the tables are used; there is no trace yet */
  struct out out;
  bool begun;
  char name[512]; /* of the file in a folder */
  struct import_slot *slot;
  size_t slots;
  uint32_t *unwound; /* threads whose last call never returned, which their next one shows */
  size_t unwounds;
  uint64_t number, time, first; /* the largest number and time so far, ns; the first clock reading */
  uint64_t calls, dropped, cut, passed;
  const char *reason;
  bool clear; /* payload in clear is inside */
};

struct import {
  const char *path;
  uint64_t line;
  char error[512]; /* "" none: what is wrong in this line */
  struct arena arena;
  struct strict strict;
  struct imported **process;
  size_t processes;
};

/* Says what is wrong, once for a line. Always false. */
bool import_fail(struct import *im, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* import_value.c. `where` names the place for a message. */
bool import_number(struct import *im, const json_t *json, const char *where, uint64_t *number);
/* The member `key` of `object` as a number; `fallback` when it is not there. */
uint64_t import_key(struct import *im, const json_t *object, const char *key, uint64_t fallback);
/* Text of outside, perhaps not UTF-8: KEY_hex comes before KEY. "" when there is none. */
const uint8_t *import_text(struct import *im, const json_t *object, const char *key, size_t *length);
const char *import_string(struct import *im, const json_t *object, const char *key);
bool import_version(struct import *im, const json_t *json, const char *where, uint64_t *version);
/* Any value; `direction` says which members of a structure are there (enum p11_direction). */
bool import_value(struct import *im, const json_t *json, const char *where, unsigned direction, struct value *v);
/* Is it a value that a parameter, or a member, of this kind can have? */
bool import_fits_param(unsigned kind, bool after, const struct value *v);

/* import_call.c: one line of "type":"call". */
bool import_call(struct import *im, struct imported *p, const json_t *line);

/* import_slots.c: one record of a thread, with the call stack that it names; numbers of a thread may come out of order. */
bool import_record(struct import *im, struct imported *p, uint32_t tid, const char *thread, struct record *record,
                   const uint64_t *stack, size_t depth, bool stale);
void import_flush(struct imported *p);

#endif
