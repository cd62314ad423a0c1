/* Two traces of one scenario, side by side: what the modules answered differently to the same questions.
 *
 * A call is a question (function and arguments) and an answer (return code and what came out). Handles and slots stand
 * for themselves only: names.h says what they are called in both traces, shape.c makes two hashes of a call.
 *
 *   survey.c   first reading of a trace: its processes, modules, slots and the objects that searches found
 *   pair.c     which of them belong together
 *   names.c    sessions and objects while a trace is read
 *   shape.c    a call's question and answer
 *   stream.c   second reading: the exchanges of one module in one process, repeated polls folded
 *   sequence.c one thread: the two sequences aligned
 *   crowd.c    several threads: each question with all its answers
 *   found.c    what differs, by kind and function
 *   detail.c   third reading: the calls of a difference, and what had happened to their session and object
 *   print_diff.c, print_diff_json.c, print_diff_junit.c
 *
 * Memory: a window of exchanges for sequences; for crowds the distinct questions (CROWD_QUESTIONS, more are counted and
 * not compared); the objects that searches found (SURVEY_OBJECTS, more have no name). */
#ifndef DIFF_DIFF_H
#define DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "decoder/filter/filter.h"
#include "decoder/read/trace.h"

struct diff_options {
  const char *const *expression; /* of -e */
  size_t expressions;
  const char *const *calls; /* of --calls */
  size_t call_sets;
  bool json, quiet, color;
  const char *junit; /* file that is written too; NULL none */
};

/* Compares the traces and prints what differs. Exit status: 0 the same, 1 different, 2 it could not or bytes are
 * lost. */
int diff_run(const char *path_a, const char *path_b, const struct diff_options *options);

enum { SIDE_A, SIDE_B, SIDES };

/* One call, as it is compared. */
struct exchange {
  uint64_t question, answer,
      description;       /* hashes; description: what the module calls itself, no difference of its own */
  uint64_t number, last; /* of the call; of the last one that was folded into it */
  uint64_t rv;
  uint32_t epoch;    /* how many calls that change what polls answer had returned before */
  uint16_t function; /* enum p11_function, or P11_FUNCTIONS for any other */
  uint8_t state;     /* enum call_state */
  bool poll;         /* only asks, and asks again and again */
  bool unsure;       /* overlaps a call that changes the answer */
};

#endif
